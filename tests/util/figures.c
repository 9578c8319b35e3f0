/* SPDX-License-Identifier: MIT */
#include "util/figures.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

int t_number(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text && *text ? atoi(text) : otherwise;
}

double t_load(void) {
    double load[1] = {-1};
    getloadavg(load, 1);
    return load[0];
}

/* ---- times -------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

void t_print_times(const char *what, int64_t *ns, int count) {
    if (count < 1) return;
    qsort(ns, (size_t)count, sizeof *ns, by_size);
    printf("    %s: median %.2f ms, p99 %.2f, max %.2f (%d; load %.1f)\n", what, (double)ns[count / 2] / 1e6,
           (double)ns[(count - 1) * 99 / 100] / 1e6, (double)ns[count - 1] / 1e6, count, t_load());
    fflush(stdout);
}

/* ---- processes ---------------------------------------------------------------------------------------------------- */

static FILE *open_proc(pid_t pid, const char *name) {
    char path[64];
    if (pid)
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    else
        snprintf(path, sizeof path, "/proc/self/%s", name);
    return fopen(path, "re");
}

/* The name may hold blanks and brackets: fields are counted from the last bracket. */
int64_t t_cpu_ns(pid_t pid) {
    char line[1024] = "";
    unsigned long user = 0, kernel = 0;
    FILE *f = open_proc(pid, "stat");
    if (!f) return -1;
    const char *rest = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    fclose(f);
    if (!rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2) return -1;
    return (int64_t)(user + kernel) * (1000000000 / sysconf(_SC_CLK_TCK));
}

int t_descriptors_of(pid_t pid) {
    char path[64];
    int n = pid ? -2 : -3; /* ".", "..", and in our own this one */
    snprintf(path, sizeof path, "/proc/%d/fd", (int)(pid ? pid : getpid()));
    DIR *all = opendir(path);
    if (!all) return -1;
    while (readdir(all)) n++;
    closedir(all);
    return n;
}

int t_maps_of(pid_t pid) {
    int n = 0;
    FILE *f = open_proc(pid, "maps");
    if (!f) return -1;
    for (int c; (c = getc(f)) != EOF;) n += c == '\n';
    fclose(f);
    return n;
}

int64_t t_private_of(pid_t pid) {
    char line[256];
    long kib = -1;
    FILE *f = open_proc(pid, "status");
    if (!f) return -1;
    while (kib < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kib) != 1) kib = -1;
    fclose(f);
    return kib < 0 ? -1 : kib * 1024;
}

/* ---- limits ------------------------------------------------------------------------------------------------------- */

int t_allow_descriptors(int wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return -1;
    if (limit.rlim_cur >= (rlim_t)wanted) return wanted;
    struct rlimit more = {.rlim_cur = (rlim_t)wanted,
                          .rlim_max = limit.rlim_max < (rlim_t)wanted ? (rlim_t)wanted : limit.rlim_max};
    if (!setrlimit(RLIMIT_NOFILE, &more)) return wanted;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (int)limit.rlim_cur;
}

int64_t t_room(void) {
    struct statfs fs;
    return statfs("/dev/shm", &fs) ? -1 : (int64_t)fs.f_bavail * fs.f_bsize;
}

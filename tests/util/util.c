/* SPDX-License-Identifier: MIT */
/* util/util.c - directories, checks, loops, seeds, skips. Children are in child.c. */
#include "util/util.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/child.h"

void t_dir_make(char dir[T_PATH]) {
    const char *in = getenv("TMPDIR");
    if (!in || strncmp(in, "/dev/shm/", 9) != 0) in = "/dev/shm";
    snprintf(dir, T_PATH, "%s/laneway-test-XXXXXX", in);
    if (!mkdtemp(dir)) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        abort();
    }
    chmod(dir, 0711); /* tests with a second user pass through here */
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path) && errno != ENOENT;
}

void t_dir_remove(const char *dir) {
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

_Thread_local void (*t_meanwhile)(void);

int t_setup(void **state) {
    char *path = malloc(T_PATH + 8), *name;
    if (!path) return -1;
    t_meanwhile = NULL; /* a case that failed leaves its handles behind */
    t_dir_make(path);
    name = path + strlen(path);
    strcpy(name, "/bus");
    *state = path;
    return 0;
}

int t_teardown(void **state) {
    char *path = *state;
    t_children_end();
    path[strlen(path) - strlen("/bus")] = 0;
    t_dir_remove(path);
    free(path);
    return 0;
}

int64_t t_assert_ok(int64_t rc, const char *what, const char *file, int line) {
    if (rc < 0) {
        print_error("%s: %s: %s\n", what, lw_errname((int)rc), lw_errtext());
        _fail(file, line);
    }
    return rc;
}

void t_assert_fails(int64_t rc, int64_t code, const char *part, const char *what, const char *file, int line) {
    const char *text = lw_errtext();
    if (rc == code && *text && (!part || strstr(text, part))) return;
    print_error("%s: gave %lld %s, wanted %s; text \"%s\", wanted \"%s\" in it\n", what, (long long)rc,
                rc < 0 ? lw_errname((int)rc) : "", lw_errname((int)code), text, part ? part : "something");
    _fail(file, line);
}

void t_need_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: in child %d: %s failed; errno %s; text \"%s\"\n", file, line, (int)getpid(), what,
            strerrorname_np(errno), lw_errtext());
    _exit(99);
}

int64_t t_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_part(int64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&t, NULL);
}

void t_sleep(int64_t ns) {
    const int64_t part = LW_MS(T_MEANWHILE_MS);
    for (int64_t end = t_now() + ns; t_meanwhile && ns > 0; ns = end - t_now()) {
        t_meanwhile();
        sleep_part(ns < part ? ns : part);
    }
    if (ns > 0) sleep_part(ns);
}

int64_t t_loops(int64_t n) {
    if (!getenv("LW_TEST_SHORT")) return n;
    return n < 20 ? 1 : n / 20;
}

uint64_t t_random(void) {
    static uint64_t state;
    while (!state) {
        const char *seed = getenv("LW_TEST_SEED");
        if (seed)
            state = strtoull(seed, NULL, 0) | 1;
        else if (getrandom(&state, sizeof state, 0) < 0)
            state = (uint64_t)t_now();
        fprintf(stderr, "seed: LW_TEST_SEED=%llu\n", (unsigned long long)state);
    }
    state += 0x9e3779b97f4a7c15;
    uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

int t_descriptors(void) {
    DIR *all = opendir("/proc/self/fd");
    int n = -3; /* ".", "..", and this one */
    assert_non_null(all);
    while (readdir(all)) n++;
    closedir(all);
    return n;
}

int t_bus_open(struct lw_bus **bus, const char *dir, const char *node, unsigned flags) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    opt.dir = dir;
    opt.node = node;
    opt.flags = flags;
    return lw_bus_open(bus, &opt);
}

void t_become(uid_t uid, gid_t gid) {
    T_NEED(!setgroups(0, NULL) && !setresgid(gid, gid, gid) && !setresuid(uid, uid, uid));
}

void t_skip_unless_root(const char *name) {
    if (geteuid() != 0) t_skip(name, "needs root, to become other users");
}

void t_skip(const char *name, const char *reason) {
    printf("skip %s: %s\n", name, reason);
    fflush(stdout);
    skip();
}

int64_t t_prompt(void) {
    return getenv("LW_TEST_STRICT") ? LW_MS(500) : LW_SEC(30);
}

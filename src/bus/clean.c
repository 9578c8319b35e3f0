/* SPDX-License-Identifier: MIT */
/* bus/clean.c - removing what dead processes left in the directory: node files, and files that were never finished. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "bus/node.h"
#include "bus/table.h"

enum { PATH = 4096, DEPTH = 64 };

/* ---- node files -------------------------------------------------------------------------------------------------- */

/* True: whoever had the name is dead, and its epoch is closed. */
static bool close_epoch(struct lw_bus *bus, const char *name) {
    char found[LW_NAME_MAX + 1];
    uint32_t rows = lw__table_rows(bus);
    for (uint32_t id = 1; id < rows; id++) {
        uint64_t epoch = lw__table_epoch(bus, id);
        if (!epoch || !lw__table_name(bus, id, found) || strcmp(found, name) != 0) continue;
        return lw__owner_gone(bus, lw__owner_word((uint32_t)epoch, (uint16_t)id));
    }
    return true;
}

/* 1 removed, 0 alive or gone already. */
static int remove_node(struct lw_bus *bus, const char *path) {
    int fd = lw__file_open(&bus->dir, path, O_RDWR);
    if (fd < 0) return fd == -ENOENT ? 0 : fd;
    int rc = lw__byte_lock(fd, 0, 0);
    if (!rc) rc = lw__file_same(&bus->dir, path, fd); /* before it is removed, and while nobody can start on it */
    if (rc == 1 && unlinkat(bus->dir.fd, path, 0)) rc = -errno;
    close(fd);
    return rc == -EAGAIN ? 0 : rc;
}

static int clean_node(struct lw_bus *bus, const char *path, struct lw_clean_result *result) {
    const char *name = path + strlen("nodes/");
    if (!close_epoch(bus, name)) return 0; /* first: while we hold its lock, a dead one would look alive */
    int rc = remove_node(bus, path);
    if (rc < 0) return lw__file_explain(&bus->dir, path, rc);
    result->nodes += (size_t)rc;
    return 0;
}

/* ---- bells ------------------------------------------------------------------------------------------------------- */

/* Under the life lock of the node that they belong to, so that nobody starts under its name and makes new ones just now.
 * Who was killed has left its node file; without one there is nobody whose lock could be held, and the next one of the
 * name replaces them anyway. So this comes before the files of the nodes go. */
static int clean_bell(struct lw_bus *bus, const char *path, struct lw_clean_result *result) {
    char node[LW__NODE_PATH + 8];
    const char *name = path + strlen("bells/"), *dot = strrchr(name, '.');
    if (!dot || dot == name || dot - name > LW_NAME_MAX) return 0;
    snprintf(node, sizeof node, "nodes/%.*s", (int)(dot - name), name);
    /* First without opening it for writing: closing it again would alarm all who watch for deaths. */
    if (lw__node_probe(bus, node + strlen("nodes/"), NULL) == 1) return 0;
    int fd = lw__file_open(&bus->dir, node, O_RDWR);
    if (fd < 0) return 0;
    if (lw__byte_lock(fd, 0, 0) == 0 && lw__file_same(&bus->dir, node, fd) == 1 && !unlinkat(bus->dir.fd, path, 0))
        result->files++;
    close(fd);
    return 0;
}

/* ---- unfinished files and directories ---------------------------------------------------------------------------- */

/* Its creator holds byte 0 while it lives. One that did not come to lock it yet finds the name gone and begins again;
 * the names are random and never used twice, so nothing else can be hit. The same for a directory, which is empty until
 * it has its name. */
static int clean_temp(struct lw_bus *bus, const char *path, bool is_dir, struct lw_clean_result *result) {
    int held = 0;
    if (!is_dir) {
        int fd = lw__file_open(&bus->dir, path, O_RDONLY);
        held = fd < 0 ? fd : lw__byte_locked(fd, 0);
        if (fd >= 0) close(fd);
    }
    if (held == 1 || held == -ENOENT || held == -EACCES) return 0; /* another user's, who may tidy it */
    if (held < 0) return lw__file_explain(&bus->dir, path, held);
    if (!unlinkat(bus->dir.fd, path, is_dir ? AT_REMOVEDIR : 0))
        result->files++;
    else if (errno != ENOENT && errno != ENOTEMPTY)
        return lw__file_explain(&bus->dir, path, -errno);
    return 0;
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

static int clean_dir(struct lw_bus *bus, char *path, int depth, struct lw_clean_result *result);

static int clean_entry(struct lw_bus *bus, char *path, const char *entry, int depth, struct lw_clean_result *result) {
    struct stat st;
    if (fstatat(bus->dir.fd, path, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : lw__file_explain(&bus->dir, path, -errno);
    if (lw__temp_is(entry)) return clean_temp(bus, path, S_ISDIR(st.st_mode), result);
    if (S_ISDIR(st.st_mode)) return depth < DEPTH ? clean_dir(bus, path, depth + 1, result) : 0;
    if (strncmp(path, "bells/", 6) == 0 && depth == 1) return clean_bell(bus, path, result);
    if (strncmp(path, "nodes/", 6) == 0 && depth == 1 && S_ISREG(st.st_mode)) return clean_node(bus, path, result);
    return 0;
}

/* `path` has room for PATH; it is as it was when this returns. "" is the bus itself. */
static int clean_dir(struct lw_bus *bus, char *path, int depth, struct lw_clean_result *result) {
    size_t n = strlen(path);
    int rc = 0, fd = lw__file_open(&bus->dir, n ? path : ".", O_RDONLY | O_DIRECTORY);
    if (fd < 0) return fd == -ENOENT ? 0 : lw__file_explain(&bus->dir, path, fd);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        rc = lw__fail(-errno, "%s/%s: %s", bus->dir.path, path, strerror(errno));
        close(fd);
        return rc;
    }
    struct dirent *entry;
    while (!rc && (errno = 0, entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (snprintf(path + n, PATH - n, "%s%s", n ? "/" : "", entry->d_name) < (int)(PATH - n))
            rc = clean_entry(bus, path, entry->d_name, depth, result);
        path[n] = 0;
    }
    if (!rc && errno) rc = lw__file_explain(&bus->dir, path, -errno);
    closedir(dir);
    return rc;
}

int lw__bus_clean_nodes(struct lw_bus *bus, struct lw_clean_result *result) {
    char path[PATH] = "bells";
    int rc = clean_dir(bus, path, 1, result);
    path[0] = 0;
    return rc ? rc : clean_dir(bus, path, 0, result);
}

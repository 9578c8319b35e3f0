/* SPDX-License-Identifier: MIT */
/*
 * bus/node.c - starting, stopping and probing a node.
 *
 * Byte 0 of the node file, locked, is the only sign of life. The order of steps is what makes the epoch right (it was
 * checked in a model with several starters, closers and cleaners, each killed anywhere):
 *
 *     start    open or make the file; lock byte 0; does the path still lead here? then add 1 to the epoch: the result
 * is mine close    read the epoch e; open the path afresh; is byte 0 free? then e -> e + 1 by compare-and-swap
 * (owner.c) clean    lock byte 0; does the path still lead here? then unlink (clean.c)
 */
#include "bus/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "bus/table.h"

enum {
    LIFE_BYTE = 0,
    POOL = LW__TABLE_ROWS - 1,
    CLEANER = 100000000 /* ns: a cleaner holds the lock for a moment, and who was killed until its memory is gone */
};

void lw__node_path(char path[LW__NODE_PATH], const char *name) {
    snprintf(path, LW__NODE_PATH, "nodes/%s", name);
}

/* ---- probing ----------------------------------------------------------------------------------------------------- */

static int read_pid(int fd) {
    char text[64] = "";
    int pid = 0;
    if (pread(fd, text, sizeof text - 1, 0) <= 0 || sscanf(text, "pid %9d", &pid) != 1 || pid < 0) return 0;
    return pid;
}

/* No file: nobody holds the name, unless somebody removes files of the living by hand. Then ours is gone too, as far as
 * we can see. */
static int no_file(const struct lw_bus *bus) {
    char path[LW__NODE_PATH];
    if (bus->node_fd < 0) return 0;
    lw__node_path(path, bus->node);
    return lw__file_same(&bus->dir, path, bus->node_fd) == 1 ? 0 : -ESTALE;
}

int lw__node_probe(const struct lw_bus *bus, const char *name, int *pid) {
    char path[LW__NODE_PATH];
    lw__node_path(path, name);
    if (pid) *pid = 0;
    int fd = lw__file_open(&bus->dir, path, O_RDONLY);
    if (fd == -ENOENT) return no_file(bus);
    if (fd < 0) return fd;
    int held = lw__byte_locked(fd, LIFE_BYTE);
    if (held == 1 && pid) *pid = read_pid(fd);
    close(fd);
    return held;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static int make_file(const struct lw_bus *bus, const char *path) {
    char temp[LW__TEMP_MAX];
    int fd = lw__temp_make(&bus->dir, "nodes", 0, temp);
    if (fd < 0) return fd;
    int rc = lw__temp_link(&bus->dir, fd, temp, path, false);
    close(fd);
    if (rc == -EEXIST || rc == -ENOENT) return 0; /* somebody was faster, or a cleaner came between */
    return rc ? lw__file_explain(&bus->dir, path, rc) : 0;
}

/* Opened by its final name in any case: watchers of the folder are told the name a file was opened by. */
static int open_file(const struct lw_bus *bus, const char *path) {
    int fd, rc;
    while ((fd = lw__file_open(&bus->dir, path, O_RDWR)) == -ENOENT)
        if ((rc = make_file(bus, path))) return rc;
    return fd < 0 ? lw__file_explain(&bus->dir, path, fd) : fd;
}

static int held(const struct lw_bus *bus, const char *name, int fd) {
    return lw__fail(
        LW_EHELD, "%s: node name %s is held by live process %d (a stopped one is alive); end it, or take another name",
        bus->dir.path, name, read_pid(fd));
}

/* A descriptor that holds the lock of the file that the path leads to. */
static int lock_file(const struct lw_bus *bus, const char *name, int64_t wait) {
    char path[LW__NODE_PATH];
    lw__node_path(path, name);
    for (;;) {
        int fd = open_file(bus, path);
        if (fd < 0) return fd;
        int rc = lw__byte_lock(fd, LIFE_BYTE, wait);
        if (!rc) rc = lw__file_same(&bus->dir, path, fd);
        if (rc == 1) return fd;
        if (rc == -EAGAIN)
            held(bus, name, fd);
        else if (rc < 0)
            lw__file_explain(&bus->dir, path, rc);
        close(fd);
        if (rc < 0) return rc == -EAGAIN ? LW_EHELD : rc;
    }
}

/* For people, and for messages. On a full disk it stays as it is: only the lock matters, and tidying needs a node. */
static void write_text(const struct lw_bus *bus) {
    char text[80];
    int n = snprintf(text, sizeof text, "pid %d\nboot ", getpid());
    for (int i = 0; i < 16; i++) n += snprintf(text + n, sizeof text - (size_t)n, "%02x", bus->boot[i]);
    text[n++] = '\n';
    if (pwrite(bus->node_fd, text, (size_t)n, 0) == n) (void)!ftruncate(bus->node_fd, n);
}

/* Pairs with the acquire in lw__table_epoch() and the compare-and-swap in lw__owner_gone(). */
static int start(struct lw_bus *bus, const char *name, int64_t wait) {
    int id = lw__table_find(bus, name);
    if (id < 0) return id;
    int fd = lock_file(bus, name, wait);
    if (fd < 0) return fd;
    /* The lock is held and the path leads to it: only now the epoch is ours. Closers compare-and-swap the same word. */
    uint64_t epoch = __atomic_add_fetch(&lw__table_row(bus, (uint32_t)id)->epoch, 1, __ATOMIC_SEQ_CST);
    bus->node_fd = fd;
    memcpy(bus->node, name, strlen(name) + 1);
    if (epoch > UINT32_MAX)
        return lw__fail(LW_ECORRUPT, "%s/bus: epoch of node %s is out of range", bus->dir.path, name);
    bus->owner = lw__owner_word((uint32_t)epoch, (uint16_t)id);
    write_text(bus);
    return 0;
}

/* The lowest name that nobody holds. One look at a file for each that is held; who loses a race goes on to the next. */
static int start_any(struct lw_bus *bus) {
    char name[LW_NAME_MAX + 1];
    for (int n = 1; n <= POOL; n++) {
        snprintf(name, sizeof name, "_%d", n);
        int rc = lw__node_probe(bus, name, NULL);
        if (rc < 0) {
            lw__fail(rc, "%s/nodes/%s: %s", bus->dir.path, name, strerror(-rc));
            return rc;
        }
        if (rc == 0)
            rc = start(bus, name, 0);
        else
            continue;
        if (rc != LW_EHELD) return rc;
    }
    return lw__fail(LW_EHELD, "%s: all %d generated node names are held by live processes", bus->dir.path, POOL);
}

int lw__node_start(struct lw_bus *bus, const char *name) {
    return name ? start(bus, name, CLEANER) : start_any(bus);
}

/* The epoch is left for others to close: they find no file. */
void lw__node_stop(struct lw_bus *bus) {
    char path[LW__NODE_PATH];
    if (bus->node_fd < 0) return;
    lw__node_path(path, bus->node);
    if (lw__file_same(&bus->dir, path, bus->node_fd) == 1) unlinkat(bus->dir.fd, path, 0);
    close(bus->node_fd);
    bus->node_fd = -1;
}

/* SPDX-License-Identifier: MIT */
/*
 * laneway/bus.h - the directory in which the processes of one host meet, and this process's place in it.
 *
 * A bus is a directory; processes that open the same directory share memory. A node is a process (more exactly: a bus
 * handle) on a bus, by name. It is alive exactly as long as it holds a kernel lock on its node file, so a crash frees
 * everything without help and without time-outs; nothing is ever taken from a process that is merely slow or stopped.
 *
 * A bus handle may be shared by threads. Handles opened on it (publishers, subscribers) belong to one thread at a time.
 * After fork() the child can only close: every other call on an inherited handle gives LW_EFORKED, and what points into
 * a ring (lw_msg.data, reservations) is not mapped there.
 *
 * Do not close descriptors that are not yours (closefrom() after opening): without its life lock a process counts as
 * dead.
 *
 * Structs with a `size` begin with their _INIT; a library that is newer or older than the program then knows what it
 * has.
 */
#ifndef LANEWAY_BUS_H
#define LANEWAY_BUS_H

#include <stddef.h>
#include <stdint.h>

#include "laneway/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The number of the inline functions' agreement with the library; lw_bus_open() checks it. */
#define LW_ABI 5u

/* Times are nanoseconds. LW_FOREVER waits without end, 0 never waits. */
#define LW_FOREVER INT64_C(-1)
#define LW_MS(ms) (INT64_C(1000000) * (ms))
#define LW_SEC(s) (INT64_C(1000000000) * (s))

/* Longest name of a node, of one level of a topic, of a subscriber, of a schema; without the NUL. */
#define LW_NAME_MAX 63

struct lw_bus;

enum lw_bus_flags {
    LW_BUS_OBSERVE = 1 /* look only: join no node, create nothing; publishing and subscribing give LW_ESTATE */
};

struct lw_bus_options {
    size_t size;       /* sizeof (struct lw_bus_options) */
    const char *dir;   /* NULL: $LANEWAY_DIR, else /dev/shm/laneway-<uid> */
    const char *node;  /* this process's name on the bus; NULL: one from a pool (_1, _2, ...) */
    const char *group; /* create the bus for this group of users (name or number); NULL: for this user alone */
    unsigned flags;    /* enum lw_bus_flags */
};
#define LW_BUS_OPTIONS_INIT                                                                                            \
    { sizeof(struct lw_bus_options), NULL, NULL, NULL, 0 }

/*
 * Opens the bus, makes it if it is not there, and joins it as a node. `options` may be NULL. Never waits for another
 * process's progress for more than five seconds.
 *
 * Errors: LW_ENAME; LW_EHELD (a live process has this node name; the text says its pid); LW_EVERSION; LW_ECORRUPT;
 * LW_EFS (network, FUSE and copy-on-write filesystems); LW_ENOBUS (observing what is not there); LW_ESHAPE (the bus
 * exists, but not for this group); LW_EABI; -EACCES (the text says path, owner, mode and your uid); -EPERM (you are not
 * in the group); -EINVAL (bad options, no such group); -ENOENT, -ENOTDIR, -ENAMETOOLONG, -ELOOP (of the path); -ENOSPC;
 * -EMFILE; -ENOMEM; -ETIMEDOUT (a stopped process keeps the bus file locked).
 */
LW_API int lw_bus_open_abi(struct lw_bus **bus, const struct lw_bus_options *options, unsigned abi);
LW_INLINE int lw_bus_open(struct lw_bus **bus, const struct lw_bus_options *options) {
    return lw_bus_open_abi(bus, options, LW_ABI);
}

/* Leaves the bus and frees the handle. -EBUSY (and nothing happens) while publishers or subscribers are open on it.
 * NULL is fine. In a forked child it only frees. */
LW_API int lw_bus_close(struct lw_bus *bus);

LW_API const char *lw_bus_dir(const struct lw_bus *bus);  /* the directory; lives as long as the handle */
LW_API const char *lw_bus_node(const struct lw_bus *bus); /* this node's name, "" when observing */

struct lw_node_info {
    char name[LW_NAME_MAX + 1];
    uint32_t id;    /* row of the node table */
    uint32_t epoch; /* how often the name was started or found dead */
    int alive;      /* 1 while a process holds the name */
    int pid;        /* of the holder, in its own pid namespace; 0 when not alive */
};

/* Calls `each` for every node the bus has ever known. A non-zero return ends the walk and is returned. */
LW_API int lw_bus_nodes(struct lw_bus *bus, int (*each)(const struct lw_node_info *node, void *user), void *user);

struct lw_clean_result {
    size_t size;    /* sizeof (struct lw_clean_result), set by the caller */
    size_t nodes;   /* files of dead nodes removed */
    size_t readers; /* slots of dead subscribers (not the durable ones) freed */
    size_t writers; /* dead publishers cleared away */
    size_t files;   /* unfinished files of dead creators, and bells of dead nodes, removed */
};

#define LW_CLEAN_RESULT_INIT                                                                                           \
    { sizeof(struct lw_clean_result), 0, 0, 0, 0 }

/* Takes back what dead processes left, unfinished files too. Whoever opens a topic does this for that topic, so nobody needs it; it tidies.
 * `result` may be NULL. */
LW_API int lw_bus_clean(struct lw_bus *bus, struct lw_clean_result *result);

#ifdef __cplusplus
}
#endif
#endif

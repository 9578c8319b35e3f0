/* SPDX-License-Identifier: MIT */
/*
 * bus/watch.h - hearing of deaths at once, and of folders in which something was touched: one inotify descriptor for a
 * bus handle, however many peers there are. It is in the epoll set of each group that waits for such things; whichever
 * thread comes first reads it, and rings the other groups.
 */
#ifndef LW_BUS_WATCH_H
#define LW_BUS_WATCH_H

#include "bus/bus.h"

/* Somebody touched the entry `name` of the folder (NULL: look at all of them). By any thread; must not wait, and must
 * not call the watch. */
struct lw__watch_folder {
    struct lw__watch_folder *next;
    int id;         /* of inotify; -1 */
    char path[128]; /* below the bus */
    void (*touched)(struct lw__watch_folder *folder, const char *name);
};

void lw__watch_init(struct lw_bus *bus);
/* Begins, if it has not begun. Without an inotify instance (limits: fs.inotify.*) nothing is heard, and lw__watch_fd()
 * is -1: callers look by timer. Inside enter/leave. */
void lw__watch_start(struct lw_bus *bus);
void lw__watch_stop(struct lw_bus *bus); /* when the bus is closed; and in a forked child, where it only closes */

static inline int lw__watch_fd(const struct lw_bus *bus) {
    return bus->watch.fd;
}

/* Reads what there is, looks at the suspects that are due, closes epochs of the dead, tells the folders. Never waits:
 * when another thread is at it, it does it. `now` 0: the clock is read if needed. */
void lw__watch_turn(struct lw_bus *bus, int64_t now);

/* Is there a suspect to look at? When, on the monotonic clock; INT64_MAX: no. */
static inline int64_t lw__watch_next(const struct lw_bus *bus) {
    return __atomic_load_n(&bus->watch.next, __ATOMIC_RELAXED);
}
/* Pairs with note_deaths(). */
static inline uint64_t lw__watch_deaths(const struct lw_bus *bus) {
    return __atomic_load_n(&bus->watch.deaths, __ATOMIC_ACQUIRE);
}
/* Pairs with tell_folders(). */
static inline uint64_t lw__watch_touches(const struct lw_bus *bus) {
    return __atomic_load_n(&bus->watch.touches, __ATOMIC_ACQUIRE);
}

/* A folder below the bus whose entries are touched (utimensat) to call attention. It must exist. -errno: nothing will be
 * heard of it. Inside enter/leave. */
int lw__watch_add(struct lw_bus *bus, struct lw__watch_folder *folder);
void lw__watch_remove(struct lw_bus *bus, struct lw__watch_folder *folder);
int lw__watch_touch(struct lw_bus *bus, const char *path);

/* Groups that are to be rung after a change. Linked by lw_group.next_watching. */
void lw__watch_join(struct lw_bus *bus, struct lw_group *group);
void lw__watch_leave(struct lw_bus *bus, struct lw_group *group);

#endif

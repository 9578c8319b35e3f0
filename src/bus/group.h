/* SPDX-License-Identifier: MIT */
/*
 * bus/group.h - what a group waits on: sources. A handle (subscriber, publisher, link, server) has one; group.c polls
 * them and knows nothing of what they are.
 */
#ifndef LW_BUS_GROUP_H
#define LW_BUS_GROUP_H

#include "bus/bell.h"
#include "bus/bus.h"
#include "bus/due.h"
#include "laneway/fast.h"
#include "laneway/group.h"

struct lw__source;

/* All but `bell` are called by the thread of the group, `due` and `drive` also within a call of it that waits. None
 * waits. */
struct lw__source_ops {
    /* What is there to do? Fills in up to `room` events (kind, code and handle) and returns how many. `closely`: it was
     * rung for, or is new, or a tick found something; else only its ring shows something. */
    int (*look)(struct lw__source *source, bool closely, struct lw_event *events, int room);
    /* Would look() tell anything? Besides what shows in its ring (`rx`). Cheap, no system call. */
    bool (*peek)(struct lw__source *source);
    /* Sets or clears its bits in the masks of its lanes. */
    void (*park)(struct lw__source *source, bool on);
    /* Where to ring for it from now on; 0 nowhere. By the thread that moves it. */
    void (*bell)(struct lw__source *source, uint64_t word);
    /* Now and then (system calls are all right), and when somebody died: looks for what nobody rings for. True: look() has something new. */
    bool (*tick)(struct lw__source *source, int64_t now);
    /* Somebody died: is that news for this one? Cheap, no system call. NULL: tick() knows. */
    bool (*mourns)(struct lw__source *source);
    /* The time that it asked for (lw__source_due) has come; it may ask for another. True: look() has something new. NULL:
     * look() is called. */
    bool (*due)(struct lw__source *source, int64_t now);
    /* A call waits on this one handle, and look() is not called meanwhile: does its input and output, as far as that is
     * possible now. NULL: it has none. */
    void (*drive)(struct lw__source *source);
};

enum lw__source_place { LW__NO_GROUP, LW__COMING, LW__BUSY, LW__PARKED };

/* All by the thread of its group; but while it is LW__COMING, by the one that moves it. */
struct lw__source {
    const struct lw__source_ops *ops;
    struct lw_group *group; /* NULL: none */
    struct lw_group *own;   /* of a handle that waits by itself, made when it first sleeps */
    struct lw_bus *bus;
    const struct lw__rx *rx; /* its ring, for a quick look; NULL: it has none */
    void *user;
    struct lw__source *next_coming;
    struct lw__source *next_hearing;
    uint32_t index;   /* in the group's table, and in its bell */
    uint32_t busy_at; /* in the group's list of those that are awake */
    enum lw__source_place place;
    bool attention;    /* look() is to be called whatever the ring says */
    bool polled;       /* look() is to be called each turn: for what does not show in its ring */
    bool hears;        /* wants attention whenever a watched folder was touched */
    bool parked;       /* its bits are set */
    bool unrung;       /* nobody looks at such bits: it has none, or what it waits for comes by its descriptor */
    int64_t tick_wish; /* ns between two ticks, at most; 0: any */
    uint64_t active;   /* turn of the group in which it last had something to do */
    int fd;            /* that it waits for as well; -1: none */
    uint32_t fd_events;
    bool fd_in;       /* the group waits for it ... */
    bool fd_told;     /* ... and it is in the epoll set: not while each turn looks at it */
    bool fd_missing;  /* ... is to be, and there was no room when it came: ticks try again, and look at it */
    uint32_t due_at;  /* where it is in the group's heap, if it is in a group and has a time */
    int64_t due;      /* INT64_MAX: never */
    uint32_t ring_at; /* for rings of other threads, as `group` is: under bells_lock */
};

struct lw_group {
    struct lw_bus *bus;
    struct lw__handle handle;
    struct lw__bell bell;
    bool cut;
    bool alone; /* belongs to one handle: no watch, no epoll set; lw__source_sleep() is all that is called */
    int epoll;
    int timer; /* -1 until an outer loop wants it */
    int64_t spin;
    int64_t time;              /* given by the user; 0: read the clock */
    struct lw__source **table; /* by index; 0 is the group itself */
    uint32_t table_size;
    uint32_t table_free; /* no free index is below */
    uint32_t table_top;  /* all are below */
    uint64_t handles;
    struct lw__source **busy; /* those that are looked at each turn */
    uint32_t busy_count;
    uint32_t next; /* of them, where the next turn begins */
    uint64_t turns;
    uint64_t cycles; /* when it was last tidied */
    uint64_t tidied_turn;
    int64_t ticked;
    uint32_t tick_next; /* index: a tick looks at some of a large group */
    int64_t tick_wish;  /* a handle wants ticks this often; 0: none does */
    bool unfenced;      /* there are no membarriers: bits stay set, sleeps are short */
    uint64_t deaths_seen;
    uint64_t touches_seen;
    struct lw__source *hearing; /* those that want to know of touched folders */
    uint32_t fds;               /* sources whose descriptor is in the epoll set */
    uint32_t fds_missing;       /* ... and is not, for want of room */
    struct lw__dues dues;
    int64_t due_after; /* while those that are due are told: another time that one asks for is later than this */
    uint64_t glanced;  /* cycles, when the sockets and due times were last looked at */
    bool woken;        /* lw_group_wake(), to be told */
    bool fifo_full;    /* somebody has written to it since it was emptied, as far as we know */
    struct lw_group *next_watching;
    pthread_mutex_t coming_lock;
    struct lw__source *coming; /* moved here by other threads; atomic */
    struct lw_group_stats stats;
};

/* ---- for handles -------------------------------------------------------------------------------------------------- */

void lw__source_init(struct lw__source *source, struct lw_bus *bus, const struct lw__source_ops *ops,
                     const struct lw__rx *rx);

/* Into a group, or none; out of the one where it is. 0, -EINVAL, -ENOSPC, -ENOMEM with text. Ends with a look at it by
 * the new group's next turn. */
int lw__source_move(struct lw__source *source, struct lw_group *group, void *user);

/* Out of any group, and its own one closed: before the handle is freed. */
void lw__source_close(struct lw__source *source);
void lw__source_cut(struct lw__source *source); /* in a forked child */

/* Its slots are others than before, or it waits for something else as well: where to ring is stored again, and its bits
 * count as not set. By the group's thread. */
void lw__source_renew(struct lw__source *source);

/* By the group's thread: something about the source changed that its ring does not show. */
void lw__source_attend(struct lw__source *source);

/* Any thread of this process: rings for the source, wherever it is; for one in no group nothing happens. The caller sees
 * to it that the source is not freed meanwhile. */
void lw__source_ring(struct lw__source *source);

/* From now on this descriptor also makes the source attend: `events` of it (EPOLLIN, EPOLLOUT; 0: only errors, which
 * are always told), level-triggered. So when it stays ready, look() is called again and again: take what there is, or ask
 * for less. Another call changes that; -1 takes it out, before the descriptor is closed. It moves with the source. By
 * the group's thread, or while it is in no group. 0, or -errno with text: then there is none (after a change of the
 * events: it is as before). */
int lw__source_watch(struct lw__source *source, int fd, uint32_t events);

/* ops->due() is called once, at that time of the monotonic clock or some 50 us after it; INT64_MAX: never. Another call
 * changes that. It moves with the source. By the group's thread, or while it is in no group. */
void lw__source_due(struct lw__source *source, int64_t when);

/* One handle waits by itself, in its group or its own one. prepare: its bits are set, a fence was run: look once more.
 * False: there is no bell to be had; sleep by the clock. Then sleep, `most` ns; it returns early when somebody rang, for
 * whatever handle of the group. -EINTR. done: it is awake again. */
bool lw__source_prepare(struct lw__source *source);
int lw__source_sleep(struct lw__source *source, int64_t most);
void lw__source_done(struct lw__source *source);

/* In each turn of such a call: its input and output, and what is due in its group. False: it has no input and output. */
bool lw__source_drive(struct lw__source *source);

/* The time as the group has it. */
int64_t lw__group_now(const struct lw_group *group);

/* Another thread closed epochs, or a folder was touched: by the watch. Safe for any thread. */
void lw__group_ring(struct lw_group *group);

/* ---- between group.c and group_open.c ----------------------------------------------------------------------------- */

enum { LW__ITSELF = 0 }; /* index of the group */

/* What an epoll set tells of: the index of a source, or one of these. */
enum lw__group_from { LW__FROM_FIFO = LW__BELL_INDEXES, LW__FROM_WATCH, LW__FROM_TIMER };

int lw__group_open(struct lw_group **group, struct lw_bus *bus, uint32_t words, bool alone);
int lw__group_add_fd(struct lw_group *group, int fd, enum lw__group_from from);

/* Its place has changed: what is told of its descriptor may have to. */
void lw__source_moved_place(struct lw__source *source);

/* The sources that other threads left here. */
void lw__group_take(struct lw_group *group);
static inline bool lw__group_is_coming(const struct lw_group *group) {
    return __atomic_load_n(&group->coming, __ATOMIC_RELAXED);
}
/* Leaves it there. */
void lw__group_push(struct lw_group *group, struct lw__source *source);

void lw__group_add_busy(struct lw_group *group, struct lw__source *source);
void lw__group_drop_busy(struct lw_group *group, struct lw__source *source);
void lw__source_set_parked(struct lw__source *source, bool on);

/* Its descriptor into the set of its group, if there was no room before. */
void lw__source_enter_again(struct lw__source *source);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * bus/group.h - what a group waits on: sources. A handle (subscriber, publisher, link, server) has one; group.c polls
 * them and knows nothing of what they are.
 */
#ifndef LW_BUS_GROUP_H
#define LW_BUS_GROUP_H

#include "bus/bell.h"
#include "bus/bus.h"
#include "laneway/fast.h"
#include "laneway/group.h"

struct lw__source;

/* All but `bell` are called by the thread of the group. None waits. */
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
    int64_t tick_wish; /* ns between two ticks, at most; 0: any */
    uint64_t active;   /* turn of the group in which it last had something to do */
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
    bool woken;                 /* lw_group_wake(), to be told */
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

/* By any thread and process in this one: rings for the source, wherever it is. */
void lw__source_ring(struct lw__source *source);

/* One handle waits by itself, in its group or its own one. prepare: its bits are set, a fence was run: look once more.
 * False: there is no bell to be had; sleep by the clock. Then sleep, `most` ns; it returns early when somebody rang, for
 * whatever handle of the group. -EINTR. done: it is awake again. */
bool lw__source_prepare(struct lw__source *source);
int lw__source_sleep(struct lw__source *source, int64_t most);
void lw__source_done(struct lw__source *source);

/* The time as the group has it. */
int64_t lw__group_now(const struct lw_group *group);

/* Another thread closed epochs, or a folder was touched: by the watch. Safe for any thread. */
void lw__group_ring(struct lw_group *group);

#endif

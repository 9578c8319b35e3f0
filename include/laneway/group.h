/* SPDX-License-Identifier: MIT */
/*
 * laneway/group.h - what one thread waits on.
 *
 * A group is poller, bell, descriptor and shard in one: subscribers, publishers that wait for room, links and servers
 * belong to it, and one call tells which of them have something to do. A thread that serves half of the links has a
 * group with half of the links; a handle moves from group to group while it is running.
 *
 * Waiting is spinning for a moment, then sleeping in the kernel. Who sends to a sleeping group writes one byte to its
 * bell; who sends to a group that is awake writes nothing at all. A sleep ends by itself after a second at the latest,
 * and looks at a thousand handles, the next one at others: a sender that was killed in the midst of ringing costs its
 * own message that long.
 *
 * Take some messages of a handle at a time (64, say), not all that come: a sender that is as fast as you would keep you
 * from the other events. What is left is told again.
 *
 * A group belongs to one thread at a time, and so do the handles in it. lw_group_wake() may be called from anywhere.
 * A handle that is in no group waits by itself: calls with a timeout work the same.
 *
 * LW_READABLE and a server's LW_LOGIN are level-triggered: what is not dealt with is told again by the next poll. The
 * others are changes, and told once; LW_WRITABLE once for each refused send.
 */
#ifndef LANEWAY_GROUP_H
#define LANEWAY_GROUP_H

#include "laneway/bus.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lw_group;
struct lw_link;
struct lw_pub;
struct lw_server;
struct lw_sub;

#define LW_US(us) (INT64_C(1000) * (us))

enum lw_event_kind {
    LW_READABLE = 1, /* sub, link: the next receive does not wait (it may be an error that it returns) */
    LW_WRITABLE = 2, /* pub, link: a send was refused with LW_EFULL, and would be taken now */
    LW_UP = 3,       /* link: the other side is there, and (to a client) has accepted */
    LW_DOWN = 4,     /* link: it is not there any more; code: LW_EDEAD killed, LW_ECLOSED closed (lw_link_reason()) */
    LW_REFUSED = 5,  /* link: the server refused; lw_link_reason() has its words */
    LW_LOGIN = 6,   /* server: a client wants in, lw_server_login(); link: its client wants in again, lw_link_login() */
    LW_STUCK = 7,   /* link: the other side lives, and takes nothing of what was sent to it. Decides nothing */
    LW_MOVING = 8,  /* link: it does again */
    LW_WOKEN = 9,   /* lw_group_wake() was called */
    LW_RENEWED = 10 /* link over TCP: one side has lost its files, and begins anew; code: enum lw_renewed (link.h) */
};

struct lw_event {
    enum lw_event_kind kind;
    int code;   /* LW_DOWN: why. LW_LOGIN: 0 of a server, 1 of a link */
    void *user; /* of the handle */
    union {     /* the handle; none for LW_WOKEN */
        struct lw_sub *sub;
        struct lw_pub *pub;
        struct lw_link *link;
        struct lw_server *server;
    };
};

struct lw_group_options {
    size_t size;  /* sizeof (struct lw_group_options) */
    int64_t spin; /* ns to look again and again before sleeping; 0: sleep at once, LW_FOREVER: never sleep */
};
#define LW_GROUP_OPTIONS_INIT                                                                                          \
    { sizeof(struct lw_group_options), LW_US(20) }

/* Opens an empty group. `options` may be NULL. Takes three descriptors.
 * Errors: LW_ESTATE (observing bus), -EINVAL (an option), -ENOSPC, -ENOMEM, -EMFILE, -EACCES, LW_EFORKED. */
LW_API int lw_group_open(struct lw_group **group, struct lw_bus *bus, const struct lw_group_options *options);

/* -EBUSY (and nothing happens) while handles are in it. NULL is fine. */
LW_API int lw_group_close(struct lw_group *group);

/*
 * Waits up to `timeout` until there is something to do, and fills in up to `most` events. Returns how many; 0: nothing
 * within the time. -EINTR: a signal handler ran while asleep, or the process was stopped and continued. LW_EFORKED.
 * A handle is named once for each kind. Handles take turns: when there are more events than `most`, the next poll begins with the others. A link may be in
 * several events of one poll (LW_DOWN, then LW_LOGIN): when one of them makes you close it, skip the rest.
 */
LW_API int lw_group_poll(struct lw_group *group, struct lw_event *events, int most, int64_t timeout);

/*
 * For a loop of another kind (epoll, libuv, poll): a descriptor that becomes readable when lw_group_poll() with timeout
 * 0 has something to do or to tidy. Watch it for reading, level-triggered, and call lw_group_arm() each time before the
 * loop sleeps: without it nobody knows that this group sleeps, and nobody rings. The group's, do not close or read it.
 */
LW_API int lw_group_fd(const struct lw_group *group);

/* 0: the loop may sleep, the descriptor will wake it. 1: there is something to do right now (and the descriptor is
 * readable already, so that a loop that does not look at this result works as well). Or an error as of lw_group_poll().
 */
LW_API int lw_group_arm(struct lw_group *group);

/* Ends the group's sleep, or the next one: the poll tells LW_WOKEN. Several calls may be told once. From any thread and
 * from signal handlers; not in a forked child. */
LW_API void lw_group_wake(struct lw_group *group);

/* The group takes this as the time (CLOCK_MONOTONIC, ns) instead of reading the clock, until it sleeps or is told
 * another: for programs that read it anyway. 0: it reads the clock itself. */
LW_API void lw_group_set_time(struct lw_group *group, int64_t now);

struct lw_group_stats {
    size_t size;      /* sizeof (struct lw_group_stats), set by the caller */
    uint64_t handles; /* in the group */
    uint64_t parked;  /* of them: asleep, their senders will ring */
    uint64_t polls;
    uint64_t parks;      /* so often handles were put to sleep, one or many at a time: a membarrier each */
    uint64_t sleeps;     /* the group went to sleep, or was about to when it was rung for */
    uint64_t rings;      /* a sleep was ended by a sender: never more than sleeps */
    uint64_t ticks;      /* a sleep ended by itself */
    uint64_t tick_finds; /* ... and found something that nobody rang for */
};
#define LW_GROUP_STATS_INIT                                                                                            \
    { sizeof(struct lw_group_stats), 0, 0, 0, 0, 0, 0, 0, 0 }

LW_API int lw_group_stat(const struct lw_group *group, struct lw_group_stats *stats);

/*
 * Puts the handle into a group, from the one where it is, if any; NULL: into none. `user` goes into its events. By the
 * thread that has the handle (and polls the group where it is); from then on it belongs to the thread that polls the
 * new one. 0; -EINVAL (group of another bus), LW_EFORKED, -ENOSPC (more than 65,535 handles).
 */
LW_API int lw_sub_move(struct lw_sub *sub, struct lw_group *group, void *user);
LW_API int lw_pub_move(struct lw_pub *pub, struct lw_group *group, void *user);
LW_API int lw_link_move(struct lw_link *link, struct lw_group *group, void *user);
LW_API int lw_server_move(struct lw_server *server, struct lw_group *group, void *user);

#ifdef __cplusplus
}
#endif
#endif

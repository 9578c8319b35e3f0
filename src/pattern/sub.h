/* SPDX-License-Identifier: MIT */
/* pattern/sub.h - what a subscriber is made of; sub_open.c opens and follows, sub.c receives. */
#ifndef LW_PATTERN_SUB_H
#define LW_PATTERN_SUB_H

#include "bus/group.h"
#include "pattern/file.h"

struct lw_sub {
    struct lw__reader reader; /* first: laneway/fast.h works on its beginning */
    struct lw__file file;
    struct lw__handle handle;
    char name[LW_NAME_MAX + 1]; /* "" when not durable */
    struct lw_shape shape;      /* as asked for; its schema is `schema` */
    char schema[LW_NAME_MAX + 1];
    struct lw__place begin;
    struct lw__place end; /* what was released when it was gone */
    bool cut;             /* a forked child's copy */
    uint64_t untold;      /* so many messages eviction took, to be told at the next call */
    bool evicted_once;    /* since the last call that told */
    bool told;            /* of what an unclean reboot took: the next call may forget it */
    int owed; /* a loss that lw_sub_dispatch() came upon after it had handled messages: the next call tells */
    bool lossy;
    uint64_t max_lag;
    bool dispatching; /* a handler is running ... */
    bool closing;     /* ... and closed us: free when it returns */
    int gone; /* why nothing comes any more, LW_ECLOSED or a misfit; the slot is given back, the mapping is there */
    uint64_t waits;
    uint64_t refused;
    uint64_t lost;
    uint64_t evicted;
    struct lw__source source;
    struct lw__source *waiter; /* by which it waits: `source`, or that of the link whose end this is */
    void (*released)(struct lw__source *waiter); /* a link's over TCP: called after each release instead of ringing */
};

/* Does the next receive have something to say? Cheap. */
bool lw__sub_is_due(const struct lw_sub *sub);
extern const struct lw__source_ops lw__sub_ops;

/* Looks for what nobody rings for: a file removed by hand. */
void lw__sub_tick(struct lw_sub *sub);

void lw__sub_free(struct lw_sub *sub);

/*
 * A side of a link opens its reading end: the durable place `name`, which exists, of the lane at `file` (title, name,
 * path, kind and thrifty are looked at). With the bus entered. -ENOENT when there is no such file, LW_EHELD, LW_ECORRUPT
 * (also without such a place), LW_EVERSION, ..., with text.
 */
int lw__sub_open_file(struct lw_sub **sub, struct lw_bus *bus, const struct lw__file *file, const char *name);

/* From now on each release is told. */
void lw__sub_tell_releases(struct lw_sub *sub, void (*released)(struct lw__source *waiter));

/* The handle stays, and goes on in the file that is at the path now, at the place of the same name there. Nothing that it
 * handed out is held any more. The bus is entered. An error, with text: it stays where it is. */
int lw__sub_rejoin(struct lw_sub *sub);

/* lw_sub_close() with the bus entered. In a forked child nothing can be entered: lw_sub_close(). */
void lw__sub_close_entered(struct lw_sub *sub);

/* Says where it is corrupt. Returns LW_ECORRUPT. */
int lw__sub_corrupt(struct lw_sub *sub);
int lw__sub_no_slot(struct lw_sub *sub);

/* Says what is wrong for LW_ECLOSED, -ENOMEM. Returns `rc`. */
int lw__sub_failed(const struct lw_sub *sub, int rc);

/* Another file is at the path: goes where our slot went. 0, or why not: `gone` is then set, unless it may work later.
 */
int lw__sub_follow(struct lw_sub *sub);

/* The statistics go on counting when the place changes by other means than releasing. */
void lw__sub_shift(struct lw_sub *sub, struct lw__place before);

#endif

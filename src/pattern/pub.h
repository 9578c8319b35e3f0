/* SPDX-License-Identifier: MIT */
/* pattern/pub.h - what a publisher is made of. */
#ifndef LW_PATTERN_PUB_H
#define LW_PATTERN_PUB_H

#include "bus/group.h"
#include "pattern/file.h"

struct lw_pub {
    struct lw__writer writer; /* first: laneway/fast.h works on its beginning */
    struct lw__file file;
    struct lw__handle handle;
    unsigned flags;
    bool cut; /* a forked child's copy */
    uint64_t waits;
    uint64_t refused;
    int64_t looked; /* when the life of who is in our way was last looked at */
    int64_t swept;  /* when we last looked for the dead of a topic with evict_age */
    struct lw__source source;
    struct lw__source *waiter; /* by which it waits for room: `source`, or that of the link whose end this is */
    uint64_t want; /* a send found no room for so many bytes in the ring, and nobody was told of any since */
    void (*around)(struct lw__source *waiter); /* a link's: looks at the other side while a send waits */
    void (*sent)(struct lw__source *waiter);   /* a link's over TCP: called after each send instead of ringing */
    int veto;                                  /* why every send is refused; 0: none is */
};

/* Is there what a refused send wants, or something else to be told by the next one? Cheap. */
bool lw__pub_is_due(const struct lw_pub *pub);
/* Somebody was told: a refused send may be tried again. */
void lw__pub_told(struct lw_pub *pub);
/* Looks for what nobody rings for: dead subscribers that hold back, a file removed by hand. */
void lw__pub_tick(struct lw_pub *pub);
/* Its bits in the masks, and where to ring. */
void lw__pub_park(struct lw_pub *pub, bool on);
void lw__pub_bell(struct lw_pub *pub, uint64_t bell);
/* Looks at the lane's own mask of readers that sleep; a process that is not registered for membarriers always goes the
 * slow path, which runs a fence. */
void lw__pub_set_masks(struct lw_pub *pub);
/* Refuses every send from now on; 0: does not any more. */
void lw__pub_veto(struct lw_pub *pub, int veto);

/*
 * A side of a link opens its writing end: it is the only writer of the lane at `file` (title, name, path, kind and
 * thrifty are looked at), which exists. With the bus entered. -ENOENT when there is no such file, LW_EHELD, LW_ECORRUPT,
 * LW_EVERSION, ..., with text.
 */
int lw__pub_open_file(struct lw_pub **pub, struct lw_bus *bus, const struct lw__file *file);

/* lw_pub_close() with the bus entered. In a forked child nothing can be entered: lw_pub_close(). */
void lw__pub_close_entered(struct lw_pub *pub);

#endif

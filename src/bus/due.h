/* SPDX-License-Identifier: MIT */
/*
 * bus/due.h - a group's sources by the time at which they are due: a binary heap, the earliest first. Of thousands with
 * a time, only those cost anything that are due, or get another time.
 */
#ifndef LW_BUS_DUE_H
#define LW_BUS_DUE_H

#include <stdint.h>

struct lw__source;

struct lw__dues {
    struct lw__source **heap; /* room for all sources of the group; each knows its place, due_at */
    uint32_t count;
};

/* source->due was set, and is not INT64_MAX; it is not in yet. */
void lw__dues_add(struct lw__dues *dues, struct lw__source *source);
/* source->due was changed: it is in. */
void lw__dues_changed(struct lw__dues *dues, struct lw__source *source);
void lw__dues_drop(struct lw__dues *dues, struct lw__source *source);

/* When the first one is due; INT64_MAX: there is none. */
int64_t lw__dues_next(const struct lw__dues *dues);

#endif

/* SPDX-License-Identifier: MIT */
#include "bus/due.h"

#include "bus/group.h"

static void put(struct lw__dues *d, uint32_t at, struct lw__source *s) {
    d->heap[at] = s;
    s->due_at = at;
}

static void move_up(struct lw__dues *d, struct lw__source *s) {
    uint32_t at = s->due_at;
    for (uint32_t above; at > 0; at = above) {
        above = (at - 1) / 2;
        if (d->heap[above]->due <= s->due) break;
        put(d, at, d->heap[above]);
    }
    put(d, at, s);
}

static uint32_t earlier_below(const struct lw__dues *d, uint32_t at) {
    uint32_t below = 2 * at + 1;
    if (below + 1 < d->count && d->heap[below + 1]->due < d->heap[below]->due) below++;
    return below;
}

static void move_down(struct lw__dues *d, struct lw__source *s) {
    uint32_t at = s->due_at;
    for (uint32_t below; (below = earlier_below(d, at)) < d->count; at = below) {
        if (s->due <= d->heap[below]->due) break;
        put(d, at, d->heap[below]);
    }
    put(d, at, s);
}

void lw__dues_changed(struct lw__dues *d, struct lw__source *s) {
    move_up(d, s);
    move_down(d, s);
}

void lw__dues_add(struct lw__dues *d, struct lw__source *s) {
    put(d, d->count++, s);
    move_up(d, s);
}

void lw__dues_drop(struct lw__dues *d, struct lw__source *s) {
    struct lw__source *last = d->heap[--d->count];
    if (last == s) return;
    put(d, s->due_at, last);
    lw__dues_changed(d, last);
}

int64_t lw__dues_next(const struct lw__dues *d) {
    return d->count ? d->heap[0]->due : INT64_MAX;
}

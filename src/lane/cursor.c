/* SPDX-License-Identifier: MIT */
/* lane/cursor.c - reading positions that others move. */
#include "lane/lane.h"

/* The writer stores the number that is not selected, then `pos`. If `pos` is the same before and after, the number it
 * selects was not being written: for that, pos would have had to move on by one store, and positions never come back.
 * A number of a later state, should we load one, brings that moved `pos` with it by its release, and the second look
 * differs. */
bool lw__cursor_load(const struct lw__cursor *cursor, struct lw__place *place) {
    for (int tries = 0; tries < 1 << 20; tries++) {
        uint64_t pos = lw__load_acquire(&cursor->pos); /* pairs with lw__cursor_store */
        uint64_t number = lw__load_acquire(&cursor->number[pos & 1]);
        if (lw__load(&cursor->pos) != pos) continue;
        *place = (struct lw__place){.pos = pos == LW__NOWHERE ? pos : pos & ~UINT64_C(7), .number = number};
        return true;
    }
    return false;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static const uint64_t *header_at(const struct lw__lane *lane, uint64_t pos) {
    return (const uint64_t *)(const void *)(lane->data + (pos & lane->mask));
}

/* Pairs with the commit in lw__tx_publish(). */
LW__RACY static uint64_t load_racy(const uint64_t *word) {
    return lw__load_acquire(word);
}

static int check_header(const struct lw__lane *lane, uint64_t h, uint64_t *header, uint64_t *size) {
    *header = h;
    if (!h) return 0;
    uint64_t flags = h >> 48, len = (uint32_t)h;
#ifdef LW_PLANT_LENGTH_NOT_BOUNDED
    if (!(flags & LW__COMMITTED)) return LW_ECORRUPT;
#else
    if (!(flags & LW__COMMITTED) || flags & ~LW__FLAGS || len > lane->record_max) return LW_ECORRUPT;
#endif
    *size = lw__record_size(len);
    return 1;
}

int lw__record_at(const struct lw__lane *lane, uint64_t pos, uint64_t *header, uint64_t *size) {
    const uint64_t *word = header_at(lane, pos);
    int rc = check_header(lane, lw__load_acquire(word), header, size); /* pairs with the commit in lw__tx_publish */
#ifdef LW_PLANT_LENGTH_READ_AGAIN
    *header = lw__load(word), *size = lw__record_size((uint32_t)*header);
#endif
    return rc;
}

int lw__record_racy(const struct lw__lane *lane, uint64_t pos, uint64_t *header, uint64_t *size) {
    return check_header(lane, load_racy(header_at(lane, pos)), header, size);
}

/* What was read at `pos` may be bytes of a later lap if horizon has passed it: horizon moves before they are written
 * (lw__writer_room). Pairs with the fence of gain(), and that of enter_by_lock() for a later writer. */
static bool overtaken(const struct lw__lane *lane, uint64_t pos) {
#ifdef LW_PLANT_LOOK_WITHOUT_HORIZON
    return false;
#endif
    lw__fence_acquire();
    return lw__load(&lane->ctl->horizon) > pos;
}

/* The stored tail is behind by what was published inline since, less than a step, or by the one batch, half a ring, that
 * a writer was killed behind. A running one may move on while we walk: any end of a record or batch that was true on the
 * way is an answer, so the walk ends after half a ring too, at the last of them. */
static int walk_to_end(const struct lw__lane *lane, struct lw__place *place, bool *again) {
    struct lw__place at = *place;
    uint64_t first = at.pos, header = 0, size;
    *again = false;
    while (at.pos - first <= lane->ring / 2) {
        bool inside = header >> 48 & LW__MORE;
        int rc = lw__record_racy(lane, at.pos, &header, &size);
        if ((*again = overtaken(lane, at.pos))) return LW_ECORRUPT;
        if (!inside || rc < 0) *place = at;
        if (rc <= 0) return inside ? LW_ECORRUPT : rc; /* a batch is there whole or not at all */
        at.pos += size;
        at.number++;
    }
    bool moved = (lw__load(&lane->ctl->tail.pos) & ~UINT64_C(7)) != first;
    return moved ? 0 : LW_ECORRUPT; /* no death leaves more, and nobody is running */
}

int lw__lane_tail(const struct lw__lane *lane, struct lw__place *place) {
    bool again = true;
    int rc = LW_ECORRUPT;
    *place = (struct lw__place){0, 0};
    for (int tries = 0; tries < 1000 && again; tries++) {
        if (!lw__cursor_load(&lane->ctl->tail, place)) return LW_ECORRUPT;
        if (place->pos < lane->start || place->pos >= LW__POSITION_END) return LW_ECORRUPT;
        rc = walk_to_end(lane, place, &again);
    }
    return rc;
}

/* See struct lw__mark. In the first lap marks not written yet hold the start, which is in segment 0: theirs are others.
 * Pairs with lw__writer_settle(). */
static bool mark_load(const struct lw__lane *lane, unsigned i, struct lw__place *place) {
    const struct lw__mark *mark = &lane->ctl->marks[i];
    place->pos = lw__load_acquire(&mark->pos);
    place->number = lw__load_acquire(&mark->number);
    return place->pos >= lw__load(&lane->ctl->horizon) && place->pos % 8 == 0 &&
           (place->pos >> lane->segment_shift) % LW__MARKS == i;
}

/* Marks beyond the tail do not exist while a writer keeps to the rules; after an unclean reboot or a flipped bit they
 * may. */
static bool mark_between(const struct lw__lane *lane, uint64_t last, bool want_oldest, struct lw__place *best) {
    bool found = false;
    struct lw__place mark;
    for (unsigned i = 0; i < LW__MARKS; i++) {
        if (!mark_load(lane, i, &mark) || mark.pos > last) continue;
        if (!found || (want_oldest ? mark.pos < best->pos : mark.pos > best->pos)) *best = mark;
        found = true;
    }
    return found;
}

/* `horizon` pairs with the fence of a gain() before the one that stored it: the marks from there on are seen. So, when
 * it did not move, there is no good one. */
int lw__lane_oldest(const struct lw__lane *lane, struct lw__place *place) {
    uint64_t horizon = 0;
    for (int tries = 0; tries < 1000; tries++) { /* a fast writer may outrun one look, not a thousand */
        uint64_t before = horizon;
        struct lw__place tail;
        horizon = lw__load_acquire(&lane->ctl->horizon);
        if (tries && horizon == before) break; /* nobody outran us: there is no good mark */
        int rc = lw__lane_tail(lane, &tail);
        if (rc) return rc;
        if (!mark_between(lane, tail.pos + lane->ring / 2, true, place) || place->pos + lane->ring < tail.pos) continue;
        if (place->pos <= tail.pos || (lw__lane_tail(lane, &tail) == 0 && place->pos <= tail.pos)) return 0;
    }
    return LW_ECORRUPT;
}

bool lw__lane_mark_before(const struct lw__lane *lane, uint64_t pos, struct lw__place *place) {
    return mark_between(lane, pos, false, place);
}

int lw__lane_mark_from(const struct lw__lane *lane, uint64_t from, struct lw__place *place) {
    struct lw__place tail, mark;
    int rc = lw__lane_tail(lane, &tail);
    *place = tail;
    for (unsigned i = 0; !rc && i < LW__MARKS; i++)
        if (mark_load(lane, i, &mark) && mark.pos >= from && mark.pos < place->pos) *place = mark;
    return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * lane/join.c - a reader's first place in the log, and moving it.
 *
 * Joining needs no help from the writer. The joiner stores its place p >= horizon, runs a full fence, and looks at
 * horizon again: not beyond p means that the writer will see the place before it overwrites anything from p on (room.c
 * has the argument for both orders). Beyond p: the place came too late, another one is chosen. Nobody waits for
 * anybody.
 *
 * While it tries, the slot has no name, so a death leaves a dead reader without a name, which is swept.
 */
#include "lane/lane.h"

/* True: everything from `place` on is ours to read until we move. */
static bool hold(struct lw__reader *r, const struct lw__place *place) {
    lw__cursor_store(&r->slot->cursor, place->pos, place->number);
    lw__fence_full(); /* pairs with the fence of lw__writer_room */
#ifdef LW_PLANT_JOIN_WITHOUT_SECOND_LOOK
    return true;
#endif
    return lw__load(&r->lane->ctl->horizon) <= place->pos;
}

static void begin_at(struct lw__reader *r, const struct lw__place *place) {
    r->rx.pos = r->rx.head = place->pos;
    r->rx.number = place->number;
}

static int join_at_mark(struct lw__reader *r, struct lw__place *place) {
    do {
        int rc = lw__lane_oldest(r->lane, place);
        if (rc) return rc;
    } while (!hold(r, place));
    return 0;
}

static int join_now(struct lw__reader *r, struct lw__place *place) {
    do {
        int rc = lw__lane_tail(r->lane, place);
        if (rc) return rc;
    } while (!hold(r, place));
    return 0;
}

/* From a held place to `position`, record by record: it must be the beginning of one, or the end. The tail is at most a
 * ring away from a held place; headers that go on beyond that are damage. */
static int walk(const struct lw__lane *lane, struct lw__place *place, uint64_t position) {
    uint64_t header, size, first = place->pos;
    while (place->pos < position) {
#ifndef LW_PLANT_WALK_WITHOUT_END
        if (place->pos - first > lane->ring) return LW_ECORRUPT;
#endif
        int rc = lw__record_at(lane, place->pos, &header, &size);
        if (rc <= 0) return rc ? rc : LW_EPOSITION;
        place->pos += size;
        place->number++;
    }
    return place->pos == position ? 0 : LW_EPOSITION;
}

static int join_at(struct lw__reader *r, struct lw__place *place, uint64_t position) {
    do {
        if (position % 8 || position >> 63) return LW_EPOSITION;
        if (!lw__lane_mark_before(r->lane, position, place)) return LW_EPOSITION; /* before the oldest */
    } while (!hold(r, place));
#ifdef LW_PLANT_POSITION_NOT_PROVED
    place->pos = position;
#endif
    int rc = walk(r->lane, place, position);
    if (!rc) lw__cursor_store(&r->slot->cursor, place->pos, place->number);
    return rc;
}

int lw__reader_join(struct lw__reader *r, enum lw_from from, uint64_t position) {
    struct lw__place place = {0, 0};
    int rc = from == LW_FROM_NOW      ? join_now(r, &place)
             : from == LW_FROM_OLDEST ? join_at_mark(r, &place)
                                      : join_at(r, &place, position);
    if (rc) return rc;
    lw__store(&r->slot->joined_number, place.number);
    begin_at(r, &place);
    return 0;
}

/* The place was valid when its owner was alive, and nothing moved it since; only a damaged file can be otherwise. */
int lw__reader_resume(struct lw__reader *r) {
    struct lw__place place, tail;
    uint64_t header, size;
    if (!lw__cursor_load(&r->slot->cursor, &place) || lw__lane_tail(r->lane, &tail)) return LW_ECORRUPT;
    r->rx.pos = place.pos;
    if (place.pos < r->lane->start || place.pos > tail.pos || place.pos + r->lane->ring < tail.pos + 8)
        return LW_ECORRUPT;
    if (lw__record_at(r->lane, place.pos, &header, &size) < 0) return LW_ECORRUPT;
    begin_at(r, &place);
    return 0;
}

/* Everything from our own place on is held already. */
static int place_ahead(struct lw__reader *r, struct lw__place *place, enum lw_from from, uint64_t position) {
    struct lw__place mark;
    if (from == LW_FROM_NOW) return lw__lane_tail(r->lane, place);
    if (lw__lane_mark_before(r->lane, position, &mark) && mark.pos > place->pos) *place = mark;
    return walk(r->lane, place, position);
}

static void move_to(struct lw__reader *r, const struct lw__place *place) {
    lw__cursor_store(&r->slot->cursor, place->pos, place->number);
    begin_at(r, place);
}

static int seek_ahead(struct lw__reader *r, struct lw__place place, enum lw_from from, uint64_t position) {
    int rc = place_ahead(r, &place, from, position);
    if (!rc) move_to(r, &place);
    return rc;
}

/* Going back directly could die with a place that horizon has passed. So another slot holds the new place first, and
 * then the move is one store between two held places. */
int lw__reader_seek(struct lw__reader *r, enum lw_from from, uint64_t position, const struct lw__owners *owners) {
    struct lw__reader scout;
    struct lw__place own;
    if (!lw__cursor_load(&r->slot->cursor, &own)) return LW_ECORRUPT;
    if (from == LW_FROM_NOW || (from == LW_FROM_POSITION && position >= own.pos))
        return seek_ahead(r, own, from, position);
#ifdef LW_PLANT_SEEK_WITHOUT_SCOUT
    return lw__reader_join(r, from, position);
#endif
    int rc = lw__reader_take(&scout, r->lane, (r->owner & ~UINT64_C(15)) | LW__SLOT_PASSING, owners);
    if (rc) return rc;
    rc = lw__reader_join(&scout, from, position);
    if (!rc) {
        struct lw__place place = {.pos = scout.rx.pos, .number = scout.rx.number};
        move_to(r, &place);
    }
    lw__reader_leave(&scout);
    return rc;
}

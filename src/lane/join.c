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
#include <errno.h>

#include "lane/lane.h"

static bool is_lossy(const struct lw__reader *r) {
    return lw__slot_kind(r->owner) == LW__SLOT_LOSSY;
}

/* True: everything from `place` on is ours to read until we move. (A lossy reader's place holds nobody back: to it, true
 * says that the place was good a moment ago.) */
static bool hold(struct lw__reader *r, const struct lw__place *place) {
#ifdef LW_PLANT_COUNT_BEFORE_PLACE
    if (!is_lossy(r)) lw__add(&r->lane->ctl->joins, 1);
#endif
    lw__cursor_store(r->rx.cursor, place->pos, place->number);
#ifndef LW_PLANT_COUNT_BEFORE_PLACE
    if (!is_lossy(r)) lw__add(&r->lane->ctl->joins, 1);
#endif
    lw__fence_full(); /* pairs with the fence of gain() in lane/room.c */
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

/* Who may be overrun walks by receiving: what it reads is proved to have been there. A position that is more than a ring
 * ahead was not there when it began; with damaged headers, which may have no end, that is what ends the walk. */
static int read_up_to(struct lw__reader *r, struct lw__place *place, uint64_t position) {
    struct lw_msg msg;
    uint64_t first = place->pos;
    begin_at(r, place);
    while (r->rx.pos < position) {
        if (r->rx.pos - first > r->lane->ring) return LW_EPOSITION;
        int rc = lw__reader_next(r, &msg);
        if (rc != 1) return rc == LW_ECORRUPT || rc == -ENOMEM ? rc : LW_EPOSITION;
    }
    *place = (struct lw__place){.pos = r->rx.pos, .number = r->rx.number};
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
    if (r->by_copy) return read_up_to(r, place, position);
    return walk(r->lane, place, position);
}

int lw__reader_join(struct lw__reader *r, enum lw_from from, uint64_t position) {
    struct lw__place place = {0, 0};
    int rc = from == LW_FROM_NOW      ? join_now(r, &place)
             : from == LW_FROM_OLDEST ? join_at_mark(r, &place)
                                      : join_at(r, &place, position);
    if (rc) return rc;
    lw__store(&r->slot->joined_number, place.number);
    if (from == LW_FROM_POSITION) lw__cursor_store(r->rx.cursor, place.pos, place.number);
    begin_at(r, &place);
    lw__reader_undivert(r);
    return 0;
}

/* The place was valid when its owner was alive, and nothing moved it since; only a damaged file can be otherwise. One that
 * was evicted begins where it was, and comes back from there. `missed` pairs with lw__slot_inherit(), as in
 * note_missed(). */
int lw__reader_resume(struct lw__reader *r) {
    struct lw__place place, tail;
    uint64_t header, size;
    if (!lw__cursor_load(r->rx.cursor, &place) || lw__lane_tail(r->lane, &tail)) return LW_ECORRUPT;
    uint64_t word = lw__load(&r->slot->owner);
    r->rx.pos = place.pos;
    if (place.pos < r->lane->start || place.pos > tail.pos) return LW_ECORRUPT;
    if (lw__slot_settled(word) != word) {
        begin_at(r, &place);
        return lw__reader_come_back(r);
    }
    if (!is_lossy(r) && place.pos + r->lane->ring < tail.pos + 8) return LW_ECORRUPT;
    lw__slot_end_missed(r->slot, &place);
    if (!lw__slot_missed(r->slot)) lw__store_release(&r->slot->missed, 0); /* it sought back: all of that comes again */
    if (!r->by_copy && lw__record_at(r->lane, place.pos, &header, &size) < 0) return LW_ECORRUPT;
    begin_at(r, &place);
    lw__reader_undivert(r);
    return 0;
}

/* Everything from our own place on is held already. */
static int place_ahead(struct lw__reader *r, struct lw__place *place, enum lw_from from, uint64_t position) {
    struct lw__place mark;
    if (from == LW_FROM_NOW) return lw__lane_tail(r->lane, place);
    if (lw__lane_mark_before(r->lane, position, &mark) && mark.pos > place->pos) *place = mark;
    return r->by_copy ? read_up_to(r, place, position) : walk(r->lane, place, position);
}

static void move_to(struct lw__reader *r, const struct lw__place *place) {
    lw__cursor_store(&r->slot->cursor, place->pos, place->number);
    begin_at(r, place);
}

/* In vain, while writers evicted it: it may have come back elsewhere. */
static void stay(struct lw__reader *r, const struct lw__place *own) {
    struct lw__place place;
    if (!lw__cursor_load(r->rx.cursor, &place)) return;
#ifndef LW_PLANT_SEEK_HIDES_LOSS
    r->passed = place.number - own->number;
#endif
    begin_at(r, &place);
}

static int seek_ahead(struct lw__reader *r, const struct lw__place *own, enum lw_from from, uint64_t position) {
    struct lw__place place = *own;
    int rc = place_ahead(r, &place, from, position);
    if (!rc) move_to(r, &place);
    if (rc && r->by_copy) stay(r, own);
    lw__reader_undivert(r);
    return rc;
}

/* Holds nobody back, so there is no place to keep while it looks for another. */
static int seek_lossy(struct lw__reader *r, enum lw_from from, uint64_t position) {
    struct lw__rx was = r->rx;
    struct lw__place place;
    uint64_t dropped = lw__load(&r->slot->dropped);
    if (!lw__cursor_load(was.cursor, &place)) return LW_ECORRUPT;
    int rc = lw__reader_join(r, from, position);
    lw__store(&r->slot->dropped, dropped); /* what it was too slow for on the way is none of its loss */
    if (!rc) return 0;
#ifndef LW_PLANT_SEEK_IN_VAIN_MOVES
    lw__cursor_store(was.cursor, place.pos, place.number);
#endif
    r->rx.pos = was.pos;
    r->rx.head = was.head;
    r->rx.number = was.number;
    lw__reader_undivert(r);
    return rc;
}

/* Going back directly could die with a place that horizon has passed. So another slot holds the new place first, and
 * then the move is one store between two held places. */
int lw__reader_seek(struct lw__reader *r, enum lw_from from, uint64_t position, const struct lw__owners *owners) {
    struct lw__reader scout;
    struct lw__place own;
    lw__reader_undivert(r); /* first: what was copied is of another place */
    if (is_lossy(r)) return seek_lossy(r, from, position);
    if (!lw__cursor_load(&r->slot->cursor, &own)) return LW_ECORRUPT;
    if (from == LW_FROM_NOW || (from == LW_FROM_POSITION && position >= own.pos))
        return seek_ahead(r, &own, from, position);
#ifdef LW_PLANT_SEEK_WITHOUT_SCOUT
    return lw__reader_join(r, from, position);
#endif
    scout = (struct lw__reader){.lane = NULL};
    int rc = lw__reader_take(&scout, r->lane, lw__slot_process(r->owner) | LW__SLOT_PASSING, owners);
    if (rc) return rc;
    rc = lw__reader_join(&scout, from, position);
    if (!rc) {
        struct lw__place place = {.pos = scout.rx.pos, .number = scout.rx.number};
        move_to(r, &place);
    }
    lw__reader_leave(&scout);
    return rc;
}

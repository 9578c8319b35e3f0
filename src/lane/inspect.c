/* SPDX-License-Identifier: MIT */
/*
 * lane/inspect.c - is a lane what it should be? Loads only; owners may be running, stopped or dead. A record counts
 * when horizon had not reached it after it was read (the writer moves horizon before it overwrites). What is compared
 * with the tail is loaded before the tail: it can't be ahead of it unless something is wrong.
 */
#include <string.h>

#include "lane/lane.h"

struct walk {
    const struct lw__lane *lane;
    struct lw__lane_check *check;
    struct lw__place at;
    uint64_t end;      /* the tail as it was at the beginning */
    bool number_known; /* at.number is that of at.pos */
    bool inside_batch;
};

static int bad(struct lw__lane_check *check, uint64_t pos, const char *what) {
    check->bad = pos;
    check->what = what;
    return LW_ECORRUPT;
}

static int bad_chain(struct lw__lane_check *check, uint64_t pos) {
    return bad(check, pos, "no record chain leads from the stored tail to the end");
}

/* Pairs with the fence of gain(), and that of enter_by_lock() for a later writer. */
static bool passed(const struct lw__lane *lane, uint64_t pos) {
    lw__fence_acquire(); /* what was read before was read before this look */
    return lw__load(&lane->ctl->horizon) > pos;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* A running publisher was faster: go on at what is the oldest now. */
static int jump(struct walk *w) {
    struct lw__place oldest;
    int rc = lw__lane_oldest(w->lane, &oldest);
    if (rc) return bad(w->check, w->at.pos, "no mark leads to a retained record");
    w->number_known = oldest.pos <= w->end;
    if (oldest.pos > w->end) oldest.pos = w->end;
    w->check->skipped += oldest.pos - w->at.pos;
    w->at = oldest;
    w->inside_batch = false;
    return 0;
}

/* Marks of the segments that this record touches must lead to its beginning, with its number, or not into it. Pairs
 * with lw__writer_settle(). */
static bool marks_fit(const struct walk *w, uint64_t size) {
    unsigned shift = w->lane->segment_shift;
    for (uint64_t s = w->at.pos >> shift; s <= (w->at.pos + size - 1) >> shift; s++) {
        const struct lw__mark *mark = &w->lane->ctl->marks[s % LW__MARKS];
        uint64_t pos = lw__load_acquire(&mark->pos), number = lw__load_acquire(&mark->number);
        if (pos >> shift != s) continue; /* of another lap, or not written yet: its number may be new already */
        if (pos == w->at.pos && number != w->at.number) return false;
        if (pos > w->at.pos && pos < w->at.pos + size) return false;
    }
    return true;
}

static int one_record(struct walk *w) {
    uint64_t header = 0, size = 0;
    int rc = lw__record_racy(w->lane, w->at.pos, &header, &size);
    bool marked = rc <= 0 || marks_fit(w, size);
    if (passed(w->lane, w->at.pos)) return jump(w);
    if (rc < 0) return bad(w->check, w->at.pos, "impossible record header");
    if (rc == 0) return bad(w->check, w->at.pos, "the log ends before its tail");
    if (!marked) return bad(w->check, w->at.pos, "a mark does not lead to a record");
    if (w->at.pos + size > w->end) return bad(w->check, w->at.pos, "a record runs over the tail");
    bool more = header >> 48 & LW__MORE;
    w->check->batches += w->inside_batch && !more;
    w->inside_batch = more;
    w->check->records++;
    w->check->bytes += (uint32_t)header;
    w->at.pos += size;
    w->at.number++;
    return 0;
}

static int check_records(const struct lw__lane *lane, struct lw__lane_check *check) {
    struct walk w = {.lane = lane, .check = check, .number_known = true};
    struct lw__place tail;
    if (lw__lane_tail(lane, &tail)) return bad_chain(check, tail.pos);
    if (lw__lane_oldest(lane, &w.at)) return bad(check, tail.pos, "no mark leads to a retained record");
    if (w.at.pos > tail.pos) tail = w.at; /* a running publisher went round in between: nothing of then is left */
    w.end = check->to = tail.pos;
    check->from = w.at.pos;
    while (w.at.pos < w.end) {
        int rc = one_record(&w);
        if (rc) return rc;
    }
    if (w.at.pos == w.end && !passed(lane, w.end) && w.number_known && w.at.number != tail.number)
        return bad(check, w.end, "the message numbers do not add up");
    return w.inside_batch ? bad(check, w.end, "the last batch has no end") : 0;
}

/* ---- what else stands in the head -------------------------------------------------------------------------------- */

/* By the tail, which was found before: pairs with lw__cursor_store() and the commits walked over, which bring `horizon`. */
static int check_horizon(const struct lw__lane *lane, struct lw__lane_check *check) {
    struct lw__place tail;
    if (lw__lane_tail(lane, &tail)) return bad_chain(check, tail.pos);
    uint64_t horizon = lw__load_acquire(&lane->ctl->horizon);
    if (horizon & ((UINT64_C(1) << lane->segment_shift) - 1))
        return bad(check, horizon, "the horizon is not at a multiple of 1/64 of the ring");
    if (horizon + lane->ring < tail.pos + 8) return bad(check, horizon, "the horizon is behind what is retained");
    return 0;
}

/* Pairs with lw__writer_settle(). */
static int check_mark(const struct lw__lane *lane, struct lw__lane_check *check, const struct lw__mark *mark) {
    uint64_t pos = lw__load_acquire(&mark->pos), number = lw__load_acquire(&mark->number);
    struct lw__place tail;
    if (lw__lane_tail(lane, &tail)) return bad_chain(check, tail.pos);
    if (passed(lane, pos)) return 0;
    if (pos % 8) return bad(check, pos, "a mark at an impossible position");
    if (pos > tail.pos) return bad(check, pos, "a mark beyond the tail");
    if (pos == tail.pos && number != tail.number) return bad(check, pos, "the mark at the tail has another number");
    return 0;
}

/* Walks to a reader's place from the mark before it, if that is still there. */
static bool leads_to(const struct lw__lane *lane, const struct lw__place *place) {
    struct lw__place at;
    uint64_t header, size;
    if (!lw__lane_mark_before(lane, place->pos, &at)) return true;
    uint64_t first = at.pos;
    if (place->pos - first > lane->ring) return passed(lane, first);
    while (at.pos < place->pos && lw__record_racy(lane, at.pos, &header, &size) == 1) {
        at.pos += size;
        at.number++;
    }
    return (at.pos == place->pos && at.number == place->number) || passed(lane, first);
}

/* Pairs with lw__cursor_store() of the reader. */
static int check_place(const struct lw__lane *lane, struct lw__lane_check *check, const struct lw__slot *slot,
                       uint64_t owner) {
    struct lw__place place, tail;
    uint64_t word = lw__load_acquire(&slot->cursor.pos);
    if (!lw__cursor_load(&slot->cursor, &place) || place.pos == LW__NOWHERE) return 0; /* joining or leaving */
    if (lw__lane_tail(lane, &tail)) return bad_chain(check, tail.pos);
    uint64_t bytes = tail.pos - place.pos, count = tail.number - place.number;
    if (place.pos > tail.pos) return bad(check, place.pos, "a reader's place is beyond the tail");
    if (count > bytes / 8 || (bytes && !count)) return bad(check, place.pos, "a reader's message number does not fit");
    /* One without a name may be joining: then it finds out itself that its place came too late. */
    if (lw__slot_kind(owner) == LW__SLOT_DURABLE && bytes + 8 > lane->ring &&
        lw__load_acquire(&slot->cursor.pos) == word && lw__load(&slot->owner) == owner)
        return bad(check, place.pos, "a reader's place was overwritten");
    if (!leads_to(lane, &place)) return bad(check, place.pos, "a reader's place is not where a record begins");
    return 0;
}

/* Pairs with change_word() for the name, and with take_free() for the rest. */
static int check_slot(const struct lw__lane *lane, struct lw__lane_check *check, const struct lw__slot *slot) {
    uint64_t owner = lw__load_acquire(&slot->owner);
    if (!owner) return 0;
    unsigned kind = lw__slot_kind(owner);
    bool durable = kind == LW__SLOT_DURABLE, counts = kind <= LW__SLOT_PASSING && lw__slot_settled(owner) == owner;
    if (kind < LW__SLOT_RELIABLE || kind > LW__SLOT_WRITER || (owner & 0xffff) > LW__SLOT_BITS)
        return bad(check, 0, "a slot of unknown kind");
    if (durable && (!slot->name[0] || !memchr(slot->name, 0, sizeof slot->name)))
        return bad(check, 0, "a durable slot without a proper name");
    if ((uint64_t)(slot - lane->slots) >= lw__load(&lane->ctl->slots_used))
        return bad(check, 0, "a slot is in use that the publisher does not look at");
    return counts ? check_place(lane, check, slot, owner) : 0;
}

int lw__lane_verify(const struct lw__lane *lane, struct lw__lane_check *check) {
    *check = (struct lw__lane_check){.what = ""};
    int rc = check_records(lane, check);
    if (!rc) rc = check_horizon(lane, check);
    for (unsigned i = 0; !rc && i < LW__MARKS; i++) rc = check_mark(lane, check, &lane->ctl->marks[i]);
    for (uint32_t i = 0; !rc && i < lane->slots_max; i++) rc = check_slot(lane, check, &lane->slots[i]);
    return rc;
}

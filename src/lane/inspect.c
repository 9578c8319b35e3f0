/* SPDX-License-Identifier: MIT */
/*
 * lane/inspect.c - is a lane what it should be? Loads only; owners may be running, stopped or dead. A record counts
 * when horizon had not reached it after it was read (the writer moves horizon before it overwrites).
 */
#include <string.h>

#include "lane/lane.h"

struct walk {
    const struct lw__lane *lane;
    struct lw__lane_check *check;
    struct lw__place at;
    uint64_t end;  /* the tail as it was at the beginning */
    uint64_t seen; /* segment of the record before */
    bool inside_batch;
};

static int bad(struct lw__lane_check *check, uint64_t pos, const char *what) {
    check->bad = pos;
    check->what = what;
    return LW_ECORRUPT;
}

static bool overtaken(const struct walk *w) {
    lw__fence_acquire(); /* what was read before was read before this look */
    return lw__load(&w->lane->ctl->horizon) > w->at.pos;
}

/* A running publisher was faster: go on at what is the oldest now. */
static int jump(struct walk *w) {
    struct lw__place oldest;
    int rc = lw__lane_oldest(w->lane, &oldest);
    if (rc) return bad(w->check, w->at.pos, "no mark leads to a retained record");
    if (oldest.pos > w->end) oldest.pos = w->end;
    w->check->skipped += oldest.pos - w->at.pos;
    w->at = oldest;
    w->seen = UINT64_MAX;
    w->inside_batch = false;
    return 0;
}

/* The mark of the record's segment must be a record's beginning, with its number. */
static bool mark_fits(const struct walk *w) {
    uint64_t segment = w->at.pos >> w->lane->segment_shift;
    const struct lw__mark *mark = &w->lane->ctl->marks[segment % LW__MARKS];
    uint64_t pos = lw__load_acquire(&mark->pos), number = lw__load_acquire(&mark->number);
    if (pos >> w->lane->segment_shift != segment || pos > w->at.pos) return true; /* none yet, or of a record to come */
    if (pos == w->at.pos) return number == w->at.number;
    return w->seen == segment || w->seen == UINT64_MAX;
}

static int one_record(struct walk *w) {
    uint64_t header = 0, size = 0;
    int rc = lw__record_at(w->lane, w->at.pos, &header, &size);
    bool marked = mark_fits(w);
    if (overtaken(w)) return jump(w);
    if (rc < 0) return bad(w->check, w->at.pos, "impossible record header");
    if (rc == 0) return bad(w->check, w->at.pos, "the log ends before its tail");
    if (!marked) return bad(w->check, w->at.pos, "a mark does not lead to a record");
    if (w->at.pos + size > w->end) return bad(w->check, w->at.pos, "a record runs over the tail");
    bool more = header >> 48 & LW__MORE;
    w->check->batches += w->inside_batch && !more;
    w->inside_batch = more;
    w->check->records++;
    w->check->bytes += (uint32_t)header;
    w->seen = w->at.pos >> w->lane->segment_shift;
    w->at.pos += size;
    w->at.number++;
    return 0;
}

static int check_records(const struct lw__lane *lane, struct lw__lane_check *check) {
    struct walk w = {.lane = lane, .check = check, .seen = UINT64_MAX};
    struct lw__place tail;
    if (lw__lane_tail(lane, &tail))
        return bad(check, tail.pos, "no record chain leads from the stored tail to the end");
    if (lw__lane_oldest(lane, &w.at)) return bad(check, tail.pos, "no mark leads to a retained record");
    w.end = check->to = tail.pos;
    check->from = w.at.pos;
    while (w.at.pos < w.end) {
        int rc = one_record(&w);
        if (rc) return rc;
    }
    if (w.at.pos == w.end && !overtaken(&w) && w.seen != UINT64_MAX && w.at.number != tail.number)
        return bad(check, w.end, "the message numbers do not add up");
    return w.inside_batch ? bad(check, w.end, "the last batch has no end") : 0;
}

static int check_slot(const struct lw__lane *lane, struct lw__lane_check *check, const struct lw__slot *slot) {
    struct lw__place place, tail;
    uint64_t owner = lw__load_acquire(&slot->owner);
    if (!owner) return 0;
    unsigned kind = lw__slot_kind(owner);
    if (kind != LW__SLOT_RELIABLE && kind != LW__SLOT_DURABLE) return bad(check, 0, "a slot of unknown kind");
    if (kind == LW__SLOT_DURABLE && (!slot->name[0] || !memchr(slot->name, 0, sizeof slot->name)))
        return bad(check, 0, "a durable slot without a proper name");
    if (!lw__cursor_load(&slot->cursor, &place) || place.pos == LW__NOWHERE) return 0; /* joining or leaving */
    if (lw__lane_tail(lane, &tail))
        return bad(check, tail.pos, "no record chain leads from the stored tail to the end");
    if (lw__load_acquire(&slot->owner) != owner) return 0;
    if (place.pos > tail.pos + lane->ring / 2) return bad(check, place.pos, "a reader's place is beyond the tail");
    if (tail.pos > place.pos && tail.number == place.number)
        return bad(check, place.pos, "a reader's message number does not fit");
    return 0;
}

int lw__lane_verify(const struct lw__lane *lane, struct lw__lane_check *check) {
    *check = (struct lw__lane_check){.what = ""};
    int rc = check_records(lane, check);
    for (uint32_t i = 0; !rc && i < lane->slots_max; i++) rc = check_slot(lane, check, &lane->slots[i]);
    return rc;
}

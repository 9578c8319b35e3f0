/* SPDX-License-Identifier: MIT */
/* pattern/sub.c - receiving, out of line: an empty ring, what happens once a year, copies, callbacks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/options.h"
#include "bus/wait.h"
#include "pattern/sub.h"

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* Messages that were handed out, not released, and taken by an eviction: they can't come again. */
static uint64_t orphans(const struct lw_sub *sub) {
    const struct lw__reader *r = &sub->reader;
    uint64_t missed = lw__load(&r->slot->missed);
    return missed && r->orphans_at == r->rx.head && r->orphans > missed - 1 ? r->orphans - (missed - 1) : 0;
}

/* What was told is forgotten, but what the user has and did not release. Pairs with lw__slot_inherit(): after a
 * death the heir finds these words as far as they came, in this order. */
static void forget_loss(struct lw_sub *sub) {
    struct lw__slot *slot = sub->reader.slot;
    lw__store(&slot->lost, 0);
    if (sub->reader.orphans_at != sub->reader.rx.head || !orphans(sub)) lw__store_release(&slot->missed, 0);
    lw__reader_undivert(&sub->reader);
    sub->told = false;
}

/* An unclean reboot, or eviction, took messages from this subscriber. Said once, and forgotten with the call after that:
 * of a durable one that dies in between the next one is told again. */
static int tell_loss(struct lw_sub *sub, struct lw_msg *msg) {
    struct lw__slot *slot = sub->reader.slot;
    if (sub->told) forget_loss(sub);
    uint64_t by_reboot = lw__load(&slot->lost), lost = sub->untold + by_reboot;
    if (!lost) return 0;
    int why = sub->evicted_once ? LW_EEVICTED : LW_EGAP;
    sub->told = true;
    sub->lost += lost;
    sub->evicted += sub->evicted_once;
    lw__store(&slot->dropped, lw__load(&slot->dropped) + lost);
    sub->untold = 0;
    sub->evicted_once = false;
    lw__reader_divert(&sub->reader);
    *msg = (struct lw_msg){.position = sub->reader.rx.pos, .next = sub->reader.rx.pos, .number = sub->reader.rx.number};
    return why;
}

/* The place may have moved on by other means than releasing. */
static int receive_copy(struct lw_sub *sub, struct lw_msg *msg) {
    struct lw__place before, after;
    uint64_t head = sub->reader.rx.head;
    if (!lw__cursor_load(sub->reader.rx.cursor, &before)) return LW_ECORRUPT;
    int rc = lw__reader_next(&sub->reader, msg);
    if (sub->reader.rx.head != head && lw__cursor_load(sub->reader.rx.cursor, &after)) {
        sub->begin.pos += after.pos - before.pos;
        sub->begin.number += after.number - before.number;
    }
    return rc;
}

static int overtaken(struct lw_sub *sub, struct lw_msg *msg) {
    sub->lost += sub->reader.passed;
    *msg = (struct lw_msg){.position = sub->reader.rx.pos, .next = sub->reader.rx.pos, .number = sub->reader.rx.number};
    return LW_EGAP;
}

/* It is counted already. */
static int tell_owed(struct lw_sub *sub, struct lw_msg *msg) {
    int owed = sub->owed;
    sub->owed = 0;
    if (!sub->told) lw__reader_undivert(&sub->reader);
    *msg = (struct lw_msg){.position = sub->reader.rx.pos, .next = sub->reader.rx.pos, .number = sub->reader.rx.number};
    return owed;
}

static int look(struct lw_sub *sub, struct lw_msg *msg) {
    if (sub->cut) return LW_EFORKED;
    if (sub->gone) return sub->gone;
    if (sub->owed) return tell_owed(sub, msg);
    int rc = tell_loss(sub, msg);
    if (rc) return rc;
    switch ((rc = sub->reader.by_copy ? receive_copy(sub, msg) : lw__reader_next(&sub->reader, msg))) {
    case LW_ECORRUPT:
        return lw__sub_corrupt(sub);
    case LW_EGAP:
        return overtaken(sub, msg);
    case LW_EEVICTED:
        sub->untold = sub->reader.passed;
        sub->evicted_once = true;
        return tell_loss(sub, msg);
    case LW_ECLOSED:
    case -ENOMEM:
        return lw__sub_failed(sub, rc);
    default:
        return rc;
    }
}

enum {
    LOOKS = 256, /* the inline path comes here once in so many looks at an empty ring, for what happens once a year */
    STARES = 256 /* looks at the next header in a row, before anything that takes longer than a look */
};

/* A peer that answers at once is seen at once. */
static void stare(const struct lw_sub *sub) {
    const struct lw__rx *rx = &sub->reader.rx;
    if (sub->reader.by_copy) return;
    const uint64_t *header = (const uint64_t *)(const void *)(rx->ring + (rx->pos & rx->mask));
    for (int i = 0; i < STARES && !lw__load(header); i++) lw__relax();
}

/* Nothing there. 0 look again, or what to return. */
static int wait_turn(struct lw_sub *sub, struct lw__wait *wait) {
    int moved = lw__file_moved(&sub->file);
    if (moved) return moved == 1 ? lw__sub_follow(sub) : moved;
    if (!wait->waited && wait->timeout != 0) sub->waits++;
    if (!wait->waited && wait->timeout == 0 && lw__source_drive(sub->waiter)) { /* over TCP: somebody has to */
        wait->waited = true;
        return 0;
    }
    wait->waited = true;
    int rc = lw__wait_turn(wait);
    if (lw__wait_slept(wait) && !sub->released) lw__file_napped(&sub->file);
    if (rc <= 0) return rc;
    sub->refused += wait->timeout != 0;
    if (!sub->reader.by_copy && !sub->released) sub->reader.rx.looks = LOOKS; /* over TCP each one drives */
    return LW_EEMPTY;
}

int lw__sub_next_slow(struct lw_sub *sub, struct lw_msg *msg, int64_t timeout) {
    struct lw__wait wait = lw__wait_for(timeout, sub->waiter);
    int rc;
    if (sub->waiter->parked) lw__source_done(sub->waiter); /* we are awake: nobody has to ring */
    if (timeout && !sub->released) stare(sub);
    while ((rc = look(sub, msg)) == LW_EEMPTY && !(rc = wait_turn(sub, &wait))) {
    }
    lw__wait_done(&wait);
    return rc;
}

/* A subscriber that came back from eviction has its place beyond what it had been handed out. */
int lw__sub_release_slow(struct lw_sub *sub, const struct lw_msg *msg) {
    if (sub->cut || sub->gone) return sub->cut ? LW_EFORKED : sub->gone;
    if (!sub->reader.by_copy || msg->next > sub->reader.rx.head) return LW_ESTATE;
    lw__slot_cut_missed(sub->reader.slot, msg->number + 1);
    return 0;
}

int lw_sub_recv(struct lw_sub *sub, void *buffer, size_t room, struct lw_msg *msg, int64_t timeout) {
    struct lw_msg next;
    if (!sub->cut && !sub->gone && sub->reader.rx.pos != sub->reader.rx.head)
        return LW_ESTATE; /* it would release what is held in place */
    int rc = lw_sub_next(sub, &next, timeout);
    if ((rc == LW_EGAP || rc == LW_EEVICTED) && msg) *msg = next;
    if (rc != 1) return rc;
    bool fits = next.len <= room;
    if (fits && next.len) memcpy(buffer, next.data, next.len);
    if (fits)
        lw_sub_release(sub, &next);
    else
        lw_sub_rewind(sub);
    next.data = buffer;
    if (msg) *msg = next;
    return fits ? 1 : LW_ETOOBIG;
}

void lw_sub_rewind(struct lw_sub *sub) {
    struct lw__place place;
    if (sub->cut || sub->gone || !lw__cursor_load(sub->reader.rx.cursor, &place)) return;
    sub->reader.rx.pos = sub->reader.rx.head;
    sub->reader.rx.number = place.number;
    if (!sub->reader.by_copy) return;
    lw__reader_undivert(&sub->reader); /* it is copied again */
    if (!orphans(sub)) return;
    sub->untold += orphans(sub);
    sub->evicted_once = true;
    sub->reader.orphans = 0;
}

/* A topic that was given another shape while it was empty has its messages in the new file. */
static int go_where_they_are(struct lw_sub *sub) {
    struct lw__place tail;
    const struct lw__lane *lane = &sub->file.lane;
    if (lw__file_moved(&sub->file) != 1 || lw__lane_tail(lane, &tail) || tail.pos != lane->id->start) return 0;
    return lw__sub_follow(sub);
}

int lw_sub_seek(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    if (sub->cut) return LW_EFORKED;
    if (sub->gone) return sub->gone;
    if ((unsigned)from > LW_FROM_POSITION) return lw__fail(-EINVAL, "lw_sub_seek: from is %d", (int)from);
    int rc = go_where_they_are(sub);
    if (rc) return rc;
    rc = lw__bus_enter(sub->file.bus, true);
    if (rc) return rc;
    struct lw__owners owners = lw__file_owners(sub->file.bus);
    lw_sub_rewind(sub);
    struct lw__place before = {.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
    sub->reader.passed = 0;
    rc = lw__reader_seek(&sub->reader, from, position, &owners);
    lw__sub_shift(sub, before);              /* also when it failed: it may have come back from eviction elsewhere */
    if (sub->reader.passed && !sub->lossy) { /* evicted meanwhile: to be told */
        sub->untold += sub->reader.passed;
        sub->evicted_once = true;
    }
    if (!rc) lw__store(&sub->reader.slot->missed, 0); /* the place is where the user wants it */
    if (sub->owed || sub->untold || sub->told || lw__load(&sub->reader.slot->lost)) lw__reader_divert(&sub->reader);
    if (rc == LW_ENOSLOT) lw__sub_no_slot(sub);
    if (rc == LW_EPOSITION)
        lw__fail(rc, "%s: no record begins at position %llu, or it is no longer retained", sub->file.title,
                 (unsigned long long)position);
    if (rc == LW_ECORRUPT) lw__sub_corrupt(sub);
    if (rc == LW_ECLOSED || rc == -ENOMEM) lw__sub_failed(sub, rc);
    lw__bus_leave(sub->file.bus);
    lw__sub_ring(sub); /* there may be room */
    return rc;
}

/* ---- in a group --------------------------------------------------------------------------------------------------- */

static struct lw_sub *sub_of(struct lw__source *s) {
    return (struct lw_sub *)(void *)((char *)s - offsetof(struct lw_sub, source));
}

/* The header pairs with the commit in lw__tx_publish(). `horizon` pairs with nothing: the look that follows counts. */
static bool has_record(const struct lw_sub *sub) {
    const struct lw__rx *rx = &sub->reader.rx;
    const struct lw__lane *lane = &sub->file.lane;
    uint64_t header, size;
    if (lw__load_acquire((const uint64_t *)(const void *)(rx->ring + (rx->pos & rx->mask)))) return true;
    if (sub->reader.by_copy && lw__load_acquire(&lane->ctl->horizon) > rx->pos) return true;
    return lw__record_racy(lane, rx->pos, &header, &size) != 0;
}

/* Pairs with replace() and remove_locked(). */
bool lw__sub_is_due(const struct lw_sub *sub) {
    if (sub->cut || sub->gone || sub->owed || sub->untold) return true;
    if (lw__load_acquire(&sub->file.lane.state->superseded)) return true;
    return has_record(sub) || (!sub->told && lw__load(&sub->reader.slot->lost));
}

static bool peek(struct lw__source *s) {
    return lw__sub_is_due(sub_of(s));
}

static int look_for_group(struct lw__source *s, bool closely, struct lw_event *events, int room) {
    (void)closely;
    struct lw_sub *sub = sub_of(s);
    if (!room || !lw__sub_is_due(sub)) return 0;
    *events = (struct lw_event){.kind = LW_READABLE, .sub = sub};
    return 1;
}

static void park(struct lw__source *s, bool on) {
    if (!sub_of(s)->gone) lw__reader_park(&sub_of(s)->reader, on); /* gone: the slot is another's by now */
}

static void set_bell(struct lw__source *s, uint64_t bell) {
    if (!sub_of(s)->gone) lw__reader_bell(&sub_of(s)->reader, bell);
}

void lw__sub_tick(struct lw_sub *sub) {
    if (!sub->cut && !sub->gone && !sub->released) lw__file_napped(&sub->file); /* a mirror is replaced in use */
}

static bool tick(struct lw__source *s, int64_t now) {
    (void)now;
    lw__sub_tick(sub_of(s));
    return false;
}

const struct lw__source_ops lw__sub_ops = {
    .look = look_for_group, .peek = peek, .park = park, .bell = set_bell, .tick = tick};

int lw_sub_move(struct lw_sub *sub, struct lw_group *group, void *user) {
    return sub->cut ? LW_EFORKED : lw__source_move(&sub->source, group, user);
}

/* ---- callback style ---------------------------------------------------------------------------------------------- */

/* Afterwards it is the next message again; what was handed out before it stays so. Unless the handler released it, or
 * went elsewhere. */
static void keep(struct lw_sub *sub, const struct lw_msg *msg) {
    if (sub->gone || msg->position < sub->reader.rx.head || msg->position >= sub->reader.rx.pos) return;
    sub->reader.rx.pos = msg->position;
    sub->reader.rx.number = msg->number;
    if (sub->reader.by_copy) lw__reader_undivert(&sub->reader); /* it is copied again */
}

/* Said once, and not now: the count of what was handled is what is returned. */
static void owe(struct lw_sub *sub, int rc) {
    sub->owed = rc;
    lw__reader_divert(&sub->reader);
}

int64_t lw_sub_dispatch(struct lw_sub *sub, enum lw_verdict (*handle)(const struct lw_msg *msg, void *user), void *user,
                        size_t most, int64_t timeout) {
    struct lw_msg msg;
    int64_t handled = 0;
    if (sub->dispatching) return LW_ESTATE; /* inside a handler of its own */
    int rc = lw_sub_next(sub, &msg, timeout);
    if (rc != 1) return rc;
    sub->dispatching = true;
    while (rc == 1) {
        enum lw_verdict verdict = handle(&msg, user);
        if (sub->closing) {
            lw__sub_free(sub);
            return handled + 1;
        }
        if (verdict == LW_KEEP) {
            keep(sub, &msg);
            break;
        }
        lw_sub_release(sub, &msg); /* LW_ESTATE when the handler did it */
        handled++;
        if (verdict == LW_STOP || (size_t)handled == most) break;
        rc = lw_sub_next(sub, &msg, 0);
        if (rc == LW_EGAP || rc == LW_EEVICTED) owe(sub, rc);
    }
    sub->dispatching = false;
    return handled;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

int lw_sub_stats(const struct lw_sub *sub, struct lw_stats *stats) {
    struct lw__place place = {0, 0};
    if (sub->cut) return LW_EFORKED;
    if (!sub->gone && !lw__cursor_load(sub->reader.rx.cursor, &place)) return LW_ECORRUPT;
    if (sub->gone) place = sub->end;
    struct lw_stats now = {.messages = place.number - sub->begin.number,
                           .bytes = place.pos - sub->begin.pos,
                           .position = sub->reader.rx.pos,
                           .number = sub->reader.rx.number,
                           .waits = sub->waits,
                           .refused = sub->refused,
                           .lost = sub->lost,
                           .evicted = sub->evicted};
    return lw__result_write(stats, &now, sizeof now, "lw_stats");
}

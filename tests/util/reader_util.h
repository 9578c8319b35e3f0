/* SPDX-License-Identifier: MIT */
/*
 * util/reader_util.h - readers by copy in the tests of the lane: joining, receiving inline where laneway/fast.h would,
 * and adding up what came and what was said to be lost.
 */
#ifndef LW_TESTS_READER_UTIL_H
#define LW_TESTS_READER_UTIL_H

#include <inttypes.h>
#include <string.h>

#include "util/lane_util.h"

/* `word` as from t_owner(), LW__SLOT_LAG included. A code of lw__reader_take() or lw__reader_join(). */
static inline int t_copy_join(struct lw__reader *r, struct lw__lane *lane, uint64_t word, uint64_t cap,
                              enum lw_from from, uint64_t position) {
    *r = (struct lw__reader){.lane = NULL};
    T_NEED(!lw__reader_make_copies(r));
    int rc = lw__reader_take(r, lane, word, &t_owners);
    if (!rc) lw__store(&r->slot->cap, cap);
    if (!rc && (rc = lw__reader_join(r, from, position))) lw__reader_leave(r);
    if (rc) lw__reader_free_copies(r);
    return rc;
}

static inline void t_lossy_as(struct lw__reader *r, struct lw__lane *lane, unsigned id, enum lw_from from) {
    T_NEED(!t_copy_join(r, lane, t_owner(id, LW__SLOT_LOSSY), 0, from, 0));
}

/* One that may be evicted when it is more than `cap` behind. */
static inline void t_lagging_as(struct lw__reader *r, struct lw__lane *lane, unsigned id, uint64_t cap) {
    T_NEED(!t_copy_join(r, lane, t_owner(id, LW__SLOT_RELIABLE | LW__SLOT_LAG), cap, LW_FROM_NOW, 0));
}

static inline void t_copy_leave(struct lw__reader *r) {
    lw__reader_leave(r);
    lw__reader_free_copies(r);
}

/* As t_owners, and who is away is gone: no process is in such a word, but maybe the second since when. */
static inline bool t_away_or_gone(void *context, uint64_t owner) {
    return (uint16_t)(owner >> 16) == 0 || t_owners.gone(context, owner);
}

static const struct lw__owners t_aging_owners = {.closed = t_away_or_gone, .gone = t_away_or_gone};

/* Another handle, maybe of another process, takes a durable name over; by copy if `policy` says LAG. 0, or a code of
 * lw__reader_resume(). */
static inline int t_copy_inherit(struct lw__reader *r, struct lw__lane *lane, const char *name, unsigned id,
                                 unsigned policy, uint64_t cap) {
    uint64_t holder;
    *r = (struct lw__reader){.lane = NULL};
    T_NEED(!lw__reader_make_copies(r));
    struct lw__slot *slot = lw__slot_find(lane, name);
    T_NEED(slot && !lw__slot_inherit(r, lane, slot, t_owner(id, LW__SLOT_DURABLE | policy), &t_aging_owners, &holder));
    lw__store(&slot->cap, cap);
    return lw__reader_resume(r);
}

/* Inline when something is there to be handed out. */
static inline int t_copy_next(struct lw__reader *r, struct lw_msg *msg) {
    const void *here = r->rx.ring + (r->rx.pos & r->rx.mask);
    if (!lw__load((const uint64_t *)here)) return lw__reader_next(r, msg);
    return lw_sub_next((struct lw_sub *)(void *)r, msg, 0);
}

/* What the place has passed by eviction needs no release. */
static inline int t_copy_release(struct lw__reader *r, const struct lw_msg *msg) {
    return msg->next <= r->rx.head ? 0 : lw_sub_release((struct lw_sub *)(void *)r, msg);
}

struct t_seen {
    uint64_t messages, lost, told;
};

/* Reads to the end and releases: every message whole and the one it should be, and each jump as long as was told. For
 * when no writer runs. */
static inline const char *t_copy_drain(struct lw__reader *r, struct t_seen *seen) {
    struct lw_msg m;
    for (uint64_t most = r->lane->ring / 8;; most--) {
        uint64_t number = r->rx.number, pos = r->rx.pos;
        int rc = t_copy_next(r, &m);
        if (rc == LW_EEMPTY) return NULL;
        if (!most) return "it goes in circles";
        if (rc == LW_EGAP || rc == LW_EEVICTED) {
            seen->lost += r->passed;
            seen->told++;
            if (r->rx.number - number == r->passed && r->passed && r->rx.pos > pos) continue;
            return t_words("at %" PRIu64 ": told of %" PRIu64 ", number %" PRIu64 " after %" PRIu64, pos, r->passed,
                           r->rx.number, number);
        }
        if (rc != 1) return t_words("message %" PRIu64 " at %" PRIu64 ": %s", number, pos, lw_errname(rc));
        if (m.number != number || m.position != pos || m.next != r->rx.pos)
            return t_words("message %" PRIu64 " at %" PRIu64 " came as %" PRIu64, number, pos, m.number);
        if (!t_fits(&m)) return t_words("message %" PRIu64 " at %" PRIu64 " has other content", number, pos);
        if (t_copy_release(r, &m)) return t_words("message %" PRIu64 " can not be released", number);
        seen->messages++;
    }
}

#endif

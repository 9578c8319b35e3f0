/* SPDX-License-Identifier: MIT */
/*
 * lane/evict.c - readers that may not hold writers back for ever: taking that right from them, and coming back.
 *
 * Eviction is one compare-and-swap of exactly the owner word that was seen, and adds a bit to it. The word says which
 * process, which node epoch and which policy, so it can't hit the slot's next owner: that has another word, or, if it is
 * another handle of the same process, the same policy, and then it comes back without having lost anything. A reader in
 * place has no LAG in its word and can't be evicted while it lives. One whose process is dead can, in both kinds: there
 * is nobody who reads.
 *
 * EVICTED says only that the slot does not count any more when writers look at the heads. The slot stays its owner's. What
 * was lost is decided by horizon: all before it may be overwritten, nothing from it on was.
 *
 * Coming back: the place is stored first, while the slot does not count; then EVICTED becomes RETURNING, which makes it
 * count; then, as with any join, the full fence and the look at horizon. Beyond the place: too late, another place.
 * Not beyond: RETURNING goes, and from then on the place is known to be held. Between the two it counts, but nobody may
 * rely on it: horizon can have passed it before it counted. So who inherits a slot that is EVICTED or RETURNING comes
 * back anew. A writer may evict a returning reader as any other; then it begins again. A death at any instruction leaves
 * a slot that is evicted still, or returning with a place that was horizon's or later a moment ago; never an old place
 * that counts, and never one that is relied on and may be overwritten.
 *
 * What a durable reader missed is told when its owner asks next, who may be another process by then. [missed - 1,
 * missed_to) are the numbers of the messages that were passed without having been released. `missed` is stored before
 * the place moves, `missed_to` after: while it is 0, the place's number is the end. Once something beyond the end was
 * released, the owner knew, and both words mean nothing any more. So a death at any instruction leaves what the next
 * owner needs to tell the right count; it may have been told before, it is never told too little. The living owner
 * itself is told of what it had not been handed. An owner that seeks back has the end before it again, and perhaps the
 * beginning: what lies at its place and beyond is not missed, and may be again. Who inherits such a place and is told of
 * nothing forgets both words; a death before that leaves it to the next one.
 */
#include "lane/lane.h"

/* Pairs with still_there(), hold_place() and change_word() of the reader. */
bool lw__slot_evict(struct lw__slot *slot, uint64_t seen) {
#ifdef LW_PLANT_EVICT_WITHOUT_CAS
    lw__store_release(&slot->owner, seen | LW__SLOT_EVICTED);
    return true;
#endif
    return !(seen & LW__SLOT_EVICTED) && lw__cas(&slot->owner, seen, seen | LW__SLOT_EVICTED);
}

/* Pairs with lw__slot_inherit() and lw__slot_evict_old(). */
bool lw__slot_note_away(const struct lw__lane *lane, struct lw__slot *slot, uint64_t seen) {
    bool counting = (uint16_t)(seen >> 16) == 0 && seen >> 32 <= lw__seconds(); /* later than now: of another boot */
    if (counting || !lane->evict_age || lw__slot_kind(seen) != LW__SLOT_DURABLE) return false;
    return lw__cas(&slot->owner, seen, lw__slot_away(lane, seen));
}

bool lw__slot_evict_old(const struct lw__lane *lane, struct lw__slot *slot, uint64_t seen) {
    uint64_t now = lw__seconds();
    if (!lane->evict_age || lw__slot_kind(seen) != LW__SLOT_DURABLE || seen & LW__SLOT_EVICTED) return false;
    if (lw__slot_note_away(lane, slot, seen) || (uint16_t)(seen >> 16) || seen >> 32 > now) return false;
#ifdef LW_PLANT_EVICT_EARLY
    return now - (seen >> 32) >= lane->evict_age && lw__slot_evict(slot, seen);
#endif
    return now - (seen >> 32) > lane->evict_age &&
           lw__slot_evict(slot, seen); /* the first second was not a whole one */
}

/* ---- coming back ------------------------------------------------------------------------------------------------- */

/* With room before horizon comes here, and for one that may be so far behind only, not at once too far again. */
static uint64_t with_room(const struct lw__lane *lane, const struct lw__slot *slot, uint64_t owner) {
    struct lw__place tail;
    uint64_t from = lw__load(&lane->ctl->horizon) + lane->ring / 8, cap = lw__load(&slot->cap);
    if (!(owner & LW__SLOT_LAG) || !cap || cap > lane->ring || lw__lane_tail(lane, &tail)) return from;
    uint64_t within = tail.pos - lane->start > cap ? tail.pos - cap + cap / 4 : from;
    return within > from ? within : from;
}

static bool is_pending(const struct lw__slot *slot, const struct lw__place *place) {
    uint64_t to = lw__load(&slot->missed_to);
    return lw__load(&slot->missed) && (!to || place->number <= to);
}

uint64_t lw__slot_missed(const struct lw__slot *slot) {
    struct lw__place place;
    if (!lw__cursor_load(&slot->cursor, &place) || !is_pending(slot, &place)) return 0;
    uint64_t to = lw__load(&slot->missed_to), from = lw__load(&slot->missed) - 1;
    if (!to || place.number < to) to = place.number;
    return to > from ? to - from : 0;
}

/* Pairs with lw__slot_inherit(): after a death the heir finds these words as far as they came, in this order. */
void lw__slot_end_missed(struct lw__slot *slot, const struct lw__place *place) {
    if (lw__load(&slot->missed) && !lw__load(&slot->missed_to)) lw__store_release(&slot->missed_to, place->number);
}

/* Pairs with lw__slot_inherit(), as in note_missed(). */
void lw__slot_cut_missed(struct lw__slot *slot, uint64_t number) {
    uint64_t from = lw__load(&slot->missed);
    if (!from || number < from) return;
    lw__store_release(&slot->missed, number < lw__load(&slot->missed_to) ? number + 1 : 0);
}

/* The place is about to move on from where it is. What is pending already began earlier, unless the owner sought
 * back. Pairs with lw__slot_inherit(): after a death the heir finds these words as far as they came, in this order. */
static void note_missed(struct lw__slot *slot, const struct lw__place *place) {
    bool begins = !is_pending(slot, place) || place->number < lw__load(&slot->missed) - 1;
    if (begins) lw__store_release(&slot->missed, 0);
    lw__store_release(&slot->missed_to, 0);
    if (begins) lw__store_release(&slot->missed, place->number + 1);
}

/* What is to be held now: our place, or what was handed out last, or what there is. `horizon` pairs with the fence
 * of an earlier gain() in lane/room.c: the marks from there on are seen. */
static int next_place(struct lw__reader *r, struct lw__place *place) {
    uint64_t horizon = lw__load_acquire(&r->lane->ctl->horizon);
    if (!lw__cursor_load(&r->slot->cursor, place)) return LW_ECORRUPT;
    if (horizon <= place->pos) return 0;
#ifndef LW_PLANT_MISSED_NOT_NOTED
    note_missed(r->slot, place);
#endif
    if (horizon > r->rx.pos) return lw__lane_mark_from(r->lane, with_room(r->lane, r->slot, r->owner), place);
    *place = (struct lw__place){.pos = r->rx.pos, .number = r->rx.number};
    return 0;
}

/* Pairs with lw__slot_evict() and look_at() of the writer. */
static bool becomes(struct lw__reader *r, uint64_t was, uint64_t word) {
    return lw__cas(&r->slot->owner, was, word);
}

/* Holds a place, and knows it. The word pairs with lw__slot_evict(). */
static int hold_place(struct lw__reader *r, struct lw__place *place) {
    for (;;) {
        uint64_t word = lw__load_acquire(&r->slot->owner);
        if (lw__slot_settled(word) != r->owner) return LW_ECLOSED;
        int rc = next_place(r, place);
        if (rc) return rc;
#ifdef LW_PLANT_BACK_BEFORE_PLACE
        becomes(r, word, r->owner | LW__SLOT_RETURNING);
        word = r->owner | LW__SLOT_RETURNING;
#endif
        lw__cursor_store(&r->slot->cursor, place->pos, place->number);
#ifdef LW_PLANT_BACK_WITHOUT_RETURNING
        becomes(r, word, r->owner);
        word = r->owner;
#else
        if (!becomes(r, word, r->owner | LW__SLOT_RETURNING)) continue;
        word = r->owner | LW__SLOT_RETURNING;
#endif
        lw__add(&r->lane->ctl->joins, 1);
        lw__fence_full(); /* pairs with the fence of gain() in lane/room.c */
#ifdef LW_PLANT_BACK_WITHOUT_SECOND_LOOK
        if (becomes(r, word, r->owner)) return 0;
#endif
        if (lw__load(&r->lane->ctl->horizon) <= place->pos && becomes(r, word, r->owner)) return 0;
    }
}

int lw__reader_come_back(struct lw__reader *r) {
    struct lw__place place;
    int rc = hold_place(r, &place);
    if (rc) return rc;
    lw__slot_end_missed(r->slot, &place);
    r->passed = place.number > r->rx.number ? place.number - r->rx.number : 0;
    if (place.pos > r->rx.head) {
        r->orphans = r->rx.number; /* what was handed out and not released can't be handed out again */
        r->orphans_at = place.pos;
    }
    r->rx.head = place.pos;
    if (place.pos > r->rx.pos) {
        r->rx.pos = place.pos;
        r->rx.number = place.number;
    }
    lw__reader_undivert(r);
    return 0;
}

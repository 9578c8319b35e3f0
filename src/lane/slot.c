/* SPDX-License-Identifier: MIT */
/*
 * lane/slot.c - who owns a reader's slot.
 *
 * The owner word decides; it changes by compare-and-swap of exactly the word that was seen, so two who want the same
 * slot of a dead owner can't both have it. All else in a slot is written by its owner only. Whoever frees a slot owns
 * it first: it takes the place away (LW__NOWHERE), then the word becomes 0. A free slot therefore holds nobody back.
 */
#include <stdio.h>
#include <string.h>

#include "lane/lane.h"

/* Pairs with look_at() and the other looks of lane/room.c. */
static void set_nowhere(struct lw__slot *slot) {
    lw__store_release(&slot->cursor.pos, LW__NOWHERE);
}

/* Pairs with take_free(), and with itself in others. */
bool lw__slot_free(struct lw__slot *slot, uint64_t seen, uint64_t me) {
    /* Passing while it is ours: should we die here, the next sweep finishes. */
#ifdef LW_PLANT_FREE_WITHOUT_CAS
    lw__store_release(&slot->owner, lw__slot_process(me) | LW__SLOT_PASSING);
#else
    if (!lw__cas(&slot->owner, seen, lw__slot_process(me) | LW__SLOT_PASSING)) return false;
#endif
#ifdef LW_PLANT_FREE_BEFORE_NOWHERE
    lw__store_release(&slot->owner, 0);
#endif
    set_nowhere(slot);
    lw__store_release(&slot->owner, 0);
    return true;
}

/* One process may have hundreds of slots: whoever was found alive is not asked about again. */
static bool is_gone(const struct lw__owners *owners, uint64_t owner, uint64_t *alive) {
    uint64_t who = lw__slot_process(owner);
    if (who == *alive) return false;
    bool gone = owners->gone(owners->context, owner);
    if (!gone) *alive = who;
    return gone;
}

/* Pairs with take_free() and lw__slot_inherit(). */
unsigned lw__lane_sweep(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners) {
    unsigned freed = 0;
    uint64_t alive = UINT64_MAX;
    uint64_t used = lw__load(&lane->ctl->slots_used);
    for (uint32_t i = 0; i < used && i < lane->slots_max; i++) {
        uint64_t seen = lw__load_acquire(&lane->slots[i].owner);
#ifdef LW_PLANT_SWEEP_THE_NAMED
        if (seen && owners->gone(owners->context, seen)) freed += lw__slot_free(&lane->slots[i], seen, me);
#endif
        bool durable = lw__slot_kind(seen) == LW__SLOT_DURABLE;
        if (!seen || (durable && !lane->evict_age) || !is_gone(owners, seen, &alive)) continue;
        if (durable)
            lw__slot_note_away(lane, &lane->slots[i], seen);
        else if (lw__slot_is_parked(lane, &lane->slots[i]))
            freed += lw__slot_put_down(lane, &lane->slots[i], seen, me);
        else
            freed += lw__slot_free(&lane->slots[i], seen, me);
    }
    return freed;
}

/* Raised, never lowered, before the new owner's fence in hold(). Pairs with look() of the writer, by the fence of
 * gain(). */
static void raise_slots_used(struct lw__lane *lane, uint64_t to) {
    uint64_t used = lw__load(&lane->ctl->slots_used);
    while (used < to && !lw__cas(&lane->ctl->slots_used, used, to)) used = lw__load(&lane->ctl->slots_used);
}

void lw__reader_bind(struct lw__reader *r, struct lw__lane *lane, struct lw__slot *slot, uint64_t owner) {
    struct lw__reader was = *r;
    bool lossy = lw__slot_kind(owner) == LW__SLOT_LOSSY;
    *r = (struct lw__reader){.lane = lane,
                             .slot = slot,
                             .owner = owner,
                             .ticket = slot->ticket,
                             .index = (uint32_t)(slot - lane->slots),
                             .by_copy = lossy || owner & LW__SLOT_LAG,
                             .copies = was.copies,
                             .large = was.large,
                             .large_size = was.large_size};
    r->rx = (struct lw__rx){.size = lw__record_size(0),
                            .max = lane->record_max,
                            .cursor = lossy ? &slot->seen : &slot->cursor,
                            .wanted = lw__mask_of(lane, lane->ctl->wanted)};
    lw__reader_undivert(r);
}

/* Tells apart the handles of one process: their owner words are alike. */
static uint64_t ticket_for_one(void) {
    static uint64_t last;
    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

/* Pairs with lw__slot_free(): what its owner did with the slot is over. */
static struct lw__slot *take_free(struct lw__lane *lane, uint64_t owner) {
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        struct lw__slot *slot = &lane->slots[i];
        if (lw__load(&slot->owner)) continue;
#ifndef LW_PLANT_COUNT_AFTER_TAKING
        raise_slots_used(lane, i + 1); /* first: a slot that was taken and not counted would never be swept */
#endif
        if (!lw__cas(&slot->owner, 0, owner)) continue;
#ifdef LW_PLANT_COUNT_AFTER_TAKING
        raise_slots_used(lane, i + 1);
#endif
        set_nowhere(slot); /* it is, unless a bit flipped in a file */
        lw__slot_unpark(lane, slot);
        lw__store(&slot->seen.pos, LW__NOWHERE);
        lw__store(&slot->lost, 0);
        lw__store(&slot->missed, 0);
        lw__store(&slot->missed_to, 0);
        lw__store(&slot->dropped, 0);
        lw__store(&slot->section, 0);
        lw__store(&slot->cap, 0);
        lw__store(&slot->ticket, ticket_for_one());
        return slot;
    }
    return NULL;
}

struct lw__slot *lw__slot_take(struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners) {
    struct lw__slot *slot = take_free(lane, owner);
    return slot || !lw__lane_sweep(lane, owner, owners) ? slot : take_free(lane, owner);
}

int lw__reader_take(struct lw__reader *r, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners) {
    struct lw__slot *slot = lw__slot_take(lane, owner, owners);
    if (!slot) return LW_ENOSLOT;
    lw__reader_bind(r, lane, slot, owner);
    return 0;
}

/* Our word becomes another one, evicted or not: a writer may evict us at any moment. False: it is not ours. Pairs
 * with lw__slot_evict(), and with lw__slot_find(): the name is there before the word that says so. */
static bool change_word(struct lw__reader *r, uint64_t fresh) {
    for (;;) {
        uint64_t seen = lw__load_acquire(&r->slot->owner);
        if (lw__slot_settled(seen) != r->owner) return false;
        if (lw__cas(&r->slot->owner, seen, fresh | (seen ^ r->owner))) return true;
    }
}

/* By compare-and-swap of our own word: should the slot have been taken from us (a node file removed by hand makes the
 * living look dead), it is not ours to give. Pairs with lw__slot_evict() of writers. */
void lw__reader_leave(struct lw__reader *r) {
    if (lw__slot_kind(r->owner) == LW__SLOT_DURABLE) {
        if (lw__slot_settled(lw__load_acquire(&r->slot->owner)) == r->owner) lw__slot_unpark(r->lane, r->slot);
        change_word(r, lw__slot_away(r->lane, r->owner)); /* the place stays */
        return;
    }
    for (uint64_t seen; lw__slot_settled(seen = lw__load_acquire(&r->slot->owner)) == r->owner;) {
        lw__slot_unpark(r->lane, r->slot);
        if (lw__slot_free(r->slot, seen, r->owner)) return;
    }
}

/* Ours in between, so that what it parked is ours to clear: a death here leaves a dead owner again. Pairs with
 * take_free(), lw__slot_inherit() and lw__slot_evict(). */
bool lw__slot_put_down(const struct lw__lane *lane, struct lw__slot *slot, uint64_t seen, uint64_t me) {
    bool durable = lw__slot_kind(seen) == LW__SLOT_DURABLE;
    uint64_t ours = lw__slot_process(me) | (durable ? seen & 0xffff : LW__SLOT_PASSING);
    if (!lw__cas(&slot->owner, seen, ours)) return false;
    lw__slot_unpark(lane, slot);
    if (!durable) set_nowhere(slot);
    if (!durable) lw__store_release(&slot->owner, 0);
    if (!durable) return true;
    while (!lw__cas(&slot->owner, ours, lw__slot_away(lane, ours))) { /* a writer may evict it at any moment */
        ours = lw__load_acquire(&slot->owner);
        if (lw__slot_process(ours) != lw__slot_process(me)) return true;
    }
    return true;
}

/* Pairs with take_free() and lw__cursor_store(). */
bool lw__slot_subscribes(const struct lw__slot *slot) {
    uint64_t owner = lw__load_acquire(&slot->owner);
    if (!owner || lw__slot_kind(owner) == LW__SLOT_WRITER) return false;
    const struct lw__cursor *place = lw__slot_kind(owner) == LW__SLOT_LOSSY ? &slot->seen : &slot->cursor;
    return lw__load_acquire(&place->pos) != LW__NOWHERE;
}

/* ---- durable names ----------------------------------------------------------------------------------------------- */

/* Pairs with change_word() in lw__slot_make_durable(). */
struct lw__slot *lw__slot_find(const struct lw__lane *lane, const char *name) {
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        struct lw__slot *slot = &lane->slots[i];
        uint64_t owner = lw__load_acquire(&slot->owner);
        if (lw__slot_kind(owner) == LW__SLOT_DURABLE && strncmp(slot->name, name, sizeof slot->name) == 0) return slot;
    }
    return NULL;
}

/* Pairs with whatever made it free to have: change_word() in lw__reader_leave(), lw__slot_note_away(),
 * lw__slot_put_down(). From a dead one comes all that lw__owner_gone() brought. */
int lw__slot_inherit(struct lw__reader *r, struct lw__lane *lane, struct lw__slot *slot, uint64_t owner,
                     const struct lw__owners *owners, uint64_t *holder) {
    for (;;) { /* again when it was evicted, or began to be counted as away, between the look and the change */
        uint64_t seen = lw__load_acquire(&slot->owner);
        *holder = seen;
        if (!owners->gone(owners->context, seen)) return LW_EHELD;
#ifdef LW_PLANT_INHERIT_WITHOUT_CAS
        lw__store_release(&slot->owner, owner);
        break;
#else
        uint64_t evicted = lw__slot_settled(seen) == seen ? 0 : LW__SLOT_EVICTED;
#ifdef LW_PLANT_INHERIT_RETURNING_AS_HELD
        evicted = seen & LW__SLOT_EVICTED;
#endif
        if (lw__cas(&slot->owner, seen, owner | evicted)) break;
#endif
    }
    lw__slot_unpark(lane, slot);
    lw__store(&slot->ticket, ticket_for_one());
    lw__reader_bind(r, lane, slot, owner);
    return 0;
}

/* The name first, then the word that makes it count: a death between leaves a dead reader without a name, which is
 * swept. Pairs with lw__slot_find(). */
void lw__slot_make_durable(struct lw__reader *r, const char *name) {
    uint64_t owner = (r->owner & ~UINT64_C(15)) | LW__SLOT_DURABLE;
#ifdef LW_PLANT_DURABLE_BEFORE_NAME
    lw__store_release(&r->slot->owner, owner);
    r->owner = owner;
#endif
    memset(r->slot->name, 0, sizeof r->slot->name);
    snprintf(r->slot->name, sizeof r->slot->name, "%s", name);
    change_word(r, owner);
    r->owner = owner;
}

/* SPDX-License-Identifier: MIT */
/*
 * lane/park.c - who sleeps until something happens on a lane: readers until a record comes, writers until there is room.
 *
 * Sleeping costs the one who is awake a load. A writer commits a record, holds back the compiler, and loads the mask of
 * readers that sleep, plainly. A reader that is about to sleep sets its bit, runs a membarrier, and looks for the record
 * once more. The membarrier is a full fence in the midst of whatever the writer was running. Was the commit before that
 * fence: the reader's look sees it. Was it after: then the load of the mask is after the fence too, and sees the bit. So
 * at least one of the two notices the other. The same with a release in the place of the commit, for writers that sleep.
 *
 * It takes membarriers on both sides: the process that commits must be registered, the one that sleeps must be able to
 * issue one. A committer that is not registered has masks that are never empty in its handle (lw__masks_always), so that
 * every commit of it goes to the slow path, which runs a full fence and looks at the true mask. A sleeper that can't
 * issue one leaves its bit set for as long as it has the slot: so the others go to the slow path each time, and only
 * the first sleep, before they saw the bit, can be missed; its sleeps are short for that.
 *
 * A bit and the bell word in the slot are its owner's to change. They say where to ring, not whether somebody sleeps:
 * that is in the bell itself (bus/bell.c). A death leaves the bit; whoever rings finds the owner closed and puts the
 * place down: a durable one is away from then on, another one is freed.
 */
#include "lane/lane.h"

const uint64_t lw__masks_always[LW__MASK_WORDS] = {1};

/* Setting pairs with lw__is_any(), by the sleeper's membarrier, and with the fences of lw__ring_readers() and
 * lw__ring_writers(), which bring the bell word. Clearing pairs with nothing: it is locked for the bits of others. */
static void set_bit(uint64_t *mask, uint32_t i, bool on) {
    uint64_t bit = UINT64_C(1) << i % 64;
    if (on)
        __atomic_fetch_or(&mask[i / 64], bit, __ATOMIC_SEQ_CST);
    else if (lw__load(&mask[i / 64]) & bit)
        __atomic_fetch_and(&mask[i / 64], ~bit, __ATOMIC_SEQ_CST);
}

static bool is_set(const uint64_t *mask, uint32_t i) {
    return lw__load(&mask[i / 64]) >> i % 64 & 1;
}

/* Pairs with the membarrier of park_quiet() and lw__source_prepare() in src/bus/group.c. */
bool lw__mask_any(const struct lw__lane *lane, const uint64_t *mask) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint64_t any = 0;
    for (uint32_t i = 0; i < lw__mask_words(lane); i++) any |= lw__load(&mask[i]);
    return any;
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

/* Pairs with ring_reader(). */
void lw__reader_bell(struct lw__reader *r, uint64_t bell) {
    lw__store_release(&r->slot->bell, bell);
}

void lw__reader_park(struct lw__reader *r, bool on) {
    set_bit(r->lane->ctl->parked, r->index, on);
}

/* ---- writers ----------------------------------------------------------------------------------------------------- */

static uint32_t wanted_bit(const struct lw__writer *w) {
    return w->slot ? (uint32_t)(w->slot - w->lane->slots) : 0;
}

/* Pairs with ring_writer(). */
void lw__writer_bell(struct lw__writer *w, uint64_t bell) {
    lw__store_release(w->slot ? &w->slot->bell : &w->lane->ctl->writer_bell, bell);
}

void lw__writer_park(struct lw__writer *w, bool on) {
    set_bit(w->lane->ctl->wanted, wanted_bit(w), on);
}

/* ---- slots that change hands ------------------------------------------------------------------------------------- */

bool lw__slot_is_parked(const struct lw__lane *lane, const struct lw__slot *slot) {
    uint32_t i = (uint32_t)(slot - lane->slots);
    return is_set(lane->ctl->parked, i) || is_set(lane->ctl->wanted, i);
}

/* Bit 0 may be an exclusive writer's, who has no slot and may sleep: a reader in slot 0 leaves it alone, and so does a
 * shared writer that is about to be refused. Pairs with take_for_good(). */
static bool has_wanted(const struct lw__lane *lane, const struct lw__slot *slot) {
    uint64_t lock = lw__load_acquire(&lane->ctl->lock);
    if (slot != lane->slots) return true;
    return lw__slot_kind(lw__load(&slot->owner)) == LW__SLOT_WRITER && (!lock || lock & 0xffff);
}

/* Pairs with ring_reader() and ring_writer(). */
void lw__slot_unpark(const struct lw__lane *lane, struct lw__slot *slot) {
    uint32_t i = (uint32_t)(slot - lane->slots);
    set_bit(lane->ctl->parked, i, false);
    if (has_wanted(lane, slot)) set_bit(lane->ctl->wanted, i, false);
    lw__store_release(&slot->bell, 0);
}

/* ---- ringing ----------------------------------------------------------------------------------------------------- */

static bool is_live(const struct lw__owners *owners, uint64_t owner) {
    return owner && !owners->closed(owners->context, lw__slot_process(owner));
}

/* The owner's word first, then its bell: should the slot change hands in between, the bell is the newer one's, who looks
 * for itself after it has parked. Pairs with take_free() and lw__reader_bell(). */
static void ring_reader(struct lw__lane *lane, uint32_t i, uint64_t me, const struct lw__owners *owners,
                        const struct lw__ringer *ringer) {
    struct lw__slot *slot = &lane->slots[i];
    uint64_t owner = lw__load_acquire(&slot->owner), bell = lw__load_acquire(&slot->bell);
    if (is_live(owners, owner))
        ringer->ring(ringer->context, lw__slot_process(owner), bell);
    else
        lw__slot_put_down(lane, slot, owner, me);
}

void lw__lane_ring_readers(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners,
                           const struct lw__ringer *ringer) {
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        if (i % 64 == 0 && !lw__load(&lane->ctl->parked[i / 64]))
            i += 63;
        else if (is_set(lane->ctl->parked, i))
            ring_reader(lane, i, me, owners, ringer);
    }
}

/* Pairs with take_free(), take_for_good() and lw__writer_bell(). */
static void ring_writer(const struct lw__lane *lane, uint32_t i, uint64_t me, const struct lw__owners *owners,
                        const struct lw__ringer *ringer) {
    struct lw__slot *slot = &lane->slots[i];
    uint64_t owner = lw__load_acquire(&slot->owner), bell = lw__load_acquire(&slot->bell);
    bool writer = lw__slot_kind(owner) == LW__SLOT_WRITER;
    if (writer && is_live(owners, owner))
        ringer->ring(ringer->context, lw__slot_process(owner), bell);
    else if (writer)
        lw__slot_put_down(lane, slot, owner, me);
    uint64_t lock = lw__load_acquire(&lane->ctl->lock);
    if (i == 0 && lock && !(lock & 0xffff) && is_live(owners, lock))
        ringer->ring(ringer->context, lock, lw__load_acquire(&lane->ctl->writer_bell));
}

void lw__lane_ring_writers(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners,
                           const struct lw__ringer *ringer) {
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        if (i % 64 == 0 && !lw__load(&lane->ctl->wanted[i / 64]))
            i += 63;
        else if (is_set(lane->ctl->wanted, i))
            ring_writer(lane, i, me, owners, ringer);
    }
}

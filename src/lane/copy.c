/* SPDX-License-Identifier: MIT */
/*
 * lane/copy.c - receiving by copy: for readers that writers may overrun.
 *
 * Records are copied out of the ring as they are, whole, torn or overwritten; only then it is decided whether what was
 * copied was still there. Nothing that was read is believed before, but to bound the copy: a length is loaded once and
 * checked against what the ring can hold, and a copy never leaves the ring's two mappings.
 *
 * Still there, for a lossy reader: horizon has not passed the first byte. A writer stores horizon, runs a fence that
 * releases (room.c; a later writer another one, lock.c), and then overwrites. We load the bytes, run a fence that
 * acquires, and load horizon. Had one of the loads seen a byte of a later lap, the two fences would meet, and the load
 * of horizon would see what was stored before. For a reader that may be evicted: its owner word says that it was not.
 * Writers evict before they move horizon over a place that counts, so the same argument holds with that word instead.
 *
 * The copy is the one data race of the library. Its loads are relaxed atomic ones of 8 bytes; the writer's stores are
 * those of memcpy. A torn 8-byte value can only come with a later lap, and is then thrown away. ThreadSanitizer can't
 * know that, so this function is not watched; and neither is the load of one header that joiners do (cursor.c), for the
 * same reason.
 */
#include <errno.h>
#include <stdlib.h>

#include "lane/lane.h"

enum { SOME = 16384 }; /* bytes of records to copy at a time: a few hundred small ones, within the first cache */

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Each record lies in one piece and begins where its position says, modulo SOME: one that begins late goes on into the
 * second half. */
int lw__reader_make_copies(struct lw__reader *r) {
    if (r->copies) return 0;
    r->copies = aligned_alloc(64, 2 * SOME + 64);
    return r->copies ? 0 : -ENOMEM;
}

void lw__reader_free_copies(struct lw__reader *r) {
    free(r->copies);
    free(r->large);
    r->copies = r->large = NULL;
    r->large_size = 0;
}

static int make_large(struct lw__reader *r, uint64_t size) {
    if (size <= r->large_size) return 0;
    free(r->large);
    r->large = malloc(size);
    r->large_size = r->large ? size : 0;
    return r->large ? 0 : -ENOMEM;
}

/* ---- the copy ---------------------------------------------------------------------------------------------------- */

/* Where to: a record at `pos` goes to `to + (pos & mask)`, as long as all of them take `room` bytes at most. */
struct target {
    char *to;
    uint64_t mask;
    uint64_t room;
};

/* Copies whole records from `pos` on and returns how many bytes they are. `*stopped` is the header word that it stopped
 * at: 0, an impossible one, or that of a record for which there is no room. The header pairs with the commit in
 * lw__tx_publish(). */
LW__RACY static uint64_t copy_racy(const struct lw__lane *lane, uint64_t pos, const struct target *t,
                                   uint64_t *stopped) {
    uint64_t done = 0;
    for (;;) {
        const uint64_t *from = (const uint64_t *)(const void *)(lane->data + ((pos + done) & lane->mask));
        uint64_t *to = (uint64_t *)(void *)(t->to + ((pos + done) & t->mask));
        uint64_t header = __atomic_load_n(from, __ATOMIC_ACQUIRE), len = (uint32_t)header;
        uint64_t size = lw__record_size(len);
        *stopped = header;
        if ((header >> 48 & ~LW__MORE) != LW__COMMITTED || len > lane->record_max || size > t->room - done) return done;
        to[0] = header;
        for (uint64_t i = 1; i < size / 8; i++) to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
        done += size;
    }
}

/* Is what was just read what it was? 0; LW_EGAP; LW_EEVICTED: come back first; LW_ECLOSED. */
static int still_there(const struct lw__reader *r) {
#ifdef LW_PLANT_COPY_NOT_VALIDATED
    return 0;
#endif
    lw__fence_acquire(); /* pairs with the full fence of gain() in lane/room.c, the release fence of enter_by_lock() */
    if (lw__slot_kind(r->owner) == LW__SLOT_LOSSY) return lw__load(&r->lane->ctl->horizon) <= r->rx.pos ? 0 : LW_EGAP;
    uint64_t owner = lw__load_acquire(&r->slot->owner);
    return owner == r->owner ? 0 : lw__slot_settled(owner) == r->owner ? LW_EEVICTED : LW_ECLOSED;
}

/* A lossy reader was overtaken: to a mark with room before it is so again. `horizon` pairs with the fence of an
 * earlier gain() in lane/room.c: the marks from there on are seen. Our fence pairs with that of the one that moves
 * it meanwhile, as in still_there(). */
static int skip(struct lw__reader *r) {
    struct lw__place place;
    do {
        uint64_t from = lw__load_acquire(&r->lane->ctl->horizon) + r->lane->ring / 8;
#ifdef LW_PLANT_LOSSY_WITHOUT_ROOM
        from -= r->lane->ring / 8;
#endif
        int rc = lw__lane_mark_from(r->lane, from, &place);
        if (rc) return rc;
        lw__fence_acquire();
    } while (lw__load(&r->lane->ctl->horizon) > place.pos);
    r->passed = place.number - r->rx.number;
    lw__store(&r->slot->dropped, lw__load(&r->slot->dropped) + r->passed);
    r->rx.pos = r->rx.head = place.pos;
    r->rx.number = place.number;
    lw__cursor_store(r->rx.cursor, place.pos, place.number);
    lw__reader_divert(r);
    return LW_EGAP;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* Hands out the record at `here`, which is ours. */
static void hand_out(struct lw__reader *r, const char *here, uint64_t header, struct lw_msg *msg) {
    uint64_t size = lw__record_size((uint32_t)header);
    *msg = (struct lw_msg){.data = here + 8,
                           .len = (uint32_t)header,
                           .position = r->rx.pos,
                           .next = r->rx.pos + size,
                           .number = r->rx.number++,
                           .type = (uint16_t)(header >> 32),
                           .flags = (uint16_t)(header >> 48 & LW_MSG_MORE)};
    r->rx.pos += size;
}

/* Too large to be copied with others. It was there a moment ago, so its length is one. */
static int next_large(struct lw__reader *r, struct lw_msg *msg, uint64_t header) {
    uint64_t size = lw__record_size((uint32_t)header), again;
    int rc = make_large(r, size);
    if (rc) return rc;
    bool whole =
        copy_racy(r->lane, r->rx.pos, &(struct target){.to = r->large, .mask = 0, .room = size}, &again) == size;
    rc = still_there(r);
    if (rc) return rc;
    if (!whole) return LW_ECORRUPT;
    lw__reader_divert(r); /* the next call comes here again */
    hand_out(r, r->large, header, msg);
    return 1;
}

static int fill(struct lw__reader *r, struct lw_msg *msg) {
    uint64_t stopped, done;
    done =
        copy_racy(r->lane, r->rx.pos, &(struct target){.to = r->copies, .mask = SOME - 1, .room = SOME - 8}, &stopped);
    int rc = still_there(r);
    if (rc) return rc;
    if (!done && !stopped) return LW_EEMPTY;
    if (!done && ((stopped >> 48 & ~LW__MORE) != LW__COMMITTED || (uint32_t)stopped > r->lane->record_max))
        return LW_ECORRUPT;
    if (!done) return next_large(r, msg, stopped);
    *(uint64_t *)(void *)(r->copies + ((r->rx.pos + done) & (SOME - 1))) = 0; /* the inline path ends here */
    r->rx.ring = r->copies;
    r->rx.mask = SOME - 1;
    const char *here = r->copies + (r->rx.pos & (SOME - 1));
    hand_out(r, here, *(const uint64_t *)(const void *)here, msg);
    return 1;
}

int lw__reader_next_copy(struct lw__reader *r, struct lw_msg *msg) {
    const char *here = r->rx.ring + (r->rx.pos & r->rx.mask);
    uint64_t header = *(const uint64_t *)(const void *)here;
    if (header) {
        hand_out(r, here, header, msg);
        return 1;
    }
    for (;;) {
        int rc = fill(r, msg);
        if (rc == LW_EGAP) return skip(r);
        if (rc != LW_EEVICTED) return rc;
        rc = lw__reader_come_back(r);
        if (rc || r->passed) return rc ? rc : LW_EEVICTED;
    }
}

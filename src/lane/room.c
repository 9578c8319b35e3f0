/* SPDX-License-Identifier: MIT */
/*
 * lane/room.c - how a writer gains room.
 *
 * Why nothing is overwritten that a reader still needs. The writer writes below `limit` only, and limit = min(heads,
 * horizon) + ring, with heads read after horizon was stored and a full fence. Take any reader with its place at p, and
 * any byte of position q in [p, p + ring) that would overwrite position q - ring < p... that is harmless; harm is
 * writing at or beyond p + ring. If the writer saw the head at p (or an older place, heads only grow), limit <= p +
 * ring: no harm. If it did not see it, the reader was joining: it stored its head, ran a full fence and then looked at
 * horizon. Of two full fences one is first. The writer's first: the joiner sees the new horizon, and if that is beyond
 * p, gives p up; else p >= horizon, and the writer's limit is at most horizon + ring <= p + ring. The joiner's first:
 * the writer sees the head. slots_used goes with the head: it is raised before the joiner's fence and read after the
 * writer's.
 *
 * A place goes back only in lw__reader_seek: another slot joins there, then the reader's own place moves there, then
 * the other is given up. One pass over the slots could load the reader's before the move and the other one after it was
 * given up, and see neither. So the look that counts goes there and back: whatever the order of the two slots, one of
 * the two passes loads the other slot first, and if that is given up, the reader's has moved.
 *
 * Why nothing is stored while it is full: horizon never goes back, so moving it before knowing that there will be room
 * would take records away from joiners for nothing; hence the first look. The second may find a new head below need:
 * then limit is what it allows, and the caller is told "full" after all.
 *
 * A death anywhere here leaves horizon old or new. New means only that joiners begin a little later.
 */
#include "lane/lane.h"

/* Each head is loaded once. A slot that nobody owns does not count, whatever is in it. */
static void look_at(struct lw__writer *w, uint32_t i, uint64_t *lowest) {
    const struct lw__slot *slot = &w->lane->slots[i];
#ifdef LW_PLANT_PLACE_LOADED_RELAXED
    uint64_t head = lw__load(&slot->cursor.pos);
#else
    uint64_t head = lw__load_acquire(&slot->cursor.pos); /* pairs with lw__cursor_store of its reader */
#endif
#ifdef LW_PLANT_FREE_SLOT_HOLDS
    if (head >= *lowest) return;
#else
    if (head >= *lowest || lw__load_acquire(&slot->owner) == 0) return;
#endif
    *lowest = head;
    w->slowest = i;
}

/* The lowest place of all readers, and whose it is. Once there, and if the answer is to count, once back. */
static uint64_t lowest_head(struct lw__writer *w, bool and_back) {
    uint64_t used = lw__load(&w->lane->ctl->slots_used), lowest = LW__NOWHERE;
    uint32_t count = used < w->lane->slots_max ? (uint32_t)used : w->lane->slots_max;
    /* Most lie in other cores' caches: they come all at once, not one after the other. */
    for (uint32_t i = 0; i < count; i++) __builtin_prefetch(&w->lane->slots[i].cursor);
    for (uint32_t i = 0; i < count; i++) look_at(w, i, &lowest);
#ifndef LW_PLANT_LOOK_ONE_WAY
    for (uint32_t i = count; and_back && i--;) look_at(w, i, &lowest);
#endif
    return lowest & ~UINT64_C(7);
}

/* The one that held back last time mostly still does: then one load is the whole look. */
static bool still_full(const struct lw__writer *w, uint64_t need) {
    const struct lw__slot *slot = &w->lane->slots[w->slowest];
    return (lw__load_acquire(&slot->cursor.pos) & ~UINT64_C(7)) < need && lw__load_acquire(&slot->owner) != 0;
}

int lw__writer_room(struct lw__writer *w, uint64_t end) {
    struct lw__lane *lane = w->lane;
    uint64_t over = end + 8;
#ifdef LW_PLANT_LIMIT_WITHOUT_8
    over = end;
#endif
    if (over <= w->limit) return 0;
    if (lw__load(&lane->ctl->lock) != w->owner) return LW_ECLOSED; /* a node file removed by hand: an heir writes now */
    uint64_t start = lane->start, need = over > start + lane->ring ? over - lane->ring : start;
#ifndef LW_PLANT_HORIZON_BEFORE_LOOK
    if (still_full(w, need) || lowest_head(w, false) < need) return LW_EFULL;
#endif

    uint64_t segment = UINT64_C(1) << lane->segment_shift;
    uint64_t target = (need + segment - 1) & ~(segment - 1), horizon = lw__load(&lane->ctl->horizon);
#ifdef LW_PLANT_HORIZON_NOT_ROUNDED
    target = need;
#endif
#ifdef LW_PLANT_ROOM_WITHOUT_SECOND_LOOK
    uint64_t first = lowest_head(w, true);
#endif
    if (target > horizon) lw__store(&lane->ctl->horizon, horizon = target);
    lw__fence_full(); /* pairs with the fence of lw__reader_join */
#ifdef LW_PLANT_ROOM_WITHOUT_SECOND_LOOK
    uint64_t lowest = first;
#else
    uint64_t lowest = lowest_head(w, true);
#endif
    w->limit = (lowest < horizon ? lowest : horizon) + lane->ring;
    return over <= w->limit ? 0 : LW_EFULL;
}

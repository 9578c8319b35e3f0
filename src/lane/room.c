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
 * A look at a thousand heads is long, so what the last one allowed is kept, with the count of joins from before it. Places
 * only grow, but where somebody joins, comes back from eviction or goes back by a seek; and whoever does so stores the
 * place, counts, runs the full fence, and looks at horizon. So the argument above holds with the count in the place of
 * the head: the joiner's fence first, and the writer sees the count, and looks at all heads anew; the writer's first, and
 * the joiner sees the horizon. A reader's own place that moves back in a seek is one that another slot joined before.
 *
 * A reader with LAG that is in the way is evicted before horizon moves (evict.c); records may begin at `lag_limit` or
 * before, and end where the ring allows.
 *
 * Why nothing is stored while it is full: horizon never goes back, so moving it before knowing that there will be room
 * would take records away from joiners for nothing; hence the first look. The second may find a new head below need:
 * then limit is what it allows, and the caller is told "full" after all.
 *
 * A death anywhere here leaves horizon old or new. New means only that joiners begin a little later.
 */
#include "lane/lane.h"

/* What the places of the readers allow. */
struct sight {
    uint64_t reach;     /* records must end 8 bytes before here ... */
    uint64_t lag_limit; /* ... and begin at or before here */
    uint32_t slowest;   /* whose reach that is */
    uint32_t laggard;   /* whose lag */
};

/* Each head is loaded once. A slot that nobody owns does not count, whatever is in it, nor does one that was evicted. */
static void look_at(const struct lw__lane *lane, uint32_t i, struct sight *sight) {
    const struct lw__slot *slot = &lane->slots[i];
#ifdef LW_PLANT_PLACE_LOADED_RELAXED
    uint64_t head = lw__load(&slot->cursor.pos);
#else
    uint64_t head = lw__load_acquire(&slot->cursor.pos); /* pairs with lw__cursor_store of its reader */
#endif
    if (head >= LW__POSITION_END) return; /* nowhere */
    uint64_t cap = lw__load(&slot->cap), reach = (head & ~UINT64_C(7)) + lane->ring;
    bool lags = cap && cap < lane->ring && (head & ~UINT64_C(7)) + cap < sight->lag_limit;
    if (reach >= sight->reach && !lags) return;
    uint64_t owner = lw__load_acquire(&slot->owner);
#ifndef LW_PLANT_FREE_SLOT_HOLDS
    if (owner == 0 || owner & LW__SLOT_EVICTED) return;
#endif
    if (lags && owner & LW__SLOT_LAG) {
        sight->lag_limit = (head & ~UINT64_C(7)) + cap;
        sight->laggard = i;
    }
    if (reach < sight->reach) {
        sight->reach = reach;
        sight->slowest = i;
    }
}

/* At all readers. Once there, and if the answer is to count, once back. */
static struct sight look(const struct lw__writer *w, bool and_back) {
    const struct lw__lane *lane = w->lane;
    struct sight sight = {.reach = UINT64_MAX, .lag_limit = UINT64_MAX, .slowest = w->slowest};
    uint64_t used = lw__load(&lane->ctl->slots_used);
    uint32_t count = used < lane->slots_max ? (uint32_t)used : lane->slots_max;
    /* Most lie in other cores' caches: they come all at once, not one after the other. */
    for (uint32_t i = 0; i < count; i++) __builtin_prefetch(&lane->slots[i].cursor);
    for (uint32_t i = 0; i < count; i++) look_at(lane, i, &sight);
#ifndef LW_PLANT_LOOK_ONE_WAY
    for (uint32_t i = count; and_back && i--;) look_at(lane, i, &sight);
#endif
    return sight;
}

static bool fits(const struct sight *sight, uint64_t begin, uint64_t over) {
    return over <= sight->reach && begin <= sight->lag_limit;
}

/* The one that held back last time mostly still does: then one load is the whole look. Pairs with lw__cursor_store()
 * of the reader and with lw__slot_evict(). */
static bool still_full(const struct lw__writer *w, uint64_t over) {
    const struct lw__slot *slot = &w->lane->slots[w->slowest];
    uint64_t head = lw__load_acquire(&slot->cursor.pos);
    if (head >= LW__POSITION_END || (head & ~UINT64_C(7)) + w->lane->ring >= over) return false;
    uint64_t owner = lw__load_acquire(&slot->owner);
    return owner && !(owner & (LW__SLOT_EVICTED | LW__SLOT_LAG));
}

/* Is it this one's reach, or its lag? Its owner word was loaded before: so this is the place of the reader that the word
 * names, or of none, never that of the one who had the slot before. Pairs with lw__cursor_store() and set_nowhere(). */
static bool is_in_way(const struct lw__writer *w, const struct lw__slot *slot, uint64_t over) {
#ifdef LW_PLANT_EVICT_BY_OLD_LOOK
    return true;
#endif
    uint64_t head = lw__load_acquire(&slot->cursor.pos), cap = lw__load(&slot->cap);
    if (head >= LW__POSITION_END) return false;
    head &= ~UINT64_C(7);
    return over > head + w->lane->ring || (cap && cap < w->lane->ring && w->tx.pos > head + cap);
}

/* Is there room, as far as a look without consequences can tell? Evicts whoever is in the way and may be. Pairs with
 * take_free(): with its word comes that the place before it is gone. */
static bool try_room(struct lw__writer *w, uint64_t over) {
    if (still_full(w, over)) return false;
    for (uint32_t tries = 0; tries <= w->lane->slots_max; tries++) {
        struct sight sight = look(w, false);
        if (fits(&sight, w->tx.pos, over)) return true;
        bool by_reach = over > sight.reach;
        if (by_reach) w->slowest = sight.slowest;
#ifdef LW_PLANT_LAGGARD_HIDDEN
        by_reach = true;
#endif
        struct lw__slot *slot = &w->lane->slots[by_reach ? sight.slowest : sight.laggard];
        uint64_t owner = lw__load_acquire(&slot->owner);
        if (owner & LW__SLOT_LAG && is_in_way(w, slot, over)) w->evicted += lw__slot_evict(slot, owner);
        if (!(owner & LW__SLOT_LAG) && by_reach) return false;
    }
    return false;
}

/* Nobody has joined since the last look, and places only grow: what it allowed is allowed still. Pairs with the
 * count in hold() and in hold_place(). */
static bool is_known(const struct lw__writer *w, uint64_t over) {
#ifdef LW_PLANT_JOINS_NOT_COUNTED
    return over <= w->reach && w->tx.pos <= w->lag_limit;
#endif
    return over <= w->reach && w->tx.pos <= w->lag_limit && lw__load_acquire(&w->lane->ctl->joins) == w->joins;
}

static void look_again(struct lw__writer *w) {
    /* Before the look: pairs with the counts of hold() and hold_place(). */
    w->joins = lw__load_acquire(&w->lane->ctl->joins);
    struct sight sight = look(w, true);
    w->reach = sight.reach;
    w->lag_limit = sight.lag_limit;
    if (sight.reach != UINT64_MAX) w->slowest = sight.slowest;
}

/* Moves horizon to where `over` needs it, and sees what the readers allow then. */
static bool gain(struct lw__writer *w, uint64_t over) {
    struct lw__lane *lane = w->lane;
    uint64_t start = lane->start, need = over > start + lane->ring ? over - lane->ring : start;
    uint64_t segment = UINT64_C(1) << lane->segment_shift;
    uint64_t target = (need + segment - 1) & ~(segment - 1), horizon = lw__load(&lane->ctl->horizon);
#ifdef LW_PLANT_HORIZON_NOT_ROUNDED
    target = need;
#endif
#ifdef LW_PLANT_ROOM_WITHOUT_SECOND_LOOK
    look_again(w);
#endif
    if (target > horizon) lw__store(&lane->ctl->horizon, horizon = target);
    lw__fence_full(); /* pairs with the fences of hold() and hold_place() */
#ifndef LW_PLANT_ROOM_WITHOUT_SECOND_LOOK
    if (!is_known(w, over)) look_again(w);
#endif
    w->limit = horizon + lane->ring < w->reach ? horizon + lane->ring : w->reach;
    return over <= w->limit && w->tx.pos <= w->lag_limit;
}

/* One of several writers that wait for room takes it only when there is more than it needs. Else the one that is always
 * awake would take each bit as it comes, and another, that has a processor only while the reader has not, never sees any.
 */
static bool leaves_some(struct lw__writer *w, uint64_t over) {
    if (!w->spare) return true;
    struct sight sight = look(w, false);
    w->slowest = sight.slowest;
    return fits(&sight, w->tx.pos, over + w->spare);
}

/* One that may be evicted is, if it is in the way. Pairs with lw__cursor_store() of the reader, lw__slot_free() and
 * lw__slot_evict(). */
static bool lets_pass(const struct lw__lane *lane, const struct lw__slot *slot, uint64_t over) {
    uint64_t head = lw__load_acquire(&slot->cursor.pos), owner = lw__load_acquire(&slot->owner);
    if (head >= LW__POSITION_END || over <= (head & ~UINT64_C(7)) + lane->ring) return true;
    return !owner || owner & (LW__SLOT_EVICTED | LW__SLOT_LAG);
}

/* May be too hopeful, beside a biased writer, by the step that the stored tail is behind: a send finds out. Pairs with
 * lw__cursor_store() of the writer before. */
bool lw__writer_might_fit(const struct lw__writer *w, uint64_t size) {
    uint64_t tail = lw__load_acquire(&w->lane->ctl->tail.pos) & ~UINT64_C(7), pos = w->tx.pos > tail ? w->tx.pos : tail;
    uint64_t used = lw__load(&w->lane->ctl->slots_used);
    for (uint32_t i = 0; i < used && i < w->lane->slots_max; i++)
        if (!lets_pass(w->lane, &w->lane->slots[i], pos + size + 8)) return false;
    return true;
}

int lw__writer_room(struct lw__writer *w, uint64_t end) {
    uint64_t over = end + 8;
#ifdef LW_PLANT_LIMIT_WITHOUT_8
    over = end;
#endif
    if (over <= w->limit && w->tx.pos <= w->lag_limit) return 0;
    if (!w->slot && lw__load(&w->lane->ctl->lock) != w->word)
        return LW_ECLOSED; /* a node file removed by hand: an heir writes now */
    if (!leaves_some(w, over)) return LW_EFULL;
    for (int tries = 0; tries < 3; tries++) { /* again when one that may be evicted has joined meanwhile */
#ifndef LW_PLANT_HORIZON_BEFORE_LOOK
        if (!is_known(w, over) && !try_room(w, over)) return LW_EFULL;
#endif
        if (gain(w, over)) {
            w->spare = 0;
            return 0;
        }
    }
    return LW_EFULL;
}

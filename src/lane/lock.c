/* SPDX-License-Identifier: MIT */
/*
 * lane/lock.c - who may write: the lock word.
 *
 * An exclusive writer takes the word once and keeps it. Shared writers take it for each message or batch: that is a
 * section. A locked instruction a message costs more than all the rest, so the word can be biased towards a writer that
 * was alone for long: the word stays {it, biased}, and it goes in by marking its own slot.
 *
 *     enter   section |= 1; compiler fence; lock == {me, biased}?            yes: inside, by mark
 *             no: section &= ~1
 *             wait until lock is 0, biased, or a dead owner's; compare-and-swap lock: that -> {me}
 *             bias is another's? membarrier; wait until its section is clear or it is dead
 *             find the end of the log; decide the bias                              inside, by lock
 *     exit    by mark: section = count, bit 0 clear
 *             by lock: lock = bias is me ? {me, biased} : 0
 *
 * Why there is one inside at most. A word that is 0, biased, or of a dead owner is taken by compare-and-swap of exactly
 * what was seen, so of those who go the way of the lock one has it. A dead owner does nothing any more. The biased
 * writer goes in without taking: it stores its mark, then loads the word. Who takes the word from it stores the word,
 * then runs a membarrier, then loads the mark. The membarrier is a full fence in the midst of whatever the biased
 * process was running. Was its store of the mark before that fence: the taker sees the mark, and waits. Was it after:
 * then its load of the word is after the fence too, and sees that the word is no longer its own; it clears the mark and
 * goes the way of the lock. A mark that is seen set may be such a failed try; it goes away by itself.
 *
 * Take first, then look: the other order would let the biased writer go in between. And one mark each: with one for the
 * lane, a failed try would clear the mark of another. The word names the slot, not just the process: two threads of a
 * process are two writers.
 *
 * `bias` outlives the word on purpose. A taker that gives up waiting for a biased writer which is stopped inside stores
 * lock = 0 and leaves `bias`, so the next taker waits for the same mark. Only who is inside stores `bias`, so nobody
 * waits for a writer that another has already waited for. A writer that ends clears its bias from inside; should it not
 * get in, its mark is clear and stays so.
 *
 * Orders. Whoever comes in after another by the lock acquires the word, or the mark, that the other released: all of
 * the other's stores are seen. The release fence makes what earlier writers stored (horizon, above all) visible before
 * what this one will store, also to a reader by copy that never looks at the lock.
 *
 * Deaths. Before the compare-and-swap: nothing happened but a mark, which counts only while its owner is not closed.
 * After it: the word is a dead owner's, which the next one takes, and `bias` is as it was, so the same mark is waited
 * for. Inside: the log is whole at every instruction (write.c), and the tail is found by walking. In exit: before the
 * store of the word it is a dead owner's, after it is free. Who is stopped inside is waited for, by everybody, as long
 * as it lives: nothing is taken from the living. Each waits as long as it wants, and is told who that is.
 *
 * Exclusive against shared. An exclusive writer takes the word, runs a full fence, and looks for the slots of living
 * shared writers. A shared writer takes a slot, runs a full fence, and looks for an exclusive writer's word. So of two
 * that come at once at least one sees the other and goes; both may, and then try again under the file's lock, where
 * there is one at a time.
 */
#include "base/membarrier.h"
#include "lane/lane.h"

enum {
    BIASED = 1,
    ALONE = 1024,    /* so often in a row a writer must have come before the word is biased towards it */
    SPINS = 512,     /* some 20 us: whoever runs comes out of its section within that */
    GAP = 64,        /* some microseconds */
    LOOK_CLOSED = 64 /* while spinning, once in so many turns */
};

/* The slot that a lock word names; NULL for an exclusive writer's. */
static struct lw__slot *slot_of(const struct lw__lane *lane, uint64_t word) {
    uint64_t n = word >> 1 & 0x7fff;
#ifdef LW_PLANT_ONE_MARK_FOR_ALL
    n = n ? 1 : 0;
#endif
    return n && n <= lane->slots_max ? &lane->slots[n - 1] : NULL;
}

static bool is_closed(const struct lw__writer *w, uint64_t word) {
    return w->owners.closed(w->owners.context, lw__slot_process(word));
}

static bool is_gone(const struct lw__owners *owners, uint64_t word) {
    return owners->gone(owners->context, lw__slot_process(word));
}

/* ---- a section --------------------------------------------------------------------------------------------------- */

/* Pairs with give_word(), and with itself in others. */
static int take_word(struct lw__writer *w) {
    uint64_t *lock = &w->lane->ctl->lock;
    for (unsigned turn = 0; turn < SPINS; turn++) {
        uint64_t seen = lw__load_acquire(lock);
        bool open = !seen || seen & BIASED || (turn % LOOK_CLOSED == 0 && is_closed(w, seen));
#ifdef LW_PLANT_DEAD_KEEP_THE_WORD
        open = !seen || seen & BIASED;
#endif
#ifdef LW_PLANT_WORD_FROM_THE_LIVING
        open = true;
#endif
#ifdef LW_PLANT_TAKE_WITHOUT_CAS
        if (open) return lw__store_release(lock, w->word), 0;
#endif
        if (open && lw__cas(lock, seen, w->word)) return 0;
        w->holder = seen;
        lw__relax();
    }
    return LW_EWRITER;
}

/* Makes sure that the biased writer is out. We have the word. The membarrier pairs with the compiler's fence in
 * lw__tx_enter(), the mark's acquire with lw__tx_leave() and lw__writer_exit(). That of `bias` pairs with
 * give_word(), whose word brought it. */
static int revoke(struct lw__writer *w) {
    uint64_t biased = lw__load_acquire(&w->lane->ctl->bias);
    if (!biased || biased == w->word) return 0;
    const struct lw__slot *slot = slot_of(w->lane, biased);
#ifndef LW_PLANT_BIAS_WITHOUT_MEMBARRIER
    int rc = lw__membarrier();
    if (rc) return rc;
#endif
    for (unsigned turn = 0; turn < SPINS; turn++) {
#ifdef LW_PLANT_MARK_NOT_WAITED_FOR
        return 0;
#endif
        if (!slot || !(lw__load_acquire(&slot->section) & 1)) return 0;
#ifndef LW_PLANT_MARK_OF_THE_DEAD
        if (turn % LOOK_CLOSED == 0 && is_closed(w, biased)) return 0;
#endif
        lw__relax();
    }
    w->holder = biased;
    return LW_EWRITER;
}

/* From here on, for the next time. */
static void decide_bias(struct lw__writer *w) {
    struct lw__lane_ctl *ctl = w->lane->ctl;
    uint64_t run = lw__load(&ctl->last) == w->word ? lw__load(&ctl->run) + 1 : 1;
#ifdef LW_PLANT_BIAS_FOR_ANY_RUN
    run = lw__load(&ctl->run) + 1;
#endif
    if (run == 1) lw__store(&ctl->last, w->word);
    lw__store(&ctl->run, run);
    w->biased = run >= ALONE && !w->never_biased;
    w->long_alone = run % ALONE == 0;
#ifdef LW_PLANT_BIAS_FOR_ALL
    w->biased = run >= ALONE;
#endif
    lw__store(&ctl->bias, w->biased ? w->word : 0);
}

/* Pairs with take_word(), take_for_good() and lw__tx_enter(). */
static void give_word(struct lw__writer *w, uint64_t word) {
    lw__store_release(&w->lane->ctl->lock, word);
}

/* What was published between `from` and the end as we knew it was ours. */
static void count_ours(struct lw__writer *w) {
    w->done = lw__writer_done(w);
    w->from = (struct lw__place){.pos = w->tx.pos, .number = w->tx.number};
}

/* The fence pairs with those of still_there() and overtaken(). */
static int enter_by_lock(struct lw__writer *w) {
    w->biased = false;
    lw__writer_divert(w);
#ifdef LW_PLANT_WAIT_THEN_TAKE
    int rc = revoke(w);
    if (rc) return rc;
    rc = take_word(w);
    if (rc) return rc;
#else
    int rc = take_word(w);
    if (rc) return rc;
    rc = revoke(w);
#endif
    if (!rc) {
        lw__fence_release();
#ifndef LW_PLANT_COUNTS_OTHERS
        count_ours(w);
#endif
#ifndef LW_PLANT_OLD_END
        rc = lw__writer_find_end(w);
#endif
        w->from = (struct lw__place){.pos = w->tx.pos, .number = w->tx.number};
    }
    if (rc) {
#ifdef LW_PLANT_BIAS_FORGOTTEN
        lw__store(&w->lane->ctl->bias, 0);
#endif
        give_word(w, 0);
        return rc;
    }
    decide_bias(w);
    w->section = LW__BY_LOCK;
    return 0;
}

int lw__writer_enter(struct lw__writer *w) {
    if (!w->slot) return 0;
    if (!w->biased || !lw__tx_enter(&w->tx)) return enter_by_lock(w);
    w->section = LW__BY_MARK;
    return 0;
}

/* Who takes the word again at once, on a core that has its line already, can keep others out for long. A biased word they
 * can take at any time; a free one only while it is free. */
static void let_others(void) {
    for (int i = 0; i < GAP; i++) lw__relax();
}

void lw__writer_exit(struct lw__writer *w) {
    if (!w->slot) return;
    struct lw__place done = lw__writer_done(w);
    w->tx.sent = done.number << 1;
    lw__store_release(w->tx.section, w->tx.sent); /* pairs with revoke() */
#ifdef LW_PLANT_WORD_NOT_GIVEN_BACK
    if (w->section == LW__BY_LOCK) give_word(w, w->word | (w->biased ? BIASED : 0));
    if (w->section == LW__BY_LOCK) return;
#endif
    if (w->section == LW__BY_LOCK) give_word(w, w->biased ? w->word | BIASED : 0);
    if (w->section == LW__BY_LOCK && w->never_biased && w->long_alone) let_others();
    w->section = LW__OUTSIDE;
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

/* Pairs with take_free(), by the fences of lw__writer_take() and lw__writer_join(). */
static bool shared_lives(struct lw__writer *w) {
    uint64_t used = lw__load(&w->lane->ctl->slots_used);
    for (uint32_t i = 0; i < used && i < w->lane->slots_max; i++) {
        uint64_t owner = lw__load_acquire(&w->lane->slots[i].owner);
        if (lw__slot_kind(owner) != LW__SLOT_WRITER || is_gone(&w->owners, owner)) continue;
        w->holder = owner;
        return true;
    }
    return false;
}

/* Pairs with give_word(), lw__writer_leave() and itself in others. */
static int take_for_good(struct lw__writer *w) {
    uint64_t *lock = &w->lane->ctl->lock;
    for (;;) {
        uint64_t holder = lw__load_acquire(lock);
        if (holder && !is_gone(&w->owners, holder)) {
            w->holder = holder;
            return LW_EWRITER;
        }
#ifdef LW_PLANT_LOCK_WITHOUT_CAS
        lw__store_release(lock, w->word);
        return 0;
#endif
        if (lw__cas(lock, holder, w->word)) return 0;
    }
}

static void begin(struct lw__writer *w, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners) {
    *w = (struct lw__writer){.lane = lane, .owners = *owners, .word = lw__slot_process(owner)};
    w->tx = (struct lw__tx){.ring = lane->data, .mask = lane->mask, .parked = lw__mask_of(lane, lane->ctl->parked)};
}

int lw__writer_take(struct lw__writer *w, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners) {
    begin(w, lane, owner, owners);
    if (shared_lives(w)) return LW_EWRITER;
    int rc = take_for_good(w);
    if (rc) return rc;
    lw__fence_full(); /* pairs with the fence of lw__writer_join */
#ifndef LW_PLANT_EXCLUSIVE_WITHOUT_SECOND_LOOK
    if (shared_lives(w)) rc = LW_EWRITER;
#endif
    if (!rc) rc = lw__writer_find_end(w);
    if (rc) {
        give_word(w, 0);
        return rc;
    }
    lw__store(&lane->ctl->bias, 0); /* of a dead one */
    lw__writer_park(w, false);
    lw__writer_bell(w, 0);
    w->from = (struct lw__place){.pos = w->tx.pos, .number = w->tx.number};
    return 0;
}

/* Finds out about damage now, and where the log is, for who asks before the first message. */
static int look_at_end(struct lw__writer *w) {
    struct lw__place tail;
    int rc = lw__lane_tail(w->lane, &tail);
    w->holder = w->tx.pos = w->from.pos = tail.pos;
    w->tx.number = w->from.number = tail.number;
    return rc;
}

int lw__writer_join(struct lw__writer *w, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners) {
    begin(w, lane, owner, owners);
    w->slot = lw__slot_take(lane, w->word | LW__SLOT_WRITER, owners);
    if (!w->slot) return LW_ENOSLOT;
#ifndef LW_PLANT_WORD_WITHOUT_SLOT
    w->word |= (uint64_t)(w->slot - lane->slots + 1) << 1;
#else
    w->word |= 1 << 1;
#endif
    w->tx.section = &w->slot->section;
#ifdef LW_PLANT_ONE_MARK_FOR_ALL
    w->tx.section = &lane->slots[0].section;
#endif
    w->tx.lock = &lane->ctl->lock;
    w->tx.biased = w->word | BIASED;
    lw__fence_full(); /* pairs with the fence of lw__writer_take */
    uint64_t holder = lw__load_acquire(&lane->ctl->lock);
    bool exclusive = holder && !(holder & 0xffff) && !is_gone(owners, holder);
#ifdef LW_PLANT_SHARED_WITHOUT_LOOK
    exclusive = false;
#endif
    int rc = exclusive ? LW_EWRITER : look_at_end(w);
    if (exclusive) w->holder = holder;
    if (rc) lw__slot_free(w->slot, lw__slot_process(owner) | LW__SLOT_WRITER, owner);
    return rc;
}

/* From inside, so that nobody waits for us later. When there is no getting in, our mark is clear and stays so. Pairs
 * with take_word() of others. */
static void give_up_bias(struct lw__writer *w) {
#ifdef LW_PLANT_LEAVE_WITH_THE_BIAS
    return;
#endif
    if (lw__load(&w->lane->ctl->bias) != w->word || lw__writer_enter(w)) return;
    if (w->section == LW__BY_MARK) {
        if (lw__cas(&w->lane->ctl->lock, w->word | BIASED, w->word))
            w->section = LW__BY_LOCK; /* else somebody has the word and waits for our mark: the bias is theirs to end */
    }
    if (w->section == LW__BY_LOCK) lw__store(&w->lane->ctl->bias, 0);
    w->biased = false;
    lw__writer_exit(w);
}

void lw__writer_leave(struct lw__writer *w) {
    lw__writer_abort(w);
    lw__writer_divert(w);
    if (w->slot) {
        give_up_bias(w);
        lw__slot_unpark(w->lane, w->slot);
        lw__slot_free(w->slot, lw__slot_process(w->word) | LW__SLOT_WRITER, w->word);
    } else {
        if (lw__load(&w->lane->ctl->lock) == w->word) lw__writer_park(w, false);
        lw__cas(&w->lane->ctl->lock, w->word, 0); /* pairs with take_for_good(); only if it is ours */
    }
}

struct lw__place lw__writer_done(const struct lw__writer *w) {
    return (struct lw__place){.pos = w->done.pos + (w->tx.pos - w->from.pos),
                              .number = w->done.number + (w->tx.number - w->from.number)};
}

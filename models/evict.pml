/* SPDX-License-Identifier: MIT */
/*
 * models/evict.pml - taking from a reader the right to hold writers back, and coming back.
 *
 * Follows     src/lane/evict.c   lw__slot_evict, lw__slot_evict_old, lw__reader_come_back (hold_place, next_place,
 *                                note_missed), lw__slot_missed
 *             src/lane/room.c    lw__writer_room: look_at, look, try_room, is_known, look_again, gain
 *             src/lane/slot.c    lw__slot_inherit, lw__reader_leave, lw__slot_free, take_free
 *             src/lane/join.c    lw__reader_resume, hold
 *             src/lane/copy.c    still_there; src/lane/read.c: reading in place
 *
 * Who is there. One writer, and one slot. One of three stories:
 *     DURABLE       a durable name whose readers read in place. Its first owner is dead and far behind; somebody who
 *                   waits evicts by age. Two heirs come one after the other; the first one may die anywhere (DEATHS)
 *     DURABLE_LAG   the same, but they read by copy, and the writer evicts them for their lag, alive or dead
 *     NEXT_OWNER    a reader by copy that leaves; a reader in place, of the same process, takes the slot
 *
 * Abstracted. A record takes one cell, so its number is its position; the zero header after it is a cell too. The ring
 * has four cells in two segments, every segment has its mark. Stores are seen at once. Age is "any time after the owner
 * was closed". The count of joins is "what the writer remembers, or not", as there is one writer. still_full is left
 * out: it only says no.
 *
 * Claims. (in place) What a reader in place finds is its record, or the end. (by copy) What is handed out is that.
 * (told) Of every message before the one that the last owner asks for next: somebody released it, or it was handed to
 * the last owner, or the last owner was told that it is lost. (for nothing) A writer that finds the lane full, when
 * nobody came meanwhile, has not moved horizon. (new place) What counts again is a place chosen by horizon, never an
 * old one.
 *
 * Planted, and what goes wrong:
 *     EVICT_BY_FLAG               the word is stored, not compared: the slot's next owner is evicted, and reads in
 *                                 place
 *     POLICY_APART                LAG is not in the word: the same, by a compare-and-swap that meets an equal word
 *     NO_FIRST_LOOK               horizon is moved before a look at the places: moved for nothing
 *     BACK_WITHOUT_RETURNING      a returning reader counts and is trusted at once: it dies, its heir reads what was
 *                                 overwritten
 *     BACK_BEFORE_PLACE           the word changes before the place is stored: an old place counts again
 *     BACK_WITHOUT_SECOND_LOOK    no look at horizon after it counts again: it reads what was overwritten
 *     HEIR_TRUSTS_RETURNING       an heir takes a returning place for one that is held
 *     MISSED_NOT_NOTED            what was passed is not written down: the heir is not told
 *     MISSED_AFTER_PLACE          it is written down when the place has moved on: likewise, by a death in between
 *     MISSED_TO_OLD               an end that was noted before is left when the place moves on again
 */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef LAST
#define LAST 8 /* the writer ends here */
#endif
#ifndef READS
#define READS 2 /* so often an heir asks for a message */
#endif
#define RING 4
#define SEGMENT 2
#define CAP 1   /* how far behind one with LAG may be when a record begins */
#define FIRST 2 /* records that are there in the beginning */
#define NOWHERE 100

/* Owner words: {process, policy}. 0 is free. */
#define EVICTED 1
#define LAG 2
#define RETURNING 4
#define WORD(process) ((process) * 8)
#define PROCESS(word) ((word) / 8)
#define BITS(word) ((word) & 7)
#define SETTLED(word) ((word) & (255 - EVICTED - RETURNING))

#define DEAD 1
#define HEIR 2
#define NEXT_HEIR 3
#define PASSER 4
#define AWAY 7 /* node 0: nobody, a name is kept */

#ifdef DURABLE_LAG
#define DURABLE
#define POLICY LAG
#else
#define POLICY 0
#endif

byte cell[RING];
byte tail = FIRST;
byte horizon;
bool joined = true; /* `joins` is not what the writer remembers */
byte owner;
byte place = NOWHERE;
byte missed;
byte missed_to;
bool closed[8];
bool killed;
bool done[5];

/* Not part of the protocol: what the claims need. One bit a message. */
byte released;
byte handed; /* to the last owner */
byte told;   /* likewise */
bool newcomer;

#define BELOW(position) ((1 << (position)) - 1)
#define BETWEEN(from, to) (BELOW(to) & (255 - BELOW(from)))

#define IS_CLOSED(word) (PROCESS(word) == AWAY || closed[PROCESS(word)])
#ifdef POLICY_APART
bool lags = true; /* beside the word, by the owner */
#define HAS_LAG(word) lags
#define PASSER_WORD WORD(PASSER)
#else
#define HAS_LAG(word) ((word) & LAG)
#define PASSER_WORD (WORD(PASSER) | LAG)
#endif
#define ALL_DONE (done[HEIR] && done[NEXT_HEIR] && done[PASSER])

inline compare_and_swap(want, fresh) {
    d_step {
        ok = (owner == (want));
        if
        :: ok ->
            owner = (fresh)
        :: else
        fi
    }
}

inline count_join() {
    d_step {
        joined = true;
        newcomer = true
    }
}

/* ---- eviction ---------------------------------------------------------------------------------------------------- */

/* lw__slot_evict of what was seen */
inline evict() {
#ifdef EVICT_BY_FLAG
    owner = seen | EVICTED
#else
    if
    :: !(seen & EVICTED) ->
        compare_and_swap(seen, seen | EVICTED)
    :: else
    fi
#endif
}

/* lw__slot_evict_old, by whoever waits: it begins to count, and later it is enough */
proctype Keeper() {
    byte seen;
    byte times;
    bool ok;

    do
    :: times < 2 ->
        times++;
        seen = owner;
        if
        :: IS_CLOSED(seen) && !(seen & EVICTED) ->
            if
            :: PROCESS(seen) != AWAY ->
                compare_and_swap(seen, WORD(AWAY) | BITS(seen))
            :: PROCESS(seen) == AWAY ->
                evict()
            fi
        :: else
        fi
    :: true ->
        break
    od;
    seen = 0;
    times = 0;
    ok = false
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

/* look_at: the place is loaded before the word. With one slot, there and back is the same once more. */
inline look() {
    sight_reach = NOWHERE;
    sight_lag = NOWHERE;
    head = place;
    if
    :: head != NOWHERE ->
        seen = owner;
        if
        :: seen != 0 && !(seen & EVICTED) ->
            sight_reach = head + RING;
            if
            :: HAS_LAG(seen) ->
                sight_lag = head + CAP
            :: else
            fi
        :: else
        fi
    :: else
    fi;
    head = 0;
    seen = 0
}

#define OVER (tail + 2)
#define IN_SIGHT (OVER <= sight_reach && tail <= sight_lag)
#define IS_KNOWN (OVER <= reach && tail <= lag_limit && !joined)
#define TARGET (OVER <= RING -> 0 : ((OVER - RING + SEGMENT - 1) / SEGMENT) * SEGMENT)

proctype Writer() {
    byte limit = RING;
    byte lag_limit;
    byte reach;
    byte sight_reach;
    byte sight_lag;
    byte head;
    byte seen;
    byte horizon_before;
    bool ok;

    do
    :: tail == LAST || ALL_DONE ->
        break
    :: tail < LAST && OVER <= limit && tail <= lag_limit ->
        cell[(tail + 1) % RING] = 0;
        d_step {
            cell[tail % RING] = tail + 1;
            tail++
        }
    :: tail < LAST && !(OVER <= limit && tail <= lag_limit) ->
        /* lw__writer_room */
        d_step {
            newcomer = false;
            horizon_before = horizon
        };
#ifndef NO_FIRST_LOOK
        if
        :: IS_KNOWN
        :: else ->
            /* try_room */
            look();
            if
            :: !IN_SIGHT ->
                seen = owner;
                if
                :: HAS_LAG(seen) && seen != 0 ->
                    evict()
                :: else
                fi;
                goto refused
            :: else
            fi
        fi;
#endif
        /* gain */
        if
        :: TARGET > horizon ->
            horizon = TARGET
        :: else
        fi;
        if
        :: IS_KNOWN
        :: else ->
            /* look_again */
            joined = false;
            look();
            reach = sight_reach;
            lag_limit = sight_lag
        fi;
        limit = (horizon + RING < reach -> horizon + RING : reach);
        assert((OVER <= limit && tail <= lag_limit) || horizon == horizon_before || newcomer);
    refused:
        seen = 0;
        sight_reach = 0;
        sight_lag = 0;
        horizon_before = 0;
        ok = false
    od
}

/* ---- coming back ------------------------------------------------------------------------------------------------- */

#define IS_PENDING (missed != 0 && (missed_to == 0 || place <= missed_to))

inline note_missed() {
#ifndef MISSED_NOT_NOTED
    pending = IS_PENDING;
    if
    :: !pending ->
        missed = 0
    :: else
    fi;
#ifndef MISSED_TO_OLD
    missed_to = 0;
#endif
    if
    :: !pending ->
        missed = place + 1
    :: else
    fi;
    pending = false;
#endif
    skip
}

inline next_place() {
    seen = horizon;
    p = place;
    if
    :: seen <= p
    :: else ->
#ifndef MISSED_AFTER_PLACE
        note_missed();
#endif
        if
        :: seen > rx ->
            /* with_room: here, or later */
            if
            :: p = seen
            :: seen + SEGMENT <= tail ->
                p = seen + SEGMENT
            fi
        :: else ->
            p = rx
        fi
#ifdef MISSED_AFTER_PLACE
        ;
        seen = place;
        place = p;
        missed = seen + 1;
        missed_to = 0
#endif
    fi;
    seen = 0
}

/* Counts again from here on. */
inline becomes(fresh) {
    atomic {
        compare_and_swap(word, fresh);
        assert(!ok || place == p);
        newcomer = true
    }
}

/* hold_place, and what follows */
inline come_back() {
    do
    :: word = owner;
        assert(SETTLED(word) == me);
        next_place();
#ifdef BACK_BEFORE_PLACE
        becomes(me | RETURNING);
        word = me | RETURNING;
#endif
        place = p;
#ifdef BACK_WITHOUT_RETURNING
        becomes(me);
        word = me;
#else
        becomes(me | RETURNING);
        if
        :: !ok ->
            goto again
        :: else
        fi;
        word = me | RETURNING;
#endif
        count_join();
#ifndef BACK_WITHOUT_SECOND_LOOK
        if
        :: horizon > p ->
            goto again
        :: else
        fi;
#endif
        compare_and_swap(word, me);
        if
        :: ok ->
            break
        :: else
        fi;
    again:
        skip
    od;
    ok = false;
    word = 0;
    if
    :: missed != 0 && missed_to == 0 ->
        missed_to = p
    :: else
    fi;
    d_step {
        if
        :: p > rx ->
            told = told | BETWEEN(rx, p);
            rx = p
        :: else
        fi
    };
    p = 0
}

/* ---- a durable name ---------------------------------------------------------------------------------------------- */

inline inherit() {
    do
    :: seen = owner;
        IS_CLOSED(seen);
#ifdef HEIR_TRUSTS_RETURNING
        compare_and_swap(seen, me | (seen & EVICTED));
#else
        if
        :: SETTLED(seen) == seen ->
            compare_and_swap(seen, me)
        :: else ->
            compare_and_swap(seen, me | EVICTED)
        fi;
#endif
        if
        :: ok ->
            break
        :: else
        fi
    od;
    atomic {
        seen = 0;
        ok = false;
        handed = 0;
        told = 0
    }
}

/* What the ones before us were not told, as far as anybody knows. Place and both words are ours. */
inline note_loss() {
    d_step {
        if
        :: IS_PENDING && missed_to == 0 ->
            told = told | BETWEEN(missed - 1, place)
        :: IS_PENDING && missed_to != 0 ->
            told = told | BETWEEN(missed - 1, missed_to)
        :: else
        fi
    }
}

inline check_told() {
    assert((released | handed | told | (255 - BELOW(rx))) == 255)
}

proctype Heir(byte process) {
    byte me;
    byte rx;
    byte p;
    byte seen;
    byte word;
    byte reads;
    bool right;
    bool empty_there;
    bool pending;
    bool ok;
    bool returned;

    {
        /* One after the other: the first one holds the name, until it leaves or dies. */
        process == HEIR || done[HEIR];
        me = WORD(process) | POLICY;
        inherit();
        /* lw__reader_resume */
        rx = place;
        word = owner;
        if
        :: SETTLED(word) != word ->
            goto evicted
        :: else
        fi;
    resumed:
        word = 0;
        note_loss();
        do
        :: reads < READS ->
            reads++;
            returned = true;
            check_told();
            /* The header is loaded: is it right, and is there something? */
            d_step {
                right = (cell[rx % RING] == rx + 1 || (cell[rx % RING] == 0 && rx == tail));
                empty_there = (cell[rx % RING] == 0)
            };
            if
            :: !(POLICY & LAG) ->
                assert(right)
            :: else ->
                /* still_there */
                word = owner;
                if
                :: word == me ->
                    assert(right)
                :: else ->
                    goto evicted
                fi
            fi;
            if
            :: !empty_there ->
                d_step {
                    handed = handed | (1 << rx);
                    rx++
                };
                if
                :: d_step {
                        released = released | handed | told; /* the owner knew of all before */
                        place = rx
                    }
                :: true /* later, or by the next owner */
                fi
            :: else
            fi;
            goto next;
        evicted:
            right = false;
            empty_there = false;
            come_back();
            if
            :: !returned ->
                returned = true;
                goto resumed
            :: else
            fi;
            check_told();
        next:
            word = 0;
            right = false;
            empty_there = false
        :: else ->
            break
        od;
        /* lw__reader_leave */
        do
        :: word = owner;
            assert(SETTLED(word) == me);
            compare_and_swap(word, WORD(AWAY) | BITS(word));
            if
            :: ok ->
                break
            :: else
            fi
        od
    } unless {
        killed && process == HEIR
    };
    atomic {
        me = 0;
        rx = 0;
        p = 0;
        seen = 0;
        word = 0;
        reads = 0;
        right = false;
        empty_there = false;
        pending = false;
        ok = false;
        returned = false;
        closed[process] = true;
        done[process] = true
    }
}

proctype Killer() {
#if DEATHS > 0
    if
    :: atomic {
            !done[HEIR] ->
            killed = true
        }
    :: true
    fi
#else
    skip
#endif
}

/* ---- the next owner of a slot ------------------------------------------------------------------------------------ */

/* Has the slot, leaves, takes it again to read in place. */
proctype Passer() {
    byte p;
    byte rx;
    byte reads;
    byte seen;
    bool ok;

    /* lw__reader_leave, lw__slot_free */
    do
    :: seen = owner;
        compare_and_swap(seen, WORD(AWAY));
        if
        :: ok ->
            break
        :: else
        fi
    od;
    place = NOWHERE;
    owner = 0;
    /* take_free */
    compare_and_swap(0, WORD(PASSER));
    if
    :: ok
    :: else ->
        goto not_free
    fi;
#ifdef POLICY_APART
    lags = false;
#endif
    place = NOWHERE;
    /* lw__reader_join */
    do
    :: p = horizon;
        d_step {
            place = p;
            newcomer = true
        };
        count_join();
        if
        :: horizon <= p ->
            break
        :: else
        fi
    od;
    rx = p;
    do
    :: reads < READS ->
        reads++;
        assert(cell[rx % RING] == rx + 1 || rx == tail);
        if
        :: rx < tail ->
            rx++;
            if
            :: place = rx
            :: true
            fi
        :: else
        fi
    :: else ->
        break
    od;
not_free:
    done[PASSER] = true
}

init {
    atomic {
        cell[0] = 1;
        cell[1] = 2;
        place = 0;
        closed[DEAD] = true;
#ifdef DURABLE
        owner = WORD(DEAD) | POLICY;
        done[PASSER] = true;
        run Heir(HEIR);
        run Heir(NEXT_HEIR);
#ifndef DURABLE_LAG
        run Keeper();
#endif
        run Killer();
#else
        owner = PASSER_WORD;
        done[HEIR] = true;
        done[NEXT_HEIR] = true;
        run Passer();
#endif
        run Writer()
    }
}

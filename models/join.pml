/* SPDX-License-Identifier: MIT */
/*
 * models/join.pml - coming to a place in the log, and going back, while writers move on.
 *
 * Follows     src/lane/room.c    lw__writer_room: look_at, look, try_room, is_known, look_again, gain
 *             src/lane/join.c    hold, lw__reader_join, lw__reader_seek
 *             src/lane/slot.c    take_free, raise_slots_used, lw__slot_free, lw__slot_make_durable, lw__slot_inherit
 *
 * Who is there. WRITERS writers that take turns, each with what it remembers of its last look. A subscriber (OWNERS)
 * that joins, becomes durable, reads, goes back, reads on, and may die anywhere (DEATHS). Its heir, who first frees
 * what the dead one left without a name. GUESTS others that join, read and leave, TIMES times.
 *
 * Abstracted. A record takes one cell, so its number is its position; the zero header after the last one is a cell too.
 * The ring has RING cells, a segment two; every segment has its mark as soon as it has a record. What is in the cells
 * is left out: the claim is about what may be written. Memory is in order; a store, a full fence and a load are a store
 * and a load here, and the orders that a missing fence would allow are the planted ones. The count of joins is "what
 * this writer remembers, or not". still_full is left out: it only says no.
 *
 * Claims. (held) Nothing is written a ring beyond a place that somebody relies on: a joined reader, a scout, and for a
 * durable name also its heir, whenever its owner died. (progress) Nobody is stuck.
 *
 * Planted, and what goes wrong (all: a record is overwritten that a reader holds):
 *     NO_SECOND_LOOK         a joiner does not look at horizon after it stored its place
 *     HORIZON_AFTER_LOOK     a writer looks at the places first and then moves horizon
 *     COUNT_BEFORE_PLACE     a joiner counts, then stores its place: a look in between remembers too much
 *     NOT_COUNTED            a joiner does not count: what was remembered is used for ever
 *     COUNT_LOADED_LATE      a writer loads the count after its look: a join during the look is never noticed
 *     LOOK_ONE_WAY           the reader is loaded before it goes back, its scout after it was given up: none is seen
 *     SEEK_WITHOUT_SCOUT     a durable reader moves back and dies before it looked at horizon
 *     SLOT_COUNTED_LATE      slots_used is raised after the place was taken: nobody looks there
 */
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef OWNERS
#define OWNERS 1
#endif
#ifndef GUESTS
#define GUESTS 0
#endif
#ifndef TIMES
#define TIMES 1
#endif
#ifndef LAST
#define LAST 8 /* the writers end here */
#endif
#define RING 4
#define SEGMENT 2
#define FIRST 2 /* records that are there in the beginning */
#define SLOTS 3
#define NOWHERE 100

/* Owner words: {process, kind}; 0 is free. */
#define RELIABLE 1
#define DURABLE 2
#define PASSING 3
#define WORD(process, kind) ((process) * 4 + (kind))
#define PROCESS(word) ((word) / 4)
#define KIND(word) ((word) & 3)

#define OWNER 1
#define HEIR 2
#define GUEST 3

byte tail = FIRST;
byte horizon;
bool joined[WRITERS]; /* joins is not what this writer remembers */
byte slots_used;
byte owner[SLOTS];
byte place[SLOTS] = NOWHERE;
bool killed;
bool closed;
bool done[5];

bool relied[SLOTS]; /* not part of the protocol: somebody relies on the place of this slot */

#define ALL_DONE (done[OWNER] && done[HEIR] && done[GUEST] && done[GUEST + 1])

/* ---- writers ----------------------------------------------------------------------------------------------------- */

/* The place is loaded before the word. */
inline look_at(i) {
    head = place[i];
    if
    :: head != NOWHERE && head + RING < sight ->
        if
        :: owner[i] != 0 ->
            sight = head + RING
        :: else
        fi
    :: else
    fi;
    head = 0
}

/* `count` is slots_used, loaded at the beginning. */
inline look_there() {
    sight = NOWHERE;
    count = slots_used;
    i = 0;
    do
    :: i < count ->
        look_at(i);
        i++
    :: else ->
        break
    od
}

inline look_back() {
    do
    :: i > 0 ->
        i--;
        look_at(i)
    :: else ->
        break
    od;
    count = 0
}

inline look_again() {
#ifndef COUNT_LOADED_LATE
    joined[w] = false;
#endif
    look_there();
#ifndef LOOK_ONE_WAY
    look_back();
#endif
    i = 0;
    count = 0;
    reach[w] = sight;
    sight = 0;
#ifdef COUNT_LOADED_LATE
    joined[w] = false;
#endif
    skip
}

#define OVER (tail + 2)
#define TARGET (OVER <= RING -> 0 : ((OVER - RING + SEGMENT - 1) / SEGMENT) * SEGMENT)
#define IS_KNOWN (OVER <= reach[w] && !joined[w])

/* One record: here, and the zero header after it. */
inline write_record() {
    d_step {
        i = 0;
        do
        :: i < SLOTS ->
            assert(!relied[i] || tail + 1 < place[i] + RING);
            i++
        :: else ->
            break
        od;
        i = 0;
        tail++
    }
}

proctype Writer() {
    byte w; /* whose turn it is */
    byte limit[WRITERS] = RING;
    byte reach[WRITERS];
    byte sight;
    byte count;
    byte head;
    byte i;

    do
    :: tail == LAST || ALL_DONE ->
        break
    :: tail < LAST ->
#if WRITERS > 1
        if
        :: w = 0
        :: w = 1
        fi;
#endif
        if
        :: OVER <= limit[w] ->
            write_record()
        :: else ->
            /* lw__writer_room */
            if
            :: IS_KNOWN
            :: else ->
                /* try_room */
                look_there();
                i = 0;
                count = 0;
                if
                :: OVER > sight ->
                    sight = 0;
                    goto refused
                :: else ->
                    sight = 0
                fi
            fi;
            /* gain */
#ifdef HORIZON_AFTER_LOOK
            if
            :: IS_KNOWN
            :: else ->
                look_again()
            fi;
#endif
            if
            :: TARGET > horizon ->
                horizon = TARGET
            :: else
            fi;
#ifndef HORIZON_AFTER_LOOK
            if
            :: IS_KNOWN
            :: else ->
                look_again()
            fi;
#endif
            limit[w] = (horizon + RING < reach[w] -> horizon + RING : reach[w]);
        refused:
            skip
        fi;
        w = 0
    od
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

/* lw__slot_take: the first free slot. */
inline take_slot(slot, word) {
    slot = 0;
    do
    :: owner[slot] == 0 ->
#ifndef SLOT_COUNTED_LATE
        d_step {
            slots_used = (slots_used > slot + 1 -> slots_used : slot + 1)
        };
#endif
        if
        :: d_step {
                owner[slot] == 0 ->
                owner[slot] = word;
                place[slot] = NOWHERE
            };
            break
        :: else
        fi
    :: owner[slot] != 0 ->
        slot = (slot + 1) % SLOTS
    od
}

/* lw__slot_free, by its owner */
inline free_slot(slot, process) {
    d_step {
        relied[slot] = false;
        owner[slot] = WORD(process, PASSING)
    };
    place[slot] = NOWHERE;
    owner[slot] = 0
}

/* lw__reader_join: at the oldest mark, or now. Relying on it begins with the second look. */
inline join_slot(slot) {
    do
    :: if
        :: p = horizon
        :: p = tail
        fi;
        hold(slot);
        if
        :: relied[slot] ->
            break
        :: else
        fi
    od;
    p = 0
}

inline count_join() {
    d_step {
        joined[0] = true;
        joined[WRITERS - 1] = true
    }
}

inline hold(slot) {
#ifdef COUNT_BEFORE_PLACE
    count_join();
#endif
    place[slot] = p;
#ifndef NOT_COUNTED
#ifndef COUNT_BEFORE_PLACE
    count_join();
#endif
#endif
    d_step {
#ifdef NO_SECOND_LOOK
        relied[slot] = true
#else
        relied[slot] = (horizon <= p)
#endif
    };
#ifdef SLOT_COUNTED_LATE
    d_step {
        slots_used = (slots_used > slot + 1 -> slots_used : slot + 1)
    };
#endif
    skip
}

/* What was read is released, up to any place. */
inline read_on(slot) {
    if
    :: place[slot] < tail ->
        place[slot] = place[slot] + 1
    :: place[slot] + 1 < tail ->
        place[slot] = tail
    :: true
    fi
}

/* lw__reader_seek to the oldest mark, which is before our place */
inline seek_back() {
    if
    :: horizon < place[mine] ->
#ifdef SEEK_WITHOUT_SCOUT
        relied[mine] = false;
        join_slot(mine)
#else
        take_slot(scout, WORD(OWNER, PASSING));
        join_slot(scout);
        place[mine] = place[scout];
        free_slot(scout, OWNER);
        scout = 0
#endif
    :: else
    fi
}

/* One that is durable is relied on by its heir. */
inline die() {
    d_step {
        i = 0;
        do
        :: i < SLOTS ->
            if
            :: PROCESS(owner[i]) == OWNER ->
                relied[i] = (KIND(owner[i]) == DURABLE)
            :: else
            fi;
            i++
        :: else ->
            break
        od;
        i = 0;
        closed = true
    }
}

proctype Owner() {
    byte mine;
    byte scout;
    byte p;
    byte i;

    {
        take_slot(mine, WORD(OWNER, RELIABLE));
        join_slot(mine);
        owner[mine] = WORD(OWNER, DURABLE);
        read_on(mine);
        seek_back();
        read_on(mine)
    } unless {
        killed
    };
    d_step {
        mine = 0;
        scout = 0;
        p = 0
    };
    die();
    done[OWNER] = true
}

/* Sweeps, inherits if there is a name, reads on, and is gone. */
proctype Heir() {
    byte i;
    byte seen;

    closed;
    do
    :: i < SLOTS ->
        seen = owner[i];
        if
        :: PROCESS(seen) == OWNER && KIND(seen) != DURABLE ->
            owner[i] = WORD(HEIR, PASSING);
            place[i] = NOWHERE;
            owner[i] = 0
        :: PROCESS(seen) == OWNER && KIND(seen) == DURABLE ->
            owner[i] = WORD(HEIR, DURABLE);
            read_on(i);
            read_on(i);
            free_slot(i, HEIR)
        :: else
        fi;
        seen = 0;
        i++
    :: else ->
        break
    od;
    i = 0;
    done[HEIR] = true
}

proctype Guest(byte me) {
    byte mine;
    byte times;
    byte p;

    do
    :: times < TIMES ->
        take_slot(mine, WORD(me, RELIABLE));
        join_slot(mine);
        read_on(mine);
        free_slot(mine, me);
        times++
    :: else ->
        break
    od;
    times = 0;
    mine = 0;
    done[me] = true
}

proctype Killer() {
#if DEATHS > 0
    if
    :: killed = true
    :: true
    fi
#else
    skip
#endif
}

init {
    atomic {
        run Writer();
#if OWNERS > 0
        run Owner();
        run Heir();
        run Killer();
#else
        done[OWNER] = true;
        done[HEIR] = true;
#endif
#if GUESTS > 0
        run Guest(GUEST);
#else
        done[GUEST] = true;
#endif
#if GUESTS > 1
        run Guest(GUEST + 1)
#else
        done[GUEST + 1] = true
#endif
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * models/writer_lock.pml - who may write: the lock word, the bias, the marks.
 *
 * Follows     src/lane/lock.c        lw__writer_enter (take_word, revoke, decide_bias), lw__writer_exit,
 *                                    lw__writer_take, lw__writer_join, lw__writer_leave (give_up_bias)
 *             include/laneway/fast.h lw__tx_enter, lw__tx_publish, lw__tx_leave
 *             src/lane/write.c       lw__writer_find_end
 *
 * Who is there. WRITERS shared writers, each sends MESSAGES and leaves. With EXCLUSIVE also so many exclusive openers,
 * and then the shared writers open as well; without, they are there from the beginning. KILLS of all of them die, anywhere.
 * A stopped one is one that the others do not wait for: each gives up waiting for a mark PATIENCE times.
 *
 * Memory. Every store goes to a buffer of its process first and comes from there to memory in order, at any later
 * moment; a process sees its own stores at once (total store order, what x86 does). A compare-and-swap and a full fence
 * empty the buffer of who does it, a membarrier those of all, one after the other. What a process stored comes to
 * memory even if it dies.
 *
 * Abstracted. A record takes one cell and the ring has no end, so there are no horizon and no readers here. `last` and
 * `run` are gone: any writer inside by lock may be biased from then on, or not. Waiting for the word has no limit
 * but for who leaves, since giving up there changes nothing else. Slots are not used again.
 *
 * Claims. (exclusion) One is inside at most. (records) A record never comes to a cell that has one; in the end the
 * records are one run from the beginning, as many as were stored, those whose sender lived are all there, and the
 * stored tail is not beyond them. (waiting) Everybody comes to an end: nobody waits for ever,
 * also not for a dead one; that is a deadlock otherwise. (exclusive) Who has the lane for itself has it alone.
 *
 * Planted, and what goes wrong:
 *     NO_MEMBARRIER          the mark is still in the buffer when the taker looks: two inside
 *     LOOK_BEFORE_TAKING     the mark is looked at before the compare-and-swap: the biased one goes in between
 *     ONE_MARK               all have the same mark, and a failed try clears that of another: two inside
 *     WORD_WITHOUT_SLOT      the word names the process: its two threads are both biased, two inside
 *     BIAS_FORGOTTEN         who gives up waiting for a mark clears `bias`: the next one does not wait, two inside
 *     MARK_BEFORE_COMMIT     the mark is cleared before the record is stored: overwritten
 *     WITHOUT_WALK           a dead writer's record, committed beyond the stored tail, is overwritten
 *     TAKE_WITHOUT_CAS       a word that was seen free is stored over: two inside, one record over another
 *     DEAD_NOT_ASKED         a set mark is waited for without asking whether its owner is dead: for ever
 *     LEAVE_STORES_WORD      a leaving biased writer stores the word, not asking whether it still has it: two inside
 *     NO_SECOND_LOOK         an exclusive opener does not look at the slots after it has the word: both have the lane
 */
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef LAST_MESSAGES
#define LAST_MESSAGES MESSAGES /* of the last of the writers */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef PATIENCE
#define PATIENCE 1
#endif
#ifdef EXCLUSIVE
#define PROCESSES (WRITERS + EXCLUSIVE)
#else
#define PROCESSES WRITERS
#endif
#ifndef DEPTH
#define DEPTH 5 /* of a buffer */
#endif

/* Where things are. Slot and mark have the number of their writer. */
#define LOCK 0
#define BIAS 1
#define TAIL 2
#define MARK(slot) (3 + (slot))
#define RECORD(at) (3 + WRITERS + (at))
#define RECORDS (PROCESSES * MESSAGES + 1)
#define CELLS (3 + WRITERS + RECORDS)

#define BIASED 16
#define BARE(word) ((word) & 15)
#ifdef WORD_WITHOUT_SLOT
#define WORD(p) (1 + (p) * ((p) > 1))
#else
#define WORD(p) ((p) + 1)
#endif
#define WORD_IF(flag, word) ((flag) * (word))
#define PROCESS(word) (BARE(word) - 1)
#define IS_EXCLUSIVE(word) (PROCESS(word) >= WRITERS)
#ifdef ONE_MARK
#define MY_MARK(p) MARK(0)
#else
#define MY_MARK(p) MARK(p)
#endif

typedef Buffer {
    byte at[DEPTH];
    byte value[DEPTH];
    byte used
}

byte cell[CELLS];
Buffer buffer[PROCESSES];
bool slot_taken[PROCESSES];
bool killed[PROCESSES];
bool closed[PROCESSES];
bool done[PROCESSES];

/* Not part of the protocol: what the claims need. */
bool inside[PROCESSES];
bool opened[PROCESSES];
byte committed;
byte sent_by_living;
byte kills;

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* The oldest store of a buffer comes to memory. */
inline come_to_memory(p) {
    if
    :: buffer[p].at[0] >= RECORD(0) ->
        assert(cell[buffer[p].at[0]] == 0);
        committed++
    :: else
    fi;
    cell[buffer[p].at[0]] = buffer[p].value[0];
    m = 1;
    do
    :: m < buffer[p].used ->
        buffer[p].at[m - 1] = buffer[p].at[m];
        buffer[p].value[m - 1] = buffer[p].value[m];
        m++
    :: else ->
        break
    od;
    buffer[p].used--;
    buffer[p].at[buffer[p].used] = 0;
    buffer[p].value[buffer[p].used] = 0;
    m = 0
}

inline flush(p) {
    do
    :: buffer[p].used > 0 ->
        come_to_memory(p)
    :: else ->
        break
    od
}

inline store(address, new) {
    d_step {
        buffer[self].used < DEPTH ->
        buffer[self].at[buffer[self].used] = address;
        buffer[self].value[buffer[self].used] = new;
        buffer[self].used++
    }
}

/* The last one in our own buffer, else what is in memory. Within a step. */
inline load_within(address, to) {
    to = cell[address];
    m = 0;
    do
    :: m < buffer[self].used ->
        if
        :: buffer[self].at[m] == address ->
            to = buffer[self].value[m]
        :: else
        fi;
        m++
    :: else ->
        break
    od;
    m = 0
}

inline load(address, to) {
    d_step {
        load_within(address, to)
    }
}

inline fence_full() {
    d_step {
        flush(self)
    }
}

inline compare_and_swap(address, want, new) {
    d_step {
        flush(self);
        ok = (cell[address] == want);
        if
        :: ok ->
            cell[address] = new
        :: else
        fi
    }
}

inline membarrier() {
#ifdef NO_MEMBARRIER
    skip
#else
    other = 0;
    do
    :: d_step {
            other < PROCESSES ->
            flush(other);
            other++
        }
    :: other == PROCESSES ->
        break
    od;
    other = 0
#endif
}

/* Stores come from the buffers. */
proctype Memory() {
    byte m;
end:
    do
    :: d_step {
            buffer[0].used > 0 ->
            come_to_memory(0)
        }
    :: d_step {
            buffer[1].used > 0 ->
            come_to_memory(1)
        }
#if PROCESSES > 2
    :: d_step {
            buffer[2].used > 0 ->
            come_to_memory(2)
        }
#endif
#if PROCESSES > 3
    :: d_step {
            buffer[3].used > 0 ->
            come_to_memory(3)
        }
#endif
    od
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

inline say_inside() {
    d_step {
        m = 0;
        do
        :: m < PROCESSES ->
            assert(!inside[m]);
            m++
        :: else ->
            break
        od;
        m = 0;
        inside[self] = true
    }
}

inline say_outside() {
    inside[self] = false
}

/* Of two who have the lane open, one is shared, and so is the other. Within a step. */
inline say_opened() {
    m = 0;
    do
    :: m < PROCESSES ->
        assert(!opened[m] || (m < WRITERS && self < WRITERS));
        m++
    :: else ->
        break
    od;
    m = 0;
    opened[self] = true
}

/* ---- a section --------------------------------------------------------------------------------------------------- */

#define IS_CLOSED(word) closed[PROCESS(word)]
#define IS_OPEN(word) ((word) == 0 || ((word) & BIASED) || IS_CLOSED(word))

/* lw__tx_enter */
inline enter_by_mark() {
    store(MY_MARK(self), 1);
    load(LOCK, seen);
    if
    :: seen == (WORD(self) | BIASED) ->
        goto in_section
    :: else
    fi;
    store(MY_MARK(self), 0)
}

inline wait_for_mark(word) {
#ifdef DEAD_NOT_ASKED
    if
    :: cell[MY_MARK(PROCESS(word))] == 0
#else
    if
    :: cell[MY_MARK(PROCESS(word))] == 0 || IS_CLOSED(word)
#endif
    :: cell[MY_MARK(PROCESS(word))] != 0 && patience > 0 ->
        goto gave_up
    fi
}

/* take_word */
inline take_word() {
    do
    :: load(LOCK, seen);
        if
        :: IS_OPEN(seen) ->
#ifdef LOOK_BEFORE_TAKING
            load(BIAS, bias);
            if
            :: bias != 0 && bias != WORD(self) ->
                membarrier();
                wait_for_mark(bias)
            :: else
            fi;
            bias = 0;
#endif
#ifdef TAKE_WITHOUT_CAS
            store(LOCK, WORD(self));
            ok = true;
#else
            compare_and_swap(LOCK, seen, WORD(self));
#endif
            if
            :: ok ->
                break
            :: else
            fi
        :: else ->
            if
            :: cell[LOCK] != seen || IS_CLOSED(seen)
            :: leaving ->
                goto left
            fi
        fi
    od;
    ok = false;
    seen = 0
}

/* revoke: we have the word; is the biased writer out? */
inline revoke() {
#ifdef LOOK_BEFORE_TAKING
    skip
#else
    load(BIAS, bias);
    if
    :: bias != 0 && bias != WORD(self) ->
        membarrier();
        wait_for_mark(bias)
    :: else
    fi;
    bias = 0
#endif
}

inline find_end() {
    load(TAIL, seen);
    pos = seen;
#ifndef WITHOUT_WALK
    d_step {
        do
        :: load_within(RECORD(pos), bias);
            if
            :: bias != 0 ->
                pos++
            :: else ->
                break
            fi
        od;
        bias = 0
    };
#endif
    if
    :: pos != seen ->
        store(TAIL, pos)
    :: else
    fi;
    seen = 0
}

/* One record, by whoever is inside: lw__tx_publish, and by lock, or at the end of a step, lw__writer_publish, which stores
 * the tail. How far that is behind is nothing here: a walk has no bound. */
inline publish(must) {
#ifdef MARK_BEFORE_COMMIT
    store(MY_MARK(self), 0);
#endif
    store(RECORD(pos), self + 1);
    if
    :: store(TAIL, pos + 1)
    :: !must
    fi;
    pos++
}

/* ---- a shared writer --------------------------------------------------------------------------------------------- */

proctype Writer(byte self; byte messages) {
    byte m;
    byte other;
    byte seen;
    byte bias;
    byte pos;
    byte sent;
    byte patience = PATIENCE;
    bool biased;
    bool by_lock;
    bool leaving;
    bool ok;

    {
#ifdef EXCLUSIVE
        /* lw__writer_join: the slot is taken by compare-and-swap, which empties the buffer */
        slot_taken[self] = true;
        atomic {
            seen = cell[LOCK];
            if
            :: seen != 0 && IS_EXCLUSIVE(seen) && !IS_CLOSED(seen) ->
                seen = 0;
                goto free_slot
            :: else ->
                seen = 0;
                say_opened()
            fi
        };
#endif
        do
        :: sent == messages ->
            /* give_up_bias */
            leaving = true;
            load(BIAS, bias);
            if
            :: bias != WORD(self) ->
                break
            :: else ->
                bias = 0
            fi;
            goto enter
        :: sent < messages ->
            sent++;
        enter:
            by_lock = false;
            if
            :: biased ->
                enter_by_mark()
            :: else
            fi;
            /* enter_by_lock */
            biased = false;
            seen = 0;
            take_word();
            revoke();
            find_end();
            by_lock = true;
            if
            :: !leaving ->
                biased = true
            :: true
            fi;
            store(BIAS, WORD_IF(biased, WORD(self)));
        in_section:
            say_inside();
            seen = 0;
            if
            :: !leaving ->
                publish(by_lock)
            :: leaving && !by_lock ->
#ifdef LEAVE_STORES_WORD
                store(LOCK, WORD(self));
                by_lock = true;
#else
                compare_and_swap(LOCK, WORD(self) | BIASED, WORD(self));
                by_lock = ok;
                ok = false;
#endif
            :: leaving && by_lock
            fi;
            if
            :: leaving && by_lock ->
                store(BIAS, 0)
            :: else
            fi;
            if
            :: leaving ->
                biased = false
            :: else
            fi;
            say_outside();
            /* lw__writer_exit, lw__tx_leave */
            store(MY_MARK(self), 0);
            if
            :: by_lock ->
                store(LOCK, WORD_IF(biased, WORD(self) | BIASED))
            :: else
            fi;
            if
            :: leaving ->
                break
            :: else
            fi;
            goto next;
        gave_up:
            /* by patience: the word is given back, the bias stays */
            patience--;
#ifdef BIAS_FORGOTTEN
            store(BIAS, 0);
#endif
#ifndef LOOK_BEFORE_TAKING
            store(LOCK, 0);
#endif
            bias = 0;
            seen = 0;
            if
            :: leaving ->
                break
            :: else ->
                goto enter
            fi;
        next:
            skip
        od;
    left:
        opened[self] = false;
#ifdef EXCLUSIVE
    free_slot:
        fence_full();
        slot_taken[self] = false
#endif
    } unless {
        killed[self]
    };
    d_step {
        inside[self] = false;
        opened[self] = false;
        flush(self);
        other = 0;
        seen = 0;
        bias = 0;
        pos = 0;
        patience = 0;
        biased = false;
        by_lock = false;
        leaving = false;
        ok = false;
        if
        :: !killed[self] ->
            sent_by_living = sent_by_living + sent
        :: else
        fi;
        sent = 0;
        closed[self] = killed[self];
        done[self] = true
    }
}

/* ---- an exclusive writer ----------------------------------------------------------------------------------------- */

#ifdef EXCLUSIVE
/* shared_lives */
inline look_at_slots() {
    other = 0;
    lives = false;
    do
    :: other < WRITERS ->
        if
        :: slot_taken[other] && !closed[other] ->
            lives = true;
            break
        :: else ->
            other++
        fi
    :: else ->
        break
    od;
    other = 0
}

proctype Exclusive(byte self) {
    byte m;
    byte other;
    byte seen;
    byte bias;
    byte pos;
    byte sent;
    bool lives;
    bool ok;

    {
        look_at_slots();
        if
        :: lives ->
            goto refused
        :: else
        fi;
        /* take_for_good */
        do
        :: load(LOCK, seen);
            if
            :: seen != 0 && !IS_CLOSED(seen) ->
                goto refused
            :: else ->
                compare_and_swap(LOCK, seen, WORD(self));
                if
                :: ok ->
                    break
                :: else
                fi
            fi
        od;
        fence_full();
#ifndef NO_SECOND_LOOK
        look_at_slots();
        if
        :: lives ->
            goto give_back
        :: else
        fi;
#endif
        d_step {
            say_opened()
        };
        find_end();
        store(BIAS, 0);
        say_inside();
        publish(false);
        sent++;
        say_outside();
        opened[self] = false;
        compare_and_swap(LOCK, WORD(self), 0);
        goto refused;
    give_back:
        store(LOCK, 0);
    refused:
        skip
    } unless {
        killed[self]
    };
    d_step {
        inside[self] = false;
        opened[self] = false;
        flush(self);
        other = 0;
        seen = 0;
        bias = 0;
        pos = 0;
        lives = false;
        ok = false;
        if
        :: !killed[self] ->
            sent_by_living = sent_by_living + sent
        :: else
        fi;
        sent = 0;
        closed[self] = killed[self];
        done[self] = true
    }
}
#endif

/* ---- deaths, and the end ----------------------------------------------------------------------------------------- */

inline kill(p) {
    d_step {
        !killed[p] && !done[p] ->
        killed[p] = true;
        kills++
    }
}

proctype Killer() {
    do
    :: kills < KILLS ->
        if
        :: kill(0)
        :: kill(1)
#if PROCESSES > 2
        :: kill(2)
#endif
#if PROCESSES > 3
        :: kill(3)
#endif
        :: break
        fi
    :: else ->
        break
    od
}

init {
    byte at;
    byte records;

    atomic {
        run Memory();
        run Killer();
#ifdef EXCLUSIVE
        run Exclusive(WRITERS);
#if EXCLUSIVE > 1
        run Exclusive(WRITERS + 1);
#endif
#endif
#if WRITERS > 1
        run Writer(0, MESSAGES);
#endif
#if WRITERS > 2
        run Writer(1, MESSAGES);
#endif
        run Writer(WRITERS - 1, LAST_MESSAGES)
    };
    done[0] && done[1];
#if PROCESSES > 2
    done[2];
#endif
#if PROCESSES > 3
    done[3];
#endif
    d_step {
        do
        :: at < RECORDS ->
            if
            :: cell[RECORD(at)] != 0 ->
                assert(at == records);
                records++
            :: else
            fi;
            at++
        :: else ->
            break
        od;
        assert(records == committed && records >= sent_by_living);
        assert(cell[TAIL] <= records)
    }
}

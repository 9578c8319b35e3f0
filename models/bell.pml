/* SPDX-License-Identifier: MIT */
/*
 * models/bell.pml - nobody sleeps over a message: parking, sleeping, ringing, and moving from group to group.
 *
 * Follows     src/lane/park.c         the bits, the bell words, who rings
 *             include/laneway/fast.h  lw__is_any after lw__tx_publish, and after a release
 *             src/bus/bell.c          lw__bell_sleep, lw__bell_wake, lw__bell_collect, set_ready, rung
 *             src/bus/group.c         turn, park_quiet, rest, sleep_now, wake_source, leave, push_coming, take_coming,
 *                                     tick, lw_group_wake
 *
 * Who is there. A group of two handles, each on a lane of its own; WRITERS (1 to 3) that send MESSAGES each, the third
 * one to the second lane (SPREAD: the second one, too), the others to the first; KILLS of them and of the waker die
 * anywhere. Besides that, any of:
 *     MOVE          there is a second group, and the first handle may move there once, between two turns
 *     WAKE          somebody calls lw_group_wake() once
 *     UNFENCED      the group can't issue membarriers: its bits stay set, and a sleep after a bit was set may end by
 *                   itself, once
 *     UNREGISTERED  the first writer is not registered for membarriers: it runs a full fence after each commit
 *     ROOM          instead of all that: two groups of one handle each, the two ends of a lane with room for CAP
 *                   messages. One sends MESSAGES and sleeps when there is no room, the other receives and releases
 *
 * Memory. A commit, a release and a bell word go to a buffer of their process first and come to memory at any later
 * moment. Locked instructions and full fences empty the buffer of who does them, a membarrier those of all that are
 * registered, one after the other. What a process stored comes to memory even if it dies.
 *
 * Abstracted. Of a lane there is only how many messages nobody has seen; a look takes them all, with ROOM one. A
 * handle that is awake is looked at only where it must be: when it was rung for, when it came, and after its bit was
 * set. The FIFO has a byte or none. There is one ready word. A turn has any number that no ringer has in its hands. The
 * sleep that ends by itself does so when the buffers of the writers are empty: it is longer than a store takes to come
 * to memory. Bells are always there, groups do not die.
 *
 * Claims. (seen) When nothing moves any more, everybody has come to the end; each message whose writer did not die in
 * the midst of sending it has been seen, and so has lw_group_wake(). So a death costs what was just being sent at most.
 * With ROOM: all is sent and received. (rings) Each time that the group says that it sleeps it is rung once at most.
 *
 * Planted, and what goes wrong:
 *     NO_MEMBARRIER             a commit is in the buffer at the second look, and its writer saw no bit
 *     NO_SECOND_LOOK            a commit from before the bit was set is not looked for
 *     NO_LOOK_AT_SUMMARY        who rang before the group said that it sleeps wrote no byte
 *     NO_FENCE_IN_SLEEP         the look at summary passes the word: the ringer still sees the group awake
 *     SKIP_IF_READY             the ready bit was set by one that died: the next one does not look at the word
 *     SKIP_IF_SUMMARY           likewise the summary
 *     SUMMARY_IF_NEW            likewise: the next one wakes the group, and the group does not find for whom
 *     RUNG_BEFORE_BYTE          a ringer dies between the two: the next one believes that it rang
 *     WORD_WITHOUT_TURN         a slow ringer says rung of a later sleep, when its byte was read before that
 *     READY_BEFORE_SUMMARY      a ready bit that is set between the two exchanges loses its summary
 *     MOVE_WITHOUT_SECOND_LOOK  the new group does not look after it set the bit: the ring went to the old one
 *     MOVE_KEEPS_BIT            the bit stays set, so the new group runs no membarrier for it
 *     BELL_AFTER_LOOK           the bell word is stored after the second look: a later ring goes nowhere
 *     COMING_BEFORE_COLLECT     the new group looks for who comes, then takes the ring that says so, and sleeps
 *     WOKEN_BEFORE_COLLECT      the same with lw_group_wake()
 *     NO_TICK                   unfenced: a commit that did not see the bit is not looked for
 *     TICK_IN_FIRST_SLEEP       unfenced: only the first sleep is short, and it ends by a ring for the other handle
 *     UNFENCED_CLEARS           unfenced: the bit is cleared, and only the first time that it is set is a sleep short
 *     NO_FENCE_OF_ITS_OWN       an unregistered writer's commit is in the buffer at the second look
 *     COUNT_SLEEPS_BEGUN        (rings) only sleeps that were begun are counted, not those that the look at summary
 *                               forbade: a ringer that saw the word asleep counts a ring more than that
 *
 * Planted, and nothing goes wrong, since a handle is parked anew, with a second look, before anybody relies on it:
 *     CLEAR_AFTER_LOOK          the bit of a handle that was rung for is cleared after the look at it, not before
 *     BELL_IN_TWO_WORDS         bell and index are loaded apart, and a move comes in between
 */
#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef MESSAGES
#define MESSAGES 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef CAP
#define CAP 1
#endif
#ifdef WAKE
#define WAKERS 1
#else
#define WAKERS 0
#endif
#ifdef ROOM
#undef WRITERS
#define WRITERS 0
#undef KILLS
#define KILLS 0
#define HOME 1 /* of the second handle */
#define FIRST_WHO_STORES RECEIVER
#define END_OF_WHO_STORE FIRST_WRITER
#else
#define HOME 0
#define FIRST_WHO_STORES FIRST_WRITER
#define END_OF_WHO_STORE (FIRST_WRITER + WRITERS)
#endif
#if defined(ROOM) || defined(MOVE)
#define GROUPS 2
#endif

/* Processes: the two groups, the writers, the waker. */
#define RECEIVER 0 /* with ROOM */
#define SENDER 1
#define FIRST_WRITER 2
#define WAKER 5
#define PROCESSES 6

/* Words: {turn, state}. */
#define AWAKE 0
#define ASLEEP 1
#define RUNG 2
#ifdef WORD_WITHOUT_TURN
#define WORD(turn, state) (state)
#else
#define WORD(turn, state) ((turn) * 4 + (state))
#endif
#define STATE(word) ((word) & 3)

/* Bell words: {group plus 1, index}. A handle has another index in the other group; 0 is the group itself. */
#define ITSELF 0
#define INDEX(g, h) (1 + ((g) ^ (h)))
#define BELL(g, h) (((g) + 1) * 4 + INDEX(g, h))
#define HANDLE(g, index) ((g) ^ ((index) - 1))
#define GROUP(bell) ((bell) / 4 - 1)

/* Where a group's buffered store goes. */
#define TO_WORD 1
#define TO_BELL(h) (2 + (h))

byte fresh[PROCESSES]; /* messages of each writer that are in memory and that nobody has seen */
byte tail;             /* with ROOM, instead */
byte head;
bool mask[2];
byte bell[2];
byte word[2];
bool summary[2];
byte ready[2];
bool fifo[2];
bool coming; /* the first handle, to the second group */
bool woken;

byte commits[PROCESSES]; /* in buffers */
byte store_to[2];        /* likewise, of the groups: one other store */
byte store_value[2];

byte word_seen[PROCESSES]; /* by ringers */
bool killed[PROCESSES];
bool done[PROCESSES];
byte kills;

/* Not part of the protocol: what the claims need. */
bool lost[PROCESSES]; /* died in the midst of sending, and so may be what it sent */
bool slept[2]; /* this turn has not been rung yet */
#ifdef COUNT_SLEEPS_BEGUN
byte rings;
byte sleeps;
#endif

/* ---- memory ------------------------------------------------------------------------------------------------------ */

#ifdef SPREAD
#define LANE_OF(p) ((p) > FIRST_WRITER)
#else
#define LANE_OF(p) ((p) == FIRST_WRITER + 2)
#endif

/* All of these within a step. */
inline commit_comes(p) {
    commits[p]--;
    if
    :: (p) == RECEIVER ->
        head++
    :: (p) == SENDER ->
        tail++
    :: else ->
        fresh[p]++
    fi
}

inline store_comes(g) {
    if
    :: store_to[g] == TO_WORD ->
        word[g] = store_value[g]
    :: store_to[g] >= TO_BELL(0) ->
        bell[store_to[g] - TO_BELL(0)] = store_value[g]
    :: else
    fi;
    store_to[g] = 0;
    store_value[g] = 0
}

inline flush(p) {
    do
    :: commits[p] > 0 ->
        commit_comes(p)
    :: else ->
        break
    od;
    if
    :: (p) < FIRST_WRITER ->
        store_comes(p)
    :: else
    fi
}

inline store(where, value) {
    d_step {
        store_to[self] == 0 ->
        store_to[self] = where;
        store_value[self] = value
    }
}

inline fence_full() {
    d_step {
        flush(self)
    }
}

#ifdef UNREGISTERED
#define IS_REGISTERED(p) ((p) != FIRST_WRITER)
#else
#define IS_REGISTERED(p) true
#endif

inline membarrier() {
    other = FIRST_WHO_STORES;
    do
    :: d_step {
            other < END_OF_WHO_STORE ->
            if
            :: IS_REGISTERED(other) ->
                flush(other)
            :: else
            fi;
            other++
        }
    :: other == END_OF_WHO_STORE ->
        break
    od;
    other = 0
}

/* Stores come from the buffers. */
proctype Memory() {
end:
    do
    :: d_step {
            commits[0] > 0 ->
            commit_comes(0)
        }
    :: d_step {
            commits[1] > 0 ->
            commit_comes(1)
        }
    :: d_step {
            commits[2] > 0 ->
            commit_comes(2)
        }
    :: d_step {
            commits[3] > 0 ->
            commit_comes(3)
        }
    :: d_step {
            commits[4] > 0 ->
            commit_comes(4)
        }
    :: d_step {
            store_to[0] > 0 ->
            store_comes(0)
        }
    :: d_step {
            store_to[1] > 0 ->
            store_comes(1)
        }
    od
}

/* ---- ringing ----------------------------------------------------------------------------------------------------- */

#ifdef SKIP_IF_READY
#define MAY_SKIP_READY true
#else
#define MAY_SKIP_READY false
#endif
#ifdef SKIP_IF_SUMMARY
#define MAY_SKIP_SUMMARY true
#else
#define MAY_SKIP_SUMMARY false
#endif
#ifdef SUMMARY_IF_NEW
#define SETS_SUMMARY !was
#else
#define SETS_SUMMARY true
#endif

inline say_rung(g) {
    d_step {
        flush(self);
        was = (word[g] == word_seen[self]);
        if
        :: was ->
            word[g] = word[g] - ASLEEP + RUNG;
#ifdef COUNT_SLEEPS_BEGUN
            rings++;
#else
            assert(slept[g]);
            slept[g] = false
#endif
        :: else
        fi;
        word_seen[self] = 0
    }
}

/* set_ready, rung */
inline ring(g, index) {
    d_step {
        flush(self);
        was = (ready[g] >> (index)) & 1;
        ready[g] = ready[g] | (1 << (index))
    };
    if
    :: MAY_SKIP_READY && was
    :: else ->
        d_step {
            flush(self);
            if
            :: SETS_SUMMARY ->
                was = summary[g];
                summary[g] = true
            :: else ->
                was = false
            fi
        };
        if
        :: MAY_SKIP_SUMMARY && was
        :: else ->
            d_step {
                was = (STATE(word[g]) == ASLEEP);
                if
                :: was ->
                    word_seen[self] = word[g]
                :: else
                fi
            };
            if
            :: was ->
#ifdef RUNG_BEFORE_BYTE
                say_rung(g);
                if
                :: was ->
                    fifo[g] = true
                :: else
                fi
#else
                fifo[g] = true;
                say_rung(g)
#endif
            :: else
            fi
        fi
    fi;
    was = false
}

/* After a commit or a release: lw__is_any, lw__lane_ring_readers, lw__lane_ring_writers. */
inline ring_for(h) {
#ifdef MOVE
    if
    :: mask[h] ->
        b = bell[h]
#ifdef BELL_IN_TWO_WORDS
        ;
        if
        :: b != 0 ->
            b = (b & ~3) | (bell[h] & 3)
        :: else
        fi
#endif
    :: else
    fi;
#else
    b = bell[h] * mask[h]; /* bells don't change */
#endif
    if
    :: b != 0 ->
        ring(GROUP(b), b & 3);
        b = 0
    :: else
    fi
}

/* ---- handles ----------------------------------------------------------------------------------------------------- */

#ifdef UNFENCED
#define FENCED false
#else
#define FENCED true
#endif

#ifdef ROOM
#define HAS_SOMETHING(h) \
    ((h) == RECEIVER && tail > sent || (h) == SENDER && sent < MESSAGES && sent < head + CAP)
#else
#define HAS_SOMETHING(h) \
    (LANE_OF(2) == (h) && fresh[2] > 0 || LANE_OF(3) == (h) && fresh[3] > 0 || LANE_OF(4) == (h) && fresh[4] > 0)
#endif


inline set_bit(h) {
    d_step {
        flush(self);
        mask[h] = true;
        marked[h] = true;
#ifndef UNFENCED_CLEARS
        short_sleep = !FENCED
#endif
    }
}

inline clear_bit(h) {
    d_step {
        flush(self);
        mask[h] = false;
        marked[h] = false
    }
}

#if defined(CLEAR_AFTER_LOOK)
#define CLEARS_AT_RING false
#elif defined(UNFENCED_CLEARS)
#define CLEARS_AT_RING true
#else
#define CLEARS_AT_RING FENCED
#endif

inline wake_source(h) {
    if
    :: CLEARS_AT_RING && marked[h] ->
        clear_bit(h)
    :: else
    fi;
    d_step {
        attention[h] = true;
        busy[h] = true
    }
}

/* look: takes what there is; with ROOM, one, and tells the other side */
inline look(h) {
    if
    :: busy[h] && attention[h] ->
        d_step {
            attention[h] = false;
            ok = HAS_SOMETHING(h);
            if
            :: ok ->
#ifdef ROOM
                sent++;
                commits[self]++
#else
                fresh[2] = fresh[2] * (LANE_OF(2) != (h));
                fresh[3] = fresh[3] * (LANE_OF(3) != (h));
                fresh[4] = fresh[4] * (LANE_OF(4) != (h))
#endif
            :: else
            fi
        };
#ifdef ROOM
        if
        :: ok ->
            ring_for(1 - h)
        :: else
        fi;
#endif
#ifdef CLEAR_AFTER_LOOK
        ok = true;
#endif
        if
        :: ok && FENCED && marked[h] ->
            clear_bit(h)
        :: else
        fi;
        ok = false
    :: else
    fi
}

inline wake_if_ready(index) {
    if
    :: ((r >> index) & 1) && mine[HANDLE(self, index)] ->
        wake_source(HANDLE(self, index))
    :: else
    fi
}

/* lw__bell_collect, on_ring */
inline collect() {
#ifdef READY_BEFORE_SUMMARY
    d_step {
        flush(self);
        r = ready[self];
        ready[self] = 0
    };
    d_step {
        flush(self);
        summary[self] = false
    };
#else
    d_step {
        flush(self);
        summary[self] = false
    };
    d_step {
        flush(self);
        r = ready[self];
        ready[self] = 0
    };
#endif
    wake_if_ready(1);
    wake_if_ready(2);
    r = 0
}

/* ---- moving ------------------------------------------------------------------------------------------------------ */

/* leave, push_coming: of the first handle, to the second group */
inline move() {
#ifndef MOVE_KEEPS_BIT
    if
    :: marked[0] ->
        clear_bit(0)
    :: else
    fi;
#endif
    store(TO_BELL(0), 0);
    d_step {
        flush(self); /* the mutex */
        mine[0] = false;
        busy[0] = false;
        attention[0] = false;
        marked[0] = false;
        coming = true
    };
    ring(1, ITSELF)
}

#define IS_COMING (self == 1 && coming)
#ifdef MOVE_KEEPS_BIT
#define MARKED_BY_OTHERS mask[0]
#else
#define MARKED_BY_OTHERS false
#endif

/* take */
inline take_coming() {
    if
    :: IS_COMING ->
        d_step {
            flush(self);
            coming = false;
            mine[0] = true;
            busy[0] = true;
            attention[0] = true;
            marked[0] = MARKED_BY_OTHERS
        };
#ifndef BELL_AFTER_LOOK
        store(TO_BELL(0), BELL(1, 0))
#endif
    :: else
    fi
}

/* ---- parking ----------------------------------------------------------------------------------------------------- */

inline mark(h) {
    if
    :: busy[h] && !marked[h] ->
        set_bit(h);
        ok = true
    :: else
    fi
}

#if defined(NO_SECOND_LOOK)
#define PEEK(h) false
#elif defined(MOVE_WITHOUT_SECOND_LOOK)
#define PEEK(h) (self == 0 && HAS_SOMETHING(h))
#else
#define PEEK(h) HAS_SOMETHING(h)
#endif

inline peek(h) {
    d_step {
        if
        :: busy[h] ->
            if
            :: PEEK(h) ->
                attention[h] = true
            :: else ->
                busy[h] = false
            fi
        :: else
        fi
    }
}

inline park_quiet() {
    mark(0);
    mark(1);
    if
    :: ok ->
#if !defined(UNFENCED) && !defined(NO_MEMBARRIER)
        membarrier();
#endif
        fence_full();
        ok = false
    :: else
    fi;
    peek(0);
    peek(1);
#ifdef BELL_AFTER_LOOK
    if
    :: self == 1 && mine[0] && bell[0] == 0 ->
        store(TO_BELL(0), BELL(1, 0))
    :: else
    fi
#endif
}

/* ---- a group ----------------------------------------------------------------------------------------------------- */

inline tick_one(h) {
    if
    :: mine[h] && !busy[h] && HAS_SOMETHING(h) ->
        wake_source(h)
    :: else
    fi
}

inline tell_woken() {
    if
    :: self == 0 && woken ->
        woken = false
    :: else
    fi
}

#ifdef UNFENCED_CLEARS
#define SHORT_FROM_BEGINNING true /* and only then */
#else
#define SHORT_FROM_BEGINNING false
#endif
#define BUFFERS_ARE_EMPTY (commits[2] + commits[3] + commits[4] == 0)

/* A number that no ringer has in its hands: as good as one more each time, and fewer states. */
#define HAS_TURN(p) (word_seen[p] / 4 == turn)
inline next_turn() {
    turn = 0;
    do
    :: word[self] / 4 == turn || HAS_TURN(0) || HAS_TURN(1) || HAS_TURN(2) || HAS_TURN(3) || HAS_TURN(4) ||
            HAS_TURN(5) ->
        turn++
    :: else ->
        break
    od
}

proctype Group(byte self) {
    byte other;
    byte turn;
    byte sent;
    byte r;
    byte b;
    bool was;
    bool ok;
    bool mine[2];
    bool busy[2];
    bool attention[2];
    bool marked[2]; /* the bit is set */
    bool short_sleep; /* unfenced: the next one ends by itself */

    d_step {
        mine[0] = (self == 0);
        mine[1] = (self == HOME);
        busy[0] = mine[0];
        busy[1] = mine[1];
        attention[0] = mine[0];
        attention[1] = mine[1];
        short_sleep = SHORT_FROM_BEGINNING
    };
    do
    :: true ->
        /* turn */
#ifdef COMING_BEFORE_COLLECT
        take_coming();
#endif
#ifdef WOKEN_BEFORE_COLLECT
        tell_woken();
#endif
        if
        :: summary[self] ->
            collect()
        :: else
        fi;
#ifndef COMING_BEFORE_COLLECT
        take_coming();
#endif
#ifndef WOKEN_BEFORE_COLLECT
        tell_woken();
#endif
        look(0);
        look(1);
        /* rest; or the poll ends before that, and the thread moves the handle */
        if
        :: park_quiet()
#ifdef MOVE
        :: self == 0 && mine[0]
#endif
        fi;
#ifdef MOVE
        if
        :: self == 0 && mine[0] ->
            move()
        :: true
        fi;
#endif
        if
        :: busy[0] || busy[1] ->
            goto next
        :: else
        fi;
        /* sleep_now: lw__bell_sleep */
        d_step {
            store_to[self] == 0 ->
            next_turn();
            store_to[self] = TO_WORD;
            store_value[self] = WORD(turn, ASLEEP);
            slept[self] = true;
#ifndef NO_FENCE_IN_SLEEP
            flush(self)
#endif
        };
#ifndef NO_LOOK_AT_SUMMARY
        if
        :: summary[self] ->
            goto awake
        :: else
        fi;
#endif
#ifdef COUNT_SLEEPS_BEGUN
        sleeps++;
#endif
    end_asleep:
        if
        :: fifo[self]
#if defined(UNFENCED) && !defined(NO_TICK)
        :: d_step {
                short_sleep && BUFFERS_ARE_EMPTY ->
                short_sleep = false
            };
            tick_one(0);
            tick_one(1)
#endif
        fi;
#ifdef TICK_IN_FIRST_SLEEP
        short_sleep = false;
#endif
    awake:
        skip;
        /* lw__bell_wake */
        d_step {
            flush(self);
            word[self] = WORD(turn, AWAKE)
        };
        fifo[self] = false;
#ifdef COUNT_SLEEPS_BEGUN
        assert(rings <= sleeps);
#endif
    next:
        skip
    od
}

/* ---- who rings --------------------------------------------------------------------------------------------------- */

proctype Writer(byte self) {
    byte sent;
    byte b;
    bool was;
    bool in_send;

    {
        do
        :: sent < MESSAGES ->
            d_step {
                commits[self]++;
                sent++;
                in_send = true
            };
#ifndef NO_FENCE_OF_ITS_OWN
            if
            :: !IS_REGISTERED(self) ->
                fence_full()
            :: else
            fi;
#endif
            ring_for(LANE_OF(self));
            in_send = false
        :: else ->
            break
        od;
        skip
    } unless {
        killed[self]
    };
    d_step {
        lost[self] = in_send;
        in_send = false;
        sent = 0;
        b = 0;
        was = false;
        word_seen[self] = 0;
        done[self] = true
    }
}

/* lw_group_wake */
proctype Waker(byte self) {
    bool was;

    {
        woken = true;
        ring(0, ITSELF);
        skip
    } unless {
        killed[self]
    };
    d_step {
        lost[self] = killed[self];
        was = false;
        word_seen[self] = 0;
        done[self] = true
    }
}

/* ---- deaths, and the end ----------------------------------------------------------------------------------------- */

inline kill(p) {
    d_step {
        kills < KILLS && !killed[p] && !done[p] ->
        killed[p] = true;
        kills++
    }
}

proctype Killer() {
end:
    do
    :: kill(2)
    :: kill(3)
    :: kill(4)
    :: kill(WAKER)
    od
}

inline claim_seen_of(p) {
    assert(done[p]);
    assert(fresh[p] <= lost[p])
}

inline claim_seen() {
#ifdef ROOM
    assert(head == MESSAGES && tail == MESSAGES);
#endif
    assert(done[WAKER]);
    assert(woken <= lost[WAKER]);
    claim_seen_of(2);
    claim_seen_of(3);
    claim_seen_of(4)
}

inline begin(p, is_there) {
    if
    :: (is_there) && (p) < WAKER ->
        run Writer(p)
    :: (is_there) && (p) == WAKER ->
        run Waker(p)
    :: else ->
        done[p] = true
    fi
}

init {
    atomic {
        bell[0] = BELL(0, 0);
        bell[1] = BELL(HOME, 1);
        run Memory();
        run Group(0);
#ifdef GROUPS
        run Group(1);
#endif
        begin(2, WRITERS > 0);
        begin(3, WRITERS > 1);
        begin(4, WRITERS > 2);
        begin(WAKER, WAKERS > 0);
        run Killer()
    };
    timeout ->
    d_step {
        claim_seen()
    }
}

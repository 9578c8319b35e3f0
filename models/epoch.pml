/* SPDX-License-Identifier: MIT */
/*
 * models/epoch.pml - the epoch of a node: starting, ending, closing the epoch of a dead one, removing its file.
 *
 * Follows     src/bus/node.c   lock_file, start, lw__node_probe, lw__node_stop
 *             src/bus/owner.c  lw__owner_gone, is_over
 *             src/bus/clean.c  close_epoch, remove_node
 *
 * Who is there. One node name; its row in the table, its file. STARTERS that start under this name, one after the other
 * or at once, and stop in order, or stay. PROBERS that ask whether the owner of an epoch they saw is gone, ASKS times
 * each. CLEANERS that remove the file of a dead one. KILLS of the starters and cleaners die,
 * anywhere; a prober holds nothing, so its death is the same as its being stopped for ever. In the beginning there is
 * the file of a dead node, whose epoch is open.
 *
 * Abstracted. Files are numbers, and the path leads to one of them or to none. Making a file under a temporary name and
 * linking it is one step. The lock on byte 0 goes with its process. Probing a lock is one step, as it is one system
 * call. Nobody removes files by hand.
 *
 * Claims. (alive) The row has exactly the epoch of a node that runs, so nobody takes it for dead. (one) Two that run
 * never have the same name. (gone) Whom a prober calls gone does not run.
 *
 * Planted, and what goes wrong:
 *     OPEN_BEFORE_EPOCH      the file is opened before it is known whose epoch is meant: that of the next one, alive,
 *                            is closed
 *     ADD_INSTEAD_OF_CAS     two probers each add one: the second one closes the epoch of the next one, alive
 *     CLEAN_ANY_FILE         a cleaner has the lock of a file, and removes another one: the next one looks dead
 *     START_ON_ANY_FILE      a starter has the lock of a file that the path does not lead to any more: it looks dead
 *     STOP_ANY_FILE          who stops gives the lock back and then removes whatever file is there
 */
#ifndef STARTERS
#define STARTERS 2
#endif
#ifndef PROBERS
#define PROBERS 1
#endif
#ifndef CLEANERS
#define CLEANERS 1
#endif
#ifndef ASKS
#define ASKS 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define FILES 5
#define MORTALS (STARTERS + CLEANERS)
#define NONE 0

byte path = 1;            /* the file that the name leads to */
byte files = 1;           /* so many were made */
byte locked[FILES] = 0;   /* by whom: process + 1 */
byte epoch = 1;           /* in the row */
bool killed[MORTALS];
bool done[MORTALS];

/* Not part of the protocol. */
byte running[MORTALS]; /* with this epoch */
byte kills;

/* ---- claims ------------------------------------------------------------------------------------------------------ */

/* After each step that could make it untrue. Within a step. */
inline check_living() {
    n = 0;
    do
    :: n < STARTERS ->
        assert(running[n] == 0 || running[n] == epoch);
        n++
    :: else ->
        break
    od;
    n = 0
}

inline check_gone(e) {
    n = 0;
    do
    :: n < STARTERS ->
        assert(running[n] != e);
        n++
    :: else ->
        break
    od;
    n = 0
}

inline check_alone() {
    n = 0;
    do
    :: n < STARTERS ->
        assert(n == self || running[n] == 0);
        n++
    :: else ->
        break
    od;
    n = 0
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

inline try_lock(f, got) {
    d_step {
        got = (locked[f] == 0);
        if
        :: got ->
            locked[f] = self + 1
        :: else
        fi
    }
}

inline unlock(f) {
    locked[f] = 0
}

/* A death or an end: the locks go. */
inline end_process() {
    d_step {
        n = 1;
        do
        :: n < FILES ->
            if
            :: locked[n] == self + 1 ->
                locked[n] = 0
            :: else
            fi;
            n++
        :: else ->
            break
        od;
        n = 0;
        if
        :: self < STARTERS ->
            running[self] = 0
        :: else
        fi;
        done[self] = true
    }
}

/* ---- who starts -------------------------------------------------------------------------------------------------- */

proctype Starter(byte self) {
    byte file;
    byte n;
    bool got;

    {
        /* lock_file */
        do
        :: file = path;
            if
            :: file == NONE ->
                /* make_file: somebody may be faster */
                d_step {
                    if
                    :: path == NONE ->
                        files++;
                        path = files
                    :: else
                    fi
                }
            :: else ->
                try_lock(file, got);
                if
                :: !got ->
                    goto held
#ifndef START_ON_ANY_FILE
                :: got && path != file ->
                    unlock(file)
                :: got && path == file ->
                    break
#else
                :: got ->
                    break
#endif
                fi
            fi;
            file = NONE;
            got = false
        od;
        atomic {
            epoch++;
            running[self] = epoch;
            check_alone();
            check_living()
        };
        /* It runs, for ever or until lw__node_stop. */
        if
        :: running[self] = 0;
#ifdef STOP_ANY_FILE
            unlock(file);
            path = NONE
#else
            if
            :: path == file ->
                path = NONE
            :: else
            fi;
            unlock(file)
#endif
        :: killed[self]
        fi;
    held:
        skip
    } unless {
        killed[self]
    };
    atomic {
        file = NONE;
        got = false
    };
    end_process()
}

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

/* Somebody finds the word of an owner. */
inline learn_of_owner() {
#ifdef OPEN_BEFORE_EPOCH
    file = path;
#endif
    whose = epoch
}

/* lw__owner_gone, of the owner with the epoch `whose`. Leaves the answer in `gone`. */
inline owner_gone(whose) {
    gone = false;
    seen = epoch;
    if
    :: seen != whose ->
        gone = true
    :: else ->
        /* lw__node_probe */
#ifndef OPEN_BEFORE_EPOCH
        file = path;
#endif
        if
        :: file != NONE && locked[file] != 0
        :: else ->
#ifdef ADD_INSTEAD_OF_CAS
            epoch++;
            gone = true;
#else
            d_step {
                gone = (epoch == seen);
                if
                :: gone ->
                    epoch++
                :: else
                fi
            };
            if
            :: !gone ->
                gone = (epoch != whose)
            :: else
            fi;
#endif
            d_step {
                check_living()
            }
        fi
    fi;
    d_step {
        file = NONE;
        seen = 0;
        if
        :: gone ->
            check_gone(whose)
        :: else
        fi
    }
}

proctype Prober() {
    byte whose;
    byte asked;
    byte seen;
    byte file;
    byte n;
    bool gone;

    do
    :: asked < ASKS ->
        asked++;
        learn_of_owner();
        owner_gone(whose);
        whose = 0;
        gone = false
    :: else ->
        break
    od
}

/* ---- who removes ------------------------------------------------------------------------------------------------- */

proctype Cleaner(byte self) {
    byte whose;
    byte seen;
    byte file;
    byte n;
    bool gone;
    bool got;

    {
        /* close_epoch */
        learn_of_owner();
        owner_gone(whose);
        whose = 0;
        if
        :: gone ->
            /* remove_node */
            gone = false;
            file = path;
            if
            :: file != NONE ->
                try_lock(file, got);
                if
                :: got ->
#ifdef CLEAN_ANY_FILE
                    path = NONE;
#else
                    if
                    :: path == file ->
                        path = NONE
                    :: else
                    fi;
#endif
                    unlock(file)
                :: else
                fi
            :: else
            fi
        :: else
        fi
    } unless {
        killed[self]
    };
    atomic {
        whose = 0;
        seen = 0;
        file = NONE;
        gone = false;
        got = false
    };
    end_process()
}

/* ---- deaths ------------------------------------------------------------------------------------------------------ */

inline kill(p) {
    d_step {
        !killed[p] && !done[p] ->
        killed[p] = true;
        kills++
    }
}

proctype Killer() {
    byte p;

    do
    :: kills < KILLS && p < MORTALS ->
        if
        :: kill(p)
        :: p++
        fi
    :: kills == KILLS || p == MORTALS ->
        break
    od
}

init {
    byte p;

    atomic {
        do
        :: p < STARTERS ->
            run Starter(p);
            p++
        :: p >= STARTERS && p < MORTALS ->
            run Cleaner(p);
            p++
        :: else ->
            break
        od;
        p = 0;
        do
        :: p < PROBERS ->
            run Prober();
            p++
        :: else ->
            break
        od;
        p = 0;
        run Killer()
    }
}

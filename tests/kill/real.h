/* SPDX-License-Identifier: MIT */
/*
 * kill/real.h - operations on a bus: what those who take part tell each other outside of it, and what they need.
 *
 * For each state: a new directory; `set_up` in a process that ends; `peer`, if any, in one that lives on; then the child is
 * killed there. `recover` runs in a fresh process, and `verify` in another one, after which the histories are judged here.
 */
#ifndef LW_TESTS_KILL_REAL_H
#define LW_TESTS_KILL_REAL_H

#include "kill/kill.h"
#include "laneway/laneway.h"
#include "util/history.h"

/* In memory that all processes have. */
struct kill_board {
    uint64_t ready;    /* the peer has come so far */
    uint64_t want[2];  /* so many messages are to be sent: of history[0], of history[1] */
    uint64_t leave;    /* the peer ends */
    uint64_t lives[2]; /* of the two sides of a link */
    uint64_t owner;    /* the child's, or that of one that is dead, as soon as it is known */
    uint64_t number;
    int64_t result;
    struct history history[2];
};
extern struct kill_board *kb;
extern char kill_dir[T_PATH], kill_far_dir[T_PATH + 8]; /* buses; not there yet when an operation begins */

static inline uint64_t kb_get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
static inline void kb_set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

#endif

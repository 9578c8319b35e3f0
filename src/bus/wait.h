/* SPDX-License-Identifier: MIT */
/*
 * bus/wait.h - the one way in which Laneway waits for another process: spin, then yield, then sleep a millisecond.
 *
 *     struct lw__wait wait = lw__wait_for(timeout);
 *     while (!there_yet()) if ((rc = lw__wait_turn(&wait))) return rc > 0 ? LW_EEMPTY : rc;
 */
#ifndef LW_BUS_WAIT_H
#define LW_BUS_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct lw__wait {
    int64_t timeout; /* as the caller gave it: ns, 0, or LW_FOREVER */
    int64_t until;   /* 0: the clock was not read yet */
    uint32_t turns;
};

static inline struct lw__wait lw__wait_for(int64_t timeout) {
    return (struct lw__wait){.timeout = timeout, .until = 0, .turns = 0};
}

/* 0: look again. 1: the time is over. -EINTR: a signal handler ran while asleep. */
int lw__wait_turn(struct lw__wait *wait);

/* The caller has spun already: begin with yielding. */
void lw__wait_spun(struct lw__wait *wait);

/* Did the last turn sleep? Then a look at rarer things (is the one we wait for dead?) costs nothing. */
bool lw__wait_slept(const struct lw__wait *wait);

#endif

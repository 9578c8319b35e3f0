/* SPDX-License-Identifier: MIT */
/*
 * bus/wait.h - the one way in which a call waits for another process: spin, then yield, then sleep: until its handle is
 * rung for, or, for what nobody rings for, a millisecond.
 *
 *     struct lw__wait wait = lw__wait_for(timeout, source);
 *     while (!(rc = there_yet()) && !(rc = lw__wait_turn(&wait))) {}
 *     lw__wait_done(&wait);
 *
 * A handle with input and output of its own (a socket) does it within each turn; without waiting (timeout 0) there is no
 * turn, and it does it itself.
 */
#ifndef LW_BUS_WAIT_H
#define LW_BUS_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct lw__source;

struct lw__wait {
    int64_t timeout; /* as the caller gave it: ns, 0, or LW_FOREVER */
    int64_t until;   /* 0: the clock was not read yet */
    uint32_t turns;
    struct lw__source *source; /* what is rung for; NULL: nothing */
    bool waited;               /* the caller's own */
    bool prepared;             /* the handle's bits are set, and we looked once more */
    int64_t longest;           /* ns of one sleep */
};

struct lw__wait lw__wait_for(int64_t timeout, struct lw__source *source);

/* The handle is awake again. After the last turn, always. */
void lw__wait_done(struct lw__wait *wait);

/* 0: look again. 1: the time is over. -EINTR: a signal handler ran while asleep. */
int lw__wait_turn(struct lw__wait *wait);

/* The caller has spun already: begin with yielding. */
void lw__wait_spun(struct lw__wait *wait);

/* Did the last turn sleep? Then a look at rarer things (is the one we wait for dead?) costs nothing. */
bool lw__wait_slept(const struct lw__wait *wait);

#endif

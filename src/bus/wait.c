/* SPDX-License-Identifier: MIT */
#include "bus/wait.h"

#include <sched.h>

#include "base/atomic.h"
#include "base/clock.h"

enum {
    SPINS = 512, /* some 20 us: a peer that is running answers within that */
    YIELDS = 64, /* then it may want this very core */
    SLEEP = 1000000,
    LOOK_AT_CLOCK = 64 /* while spinning, once in so many turns */
};

/* What is left of the caller's time, at most `most`. */
static int64_t time_left(struct lw__wait *wait, int64_t most) {
    if (wait->timeout < 0) return most;
    int64_t now = lw__now();
    if (!wait->until) wait->until = wait->timeout > INT64_MAX - now ? INT64_MAX : now + wait->timeout;
    int64_t left = wait->until - now;
    return left < most ? left : most;
}

int lw__wait_turn(struct lw__wait *wait) {
    if (wait->timeout == 0) return 1;
    uint32_t turn = wait->turns < SPINS + YIELDS ? wait->turns++ : SPINS + YIELDS;
    if (turn < SPINS) {
        lw__relax();
        return turn % LOOK_AT_CLOCK == 0 && time_left(wait, 1) <= 0;
    }
    int64_t left = time_left(wait, SLEEP);
    if (left <= 0) return 1;
    if (turn < SPINS + YIELDS) {
        sched_yield();
        return 0;
    }
    return lw__sleep(left);
}

void lw__wait_spun(struct lw__wait *wait) {
    if (wait->turns < SPINS) wait->turns = SPINS;
}

bool lw__wait_slept(const struct lw__wait *wait) {
    return wait->turns >= SPINS + YIELDS;
}

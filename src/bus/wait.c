/* SPDX-License-Identifier: MIT */
#include "bus/wait.h"

#include <sched.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "bus/group.h"

enum {
    SPINS = 512,        /* some 20 us: a peer that is running answers within that */
    YIELDS = 64,        /* then it may want this very core */
    LOOK_AT_CLOCK = 64, /* while spinning, once in so many turns */
    DRIVEN = 16         /* a turn with input and output, a system call, counts for so many */
};

#define NAP LW_MS(1) /* when nobody rings */

struct lw__wait lw__wait_for(int64_t timeout, struct lw__source *source) {
    struct lw__wait wait = {.timeout = timeout, .source = source, .longest = LW_SEC(1)};
    struct lw_group *group = source ? source->group : NULL;
    if (group && !group->alone && group->spin == 0) wait.turns = SPINS + YIELDS;
    return wait;
}

/* What is left of the caller's time, at most `most`. */
static int64_t time_left(struct lw__wait *wait, int64_t most) {
    if (wait->timeout < 0) return most;
    int64_t now = lw__now();
    if (!wait->until) wait->until = wait->timeout > INT64_MAX - now ? INT64_MAX : now + wait->timeout;
    int64_t left = wait->until - now;
    return left < most ? left : most;
}

/* First the bits and one more look by the caller, then the sleep. What woke us may have cleared the bits. Making a bell
 * takes time, too: what is left is asked last. */
static int sleep_a_while(struct lw__wait *wait) {
    bool bell = wait->source && (wait->prepared || lw__source_prepare(wait->source));
    int64_t left = time_left(wait, bell ? wait->longest : NAP);
    if (left <= 0) return 1;
    if (!bell) return lw__sleep(left);
    wait->prepared = !wait->prepared;
    return wait->prepared ? 0 : lw__source_sleep(wait->source, left);
}

static bool never_sleeps(const struct lw__wait *wait) {
    struct lw_group *group = wait->source ? wait->source->group : NULL;
    return group && !group->alone && group->spin < 0;
}

static int spin(struct lw__wait *wait, uint32_t turn) {
    lw__relax();
    return turn % LOOK_AT_CLOCK == 0 && time_left(wait, 1) <= 0;
}

static int pass_time(struct lw__wait *wait, uint32_t turn) {
    if (turn < SPINS || never_sleeps(wait)) return spin(wait, turn);
    if (time_left(wait, 1) <= 0) return 1;
    if (turn >= SPINS + YIELDS) return sleep_a_while(wait);
    sched_yield();
    return 0;
}

/* Driving comes last: after a sleep, and after the bits were set, and before the caller looks again. */
int lw__wait_turn(struct lw__wait *wait) {
    if (wait->timeout == 0) return 1;
    uint32_t turn = wait->turns;
    int rc = pass_time(wait, turn);
    bool drove = !rc && wait->source && lw__source_drive(wait->source);
    wait->turns += drove ? DRIVEN : 1;
    if (wait->turns > SPINS + YIELDS) wait->turns = SPINS + YIELDS;
    return rc;
}

void lw__wait_spun(struct lw__wait *wait) {
    if (wait->turns < SPINS) wait->turns = SPINS;
}

bool lw__wait_slept(const struct lw__wait *wait) {
    return wait->turns >= SPINS + YIELDS;
}

void lw__wait_done(struct lw__wait *wait) {
    if (wait->source && lw__wait_slept(wait)) lw__source_done(wait->source);
}

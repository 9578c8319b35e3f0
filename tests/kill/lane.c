/* SPDX-License-Identifier: MIT */
/* kill/lane.c - operations on a lane: its file is all there is, so copies of it are the states. */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "kill/kill.h"

struct kill_lanes kl;

void kill_lanes_begin(const struct lw__lane_shape *shape) {
    kl = (struct kill_lanes){
        .live = t_lane_make_shaped(shape), .copy = t_lane_make_shaped(shape), .judged = t_lane_make_shaped(shape)};
    kl.result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_NEED(kl.result != MAP_FAILED);
    for (unsigned id = KILL_CHILD; id <= KILL_OWNERS; id++) t_owner_set(id, true);
}

void kill_lanes_end(void) {
    munmap(kl.result, 4096);
    t_lane_end(&kl.live);
    t_lane_end(&kl.copy);
    t_lane_end(&kl.judged);
    for (unsigned id = KILL_CHILD; id <= KILL_OWNERS; id++) t_owner_set(id, true);
}

void kill_child_maps(void *arg) {
    (void)arg;
    kl.mine = t_lane_map(&kl.live, LW__WRITE);
}

static void recoverer_maps(void *arg) {
    (void)arg;
    kl.mine = t_lane_map(&kl.copy, LW__WRITE);
}

/* A writer's word with the lowest bit is a bias, which may be taken away. */
static bool is_childs(uint64_t owner) {
    return owner >> 32 == KILL_CHILD;
}

uint64_t kill_childs_words(void) {
    const struct lw__lane *lane = &kl.live.lane;
    uint64_t lock = lw__load(&lane->ctl->lock), count = is_childs(lock) && !(lock & 1);
    for (uint32_t i = 0; i < lane->slots_max; i++) count += is_childs(lw__load(&lane->slots[i].owner));
    return count;
}

/* ---- the judge --------------------------------------------------------------------------------------------------- */

/* Whether it was found done, and undone; once done it stays so. */
struct seen {
    bool undone, done;
};

static const char *note(struct seen *seen, enum kill_found found) {
    if (found == KILL_UNKNOWN) return NULL;
    if (found == KILL_UNDONE && seen->done) return "what was done is undone";
    *(found == KILL_DONE ? &seen->done : &seen->undone) = true;
    return NULL;
}

static struct kill_verdict judge(const struct t_lane *state) {
    bool child_is_alive = t_owner_alive(KILL_CHILD);
    memcpy(kl.judged.lane.base, state->lane.base, state->size);
    t_owner_set(KILL_CHILD, false);
    t_owner_set(KILL_RECOVERER, false);
    struct kill_verdict v = kill_now->judge(&kl.judged.lane);
    t_owner_set(KILL_CHILD, child_is_alive);
    t_owner_set(KILL_RECOVERER, true);
    return v;
}

/* ---- kills ------------------------------------------------------------------------------------------------------- */

/* Who recovers from this state is killed too. What the dead one had done is done, whatever happens to its heir. */
static const char *each_inner(enum kill_found outer) {
    memcpy(kl.copy.lane.base, kl.live.lane.base, kl.live.size);
    t_owner_set(KILL_CHILD, false);
    struct t_step step = t_step_begin(recoverer_maps, kill_now->recover, NULL);
    char *last = t_lane_save(&kl.copy);
    const char *trouble = NULL;
    for (bool more = true; more && !trouble;) {
        more = t_step_on(&step);
        kill_inner_at = step.steps;
        kill_tally.inner_boundaries++;
        if (more && memcmp(kl.copy.lane.base, last, kl.copy.size) == 0) continue;
        memcpy(last, kl.copy.lane.base, kl.copy.size);
        kill_tally.inner_states++;
        struct kill_verdict v = judge(&kl.copy);
        trouble = v.trouble;
        if (!trouble && v.found != outer) trouble = "who recovers, and is killed, changes what was done";
    }
    t_step_end(&step);
    free(last);
    t_owner_set(KILL_CHILD, true);
    kill_inner_at = 0;
    return trouble;
}

/* Of a lane whoever recovers is stepped whole, once in so many states. */
static bool is_inner_wanted(void) {
    return kill_how.inner && kill_tally.states % kill_how.apart == 0;
}

static const char *one_state(struct seen *seen) {
    kill_tally.states++;
    struct kill_verdict v = judge(&kl.live);
    if (!v.trouble) v.trouble = note(seen, v.found);
    if (!v.trouble && is_inner_wanted() && kill_now->recover) v.trouble = each_inner(v.found);
    return v.trouble;
}

static bool is_wanted(uint64_t at, uint64_t state) {
    return at >= kill_how.from && at < kill_how.to && state % kill_how.stride == 0;
}

static const char *each_death(void) {
    struct seen seen = {false, false};
    struct t_step step = t_step_begin(kill_now->prepare, kill_now->operate, NULL);
    char *last = t_lane_save(&kl.live);
    const char *trouble = NULL;
    uint64_t state = 0;
    for (bool more = true, changed = true; more && !trouble;) {
        kill_at = step.steps;
        if (changed && is_wanted(kill_at, state++)) trouble = one_state(&seen);
        if (trouble) break;
        more = t_step_on(&step);
        kill_tally.boundaries++;
        changed = !more || memcmp(kl.live.lane.base, last, kl.live.size) != 0;
        if (changed) memcpy(last, kl.live.lane.base, kl.live.size);
    }
    if (!trouble && kill_how.stride == 1 && is_wanted(step.steps, 0)) trouble = one_state(&seen);
    bool over = kill_how.to == UINT64_MAX && !trouble;
    if (over && (*kl.result < 0 ? *kl.result : 0) != kill_now->gives)
        trouble = t_words("it gives %s", lw_errname((int)*kl.result));
    t_step_end(&step);
    free(last);
    bool whole = kill_how.stride == 1 && !kill_how.from && kill_how.to == UINT64_MAX;
    if (!trouble && whole && kill_now->both && !(seen.undone && seen.done))
        trouble = "it was not found both undone and done";
    return trouble;
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

static const char *one_stop(const struct t_point *point) {
    kill_at = point->n;
    *kl.result = 0;
    struct t_step step = t_step_begin(kill_now->prepare, kill_now->operate, NULL);
    bool more = t_step_to(&step, point);
    uint64_t words = kill_childs_words();
    const char *trouble = kill_now->meanwhile();
    if (!trouble && kill_childs_words() != words) trouble = "something was taken from the one that is stopped";
    if (more && !trouble) t_step_finish(&step);
    if (!trouble && kill_now->after) trouble = kill_now->after();
    t_step_end(&step);
    kill_tally.missed += !more;
    kill_tally.stops++;
    if (trouble || !kill_now->judge) return trouble;
    struct kill_verdict v = judge(&kl.live);
    if (!v.trouble && kill_now->both && *kl.result >= 0 && v.found == KILL_UNDONE)
        v.trouble = "it went on, and did it not";
    return v.trouble;
}

static const char *each_stop(void) {
    enum { POINTS = 20000, MOST = 1 << 20 };
    struct t_point *points = malloc(POINTS * sizeof *points);
    char *before = t_lane_save(&kl.live), *scene = malloc(kill_now->scene_size);
    const char *trouble = NULL;
    T_NEED(points && scene);
    memcpy(scene, kill_now->scene, kill_now->scene_size);
    kl.refused = 0;
    uint64_t most = kill_how.stops < POINTS ? kill_how.stops : POINTS;
    uint64_t count = t_step_points(kill_now->prepare, kill_now->operate, NULL, MOST, points, most);
    for (uint64_t i = 0; i < count && !trouble; i++) {
        if (points[i].n < kill_how.from || points[i].n >= kill_how.to) continue;
        t_lane_restore(&kl.live, before);
        memcpy(kill_now->scene, scene, kill_now->scene_size);
        trouble = one_stop(&points[i]);
    }
    if (!trouble && kill_now->refuses && count < most && !kl.refused) trouble = "nobody was refused meanwhile";
    free(points);
    free(before);
    free(scene);
    return trouble;
}

int kill_lane(const struct kill_op *op) {
    const char *trouble = NULL;
    kill_now = op;
    if (!op->only_stops) {
        op->begin(op);
        trouble = each_death();
        op->end();
    }
    if (!trouble && kill_how.stops && op->meanwhile) {
        op->begin(op);
        trouble = each_stop();
        op->end();
    }
    return trouble ? kill_violation(trouble) : 0;
}

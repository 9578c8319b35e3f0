/* SPDX-License-Identifier: MIT */
/*
 * lane/lock_step_test.c - shared writers that die, or stop, at every instruction. A child does one thing.
 *
 * Death: whenever the file has changed it is copied, and the copy is what a kill at that moment would leave. Those who
 * live go on with the copy, at their first try: they wait for nobody who is dead. What the child published is there
 * whole or not at all, and nothing else is missing or there twice.
 *
 * Stop: the child stands still at one of its instructions, others try, then the child goes on. Whoever tries gets in,
 * or is told that it is the child who is inside, and then nothing has changed. In the end all is there, once.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/membarrier.h"
#include "util/notes.h"
#include "util/step.h"

enum { CHILD = 1, OTHER = 2, THIRD = 3, BEFORE = 4, HEIR = 5, READER = 6, SOLE = 7 }; /* owners, and whose notes */
enum { SMALL = 4096, LARGE = 65536 };
#define FAR ((UINT64_C(1) << 62) - LARGE)

/* One thing to do, and what is there before. */
struct deed {
    uint64_t ring, start;
    void (*set_up)(void);    /* here; may be NULL */
    void (*prepare)(void *); /* in the child, at full speed */
    void (*operate)(void *); /* in the child, an instruction at a time */
    uint64_t sends;          /* notes that prepare sends ... */
    unsigned adds;           /* ... and operate */
};

static struct scene {
    const struct deed *deed;
    struct t_lane live, copy;
    struct lw__lane mine; /* the child's mapping */
    struct lw__writer w, second;
    struct lw__writer other, third; /* in this process, alive */
    uint64_t n_other, n_third;
    bool other_inside; /* by mark, stopped there */
    struct lw__reader r;
    struct tn_log log;
    uint64_t seen_old, seen_new; /* how often it was found not done, done */
    uint64_t let_in, refused;
    int64_t *result; /* what the child's operation gave; shared */
} s;

static bool in_short(void) {
    return t_loops(20) == 1;
}

static void scene_begin(const struct deed *deed) {
    s = (struct scene){
        .deed = deed, .live = t_lane_make(deed->ring, 8, deed->start), .copy = t_lane_make(deed->ring, 8, deed->start)};
    s.result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s.result != MAP_FAILED);
    assert_int_equal(lw__membarrier_register(), 0);
    t_read_as(&s.r, &s.live.lane, READER, LW_FROM_NOW, 0);
    if (deed->set_up) deed->set_up();
}

static void scene_end(void) {
    munmap(s.result, 4096);
    t_lane_end(&s.live);
    t_lane_end(&s.copy);
    for (unsigned id = CHILD; id <= SOLE; id++) t_owner_set(id, true);
}

/* ---- what may be there before ------------------------------------------------------------------------------------ */

static void two_others(void) {
    tn_join(&s.other, &s.live.lane, OTHER);
    tn_join(&s.third, &s.live.lane, THIRD);
    assert_ok(tn_send(&s.other, OTHER, s.n_other++));
}

static void two_others_one_biased(void) {
    two_others();
    tn_bias(&s.other, OTHER, s.n_other++);
}

static void two_others_one_inside(void) {
    two_others_one_biased();
    assert_int_equal(lw__tx_enter(&s.other.tx), 1);
    s.other_inside = true;
}

/* A batch is committed, over a segment's edge, and the tail has not moved: then it died. */
static void die_with_a_batch(bool biased) {
    struct lw__writer w;
    struct lw__lane_ctl *ctl = s.live.lane.ctl;
    struct lw__mark marks[LW__MARKS];
    tn_join(&w, &s.live.lane, BEFORE);
    if (biased) tn_bias(&w, BEFORE, 0);
    struct lw__cursor tail = ctl->tail;
    memcpy(marks, ctl->marks, sizeof marks);
    assert_ok(tn_send_batch(&w, BEFORE, biased, 4));
    ctl->tail = tail;
    memcpy(ctl->marks, marks, sizeof marks);
    ctl->lock = w.word | biased;
    if (biased) w.slot->section |= 1;
    t_owner_set(BEFORE, false);
}

static void a_dead_one_with_the_word(void) {
    two_others();
    die_with_a_batch(false);
}

static void a_dead_one_by_mark(void) {
    two_others();
    die_with_a_batch(true);
}

static void only_a_dead_one_by_mark(void) {
    die_with_a_batch(true);
}

/* ---- what the child is and does ---------------------------------------------------------------------------------- */

static void be_nobody(void *arg) {
    (void)arg;
    T_NEED(!lw__membarrier_register());
    s.mine = t_lane_map(&s.live, LW__WRITE);
}

static void be_shared(void *arg) {
    be_nobody(arg);
    tn_join(&s.w, &s.mine, CHILD);
}

static void be_about_to_be_biased(void *arg) {
    be_shared(arg);
    tn_about_to_be_biased(&s.w);
}

static void be_biased(void *arg) {
    be_shared(arg);
    tn_bias(&s.w, CHILD, 0);
}

static void be_biased_not_inline(void *arg) {
    be_biased(arg);
    s.w.tx.edge = 0;
}

/* It lost the bias and doesn't know: another one of the same process took it away. */
static void be_no_more_biased(void *arg) {
    be_biased(arg);
    tn_join(&s.second, &s.mine, CHILD);
    T_NEED(tn_send(&s.second, SOLE, 0) >= 0);
}

static void be_sole(void *arg) {
    be_nobody(arg);
    t_write_as(&s.w, &s.mine, CHILD);
}

static void send_one(void *arg) {
    (void)arg;
    *s.result = tn_send(&s.w, CHILD, s.deed->sends);
}

static void send_batch(void *arg) {
    (void)arg;
    *s.result = tn_send_batch(&s.w, CHILD, s.deed->sends, s.deed->adds);
}

static void join(void *arg) {
    (void)arg;
    *s.result = lw__writer_join(&s.w, &s.mine, t_owner(CHILD, 0), &t_owners);
}

static void take(void *arg) {
    (void)arg;
    *s.result = lw__writer_take(&s.w, &s.mine, t_owner(CHILD, 0), &t_owners);
}

static void leave(void *arg) {
    (void)arg;
    lw__writer_leave(&s.w);
    *s.result = 0;
}

/* ---- death ------------------------------------------------------------------------------------------------------- */

static struct lw__reader reader_moved(const struct lw__reader *r, struct lw__lane *to) {
    struct lw__reader moved = *r;
    moved.lane = to;
    moved.slot = &to->slots[r->index];
    moved.rx.ring = to->data;
    moved.rx.cursor = &moved.slot->cursor;
    return moved;
}

/* The heir and the one that was there before, by turns. */
static const char *publish_by_turns(struct lw__writer *heir, struct lw__writer *other) {
    for (unsigned i = 0; i < 3; i++) {
        int64_t rc = tn_send(heir, HEIR, i);
        if (rc < 0) return t_words("the heir is told %s", lw_errname((int)rc));
        rc = other->slot ? tn_send(other, OTHER, s.n_other + i) : 0;
        if (rc < 0) return t_words("the other one is told %s", lw_errname((int)rc));
    }
    if (lw__writer_done(heir).number != 3 || heir->slot->section != 6) return "the heir counts wrong";
    if (other->slot && lw__writer_done(other).number != s.n_other + 3) return "the other one counts wrong";
    return NULL;
}

/* The one that is stopped inside is waited for by whoever comes, and then goes on as if nothing had happened. */
static const char *come_out(struct lw__writer *heir, struct lw__writer *other) {
    int64_t rc = tn_send(heir, HEIR, 0);
    if (rc != LW_EWRITER) return t_words("the heir is told %s while another is inside", lw_errname((int)rc));
    if (heir->holder != other->word) return "the wrong one is said to be inside";
    tn_put(other, OTHER, s.n_other);
    lw__tx_leave(&other->tx);
    return NULL;
}

static const char *all_is_there(struct lw__lane *lane, uint64_t others, uint64_t heirs) {
    struct lw__reader r = reader_moved(&s.r, lane);
    struct tn_log log = s.log;
    const char *trouble = tn_read(&r, &log);
    uint64_t found = log.next[CHILD] - s.deed->sends;
    if (trouble) return trouble;
    if (found != 0 && found != s.deed->adds) return t_words("%d notes of the dead one", (int)log.next[CHILD]);
    if (log.next[OTHER] != others || log.next[HEIR] != heirs) return "notes of the living are missing";
    ++*(found ? &s.seen_new : &s.seen_old);
    return t_at_rest(lane, NULL);
}

/* When all others are gone too, nothing of them is left, and an exclusive one may begin. */
static const char *nothing_is_left(struct lw__lane *lane) {
    struct lw__writer sole;
    lw__lane_sweep(lane, t_owner(HEIR, 0), &t_owners);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner && i != s.r.index) return "a slot was left behind";
    int rc = lw__writer_take(&sole, lane, t_owner(SOLE, 0), &t_owners);
    if (rc) return t_words("an exclusive writer is told %s", lw_errname(rc));
    bool sent = tn_send(&sole, SOLE, 0) >= 0;
    lw__writer_leave(&sole);
    return !sent ? "an exclusive writer can not send" : NULL;
}

static const char *the_living_go_on(void) {
    struct lw__lane *lane = &s.copy.lane;
    struct lw__lane_check check;
    struct lw__writer heir, other = {.slot = NULL};
    uint64_t n_other = s.n_other;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %llu: %s", (unsigned long long)check.bad, check.what);
    if (s.other.slot) other = tn_moved(&s.other, lane);
    int rc = lw__writer_join(&heir, lane, t_owner(HEIR, 0), &t_owners);
    if (rc) return t_words("the heir can not join: %s", lw_errname(rc));
    const char *trouble = s.other_inside ? come_out(&heir, &other) : NULL;
    s.n_other += s.other_inside;
    if (!trouble) trouble = publish_by_turns(&heir, &other);
    if (!trouble) trouble = all_is_there(lane, other.slot ? s.n_other + 3 : 0, 3);
    s.n_other = n_other;
    if (trouble) return trouble;
    lw__writer_leave(&heir);
    if (other.slot) lw__writer_leave(&other);
    t_owner_set(THIRD, false);
    trouble = nothing_is_left(lane);
    t_owner_set(THIRD, true);
    return trouble;
}

static void find_out(const struct t_step *step) {
    memcpy(s.copy.lane.base, s.live.lane.base, s.live.size);
    uint64_t done_before = s.seen_new;
    t_owner_set(CHILD, false);
    const char *trouble = the_living_go_on();
    t_owner_set(CHILD, true);
    if (!trouble && done_before && s.seen_new == done_before) trouble = "what was done is undone";
    if (trouble) fail_msg("death after %llu instructions: %s", (unsigned long long)step->steps, trouble);
}

static void each_death(const struct deed *deed) {
    t_need_ptrace();
    scene_begin(deed);
    struct t_step step = t_step_begin(deed->prepare, deed->operate, NULL);
    char *last = t_lane_save(&s.live);
    find_out(&step);
    while (t_step_on(&step)) {
        if (memcmp(s.live.lane.base, last, s.live.size) == 0) continue;
        memcpy(last, s.live.lane.base, s.live.size);
        find_out(&step);
    }
    find_out(&step);
    t_step_end(&step);
    free(last);
    assert_int_equal(*s.result < 0 ? *s.result : 0, s.other_inside ? LW_EWRITER : 0);
    assert_true(s.seen_old && !s.seen_new == !(deed->adds && !s.other_inside));
    scene_end();
}

static void death_while_sending_by_lock(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others, be_shared, send_one, 0, 1});
    if (in_short()) return;
    each_death(&(struct deed){SMALL, FAR, NULL, be_shared, send_one, 0, 1}); /* a mark, and room to gain */
}

static void death_while_sending_by_mark(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others, be_biased, send_one, 1, 1});
    if (in_short()) return;
    each_death(&(struct deed){LARGE, FAR, two_others, be_biased_not_inline, send_one, 1, 1});
    each_death(&(struct deed){SMALL, FAR, two_others, be_biased, send_one, 1, 1});
}

static void death_while_sending_a_batch(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others, be_biased, send_batch, 1, 4});
    if (in_short()) return;
    each_death(&(struct deed){SMALL, FAR, two_others, be_shared, send_batch, 0, 4});
}

static void death_while_getting_the_bias(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others, be_about_to_be_biased, send_one, 0, 1});
    if (in_short()) return;
    each_death(&(struct deed){SMALL, FAR, two_others, be_about_to_be_biased, send_batch, 0, 3});
}

static void death_while_taking_the_bias_away(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others_one_biased, be_shared, send_one, 0, 1});
    if (in_short()) return;
    each_death(&(struct deed){LARGE, 0, two_others_one_biased, be_about_to_be_biased, send_batch, 0, 3});
}

static void death_while_waiting_for_a_mark(void **state) {
    (void)state;
    if (in_short()) return;
    each_death(&(struct deed){LARGE, 0, two_others_one_inside, be_shared, send_one, 0, 1});
}

static void death_while_finding_the_bias_lost(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others, be_no_more_biased, send_one, 1, 1});
}

static void death_while_taking_over_from_the_dead(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, a_dead_one_with_the_word, be_shared, send_one, 0, 1});
    if (in_short()) return;
    each_death(&(struct deed){SMALL, FAR, a_dead_one_with_the_word, be_shared, send_batch, 0, 3});
    each_death(&(struct deed){LARGE, 0, a_dead_one_by_mark, be_shared, send_one, 0, 1});
}

static void death_while_joining(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, NULL, be_nobody, join, 0, 0});
    if (in_short()) return;
    each_death(&(struct deed){LARGE, 0, two_others_one_biased, be_nobody, join, 0, 0});
}

static void death_while_leaving(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, two_others, be_biased, leave, 1, 0});
    if (in_short()) return;
    each_death(&(struct deed){LARGE, 0, two_others, be_shared, leave, 0, 0});
    each_death(&(struct deed){LARGE, 0, two_others, be_no_more_biased, leave, 1, 0});
}

static void death_while_an_exclusive_one_comes_or_goes(void **state) {
    (void)state;
    each_death(&(struct deed){LARGE, 0, only_a_dead_one_by_mark, be_nobody, take, 0, 0});
    if (in_short()) return;
    each_death(&(struct deed){LARGE, 0, NULL, be_nobody, take, 0, 0});
    each_death(&(struct deed){LARGE, 0, NULL, be_sole, leave, 0, 0});
}

/* ---- stop -------------------------------------------------------------------------------------------------------- */

/* The child stands still: this one gets in, or is told who is inside and has changed nothing. */
static void try_once(struct lw__writer *w, unsigned who, uint64_t *n) {
    struct lw__place before, after, done = lw__writer_done(w);
    uint64_t section = w->slot->section;
    T_SOUND(lw__lane_tail(w->lane, &before) ? "no tail" : NULL);
    int64_t rc = tn_send(w, who, *n);
    if (rc >= 0) {
        assert_int_equal(rc, before.pos);
        ++*n;
        s.let_in++;
        return;
    }
    s.refused++;
    assert_int_equal(rc, LW_EWRITER);
    assert_int_equal(w->holder >> 16, t_owner(CHILD, 0) >> 16);
    assert_int_equal(lw__lane_tail(w->lane, &after), 0);
    assert_int_equal(after.pos, before.pos);
    assert_int_equal(after.number, before.number);
    assert_int_equal(lw__writer_done(w).number, done.number);
    assert_int_equal(w->slot->section, section);
}

static void both_try(void) {
    try_once(&s.other, OTHER, &s.n_other);
    try_once(&s.third, THIRD, &s.n_third);
}

static void both_must_get_in(void) {
    assert_ok(tn_send(&s.other, OTHER, s.n_other++));
    assert_ok(tn_send(&s.third, THIRD, s.n_third++));
}

/* The child is through, and alive: all is there. */
static void all_are_through(void) {
    bool sent = s.deed->adds && *s.result >= 0;
    both_must_get_in();
    T_SOUND(tn_read(&s.r, &s.log));
    T_SOUND(t_at_rest(&s.live.lane, NULL));
    assert_int_equal(s.log.next[CHILD], s.deed->sends + (sent ? s.deed->adds : 0));
    assert_int_equal(s.log.next[OTHER], s.n_other);
    assert_int_equal(s.log.next[THIRD], s.n_third);
    assert_int_equal(lw__writer_done(&s.other).number, s.n_other);
    assert_int_equal(lw__writer_done(&s.third).number, s.n_third);
}

static void it_did_it(void) {
    assert_true(*s.result >= 0);
    all_are_through();
}

/* At each instruction of the deed: `meanwhile`, while the child stands there; `after`, when it is through. */
static void each_stop(const struct deed *deed, void (*meanwhile)(void), void (*after)(void)) {
    enum { POINTS = 2000 };
    t_need_ptrace();
    scene_begin(deed);
    struct t_point *points = malloc(POINTS * sizeof *points);
    struct scene was = s;
    uint64_t over = 0;
    char *bytes = t_lane_save(&s.live);
    assert_non_null(points);
    uint64_t count = t_step_points(deed->prepare, deed->operate, NULL, 1 << 20, points, (uint64_t)t_loops(POINTS));
    for (uint64_t i = 0; i < count; i++) {
        was.let_in = s.let_in, was.refused = s.refused;
        s = was;
        t_lane_restore(&s.live, bytes);
        *s.result = INT64_MIN;
        struct t_step step = t_step_begin(deed->prepare, deed->operate, NULL);
        bool more = t_step_to(&step, &points[i]); /* not at the very end, where it stops by itself */
        over += !more;
        meanwhile();
        if (more) t_step_finish(&step);
        after();
        t_step_end(&step);
    }
    assert_true(s.let_in && over <= count / 2); /* (a sanitizer's own code isn't the same each time) */
    scene_end();
    free(points);
    free(bytes);
}

static void each_stop_of_a_send(const struct deed *deed) {
    each_stop(deed, both_try, it_did_it);
    assert_true(!deed->adds || s.refused);
}

static void stop_while_sending_by_lock(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_shared, send_one, 0, 1});
}

static void stop_while_sending_by_mark(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_biased, send_one, 1, 1});
    if (in_short()) return;
    each_stop_of_a_send(&(struct deed){LARGE, FAR, two_others, be_biased_not_inline, send_one, 1, 1});
}

static void stop_while_sending_a_batch(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_biased, send_batch, 1, 3});
}

static void stop_while_getting_the_bias(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, FAR, two_others, be_about_to_be_biased, send_one, 0, 1});
}

static void stop_while_taking_the_bias_away(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others_one_biased, be_shared, send_one, 0, 1});
}

static void stop_while_finding_the_bias_lost(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_no_more_biased, send_one, 1, 1});
}

static void stop_while_taking_over_from_the_dead(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, a_dead_one_with_the_word, be_shared, send_one, 0, 1});
    if (in_short()) return;
    each_stop_of_a_send(&(struct deed){LARGE, 0, a_dead_one_by_mark, be_shared, send_one, 0, 1});
}

static void stop_while_joining_or_leaving(void **state) {
    (void)state;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_biased, leave, 1, 0});
    if (in_short()) return;
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_shared, leave, 0, 0});
    each_stop_of_a_send(&(struct deed){LARGE, 0, two_others, be_nobody, join, 0, 0});
}

/* Another one goes in while the child stands there, if it can, and stays inside until the child is through. */
static void another_goes_in(void) {
    int rc = lw__writer_enter(&s.other);
    assert_true(rc == 0 || rc == LW_EWRITER);
    s.other_inside = rc == 0;
    ++*(s.other_inside ? &s.let_in : &s.refused);
}

/* The child was kept out then, if it was not through before. */
static void never_both(void) {
    int64_t rc = *s.result;
    if (rc == LW_EWRITER) assert_true(s.other_inside);
    if (rc != LW_EWRITER) assert_true(rc >= 0 && (!s.other_inside || (uint64_t)rc < s.other.tx.pos));
    if (s.other_inside) {
        tn_put(&s.other, OTHER, s.n_other++);
        lw__writer_exit(&s.other);
    }
    all_are_through();
}

static void each_stop_while_another_goes_in(const struct deed *deed) {
    each_stop(deed, another_goes_in, never_both);
    assert_true(s.refused);
}

static void another_goes_in_while_one_sends(void **state) {
    (void)state;
    each_stop_while_another_goes_in(&(struct deed){LARGE, 0, two_others, be_shared, send_one, 0, 1});
    if (in_short()) return;
    each_stop_while_another_goes_in(&(struct deed){LARGE, 0, two_others, be_biased, send_one, 1, 1});
}

static void the_biased_one_goes_in_while_its_bias_is_taken_away(void **state) {
    (void)state;
    each_stop_while_another_goes_in(&(struct deed){LARGE, 0, two_others_one_biased, be_shared, send_one, 0, 1});
}

static void another_goes_in_while_one_takes_over_from_the_dead(void **state) {
    (void)state;
    each_stop_while_another_goes_in(&(struct deed){LARGE, 0, a_dead_one_with_the_word, be_shared, send_one, 0, 1});
    if (in_short()) return;
    each_stop_while_another_goes_in(&(struct deed){LARGE, 0, a_dead_one_by_mark, be_shared, send_one, 0, 1});
}

/* ---- exclusive and shared, one coming while the other does ------------------------------------------------------- */

static struct lw__writer rival;
static int rival_is;

static void a_shared_one_comes(void) {
    rival_is = lw__writer_join(&rival, &s.live.lane, t_owner(OTHER, 0), &t_owners);
    s.let_in += !rival_is;
}

static void an_exclusive_one_comes(void) {
    rival_is = lw__writer_take(&rival, &s.live.lane, t_owner(SOLE, 0), &t_owners);
    s.let_in += !rival_is;
}

static void one_of_them_is_in(void) {
    bool child_is_in = *s.result == 0;
    assert_true(rival_is == 0 || rival_is == LW_EWRITER);
    assert_true(*s.result == 0 || *s.result == LW_EWRITER);
    assert_int_equal(child_is_in + !rival_is, 1);
    if (rival_is) assert_int_equal(rival.holder >> 16, t_owner(CHILD, 0) >> 16);
    if (!rival_is) assert_ok(tn_send(&rival, OTHER, 0));
}

static void an_exclusive_and_a_shared_one_come(void **state) {
    (void)state;
    each_stop(&(struct deed){LARGE, 0, NULL, be_nobody, take, 0, 0}, a_shared_one_comes, one_of_them_is_in);
    each_stop(&(struct deed){LARGE, 0, NULL, be_nobody, join, 0, 0}, an_exclusive_one_comes, one_of_them_is_in);
    if (in_short()) return;
    each_stop(&(struct deed){LARGE, 0, only_a_dead_one_by_mark, be_nobody, take, 0, 0}, a_shared_one_comes,
              one_of_them_is_in);
    each_stop(&(struct deed){LARGE, 0, NULL, be_nobody, take, 0, 0}, an_exclusive_one_comes, one_of_them_is_in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(death_while_sending_by_lock),
        t_test(death_while_sending_by_mark),
        t_test(death_while_sending_a_batch),
        t_test(death_while_getting_the_bias),
        t_test(death_while_taking_the_bias_away),
        t_test(death_while_waiting_for_a_mark),
        t_test(death_while_finding_the_bias_lost),
        t_test(death_while_taking_over_from_the_dead),
        t_test(death_while_joining),
        t_test(death_while_leaving),
        t_test(death_while_an_exclusive_one_comes_or_goes),
        t_test(stop_while_sending_by_lock),
        t_test(stop_while_sending_by_mark),
        t_test(stop_while_sending_a_batch),
        t_test(stop_while_getting_the_bias),
        t_test(stop_while_taking_the_bias_away),
        t_test(stop_while_finding_the_bias_lost),
        t_test(stop_while_taking_over_from_the_dead),
        t_test(stop_while_joining_or_leaving),
        t_test(another_goes_in_while_one_sends),
        t_test(the_biased_one_goes_in_while_its_bias_is_taken_away),
        t_test(another_goes_in_while_one_takes_over_from_the_dead),
        t_test(an_exclusive_and_a_shared_one_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * kill/lane_shared.c - shared writers, and exclusive ones that come and go. A child does one thing.
 *
 * Kill: those who live go on at their first try: they wait for nobody who is dead. What the child published is there whole
 * or not at all, and nothing else is missing or there twice.
 *
 * Stop: the child stands still, others try, then the child goes on. Whoever tries gets in, or is told that it is the child
 * who is inside, and then nothing has changed. In the end all is there, once.
 */
#include <inttypes.h>
#include <string.h>

#include "base/membarrier.h"
#include "kill/kill.h"
#include "util/notes.h"

enum { SMALL = 4096, LARGE = 65536, SLOTS = 8 };
#define FAR ((UINT64_C(1) << 62) - LARGE)

static struct scene {
    const struct kill_op *op;
    struct lw__writer w, second;    /* the child's */
    struct lw__writer other, third; /* in this process, alive */
    uint64_t n_other, n_third;
    bool other_inside; /* by mark, stopped there */
    struct lw__reader r;
    struct tn_log log;
    struct lw__writer rival;
    int rival_is;
} s;

static void begin(const struct kill_op *op) {
    struct lw__lane_shape shape = {
        .ring = op->ring, .slots = SLOTS, .start = op->start, .number = op->start ? T_NUMBER : 0};
    s = (struct scene){.op = op};
    kill_lanes_begin(&shape);
    T_NEED(!lw__membarrier_register());
    t_read_as(&s.r, &kl.live.lane, KILL_READER, LW_FROM_NOW, 0);
    if (op->set_up) op->set_up();
}

/* ---- what may be there before ------------------------------------------------------------------------------------ */

static void two_others(void) {
    tn_join(&s.other, &kl.live.lane, KILL_OTHER);
    tn_join(&s.third, &kl.live.lane, KILL_THIRD);
    T_NEED(tn_send(&s.other, KILL_OTHER, s.n_other++) >= 0);
}

static void two_others_one_biased(void) {
    two_others();
    tn_bias(&s.other, KILL_OTHER, s.n_other++);
}

static void two_others_one_inside(void) {
    two_others_one_biased();
    T_NEED(lw__tx_enter(&s.other.tx) == 1);
    s.other_inside = true;
}

/* A batch is committed, over a segment's edge, and the tail has not moved: then it died. */
static void die_with_a_batch(bool biased) {
    struct lw__writer w;
    struct lw__lane_ctl *ctl = kl.live.lane.ctl;
    struct lw__mark marks[LW__MARKS];
    tn_join(&w, &kl.live.lane, KILL_BEFORE);
    if (biased) tn_bias(&w, KILL_BEFORE, 0);
    struct lw__cursor tail = ctl->tail;
    memcpy(marks, ctl->marks, sizeof marks);
    T_NEED(tn_send_batch(&w, KILL_BEFORE, biased, 4) >= 0);
    ctl->tail = tail;
    memcpy(ctl->marks, marks, sizeof marks);
    ctl->lock = w.word | biased;
    if (biased) w.slot->section |= 1;
    t_owner_set(KILL_BEFORE, false);
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
    T_NEED(!lw__membarrier_register());
    kill_child_maps(arg);
}

static void be_shared(void *arg) {
    be_nobody(arg);
    tn_join(&s.w, &kl.mine, KILL_CHILD);
}

static void be_about_to_be_biased(void *arg) {
    be_shared(arg);
    tn_about_to_be_biased(&s.w);
}

static void be_biased(void *arg) {
    be_shared(arg);
    tn_bias(&s.w, KILL_CHILD, 0);
}

static void be_biased_not_inline(void *arg) {
    be_biased(arg);
    s.w.tx.edge_inside = 0;
}

/* It lost the bias and doesn't know: another one of the same process took it away. */
static void be_no_more_biased(void *arg) {
    be_biased(arg);
    tn_join(&s.second, &kl.mine, KILL_CHILD);
    T_NEED(tn_send(&s.second, KILL_SOLE, 0) >= 0);
}

static void be_sole(void *arg) {
    be_nobody(arg);
    t_write_as(&s.w, &kl.mine, KILL_CHILD);
}

static void send_one(void *arg) {
    (void)arg;
    *kl.result = tn_send(&s.w, KILL_CHILD, s.op->sends);
}

static void send_batch(void *arg) {
    (void)arg;
    *kl.result = tn_send_batch(&s.w, KILL_CHILD, s.op->sends, s.op->adds);
}

static void join(void *arg) {
    (void)arg;
    *kl.result = lw__writer_join(&s.w, &kl.mine, t_owner(KILL_CHILD, 0), &t_owners);
}

static void take(void *arg) {
    (void)arg;
    *kl.result = lw__writer_take(&s.w, &kl.mine, t_owner(KILL_CHILD, 0), &t_owners);
}

static void leave(void *arg) {
    (void)arg;
    lw__writer_leave(&s.w);
    *kl.result = 0;
}

/* Gets in, unless somebody living is inside; so all that the dead left is put in order. */
static void recover(void *arg) {
    struct lw__writer w;
    (void)arg;
    T_NEED(!lw__membarrier_register());
    lw__lane_sweep(&kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners);
    T_NEED(!lw__writer_join(&w, &kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners));
    int rc = lw__writer_enter(&w);
    T_NEED(rc == (s.other_inside ? LW_EWRITER : 0));
    if (!rc) lw__writer_exit(&w);
    lw__writer_leave(&w);
}

/* ---- the judge of deaths ----------------------------------------------------------------------------------------- */

static struct lw__reader reader_moved(const struct lw__reader *r, struct lw__lane *to) {
    struct lw__reader moved = *r;
    moved.lane = to;
    moved.slot = &to->slots[r->index];
    moved.rx.ring = to->data;
    moved.rx.cursor = &moved.slot->cursor;
    return moved;
}

/* The heir and the one that was there before, by turns. */
static const char *publish_by_turns(struct lw__writer *heir, struct lw__writer *other, uint64_t n) {
    for (unsigned i = 0; i < 3; i++) {
        int64_t rc = tn_send(heir, KILL_HEIR, i);
        if (rc < 0) return t_words("the heir is told %s", lw_errname((int)rc));
        rc = other->slot ? tn_send(other, KILL_OTHER, n + i) : 0;
        if (rc < 0) return t_words("the other one is told %s", lw_errname((int)rc));
    }
    if (lw__writer_done(heir).number != 3 || heir->slot->section != 6) return "the heir counts wrong";
    if (other->slot && lw__writer_done(other).number != n + 3) return "the other one counts wrong";
    return NULL;
}

/* The one that is stopped inside is waited for by whoever comes, and then goes on as if nothing had happened. */
static const char *come_out(struct lw__writer *heir, struct lw__writer *other) {
    int64_t rc = tn_send(heir, KILL_HEIR, 0);
    if (rc != LW_EWRITER) return t_words("the heir is told %s while another is inside", lw_errname((int)rc));
    if (heir->holder != other->word) return "the wrong one is said to be inside";
    tn_put(other, KILL_OTHER, s.n_other);
    lw__tx_leave(&other->tx);
    return NULL;
}

/* Of one writer: so many notes, each once. */
static const char *count(const char *who, uint64_t found, uint64_t want) {
    if (found < want) return kill_lost("%" PRIu64 " notes of the %s, not %" PRIu64, found, who, want);
    return found > want ? kill_repeated("%" PRIu64 " notes of the %s, not %" PRIu64, found, who, want) : NULL;
}

static const char *all_is_there(struct lw__lane *lane, uint64_t others, uint64_t heirs, bool *done) {
    struct lw__reader r = reader_moved(&s.r, lane);
    struct tn_log log = s.log;
    const char *trouble = tn_read(&r, &log);
    uint64_t found = log.next[KILL_CHILD] - s.op->sends;
    if (trouble) return trouble;
    if (found && found != s.op->adds) trouble = count("dead one", log.next[KILL_CHILD], s.op->sends + s.op->adds);
    if (!trouble) trouble = count("other one", log.next[KILL_OTHER], others);
    if (!trouble) trouble = count("heir", log.next[KILL_HEIR], heirs);
    *done = found;
    return trouble ? trouble : t_at_rest(lane, NULL);
}

/* When all others are gone too, nothing of them is left, and an exclusive one may begin. */
static const char *nothing_is_left(struct lw__lane *lane) {
    struct lw__writer sole;
    lw__lane_sweep(lane, t_owner(KILL_HEIR, 0), &t_owners);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner && i != s.r.index) return "a slot was left behind";
    int rc = lw__writer_take(&sole, lane, t_owner(KILL_SOLE, 0), &t_owners);
    if (rc) return t_words("an exclusive writer is told %s", lw_errname(rc));
    bool sent = tn_send(&sole, KILL_SOLE, 0) >= 0;
    lw__writer_leave(&sole);
    return !sent ? "an exclusive writer can not send" : NULL;
}

static const char *go_on(struct lw__lane *lane, struct lw__writer *heir, bool *done) {
    struct lw__writer other = {.slot = NULL};
    uint64_t n = s.n_other + s.other_inside;
    if (s.other.slot) other = tn_moved(&s.other, lane);
    const char *trouble = s.other_inside ? come_out(heir, &other) : NULL;
    if (!trouble) trouble = publish_by_turns(heir, &other, n);
    if (!trouble) trouble = all_is_there(lane, other.slot ? n + 3 : 0, 3, done);
    if (trouble) return trouble;
    lw__writer_leave(heir);
    if (other.slot) lw__writer_leave(&other);
    t_owner_set(KILL_THIRD, false);
    trouble = nothing_is_left(lane);
    t_owner_set(KILL_THIRD, true);
    return trouble;
}

static struct kill_verdict the_living_go_on(struct lw__lane *lane) {
    struct lw__lane_check check;
    struct lw__writer heir;
    bool done = false;
    const char *trouble = NULL;
    if (lw__lane_verify(lane, &check)) trouble = t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    int rc = lw__writer_join(&heir, lane, t_owner(KILL_HEIR, 0), &t_owners);
    if (rc) trouble = t_words("the heir can not join: %s", lw_errname(rc));
    if (!trouble) trouble = go_on(lane, &heir, &done);
    return (struct kill_verdict){.trouble = trouble, .found = done ? KILL_DONE : KILL_UNDONE};
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

/* The child stands still: this one gets in, or is told who is inside and has changed nothing. */
static const char *try_once(struct lw__writer *w, unsigned who, uint64_t *n) {
    struct lw__place before, after, done = lw__writer_done(w);
    uint64_t section = w->slot->section;
    if (lw__lane_tail(w->lane, &before)) return "no tail";
    int64_t rc = tn_send(w, who, *n);
    if (rc >= 0) {
        ++*n;
        return (uint64_t)rc == before.pos ? NULL : "it was published elsewhere than at the tail";
    }
    kl.refused++;
    if (rc != LW_EWRITER) return t_words("it is told %s", lw_errname((int)rc));
    if (w->holder >> 16 != t_owner(KILL_CHILD, 0) >> 16) return "the wrong one is said to be inside";
    if (lw__lane_tail(w->lane, &after)) return "no tail";
    bool same = after.pos == before.pos && after.number == before.number && w->slot->section == section;
    return same && lw__writer_done(w).number == done.number ? NULL : "who was refused has changed something";
}

static const char *both_try(void) {
    const char *trouble = try_once(&s.other, KILL_OTHER, &s.n_other);
    return trouble ? trouble : try_once(&s.third, KILL_THIRD, &s.n_third);
}

static const char *both_get_in(void) {
    if (tn_send(&s.other, KILL_OTHER, s.n_other) < 0 || tn_send(&s.third, KILL_THIRD, s.n_third) < 0)
        return "the others do not get in when it is through";
    s.n_other++;
    s.n_third++;
    return NULL;
}

/* The child is through, and alive: all is there. */
static const char *all_are_through(void) {
    bool sent = s.op->adds && *kl.result >= 0;
    const char *trouble = both_get_in();
    if (!trouble) trouble = tn_read(&s.r, &s.log);
    if (!trouble) trouble = t_at_rest(&kl.live.lane, NULL);
    if (!trouble) trouble = count("stopped one", s.log.next[KILL_CHILD], s.op->sends + (sent ? s.op->adds : 0));
    if (!trouble) trouble = count("other one", s.log.next[KILL_OTHER], s.n_other);
    if (!trouble) trouble = count("third one", s.log.next[KILL_THIRD], s.n_third);
    bool right = lw__writer_done(&s.other).number == s.n_other && lw__writer_done(&s.third).number == s.n_third;
    return trouble || right ? trouble : "the others count wrong";
}

static const char *it_did_it(void) {
    if (*kl.result < 0) return t_words("the one that was stopped is told %s", lw_errname((int)*kl.result));
    return all_are_through();
}

/* Another one goes in while the child stands there, if it can, and stays inside until the child is through. */
static const char *another_goes_in(void) {
    int rc = lw__writer_enter(&s.other);
    s.other_inside = rc == 0;
    kl.refused += rc != 0;
    return rc == 0 || rc == LW_EWRITER ? NULL : t_words("it is told %s", lw_errname(rc));
}

/* The child was kept out then, if it was not through before. */
static const char *never_both(void) {
    int64_t rc = *kl.result;
    if (rc == LW_EWRITER && !s.other_inside) return "it was kept out by nobody";
    if (rc < 0 && rc != LW_EWRITER) return t_words("it is told %s", lw_errname((int)rc));
    if (rc >= 0 && s.other_inside && (uint64_t)rc >= s.other.tx.pos) return "both were inside";
    if (s.other_inside) {
        tn_put(&s.other, KILL_OTHER, s.n_other++);
        lw__writer_exit(&s.other);
    }
    return all_are_through();
}

/* Exclusive and shared, one coming while the other does. */
static const char *a_shared_one_comes(void) {
    s.rival_is = lw__writer_join(&s.rival, &kl.live.lane, t_owner(KILL_OTHER, 0), &t_owners);
    return NULL;
}

static const char *an_exclusive_one_comes(void) {
    s.rival_is = lw__writer_take(&s.rival, &kl.live.lane, t_owner(KILL_SOLE, 0), &t_owners);
    return NULL;
}

static const char *one_of_them_is_in(void) {
    bool is_in = *kl.result == 0, rival_is_in = s.rival_is == 0;
    if (!is_in && *kl.result != LW_EWRITER) return t_words("it is told %s", lw_errname((int)*kl.result));
    if (!rival_is_in && s.rival_is != LW_EWRITER) return t_words("the rival is told %s", lw_errname(s.rival_is));
    if (is_in == rival_is_in) return is_in ? "both are in" : "neither is in";
    if (!rival_is_in && s.rival.holder >> 16 != t_owner(KILL_CHILD, 0) >> 16) return "the wrong one is said to be in";
    return rival_is_in && tn_send(&s.rival, KILL_OTHER, 0) < 0 ? "the rival can not send" : NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

#define OP(name_, ring_, start_, set_up_, prepare_, operate_)                                                          \
    .name = "shared/" name_, .run = kill_lane, .begin = begin, .end = kill_lanes_end, .scene = &s,                     \
    .scene_size = sizeof s, .ring = ring_, .start = start_, .set_up = set_up_, .prepare = prepare_,                    \
    .operate = operate_, .recover = recover
#define KILLED .judge = the_living_go_on
#define STOPPED .meanwhile = both_try, .after = it_did_it, .refuses = true
#define MET .only_stops = true, .meanwhile = another_goes_in, .after = never_both, .refuses = true
#define RIVALS(meanwhile_) .only_stops = true, .meanwhile = meanwhile_, .after = one_of_them_is_in

const struct kill_op kill_shared_ops[] = {
    {OP("by-lock", LARGE, 0, two_others, be_shared, send_one), KILLED, .adds = 1, .both = true, .brief = true},
    {OP("by-lock-alone", SMALL, FAR, NULL, be_shared, send_one), KILLED, .adds = 1, .both = true},
    {OP("by-mark", LARGE, 0, two_others, be_biased, send_one), KILLED, .sends = 1, .adds = 1, .both = true,
     .brief = true},
    {OP("by-mark-slow", LARGE, FAR, two_others, be_biased_not_inline, send_one), KILLED, .sends = 1, .adds = 1,
     .both = true},
    {OP("by-mark-far", SMALL, FAR, two_others, be_biased, send_one), KILLED, .sends = 1, .adds = 1, .both = true},
    {OP("batch-by-mark", LARGE, 0, two_others, be_biased, send_batch), KILLED, .sends = 1, .adds = 4, .both = true,
     .brief = true},
    {OP("batch-by-lock", SMALL, FAR, two_others, be_shared, send_batch), KILLED, .adds = 4, .both = true},
    {OP("get-bias", LARGE, 0, two_others, be_about_to_be_biased, send_one), KILLED, .adds = 1, .both = true,
     .brief = true},
    {OP("get-bias-batch", SMALL, FAR, two_others, be_about_to_be_biased, send_batch), KILLED, .adds = 3, .both = true},
    {OP("take-bias-away", LARGE, 0, two_others_one_biased, be_shared, send_one), KILLED, .adds = 1, .both = true,
     .brief = true},
    {OP("take-bias-away-batch", LARGE, 0, two_others_one_biased, be_about_to_be_biased, send_batch), KILLED, .adds = 3,
     .both = true},
    {OP("wait-for-a-mark", LARGE, 0, two_others_one_inside, be_shared, send_one), KILLED, .adds = 1,
     .gives = LW_EWRITER},
    {OP("find-bias-lost", LARGE, 0, two_others, be_no_more_biased, send_one), KILLED, .sends = 1, .adds = 1,
     .both = true, .brief = true},
    {OP("take-over", LARGE, 0, a_dead_one_with_the_word, be_shared, send_one), KILLED, .adds = 1, .both = true,
     .brief = true},
    {OP("take-over-batch", SMALL, FAR, a_dead_one_with_the_word, be_shared, send_batch), KILLED, .adds = 3,
     .both = true},
    {OP("take-over-mark", LARGE, 0, a_dead_one_by_mark, be_shared, send_one), KILLED, .adds = 1, .both = true},
    {OP("join", LARGE, 0, NULL, be_nobody, join), KILLED, .brief = true},
    {OP("join-one-biased", LARGE, 0, two_others_one_biased, be_nobody, join), KILLED},
    {OP("leave-biased", LARGE, 0, two_others, be_biased, leave), KILLED, .sends = 1, .brief = true},
    {OP("leave", LARGE, 0, two_others, be_shared, leave), KILLED},
    {OP("leave-bias-lost", LARGE, 0, two_others, be_no_more_biased, leave), KILLED, .sends = 1},
    {OP("exclusive-after-a-dead-mark", LARGE, 0, only_a_dead_one_by_mark, be_nobody, take), KILLED, .brief = true},
    {OP("exclusive-take", LARGE, 0, NULL, be_nobody, take), KILLED},
    {OP("exclusive-leave", LARGE, 0, NULL, be_sole, leave), KILLED},
    /* stops */
    {OP("stopped-by-lock", LARGE, 0, two_others, be_shared, send_one), STOPPED, .only_stops = true, .adds = 1,
     .brief = true},
    {OP("stopped-by-mark", LARGE, 0, two_others, be_biased, send_one), STOPPED, .only_stops = true, .sends = 1,
     .adds = 1, .brief = true},
    {OP("stopped-by-mark-slow", LARGE, FAR, two_others, be_biased_not_inline, send_one), STOPPED, .only_stops = true,
     .sends = 1, .adds = 1},
    {OP("stopped-batch", LARGE, 0, two_others, be_biased, send_batch), STOPPED, .only_stops = true, .sends = 1,
     .adds = 3, .brief = true},
    {OP("stopped-get-bias", LARGE, FAR, two_others, be_about_to_be_biased, send_one), STOPPED, .only_stops = true,
     .adds = 1, .brief = true},
    {OP("stopped-take-bias-away", LARGE, 0, two_others_one_biased, be_shared, send_one), STOPPED, .only_stops = true,
     .adds = 1, .brief = true},
    {OP("stopped-find-bias-lost", LARGE, 0, two_others, be_no_more_biased, send_one), STOPPED, .only_stops = true,
     .sends = 1, .adds = 1, .brief = true},
    {OP("stopped-take-over", LARGE, 0, a_dead_one_with_the_word, be_shared, send_one), STOPPED, .only_stops = true,
     .adds = 1, .brief = true},
    {OP("stopped-take-over-mark", LARGE, 0, a_dead_one_by_mark, be_shared, send_one), STOPPED, .only_stops = true,
     .adds = 1},
    {OP("stopped-leave-biased", LARGE, 0, two_others, be_biased, leave), .only_stops = true, .meanwhile = both_try,
     .after = it_did_it, .sends = 1, .brief = true},
    {OP("stopped-leave", LARGE, 0, two_others, be_shared, leave), .only_stops = true, .meanwhile = both_try,
     .after = it_did_it},
    {OP("stopped-join", LARGE, 0, two_others, be_nobody, join), .only_stops = true, .meanwhile = both_try,
     .after = it_did_it},
    {OP("met-by-lock", LARGE, 0, two_others, be_shared, send_one), MET, .adds = 1, .brief = true},
    {OP("met-by-mark", LARGE, 0, two_others, be_biased, send_one), MET, .sends = 1, .adds = 1},
    {OP("met-take-bias-away", LARGE, 0, two_others_one_biased, be_shared, send_one), MET, .adds = 1, .brief = true},
    {OP("met-take-over", LARGE, 0, a_dead_one_with_the_word, be_shared, send_one), MET, .adds = 1, .brief = true},
    {OP("met-take-over-mark", LARGE, 0, a_dead_one_by_mark, be_shared, send_one), MET, .adds = 1},
    {OP("exclusive-meets-shared", LARGE, 0, NULL, be_nobody, take), RIVALS(a_shared_one_comes), .brief = true},
    {OP("shared-meets-exclusive", LARGE, 0, NULL, be_nobody, join), RIVALS(an_exclusive_one_comes), .brief = true},
    {OP("exclusive-meets-shared-after-a-death", LARGE, 0, only_a_dead_one_by_mark, be_nobody, take),
     RIVALS(a_shared_one_comes)},
    {OP("exclusive-meets-exclusive", LARGE, 0, NULL, be_nobody, take), RIVALS(an_exclusive_one_comes)},
    {.name = NULL}};

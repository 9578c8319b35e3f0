/* SPDX-License-Identifier: MIT */
/*
 * kill/lane_mirror.c - chunks that land in a mirror, copied as a socket would; and acknowledgements, which move the far
 * reader's place in the lane that they came from. Over sockets: far/... in link_ops.c.
 */
#include <inttypes.h>
#include <string.h>

#include "kill/kill.h"

enum { RING = 4096, CHUNK = 1024 };
#define FAR ((UINT64_C(1) << 62) - RING)

static struct scene {
    const struct kill_op *op;
    struct lw__writer w; /* the child's: of the mirror */
    uint64_t old, fresh; /* messages in it, before and after */
    uint64_t length, first;
    char chunk[CHUNK]; /* as it comes */
} s;

/* The same log twice; then `adds` messages and a batch that only the first one has: the chunk. */
static void write_log(struct lw__writer *w, uint64_t more) {
    const uint64_t lens[] = {9, 0, 33};
    uint64_t end = s.op->start + 2 * RING - s.op->before;
    while (w->tx.pos < end) {
        uint64_t left = end - w->tx.pos;
        T_NEED(t_send(w, (left <= 200 ? left : left < 300 ? 104 : 104 + w->tx.number % 3 * 16) - 8) >= 0);
    }
    for (uint64_t i = 0; i < more; i++) T_NEED(t_send(w, s.op->len + i) >= 0);
    if (more) T_NEED(t_send_batch(w, lens, 3) >= 0);
}

static void begin(const struct kill_op *op) {
    struct lw__lane_shape shape = {.ring = RING, .slots = 4, .start = op->start, .number = op->start ? T_NUMBER : 0};
    struct t_lane from = t_lane_make_shaped(&shape);
    struct lw__writer w;
    s = (struct scene){.op = op};
    kill_lanes_begin(&shape);
    t_write_as(&w, &kl.live.lane, KILL_BEFORE);
    write_log(&w, 0);
    uint64_t tail = w.tx.pos;
    s.old = w.tx.number;
    lw__writer_leave(&w);
    t_write_as(&w, &from.lane, KILL_BEFORE);
    write_log(&w, op->adds);
    s.fresh = w.tx.number;
    s.length = w.tx.pos - tail;
    T_NEED(s.length <= CHUNK);
    memcpy(s.chunk, from.lane.data + (tail & from.lane.mask), s.length); /* the ring is there twice */
    memcpy(&s.first, s.chunk, 8);
    t_lane_end(&from);
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static void be_mirror(void *arg) {
    kill_child_maps(arg);
    t_write_as(&s.w, &kl.mine, KILL_CHILD);
}

/* All but the first eight bytes; then those. */
static int64_t land_and_publish(struct lw__writer *w) {
    char *place = lw__mirror_land(w, s.length);
    if (!place) return LW_EFULL;
    memcpy(place + 8, s.chunk + 8, s.length - 8);
    return lw__mirror_publish(w, s.length, s.first);
}

static void land(void *arg) {
    (void)arg;
    *kl.result = land_and_publish(&s.w);
}

/* What is told to the other host: nobody may join any more in what it may write over. */
static void tell_window(void *arg) {
    (void)arg;
    *kl.result = (int64_t)lw__mirror_window(&s.w, s.w.tx.pos);
}

static void recover(void *arg) {
    struct lw__writer w;
    (void)arg;
    lw__lane_sweep(&kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners);
    T_NEED(!lw__writer_take(&w, &kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners));
    lw__mirror_window(&w, w.tx.pos);
    lw__writer_leave(&w);
}

/* ---- the judge --------------------------------------------------------------------------------------------------- */

/* All that is retained, up to message `end`. */
static const char *reads_to(struct lw__lane *lane, uint64_t end) {
    struct lw__reader r;
    if (lw__reader_take(&r, lane, t_owner(KILL_READER, LW__SLOT_RELIABLE), &t_owners)) return "no slot to read with";
    int rc = lw__reader_join(&r, LW_FROM_OLDEST, 0);
    const char *trouble = rc ? t_words("joining: %s", lw_errname(rc)) : kill_read(&r);
    if (!trouble && r.rx.number < end) trouble = kill_lost("it ends with %" PRIu64 ", not %" PRIu64, r.rx.number, end);
    if (!trouble && r.rx.number > end)
        trouble = kill_repeated("it ends with %" PRIu64 ", not %" PRIu64, r.rx.number, end);
    lw__reader_leave(&r);
    return trouble;
}

/* The next one is at the place that it is asked for, and lands the same chunk if that has not arrived. */
static const char *goes_on(struct lw__lane *lane, bool *done) {
    struct lw__writer heir;
    struct lw__place tail;
    if (lw__lane_tail(lane, &tail)) return "no tail";
    int rc = lw__writer_take(&heir, lane, t_owner(KILL_HEIR, 0), &t_owners);
    if (rc) return t_words("the heir is told %s", lw_errname(rc));
    *done = tail.number == s.fresh;
    if (heir.tx.number != tail.number || heir.tx.pos != tail.pos) return "the heir begins elsewhere";
    if (tail.number != s.old && tail.number != s.fresh) return t_words("%" PRIu64 " messages", tail.number);
    const char *trouble = reads_to(lane, tail.number);
    if (!trouble && !*done && land_and_publish(&heir) != (int64_t)(s.fresh - s.old)) trouble = "it does not land again";
    if (!trouble) trouble = reads_to(lane, s.fresh);
    if (!trouble) trouble = t_at_rest(lane, NULL);
    lw__writer_leave(&heir);
    return trouble;
}

static struct kill_verdict all_or_nothing_arrived(struct lw__lane *lane) {
    struct lw__lane_check check;
    bool done = false;
    const char *trouble = NULL;
    if (lw__lane_verify(lane, &check)) trouble = t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    if (!trouble) trouble = goes_on(lane, &done);
    return (struct kill_verdict){.trouble = trouble, .found = done ? KILL_DONE : KILL_UNDONE};
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

/* Readers have what had arrived, or all of it; nobody else is the mirror's writer. */
static const char *others_read(void) {
    struct lw__lane *lane = &kl.live.lane;
    struct lw__place tail;
    struct lw__writer w;
    if (lw__writer_take(&w, lane, t_owner(KILL_OTHER, 0), &t_owners) != LW_EWRITER) return "another one is the writer";
    lw__lane_sweep(lane, t_owner(KILL_OTHER, 0), &t_owners);
    if (lw__lane_tail(lane, &tail)) return "no tail";
    return reads_to(lane, tail.number);
}

static const char *it_did_it(void) {
    return *kl.result < 0 ? t_words("it is told %s", lw_errname((int)*kl.result)) : NULL;
}

#define OP(name_, operate_, start_, before_)                                                                           \
    .name = "mirror/" name_, .run = kill_lane, .begin = begin, .end = kill_lanes_end, .scene = &s,                     \
    .scene_size = sizeof s, .prepare = be_mirror, .operate = operate_, .recover = recover,                             \
    .judge = all_or_nothing_arrived, .meanwhile = others_read, .after = it_did_it, .start = start_, .before = before_, \
    .adds = 3, .len = 40

const struct kill_op kill_mirror_ops[] = {{OP("land", land, 0, 800), .both = true, .brief = true},
                                          {OP("land-over-the-end", land, FAR, 64), .both = true, .brief = true},
                                          {OP("land-at-the-end", land, 0, 8), .both = true},
                                          {OP("window", tell_window, FAR, 200)},
                                          {.name = NULL}};

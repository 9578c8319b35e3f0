/* SPDX-License-Identifier: MIT */
/*
 * kill/lane_sole.c - an exclusive writer, readers in place, durable places: the thing was done or it was not, once done it
 * stays done, and nothing else is different (pitfalls 6, 7 and 14).
 */
#include <inttypes.h>
#include <string.h>

#include "kill/kill.h"

enum { RING = 4096 };
#define FAR ((UINT64_C(1) << 62) - RING)

static struct scene {
    const struct kill_op *op;
    struct lw__writer w; /* the child's */
    struct lw__reader r;
    struct lw_msg msg;
    uint64_t number; /* messages before the operation, others' meanwhile included */
    uint64_t position;
    struct lw__place old, fresh; /* a reader's place before and after; fresh may be any place the lane has */
} s;

/* ---- what is there before ---------------------------------------------------------------------------------------- */

/* Messages up to a tail `before` bytes before the end of the ring, the last few not released by durable reader "d". */
static void write_some(uint64_t before) {
    struct lw__lane *lane = &kl.live.lane;
    struct lw__writer w;
    struct lw__reader d;
    uint64_t end = lane->id->start + 2 * RING - before;
    t_write_as(&w, lane, KILL_BEFORE);
    t_durable_as(&d, lane, KILL_BEFORE, "d", LW_FROM_NOW);
    while (w.tx.pos < end) {
        uint64_t left = end - w.tx.pos;
        T_NEED(t_send(&w, (left <= 200 ? left : left < 300 ? 104 : 104 + w.tx.number % 3 * 16) - 8) >= 0);
        if (left > 400) T_NEED(!t_drain(&d, NULL));
    }
    s.number = w.tx.number;
    s.position = d.rx.pos;
    lw__reader_leave(&d);
    lw__writer_leave(&w);
}

static void begin(const struct kill_op *op) {
    struct lw__lane_shape shape = {
        .ring = RING, .slots = op->slots, .start = op->start, .number = op->start ? T_NUMBER : 0};
    s = (struct scene){.op = op};
    kill_lanes_begin(&shape);
    t_owner_set(KILL_BEFORE, false);
    write_some(op->before);
}

/* What a death left: a batch that is committed, over a segment's edge, with tail and mark not moved yet. */
static void begin_with_a_batch(const struct kill_op *op) {
    const uint64_t lens[] = {70, 9, 200};
    struct lw__lane_ctl *ctl;
    struct lw__mark marks[LW__MARKS];
    struct lw__writer w;
    begin(op);
    ctl = kl.live.lane.ctl;
    t_write_as(&w, &kl.live.lane, KILL_BEFORE);
    struct lw__cursor tail = ctl->tail;
    memcpy(marks, ctl->marks, sizeof marks);
    T_NEED(t_send_batch(&w, lens, 3) >= 0);
    ctl->tail = tail;
    memcpy(ctl->marks, marks, sizeof marks);
    s.number += 3;
}

/* The child will have published these inline, so that the stored tail is behind by nearly a step. */
enum { BEHIND = RING / 64 / 8 - 1 };

static void begin_for_one_behind(const struct kill_op *op) {
    begin(op);
    s.number += BEHIND;
}

/* Where "d" is, and where it is after `adds` further messages. */
static void begin_with_places(const struct kill_op *op) {
    struct lw__reader r;
    struct lw_msg m;
    begin(op);
    T_NEED(lw__cursor_load(&lw__slot_find(&kl.live.lane, "d")->cursor, &s.old));
    t_read_as(&r, &kl.live.lane, KILL_HEIR, LW_FROM_POSITION, s.old.pos);
    for (unsigned i = 0; i < op->adds; i++) T_NEED(lw__reader_next(&r, &m) == 1);
    s.fresh = (struct lw__place){r.rx.pos, r.rx.number};
    lw__reader_leave(&r);
}

/* "d" seeks to one message on, to the oldest, or to the end. */
static void begin_seeking(const struct kill_op *op) {
    begin_with_places(op);
    if (op->from == LW_FROM_OLDEST) T_NEED(!lw__lane_oldest(&kl.live.lane, &s.fresh));
    if (op->from == LW_FROM_NOW) T_NEED(!lw__lane_tail(&kl.live.lane, &s.fresh));
}

/* A lane with this many slots all of which are free. */
static void begin_free(const struct kill_op *op) {
    begin(op);
    struct lw__slot *slot = lw__slot_find(&kl.live.lane, "d");
    lw__slot_free(slot, slot->owner, t_owner(KILL_HEIR, 0));
    kl.live.lane.ctl->slots_used = 0; /* as if nobody ever was there */
}

static void begin_with_a_dead_one(const struct kill_op *op) {
    struct lw__reader dead;
    begin_free(op);
    t_read_as(&dead, &kl.live.lane, KILL_BEFORE, LW_FROM_OLDEST, 0);
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static void be_writer(void *arg) {
    kill_child_maps(arg);
    t_write_as(&s.w, &kl.mine, KILL_CHILD);
}

static void be_writer_with_room(void *arg) {
    be_writer(arg);
    T_NEED(!lw__writer_room(&s.w, s.w.tx.pos + lw__record_size(s.op->len) + 8));
    lw__writer_abort(&s.w); /* so that the inline path knows */
}

static void be_writer_behind(void *arg) {
    be_writer(arg);
    T_NEED(!lw__writer_room(&s.w, s.w.tx.pos + 8 * BEHIND + RING / 2));
    lw__writer_abort(&s.w); /* so that the inline path knows */
    for (int i = 0; i < BEHIND; i++) T_NEED(t_send(&s.w, 0) >= 0);
    T_NEED(s.w.tx.pos - (kl.mine.ctl->tail.pos & ~UINT64_C(7)) == 8 * BEHIND);
}

static void send_one(void *arg) {
    (void)arg;
    *kl.result = t_send(&s.w, s.op->len);
}

static void send_short(void *arg) {
    (void)arg;
    *kl.result = t_send_in_place(&s.w, s.op->len + 50, s.op->len);
}

static void send_batch(void *arg) {
    uint64_t lens[T_BATCH_MAX];
    (void)arg;
    for (unsigned i = 0; i < s.op->adds; i++) lens[i] = s.op->len + i;
    *kl.result = t_send_batch(&s.w, lens, s.op->adds);
}

/* The largest there is. */
static void send_half_a_ring(void *arg) {
    const uint64_t lens[] = {RING / 4 - 24, RING / 4 - 24, 8};
    (void)arg;
    *kl.result = t_send_batch(&s.w, lens, s.op->adds);
}

static void stage_batch(void *arg) {
    uint64_t lens[T_BATCH_MAX];
    (void)arg;
    for (unsigned i = 0; i < s.op->adds; i++) lens[i] = s.op->len + i;
    *kl.result = t_stage_batch(&s.w, lens, s.op->adds);
}

static void fill_and_abort(void *arg) {
    void *data;
    (void)arg;
    T_NEED(!lw__writer_reserve(&s.w, &data, s.op->len));
    memset(data, 0xff, s.op->len);
    T_NEED(!lw__writer_stage(&s.w, 1, s.op->len));
    T_NEED(!lw__writer_reserve(&s.w, &data, s.op->len));
    memset(data, 0xff, s.op->len);
    lw__writer_abort(&s.w);
}

static void leave_writing(void *arg) {
    (void)arg;
    lw__writer_leave(&s.w);
}

static void take_over(void *arg) {
    (void)arg;
    *kl.result = lw__writer_take(&s.w, &kl.mine, t_owner(KILL_CHILD, 0), &t_owners);
}

static int inherit_as(struct lw__reader *r, struct lw__lane *lane, const char *name, unsigned id) {
    uint64_t holder;
    struct lw__slot *slot = lw__slot_find(lane, name);
    int rc = slot ? lw__slot_inherit(r, lane, slot, t_owner(id, LW__SLOT_DURABLE), &t_owners, &holder) : LW_ENOSLOT;
    return rc ? rc : lw__reader_resume(r);
}

static void inherit(void *arg) {
    (void)arg;
    *kl.result = inherit_as(&s.r, &kl.mine, "d", KILL_CHILD);
}

static void be_reader_of_d(void *arg) {
    kill_child_maps(arg);
    T_NEED(!inherit_as(&s.r, &kl.mine, "d", KILL_CHILD));
}

static void be_reader_with_messages(void *arg) {
    be_reader_of_d(arg);
    T_NEED(lw__reader_next(&s.r, &s.msg) == 1 && lw__reader_next(&s.r, &s.msg) == 1);
}

static void release_both(void *arg) {
    (void)arg;
    *kl.result = t_release(&s.r, &s.msg);
}

/* Handing out moves nothing: pitfall 15. */
static void take_two(void *arg) {
    (void)arg;
    T_NEED(t_next(&s.r, &s.msg) == 1 && t_next(&s.r, &s.msg) == 1);
}

static void leave_reading(void *arg) {
    (void)arg;
    lw__reader_leave(&s.r);
}

static void seek_there(void *arg) {
    (void)arg;
    *kl.result = lw__reader_seek(&s.r, LW_FROM_POSITION, s.fresh.pos, &t_owners);
}

static void join_unnamed(void *arg) {
    (void)arg;
    *kl.result = lw__reader_take(&s.r, &kl.mine, t_owner(KILL_CHILD, LW__SLOT_RELIABLE), &t_owners);
    if (!*kl.result) *kl.result = lw__reader_join(&s.r, s.op->from, s.position);
}

static void join_durable(void *arg) {
    join_unnamed(arg);
    if (!*kl.result) lw__slot_make_durable(&s.r, "new");
}

static void be_unnamed(void *arg) {
    kill_child_maps(arg);
    t_read_as(&s.r, &kl.mine, KILL_CHILD, LW_FROM_OLDEST, 0);
}

static void sweep(void *arg) {
    (void)arg;
    lw__lane_sweep(&kl.mine, t_owner(KILL_CHILD, 0), &t_owners);
}

/* ---- who recovers ------------------------------------------------------------------------------------------------ */

static void look_in(const char *name) {
    struct lw__reader r;
    struct lw_msg m;
    if (inherit_as(&r, &kl.mine, name, KILL_RECOVERER)) return;
    t_next(&r, &m);
    lw__reader_leave(&r);
}

/* A whole life, without publishing or releasing anything. */
static void recover(void *arg) {
    struct lw__writer w;
    (void)arg;
    lw__lane_sweep(&kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners);
    look_in("d");
    look_in("new");
    T_NEED(!lw__writer_take(&w, &kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners));
    lw__writer_leave(&w);
}

/* ---- the judge --------------------------------------------------------------------------------------------------- */

static struct kill_verdict wrong(const char *trouble) {
    return (struct kill_verdict){.trouble = trouble};
}

static struct kill_verdict right(bool done) {
    return (struct kill_verdict){.found = done ? KILL_DONE : KILL_UNDONE};
}

static const char *verify(const struct lw__lane *lane) {
    struct lw__lane_check check;
    if (!lw__lane_verify(lane, &check)) return NULL;
    return t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
}

/* Everything that the named one has not released; then the name is forgotten. */
static const char *read_rest_of(struct lw__lane *lane, const char *name, uint64_t *number) {
    struct lw__reader d;
    int rc = inherit_as(&d, lane, name, KILL_HEIR);
    if (rc) return t_words("durable reader %s can not go on: %s", name, lw_errname(rc));
    const char *trouble = kill_read(&d);
    *number = d.rx.number;
    lw__slot_free(d.slot, t_owner(KILL_HEIR, LW__SLOT_DURABLE), t_owner(KILL_HEIR, 0));
    return trouble;
}

static struct kill_verdict all_or_nothing_was_published(struct lw__lane *lane) {
    uint64_t number, found = 0, end = s.number + s.op->adds;
    const char *trouble = verify(lane);
    if (!trouble) trouble = read_rest_of(lane, "d", &found);
    if (!trouble && found < s.number) trouble = kill_lost("%" PRIu64 " messages, not %" PRIu64, found, s.number);
    if (!trouble && found != s.number && found != end) trouble = t_words("%" PRIu64 " messages", found);
    if (trouble) return wrong(trouble);
    lw__lane_sweep(lane, t_owner(KILL_HEIR, 0), &t_owners);
    trouble = t_goes_on(lane, KILL_HEIR, found, found, &number);
    return trouble ? wrong(trouble) : right(found != s.number);
}

static const char *only_has(struct lw__lane *lane, const struct lw__slot *slot) {
    lw__lane_sweep(lane, t_owner(KILL_HEIR, 0), &t_owners);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner && &lane->slots[i] != slot) return t_words("slot %u was left behind", i);
    return NULL;
}

/* "d" is at its old place or at the new one, and everything from there on comes. */
static struct kill_verdict old_place_or_new(struct lw__lane *lane) {
    struct lw__place place;
    uint64_t number, found = 0;
    const char *trouble = verify(lane);
    const struct lw__slot *slot = lw__slot_find(lane, "d");
    if (trouble) return wrong(trouble);
    if (!slot || !lw__cursor_load(&slot->cursor, &place)) return wrong(kill_lost("the durable reader is gone"));
    bool is_old = place.pos == s.old.pos && place.number == s.old.number;
    bool is_new = place.pos == s.fresh.pos && place.number == s.fresh.number;
    if (!is_old && !is_new) return wrong(t_words("at %" PRIu64, place.pos));
    trouble = only_has(lane, slot);
    if (!trouble) trouble = read_rest_of(lane, "d", &found);
    if (!trouble && found != s.number) trouble = kill_lost("%" PRIu64 " messages, not %" PRIu64, found, s.number);
    if (!trouble) trouble = t_goes_on(lane, KILL_HEIR, found, found, &number);
    return trouble ? wrong(trouble) : right(is_new && !is_old);
}

/* Nothing is left of it but the durable place "new", if that is there at all; and the next one gets the slot. */
static struct kill_verdict nobody_or_whole(struct lw__lane *lane) {
    uint64_t number, found;
    const char *trouble = verify(lane);
    if (trouble) return wrong(trouble);
    const struct lw__slot *slot = lw__slot_find(lane, "new");
    trouble = only_has(lane, slot);
    if (!trouble && slot) trouble = read_rest_of(lane, "new", &found);
    if (!trouble) trouble = t_goes_on(lane, KILL_HEIR, s.number, s.number, &number);
    return trouble ? wrong(trouble) : right(slot);
}

/* ---- while it is stopped ----------------------------------------------------------------------------------------- */

/* It gets in, or is told that it is the child who has the lane. */
static const char *another_publishes(struct lw__lane *lane) {
    struct lw__writer w;
    int rc = lw__writer_take(&w, lane, t_owner(KILL_OTHER, 0), &t_owners);
    if (rc == LW_EWRITER) return w.holder >> 32 == KILL_CHILD ? NULL : "the wrong one is said to be the writer";
    if (rc) return t_words("an exclusive writer is told %s", lw_errname(rc));
    s.number = w.tx.number + (!s.op->steady && t_send(&w, 8) >= 0);
    lw__writer_leave(&w);
    return NULL;
}

static const char *another_reads(struct lw__lane *lane) {
    struct lw__reader r;
    int rc = lw__reader_take(&r, lane, t_owner(KILL_OTHER, LW__SLOT_RELIABLE), &t_owners);
    if (rc == LW_ENOSLOT) return NULL;
    if (!rc) rc = lw__reader_join(&r, LW_FROM_OLDEST, 0);
    const char *trouble = rc ? t_words("a reader is told %s", lw_errname(rc)) : kill_read(&r);
    if (!trouble && r.rx.number < s.number) trouble = kill_lost("a reader gets no further than %" PRIu64, r.rx.number);
    lw__reader_leave(&r);
    return trouble;
}

static const char *others_go_on(void) {
    struct lw__lane *lane = &kl.live.lane;
    struct lw__reader d;
    struct lw__slot *slot = lw__slot_find(lane, "d");
    if (slot && slot->owner >> 32 == KILL_CHILD && inherit_as(&d, lane, "d", KILL_OTHER) != LW_EHELD)
        return "the place of one that is stopped was given away";
    lw__lane_sweep(lane, t_owner(KILL_OTHER, 0), &t_owners);
    const char *trouble = another_publishes(lane);
    return trouble ? trouble : another_reads(lane);
}

static const char *it_did_it(void) {
    return *kl.result < 0 && *kl.result != LW_EWRITER
               ? t_words("the stopped one is told %s", lw_errname((int)*kl.result))
               : NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

#define OP(name_, begin_, prepare_, operate_, judge_)                                                                  \
    .name = "lane/" name_, .run = kill_lane, .begin = begin_, .end = kill_lanes_end, .prepare = prepare_,              \
    .operate = operate_, .recover = recover, .judge = judge_, .meanwhile = others_go_on, .after = it_did_it,           \
    .scene = &s, .scene_size = sizeof s
#define PUBLISH(name_, prepare_, operate_)                                                                             \
    OP("publish-" name_, begin, prepare_, operate_, all_or_nothing_was_published), .slots = 3
#define PLACE(name_, begin_, prepare_, operate_) OP(name_, begin_, prepare_, operate_, old_place_or_new), .before = 64
#define COME(name_, begin_, prepare_, operate_) OP(name_, begin_, prepare_, operate_, nobody_or_whole), .before = 64

const struct kill_op kill_sole_ops[] = {
    {PUBLISH("inline", be_writer_with_room, send_one), .before = 128, .len = 3, .adds = 1, .both = true, .brief = true},
    {PUBLISH("slow", be_writer, send_one), .before = 128, .adds = 1, .both = true},
    {PUBLISH("into-next-segment", be_writer, send_one), .start = FAR, .before = 128, .len = 60, .adds = 1,
     .both = true},
    {PUBLISH("over-the-end", be_writer_with_room, send_one), .before = 8, .len = 100, .adds = 1, .both = true},
    {PUBLISH("zero-in-next-lap", be_writer, send_one), .start = FAR, .before = 64, .len = 48, .adds = 1, .both = true},
    {PUBLISH("to-the-end", be_writer, send_one), .before = 64, .len = 56, .adds = 1, .both = true},
    {PUBLISH("reserved", be_writer, send_short), .before = 128, .len = 3, .adds = 1, .both = true, .brief = true},
    {PUBLISH("reserved-over-the-end", be_writer_with_room, send_short), .start = FAR, .before = 40, .len = 40,
     .adds = 1, .both = true},
    {PUBLISH("reserved-empty", be_writer_with_room, send_short), .before = 200, .adds = 1, .both = true},
    {PUBLISH("aborted", be_writer, fill_and_abort), .before = 800, .len = 30},
    {PUBLISH("batch", be_writer, send_batch), .before = 128, .len = 3, .adds = 3, .both = true, .brief = true},
    {PUBLISH("batch-staged", be_writer, stage_batch), .start = FAR, .before = 128, .len = 3, .adds = 3, .both = true},
    {PUBLISH("batch-staged-over-the-end", be_writer, stage_batch), .before = 16, .len = 20, .adds = 5, .both = true},
    {PUBLISH("batch-over-the-end", be_writer, send_batch), .start = FAR, .before = 48, .len = 20, .adds = 4,
     .both = true},
    {OP("publish-half-a-ring-behind", begin_for_one_behind, be_writer_behind, send_half_a_ring,
        all_or_nothing_was_published),
     .slots = 3, .before = 128, .adds = 3, .both = true},
    {PUBLISH("leave", be_writer, leave_writing), .before = 128, .len = 3, .brief = true},
    {OP("take-over-a-batch", begin_with_a_batch, kill_child_maps, take_over, all_or_nothing_was_published), .slots = 3,
     .before = 128, .brief = true},
    {OP("take-over-a-batch-far", begin_with_a_batch, kill_child_maps, take_over, all_or_nothing_was_published),
     .slots = 3, .start = FAR, .before = 128},
    {PLACE("release", begin_with_places, be_reader_with_messages, release_both), .slots = 3, .adds = 2, .both = true,
     .brief = true},
    {PLACE("release-far", begin_with_places, be_reader_with_messages, release_both), .slots = 3, .start = FAR,
     .adds = 2, .both = true},
    {PLACE("peek", begin_with_places, be_reader_of_d, take_two), .slots = 3, .brief = true},
    {PLACE("durable-leave", begin_with_places, be_reader_of_d, leave_reading), .slots = 3, .brief = true},
    {PLACE("durable-inherit", begin_with_places, kill_child_maps, inherit), .slots = 3, .brief = true},
    {PLACE("seek-oldest", begin_seeking, be_reader_of_d, seek_there), .slots = 4, .adds = 1, .from = LW_FROM_OLDEST,
     .both = true, .steady = true, .brief = true},
    {PLACE("seek-position", begin_seeking, be_reader_of_d, seek_there), .slots = 4, .start = FAR, .adds = 1,
     .from = LW_FROM_POSITION, .both = true, .steady = true},
    {PLACE("seek-now", begin_seeking, be_reader_of_d, seek_there), .slots = 4, .start = FAR, .adds = 1,
     .from = LW_FROM_NOW, .both = true, .steady = true},
    {COME("join-now", begin_free, kill_child_maps, join_unnamed), .slots = 1, .from = LW_FROM_NOW, .brief = true},
    {COME("join-now-of-two", begin_free, kill_child_maps, join_unnamed), .slots = 2, .from = LW_FROM_NOW},
    {COME("join-oldest", begin_free, kill_child_maps, join_unnamed), .slots = 1, .from = LW_FROM_OLDEST},
    {COME("join-oldest-of-two", begin_free, kill_child_maps, join_unnamed), .slots = 2, .from = LW_FROM_OLDEST},
    {COME("join-position", begin_free, kill_child_maps, join_unnamed), .slots = 1, .from = LW_FROM_POSITION},
    {COME("join-position-of-two", begin_free, kill_child_maps, join_unnamed), .slots = 2, .from = LW_FROM_POSITION},
    {COME("join-for-good", begin_free, kill_child_maps, join_durable), .slots = 2, .from = LW_FROM_OLDEST, .both = true,
     .brief = true},
    {COME("join-for-good-last-slot", begin_free, kill_child_maps, join_durable), .slots = 1, .from = LW_FROM_OLDEST,
     .both = true},
    {COME("leave-reading", begin_free, be_unnamed, leave_reading), .slots = 1, .brief = true},
    {COME("sweep", begin_with_a_dead_one, kill_child_maps, sweep), .slots = 2, .brief = true},
    {.name = NULL}};

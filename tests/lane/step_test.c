/* SPDX-License-Identifier: MIT */
/*
 * lane/step_test.c - death at every instruction. A child does one thing to a lane, an instruction at a time; whenever
 * the file has changed it is copied, and the copy is what a kill at that moment would leave. Somebody else goes on with
 * the copy: the thing was done or it was not, once done it stays done, and nothing else is different (pitfalls 6, 7 and
 * 14).
 */
#include <string.h>

#include "util/lane_util.h"
#include "util/step.h"

enum { CHILD = 1, BEFORE = 2, AFTER = 3, HEIR = 4, RING = 4096 };

/* Who does what; in the child and here. */
static struct scene {
    struct t_lane live, copy;
    struct lw__lane mine; /* the child's mapping */
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg msg;
    uint64_t number; /* messages before the operation */
    unsigned adds;   /* messages that it publishes */
    unsigned crowd;  /* batch: this many */
    uint64_t len, position;
    struct lw__place old, fresh; /* a reader's place before and after; fresh may be any place the lane has */
    uint64_t seen_old, seen_new; /* how often it was found not done, done */
} s;

/* Under sanitizers every operation has many times the instructions: one case of each kind must do. */
static bool in_short(void) {
    return t_loops(20) == 1;
}

static void scene_begin(uint32_t slots, uint64_t start) {
    s = (struct scene){.live = t_lane_make(RING, slots, start), .copy = t_lane_make(RING, slots, start)};
    t_owner_set(CHILD, false);
    t_owner_set(BEFORE, false);
}

static void scene_end(void) {
    t_lane_end(&s.live);
    t_lane_end(&s.copy);
    t_owner_set(CHILD, true);
    t_owner_set(BEFORE, true);
}

static void find_out(const char *(*check)(void), const struct t_step *step) {
    memcpy(s.copy.lane.base, s.live.lane.base, s.live.size);
    uint64_t done_before = s.seen_new;
    const char *trouble = check();
    if (!trouble && done_before && s.seen_new == done_before) trouble = "what was done is undone";
    if (trouble) fail_msg("death after %llu instructions: %s", (unsigned long long)step->steps, trouble);
}

/* All the deaths of one operation. */
static void each_death(void (*prepare)(void *), void (*operate)(void *), const char *(*check)(void)) {
    struct t_step step = t_step_begin(prepare, operate, NULL);
    char *last = t_lane_save(&s.live);
    find_out(check, &step);
    while (t_step_on(&step)) {
        if (memcmp(s.live.lane.base, last, s.live.size) == 0) continue;
        memcpy(last, s.live.lane.base, s.live.size);
        find_out(check, &step);
    }
    find_out(check, &step);
    t_step_end(&step);
    free(last);
}

static void as_child(void) {
    s.mine = t_lane_map(&s.live, LW__WRITE);
}

/* Done or not done, told by something that is one of two. */
static const char *count_outcome(bool done) {
    ++*(done ? &s.seen_new : &s.seen_old);
    return NULL;
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

/* Messages up to a tail `before` bytes before the end of the ring, the last few not released by durable reader "d". */
static void write_some(uint64_t before) {
    struct lw__writer w;
    struct lw__reader d;
    uint64_t end = s.live.lane.id->start + 2 * RING - before;
    t_write_as(&w, &s.live.lane, BEFORE);
    t_durable_as(&d, &s.live.lane, BEFORE, "d", LW_FROM_NOW);
    while (w.tx.pos < end) {
        uint64_t left = end - w.tx.pos;
        assert_ok(t_send(&w, (left <= 200 ? left : left < 300 ? 104 : 104 + w.tx.number % 3 * 16) - 8));
        if (left > 400) T_SOUND(t_drain(&d, NULL));
    }
    s.number = w.tx.number;
    s.position = d.rx.pos;
    lw__reader_leave(&d);
    lw__writer_leave(&w);
}

static const char *read_what_d_has_not(uint64_t *number) {
    struct lw__reader d;
    uint64_t holder;
    struct lw__lane *lane = &s.copy.lane;
    struct lw__slot *slot = lw__slot_find(lane, "d");
    if (!slot) return "the durable reader is gone";
    if (lw__slot_inherit(&d, lane, slot, t_owner(HEIR, LW__SLOT_DURABLE), &t_owners, &holder)) return "not inherited";
    if (lw__reader_resume(&d)) return "the durable reader can not go on";
    const char *trouble = t_drain(&d, NULL);
    *number = d.rx.number;
    lw__slot_free(slot, t_owner(HEIR, LW__SLOT_DURABLE), t_owner(HEIR, 0));
    return trouble;
}

static const char *all_or_nothing_was_published(void) {
    struct lw__lane_check check;
    struct lw__lane *lane = &s.copy.lane;
    uint64_t number, found;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %llu: %s", (unsigned long long)check.bad, check.what);
    const char *trouble = read_what_d_has_not(&found);
    if (trouble) return trouble;
    if (found != s.number && found != s.number + s.adds) return t_words("%llu messages", (unsigned long long)found);
    lw__lane_sweep(lane, t_owner(HEIR, 0), &t_owners);
    trouble = t_goes_on(lane, HEIR, found, found, &number);
    return trouble ? trouble : count_outcome(found != s.number);
}

static void be_writer(void *arg) {
    (void)arg;
    as_child();
    t_write_as(&s.w, &s.mine, CHILD);
}

static void be_writer_with_room(void *arg) {
    be_writer(arg);
    T_NEED(!lw__writer_room(&s.w, s.w.tx.pos + lw__record_size(s.len) + 8));
    lw__writer_abort(&s.w); /* so that the inline path knows */
}

static void send_one(void *arg) {
    (void)arg;
    T_NEED(t_send(&s.w, s.len) >= 0);
}

static void send_short(void *arg) {
    (void)arg;
    T_NEED(t_send_in_place(&s.w, s.len + 50, s.len) >= 0);
}

static void send_batch(void *arg) {
    uint64_t lens[T_BATCH_MAX];
    (void)arg;
    for (unsigned i = 0; i < s.crowd; i++) lens[i] = s.len + i;
    T_NEED(t_send_batch(&s.w, lens, s.crowd) >= 0);
}

static void stage_batch(void *arg) {
    uint64_t lens[T_BATCH_MAX];
    (void)arg;
    for (unsigned i = 0; i < s.crowd; i++) lens[i] = s.len + i;
    T_NEED(t_stage_batch(&s.w, lens, s.crowd) >= 0);
}

static void fill_and_abort(void *arg) {
    void *data;
    (void)arg;
    T_NEED(!lw__writer_reserve(&s.w, &data, s.len));
    memset(data, 0xff, s.len);
    T_NEED(!lw__writer_stage(&s.w, 1, s.len));
    T_NEED(!lw__writer_reserve(&s.w, &data, s.len));
    memset(data, 0xff, s.len);
    lw__writer_abort(&s.w);
}

static void leave_writing(void *arg) {
    (void)arg;
    lw__writer_leave(&s.w);
}

static void publish(uint64_t start, uint64_t before, uint64_t len, unsigned adds, void (*prepare)(void *),
                    void (*operate)(void *)) {
    scene_begin(2, start);
    s.len = len;
    s.adds = s.crowd = adds;
    write_some(before);
    each_death(prepare, operate, all_or_nothing_was_published);
    assert_true(s.seen_old && (s.seen_new || !adds));
    scene_end();
}

#define FAR ((UINT64_C(1) << 62) - RING)

static void death_while_a_message_is_sent(void **state) {
    (void)state;
    t_need_ptrace();
    publish(0, 128, 3, 1, be_writer_with_room, send_one); /* inline */
    if (in_short()) return;
    publish(0, 128, 0, 1, be_writer, send_one);
    publish(FAR, 128, 60, 1, be_writer, send_one);        /* gains room, ends in the next segment */
    publish(0, 8, 100, 1, be_writer_with_room, send_one); /* over the end of the ring */
    publish(FAR, 64, 56 - 8, 1, be_writer, send_one);     /* the zero is the first word of the next lap */
    publish(0, 64, 56, 1, be_writer, send_one);           /* ends where the ring ends */
}

static void death_while_a_reservation_is_committed(void **state) {
    (void)state;
    t_need_ptrace();
    publish(0, 128, 3, 1, be_writer, send_short);
    if (in_short()) return;
    publish(FAR, 40, 40, 1, be_writer_with_room, send_short);
    publish(0, 200, 0, 1, be_writer_with_room, send_short);
    publish(0, 100 * 8, 30, 0, be_writer, fill_and_abort);
}

static void death_while_a_batch_is_published(void **state) {
    (void)state;
    t_need_ptrace();
    publish(0, 128, 3, 3, be_writer, send_batch);
    if (in_short()) return;
    publish(FAR, 128, 3, 3, be_writer, stage_batch);
    publish(0, 16, 20, 5, be_writer, stage_batch);
    publish(FAR, 48, 20, 4, be_writer, send_batch);
}

static void death_while_leaving(void **state) {
    (void)state;
    t_need_ptrace();
    publish(0, 128, 3, 0, be_writer, leave_writing);
}

/* ---- taking over ------------------------------------------------------------------------------------------------- */

static void be_nobody(void *arg) {
    (void)arg;
    as_child();
}

static void take_over(void *arg) {
    (void)arg;
    t_write_as(&s.w, &s.mine, CHILD);
}

/* What a death left: a batch that is committed, over a segment's edge, with tail and mark not moved yet. */
static void death_during_recovery(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t starts[] = {0, FAR};
    for (int i = 0; i < (in_short() ? 1 : 2); i++) {
        struct lw__writer w;
        const uint64_t lens[] = {70, 9, 200};
        scene_begin(2, starts[i]);
        write_some(128);
        t_write_as(&w, &s.live.lane, BEFORE);
        struct lw__cursor tail = s.live.lane.ctl->tail;
        struct lw__mark marks[LW__MARKS];
        memcpy(marks, s.live.lane.ctl->marks, sizeof marks);
        assert_ok(t_send_batch(&w, lens, 3));
        s.live.lane.ctl->tail = tail;
        memcpy(s.live.lane.ctl->marks, marks, sizeof marks);
        s.number += 3;
        each_death(be_nobody, take_over, all_or_nothing_was_published);
        scene_end();
    }
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

/* After a death durable reader "d" is at its old place or at the new one, and everything from there on comes. */
static const char *old_place_or_new(void) {
    struct lw__place place;
    struct lw__lane *lane = &s.copy.lane;
    struct lw__lane_check check;
    uint64_t number, found;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %llu: %s", (unsigned long long)check.bad, check.what);
    struct lw__slot *slot = lw__slot_find(lane, "d");
    if (!slot || !lw__cursor_load(&slot->cursor, &place)) return "the durable reader is gone";
    bool is_old = place.pos == s.old.pos && place.number == s.old.number;
    bool is_new = place.pos == s.fresh.pos && place.number == s.fresh.number;
    if (!is_old && !is_new) return t_words("at %llu", (unsigned long long)place.pos);
    lw__lane_sweep(lane, t_owner(HEIR, 0), &t_owners);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner && &lane->slots[i] != slot) return "a slot was left behind";
    const char *trouble = read_what_d_has_not(&found);
    if (trouble) return trouble;
    if (found != s.number) return "messages are missing";
    trouble = t_goes_on(lane, HEIR, found, found, &number);
    return trouble ? trouble : count_outcome(is_new && !is_old);
}

static void be_reader_of_d(void *arg) {
    uint64_t holder;
    (void)arg;
    as_child();
    struct lw__slot *slot = lw__slot_find(&s.mine, "d");
    T_NEED(!lw__slot_inherit(&s.r, &s.mine, slot, t_owner(CHILD, LW__SLOT_DURABLE), &t_owners, &holder));
    T_NEED(!lw__reader_resume(&s.r));
}

static void be_reader_with_messages(void *arg) {
    be_reader_of_d(arg);
    T_NEED(lw__reader_next(&s.r, &s.msg) == 1 && lw__reader_next(&s.r, &s.msg) == 1);
}

/* Where "d" is, and where it is after `more` further messages. */
static void note_places(unsigned more) {
    struct lw__reader r;
    struct lw_msg m;
    assert_true(lw__cursor_load(&lw__slot_find(&s.live.lane, "d")->cursor, &s.old));
    t_read_as(&r, &s.live.lane, HEIR, LW_FROM_POSITION, s.old.pos);
    while (more--) assert_int_equal(lw__reader_next(&r, &m), 1);
    s.fresh = (struct lw__place){r.rx.pos, r.rx.number};
    lw__reader_leave(&r);
}

static void release_both(void *arg) {
    (void)arg;
    T_NEED(!t_release(&s.r, &s.msg));
}

static void death_while_releasing(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t starts[] = {0, FAR};
    for (int i = 0; i < (in_short() ? 1 : 2); i++) {
        scene_begin(2, starts[i]);
        write_some(64);
        note_places(2);
        each_death(be_reader_with_messages, release_both, old_place_or_new);
        assert_true(s.seen_old && s.seen_new);
        scene_end();
    }
}

/* Handing out moves nothing: pitfall 15. */
static void take_two(void *arg) {
    (void)arg;
    T_NEED(t_next(&s.r, &s.msg) == 1 && t_next(&s.r, &s.msg) == 1);
}

static void death_while_reading_moves_nothing(void **state) {
    (void)state;
    t_need_ptrace();
    scene_begin(2, 0);
    write_some(64);
    note_places(0);
    each_death(be_reader_of_d, take_two, old_place_or_new);
    scene_end();
}

static void leave_reading(void *arg) {
    (void)arg;
    lw__reader_leave(&s.r);
}

static void inherit(void *arg) {
    uint64_t holder;
    (void)arg;
    struct lw__slot *slot = lw__slot_find(&s.mine, "d");
    T_NEED(!lw__slot_inherit(&s.r, &s.mine, slot, t_owner(CHILD, LW__SLOT_DURABLE), &t_owners, &holder));
    T_NEED(!lw__reader_resume(&s.r));
}

static void death_while_a_durable_place_changes_hands(void **state) {
    (void)state;
    t_need_ptrace();
    scene_begin(2, 0);
    write_some(64);
    note_places(0);
    each_death(be_reader_of_d, leave_reading, old_place_or_new);
    each_death(be_nobody, inherit, old_place_or_new);
    scene_end();
}

static void seek_there(void *arg) {
    (void)arg;
    T_NEED(!lw__reader_seek(&s.r, LW_FROM_POSITION, s.fresh.pos, &t_owners));
}

static void seek_between(enum lw_from from, bool back) {
    struct lw__place oldest, tail;
    scene_begin(3, back ? 0 : FAR);
    write_some(64);
    note_places(1);
    T_SOUND(t_at_rest(&s.live.lane, &tail));
    assert_int_equal(lw__lane_oldest(&s.live.lane, &oldest), 0);
    if (back) s.fresh = oldest;
    if (from == LW_FROM_NOW) s.fresh = tail;
    assert_true(back == (s.fresh.pos < s.old.pos));
    each_death(be_reader_of_d, seek_there, old_place_or_new);
    assert_true(s.seen_old && s.seen_new);
    scene_end();
}

static void death_while_seeking(void **state) {
    (void)state;
    t_need_ptrace();
    seek_between(LW_FROM_OLDEST, true);
    if (in_short()) return;
    seek_between(LW_FROM_POSITION, false);
    seek_between(LW_FROM_NOW, false);
}

/* ---- readers that come and go ------------------------------------------------------------------------------------ */

static enum lw_from join_from;

static void join_unnamed(void *arg) {
    (void)arg;
    t_read_as(&s.r, &s.mine, CHILD, join_from, s.position);
}

static void join_durable(void *arg) {
    (void)arg;
    t_durable_as(&s.r, &s.mine, CHILD, "new", join_from);
}

/* Nothing is left of it but the durable place "new", if that is there at all; and the next one gets the slot. */
static const char *nobody_or_whole(void) {
    struct lw__lane *lane = &s.copy.lane;
    struct lw__lane_check check;
    struct lw__reader r;
    uint64_t number, holder;
    const char *trouble = NULL;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %llu: %s", (unsigned long long)check.bad, check.what);
    lw__lane_sweep(lane, t_owner(HEIR, 0), &t_owners);
    struct lw__slot *slot = lw__slot_find(lane, "new");
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner && &lane->slots[i] != slot) return "a slot was left behind";
    if (slot) {
        if (lw__slot_inherit(&r, lane, slot, t_owner(HEIR, LW__SLOT_DURABLE), &t_owners, &holder))
            return "not inherited";
        if (lw__reader_resume(&r)) return "it can not go on";
        if ((trouble = t_drain(&r, NULL))) return trouble;
        lw__slot_free(slot, t_owner(HEIR, LW__SLOT_DURABLE), t_owner(HEIR, 0));
    }
    trouble = t_goes_on(lane, HEIR, s.number, s.number, &number);
    return trouble ? trouble : count_outcome(slot);
}

/* In a lane with this many slots all of which are free. */
static void free_lane(uint32_t slots) {
    scene_begin(slots, 0);
    write_some(64);
    struct lw__slot *slot = lw__slot_find(&s.live.lane, "d");
    lw__slot_free(slot, slot->owner, t_owner(HEIR, 0));
    s.live.lane.ctl->slots_used = 0; /* as if nobody ever was there */
}

static void death_while_joining(void **state) {
    (void)state;
    t_need_ptrace();
    for (join_from = LW_FROM_NOW; join_from <= (in_short() ? LW_FROM_NOW : LW_FROM_POSITION); join_from++)
        for (uint32_t slots = 1; slots <= 2; slots++) {
            free_lane(slots);
            each_death(be_nobody, join_unnamed, nobody_or_whole);
            scene_end();
        }
}

static void death_while_joining_for_good(void **state) {
    (void)state;
    t_need_ptrace();
    join_from = LW_FROM_OLDEST;
    free_lane(1);
    each_death(be_nobody, join_durable, nobody_or_whole);
    assert_true(s.seen_old && s.seen_new);
    scene_end();
}

static void be_unnamed(void *arg) {
    be_nobody(arg);
    join_unnamed(arg);
}

static void sweep(void *arg) {
    (void)arg;
    T_NEED(lw__lane_sweep(&s.mine, t_owner(CHILD, 0), &t_owners) == 1);
}

static void death_while_leaving_or_sweeping(void **state) {
    (void)state;
    t_need_ptrace();
    join_from = LW_FROM_OLDEST;
    free_lane(1);
    each_death(be_unnamed, leave_reading, nobody_or_whole);
    scene_end();
    free_lane(2);
    struct lw__reader dead;
    t_read_as(&dead, &s.live.lane, BEFORE, LW_FROM_OLDEST, 0);
    each_death(be_nobody, sweep, nobody_or_whole);
    scene_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(death_while_a_message_is_sent),
        t_test(death_while_a_reservation_is_committed),
        t_test(death_while_a_batch_is_published),
        t_test(death_while_leaving),
        t_test(death_during_recovery),
        t_test(death_while_releasing),
        t_test(death_while_reading_moves_nothing),
        t_test(death_while_a_durable_place_changes_hands),
        t_test(death_while_seeking),
        t_test(death_while_joining),
        t_test(death_while_joining_for_good),
        t_test(death_while_leaving_or_sweeping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

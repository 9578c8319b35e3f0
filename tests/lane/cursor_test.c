/* SPDX-License-Identifier: MIT */
/*
 * lane/cursor_test.c - positions that others move: a position and its number always belong together (pitfall 6), the
 * end of the log is found over whatever a death left, and no content of a file makes a walk endless (pitfall 8).
 */
#include <pthread.h>
#include <string.h>

#include "util/lane_util.h"

/* Puts a record there by hand, as a writer would that knows no rules. Returns its end. */
static uint64_t put(const struct lw__lane *lane, uint64_t pos, uint64_t len, uint64_t flags) {
    uint64_t *word = (uint64_t *)(void *)(lane->data + (pos & lane->mask));
    *word = lw__header(len, 5, flags);
    return pos + lw__record_size(len);
}

static void tail_is(const struct lw__lane *lane, uint64_t pos, uint64_t number) {
    struct lw__place place;
    assert_int_equal(lw__lane_tail(lane, &place), 0);
    assert_int_equal(place.pos, pos);
    assert_int_equal(place.number, number);
}

/* ---- a cursor ---------------------------------------------------------------------------------------------------- */

static void pitfall_6_one_store_moves_position_and_number(void **state) {
    (void)state;
    struct lw__cursor c = {.pos = 800, .number = {100, 0}}, half;
    struct lw__place place;
    for (uint64_t i = 101; i < 110; i++) {
        half = c;
        half.number[~half.pos & 1] = i; /* died before the deciding store: still the old pair */
        assert_true(lw__cursor_load(&half, &place));
        assert_true(place.pos == (i - 1) * 8 && place.number == i - 1);
        lw__cursor_store(&c, i * 8, i);
        assert_true(lw__cursor_load(&c, &place));
        assert_true(place.pos == i * 8 && place.number == i);
    }
    c.pos = LW__NOWHERE;
    assert_true(lw__cursor_load(&c, &place));
    assert_true(place.pos == LW__NOWHERE);
    lw__cursor_store(&c, UINT64_C(1) << 62, 7);
    assert_true(lw__cursor_load(&c, &place));
    assert_true(place.pos == UINT64_C(1) << 62 && place.number == 7);
}

static struct lw__cursor moving;
static bool stop_moving;

static void *move(void *arg) {
    (void)arg;
    for (uint64_t i = 1; !__atomic_load_n(&stop_moving, __ATOMIC_RELAXED); i++) lw__cursor_store(&moving, i * 8, i);
    return NULL;
}

static void a_pair_is_never_torn(void **state) {
    (void)state;
    pthread_t thread;
    uint64_t last = 0;
    int64_t moves = 0, end = t_now() + LW_MS(10) * t_loops(50);
    assert_int_equal(pthread_create(&thread, NULL, move, NULL), 0);
    while (t_now() < end || !moves) {
        struct lw__place place;
        assert_true(lw__cursor_load(&moving, &place));
        if (place.pos != place.number * 8) fail_msg("torn: %llu", (unsigned long long)place.pos);
        assert_true(place.number >= last);
        moves += place.number != last;
        last = place.number;
    }
    __atomic_store_n(&stop_moving, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

/* ---- one record -------------------------------------------------------------------------------------------------- */

static void a_header_is_believed_only_when_it_is_possible(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    uint64_t max = t.lane.record_max, header, size;
    const struct {
        uint64_t len, flags;
        int want;
    } cases[] = {{0, 0x8000, 1},
                 {1, 0x8000, 1},
                 {max, 0x8000, 1},
                 {max, 0xc000, 1},
                 {max + 1, 0x8000, -1},
                 {4096, 0x8000, -1},
                 {UINT32_MAX, 0x8000, -1},
                 {UINT32_MAX - 7, 0x8000, -1},
                 {UINT64_C(1) << 31, 0x8000, -1},
                 {0, 0x4000, -1},
                 {0, 0x8001, -1},
                 {0, 0xa000, -1},
                 {8, 0, -1},
                 {0, 0x9000, -1},
                 {65535, 0xffff, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(&t.lane, 64, cases[i].len, cases[i].flags);
        int rc = lw__record_at(&t.lane, 64 + 4096 * i, &header, &size);
        assert_int_equal(rc, cases[i].want < 0 ? LW_ECORRUPT : cases[i].want);
        if (rc == 1) assert_int_equal(size, lw__record_size(cases[i].len));
    }
    assert_int_equal(lw__record_at(&t.lane, 8, &header, &size), 0);
    t_lane_end(&t);
}

static void sizes_are_multiples_of_8_with_room_for_the_header(void **state) {
    (void)state;
    assert_int_equal(lw__record_size(0), 8);
    assert_int_equal(lw__record_size(1), 16);
    assert_int_equal(lw__record_size(8), 16);
    assert_int_equal(lw__record_size(9), 24);
    assert_int_equal(lw__record_size(65530), 65544); /* pitfall 2: not 2 */
    assert_int_equal(lw__record_size(UINT32_MAX), (UINT64_C(1) << 32) + 8);
}

/* ---- the end of the log ------------------------------------------------------------------------------------------ */

static void the_end_is_beyond_what_was_committed_and_not_counted(void **state) {
    (void)state;
    const uint64_t starts[] = {0, UINT64_C(1) << 62};
    for (int i = 0; i < 2; i++) {
        uint64_t start = starts[i], number = start ? T_NUMBER : 0;
        struct t_lane t = t_lane_make(4096, 1, start);
        tail_is(&t.lane, start, number);
        uint64_t end = put(&t.lane, start, 100, LW__COMMITTED); /* died before it moved the tail */
        tail_is(&t.lane, end, number + 1);
        lw__cursor_store(&t.lane.ctl->tail, end, number + 1);
        tail_is(&t.lane, end, number + 1);
        end = put(&t.lane, end, t.lane.record_max, LW__COMMITTED); /* the largest */
        tail_is(&t.lane, end, number + 2);
        t_lane_end(&t);
    }
}

static void a_whole_batch_is_walked_over(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    uint64_t end = 0, n = (t.lane.ring / 2 - 8) / 8; /* the longest one: all of them empty */
    for (uint64_t i = 0; i < n; i++) end = put(&t.lane, end, 0, LW__COMMITTED | (i + 1 < n ? LW__MORE : 0));
    tail_is(&t.lane, end, n);
    t_lane_end(&t);
}

static void a_tail_that_can_not_be_is_told_with_its_position(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 8192);
    struct lw__place place;
    lw__cursor_store(&t.lane.ctl->tail, 4096, 1); /* before the start */
    assert_int_equal(lw__lane_tail(&t.lane, &place), LW_ECORRUPT);
    lw__cursor_store(&t.lane.ctl->tail, UINT64_C(1) << 63, 1);
    assert_int_equal(lw__lane_tail(&t.lane, &place), LW_ECORRUPT);
    t.lane.ctl->tail.pos = LW__NOWHERE;
    assert_int_equal(lw__lane_tail(&t.lane, &place), LW_ECORRUPT);
    lw__cursor_store(&t.lane.ctl->tail, 8192 + 80, 1);
    put(&t.lane, 8192 + 80, 24, LW__COMMITTED);
    put(&t.lane, 8192 + 112, 7000, LW__COMMITTED); /* impossible length behind a good record */
    assert_int_equal(lw__lane_tail(&t.lane, &place), LW_ECORRUPT);
    assert_int_equal(place.pos, 8192 + 112);
    t.lane.ctl->horizon = 8192 + 4096; /* beyond the end */
    assert_int_equal(lw__lane_tail(&t.lane, &place), LW_ECORRUPT);
    t_lane_end(&t);
}

/* ---- marks ------------------------------------------------------------------------------------------------------- */

static void the_oldest_mark_is_not_before_the_horizon(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w;
    struct lw__place oldest, before;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 1000; i++) {
        assert_ok(t_send(&w, (uint64_t)i * 37 % 300));
        uint64_t horizon = t.lane.ctl->horizon;
        assert_int_equal(lw__lane_oldest(&t.lane, &oldest), 0);
        assert_true(oldest.pos >= horizon && oldest.pos <= w.tx.pos);
        if (i > 100) assert_true(w.tx.pos - oldest.pos >= 2048); /* not worth much if it were just the last one */
        assert_true(lw__lane_mark_before(&t.lane, w.tx.pos, &before));
        assert_true(before.pos >= oldest.pos && before.pos <= w.tx.pos);
        if (oldest.pos) assert_false(lw__lane_mark_before(&t.lane, oldest.pos - 8, &before));
    }
    t_lane_end(&t);
}

static void marks_that_lead_nowhere_are_passed_over(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w;
    struct lw__place oldest;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 300; i++) assert_ok(t_send(&w, 40));
    for (int i = 0; i < LW__MARKS; i++) /* none is good: too old, too new, crooked */
        t.lane.ctl->marks[i].pos = i % 3 == 0 ? 8 : i % 3 == 1 ? w.tx.pos + 4096 : w.tx.pos - 4;
    int64_t begin = t_now();
    assert_int_equal(lw__lane_oldest(&t.lane, &oldest), LW_ECORRUPT);
    t.lane.ctl->horizon = 0; /* and if the horizon were damaged too: none is a whole ring away from the end */
    assert_int_equal(lw__lane_oldest(&t.lane, &oldest), LW_ECORRUPT);
    assert_true(t_now() - begin < LW_SEC(1));
    t_lane_end(&t);
}

/* ---- anything at all --------------------------------------------------------------------------------------------- */

static void poke(const struct t_lane *t) {
    static const uint64_t odd[] = {0,
                                   1,
                                   7,
                                   8,
                                   UINT64_MAX,
                                   UINT64_MAX - 7,
                                   UINT64_C(1) << 63,
                                   UINT64_C(1) << 62,
                                   UINT64_C(0x8000) << 48,
                                   (UINT64_C(0xc000) << 48) + 16};
    uint64_t *ctl = (uint64_t *)(void *)t->lane.ctl;
    size_t at = t_random() % (sizeof *t->lane.ctl / 8 + 256 / 8); /* also the first slot */
    ctl[at] = t_random() % 2 ? odd[t_random() % 10] : t_random() >> t_random() % 64;
}

/* Headers all over the ring that lead one to the next, or not. */
static void scribble(const struct t_lane *t) {
    uint64_t kind = t_random() % 4;
    for (uint64_t pos = 0; pos < t->lane.ring; pos += 8) {
        uint64_t len = kind == 0 ? 0 : t_random() % (kind == 1 ? 64 : 5000);
        put(&t->lane, pos, len, kind == 3 ? t_random() & 0xffff : t_random() % 100 ? LW__COMMITTED : 0);
    }
}

static void look_everywhere(struct t_lane *t) {
    struct lw__lane_check check;
    struct lw__place place;
    struct lw__reader r;
    struct lw__writer w;
    struct lw_msg m;
    lw__lane_tail(&t->lane, &place);
    lw__lane_oldest(&t->lane, &place);
    lw__lane_verify(&t->lane, &check);
    lw__lane_sweep(&t->lane, t_owner(9, 0), &t_owners);
    const uint64_t positions[] = {place.pos + 80, UINT64_C(1) << 62, (UINT64_C(1) << 63) - 8, UINT64_MAX - 7};
    for (int i = 0; i < 6; i++) {
        if (lw__reader_take(&r, &t->lane, t_owner(9, LW__SLOT_RELIABLE), &t_owners)) continue;
        enum lw_from from = i == 0 ? LW_FROM_NOW : i == 1 ? LW_FROM_OLDEST : LW_FROM_POSITION;
        if (!lw__reader_join(&r, from, positions[i > 1 ? i - 2 : 0]))
            for (int n = 0; n < 600 && lw__reader_next(&r, &m) == 1; n++) {
                assert_true(m.len <= t->lane.record_max);
                assert_true(((const signed char *)m.data)[m.len ? m.len - 1 : 0] <= 127); /* touch it: it is mapped */
            }
        lw__reader_leave(&r);
    }
    lw__reader_bind(&r, &t->lane, &t->lane.slots[0], t_owner(9, LW__SLOT_DURABLE));
    lw__reader_resume(&r);
    if (!lw__writer_take(&w, &t->lane, t_owner(9, 0), &t_owners)) {
        static const uint64_t nobody[LW__MASK_WORDS];
        w.tx.parked = nobody; /* a writer of the lane alone has no bells to ring, whatever the mask says */
        for (int n = 0; n < 20; n++) t_send(&w, t_random() % 200);
        lw__writer_leave(&w);
    }
}

static void pitfall_8_no_content_makes_anything_endless_or_crash(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 4096);
    struct lw__writer w;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 400; i++) assert_ok(t_send(&w, (uint64_t)i % 90));
    lw__writer_leave(&w);
    char *good = t_lane_save(&t);
    int64_t slowest = 0;
    for (int64_t i = t_loops(4000); i; i--) {
        t_lane_restore(&t, good);
        if (t_random() % 2) scribble(&t);
        for (uint64_t n = t_random() % 8; n; n--) poke(&t);
        int64_t begin = t_now();
        look_everywhere(&t);
        int64_t took = t_now() - begin;
        if (took > slowest) slowest = took;
    }
    if (slowest > LW_SEC(2)) fail_msg("took %lld ms", (long long)(slowest / 1000000));
    free(good);
    t_lane_end(&t);
}

/* A ring full of records, all of them good: no end anywhere. */
static void pitfall_8_a_ring_without_an_end_is_walked_once(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(UINT64_C(1) << 20, 2, 0);
    struct lw__lane_check check;
    struct lw__reader r;
    struct lw__writer w;
    for (uint64_t pos = 0; pos < t.lane.ring; pos += 8) put(&t.lane, pos, 0, LW__COMMITTED);
    int64_t begin = t_now();
    assert_int_equal(lw__writer_take(&w, &t.lane, t_owner(1, 0), &t_owners), LW_ECORRUPT);
    assert_int_equal(t.lane.ctl->lock, 0);
    assert_int_equal(lw__lane_verify(&t.lane, &check), LW_ECORRUPT);
    assert_int_equal(lw__reader_take(&r, &t.lane, t_owner(1, LW__SLOT_RELIABLE), &t_owners), 0);
    assert_int_equal(lw__reader_join(&r, LW_FROM_POSITION, UINT64_C(1) << 62), LW_ECORRUPT);
    for (int i = 0; i < LW__MARKS; i++) t.lane.ctl->marks[i].pos = (uint64_t)i % 2 ? UINT64_MAX - 7 : UINT64_C(1) << 61;
    struct lw__place place;
    assert_int_equal(lw__lane_oldest(&t.lane, &place), LW_ECORRUPT);
    lw__cursor_store(&t.lane.ctl->tail, UINT64_C(1) << 61, 1);
    assert_int_equal(lw__lane_verify(&t.lane, &check), LW_ECORRUPT);
    assert_true(t_now() - begin < LW_SEC(2));
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_6_one_store_moves_position_and_number),
        cmocka_unit_test(a_pair_is_never_torn),
        cmocka_unit_test(a_header_is_believed_only_when_it_is_possible),
        cmocka_unit_test(sizes_are_multiples_of_8_with_room_for_the_header),
        cmocka_unit_test(the_end_is_beyond_what_was_committed_and_not_counted),
        cmocka_unit_test(a_whole_batch_is_walked_over),
        cmocka_unit_test(a_tail_that_can_not_be_is_told_with_its_position),
        cmocka_unit_test(the_oldest_mark_is_not_before_the_horizon),
        cmocka_unit_test(marks_that_lead_nowhere_are_passed_over),
        cmocka_unit_test(pitfall_8_no_content_makes_anything_endless_or_crash),
        cmocka_unit_test(pitfall_8_a_ring_without_an_end_is_walked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

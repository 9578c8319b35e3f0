/* SPDX-License-Identifier: MIT */
/*
 * lane/read_test.c - receiving in place: what is handed out, what a release gives back, what comes again after a death,
 * and bytes that change or were never right.
 */
#include <pthread.h>
#include <string.h>

#include "util/lane_util.h"

static uint64_t place_of(const struct lw__reader *r) {
    struct lw__place place;
    assert_true(lw__cursor_load(&r->slot->cursor, &place));
    return place.pos;
}

static void messages_are_in_place_and_aligned(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(65536, 2, 0);
    struct lw__lane mine = t_lane_map(&t, LW__READ);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &mine, 2, LW_FROM_NOW, 0);
    for (uint64_t len = 0; len < 3000; len++) {
        int64_t pos = assert_ok(t_send(&w, len));
        assert_int_equal(t_next(&r, &m), 1);
        assert_true(m.position == (uint64_t)pos && m.len == len && m.number == len);
        assert_int_equal((uintptr_t)m.data % 8, 0);
        assert_ptr_equal(m.data, mine.data + (m.position & mine.mask) + 8);
        assert_true(t_fits(&m));
        t_release(&r, &m);
    }
    lw__lane_unmap(&mine);
    t_lane_end(&t);
}

static void many_may_be_held_and_one_release_gives_all_back(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg held[40];
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (int lap = 0; lap < 50; lap++) {
        uint64_t place = place_of(&r);
        for (int i = 0; i < 40; i++) {
            assert_ok(t_send(&w, (uint64_t)(i * lap) % 80));
            assert_int_equal(t_next(&r, &held[i]), 1);
        }
        assert_int_equal(place_of(&r), place);
        assert_int_equal(t_next(&r, &held[0]), LW_EEMPTY);
        for (int i = 1; i < 40; i++) assert_true(t_fits(&held[i]));
        t_release(&r, &held[10]);
        assert_int_equal(place_of(&r), held[11].position);
        for (int i = 11; i < 40; i++) assert_true(t_fits(&held[i]));
        t_release(&r, &held[39]);
        assert_int_equal(place_of(&r), w.tx.pos);
    }
    t_lane_end(&t);
}

static void nothing_there_is_empty_until_it_is_there(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (int i = 0; i < 1000; i++) {
        for (int n = 0; n < 3; n++) assert_int_equal(t_next(&r, &m), LW_EEMPTY);
        assert_ok(t_send(&w, 3));
        assert_int_equal(t_next(&r, &m), 1);
        t_release(&r, &m);
    }
    t_lane_end(&t);
}

/* The place moves with the release, not with the handing out; so what was not dealt with comes again. */
static void pitfall_15_what_was_not_released_comes_again(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    uint64_t holder, released = 0;
    t_write_as(&w, &t.lane, 1);
    t_durable_as(&r, &t.lane, 2, "d", LW_FROM_NOW);
    for (unsigned id = 3; id < 500; id++) {
        for (int i = 0; i < 5; i++) assert_ok(t_send(&w, id % 90));
        for (uint64_t n = t_random() % 5 + 1; n; n--) {
            uint64_t number = r.rx.number;
            assert_int_equal(t_next(&r, &m), 1);
            assert_true(m.number == number && t_fits(&m));
            if (n % 2) continue;
            assert_int_equal(t_release(&r, &m), 0);
            released = m.number + 1;
        }
        t_owner_set(id - 1, false);
        struct lw__slot *slot = lw__slot_find(&t.lane, "d");
        assert_int_equal(lw__slot_inherit(&r, &t.lane, slot, t_owner(id, LW__SLOT_DURABLE), &t_owners, &holder), 0);
        assert_int_equal(lw__reader_resume(&r), 0);
        assert_int_equal(r.rx.number, released);
        if (id % 3 == 0) {
            T_SOUND(t_drain(&r, NULL));
            released = r.rx.number;
            assert_int_equal(released, w.tx.number);
        }
        t_owner_set(id - 1, true);
    }
    t_lane_end(&t);
}

/* ---- bytes that are wrong ---------------------------------------------------------------------------------------- */

static void put_word(struct t_lane *t, uint64_t pos, uint64_t word) {
    memcpy(t->lane.data + (pos & t->lane.mask), &word, 8);
}

static void a_damaged_header_stops_the_reader_there(void **state) {
    (void)state;
    const uint64_t wrong[] = {1,
                              UINT64_MAX,
                              lw__header(5000, 0, LW__COMMITTED),
                              lw__header(UINT32_MAX, 0, LW__COMMITTED),
                              lw__header(UINT64_C(1) << 31, 0, LW__COMMITTED),
                              lw__header(8, 0, LW__COMMITTED | 1),
                              lw__header(8, 0, LW__MORE),
                              lw__header(8, 3, 0)};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct t_lane t = t_lane_make(4096, 2, 0);
        struct lw__writer w;
        struct lw__reader r;
        struct lw_msg m;
        t_write_as(&w, &t.lane, 1);
        t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
        for (int n = 0; n < 9; n++) assert_ok(t_send(&w, 8));
        put_word(&t, 7 * 16, wrong[i]);
        for (int n = 0; n < 7; n++) assert_int_equal(t_next(&r, &m), 1);
        for (int n = 0; n < 3; n++) assert_int_equal(t_next(&r, &m), LW_ECORRUPT);
        assert_int_equal(r.rx.pos, 7 * 16);
        t_lane_end(&t);
    }
}

/* The other side changes the header after it was handed out: the release goes by what was handed out. */
static void pitfall_1_a_release_does_not_read_the_length_again(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (uint64_t i = 0; i < 100; i++) {
        assert_ok(t_send(&w, 40));
        assert_int_equal(t_next(&r, &m), 1);
        put_word(&t, m.position, lw__header(i * 7, 9, LW__COMMITTED));
        assert_int_equal(m.len, 40);
        t_release(&r, &m);
        assert_int_equal(place_of(&r), w.tx.pos);
    }
    t_lane_end(&t);
}

struct flipper {
    struct t_lane *lane;
    bool stop;
};

static void *flip_the_length(void *arg) {
    struct flipper *f = arg;
    uint64_t *word = (uint64_t *)(void *)f->lane->lane.data;
    while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
        __atomic_store_n(word, lw__header(40, 1, LW__COMMITTED), __ATOMIC_RELAXED);
        __atomic_store_n(word, lw__header(UINT32_MAX - 100, 2, LW__COMMITTED), __ATOMIC_RELAXED);
    }
    return NULL;
}

/* A length is loaded once: what was bounded is what is used, however often it changes meanwhile. */
static void pitfall_1_a_length_that_flips_is_bounded_or_refused(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct flipper f = {.lane = &t};
    struct lw__reader r;
    struct lw_msg m;
    pthread_t thread;
    int64_t seen[2] = {0, 0}, end = t_now() + LW_SEC(10);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    assert_int_equal(pthread_create(&thread, NULL, flip_the_length, &f), 0);
    for (int64_t i = t_loops(1000000); i > 0 || ((!seen[0] || !seen[1]) && t_now() < end); i--) {
        r.rx.pos = 0;
        int rc = lw__reader_next(&r, &m);
        if (rc == LW_EEMPTY) continue; /* not begun yet */
        if (rc == 1)
            assert_true(m.len == 40 && m.type == 1 && r.rx.pos == 48);
        else
            assert_int_equal(rc, LW_ECORRUPT);
        seen[rc == 1]++;
    }
    __atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_true(seen[0] && seen[1]);
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_in_place_and_aligned),
        cmocka_unit_test(many_may_be_held_and_one_release_gives_all_back),
        cmocka_unit_test(nothing_there_is_empty_until_it_is_there),
        cmocka_unit_test(pitfall_15_what_was_not_released_comes_again),
        cmocka_unit_test(a_damaged_header_stops_the_reader_there),
        cmocka_unit_test(pitfall_1_a_release_does_not_read_the_length_again),
        cmocka_unit_test(pitfall_1_a_length_that_flips_is_bounded_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

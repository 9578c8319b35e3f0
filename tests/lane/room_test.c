/* SPDX-License-Identifier: MIT */
/*
 * lane/room_test.c - how far a writer may go: to the byte where the slowest reader still needs what is there, and not
 * one further; whom it counts, and whom it does not. Joining while it moves on is in join_test.c and step_test.c.
 */
#include <string.h>

#include "util/lane_util.h"

static uint64_t horizon(const struct t_lane *t) {
    return t->lane.ctl->horizon;
}

/* ---- how far ----------------------------------------------------------------------------------------------------- */

/* The zero after the last record must not hit the header of the first unreleased one: 8 bytes are kept. */
static void to_the_last_byte_and_not_one_further(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (uint64_t len = 0; len < 200; len++)
        for (int round = 0; round < 5; round++) {
            uint64_t head = w.tx.pos;
            while (w.tx.pos + lw__record_size(len) + 8 <= head + 4096) assert_ok(t_send(&w, len));
            assert_int_equal(t_send(&w, len), LW_EFULL);
            for (uint64_t left = head + 4096 - 8 - w.tx.pos; left; left = 0) assert_ok(t_send(&w, left - 8));
            assert_int_equal(w.tx.pos, head + 4096 - 8); /* not a byte is wasted */
            assert_int_equal(t_send(&w, 0), LW_EFULL);
            T_SOUND(t_drain(&r, NULL));
            assert_int_equal(r.rx.pos, w.tx.pos);
        }
    t_lane_end(&t);
}

static void each_release_makes_just_as_much_room(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, UINT64_C(1) << 62);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    while (t_send(&w, 24) >= 0) continue;
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(t_send(&w, 24), LW_EFULL);
        assert_int_equal(t_next(&r, &m), 1);
        assert_true(t_fits(&m));
        assert_int_equal(t_send(&w, 24), LW_EFULL); /* handed out is not released */
        t_release(&r, &m);
        assert_ok(t_send(&w, 24));
    }
    t_lane_end(&t);
}

static void without_readers_it_never_ends(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 4, 0);
    struct lw__writer w;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 5000; i++) assert_ok(t_send(&w, (uint64_t)i % 2033));
    T_SOUND(t_at_rest(&t.lane, NULL));
    T_SOUND(t_retained(&t.lane, w.tx.number));
    t_lane_end(&t);
}

/* ---- the horizon ------------------------------------------------------------------------------------------------- */

static void the_horizon_moves_in_64ths_and_only_for_room(void **state) {
    (void)state;
    const uint64_t rings[] = {4096, 65536};
    for (int i = 0; i < 2; i++) {
        struct t_lane t = t_lane_make(rings[i], 2, rings[i] * 5);
        struct lw__writer w;
        uint64_t before = horizon(&t);
        t_write_as(&w, &t.lane, 1);
        while (w.tx.pos < rings[i] * 9) {
            uint64_t pos = w.tx.pos, len = t_random() % 300;
            assert_ok(t_send(&w, len));
            uint64_t now = horizon(&t), need = w.tx.pos + 8 > rings[i] ? w.tx.pos + 8 - rings[i] : 0;
            assert_int_equal(now % (rings[i] / 64), 0);
            assert_true(now >= before && now >= need);
            if (now != before)
                assert_true(now < need + rings[i] / 64 && pos + lw__record_size(len) + 8 > before + rings[i]);
            before = now;
        }
        t_lane_end(&t);
    }
}

static void the_horizon_stays_while_it_is_full(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (int i = 0; i < 2000; i++) {
        while (t_send(&w, 72) >= 0) continue;
        uint64_t before = horizon(&t);
        for (uint64_t len = 72; len < 2000; len += 200) assert_int_equal(t_send(&w, len), LW_EFULL);
        assert_int_equal(horizon(&t), before);
        /* What is retained can be joined: at most a 64th of it is lost to rounding. */
        assert_true(before <= r.rx.head + 64);
        assert_int_equal(t_next(&r, &m), 1);
        t_release(&r, &m);
    }
    t_lane_end(&t);
}

/* ---- whom it counts ---------------------------------------------------------------------------------------------- */

static void the_slowest_of_many_holds_back_and_is_named(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 20, 0);
    struct lw__writer w;
    struct lw__reader r[20];
    t_write_as(&w, &t.lane, 1);
    for (unsigned i = 0; i < 20; i++) t_read_as(&r[i], &t.lane, i + 2, LW_FROM_NOW, 0);
    for (unsigned round = 0; round < 400; round++) {
        unsigned slow = round * 7 % 20;
        while (t_send(&w, 100) >= 0) continue;
        for (unsigned i = 0; i < 20; i++)
            if (i != slow) T_SOUND(t_drain(&r[i], NULL));
        assert_int_equal(t_send(&w, 100), LW_EFULL);
        assert_int_equal(w.slowest, slow);
        T_SOUND(t_drain(&r[slow], NULL));
    }
    t_lane_end(&t);
}

static void a_free_slot_holds_nobody_whatever_is_in_it(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 8, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    t.lane.ctl->slots_used = 8;
    for (unsigned i = 1; i < 8; i++) t.lane.slots[i].cursor.pos = i * 8;
    for (int i = 0; i < 1000; i++) {
        assert_ok(t_send(&w, 60));
        T_SOUND(t_drain(&r, NULL));
    }
    struct lw__reader late;
    t_read_as(&late, &t.lane, 3, LW_FROM_NOW, 0); /* takes such a slot */
    assert_int_equal(late.index, 1);
    assert_int_equal(late.rx.pos, w.tx.pos);
    assert_ok(t_send(&w, 60));
    T_SOUND(t_drain(&late, NULL));
    t_lane_end(&t);
}

static void slots_used_is_bounded(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    t.lane.ctl->slots_used = UINT64_MAX;
    while (t_send(&w, 100) >= 0) continue;
    assert_int_equal(w.slowest, 0);
    T_SOUND(t_drain(&r, NULL));
    assert_ok(t_send(&w, 100));
    t_lane_end(&t);
}

/* A dead one without a name holds until it is swept, a durable one until it is back. */
static void pitfall_14_a_dead_reader_does_not_stop_the_writer_for_ever(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 4, 0);
    struct lw__writer w;
    struct lw__reader dead, kept, back;
    uint64_t holder;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&dead, &t.lane, 2, LW_FROM_NOW, 0);
    while (t_send(&w, 100) >= 0) continue;
    t_durable_as(&kept, &t.lane, 3, "kept", LW_FROM_OLDEST);
    t_owner_set(2, false);
    t_owner_set(3, false);
    assert_int_equal(t_send(&w, 100), LW_EFULL);
    assert_int_equal(lw__lane_sweep(&t.lane, t_owner(1, 0), &t_owners), 1);
    assert_int_equal(t_send(&w, 100), LW_EFULL);
    assert_int_equal(w.slowest, 1);
    struct lw__slot *slot = lw__slot_find(&t.lane, "kept");
    assert_int_equal(lw__slot_inherit(&back, &t.lane, slot, t_owner(4, LW__SLOT_DURABLE), &t_owners, &holder), 0);
    assert_int_equal(lw__reader_resume(&back), 0);
    T_SOUND(t_drain(&back, NULL));
    assert_int_equal(back.rx.number, w.tx.number);
    assert_ok(t_send(&w, 100));
    t_owner_set(2, true);
    t_owner_set(3, true);
    t_lane_end(&t);
}

/* One that left makes room at once. */
static void a_reader_that_leaves_holds_nobody(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 50; i++) {
        t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
        while (t_send(&w, 100) >= 0) continue;
        lw__reader_leave(&r);
        assert_ok(t_send(&w, 100));
    }
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_the_last_byte_and_not_one_further),
        cmocka_unit_test(each_release_makes_just_as_much_room),
        cmocka_unit_test(without_readers_it_never_ends),
        cmocka_unit_test(the_horizon_moves_in_64ths_and_only_for_room),
        cmocka_unit_test(the_horizon_stays_while_it_is_full),
        cmocka_unit_test(the_slowest_of_many_holds_back_and_is_named),
        cmocka_unit_test(a_free_slot_holds_nobody_whatever_is_in_it),
        cmocka_unit_test(slots_used_is_bounded),
        cmocka_unit_test(pitfall_14_a_dead_reader_does_not_stop_the_writer_for_ever),
        cmocka_unit_test(a_reader_that_leaves_holds_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

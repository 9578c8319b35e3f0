/* SPDX-License-Identifier: MIT */
/*
 * lane/join_test.c - a reader's first place, and moving it: where it may be, what is refused, and joining a lane whose
 * writer runs at full speed. Each instruction of a join against a writer is in meet_test.c.
 */
#include <string.h>
#include <sys/mman.h>

#include "util/lane_util.h"

static int join(struct lw__lane *lane, struct lw__reader *r, enum lw_from from, uint64_t position) {
    assert_int_equal(lw__reader_take(r, lane, t_owner(2, LW__SLOT_RELIABLE), &t_owners), 0);
    int rc = lw__reader_join(r, from, position);
    if (rc) lw__reader_leave(r);
    return rc;
}

/* ---- where one may join ------------------------------------------------------------------------------------------ */

static void an_empty_lane_is_joined_at_its_start(void **state) {
    (void)state;
    const uint64_t starts[] = {0, UINT64_C(1) << 62};
    for (int i = 0; i < 2; i++) {
        struct t_lane t = t_lane_make(4096, 8, starts[i]);
        struct lw__reader r[3];
        struct lw__writer w;
        for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++) {
            assert_int_equal(join(&t.lane, &r[from], from, starts[i]), 0);
            assert_true(r[from].rx.pos == starts[i] && r[from].rx.number == (i ? T_NUMBER : 0));
        }
        t_write_as(&w, &t.lane, 1);
        assert_ok(t_send(&w, 33));
        for (int n = 0; n < 3; n++) {
            T_SOUND(t_drain(&r[n], NULL));
            assert_int_equal(r[n].rx.number, w.tx.number);
        }
        t_lane_end(&t);
    }
}

/* Every position of two laps: the beginning of a retained record or the end, or refused. */
static void every_position_is_a_record_or_refused(uint64_t start) {
    struct t_lane t = t_lane_make(4096, 2, start);
    struct lw__writer w;
    struct lw__reader r;
    struct lw__place oldest;
    static uint64_t number_at[3 * 4096]; /* of the record that begins there, plus 1 */
    memset(number_at, 0, sizeof number_at);
    t_write_as(&w, &t.lane, 1);
    while (w.tx.pos < start + 2 * 4096 + 600) {
        number_at[w.tx.pos - start] = w.tx.number + 1;
        assert_ok(t_send(&w, w.tx.number * 37 % 190));
    }
    number_at[w.tx.pos - start] = w.tx.number + 1;
    assert_int_equal(lw__lane_oldest(&t.lane, &oldest), 0);
    for (uint64_t pos = start; pos < start + 3 * 4096; pos++) {
        uint64_t number = number_at[pos - start];
        int rc = join(&t.lane, &r, LW_FROM_POSITION, pos);
        assert_int_equal(rc, number && pos >= oldest.pos ? 0 : LW_EPOSITION);
        if (rc) continue;
        assert_true(r.rx.pos == pos && r.rx.number == number - 1);
        T_SOUND(t_drain(&r, NULL));
        assert_int_equal(r.rx.number, w.tx.number);
        lw__reader_leave(&r);
    }
    const uint64_t never[] = {0,
                              1,
                              w.tx.pos + 8,
                              w.tx.pos + 4096,
                              UINT64_C(1) << 61,
                              (UINT64_C(1) << 63) - 8,
                              UINT64_C(1) << 63,
                              UINT64_MAX - 7,
                              UINT64_MAX};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        assert_int_equal(join(&t.lane, &r, LW_FROM_POSITION, never[i]), LW_EPOSITION);
    assert_int_equal(lw__lane_sweep(&t.lane, t_owner(1, 0), &t_owners), 0); /* none of them left anything */
    assert_int_equal(t.lane.slots[0].owner, 0);
    t_lane_end(&t);
}

static void positions_inside_records_or_gone_are_refused(void **state) {
    (void)state;
    every_position_is_a_record_or_refused(0);
    every_position_is_a_record_or_refused((UINT64_C(1) << 62) - 4096);
}

static void the_oldest_is_most_of_the_ring(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(65536, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 10000; i++) assert_ok(t_send(&w, 56));
    assert_int_equal(join(&t.lane, &r, LW_FROM_OLDEST, 0), 0);
    assert_true(w.tx.pos - r.rx.pos > 65536 - 3 * 1024);
    T_SOUND(t_drain(&r, NULL));
    assert_int_equal(r.rx.number, w.tx.number);
    t_lane_end(&t);
}

/* ---- seeking ----------------------------------------------------------------------------------------------------- */

static void seeking_goes_anywhere_that_is_retained(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 3, (UINT64_C(1) << 62) - 8192);
    struct lw__writer w;
    struct lw__reader r;
    struct lw__place oldest, place;
    static struct lw_msg seen[256];
    t_write_as(&w, &t.lane, 1);
    t_durable_as(&r, &t.lane, 2, "d", LW_FROM_NOW);
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 7 && t_send(&w, t_random() % 200) >= 0; i++) continue;
        assert_int_equal(lw__lane_oldest(&t.lane, &oldest), 0);
        assert_int_equal(lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners), 0);
        assert_true(r.rx.pos == oldest.pos && r.rx.number == oldest.number && r.rx.head == oldest.pos);
        int count = 0;
        while (t_next(&r, &seen[count]) == 1) assert_true(t_fits(&seen[count++]));
        assert_int_equal(r.rx.number, w.tx.number);
        const struct lw_msg *to = &seen[t_random() % (uint64_t)count];
        assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, to->position, &t_owners), 0);
        assert_true(lw__cursor_load(&r.slot->cursor, &place));
        assert_true(place.pos == to->position && place.number == to->number);
        assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, to->position + 4, &t_owners), LW_EPOSITION);
        assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, oldest.pos - 8, &t_owners), LW_EPOSITION);
        assert_true(r.rx.pos == to->position && r.slot->cursor.pos >> 3 == to->position >> 3); /* still there */
        assert_int_equal(t_next(&r, &seen[0]), 1);
        assert_true(seen[0].position == r.rx.head && t_fits(&seen[0]));
        if (round % 2) assert_int_equal(lw__reader_seek(&r, LW_FROM_NOW, 0, &t_owners), 0);
        T_SOUND(t_drain(&r, NULL));
        assert_int_equal(r.rx.number, w.tx.number);
        T_SOUND(t_at_rest(&t.lane, NULL));
    }
    for (uint32_t i = 1; i < 3; i++) assert_int_equal(t.lane.slots[i].owner, 0);
    t_lane_end(&t);
}

static void seeking_back_needs_a_slot_and_stays_without_one(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r, other;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    t_read_as(&other, &t.lane, 3, LW_FROM_NOW, 0);
    assert_ok(t_send(&w, 10));
    T_SOUND(t_drain(&r, NULL));
    char *before = t_lane_save(&t);
    assert_int_equal(lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners), LW_ENOSLOT);
    assert_int_equal(t_lane_differs(&t, before), -1);
    assert_true(r.rx.number == 1);
    assert_ok(t_send(&w, 10)); /* ahead it needs none */
    assert_ok(t_send(&w, 10));
    assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, 48, &t_owners), 0);
    assert_true(r.rx.number == 2 && r.rx.pos == 48);
    assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, 56, &t_owners), LW_EPOSITION);
    assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, 96, &t_owners), LW_EPOSITION);
    assert_int_equal(lw__reader_seek(&r, LW_FROM_NOW, 0, &t_owners), 0);
    assert_true(r.rx.number == 3 && r.slot->cursor.pos >> 3 == 72 >> 3);
    t_owner_set(3, false); /* a dead one's slot will do */
    assert_int_equal(lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners), 0);
    assert_int_equal(r.rx.number, 0);
    t_owner_set(3, true);
    free(before);
    t_lane_end(&t);
}

/* ---- going on at a place that can't be --------------------------------------------------------------------------- */

static void a_damaged_place_is_not_gone_on_with(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 8192);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 300; i++) assert_ok(t_send(&w, 56));
    t_durable_as(&r, &t.lane, 2, "d", LW_FROM_NOW);
    for (int i = 0; i < 10; i++) assert_ok(t_send(&w, 56));
    assert_int_equal(lw__reader_resume(&r), 0);
    const uint64_t wrong[] = {0,
                              4096,
                              8192,
                              w.tx.pos + 8,
                              w.tx.pos + 2048,
                              w.tx.pos + 4096,
                              w.tx.pos - 4096,
                              UINT64_C(1) << 62,
                              (UINT64_C(1) << 63) + 8,
                              LW__NOWHERE,
                              r.rx.pos + 8};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        r.slot->cursor.pos = wrong[i];
        if (wrong[i] == r.rx.head + 8) continue; /* inside a record: what stands there decides */
        assert_int_equal(lw__reader_resume(&r), LW_ECORRUPT);
    }
    t_lane_end(&t);
}

/* ---- while a writer runs at full speed --------------------------------------------------------------------------- */

struct race {
    struct t_lane lane;
    uint64_t *stop; /* shared */
};

static int write_all_the_time(void *arg) {
    struct race *race = arg;
    struct lw__lane lane = t_lane_map(&race->lane, LW__WRITE);
    struct lw__writer w;
    uint64_t lens[T_BATCH_MAX];
    t_write_as(&w, &lane, 1);
    t_say(1);
    while (!lw__load(race->stop)) {
        uint64_t kind = w.tx.number % 64, len = w.tx.number * 13 % 90;
        for (unsigned i = 0; i < 5; i++) lens[i] = len + i;
        int64_t rc = kind == 0 ? t_send_batch(&w, lens, 5) : kind == 1 ? t_send(&w, len * 15) : t_send(&w, len);
        T_NEED(rc >= 0 || rc == LW_EFULL);
    }
    lw__writer_leave(&w);
    return 0;
}

static struct race race_begin(struct t_child *writer) {
    struct race race = {.lane = t_lane_make(4096, 4, 0)};
    race.stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(race.stop != MAP_FAILED);
    *writer = t_fork(write_all_the_time, &race);
    t_hear(writer);
    return race;
}

static void race_end(struct race *race, struct t_child *writer) {
    lw__store(race->stop, 1);
    assert_int_equal(t_wait(writer), 0);
    T_SOUND(t_at_rest(&race->lane.lane, NULL));
    munmap(race->stop, 4096);
    t_lane_end(&race->lane);
}

/* The first messages are whole and the right ones, and stay so while they are held. */
static const char *hold_some(struct lw__reader *r) {
    struct lw_msg held[8];
    int count = 0;
    while (count < 8 && t_next(r, &held[count]) == 1) count++;
    for (int i = 0; i < count; i++) {
        if (!t_fits(&held[i])) return t_words("message %llu is not whole", (unsigned long long)held[i].number);
        if (held[i].number != held[0].number + (uint64_t)i) return "numbers are missing";
    }
    if (count && t_release(r, &held[count - 1])) return "not released";
    return NULL;
}

static void join_all_the_time(enum lw_from from) {
    struct t_child writer;
    struct race race = race_begin(&writer);
    struct lw__lane lane = t_lane_map(&race.lane, LW__READ);
    uint64_t position = 0, joined = 0, gone = 0;
    int64_t end = t_now() + LW_MS(1) * t_loops(1000);
    while (t_now() < end || joined < 10) {
        struct lw__reader r;
        int rc = join(&lane, &r, from, position);
        if (rc == LW_EPOSITION && from == LW_FROM_POSITION) {
            gone++;
            rc = join(&lane, &r, LW_FROM_NOW, 0);
        } else
            joined++;
        assert_int_equal(rc, 0);
        T_SOUND(hold_some(&r));
        position = r.rx.pos + (t_random() % 16 == 0 ? 4 : 0); /* a record begins there, or none can */
        lw__reader_leave(&r);
    }
    if (from == LW_FROM_POSITION) assert_true(gone > 0);
    lw__lane_unmap(&lane);
    race_end(&race, &writer);
}

static void joining_now_while_a_writer_runs(void **state) {
    (void)state;
    join_all_the_time(LW_FROM_NOW);
}

static void joining_at_the_oldest_while_a_writer_runs(void **state) {
    (void)state;
    join_all_the_time(LW_FROM_OLDEST);
}

static void joining_at_a_position_while_a_writer_runs(void **state) {
    (void)state;
    join_all_the_time(LW_FROM_POSITION);
}

static void seeking_while_a_writer_runs(void **state) {
    (void)state;
    struct t_child writer;
    struct race race = race_begin(&writer);
    struct lw__lane lane = t_lane_map(&race.lane, LW__READ);
    struct lw__reader r;
    int64_t end = t_now() + LW_MS(1) * t_loops(1000);
    t_read_as(&r, &lane, 2, LW_FROM_NOW, 0);
    for (uint64_t i = 0; t_now() < end || i < 10; i++) {
        assert_int_equal(lw__reader_seek(&r, i % 3 ? LW_FROM_OLDEST : LW_FROM_NOW, 0, &t_owners), 0);
        for (int n = 0; n < 5; n++) T_SOUND(hold_some(&r));
    }
    lw__reader_leave(&r);
    lw__lane_unmap(&lane);
    race_end(&race, &writer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_lane_is_joined_at_its_start),
        cmocka_unit_test(positions_inside_records_or_gone_are_refused),
        cmocka_unit_test(the_oldest_is_most_of_the_ring),
        cmocka_unit_test(seeking_goes_anywhere_that_is_retained),
        cmocka_unit_test(seeking_back_needs_a_slot_and_stays_without_one),
        cmocka_unit_test(a_damaged_place_is_not_gone_on_with),
        t_test(joining_now_while_a_writer_runs),
        t_test(joining_at_the_oldest_while_a_writer_runs),
        t_test(joining_at_a_position_while_a_writer_runs),
        t_test(seeking_while_a_writer_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

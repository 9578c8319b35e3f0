/* SPDX-License-Identifier: MIT */
/*
 * lane/inspect_test.c - verify: what is fine is found fine, also while everybody runs; each damage of a list is found
 * with its place and a reason; and looking changes nothing.
 */
#include <string.h>
#include <sys/mman.h>

#include "util/lane_util.h"

static struct lw__lane_check look(const struct t_lane *t, int *rc) {
    struct lw__lane_check check;
    struct lw__lane eye = t_lane_map(t, LW__LOOK); /* read-only: a store would be a crash */
    char *before = t_lane_save(t);
    *rc = lw__lane_verify(&eye, &check);
    assert_int_equal(t_lane_differs(t, before), -1);
    free(before);
    lw__lane_unmap(&eye);
    return check;
}

static void is_fine(const struct t_lane *t) {
    int rc;
    struct lw__lane_check check = look(t, &rc);
    if (rc) fail_msg("at %llu: %s", (unsigned long long)check.bad, check.what);
}

/* ---- fine -------------------------------------------------------------------------------------------------------- */

static void what_is_there_is_counted(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 8192);
    const uint64_t lens[] = {1, 2, 3, 4};
    struct lw__writer w;
    int rc;
    struct lw__lane_check check = look(&t, &rc);
    assert_true(rc == 0 && check.from == 8192 && check.to == 8192 && check.records == 0);
    t_write_as(&w, &t.lane, 1);
    assert_ok(t_send(&w, 100));
    assert_ok(t_send_batch(&w, lens, 4));
    assert_ok(t_send(&w, 0));
    assert_ok(t_send_batch(&w, lens, 2));
    assert_ok(t_send_batch(&w, lens, 1)); /* a batch of one is none */
    check = look(&t, &rc);
    assert_int_equal(rc, 0);
    assert_true(check.records == 9 && check.batches == 2 && check.bytes == 100 + 10 + 3 + 1);
    assert_true(check.from == 8192 && check.to == w.tx.pos && check.skipped == 0);
    t_lane_end(&t);
}

static void fine_at_every_moment_of_many_laps(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 4, (UINT64_C(1) << 62) - 8192);
    uint64_t lens[T_BATCH_MAX];
    struct lw__writer w;
    struct lw__reader r[3];
    t_write_as(&w, &t.lane, 1);
    t_durable_as(&r[0], &t.lane, 2, "d", LW_FROM_NOW);
    for (int i = 0; i < 3000; i++) {
        for (unsigned n = 0; n < 9; n++) lens[n] = t_random() % 120;
        if (i % 5 == 0)
            t_stage_batch(&w, lens, 1 + (unsigned)(t_random() % 9));
        else
            t_send(&w, t_random() % 200);
        if (i % 7 == 0) T_SOUND(t_drain(&r[0], NULL));
        if (i % 20 == 3) t_read_as(&r[1], &t.lane, 3, LW_FROM_OLDEST, 0);
        if (i % 20 == 9) T_SOUND(t_drain(&r[1], NULL));
        if (i % 20 == 15) lw__reader_leave(&r[1]);
        is_fine(&t);
    }
    lw__reader_leave(&r[0]); /* away */
    is_fine(&t);
    lw__writer_leave(&w);
    is_fine(&t);
    t_lane_end(&t);
}

/* ---- while everybody runs ---------------------------------------------------------------------------------------- */

struct crowd {
    struct t_lane lane;
    uint64_t *stop;
};

static int writer(void *arg) {
    struct crowd *c = arg;
    struct lw__lane lane = t_lane_map(&c->lane, LW__WRITE);
    struct lw__writer w;
    uint64_t lens[T_BATCH_MAX];
    t_write_as(&w, &lane, 1);
    while (!lw__load(c->stop)) {
        for (unsigned n = 0; n < 9; n++) lens[n] = (w.tx.number + n) % 61;
        if (w.tx.number % 11 == 0)
            t_stage_batch(&w, lens, 9);
        else
            t_send(&w, w.tx.number * 7 % 150);
    }
    return 0;
}

static int reader(void *arg) {
    struct crowd *c = arg;
    struct lw__lane lane = t_lane_map(&c->lane, LW__READ);
    struct lw__reader r;
    while (!lw__load(c->stop)) {
        t_read_as(&r, &lane, 2, LW_FROM_OLDEST, 0);
        for (int i = 0; i < 20; i++) T_NEED(!t_drain(&r, NULL));
        T_NEED(!lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners));
        T_NEED(!t_drain(&r, NULL));
        lw__reader_leave(&r);
    }
    return 0;
}

static void no_false_alarm_with_ring(uint64_t ring, bool with_reader) {
    struct crowd c = {.lane = t_lane_make(ring, 4, 0)};
    c.stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct t_child children[2] = {t_fork(writer, &c), {0}};
    if (with_reader) children[1] = t_fork(reader, &c);
    struct lw__lane eye = t_lane_map(&c.lane, LW__LOOK);
    struct lw__lane_check check;
    int64_t end = t_now() + LW_MS(1) * t_loops(1000);
    for (uint64_t i = 0; t_now() < end || i < 20; i++)
        if (lw__lane_verify(&eye, &check)) fail_msg("at %llu: %s", (unsigned long long)check.bad, check.what);
    lw__store(c.stop, 1);
    assert_int_equal(t_wait(&children[0]), 0);
    if (with_reader) assert_int_equal(t_wait(&children[1]), 0);
    lw__lane_unmap(&eye);
    munmap(c.stop, 4096);
    t_lane_end(&c.lane);
}

static void no_false_alarm_while_a_writer_runs(void **state) {
    (void)state;
    no_false_alarm_with_ring(4096, false);
    no_false_alarm_with_ring(1 << 18, false);
}

static void no_false_alarm_while_readers_come_and_go(void **state) {
    (void)state;
    no_false_alarm_with_ring(4096, true);
    no_false_alarm_with_ring(65536, true);
}

/* ---- damages ----------------------------------------------------------------------------------------------------- */

enum { RING = 4096, RECORDS = 200 };

/* A lane with everything in it: two laps of messages, some in batches, a durable reader and one without a name. */
static struct damaged {
    struct t_lane t;
    uint64_t pos[RECORDS], tail, number; /* of the last ones; pos[0] is the newest */
    struct lw__slot *named, *unnamed;
} d;

static uint64_t *header_of(unsigned back) {
    return (uint64_t *)(void *)(d.t.lane.data + (d.pos[back] & d.t.lane.mask));
}

static struct lw__mark *mark_of(uint64_t pos) {
    return &d.t.lane.ctl->marks[(pos >> d.t.lane.segment_shift) % LW__MARKS];
}

static void build(void) {
    struct lw__writer w;
    struct lw__reader named, unnamed;
    uint64_t all[RECORDS], count = 0;
    d.t = t_lane_make(RING, 4, RING);
    t_write_as(&w, &d.t.lane, 1);
    t_durable_as(&named, &d.t.lane, 2, "n", LW_FROM_NOW);
    t_read_as(&unnamed, &d.t.lane, 3, LW_FROM_NOW, 0);
    while (count < RECORDS) {
        all[count++] = w.tx.pos;
        assert_ok(t_send(&w, 40 + count % 3 * 8));
        if (count <= RECORDS - 20) T_SOUND(t_drain(&named, NULL));
        if (count <= RECORDS - 10) T_SOUND(t_drain(&unnamed, NULL));
    }
    for (unsigned i = 0; i < RECORDS; i++) d.pos[i] = all[RECORDS - 1 - i];
    d.tail = w.tx.pos;
    d.number = w.tx.number;
    d.named = named.slot;
    d.unnamed = unnamed.slot;
    is_fine(&d.t);
}

/* Each does one damage and returns where it should be found. */
static uint64_t length_grown(void) {
    *header_of(30) += 16;
    return d.pos[30];
}
static uint64_t length_impossible(void) {
    *header_of(30) |= 0xffffffff;
    return d.pos[30];
}
static uint64_t header_cleared(void) {
    *header_of(30) = 0;
    return d.pos[30];
}
static uint64_t flag_lost(void) {
    *header_of(30) &= ~(LW__COMMITTED << 48);
    return d.pos[30];
}
static uint64_t flag_unknown(void) {
    *header_of(30) |= UINT64_C(1) << 50;
    return d.pos[30];
}
static uint64_t last_one_runs_over_the_tail(void) {
    *header_of(0) += 64;
    return d.pos[0];
}
static uint64_t batch_without_end(void) {
    *header_of(0) |= LW__MORE << 48;
    return d.tail;
}
static uint64_t rubbish_at_the_tail(void) {
    *(uint64_t *)(void *)(d.t.lane.data + (d.tail & d.t.lane.mask)) = 0x1234;
    return d.tail;
}
static uint64_t records_skipped(void) { /* two made one: the chain holds, the numbers do not */
    *header_of(1) += d.tail - d.pos[0];
    for (int i = 0; i < LW__MARKS; i++) /* marks are silent about it */
        if (d.t.lane.ctl->marks[i].pos >= d.pos[1]) d.t.lane.ctl->marks[i].pos = 0;
    return d.tail;
}
static uint64_t tail_inside_a_record(void) {
    lw__cursor_store(&d.t.lane.ctl->tail, d.pos[5] + 8, d.number - 5);
    return d.pos[5] + 8;
}
static uint64_t tail_before_the_start(void) {
    lw__cursor_store(&d.t.lane.ctl->tail, 64, 1);
    return 64;
}
static uint64_t tail_too_high(void) {
    d.t.lane.ctl->tail.pos = UINT64_C(1) << 63;
    return UINT64_C(1) << 63;
}
static uint64_t number_of_the_tail(void) {
    d.t.lane.ctl->tail.number[d.t.lane.ctl->tail.pos & 1] += 2;
    return d.tail;
}
static uint64_t horizon_not_rounded(void) {
    d.t.lane.ctl->horizon -= 8;
    return d.t.lane.ctl->horizon;
}
static uint64_t horizon_too_low(void) {
    d.t.lane.ctl->horizon -= RING / 64;
    return d.t.lane.ctl->horizon;
}
static uint64_t horizon_beyond_the_tail(void) {
    d.t.lane.ctl->horizon = (d.tail + RING) & ~UINT64_C(63);
    return d.tail;
}
static uint64_t mark_with_another_number(void) {
    mark_of(d.pos[30])->number++;
    return mark_of(d.pos[30])->pos;
}
static uint64_t mark_inside_a_record(void) {
    mark_of(d.pos[30] + 8)->pos = d.pos[30] + 8;
    return d.pos[30];
}
static uint64_t mark_beyond_the_tail(void) {
    struct lw__mark *mark = mark_of(d.tail + 640);
    mark->pos = d.tail + 640;
    mark->number = d.number + 3;
    return mark->pos;
}
static uint64_t mark_that_is_crooked(void) {
    mark_of(d.pos[30])->pos = d.pos[30] + 3;
    return d.pos[30];
}
static uint64_t mark_at_the_tail_with_another_number(void) {
    *mark_of(d.tail) = (struct lw__mark){d.tail, d.number + 1};
    return d.tail;
}
static uint64_t all_marks_gone(void) {
    for (int i = 0; i < LW__MARKS; i++) d.t.lane.ctl->marks[i].pos = 0;
    return d.tail;
}
static uint64_t slot_of_unknown_kind(void) {
    d.unnamed->owner |= 15;
    return 0;
}
static uint64_t durable_without_a_name(void) {
    d.named->name[0] = 0;
    return 0;
}
static uint64_t name_without_an_end(void) {
    memset(d.named->name, 'x', sizeof d.named->name);
    return 0;
}
static uint64_t slot_not_counted(void) {
    d.t.lane.ctl->slots_used = 1;
    return 0;
}
static uint64_t place_beyond_the_tail(void) {
    lw__cursor_store(&d.named->cursor, d.tail + 8, d.number);
    return d.tail + 8;
}
static uint64_t place_inside_a_record(void) {
    lw__cursor_store(&d.unnamed->cursor, d.pos[10] + 8, d.number - 11);
    return d.pos[10] + 8;
}
static uint64_t place_with_another_number(void) {
    lw__cursor_store(&d.unnamed->cursor, d.pos[10], d.number - 10);
    return d.pos[10];
}
static uint64_t place_with_an_impossible_number(void) {
    lw__cursor_store(&d.unnamed->cursor, d.pos[10], d.number + 1);
    return d.pos[10];
}
static uint64_t place_overwritten(void) {
    lw__cursor_store(&d.named->cursor, d.tail - RING, d.number - 80);
    return d.tail - RING;
}

static void every_damage_is_found_with_its_place(void **state) {
    (void)state;
    const struct {
        const char *name;
        uint64_t (*damage)(void);
    } list[] = {
#define DAMAGE(function) {#function, function}
        DAMAGE(length_grown),
        DAMAGE(length_impossible),
        DAMAGE(header_cleared),
        DAMAGE(flag_lost),
        DAMAGE(flag_unknown),
        DAMAGE(last_one_runs_over_the_tail),
        DAMAGE(batch_without_end),
        DAMAGE(rubbish_at_the_tail),
        DAMAGE(records_skipped),
        DAMAGE(tail_inside_a_record),
        DAMAGE(tail_before_the_start),
        DAMAGE(tail_too_high),
        DAMAGE(number_of_the_tail),
        DAMAGE(horizon_not_rounded),
        DAMAGE(horizon_too_low),
        DAMAGE(horizon_beyond_the_tail),
        DAMAGE(mark_with_another_number),
        DAMAGE(mark_inside_a_record),
        DAMAGE(mark_beyond_the_tail),
        DAMAGE(mark_that_is_crooked),
        DAMAGE(mark_at_the_tail_with_another_number),
        DAMAGE(all_marks_gone),
        DAMAGE(slot_of_unknown_kind),
        DAMAGE(durable_without_a_name),
        DAMAGE(name_without_an_end),
        DAMAGE(slot_not_counted),
        DAMAGE(place_beyond_the_tail),
        DAMAGE(place_inside_a_record),
        DAMAGE(place_with_another_number),
        DAMAGE(place_with_an_impossible_number),
        DAMAGE(place_overwritten),
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int rc;
        build();
        uint64_t where = list[i].damage();
        struct lw__lane_check check = look(&d.t, &rc);
        if (rc != LW_ECORRUPT) fail_msg("%s was not found", list[i].name);
        assert_true(check.what && *check.what);
        uint64_t off = check.bad > where ? check.bad - where : where - check.bad;
        if (off > 64)
            fail_msg("%s: found at %llu (%s), was at %llu", list[i].name, (unsigned long long)check.bad, check.what,
                     (unsigned long long)where);
        t_lane_end(&d.t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_counted),
        cmocka_unit_test(fine_at_every_moment_of_many_laps),
        t_test(no_false_alarm_while_a_writer_runs),
        t_test(no_false_alarm_while_readers_come_and_go),
        cmocka_unit_test(every_damage_is_found_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

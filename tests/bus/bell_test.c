/* SPDX-License-Identifier: MIT */
/* bell_test - one bell, step by step: what a ring does at each moment, and files of peers that are not bells. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/bell.h"
#include "util/topic_util.h"

static struct lw__bell make(struct lw_bus *bus, uint32_t words) {
    struct lw__bell bell;
    assert_ok(lw__bus_enter(bus, true));
    assert_ok(lw__bell_make(&bell, bus, words));
    lw__bus_leave(bus);
    return bell;
}

static void drop(struct lw__bell *bell, struct lw_bus *bus) {
    assert_ok(lw__bus_enter(bus, true));
    lw__bell_drop(bell, bus);
    lw__bus_leave(bus);
}

static uint64_t got[64];
static int count;

static void note(void *context, uint32_t index) {
    (void)context;
    assert_true(count < 64);
    got[count++] = index;
}

static int collect(struct lw__bell *bell) {
    count = 0;
    lw__bell_collect(bell, note, NULL);
    return count;
}

static int bytes_in(const struct lw__bell *bell) {
    char byte;
    int n = 0;
    while (read(bell->fifo, &byte, 1) == 1) n++;
    return n;
}

static void a_ring_before_the_sleep_keeps_it_awake(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw__bell bell = make(bus, 1);
    lw__bell_ring_own(&bell, 5);
    assert_false(lw__bell_sleep(&bell));
    lw__bell_wake(&bell, true);
    assert_int_equal(collect(&bell), 1);
    assert_int_equal(got[0], 5);
    assert_true(lw__bell_sleep(&bell)); /* taken once */
    drop(&bell, bus);
    assert_ok(lw_bus_close(bus));
}

static void a_burst_at_a_sleeper_costs_one_byte(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *peer = tt_bus(*state, NULL);
    struct lw__bell bell = make(bus, LW__BELL_WORDS);
    assert_true(lw__bell_sleep(&bell));
    for (uint32_t i = 0; i < 20; i++) lw__bell_ring(peer, bus->owner, lw__bell_word(&bell, i * 3000));
    assert_int_equal(bell.page->rings, 1);
    assert_int_equal(bytes_in(&bell), 1);
    lw__bell_wake(&bell, true);
    assert_int_equal(collect(&bell), 20);
    for (uint32_t i = 0; i < 20; i++) assert_int_equal(got[i], i * 3000);
    lw__bell_ring(peer, bus->owner, lw__bell_word(&bell, 7)); /* awake: no system call */
    assert_int_equal(bytes_in(&bell), 0);
    drop(&bell, bus);
    assert_ok(lw_bus_close(peer));
    assert_ok(lw_bus_close(bus));
}

/* Killed after the first of its two bits: the next one to ring for the same index must not rely on it. */
static void a_bit_that_a_dead_ringer_set_hushes_nobody(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw__bell bell = make(bus, 1);
    assert_true(lw__bell_sleep(&bell));
    bell.page->ready[0] = 1 << 5;
    lw__bell_ring_own(&bell, 5);
    assert_int_equal(bell.page->summary, 1);
    assert_int_equal(bytes_in(&bell), 1);
    lw__bell_wake(&bell, true);
    assert_int_equal(collect(&bell), 1);
    drop(&bell, bus);
    assert_ok(lw_bus_close(bus));
}

/* Killed after both bits, before the byte. */
static void a_summary_that_a_dead_ringer_set_hushes_nobody(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw__bell bell = make(bus, 1);
    assert_true(lw__bell_sleep(&bell));
    bell.page->ready[0] = 1 << 5;
    bell.page->summary = 1;
    lw__bell_ring_own(&bell, 5);
    assert_int_equal(bytes_in(&bell), 1);
    drop(&bell, bus);
    assert_ok(lw_bus_close(bus));
}

static void a_full_fifo_is_as_good_as_a_byte(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw__bell bell = make(bus, 1);
    char noise[4096] = {0};
    while (write(bell.fifo, noise, sizeof noise) > 0) continue;
    assert_true(lw__bell_sleep(&bell));
    lw__bell_ring_own(&bell, 1);
    assert_int_equal(bell.page->rings, 1);
    lw__bell_wake(&bell, true); /* and empties it */
    assert_int_equal(bytes_in(&bell), 0);
    drop(&bell, bus);
    assert_ok(lw_bus_close(bus));
}

static void numbers_are_never_used_twice(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    char bells[TT_PATH];
    for (uint32_t i = 0; i < 40; i++) {
        struct lw__bell bell = make(bus, 1);
        assert_int_equal(bell.number, i);
        drop(&bell, bus);
    }
    snprintf(bells, sizeof bells, "%s/bells", (const char *)*state);
    assert_int_equal(tt_count_files(bells), 0);
    assert_ok(lw_bus_close(bus));
}

static void bells_that_are_not_there_are_rung_in_vain(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *peer = tt_bus(*state, NULL);
    struct lw__bell bell = make(bus, 1);
    uint64_t word = lw__bell_word(&bell, 1);
    int before = t_descriptors();
    lw__bell_ring(peer, bus->owner, 0);
    lw__bell_ring(peer, bus->owner, word + (UINT64_C(9) << 32));
    lw__bell_ring(peer, bus->owner, UINT64_MAX);
    lw__bell_ring(peer, UINT64_MAX, word);
    assert_int_equal(t_descriptors(), before);
    lw__bell_ring(peer, bus->owner, word);
    drop(&bell, bus);
    lw__bell_ring(peer, bus->owner, word); /* still open there */
    assert_ok(lw_bus_close(peer));
    assert_ok(lw_bus_close(bus));
}

/* More bells than stay open: each is rung all the same, and there are never more descriptors. */
static void old_bells_make_room_for_new_ones(void **state) {
    enum { BELLS = LW__BELLS_OPEN * 2 + 3 };
    struct lw_bus *bus = tt_bus(*state, NULL), *peer = tt_bus(*state, NULL);
    struct lw__bell bell[BELLS];
    for (int i = 0; i < BELLS; i++) bell[i] = make(bus, 1);
    int before = t_descriptors();
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < BELLS; i++) {
            assert_true(lw__bell_sleep(&bell[i]));
            lw__bell_ring(peer, bus->owner, lw__bell_word(&bell[i], 3));
            assert_int_equal(bytes_in(&bell[i]), 1);
            lw__bell_wake(&bell[i], true);
            assert_int_equal(collect(&bell[i]), 1);
            assert_true(t_descriptors() <= before + LW__BELLS_OPEN);
        }
    for (int i = 0; i < BELLS; i++) drop(&bell[i], bus);
    assert_ok(lw_bus_close(peer));
    assert_ok(lw_bus_close(bus));
}

/* A peer's file of any bytes: it is not rung, nothing stays open, and no byte of it is written. */
static void files_that_are_no_bells_are_left_alone(void **state) {
    struct lw_bus *bus = tt_bus(*state, "sleeper"), *peer = tt_bus(*state, NULL);
    const struct {
        int64_t at;
        uint32_t value;
    } wrong[] = {{0, 7}, {8, 2}, {8, 0}, {12, 0}, {12, 2}, {12, LW__BELL_WORDS + 1}, {12, UINT32_MAX}};
    char path[TT_PATH];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct lw__bell bell = make(bus, 1);
        snprintf(path, sizeof path, "%s/bells/sleeper.%u", (const char *)*state, bell.number);
        tt_poke(path, wrong[i].at, &wrong[i].value, 4);
        int before = t_descriptors();
        lw__bell_ring(peer, bus->owner, lw__bell_word(&bell, 3));
        assert_int_equal(t_descriptors(), before);
        assert_int_equal(bell.page->summary, 0);
        drop(&bell, bus);
    }
    assert_ok(lw_bus_close(peer));
    assert_ok(lw_bus_close(bus));
}

static void a_bell_that_is_cut_off_or_has_no_fifo_is_left_alone(void **state) {
    struct lw_bus *bus = tt_bus(*state, "sleeper"), *peer = tt_bus(*state, NULL);
    char path[TT_PATH], fifo[TT_PATH + 1];
    for (int what = 0; what < 4; what++) {
        struct lw__bell bell = make(bus, 1);
        snprintf(path, sizeof path, "%s/bells/sleeper.%u", (const char *)*state, bell.number);
        snprintf(fifo, sizeof fifo, "%s~", path);
        if (what == 0) assert_int_equal(truncate(path, 263), 0);
        if (what == 1) assert_int_equal(truncate(path, 5), 0);
        if (what >= 2) assert_int_equal(unlink(fifo), 0);
        if (what == 3) tt_make_file(fifo, 100);
        int before = t_descriptors();
        if (what >= 2) assert_true(lw__bell_sleep(&bell));
        for (int again = 0; again < 3; again++) lw__bell_ring(peer, bus->owner, lw__bell_word(&bell, 3));
        assert_int_equal(t_descriptors(), before);
        if (what >= 2) assert_int_equal(bell.page->rings, 0); /* its tick finds it */
        drop(&bell, bus);
    }
    assert_ok(lw_bus_close(peer));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_ring_before_the_sleep_keeps_it_awake),     t_test(a_burst_at_a_sleeper_costs_one_byte),
        t_test(a_bit_that_a_dead_ringer_set_hushes_nobody), t_test(a_summary_that_a_dead_ringer_set_hushes_nobody),
        t_test(a_full_fifo_is_as_good_as_a_byte),           t_test(numbers_are_never_used_twice),
        t_test(bells_that_are_not_there_are_rung_in_vain),  t_test(old_bells_make_room_for_new_ones),
        t_test(files_that_are_no_bells_are_left_alone),     t_test(a_bell_that_is_cut_off_or_has_no_fifo_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

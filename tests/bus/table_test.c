/* SPDX-License-Identifier: MIT */
/* The bus file: damaged, of another version, after a reboot, grown, full. */
#include "bus/table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

/* Byte positions as bus.h says them, on purpose not taken from the struct. */
enum { MAGIC = 0, VERSION = 8, FINGERPRINT = 12, BOOT = 16, ROWS = 32, HEAD = 4096, ROW = 128, NAME = 8 };

static int open_file(const char *dir) {
    char path[T_PATH + 16];
    snprintf(path, sizeof path, "%s/bus", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void poke(const char *dir, off_t at, const void *data, size_t size) {
    int fd = open_file(dir);
    assert_int_equal(pwrite(fd, data, size, at), size);
    close(fd);
}

static void poke32(const char *dir, off_t at, uint32_t value) {
    poke(dir, at, &value, sizeof value);
}

static uint64_t peek64(const char *dir, off_t at) {
    uint64_t value;
    int fd = open_file(dir);
    assert_int_equal(pread(fd, &value, sizeof value, at), sizeof value);
    close(fd);
    return value;
}

/* Makes a bus and leaves it; the row of node x is 1. */
static void make_bus(const char *dir) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, dir, "x", 0));
    assert_int_equal(lw__owner_node(bus->owner), 1);
    lw_bus_close(bus);
}

static void refused(const char *dir, int code, const char *part) {
    struct lw_bus *bus;
    assert_fails(t_bus_open(&bus, dir, "x", 0), code, part);
    assert_null(bus);
    assert_fails(t_bus_open(&bus, dir, NULL, LW_BUS_OBSERVE), code, part);
    assert_null(bus);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static void a_truncated_file_is_refused_at_any_length(void **state) {
    const off_t sizes[] = {0, 1, 39, 40, 4095, 4096, 4097, 4096 + 64 * 128 - 1};
    make_bus(*state);
    int fd = open_file(*state);
    for (size_t i = sizeof sizes / sizeof *sizes; i-- > 0;) {
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        refused(*state, LW_ECORRUPT, "/bus: ");
    }
    close(fd);
}

static void a_wrong_magic_is_refused(void **state) {
    make_bus(*state);
    poke(*state, MAGIC, "ELF", 3);
    refused(*state, LW_ECORRUPT, "magic");
}

static void another_version_is_refused_and_both_are_named(void **state) {
    make_bus(*state);
    poke32(*state, VERSION, 77);
    refused(*state, LW_EVERSION, "made by format 77");
    refused(*state, LW_EVERSION, "this is format 1");
}

static void another_layout_is_refused_and_both_are_named(void **state) {
    make_bus(*state);
    poke32(*state, FINGERPRINT, 0x12345678);
    refused(*state, LW_EVERSION, "layout 12345678");
    uint32_t was = (uint32_t)ROW << 16 | (uint32_t)__builtin_ctzl((unsigned long)getpagesize()) << 8 | 1;
    poke32(*state, FINGERPRINT, __builtin_bswap32(was));
    refused(*state, LW_EVERSION, "layout ");
    poke32(*state, FINGERPRINT, was);
    make_bus(*state);
}

static void an_impossible_number_of_rows_is_refused(void **state) {
    const uint32_t bad[] = {0, 65, 65536, 65537, 0x80000000, UINT32_MAX};
    make_bus(*state);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        poke32(*state, ROWS, bad[i]);
        refused(*state, LW_ECORRUPT, "rows");
    }
}

static void something_that_is_no_file_is_refused(void **state) {
    char path[T_PATH + 16];
    make_bus(*state);
    snprintf(path, sizeof path, "%s/bus", (char *)*state);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    struct lw_bus *bus;
    assert_fails(t_bus_open(&bus, *state, "x", 0), -EISDIR, "/bus");
    assert_fails(t_bus_open(&bus, *state, "x", LW_BUS_OBSERVE), LW_ECORRUPT, "/bus");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    refused(*state, -ELOOP, "symbolic links");
}

static int touch_node(const struct lw_node_info *node, void *sum) {
    *(size_t *)sum += strlen(node->name);
    return 0;
}

/* Any answer will do, except a crash or a hang. */
static void use_it(const char *dir) {
    struct lw_bus *bus;
    size_t sum = 0;
    for (int i = 0; i < 2; i++) {
        if (t_bus_open(&bus, dir, i ? "y" : NULL, i ? 0 : LW_BUS_OBSERVE)) continue;
        lw_bus_nodes(bus, touch_node, &sum);
        for (uint64_t id = 0; id < 70; id++) lw__owner_gone(bus, lw__owner_word(2, (uint16_t)id));
        lw_bus_close(bus);
    }
}

static void flipped_bits_do_no_harm(void **state) {
    unsigned char whole[HEAD + 64 * ROW];
    make_bus(*state);
    int fd = open_file(*state);
    assert_int_equal(pread(fd, whole, sizeof whole, 0), sizeof whole);
    for (int64_t i = 0; i < t_loops(2000); i++) {
        uint64_t r = t_random();
        size_t at = r & 1 ? (r >> 8) % 40 : HEAD + (r >> 8) % (3 * ROW);
        unsigned char flipped = (unsigned char)(whole[at] ^ 1u << (r >> 1) % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
        use_it(*state);
        assert_int_equal(ftruncate(fd, sizeof whole), 0);
        assert_int_equal(pwrite(fd, whole, sizeof whole, 0), sizeof whole);
    }
    close(fd);
    make_bus(*state);
}

static void a_bad_name_in_the_table_is_never_a_path(void **state) {
    struct lw_bus *bus;
    size_t sum = 0;
    make_bus(*state);
    uint64_t owner = lw__owner_word((uint32_t)peek64(*state, HEAD + ROW), 1);
    poke(*state, HEAD + ROW + NAME, "../x", 5);
    assert_ok(t_bus_open(&bus, *state, "y", 0));
    assert_false(lw__owner_gone(bus, owner));
    assert_fails(lw_bus_nodes(bus, touch_node, &sum), LW_ECORRUPT, "row 1");
    lw_bus_close(bus);
}

static void a_used_up_epoch_is_told(void **state) {
    uint64_t last = UINT32_MAX;
    struct lw_bus *bus;
    make_bus(*state);
    poke(*state, HEAD + ROW, &last, sizeof last);
    assert_fails(t_bus_open(&bus, *state, "x", 0), LW_ECORRUPT, "epoch of node x");
    assert_ok(t_bus_open(&bus, *state, "y", 0));
    lw_bus_close(bus);
}

/* ---- reboot ------------------------------------------------------------------------------------------------------ */

static void after_a_reboot_every_epoch_moves_on(void **state) {
    struct lw_bus *bus;
    make_bus(*state);
    assert_ok(t_bus_open(&bus, *state, "y", 0));
    lw_bus_close(bus);
    uint64_t x = peek64(*state, HEAD + ROW), y = peek64(*state, HEAD + 2 * ROW);
    poke(*state, BOOT, "another boot id.", 16);
    assert_ok(t_bus_open(&bus, *state, NULL, LW_BUS_OBSERVE));
    lw_bus_close(bus);
    assert_int_equal(peek64(*state, HEAD + ROW), x); /* who only looks changes nothing */
    assert_ok(t_bus_open(&bus, *state, "z", 0));
    assert_int_equal(peek64(*state, HEAD + ROW), x + 65536);
    assert_int_equal(peek64(*state, HEAD + 2 * ROW), y + 65536);
    assert_int_equal(peek64(*state, HEAD + 4 * ROW), 0); /* a row that is not used stays so */
    assert_true(lw__owner_closed(bus, lw__owner_word((uint32_t)x, 1)));
    lw_bus_close(bus);
    make_bus(*state);
    assert_int_equal(peek64(*state, HEAD + ROW), x + 65537); /* once */
}

static void a_kill_while_epochs_move_on_is_harmless(void **state) {
    struct lw_bus *bus;
    make_bus(*state);
    uint64_t x = peek64(*state, HEAD + ROW);
    poke(*state, BOOT, "another boot id.", 16);
    make_bus(*state);
    poke(*state, BOOT + 8, "half set", 8); /* as one who died before the second half leaves it */
    assert_ok(t_bus_open(&bus, *state, "z", 0));
    assert_true(peek64(*state, HEAD + ROW) >= x + 2 * 65536);
    lw_bus_close(bus);
}

/* ---- growth ------------------------------------------------------------------------------------------------------ */

static int count_nodes(const struct lw_node_info *node, void *count) {
    char want[16];
    snprintf(want, sizeof want, "n%d", ++*(int *)count);
    return strcmp(node->name, want) != 0 || node->epoch < 2;
}

static void the_table_grows_and_older_handles_see_it(void **state) {
    struct lw_bus *old, *bus;
    uint64_t owner[200];
    make_bus(*state);
    assert_ok(t_bus_open(&old, *state, NULL, LW_BUS_OBSERVE));
    poke(*state, HEAD + ROW, &(uint64_t){0}, 8); /* x never was */
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i + 1);
        assert_ok(t_bus_open(&bus, *state, name, 0));
        owner[i] = bus->owner;
        assert_false(lw__owner_gone(old, owner[i]));
        lw_bus_close(bus);
        assert_true(lw__owner_gone(old, owner[i]));
    }
    int count = 0;
    assert_int_equal(lw_bus_nodes(old, count_nodes, &count), 0);
    assert_int_equal(count, 200);
    lw_bus_close(old);
    assert_ok(t_bus_open(&bus, *state, "n77", 0));
    assert_int_equal(lw__owner_node(bus->owner), lw__owner_node(owner[76]));
    lw_bus_close(bus);
}

static void a_name_whose_creator_died_before_the_epoch_is_no_row(void **state) {
    struct lw_bus *bus;
    make_bus(*state);
    poke(*state, HEAD + 2 * ROW + NAME, "a-long-name-that-was-never-used", 32);
    assert_ok(t_bus_open(&bus, *state, "y", 0));
    assert_int_equal(lw__owner_node(bus->owner), 2);
    assert_string_equal(lw__table_row(bus, 2)->name, "y");
    lw_bus_close(bus);
}

static void a_name_keeps_its_row_and_shares_it_with_none(void **state) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    int p = (int)assert_ok(lw__table_find(bus, "p")), q = (int)assert_ok(lw__table_find(bus, "q"));
    assert_int_equal(p, 2);
    assert_int_equal(q, 3); /* although neither p nor q was started */
    assert_int_equal(lw__table_find(bus, "p"), 2);
    assert_int_equal(lw__table_find(bus, "x"), 1);
    assert_true(lw__table_epoch(bus, 3) > 0);
    lw_bus_close(bus);
}

static void a_full_table_is_told(void **state) {
    struct lw_bus *bus;
    const uint64_t one = 1;
    char name[16];
    make_bus(*state);
    int fd = open_file(*state);
    assert_int_equal(ftruncate(fd, HEAD + 65536 * ROW), 0);
    for (int id = 2; id < 65536; id++) {
        snprintf(name, sizeof name, "n%d", id);
        pwrite(fd, name, strlen(name) + 1, HEAD + id * ROW + NAME);
        pwrite(fd, &one, 8, HEAD + id * ROW);
    }
    close(fd);
    poke32(*state, ROWS, 65536);
    assert_fails(t_bus_open(&bus, *state, "new", 0), -ENOSPC, "all 65535 node names");
    assert_ok(t_bus_open(&bus, *state, "n65535", 0));
    assert_int_equal(lw__owner_node(bus->owner), 65535);
    lw_bus_close(bus);
}

static void a_number_of_rows_that_lies_later_is_not_believed(void **state) {
    struct lw_bus *bus;
    const uint32_t lies[] = {65536, UINT32_MAX, 65};
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        poke32(*state, ROWS, lies[i]);
        assert_int_equal(lw__table_rows(bus), 64);
        assert_true(lw__owner_closed(bus, lw__owner_word(1, 64)));
        assert_true(lw__owner_gone(bus, lw__owner_word(1, 65535)));
        assert_false(lw__owner_gone(bus, bus->owner));
    }
    lw_bus_close(bus);
}

static int hold_the_lock(void *dir) {
    char path[T_PATH + 16];
    snprintf(path, sizeof path, "%s/bus", (char *)dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    T_NEED(fd >= 0 && lw__byte_lock(fd, 0, 0) == 0);
    t_say(1);
    t_forever();
}

static void a_lock_that_is_never_given_back_is_an_error_in_5_seconds(void **state) {
    struct lw_bus *bus;
    make_bus(*state);
    struct t_child child = t_fork(hold_the_lock, *state);
    t_hear(&child);
    assert_ok(t_bus_open(&bus, *state, NULL, LW_BUS_OBSERVE)); /* looking needs no lock */
    lw_bus_close(bus);
    int64_t begin = t_now();
    assert_fails(t_bus_open(&bus, *state, "y", 0), -ETIMEDOUT, "lock on byte 0");
    assert_in_range(t_now() - begin, LW_SEC(5), LW_SEC(30));
    t_kill(&child);
    make_bus(*state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_truncated_file_is_refused_at_any_length),
        t_test(a_wrong_magic_is_refused),
        t_test(another_version_is_refused_and_both_are_named),
        t_test(another_layout_is_refused_and_both_are_named),
        t_test(an_impossible_number_of_rows_is_refused),
        t_test(something_that_is_no_file_is_refused),
        t_test(flipped_bits_do_no_harm),
        t_test(a_bad_name_in_the_table_is_never_a_path),
        t_test(a_used_up_epoch_is_told),
        t_test(after_a_reboot_every_epoch_moves_on),
        t_test(a_kill_while_epochs_move_on_is_harmless),
        t_test(the_table_grows_and_older_handles_see_it),
        t_test(a_name_whose_creator_died_before_the_epoch_is_no_row),
        t_test(a_name_keeps_its_row_and_shares_it_with_none),
        t_test(a_full_table_is_told),
        t_test(a_number_of_rows_that_lies_later_is_not_believed),
        t_test(a_lock_that_is_never_given_back_is_an_error_in_5_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

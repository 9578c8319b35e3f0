/* SPDX-License-Identifier: MIT */
/*
 * lane/file_test.c - the bytes of a new lane, and opening files that are not what they should be: each is refused by a
 * named error with the path in its text, or is the same lane as before. Nothing is repaired, resized or reset by
 * opening (pitfall 9), and no byte of a file leads to a crash (pitfall 8).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "util/lane_util.h"

static const char boot[] = "0123456789abcdef";
static const struct lw__lane_shape shape = {
    .ring = 65536, .slots = 5, .start = 65536 * 3, .number = 77, .schema = "ticks", .schema_hash = 0x1122334455667788};
enum { HEAD = 8192, SIZE = HEAD + 65536 }; /* of that shape */

static int new_file(uint64_t size) {
    int fd = memfd_create("lane", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static int formatted(const struct lw__lane_shape *s) {
    int fd = new_file(lw__lane_file_size(s));
    assert_int_equal(lw__lane_format(fd, s, (const unsigned char *)boot), 0);
    return fd;
}

static uint64_t word_at(int fd, off_t at, size_t size) {
    uint64_t word = 0;
    assert_int_equal(pread(fd, &word, size, at), size);
    return word;
}

static void patch(int fd, off_t at, const void *bytes, size_t size) {
    assert_int_equal(pwrite(fd, bytes, size, at), size);
}

static void sign_again(int fd) {
    unsigned char id[256];
    assert_int_equal(pread(fd, id, sizeof id, 0), sizeof id);
    uint32_t crc = lw__crc32c(0, id, 252);
    patch(fd, 252, &crc, 4);
}

static int try_map(int fd, enum lw__access access) {
    struct lw__lane lane;
    int rc = lw__lane_map(&lane, fd, access, "dir/x.lane");
    if (!rc) lw__lane_unmap(&lane);
    return rc;
}

/* ---- what a lane looks like -------------------------------------------------------------------------------------- */

/* The numbers of docs/spec/lane.md, literally: whoever moves a field makes another format. */
static void every_field_has_its_golden_place(void **state) {
    (void)state;
    const struct {
        off_t at;
        size_t size;
        uint64_t want;
    } golden[] = {
        {0, 8, 0x454e414c59574c0a},
        {8, 4, 3},
        {12, 4, 0x100012ce /* fingerprint */},
        {32, 8, 65536},
        {40, 4, 5},
        {44, 4, HEAD},
        {48, 8, 65536 * 3},
        {56, 8, 0x1122334455667788},
        {528, 8, 0},
        {536, 8, 0}, /* dirty, superseded */
        {4096, 8, 0},
        {4128, 8, 65536 * 3},
        {4136, 8, 77},        /* lock, tail, number */
        {4224, 8, 65536 * 3}, /* horizon */
        {4232, 8, 0},         /* the exclusive writer's bell */
        {4352, 8, 0},
        {4480, 8, 0}, /* parked, wanted */
        {4608, 8, 0}, /* slots used */
        {5120, 8, 65536 * 3},
        {5128, 8, 77},
        {5120 + 63 * 16, 8, 65536 * 3}, /* marks */
        {6144, 8, 0},
        {6144 + 128, 8, UINT64_MAX}, /* slot 0: nobody, nowhere, no bell */
        {6144 + 160, 8, 0},
        {6144 + 4 * 256, 8, 0},
        {6144 + 4 * 256 + 128, 8, UINT64_MAX},
        {6144 + 5 * 256 + 128, 8, 0}, /* behind the last slot */
        {HEAD, 8, 0},                 /* nothing published */
    };
    char text[16];
    int fd = formatted(&shape);
    assert_int_equal(lw__lane_file_size(&shape), SIZE);
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        uint64_t got = word_at(fd, golden[i].at, golden[i].size);
        if (got != golden[i].want)
            fail_msg("at %ld: %llx, not %llx", (long)golden[i].at, (unsigned long long)got,
                     (unsigned long long)golden[i].want);
    }
    assert_int_equal(pread(fd, text, 6, 64), 6);
    assert_string_equal(text, "ticks");
    assert_int_equal(pread(fd, text, 16, 512), 16);
    assert_memory_equal(text, boot, 16);
    close(fd);
}

/* Also where the tail, the horizon and each reader's place are: no two of them within 64 bytes, none over a line's
 * edge. */
static void pitfall_4_tail_and_heads_have_lines_of_their_own(void **state) {
    (void)state;
    const size_t at[] = {
        4096 + offsetof(struct lw__lane_ctl, tail),       4096 + offsetof(struct lw__lane_ctl, horizon),
        4096 + offsetof(struct lw__lane_ctl, parked),     4096 + offsetof(struct lw__lane_ctl, wanted),
        4096 + offsetof(struct lw__lane_ctl, slots_used), 6144 + offsetof(struct lw__slot, owner),
        6144 + offsetof(struct lw__slot, cursor),         6144 + 256 + offsetof(struct lw__slot, owner)};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        assert_true(at[i] % 64 + sizeof(struct lw__cursor) <= 64);
        for (size_t j = 0; j < i; j++) assert_int_not_equal(at[i] / 64, at[j] / 64);
    }
    assert_int_equal(6144 + offsetof(struct lw__slot, cursor), 6272);
    assert_int_equal(offsetof(struct lw__slot, name), 192);
}

static void sizes_and_limits_of_every_ring(void **state) {
    (void)state;
    for (unsigned bits = 12; bits <= 36; bits++) {
        struct lw__lane_shape s = {.ring = UINT64_C(1) << bits, .slots = 64};
        uint64_t half = s.ring / 2 - 16, gib = UINT64_C(1) << 30;
        struct lw__lane lane;
        int fd = formatted(&s);
        assert_true(lw__lane_file_size(&s) - s.ring <= 32768);
        assert_ok(lw__lane_map(&lane, fd, LW__WRITE, "x"));
        assert_int_equal(lane.ring, s.ring);
        assert_int_equal(lane.mask, s.ring - 1);
        assert_int_equal(UINT64_C(64) << lane.segment_shift, s.ring);
        assert_int_equal(lane.record_max, half < gib ? half : gib);
        assert_int_equal(lane.slots_max, 64);
        lane.data[0] = 'a'; /* seen twice: nothing wraps */
        lane.data[2 * s.ring - 1] = 'z';
        assert_int_equal(lane.data[s.ring], 'a');
        assert_int_equal(lane.data[s.ring - 1], 'z');
        lw__lane_unmap(&lane);
        lw__lane_unmap(&lane); /* harmless */
        close(fd);
    }
}

static void one_slot_and_1024(void **state) {
    (void)state;
    struct lw__lane_shape one = {.ring = 4096, .slots = 1}, many = {.ring = 4096, .slots = 1024};
    assert_int_equal(lw__lane_file_size(&one), 8192 + 4096);
    assert_int_equal(lw__lane_file_size(&many), 6144 + 1024 * 256 + 2048 + 4096);
    int a = formatted(&one), b = formatted(&many);
    assert_ok(try_map(a, LW__WRITE));
    assert_ok(try_map(b, LW__WRITE));
    close(a);
    close(b);
}

/* ---- files that are something else ------------------------------------------------------------------------------- */

static void another_version_or_layout_is_told_with_both(void **state) {
    (void)state;
    char both[64];
    uint32_t version = 7, fingerprint = 0xdeadbeef;
    int fd = formatted(&shape);
    patch(fd, 8, &version, 4);
    assert_fails(try_map(fd, LW__READ), LW_EVERSION, "dir/x.lane: ");
    assert_fails(try_map(fd, LW__READ), LW_EVERSION, "version 7, this library reads version 3");
    version = 3;
    patch(fd, 8, &version, 4);
    patch(fd, 12, &fingerprint, 4);
    snprintf(both, sizeof both, "deadbeef, this library has %08x", LW__LANE_FINGERPRINT);
    assert_fails(try_map(fd, LW__READ), LW_EVERSION, both);
    patch(fd, 0,
          "\x7f"
          "ELF....",
          8);
    assert_fails(try_map(fd, LW__READ), LW_ECORRUPT, "not a lane file");
    close(fd);
}

static void every_flipped_bit_of_page_0_is_refused_or_changes_nothing(void **state) {
    (void)state;
    int fd = formatted(&shape);
    char before[LW__PAGE], after[LW__PAGE];
    assert_int_equal(pread(fd, before, sizeof before, 0), sizeof before);
    for (unsigned bit = 0; bit < LW__PAGE * 8; bit++) {
        char byte = (char)(before[bit / 8] ^ 1 << bit % 8);
        patch(fd, bit / 8, &byte, 1);
        int rc = try_map(fd, LW__WRITE);
        if (bit / 8 >= sizeof(struct lw__lane_id))
            assert_ok(rc);
        else if (bit / 8 >= 8 && bit / 8 < 16)
            assert_fails(rc, LW_EVERSION, "dir/x.lane: made ");
        else
            assert_fails(rc, LW_ECORRUPT, "dir/x.lane: ");
        patch(fd, bit / 8, &before[bit / 8], 1);
    }
    assert_ok(try_map(fd, LW__WRITE));
    assert_int_equal(pread(fd, after, sizeof after, 0), sizeof after);
    assert_memory_equal(before, after, sizeof before);
    close(fd);
}

/* Somebody who can compute a checksum flips them: refused, or a lane that can be used without harm. */
static void every_flipped_bit_with_a_right_checksum_is_harmless(void **state) {
    (void)state;
    for (unsigned bit = 16 * 8; bit < 252 * 8; bit++) {
        struct lw__lane lane;
        struct lw__lane_check check;
        struct lw__writer w;
        int fd = formatted(&shape);
        char byte = (char)(word_at(fd, bit / 8, 1) ^ 1u << bit % 8);
        patch(fd, bit / 8, &byte, 1);
        sign_again(fd);
        int rc = lw__lane_map(&lane, fd, LW__WRITE, "dir/x.lane");
        if (rc) {
            assert_fails(rc, LW_ECORRUPT, "dir/x.lane: ");
        } else {
            lw__lane_verify(&lane, &check);
            if (!lw__writer_take(&w, &lane, t_owner(1, 0), &t_owners)) T_SOUND(t_at_rest(&lane, NULL));
            lw__lane_unmap(&lane);
        }
        close(fd);
    }
}

static void impossible_shapes_are_refused(void **state) {
    (void)state;
    const struct {
        off_t at;
        size_t size;
        uint64_t value;
    } bad[] = {
        {32, 8, 0},
        {32, 8, 2048},
        {32, 8, 65535},
        {32, 8, 65536 + 4096},
        {32, 8, UINT64_C(128) << 30},
        {32, 8, UINT64_MAX},
        {40, 4, 0},
        {40, 4, 1025},
        {40, 4, UINT32_MAX},
        {44, 4, 0},
        {44, 4, 4096},
        {44, 4, 8191},
        {44, 4, 12288},
        {44, 4, UINT32_MAX},
        {48, 8, 65536 * 3 + 8},
        {48, 8, 4096},
        {48, 8, UINT64_C(1) << 63},
        {48, 8, -UINT64_C(65536)},
        {127, 1, 'x'},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = formatted(&shape);
        patch(fd, bad[i].at, &bad[i].value, bad[i].size);
        sign_again(fd);
        assert_fails(try_map(fd, LW__LOOK), LW_ECORRUPT, "dir/x.lane: impossible ");
        close(fd);
    }
}

static void cut_off_anywhere_is_refused(void **state) {
    (void)state;
    for (int64_t size = SIZE - 1; size >= 0; size -= size % 4096 > 2 && size % 4096 < 4094 ? 511 : 1) {
        int fd = formatted(&shape);
        assert_int_equal(ftruncate(fd, size), 0);
        assert_fails(try_map(fd, LW__WRITE), LW_ECORRUPT, "cut off");
        assert_int_equal(lseek(fd, 0, SEEK_END), size);
        close(fd);
    }
    int fd = formatted(&shape);
    assert_int_equal(ftruncate(fd, SIZE + 1000), 0); /* longer is no harm, and stays */
    assert_ok(try_map(fd, LW__WRITE));
    assert_int_equal(lseek(fd, 0, SEEK_END), SIZE + 1000);
    close(fd);
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    int ends[2], dir = open("/", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pipe(ends), 0);
    assert_fails(try_map(dir, LW__LOOK), LW_ECORRUPT, "not a regular file");
    assert_fails(try_map(ends[0], LW__LOOK), LW_ECORRUPT, "not a regular file");
    close(ends[0]);
    close(ends[1]);
    close(dir);
    assert_fails(try_map(dir, LW__LOOK), -EBADF, "dir/x.lane: stat");
}

/* ---- mapping ----------------------------------------------------------------------------------------------------- */

static void pitfall_9_mapping_changes_no_byte(void **state) {
    (void)state;
    struct t_lane t = t_lane_make_shaped(&shape);
    char *before = t_lane_save(&t);
    for (enum lw__access a = LW__LOOK; a <= LW__WRITE; a++) {
        struct lw__lane again = t_lane_map(&t, a);
        lw__lane_unmap(&again);
    }
    assert_int_equal(t_lane_differs(&t, before), -1);
    free(before);
    t_lane_end(&t);
}

struct touch {
    const struct t_lane *lane;
    enum lw__access access;
    bool head; /* else the ring */
};

static int touch(void *arg) {
    const struct touch *t = arg;
    signal(SIGSEGV, SIG_DFL); /* cmocka's handler is not for children */
    struct lw__lane lane = t_lane_map(t->lane, t->access);
    __atomic_fetch_add(t->head ? &lane.ctl->wanted[0] : (uint64_t *)(void *)lane.data, 1, __ATOMIC_RELAXED);
    return 0;
}

static bool may_touch(const struct t_lane *lane, enum lw__access access, bool head) {
    struct touch t = {.lane = lane, .access = access, .head = head};
    struct t_child child = t_fork(touch, &t);
    return t_wait(&child) == 0;
}

static void a_looker_can_not_write_and_a_reader_not_into_the_ring(void **state) {
    (void)state;
    struct t_lane t = t_lane_make_shaped(&shape);
    assert_false(may_touch(&t, LW__LOOK, true));
    assert_false(may_touch(&t, LW__LOOK, false));
    assert_true(may_touch(&t, LW__READ, true));
    assert_false(may_touch(&t, LW__READ, false));
    assert_true(may_touch(&t, LW__WRITE, true));
    assert_true(may_touch(&t, LW__WRITE, false));
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_its_golden_place),
        cmocka_unit_test(pitfall_4_tail_and_heads_have_lines_of_their_own),
        cmocka_unit_test(sizes_and_limits_of_every_ring),
        cmocka_unit_test(one_slot_and_1024),
        cmocka_unit_test(another_version_or_layout_is_told_with_both),
        cmocka_unit_test(every_flipped_bit_of_page_0_is_refused_or_changes_nothing),
        cmocka_unit_test(every_flipped_bit_with_a_right_checksum_is_harmless),
        cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(cut_off_anywhere_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(pitfall_9_mapping_changes_no_byte),
        t_test(a_looker_can_not_write_and_a_reader_not_into_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

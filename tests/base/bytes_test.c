/* SPDX-License-Identifier: MIT */
/* Checksums, random numbers, rounding. */
#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

#include "util/util.h"

/* The answers of RFC 3720, B.4, and the one everybody quotes. */
static void crc32c_gives_the_known_answers(void **state) {
    unsigned char data[32];
    (void)state;
    assert_int_equal(lw__crc32c(0, "", 0), 0);
    assert_int_equal(lw__crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, 32);
    assert_int_equal(lw__crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, 32);
    assert_int_equal(lw__crc32c(0, data, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) data[i] = (unsigned char)i;
    assert_int_equal(lw__crc32c(0, data, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++) data[i] = (unsigned char)(31 - i);
    assert_int_equal(lw__crc32c(0, data, 32), 0x113fdb5c);
}

static void crc32c_goes_on_where_it_stopped(void **state) {
    (void)state;
    const char *digits = "123456789";
    for (size_t cut = 0; cut <= 9; cut++) {
        uint32_t first = lw__crc32c(0, digits, cut);
        assert_int_equal(lw__crc32c(first, digits + cut, 9 - cut), 0xe3069283);
    }
}

static void uuids_are_of_version_4_and_differ(void **state) {
    unsigned char uuid[100][16];
    (void)state;
    for (int i = 0; i < 100; i++) {
        lw__uuid_make(uuid[i]);
        assert_int_equal(uuid[i][6] >> 4, 4);
        assert_int_equal(uuid[i][8] >> 6, 2);
        for (int j = 0; j < i; j++) assert_memory_not_equal(uuid[i], uuid[j], 16);
    }
}

static void powers_of_two_and_rounding(void **state) {
    (void)state;
    assert_false(lw__is_power_of_two(0));
    for (int i = 0; i < 64; i++) assert_true(lw__is_power_of_two(UINT64_C(1) << i));
    for (int i = 2; i < 64; i++) assert_false(lw__is_power_of_two((UINT64_C(1) << i) - 1));
    assert_int_equal(lw__round_up(0, 4096), 0);
    assert_int_equal(lw__round_up(1, 4096), 4096);
    assert_int_equal(lw__round_up(4096, 4096), 4096);
    assert_int_equal(lw__round_up(4097, 8), 4104);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_known_answers),
        cmocka_unit_test(crc32c_goes_on_where_it_stopped),
        cmocka_unit_test(uuids_are_of_version_4_and_differ),
        cmocka_unit_test(powers_of_two_and_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

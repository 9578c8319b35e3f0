/* SPDX-License-Identifier: MIT */
/*
 * Checksums: every way to make them gives the known answers and those of the definition, at every size and address, and
 * reads nothing beside its input.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/util.h"

enum { LARGE = 1 << 20 };

/* The chosen one, the tables and, where the processor has them, the instructions, plain and wide. */
enum { WAYS = 4 };
static size_t ways(lw__crc32c_fn *way[WAYS]) {
    size_t count = 0;
    way[count++] = lw__crc32c;
    way[count++] = lw__crc32c_portable;
    if (lw__crc32c_hardware()) way[count++] = lw__crc32c_hardware();
    if (lw__crc32c_wide()) way[count++] = lw__crc32c_wide();
    return count;
}

#define FOR_EACH_WAY(way)                                                                                              \
    lw__crc32c_fn *t_ways[WAYS], **t_end = t_ways + ways(t_ways);                                                      \
    for (lw__crc32c_fn **t_at = t_ways, *way; t_at < t_end && (way = *t_at); t_at++)

/* The definition: a division, bit by bit. Register in, register out, without the inversions. */
static uint32_t divide(uint32_t rest, unsigned char byte) {
    rest ^= byte;
    for (int bit = 0; bit < 8; bit++) rest = rest >> 1 ^ (rest & 1 ? 0x82f63b78 : 0);
    return rest;
}

static uint32_t by_definition(uint32_t crc, const unsigned char *data, size_t size) {
    crc = ~crc;
    for (size_t i = 0; i < size; i++) crc = divide(crc, data[i]);
    return ~crc;
}

static void fill(unsigned char *data, size_t size) {
    for (size_t i = 0; i < size; i++) data[i] = (unsigned char)(t_random() >> 40);
}

static unsigned char *random_data(size_t size) {
    unsigned char *data = malloc(size);
    assert_non_null(data);
    fill(data, size);
    return data;
}

static void *first_call(void *start) {
    uint32_t crc;
    pthread_barrier_wait(start);
    crc = lw__crc32c(0, "123456789", 9);
    return (void *)(uintptr_t)crc;
}

/* Has to be the first case: the choice is made once a process. */
static void threads_that_choose_at_once_all_get_it_right(void **state) {
    enum { THREADS = 4 };
    pthread_barrier_t start;
    pthread_t thread[THREADS];
    (void)state;
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, first_call, &start), 0);
    for (int i = 0; i < THREADS; i++) {
        void *crc;
        assert_int_equal(pthread_join(thread[i], &crc), 0);
        assert_int_equal((uintptr_t)crc, 0xe3069283);
    }
    pthread_barrier_destroy(&start);
}

/* The answers of RFC 3720, B.4, and the one everybody quotes. */
static void every_way_gives_the_known_answers(void **state) {
    static const unsigned char read_command[48] = {
        1, 0xc0, [16] = 0x14, [22] = 4, [27] = 0x14, [31] = 0x18, 0x28, [40] = 2};
    unsigned char data[32];
    (void)state;
    FOR_EACH_WAY(crc32c) {
        assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
        memset(data, 0, 32);
        assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
        memset(data, 0xff, 32);
        assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
        for (int i = 0; i < 32; i++) data[i] = (unsigned char)i;
        assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
        for (int i = 0; i < 32; i++) data[i] = (unsigned char)(31 - i);
        assert_int_equal(crc32c(0, data, 32), 0x113fdb5c);
        assert_int_equal(crc32c(0, read_command, 48), 0xd9963a56);
    }
}

static void nothing_leaves_the_checksum_as_it_was(void **state) {
    (void)state;
    FOR_EACH_WAY(crc32c) {
        assert_int_equal(crc32c(0, "", 0), 0);
        assert_int_equal(crc32c(0, NULL, 0), 0);
        assert_int_equal(crc32c(0x12345678, NULL, 0), 0x12345678);
        assert_int_equal(crc32c(0xffffffff, NULL, 0), 0xffffffff);
    }
}

static void every_size(size_t most, size_t alignments) {
    unsigned char *data = random_data(most + 64 + alignments), *line = data + (-(uintptr_t)data & 63);
    uint32_t begin = (uint32_t)t_random();
    for (size_t off = 0; off < alignments; off++) {
        uint32_t rest = ~begin; /* of the first `size` bytes */
        for (size_t size = 0; size <= most; size++) {
            FOR_EACH_WAY(crc32c) assert_int_equal(crc32c(begin, line + off, size), ~rest);
            rest = divide(rest, line[off + size]);
        }
    }
    free(data);
}

static void every_size_to_4096_at_every_place_in_a_word(void **state) {
    (void)state;
    every_size(4096, 8);
}

static void every_size_to_1100_at_every_place_in_a_line(void **state) {
    (void)state;
    every_size(1100, 64);
}

static void large_ones_of_random_sizes(void **state) {
    unsigned char *data = random_data(LARGE);
    (void)state;
    for (int64_t n = t_loops(60); n; n--) {
        size_t off = t_random() % 4096, size = t_random() % (LARGE - off);
        uint32_t begin = (uint32_t)t_random(), want = by_definition(begin, data + off, size);
        FOR_EACH_WAY(crc32c) assert_int_equal(crc32c(begin, data + off, size), want);
    }
    free(data);
}

/* Where the instructions cut long input (24 bytes times a number of words), and where the wide way goes on in another way:
 * by what it shares with them (11,264 bytes), and by halves of 512 after it. */
static void sizes_beside_those_of_the_cuts(void **state) {
    static const size_t sizes[] = {192,   480,   960,   3840,  15360,        30720,        11264,       11264 + 256,
                                   11776, 22528, 33792, 22784, 22528 + 3840, 22528 + 5632, 33792 + 7680};
    enum { BESIDE = 72 };
    unsigned char *data = random_data(45000);
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t begin = (uint32_t)t_random(), crc = by_definition(begin, data, sizes[i] - BESIDE);
        for (size_t size = sizes[i] - BESIDE; size <= sizes[i] + BESIDE; size++) {
            FOR_EACH_WAY(crc32c) assert_int_equal(crc32c(begin, data, size), crc);
            crc = by_definition(crc, data + size, 1);
        }
    }
    free(data);
}

/* x^n modulo P by the definition: n times x, which is a zero bit more. The highest bit is x^0. */
static uint32_t power(int n) {
    uint32_t rest = 0x80000000;
    while (n--) rest = rest >> 1 ^ (rest & 1 ? 0x82f63b78 : 0);
    return rest;
}

static void the_constants_of_the_wide_way_are_powers_of_x(void **state) {
    (void)state;
#define IS_POWER(n, rest) assert_int_equal(power(n), rest);
    LW__CRC32C_POWERS(IS_POWER)
#undef IS_POWER
}

/* Pieces that were checked in different ways count as well. */
static void goes_on_where_it_stopped(void **state) {
    unsigned char *data = random_data(LARGE);
    uint32_t want = by_definition(0, data, LARGE);
    (void)state;
    for (int64_t n = t_loops(100); n; n--) {
        lw__crc32c_fn *way[WAYS];
        size_t count = ways(way);
        uint32_t crc = 0;
        for (size_t at = 0, piece; at < LARGE; at += piece) {
            piece = t_random() % (UINT64_C(1) << t_random() % 20);
            if (piece > LARGE - at) piece = LARGE - at;
            crc = way[t_random() % count](crc, data + at, piece);
        }
        assert_int_equal(crc, want);
    }
    free(data);
}

static void reads_nothing_before_or_after(void **state) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *data = map + page;
    (void)state;
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(data, page, PROT_READ | PROT_WRITE), 0);
    fill(data, page);
    for (size_t size = 0; size <= page; size++) {
        FOR_EACH_WAY(crc32c) {
            crc32c(0, data, size);
            crc32c(0, data + page - size, size);
        }
    }
    munmap(map, 3 * page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_choose_at_once_all_get_it_right),
        cmocka_unit_test(every_way_gives_the_known_answers),
        cmocka_unit_test(nothing_leaves_the_checksum_as_it_was),
        cmocka_unit_test(every_size_to_4096_at_every_place_in_a_word),
        cmocka_unit_test(every_size_to_1100_at_every_place_in_a_line),
        cmocka_unit_test(large_ones_of_random_sizes),
        cmocka_unit_test(sizes_beside_those_of_the_cuts),
        cmocka_unit_test(the_constants_of_the_wide_way_are_powers_of_x),
        cmocka_unit_test(goes_on_where_it_stopped),
        cmocka_unit_test(reads_nothing_before_or_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

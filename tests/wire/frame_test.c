/* SPDX-License-Identifier: MIT */
/* Frames and their payloads: every byte has its place, and what a peer says is bounded or refused with a reason. */
#include "wire/frame.h"

#include <string.h>

#include "base/crc32c.h"
#include "util/util.h"

static void fill(void *to, size_t size) {
    for (size_t i = 0; i < size; i++) ((unsigned char *)to)[i] = (unsigned char)t_random();
}

/* ---- headers ------------------------------------------------------------------------------------------------------ */

static void a_header_is_these_bytes(void **state) {
    const struct lw__frame frame = {.crc = 0x04030201,
                                    .length = 0x08070605,
                                    .kind = 9,
                                    .flags = 10,
                                    .lane = 0x0c0b,
                                    .ack_lane = 0x0e0d,
                                    .ack_reader = 0x100f,
                                    .position = UINT64_C(0x1817161514131211),
                                    .number = UINT64_C(0x201f1e1d1c1b1a19),
                                    .received = UINT64_C(0x2827262524232221),
                                    .consumed = UINT64_C(0x302f2e2d2c2b2a29),
                                    .consumed_number = UINT64_C(0x3837363534333231),
                                    .window = UINT64_C(0x403f3e3d3c3b3a39)};
    unsigned char bytes[LW__FRAME];
    (void)state;
    lw__frame_put(bytes, &frame);
    for (int i = 0; i < LW__FRAME; i++) assert_int_equal(bytes[i], i + 1);
}

static void any_header_comes_back_as_it_was(void **state) {
    unsigned char bytes[LW__FRAME], again[LW__FRAME];
    struct lw__frame frame;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        fill(bytes, sizeof bytes);
        lw__frame_get(&frame, bytes);
        lw__frame_put(again, &frame);
        assert_memory_equal(bytes, again, LW__FRAME);
    }
}

static void the_magic_is_text(void **state) {
    uint64_t magic = LW__WIRE_MAGIC;
    (void)state;
    assert_memory_equal(&magic, "LANEWAY\n", 8);
}

static void a_checksum_is_of_all_but_itself(void **state) {
    unsigned char all[LW__FRAME + 100];
    (void)state;
    fill(all, sizeof all);
    uint32_t want = lw__crc32c(0, all + 4, sizeof all - 4);
    for (size_t cut = 0; cut <= 100; cut++) {
        const unsigned char *payload = all + LW__FRAME;
        assert_int_equal(lw__frame_crc(all, payload, cut, payload + cut, 100 - cut), want);
    }
    all[0] ^= 1;
    assert_int_equal(lw__frame_crc(all, all + LW__FRAME, 100, NULL, 0), want);
}

/* docs/spec/wire.md, section 11. */
static void the_frames_of_the_specification(void **state) {
    static const unsigned char beat[LW__FRAME] = "\x7b\x23\x8a\xa1\0\0\0\0\6\2";
    static const unsigned char data[LW__FRAME + 16] = "\x11\x30\xed\x6c\x10\0\0\0\4\1\0\0\1\0\0\0"
                                                      "\x20\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"
                                                      "\x40\x10\0\0\0\0\0\0\x28\x10\0\0\0\0\0\0"
                                                      "\5\0\0\0\0\0\0\0\0\x10\1\0\0\0\0\0"
                                                      "\5\0\0\0\7\0\0\x80hello";
    struct lw__frame f;
    (void)state;
    lw__frame_get(&f, beat);
    assert_true(f.kind == LW__BEAT && f.flags == LW__FRAME_ASK && f.crc == lw__frame_crc(beat, NULL, 0, NULL, 0));
    lw__frame_get(&f, data);
    assert_int_equal(f.crc, lw__frame_crc(data, data + LW__FRAME, 16, NULL, 0));
    assert_true(f.kind == LW__DATA && f.length == 16 && f.lane == 0 && f.position == 32 && f.number == 2);
    assert_true(f.flags == LW__FRAME_ACK && f.ack_lane == 1 && f.received == 4160 && f.consumed == 4136);
    assert_true(f.consumed_number == 5 && f.window == 69632);
}

/* ---- good ones ---------------------------------------------------------------------------------------------------- */

static struct lw__wire_lane_state good_lane(void) {
    struct lw__wire_lane_state l = {.id = 0x0102,
                                    .role = LW__TAKES,
                                    .status = LW__DRAINING,
                                    .flags = LW__LANE_FRESH,
                                    .ring = 65536,
                                    .start = 131072,
                                    .first = 131080,
                                    .first_number = 0x1122334455,
                                    .end = 131128,
                                    .end_number = 0x112233445a,
                                    .window = 196608,
                                    .record_max = 32752};
    for (int i = 0; i < 16; i++) l.uuid[i] = (unsigned char)(0xa0 + i);
    return l;
}

static struct lw__greeting good_greeting(void) {
    struct lw__greeting g = {.server = "gate",
                             .client = "A.b-c_9",
                             .epoch = UINT64_C(0x1011121314151617),
                             .beat = 1000000000,
                             .service = LW__SERVICE_LINK,
                             .lanes = 2,
                             .session = 5,
                             .what = 2,
                             .code = -7,
                             .accepted = 9,
                             .length = 3};
    memset(g.host, 0xcc, sizeof g.host);
    memcpy(g.words, "yes", 3);
    g.lane[0] = g.lane[1] = good_lane();
    g.lane[1].id = 3;
    return g;
}

static void a_lane_is_these_bytes(void **state) {
    unsigned char bytes[LW__CONTROL_MAX], want[LW__LANE_SIZE] = {0x02, 0x01, 2, 1, 1};
    struct lw__wire_lane_state lane = good_lane(), back;
    const uint64_t words[] = {lane.ring, lane.start,      lane.first,  lane.first_number,
                              lane.end,  lane.end_number, lane.window, lane.record_max};
    (void)state;
    memcpy(want + 8, lane.uuid, 16);
    memcpy(want + 24, words, sizeof words);
    assert_int_equal(lw__lane_put(bytes, &lane), LW__LANE_SIZE);
    assert_memory_equal(bytes, want, LW__LANE_SIZE);
    assert_null(lw__lane_get(&back, bytes, LW__LANE_SIZE));
    assert_memory_equal(&back, &lane, sizeof lane);
}

static void a_greeting_is_these_bytes(void **state) {
    unsigned char bytes[LW__CONTROL_MAX], want[LW__GREETING_SIZE] = "gate";
    struct lw__greeting g = good_greeting(), back;
    const uint64_t beat = 1000000000, session = 5, accepted = 9;
    (void)state;
    memcpy(want + 64, "A.b-c_9", 7);
    memset(want + 128, 0xcc, 16);
    memcpy(want + 144, "\x17\x16\x15\x14\x13\x12\x11\x10", 8);
    memcpy(want + 152, &beat, 8);
    memcpy(want + 160, "\1\0\2\0\3\0\0\0", 8);
    memcpy(want + 168, &session, 8);
    memcpy(want + 176, "\2\0\0\0\xf9\xff\xff\xff", 8);
    memcpy(want + 184, &accepted, 8);
    assert_int_equal(lw__greeting_put(bytes, &g), LW__GREETING_SIZE + 2 * LW__LANE_SIZE + 3);
    assert_memory_equal(bytes, want, LW__GREETING_SIZE);
    assert_memory_equal(bytes + LW__GREETING_SIZE + 2 * LW__LANE_SIZE, "yes", 3);
    assert_null(lw__greeting_get(&back, bytes, LW__GREETING_SIZE + 2 * LW__LANE_SIZE + 3));
    assert_true(back.epoch == g.epoch && back.beat == g.beat && back.service == 1 && back.lanes == 2);
    assert_true(back.session == 5 && back.what == 2 && back.code == -7 && back.accepted == 9 && back.length == 3);
    assert_memory_equal(back.host, g.host, sizeof g.host);
    assert_memory_equal(back.lane, g.lane, 2 * sizeof g.lane[0]);
    assert_memory_equal(back.words, g.words, sizeof g.words);
}

static void words_are_these_bytes(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__words w = {.what = 3, .code = -1, .session = 4, .accepted = 5, .length = 2, .words = "no"}, back;
    (void)state;
    assert_int_equal(lw__words_put(bytes, &w), LW__WORDS_SIZE + 2);
    assert_memory_equal(bytes, "\3\0\0\0\xff\xff\xff\xff\4\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0no", 34);
    assert_null(lw__words_get(&back, bytes, LW__WORDS_SIZE + 2));
    assert_true(back.what == 3 && back.code == -1 && back.session == 4 && back.accepted == 5 && back.length == 2);
    assert_memory_equal(back.words, "no", 2);
}

/* As much as there may be: 16 lanes, 1,024 bytes of words, names of 63. */
static void the_largest_greeting_fits_a_control_frame(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__greeting *g = calloc(2, sizeof *g), *back = g + 1;
    (void)state;
    *g = good_greeting();
    memset(g->server, 's', LW__WIRE_NAME - 1);
    memset(g->client, 'c', LW__WIRE_NAME - 1);
    g->lanes = LW__WIRE_LANES;
    for (uint16_t i = 0; i < LW__WIRE_LANES; i++) g->lane[i] = good_lane(), g->lane[i].id = i;
    g->length = LW__WIRE_WORDS_MAX;
    fill(g->words, LW__WIRE_WORDS_MAX);
    uint32_t size = lw__greeting_put(bytes, g);
    assert_true(size <= LW__CONTROL_MAX);
    assert_null(lw__greeting_get(back, bytes, size));
    assert_memory_equal(back->words, g->words, LW__WIRE_WORDS_MAX);
    assert_string_equal(back->server, g->server);
    assert_int_equal(lw__greeting_put(bytes, g), LW__GREETING_MAX);
    free(g);
}

/* Who says more than there may be says less, and never writes further than it may. */
static void more_than_there_may_be_is_cut(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__greeting *g = calloc(1, sizeof *g);
    struct lw__words *w = calloc(1, sizeof *w);
    (void)state;
    g->lanes = 65535;
    g->length = w->length = UINT32_MAX;
    assert_int_equal(lw__greeting_put(bytes, g), LW__GREETING_SIZE + 16 * LW__LANE_SIZE + 1024);
    assert_int_equal(lw__words_put(bytes, w), LW__WORDS_SIZE + 1024);
    free(g);
    free(w);
}

static void what_is_just_within_bounds_is_taken(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__wire_lane_state back, lane = {.role = LW__OFFERS, .ring = 4096, .start = 4096, .first = 4096};
    struct lw__greeting g = good_greeting(), greeting;
    struct lw__words w = {.length = 0}, words;
    (void)state;
    lane.end = 8192;
    lane.end_number = 512;
    lane.record_max = 2032;
    assert_null(lw__lane_get(&back, bytes, lw__lane_put(bytes, &lane)));
    lane.ring = UINT64_C(64) << 30;
    lane.start = lane.first = lane.end = LW__WIRE_END - lane.ring;
    lane.window = LW__WIRE_END - 8;
    lane.first_number = lane.end_number = LW__WIRE_END - 1;
    assert_null(lw__lane_get(&back, bytes, lw__lane_put(bytes, &lane)));
    g.beat = LW__WIRE_BEAT_MAX;
    g.lanes = 0;
    g.length = 0;
    strcpy(g.server, "azAZ09_-.azAZ09_");
    assert_null(lw__greeting_get(&greeting, bytes, lw__greeting_put(bytes, &g)));
    assert_null(lw__words_get(&words, bytes, lw__words_put(bytes, &w)));
    w.length = LW__WIRE_WORDS_MAX;
    memset(w.words, 'w', sizeof w.words);
    assert_null(lw__words_get(&words, bytes, lw__words_put(bytes, &w)));
    assert_memory_equal(words.words, w.words, sizeof w.words);
}

/* ---- bad ones ----------------------------------------------------------------------------------------------------- */

#define POWER(n) (UINT64_C(1) << (n))

struct bad {
    const char *why;
    unsigned at, bytes; /* of the payload, replaced by `value` */
    uint64_t value;
};

/* Of good_lane(). */
static const struct bad bad_lanes[] = {
    {"a lane that is neither written nor read", 2, 1, 0},
    {"a lane that is neither written nor read", 2, 1, 3},
    {"a lane that is neither written nor read", 2, 1, 255},
    {"a lane of unknown status", 3, 1, 2},
    {"a lane of unknown status", 3, 1, 255},
    {"a ring of a size that can not be", 24, 8, 0},
    {"a ring of a size that can not be", 24, 8, 1},
    {"a ring of a size that can not be", 24, 8, 2048},
    {"a ring of a size that can not be", 24, 8, 65536 + 8},
    {"a ring of a size that can not be", 24, 8, POWER(37)},
    {"a ring of a size that can not be", 24, 8, POWER(63)},
    {"a ring of a size that can not be", 24, 8, UINT64_MAX},
    {"a position that can not be", 32, 8, 131073},
    {"a position that can not be", 32, 8, UINT64_MAX},
    {"a position that can not be", 40, 8, 131081},
    {"a position that can not be", 40, 8, UINT64_C(7) << 60},
    {"a position that can not be", 56, 8, 131129},
    {"a position that can not be", 56, 8, UINT64_MAX - 7},
    {"a position that can not be", 72, 8, 196609},
    {"a position that can not be", 72, 8, UINT64_C(7) << 60},
    {"a position that can not be", 72, 8, UINT64_MAX - 7},
    {"a log that begins within a ring", 32, 8, 131072 - 8},
    {"a log that begins within a ring", 32, 8, 131072 - 32768},
    {"positions out of order", 32, 8, 196608},
    {"positions out of order", 40, 8, 131064},
    {"positions out of order", 40, 8, 131136},
    {"positions out of order", 56, 8, 131072},
    {"positions out of order", 56, 8, 131080 + 65536 + 8},
    {"a number that can not be", 48, 8, UINT64_C(7) << 60},
    {"a number that can not be", 64, 8, UINT64_C(7) << 60},
    {"a number that can not be", 64, 8, UINT64_MAX},
    {"more messages than bytes for them", 64, 8, 0x1122334455 + 7},
    {"more messages than bytes for them", 64, 8, 0x1122334454},
    {"more messages than bytes for them", 48, 8, 0},
    {"bytes without messages", 64, 8, 0x1122334455},
    {"more messages than bytes for them", 56, 8, 131080},
    {"a record that would not fit", 80, 8, 32753},
    {"a record that would not fit", 80, 8, UINT64_MAX},
};

static void put_number(unsigned char *to, unsigned bytes, uint64_t value) {
    for (unsigned i = 0; i < bytes; i++) to[i] = (unsigned char)(value >> 8 * i);
}

static void each_number_of_a_lane_is_bounded(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__wire_lane_state lane = good_lane(), back;
    (void)state;
    for (size_t i = 0; i < sizeof bad_lanes / sizeof *bad_lanes; i++) {
        const struct bad *b = &bad_lanes[i];
        lw__lane_put(bytes, &lane);
        put_number(bytes + b->at, b->bytes, b->value);
        const char *why = lw__lane_get(&back, bytes, LW__LANE_SIZE);
        if (!why || strcmp(why, b->why) != 0)
            fail_msg("bytes %u: %llx: %s, not: %s", b->at, (unsigned long long)b->value, why ? why : "fine", b->why);
    }
}

/* Bits without a name, and what is zero, are not looked at. */
static void what_has_no_name_is_not_looked_at(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__wire_lane_state lane = good_lane(), back;
    (void)state;
    lw__lane_put(bytes, &lane);
    put_number(bytes + 4, 4, 0xfffffffe);
    put_number(bytes + 88, 8, UINT64_MAX);
    assert_null(lw__lane_get(&back, bytes, LW__LANE_SIZE));
    assert_int_equal(back.flags & LW__LANE_FRESH, 0);
}

/* Of good_greeting(). */
static const struct bad bad_greetings[] = {
    {"a name that is none", 0, 1, 0},
    {"a name that is none", 0, 1, '.'},
    {"a name that is none", 0, 1, '-'},
    {"a name that is none", 0, 1, '/'},
    {"a name that is none", 2, 1, 0},
    {"a name that is none", 2, 1, '/'},
    {"a name that is none", 2, 1, 0x80},
    {"a name that is none", 2, 1, '\n'},
    {"a name that is none", 63, 1, 'a'},
    {"a name that is none", 64, 1, 0},
    {"a name that is none", 64, 1, '.'},
    {"a name that is none", 127, 1, 1},
    {"too many lanes or words", 162, 2, 17},
    {"too many lanes or words", 162, 2, 65535},
    {"too many lanes or words", 164, 4, 1025},
    {"too many lanes or words", 164, 4, UINT32_MAX},
    {"a greeting of another size", 162, 2, 1},
    {"a greeting of another size", 162, 2, 16},
    {"a greeting of another size", 164, 4, 2},
    {"a greeting of another size", 164, 4, 4},
    {"a beat that nobody would wait for", 152, 8, UINT64_C(3600000000001)},
    {"a beat that nobody would wait for", 152, 8, UINT64_MAX},
    {"a lane that is there twice", LW__GREETING_SIZE + LW__LANE_SIZE, 2, 0x0102},
    {"a lane of unknown status", LW__GREETING_SIZE + 3, 1, 2},
    {"a lane that is neither written nor read", LW__GREETING_SIZE + LW__LANE_SIZE + 2, 1, 9},
};

static void each_number_of_a_greeting_is_bounded(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__greeting g = good_greeting(), back;
    (void)state;
    for (size_t i = 0; i < sizeof bad_greetings / sizeof *bad_greetings; i++) {
        const struct bad *b = &bad_greetings[i];
        uint32_t size = lw__greeting_put(bytes, &g);
        put_number(bytes + b->at, b->bytes, b->value);
        const char *why = lw__greeting_get(&back, bytes, size);
        if (!why || strcmp(why, b->why) != 0)
            fail_msg("bytes %u: %llx: %s, not: %s", b->at, (unsigned long long)b->value, why ? why : "fine", b->why);
    }
}

static void a_name_of_64_letters_is_none(void **state) {
    unsigned char bytes[LW__CONTROL_MAX];
    struct lw__greeting g = good_greeting(), back;
    (void)state;
    memset(g.client, 'a', LW__WIRE_NAME);
    uint32_t size = lw__greeting_put(bytes, &g);
    assert_string_equal(lw__greeting_get(&back, bytes, size), "a name that is none");
}

/* Exactly as long as it says, in memory that is exactly so long: a byte further is found by AddressSanitizer. */
static const char *get_cut(int what, const unsigned char *bytes, uint32_t size) {
    struct {
        struct lw__greeting greeting;
        struct lw__words words;
        struct lw__wire_lane_state lane;
    } *to = malloc(sizeof *to);
    unsigned char *exact = malloc(size + 1);
    memcpy(exact + 1, bytes, size);
    const char *why = what == 0   ? lw__lane_get(&to->lane, exact + 1, size)
                      : what == 1 ? lw__greeting_get(&to->greeting, exact + 1, size)
                                  : lw__words_get(&to->words, exact + 1, size);
    free(exact);
    free(to);
    return why;
}

static void every_truncation_is_refused(void **state) {
    unsigned char bytes[3][LW__CONTROL_MAX] = {{0}};
    struct lw__wire_lane_state lane = good_lane();
    struct lw__greeting g = good_greeting();
    struct lw__words w = {.length = 10};
    (void)state;
    const uint32_t size[3] = {lw__lane_put(bytes[0], &lane), lw__greeting_put(bytes[1], &g),
                              lw__words_put(bytes[2], &w)};
    for (int what = 0; what < 3; what++)
        for (uint32_t cut = 0; cut <= size[what] + 64; cut++)
            assert_int_equal(get_cut(what, bytes[what], cut) == NULL, cut == size[what]);
}

static void words_beyond_their_frame_are_refused(void **state) {
    unsigned char bytes[LW__CONTROL_MAX] = {0};
    struct lw__words w = {.length = 10}, back;
    const uint64_t lengths[] = {0, 9, 11, 1024, 1025, 0x7fffffff, UINT32_MAX, UINT32_MAX - 31, UINT32_MAX - 21};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t size = lw__words_put(bytes, &w);
        put_number(bytes + 24, 4, lengths[i]);
        assert_string_equal(lw__words_get(&back, bytes, size), "words of another size");
    }
}

/* Nothing is believed that breaks the rules, whatever the bytes are. */
static void random_bytes_are_refused_or_within_bounds(void **state) {
    unsigned char bytes[LW__LANE_SIZE];
    struct lw__wire_lane_state lane = good_lane(), back;
    (void)state;
    for (int64_t i = 0; i < t_loops(300000); i++) {
        lw__lane_put(bytes, &lane);
        for (uint64_t n = 1 + t_random() % 4; n; n--) bytes[t_random() % LW__LANE_SIZE] ^= (unsigned char)t_random();
        if (lw__lane_get(&back, bytes, LW__LANE_SIZE)) continue;
        assert_true(back.start <= back.first && back.first <= back.end && back.end - back.first <= back.ring);
        assert_true(back.end < LW__WIRE_END && back.window < LW__WIRE_END && back.end_number < LW__WIRE_END);
        assert_true(back.end_number - back.first_number <= (back.end - back.first) / 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_these_bytes),
        cmocka_unit_test(any_header_comes_back_as_it_was),
        cmocka_unit_test(the_magic_is_text),
        cmocka_unit_test(a_checksum_is_of_all_but_itself),
        cmocka_unit_test(the_frames_of_the_specification),
        cmocka_unit_test(a_lane_is_these_bytes),
        cmocka_unit_test(a_greeting_is_these_bytes),
        cmocka_unit_test(words_are_these_bytes),
        cmocka_unit_test(the_largest_greeting_fits_a_control_frame),
        cmocka_unit_test(more_than_there_may_be_is_cut),
        cmocka_unit_test(what_is_just_within_bounds_is_taken),
        cmocka_unit_test(each_number_of_a_lane_is_bounded),
        cmocka_unit_test(what_has_no_name_is_not_looked_at),
        cmocka_unit_test(each_number_of_a_greeting_is_bounded),
        cmocka_unit_test(a_name_of_64_letters_is_none),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(words_beyond_their_frame_are_refused),
        cmocka_unit_test(random_bytes_are_refused_or_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

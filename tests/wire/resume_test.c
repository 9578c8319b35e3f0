/* SPDX-License-Identifier: MIT */
/* Where to go on: every case of what the two sides of a lane may have, and the numbers that a refusal tells. */
#include <string.h>

#include "util/util.h"
#include "wire/frame.h"

enum { RING = 4096 };

/* Positions are in eights, so that a position of one message each has its number. Beginning at one ring. */
struct has {
    unsigned char log;
    uint64_t first, end;
    int first_more, end_more; /* messages beyond what the position says */
};

static struct lw__wire_lane_state state_of(const struct has *h, enum lw__lane_role role) {
    struct lw__wire_lane_state s = {.role = (uint8_t)role,
                                    .ring = RING,
                                    .start = RING,
                                    .first = RING + 8 * h->first,
                                    .end = RING + 8 * h->end,
                                    .first_number = 100 + h->first + (uint64_t)h->first_more,
                                    .end_number = 100 + h->end + (uint64_t)h->end_more,
                                    .window = 2 * RING + 8 * h->first};
    memset(s.uuid, h->log, 16);
    return s;
}

static const struct {
    const char *what; /* of the mismatch */
    struct has offer, mirror;
    enum lw__verdict verdict;
} cases[] = {
    /* the same log */
    {NULL, {1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, LW__GO_ON},
    {NULL, {1, 0, 9, 0, 0}, {1, 0, 0, 0, 0}, LW__GO_ON},
    {NULL, {1, 0, 9, 0, 0}, {1, 0, 9, 0, 0}, LW__GO_ON},
    {NULL, {1, 0, 9, 0, 0}, {1, 9, 9, 0, 0}, LW__GO_ON},
    {NULL, {1, 4, 9, 0, 0}, {1, 4, 4, 0, 0}, LW__GO_ON},
    {NULL, {1, 4, 9, 0, 0}, {1, 5, 7, 0, 0}, LW__GO_ON},
    {NULL, {1, 9, 9, 0, 0}, {1, 9, 9, 0, 0}, LW__GO_ON},
    {"more arrived than was written", {1, 0, 9, 0, 0}, {1, 0, 10, 0, 0}, LW__MISMATCH},
    {"more arrived than was written", {1, 0, 0, 0, 0}, {1, 0, 1, 0, 0}, LW__MISMATCH},
    {"more arrived than was written", {1, 0, 9, 0, -1}, {1, 0, 9, 0, 0}, LW__MISMATCH},
    {"more arrived than was written", {1, 0, 9, 0, 0}, {1, 0, 9, 0, -1}, LW__MISMATCH},
    {"more arrived than was written", {1, 0, 9, 0, 0}, {1, 0, 7, 0, 2}, LW__MISMATCH},
    {"more arrived than was written", {1, 0, 9, 0, 0}, {1, 0, 7, 0, -1}, LW__MISMATCH},
    {"less was consumed than the writer was told", {1, 4, 9, 0, 0}, {1, 3, 9, 0, 0}, LW__MISMATCH},
    {"less was consumed than the writer was told", {1, 4, 9, 0, 0}, {1, 0, 0, 0, 0}, LW__MISMATCH},
    {"less was consumed than the writer was told", {1, 4, 9, 0, 0}, {1, 4, 9, -1, 0}, LW__MISMATCH},
    {"less was consumed than the writer was told", {1, 4, 9, 0, 0}, {1, 5, 9, -1, 0}, LW__MISMATCH},
    {"less was consumed than the writer was told", {1, 4, 9, -3, 0}, {1, 5, 9, 0, 0}, LW__MISMATCH},
    /* another log, and nothing ever came into the mirror */
    {NULL, {1, 0, 0, 0, 0}, {2, 0, 0, 0, 0}, LW__ANEW},
    {NULL, {1, 0, 9, 0, 0}, {2, 0, 0, 0, 0}, LW__ANEW},
    {NULL, {1, 4, 9, 0, 0}, {2, 0, 0, 0, 0}, LW__ANEW},
    {NULL, {1, 9, 9, 0, 0}, {2, 0, 0, 0, 0}, LW__ANEW},
    /* another log, of which nobody has consumed anything */
    {NULL, {1, 0, 0, 0, 0}, {2, 0, 9, 0, 0}, LW__NEW_LOG},
    {NULL, {1, 0, 9, 0, 0}, {2, 0, 9, 0, 0}, LW__NEW_LOG},
    {NULL, {1, 0, 9, 0, 0}, {2, 9, 9, 0, 0}, LW__NEW_LOG},
    {NULL, {1, 0, 9, 0, 0}, {2, 50, 90, 0, 0}, LW__NEW_LOG},
    /* another log, and both were used */
    {"two different logs, and both were used", {1, 1, 9, 0, 0}, {2, 0, 9, 0, 0}, LW__MISMATCH},
    {"two different logs, and both were used", {1, 9, 9, 0, 0}, {2, 9, 9, 0, 0}, LW__MISMATCH},
};

static void every_verdict(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[LW__WHY] = "";
        struct lw__wire_lane_state offer = state_of(&cases[i].offer, LW__OFFERS);
        struct lw__wire_lane_state mirror = state_of(&cases[i].mirror, LW__TAKES);
        enum lw__verdict verdict = lw__wire_judge(&offer, &mirror, why);
        if (verdict != cases[i].verdict) fail_msg("case %zu: %d: %s", i, (int)verdict, why);
        if (!!*why != (verdict == LW__MISMATCH)) fail_msg("case %zu: %s", i, why);
        if (cases[i].what && strncmp(why, cases[i].what, strlen(cases[i].what)) != 0) fail_msg("case %zu: %s", i, why);
    }
}

/* Where the reader's side goes on, the writer's side agrees; nowhere else. */
static void the_writers_side_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[LW__WHY] = "";
        struct lw__wire_lane_state offer = state_of(&cases[i].offer, LW__OFFERS);
        struct lw__wire_lane_state mirror = state_of(&cases[i].mirror, LW__TAKES);
        const char *bad = lw__wire_check_take(&offer, &mirror, why);
        if ((bad == NULL) != (cases[i].verdict == LW__GO_ON)) fail_msg("case %zu: %s", i, bad ? bad : "fine");
        if (bad) assert_ptr_equal(bad, why);
        if (cases[i].offer.log != cases[i].mirror.log)
            assert_non_null(strstr(why, "the reader answers for another log"));
    }
}

static void another_ring_under_the_same_name_is_a_mismatch(void **state) {
    char why[LW__WHY];
    const struct has same = {1, 0, 9, 0, 0};
    struct lw__wire_lane_state offer = state_of(&same, LW__OFFERS), mirror = state_of(&same, LW__TAKES);
    (void)state;
    offer.ring = 2 * RING;
    assert_int_equal(lw__wire_judge(&offer, &mirror, why), LW__MISMATCH);
    assert_non_null(strstr(why, "the rings differ"));
    assert_non_null(lw__wire_check_take(&offer, &mirror, why));
}

static void a_mismatch_tells_all_numbers(void **state) {
    char why[LW__WHY];
    struct lw__wire_lane_state offer = {
        .uuid = {0xab, 0xcd, 0xef, 0x01}, .ring = RING, .first = 11, .first_number = 12, .end = 13, .end_number = 14};
    struct lw__wire_lane_state mirror = {.ring = RING, .first = 21, .first_number = 22, .end = 23, .end_number = 24};
    (void)state;
    assert_int_equal(lw__wire_judge(&offer, &mirror, why), LW__MISMATCH);
    assert_string_equal(why,
                        "two different logs, and both were used; writer: log abcdef01, consumed up to position 11 "
                        "(message 12), written up to 13 (message 14); reader: log 00000000, consumed up to position "
                        "21 (message 22), arrived up to 23 (message 24)");
}

/* The longest numbers there are. */
static void a_mismatch_is_told_whole(void **state) {
    char why[LW__WHY + 1];
    struct lw__wire_lane_state offer, mirror;
    (void)state;
    memset(&offer, 0xff, sizeof offer);
    memset(&mirror, 0xff, sizeof mirror);
    mirror.first--;
    why[LW__WHY] = 'x';
    assert_int_equal(lw__wire_judge(&offer, &mirror, why), LW__MISMATCH);
    assert_true(strlen(why) < LW__WHY - 1 && why[LW__WHY] == 'x');
    assert_string_equal(why + strlen(why) - 35, "1615 (message 18446744073709551615)");
}

/* A window that was taken back, or that would let the writer overwrite what was not consumed. */
static void a_window_that_can_not_be_is_refused(void **state) {
    const struct has offered = {1, 2, 9, 0, 0}, taken = {1, 3, 7, 0, 0};
    struct lw__wire_lane_state offer = state_of(&offered, LW__OFFERS), take = state_of(&taken, LW__TAKES);
    const uint64_t good[] = {take.end, take.end + 8, take.first + RING};
    const uint64_t bad[] = {0, take.first, take.end - 8, take.first + RING + 8, LW__WIRE_END - 8};
    char why[LW__WHY];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        take.window = good[i];
        assert_null(lw__wire_check_take(&offer, &take, why));
    }
    for (size_t i = 0; i < 5; i++) {
        take.window = bad[i];
        assert_ptr_equal(lw__wire_check_take(&offer, &take, why), why);
        assert_non_null(strstr(why, "a window that can not be"));
    }
}

/* A true history: written, sent, arrived, consumed, told, each a bit later than the one before; both sides are asked at
 * any moment, and lose the connection at any moment. */
static void every_moment_of_a_true_history_goes_on(void **state) {
    uint64_t written = 0, arrived = 0, consumed = 0, told = 0;
    (void)state;
    for (int64_t i = 0; i < t_loops(100000); i++) {
        uint64_t *const grow[] = {&told, &consumed, &arrived, &written};
        const uint64_t limit[] = {consumed, arrived, written, told + RING / 8};
        uint64_t k = t_random() % 4;
        *grow[k] += t_random() % (limit[k] - *grow[k] + 1);
        char why[LW__WHY];
        const struct has writer = {1, told, written, 0, 0}, reader = {1, consumed, arrived, 0, 0};
        struct lw__wire_lane_state offer = state_of(&writer, LW__OFFERS), mirror = state_of(&reader, LW__TAKES);
        assert_int_equal(lw__wire_judge(&offer, &mirror, why), LW__GO_ON);
        assert_null(lw__wire_check_take(&offer, &mirror, why));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verdict),
        cmocka_unit_test(the_writers_side_agrees),
        cmocka_unit_test(another_ring_under_the_same_name_is_a_mismatch),
        cmocka_unit_test(a_mismatch_tells_all_numbers),
        cmocka_unit_test(a_mismatch_is_told_whole),
        cmocka_unit_test(a_window_that_can_not_be_is_refused),
        cmocka_unit_test(every_moment_of_a_true_history_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

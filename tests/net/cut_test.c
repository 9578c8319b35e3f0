/* SPDX-License-Identifier: MIT */
/*
 * A link over TCP is cut at byte N, for every N of a resume and of a hundred messages behind it: by a reset and by an end, in
 * both directions. Real processes, a connection for each N. It comes back by itself each time, and at the end all
 * messages are there, once and in order, both ways. (util/talk.h; LW_TEST_SHORT samples.)
 */
#include "util/talk.h"

/* Round after round: the bytes up to N are the same ones until N is behind them. */
static void at_every_byte_of_a_resume_and_of_a_hundred_messages(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.burst = 100});
    talk_cuts(t, 0, 9500, 1);
    talk_end(t);
}

static void in_messages_of_half_a_ring(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.window = 100, .big = 32000});
    talk_cuts(t, 600, 44000, 151);
    talk_end(t);
}

static void without_checksums(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.burst = 100, .client_flags = LW_LINK_NO_CRC});
    talk_cuts(t, 0, 9500, 37);
    talk_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(at_every_byte_of_a_resume_and_of_a_hundred_messages),
        t_test(in_messages_of_half_a_ring),
        t_test(without_checksums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

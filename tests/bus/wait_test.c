/* SPDX-License-Identifier: MIT */
/* Waiting: not too short, not for ever, and a signal ends it. */
#include "bus/wait.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "util/util.h"

static int wait_out(struct lw__wait *wait) {
    int rc;
    while (!(rc = lw__wait_turn(wait))) continue;
    return rc;
}

static void zero_never_waits(void **state) {
    struct lw__wait wait = lw__wait_for(0, NULL);
    (void)state;
    assert_int_equal(lw__wait_turn(&wait), 1);
    assert_int_equal(lw__wait_turn(&wait), 1);
    assert_false(lw__wait_slept(&wait));
}

static void a_timeout_is_kept(void **state) {
    const int64_t times[] = {1, 1000, LW_MS(1) / 2, LW_MS(3), LW_MS(20)};
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct lw__wait wait = lw__wait_for(times[i], NULL);
        int64_t begin = t_now();
        assert_int_equal(wait_out(&wait), 1);
        assert_true(t_now() - begin >= times[i]);
        assert_true(t_now() - begin < LW_SEC(10));
        assert_int_equal(wait_out(&wait), 1); /* and it stays over */
    }
}

static void forever_goes_on_and_sleeps_at_last(void **state) {
    struct lw__wait wait = lw__wait_for(LW_FOREVER, NULL);
    int turns = 0;
    (void)state;
    for (; !lw__wait_slept(&wait); turns++) assert_int_equal(lw__wait_turn(&wait), 0);
    assert_in_range(turns, 100, 10000);
    for (int i = 0; i < 5; i++) {
        int64_t begin = t_now();
        assert_int_equal(lw__wait_turn(&wait), 0);
        assert_true(t_now() - begin >= LW_MS(1));
        assert_true(lw__wait_slept(&wait));
    }
}

static void the_longest_timeout_does_not_overflow(void **state) {
    const int64_t times[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2};
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct lw__wait wait = lw__wait_for(times[i], NULL);
        while (!lw__wait_slept(&wait)) assert_int_equal(lw__wait_turn(&wait), 0);
        assert_int_equal(lw__wait_turn(&wait), 0);
    }
}

static void on_alarm(int number) {
    (void)number;
}

static void a_signal_handler_ends_it(void **state) {
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 1300}, {0, 1300}}, never = {{0, 0}, {0, 0}}; /* against a sleep of 1,000 us */
    const int64_t times[] = {LW_FOREVER, LW_SEC(30)};
    (void)state;
    sigaction(SIGALRM, &act, NULL);
    for (int i = 0; i < 2; i++) {
        struct lw__wait wait = lw__wait_for(times[i], NULL);
        setitimer(ITIMER_REAL, &often, NULL);
        int rc = wait_out(&wait);
        setitimer(ITIMER_REAL, &never, NULL);
        assert_int_equal(rc, -EINTR);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_never_waits),
        cmocka_unit_test(a_timeout_is_kept),
        cmocka_unit_test(forever_goes_on_and_sleeps_at_last),
        cmocka_unit_test(the_longest_timeout_does_not_overflow),
        cmocka_unit_test(a_signal_handler_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

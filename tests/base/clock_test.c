/* SPDX-License-Identifier: MIT */
/* The monotonic clock, and sleeping on it. */
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "util/util.h"

static void the_clock_never_goes_back(void **state) {
    int64_t last = lw__now();
    (void)state;
    for (int i = 0; i < 100000; i++) {
        int64_t now = lw__now();
        assert_true(now >= last);
        last = now;
    }
}

static void a_sleep_is_not_short(void **state) {
    (void)state;
    int64_t begin = lw__now();
    assert_int_equal(lw__sleep(LW_MS(3)), 0);
    assert_true(lw__now() - begin >= LW_MS(3));
    assert_int_equal(lw__sleep(0), 0);
}

static void on_alarm(int number) {
    (void)number;
}

static void a_signal_ends_a_sleep(void **state) {
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval soon = {.it_value.tv_usec = 5000}, never = {0};
    (void)state;
    sigaction(SIGALRM, &act, NULL);
    int64_t begin = lw__now();
    setitimer(ITIMER_REAL, &soon, NULL);
    int rc = lw__sleep(LW_SEC(20));
    setitimer(ITIMER_REAL, &never, NULL);
    assert_int_equal(rc, -EINTR);
    assert_true(lw__now() - begin < LW_SEC(15));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_never_goes_back),
        cmocka_unit_test(a_sleep_is_not_short),
        cmocka_unit_test(a_signal_ends_a_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

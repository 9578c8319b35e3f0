/* SPDX-License-Identifier: MIT */
/* group_suspect_test - what one thread hears of, others that sleep must look into as well: it may not come back to it. */
#include <errno.h>
#include <poll.h>

#include "bus/group.h"
#include "bus/watch.h"
#include "util/group_util.h"

static bool is_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;
    while ((rc = poll(&p, 1, 0)) < 0 && errno == EINTR) continue;
    return rc == 1;
}

static int live_as_x(void *arg) {
    tt_bus(arg, "x");
    t_say(0);
    t_forever();
}

/* A name that was heard of, and is not known to be dead yet: groups that sleep must look again sooner than they meant to. */
static void a_suspect_that_one_thread_hears_of_wakes_the_other_groups(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me"), *second;
    struct lw_group *g = tg_group(bus, 0);
    if (lw__watch_fd(bus) < 0) t_skip(__func__, "no inotify instance is to be had");
    struct t_child child = t_fork(live_as_x, *state);
    t_hear(&child);
    tg_settle(g);
    T_UNTIL(lw__watch_next(bus) == INT64_MAX || tg_poll(g, LW_MS(20)).kind); /* its start may have made it one */
    assert_int_equal(lw_group_arm(g), 0);
    assert_false(is_readable(g->bell.fifo));
    assert_fails(t_bus_open(&second, *state, "x", 0), LW_EHELD, "x"); /* opens and closes its file */
    lw__watch_turn(bus, 0);
    assert_true(lw__watch_next(bus) < INT64_MAX);
    assert_true(is_readable(g->bell.fifo));
    assert_int_equal(tg_poll(g, 0).kind, 0);
    t_kill(&child);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_suspect_that_one_thread_hears_of_wakes_the_other_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

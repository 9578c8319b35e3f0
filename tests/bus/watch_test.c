/* SPDX-License-Identifier: MIT */
/* watch_test - deaths are heard at once, and nobody is taken for dead who is not. */
#include <string.h>

#include "bus/watch.h"
#include "util/group_util.h"

static const char *dir_of;

static int live_as_x(void *arg) {
    (void)arg;
    tt_bus(dir_of, "x");
    t_say(0);
    t_forever();
}

static struct t_child node_x(const char *dir) {
    dir_of = dir;
    struct t_child child = t_fork(live_as_x, NULL);
    t_hear(&child);
    return child;
}

static void need_inotify(const struct lw_bus *bus, const char *name) {
    if (lw__watch_fd(bus) < 0) t_skip(name, "no inotify instance is to be had (fs.inotify.max_user_instances)");
}

/* Polls until a death was counted; returns how long that took, ns. */
static int64_t hears_death(struct lw_group *g, const struct lw_bus *bus, uint64_t before, int64_t since) {
    while (lw__watch_deaths(bus) == before && t_now() - since < LW_SEC(5)) tg_poll(g, LW_MS(1) / 2);
    assert_true(lw__watch_deaths(bus) > before);
    return t_now() - since;
}

static void poll_for(struct lw_group *g, int64_t ns) {
    for (int64_t end = t_now() + ns; t_now() < end;) tg_poll(g, LW_MS(20));
}

static void a_death_is_heard_at_once(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    need_inotify(bus, __func__);
    for (int i = 0; i < 5; i++) {
        struct t_child child = node_x(*state);
        uint64_t before = lw__watch_deaths(bus);
        poll_for(g, LW_MS(30));
        assert_int_equal(lw__watch_deaths(bus), before);
        int64_t begin = t_now();
        t_kill(&child);
        int64_t took = hears_death(g, bus, before, begin);
        printf("heard after %.3f ms\n", (double)took / 1e6);
        assert_true(took < LW_SEC(1) / 2);
    }
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void who_is_stopped_is_not_dead(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    struct t_child child = node_x(*state);
    uint64_t before = lw__watch_deaths(bus);
    t_stop(&child);
    poll_for(g, LW_MS(300));
    t_go_on(&child);
    poll_for(g, LW_MS(100));
    assert_int_equal(lw__watch_deaths(bus), before);
    t_kill(&child);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* A start that fails opens and closes the file of who lives: a false alarm. A true one that comes while it is still
 * looked into is heard as fast as any. */
static void a_death_after_a_false_alarm_is_heard_at_once(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me"), *second;
    struct lw_group *g = tg_group(bus, 0);
    need_inotify(bus, __func__);
    struct t_child child = node_x(*state);
    uint64_t before = lw__watch_deaths(bus);
    assert_fails(t_bus_open(&second, *state, "x", 0), LW_EHELD, "x");
    poll_for(g, LW_MS(700));
    assert_int_equal(lw__watch_deaths(bus), before);
    int64_t begin = t_now();
    t_kill(&child);
    int64_t took = hears_death(g, bus, before, begin);
    printf("heard after %.3f ms\n", (double)took / 1e6);
    assert_true(took < LW_MS(150));
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_death_is_heard_at_once),
        t_test(who_is_stopped_is_not_dead),
        t_test(a_death_after_a_false_alarm_is_heard_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

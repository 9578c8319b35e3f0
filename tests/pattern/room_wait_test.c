/* SPDX-License-Identifier: MIT */
/* room_wait_test - publishers that wait for room, in a group or by themselves, and what makes room for them; and who
 * sleeps on a topic that is removed or replaced. Everything is heard long before a tick would find it. */
#include <pthread.h>
#include <string.h>

#include "util/group_util.h"

#define AT_ONCE t_prompt() /* half a tick */

/* ---- who holds back ---------------------------------------------------------------------------------------------- */

static const char *dir_of;
static const char *name_of; /* NULL: not durable */

static int hold_back(void *arg) {
    struct lw_bus *bus = tt_bus(dir_of, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", name_of, LW_FROM_NOW);
    (void)arg;
    t_say(0);
    for (int64_t what; (what = t_listen()) != 0;) {
        if (what == 'r') T_NEED(tt_drain(sub) > 0);
        if (what == 'c') lw_sub_close(sub);
        t_say(t_now());
    }
    return 0;
}

static struct t_child holder(const char *name) {
    name_of = name;
    struct t_child child = t_fork(hold_back, NULL);
    t_hear(&child);
    return child;
}

/* ---- in a group -------------------------------------------------------------------------------------------------- */

struct scene {
    struct lw_bus *bus;
    struct lw_group *g;
    struct lw_pub *pub;
    uint64_t next;
};

static struct scene full(const char *dir, bool shared) {
    struct scene s = {.bus = tt_bus(dir, NULL)};
    s.g = tg_group(s.bus, 0);
    s.pub = shared ? tt_pub_shared(s.bus, "t") : tt_pub(s.bus, "t");
    T_NEED(!lw_pub_move(s.pub, s.g, s.pub));
    s.next = tt_send_all(s.pub, 0);
    tg_settle(s.g);
    return s;
}

static void expect_room(struct scene *s, int64_t since) {
    struct lw_event event = tg_poll(s->g, LW_SEC(5));
    assert_int_equal(event.kind, LW_WRITABLE);
    assert_ptr_equal(event.pub, s->pub);
    assert_ptr_equal(event.user, s->pub);
    assert_true(t_now() - since < AT_ONCE);
    assert_int_equal(tg_stats(s->g).tick_finds, 0);
    assert_int_equal(tg_poll(s->g, 0).kind, 0); /* told once */
    assert_ok(tt_send(s->pub, s->next, 0));
}

static void end(struct scene *s) {
    lw_pub_close(s->pub);
    assert_ok(lw_group_close(s->g));
    assert_ok(lw_bus_close(s->bus));
}

static void prepare(const char *dir, const char *name) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    lw_pub_close(tt_pub(bus, "t"));
    if (name) lw_sub_close(tt_sub(bus, "t", name, LW_FROM_NOW));
    T_NEED(!lw_bus_close(bus));
    dir_of = dir;
}

/* 'r' releases, 'c' closes. */
static void told_when(const char *dir, bool shared, int what) {
    prepare(dir, NULL);
    struct t_child child = holder(NULL);
    struct scene s = full(dir, shared);
    t_tell(&child, what);
    expect_room(&s, t_hear(&child));
    end(&s);
    t_kill(&child);
}

static void a_release_is_told(void **state) {
    told_when(*state, false, 'r');
}
static void a_release_is_told_to_a_shared_publisher(void **state) {
    told_when(*state, true, 'r');
}
static void a_close_is_told(void **state) {
    told_when(*state, false, 'c');
}
static void a_close_is_told_to_a_shared_publisher(void **state) {
    told_when(*state, true, 'c');
}

static void told_of_deaths(const char *dir, int count) {
    struct t_child child[3];
    prepare(dir, NULL);
    for (int i = 0; i < count; i++) child[i] = holder(NULL);
    struct scene s = full(dir, false);
    for (int i = 0; i < count; i++) t_kill(&child[i]);
    expect_room(&s, t_now());
    end(&s);
}

static void pitfall_14_the_death_of_who_held_back_is_told(void **state) {
    told_of_deaths(*state, 1);
}
static void pitfall_14_the_death_of_all_who_held_back_is_told(void **state) {
    told_of_deaths(*state, 3);
}

/* The one that held back first goes on; now it is a dead one. */
static void pitfall_14_one_that_is_dead_behind_one_that_goes_on(void **state) {
    prepare(*state, NULL);
    struct t_child lives = holder(NULL), dies = holder(NULL);
    struct scene s = full(*state, false);
    t_kill(&dies);
    t_tell(&lives, 'r');
    expect_room(&s, t_hear(&lives));
    end(&s);
    t_kill(&lives);
}

static void forgetting_is_told(void **state) {
    prepare(*state, "name");
    struct scene s = full(*state, false);
    struct lw_bus *other = tt_bus(*state, NULL);
    assert_ok(lw_topic_forget(other, "t", "name"));
    expect_room(&s, t_now());
    assert_ok(lw_bus_close(other));
    end(&s);
}

/* ---- by itself --------------------------------------------------------------------------------------------------- */

static void a_waiting_send_goes_on(const char *dir, int what) {
    prepare(dir, NULL);
    struct t_child child = holder(NULL);
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    uint64_t next = tt_send_all(pub, 0);
    int64_t begin = t_now();
    assert_int_equal(tt_send(pub, next, LW_MS(30)), LW_EFULL);
    assert_in_range(t_now() - begin, LW_MS(30), AT_ONCE);
    begin = t_now();
    if (what == 'k')
        t_kill(&child);
    else
        t_tell(&child, what);
    assert_ok(tt_send(pub, next, LW_SEC(20)));
    assert_true(t_now() - begin < AT_ONCE);
    if (what != 'k') t_kill(&child);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_waiting_send_goes_on_after_a_release(void **state) {
    a_waiting_send_goes_on(*state, 'r');
}
static void a_waiting_send_goes_on_after_a_close(void **state) {
    a_waiting_send_goes_on(*state, 'c');
}
static void a_waiting_send_goes_on_after_a_death(void **state) {
    a_waiting_send_goes_on(*state, 'k');
}

/* ---- files that go ----------------------------------------------------------------------------------------------- */

struct sleeper {
    struct lw_sub *sub;
    int64_t woken;
    int rc;
};

static void *sleep_on_it(void *arg) {
    struct sleeper *s = arg;
    struct lw_msg m;
    s->rc = lw_sub_next(s->sub, &m, LW_SEC(20));
    s->woken = t_now();
    return NULL;
}

static void removing_a_topic_wakes_who_sleeps_on_it(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *grouped = tg_sub(g, bus, "t");
    struct sleeper s = {.sub = tt_sub(bus, "t", NULL, LW_FROM_NOW)};
    struct lw_msg m;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sleep_on_it, &s), 0);
    tg_settle(g);
    t_sleep(LW_MS(20));
    int64_t begin = t_now();
    assert_ok(lw_topic_remove(other, "t", LW_REMOVE_FORCE));
    assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
    assert_true(t_now() - begin < AT_ONCE);
    pthread_join(thread, NULL);
    assert_int_equal(s.rc, LW_ECLOSED);
    assert_true(s.woken - begin < AT_ONCE);
    assert_int_equal(lw_sub_next(grouped, &m, LW_SEC(20)), LW_ECLOSED);
    lw_sub_close(grouped);
    lw_sub_close(s.sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static void another_shape_wakes_who_sleeps_and_it_goes_on_there(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    struct lw_pub *pub;
    tg_settle(g);
    assert_ok(tt_pub_shaped(&pub, other, "t", 2 * TT_RING, 0));
    tt_send_many(pub, 0, 1);
    int64_t begin = t_now();
    while (lw_group_poll(g, &(struct lw_event){.code = 0}, 1, LW_SEC(20)) == 1 && !tt_drain(sub)) continue;
    assert_true(t_now() - begin < AT_ONCE);
    tg_settle(g); /* it sleeps in the new file */
    tt_send_many(pub, 1, 1);
    assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
    assert_true(tt_gets_only(sub, 1, 1));
    assert_int_equal(tg_stats(g).tick_finds, 0);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_release_is_told),
        t_test(a_release_is_told_to_a_shared_publisher),
        t_test(a_close_is_told),
        t_test(a_close_is_told_to_a_shared_publisher),
        t_test(pitfall_14_the_death_of_who_held_back_is_told),
        t_test(pitfall_14_the_death_of_all_who_held_back_is_told),
        t_test(pitfall_14_one_that_is_dead_behind_one_that_goes_on),
        t_test(forgetting_is_told),
        t_test(a_waiting_send_goes_on_after_a_release),
        t_test(a_waiting_send_goes_on_after_a_close),
        t_test(a_waiting_send_goes_on_after_a_death),
        t_test(removing_a_topic_wakes_who_sleeps_on_it),
        t_test(another_shape_wakes_who_sleeps_and_it_goes_on_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Making, forgetting, removing and cleaning topics, also under those who use them.
 *
 * pitfall 14: a dead one is taken away.
 * pitfall 16: who waits on a removed topic is told.
 * pitfall 19: nobody needs rm.
 * pitfall 22: what was there is read before the end is told.
 * pitfall 34: places of the dead are given back.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/topic_util.h"

static uint32_t readers(struct lw_bus *bus, const char *topic) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, topic, &info));
    return info.readers;
}

/* ---- making and forgetting --------------------------------------------------------------------------------------- */

static void created_twice_is_created_once(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_topic_info a = LW_TOPIC_INFO_INIT, b = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_create(bus, "a/b", NULL));
    assert_ok(lw_topic_stat(bus, "a/b", &a));
    assert_ok(lw_topic_create(bus, "a/b", NULL));
    assert_ok(lw_topic_stat(bus, "a/b", &b));
    assert_memory_equal(a.uuid, b.uuid, 16);
    assert_told(lw_topic_stat(bus, "a", &a), LW_ENOTOPIC, "no topic a", *state);
    assert_ok(lw_bus_close(bus));
}

static void forgetting_frees_a_place_and_only_that(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *b = tt_sub(bus, "t", "b", LW_FROM_NOW);
    lw_sub_close(tt_sub(bus, "t", "a", LW_FROM_NOW));
    lw_sub_close(tt_sub(bus, "t", "c", LW_FROM_NOW));
    tt_send_many(pub, 0, 10);
    assert_told(lw_topic_forget(bus, "t", "b"), LW_EHELD, "topic t", "subscriber b", "node me",
                tt_text("pid %d", (int)getpid()));
    assert_told(lw_topic_forget(bus, "t", "x"), LW_ENOSUB, "topic t", "x");
    assert_told(lw_topic_forget(bus, "u", "a"), LW_ENOTOPIC, "no topic u");
    assert_told(lw_topic_forget(bus, "t", "../a"), LW_ENAME, "subscriber", "../a");
    assert_ok(lw_topic_forget(bus, "t", "a"));
    assert_told(lw_topic_forget(bus, "t", "a"), LW_ENOSUB, "topic t");
    assert_int_equal(readers(bus, "t"), 2);
    assert_true(tt_gets_only(b, 0, 10));
    struct lw_sub *a = tt_sub(bus, "t", "a", LW_FROM_NOW), *c = tt_sub(bus, "t", "c", LW_FROM_NOW);
    assert_true(tt_gets_only(a, 0, 0)); /* a new one */
    assert_true(tt_gets_only(c, 0, 10));
    lw_sub_close(a);
    lw_sub_close(b);
    lw_sub_close(c);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int durable_body(void *dir) {
    tt_sub(tt_bus(dir, NULL), "t", "name", LW_FROM_NOW);
    t_say(0);
    t_forever();
}

static void the_name_of_a_killed_one_can_be_forgotten(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child child = t_fork(durable_body, *state);
    t_hear(&child);
    t_stop(&child);
    assert_told(lw_topic_forget(bus, "t", "name"), LW_EHELD, "subscriber name", tt_text("pid %d", (int)child.pid));
    t_kill_unreaped(&child);
    assert_ok(lw_topic_forget(bus, "t", "name"));
    assert_int_equal(readers(bus, "t"), 0);
    assert_ok(lw_bus_close(bus));
}

/* ---- removing ---------------------------------------------------------------------------------------------------- */

static void what_is_used_is_not_removed(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    const char *pid = tt_text("pid %d", (int)getpid());
    struct lw_pub *pub = tt_pub(bus, "t");
    assert_told(lw_topic_remove(bus, "t", 0), LW_EHELD, "topic t", "node me", pid, "publishes", "--force");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 5);
    lw_pub_close(pub);
    assert_told(lw_topic_remove(bus, "t", 0), LW_EHELD, "topic t", "node me", pid, "reads", "--force");
    pub = tt_pub(bus, "t");
    tt_send_many(pub, 5, 5);
    assert_true(tt_gets(sub, 0, 10)); /* all as it was */
    lw_sub_close(sub);
    lw_pub_close(pub);
    lw_sub_close(tt_sub(bus, "t", "away", LW_FROM_NOW));
    assert_ok(lw_topic_remove(bus, "t", 0));
    assert_told(lw_topic_remove(bus, "t", 0), LW_ENOTOPIC, "no topic t");
    assert_ok(lw_bus_close(bus));
}

static void empty_folders_go_with_the_topic(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    const char *topics = tt_text("%s/topics", *(char **)state);
    assert_ok(lw_topic_create(bus, "a/b/c", NULL));
    assert_ok(lw_topic_create(bus, "a/b", NULL));
    assert_ok(lw_topic_create(bus, "a/x/y/z", NULL));
    assert_ok(lw_topic_remove(bus, "a/b", 0));
    assert_ok(lw_topic_verify(bus, "a/b/c", NULL));
    assert_ok(lw_topic_remove(bus, "a/b/c", 0));
    assert_false(tt_exists(tt_text("%s/a/b", topics)));
    assert_ok(lw_topic_remove(bus, "a/x/y/z", 0));
    assert_false(tt_exists(tt_text("%s/a", topics)));
    assert_true(tt_exists(topics));
    assert_ok(lw_bus_close(bus));
}

/* Waits for messages; gets 10, then the end. */
static int waiting_reader_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_OLDEST);
    struct lw_msg msg, held;
    t_say(0);
    t_listen();
    T_NEED(tt_gets(sub, 0, 9));
    T_NEED(lw_sub_next(sub, &held, LW_SEC(20)) == 1 && tt_read(&held) == 9);
    T_NEED(lw_sub_next(sub, &msg, LW_SEC(20)) == LW_ECLOSED);
    T_NEED(strstr(lw_errtext(), "topic t") && strstr(lw_errtext(), "removed"));
    T_NEED(tt_read(&held) == 9); /* what is held can be looked at still */
    lw_sub_release(sub, &held);
    T_NEED(lw_sub_next(sub, &msg, 0) == LW_ECLOSED);
    struct lw_stats stats = LW_STATS_INIT;
    lw_sub_stats(sub, &stats);
    lw_sub_seek(sub, LW_FROM_OLDEST, 0);
    lw_sub_rewind(sub);
    lw_sub_close(sub);
    return 0;
}

static int waiting_publisher_body(void *dir) {
    struct lw_pub *pub = tt_pub(tt_bus(dir, NULL), "t");
    t_say(0);
    uint64_t n = tt_send_all(pub, 10);
    t_say(1);
    T_NEED(tt_send(pub, n, LW_SEC(20)) == LW_ECLOSED && strstr(lw_errtext(), "topic t"));
    T_NEED(tt_send(pub, n, 0) == LW_ECLOSED);
    lw_pub_close(pub);
    return 0;
}

static void removed_by_force_readers_read_what_is_there_and_then_are_told(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child children[4];
    struct lw_pub *pub = tt_pub(bus, "t");
    for (int i = 0; i < 4; i++) {
        children[i] = t_fork(waiting_reader_body, *state);
        t_hear(&children[i]);
        if (i < 2) t_tell(&children[i], 0); /* two of them wait already */
    }
    tt_send_many(pub, 0, 10);
    lw_pub_close(pub);
    assert_ok(lw_topic_remove(bus, "t", LW_REMOVE_FORCE));
    for (int i = 2; i < 4; i++) t_tell(&children[i], 0);
    for (int i = 0; i < 4; i++) assert_int_equal(t_wait(&children[i]), 0);
    assert_told(lw_topic_verify(bus, "t", NULL), LW_ENOTOPIC, "no topic t");
    assert_ok(lw_bus_close(bus));
}

static void removed_by_force_a_publisher_is_told(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    lw_sub_close(tt_sub(bus, "t", "away", LW_FROM_NOW));
    struct t_child child = t_fork(waiting_publisher_body, *state);
    t_hear(&child);
    t_hear(&child);
    assert_ok(lw_topic_remove(bus, "t", LW_REMOVE_FORCE));
    assert_int_equal(t_wait(&child), 0);
    struct lw_pub *pub = tt_pub(bus, "t"); /* and the next one begins anew */
    assert_int_equal(tt_send(pub, 0, 0), 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_publisher_that_never_waits_is_told_too(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 3);
    assert_ok(lw_topic_remove(bus, "t", LW_REMOVE_FORCE));
    int64_t rc = 0;
    for (uint64_t n = 3; n < 1000 && rc >= 0; n++) rc = tt_send(pub, n, 0);
    assert_int_equal(rc, LW_ECLOSED);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* The old one's subscriber, held messages and all, and the new one's in one process: they must not meet in one slot. */
static void removed_and_made_again_old_and_new_do_not_mix(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *old = tt_sub(bus, "t", NULL, LW_FROM_NOW), *fresh;
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_msg held, msg;
    tt_send_many(pub, 0, 2);
    lw_pub_close(pub);
    assert_int_equal(lw_sub_next(old, &held, 0), 1);
    assert_ok(lw_topic_remove(bus, "t", LW_REMOVE_FORCE));
    fresh = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    pub = tt_pub(bus, "t");
    tt_send_many(pub, 100, 5);
    assert_int_equal(lw_sub_next(old, &msg, 0), 1);
    assert_int_equal(tt_read(&msg), 1);
    assert_int_equal(lw_sub_next(old, &msg, LW_MS(5)), LW_ECLOSED);
    assert_int_equal(tt_read(&held), 0);
    lw_sub_release(old, &held);
    assert_int_equal(lw_sub_next(old, &msg, LW_MS(5)), LW_ECLOSED);
    assert_int_equal(readers(bus, "t"), 1);
    lw_sub_close(old);
    assert_int_equal(readers(bus, "t"), 1);
    uint64_t n = tt_send_all(pub, 105);
    assert_true(tt_gets_only(fresh, 100, n - 100));
    lw_sub_close(fresh);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void damaged_topics_can_be_removed(void **state) {
    char path[TT_PATH];
    struct lw_bus *bus = tt_bus(*state, NULL);
    assert_ok(lw_topic_create(bus, "a/b", NULL));
    if (truncate(tt_lane(path, *state, "a/b"), 100)) fail();
    assert_int_equal(lw_topic_verify(bus, "a/b", NULL), LW_ECORRUPT);
    assert_ok(lw_topic_remove(bus, "a/b", LW_REMOVE_FORCE));
    assert_false(tt_exists(tt_text("%s/topics/a", *(char **)state)));
    assert_ok(lw_topic_create(bus, "a/b", NULL));
    assert_ok(lw_topic_verify(bus, "a/b", NULL));
    assert_ok(lw_bus_close(bus));
}

/* ---- removing while others open ---------------------------------------------------------------------------------- */

static int remover_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    for (uint64_t i = 0;; i++) {
        int rc = lw_topic_remove(bus, i % 2 ? "a/t" : "a/b/u", i % 3 ? 0 : LW_REMOVE_FORCE);
        T_NEED(rc == 0 || rc == LW_ENOTOPIC || rc == LW_EHELD);
    }
}

static struct lw_sub *open_from_oldest(struct lw_bus *bus) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *sub;
    opt.from = LW_FROM_OLDEST;
    opt.shape.ring = TT_RING;
    T_NEED(!lw_sub_open(&sub, bus, "a/t", &opt));
    return sub;
}

/* Waits for one message that comes at the end; opens anew now and then, and when it is told that the topic is gone. */
static int follower_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_sub *sub = open_from_oldest(bus);
    struct lw_msg msg;
    t_say(0);
    int64_t end = t_now() + LW_SEC(60);
    for (unsigned i = 0; t_now() < end; i++) {
        int rc = lw_sub_next(sub, &msg, LW_MS(1) / 2);
        if (rc == 1 && tt_read(&msg) == 12345) return 0;
        T_NEED(rc == 1 || rc == LW_EEMPTY || rc == LW_ECLOSED);
        if (rc == 1) T_NEED(!lw_sub_release(sub, &msg));
        if (rc == 1 || (rc == LW_EEMPTY && i % 4)) continue;
        lw_sub_close(sub);
        sub = open_from_oldest(bus);
    }
    return 1;
}

static int reopening_publisher_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    const char *topic = t_listen() ? "a/t" : "a/b/u";
    for (uint64_t n = 0;; n++) {
        struct lw_pub *pub;
        int rc = tt_pub_shaped(&pub, bus, topic, TT_RING, 0);
        T_NEED(rc == 0 || rc == LW_EWRITER);
        if (rc) continue;
        int64_t sent = tt_send(pub, n % 1000, 0);
        T_NEED(sent >= 0 || sent == LW_ECLOSED || sent == LW_EFULL);
        lw_pub_close(pub);
    }
}

static void opening_and_removing_at_once_leaves_nobody_on_a_file_that_is_gone(void **state) {
    enum { FOLLOWERS = 4, PUBLISHERS = 3 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child followers[FOLLOWERS], publishers[PUBLISHERS], remover;
    for (int i = 0; i < FOLLOWERS; i++) followers[i] = t_fork(follower_body, *state), t_hear(&followers[i]);
    for (int i = 0; i < PUBLISHERS; i++)
        publishers[i] = t_fork(reopening_publisher_body, *state), t_tell(&publishers[i], i);
    remover = t_fork(remover_body, *state);
    t_sleep(t_loops(20) * LW_SEC(1) / 10); /* not for anything to happen, but as long as it may */
    t_kill(&remover);
    for (int i = 0; i < PUBLISHERS; i++) t_kill(&publishers[i]);
    struct lw_pub *pub = tt_pub(bus, "a/t");
    tt_send_many(pub, 12345, 1);
    for (int i = 0; i < FOLLOWERS; i++) assert_int_equal(t_wait(&followers[i]), 0);
    assert_ok(lw_topic_verify(bus, "a/t", NULL));
    lw_pub_close(pub);
    assert_ok(lw_bus_clean(bus, NULL));
    lw_topic_remove(bus, "a/b/u", 0);
    assert_ok(lw_topic_remove(bus, "a/t", 0));
    assert_int_equal(tt_count_files(tt_text("%s/topics", *(char **)state)), 0);
    assert_ok(lw_bus_close(bus));
}

/* ---- cleaning ---------------------------------------------------------------------------------------------------- */

static int messy_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    tt_pub(bus, "t");
    tt_pub(bus, "a/u");
    for (int i = 0; i < 3; i++) tt_sub(bus, i ? "t" : "a/u", NULL, LW_FROM_NOW);
    tt_sub(bus, "t", "name", LW_FROM_NOW);
    tt_make_file(tt_text("%s/topics/a/.new-0123456789ab", (char *)dir), 5000);
    t_say(0);
    t_forever();
}

static void cleaning_takes_back_what_the_dead_left_and_nothing_else(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "mine");
    struct lw_sub *sub = tt_sub(bus, "mine", NULL, LW_FROM_NOW), *here = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_clean_result result = LW_CLEAN_RESULT_INIT;
    for (int i = 0; i < 2; i++) {
        struct t_child child = t_fork(messy_body, *state);
        t_hear(&child);
        if (i == 0) {
            t_kill(&child);
            assert_ok(lw_bus_clean(bus, &result));
            assert_int_equal(result.nodes, 1);
            assert_int_equal(result.writers, 2);
            assert_int_equal(result.readers, 3);
            assert_int_equal(result.files, 1);
            assert_int_equal(readers(bus, "t"), 2);
        } else {
            assert_ok(lw_bus_clean(bus, &result)); /* of the living nothing */
            assert_int_equal(result.nodes + result.writers + result.readers, 0);
            assert_int_equal(readers(bus, "t"), 4);
            t_kill(&child);
        }
    }
    tt_send_many(pub, 0, 3);
    assert_true(tt_gets_only(sub, 0, 3));
    assert_ok(lw_bus_clean(bus, NULL));
    lw_sub_close(here);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(created_twice_is_created_once),
        t_test(forgetting_frees_a_place_and_only_that),
        t_test(the_name_of_a_killed_one_can_be_forgotten),
        t_test(what_is_used_is_not_removed),
        t_test(empty_folders_go_with_the_topic),
        t_test(removed_by_force_readers_read_what_is_there_and_then_are_told),
        t_test(removed_by_force_a_publisher_is_told),
        t_test(a_publisher_that_never_waits_is_told_too),
        t_test(removed_and_made_again_old_and_new_do_not_mix),
        t_test(damaged_topics_can_be_removed),
        t_test(opening_and_removing_at_once_leaves_nobody_on_a_file_that_is_gone),
        t_test(cleaning_takes_back_what_the_dead_left_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

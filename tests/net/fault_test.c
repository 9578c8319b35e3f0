/* SPDX-License-Identifier: MIT */
/*
 * A link over TCP on a network that delays, chops, stalls, goes deaf on one side, and delivers what is long over. Real
 * processes behind a proxy.
 */
#include <inttypes.h>
#include <string.h>

#include "util/talk.h"

/* ---- slow networks ----------------------------------------------------------------------------------------------- */

/* Ends all connections, and gives the next one a plan. Returns the counts before that one. */
static struct proxy_counts connect_anew(struct talk *t, const struct proxy_plan *plan) {
    assert_int_equal(proxy_refuse(t->proxy, 1), 0);
    proxy_cut_now(t->proxy, CUT_RST);
    proxy_set(t->proxy, plan);
    struct proxy_counts before = proxy_count(t->proxy);
    assert_int_equal(proxy_refuse(t->proxy, 0), 0);
    TALK_UNTIL(t, proxy_count(t->proxy).connections > before.connections);
    return before;
}

static void a_whole_conversation_one_byte_at_a_time(void **state) {
    struct talk *t = talk_begin(*state, NULL);
    connect_anew(t, &(struct proxy_plan){.at = -1, .piece = 1});
    talk_some(t, 20);
    uint64_t before = proxy_count(t->proxy).connections;
    talk_some(t, (uint64_t)t_loops(300));
    assert_true(talk_settles(t));
    assert_int_equal(proxy_count(t->proxy).connections, before);
    talk_end(t);
}

static void delays_in_both_directions(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.window = 64});
    connect_anew(t, &(struct proxy_plan){.at = -1, .delay = LW_MS(20)});
    talk_some(t, 500);
    uint64_t before = proxy_count(t->proxy).connections;
    talk_some(t, (uint64_t)t_loops(1000));
    assert_true(talk_settles(t));
    assert_int_equal(proxy_count(t->proxy).connections, before);
    talk_end(t);
}

/* For longer than acknowledgements wait, and then than a heartbeat. The connection stays. */
static void one_direction_rests_and_goes_on(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.window = 64});
    for (int64_t i = 0; i < t_loops(40); i++) {
        int64_t at = (int64_t)(t_random() % 6000), ns = LW_MS(1) * (int64_t)(1 + t_random() % 60);
        if (i == 0) ns = LW_MS(2500);
        struct proxy_plan plan = {.dir = (int)(i % 2), .at = at, .what = STALL, .ns = ns, .times = 1};
        struct proxy_counts before = connect_anew(t, &plan);
        TALK_UNTIL(t, proxy_count(t->proxy).cuts > before.cuts);
        talk_some(t, 100);
        assert_int_equal(proxy_count(t->proxy).connections, before.connections + 1);
    }
    assert_true(talk_settles(t));
    talk_end(t);
}

/* ---- who says nothing -------------------------------------------------------------------------------------------- */

static void who_says_nothing_for_long_is_given_up_and_comes_back(void **state) {
    struct talk *t = talk_begin(*state, NULL);
    talk_some(t, 100);
    uint64_t downs = t->ledger->side[0].downs;
    proxy_cut_now(t->proxy, HALF_OPEN); /* what comes after is forwarded */
    TALK_UNTIL(t, t->ledger->side[0].downs > downs);
    assert_non_null(strstr(t->ledger->side[0].reason, "nothing was heard"));
    talk_some(t, 100);
    assert_true(talk_settles(t));
    talk_end(t);
}

/* The client's host is gone and its connection is not: nobody waits for a time-out. */
static void a_new_login_of_a_client_ends_its_half_open_connection_at_once(void **state) {
    struct talk *t = talk_begin(*state, NULL);
    for (int64_t i = 0; i < t_loops(60); i++) {
        talk_some(t, 5);
        proxy_cut_now(t->proxy, HALF_OPEN);
        int64_t begin = t_now();
        talk_kill_client(t);
        talk_start_client(t);
        talk_some(t, 5);
        if (i == 0) printf("after %" PRId64 " ms\n", (t_now() - begin) / LW_MS(1));
        assert_null(strstr(t->ledger->side[1].reason, "nothing was heard"));
    }
    assert_true(talk_settles(t));
    talk_end(t);
}

/* ---- bytes of the past ------------------------------------------------------------------------------------------- */

/* The old connection stops at byte N, in the midst of a chunk perhaps; the client connects anew; then the rest of the
 * old one comes. */
static void what_comes_late_on_an_old_connection_is_not_taken(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.window = 64});
    talk_some(t, 10);
    for (int64_t n = 0; n < 12000; n += getenv("LW_TEST_SHORT") ? 997 : 83) {
        int dir = (int)(n / 83 % 2);
        struct proxy_plan plan = {.dir = dir, .at = n, .what = HOLD, .times = 1};
        struct proxy_counts before = connect_anew(t, &plan);
        TALK_UNTIL(t, proxy_count(t->proxy).cuts > before.cuts);
        t_sleep(LW_US((int64_t)(t_random() % 500))); /* so that there is something to hold */
        proxy_cut_now(t->proxy, CUT_RST);            /* the sender's side of it */
        if (dir == 0) talk_some(t, t_random() % 20);
        proxy_release(t->proxy);
        talk_some(t, t_random() % 50);
    }
    assert_true(talk_settles(t));
    talk_end(t);
}

/* A HELLO that comes when a later one was answered must not end the connection that there is. */
static void a_late_hello_disturbs_nobody(void **state) {
    struct talk *t = talk_begin(*state, NULL);
    for (int64_t i = 0; i < t_loops(40); i++) {
        talk_some(t, 5);
        struct proxy_counts before = connect_anew(t, &(struct proxy_plan){.dir = 0, .what = HOLD, .times = 1});
        TALK_UNTIL(t, proxy_count(t->proxy).cuts > before.cuts);
        t_sleep(LW_MS(1)); /* HELLO is there, if the client is quick; if not, nothing is tried this time */
        proxy_cut_now(t->proxy, CUT_RST);
        talk_some(t, 5);
        uint64_t downs[2] = {t->ledger->side[0].downs, t->ledger->side[1].downs};
        uint64_t connections = proxy_count(t->proxy).connections;
        proxy_release(t->proxy);
        talk_some(t, 50);
        assert_int_equal(t->ledger->side[0].downs, downs[0]);
        assert_int_equal(t->ledger->side[1].downs, downs[1]);
        assert_int_equal(proxy_count(t->proxy).connections, connections);
    }
    assert_true(talk_settles(t));
    talk_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_whole_conversation_one_byte_at_a_time),
        t_test(delays_in_both_directions),
        t_test(one_direction_rests_and_goes_on),
        t_test(a_new_login_of_a_client_ends_its_half_open_connection_at_once),
        t_test(what_comes_late_on_an_old_connection_is_not_taken),
        t_test(a_late_hello_disturbs_nobody),
        t_test(who_says_nothing_for_long_is_given_up_and_comes_back), /* takes ten seconds: not in a short run */
    };
    size_t count = sizeof tests / sizeof *tests - (getenv("LW_TEST_SHORT") != NULL);
    return _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Publishers that die: the next one has the topic at once, and goes on at the exact message.
 *
 * pitfall 6: two indices that must agree.
 * pitfall 14: a writer that dies in the middle stalls nobody.
 * pitfall 17: time takes nothing from the living.
 * pitfall 19: what a kill leaves does not refuse the next start.
 * pitfall 22: what was sent is read after its sender died.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/topic_util.h"

/* Says the number at which it goes on, then publishes as fast as it can. */
static int publisher_body(void *dir) {
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_pub *pub = tt_pub(tt_bus(dir, "publisher"), "t");
    T_NEED(!lw_pub_stats(pub, &stats));
    t_say((int64_t)stats.number);
    for (uint64_t n = stats.number;; n++) tt_send_many(pub, n, 1);
}

/* The same, in batches of 1 to 7, half of them in place. */
static int batch_publisher_body(void *dir) {
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_pub *pub = tt_pub(tt_bus(dir, "publisher"), "t");
    T_NEED(!lw_pub_stats(pub, &stats));
    t_say((int64_t)stats.number);
    for (uint64_t n = stats.number;;) {
        void *at;
        for (uint64_t left = 1 + n % 7; left; left--, n++) {
            char bytes[TT_MESSAGE];
            size_t len = tt_fill(bytes, n);
            T_NEED(!lw_pub_reserve(pub, &at, TT_MESSAGE, LW_SEC(20)));
            memcpy(at, bytes, len);
            T_NEED((left > 1 ? lw_pub_stage(pub, tt_type(n), len) : lw_pub_commit(pub, tt_type(n), len)) >= 0);
        }
    }
}

/* Kills publishers at random moments; one reader follows them all and sees each message once. */
static void kill_many(const char *dir, int (*body)(void *)) {
    struct lw_bus *bus = tt_bus(dir, "reader");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    uint64_t seen = 0;
    for (int64_t i = t_loops(200); i > 0; i--) {
        struct t_child child = t_fork(body, (void *)dir);
        int64_t from = t_hear(&child);
        uint64_t until = seen + 1 + t_random() % 3000;
        while (seen < until) {
            assert_true(tt_gets(sub, seen, 1));
            seen++;
        }
        t_kill(&child);
        assert_true(from >= 0 && (uint64_t)from <= seen + TT_RING / 16);
        uint64_t more = tt_drain(sub);
        struct lw_topic_info info = LW_TOPIC_INFO_INIT;
        assert_ok(lw_topic_stat(bus, "t", &info));
        assert_int_equal(info.number, seen += more);
    }
    assert_ok(lw_topic_verify(bus, "t", NULL));
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void killed_while_publishing_the_next_goes_on_at_the_exact_number(void **state) {
    kill_many(*state, publisher_body);
}

static void killed_in_the_middle_of_batches_the_next_goes_on_at_the_exact_number(void **state) {
    kill_many(*state, batch_publisher_body);
}

static int holder_body(void *arg) {
    struct lw_pub *pub = tt_pub(tt_bus(arg, "publisher"), "t");
    int64_t staged = t_listen();
    void *at;
    tt_send_many(pub, 0, 7);
    for (int64_t i = 0; i < staged; i++) {
        T_NEED(!lw_pub_reserve(pub, &at, 100, 0));
        memset(at, 0xff, 100);
        T_NEED(!lw_pub_stage(pub, 1, 100));
    }
    T_NEED(!lw_pub_reserve(pub, &at, 100, 0));
    memset(at, 0xff, 100);
    t_say(0);
    t_forever();
}

static void what_was_only_reserved_or_staged_dies_with_its_publisher(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    for (int64_t staged = 0; staged < 3; staged++) {
        struct t_child child = t_fork(holder_body, *state);
        struct lw_stats stats = LW_STATS_INIT;
        t_tell(&child, staged);
        t_hear(&child);
        assert_true(tt_gets_only(sub, 0, 7));
        t_kill_unreaped(&child); /* a zombie is dead */
        struct lw_pub *pub = tt_pub(bus, "t");
        assert_ok(lw_pub_stats(pub, &stats));
        assert_int_equal(stats.number, 8 * staged + 7);
        assert_true(tt_gets_only(sub, 0, 0));
        tt_send_many(pub, 100, 1);
        assert_true(tt_gets_only(sub, 100, 1));
        lw_pub_close(pub);
        t_wait(&child);
    }
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void a_stopped_publisher_keeps_the_topic(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct t_child child = t_fork(publisher_body, *state);
    struct lw_pub *pub;
    uint64_t seen = 0;
    t_hear(&child);
    for (int i = 0; i < 20; i++) {
        assert_true(tt_gets(sub, seen, 500));
        seen += 500;
        t_stop(&child);
        assert_told(lw_pub_open(&pub, bus, "t", &tt_sole), LW_EWRITER, "topic t", "node publisher",
                    tt_text("pid %d", (int)child.pid));
        seen += tt_drain(sub);
        t_go_on(&child);
    }
    t_stop(&child);
    t_kill(&child);
    assert_ok(lw_pub_open(&pub, bus, "t", NULL));
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static int end_body(void *dir) {
    struct lw_pub *pub = tt_pub(tt_bus(dir, NULL), "t");
    tt_send_many(pub, 0, 300);
    return 0;
}

static void what_was_sent_is_read_after_its_sender_is_gone(void **state) {
    struct t_child child = t_fork(end_body, *state); /* ends without closing anything */
    assert_int_equal(t_wait(&child), 0);
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_OLDEST);
    assert_true(tt_gets_only(sub, 0, 300));
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* Several want to be the publisher; whoever has it publishes a few and dies or closes. */
static int rival_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    bool dies = t_listen();
    for (;;) {
        struct lw_stats stats = LW_STATS_INIT;
        struct lw_pub *pub;
        int rc = lw_pub_open(&pub, bus, "t", &tt_sole);
        T_NEED(rc == 0 || rc == LW_EWRITER);
        if (rc) continue;
        T_NEED(!lw_pub_stats(pub, &stats));
        tt_send_many(pub, stats.number, 100);
        if (dies) raise(SIGKILL);
        lw_pub_close(pub);
    }
}

static struct t_child start_rival(const char *dir, bool dies) {
    struct t_child child = t_fork(rival_body, (void *)dir);
    t_tell(&child, dies);
    return child;
}

/* Dead by now? Then reaped. */
static bool ended(struct t_child *child) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid) return false;
    assert_int_equal(t_wait(child), -SIGKILL);
    return true;
}

static void rivals_take_turns_and_never_publish_both(void **state) {
    enum { RIVALS = 4 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct t_child rivals[RIVALS];
    uint64_t seen = 0;
    for (int i = 0; i < RIVALS; i++) rivals[i] = start_rival(*state, i % 2);
    for (int64_t round = t_loops(100); round > 0; round--) {
        assert_true(tt_gets(sub, seen, 100));
        seen += 100;
        for (int i = 1; i < RIVALS; i += 2)
            if (ended(&rivals[i])) rivals[i] = start_rival(*state, 1);
    }
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(killed_while_publishing_the_next_goes_on_at_the_exact_number),
        t_test(killed_in_the_middle_of_batches_the_next_goes_on_at_the_exact_number),
        t_test(what_was_only_reserved_or_staged_dies_with_its_publisher),
        t_test(a_stopped_publisher_keeps_the_topic),
        t_test(what_was_sent_is_read_after_its_sender_is_gone),
        t_test(rivals_take_turns_and_never_publish_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

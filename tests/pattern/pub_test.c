/* SPDX-License-Identifier: MIT */
/*
 * Publishing: sending, in place, in batches, who may, and what is said when there is no room. Crashes of publishers are
 * in takeover_test.c.
 *
 * pitfall 2: sizes near the limits of their types.
 * pitfall 3: the largest record fits at every offset.
 * pitfall 14: a dead subscriber does not hang the publisher.
 * pitfall 20: who holds back is named, and refusals are counted.
 * pitfall 21: what send took is there.
 * pitfall 23: a second publisher is refused.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "util/topic_util.h"

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void publisher_first_or_subscriber_first_is_the_same(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "a");
    struct lw_sub *sub = tt_sub(bus, "a", NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 10);
    assert_true(tt_gets_only(sub, 0, 10));
    lw_pub_close(pub);
    lw_sub_close(sub);
    sub = tt_sub(bus, "b", NULL, LW_FROM_NOW);
    pub = tt_pub(bus, "b");
    tt_send_many(pub, 0, 10);
    assert_true(tt_gets_only(sub, 0, 10));
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void topics_have_levels_and_no_two_names_are_one_topic(void **state) {
    static const char *const topics[] = {"a", "a/b", "a/b/c", "a/c", "a_b/c", "a/b_c", "a.b", "a-b", "_"};
    enum { N = sizeof topics / sizeof *topics };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pubs[N];
    for (uint64_t i = 0; i < N; i++) {
        pubs[i] = tt_pub(bus, topics[i]);
        tt_send_many(pubs[i], 1000 * i, 3);
    }
    for (uint64_t i = 0; i < N; i++) {
        struct lw_sub *sub = tt_sub(bus, topics[i], NULL, LW_FROM_OLDEST);
        assert_true(tt_gets_only(sub, 1000 * i, 3));
        lw_sub_close(sub);
        lw_pub_close(pubs[i]);
    }
    assert_ok(lw_bus_close(bus));
}

/* As a newer program would have it. */
struct longer_options {
    struct lw_pub_options known;
    uint64_t unknown;
};

static void options_may_be_null_and_are_checked(void **state) {
    struct longer_options opt = {LW_PUB_OPTIONS_INIT, 0};
    struct lw_stats stats = {.size = 3}, part = {.size = 16, .bytes = 77};
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    assert_ok(lw_pub_open(&pub, bus, "t", NULL));
    assert_int_equal(lw_pub_max(pub), (4 << 20) / 2 - 16);
    assert_told(lw_pub_stats(pub, &stats), -EINVAL, "lw_stats.size");
    tt_send_many(pub, 0, 3);
    assert_ok(lw_pub_stats(pub, &part)); /* no more than there is room for */
    assert_true(part.messages == 3 && part.bytes == 77);
    lw_pub_close(pub);
    opt.known.size = sizeof opt;
    assert_ok(lw_pub_open(&pub, bus, "t", &opt.known));
    lw_pub_close(pub);
    opt.unknown = 1;
    assert_told(lw_pub_open(&pub, bus, "t", &opt.known), LW_EABI, "lw_pub_options");
    assert_null(pub);
    opt.known.size = 0;
    assert_told(lw_pub_open(&pub, bus, "t", &opt.known), -EINVAL, "lw_pub_options.size");
    opt.known = (struct lw_pub_options)LW_PUB_OPTIONS_INIT;
    opt.known.flags = 0x80;
    assert_told(lw_pub_open(&pub, bus, "t", &opt.known), -EINVAL, "flags", "0x80");
    opt.known.size = offsetof(struct lw_pub_options, flags); /* an older program: the rest is as if unset */
    assert_ok(lw_pub_open(&pub, bus, "t", &opt.known));
    lw_pub_close(pub);
    lw_pub_close(NULL);
    assert_ok(lw_bus_close(bus));
}

static void an_exclusive_publisher_is_like_any(void **state) {
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    opt.flags = LW_PUB_EXCLUSIVE;
    assert_ok(lw_pub_open(&pub, bus, "t", &opt));
    assert_int_equal(tt_send(pub, 0, 0), 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int second_publisher_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "second");
    struct lw_pub *pub;
    T_NEED(lw_pub_open(&pub, bus, "t", NULL) == LW_EWRITER && !pub);
    T_NEED(strstr(lw_errtext(), "topic t") && strstr(lw_errtext(), "node first"));
    T_NEED(strstr(lw_errtext(), tt_text("pid %d", (int)getppid())));
    return 0;
}

static void a_second_publisher_is_refused_with_node_and_pid(void **state) {
    struct lw_bus *bus = tt_bus(*state, "first"), *other = tt_bus(*state, "other");
    struct lw_pub *pub = tt_pub(bus, "t"), *no;
    const char *pid = tt_text("pid %d", (int)getpid());
    tt_send_many(pub, 0, 5);
    struct t_child second = t_fork(second_publisher_body, *state);
    assert_int_equal(t_wait(&second), 0);
    assert_told(lw_pub_open(&no, bus, "t", NULL), LW_EWRITER, "topic t", "node first", pid);
    assert_told(lw_pub_open(&no, other, "t", NULL), LW_EWRITER, "topic t", "node first", pid);
    tt_send_many(pub, 5, 5);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_OLDEST);
    assert_true(tt_gets_only(sub, 0, 10));
    lw_pub_close(pub);
    assert_ok(lw_pub_open(&no, other, "t", NULL));
    lw_pub_close(no);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

static void reserve_commit_shorter_and_abort(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    void *at;
    for (int i = 0; i < 3000; i++) { /* several laps, inline and slow */
        assert_ok(lw_pub_reserve(pub, &at, 100, 0));
        assert_int_equal((uintptr_t)at % 8, 0);
        memset(at, i, 100);
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
        if (i % 3 == 0) {
            lw_pub_abort(pub);
            assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
            continue;
        }
        size_t len = (size_t)i % 101;
        assert_ok(lw_pub_commit(pub, (uint16_t)i, len));
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(msg.len, len);
        assert_int_equal(msg.type, (uint16_t)i);
        for (size_t j = 0; j < len; j++) assert_int_equal(((const char *)msg.data)[j], (char)i);
        assert_ok(lw_sub_release(sub, &msg));
    }
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void calls_out_of_order_are_refused_and_harm_nothing(void **state) {
    struct lw_item item = {"x", 1, 1};
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    void *at, *other;
    assert_int_equal(lw_pub_commit(pub, 0, 0), LW_ESTATE);
    assert_int_equal(lw_pub_stage(pub, 0, 0), LW_ESTATE);
    assert_int_equal(lw_pub_send_batch(pub, &item, 0, 0), LW_ESTATE);
    lw_pub_abort(pub);
    for (int staged = 0; staged < 2; staged++) {
        assert_ok(lw_pub_reserve(pub, &at, 8, 0));
        assert_int_equal(lw_pub_reserve(pub, &other, 8, 0), LW_ESTATE);
        assert_int_equal(lw_pub_commit(pub, 0, 9), LW_ESTATE);
        assert_int_equal(lw_pub_stage(pub, 0, 9), LW_ESTATE);
        if (staged) assert_ok(lw_pub_stage(pub, 0, 8));
        if (staged) assert_int_equal(lw_pub_commit(pub, 0, 0), LW_ESTATE);
        assert_int_equal(tt_send(pub, 0, 0), LW_ESTATE);
        assert_int_equal(lw_pub_send_batch(pub, &item, 1, 0), LW_ESTATE);
        lw_pub_abort(pub);
    }
    assert_ok(lw_pub_reserve(pub, &at, 8, 0));
    assert_int_equal(tt_send(pub, 0, 0), LW_ESTATE);
    assert_ok(lw_pub_commit(pub, 0, tt_fill(at, 3) > 8 ? 8 : 0)); /* still there, and still good */
    tt_send_many(pub, 1, 3);
    struct lw_msg msg;
    assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
    assert_ok(lw_sub_release(sub, &msg));
    assert_true(tt_gets_only(sub, 1, 3));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_batch_is_seen_as_a_whole(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    char bytes[8] = "message";
    struct lw_item items[] = {{bytes, 8, 1}, {NULL, 0, 2}, {bytes, 3, 3}};
    int64_t at = lw_pub_send_batch(pub, items, 3, 0);
    assert_int_equal(at, 0);
    for (uint16_t i = 0; i < 3; i++) {
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(msg.type, i + 1);
        assert_int_equal(msg.number, i);
        assert_int_equal(!!(msg.flags & LW_MSG_MORE), i < 2);
    }
    void *place;
    for (int i = 0; i < 4; i++) {
        assert_ok(lw_pub_reserve(pub, &place, 64, 0));
        assert_ok(lw_pub_stage(pub, 7, (size_t)i));
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    }
    assert_ok(lw_pub_reserve(pub, &place, 64, 0));
    assert_int_equal(lw_pub_commit(pub, 8, 5), at + 16 + 8 + 16);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(msg.number, 3 + i);
        assert_int_equal(msg.len, i == 4 ? 5 : i);
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void the_largest_message_fits_wherever_the_ring_stands(void **state) {
    static char big[TT_RING];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    size_t max = lw_pub_max(pub);
    assert_int_equal(max, TT_RING / 2 - 16);
    for (size_t i = 0; i < 500; i++) {
        assert_ok(lw_pub_send(pub, 0, big, i % 97, 0));
        memset(big, (int)i, max);
        assert_ok(lw_pub_send(pub, 1, big, max, 0));
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(msg.len, max);
        assert_memory_equal(msg.data, big, max);
        assert_ok(lw_sub_release(sub, &msg));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void too_big_is_never_called_full(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    size_t max = lw_pub_max(pub);
    const size_t sizes[] = {max + 1,         TT_RING,         65530,        65536,         UINT32_MAX - 7, UINT32_MAX,
                            (size_t)1 << 31, (size_t)1 << 32, SIZE_MAX / 2, SIZE_MAX - 15, SIZE_MAX - 7,   SIZE_MAX};
    void *at;
    for (int full = 0; full < 2; full++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct lw_item items[2] = {{"", 1, 0}, {"", sizes[i], 0}};
            const char *limit = tt_text("%zu", max);
            assert_told(lw_pub_send(pub, 0, "", sizes[i], 0), LW_ETOOBIG, "topic t", limit);
            assert_told(lw_pub_reserve(pub, &at, sizes[i], 0), LW_ETOOBIG, "topic t", limit);
            assert_told(lw_pub_send_batch(pub, items, 2, 0), LW_ETOOBIG, "topic t", limit);
        }
        struct lw_sub *sub = tt_sub(bus, "t", full ? NULL : "slow", LW_FROM_NOW);
        if (!full) tt_send_all(pub, 0);
        lw_sub_close(sub);
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_batch_may_have_half_the_ring_and_no_more(void **state) {
    static char bytes[TT_RING];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_item items[64];
    void *at;
    for (size_t i = 0; i < 64; i++)
        items[i] = (struct lw_item){bytes, 504 - (i == 63) * 8, 0}; /* 512 each in the ring */
    assert_ok(lw_pub_send_batch(pub, items, 64, 0));
    items[63].len += 8;
    assert_told(lw_pub_send_batch(pub, items, 64, 0), LW_ETOOBIG, "half");
    for (int i = 0; i < 63; i++) {
        assert_ok(lw_pub_reserve(pub, &at, 504, 0));
        assert_ok(lw_pub_stage(pub, 0, 504));
    }
    assert_told(lw_pub_reserve(pub, &at, 504, 0), LW_ETOOBIG, "half");
    assert_ok(lw_pub_reserve(pub, &at, 496, 0));
    assert_ok(lw_pub_commit(pub, 0, 496));
    struct lw_verify_result all = LW_VERIFY_RESULT_INIT;
    assert_ok(lw_topic_verify(bus, "t", &all));
    assert_int_equal(all.records, 128);
    assert_int_equal(all.batches, 2);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- somebody must read ------------------------------------------------------------------------------------------ */

static struct lw_pub *pub_that_needs_sub(struct lw_bus *bus) {
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    struct lw_pub *pub;
    opt.flags = LW_PUB_NEED_SUB | LW_PUB_EXCLUSIVE;
    opt.shape.ring = TT_RING;
    assert_ok(lw_pub_open(&pub, bus, "t", &opt));
    return pub;
}

static int subscriber_body(void *dir) {
    struct lw_sub *sub = tt_sub(tt_bus(dir, "reader"), "t", NULL, LW_FROM_NOW);
    (void)sub;
    t_say(0);
    t_forever();
}

static void with_need_sub_somebody_must_be_there(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = pub_that_needs_sub(bus);
    struct lw_stats stats = LW_STATS_INIT;
    void *at;
    assert_int_equal(tt_send(pub, 0, 0), LW_ENOSUB);
    assert_told(tt_send(pub, 0, LW_MS(3)), LW_ENOSUB, "topic t", "subscri");
    assert_int_equal(lw_pub_reserve(pub, &at, 8, 0), LW_ENOSUB);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 100);
    assert_true(tt_gets(sub, 0, 100));
    lw_sub_close(sub);
    assert_int_equal(tt_send(pub, 0, 0), LW_ENOSUB);
    lw_sub_close(tt_sub(bus, "t", "durable", LW_FROM_NOW)); /* away, and counts */
    assert_ok(tt_send(pub, 100, 0));
    assert_ok(lw_topic_forget(bus, "t", "durable"));
    assert_int_equal(tt_send(pub, 0, 0), LW_ENOSUB);
    assert_ok(lw_pub_stats(pub, &stats));
    assert_int_equal(stats.messages, 101);
    assert_int_equal(stats.refused, 5);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void with_need_sub_a_dead_reader_does_not_count(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = pub_that_needs_sub(bus);
    struct t_child reader = t_fork(subscriber_body, *state);
    t_hear(&reader);
    assert_ok(tt_send(pub, 0, 0));
    t_kill(&reader);
    T_UNTIL(tt_send(pub, 0, 0) == LW_ENOSUB);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- no room ----------------------------------------------------------------------------------------------------- */

static void full_is_told_at_once_or_after_the_time_given(void **state) {
    struct lw_bus *bus = tt_bus(*state, "host");
    struct lw_pub *pub = tt_pub(bus, "a/t");
    struct lw_sub *sub = tt_sub(bus, "a/t", NULL, LW_FROM_NOW);
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_item item = {"x", 1, 0};
    char big[30000] = "";
    void *at;
    uint64_t n = tt_send_all(pub, 0);
    assert_int_equal(lw_pub_reserve(pub, &at, TT_MESSAGE, 0), LW_EFULL);
    assert_int_equal(lw_pub_send(pub, 0, big, sizeof big, 0), LW_EFULL);
    int64_t begin = t_now();
    const char *pid = tt_text("pid %d", (int)getpid()), *lag = tt_text("%llu messages", (unsigned long long)n);
    assert_told(tt_send(pub, n, LW_MS(20)), LW_EFULL, "a/t", "without a name (alive, node host", "host", pid, lag,
                "bytes behind", "must go on or end");
    assert_true(t_now() - begin >= LW_MS(20));
    assert_ok(lw_pub_stats(pub, &stats));
    assert_int_equal(stats.messages, n);
    assert_int_equal(stats.number, n);
    assert_int_equal(stats.position, stats.bytes);
    assert_int_equal(stats.refused, 4);
    assert_int_equal(stats.waits, 1);
    assert_true(tt_gets_only(sub, 0, n)); /* nothing of the refused ones */
    assert_ok(lw_pub_send_batch(pub, &item, 1, 0));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void who_holds_back_is_explained_durable_and_away(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    lw_sub_close(tt_sub(bus, "t", "risk", LW_FROM_NOW));
    uint64_t n = tt_send_all(pub, 0);
    const char *text = lw_pub_explain(pub);
    assert_non_null(strstr(text, "subscriber risk (away"));
    assert_non_null(strstr(text, "laneway forget t risk"));
    assert_non_null(strstr(text, tt_text("%llu messages", (unsigned long long)n)));
    assert_ptr_equal(text, lw_errtext());
    assert_ok(lw_topic_forget(bus, "t", "risk")); /* as told */
    assert_ok(tt_send(pub, n, 0));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void nothing_to_explain_is_said_too(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    assert_non_null(strstr(lw_pub_explain(pub), "nobody reads"));
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_send_all(pub, 0);
    assert_non_null(strstr(lw_pub_explain(pub), "is full"));
    tt_drain(sub);
    assert_non_null(strstr(lw_pub_explain(pub), "room again"));
    lw_sub_close(sub);
    assert_non_null(strstr(lw_pub_explain(pub), "room again"));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int slow_reader_body(void *dir) {
    struct lw_sub *sub = tt_sub(tt_bus(dir, "reader"), "t", NULL, LW_FROM_NOW);
    t_say(0);
    uint64_t total = (uint64_t)t_listen(), per = (uint64_t)t_listen();
    for (uint64_t n = 0; n < total; n += per) {
        t_sleep(LW_MS(1) / 2);
        T_NEED(tt_gets(sub, n, n + per > total ? total - n : per));
    }
    return 0;
}

static void a_waiting_publisher_goes_on_when_another_process_releases(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct t_child reader = t_fork(slow_reader_body, *state);
    uint64_t total = (uint64_t)t_loops(40000);
    t_hear(&reader);
    t_tell(&reader, (int64_t)total);
    t_tell(&reader, 200);
    for (uint64_t i = 0; i < total; i++) assert_ok(tt_send(pub, i, i % 2 ? LW_FOREVER : LW_SEC(20)));
    assert_int_equal(t_wait(&reader), 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void nothing(int signal_number) {
    (void)signal_number;
}

static void a_signal_handler_ends_the_waiting(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct sigaction act = {.sa_handler = nothing};
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    uint64_t n = tt_send_all(pub, 0);
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL); /* again and again: the first may come before the waiting */
    int64_t rc = tt_send(pub, n, LW_FOREVER);
    setitimer(ITIMER_REAL, &never, NULL);
    assert_int_equal(rc, -EINTR);
    assert_true(tt_gets_only(sub, 0, n));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_dead_reader_is_swept_away(void **state, int64_t timeout) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct t_child reader = t_fork(subscriber_body, *state);
    t_hear(&reader);
    uint64_t n = tt_send_all(pub, 0);
    assert_non_null(strstr(lw_pub_explain(pub), tt_text("(alive, node reader, pid %d)", (int)reader.pid)));
    t_kill_unreaped(&reader); /* a zombie is dead */
    int64_t died = t_now(), rc;
    while ((rc = tt_send(pub, n, timeout)) == LW_EFULL && t_now() < died + LW_SEC(5)) continue;
    assert_ok(rc);
    t_wait(&reader);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_dead_reader_is_swept_by_a_publisher_that_waits(void **state) {
    a_dead_reader_is_swept_away(state, LW_FOREVER);
}

static void a_dead_reader_is_swept_by_a_publisher_that_never_waits(void **state) {
    a_dead_reader_is_swept_away(state, 0);
}

static void a_stopped_reader_holds_back_and_is_named(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct t_child reader = t_fork(subscriber_body, *state);
    t_hear(&reader);
    uint64_t n = tt_send_all(pub, 0);
    t_stop(&reader);
    assert_told(tt_send(pub, n, LW_MS(30)), LW_EFULL, "topic t", " (alive", tt_text("pid %d", (int)reader.pid));
    t_go_on(&reader);
    t_kill(&reader);
    T_UNTIL(tt_send(pub, n, 0) >= 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(publisher_first_or_subscriber_first_is_the_same),
        t_test(topics_have_levels_and_no_two_names_are_one_topic),
        t_test(options_may_be_null_and_are_checked),
        t_test(an_exclusive_publisher_is_like_any),
        t_test(a_second_publisher_is_refused_with_node_and_pid),
        t_test(reserve_commit_shorter_and_abort),
        t_test(calls_out_of_order_are_refused_and_harm_nothing),
        t_test(a_batch_is_seen_as_a_whole),
        t_test(the_largest_message_fits_wherever_the_ring_stands),
        t_test(too_big_is_never_called_full),
        t_test(a_batch_may_have_half_the_ring_and_no_more),
        t_test(with_need_sub_somebody_must_be_there),
        t_test(with_need_sub_a_dead_reader_does_not_count),
        t_test(full_is_told_at_once_or_after_the_time_given),
        t_test(who_holds_back_is_explained_durable_and_away),
        t_test(nothing_to_explain_is_said_too),
        t_test(a_waiting_publisher_goes_on_when_another_process_releases),
        t_test(a_signal_handler_ends_the_waiting),
        t_test(a_dead_reader_is_swept_by_a_publisher_that_waits),
        t_test(a_dead_reader_is_swept_by_a_publisher_that_never_waits),
        t_test(a_stopped_reader_holds_back_and_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

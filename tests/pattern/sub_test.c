/* SPDX-License-Identifier: MIT */
/*
 * Subscribing: where to begin, names that last, slots, holding and releasing, seeking, copying. The callback style is
 * in dispatch_test.c.
 *
 * pitfall 1: a header is loaded once and bounded.
 * pitfall 8: a damaged record stops a reader, it does not send it round or astray.
 * pitfall 15: what was not released comes again after a crash.
 * pitfall 20: losses are counted.
 * pitfall 34: slots of readers that are gone are given back.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/topic_util.h"

/* ---- where to begin ---------------------------------------------------------------------------------------------- */

static void from_now_from_the_oldest_and_from_a_position(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    int64_t at[50];
    for (uint64_t i = 0; i < 50; i++) at[i] = tt_send(pub, i, 0);
    for (uint64_t i = 0; i < 50; i++) {
        struct lw_sub *sub;
        assert_ok(tt_sub_open(&sub, bus, "t", NULL, LW_FROM_POSITION, (uint64_t)at[i]));
        assert_true(tt_gets_only(sub, i, 50 - i));
        lw_sub_close(sub);
    }
    struct lw_sub *oldest = tt_sub(bus, "t", NULL, LW_FROM_OLDEST), *now = tt_sub(bus, "t", NULL, LW_FROM_NOW), *end;
    struct lw_stats stats = LW_STATS_INIT;
    assert_ok(lw_pub_stats(pub, &stats));
    assert_ok(tt_sub_open(&end, bus, "t", NULL, LW_FROM_POSITION, stats.position));
    tt_send_many(pub, 50, 5);
    assert_true(tt_gets_only(oldest, 0, 55));
    assert_true(tt_gets_only(now, 50, 5));
    assert_true(tt_gets_only(end, 50, 5));
    lw_sub_close(oldest);
    lw_sub_close(now);
    lw_sub_close(end);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_position_inside_a_record_or_outside_of_what_is_there_is_refused(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_sub *sub;
    uint64_t n = 0;
    int64_t last = 0;
    while (last < 3 * TT_RING) last = tt_send(pub, n++, 0); /* nobody reads: it laps */
    assert_ok(lw_pub_stats(pub, &stats));
    const uint64_t bad[] = {0,
                            8,
                            TT_RING,
                            stats.position + 8,
                            stats.position - 1,
                            (uint64_t)last + 1,
                            (uint64_t)last + 4,
                            UINT64_MAX,
                            UINT64_MAX - 7,
                            (uint64_t)1 << 63,
                            (uint64_t)1 << 62};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_told(tt_sub_open(&sub, bus, "t", NULL, LW_FROM_POSITION, bad[i]), LW_EPOSITION, "topic t",
                    tt_text("%llu", (unsigned long long)bad[i]), "laneway info t");
        assert_null(sub);
    }
    for (uint64_t inside = (uint64_t)last + 8; inside < stats.position; inside += 8)
        assert_told(tt_sub_open(&sub, bus, "t", NULL, LW_FROM_POSITION, inside), LW_EPOSITION, "topic t");
    assert_ok(tt_sub_open(&sub, bus, "t", NULL, LW_FROM_POSITION, (uint64_t)last));
    assert_true(tt_gets_only(sub, n - 1, 1));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void options_are_checked(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_stats stats = {.size = 1};
    struct lw_sub *sub;
    assert_ok(lw_sub_open(&sub, bus, "t", NULL));
    assert_told(lw_sub_stats(sub, &stats), -EINVAL, "lw_stats.size");
    assert_told(lw_sub_seek(sub, (enum lw_from)3, 0), -EINVAL, "from");
    lw_sub_close(sub);
    opt.size = 1;
    assert_told(lw_sub_open(&sub, bus, "t", &opt), -EINVAL, "lw_sub_options.size");
    assert_null(sub);
    opt.size = sizeof opt;
    opt.from = (enum lw_from)3;
    assert_told(lw_sub_open(&sub, bus, "t", &opt), -EINVAL, "from");
    opt.from = LW_FROM_NOW;
    opt.flags = 2;
    assert_told(lw_sub_open(&sub, bus, "t", &opt), -EINVAL, "flags", "0x2");
    static const char *const names[] = {"", ".", "..", ".x", "-x", "a/b", "a b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_told(tt_sub_open(&sub, bus, "t", names[i], LW_FROM_NOW, 0), LW_ENAME, "subscriber", "A-Z");
    char name[65] = "";
    memset(name, 'x', 64);
    assert_told(tt_sub_open(&sub, bus, "t", name, LW_FROM_NOW, 0), LW_ENAME, "subscriber", "63");
    name[63] = 0;
    assert_ok(tt_sub_open(&sub, bus, "t", name, LW_FROM_NOW, 0));
    lw_sub_close(sub);
    lw_sub_close(NULL);
    assert_ok(lw_bus_close(bus));
}

/* ---- names that last --------------------------------------------------------------------------------------------- */

/* Takes `release` messages and holds `hold` more; then waits to be killed. */
static int durable_body(void *dir) {
    struct lw_sub *sub = tt_sub(tt_bus(dir, "reader"), "t", "risk", LW_FROM_OLDEST);
    struct lw_msg msg;
    uint64_t from = (uint64_t)t_listen(), release = (uint64_t)t_listen(), hold = (uint64_t)t_listen();
    T_NEED(tt_gets(sub, from, release));
    for (uint64_t i = 0; i < hold; i++) T_NEED(lw_sub_next(sub, &msg, 0) == 1 && tt_read(&msg) == from + release + i);
    t_say(0);
    t_forever();
}

static void killed_what_was_released_never_comes_again_and_the_rest_does(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub;
    tt_send_many(pub, 0, 400);
    uint64_t from = 0;
    for (int64_t i = 0; i < 20; i++) {
        struct t_child child = t_fork(durable_body, *state);
        t_tell(&child, (int64_t)from);
        t_tell(&child, i % 7);
        t_tell(&child, i % 5);
        t_hear(&child);
        assert_told(tt_sub_open(&sub, bus, "t", "risk", LW_FROM_NOW, 0), LW_EHELD, "topic t", "subscriber risk",
                    "node reader", tt_text("pid %d", (int)child.pid));
        t_stop(&child);
        assert_int_equal(tt_sub_open(&sub, bus, "t", "risk", LW_FROM_NOW, 0), LW_EHELD); /* stopped is alive */
        t_go_on(&child);
        t_kill_unreaped(&child); /* a zombie is dead */
        from += (uint64_t)i % 7;
        sub = tt_sub(bus, "t", "risk", LW_FROM_NOW); /* what it says of the place does not matter */
        assert_true(tt_gets(sub, from++, 1));
        lw_sub_close(sub);
        t_wait(&child);
    }
    sub = tt_sub(bus, "t", "risk", LW_FROM_NOW);
    assert_true(tt_gets_only(sub, from, 400 - from));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_name_is_open_once_also_in_one_process(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me"), *other = tt_bus(*state, "other");
    struct lw_sub *sub = tt_sub(bus, "t", "risk", LW_FROM_NOW), *no;
    const char *pid = tt_text("pid %d", (int)getpid());
    assert_told(tt_sub_open(&no, bus, "t", "risk", LW_FROM_NOW, 0), LW_EHELD, "node me", pid);
    assert_told(tt_sub_open(&no, other, "t", "risk", LW_FROM_NOW, 0), LW_EHELD, "node me", pid);
    lw_sub_close(tt_sub(bus, "u", "risk", LW_FROM_NOW)); /* another topic, another name */
    lw_sub_close(sub);
    lw_sub_close(tt_sub(other, "t", "risk", LW_FROM_NOW));
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static void a_durable_place_holds_back_while_nobody_is_there(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    lw_sub_close(tt_sub(bus, "t", "risk", LW_FROM_NOW));
    uint64_t n = tt_send_all(pub, 0);
    struct lw_sub *sub = tt_sub(bus, "t", "risk", LW_FROM_NOW);
    assert_true(tt_gets_only(sub, 0, n));
    assert_ok(tt_send(pub, n, 0));
    assert_true(tt_gets_only(sub, n, 1));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static int fill_slots_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "hog");
    int64_t n = t_listen();
    for (int64_t i = 0; i < n; i++) tt_sub(bus, "t", NULL, LW_FROM_NOW);
    t_say(0);
    t_forever();
}

static void sixty_four_subscribers_and_the_next_is_refused(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *subs[4], *no;
    struct lw_pub *pub = tt_pub(bus, "t");
    struct t_child hog = t_fork(fill_slots_body, *state);
    t_tell(&hog, 60);
    t_hear(&hog);
    for (int i = 0; i < 4; i++) subs[i] = tt_sub(bus, "t", i == 2 ? "risk" : NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 100);
    assert_told(tt_sub_open(&no, bus, "t", NULL, LW_FROM_NOW, 0), LW_ENOSLOT, "topic t", "64", "1 by durable",
                "laneway info t", "laneway forget");
    assert_told(tt_sub_open(&no, bus, "t", "other", LW_FROM_NOW, 0), LW_ENOSLOT, "topic t");
    lw_sub_close(subs[2]);
    assert_int_equal(tt_sub_open(&no, bus, "t", NULL, LW_FROM_NOW, 0), LW_ENOSLOT); /* its place stays */
    lw_sub_close(subs[0]);
    subs[0] = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    t_kill(&hog);
    for (int i = 0; i < 60; i++) lw_sub_close(tt_sub(bus, "t", NULL, LW_FROM_NOW)); /* and does not run out */
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.readers, 4);
    for (int i = 0; i < 4; i++)
        if (i != 2) lw_sub_close(subs[i]);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void one_slot_or_hundreds_if_made_so(void **state) {
    enum { MANY = 256, MESSAGES = TT_RING / 256 };
    static struct lw_sub *subs[MANY], *no;
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    assert_ok(tt_sub_shaped(&subs[0], bus, "one", NULL, TT_RING, 1));
    assert_told(tt_sub_open(&no, bus, "one", NULL, LW_FROM_NOW, 0), LW_ENOSLOT, "topic one", "all 1 ");
    lw_sub_close(subs[0]);
    assert_ok(tt_pub_shaped(&pub, bus, "many", TT_RING, MANY));
    int n = getenv("LW_TEST_SHORT") ? 100 : MANY;
    for (int i = 0; i < n; i++) subs[i] = tt_sub(bus, "many", NULL, LW_FROM_NOW);
    if (n == MANY) assert_told(tt_sub_open(&no, bus, "many", NULL, LW_FROM_NOW, 0), LW_ENOSLOT, "topic many", "256");
    tt_send_many(pub, 0, MESSAGES);
    for (int i = 0; i < n; i++) {
        assert_true(tt_gets_only(subs[i], 0, MESSAGES));
        lw_sub_close(subs[i]);
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

enum { BEYOND_A_WORD = 70, ROUNDS = 4 }; /* of the masks that say who sleeps */

static void release_all(struct lw_sub *sub) {
    struct lw_msg msg = {0};
    while (lw_sub_next(sub, &msg, 0) == 1) {
    }
    lw_sub_release(sub, &msg);
}

/* The last of many sleeps for a message. Then all release, when the publisher sleeps for room. */
static int many_readers_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_sub *subs[BEYOND_A_WORD];
    struct lw_msg msg;
    for (int i = 0; i < BEYOND_A_WORD; i++) subs[i] = tt_sub(bus, "many", NULL, LW_FROM_NOW);
    for (;;) {
        t_say(0);
        T_NEED(lw_sub_next(subs[BEYOND_A_WORD - 1], &msg, LW_SEC(20)) == 1);
        t_say(t_now());
        t_listen();         /* leaves when the test is over */
        t_sleep(LW_MS(50)); /* mostly the publisher sleeps by then */
        for (int i = 0; i < BEYOND_A_WORD; i++) release_all(subs[i]);
        t_say(t_now());
    }
}

static void more_readers_than_a_word_has_bits_sleep_and_wake(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    assert_ok(tt_pub_shaped(&pub, bus, "many", TT_RING, 128));
    struct t_child child = t_fork(many_readers_body, *state);
    for (uint64_t n = 0, round = 0; round < ROUNDS; round++) {
        t_hear(&child);
        t_sleep(LW_MS(50)); /* mostly it sleeps by then */
        int64_t sent = t_now();
        assert_ok(tt_send(pub, n++, 0));
        assert_true(t_hear(&child) - sent < t_prompt());
        n = tt_send_all(pub, n);
        t_tell(&child, 0);
        assert_ok(tt_send(pub, n++, LW_SEC(20)));
        int64_t went = t_now();
        assert_true(went - t_hear(&child) < t_prompt());
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- holding and releasing --------------------------------------------------------------------------------------- */

static void many_are_held_and_released_in_one_store(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg m[10], none = {0};
    struct lw_stats stats = LW_STATS_INIT;
    assert_int_equal(lw_sub_release(sub, &none), LW_ESTATE);
    for (uint64_t lap = 0; lap < 200; lap++) {
        tt_send_many(pub, lap * 10, 10);
        for (uint64_t i = 0; i < 10; i++) {
            assert_int_equal(lw_sub_next(sub, &m[i], 0), 1);
            assert_int_equal(tt_read(&m[i]), lap * 10 + i);
            assert_int_equal((uintptr_t)m[i].data % 8, 0);
        }
        for (int i = 0; i < 10; i++) assert_true(tt_read(&m[i]) == lap * 10 + (uint64_t)i); /* all still there */
        assert_ok(lw_sub_release(sub, &m[3]));
        assert_int_equal(lw_sub_release(sub, &m[3]), LW_ESTATE);
        assert_int_equal(lw_sub_release(sub, &m[0]), LW_ESTATE);
        assert_ok(lw_sub_release(sub, &m[9]));
        assert_int_equal(lw_sub_release(sub, &m[8]), LW_ESTATE);
        struct lw_msg after = {.position = m[9].position + 512, .len = 0};
        assert_int_equal(lw_sub_release(sub, &after), LW_ESTATE);
    }
    assert_ok(lw_sub_stats(sub, &stats));
    assert_int_equal(stats.messages, 2000);
    assert_int_equal(stats.number, 2000);
    assert_int_equal(stats.bytes, stats.position);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void after_a_loop_the_message_is_the_last_one(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    for (int by_copy = 0; by_copy < 2; by_copy++) {
        struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
        struct lw_msg msg = {0};
        struct lw_sub *sub;
        opt.max_lag = by_copy ? TT_RING / 2 : 0;
        assert_ok(lw_sub_open(&sub, bus, "t", &opt));
        tt_send_many(pub, 0, 100);
        for (int64_t timeout = 0; timeout < 2; timeout++) {
            while (lw_sub_next(sub, &msg, timeout * LW_MS(5)) == 1) {
            }
            assert_int_equal(msg.number, by_copy * 100 + 99); /* its data may be gone, by copy */
        }
        assert_ok(lw_sub_release(sub, &msg));
        lw_sub_rewind(sub);
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
        lw_sub_close(sub);
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void rewound_what_was_held_comes_again(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg m[5];
    tt_send_many(pub, 0, 8);
    for (int i = 0; i < 5; i++) assert_int_equal(lw_sub_next(sub, &m[i], 0), 1);
    assert_ok(lw_sub_release(sub, &m[1]));
    lw_sub_rewind(sub);
    assert_int_equal(lw_sub_release(sub, &m[3]), LW_ESTATE); /* no longer handed out */
    assert_int_equal(lw_sub_next(sub, &m[0], 0), 1);
    assert_int_equal(m[0].number, 2);
    lw_sub_rewind(sub);
    lw_sub_rewind(sub);
    assert_true(tt_gets_only(sub, 2, 6));
    lw_sub_rewind(sub);
    assert_true(tt_gets_only(sub, 0, 0));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void copying_into_a_buffer_that_is_too_small(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    char room[100];
    assert_int_equal(lw_sub_recv(sub, room, sizeof room, &msg, 0), LW_EEMPTY);
    assert_ok(lw_pub_send(pub, 9, "0123456789", 10, 0));
    assert_ok(lw_pub_send(pub, 10, room, 0, 0));
    assert_int_equal(lw_sub_recv(sub, room, 9, &msg, 0), LW_ETOOBIG);
    assert_int_equal(msg.len, 10);
    assert_int_equal(lw_sub_recv(sub, NULL, 0, NULL, 0), LW_ETOOBIG);
    assert_int_equal(lw_sub_recv(sub, room, 10, &msg, 0), 1);
    assert_memory_equal(room, "0123456789", 10);
    assert_ptr_equal(msg.data, room);
    assert_int_equal(msg.type, 9);
    assert_int_equal(lw_sub_recv(sub, NULL, 0, NULL, 0), 1); /* empty: fits nowhere as well */
    assert_int_equal(lw_sub_recv(sub, room, 10, NULL, 0), LW_EEMPTY);
    tt_send_many(pub, 0, 2);
    assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
    assert_int_equal(lw_sub_recv(sub, room, 10, NULL, 0), LW_ESTATE); /* it would release what is held */
    assert_ok(lw_sub_release(sub, &msg));
    assert_true(tt_gets_only(sub, 1, 1));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int write_body(void *dir) {
    struct lw_sub *sub = tt_sub(tt_bus(dir, NULL), "t", NULL, LW_FROM_OLDEST);
    struct lw_msg msg;
    signal(SIGSEGV, SIG_DFL);
    T_NEED(lw_sub_next(sub, &msg, 0) == 1);
    *(char *)(uintptr_t)msg.data = 1;
    return 0;
}

static void a_subscriber_can_not_write_into_messages(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 1);
    struct t_child child = t_fork(write_body, *state);
    assert_int_equal(t_wait(&child), -SIGSEGV);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- seeking ----------------------------------------------------------------------------------------------------- */

static void seeking_goes_anywhere_that_is_retained(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", "risk", LW_FROM_NOW);
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_msg msg;
    int64_t at[100];
    for (uint64_t i = 0; i < 100; i++) at[i] = tt_send(pub, i, 0);
    for (int i = 0; i < 300; i++) {
        uint64_t n = t_random() % 100;
        assert_ok(lw_sub_seek(sub, LW_FROM_POSITION, (uint64_t)at[n]));
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1); /* held, and void with the next seek */
        assert_int_equal(tt_read(&msg), n);
        assert_int_equal(msg.number, n);
        if (i % 3 == 0) assert_ok(lw_sub_release(sub, &msg));
    }
    assert_ok(lw_sub_stats(sub, &stats));
    assert_int_equal(stats.messages, 100); /* seeking is not handling */
    assert_ok(lw_sub_seek(sub, LW_FROM_OLDEST, 0));
    assert_int_equal(lw_sub_release(sub, &msg), LW_ESTATE);
    assert_true(tt_gets_only(sub, 0, 100));
    assert_told(lw_sub_seek(sub, LW_FROM_POSITION, (uint64_t)at[5] + 8), LW_EPOSITION, "topic t");
    assert_true(tt_gets_only(sub, 0, 0)); /* where it was */
    assert_ok(lw_sub_seek(sub, LW_FROM_POSITION, (uint64_t)at[97]));
    lw_sub_close(sub);
    sub = tt_sub(bus, "t", "risk", LW_FROM_NOW); /* the new place lasts */
    assert_true(tt_gets_only(sub, 97, 3));
    assert_ok(lw_sub_seek(sub, LW_FROM_OLDEST, 0));
    assert_ok(lw_sub_seek(sub, LW_FROM_NOW, 0));
    assert_true(tt_gets_only(sub, 100, 0));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void seeking_needs_a_free_slot_and_what_is_gone_is_gone(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    struct lw_sub *sub;
    assert_ok(tt_pub_shaped(&pub, bus, "t", TT_RING, 1));
    assert_ok(tt_sub_open(&sub, bus, "t", NULL, LW_FROM_NOW, 0));
    assert_told(lw_sub_seek(sub, LW_FROM_OLDEST, 0), LW_ENOSLOT, "topic t", "laneway info t");
    lw_sub_close(sub);
    uint64_t n = 0;
    while (tt_send(pub, n, 0) < 2 * TT_RING) n++;
    lw_pub_close(pub);
    assert_ok(lw_topic_remove(bus, "t", 0));
    pub = tt_pub(bus, "t");
    sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    for (n = 0; n < 1000; n++) {
        assert_ok(tt_send(pub, n, 0));
        assert_true(tt_gets(sub, n, 1));
    }
    assert_told(lw_sub_seek(sub, LW_FROM_POSITION, 0), LW_EPOSITION, "topic t", "position 0", "retained");
    tt_send_many(pub, n, 1);
    assert_true(tt_gets_only(sub, n, 1));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static int publish_body(void *dir) {
    struct lw_pub *pub = tt_pub(tt_bus(dir, NULL), "t");
    for (uint64_t n = 0; n < UINT64_MAX; n++) {
        t_listen(); /* leaves when the test is over */
        tt_send_many(pub, n, 1);
    }
    return 0;
}

static void waiting_ends_with_the_message_or_the_time(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct t_child child = t_fork(publish_body, *state);
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_msg msg;
    for (uint64_t n = 0; n < 50; n++) {
        t_tell(&child, 0);
        assert_int_equal(lw_sub_next(sub, &msg, n % 2 ? LW_FOREVER : LW_SEC(20)), 1);
        assert_int_equal(tt_read(&msg), n);
        assert_ok(lw_sub_release(sub, &msg));
    }
    int64_t begin = t_now();
    assert_int_equal(lw_sub_next(sub, &msg, LW_MS(20)), LW_EEMPTY);
    assert_true(t_now() - begin >= LW_MS(20));
    for (int i = 0; i < 1000; i++) assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    assert_ok(lw_sub_stats(sub, &stats));
    assert_int_equal(stats.messages, 50);
    assert_int_equal(stats.refused, 1);
    assert_true(stats.waits >= 1);
    assert_int_equal(stats.lost, 0);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void on_signal(int number) {
    (void)number;
}

static void a_signal_handler_ends_the_waiting(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct sigaction act = {.sa_handler = on_signal};
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    struct lw_msg msg;
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL); /* again and again: the first may come before the waiting */
    int rc = lw_sub_next(sub, &msg, LW_FOREVER);
    setitimer(ITIMER_REAL, &never, NULL);
    assert_int_equal(rc, -EINTR);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* ---- damage under a reader --------------------------------------------------------------------------------------- */

static void a_damaged_record_stops_its_readers_and_is_named(void **state) {
    static const uint64_t bad[] = {1, UINT64_C(0x8000) << 48 | 0x7fffffff, UINT64_C(0x8001) << 48, UINT64_MAX,
                                   UINT64_C(0x4000) << 48};
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    uint64_t good;
    tt_send_many(pub, 0, 3);
    int64_t at = tt_send(pub, 3, 0);
    tt_send_many(pub, 4, 3);
    assert_true(tt_gets(sub, 0, 3));
    char path[TT_PATH];
    const char *lane = tt_lane(path, *state, "t"), *position = tt_text("position %lld", (long long)at);
    tt_peek(lane, TT_LANE_HEAD + at, &good, sizeof good);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tt_poke(lane, TT_LANE_HEAD + at, &bad[i], sizeof bad[i]);
        assert_told(lw_sub_next(sub, &msg, 0), LW_ECORRUPT, "topic t", lane, position, "laneway verify t");
        assert_told(lw_sub_next(sub, &msg, LW_FOREVER), LW_ECORRUPT, position); /* it stays there */
        assert_told(lw_topic_verify(bus, "t", NULL), LW_ECORRUPT, lane, position);
    }
    tt_poke(lane, TT_LANE_HEAD + at, &good, sizeof good);
    assert_true(tt_gets_only(sub, 3, 4));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(from_now_from_the_oldest_and_from_a_position),
        t_test(a_position_inside_a_record_or_outside_of_what_is_there_is_refused),
        t_test(options_are_checked),
        t_test(killed_what_was_released_never_comes_again_and_the_rest_does),
        t_test(a_name_is_open_once_also_in_one_process),
        t_test(a_durable_place_holds_back_while_nobody_is_there),
        t_test(sixty_four_subscribers_and_the_next_is_refused),
        t_test(one_slot_or_hundreds_if_made_so),
        t_test(more_readers_than_a_word_has_bits_sleep_and_wake),
        t_test(many_are_held_and_released_in_one_store),
        t_test(after_a_loop_the_message_is_the_last_one),
        t_test(rewound_what_was_held_comes_again),
        t_test(copying_into_a_buffer_that_is_too_small),
        t_test(a_subscriber_can_not_write_into_messages),
        t_test(seeking_goes_anywhere_that_is_retained),
        t_test(seeking_needs_a_free_slot_and_what_is_gone_is_gone),
        t_test(waiting_ends_with_the_message_or_the_time),
        t_test(a_signal_handler_ends_the_waiting),
        t_test(a_damaged_record_stops_its_readers_and_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

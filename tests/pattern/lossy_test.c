/* SPDX-License-Identifier: MIT */
/*
 * Subscribers that hold nobody back: what they see, what they are told, and what is seen of them. How they read what is
 * overwritten under them is tested in tests/lane/copy_test.c.
 *
 * pitfall 20: losses are counted.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "util/topic_util.h"

static int open_lossy(struct lw_sub **sub, struct lw_bus *bus, enum lw_from from, uint64_t position) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.flags = LW_SUB_LOSSY;
    opt.from = from;
    opt.position = position;
    return lw_sub_open(sub, bus, "t", &opt);
}

static struct lw_sub *lossy(struct lw_bus *bus, enum lw_from from) {
    struct lw_sub *sub;
    T_NEED(!open_lossy(&sub, bus, from, 0));
    return sub;
}

static struct lw_stats stats_of(struct lw_sub *sub) {
    struct lw_stats stats = LW_STATS_INIT;
    T_NEED(!lw_sub_stats(sub, &stats));
    return stats;
}

static int first_reader(const struct lw_reader_info *reader, void *user) {
    *(struct lw_reader_info *)user = *reader;
    return 1;
}

static struct lw_reader_info reader_info(struct lw_bus *bus) {
    struct lw_reader_info info;
    T_NEED(lw_topic_readers(bus, "t", first_reader, &info) == 1);
    return info;
}

/* ---- what it sees ------------------------------------------------------------------------------------------------ */

static void all_of_it_while_it_keeps_up(void **state) {
    for (int shared = 0; shared < 2; shared++) {
        struct lw_bus *bus = tt_bus(*state, NULL);
        struct lw_pub *pub = shared ? tt_pub_shared(bus, "t") : tt_pub(bus, "t");
        struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
        for (uint64_t n = 0; n < 20000; n += 100) {
            tt_send_many(pub, n, 100);
            assert_true(tt_gets_only(sub, n, 100));
        }
        struct lw_stats stats = stats_of(sub);
        assert_true(stats.messages == 20000 && stats.number == 20000 && stats.lost == 0 && stats.evicted == 0);
        assert_true(stats.bytes == stats.position);
        lw_sub_close(sub);
        lw_pub_close(pub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

/* Told once, with the next one's place; the count is right to the message, in its statistics and from outside. */
static void a_gap_is_told_once_and_counted(void **state) {
    for (int shared = 0; shared < 2; shared++) {
        struct lw_bus *bus = tt_bus(*state, NULL);
        struct lw_pub *pub = shared ? tt_pub_shared(bus, "t") : tt_pub(bus, "t");
        struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
        struct lw_msg msg;
        char buffer[TT_MESSAGE];
        uint64_t n = 0, got = 0, lost = 0;
        for (int round = 0; round < 60; round++) {
            uint64_t next = n;
            tt_send_many(pub, n, 1000 + 37 * (uint64_t)round); /* more than a ring, never waiting */
            n += 1000 + 37 * (uint64_t)round;
            int rc = round % 2 ? lw_sub_recv(sub, buffer, sizeof buffer, &msg, LW_SEC(1)) : lw_sub_next(sub, &msg, 0);
            assert_int_equal(rc, LW_EGAP);
            lost += msg.number - next;
            struct lw_stats stats = stats_of(sub);
            assert_true(msg.number == stats.number && msg.position == stats.position);
            assert_true(stats.lost == lost && stats.messages == got && stats.evicted == 0);
            tt_send_many(pub, n, 20); /* there is room before it is overtaken again */
            n += 20;
            assert_true(tt_gets_only(sub, msg.number, n - msg.number));
            got += n - msg.number;
            struct lw_reader_info info = reader_info(bus);
            assert_true(info.lossy && !info.evicted && !info.durable && info.alive && !info.slowest);
            assert_true(info.lost == lost && info.number == n && info.lag_messages == 0 && info.max_lag == 0);
        }
        assert_int_equal(got + lost, n);
        lw_sub_close(sub);
        lw_pub_close(pub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

/* Several at once: they are there until the next copy. */
static void several_messages_held(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    struct lw_msg held[20], msg;
    for (uint64_t n = 0; n < 2000; n += 20) {
        tt_send_many(pub, n, 20);
        for (int i = 0; i < 20; i++) assert_int_equal(lw_sub_next(sub, &held[i], 0), 1);
        for (uint64_t i = 0; i < 20; i++) assert_int_equal(tt_read(&held[i]), n + i);
        if (n % 3 == 0) { /* all of them come again */
            lw_sub_rewind(sub);
            for (int i = 0; i < 20; i++) assert_int_equal(lw_sub_next(sub, &held[i], 0), 1);
            for (uint64_t i = 0; i < 20; i++) assert_true(tt_read(&held[i]) == n + i && held[i].number == n + i);
        }
        assert_ok(lw_sub_release(sub, &held[9]));
        assert_int_equal(stats_of(sub).messages, n + 10);
        assert_ok(lw_sub_release(sub, &held[19]));
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* 0 bytes, around what is copied at once, half a ring; batches. */
static void records_of_every_size(void **state) {
    static unsigned char data[TT_RING / 2];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    struct lw_msg msg;
    const size_t lens[] = {
        0, 1, 7, 8, 9, 16359, 16360, 16361, 16368, 16369, 16384, 20000, lw_pub_max(pub) - 1, lw_pub_max(pub)};
    enum { COUNT = sizeof lens / sizeof *lens };
    for (int round = 0; round < 300; round++) {
        size_t len = lens[round % COUNT];
        memset(data, round + 1, len);
        if (round % 3 == 0) assert_ok(lw_pub_send(pub, 9, "before", 6, 0));
        assert_ok(lw_pub_send(pub, (uint16_t)round, data, len, 0));
        if (round % 3 == 0) assert_true(lw_sub_next(sub, &msg, 0) == 1 && msg.len == 6 && msg.type == 9);
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_true(msg.len == len && msg.type == round && memcmp(msg.data, data, len) == 0);
        assert_ok(lw_sub_release(sub, &msg));
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    }
    struct lw_item items[40];
    for (int i = 0; i < 40; i++) items[i] = (struct lw_item){.data = data, .len = 700, .type = (uint16_t)i};
    for (int round = 0; round < 100; round++) {
        assert_ok(lw_pub_send_batch(pub, items, 40, 0));
        for (int i = 0; i < 40; i++) {
            assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
            assert_true(msg.type == i && msg.len == 700 && msg.flags == (i < 39 ? LW_MSG_MORE : 0));
        }
        assert_ok(lw_sub_release(sub, &msg));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- where it begins, and going elsewhere ------------------------------------------------------------------------ */

static void from_now_from_the_oldest_and_from_a_position(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    static int64_t at[3000];
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    for (uint64_t i = 0; i < 3000; i++) at[i] = tt_send(pub, i, 0);
    assert_ok(lw_topic_stat(bus, "t", &info));
    struct lw_sub *seeker = lossy(bus, LW_FROM_NOW), *sub;
    for (uint64_t i = 2000; i < 3000; i += 17) {
        bool there = (uint64_t)at[i] >= info.oldest;
        assert_int_equal(open_lossy(&sub, bus, LW_FROM_POSITION, (uint64_t)at[i]), there ? 0 : LW_EPOSITION);
        if (there) assert_true(tt_gets_only(sub, i, 3000 - i));
        if (there) lw_sub_close(sub);
        assert_int_equal(lw_sub_seek(seeker, LW_FROM_POSITION, (uint64_t)at[i]), there ? 0 : LW_EPOSITION);
        if (there) assert_true(tt_gets(seeker, i, 3));
        assert_fails(open_lossy(&sub, bus, LW_FROM_POSITION, (uint64_t)at[i] + 4), LW_EPOSITION, "topic t");
    }
    sub = lossy(bus, LW_FROM_OLDEST);
    assert_true(tt_gets_only(sub, info.oldest_number, 3000 - info.oldest_number));
    assert_ok(lw_sub_seek(sub, LW_FROM_OLDEST, 0));
    assert_true(tt_gets(sub, info.oldest_number, 5));
    assert_ok(lw_sub_seek(sub, LW_FROM_NOW, 0));
    tt_send_many(pub, 3000, 1);
    assert_true(tt_gets_only(sub, 3000, 1));
    lw_sub_close(sub);
    lw_sub_close(seeker);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* It stays where it was, with its number. */
static void a_seek_in_vain_changes_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    struct lw_msg msg;
    tt_send_many(pub, 0, 100);
    assert_true(tt_gets(sub, 0, 60));
    struct lw_stats before = stats_of(sub);
    for (uint64_t off = 4; off < 400; off += 4) {
        if (lw_sub_seek(sub, LW_FROM_POSITION, before.position / 2 / 8 * 8 + 4) != LW_EPOSITION) fail();
        struct lw_stats after = stats_of(sub);
        assert_true(after.messages == before.messages && after.bytes == before.bytes);
        assert_true(after.position == before.position && after.number == before.number);
        assert_fails(lw_sub_seek(sub, LW_FROM_POSITION, before.position + 8 * TT_RING), LW_EPOSITION, "topic t");
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_true(msg.number == 60 && tt_read(&msg) == 60);
        lw_sub_rewind(sub);
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_true(msg.number == 60 && tt_read(&msg) == 60);
        lw_sub_rewind(sub);
        assert_int_equal(stats_of(sub).messages, 60);
        assert_int_equal(reader_info(bus).number, 60);
    }
    assert_true(tt_gets_only(sub, 60, 40));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- the ways of receiving --------------------------------------------------------------------------------------- */

static void a_buffer_that_is_too_small(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    struct lw_msg msg;
    char buffer[TT_MESSAGE];
    tt_send_many(pub, 0, 500);
    for (uint64_t i = 0; i < 500; i++) {
        size_t len = tt_fill(buffer, i);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(lw_sub_recv(sub, buffer, len - 1, &msg, 0), LW_ETOOBIG);
            assert_true(msg.len == len && msg.number == i);
        }
        assert_int_equal(lw_sub_recv(sub, buffer, len, &msg, 0), 1);
        assert_int_equal(tt_read(&msg), i);
    }
    assert_int_equal(lw_sub_recv(sub, buffer, sizeof buffer, &msg, 0), LW_EEMPTY);
    tt_send_many(pub, 500, 1);
    assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
    assert_int_equal(lw_sub_recv(sub, buffer, sizeof buffer, &msg, 0), LW_ESTATE);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

struct taken {
    uint64_t next, handled;
};

static enum lw_verdict keep_each_once(const struct lw_msg *msg, void *user) {
    struct taken *t = user;
    T_NEED(tt_read(msg) == t->next && msg->number == t->next);
    if (++t->handled % 2) return LW_KEEP;
    t->next++;
    return LW_NEXT;
}

static void callbacks_that_keep(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    struct taken t = {0, 0};
    for (uint64_t n = 0; n < 1000; n += 50) {
        tt_send_many(pub, n, 50);
        int64_t rc;
        while ((rc = lw_sub_dispatch(sub, keep_each_once, &t, 0, 0)) >= 0) continue;
        assert_int_equal(rc, LW_EEMPTY);
        assert_int_equal(t.next, n + 50);
    }
    assert_true(t.handled == 2000 && stats_of(sub).messages == 1000);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* Kept, and overwritten before it was asked for again: it is lost, and counted. */
static enum lw_verdict keep_it(const struct lw_msg *msg, void *user) {
    *(uint64_t *)user = msg->number;
    return LW_KEEP;
}

static void what_was_kept_may_be_lost(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    struct lw_msg msg;
    uint64_t kept = 99;
    tt_send_many(pub, 0, 10);
    assert_true(tt_gets(sub, 0, 4));
    assert_int_equal(lw_sub_dispatch(sub, keep_it, &kept, 0, 0), 0);
    assert_int_equal(kept, 4);
    tt_send_many(pub, 10, 2000);
    assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EGAP);
    assert_int_equal(stats_of(sub).lost, msg.number - 4);
    assert_true(tt_gets_only(sub, msg.number, 2010 - msg.number));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- whom it holds ----------------------------------------------------------------------------------------------- */

static const char *dir;

static int be_stopped(void *arg) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_sub *sub = lossy(bus, LW_FROM_OLDEST);
    uint64_t next = 0;
    (void)arg;
    t_say(1);
    t_listen();
    struct lw_msg msg;
    int rc = lw_sub_next(sub, &msg, 0);
    T_NEED(rc == LW_EGAP && stats_of(sub).lost == msg.number - next);
    t_say((int64_t)stats_of(sub).number);
    t_forever();
}

static void a_stopped_or_dead_one_holds_nobody(void **state) {
    dir = *state;
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub_shared(bus, "t");
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct t_child child = t_fork(be_stopped, NULL);
    t_hear(&child);
    t_stop(&child);
    for (uint64_t n = 0; n < 20000; n++) assert_ok(tt_send(pub, n, 0));
    assert_int_equal(reader_info(bus).lag_messages, 20000);
    t_go_on(&child);
    t_tell(&child, 1);
    assert_true(t_hear(&child) > 19000);
    t_kill(&child);
    for (uint64_t n = 20000; n < 30000; n++) assert_ok(tt_send(pub, n, 0));
    lw_pub_close(pub);
    lw_sub_close(tt_sub(bus, "t", NULL, LW_FROM_NOW)); /* who comes sweeps */
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.readers, 0);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    assert_ok(lw_bus_close(bus));
}

/* It subscribes, for whoever asks whether somebody does. */
static void it_counts_as_a_subscriber(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    struct lw_pub *pub;
    opt.flags = LW_PUB_NEED_SUB;
    opt.shape.ring = TT_RING;
    assert_ok(lw_pub_open(&pub, bus, "t", &opt));
    assert_int_equal(tt_send(pub, 0, 0), LW_ENOSUB);
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    for (uint64_t n = 0; n < 3000; n++) assert_ok(tt_send(pub, n, 0));
    lw_sub_close(sub);
    assert_int_equal(tt_send(pub, 0, 0), LW_ENOSUB);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* The topic gets another shape while it is empty: it follows. */
static void it_follows_to_another_shape(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = TT_RING;
    assert_ok(lw_topic_create(bus, "t", &shape));
    struct lw_sub *sub = lossy(bus, LW_FROM_NOW);
    shape.ring = 2 * TT_RING;
    assert_ok(lw_topic_create(bus, "t", &shape));
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_msg msg;
    tt_send_many(pub, 0, 5000);
    assert_int_equal(lw_sub_next(sub, &msg, LW_SEC(20)), LW_EGAP);
    assert_int_equal(stats_of(sub).lost, msg.number);
    assert_true(tt_gets_only(sub, msg.number, 5000 - msg.number));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    assert_ok(lw_bus_close(bus));
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void it_has_neither_a_name_nor_a_lag(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *sub;
    opt.flags = LW_SUB_LOSSY;
    opt.name = "d";
    assert_told(lw_sub_open(&sub, bus, "t", &opt), -EINVAL, "LW_SUB_LOSSY", "name");
    assert_null(sub);
    opt.name = NULL;
    opt.max_lag = 4096;
    assert_told(lw_sub_open(&sub, bus, "t", &opt), -EINVAL, "LW_SUB_LOSSY", "max_lag");
    opt.max_lag = 0;
    opt.flags = LW_SUB_LOSSY | 64;
    assert_told(lw_sub_open(&sub, bus, "t", &opt), -EINVAL, "flags", "0x41");
    opt.flags = LW_SUB_LOSSY;
    opt.shape.ring = TT_RING;
    opt.shape.evict_lag = 4096; /* the topic's is not its own */
    assert_ok(lw_sub_open(&sub, bus, "t", &opt));
    assert_true(reader_info(bus).lossy && reader_info(bus).max_lag == 0);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(all_of_it_while_it_keeps_up),
        t_test(a_gap_is_told_once_and_counted),
        t_test(several_messages_held),
        t_test(records_of_every_size),
        t_test(from_now_from_the_oldest_and_from_a_position),
        t_test(a_seek_in_vain_changes_nothing),
        t_test(a_buffer_that_is_too_small),
        t_test(callbacks_that_keep),
        t_test(what_was_kept_may_be_lost),
        t_test(a_stopped_or_dead_one_holds_nobody),
        t_test(it_counts_as_a_subscriber),
        t_test(it_follows_to_another_shape),
        t_test(it_has_neither_a_name_nor_a_lag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

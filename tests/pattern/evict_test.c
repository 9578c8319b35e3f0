/* SPDX-License-Identifier: MIT */
/*
 * Subscribers that may be evicted: the policies of a topic and of a subscriber, what is told to whom and how often, and
 * what is seen of it from outside. The protocol itself is in tests/lane/evict_test.c.
 *
 * pitfall 14: a dead subscriber does not stop a publisher for ever.
 * pitfall 20: a slow one is found out before the ring is full, and what it lost is counted.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "util/topic_util.h"

enum { LAG = 8 << 10 };

static int open_lagging(struct lw_sub **sub, struct lw_bus *bus, const char *name, uint64_t max_lag) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.name = name;
    opt.max_lag = max_lag;
    return lw_sub_open(sub, bus, "t", &opt);
}

static struct lw_sub *lagging(struct lw_bus *bus, const char *name, uint64_t max_lag) {
    struct lw_sub *sub;
    T_NEED(!open_lagging(&sub, bus, name, max_lag));
    return sub;
}

static void make_topic(struct lw_bus *bus, uint64_t evict_lag, int64_t evict_age) {
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = TT_RING;
    shape.evict_lag = evict_lag;
    shape.evict_age = evict_age;
    T_NEED(!lw_topic_create(bus, "t", &shape));
}

static struct lw_stats sub_stats(struct lw_sub *sub) {
    struct lw_stats stats = LW_STATS_INIT;
    T_NEED(!lw_sub_stats(sub, &stats));
    return stats;
}

static struct lw_stats pub_stats(struct lw_pub *pub) {
    struct lw_stats stats = LW_STATS_INIT;
    T_NEED(!lw_pub_stats(pub, &stats));
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

/* Publishes `bytes` of ring and more; the number of the next one. */
static uint64_t send_bytes(struct lw_pub *pub, uint64_t next, uint64_t bytes) {
    for (uint64_t sent = 0; sent < bytes; next++) {
        char buffer[TT_MESSAGE];
        assert_ok(tt_send(pub, next, 0));
        sent += (tt_fill(buffer, next) + 15) & ~UINT64_C(7);
    }
    return next;
}

/* ---- policies ---------------------------------------------------------------------------------------------------- */

/* The topic's and the subscriber's: the smaller one counts. */
static void the_smaller_lag_counts(void **state) {
    const struct {
        uint64_t topic, own, counts;
    } all[] = {{0, 0, 0},           {LAG, 0, LAG},   {0, LAG, LAG},         {LAG, 2 * LAG, LAG},
               {2 * LAG, LAG, LAG}, {LAG, LAG, LAG}, {TT_RING, 0, TT_RING}, {0, 10 * TT_RING, 10 * TT_RING}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int shared = 0; shared < 2; shared++) {
            struct lw_bus *bus = tt_bus(*state, NULL);
            make_topic(bus, all[i].topic, 0);
            struct lw_pub *pub = shared ? tt_pub_shared(bus, "t") : tt_pub(bus, "t");
            struct lw_sub *sub = lagging(bus, NULL, all[i].own);
            uint64_t n = 0;
            assert_int_equal(reader_info(bus).max_lag, all[i].counts);
            while (n < 2000 && tt_send(pub, n, 0) >= 0) n++; /* once full, each segment needs room */
            struct lw_msg msg;
            if (!all[i].counts) {
                assert_true(n < 2000 && !reader_info(bus).evicted);
                assert_int_equal(pub_stats(pub).evicted, 0);
                assert_true(tt_gets(sub, 0, n));
            } else {
                assert_int_equal(n, 2000);
                assert_true(reader_info(bus).evicted);
                assert_int_equal(pub_stats(pub).evicted, 1);
                assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEVICTED);
                struct lw_stats stats = sub_stats(sub);
                assert_true(stats.lost && stats.lost == msg.number && stats.evicted == 1);
                assert_true(tt_gets_only(sub, msg.number, n - msg.number));
                uint64_t most = all[i].counts < TT_RING ? all[i].counts : TT_RING - 1024;
                n = send_bytes(pub, n, most - 1024); /* within its lag */
                assert_false(reader_info(bus).evicted);
                n = send_bytes(pub, n, 1024 + 3 * TT_RING / 64);
                assert_true(reader_info(bus).evicted);
            }
            lw_sub_close(sub);
            lw_pub_close(pub);
            assert_ok(lw_topic_remove(bus, "t", 0));
            assert_ok(lw_bus_close(bus));
        }
}

/* One that is slower than it, but in nobody's way, changes nothing about it; whichever slots they have. */
static void a_slow_one_without_a_lag_does_not_save_another(void **state) {
    for (int slow_first = 0; slow_first < 2; slow_first++) {
        struct lw_bus *bus = tt_bus(*state, NULL);
        struct lw_sub *slow = slow_first ? tt_sub(bus, "t", NULL, LW_FROM_NOW) : NULL;
        struct lw_pub *pub = tt_pub(bus, "t");
        struct lw_sub *sub = lagging(bus, NULL, LAG);
        if (!slow_first) slow = tt_sub(bus, "t", NULL, LW_FROM_NOW);
        uint64_t n = 0;
        for (int round = 0; round < 50; round++) {
            uint64_t from = n;
            n = send_bytes(pub, n, 1000);
            assert_true(tt_gets(sub, from, n - from));
            n = send_bytes(pub, n, TT_RING - 3000); /* all of the slow one's ring may be used */
            struct lw_msg msg;
            int rc = lw_sub_next(sub, &msg, 0);
            assert_true(rc == 1 || rc == LW_EEVICTED);
            if (rc == 1) lw_sub_release(sub, &msg);
            assert_true(tt_gets_only(sub, msg.number + (rc == 1), n - msg.number - (rc == 1)));
            assert_true(tt_gets_only(slow, from, n - from));
        }
        assert_true(pub_stats(pub).evicted > 40);
        lw_sub_close(sub);
        lw_sub_close(slow);
        lw_pub_close(pub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static void evict_it(struct lw_pub *pub, uint64_t *n) {
    *n = send_bytes(pub, *n, 2 * TT_RING);
}

static enum lw_verdict release_it(const struct lw_msg *msg, void *user) {
    T_NEED(tt_read(msg) == msg->number);
    ++*(uint64_t *)user;
    return LW_NEXT;
}

/* Whichever call comes next says so, once, with the place where it goes on; and the numbers add up. */
static void each_way_of_receiving_tells_it_once(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lagging(bus, NULL, LAG);
    struct lw_msg msg;
    char buffer[TT_MESSAGE];
    uint64_t n = 0, got = 0, lost = 0;
    for (int round = 0; round < 60; round++) {
        evict_it(pub, &n);
        uint64_t before = sub_stats(sub).number;
        memset(&msg, 0xff, sizeof msg);
        int64_t rc = round % 3 == 0   ? lw_sub_next(sub, &msg, 0)
                     : round % 3 == 1 ? lw_sub_recv(sub, buffer, sizeof buffer, &msg, LW_SEC(1))
                                      : lw_sub_dispatch(sub, release_it, &got, 0, 0);
        assert_int_equal(rc, LW_EEVICTED);
        struct lw_stats stats = sub_stats(sub);
        lost += stats.number - before;
        if (round % 3 != 2) assert_true(msg.number == stats.number && msg.position == stats.position);
        assert_true(stats.evicted == (uint64_t)round + 1 && stats.lost == lost && stats.messages == got);
        while (round % 3 == 1 && (rc = lw_sub_recv(sub, buffer, sizeof buffer, &msg, 0)) == 1) got++;
        while (round % 3 == 2 && (rc = lw_sub_dispatch(sub, release_it, &got, 7, 0)) > 0) continue;
        if (round % 3) assert_int_equal(rc, LW_EEMPTY);
        if (round % 3 == 0) got += tt_drain(sub);
        assert_int_equal(got + lost, n);
        assert_int_equal(sub_stats(sub).messages, got);
        struct lw_reader_info info = reader_info(bus);
        assert_true(info.lost == lost && info.number == n && !info.evicted && info.lag_bytes == 0);
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* The handler of the last message publishes so much that its subscriber is evicted: the count is returned now, the loss
 * with the next call, whichever it is. */
struct flood {
    struct lw_pub *pub;
    uint64_t n, handled;
};

static enum lw_verdict flood(const struct lw_msg *msg, void *user) {
    struct flood *f = user;
    T_NEED(tt_read(msg) == msg->number);
    if (f->handled++ == 0) f->n = send_bytes(f->pub, f->n, 2 * TT_RING);
    return LW_NEXT;
}

static void a_loss_in_the_midst_of_a_dispatch_is_told_afterwards(void **state) {
    for (int lossy = 0; lossy < 2; lossy++)
        for (int by_next = 0; by_next < 2; by_next++) {
            struct lw_bus *bus = tt_bus(*state, NULL);
            struct flood f = {.pub = tt_pub(bus, "t")};
            struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
            struct lw_sub *sub;
            struct lw_msg msg;
            opt.flags = lossy ? LW_SUB_LOSSY : 0;
            opt.max_lag = lossy ? 0 : LAG;
            assert_ok(lw_sub_open(&sub, bus, "t", &opt));
            tt_send_many(f.pub, 0, 1);
            f.n = 1;
            assert_int_equal(lw_sub_dispatch(sub, flood, &f, 0, 0), 1);
            int why = lossy ? LW_EGAP : LW_EEVICTED;
            int64_t rc = by_next ? lw_sub_next(sub, &msg, 0) : lw_sub_dispatch(sub, flood, &f, 0, 0);
            assert_int_equal(rc, why);
            struct lw_stats stats = sub_stats(sub);
            if (by_next) assert_int_equal(msg.number, stats.number);
            assert_int_equal(stats.lost, stats.number - 1);
            uint64_t rest = f.n - stats.number;
            assert_int_equal(tt_drain(sub), rest);
            assert_int_equal(sub_stats(sub).lost, stats.lost);
            lw_sub_close(sub);
            lw_pub_close(f.pub);
            assert_ok(lw_topic_remove(bus, "t", 0));
            assert_ok(lw_bus_close(bus));
        }
}

/* What it holds may be released, whatever happened to it. */
static void what_is_held_can_be_released_afterwards(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lagging(bus, NULL, LAG);
    struct lw_msg held[5], msg;
    uint64_t n = 0;
    for (int round = 0; round < 60; round++) {
        tt_send_many(pub, n, 5);
        uint64_t first = n;
        n += 5;
        for (int i = 0; i < 5; i++) assert_int_equal(lw_sub_next(sub, &held[i], 0), 1);
        if (round % 2) assert_ok(lw_sub_release(sub, &held[2]));
        n = send_bytes(pub, n, round % 3 ? 2 * TT_RING : 2 * LAG);
        int rc = lw_sub_next(sub, &msg, 0);
        assert_true(rc == LW_EEVICTED || (round % 3 == 0 && rc == 1 && tt_read(&msg) == first + 5));
        for (int i = round % 2 ? 3 : 0; i < 5; i++) assert_ok(lw_sub_release(sub, &held[i]));
        if (rc == 1) assert_ok(lw_sub_release(sub, &msg));
        uint64_t next = msg.number + (rc == 1);
        assert_true(tt_gets_only(sub, next, n - next));
        uint64_t counted = sub_stats(sub).messages + sub_stats(sub).lost; /* what was passed in its hands is neither */
        assert_true(counted <= n && counted + 5 * ((uint64_t)round + 1) >= n);
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* What it was handed and had not released is passed without a word, as it has it. Asked for again, it is told; and so is
 * the next of the name. */
static void what_is_held_can_not_come_again(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lagging(bus, "d", LAG);
    struct lw_msg held, msg;
    uint64_t n = 0, told = 0;
    for (int round = 0; round < 30; round++) {
        uint64_t first = n, lost = sub_stats(sub).lost;
        tt_send_many(pub, n, 100);
        n += 100;
        for (int i = 0; i < 100; i++) assert_int_equal(lw_sub_next(sub, &held, 0), 1);
        n = send_bytes(pub, n, TT_RING - 6000); /* over what it holds, and not over the rest */
        int rc = lw_sub_next(sub, &msg, 0);
        assert_true(rc == 1 && tt_read(&msg) == first + 100);
        lw_sub_rewind(sub);
        if (round % 2) { /* it goes, and comes again */
            lw_sub_close(sub);
            sub = lagging(bus, "d", LAG);
            lost = 0;
        }
        rc = lw_sub_next(sub, &msg, 0);
        uint64_t passed = rc == LW_EEVICTED ? sub_stats(sub).lost - lost : 0;
        assert_true(rc == 1 || passed);
        told += rc == LW_EEVICTED;
        uint64_t next = rc == 1 ? tt_read(&msg) : msg.number;
        assert_int_equal(next, first + passed); /* all of it, or from where it was told on */
        if (rc == 1) assert_ok(lw_sub_release(sub, &msg));
        assert_true(tt_gets_only(sub, next + (rc == 1), n - next - (rc == 1)));
    }
    assert_true(told > 10);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* Seeking while it is evicted, also in vain. */
static void seeking_while_it_is_evicted(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lagging(bus, NULL, LAG);
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_msg msg;
    uint64_t n = 0;
    for (int round = 0; round < 40; round++) {
        evict_it(pub, &n);
        struct lw_stats before = sub_stats(sub);
        assert_ok(lw_topic_stat(bus, "t", &info));
        int rc = round % 4 == 0   ? lw_sub_seek(sub, LW_FROM_NOW, 0)
                 : round % 4 == 1 ? lw_sub_seek(sub, LW_FROM_OLDEST, 0)
                 : round % 4 == 2 ? lw_sub_seek(sub, LW_FROM_POSITION, info.oldest)
                                  : lw_sub_seek(sub, LW_FROM_POSITION, info.tail + 8);
        assert_int_equal(rc, round % 4 == 3 ? LW_EPOSITION : 0);
        rc = lw_sub_next(sub, &msg, 0);
        if (round % 4 == 3) {
            assert_int_equal(rc, LW_EEVICTED);
            assert_int_equal(sub_stats(sub).lost - before.lost, msg.number - before.number);
        }
        if (rc == 1) {
            assert_int_equal(msg.number, info.oldest_number);
            assert_int_equal(tt_read(&msg), info.oldest_number);
        }
        if (round % 4 == 0) assert_int_equal(rc, LW_EEMPTY);
        lw_sub_rewind(sub);
        uint64_t next = sub_stats(sub).number;
        assert_true(tt_gets_only(sub, next, n - next));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- durable names ----------------------------------------------------------------------------------------------- */

static const char *dir;

/* Opens the name and dies: before it asks, or after it was told. */
static int die_untold(void *arg) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_sub *sub = lagging(bus, "d", LAG);
    struct lw_msg msg;
    if (*(int *)arg) T_NEED(lw_sub_next(sub, &msg, 0) == LW_EEVICTED);
    t_say(1);
    t_forever();
}

/* Told when it comes back, by whoever it is; and again if that one dies before it released anything more. */
static void a_name_that_was_evicted_while_it_was_away(void **state) {
    dir = *state;
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lagging(bus, "d", LAG);
    struct lw_msg msg;
    uint64_t n = 0, released = 0;
    for (int round = 0; round < 9; round++) {
        tt_send_many(pub, n, 3);
        n += 3;
        assert_true(tt_gets(sub, n - 3, 3));
        released = n;
        lw_sub_close(sub);
        evict_it(pub, &n);
        assert_true(reader_info(bus).evicted && reader_info(bus).durable && !reader_info(bus).alive);
        for (int deaths = 0; deaths < round % 3; deaths++) {
            int told = round >= 3 && round % 2;
            struct t_child child = t_fork(die_untold, &told);
            t_hear(&child);
            t_kill(&child);
            if (deaths) evict_it(pub, &n);
        }
        sub = lagging(bus, "d", LAG);
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEVICTED);
        assert_int_equal(sub_stats(sub).lost, msg.number - released);
        assert_true(sub_stats(sub).messages == 0 && sub_stats(sub).evicted == 1);
        assert_true(tt_gets_only(sub, msg.number, n - msg.number));
        lw_sub_close(sub);
        sub = lagging(bus, "d", LAG); /* now it is known */
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
        assert_int_equal(sub_stats(sub).lost, 0);
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* With a lag, without one, with another. */
static void a_name_is_opened_with_another_lag(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = lagging(bus, "d", LAG);
    struct lw_msg msg;
    const uint64_t lags[] = {0, LAG, 2 * LAG, 0, LAG, TT_RING};
    uint64_t n = 0;
    for (int i = 0; i < 6; i++) {
        lw_sub_close(sub);
        bool could = i ? lags[i - 1] != 0 : true;
        uint64_t first = n;
        if (could) evict_it(pub, &n);
        if (!could) n = tt_send_all(pub, n);
        sub = lagging(bus, "d", lags[i]);
        assert_int_equal(reader_info(bus).max_lag, lags[i]);
        assert_false(reader_info(bus).evicted);
        if (could) {
            assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEVICTED);
            assert_int_equal(sub_stats(sub).lost, msg.number - first);
            first = msg.number;
        }
        assert_true(tt_gets_only(sub, first, n - first));
    }
    lw_sub_close(sub);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    assert_ok(lw_topic_forget(bus, "t", "d"));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- age --------------------------------------------------------------------------------------------------------- */

static int keep_a_name_open(void *arg) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", arg, LW_FROM_NOW);
    T_NEED(sub);
    t_say(1);
    t_forever();
}

/* Alive, it holds for as long as it likes; dead, until its age; then it is told. */
static void a_dead_one_holds_until_its_age(void **state) {
    dir = *state;
    for (int killed = 0; killed < 2; killed++) {
        bool shared = !killed;
        struct lw_bus *bus = tt_bus(*state, NULL);
        make_topic(bus, 0, LW_SEC(1));
        struct lw_pub *pub = shared ? tt_pub_shared(bus, "t") : tt_pub(bus, "t");
        struct t_child child = {.pid = 0};
        struct lw_sub *sub = NULL;
        struct lw_msg msg;
        if (killed) child = t_fork(keep_a_name_open, "d");
        if (killed) t_hear(&child);
        if (!killed) sub = tt_sub(bus, "t", "d", LW_FROM_NOW);
        uint64_t n = tt_send_all(pub, 0);
        assert_int_equal(tt_send(pub, n, shared ? 0 : LW_MS(2100)), LW_EFULL); /* alive: whatever its age */
        assert_false(reader_info(bus).evicted);
        int64_t gone = t_now();
        if (killed) t_kill(&child);
        lw_sub_close(sub);
        assert_int_equal(tt_send(pub, n, 0), LW_EFULL);
        assert_ok(tt_send(pub, n, LW_SEC(20)));
        assert_true(t_now() - gone >= LW_SEC(1)); /* not before its age */
        n++;
        assert_true(reader_info(bus).evicted);
        n = send_bytes(pub, n, 2 * TT_RING);
        sub = tt_sub(bus, "t", "d", LW_FROM_NOW);
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEVICTED);
        assert_int_equal(sub_stats(sub).lost, msg.number);
        uint64_t first = msg.number;
        assert_true(tt_gets_only(sub, first, n - first));
        assert_false(reader_info(bus).evicted);
        lw_sub_close(sub);
        lw_pub_close(pub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

static void one_that_is_back_before_its_age_lost_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    make_topic(bus, 0, LW_SEC(1000));
    struct lw_pub *pub = tt_pub(bus, "t");
    uint64_t n = 0;
    for (int round = 0; round < 20; round++) {
        struct lw_sub *sub = tt_sub(bus, "t", "d", LW_FROM_NOW);
        uint64_t first = n;
        lw_sub_close(sub);
        n = tt_send_all(pub, n);
        sub = tt_sub(bus, "t", "d", LW_FROM_NOW);
        assert_true(tt_gets_only(sub, first, n - first));
        lw_sub_close(sub);
    }
    assert_int_equal(pub_stats(pub).evicted, 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- another file ------------------------------------------------------------------------------------------------ */

/* Whoever may lag is carried to the new file, and is evicted there before it has come: it follows, and is told. */
static void evicted_in_the_new_file_before_it_came_there(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    make_topic(bus, 0, 0);
    struct lw_sub *sub = lagging(bus, NULL, LAG);
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = 2 * TT_RING;
    assert_ok(lw_topic_create(bus, "t", &shape));
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_msg msg;
    uint64_t n = send_bytes(pub, 0, 6 * TT_RING);
    assert_true(reader_info(bus).evicted);
    assert_int_equal(lw_sub_next(sub, &msg, LW_SEC(20)), LW_EEVICTED);
    assert_int_equal(sub_stats(sub).lost, msg.number);
    assert_true(tt_gets_only(sub, msg.number, n - msg.number));
    assert_false(reader_info(bus).evicted);
    lw_sub_close(sub);
    assert_ok(lw_topic_stat(bus, "t", &(struct lw_topic_info){.size = sizeof(struct lw_topic_info)}));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* Evicted, and nothing published since: the name and its place are kept when the topic gets another shape. */
static void a_name_that_was_evicted_is_kept_by_another_shape(void **state) {
    enum { FIRST_SLOT = 6144, EVICTED = 16 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_shape shape = LW_SHAPE_INIT;
    char path[TT_PATH];
    uint64_t owner;
    make_topic(bus, 0, LW_SEC(1));
    struct lw_sub *sub = tt_sub(bus, "t", "d", LW_FROM_NOW);
    lw_sub_close(sub);
    tt_lane(path, *state, "t");
    tt_peek(path, FIRST_SLOT, &owner, sizeof owner);
    owner |= EVICTED;
    tt_poke(path, FIRST_SLOT, &owner, sizeof owner);
    assert_true(reader_info(bus).evicted);
    shape.ring = 2 * TT_RING;
    assert_ok(lw_topic_create(bus, "t", &shape));
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    sub = tt_sub(bus, "t", "d", LW_FROM_NOW); /* goes on where it was instead */
    assert_true(tt_gets_only(sub, 0, 10));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- options and texts ------------------------------------------------------------------------------------------- */

static void policies_are_told_and_kept(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_shape shape = LW_SHAPE_INIT;
    struct lw_sub *sub;
    make_topic(bus, LAG, LW_SEC(7));
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_true(info.evict_lag == LAG && info.evict_age == LW_SEC(7));
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 1);
    shape.evict_lag = LAG + 8;
    assert_told(lw_topic_create(bus, "t", &shape), LW_ESHAPE, "topic t", tt_text("%d", LAG), tt_text("%d", LAG + 8));
    shape.evict_lag = 0;
    shape.evict_age = LW_SEC(8);
    assert_told(lw_topic_create(bus, "t", &shape), LW_ESHAPE, "topic t", "7 s", "and 8");
    shape.evict_age = LW_SEC(7) - 1; /* whole seconds */
    assert_ok(lw_topic_create(bus, "t", &shape));
    shape = (struct lw_shape)LW_SHAPE_INIT;
    shape.ring = TT_RING;
    shape.evict_lag = TT_RING + 1;
    assert_told(lw_topic_create(bus, "u", &shape), LW_ESHAPE, "topic u", "evict_lag", tt_text("%d", TT_RING));
    shape.evict_lag = 0;
    shape.evict_age = -1;
    assert_told(lw_topic_create(bus, "u", &shape), LW_ESHAPE, "topic u", "evict_age");
    assert_ok(open_lagging(&sub, bus, NULL, UINT64_MAX));
    assert_int_equal(reader_info(bus).max_lag, LAG);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(the_smaller_lag_counts),
        t_test(a_slow_one_without_a_lag_does_not_save_another),
        t_test(each_way_of_receiving_tells_it_once),
        t_test(a_loss_in_the_midst_of_a_dispatch_is_told_afterwards),
        t_test(what_is_held_can_be_released_afterwards),
        t_test(what_is_held_can_not_come_again),
        t_test(seeking_while_it_is_evicted),
        t_test(a_name_that_was_evicted_while_it_was_away),
        t_test(a_name_is_opened_with_another_lag),
        t_test(a_dead_one_holds_until_its_age),
        t_test(one_that_is_back_before_its_age_lost_nothing),
        t_test(evicted_in_the_new_file_before_it_came_there),
        t_test(a_name_that_was_evicted_is_kept_by_another_shape),
        t_test(policies_are_told_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

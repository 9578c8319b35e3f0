/* SPDX-License-Identifier: MIT */
/*
 * As many as a topic can have: 1,024 slots, for subscribers of all kinds and shared publishers. All of them work; one more
 * is told why not; and the dead among them stop nobody.
 *
 * pitfall 14: dead subscribers do not stop a publisher for ever.
 * pitfall 34: slots of those that are gone are given back.
 */
#include <string.h>
#include <sys/wait.h>

#include "util/topic_util.h"

enum { SLOTS = 1024, PROCESSES = 4, EACH = SLOTS / PROCESSES, BURST = 100 };

static struct {
    const char *dir;
    int subscribers; /* of each child */
    bool named;
} g;

static void make_wide(struct lw_bus *bus) {
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = TT_RING;
    shape.slots = SLOTS;
    T_NEED(!lw_topic_create(bus, "t", &shape));
}

/* All kinds: reliable, with a lag, lossy. */
static struct lw_sub *open_one(struct lw_bus *bus, const char *name, int kind) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *sub;
    opt.name = name;
    opt.flags = kind == 2 ? LW_SUB_LOSSY : 0;
    opt.max_lag = kind == 1 ? TT_RING : 0;
    T_NEED(!lw_sub_open(&sub, bus, "t", &opt));
    return sub;
}

/* Opens its share; then, told `n`, reads the burst that begins with n with each of them; told -1, closes the last one. */
static int subscribe_all(void *arg) {
    int me = *(int *)arg;
    static struct lw_sub *subs[SLOTS];
    struct lw_bus *bus = tt_bus(g.dir, NULL);
    for (int i = 0; i < g.subscribers; i++) {
        const char *name = g.named ? tt_text("name-%d-%d", me, i) : NULL;
        subs[i] = open_one(bus, name, g.named ? 0 : i % 3);
    }
    t_say(g.subscribers);
    for (;;) {
        int64_t first = t_listen();
        if (first == -2) break;
        if (first == -1) lw_sub_close(subs[--g.subscribers]);
        for (int i = 0; first >= 0 && i < g.subscribers; i++) T_NEED(tt_gets_only(subs[i], (uint64_t)first, BURST));
        t_say(first);
    }
    for (int i = 0; i < g.subscribers; i++) lw_sub_close(subs[i]);
    return lw_bus_close(bus);
}

static int ids[PROCESSES] = {0, 1, 2, 3};

static void begin_all(struct t_child *children, const char *dir, int each, bool named) {
    g.dir = dir;
    g.subscribers = each;
    g.named = named;
    for (int i = 0; i < PROCESSES; i++) children[i] = t_fork(subscribe_all, &ids[i]);
    for (int i = 0; i < PROCESSES; i++) assert_int_equal(t_hear(&children[i]), each);
}

struct count {
    int readers, alive, lossy, lagging, durable;
    bool seen[SLOTS];
};

static int count_one(const struct lw_reader_info *reader, void *user) {
    struct count *c = user;
    c->readers++;
    c->alive += reader->alive;
    c->lossy += reader->lossy;
    c->lagging += reader->max_lag != 0;
    c->durable += reader->durable;
    T_NEED(reader->slot < SLOTS && !c->seen[reader->slot]);
    c->seen[reader->slot] = true;
    return 0;
}

static struct count count_readers(struct lw_bus *bus) {
    struct count c = {.readers = 0};
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_readers(bus, "t", count_one, &c));
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.readers, c.readers);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    return c;
}

static void each_of_1024_gets_everything_and_one_more_is_refused(void **state) {
    struct t_child children[PROCESSES];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *shared, *pub;
    struct lw_sub *late;
    make_wide(bus);
    begin_all(children, *state, EACH, false);
    struct count c = count_readers(bus);
    assert_true(c.readers == SLOTS && c.alive == SLOTS && c.lossy > 300 && c.lagging > 300);
    assert_told(lw_sub_open(&late, bus, "t", NULL), LW_ENOSLOT, "topic t", "all 1024 slots", "laneway info t",
                "--slots");
    assert_null(late);
    assert_told(lw_pub_open(&shared, bus, "t", NULL), LW_ENOSLOT, "topic t", "all 1024 slots", "exclusive", "--slots");
    assert_null(shared);
    assert_ok(lw_pub_open(&pub, bus, "t", &tt_sole)); /* needs no slot */
    for (uint64_t n = 0; n < (uint64_t)t_loops(20) * BURST; n += BURST) {
        tt_send_many(pub, n, BURST);
        for (int i = 0; i < PROCESSES; i++) t_tell(&children[i], (int64_t)n);
        for (int i = 0; i < PROCESSES; i++) assert_int_equal(t_hear(&children[i]), n);
    }
    lw_pub_close(pub);
    t_tell(&children[2], -1); /* one goes, one may come: whichever kind */
    t_hear(&children[2]);
    assert_ok(lw_pub_open(&shared, bus, "t", NULL));
    assert_told(lw_sub_open(&late, bus, "t", NULL), LW_ENOSLOT, "all 1024 slots");
    lw_pub_close(shared);
    assert_ok(lw_sub_open(&late, bus, "t", NULL));
    lw_sub_close(late);
    for (int i = 0; i < PROCESSES; i++) t_tell(&children[i], -2);
    for (int i = 0; i < PROCESSES; i++) assert_int_equal(t_wait(&children[i]), 0);
    assert_int_equal(count_readers(bus).readers, 0);
    assert_ok(lw_bus_close(bus));
}

/* Without names; each of them was in the way. */
static void a_thousand_dead_ones_stop_nobody(void **state) {
    for (int shared = 0; shared < 2; shared++) {
        struct t_child children[PROCESSES];
        struct lw_bus *bus = tt_bus(*state, NULL);
        make_wide(bus);
        begin_all(children, *state, EACH - 1, false);
        struct lw_pub *pub = shared ? tt_pub_shared(bus, "t") : tt_pub(bus, "t");
        struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
        tt_send_many(pub, 0, 10);
        for (int i = 0; i < PROCESSES; i++) t_kill(&children[i]);
        struct count c = count_readers(bus);
        assert_true(c.readers == PROCESSES * (EACH - 1) + 1 && c.alive == 1);
        uint64_t n = 10;
        for (uint64_t laps = 0; laps < 3; laps++) {
            assert_true(tt_gets(sub, n - 10, 10));
            for (int i = 0; i < 60; i++, n += 10) {
                tt_send_many(pub, n, 10); /* each within 20 s, or it ends here */
                if (i < 59) assert_true(tt_gets(sub, n, 10));
            }
        }
        struct lw_sub *next = tt_sub(bus, "t", NULL, LW_FROM_NOW); /* who comes sweeps what was in nobody's way */
        assert_int_equal(count_readers(bus).readers, 2);
        lw_sub_close(next);
        lw_sub_close(sub);
        lw_pub_close(pub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

/* A slot that a dead one left is the next one's at once, though none is free. */
static void the_dead_make_place_for_who_comes(void **state) {
    struct t_child children[PROCESSES];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *late;
    make_wide(bus);
    begin_all(children, *state, EACH, false);
    assert_fails(lw_sub_open(&late, bus, "t", NULL), LW_ENOSLOT, "topic t");
    t_kill(&children[1]);
    assert_ok(lw_sub_open(&late, bus, "t", NULL));
    struct count c = count_readers(bus);
    assert_true(c.readers == SLOTS - EACH + 1 && c.alive == c.readers);
    lw_sub_close(late);
    assert_ok(lw_bus_close(bus));
}

static void a_thousand_names(void **state) {
    struct t_child children[PROCESSES];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub;
    make_wide(bus);
    begin_all(children, *state, EACH, true);
    for (int i = 0; i < PROCESSES; i++) t_kill(&children[i]);
    struct count c = count_readers(bus);
    assert_true(c.readers == SLOTS && c.durable == SLOTS && c.alive == 0);
    assert_told(tt_sub_open(&sub, bus, "t", "one-more", LW_FROM_NOW, 0), LW_ENOSLOT, "all 1024 slots",
                "1024 by durable names", "laneway forget");
    struct lw_pub *pub;
    assert_ok(lw_pub_open(&pub, bus, "t", &tt_sole));
    uint64_t n = tt_send_all(pub, 0);
    assert_told(tt_send(pub, n, LW_MS(1)), LW_EFULL, "topic t", "name-", "laneway forget");
    for (int i = 0; i < PROCESSES; i++)
        for (int k = 0; k < EACH; k++) {
            if (k % 64 == 9) { /* some come back, and have all */
                sub = tt_sub(bus, "t", tt_text("name-%d-%d", i, k), LW_FROM_NOW);
                assert_true(tt_gets_only(sub, 0, n));
                lw_sub_close(sub);
            }
            assert_ok(lw_topic_forget(bus, "t", tt_text("name-%d-%d", i, k)));
        }
    assert_ok(tt_send(pub, n, 0));
    assert_int_equal(count_readers(bus).readers, 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* Publishers alone can take them all as well. */
static void publishers_up_to_the_last_slot(void **state) {
    enum { FEW = 8 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pubs[FEW], *more;
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    struct lw_sub *sub;
    opt.shape.ring = TT_RING;
    opt.shape.slots = FEW;
    for (int i = 0; i < FEW; i++) assert_ok(lw_pub_open(&pubs[i], bus, "t", &opt));
    assert_told(lw_pub_open(&more, bus, "t", &opt), LW_ENOSLOT, "all 8 slots");
    assert_told(lw_sub_open(&sub, bus, "t", NULL), LW_ENOSLOT, "all 8 slots");
    lw_pub_close(pubs[3]);
    assert_ok(lw_sub_open(&sub, bus, "t", NULL));
    for (uint64_t n = 0; n < 200; n++) {
        if (n % FEW != 3) assert_ok(tt_send(pubs[n % FEW], n, 0));
        if (n % FEW != 3) assert_true(tt_gets(sub, n, 1));
    }
    assert_told(lw_pub_open(&more, bus, "t", &opt), LW_ENOSLOT, "all 8 slots");
    lw_sub_close(sub);
    for (int i = 0; i < FEW; i++)
        if (i != 3) lw_pub_close(pubs[i]);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(each_of_1024_gets_everything_and_one_more_is_refused),
        t_test(a_thousand_dead_ones_stop_nobody),
        t_test(the_dead_make_place_for_who_comes),
        t_test(a_thousand_names),
        t_test(publishers_up_to_the_last_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

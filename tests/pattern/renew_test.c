/* SPDX-License-Identifier: MIT */
/*
 * Shapes: what is accepted, what is refused, and giving an empty topic another one under those who wait on it. Reboots
 * are in reboot_test.c.
 *
 * pitfall 9: opening with another size changes nothing that is in use.
 * pitfall 13: nothing is lost that was published after a subscriber was there.
 * pitfall 16: who waits on a file that is replaced goes over to the new one.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/topic_util.h"

static struct lw_topic_info look(struct lw_bus *bus) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, "t", &info));
    return info;
}

static int create(struct lw_bus *bus, uint64_t ring, uint32_t slots, const char *schema, uint64_t hash) {
    struct lw_shape shape = {.ring = ring, .slots = slots, .schema = schema, .schema_hash = hash};
    return lw_topic_create(bus, "t", &shape);
}

/* ---- what fits --------------------------------------------------------------------------------------------------- */

static void unset_takes_what_exists(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    struct lw_sub *sub;
    assert_ok(create(bus, 128 << 10, 3, "tick v1", 7));
    assert_ok(lw_pub_open(&pub, bus, "t", NULL));
    assert_ok(lw_sub_open(&sub, bus, "t", NULL));
    tt_send_many(pub, 0, 5);
    lw_pub_close(pub);
    assert_ok(tt_pub_shaped(&pub, bus, "t", 128 << 10, 3));
    assert_ok(create(bus, 0, 3, NULL, 7));
    assert_ok(create(bus, 128 << 10, 0, "tick v1", 0));
    struct lw_topic_info info = look(bus);
    assert_int_equal(info.ring, 128 << 10);
    assert_int_equal(info.slots, 3);
    assert_int_equal(info.schema_hash, 7);
    assert_string_equal(info.schema, "tick v1");
    assert_true(tt_gets_only(sub, 0, 5));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void another_shape_is_refused_when_something_was_published(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub_options p = LW_PUB_OPTIONS_INIT;
    struct lw_sub_options s = LW_SUB_OPTIONS_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    assert_ok(create(bus, TT_RING, 8, "tick v1", 7));
    tt_send_many(pub = tt_pub(bus, "t"), 0, 1);
    lw_pub_close(pub);
    for (int again = 0; again < 2; again++) {
        assert_told(tt_pub_shaped(&pub, bus, "t", 1 << 20, 0), LW_ESHAPE, "topic t", "65536", "1048576",
                    "laneway rm t");
        assert_told(tt_pub_shaped(&pub, bus, "t", 0, 9), LW_ESHAPE, "topic t", "8 slots", "9", "laneway rm t");
        assert_told(tt_sub_shaped(&sub, bus, "t", NULL, 1 << 20, 0), LW_ESHAPE, "65536", "1048576");
        assert_told(create(bus, 0, 64, NULL, 0), LW_ESHAPE, "8 slots", "64");
        p.shape.schema = s.shape.schema = "tick v2";
        assert_told(lw_pub_open(&pub, bus, "t", &p), LW_EMISMATCH, "topic t", "tick v1", "tick v2");
        assert_told(lw_sub_open(&sub, bus, "t", &s), LW_EMISMATCH, "topic t", "tick v1", "tick v2");
        assert_told(create(bus, 0, 0, "tick v1", 8), LW_EMISMATCH, "topic t", "7", "8");
        assert_told(create(bus, 0, 0, NULL, 8), LW_EMISMATCH, "topic t");
        sub = tt_sub(bus, "t", NULL, LW_FROM_OLDEST); /* it is as it was, also when all was read */
        assert_true(tt_gets_only(sub, 0, 1));
        lw_sub_close(sub);
    }
    assert_ok(lw_bus_close(bus));
}

static void impossible_shapes_are_refused(void **state) {
    static const uint64_t rings[] = {
        1, 4096, 32 << 10, 65535, 65537, 3 << 20, UINT64_C(1) << 37, UINT64_C(1) << 63, UINT64_MAX};
    char name[66];
    struct lw_bus *bus = tt_bus(*state, NULL);
    memset(name, 's', sizeof name);
    name[64] = 0;
    for (int exists = 0; exists < 2; exists++) {
        for (size_t i = 0; i < sizeof rings / sizeof *rings; i++)
            assert_told(create(bus, rings[i], 0, NULL, 0), LW_ESHAPE, "topic t",
                        tt_text("%llu", (unsigned long long)rings[i]), "65536", "68719476736");
        assert_told(create(bus, 0, 1025, NULL, 0), LW_ESHAPE, "topic t", "1025", "1024");
        assert_told(create(bus, 0, UINT32_MAX, NULL, 0), LW_ESHAPE, "topic t");
        assert_told(create(bus, 0, 0, name, 0), LW_ENAME, "topic t", "schema", "64", "63");
        assert_told(create(bus, 0, 0, "a\nb", 0), LW_ENAME, "topic t", "schema", "control");
        assert_int_equal(tt_count_files(tt_text("%s/topics", *(char **)state)), exists);
        assert_ok(create(bus, TT_RING, 1024, name + 1, 0));
    }
    assert_string_equal(look(bus).schema, name + 1);
    assert_ok(lw_bus_close(bus));
}

/* ---- another shape while it is empty ----------------------------------------------------------------------------- */

static void an_empty_topic_takes_another_shape(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    assert_ok(lw_topic_create(bus, "t", NULL));
    assert_int_equal(look(bus).ring, 4 << 20);
    assert_int_equal(look(bus).slots, 64);
    assert_ok(create(bus, TT_RING, 2, "a", 1));
    assert_ok(create(bus, 1 << 20, 0, NULL, 0));
    assert_ok(create(bus, 0, 1024, NULL, 0));
    assert_ok(create(bus, 0, 0, "b", 0));
    assert_ok(create(bus, 0, 0, NULL, 2));
    struct lw_topic_info info = look(bus);
    assert_int_equal(info.ring, 1 << 20);
    assert_int_equal(info.slots, 1024);
    assert_int_equal(info.schema_hash, 2);
    assert_string_equal(info.schema, "b");
    assert_int_equal(info.number, 0);
    assert_int_equal(tt_count_files(tt_text("%s/topics", *(char **)state)), 1);
    assert_ok(tt_pub_shaped(&pub, bus, "t", TT_RING, 0)); /* one call: reshape and publish */
    tt_send_many(pub, 0, 1);
    lw_pub_close(pub);
    assert_int_equal(create(bus, 1 << 20, 0, NULL, 0), LW_ESHAPE);
    assert_ok(lw_bus_close(bus));
}

static void subscribers_of_the_same_process_move_over(void **state) {
    enum { SUBS = 12 };
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_sub *subs[SUBS];
    struct lw_msg msg;
    for (int i = 0; i < SUBS; i++)
        subs[i] = tt_sub(i % 3 ? bus : other, "t", i % 2 ? tt_text("name%d", i) : NULL, (enum lw_from)(i % 2));
    for (uint64_t ring = 1 << 20; ring >= TT_RING; ring /= 2) {
        assert_ok(create(ring & 0x555555 ? bus : other, ring, 0, NULL, 0));
        for (int i = 0; i < SUBS; i += 5) assert_int_equal(lw_sub_next(subs[i], &msg, i ? LW_MS(2) : 0), LW_EEMPTY);
    }
    struct lw_pub *pub;
    assert_ok(tt_pub_shaped(&pub, bus, "t", 2 << 20, 20));
    tt_send_many(pub, 0, 1000);
    assert_int_equal(look(bus).readers, SUBS);
    for (int i = 0; i < SUBS; i++) {
        assert_true(tt_gets_only(subs[i], 0, 1000));
        lw_sub_close(subs[i]);
    }
    assert_int_equal(look(bus).readers, SUBS / 2); /* the durable ones */
    for (int i = 1; i < SUBS; i += 2) assert_ok(lw_topic_forget(bus, "t", tt_text("name%d", i)));
    assert_int_equal(look(bus).readers, 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

struct waiting {
    const char *dir;
    const char *name; /* NULL: not durable */
    uint64_t messages;
};

/* Opens, says so, gets all from the first message on. */
static int waiting_body(void *arg) {
    const struct waiting *w = arg;
    struct lw_bus *bus = tt_bus(w->dir, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", w->name, LW_FROM_NOW);
    t_say(0);
    T_NEED(tt_gets_only(sub, 0, w->messages));
    lw_sub_close(sub);
    return 0;
}

enum { WAITING = 8 };

static void start_waiting(const char *dir, struct t_child *children, uint64_t messages) {
    for (int i = 0; i < WAITING; i++) {
        struct waiting w = {dir, i % 2 ? tt_text("name%d", i) : NULL, messages};
        children[i] = t_fork(waiting_body, &w);
        t_hear(&children[i]);
    }
}

static void end_waiting(struct t_child *children) {
    for (int i = 0; i < WAITING; i++) assert_int_equal(t_wait(&children[i]), 0);
}

static void subscribers_of_other_processes_move_over(void **state) {
    struct t_child children[WAITING];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    assert_ok(lw_topic_create(bus, "t", NULL));
    start_waiting(*state, children, 5000);
    assert_ok(create(bus, 1 << 20, 0, NULL, 0));
    assert_ok(create(bus, 1 << 20, 1000, "new", 0));
    assert_ok(tt_pub_shaped(&pub, bus, "t", TT_RING, 10));
    tt_send_many(pub, 0, 5000); /* several laps: nothing is overwritten before they come */
    end_waiting(children);
    assert_int_equal(look(bus).readers, WAITING / 2);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void what_is_in_use_is_not_reshaped(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t"), *no;
    struct lw_sub *subs[5], *none;
    assert_told(create(bus, 1 << 20, 0, NULL, 0), LW_ESHAPE, "topic t", "65536"); /* empty, but somebody publishes */
    assert_told(tt_sub_shaped(&none, bus, "t", NULL, 0, 3), LW_ESHAPE, "topic t", "64 slots");
    assert_told(create(bus, 0, 0, "x", 0), LW_EMISMATCH, "topic t");
    lw_pub_close(pub);
    for (int i = 0; i < 5; i++) subs[i] = tt_sub(bus, "t", i == 4 ? "last" : NULL, LW_FROM_NOW);
    assert_told(create(bus, 0, 4, NULL, 0), LW_ESHAPE, "topic t", "4 slots", "5");
    lw_sub_close(subs[4]); /* away, and keeps its place */
    assert_told(tt_pub_shaped(&no, bus, "t", 0, 4), LW_ESHAPE, "topic t", "4 slots", "5");
    pub = tt_pub(bus, "t"); /* a refusal leaves nothing behind */
    lw_pub_close(pub);
    assert_ok(create(bus, 0, 5, NULL, 0));
    assert_ok(tt_sub_open(&subs[4], bus, "t", "last", LW_FROM_NOW, 0));
    pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    for (int i = 0; i < 5; i++) {
        assert_true(tt_gets_only(subs[i], 0, 10));
        lw_sub_close(subs[i]);
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void who_wants_a_schema_is_told_when_it_gets_another(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *any = tt_sub(bus, "t", NULL, LW_FROM_NOW), *named, *same;
    struct lw_msg msg;
    opt.shape.schema = "old"; /* it was empty: now it has this one */
    assert_ok(lw_sub_open(&named, bus, "t", &opt));
    opt.shape.schema = NULL;
    opt.shape.schema_hash = 5;
    assert_ok(lw_sub_open(&same, bus, "t", &opt));
    assert_int_equal(lw_sub_next(named, &msg, 0), LW_EEMPTY);
    assert_ok(create(bus, 0, 0, "new", 0));
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 3);
    assert_told(lw_sub_next(named, &msg, LW_SEC(20)), LW_EMISMATCH, "topic t", "old", "new");
    assert_int_equal(lw_sub_next(named, &msg, LW_FOREVER), LW_EMISMATCH); /* it stays so, and holds nobody back */
    assert_true(tt_gets_only(any, 0, 3) && tt_gets_only(same, 0, 3));
    assert_int_equal(look(bus).readers, 2);
    lw_sub_close(named);
    lw_sub_close(same);
    lw_sub_close(any);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int dead_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    for (int i = 0; i < 10; i++) tt_sub(bus, "t", i == 3 ? "name" : NULL, LW_FROM_NOW);
    t_say(0);
    t_forever();
}

static void the_dead_do_not_move_over_but_names_do(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child dead = t_fork(dead_body, *state);
    t_hear(&dead);
    t_kill(&dead);
    assert_ok(create(bus, 1 << 20, 5, NULL, 0));
    assert_int_equal(look(bus).readers, 1);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    assert_true(tt_gets_only(sub, 0, 10));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- at the same time -------------------------------------------------------------------------------------------- */

/* Gives the topic one shape after the other, until it is killed or told how often. */
static int reshape_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    int64_t left = t_listen();
    for (uint64_t i = 0; left-- != 0; i++) {
        int rc = create(bus, (uint64_t)TT_RING << i % 3, (uint32_t)(20 + i % 2), NULL, 0);
        T_NEED(rc == 0 || rc == LW_ESHAPE); /* somebody publishes just now */
        if (i == 0) t_say(0);
    }
    return 0;
}

static struct t_child start_reshaping(const char *dir, int64_t times) {
    struct t_child child = t_fork(reshape_body, (void *)dir);
    t_tell(&child, times);
    t_hear(&child);
    return child;
}

static void reshapers_killed_at_any_moment_hang_nobody_and_lose_nothing(void **state) {
    struct t_child children[WAITING];
    struct lw_bus *bus = tt_bus(*state, NULL);
    for (int64_t round = 0; round < t_loops(5); round++) {
        assert_ok(create(bus, TT_RING, 20, NULL, 0));
        start_waiting(*state, children, 3000);
        for (int64_t i = t_loops(60); i > 0; i--) {
            struct t_child reshaper = start_reshaping(*state, -1);
            t_sleep((int64_t)(t_random() % 3000000));
            t_kill_unreaped(&reshaper);
            t_wait(&reshaper);
        }
        struct lw_pub *pub = tt_pub(bus, "t");
        tt_send_many(pub, 0, 3000);
        end_waiting(children);
        assert_int_equal(look(bus).readers, WAITING / 2);
        lw_pub_close(pub);
        assert_ok(lw_bus_clean(bus, NULL));
        assert_int_equal(tt_count_files(tt_text("%s/topics", *(char **)state)), 1);
        assert_ok(lw_topic_remove(bus, "t", 0));
    }
    assert_ok(lw_bus_close(bus));
}

/* Opens, looks, seeks, closes; also in vain. Stays alive, so nobody may take its places away. */
static int coming_and_going_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "guest");
    for (int64_t i = t_listen(); i > 0; i--) {
        struct lw_sub *sub[3], *no;
        struct lw_msg msg;
        int rc = tt_sub_open(&no, bus, "t", NULL, LW_FROM_POSITION, 8);
        T_NEED(rc == LW_EPOSITION);
        for (int j = 0; j < 3; j++) T_NEED(!tt_sub_open(&sub[j], bus, "t", j ? NULL : "name", LW_FROM_NOW, 0));
        T_NEED(!lw_sub_seek(sub[1], LW_FROM_OLDEST, 0));
        T_NEED(lw_sub_next(sub[1], &msg, 0) == LW_EEMPTY);
        for (int j = 0; j < 3; j++) lw_sub_close(sub[j]);
    }
    t_say(0);
    t_forever();
}

static int no_reader_but_the_name(const struct lw_reader_info *reader, void *user) {
    if (!reader->durable || reader->pid || *reader->node)
        print_error("left behind: %s slot %u node %s pid %d\n", reader->name, reader->slot, reader->node, reader->pid);
    *(int *)user += !reader->durable || reader->pid || *reader->node;
    return 0;
}

static void who_leaves_while_it_is_reshaped_leaves_nothing_behind(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    assert_ok(lw_topic_create(bus, "t", NULL));
    struct t_child reshapers[2] = {start_reshaping(*state, -1), start_reshaping(*state, -1)};
    struct t_child guest = t_fork(coming_and_going_body, *state);
    int left = 0;
    t_tell(&guest, t_loops(3000));
    t_hear(&guest);
    t_kill(&reshapers[0]);
    t_kill(&reshapers[1]);
    assert_ok(lw_topic_readers(bus, "t", no_reader_but_the_name, &left));
    assert_int_equal(left, 0);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    assert_true(tt_gets_only(sub, 0, 10));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* Asks for shapes that it does not get, and tidies: both hold the writer's place for a moment. */
static int in_vain_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    t_say(0);
    for (;;) {
        int rc = create(bus, 0, 1, NULL, 0);
        T_NEED(rc == LW_ESHAPE);
        T_NEED(!lw_bus_clean(bus, NULL));
    }
}

static void nobody_is_taken_for_a_publisher_who_is_none(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *a = tt_sub(bus, "t", NULL, LW_FROM_NOW), *b = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct t_child child = t_fork(in_vain_body, *state);
    t_hear(&child);
    for (int64_t i = t_loops(5000); i > 0; i--) {
        struct lw_pub *pub;
        assert_ok(lw_pub_open(&pub, bus, "t", NULL));
        lw_pub_close(pub);
    }
    t_kill(&child);
    lw_sub_close(a);
    lw_sub_close(b);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(unset_takes_what_exists),
        t_test(another_shape_is_refused_when_something_was_published),
        t_test(impossible_shapes_are_refused),
        t_test(an_empty_topic_takes_another_shape),
        t_test(subscribers_of_the_same_process_move_over),
        t_test(subscribers_of_other_processes_move_over),
        t_test(what_is_in_use_is_not_reshaped),
        t_test(who_wants_a_schema_is_told_when_it_gets_another),
        t_test(the_dead_do_not_move_over_but_names_do),
        t_test(reshapers_killed_at_any_moment_hang_nobody_and_lose_nothing),
        t_test(who_leaves_while_it_is_reshaped_leaves_nothing_behind),
        t_test(nobody_is_taken_for_a_publisher_who_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

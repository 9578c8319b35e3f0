/* SPDX-License-Identifier: MIT */
/*
 * What a handle does with what it is given: options of other versions, flags that do not exist, messages that their owner changed, a
 * place that a handler changed; and what it is told after a loss. Each case is a defect that was there once.
 *
 * pitfall 15: nothing counts as consumed before its time. pitfall 20: a loss is told to the one who had it, and to nobody else.
 */
#include <errno.h>
#include <string.h>

#include "util/topic_util.h"

static uint64_t lost(const struct lw_sub *sub) {
    struct lw_stats stats = LW_STATS_INIT;
    assert_ok(lw_sub_stats(sub, &stats));
    return stats.lost;
}

static struct lw_topic_info look(struct lw_bus *bus) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, "t", &info));
    return info;
}

/* ---- a loss is told ---------------------------------------------------------------------------------------------- */

/* In slot 0, as the maker of a new file leaves it after a reboot in the middle of things. */
static void lose(const char *dir, uint64_t count) {
    enum { SLOT_0_LOST = 6144 + 16 };
    char path[TT_PATH];
    tt_poke(tt_lane(path, dir, "t"), SLOT_0_LOST, &count, sizeof count);
}

static void name_that_lost(struct lw_bus *bus, const char *dir, uint64_t count) {
    lw_sub_close(tt_sub(bus, "t", "name", LW_FROM_NOW));
    lose(dir, count);
}

static void a_used_slot_tells_nobody_of_its_former_owners_loss(void **state) {
    for (int durable = 0; durable < 2; durable++) {
        struct lw_bus *bus = tt_bus(*state, NULL);
        struct lw_msg msg;
        name_that_lost(bus, *state, 50);
        assert_ok(lw_topic_forget(bus, "t", "name"));
        struct lw_sub *sub = tt_sub(bus, "t", durable ? "name" : NULL, LW_FROM_NOW);
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
        assert_int_equal(lw_sub_next(sub, &msg, LW_MS(1)), LW_EEMPTY);
        assert_int_equal(lost(sub), 0);
        lw_sub_close(sub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

/* Is told of the loss; then it goes on for as many calls as it is told, and waits to be killed. */
static int told_body(void *dir) {
    struct lw_sub *sub = tt_sub(tt_bus(dir, NULL), "t", "name", LW_FROM_NOW);
    struct lw_msg msg;
    T_NEED(lw_sub_next(sub, &msg, 0) == LW_EGAP);
    for (int64_t i = t_listen(); i > 0; i--) T_NEED(lw_sub_next(sub, &msg, 0) == LW_EEMPTY);
    t_say(0);
    t_forever();
}

static void be_told_and_killed(void *dir, int64_t calls) {
    struct t_child child = t_fork(told_body, dir);
    t_tell(&child, calls);
    t_hear(&child);
    t_kill(&child);
}

/* Who is killed before it could do anything about it is told again. */
static void a_loss_is_told_until_the_next_call(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_msg msg;
    name_that_lost(bus, *state, 7);
    be_told_and_killed(*state, 0);
    be_told_and_killed(*state, 0);
    be_told_and_killed(*state, 1);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    assert_int_equal(lw_sub_next(sub, &msg, LW_MS(1)), LW_EEMPTY);
    assert_int_equal(lost(sub), 0);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void a_gap_says_what_comes_next(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 3);
    for (int copied = 0; copied < 2; copied++) {
        name_that_lost(bus, *state, 11);
        tt_send_many(pub, 3, 1);
        struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
        struct lw_msg gap, msg;
        char buffer[TT_MESSAGE];
        memset(&gap, 0xff, sizeof gap);
        assert_int_equal(copied ? lw_sub_recv(sub, buffer, sizeof buffer, &gap, 0) : lw_sub_next(sub, &gap, LW_MS(1)),
                         LW_EGAP);
        assert_int_equal(lost(sub), 11);
        assert_int_equal(lw_sub_release(sub, &gap), LW_ESTATE); /* it is no message */
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(tt_read(&msg), 3);
        assert_int_equal(gap.number, msg.number);
        assert_int_equal(gap.position, msg.position);
        assert_int_equal(gap.next, gap.position);
        assert_int_equal(gap.len, 0);
        assert_null(gap.data);
        assert_ok(lw_sub_release(sub, &msg));
        assert_true(tt_gets_only(sub, 0, 0));
        lw_sub_close(sub);
        assert_ok(lw_topic_forget(bus, "t", "name"));
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* The word is in a file that others write too: when it goes away by itself, messages are still where they are. */
static void a_loss_that_vanishes_harms_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    name_that_lost(bus, *state, 5);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    tt_send_many(pub, 0, 2000 / TT_MESSAGE);
    lose(*state, 0);
    assert_true(tt_gets_only(sub, 0, 2000 / TT_MESSAGE));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- messages and places ----------------------------------------------------------------------------------------- */

struct going {
    struct lw_sub *sub;
    enum lw_from from; /* where the handler goes in its third message, */
    uint64_t position;
    int reads; /* how many it takes there, */
    enum lw_verdict verdict;
    int calls;
};

static enum lw_verdict go_elsewhere(const struct lw_msg *msg, void *user) {
    struct going *g = user;
    struct lw_msg next;
    (void)msg;
    if (++g->calls != 3) return LW_NEXT;
    assert_ok(lw_sub_seek(g->sub, g->from, g->position));
    for (int i = 0; i < g->reads; i++) {
        assert_int_equal(lw_sub_next(g->sub, &next, 0), 1);
        assert_ok(lw_sub_release(g->sub, &next));
    }
    return g->verdict;
}

/* The verdict is about a message that the handler left behind: it changes nothing of the place that was chosen. */
static void after_a_seek_in_the_handler_its_verdict_moves_nothing(void **state) {
    const struct {
        struct going going;
        uint64_t next; /* the number of the message that comes then */
    } ways[] = {{{.from = LW_FROM_OLDEST, .verdict = LW_KEEP}, 0},
                {{.from = LW_FROM_OLDEST, .verdict = LW_STOP}, 0},
                {{.from = LW_FROM_OLDEST, .reads = 1, .verdict = LW_KEEP}, 1},
                {{.from = LW_FROM_OLDEST, .reads = 4, .verdict = LW_KEEP}, 4},
                {{.from = LW_FROM_NOW, .verdict = LW_KEEP}, 6},
                {{.from = LW_FROM_NOW, .verdict = LW_STOP}, 6}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct lw_bus *bus = tt_bus(*state, NULL);
        struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
        struct lw_pub *pub = tt_pub(bus, "t");
        struct going going = ways[i].going;
        tt_send_many(pub, 0, 6);
        going.sub = sub;
        assert_true(lw_sub_dispatch(sub, go_elsewhere, &going, 3, 0) >= 2);
        assert_int_equal(going.calls, 3);
        tt_send_many(pub, 6, 1);
        assert_true(tt_gets(sub, ways[i].next, 1));
        lw_sub_close(sub); /* and what is kept for the name says the same */
        sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
        assert_true(tt_gets_only(sub, ways[i].next + 1, 6 - ways[i].next));
        lw_sub_close(sub);
        lw_pub_close(pub);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(bus));
    }
}

/* Programs move `data` over a header of their own and shorten `len`. */
static void a_message_may_be_cut_by_its_reader(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    struct lw_pub *pub = tt_pub(bus, "t");
    for (size_t len = 0; len < 40; len++) {
        char bytes[64] = {0};
        struct lw_msg msg;
        assert_ok(lw_pub_send(pub, 1, bytes, 24, 0));
        tt_send_many(pub, len, 1);
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        msg.data = (const char *)msg.data + 8;
        msg.len = len;
        msg.type = msg.flags = 0xffff;
        assert_ok(lw_sub_release(sub, &msg));
        assert_ok(lw_topic_verify(bus, "t", NULL)); /* a reader's place is where a record begins */
        lw_sub_close(sub);
        sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
        assert_true(tt_gets_only(sub, len, 1));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- who counts as a subscriber ---------------------------------------------------------------------------------- */

/* A live process has taken a slot and has no place yet: what is published now is not for it. */
static void with_need_sub_who_is_just_coming_does_not_count(void **state) {
    enum { SLOTS_AT = 6144, SLOT = 256, SLOTS_USED = 4608 };
    char path[TT_PATH];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_pub *pub;
    uint64_t owner, used = 4;
    tt_peek(tt_lane(path, *state, "t"), SLOTS_AT, &owner, sizeof owner);
    lw_sub_close(sub);
    tt_poke(path, SLOTS_AT + 3 * SLOT, &owner, sizeof owner);
    tt_poke(path, SLOTS_USED, &used, sizeof used);
    opt.flags = LW_PUB_NEED_SUB;
    assert_ok(lw_pub_open(&pub, bus, "t", &opt));
    for (int i = 0; i < 3; i++) assert_int_equal(tt_send(pub, 0, i * LW_MS(1)), LW_ENOSUB);
    sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 1);
    assert_true(tt_gets_only(sub, 0, 1));
    lw_sub_close(sub);
    assert_int_equal(tt_send(pub, 1, 0), LW_ENOSUB);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- staged messages --------------------------------------------------------------------------------------------- */

static void stage(struct lw_pub *pub, uint64_t number) {
    char bytes[TT_MESSAGE];
    void *at;
    size_t len = tt_fill(bytes, number);
    assert_ok(lw_pub_reserve(pub, &at, sizeof bytes, 0));
    memcpy(at, bytes, len);
    assert_ok(lw_pub_stage(pub, tt_type(number), len));
}

static void gets_batch(struct lw_sub *sub, uint64_t first, uint64_t count) {
    struct lw_msg msg;
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_int_equal(tt_read(&msg), first + i);
        assert_int_equal(msg.number, first + i);
        assert_int_equal(msg.flags, i + 1 < count ? LW_MSG_MORE : 0);
        assert_ok(lw_sub_release(sub, &msg));
    }
    assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
}

static void flushing_publishes_what_is_staged(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_msg msg;
    void *at;
    uint64_t n = 0;
    assert_int_equal(lw_pub_flush(pub), LW_ESTATE);             /* nothing is staged */
    for (uint64_t count = 1; n < 2000; count = count % 5 + 1) { /* several laps */
        uint64_t begin = look(bus).tail;
        for (uint64_t i = 0; i < count; i++) stage(pub, n + i);
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
        assert_int_equal(lw_pub_flush(pub), begin);
        gets_batch(sub, n, count);
        n += count;
        assert_int_equal(lw_pub_flush(pub), LW_ESTATE);
        tt_send_many(pub, n, 1); /* the usual way works on */
        gets_batch(sub, n++, 1);
    }
    stage(pub, n);
    assert_ok(lw_pub_reserve(pub, &at, 8, 0));
    assert_int_equal(lw_pub_flush(pub), LW_ESTATE); /* a reservation is open */
    lw_pub_abort(pub);
    assert_int_equal(lw_pub_flush(pub), LW_ESTATE);
    stage(pub, n);
    lw_pub_close(pub); /* not flushed: not published */
    assert_int_equal(look(bus).number, n);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void flags_that_do_not_exist_are_refused(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub_options p = LW_PUB_OPTIONS_INIT;
    struct lw_sub_options s = LW_SUB_OPTIONS_INIT;
    struct lw_shape shape = LW_SHAPE_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    for (unsigned bit = 8; bit; bit <<= 1) {
        p.flags = bit | LW_PUB_EXCLUSIVE;
        assert_told(lw_pub_open(&pub, bus, "t", &p), -EINVAL, "flags");
        assert_null(pub);
        s.flags = bit >> 2 | LW_SUB_LOSSY;
        assert_told(lw_sub_open(&sub, bus, "t", &s), -EINVAL, "flags");
        assert_null(sub);
        assert_told(lw_topic_remove(bus, "t", bit >> 2 | LW_REMOVE_FORCE), -EINVAL, "flag");
    }
    for (int i = 0; i < 2; i++) { /* what later versions put there */
        shape.reserved[i] = 1;
        assert_told(lw_topic_create(bus, "t", &shape), LW_EABI, "reserved");
        s = (struct lw_sub_options)LW_SUB_OPTIONS_INIT;
        s.shape = shape;
        assert_told(lw_sub_open(&sub, bus, "t", &s), LW_EABI, "reserved");
        shape.reserved[i] = 0;
    }
    assert_int_equal(tt_count_files(tt_text("%s/topics", *(char **)state)), 0); /* nothing was made */
    sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    assert_told(lw_sub_seek(sub, (enum lw_from)3, 0), -EINVAL, "from");
    assert_told(lw_sub_seek(sub, (enum lw_from) - 1, 0), -EINVAL, "from");
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* A program that was built with a later version: its options are longer. */
static void longer_options_are_taken_if_they_set_nothing_new(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct {
        struct lw_pub_options opt;
        uint64_t more[2];
    } p = {LW_PUB_OPTIONS_INIT, {0, 0}};
    struct {
        struct lw_sub_options opt;
        uint64_t more[2];
    } s = {LW_SUB_OPTIONS_INIT, {0, 0}};
    struct lw_pub *pub;
    struct lw_sub *sub;
    p.opt.size = sizeof p;
    p.opt.shape.ring = TT_RING;
    s.opt.size = sizeof s;
    s.opt.name = "name";
    assert_ok(lw_pub_open(&pub, bus, "t", &p.opt));
    assert_ok(lw_sub_open(&sub, bus, "t", &s.opt));
    assert_int_equal(look(bus).ring, TT_RING);
    lw_pub_close(pub);
    lw_sub_close(sub);
    p.more[1] = 1;
    s.more[0] = 1;
    assert_told(lw_pub_open(&pub, bus, "t", &p.opt), LW_EABI, "lw_pub_options");
    assert_told(lw_sub_open(&sub, bus, "t", &s.opt), LW_EABI, "lw_sub_options");
    assert_ok(lw_bus_close(bus));
}

/* One of an earlier version: shorter, and what is missing has its default. What lies behind is not looked at. */
static void shorter_options_get_defaults(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub_options p = LW_PUB_OPTIONS_INIT;
    struct lw_sub_options s = LW_SUB_OPTIONS_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    p.size = offsetof(struct lw_pub_options, shape);
    p.shape.ring = 3; /* not part of it */
    assert_ok(lw_pub_open(&pub, bus, "t", &p));
    assert_int_equal(look(bus).ring, 4 << 20);
    s.size = offsetof(struct lw_sub_options, from);
    s.name = "name";
    s.from = (enum lw_from)99;
    s.shape.reserved[0] = 1;
    assert_ok(lw_sub_open(&sub, bus, "t", &s));
    lw_sub_close(sub);
    assert_ok(lw_topic_forget(bus, "t", "name"));
    p.size = s.size = sizeof(size_t); /* the size alone */
    assert_ok(lw_sub_open(&sub, bus, "t", &s));
    lw_sub_close(sub);
    lw_pub_close(pub);
    p.size = s.size = 0;
    assert_told(lw_pub_open(&pub, bus, "t", &p), -EINVAL, "lw_pub_options", "_INIT");
    assert_told(lw_sub_open(&sub, bus, "t", &s), -EINVAL, "lw_sub_options", "_INIT");
    assert_ok(lw_bus_close(bus));
}

/* Is `call` with a struct of `size` bytes filled just so far? The size stays, nothing behind it is touched. */
#define FILLED(type, call)                                                                                             \
    do {                                                                                                               \
        union {                                                                                                        \
            struct type result;                                                                                        \
            unsigned char bytes[sizeof(struct type) + 16];                                                             \
        } whole, part;                                                                                                 \
        memset(&whole, 0xee, sizeof whole);                                                                            \
        whole.result.size = sizeof whole;                                                                              \
        struct type *r = &whole.result;                                                                                \
        assert_ok(call);                                                                                               \
        for (size_t i = sizeof(struct type); i < sizeof whole; i++) assert_int_equal(whole.bytes[i], 0xee);            \
        for (size_t size = sizeof(size_t); size <= sizeof(struct type); size += 8) {                                   \
            memset(&part, 0xee, sizeof part);                                                                          \
            part.result.size = size;                                                                                   \
            r = &part.result;                                                                                          \
            assert_ok(call);                                                                                           \
            assert_int_equal(part.result.size, size);                                                                  \
            assert_memory_equal(part.bytes + 8, whole.bytes + 8, size - 8);                                            \
            for (size_t i = size; i < sizeof part; i++) assert_int_equal(part.bytes[i], 0xee);                         \
        }                                                                                                              \
        r->size = 0;                                                                                                   \
        assert_told(call, -EINVAL, #type, "_INIT");                                                                    \
    } while (0)

static void results_are_filled_as_far_as_they_go(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    assert_true(tt_gets(sub, 0, 5));
    FILLED(lw_stats, lw_pub_stats(pub, r));
    FILLED(lw_stats, lw_sub_stats(sub, r));
    FILLED(lw_topic_info, lw_topic_stat(bus, "t", r));
    FILLED(lw_verify_result, lw_topic_verify(bus, "t", r));
    FILLED(lw_clean_result, lw_bus_clean(bus, r));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_used_slot_tells_nobody_of_its_former_owners_loss),
        t_test(a_loss_is_told_until_the_next_call),
        t_test(a_gap_says_what_comes_next),
        t_test(a_loss_that_vanishes_harms_nothing),
        t_test(after_a_seek_in_the_handler_its_verdict_moves_nothing),
        t_test(a_message_may_be_cut_by_its_reader),
        t_test(with_need_sub_who_is_just_coming_does_not_count),
        t_test(flushing_publishes_what_is_staged),
        t_test(flags_that_do_not_exist_are_refused),
        t_test(longer_options_are_taken_if_they_set_nothing_new),
        t_test(shorter_options_get_defaults),
        t_test(results_are_filled_as_far_as_they_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

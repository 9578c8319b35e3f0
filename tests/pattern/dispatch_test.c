/* SPDX-License-Identifier: MIT */
/*
 * Subscribing by callback: what each verdict does, and what a handler may do to its own subscription.
 *
 * pitfall 15: a message is released after its handler returned, not before.
 */
#include <string.h>

#include "util/topic_util.h"

/* A handler that counts, checks, and does what it was told at one message. */
struct handling {
    struct lw_bus *bus;
    struct lw_sub *sub;
    uint64_t next;        /* message that must come */
    uint64_t at;          /* message at which to act */
    enum lw_verdict then; /* and what to return there */
    void (*act)(struct handling *h, const struct lw_msg *msg);
};

static enum lw_verdict handle(const struct lw_msg *msg, void *user) {
    struct handling *h = user;
    assert_int_equal(tt_read(msg), h->next);
    if (h->next++ != h->at) return LW_NEXT;
    if (h->act) h->act(h, msg);
    return h->then;
}

struct room {
    struct lw_bus *bus;
    struct lw_pub *pub;
    struct lw_sub *sub;
};

static struct room room_with(void **state, uint64_t messages) {
    struct room r = {.bus = tt_bus(*state, NULL)};
    r.pub = tt_pub(r.bus, "t");
    r.sub = tt_sub(r.bus, "t", "name", LW_FROM_NOW);
    tt_send_many(r.pub, 0, messages);
    return r;
}

static void leave(struct room *r) {
    lw_sub_close(r->sub);
    lw_pub_close(r->pub);
    assert_ok(lw_bus_close(r->bus));
}

static uint64_t handled_so_far(const struct lw_sub *sub) {
    struct lw_stats stats = LW_STATS_INIT;
    assert_ok(lw_sub_stats(sub, &stats));
    return stats.messages;
}

static void next_goes_on_stop_ends_keep_keeps(void **state) {
    struct room r = room_with(state, 20);
    struct handling h = {.at = UINT64_MAX};
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 3, 0), 3);
    h.at = 5, h.then = LW_STOP;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 3);
    assert_int_equal(handled_so_far(r.sub), 6);
    h.at = 8, h.then = LW_KEEP;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 2);
    assert_int_equal(handled_so_far(r.sub), 8);
    h.next = 8; /* it comes again, and may be kept again */
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 0);
    h.next = 8, h.at = UINT64_MAX;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 12);
    assert_int_equal(h.next, 20);
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), LW_EEMPTY);
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, LW_MS(3)), LW_EEMPTY);
    leave(&r);
}

static void what_was_held_before_stays_held_when_the_next_is_kept(void **state) {
    struct room r = room_with(state, 5);
    struct handling h = {.next = 2, .at = 2, .then = LW_KEEP};
    struct lw_msg m[2];
    for (int i = 0; i < 2; i++) assert_int_equal(lw_sub_next(r.sub, &m[i], 0), 1);
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 0);
    assert_ok(lw_sub_release(r.sub, &m[1]));
    h = (struct handling){.next = 2, .at = UINT64_MAX};
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 3);
    leave(&r);
}

static void not_released(struct handling *h, const struct lw_msg *msg) {
    (void)msg;
    assert_int_equal(handled_so_far(h->sub), h->at);
}

static void a_message_is_released_after_its_handler(void **state) {
    struct room r = room_with(state, 5);
    struct handling h = {.sub = r.sub, .at = 3, .act = not_released};
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 5);
    leave(&r);
}

static void close_it(struct handling *h, const struct lw_msg *msg) {
    (void)msg;
    lw_sub_close(h->sub);
}

static void a_handler_may_close_its_subscription(void **state) {
    static const enum lw_verdict verdicts[] = {LW_NEXT, LW_STOP, LW_KEEP};
    struct room r = room_with(state, 30);
    for (uint64_t i = 0; i < 3; i++) {
        struct handling h = {.sub = r.sub, .next = 4 * i, .at = 4 * i + 4, .then = verdicts[i], .act = close_it};
        assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 5);
        r.sub = tt_sub(r.bus, "t", "name", LW_FROM_NOW); /* its last message was not released */
    }
    assert_true(tt_gets_only(r.sub, 12, 18));
    leave(&r);
}

static void release_it(struct handling *h, const struct lw_msg *msg) {
    assert_ok(lw_sub_release(h->sub, msg));
}

static void a_handler_may_release_its_message(void **state) {
    static const enum lw_verdict verdicts[] = {LW_NEXT, LW_STOP, LW_KEEP};
    struct room r = room_with(state, 6);
    for (uint64_t i = 0; i < 3; i++) {
        struct handling h = {.sub = r.sub, .next = 2 * i, .at = 2 * i + 1, .then = verdicts[i], .act = release_it};
        assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 2, 0), verdicts[i] == LW_KEEP ? 1 : 2);
    }
    assert_true(tt_gets_only(r.sub, 6, 0));
    leave(&r);
}

static void nest(struct handling *h, const struct lw_msg *msg) {
    (void)msg;
    assert_int_equal(lw_sub_dispatch(h->sub, handle, h, 0, 0), LW_ESTATE);
}

static void a_dispatch_inside_a_handler_is_refused(void **state) {
    struct room r = room_with(state, 5);
    struct handling h = {.sub = r.sub, .at = 2, .act = nest};
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 5);
    leave(&r);
}

static void take_another(struct handling *h, const struct lw_msg *msg) {
    (void)msg;
    struct lw_msg another;
    assert_int_equal(lw_sub_next(h->sub, &another, 0), 1);
    assert_int_equal(tt_read(&another), h->next++);
}

static void a_handler_may_take_the_next_message_too(void **state) {
    struct room r = room_with(state, 6);
    struct handling h = {.sub = r.sub, .at = 2, .act = take_another};
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 5);
    assert_int_equal(handled_so_far(r.sub), 6);
    leave(&r);
}

static void seek_back(struct handling *h, const struct lw_msg *msg) {
    (void)msg;
    assert_ok(lw_sub_seek(h->sub, LW_FROM_OLDEST, 0));
    h->next = 0;
}

static void rewind_it(struct handling *h, const struct lw_msg *msg) {
    (void)msg;
    lw_sub_rewind(h->sub);
    h->next--;
}

static void a_handler_may_seek_or_rewind(void **state) {
    struct room r = room_with(state, 6);
    struct handling h = {.sub = r.sub, .at = 3, .then = LW_STOP, .act = seek_back};
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 4);
    h.act = rewind_it;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 4);
    h.act = NULL, h.then = LW_NEXT;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 3);
    leave(&r);
}

static void publish_more(struct handling *h, const struct lw_msg *msg) {
    struct lw_pub *pub;
    (void)msg;
    assert_ok(lw_pub_open(&pub, h->bus, "t", NULL));
    tt_send_many(pub, 3, 2);
    lw_pub_close(pub);
}

static void a_handler_may_use_the_bus(void **state) {
    struct room r = room_with(state, 3);
    struct handling h = {.bus = r.bus, .sub = r.sub, .at = 1, .act = publish_more};
    lw_pub_close(r.pub);
    r.pub = NULL;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, 0), 5);
    leave(&r);
}

static int publisher_body(void *dir) {
    struct lw_pub *pub = tt_pub(tt_bus(dir, NULL), "t");
    tt_send_many(pub, 5, 5);
    t_forever();
}

static void dispatch_waits_for_the_first_message_only(void **state) {
    struct room r = room_with(state, 5);
    struct handling h = {.at = UINT64_MAX};
    lw_pub_close(r.pub);
    r.pub = NULL;
    assert_int_equal(lw_sub_dispatch(r.sub, handle, &h, 0, LW_FOREVER), 5);
    struct t_child child = t_fork(publisher_body, *state);
    while (h.next < 10) assert_true(lw_sub_dispatch(r.sub, handle, &h, 0, LW_SEC(20)) > 0);
    t_kill(&child);
    leave(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(next_goes_on_stop_ends_keep_keeps),
        t_test(what_was_held_before_stays_held_when_the_next_is_kept),
        t_test(a_message_is_released_after_its_handler),
        t_test(a_handler_may_close_its_subscription),
        t_test(a_handler_may_release_its_message),
        t_test(a_dispatch_inside_a_handler_is_refused),
        t_test(a_handler_may_take_the_next_message_too),
        t_test(a_handler_may_seek_or_rewind),
        t_test(a_handler_may_use_the_bus),
        t_test(dispatch_waits_for_the_first_message_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The classic: two million structs of 128 bytes from one process to one, and to two others. Every message carries an
 * amount, added by turns and taken off by turns; the sums must be equal on all sides. A message that is lost, repeated
 * or torn changes them.
 */
#include <string.h>

#include "util/topic_util.h"

struct order {
    uint64_t number;
    int64_t amount; /* +x, -x', +x'', ... */
    char account[32];
    uint64_t rest[10];
};
_Static_assert(sizeof(struct order) == 128, "the classic has 128 bytes");

enum { RING = 4 << 20, ORDERS = 2000000 };

static int64_t order_count(void) {
    return t_loops(ORDERS);
}

/* Some number that no neighbour has. */
static uint64_t mix(uint64_t n) {
    n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return n ^ n >> 29;
}

static void make_order(struct order *order, uint64_t number) {
    int64_t x = (int64_t)(mix(number) >> 24);
    memset(order, 0, sizeof *order);
    order->number = number;
    order->amount = number % 2 ? -x : x;
    snprintf(order->account, sizeof order->account, "account %llu", (unsigned long long)(number % 1000));
    for (int i = 0; i < 10; i++) order->rest[i] = mix(number + (uint64_t)i);
}

/* Sums up what comes, and says the sum. */
static int subscriber_body(void *dir) {
    struct lw_sub *sub;
    T_NEED(!tt_sub_shaped(&sub, tt_bus(dir, NULL), "orders", NULL, RING, 0));
    t_say(0);
    int64_t sum = 0;
    for (int64_t n = 0, count = order_count(); n < count; n++) {
        struct lw_msg msg;
        T_NEED(lw_sub_next(sub, &msg, LW_SEC(20)) == 1);
        const struct order *order = msg.data;
        T_NEED(msg.len == sizeof *order && order->number == (uint64_t)n && order->rest[9] == mix((uint64_t)n + 9));
        sum += order->amount;
        T_NEED(!lw_sub_release(sub, &msg));
    }
    t_say(sum);
    lw_sub_close(sub);
    return 0;
}

static int64_t publish_all(struct lw_pub *pub) {
    struct order order;
    int64_t sum = 0;
    for (int64_t n = 0, count = order_count(); n < count; n++) {
        make_order(&order, (uint64_t)n);
        sum += order.amount;
        int64_t rc = lw_pub_send(pub, 1, &order, sizeof order, LW_SEC(20));
        if (rc < 0) fail_msg("order %lld: %s", (long long)n, lw_strerror((int)rc));
    }
    return sum;
}

static void one_to(const char *dir, int subscribers) {
    struct t_child children[2];
    for (int i = 0; i < subscribers; i++) {
        children[i] = t_fork(subscriber_body, (void *)dir);
        assert_int_equal(t_hear(&children[i]), 0);
    }
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub;
    assert_ok(tt_pub_shaped(&pub, bus, "orders", RING, 0));
    int64_t sum = publish_all(pub);
    for (int i = 0; i < subscribers; i++) {
        assert_int_equal(t_hear(&children[i]), sum);
        assert_int_equal(t_wait(&children[i]), 0);
    }
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void one_to_one(void **state) {
    one_to(*state, 1);
}

static void one_to_two(void **state) {
    one_to(*state, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {t_test(one_to_one), t_test(one_to_two)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

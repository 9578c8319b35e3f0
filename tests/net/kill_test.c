/* SPDX-License-Identifier: MIT */
/*
 * Client and server are killed at random, again and again, while they talk through a network that cuts at random. What
 * was sent is there, once and in order; nothing comes again whose release had returned.
 */
#include <inttypes.h>

#include "util/talk.h"

static void kill_one(struct talk *t, bool client) {
    if (client)
        talk_kill_client(t);
    else
        talk_kill_server(t);
}

static void start_one(struct talk *t, bool client) {
    if (client)
        talk_start_client(t);
    else
        talk_start_server(t);
}

/* One, or both: then they start again in either order. */
static void kill_some(struct talk *t) {
    bool client = t_random() % 2, both = t_random() % 8 == 0;
    kill_one(t, client);
    if (both) kill_one(t, !client);
    start_one(t, client);
    if (both) start_one(t, !client);
}

/* Some progress, or none. */
static void wait_a_bit(struct talk *t) {
    if (t_random() % 2)
        talk_some(t, t_random() % 200);
    else
        t_sleep((int64_t)(t_random() % (uint64_t)LW_MS(6)));
    talk_look(t);
}

static void run(struct talk *t, int64_t kills, int64_t mean) {
    proxy_random(t->proxy, t_random(), mean);
    for (int64_t i = 0; i < kills; i++) {
        kill_some(t);
        wait_a_bit(t);
    }
    proxy_random(t->proxy, 0, 0);
    assert_true(talk_settles(t));
    struct proxy_counts c = proxy_count(t->proxy);
    const struct talk_ledger *l = t->ledger;
    printf("%" PRId64 " times killed, %" PRIu64 " connections, %" PRIu64 " cuts; %" PRIu64
           " requests and answers; redelivered %" PRIu64 " and %" PRIu64 ", which were not released\n",
           kills, c.connections, c.cuts, l->up.sent, l->up.redelivered, l->down.redelivered);
    talk_end(t);
}

static int64_t kills(int64_t n) {
    return getenv("LW_TEST_SHORT") ? n / 10 : n;
}

static void both_sides_in_small_messages(void **state) {
    run(talk_begin(*state, &(struct talk_how){.window = 64}), kills(250), 6000);
}

static void both_sides_in_large_messages_and_small_rings(void **state) {
    run(talk_begin(*state, &(struct talk_how){.window = 200, .big = 32000, .hold = 32}), kills(150), 60000);
}

static void both_sides_in_different_rings_without_checksums(void **state) {
    run(talk_begin(*state,
                   &(struct talk_how){.window = 500, .big = 20000, .ring_up = 1 << 20, .server_flags = LW_LINK_NO_CRC}),
        kills(150), 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(both_sides_in_small_messages),
        t_test(both_sides_in_large_messages_and_small_rings),
        t_test(both_sides_in_different_rings_without_checksums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

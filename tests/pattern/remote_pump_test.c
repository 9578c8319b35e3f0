/* SPDX-License-Identifier: MIT */
/*
 * Links over TCP: which calls move their bytes, and what counts as life. A large message on a slow line; receiving that
 * never waits, with nobody who polls; what was held back, while its thread waits on another link of the group.
 */
#include <string.h>
#include <sys/socket.h>

#include "pattern/remote.h"
#include "util/link_util.h"
#include "util/proxy.h"

/* What is looped for is there in time: a loop of calls that must do it alone, with nothing else driven. */
#define PATIENCE (getenv("LW_TEST_STRICT") ? LW_SEC(5) : LW_SEC(20))

/* ---- a slow line -------------------------------------------------------------------------------------------------- */

/* The time of a beat has come. */
static void beat_now(struct lw_link *link) {
    link->remote->beat_at = t_now();
    lw__remote_due(link->remote, link->remote->beat_at);
}

/* Sends a message as long as there may be, and lets a beat of the receiver pass at each piece of it that comes. Returns how
 * many did before it was whole. */
static int beats_within_a_message(struct lw_link *up, struct lw_link *down) {
    static char bytes[TL_RING / 2];
    const struct lw__wire *wire = &down->remote->conn->wire;
    struct lw_msg msg;
    size_t len = lw_link_max(up);
    int beats = 0;
    assert_in_range(len, TL_RING / 4, sizeof bytes);
    for (size_t i = 0; i < len; i++) bytes[i] = (char)(i % 251);
    uint64_t seen = wire->reads;
    assert_ok(lw_link_send(up, 1, bytes, len, 0));
    for (int64_t end = t_now() + PATIENCE; lw_link_next(down, &msg, 0) != 1; tl_drive()) {
        assert_true(t_now() < end);
        assert_int_equal(lw_link_state(down), LW_LINK_UP);
        assert_non_null(down->remote->conn);
        if (wire->reads == seen || !wire->dest) continue;
        seen = wire->reads;
        beat_now(down);
        beats++;
    }
    assert_int_equal(msg.len, len);
    assert_memory_equal(msg.data, bytes, len);
    assert_ok(lw_link_release(down, &msg));
    return beats;
}

static void a_message_that_takes_longer_than_all_patience_with_silence_cuts_nothing(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct proxy *line = proxy_start(tl_listens(host.bus, "gateway") + strlen("tcp://"));
    assert_non_null(line);
    proxy_set(line, &(struct proxy_plan){.at = -1, .piece = 600, .delay = LW_MS(3)});
    const char *address = tt_text("tcp://127.0.0.1:%d/gateway", proxy_port(line));
    struct lw_link *up = tl_open(&client, address, NULL, NULL), *down = tl_accept(&host, server, "alice");
    assert_true(tl_await(&host, LW_UP, down, NULL) && tl_await(&client, LW_UP, up, NULL));
    int most = 0;
    for (int64_t end = t_now() + PATIENCE; most < 2 * LW__SILENT_BEATS;) { /* it may all come at one look */
        int beats = beats_within_a_message(up, down);
        if (beats > most) most = beats;
        assert_true(t_now() < end);
    }
    assert_int_equal(tl_stat(up).connections, 1);
    assert_int_equal(tl_stat(down).connections, 1);
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
    proxy_stop(line);
}

/* ---- receiving without waiting ------------------------------------------------------------------------------------ */

/* Nothing but calls on the links moves anything from now on. */
static void nobody_polls(const struct tl_pair *p) {
    tl_drives_no_more(p->client.group);
    tl_drives_no_more(p->server.group);
}

/* Message `number`, if it is there. */
static bool takes(struct lw_link *link, uint64_t number) {
    struct lw_msg msg;
    int rc = lw_link_next(link, &msg, 0);
    assert_true(rc == 1 || rc == LW_EEMPTY);
    if (rc != 1) return false;
    assert_int_equal(tt_read(&msg), number);
    assert_ok(lw_link_release(link, &msg));
    return true;
}

static void receiving_with_no_timeout_in_a_loop_moves_all_that_is_sent_though_nobody_polls(void **state) {
    enum { WINDOW = 16 }; /* far from full: no send is refused, so it is receiving that moves things */
    struct tl_pair p = tl_pair(*state);
    uint64_t asked = 0, answered = 0, got = 0, all = 1000 + (uint64_t)t_loops(20000);
    nobody_polls(&p);
    for (int64_t end = t_now() + PATIENCE; got < all;) {
        if (asked < all && asked - got < WINDOW) assert_ok(tl_send(p.up, asked++, 0));
        if (takes(p.down, answered)) assert_ok(tl_send(p.down, answered++, 0));
        if (takes(p.up, got)) {
            got++;
            end = t_now() + PATIENCE;
        }
        assert_true(t_now() < end);
    }
    assert_int_equal(p.up->remote->connections, 1);
    tl_pair_end(&p);
}

static void receiving_with_no_timeout_in_a_loop_connects_again_and_goes_on(void **state) {
    struct tl_pair p = tl_pair(*state);
    nobody_polls(&p);
    for (uint64_t i = 0; i < 5; i++) {
        struct lw_event e;
        bool here = false, there = false;
        assert_int_equal(shutdown(p.up->remote->conn->fd, SHUT_RDWR), 0);
        assert_ok(tl_send(p.up, i, 0));
        for (int64_t end = t_now() + PATIENCE; !here || !there || p.up->remote->connections != i + 2;) {
            if (!there) there = takes(p.up, i);
            if (!here && (here = takes(p.down, i))) assert_ok(tl_send(p.down, i, 0));
            lw_group_poll(p.server.group, &e, 1, 0); /* who comes is heard at the door */
            assert_true(t_now() < end);
        }
    }
    tl_pair_end(&p);
}

/* ---- waiting on another link -------------------------------------------------------------------------------------- */

/* So that it is full soon. */
static void make_small(const struct lw_link *link) {
    int bytes = 64 << 10, fd = link->remote->conn->fd;
    T_NEED(!setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes));
    T_NEED(!setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes));
}

/* When it is told to, takes so many messages that `bulk` sent, then says so to `wait`. Does nothing while it is told
 * nothing. */
static int two_clients_body(void *dir) {
    struct tl_party p = tl_party(dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    struct lw_link *wait = tl_accept(&p, server, "wait"), *bulk = tl_accept(&p, server, "bulk");
    uint64_t got = 0, said = 0;
    t_meanwhile = NULL;
    if (lw_link_state(wait) != LW_LINK_UP) T_NEED(tl_await(&p, LW_UP, wait, NULL));
    if (lw_link_state(bulk) != LW_LINK_UP) T_NEED(tl_await(&p, LW_UP, bulk, NULL));
    make_small(bulk);
    t_say(0);
    for (int64_t count; (count = t_listen()) > 0; got += (uint64_t)count) {
        T_NEED(tl_gets(bulk, got, (uint64_t)count));
        T_NEED(tl_send(wait, said++, LW_SEC(20)) >= 0);
    }
    T_NEED(wait->remote->connections == 1 && bulk->remote->connections == 1);
    lw_link_close(wait, 0, NULL);
    lw_link_close(bulk, 0, NULL);
    lw_server_close(server);
    tl_leave(&p);
    return 0;
}

struct two {
    struct tl_party client;
    struct lw_link *wait, *bulk; /* of one group */
    struct t_child host;
};

static struct two two_open(const char *dir, uint64_t ring) {
    struct two t = {.client = tl_party(tl_far(dir), "me")};
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_bus *theirs = tt_bus(dir, NULL);
    const char *address = tl_address(theirs, "gateway");
    t.host = t_fork(two_clients_body, (void *)dir);
    t.wait = tl_open(&t.client, address, "wait", NULL);
    assert_true(tl_await(&t.client, LW_UP, t.wait, NULL));
    opt.as = "bulk";
    opt.ring_up = ring;
    assert_ok(tl_link_open(&t.bulk, t.client.group, address, &opt));
    assert_true(tl_await(&t.client, LW_UP, t.bulk, NULL));
    make_small(t.bulk);
    assert_int_equal(t_hear(&t.host), 0);
    assert_ok(lw_bus_close(theirs));
    return t;
}

static void two_end(struct two *t) {
    assert_int_equal(t->wait->remote->connections, 1);
    assert_int_equal(t->bulk->remote->connections, 1);
    t_tell(&t->host, -1);
    assert_int_equal(t_wait(&t->host), 0);
    lw_link_close(t->wait, 0, NULL);
    lw_link_close(t->bulk, 0, NULL);
    tl_leave(&t->client);
}

static bool is_held_back(const struct lw_link *link) {
    const struct lw__remote *r = link->remote;
    return r->lanes[r->out].at < link->ends.out->writer.tx.pos;
}

static void the_end_of_a_burst_goes_while_its_thread_waits_on_another_link_of_the_group(void **state) {
    enum { BURST = 50, HELD = 20 };
    struct two t = two_open(*state, TL_RING);
    struct lw_msg msg;
    uint64_t rounds = 0, held = 0;
    for (int64_t end = t_now() + PATIENCE; held < HELD; rounds++) { /* a slow machine sends each one at once */
        t_tell(&t.host, BURST);
        tl_send_many(t.bulk, rounds * BURST, BURST);
        held += is_held_back(t.bulk);
        assert_int_equal(lw_link_next(t.wait, &msg, PATIENCE), 1); /* all of it was received there */
        assert_int_equal(tt_read(&msg), rounds);
        assert_ok(lw_link_release(t.wait, &msg));
        assert_true(t_now() < end);
    }
    two_end(&t);
}

/* Not with its beats, which are switched off: who waits on one link does not hear the sockets of others, but tries. */
static void what_a_full_socket_held_back_goes_while_its_thread_waits_on_another_link_of_the_group(void **state) {
    struct two t = two_open(*state, 1 << 20);
    struct lw__remote *bulk = t.bulk->remote;
    struct lw_msg msg;
    uint64_t sent = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t before = sent;
        while (!bulk->conn->full) tl_send_many(t.bulk, sent++, 1);
        tl_send_many(t.bulk, sent, 10);
        sent += 10;
        assert_true(is_held_back(t.bulk));
        t_tell(&t.host, (int64_t)(sent - before));
        bulk->beat_at = INT64_MAX;
        assert_int_equal(lw_link_next(t.wait, &msg, PATIENCE), 1);
        assert_ok(lw_link_release(t.wait, &msg));
    }
    two_end(&t);
}

/* One that was full for a while has its next try far ahead; when it is empty again, what is held back goes as soon as
 * ever. */
static void what_is_held_back_after_a_full_socket_does_not_wait_for_its_next_try(void **state) {
    struct two t = two_open(*state, 1 << 20);
    struct lw__remote *bulk = t.bulk->remote;
    struct lw_msg msg;
    struct lw_event e[8];
    uint64_t sent = 0, burst = 0;
    while (tl_send(t.bulk, sent, 0) >= 0) sent++; /* far more than the socket takes */
    for (int64_t end = t_now() + PATIENCE; bulk->full_pause < LW_MS(500);) {
        assert_int_equal(lw_link_next(t.wait, &msg, LW_MS(50)), LW_EEMPTY);
        assert_true(t_now() < end);
    }
    t_tell(&t.host, (int64_t)sent);
    for (int64_t end = t_now() + PATIENCE; bulk->conn->full || is_held_back(t.bulk);) {
        lw_group_poll(t.client.group, e, 8, LW_MS(10));
        assert_true(t_now() < end);
    }
    assert_int_equal(lw_link_next(t.wait, &msg, PATIENCE), 1);
    assert_ok(lw_link_release(t.wait, &msg));
    for (int64_t end = t_now() + PATIENCE; !is_held_back(t.bulk); burst++) {
        tl_send_many(t.bulk, sent++, 1);
        assert_true(t_now() < end);
    }
    assert_true(bulk->send_at <= t_now() + LW__SEND_AFTER);
    t_tell(&t.host, (int64_t)burst);
    assert_int_equal(lw_link_next(t.wait, &msg, PATIENCE), 1);
    assert_ok(lw_link_release(t.wait, &msg));
    two_end(&t);
}

/* What was written beyond the window, and what a socket can't take at once: neither has to wait for beats, nor ever longer
 * although each try gets on. */
static void what_the_window_or_the_socket_stops_goes_on_while_its_thread_waits_on_another_link(void **state) {
    struct two t = two_open(*state, 4 << 20);
    struct lw__remote *bulk = t.bulk->remote;
    struct lw_msg msg;
    uint64_t sent = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t before = sent;
        while (tl_send(t.bulk, sent, 0) >= 0) sent++;
        t_tell(&t.host, (int64_t)(sent - before));
        bulk->beat_at = INT64_MAX;
        assert_int_equal(lw_link_next(t.wait, &msg, PATIENCE), 1);
        assert_ok(lw_link_release(t.wait, &msg));
    }
    two_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_message_that_takes_longer_than_all_patience_with_silence_cuts_nothing),
        t_test(receiving_with_no_timeout_in_a_loop_moves_all_that_is_sent_though_nobody_polls),
        t_test(receiving_with_no_timeout_in_a_loop_connects_again_and_goes_on),
        t_test(the_end_of_a_burst_goes_while_its_thread_waits_on_another_link_of_the_group),
        t_test(what_a_full_socket_held_back_goes_while_its_thread_waits_on_another_link_of_the_group),
        t_test(what_is_held_back_after_a_full_socket_does_not_wait_for_its_next_try),
        t_test(what_the_window_or_the_socket_stops_goes_on_while_its_thread_waits_on_another_link),
    };
    setenv("LW_TEST_LINKS", "tcp", 1);
    cmocka_set_test_filter(getenv("LW_TEST_CASE"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}

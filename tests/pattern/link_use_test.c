/* SPDX-License-Identifier: MIT */
/*
 * Links in use, both sides in one process: all ways of sending and receiving in both directions, corks, events.
 *
 * pitfall 3: what could never fit is told from what is full now.
 * pitfall 21: what a call took is not dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/link_util.h"

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* All ways of sending and receiving, from `out` to `in`. */
static void every_way(struct lw_link *out, struct lw_link *in) {
    struct lw_msg m, second;
    void *place;
    char buffer[TT_MESSAGE];
    uint64_t from = tl_stat(in).received;
    assert_ok(lw_link_send(out, 1, "send", 4, 0));
    assert_ok(lw_link_reserve(out, &place, 100, 0));
    memcpy(place, "reserved", 8);
    assert_int_equal(lw_link_send(out, 1, "no", 2, 0), LW_ESTATE);
    assert_ok(lw_link_commit(out, 2, 8));
    assert_ok(lw_link_reserve(out, &place, 8, 0));
    lw_link_abort(out);
    assert_ok(lw_link_reserve(out, &place, 1, 0));
    memcpy(place, "a", 1);
    assert_ok(lw_link_stage(out, 3, 1));
    assert_ok(lw_link_reserve(out, &place, 1, 0));
    memcpy(place, "b", 1);
    assert_ok(lw_link_stage(out, 4, 1));
    assert_int_equal(tl_stat(in).arrived, from + 2);
    assert_ok(lw_link_flush(out));
    struct lw_item items[] = {{"item", 4, 5}, {NULL, 0, 6}, {"last", 4, 7}};
    assert_ok(lw_link_send_batch(out, items, 3, 0));
    static const struct {
        const char *text;
        unsigned flags;
    } want[] = {{"send", 0},           {"reserved", 0},   {"a", LW_MSG_MORE}, {"b", 0},
                {"item", LW_MSG_MORE}, {"", LW_MSG_MORE}, {"last", 0}};
    tl_settle();
    for (int round = 0; round < 2; round++) { /* the second time after rewinding */
        for (uint64_t i = 0; i < 7; i++) {
            assert_int_equal(lw_link_next(in, &m, 0), 1);
            assert_int_equal(m.len, strlen(want[i].text));
            assert_memory_equal(m.data, want[i].text, m.len);
            assert_int_equal(m.type, i + 1);
            assert_int_equal(m.flags, want[i].flags);
            assert_int_equal(m.number, from + i);
        }
        assert_int_equal(lw_link_next(in, &m, 0), LW_EEMPTY);
        if (!round) lw_link_rewind(in);
    }
    lw_link_rewind(in);
    assert_int_equal(tl_stat(in).released, from);
    assert_int_equal(lw_link_next(in, &m, 0), 1);
    assert_int_equal(lw_link_recv(in, buffer, sizeof buffer, NULL, 0), LW_ESTATE); /* one is held in place */
    assert_int_equal(lw_link_next(in, &second, 0), 1);
    assert_ok(lw_link_release(in, &second)); /* and so the first */
    assert_int_equal(lw_link_release(in, &m), LW_ESTATE);
    assert_int_equal(lw_link_recv(in, buffer, 0, &m, 0), LW_ETOOBIG);
    assert_int_equal(lw_link_recv(in, buffer, 1, &m, 0), 1);
    assert_int_equal(buffer[0], 'a');
    for (int i = 0; i < 4; i++) assert_int_equal(lw_link_recv(in, buffer, sizeof buffer, &m, 0), 1);
    assert_int_equal(lw_link_next(in, &m, LW_MS(1)), LW_EEMPTY);
    assert_int_equal(lw_link_flush(out), LW_ESTATE);
    assert_int_equal(lw_link_commit(out, 0, 0), LW_ESTATE);
    assert_int_equal(lw_link_stage(out, 0, 0), LW_ESTATE);
}

static void every_way_of_sending_and_receiving_in_both_directions(void **state) {
    struct tl_pair p = tl_pair(*state);
    for (int i = 0; i < 3; i++) {
        every_way(p.up, p.down);
        every_way(p.down, p.up);
    }
    tl_pair_end(&p);
}

static void too_big(struct lw_link *out, struct lw_link *in) {
    size_t max = lw_link_max(out);
    struct lw_msg m;
    char *data = calloc(1, max + 1);
    void *place;
    assert_int_equal(max, TL_RING / 2 - 16);
    assert_told(lw_link_send(out, 0, data, max + 1, LW_FOREVER), LW_ETOOBIG, "link gateway/alice", "65536", "link");
    assert_int_equal(lw_link_reserve(out, &place, SIZE_MAX, LW_FOREVER), LW_ETOOBIG);
    struct lw_item items[] = {{data, max / 2, 0}, {data, max / 2 + 32, 0}};
    assert_int_equal(lw_link_send_batch(out, items, 2, LW_FOREVER), LW_ETOOBIG);
    for (int i = 0; i < 5; i++) { /* pitfall 3: at each offset the largest one fits an empty ring */
        assert_ok(lw_link_send(out, 0, data, (size_t)i * 8, 0));
        tl_settle();
        assert_int_equal(lw_link_recv(in, data, max, &m, 0), 1);
        tl_settle();
        assert_ok(lw_link_send(out, 0, data, max, 0));
        tl_settle();
        assert_int_equal(lw_link_recv(in, data, max, &m, 0), 1);
        assert_int_equal(m.len, max);
        tl_settle();
    }
    free(data);
}

static void what_would_never_fit_is_too_big_and_not_full(void **state) {
    struct tl_pair p = tl_pair(*state);
    too_big(p.up, p.down);
    too_big(p.down, p.up);
    tl_pair_end(&p);
}

struct handled {
    uint64_t next;
    enum lw_verdict last;
    uint64_t at;
    struct lw_link *close;
};

static enum lw_verdict handle(const struct lw_msg *msg, void *user) {
    struct handled *h = user;
    assert_int_equal(tt_read(msg), h->next);
    if (h->next == h->at && h->last == LW_KEEP) return LW_KEEP;
    h->next++;
    if (h->next != h->at + 1) return LW_NEXT;
    lw_link_close(h->close, 5, "from inside");
    return h->last;
}

static void dispatch(struct lw_link *out, struct lw_link *in) {
    struct handled h = {.next = 0, .at = 100};
    assert_int_equal(lw_link_dispatch(in, handle, &h, 0, 0), LW_EEMPTY);
    tl_send_many(out, 0, 10);
    tl_settle();
    assert_int_equal(lw_link_dispatch(in, handle, &h, 4, 0), 4);
    h.last = LW_KEEP;
    h.at = 6;
    assert_int_equal(lw_link_dispatch(in, handle, &h, 0, 0), 2);
    h.at = 100;
    assert_int_equal(lw_link_dispatch(in, handle, &h, 0, 0), 4);
    assert_int_equal(tl_stat(out).taken, 10);
}

static void dispatching_in_both_directions(void **state) {
    struct tl_pair p = tl_pair(*state);
    dispatch(p.up, p.down);
    dispatch(p.down, p.up);
    tl_pair_end(&p);
}

static void a_handler_may_close_the_link(void **state) {
    for (int side = 0; side < 2; side++)
        for (int verdict = 0; verdict < 3; verdict++) {
            struct tl_pair p = tl_pair(*state);
            struct lw_link **in = side ? &p.up : &p.down, *out = side ? p.down : p.up;
            struct handled h = {.at = 2, .close = *in, .last = (enum lw_verdict[]){LW_NEXT, LW_STOP, LW_NEXT}[verdict]};
            struct lw_event e;
            int code;
            tl_send_many(out, 0, 5);
            if (verdict == 2) assert_true(tl_gets(*in, 0, h.next = 1));
            tl_settle();
            assert_int_equal(lw_link_dispatch(*in, handle, &h, 0, 0), verdict == 2 ? 2 : 3);
            *in = NULL;
            assert_true(tl_is_told(side ? &p.server : &p.client, LW_DOWN, out, &e));
            assert_int_equal(e.code, LW_ECLOSED);
            assert_string_equal(lw_link_reason(out, &code), "from inside");
            assert_int_equal(code, 5);
            assert_int_equal(tl_stat(out).taken, 2); /* what the handler had was not released: it comes again */
            tl_pair_end(&p);
            tl_remove(*state);
        }
}

static void pitfall_21_a_full_link_refuses_and_drops_nothing(void **state) {
    struct tl_pair p = tl_pair(*state);
    for (int side = 0; side < 2; side++) {
        struct lw_link *out = side ? p.down : p.up, *in = side ? p.up : p.down;
        uint64_t n = 0, got = 0;
        for (int i = 0; i < 20; i++) {
            n = tl_send_all(out, n);
            assert_told(tl_send(out, n, LW_MS(1)), LW_EFULL, "link gateway/alice", side ? "down" : "up",
                        tl_over() ? "on another host" : tt_text("pid %d", (int)getpid()));
            uint64_t part = i == 19 ? n - got : (uint64_t)(i * 7 + 1);
            assert_true(tl_gets(in, got, part));
            got += part;
        }
        assert_true(tl_gets_only(in, got, 0));
        assert_int_equal(tl_stat(out).sent, n);
        assert_int_equal(tl_stat(out).taken, n);
        assert_int_equal(tl_stat(out).sent_bytes_unread, 0);
    }
    tl_pair_end(&p);
}

/* ---- cork -------------------------------------------------------------------------------------------------------- */

static struct lw_group_stats stats_of(const struct tl_party *p) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    T_NEED(!lw_group_stat(p->group, &stats));
    return stats;
}

/* Echoes how often it was rung while it slept. */
static int sleeper_body(void *dir) {
    struct tl_party p = tl_party(dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    t_say(0);
    struct lw_link *link = tl_accept(&p, server, "alice");
    for (uint64_t got = 0;;) {
        struct lw_event e;
        uint64_t want = (uint64_t)t_listen();
        t_say((int64_t)stats_of(&p).rings);
        while (got < want) {
            T_NEED(lw_group_poll(p.group, &e, 1, LW_SEC(20)) == 1);
            struct lw_msg m;
            while (e.kind == LW_READABLE && lw_link_next(link, &m, 0) == 1)
                T_NEED(tt_read(&m) == got++ && !lw_link_release(link, &m));
        }
        t_say((int64_t)stats_of(&p).rings);
    }
    return 0;
}

static void corked_messages_ring_once_when_they_are_uncorked(void **state) {
    struct t_child child = t_fork(sleeper_body, *state);
    t_hear(&child);
    struct tl_party p = tl_party(*state, "alice");
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    tl_told(&p, LW_UP, link);
    uint64_t n = 0;
    int64_t worst = 0;
    for (int64_t i = 0; i < t_loops(40) + 4; i++) {
        t_tell(&child, (int64_t)n + 20);
        int64_t before = t_hear(&child);
        t_sleep(LW_MS(3)); /* it sleeps now, most likely */
        lw_link_cork(link);
        for (int k = 0; k < 10; k++) {
            tl_send_many(link, n++, 1);
            t_sleep(LW_US(200));
        }
        tl_send_many(link, n, 10);
        n += 10;
        lw_link_uncork(link);
        int64_t rings = t_hear(&child) - before;
        if (rings > worst) worst = rings;
    }
    assert_true(worst <= 1);
    lw_link_uncork(link); /* uncorked already: one ring for nothing */
    tl_send_many(link, n, 1);
    t_tell(&child, (int64_t)n + 1);
    t_hear(&child);
    t_hear(&child);
    lw_link_close(link, 0, NULL);
    t_kill(&child);
    tl_leave(&p);
}

static void corked_messages_can_be_received(void **state) {
    struct tl_pair p = tl_pair(*state);
    lw_link_cork(p.up);
    lw_link_cork(p.up);
    tl_send_many(p.up, 0, 5);
    assert_true(tl_gets_only(p.down, 0, 5));
    uint64_t n = tl_send_all(p.up, 5); /* and refuses when it is full */
    assert_true(tl_gets_only(p.down, 5, n - 5));
    lw_link_uncork(p.up);
    tl_pair_end(&p);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void readable_is_told_until_everything_was_received(void **state) {
    struct tl_pair p = tl_pair(*state);
    assert_true(tl_quiet(&p.client, LW_MS(2)));
    tl_send_many(p.down, 0, 3);
    for (uint64_t i = 0; i < 3; i++) {
        tl_told(&p.client, LW_READABLE, p.up);
        tl_told(&p.client, LW_READABLE, p.up);
        assert_true(tl_gets(p.up, i, 1));
    }
    assert_true(tl_quiet(&p.client, LW_MS(2)));
    tl_send_many(p.down, 3, 1);
    struct lw_msg m;
    tl_settle();
    assert_int_equal(lw_link_next(p.up, &m, 0), 1);
    assert_true(tl_quiet(&p.client, LW_MS(2))); /* held: nothing more to receive */
    lw_link_rewind(p.up);
    assert_true(tl_gets_only(p.up, 3, 1));
    tl_pair_end(&p);
}

static void writable_is_told_once_after_a_refusal(void **state) {
    struct tl_pair p = tl_pair(*state);
    for (int i = 0; i < 3; i++) {
        uint64_t n = tl_send_all(p.up, 0);
        assert_true(tl_quiet(&p.client, LW_MS(2)));
        assert_true(tl_gets_only(p.down, 0, n));
        tl_told(&p.client, LW_WRITABLE, p.up);
        assert_true(tl_quiet(&p.client, LW_MS(2)));
    }
    uint64_t n = tl_send_all(p.up, 0);
    assert_true(tl_gets_only(p.down, 0, n));
    tl_settle();
    assert_ok(tl_send(p.up, 0, 0)); /* taken in the meantime: nobody asked for more */
    tl_pair_end(&p);
}

static void user_pointers_come_with_events_and_can_be_changed(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server_options sopt = LW_SERVER_OPTIONS_INIT;
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_accept_options accept = LW_ACCEPT_OPTIONS_INIT;
    struct lw_server *server;
    struct lw_link *up, *down;
    struct lw_event e;
    int a, b, c, d;
    sopt.user = &a;
    opt.user = &b;
    accept.user = &c;
    assert_ok(tl_server_open(&server, host.group, "gateway", &sopt));
    assert_ok(tl_link_open(&up, client.group, "gateway", &opt));
    assert_ptr_equal(lw_link_user(up), &b);
    assert_true(tl_is_told(&host, LW_LOGIN, server, &e));
    assert_ptr_equal(e.user, &a);
    struct lw_login login = tl_login(&host, server, "alice");
    assert_ok(lw_login_accept(&login, host.group, &accept, NULL)); /* events bring it */
    assert_true(tl_is_told(&host, LW_UP, NULL, &e));
    assert_ptr_equal(e.user, &c);
    down = e.link;
    assert_true(tl_is_told(&client, LW_UP, up, &e));
    assert_ptr_equal(e.user, &b);
    assert_ok(lw_link_move(up, client.group, &d));
    assert_ptr_equal(lw_link_user(up), &d);
    tl_send_many(down, 0, 1);
    assert_true(tl_is_told(&client, LW_READABLE, up, &e));
    assert_ptr_equal(e.user, &d);
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

static void with_room_for_one_event_each_comes_in_its_turn(void **state) {
    struct tl_party client = tl_party(*state, "c"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    enum { N = 8 };
    struct lw_link *up[N], *down[N];
    int told[N] = {0};
    for (uint64_t i = 0; i < N; i++) {
        up[i] = tl_open(&client, "gateway", tt_text("c%d", (int)i), NULL);
        down[i] = tl_accept(&host, server, NULL);
        assert_true(tl_await(&host, LW_UP, down[i], NULL));
        tl_send_many(up[i], 0, 5);
    }
    for (int i = 0; i < 10 * N; i++) {
        struct lw_event e;
        assert_true(tl_is_told(&host, LW_READABLE, NULL, &e));
        for (int k = 0; k < N; k++) told[k] += e.link == down[k];
    }
    for (int k = 0; k < N; k++) assert_true(told[k] >= 9 && told[k] <= 11);
    for (int k = 0; k < N; k++) {
        lw_link_close(up[k], 0, NULL);
        lw_link_close(down[k], 0, NULL);
    }
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

/* DOWN, then LOGIN, then UP: also when all of it happened between two polls, and one by one. */
static void changes_are_told_once_and_in_order(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_event e;
    lw_link_close(p.up, 9, "brb");
    tl_told(&p.server, LW_DOWN, p.down);
    assert_int_equal(lw_link_state(p.down), LW_LINK_DOWN);
    assert_true(tl_quiet(&p.server, LW_MS(2)));
    p.up = tl_open(&p.client, "gateway", NULL, "again");
    assert_int_equal(lw_link_state(p.up), LW_LINK_DOWN);
    assert_true(tl_is_told(&p.server, LW_LOGIN, p.down, NULL));
    assert_int_equal(lw_link_login(p.down, &login), 1);
    assert_ptr_equal(login.link, p.down);
    assert_memory_equal(login.data, "again", 5);
    assert_ok(lw_login_accept(&login, NULL, NULL, NULL));
    tl_told(&p.server, LW_UP, p.down);
    tl_told(&p.client, LW_UP, p.up);
    assert_true(tl_quiet(&p.server, LW_MS(2)) && tl_quiet(&p.client, LW_MS(2)));
    /* at once */
    lw_link_close(p.up, 9, "brb");
    p.up = tl_open(&p.client, "gateway", NULL, "again");
    tl_told(&p.server, LW_DOWN, p.down);
    tl_told(&p.server, LW_LOGIN, p.down);
    login = (struct lw_login)LW_LOGIN_INIT;
    assert_int_equal(lw_link_login(p.down, &login), 1);
    struct lw_link *same;
    assert_ok(lw_login_accept(&login, p.server.group, NULL, &same));
    assert_ptr_equal(same, p.down);
    tl_told(&p.server, LW_UP, p.down);
    tl_told(&p.client, LW_UP, p.up);
    /* the server's side away and back between two looks of the client */
    lw_link_close(p.down, 3, "restarting");
    lw_server_close(p.at);
    p.at = tl_server(&p.server, "gateway");
    p.down = tl_accept(&p.server, p.at, "alice");
    assert_true(tl_is_told(&p.client, LW_DOWN, p.up, &e));
    tl_told(&p.client, LW_UP, p.up);
    assert_true(tl_quiet(&p.client, LW_MS(2)));
    tl_told(&p.server, LW_UP, p.down);
    tl_pair_end(&p);
}

static void a_login_on_an_open_link_is_told_until_it_is_taken_and_given_once(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_login login = LW_LOGIN_INIT;
    assert_int_equal(lw_link_login(p.down, &login), LW_EEMPTY);
    lw_link_close(p.up, 0, NULL);
    p.up = tl_open(&p.client, "gateway", NULL, NULL);
    tl_told(&p.server, LW_DOWN, p.down);
    for (int i = 0; i < 4; i++) tl_told(&p.server, LW_LOGIN, p.down);
    assert_int_equal(lw_link_login(p.down, &login), 1);
    struct lw_login again = LW_LOGIN_INIT;
    assert_int_equal(lw_link_login(p.down, &again), LW_EEMPTY);
    assert_true(tl_quiet(&p.server, LW_MS(2)));
    assert_int_equal(lw_link_state(p.down), LW_LINK_DOWN);
    assert_ok(lw_login_refuse(&login, "not again"));
    tl_told(&p.client, LW_REFUSED, p.up);
    assert_string_equal(lw_link_reason(p.up, NULL), "not again");
    assert_int_equal(tl_send(p.up, 0, 0), LW_EREFUSED);
    assert_told(lw_login_accept(&login, NULL, NULL, NULL), LW_ESTATE, "alice");
    assert_true(tl_quiet(&p.server, LW_MS(2)));
    lw_link_close(p.up, 0, NULL);
    p.up = tl_open(&p.client, "gateway", NULL, NULL);
    tl_told(&p.server, LW_LOGIN, p.down);
    assert_int_equal(lw_link_login(p.down, &login), 1);
    assert_told(lw_login_accept(&login, p.client.group, NULL, NULL), -EINVAL, "another group");
    assert_ok(lw_login_accept(&login, NULL, NULL, NULL));
    tl_told(&p.client, LW_UP, p.up);
    tl_told(&p.server, LW_UP, p.down);
    tl_pair_end(&p);
}

static void time_may_be_passed_in(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_event e;
    for (int64_t i = 1; i < 50; i++) {
        tl_send_many(p.up, (uint64_t)i, 1);
        tl_settle();
        lw_group_set_time(p.server.group, t_now());
        assert_int_equal(lw_group_poll(p.server.group, &e, 1, 0), 1);
        assert_int_equal(e.kind, LW_READABLE);
        lw_group_set_time(p.server.group, 0); /* others wait for acknowledgements, which are due by it */
        assert_true(tl_gets_only(p.down, (uint64_t)i, 1));
    }
    lw_group_set_time(p.server.group, 1); /* long ago: no harm */
    assert_int_equal(lw_group_poll(p.server.group, &e, 1, LW_MS(2)), 0);
    lw_group_set_time(p.server.group, INT64_MAX);
    assert_int_equal(lw_group_poll(p.server.group, &e, 1, LW_MS(2)), 0);
    lw_group_set_time(p.server.group, 0);
    tl_pair_end(&p);
}

static void a_paused_link_tells_of_room_but_not_of_messages(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_msg msg;
    tl_send_many(p.up, 0, 3);
    tl_told(&p.server, LW_READABLE, p.down);
    uint64_t full = tl_send_all(p.down, 0);
    lw_link_pause(p.down, 1);
    assert_true(tl_quiet(&p.server, LW_MS(20)));
    tl_send_many(p.up, 3, 2); /* also what comes later, awake and asleep */
    assert_true(tl_quiet(&p.server, LW_MS(2)));
    assert_true(tl_gets(p.up, 0, full));
    tl_told(&p.server, LW_WRITABLE, p.down);
    assert_true(tl_quiet(&p.server, LW_MS(2)));
    assert_int_equal(lw_link_next(p.down, &msg, 0), 1); /* receiving works the same */
    lw_link_rewind(p.down);
    lw_link_pause(p.down, 0);
    tl_told(&p.server, LW_READABLE, p.down);
    assert_true(tl_gets_only(p.down, 0, 5));
    assert_true(tl_quiet(&p.server, LW_MS(2)));
    tl_send_many(p.up, 5, 1);
    tl_told(&p.server, LW_READABLE, p.down);
    assert_true(tl_gets_only(p.down, 5, 1));
    lw_link_pause(p.down, 1);
    lw_link_close(p.up, 0, NULL);
    p.up = NULL;
    tl_told(&p.server, LW_DOWN, p.down);
    tl_pair_end(&p);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(every_way_of_sending_and_receiving_in_both_directions),
        t_test(what_would_never_fit_is_too_big_and_not_full),
        t_test(dispatching_in_both_directions),
        t_test(a_handler_may_close_the_link),
        t_test(pitfall_21_a_full_link_refuses_and_drops_nothing),
        t_test(corked_messages_ring_once_when_they_are_uncorked),
        t_test(corked_messages_can_be_received),
        t_test(readable_is_told_until_everything_was_received),
        t_test(writable_is_told_once_after_a_refusal),
        t_test(user_pointers_come_with_events_and_can_be_changed),
        t_test(with_room_for_one_event_each_comes_in_its_turn),
        t_test(changes_are_told_once_and_in_order),
        t_test(a_login_on_an_open_link_is_told_until_it_is_taken_and_given_once),
        t_test(a_paused_link_tells_of_room_but_not_of_messages),
        t_test(time_may_be_passed_in),
    };
    return tl_run_cases(everywhere, sizeof everywhere / sizeof *everywhere, NULL, 0);
}

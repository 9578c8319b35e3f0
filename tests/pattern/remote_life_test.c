/* SPDX-License-Identifier: MIT */
/*
 * Links over TCP whose connections, sides and files end and begin: servers that come back, clients that are followed by
 * themselves, links that were removed on one side.
 *
 * pitfall 6, 13, 15: nothing is lost or repeated, whoever ends in between.
 * pitfall 14: who is gone without a word hangs nobody.
 * pitfall 16: who was left behind finds out.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pattern/remote.h"
#include "util/link_util.h"

/* ---- the server comes back --------------------------------------------------------------------------------------- */

/* Lets alice in, once; echoes until it is told to end or killed. */
static int echo_body(void *dir) {
    struct tl_party p = tl_party(dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    struct lw_link *link = tl_accept(&p, server, "alice");
    for (bool told = false;;) {
        struct lw_event e;
        struct lw_msg m;
        T_NEED(lw_group_poll(p.group, &e, 1, LW_SEC(20)) == 1);
        if (e.kind == LW_UP && !told) t_say(1);
        told |= e.kind == LW_UP;
        T_NEED(e.kind == LW_UP || e.kind == LW_READABLE); /* no second login, no second UP */
        while (lw_link_next(link, &m, 0) == 1) {
            bool last = m.len == 3;
            if (!last) T_NEED(lw_link_send(link, m.type, m.data, m.len, LW_SEC(20)) >= 0);
            T_NEED(!lw_link_release(link, &m));
            if (!last) continue;
            lw_link_close(link, 7, "see you");
            lw_server_close(server);
            tl_leave(&p);
            return 0;
        }
    }
}

static void a_server_that_ends_and_comes_back_is_told_once_each_time_and_nothing_is_lost(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice");
    struct lw_bus *theirs = tt_bus(*state, NULL);
    struct lw_link *up = tl_open(&client, tl_address(theirs, "gateway"), NULL, NULL);
    uint64_t sent = 0, got = 0;
    for (int64_t i = 0; i < 4 + t_loops(40); i++) {
        bool killed = i % 2;
        struct lw_event e;
        tl_send_many(up, sent, 3); /* while nobody is there */
        struct t_child host = t_fork(echo_body, *state);
        tl_told(&client, LW_UP, up);
        t_hear(&host);
        tl_send_many(up, sent + 3, 3);
        sent += 6;
        while (got < sent) { /* what was taken by one that was killed may have been answered or not */
            struct lw_msg m;
            assert_int_equal(lw_link_next(up, &m, LW_SEC(20)), 1);
            uint64_t number = tt_read(&m);
            assert_true(number == got || (number == got - 1 && i > 0));
            got = number + 1;
            assert_ok(lw_link_release(up, &m));
        }
        if (killed)
            t_kill(&host);
        else
            assert_ok(lw_link_send(up, 1, "end", 3, LW_SEC(20)));
        assert_true(tl_await(&client, LW_DOWN, up, &e));
        assert_int_equal(e.code, killed ? LW_EDEAD : LW_ECLOSED);
        if (killed) continue;
        assert_string_equal(lw_link_reason(up, NULL), "see you");
        assert_int_equal(t_wait(&host), 0);
    }
    assert_int_equal(lw_link_state(up), LW_LINK_DOWN);
    lw_link_close(up, 0, NULL);
    assert_ok(lw_bus_close(theirs));
    tl_leave(&client);
}

static void who_waits_at_the_door_of_a_server_that_closes_is_told_to_the_next_one(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, tl_address(host.bus, "gateway"), NULL, NULL);
    for (int i = 0; i < 3; i++) {
        struct lw_login login = tl_login(&host, server, "alice");
        assert_int_equal(login.session, 1);
        if (i == 1) tl_send_many(up, 0, 5);
        lw_server_close(server);
        assert_true(tl_quiet(&client, LW_MS(20)));
        assert_int_equal(lw_link_state(up), LW_LINK_WAITING);
        server = tl_server(&host, "gateway");
    }
    struct lw_link *down = tl_accept(&host, server, "alice");
    tl_told(&client, LW_UP, up);
    assert_true(tl_gets_only(down, 0, 5));
    assert_true(tl_talk(up, down, 5));
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

/* A server that starts is told of who left messages in its bus; that client comes while this is being answered. */
static void who_was_away_when_it_was_told_of_and_comes_before_the_answer_logs_in_on_its_link(void **state) {
    for (int turn = 0; turn < 3; turn++) {
        struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
        const char *address = tl_address(host.bus, "gateway");
        struct lw_server *server = tl_server(&host, "gateway");
        struct lw_link *up = tl_open(&client, address, NULL, NULL), *down = tl_accept(&host, server, "alice");
        assert_true(tl_await(&client, LW_UP, up, NULL));
        tl_send_many(up, 0, 5);
        tl_settle();
        lw_link_close(down, 0, NULL);
        lw_link_close(up, 0, NULL);
        lw_server_close(server);
        server = tl_server(&host, "gateway");
        struct lw_login login = tl_login(&host, server, "alice");
        assert_int_equal(login.alive, 0);
        assert_int_equal(login.unread, 5);
        assert_string_equal(login.from, "");
        up = tl_open(&client, address, NULL, "here I am");
        tl_settle();                                     /* it is at the door */
        if (turn == 1) tl_told(&host, LW_LOGIN, server); /* and told of there */
        if (turn == 2) {                                 /* who it is now is another question */
            assert_ok(lw_login_refuse(&login, "not now"));
            down = tl_accept(&host, server, "alice");
        } else {
            assert_ok(lw_login_accept(&login, host.group, NULL, &down));
            tl_accept_again(&host, down);
        }
        struct lw_login more = LW_LOGIN_INIT;
        assert_int_equal(lw_server_login(server, &more), LW_EEMPTY);
        tl_told(&client, LW_UP, up);
        assert_true(tl_gets_only(down, 0, 5));
        assert_true(tl_talk(up, down, 5));
        lw_link_close(up, 0, NULL);
        lw_link_close(down, 0, NULL);
        lw_server_close(server);
        assert_ok(lw_link_remove(client.bus, address, "alice", 0, NULL));
        assert_ok(lw_link_remove(host.bus, "gateway", "alice", 0, NULL));
        tl_leave(&client);
        tl_leave(&host);
    }
}

/* ---- the client comes back --------------------------------------------------------------------------------------- */

struct caller {
    const char *dir, *address;
    uint64_t first;
    bool lingers;
};

/* Leaves its socket to a process that keeps it open and says nothing: as a host that has gone without a word. */
static void linger(const struct lw_link *link) {
    int fd = dup(link->remote->conn->fd), ready[2];
    char byte = 0;
    T_NEED(fd >= 0 && !pipe(ready));
    pid_t pid = fork();
    T_NEED(pid >= 0);
    if (pid == 0) (void)!write(ready[1], &byte, 1), t_sleep(LW_SEC(30)), _exit(0);
    T_NEED(read(ready[0], &byte, 1) == 1); /* it has let go of its copy of the node's lock */
    close(ready[0]);
    close(ready[1]);
    close(fd);
    t_say(pid);
}

static int caller_body(void *arg) {
    const struct caller *c = arg;
    struct tl_party p = tl_party(c->dir, "alice");
    struct lw_link *link = tl_open(&p, c->address, NULL, "calling");
    tl_send_many(link, c->first, 3);
    T_NEED(tl_await(&p, LW_UP, link, NULL));
    T_NEED(tl_gets(link, c->first, 3));
    if (c->lingers) linger(link);
    t_say(0);
    t_forever();
}

static void pitfall_14_a_client_whose_host_went_without_a_word_is_followed_by_itself_at_once(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct caller c = {tl_far(*state), tl_address(host.bus, "gateway"), 0, true};
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *down = NULL;
    pid_t lingering[3];
    for (int i = 0; i < 3; i++, c.first += 3) {
        struct t_child caller = t_fork(caller_body, &c);
        if (down)
            tl_accept_again(&host, down); /* fenced by the number of its connection; no silence was waited for */
        else
            assert_true(tl_await(&host, LW_UP, down = tl_accept(&host, server, "alice"), NULL));
        tl_send_many(down, c.first, 3);
        assert_true(tl_gets(down, c.first, 3));
        pid_t helper = (pid_t)t_hear(&caller);
        t_hear(&caller);
        t_kill(&caller);
        assert_true(tl_quiet(&host, LW_MS(50))); /* nobody says that it is gone */
        assert_int_equal(lw_link_state(down), LW_LINK_UP);
        lingering[i] = helper;
    }
    for (int i = 0; i < 3; i++) kill(lingering[i], SIGKILL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
}

/* A greeting that was under way for long, when the same client is here already by a later connection. */
static void a_hello_that_comes_late_is_sent_away(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw__greeting late = p.down->remote->conn->greeting;
    for (uint64_t age = 0; age < 2; age++) {
        struct lw__conn *conn = lw__conn_make(-1, false, LW__FEATURE_CRC);
        struct lw__wire_event e = {.kind = 0};
        bool more;
        assert_ok(lw__conn_connect(conn, &p.up->remote->address, LW_SEC(8)));
        T_UNTIL(lw__conn_finish(conn) == 0);
        late.epoch -= age;
        assert_true(lw__wire_greet(&conn->wire, LW__HELLO, &late));
        assert_int_equal(lw__conn_write(conn), 0);
        T_UNTIL((lw__conn_read(conn, &more), lw__wire_next(&conn->wire, &e) == 1));
        assert_int_equal(e.kind, LW__WIRE_REFUSED);
        assert_int_equal(conn->wire.words.code, LW_ESTATE);
        lw__conn_free(conn);
        assert_true(tl_talk(p.up, p.down, 5 * age));
        assert_int_equal(tl_stat(p.down).connections, 1);
    }
    tl_pair_end(&p);
}

static void a_client_that_closes_and_opens_again_and_again_leaves_nothing_behind(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    const char *address = tl_address(host.bus, "gateway");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, address, NULL, NULL), *down = tl_accept(&host, server, "alice");
    assert_true(tl_await(&client, LW_UP, up, NULL));
    int before = t_descriptors();
    for (uint64_t i = 0; i < 20 + (uint64_t)t_loops(100); i++) {
        assert_true(tl_talk(up, down, i * 5));
        lw_link_close(up, 0, NULL);
        for (uint64_t k = t_random() % 3; k; k--) { /* also at once, or before anybody has said a word */
            up = tl_open(&client, address, NULL, NULL);
            if (t_random() % 2) tl_drive();
            lw_link_close(up, 0, NULL);
        }
        up = tl_open(&client, address, NULL, NULL);
        for (int logins = 0; lw_link_state(up) != LW_LINK_UP; logins++) {
            struct lw_login login = LW_LOGIN_INIT;
            assert_true(logins < 8);
            assert_true(tl_await(&host, LW_LOGIN, down, NULL));
            if (lw_link_login(down, &login) != 1) continue;
            int rc = lw_login_accept(&login, NULL, NULL, NULL);
            assert_true(rc == 0 || rc == LW_ESTATE);
            tl_settle_link(up);
            struct lw_event e;
            while (lw_group_poll(client.group, &e, 1, 0) > 0) continue;
        }
        assert_int_equal(t_descriptors(), before);
    }
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

/* ---- one side was removed ---------------------------------------------------------------------------------------- */

static void pitfall_16_the_servers_side_removed_by_force_begins_anew_with_what_was_not_taken(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_event e;
    struct lw_msg m;
    assert_true(tl_talk(p.up, p.down, 0));
    tl_send_many(p.up, 0, 5);
    assert_true(tl_gets(p.down, 0, 2));
    tl_settle();
    assert_ok(lw_link_remove(p.server.bus, "gateway", "alice", LW_REMOVE_FORCE, NULL));
    tl_told(&p.server, LW_READABLE, p.down);
    int rc;
    for (int i = 0; (rc = lw_link_next(p.down, &m, LW_SEC(20))) == 1; i++)
        assert_true(i < 3); /* what had come is there */
    assert_int_equal(rc, LW_ECLOSED);
    assert_int_equal(tl_send(p.down, 0, 0), LW_ECLOSED);
    lw_link_close(p.down, 0, NULL);
    assert_true(tl_await(&p.client, LW_DOWN, p.up, NULL));
    lw_server_close(p.at); /* a start of the server that has not answered it */
    p.at = tl_server(&p.server, "gateway");
    p.down = tl_accept(&p.server, p.at, "alice");
    assert_true(tl_await(&p.server, LW_RENEWED, p.down, &e));
    assert_int_equal(e.code, LW_RENEWED_HERE);
    for (unsigned told = 0; told != (1u << LW_RENEWED_THERE | 1u << LW_RENEWED_READER); told |= 1u << e.code)
        assert_true(tl_await(&p.client, LW_RENEWED, p.up, &e)); /* of either direction */
    assert_int_equal(lw_link_state(p.up), LW_LINK_UP);
    assert_true(tl_gets_only(p.down, 2, 3));
    tl_send_many(p.up, 5, 5);
    tl_send_many(p.down, 0, 5);
    assert_true(tl_gets_only(p.down, 5, 5) && tl_gets_only(p.up, 0, 5));
    tl_pair_end(&p);
}

static void pitfall_16_the_clients_side_removed_by_force_is_another_client_to_the_server(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_event e;
    struct lw_msg m;
    const char *address = tl_address(p.client.bus, "gateway");
    tl_send_many(p.up, 0, 5);
    assert_true(tl_gets(p.down, 0, 2));
    tl_settle();
    assert_ok(lw_link_remove(p.client.bus, address, "alice", LW_REMOVE_FORCE, NULL));
    tl_told(&p.client, LW_READABLE, p.up);
    assert_int_equal(lw_link_next(p.up, &m, LW_SEC(20)), LW_ECLOSED);
    assert_int_equal(tl_send(p.up, 0, 0), LW_ECLOSED);
    lw_link_close(p.up, 0, NULL);
    p.up = tl_open(&p.client, address, "alice", "a new one");
    tl_settle();
    tl_told(&p.server, LW_DOWN, p.down);
    tl_accept_again(&p.server, p.down); /* asked about, though its login has the number of the first one's */
    assert_true(tl_gets(p.down, 2, 3)); /* what had arrived comes first */
    tl_send_many(p.up, 0, 5);
    assert_true(tl_await(&p.server, LW_RENEWED, p.down, &e));
    assert_int_equal(e.code, LW_RENEWED_THERE);
    assert_true(tl_gets_only(p.down, 0, 5));
    tl_pair_end(&p);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void who_takes_nothing_is_told_as_stuck_and_as_moving_when_it_does(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up;
    opt.stuck_after = LW_MS(40);
    assert_ok(tl_link_open(&up, client.group, tl_address(host.bus, "gateway"), &opt));
    struct lw_link *down = tl_accept(&host, server, "alice");
    tl_told(&client, LW_UP, up);
    tl_send_many(up, 0, 5);
    tl_told(&client, LW_STUCK, up);
    assert_int_equal(tl_stat(up).stuck, 1);
    assert_true(tl_gets_only(down, 0, 5));
    tl_told(&client, LW_MOVING, up);
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_server_that_ends_and_comes_back_is_told_once_each_time_and_nothing_is_lost),
        t_test(who_waits_at_the_door_of_a_server_that_closes_is_told_to_the_next_one),
        t_test(who_was_away_when_it_was_told_of_and_comes_before_the_answer_logs_in_on_its_link),
        t_test(pitfall_14_a_client_whose_host_went_without_a_word_is_followed_by_itself_at_once),
        t_test(a_hello_that_comes_late_is_sent_away),
        t_test(a_client_that_closes_and_opens_again_and_again_leaves_nothing_behind),
        t_test(pitfall_16_the_servers_side_removed_by_force_begins_anew_with_what_was_not_taken),
        t_test(pitfall_16_the_clients_side_removed_by_force_is_another_client_to_the_server),
        t_test(who_takes_nothing_is_told_as_stuck_and_as_moving_when_it_does),
    };
    setenv("LW_TEST_LINKS", "tcp", 1);
    cmocka_set_test_filter(getenv("LW_TEST_CASE"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}

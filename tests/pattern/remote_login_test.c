/* SPDX-License-Identifier: MIT */
/*
 * Logins over TCP that one side turns its back on: servers that refuse and are gone at once, clients that hang, end or close
 * their link before they are answered.
 *
 * pitfall 14: who is gone without a word hangs nobody.
 */
#include <errno.h>
#include <string.h>

#include "pattern/door.h"
#include "util/link_util.h"

/* ---- refused, by who goes then ------------------------------------------------------------------------------------ */

static void told_refused(const struct tl_party *client, struct lw_link *up, const char *why) {
    int code;
    tl_told(client, LW_REFUSED, up);
    assert_string_equal(lw_link_reason(up, &code), why);
    assert_int_equal(lw_link_state(up), LW_LINK_REFUSED);
    assert_int_equal(tl_send(up, 0, 0), LW_EREFUSED);
}

static void who_is_refused_by_a_server_that_closes_at_once_hears_why(void **state) {
    for (int leaves = 0; leaves < 2; leaves++) { /* the bus as well */
        struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
        const char *address = tl_address(host.bus, "gateway");
        struct lw_server *server = tl_server(&host, "gateway");
        struct lw_link *up = tl_open(&client, address, NULL, NULL);
        struct lw_login login = tl_login(&host, server, "alice");
        assert_ok(lw_login_refuse(&login, "closed for today"));
        lw_server_close(server);
        if (leaves) tl_leave(&host);
        told_refused(&client, up, "closed for today");
        assert_true(tl_quiet(&client, LW_MS(50))); /* also once it has found that nobody is there */
        assert_int_equal(lw_link_state(up), LW_LINK_REFUSED);
        if (leaves) host = tl_party(*state, "host");
        server = tl_server(&host, "gateway");
        struct lw_link *down = tl_accept(&host, server, "alice"); /* the next one is asked */
        assert_true(tl_await(&client, LW_UP, up, NULL));
        assert_true(tl_talk(up, down, 5 * (uint64_t)leaves));
        lw_link_close(up, 0, NULL);
        lw_link_close(down, 0, NULL);
        lw_server_close(server);
        tl_leave(&client);
        tl_leave(&host);
    }
}

/* It was let in once, and comes again to a link that is open. */
static void who_is_refused_on_an_open_link_that_is_closed_at_once_hears_why(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_login login = LW_LOGIN_INIT;
    lw_link_close(p.up, 0, NULL);
    p.up = tl_open(&p.client, "gateway", NULL, "again");
    tl_settle();
    assert_true(tl_await(&p.server, LW_LOGIN, p.down, NULL));
    assert_int_equal(lw_link_login(p.down, &login), 1);
    assert_ok(lw_login_refuse(&login, "once is enough"));
    lw_link_close(p.down, 0, NULL);
    lw_server_close(p.at);
    p.down = NULL;
    p.at = NULL;
    told_refused(&p.client, p.up, "once is enough");
    tl_pair_end(&p);
}

/* ---- gone before the answer --------------------------------------------------------------------------------------- */

enum { FEW = 3 };

struct visit {
    struct tl_party host;
    struct lw_server *server;
    const char *dir, *address; /* of the client */
    uint64_t first;            /* number of its next message */
};

static struct visit visit_open(const char *dir) {
    struct visit v = {.host = tl_party(dir, "host"), .dir = tl_far(dir)};
    v.server = tl_server(&v.host, "gateway");
    v.address = tl_address(v.host.bus, "gateway");
    return v;
}

static void visit_end(struct visit *v) {
    lw_server_close(v->server);
    tl_leave(&v->host);
}

static int visitor_body(void *arg) {
    const struct visit *v = arg;
    struct tl_party p = tl_party(v->dir, "alice");
    struct lw_link *link = tl_open(&p, v->address, NULL, "visitor");
    tl_send_many(link, v->first, FEW);
    T_NEED(tl_await(&p, LW_UP, link, NULL));
    T_NEED(tl_gets(link, v->first, FEW));
    t_say(0);
    t_forever();
}

static struct lw_login comes_and_is_killed(struct visit *v) {
    struct t_child visitor = t_fork(visitor_body, v);
    struct lw_login login = tl_login(&v->host, v->server, "alice");
    tl_drives_no_more(v->host.group);
    t_kill(&visitor);
    tl_drives(v->host.group);
    return login;
}

static struct lw_login comes_and_closes(struct visit *v) {
    struct tl_party p = tl_party(v->dir, "alice");
    struct lw_link *link = tl_open(&p, v->address, NULL, "visitor");
    tl_send_many(link, v->first, FEW);
    struct lw_login login = tl_login(&v->host, v->server, "alice");
    lw_link_close(link, 7, "changed my mind");
    tl_leave(&p);
    return login;
}

/* The login was answered, or is over: in either case another answer comes too late. */
static void is_over(struct lw_login *login, struct lw_group *group) {
    struct lw_link *none;
    assert_told(lw_login_accept(login, group, NULL, &none), LW_ESTATE, "alice", "has gone");
    assert_null(none);
    assert_told(lw_login_refuse(login, "no"), LW_ESTATE, "alice", "has gone");
}

/* It comes later, and all is well. `down`: its link, if that is open. */
static void gets_in(struct visit *v, struct lw_link *down) {
    struct tl_party p = tl_party(v->dir, "alice");
    struct lw_link *up = tl_open(&p, v->address, NULL, "again");
    if (down)
        tl_accept_again(&v->host, down);
    else
        down = tl_accept(&v->host, v->server, "alice");
    assert_true(tl_await(&p, LW_UP, up, NULL));
    assert_true(tl_gets_only(down, v->first, FEW)); /* of the one who did not wait */
    assert_true(tl_talk(up, down, v->first + FEW));
    v->first += FEW + 5;
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    tl_leave(&p);
}

/* `heard`: the door knows that it has gone, before the application says what it thinks. */
static void leaves_unanswered(struct visit *v, struct lw_login (*comes)(struct visit *v), bool heard, bool refused) {
    struct lw_link *down = NULL;
    struct lw_login login = comes(v);
    assert_int_equal(v->server->door->guests, 1);
    if (heard) T_UNTIL((tl_drive(), v->server->door->guests == 0));
    if (!heard && refused) assert_ok(lw_login_refuse(&login, "no"));
    if (!heard && !refused) assert_ok(lw_login_accept(&login, v->host.group, NULL, &down));
    is_over(&login, v->host.group);
    if (down) T_UNTIL((tl_drive(), lw_link_state(down) == LW_LINK_DOWN && !down->remote->conn));
    gets_in(v, down);
}

static void all_answers_to(struct lw_login (*comes)(struct visit *v), const char *dir) {
    struct visit v = visit_open(dir);
    int before = 0;
    for (int turn = 0; turn < 3 * 4; turn++) {
        leaves_unanswered(&v, comes, turn & 1, turn & 2);
        if (turn == 4) before = t_descriptors(); /* bells stay open */
        if (turn > 4) assert_int_equal(t_descriptors(), before);
        assert_int_equal(v.server->door->guests, 0);
    }
    visit_end(&v);
}

static void a_client_that_is_killed_before_it_is_answered_gets_in_later(void **state) {
    all_answers_to(comes_and_is_killed, *state);
}

static void a_client_that_closes_before_it_is_answered_gets_in_later(void **state) {
    all_answers_to(comes_and_closes, *state);
}

/* ---- hung before the answer --------------------------------------------------------------------------------------- */

/* The time of so many beats has passed, and nothing was heard. */
static void silence(struct lw_link *link, int beats) {
    for (int i = 0; i < beats && link->remote->conn; i++) {
        link->remote->beat_at = t_now();
        lw__remote_due(link->remote, link->remote->beat_at);
    }
}

static void a_client_that_hangs_before_it_is_let_in_is_there_when_it_goes_on(void **state) {
    struct visit v = visit_open(*state);
    struct lw_link *down;
    for (int turn = 0; turn < 2; turn++, v.first += FEW) {
        struct t_child visitor = t_fork(visitor_body, &v);
        struct lw_login login = tl_login(&v.host, v.server, "alice");
        t_stop(&visitor);
        for (int i = 0; i < 2 * LW__SILENT_BEATS; i++) lw__door_due(v.server->door, t_now());
        assert_true(tl_quiet(&v.host, LW_MS(10))); /* it may wait as long as the application does */
        assert_ok(lw_login_accept(&login, v.host.group, NULL, &down));
        tl_told(&v.host, LW_UP, down);
        tl_send_many(down, v.first, FEW);
        if (turn) { /* for longer than anybody has patience with silence */
            silence(down, LW__SILENT_BEATS + 1);
            tl_told(&v.host, LW_DOWN, down);
            assert_non_null(strstr(lw_link_reason(down, NULL), "nothing was heard for 8 s"));
        }
        t_go_on(&visitor);
        if (turn) tl_told(&v.host, LW_UP, down); /* by itself, and nobody is asked again */
        assert_true(tl_gets_only(down, v.first, FEW));
        assert_int_equal(t_hear(&visitor), 0);
        assert_int_equal(down->remote->connections, 1 + (uint64_t)turn);
        t_kill(&visitor);
        tl_told(&v.host, LW_DOWN, down);
        lw_link_close(down, 0, NULL);
    }
    visit_end(&v);
}

static void a_client_that_hangs_before_it_is_refused_hears_of_it_when_it_goes_on(void **state) {
    struct visit v = visit_open(*state);
    struct t_child visitor = t_fork(visitor_body, &v);
    struct lw_login login = tl_login(&v.host, v.server, "alice");
    t_stop(&visitor);
    assert_ok(lw_login_refuse(&login, "no"));
    is_over(&login, v.host.group);
    t_kill(&visitor);
    T_UNTIL((tl_drive(), v.server->door->guests == 0));
    gets_in(&v, NULL);
    visit_end(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(who_is_refused_by_a_server_that_closes_at_once_hears_why),
        t_test(who_is_refused_on_an_open_link_that_is_closed_at_once_hears_why),
        t_test(a_client_that_is_killed_before_it_is_answered_gets_in_later),
        t_test(a_client_that_closes_before_it_is_answered_gets_in_later),
        t_test(a_client_that_hangs_before_it_is_let_in_is_there_when_it_goes_on),
        t_test(a_client_that_hangs_before_it_is_refused_hears_of_it_when_it_goes_on),
    };
    setenv("LW_TEST_LINKS", "tcp", 1);
    cmocka_set_test_filter(getenv("LW_TEST_CASE"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Links, both sides in one process: logging in, accepting and refusing, names, shapes, closing. Messages and events are
 * in link_use_test.c, deaths in link_restart_test.c, damage in link_garbage_test.c, removal in link_admin_test.c.
 *
 * pitfall 12: names that could meet in one file do not.
 * pitfall 13: a login clears nothing.
 * pitfall 15: what was not released comes again.
 * pitfall 22: unread data outlives the close of whoever sent it.
 * pitfall 32: another server of the name, or a login refused, wipes nothing.
 * pitfall 33: words are exactly those that were given.
 * pitfall 38: data and the close that follows keep their order.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/link_util.h"

/* ---- before there is a server ------------------------------------------------------------------------------------ */

static void without_a_server_a_link_waits_and_takes_what_is_sent_until_it_is_full(void **state) {
    struct tl_party client = tl_party(*state, "alice");
    struct lw_link *link = tl_open(&client, "gateway", NULL, NULL);
    char byte;
    assert_int_equal(lw_link_state(link), LW_LINK_WAITING);
    assert_string_equal(lw_link_server(link), "gateway");
    assert_string_equal(lw_link_client(link), "alice");
    assert_int_equal(lw_link_answer(link, &byte, 1), LW_ESTATE);
    assert_string_equal(lw_link_reason(link, NULL), "");
    uint64_t n = tl_send_all(link, 0);
    assert_told(tl_send(link, n, LW_MS(1)), LW_EFULL, "link gateway/alice, up", "full",
                tl_over() ? "server (on another host)" : "server (away)", "laneway rm links");
    assert_non_null(strstr(lw_link_explain(link), tt_text("%d messages", (int)n)));
    struct lw_link_info info = tl_stat(link);
    assert_int_equal(info.state, LW_LINK_WAITING);
    assert_int_equal(info.sent, n);
    assert_int_equal(info.taken, 0);
    assert_true(info.sent_bytes_unread > TL_RING - 2 * TT_MESSAGE && info.sent_bytes_unread < TL_RING);
    assert_string_equal(info.client_node, "alice");
    assert_int_equal(info.client_pid, getpid());
    assert_string_equal(info.server_node, "");
    assert_int_equal(info.server_pid, 0);
    assert_true(tl_quiet(&client, 0));
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *down = tl_accept(&host, server, "alice");
    tl_told(&client, LW_UP, link);
    assert_true(tl_gets_only(down, 0, n));
    tl_told(&client, LW_WRITABLE, link);
    lw_link_close(link, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

/* ---- logging in -------------------------------------------------------------------------------------------------- */

static void login_and_answer_are_bytes_of_any_kind(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    static const size_t sizes[] = {0, 1, 7, 8, 9, 63, 1023, LW_LOGIN_MAX};
    char login[LW_LOGIN_MAX], answer[LW_LOGIN_MAX], got[LW_LOGIN_MAX];
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_accept_options accept = LW_ACCEPT_OPTIONS_INIT;
    for (size_t i = 0; i < LW_LOGIN_MAX; i++) login[i] = (char)(i * 7), answer[i] = (char)(i * 13 + 1);
    opt.login = login;
    accept.answer = answer;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct lw_link *up, *down;
        opt.login_len = sizes[i];
        accept.answer_len = sizes[7 - i];
        assert_ok(tl_link_open(&up, client.group, "gateway", &opt));
        struct lw_login l = tl_login(&host, server, "alice");
        assert_int_equal(l.len, sizes[i]);
        assert_int_equal((uintptr_t)l.data % 8, 0);
        assert_memory_equal(l.data, login, sizes[i]);
        assert_int_equal(l.alive, 1);
        assert_int_equal(l.unread, 0);
        assert_int_equal(l.session, i + 1);
        assert_ptr_equal(l.server, server);
        assert_null(l.link);
        assert_ok(lw_login_accept(&l, host.group, &accept, &down));
        tl_told(&host, LW_UP, down);
        tl_told(&client, LW_UP, up);
        assert_int_equal(lw_link_answer(up, got, sizeof got), sizes[7 - i]);
        assert_memory_equal(got, answer, sizes[7 - i]);
        memset(got, 'x', sizeof got);
        assert_int_equal(lw_link_answer(up, got, 3), sizes[7 - i]); /* as far as there is room */
        assert_int_equal(got[3], 'x');
        assert_int_equal(lw_link_answer(down, got, sizeof got), LW_ESTATE);
        lw_link_close(up, 0, NULL);
        tl_told(&host, LW_DOWN, down);
        lw_link_close(down, 0, NULL);
    }
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

static void refused_with_words_sends_nothing_and_asks_again_when_it_opens_again(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, "gateway", NULL, "v1");
    struct lw_event event;
    int code = 7;
    tl_send_many(up, 0, 5);
    struct lw_login login = tl_login(&host, server, "alice");
    assert_ok(lw_login_refuse(&login, "protocol too old"));
    assert_true(tl_is_told(&client, LW_REFUSED, up, &event));
    assert_int_equal(lw_link_state(up), LW_LINK_REFUSED);
    assert_string_equal(lw_link_reason(up, &code), "protocol too old");
    assert_int_equal(tl_send(up, 5, 0), LW_EREFUSED);
    assert_int_equal(tl_send(up, 5, LW_FOREVER), LW_EREFUSED);
    void *place;
    struct lw_item item = {"x", 1, 0};
    assert_int_equal(lw_link_reserve(up, &place, 1, 0), LW_EREFUSED);
    assert_int_equal(lw_link_send_batch(up, &item, 1, 0), LW_EREFUSED);
    assert_true(tl_quiet(&client, LW_MS(5)));
    assert_true(tl_quiet(&host, LW_MS(5)));
    assert_int_equal(tl_stat(up).sent, 5);
    lw_link_close(up, 0, NULL);
    /* pitfall 32: what was sent is there when it is let in */
    up = tl_open(&client, "gateway", NULL, "v2");
    assert_int_equal(lw_link_state(up), LW_LINK_WAITING);
    login = tl_login(&host, server, "alice");
    assert_int_equal(login.unread, 5);
    assert_memory_equal(login.data, "v2", 2);
    struct lw_link *down;
    assert_ok(lw_login_accept(&login, host.group, NULL, &down));
    tl_told(&client, LW_UP, up);
    tl_send_many(up, 5, 1);
    assert_true(tl_gets_only(down, 0, 6));
    lw_link_close(down, 0, NULL);
    lw_link_close(up, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

static void a_reservation_that_was_open_when_the_server_refused_is_the_last(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, "gateway", NULL, NULL);
    void *place;
    assert_ok(lw_link_reserve(up, &place, 8, 0));
    memset(place, 0, 8);
    struct lw_login login = tl_login(&host, server, "alice");
    assert_ok(lw_login_refuse(&login, NULL));
    tl_told(&client, LW_REFUSED, up);
    assert_string_equal(lw_link_reason(up, NULL), "");
    assert_ok(lw_link_commit(up, 1, 8));
    assert_int_equal(tl_send(up, 1, 0), LW_EREFUSED);
    lw_link_close(up, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

static void a_login_is_answered_once(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, "gateway", NULL, NULL), *down, *no;
    struct lw_login login = tl_login(&host, server, "alice"), copy = login;
    assert_ok(lw_login_refuse(&login, "no"));
    assert_told(lw_login_refuse(&copy, "no"), LW_ESTATE, "alice");
    assert_told(lw_login_accept(&copy, host.group, NULL, &no), LW_ESTATE, "alice");
    assert_null(no);
    lw_link_close(up, 0, NULL);
    up = tl_open(&client, "gateway", NULL, NULL);
    login = copy = tl_login(&host, server, "alice");
    assert_ok(lw_login_accept(&login, host.group, NULL, &down));
    assert_told(lw_login_accept(&copy, host.group, NULL, &no), LW_ESTATE, "alice");
    assert_told(lw_login_refuse(&copy, "no"), LW_ESTATE, "alice");
    tl_told(&client, LW_UP, up);
    lw_link_close(down, 0, NULL);
    assert_told(lw_login_accept(&copy, host.group, NULL, &no), LW_ESTATE, "alice"); /* closed by us: it must ask anew */
    lw_link_close(up, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

static void answering_wants_a_group_and_sane_options(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, "gateway", NULL, NULL), *down;
    struct lw_login login = tl_login(&host, server, "alice");
    struct lw_accept_options opt = LW_ACCEPT_OPTIONS_INIT;
    assert_told(lw_login_accept(&login, NULL, NULL, &down), -EINVAL, "group");
    opt.answer = "x";
    opt.answer_len = LW_LOGIN_MAX + 1;
    assert_told(lw_login_accept(&login, host.group, &opt, &down), -EINVAL, "answer", "1024");
    opt.answer = NULL;
    opt.answer_len = 1;
    assert_told(lw_login_accept(&login, host.group, &opt, &down), -EINVAL, "answer");
    opt.size = 1;
    assert_told(lw_login_accept(&login, host.group, &opt, &down), -EINVAL, "lw_accept_options.size");
    assert_told(lw_login_accept(&login, client.group, NULL, &down), -EINVAL, "bus"); /* of another bus handle */
    assert_null(down);
    lw_link_close(up, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

/* Taking logins first and answering them later is allowed. */
static void each_login_is_given_once(void **state) {
    struct tl_party client = tl_party(*state, NULL), host = tl_party(*state, "host");
    struct lw_link *links[20];
    struct lw_login logins[20] = {LW_LOGIN_INIT}, more = LW_LOGIN_INIT;
    for (int i = 0; i < 10; i++) links[i] = tl_open(&client, "gateway", tt_text("c%02d", i), NULL);
    struct lw_server *server = tl_server(&host, "gateway");
    for (int i = 10; i < 20; i++) links[i] = tl_open(&client, "gateway", tt_text("c%02d", i), NULL);
    uint64_t seen = 0;
    for (int i = 0; i < 20; i++) {
        logins[i] = tl_login(&host, server, NULL);
        int n = atoi(logins[i].client + 1);
        assert_false(seen >> n & 1);
        seen |= UINT64_C(1) << n;
    }
    assert_true(tl_quiet(&host, LW_MS(20)));
    assert_int_equal(lw_server_login(server, &more), LW_EEMPTY);
    for (int i = 0; i < 20; i++) assert_ok(lw_login_refuse(&logins[i], "later"));
    for (int i = 0; i < 20; i++) assert_true(tl_await(&client, LW_REFUSED, NULL, NULL));
    for (int i = 0; i < 20; i++) lw_link_close(links[i], 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

static void a_login_waits_to_be_taken_and_is_told_until_then(void **state) {
    struct tl_party client = tl_party(*state, "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, "gateway", NULL, NULL);
    struct lw_login login = LW_LOGIN_INIT;
    for (int i = 0; i < 5; i++) tl_told(&host, LW_LOGIN, server);
    assert_int_equal(lw_server_login(server, &login), 1);
    assert_int_equal(lw_server_login(server, &login), LW_EEMPTY);
    assert_true(tl_quiet(&host, LW_MS(5)));
    lw_link_close(up, 0, NULL);
    struct lw_link *down;
    tl_settle();
    assert_told(lw_login_accept(&login, host.group, NULL, &down), LW_ESTATE, "alice");
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&client);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void names_are_checked_and_never_cut(void **state) {
    struct tl_party p = tl_party(*state, "me");
    static const char *const bad[] = {"",   ".",   "..",  "../x", "a/b",      "/a",   ".server",
                                      "-a", "a b", "a\n", "a:",   "\xc3\xa4", "a\\b", "*"};
    const char *rule = tl_over() ? "" : "A-Z"; /* in an address, others may be broken first */
    struct lw_link *link;
    struct lw_server *server;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_told(tl_try_open(&link, &p, bad[i], NULL), LW_ENAME, rule);
        assert_null(link);
        assert_told(tl_try_open(&link, &p, "gateway", bad[i]), LW_ENAME, "client", "A-Z");
        assert_told(tl_server_open(&server, p.group, bad[i], NULL), LW_ENAME, "server", "A-Z");
        assert_null(server);
        assert_told(tl_link_remove(p.bus, bad[i], "x", 0, NULL), LW_ENAME, tl_over() ? "" : "server");
        assert_told(tl_link_remove(p.bus, "x", bad[i], 0, NULL), LW_ENAME, "client");
    }
    assert_told(tl_link_open(&link, p.group, NULL, NULL), LW_ENAME, "server");
    assert_told(tl_server_open(&server, p.group, NULL, NULL), LW_ENAME, "server");
    assert_told(tl_link_remove(p.bus, NULL, "x", 0, NULL), LW_ENAME, "server");
    assert_told(tl_link_remove(p.bus, "x", NULL, 0, NULL), LW_ENAME, "client");
    char name[65] = "";
    memset(name, 'x', 64);
    assert_told(tl_try_open(&link, &p, name, NULL), LW_ENAME, tl_over() ? "too long" : "63");
    assert_told(tl_try_open(&link, &p, "gateway", name), LW_ENAME, "63");
    name[63] = 0;
    server = tl_server(&p, name);
    link = tl_open(&p, name, name, NULL);
    struct lw_link *down = tl_accept(&p, server, name);
    assert_string_equal(lw_link_client(down), name);
    assert_string_equal(lw_link_server(link), name);
    lw_link_close(link, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&p);
}

static void pitfall_12_pairs_of_names_never_meet_in_one_link(void **state) {
    static const char *const pairs[][2] = {{"a_b", "c"},
                                           {"a", "b_c"},
                                           {"a.b", "c"},
                                           {"a", "b.c"},
                                           {"a-b", "c"},
                                           {"a", "b-c"},
                                           {"A", "b"},
                                           {"a", "B"},
                                           {"a", "b"},
                                           {"b", "a"},
                                           {"up", "up"},
                                           {"up", "down"},
                                           {"up.lane", "up.lane"},
                                           {"server", "client"}};
    enum { N = sizeof pairs / sizeof *pairs };
    struct tl_party p = tl_party(*state, "me");
    struct lw_link *links[N], *downs[N];
    struct lw_server *servers[N];
    for (size_t i = 0; i < N; i++) {
        links[i] = tl_open(&p, pairs[i][0], pairs[i][1], NULL);
        tl_send_many(links[i], 100 * i, 3);
    }
    for (size_t i = 0; i < N; i++)
        if (tl_server_open(&servers[i], p.group, pairs[i][0], NULL)) servers[i] = NULL; /* held: by a pair before */
    for (size_t left = N; left; left--) {
        struct lw_event e;
        struct lw_login login = LW_LOGIN_INIT;
        assert_true(tl_await(&p, LW_LOGIN, NULL, &e));
        assert_int_equal(lw_server_login(e.server, &login), 1);
        size_t i = 0;
        struct lw_link *down;
        assert_ok(lw_login_accept(&login, p.group, NULL, &down));
        while (strcmp(lw_link_server(down), pairs[i][0]) || strcmp(lw_link_client(down), pairs[i][1])) i++;
        downs[i] = down;
    }
    for (size_t i = 0; i < N; i++) {
        assert_true(tl_gets_only(downs[i], 100 * i, 3));
        lw_link_close(downs[i], 0, NULL);
        lw_link_close(links[i], 0, NULL);
    }
    for (size_t i = 0; i < N; i++) lw_server_close(servers[i]);
    tl_leave(&p);
}

static void a_name_is_open_once_and_the_text_says_by_whom(void **state) {
    struct tl_pair p = tl_pair(*state);
    const char *pid = tt_text("pid %d", (int)getpid());
    struct lw_link *no;
    struct lw_server *server;
    assert_told(tl_try_open(&no, &p.client, "gateway", NULL), LW_EHELD, "link gateway/alice", "node alice", pid);
    assert_null(no);
    assert_told(tl_try_open(&no, &p.server, "gateway", "alice"), LW_EHELD, "link gateway/alice", "node alice", pid);
    assert_told(tl_server_open(&server, p.client.group, "gateway", NULL), LW_EHELD, "server gateway", "node host", pid);
    assert_told(tl_server_open(&server, p.server.group, "gateway", NULL), LW_EHELD, "server gateway", "node host", pid);
    assert_null(server);
    /* and nothing was disturbed */
    assert_true(tl_quiet(&p.client, LW_MS(5)) && tl_quiet(&p.server, LW_MS(5)));
    tl_send_many(p.up, 0, 3);
    tl_send_many(p.down, 0, 3);
    assert_true(tl_gets_only(p.down, 0, 3) && tl_gets_only(p.up, 0, 3));
    tl_pair_end(&p);
}

static void one_node_may_have_many_links_and_be_its_own_server(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct lw_server *server = tl_server(&p, "gateway");
    enum { N = 30 };
    struct lw_link *up[N], *down[N];
    for (uint64_t i = 0; i < N; i++) {
        up[i] = i ? tl_open(&p, "gateway", tt_text("c%d", (int)i), NULL) : tl_open(&p, "gateway", NULL, NULL);
        down[i] = tl_accept(&p, server, i ? tt_text("c%d", (int)i) : "me");
        tl_send_many(up[i], i * 100, 3);
        tl_send_many(down[i], i * 200, 2);
    }
    for (uint64_t i = 0; i < N; i++) {
        assert_true(tl_gets_only(down[i], i * 100, 3));
        assert_true(tl_gets_only(up[i], i * 200, 2));
        lw_link_close(i % 2 ? up[i] : down[i], 0, NULL);
        lw_link_close(i % 2 ? down[i] : up[i], 0, NULL);
    }
    lw_server_close(server);
    tl_leave(&p);
}

/* ---- shape and options ------------------------------------------------------------------------------------------- */

static void rings_are_as_asked_for_or_as_they_are(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_link *link;
    assert_ok(tl_link_open(&link, p.group, "a", NULL));
    assert_int_equal(tl_stat(link).ring_up, 256 << 10);
    assert_int_equal(tl_stat(link).ring_down, 256 << 10);
    lw_link_close(link, 0, NULL);
    opt.ring_up = 1 << 20;
    opt.ring_down = 64 << 10;
    assert_ok(tl_link_open(&link, p.group, "b", &opt));
    assert_int_equal(tl_stat(link).ring_up, 1 << 20);
    assert_int_equal(tl_stat(link).ring_down, 64 << 10);
    assert_int_equal(lw_link_max(link), (1 << 19) - 16);
    lw_link_close(link, 0, NULL);
    assert_told(tl_link_open(&link, p.group, "a", &opt), LW_ESHAPE, "link a/me", "ring up", "262144", "1048576",
                "laneway rm links a/me");
    opt.ring_up = 0;
    assert_told(tl_link_open(&link, p.group, "a", &opt), LW_ESHAPE, "link a/me", "ring down", "262144", "65536");
    assert_null(link);
    assert_ok(tl_link_open(&link, p.group, "a", NULL)); /* nothing is left behind by the attempts */
    lw_link_close(link, 0, NULL);
    static const uint64_t bad[] = {1, 4096, 65535, 65537, 98304, UINT64_C(128) << 30, UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        opt = (struct lw_link_options)LW_LINK_OPTIONS_INIT;
        opt.ring_up = bad[i];
        assert_told(tl_link_open(&link, p.group, "c", &opt), LW_ESHAPE, "link c/me",
                    tt_text("%llu", (unsigned long long)bad[i]));
        opt.ring_up = 0;
        opt.ring_down = bad[i];
        assert_told(tl_link_open(&link, p.group, "d", &opt), LW_ESHAPE, "link d/me");
    }
    tl_leave(&p);
}

static void options_are_checked(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_server_options sopt = LW_SERVER_OPTIONS_INIT;
    struct lw_link_info info = {.size = 1};
    struct lw_login login = {.size = 1};
    struct lw_link *link;
    struct lw_server *server;
    opt.size = 1;
    assert_told(tl_link_open(&link, p.group, "a", &opt), -EINVAL, "lw_link_options.size");
    opt = (struct lw_link_options)LW_LINK_OPTIONS_INIT;
    opt.login_len = 1;
    assert_told(tl_link_open(&link, p.group, "a", &opt), -EINVAL, "login");
    opt.login = "x";
    opt.login_len = LW_LOGIN_MAX + 1;
    assert_told(tl_link_open(&link, p.group, "a", &opt), -EINVAL, "login", "1024");
    opt.login_len = 1;
    opt.stuck_after = -2;
    assert_told(tl_link_open(&link, p.group, "a", &opt), -EINVAL, "stuck_after");
    sopt.size = 1;
    assert_told(tl_server_open(&server, p.group, "a", &sopt), -EINVAL, "lw_server_options.size");
    sopt = (struct lw_server_options)LW_SERVER_OPTIONS_INIT;
    sopt.stuck_after = -2;
    assert_told(tl_server_open(&server, p.group, "a", &sopt), -EINVAL, "stuck_after");
    link = tl_open(&p, "a", NULL, NULL);
    assert_told(lw_link_stat(link, &info), -EINVAL, "lw_link_info.size");
    assert_told(tl_link_remove(p.bus, "a", "me", 2, NULL), -EINVAL, "0x2");
    server = tl_server(&p, "a");
    tl_told(&p, LW_LOGIN, server);
    assert_told(lw_server_login(server, &login), -EINVAL, "lw_login.size");
    struct lw_login good = LW_LOGIN_INIT;
    assert_told(lw_link_login(link, &good), LW_ESTATE, "server");
    assert_told(lw_link_move(link, NULL, NULL), -EINVAL, "group");
    assert_told(lw_server_move(server, NULL, NULL), -EINVAL, "group");
    assert_int_equal(lw_group_close(p.group), -EBUSY);
    lw_link_close(link, 0, NULL);
    lw_server_close(server);
    lw_link_close(NULL, 0, NULL);
    lw_server_close(NULL);
    tl_leave(&p);
}

static void an_observing_bus_looks_at_links_and_no_more(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_bus *looker;
    struct lw_group *group;
    assert_ok(t_bus_open(&looker, *state, NULL, LW_BUS_OBSERVE));
    assert_told(lw_group_open(&group, looker, NULL), LW_ESTATE, "observ");
    assert_told(tl_link_remove(looker, "gateway", "alice", LW_REMOVE_FORCE, NULL), LW_ESTATE, "observ");
    assert_ok(lw_bus_close(looker));
    tl_pair_end(&p);
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void a_farewell_has_a_code_and_words_of_up_to_1024_bytes(void **state) {
    static const int codes[] = {0, 1, -1, 1234567, INT32_MIN, INT32_MAX};
    char words[LW_LOGIN_MAX + 300];
    memset(words, 'w', sizeof words);
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
            struct tl_pair p = tl_pair(*state);
            struct lw_link **goes = side ? &p.up : &p.down, *stays = side ? p.down : p.up;
            struct lw_event e;
            int code = 99;
            size_t len = i * 250;
            words[len] = 0;
            assert_string_equal(lw_link_reason(stays, &code), "");
            assert_int_equal(code, 0);
            lw_link_close(*goes, codes[i], i ? words : NULL);
            *goes = NULL;
            assert_true(tl_is_told(side ? &p.server : &p.client, LW_DOWN, stays, &e));
            assert_int_equal(e.code, LW_ECLOSED);
            const char *reason = lw_link_reason(stays, &code);
            assert_int_equal(strlen(reason), len < LW_LOGIN_MAX ? len : LW_LOGIN_MAX);
            assert_memory_equal(reason, words, strlen(reason));
            assert_int_equal(code, codes[i]);
            words[len] = 'w';
            tl_pair_end(&p);
        }
}

static void pitfall_33_words_are_those_that_were_said_and_no_others(void **state) {
    char path[TT_PATH], page[LW_LOGIN_MAX];
    struct tl_party client = tl_party(*state, "alice");
    struct lw_link *link = tl_open(&client, "gateway", NULL, "abc");
    tt_peek(tl_client_lane(path, *state, "gateway", "alice", "up"), TL_SIDE + 64, page, sizeof page);
    static const char rest[LW_LOGIN_MAX];
    assert_memory_equal(page, "abc", 3);
    assert_memory_equal(page + 3, rest, sizeof page - 3);
    lw_link_close(link, 0, NULL);
    tl_leave(&client);
}

static void pitfall_22_and_38_data_sent_before_a_close_is_read_after_it(void **state) {
    for (int side = 0; side < 2; side++) {
        struct tl_pair p = tl_pair(*state);
        struct lw_link **goes = side ? &p.up : &p.down, *stays = side ? p.down : p.up;
        const struct tl_party *at = side ? &p.server : &p.client;
        tl_send_many(*goes, 0, 50);
        lw_link_close(*goes, 1, "done");
        *goes = NULL;
        assert_true(tl_await(at, LW_DOWN, stays, NULL));
        tl_told(at, LW_READABLE, stays);
        assert_true(tl_gets_only(stays, 0, 50));
        tl_send_many(stays, 0, 7); /* a link that is down takes what is sent */
        assert_int_equal(tl_stat(stays).sent, 7);
        assert_int_equal(tl_stat(stays).taken, 0);
        tl_pair_end(&p);
        tl_remove(*state);
    }
}

static void both_sides_closed_and_opened_again_go_on(void **state) {
    uint64_t up = 0, down = 0;
    for (int i = 0; i < 5; i++) {
        struct tl_pair p = tl_pair(*state);
        struct lw_msg m;
        if (i) assert_true(tl_gets(p.down, up - 3, 3) && tl_gets(p.up, down - 2, 2));
        tl_send_many(p.up, up, 10);
        tl_send_many(p.down, down, 10);
        up += 10;
        down += 10;
        assert_true(tl_gets(p.down, up - 10, 7) && tl_gets(p.up, down - 10, 8));
        assert_int_equal(lw_link_next(p.down, &m, 0), 1); /* pitfall 15: held, and not released */
        struct lw_link_info info = tl_stat(p.up);
        assert_int_equal(info.sent, up);
        assert_int_equal(info.taken, up - 3);
        assert_int_equal(info.received, down - 2);
        assert_int_equal(info.released, down - 2);
        assert_int_equal(info.arrived, down);
        info = tl_stat(p.down);
        assert_int_equal(info.sent, down);
        assert_int_equal(info.taken, down - 2);
        assert_int_equal(info.received, up - 2);
        assert_int_equal(info.released, up - 3);
        assert_int_equal(info.arrived, up);
        assert_int_equal(info.state, LW_LINK_UP);
        assert_string_equal(info.client_node, tl_over() ? "" : "alice"); /* not of this bus */
        assert_string_equal(info.server_node, "host");
        assert_int_equal(info.client_pid, tl_over() ? 0 : getpid());
        assert_int_equal(info.server_pid, getpid());
        tl_pair_end(&p);
    }
}

static void pitfall_13_a_login_clears_nothing_of_what_either_side_sent_before(void **state) {
    struct tl_pair p = tl_pair(*state);
    tl_send_many(p.up, 0, 20);
    tl_send_many(p.down, 0, 30);
    lw_link_close(p.up, 0, NULL);
    tl_send_many(p.down, 30, 5); /* while nobody is there */
    p.up = tl_open(&p.client, "gateway", NULL, NULL);
    tl_send_many(p.up, 20, 5); /* before it was let in */
    if (!tl_over()) assert_true(tl_gets_only(p.up, 0, 35));
    struct lw_login login = LW_LOGIN_INIT;
    assert_true(tl_await(&p.server, LW_LOGIN, p.down, NULL));
    assert_int_equal(lw_link_login(p.down, &login), 1);
    assert_in_range(login.unread, tl_over() ? 20 : 25, 25); /* over a socket: when it connected */
    assert_ok(lw_login_accept(&login, NULL, NULL, NULL));
    assert_true(tl_gets_only(p.down, 0, 25));
    if (tl_over()) assert_true(tl_gets_only(p.up, 0, 35)); /* over a socket they come when it is let in */
    tl_pair_end(&p);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(without_a_server_a_link_waits_and_takes_what_is_sent_until_it_is_full),
        t_test(login_and_answer_are_bytes_of_any_kind),
        t_test(refused_with_words_sends_nothing_and_asks_again_when_it_opens_again),
        t_test(a_reservation_that_was_open_when_the_server_refused_is_the_last),
        t_test(a_login_is_answered_once),
        t_test(answering_wants_a_group_and_sane_options),
        t_test(each_login_is_given_once),
        t_test(a_login_waits_to_be_taken_and_is_told_until_then),
        t_test(names_are_checked_and_never_cut),
        t_test(pitfall_12_pairs_of_names_never_meet_in_one_link),
        t_test(a_name_is_open_once_and_the_text_says_by_whom),
        t_test(one_node_may_have_many_links_and_be_its_own_server),
        t_test(rings_are_as_asked_for_or_as_they_are),
        t_test(options_are_checked),
        t_test(a_farewell_has_a_code_and_words_of_up_to_1024_bytes),
        t_test(pitfall_33_words_are_those_that_were_said_and_no_others),
        t_test(pitfall_22_and_38_data_sent_before_a_close_is_read_after_it),
        t_test(both_sides_closed_and_opened_again_go_on),
        t_test(pitfall_13_a_login_clears_nothing_of_what_either_side_sent_before),
    };
    const struct CMUnitTest shared_memory_only[] = {
        t_test(an_observing_bus_looks_at_links_and_no_more),
    };
    return tl_run(everywhere, shared_memory_only);
}

/* SPDX-License-Identifier: MIT */
/*
 * Links whose sides are killed, stopped, closed and started again, in any order, as processes.
 *
 * pitfall 6: a kill between two stores renumbers, loses or repeats nothing.
 * pitfall 14: the dead with a full ring hang nobody.
 * pitfall 15: what was not released comes again, what was released does not.
 * pitfall 16: who was left behind finds out.
 * pitfall 17: nothing is taken from who is stopped.
 * pitfall 19: leftovers of the dead do not keep anybody out.
 * pitfall 22: unread data outlives its sender.
 * pitfall 31: a name is free as soon as its process is dead.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/link_util.h"
#include "util/seccomp.h"

/* ---- killed at random -------------------------------------------------------------------------------------------- */

/* What each side did for certain: noted after the call returned, so it is at most one behind. */
struct ledger {
    volatile uint64_t sent[2], released[2];
    volatile int64_t opened; /* ns from the start of a process to its link, the longest */
    volatile uint64_t answered_again;
    const char *dir;
};
enum { CLIENT, SERVER };

static struct ledger *make_ledger(const char *dir) {
    struct ledger *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_NEED(l != MAP_FAILED);
    l->dir = dir;
    return l;
}

/* The link goes on where it was: at most one call had returned to nobody. */
static void check_start(struct ledger *l, struct lw_link *link, int side, int64_t began) {
    struct lw_link_info info = tl_stat(link);
    T_NEED(info.sent - l->sent[side] <= 1);
    T_NEED(info.released - l->released[side] <= 1);
    T_NEED(info.received == info.released);
    l->sent[side] = info.sent;
    l->released[side] = info.released;
    if (t_now() - began > l->opened) l->opened = t_now() - began;
}

static void send_one(struct ledger *l, struct lw_link *link, int side) {
    T_NEED(tl_send(link, l->sent[side], LW_SEC(20)) >= 0);
    l->sent[side]++;
}

static void release_one(struct ledger *l, struct lw_link *link, int side, const struct lw_msg *m) {
    T_NEED(m->number == l->released[side] && tt_read(m) == m->number);
    T_NEED(!lw_link_release(link, m));
    l->released[side]++;
}

/* Sends requests ahead of the answers, by copy and corked by turns. */
static int client_body(void *arg) {
    struct ledger *l = arg;
    int64_t began = t_now();
    struct tl_party p = tl_party(l->dir, "alice");
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    struct lw_msg m;
    check_start(l, link, CLIENT, began);
    for (;;) {
        if (l->sent[CLIENT] % 16 == 0) lw_link_cork(link);
        while (l->sent[CLIENT] < l->released[CLIENT] + 20) send_one(l, link, CLIENT);
        lw_link_uncork(link);
        struct lw_event e;
        T_NEED(lw_group_poll(p.group, &e, 1, LW_SEC(20)) == 1);
        while (lw_link_next(link, &m, 0) == 1) release_one(l, link, CLIENT, &m);
    }
    return 0;
}

/* Lets the client in, which may be killed and come again meanwhile. */
static struct lw_link *accept_whoever_lives(const struct tl_party *p, struct lw_server *server) {
    struct lw_link *link = NULL;
    while (!link) {
        struct lw_login login = tl_login(p, server, "alice");
        int rc = lw_login_accept(&login, p->group, NULL, &link);
        T_NEED(!rc || rc == LW_ESTATE);
    }
    return link;
}

/* Answers each request once: the n-th answer is the n-th request's. */
static int server_body(void *arg) {
    struct ledger *l = arg;
    struct tl_party p = tl_party(l->dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    int64_t began = t_now();
    struct lw_link *link = accept_whoever_lives(&p, server);
    struct lw_msg m;
    check_start(l, link, SERVER, began);
    for (;;) {
        struct lw_event e;
        struct lw_login login = LW_LOGIN_INIT;
        T_NEED(lw_group_poll(p.group, &e, 1, LW_SEC(20)) == 1);
        if (e.kind == LW_LOGIN && lw_link_login(link, &login) == 1) {
            int rc = lw_login_accept(&login, NULL, NULL, NULL);
            T_NEED(!rc || rc == LW_ESTATE);
        }
        while (lw_link_next(link, &m, 0) == 1) {
            if (m.number >= l->sent[SERVER])
                send_one(l, link, SERVER);
            else
                l->answered_again++;
            release_one(l, link, SERVER, &m);
        }
    }
    return 0;
}

static void pitfall_6_and_15_killed_at_any_time_nothing_is_lost_repeated_or_renumbered(void **state) {
    struct ledger *l = make_ledger(*state);
    struct t_child side[2];
    int (*const bodies[2])(void *) = {client_body, server_body};
    for (int i = 0; i < 2; i++) side[i] = t_fork(bodies[i], l);
    for (int64_t i = 0; i < t_loops(tl_over() ? 250 : 600); i++) {
        t_sleep((int64_t)(t_random() % (t_random() % 4 ? LW_MS(4) : LW_MS(20))));
        unsigned who = 1 + (unsigned)(t_random() % 3); /* one, the other, both */
        for (int k = 0; k < 2; k++)
            if (who >> k & 1) kill(side[k].pid, SIGKILL);
        for (int k = 0; k < 2; k++) {
            if (!(who >> k & 1)) continue;
            int status = t_wait(&side[k]);
            if (status != -SIGKILL) fail_msg("%s ended by itself: %d", k ? "server" : "client", status);
            side[k] = t_fork(bodies[k], l);
        }
    }
    uint64_t goal = l->released[CLIENT] + 100;
    T_UNTIL(l->released[CLIENT] > goal);
    for (int k = 0; k < 2; k++) t_kill(&side[k]);
    print_message("%" PRIu64 " requests, %" PRIu64 " came again answered; from start to link at most %.1f ms\n",
                  l->released[CLIENT], l->answered_again, (double)l->opened / 1e6);
    struct tl_party p = tl_party(*state, "alice"); /* the rest is there, and ends where it was sent to */
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    check_start(l, link, CLIENT, t_now());
    struct lw_link_info info = tl_stat(link);
    assert_true(tl_gets_only(link, info.received, info.arrived - info.received));
    lw_link_close(link, 0, NULL);
    tl_leave(&p);
    munmap(l, sizeof *l);
}

/* ---- one after the other ----------------------------------------------------------------------------------------- */

/* A client that sends `n` messages, takes one, says so, and does what it is told: 0 waits to be killed, 1 closes. */
struct guest {
    const char *dir, *name;
    uint64_t first, n;
    bool takes;
};

static int guest_body(void *arg) {
    const struct guest *g = arg;
    struct tl_party p = tl_party(g->dir, g->name);
    struct lw_link *link = tl_open(&p, "gateway", NULL, "guest");
    tl_send_many(link, g->first, g->n);
    if (g->takes) T_NEED(tl_await(&p, LW_UP, link, NULL));
    t_say(0);
    if (!t_listen()) t_forever();
    lw_link_close(link, 4, "bye");
    tl_leave(&p);
    return 0;
}

static int host_body(void *dir) {
    struct tl_party p = tl_party(dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    t_say(0);
    struct lw_link *link = tl_accept(&p, server, "alice");
    t_say(1);
    if (!t_listen()) t_forever();
    lw_link_close(link, 4, "bye");
    lw_server_close(server);
    tl_leave(&p);
    return 0;
}

static void a_killed_server_is_told_as_dead_and_the_next_one_gets_the_name_at_once(void **state) {
    struct tl_party client = tl_party(*state, "alice"), other = tl_party(*state, "other");
    struct lw_link *link = tl_open(&client, "gateway", NULL, NULL);
    struct lw_server *server;
    int64_t worst = 0;
    for (int64_t i = 0; i < 2 + t_loops(40); i++) {
        struct lw_event e;
        int code = 5;
        struct t_child host = t_fork(host_body, *state);
        t_hear(&host);
        assert_told(tl_server_open(&server, other.group, "gateway", NULL), LW_EHELD, "server gateway", "node host",
                    tt_text("pid %d", (int)host.pid));
        tl_told(&client, LW_UP, link);
        t_hear(&host);
        if (i % 2) {
            t_tell(&host, 1);
            assert_int_equal(t_wait(&host), 0);
        } else {
            t_kill_unreaped(&host); /* a zombie is dead */
        }
        int64_t began = t_now();
        server = tl_server(&other, "gateway");
        if (t_now() - began > worst) worst = t_now() - began;
        assert_true(tl_is_told(&client, LW_DOWN, link, &e));
        assert_int_equal(e.code, i % 2 ? LW_ECLOSED : LW_EDEAD);
        const char *reason = lw_link_reason(link, &code);
        if (i % 2 || !tl_over()) { /* over a socket, else: what keeps it from connecting */
            assert_string_equal(reason, i % 2 ? "bye" : "");
            assert_int_equal(code, i % 2 ? 4 : 0);
        }
        if (i % 2 == 0) t_wait(&host);
        struct lw_link *down = tl_accept(&other, server, "alice");
        tl_told(&client, LW_UP, link);
        lw_link_close(down, 0, NULL);
        tl_told(&client, LW_DOWN, link);
        lw_server_close(server);
    }
    print_message("the name of a dead server was taken over within %.2f ms\n", (double)worst / 1e6);
    assert_true(worst < LW_SEC(2));
    lw_link_close(link, 0, NULL);
    tl_leave(&client);
    tl_leave(&other);
}

/* pitfall 31. The same name by another node, as long as the dead one is not even reaped. */
static void pitfall_31_a_killed_clients_name_is_free_at_once(void **state) {
    struct tl_party host = tl_party(*state, "host"), other = tl_party(*state, "other");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 1, true};
    struct lw_link *down = NULL, *up;
    int64_t worst = 0;
    uint64_t n = 0;
    for (int64_t i = 0; i < 2 + t_loops(40); i++) {
        struct lw_login login = LW_LOGIN_INIT;
        g.first = n++;
        struct t_child guest = t_fork(guest_body, &g);
        if (!down) {
            down = tl_accept(&host, server, "alice");
        } else {
            assert_true(tl_await(&host, LW_LOGIN, down, NULL));
            assert_int_equal(lw_link_login(down, &login), 1);
            assert_ok(lw_login_accept(&login, NULL, NULL, NULL));
        }
        assert_true(tl_await(&host, LW_UP, down, NULL));
        t_hear(&guest);
        assert_told(tl_try_open(&up, &other, "gateway", "alice"), LW_EHELD, "node alice",
                    tt_text("pid %d", (int)guest.pid));
        t_kill_unreaped(&guest);
        int64_t began = t_now();
        up = tl_open(&other, "gateway", "alice", NULL);
        if (t_now() - began > worst) worst = t_now() - began;
        assert_true(tl_await(&host, LW_DOWN, down, NULL));
        lw_link_close(up, 0, NULL);
        t_wait(&guest);
        assert_true(tl_gets_only(down, n - 1, 1));
    }
    print_message("the name of a dead client was taken over within %.2f ms\n", (double)worst / 1e6);
    assert_true(worst < LW_SEC(2));
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&other);
}

static void pitfall_22_a_server_that_starts_is_told_of_those_who_left_messages_and_went(void **state) {
    static const char *const names[] = {"killed", "closed", "empty", "read"};
    struct tl_party host = tl_party(*state, "host");
    for (int i = 0; i < 3; i++) {
        struct guest g = {*state, names[i], 0, i == 2 ? 0 : 5, false};
        struct t_child guest = t_fork(guest_body, &g);
        t_hear(&guest);
        t_tell(&guest, i == 1);
        if (i == 1) assert_int_equal(t_wait(&guest), 0);
        if (i != 1) t_kill(&guest);
    }
    for (int start = 0; start < 3; start++) { /* refused, taken, nothing left to be told */
        struct lw_server *server = tl_server(&host, "gateway");
        uint64_t seen = 0;
        for (int i = 0; i < 2 && start < 2; i++) {
            struct lw_login login = tl_login(&host, server, NULL);
            bool closed = !strcmp(login.client, "closed");
            assert_true(closed || !strcmp(login.client, "killed"));
            seen |= 1u << closed;
            assert_int_equal(login.alive, 0);
            assert_int_equal(login.unread, 5);
            assert_int_equal(login.len, closed ? 0 : 5);
            struct lw_link *down;
            if (!start) {
                assert_ok(lw_login_refuse(&login, "not now"));
                continue;
            }
            assert_ok(lw_login_accept(&login, host.group, NULL, &down));
            assert_int_equal(lw_link_state(down), LW_LINK_DOWN);
            tl_told(&host, LW_READABLE, down);
            assert_true(tl_gets_only(down, 0, 5));
            tl_send_many(down, 0, 2); /* an answer for when it comes again */
            lw_link_close(down, 0, NULL);
        }
        assert_int_equal(seen, start < 2 ? 3 : 0);
        assert_true(tl_quiet(&host, LW_MS(20)));
        lw_server_close(server);
    }
    struct lw_link *back = tl_open(&host, "gateway", "killed", NULL);
    assert_true(tl_gets_only(back, 0, 2));
    lw_link_close(back, 0, NULL);
    tl_leave(&host);
}

static void an_answer_that_comes_late_is_refused(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 1, false};
    struct lw_link *down;
    struct t_child guest = t_fork(guest_body, &g);
    t_hear(&guest);
    struct lw_login first = tl_login(&host, server, "alice");
    t_kill(&guest);
    g.first = 1;
    guest = t_fork(guest_body, &g); /* came again */
    t_hear(&guest);
    assert_told(lw_login_accept(&first, host.group, NULL, &down), LW_ESTATE, "alice");
    assert_told(lw_login_refuse(&first, "late"), LW_ESTATE, "alice");
    struct lw_login second = tl_login(&host, server, "alice");
    assert_int_equal(second.session, first.session + 1);
    assert_in_range(second.unread, tl_over() ? 1 : 2, 2); /* over a socket: when it connected */
    t_tell(&guest, 1);                                    /* and has gone in good order */
    assert_int_equal(t_wait(&guest), 0);
    tl_settle();
    assert_told(lw_login_accept(&second, host.group, NULL, &down), LW_ESTATE, "alice");
    assert_null(down);
    lw_server_close(server);
    tl_leave(&host);
}

static void the_last_login_of_a_killed_client_can_be_accepted_unless_the_link_was_removed(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 2, false};
    struct lw_link *down;
    struct t_child guest = t_fork(guest_body, &g);
    t_hear(&guest);
    struct lw_login third = tl_login(&host, server, "alice");
    t_kill(&guest); /* killed, it did not say so: what it sent can be read */
    assert_ok(lw_login_accept(&third, host.group, NULL, &down));
    assert_true(tl_gets(down, 0, 2));
    assert_int_equal(lw_link_state(down), LW_LINK_DOWN);
    lw_link_close(down, 0, NULL);
    assert_ok(tl_link_remove(host.bus, "gateway", "alice", 0, NULL));
    guest = t_fork(guest_body, &g);
    t_hear(&guest);
    struct lw_login fourth = tl_login(&host, server, "alice");
    t_kill(&guest);
    assert_ok(tl_link_remove(host.bus, "gateway", "alice", 0, NULL));
    assert_told(lw_login_accept(&fourth, host.group, NULL, &down), LW_ENOLINK, "gateway/alice", "removed");
    assert_null(down);
    assert_told(lw_login_refuse(&fourth, "late"), LW_ENOLINK, "gateway/alice", "removed");
    lw_server_close(server);
    tl_leave(&host);
}

static void a_server_closed_and_opened_again_leaves_open_links_alone_until_they_are_closed(void **state) {
    struct tl_pair p = tl_pair(*state);
    for (int i = 0; i < 3; i++) {
        lw_server_close(p.at);
        tl_send_many(p.up, 0, 3);
        assert_true(tl_gets_only(p.down, 0, 3));
        p.at = tl_server(&p.server, "gateway");
        assert_true(tl_quiet(&p.server, LW_MS(20)) && tl_quiet(&p.client, 0));
        lw_link_close(p.down, 0, NULL);
        tl_told(&p.client, LW_DOWN, p.up);
        p.down = tl_accept(&p.server, p.at, "alice");
        tl_told(&p.server, LW_UP, p.down);
        tl_told(&p.client, LW_UP, p.up);
    }
    tl_pair_end(&p);
}

/* The link stays with who has it; the name of the server goes to another process. */
static void links_of_a_server_that_went_are_the_next_ones_when_they_are_closed(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct tl_party next = tl_party(*state, "next");
    lw_server_close(p.at);
    p.at = tl_server(&next, "gateway");
    struct lw_login login = tl_login(&next, p.at, "alice");
    struct lw_link *down;
    assert_told(lw_login_accept(&login, next.group, NULL, &down), LW_EHELD, "link gateway/alice", "node host");
    tl_send_many(p.up, 0, 3);
    assert_true(tl_gets_only(p.down, 0, 3));
    lw_link_close(p.down, 0, NULL);
    p.down = tl_accept(&next, p.at, "alice"); /* told once more */
    assert_true(tl_await(&p.client, LW_UP, p.up, NULL));
    lw_link_close(p.down, 0, NULL);
    p.down = NULL;
    lw_server_close(p.at);
    p.at = NULL;
    tl_leave(&next);
    tl_pair_end(&p);
}

static int keeps_link_body(void *dir) {
    struct tl_party p = tl_party(dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    t_say(0);
    tl_accept(&p, server, "alice");
    lw_server_close(server);
    t_say(1);
    t_forever();
}

static void a_link_that_another_process_keeps_is_told_again_when_that_one_is_dead(void **state) {
    struct t_child keeper = t_fork(keeps_link_body, *state);
    t_hear(&keeper);
    struct tl_party client = tl_party(*state, "alice"), next = tl_party(*state, "next");
    struct lw_link *up = tl_open(&client, "gateway", NULL, NULL), *down;
    t_hear(&keeper);
    struct lw_server *server = tl_server(&next, "gateway");
    struct lw_login login = tl_login(&next, server, "alice");
    assert_told(lw_login_accept(&login, next.group, NULL, &down), LW_EHELD, "node host",
                tt_text("pid %d", (int)keeper.pid));
    t_kill(&keeper);
    down = tl_accept(&next, server, "alice");
    assert_true(tl_await(&client, LW_UP, up, NULL));
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&next);
}

/* ---- died while it said something -------------------------------------------------------------------------------- */

static void poke_turn(const char *dir, const char *way) {
    char path[TT_PATH];
    uint64_t turn;
    tt_peek(tl_lane(path, dir, "gateway", "alice", way), TL_TURN, &turn, sizeof turn);
    turn |= 1;
    tt_poke(path, TL_TURN, &turn, sizeof turn);
}

static uint64_t polls_of(const struct tl_party *p) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    T_NEED(!lw_group_stat(p->group, &stats));
    return stats.sleeps;
}

static void who_died_half_way_through_its_words_is_dead_and_keeps_nobody_busy(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 5, true};
    struct lw_event e;
    struct t_child guest = t_fork(guest_body, &g);
    struct lw_link *down = tl_accept(&host, server, "alice");
    tl_told(&host, LW_UP, down);
    t_hear(&guest);
    assert_true(tl_gets(down, 0, 2));
    t_stop(&guest);
    poke_turn(*state, "up"); /* as if it had been stopped there */
    struct lw_msg m;
    for (int i = 0; i < 3; i++) assert_int_equal(lw_link_next(down, &m, 0), 1);
    assert_true(tl_quiet(&host, LW_MS(50)));
    assert_int_equal(lw_link_state(down), LW_LINK_UP); /* stopped is alive */
    lw_link_rewind(down);
    t_kill(&guest);
    assert_true(tl_await(&host, LW_DOWN, down, &e));
    assert_int_equal(e.code, LW_EDEAD);
    assert_string_equal(lw_link_reason(down, NULL), "");
    for (int i = 0; i < 3; i++) assert_int_equal(lw_link_next(down, &m, 0), 1);
    uint64_t before = polls_of(&host);
    assert_true(tl_quiet(&host, LW_MS(100)));
    assert_in_range(polls_of(&host) - before, 1, 20); /* it sleeps */
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    server = tl_server(&host, "gateway"); /* a server that starts finds what it left */
    struct lw_login login = tl_login(&host, server, "alice");
    assert_int_equal(login.alive, 0);
    assert_int_equal(login.unread, 3);
    assert_int_equal(login.len, 0);
    assert_ok(lw_login_accept(&login, host.group, NULL, &down));
    assert_true(tl_gets_only(down, 2, 3));
    guest = t_fork(guest_body, &g); /* and the next of its name is whole */
    assert_true(tl_await(&host, LW_LOGIN, down, NULL));
    assert_int_equal(lw_link_login(down, &login), 1);
    assert_ok(lw_login_accept(&login, NULL, NULL, NULL));
    t_hear(&guest);
    t_kill(&guest);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
}

static void a_server_that_died_half_way_through_its_answer_is_followed_by_the_next(void **state) {
    struct tl_party client = tl_party(*state, "alice");
    struct lw_link *link = tl_open(&client, "gateway", NULL, NULL);
    struct lw_event e;
    for (int i = 0; i < 2; i++) {
        struct t_child host = t_fork(host_body, *state);
        t_hear(&host);
        tl_told(&client, LW_UP, link);
        t_hear(&host);
        t_stop(&host);
        poke_turn(*state, "down");
        assert_true(tl_quiet(&client, LW_MS(20)));
        t_kill(&host);
        assert_true(tl_is_told(&client, LW_DOWN, link, &e));
        assert_int_equal(e.code, LW_EDEAD);
        uint64_t before = polls_of(&client);
        assert_true(tl_quiet(&client, LW_MS(100)));
        assert_in_range(polls_of(&client) - before, 1, 20);
    }
    lw_link_close(link, 0, NULL);
    tl_leave(&client);
}

/* ---- out of descriptors ------------------------------------------------------------------------------------------ */

static void a_login_that_can_not_be_looked_at_for_want_of_descriptors_is_told_later(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 1, true};
    struct rlimit before, none;
    struct t_child guest = t_fork(guest_body, &g);
    t_sleep(LW_MS(20));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool quiet = tl_quiet(&host, LW_MS(1500));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(quiet);
    struct lw_link *down = tl_accept(&host, server, "alice");
    t_hear(&guest);
    t_kill(&guest);
    assert_true(tl_gets_only(down, 0, 1));
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
}

/* ---- nothing is heard ------------------------------------------------------------------------------------------- */

/* As where no inotify instance is to be had. */
static bool go_deaf(void) {
    t_refuse(SYS_inotify_init1, EMFILE);
    return inotify_init1(IN_CLOEXEC) < 0;
}

enum { DEAF = 3 };
static int deaf_host_body(void *dir) {
    bool deaf = go_deaf();
    t_say(deaf);
    if (!deaf) return 0;
    struct tl_party host = tl_party(dir, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_event e;
    for (int i = 0; i < DEAF; i++) {
        t_say(0);
        struct lw_link *down = tl_accept(&host, server, "alice");
        T_NEED(tl_await(&host, LW_UP, down, NULL));
        t_say(1);
        T_NEED(tl_await(&host, LW_DOWN, down, &e) && e.code == LW_EDEAD);
        T_NEED(tl_gets_only(down, 0, 1));
        lw_link_close(down, 0, NULL);
    }
    lw_server_close(server);
    tl_leave(&host);
    return 0;
}

static void without_inotify_logins_and_deaths_are_found_all_the_same(void **state) {
    struct guest g = {*state, "alice", 0, 1, true};
    struct t_child host = t_fork(deaf_host_body, *state);
    if (!t_hear(&host)) t_skip(__func__, "needs filters of system calls");
    for (int i = 0; i < DEAF; i++) {
        t_hear(&host);
        struct t_child guest = t_fork(guest_body, &g);
        t_hear(&guest);
        t_hear(&host);
        t_kill(&guest);
    }
    assert_int_equal(t_wait(&host), 0);
}

/* ---- stopped, and dead with a full ring -------------------------------------------------------------------------- */

static void pitfall_17_a_stopped_side_keeps_its_name_and_its_place(void **state) {
    struct tl_party host = tl_party(*state, "host"), other = tl_party(*state, "other");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 5, true};
    struct t_child guest = t_fork(guest_body, &g);
    struct lw_link *down = tl_accept(&host, server, "alice"), *no;
    tl_told(&host, LW_UP, down);
    t_hear(&guest);
    t_stop(&guest);
    for (int i = 0; i < 3; i++)
        assert_told(tl_try_open(&no, &other, "gateway", "alice"), LW_EHELD, tt_text("pid %d", (int)guest.pid));
    assert_told(tl_link_remove(other.bus, "gateway", "alice", 0, NULL), LW_EHELD, tt_text("pid %d", (int)guest.pid));
    assert_true(tl_gets_only(down, 0, 5));
    uint64_t n = tl_send_all(down, 0);
    assert_told(tl_send(down, n, LW_MS(20)), LW_EFULL, tl_over() ? "on another host" : "alive", "must");
    assert_int_equal(lw_link_state(down), LW_LINK_UP);
    t_go_on(&guest);
    t_tell(&guest, 1);
    assert_int_equal(t_wait(&guest), 0);
    assert_true(tl_await(&host, LW_DOWN, down, NULL));
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
    tl_leave(&other);
}

static void pitfall_14_a_dead_client_with_a_full_ring_hangs_nobody(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct guest g = {*state, "alice", 0, 1, true}, b = {*state, "bob", 0, 1, true};
    struct t_child alice = t_fork(guest_body, &g);
    struct lw_link *down = tl_accept(&host, server, "alice");
    struct t_child bob = t_fork(guest_body, &b);
    struct lw_link *other = tl_accept(&host, server, "bob");
    t_hear(&alice);
    t_hear(&bob);
    uint64_t n = tl_send_all(down, 0);
    t_kill(&alice);
    assert_true(tl_await(&host, LW_DOWN, down, NULL));
    int64_t began = t_now();
    assert_told(tl_send(down, n, LW_MS(50)), LW_EFULL, "client", "laneway rm links");
    assert_true(t_now() - began < LW_SEC(2));
    assert_ok(tl_send(other, 0, 0)); /* nobody else waits for it */
    t_kill(&bob);
    lw_link_close(other, 0, NULL);
    lw_link_close(down, 0, NULL);
    struct tl_party again = tl_party(*state, "alice"); /* and all of it is there when it comes again */
    struct lw_link *up = tl_open(&again, "gateway", NULL, NULL);
    down = tl_over() ? tl_accept(&host, server, "alice") : NULL; /* from another host it comes when it is let in */
    assert_true(tl_gets_only(up, 0, n));
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    tl_leave(&again);
    lw_server_close(server);
    tl_leave(&host);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(pitfall_6_and_15_killed_at_any_time_nothing_is_lost_repeated_or_renumbered),
        t_test(a_killed_server_is_told_as_dead_and_the_next_one_gets_the_name_at_once),
        t_test(pitfall_31_a_killed_clients_name_is_free_at_once),
        t_test(an_answer_that_comes_late_is_refused),
        t_test(a_server_closed_and_opened_again_leaves_open_links_alone_until_they_are_closed),
        t_test(pitfall_17_a_stopped_side_keeps_its_name_and_its_place),
        t_test(pitfall_14_a_dead_client_with_a_full_ring_hangs_nobody),
    };
    const struct CMUnitTest shared_memory_only[] = {
        t_test(a_login_that_can_not_be_looked_at_for_want_of_descriptors_is_told_later),
        t_test(pitfall_22_a_server_that_starts_is_told_of_those_who_left_messages_and_went),
        t_test(the_last_login_of_a_killed_client_can_be_accepted_unless_the_link_was_removed),
        t_test(a_link_that_another_process_keeps_is_told_again_when_that_one_is_dead),
        t_test(links_of_a_server_that_went_are_the_next_ones_when_they_are_closed),
        t_test(who_died_half_way_through_its_words_is_dead_and_keeps_nobody_busy),
        t_test(a_server_that_died_half_way_through_its_answer_is_followed_by_the_next),
        t_test(without_inotify_logins_and_deaths_are_found_all_the_same),
    };
    return tl_run(everywhere, shared_memory_only);
}

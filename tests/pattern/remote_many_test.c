/* SPDX-License-Identifier: MIT */
/* Links over TCP among others: in a loop of another kind, moved from thread to thread, hundreds at once, and where there
 * is no descriptor left for them. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/link_util.h"

/* ---- a loop of another kind -------------------------------------------------------------------------------------- */

struct caller {
    const char *dir, *address;
};

/* In a loop of another kind, on the group's descriptor alone. */
static bool turns_up(const struct tl_party *p, enum lw_event_kind kind) {
    for (int64_t end = t_now() + LW_SEC(20); t_now() < end;) {
        struct pollfd fd = {.fd = lw_group_fd(p->group), .events = POLLIN};
        struct lw_event e;
        if (lw_group_arm(p->group) == 0) T_NEED(poll(&fd, 1, 20000) == 1);
        if (lw_group_poll(p->group, &e, 1, 0) == 1 && e.kind == kind) return true;
    }
    return false;
}

static int outer_loop_body(void *arg) {
    const struct caller *c = arg;
    struct tl_party p = tl_party(c->dir, "alice");
    struct lw_link *link = tl_open(&p, c->address, NULL, NULL);
    t_meanwhile = NULL; /* nobody else drives it */
    T_NEED(turns_up(&p, LW_UP));
    T_NEED(lw_link_send(link, 1, "ask", 3, 0) >= 0);
    T_NEED(turns_up(&p, LW_READABLE));
    t_say(1);
    T_NEED(turns_up(&p, LW_DOWN));
    return 0;
}

static void a_loop_of_another_kind_is_woken_by_the_socket_and_in_time_to_connect_again(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct caller c = {.dir = tl_far(*state), .address = tl_address(host.bus, "gateway")};
    struct t_child child = t_fork(outer_loop_body, &c);
    t_sleep(LW_MS(30)); /* it has tried in vain, most likely */
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *down = tl_accept(&host, server, "alice");
    assert_true(tl_await(&host, LW_READABLE, down, NULL));
    assert_ok(lw_link_send(down, 1, "answer", 6, 0));
    assert_int_equal(t_hear(&child), 1);
    lw_link_close(down, 0, NULL);
    assert_int_equal(t_wait(&child), 0);
    lw_server_close(server);
    tl_leave(&host);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

struct relay {
    struct lw_group *groups[2];
    struct lw_link *link;
    uint64_t rounds, received, moves;
    int over; /* atomic */
};
struct runner {
    struct relay *relay;
    int index;
};

/* Whoever has the link asks, takes the answers, and hands it on. */
static void *run(void *arg) {
    const struct runner *w = arg;
    struct relay *r = w->relay;
    struct lw_event e;
    while (!__atomic_load_n(&r->over, __ATOMIC_SEQ_CST)) {
        int rc = lw_group_poll(r->groups[w->index], &e, 1, LW_SEC(5));
        T_NEED(rc >= 0 || rc == -EINTR);
        if (rc < 1 || (e.kind != LW_READABLE && e.kind != LW_UP)) continue;
        struct lw_msg m;
        while (lw_link_next(r->link, &m, 0) == 1) {
            T_NEED(tt_read(&m) == r->received++);
            T_NEED(!lw_link_release(r->link, &m));
        }
        if (r->received == r->rounds) {
            __atomic_store_n(&r->over, 1, __ATOMIC_SEQ_CST);
            lw_group_wake(r->groups[!w->index]);
            break;
        }
        for (uint64_t sent = tl_stat(r->link).sent; sent < r->received + 16 && sent < r->rounds; sent++)
            T_NEED(tl_send(r->link, sent, LW_SEC(20)) >= 0);
        r->moves++;
        T_NEED(!lw_link_move(r->link, r->groups[!w->index], NULL));
    }
    return NULL;
}

static int echo_all_body(void *dir) {
    struct tl_party p = tl_party(dir, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    t_say(0);
    struct lw_link *link = tl_accept(&p, server, "alice");
    for (;;) {
        struct lw_event e;
        struct lw_msg m;
        T_NEED(lw_group_poll(p.group, &e, 1, LW_SEC(20)) == 1);
        if (e.kind == LW_DOWN) return 0;
        while (lw_link_next(link, &m, 0) == 1) {
            T_NEED(lw_link_send(link, m.type, m.data, m.len, LW_SEC(20)) >= 0);
            T_NEED(!lw_link_release(link, &m));
        }
    }
}

static void a_clients_link_is_moved_between_threads_while_messages_flow(void **state) {
    struct t_child host = t_fork(echo_all_body, *state);
    struct lw_bus *bus = tt_bus(tl_far(*state), "alice"), *theirs = tt_bus(*state, NULL);
    struct relay r = {.rounds = 200 + (uint64_t)t_loops(20000)};
    struct runner w[2] = {{&r, 0}, {&r, 1}};
    pthread_t threads[2];
    t_hear(&host);
    for (int i = 0; i < 2; i++) assert_ok(lw_group_open(&r.groups[i], bus, NULL));
    assert_ok(tl_link_open(&r.link, r.groups[0], tl_address(theirs, "gateway"), NULL));
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, run, &w[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(r.received, r.rounds);
    assert_true(r.moves > 5);
    assert_int_equal(tl_stat(r.link).connections, 1);
    lw_link_close(r.link, 0, NULL);
    for (int i = 0; i < 2; i++) assert_ok(lw_group_close(r.groups[i]));
    assert_int_equal(t_wait(&host), 0);
    print_message("%" PRIu64 " moves\n", r.moves);
    assert_ok(lw_bus_close(theirs));
    assert_ok(lw_bus_close(bus));
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

enum { MANY = 300 };

static void raise_limit(void) {
    struct rlimit limit;
    T_NEED(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    T_NEED(!setrlimit(RLIMIT_NOFILE, &limit));
}

/* One turn of the server's loop. */
static void serve(const struct tl_party *host, struct lw_server *server, int *up, int *gone) {
    struct lw_event e[16];
    struct lw_msg m;
    struct lw_login login = LW_LOGIN_INIT;
    int n = lw_group_poll(host->group, e, 16, 0);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        if (e[i].kind == LW_LOGIN)
            while (lw_server_login(server, &login) == 1) assert_ok(lw_login_accept(&login, host->group, NULL, NULL));
        *up += e[i].kind == LW_UP;
        while (e[i].kind == LW_READABLE && lw_link_next(e[i].link, &m, 0) == 1) {
            assert_ok(lw_link_send(e[i].link, m.type, m.data, m.len, 0));
            assert_ok(lw_link_release(e[i].link, &m));
        }
        if (e[i].kind != LW_DOWN) continue;
        lw_link_close(e[i].link, 0, NULL);
        ++*gone;
    }
}

static void three_hundred_links_to_one_server_in_one_thread(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "crowd"), host = tl_party(*state, "host");
    static struct lw_link *links[MANY];
    int up = 0, gone = 0, answers = 0, n = getenv("LW_TEST_SHORT") ? MANY / 3 : MANY;
    raise_limit();
    struct lw_server *server = tl_server(&host, "gateway");
    int before = t_descriptors();
    for (int i = 0; i < n; i++) {
        links[i] = tl_open(&client, tl_address(host.bus, "gateway"), tt_text("c%d", i), NULL);
        assert_ok(tl_send(links[i], (uint64_t)i, 0));
    }
    int64_t end = t_now() + LW_SEC(60);
    while (answers < n) {
        struct lw_event e;
        struct lw_msg m;
        assert_true(t_now() < end);
        serve(&host, server, &up, &gone);
        if (lw_group_poll(client.group, &e, 1, 0) < 1 || e.kind != LW_READABLE) continue;
        assert_int_equal(lw_link_next(e.link, &m, 0), 1);
        assert_ptr_equal(links[tt_read(&m)], e.link);
        assert_ok(lw_link_release(e.link, &m));
        answers++;
    }
    assert_int_equal(gone, 0);
    for (int i = 0; i < n; i++) assert_int_equal(lw_link_state(links[i]), LW_LINK_UP);
    for (int i = 0; i < n; i++) lw_link_close(links[i], 0, NULL);
    for (end = t_now() + LW_SEC(60); gone < n; serve(&host, server, &up, &gone)) assert_true(t_now() < end);
    assert_int_equal(up, n);
    assert_int_equal(t_descriptors(), before);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

/* ---- no descriptors ---------------------------------------------------------------------------------------------- */

static int caller_body(void *arg) {
    const struct caller *c = arg;
    struct tl_party p = tl_party(c->dir, "alice");
    struct lw_link *link = tl_open(&p, c->address, NULL, NULL);
    tl_send_many(link, 0, 3);
    T_NEED(tl_await(&p, LW_UP, link, NULL));
    T_NEED(tl_gets(link, 0, 3));
    t_say(0);
    t_forever();
}

static uint64_t sleeps_of(const struct tl_party *p) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    T_NEED(!lw_group_stat(p->group, &stats));
    return stats.sleeps;
}

static void a_server_without_descriptors_sleeps_and_lets_in_who_waits_when_it_has_some(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct caller c = {.dir = tl_far(*state), .address = tl_address(host.bus, "gateway")};
    struct lw_server *server = tl_server(&host, "gateway");
    struct rlimit before, none;
    struct t_child caller = t_fork(caller_body, &c);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t slept = sleeps_of(&host);
    bool quiet = tl_quiet(&host, LW_MS(300));
    slept = sleeps_of(&host) - slept;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(quiet);
    assert_in_range(slept, 1, 50);
    struct lw_link *down = tl_accept(&host, server, "alice");
    tl_send_many(down, 0, 3);
    t_hear(&caller);
    assert_true(tl_gets_only(down, 0, 3));
    t_kill(&caller);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_loop_of_another_kind_is_woken_by_the_socket_and_in_time_to_connect_again),
        t_test(a_clients_link_is_moved_between_threads_while_messages_flow),
        t_test(three_hundred_links_to_one_server_in_one_thread),
        t_test(a_server_without_descriptors_sleeps_and_lets_in_who_waits_when_it_has_some),
    };
    setenv("LW_TEST_LINKS", "tcp", 1);
    cmocka_set_test_filter(getenv("LW_TEST_CASE"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Links of many: two hundred clients at once, links that are handed from thread to thread, peers that sleep. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "util/link_util.h"

/* ---- asleep ------------------------------------------------------------------------------------------------------ */

static bool sleeps_until(const struct tl_party *p, enum lw_event_kind kind, const void *handle) {
    t_say(0);
    T_NEED(tl_await(p, kind, handle, NULL));
    t_say(1);
    return t_listen();
}

/* Says when it is going to sleep, and what woke it. */
static int sleeping_client_body(void *dir) {
    struct tl_party p = tl_party(dir, "alice");
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    sleeps_until(&p, LW_UP, link);
    sleeps_until(&p, LW_DOWN, link);
    lw_link_close(link, 0, NULL);
    link = tl_open(&p, "gateway", NULL, NULL);
    sleeps_until(&p, LW_REFUSED, link);
    return 0;
}

static int64_t woken(struct t_child *child) {
    int64_t began = t_now();
    assert_int_equal(t_hear(child), 1);
    t_tell(child, 0);
    return t_now() - began;
}

/* A tick comes after a second; each of these is rung for. */
static void whatever_is_said_wakes_the_other_side_at_once(void **state) {
    int64_t slow = 0;
    for (int64_t i = 0; i < 1 + t_loops(10); i++) {
        struct tl_party host = tl_party(*state, "host");
        struct lw_server *server = tl_server(&host, "gateway");
        struct t_child child = t_fork(sleeping_client_body, *state);
        struct lw_link *down;
        struct lw_login login;
        t_hear(&child);
        login = tl_login(&host, server, "alice"); /* this one came while we slept, too */
        t_sleep(LW_MS(30));
        assert_ok(lw_login_accept(&login, host.group, NULL, &down));
        slow += woken(&child) > LW_MS(400);
        t_hear(&child);
        t_sleep(LW_MS(30));
        lw_link_close(down, 0, NULL);
        slow += woken(&child) > LW_MS(400);
        t_hear(&child);
        login = tl_login(&host, server, "alice");
        t_sleep(LW_MS(30));
        assert_ok(lw_login_refuse(&login, "no"));
        slow += woken(&child) > LW_MS(400);
        assert_int_equal(t_wait(&child), 0);
        lw_server_close(server);
        tl_leave(&host);
    }
    assert_true(slow <= 1); /* a busy machine */
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

struct crowd {
    const char *dir;
    int index;
};

static int one_of_many_body(void *arg) {
    const struct crowd *c = arg;
    struct tl_party p = tl_party(c->dir, tt_text("n%d", c->index));
    struct lw_link *link = tl_open(&p, "gateway", tt_text("c%d", c->index), NULL);
    tl_send_many(link, (uint64_t)c->index, 1);
    T_NEED(tl_await(&p, LW_UP, link, NULL));
    T_NEED(tl_gets_only(link, (uint64_t)c->index, 1));
    lw_link_close(link, 0, NULL);
    tl_leave(&p);
    return 0;
}

static void two_hundred_clients_at_once_while_the_server_is_busy(void **state) {
    enum { N = 200 };
    static struct t_child children[N];
    static struct crowd crowd[N];
    struct tl_party host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    int n = getenv("LW_TEST_SHORT") ? 60 : N, done = 0;
    for (int i = 0; i < n; i++) {
        crowd[i] = (struct crowd){*state, i};
        children[i] = t_fork(one_of_many_body, &crowd[i]);
    }
    t_sleep(LW_MS(50)); /* does something else */
    while (done < n) {
        struct lw_event e[7];
        struct lw_login login = LW_LOGIN_INIT;
        struct lw_msg m;
        int rc = lw_group_poll(host.group, e, 7, LW_SEC(20));
        assert_true(rc > 0);
        for (int i = 0; i < rc; i++) {
            if (e[i].kind == LW_LOGIN)
                while (lw_server_login(server, &login) == 1) assert_ok(lw_login_accept(&login, host.group, NULL, NULL));
            if (e[i].kind == LW_READABLE)
                while (lw_link_next(e[i].link, &m, 0) == 1) {
                    assert_ok(tl_send(e[i].link, tt_read(&m), 0));
                    assert_ok(lw_link_release(e[i].link, &m));
                }
            if (e[i].kind != LW_DOWN) continue;
            lw_link_close(e[i].link, 0, NULL);
            done++;
        }
    }
    for (int i = 0; i < n; i++) assert_int_equal(t_wait(&children[i]), 0);
    lw_server_close(server);
    tl_leave(&host);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

enum { WORKERS = 3, CLIENTS = 4, EACH = 3 }; /* threads of the server, of clients, links of each client */

struct office {
    const char *dir;
    struct lw_bus *bus;
    struct lw_group *groups[WORKERS];
    uint64_t rounds;
    int over, closed; /* atomic */
    uint64_t moves;
};
struct worker {
    struct office *office;
    int index;
};

static void echo(struct lw_link *link) {
    struct lw_msg m;
    while (lw_link_next(link, &m, 0) == 1) {
        T_NEED(tl_send(link, tt_read(&m), LW_SEC(20)) >= 0);
        T_NEED(!lw_link_release(link, &m));
    }
}

/* Echoes, and hands the link on to another thread now and then. */
static void *work(void *arg) {
    struct worker *w = arg;
    struct office *o = w->office;
    struct lw_event e;
    uint64_t n = (uint64_t)w->index * 77;
    for (;;) {
        int rc = lw_group_poll(o->groups[w->index], &e, 1, LW_SEC(5));
        T_NEED(rc >= 0 || rc == -EINTR);
        if (rc > 0 && e.kind == LW_READABLE) {
            echo(e.link);
            if (++n % 5) continue;
            T_NEED(!lw_link_move(e.link, o->groups[n % WORKERS], NULL));
            __atomic_fetch_add(&o->moves, 1, __ATOMIC_RELAXED);
        }
        if (rc > 0 && e.kind == LW_DOWN) {
            lw_link_close(e.link, 0, NULL);
            __atomic_fetch_add(&o->closed, 1, __ATOMIC_SEQ_CST);
        }
        if (__atomic_load_n(&o->over, __ATOMIC_SEQ_CST)) return NULL;
    }
}

/* Each with a bus of its own, as processes are. */
static void *ask(void *arg) {
    struct worker *w = arg;
    struct tl_party p = tl_party(w->office->dir, tt_text("client%d", w->index));
    struct lw_link *links[EACH];
    for (int i = 0; i < EACH; i++) links[i] = tl_open(&p, "gateway", tt_text("c%d.%d", w->index, i), NULL);
    for (uint64_t n = 0; n < w->office->rounds; n++) {
        for (uint64_t i = 0; i < EACH; i++) tl_send_many(links[i], n * 10 + i, 3);
        for (uint64_t i = 0; i < EACH; i++) T_NEED(tl_gets(links[i], n * 10 + i, 3));
    }
    for (int i = 0; i < EACH; i++) lw_link_close(links[i], 0, NULL);
    tl_leave(&p);
    return NULL;
}

static void serve(struct office *o, const struct tl_party *host, struct lw_server *server) {
    for (int left = CLIENTS * EACH, i = 0; left; left--, i++) {
        struct lw_login login = tl_login(host, server, NULL);
        T_NEED(!lw_login_accept(&login, o->groups[i % WORKERS], NULL, NULL));
    }
}

static void links_are_accepted_into_and_moved_between_threads_while_traffic_runs(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct office o = {.dir = *state, .bus = host.bus, .rounds = 20 + (uint64_t)t_loops(1000)};
    struct lw_server *server = tl_server(&host, "gateway");
    pthread_t workers[WORKERS], clients[CLIENTS];
    struct worker w[WORKERS], c[CLIENTS];
    for (int i = 0; i < WORKERS; i++) assert_ok(lw_group_open(&o.groups[i], host.bus, NULL));
    for (int i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){&o, i};
        assert_int_equal(pthread_create(&workers[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        c[i] = (struct worker){&o, i};
        assert_int_equal(pthread_create(&clients[i], NULL, ask, &c[i]), 0);
    }
    serve(&o, &host, server);
    for (int i = 0; i < CLIENTS; i++) pthread_join(clients[i], NULL);
    T_UNTIL(__atomic_load_n(&o.closed, __ATOMIC_SEQ_CST) == CLIENTS * EACH); /* each was closed by whoever had it */
    __atomic_store_n(&o.over, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < WORKERS; i++) lw_group_wake(o.groups[i]);
    for (int i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
    for (int i = 0; i < WORKERS; i++) assert_ok(lw_group_close(o.groups[i]));
    print_message("%" PRIu64 " moves\n", o.moves);
    lw_server_close(server);
    tl_leave(&host);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(whatever_is_said_wakes_the_other_side_at_once),
        t_test(two_hundred_clients_at_once_while_the_server_is_busy),
        t_test(links_are_accepted_into_and_moved_between_threads_while_traffic_runs),
    };
    return tl_run_cases(everywhere, sizeof everywhere / sizeof *everywhere, NULL, 0);
}

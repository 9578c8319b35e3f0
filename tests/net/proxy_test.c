/* SPDX-License-Identifier: MIT */
/* The proxy that tests of links over TCP make their networks of (util/proxy.h), with bare sockets: what passes, cuts.
 * Other faults are in proxy_fault_test.c. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/socket_util.h"

/* ---- without faults ---------------------------------------------------------------------------------------------- */

static void bytes_and_ends_pass_both_ways(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int first = 0; first < 2; first++) {
        struct ts_ends e = ts_join(&n);
        ts_say(e.fd[0], 0, 100);
        ts_hear(e.fd[1], 0, 100);
        ts_say(e.fd[1], 0, 5000);
        ts_hear(e.fd[0], 0, 5000);
        assert_int_equal(proxy_count(n.proxy).live, 1);
        shutdown(e.fd[first], SHUT_WR);
        ts_ends(e.fd[1 - first], 0, 0, 0);
        ts_say(e.fd[1 - first], 7, 100); /* the other direction goes on */
        ts_hear(e.fd[first], 7, 107);
        close(e.fd[1 - first]);
        ts_ends(e.fd[first], 0, 0, 0);
        close(e.fd[first]);
        T_UNTIL(!proxy_count(n.proxy).live);
    }
    struct proxy_counts c = proxy_count(n.proxy);
    assert_int_equal(c.connections, 2);
    assert_int_equal(c.cuts, 0);
    assert_int_equal(c.bytes[0], 300);
    assert_int_equal(c.bytes[1], 10100);
    assert_int_equal(c.last[0], 200);
    assert_int_equal(c.last[1], 5000);
    ts_close(&n);
}

static void a_peers_reset_passes_as_a_reset_behind_its_bytes(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int who = 0; who < 2; who++) {
        struct ts_ends e = ts_join(&n);
        ts_say(e.fd[who], 0, 1000);
        ts_hear(e.fd[1 - who], 0, 1000);
        ts_reset(e.fd[who]);
        ts_ends(e.fd[1 - who], 1000, 1000, TS_RST);
        close(e.fd[1 - who]);
        /* and one that comes after the end: there was something left to read */
        e = ts_join(&n);
        ts_say(e.fd[1 - who], 0, 10);
        ts_hear(e.fd[who], 0, 1);
        shutdown(e.fd[who], SHUT_WR);
        ts_ends(e.fd[1 - who], 0, 0, 0);
        ts_reset(e.fd[who]);
        T_UNTIL(!proxy_count(n.proxy).live);
        close(e.fd[1 - who]);
    }
    assert_int_equal(proxy_count(n.proxy).cuts, 0);
    ts_close(&n);
}

static void much_passes_unharmed_both_ways_at_once(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    struct ts_ends e = ts_join(&n);
    struct ts_talk talks[2] = {{e.fd[0], (size_t)t_loops(64) << 20}, {e.fd[1], (size_t)t_loops(20) << 20}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, ts_say_all, &talks[i]), 0);
    size_t had[2] = {0};
    while (had[0] < talks[0].bytes || had[1] < talks[1].bytes)
        for (int i = 0; i < 2; i++) {
            size_t left = talks[i].bytes - had[i], some = left < 1 << 18 ? left : 1 << 18;
            ts_hear(e.fd[1 - i], had[i], had[i] + some);
            had[i] += some;
        }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(proxy_count(n.proxy).last[i], talks[i].bytes);
    }
    ts_part(&e);
    ts_close(&n);
}

static void a_unix_socket_is_an_upstream_too(void **state) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char upstream[T_PATH];
    snprintf(a.sun_path, sizeof a.sun_path, "%s", (const char *)*state);
    struct ts_net n = {.listener = ts_listen((struct sockaddr *)&a, sizeof a)};
    snprintf(upstream, sizeof upstream, "unix:%s", a.sun_path);
    n.proxy = proxy_start(upstream);
    assert_non_null(n.proxy);
    for (int dir = 0; dir < 2; dir++)
        for (int what = CUT_RST; what <= CUT_FIN; what++)
            for (int64_t at = 0; at < 20; at++) {
                struct ts_ends e =
                    ts_join_with(&n, (struct proxy_plan){.dir = dir, .at = at, .what = (enum proxy_fault)what});
                ts_say(e.fd[dir], 0, 50);
                int how;
                assert_int_equal(ts_hear_all(e.fd[1 - dir], 0, &how), at);
                ts_part(&e);
            }
    ts_close(&n);
}

static void a_backlog_that_is_full_is_waited_for(void **state) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char upstream[T_PATH];
    enum { N = 10 };
    struct ts_ends e[N];
    snprintf(a.sun_path, sizeof a.sun_path, "%s", (const char *)*state);
    struct ts_net n = {.listener = ts_listen((struct sockaddr *)&a, sizeof a)};
    assert_int_equal(listen(n.listener, 1), 0);
    snprintf(upstream, sizeof upstream, "unix:%s", a.sun_path);
    n.proxy = proxy_start(upstream);
    assert_non_null(n.proxy);
    for (size_t i = 0; i < N; i++) {
        e[i].fd[0] = ts_connect(&n);
        ts_say(e[i].fd[0], i, 1);
    }
    T_UNTIL(proxy_count(n.proxy).connections == N);
    bool seen[N] = {false};
    for (size_t i = 0; i < N; i++) {
        signed char which;
        e[i].fd[1] = ts_patient(accept(n.listener, NULL, NULL));
        assert_int_equal(recv(e[i].fd[1], &which, 1, 0), 1);
        assert_true(which >= 0 && which < N && !seen[(size_t)which]);
        seen[(size_t)which] = true;
    }
    for (size_t i = 0; i < N; i++) ts_part(&e[i]);
    ts_close(&n);
}

static void without_a_server_clients_are_reset_and_later_ones_are_not(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    struct sockaddr_in a = ts_at_port(n.port);
    const int on = 1;
    close(n.listener);
    int fd = ts_connect(&n);
    if (fd >= 0) ts_ends(fd, 0, 0, TS_RST);
    if (fd >= 0) close(fd);
    n.listener = ts_patient(socket(AF_INET, SOCK_STREAM, 0));
    assert_int_equal(setsockopt(n.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(n.listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(n.listener, 10), 0);
    struct ts_ends e = ts_join(&n);
    ts_say(e.fd[0], 0, 10);
    ts_hear(e.fd[1], 0, 10);
    ts_part(&e);
    ts_close(&n);
}

static void what_is_no_upstream_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:0",
                                      "127.0.0.1:65536",
                                      "host:80",
                                      "127.0.0.1:80x",
                                      "1.2.3.4.5.6.7.8.9:1",
                                      "unix:",
                                      ":80",
                                      "127.0.0.1:-1"};
    int before = t_descriptors();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(proxy_start(bad[i]));
        assert_int_equal(errno, EINVAL);
    }
    proxy_stop(NULL);
    assert_int_equal(t_descriptors(), before);
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

static void cut_at(const struct ts_net *n, int dir, int64_t at, enum proxy_fault what) {
    uint64_t cuts = proxy_count(n->proxy).cuts;
    struct ts_ends e = ts_join_with(n, (struct proxy_plan){.dir = dir, .at = at, .what = (enum proxy_fault)what});
    size_t first = t_random() % 250;
    int how = what == CUT_RST ? TS_RST : 0, was;
    bool told = !ts_say(e.fd[dir], 0, first) || !ts_say(e.fd[dir], first, 250 - first);
    ts_ends(e.fd[1 - dir], 0, (size_t)at, how);
    assert_int_equal(ts_hear_all(e.fd[dir], 0, &was), 0);
    assert_true(was == how || told);
    T_UNTIL(proxy_count(n->proxy).cuts == cuts + 1);
    assert_int_equal(proxy_count(n->proxy).last[dir], at);
    assert_int_equal(proxy_count(n->proxy).live, 0);
    ts_part(&e);
}

static void exactly_so_many_bytes_arrive_before_a_reset_or_an_end(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++)
        for (int64_t at = 0; at <= 200; at++) {
            cut_at(&n, dir, at, CUT_RST);
            cut_at(&n, dir, at, CUT_FIN);
        }
    ts_close(&n);
}

static void what_came_the_other_way_before_a_fin_is_delivered(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++) {
        /* a piece takes 5 ms, and so the proxy still has the answer when the cut comes */
        struct ts_ends e = ts_join_with(
            &n, (struct proxy_plan){.dir = dir, .at = 1, .what = CUT_FIN, .delay = LW_MS(5), .piece = 100});
        ts_say(e.fd[1 - dir], 0, 1000);
        ts_arrived(e.fd[1 - dir]);
        ts_say(e.fd[dir], 0, 2);
        ts_ends(e.fd[dir], 0, 1000, 0);
        ts_ends(e.fd[1 - dir], 0, 1, 0);
        ts_part(&e);
    }
    ts_close(&n);
}

static void a_reset_waits_until_a_slow_reader_has_what_came_before(void **state) {
    (void)state;
    enum { AT = 3000000 };
    struct ts_net n = ts_open();
    const int small = 4096;
    assert_int_equal(setsockopt(n.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.at = AT, .what = CUT_RST});
    struct ts_talk talk = {e.fd[0], 2 * AT};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ts_say_all, &talk), 0);
    ts_ends(e.fd[1], 0, AT, TS_RST);
    pthread_join(thread, NULL);
    ts_part(&e);
    ts_close(&n);
}

/* Whether it can say much after the FIN, of which it reads only then. */
static bool says_on_after_a_fin(const struct ts_net *n, int dir) {
    struct ts_ends e = ts_join_with(n, (struct proxy_plan){.dir = dir, .at = 1, .what = CUT_FIN});
    int how = 0;
    bool said = ts_say(e.fd[dir], 0, 1000000);
    ts_ends(e.fd[1 - dir], 0, 1, 0);
    assert_int_equal(ts_hear_all(e.fd[dir], 0, &how), 0);
    ts_part(&e);
    return said && how == 0;
}

static void what_is_said_after_a_fin_is_no_reason_to_reset(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++) {
        int good = 0;
        for (int i = 0; i < 5; i++) good += says_on_after_a_fin(&n, dir); /* not if it takes 2 s */
        assert_true(good > 0);
    }
    ts_close(&n);
}

static void peers_that_do_not_close_after_a_fin_are_reset_in_the_end(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    int before = t_descriptors();
    struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.at = 1, .what = CUT_FIN});
    ts_say(e.fd[0], 0, 1);
    ts_ends(e.fd[1], 0, 1, 0);
    ts_ends(e.fd[0], 0, 0, 0);
    ts_say(e.fd[0], 1, 100);
    T_UNTIL(t_descriptors() == before + 2);
    T_UNTIL(!ts_say(e.fd[0], 1, 100));
    ts_part(&e);
    ts_close(&n);
}

static void live_connections_are_cut_at_once(void **state) {
    (void)state;
    enum { N = 20 };
    struct ts_net n = ts_open();
    for (int what = CUT_RST; what <= CUT_FIN; what++) {
        struct ts_ends e[N];
        for (int i = 0; i < N; i++) {
            e[i] = ts_join(&n);
            ts_say(e[i].fd[0], 0, 10);
            ts_hear(e[i].fd[1], 0, 10);
        }
        proxy_cut_now(n.proxy, (enum proxy_fault)what);
        assert_int_equal(proxy_count(n.proxy).live, 0);
        for (int i = 0; i < N; i++)
            for (int side = 0; side < 2; side++) ts_ends(e[i].fd[side], 0, 0, what == CUT_RST ? TS_RST : 0);
        assert_int_equal(proxy_count(n.proxy).cuts, N * (what + 1));
        for (int i = 0; i < N; i++) ts_part(&e[i]);
    }
    struct ts_ends e = ts_join(&n); /* later ones are not */
    ts_say(e.fd[0], 0, 10);
    ts_hear(e.fd[1], 0, 10);
    ts_part(&e);
    ts_close(&n);
}

static void a_plan_is_for_so_many_connections(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    proxy_set(n.proxy, &(struct proxy_plan){.at = 5, .what = CUT_FIN, .times = 3});
    for (int i = 0; i < 6; i++) {
        struct ts_ends e = ts_join(&n);
        ts_say(e.fd[0], 0, 10);
        shutdown(e.fd[0], SHUT_WR);
        ts_ends(e.fd[1], 0, i < 3 ? 5 : 10, 0);
        ts_part(&e);
    }
    assert_int_equal(proxy_count(n.proxy).cuts, 3);
    ts_close(&n);
}

enum { RANDOM = 200, MEAN = 300 };

/* What arrives of 1000 bytes to the server, of so many connections. The cut may be meant for the other direction, in
 * which nothing goes. */
static void random_arrivals(uint64_t seed, size_t had[RANDOM], int how[RANDOM]) {
    struct ts_net n = ts_open();
    proxy_random(n.proxy, seed, MEAN);
    for (int i = 0; i < RANDOM; i++) {
        struct ts_ends e = ts_join(&n);
        if (ts_say(e.fd[0], 0, 1000)) shutdown(e.fd[0], SHUT_WR);
        had[i] = ts_hear_all(e.fd[1], 0, &how[i]);
        ts_part(&e);
    }
    ts_close(&n);
}

static void random_cuts_are_those_of_their_seed(void **state) {
    (void)state;
    static size_t had[2][RANDOM];
    static int how[2][RANDOM];
    int cuts = 0, resets = 0;
    uint64_t seed = t_random();
    random_arrivals(seed, had[0], how[0]);
    random_arrivals(seed, had[1], how[1]);
    assert_memory_equal(had[0], had[1], sizeof had[0]);
    assert_memory_equal(how[0], how[1], sizeof how[0]);
    for (int i = 0; i < RANDOM; i++) {
        assert_true(had[0][i] <= 2 * MEAN || had[0][i] == 1000);
        cuts += had[0][i] < 1000;
        resets += how[0][i] == TS_RST;
    }
    assert_true(cuts > RANDOM / 5 && resets > RANDOM / 10);
    random_arrivals(seed + 1, had[1], how[1]);
    assert_memory_not_equal(had[0], had[1], sizeof had[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(bytes_and_ends_pass_both_ways),
        t_test(a_peers_reset_passes_as_a_reset_behind_its_bytes),
        t_test(much_passes_unharmed_both_ways_at_once),
        t_test(a_unix_socket_is_an_upstream_too),
        t_test(a_backlog_that_is_full_is_waited_for),
        t_test(without_a_server_clients_are_reset_and_later_ones_are_not),
        t_test(what_is_no_upstream_is_refused),
        t_test(exactly_so_many_bytes_arrive_before_a_reset_or_an_end),
        t_test(what_came_the_other_way_before_a_fin_is_delivered),
        t_test(a_reset_waits_until_a_slow_reader_has_what_came_before),
        t_test(what_is_said_after_a_fin_is_no_reason_to_reset),
        t_test(peers_that_do_not_close_after_a_fin_are_reset_in_the_end),
        t_test(live_connections_are_cut_at_once),
        t_test(a_plan_is_for_so_many_connections),
        t_test(random_cuts_are_those_of_their_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

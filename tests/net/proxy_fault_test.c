/* SPDX-License-Identifier: MIT */
/* The faults of the proxy that are no cuts: pieces, stalls, half-open, held; then its port, forked children,
 * and many at once (util/proxy.h). */
#include <errno.h>
#include <linux/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/socket_util.h"

/* ---- pieces, stalls, half-open, held ----------------------------------------------------------------------------- */

static void one_byte_at_a_time_is_a_segment_for_each(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++) {
        struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.at = -1, .piece = 1});
        struct tcp_info info;
        socklen_t len = sizeof info;
        ts_say(e.fd[dir], 0, 500);
        ts_hear(e.fd[1 - dir], 0, 500);
        assert_int_equal(getsockopt(e.fd[1 - dir], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
        assert_true(info.tcpi_data_segs_in >= 500);
        ts_part(&e);
    }
    ts_close(&n);
}

static void a_piece_waits_its_delay_in_both_directions(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.at = -1, .delay = LW_MS(5)});
    for (size_t i = 0; i < 5; i++) {
        int64_t begin = t_now();
        ts_say(e.fd[0], i, 1);
        ts_hear(e.fd[1], i, i + 1);
        ts_say(e.fd[1], i, 1);
        ts_hear(e.fd[0], i, i + 1);
        assert_true(t_now() - begin >= LW_MS(10));
    }
    ts_part(&e);
    ts_close(&n);
}

static void a_stall_rests_one_direction_and_goes_on(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++) {
        int64_t begin = t_now();
        struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.dir = dir, .at = 40, .what = STALL, .ns = LW_MS(50)});
        ts_say(e.fd[dir], 0, 100);
        shutdown(e.fd[dir], SHUT_WR);
        ts_ends(e.fd[1 - dir], 0, 100, 0);
        assert_true(t_now() - begin >= LW_MS(50));
        ts_part(&e);
        e = ts_join_with(&n, (struct proxy_plan){.dir = dir, .at = 40, .what = STALL, .ns = LW_SEC(1000)});
        ts_say(e.fd[dir], 0, 100);
        ts_hear(e.fd[1 - dir], 0, 40);
        ts_say(e.fd[1 - dir], 0, 100000);
        ts_hear(e.fd[dir], 0, 100000);
        ts_silent(e.fd[1 - dir]);
        assert_int_equal(proxy_count(n.proxy).last[dir], 40);
        ts_part(&e);
    }
    ts_close(&n);
}

static void all_can_be_stalled_at_once(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    struct ts_ends e = ts_join(&n);
    proxy_set(n.proxy, &(struct proxy_plan){.at = -1, .ns = LW_MS(50)});
    int64_t begin = t_now();
    proxy_cut_now(n.proxy, STALL);
    for (int dir = 0; dir < 2; dir++) ts_say(e.fd[dir], 0, 100);
    for (int dir = 0; dir < 2; dir++) ts_hear(e.fd[1 - dir], 0, 100);
    assert_true(t_now() - begin >= LW_MS(50));
    ts_part(&e);
    ts_close(&n);
}

static void half_open_nothing_passes_and_nobody_is_told(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int first = 0; first < 2; first++) {
        int before = t_descriptors();
        struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.dir = first, .at = 10, .what = HALF_OPEN});
        ts_say(e.fd[first], 0, 100);
        ts_hear(e.fd[1 - first], 0, 10);
        ts_say(e.fd[1 - first], 0, 100);
        ts_silent(e.fd[0]);
        ts_silent(e.fd[1]);
        close(e.fd[first]);
        ts_silent(e.fd[1 - first]);
        assert_int_equal(proxy_count(n.proxy).live, 1);
        ts_reset(e.fd[1 - first]);
        T_UNTIL(t_descriptors() == before); /* both are gone, and so is it */
        assert_int_equal(proxy_count(n.proxy).live, 0);
    }
    ts_close(&n);
}

static void half_open_ends_by_a_cut_too(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int what = CUT_RST; what <= CUT_FIN; what++) {
        struct ts_ends e = ts_join(&n);
        proxy_cut_now(n.proxy, HALF_OPEN);
        ts_say(e.fd[0], 0, 10);
        ts_silent(e.fd[1]);
        proxy_cut_now(n.proxy, (enum proxy_fault)what);
        for (int side = 0; side < 2; side++) ts_ends(e.fd[side], 0, 0, what == CUT_RST ? TS_RST : 0);
        ts_part(&e);
    }
    assert_int_equal(proxy_count(n.proxy).cuts, 4);
    ts_close(&n);
}

static void what_is_held_arrives_on_the_old_connection_when_it_is_released(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++) {
        struct ts_ends old = ts_join_with(&n, (struct proxy_plan){.dir = dir, .at = 30, .what = HOLD});
        ts_say(old.fd[dir], 0, 100);
        ts_hear(old.fd[1 - dir], 0, 30);
        ts_say(old.fd[1 - dir], 0, 100); /* the other direction goes on */
        ts_hear(old.fd[dir], 0, 100);
        close(old.fd[dir]);
        struct ts_ends e = ts_join(&n); /* the new one */
        ts_say(e.fd[dir], 0, 50);
        ts_hear(e.fd[1 - dir], 0, 50);
        ts_silent(old.fd[1 - dir]);
        ts_say(old.fd[1 - dir], 100, 100); /* to nobody */
        proxy_release(n.proxy);
        int how;
        assert_int_equal(ts_hear_all(old.fd[1 - dir], 30, &how), 100);
        close(old.fd[1 - dir]);
        ts_part(&e);
        T_UNTIL(!proxy_count(n.proxy).live);
    }
    ts_close(&n);
}

static void a_cut_of_what_is_held_is_told_to_the_sender_alone(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    for (int dir = 0; dir < 2; dir++)
        for (int what = CUT_RST; what <= CUT_FIN; what++) {
            int how = what == CUT_RST ? TS_RST : 0;
            struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.dir = dir, .at = 30, .what = HOLD});
            ts_say(e.fd[dir], 0, 100000);
            ts_arrived(e.fd[dir]);
            ts_hear(e.fd[1 - dir], 0, 30);
            proxy_cut_now(n.proxy, (enum proxy_fault)what);
            ts_ends(e.fd[dir], 0, 0, how);
            close(e.fd[dir]);
            ts_say(e.fd[1 - dir], 0, 100);
            ts_silent(e.fd[1 - dir]);
            proxy_release(n.proxy);
            int was;
            assert_int_equal(ts_hear_all(e.fd[1 - dir], 30, &was), 100000);
            close(e.fd[1 - dir]);
            T_UNTIL(!proxy_count(n.proxy).live);
        }
    ts_close(&n);
}

/* Sends until nothing is taken for a moment, but `at_least` so many bytes and at most `most`. Returns how many. */
static size_t say_until_full(int fd, size_t at_least, size_t most) {
    enum { SIZE = 64 << 10 };
    size_t n = 0;
    int64_t last = t_now();
    const struct timeval limit = {.tv_usec = 100000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    while (n < most) {
        static const char zeros[SIZE];
        ssize_t sent = send(fd, zeros, SIZE, MSG_NOSIGNAL);
        if (sent > 0) {
            n += (size_t)sent;
            last = t_now();
        } else if (n >= at_least) {
            break;
        }
        assert_true(t_now() - last < LW_SEC(20));
    }
    return n;
}

static void sixteen_mib_are_held_and_then_the_sender_waits(void **state) {
    (void)state;
    enum { HELD = 16 << 20, MOST = 80 << 20 };
    static char bytes[1 << 16];
    struct ts_net n = ts_open();
    struct ts_ends e = ts_join_with(&n, (struct proxy_plan){.at = 0, .what = HOLD});
    size_t said = say_until_full(e.fd[0], HELD, MOST), heard = 0;
    assert_true(said < MOST);
    proxy_release(n.proxy);
    shutdown(e.fd[0], SHUT_WR);
    for (ssize_t some; (some = recv(e.fd[1], bytes, sizeof bytes, 0)) > 0;) heard += (size_t)some;
    assert_int_equal(heard, said);
    ts_part(&e);
    ts_close(&n);
}

/* ---- the port, forked children, many at once --------------------------------------------------------------------- */

static void a_port_that_refuses_accepts_again_later(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    struct ts_ends e = ts_join(&n);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(proxy_refuse(n.proxy, 1), 0);
        assert_int_equal(proxy_refuse(n.proxy, 1), 0);
        assert_int_equal(ts_connect(&n), -1);
        assert_int_equal(errno, ECONNREFUSED);
        ts_say(e.fd[0], 0, 10); /* what is there goes on */
        ts_hear(e.fd[1], 0, 10);
        assert_int_equal(proxy_refuse(n.proxy, 0), 0);
        assert_int_equal(proxy_refuse(n.proxy, 0), 0);
        struct ts_ends other = ts_join(&n);
        ts_part(&other);
    }
    ts_part(&e);
    ts_close(&n);
}

static int keep_copies(void *arg) {
    (void)arg;
    t_forever();
}

static void copies_in_a_forked_child_keep_nothing_alive(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    struct ts_ends e[3] = {ts_join(&n), ts_join(&n), ts_join(&n)};
    for (int i = 0; i < 3; i++) {
        ts_say(e[i].fd[0], 0, 1);
        ts_hear(e[i].fd[1], 0, 1);
    }
    struct t_child child = t_fork(keep_copies, NULL);
    shutdown(e[0].fd[0], SHUT_WR);
    ts_ends(e[0].fd[1], 0, 0, 0);
    shutdown(e[0].fd[1], SHUT_WR);
    ts_ends(e[0].fd[0], 0, 0, 0);
    proxy_cut_now(n.proxy, CUT_RST);
    for (int side = 0; side < 2; side++) ts_ends(e[1].fd[side], 0, 0, TS_RST);
    assert_int_equal(proxy_refuse(n.proxy, 1), 0);
    assert_int_equal(ts_connect(&n), -1);
    assert_int_equal(proxy_refuse(n.proxy, 0), 0);
    struct ts_ends last = ts_join(&n);
    proxy_stop(n.proxy);
    for (int side = 0; side < 2; side++) ts_ends(last.fd[side], 0, 0, TS_RST);
    t_kill(&child);
    for (int i = 0; i < 3; i++) ts_part(&e[i]);
    ts_part(&last);
    close(n.listener);
}

static void come_and_go(const struct ts_net *n, int i) {
    struct proxy_plan plan = {.at = i % 7, .dir = i % 2, .what = (enum proxy_fault)(i % 5), .ns = 1000};
    if (i % 3 == 0) plan = (struct proxy_plan){.at = -1};
    struct ts_ends e = ts_join_with(n, plan);
    ts_say(e.fd[0], 0, 5);
    ts_say(e.fd[1], 0, 5);
    int first = i % 4 < 2;
    if (i % 2)
        ts_reset(e.fd[first]);
    else
        close(e.fd[first]);
    close(e.fd[1 - first]);
}

static void thousands_of_short_connections_leave_nothing(void **state) {
    (void)state;
    struct ts_net n = ts_open();
    int before = t_descriptors();
    uint64_t total = (uint64_t)t_loops(5000);
    for (uint64_t i = 0; i < total; i++) {
        come_and_go(&n, (int)i);
        if (i % 100 == 0) proxy_release(n.proxy);
    }
    proxy_release(n.proxy);
    T_UNTIL(t_descriptors() == before);
    assert_int_equal(proxy_count(n.proxy).live, 0);
    assert_int_equal(proxy_count(n.proxy).connections, total);
    ts_close(&n);
    assert_int_equal(t_descriptors(), before - 6);
}

struct caller {
    struct proxy *proxy;
    int number;
};

static void *ask_all(void *arg) {
    const struct caller *c = arg;
    for (int64_t i = 0; i < t_loops(2000); i++) {
        struct proxy_counts counts = proxy_count(c->proxy);
        if (counts.live < 0) return arg;
        if (c->number == 0) proxy_set(c->proxy, &(struct proxy_plan){.at = i % 300, .what = (enum proxy_fault)(i % 5)});
        if (c->number == 1) proxy_random(c->proxy, (uint64_t)i, i % 2 ? 100 : 0);
        if (c->number == 2) proxy_release(c->proxy);
        if (c->number == 2 && i % 10 == 0) proxy_cut_now(c->proxy, (enum proxy_fault)(i / 10 % 5));
        if (c->number == 3 && i % 10 == 0) proxy_refuse(c->proxy, !(i % 20));
    }
    return NULL;
}

static void any_thread_may_call_while_others_talk(void **state) {
    (void)state;
    enum { CALLERS = 4 };
    struct ts_net n = ts_open();
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){n.proxy, i};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_all, &callers[i]), 0);
    }
    for (int64_t i = 0; i < t_loops(500); i++) {
        int fd = ts_connect(&n);
        if (fd < 0) continue;
        ts_say(fd, 0, (size_t)i);
        close(fd);
    }
    for (int i = 0; i < CALLERS; i++) {
        void *trouble;
        pthread_join(threads[i], &trouble);
        assert_null(trouble);
    }
    ts_close(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(one_byte_at_a_time_is_a_segment_for_each),
        t_test(a_piece_waits_its_delay_in_both_directions),
        t_test(a_stall_rests_one_direction_and_goes_on),
        t_test(all_can_be_stalled_at_once),
        t_test(half_open_nothing_passes_and_nobody_is_told),
        t_test(half_open_ends_by_a_cut_too),
        t_test(what_is_held_arrives_on_the_old_connection_when_it_is_released),
        t_test(a_cut_of_what_is_held_is_told_to_the_sender_alone),
        t_test(sixteen_mib_are_held_and_then_the_sender_waits),
        t_test(a_port_that_refuses_accepts_again_later),
        t_test(copies_in_a_forked_child_keep_nothing_alive),
        t_test(thousands_of_short_connections_leave_nothing),
        t_test(any_thread_may_call_while_others_talk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

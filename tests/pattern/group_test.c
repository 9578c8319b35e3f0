/* SPDX-License-Identifier: MIT */
/* group_test - one thread that polls many subscribers: what it is told, when it sleeps, what wakes it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

#include "bus/watch.h"
#include "pattern/sub.h"
#include "util/group_util.h"

#define A_WAKE t_prompt() /* far less than a tick, and more than a busy machine needs */

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static void a_subscriber_is_readable_until_it_was_read(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, -1);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    assert_int_equal(tg_poll(g, 0).kind, 0);
    tt_send_many(pub, 0, 3);
    for (uint64_t i = 0; i < 3; i++) {
        for (int again = 0; again < 5; again++) {
            struct lw_event event = tg_poll(g, again % 2 ? LW_SEC(20) : 0);
            assert_int_equal(event.kind, LW_READABLE);
            assert_ptr_equal(event.sub, sub);
            assert_ptr_equal(event.user, sub);
        }
        assert_true(tt_gets(sub, i, 1));
    }
    assert_int_equal(tg_poll(g, LW_MS(5)).kind, 0);
    tt_send_many(pub, 3, 1); /* to one that is parked */
    assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
    lw_sub_close(sub);
    assert_int_equal(tg_poll(g, 0).kind, 0);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void what_was_sent_before_it_came_is_told(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 1);
    assert_ok(lw_sub_move(sub, g, NULL));
    tt_send_many(pub, 1, 1);
    assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
    assert_true(tt_gets_only(sub, 0, 2));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* The smallest number of events at a time, and all have something, always. */
static void handles_take_turns(void **state) {
    enum { SUBS = 9, ROUNDS = 100 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, -1);
    struct lw_sub *subs[SUBS];
    for (int most = 1; most <= 4; most += 3) {
        int told[SUBS] = {0};
        struct lw_event events[4];
        for (intptr_t i = 0; i < SUBS; i++) {
            subs[i] = tt_sub(bus, "t", NULL, LW_FROM_NOW);
            assert_ok(lw_sub_move(subs[i], g, (void *)i));
        }
        tt_send_many(pub, 0, 1);
        for (int n = 0; n < SUBS * ROUNDS;) {
            int got = lw_group_poll(g, events, most, 0);
            assert_in_range(got, 1, most);
            for (int i = 0; i < got; i++) told[(intptr_t)events[i].user]++;
            n += got;
        }
        for (int i = 0; i < SUBS; i++) assert_in_range(told[i], ROUNDS - 1, ROUNDS + 1);
        for (int i = 0; i < SUBS; i++) lw_sub_close(subs[i]);
    }
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void a_batch_of_events_names_each_handle_once(void **state) {
    enum { SUBS = 5 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, -1);
    struct lw_sub *subs[SUBS];
    struct lw_event events[64];
    for (int i = 0; i < SUBS; i++) subs[i] = tg_sub(g, bus, "t");
    tt_send_many(pub, 0, 3);
    lw_group_wake(g);
    assert_int_equal(lw_group_poll(g, events, 64, LW_SEC(20)), SUBS + 1);
    for (int i = 0; i < SUBS; i++) {
        int n = 0;
        for (int j = 0; j < SUBS + 1; j++) n += events[j].kind == LW_READABLE && events[j].sub == subs[i];
        assert_int_equal(n, 1);
    }
    for (int i = 0; i < SUBS; i++) lw_sub_close(subs[i]);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void misuse_is_refused(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL), *observer;
    struct lw_group *g = tg_group(bus, 0), *far = tg_group(other, 0), *none = g;
    struct lw_sub *sub = tg_sub(g, bus, "t");
    struct lw_event event;
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    assert_fails(lw_group_poll(g, &event, 0, 0), -EINVAL, "0 events");
    assert_fails(lw_sub_move(sub, far, NULL), -EINVAL, "another bus");
    assert_fails(lw_group_close(g), -EBUSY, "1 handle");
    assert_fails(lw_bus_close(bus), -EBUSY, "open");
    opt.spin = -2;
    assert_fails(lw_group_open(&none, bus, &opt), -EINVAL, "spin");
    assert_null(none);
    assert_ok(t_bus_open(&observer, *state, NULL, LW_BUS_OBSERVE));
    assert_fails(lw_group_open(&none, observer, NULL), LW_ESTATE, NULL);
    assert_ok(lw_bus_close(observer));
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_group_close(NULL));
    assert_ok(lw_group_close(far));
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static void nothing_is_left_open_or_lying_about(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    char bells[TT_PATH];
    struct lw_sub *warm = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_group *g = tg_group(bus, 0);
    assert_ok(lw_group_close(g)); /* the watch of the bus is there from now on */
    snprintf(bells, sizeof bells, "%s/bells", (const char *)*state);
    int before = t_descriptors();
    for (int i = 0; i < 50; i++) {
        struct lw_msg m;
        g = tg_group(bus, 0);
        struct lw_sub *sub = tg_sub(g, bus, "t"), *alone = tt_sub(bus, "t", NULL, LW_FROM_NOW);
        assert_int_equal(lw_sub_next(alone, &m, LW_MS(2)), LW_EEMPTY);
        assert_int_equal(lw_group_arm(g), 1);
        tg_settle(g);
        assert_int_equal(lw_group_arm(g), 0);
        lw_sub_close(sub);
        lw_sub_close(alone);
        assert_ok(lw_group_close(g));
    }
    assert_int_equal(t_descriptors(), before);
    assert_int_equal(tt_count_files(bells), 0);
    lw_sub_close(warm);
    assert_ok(lw_bus_close(bus));
}

/* ---- sleeping and waking ----------------------------------------------------------------------------------------- */

static void a_timeout_is_kept(void **state) {
    const int64_t times[] = {0, 1, 1000, LW_MS(1), LW_MS(20)}, spins[] = {0, -1, LW_SEC(1)};
    struct lw_bus *bus = tt_bus(*state, NULL);
    for (int s = 0; s < 3; s++) {
        struct lw_group *g = tg_group(bus, spins[s]);
        struct lw_sub *sub = tg_sub(g, bus, "t");
        for (int i = 0; i < 5; i++) {
            int64_t begin = t_now();
            assert_int_equal(tg_poll(g, times[i]).kind, 0);
            assert_in_range(t_now() - begin, times[i], times[i] + t_prompt());
        }
        lw_sub_close(sub);
        assert_ok(lw_group_close(g));
    }
    assert_ok(lw_bus_close(bus));
}

static int send_when_told(void *arg) {
    struct lw_bus *bus = tt_bus(arg, NULL);
    struct lw_pub *pub = tt_pub_shared(bus, "t");
    t_say(0);
    for (uint64_t n = 0;; n++) {
        if (t_listen() < 0) break;
        t_sleep(LW_MS(20)); /* it sleeps by now, most likely */
        tt_send_many(pub, n, 1);
        t_say(t_now());
    }
    lw_pub_close(pub);
    return lw_bus_close(bus);
}

/* With every kind of spinning; how long it took is in the sender's number. */
static void a_message_of_another_process_wakes_it(void **state) {
    const int64_t spins[] = {0, -1, LW_SEC(10)};
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child child = t_fork(send_when_told, *state);
    t_hear(&child);
    for (uint64_t n = 0; n < 3; n++) {
        struct lw_group *g = tg_group(bus, spins[n]);
        struct lw_sub *sub = tg_sub(g, bus, "t");
        t_tell(&child, 1);
        assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
        int64_t woken = t_now(), sent = t_hear(&child);
        assert_true(woken - sent < A_WAKE);
        assert_true(tt_gets_only(sub, n, 1));
        struct lw_group_stats stats = tg_stats(g);
        assert_int_equal(stats.tick_finds, 0);
        assert_true(stats.rings <= stats.sleeps);
        if (stats.sleeps) assert_true(stats.parks >= 1); /* unless the message was faster */
        if (n == 2) assert_true(stats.sleeps == 0);
        lw_sub_close(sub);
        assert_ok(lw_group_close(g));
    }
    t_tell(&child, -1);
    assert_int_equal(t_wait(&child), 0);
    assert_ok(lw_bus_close(bus));
}

static void lw_sub_next_sleeps_and_is_woken_in_a_group_and_without(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct t_child child = t_fork(send_when_told, *state);
    struct lw_msg m;
    t_hear(&child);
    for (int grouped = 0; grouped < 2; grouped++) {
        struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
        if (grouped) assert_ok(lw_sub_move(sub, g, NULL));
        for (uint64_t n = 0; n < 5; n++) {
            int64_t begin = t_now();
            assert_int_equal(lw_sub_next(sub, &m, LW_MS(5)), LW_EEMPTY);
            assert_in_range(t_now() - begin, LW_MS(5), t_prompt());
            t_tell(&child, 1);
            assert_int_equal(lw_sub_next(sub, &m, LW_SEC(20)), 1);
            assert_true(t_now() - t_hear(&child) < A_WAKE);
            assert_int_equal(tt_read(&m), n + 5 * (uint64_t)grouped);
            assert_ok(lw_sub_release(sub, &m));
            assert_int_equal(tg_poll(g, 0).kind, 0);
        }
        lw_sub_close(sub);
    }
    t_tell(&child, -1);
    assert_int_equal(t_wait(&child), 0);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* What was rung for others while one handle waited by itself is told by the next poll. */
static void waiting_by_one_handle_loses_nothing_of_the_others(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_pub *pub = tt_pub(bus, "u");
    struct lw_sub *waits = tg_sub(g, bus, "t"), *other = tg_sub(g, bus, "u");
    struct lw_msg m;
    tg_settle(g);
    tt_send_many(pub, 0, 1); /* rings: it is asleep as far as anybody knows */
    assert_int_equal(lw_sub_next(waits, &m, LW_MS(20)), LW_EEMPTY);
    struct lw_event event = tg_poll(g, 0);
    assert_int_equal(event.kind, LW_READABLE);
    assert_ptr_equal(event.sub, other);
    lw_sub_close(waits);
    lw_sub_close(other);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void *wake_soon(void *arg) {
    t_sleep(LW_MS(20));
    lw_group_wake(arg);
    return NULL;
}

static void another_thread_wakes_it(void **state) {
    const int64_t spins[] = {0, -1, LW_SEC(10)};
    struct lw_bus *bus = tt_bus(*state, NULL);
    for (int i = 0; i < 3; i++) {
        struct lw_group *g = tg_group(bus, spins[i]);
        struct lw_sub *sub = tg_sub(g, bus, "t");
        pthread_t thread;
        int64_t begin = t_now();
        assert_int_equal(pthread_create(&thread, NULL, wake_soon, g), 0);
        struct lw_event event = tg_poll(g, LW_SEC(20));
        assert_int_equal(event.kind, LW_WOKEN);
        assert_null(event.user);
        assert_in_range(t_now() - begin, LW_MS(20), A_WAKE);
        assert_int_equal(tg_poll(g, LW_MS(1)).kind, 0); /* told once */
        pthread_join(thread, NULL);
        lw_group_wake(g); /* while it is awake: for the next sleep */
        lw_group_wake(g);
        assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_WOKEN);
        assert_int_equal(tg_poll(g, 0).kind, 0);
        lw_sub_close(sub);
        assert_ok(lw_group_close(g));
    }
    assert_ok(lw_bus_close(bus));
}

static struct lw_group *to_wake;
static volatile sig_atomic_t alarms;

static void wake_in_handler(int sig) {
    (void)sig;
    alarms++;
    if (to_wake) lw_group_wake(to_wake);
}

/* And again and again, `every` ns, 0: not. On a busy machine the first may come before anybody sleeps. */
static void alarm_in(int64_t ns, int64_t every) {
    struct sigaction act = {.sa_handler = wake_in_handler};
    struct itimerval timer = {.it_value = {.tv_usec = ns / 1000}, .it_interval = {.tv_usec = every / 1000}};
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void a_signal_handler_wakes_it(void **state) {
    const int64_t spins[] = {0, LW_SEC(10)};
    struct lw_bus *bus = tt_bus(*state, NULL);
    for (int i = 0; i < 40; i++) {
        struct lw_event event;
        to_wake = tg_group(bus, spins[i % 2]);
        alarm_in(LW_MS(1) + i * 10000, 0);
        int64_t begin = t_now();
        int rc = lw_group_poll(to_wake, &event, 1, LW_SEC(20));
        if (rc == -EINTR) rc = lw_group_poll(to_wake, &event, 1, LW_SEC(20));
        assert_int_equal(rc, 1);
        assert_int_equal(event.kind, LW_WOKEN);
        assert_true(t_now() - begin < A_WAKE);
        assert_ok(lw_group_close(to_wake));
        to_wake = NULL;
    }
    assert_ok(lw_bus_close(bus));
}

static void a_signal_handler_ends_a_sleep(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    struct lw_event event;
    struct lw_msg m;
    for (int i = 0; i < 10; i++) {
        int before = alarms;
        alarm_in(LW_MS(20), LW_MS(20));
        assert_int_equal(lw_group_poll(g, &event, 1, LW_SEC(20)), -EINTR);
        assert_true(alarms > before);
        assert_int_equal(lw_sub_next(sub, &m, LW_SEC(20)), -EINTR);
        alarm_in(0, 0);
    }
    struct lw_pub *pub = tt_pub(bus, "t"); /* and it still hears what is rung */
    tt_send_many(pub, 0, 1);
    assert_int_equal(tg_poll(g, 0).kind, LW_READABLE);
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* As if who had to ring was killed before it did: the bell in its slot leads nowhere. */
static void a_sleep_without_a_ring_ends_by_itself(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    tg_settle(g);
    lw__reader_bell(&sub->reader, 0);
    tt_send_many(pub, 0, 1);
    int64_t begin = t_now();
    assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
    assert_true(t_now() - begin < LW_SEC(3));
    struct lw_group_stats stats = tg_stats(g);
    assert_int_equal(stats.tick_finds, 1);
    assert_int_equal(stats.ticks, 1);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void the_time_may_be_given(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, -1);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    for (uint64_t i = 0; i < 100; i++) {
        lw_group_set_time(g, t_now());
        tt_send_many(pub, i, 1);
        assert_int_equal(tg_poll(g, i % 2 ? LW_SEC(20) : 0).kind, LW_READABLE);
        assert_true(tt_gets_only(sub, i, 1));
    }
    lw_group_set_time(g, 1); /* long ago: sleeps end all the same */
    int64_t begin = t_now();
    assert_int_equal(tg_poll(g, LW_MS(20)).kind, 0);
    assert_in_range(t_now() - begin, LW_MS(20), t_prompt());
    lw_group_set_time(g, 0);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static void a_thousand_quiet_ones_are_parked_beside_a_busy_one(void **state) {
    enum { TOPICS = 16, EACH = 62, ALL = TOPICS * EACH };
    static struct lw_sub *subs[ALL];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, -1);
    for (int i = 0; i < ALL; i++) subs[i] = tg_sub(g, bus, tt_text("quiet%d", i % TOPICS));
    struct lw_sub *busy = tg_sub(g, bus, "busy");
    struct lw_pub *pub = tt_pub(bus, "busy"), *one = tt_pub(bus, "quiet7");
    uint64_t n = 0;
    int64_t end = t_now() + LW_SEC(20);
    assert_int_equal(tg_poll(g, 0).kind, 0);
    while (tg_stats(g).parked < ALL) {
        assert_true(t_now() < end);
        tt_send_many(pub, n, 1);
        struct lw_event event = tg_poll(g, LW_SEC(20));
        assert_ptr_equal(event.sub, busy);
        assert_true(tt_gets(busy, n++, 1));
    }
    struct lw_group_stats stats = tg_stats(g);
    assert_int_equal(stats.handles, ALL + 1);
    assert_int_equal(stats.tick_finds, 0);
    assert_true(stats.parks < 50); /* many at a time */
    tt_send_many(one, 0, 1);       /* and one of the quiet topics: its 62 are told, nobody else */
    int told = 0;
    for (struct lw_event event; (event = tg_poll(g, 0)).kind; told++) {
        assert_true(tt_gets_only(event.sub, 0, 1));
        assert_ptr_not_equal(event.sub, busy);
    }
    assert_int_equal(told, EACH);
    for (int i = 0; i < ALL; i++) lw_sub_close(subs[i]);
    lw_sub_close(busy);
    lw_pub_close(pub);
    lw_pub_close(one);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- copies, losses ---------------------------------------------------------------------------------------------- */

static void readers_by_copy_are_told_of_messages_and_of_losses(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *lossy, *lags;
    struct lw_msg m;
    opt.flags = LW_SUB_LOSSY;
    assert_ok(lw_sub_open(&lossy, bus, "t", &opt));
    opt.flags = 0;
    opt.max_lag = 4096;
    assert_ok(lw_sub_open(&lags, bus, "t", &opt));
    assert_ok(lw_sub_move(lossy, g, lossy));
    assert_ok(lw_sub_move(lags, g, lags));
    tg_settle(g);
    tt_send_many(pub, 0, 1);
    for (int i = 0; i < 2; i++) {
        struct lw_event event = tg_poll(g, LW_SEC(20));
        assert_int_equal(event.kind, LW_READABLE);
        assert_true(tt_gets_only(event.user, 0, 1));
    }
    tg_settle(g);
    tt_send_many(pub, 1, 2000); /* several rings full */
    int losses = 0;
    for (struct lw_event event; (event = tg_poll(g, 0)).kind;) {
        assert_int_equal(event.kind, LW_READABLE);
        int rc = lw_sub_next(event.sub, &m, 0);
        assert_true(rc == 1 || rc == LW_EEMPTY || rc == (event.sub == lossy ? LW_EGAP : LW_EEVICTED));
        if (rc == 1) assert_ok(lw_sub_release(event.sub, &m));
        losses += rc != 1 && rc != LW_EEMPTY;
    }
    assert_int_equal(losses, 2);
    tt_send_many(pub, 2001, 1);
    for (int i = 0; i < 2; i++) assert_true(tt_gets_only(tg_poll(g, LW_SEC(20)).sub, 2001, 1));
    lw_sub_close(lossy);
    lw_sub_close(lags);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* What is copied at a time is less than what is there: the rest must be told without a sleep in between. */
static void a_reader_by_copy_is_told_of_all_in_a_loop_that_never_sleeps(void **state) {
    enum { COUNT = 300 };
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, LW_SEC(100));
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *lossy;
    struct lw_msg m;
    opt.flags = LW_SUB_LOSSY;
    assert_ok(lw_sub_open(&lossy, bus, "t", &opt));
    assert_ok(lw_sub_move(lossy, g, NULL));
    tt_send_many(pub, 0, COUNT);
    uint64_t got = 0;
    for (int64_t end = t_now() + LW_SEC(3); got < COUNT && t_now() < end;) {
        if (tg_poll(g, 0).kind != LW_READABLE || lw_sub_next(lossy, &m, 0) != 1) continue;
        assert_int_equal(tt_read(&m), got++);
        assert_ok(lw_sub_release(lossy, &m));
    }
    assert_int_equal(got, COUNT);
    lw_sub_close(lossy);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- in other loops ---------------------------------------------------------------------------------------------- */

static bool is_readable(const struct lw_group *g, int ms) {
    struct pollfd p = {.fd = lw_group_fd(g), .events = POLLIN};
    int rc;
    while ((rc = poll(&p, 1, ms)) < 0 && errno == EINTR) continue;
    return rc == 1;
}

static void an_outer_loop_is_told_as_long_as_something_is_left(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    assert_int_equal(lw_group_arm(g), 1); /* a new one is looked at */
    assert_true(is_readable(g, 0));
    assert_int_equal(tg_poll(g, 0).kind, 0);
    assert_int_equal(lw_group_arm(g), 0);
    assert_false(is_readable(g, 0));
    tt_send_many(pub, 0, 2);
    assert_true(is_readable(g, 20000));
    for (uint64_t i = 0; i < 2; i++) {
        for (int again = 0; again < 3; again++) {
            assert_int_equal(tg_poll(g, 0).kind, LW_READABLE);
            assert_int_equal(lw_group_arm(g), 1);
            assert_true(is_readable(g, 0));
            assert_int_equal(lw_group_arm(g), 1); /* also without a poll in between */
            assert_true(is_readable(g, 0));
        }
        assert_true(tt_gets(sub, i, 1));
    }
    while (lw_group_arm(g)) assert_int_equal(tg_poll(g, 0).kind, 0);
    assert_false(is_readable(g, 0));
    lw_group_wake(g);
    assert_true(is_readable(g, 20000));
    assert_int_equal(tg_poll(g, 0).kind, LW_WOKEN);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static int send_with_pauses(void *arg) {
    struct lw_bus *bus = tt_bus(arg, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    int64_t count = t_listen();
    for (int64_t n = 0; n < count; n++) {
        if (t_random() % 4 == 0) t_sleep((int64_t)(t_random() % 300000));
        tt_send_many(pub, (uint64_t)n, 1);
    }
    lw_pub_close(pub);
    return lw_bus_close(bus);
}

/* The outer loop sleeps for ever but for what the group's descriptor says; and it does not look at what arm() returns. */
static void an_outer_loop_sleeps_and_misses_nothing(void **state) {
    int64_t count = t_loops(4000);
    struct t_child child = t_fork(send_with_pauses, *state);
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    struct lw_msg m;
    uint64_t next = 0;
    int64_t longest = 0;
    t_tell(&child, count);
    while (next < (uint64_t)count) {
        assert_ok(lw_group_arm(g));
        int64_t begin = t_now();
        assert_true(is_readable(g, 20000));
        if (t_now() - begin > longest) longest = t_now() - begin;
        if (tg_poll(g, 0).kind != LW_READABLE) continue;
        while (lw_sub_next(sub, &m, 0) == 1) {
            assert_int_equal(tt_read(&m), next++);
            assert_ok(lw_sub_release(sub, &m));
        }
    }
    struct lw_group_stats stats = tg_stats(g);
    assert_int_equal(stats.tick_finds, 0);
    assert_true(longest < LW_SEC(1) * 3 / 4);
    assert_int_equal(t_wait(&child), 0);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void quiet_loops_wake_once_a_second_and_find_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    tg_poll(g, 0);
    int wakes = 0;
    for (int64_t end = t_now() + LW_SEC(1) * 5 / 2; t_now() < end; wakes++) {
        assert_int_equal(lw_group_arm(g), 0);
        is_readable(g, 600);
        assert_int_equal(tg_poll(g, 0).kind, 0);
    }
    bool hears = lw__watch_fd(bus) >= 0; /* without inotify it looks for the dead more often */
    assert_in_range(wakes, 4, hears ? 10 : 70);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_subscriber_is_readable_until_it_was_read),
        t_test(what_was_sent_before_it_came_is_told),
        t_test(handles_take_turns),
        t_test(a_batch_of_events_names_each_handle_once),
        t_test(misuse_is_refused),
        t_test(nothing_is_left_open_or_lying_about),
        t_test(a_timeout_is_kept),
        t_test(a_message_of_another_process_wakes_it),
        t_test(lw_sub_next_sleeps_and_is_woken_in_a_group_and_without),
        t_test(waiting_by_one_handle_loses_nothing_of_the_others),
        t_test(another_thread_wakes_it),
        t_test(a_signal_handler_wakes_it),
        t_test(a_signal_handler_ends_a_sleep),
        t_test(a_sleep_without_a_ring_ends_by_itself),
        t_test(the_time_may_be_given),
        t_test(a_thousand_quiet_ones_are_parked_beside_a_busy_one),
        t_test(readers_by_copy_are_told_of_messages_and_of_losses),
        t_test(a_reader_by_copy_is_told_of_all_in_a_loop_that_never_sleeps),
        t_test(an_outer_loop_is_told_as_long_as_something_is_left),
        t_test(an_outer_loop_sleeps_and_misses_nothing),
        t_test(quiet_loops_wake_once_a_second_and_find_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

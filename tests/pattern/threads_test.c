/* SPDX-License-Identifier: MIT */
/* One bus handle in many threads: opening, closing, looking and tidying, while messages flow and others fork. For the
 * thread sanitizer. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/topic_util.h"

enum { THREADS = 8, BELLS = 32 };

static bool over;

struct worker {
    struct lw_bus *bus;
    pthread_t thread;
    int id;
    uint64_t turns;
    bool begun; /* for who started it */
};

/* Before each turn. */
static bool go_on(struct worker *w) {
    if (w->turns) __atomic_store_n(&w->begun, true, __ATOMIC_RELAXED);
    return !__atomic_load_n(&over, __ATOMIC_ACQUIRE);
}

static bool has_begun(const struct worker *w) {
    return __atomic_load_n(&w->begun, __ATOMIC_RELAXED);
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static void *send_and_receive(void *arg) {
    struct worker *w = arg;
    const char *topic = tt_text("hot/%d", w->id);
    struct lw_pub *pub = tt_pub(w->bus, topic);
    struct lw_sub *sub = tt_sub(w->bus, topic, NULL, LW_FROM_NOW);
    for (; go_on(w); w->turns++) {
        tt_send_many(pub, w->turns, 1);
        T_NEED(tt_gets_only(sub, w->turns, 1));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    return NULL;
}

/* Two threads talk like two processes. */
static void *send_only(void *arg) {
    struct worker *w = arg;
    struct lw_pub *pub = tt_pub(w->bus, "flow");
    for (; go_on(w); w->turns++) {
        int64_t rc = tt_send(pub, w->turns, LW_MS(10));
        T_NEED(rc >= 0 || rc == LW_EFULL);
        if (rc < 0) w->turns--;
    }
    lw_pub_close(pub);
    return NULL;
}

static void *receive_only(void *arg) {
    struct worker *w = arg;
    struct lw_sub *sub = tt_sub(w->bus, "flow", tt_text("name%d", w->id), LW_FROM_NOW);
    struct lw_msg msg;
    uint64_t next = 0;
    while (go_on(w)) {
        int rc = lw_sub_next(sub, &msg, LW_MS(1));
        if (rc == LW_EEMPTY) continue;
        T_NEED(rc == 1);
        if (w->turns++ == 0) next = tt_read(&msg);
        T_NEED(tt_read(&msg) == next++ && !lw_sub_release(sub, &msg));
    }
    lw_sub_close(sub);
    return NULL;
}

/* Any of them may be the publisher for a moment; nobody else but these threads opens the topic. */
static void *open_and_close(void *arg) {
    struct worker *w = arg;
    for (; go_on(w); w->turns++) {
        struct lw_pub *pub = NULL;
        struct lw_sub *sub, *named = NULL;
        int rc = tt_pub_shaped(&pub, w->bus, "turns", TT_RING, 0);
        T_NEED(rc == 0 || (rc == LW_EWRITER && strstr(lw_errtext(), "topic turns")));
        T_NEED(!tt_sub_shaped(&sub, w->bus, "turns", NULL, TT_RING, 0));
        rc = tt_sub_shaped(&named, w->bus, "turns", tt_text("n%d", w->id % 2), 0, 0);
        T_NEED(rc == 0 || (rc == LW_EHELD && strstr(lw_errtext(), "subscriber n")));
        int64_t sent = pub ? tt_send(pub, w->turns, 0) : 0;
        T_NEED(sent >= 0 || sent == LW_EFULL || sent == LW_EWRITER);
        lw_pub_close(pub);
        if (named) tt_drain(named);
        lw_sub_close(named);
        lw_sub_close(sub);
    }
    return NULL;
}

static int any_topic(const char *topic, void *user) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_bus *bus = user;
    T_NEED(!lw_topic_stat(bus, topic, &info)); /* a callback may use the bus */
    return 0;
}

static int any_reader(const struct lw_reader_info *reader, void *user) {
    (void)user;
    T_NEED(reader->durable || reader->alive);
    return 0;
}

static void *look_and_tidy(void *arg) {
    struct worker *w = arg;
    for (; go_on(w); w->turns++) {
        T_NEED(!lw_topic_list(w->bus, any_topic, w->bus));
        T_NEED(!lw_topic_readers(w->bus, "flow", any_reader, NULL));
        T_NEED(!lw_topic_verify(w->bus, "flow", NULL));
        T_NEED(!lw_bus_clean(w->bus, NULL));
        T_NEED(!lw_topic_create(w->bus, "one/two", NULL) && !lw_topic_remove(w->bus, "one/two", 0));
    }
    return NULL;
}

static void *fork_now_and_then(void *arg) {
    struct worker *w = arg;
    for (; go_on(w); w->turns++) {
        struct lw_topic_info info = LW_TOPIC_INFO_INIT;
        pid_t child = fork();
        if (child == 0) _exit(lw_topic_stat(w->bus, "flow", &info) == LW_EFORKED ? 0 : 1);
        int status = -1;
        T_NEED(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    return NULL;
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void run(struct lw_bus *bus, void *(*const bodies[THREADS])(void *), int64_t ms) {
    struct worker w[THREADS];
    __atomic_store_n(&over, false, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.bus = bus, .id = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, bodies[i], &w[i]), 0);
    }
    t_sleep(LW_MS(1) * ms); /* for as long as it may go wrong */
    for (int i = 0; i < THREADS; i++) T_UNTIL(has_begun(&w[i]));
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(w[i].thread, NULL), 0);
}

static int no_reader(const struct lw_reader_info *reader, void *user) {
    (void)user;
    return reader->durable ? 0 : 1;
}

static void threads_open_close_look_and_send_on_one_bus(void **state) {
    static void *(*const bodies[THREADS])(void *) = {send_and_receive, send_only,      receive_only,   receive_only,
                                                     open_and_close,   open_and_close, open_and_close, look_and_tidy};
    int none = t_descriptors();
    struct lw_bus *bus = tt_bus(*state, NULL);
    lw_pub_close(tt_pub(bus, "flow"));
    int before = t_descriptors();
    run(bus, bodies, t_loops(2000) + 200);
    assert_in_range(t_descriptors(), before, before + BELLS); /* the bells that were rung stay open for the next time */
    assert_ok(lw_topic_readers(bus, "flow", no_reader, NULL));
    assert_ok(lw_topic_readers(bus, "turns", no_reader, NULL));
    assert_ok(lw_bus_close(bus));
    assert_int_equal(t_descriptors(), none);
}

static void threads_go_on_while_others_fork(void **state) {
    static void *(*const bodies[THREADS])(void *) = {send_and_receive, send_only,         receive_only,
                                                     open_and_close,   fork_now_and_then, fork_now_and_then,
                                                     open_and_close,   receive_only};
    struct lw_bus *bus = tt_bus(*state, NULL);
    lw_pub_close(tt_pub(bus, "flow"));
    run(bus, bodies, t_loops(1000) + 200);
    assert_ok(lw_topic_readers(bus, "flow", no_reader, NULL));
    assert_ok(lw_bus_close(bus));
}

static void *fail_once(void *arg) {
    struct worker *w = arg;
    struct lw_pub *pub;
    const char *name = tt_text("-%d", w->id);
    for (int i = 0; i < 1000; i++) {
        T_NEED(lw_pub_open(&pub, w->bus, name, NULL) == LW_ENAME);
        T_NEED(strstr(lw_errtext(), name));
    }
    w->turns = 1;
    go_on(w);
    return NULL;
}

static void each_thread_has_its_own_error_text(void **state) {
    static void *(*const bodies[THREADS])(void *) = {fail_once, fail_once, fail_once, fail_once,
                                                     fail_once, fail_once, fail_once, fail_once};
    struct lw_bus *bus = tt_bus(*state, NULL);
    run(bus, bodies, 0);
    assert_ok(lw_bus_close(bus));
}

/* A subscriber or publisher may be used by one thread after the other. */
static void *take_turn(void *arg) {
    struct lw_sub *sub = arg;
    return (void *)(uintptr_t)(tt_gets(sub, 0, 10) && tt_gets(sub, 10, 10));
}

static void a_handle_may_move_to_another_thread(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    pthread_t thread;
    void *result;
    tt_send_many(pub, 0, 20);
    assert_int_equal(pthread_create(&thread, NULL, take_turn, sub), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
    tt_send_many(pub, 20, 5);
    assert_true(tt_gets_only(sub, 20, 5));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void a_bus_with_something_open_is_not_closed(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    assert_told(lw_bus_close(bus), -EBUSY, *state, "open");
    lw_pub_close(pub);
    assert_told(lw_bus_close(bus), -EBUSY, *state, "open");
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
    assert_ok(lw_bus_close(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(threads_open_close_look_and_send_on_one_bus), t_test(threads_go_on_while_others_fork),
        t_test(each_thread_has_its_own_error_text),          t_test(a_handle_may_move_to_another_thread),
        t_test(a_bus_with_something_open_is_not_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

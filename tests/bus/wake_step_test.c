/* SPDX-License-Identifier: MIT */
/*
 * wake_step_test - one side does its part an instruction at a time. At each instruction it is stopped, the other side
 * does the whole of its own part, then the first one goes on: whoever went to sleep must have been woken, by a ring and
 * not by the clock. Both ways round, for messages and for room. And a ringer that is killed at any instruction.
 *
 * The one that sleeps does it as for an outer loop: lw_group_arm(), and then its FIFO says whether it is woken. (The
 * group's descriptor would tell of deaths, too, and of the time.)
 */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>

#include "bus/group.h"
#include "util/group_util.h"
#include "util/step.h"

enum { POINTS = 2000, MOST = 200000 };

static struct t_point points[POINTS];

static const char *dir_of;

/* What the child and we tell each other without a system call. */
struct board {
    int armed; /* the child has gone to sleep */
    int sent;  /* the other side did its part */
    int woken; /* ... and then the child's bell had been rung */
};
static struct board *board;

static bool is_woken(const struct lw_group *of) {
    struct pollfd p = {.fd = of->bell.fifo, .events = POLLIN};
    int rc;
    while ((rc = poll(&p, 1, 0)) < 0 && errno == EINTR) continue;
    return rc == 1;
}

static int set_up(void **state) {
    board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return board == MAP_FAILED ? -1 : t_setup(state);
}

static int tear_down(void **state) {
    munmap(board, 4096);
    return t_teardown(state);
}

/* Where to stop: at all places, or at some of them when it is to be short. */
static uint64_t all_points(void (*prepare)(void *), void (*operate)(void *)) {
    uint64_t count = t_step_points(prepare, operate, NULL, MOST, points, POINTS), most = (uint64_t)t_loops(POINTS) + 60;
    if (most > count) most = count;
    printf("%llu places to stop, %llu tried\n", (unsigned long long)count, (unsigned long long)most);
    for (uint64_t i = 0; i < most; i++) {
        uint64_t other = i + t_random() % (count - i);
        struct t_point point = points[i];
        points[i] = points[other];
        points[other] = point;
    }
    return most;
}

static bool has_armed(void) {
    return board->armed;
}

/* The same for one that arms: until it sleeps. */
static uint64_t points_until_asleep(void (*prepare)(void *), void (*operate)(void *)) {
    *board = (struct board){.sent = 1}; /* it need not wait for us */
    uint64_t end = t_step_before(prepare, operate, NULL, has_armed).n, kept = 0;
    uint64_t count = all_points(prepare, operate);
    for (uint64_t i = 0; i < count; i++)
        if (points[i].n < end) points[kept++] = points[i];
    return kept;
}

/* ---- in the child ------------------------------------------------------------------------------------------------- */

static struct lw_bus *bus;
static struct lw_group *g;
static struct lw_sub *sub;
static struct lw_pub *pub;
static struct lw_msg last;

static void be_publisher(void *arg) {
    (void)arg;
    bus = tt_bus(dir_of, NULL);
    pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 1); /* the first one takes the slow path, and opens the bell */
}

static void send_one(void *arg) {
    (void)arg;
    T_NEED(tt_send(pub, 1, 0) >= 0);
}

static void be_reader(void *arg) {
    (void)arg;
    bus = tt_bus(dir_of, NULL);
    g = tg_group(bus, 0);
    sub = tg_sub(g, bus, "t");
    T_NEED(!tg_poll(g, 0).kind);
}

static bool other_did(void) {
    for (int i = 0; i < 1 << 24; i++)
        if (__atomic_load_n(&board->sent, __ATOMIC_ACQUIRE)) return true;
    return false;
}

/* When it went another way than the one that was traced, and was not stopped before it slept, there is nothing to tell:
 * then nobody sends while it waits here, either. */
static void arm(void *arg) {
    (void)arg;
    int rc = lw_group_arm(g);
    T_NEED(rc == 0 || rc == 1);
    board->armed = 1;
    board->woken = !other_did() || is_woken(g);
}

/* Has looked at all, and given nothing back. */
static void be_holder(void *arg) {
    (void)arg;
    bus = tt_bus(dir_of, NULL);
    sub = tt_sub(bus, "t", "holder", LW_FROM_OLDEST);
    struct lw_msg m;
    for (int rc; (rc = lw_sub_next(sub, &m, 0)) != LW_EEMPTY; last = m) T_NEED(rc == 1);
    T_NEED(last.len);
}

static void release_all(void *arg) {
    (void)arg;
    T_NEED(!lw_sub_release(sub, &last));
}

static void be_full(void *arg) {
    (void)arg;
    bus = tt_bus(dir_of, NULL);
    g = tg_group(bus, 0);
    pub = tt_pub(bus, "t");
    T_NEED(!lw_pub_move(pub, g, NULL));
    T_NEED(!tg_poll(g, 0).kind);
    tt_send_all(pub, 0);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static uint64_t parked(void) {
    return tg_stats(g).parked;
}

/* Before it goes on stepping: it is awake, and has nothing to read. */
static void read_all_and_stay_awake(void) {
    while (tg_poll(g, 0).kind) tt_drain(sub);
    tt_drain(sub);
    lw_group_wake(g);
    assert_int_equal(tg_poll(g, 0).kind, LW_WOKEN);
}

/* `asleep`: it sleeps already, is rung, and falls asleep again in the midst of that. */
static void the_sender_stops_while_we_fall_asleep(const char *dir, bool asleep) {
    dir_of = dir;
    bus = tt_bus(dir, NULL);
    g = tg_group(bus, 0);
    sub = tg_sub(g, bus, "t");
    if (asleep) tg_settle(g);
    uint64_t count = all_points(be_publisher, send_one);
    for (uint64_t i = 0; i < count; i++) {
        struct t_step step = t_step_begin(be_publisher, send_one, NULL);
        read_all_and_stay_awake();
        assert_int_equal(parked(), 0);
        if (asleep) assert_int_equal(lw_group_arm(g), 0);
        bool midst = t_step_to(&step, &points[i]); /* else it took another way, and is over */
        uint64_t got = 0;
        if (asleep && tg_poll(g, 0).kind) got = tt_drain(sub);
        assert_true(lw_group_arm(g) >= 0);
        if (midst) t_step_finish(&step);
        if (!got && !is_woken(g)) fail_msg("asleep, before instruction %llu", (unsigned long long)points[i].n);
        if (!got) assert_int_equal(tg_poll(g, 0).kind, LW_READABLE);
        if (!got) assert_true(tt_gets_only(sub, 1, 1));
        t_step_end(&step);
    }
    assert_int_equal(tg_stats(g).tick_finds, 0);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void a_sender_at_each_instruction_wakes_who_falls_asleep(void **state) {
    t_need_ptrace();
    the_sender_stops_while_we_fall_asleep(*state, false);
}

static void a_ringer_at_each_instruction_wakes_who_falls_asleep_again(void **state) {
    t_need_ptrace();
    the_sender_stops_while_we_fall_asleep(*state, true);
}

static void who_falls_asleep_at_each_instruction_is_woken_by_a_message(void **state) {
    t_need_ptrace();
    dir_of = *state;
    struct lw_bus *ours = tt_bus(*state, NULL);
    struct lw_pub *sender = tt_pub(ours, "t");
    uint64_t count = points_until_asleep(be_reader, arm);
    for (uint64_t i = 0; i < count; i++) {
        *board = (struct board){.sent = 0};
        struct t_step step = t_step_begin(be_reader, arm, NULL);
        bool midst = t_step_to(&step, &points[i]);
        tt_send_many(sender, i, 1);
        __atomic_store_n(&board->sent, 1, __ATOMIC_RELEASE);
        if (midst) t_step_finish(&step);
        if (midst && !board->woken)
            fail_msg("asleep, stopped before instruction %llu", (unsigned long long)points[i].n);
        t_step_end(&step);
    }
    lw_pub_close(sender);
    assert_ok(lw_bus_close(ours));
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

static void a_release_at_each_instruction_wakes_who_falls_asleep(void **state) {
    t_need_ptrace();
    dir_of = *state;
    bus = tt_bus(*state, NULL);
    lw_sub_close(tt_sub(bus, "t", "holder", LW_FROM_NOW));
    g = tg_group(bus, 0);
    pub = tt_pub(bus, "t");
    assert_ok(lw_pub_move(pub, g, NULL));
    tg_settle(g);
    tt_send_all(pub, 0);
    uint64_t count = all_points(be_holder, release_all);
    for (uint64_t i = 0; i < count; i++) {
        while (tg_poll(g, 0).kind) continue;
        tt_send_all(pub, 0);
        struct t_step step = t_step_begin(be_holder, release_all, NULL);
        assert_int_equal(parked(), 0);
        bool midst = t_step_to(&step, &points[i]);
        assert_true(lw_group_arm(g) >= 0);
        if (midst) t_step_finish(&step);
        if (!is_woken(g)) fail_msg("asleep, before instruction %llu", (unsigned long long)points[i].n);
        assert_int_equal(tg_poll(g, 0).kind, LW_WRITABLE);
        t_step_end(&step);
    }
    assert_int_equal(tg_stats(g).tick_finds, 0);
    lw_pub_close(pub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void who_falls_asleep_at_each_instruction_is_woken_by_a_release(void **state) {
    t_need_ptrace();
    dir_of = *state;
    struct lw_bus *ours = tt_bus(*state, NULL);
    struct lw_sub *reader = tt_sub(ours, "t", NULL, LW_FROM_NOW);
    uint64_t count = points_until_asleep(be_full, arm);
    tt_drain(reader);
    for (uint64_t i = 0; i < count; i++) {
        *board = (struct board){.sent = 0};
        struct t_step step = t_step_begin(be_full, arm, NULL);
        bool midst = t_step_to(&step, &points[i]);
        assert_true(tt_drain(reader) > 0);
        __atomic_store_n(&board->sent, 1, __ATOMIC_RELEASE);
        if (midst) t_step_finish(&step);
        if (midst && !board->woken)
            fail_msg("asleep, stopped before instruction %llu", (unsigned long long)points[i].n);
        t_step_end(&step);
    }
    lw_sub_close(reader);
    assert_ok(lw_bus_close(ours));
}

/* ---- death ------------------------------------------------------------------------------------------------------- */

/* The next one rings as if there had been no other before. */
static void whoever_rings_after_a_dead_ringer_wakes(void **state) {
    t_need_ptrace();
    dir_of = *state;
    bus = tt_bus(*state, NULL);
    struct lw_bus *ours = tt_bus(*state, NULL);
    g = tg_group(bus, 0);
    sub = tg_sub(g, bus, "t");
    tg_settle(g);
    uint64_t count = all_points(be_publisher, send_one);
    for (uint64_t i = 0; i < count; i++) {
        struct t_step step = t_step_begin(be_publisher, send_one, NULL);
        read_all_and_stay_awake();
        assert_int_equal(lw_group_arm(g), 0);
        t_step_to(&step, &points[i]);
        t_step_end(&step);
        struct lw_pub *next = tt_pub(ours, "t");
        tt_send_many(next, 2, 1);
        if (!is_woken(g)) fail_msg("asleep; killed before instruction %llu", (unsigned long long)points[i].n);
        lw_pub_close(next);
    }
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(ours));
    assert_ok(lw_bus_close(bus));
}

#define step_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        step_test(a_sender_at_each_instruction_wakes_who_falls_asleep),
        step_test(a_ringer_at_each_instruction_wakes_who_falls_asleep_again),
        step_test(who_falls_asleep_at_each_instruction_is_woken_by_a_message),
        step_test(a_release_at_each_instruction_wakes_who_falls_asleep),
        step_test(who_falls_asleep_at_each_instruction_is_woken_by_a_release),
        step_test(whoever_rings_after_a_dead_ringer_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * wake_test - no wake-up is lost: two sides that each sleep until the other one did something, with pauses of random
 * length between their steps. A lost wake-up shows as a sleep that ended by itself and found something (tick_finds), or
 * as a turn that took most of a second.
 *
 * LW_WAKE_CYCLES says how many turns each case has; the default takes some seconds in all.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "util/group_util.h"

#define TOO_LONG (t_prompt() * 3 / 2) /* a tick is a second */

static uint64_t cycles(uint64_t usual) {
    const char *given = getenv("LW_WAKE_CYCLES");
    return given ? strtoull(given, NULL, 0) : (uint64_t)t_loops((int64_t)usual);
}

/* 0 to 50 us of work, mostly none. */
static void dawdle(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    uint64_t turns = *seed >> 60 ? 0 : *seed >> 33 & 4095;
    for (uint64_t i = 0; i < turns; i++) __asm__ volatile("" ::: "memory");
}

/* ---- ping-pong --------------------------------------------------------------------------------------------------- */

struct waits {
    int64_t longest;
    unsigned too_long;
};

struct side {
    struct lw_bus *bus;
    const char *in, *out;
    uint64_t turns, seed;
    bool first, by_next; /* lw_sub_next() instead of polls */
    bool hops;           /* from group to group all the time */
    bool stopped;        /* now and then, by signals */
    struct waits waits;
    uint64_t lost;               /* wake-ups */
    struct lw_group_stats stats; /* of both groups */
};

/* Waits until it is told. A process that was stopped and goes on is told -EINTR by the kernel. */
static void await(struct lw_group *g, enum lw_event_kind kind) {
    struct lw_event event = {.code = 0};
    int64_t end = t_now() + LW_SEC(20);
    for (int rc; (rc = lw_group_poll(g, &event, 1, LW_SEC(20))) != 1 || event.kind != kind;)
        T_NEED((rc >= 0 || rc == -EINTR) && t_now() < end);
}

/* A sleep that was just ending by itself may find what is being rung for at that moment, and clears its bit, so that the
 * ringer passes it by: found, and not lost. One that nobody rings for waits up to a second, seldom so little. */
static bool is_lost(const struct lw_group *g, uint64_t found_before, int64_t begin) {
    return tg_stats(g).tick_finds != found_before && t_now() - begin > LW_SEC(1) / 10;
}

static void note_wait(struct waits *waits, int64_t begin) {
    int64_t took = t_now() - begin;
    if (took > waits->longest) waits->longest = took;
    waits->too_long += took > TOO_LONG;
}

/* A machine with too much to do may stand still for most of a second, once. */
static bool is_well(const struct waits *waits) {
    return waits->too_long <= 1;
}

static void receive_one(struct side *s, struct lw_group *g, struct lw_sub *sub, uint64_t number) {
    struct lw_msg m;
    int64_t begin = t_now();
    uint64_t found = tg_stats(g).tick_finds;
    if (!s->by_next) await(g, LW_READABLE);
    T_NEED(lw_sub_next(sub, &m, s->by_next ? LW_SEC(20) : 0) == 1 && tt_read(&m) == number);
    note_wait(&s->waits, begin);
    s->lost += is_lost(g, found, begin);
    dawdle(&s->seed);
    T_NEED(!lw_sub_release(sub, &m));
}

static void add_stats(struct lw_group_stats *sum, const struct lw_group *g) {
    struct lw_group_stats one = tg_stats(g);
    sum->sleeps += one.sleeps;
    sum->rings += one.rings;
    sum->tick_finds += one.tick_finds;
}

static void play(struct side *s) {
    struct lw_pub *pub = tt_pub(s->bus, s->out);
    struct lw_group *g[2] = {tg_group(s->bus, 0), tg_group(s->bus, 0)};
    struct lw_sub *sub = tt_sub(s->bus, s->in, "side", LW_FROM_OLDEST);
    int at = 0;
    if (!s->by_next) T_NEED(!lw_sub_move(sub, g[at], NULL));
    for (uint64_t n = 0; n < s->turns; n++) {
        if (s->first) tt_send_many(pub, n, 1);
        dawdle(&s->seed);
        if (s->hops && s->seed >> 40 & 1) T_NEED(!lw_sub_move(sub, g[at = !at], NULL));
        receive_one(s, g[at], sub, n);
        dawdle(&s->seed);
        if (!s->first) tt_send_many(pub, n, 1);
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    for (int i = 0; i < 2; i++) {
        add_stats(&s->stats, g[i]);
        T_NEED(!lw_group_close(g[i]));
    }
}

static void check(const struct side *s) {
    printf("%s: %" PRIu64 " turns, %" PRIu64 " sleeps, %" PRIu64 " rings, %" PRIu64 " found, longest %.3f ms\n", s->in,
           s->turns, s->stats.sleeps, s->stats.rings, s->stats.tick_finds, (double)s->waits.longest / 1e6);
    fflush(stdout);
    T_NEED(s->lost <= s->turns / 100000);
    T_NEED(s->stats.rings <= s->stats.sleeps);
    T_NEED(s->by_next || s->turns < 1000 || s->stats.rings > 0);
    T_NEED(is_well(&s->waits) || s->stopped);
}

static const char *dir_of;
static struct side of_child;

static int play_in_child(void *arg) {
    struct side s = *(struct side *)arg;
    s.bus = tt_bus(dir_of, NULL);
    play(&s);
    check(&s);
    return lw_bus_close(s.bus);
}

/* Both topics have their durable names before anybody sends. */
static void prepare(struct lw_bus *bus) {
    lw_sub_close(tt_sub(bus, "ping", "side", LW_FROM_NOW));
    lw_sub_close(tt_sub(bus, "pong", "side", LW_FROM_NOW));
}

static struct side side(struct lw_bus *bus, bool first, bool by_next, uint64_t turns) {
    return (struct side){.bus = bus,
                         .in = first ? "pong" : "ping",
                         .out = first ? "ping" : "pong",
                         .first = first,
                         .by_next = by_next,
                         .turns = turns,
                         .seed = t_random()};
}

static void prepare_in(const char *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    prepare(bus);
    assert_ok(lw_bus_close(bus)); /* fork() with nothing open */
    dir_of = dir;
}

static void between_processes(const char *dir, bool by_next, bool hops, uint64_t turns) {
    prepare_in(dir);
    of_child = side(NULL, false, by_next, turns);
    of_child.hops = hops;
    struct t_child child = t_fork(play_in_child, &of_child);
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct side mine = side(bus, true, by_next, turns);
    mine.hops = hops;
    play(&mine);
    check(&mine);
    assert_int_equal(t_wait(&child), 0);
    assert_ok(lw_bus_close(bus));
}

static void two_processes_that_poll_miss_nothing(void **state) {
    between_processes(*state, false, false, cycles(40000));
}

static void two_processes_that_wait_for_one_handle_miss_nothing(void **state) {
    between_processes(*state, true, false, cycles(40000));
}

static void handles_that_hop_from_group_to_group_miss_nothing(void **state) {
    between_processes(*state, false, true, cycles(20000));
}

static void *play_in_thread(void *arg) {
    play(arg);
    return NULL;
}

static void two_threads_miss_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    prepare(bus);
    struct side s[2] = {side(bus, true, false, cycles(40000)), side(bus, false, false, cycles(40000))};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, play_in_thread, &s[1]), 0);
    play(&s[0]);
    pthread_join(thread, NULL);
    check(&s[0]);
    check(&s[1]);
    assert_ok(lw_bus_close(bus));
}

/* ---- stopped at random moments ----------------------------------------------------------------------------------- */

static int play_and_say(void *arg) {
    int rc = play_in_child(arg);
    t_say(rc);
    return rc;
}

static void stop_for_a_while(struct t_child *child) {
    kill(child->pid, SIGSTOP);
    t_sleep((int64_t)(t_random() % 1000000));
    kill(child->pid, SIGCONT);
    t_sleep((int64_t)(t_random() % 1000000));
}

static void stopped_and_going_on(const char *dir, bool by_next) {
    struct side sides[2];
    struct t_child children[2];
    int64_t rc;
    prepare_in(dir);
    for (int i = 0; i < 2; i++) {
        sides[i] = side(NULL, i == 0, by_next, cycles(20000));
        sides[i].stopped = true;
        children[i] = t_fork(play_and_say, &sides[i]);
    }
    bool over[2] = {false, false};
    while (!over[0] || !over[1])
        for (int i = 0; i < 2; i++) {
            struct pollfd said = {.fd = children[i].out, .events = POLLIN};
            over[i] = over[i] || poll(&said, 1, 0) == 1; /* or is gone */
            if (!over[i]) stop_for_a_while(&children[i]);
        }
    for (int i = 0; i < 2; i++) {
        assert_true(t_heard(&children[i], 0, &rc) && rc == 0);
        assert_int_equal(t_wait(&children[i]), 0);
    }
}

static void who_is_stopped_while_it_polls_misses_nothing(void **state) {
    stopped_and_going_on(*state, false);
}

static void who_is_stopped_while_it_waits_misses_nothing(void **state) {
    stopped_and_going_on(*state, true);
}

/* ---- waiting for room -------------------------------------------------------------------------------------------- */

static uint64_t flow_count;
static bool flow_by_send; /* lw_pub_send() waits, instead of a poll */

static void send_one(struct lw_pub *pub, struct lw_group *g, uint64_t number, struct waits *waits) {
    int64_t begin = t_now(), rc;
    if (flow_by_send) {
        while ((rc = tt_send(pub, number, LW_SEC(20))) < 0) T_NEED(rc == -EINTR);
    } else
        for (; (rc = tt_send(pub, number, 0)) < 0; await(g, LW_WRITABLE)) T_NEED(rc == LW_EFULL);
    note_wait(waits, begin);
}

static void check_flow(const char *who, struct lw_group *g, const struct waits *waits, uint64_t lost) {
    struct lw_group_stats stats = tg_stats(g);
    printf("%s: %" PRIu64 " sleeps, %" PRIu64 " rings, %" PRIu64 " found, longest %.3f ms\n", who, stats.sleeps,
           stats.rings, stats.tick_finds, (double)waits->longest / 1e6);
    fflush(stdout);
    T_NEED(lost <= cycles(1) / 100000);
    T_NEED(stats.rings <= stats.sleeps);
    T_NEED(is_well(waits));
}

static int send_flow(void *arg) {
    struct lw_bus *mine = tt_bus(dir_of, NULL);
    struct lw_group *g = tg_group(mine, 0);
    struct lw_pub *pub = arg ? tt_pub_shared(mine, "flow") : tt_pub(mine, "flow");
    uint64_t seed = t_random();
    struct waits waits = {0, 0};
    if (!flow_by_send) T_NEED(!lw_pub_move(pub, g, NULL));
    for (uint64_t n = 0; n < flow_count; n++) {
        if (n % 64 == 0) dawdle(&seed);
        send_one(pub, g, n, &waits);
    }
    check_flow("writer", g, &waits, tg_stats(g).tick_finds);
    lw_pub_close(pub);
    T_NEED(!lw_group_close(g));
    return lw_bus_close(mine);
}

/* Sometimes slower than the writer, sometimes faster. */
static void read_flow(struct lw_group *g, struct lw_sub *sub, struct waits *waits) {
    uint64_t seed = t_random(), n = 0;
    struct lw_msg m;
    while (n < flow_count) {
        int64_t begin = t_now();
        await(g, LW_READABLE);
        note_wait(waits, begin);
        while (lw_sub_next(sub, &m, 0) == 1) {
            T_NEED(tt_read(&m) == n++);
            if (n % 1024 < 512) dawdle(&seed);
            T_NEED(!lw_sub_release(sub, &m));
        }
    }
}

static void flow(const char *dir, bool by_send, void *shared) {
    prepare_in(dir);
    flow_count = cycles(200000);
    flow_by_send = by_send;
    struct lw_bus *bus = tt_bus(dir, NULL);
    lw_sub_close(tt_sub(bus, "flow", "reader", LW_FROM_NOW));
    struct t_child child = t_fork(send_flow, shared);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tt_sub(bus, "flow", "reader", LW_FROM_OLDEST);
    struct waits waits = {0, 0};
    assert_ok(lw_sub_move(sub, g, NULL));
    read_flow(g, sub, &waits);
    check_flow("reader", g, &waits, tg_stats(g).tick_finds);
    assert_int_equal(t_wait(&child), 0);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void who_polls_for_room_misses_none(void **state) {
    flow(*state, false, NULL);
}

static void who_polls_for_room_on_a_shared_topic_misses_none(void **state) {
    flow(*state, false, "shared");
}

static void who_waits_for_room_misses_none(void **state) {
    flow(*state, true, NULL);
}

/* ---- several writers --------------------------------------------------------------------------------------------- */

enum { WRITERS = 3, EACH = 100000000 };

/* One message for each that it gets; number `who` * EACH + n. */
static int answer_all(void *arg) {
    uint64_t first = *(uint64_t *)arg * EACH, turns = cycles(6000);
    struct lw_bus *mine = tt_bus(dir_of, NULL);
    struct lw_group *g = tg_group(mine, 0);
    struct lw_pub *pub = tt_pub_shared(mine, "all");
    struct lw_sub *sub = tg_sub(g, mine, "go");
    struct side s = {.seed = t_random()};
    t_say(0);
    for (uint64_t n = 0; n < turns; n++) {
        receive_one(&s, g, sub, n);
        dawdle(&s.seed);
        tt_send_many(pub, first + n, 1);
    }
    check_flow("writer", g, &s.waits, s.lost);
    lw_sub_close(sub);
    lw_pub_close(pub);
    T_NEED(!lw_group_close(g));
    return lw_bus_close(mine);
}

/* The answers of one turn, in whatever order. */
static void hear_all(struct side *s, struct lw_group *g, struct lw_sub *sub, uint64_t n) {
    int64_t begin = t_now();
    uint64_t found = tg_stats(g).tick_finds;
    struct lw_msg m;
    for (unsigned seen = 0; seen != (1u << WRITERS) - 1;) {
        await(g, LW_READABLE);
        T_NEED(lw_sub_next(sub, &m, 0) == 1 && tt_read(&m) % EACH == n);
        unsigned bit = 1u << tt_read(&m) / EACH;
        T_NEED(!(seen & bit) && !lw_sub_release(sub, &m));
        seen |= bit;
    }
    note_wait(&s->waits, begin);
    s->lost += is_lost(g, found, begin);
}

static void several_writers_of_one_topic_wake_its_reader(void **state) {
    static uint64_t who[WRITERS] = {0, 1, 2};
    struct t_child children[WRITERS];
    struct lw_bus *bus = tt_bus(dir_of = *state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "all");
    uint64_t turns = cycles(6000);
    struct side s = {.turns = turns};
    for (int i = 0; i < WRITERS; i++) children[i] = t_fork(answer_all, &who[i]);
    for (int i = 0; i < WRITERS; i++) t_hear(&children[i]);
    struct lw_pub *pub = tt_pub(bus, "go");
    for (uint64_t n = 0; n < turns; n++) {
        tt_send_many(pub, n, 1);
        hear_all(&s, g, sub, n);
    }
    check_flow("reader", g, &s.waits, s.lost);
    for (int i = 0; i < WRITERS; i++) assert_int_equal(t_wait(&children[i]), 0);
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- at the same moment ------------------------------------------------------------------------------------------ */

/* One falls asleep while the other sends, within some hundred nanoseconds: they meet by spinning. What a processor holds
 * back (the record is still on its way when the mask is loaded) shows here, if anywhere. */
struct duel {
    _Alignas(128) uint64_t begun;
    _Alignas(128) uint64_t sent;
};
static struct duel *duel;

static void wait_until(const uint64_t *word, uint64_t value) {
    for (int turns = 0; __atomic_load_n(word, __ATOMIC_ACQUIRE) < value; turns++)
        if (turns % 1024 == 1023) sched_yield();
}

/* Up to some 2 us. */
static void aim(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    for (uint64_t i = *seed >> 53; i; i--) __asm__ volatile("" ::: "memory");
}

static int send_at_once(void *arg) {
    uint64_t turns = *(uint64_t *)arg, seed = t_random();
    struct lw_bus *mine = tt_bus(dir_of, NULL);
    struct lw_pub *pub = tt_pub(mine, "duel");
    t_say(0);
    for (uint64_t n = 0; n < turns; n++) {
        wait_until(&duel->begun, n + 1);
        aim(&seed);
        tt_send_many(pub, n, 1);
        __atomic_store_n(&duel->sent, n + 1, __ATOMIC_RELEASE);
    }
    lw_pub_close(pub);
    return lw_bus_close(mine);
}

static void who_falls_asleep_just_as_a_message_is_sent_is_woken(void **state) {
    uint64_t turns = cycles(200000), seed = t_random(), asleep = 0;
    duel = mmap(NULL, sizeof *duel, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(duel != MAP_FAILED);
    struct lw_bus *bus = tt_bus(dir_of = *state, NULL);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "duel");
    struct t_child child = t_fork(send_at_once, &turns);
    t_hear(&child);
    tg_poll(g, 0);
    for (uint64_t n = 0; n < turns; n++) {
        struct pollfd fd = {.fd = lw_group_fd(g), .events = POLLIN};
        __atomic_store_n(&duel->begun, n + 1, __ATOMIC_RELEASE);
        aim(&seed);
        asleep += assert_ok(lw_group_arm(g)) == 0;
        wait_until(&duel->sent, n + 1);
        if (poll(&fd, 1, 0) != 1) fail_msg("asleep, in turn %" PRIu64, n);
        assert_int_equal(tg_poll(g, 0).kind, LW_READABLE);
        assert_true(tt_gets_only(sub, n, 1));
    }
    printf("%" PRIu64 " turns, asleep in %" PRIu64 "\n", turns, asleep);
    assert_int_equal(t_wait(&child), 0);
    lw_sub_close(sub);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
    munmap(duel, sizeof *duel);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(who_falls_asleep_just_as_a_message_is_sent_is_woken),
        t_test(two_processes_that_poll_miss_nothing),
        t_test(two_processes_that_wait_for_one_handle_miss_nothing),
        t_test(two_threads_miss_nothing),
        t_test(handles_that_hop_from_group_to_group_miss_nothing),
        t_test(who_is_stopped_while_it_polls_misses_nothing),
        t_test(who_is_stopped_while_it_waits_misses_nothing),
        t_test(who_polls_for_room_misses_none),
        t_test(who_polls_for_room_on_a_shared_topic_misses_none),
        t_test(who_waits_for_room_misses_none),
        t_test(several_writers_of_one_topic_wake_its_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

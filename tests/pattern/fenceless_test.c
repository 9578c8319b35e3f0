/* SPDX-License-Identifier: MIT */
/*
 * fenceless_test - where membarrier(2) is refused, to the one side, the other, or both. Who can't issue it leaves its
 * bits set and sleeps for a short time only; who can't be reached by it goes the slow path at each commit and release.
 * Nothing is lost, and nobody waits longer than that.
 *
 * A filter can't be taken back, so each side is a child. That shared publishers are refused is in shared_test.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/syscall.h>

#include "bus/group.h"
#include "pattern/link.h"
#include "pattern/pub.h"
#include "pattern/sub.h"
#include "util/group_util.h"
#include "util/link_util.h"
#include "util/seccomp.h"

#define TOO_LONG t_prompt() /* a tick is a second; and a short sleep 10 ms */

/* Who of the two is refused. */
enum { FIRST = 1, SECOND = 2, BOTH = 3 };

static const char *dir_of;
static int refused; /* sides, as bits */
static uint64_t turns;
static bool by_next; /* lw_sub_next() instead of polls */

static struct lw_bus *open_as(int side) {
    if (refused & side) t_refuse(SYS_membarrier, EPERM);
    struct lw_bus *bus = tt_bus(dir_of, NULL);
    T_NEED(bus->fenced == (refused & side ? -EPERM : 0));
    return bus;
}

static bool is_parked(const struct lw_sub *sub) {
    return lw__slot_is_parked(&sub->file.lane, sub->reader.slot);
}

/* Mostly nothing, or up to 300 us: the other one sleeps by then, or is just about to. */
static void dawdle(void) {
    uint64_t what = t_random();
    if (what % 8 == 0) t_sleep((int64_t)(what >> 8) % 300000);
    for (uint64_t i = what >> 8 & 4095; i; i--) __asm__ volatile("" ::: "memory");
}

static void run(int (*first)(void *), int (*second)(void *), const char *dir) {
    dir_of = dir;
    struct t_child a = t_fork(first, NULL), b = t_fork(second, NULL);
    t_hear(&a);
    t_hear(&b);
    t_tell(&a, 0);
    t_tell(&b, 0);
    assert_int_equal(t_wait(&a), 0);
    assert_int_equal(t_wait(&b), 0);
}

/* Both are there before either of them sends. */
static void meet(void) {
    t_say(0);
    t_listen();
}

/* ---- ping-pong --------------------------------------------------------------------------------------------------- */

struct player {
    struct lw_bus *bus;
    struct lw_group *g;
    struct lw_pub *pub;
    struct lw_sub *sub;
    int64_t longest;
};

static void check_masks(const struct player *p, int side) {
    bool always = refused & side;
    T_NEED((p->pub->writer.tx.parked == lw__masks_always) == always);
    T_NEED((p->sub->reader.rx.wanted == lw__masks_always) == always);
}

/* It has slept once: from then on a bit of one that is refused is set, whatever happens. */
static void settle(struct player *p, int side) {
    struct lw_msg m;
    tg_settle(p->g);
    if (by_next) do /* on a busy machine the time may be over before it has slept */
            T_NEED(lw_sub_next(p->sub, &m, LW_MS(3)) == LW_EEMPTY);
        while (refused & side && !is_parked(p->sub));
    if (!by_next) T_NEED(is_parked(p->sub));
    T_NEED(!(refused & side) || is_parked(p->sub));
}

static void receive(struct player *p, int side, uint64_t number) {
    struct lw_msg m;
    int64_t begin = t_now();
    if (!by_next) T_NEED(tg_poll(p->g, LW_SEC(20)).kind == LW_READABLE);
    T_NEED(lw_sub_next(p->sub, &m, by_next ? LW_SEC(20) : 0) == 1 && tt_read(&m) == number);
    if (t_now() - begin > p->longest) p->longest = t_now() - begin;
    T_NEED(!(refused & side) || is_parked(p->sub));
    T_NEED(!lw_sub_release(p->sub, &m));
}

static int play(int side, const char *out, const char *in) {
    struct player p = {.bus = open_as(side)};
    p.g = tg_group(p.bus, 0);
    p.pub = tt_pub(p.bus, out);
    p.sub = tt_sub(p.bus, in, "player", LW_FROM_OLDEST);
    if (!by_next) T_NEED(!lw_sub_move(p.sub, p.g, NULL));
    check_masks(&p, side);
    settle(&p, side);
    meet();
    for (uint64_t n = 0; n < turns; n++) {
        if (side == FIRST) tt_send_many(p.pub, n, 1);
        receive(&p, side, n);
        dawdle();
        if (side == SECOND) tt_send_many(p.pub, n, 1);
    }
    struct lw_group_stats stats = tg_stats(p.g);
    printf("%s: %" PRIu64 " sleeps, %" PRIu64 " rings, %" PRIu64 " found by a tick, longest %.3f ms\n", in,
           stats.sleeps, stats.rings, stats.tick_finds, (double)p.longest / 1e6);
    T_NEED(stats.tick_finds <= 2 + turns / 1000); /* a short sleep may end between a commit and its ring */
    T_NEED(stats.rings <= stats.sleeps && (by_next || stats.rings > 0));
    T_NEED(p.longest < TOO_LONG);
    lw_sub_close(p.sub);
    lw_pub_close(p.pub);
    T_NEED(!lw_group_close(p.g));
    return lw_bus_close(p.bus);
}

static int play_first(void *arg) {
    (void)arg;
    return play(FIRST, "ping", "pong");
}

static int play_second(void *arg) {
    (void)arg;
    return play(SECOND, "pong", "ping");
}

static void ping_pong(const char *dir, int who, bool next) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    lw_sub_close(tt_sub(bus, "ping", "player", LW_FROM_NOW));
    lw_sub_close(tt_sub(bus, "pong", "player", LW_FROM_NOW));
    assert_ok(lw_bus_close(bus));
    refused = who;
    by_next = next;
    turns = (uint64_t)t_loops(8000);
    run(play_first, play_second, dir);
}

static void one_side_refused_loses_no_message(void **state) {
    t_need_filters();
    ping_pong(*state, FIRST, false);
}

static void both_sides_refused_lose_no_message(void **state) {
    t_need_filters();
    ping_pong(*state, BOTH, false);
}

static void one_side_refused_that_waits_loses_no_message(void **state) {
    t_need_filters();
    ping_pong(*state, FIRST, true);
}

static void both_sides_refused_that_wait_lose_no_message(void **state) {
    t_need_filters();
    ping_pong(*state, BOTH, true);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

static int send_all(void *arg) {
    (void)arg;
    struct lw_bus *bus = open_as(FIRST);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_pub *pub = tt_pub(bus, "flow");
    int64_t longest = 0;
    if (!by_next) T_NEED(!lw_pub_move(pub, g, NULL));
    meet();
    for (uint64_t n = 0; n < turns; n++) {
        int64_t begin = t_now(), rc;
        while ((rc = tt_send(pub, n, by_next ? LW_SEC(20) : 0)) == LW_EFULL && !by_next)
            T_NEED(tg_poll(g, LW_SEC(20)).kind == LW_WRITABLE);
        T_NEED(rc >= 0);
        if (t_now() - begin > longest) longest = t_now() - begin;
    }
    printf("writer: %" PRIu64 " sleeps, longest %.3f ms\n", tg_stats(g).sleeps, (double)longest / 1e6);
    T_NEED(longest < TOO_LONG);
    lw_pub_close(pub);
    T_NEED(!lw_group_close(g));
    return lw_bus_close(bus);
}

/* Gives back a few hundred at a time, so that the writer sleeps. */
static int read_all(void *arg) {
    (void)arg;
    struct lw_bus *bus = open_as(SECOND);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tt_sub(bus, "flow", "reader", LW_FROM_OLDEST);
    T_NEED(!lw_sub_move(sub, g, NULL));
    meet();
    for (uint64_t n = 0; n < turns;) {
        struct lw_msg m;
        T_NEED(tg_poll(g, LW_SEC(20)).kind == LW_READABLE);
        if (t_random() % 4 == 0) t_sleep(LW_MS(1) / 2);
        while (lw_sub_next(sub, &m, 0) == 1) {
            T_NEED(tt_read(&m) == n++);
            if (n % 256 == 0) dawdle();
            T_NEED(!lw_sub_release(sub, &m));
        }
    }
    lw_sub_close(sub);
    T_NEED(!lw_group_close(g));
    return lw_bus_close(bus);
}

static void flow(const char *dir, int who, bool next) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    lw_sub_close(tt_sub(bus, "flow", "reader", LW_FROM_NOW));
    assert_ok(lw_bus_close(bus));
    refused = who;
    by_next = next;
    turns = (uint64_t)t_loops(100000);
    run(send_all, read_all, dir);
}

static void a_refused_writer_gets_its_room(void **state) {
    t_need_filters();
    flow(*state, FIRST, false);
}

static void a_refused_writer_that_waits_gets_its_room(void **state) {
    t_need_filters();
    flow(*state, FIRST, true);
}

static void a_refused_reader_makes_room_that_is_noticed(void **state) {
    t_need_filters();
    flow(*state, SECOND, false);
}

static void both_refused_make_and_get_room(void **state) {
    t_need_filters();
    flow(*state, BOTH, false);
}

/* ---- quiet ------------------------------------------------------------------------------------------------------- */

static int sleep_quietly(void *arg) {
    (void)arg;
    struct lw_bus *bus = open_as(FIRST);
    struct lw_group *g = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    for (int64_t end = t_now() + LW_MS(300); t_now() < end;) T_NEED(!tg_poll(g, end - t_now()).kind);
    struct lw_group_stats stats = tg_stats(g);
    T_NEED(is_parked(sub) && stats.tick_finds == 0);
    T_NEED(refused ? stats.ticks >= 5 && stats.ticks <= 31 : stats.ticks <= 1);
    int64_t begin = t_now();
    T_NEED(lw_group_arm(g) >= 0 && lw_group_arm(g) == 0);
    struct lw_event event;
    T_NEED(lw_group_poll(g, &event, 1, LW_MS(20)) == 0 && t_now() - begin >= LW_MS(20)); /* a timeout is kept */
    T_NEED(!lw_sub_move(sub, NULL, NULL) && !is_parked(sub));                            /* who leaves clears its bit */
    lw_sub_close(sub);
    T_NEED(!lw_group_close(g));
    return lw_bus_close(bus);
}

static void sleeps_are_short_where_it_is_refused_and_long_elsewhere(void **state) {
    t_need_filters();
    dir_of = *state;
    for (refused = 0; refused <= FIRST; refused++) {
        struct t_child child = t_fork(sleep_quietly, NULL);
        assert_int_equal(t_wait(&child), 0);
    }
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

static struct tl_party party_of(int side, const char *node) {
    if (refused & side) t_refuse(SYS_membarrier, EPERM);
    return tl_party(dir_of, node);
}

static void check_link(const struct lw_link *link, int side) {
    bool always = refused & side;
    T_NEED((link->ends.out->writer.tx.parked == lw__masks_always) == always);
    T_NEED((link->ends.in->reader.rx.wanted == lw__masks_always) == always);
}

/* The next message, and nothing else is told before. */
static void expect(struct tl_party *p, struct lw_link *link, uint64_t number) {
    struct lw_msg m;
    struct lw_event e;
    int64_t begin = t_now();
    T_NEED(tl_await(p, LW_READABLE, link, &e));
    T_NEED(t_now() - begin < TOO_LONG);
    T_NEED(lw_link_next(link, &m, 0) == 1 && tt_read(&m) == number && !lw_link_release(link, &m));
}

static int be_client(void *arg) {
    (void)arg;
    struct tl_party p = party_of(FIRST, "alice");
    meet();
    struct lw_link *link = tl_open(&p, "gateway", NULL, "hello");
    T_NEED(tl_await(&p, LW_UP, link, NULL));
    check_link(link, FIRST);
    for (uint64_t n = 0; n < turns; n++) {
        tl_send_many(link, n, 1);
        expect(&p, link, n);
        dawdle();
    }
    lw_link_close(link, 7, "enough");
    tl_leave(&p);
    return 0;
}

static int be_server(void *arg) {
    (void)arg;
    struct tl_party p = party_of(SECOND, "host");
    struct lw_server *server = tl_server(&p, "gateway");
    struct lw_event e;
    int code;
    meet();
    struct lw_link *link = tl_accept(&p, server, "alice");
    T_NEED(tl_await(&p, LW_UP, link, NULL));
    check_link(link, SECOND);
    for (uint64_t n = 0; n < turns; n++) {
        expect(&p, link, n);
        dawdle();
        tl_send_many(link, n, 1);
    }
    T_NEED(tl_await(&p, LW_DOWN, link, &e) && e.code == LW_ECLOSED);
    T_NEED(!strcmp(lw_link_reason(link, &code), "enough") && code == 7);
    lw_link_close(link, 0, NULL);
    lw_server_close(server);
    tl_leave(&p);
    return 0;
}

static void echo(const char *dir, int who) {
    refused = who;
    turns = (uint64_t)t_loops(4000);
    run(be_client, be_server, dir);
}

static void a_refused_client_has_links(void **state) {
    t_need_filters();
    echo(*state, FIRST);
}

static void a_refused_server_has_links(void **state) {
    t_need_filters();
    echo(*state, SECOND);
}

static void both_refused_have_links(void **state) {
    t_need_filters();
    echo(*state, BOTH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(one_side_refused_loses_no_message),
        t_test(both_sides_refused_lose_no_message),
        t_test(one_side_refused_that_waits_loses_no_message),
        t_test(both_sides_refused_that_wait_lose_no_message),
        t_test(a_refused_writer_gets_its_room),
        t_test(a_refused_writer_that_waits_gets_its_room),
        t_test(a_refused_reader_makes_room_that_is_noticed),
        t_test(both_refused_make_and_get_room),
        t_test(sleeps_are_short_where_it_is_refused_and_long_elsewhere),
        t_test(a_refused_client_has_links),
        t_test(a_refused_server_has_links),
        t_test(both_refused_have_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

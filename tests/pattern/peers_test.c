/* SPDX-License-Identifier: MIT */
/*
 * Deaths among many peers: one server, a node of its own for each link, and the time from kill() to LW_DOWN.
 *
 * Most nodes are held by a few processes, which are there to be many; the victims are processes of their own. LW_PEERS
 * says how many nodes in all (make peers: 10,000). Times are printed, not judged: the machine may be busy.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "laneway/fast.h"
#include "laneway/link.h"
#include "util/figures.h"
#include "util/util.h"

enum { MOST = 20000, VICTIMS = 20, HOLDERS = 10, EACH = 8 /* descriptors of a peer, at most */ };

/* What the server tells, in memory that is shared with the test. A peer's number is in its name. */
struct board {
    const char *dir;
    int ups, downs, busy_downs, wrong;
    int descriptors;
    int messages;
    int64_t down_at[MOST];
};

static int load(const int *number) {
    return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static void add(int *number, int n) {
    __atomic_fetch_add(number, n, __ATOMIC_SEQ_CST);
}

static struct board *board_make(const char *dir) {
    struct board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(b != MAP_FAILED);
    b->dir = dir;
    return b;
}

/* ---- the server --------------------------------------------------------------------------------------------------- */

static int number_of(const struct lw_link *link) {
    return atoi(lw_link_client(link) + 1);
}

static void accept_all(struct lw_server *server, struct lw_group *group) {
    struct lw_login login = LW_LOGIN_INIT;
    while (lw_server_login(server, &login) == 1) T_NEED(lw_login_accept(&login, group, NULL, NULL) == 0);
}

/* Some: who sends as fast as we take would keep us here. */
static void take_some(struct lw_link *link, struct board *b) {
    struct lw_msg m;
    int rc = 1;
    for (int i = 0; i < 256 && (rc = lw_link_next(link, &m, 0)) == 1; i++) {
        T_NEED(lw_link_release(link, &m) == 0);
        add(&b->messages, 1);
    }
    if (rc != 1 && rc != LW_EEMPTY) fprintf(stderr, "link of %s: %s\n", lw_link_client(link), lw_errname(rc));
    T_NEED(rc == 1 || rc == LW_EEMPTY);
}

static void on_down(struct board *b, const struct lw_event *e) {
    int n = number_of(e->link);
    if (e->code != LW_EDEAD || n < 0 || n >= MOST || b->down_at[n]) {
        add(&b->wrong, 1);
        return;
    }
    __atomic_store_n(&b->down_at[n], t_now(), __ATOMIC_RELEASE);
    add(&b->downs, 1);
}

static void on_event(struct board *b, struct lw_group *group, const struct lw_event *e) {
    if (e->kind == LW_LOGIN) accept_all(e->server, group);
    if (e->kind == LW_UP) add(&b->ups, 1);
    if (e->kind == LW_DOWN) on_down(b, e);
    if (e->kind == LW_READABLE) take_some(e->link, b);
}

static int serve(void *arg) {
    struct board *b = arg;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    struct lw_event events[64];
    opt.spin = 0;
    T_NEED(t_bus_open(&bus, b->dir, "hub", 0) == 0 && lw_group_open(&group, bus, &opt) == 0);
    T_NEED(lw_server_open(&server, group, "hub", NULL) == 0);
    t_say(0);
    for (;;) {
        int n = lw_group_poll(group, events, 64, LW_SEC(1) / 10);
        T_NEED(n >= 0);
        for (int i = 0; i < n; i++) on_event(b, group, &events[i]);
        if (!n) __atomic_store_n(&b->descriptors, t_descriptors_of(0), __ATOMIC_RELEASE);
    }
}

/* ---- peers -------------------------------------------------------------------------------------------------------- */

struct peer {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_link *link;
};

static void peer_open(struct peer *p, const char *dir, int number) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    char name[32];
    snprintf(name, sizeof name, "n%d", number);
    opt.ring_up = opt.ring_down = 64 << 10;
    T_NEED(t_bus_open(&p->bus, dir, name, 0) == 0);
    T_NEED(lw_group_open(&p->group, p->bus, NULL) == 0);
    T_NEED(lw_link_open(&p->link, p->group, "hub", &opt) == 0);
}

/* Until it is let in, asleep: so the server has to ring its bell. */
static void peer_up(struct peer *p) {
    struct lw_event e;
    while (lw_link_state(p->link) != LW_LINK_UP) T_NEED(lw_group_poll(p->group, &e, 1, LW_SEC(20)) == 1);
}

struct range {
    const struct board *board;
    int first, count;
};

static int hold(void *arg) {
    const struct range *r = arg;
    struct peer p;
    t_allow_descriptors(r->count * EACH + 64);
    for (int i = 0; i < r->count; i++) {
        peer_open(&p, r->board->dir, r->first + i);
        peer_up(&p);
    }
    t_say(r->count);
    t_forever();
}

/* Traffic on one link, as fast as it goes. */
static int chatter(void *arg) {
    const struct range *r = arg;
    struct peer p;
    char text[64] = "busy";
    peer_open(&p, r->board->dir, r->first);
    peer_up(&p);
    t_say(1);
    while (lw_link_send(p.link, 1, text, sizeof text, LW_SEC(10)) >= 0) continue;
    return 1;
}

static struct t_child start(struct board *b, int (*body)(void *), int first, int count) {
    struct range r = {.board = b, .first = first, .count = count};
    struct t_child child = t_fork(body, &r);
    int64_t said, end = t_now() + LW_SEC(120);
    while (!t_heard(&child, 1000, &said))
        if (t_now() > end) fail_msg("peers %d and on do not come", first);
    assert_int_equal(said, count);
    return child;
}

static void await(const int *number, int wanted, const char *what) {
    int64_t end = t_now() + LW_SEC(60);
    while (load(number) < wanted) {
        if (t_now() > end) fail_msg("%d %s of %d after 60 s", load(number), what, wanted);
        t_sleep(LW_MS(1) / 2);
    }
}

/* ---- killing ------------------------------------------------------------------------------------------------------ */

/* One after the other; the server sleeps, or is busy, in between. */
static void kill_each(struct board *b, struct t_child *victims, int first, int count, const char *what) {
    int64_t times[VICTIMS], gone[VICTIMS];
    int before = load(&b->downs);
    for (int i = 0; i < count; i++) {
        t_sleep(LW_MS(20));
        int64_t begin = t_now();
        t_kill_unreaped(&victims[i]);
        gone[i] = t_now() - begin;
        await(&b->downs, before + i + 1, "deaths seen");
        times[i] = __atomic_load_n(&b->down_at[first + i], __ATOMIC_ACQUIRE) - begin;
        assert_true(times[i] > 0); /* it, and no other */
        t_kill(&victims[i]);
    }
    t_print_times(what, times, count);
    t_print_times("    (until the process was gone)", gone, count);
}

/* One process, all whose nodes die at once. */
static void kill_many(struct board *b, struct t_child *holder, int first, int count) {
    int64_t *times = calloc((size_t)count, sizeof *times);
    char what[64];
    int before = load(&b->downs);
    int64_t begin = t_now();
    t_kill_unreaped(holder);
    int64_t gone = t_now() - begin;
    await(&b->downs, before + count, "deaths seen");
    for (int i = 0; i < count; i++) times[i] = b->down_at[first + i] - begin;
    snprintf(what, sizeof what, "%d killed at once", count);
    t_print_times(what, times, count);
    printf("    their process was gone after %.2f ms\n", (double)gone / 1e6);
    t_kill(holder);
    free(times);
}

static void deaths_among(const char *dir, int peers) {
    struct board *b = board_make(dir);
    struct t_child victims[VICTIMS], holders[HOLDERS], server = t_fork(serve, b);
    int each = (peers - VICTIMS) / HOLDERS, first = each * HOLDERS, half = VICTIMS / 2;
    t_hear(&server); /* first: for it there is an inotify instance to be had */
    int64_t begin = t_now();
    for (int i = 0; i < HOLDERS && each; i++) holders[i] = start(b, hold, i * each, each);
    for (int i = 0; i < VICTIMS; i++) victims[i] = start(b, hold, first + i, 1);
    await(&b->ups, first + VICTIMS, "links up");
    printf("    %d peers: up in %.1f s\n", first + VICTIMS, (double)(t_now() - begin) / 1e9);
    __atomic_store_n(&b->descriptors, 0, __ATOMIC_RELEASE);
    await(&b->descriptors, 1, "counts of descriptors");
    printf("    the server has %d descriptors\n", load(&b->descriptors));
    assert_in_range(load(&b->descriptors), 1, 60); /* 32 bells of others among them */
    kill_each(b, victims, first, half, "server sleeps");
    struct t_child busy = start(b, chatter, first + VICTIMS, 1);
    T_UNTIL(load(&b->messages) > 1000);
    kill_each(b, victims + half, first + half, VICTIMS - half, "server is busy");
    t_kill(&busy);
    await(&b->downs, VICTIMS + 1, "deaths seen");
    if (each) kill_many(b, &holders[HOLDERS - 1], first - each, each); /* the first ones have inotify instances */
    assert_int_equal(load(&b->wrong), 0);
    assert_int_equal(load(&b->downs), VICTIMS + 1 + each);
    t_kill(&server);
    for (int i = 0; i < HOLDERS - 1 && each; i++) t_kill(&holders[i]);
    munmap(b, sizeof *b);
}

static void a_death_is_seen_among_few_peers(void **state) {
    deaths_among(*state, VICTIMS);
}

static void a_death_is_seen_among_many_peers(void **state) {
    int peers = t_number("LW_PEERS", (int)t_loops(500));
    if (peers < VICTIMS) peers = VICTIMS;
    if (peers > MOST - 100) peers = MOST - 100;
    if (t_room() < peers * INT64_C(256) << 10) t_skip(__func__, "too little space in /dev/shm");
    deaths_among(*state, peers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_death_is_seen_among_few_peers),
        t_test(a_death_is_seen_among_many_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

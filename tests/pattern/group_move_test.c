/* SPDX-License-Identifier: MIT */
/* group_move_test - handles that go from group to group, of one thread and of two, while others send to them; and what a
 * forked child has of groups: nothing. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bus/group.h"
#include "bus/watch.h"
#include "util/group_util.h"
#include "util/link_util.h"

#define AT_ONCE t_prompt() /* half a tick */

static const char *dir_of;
static uint64_t count;

static uint64_t handles(const struct lw_group *g) {
    return tg_stats(g).handles;
}

/* ---- the other side ---------------------------------------------------------------------------------------------- */

static void dawdle(void) {
    if (t_random() % 64 == 0) t_sleep((int64_t)(t_random() % 200000));
}

/* Whoever reads is there. */
static int send_to_topic(void *arg) {
    (void)arg;
    struct lw_bus *bus = tt_bus(dir_of, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    for (uint64_t n = 0; n < count; n++) {
        dawdle();
        tt_send_many(pub, n, 1);
    }
    lw_pub_close(pub);
    return lw_bus_close(bus);
}

static int send_to_link(void *arg) {
    (void)arg;
    struct tl_party p = tl_party(dir_of, "alice");
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    for (uint64_t n = 0; n < count; n++) {
        dawdle();
        tl_send_many(link, n, 1);
    }
    t_listen();
    lw_link_close(link, 0, NULL);
    tl_leave(&p);
    return 0;
}

static int read_topic(void *arg) {
    (void)arg;
    struct lw_bus *bus = tt_bus(dir_of, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", "reader", LW_FROM_OLDEST);
    for (uint64_t n = 0; n < count; n++) {
        if (n % 256 == 0) dawdle();
        T_NEED(tt_gets(sub, n, 1));
    }
    lw_sub_close(sub);
    return lw_bus_close(bus);
}

static int log_in_and_out(void *arg) {
    (void)arg;
    struct tl_party p = tl_party(dir_of, "alice");
    for (uint64_t n = 0; n < count; n++) {
        struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
        T_NEED(tl_await(&p, LW_DOWN, link, NULL)); /* let in, and closed at once */
        lw_link_close(link, 0, NULL);
    }
    tl_leave(&p);
    return 0;
}

/* ---- one that is handed round ------------------------------------------------------------------------------------ */

/* A handle of some kind, and what is done with it when its group tells of it. */
struct round {
    const struct sort *sort;
    struct lw_bus *bus;
    struct lw_group *g[2];
    union {
        struct lw_sub *sub;
        struct lw_pub *pub;
        struct lw_link *link;
        struct lw_server *server;
    };
    struct lw_server *at;
    uint64_t next, count;        /* by whoever has it */
    bool over;                   /* atomic */
    uint64_t served[2], slow[2]; /* by who polls the group of this number */
};

struct sort {
    int (*other)(void *); /* the child that sends to it */
    enum lw_event_kind kind;
    void (*open)(struct round *r);
    void (*serve)(struct round *r, struct lw_group *here);
    int (*move)(struct round *r, struct lw_group *to);
    void (*close)(struct round *r);
};

static void sub_open(struct round *r) {
    r->sub = tt_sub(r->bus, "t", NULL, LW_FROM_NOW);
}

/* Some of what there is: what is left is told again, there. */
static void sub_serve(struct round *r, struct lw_group *here) {
    struct lw_msg m;
    (void)here;
    for (uint64_t most = t_random() % 8 + 1; most && lw_sub_next(r->sub, &m, 0) == 1; most--)
        T_NEED(tt_read(&m) == r->next++ && !lw_sub_release(r->sub, &m));
}

static int sub_move(struct round *r, struct lw_group *to) {
    return lw_sub_move(r->sub, to, r);
}

static void sub_close(struct round *r) {
    lw_sub_close(r->sub);
}

/* It is told only of room that it was refused, and it is refused for the first time here. */
static void pub_open(struct round *r) {
    lw_sub_close(tt_sub(r->bus, "t", "reader", LW_FROM_NOW));
    r->pub = tt_pub(r->bus, "t");
    while (r->next < r->count && tt_send(r->pub, r->next, 0) >= 0) r->next++;
}

static void pub_serve(struct round *r, struct lw_group *here) {
    int64_t rc = 0;
    (void)here;
    while (r->next < r->count && (rc = tt_send(r->pub, r->next, 0)) >= 0) r->next++;
    T_NEED(rc >= 0 || rc == LW_EFULL);
}

static int pub_move(struct round *r, struct lw_group *to) {
    return lw_pub_move(r->pub, to, r);
}

static void pub_close(struct round *r) {
    lw_pub_close(r->pub);
}

static void server_open(struct round *r) {
    T_NEED(!lw_server_open(&r->server, r->g[0], "gateway", NULL));
}

static void server_serve(struct round *r, struct lw_group *here) {
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_link *link;
    while (lw_server_login(r->server, &login) == 1) {
        if (!login.alive) continue; /* it left before it was let in */
        int rc = lw_login_accept(&login, here, NULL, &link);
        T_NEED(!rc || rc == LW_ESTATE);
        if (rc) continue;
        lw_link_close(link, 0, NULL);
        r->next++;
    }
}

static int server_move(struct round *r, struct lw_group *to) {
    return lw_server_move(r->server, to, r);
}

static void server_close(struct round *r) {
    lw_server_close(r->server);
}

static void link_open(struct round *r) {
    struct tl_party p = {.bus = r->bus, .group = r->g[0]};
    r->at = tl_server(&p, "gateway");
    r->link = tl_accept(&p, r->at, "alice");
}

static void link_serve(struct round *r, struct lw_group *here) {
    struct lw_msg m;
    (void)here;
    for (uint64_t most = t_random() % 8 + 1; most && lw_link_next(r->link, &m, 0) == 1; most--)
        T_NEED(tt_read(&m) == r->next++ && !lw_link_release(r->link, &m));
}

static int link_move(struct round *r, struct lw_group *to) {
    return lw_link_move(r->link, to, r);
}

static void link_close(struct round *r) {
    lw_link_close(r->link, 0, NULL);
    lw_server_close(r->at);
}

static const struct sort subs = {send_to_topic, LW_READABLE, sub_open, sub_serve, sub_move, sub_close};
static const struct sort pubs = {read_topic, LW_WRITABLE, pub_open, pub_serve, pub_move, pub_close};
static const struct sort servers = {log_in_and_out, LW_LOGIN, server_open, server_serve, server_move, server_close};
static const struct sort links = {send_to_link, LW_READABLE, link_open, link_serve, link_move, link_close};

/* ---- in one thread, in two --------------------------------------------------------------------------------------- */

static bool is_over(struct round *r) {
    return __atomic_load_n(&r->over, __ATOMIC_ACQUIRE);
}

/* What the group `i` is told: it serves, and hands it on. What a link is told besides messages is nothing here. */
static void on_event(struct round *r, int i, const struct lw_event *event) {
    if (event->kind == LW_WOKEN || event->kind == LW_UP || event->kind == LW_DOWN) return;
    T_NEED(event->kind == r->sort->kind && event->sub == r->sub && event->user == r);
    r->sort->serve(r, r->g[i]);
    r->served[i]++;
    if (r->next == r->count) {
        __atomic_store_n(&r->over, true, __ATOMIC_RELEASE);
        lw_group_wake(r->g[!i]);
    } else
        T_NEED(!r->sort->move(r, r->g[!i]));
}

enum { MAY_BE_SLOW = 4 }; /* the other side starts, or the machine is busy; else nobody waits for a tick */

static void poll_once(struct round *r, int i) {
    int64_t begin = t_now();
    struct lw_event event = tg_poll(r->g[i], LW_SEC(20));
    if (t_now() - begin > AT_ONCE) r->slow[i]++;
    T_NEED(event.kind && r->slow[i] <= MAY_BE_SLOW);
    on_event(r, i, &event);
}

struct poller {
    struct round *r;
    int i;
};

static void *poll_in_thread(void *arg) {
    struct poller *p = arg;
    while (!is_over(p->r)) poll_once(p->r, p->i);
    return NULL;
}

static void in_threads(struct round *r) {
    struct poller p[2] = {{r, 0}, {r, 1}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, poll_in_thread, &p[1]), 0);
    poll_in_thread(&p[0]);
    pthread_join(thread, NULL);
}

/* The group where it is not says nothing. */
static void in_one_thread(struct round *r) {
    for (int i = 0; !is_over(r); i = !i) {
        if (r->next % 16 == 0) T_NEED(!tg_poll(r->g[!i], 0).kind);
        uint64_t before = r->served[i];
        while (r->served[i] == before && !is_over(r)) poll_once(r, i);
    }
}

static void handed_round(const char *dir, const struct sort *sort, uint64_t how_many, bool threads) {
    struct round r = {.sort = sort, .bus = tt_bus(dir_of = dir, "host"), .count = count = how_many};
    for (int i = 0; i < 2; i++) r.g[i] = tg_group(r.bus, 0);
    struct t_child child = {.pid = 0};
    bool before = sort == &subs || sort == &pubs || sort == &servers; /* it is there before the child begins */
    if (!before) child = t_fork(sort->other, NULL);
    sort->open(&r);
    if (sort == &subs || sort == &pubs) T_NEED(!tg_poll(r.g[0], 0).kind);
    assert_ok(sort->move(&r, r.g[0]));
    if (before) child = t_fork(sort->other, NULL);
    if (threads)
        in_threads(&r);
    else
        in_one_thread(&r);
    if (!getenv("LW_TEST_SHORT"))
        assert_true(r.served[0] && r.served[1]); /* a short run may be over before both had a turn */
    for (int i = 0; i < 2; i++) assert_int_equal(tg_stats(r.g[i]).tick_finds, 0);
    t_tell(&child, 0);
    sort->close(&r);
    assert_int_equal(t_wait(&child), 0);
    for (int i = 0; i < 2; i++) assert_ok(lw_group_close(r.g[i]));
    assert_ok(lw_bus_close(r.bus));
}

static void a_subscriber_moves_in_one_thread(void **state) {
    handed_round(*state, &subs, (uint64_t)t_loops(20000), false);
}
static void a_subscriber_moves_between_two_threads(void **state) {
    handed_round(*state, &subs, (uint64_t)t_loops(40000), true);
}
static void a_publisher_moves_in_one_thread(void **state) {
    handed_round(*state, &pubs, (uint64_t)t_loops(100000) + 20000, false);
}
static void a_publisher_moves_between_two_threads(void **state) {
    handed_round(*state, &pubs, (uint64_t)t_loops(100000) + 20000, true);
}
static void a_link_moves_in_one_thread(void **state) {
    handed_round(*state, &links, (uint64_t)t_loops(20000), false);
}
static void a_link_moves_between_two_threads(void **state) {
    handed_round(*state, &links, (uint64_t)t_loops(40000), true);
}
static void a_server_moves_in_one_thread(void **state) {
    handed_round(*state, &servers, 20, false);
}
static void a_server_moves_between_two_threads(void **state) {
    handed_round(*state, &servers, 20, true);
}

/* ---- before anybody has polled ----------------------------------------------------------------------------------- */

static void what_moved_twice_before_it_was_taken_is_told_where_it_is(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_group *g[3] = {tg_group(bus, 0), tg_group(bus, 0), tg_group(bus, 0)};
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    for (uint64_t n = 0; n < 10; n++) {
        int last = 0;
        tt_send_many(pub, n, 1);
        for (int i = 0; i < 7; i++) {
            last = (int)(t_random() % 3);
            assert_ok(lw_sub_move(sub, g[last], g[last]));
        }
        for (int i = 0; i < 3; i++) {
            struct lw_event event = tg_poll(g[i], 0);
            assert_int_equal(event.kind, i == last ? LW_READABLE : 0);
            assert_ptr_equal(event.user, i == last ? g[i] : NULL);
            assert_int_equal(handles(g[i]), i == last);
        }
        assert_true(tt_gets_only(sub, n, 1));
        if (n % 2) tg_settle(g[last]); /* it is parked there, and moves on from that */
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    for (int i = 0; i < 3; i++) assert_ok(lw_group_close(g[i]));
    assert_ok(lw_bus_close(bus));
}

/* All four kinds, on their way to a group that has not looked. */
static void what_is_closed_on_its_way_is_gone(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_group *g = tg_group(p.server.bus, 0);
    struct lw_sub *sub = tt_sub(p.server.bus, "t", NULL, LW_FROM_NOW);
    struct lw_pub *pub = tt_pub(p.server.bus, "t");
    assert_ok(lw_sub_move(sub, g, NULL));
    assert_ok(lw_pub_move(pub, g, NULL));
    assert_ok(lw_link_move(p.down, g, NULL));
    assert_ok(lw_server_move(p.at, g, NULL));
    for (uint64_t left = 4; left; left--) {
        assert_int_equal(handles(g), left);
        assert_told(lw_group_close(g), -EBUSY, tt_text("%d handle", (int)left));
        if (left == 4) lw_pub_close(pub); /* not in the order in which they came */
        if (left == 3) lw_link_close(p.down, 0, NULL);
        if (left == 2) lw_sub_close(sub);
        if (left == 1) lw_server_close(p.at);
    }
    assert_int_equal(tg_poll(g, 0).kind, 0);
    assert_ok(lw_group_close(g));
    tl_told(&p.client, LW_DOWN, p.up);
    p.down = NULL;
    p.at = NULL;
    tl_pair_end(&p);
}

static void a_group_with_handles_is_closed_when_they_have_left(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_group *g = tg_group(bus, 0), *h = tg_group(bus, 0);
    struct lw_sub *sub = tg_sub(g, bus, "t");
    tg_settle(g);
    assert_fails(lw_group_close(g), -EBUSY, "1 handle");
    assert_ok(lw_sub_move(sub, h, NULL));
    assert_ok(lw_group_close(g)); /* before the other group has taken it */
    assert_fails(lw_group_close(h), -EBUSY, "1 handle");
    assert_ok(lw_sub_move(sub, NULL, NULL));
    assert_ok(lw_group_close(h));
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* ---- one group after the other ----------------------------------------------------------------------------------- */

static int send_when_told(void *arg) {
    (void)arg;
    struct lw_bus *bus = tt_bus(dir_of, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    t_say(0);
    for (uint64_t n = 0; t_listen() >= 0; n++) {
        t_sleep(LW_MS(5));
        int64_t sent = t_now();
        tt_send_many(pub, n, 1);
        t_say(sent);
    }
    lw_pub_close(pub);
    return lw_bus_close(bus);
}

/* The sender has the bell of the last group open, and rings that of the next. */
static void the_next_group_is_rung_when_the_last_one_was_closed(void **state) {
    struct lw_bus *bus = tt_bus(dir_of = *state, NULL);
    struct t_child child = t_fork(send_when_told, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    t_hear(&child);
    for (uint64_t n = 0; n < LW__BELLS_OPEN + 8; n++) {
        struct lw_group *g = tg_group(bus, 0);
        assert_ok(lw_sub_move(sub, g, NULL));
        t_tell(&child, 0);
        assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
        assert_true(t_now() - t_hear(&child) < AT_ONCE);
        assert_int_equal(tg_stats(g).tick_finds, 0);
        assert_true(tt_gets_only(sub, n, 1));
        if (n % 2) assert_ok(lw_sub_move(sub, NULL, NULL));
        struct lw_group *next = n % 2 ? NULL : tg_group(bus, 0);
        if (next) assert_ok(lw_sub_move(sub, next, NULL));
        assert_ok(lw_group_close(g));
        if (next) assert_ok(lw_sub_move(sub, NULL, NULL));
        assert_ok(lw_group_close(next));
    }
    t_tell(&child, -1);
    assert_int_equal(t_wait(&child), 0);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

struct family {
    struct tl_pair *pair;
    struct lw_bus *bus;
    struct lw_group *g, *h;
    struct lw_sub *parked, *coming;
    struct lw_pub *pub;
};

#define REFUSED(call) T_NEED((call) == LW_EFORKED)

static void use_group(struct lw_group *g) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    struct lw_event event;
    REFUSED(lw_group_poll(g, &event, 1, 0));
    REFUSED(lw_group_poll(g, &event, 1, LW_FOREVER));
    REFUSED(lw_group_arm(g));
    REFUSED(lw_group_fd(g));
    REFUSED(lw_group_stat(g, &stats));
    lw_group_wake(g);
    lw_group_set_time(g, 1);
    lw_group_set_time(g, 0);
}

static void move_all(struct family *f, struct lw_group *to) {
    REFUSED(lw_sub_move(f->parked, to, NULL));
    REFUSED(lw_sub_move(f->coming, to, NULL));
    REFUSED(lw_pub_move(f->pub, to, NULL));
    REFUSED(lw_link_move(f->pair->down, to, NULL));
    REFUSED(lw_link_move(f->pair->up, to, NULL));
    REFUSED(lw_server_move(f->pair->at, to, NULL));
}

/* With a bus of its own the child is as good as any process. Handles of its own do not go into its parent's groups. */
static void begin_anew(struct family *f) {
    struct lw_bus *own = tt_bus(dir_of, NULL);
    struct lw_group *g = tg_group(own, 0);
    struct lw_sub *sub = tg_sub(g, own, "t");
    REFUSED(lw_sub_move(sub, f->g, NULL));
    t_say(1);
    T_NEED(tg_poll(g, LW_SEC(20)).kind == LW_READABLE && tt_gets_only(sub, 0, 1));
    lw_sub_close(sub);
    T_NEED(!lw_group_close(g) && !lw_bus_close(own));
}

static int use_all_in_child(void *arg) {
    struct family *f = arg;
    struct lw_group *g;
    struct lw_link *link;
    struct lw_server *server;
    T_NEED(lw__watch_fd(f->bus) < 0);
    REFUSED(lw_group_open(&g, f->bus, NULL));
    REFUSED(lw_link_open(&link, f->g, "gateway", NULL));
    REFUSED(lw_server_open(&server, f->g, "other", NULL));
    use_group(f->g);
    use_group(f->h);
    move_all(f, f->g);
    move_all(f, f->h);
    REFUSED(lw_sub_move(f->parked, NULL, NULL));
    begin_anew(f);
    T_NEED(!lw_group_close(f->g)); /* in whatever order */
    lw_sub_close(f->parked);
    lw_sub_close(f->coming);
    T_NEED(!lw_bus_close(f->bus));
    lw_pub_close(f->pub);
    tl_pair_end(f->pair);
    T_NEED(!lw_group_close(f->h));
    return 0;
}

/* All goes on where it was: the one that was on its way arrives. */
static void parent_goes_on(struct family *f) {
    struct lw_sub *told[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        struct lw_event event = tg_poll(i ? f->h : f->g, LW_SEC(20));
        assert_int_equal(event.kind, LW_READABLE);
        told[i] = event.sub;
        assert_true(tt_gets_only(told[i], 0, 1));
    }
    assert_ptr_equal(told[0], f->parked);
    assert_ptr_equal(told[1], f->coming);
    tl_send_many(f->pair->up, 0, 1);
    tl_told(&f->pair->server, LW_READABLE, f->pair->down);
    assert_true(tl_gets_only(f->pair->down, 0, 1));
}

static void a_forked_child_has_nothing_of_groups_and_the_parent_goes_on(void **state) {
    struct tl_pair pair = tl_pair(dir_of = *state);
    struct family f = {.pair = &pair, .bus = tt_bus(*state, NULL)};
    f.g = tg_group(f.bus, 0);
    f.h = tg_group(f.bus, 0);
    f.parked = tg_sub(f.g, f.bus, "t");
    f.pub = tt_pub(f.bus, "t");
    assert_ok(lw_pub_move(f.pub, f.g, NULL));
    tg_settle(f.g);
    f.coming = tg_sub(f.h, f.bus, "t");
    assert_int_equal(lw_group_arm(f.g), 0);
    struct t_child child = t_fork(use_all_in_child, &f);
    t_hear(&child);
    tt_send_many(f.pub, 0, 1);
    assert_int_equal(t_wait(&child), 0);
    parent_goes_on(&f);
    lw_sub_close(f.parked);
    lw_sub_close(f.coming);
    lw_pub_close(f.pub);
    assert_ok(lw_group_close(f.g));
    assert_ok(lw_group_close(f.h));
    assert_ok(lw_bus_close(f.bus));
    tl_pair_end(&pair);
}

/* Forks at any moment of a move, a ring or a poll of other threads. */
struct crowd {
    struct lw_bus *bus;
    struct lw_group *g[2];
    bool over;
};

static void *move_and_poll(void *arg) {
    struct crowd *c = arg;
    struct lw_pub *pub = tt_pub(c->bus, "t");
    struct lw_sub *sub = tg_sub(c->g[0], c->bus, "t");
    for (uint64_t n = 0; !__atomic_load_n(&c->over, __ATOMIC_RELAXED); n++) {
        struct lw_group *g = c->g[n % 2];
        T_NEED(!lw_sub_move(sub, g, NULL));
        if (n % 3) tg_settle(g);
        tt_send_many(pub, n, 1);
        T_NEED(tg_poll(g, LW_SEC(20)).kind == LW_READABLE && tt_gets_only(sub, n, 1));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    return NULL;
}

static int poll_in_child(void *arg) {
    struct crowd *c = arg;
    for (int i = 0; i < 2; i++) use_group(c->g[i]);
    for (int i = 0; i < 2; i++) T_NEED(!lw_group_close(c->g[i]));
    return lw_bus_close(c->bus);
}

static void forks_at_any_moment_of_a_move_are_harmless(void **state) {
    struct crowd c = {.bus = tt_bus(*state, NULL)};
    pthread_t thread;
    for (int i = 0; i < 2; i++) c.g[i] = tg_group(c.bus, 0);
    assert_int_equal(pthread_create(&thread, NULL, move_and_poll, &c), 0);
    for (int64_t i = t_loops(200); i; i--) {
        struct t_child child = t_fork(poll_in_child, &c);
        assert_int_equal(t_wait(&child), 0);
    }
    __atomic_store_n(&c.over, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++) assert_ok(lw_group_close(c.g[i]));
    assert_ok(lw_bus_close(c.bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_subscriber_moves_in_one_thread),
        t_test(a_subscriber_moves_between_two_threads),
        t_test(a_publisher_moves_in_one_thread),
        t_test(a_publisher_moves_between_two_threads),
        t_test(a_link_moves_in_one_thread),
        t_test(a_link_moves_between_two_threads),
        t_test(a_server_moves_in_one_thread),
        t_test(a_server_moves_between_two_threads),
        t_test(what_moved_twice_before_it_was_taken_is_told_where_it_is),
        t_test(what_is_closed_on_its_way_is_gone),
        t_test(a_group_with_handles_is_closed_when_they_have_left),
        t_test(the_next_group_is_rung_when_the_last_one_was_closed),
        t_test(a_forked_child_has_nothing_of_groups_and_the_parent_goes_on),
        t_test(forks_at_any_moment_of_a_move_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

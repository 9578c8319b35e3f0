/* SPDX-License-Identifier: MIT */
/* group_fd_test - handles that wait for a descriptor as well: a source over a socket pair, and what its group makes of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/wait.h"
#include "util/fake_source.h"
#include "util/group_util.h"
#include "util/seccomp.h"

/* Reads what its socket has, byte by byte in order, and tells of it; with `always`, something is there at each look. */
struct fake {
    struct lw__source source; /* first */
    int fd, peer;
    uint64_t got, looks, drives;
    unsigned char next; /* the byte that comes next */
    bool always;
    bool deaf; /* does not read */
    bool room; /* tells of room instead */
};

static struct fake *fake_of(struct lw__source *s) {
    return (struct fake *)(void *)s;
}

static uint64_t take(struct fake *f) {
    unsigned char bytes[256];
    ssize_t n, sum = 0;
    while (!f->deaf && (n = read(f->fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < n; i++) T_NEED(bytes[i] == f->next++);
        sum += n;
    }
    __atomic_fetch_add(&f->got, (uint64_t)sum, __ATOMIC_RELEASE); /* others wait for it */
    return (uint64_t)sum;
}

static int look(struct lw__source *s, bool closely, struct lw_event *events, int room) {
    struct fake *f = fake_of(s);
    (void)closely, (void)room;
    f->looks++;
    struct pollfd p = {.fd = f->room ? f->fd : -1, .events = POLLOUT};
    bool can = poll(&p, 1, 0) == 1;
    if (can) T_NEED(!lw__source_watch(s, f->fd, EPOLLIN)); /* told once */
    if (can) f->room = false;
    if (!take(f) && !can && !f->always) return 0;
    events[0] = (struct lw_event){.kind = can ? LW_WRITABLE : LW_READABLE};
    return 1;
}

static bool peek(struct lw__source *s) {
    return fake_of(s)->always;
}

static void drive(struct lw__source *s) {
    fake_of(s)->drives++;
    take(fake_of(s));
}

static const struct lw__source_ops ops = {.look = look, .peek = peek, .drive = drive, TG_NO_LANES};

static void fake_open(struct fake *f, struct lw_bus *bus) {
    int fds[2];
    *f = (struct fake){.fd = -1};
    T_NEED(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
    lw__source_init(&f->source, bus, &ops, NULL);
    f->fd = fds[0];
    f->peer = fds[1];
}

static void fake_join(struct fake *f, struct lw_group *g) {
    T_NEED(!lw__source_watch(&f->source, f->fd, EPOLLIN));
    T_NEED(!lw__source_move(&f->source, g, f));
}

static void fake_close(struct fake *f) {
    lw__source_close(&f->source);
    close(f->fd);
    close(f->peer);
}

/* The bytes number `n` and so on, `count` of them. */
static void give(const struct fake *f, uint64_t n, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)(n + i);
        while (write(f->peer, &byte, 1) != 1) T_NEED(errno == EAGAIN);
    }
}

/* Another handle that always has something: the group never rests. */
static void busy_open(struct fake *f, struct lw_bus *bus, struct lw_group *g) {
    fake_open(f, bus);
    f->always = f->source.polled = true;
    T_NEED(!lw__source_move(&f->source, g, f));
}

static bool is_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;
    while ((rc = poll(&p, 1, 0)) < 0 && errno == EINTR) continue;
    return rc == 1;
}

/* A bus, a group that sleeps at once, and one source in it. */
struct one {
    struct lw_bus *bus;
    struct lw_group *g;
    struct fake f;
};

static void one_open(struct one *o, const char *dir) {
    o->bus = tt_bus(dir, "me");
    o->g = tg_group(o->bus, 0);
    fake_open(&o->f, o->bus);
    fake_join(&o->f, o->g);
    tg_settle(o->g);
}

static void one_close(struct one *o) {
    fake_close(&o->f);
    assert_ok(lw_group_close(o->g));
    assert_ok(lw_bus_close(o->bus));
}

/* ---- being woken --------------------------------------------------------------------------------------------------- */

struct giver {
    struct lw_group *g;
    struct fake *f;
    uint64_t count;
};

/* Each byte when the one before has been taken, and the group sleeps. */
static void *give_when_asleep(void *arg) {
    struct giver *giver = arg;
    for (uint64_t n = 0; n < giver->count; n++) {
        uint64_t *word = &giver->g->bell.page->word;
        while (__atomic_load_n(&giver->f->got, __ATOMIC_ACQUIRE) < n) t_sleep(LW_US(20));
        while ((__atomic_load_n(word, __ATOMIC_ACQUIRE) & 3) != LW__ASLEEP) t_sleep(LW_US(20));
        give(giver->f, n, 1);
    }
    return NULL;
}

static void what_is_readable_wakes_a_sleeping_group(void **state) {
    struct one o;
    pthread_t thread;
    one_open(&o, *state);
    struct giver giver = {.g = o.g, .f = &o.f, .count = (uint64_t)t_loops(200)};
    assert_int_equal(pthread_create(&thread, NULL, give_when_asleep, &giver), 0);
    int64_t begin = t_now();
    for (uint64_t n = 1; n <= giver.count; n++) {
        struct lw_event event = tg_poll(o.g, LW_SEC(20));
        assert_int_equal(event.kind, LW_READABLE);
        assert_ptr_equal(event.user, &o.f);
    }
    pthread_join(thread, NULL);
    int64_t each = (t_now() - begin) / (int64_t)giver.count;
    assert_int_equal(o.f.got, giver.count);
    assert_int_equal(tg_stats(o.g).tick_finds, 0);
    assert_true(each < t_prompt());
    one_close(&o);
}

static void what_is_readable_is_seen_while_another_keeps_the_group_busy(void **state) {
    struct one o;
    struct fake busy;
    one_open(&o, *state);
    busy_open(&busy, o.bus, o.g);
    for (uint64_t n = 0; n < 100; n++) {
        T_UNTIL(tg_poll(o.g, 0).user == &busy && o.f.source.place == LW__PARKED);
        uint64_t looks = o.f.looks;
        for (int i = 0; i < 1000; i++) tg_poll(o.g, 0);
        assert_int_equal(o.f.looks, looks); /* parked, it costs nothing */
        give(&o.f, n, 1);
        int turns = 0;
        for (; o.f.got == n; turns++) tg_poll(o.g, 0);
        assert_true(turns <= 20); /* asked for each eighth turn; and the two take turns */
    }
    fake_close(&busy);
    one_close(&o);
}

/* A program that polls now and then, and never waits. */
static void a_poll_that_does_not_wait_tells_of_what_is_ready(void **state) {
    struct one o;
    one_open(&o, *state);
    for (uint64_t n = 0; n < 20; n++) {
        give(&o.f, n, 1);
        t_sleep(LW_MS(1));
        assert_int_equal(tg_poll(o.g, 0).kind, LW_READABLE);
    }
    one_close(&o);
}

static void what_stays_ready_costs_one_look_each_few_turns(void **state) {
    struct one o;
    struct fake busy;
    one_open(&o, *state);
    busy_open(&busy, o.bus, o.g);
    o.f.deaf = true;
    give(&o.f, 0, 1);
    uint64_t parks = tg_stats(o.g).parks;
    for (int i = 0; i < 8000; i++) tg_poll(o.g, 0);
    uint64_t late = o.f.looks;
    assert_true(late >= 500);
    assert_true(tg_stats(o.g).parks <= parks + 2); /* and is not put to sleep and woken all the time */
    assert_ok(lw__source_watch(&o.f.source, o.f.fd, 0));
    for (int i = 0; i < 100; i++) tg_poll(o.g, 0);
    uint64_t looks = o.f.looks;
    for (int i = 0; i < 8000; i++) tg_poll(o.g, 0);
    assert_int_equal(o.f.looks, looks);
    fake_close(&busy);
    one_close(&o);
}

static void more_that_are_ready_than_one_question_tells_of_are_all_told(void **state) {
    enum { MANY = 150 };
    struct fake fakes[MANY];
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    for (int i = 0; i < MANY; i++) {
        fake_open(&fakes[i], bus);
        fake_join(&fakes[i], g);
    }
    tg_settle(g);
    for (int i = 0; i < MANY; i++) give(&fakes[i], 0, 1);
    for (int i = 0; i < MANY; i++) assert_int_equal(tg_poll(g, LW_SEC(20)).kind, LW_READABLE);
    for (int i = 0; i < MANY; i++) assert_int_equal(fakes[i].got, 1);
    for (int i = 0; i < MANY; i++) fake_close(&fakes[i]);
    assert_int_equal(g->fds, 0);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- what is waited for ---------------------------------------------------------------------------------------------- */

static void fill(const struct fake *f) {
    char bytes[4096] = {0};
    while (write(f->fd, bytes, sizeof bytes) > 0) continue;
    assert_int_equal(errno, EAGAIN);
}

static void empty(const struct fake *f) {
    char bytes[4096];
    while (read(f->peer, bytes, sizeof bytes) > 0) continue;
}

static void room_is_told_once_it_is_asked_for(void **state) {
    struct one o;
    one_open(&o, *state);
    for (int i = 0; i < 3; i++) {
        fill(&o.f);
        o.f.room = true;
        assert_ok(lw__source_watch(&o.f.source, o.f.fd, EPOLLIN | EPOLLOUT));
        assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
        empty(&o.f);
        assert_int_equal(tg_poll(o.g, LW_SEC(20)).kind, LW_WRITABLE);
        assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    }
    one_close(&o);
}

static void the_other_sides_end_is_told_even_when_nothing_is_asked_for(void **state) {
    struct one o;
    one_open(&o, *state);
    assert_ok(lw__source_watch(&o.f.source, o.f.fd, 0));
    give(&o.f, 0, 1);
    uint64_t looks = o.f.looks;
    assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    assert_int_equal(o.f.looks, looks);
    shutdown(o.f.peer, SHUT_RDWR);
    assert_int_equal(tg_poll(o.g, LW_SEC(20)).kind, LW_READABLE);
    assert_int_equal(o.f.got, 1);
    one_close(&o);
}

static void another_descriptor_takes_the_place_of_the_first(void **state) {
    struct one o;
    struct fake other;
    one_open(&o, *state);
    fake_open(&other, o.bus);
    assert_ok(lw__source_watch(&o.f.source, other.fd, EPOLLIN));
    int first = o.f.fd;
    o.f.fd = other.fd;
    give(&other, 0, 1);
    assert_int_equal(tg_poll(o.g, LW_SEC(20)).kind, LW_READABLE);
    give(&o.f, 0, 1); /* of the first one */
    uint64_t looks = o.f.looks;
    assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    assert_int_equal(o.f.looks, looks);
    assert_ok(lw__source_watch(&o.f.source, -1, 0));
    give(&other, 1, 1);
    assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    assert_int_equal(o.g->fds, 0);
    o.f.fd = first;
    fake_close(&other);
    one_close(&o);
}

static void what_can_not_be_watched_is_refused_in_words(void **state) {
    struct one o;
    one_open(&o, *state);
    int file = open(*state, O_RDONLY | O_CLOEXEC); /* a folder is always ready: no set takes it */
    assert_true(file >= 0);
    assert_fails(lw__source_watch(&o.f.source, file, EPOLLIN), -EPERM, "descriptor");
    assert_int_equal(o.f.source.fd, -1);
    assert_int_equal(o.g->fds, 0);
    assert_ok(lw__source_watch(&o.f.source, o.f.fd, EPOLLIN));
    give(&o.f, 0, 1);
    assert_int_equal(tg_poll(o.g, LW_SEC(20)).kind, LW_READABLE);
    close(file);
    one_close(&o);
}

/* The set of the second group has no room when it comes. */
static int be_crowded(void *arg) {
    struct one o;
    o.bus = tt_bus(arg, "crowded");
    o.g = tg_group(o.bus, 0);
    fake_open(&o.f, o.bus);
    t_refuse(SYS_epoll_ctl, ENOSPC);
    fake_join(&o.f, o.g);
    while (tg_poll(o.g, LW_MS(1)).kind) continue;
    T_NEED(o.g->fds == 0 && o.g->fds_missing == 1);
    for (uint64_t n = 0; n < 3; n++) {
        give(&o.f, n, 1);
        T_NEED(tg_poll(o.g, LW_SEC(20)).kind == LW_READABLE);
    }
    fake_close(&o.f);
    T_NEED(o.g->fds_missing == 0);
    T_NEED(!lw_group_close(o.g));
    return lw_bus_close(o.bus);
}

static void without_room_in_the_set_it_is_looked_at_by_timer(void **state) {
    t_need_filters();
    struct t_child child = t_fork(be_crowded, *state);
    assert_int_equal(t_wait(&child), 0);
}

/* ---- coming and going -------------------------------------------------------------------------------------------------- */

static void one_that_is_closed_leaves_nothing_in_the_set(void **state) {
    struct one o;
    struct fake other;
    one_open(&o, *state);
    fake_open(&other, o.bus);
    fake_join(&other, o.g);
    tg_settle(o.g);
    give(&other, 0, 1);
    int copy = dup(other.fd); /* else closing would take it out */
    assert_true(copy >= 0);
    fake_close(&other);
    uint64_t looks = o.f.looks;
    for (int i = 0; i < 100; i++) assert_int_equal(tg_poll(o.g, 0).kind, 0);
    assert_int_equal(o.f.looks, looks);
    assert_false(is_readable(lw_group_fd(o.g)));
    close(copy);
    one_close(&o);
}

static void one_that_comes_readable_is_told_where_it_comes(void **state) {
    struct one o;
    one_open(&o, *state);
    struct lw_group *second = tg_group(o.bus, 0);
    give(&o.f, 0, 1);
    assert_ok(lw__source_move(&o.f.source, second, &o));
    assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    assert_int_equal(o.g->fds, 0);
    struct lw_event event = tg_poll(second, LW_SEC(20));
    assert_int_equal(event.kind, LW_READABLE);
    assert_ptr_equal(event.user, &o);
    tg_settle(second);
    give(&o.f, 1, 1);
    assert_int_equal(tg_poll(second, LW_SEC(20)).kind, LW_READABLE);
    assert_ok(lw__source_move(&o.f.source, NULL, NULL));
    assert_int_equal(second->fds, 0);
    give(&o.f, 2, 1);
    assert_int_equal(tg_poll(second, LW_MS(2)).kind, 0);
    assert_ok(lw_group_close(second));
    one_close(&o);
}

/* Two threads with a group each hand it to each other; a third one feeds it, and rings for it as well. */
struct round {
    struct fake f;
    struct lw_group *g[2];
    uint64_t count, served[2];
    bool over;
};

struct seat {
    struct round *round;
    int at;
};

static void *serve(void *arg) {
    const struct seat *seat = arg;
    struct round *r = seat->round;
    struct lw_group *here = r->g[seat->at], *there = r->g[!seat->at];
    while (!__atomic_load_n(&r->over, __ATOMIC_ACQUIRE)) {
        if (tg_poll(here, LW_MS(50)).kind != LW_READABLE) continue;
        r->served[seat->at]++;
        bool all = r->f.got == r->count;
        if (all) __atomic_store_n(&r->over, true, __ATOMIC_RELEASE);
        if (!all) T_NEED(!lw__source_move(&r->f.source, there, r));
    }
    return NULL;
}

static void *feed(void *arg) {
    struct round *r = arg;
    for (uint64_t n = 0; n < r->count; n++) {
        if (n % 32 == 0) lw__source_ring(&r->f.source);
        if (n % 64 == 0) t_sleep(LW_US(50));
        give(&r->f, n, 1);
    }
    return NULL;
}

static void one_that_is_handed_round_loses_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct round r = {.count = (uint64_t)t_loops(100000), .g = {tg_group(bus, 0), tg_group(bus, -1)}};
    struct seat seats[2] = {{&r, 0}, {&r, 1}};
    pthread_t threads[3];
    fake_open(&r.f, bus);
    fake_join(&r.f, r.g[0]);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, serve, &seats[i]), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, feed, &r), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("served %llu and %llu times\n", (unsigned long long)r.served[0], (unsigned long long)r.served[1]);
    assert_int_equal(r.f.got, r.count);
    fake_close(&r.f);
    assert_int_equal(r.g[0]->fds + r.g[1]->fds, 0);
    for (int i = 0; i < 2; i++) assert_ok(lw_group_close(r.g[i]));
    assert_ok(lw_bus_close(bus));
}

static void a_ring_of_another_thread_makes_it_attend(void **state) {
    struct one o;
    one_open(&o, *state);
    uint64_t looks = o.f.looks;
    lw__source_ring(&o.f.source);
    assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    assert_true(o.f.looks > looks);
    assert_ok(lw__source_move(&o.f.source, NULL, NULL));
    lw__source_ring(&o.f.source); /* nowhere */
    one_close(&o);
}

/* ---- an outer loop ------------------------------------------------------------------------------------------------------- */

static void an_outer_loop_is_woken_by_what_is_ready(void **state) {
    struct one o;
    one_open(&o, *state);
    for (uint64_t n = 0; n < 20; n++) {
        assert_int_equal(lw_group_arm(o.g), 0);
        give(&o.f, n, 1);
        struct pollfd p = {.fd = lw_group_fd(o.g), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20000), 1);
        assert_int_equal(tg_poll(o.g, 0).kind, LW_READABLE);
        while (tg_poll(o.g, 0).kind) continue;
    }
    one_close(&o);
}

/* ---- a call that waits on one ---------------------------------------------------------------------------------------------- */

/* Each byte some time after the one before has been taken: it sleeps by then, mostly. */
static void *give_later(void *arg) {
    const struct fake *f = arg;
    for (uint64_t n = 0; n < 20; n++) {
        while (__atomic_load_n(&f->got, __ATOMIC_ACQUIRE) < n) t_sleep(LW_US(20));
        t_sleep((int64_t)(t_random() % 2000000));
        give(f, n, 1);
    }
    return NULL;
}

/* As calls with a timeout do. */
static void wait_for_bytes(struct fake *f, uint64_t count) {
    int rc = 0;
    struct lw__wait wait = lw__wait_for(LW_SEC(20), &f->source);
    while (f->got < count && !(rc = lw__wait_turn(&wait))) continue;
    lw__wait_done(&wait);
    assert_int_equal(rc, 0);
}

static void waits_alone_or_in(struct fake *f) {
    pthread_t thread;
    int64_t begin = t_now();
    assert_int_equal(pthread_create(&thread, NULL, give_later, f), 0);
    for (uint64_t n = 1; n <= 20; n++) wait_for_bytes(f, n);
    pthread_join(thread, NULL);
    assert_true((t_now() - begin) / 20 < t_prompt());
    assert_true(f->drives > 0);
}

static void a_call_that_waits_drives_its_handle(void **state) {
    struct one o;
    one_open(&o, *state);
    waits_alone_or_in(&o.f);
    one_close(&o);
}

static void a_call_that_waits_drives_a_handle_in_no_group(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct fake f;
    fake_open(&f, bus);
    assert_ok(lw__source_watch(&f.source, f.fd, EPOLLIN));
    waits_alone_or_in(&f);
    fake_close(&f);
    assert_ok(lw_bus_close(bus));
}

static void a_call_in_a_group_that_never_sleeps_drives_its_handle(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    struct lw_group *g;
    struct fake f;
    opt.spin = LW_FOREVER;
    assert_ok(lw_group_open(&g, bus, &opt));
    fake_open(&f, bus);
    fake_join(&f, g);
    waits_alone_or_in(&f);
    fake_close(&f);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* Another one's socket is ready and stays so: that must not keep the processor busy. */
static void what_others_have_to_read_does_not_end_each_sleep_of_a_call(void **state) {
    struct one o;
    struct fake other;
    one_open(&o, *state);
    fake_open(&other, o.bus);
    fake_join(&other, o.g);
    tg_settle(o.g);
    give(&other, 0, 1);
    struct lw__wait wait = lw__wait_for(LW_MS(100), &o.f.source);
    uint64_t turns = 0;
    while (!lw__wait_turn(&wait)) turns++;
    lw__wait_done(&wait);
    assert_true(turns < 1000);
    assert_ptr_equal(tg_poll(o.g, LW_SEC(20)).user, &other);
    fake_close(&other);
    one_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(what_is_readable_wakes_a_sleeping_group),
        t_test(what_is_readable_is_seen_while_another_keeps_the_group_busy),
        t_test(a_poll_that_does_not_wait_tells_of_what_is_ready),
        t_test(what_stays_ready_costs_one_look_each_few_turns),
        t_test(more_that_are_ready_than_one_question_tells_of_are_all_told),
        t_test(room_is_told_once_it_is_asked_for),
        t_test(the_other_sides_end_is_told_even_when_nothing_is_asked_for),
        t_test(another_descriptor_takes_the_place_of_the_first),
        t_test(what_can_not_be_watched_is_refused_in_words),
        t_test(without_room_in_the_set_it_is_looked_at_by_timer),
        t_test(one_that_is_closed_leaves_nothing_in_the_set),
        t_test(one_that_comes_readable_is_told_where_it_comes),
        t_test(one_that_is_handed_round_loses_nothing),
        t_test(a_ring_of_another_thread_makes_it_attend),
        t_test(an_outer_loop_is_woken_by_what_is_ready),
        t_test(a_call_that_waits_drives_its_handle),
        t_test(a_call_that_waits_drives_a_handle_in_no_group),
        t_test(a_call_in_a_group_that_never_sleeps_drives_its_handle),
        t_test(what_others_have_to_read_does_not_end_each_sleep_of_a_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

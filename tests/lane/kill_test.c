/* SPDX-License-Identifier: MIT */
/*
 * lane/kill_test.c - SIGKILL for real, at random moments, thousands of times. A book outside of the lane, in memory
 * that outlives everybody, says what was accepted and what was released; whoever comes next must find nothing lost,
 * nothing out of order, and nothing again whose release had returned (pitfalls 14, 15, 17 and 23).
 */
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "util/lane_util.h"

/* Each line is written by one process only, before or after the call that it is about. */
struct book {
    uint64_t accepted; /* messages whose send returned */
    uint64_t handed;   /* messages that were handed out, before their release is called */
    uint64_t released; /* messages whose release returned */
    uint64_t joined;   /* how often somebody came in, */
    uint64_t began;    /* and how often the process that is killed next began its work */
};

static struct world {
    struct t_lane lane;
    struct book *book;
    unsigned id; /* of the process that is forked next */
    uint64_t began;
} x;

static void world_begin(uint64_t ring, uint64_t start) {
    x = (struct world){.lane = t_lane_make(ring, 8, start), .id = 10};
    x.book = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(x.book != MAP_FAILED);
    x.book->accepted = x.book->handed = x.book->released = start ? T_NUMBER : 0;
}

static void world_end(void) {
    munmap(x.book, 4096);
    t_lane_end(&x.lane);
    for (unsigned id = 0; id < 65535; id++) t_owner_set(id, true);
}

/* A new process of another owner. */
static struct t_child start(int (*body)(void *), unsigned *id) {
    x.id = x.id < 60000 ? x.id + 1 : 10;
    t_owner_set(x.id, true);
    *id = x.id;
    return t_fork(body, NULL);
}

/* Killed, not ended by itself; and from then on known as dead. */
static void finish(struct t_child *child, unsigned id) {
    kill(child->pid, SIGKILL);
    assert_int_equal(t_wait(child), -SIGKILL);
    t_owner_set(id, false);
}

static void has_begun(void) {
    __atomic_fetch_add(&x.book->began, 1, __ATOMIC_RELAXED);
}

static bool begun(void) {
    return __atomic_load_n(&x.book->began, __ATOMIC_RELAXED) != x.began;
}

/* ---- what they do ------------------------------------------------------------------------------------------------ */

static int64_t write_something(struct lw__writer *w) {
    uint64_t lens[T_BATCH_MAX], kind = t_random() % 8, len = t_random() % 100;
    unsigned n = 2 + (unsigned)(t_random() % 7);
    for (unsigned i = 0; i < n; i++) lens[i] = t_random() % 80;
    return kind == 0   ? t_send_batch(w, lens, n)
           : kind == 1 ? t_stage_batch(w, lens, n)
           : kind == 2 ? t_send_in_place(w, len + 300, len)
           : kind == 3 ? t_send(w, len * 9)
                       : t_send(w, len);
}

enum { MOST = 8 }; /* messages by one operation */

static int writer(void *arg) {
    (void)arg;
    struct lw__lane lane = t_lane_map(&x.lane, LW__WRITE);
    struct lw__writer w;
    t_write_as(&w, &lane, x.id);
    T_NEED(w.tx.number >= x.book->accepted && w.tx.number <= x.book->accepted + MOST);
    __atomic_store_n(&x.book->accepted, w.tx.number, __ATOMIC_RELEASE);
    has_begun();
    for (;;) {
        int64_t rc = write_something(&w);
        T_NEED(rc >= 0 || rc == LW_EFULL);
        __atomic_store_n(&x.book->accepted, w.tx.number, __ATOMIC_RELEASE);
    }
}

/* Peeks at some, checks them, releases some of these. */
static void read_something(struct lw__reader *r) {
    struct lw_msg m, last = {.position = 0};
    for (uint64_t n = t_random() % 6 + 1; n; n--) {
        uint64_t number = r->rx.number;
        int rc = t_next(r, &m);
        if (rc == LW_EEMPTY) break;
        T_NEED(rc == 1 && m.number == number && t_fits(&m));
        if (t_random() % 2) last = m;
    }
    if (!last.data) return;
    T_NEED(t_fits(&last)); /* as long as it is held */
    __atomic_store_n(&x.book->handed, last.number + 1, __ATOMIC_RELEASE);
    T_NEED(!t_release(r, &last));
    __atomic_store_n(&x.book->released, last.number + 1, __ATOMIC_RELEASE);
}

static int durable_reader(void *arg) {
    (void)arg;
    struct lw__lane lane = t_lane_map(&x.lane, LW__READ);
    struct lw__reader r;
    uint64_t holder;
    struct lw__slot *slot = lw__slot_find(&lane, "d");
    T_NEED(slot && !lw__slot_inherit(&r, &lane, slot, t_owner(x.id, LW__SLOT_DURABLE), &t_owners, &holder));
    T_NEED(!lw__reader_resume(&r));
    T_NEED(r.rx.number >= x.book->released && r.rx.number <= x.book->handed);
    has_begun();
    for (;;) {
        read_something(&r);
        if (t_random() % 16) continue;
        r.rx.pos = r.rx.head; /* again from the last release on */
        r.rx.number = x.book->released > r.rx.number ? r.rx.number : x.book->released;
    }
}

/* Joins, reads a little, seeks, leaves. */
static int visitor(void *arg) {
    (void)arg;
    struct lw__lane lane = t_lane_map(&x.lane, LW__READ);
    has_begun();
    for (;;) {
        struct lw__reader r;
        struct lw_msg m;
        t_read_as(&r, &lane, x.id, t_random() % 2 ? LW_FROM_NOW : LW_FROM_OLDEST, 0);
        __atomic_fetch_add(&x.book->joined, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < 5; i++) {
            if (i == 3) T_NEED(!lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners));
            int rc = t_next(&r, &m);
            T_NEED(rc == LW_EEMPTY || (rc == 1 && t_fits(&m) && !t_release(&r, &m)));
        }
        lw__reader_leave(&r);
    }
}

/* ---- who is killed ----------------------------------------------------------------------------------------------- */

/* Until it is at its work, and then for a random moment. */
static void let_it_work(struct t_child *child, void (*meanwhile)(void *), void *arg) {
    int64_t number, give_up = t_now() + LW_SEC(20), end;
    while (!begun()) {
        if (meanwhile) meanwhile(arg);
        if (t_now() > give_up || t_heard(child, 0, &number)) fail_msg("the child does not begin");
    }
    for (end = t_now() + (int64_t)(t_random() % 200000); t_now() < end;)
        if (meanwhile) meanwhile(arg);
}

static void drain(void *arg) {
    T_SOUND(t_drain(arg, NULL));
}

/* The kernel kills it at a random moment, wherever it is: nobody has to be awake for that, so it can be done often. */
static void set_a_fuse(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec when = {.it_value.tv_nsec = 1 + (long)(t_random() % 150000)};
    timer_t timer;
    T_NEED(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &when, NULL));
}

static int writer_with_a_fuse(void *arg) {
    set_a_fuse();
    return writer(arg);
}

static void a_writer_without_readers_is_killed_very_often(void **state) {
    (void)state;
    struct lw__place tail;
    int64_t end = t_now() + LW_SEC(3);
    uint64_t runs = 0, deaths_at_work = 0;
    world_begin(4096, 0);
    for (; runs < (uint64_t)t_loops(4000) && t_now() < end; runs++) {
        unsigned id;
        x.began = x.book->began;
        t_random();
        struct t_child child = start(writer_with_a_fuse, &id);
        assert_int_equal(t_wait(&child), -SIGKILL);
        t_owner_set(id, false);
        deaths_at_work += begun();
        T_SOUND(t_at_rest(&x.lane.lane, &tail));
        T_SOUND(t_retained(&x.lane.lane, tail.number));
        assert_true(tail.number >= x.book->accepted && tail.number <= x.book->accepted + MOST);
    }
    print_message("%" PRIu64 " writers killed, %" PRIu64 " at work, %" PRIu64 " messages\n", runs, deaths_at_work,
                  tail.number);
    world_end();
}

static void writer_killed_in_a_lane(uint64_t ring, uint64_t from, int64_t runs, int64_t most) {
    struct lw__reader r;
    struct lw__place tail;
    int64_t end = t_now() + most;
    world_begin(ring, from);
    t_read_as(&r, &x.lane.lane, 1, LW_FROM_NOW, 0);
    for (int64_t run = 0; run < runs && t_now() < end; run++) {
        unsigned id;
        x.began = x.book->began;
        t_random(); /* each child another sequence */
        struct t_child child = start(writer, &id);
        let_it_work(&child, drain, &r);
        finish(&child, id);
        T_SOUND(t_drain(&r, NULL));
        T_SOUND(t_at_rest(&x.lane.lane, &tail));
        assert_true(r.rx.number == tail.number && r.rx.pos == tail.pos);
        assert_true(tail.number >= x.book->accepted && tail.number <= x.book->accepted + MOST);
    }
    print_message("%" PRIu64 " writers killed, %" PRIu64 " messages\n", x.book->began,
                  r.rx.number - (from ? T_NUMBER : 0));
    world_end();
}

static void a_writer_is_killed_and_the_next_goes_on(void **state) {
    (void)state;
    writer_killed_in_a_lane(4096, 0, t_loops(1000), LW_SEC(1));
    writer_killed_in_a_lane(16384, (UINT64_C(1) << 62) - 16384, t_loops(500), LW_SEC(1));
}

static void send_more(void *arg) {
    assert_true(write_something(arg) != LW_ECORRUPT);
}

static void a_reader_is_killed_and_the_next_goes_on(void **state) {
    (void)state;
    struct lw__writer w;
    struct lw__reader d;
    struct lw__place place;
    int64_t end = t_now() + LW_SEC(1);
    world_begin(4096, 0);
    t_write_as(&w, &x.lane.lane, 1);
    t_durable_as(&d, &x.lane.lane, 2, "d", LW_FROM_NOW);
    lw__reader_leave(&d);
    for (int64_t run = t_loops(1500); run && t_now() < end; run--) {
        unsigned id;
        x.began = x.book->began;
        struct t_child child = start(durable_reader, &id);
        let_it_work(&child, send_more, &w);
        finish(&child, id);
        assert_true(lw__cursor_load(&d.slot->cursor, &place));
        assert_true(place.number >= x.book->released); /* else it would come again */
        assert_true(place.number <= x.book->handed);   /* else it would be lost */
        T_SOUND(t_at_rest(&x.lane.lane, NULL));
    }
    assert_true(x.book->released > 0);
    print_message("%" PRIu64 " readers killed, %" PRIu64 " messages\n", x.book->began, x.book->released);
    world_end();
}

/* A writer, a durable reader and a visitor, all killed all the time, while the others go on. */
static void everybody_is_killed_all_the_time(void **state) {
    (void)state;
    int (*const body[3])(void *) = {writer, durable_reader, visitor};
    struct t_child child[3];
    struct lw__reader d;
    struct lw__place tail;
    unsigned id[3];
    int64_t end = t_now() + LW_SEC(2);
    world_begin(4096, 4096);
    t_durable_as(&d, &x.lane.lane, 2, "d", LW_FROM_NOW);
    lw__reader_leave(&d);
    for (int i = 0; i < 3; i++) child[i] = start(body[i], &id[i]);
    for (int64_t run = t_loops(2000); run && t_now() < end; run--) {
        uint64_t who = t_random() % 3;
        t_sleep((int64_t)(t_random() % 300000));
        finish(&child[who], id[who]);
        if (who == 2) lw__lane_sweep(&x.lane.lane, t_owner(3, 0), &t_owners);
        t_random();
        child[who] = start(body[who], &id[who]);
    }
    T_UNTIL(x.book->joined > 0);
    for (int i = 0; i < 3; i++) finish(&child[i], id[i]);
    T_SOUND(t_at_rest(&x.lane.lane, &tail));
    assert_true(tail.number >= x.book->accepted && tail.number <= x.book->accepted + MOST);
    lw__reader_bind(&d, &x.lane.lane, d.slot, t_owner(2, LW__SLOT_DURABLE));
    assert_int_equal(lw__reader_resume(&d), 0);
    T_SOUND(t_drain(&d, NULL));
    assert_true(d.rx.number == tail.number);
    lw__lane_sweep(&x.lane.lane, t_owner(3, 0), &t_owners);
    for (uint32_t i = 0; i < 8; i++) assert_true(!x.lane.lane.slots[i].owner || &x.lane.lane.slots[i] == d.slot);
    print_message("%" PRIu64 " lives, %" PRIu64 " messages, %" PRIu64 " visits\n", x.book->began,
                  tail.number - T_NUMBER, x.book->joined);
    world_end();
}

/* Stopped is not dead: nothing is taken from it, however long; and when it goes on, it goes on. */
static void pitfall_17_a_stopped_writer_keeps_what_it_has(void **state) {
    (void)state;
    struct lw__writer w;
    struct lw__reader r;
    unsigned id;
    world_begin(4096, 0);
    t_read_as(&r, &x.lane.lane, 1, LW_FROM_NOW, 0);
    struct t_child child = start(writer, &id);
    for (int i = 0; i < 50; i++) {
        uint64_t before = __atomic_load_n(&x.book->accepted, __ATOMIC_ACQUIRE);
        while (__atomic_load_n(&x.book->accepted, __ATOMIC_ACQUIRE) < before + 20) T_SOUND(t_drain(&r, NULL));
        t_stop(&child);
        assert_int_equal(lw__writer_take(&w, &x.lane.lane, t_owner(1, 0), &t_owners), LW_EWRITER);
        assert_int_equal(w.holder, t_owner(id, 0));
        T_SOUND(t_at_rest(&x.lane.lane, NULL));
        T_SOUND(t_drain(&r, NULL));
        t_go_on(&child);
    }
    finish(&child, id);
    T_SOUND(t_drain(&r, NULL));
    t_write_as(&w, &x.lane.lane, 1);
    assert_true(w.tx.number == r.rx.number);
    world_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_writer_without_readers_is_killed_very_often), t_test(a_writer_is_killed_and_the_next_goes_on),
        t_test(a_reader_is_killed_and_the_next_goes_on),       t_test(everybody_is_killed_all_the_time),
        t_test(pitfall_17_a_stopped_writer_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

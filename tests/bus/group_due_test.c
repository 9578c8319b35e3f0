/* SPDX-License-Identifier: MIT */
/* group_due_test - handles that are to be told when a time has come: not before, in order, once, wherever they are. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "bus/wait.h"
#include "util/fake_source.h"
#include "util/group_util.h"

/* Counts, and tells what it was told. */
struct fake {
    struct lw__source source; /* first */
    int64_t when;             /* that it asked for last */
    int64_t told_at;
    uint64_t told, seen; /* of what was told, told on by look() */
    int again;           /* asks for another time so often ... */
    int64_t after;       /* ... so much later than it was told */
    bool always;         /* there is something at each look */
    bool silent;         /* has nothing to tell, when its time has come */
};

static uint64_t told_in_all;
static int64_t told_last; /* the time of the last one that was told */

static struct fake *fake_of(struct lw__source *s) {
    return (struct fake *)(void *)s;
}

static void ask(struct fake *f, int64_t when) {
    f->when = when;
    lw__source_due(&f->source, when);
}

static bool due(struct lw__source *s, int64_t now) {
    struct fake *f = fake_of(s);
    T_NEED(now >= f->when && t_now() >= f->when);
    T_NEED(s->due == INT64_MAX);
    told_last = f->when;
    told_in_all++;
    f->told_at = now;
    __atomic_fetch_add(&f->told, 1, __ATOMIC_RELEASE);
    if (f->again-- > 0) ask(f, now + f->after);
    return !f->silent;
}

static int look(struct lw__source *s, bool closely, struct lw_event *events, int room) {
    struct fake *f = fake_of(s);
    (void)closely, (void)room;
    if (f->seen == f->told && !f->always) return 0;
    f->seen = f->told;
    events[0] = (struct lw_event){.kind = LW_READABLE};
    return 1;
}

static bool peek(struct lw__source *s) {
    return fake_of(s)->always;
}

static const struct lw__source_ops ops = {.look = look, .peek = peek, .due = due, TG_NO_LANES};

static void fake_open(struct fake *f, struct lw_bus *bus, struct lw_group *g) {
    *f = (struct fake){.always = false};
    lw__source_init(&f->source, bus, &ops, NULL);
    T_NEED(!lw__source_move(&f->source, g, f));
}

static void busy_open(struct fake *f, struct lw_bus *bus, struct lw_group *g) {
    fake_open(f, bus, g);
    f->always = f->source.polled = true;
}

struct one {
    struct lw_bus *bus;
    struct lw_group *g;
    struct fake f;
};

static void one_open(struct one *o, const char *dir) {
    told_in_all = 0;
    o->bus = tt_bus(dir, "me");
    o->g = tg_group(o->bus, 0);
    fake_open(&o->f, o->bus, o->g);
    tg_settle(o->g);
}

static void one_close(struct one *o) {
    lw__source_close(&o->f.source);
    assert_int_equal(o->g->dues.count, 0);
    assert_ok(lw_group_close(o->g));
    assert_ok(lw_bus_close(o->bus));
}

static struct fake *next_told(struct lw_group *g) {
    struct lw_event event = tg_poll(g, LW_SEC(20));
    assert_int_equal(event.kind, LW_READABLE);
    return event.user;
}

/* ---- one ------------------------------------------------------------------------------------------------------------- */

static void a_sleeping_group_wakes_when_the_time_has_come(void **state) {
    struct one o;
    one_open(&o, *state);
    for (uint64_t i = 1; i <= 20; i++) {
        ask(&o.f, t_now() + (int64_t)(t_random() % 3000000));
        assert_ptr_equal(next_told(o.g), &o.f);
        assert_int_equal(o.f.told, i);
        assert_true(t_now() - o.f.when < t_prompt());
    }
    assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
    assert_int_equal(o.f.told, 20);
    one_close(&o);
}

static void a_busy_group_tells_when_the_time_has_come(void **state) {
    struct one o;
    struct fake busy;
    one_open(&o, *state);
    busy_open(&busy, o.bus, o.g);
    for (uint64_t i = 1; i <= 20; i++) {
        ask(&o.f, t_now() + (int64_t)(t_random() % 3000000));
        while (o.f.told < i) assert_int_equal(tg_poll(o.g, 0).kind, LW_READABLE);
        assert_true(t_now() - o.f.when < t_prompt());
    }
    lw__source_close(&busy.source);
    one_close(&o);
}

/* ... so that it may poll rarely, too. */
static void a_poll_that_does_not_wait_tells_what_is_due(void **state) {
    struct one o;
    one_open(&o, *state);
    for (int i = 0; i < 10; i++) {
        ask(&o.f, t_now());
        t_sleep(LW_MS(1));
        assert_ptr_equal(tg_poll(o.g, 0).user, &o.f);
    }
    one_close(&o);
}

static void it_may_ask_for_another_time_when_it_is_told(void **state) {
    struct one o;
    one_open(&o, *state);
    const int64_t after[] = {LW_US(300), 0, -LW_SEC(1), INT64_MIN / 2};
    for (int i = 0; i < 4; i++) {
        uint64_t before = o.f.told;
        o.f.again = 9;
        o.f.after = after[i];
        ask(&o.f, t_now() + LW_US(100));
        for (int64_t last = 0; o.f.told < before + 10; last = o.f.told_at) {
            next_told(o.g);
            assert_true(o.f.told_at > last);
        }
        assert_int_equal(tg_poll(o.g, LW_MS(2)).kind, 0);
        assert_int_equal(o.f.told, before + 10);
    }
    one_close(&o);
}

/* One that always asks for a time that is over does not keep others from theirs, nor the group from its caller. */
static void one_that_is_always_due_does_not_hold_up_the_others(void **state) {
    struct one o;
    struct fake greedy;
    one_open(&o, *state);
    fake_open(&greedy, o.bus, o.g);
    greedy.silent = true;
    greedy.again = 1 << 30;
    ask(&greedy, 0);
    ask(&o.f, t_now() + LW_MS(1));
    assert_ptr_equal(next_told(o.g), &o.f);
    assert_int_equal(tg_poll(o.g, LW_MS(1)).kind, 0);
    lw__source_close(&greedy.source);
    one_close(&o);
}

static void the_past_is_now_and_the_far_future_never(void **state) {
    struct one o;
    one_open(&o, *state);
    const int64_t past[] = {0, 1, -1, INT64_MIN, t_now() - 1};
    for (int i = 0; i < 5; i++) {
        ask(&o.f, past[i]);
        assert_ptr_equal(next_told(o.g), &o.f);
    }
    ask(&o.f, INT64_MAX - 1);
    assert_int_equal(tg_poll(o.g, LW_MS(5)).kind, 0);
    assert_int_equal(lw_group_arm(o.g), 0);
    assert_int_equal(tg_poll(o.g, 0).kind, 0);
    assert_int_equal(o.g->dues.count, 1);
    ask(&o.f, INT64_MAX);
    assert_int_equal(o.g->dues.count, 0);
    ask(&o.f, INT64_MAX);
    assert_int_equal(o.f.told, 5);
    one_close(&o);
}

static void what_is_put_off_or_called_off_is_not_told(void **state) {
    struct one o;
    one_open(&o, *state);
    ask(&o.f, t_now() + LW_MS(1));
    ask(&o.f, INT64_MAX);
    assert_int_equal(tg_poll(o.g, LW_MS(5)).kind, 0);
    ask(&o.f, t_now() + LW_SEC(1000));
    ask(&o.f, t_now() + LW_MS(1)); /* sooner, again */
    assert_ptr_equal(next_told(o.g), &o.f);
    assert_int_equal(o.f.told, 1);
    one_close(&o);
}

static void without_an_answer_of_its_own_it_is_looked_at(void **state) {
    struct one o;
    one_open(&o, *state);
    struct lw__source_ops plain = ops;
    plain.due = NULL;
    o.f.source.ops = &plain;
    o.f.told++; /* so that look() has something */
    ask(&o.f, t_now() + LW_MS(1));
    assert_ptr_equal(next_told(o.g), &o.f);
    assert_int_equal(o.f.source.due, INT64_MAX);
    one_close(&o);
}

/* ---- coming and going -------------------------------------------------------------------------------------------------- */

static void a_time_goes_with_the_handle(void **state) {
    struct one o;
    one_open(&o, *state);
    struct lw_group *second = tg_group(o.bus, 0);
    ask(&o.f, t_now() + LW_MS(2));
    assert_ok(lw__source_move(&o.f.source, second, &o.f));
    assert_int_equal(o.g->dues.count, 0);
    assert_int_equal(tg_poll(o.g, LW_MS(5)).kind, 0);
    assert_int_equal(o.f.told, 0);
    assert_ptr_equal(next_told(second), &o.f);
    assert_ok(lw__source_move(&o.f.source, NULL, NULL));
    ask(&o.f, t_now() + LW_MS(1)); /* in no group */
    assert_ok(lw__source_move(&o.f.source, o.g, &o.f));
    ask(&o.f, t_now() + LW_MS(2)); /* while it is coming */
    assert_ptr_equal(next_told(o.g), &o.f);
    assert_int_equal(o.f.told, 2);
    assert_ok(lw_group_close(second));
    one_close(&o);
}

static void one_that_is_closed_before_its_time_is_not_told(void **state) {
    struct one o;
    struct fake other;
    one_open(&o, *state);
    fake_open(&other, o.bus, o.g);
    tg_settle(o.g);
    ask(&other, t_now() + LW_MS(1));
    ask(&o.f, t_now() + LW_MS(2));
    lw__source_close(&other.source);
    assert_ptr_equal(next_told(o.g), &o.f);
    assert_int_equal(other.told, 0);
    one_close(&o);
}

struct seat {
    struct lw_group *here, *there;
    struct fake *f;
    bool *over;
};

/* Whoever is told hands it on, with the next time. */
static void *serve(void *arg) {
    struct seat *seat = arg;
    struct fake *f = seat->f;
    while (!__atomic_load_n(seat->over, __ATOMIC_ACQUIRE)) {
        if (tg_poll(seat->here, LW_MS(20)).kind != LW_READABLE) continue;
        bool over = f->told >= (uint64_t)t_loops(2000);
        if (over) __atomic_store_n(seat->over, true, __ATOMIC_RELEASE);
        if (!over) ask(f, t_now() + f->after);
        if (!over) T_NEED(!lw__source_move(&f->source, seat->there, f));
    }
    return NULL;
}

static void one_that_is_handed_round_is_told_in_time(void **state) {
    struct one o;
    bool over = false;
    one_open(&o, *state);
    struct lw_group *second = tg_group(o.bus, -1);
    struct seat seats[2] = {{o.g, second, &o.f, &over}, {second, o.g, &o.f, &over}};
    pthread_t threads[2];
    o.f.after = LW_US(20);
    ask(&o.f, t_now());
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, serve, &seats[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(o.f.told, t_loops(2000));
    lw__source_close(&o.f.source);
    assert_ok(lw_group_close(second));
    one_close(&o);
}

/* ---- many -------------------------------------------------------------------------------------------------------------- */

enum { MANY = 5000 };

static struct fake *many_open(const struct one *o, int64_t within) {
    struct fake *fakes = calloc(MANY, sizeof *fakes);
    assert_non_null(fakes);
    int64_t begin = t_now();
    for (int i = 0; i < MANY; i++) {
        fake_open(&fakes[i], o->bus, o->g);
        fakes[i].silent = true;
        ask(&fakes[i], begin + (int64_t)(t_random() % (uint64_t)within));
    }
    return fakes;
}

static void many_close(struct fake *fakes) {
    for (int i = 0; i < MANY; i++) lw__source_close(&fakes[i].source);
    free(fakes);
}

static void thousands_are_told_in_order_and_once(void **state) {
    struct one o;
    one_open(&o, *state);
    struct fake *fakes = many_open(&o, LW_MS(200));
    uint64_t told = 0;
    tg_poll(o.g, 0); /* they come: what is over by then is told in order as well */
    for (int64_t last = 0; told_in_all < MANY;) {
        int64_t next = lw__dues_next(&o.g->dues);
        assert_true(next >= last);
        assert_int_equal(tg_poll(o.g, LW_US(200)).kind, 0);
        if (told_in_all != told) last = told_last;
        if (told_in_all != told) assert_true(last >= next);
        told = told_in_all;
    }
    for (int i = 0; i < MANY; i++) assert_int_equal(fakes[i].told, 1);
    assert_int_equal(o.g->dues.count, 0);
    many_close(fakes);
    one_close(&o);
}

/* A group in which many have a time that is far off does not wake for them. */
static void thousands_that_are_not_due_cost_nothing(void **state) {
    struct one o;
    one_open(&o, *state);
    struct fake *fakes = many_open(&o, LW_MS(1));
    for (int i = 0; i < MANY; i++) ask(&fakes[i], t_now() + LW_SEC(1000) + i);
    tg_settle(o.g);
    ask(&o.f, t_now() + LW_MS(20));
    uint64_t sleeps = tg_stats(o.g).sleeps, ticks = tg_stats(o.g).ticks;
    assert_ptr_equal(next_told(o.g), &o.f);
    assert_true(tg_stats(o.g).sleeps - sleeps <= 2 + 2 * (tg_stats(o.g).ticks - ticks));
    assert_int_equal(told_in_all, 1);
    many_close(fakes);
    one_close(&o);
}

/* The heap by itself against a list. */
static void the_first_is_always_the_earliest(void **state) {
    enum { SOME = 300 };
    struct fake *fakes = calloc(SOME, sizeof *fakes);
    struct lw__source *heap[SOME];
    struct lw__dues dues = {.heap = heap};
    (void)state;
    assert_non_null(fakes);
    for (int i = 0; i < SOME; i++) fakes[i].source.due = INT64_MAX;
    for (int64_t n = t_loops(20000); n > 0; n--) {
        struct lw__source *s = &fakes[t_random() % SOME].source;
        bool was = s->due != INT64_MAX, will = t_random() % 3;
        if (was && !will) lw__dues_drop(&dues, s);
        s->due = will ? (int64_t)(t_random() % 1000) : INT64_MAX;
        if (will) (was ? lw__dues_changed : lw__dues_add)(&dues, s);
        int64_t first = INT64_MAX;
        uint32_t count = 0;
        for (int i = 0; i < SOME; i++) {
            if (fakes[i].source.due < first) first = fakes[i].source.due;
            count += fakes[i].source.due != INT64_MAX;
        }
        assert_int_equal(lw__dues_next(&dues), first);
        assert_int_equal(dues.count, count);
    }
    free(fakes);
}

/* ---- other ways to wait --------------------------------------------------------------------------------------------------- */

static void an_outer_loop_is_woken_when_the_time_has_come(void **state) {
    struct one o;
    one_open(&o, *state);
    for (int i = 0; i < 20; i++) {
        ask(&o.f, t_now() + (int64_t)(t_random() % 3000000));
        uint64_t before = o.f.told;
        while (o.f.told == before) {
            struct pollfd p = {.fd = lw_group_fd(o.g), .events = POLLIN};
            int rc = lw_group_arm(o.g);
            assert_true(rc == 0 || rc == 1);
            assert_int_equal(poll(&p, 1, 20000), 1);
            tg_poll(o.g, 0);
        }
        while (tg_poll(o.g, 0).kind) continue;
    }
    one_close(&o);
}

static void waits_until_told(struct fake *f) {
    int rc = 0;
    uint64_t before = f->told;
    ask(f, t_now() + LW_MS(3));
    struct lw__wait wait = lw__wait_for(LW_SEC(20), &f->source);
    while (f->told == before && !(rc = lw__wait_turn(&wait))) continue;
    lw__wait_done(&wait);
    assert_int_equal(rc, 0);
}

static void a_call_that_waits_tells_what_is_due(void **state) {
    struct one o;
    one_open(&o, *state);
    waits_until_told(&o.f);
    assert_ok(lw__source_move(&o.f.source, NULL, NULL));
    waits_until_told(&o.f); /* by itself */
    waits_until_told(&o.f);
    one_close(&o);
}

static void a_call_in_a_group_that_never_sleeps_tells_what_is_due(void **state) {
    struct one o;
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    struct lw_group *restless;
    one_open(&o, *state);
    opt.spin = LW_FOREVER;
    assert_ok(lw_group_open(&restless, o.bus, &opt));
    assert_ok(lw__source_move(&o.f.source, restless, NULL));
    tg_poll(restless, 0);
    waits_until_told(&o.f);
    assert_ok(lw__source_move(&o.f.source, NULL, NULL));
    assert_ok(lw_group_close(restless));
    one_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_sleeping_group_wakes_when_the_time_has_come),
        t_test(a_busy_group_tells_when_the_time_has_come),
        t_test(a_poll_that_does_not_wait_tells_what_is_due),
        t_test(it_may_ask_for_another_time_when_it_is_told),
        t_test(one_that_is_always_due_does_not_hold_up_the_others),
        t_test(the_past_is_now_and_the_far_future_never),
        t_test(what_is_put_off_or_called_off_is_not_told),
        t_test(without_an_answer_of_its_own_it_is_looked_at),
        t_test(a_time_goes_with_the_handle),
        t_test(one_that_is_closed_before_its_time_is_not_told),
        t_test(one_that_is_handed_round_is_told_in_time),
        t_test(thousands_are_told_in_order_and_once),
        t_test(thousands_that_are_not_due_cost_nothing),
        cmocka_unit_test(the_first_is_always_the_earliest),
        t_test(an_outer_loop_is_woken_when_the_time_has_come),
        t_test(a_call_that_waits_tells_what_is_due),
        t_test(a_call_in_a_group_that_never_sleeps_tells_what_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a side of a link says to the other (src/pattern/side.c): whole or not at all, also while it is being written,
 * and when its writer dies at any instruction.
 *
 * pitfall 1: a length is loaded once and bounded.
 * pitfall 6: a death between two stores.
 * pitfall 33: no byte but those that were given.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "pattern/side.h"
#include "util/step.h"
#include "util/util.h"

static struct lw__side *side; /* shared with children */

static int make_side(void **state) {
    if (t_setup(state)) return -1;
    side = mmap(NULL, sizeof *side, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return side == MAP_FAILED ? -1 : 0;
}

static int end_side(void **state) {
    munmap(side, sizeof *side);
    return t_teardown(state);
}

/* Saying `n`: each part of it follows from n. */
static void say(uint64_t n) {
    char words[LW_LOGIN_MAX];
    struct lw__saying s = {.owner = n << 16,
                           .session = n,
                           .what = (enum lw__what)(1 + n % 4),
                           .accepted = ~n,
                           .code = (int)n - 100,
                           .length = n * 37 % (LW_LOGIN_MAX + 1),
                           .instance = n * 3};
    memset(words, (int)n, sizeof words);
    lw__side_write(side, &s, words);
}

/* Is it one saying, all of it? */
static bool is_whole(const struct lw__saying *s, const char *words) {
    uint64_t n = s->session;
    bool whole = s->owner == n << 16 && s->what == 1 + n % 4 && s->accepted == ~n && s->code == (int)n - 100 &&
                 s->length == n * 37 % (LW_LOGIN_MAX + 1) && s->instance == n * 3 && !words[s->length];
    for (size_t i = 0; i < s->length; i++) whole = whole && words[i] == (char)n;
    return whole;
}

struct heard {
    struct lw__saying s;
    _Alignas(8) char words[LW_LOGIN_MAX + 8];
};

static void what_was_said_is_heard(void **state) {
    (void)state;
    struct heard h;
    assert_true(lw__side_read(side, &h.s, h.words)); /* nothing yet */
    assert_int_equal(h.s.what, LW__SAYS_NOTHING);
    assert_int_equal(h.s.length, 0);
    for (uint64_t n = 1; n < 200; n++) {
        say(n);
        assert_true(lw__side_read(side, &h.s, h.words) && is_whole(&h.s, h.words));
        assert_int_equal(h.s.session, n);
        assert_int_equal(h.s.turn, lw__side_turn(side));
        assert_int_equal(h.s.turn, 2 * n);
        assert_true(lw__side_read(side, &h.s, NULL));
    }
}

static void numbers_of_a_peer_are_bounded(void **state) {
    (void)state;
    struct heard h;
    memset(side, 0xff, sizeof *side);
    assert_false(lw__side_read(side, &h.s, h.words)); /* odd */
    side->turn = UINT64_MAX - 1;
    memset(h.words, 'x', sizeof h.words);
    assert_true(lw__side_read(side, &h.s, h.words));
    assert_int_equal(h.s.length, LW_LOGIN_MAX);
    assert_int_equal(h.s.what, LW__SAYS_NOTHING);
    assert_int_equal(h.words[LW_LOGIN_MAX], 0);
    assert_int_equal(h.words[LW_LOGIN_MAX + 1], 'x');
    say(5); /* wraps, and is whole */
    assert_true(lw__side_read(side, &h.s, h.words) && is_whole(&h.s, h.words));
}

static void *speak(void *arg) {
    for (uint64_t n = 1; n <= *(const uint64_t *)arg; n++) say(n);
    return NULL;
}

static void who_listens_while_somebody_speaks_hears_one_saying_or_none(void **state) {
    (void)state;
    pthread_t speaker;
    uint64_t count = 1000 + (uint64_t)t_loops(200000), heard = 0, last = 0;
    struct heard h;
    say(1);
    assert_int_equal(pthread_create(&speaker, NULL, speak, &count), 0);
    while (last < count) {
        if (!lw__side_read(side, &h.s, h.words)) continue;
        if (!is_whole(&h.s, h.words)) fail_msg("torn: session %llu", (unsigned long long)h.s.session);
        assert_true(h.s.session >= last || h.s.session == 1);
        last = h.s.session;
        heard++;
    }
    pthread_join(speaker, NULL);
    assert_true(heard > 0);
}

static void say_eight(void *arg) {
    (void)arg;
    say(8);
}

/* Also of a saying whose end is older than its beginning: the words of 7 are longer. */
static void pitfall_6_a_death_at_any_instruction_says_the_old_or_the_new_or_nothing(void **state) {
    t_need_ptrace();
    (void)state;
    struct heard h;
    uint64_t old = 0, fresh = 0, nothing = 0;
    say(7);
    struct t_step step = t_step_begin(NULL, say_eight, NULL);
    do {
        struct lw__side left = *side;
        if (!lw__side_read(side, &h.s, h.words)) {
            nothing++;
            assert_int_equal(fresh, 0);
        } else {
            if (!is_whole(&h.s, h.words)) fail_msg("torn after %llu steps", (unsigned long long)step.steps);
            assert_true(h.s.session == 8 || (h.s.session == 7 && !nothing && !fresh));
            ++*(h.s.session == 8 ? &fresh : &old);
        }
        struct lw__side *live = side; /* whoever comes next is whole */
        side = &left;
        say(9);
        assert_true(lw__side_read(side, &h.s, h.words) && is_whole(&h.s, h.words) && h.s.session == 9);
        side = live;
    } while (t_step_on(&step));
    t_step_end(&step);
    assert_true(old > 0 && nothing > 0 && fresh > 0);
}

static struct heard *heard; /* by a child */
static bool *heard_it;

static void listen_once(void *arg) {
    (void)arg;
    *heard_it = lw__side_read(side, &heard->s, heard->words);
}

/* The reader is stopped anywhere, and meanwhile something shorter or longer is said: its words are never of two. */
static void a_reader_that_is_overtaken_anywhere_hears_one_of_both(void **state) {
    t_need_ptrace();
    (void)state;
    enum { MOST = 20000, POINTS = 2000 };
    static struct t_point points[POINTS];
    struct {
        struct heard heard;
        bool it;
    } *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    heard = &shared->heard;
    heard_it = &shared->it;
    say(4);
    uint64_t n = t_step_points(NULL, listen_once, NULL, MOST, points, POINTS);
    uint64_t pace = getenv("LW_TEST_SHORT") ? 5 : 1, reached = 0;
    for (uint64_t i = 0; i < n; i += pace) {
        say(4);
        struct t_step step = t_step_begin(NULL, listen_once, NULL);
        if (!t_step_to(&step, &points[i])) { /* where the operation is over */
            t_step_end(&step);
            continue;
        }
        reached++;
        say(i % 2 ? 3 : 5);
        t_step_finish(&step);
        bool whole = *heard_it && is_whole(&heard->s, heard->words);
        t_step_end(&step);
        if (!whole) fail_msg("overtaken at step %llu: torn", (unsigned long long)points[i].n);
    }
    assert_true(reached > 20); /* an instrumented build does not take the same way each time */
    munmap(shared, sizeof *shared);
}

#define side_test(function) cmocka_unit_test_setup_teardown(function, make_side, end_side)

int main(void) {
    const struct CMUnitTest tests[] = {
        side_test(what_was_said_is_heard),
        side_test(numbers_of_a_peer_are_bounded),
        side_test(who_listens_while_somebody_speaks_hears_one_saying_or_none),
        side_test(a_reader_that_is_overtaken_anywhere_hears_one_of_both),
        side_test(pitfall_6_a_death_at_any_instruction_says_the_old_or_the_new_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Is an owner's epoch over? Never for a live one, soon for a dead one, at once for a word nobody can have written. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bus/table.h"
#include "util/util.h"

static int be_x(void *dir) {
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0);
    t_say((int64_t)bus->owner);
    t_forever();
}

static void a_dead_ones_epoch_is_closed_once(void **state) {
    struct lw_bus *a, *b;
    assert_ok(t_bus_open(&a, *state, "a", 0));
    assert_ok(t_bus_open(&b, *state, "b", 0));
    struct t_child child = t_fork(be_x, *state);
    uint64_t owner = (uint64_t)t_hear(&child);
    uint32_t id = lw__owner_node(owner);
    assert_false(lw__owner_gone(a, owner));
    assert_int_equal(lw__table_epoch(a, id), lw__owner_epoch(owner));
    t_kill(&child);
    assert_false(lw__owner_closed(a, owner)); /* nobody looked yet */
    assert_true(lw__owner_gone(a, owner));
    assert_true(lw__owner_closed(b, owner));
    assert_true(lw__owner_gone(b, owner));
    assert_int_equal(lw__table_epoch(a, id), lw__owner_epoch(owner) + 1);
    lw_bus_close(a);
    lw_bus_close(b);
}

static void an_older_epoch_of_a_live_name_is_over(void **state) {
    struct lw_bus *a, *x;
    assert_ok(t_bus_open(&a, *state, "a", 0));
    struct t_child child = t_fork(be_x, *state);
    uint64_t owner = (uint64_t)t_hear(&child);
    t_kill(&child);
    assert_ok(t_bus_open(&x, *state, "x", 0));
    assert_true(lw__owner_closed(a, owner));
    assert_true(lw__owner_gone(a, owner));
    assert_false(lw__owner_gone(a, x->owner));
    lw_bus_close(x);
    lw_bus_close(a);
}

static void an_observer_finds_the_dead_and_changes_nothing(void **state) {
    struct lw_bus *observer;
    struct t_child child = t_fork(be_x, *state);
    uint64_t owner = (uint64_t)t_hear(&child);
    assert_ok(t_bus_open(&observer, *state, NULL, LW_BUS_OBSERVE));
    assert_false(lw__owner_gone(observer, owner));
    t_kill(&child);
    assert_true(lw__owner_gone(observer, owner));
    assert_false(lw__owner_closed(observer, owner));
    lw_bus_close(observer);
}

static void words_nobody_can_have_written_block_nobody(void **state) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    uint16_t id = lw__owner_node(bus->owner);
    uint32_t epoch = lw__owner_epoch(bus->owner);
    const uint64_t garbage[] = {0,
                                1,
                                UINT64_MAX,
                                lw__owner_word(1, 0),
                                lw__owner_word(epoch + 1, id),
                                lw__owner_word(UINT32_MAX, id),
                                lw__owner_word(0, id),
                                lw__owner_word(0, 2),
                                lw__owner_word(1, 2),
                                lw__owner_word(1, 63),
                                lw__owner_word(1, 64),
                                lw__owner_word(0, 65535)};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        assert_true(lw__owner_closed(bus, garbage[i]));
        assert_true(lw__owner_gone(bus, garbage[i]));
    }
    assert_false(lw__owner_closed(bus, bus->owner));
    assert_false(lw__owner_closed(bus, bus->owner | 0xffff)); /* the user's bits say nothing */
    lw_bus_close(bus);
}

static void who_names_the_owner_and_its_pid(void **state) {
    struct lw_bus *a;
    char name[LW_NAME_MAX + 1];
    assert_ok(t_bus_open(&a, *state, "a", 0));
    struct t_child child = t_fork(be_x, *state);
    uint64_t owner = (uint64_t)t_hear(&child);
    assert_int_equal(lw__owner_who(a, owner, name), child.pid);
    assert_string_equal(name, "x");
    assert_int_equal(lw__owner_who(a, lw__owner_word(lw__owner_epoch(owner) - 1, lw__owner_node(owner)), name), 0);
    assert_string_equal(name, "x");
    t_kill(&child);
    assert_int_equal(lw__owner_who(a, owner, name), 0);
    assert_string_equal(name, "x");
    assert_int_equal(lw__owner_who(a, 0, name), 0);
    assert_string_equal(name, "");
    assert_int_equal(lw__owner_who(a, UINT64_MAX, name), 0);
    assert_string_equal(name, "");
    lw_bus_close(a);
}

static void allow_descriptors(rlim_t n) {
    struct rlimit limit = {n, 0};
    struct rlimit was;
    T_NEED(getrlimit(RLIMIT_NOFILE, &was) == 0);
    limit.rlim_max = was.rlim_max;
    T_NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

struct words {
    const char *dir;
    uint64_t live, dead;
};

static int run_out_of_descriptors(void *arg) {
    struct words *w = arg;
    struct lw_bus *bus, *other;
    T_NEED(t_bus_open(&bus, w->dir, "a", 0) == 0);
    int64_t count = 0;
    while (fcntl((int)count, F_GETFD) >= 0 || errno != EBADF) count++; /* the lowest that is free */
    allow_descriptors((rlim_t)count);
    T_NEED(!lw__owner_gone(bus, w->live));
    T_NEED(!lw__owner_gone(bus, w->dead)); /* it is, but who can know? */
    T_NEED(t_bus_open(&other, w->dir, "b", 0) == -EMFILE);
    T_NEED(*lw_errtext());
    for (rlim_t more = 1; more < 8; more++) {
        allow_descriptors((rlim_t)count + more);
        int rc = t_bus_open(&other, w->dir, "b", 0);
        T_NEED(rc == 0 || rc == -EMFILE);
        if (rc == 0) T_NEED(lw_bus_close(other) == 0);
    }
    T_NEED(lw__owner_gone(bus, w->dead));
    T_NEED(!lw__owner_gone(bus, w->live));
    return 0;
}

static void without_descriptors_nobody_is_declared_dead(void **state) {
    struct t_child live = t_fork(be_x, *state);
    struct words w = {.dir = *state, .live = (uint64_t)t_hear(&live)};
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "dead", 0));
    w.dead = bus->owner;
    lw_bus_close(bus);
    struct t_child child = t_fork(run_out_of_descriptors, &w);
    assert_int_equal(t_wait(&child), 0);
    t_kill(&live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_dead_ones_epoch_is_closed_once),
        t_test(an_older_epoch_of_a_live_name_is_over),
        t_test(an_observer_finds_the_dead_and_changes_nothing),
        t_test(words_nobody_can_have_written_block_nobody),
        t_test(who_names_the_owner_and_its_pid),
        t_test(without_descriptors_nobody_is_declared_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Listing the nodes of a bus. */
#include <string.h>
#include <unistd.h>

#include "bus/bus.h"
#include "util/util.h"

struct seen {
    struct lw_node_info node[8];
    int count, stop_at;
};

static int each(const struct lw_node_info *node, void *user) {
    struct seen *seen = user;
    seen->node[seen->count++] = *node;
    return seen->count == seen->stop_at ? 77 : 0;
}

static int be_x(void *dir) {
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0);
    t_say((int64_t)bus->owner);
    t_forever();
}

static void the_list_says_who_lives_and_where(void **state) {
    struct lw_bus *bus;
    struct seen seen = {.count = 0};
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    struct t_child child = t_fork(be_x, *state);
    uint64_t owner = (uint64_t)t_hear(&child);
    assert_int_equal(lw_bus_nodes(bus, each, &seen), 0);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.node[0].name, "me");
    assert_int_equal(seen.node[0].alive, 1);
    assert_int_equal(seen.node[0].pid, getpid());
    assert_string_equal(seen.node[1].name, "x");
    assert_int_equal(seen.node[1].pid, child.pid);
    assert_int_equal(seen.node[1].id, lw__owner_node(owner));
    assert_int_equal(seen.node[1].epoch, lw__owner_epoch(owner));
    t_kill(&child);
    seen.count = 0;
    assert_int_equal(lw_bus_nodes(bus, each, &seen), 0);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.node[1].alive, 0);
    assert_int_equal(seen.node[1].pid, 0);
    lw_bus_close(bus);
}

static void the_callback_may_stop_it(void **state) {
    struct lw_bus *bus, *more;
    struct seen seen = {.stop_at = 1};
    assert_ok(t_bus_open(&bus, *state, "a", 0));
    assert_ok(t_bus_open(&more, *state, "b", 0));
    assert_int_equal(lw_bus_nodes(bus, each, &seen), 77);
    assert_int_equal(seen.count, 1);
    lw_bus_close(more);
    lw_bus_close(bus);
}

static int open_inside(const struct lw_node_info *node, void *bus) {
    struct seen seen = {.count = 0};
    struct lw_bus *other;
    if (strcmp(node->name, "a") != 0) return 0;
    assert_int_equal(lw_bus_nodes(bus, each, &seen), 0);
    assert_ok(t_bus_open(&other, lw_bus_dir(bus), "inside", 0));
    return lw_bus_close(other);
}

static void the_callback_may_use_the_bus(void **state) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "a", 0));
    assert_int_equal(lw_bus_nodes(bus, open_inside, bus), 0);
    lw_bus_close(bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(the_list_says_who_lives_and_where),
        t_test(the_callback_may_stop_it),
        t_test(the_callback_may_use_the_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

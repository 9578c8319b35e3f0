/* SPDX-License-Identifier: MIT */
/* Tidying: what the dead left goes, what the living use stays. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bus/table.h"
#include "util/util.h"

static struct lw_clean_result clean(struct lw_bus *bus) {
    struct lw_clean_result result = {0};
    assert_ok(lw__bus_enter(bus, true));
    assert_ok(lw__bus_clean_nodes(bus, &result));
    lw__bus_leave(bus);
    return result;
}

static bool exists(const struct lw_bus *bus, const char *path) {
    return faccessat(bus->dir.fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int be_someone(void *dir) {
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, dir, NULL, 0) == 0);
    t_say((int64_t)bus->owner);
    t_forever();
}

static void files_of_dead_nodes_go_and_their_epochs_are_closed(void **state) {
    struct lw_bus *bus;
    struct t_child dead = t_fork(be_someone, *state);
    uint64_t owner = (uint64_t)t_hear(&dead);
    struct t_child live = t_fork(be_someone, *state);
    uint64_t other = (uint64_t)t_hear(&live);
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    t_kill(&dead);
    assert_int_equal(clean(bus).nodes, 1);
    assert_false(exists(bus, "nodes/_1"));
    assert_true(exists(bus, "nodes/_2"));
    assert_true(exists(bus, "nodes/me"));
    assert_true(lw__owner_closed(bus, owner));
    assert_false(lw__owner_closed(bus, other));
    uint64_t epoch = lw__table_epoch(bus, lw__owner_node(owner));
    assert_int_equal(clean(bus).nodes, 0);
    assert_int_equal(lw__table_epoch(bus, lw__owner_node(owner)), epoch); /* closed once */
    t_stop(&live);
    assert_int_equal(clean(bus).nodes, 0);
    lw_bus_close(bus);
}

/* Makes unfinished files in several folders and stays. */
static int make_unfinished(void *dir) {
    struct lw_bus *bus;
    char temp[LW__TEMP_MAX];
    T_NEED(t_bus_open(&bus, dir, "maker", 0) == 0);
    T_NEED(lw__dir_make(&bus->dir, "topics/a") == 0 && lw__dir_make(&bus->dir, "topics/a/b") == 0);
    T_NEED(lw__temp_make(&bus->dir, "", 100, temp) >= 0);
    T_NEED(lw__temp_make(&bus->dir, "nodes", 0, temp) >= 0);
    T_NEED(lw__temp_make(&bus->dir, "topics", 4096, temp) >= 0);
    T_NEED(lw__temp_make(&bus->dir, "topics/a/b", 4096, temp) >= 0);
    t_say(1);
    t_forever();
}

static void unfinished_files_of_the_dead_go_and_those_of_the_living_stay(void **state) {
    struct lw_bus *bus;
    struct t_child child = t_fork(make_unfinished, *state);
    t_hear(&child);
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    struct lw_clean_result result = clean(bus);
    assert_int_equal(result.files, 0);
    assert_int_equal(result.nodes, 0);
    t_kill(&child);
    result = clean(bus);
    assert_int_equal(result.files, 4);
    assert_int_equal(result.nodes, 1);
    assert_int_equal(clean(bus).files, 0);
    assert_true(exists(bus, "topics/a/b"));
    lw_bus_close(bus);
}

static void an_unfinished_directory_goes_too(void **state) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    assert_int_equal(mkdirat(bus->dir.fd, "topics/.new-aabbccddeeff", 0700), 0);
    assert_int_equal(mkdirat(bus->dir.fd, "topics/.new-000000000000", 0700), 0);
    assert_int_equal(mkdirat(bus->dir.fd, "topics/.new-000000000000/x", 0700), 0); /* not ours: it holds something */
    assert_int_equal(clean(bus).files, 1);
    assert_false(exists(bus, "topics/.new-aabbccddeeff"));
    assert_true(exists(bus, "topics/.new-000000000000/x"));
    lw_bus_close(bus);
}

static void links_and_strange_entries_are_left_alone(void **state) {
    struct lw_bus *bus;
    char outside[T_PATH + 32];
    snprintf(outside, sizeof outside, "%s.outside", (char *)*state);
    close(open(outside, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    assert_int_equal(symlinkat(outside, bus->dir.fd, "nodes/link"), 0);
    assert_int_equal(symlinkat("/", bus->dir.fd, "topics/root"), 0);
    assert_int_equal(mkdirat(bus->dir.fd, "nodes/folder", 0700), 0);
    close(openat(bus->dir.fd, "notes", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    struct lw_clean_result result = clean(bus);
    assert_int_equal(result.files + result.nodes, 0);
    assert_true(exists(bus, "nodes/link") && exists(bus, "topics/root") && exists(bus, "notes"));
    assert_int_equal(access(outside, F_OK), 0);
    lw_bus_close(bus);
}

static void an_observer_may_not(void **state) {
    struct lw_bus *bus, *observer;
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    assert_ok(t_bus_open(&observer, *state, NULL, LW_BUS_OBSERVE));
    assert_fails(lw__bus_enter(observer, true), LW_ESTATE, "observe");
    lw_bus_close(observer);
    lw_bus_close(bus);
}

static int make_whole_files(void *dir) {
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, dir, NULL, 0) == 0);
    for (int i = 0;; i++) {
        char temp[LW__TEMP_MAX], path[64];
        int fd = lw__temp_make(&bus->dir, "topics", 64, temp), rc;
        T_NEED(fd >= 0 || fd == -ENOENT);
        if (fd < 0) continue;
        snprintf(path, sizeof path, "topics/f%d", i % 10);
        rc = lw__temp_link(&bus->dir, fd, temp, path, true);
        T_NEED(rc == 0 || rc == -ENOENT); /* a cleaner came between */
        T_NEED(rc || lw__file_same(&bus->dir, path, fd) == 1);
        close(fd);
        snprintf(path, sizeof path, "topics/d%d", i % 100);
        T_NEED(lw__dir_make(&bus->dir, path) == 0);
        T_NEED(unlinkat(bus->dir.fd, path, AT_REMOVEDIR) == 0);
    }
}

static void cleaning_beside_creators_harms_nobody(void **state) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "me", 0));
    struct t_child child = t_fork(make_whole_files, *state);
    for (int64_t i = 0; i < t_loops(3000); i++) clean(bus);
    t_kill(&child);
    clean(bus);
    assert_int_equal(clean(bus).files, 0);
    lw_bus_close(bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(files_of_dead_nodes_go_and_their_epochs_are_closed),
        t_test(unfinished_files_of_the_dead_go_and_those_of_the_living_stay),
        t_test(an_unfinished_directory_goes_too),
        t_test(links_and_strange_entries_are_left_alone),
        t_test(an_observer_may_not),
        t_test(cleaning_beside_creators_harms_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* What a forked child can do with its parent's bus (close it), and threads that use one handle while others fork. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "bus/bus.h"
#include "util/util.h"

struct handle {
    struct lw__handle link; /* first */
    int cuts;
};

static void cut(struct lw__handle *handle) {
    ((struct handle *)(void *)handle)->cuts++;
}

static int nobody(const struct lw_node_info *node, void *user) {
    (void)node, (void)user;
    return 0;
}

struct shared {
    struct lw_bus *a, *b;
    struct handle one, two;
    int before; /* descriptors before the buses were opened */
};

static int use_in_child(void *arg) {
    struct shared *s = arg;
    T_NEED(s->one.cuts == 1 && s->two.cuts == 1);
    T_NEED(lw__bus_enter(s->a, true) == LW_EFORKED);
    T_NEED(strstr(lw_errtext(), "parent"));
    T_NEED(lw__bus_enter(s->b, false) == LW_EFORKED);
    T_NEED(lw_bus_nodes(s->a, nobody, NULL) == LW_EFORKED);
    T_NEED(strcmp(lw_bus_node(s->a), "a") == 0 && *lw_bus_dir(s->a) == '/');
    pid_t grandchild = fork();
    if (!grandchild) {
        T_NEED(s->one.cuts == 1 && lw_bus_close(s->a) == 0);
        _exit(0);
    }
    int status;
    T_NEED(waitpid(grandchild, &status, 0) == grandchild && status == 0);
    struct lw_bus *own;
    T_NEED(t_bus_open(&own, lw_bus_dir(s->a), "child", 0) == 0);
    T_NEED(lw__bus_enter(own, true) == 0);
    lw__bus_leave(own);
    T_NEED(lw_bus_close(s->b) == 0); /* although handles are open on it */
    T_NEED(lw_bus_close(s->a) == 0);
    T_NEED(lw_bus_close(own) == 0);
    T_NEED(t_descriptors() == s->before + 2); /* the two pipes */
    return 0;
}

static void a_forked_child_can_only_close(void **state) {
    struct shared s = {.one.link.cut = cut, .two.link.cut = cut, .before = t_descriptors()};
    assert_ok(t_bus_open(&s.a, *state, "a", 0));
    assert_ok(t_bus_open(&s.b, *state, "b", 0));
    lw__bus_attach(s.a, &s.one.link);
    lw__bus_attach(s.b, &s.two.link);
    struct t_child child = t_fork(use_in_child, &s);
    assert_int_equal(t_wait(&child), 0);
    assert_int_equal(s.one.cuts, 0);
    assert_ok(lw__bus_enter(s.a, true));
    lw__bus_detach(s.a, &s.one.link);
    lw__bus_leave(s.a);
    lw__bus_detach(s.b, &s.two.link);
    assert_false(lw__owner_gone(s.a, s.b->owner)); /* the child's closing did not kill us */
    assert_false(lw__owner_gone(s.b, s.a->owner));
    lw_bus_close(s.a);
    lw_bus_close(s.b);
}

static void closing_with_open_handles_is_refused(void **state) {
    struct lw_bus *bus;
    struct handle h[3] = {{.link.cut = cut}, {.link.cut = cut}, {.link.cut = cut}};
    const int order[] = {1, 0, 2};
    assert_ok(t_bus_open(&bus, *state, "a", 0));
    for (int i = 0; i < 3; i++) lw__bus_attach(bus, &h[i].link);
    for (int i = 0; i < 3; i++) {
        assert_fails(lw_bus_close(bus), -EBUSY, "still open");
        assert_false(lw__owner_gone(bus, bus->owner));
        lw__bus_detach(bus, &h[order[i]].link);
    }
    assert_int_equal(lw_bus_close(bus), 0);
    assert_int_equal(lw_bus_close(NULL), 0);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

struct crowd {
    const char *dir;
    struct lw_bus *bus;
    uint64_t dead;
    int stop;
    int64_t turns;
};

static void *enter_and_leave(void *arg) {
    struct crowd *c = arg;
    struct handle h = {.link.cut = cut};
    for (int64_t i = 0; i < c->turns; i++) {
        T_NEED(lw__bus_enter(c->bus, true) == 0);
        lw__bus_attach(c->bus, &h.link);
        lw__bus_leave(c->bus);
        T_NEED(lw_bus_close(c->bus) == -EBUSY);
        T_NEED(lw__bus_enter(c->bus, true) == 0);
        lw__bus_detach(c->bus, &h.link);
        lw__bus_leave(c->bus);
    }
    return NULL;
}

static void *ask_for_owners(void *arg) {
    struct crowd *c = arg;
    char name[LW_NAME_MAX + 1];
    for (int64_t i = 0; i < c->turns; i++) {
        T_NEED(lw__owner_gone(c->bus, c->dead));
        T_NEED(lw__owner_closed(c->bus, c->dead));
        T_NEED(!lw__owner_gone(c->bus, c->bus->owner));
        T_NEED(lw__owner_who(c->bus, c->bus->owner, name) == getpid());
        T_NEED(lw_bus_nodes(c->bus, nobody, NULL) == 0);
    }
    return NULL;
}

static void *clean_up(void *arg) {
    struct crowd *c = arg;
    for (int64_t i = 0; i < c->turns; i++) {
        struct lw_clean_result result = {0};
        T_NEED(lw__bus_enter(c->bus, true) == 0);
        T_NEED(lw__bus_clean_nodes(c->bus, &result) == 0);
        lw__bus_leave(c->bus);
    }
    return NULL;
}

static void *open_and_close(void *arg) {
    struct crowd *c = arg;
    for (int64_t i = 0; i < c->turns; i++) {
        struct lw_bus *bus;
        T_NEED(t_bus_open(&bus, c->dir, NULL, 0) == 0);
        T_NEED(lw_bus_close(bus) == 0);
        T_NEED(i % 50 || t_bus_open(&bus, c->dir, "keep", 0) == LW_EHELD);
    }
    return NULL;
}

static void *fork_and_wait(void *arg) {
    struct crowd *c = arg;
    for (int64_t i = 0; i < c->turns / 10 + 1; i++) {
        int status = -1;
        pid_t pid = fork();
        if (!pid) _exit(lw__bus_enter(c->bus, false) == LW_EFORKED ? 0 : 1);
        T_NEED(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return NULL;
}

static void threads_may_share_a_bus_while_others_fork(void **state) {
    void *(*const parts[])(void *) = {enter_and_leave, ask_for_owners, clean_up, open_and_close, fork_and_wait};
    enum { N = sizeof parts / sizeof *parts };
    pthread_t thread[N];
    struct lw_bus *dead, *keep;
    struct crowd c = {.dir = *state, .turns = t_loops(1000)};
    assert_ok(t_bus_open(&keep, *state, "keep", 0));
    assert_ok(t_bus_open(&dead, *state, "dead", 0));
    assert_ok(t_bus_open(&c.bus, *state, "shared", 0));
    c.dead = dead->owner;
    lw_bus_close(dead);
    struct handle held = {.link.cut = cut};
    lw__bus_attach(c.bus, &held.link); /* so that closing is always refused */
    for (int i = 0; i < N; i++) assert_int_equal(pthread_create(&thread[i], NULL, parts[i], &c), 0);
    for (int i = 0; i < N; i++) pthread_join(thread[i], NULL);
    lw__bus_detach(c.bus, &held.link);
    assert_int_equal(lw_bus_close(c.bus), 0);
    assert_int_equal(lw_bus_close(keep), 0);
}

static void *restart_x(void *arg) {
    struct crowd *c = arg;
    while (!lw__load(&c->stop)) {
        struct lw_bus *bus;
        T_NEED(t_bus_open(&bus, c->dir, "x", 0) == 0);
        T_NEED(lw_bus_close(bus) == 0);
    }
    return NULL;
}

/* Without malloc, in the child of a process with threads. */
static int count_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A copy of a lock, taken while another thread was about to open or close, would keep the name after this process's death. */
static void a_fork_in_the_middle_of_an_open_copies_no_descriptor(void **state) {
    struct crowd c = {.dir = *state};
    pthread_t thread;
    int before = count_descriptors(), bad = 0;
    assert_int_equal(pthread_create(&thread, NULL, restart_x, &c), 0);
    for (int64_t i = 0; i < t_loops(1000); i++) {
        int status = -1;
        pid_t pid = fork();
        if (!pid) _exit(count_descriptors() != before);
        waitpid(pid, &status, 0);
        bad += status != 0;
    }
    lw__store(&c.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_forked_child_can_only_close),
        t_test(closing_with_open_handles_is_refused),
        t_test(threads_may_share_a_bus_while_others_fork),
        t_test(a_fork_in_the_middle_of_an_open_copies_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

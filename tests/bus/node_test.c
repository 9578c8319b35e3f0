/* SPDX-License-Identifier: MIT */
/* A node's name: one live process has it, a killed one loses it at once, a stopped one never. */
#include "bus/node.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "util/util.h"

extern char **environ;

/* Opens the bus as x, says its owner word, and stays. */
static int be_x(void *dir) {
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0);
    t_say((int64_t)bus->owner);
    t_forever();
}

static void a_second_live_process_is_refused_with_the_pid(void **state) {
    struct t_child child = t_fork(be_x, *state);
    struct lw_bus *bus;
    char want[64];
    t_hear(&child);
    snprintf(want, sizeof want, "live process %d", (int)child.pid);
    for (int i = 0; i < 3; i++) assert_fails(t_bus_open(&bus, *state, "x", 0), LW_EHELD, want);
    assert_fails(t_bus_open(&bus, *state, "x", 0), LW_EHELD, "name x");
    assert_null(bus);
    assert_ok(t_bus_open(&bus, *state, "y", 0));
    assert_string_equal(lw_bus_node(bus), "y");
    assert_int_equal(lw_bus_close(bus), 0);
}

static void after_a_kill_the_name_is_free_at_once_and_the_epoch_greater(void **state) {
    uint64_t last = 0;
    for (int64_t i = 0; i < t_loops(20); i++) {
        struct t_child child = t_fork(be_x, *state);
        uint64_t owner = (uint64_t)t_hear(&child);
        assert_true(lw__owner_epoch(owner) > lw__owner_epoch(last));
        assert_true(!last || lw__owner_node(owner) == lw__owner_node(last));
        last = owner;
        t_kill(&child);
    }
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    assert_true(lw__owner_epoch(bus->owner) > lw__owner_epoch(last));
    lw_bus_close(bus);
}

static void a_stopped_process_keeps_its_name(void **state) {
    struct t_child child = t_fork(be_x, *state);
    struct lw_bus *bus, *other;
    uint64_t owner = (uint64_t)t_hear(&child);
    t_stop(&child);
    assert_ok(t_bus_open(&bus, *state, "y", 0));
    assert_fails(t_bus_open(&other, *state, "x", 0), LW_EHELD, NULL);
    assert_false(lw__owner_gone(bus, owner));
    assert_false(lw__owner_closed(bus, owner));
    t_go_on(&child);
    assert_false(lw__owner_gone(bus, owner));
    t_kill(&child);
    assert_true(lw__owner_gone(bus, owner));
    lw_bus_close(bus);
}

static void a_zombie_is_dead(void **state) {
    struct t_child child = t_fork(be_x, *state);
    struct lw_bus *bus;
    uint64_t owner = (uint64_t)t_hear(&child);
    t_kill_unreaped(&child);
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    assert_true(lw__owner_closed(bus, owner));
    lw_bus_close(bus);
    t_wait(&child);
}

/* As x, forks a child that outlives it. */
static int be_x_and_fork(void *dir) {
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0);
    pid_t pid = fork();
    if (pid == 0) t_forever();
    t_say(pid);
    t_forever();
}

static void a_forked_child_does_not_keep_the_parent_alive(void **state) {
    struct t_child child = t_fork(be_x_and_fork, *state);
    struct lw_bus *bus;
    pid_t grandchild = (pid_t)t_hear(&child);
    t_kill(&child);
    assert_int_equal(kill(grandchild, 0), 0);
    int rc = t_bus_open(&bus, *state, "x", 0);
    kill(grandchild, SIGKILL);
    assert_ok(rc);
    lw_bus_close(bus);
}

/* posix_spawn() runs no fork handlers: only close-on-exec helps. */
static int be_x_and_exec(void *dir) {
    struct lw_bus *bus;
    char *argv[] = {(char *)"sleep", (char *)"60", NULL};
    pid_t pid = 0;
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0);
    T_NEED(posix_spawnp(&pid, "sleep", NULL, NULL, argv, environ) == 0);
    t_say(pid);
    t_forever();
}

static void a_started_program_does_not_keep_the_parent_alive(void **state) {
    struct t_child child = t_fork(be_x_and_exec, *state);
    struct lw_bus *bus;
    pid_t grandchild = (pid_t)t_hear(&child);
    t_kill(&child);
    int alive = kill(grandchild, 0), rc = t_bus_open(&bus, *state, "x", 0);
    kill(grandchild, SIGKILL);
    assert_int_equal(alive, 0);
    assert_ok(rc);
    lw_bus_close(bus);
}

static void after_an_orderly_close_nothing_is_left(void **state) {
    struct lw_bus *bus, *other;
    char path[T_PATH + 32];
    assert_ok(t_bus_open(&other, *state, "other", 0));
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    uint64_t owner = bus->owner;
    snprintf(path, sizeof path, "%s/nodes/x", (char *)*state);
    assert_int_equal(access(path, F_OK), 0);
    assert_false(lw__owner_gone(other, owner));
    assert_int_equal(lw_bus_close(bus), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(lw__owner_gone(other, owner));
    assert_true(lw__owner_closed(other, owner));
    lw_bus_close(other);
}

static void the_file_says_pid_and_boot(void **state) {
    struct lw_bus *bus;
    char path[T_PATH + 32], text[128] = "", want[32];
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    snprintf(path, sizeof path, "%s/nodes/x", (char *)*state);
    snprintf(want, sizeof want, "pid %d\nboot ", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof text), strlen(want) + 33);
    close(fd);
    assert_memory_equal(text, want, strlen(want));
    lw_bus_close(bus);
}

static void generated_names_are_the_lowest_free(void **state) {
    struct lw_bus *bus[5], *again;
    const char *const want[] = {"_1", "_2", "_3", "_4", "_5"};
    for (int i = 0; i < 5; i++) {
        assert_ok(t_bus_open(&bus[i], *state, NULL, 0));
        assert_string_equal(lw_bus_node(bus[i]), want[i]);
    }
    lw_bus_close(bus[1]);
    lw_bus_close(bus[3]);
    assert_ok(t_bus_open(&again, *state, NULL, 0));
    assert_string_equal(lw_bus_node(again), "_2");
    lw_bus_close(again);
    for (int i = 0; i < 5; i += 2) lw_bus_close(bus[i]);
}

static void two_handles_of_one_process_are_two_nodes(void **state) {
    struct lw_bus *a, *b, *c;
    assert_ok(t_bus_open(&a, *state, "a", 0));
    assert_ok(t_bus_open(&b, *state, "b", 0));
    assert_fails(t_bus_open(&c, *state, "a", 0), LW_EHELD, NULL);
    assert_true(a->owner != b->owner);
    assert_false(lw__owner_gone(a, a->owner));
    assert_false(lw__owner_gone(a, b->owner));
    assert_false(lw__owner_gone(b, a->owner));
    uint64_t was = b->owner;
    lw_bus_close(b);
    assert_false(lw__owner_gone(a, a->owner));
    assert_true(lw__owner_gone(a, was));
    lw_bus_close(a);
}

static void a_leftover_file_is_taken_over(void **state) {
    struct t_child child = t_fork(be_x, *state);
    struct lw_bus *bus;
    struct stat before, after;
    char path[T_PATH + 32];
    t_hear(&child);
    snprintf(path, sizeof path, "%s/nodes/x", (char *)*state);
    t_kill(&child);
    assert_int_equal(stat(path, &before), 0);
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    int pid;
    assert_int_equal(lw__node_probe(bus, "x", &pid), 1);
    assert_int_equal(pid, getpid());
    assert_int_equal(lw__node_probe(bus, "never", &pid), 0);
    assert_int_equal(pid, 0);
    lw_bus_close(bus);
}

/* If somebody removes the files of live nodes by hand, a missing file proves nothing any more. */
static void removed_node_files_do_not_kill_the_living(void **state) {
    struct lw_bus *a, *b;
    char command[T_PATH + 32];
    assert_ok(t_bus_open(&a, *state, "a", 0));
    assert_ok(t_bus_open(&b, *state, "b", 0));
    snprintf(command, sizeof command, "rm -r %s/nodes", (char *)*state);
    assert_int_equal(system(command), 0);
    assert_false(lw__owner_gone(a, b->owner));
    assert_false(lw__owner_gone(b, a->owner));
    assert_int_equal(lw__node_probe(a, "b", NULL), -ESTALE);
    lw_bus_close(b);
    lw_bus_close(a);
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

static int join_crowd(void *dir) {
    struct lw_bus *bus;
    t_listen();
    T_NEED(t_bus_open(&bus, dir, NULL, 0) == 0);
    t_say((int64_t)bus->owner);
    t_listen();
    T_NEED(lw_bus_close(bus) == 0);
    return 0;
}

static int count_alive(const struct lw_node_info *node, void *count) {
    *(int *)count += node->alive;
    return 0;
}

static void fifty_processes_make_a_new_bus_at_once(void **state) {
    enum { N = 50 };
    struct t_child child[N];
    bool used[1000] = {false};
    int alive = 0;
    struct lw_bus *bus;
    for (int i = 0; i < N; i++) child[i] = t_fork(join_crowd, *state);
    for (int i = 0; i < N; i++) t_tell(&child[i], 1);
    for (int i = 0; i < N; i++) {
        uint16_t id = lw__owner_node((uint64_t)t_hear(&child[i]));
        assert_in_range(id, 1, 999);
        assert_false(used[id]);
        used[id] = true;
    }
    assert_ok(t_bus_open(&bus, *state, NULL, LW_BUS_OBSERVE));
    assert_ok(lw_bus_nodes(bus, count_alive, &alive));
    assert_int_equal(alive, N);
    for (int i = 0; i < N; i++) t_tell(&child[i], 1);
    for (int i = 0; i < N; i++) assert_int_equal(t_wait(&child[i]), 0);
    alive = 0;
    assert_ok(lw_bus_nodes(bus, count_alive, &alive));
    assert_int_equal(alive, 0);
    lw_bus_close(bus);
}

/* ---- random starters, closers, cleaners and kills ---------------------------------------------------------------- */

enum { STARTERS = 3 };
struct arena {
    uint64_t holds[STARTERS];  /* owner word while it has the name */
    uint32_t killed[STARTERS]; /* set before the kill: what it holds counts no more */
    uint64_t last_epoch, starts, closed, cleaned;
};
struct part {
    struct arena *arena;
    const char *dir;
    int me;
};

/* `holds` is looked at on both sides of `killed`: the killer takes them back one after the other. */
static bool lives(struct arena *a, int i, uint64_t owner) {
    bool holds = lw__load_acquire(&a->holds[i]) == owner, killed = lw__load_acquire(&a->killed[i]);
    return holds && !killed && lw__load_acquire(&a->holds[i]) == owner;
}

static void check_alone(struct arena *a, int me, uint64_t owner) {
    uint64_t before = __atomic_exchange_n(&a->last_epoch, lw__owner_epoch(owner), __ATOMIC_SEQ_CST);
    T_NEED(lw__owner_epoch(owner) > before);
    for (int i = 0; i < STARTERS; i++) {
        uint64_t other = lw__load_acquire(&a->holds[i]);
        T_NEED(i == me || !other || !lives(a, i, other));
    }
}

static int start_again_and_again(void *arg) {
    struct part *p = arg;
    struct lw_bus *bus;
    struct timespec nap = {.tv_nsec = 50000 * (p->me + 1)};
    for (;;) {
        int rc = t_bus_open(&bus, p->dir, "x", 0);
        T_NEED(rc == 0 || rc == LW_EHELD);
        if (rc) continue;
        check_alone(p->arena, p->me, bus->owner);
        __atomic_store_n(&p->arena->holds[p->me], bus->owner, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&p->arena->starts, 1, __ATOMIC_RELAXED);
        nanosleep(&nap, NULL);
        T_NEED(!lw__owner_closed(bus, bus->owner));
        __atomic_store_n(&p->arena->holds[p->me], 0, __ATOMIC_SEQ_CST);
        T_NEED(lw_bus_close(bus) == 0);
    }
}

static int close_again_and_again(void *arg) {
    struct part *p = arg;
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, p->dir, NULL, 0) == 0);
    for (uint64_t i = 0;; i++) {
        int who = (int)(i % STARTERS);
        uint64_t owner = lw__load_acquire(&p->arena->holds[who]);
        if (!owner || !lw__owner_gone(bus, owner)) continue;
        T_NEED(!lives(p->arena, who, owner));
        T_NEED(lw__owner_closed(bus, owner));
        __atomic_fetch_add(&p->arena->closed, 1, __ATOMIC_RELAXED);
    }
}

static int clean_again_and_again(void *arg) {
    struct part *p = arg;
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, p->dir, NULL, 0) == 0);
    for (;;) {
        struct lw_clean_result result = {0};
        T_NEED(lw__bus_enter(bus, true) == 0);
        T_NEED(lw__bus_clean_nodes(bus, &result) == 0);
        lw__bus_leave(bus);
        __atomic_fetch_add(&p->arena->cleaned, result.nodes, __ATOMIC_RELAXED);
    }
}

static int (*const roles[])(void *) = {start_again_and_again, start_again_and_again, start_again_and_again,
                                       close_again_and_again, clean_again_and_again};
enum { ROLES = sizeof roles / sizeof *roles };

static void replace_one(struct t_child *child, struct part *part) {
    int i = part->me;
    if (i < STARTERS) __atomic_store_n(&part->arena->killed[i], 1, __ATOMIC_SEQ_CST);
    t_kill(child);
    if (i < STARTERS) {
        __atomic_store_n(&part->arena->holds[i], 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&part->arena->killed[i], 0, __ATOMIC_SEQ_CST);
    }
    *child = t_fork(roles[i], part);
}

static void starters_closers_cleaners_killed_at_random_never_share_a_name(void **state) {
    struct arena *arena = mmap(NULL, sizeof *arena, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct part part[ROLES];
    struct t_child child[ROLES];
    assert_ptr_not_equal(arena, MAP_FAILED);
    for (int i = 0; i < ROLES; i++) {
        part[i] = (struct part){arena, *state, i};
        child[i] = t_fork(roles[i], &part[i]);
    }
    int64_t end = t_now() + LW_SEC(2);
    while (t_now() < end) {
        t_sleep((int64_t)(t_random() % 4000000));
        int who = (int)(t_random() % ROLES);
        siginfo_t info = {0};
        assert_int_equal(waitid(P_PID, (id_t)child[who].pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        assert_int_equal(info.si_pid, 0); /* it fails by leaving */
        replace_one(&child[who], &part[who]);
    }
    for (int i = 0; i < ROLES; i++) t_kill(&child[i]);
    print_message("%llu starts, %llu closed, %llu cleaned\n", (unsigned long long)arena->starts,
                  (unsigned long long)arena->closed, (unsigned long long)arena->cleaned);
    assert_true(arena->starts > 10);
    munmap(arena, sizeof *arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_second_live_process_is_refused_with_the_pid),
        t_test(after_a_kill_the_name_is_free_at_once_and_the_epoch_greater),
        t_test(a_stopped_process_keeps_its_name),
        t_test(a_zombie_is_dead),
        t_test(a_forked_child_does_not_keep_the_parent_alive),
        t_test(a_started_program_does_not_keep_the_parent_alive),
        t_test(after_an_orderly_close_nothing_is_left),
        t_test(the_file_says_pid_and_boot),
        t_test(generated_names_are_the_lowest_free),
        t_test(two_handles_of_one_process_are_two_nodes),
        t_test(a_leftover_file_is_taken_over),
        t_test(removed_node_files_do_not_kill_the_living),
        t_test(fifty_processes_make_a_new_bus_at_once),
        t_test(starters_closers_cleaners_killed_at_random_never_share_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * util/util.h - what all tests share: a directory of their own, child processes, deadlines, loops, seeds, skips.
 *
 *     static void a_scenario_in_words(void **state) {
 *         const char *dir = *state;                      // no bus there yet
 *         struct t_child child = t_fork(child_body, (void *)dir);
 *         assert_int_equal(t_hear(&child), 7);           // it said t_say(7)
 *         t_kill(&child);                                // SIGKILL, and gone when this returns
 *         T_UNTIL(there_yet());                          // looks every half millisecond, at most 20 s
 *     }
 *     int main(void) {
 *         const struct CMUnitTest tests[] = {t_test(a_scenario_in_words)};
 *         return cmocka_run_group_tests(tests, NULL, NULL);
 *     }
 */
#ifndef LW_TESTS_UTIL_H
#define LW_TESTS_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <cmocka.h>

#include "laneway/bus.h"

/* A case with a directory of its own: *state is a path (const char *) where nothing is yet. All below is removed after it, and children
 * that still run are killed. */
#define t_test(function) cmocka_unit_test_setup_teardown(function, t_setup, t_teardown)
int t_setup(void **state);
int t_teardown(void **state);

/* The same by hand: makes a fresh directory in memory (below $TMPDIR if that is in /dev/shm), and removes it with all below. */
enum { T_PATH = 256 };
void t_dir_make(char dir[T_PATH]);
void t_dir_remove(const char *dir);

/* ---- checks ------------------------------------------------------------------------------------------------------ */

/* 0 or more; else it fails with lw_errtext(). */
#define assert_ok(call) t_assert_ok((call), #call, __FILE__, __LINE__)
int64_t t_assert_ok(int64_t rc, const char *what, const char *file, int line);

/* This code, and a text that contains `part` (NULL: any that is not empty). */
#define assert_fails(call, code, part) t_assert_fails((call), (code), (part), #call, __FILE__, __LINE__)
void t_assert_fails(int64_t rc, int64_t code, const char *part, const char *what, const char *file, int line);

/* In a child, where cmocka's checks can not be used: prints and leaves with status 99. */
#define T_NEED(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) t_need_failed(#condition, __FILE__, __LINE__);                                               \
    } while (0)
void t_need_failed(const char *what, const char *file, int line) __attribute__((noreturn));

/* What is woken, and not found by a tick of a second, takes less: half a second if LW_TEST_STRICT is set, as where planted
 * bugs are to be caught. Else as long as a busy machine may need: no test fails for being slow. */
int64_t t_prompt(void);

/* Waits for an event, not for a time: fails the case after 20 s. */
#define T_UNTIL(condition)                                                                                             \
    do {                                                                                                               \
        int64_t t_end = t_now() + LW_SEC(20);                                                                          \
        while (!(condition)) {                                                                                         \
            if (t_now() > t_end) fail_msg("waited 20 s for: %s", #condition);                                          \
            t_sleep(LW_MS(1) / 2);                                                                                     \
        }                                                                                                              \
    } while (0)
int64_t t_now(void); /* ns, monotonic */
void t_sleep(int64_t ns);

/* What this thread is to do again and again while it waits for anything here; NULL: nothing. */
extern _Thread_local void (*t_meanwhile)(void);
enum { T_MEANWHILE_MS = 1 };

/* ---- child processes --------------------------------------------------------------------------------------------- */

struct t_child {
    pid_t pid; /* 0: gone and waited for */
    int out;   /* what it says is read here; -1: closed */
    int in;    /* what it listens to is written here */
};

/* Forks a child that runs `body` and exits with what it returns (no atexit, no leak check). It dies with this process. */
struct t_child t_fork(int (*body)(void *arg), void *arg);

/* In the child: says a number to the parent; waits for one from it (leaves when the parent is gone); sleeps until it is killed. */
void t_say(int64_t number);
int64_t t_listen(void);
void t_forever(void) __attribute__((noreturn));

/* In the parent: hears the next number (fails the case when the child is gone, or after 20 s), says one. */
int64_t t_hear(struct t_child *child);
bool t_heard(struct t_child *child, int wait_ms, int64_t *number); /* does not fail: false for nothing */
void t_tell(struct t_child *child, int64_t number);

/* Waits until it is gone, at most 60 s. Its exit status, or minus the signal that ended it. */
int t_wait(struct t_child *child);
/* SIGKILL; reaped when it returns. `t_kill_unreaped` leaves a zombie, whose descriptors are closed when it returns; then t_wait(). */
void t_kill(struct t_child *child);
void t_kill_unreaped(struct t_child *child);
/* SIGSTOP (stopped for sure when it returns) and SIGCONT. */
void t_stop(struct t_child *child);
void t_go_on(struct t_child *child);

/* ---- buses and users --------------------------------------------------------------------------------------------- */

/* Opens a bus in three arguments. `node` may be NULL. */
int t_bus_open(struct lw_bus **bus, const char *dir, const char *node, unsigned flags);

/* In a child of root: becomes another user of group `gid`, in no other group. */
void t_become(uid_t uid, gid_t gid);

/* Skips the case unless it runs as root. */
#define t_need_root() t_skip_unless_root(__func__)
void t_skip_unless_root(const char *name);

/* ---- small things ------------------------------------------------------------------------------------------------ */

/* `n`, or a twentieth (at least 1) when LW_TEST_SHORT is set, as it is under sanitizers. */
int64_t t_loops(int64_t n);

/* Random numbers. The first call prints the seed; LW_TEST_SEED gives it back. */
uint64_t t_random(void);

/* How many descriptors this process has open. */
int t_descriptors(void);

/* Skips this case, naming what is missing, for example t_skip(__func__, "needs root"). */
void t_skip(const char *name, const char *reason);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A million messages enter the kernel zero times, allocate nothing and read no clock.
 *
 * A child closes the kernel's door behind itself with a filter that kills it for any system call but saying how it
 * went. malloc() and clock_gettime() are this program's own and count. A sanitizer has its own malloc() and enters the
 * kernel when it likes: there the same calls are only run.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/topic_util.h"

/* ---- counting ---------------------------------------------------------------------------------------------------- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static volatile long calls; /* of what should not be called */

#ifndef SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);

void *malloc(size_t size) {
    calls++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    calls++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    calls++;
    return __libc_realloc(old, size);
}

void free(void *old) {
    calls++;
    __libc_free(old);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    calls++;
    return (int)syscall(SYS_clock_gettime, clock, now);
}
#endif

/* ---- the door ---------------------------------------------------------------------------------------------------- */

/* Only write() and the end are let through. */
static void close_the_door(void) {
#ifndef SANITIZED
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) _exit(77);
#endif
    calls = 0;
}

/* The child's last words. */
static int leave(void) {
    long counted = calls;
    t_say(counted);
    _exit(0);
}

static void must_be_silent(void **state, int (*body)(void *), const char *name) {
    struct t_child child = t_fork(body, *state);
    int64_t counted = -1;
    t_heard(&child, 60000, &counted);
    int status = t_wait(&child);
    if (status == 77) t_skip(name, "needs seccomp filters");
    assert_int_equal(status, 0);
    assert_int_equal(counted, 0);
}

/* ---- does the door close, does the counter count? ---------------------------------------------------------------- */

#ifndef SANITIZED
static int noisy_body(void *arg) {
    (void)arg;
    close_the_door();
    syscall(SYS_getppid);
    return leave();
}

static void the_filter_would_tell(void **state) {
    struct t_child child = t_fork(noisy_body, *state);
    int status = t_wait(&child);
    if (status == 77) t_skip(__func__, "needs seccomp filters");
    assert_int_equal(status, -SIGSYS);
}

static void *volatile kept;

static void the_counter_would_tell(void **state) {
    (void)state;
    long before = calls;
    kept = malloc(10);
    free(kept);
    assert_int_equal(calls - before, 2);
    t_now();
    assert_int_equal(calls - before, 3);
}
#endif

/* ---- what has to be silent --------------------------------------------------------------------------------------- */

static int small_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    struct lw_msg msg;
    uint64_t total = (uint64_t)t_loops(1000000);
    close_the_door();
    for (uint64_t i = 0; i < total; i++) {
        if (lw_pub_send(pub, 1, &i, sizeof i, LW_FOREVER) < 0) _exit(1);
        if (lw_sub_next(sub, &msg, LW_FOREVER) != 1 || memcmp(msg.data, &i, sizeof i) != 0) _exit(2);
        if (lw_sub_release(sub, &msg)) _exit(3);
    }
    return leave();
}

static void a_million_sent_received_and_released(void **state) {
    must_be_silent(state, small_body, __func__);
}

static enum lw_verdict count(const struct lw_msg *msg, void *user) {
    *(uint64_t *)user += msg->len;
    return LW_NEXT;
}

/* All the other calls that messages take, at an empty ring too, laps over marks and batches included. */
static int all_calls_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    char bytes[3000] = "";
    struct lw_item items[3] = {{bytes, 1, 0}, {bytes, 100, 0}, {bytes, 3000, 0}};
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_msg msg;
    uint64_t sum = 0, n = (uint64_t)t_loops(200000);
    void *at;
    close_the_door();
    for (uint64_t i = 0; i < n; i++) {
        if (lw_pub_reserve(pub, &at, 200, LW_FOREVER) || lw_pub_commit(pub, 2, i % 200) < 0) _exit(1);
        if (lw_pub_send_batch(pub, items, 3, LW_FOREVER) < 0) _exit(2);
        if (lw_pub_reserve(pub, &at, 20, 0) || lw_pub_stage(pub, 3, 20) || lw_pub_flush(pub) < 0) _exit(3);
        if (lw_sub_recv(sub, bytes, sizeof bytes, &msg, LW_FOREVER) != 1) _exit(4);
        if (lw_sub_dispatch(sub, count, &sum, 0, LW_FOREVER) != 4) _exit(5);
        if (lw_sub_next(sub, &msg, 0) != LW_EEMPTY) _exit(6);
        lw_pub_abort(pub);
        lw_sub_rewind(sub);
        if (i % 16 == 0 && (lw_pub_stats(pub, &stats) || lw_sub_stats(sub, &stats))) _exit(7);
    }
    return leave();
}

static void every_call_on_the_way_of_messages(void **state) {
    must_be_silent(state, all_calls_body, __func__);
}

enum { WIDE = 32 << 20 };

static int far_sender_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub;
    uint64_t total = (uint64_t)t_loops(1000000);
    T_NEED(!tt_pub_shaped(&pub, bus, "t", WIDE, 0));
    t_say(0);
    t_listen();
    close_the_door();
    for (uint64_t i = 0; i < total; i++)
        if (lw_pub_send(pub, 1, &i, sizeof i, 0) < 0) _exit(1); /* all of it has room */
    return leave();
}

static int far_receiver_body(void *dir) {
    struct lw_sub *sub = tt_sub(tt_bus(dir, NULL), "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    uint64_t total = (uint64_t)t_loops(1000000);
    t_say(0);
    close_the_door();
    for (uint64_t i = 0; i < total; i++) {
        while (lw_sub_next(sub, &msg, 0) != 1) continue;
        if (memcmp(msg.data, &i, sizeof i) != 0 || lw_sub_release(sub, &msg)) _exit(1);
    }
    return leave();
}

static void a_million_from_process_to_process(void **state) {
    struct t_child sender = t_fork(far_sender_body, *state);
    t_hear(&sender);
    struct t_child receiver = t_fork(far_receiver_body, *state);
    t_hear(&receiver);
    t_tell(&sender, 0);
    int64_t counted[2] = {-1, -1};
    t_heard(&receiver, 60000, &counted[0]);
    t_heard(&sender, 60000, &counted[1]);
    int status = t_wait(&receiver);
    if (status == 77) t_skip(__func__, "needs seccomp filters");
    assert_int_equal(status, 0);
    assert_int_equal(t_wait(&sender), 0);
    assert_int_equal(counted[0], 0);
    assert_int_equal(counted[1], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifndef SANITIZED
        t_test(the_filter_would_tell),
        t_test(the_counter_would_tell),
#endif
        t_test(a_million_sent_received_and_released),
        t_test(every_call_on_the_way_of_messages),
        t_test(a_million_from_process_to_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

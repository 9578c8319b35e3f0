/* SPDX-License-Identifier: MIT */
/* Several publishers of one topic: who may, in which order, what they are told. The lock itself: tests/lane. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/child.h"
#include "util/topic_util.h"

enum { WRITERS = 4 };

/* Publisher and running number in one message. */
struct note {
    uint64_t who, n;
};

static int64_t send_note(struct lw_pub *pub, uint64_t who, uint64_t n, int64_t timeout) {
    struct note note = {who, n};
    return lw_pub_send(pub, (uint16_t)who, &note, sizeof note, timeout);
}

/* ---- who may ----------------------------------------------------------------------------------------------------- */

static void several_publish_in_one_order(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_pub *pubs[WRITERS];
    uint64_t next[WRITERS] = {0};
    struct lw_msg msg;
    for (int i = 0; i < WRITERS; i++) pubs[i] = tt_pub_shared(i % 2 ? bus : other, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    for (uint64_t n = 0; n < 500; n++) {
        uint64_t who = n * n % WRITERS;
        assert_int_equal(send_note(pubs[who], who, next[who]++, 0), n * 24);
    }
    memset(next, 0, sizeof next);
    for (uint64_t n = 0; n < 500; n++) {
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        const struct note *note = msg.data;
        assert_int_equal(msg.number, n);
        assert_int_equal(note->who, n * n % WRITERS);
        assert_int_equal(note->n, next[note->who]++);
        assert_ok(lw_sub_release(sub, &msg));
    }
    for (int i = 0; i < WRITERS; i++) {
        struct lw_stats stats = LW_STATS_INIT;
        assert_ok(lw_pub_stats(pubs[i], &stats));
        assert_int_equal(stats.messages, next[i]);
        assert_int_equal(stats.bytes, next[i] * 24);
        lw_pub_close(pubs[i]);
    }
    lw_sub_close(sub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static void an_exclusive_one_is_refused_beside_shared_ones(void **state) {
    struct lw_bus *bus = tt_bus(*state, "first"), *other = tt_bus(*state, "second");
    struct lw_pub *pub = tt_pub_shared(bus, "t"), *no;
    const char *pid = tt_text("pid %d", getpid());
    for (int biased = 0; biased < 2; biased++) {
        assert_told(lw_pub_open(&no, other, "t", &tt_sole), LW_EWRITER, "topic t", "node first", pid, "shared");
        assert_null(no);
        assert_told(lw_pub_open(&no, bus, "t", &tt_sole), LW_EWRITER, "node first", pid);
        for (int i = 0; i < 3000; i++) assert_true(send_note(pub, 0, 0, 0) >= 0); /* now the lock is biased */
    }
    lw_pub_close(pub);
    assert_ok(lw_pub_open(&pub, other, "t", &tt_sole));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static void a_shared_one_is_refused_beside_an_exclusive_one(void **state) {
    struct lw_bus *bus = tt_bus(*state, "first"), *other = tt_bus(*state, "second");
    struct lw_pub *pub = tt_pub(bus, "t"), *no;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    const char *pid = tt_text("pid %d", getpid());
    assert_told(lw_pub_open(&no, other, "t", NULL), LW_EWRITER, "topic t", "node first", pid, "exclusive");
    assert_told(lw_pub_open(&no, bus, "t", NULL), LW_EWRITER, "node first", pid);
    assert_null(no);
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.writers, 1); /* the refused left no slot behind */
    assert_int_equal(info.readers, 0);
    lw_pub_close(pub);
    assert_ok(lw_pub_open(&pub, other, "t", NULL));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static int dies_with_both(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "dead");
    struct lw_pub *pub = t_listen() ? tt_pub(bus, "t") : tt_pub_shared(bus, "t");
    for (uint64_t i = 0; i < 1500; i++) T_NEED(send_note(pub, 1, i, 0) >= 0);
    t_say(0);
    t_forever();
}

static void the_dead_refuse_nobody(void **state) {
    for (int exclusive = 0; exclusive < 4; exclusive++) {
        struct t_child child = t_fork(dies_with_both, *state);
        t_tell(&child, exclusive & 1);
        t_hear(&child);
        t_kill(&child);
        struct lw_bus *bus = tt_bus(*state, NULL);
        struct lw_pub *pub = exclusive & 2 ? tt_pub(bus, "t") : tt_pub_shared(bus, "t");
        struct lw_stats stats = LW_STATS_INIT;
        assert_ok(lw_pub_stats(pub, &stats));
        assert_int_equal(stats.number, 1501 * (exclusive + 1) - 1);
        assert_int_equal(send_note(pub, 0, 0, LW_SEC(5)), (1501 * (exclusive + 1) - 1) * 24);
        lw_pub_close(pub);
        assert_ok(lw_bus_close(bus));
    }
}

/* ---- what shared ones can not do --------------------------------------------------------------------------------- */

static void in_place_is_for_the_only_one(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub_shared(bus, "t");
    void *at;
    assert_told(lw_pub_reserve(pub, &at, 8, 0), LW_ESTATE, "topic t", "LW_PUB_EXCLUSIVE");
    assert_int_equal(lw_pub_stage(pub, 0, 0), LW_ESTATE);
    assert_int_equal(lw_pub_commit(pub, 0, 0), LW_ESTATE);
    assert_int_equal(lw_pub_flush(pub), LW_ESTATE);
    lw_pub_abort(pub);
    for (int i = 0; i < 3000; i++) assert_int_equal(send_note(pub, 0, 0, 0), i * 24);
    assert_told(lw_pub_reserve(pub, &at, 8, 0), LW_ESTATE, "LW_PUB_EXCLUSIVE"); /* biased as well */
    lw_pub_abort(pub);
    assert_int_equal(send_note(pub, 0, 0, 0), 3000 * 24);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int without_membarrier(void *dir) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    T_NEED(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub;
    T_NEED(lw_pub_open(&pub, bus, "t", NULL) == -EPERM && !pub);
    T_NEED(strstr(lw_errtext(), "membarrier") && strstr(lw_errtext(), "LW_PUB_EXCLUSIVE"));
    pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 100);
    lw_pub_close(pub);
    return 0;
}

static void who_can_not_fence_may_be_the_only_one(void **state) {
    struct t_child child = t_fork(without_membarrier, *state);
    assert_int_equal(t_wait(&child), 0);
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_OLDEST);
    assert_true(tt_gets_only(sub, 0, 100));
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* ---- a stopped one ----------------------------------------------------------------------------------------------- */

/* Publishes for ever. */
static int busy_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "busy");
    struct lw_pub *pub = tt_pub_shared(bus, "t");
    uint64_t n = 0;
    for (; n < 2000; n++) T_NEED(send_note(pub, 1, n, LW_SEC(20)) >= 0);
    t_say(0);
    for (;; n++) T_NEED(send_note(pub, 1, n, LW_SEC(20)) >= 0);
}

/* Wherever it is stopped: either it is not inside, and the others go on; or they are told who it is. Then it goes on. */
static void a_stopped_one_is_named_and_loses_nothing(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub_shared(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct t_child child = t_fork(busy_body, *state);
    uint64_t mine = 0, sent = 0, theirs = 0;
    struct lw_msg msg;
    const char *pid = tt_text("pid %d", child.pid);
    t_hear(&child);
    for (int64_t round = t_loops(300), inside = 0; round > 0 || (inside < 1 && round > -3000); round--) {
        assert_int_equal(kill(child.pid, SIGSTOP), 0);
        int status;
        assert_int_equal(waitpid(child.pid, &status, WUNTRACED), child.pid);
        while (lw_sub_next(sub, &msg, 0) == 1) { /* room */
            const struct note *note = msg.data;
            assert_int_equal(note->n, note->who ? theirs : mine);
            ++*(note->who ? &theirs : &mine);
            assert_ok(lw_sub_release(sub, &msg));
        }
        int64_t rc = send_note(pub, 0, sent, LW_MS(3));
        if (rc == LW_EWRITER) {
            assert_told(rc, LW_EWRITER, "topic t", "node busy", pid, "stopped");
            inside++;
        } else {
            assert_true(rc >= 0);
            sent++;
        }
        assert_int_equal(kill(child.pid, SIGCONT), 0);
        struct timespec moment = {0, (long)(t_random() % 100000)};
        nanosleep(&moment, NULL);
    }
    t_kill(&child);
    while (lw_sub_next(sub, &msg, 0) == 1) {
        const struct note *note = msg.data;
        assert_int_equal(note->n, note->who ? theirs : mine);
        ++*(note->who ? &theirs : &mine);
        assert_ok(lw_sub_release(sub, &msg));
    }
    assert_int_equal(mine, sent);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- full -------------------------------------------------------------------------------------------------------- */

/* The word is given back before anybody waits for room. */
static void who_waits_for_room_keeps_nobody_out(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *small = tt_pub_shared(bus, "t"), *big = tt_pub_shared(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    static char large[TT_RING / 4];
    struct lw_msg msg;
    uint64_t sent = 0;
    for (int i = 0; i < 3; i++, sent++) assert_true(lw_pub_send(big, 0, large, sizeof large, 0) >= 0);
    assert_told(lw_pub_send(big, 0, large, sizeof large, LW_MS(2)), LW_EFULL, "topic t is full");
    while (send_note(small, 0, 0, 0) >= 0) sent++; /* what is small still fits */
    assert_true(sent > 100);
    for (; lw_sub_next(sub, &msg, 0) == 1; sent--) assert_ok(lw_sub_release(sub, &msg));
    assert_int_equal(sent, 0);
    assert_true(lw_pub_send(big, 0, large, sizeof large, 0) >= 0);
    lw_sub_close(sub);
    lw_pub_close(big);
    lw_pub_close(small);
    assert_ok(lw_bus_close(bus));
}

static void batches_of_several_stay_whole(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pubs[2] = {tt_pub_shared(bus, "t"), tt_pub_shared(bus, "t")};
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct note notes[8];
    struct lw_item items[8];
    for (int i = 0; i < 8; i++) items[i] = (struct lw_item){.data = &notes[i], .len = sizeof *notes, .type = 1};
    struct lw_msg msg;
    for (uint64_t round = 0; round < 2000; round++) {
        for (uint64_t i = 0; i < 8; i++) notes[i] = (struct note){round % 2, round * 8 + i};
        assert_true(lw_pub_send_batch(pubs[round % 2], items, 8, 0) >= 0);
        for (uint64_t i = 0; i < 8; i++) {
            assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
            assert_int_equal(((const struct note *)msg.data)->n, round * 8 + i);
            assert_int_equal(!!(msg.flags & LW_MSG_MORE), i < 7);
            assert_ok(lw_sub_release(sub, &msg));
        }
    }
    lw_sub_close(sub);
    for (int i = 0; i < 2; i++) lw_pub_close(pubs[i]);
    assert_ok(lw_bus_close(bus));
}

/* ---- what people see --------------------------------------------------------------------------------------------- */

struct seen {
    int count;
    struct lw_writer_info all[8];
};

static int see(const struct lw_writer_info *writer, void *user) {
    struct seen *seen = user;
    seen->all[seen->count++] = *writer;
    return 0;
}

static void each_publisher_is_listed(void **state) {
    struct lw_bus *bus = tt_bus(*state, "one"), *other = tt_bus(*state, "two");
    struct lw_pub *a = tt_pub_shared(bus, "t"), *b = tt_pub_shared(other, "t");
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct seen seen = {0};
    for (int i = 0; i < 2000; i++) assert_true(send_note(a, 0, 0, 0) >= 0);
    assert_true(send_note(b, 0, 0, 0) >= 0);
    for (int i = 0; i < 1030; i++) assert_true(send_note(b, 0, 0, 0) >= 0);
    assert_ok(lw_topic_writers(bus, "t", see, &seen));
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.all[0].node, "one");
    assert_string_equal(seen.all[1].node, "two");
    assert_int_equal(seen.all[0].messages, 2000);
    assert_int_equal(seen.all[1].messages, 1031);
    assert_int_equal(seen.all[0].pid, getpid());
    assert_int_equal(seen.all[0].biased + 10 * seen.all[1].biased, 10);
    assert_int_equal(seen.all[0].inside + seen.all[1].inside + seen.all[0].exclusive + seen.all[1].exclusive, 0);
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.writers, 2);
    assert_int_equal(info.exclusive, 0);
    assert_int_equal(info.readers, 0);
    assert_told(lw_topic_remove(bus, "t", 0), LW_EHELD, "publishes to");
    lw_pub_close(a);
    lw_pub_close(b);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

struct job {
    struct lw_bus *bus;
    uint64_t who, count;
};

static void *publish_some(void *arg) {
    struct job *job = arg;
    struct lw_pub *pub = tt_pub_shared(job->bus, "t");
    for (uint64_t n = 0; n < job->count; n++) T_NEED(send_note(pub, job->who, n, LW_SEC(20)) >= 0);
    lw_pub_close(pub);
    return NULL;
}

static void threads_of_one_process_are_writers_like_any_other(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    pthread_t threads[WRITERS];
    struct job jobs[WRITERS];
    uint64_t next[WRITERS] = {0}, count = (uint64_t)t_loops(50000);
    struct lw_msg msg;
    for (uint64_t i = 0; i < WRITERS; i++) {
        jobs[i] = (struct job){bus, i, count};
        assert_int_equal(pthread_create(&threads[i], NULL, publish_some, &jobs[i]), 0);
    }
    for (uint64_t n = 0; n < WRITERS * count; n++) {
        assert_int_equal(lw_sub_next(sub, &msg, LW_SEC(20)), 1);
        const struct note *note = msg.data;
        assert_true(note->who < WRITERS);
        assert_int_equal(note->n, next[note->who]++);
        assert_int_equal(msg.number, n);
        assert_ok(lw_sub_release(sub, &msg));
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(several_publish_in_one_order),
        t_test(an_exclusive_one_is_refused_beside_shared_ones),
        t_test(a_shared_one_is_refused_beside_an_exclusive_one),
        t_test(the_dead_refuse_nobody),
        t_test(in_place_is_for_the_only_one),
        t_test(who_can_not_fence_may_be_the_only_one),
        t_test(a_stopped_one_is_named_and_loses_nothing),
        t_test(who_waits_for_room_keeps_nobody_out),
        t_test(batches_of_several_stay_whole),
        t_test(each_publisher_is_listed),
        t_test(threads_of_one_process_are_writers_like_any_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

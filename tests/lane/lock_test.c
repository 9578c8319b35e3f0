/* SPDX-License-Identifier: MIT */
/*
 * lane/lock_test.c - shared writers one step after the other: in which order, who gets the bias and who loses it, who
 * is waited for, and what the dead leave. At every instruction: lock_step_test.c. At the same time:
 * lock_threads_test.c.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/membarrier.h"
#include "util/child.h"
#include "util/notes.h"

enum { RING = 65536, ALONE = 1024, WRITERS = 3 };
#define FAR ((UINT64_C(1) << 62) - RING)

/* A lane with three shared writers of three owners, and a reader of all. */
static struct scene {
    struct t_lane t;
    struct lw__lane_ctl *ctl;
    struct lw__writer w[WRITERS];
    uint64_t n[WRITERS]; /* notes that each has sent */
    struct lw__reader r;
    struct tn_log log;
} s;

enum { READER = 9, OWNER = 1 }; /* writer i is of owner OWNER + i */

static void begin(uint64_t start) {
    memset(&s, 0, sizeof s);
    s.t = t_lane_make(RING, 8, start);
    s.ctl = s.t.lane.ctl;
    assert_int_equal(lw__membarrier_register(), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        t_owner_set(OWNER + i, true);
        tn_join(&s.w[i], &s.t.lane, OWNER + i);
    }
    t_read_as(&s.r, &s.t.lane, READER, LW_FROM_NOW, 0);
}

/* All that was sent was read, in order, and whoever lives says so too. */
static void check_all(void) {
    struct lw__place tail;
    T_SOUND(tn_read(&s.r, &s.log));
    T_SOUND(t_at_rest(&s.t.lane, &tail));
    assert_int_equal(tail.pos, s.r.rx.pos);
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(s.log.next[i], s.n[i]);
        if (!s.w[i].slot) continue;
        assert_int_equal(lw__writer_done(&s.w[i]).number, s.n[i]);
        assert_int_equal(lw__writer_done(&s.w[i]).pos, tn_size(i, 0, (unsigned)s.n[i]));
        assert_int_equal(s.w[i].slot->section >> 1, s.n[i]);
    }
}

static void leave(unsigned i) {
    lw__writer_leave(&s.w[i]);
    s.w[i].slot = NULL;
}

static void end(void) {
    check_all();
    for (unsigned i = 0; i < WRITERS; i++)
        if (s.w[i].slot && t_owner_alive(OWNER + i)) leave(i);
    for (unsigned i = 0; i < WRITERS; i++) t_owner_set(OWNER + i, true);
    t_lane_end(&s.t);
}

/* The next note of writer i, which must work. */
static void send(unsigned i) {
    assert_ok(tn_send(&s.w[i], i, s.n[i]));
    s.n[i]++;
    if (s.n[i] % 64 == 0) T_SOUND(tn_read(&s.r, &s.log));
}

static void send_many(unsigned i, unsigned count) {
    while (count--) send(i);
}

static void bias(unsigned i) {
    tn_bias(&s.w[i], i, s.n[i]);
    s.n[i]++;
}

/* Writer i is told that `holder` is inside, and leaves all as it was. */
static void is_refused(unsigned i, uint64_t holder) {
    struct lw__place before, after;
    uint64_t biased = s.ctl->bias, section = s.w[i].slot->section;
    struct lw__place done = lw__writer_done(&s.w[i]);
    assert_int_equal(lw__lane_tail(&s.t.lane, &before), 0);
    s.w[i].holder = 0;
    assert_int_equal(tn_send(&s.w[i], i, s.n[i]), LW_EWRITER);
    assert_int_equal(lw__slot_process(s.w[i].holder), lw__slot_process(holder));
    assert_int_equal(s.w[i].holder & ~UINT64_C(1), holder);
    assert_int_equal(lw__lane_tail(&s.t.lane, &after), 0);
    assert_int_equal(after.pos, before.pos);
    assert_int_equal(s.ctl->bias, biased);
    assert_int_equal(s.w[i].slot->section, section);
    assert_int_equal(lw__writer_done(&s.w[i]).number, done.number);
    assert_int_equal(tn_send_batch(&s.w[i], i, s.n[i], 3), LW_EWRITER);
}

/* ---- one order --------------------------------------------------------------------------------------------------- */

static void several_by_turns_make_one_log(void **state) {
    (void)state;
    const uint64_t starts[] = {0, FAR};
    for (int at = 0; at < 2; at++) {
        begin(starts[at]);
        uint64_t pos = starts[at];
        for (unsigned turn = 0; turn < 4000; turn++) {
            unsigned i = turn * turn % 7 % WRITERS, count = turn % 5 == 0 ? 2 + turn % 9 : 1;
            uint64_t size = tn_size(i, s.n[i], count);
            int64_t rc = count > 1 ? tn_send_batch(&s.w[i], i, s.n[i], count) : tn_send(&s.w[i], i, s.n[i]);
            assert_int_equal(rc, pos);
            assert_int_equal(s.ctl->lock, 0);
            pos += size;
            s.n[i] += count;
            if (turn % 16 == 0) check_all();
        }
        end();
    }
}

static void a_writer_that_joins_late_goes_on_at_the_end(void **state) {
    struct lw__writer late;
    (void)state;
    begin(0);
    send_many(0, 10);
    leave(2);
    tn_join(&late, &s.t.lane, OWNER + 2);
    assert_int_equal(late.tx.number, 10);
    assert_int_equal(late.tx.pos, s.w[0].tx.pos);
    assert_int_equal(lw__writer_done(&late).number, 0);
    send_many(1, 10);
    assert_int_equal(tn_send(&late, 2, 0), s.w[1].tx.pos);
    s.n[2] = 1;
    assert_int_equal(lw__writer_done(&late).number, 1);
    lw__writer_leave(&late);
    send_many(0, 10);
    end();
}

static void without_room_the_word_and_the_mark_go_back(void **state) {
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        begin(0);
        if (biased) bias(0);
        int64_t rc;
        while ((rc = tn_send(&s.w[0], 0, s.n[0])) >= 0) {
            s.n[0]++;
            s.w[0].never_biased = !biased;
        }
        assert_int_equal(rc, LW_EFULL);
        assert_int_equal(tn_send_batch(&s.w[0], 0, s.n[0], 40), LW_EFULL);
        assert_int_equal(lw__writer_send(&s.w[0], 0, "", s.t.lane.record_max + 1), LW_ETOOBIG);
        assert_int_equal(s.w[0].slot->section, 2 * s.n[0]);
        assert_int_equal(s.ctl->lock, biased ? s.w[0].word | 1 : 0);
        assert_int_equal(tn_send_batch(&s.w[1], 1, 0, 40), LW_EFULL);
        assert_int_equal(s.ctl->lock, 0);
        T_SOUND(tn_read(&s.r, &s.log));
        send_many(1, 10);
        send_many(0, 10);
        end();
    }
}

/* ---- the bias ---------------------------------------------------------------------------------------------------- */

static void the_bias_comes_after_1024_in_a_row(void **state) {
    (void)state;
    begin(0);
    send_many(0, ALONE - 1);
    assert_int_equal(s.ctl->lock, 0);
    assert_int_equal(s.ctl->bias, 0);
    send(1); /* not in a row */
    send_many(0, ALONE - 1);
    assert_int_equal(s.ctl->lock, 0);
    assert_int_equal(s.ctl->bias, 0);
    assert_false(s.w[0].biased);
    send(0);
    assert_int_equal(s.ctl->lock, s.w[0].word | 1);
    assert_int_equal(s.ctl->bias, s.w[0].word);
    assert_true(s.w[0].biased);
    send_many(0, 5000); /* over all segments and the end of the ring */
    assert_int_equal(s.ctl->lock, s.w[0].word | 1);
    end();
}

static void two_who_never_are_alone_get_no_bias(void **state) {
    (void)state;
    begin(0);
    for (int i = 0; i < 3 * ALONE; i++) {
        send(0);
        send(1);
        assert_int_equal(s.ctl->bias, 0);
        assert_int_equal(s.ctl->lock, 0);
    }
    end();
}

static void who_wants_no_bias_gets_none(void **state) {
    (void)state;
    begin(0);
    s.w[0].never_biased = true;
    send_many(0, 3 * ALONE);
    assert_int_equal(s.ctl->bias, 0);
    assert_int_equal(s.ctl->lock, 0);
    end();
}

static void another_ends_the_bias(void **state) {
    (void)state;
    begin(FAR);
    for (int round = 0; round < 3; round++) {
        send_many(0, ALONE + 1);
        assert_int_equal(s.ctl->lock, s.w[0].word | 1);
        send(1);
        assert_int_equal(s.ctl->lock, 0);
        assert_int_equal(s.ctl->bias, 0);
        send(0); /* finds out, and goes the way of the lock */
        assert_false(s.w[0].biased);
        assert_int_equal(s.ctl->lock, 0);
        check_all();
        send(2);
    }
    bias(0);
    bias(1); /* from one to the next */
    assert_int_equal(s.ctl->lock, s.w[1].word | 1);
    send(0);
    assert_int_equal(s.ctl->lock, 0);
    end();
}

static void a_batch_by_mark_lies_between_two_of_others(void **state) {
    (void)state;
    begin(0);
    send(1);
    bias(0);
    for (unsigned i = 0; i < 60; i++) {
        assert_ok(tn_send_batch(&s.w[0], 0, s.n[0], 20));
        s.n[0] += 20;
        assert_int_equal(s.ctl->lock, s.w[0].word | 1);
        T_SOUND(tn_read(&s.r, &s.log));
    }
    send(1);
    end();
}

/* A mark of its own each: a try that fails takes no other's mark away, and leaves none. */
static void a_failed_try_leaves_the_mark_of_another(void **state) {
    (void)state;
    begin(0);
    bias(1);
    send(2);
    assert_true(s.w[1].biased); /* it doesn't know yet */
    bias(2);
    assert_int_equal(lw__tx_enter(&s.w[2].tx), 1);
    assert_int_equal(lw__tx_enter(&s.w[1].tx), 0);
    assert_int_equal(s.w[1].slot->section & 1, 0);
    is_refused(0, s.w[2].word);
    is_refused(1, s.w[2].word);
    lw__store_release(&s.w[2].slot->section, s.w[2].tx.sent);
    send(1);
    send(2);
    send(0);
    end();
}

/* ---- who is inside is waited for --------------------------------------------------------------------------------- */

static void a_biased_one_that_is_stopped_inside_is_waited_for(void **state) {
    (void)state;
    begin(0);
    bias(0);
    assert_int_equal(lw__tx_enter(&s.w[0].tx), 1);
    for (int tries = 0; tries < 3; tries++) { /* the first one's giving up must not let the second in */
        is_refused(1, s.w[0].word);
        assert_int_equal(s.ctl->lock, 0);
        assert_int_equal(s.ctl->bias, s.w[0].word);
        is_refused(2, s.w[0].word);
    }
    tn_put(&s.w[0], 0, s.n[0]++); /* what it was about to do */
    lw__tx_leave(&s.w[0].tx);
    send(1);
    send(0);
    send(2);
    end();
}

static void one_that_is_stopped_with_the_word_is_waited_for(void **state) {
    (void)state;
    begin(0);
    for (int biased = 0; biased < 2; biased++) {
        if (biased) tn_about_to_be_biased(&s.w[0]);
        assert_int_equal(lw__writer_enter(&s.w[0]), 0);
        assert_int_equal(s.ctl->lock, s.w[0].word);
        is_refused(1, s.w[0].word);
        is_refused(2, s.w[0].word);
        assert_int_equal(s.ctl->lock, s.w[0].word);
        lw__writer_exit(&s.w[0]);
        assert_int_equal(s.ctl->lock, biased ? s.w[0].word | 1 : 0);
        send(1);
        send(0);
        send(2);
    }
    end();
}

static void two_of_one_process_are_two(void **state) {
    (void)state;
    begin(0);
    leave(1);
    tn_join(&s.w[1], &s.t.lane, OWNER);
    assert_true(s.w[0].word != s.w[1].word);
    assert_int_equal(lw__slot_process(s.w[0].word), lw__slot_process(s.w[1].word));
    assert_int_equal(lw__writer_enter(&s.w[0]), 0);
    is_refused(1, s.w[0].word);
    lw__writer_exit(&s.w[0]);
    bias(0);
    assert_int_equal(lw__tx_enter(&s.w[0].tx), 1);
    is_refused(1, s.w[0].word);
    lw__store_release(&s.w[0].slot->section, s.w[0].tx.sent);
    send(1);
    send(0);
    end();
}

/* ---- the dead ---------------------------------------------------------------------------------------------------- */

/* Writer i commits its next note and dies before the tail, or a mark, says so. */
static void die_after_commit(unsigned i) {
    struct lw__cursor tail = s.ctl->tail;
    struct lw__mark marks[LW__MARKS];
    uint64_t lock = s.ctl->lock;
    memcpy(marks, s.ctl->marks, sizeof marks);
    assert_ok(tn_send_batch(&s.w[i], i, s.n[i], 30));
    s.n[i] += 30;
    s.ctl->tail = tail;
    memcpy(s.ctl->marks, marks, sizeof marks);
    s.ctl->lock = lock;
    s.w[i].slot->section |= 1;
    t_owner_set(OWNER + i, false);
    s.w[i].slot = NULL;
}

static void a_dead_one_inside_is_no_obstacle(void **state) {
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        begin(FAR);
        send_many(0, 100);
        T_SOUND(tn_read(&s.r, &s.log));
        struct lw__slot *slot = s.w[0].slot;
        if (biased) bias(0);
        uint64_t pos = s.w[0].tx.pos + tn_size(0, s.n[0], 30);
        die_after_commit(0);
        if (!biased) s.ctl->lock = s.w[0].word;
        assert_int_equal(tn_send(&s.w[1], 1, 0), pos);
        s.n[1] = 1;
        assert_int_equal(s.ctl->bias, 0);
        send(2);
        lw__lane_sweep(&s.t.lane, t_owner(OWNER + 1, 0), &t_owners);
        assert_int_equal(slot->owner, 0);
        struct lw__writer heir; /* in the dead one's slot, mark and all */
        tn_join(&heir, &s.t.lane, OWNER + 1);
        assert_ptr_equal(heir.slot, slot);
        assert_int_equal(heir.slot->section, 0);
        assert_ok(tn_send(&heir, 3, 0));
        lw__writer_leave(&heir);
        send(1);
        end();
    }
}

static void a_dead_one_with_the_word_who_was_waiting_for_a_mark(void **state) {
    (void)state;
    begin(0);
    bias(0);
    assert_int_equal(lw__tx_enter(&s.w[0].tx), 1);
    s.ctl->lock = s.w[1].word; /* took it, and died before it looked at the mark */
    t_owner_set(OWNER + 1, false);
    s.w[1].slot = NULL;
    is_refused(2, s.w[0].word); /* the same mark is waited for */
    lw__store_release(&s.w[0].slot->section, s.w[0].tx.sent);
    send(2);
    send(0);
    end();
}

/* ---- leaving ----------------------------------------------------------------------------------------------------- */

static void closing_ends_the_bias(void **state) {
    struct lw__writer sole;
    (void)state;
    begin(0);
    bias(0);
    leave(0);
    assert_int_equal(s.ctl->lock, 0);
    assert_int_equal(s.ctl->bias, 0);
    leave(1);
    leave(2);
    assert_int_equal(lw__writer_take(&sole, &s.t.lane, t_owner(OWNER, 0), &t_owners), 0);
    assert_ok(tn_send(&sole, 4, 0));
    lw__writer_leave(&sole);
    assert_int_equal(s.ctl->lock, 0);
    end();
}

static void closing_the_biased_one_while_another_has_the_word(void **state) {
    (void)state;
    begin(0);
    bias(0);
    struct lw__slot *slot = s.w[0].slot;
    s.ctl->lock = s.w[1].word; /* took it, and is stopped before it looks at the mark */
    leave(0);
    assert_int_equal(slot->owner, 0);
    assert_int_equal(slot->section & 1, 0);
    assert_int_equal(s.ctl->lock, s.w[1].word);
    tn_join(&s.w[0], &s.t.lane, OWNER); /* the same process in the same slot: the same word */
    assert_ptr_equal(s.w[0].slot, slot);
    assert_int_equal(tn_send(&s.w[0], 0, 1), LW_EWRITER);
    s.ctl->lock = 0; /* it goes on, and out */
    send(2);
    send(1);
    assert_int_equal(s.ctl->bias, 0);
    assert_ok(tn_send(&s.w[0], 0, 1));
    assert_int_equal(lw__writer_done(&s.w[0]).number, 1);
    leave(0);
    s.n[0] = 2;
    end();
}

static void closing_the_biased_one_while_another_is_inside(void **state) {
    (void)state;
    begin(0);
    bias(0);
    assert_int_equal(lw__writer_enter(&s.w[1]), 0);
    leave(0);
    assert_int_equal(s.ctl->lock, s.w[1].word);
    lw__writer_exit(&s.w[1]);
    send(2);
    send(1);
    end();
}

/* ---- exclusive and shared ---------------------------------------------------------------------------------------- */

static unsigned slots_taken(void) {
    unsigned taken = 0;
    for (uint32_t i = 0; i < s.t.lane.slots_max; i++) taken += s.t.lane.slots[i].owner != 0;
    return taken;
}

static void exclusive_and_shared_refuse_each_other(void **state) {
    struct lw__writer sole, shared;
    (void)state;
    begin(0);
    for (int i = 0; i < 3; i++) {
        unsigned taken = slots_taken();
        assert_int_equal(lw__writer_take(&sole, &s.t.lane, t_owner(20, 0), &t_owners), LW_EWRITER);
        assert_int_equal(lw__slot_process(sole.holder), t_owner(OWNER + (unsigned)i, 0) & ~UINT64_C(0xffff));
        assert_int_equal(s.ctl->lock, 0);
        assert_int_equal(slots_taken(), taken);
        leave((unsigned)i);
    }
    assert_int_equal(lw__writer_take(&sole, &s.t.lane, t_owner(20, 0), &t_owners), 0);
    assert_int_equal(lw__writer_join(&shared, &s.t.lane, t_owner(21, 0), &t_owners), LW_EWRITER);
    assert_int_equal(shared.holder, t_owner(20, 0));
    assert_int_equal(slots_taken(), 1); /* the reader's */
    assert_int_equal(lw__writer_take(&shared, &s.t.lane, t_owner(21, 0), &t_owners), LW_EWRITER);
    assert_int_equal(shared.holder, t_owner(20, 0));
    assert_ok(tn_send(&sole, 5, 0));
    lw__writer_leave(&sole);
    tn_join(&shared, &s.t.lane, 21);
    assert_ok(tn_send(&shared, 5, 1));
    lw__writer_leave(&shared);
    end();
}

static void the_dead_refuse_nobody(void **state) {
    struct lw__writer sole;
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        begin(0);
        if (biased) bias(0);
        send(0);
        s.w[0].slot->section |= 1;
        for (unsigned i = 0; i < WRITERS; i++) t_owner_set(OWNER + i, false);
        for (unsigned i = 0; i < WRITERS; i++) s.w[i].slot = NULL;
        t_owner_set(20, true);
        assert_int_equal(lw__writer_take(&sole, &s.t.lane, t_owner(20, 0), &t_owners), 0);
        assert_int_equal(s.ctl->bias, 0);
        assert_ok(tn_send(&sole, 5, 0));
        t_owner_set(20, false);
        t_owner_set(OWNER + 1, true);
        tn_join(&s.w[1], &s.t.lane, OWNER + 1);
        send(1);
        send(1);
        t_owner_set(20, true);
        end();
    }
}

/* ---- what does not work ------------------------------------------------------------------------------------------ */

static void without_a_slot_there_is_no_joining(void **state) {
    struct lw__writer more[8], sole;
    unsigned count = 0;
    (void)state;
    begin(0);
    while (slots_taken() < 8) tn_join(&more[count++], &s.t.lane, OWNER);
    assert_int_equal(lw__writer_join(&sole, &s.t.lane, t_owner(20, 0), &t_owners), LW_ENOSLOT);
    t_owner_set(OWNER + 2, false); /* a dead one's is free */
    s.w[2].slot = NULL;
    assert_int_equal(lw__writer_join(&sole, &s.t.lane, t_owner(20, 0), &t_owners), 0);
    assert_ok(tn_send(&sole, 7, 0));
    lw__writer_leave(&sole);
    while (count--) lw__writer_leave(&more[count]);
    end();
}

static void damage_is_told_and_the_word_goes_back(void **state) {
    struct lw__writer late;
    (void)state;
    begin(0);
    send(0);
    uint64_t *at = (uint64_t *)(void *)(s.t.lane.data + s.w[0].tx.pos);
    *at = 1; /* no header that anybody wrote */
    unsigned taken = slots_taken();
    assert_int_equal(tn_send(&s.w[1], 1, 0), LW_ECORRUPT);
    assert_int_equal(s.w[1].holder, s.w[0].tx.pos);
    assert_int_equal(s.ctl->lock, 0);
    assert_int_equal(lw__writer_join(&late, &s.t.lane, t_owner(20, 0), &t_owners), LW_ECORRUPT);
    assert_int_equal(slots_taken(), taken);
    *at = 0;
    send(1);
    send(0);
    end();
}

/* Bytes in the file are input: a bias that nobody can have is nobody's. */
static void a_bias_that_names_no_slot(void **state) {
    (void)state;
    begin(0);
    const uint64_t words[] = {2 * 9, 0xfffe, t_owner(OWNER, 0), 1, UINT64_MAX, UINT64_MAX - 1};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        s.ctl->bias = words[i];
        send(i % WRITERS);
        s.ctl->bias = words[i];
        s.ctl->lock = words[i] | 1;
        send((i + 1) % WRITERS);
        assert_int_equal(s.ctl->bias, 0);
        assert_int_equal(s.ctl->lock, 0);
    }
    end();
}

static int without_membarrier(void *arg) {
    (void)arg;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    T_NEED(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    struct lw__lane mine = t_lane_map(&s.t, LW__WRITE);
    struct lw__writer w = tn_moved(&s.w[1], &mine);
    T_NEED(tn_send(&w, 1, 0) == -EPERM);
    T_NEED(lw__load(&mine.ctl->lock) == 0 && lw__load(&mine.ctl->bias) == s.w[0].word);
    return 0;
}

/* Without the fence nobody knows whether the biased one is inside: then it stays its own. */
static void a_refused_membarrier_takes_nothing_away(void **state) {
    (void)state;
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) t_skip(__func__, "needs seccomp");
    begin(0);
    bias(0);
    struct t_child child = t_fork(without_membarrier, NULL);
    assert_int_equal(t_wait(&child), 0);
    send(0);
    send(1);
    send(0);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(several_by_turns_make_one_log),
        t_test(a_writer_that_joins_late_goes_on_at_the_end),
        t_test(without_room_the_word_and_the_mark_go_back),
        t_test(the_bias_comes_after_1024_in_a_row),
        t_test(two_who_never_are_alone_get_no_bias),
        t_test(who_wants_no_bias_gets_none),
        t_test(another_ends_the_bias),
        t_test(a_batch_by_mark_lies_between_two_of_others),
        t_test(a_failed_try_leaves_the_mark_of_another),
        t_test(a_biased_one_that_is_stopped_inside_is_waited_for),
        t_test(one_that_is_stopped_with_the_word_is_waited_for),
        t_test(two_of_one_process_are_two),
        t_test(a_dead_one_inside_is_no_obstacle),
        t_test(a_dead_one_with_the_word_who_was_waiting_for_a_mark),
        t_test(closing_ends_the_bias),
        t_test(closing_the_biased_one_while_another_has_the_word),
        t_test(closing_the_biased_one_while_another_is_inside),
        t_test(exclusive_and_shared_refuse_each_other),
        t_test(the_dead_refuse_nobody),
        t_test(without_a_slot_there_is_no_joining),
        t_test(damage_is_told_and_the_word_goes_back),
        t_test(a_bias_that_names_no_slot),
        t_test(a_refused_membarrier_takes_nothing_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

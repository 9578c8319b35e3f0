/* SPDX-License-Identifier: MIT */
/*
 * lane/lock_threads_test.c - shared writers at the same time: as threads over one mapping, for ThreadSanitizer, and as
 * two processes, one of which goes in by its mark as fast as it can while the other takes that right away.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "base/membarrier.h"
#include "util/notes.h"

enum { WRITERS = 4, READERS = 2, RING = 65536, FIRST = 1, READER = 10, SOLE = 20 };

static struct stage {
    struct t_lane lane;
    pthread_barrier_t here;
    unsigned writers; /* how many of them take part */
    uint64_t rounds;
    uint64_t n[WRITERS]; /* notes sent, each by its writer */
    uint64_t writing;    /* how many are not through */
    uint64_t alone;      /* notes that the one who is alone has to send yet */
    uint64_t biased;     /* sections by mark */
    uint64_t sole_inside, shared_inside;
    bool failed;
} g;

static bool failed(void) {
    return __atomic_load_n(&g.failed, __ATOMIC_RELAXED);
}

static void expect(bool right, const char *what) {
    if (right) return;
    fprintf(stderr, "%s\n", what);
    __atomic_store_n(&g.failed, true, __ATOMIC_RELAXED);
}

static void need(const char *trouble) {
    expect(!trouble, trouble ? trouble : "");
}

/* Random numbers for one thread. */
static uint64_t dice(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = (*state ^ *state >> 30) * 0xbf58476d1ce4e5b9;
    return z ^ z >> 27;
}

struct hand {
    unsigned me;
    uint64_t seed;
};

/* ---- writers and readers ----------------------------------------------------------------------------------------- */

/* A note, or a few; until there is room and nobody else inside. */
static void send_some(struct lw__writer *w, unsigned me, unsigned count) {
    int64_t rc;
    do {
        rc = count > 1 ? tn_send_batch(w, me, g.n[me], count) : tn_send(w, me, g.n[me]);
        if (rc < 0) sched_yield();
    } while ((rc == LW_EFULL || rc == LW_EWRITER) && !failed());
    expect(rc >= 0, "a send failed");
    g.n[me] += count;
    if (w->tx.edge_inside) __atomic_fetch_add(&g.biased, 1, __ATOMIC_RELAXED);
}

static void pause_a_little(uint64_t random) {
    if (random % 16 == 0) sched_yield();
    if (random % 256 == 1) t_sleep((int64_t)(random >> 32) % 50000);
}

/* By turns one is alone long enough to get the bias, then all come; the others come while it is in full flight. */
static void write_a_round(struct lw__writer *w, struct hand *hand, uint64_t round) {
    if (round % g.writers == hand->me) {
        for (; __atomic_load_n(&g.alone, __ATOMIC_RELAXED) && !failed();
             __atomic_fetch_sub(&g.alone, 1, __ATOMIC_RELAXED))
            send_some(w, hand->me, 1);
    } else {
        while (__atomic_load_n(&g.alone, __ATOMIC_RELAXED) > 100 && !failed()) sched_yield();
    }
    for (unsigned i = 0; i < 200 && !failed(); i++) {
        uint64_t random = dice(&hand->seed);
        send_some(w, hand->me, random % 8 ? 1 : 2 + (unsigned)(random >> 8) % 6);
        pause_a_little(random >> 16);
    }
}

static void *write_rounds(void *arg) {
    struct hand *hand = arg;
    struct lw__writer w;
    uint64_t done = 0;
    for (uint64_t round = 0; round < g.rounds; round++) {
        /* A joiner may look at a header that others overwrite just then; it finds out, which a sanitizer can't know. So
         * all join before one begins. */
        pthread_barrier_wait(&g.here);
        int rc = lw__writer_join(&w, &g.lane.lane, t_owner(FIRST + hand->me / 2, 0), &t_owners); /* two of a process */
        expect(!rc, "a writer can not join");
        if (hand->me == 0) __atomic_store_n(&g.alone, 1500, __ATOMIC_RELAXED);
        pthread_barrier_wait(&g.here);
        if (rc) continue;
        w.never_biased = round % 7 == 6;
        write_a_round(&w, hand, round);
        done += lw__writer_done(&w).number;
        lw__writer_leave(&w);
    }
    expect(failed() || done == g.n[hand->me], "a writer counts wrong");
    __atomic_fetch_sub(&g.writing, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void *read_all(void *arg) {
    struct lw__reader *r = arg;
    struct tn_log log = {.left = 0};
    for (bool last = false; !last && !failed();) {
        last = !__atomic_load_n(&g.writing, __ATOMIC_ACQUIRE);
        uint64_t pos = r->rx.pos;
        const char *trouble = tn_read(r, &log);
        need(trouble);
        if (r->rx.pos == pos) t_sleep(20000);
    }
    for (unsigned i = 0; i < g.writers; i++) expect(failed() || log.next[i] == g.n[i], "notes are missing");
    return NULL;
}

static void write_and_read(unsigned writers, uint64_t start) {
    pthread_t threads[WRITERS + READERS];
    struct hand hands[WRITERS];
    struct lw__reader readers[READERS];
    g = (struct stage){.lane = t_lane_make(RING, 8, start), .writers = writers, .writing = writers};
    g.rounds = (uint64_t)t_loops(300);
    assert_int_equal(lw__membarrier_register(), 0);
    assert_int_equal(pthread_barrier_init(&g.here, NULL, writers), 0);
    for (unsigned i = 0; i < READERS; i++) {
        t_read_as(&readers[i], &g.lane.lane, READER + i, LW_FROM_NOW, 0);
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    }
    for (unsigned i = 0; i < writers; i++) {
        hands[i] = (struct hand){.me = i, .seed = t_random()};
        assert_int_equal(pthread_create(&threads[READERS + i], NULL, write_rounds, &hands[i]), 0);
    }
    for (unsigned i = 0; i < READERS + writers; i++) pthread_join(threads[i], NULL);
    assert_false(g.failed);
    assert_true(g.biased);
    T_SOUND(t_at_rest(&g.lane.lane, NULL));
    assert_int_equal(g.lane.lane.ctl->lock & ~UINT64_C(1), 0);
    for (unsigned i = 0; i < READERS; i++) lw__reader_leave(&readers[i]);
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(g.lane.lane.slots[i].owner, 0);
    pthread_barrier_destroy(&g.here);
    t_lane_end(&g.lane);
}

static void two_writers_and_readers(void **state) {
    (void)state;
    write_and_read(2, 0);
}

static void four_writers_and_readers(void **state) {
    (void)state;
    write_and_read(WRITERS, (UINT64_C(1) << 62) - RING);
}

/* ---- exclusive and shared at once -------------------------------------------------------------------------------- */

/* One of a kind is in: none of the other kind may be, before or after a send. */
static void be_inside(struct lw__writer *w, unsigned me, uint64_t *mine, const uint64_t *theirs) {
    __atomic_fetch_add(mine, 1, __ATOMIC_SEQ_CST);
    expect(!__atomic_load_n(theirs, __ATOMIC_SEQ_CST), "an exclusive and a shared writer are in");
    send_some(w, me, 1);
    expect(!__atomic_load_n(theirs, __ATOMIC_SEQ_CST), "an exclusive and a shared writer are in");
    __atomic_fetch_sub(mine, 1, __ATOMIC_SEQ_CST);
    lw__writer_leave(w);
}

static void *come_and_go(void *arg) {
    struct hand *hand = arg;
    bool sole = hand->me == 0;
    struct lw__writer w;
    for (uint64_t round = 0; round < g.rounds && !failed(); round++) {
        int rc = sole ? lw__writer_take(&w, &g.lane.lane, t_owner(SOLE, 0), &t_owners)
                      : lw__writer_join(&w, &g.lane.lane, t_owner(FIRST + hand->me, 0), &t_owners);
        expect(rc == 0 || rc == LW_EWRITER, "another error");
        if (rc == 0 && sole) be_inside(&w, hand->me, &g.sole_inside, &g.shared_inside);
        if (rc == 0 && !sole) be_inside(&w, hand->me, &g.shared_inside, &g.sole_inside);
        for (uint64_t turns = dice(&hand->seed) % 64; turns; turns--) lw__relax();
        if (dice(&hand->seed) % 32 == 0) sched_yield();
    }
    return NULL;
}

static void never_an_exclusive_and_a_shared_one(void **state) {
    enum { ALL = 3 };
    (void)state;
    pthread_t threads[ALL];
    struct hand hands[ALL];
    struct lw__writer w;
    g = (struct stage){.lane = t_lane_make(1 << 20, 8, 0), .rounds = (uint64_t)t_loops(60000)};
    for (unsigned i = 0; i < ALL; i++) {
        hands[i] = (struct hand){.me = i, .seed = t_random()};
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &hands[i]), 0);
    }
    for (unsigned i = 0; i < ALL; i++) pthread_join(threads[i], NULL);
    assert_false(g.failed);
    T_SOUND(t_at_rest(&g.lane.lane, NULL));
    assert_int_equal(g.lane.lane.ctl->lock, 0);
    assert_int_equal(lw__writer_take(&w, &g.lane.lane, t_owner(SOLE, 0), &t_owners), 0);
    assert_int_equal(w.tx.number, g.n[0] + g.n[1] + g.n[2]);
    lw__writer_leave(&w);
    t_lane_end(&g.lane);
}

/* ---- two processes ----------------------------------------------------------------------------------------------- */

enum { FAST = 0, TAKER = 1 }; /* whose notes; their owners are FIRST and FIRST + 1 */

static struct book {
    uint64_t sent; /* by the fast one */
    uint64_t by_mark;
    uint64_t go, stop;
} * book;

/* Its bias comes back as soon as it was taken away: given by who is inside, as ever, but without the long run. */
static void get_the_bias(struct lw__writer *w) {
    if (lw__writer_enter(w)) return;
    if (w->section == LW__BY_LOCK) {
        lw__store(&w->lane->ctl->bias, w->word);
        w->biased = true;
    }
    lw__writer_exit(w);
}

/* On the first or the second processor that we may use, if there are two: on one they would only take turns. */
static void move_to(int processor) {
    static cpu_set_t all;
    cpu_set_t one;
    if (!CPU_COUNT(&all)) T_NEED(!sched_getaffinity(0, sizeof all, &all));
    CPU_ZERO(&one);
    for (size_t i = 0, n = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && (int)n++ == processor) CPU_SET(i, &one);
    sched_setaffinity(0, sizeof all, CPU_COUNT(&one) ? &one : &all);
}

enum { ANYWHERE = -1 };

static int send_by_mark(void *arg) {
    struct lw__lane lane = t_lane_map(&g.lane, LW__WRITE);
    struct lw__writer w;
    (void)arg;
    move_to(1);
    T_NEED(!lw__membarrier_register());
    tn_join(&w, &lane, FIRST);
    __atomic_store_n(&book->go, 1, __ATOMIC_RELEASE);
    uint64_t n = 0, by_mark = 0;
    while (!__atomic_load_n(&book->stop, __ATOMIC_RELAXED)) {
        if (!w.biased) get_the_bias(&w);
        for (unsigned i = 0; i < 16; i++) {
            int64_t rc = tn_send(&w, FAST, n);
            T_NEED(rc >= 0 || rc == LW_EWRITER);
            n += rc >= 0;
            by_mark += w.biased;
            if (!w.biased) break;
        }
    }
    T_NEED(lw__writer_done(&w).number == n);
    book->sent = n;
    book->by_mark = by_mark;
    lw__writer_leave(&w);
    return 0;
}

static uint64_t line_of_end(const struct lw__lane *lane) {
    struct lw__place tail;
    lw__lane_tail(lane, &tail);
    return tail.pos & ~UINT64_C(63);
}

/* Waits until the fast one has the bias, and a little more. Reads what it is about to write: then its stores wait for
 * their lines, and its mark waits behind them. */
static void lie_in_wait(const struct lw__lane *lane, uint64_t random) {
    for (unsigned turn = 0; turn < 10000 && !(lw__load(&lane->ctl->lock) & 1); turn++) lw__relax();
    uint64_t pos = line_of_end(lane);
    for (uint64_t wait = random % 8; wait; wait--) {
        for (uint64_t line = 0; line < 16; line++)
            (void)*(const volatile char *)(lane->data + ((pos + line * 64) & lane->mask));
        pos = line_of_end(lane);
    }
}

/* The fast one begins; ... */
static struct t_child flight_begin(uint64_t ring) {
    g = (struct stage){.lane = t_lane_make(ring, 8, 0)};
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(book != MAP_FAILED);
    assert_int_equal(lw__membarrier_register(), 0);
    move_to(0);
    struct t_child child = t_fork(send_by_mark, NULL);
    T_UNTIL(__atomic_load_n(&book->go, __ATOMIC_ACQUIRE));
    return child;
}

/* ... and ends: two who were in at once wrote one over the other. */
static void flight_end(struct t_child *child, uint64_t sent) {
    struct lw__place tail;
    __atomic_store_n(&book->stop, 1, __ATOMIC_RELAXED);
    move_to(ANYWHERE);
    assert_int_equal(t_wait(child), 0);
    T_SOUND(t_at_rest(&g.lane.lane, &tail));
    assert_int_equal(tail.number, sent + book->sent);
    assert_true(book->by_mark && sent);
    munmap(book, sizeof *book);
    t_lane_end(&g.lane);
}

/* A mark that is still on its way to memory when the word is taken: only the fence on the other processor sees to it
 * that it is waited for. */
static void a_bias_is_taken_from_a_process_in_full_flight(void **state) {
    struct lw__writer w;
    (void)state;
    struct t_child child = flight_begin(1 << 20);
    tn_join(&w, &g.lane.lane, FIRST + 1);
    w.never_biased = true;
    uint64_t sent = 0, seed = t_random();
    int64_t end = t_now() + LW_SEC(5);
    for (int64_t turns = t_loops(150000); turns && t_now() < end; turns--) {
        lie_in_wait(&g.lane.lane, dice(&seed));
        int64_t rc = tn_send(&w, TAKER, sent);
        assert_true(rc >= 0 || rc == LW_EWRITER);
        sent += rc >= 0;
    }
    lw__writer_leave(&w);
    flight_end(&child, sent);
}

/* The one in flight goes round and round meanwhile. */
static void writers_come_and_go_beside_a_process_in_full_flight(void **state) {
    struct lw__writer w;
    (void)state;
    struct t_child child = flight_begin(4096);
    uint64_t sent = 0;
    int64_t end = t_now() + LW_SEC(5);
    for (int64_t turns = t_loops(50000); turns && t_now() < end; turns--) {
        int rc = lw__writer_join(&w, &g.lane.lane, t_owner(FIRST + 1, 0), &t_owners);
        if (rc) fail_msg("joining: %s", lw_errname(rc));
        for (int64_t i = turns % 4; i; i--) {
            int64_t pos = tn_send(&w, TAKER, sent);
            assert_true(pos >= 0 || pos == LW_EWRITER);
            sent += pos >= 0;
        }
        lw__writer_leave(&w);
    }
    flight_end(&child, sent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(two_writers_and_readers),
        t_test(four_writers_and_readers),
        t_test(never_an_exclusive_and_a_shared_one),
        t_test(a_bias_is_taken_from_a_process_in_full_flight),
        t_test(writers_come_and_go_beside_a_process_in_full_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

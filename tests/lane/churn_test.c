/* SPDX-License-Identifier: MIT */
/*
 * lane/churn_test.c - readers of all kinds that come, read a little and go, against writers at full speed: by threads
 * over one mapping, and by processes with a mapping each. Each checks every byte and every number that it gets, and what
 * it is told that it lost.
 *
 * LW_CHURN=N makes it N comings in all, a long run: LW_CHURN=10000000.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/membarrier.h"
#include "util/reader_util.h"

enum { COMERS = 3, WRITERS = 2, RING = 65536, SLOTS = 24, FIRST_WRITER = 100, FIRST_COMER = 200 };

enum kind { RELIABLE, DURABLE, LAGGING, DURABLE_LAGGING, LOSSY, KINDS };

/* In memory that all have. */
static struct stage {
    uint64_t rounds; /* comings of each comer */
    uint64_t done;   /* comers that are through */
    uint64_t failed;
    uint64_t comings[KINDS], evictions, gaps, seeks, messages;
    char trouble[512];
} * g;

static struct t_lane lane;

static void note(const char *what) {
    if (__atomic_exchange_n(&g->failed, 1, __ATOMIC_SEQ_CST)) return;
    snprintf(g->trouble, sizeof g->trouble, "%s", what);
    fprintf(stderr, "%s\n", what);
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) return note(t_words("line %d: %s", __LINE__, #condition));                                   \
    } while (0)

static bool failed(void) {
    return __atomic_load_n(&g->failed, __ATOMIC_RELAXED);
}

/* ---- writers ----------------------------------------------------------------------------------------------------- */

/* Numbers are given inside the section, so what is sent by a shared one says them only if it is alone there: its content
 * follows from the position instead, which whoever reads knows as well. */
static bool by_position;

static void fill_at(void *data, uint64_t len, uint64_t pos) {
    t_fill(data, len, pos);
}

static int64_t send_shared(struct lw__writer *w, uint64_t len) {
    char data[512];
    if (lw__writer_enter(w)) return LW_EWRITER;
    uint64_t pos = w->tx.pos;
    void *place;
    int64_t rc = lw__writer_reserve(w, &place, len);
    if (!rc) {
        fill_at(data, len, pos);
        memcpy(place, data, len);
        rc = lw__writer_commit(w, t_type(pos, len), len);
    }
    lw__writer_exit(w);
    return rc;
}

static void write_on(struct lw__lane *map, unsigned me, bool shared) {
    struct lw__writer w;
    uint64_t full = 0;
    if (shared)
        EXPECT(!lw__writer_join(&w, map, t_owner(FIRST_WRITER + me, 0), &t_owners));
    else
        EXPECT(!lw__writer_take(&w, map, t_owner(FIRST_WRITER + me, 0), &t_owners));
    for (uint64_t i = me; !failed() && __atomic_load_n(&g->done, __ATOMIC_RELAXED) < COMERS; i++) {
        uint64_t len = i * 7 % 120;
        int64_t rc = shared ? send_shared(&w, len) : t_send(&w, len);
        EXPECT(rc >= 0 || rc == LW_EFULL || rc == LW_EWRITER);
        if (rc < 0 && ++full % 16 == 0) t_sleep(1000);
    }
    lw__writer_leave(&w);
}

/* ---- who comes and goes ------------------------------------------------------------------------------------------ */

static bool reads_by_copy(enum kind kind) {
    return kind >= LAGGING;
}

static bool content_fits(const struct lw_msg *m) {
    struct lw_msg as = *m;
    if (by_position) as.number = m->position;
    return t_fits(&as);
}

/* A few messages, all in order; losses as told. Now and then it rests, and falls behind. */
static void read_some(struct lw__reader *r, enum kind kind, unsigned count) {
    struct lw_msg m;
    if (reads_by_copy(kind) && r->rx.number % 32 == 5) t_sleep(50000);
    for (unsigned empty = 0; count && empty < 20;) {
        uint64_t number = r->rx.number, pos = r->rx.pos;
        int rc = t_copy_next(r, &m);
        if (rc == LW_EEMPTY) {
            empty++;
            continue;
        }
        if (rc == LW_EGAP || rc == LW_EEVICTED) {
            EXPECT(kind == LOSSY ? rc == LW_EGAP : rc == LW_EEVICTED && reads_by_copy(kind));
            EXPECT(r->passed && r->rx.number == number + r->passed && r->rx.pos >= pos + 8 * r->passed);
            __atomic_fetch_add(rc == LW_EGAP ? &g->gaps : &g->evictions, 1, __ATOMIC_RELAXED);
            count--;
            continue;
        }
        EXPECT(rc == 1);
        EXPECT(m.number == number && m.position == pos && m.next == r->rx.pos && content_fits(&m));
        if (number % 3) EXPECT(!t_copy_release(r, &m));
        count--;
        __atomic_fetch_add(&g->messages, 1, __ATOMIC_RELAXED);
    }
}

static uint64_t word_for(unsigned me, enum kind kind) {
    unsigned lag = kind == LAGGING || kind == DURABLE_LAGGING ? LW__SLOT_LAG : 0;
    return t_owner(FIRST_COMER + me, (kind == LOSSY ? LW__SLOT_LOSSY : LW__SLOT_RELIABLE) | lag);
}

static void seek_somewhere(struct lw__reader *r, enum kind kind, uint64_t turn, uint64_t position) {
    enum lw_from from = (enum lw_from)(turn / 5 % 3);
    uint64_t number = r->rx.number;
    r->rx.pos = r->rx.head; /* as lw_sub_rewind() */
    struct lw__place place;
    EXPECT(lw__cursor_load(r->rx.cursor, &place));
    r->rx.number = number = place.number;
    lw__reader_undivert(r);
    r->passed = 0;
    int rc = lw__reader_seek(r, from, position, &t_owners);
    EXPECT(rc == 0 || rc == LW_EPOSITION);
    if (rc == LW_EPOSITION) EXPECT(from == LW_FROM_POSITION && (kind == LOSSY || r->rx.number == number + r->passed));
    if (!rc && from == LW_FROM_POSITION) EXPECT(r->rx.pos == position);
    __atomic_fetch_add(&g->seeks, 1, __ATOMIC_RELAXED);
    read_some(r, kind, 4);
}

static void give_up(struct lw__reader *r, unsigned me) {
    bool durable = lw__slot_kind(r->owner) == LW__SLOT_DURABLE;
    uint64_t away;
    lw__reader_leave(r);
    while (durable && (away = lw__load_acquire(&r->slot->owner)) != 0)
        if (lw__slot_free(r->slot, away, t_owner(FIRST_COMER + me, 0))) break; /* else it was evicted just now */
}

/* Goes and comes back, as another handle. */
static void come_again(struct lw__reader *r, unsigned me, enum kind kind) {
    struct lw__place place;
    uint64_t holder, owner = r->owner;
    struct lw__slot *slot = r->slot;
    lw__reader_leave(r);
    EXPECT(lw__cursor_load(&slot->cursor, &place));
    EXPECT(!lw__slot_inherit(r, r->lane, slot, owner, &t_aging_owners, &holder));
    EXPECT(!lw__reader_resume(r));
    EXPECT(r->rx.number == place.number + r->passed && lw__slot_missed(slot) >= r->passed);
    EXPECT(!r->passed || kind == DURABLE_LAGGING);
    if (r->passed) __atomic_fetch_add(&g->evictions, 1, __ATOMIC_RELAXED);
    read_some(r, kind, 3);
    (void)me;
}

static void come_once(struct lw__reader *r, struct lw__lane *map, unsigned me, uint64_t turn, uint64_t *position) {
    enum kind kind = (enum kind)(turn % KINDS);
    enum lw_from from = (enum lw_from)(turn / KINDS % 3);
    char name[8];
    int rc = lw__reader_take(r, map, word_for(me, kind), &t_owners);
    EXPECT(rc == 0);
    lw__store(&r->slot->cap, turn % 7 * 3000);
    rc = lw__reader_join(r, from, *position);
    if (rc == LW_EPOSITION) rc = lw__reader_join(r, LW_FROM_NOW, 0);
    EXPECT(rc == 0);
    if (kind == DURABLE || kind == DURABLE_LAGGING) {
        snprintf(name, sizeof name, "d%u", me);
        lw__slot_make_durable(r, name);
    }
    read_some(r, kind, 3 + (unsigned)(turn % 6));
    *position = r->rx.pos;
    if (turn % 5 == 3 && !failed()) seek_somewhere(r, kind, turn, *position - (turn % 2 ? 0 : 4000));
    if (lw__slot_kind(r->owner) == LW__SLOT_DURABLE && turn % 4 == 1 && !failed()) come_again(r, me, kind);
    give_up(r, me);
    __atomic_fetch_add(&g->comings[kind], 1, __ATOMIC_RELAXED);
}

static void come_and_go(struct lw__lane *map, unsigned me) {
    struct lw__reader r = {.lane = NULL};
    uint64_t position = 0;
    T_NEED(!lw__reader_make_copies(&r));
    for (uint64_t turn = me; turn < g->rounds + me && !failed(); turn++) come_once(&r, map, me, turn, &position);
    lw__reader_free_copies(&r);
    __atomic_fetch_add(&g->done, 1, __ATOMIC_SEQ_CST);
}

/* ---- by threads and by processes --------------------------------------------------------------------------------- */

static uint64_t rounds_of(int64_t usual) {
    const char *all = getenv("LW_CHURN");
    return all ? strtoull(all, NULL, 0) / (4 * COMERS) : (uint64_t)t_loops(usual);
}

static void begin(int64_t usual, bool shared) {
    g = mmap(NULL, sizeof *g, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(g != MAP_FAILED);
    *g = (struct stage){.rounds = rounds_of(usual)};
    lane = t_lane_make(RING, SLOTS, 0);
    by_position = shared;
    assert_int_equal(lw__membarrier_register(), 0);
}

static void end(void) {
    struct lw__place tail;
    uint64_t all = 0;
    if (g->failed) fail_msg("%s", g->trouble);
    T_SOUND(t_at_rest(&lane.lane, &tail));
    for (uint32_t i = 0; i < SLOTS; i++) assert_int_equal(lane.lane.slots[i].owner, 0);
    assert_int_equal(lane.lane.ctl->lock & ~UINT64_C(1), 0);
    for (int i = 0; i < KINDS; i++) all += g->comings[i];
    assert_int_equal(all, COMERS * g->rounds);
    if (getenv("LW_CHURN"))
        print_message("%" PRIu64 " comings, %" PRIu64 " seeks, %" PRIu64 " messages read of %" PRIu64
                      " published, %" PRIu64 " evictions and %" PRIu64 " gaps told\n",
                      all, g->seeks, g->messages, tail.number, g->evictions, g->gaps);
    t_lane_end(&lane);
    munmap(g, sizeof *g);
}

struct part {
    unsigned me;
    bool writes, shared;
};

static void *thread_of(void *arg) {
    const struct part *p = arg;
    if (p->writes)
        write_on(&lane.lane, p->me, p->shared);
    else
        come_and_go(&lane.lane, p->me);
    return NULL;
}

static int process_of(void *arg) {
    const struct part *p = arg;
    struct lw__lane map = t_lane_map(&lane, LW__WRITE);
    T_NEED(!lw__membarrier_register());
    if (p->writes)
        write_on(&map, p->me, p->shared);
    else
        come_and_go(&map, p->me);
    return failed();
}

static unsigned cast(struct part *parts, bool shared) {
    unsigned n = 0;
    for (unsigned i = 0; i < (shared ? WRITERS : 1); i++) parts[n++] = (struct part){i, true, shared};
    for (unsigned i = 0; i < COMERS; i++) parts[n++] = (struct part){i, false, shared};
    return n;
}

static void by_threads(bool shared) {
    struct part parts[WRITERS + COMERS];
    pthread_t threads[WRITERS + COMERS];
    begin(20000, shared);
    unsigned n = cast(parts, shared);
    for (unsigned i = 0; i < n; i++) assert_int_equal(pthread_create(&threads[i], NULL, thread_of, &parts[i]), 0);
    for (unsigned i = 0; i < n; i++) pthread_join(threads[i], NULL);
    end();
}

static void by_processes(bool shared) {
    struct part parts[WRITERS + COMERS];
    struct t_child children[WRITERS + COMERS];
    begin(20000, shared);
    unsigned n = cast(parts, shared);
    for (unsigned i = 0; i < n; i++) children[i] = t_fork(process_of, &parts[i]);
    while (__atomic_load_n(&g->done, __ATOMIC_ACQUIRE) < COMERS && !failed()) t_sleep(LW_MS(5)); /* may be minutes */
    for (unsigned i = 0; i < n; i++) assert_int_equal(t_wait(&children[i]), 0);
    end();
}

static void threads_and_an_exclusive_writer(void **state) {
    (void)state;
    by_threads(false);
}

static void threads_and_shared_writers(void **state) {
    (void)state;
    by_threads(true);
}

static void processes_and_an_exclusive_writer(void **state) {
    (void)state;
    by_processes(false);
}

static void processes_and_shared_writers(void **state) {
    (void)state;
    by_processes(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(threads_and_an_exclusive_writer),
        t_test(threads_and_shared_writers),
        t_test(processes_and_an_exclusive_writer),
        t_test(processes_and_shared_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

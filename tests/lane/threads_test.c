/* SPDX-License-Identifier: MIT */
/*
 * lane/threads_test.c - a writer and readers as threads over one mapping, for ThreadSanitizer, which goes by addresses:
 * over two mappings of one file it would see nothing (pitfall 5). Every byte of every message is checked anyway.
 *
 * A joiner may look at a header that the writer overwrites just then; it finds out by horizon and looks again. That is
 * a race of the harmless kind, which a sanitizer can not tell from the other: so here the writer does not go round
 * while somebody joins. join_test.c and meet_test.c let it.
 */
#include <pthread.h>

#include "util/lane_util.h"

enum { READERS = 3, RING = 65536 };

static struct stage {
    struct t_lane lane;
    pthread_mutex_t names;     /* in place of the lane file's lock */
    uint64_t joining[READERS]; /* where the tail was when it began to join, plus 1 */
    uint64_t rounds, done;     /* how often each reader comes; how many readers are through */
    bool failed;
} g;

static void expect(bool right, const char *what) {
    if (right) return;
    fprintf(stderr, "%s\n", what);
    __atomic_store_n(&g.failed, true, __ATOMIC_RELAXED);
}

static bool over(void) {
    return __atomic_load_n(&g.failed, __ATOMIC_RELAXED) || __atomic_load_n(&g.done, __ATOMIC_RELAXED) == READERS;
}

/* Not more than half a ring beyond where somebody is joining. Relaxed, so that it orders nothing. */
static bool may_go_on(const struct lw__writer *w) {
    for (int i = 0; i < READERS; i++) {
        uint64_t at = __atomic_load_n(&g.joining[i], __ATOMIC_RELAXED);
        if (at && w->tx.pos + 2048 > at + RING / 2) return false;
    }
    return true;
}

static void *write_all(void *arg) {
    struct lw__writer w;
    uint64_t lens[4];
    (void)arg;
    expect(!lw__writer_take(&w, &g.lane.lane, t_owner(1, 0), &t_owners), "the writer's part is taken");
    while (!over()) {
        uint64_t kind = w.tx.number % 16, len = w.tx.number * 7 % 120;
        if (!may_go_on(&w)) {
            t_sleep(1000);
            continue;
        }
        for (unsigned i = 0; i < 4; i++) lens[i] = len + i;
        int64_t rc = kind == 0   ? t_send_batch(&w, lens, 4)
                     : kind == 5 ? t_stage_batch(&w, lens, 4)
                     : kind == 9 ? t_send_in_place(&w, len + 40, len)
                                 : t_send(&w, len);
        expect(rc >= 0 || rc == LW_EFULL, "a send failed");
        if (rc == LW_EFULL) t_sleep(1000);
    }
    lw__writer_leave(&w);
    return NULL;
}

static void join(struct lw__reader *r, unsigned me, enum lw_from from, uint64_t position, bool seek) {
    struct lw__place tail;
    expect(lw__cursor_load(&g.lane.lane.ctl->tail, &tail), "no tail");
    __atomic_store_n(&g.joining[me], tail.pos + 1, __ATOMIC_RELAXED);
    if (seek) {
        expect(!lw__reader_seek(r, from, position, &t_owners), "seeking failed");
    } else {
        expect(!lw__reader_take(r, &g.lane.lane, t_owner(2 + me, LW__SLOT_RELIABLE), &t_owners), "no slot");
        int rc = lw__reader_join(r, from, position);
        if (rc == LW_EPOSITION) rc = lw__reader_join(r, LW_FROM_NOW, 0);
        expect(!rc, "joining failed");
    }
    __atomic_store_n(&g.joining[me], 0, __ATOMIC_RELAXED);
}

static void read_some(struct lw__reader *r, int count) {
    struct lw_msg m;
    while (count && !__atomic_load_n(&g.failed, __ATOMIC_RELAXED)) {
        uint64_t number = r->rx.number;
        int rc = t_next(r, &m);
        if (rc == LW_EEMPTY) {
            t_sleep(1000);
            continue;
        }
        expect(rc == 1 && m.number == number && t_fits(&m), "a message is not what it should be");
        if (number % 3 == 0) expect(!t_release(r, &m), "not released");
        count--;
    }
}

static void name_it(struct lw__reader *r, unsigned me) {
    char name[2] = {(char)('a' + me), 0};
    pthread_mutex_lock(&g.names);
    if (!lw__slot_find(&g.lane.lane, name)) lw__slot_make_durable(r, name);
    pthread_mutex_unlock(&g.names);
}

static void unname_it(struct lw__reader *r, unsigned me) {
    uint64_t owner = r->owner;
    if (lw__slot_kind(owner) != LW__SLOT_DURABLE) {
        lw__reader_leave(r);
        return;
    }
    pthread_mutex_lock(&g.names);
    lw__reader_leave(r);
    expect(lw__slot_free(r->slot, LW__SLOT_DURABLE, t_owner(2 + me, 0)), "not freed");
    pthread_mutex_unlock(&g.names);
}

static void *come_and_go(void *arg) {
    unsigned me = *(unsigned *)arg;
    struct lw__reader r;
    uint64_t position = 0;
    for (unsigned round = me; round < g.rounds && !__atomic_load_n(&g.failed, __ATOMIC_RELAXED); round++) {
        join(&r, me, (enum lw_from)(round % 3), position, false);
        if (round % 4 == 0) name_it(&r, me);
        read_some(&r, 50 + (int)(round % 100));
        position = r.rx.pos;
        if (round % 5 == 0) {
            join(&r, me, LW_FROM_OLDEST, 0, true);
            read_some(&r, 30);
        }
        unname_it(&r, me);
    }
    __atomic_fetch_add(&g.done, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void a_writer_and_readers_that_come_and_go(void **state) {
    (void)state;
    pthread_t threads[READERS + 1];
    unsigned ids[READERS] = {0, 1, 2};
    g = (struct stage){.lane = t_lane_make(RING, 8, 0), .rounds = (uint64_t)t_loops(20000)};
    pthread_mutex_init(&g.names, NULL);
    assert_int_equal(pthread_create(&threads[READERS], NULL, write_all, NULL), 0);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &ids[i]), 0);
    for (int i = 0; i <= READERS; i++) pthread_join(threads[i], NULL);
    assert_false(g.failed);
    T_SOUND(t_at_rest(&g.lane.lane, NULL));
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(g.lane.lane.slots[i].owner, 0);
    t_lane_end(&g.lane);
}

/* One writer after the other, each as a thread of its own: what one left is the next one's, without a lock of ours. */
static void *write_a_little(void *arg) {
    struct lw__writer w;
    unsigned me = *(unsigned *)arg;
    for (uint64_t turns = (uint64_t)t_loops(2000); turns;) {
        if (lw__writer_take(&w, &g.lane.lane, t_owner(10 + me, 0), &t_owners)) {
            t_sleep(1000);
            continue;
        }
        for (uint64_t i = 0; i < 5; i++) expect(t_send(&w, (turns + i) % 90) >= 0, "a send failed");
        lw__writer_leave(&w);
        turns--;
    }
    return NULL;
}

static void writers_that_take_turns(void **state) {
    (void)state;
    pthread_t threads[2];
    unsigned ids[2] = {0, 1};
    struct lw__place tail;
    g = (struct stage){.lane = t_lane_make(4096, 2, 0)};
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_a_little, &ids[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_false(g.failed);
    T_SOUND(t_at_rest(&g.lane.lane, &tail));
    assert_int_equal(tail.number, 2 * 5 * t_loops(2000));
    T_SOUND(t_retained(&g.lane.lane, tail.number));
    t_lane_end(&g.lane);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_and_readers_that_come_and_go),
        cmocka_unit_test(writers_that_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

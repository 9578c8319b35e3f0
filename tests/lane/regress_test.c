/* SPDX-License-Identifier: MIT */
/*
 * lane/regress_test.c - defects that the lane had once, each in the situation in which it showed. Where two meet, one stops after its
 * n-th instruction (as in meet_test.c), or both run at full speed for a while.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>

#include "util/lane_util.h"
#include "util/step.h"

enum { RING = 4096, FIRST = 1, SECOND = 2, THIRD = 3 };

/* ---- a place goes back while a writer looks ---------------------------------------------------------------------- */

enum { BATCH = 12, POINTS = 300 };

static struct {
    struct t_lane lane;
    struct lw__lane mine; /* the child's mapping */
    struct lw__writer w;
    struct told {
        int rc;
        uint64_t number, pos;
    } * told;
    uint64_t n; /* instructions before the second one's turn */
} m;

static void begin(uint64_t ring, uint32_t slots) {
    m.lane = t_lane_make(ring, slots, 0);
    m.told = mmap(NULL, sizeof *m.told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(m.told != MAP_FAILED);
    t_write_as(&m.w, &m.lane.lane, FIRST);
}

static void end(void) {
    munmap(m.told, sizeof *m.told);
    t_lane_end(&m.lane);
}

static void be_writer(void *arg) {
    (void)arg;
    m.mine = t_lane_map(&m.lane, LW__WRITE);
    t_write_as(&m.w, &m.mine, FIRST);
}

static void write_all(void *arg) {
    int64_t rc = 0;
    (void)arg;
    for (int i = 0; i < 4000 && rc >= 0; i++) rc = t_send(&m.w, 40);
    m.told->rc = (int)rc;
}

/* A seek in two halves: the slot for a moment has the place ... */
static void half_a_seek(struct lw__reader *scout, uint64_t position) {
    uint64_t owner = t_owner(SECOND, LW__SLOT_PASSING);
    assert_int_equal(lw__reader_take(scout, &m.lane.lane, owner, &t_owners), 0);
    assert_int_equal(lw__reader_join(scout, LW_FROM_POSITION, position), 0);
}

/* ... then the reader's own has it, and the other is given up. */
static void the_other_half(struct lw__reader *r, struct lw__reader *scout) {
    r->rx.pos = r->rx.head = scout->rx.pos;
    r->rx.number = scout->rx.number;
    lw__cursor_store(&r->slot->cursor, r->rx.pos, r->rx.number);
    lw__reader_leave(scout);
}

/* The writer has said that it will take more room than up to that place, has looked at the reader's slot, which was ahead then, and
 * not yet at the other one. */
static void nothing_is_overwritten_where_a_reader_seeks_to(void **state) {
    (void)state;
    t_need_ptrace();
    static struct t_point points[POINTS];
    struct lw__reader before, scout_before;
    struct lw__place oldest;
    begin(64 << 10, 4);
    t_read_as(&before, &m.lane.lane, SECOND, LW_FROM_NOW, 0);
    for (int i = 0; i < 2000 || m.w.tx.pos + 48 + 8 <= m.w.limit; i++) {
        assert_ok(t_send(&m.w, 40));
        T_SOUND(t_drain(&before, NULL));
    }
    lw__writer_leave(&m.w); /* the next message needs room, and gets that of a segment */
    assert_int_equal(lw__lane_oldest(&m.lane.lane, &oldest), 0);
    half_a_seek(&scout_before, oldest.pos + 5 * 48);
    char *saved = t_lane_save(&m.lane);
    uint64_t count = t_step_points(be_writer, write_all, NULL, 2000, points, (uint64_t)t_loops(POINTS));
    for (uint64_t i = 0; i < count; i++) {
        t_lane_restore(&m.lane, saved);
        m.n = points[i].n;
        struct lw__reader r = before, scout = scout_before;
        struct t_step step = t_step_begin(be_writer, write_all, NULL);
        bool more = t_step_to(&step, &points[i]);
        the_other_half(&r, &scout);
        if (more) t_step_finish(&step);
        t_step_end(&step);
        const char *trouble = t_drain(&r, NULL);
        if (trouble || m.told->rc != LW_EFULL)
            fail_msg("after %" PRIu64 " instructions: %s; the writer: %s", m.n, trouble ? trouble : "all read",
                     lw_errname(m.told->rc));
    }
    free(saved);
    end();
}

/* ---- joining now, while batches are written ---------------------------------------------------------------------- */

static void send_batches(unsigned count) {
    uint64_t len[BATCH];
    for (unsigned i = 0; i < BATCH; i++) len[i] = 8 * (i % 3);
    while (count--) assert_ok(t_send_batch(&m.w, len, BATCH));
}

static void map_it(void *arg) {
    (void)arg;
    m.mine = t_lane_map(&m.lane, LW__READ);
}

static void join_now(void *arg) {
    struct lw__reader r;
    (void)arg;
    m.told->rc = lw__reader_take(&r, &m.mine, t_owner(SECOND, LW__SLOT_RELIABLE), &t_owners);
    if (!m.told->rc) m.told->rc = lw__reader_join(&r, LW_FROM_NOW, 0);
    m.told->number = r.rx.number;
    m.told->pos = r.rx.pos;
}

static void meet_batches(unsigned before, unsigned meanwhile) {
    static struct t_point points[POINTS];
    begin(RING, 3);
    send_batches(before);
    char *saved = t_lane_save(&m.lane);
    struct lw__writer writer = m.w;
    uint64_t count = t_step_points(map_it, join_now, NULL, 5000, points, (uint64_t)t_loops(POINTS));
    for (uint64_t i = 0; i < count; i++) {
        t_lane_restore(&m.lane, saved);
        m.w = writer;
        m.n = points[i].n;
        struct t_step step = t_step_begin(map_it, join_now, NULL);
        bool more = t_step_to(&step, &points[i]);
        send_batches(meanwhile);
        if (more) t_step_finish(&step);
        t_step_end(&step);
        if (m.told->rc || m.told->number % BATCH || m.told->pos > m.w.tx.pos)
            fail_msg("after %" PRIu64 " instructions: %s, begins at message %" PRIu64 " of a batch", m.n,
                     lw_errname(m.told->rc), m.told->number % BATCH);
    }
    free(saved);
    end();
}

/* The joiner looks for the end and finds more than half a ring that was not there when it began; or it is overtaken. */
static void who_joins_now_begins_with_a_whole_batch(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t batch = BATCH * 16;
    meet_batches(0, (unsigned)(RING * 3 / 4 / batch));
    meet_batches(1, (unsigned)(RING * 5 / 8 / batch));
    meet_batches(40, (unsigned)(RING / 4 / batch));
}

static struct {
    struct t_lane lane;
    bool stop;
} race;

static void *write_batches_without_end(void *arg) {
    struct lw__writer w;
    uint64_t len[BATCH];
    (void)arg;
    t_write_as(&w, &race.lane.lane, FIRST);
    for (unsigned i = 0; i < BATCH; i++) len[i] = 8 * (i % 5);
    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) t_send_batch(&w, len, BATCH);
    lw__writer_leave(&w);
    return NULL;
}

static void the_same_at_full_speed(void **state) {
    (void)state;
    pthread_t thread;
    race.lane = t_lane_make(RING, 3, 0);
    race.stop = false;
    struct lw__lane mine = t_lane_map(&race.lane, LW__READ);
    assert_int_equal(pthread_create(&thread, NULL, write_batches_without_end, NULL), 0);
    const char *trouble = NULL;
    for (int64_t i = t_loops(20000); i > 0 && !trouble; i--) {
        struct lw__reader r;
        enum lw_from from = i % 2 ? LW_FROM_NOW : LW_FROM_OLDEST;
        int rc = lw__reader_take(&r, &mine, t_owner(SECOND, LW__SLOT_RELIABLE), &t_owners);
        if (!rc) rc = lw__reader_join(&r, from, 0);
        if (rc) trouble = t_words("joining: %s", lw_errname(rc));
        if (!rc && r.rx.number % BATCH)
            trouble = t_words("begins at message %" PRIu64 " of a batch", r.rx.number % BATCH);
        lw__reader_leave(&r);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    T_SOUND(trouble);
    lw__lane_unmap(&mine);
    t_lane_end(&race.lane);
}

/* ---- marks of another past --------------------------------------------------------------------------------------- */

/* After a power cut pages are of any age. A reader that began at such a mark would wait for a place that never comes. */
static void a_mark_beyond_the_end_is_no_place_to_begin(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__place oldest;
    struct lw__reader r;
    const uint64_t segment = RING / LW__MARKS;
    for (unsigned i = 0; i < LW__MARKS; i++) t.lane.ctl->marks[i].pos = 4; /* nonsense */
    for (unsigned i = LW__MARKS - 1; i > 0; i--) {
        t.lane.ctl->marks[i] = (struct lw__mark){.pos = i * segment, .number = 9};
        assert_int_equal(lw__lane_oldest(&t.lane, &oldest), LW_ECORRUPT);
        assert_int_equal(lw__reader_take(&r, &t.lane, t_owner(SECOND, LW__SLOT_RELIABLE), &t_owners), 0);
        assert_int_equal(lw__reader_join(&r, LW_FROM_OLDEST, 0), LW_ECORRUPT);
        lw__reader_leave(&r);
    }
    t_lane_end(&t);
}

/* ---- seeking with all slots taken -------------------------------------------------------------------------------- */

static void going_ahead_needs_no_slot(void **state) {
    (void)state;
    for (uint32_t slots = 1; slots <= 3; slots++) {
        struct t_lane t = t_lane_make(RING, slots, 0);
        struct lw__writer w;
        struct lw__reader r[3];
        t_write_as(&w, &t.lane, FIRST);
        for (uint32_t i = 0; i < slots; i++) t_read_as(&r[i], &t.lane, SECOND + i, LW_FROM_NOW, 0);
        for (uint64_t lap = 0; lap < 5; lap++) { /* each lap frees its room by seeking alone */
            uint64_t middle = 0, number = 0;
            for (int i = 0; i < 100; i++) {
                if (i == 50) middle = w.tx.pos, number = w.tx.number;
                assert_ok(t_send(&w, 24));
            }
            for (uint32_t i = 0; i < slots; i++) {
                assert_int_equal(lw__reader_seek(&r[i], LW_FROM_POSITION, middle, &t_owners), 0);
                assert_int_equal(r[i].rx.number, number);
                assert_int_equal(lw__reader_seek(&r[i], LW_FROM_POSITION, middle, &t_owners), 0); /* stays */
                assert_int_equal(lw__reader_seek(&r[i], LW_FROM_POSITION, middle + 8, &t_owners), LW_EPOSITION);
                assert_int_equal(lw__reader_seek(&r[i], LW_FROM_OLDEST, 0, &t_owners), LW_ENOSLOT);
                assert_int_equal(lw__reader_seek(&r[i], LW_FROM_NOW, 0, &t_owners), 0);
                assert_true(r[i].rx.number == w.tx.number && r[i].rx.pos == w.tx.pos);
            }
            T_SOUND(t_at_rest(&t.lane, NULL));
        }
        t_lane_end(&t);
    }
}

/* ---- who is taken for dead and is not (a node file that was removed by hand) -------------------------------------- */

static void a_writer_whose_place_was_taken_is_told(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer old, heir;
    t_write_as(&old, &t.lane, FIRST);
    assert_ok(t_send(&old, 24));
    t_owner_set(FIRST, false);
    t_write_as(&heir, &t.lane, SECOND);
    t_owner_set(FIRST, true);
    int64_t rc = 0;
    for (int i = 0; i < 2 * RING / 32 && rc >= 0; i++) rc = t_send(&old, 24);
    assert_int_equal(rc, LW_ECLOSED); /* before it goes round */
    for (int i = 0; i < 3; i++) assert_int_equal(t_send(&old, 24), LW_ECLOSED);
    lw__writer_leave(&old);
    assert_int_equal(t.lane.ctl->lock, t_owner(SECOND, 0)); /* it is not its to give back */
    lw__writer_leave(&heir);
    assert_int_equal(t.lane.ctl->lock, 0);
    t_lane_end(&t);
}

static void a_reader_gives_back_its_own_slot_only(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 1, 0);
    struct lw__writer w;
    struct lw__reader old, heir;
    t_write_as(&w, &t.lane, FIRST);
    t_read_as(&old, &t.lane, SECOND, LW_FROM_NOW, 0);
    t_owner_set(SECOND, false);
    t_read_as(&heir, &t.lane, THIRD, LW_FROM_NOW, 0); /* a sweep on the way */
    t_owner_set(SECOND, true);
    char *before = t_lane_save(&t);
    lw__reader_leave(&old);
    assert_int_equal(t_lane_differs(&t, before), -1);
    assert_ok(t_send(&w, 24));
    T_SOUND(t_drain(&heir, NULL));
    assert_int_equal(heir.rx.number, 1);
    lw__reader_leave(&heir);
    assert_int_equal(t.lane.slots[0].owner, 0);
    free(before);
    t_lane_end(&t);
}

static void a_reader_gives_back_its_own_name_only(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 1, 0);
    struct lw__reader old, heir;
    uint64_t holder;
    t_durable_as(&old, &t.lane, SECOND, "name", LW_FROM_NOW);
    t_owner_set(SECOND, false);
    assert_int_equal(lw__slot_inherit(&heir, &t.lane, old.slot, t_owner(THIRD, LW__SLOT_DURABLE), &t_owners, &holder),
                     0);
    t_owner_set(SECOND, true);
    char *before = t_lane_save(&t);
    lw__reader_leave(&old);
    assert_int_equal(t_lane_differs(&t, before), -1);
    lw__reader_leave(&heir);
    assert_int_equal(t.lane.slots[0].owner, LW__SLOT_DURABLE);
    free(before);
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(nothing_is_overwritten_where_a_reader_seeks_to),
        t_test(who_joins_now_begins_with_a_whole_batch),
        t_test(the_same_at_full_speed),
        t_test(a_mark_beyond_the_end_is_no_place_to_begin),
        t_test(going_ahead_needs_no_slot),
        t_test(a_writer_whose_place_was_taken_is_told),
        t_test(a_reader_gives_back_its_own_slot_only),
        t_test(a_reader_gives_back_its_own_name_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

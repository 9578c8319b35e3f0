/* SPDX-License-Identifier: MIT */
/*
 * lane/evict_test.c - taking from a reader the right to hold writers back, and how it comes back: who may be evicted and
 * when, what it is told, and what its heirs are. Deaths and meetings at every instruction are in evict_step_test.c.
 */
#include "util/reader_util.h"

enum { RING = 65536, SEGMENT = RING / 64, WRITER = 1, READER = 2, OTHER = 3, HEIR = 4 };

static uint64_t word_of(const struct lw__reader *r) {
    return lw__load(&r->slot->owner);
}

static bool is_evicted(const struct lw__reader *r) {
    return word_of(r) & LW__SLOT_EVICTED;
}

static void write_up_to(struct lw__writer *w, uint64_t pos) {
    while (w->tx.pos < pos) assert_ok(t_send(w, 56));
}

/* Exclusive or shared: they evict alike. */
static void begin_writer(struct lw__writer *w, struct lw__lane *lane, bool shared) {
    if (shared)
        assert_int_equal(lw__writer_join(w, lane, t_owner(WRITER, 0), &t_owners), 0);
    else
        t_write_as(w, lane, WRITER);
}

/* By the shared one too, which has no inline path before it is biased. */
static int64_t send(struct lw__writer *w, uint64_t len) {
    char data[512];
    uint64_t number;
    if (!w->slot) return t_send(w, len);
    struct lw__place tail;
    T_NEED(!lw__lane_tail(w->lane, &tail));
    number = tail.number;
    t_fill(data, len, number);
    return lw__writer_send(w, t_type(number, len), data, len);
}

/* Until a reader holds it back: within the ring. */
static void fill(struct lw__writer *w) {
    int64_t rc = 0;
    for (unsigned n = 0; n <= RING / 64 && rc >= 0; n++) rc = send(w, 56);
    assert_int_equal(rc, LW_EFULL);
}

/* ---- who is evicted ---------------------------------------------------------------------------------------------- */

/* Whoever is less behind than it may be stays; whoever is more behind goes as soon as room is looked for, which is once
 * in a segment at least. For random sizes, lags and reads. */
static void exactly_those_beyond_their_lag(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        enum { READERS = 5 };
        struct t_lane t = t_lane_make(RING, 16, kind ? UINT64_C(1) << 61 : 0);
        struct lw__writer w;
        struct lw__reader r[READERS];
        struct t_seen seen[READERS] = {{0}};
        uint64_t cap[READERS] = {8, 1000, 3 * SEGMENT + 8, RING / 2, RING - 8}, evictions = 0, first[READERS];
        begin_writer(&w, &t.lane, kind);
        for (int i = 0; i < RING / 64; i++) assert_ok(send(&w, 56)); /* from now on each segment needs room */
        for (unsigned i = 0; i < READERS; i++) {
            t_lagging_as(&r[i], &t.lane, READER + i, cap[i]);
            first[i] = r[i].rx.number;
        }
        struct lw__place tail;
        for (int64_t turn = 0; turn < t_loops(60000); turn++) {
            bool was[READERS];
            for (unsigned i = 0; i < READERS; i++) was[i] = is_evicted(&r[i]);
            assert_int_equal(lw__lane_tail(&t.lane, &tail), 0);
            int64_t pos = assert_ok(send(&w, t_random() % 400));
            for (unsigned i = 0; i < READERS; i++) {
                uint64_t most = r[i].rx.head + cap[i];
                bool fits = lw__load(&t.lane.ctl->tail.pos) / 8 * 8 + 8 <= r[i].rx.head + RING;
                if ((uint64_t)pos <= most && fits) assert_int_equal(is_evicted(&r[i]), was[i]);
                if ((uint64_t)pos > most + 2 * SEGMENT) assert_true(is_evicted(&r[i]));
                evictions += is_evicted(&r[i]) && !was[i];
            }
            unsigned who = (unsigned)(t_random() % READERS);
            if (t_random() % (1 + cap[who] / 200) == 0) T_SOUND(t_copy_drain(&r[who], &seen[who]));
        }
        assert_int_equal(w.evicted, evictions);
        assert_true(evictions > (uint64_t)t_loops(1000));
        for (unsigned i = 0; i < READERS; i++) {
            T_SOUND(t_copy_drain(&r[i], &seen[i]));
            assert_int_equal(lw__lane_tail(&t.lane, &tail), 0);
            assert_int_equal(seen[i].messages + seen[i].lost, tail.number - first[i]);
            t_copy_leave(&r[i]);
        }
        T_SOUND(t_at_rest(&t.lane, NULL));
        lw__writer_leave(&w);
        t_lane_end(&t);
    }
}

/* The slowest one is in nobody's way; the one too far behind is not the slowest. Whichever slot they have. */
static void a_slower_one_without_a_lag_does_not_hide_who_is_to_be_evicted(void **state) {
    (void)state;
    for (int lagging_first = 0; lagging_first < 2; lagging_first++) {
        struct t_lane t = t_lane_make(RING, 4, 0);
        struct lw__writer w;
        struct lw__reader slow, lagging;
        t_write_as(&w, &t.lane, WRITER);
        if (lagging_first) t_lagging_as(&lagging, &t.lane, READER, 1024);
        t_read_as(&slow, &t.lane, OTHER, LW_FROM_NOW, 0);
        if (!lagging_first) t_lagging_as(&lagging, &t.lane, READER, 1024);
        struct t_seen seen = {0};
        write_up_to(&w, 512);
        T_SOUND(t_copy_drain(&lagging, &seen));
        write_up_to(&w, RING / 2);
        assert_true(is_evicted(&lagging));
        assert_int_equal(w.evicted, 1);
        fill(&w);
        assert_int_equal(w.slowest, slow.index);
        assert_true(w.tx.pos > RING - 100); /* the other one is not evicted, and all of its ring is used */
        T_SOUND(t_copy_drain(&lagging, &seen));
        assert_int_equal(seen.lost, 0);
        T_SOUND(t_drain(&slow, NULL));
        assert_int_equal(slow.rx.number, w.tx.number);
        t_copy_leave(&lagging);
        t_lane_end(&t);
    }
}

static void one_that_reads_in_place_is_never_evicted(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct lw__lane_shape shape = {.ring = RING, .slots = 8, .evict_lag = 2048, .evict_age = 1};
        struct t_lane t = t_lane_make_shaped(&shape);
        struct lw__writer w;
        struct lw__reader r, d;
        begin_writer(&w, &t.lane, shared);
        t_read_as(&r, &t.lane, READER, LW_FROM_NOW, 0);
        t_durable_as(&d, &t.lane, OTHER, "d", LW_FROM_NOW);
        r.slot->cap = d.slot->cap = 1024; /* without LAG it means nothing */
        fill(&w);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(send(&w, 56), LW_EFULL);
            lw__lane_sweep(&t.lane, t_owner(WRITER, 0), &t_aging_owners);
        }
        assert_false(is_evicted(&r) || is_evicted(&d));
        assert_int_equal(w.evicted, 0);
        T_SOUND(t_drain(&r, NULL));
        T_SOUND(t_drain(&d, NULL));
        assert_int_equal(r.rx.number, d.rx.number);
        assert_ok(send(&w, 56));
        lw__writer_leave(&w);
        t_lane_end(&t);
    }
}

/* A record that is larger than the lag: from a reader that has all before it nothing is taken. */
static void a_record_larger_than_the_lag(void **state) {
    (void)state;
    static char large[RING / 2];
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, WRITER);
    t_lagging_as(&r, &t.lane, READER, 64);
    for (int i = 0; i < 200; i++) {
        uint64_t number = w.tx.number, len = t.lane.record_max - (uint64_t)i % 9;
        t_fill(large, len, number);
        assert_ok(lw__writer_send(&w, t_type(number, len), large, len));
        assert_false(is_evicted(&r));
        assert_int_equal(t_copy_next(&r, &m), 1);
        assert_true(m.number == number && m.len == len && t_fits(&m));
        if (i % 2) {
            assert_int_equal(t_copy_release(&r, &m), 0);
            continue;
        }
        assert_ok(t_send(&w, 0)); /* handed out is not released: 64 bytes behind, and more */
        assert_true(is_evicted(&r));
        assert_int_equal(t_copy_release(&r, &m), 0);
        assert_int_equal(t_copy_next(&r, &m), 1); /* and nothing was lost */
        assert_int_equal(m.number, number + 1);
        assert_int_equal(t_copy_release(&r, &m), 0);
        assert_false(is_evicted(&r));
    }
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* 0 and whatever is beyond the ring: the ring is the limit. */
static void the_ring_is_the_largest_lag(void **state) {
    (void)state;
    const uint64_t caps[] = {0, RING, RING + 1, UINT64_MAX};
    for (int i = 0; i < 4; i++) {
        struct t_lane t = t_lane_make(RING, 4, UINT64_C(1) << 60);
        struct lw__writer w;
        struct lw__reader r;
        struct t_seen seen = {0};
        t_write_as(&w, &t.lane, WRITER);
        t_lagging_as(&r, &t.lane, READER, caps[i]);
        uint64_t first = r.rx.number, full = r.rx.pos + RING - 8;
        while (w.tx.pos + 64 <= full) assert_ok(t_send(&w, 56));
        while (w.tx.pos < full) assert_ok(t_send(&w, 0));
        assert_false(is_evicted(&r));
        assert_ok(t_send(&w, 0));
        assert_true(is_evicted(&r));
        T_SOUND(t_copy_drain(&r, &seen));
        assert_true(seen.told == 1 && seen.messages + seen.lost == w.tx.number - first);
        t_copy_leave(&r);
        t_lane_end(&t);
    }
}

/* ---- what it is told --------------------------------------------------------------------------------------------- */

static void one_that_lost_nothing_is_silently_back(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct t_seen seen = {0};
    t_write_as(&w, &t.lane, WRITER);
    t_lagging_as(&r, &t.lane, READER, 4096);
    for (int i = 0; i < 500; i++) {
        struct lw__place before, after;
        assert_true(lw__cursor_load(&r.slot->cursor, &before));
        write_up_to(&w, w.tx.pos + RING / 2);
        assert_true(is_evicted(&r));
        struct lw_msg m;
        assert_int_equal(t_copy_next(&r, &m), 1);
        assert_int_equal(word_of(&r), r.owner);
        assert_true(lw__cursor_load(&r.slot->cursor, &after));
        assert_true(after.pos == before.pos && after.number == before.number && m.number == before.number);
        assert_int_equal(lw__slot_missed(r.slot), 0);
        assert_int_equal(t_copy_release(&r, &m), 0);
        T_SOUND(t_copy_drain(&r, &seen));
    }
    assert_true(seen.told == 0 && r.rx.number == w.tx.number);
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* Told once, with the count, and then it holds its place again: the next few segments do not evict it. */
static void one_that_lost_something_is_told_once_and_goes_on_with_room(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct t_lane t = t_lane_make(RING, 8, 0);
        struct lw__writer w;
        struct lw__reader r;
        struct t_seen seen = {0};
        begin_writer(&w, &t.lane, shared);
        t_lagging_as(&r, &t.lane, READER, 16384);
        for (int i = 0; i < 300; i++) {
            struct lw__place tail;
            struct lw_msg m;
            uint64_t number = r.rx.number, end = r.rx.pos + RING + (uint64_t)i * 200;
            while (!lw__lane_tail(&t.lane, &tail) && tail.pos < end) assert_ok(send(&w, (uint64_t)i % 300));
            assert_true(is_evicted(&r));
            assert_int_equal(t_copy_next(&r, &m), LW_EEVICTED);
            assert_true(r.passed && r.rx.number == number + r.passed && r.rx.pos == r.rx.head);
            assert_true(tail.pos - r.rx.pos <= 16384 - 16384 / 8 && !is_evicted(&r));
            for (int k = 0; k < 2; k++) assert_ok(send(&w, 300)); /* not at once too far again */
            assert_false(is_evicted(&r));
            assert_true(lw__load(&t.lane.ctl->horizon) <= r.rx.pos);
            T_SOUND(t_copy_drain(&r, &seen));
            assert_int_equal(seen.told, 0);
        }
        T_SOUND(t_at_rest(&t.lane, NULL));
        t_copy_leave(&r);
        lw__writer_leave(&w);
        t_lane_end(&t);
    }
}

/* What it still has in its hands when it comes back may be released as if nothing had been. */
static void messages_held_while_it_was_evicted_can_be_released(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg held[4], m;
    t_write_as(&w, &t.lane, WRITER);
    t_lagging_as(&r, &t.lane, READER, 8192);
    for (int i = 0; i < 200; i++) {
        struct t_seen seen = {0};
        for (int k = 0; k < 4; k++) assert_ok(t_send(&w, 40));
        for (int k = 0; k < 4; k++) assert_int_equal(t_copy_next(&r, &held[k]), 1);
        if (i % 2) assert_int_equal(t_copy_release(&r, &held[1]), 0);
        uint64_t end = w.tx.pos + (i % 3 == 0 ? 16384 : i % 3 == 1 ? RING - 400 : 2 * RING), number = r.rx.number;
        write_up_to(&w, end);
        assert_true(is_evicted(&r));
        int rc = t_copy_next(&r, &m);
        uint64_t lost = rc == LW_EEVICTED ? r.passed : 0;
        assert_true(rc == 1 || (rc == LW_EEVICTED && lost));
        assert_int_equal(rc == 1 ? m.number : r.rx.number, number + lost);
        for (int k = 0; k < 4; k++) assert_int_equal(t_copy_release(&r, &held[k]), 0);
        assert_false(is_evicted(&r));
        if (rc == 1) assert_true(t_fits(&m) && t_copy_release(&r, &m) == 0);
        T_SOUND(t_copy_drain(&r, &seen));
        assert_true(r.rx.number == w.tx.number && seen.told == 0);
        T_SOUND(t_at_rest(&t.lane, NULL));
    }
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* ---- heirs ------------------------------------------------------------------------------------------------------- */

static void make_durable_lagging(struct lw__reader *r, struct lw__lane *lane, uint64_t cap) {
    t_lagging_as(r, lane, READER, cap);
    lw__slot_make_durable(r, "d");
}

/* Evicted while it is away: the next one of the name is told what nobody released, and so is the one after it until
 * somebody releases something. */
static void a_durable_one_is_told_by_whichever_heir_comes(void **state) {
    (void)state;
    for (int heirs = 1; heirs < 5; heirs++) {
        struct t_lane t = t_lane_make(RING, 4, 0);
        struct lw__writer w;
        struct lw__reader r;
        struct lw_msg m;
        t_write_as(&w, &t.lane, WRITER);
        make_durable_lagging(&r, &t.lane, 8192);
        for (int k = 0; k < 10; k++) assert_ok(t_send(&w, 8));
        for (int k = 0; k < 6; k++) assert_int_equal(t_copy_next(&r, &m), 1);
        m.next = m.position, m.number--; /* all but the last one */
        assert_int_equal(t_copy_release(&r, &m), 0);
        t_copy_leave(&r);
        for (int i = 0; i < heirs; i++) {
            write_up_to(&w, w.tx.pos + 2 * RING + (uint64_t)i * 1000);
            assert_true(lw__load(&t.lane.slots[0].owner) & LW__SLOT_EVICTED);
            assert_int_equal(t_copy_inherit(&r, &t.lane, "d", HEIR + (unsigned)i, LW__SLOT_LAG, 8192), 0);
            assert_false(is_evicted(&r));
            assert_int_equal(lw__slot_missed(r.slot), r.rx.number - 5); /* 0 to 4 were released */
            t_owner_set(HEIR + (unsigned)i, false);                     /* it dies: nobody was told for good */
            lw__reader_free_copies(&r);
        }
        assert_int_equal(t_copy_inherit(&r, &t.lane, "d", HEIR + 9, LW__SLOT_LAG, 8192), 0);
        assert_int_equal(lw__slot_missed(r.slot), r.rx.number - 5);
        assert_int_equal(t_copy_next(&r, &m), 1);
        assert_int_equal(t_copy_release(&r, &m), 0); /* now it is known */
        assert_int_equal(lw__slot_missed(r.slot), 0);
        t_copy_leave(&r);
        assert_int_equal(t_copy_inherit(&r, &t.lane, "d", HEIR + 9, LW__SLOT_LAG, 8192), 0);
        assert_int_equal(lw__slot_missed(r.slot), 0);
        t_copy_leave(&r);
        for (int i = 0; i < heirs; i++) t_owner_set(HEIR + (unsigned)i, true);
        t_lane_end(&t);
    }
}

/* A durable one is handed half a ring and is evicted while it holds all of it. It comes back with the next message, and releases
 * the first 400; `released` is the last of them. */
static void release_late(struct lw__writer *w, struct lw__reader *r, struct lw_msg *m, struct lw_msg *released) {
    write_up_to(w, RING / 2);
    for (int k = 0; k < 400; k++) assert_int_equal(t_copy_next(r, m), 1);
    *released = *m;
    while (t_copy_next(r, m) == 1) {
    }
    write_up_to(w, RING + RING / 8);
    assert_true(is_evicted(r));
    assert_int_equal(t_copy_next(r, m), 1); /* nothing lost: all of it was handed out */
    assert_int_equal(lw__slot_missed(r->slot), m->number);
    lw__slot_cut_missed(r->slot, released->number + 1);
    assert_int_equal(lw__slot_missed(r->slot), m->number - released->number - 1);
}

/* What it held when it was evicted it releases in part, and then it seeks back to before that: what it passes from there on
 * is missed from there on. */
static void a_durable_one_that_sought_back_misses_from_there(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m, released;
    t_write_as(&w, &t.lane, WRITER);
    make_durable_lagging(&r, &t.lane, 8192);
    release_late(&w, &r, &m, &released);
    assert_int_equal(lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners), 0);
    uint64_t back = r.rx.number;
    assert_true(back < released.number);
    assert_int_equal(lw__slot_missed(r.slot), 0); /* all of that comes again */
    lw__reader_free_copies(&r);
    t_owner_set(READER, false);
    write_up_to(&w, w.tx.pos + 2 * RING);
    assert_int_equal(t_copy_inherit(&r, &t.lane, "d", HEIR, LW__SLOT_LAG, 8192), 0);
    assert_int_equal(lw__slot_missed(r.slot), r.rx.number - back);
    t_copy_leave(&r);
    t_owner_set(READER, true);
    t_lane_end(&t);
}

/* The owner dies after it sought back, and has not said yet that nothing is missed; its heir is told of nothing, releases all
 * in turn, and goes as well. The next one has missed nothing. */
static void an_heir_that_released_everything_leaves_nothing_missed(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m, released;
    t_write_as(&w, &t.lane, WRITER);
    make_durable_lagging(&r, &t.lane, 8192);
    release_late(&w, &r, &m, &released);
    uint64_t end = m.number;
    assert_int_equal(lw__reader_seek(&r, LW_FROM_OLDEST, 0, &t_owners), 0);
    assert_true(r.rx.number < released.number);
    assert_int_equal(lw__slot_missed(r.slot), 0);
    lw__reader_free_copies(&r);
    t_owner_set(READER, false);
    assert_int_equal(t_copy_inherit(&r, &t.lane, "d", HEIR, 0, 0), 0);
    assert_int_equal(lw__slot_missed(r.slot), 0);
    while (r.rx.number < end - 10) {
        assert_int_equal(t_copy_next(&r, &m), 1);
        assert_int_equal(t_copy_release(&r, &m), 0);
    }
    assert_int_equal(lw__slot_missed(r.slot), 0); /* what the next heir would be told */
    t_copy_leave(&r);
    t_owner_set(READER, true);
    t_lane_end(&t);
}

/* From a lag to none and back between two heirs. */
static void the_next_of_a_name_may_have_another_policy(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, WRITER);
    make_durable_lagging(&r, &t.lane, 4096);
    t_copy_leave(&r);
    for (unsigned i = 0; i < 200; i++) {
        struct t_seen seen = {0};
        uint64_t number = t.lane.slots[0].cursor.number[t.lane.slots[0].cursor.pos & 1];
        while (w.tx.pos < (t.lane.slots[0].cursor.pos & ~UINT64_C(7)) + 3 * RING && t_send(&w, 56) >= 0) continue;
        bool could = i % 3 != 1; /* so it was opened last */
        assert_int_equal(t.lane.slots[0].owner & LW__SLOT_EVICTED, could ? LW__SLOT_EVICTED : 0);
        unsigned policy = i % 3 == 0 ? 0 : LW__SLOT_LAG;
        assert_int_equal(t_copy_inherit(&r, &t.lane, "d", HEIR, policy, policy ? 4096 * (1 + i % 2) : 0), 0);
        assert_int_equal(word_of(&r), r.owner);
        assert_int_equal(r.passed, r.rx.number - number);
        assert_true(could == (r.passed != 0));
        if (policy)
            T_SOUND(t_copy_drain(&r, &seen));
        else
            T_SOUND(t_drain(&r, NULL));
        assert_true(r.rx.number == w.tx.number && seen.lost == 0);
        T_SOUND(t_at_rest(&t.lane, NULL));
        t_copy_leave(&r);
    }
    t_lane_end(&t);
}

/* ---- age --------------------------------------------------------------------------------------------------------- */

static bool evict_old_now(const struct t_lane *t, struct lw__slot *slot, uint64_t ago, uint64_t *left) {
    for (;;) { /* again when the second went by */
        uint64_t now = lw__seconds(), word = (now - ago) << 32 | LW__SLOT_DURABLE;
        lw__store(&slot->owner, word);
        bool evicted = lw__slot_evict_old(&t->lane, slot, word);
        if (lw__seconds() != now) continue;
        *left = lw__load(&slot->owner);
        assert_true(*left == (evicted ? word | LW__SLOT_EVICTED : word));
        return evicted;
    }
}

/* A second that has begun has not gone by: never before its age. */
static void a_dead_one_is_never_evicted_before_its_age(void **state) {
    (void)state;
    for (uint64_t age = 1; age < 5; age++) {
        struct lw__lane_shape shape = {.ring = RING, .slots = 4, .evict_age = age};
        struct t_lane t = t_lane_make_shaped(&shape);
        struct lw__reader d;
        uint64_t left;
        t_durable_as(&d, &t.lane, READER, "d", LW_FROM_NOW);
        for (uint64_t ago = 0; ago <= age; ago++) assert_false(evict_old_now(&t, d.slot, ago, &left));
        assert_true(evict_old_now(&t, d.slot, age + 1, &left));
        assert_false(lw__slot_evict_old(&t.lane, d.slot, left)); /* once */
        assert_true(evict_old_now(&t, d.slot, age + 1000, &left));
        t_lane_end(&t);
    }
}

static void the_age_of_a_dead_one_counts_from_when_somebody_sees_it(void **state) {
    (void)state;
    struct lw__lane_shape shape = {.ring = RING, .slots = 4, .evict_age = 1000};
    struct t_lane t = t_lane_make_shaped(&shape);
    struct lw__reader d, back;
    t_durable_as(&d, &t.lane, READER, "d", LW_FROM_NOW);
    uint64_t alive = word_of(&d);
    lw__lane_sweep(&t.lane, t_owner(WRITER, 0), &t_aging_owners);
    assert_int_equal(word_of(&d), alive);
    t_owner_set(READER, false);
    uint64_t before = lw__seconds();
    lw__lane_sweep(&t.lane, t_owner(WRITER, 0), &t_aging_owners);
    uint64_t since = word_of(&d) >> 32;
    assert_true(since >= before && since <= lw__seconds());
    assert_int_equal(word_of(&d) & UINT32_MAX, LW__SLOT_DURABLE);
    lw__store(&d.slot->owner, (lw__seconds() + 500) << 32 | LW__SLOT_DURABLE); /* of another boot: begins anew */
    lw__lane_sweep(&t.lane, t_owner(WRITER, 0), &t_aging_owners);
    assert_true(word_of(&d) >> 32 <= lw__seconds());
    assert_int_equal(t_copy_inherit(&back, &t.lane, "d", HEIR, 0, 0), 0);
    assert_int_equal(word_of(&back), t_owner(HEIR, LW__SLOT_DURABLE));
    lw__reader_free_copies(&back);
    t_owner_set(READER, true);
    t_lane_end(&t);
}

/* Evicted by age, it reads in place when it is back, and what it lost is counted. */
static void one_evicted_by_age_comes_back_in_place(void **state) {
    (void)state;
    struct lw__lane_shape shape = {.ring = RING, .slots = 4, .evict_age = 1};
    struct t_lane t = t_lane_make_shaped(&shape);
    struct lw__writer w;
    struct lw__reader d, back;
    t_write_as(&w, &t.lane, WRITER);
    t_durable_as(&d, &t.lane, READER, "d", LW_FROM_NOW);
    lw__reader_leave(&d);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t number = d.slot->cursor.number[d.slot->cursor.pos & 1], left;
        fill(&w);
        bool passed = lw__load(&t.lane.ctl->horizon) > d.slot->cursor.pos; /* less than a segment */
        assert_int_equal(w.slowest, 0);
        assert_false(evict_old_now(&t, d.slot, 1, &left));
        assert_int_equal(t_send(&w, 56), LW_EFULL);
        assert_true(evict_old_now(&t, d.slot, 2, &left));
        write_up_to(&w, w.tx.pos + i % 3 * RING);
        assert_int_equal(t_copy_inherit(&back, &t.lane, "d", HEIR, 0, 0), 0);
        assert_int_equal(lw__slot_missed(back.slot), back.rx.number - number);
        assert_int_equal(back.passed, back.rx.number - number);
        if (i % 3 == 0 && !passed) assert_int_equal(back.passed, 0); /* in time: all is there */
        T_SOUND(t_drain(&back, NULL));
        assert_int_equal(back.rx.number, w.tx.number);
        assert_ok(t_send(&w, 8));
        T_SOUND(t_drain(&back, NULL));
        lw__reader_leave(&back);
        lw__reader_free_copies(&back);
        T_SOUND(t_at_rest(&t.lane, NULL));
    }
    t_lane_end(&t);
}

/* ---- the slot's next owner --------------------------------------------------------------------------------------- */

/* Who decided to evict, and comes too late. */
static void a_late_evictor_does_not_hit_the_next_owner(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    const unsigned next[] = {LW__SLOT_RELIABLE, LW__SLOT_RELIABLE | LW__SLOT_LAG, LW__SLOT_LOSSY, LW__SLOT_DURABLE};
    t_write_as(&w, &t.lane, WRITER);
    for (int i = 0; i < 4; i++) {
        t_lagging_as(&r, &t.lane, READER, 1024);
        uint64_t seen = word_of(&r);
        t_copy_leave(&r);
        assert_false(lw__slot_evict(r.slot, seen));
        assert_int_equal(word_of(&r), 0);
        assert_int_equal(t_copy_join(&r, &t.lane, t_owner(OTHER, next[i]), 0, LW_FROM_NOW, 0), 0);
        assert_int_equal(r.index, 0);
        assert_false(lw__slot_evict(r.slot, seen));
        assert_int_equal(word_of(&r), t_owner(OTHER, next[i]));
        lw__store(&r.slot->owner, t_owner(OTHER, LW__SLOT_RELIABLE));
        r.owner = t_owner(OTHER, LW__SLOT_RELIABLE);
        t_copy_leave(&r);
    }
    t_lane_end(&t);
}

/* Leaving, also for good, takes an evicted reader's slot back; and what is given up is not evicted any more. */
static void an_evicted_one_can_leave(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, WRITER);
    write_up_to(&w, RING); /* from now on each segment needs room */
    for (int durable = 0; durable < 2; durable++) {
        if (durable)
            make_durable_lagging(&r, &t.lane, 1024);
        else
            t_lagging_as(&r, &t.lane, READER, 1024);
        write_up_to(&w, w.tx.pos + 8192);
        assert_true(is_evicted(&r));
        t_copy_leave(&r);
        assert_int_equal(word_of(&r), durable ? LW__SLOT_DURABLE | LW__SLOT_LAG | LW__SLOT_EVICTED : 0);
        if (durable) assert_true(lw__slot_free(r.slot, word_of(&r), t_owner(OTHER, 0)));
        T_SOUND(t_at_rest(&t.lane, NULL));
    }
    t_read_as(&r, &t.lane, OTHER, LW_FROM_NOW, 0);
    assert_int_equal(r.index, 0);
    fill(&w);
    assert_int_equal(word_of(&r), t_owner(OTHER, LW__SLOT_RELIABLE));
    t_lane_end(&t);
}

/* A seek that fails while a writer evicts it: where it is then, and what it lost, add up. */
static void a_seek_that_fails_does_not_hide_what_was_lost(void **state) {
    (void)state;
    for (uint64_t ahead = 0; ahead < 70; ahead += 3) {
        struct t_lane t = t_lane_make(RING, 4, 0);
        struct lw__writer w;
        struct lw__reader r;
        struct t_seen seen = {0};
        t_write_as(&w, &t.lane, WRITER);
        t_lagging_as(&r, &t.lane, READER, 4096);
        write_up_to(&w, RING + ahead * 512);
        uint64_t number = r.rx.number, horizon = lw__load(&t.lane.ctl->horizon);
        assert_true(is_evicted(&r));
        r.passed = 0;
        assert_int_equal(lw__reader_seek(&r, LW_FROM_POSITION, horizon + 5 * SEGMENT + 8, &t_owners), LW_EPOSITION);
        assert_int_equal(r.rx.number, number + r.passed);
        number = r.rx.number;
        T_SOUND(t_copy_drain(&r, &seen));
        assert_int_equal(seen.messages + seen.lost, w.tx.number - number);
        t_copy_leave(&r);
        t_lane_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(exactly_those_beyond_their_lag),
        t_test(a_slower_one_without_a_lag_does_not_hide_who_is_to_be_evicted),
        t_test(one_that_reads_in_place_is_never_evicted),
        t_test(a_record_larger_than_the_lag),
        t_test(the_ring_is_the_largest_lag),
        t_test(one_that_lost_nothing_is_silently_back),
        t_test(one_that_lost_something_is_told_once_and_goes_on_with_room),
        t_test(messages_held_while_it_was_evicted_can_be_released),
        t_test(a_durable_one_is_told_by_whichever_heir_comes),
        t_test(a_durable_one_that_sought_back_misses_from_there),
        t_test(an_heir_that_released_everything_leaves_nothing_missed),
        t_test(the_next_of_a_name_may_have_another_policy),
        t_test(a_dead_one_is_never_evicted_before_its_age),
        t_test(the_age_of_a_dead_one_counts_from_when_somebody_sees_it),
        t_test(one_evicted_by_age_comes_back_in_place),
        t_test(a_late_evictor_does_not_hit_the_next_owner),
        t_test(an_evicted_one_can_leave),
        t_test(a_seek_that_fails_does_not_hide_what_was_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * lane/write_test.c - publishing: every length at every place, what is refused and leaves no trace, batches, misuse,
 * and going on after a death at each store of a publish. Positions begin at 0 and near 2^62. Everything mixed at random
 * is in model_test.c.
 */
#include <string.h>

#include "util/lane_util.h"

#define FAR ((UINT64_C(1) << 62) - 8192) /* positions cross 2^62 soon */

static uint64_t header_at(const struct lw__lane *lane, uint64_t pos) {
    return *(const uint64_t *)(const void *)(lane->data + (pos & lane->mask));
}

/* Sends until the tail is at `pos`, exactly. */
static void send_up_to(struct lw__writer *w, struct lw__reader *r, uint64_t pos) {
    while (w->tx.pos < pos) {
        uint64_t left = pos - w->tx.pos, size = left < 1024 ? left : 512;
        assert_ok(t_send(w, size - 8));
        T_SOUND(t_drain(r, NULL));
    }
    assert_int_equal(w->tx.pos, pos);
}

/* ---- lengths and places ------------------------------------------------------------------------------------------ */

static void lengths_around_the_ring_end_from(uint64_t start) {
    struct t_lane t = t_lane_make(4096, 2, start);
    uint64_t max = t.lane.record_max, lap = start;
    const uint64_t lens[] = {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200, 511, 1000, max - 8, max - 1, max};
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (uint64_t before = 8; before <= 520; before += 8)
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            lap += 4096;
            send_up_to(&w, &r, lap - before);
            assert_int_equal(t_send(&w, lens[i]), lap - before);
            T_SOUND(t_drain(&r, NULL));
            T_SOUND(t_at_rest(&t.lane, NULL));
            if (w.tx.pos >= lap + 4096 - 520) lap += 4096;
        }
    assert_int_equal(r.rx.number, w.tx.number);
    t_lane_end(&t);
}

static void every_length_around_the_end_of_the_ring(void **state) {
    (void)state;
    lengths_around_the_ring_end_from(0);
    lengths_around_the_ring_end_from(FAR);
}

static void every_length_from_0_to_the_largest_for_many_laps(void **state) {
    (void)state;
    const uint64_t rings[] = {4096, 65536};
    for (int i = 0; i < 2; i++) {
        struct t_lane t = t_lane_make(rings[i], 64, 0);
        struct lw__writer w;
        struct lw__reader r;
        t_write_as(&w, &t.lane, 1);
        t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
        for (uint64_t len = 0; len <= t.lane.record_max; len += i ? 13 : 1) {
            uint64_t pos = w.tx.pos, number = w.tx.number;
            assert_int_equal(t_send(&w, len), pos);
            assert_int_equal(w.tx.pos, pos + lw__record_size(len));
            assert_int_equal(w.tx.number, number + 1);
            T_SOUND(t_drain(&r, NULL));
        }
        T_SOUND(t_at_rest(&t.lane, NULL));
        t_lane_end(&t);
    }
}

static void every_type_arrives(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        assert_ok(lw__writer_send(&w, (uint16_t)type, &type, sizeof type));
        assert_int_equal(t_next(&r, &m), 1);
        assert_int_equal(m.type, type);
        assert_memory_equal(m.data, &type, sizeof type);
        assert_int_equal(m.flags & LW_MSG_MORE, 0);
        t_release(&r, &m);
    }
    t_lane_end(&t);
}

/* ---- refused ----------------------------------------------------------------------------------------------------- */

static void too_big_in_every_way(struct t_lane *t, struct lw__writer *w) {
    uint64_t max = t->lane.record_max;
    const uint64_t big[] = {max + 1,
                            max + 8,
                            t->lane.ring,
                            65528,
                            65530,
                            65535,
                            65536,
                            (UINT64_C(1) << 31) - 8,
                            UINT64_C(1) << 31,
                            (UINT64_C(1) << 32) - 16,
                            (UINT64_C(1) << 32) - 8,
                            UINT32_MAX,
                            UINT64_C(1) << 32,
                            (UINT64_C(1) << 32) + 8,
                            UINT64_C(1) << 63,
                            SIZE_MAX - 16,
                            SIZE_MAX - 8,
                            SIZE_MAX - 7,
                            SIZE_MAX};
    char *before = t_lane_save(t);
    for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
        const struct lw_item items[] = {{"a", 1, 0}, {NULL, big[i], 0}};
        void *data;
        assert_int_equal(lw__writer_send(w, 1, NULL, big[i]), LW_ETOOBIG);
        assert_int_equal(lw__writer_reserve(w, &data, big[i]), LW_ETOOBIG);
        assert_int_equal(lw__writer_send_batch(w, items, 2), LW_ETOOBIG);
        assert_int_equal(lw__writer_send_batch(w, items + 1, 1), LW_ETOOBIG);
        assert_int_equal(t_lane_differs(t, before), -1);
    }
    free(before);
}

/* With an empty ring and with a full one. */
static void pitfalls_2_and_3_too_big_is_never_called_full(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    assert_ok(t_send(&w, 77));
    T_SOUND(t_drain(&r, NULL));
    too_big_in_every_way(&t, &w);
    while (t_send(&w, 77) >= 0) continue;
    too_big_in_every_way(&t, &w);
    T_SOUND(t_drain(&r, NULL));
    for (uint64_t at = 0; at < 4096; at += 8) { /* and the largest fits at every place */
        assert_ok(t_send(&w, t.lane.record_max));
        T_SOUND(t_drain(&r, NULL));
        assert_ok(t_send(&w, 0));
        T_SOUND(t_drain(&r, NULL));
    }
    t_lane_end(&t);
}

static void full_is_told_and_leaves_no_trace_from(uint64_t start) {
    struct t_lane t = t_lane_make(4096, 3, start);
    struct lw__writer w;
    struct lw__reader other, r;
    uint64_t lens[] = {1000, 500}, count = 0;
    void *data;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&other, &t.lane, 2, LW_FROM_NOW, 0);
    t_read_as(&r, &t.lane, 3, LW_FROM_NOW, 0);
    for (int round = 0; round < 50; round++) {
        while (t_send(&w, 200) >= 0) count++;
        T_SOUND(t_drain(&other, NULL));
        char *before = t_lane_save(&t);
        assert_int_equal(t_send(&w, 200), LW_EFULL);
        assert_int_equal(w.slowest, 1);
        assert_int_equal(lw__writer_reserve(&w, &data, 700), LW_EFULL);
        assert_int_equal(t_send_batch(&w, lens, 2), LW_EFULL);
        assert_int_equal(t_stage_batch(&w, lens, 2), LW_EFULL);
        assert_int_equal(lw__writer_commit(&w, 0, 0), LW_ESTATE);
        assert_int_equal(t_lane_differs(&t, before), -1);
        free(before);
        T_SOUND(t_drain(&r, NULL));
    }
    T_SOUND(t_drain(&r, NULL));
    T_SOUND(t_drain(&other, NULL));
    assert_int_equal(r.rx.number, w.tx.number); /* each was taken and came, or was refused: pitfall 21 */
    assert_true(other.rx.number == w.tx.number && count == w.tx.number - (start ? T_NUMBER : 0));
    t_lane_end(&t);
}

static void pitfall_21_full_is_told_and_leaves_no_trace(void **state) {
    (void)state;
    full_is_told_and_leaves_no_trace_from(0);
    full_is_told_and_leaves_no_trace_from(FAR);
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

static void a_commit_may_be_shorter_to_nothing(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (uint64_t len = 0; len <= t.lane.record_max; len++) {
        uint64_t pos = w.tx.pos, part = len * (len % 5) / 4;
        if (part > len) part = 0;
        assert_int_equal(t_send_in_place(&w, len, part), pos);
        assert_int_equal(w.tx.pos, pos + lw__record_size(part));
        if (len % 16 == 0) T_SOUND(t_at_rest(&t.lane, NULL));
        T_SOUND(t_drain(&r, NULL));
    }
    t_lane_end(&t);
}

static void an_abort_leaves_nothing_and_the_next_is_whole(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    void *data;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (int i = 0; i < 500; i++) {
        uint64_t number = w.tx.number;
        lw__writer_abort(&w); /* nothing to drop: harmless */
        assert_int_equal(lw__writer_reserve(&w, &data, 300), 0);
        memset(data, 0xff, 300);
        if (i % 2) {
            assert_int_equal(lw__writer_stage(&w, 1, 300), 0);
            assert_int_equal(lw__writer_reserve(&w, &data, 300), 0);
            memset(data, 0xff, 300);
            if (i % 4 == 1) assert_int_equal(lw__writer_stage(&w, 1, 290), 0);
        }
        assert_int_equal(header_at(&t.lane, w.tx.pos), 0);
        lw__writer_abort(&w);
        assert_int_equal(w.tx.number, number);
        T_SOUND(t_at_rest(&t.lane, NULL));
        assert_ok(t_send(&w, (uint64_t)i % 100));
        T_SOUND(t_drain(&r, NULL));
        assert_int_equal(r.rx.number, number + 1);
    }
    t_lane_end(&t);
}

static void calls_out_of_order_are_refused_and_break_nothing(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    const struct lw_item item = {"x", 1, 0};
    struct lw__writer w;
    struct lw__reader r;
    void *data, *more;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(lw__writer_commit(&w, 1, 0), LW_ESTATE);
        assert_int_equal(lw__writer_stage(&w, 1, 0), LW_ESTATE);
        assert_int_equal(lw__writer_flush(&w), LW_ESTATE);
        assert_int_equal(lw__writer_send_batch(&w, &item, 0), LW_ESTATE);
        assert_int_equal(lw__writer_reserve(&w, &data, 50), 0);
        t_fill(data, 50, w.tx.number);
        assert_int_equal(lw__writer_reserve(&w, &more, 8), LW_ESTATE);
        assert_int_equal(lw__writer_send(&w, 1, "x", 1), LW_ESTATE);
        assert_int_equal(lw__writer_send_batch(&w, &item, 1), LW_ESTATE);
        assert_int_equal(lw__writer_flush(&w), LW_ESTATE);
        assert_int_equal(lw__writer_commit(&w, 1, 51), LW_ESTATE);
        assert_int_equal(lw__writer_commit(&w, 1, SIZE_MAX), LW_ESTATE);
        assert_int_equal(lw__writer_stage(&w, 1, 51), LW_ESTATE);
        if (i % 2) { /* a batch is open */
            assert_int_equal(lw__writer_stage(&w, t_type(w.tx.number, 50), 50), 0);
            assert_int_equal(lw__writer_commit(&w, 1, 0), LW_ESTATE);
            assert_int_equal(lw__writer_send(&w, 1, "x", 1), LW_ESTATE);
            assert_int_equal(lw__writer_send_batch(&w, &item, 1), LW_ESTATE);
            assert_int_equal(lw__writer_reserve(&w, &data, 50), 0);
            t_fill(data, 50, w.tx.number + 1);
        }
        assert_int_equal(header_at(&t.lane, w.tx.pos), 0);
        assert_ok(lw__writer_commit(&w, t_type(w.tx.number + (uint64_t)i % 2, 50), 50));
        T_SOUND(t_drain(&r, NULL));
        assert_int_equal(r.rx.number, w.tx.number);
    }
    T_SOUND(t_at_rest(&t.lane, NULL));
    t_lane_end(&t);
}

/* The inline path must not see a reservation or a batch as room. */
static void nothing_goes_inline_while_something_is_open(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(65536, 1, 0);
    struct lw__writer w;
    void *data;
    t_write_as(&w, &t.lane, 1);
    assert_ok(t_send(&w, 1));
    assert_true(w.tx.edge > (int64_t)w.tx.pos + 100); /* it would */
    assert_int_equal(lw_pub_reserve((struct lw_pub *)(void *)&w, &data, 20, 0), 0);
    assert_int_equal(w.tx.edge, -21);
    assert_int_equal(lw__writer_stage(&w, 0, 20), 0);
    assert_int_equal(w.tx.edge, 0);
    assert_int_equal(lw__writer_reserve(&w, &data, 20), 0);
    assert_int_equal(w.tx.edge, 0);
    assert_ok(lw__writer_commit(&w, 0, 20));
    assert_true(w.tx.edge > (int64_t)w.tx.pos + 100);
    w.slow_only = true;
    lw__writer_abort(&w);
    assert_int_equal(w.tx.edge, 0);
    assert_ok(t_send(&w, 1));
    assert_int_equal(w.tx.edge, 0);
    lw__writer_leave(&w);
    assert_int_equal(w.tx.edge, 0);
    t_lane_end(&t);
}

/* Who looks for the end of the log walks from there. */
static void the_stored_tail_is_not_far_behind(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4 << 20, 1, 0);
    uint64_t step = lw__lane_step(&t.lane), farthest = 0;
    struct lw__writer w;
    t_write_as(&w, &t.lane, 1);
    assert_int_equal(step, LW__STEP);
    for (uint64_t i = 0; i < 20000; i++) {
        assert_ok(i % 3 ? t_send(&w, i % 71) : t_send_in_place(&w, 300, i % 301));
        uint64_t stored = t.lane.ctl->tail.pos & ~UINT64_C(7);
        assert_true(stored <= w.tx.pos && (w.tx.pos - 1) / step <= stored / step);
        if (w.tx.pos - stored > farthest) farthest = w.tx.pos - stored;
    }
    assert_true(farthest > step * 9 / 10); /* inline is what most of them went */
    T_SOUND(t_at_rest(&t.lane, NULL));
    t_lane_end(&t);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static void nobody_sees_a_part_of_a_batch(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (unsigned n = 1; n <= 20; n++)
        for (int lap = 0; lap < 20; lap++) {
            uint64_t pos = w.tx.pos;
            for (unsigned i = 0; i < n; i++) {
                void *data;
                assert_int_equal(lw__writer_reserve(&w, &data, i * 3), 0);
                t_fill(data, i * 3, w.tx.number + i);
                uint16_t type = t_type(w.tx.number + i, i * 3);
                assert_int_equal(lw__reader_next(&r, &m), LW_EEMPTY);
                if (i + 1 < n)
                    assert_int_equal(lw__writer_stage(&w, type, i * 3), 0);
                else
                    assert_int_equal(lw__writer_commit(&w, type, i * 3), pos);
            }
            for (unsigned i = 0; i < n; i++) {
                assert_int_equal(t_next(&r, &m), 1);
                assert_true(t_fits(&m));
                assert_int_equal(!!(m.flags & LW_MSG_MORE), i + 1 < n);
            }
            assert_int_equal(lw__reader_next(&r, &m), LW_EEMPTY);
            t_release(&r, &m);
            T_SOUND(t_at_rest(&t.lane, NULL));
        }
    t_lane_end(&t);
}

static void a_batch_fits_in_half_a_ring_and_no_more(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_item many[600];
    uint64_t lens[3];
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    for (int lap = 0; lap < 30; lap++)
        for (uint64_t over = 0; over <= 16; over += 8) {
            lens[0] = lens[1] = 672;
            lens[2] = 2048 - 8 - 2 * 680 - 8 + over;
            int64_t want = over ? LW_ETOOBIG : (int64_t)w.tx.pos;
            assert_int_equal(t_send_batch(&w, lens, 3), want);
            want = over ? LW_ETOOBIG : (int64_t)w.tx.pos;
            T_SOUND(t_drain(&r, NULL));
            assert_int_equal(t_stage_batch(&w, lens, 3), want);
            T_SOUND(t_drain(&r, NULL));
            T_SOUND(t_at_rest(&t.lane, NULL));
        }
    for (int i = 0; i < 600; i++) many[i] = (struct lw_item){NULL, 0, 3};
    assert_int_equal(lw__writer_send_batch(&w, many, 256), LW_ETOOBIG);
    assert_int_equal(lw__writer_send_batch(&w, many, SIZE_MAX), LW_ETOOBIG);
    uint64_t pos = w.tx.pos;
    assert_int_equal(lw__writer_send_batch(&w, many, 255), pos);
    t_lane_end(&t);
}

/* ---- who writes -------------------------------------------------------------------------------------------------- */

static void pitfall_23_a_second_writer_is_refused_and_told_who(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w, second;
    t_write_as(&w, &t.lane, 1);
    assert_ok(t_send(&w, 5));
    char *before = t_lane_save(&t);
    assert_int_equal(lw__writer_take(&second, &t.lane, t_owner(2, 0), &t_owners), LW_EWRITER);
    assert_int_equal(second.holder, t_owner(1, 0));
    assert_int_equal(lw__writer_take(&second, &t.lane, t_owner(1, 0), &t_owners), LW_EWRITER); /* two threads */
    assert_int_equal(t_lane_differs(&t, before), -1);
    lw__writer_leave(&w);
    assert_int_equal(lw__writer_take(&second, &t.lane, t_owner(2, 0), &t_owners), 0);
    assert_int_equal(second.tx.number, 1);
    t_owner_set(2, false);
    assert_int_equal(lw__writer_take(&w, &t.lane, t_owner(1, 0), &t_owners), 0);
    assert_int_equal(t.lane.ctl->lock, t_owner(1, 0));
    t_owner_set(2, true);
    free(before);
    t_lane_end(&t);
}

/* Should a living one be taken for dead (its node file was removed by hand), it finds out before it needs room, and
 * does not give away what is its heir's. */
static void a_writer_that_was_replaced_stops_and_leaves_its_heir_alone(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w, heir;
    int64_t rc = 0;
    t_write_as(&w, &t.lane, 1);
    assert_ok(t_send(&w, 5));
    t_owner_set(1, false);
    t_write_as(&heir, &t.lane, 2);
    while (rc >= 0 && w.tx.pos < 8192) rc = t_send(&w, 100);
    assert_int_equal(rc, LW_ECLOSED);
    lw__writer_leave(&w);
    assert_int_equal(t.lane.ctl->lock, t_owner(2, 0));
    t_owner_set(1, true);
    t_lane_end(&t);
}

static void leaving_drops_what_was_open(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w;
    uint64_t number;
    void *data;
    t_write_as(&w, &t.lane, 1);
    assert_ok(t_send(&w, 5));
    assert_int_equal(lw__writer_reserve(&w, &data, 100), 0);
    memset(data, 0xee, 100);
    assert_int_equal(lw__writer_stage(&w, 1, 100), 0);
    assert_int_equal(lw__writer_reserve(&w, &data, 100), 0);
    lw__writer_leave(&w);
    T_SOUND(t_goes_on(&t.lane, 2, 1, 1, &number));
    t_lane_end(&t);
}

/* ---- a death at each store of a publish -------------------------------------------------------------------------- */

enum store { NOTHING, PAYLOAD, ZERO, HEADER, NUMBER, TAIL, MARK, STORES };

static void put_word(struct lw__lane *lane, uint64_t pos, uint64_t word) {
    memcpy(lane->data + (pos & lane->mask), &word, 8);
}

/* What a publisher of `n` records of `len` bytes has stored when it dies after `last`. Returns what is then published.
 * */
static unsigned die_after(struct lw__lane *lane, const struct lw__place *at, unsigned n, uint64_t len,
                          enum store last) {
    uint64_t size = lw__record_size(len), end = at->pos + n * size;
    for (unsigned i = 0; i < n && last >= PAYLOAD; i++) {
        uint64_t more = i + 1 < n ? LW__COMMITTED | LW__MORE : LW__COMMITTED;
        t_fill(lane->data + ((at->pos + i * size) & lane->mask) + 8, len, at->number + i);
        if (i) put_word(lane, at->pos + i * size, lw__header(len, t_type(at->number + i, len), more));
    }
    if (last >= ZERO) put_word(lane, end, 0);
    if (last >= HEADER)
        put_word(lane, at->pos,
                 lw__header(len, t_type(at->number, len), n > 1 ? LW__COMMITTED | LW__MORE : LW__COMMITTED));
    struct lw__cursor *tail = &lane->ctl->tail;
    uint64_t other = ~tail->pos & 1;
    if (last >= NUMBER) tail->number[other] = at->number + n;
    if (last >= TAIL) tail->pos = end | other;
    if (last >= MARK)
        lane->ctl->marks[(end >> lane->segment_shift) % LW__MARKS] = (struct lw__mark){end, at->number + n};
    return last >= HEADER ? n : 0;
}

static void die_and_go_on(uint64_t start, uint64_t before, unsigned n, uint64_t len, enum store last) {
    struct t_lane t = t_lane_make(4096, 3, start);
    struct lw__writer w;
    struct lw__reader r;
    struct lw__place at;
    uint64_t number;
    t_write_as(&w, &t.lane, 1);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    send_up_to(&w, &r, start + 8192 - before); /* the ring has old bytes everywhere */
    T_SOUND(t_at_rest(&t.lane, &at));
    assert_int_equal(lw__writer_room(&w, at.pos + n * lw__record_size(len)), 0);
    t_owner_set(1, false);
    unsigned published = die_after(&t.lane, &at, n, len, last);
    T_SOUND(t_drain(&r, NULL)); /* a reader sees at once what the next writer will find */
    assert_int_equal(r.rx.number, at.number + published);
    lw__reader_leave(&r);
    T_SOUND(t_goes_on(&t.lane, 3, at.number + published, at.number + published, &number));
    t_owner_set(1, true);
    t_lane_end(&t);
}

static void death_at_any_store_of_a_publish(void **state) {
    (void)state;
    for (enum store last = NOTHING; last < STORES; last++)
        for (uint64_t before = 8; before<400; before += t_loops(20)> 1 ? 24 : 120) {
            die_and_go_on(0, before, 1, before % 64, last);
            die_and_go_on(FAR, before, 1, 300, last);
            die_and_go_on(0, before, 3, before % 100, last);
            die_and_go_on(FAR, before, 7, 17, last);
        }
}

/* A successor that dies on the way finds again what its predecessor left. */
static void death_of_the_successor_too(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__place at = {0, 0};
    struct lw__writer w;
    uint64_t number;
    die_after(&t.lane, &at, 5, 20, HEADER);
    for (unsigned id = 1; id < 5; id++) {
        t_write_as(&w, &t.lane, id);
        assert_int_equal(w.tx.number, 5);
        t_owner_set(id, false);
    }
    T_SOUND(t_goes_on(&t.lane, 5, 5, 5, &number));
    for (unsigned id = 1; id < 5; id++) t_owner_set(id, true);
    t_lane_end(&t);
}

static void a_log_that_does_not_end_is_not_taken(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__writer w;
    t_write_as(&w, &t.lane, 1);
    for (int i = 0; i < 20; i++) assert_ok(t_send(&w, 16));
    put_word(&t.lane, w.tx.pos, UINT64_MAX);
    t_owner_set(1, false);
    assert_int_equal(lw__writer_take(&w, &t.lane, t_owner(2, 0), &t_owners), LW_ECORRUPT);
    assert_int_equal(w.holder, 20 * 24);
    assert_int_equal(t.lane.ctl->lock, 0); /* given back */
    t_owner_set(1, true);
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_around_the_end_of_the_ring),
        cmocka_unit_test(every_length_from_0_to_the_largest_for_many_laps),
        cmocka_unit_test(every_type_arrives),
        cmocka_unit_test(pitfalls_2_and_3_too_big_is_never_called_full),
        cmocka_unit_test(pitfall_21_full_is_told_and_leaves_no_trace),
        cmocka_unit_test(a_commit_may_be_shorter_to_nothing),
        cmocka_unit_test(an_abort_leaves_nothing_and_the_next_is_whole),
        cmocka_unit_test(calls_out_of_order_are_refused_and_break_nothing),
        cmocka_unit_test(nothing_goes_inline_while_something_is_open),
        cmocka_unit_test(the_stored_tail_is_not_far_behind),
        cmocka_unit_test(nobody_sees_a_part_of_a_batch),
        cmocka_unit_test(a_batch_fits_in_half_a_ring_and_no_more),
        cmocka_unit_test(pitfall_23_a_second_writer_is_refused_and_told_who),
        cmocka_unit_test(a_writer_that_was_replaced_stops_and_leaves_its_heir_alone),
        cmocka_unit_test(leaving_drops_what_was_open),
        cmocka_unit_test(death_at_any_store_of_a_publish),
        cmocka_unit_test(death_of_the_successor_too),
        cmocka_unit_test(a_log_that_does_not_end_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * lane/model_test.c - everything that a writer and a reader can do, at random, against a model in memory: where the
 * tail and the reader must be, what is refused and how. After each step the header at the tail must be zero, whatever
 * was staged, dropped or left behind by a death. Positions begin at 0, near 2^62, and near their end.
 */
#include <string.h>

#include "util/lane_util.h"

#define FAR ((UINT64_C(1) << 62) - 8192) /* positions cross 2^62 soon */

static uint64_t header_at(const struct lw__lane *lane, uint64_t pos) {
    return *(const uint64_t *)(const void *)(lane->data + (pos & lane->mask));
}

struct world {
    struct t_lane t;
    struct lw__writer w;
    struct lw__reader r;
    unsigned id;
    uint64_t pos, number; /* the tail as it should be */
    uint64_t head;        /* the reader's place as it should be */
    bool reading;
};

/* A call that publishes `n` records which need `size` bytes gave `rc`: was that right? */
static void expect_published(struct world *x, int64_t rc, unsigned n, uint64_t size, uint64_t needed) {
    uint64_t ring = x->t.lane.ring, head = x->reading ? x->head : x->pos;
    if (needed + 8 > ring / 2) {
        assert_int_equal(rc, LW_ETOOBIG);
    } else if (x->pos + needed + 8 > head + ring) {
        assert_int_equal(rc, LW_EFULL);
    } else {
        assert_int_equal(rc, x->pos);
        x->pos += size;
        x->number += n;
    }
}

static uint64_t some_length(const struct world *x) {
    uint64_t max = x->t.lane.record_max, kind = t_random() % 16;
    return kind == 0 ? max - t_random() % 9 : kind == 1 ? max + 1 + t_random() % 9 : t_random() % (kind < 8 ? 40 : 400);
}

static void random_send(struct world *x) {
    uint64_t len = some_length(x), part = t_random() % 2 ? len : t_random() % (len + 1);
    if (t_random() % 2)
        expect_published(x, t_send(&x->w, len), 1, lw__record_size(len), lw__record_size(len));
    else
        expect_published(x, t_send_in_place(&x->w, len, part), 1, lw__record_size(part), lw__record_size(len));
}

static void random_batch(struct world *x) {
    uint64_t lens[T_BATCH_MAX], size = 0;
    unsigned n = 1 + (unsigned)(t_random() % 12);
    bool copied = t_random() % 2, one_too_big = false;
    for (unsigned i = 0; i < n; i++) {
        lens[i] = some_length(x) % 300;
        size += lw__record_size(lens[i]);
        one_too_big |= lens[i] > x->t.lane.record_max;
    }
    assert_false(one_too_big);
    /* Staged in place, it is found out on the way which comes first. */
    bool full = !copied && x->reading && x->pos + size + 8 > x->head + x->t.lane.ring && size + 8 > x->t.lane.ring / 2;
    int64_t rc = copied ? t_send_batch(&x->w, lens, n) : t_stage_batch(&x->w, lens, n);
    if (full && rc == LW_EFULL) return;
    expect_published(x, rc, n, size, size);
}

static void random_drop(struct world *x) {
    void *data;
    for (uint64_t n = t_random() % 4 + 1; n; n--) {
        uint64_t len = t_random() % 200;
        if (lw__writer_reserve(&x->w, &data, len)) break;
        memset(data, (int)t_random(), len);
        if (n > 1) assert_int_equal(lw__writer_stage(&x->w, 9, len), 0);
    }
    if (t_random() % 4) {
        lw__writer_abort(&x->w);
        return;
    }
    t_owner_set(x->id, false); /* or die with it */
    t_write_as(&x->w, &x->t.lane, x->id ^ 1);
    t_owner_set(x->id, true);
    x->id ^= 1;
}

static void random_read(struct world *x) {
    struct lw_msg m;
    if (!x->reading) {
        t_read_as(&x->r, &x->t.lane, 5, t_random() % 2 ? LW_FROM_NOW : LW_FROM_OLDEST, 0);
        x->reading = true;
        x->head = x->r.rx.pos;
        assert_true(x->head >= x->t.lane.ctl->horizon && x->head <= x->pos);
    } else if (t_random() % 20 == 0) {
        lw__reader_leave(&x->r);
        x->reading = false;
        return;
    }
    bool any = false;
    for (uint64_t n = t_random() % 30; n && x->r.rx.pos < x->pos; n--) {
        assert_int_equal(t_next(&x->r, &m), 1);
        assert_true(t_fits(&m));
        any = true;
    }
    if (any && t_random() % 4) {
        assert_int_equal(t_release(&x->r, &m), 0);
        x->head = x->r.rx.pos;
    }
    if (x->r.rx.pos == x->pos) assert_int_equal(t_next(&x->r, &m), LW_EEMPTY);
}

static void random_step(struct world *x) {
    uint64_t kind = t_random() % 16;
    if (kind < 5)
        random_send(x);
    else if (kind < 8)
        random_batch(x);
    else if (kind < 14)
        random_read(x);
    else if (kind < 15)
        random_drop(x);
    else {
        lw__writer_leave(&x->w);
        t_write_as(&x->w, &x->t.lane, x->id);
    }
}

static void state_fits(const struct world *x, int64_t step) {
    struct lw__place tail, head;
    const struct lw__lane_ctl *ctl = x->t.lane.ctl;
    assert_int_equal(header_at(&x->t.lane, x->pos), 0);
    assert_true(lw__cursor_load(&ctl->tail, &tail)); /* behind by what was published inline */
    assert_true(tail.pos <= x->pos && x->pos - tail.pos < lw__lane_step(&x->t.lane) && tail.number <= x->number);
    assert_int_equal(lw__lane_tail(&x->t.lane, &tail), 0);
    assert_true(tail.pos == x->pos && tail.number == x->number);
    assert_int_equal(ctl->horizon % (x->t.lane.ring / 64), 0);
    if (x->reading) {
        assert_true(lw__cursor_load(&x->r.slot->cursor, &head));
        assert_int_equal(head.pos, x->head);
    }
    if (step % 16 == 0) T_SOUND(t_at_rest(&x->t.lane, &tail));
    assert_true(tail.pos == x->pos && tail.number == x->number);
}

static void random_calls(uint64_t ring, uint64_t start, int64_t steps) {
    struct world x = {.t = t_lane_make(ring, 3, start), .id = 2, .pos = start, .number = start ? T_NUMBER : 0};
    t_write_as(&x.w, &x.t.lane, x.id);
    for (int64_t step = 0; step < steps; step++) {
        random_step(&x);
        state_fits(&x, step);
    }
    T_SOUND(t_at_rest(&x.t.lane, NULL));
    t_lane_end(&x.t);
}

static void random_calls_against_a_model(void **state) {
    (void)state;
    random_calls(4096, 0, t_loops(300000));
    random_calls(4096, FAR, t_loops(300000));
    random_calls(16384, LW__POSITION_END - (UINT64_C(1) << 40), t_loops(100000));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_calls_against_a_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * lane/copy_test.c - readers by copy that hold nobody back: what they see when they keep up, what they are told when they
 * do not, and that they never hand out a byte that was overwritten.
 *
 * Writers that run at full speed under the readers are threads here and processes in churn_test.c.
 */
#include <pthread.h>

#include "util/reader_util.h"

enum { RING = 65536, SEGMENT = RING / 64, WRITER = 1, READER = 2, SOME = 16384 };

static void write_up_to(struct lw__writer *w, uint64_t pos, uint64_t len) {
    while (w->tx.pos < pos) assert_ok(t_send(w, len));
}

/* ---- keeping up -------------------------------------------------------------------------------------------------- */

static void one_that_keeps_up_sees_everything(void **state) {
    (void)state;
    const uint64_t starts[] = {0, (UINT64_C(1) << 62) - RING};
    for (int i = 0; i < 2; i++) {
        struct t_lane t = t_lane_make(RING, 2, starts[i]);
        struct lw__writer w;
        struct lw__reader r;
        struct t_seen seen = {0};
        t_write_as(&w, &t.lane, WRITER);
        t_lossy_as(&r, &t.lane, READER, LW_FROM_NOW);
        uint64_t first = r.rx.number;
        for (int64_t n = 0; n < t_loops(40000); n++) {
            uint64_t lens[T_BATCH_MAX], count = 1 + t_random() % 8;
            for (unsigned k = 0; k < count; k++) lens[k] = t_random() % 300;
            if (n % 3 == 0)
                assert_ok(t_send_batch(&w, lens, (unsigned)count));
            else if (n % 3 == 1)
                assert_ok(t_stage_batch(&w, lens, (unsigned)count));
            else
                assert_ok(t_send_in_place(&w, lens[0] + 40, lens[0]));
            if (t_random() % 5 == 0) T_SOUND(t_copy_drain(&r, &seen));
        }
        T_SOUND(t_copy_drain(&r, &seen));
        assert_true(seen.told == 0 && seen.messages == w.tx.number - first);
        assert_true(r.rx.pos == w.tx.pos && lw__load(&r.slot->dropped) == 0);
        t_copy_leave(&r);
        t_lane_end(&t);
    }
}

/* Around what is copied at once, and up to half the ring; at all offsets. */
static void records_of_every_size(void **state) {
    (void)state;
    static char data[RING];
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, WRITER);
    t_lossy_as(&r, &t.lane, READER, LW_FROM_NOW);
    const uint64_t around[] = {0, 8, SOME - 16, SOME - 8, SOME, 2 * SOME - 16, t.lane.record_max};
    for (int64_t turn = 0; turn < t_loops(200); turn++)
        for (size_t i = 0; i < sizeof around / sizeof *around; i++)
            for (uint64_t off = 0; off < 20; off += 1 + (uint64_t)turn % 3) {
                uint64_t len = around[i] + off < 10 ? 0 : around[i] + off - 10, number = w.tx.number;
                if (len > t.lane.record_max) continue;
                t_fill(data, len, number);
                if (turn % 2) assert_ok(t_send(&w, number % 50)); /* others before it in the same copy */
                number = w.tx.number;
                t_fill(data, len, number);
                assert_ok(lw__writer_send(&w, t_type(number, len), data, len));
                for (uint64_t want = number - (uint64_t)turn % 2; want <= number; want++) {
                    assert_int_equal(t_copy_next(&r, &m), 1);
                    assert_true(m.number == want && t_fits(&m) && (uintptr_t)m.data % 8 == 0);
                }
                assert_true(m.len == len && m.next == w.tx.pos);
                assert_int_equal(t_copy_release(&r, &m), 0);
                assert_int_equal(t_copy_next(&r, &m), LW_EEMPTY);
            }
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* All or none, with LW_MSG_MORE on all but the last, wherever one copy ends and the next one begins. */
static void batches_that_one_copy_does_not_hold(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    t_write_as(&w, &t.lane, WRITER);
    t_lossy_as(&r, &t.lane, READER, LW_FROM_NOW);
    for (int64_t turn = 0; turn < t_loops(3000); turn++) {
        uint64_t lens[T_BATCH_MAX];
        for (unsigned k = 0; k < T_BATCH_MAX; k++) lens[k] = 300 + t_random() % 150;
        for (uint64_t k = t_random() % 4; k; k--) assert_ok(t_send(&w, t_random() % 3000));
        uint64_t before = w.tx.number;
        assert_ok(t_send_batch(&w, lens, T_BATCH_MAX));
        while (r.rx.number < w.tx.number) {
            assert_int_equal(t_copy_next(&r, &m), 1);
            assert_true(t_fits(&m));
            bool more = m.number >= before && m.number + 1 < w.tx.number;
            assert_int_equal(m.flags & LW_MSG_MORE, more ? LW_MSG_MORE : 0);
        }
        assert_int_equal(t_copy_release(&r, &m), 0);
    }
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* What was handed out stays what it is until the next copy, whatever happens in the ring. */
static void what_was_handed_out_does_not_change(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg held[100], next;
    t_write_as(&w, &t.lane, WRITER);
    t_lossy_as(&r, &t.lane, READER, LW_FROM_NOW);
    for (int i = 0; i < 50; i++) {
        for (int k = 0; k < 100; k++) assert_ok(t_send(&w, 100));
        for (int k = 0; k < 100; k++) assert_int_equal(t_copy_next(&r, &held[k]), 1);
        write_up_to(&w, w.tx.pos + 2 * RING, 100);
        for (int k = 0; k < 100; k++) assert_true(t_fits(&held[k]));
        uint64_t number = r.rx.number;
        assert_int_equal(t_copy_next(&r, &next), LW_EGAP);
        assert_int_equal(r.rx.number, number + r.passed);
        for (int k = 0; k < 100; k++) assert_int_equal(t_copy_release(&r, &held[k]), 0); /* is over, and harmless */
        assert_int_equal(lw__load(&r.slot->seen.number[r.slot->seen.pos & 1]), r.rx.number);
        struct t_seen seen = {0};
        T_SOUND(t_copy_drain(&r, &seen));
        assert_int_equal(seen.told, 0);
    }
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* ---- being overtaken --------------------------------------------------------------------------------------------- */

/* Once, with the exact count, at the beginning of a record, and with room: the next eighth of a ring does not overtake
 * it again. Whatever it has read before, and however far it was lapped. */
static void one_that_is_overtaken_is_told_once_and_goes_on_with_room(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r;
    struct lw_msg m;
    uint64_t lost = 0;
    t_write_as(&w, &t.lane, WRITER);
    t_lossy_as(&r, &t.lane, READER, LW_FROM_NOW);
    for (uint64_t i = 0; i < (uint64_t)t_loops(2000); i++) {
        uint64_t len = t_random() % 1000, number = r.rx.number;
        write_up_to(&w, w.tx.pos + RING + 2 * SEGMENT + i % 5 * RING, len);
        assert_int_equal(t_copy_next(&r, &m), LW_EGAP);
        lost += r.passed;
        assert_int_equal(r.rx.number, number + r.passed);
        assert_int_equal(lw__load(&r.slot->dropped), lost);
        write_up_to(&w, w.tx.pos + RING / 8 - SEGMENT - 1100, t_random() % 1000);
        for (uint64_t k = 0, most = 1 + t_random() % 40; k < most; k++) {
            number = r.rx.number;
            int rc = t_copy_next(&r, &m);
            if (rc == LW_EEMPTY) break;
            assert_true(rc == 1 && m.number == number && t_fits(&m));
            if (k % 2) assert_int_equal(t_copy_release(&r, &m), 0);
        }
        if (r.rx.ring == r.copies && i % 2) lw__reader_undivert(&r); /* what it has copied is not overtaken */
        while (*(const uint64_t *)(const void *)(r.rx.ring + (r.rx.pos & r.rx.mask)))
            assert_int_equal(t_copy_next(&r, &m), 1);
    }
    t_copy_leave(&r);
    t_lane_end(&t);
}

/* Stopped, about to join, or dead: the writer does not look at it. */
static void the_writer_is_never_held(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 8, 0);
    struct lw__writer w;
    struct lw__reader r[3];
    t_write_as(&w, &t.lane, WRITER);
    t_lossy_as(&r[0], &t.lane, READER, LW_FROM_NOW);
    r[1] = (struct lw__reader){.lane = NULL};
    assert_int_equal(lw__reader_take(&r[1], &t.lane, t_owner(READER + 1, LW__SLOT_LOSSY), &t_owners), 0);
    t_lossy_as(&r[2], &t.lane, READER + 2, LW_FROM_OLDEST);
    t_owner_set(READER + 2, false);
    uint64_t owner = lw__load(&r[0].slot->owner);
    for (int i = 0; i < 20000; i++) assert_ok(t_send(&w, (uint64_t)i % 300));
    assert_int_equal(w.evicted, 0);
    assert_int_equal(lw__load(&r[0].slot->owner), owner);
    assert_int_equal(lw__load(&t.lane.ctl->joins), 0);
    assert_int_equal(lw__lane_sweep(&t.lane, t_owner(WRITER, 0), &t_owners), 1); /* the dead one's slot */
    T_SOUND(t_at_rest(&t.lane, NULL));
    lw__reader_leave(&r[1]);
    t_copy_leave(&r[0]);
    lw__reader_free_copies(&r[2]);
    t_owner_set(READER + 2, true);
    for (int i = 0; i < 8; i++) assert_int_equal(t.lane.slots[i].owner, 0);
    t_lane_end(&t);
}

/* ---- where it begins --------------------------------------------------------------------------------------------- */

/* Every position of two laps: the beginning of a retained record or the end, or refused. Joining and seeking; and a seek
 * in vain leaves place and number as they were. */
static void positions_are_records_or_refused(void **state) {
    (void)state;
    enum { SMALL = 4096 };
    static uint64_t number_at[3 * SMALL];
    struct t_lane t = t_lane_make(SMALL, 2, 0);
    struct lw__writer w;
    struct lw__reader r, s;
    struct lw__place oldest, seen_before, seen_after;
    struct lw_msg m;
    t_write_as(&w, &t.lane, WRITER);
    while (w.tx.pos < 2 * SMALL + 600) {
        number_at[w.tx.pos] = w.tx.number + 1;
        assert_ok(t_send(&w, w.tx.number * 37 % 190));
    }
    number_at[w.tx.pos] = w.tx.number + 1;
    assert_int_equal(lw__lane_oldest(&t.lane, &oldest), 0);
    t_lossy_as(&s, &t.lane, READER + 1, LW_FROM_OLDEST);
    assert_true(s.rx.pos == oldest.pos && s.rx.number == oldest.number);
    assert_int_equal(t_copy_next(&s, &m), 1);
    assert_int_equal(t_copy_release(&s, &m), 0);
    for (uint64_t pos = 0; pos < 3 * SMALL; pos++) {
        bool good = number_at[pos] && pos >= oldest.pos;
        int rc = t_copy_join(&r, &t.lane, t_owner(READER, LW__SLOT_LOSSY), 0, LW_FROM_POSITION, pos);
        assert_int_equal(rc, good ? 0 : LW_EPOSITION);
        if (!rc) {
            struct t_seen seen = {0};
            assert_true(r.rx.pos == pos && r.rx.number == number_at[pos] - 1);
            T_SOUND(t_copy_drain(&r, &seen));
            assert_int_equal(r.rx.number, w.tx.number);
            t_copy_leave(&r);
        }
        struct lw__rx was = s.rx;
        assert_true(lw__cursor_load(&s.slot->seen, &seen_before));
        assert_int_equal(lw__reader_seek(&s, LW_FROM_POSITION, pos, &t_owners), good ? 0 : LW_EPOSITION);
        assert_true(lw__cursor_load(&s.slot->seen, &seen_after));
        if (good) {
            assert_true(s.rx.pos == pos && s.rx.number == number_at[pos] - 1);
            assert_true(seen_after.pos == pos && seen_after.number == s.rx.number);
        } else {
            assert_true(s.rx.pos == was.pos && s.rx.number == was.number && s.rx.head == was.head);
            assert_true(seen_after.pos == seen_before.pos && seen_after.number == seen_before.number);
        }
    }
    assert_int_equal(lw__load(&s.slot->dropped), 0);
    assert_int_equal(lw__reader_seek(&s, LW_FROM_OLDEST, 0, &t_owners), 0);
    assert_true(s.rx.pos == oldest.pos && s.rx.number == oldest.number);
    assert_int_equal(lw__reader_seek(&s, LW_FROM_NOW, 0, &t_owners), 0);
    assert_true(s.rx.pos == w.tx.pos && s.rx.number == w.tx.number);
    t_copy_leave(&s);
    t_lane_end(&t);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

enum { DAMAGED = 4096 };

/* Reads at most so many, so that going in circles ends too. Returns what ended it. */
static int read_until_trouble(struct lw__reader *r, uint64_t before, uint64_t *sane) {
    struct lw_msg m;
    int rc = 1;
    for (int i = 0; i < 3000; i++) {
        rc = t_copy_next(r, &m);
        if (rc == LW_EGAP) continue;
        if (rc != 1) return rc;
        assert_true(m.len <= r->lane->record_max);
        static volatile unsigned char sink;
        for (size_t k = 0; k < m.len; k += 64) sink = ((const unsigned char *)m.data)[k];
        (void)sink;
        if (m.next > before) continue;
        assert_true(t_fits(&m));
        ++*sane;
        t_copy_release(r, &m);
    }
    return rc;
}

/* A bit of a header is flipped. What lies before it comes as it was; flags that no record has, or a length that none can
 * have, are said to be damage; nothing crashes, and nothing is read that is not the lane's. */
static void flipped_headers(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(DAMAGED, 4, 0);
    struct lw__writer w;
    struct lw__place oldest;
    struct {
        uint64_t pos;
    } all[400];
    t_write_as(&w, &t.lane, WRITER);
    while (w.tx.pos < 3 * DAMAGED + 1000) assert_ok(t_send(&w, t_random() % 200));
    assert_int_equal(lw__lane_oldest(&t.lane, &oldest), 0);
    struct lw__place at = oldest;
    uint64_t count = 0, header, size;
    for (; at.pos < w.tx.pos && count < 400; at.pos += size) {
        assert_int_equal(lw__record_at(&t.lane, at.pos, &header, &size), 1);
        all[count++].pos = at.pos;
    }
    char *before = t_lane_save(&t);
    for (int64_t turn = 0; turn < t_loops(40000); turn++) {
        uint64_t victim = t_random() % count, bit = t_random() % 64, sane = 0;
        struct lw__reader r;
        t_lossy_as(&r, &t.lane, READER, LW_FROM_OLDEST);
        assert_int_equal(r.rx.pos, oldest.pos);
        ((uint64_t *)(void *)t.lane.data)[(all[victim].pos & t.lane.mask) / 8] ^= UINT64_C(1) << bit;
        int rc = read_until_trouble(&r, all[victim].pos, &sane);
        assert_int_equal(sane, victim);
        if (bit == 63 || (bit >= 48 && bit < 62) || (bit >= 11 && bit < 32)) {
            assert_int_equal(rc, LW_ECORRUPT);
            assert_int_equal(r.rx.pos, all[victim].pos);
        }
        assert_true(rc == LW_ECORRUPT || rc == LW_EEMPTY || rc == 1);
        t_copy_leave(&r);
        t_lane_restore(&t, before);
    }
    free(before);
    t_lane_end(&t);
}

/* Random bytes everywhere, but for what makes it a lane. */
static void random_bytes(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(DAMAGED, 4, 0);
    char *before = t_lane_save(&t);
    for (int64_t turn = 0; turn < t_loops(10000); turn++) {
        struct lw__reader r;
        uint64_t sane = 0;
        uint64_t *words = (uint64_t *)(void *)t.lane.data, *head = (uint64_t *)(void *)t.lane.ctl;
        t_lossy_as(&r, &t.lane, READER, LW_FROM_NOW);
        for (int i = 0; i < DAMAGED / 8; i++)
            words[i] = t_random() % 3 ? lw__header(t_random() % 600, 1, LW__COMMITTED) : t_random();
        for (int i = 0; i < 20; i++) head[t_random() % (LW__PAGE / 8)] = t_random() >> t_random() % 64;
        int rc = read_until_trouble(&r, 0, &sane);
        assert_true(rc == LW_ECORRUPT || rc == LW_EEMPTY || rc == 1);
        enum lw_from from = (enum lw_from)(t_random() % 3);
        rc = lw__reader_seek(&r, from, t_random() % (2 * DAMAGED) & ~UINT64_C(7), &t_owners);
        assert_true(rc == 0 || rc == LW_ECORRUPT || rc == LW_EPOSITION);
        lw__reader_free_copies(&r);
        t_lane_restore(&t, before);
    }
    free(before);
    t_lane_end(&t);
}

/* ---- under a writer at full speed -------------------------------------------------------------------------------- */

enum { LOSSY = 2, RUSH_RING = 32768 };

static struct rush {
    struct t_lane lane;
    uint64_t messages; /* to publish */
    bool over;
    struct t_seen seen[LOSSY];
    uint64_t first[LOSSY], last[LOSSY];
    const char *trouble[LOSSY];
} g;

static void *write_at_full_speed(void *arg) {
    struct lw__writer w;
    (void)arg;
    t_write_as(&w, &g.lane.lane, WRITER);
    while (w.tx.number < g.messages) {
        uint64_t number = w.tx.number, len = number % 61 == 0 ? 9000 : number * 7 % 150;
        if (t_send(&w, len) < 0) break;
    }
    lw__writer_leave(&w);
    __atomic_store_n(&g.over, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Stops now and then, so that it is overtaken also where the writer is the slower one. */
static void *read_what_is_there(void *arg) {
    unsigned me = *(unsigned *)arg;
    static char words[LOSSY][512];
    struct lw__reader r;
    struct lw_msg m;
    t_lossy_as(&r, &g.lane.lane, READER + me, LW_FROM_NOW);
    g.first[me] = r.rx.number;
    for (uint64_t turn = 0;; turn++) {
        bool over = __atomic_load_n(&g.over, __ATOMIC_ACQUIRE);
        uint64_t number = r.rx.number;
        int rc = 1;
        for (int i = 0; i < 500 && rc == 1; i++, number++) {
            rc = t_copy_next(&r, &m);
            if (rc != 1) break;
            if (m.number != number || !t_fits(&m)) rc = LW_ECORRUPT;
            g.seen[me].messages++;
        }
        if (rc == LW_EGAP && r.rx.number == number + r.passed) {
            g.seen[me].lost += r.passed;
            g.seen[me].told++;
            continue;
        }
        if (rc == LW_EEMPTY && over) break;
        if (rc != 1 && rc != LW_EEMPTY) {
            snprintf(words[me], sizeof words[me], "number %" PRIu64 ": %s", number, lw_errname(rc));
            g.trouble[me] = words[me];
            break;
        }
        if (turn % 64 == 63) t_sleep(200000);
    }
    g.last[me] = r.rx.number;
    t_copy_leave(&r);
    return NULL;
}

/* Nothing that was overwritten is ever handed out, and what was not is counted to the last message. */
static void millions_of_messages_overwritten_while_they_are_read(void **state) {
    (void)state;
    pthread_t threads[LOSSY + 1];
    unsigned ids[LOSSY] = {0, 1};
    g = (struct rush){.lane = t_lane_make(RUSH_RING, 8, 0), .messages = (uint64_t)t_loops(6000000)};
    for (int i = 0; i < LOSSY; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_what_is_there, &ids[i]), 0);
    assert_int_equal(pthread_create(&threads[LOSSY], NULL, write_at_full_speed, NULL), 0);
    for (int i = 0; i <= LOSSY; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < LOSSY; i++) {
        if (g.trouble[i]) fail_msg("%s", g.trouble[i]);
        assert_int_equal(g.last[i], g.messages);
        assert_int_equal(g.seen[i].messages + g.seen[i].lost, g.messages - g.first[i]);
    }
    assert_true(g.seen[0].told + g.seen[1].told > 0);
    T_SOUND(t_at_rest(&g.lane.lane, NULL));
    t_lane_end(&g.lane);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(one_that_keeps_up_sees_everything),
        t_test(records_of_every_size),
        t_test(batches_that_one_copy_does_not_hold),
        t_test(what_was_handed_out_does_not_change),
        t_test(one_that_is_overtaken_is_told_once_and_goes_on_with_room),
        t_test(the_writer_is_never_held),
        t_test(positions_are_records_or_refused),
        t_test(flipped_headers),
        t_test(random_bytes),
        t_test(millions_of_messages_overwritten_while_they_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

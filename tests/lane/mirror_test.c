/* SPDX-License-Identifier: MIT */
/* A mirror: a lane that is written in chunks, byte for byte as another lane has them (lane/mirror.c). */
#include <string.h>

#include "util/lane_util.h"
#include "util/step.h"

enum { SOURCE = 1, MIRROR = 2, READER = 3, HEIR = 4, CHILD = 5, RING = 4096 };

/* A lane, its mirror, and who writes them. */
static struct scene {
    struct t_lane from, to, copy;
    struct lw__writer source, mirror;
    struct lw__lane mine; /* a child's mapping */
    uint64_t length, first;
    uint64_t random;
} s;

static void scene_begin(void) {
    s = (struct scene){.from = t_lane_make(RING, 8, 0), .to = t_lane_make(RING, 8, 0), .copy = t_lane_make(RING, 8, 0)};
    t_write_as(&s.source, &s.from.lane, SOURCE);
    t_write_as(&s.mirror, &s.to.lane, MIRROR);
}

static void scene_end(void) {
    t_lane_end(&s.from);
    t_lane_end(&s.to);
    t_lane_end(&s.copy);
    t_owner_set(MIRROR, true);
    t_owner_set(CHILD, true);
}

/* Some messages and a batch. */
static void write_some(void) {
    uint64_t lens[3] = {t_random() % 60, 0, t_random() % 60};
    for (uint64_t i = 0; i < 1 + t_random() % 4; i++) assert_true(t_send(&s.source, t_random() % 200) >= 0);
    assert_true(t_send_batch(&s.source, lens, 3) >= 0);
}

/* All that the mirror has not, behind its tail; the first eight bytes are kept back. NULL: no room. */
static char *land(struct lw__writer *w) {
    const char *at = s.source.tx.ring + (w->tx.pos & (RING - 1));
    s.length = s.source.tx.pos - w->tx.pos;
    memcpy(&s.first, at, 8);
    char *place = lw__mirror_land(w, s.length);
    if (place) memcpy(place + 8, at + 8, s.length - 8);
    return place;
}

static uint64_t header(uint64_t length, uint64_t flags) {
    return length | flags << 48;
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

static void a_chunk_is_seen_when_it_is_published_and_not_before(void **state) {
    (void)state;
    scene_begin();
    struct lw__reader r;
    struct lw_msg msg;
    t_read_as(&r, &s.to.lane, READER, LW_FROM_OLDEST, 0);
    for (int64_t i = 0; i < t_loops(2000); i++) {
        uint64_t before = s.source.tx.number, seen = 0;
        write_some();
        assert_non_null(land(&s.mirror));
        assert_int_equal(t_next(&r, &msg), LW_EEMPTY);
        assert_int_equal(lw__mirror_publish(&s.mirror, s.length, s.first), s.source.tx.number - before);
        T_SOUND(t_drain(&r, &seen));
        assert_int_equal(seen, s.source.tx.number - before);
        T_SOUND(t_at_rest(&s.to.lane, NULL));
        assert_int_equal(s.mirror.tx.pos, s.source.tx.pos);
        assert_int_equal(s.mirror.tx.number, s.source.tx.number);
    }
    scene_end();
}

static void a_chunk_of_no_whole_messages_is_refused(void **state) {
    (void)state;
    const uint64_t ok = LW__COMMITTED, unknown = 0x2000;
    const uint64_t bad[] = {0,
                            header(8, 0),
                            header(8, ok | unknown),
                            header(RING, ok),
                            header(UINT32_MAX, ok),
                            header(8, ok | LW__MORE),
                            header(9, ok),
                            header(0, ok)};
    assert_false(LW__FLAGS & unknown);
    scene_begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int second = bad[i] >> 48 & LW__MORE ? 1 : 0; second < 2; second++) {
            char *place = lw__mirror_land(&s.mirror, 32);
            uint64_t good = header(8, ok), first = second ? good : bad[i];
            assert_non_null(place);
            memset(place + 8, 0, 24);
            memcpy(place + 16, second ? &bad[i] : &good, 8);
            assert_int_equal(lw__mirror_publish(&s.mirror, 32, first), LW_ECORRUPT);
            assert_int_equal(s.mirror.tx.pos, 0);
            assert_int_equal(s.mirror.tx.number, 0);
        }
    }
    T_SOUND(t_at_rest(&s.to.lane, NULL));
    write_some();
    assert_non_null(land(&s.mirror));
    assert_true(lw__mirror_publish(&s.mirror, s.length, s.first) > 0);
    T_SOUND(t_retained(&s.to.lane, s.source.tx.number));
    scene_end();
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* Records that were consumed are still there; whoever joins at the oldest one must not be in the way of what was promised. */
static void a_window_that_was_told_stays_open(void **state) {
    (void)state;
    for (int64_t i = 0; i < t_loops(300); i++) {
        scene_begin();
        struct lw__reader r, late;
        t_read_as(&r, &s.to.lane, READER, LW_FROM_OLDEST, 0);
        for (uint64_t laps = 2 + t_random() % 60; laps; laps--) {
            write_some();
            assert_non_null(land(&s.mirror));
            assert_true(lw__mirror_publish(&s.mirror, s.length, s.first) > 0);
            T_SOUND(t_drain(&r, NULL));
        }
        uint64_t window = lw__mirror_window(&s.mirror, s.mirror.tx.pos);
        assert_true(window <= s.mirror.tx.pos + RING - 8);
        assert_true(window + RING / 32 >= s.mirror.tx.pos + RING);
        t_read_as(&late, &s.to.lane, HEIR, LW_FROM_OLDEST, 0);
        assert_true(lw__mirror_window(&s.mirror, s.mirror.tx.pos) >= window);
        assert_non_null(lw__mirror_land(&s.mirror, window - s.mirror.tx.pos));
        scene_end();
    }
}

/* ---- deaths ------------------------------------------------------------------------------------------------------ */

static void prepare(void *arg) {
    (void)arg;
    struct lw__lane from = t_lane_map(&s.from, LW__WRITE); /* mappings are not there after a fork */
    s.source.tx.ring = from.base + from.head_size;
    s.mine = t_lane_map(&s.to, LW__WRITE);
    t_write_as(&s.mirror, &s.mine, CHILD);
    T_NEED(land(&s.mirror));
}

static void publish(void *arg) {
    (void)arg;
    lw__mirror_publish(&s.mirror, s.length, s.first);
}

/* All of the chunk is there or nothing of it, and the next one goes on from there. */
static bool is_published(uint64_t old, uint64_t fresh) {
    struct lw__writer heir;
    struct lw__place tail;
    memcpy(s.copy.lane.base, s.to.lane.base, s.to.size);
    assert_int_equal(lw__lane_tail(&s.copy.lane, &tail), 0);
    assert_true(tail.number == old || tail.number == fresh);
    t_write_as(&heir, &s.copy.lane, HEIR);
    assert_int_equal(heir.tx.number, tail.number);
    if (tail.number == old) {
        assert_non_null(land(&heir));
        assert_int_equal(lw__mirror_publish(&heir, s.length, s.first), fresh - old);
    }
    T_SOUND(t_retained(&s.copy.lane, fresh));
    T_SOUND(t_at_rest(&s.copy.lane, NULL));
    return tail.number == fresh;
}

static void a_death_anywhere_leaves_all_of_a_chunk_or_nothing(void **state) {
    (void)state;
    t_need_ptrace();
    scene_begin();
    t_owner_set(CHILD, false);
    t_owner_set(MIRROR, false);
    for (int64_t laps = 0; laps < 1 + t_loops(30); laps++) {
        uint64_t old = s.to.lane.ctl->tail.pos ? s.source.tx.number : 0, steps = 0;
        bool there = false;
        write_some();
        struct t_step step = t_step_begin(prepare, publish, NULL);
        while (t_step_on(&step)) {
            bool now = steps++ % 3 == 0 || !there ? is_published(old, s.source.tx.number) : there;
            assert_true(now || !there);
            there = now;
        }
        assert_true(is_published(old, s.source.tx.number));
        t_step_end(&step);
    }
    scene_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_chunk_is_seen_when_it_is_published_and_not_before),
        t_test(a_chunk_of_no_whole_messages_is_refused),
        t_test(a_window_that_was_told_stays_open),
        t_test(a_death_anywhere_leaves_all_of_a_chunk_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

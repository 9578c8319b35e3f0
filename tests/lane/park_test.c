/* SPDX-License-Identifier: MIT */
/* park_test - who sleeps on a lane: each bit and each bell word is that of its owner, whoever dies or takes over. */
#include <string.h>

#include "util/lane_util.h"
#include "util/notes.h"
#include "util/reader_util.h"

enum { RING = 65536, ME = 99, RINGS = 2048 };
#define MY_OWNER t_owner(ME, 0)

/* ---- what was rung ----------------------------------------------------------------------------------------------- */

static struct { uint64_t owner, bell; } rung[RINGS];
static unsigned rings;

static void note(void *context, uint64_t owner, uint64_t bell) {
    (void)context;
    assert_true(rings < RINGS);
    rung[rings].owner = owner;
    rung[rings++].bell = bell;
}

static const struct lw__ringer noter = {.ring = note};

static unsigned ring_readers(struct lw__lane *lane) {
    rings = 0;
    lw__lane_ring_readers(lane, MY_OWNER, &t_owners, &noter);
    return rings;
}

static unsigned ring_writers(struct lw__lane *lane) {
    rings = 0;
    lw__lane_ring_writers(lane, MY_OWNER, &t_owners, &noter);
    return rings;
}

static bool was_rung(unsigned id, uint64_t bell) {
    for (unsigned i = 0; i < rings; i++)
        if (rung[i].owner == t_owner(id, 0) && rung[i].bell == bell) return true;
    return false;
}

static unsigned bits(const uint64_t *mask) {
    unsigned n = 0;
    for (int i = 0; i < LW__MASK_WORDS; i++) n += (unsigned)__builtin_popcountll(mask[i]);
    return n;
}

static void park_reader(struct lw__reader *r, uint64_t bell) {
    lw__reader_bell(r, bell);
    lw__reader_park(r, true);
}

static void park_writer(struct lw__writer *w, uint64_t bell) {
    lw__writer_bell(w, bell);
    lw__writer_park(w, true);
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

static void only_those_that_sleep_are_rung(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 8, 0);
    struct lw__reader r[8];
    for (unsigned i = 0; i < 8; i++) t_read_as(&r[i], &t.lane, i + 1, LW_FROM_NOW, 0);
    assert_int_equal(ring_readers(&t.lane), 0);
    for (unsigned i = 0; i < 8; i += 3) park_reader(&r[i], 100 + i);
    assert_int_equal(ring_readers(&t.lane), 3);
    for (unsigned i = 0; i < 8; i += 3) assert_true(was_rung(i + 1, 100 + i));
    assert_int_equal(ring_readers(&t.lane), 3); /* the bits are theirs to clear */
    lw__reader_park(&r[3], false);
    assert_int_equal(ring_readers(&t.lane), 2);
    assert_false(was_rung(4, 103));
    assert_int_equal(ring_writers(&t.lane), 0);
    t_lane_end(&t);
}

static void where_to_ring_is_moved_by_one_store(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__reader r;
    t_read_as(&r, &t.lane, 1, LW_FROM_NOW, 0);
    park_reader(&r, UINT64_C(3) << 32 | 7);
    lw__reader_bell(&r, UINT64_C(4) << 32 | 9);
    assert_int_equal(ring_readers(&t.lane), 1);
    assert_true(was_rung(1, UINT64_C(4) << 32 | 9));
    t_lane_end(&t);
}

static void a_writer_sees_one_bit_in_any_word_of_the_mask(void **state) {
    (void)state;
    static const uint32_t slots[] = {1, 63, 64, 65, 128, 1000, 1024};
    for (size_t n = 0; n < sizeof slots / sizeof *slots; n++) {
        struct t_lane t = t_lane_make(RING, slots[n], 0);
        struct lw__writer w;
        t_write_as(&w, &t.lane, 1);
        assert_true((w.tx.parked == lw__masks_always) == (slots[n] > 64));
        assert_false(lw__mask_any(&t.lane, t.lane.ctl->parked));
        for (uint32_t i = 0; i < slots[n]; i++) {
            struct lw__reader r = {.lane = &t.lane, .slot = &t.lane.slots[i], .index = i};
            t.lane.slots[i].owner = t_owner(i % 7 + 2, LW__SLOT_RELIABLE);
            park_reader(&r, i + 5);
            assert_true(lw__mask_any(&t.lane, t.lane.ctl->parked));
            assert_int_equal(ring_readers(&t.lane), 1);
            assert_true(was_rung(i % 7 + 2, i + 5));
            lw__reader_park(&r, false);
            assert_false(lw__mask_any(&t.lane, t.lane.ctl->parked));
        }
        t_lane_end(&t);
    }
}

static void all_of_1024_are_rung_once_each(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 1024, 0);
    struct lw__reader r;
    for (unsigned i = 0; i < 1024; i++) {
        t_read_as(&r, &t.lane, i + 1, LW_FROM_NOW, 0);
        park_reader(&r, i + 1);
    }
    assert_int_equal(bits(t.lane.ctl->parked), 1024);
    assert_int_equal(ring_readers(&t.lane), 1024);
    for (unsigned i = 0; i < 1024; i++) {
        assert_int_equal(rung[i].owner, t_owner(i + 1, 0));
        assert_int_equal(rung[i].bell, i + 1);
    }
    t_lane_end(&t);
}

static void who_leaves_leaves_no_bit(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__reader r, named, lossy;
    t_read_as(&r, &t.lane, 1, LW_FROM_NOW, 0);
    t_durable_as(&named, &t.lane, 2, "name", LW_FROM_NOW);
    t_lossy_as(&lossy, &t.lane, 3, LW_FROM_NOW);
    park_reader(&r, 11);
    park_reader(&named, 12);
    park_reader(&lossy, 13);
    assert_int_equal(ring_readers(&t.lane), 3);
    lw__reader_leave(&r);
    assert_int_equal(ring_readers(&t.lane), 2);
    lw__reader_leave(&named);
    assert_int_equal(ring_readers(&t.lane), 1);
    t_copy_leave(&lossy);
    assert_int_equal(bits(t.lane.ctl->parked), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(t.lane.slots[i].bell, 0);
    assert_non_null(lw__slot_find(&t.lane, "name"));
    t_lane_end(&t);
}

/* ---- those that died asleep -------------------------------------------------------------------------------------- */

static void a_dead_reader_without_a_name_is_freed(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__reader r, again;
    t_read_as(&r, &t.lane, 1, LW_FROM_NOW, 0);
    park_reader(&r, 11);
    t_owner_set(1, false);
    assert_int_equal(ring_readers(&t.lane), 0);
    assert_int_equal(r.slot->owner, 0);
    assert_int_equal(r.slot->cursor.pos, LW__NOWHERE);
    assert_int_equal(bits(t.lane.ctl->parked), 0);
    t_owner_set(1, true);
    t_read_as(&again, &t.lane, 2, LW_FROM_NOW, 0);
    assert_ptr_equal(again.slot, r.slot);
    assert_int_equal(ring_readers(&t.lane), 0);
    t_lane_end(&t);
}

static void a_dead_durable_one_is_away_and_keeps_its_place(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w;
    struct lw__reader r, heir;
    struct lw_msg m;
    uint64_t holder, count = 0;
    t_write_as(&w, &t.lane, 5);
    t_durable_as(&r, &t.lane, 1, "name", LW_FROM_NOW);
    for (int i = 0; i < 4; i++) assert_ok(t_send(&w, 20));
    assert_int_equal(t_next(&r, &m), 1);
    assert_ok(t_release(&r, &m));
    park_reader(&r, 11);
    t_owner_set(1, false);
    assert_int_equal(ring_readers(&t.lane), 0);
    assert_int_equal(r.slot->owner, LW__SLOT_DURABLE); /* nobody has it open */
    assert_int_equal(bits(t.lane.ctl->parked), 0);
    t_owner_set(1, true);
    struct lw__slot *slot = lw__slot_find(&t.lane, "name");
    assert_ptr_equal(slot, r.slot);
    assert_int_equal(lw__slot_inherit(&heir, &t.lane, slot, t_owner(3, LW__SLOT_DURABLE), &t_aging_owners, &holder), 0);
    assert_int_equal(lw__reader_resume(&heir), 0);
    T_SOUND(t_drain(&heir, &count));
    assert_int_equal(count, 3);
    t_lane_end(&t);
}

static void a_dead_durable_one_that_was_evicted_stays_so(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__reader r;
    t_durable_as(&r, &t.lane, 1, "name", LW_FROM_NOW);
    t.lane.slots[0].owner |= LW__SLOT_LAG | LW__SLOT_EVICTED;
    park_reader(&r, 11);
    t_owner_set(1, false);
    assert_int_equal(ring_readers(&t.lane), 0);
    assert_int_equal(t.lane.slots[0].owner, LW__SLOT_DURABLE | LW__SLOT_LAG | LW__SLOT_EVICTED);
    assert_int_equal(bits(t.lane.ctl->parked), 0);
    t_owner_set(1, true);
    t_lane_end(&t);
}

static void where_the_dead_age_it_is_noted_since_when(void **state) {
    (void)state;
    const struct lw__lane_shape shape = {.ring = RING, .slots = 2, .evict_age = 100};
    struct t_lane t = t_lane_make_shaped(&shape);
    struct lw__reader r;
    t_durable_as(&r, &t.lane, 1, "name", LW_FROM_NOW);
    park_reader(&r, 11);
    t_owner_set(1, false);
    uint64_t before = lw__seconds();
    assert_int_equal(ring_readers(&t.lane), 0);
    uint64_t owner = t.lane.slots[0].owner;
    assert_int_equal(owner & UINT32_MAX, LW__SLOT_DURABLE);
    assert_in_range(owner >> 32, before, lw__seconds());
    t_owner_set(1, true);
    t_lane_end(&t);
}

/* A bit that nobody's slot has: whoever swept it did not look at the masks. */
static void a_bit_of_a_free_slot_goes_with_the_first_look(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 70, 0);
    t.lane.ctl->parked[1] = 1 << 3;
    t.lane.ctl->slots_used = 70;
    assert_int_equal(ring_readers(&t.lane), 0);
    assert_int_equal(bits(t.lane.ctl->parked), 0);
    assert_int_equal(t.lane.slots[67].owner, 0);
    t_lane_end(&t);
}

static void the_heir_of_a_slot_begins_awake(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 1, 0);
    struct lw__reader r, heir;
    uint64_t holder;
    t_durable_as(&r, &t.lane, 1, "name", LW_FROM_NOW);
    park_reader(&r, 11);
    t_owner_set(1, false);
    assert_int_equal(lw__slot_inherit(&heir, &t.lane, r.slot, t_owner(2, LW__SLOT_DURABLE), &t_owners, &holder), 0);
    assert_int_equal(ring_readers(&t.lane), 0);
    assert_int_equal(bits(t.lane.ctl->parked), 0);
    assert_int_equal(heir.slot->bell, 0);
    park_reader(&heir, 22);
    assert_int_equal(ring_readers(&t.lane), 1);
    assert_true(was_rung(2, 22));
    t_owner_set(1, true);
    t_lane_end(&t);
}

static void garbage_in_masks_and_bells_rings_nobody_wrong(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 5, 0);
    struct lw__reader r;
    t_read_as(&r, &t.lane, 1, LW_FROM_NOW, 0);
    memset(t.lane.ctl->parked, 0xff, sizeof t.lane.ctl->parked); /* beyond the last slot as well */
    memset(t.lane.ctl->wanted, 0xff, sizeof t.lane.ctl->wanted);
    for (int i = 0; i < 5; i++) t.lane.slots[i].bell = UINT64_MAX;
    t.lane.ctl->writer_bell = UINT64_MAX;
    assert_int_equal(ring_readers(&t.lane), 1);
    assert_true(was_rung(1, UINT64_MAX));
    assert_int_equal(ring_writers(&t.lane), 0);
    t_lane_end(&t);
}

/* ---- writers ----------------------------------------------------------------------------------------------------- */

static void an_exclusive_writer_is_rung_by_its_own_word(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    t_write_as(&w, &t.lane, 1);
    park_writer(&w, 77);
    assert_int_equal(t.lane.ctl->wanted[0], 1);
    assert_int_equal(t.lane.ctl->writer_bell, 77);
    assert_int_equal(ring_writers(&t.lane), 1);
    assert_true(was_rung(1, 77));
    assert_int_equal(ring_readers(&t.lane), 0);
    lw__writer_leave(&w);
    assert_int_equal(bits(t.lane.ctl->wanted), 0);
    assert_int_equal(ring_writers(&t.lane), 0);
    t_lane_end(&t);
}

static void shared_writers_are_rung_by_their_slots(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w[3];
    for (unsigned i = 0; i < 3; i++) {
        tn_join(&w[i], &t.lane, i + 1);
        park_writer(&w[i], 50 + i);
    }
    assert_int_equal(ring_writers(&t.lane), 3);
    for (unsigned i = 0; i < 3; i++) assert_true(was_rung(i + 1, 50 + i));
    t_owner_set(2, false);
    assert_int_equal(ring_writers(&t.lane), 2);
    lw__writer_leave(&w[0]);
    assert_int_equal(ring_writers(&t.lane), 1);
    lw__writer_leave(&w[2]);
    assert_int_equal(ring_writers(&t.lane), 0);
    t_owner_set(2, true);
    t_lane_end(&t);
}

/* The reader in slot 0 has nothing to do with bit 0 of the writers that want room. */
static void readers_in_slot_0_do_not_wake_or_hush_an_exclusive_writer(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w;
    struct lw__reader r, named, lossy;
    uint64_t holder;
    t_write_as(&w, &t.lane, 1);
    park_writer(&w, 77);
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    assert_ptr_equal(r.slot, &t.lane.slots[0]);
    assert_int_equal(ring_writers(&t.lane), 1);
    park_reader(&r, 5);
    assert_int_equal(ring_writers(&t.lane), 1);
    lw__reader_leave(&r); /* then it rings for those that want room */
    assert_int_equal(ring_writers(&t.lane), 1);
    t_lossy_as(&lossy, &t.lane, 2, LW_FROM_NOW);
    t_copy_leave(&lossy);
    assert_int_equal(ring_writers(&t.lane), 1);
    t_durable_as(&named, &t.lane, 3, "name", LW_FROM_NOW);
    park_reader(&named, 6);
    t_owner_set(3, false);
    assert_int_equal(ring_readers(&t.lane), 0); /* puts it down */
    assert_int_equal(ring_writers(&t.lane), 1);
    assert_int_equal(lw__slot_inherit(&r, &t.lane, named.slot, t_owner(4, LW__SLOT_DURABLE), &t_aging_owners, &holder),
                     0);
    assert_int_equal(ring_writers(&t.lane), 1);
    lw__reader_leave(&r);
    assert_int_equal(ring_writers(&t.lane), 1);
    assert_true(was_rung(1, 77));
    t_owner_set(3, true);
    t_lane_end(&t);
}

static void a_shared_writer_that_is_refused_does_not_hush_an_exclusive_one(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w, other;
    t_write_as(&w, &t.lane, 1);
    park_writer(&w, 77);
    assert_int_equal(lw__writer_join(&other, &t.lane, t_owner(2, 0), &t_owners), LW_EWRITER);
    assert_int_equal(ring_writers(&t.lane), 1);
    assert_int_equal(lw__writer_take(&other, &t.lane, t_owner(2, 0), &t_owners), LW_EWRITER);
    assert_int_equal(ring_writers(&t.lane), 1);
    t_lane_end(&t);
}

static void the_heir_of_an_exclusive_writer_begins_awake(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 4, 0);
    struct lw__writer w, heir;
    t_write_as(&w, &t.lane, 1);
    park_writer(&w, 77);
    t_owner_set(1, false);
    assert_int_equal(ring_writers(&t.lane), 0);
    t_write_as(&heir, &t.lane, 2);
    assert_int_equal(bits(t.lane.ctl->wanted), 0);
    assert_int_equal(t.lane.ctl->writer_bell, 0);
    park_writer(&heir, 78);
    assert_int_equal(ring_writers(&t.lane), 1);
    assert_true(was_rung(2, 78));
    lw__writer_leave(&w); /* of a dead one: it is not its word any more */
    assert_int_equal(ring_writers(&t.lane), 1);
    t_owner_set(1, true);
    t_lane_end(&t);
}

static void the_next_one_in_a_dead_writers_slot_begins_awake(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(RING, 2, 0);
    struct lw__writer w[2], heir;
    struct lw__reader r;
    for (unsigned i = 0; i < 2; i++) tn_join(&w[i], &t.lane, i + 1);
    for (unsigned i = 0; i < 2; i++) park_writer(&w[i], 60 + i);
    t_owner_set(1, false);
    t_owner_set(2, false);
    assert_int_equal(ring_writers(&t.lane), 0);
    tn_join(&heir, &t.lane, 3);
    assert_int_equal(heir.slot - t.lane.slots, 0);
    t_read_as(&r, &t.lane, 4, LW_FROM_NOW, 0);
    assert_int_equal(r.index, 1);
    assert_int_equal(ring_writers(&t.lane), 0);
    assert_int_equal(bits(t.lane.ctl->wanted), 0);
    park_writer(&heir, 62);
    assert_int_equal(ring_writers(&t.lane), 1);
    assert_true(was_rung(3, 62));
    t_owner_set(1, true);
    t_owner_set(2, true);
    t_lane_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_those_that_sleep_are_rung),
        cmocka_unit_test(where_to_ring_is_moved_by_one_store),
        cmocka_unit_test(a_writer_sees_one_bit_in_any_word_of_the_mask),
        cmocka_unit_test(all_of_1024_are_rung_once_each),
        cmocka_unit_test(who_leaves_leaves_no_bit),
        cmocka_unit_test(a_dead_reader_without_a_name_is_freed),
        cmocka_unit_test(a_dead_durable_one_is_away_and_keeps_its_place),
        cmocka_unit_test(a_dead_durable_one_that_was_evicted_stays_so),
        cmocka_unit_test(where_the_dead_age_it_is_noted_since_when),
        cmocka_unit_test(a_bit_of_a_free_slot_goes_with_the_first_look),
        cmocka_unit_test(the_heir_of_a_slot_begins_awake),
        cmocka_unit_test(garbage_in_masks_and_bells_rings_nobody_wrong),
        cmocka_unit_test(an_exclusive_writer_is_rung_by_its_own_word),
        cmocka_unit_test(shared_writers_are_rung_by_their_slots),
        cmocka_unit_test(readers_in_slot_0_do_not_wake_or_hush_an_exclusive_writer),
        cmocka_unit_test(a_shared_writer_that_is_refused_does_not_hush_an_exclusive_one),
        cmocka_unit_test(the_heir_of_an_exclusive_writer_begins_awake),
        cmocka_unit_test(the_next_one_in_a_dead_writers_slot_begins_awake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

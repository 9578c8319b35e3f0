/* SPDX-License-Identifier: MIT */
/*
 * lane/slot_test.c - who has which reader's slot: taking, sweeping, durable names, and many at once. An owner word
 * changes by compare-and-swap of exactly what was seen, and only an owner that is dead for sure loses anything
 * (pitfalls 17 and 18).
 */
#include <pthread.h>
#include <string.h>

#include "util/lane_util.h"

static int take(struct t_lane *t, struct lw__reader *r, unsigned id) {
    return lw__reader_take(r, &t->lane, t_owner(id, LW__SLOT_RELIABLE), &t_owners);
}

static void fill_all(struct t_lane *t, struct lw__reader *readers) {
    for (unsigned i = 0; i < t->lane.slots_max; i++) {
        assert_int_equal(take(t, &readers[i], i + 2), 0);
        assert_int_equal(readers[i].index, i);
        assert_int_equal(lw__reader_join(&readers[i], LW_FROM_NOW, 0), 0);
    }
}

/* ---- how many ---------------------------------------------------------------------------------------------------- */

static void all_slots_taken_is_told(void **state) {
    (void)state;
    const uint32_t slots[] = {1, 2, 64, 1024};
    static struct lw__reader readers[1024], more;
    for (int i = 0; i < 4; i++) {
        struct t_lane t = t_lane_make(4096, slots[i], 0);
        struct lw__writer w;
        t_write_as(&w, &t.lane, 1);
        fill_all(&t, readers);
        assert_int_equal(take(&t, &more, 1), LW_ENOSLOT);
        assert_int_equal(t.lane.ctl->slots_used, slots[i]);
        for (int n = 0; n < 30; n++) assert_ok(t_send(&w, 100));
        for (uint32_t n = 0; n < slots[i]; n++) T_SOUND(t_drain(&readers[n], NULL));
        T_SOUND(t_at_rest(&t.lane, NULL));
        lw__reader_leave(&readers[slots[i] / 2]);
        assert_int_equal(take(&t, &more, 1), 0);
        assert_int_equal(more.index, slots[i] / 2);
        t_lane_end(&t);
    }
}

static void the_dead_give_their_slots_back(void **state) {
    (void)state;
    const uint32_t slots[] = {1, 3, 64};
    static struct lw__reader readers[64], more;
    for (int i = 0; i < 3; i++) {
        struct t_lane t = t_lane_make(4096, slots[i], 0);
        fill_all(&t, readers);
        for (unsigned id = 2; id < slots[i] + 2; id++) {
            t_owner_set(id, false);
            assert_int_equal(take(&t, &more, 1), 0); /* a sweep on the way */
            assert_int_equal(lw__reader_join(&more, LW_FROM_NOW, 0), 0);
            assert_int_equal(more.index, id - 2);
            t_owner_set(id, true);
        }
        assert_int_equal(take(&t, &more, 1), LW_ENOSLOT);
        t_lane_end(&t);
    }
}

/* ---- sweeping ---------------------------------------------------------------------------------------------------- */

static void a_sweep_frees_the_dead_without_a_name_only(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 8, 0);
    static struct lw__reader r[8];
    fill_all(&t, r);
    lw__slot_make_durable(&r[1], "dead");
    lw__slot_make_durable(&r[2], "alive");
    lw__slot_make_durable(&r[3], "away");
    lw__reader_leave(&r[3]);
    t_owner_set(2, false); /* slot 0 */
    t_owner_set(3, false); /* slot 1, durable */
    t_owner_set(7, false); /* slot 5 */
    assert_int_equal(lw__lane_sweep(&t.lane, t_owner(1, 0), &t_owners), 2);
    for (unsigned i = 0; i < 8; i++) {
        bool freed = i == 0 || i == 5;
        assert_int_equal(t.lane.slots[i].owner == 0, freed);
        assert_int_equal(t.lane.slots[i].cursor.pos == LW__NOWHERE, freed);
    }
    assert_int_equal(lw__lane_sweep(&t.lane, t_owner(1, 0), &t_owners), 0);
    t_owner_set(2, true);
    t_owner_set(3, true);
    t_owner_set(7, true);
    t_lane_end(&t);
}

/* Somebody else was faster, or the owner is another one by now: not a byte changes. */
static void only_exactly_the_word_that_was_seen_is_replaced(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__reader r;
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    char *before = t_lane_save(&t);
    assert_false(lw__slot_free(r.slot, t_owner(3, LW__SLOT_RELIABLE), t_owner(1, 0)));
    assert_false(lw__slot_free(r.slot, t_owner(2, LW__SLOT_DURABLE), t_owner(1, 0)));
    assert_int_equal(t_lane_differs(&t, before), -1);
    assert_true(lw__slot_free(r.slot, t_owner(2, LW__SLOT_RELIABLE), t_owner(1, 0)));
    assert_int_equal(r.slot->owner, 0);
    assert_int_equal(r.slot->cursor.pos, LW__NOWHERE);
    free(before);
    t_lane_end(&t);
}

/* The same for a reader: what is another's by now stays the other's. */
static void a_reader_that_was_replaced_leaves_its_heir_alone(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__reader first, second, named, heir;
    uint64_t holder;
    t_read_as(&first, &t.lane, 2, LW_FROM_NOW, 0);
    t_durable_as(&named, &t.lane, 2, "n", LW_FROM_NOW);
    t_owner_set(2, false);
    t_read_as(&second, &t.lane, 3, LW_FROM_NOW, 0);
    assert_ptr_equal(second.slot, first.slot);
    assert_int_equal(lw__slot_inherit(&heir, &t.lane, named.slot, t_owner(3, LW__SLOT_DURABLE), &t_owners, &holder), 0);
    char *before = t_lane_save(&t);
    lw__reader_leave(&first);
    lw__reader_leave(&named);
    assert_int_equal(t_lane_differs(&t, before), -1);
    free(before);
    t_owner_set(2, true);
    t_lane_end(&t);
}

/* Owner words of one process are alike; the ticket beside tells two handles apart, also one after the other. */
static void every_handle_has_a_ticket_of_its_own(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__reader r;
    uint64_t last = 0, holder;
    for (int i = 0; i < 5; i++) {
        t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
        assert_true(r.ticket != last && r.ticket == r.slot->ticket);
        last = r.ticket;
        lw__reader_leave(&r);
    }
    t_durable_as(&r, &t.lane, 2, "n", LW_FROM_NOW);
    last = r.ticket;
    lw__reader_leave(&r);
    assert_int_equal(lw__slot_inherit(&r, &t.lane, r.slot, t_owner(2, LW__SLOT_DURABLE), &t_owners, &holder), 0);
    assert_true(r.ticket != last && r.ticket == r.slot->ticket);
    t_lane_end(&t);
}

/* ---- durable names ----------------------------------------------------------------------------------------------- */

static const char longest[] = "a23456789-123456789-123456789-123456789-123456789-123456789-123";

static void a_durable_place_is_found_and_goes_on(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 4, 0);
    struct lw__writer w;
    struct lw__reader r;
    uint64_t holder;
    assert_int_equal(strlen(longest), 63);
    t_write_as(&w, &t.lane, 1);
    assert_null(lw__slot_find(&t.lane, longest));
    t_durable_as(&r, &t.lane, 2, longest, LW_FROM_NOW);
    for (unsigned id = 3; id < 60; id++) {
        assert_ok(t_send(&w, 10));
        assert_ok(t_send(&w, 10));
        T_SOUND(t_drain(&r, NULL));
        assert_ok(t_send(&w, 20));
        if (id % 2)
            lw__reader_leave(&r); /* in order, or by death */
        else
            t_owner_set(id - 1, false);
        struct lw__slot *slot = lw__slot_find(&t.lane, longest);
        assert_ptr_equal(slot, &t.lane.slots[0]);
        assert_int_equal(lw__slot_inherit(&r, &t.lane, slot, t_owner(id, LW__SLOT_DURABLE), &t_owners, &holder), 0);
        assert_int_equal(lw__reader_resume(&r), 0);
        assert_int_equal(r.rx.number, w.tx.number - 1);
        t_owner_set(id - 1, true);
    }
    assert_string_equal(r.slot->name, longest);
    T_SOUND(t_at_rest(&t.lane, NULL));
    t_lane_end(&t);
}

static void a_name_that_is_held_is_refused_and_told_by_whom(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 2, 0);
    struct lw__reader r, second;
    uint64_t holder = 0;
    t_durable_as(&r, &t.lane, 2, "n", LW_FROM_NOW);
    char *before = t_lane_save(&t);
    struct lw__slot *slot = lw__slot_find(&t.lane, "n");
    assert_int_equal(lw__slot_inherit(&second, &t.lane, slot, t_owner(3, LW__SLOT_DURABLE), &t_owners, &holder),
                     LW_EHELD);
    assert_int_equal(holder, t_owner(2, LW__SLOT_DURABLE));
    assert_int_equal(t_lane_differs(&t, before), -1);
    free(before);
    t_lane_end(&t);
}

static void a_name_counts_only_while_its_slot_is_durable(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 3, 0);
    struct lw__reader r;
    t_durable_as(&r, &t.lane, 2, "gone", LW_FROM_NOW);
    assert_null(lw__slot_find(&t.lane, "gon"));
    assert_null(lw__slot_find(&t.lane, "gone2"));
    assert_null(lw__slot_find(&t.lane, ""));
    lw__reader_leave(&r);
    assert_true(lw__slot_free(r.slot, LW__SLOT_DURABLE, t_owner(1, 0)));
    assert_null(lw__slot_find(&t.lane, "gone"));
    t_read_as(&r, &t.lane, 3, LW_FROM_NOW, 0); /* takes the slot with the stale name */
    assert_null(lw__slot_find(&t.lane, "gone"));
    lw__slot_make_durable(&r, "g");
    assert_null(lw__slot_find(&t.lane, "gone"));
    assert_ptr_equal(lw__slot_find(&t.lane, "g"), r.slot);
    t_lane_end(&t);
}

/* Dies before the word that makes the name count: a dead reader without a name, and the name is free. */
static void death_while_a_name_is_given_leaves_no_name(void **state) {
    (void)state;
    struct t_lane t = t_lane_make(4096, 1, 0);
    struct lw__reader r;
    t_read_as(&r, &t.lane, 2, LW_FROM_NOW, 0);
    strcpy(r.slot->name, "half");
    t_owner_set(2, false);
    assert_null(lw__slot_find(&t.lane, "half"));
    t_durable_as(&r, &t.lane, 3, "half", LW_FROM_NOW);
    assert_ptr_equal(lw__slot_find(&t.lane, "half"), r.slot);
    t_owner_set(2, true);
    t_lane_end(&t);
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

enum { CROWD = 4 };

struct crowd {
    struct t_lane lane;
    uint64_t inside[8]; /* by slot: how many think that it is theirs */
    bool stop;
    uint64_t clashes, taken;
};

struct one {
    struct crowd *crowd;
    unsigned id;
};

static void *take_and_leave(void *arg) {
    struct one *me = arg;
    struct crowd *c = me->crowd;
    struct lw__reader r;
    while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
        if (take(&c->lane, &r, me->id)) continue;
        uint64_t others = __atomic_fetch_add(&c->inside[r.index], 1, __ATOMIC_RELAXED);
        lw__cursor_store(&r.slot->cursor, me->id * 8, me->id);
        bool mine = lw__load(&r.slot->owner) == t_owner(me->id, LW__SLOT_RELIABLE) &&
                    lw__load(&r.slot->cursor.number[lw__load(&r.slot->cursor.pos) & 1]) == me->id;
        if (others || !mine) __atomic_fetch_add(&c->clashes, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&c->taken, 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&c->inside[r.index], 1, __ATOMIC_RELAXED);
        lw__reader_leave(&r);
    }
    return NULL;
}

static void a_slot_has_one_owner_however_many_want_it(void **state) {
    (void)state;
    struct crowd c = {.lane = t_lane_make(4096, 2, 0)};
    struct one all[CROWD];
    pthread_t threads[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        all[i] = (struct one){&c, i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_leave, &all[i]), 0);
    }
    T_UNTIL(__atomic_load_n(&c.taken, __ATOMIC_RELAXED) > (uint64_t)t_loops(200000));
    __atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < CROWD; i++) pthread_join(threads[i], NULL);
    assert_int_equal(c.clashes, 0);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(c.lane.lane.slots[i].owner, 0);
    t_lane_end(&c.lane);
}

/* All see the same dead owner; one gets its place. Each round costs three threads a turn of the processor. */
enum { ROUNDS = 400 };

struct heirs {
    struct t_lane lane;
    unsigned round, done, won;
    bool durable;
};

struct heir {
    struct heirs *all;
    unsigned id;
};

static bool inherit_once(struct heirs *h, unsigned id) {
    struct lw__reader r;
    uint64_t holder;
    if (!h->durable) return lw__slot_free(&h->lane.lane.slots[0], t_owner(2, LW__SLOT_RELIABLE), t_owner(id, 0));
    return lw__slot_inherit(&r, &h->lane.lane, &h->lane.lane.slots[0], t_owner(id, LW__SLOT_DURABLE), &t_owners,
                            &holder) == 0;
}

static void *want_it(void *arg) {
    struct heir *me = arg;
    struct heirs *h = me->all;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        while (__atomic_load_n(&h->round, __ATOMIC_ACQUIRE) < round) t_sleep(0);
        if (inherit_once(h, me->id)) __atomic_fetch_add(&h->won, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&h->done, 1, __ATOMIC_ACQ_REL);
    }
    return NULL;
}

static void race_of_heirs(bool durable) {
    struct heirs h = {.lane = t_lane_make(4096, 1, 0), .durable = durable};
    struct heir all[2] = {{&h, 10}, {&h, 11}};
    struct lw__slot *slot = &h.lane.lane.slots[0];
    pthread_t threads[2];
    h.lane.lane.ctl->slots_used = 1;
    t_owner_set(2, false);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, want_it, &all[i]), 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        h.won = h.done = 0;
        slot->owner = t_owner(2, durable ? LW__SLOT_DURABLE : LW__SLOT_RELIABLE);
        __atomic_store_n(&h.round, round, __ATOMIC_RELEASE);
        while (__atomic_load_n(&h.done, __ATOMIC_ACQUIRE) < 2) t_sleep(0);
        assert_int_equal(h.won, 1);
    }
    for (unsigned i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    t_owner_set(2, true);
    t_lane_end(&h.lane);
}

static void one_of_many_heirs_gets_it(void **state) {
    (void)state;
    race_of_heirs(true);
    race_of_heirs(false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_slots_taken_is_told),
        cmocka_unit_test(the_dead_give_their_slots_back),
        cmocka_unit_test(a_sweep_frees_the_dead_without_a_name_only),
        cmocka_unit_test(only_exactly_the_word_that_was_seen_is_replaced),
        cmocka_unit_test(a_reader_that_was_replaced_leaves_its_heir_alone),
        cmocka_unit_test(every_handle_has_a_ticket_of_its_own),
        cmocka_unit_test(a_durable_place_is_found_and_goes_on),
        cmocka_unit_test(a_name_that_is_held_is_refused_and_told_by_whom),
        cmocka_unit_test(a_name_counts_only_while_its_slot_is_durable),
        cmocka_unit_test(death_while_a_name_is_given_leaves_no_name),
        cmocka_unit_test(a_slot_has_one_owner_however_many_want_it),
        cmocka_unit_test(one_of_many_heirs_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

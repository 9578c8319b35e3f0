/* SPDX-License-Identifier: MIT */
/*
 * lane/evict_step_test.c - eviction, coming back, and a writer's cached look, an instruction at a time: death anywhere
 * (the operations are in kill/lane_evict.c), and meetings where one stops after its n-th instruction while the other does
 * all it wants.
 *
 * No reader that is held ever sees a byte of another lap.
 */
#include <sys/mman.h>

#include "kill/as_tests.h"
#include "kill/evict.h"

enum { MOST = 6000 };

struct told {
    int rc;
    uint64_t pos, number, passed, owner;
};

static struct told *told;
static uint64_t at; /* instructions */
static unsigned next_kind;

/* Under sanitizers every operation has many times the instructions. */
static bool in_short(void) {
    return t_loops(20) == 1;
}

static void begin(uint32_t slots, uint64_t age) {
    ke_begin(slots, age);
    told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(told != MAP_FAILED);
}

static void end(void) {
    munmap(told, 4096);
    kill_lanes_end();
}

#define T_FITS(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) fail_msg("not after %" PRIu64 " instructions: %s", at, #condition);                          \
    } while (0)
#define T_SOUND_HERE(check)                                                                                            \
    do {                                                                                                               \
        const char *trouble = (check);                                                                                 \
        if (trouble) fail_msg("after %" PRIu64 " instructions: %s: %s", at, #check, trouble);                          \
    } while (0)

/* The child is dead: on a copy. */
static void find_out(uint64_t n) {
    memcpy(kl.judged.lane.base, kl.live.lane.base, kl.live.size);
    t_owner_set(KILL_CHILD, false);
    const char *trouble = ke_adds_up(&kl.judged.lane).trouble;
    t_owner_set(KILL_CHILD, true);
    if (trouble) fail_msg("death after %" PRIu64 "+%" PRIu64 " instructions: %s", at, n, trouble);
}

/* All the deaths from where the child is. */
static void each_death_from_here(struct t_step *step) {
    char *last = t_lane_save(&kl.live);
    find_out(0);
    for (uint64_t n = 1; t_step_on(step); n++) {
        if (memcmp(kl.live.lane.base, last, kl.live.size) == 0) continue;
        memcpy(last, kl.live.lane.base, kl.live.size);
        find_out(n);
    }
    find_out(0);
    free(last);
}

/* ---- meetings: coming back while a writer goes on ---------------------------------------------------------------- */

enum { POINTS = 250, WITH_DEATHS = 40 };

/* At all places of the operation, or a random choice if those are too many. */
static void meet_at(int64_t most, void (*prepare)(void *), void (*operate)(void *), void (*second)(void),
                    void (*check)(struct t_step *step, bool more)) {
    static struct t_point points[POINTS];
    char *before = t_lane_save(&kl.live);
    uint64_t count = t_step_points(prepare, operate, NULL, MOST, points, (uint64_t)t_loops(most));
    for (uint64_t i = 0; i < count; i++) {
        t_lane_restore(&kl.live, before);
        memset(told, 0, sizeof *told);
        at = points[i].n;
        struct t_step step = t_step_begin(prepare, operate, NULL);
        bool more = t_step_to(&step, &points[i]);
        second();
        check(&step, more);
        t_step_end(&step);
    }
    t_lane_restore(&kl.live, before);
    free(before);
}

static void meet(void (*prepare)(void *), void (*operate)(void *), void (*second)(void),
                 void (*check)(struct t_step *step, bool more)) {
    meet_at(POINTS, prepare, operate, second, check);
}

static void tell(int rc) {
    *told = (struct told){.rc = rc,
                          .pos = ke.r.rx.pos,
                          .number = ke.r.rx.number,
                          .passed = ke.r.passed,
                          .owner = lw__load(&ke.r.slot->owner)};
}

static void inherit_and_tell(void *arg) {
    ke_inherit(arg);
    tell(0);
}

static void come_back_and_tell(void *arg) {
    struct lw_msg m;
    (void)arg;
    uint64_t number = ke.r.rx.number;
    lw__reader_divert(&ke.r);
    int rc = t_copy_next(&ke.r, &m);
    tell(rc);
    if (rc == 1) told->pos = m.position, told->number = m.number;
    told->passed = rc == 1 ? m.number - number : ke.r.passed;
    told->owner = ke.r.rx.number - number - (rc == 1); /* what it jumped over */
}

static void go_round(void) {
    ke_write(&kl.live.lane, 3 * KE_RING);
}

/* Deaths after the writer went by, as well: the heir's sum is still right. */
static void dies_then(struct t_step *step, bool more) {
    if (more) each_death_from_here(step);
    if (!more) find_out(0);
}

static void death_while_coming_back_when_a_writer_has_gone_by(void **state) {
    (void)state;
    t_need_ptrace();
    for (int in_place = 0; in_place < 2; in_place++) {
        begin(3, 0);
        ke_make_d(2, KE_RING / 2);
        ke.in_place = in_place;
        ke.policy = in_place ? 0 : LW__SLOT_LAG;
        ke.between = true;
        meet_at(WITH_DEATHS, ke_be_nobody, ke_inherit, go_round, dies_then);
        end();
    }
}

/* In place: once it is back, writers wait for it, and it reads all. */
static void holds_all(struct t_step *step, bool more) {
    struct lw__reader r;
    struct lw__place tail;
    if (more) t_step_finish(step);
    struct lw__slot *slot = ke_slot_of_d(&kl.live.lane);
    T_FITS(lw__load(&slot->owner) == t_owner(KILL_CHILD, LW__SLOT_DURABLE));
    lw__reader_bind(&r, &kl.live.lane, slot, slot->owner);
    T_FITS(lw__reader_resume(&r) == 0 && r.rx.pos == told->pos && r.rx.number == told->number);
    T_FITS(r.rx.number - lw__slot_missed(slot) == ke.released);
    go_round(); /* as far as this reader lets it */
    T_SOUND_HERE(t_drain(&r, NULL));
    T_FITS(lw__lane_tail(&kl.live.lane, &tail) == 0 && r.rx.pos == tail.pos && r.rx.number == tail.number);
    T_FITS(tail.pos - told->pos <= KE_RING - 8);
}

static void a_writer_goes_round_while_one_comes_back_in_place(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t behind[] = {1500, 2 * KE_RING};
    for (int i = 0; i < 2; i++) {
        begin(3, 0);
        ke_make_d(0, behind[i]);
        ke.policy = 0;
        meet(ke_be_nobody, inherit_and_tell, go_round, holds_all);
        end();
    }
}

/* By copy: it may be evicted again at once; what it is told and gets is right. */
static void told_all(struct t_step *step, bool more) {
    if (more) t_step_finish(step);
    T_FITS(told->rc == 1 || told->rc == LW_EEVICTED);
    T_FITS(told->passed == told->owner && (told->rc == 1) == (told->passed == 0));
    struct lw__reader r = {.lane = NULL};
    struct t_seen seen = {0};
    struct lw__slot *slot = ke_slot_of_d(&kl.live.lane);
    T_NEED(!lw__reader_make_copies(&r));
    lw__reader_bind(&r, &kl.live.lane, slot, t_owner(KILL_CHILD, LW__SLOT_DURABLE | LW__SLOT_LAG));
    T_FITS(lw__slot_settled(lw__load(&slot->owner)) == r.owner);
    r.rx.pos = told->pos;
    r.rx.number = told->number;
    r.rx.head = slot->cursor.pos & ~UINT64_C(7);
    T_SOUND_HERE(t_copy_drain(&r, &seen));
    struct lw__place tail;
    T_SOUND_HERE(t_at_rest(&kl.live.lane, &tail));
    T_FITS(seen.messages + seen.lost == tail.number - told->number);
    lw__reader_free_copies(&r);
}

static void a_writer_evicts_one_again_while_it_comes_back(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t behind[] = {1500, 2 * KE_RING};
    for (int i = 0; i < 2; i++) {
        begin(3, 0);
        ke_make_d(0, 100);
        ke.position = behind[i];
        meet(ke_be_d, come_back_and_tell, go_round, told_all);
        end();
    }
}

/* ---- meetings: the slot's next owner ----------------------------------------------------------------------------- */

static struct lw__reader laggard, successor;
static struct lw__reader laggard_before;

static void send_and_tell(void *arg) {
    (void)arg;
    told->rc = (int)t_send(&ke.w, 40);
}

/* It leaves, and another one takes its slot. */
static void change_hands(void) {
    laggard = laggard_before;
    lw__reader_leave(&laggard);
    T_NEED(!t_copy_join(&successor, &kl.live.lane, t_owner(KILL_HEIR, next_kind), KE_CAP, LW_FROM_NOW, 0));
    T_NEED(successor.index == laggard.index);
}

static void the_next_one_is_unharmed(struct t_step *step, bool more) {
    struct t_seen seen = {0};
    if (more) t_step_finish(step);
    T_FITS(told->rc >= 0 || told->rc == LW_EFULL);
    T_FITS(lw__load(&successor.slot->owner) == t_owner(KILL_HEIR, next_kind));
    if (lw__slot_kind(next_kind) != LW__SLOT_LOSSY && !(next_kind & LW__SLOT_LAG))
        T_SOUND_HERE(t_drain(&successor, NULL));
    else
        T_SOUND_HERE(t_copy_drain(&successor, &seen));
    T_FITS(seen.lost == 0);
    t_copy_leave(&successor);
}

static void the_slot_changes_hands_under_an_evictor(void **state) {
    (void)state;
    t_need_ptrace();
    const unsigned next[] = {LW__SLOT_RELIABLE | LW__SLOT_LAG, LW__SLOT_RELIABLE, LW__SLOT_LOSSY};
    for (int i = 0; i < (in_short() ? 1 : 3); i++)
        for (int evicted = 0; evicted < 2; evicted++) {
            begin(1, 0);
            next_kind = next[i];
            ke_write(&kl.live.lane, KE_RING);
            t_lagging_as(&laggard_before, &kl.live.lane, KILL_OTHER, KE_CAP);
            ke_write(&kl.live.lane, KE_CAP + 64);
            if (!evicted) laggard_before.slot->owner &= ~(uint64_t)LW__SLOT_EVICTED;
            meet(ke_be_writer, send_and_tell, change_hands, the_next_one_is_unharmed);
            lw__reader_free_copies(&laggard_before);
            end();
            if (in_short()) return;
        }
}

/* ---- meetings: what a writer remembers --------------------------------------------------------------------------- */

static struct lw__writer knowing, knowing_before;

static void join_and_tell(void *arg) {
    (void)arg;
    ke.r = (struct lw__reader){.lane = NULL};
    int rc = lw__reader_take(&ke.r, &kl.mine, t_owner(KILL_CHILD, LW__SLOT_RELIABLE), &t_owners);
    if (!rc) rc = lw__reader_join(&ke.r, ke.from, ke.position);
    tell(rc);
}

static void be_reader_at_the_end(void *arg) {
    ke_be_nobody(arg);
    t_read_as(&ke.r, &kl.mine, KILL_CHILD, LW_FROM_NOW, 0);
}

static void seek_and_tell(void *arg) {
    (void)arg;
    tell(lw__reader_seek(&ke.r, ke.from, ke.position, &t_owners));
}

/* The same writer before and after, with what it remembers. It goes on by little, so that the joiner does not find out
 * by horizon alone. */
static uint64_t meanwhile;

static void the_knowing_one_goes_on(void) {
    knowing = knowing_before;
    ke_write_laps(&knowing, meanwhile);
}

static void is_seen(struct t_step *step, bool more) {
    struct lw__reader r;
    struct lw__place tail;
    if (more) t_step_finish(step);
    ke_write_laps(&knowing, 3 * KE_RING);
    if (told->rc == LW_EPOSITION) return; /* it went by */
    T_FITS(told->rc == 0);
    struct lw__slot *slot = &kl.live.lane.slots[0];
    T_FITS(lw__load(&slot->owner) == t_owner(KILL_CHILD, LW__SLOT_RELIABLE));
    lw__reader_bind(&r, &kl.live.lane, slot, slot->owner);
    T_FITS(lw__reader_resume(&r) == 0 && r.rx.pos == told->pos && r.rx.number == told->number);
    T_SOUND_HERE(t_drain(&r, NULL));
    T_FITS(lw__lane_tail(&kl.live.lane, &tail) == 0 && r.rx.pos == tail.pos && r.rx.number == tail.number);
}

static void a_writer_that_remembers_its_last_look(bool seeks) {
    for (enum lw_from from = seeks ? LW_FROM_OLDEST : LW_FROM_NOW; from <= LW_FROM_POSITION; from++)
        for (meanwhile = 100; meanwhile <= 3 * KE_RING; meanwhile += 3 * KE_RING - 100) {
            struct lw__place oldest;
            begin(3, 0);
            t_write_as(&knowing_before, &kl.live.lane, KE_WRITER);
            ke_write_laps(&knowing_before, 2 * KE_RING);
            assert_int_equal(lw__lane_oldest(&kl.live.lane, &oldest), 0);
            ke.from = from;
            ke.position = oldest.pos;
            meet(seeks ? be_reader_at_the_end : ke_be_nobody, seeks ? seek_and_tell : join_and_tell,
                 the_knowing_one_goes_on, is_seen);
            end();
            if (in_short()) return;
        }
}

static void one_joins_under_a_writer_that_remembers_its_last_look(void **state) {
    (void)state;
    t_need_ptrace();
    a_writer_that_remembers_its_last_look(false);
}

static void one_seeks_back_under_a_writer_that_remembers_its_last_look(void **state) {
    (void)state;
    t_need_ptrace();
    a_writer_that_remembers_its_last_look(true);
}

/* The other way round: the writer, which remembers, stops anywhere while it publishes. */
static void be_knowing_writer(void *arg) {
    ke_be_writer(arg);
    ke_write_laps(&ke.w, 2 * KE_RING);
}

static void send_until_full(void *arg) {
    (void)arg;
    told->rc = (int)ke_write_laps(&ke.w, 3 * KE_RING);
}

static struct lw__reader late;
static int late_rc;

static void join_meanwhile(void) {
    struct lw__place oldest;
    T_NEED(!lw__lane_oldest(&kl.live.lane, &oldest));
    late_rc = lw__reader_take(&late, &kl.live.lane, t_owner(KILL_HEIR, LW__SLOT_RELIABLE), &t_owners);
    if (!late_rc) late_rc = lw__reader_join(&late, ke.from, oldest.pos);
}

static void late_one_reads_all(struct t_step *step, bool more) {
    struct lw__place tail;
    if (more) t_step_finish(step);
    T_FITS(late_rc == 0);
    if (more) T_FITS(told->rc == LW_EFULL);
    T_SOUND_HERE(t_drain(&late, NULL));
    T_FITS(lw__lane_tail(&kl.live.lane, &tail) == 0 && late.rx.pos == tail.pos && late.rx.number == tail.number);
    lw__reader_leave(&late);
}

static void one_joins_while_a_writer_that_remembers_publishes(void **state) {
    (void)state;
    t_need_ptrace();
    for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++) {
        begin(3, 0);
        ke.from = from;
        meet(be_knowing_writer, send_until_full, join_meanwhile, late_one_reads_all);
        end();
        if (in_short()) return;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(death_while_coming_back_when_a_writer_has_gone_by),
        t_test(a_writer_goes_round_while_one_comes_back_in_place),
        t_test(a_writer_evicts_one_again_while_it_comes_back),
        t_test(the_slot_changes_hands_under_an_evictor),
        t_test(one_joins_under_a_writer_that_remembers_its_last_look),
        t_test(one_seeks_back_under_a_writer_that_remembers_its_last_look),
        t_test(one_joins_while_a_writer_that_remembers_publishes),
    };
    int failed = kill_as_tests(kill_evict_ops, 0);
    return cmocka_run_group_tests(tests, NULL, NULL) + failed;
}

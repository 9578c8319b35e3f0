/* SPDX-License-Identifier: MIT */
/*
 * lane/evict_step_test.c - eviction, coming back, and a writer's cached look, an instruction at a time: death anywhere,
 * and meetings where one stops after its n-th instruction while the other does all it wants.
 *
 * What is checked is a sum: what a durable reader's lives released, what the next one is told that it missed, and what
 * it still gets, are together all that was published. And no reader that is held ever sees a byte of another lap.
 */
#include <sys/mman.h>

#include "util/reader_util.h"
#include "util/step.h"

enum { CHILD = 1, WRITER = 2, HEIR = 3, OTHER = 4, RING = 4096, CAP = 1024, MOST = 6000 };

struct told {
    int rc;
    uint64_t pos, number, passed, owner;
};

static struct scene {
    struct t_lane live, copy;
    struct lw__lane mine; /* the child's mapping */
    struct lw__writer w;
    struct lw__reader r;
    struct told *told;
    struct lw__place old; /* the reader's place before */
    enum lw_from from;
    uint64_t position, released, n;
    unsigned policy, next;
    bool in_place;
    uint64_t outcomes[3];
} s;

/* Under sanitizers every operation has many times the instructions. */
static bool in_short(void) {
    return t_loops(20) == 1;
}

static void as_child(void) {
    s.mine = t_lane_map(&s.live, LW__WRITE);
}

static void begin(uint32_t slots, uint64_t age) {
    struct lw__lane_shape shape = {.ring = RING, .slots = slots, .start = 4 * RING, .evict_age = age};
    s = (struct scene){.live = t_lane_make_shaped(&shape), .copy = t_lane_make_shaped(&shape)};
    s.told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s.told != MAP_FAILED);
    s.policy = LW__SLOT_LAG;
}

static void end(void) {
    munmap(s.told, 4096);
    t_lane_end(&s.live);
    t_lane_end(&s.copy);
}

#define T_FITS(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) fail_msg("not after %" PRIu64 " instructions: %s", s.n, #condition);                         \
    } while (0)
#define T_SOUND_HERE(check)                                                                                            \
    do {                                                                                                               \
        const char *trouble = (check);                                                                                 \
        if (trouble) fail_msg("after %" PRIu64 " instructions: %s: %s", s.n, #check, trouble);                         \
    } while (0)

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int64_t write_laps(struct lw__writer *w, uint64_t bytes) {
    uint64_t end_at = w->tx.pos + bytes;
    int64_t rc = 0;
    while (w->tx.pos < end_at && rc >= 0) rc = t_send(w, 40 + w->tx.number % 5 * 8);
    return rc;
}

static void write_as_other(struct lw__lane *lane, uint64_t bytes) {
    struct lw__writer w;
    t_write_as(&w, lane, WRITER);
    write_laps(&w, bytes);
    lw__writer_leave(&w);
}

/* ---- durable reader "d" ------------------------------------------------------------------------------------------ */

static struct lw__slot *slot_of_d(struct lw__lane *lane) {
    return lw__slot_find(lane, "d");
}

/* It has released three messages, and was handed `held` more when it closed; then the writer went on. */
static void make_d(unsigned held, uint64_t bytes) {
    struct lw_msg m;
    write_as_other(&s.live.lane, RING + 500);
    t_lagging_as(&s.r, &s.live.lane, OTHER, CAP);
    lw__slot_make_durable(&s.r, "d");
    s.released = s.r.rx.number + 3;
    write_as_other(&s.live.lane, 800);
    for (int i = 0; i < 3; i++) T_NEED(t_copy_next(&s.r, &m) == 1);
    T_NEED(!t_copy_release(&s.r, &m));
    while (held--) T_NEED(t_copy_next(&s.r, &m) == 1);
    t_copy_leave(&s.r);
    write_as_other(&s.live.lane, bytes);
    assert_true(bytes < CAP || slot_of_d(&s.live.lane)->owner & LW__SLOT_EVICTED);
}

/* Whoever comes next of the name: what it is told and what it gets is all that was not released. */
static const char *d_adds_up(struct lw__lane *lane) {
    struct lw__reader r;
    struct t_seen seen = {0};
    struct lw__place tail;
    const char *trouble;
    if (!slot_of_d(lane)) return "the name is gone";
    int rc = t_copy_inherit(&r, lane, "d", HEIR, s.in_place ? 0 : LW__SLOT_LAG, s.in_place ? 0 : CAP);
    if (rc) return t_words("going on: %s", lw_errname(rc));
    if (lw__load(&r.slot->owner) != r.owner) return "it is not settled";
    uint64_t missed = lw__slot_missed(r.slot);
    if (r.rx.number - missed != s.released)
        return t_words("goes on at %" PRIu64 ", told of %" PRIu64 ", released before %" PRIu64, r.rx.number, missed,
                       s.released);
    trouble = s.in_place ? t_drain(&r, NULL) : t_copy_drain(&r, &seen);
    if (trouble) return trouble;
    if (seen.told) return "told twice at once";
    if ((trouble = t_at_rest(lane, &tail))) return trouble;
    if (r.rx.number != tail.number || r.rx.pos != tail.pos) return "it does not get to the end";
    lw__slot_free(r.slot, r.owner, t_owner(HEIR, 0));
    lw__reader_free_copies(&r);
    return NULL;
}

static const char *nothing_is_left(struct lw__lane *lane) {
    uint64_t number;
    struct lw__place tail;
    lw__lane_sweep(lane, t_owner(HEIR, 0), &t_aging_owners);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner) return t_words("slot %u was left behind: %" PRIx64, i, lane->slots[i].owner);
    if (lw__lane_tail(lane, &tail)) return "no tail";
    return t_goes_on(lane, HEIR, tail.number, tail.number, &number);
}

/* While no writer runs: what counts is not before horizon, or writers would wait for what is lost anyway. */
static const char *no_old_place_counts(struct lw__lane *lane) {
    struct lw__place place;
    const struct lw__slot *slot = slot_of_d(lane);
    if (!slot || slot->owner & LW__SLOT_EVICTED || !(slot->owner & LW__SLOT_RETURNING)) return NULL;
    if (!lw__cursor_load(&slot->cursor, &place)) return "no place";
    return place.pos < lane->ctl->horizon ? t_words("%" PRIu64 " counts", place.pos) : NULL;
}

/* The child is dead: on the copy. */
static const char *(*check_copy)(struct lw__lane *lane);

static bool quiet;

static const char *d_and_nothing_else(struct lw__lane *lane) {
    struct lw__lane_check check;
    const char *old = quiet ? no_old_place_counts(lane) : NULL;
    if (old) return old;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    const char *trouble = d_adds_up(lane);
    return trouble ? trouble : nothing_is_left(lane);
}

static const char *nobody(struct lw__lane *lane) {
    struct lw__lane_check check;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    return nothing_is_left(lane);
}

static void find_out(uint64_t n) {
    memcpy(s.copy.lane.base, s.live.lane.base, s.live.size);
    t_owner_set(CHILD, false);
    t_owner_set(OTHER, false);
    t_owner_set(WRITER, false);
    const char *trouble = check_copy(&s.copy.lane);
    t_owner_set(CHILD, true);
    t_owner_set(OTHER, true);
    t_owner_set(WRITER, true);
    if (trouble) fail_msg("death after %" PRIu64 "+%" PRIu64 " instructions: %s", s.n, n, trouble);
}

/* All the deaths from where the child is. */
static void each_death_from_here(struct t_step *step) {
    char *last = t_lane_save(&s.live);
    find_out(0);
    for (uint64_t n = 1; t_step_on(step); n++) {
        if (memcmp(s.live.lane.base, last, s.live.size) == 0) continue;
        memcpy(last, s.live.lane.base, s.live.size);
        find_out(n);
    }
    find_out(0);
    free(last);
}

static void each_death(void (*prepare)(void *), void (*operate)(void *), const char *(*check)(struct lw__lane *)) {
    char *before = t_lane_save(&s.live);
    struct t_step step = t_step_begin(prepare, operate, NULL);
    check_copy = check;
    s.n = 0;
    quiet = true;
    each_death_from_here(&step);
    quiet = false;
    t_step_end(&step);
    t_lane_restore(&s.live, before);
    free(before);
}

/* ---- death ------------------------------------------------------------------------------------------------------- */

static void be_nobody(void *arg) {
    (void)arg;
    as_child();
}

static void be_writer(void *arg) {
    be_nobody(arg);
    t_write_as(&s.w, &s.mine, CHILD);
}

static void send_some(void *arg) {
    (void)arg;
    for (int i = 0; i < 6; i++) T_NEED(t_send(&s.w, 40) >= 0);
}

static void inherit(void *arg) {
    (void)arg;
    T_NEED(!t_copy_inherit(&s.r, &s.mine, "d", CHILD, s.policy, s.policy ? CAP : 0));
}

/* Evicted a second time, with the child as its living owner that was handed some messages. */
static void be_d(void *arg) {
    struct lw_msg m;
    be_nobody(arg);
    inherit(arg);
    for (int i = 0; i < 2; i++) T_NEED(t_copy_next(&s.r, &m) == 1);
    write_as_other(&s.mine, s.position);
    T_NEED(lw__load(&s.r.slot->owner) & LW__SLOT_EVICTED);
}

static void come_back(void *arg) {
    struct lw_msg m;
    (void)arg;
    lw__reader_divert(&s.r); /* what was copied has been read */
    int rc = t_copy_next(&s.r, &m);
    T_NEED(rc == 1 || rc == LW_EEVICTED);
}

static void leave(void *arg) {
    (void)arg;
    lw__reader_leave(&s.r);
}

static void death_while_evicting(void **state) {
    (void)state;
    t_need_ptrace();
    begin(3, 0);
    make_d(0, 2000);
    struct lw__slot *d = slot_of_d(&s.live.lane);
    write_as_other(&s.live.lane, 0);
    d->owner &= ~(uint64_t)LW__SLOT_EVICTED; /* as it was before the last one looked */
    struct lw__place place;
    lw__cursor_load(&d->cursor, &place);
    assert_true(place.pos >= s.live.lane.ctl->horizon);
    each_death(be_writer, send_some, d_and_nothing_else);
    assert_int_equal(d->owner & LW__SLOT_EVICTED, 0);
    end();
}

static void death_while_an_heir_comes_back(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t behind[] = {1500, 3 * RING, RING - 1400};
    for (int i = 0; i < (in_short() ? 2 : 3); i++)
        for (unsigned held = 0; held < 2; held++)
            for (int in_place = 0; in_place < 2; in_place++) {
                if (in_short() && in_place == (int)held) continue;
                begin(3, 0);
                s.in_place = in_place;
                make_d(held * 5, behind[i]);
                s.policy = in_place ? 0 : LW__SLOT_LAG;
                each_death(be_nobody, inherit, d_and_nothing_else);
                end();
            }
}

/* The living one itself, with messages in its hands; and with an earlier loss that nobody was told for good. */
static void death_while_the_owner_comes_back(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t behind[] = {1500, 3 * RING, RING - 100};
    for (int i = 0; i < (in_short() ? 2 : 3); i++)
        for (int again = 0; again < (in_short() ? 1 : 2); again++) {
            begin(3, 0);
            make_d(0, again ? 3 * RING : 100);
            s.position = behind[i];
            each_death(be_d, come_back, d_and_nothing_else);
            if (!in_short()) each_death(be_d, leave, d_and_nothing_else);
            end();
        }
}

static void join_by_copy(void *arg) {
    (void)arg;
    T_NEED(!t_copy_join(&s.r, &s.mine, t_owner(CHILD, s.policy), CAP, s.from, s.position));
}

static void be_reader(void *arg) {
    be_nobody(arg);
    join_by_copy(arg);
}

static void be_evicted_reader(void *arg) {
    be_reader(arg);
    write_as_other(&s.mine, 2 * RING);
}

static void seek(void *arg) {
    (void)arg;
    T_NEED(!lw__reader_seek(&s.r, s.from, s.position, &t_owners));
}

static void death_while_readers_by_copy_come_and_go(void **state) {
    (void)state;
    t_need_ptrace();
    const unsigned kinds[] = {LW__SLOT_LOSSY, LW__SLOT_RELIABLE | LW__SLOT_LAG};
    for (int kind = 0; kind < 2; kind++)
        for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++) {
            begin(2, 0);
            struct lw__place oldest;
            write_as_other(&s.live.lane, 2 * RING);
            assert_int_equal(lw__lane_oldest(&s.live.lane, &oldest), 0);
            s.policy = kinds[kind];
            s.from = from;
            s.position = oldest.pos;
            each_death(be_nobody, join_by_copy, nobody);
            if (from == LW_FROM_NOW) each_death(be_evicted_reader, leave, nobody);
            if (from == LW_FROM_OLDEST || !in_short()) each_death(be_reader, seek, nobody);
            end();
            if (in_short()) break;
        }
}

/* Its place is the old one or the new one; nothing that it had not released is lost without a word. */
static const char *d_is_here_or_there(struct lw__lane *lane) {
    struct lw__lane_check check;
    struct lw__place place;
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    if (!lw__cursor_load(&slot_of_d(lane)->cursor, &place)) return "no place";
    bool is_old = place.pos == s.old.pos && place.number == s.old.number;
    s.released = place.number;
    if (!is_old && place.pos != s.position) return t_words("at %" PRIu64, place.pos);
    s.outcomes[is_old]++;
    const char *trouble = d_adds_up(lane);
    return trouble ? trouble : nothing_is_left(lane);
}

static void be_settled_d(void *arg) {
    be_nobody(arg);
    inherit(arg);
}

static void death_while_one_with_a_lag_seeks(void **state) {
    (void)state;
    t_need_ptrace();
    for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++)
        for (int evicted = 0; evicted < 2; evicted++) {
            struct lw__place oldest, tail;
            begin(4, 0);
            make_d(0, RING / 2);
            assert_int_equal(lw__lane_oldest(&s.live.lane, &oldest), 0);
            T_SOUND(t_at_rest(&s.live.lane, &tail));
            if (!evicted) write_as_other(&s.live.lane, 0);
            lw__cursor_load(&slot_of_d(&s.live.lane)->cursor, &s.old);
            s.from = from;
            s.position = from == LW_FROM_NOW ? tail.pos : oldest.pos;
            if (!evicted) slot_of_d(&s.live.lane)->owner &= ~(uint64_t)LW__SLOT_EVICTED;
            each_death(be_settled_d, seek, d_is_here_or_there);
            assert_true(s.outcomes[0] && s.outcomes[1]);
            end();
            if (in_short()) return;
        }
}

/* ---- meetings: coming back while a writer goes on ---------------------------------------------------------------- */

enum { POINTS = 250, WITH_DEATHS = 40 };

/* At all places of the operation, or a random choice if those are too many. */
static void meet_at(int64_t most, void (*prepare)(void *), void (*operate)(void *), void (*second)(void),
                    void (*check)(struct t_step *step, bool more)) {
    static struct t_point points[POINTS];
    char *before = t_lane_save(&s.live);
    uint64_t count = t_step_points(prepare, operate, NULL, MOST, points, (uint64_t)t_loops(most));
    for (uint64_t i = 0; i < count; i++) {
        t_lane_restore(&s.live, before);
        memset(s.told, 0, sizeof *s.told);
        s.n = points[i].n;
        struct t_step step = t_step_begin(prepare, operate, NULL);
        bool more = t_step_to(&step, &points[i]);
        second();
        check(&step, more);
        t_step_end(&step);
    }
    t_lane_restore(&s.live, before);
    free(before);
}

static void meet(void (*prepare)(void *), void (*operate)(void *), void (*second)(void),
                 void (*check)(struct t_step *step, bool more)) {
    meet_at(POINTS, prepare, operate, second, check);
}

static void tell(int rc) {
    *s.told = (struct told){.rc = rc,
                            .pos = s.r.rx.pos,
                            .number = s.r.rx.number,
                            .passed = s.r.passed,
                            .owner = lw__load(&s.r.slot->owner)};
}

static void inherit_and_tell(void *arg) {
    inherit(arg);
    tell(0);
}

static void come_back_and_tell(void *arg) {
    struct lw_msg m;
    (void)arg;
    uint64_t number = s.r.rx.number;
    lw__reader_divert(&s.r);
    int rc = t_copy_next(&s.r, &m);
    tell(rc);
    if (rc == 1) s.told->pos = m.position, s.told->number = m.number;
    s.told->passed = rc == 1 ? m.number - number : s.r.passed;
    s.told->owner = s.r.rx.number - number - (rc == 1); /* what it jumped over */
}

static void go_round(void) {
    write_as_other(&s.live.lane, 3 * RING);
}

/* Deaths after the writer went by, as well: the heir's sum is still right. */
static void dies_then(struct t_step *step, bool more) {
    check_copy = d_and_nothing_else;
    if (more) each_death_from_here(step);
    if (!more) find_out(0);
}

static void death_while_coming_back_when_a_writer_has_gone_by(void **state) {
    (void)state;
    t_need_ptrace();
    for (int in_place = 0; in_place < 2; in_place++) {
        begin(3, 0);
        make_d(2, RING / 2);
        s.in_place = in_place;
        s.policy = in_place ? 0 : LW__SLOT_LAG;
        meet_at(WITH_DEATHS, be_nobody, inherit, go_round, dies_then);
        end();
    }
}

/* In place: once it is back, writers wait for it, and it reads all. */
static void holds_all(struct t_step *step, bool more) {
    struct lw__reader r;
    struct lw__place tail;
    if (more) t_step_finish(step);
    struct lw__slot *slot = slot_of_d(&s.live.lane);
    T_FITS(lw__load(&slot->owner) == t_owner(CHILD, LW__SLOT_DURABLE));
    lw__reader_bind(&r, &s.live.lane, slot, slot->owner);
    T_FITS(lw__reader_resume(&r) == 0 && r.rx.pos == s.told->pos && r.rx.number == s.told->number);
    T_FITS(r.rx.number - lw__slot_missed(slot) == s.released);
    go_round(); /* as far as this reader lets it */
    T_SOUND_HERE(t_drain(&r, NULL));
    T_FITS(lw__lane_tail(&s.live.lane, &tail) == 0 && r.rx.pos == tail.pos && r.rx.number == tail.number);
    T_FITS(tail.pos - s.told->pos <= RING - 8);
}

static void a_writer_goes_round_while_one_comes_back_in_place(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t behind[] = {1500, 2 * RING};
    for (int i = 0; i < 2; i++) {
        begin(3, 0);
        make_d(0, behind[i]);
        s.policy = 0;
        meet(be_nobody, inherit_and_tell, go_round, holds_all);
        end();
    }
}

/* By copy: it may be evicted again at once; what it is told and gets is right. */
static void told_all(struct t_step *step, bool more) {
    if (more) t_step_finish(step);
    T_FITS(s.told->rc == 1 || s.told->rc == LW_EEVICTED);
    T_FITS(s.told->passed == s.told->owner && (s.told->rc == 1) == (s.told->passed == 0));
    struct lw__reader r = {.lane = NULL};
    struct t_seen seen = {0};
    struct lw__slot *slot = slot_of_d(&s.live.lane);
    T_NEED(!lw__reader_make_copies(&r));
    lw__reader_bind(&r, &s.live.lane, slot, t_owner(CHILD, LW__SLOT_DURABLE | LW__SLOT_LAG));
    T_FITS(lw__slot_settled(lw__load(&slot->owner)) == r.owner);
    r.rx.pos = s.told->pos;
    r.rx.number = s.told->number;
    r.rx.head = slot->cursor.pos & ~UINT64_C(7);
    T_SOUND_HERE(t_copy_drain(&r, &seen));
    struct lw__place tail;
    T_SOUND_HERE(t_at_rest(&s.live.lane, &tail));
    T_FITS(seen.messages + seen.lost == tail.number - s.told->number);
    lw__reader_free_copies(&r);
}

static void a_writer_evicts_one_again_while_it_comes_back(void **state) {
    (void)state;
    t_need_ptrace();
    const uint64_t behind[] = {1500, 2 * RING};
    for (int i = 0; i < 2; i++) {
        begin(3, 0);
        make_d(0, 100);
        s.position = behind[i];
        meet(be_d, come_back_and_tell, go_round, told_all);
        end();
    }
}

/* ---- meetings: the slot's next owner ----------------------------------------------------------------------------- */

static struct lw__reader laggard, successor;
static struct lw__reader laggard_before;

static void send_and_tell(void *arg) {
    (void)arg;
    s.told->rc = (int)t_send(&s.w, 40);
}

/* It leaves, and another one takes its slot. */
static void change_hands(void) {
    laggard = laggard_before;
    lw__reader_leave(&laggard);
    T_NEED(!t_copy_join(&successor, &s.live.lane, t_owner(HEIR, s.next), CAP, LW_FROM_NOW, 0));
    T_NEED(successor.index == laggard.index);
}

static void the_next_one_is_unharmed(struct t_step *step, bool more) {
    struct t_seen seen = {0};
    if (more) t_step_finish(step);
    T_FITS(s.told->rc >= 0 || s.told->rc == LW_EFULL);
    T_FITS(lw__load(&successor.slot->owner) == t_owner(HEIR, s.next));
    if (lw__slot_kind(s.next) != LW__SLOT_LOSSY && !(s.next & LW__SLOT_LAG))
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
            s.next = next[i];
            write_as_other(&s.live.lane, RING);
            t_lagging_as(&laggard_before, &s.live.lane, OTHER, CAP);
            write_as_other(&s.live.lane, CAP + 64);
            if (!evicted) laggard_before.slot->owner &= ~(uint64_t)LW__SLOT_EVICTED;
            meet(be_writer, send_and_tell, change_hands, the_next_one_is_unharmed);
            lw__reader_free_copies(&laggard_before);
            end();
            if (in_short()) return;
        }
}

/* ---- meetings: what a writer remembers --------------------------------------------------------------------------- */

static struct lw__writer knowing, knowing_before;

static void join_and_tell(void *arg) {
    (void)arg;
    s.r = (struct lw__reader){.lane = NULL};
    int rc = lw__reader_take(&s.r, &s.mine, t_owner(CHILD, LW__SLOT_RELIABLE), &t_owners);
    if (!rc) rc = lw__reader_join(&s.r, s.from, s.position);
    tell(rc);
}

static void be_reader_at_the_end(void *arg) {
    be_nobody(arg);
    t_read_as(&s.r, &s.mine, CHILD, LW_FROM_NOW, 0);
}

static void seek_and_tell(void *arg) {
    (void)arg;
    tell(lw__reader_seek(&s.r, s.from, s.position, &t_owners));
}

/* The same writer before and after, with what it remembers. It goes on by little, so that the joiner does not find out
 * by horizon alone. */
static uint64_t meanwhile;

static void the_knowing_one_goes_on(void) {
    knowing = knowing_before;
    write_laps(&knowing, meanwhile);
}

static void is_seen(struct t_step *step, bool more) {
    struct lw__reader r;
    struct lw__place tail;
    if (more) t_step_finish(step);
    write_laps(&knowing, 3 * RING);
    if (s.told->rc == LW_EPOSITION) return; /* it went by */
    T_FITS(s.told->rc == 0);
    struct lw__slot *slot = &s.live.lane.slots[0];
    T_FITS(lw__load(&slot->owner) == t_owner(CHILD, LW__SLOT_RELIABLE));
    lw__reader_bind(&r, &s.live.lane, slot, slot->owner);
    T_FITS(lw__reader_resume(&r) == 0 && r.rx.pos == s.told->pos && r.rx.number == s.told->number);
    T_SOUND_HERE(t_drain(&r, NULL));
    T_FITS(lw__lane_tail(&s.live.lane, &tail) == 0 && r.rx.pos == tail.pos && r.rx.number == tail.number);
}

static void a_writer_that_remembers_its_last_look(bool seeks) {
    for (enum lw_from from = seeks ? LW_FROM_OLDEST : LW_FROM_NOW; from <= LW_FROM_POSITION; from++)
        for (meanwhile = 100; meanwhile <= 3 * RING; meanwhile += 3 * RING - 100) {
            struct lw__place oldest;
            begin(3, 0);
            t_write_as(&knowing_before, &s.live.lane, WRITER);
            write_laps(&knowing_before, 2 * RING);
            assert_int_equal(lw__lane_oldest(&s.live.lane, &oldest), 0);
            s.from = from;
            s.position = oldest.pos;
            meet(seeks ? be_reader_at_the_end : be_nobody, seeks ? seek_and_tell : join_and_tell,
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
    be_writer(arg);
    write_laps(&s.w, 2 * RING);
}

static void send_until_full(void *arg) {
    (void)arg;
    s.told->rc = (int)write_laps(&s.w, 3 * RING);
}

static struct lw__reader late;
static int late_rc;

static void join_meanwhile(void) {
    struct lw__place oldest;
    T_NEED(!lw__lane_oldest(&s.live.lane, &oldest));
    late_rc = lw__reader_take(&late, &s.live.lane, t_owner(HEIR, LW__SLOT_RELIABLE), &t_owners);
    if (!late_rc) late_rc = lw__reader_join(&late, s.from, oldest.pos);
}

static void late_one_reads_all(struct t_step *step, bool more) {
    struct lw__place tail;
    if (more) t_step_finish(step);
    T_FITS(late_rc == 0);
    if (more) T_FITS(s.told->rc == LW_EFULL);
    T_SOUND_HERE(t_drain(&late, NULL));
    T_FITS(lw__lane_tail(&s.live.lane, &tail) == 0 && late.rx.pos == tail.pos && late.rx.number == tail.number);
    lw__reader_leave(&late);
}

static void one_joins_while_a_writer_that_remembers_publishes(void **state) {
    (void)state;
    t_need_ptrace();
    for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++) {
        begin(3, 0);
        s.from = from;
        meet(be_knowing_writer, send_until_full, join_meanwhile, late_one_reads_all);
        end();
        if (in_short()) return;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(death_while_evicting),
        t_test(death_while_an_heir_comes_back),
        t_test(death_while_the_owner_comes_back),
        t_test(death_while_readers_by_copy_come_and_go),
        t_test(death_while_one_with_a_lag_seeks),
        t_test(death_while_coming_back_when_a_writer_has_gone_by),
        t_test(a_writer_goes_round_while_one_comes_back_in_place),
        t_test(a_writer_evicts_one_again_while_it_comes_back),
        t_test(the_slot_changes_hands_under_an_evictor),
        t_test(one_joins_under_a_writer_that_remembers_its_last_look),
        t_test(one_seeks_back_under_a_writer_that_remembers_its_last_look),
        t_test(one_joins_while_a_writer_that_remembers_publishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * lane/meet_test.c - two at once, with chance taken out: one stops after its n-th instruction, the other does all it
 * wants, the first goes on. For every n, or for many where there are many. Joining and seeking against a writer that
 * gains room, both ways round; owners that want the same slot or the same lock. What both think in the end must fit
 * together, and no reader may see a byte of the next lap.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "util/lane_util.h"
#include "util/step.h"

enum { FIRST = 1, SECOND = 2, DEAD = 3, RING = 4096 };

/* What the first one tells, in memory that both have. */
struct told {
    int rc;
    uint64_t pos, number;
};

static struct meeting {
    struct t_lane lane;
    struct lw__lane mine; /* the first one's mapping */
    struct lw__writer w;
    struct lw__reader r;
    enum lw_from from;
    uint64_t position, tail, slots_before;
    struct told *told;
    uint64_t n; /* instructions before the second one's turn */
} m;

static const struct {
    uint32_t slots;
    uint64_t start;
} plain = {4, 0}, far = {3, (UINT64_C(1) << 62) - RING};

#define T_FITS(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) fail_msg("not after %" PRIu64 " instructions: %s", m.n, #condition);                         \
    } while (0)
#define T_SOUND_HERE(check)                                                                                            \
    do {                                                                                                               \
        const char *trouble = (check);                                                                                 \
        if (trouble) fail_msg("after %" PRIu64 " instructions: %s: %s", m.n, #check, trouble);                         \
    } while (0)

static void as_first(void) {
    m.mine = t_lane_map(&m.lane, LW__WRITE);
}

/* Sends until it is full, or three laps. */
static int64_t send_all_it_can(struct lw__writer *w) {
    uint64_t end = w->tx.pos + 3 * RING;
    int64_t rc = 0;
    while (w->tx.pos < end && rc >= 0) rc = t_send(w, 40 + w->tx.number % 5 * 8);
    return rc;
}

/* A lane that has gone round, with its writer gone. */
static void fill_lane(uint32_t slots, uint64_t start) {
    struct lw__writer w;
    m = (struct meeting){.lane = t_lane_make(RING, slots, start)};
    m.told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(m.told != MAP_FAILED);
    t_write_as(&w, &m.lane.lane, DEAD);
    send_all_it_can(&w);
    lw__writer_leave(&w);
}

static void end_lane(void) {
    munmap(m.told, 4096);
    t_lane_end(&m.lane);
}

/* Runs the meetings, at all places of the first `most` instructions, or a random choice if those are too many. */
static void meet(void (*prepare)(void *), void (*operate)(void *), void (*second)(void), void (*check)(void),
                 uint64_t most) {
    static struct t_point points[300];
    char *before = t_lane_save(&m.lane);
    uint64_t count = t_step_points(prepare, operate, NULL, most, points, (uint64_t)t_loops(300));
    for (uint64_t i = 0; i < count; i++) {
        t_lane_restore(&m.lane, before);
        memset(m.told, 0, sizeof *m.told);
        m.n = points[i].n;
        struct t_step step = t_step_begin(prepare, operate, NULL);
        bool more = t_step_to(&step, &points[i]);
        second();
        if (more) t_step_finish(&step);
        check();
        t_step_end(&step);
    }
    t_lane_restore(&m.lane, before);
    free(before);
}

/* ---- a reader joins, the writer goes round ----------------------------------------------------------------------- */

static void be_first(void *arg) {
    (void)arg;
    as_first();
}

static void join(void *arg) {
    (void)arg;
    m.told->rc = lw__reader_take(&m.r, &m.mine, t_owner(FIRST, LW__SLOT_RELIABLE), &t_owners);
    if (!m.told->rc) m.told->rc = lw__reader_join(&m.r, m.from, m.position);
    m.told->pos = m.r.rx.pos;
    m.told->number = m.r.rx.number;
}

static void write_on(void) {
    struct lw__writer w;
    t_write_as(&w, &m.lane.lane, SECOND);
    send_all_it_can(&w);
    lw__writer_leave(&w);
}

/* Reads on at a place that a reader has; then it is given up. */
static void read_from(uint32_t index, uint64_t pos, uint64_t number) {
    struct lw__reader r;
    struct lw__place place, tail;
    struct lw__slot *slot = &m.lane.lane.slots[index];
    T_FITS(slot->owner && lw__cursor_load(&slot->cursor, &place));
    T_FITS(place.pos == pos && place.number == number);
    lw__reader_bind(&r, &m.lane.lane, slot, slot->owner);
    T_FITS(lw__reader_resume(&r) == 0);
    write_on(); /* as far as this reader lets it */
    T_SOUND_HERE(t_drain(&r, NULL));
    T_FITS(lw__lane_tail(&m.lane.lane, &tail) == 0);
    T_FITS(r.rx.pos == tail.pos && r.rx.number == tail.number);
}

static void what_joined_reads_all(void) {
    if (m.from == LW_FROM_POSITION && m.told->rc == LW_EPOSITION) return; /* the position went by */
    T_FITS(m.told->rc == 0);
    if (m.from == LW_FROM_POSITION) T_FITS(m.told->pos == m.position);
    read_from(0, m.told->pos, m.told->number);
    T_SOUND_HERE(t_at_rest(&m.lane.lane, NULL));
}

static void a_writer_goes_round_while_somebody_joins(void **state) {
    (void)state;
    t_need_ptrace();
    for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++) {
        struct lw__place oldest;
        fill_lane(from == LW_FROM_NOW ? plain.slots : far.slots, from == LW_FROM_NOW ? plain.start : far.start);
        m.from = from;
        assert_int_equal(lw__lane_oldest(&m.lane.lane, &oldest), 0);
        uint64_t header, size;
        assert_int_equal(lw__record_at(&m.lane.lane, oldest.pos, &header, &size), 1);
        m.position = oldest.pos + size; /* near the horizon */
        meet(be_first, join, write_on, what_joined_reads_all, 4000);
        end_lane();
    }
}

/* ---- the writer gains room, a reader joins ----------------------------------------------------------------------- */

static void be_writer(void *arg) {
    (void)arg;
    as_first();
    t_write_as(&m.w, &m.mine, FIRST);
}

static void send_all(void *arg) {
    (void)arg;
    m.told->rc = (int)send_all_it_can(&m.w);
}

static struct lw__reader late;
static int late_rc;

static void join_meanwhile(void) {
    late_rc = lw__reader_take(&late, &m.lane.lane, t_owner(SECOND, LW__SLOT_RELIABLE), &t_owners);
    if (!late_rc) late_rc = lw__reader_join(&late, m.from, m.position);
    if (late_rc) lw__reader_leave(&late);
}

static void late_one_reads_all(void) {
    struct lw__place tail;
    if (m.from == LW_FROM_POSITION && late_rc == LW_EPOSITION) return;
    T_FITS(late_rc == 0 && m.told->rc == LW_EFULL); /* it was held back, by the late one */
    T_SOUND_HERE(t_drain(&late, NULL));
    T_FITS(lw__lane_tail(&m.lane.lane, &tail) == 0);
    T_FITS(late.rx.pos == tail.pos && late.rx.number == tail.number);
    T_SOUND_HERE(t_at_rest(&m.lane.lane, NULL));
}

static void somebody_joins_while_a_writer_gains_room(void **state) {
    (void)state;
    t_need_ptrace();
    for (enum lw_from from = LW_FROM_NOW; from <= LW_FROM_POSITION; from++) {
        struct lw__place oldest;
        fill_lane(far.slots, far.start);
        m.from = from;
        assert_int_equal(lw__lane_oldest(&m.lane.lane, &oldest), 0);
        m.position = oldest.pos;
        meet(be_writer, send_all, join_meanwhile, late_one_reads_all, 400); /* the first message or two */
        end_lane();
    }
}

/* At any instruction of a publish the lane is sound to whoever looks. */
static void look_meanwhile(void) {
    struct lw__lane_check check;
    struct lw__lane eye = t_lane_map(&m.lane, LW__LOOK);
    if (lw__lane_verify(&eye, &check))
        fail_msg("after %" PRIu64 " instructions: verify at %" PRIu64 ": %s", m.n, check.bad, check.what);
    lw__lane_unmap(&eye);
}

static void is_sound(void) {
    T_SOUND_HERE(t_at_rest(&m.lane.lane, NULL));
}

static void somebody_looks_while_a_message_is_sent(void **state) {
    (void)state;
    t_need_ptrace();
    fill_lane(plain.slots, plain.start);
    meet(be_writer, send_all, look_meanwhile, is_sound, 1500);
    end_lane();
}

/* ---- a reader releases, the writer wants the room ---------------------------------------------------------------- */

static void be_slow_reader(void *arg) {
    struct lw_msg msg;
    (void)arg;
    as_first();
    t_read_as(&m.r, &m.mine, FIRST, LW_FROM_OLDEST, 0);
    for (int i = 0; i < 3; i++) T_NEED(t_next(&m.r, &msg) == 1);
}

static void release_three(void *arg) {
    struct lw_msg msg;
    (void)arg;
    m.r.rx.pos = m.r.rx.head;
    m.r.rx.number -= 3;
    for (int i = 0; i < 3; i++) T_NEED(t_next(&m.r, &msg) == 1 && t_fits(&msg) && !t_release(&m.r, &msg));
    m.told->pos = m.r.rx.pos;
    m.told->number = m.r.rx.number;
}

static void what_is_not_released_is_there(void) {
    T_FITS(m.told->pos);
    read_from(0, m.told->pos, m.told->number);
}

static void a_writer_takes_what_is_released_and_no_more(void **state) {
    (void)state;
    t_need_ptrace();
    fill_lane(1, 0);
    meet(be_slow_reader, release_three, write_on, what_is_not_released_is_there, 1000);
    end_lane();
}

/* ---- a length changes while it is read -------------------------------------------------------------------------- */

static void be_at_the_start(void *arg) {
    (void)arg;
    as_first();
    lw__reader_bind(&m.r, &m.mine, &m.mine.slots[0], t_owner(FIRST, LW__SLOT_RELIABLE));
    m.r.rx.pos = m.r.rx.head = m.position;
}

static void tell(int rc, const struct lw_msg *msg) {
    *m.told = (struct told){.rc = rc, .pos = msg->next - msg->position, .number = msg->len};
}

static void read_it(void *arg) {
    struct lw_msg msg = {.len = 0};
    (void)arg;
    tell(lw__reader_next(&m.r, &msg), &msg);
}

static void read_it_inline(void *arg) {
    struct lw_msg msg = {.len = 0};
    (void)arg;
    tell(lw_sub_next((struct lw_sub *)(void *)&m.r, &msg, 0), &msg);
}

static void set_length(uint64_t len) {
    uint64_t *word = (uint64_t *)(void *)(m.lane.lane.data + (m.position & m.lane.lane.mask));
    lw__store(word, lw__header(len, 1, LW__COMMITTED));
}

static void make_it_impossible(void) {
    set_length(UINT32_MAX - 100);
}

static void make_it_longer(void) {
    set_length(80);
}

/* The length that was checked is the one that is handed out, and goes with where the next one begins. */
static void one_length_or_refused(void) {
    if (m.told->rc == LW_ECORRUPT) return;
    T_FITS(m.told->rc == 1 && (m.told->number == 40 || m.told->number == 80));
    T_FITS(m.told->pos == lw__record_size(m.told->number));
}

static void pitfall_1_a_length_changes_while_it_is_read(void **state) {
    (void)state;
    t_need_ptrace();
    fill_lane(1, 0);
    m.position = RING;
    set_length(40);
    meet(be_at_the_start, read_it, make_it_impossible, one_length_or_refused, 1000);
    meet(be_at_the_start, read_it_inline, make_it_longer, one_length_or_refused, 1000);
    end_lane();
}

/* ---- seeking ----------------------------------------------------------------------------------------------------- */

/* A reader near the end of the log, in a slot before or after the one that seeking will borrow. */
static void reader_at_the_end(struct lw__reader *r, struct lw__lane *lane, unsigned id) {
    struct lw__reader ahead;
    if (m.slots_before) t_read_as(&ahead, lane, id, LW_FROM_NOW, 0);
    t_read_as(r, lane, id, LW_FROM_NOW, 0);
    if (m.slots_before) lw__reader_leave(&ahead);
}

static void be_seeker(void *arg) {
    (void)arg;
    as_first();
    reader_at_the_end(&m.r, &m.mine, FIRST);
}

static void seek_back(void *arg) {
    (void)arg;
    m.told->rc = lw__reader_seek(&m.r, LW_FROM_OLDEST, 0, &t_owners);
    m.told->pos = m.r.rx.pos;
    m.told->number = m.r.rx.number;
}

static void the_seeker_reads_all(void) {
    T_FITS(m.told->rc == 0);
    read_from((uint32_t)m.slots_before, m.told->pos, m.told->number);
}

static void a_writer_goes_round_while_somebody_seeks_back(void **state) {
    (void)state;
    t_need_ptrace();
    for (uint64_t before = 0; before < 2; before++) {
        fill_lane(3, 0);
        m.slots_before = before;
        meet(be_seeker, seek_back, write_on, the_seeker_reads_all, 4000);
        end_lane();
    }
}

static struct lw__reader seeker, seeker_before;

static void seek_meanwhile(void) {
    seeker = seeker_before;
    late_rc = lw__reader_seek(&seeker, LW_FROM_OLDEST, 0, &t_owners);
}

static void the_late_seeker_reads_all(void) {
    T_FITS(late_rc == 0 && m.told->rc == LW_EFULL);
    T_SOUND_HERE(t_drain(&seeker, NULL));
    T_SOUND_HERE(t_at_rest(&m.lane.lane, NULL));
}

static void somebody_seeks_back_while_a_writer_gains_room(void **state) {
    (void)state;
    t_need_ptrace();
    for (uint64_t before = 0; before < 2; before++) {
        fill_lane(3, 0);
        m.slots_before = before;
        reader_at_the_end(&seeker_before, &m.lane.lane, SECOND);
        meet(be_writer, send_all, seek_meanwhile, the_late_seeker_reads_all, 500);
        end_lane();
    }
}

/* Three steps: the seeker holds the new place, with the slot that it borrowed; the writer needs room just up to there,
 * rounds the horizon up over it, and looks at some of the slots; the seeker moves its own place there and gives the
 * other slot up. The place must be seen in one of the two. */
static bool has_moved(void) {
    return lw__load(&m.lane.lane.slots[m.slots_before].cursor.pos) >> 3 != m.tail >> 3;
}

static void be_other_writer(void *arg) {
    (void)arg;
    as_first();
    t_write_as(&m.w, &m.mine, SECOND);
}

static void send_up_to_there_and_on(void *arg) {
    (void)arg;
    int64_t rc = t_send(&m.w, m.position + RING - 8 - m.tail - 8);
    while (rc >= 0) rc = t_send(&m.w, 0);
    m.told[1].rc = (int)rc;
}

/* A lane whose oldest record does not begin a segment, and is not yet in the way of the next message. */
static void fill_lane_for_crossing(uint64_t before) {
    struct lw__place oldest, tail;
    struct lw__writer w;
    fill_lane(3, 0);
    t_write_as(&w, &m.lane.lane, DEAD);
    do {
        assert_ok(t_send(&w, 48));
        assert_int_equal(lw__lane_oldest(&m.lane.lane, &oldest), 0);
        T_SOUND(t_at_rest(&m.lane.lane, &tail));
    } while (oldest.pos % (RING / 64) == 0 || oldest.pos + RING - 8 < tail.pos + 8);
    lw__writer_leave(&w);
    m.position = oldest.pos;
    m.tail = tail.pos;
    m.slots_before = before;
}

static void cross(const struct t_point *hold, const struct t_point *look) {
    struct t_step seeking = t_step_begin(be_seeker, seek_back, NULL);
    assert_true(t_step_to(&seeking, hold));
    struct t_step writing = t_step_begin(be_other_writer, send_up_to_there_and_on, NULL);
    assert_true(t_step_to(&writing, look));
    t_step_finish(&seeking);
    t_step_finish(&writing);
    t_step_end(&writing);
    t_step_end(&seeking);
    T_FITS(m.told[1].rc == LW_EFULL);
    lw__store(&m.lane.lane.ctl->lock, 0); /* the writer's end was not an orderly one */
    the_seeker_reads_all();
}

static void a_writer_looks_at_slots_while_a_seeker_changes_them(void **state) {
    static struct t_point looks[300];
    (void)state;
    t_need_ptrace();
    for (uint64_t before = 0; before < (t_loops(20) > 1 ? 2 : 1); before++) {
        fill_lane_for_crossing(before);
        char *bytes = t_lane_save(&m.lane);
        struct t_point hold = t_step_before(be_seeker, seek_back, NULL, has_moved);
        t_lane_restore(&m.lane, bytes);
        struct t_step seeking = t_step_begin(be_seeker, seek_back, NULL);
        assert_true(t_step_to(&seeking, &hold));
        uint64_t count =
            t_step_points(be_other_writer, send_up_to_there_and_on, NULL, 500, looks, (uint64_t)t_loops(300));
        t_step_end(&seeking);
        for (uint64_t i = 0; i < count; i++) {
            m.n = looks[i].n;
            t_lane_restore(&m.lane, bytes);
            cross(&hold, &looks[i]);
        }
        free(bytes);
        end_lane();
    }
}

/* ---- two who want the same --------------------------------------------------------------------------------------- */

static void join_now_meanwhile(void) {
    late_rc = lw__reader_take(&late, &m.lane.lane, t_owner(SECOND, LW__SLOT_RELIABLE), &t_owners);
    if (!late_rc) late_rc = lw__reader_join(&late, LW_FROM_NOW, 0);
}

/* Who got the slot has its place there, whatever the one before still did. */
static void the_new_owner_keeps_its_place(void) {
    struct lw__place place;
    if (late_rc == LW_ENOSLOT) return;
    T_FITS(late_rc == 0 && late.slot->owner == t_owner(SECOND, LW__SLOT_RELIABLE));
    T_FITS(lw__cursor_load(&late.slot->cursor, &place));
    T_FITS(place.pos == late.rx.pos && place.number == late.rx.number);
}

static void be_reader(void *arg) {
    (void)arg;
    as_first();
    t_read_as(&m.r, &m.mine, FIRST, LW_FROM_NOW, 0);
}

static void leave(void *arg) {
    (void)arg;
    lw__reader_leave(&m.r);
}

static void sweep(void *arg) {
    (void)arg;
    lw__lane_sweep(&m.mine, t_owner(FIRST, 0), &t_owners);
}

static void somebody_takes_a_slot_that_is_being_left(void **state) {
    (void)state;
    t_need_ptrace();
    fill_lane(1, 0);
    meet(be_reader, leave, join_now_meanwhile, the_new_owner_keeps_its_place, 1000);
    end_lane();
}

static void somebody_takes_a_slot_that_is_being_swept(void **state) {
    struct lw__reader dead;
    (void)state;
    t_need_ptrace();
    fill_lane(1, 0);
    t_read_as(&dead, &m.lane.lane, DEAD, LW_FROM_NOW, 0);
    t_owner_set(DEAD, false);
    meet(be_first, sweep, join_now_meanwhile, the_new_owner_keeps_its_place, 1000);
    t_owner_set(DEAD, true);
    end_lane();
}

static void one_of_two_has_it(void) {
    T_FITS((m.told->rc == 0) != (late_rc == 0));
    uint64_t winner = m.lane.lane.slots[0].owner;
    T_FITS(winner == t_owner(late_rc ? FIRST : SECOND, lw__slot_kind(winner)));
}

static void two_want_the_last_slot(void **state) {
    (void)state;
    t_need_ptrace();
    fill_lane(1, 0);
    m.from = LW_FROM_NOW;
    meet(be_first, join, join_now_meanwhile, one_of_two_has_it, 1000);
    end_lane();
}

static int inherit_it(struct lw__lane *lane, struct lw__reader *r, unsigned id) {
    uint64_t holder;
    return lw__slot_inherit(r, lane, &lane->slots[0], t_owner(id, LW__SLOT_DURABLE), &t_owners, &holder);
}

static void inherit(void *arg) {
    (void)arg;
    m.told->rc = inherit_it(&m.mine, &m.r, FIRST);
}

static void inherit_meanwhile(void) {
    late_rc = inherit_it(&m.lane.lane, &late, SECOND);
}

static void two_inherit_one_durable_place(void **state) {
    struct lw__reader dead;
    (void)state;
    t_need_ptrace();
    fill_lane(2, 0);
    t_durable_as(&dead, &m.lane.lane, DEAD, "d", LW_FROM_NOW);
    t_owner_set(DEAD, false);
    meet(be_first, inherit, inherit_meanwhile, one_of_two_has_it, 1000);
    t_owner_set(DEAD, true);
    end_lane();
}

static void take_the_lock(void *arg) {
    (void)arg;
    m.told->rc = lw__writer_take(&m.w, &m.mine, t_owner(FIRST, 0), &t_owners);
}

static void take_meanwhile(void) {
    struct lw__writer w;
    late_rc = lw__writer_take(&w, &m.lane.lane, t_owner(SECOND, 0), &t_owners);
    T_FITS(late_rc == 0 || (late_rc == LW_EWRITER && w.holder == t_owner(FIRST, 0)));
}

static void one_of_two_writes(void) {
    T_FITS((m.told->rc == 0) != (late_rc == 0));
    T_FITS(m.lane.lane.ctl->lock == t_owner(late_rc ? FIRST : SECOND, 0));
    T_SOUND_HERE(t_at_rest(&m.lane.lane, NULL));
}

/* Pitfall 23 once more: after a death, and after an orderly end. */
static void two_take_over_one_dead_writer(void **state) {
    (void)state;
    t_need_ptrace();
    for (int orderly = 0; orderly < 2; orderly++) {
        struct lw__writer w;
        fill_lane(1, 0);
        t_write_as(&w, &m.lane.lane, DEAD);
        assert_ok(t_send(&w, 100));
        if (orderly) lw__writer_leave(&w);
        t_owner_set(DEAD, false);
        meet(be_first, take_the_lock, take_meanwhile, one_of_two_writes, 1000);
        t_owner_set(DEAD, true);
        end_lane();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_writer_goes_round_while_somebody_joins),
        t_test(somebody_joins_while_a_writer_gains_room),
        t_test(somebody_looks_while_a_message_is_sent),
        t_test(a_writer_takes_what_is_released_and_no_more),
        t_test(pitfall_1_a_length_changes_while_it_is_read),
        t_test(a_writer_goes_round_while_somebody_seeks_back),
        t_test(somebody_seeks_back_while_a_writer_gains_room),
        t_test(a_writer_looks_at_slots_while_a_seeker_changes_them),
        t_test(somebody_takes_a_slot_that_is_being_left),
        t_test(somebody_takes_a_slot_that_is_being_swept),
        t_test(two_want_the_last_slot),
        t_test(two_inherit_one_durable_place),
        t_test(two_take_over_one_dead_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

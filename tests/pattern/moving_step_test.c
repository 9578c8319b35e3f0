/* SPDX-License-Identifier: MIT */
/*
 * A topic's file is replaced while somebody opens, seeks, follows or closes; or is itself about to be removed. One stops after its n-th
 * instruction, the other does all it wants, the first goes on: for many n. However they meet, each subscriber has one slot in
 * the file at the path as long as it is there, and none afterwards.
 *
 * Both are nodes of their own. The first one is a child that lives on while what it left is looked at: its own leftovers would
 * be those of a living process, which nobody may take away.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/step.h"
#include "util/topic_util.h"

enum { BIG = 256 << 10, SMALL = 128 << 10, POINTS = 250, MOST = 60000 };

static struct {
    const char *dir;
    struct lw_bus *bus;   /* the second one's */
    struct lw_bus *first; /* the first one's, in the child */
    struct lw_sub *sub;
    int *told; /* the first one's result, in memory that both have */
    uint64_t n;
} m;

#define T_FITS(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) fail_msg("not after %" PRIu64 " instructions: %s", m.n, #condition);                         \
    } while (0)

static int create(struct lw_bus *bus, uint64_t ring, uint32_t slots) {
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = ring;
    shape.slots = slots;
    return lw_topic_create(bus, "t", &shape);
}

static void meet(void (*prepare)(void *), void (*operate)(void *), void (*second)(void), void (*check)(void)) {
    static struct t_point points[POINTS];
    assert_ok(create(m.bus, TT_RING, 4));
    uint64_t most = t_loops(POINTS) == POINTS ? MOST : MOST / 4; /* sanitizers make steps many, and slow */
    uint64_t count = t_step_points(prepare, operate, NULL, most, points, (uint64_t)t_loops(POINTS));
    lw_topic_remove(m.bus, "t", LW_REMOVE_FORCE);
    for (uint64_t i = 0; i < count; i++) {
        *m.told = 0;
        m.n = points[i].n;
        assert_ok(create(m.bus, TT_RING, 4));
        struct t_step step = t_step_begin(prepare, operate, NULL);
        bool more = t_step_to(&step, &points[i]);
        second();
        if (more) t_step_finish(&step);
        check();
        t_step_end(&step);
        lw_topic_remove(m.bus, "t", LW_REMOVE_FORCE);
    }
}

static void begin(void **state) {
    m.dir = *state;
    m.bus = tt_bus(m.dir, "second");
    m.told = mmap(NULL, sizeof *m.told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_NEED(m.told != MAP_FAILED);
}

static void end(void) {
    munmap(m.told, sizeof *m.told);
    assert_ok(lw_bus_close(m.bus));
}

/* ---- what the first one does ------------------------------------------------------------------------------------- */

static void join_bus(void *arg) {
    (void)arg;
    m.first = tt_bus(m.dir, "first");
}

static void join_and_open(void *arg) {
    join_bus(arg);
    T_NEED(!lw_sub_open(&m.sub, m.first, "t", NULL));
}

static void join_open_and_reshape(void *arg) {
    join_and_open(arg);
    T_NEED(!create(m.first, BIG, 0));
}

static void open_at_no_record(void *arg) {
    (void)arg;
    *m.told = tt_sub_open(&m.sub, m.first, "t", NULL, LW_FROM_POSITION, 8);
}

static void open_now(void *arg) {
    (void)arg;
    *m.told = lw_sub_open(&m.sub, m.first, "t", NULL);
}

static void close_it(void *arg) {
    (void)arg;
    lw_sub_close(m.sub);
}

static void seek_back(void *arg) {
    (void)arg;
    *m.told = lw_sub_seek(m.sub, LW_FROM_OLDEST, 0);
}

static void follow(void *arg) {
    struct lw_msg msg;
    (void)arg;
    *m.told = lw_sub_next(m.sub, &msg, 0);
}

static void remove_it(void *arg) {
    (void)arg;
    *m.told = lw_topic_remove(m.first, "t", LW_REMOVE_FORCE);
}

static void forget_it(void *arg) {
    (void)arg;
    *m.told = lw_topic_forget(m.first, "t", "name");
}

static void reshape_to_one_slot(void *arg) {
    (void)arg;
    *m.told = create(m.first, BIG, 1);
}

/* ---- what the second one does meanwhile -------------------------------------------------------------------------- */

/* The first one is inside: whoever needs the lock as well would wait for it in vain. */
static bool first_has_the_lock(void) {
    char path[TT_PATH];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = open(tt_lane(path, m.dir, "t"), O_RDWR | O_CLOEXEC);
    if (fd < 0) return true; /* there is nothing any more */
    T_NEED(fcntl(fd, F_OFD_GETLK, &lock) == 0);
    close(fd);
    return lock.l_type != F_UNLCK;
}

static void reshape(void) {
    if (!first_has_the_lock()) assert_ok(create(m.bus, SMALL, 0));
}

static struct lw_sub *late;

/* Not while the new file is being made: opening waits for that. */
static void open_late(void) {
    char path[TT_PATH];
    uint64_t superseded;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    late = NULL;
    assert_ok(lw_topic_stat(m.bus, "t", &info));
    tt_peek(tt_lane(path, m.dir, "t"), TT_LANE_SUPERSEDED, &superseded, sizeof superseded);
    if (!superseded && info.slots > 1) assert_ok(lw_sub_open(&late, m.bus, "t", NULL));
}

/* ---- and what must be true then ---------------------------------------------------------------------------------- */

static int count_reader(const struct lw_reader_info *reader, void *user) {
    (void)reader;
    ++*(int *)user;
    return 0;
}

static int readers(void) {
    int n = 0;
    int rc = lw_topic_readers(m.bus, "t", count_reader, &n);
    return rc ? rc : n;
}

static void nobody_is_left(void) {
    T_FITS(readers() == 0);
}

static void open_failed_and_left_nobody(void) {
    T_FITS(*m.told == LW_EPOSITION);
    T_FITS(readers() == 0);
}

static void one_is_there(void) {
    T_FITS(*m.told == 0 || *m.told == LW_EEMPTY);
    T_FITS(readers() == 1);
}

static void it_is_removed(void) {
    T_FITS(*m.told == 0);
    T_FITS(readers() == LW_ENOTOPIC);
}

static void both_have_their_slots(void) {
    struct lw_msg msg;
    T_FITS(*m.told == (late ? LW_ESHAPE : 0));
    T_FITS(readers() == (late ? 2 : 1));
    if (!late) return;
    T_FITS(lw_sub_next(late, &msg, LW_MS(1)) == LW_EEMPTY);
    lw_sub_close(late);
}

/* ---- meetings ---------------------------------------------------------------------------------------------------- */

static void reshaped_while_somebody_opens(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_bus, open_now, reshape, one_is_there);
    end();
}

/* It has a place for a moment before it finds out that there is no such position. */
static void reshaped_while_somebody_opens_in_vain(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_bus, open_at_no_record, reshape, open_failed_and_left_nobody);
    end();
}

static void reshaped_while_somebody_closes(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_and_open, close_it, reshape, nobody_is_left);
    end();
}

/* The copy that it frees has been copied once more by then. */
static void reshaped_again_while_somebody_closes(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_open_and_reshape, close_it, reshape, nobody_is_left);
    end();
}

static void reshaped_while_somebody_seeks(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_and_open, seek_back, reshape, one_is_there);
    end();
}

static void reshaped_again_while_somebody_follows(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_open_and_reshape, follow, reshape, one_is_there);
    end();
}

/* There is no slot for it in the new file. */
static void somebody_opens_while_it_gets_fewer_slots(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_and_open, reshape_to_one_slot, open_late, both_have_their_slots);
    end();
}

/* What is removed is the topic, not the file that it had when the call began. */
static void reshaped_while_it_is_removed(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_bus, remove_it, reshape, it_is_removed);
    end();
}

static void join_and_leave_a_name(void *arg) {
    join_bus(arg);
    T_NEED(!tt_sub_open(&m.sub, m.first, "t", "name", LW_FROM_NOW, 0));
    lw_sub_close(m.sub);
}

static void reshaped_while_a_name_is_forgotten(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_and_leave_a_name, forget_it, reshape, nobody_is_left);
    end();
}

/* ---- opening while somebody tidies ------------------------------------------------------------------------------- */

/* A dead publisher's word; this node never had so many lives. */
static void join_after_a_death(void *arg) {
    char path[TT_PATH];
    uint64_t dead = UINT64_C(1000) << 32 | UINT64_C(1) << 16;
    join_bus(arg);
    tt_poke(tt_lane(path, m.dir, "t"), 4096, &dead, sizeof dead);
}

static void clean_it(void *arg) {
    (void)arg;
    *m.told = lw_bus_clean(m.first, NULL);
}

static int published;

static void publish(void) {
    struct lw_pub *pub;
    published = 0;
    if (first_has_the_lock()) return;
    published = lw_pub_open(&pub, m.bus, "t", NULL);
    lw_pub_close(pub);
}

static void publishing_was_possible(void) {
    T_FITS(*m.told == 0 && published == 0);
}

/* Who takes the dead one's place back has it for a moment, and says so by the lock. */
static void somebody_publishes_while_it_is_cleaned(void **state) {
    t_need_ptrace();
    begin(state);
    meet(join_after_a_death, clean_it, publish, publishing_was_possible);
    end();
}

/* ---- a stopped one ----------------------------------------------------------------------------------------------- */

static bool is_superseded(void) {
    char path[TT_PATH];
    uint64_t superseded;
    tt_peek(tt_lane(path, m.dir, "t"), TT_LANE_SUPERSEDED, &superseded, sizeof superseded);
    return superseded != 0;
}

/* It has said that it will remove the topic, and has its lock. Who publishes and reads goes on without waiting for it. */
static void a_remover_that_stops_in_the_middle_stops_nobody(void **state) {
    t_need_ptrace();
    begin(state);
    assert_ok(create(m.bus, TT_RING, 4));
    struct lw_sub *sub = tt_sub(m.bus, "t", NULL, LW_FROM_NOW);
    struct lw_pub *pub = tt_pub(m.bus, "t");
    struct lw_msg msg;
    struct t_step step = t_step_begin(join_bus, remove_it, NULL);
    do T_NEED(t_step_on(&step));
    while (!is_superseded());
    int64_t start = t_now();
    for (uint64_t n = 0; n < 2000; n++) {
        assert_ok(tt_send(pub, n, 0));
        assert_true(tt_gets(sub, n, 1));
        assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    }
    uint64_t full = tt_send_all(pub, 2000);
    for (int i = 0; i < 300; i++) assert_int_equal(tt_send(pub, full, 0), LW_EFULL);
    assert_true(tt_gets(sub, 2000, full - 2000));
    for (int i = 0; i < 600; i++) assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    assert_int_equal(lw_sub_next(sub, &msg, LW_MS(1)), LW_EEMPTY);
    assert_true(t_now() - start < LW_SEC(4)); /* who opens waits 5 s; all this takes some 10 ms */
    t_step_finish(&step);
    assert_int_equal(*m.told, 0);
    assert_int_equal(lw_sub_next(sub, &msg, LW_SEC(20)), LW_ECLOSED);
    int64_t rc = 0;
    for (uint64_t n = 0; n < 1000 && rc >= 0; n++) rc = tt_send(pub, n, 0);
    assert_int_equal(rc, LW_ECLOSED);
    t_step_end(&step);
    lw_sub_close(sub);
    lw_pub_close(pub);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(reshaped_while_somebody_opens),
        t_test(reshaped_while_somebody_opens_in_vain),
        t_test(reshaped_while_somebody_closes),
        t_test(reshaped_again_while_somebody_closes),
        t_test(reshaped_while_somebody_seeks),
        t_test(reshaped_again_while_somebody_follows),
        t_test(somebody_opens_while_it_gets_fewer_slots),
        t_test(reshaped_while_it_is_removed),
        t_test(reshaped_while_a_name_is_forgotten),
        t_test(somebody_publishes_while_it_is_cleaned),
        t_test(a_remover_that_stops_in_the_middle_stops_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

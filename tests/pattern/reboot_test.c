/* SPDX-License-Identifier: MIT */
/*
 * Topics on a disk, and the first use after the machine started again: a file that was closed in order goes on, another
 * one starts anew, and its durable subscribers are told what they lost.
 *
 * A reboot is played by writing another boot id into the files of a bus that nobody has open.
 *
 * pitfall 16: a file that starts anew has another uuid.
 * pitfall 20: what was dropped is counted.
 * pitfall 32: nothing is wiped without a word.
 */
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/topic_util.h"

/* A directory that is not in memory; *state stays NULL if there is none. */
static int setup_on_disk(void **state) {
    static const char *const places[] = {"/var/tmp", "/tmp"};
    struct statfs fs;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char dir[T_PATH];
        if (statfs(places[i], &fs) || fs.f_type == 0x01021994) continue;
        snprintf(dir, sizeof dir, "%s/laneway-test-XXXXXX", places[i]);
        if (!mkdtemp(dir)) continue;
        *state = strdup(tt_text("%s/bus", dir));
        struct lw_bus *bus;
        int rc = t_bus_open(&bus, *state, NULL, 0);
        if (rc == 0) return lw_bus_close(bus);
        t_teardown(state); /* a kind of filesystem that is refused */
        *state = NULL;
    }
    return 0;
}

static int teardown_on_disk(void **state) {
    return *state ? t_teardown(state) : 0;
}

#define on_disk(function) cmocka_unit_test_setup_teardown(function, setup_on_disk, teardown_on_disk)

static bool skipped(void **state, const char *name) {
    if (*state) return false;
    t_skip(name, "needs /var/tmp or /tmp on a disk");
    return true;
}

static void reboot(const char *dir) {
    char lane[TT_PATH], boot[16];
    for (size_t i = 0; i < sizeof boot; i++) boot[i] = (char)t_random();
    tt_poke(tt_lane(lane, dir, "t"), TT_LANE_BOOT, boot, sizeof boot);
    tt_poke(tt_text("%s/bus", dir), 16, boot, sizeof boot);
}

static uint64_t dirty(const char *dir) {
    char lane[TT_PATH];
    uint64_t word;
    tt_peek(tt_lane(lane, dir, "t"), TT_LANE_DIRTY, &word, sizeof word);
    return word;
}

static struct lw_topic_info look(struct lw_bus *bus) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, "t", &info));
    return info;
}

static uint64_t lost(const struct lw_sub *sub) {
    struct lw_stats stats = LW_STATS_INIT;
    assert_ok(lw_sub_stats(sub, &stats));
    return stats.lost;
}

/* Publishes 50; "some" releases 10 of them, "none" nothing, "all" everything; then it waits to be killed, or ends in
 * order. */
static int use_body(void *arg) {
    struct lw_bus *bus = tt_bus(arg, NULL);
    struct lw_sub *subs[] = {tt_sub(bus, "t", "some", LW_FROM_NOW), tt_sub(bus, "t", "none", LW_FROM_NOW),
                             tt_sub(bus, "t", "all", LW_FROM_NOW), tt_sub(bus, "t", NULL, LW_FROM_NOW)};
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 50);
    T_NEED(tt_gets(subs[0], 0, 10) && tt_gets(subs[2], 0, 50));
    t_say(0);
    t_listen();
    for (int i = 0; i < 4; i++) lw_sub_close(subs[i]);
    lw_pub_close(pub);
    T_NEED(!lw_bus_close(bus));
    return 0;
}

static void use_and_die(const char *dir) {
    struct t_child child = t_fork(use_body, (void *)dir);
    t_hear(&child);
    t_kill(&child);
}

static void use_and_close(const char *dir) {
    struct t_child child = t_fork(use_body, (void *)dir);
    t_hear(&child);
    t_tell(&child, 0);
    assert_int_equal(t_wait(&child), 0);
}

static void the_file_knows_whether_it_was_closed_in_order(void **state) {
    if (skipped(state, __func__)) return;
    const char *dir = *state;
    struct lw_bus *bus = tt_bus(dir, NULL);
    assert_ok(lw_topic_create(bus, "t", NULL));
    assert_int_equal(dirty(dir), 0);
    struct lw_pub *pub = tt_pub(bus, "t"), *no;
    assert_int_equal(dirty(dir), 1);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    lw_pub_close(pub);
    assert_int_equal(dirty(dir), 1);
    lw_sub_close(sub);
    assert_int_equal(dirty(dir), 0);
    pub = tt_pub(bus, "t");
    assert_int_equal(lw_pub_open(&no, bus, "t", NULL), LW_EWRITER);
    lw_pub_close(pub);
    assert_int_equal(dirty(dir), 0);
    assert_int_equal(tt_sub_open(&sub, bus, "t", NULL, LW_FROM_POSITION, 8), LW_EPOSITION);
    assert_int_equal(dirty(dir), 0); /* who fails leaves it as it was */
    use_and_die(dir);
    assert_int_equal(dirty(dir), 1);
    lw_sub_close(tt_sub(bus, "t", "all", LW_FROM_NOW));
    assert_int_equal(dirty(dir), 0); /* the dead do not count */
    assert_ok(lw_bus_close(bus));
}

static void closed_in_order_it_goes_on_after_a_reboot(void **state) {
    if (skipped(state, __func__)) return;
    const char *dir = *state;
    use_and_close(dir);
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_topic_info before = look(bus);
    assert_ok(lw_bus_close(bus));
    for (int i = 0; i < 3; i++) {
        reboot(dir);
        bus = tt_bus(dir, NULL);
        lw_sub_close(tt_sub(bus, "t", "none", LW_FROM_NOW));
        assert_ok(lw_bus_close(bus));
    }
    bus = tt_bus(dir, NULL);
    struct lw_topic_info after = look(bus);
    assert_memory_equal(before.uuid, after.uuid, 16);
    assert_int_equal(after.number, 50);
    assert_int_equal(after.tail, before.tail);
    struct lw_sub *some = tt_sub(bus, "t", "some", LW_FROM_NOW), *none = tt_sub(bus, "t", "none", LW_FROM_NOW);
    assert_true(tt_gets_only(some, 10, 40));
    assert_true(tt_gets_only(none, 0, 50));
    assert_int_equal(lost(some), 0);
    lw_sub_close(some);
    lw_sub_close(none);
    assert_ok(lw_bus_close(bus));
}

/* Told once, with the exact count; then it goes on with what is new. */
static void told_loss(struct lw_bus *bus, const char *name, uint64_t count) {
    struct lw_sub *sub = tt_sub(bus, "t", name, LW_FROM_OLDEST);
    struct lw_msg msg;
    lw_sub_close(sub); /* not told yet: it lasts */
    sub = tt_sub(bus, "t", name, LW_FROM_OLDEST);
    if (count) assert_int_equal(lw_sub_next(sub, &msg, LW_MS(1)), LW_EGAP);
    if (count) lw_sub_close(sub), sub = tt_sub(bus, "t", name, LW_FROM_OLDEST); /* told, and may not have heard it */
    if (count) assert_int_equal(lw_sub_next(sub, &msg, LW_MS(1)), LW_EGAP);
    if (count) assert_int_equal(msg.number, 50); /* where it goes on */
    assert_int_equal(lost(sub), count);
    assert_true(tt_gets_only(sub, 0, 7));
    assert_int_equal(lost(sub), count);
    lw_sub_close(sub);
    sub = tt_sub(bus, "t", name, LW_FROM_OLDEST);
    assert_true(tt_gets_only(sub, 0, 0));
    assert_int_equal(lost(sub), 0);
    lw_sub_close(sub);
}

/* The ring's pages as they were before anything was written, or with records of a lap before everywhere. */
enum pages { NEW, EMPTY, OLD };

static void put_ring(const char *dir, enum pages pages) {
    static uint64_t ring[TT_RING / 8];
    char lane[TT_PATH];
    for (size_t i = 0; i < TT_RING / 8; i++) ring[i] = pages == OLD ? lw__header(0, 0, LW__COMMITTED) : 0;
    if (pages != NEW) tt_poke(tt_lane(lane, dir, "t"), TT_LANE_HEAD, ring, sizeof ring);
}

static void start_anew(const char *dir, enum pages pages) {
    struct lw_stats stats = LW_STATS_INIT;
    use_and_die(dir);
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_topic_info before = look(bus);
    assert_ok(lw_bus_close(bus));
    reboot(dir);
    put_ring(dir, pages);
    bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_topic_info after = look(bus);
    assert_memory_not_equal(before.uuid, after.uuid, 16);
    assert_int_equal(after.readers, 3); /* the names */
    assert_int_equal(after.ring, before.ring);
    assert_true(after.tail > before.tail);
    assert_ok(lw_pub_stats(pub, &stats));
    assert_int_equal(stats.number, 50); /* goes on */
    tt_send_many(pub, 0, 7);
    told_loss(bus, "some", 40);
    told_loss(bus, "none", 50);
    told_loss(bus, "all", 0);
    assert_ok(lw_topic_verify(bus, "t", NULL));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void left_in_the_middle_it_starts_anew_and_tells_what_was_lost(void **state) {
    if (!skipped(state, __func__)) start_anew(*state, NEW);
}

static void what_a_durable_reader_had_is_not_told_as_lost_though_the_ring_s_pages_are_gone(void **state) {
    if (!skipped(state, __func__)) start_anew(*state, EMPTY);
}

static void records_of_the_lap_before_count_for_nothing(void **state) {
    if (!skipped(state, __func__)) start_anew(*state, OLD);
}

static void losses_of_several_reboots_add_up(void **state) {
    if (skipped(state, __func__)) return;
    const char *dir = *state;
    uint64_t tail = 0;
    for (int i = 1; i <= 3; i++) {
        use_and_die(dir);
        reboot(dir);
        struct lw_bus *bus = tt_bus(dir, NULL);
        lw_pub_close(tt_pub(bus, "t"));
        struct lw_topic_info info = look(bus);
        assert_true(info.tail > tail);
        tail = info.tail;
        assert_ok(lw_topic_forget(bus, "t", "some")); /* they would be told in the next round */
        assert_ok(lw_topic_forget(bus, "t", "all"));
        assert_ok(lw_bus_close(bus));
    }
    struct lw_bus *bus = tt_bus(dir, NULL);
    assert_int_equal(look(bus).number, 150);
    struct lw_sub *sub = tt_sub(bus, "t", "none", LW_FROM_NOW);
    char byte;
    assert_int_equal(lw_sub_recv(sub, &byte, 1, NULL, 0), LW_EGAP); /* by whatever call */
    assert_int_equal(lost(sub), 150);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* With many first users after the reboot at once, one makes the new file and all have it. */
static int first_user_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    t_say(0);
    t_listen();
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    T_NEED(!lw_topic_stat(bus, "t", &info));
    int64_t uuid;
    memcpy(&uuid, info.uuid, sizeof uuid);
    t_say(uuid);
    t_listen();
    T_NEED(tt_gets_only(sub, 0, 10));
    return 0;
}

static void many_open_at_once_after_a_reboot(void **state) {
    if (skipped(state, __func__)) return;
    enum { USERS = 8 };
    const char *dir = *state;
    struct t_child users[USERS];
    use_and_die(dir);
    reboot(dir);
    for (int i = 0; i < USERS; i++) {
        users[i] = t_fork(first_user_body, (void *)dir);
        t_hear(&users[i]);
    }
    for (int i = 0; i < USERS; i++) t_tell(&users[i], 0);
    int64_t uuid = t_hear(&users[0]);
    for (int i = 1; i < USERS; i++) assert_true(t_hear(&users[i]) == uuid);
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    for (int i = 0; i < USERS; i++) t_tell(&users[i], 0);
    for (int i = 0; i < USERS; i++) assert_int_equal(t_wait(&users[i]), 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void in_memory_nothing_is_noted(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    assert_int_equal(dirty(*state), 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_disk(the_file_knows_whether_it_was_closed_in_order),
        on_disk(closed_in_order_it_goes_on_after_a_reboot),
        on_disk(left_in_the_middle_it_starts_anew_and_tells_what_was_lost),
        on_disk(what_a_durable_reader_had_is_not_told_as_lost_though_the_ring_s_pages_are_gone),
        on_disk(records_of_the_lap_before_count_for_nothing),
        on_disk(losses_of_several_reboots_add_up),
        on_disk(many_open_at_once_after_a_reboot),
        t_test(in_memory_nothing_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

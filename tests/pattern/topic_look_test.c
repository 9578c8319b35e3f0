/* SPDX-License-Identifier: MIT */
/*
 * Looking at topics: numbers, readers, lists, verification; while others run, after everybody was killed, and by an
 * observer who changes nothing.
 *
 * pitfall 8: a walk over a file ends, whatever is in it.
 * pitfall 20: who holds back, and by how much, can be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/topic_util.h"

static struct lw_bus *observer(const char *dir) {
    struct lw_bus *bus;
    assert_ok(t_bus_open(&bus, dir, NULL, LW_BUS_OBSERVE));
    return bus;
}

static int keep_writer(const struct lw_writer_info *writer, void *user) {
    *(struct lw_writer_info *)user = *writer;
    return 0;
}

/* The only one. */
static struct lw_writer_info writer_of(struct lw_bus *bus, const char *topic) {
    struct lw_writer_info writer = {.alive = -1};
    assert_ok(lw_topic_writers(bus, topic, keep_writer, &writer));
    return writer;
}

/* ---- the topic --------------------------------------------------------------------------------------------------- */

static void the_numbers_are_right(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_pub *pub = tt_pub(bus, "t");
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.ring, TT_RING);
    assert_int_equal(info.slots, 64);
    assert_int_equal(info.readers + info.tail + info.number + info.oldest + info.oldest_number, 0);
    assert_int_equal(info.record_max, lw_pub_max(pub));
    assert_int_equal(info.writers, 1);
    assert_int_equal(info.exclusive, 1);
    struct lw_writer_info writer = writer_of(bus, "t");
    assert_string_equal(writer.node, "me");
    assert_int_equal(writer.pid, getpid());
    assert_int_equal(writer.alive + 10 * writer.exclusive, 11);
    uint64_t n = 0;
    int64_t last = 0;
    for (; last < 5 * TT_RING; n++) last = tt_send(pub, n, 0);
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.number, n);
    assert_true(info.tail > (uint64_t)last && info.tail <= (uint64_t)last + 256);
    assert_true(info.oldest > 0 && info.tail - info.oldest <= TT_RING && info.tail - info.oldest > TT_RING * 3 / 4);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_OLDEST);
    assert_true(tt_gets_only(sub, info.oldest_number, n - info.oldest_number));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.writers, 0);
    assert_int_equal(info.exclusive, 0);
    assert_ok(lw_bus_close(bus));
}

static void what_is_not_there_is_told(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_create(bus, "a/b", NULL));
    static const char *const none[] = {"t", "a", "a/b/c", "a/c"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_told(lw_topic_stat(bus, none[i], &info), LW_ENOTOPIC, "no topic", none[i], *state);
        assert_told(lw_topic_readers(bus, none[i], NULL, NULL), LW_ENOTOPIC, none[i]);
        assert_told(lw_topic_verify(bus, none[i], NULL), LW_ENOTOPIC, none[i]);
    }
    assert_ok(lw_bus_close(bus));
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

struct seen {
    struct lw_reader_info all[8];
    int count;
};

static int see(const struct lw_reader_info *reader, void *user) {
    struct seen *seen = user;
    seen->all[seen->count++] = *reader;
    return seen->count == 8;
}

static void readers_are_listed_with_what_they_hold_back(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_pub *pub = tt_pub(bus, "t");
    struct seen seen = {.count = 0};
    assert_ok(lw_topic_readers(bus, "t", see, &seen));
    assert_int_equal(seen.count, 0);
    struct lw_sub *fast = tt_sub(bus, "t", NULL, LW_FROM_NOW), *slow = tt_sub(bus, "t", "slow", LW_FROM_NOW);
    lw_sub_close(tt_sub(bus, "t", "away", LW_FROM_NOW));
    tt_send_many(pub, 0, 100);
    assert_true(tt_gets(fast, 0, 100) && tt_gets(slow, 0, 30));
    assert_ok(lw_topic_readers(bus, "t", see, &seen));
    assert_int_equal(seen.count, 3);
    const struct lw_reader_info *r = seen.all;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r[i].slot, i);
        assert_int_equal(r[i].durable, i > 0);
        assert_int_equal(r[i].alive, i < 2);
        assert_int_equal(r[i].pid, i < 2 ? getpid() : 0);
        assert_int_equal(r[i].slowest, i == 2);
        assert_string_equal(r[i].node, i < 2 ? "me" : "");
        assert_string_equal(r[i].name, i == 0 ? "" : i == 1 ? "slow" : "away");
        assert_int_equal(r[i].lag_messages, i == 0 ? 0 : i == 1 ? 70 : 100);
        assert_int_equal(r[i].number, 100 - r[i].lag_messages);
        assert_int_equal(r[i].position + r[i].lag_bytes, r[0].position);
    }
    assert_int_equal(lw_topic_readers(bus, "t", see, &(struct seen){.count = 6}), 1); /* ended by the callback */
    lw_sub_close(fast);
    lw_sub_close(slow);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static int add_name(const char *topic, void *user) {
    strcat(strcat(user, topic), " ");
    return 0;
}

static int stop_at_second(const char *topic, void *user) {
    (void)topic;
    return ++*(int *)user == 2 ? 42 : 0;
}

static void topics_are_listed_in_order(void **state) {
    static const char *const topics[] = {"b", "a", "b/z/y", "a/b/c", "a/b", "c/d/e/f", "A", "_x"};
    char list[200] = "";
    int count = 0;
    struct lw_bus *bus = tt_bus(*state, NULL);
    assert_ok(lw_topic_list(bus, add_name, list));
    assert_string_equal(list, "");
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) assert_ok(lw_topic_create(bus, topics[i], NULL));
    tt_make_file(tt_text("%s/topics/a/.new-1234567890ab", *(char **)state), 100); /* nobody's business */
    tt_make_file(tt_text("%s/topics/stray", *(char **)state), 100);
    assert_int_equal(symlink("..", tt_text("%s/topics/loop", *(char **)state)), 0);
    assert_ok(lw_topic_list(bus, add_name, list));
    assert_string_equal(list, "A _x a a/b a/b/c b b/z/y c/d/e/f ");
    assert_int_equal(lw_topic_list(bus, stop_at_second, &count), 42);
    assert_int_equal(count, 2);
    assert_ok(lw_bus_close(bus));
}

/* ---- verification ------------------------------------------------------------------------------------------------ */

static void all_is_well_and_counted(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_verify_result v = LW_VERIFY_RESULT_INIT;
    struct lw_item items[3] = {{"abc", 3, 0}, {"defg", 4, 0}, {"", 0, 0}};
    struct lw_pub *pub = tt_pub(bus, "t");
    assert_ok(lw_topic_verify(bus, "t", &v));
    assert_int_equal(v.from + v.to + v.records + v.batches + v.bytes + v.skipped, 0);
    for (int i = 0; i < 10; i++) assert_ok(lw_pub_send(pub, 0, "12345", 5, 0));
    for (int i = 0; i < 4; i++) assert_ok(lw_pub_send_batch(pub, items, 3, 0));
    assert_ok(lw_topic_verify(bus, "t", &v));
    assert_int_equal(v.records, 22);
    assert_int_equal(v.batches, 4);
    assert_int_equal(v.bytes, 50 + 4 * 7);
    assert_int_equal(v.from, 0);
    assert_int_equal(v.to, 10 * 16 + 4 * (16 + 16 + 8));
    assert_ok(lw_topic_verify(bus, "t", NULL));
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int busy_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "busy");
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_sub(bus, "u", "name", LW_FROM_NOW);
    for (uint64_t n = 0;; n++) {
        tt_send_many(pub, n, 1);
        T_NEED(tt_gets(sub, n, 1));
        if (n == 1000) t_say(0);
    }
}

static void look_at_all(struct lw_bus *bus, bool alive) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_verify_result v = LW_VERIFY_RESULT_INIT;
    struct seen seen = {.count = 0};
    char list[100] = "";
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_true(info.number >= 1000 && info.tail >= info.oldest && info.number >= info.oldest_number);
    struct lw_writer_info writer = writer_of(bus, "t");
    assert_int_equal(writer.alive, alive);
    assert_string_equal(writer.node, "busy");
    assert_ok(lw_topic_readers(bus, "t", see, &seen));
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.all[0].alive, alive);
    if (!alive) assert_true(seen.all[0].lag_messages <= 1); /* else it runs on while we look */
    assert_ok(lw_topic_verify(bus, "t", &v));
    if (!alive) assert_true(v.records > 0 && v.skipped == 0);
    assert_ok(lw_topic_list(bus, add_name, list));
    assert_string_equal(list, "t u ");
}

static void looking_on_while_it_runs_is_stopped_and_is_dead(void **state) {
    struct t_child child = t_fork(busy_body, *state);
    t_hear(&child);
    struct lw_bus *bus = observer(*state), *node = tt_bus(*state, NULL);
    for (int64_t i = t_loops(300); i > 0; i--) look_at_all(i % 2 ? bus : node, true);
    t_stop(&child);
    look_at_all(bus, true);
    t_kill_unreaped(&child);
    look_at_all(bus, false);
    look_at_all(node, false);
    assert_ok(lw_bus_close(node));
    assert_ok(lw_bus_close(bus));
}

/* ---- observers --------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const char *path) {
    unsigned char bytes[4096];
    uint64_t sum = 14695981039346656037u;
    ssize_t n;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) sum = (sum ^ bytes[i]) * 1099511628211u;
    close(fd);
    return sum;
}

static void an_observer_changes_nothing(void **state) {
    char lane[TT_PATH];
    struct t_child child = t_fork(busy_body, *state);
    t_hear(&child);
    t_kill(&child);
    tt_lane(lane, *state, "t");
    uint64_t before = sum_of(lane), table = sum_of(tt_text("%s/bus", *(char **)state));
    int files = tt_count_files(*state);
    struct lw_bus *bus = observer(*state);
    look_at_all(bus, false);
    assert_ok(lw_bus_close(bus));
    assert_true(sum_of(lane) == before && sum_of(tt_text("%s/bus", *(char **)state)) == table);
    assert_int_equal(tt_count_files(*state), files);
}

static void an_observer_can_only_look(void **state) {
    struct lw_bus *node = tt_bus(*state, NULL);
    struct lw_clean_result result = LW_CLEAN_RESULT_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    assert_ok(lw_topic_create(node, "t", NULL));
    struct lw_bus *bus = observer(*state);
    assert_told(lw_pub_open(&pub, bus, "t", NULL), LW_ESTATE, *state, "observe");
    assert_told(lw_sub_open(&sub, bus, "t", NULL), LW_ESTATE, *state, "observe");
    assert_told(lw_topic_create(bus, "u", NULL), LW_ESTATE, "observe");
    assert_told(lw_topic_forget(bus, "t", "x"), LW_ESTATE, "observe");
    assert_told(lw_topic_remove(bus, "t", 0), LW_ESTATE, "observe");
    assert_told(lw_bus_clean(bus, &result), LW_ESTATE, "observe");
    assert_null(pub);
    assert_null(sub);
    assert_string_equal(lw_bus_node(bus), "");
    assert_string_equal(lw_bus_dir(bus), *state);
    assert_ok(lw_bus_close(bus));
    assert_ok(lw_bus_close(node));
}

static int read_only_body(void *dir) {
    struct lw_bus *bus;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    char lane[TT_PATH];
    t_become(65534, 65534);
    bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    T_NEED(!chmod(tt_lane(lane, dir, "t"), 0400));
    T_NEED(!t_bus_open(&bus, dir, NULL, LW_BUS_OBSERVE));
    T_NEED(!lw_topic_stat(bus, "t", &info) && info.number == 10 && !lw_topic_verify(bus, "t", NULL));
    T_NEED(!chmod(lane, 0));
    T_NEED(lw_topic_stat(bus, "t", &info) == -EACCES && strstr(lw_errtext(), lane));
    return 0;
}

static void to_look_reading_is_enough(void **state) {
    t_need_root();
    char dir[T_PATH];
    snprintf(dir, sizeof dir, "%.200s.open", *(char **)state);
    if (mkdir(dir, 0700) || chown(dir, 65534, 65534)) fail();
    struct t_child child = t_fork(read_only_body, dir);
    assert_int_equal(t_wait(&child), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(the_numbers_are_right),
        t_test(what_is_not_there_is_told),
        t_test(readers_are_listed_with_what_they_hold_back),
        t_test(topics_are_listed_in_order),
        t_test(all_is_well_and_counted),
        t_test(looking_on_while_it_runs_is_stopped_and_is_dead),
        t_test(an_observer_changes_nothing),
        t_test(an_observer_can_only_look),
        t_test(to_look_reading_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

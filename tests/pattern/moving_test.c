/* SPDX-License-Identifier: MIT */
/*
 * A topic's file is replaced or removed under those who have it open: who follows, who is told, and what must not stay behind. Each
 * case is a defect that was there once. moving_step_test.c does the same at every instruction.
 *
 * pitfall 16: who waits on a file that is gone is told, or goes over to the new one; two handles never meet in one slot.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bus/bus.h"
#include "util/topic_util.h"

static int count_reader(const struct lw_reader_info *reader, void *user) {
    (void)reader;
    ++*(int *)user;
    return 0;
}

static int readers(struct lw_bus *bus) {
    int n = 0;
    assert_ok(lw_topic_readers(bus, "t", count_reader, &n));
    return n;
}

static int count_attached(const struct lw_reader_info *reader, void *user) {
    *(int *)user += reader->alive;
    return 0;
}

/* Subscribers that a live process has open. */
static int attached(struct lw_bus *bus) {
    int n = 0;
    assert_ok(lw_topic_readers(bus, "t", count_attached, &n));
    return n;
}

static int create(struct lw_bus *bus, uint64_t ring, uint32_t slots) {
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = ring;
    shape.slots = slots;
    return lw_topic_create(bus, "t", &shape);
}

static struct lw_stats stats_of(const struct lw_sub *sub) {
    struct lw_stats stats = LW_STATS_INIT;
    assert_ok(lw_sub_stats(sub, &stats));
    return stats;
}

/* More than a ring: nobody holds the publisher back. */
static void publish_laps(struct lw_bus *bus) {
    struct lw_pub *pub = tt_pub(bus, "t");
    for (uint64_t i = 0; i < 3000; i++) assert_ok(tt_send(pub, i, 0));
    lw_pub_close(pub);
}

/* ---- removed and made again -------------------------------------------------------------------------------------- */

/* Both handles are of one node and have slot 0 of their files: the old one must not go on in the new one's. */
static void a_handle_never_takes_the_place_of_another(void **state) {
    for (int durable = 0; durable < 2; durable++) {
        struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
        const char *name = durable ? "name" : NULL;
        struct lw_sub *old = tt_sub(bus, "t", name, LW_FROM_NOW);
        struct lw_msg msg;
        assert_ok(lw_topic_remove(other, "t", LW_REMOVE_FORCE));
        assert_ok(create(other, TT_RING, 0));
        struct lw_sub *fresh = tt_sub(bus, "t", name, LW_FROM_NOW);
        struct lw_pub *pub = tt_pub(other, "t");
        uint64_t n = 0;
        for (; n < 2000 && tt_send(pub, n, 0) >= 0; n++)
            if (lw_sub_next(old, &msg, 0) == 1) lw_sub_release(old, &msg); /* must not move the other's place */
        assert_true(n < 2000);
        assert_int_equal(lw_sub_next(old, &msg, 0), LW_ECLOSED);
        assert_int_equal(lw_sub_next(old, &msg, LW_SEC(20)), LW_ECLOSED);
        assert_true(tt_gets_only(fresh, 0, n));
        lw_sub_close(old);
        assert_int_equal(attached(bus), 1);
        lw_pub_close(pub);
        lw_sub_close(fresh);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(other));
        assert_ok(lw_bus_close(bus));
    }
}

/* What was handed out stays readable until the handle is closed; giving it back is refused, and crashes nobody. */
static void held_messages_outlive_a_removal(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_pub *pub = tt_pub(other, "t");
    struct lw_msg held, next;
    char copy[TT_MESSAGE];
    tt_send_many(pub, 0, 3);
    assert_true(tt_gets(sub, 0, 2));
    assert_int_equal(lw_sub_next(sub, &held, 0), 1);
    assert_ok(lw_topic_remove(other, "t", LW_REMOVE_FORCE));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lw_sub_next(sub, &next, i * LW_MS(2)), LW_ECLOSED);
        assert_int_equal(tt_read(&held), 2);
        assert_int_equal(lw_sub_release(sub, &held), LW_ECLOSED);
        assert_int_equal(lw_sub_recv(sub, copy, sizeof copy, NULL, 0), LW_ECLOSED);
        assert_int_equal(lw_sub_seek(sub, LW_FROM_OLDEST, 0), LW_ECLOSED);
        lw_sub_rewind(sub);
        if (i == 0) publish_laps(other); /* into a new file, not over what is held */
    }
    assert_int_equal(tt_read(&held), 2);
    assert_int_equal(stats_of(sub).messages, 2); /* what it did is not forgotten */
    assert_true(stats_of(sub).bytes > 0);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

static void damaged_and_foreign_files_are_removed_by_force_only(void **state) {
    char path[TT_PATH];
    uint32_t nine = 9, strange = 0x12345678;
    char flipped = 99;
    const struct {
        int64_t at;
        const void *data;
        size_t size;
        int code;
    } damages[] = {{0, &flipped, 1, LW_ECORRUPT},
                   {20, &flipped, 1, LW_ECORRUPT},
                   {TT_LANE_VERSION, &nine, 4, LW_EVERSION},
                   {TT_LANE_FINGERPRINT, &strange, 4, LW_EVERSION}};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
        struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
        struct lw_pub *pub = tt_pub(bus, "t");
        struct lw_msg msg;
        tt_poke(tt_lane(path, *state, "t"), damages[i].at, damages[i].data, damages[i].size);
        assert_told(lw_topic_remove(other, "t", 0), damages[i].code, "--force");
        assert_true(tt_exists(path));
        tt_send_many(pub, 0, 200); /* it goes on for those who have it */
        lw_pub_close(pub);
        assert_true(tt_gets_only(sub, 0, 200));
        assert_ok(lw_topic_remove(other, "t", LW_REMOVE_FORCE));
        assert_false(tt_exists(path));
        assert_int_equal(lw_sub_next(sub, &msg, LW_SEC(20)), LW_ECLOSED);
        lw_sub_close(sub);
        assert_ok(lw_bus_close(other));
        assert_ok(lw_bus_close(bus));
    }
}

/* ---- given another shape ----------------------------------------------------------------------------------------- */

/* Its slot was copied to one new file, or to several one after the other, before it closes. */
static void closing_before_following_frees_the_copy(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    for (int times = 1; times <= 3; times++) {
        struct lw_sub *gone = tt_sub(bus, "t", NULL, LW_FROM_NOW), *away = tt_sub(bus, "t", "name", LW_FROM_NOW);
        for (int i = 0; i < times; i++) assert_ok(create(other, UINT64_C(1) << (18 - i), 0));
        assert_int_equal(attached(bus), 2);
        lw_sub_close(gone);
        lw_sub_close(away);
        assert_int_equal(attached(bus), 0);
        assert_int_equal(readers(bus), 1); /* the name, without its reader */
        struct lw_sub *again = tt_sub(bus, "t", "name", LW_FROM_NOW);
        struct lw_pub *pub = tt_pub(other, "t");
        tt_send_many(pub, 0, 3);
        lw_pub_close(pub);
        assert_true(tt_gets_only(again, 0, 3));
        lw_sub_close(again);
        assert_ok(lw_topic_forget(bus, "t", "name"));
        publish_laps(other);
        assert_ok(lw_topic_remove(bus, "t", 0));
    }
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

/* Slots that are not a subscriber's: the second one of a seek, one that somebody frees, one that has no place yet, one of a dead
 * owner. Written into the file as they are in such a moment. */
static void only_subscribers_are_copied(void **state) {
    enum { SLOTS_AT = 6144, SLOT = 256, CURSOR = 128, SLOTS_USED = 4608, RELIABLE = 1, PASSING = 3 };
    char path[TT_PATH];
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    uint64_t owner, used = 5, start = 0, dead = UINT64_C(7) << 32 | UINT64_C(1) << 16;
    tt_peek(tt_lane(path, *state, "t"), SLOTS_AT, &owner, sizeof owner);
    const uint64_t words[] = {(owner & ~UINT64_C(15)) | PASSING, owner, dead | PASSING, dead | RELIABLE};
    for (int i = 0; i < 4; i++) {
        tt_poke(path, SLOTS_AT + (i + 1) * SLOT, &words[i], sizeof words[i]);
        if (i != 1) tt_poke(path, SLOTS_AT + (i + 1) * SLOT + CURSOR, &start, sizeof start);
    }
    tt_poke(path, SLOTS_USED, &used, sizeof used);
    assert_ok(create(other, 1 << 20, 1)); /* and none of them counts as one that needs a slot */
    assert_int_equal(readers(bus), 1);
    struct lw_pub *pub = tt_pub(other, "t");
    tt_send_many(pub, 0, 3);
    lw_pub_close(pub);
    assert_true(tt_gets_only(sub, 0, 3));
    lw_sub_close(sub);
    publish_laps(other);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

/* One who asked for a schema gets messages of that schema, or is told. */
static void who_asked_for_a_schema_does_not_follow_to_another(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_pub_options order = LW_PUB_OPTIONS_INIT;
    struct lw_sub *by_name, *by_hash, *any;
    struct lw_pub *pub;
    struct lw_msg msg;
    char schema[] = "Tick"; /* kept by value: the caller's may be gone */
    opt.shape.schema = schema;
    assert_ok(lw_sub_open(&by_name, bus, "t", &opt));
    strcpy(schema, "Good");
    opt.shape.schema = NULL;
    opt.shape.schema_hash = 1;
    assert_ok(lw_sub_open(&by_hash, bus, "t", &opt));
    assert_ok(lw_sub_open(&any, bus, "t", NULL));
    order.shape.schema = "Order";
    order.shape.schema_hash = 2;
    order.shape.ring = TT_RING;
    assert_ok(lw_pub_open(&pub, other, "t", &order));
    tt_send_many(pub, 0, 3);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lw_sub_next(by_name, &msg, i * LW_MS(2)), LW_EMISMATCH);
        assert_int_equal(lw_sub_next(by_hash, &msg, i * LW_MS(2)), LW_EMISMATCH);
    }
    assert_int_equal(attached(bus), 1); /* they hold nobody back */
    assert_true(tt_gets_only(any, 0, 3));
    lw_sub_close(any);
    lw_pub_close(pub);
    publish_laps(bus);
    lw_sub_close(by_name);
    lw_sub_close(by_hash);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

/* The same schema again is followed. */
static void who_asked_for_a_schema_follows_to_the_same(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    struct lw_sub *sub;
    char schema[] = "Tick";
    opt.shape.schema = schema;
    opt.shape.schema_hash = 1;
    assert_ok(lw_sub_open(&sub, bus, "t", &opt));
    memset(schema, 'x', 4);
    assert_ok(create(bus, TT_RING, 9));
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 3);
    assert_true(tt_gets_only(sub, 0, 3));
    assert_int_equal(stats_of(sub).messages, 3);
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

/* Both places of the messages that are to be skipped are in the new file, of which the handle knows nothing yet. */
static void a_seek_goes_where_the_messages_are(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL), *other = tt_bus(*state, NULL);
    struct lw_sub *now, *at;
    struct lw_pub *pub;
    assert_ok(lw_sub_open(&now, bus, "t", NULL));
    assert_ok(lw_sub_open(&at, bus, "t", NULL));
    assert_ok(tt_pub_shaped(&pub, other, "t", TT_RING, 0));
    tt_send_many(pub, 0, 3);
    int64_t fourth = tt_send(pub, 3, 0);
    assert_ok(fourth);
    assert_ok(lw_sub_seek(now, LW_FROM_NOW, 0));
    assert_ok(lw_sub_seek(at, LW_FROM_POSITION, (uint64_t)fourth));
    tt_send_many(pub, 4, 1);
    assert_true(tt_gets_only(now, 4, 1));
    assert_true(tt_gets_only(at, 3, 2));
    lw_sub_close(now);
    lw_sub_close(at);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(other));
    assert_ok(lw_bus_close(bus));
}

/* ---- on a disk --------------------------------------------------------------------------------------------------- */

static struct lw_bus *bus_on_disk(const char *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    bus->dir.is_volatile = false; /* as if it were: then the file notes whether it was closed in order */
    return bus;
}

static uint64_t dirty(const char *dir) {
    char path[TT_PATH];
    uint64_t word;
    tt_peek(tt_lane(path, dir, "t"), TT_LANE_DIRTY, &word, sizeof word);
    return word;
}

/* Who has a slot in the new file only because it was copied is the last to leave it. */
static void closed_in_order_whoever_closes_last(void **state) {
    for (int schema = 0; schema < 2; schema++) {
        struct lw_bus *bus = bus_on_disk(*state), *other = bus_on_disk(*state);
        struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
        struct lw_pub_options order = LW_PUB_OPTIONS_INIT;
        struct lw_sub *sub;
        struct lw_pub *pub;
        struct lw_msg msg;
        opt.shape.schema_hash = schema ? 1 : 0;
        order.shape.schema_hash = 2;
        assert_ok(lw_sub_open(&sub, bus, "t", &opt));
        assert_ok(lw_pub_open(&pub, other, "t", &order));
        tt_send_many(pub, 0, 3);
        lw_pub_close(pub);
        assert_int_equal(dirty(*state), 1);
        if (schema) assert_int_equal(lw_sub_next(sub, &msg, LW_MS(1)), LW_EMISMATCH);
        lw_sub_close(sub);
        assert_int_equal(dirty(*state), 0);
        assert_ok(lw_topic_remove(bus, "t", 0));
        assert_ok(lw_bus_close(other));
        assert_ok(lw_bus_close(bus));
    }
}

/* ---- out of descriptors ------------------------------------------------------------------------------------------ */

/* Lets this process open no further file. */
static struct rlimit no_more_descriptors(void) {
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    none = before;
    none.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

static int reshape_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    t_listen();
    T_NEED(!create(bus, 1 << 20, 0));
    t_say(0);
    t_listen();
    T_NEED(!create(bus, TT_RING, 0));
    t_say(0);
    t_forever();
}

static void without_descriptors_following_waits_and_closing_works(void **state) {
    struct t_child other = t_fork(reshape_body, *state);
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    t_tell(&other, 0);
    t_hear(&other);
    struct rlimit before = no_more_descriptors();
    for (int i = 0; i < 3; i++) assert_int_equal(lw_sub_next(sub, &msg, i * LW_MS(1)), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &before);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 3);
    assert_true(tt_gets_only(sub, 0, 3)); /* nothing is lost by that */
    assert_int_equal(stats_of(sub).messages, 3);
    lw_pub_close(pub);
    lw_sub_close(sub);
    assert_ok(lw_topic_remove(bus, "t", 0));
    sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    assert_ok(create(bus, 1 << 20, 0));
    t_tell(&other, 0);
    t_hear(&other);
    before = no_more_descriptors();
    lw_sub_close(sub); /* frees its copy all the same */
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(readers(bus), 0);
    t_kill(&other);
    assert_ok(lw_bus_close(bus));
}

/* ---- opening while others tidy ----------------------------------------------------------------------------------- */

static int cleaner_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    t_say(0);
    for (;;) T_NEED(!lw_bus_clean(bus, NULL));
}

static int publisher_body(void *dir) {
    struct lw_pub *pub = tt_pub(tt_bus(dir, NULL), "t");
    tt_send_many(pub, 0, 1);
    t_say(0);
    t_forever();
}

/* Whoever takes a dead publisher's place back holds it for a moment: that is no publisher. */
static void a_cleaner_is_never_taken_for_a_publisher(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child cleaner = t_fork(cleaner_body, *state);
    t_hear(&cleaner);
    for (int64_t i = t_loops(300); i > 0; i--) {
        struct t_child publisher = t_fork(publisher_body, *state);
        struct lw_pub *pub;
        t_hear(&publisher);
        t_kill(&publisher);
        assert_ok(lw_pub_open(&pub, bus, "t", NULL));
        lw_pub_close(pub);
    }
    t_kill(&cleaner);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_handle_never_takes_the_place_of_another),
        t_test(held_messages_outlive_a_removal),
        t_test(damaged_and_foreign_files_are_removed_by_force_only),
        t_test(closing_before_following_frees_the_copy),
        t_test(only_subscribers_are_copied),
        t_test(who_asked_for_a_schema_does_not_follow_to_another),
        t_test(who_asked_for_a_schema_follows_to_the_same),
        t_test(a_seek_goes_where_the_messages_are),
        t_test(closed_in_order_whoever_closes_last),
        t_test(without_descriptors_following_waits_and_closing_works),
        t_test(a_cleaner_is_never_taken_for_a_publisher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

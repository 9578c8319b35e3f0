/* SPDX-License-Identifier: MIT */
/*
 * fail/group.c - scenarios: two processes; one sleeps until the other rings for it. Only one of them has its calls counted.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "fail/run.h"
#include "util/topic_util.h"

enum { ROUNDS = 3, EVENTS = 4 };

/* Words of the ledger. */
enum { WANTED, HOLD };

#define TOPIC "prices"

static struct stream *stream(void) {
    return &run.ledger->streams[0];
}

static int64_t send_to(void *pub, uint16_t type, const void *data, size_t len) {
    return lw_pub_send(pub, type, data, len, 0);
}

static int64_t send_patiently(void *pub, uint16_t type, const void *data, size_t len) {
    return lw_pub_send(pub, type, data, len, LW_MS(50));
}

static bool resume(struct lw_bus *bus) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    if (SETUP(lw_topic_stat(bus, TOPIC, &info)) < 0) return false;
    stream_resumes(stream(), info.number);
    return true;
}

static bool open_group(struct lw_group **group, struct lw_bus *bus) {
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    opt.spin = 0;
    return SETUP(lw_group_open(group, bus, &opt)) >= 0;
}

static bool open_sub(struct lw_sub **sub, struct lw_bus *bus) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.name = "risk";
    opt.from = LW_FROM_OLDEST;
    opt.shape.ring = TT_RING;
    return SETUP(lw_sub_open(sub, bus, TOPIC, &opt)) >= 0;
}

static bool has_all(void) {
    return word_get(&stream()->released) >= word_get(&run.ledger->words[WANTED]);
}

/* What is wanted, or all that comes within the time. */
static void receive(struct lw_sub *sub, int64_t timeout) {
    struct lw_msg msg;
    while (CALL(lw_sub_next(sub, &msg, timeout)) == 1) {
        stream_came(stream(), &msg);
        stream_releasing(stream(), &msg);
        if (CALL(lw_sub_release(sub, &msg)) < 0) return;
        stream_released(stream());
        if (has_all()) return;
    }
}

/* ---- one that sleeps, and another that publishes ----------------------------------------------------------------- */

static int publish_what_is_wanted(void *arg) {
    struct lw_bus *bus;
    struct lw_pub *pub;
    (void)arg;
    NEED(run_bus(&bus, run.dir, "bob") && SETUP(lw_pub_open(&pub, bus, TOPIC, NULL)) >= 0 && resume(bus));
    word_set(&run.ledger->words[WANTED], stream()->sent);
    t_say(1);
    for (;; t_sleep(LW_MS(1) / 2))
        if (stream()->sent < word_get(&run.ledger->words[WANTED])) NEED(stream_send(stream(), send_to, pub));
}

struct sleeper {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_sub *sub;
};

static bool polls(void *arg) {
    struct sleeper *s = arg;
    struct lw_event events[EVENTS];
    if (CALL(lw_group_poll(s->group, events, EVENTS, LW_MS(500))) > 0) receive(s->sub, 0);
    return has_all();
}

/* A loop of another kind. */
static bool polls_descriptor(void *arg) {
    struct sleeper *s = arg;
    struct lw_event events[EVENTS];
    struct pollfd fd = {.fd = lw_group_fd(s->group), .events = POLLIN};
    if (CALL(lw_group_arm(s->group)) == 0) poll(&fd, 1, 500);
    if (CALL(lw_group_poll(s->group, events, EVENTS, 0)) > 0) receive(s->sub, 0);
    return has_all();
}

static bool waits_alone(void *arg) {
    struct sleeper *s = arg;
    receive(s->sub, LW_MS(500));
    return has_all();
}

static void want_more(uint64_t count) {
    word_set(&run.ledger->words[WANTED], word_get(&stream()->sent) + count);
}

static void sleep_and_wake(struct sleeper *s) {
    bool (*const ways[])(void *) = {polls, polls_descriptor};
    for (int i = 0; i < 2 * ROUNDS; i++) {
        want_more(1);
        run_wait(ways[i % 2], s, "a message, in a group");
    }
    if (SETUP(lw_sub_move(s->sub, NULL, NULL)) < 0) return;
    for (int i = 0; i < ROUNDS; i++) {
        want_more(1);
        run_wait(waits_alone, s, "a message, alone");
    }
}

/* Nobody is in the midst of a send. */
static bool published(void *arg) {
    (void)arg;
    return word_get(&stream()->sent) >= word_get(&run.ledger->words[WANTED]);
}

static void sleeper(void) {
    struct sleeper s = {NULL, NULL, NULL};
    if (run_bus(&s.bus, run.dir, "alice") && open_sub(&s.sub, s.bus) && open_group(&s.group, s.bus)) {
        struct t_child peer = run_peer(publish_what_is_wanted);
        t_hear(&peer);
        receive(s.sub, 0);
        if (SETUP(lw_sub_move(s.sub, s.group, NULL)) >= 0) sleep_and_wake(&s);
        run_wait(published, NULL, "the other process to publish");
        t_kill(&peer);
    }
    VOID(lw_sub_close(s.sub));
    NEED(CALL(lw_group_close(s.group)) == 0);
    NEED(CALL(lw_bus_close(s.bus)) == 0);
}

/* ---- one that publishes, and another that sleeps ----------------------------------------------------------------- */

static int take_what_comes(void *arg) {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_sub *sub;
    struct lw_event events[EVENTS];
    (void)arg;
    NEED(run_bus(&bus, run.dir, "bob") && open_group(&group, bus) && open_sub(&sub, bus));
    NEED(SETUP(lw_sub_move(sub, group, NULL)) >= 0);
    t_say(1);
    for (;;) {
        CALL(lw_group_poll(group, events, EVENTS, LW_MS(500)));
        while (word_get(&run.ledger->words[HOLD])) t_sleep(LW_MS(1) / 2);
        receive(sub, 0);
    }
}

static bool came(void *arg) {
    (void)arg;
    t_sleep(LW_MS(1) / 10);
    return word_get(&stream()->released) == stream()->sent;
}

/* Nobody takes anything for a while; then there is room again, and somebody waits for it. */
static bool there_is_room(void *pub) {
    return stream_send(stream(), send_patiently, pub);
}

static void fill(struct lw_pub *pub) {
    word_set(&run.ledger->words[HOLD], 1);
    while (stream_send(stream(), send_to, pub)) continue;
    stream_send(stream(), send_patiently, pub);
    word_set(&run.ledger->words[HOLD], 0);
    run_wait(there_is_room, pub, "room");
}

static void ring(struct lw_pub *pub) {
    for (int i = 0; i < ROUNDS; i++) {
        t_sleep(LW_MS(1)); /* mostly it is asleep by then */
        stream_send(stream(), send_to, pub);
        run_wait(came, NULL, "the other process to wake");
    }
    fill(pub);
    run_wait(came, NULL, "the other process to take all");
}

static void ringer(void) {
    struct lw_bus *bus;
    struct lw_pub *pub = NULL;
    word_set(&run.ledger->words[HOLD], 0);
    word_set(&run.ledger->words[WANTED], UINT64_MAX);
    struct t_child peer = run_peer(take_what_comes);
    t_hear(&peer);
    if (run_bus(&bus, run.dir, "alice") && SETUP(lw_pub_open(&pub, bus, TOPIC, NULL)) >= 0 && resume(bus)) ring(pub);
    t_kill(&peer);
    VOID(lw_pub_close(pub));
    NEED(CALL(lw_bus_close(bus)) == 0);
}

const struct scenario group_scenarios[] = {
    {"group-sleeper", NULL, sleeper, false},
    {"group-ringer", NULL, ringer, false},
    {0},
};

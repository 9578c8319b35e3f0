/* SPDX-License-Identifier: MIT */
/* fail/topic.c - scenarios: a bus, and topics with a durable subscriber. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fail/run.h"
#include "util/topic_util.h"

enum { SOME = 5 };

/* ---- a bus ------------------------------------------------------------------------------------------------------- */

static int see_node(const struct lw_node_info *node, void *user) {
    (void)user;
    NEED(*node->name);
    return 0;
}

static void bus_opens(void) {
    struct lw_bus *named, *pooled, *looker;
    struct lw_bus_options look = LW_BUS_OPTIONS_INIT;
    struct lw_clean_result cleaned = LW_CLEAN_RESULT_INIT;
    look.dir = run.dir;
    look.flags = LW_BUS_OBSERVE;
    if (run_bus(&named, run.dir, "alice") && run_bus(&pooled, run.dir, NULL)) {
        if (SETUP(lw_bus_open(&looker, &look)) >= 0) SETUP(lw_bus_nodes(looker, see_node, NULL));
        SETUP(lw_bus_clean(named, &cleaned));
        NEED(CALL(lw_bus_close(looker)) == 0);
        NEED(CALL(lw_bus_close(pooled)) == 0);
    }
    NEED(CALL(lw_bus_close(named)) == 0);
}

/* A bus for a group of users: others read /etc/group, and give files away. */
static void bus_of_a_group(void) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    opt.dir = run.dir;
    opt.group = "root";
    SETUP(lw_bus_open(&bus, &opt));
    NEED(CALL(lw_bus_close(bus)) == 0);
}

/* ---- publish and subscribe --------------------------------------------------------------------------------------- */

static int64_t send_to(void *pub, uint16_t type, const void *data, size_t len) {
    return lw_pub_send(pub, type, data, len, 0);
}

static int64_t send_batch_to(void *pub, uint16_t type, const void *data, size_t len) {
    struct lw_item item = {data, len, type};
    return lw_pub_send_batch(pub, &item, 1, 0);
}

static bool open_sub(struct lw_sub **sub, struct lw_bus *bus, uint64_t max_lag) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.name = "risk";
    opt.from = LW_FROM_OLDEST;
    opt.shape.ring = TT_RING;
    opt.max_lag = max_lag;
    return SETUP(lw_sub_open(sub, bus, "prices", &opt)) >= 0;
}

/* All that was accepted before is there, and no more. */
static bool resume(struct lw_bus *bus) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    if (SETUP(lw_topic_stat(bus, "prices", &info)) < 0) return false;
    stream_resumes(&run.ledger->streams[0], info.number);
    return true;
}

static void receive(struct lw_sub *sub) {
    struct stream *s = &run.ledger->streams[0];
    struct lw_msg msg;
    while (CALL(lw_sub_next(sub, &msg, LW_US(100))) == 1) {
        stream_came(s, &msg);
        stream_releasing(s, &msg);
        if (CALL(lw_sub_release(sub, &msg)) < 0) return;
        stream_released(s);
    }
    if (run.strict) NEED(stream_is_complete(s));
}

static void receive_copied(struct lw_sub *sub) {
    struct stream *s = &run.ledger->streams[0];
    struct lw_msg msg;
    char buffer[TT_MESSAGE];
    s->releasing = s->released < s->sent ? s->released + 1 : s->released;
    while (CALL(lw_sub_recv(sub, buffer, sizeof buffer, &msg, 0)) == 1) {
        uint64_t was = s->releasing;
        stream_came(s, &msg);
        s->releasing = was;
        stream_released(s);
        s->releasing = s->released < s->sent ? s->released + 1 : s->released;
    }
    if (run.strict) NEED(stream_is_complete(s));
}

static void talk(struct lw_pub *pub, struct lw_sub *sub) {
    struct stream *s = &run.ledger->streams[0];
    for (int i = 0; i < SOME; i++) stream_send(s, send_to, pub);
    receive(sub);
    for (int i = 0; i < SOME; i++) stream_send(s, send_batch_to, pub);
    receive_copied(sub);
    stream_send(s, send_to, pub);
    SETUP(lw_sub_seek(sub, LW_FROM_POSITION, 0)); /* back to the beginning: it all comes again */
    s->released = s->releasing = 0;
    receive(sub);
    VOID(lw_sub_rewind(sub));
}

static void publish_and_subscribe(unsigned flags, uint64_t max_lag, uint64_t ring) {
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    struct lw_bus *bus;
    struct lw_pub *pub = NULL;
    struct lw_sub *sub = NULL;
    opt.flags = flags;
    opt.shape.ring = ring;
    if (run_bus(&bus, run.dir, "alice") && open_sub(&sub, bus, max_lag) &&
        SETUP(lw_pub_open(&pub, bus, "prices", &opt)) >= 0 && resume(bus))
        talk(pub, sub);
    VOID(lw_pub_close(pub));
    VOID(lw_sub_close(sub));
    NEED(CALL(lw_bus_close(bus)) == 0);
}

static void shared(void) {
    publish_and_subscribe(0, 0, 0);
}

static void exclusive(void) {
    publish_and_subscribe(LW_PUB_EXCLUSIVE, 0, 0);
}

static void copying(void) {
    publish_and_subscribe(0, TT_RING / 2, 0);
}

/* Somebody was here before, left messages, and was killed. */
static int leave_messages(void *arg) {
    struct stream *s = &run.ledger->streams[0];
    struct lw_bus *bus;
    struct lw_pub *pub;
    struct lw_sub *sub, *plain;
    (void)arg;
    NEED(run_bus(&bus, run.dir, "bob") && open_sub(&sub, bus, 0));
    NEED(!lw_sub_open(&plain, bus, "prices", NULL));
    NEED(!lw_pub_open(&pub, bus, "prices", NULL));
    for (int i = 0; i < SOME; i++) NEED(stream_send(s, send_to, pub));
    t_say(1);
    t_forever();
}

void topic_of_the_dead(void) {
    struct t_child child = run_peer(leave_messages);
    t_hear(&child);
    t_kill(&child);
}

/* ---- another shape ----------------------------------------------------------------------------------------------- */

/* While it is empty, a topic gets the ring that is asked for, and who has it open moves over. */
static void reshape(void) {
    struct lw_shape shape = LW_SHAPE_INIT;
    struct lw_bus *bus;
    struct lw_pub *pub = NULL;
    struct lw_sub *sub = NULL;
    struct lw_sub_options sopt = LW_SUB_OPTIONS_INIT;
    struct lw_pub_options popt = LW_PUB_OPTIONS_INIT;
    sopt.name = "risk";
    popt.shape.ring = 2 * TT_RING;
    popt.shape.slots = 128;
    shape.ring = TT_RING;
    bool opened = run_bus(&bus, run.dir, "alice");
    if (opened && run.ledger->streams[0].sent == 0 && !run.strict) SETUP(lw_topic_create(bus, "prices", &shape));
    if (opened && SETUP(lw_sub_open(&sub, bus, "prices", &sopt)) >= 0 &&
        SETUP(lw_pub_open(&pub, bus, "prices", &popt)) >= 0 && resume(bus))
        talk(pub, sub);
    VOID(lw_pub_close(pub));
    VOID(lw_sub_close(sub));
    NEED(CALL(lw_bus_close(bus)) == 0);
}

const struct scenario topic_scenarios[] = {
    {"bus", NULL, bus_opens, false},
    {"bus-disk", NULL, bus_opens, true},
    {"bus-group", NULL, bus_of_a_group, false},
    {"topic-new", NULL, shared, false},
    {"topic-disk", NULL, shared, true},
    {"topic-sole", NULL, exclusive, false},
    {"topic-copying", NULL, copying, false},
    {"topic-of-the-dead", topic_of_the_dead, shared, false},
    {"topic-reshape", NULL, reshape, false},
    {0},
};

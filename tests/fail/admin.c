/* SPDX-License-Identifier: MIT */
/* fail/admin.c - scenarios: looking at all that is on a bus, verifying, forgetting, removing, cleaning. */
#include <string.h>

#include "fail/run.h"
#include "util/topic_util.h"

/* Words of the ledger: how far it has got with what is removed. */
enum { TOPIC, LINK, THERE = 0, GOING, GONE };

/* A removal that was killed may have been done. */
static bool may_be_there(int what) {
    return run.ledger->words[what] != GONE;
}
static bool must_be_there(int what) {
    return run.ledger->words[what] == THERE;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static int see_node(const struct lw_node_info *node, void *count) {
    NEED(*node->name);
    ++*(int *)count;
    return 0;
}

static int see_topic(const char *topic, void *count) {
    NEED(!strcmp(topic, "prices"));
    ++*(int *)count;
    return 0;
}

static int see_writer(const struct lw_writer_info *writer, void *count) {
    NEED(*writer->node);
    ++*(int *)count;
    return 0;
}

static int see_reader(const struct lw_reader_info *reader, void *count) {
    *(int *)count += reader->durable;
    return 0;
}

static int see_link(const struct lw_link_info *info, int error, void *count) {
    NEED(!strcmp(info->server, "gateway") && !strcmp(info->client, "alice"));
    if (error && run.strict) FAILED("the link is shown as %s", lw_errname(error));
    ++*(int *)count;
    return 0;
}

/* A listing that worked is whole. */
static void look(struct lw_bus *bus) {
    struct lw_verify_result result = LW_VERIFY_RESULT_INIT;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    int n = 0;
    if (SETUP(lw_bus_nodes(bus, see_node, &n)) >= 0) NEED(n >= 1);
    n = 0;
    if (SETUP(lw_topic_list(bus, see_topic, &n)) >= 0) NEED(n <= may_be_there(TOPIC) && n >= must_be_there(TOPIC));
    n = 0;
    if (SETUP(lw_link_list(bus, NULL, see_link, &n)) >= 0) NEED(n <= may_be_there(LINK) && n >= must_be_there(LINK));
    if (!must_be_there(TOPIC)) return;
    SETUP(lw_topic_stat(bus, "prices", &info));
    SETUP(lw_topic_writers(bus, "prices", see_writer, &n));
    n = 0;
    if (SETUP(lw_topic_readers(bus, "prices", see_reader, &n)) >= 0) NEED(n <= 1);
    if (SETUP(lw_topic_verify(bus, "prices", &result)) >= 0) NEED(result.records > 0);
}

static void looking(void) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    opt.dir = run.dir;
    opt.flags = LW_BUS_OBSERVE;
    if (SETUP(lw_bus_open(&bus, &opt)) >= 0) look(bus);
    NEED(CALL(lw_bus_close(bus)) == 0);
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

/* What is gone already need not be removed again. */
static int gone_is_fine(int rc, int what) {
    bool gone = rc == LW_ENOTOPIC || rc == LW_ENOLINK;
    if (rc == LW_ENOSUB || (gone && !must_be_there(what))) return 0;
    return rc;
}

static void removing(struct lw_bus *bus) {
    uint64_t unread;
    uint64_t *words = run.ledger->words;
    if (may_be_there(TOPIC)) SETUP(gone_is_fine(lw_topic_forget(bus, "prices", "risk"), TOPIC));
    if (may_be_there(TOPIC)) {
        words[TOPIC] = GOING;
        if (SETUP(gone_is_fine(lw_topic_remove(bus, "prices", 0), TOPIC)) >= 0) words[TOPIC] = GONE;
    }
    if (may_be_there(LINK)) {
        words[LINK] = GOING;
        if (SETUP(gone_is_fine(lw_link_remove(bus, "gateway", "alice", 0, &unread), LINK)) >= 0) words[LINK] = GONE;
    }
}

static void changing(void) {
    struct lw_clean_result cleaned = LW_CLEAN_RESULT_INIT;
    struct lw_bus *bus;
    if (run_bus(&bus, run.dir, "carol")) {
        SETUP(lw_bus_clean(bus, &cleaned));
        removing(bus);
        SETUP(lw_bus_clean(bus, NULL));
        look(bus);
    }
    NEED(CALL(lw_bus_close(bus)) == 0);
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

static int leave_a_link(void *arg) {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_link *link;
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    (void)arg;
    opt.ring_up = opt.ring_down = TT_RING;
    NEED(run_bus(&bus, run.dir, "alice") && !lw_group_open(&group, bus, NULL));
    NEED(!lw_link_open(&link, group, "gateway", &opt) && lw_link_send(link, 1, "x", 1, 0) >= 0);
    t_say(1);
    t_forever();
}

/* A topic and a link that killed processes left, with messages. Which are given up here. */
static void leave_all(void) {
    topic_of_the_dead();
    struct t_child child = run_peer(leave_a_link);
    t_hear(&child);
    t_kill(&child);
    run.ledger->streams[0] = (struct stream){0};
}

const struct scenario admin_scenarios[] = {
    {"look", leave_all, looking, false},
    {"remove", leave_all, changing, false},
    {"remove-disk", leave_all, changing, true},
    {0},
};

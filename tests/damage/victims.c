/* SPDX-License-Identifier: MIT */
/* damage/victims.c - a topic, exclusive or shared, one on a disk, and a bus; and what a program does with them. */
#include <string.h>
#include <sys/stat.h>

#include "damage/damage.h"

enum { MOST = 1 << 16, NEW = 1 << 20 }; /* messages a ring can have; numbers of those that are sent afterwards */

uint64_t refusals;

void image_take(struct image *image) {
    struct stat st;
    T_NEED(!stat(image->path, &st) && (!image->size || image->size == (size_t)st.st_size));
    image->size = (size_t)st.st_size;
    unsigned char *bytes = malloc(image->size);
    T_NEED(bytes && image->count < SNAPSHOTS);
    tt_peek(image->path, 0, bytes, image->size);
    image->bytes[image->count++] = bytes;
}

static void image_of_topic(struct image *image, const char *dir) {
    tt_lane(image->path, dir, "t");
    image->head = TT_LANE_HEAD;
}

/* ---- codes ------------------------------------------------------------------------------------------------------- */

static const char *text(const char *what, int64_t rc) {
    return tt_text("%s: %s: %.200s", what, lw_errname((int)rc), lw_errtext());
}

/* A code without a name, or without a text, is of no use to anybody. */
static const char *unnamed(const char *what, int64_t rc) {
    if (rc >= 0) return NULL;
    bool named = strcmp(lw_errname((int)rc), "?") != 0 && *lw_errtext();
    refusals += named;
    return named ? NULL : text(what, rc);
}

/* ---- a topic ----------------------------------------------------------------------------------------------------- */

static const char *read_one(const struct lw_msg *msg, bool payload) {
    const unsigned char *bytes = msg->data;
    unsigned sum = 0;
    for (size_t i = 0; i < msg->len; i++) sum += bytes[i];
    __asm__ volatile("" : : "r"(sum)); /* each was read, and was there */
    return payload && tt_read(msg) == UINT64_MAX ? "a message that nobody sent" : NULL;
}

static const char *read_all(struct lw_sub *sub, bool payload) {
    struct lw_msg msg;
    for (unsigned n = 0; n < MOST; n++) {
        int rc = lw_sub_next(sub, &msg, 0);
        if (rc == LW_EEMPTY) return NULL;
        if (rc == LW_EGAP || rc == LW_EEVICTED) continue;
        if (rc != 1) return unnamed("next", rc);
        const char *wrong = read_one(&msg, payload);
        if (wrong) return wrong;
        if (n % 3 == 0 && (rc = lw_sub_release(sub, &msg))) return text("release", rc);
    }
    return "there is no end to what is read";
}

static const char *read_as(struct lw_bus *bus, const char *name, enum lw_from from, bool payload) {
    struct lw_sub *sub;
    int rc = tt_sub_open(&sub, bus, "t", name, from, 0);
    if (rc) return unnamed("opening to read", rc);
    const char *wrong = read_all(sub, payload);
    lw_sub_close(sub);
    return wrong;
}

/* What is sent from now on comes, if there is a subscriber and it was not refused. */
static const char *send_and_get(struct lw_pub *pub, struct lw_sub *sub) {
    struct lw_msg msg;
    for (uint64_t n = NEW; n < NEW + 20; n++) {
        int64_t rc = tt_send(pub, n, 0);
        if (rc < 0) return unnamed("send", rc);
        rc = lw_sub_next(sub, &msg, 0);
        if (rc != 1 && rc != LW_EEMPTY) return unnamed("next of a new one", rc);
        if (rc != 1 || tt_read(&msg) != n) return "what was sent did not come";
        if ((rc = lw_sub_release(sub, &msg))) return text("release of a new one", rc);
    }
    return NULL;
}

static const char *go_on(struct lw_bus *bus, bool exclusive) {
    struct lw_pub *pub;
    struct lw_sub *sub;
    int rc = lw_pub_open(&pub, bus, "t", exclusive ? &tt_sole : NULL);
    if (rc) return unnamed("opening to send", rc);
    rc = tt_sub_open(&sub, bus, "t", NULL, LW_FROM_NOW, 0);
    const char *wrong = rc ? unnamed("opening to read on", rc) : send_and_get(pub, sub);
    if (!rc) lw_sub_close(sub);
    lw_pub_close(pub);
    return wrong;
}

static const char *look(struct lw_bus *bus, uint64_t random) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    const char *wrong = unnamed("stat", lw_topic_stat(bus, "t", &info));
    if (!wrong) wrong = unnamed("verify", lw_topic_verify(bus, "t", NULL));
    if (wrong || random % 8) return wrong;
    int rc = lw_topic_remove(bus, "t", LW_REMOVE_FORCE);
    return rc ? text("removing it by force", rc) : go_on(bus, random & 8);
}

static const char *use_topic_of(struct lw_bus *bus, bool payload, uint64_t random) {
    const char *wrong = random & 16 ? look(bus, ~UINT64_C(0) - 1) : NULL;
    if (!wrong) wrong = read_as(bus, random & 32 ? "d" : NULL, LW_FROM_OLDEST, payload);
    if (!wrong) wrong = go_on(bus, random & 64);
    if (!wrong && random & 128) wrong = read_as(bus, "d", LW_FROM_NOW, payload);
    return wrong ? wrong : look(bus, random >> 8);
}

/* One bus for many of them. */
static const char *use_topic(const char *dir, bool payload, uint64_t random) {
    static struct lw_bus *bus;
    if (!bus) bus = tt_bus(dir, NULL);
    return use_topic_of(bus, payload, random);
}

/* ---- a bus and a topic on a disk ---------------------------------------------------------------------------------- */

/* A bus of its own each time: damage of the bus file is noticed when it is opened. */
static const char *use_bus(const char *dir, bool payload, uint64_t random) {
    struct lw_bus *bus;
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    opt.dir = dir;
    int rc = lw_bus_open(&bus, &opt);
    if (rc) return unnamed("opening the bus", rc);
    const char *wrong = use_topic_of(bus, payload, random);
    rc = lw_bus_close(bus);
    return wrong ? wrong : unnamed("closing the bus", rc);
}

/* ---- topics in use ----------------------------------------------------------------------------------------------- */

struct life {
    const char *dir;
    bool exclusive;
};

/* Laps of a topic with durable reader "d", which is behind in the end. After each it says so, and goes on when it is told to. */
static int live(void *arg) {
    const struct life *life = arg;
    struct lw_bus *bus = tt_bus(life->dir, NULL);
    struct lw_pub *pub = life->exclusive ? tt_pub(bus, "t") : tt_pub_shared(bus, "t");
    struct lw_sub *d = tt_sub(bus, "t", "d", LW_FROM_NOW), *other = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    for (uint64_t lap = 0; lap < SNAPSHOTS; lap++) {
        tt_send_many(pub, lap * 400, 400);
        T_NEED(tt_gets(other, lap * 400, 400) && tt_gets(d, lap * 400, lap + 1 < SNAPSHOTS ? 400 : 250));
        t_say(0);
        t_listen();
    }
    lw_sub_close(d);
    lw_sub_close(other);
    lw_pub_close(pub);
    T_NEED(!lw_bus_close(bus));
    return 0;
}

/* A snapshot after each lap but the last, and one of how it was left. */
static void lead(const char *dir, bool exclusive, bool dies, struct image *image) {
    struct life life = {.dir = dir, .exclusive = exclusive};
    struct t_child child = t_fork(live, &life);
    for (int lap = 0; lap < SNAPSHOTS; lap++) {
        t_hear(&child);
        bool last = lap + 1 == SNAPSHOTS;
        if (last && dies) t_kill(&child);
        if (!last || dies) image_take(image);
        if (!last || !dies) t_tell(&child, 0);
    }
    if (dies) return;
    T_NEED(t_wait(&child) == 0);
    image_take(image);
}

static void make_closed(const char *dir, struct image *image) {
    image_of_topic(image, dir);
    lead(dir, true, false, image);
}

static void make_killed(const char *dir, struct image *image) {
    image_of_topic(image, dir);
    lead(dir, true, true, image);
}

static void make_shared(const char *dir, struct image *image) {
    image_of_topic(image, dir);
    lead(dir, false, true, image);
}

static void make_bus(const char *dir, struct image *image) {
    snprintf(image->path, sizeof image->path, "%s/bus", dir);
    lead(dir, false, true, image);
}

const struct victim victims[] = {{"closed", false, make_closed, use_topic}, {"killed", false, make_killed, use_topic},
                                 {"shared", false, make_shared, use_topic}, {"bus", false, make_bus, use_bus},
                                 {"rebooted", true, make_killed, use_bus},  {NULL, false, NULL, NULL}};

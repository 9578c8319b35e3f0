/* SPDX-License-Identifier: MIT */
/* chaos/verdict.c - before the first process, and after the last one: is everything there, and is everything tidy? */
#include <stdio.h>
#include <string.h>

#include "chaos/chaos.h"

static struct lw_bus *open_bus(struct ledger *ledger) {
    struct lw_bus *bus;
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    opt.dir = ledger->dir;
    opt.node = "checker";
    int rc = lw_bus_open(&bus, &opt);
    if (!rc) return bus;
    complain(ledger, "checker: lw_bus_open: %s", lw_errtext());
    return NULL;
}

static bool fails(struct ledger *ledger, const char *call, int64_t rc) {
    if (rc < 0) complain(ledger, "checker: %s: %s: %s", call, lw_errname((int)rc), lw_errtext());
    return rc < 0;
}

static bool is_named(const struct actor *actor) {
    return actor->role == READER && (actor->kind == DURABLE || actor->kind == LAGGING);
}

/* ---- before ------------------------------------------------------------------------------------------------------ */

static void make_name(struct ledger *ledger, struct lw_bus *bus, const struct actor *actor) {
    char name[LW_NAME_MAX + 1];
    struct lw_sub *sub;
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    reader_name(name, actor->index);
    opt.name = name;
    opt.from = LW_FROM_OLDEST;
    if (!fails(ledger, "lw_sub_open", lw_sub_open(&sub, bus, TOPIC, &opt))) lw_sub_close(sub);
}

void verdict_prepare(struct ledger *ledger) {
    struct lw_shape shape = LW_SHAPE_INIT;
    struct lw_bus *bus = open_bus(ledger);
    if (!bus) return;
    shape.ring = ledger->ring;
    shape.slots = 2 * ledger->first_link; /* each has one, and may be about to free that of a dead one */
    fails(ledger, "lw_topic_create", lw_topic_create(bus, TOPIC, &shape));
    for (uint32_t i = 0; i < ledger->actors; i++)
        if (is_named(&ledger->actor[i])) make_name(ledger, bus, &ledger->actor[i]);
    fails(ledger, "lw_bus_close", lw_bus_close(bus));
}

/* ---- after: is everything there ---------------------------------------------------------------------------------- */

static void check_writers(struct ledger *ledger, uint32_t index, const struct track *at) {
    for (uint32_t w = 0; w < ledger->writers; w++) {
        if (track_complete(at, w, ledger)) continue;
        atomic_fetch_add(&ledger->lost, 1);
        complain(ledger, "reader %u has writer %u to life %u message %u, and that is not all", index, w,
                 at->seen[w].life, at->seen[w].next);
    }
}

/* One that may be evicted may stand at the end without having released the last ones: it was told. */
static void check_reader(struct ledger *ledger, const struct actor *actor, uint64_t number) {
    const struct durable *d = &ledger->durable[actor->index];
    const struct track *at = &d->at[atomic_load(&d->done)];
    uint64_t drained = atomic_load(&d->drained), end = actor->kind == DURABLE ? at->number : drained - 1;
    if (!drained) {
        complain(ledger, "reader %u did not come to the end", actor->index);
    } else if (end != number || drained - 1 != number) {
        atomic_fetch_add(&ledger->lost, number > end ? number - end : 0);
        complain(ledger, "reader %u came to the end at %llu messages, and released %llu, of %llu", actor->index,
                 (unsigned long long)drained - 1, (unsigned long long)at->number, (unsigned long long)number);
    }
    if (actor->kind == DURABLE) check_writers(ledger, actor->index, at);
}

/* ---- after: is everything tidy ----------------------------------------------------------------------------------- */

struct seen_slots {
    uint32_t named, nameless, alive;
};

static int each_reader(const struct lw_reader_info *info, void *user) {
    struct seen_slots *seen = user;
    if (info->durable)
        seen->named++;
    else
        seen->nameless++;
    seen->alive += info->alive != 0;
    return 0;
}

static int each_writer(const struct lw_writer_info *info, void *user) {
    struct seen_slots *seen = user;
    seen->nameless++;
    seen->alive += info->alive != 0;
    return 0;
}

static void check_slots(struct ledger *ledger, struct lw_bus *bus) {
    struct seen_slots seen = {0};
    uint32_t named = 0;
    fails(ledger, "lw_bus_clean", lw_bus_clean(bus, NULL));
    fails(ledger, "lw_topic_readers", lw_topic_readers(bus, TOPIC, each_reader, &seen));
    fails(ledger, "lw_topic_writers", lw_topic_writers(bus, TOPIC, each_writer, &seen));
    for (uint32_t i = 0; i < ledger->actors; i++) named += is_named(&ledger->actor[i]);
    if (seen.named != named || seen.nameless || seen.alive)
        complain(ledger, "after lw_bus_clean: %u durable names of %u, %u slots of the dead, %u alive", seen.named,
                 named, seen.nameless, seen.alive);
}

static void check_log(struct ledger *ledger, struct lw_bus *bus, const struct lw_topic_info *info) {
    struct lw_verify_result result = LW_VERIFY_RESULT_INIT;
    if (fails(ledger, "lw_topic_verify", lw_topic_verify(bus, TOPIC, &result))) return;
    if (result.to != info->tail || result.skipped)
        complain(ledger, "lw_topic_verify came to %llu of %llu, and skipped %llu bytes", (unsigned long long)result.to,
                 (unsigned long long)info->tail, (unsigned long long)result.skipped);
}

/* What the dead held must be free: for a sole publisher, and for the removal without force. */
static void check_use(struct ledger *ledger, struct lw_bus *bus) {
    struct lw_pub *pub;
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    opt.flags = LW_PUB_EXCLUSIVE;
    if (fails(ledger, "lw_pub_open, exclusive", lw_pub_open(&pub, bus, TOPIC, &opt))) return;
    fails(ledger, "lw_pub_send", lw_pub_send(pub, 0, "the end", 8, 0));
    lw_pub_close(pub);
    fails(ledger, "lw_topic_verify", lw_topic_verify(bus, TOPIC, NULL));
    if (!atomic_load(&ledger->complaints)) fails(ledger, "lw_topic_remove", lw_topic_remove(bus, TOPIC, 0));
}

void verdict_end(struct ledger *ledger) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_bus *bus = open_bus(ledger);
    if (!bus) return;
    if (!fails(ledger, "lw_topic_stat", lw_topic_stat(bus, TOPIC, &info))) {
        for (uint32_t i = 0; i < ledger->actors; i++)
            if (is_named(&ledger->actor[i])) check_reader(ledger, &ledger->actor[i], info.number);
        check_log(ledger, bus, &info);
        check_slots(ledger, bus);
        check_log(ledger, bus, &info);
        check_use(ledger, bus);
    }
    fails(ledger, "lw_bus_close", lw_bus_close(bus));
}

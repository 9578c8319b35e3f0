/* SPDX-License-Identifier: MIT */
/* pattern/topic_admin.c - making, forgetting, removing, cleaning: what is done to topics from outside. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/options.h"
#include "pattern/ring.h"
#include "pattern/topic.h"

int lw_topic_create(struct lw_bus *bus, const char *topic, const struct lw_shape *shape) {
    struct lw__file t;
    int rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = lw__topic_name(&t, bus, topic);
    if (!rc) rc = lw__topic_open(&t, shape, LW__READ);
    if (!rc) lw__file_close(&t);
    lw__bus_leave(bus);
    return rc;
}

/* ---- forget ------------------------------------------------------------------------------------------------------ */

/* Pairs with change_word() and lw__slot_note_away(). */
static int forget(struct lw__file *t, const char *name) {
    struct lw__slot *slot = lw__slot_find(&t->lane, name);
    if (!slot) return lw__fail(LW_ENOSUB, "topic %s: no durable subscriber %s", t->name, name);
    uint64_t owner;
    while (lw__owner_gone(t->bus, owner = lw__load_acquire(&slot->owner))) /* its word may change from dead to away */
        if (lw__slot_free(slot, owner, t->bus->owner)) return lw__ring_writers(t->bus, &t->lane), 0;
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(t->bus, owner, node);
    return lw__fail(LW_EHELD, "topic %s: subscriber %s is open in node %s (pid %d); end that first", t->name, name,
                    node, pid);
}

/* 1: another file is at the path by now; again. */
static int forget_once(struct lw__file *t, const char *name) {
    int rc = lw__file_open_existing(t, LW__READ);
    if (rc) return rc;
    rc = lw__file_lock(t, "forgetting a subscriber");
    if (!rc) {
        rc = lw__file_at_path(t) == 0 ? 1 : forget(t, name);
        lw__file_unlock(t);
    }
    lw__file_close(t);
    return rc;
}

int lw_topic_forget(struct lw_bus *bus, const char *topic, const char *name) {
    struct lw__file t;
    int rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = lw__topic_name(&t, bus, topic);
    if (!rc) rc = lw__name_check(name, "subscriber");
    if (!rc) {
        while ((rc = forget_once(&t, name)) == 1) {
        }
    }
    lw__bus_leave(bus);
    return rc;
}

/* ---- remove ------------------------------------------------------------------------------------------------------ */

int lw_topic_remove(struct lw_bus *bus, const char *topic, unsigned flags) {
    struct lw__file t;
    bool again = false;
    if (flags & ~(unsigned)LW_REMOVE_FORCE) return lw__fail(-EINVAL, "lw_topic_remove: 0x%x is no flag", flags);
    int rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = lw__topic_name(&t, bus, topic);
    if (!rc) {
        for (; (rc = lw__file_remove(&t, flags & LW_REMOVE_FORCE, NULL, NULL)) == 1; again = true) {
        }
        if (rc == LW_ENOTOPIC && again) rc = 0; /* somebody was faster */
    }
    lw__bus_leave(bus);
    return rc;
}

/* ---- clean ------------------------------------------------------------------------------------------------------- */

struct cleaning {
    struct lw_bus *bus;
    struct lw_clean_result *result;
};

/* Under the lane's lock: who wants to publish just now and finds us in its way, asks again under it. Pairs with
 * take_for_good() and take_word(). */
static void clean_writer(struct lw__file *t, const struct lw__owners *owners, struct lw_clean_result *result) {
    struct lw__writer writer;
    uint64_t lock = lw__load_acquire(&t->lane.ctl->lock);
    if (!lock || !lw__owner_gone(t->bus, lock) || lw__byte_lock(t->fd, 0, 0)) return;
    if (lw__writer_take(&writer, &t->lane, t->bus->owner, owners) == 0) {
        lw__writer_leave(&writer);
        result->writers++;
    }
    lw__file_unlock(t);
}

/* Pairs with take_free(). */
static unsigned count_dead_writers(const struct lw__file *t) {
    unsigned dead = 0;
    for (uint32_t i = 0; i < t->lane.slots_max; i++) {
        uint64_t owner = lw__load_acquire(&t->lane.slots[i].owner);
        dead += lw__slot_kind(owner) == LW__SLOT_WRITER && lw__owner_gone(t->bus, owner);
    }
    return dead;
}

/* What can't be opened is not to be cleaned. */
static int clean_topic(const char *name, void *user) {
    struct cleaning *c = user;
    struct lw__file t;
    struct lw__owners owners = lw__file_owners(c->bus);
    if (lw__bus_enter(c->bus, true)) return 0;
    if (!lw__topic_name(&t, c->bus, name) && !lw__file_open_existing(&t, LW__READ)) {
        unsigned writers = count_dead_writers(&t), freed = lw__lane_sweep(&t.lane, c->bus->owner, &owners);
        if (writers > freed) writers = freed; /* somebody else swept as well */
        c->result->writers += writers;
        c->result->readers += freed - writers;
        clean_writer(&t, &owners, c->result);
        lw__file_close(&t);
    }
    lw__bus_leave(c->bus);
    return 0;
}

int lw_bus_clean(struct lw_bus *bus, struct lw_clean_result *result) {
    struct lw_clean_result done = LW_CLEAN_RESULT_INIT;
    struct cleaning c = {.bus = bus, .result = &done};
    int rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = lw__bus_clean_nodes(bus, &done);
    lw__bus_leave(bus);
    if (!rc) rc = lw_topic_list(bus, clean_topic, &c);
    return rc || !result ? rc : lw__result_write(result, &done, sizeof done, "lw_clean_result");
}

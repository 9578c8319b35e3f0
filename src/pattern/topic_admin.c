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
#include "pattern/topic.h"

int lw_topic_create(struct lw_bus *bus, const char *topic, const struct lw_shape *shape) {
    struct lw__topic t;
    int rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = lw__topic_name(&t, bus, topic);
    if (!rc) rc = lw__topic_open(&t, shape, LW__READ);
    if (!rc) lw__topic_close(&t);
    lw__bus_leave(bus);
    return rc;
}

/* ---- forget ------------------------------------------------------------------------------------------------------ */

static int forget(struct lw__topic *t, const char *name) {
    struct lw__slot *slot = lw__slot_find(&t->lane, name);
    if (!slot) return lw__fail(LW_ENOSUB, "topic %s: no durable subscriber %s", t->name, name);
    uint64_t owner;
    while (lw__owner_gone(t->bus, owner = lw__load_acquire(&slot->owner))) /* its word may change from dead to away */
        if (lw__slot_free(slot, owner, t->bus->owner)) return 0;
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(t->bus, owner, node);
    return lw__fail(LW_EHELD, "topic %s: subscriber %s is open in node %s (pid %d); end that first", t->name, name,
                    node, pid);
}

/* 1: another file is at the path by now; again. */
static int forget_once(struct lw__topic *t, const char *name) {
    int rc = lw__topic_open_existing(t, LW__READ);
    if (rc) return rc;
    rc = lw__topic_lock(t, "forgetting a subscriber");
    if (!rc) {
        rc = lw__file_same(&t->bus->dir, t->path, t->fd) == 0 ? 1 : forget(t, name);
        lw__topic_unlock(t);
    }
    lw__topic_close(t);
    return rc;
}

int lw_topic_forget(struct lw_bus *bus, const char *topic, const char *name) {
    struct lw__topic t;
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

static int who_lives(struct lw__topic *t, const char *role, uint64_t owner) {
    char node[LW_NAME_MAX + 1];
    if (!owner || lw__owner_gone(t->bus, owner)) return 0;
    int pid = lw__owner_who(t->bus, owner, node);
    return lw__fail(LW_EHELD, "topic %s: node %s (pid %d) %s it; end that first, or use --force", t->name, node, pid,
                    role);
}

static int slot_lives(struct lw__topic *t, const struct lw__slot *slot) {
    uint64_t owner = lw__load_acquire(&slot->owner);
    return who_lives(t, lw__slot_kind(owner) == LW__SLOT_WRITER ? "publishes to" : "reads", owner);
}

static int anybody_lives(struct lw__topic *t) {
    int rc = who_lives(t, "publishes to", lw__load_acquire(&t->lane.ctl->lock));
    for (uint32_t i = 0; !rc && i < t->lane.slots_max; i++) rc = slot_lives(t, &t->lane.slots[i]);
    return rc;
}

static int unlink_lane(struct lw__topic *t) {
    if (unlinkat(t->bus->dir.fd, t->path, 0) && errno != ENOENT) return lw__file_explain(&t->bus->dir, t->path, -errno);
    lw__topic_tidy(t);
    return 0;
}

/* 1: another file is at the path by now, or none. */
static int remove_locked(struct lw__topic *t, bool force) {
    int rc = lw__file_same(&t->bus->dir, t->path, t->fd);
    if (rc != 1) return rc < 0 ? lw__file_explain(&t->bus->dir, t->path, rc) : 1;
    lw__store_release(&t->lane.state->superseded, 1);
    lw__fence_full(); /* pairs with the fence of lw__topic_attached */
    rc = force ? 0 : anybody_lives(t);
    if (!rc) rc = unlink_lane(t);
    if (rc) lw__store_release(&t->lane.state->superseded, 0);
    return rc;
}

/* A file that can't be mapped: damaged, or of another version and perhaps in use. Nobody can be asked, so it takes
 * force; its users find `superseded` if it has a first page. */
static int remove_damaged(struct lw__topic *t, int why, bool force) {
    if (!force) return lw__fail_in(why, "not removed (--force removes it as it is)");
    t->fd = lw__file_open(&t->bus->dir, t->path, O_RDWR);
    if (t->fd < 0) return unlink_lane(t);
    struct stat st;
    uint64_t one = 1;
    int rc = lw__topic_lock(t, "removing it");
    if (!rc && lw__file_same(&t->bus->dir, t->path, t->fd) == 1) {
        if (fstat(t->fd, &st) == 0 && st.st_size >= LW__PAGE) (void)!pwrite(t->fd, &one, sizeof one, LW__SUPERSEDED_AT);
        rc = unlink_lane(t);
    }
    lw__topic_close(t);
    return rc;
}

static int remove_once(struct lw__topic *t, bool force) {
    int rc = lw__topic_open_existing(t, LW__READ);
    if (rc == LW_ECORRUPT || rc == LW_EVERSION) return remove_damaged(t, rc, force);
    if (rc) return rc;
    rc = lw__topic_lock(t, "removing it");
    if (!rc) {
        rc = remove_locked(t, force);
        lw__topic_unlock(t);
    }
    lw__topic_close(t);
    return rc;
}

int lw_topic_remove(struct lw_bus *bus, const char *topic, unsigned flags) {
    struct lw__topic t;
    bool again = false;
    if (flags & ~(unsigned)LW_REMOVE_FORCE) return lw__fail(-EINVAL, "lw_topic_remove: 0x%x is no flag", flags);
    int rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = lw__topic_name(&t, bus, topic);
    if (!rc) {
        for (; (rc = remove_once(&t, flags & LW_REMOVE_FORCE)) == 1; again = true) {
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

/* Under the lane's lock: who wants to publish just now and finds us in its way, asks again under it. */
static void clean_writer(struct lw__topic *t, const struct lw__owners *owners, struct lw_clean_result *result) {
    struct lw__writer writer;
    uint64_t lock = lw__load_acquire(&t->lane.ctl->lock);
    if (!lock || !lw__owner_gone(t->bus, lock) || lw__byte_lock(t->fd, 0, 0)) return;
    if (lw__writer_take(&writer, &t->lane, t->bus->owner, owners) == 0) {
        lw__writer_leave(&writer);
        result->writers++;
    }
    lw__topic_unlock(t);
}

static unsigned count_dead_writers(const struct lw__topic *t) {
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
    struct lw__topic t;
    struct lw__owners owners = lw__topic_owners(c->bus);
    if (lw__bus_enter(c->bus, true)) return 0;
    if (!lw__topic_name(&t, c->bus, name) && !lw__topic_open_existing(&t, LW__READ)) {
        unsigned writers = count_dead_writers(&t), freed = lw__lane_sweep(&t.lane, c->bus->owner, &owners);
        if (writers > freed) writers = freed; /* somebody else swept as well */
        c->result->writers += writers;
        c->result->readers += freed - writers;
        clean_writer(&t, &owners, c->result);
        lw__topic_close(&t);
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

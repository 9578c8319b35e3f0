/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "pattern/topic.h"

static bool owner_closed(void *context, uint64_t owner) {
    return lw__owner_closed(context, owner);
}

static bool owner_gone(void *context, uint64_t owner) {
    return lw__owner_gone(context, owner);
}

struct lw__owners lw__topic_owners(struct lw_bus *bus) {
    return (struct lw__owners){.closed = owner_closed, .gone = owner_gone, .context = bus};
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int check_levels(const char *name) {
    char level[LW_NAME_MAX + 2];
    for (const char *at = name;; at++) {
        size_t n = strcspn(at, "/");
        if (n >= sizeof level) n = sizeof level - 1; /* too long, and says so below */
        snprintf(level, n + 1, "%s", at);
        int rc = lw__name_check(level, "topic");
        if (rc) return rc;
        at += n;
        if (!*at) return 0;
    }
}

int lw__topic_name(struct lw__topic *t, struct lw_bus *bus, const char *name) {
    *t = (struct lw__topic){.bus = bus, .fd = -1};
    if (!name) return lw__fail(LW_ENAME, "topic name is NULL");
    if (strlen(name) > LW__TOPIC_MAX)
        return lw__fail(LW_ENAME, "topic name of %zu bytes: at most %d", strlen(name), LW__TOPIC_MAX);
    int rc = check_levels(name);
    if (rc) return lw__fail(rc, "topic \"%s\": %s", name, lw_errtext());
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->path, sizeof t->path, "topics/%s/.lane", name);
    return 0;
}

/* ---- the file lock ----------------------------------------------------------------------------------------------- */

int lw__topic_lock(struct lw__topic *t, const char *what) {
    int rc = lw__byte_lock(t->fd, 0, lw__setup_wait());
    if (rc == -EAGAIN)
        return lw__fail(
            rc, "topic %s: %s: another process keeps %s/%s locked for 5 s; is one stopped while it opens the topic?",
            t->name, what, t->bus->dir.path, t->path);
    return rc ? lw__fail(rc, "topic %s: %s: lock: %s", t->name, what, strerror(-rc)) : 0;
}

void lw__topic_unlock(struct lw__topic *t) {
    lw__byte_unlock(t->fd, 0);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int open_file(struct lw__topic *t, enum lw__access access) {
    char where[sizeof t->bus->dir.path + sizeof t->path + 2];
    t->fd = lw__file_open(&t->bus->dir, t->path, access == LW__LOOK ? O_RDONLY : O_RDWR);
    if (t->fd == -ENOENT || t->fd == -ENOTDIR) return -ENOENT;
    if (t->fd < 0) return lw__file_explain(&t->bus->dir, t->path, t->fd);
    snprintf(where, sizeof where, "%s/%s", t->bus->dir.path, t->path);
    int rc = lw__lane_map(&t->lane, t->fd, access, where);
    if (!rc) return 0;
    lw__topic_close(t);
    if (rc != LW_ECORRUPT && rc != LW_EVERSION) return rc;
    return lw__fail(rc, "topic %s: %s; `laneway rm %s --force` gives up what is in it", t->name, lw_errtext(), t->name);
}

static bool other_boot(const struct lw__topic *t) {
    return memcmp(t->lane.state->boot, t->bus->boot, sizeof t->bus->boot) != 0;
}

int lw__topic_open_existing(struct lw__topic *t, enum lw__access access) {
    int rc = open_file(t, access);
    if (rc == -ENOENT)
        return lw__fail(LW_ENOTOPIC, "no topic %s on bus %s; `laneway ls` lists what there is", t->name,
                        t->bus->dir.path);
    return rc;
}

/* A full disk may be full of what a killed creator did not finish. 1: some of that is gone, try again. */
static int after_no_space(struct lw__topic *t) {
    struct lw_clean_result result = LW_CLEAN_RESULT_INIT;
    return lw__bus_clean_nodes(t->bus, &result) == 0 && result.files ? 1 : -ENOSPC;
}

/* One try: 0 done, 1 again, or an error. */
static int open_once(struct lw__topic *t, const struct lw_shape *shape, enum lw__access access) {
    int rc = open_file(t, access);
    if (rc == -ENOENT) {
        struct lw__lane_shape full;
        rc = lw__shape_full(t->name, shape, &full);
        if (!rc) rc = lw__topic_make(t, &full);
        if (rc == -ENOSPC) return after_no_space(t);
        return rc == 0 || rc == -EEXIST || rc == -ENOENT ? 1 : rc; /* ENOENT: somebody tidied the empty folder away */
    }
    if (rc) return rc;
    if (other_boot(t)) rc = lw__topic_adopt(t);
    if (!rc) rc = lw__shape_fits(t, shape);
    if (rc == LW_ESHAPE || rc == LW_EMISMATCH) rc = lw__topic_reshape(t, shape);
    if (rc) lw__topic_close(t);
    return rc;
}

int lw__topic_open(struct lw__topic *t, const struct lw_shape *shape, enum lw__access access) {
    for (int tries = 0; tries < 1000; tries++) {
        int rc = open_once(t, shape, access);
        if (rc <= 0) return rc;
    }
    return lw__fail(-EAGAIN,
                    "topic %s: its file in %s changes all the time; is something making and removing it in a loop?",
                    t->name, t->bus->dir.path);
}

void lw__topic_close(struct lw__topic *t) {
    lw__lane_unmap(&t->lane);
    if (t->fd >= 0) close(t->fd);
    t->fd = -1;
}

/* ---- attaching and detaching ------------------------------------------------------------------------------------- */

/* On the disk before anything else of this use can be. */
static int mark_dirty(struct lw__topic *t) {
    if (lw__load_acquire(&t->lane.state->dirty)) return 0;
    lw__store_release(&t->lane.state->dirty, 1);
    return fsync(t->fd) ? lw__fail(-errno, "topic %s: %s: fsync: %s", t->name, t->path, strerror(errno)) : 0;
}

/* With the lock held nobody is replacing the file now: if it still has its path, `superseded` is what a dead one left.
 */
static int look_at_path(struct lw__topic *t) {
    int same = lw__file_same(&t->bus->dir, t->path, t->fd);
    if (same < 0) return lw__fail(same, "topic %s: %s: %s", t->name, t->path, strerror(-same));
    if (!same) return 1;
    lw__store_release(&t->lane.state->superseded, 0);
    return t->bus->dir.is_volatile ? 0 : mark_dirty(t);
}

int lw__topic_attached(struct lw__topic *t) {
    lw__fence_full(); /* pairs with the fence of whoever stores `superseded` */
    if (t->bus->dir.is_volatile && !lw__load_acquire(&t->lane.state->superseded)) return 0;
    int rc = lw__topic_lock(t, "opening");
    if (rc) return rc;
    rc = look_at_path(t);
    lw__topic_unlock(t);
    return rc;
}

int lw__topic_moved(struct lw__topic *t) {
    if (!lw__load_acquire(&t->lane.state->superseded)) return 0;
    int same = lw__file_same(&t->bus->dir, t->path, t->fd);
    if (same != 1) return same < 0 ? same : 1;
    if (lw__byte_lock(t->fd, 0, 0) == 0) { /* nobody is at it: a dead one left the word, or it is over by now */
        if (lw__file_same(&t->bus->dir, t->path, t->fd) == 1) lw__store_release(&t->lane.state->superseded, 0);
        lw__topic_unlock(t);
    }
    return 0;
}

void lw__topic_napped(struct lw__topic *t) {
    const unsigned often = 256;
    if (++t->naps % often || lw__file_same(&t->bus->dir, t->path, t->fd) != 0) return;
    lw__store_release(&t->lane.state->superseded, 1);
}

static bool anybody_attached(struct lw__topic *t) {
    uint64_t lock = lw__load_acquire(&t->lane.ctl->lock);
    if (lock && !lw__owner_gone(t->bus, lock)) return true;
    for (uint32_t i = 0; i < t->lane.slots_max; i++) {
        uint64_t owner = lw__load_acquire(&t->lane.slots[i].owner);
        if (owner && !lw__owner_gone(t->bus, owner)) return true;
    }
    return false;
}

/* Only a persistent bus cares: pages reach the disk in any order, so after a power cut the file is worth something only
 * if all of them were there when the last one left. */
void lw__topic_detached(struct lw__topic *t) {
    if (t->bus->dir.is_volatile || lw__topic_lock(t, "closing")) return;
    if (!anybody_attached(t) && fsync(t->fd) == 0) {
        lw__store_release(&t->lane.state->dirty, 0);
        fsync(t->fd);
    }
    lw__topic_unlock(t);
}

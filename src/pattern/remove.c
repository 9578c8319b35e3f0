/* SPDX-License-Identifier: MIT */
/* pattern/remove.c - removing a lane's file, while others may be opening it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "pattern/ring.h"

static int who_lives(struct lw__file *t, const char *role, uint64_t owner) {
    char node[LW_NAME_MAX + 1];
    if (!owner || lw__owner_gone(t->bus, owner)) return 0;
    int pid = lw__owner_who(t->bus, owner, node);
    if (t->kind == LW__LINK_LANE) role = "has";
    return lw__fail(LW_EHELD, "%s: node %s (pid %d) %s it; end that first, or use --force", t->title, node, pid, role);
}

/* Pairs with take_free(), by the fences of remove_locked() and lw__file_attached(). */
static int slot_lives(struct lw__file *t, const struct lw__slot *slot) {
    uint64_t owner = lw__load_acquire(&slot->owner);
    return who_lives(t, lw__slot_kind(owner) == LW__SLOT_WRITER ? "publishes to" : "reads", owner);
}

/* Pairs with take_for_good(), by the same fences as slot_lives(). */
static int anybody_lives(struct lw__file *t) {
    int rc = who_lives(t, "publishes to", lw__load_acquire(&t->lane.ctl->lock));
    for (uint32_t i = 0; !rc && i < t->lane.slots_max; i++) rc = slot_lives(t, &t->lane.slots[i]);
    return rc;
}

static int unlink_lane(struct lw__file *t) {
    if (unlinkat(t->bus->dir.fd, t->path, 0) && errno != ENOENT) return lw__file_explain(&t->bus->dir, t->path, -errno);
    lw__file_tidy(t);
    return 0;
}

/* 1: another file is at the path by now, or none. */
static int remove_locked(struct lw__file *t, bool force, int (*before)(struct lw__file *, void *), void *context) {
    int rc = lw__file_at_path(t);
    if (rc != 1) return rc < 0 ? lw__file_explain(&t->bus->dir, t->path, rc) : 1;
    lw__store_release(&t->lane.state->superseded, 1);
    lw__fence_full(); /* pairs with the fence of lw__file_attached */
    rc = force ? 0 : anybody_lives(t);
    if (!rc && before) rc = before(t, context);
    if (!rc) rc = unlink_lane(t);
    if (rc) lw__store_release(&t->lane.state->superseded, 0);
    if (!rc) lw__ring_all(t->bus, &t->lane);
    return rc;
}

/* A file that can't be mapped: damaged, or of another version and perhaps in use. Nobody can be asked, so it takes
 * force; its users find `superseded` if it has a first page. */
static int remove_damaged(struct lw__file *t, int why, bool force, int (*before)(struct lw__file *, void *),
                          void *context) {
    if (!force) return lw__fail_in(why, "not removed (--force removes it as it is)");
    int rc = before ? before(t, context) : 0;
    if (rc) return rc;
    t->fd = lw__file_open(&t->bus->dir, t->path, O_RDWR);
    if (t->fd < 0) return unlink_lane(t);
    struct stat st;
    uint64_t one = 1;
    if (fstat(t->fd, &st)) st.st_size = 0;
    t->dev = st.st_dev;
    t->ino = st.st_ino;
    rc = lw__file_lock(t, "removing it");
    if (!rc && lw__file_at_path(t) == 1) {
        if (st.st_size >= LW__PAGE) (void)!pwrite(t->fd, &one, sizeof one, LW__SUPERSEDED_AT);
        rc = unlink_lane(t);
    }
    lw__file_close(t);
    return rc;
}

int lw__file_remove(struct lw__file *t, bool force, int (*before)(struct lw__file *, void *), void *context) {
    int rc = lw__file_open_existing(t, LW__READ);
    if (rc == LW_ECORRUPT || rc == LW_EVERSION) return remove_damaged(t, rc, force, before, context);
    if (rc) return rc;
    rc = lw__file_lock(t, "removing it");
    if (!rc) {
        rc = remove_locked(t, force, before, context);
        lw__file_unlock(t);
    }
    lw__file_close(t);
    return rc;
}

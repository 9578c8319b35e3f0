/* SPDX-License-Identifier: MIT */
#include "pattern/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

static bool owner_closed(void *context, uint64_t owner) {
    return lw__owner_closed(context, owner);
}

static bool owner_gone(void *context, uint64_t owner) {
    return lw__owner_gone(context, owner);
}

struct lw__owners lw__file_owners(struct lw_bus *bus) {
    return (struct lw__owners){.closed = owner_closed, .gone = owner_gone, .context = bus};
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static const char *noun(const struct lw__file *f) {
    return f->kind == LW__TOPIC ? "topic" : "link";
}

static int missing(const struct lw__file *f) {
    if (f->kind == LW__LINK_LANE)
        return lw__fail(-ENOENT, "%s: no file %s/%s; the link was removed, or never made", f->title, f->bus->dir.path,
                        f->path);
    return lw__fail(LW_ENOTOPIC, "no topic %s on bus %s; `laneway ls` lists what there is", f->name, f->bus->dir.path);
}

int lw__file_restless(const struct lw__file *f) {
    return lw__fail(-EAGAIN, "%s: its file in %s changes all the time; is something making and removing it in a loop?",
                    f->title, f->bus->dir.path);
}

int lw__file_corrupt(const struct lw__file *f, uint64_t pos) {
    char verify[LW__TOPIC_MAX + 48] = "";
    if (f->kind == LW__TOPIC) snprintf(verify, sizeof verify, "`laneway verify %s` says more, ", f->name);
    return lw__fail(LW_ECORRUPT, "%s: %s/%s is corrupt at position %llu; %s`laneway rm %s%s` starts anew", f->title,
                    f->bus->dir.path, f->path, (unsigned long long)pos, verify, lw__file_rm(f), f->name);
}

int lw__file_held(const struct lw__file *f, uint64_t holder) {
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(f->bus, holder, node);
    return lw__fail(LW_EHELD, "link %s: node %s (pid %d) has it open; end that one first, or take another name",
                    f->name, node, pid);
}

int lw__file_removed(const struct lw__file *f, const char *advice) {
    if (f->kind == LW__LINK_LANE)
        return lw__fail(LW_ECLOSED, "link %s was removed; close it and open it again", f->name);
    return lw__fail(LW_ECLOSED, "%s was removed; %s", f->title, advice);
}

/* ---- the file and its path --------------------------------------------------------------------------------------- */

static bool is_mapped(const struct lw__file *f, const struct stat *st) {
    return st->st_dev == f->dev && st->st_ino == f->ino;
}

int lw__file_at_path(const struct lw__file *f) {
    struct stat st;
    if (fstatat(f->bus->dir.fd, f->path, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    return is_mapped(f, &st);
}

static int explain_path(const struct lw__file *f, int rc) {
    return lw__fail(rc, "%s: %s: %s", f->title, f->path, strerror(-rc));
}

static void close_fd(struct lw__file *f) {
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
}

/* Sees to it that there is a descriptor of the mapped file. 0; 1: it is not at its path any more; or -errno. */
static int hold_fd(struct lw__file *f) {
    struct stat st;
    if (f->fd >= 0) return 0;
    int fd = lw__file_open(&f->bus->dir, f->path, O_RDWR), rc = 0;
    if (fd < 0) return fd == -ENOENT || fd == -ENOTDIR ? 1 : fd;
    f->fd = fd;
    rc = fstat(fd, &st) ? -errno : !is_mapped(f, &st);
    if (rc) close_fd(f);
    return rc;
}

static void let_fd_go(struct lw__file *f) {
    if (f->thrifty) close_fd(f);
}

/* 0, 1 not at its path any more, -EAGAIN, or -errno. */
static int lock_for(struct lw__file *f, int64_t wait) {
    int rc = hold_fd(f);
    if (rc) return rc;
    rc = lw__byte_lock(f->fd, 0, wait);
    if (rc) let_fd_go(f);
    return rc;
}

int lw__file_lock(struct lw__file *f, const char *what) {
    int rc = lock_for(f, lw__setup_wait());
    if (rc == -EAGAIN)
        return lw__fail(rc, "%s: %s: another process keeps %s/%s locked for 5 s; is one stopped while it opens the %s?",
                        f->title, what, f->bus->dir.path, f->path, noun(f));
    return rc < 0 ? lw__fail(rc, "%s: %s: lock: %s", f->title, what, strerror(-rc)) : rc;
}

void lw__file_unlock(struct lw__file *f) {
    lw__byte_unlock(f->fd, 0);
    let_fd_go(f);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* What is mapped is known by its numbers from now on. */
static int map_file(struct lw__file *f, enum lw__access access) {
    char where[sizeof f->bus->dir.path + sizeof f->path + 2];
    struct stat st;
    snprintf(where, sizeof where, "%s/%s", f->bus->dir.path, f->path);
    if (fstat(f->fd, &st)) return explain_path(f, -errno);
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    int rc = lw__lane_map(&f->lane, f->fd, access, where);
    if (rc != LW_ECORRUPT && rc != LW_EVERSION) return rc;
    return lw__fail(rc, "%s: %s; `laneway rm %s%s --force` gives up what is in it", f->title, lw_errtext(),
                    lw__file_rm(f), f->name);
}

/* -ENOENT without text. */
static int open_file(struct lw__file *f, enum lw__access access) {
    f->fd = lw__file_open(&f->bus->dir, f->path, access == LW__LOOK ? O_RDONLY : O_RDWR);
    if (f->fd == -ENOENT || f->fd == -ENOTDIR) return -ENOENT;
    if (f->fd < 0) return lw__file_explain(&f->bus->dir, f->path, f->fd);
    int rc = map_file(f, access);
    let_fd_go(f);
    if (rc) lw__file_close(f);
    return rc;
}

static bool other_boot(const struct lw__file *f) {
    return memcmp(f->lane.state->boot, f->bus->boot, sizeof f->bus->boot) != 0;
}

int lw__file_open_existing(struct lw__file *f, enum lw__access access) {
    int rc = open_file(f, access);
    return rc == -ENOENT ? missing(f) : rc;
}

int lw__file_open_once(struct lw__file *f, enum lw__access access) {
    int rc = open_file(f, access);
    if (rc || !other_boot(f)) return rc;
    rc = lw__file_adopt(f);
    if (rc) lw__file_close(f);
    return rc;
}

int lw__file_open_current(struct lw__file *f, enum lw__access access) {
    for (int tries = 0; tries < LW__FILE_TRIES; tries++) {
        int rc = lw__file_open_once(f, access);
        if (rc <= 0) return rc == -ENOENT ? missing(f) : rc;
    }
    return lw__file_restless(f);
}

void lw__file_like(struct lw__file *f, struct lw_bus *bus, const struct lw__file *like) {
    *f = *like;
    f->bus = bus;
    f->fd = -1;
    f->lane = (struct lw__lane){.base = NULL};
}

void lw__file_close(struct lw__file *f) {
    lw__lane_unmap(&f->lane);
    close_fd(f);
}

/* ---- attaching and detaching ------------------------------------------------------------------------------------- */

/* On the disk before anything else of this use can be. Pairs with lw__file_adopt(); the lock alone would do, the
 * disk knows only fsync. */
static int mark_dirty(struct lw__file *f) {
    if (lw__load_acquire(&f->lane.state->dirty)) return 0;
    lw__store_release(&f->lane.state->dirty, 1);
    return fsync(f->fd) ? lw__fail(-errno, "%s: %s: fsync: %s", f->title, f->path, strerror(errno)) : 0;
}

/* With the lock held nobody is replacing the file now: if it still has its path, `superseded` is what a dead one left.
 * Pairs with the loads of lw__file_moved() and lw__file_attached() in others. */
static int look_at_path(struct lw__file *f) {
    int same = lw__file_at_path(f);
    if (same < 0) return explain_path(f, same);
    if (!same) return 1;
    lw__store_release(&f->lane.state->superseded, 0);
    return f->bus->dir.is_volatile ? 0 : mark_dirty(f);
}

int lw__file_attached(struct lw__file *f) {
    lw__fence_full(); /* pairs with the fence of whoever stores `superseded` */
    if (f->bus->dir.is_volatile && !lw__load_acquire(&f->lane.state->superseded)) return 0;
    int rc = lw__file_lock(f, "opening");
    if (rc) return rc;
    rc = look_at_path(f);
    lw__file_unlock(f);
    return rc;
}

/* Nobody is at it: a dead one left the word, or it is over by now. Pairs with the loads of lw__file_moved() and
 * lw__file_attached() in others. */
static void clear_leftover(struct lw__file *f) {
    if (lock_for(f, 0)) return;
    if (lw__file_at_path(f) == 1) lw__store_release(&f->lane.state->superseded, 0);
    lw__file_unlock(f);
}

/* A thrifty file opens a descriptor for it, of which a fork() just then would take a copy along, with the lock: so it is
 * done under the bus's lock, or, when that is not free (we ourselves may have it), another time. */
static void try_to_clear(struct lw__file *f) {
    if (f->thrifty && pthread_mutex_trylock(&f->bus->lock)) return;
    clear_leftover(f);
    if (f->thrifty) pthread_mutex_unlock(&f->bus->lock);
}

/* Pairs with replace() and remove_locked(). */
int lw__file_moved(struct lw__file *f) {
    if (!lw__load_acquire(&f->lane.state->superseded)) return 0;
    int same = lw__file_at_path(f);
    if (same != 1) return same < 0 ? same : 1;
    try_to_clear(f);
    return 0;
}

/* Pairs with lw__file_moved() in others. */
void lw__file_napped(struct lw__file *f) {
    if (lw__file_at_path(f) != 0) return;
    lw__store_release(&f->lane.state->superseded, 1);
}

/* Pairs with give_word() and lw__slot_free(): who is gone has done all it did. */
static bool anybody_attached(struct lw__file *f) {
    uint64_t lock = lw__load_acquire(&f->lane.ctl->lock);
    if (lock && !lw__owner_gone(f->bus, lock)) return true;
    for (uint32_t i = 0; i < f->lane.slots_max; i++) {
        uint64_t owner = lw__load_acquire(&f->lane.slots[i].owner);
        if (owner && !lw__owner_gone(f->bus, owner)) return true;
    }
    return false;
}

/* Only a persistent bus cares: pages reach the disk in any order, so after a power cut the file is worth something only
 * if all of them were there when the last one left. Pairs with mark_dirty() and lw__file_adopt(); the lock alone
 * would do. */
void lw__file_detached(struct lw__file *f) {
    if (f->bus->dir.is_volatile || lw__file_lock(f, "closing")) return;
    if (!anybody_attached(f) && fsync(f->fd) == 0) {
        lw__store_release(&f->lane.state->dirty, 0);
        fsync(f->fd);
    }
    lw__file_unlock(f);
}

/* SPDX-License-Identifier: MIT */
/* pattern/sub_open.c - opening and closing a subscriber, and following its topic to another file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/options.h"
#include "pattern/sub.h"
#include "pattern/topic.h"

static void cut(struct lw__handle *handle) {
    struct lw_sub *sub = (struct lw_sub *)(void *)((char *)handle - offsetof(struct lw_sub, handle));
    sub->cut = true;
    sub->reader.rx = (struct lw__rx){.pos = 0}; /* nothing to release either */
    lw__reader_divert(&sub->reader);
    lw__source_cut(&sub->source);
    if (sub->file.fd >= 0) close(sub->file.fd);
    sub->file.fd = -1;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

int lw__sub_corrupt(struct lw_sub *sub) {
    return lw__file_corrupt(&sub->file, sub->reader.rx.pos);
}

int lw__sub_failed(const struct lw_sub *sub, int rc) {
    if (rc == LW_ECLOSED)
        return lw__fail(rc, "%s: this subscriber's slot was taken away; was its node file removed by hand?",
                        sub->file.title);
    return lw__fail(rc, "%s: %s", sub->file.title,
                    rc == -ENOMEM ? "no memory to copy a message of this size" : lw_strerror(rc));
}

/* Pairs with change_word(); only the number counts here. */
int lw__sub_no_slot(struct lw_sub *sub) {
    const struct lw__lane *lane = &sub->file.lane;
    unsigned durable = 0;
    if (sub->file.kind == LW__LINK_LANE)
        return lw__fail(LW_ENOSLOT, "%s: all %u slots are taken", sub->file.title, lane->slots_max);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        durable += lw__slot_kind(lw__load_acquire(&lane->slots[i].owner)) == LW__SLOT_DURABLE;
    return lw__fail(
        LW_ENOSLOT,
        "%s: all %u slots are taken, %u by durable names; `laneway info %s` lists them, `laneway forget` frees one, "
        "a new topic can be made with more (--slots)",
        sub->file.title, lane->slots_max, durable, sub->file.name);
}

static int refuse_second(struct lw_sub *sub, uint64_t holder) {
    char node[LW_NAME_MAX + 1];
    if (sub->file.kind == LW__LINK_LANE) return lw__file_held(&sub->file, holder);
    int pid = lw__owner_who(sub->file.bus, holder, node);
    return lw__fail(LW_EHELD, "%s: subscriber %s is open in node %s (pid %d); end that first, or take another name",
                    sub->file.title, sub->name, node, pid);
}

/* ---- another file at the path ------------------------------------------------------------------------------------ */

/* Our slot in the new file: whoever made it copied ours to the same index if it saw us with a place. It may be that we
 * may be evicted there, and were. Pairs with link_over(), whose rename brings the whole file, and with
 * lw__slot_evict(). */
static struct lw__slot *carried_slot(const struct lw__lane *lane, const struct lw__reader *r) {
    if (r->index >= lane->slots_max) return NULL;
    struct lw__slot *slot = &lane->slots[r->index];
    uint64_t owner = lw__slot_settled(lw__load_acquire(&slot->owner));
    bool ours = (owner | LW__SLOT_LAG) == (r->owner | LW__SLOT_LAG) && lw__load(&slot->ticket) == r->ticket;
    return ours ? slot : NULL;
}

static int make_copies(struct lw_sub *sub) {
    int rc = lw__reader_make_copies(&sub->reader);
    return rc ? lw__fail(rc, "%s: no memory for copies of messages", sub->file.title) : 0;
}

static int removed(const struct lw_sub *sub) {
    return lw__file_removed(&sub->file, "close the subscriber and open a new one for what comes after");
}

/* Opens the file at the path. 0 with our slot in it; LW_ECLOSED: there is none, or it is of somebody who did not know
 * us; another error: it may work later. */
static int open_successor(struct lw_sub *sub, struct lw__file *fresh, struct lw__slot **slot) {
    lw__file_like(fresh, sub->file.bus, &sub->file);
    int rc = lw__file_open_existing(fresh, LW__READ);
    if (rc) return rc == LW_ENOTOPIC || rc == -ENOENT ? removed(sub) : rc;
    *slot = carried_slot(&fresh->lane, &sub->reader);
    rc = !*slot ? removed(sub) : lw__load(&(*slot)->owner) & LW__SLOT_LAG ? make_copies(sub) : 0;
    if (rc) lw__file_close(fresh);
    return rc;
}

/* Our slot in the old file is given back already. That lane was empty, so nothing of it is held. */
static void go_to(struct lw_sub *sub, const struct lw__file *fresh, struct lw__slot *slot) {
    lw__file_close(&sub->file);
    sub->file = *fresh;
    lw__reader_bind(&sub->reader, &sub->file.lane, slot, lw__slot_settled(lw__load(&slot->owner)));
}

/* Asks the path first: who waits for the lock may wait long. */
static bool is_replaced(struct lw__file *file) {
    return lw__file_at_path(file) == 0 || lw__file_attached(file) == 1;
}

/* Gives our slot back: here, and in each later file that it was copied to before. Ends in the last of them. */
static void leave(struct lw_sub *sub) {
    struct lw__file fresh;
    struct lw__slot *slot;
    for (;;) {
        lw__reader_leave(&sub->reader);
        lw__fence_full(); /* pairs with the fence of whoever stores `superseded` */
        if (!lw__load_acquire(&sub->file.lane.state->superseded) || !is_replaced(&sub->file)) return;
        if (sub->file.fd >= 0) close(sub->file.fd); /* its place is the next one's, should descriptors have run out */
        sub->file.fd = -1;
        if (open_successor(sub, &fresh, &slot)) return;
        go_to(sub, &fresh, slot);
    }
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

static int explain(struct lw_sub *sub, int rc) {
    return rc == LW_ECORRUPT ? lw__sub_corrupt(sub) : lw__sub_failed(sub, rc);
}

/* How far it may be behind before it is evicted: the smaller one of the topic's and its own. 0: it may not be. */
static uint64_t cap(const struct lw_sub *sub) {
    uint64_t topic = sub->file.lane.evict_lag, own = sub->max_lag;
    if (sub->lossy || !topic || !own) return sub->lossy ? 0 : topic + own;
    return topic < own ? topic : own;
}

static uint64_t word(const struct lw_sub *sub, enum lw__slot_kind kind) {
    return sub->file.bus->owner | (cap(sub) ? LW__SLOT_LAG : 0) | (unsigned)(sub->lossy ? LW__SLOT_LOSSY : kind);
}

static int join(struct lw_sub *sub, const struct lw__owners *owners, enum lw_from from, uint64_t position) {
    int rc = lw__reader_take(&sub->reader, &sub->file.lane, word(sub, LW__SLOT_RELIABLE), owners);
    if (rc) return lw__sub_no_slot(sub);
    lw__store(&sub->reader.slot->cap, cap(sub));
    rc = lw__reader_join(&sub->reader, from, position);
    if (!rc) return 0;
    leave(sub); /* it may have had a place for a moment, and was copied then */
    if (rc == LW_EPOSITION)
        lw__fail(
            rc, "%s: no record begins at position %llu, or it is no longer retained; `laneway info %s` shows the range",
            sub->file.title, (unsigned long long)position, sub->file.name);
    else
        explain(sub, rc);
    return rc;
}

static int resume(struct lw_sub *sub) {
    int rc = lw__reader_resume(&sub->reader);
    return rc ? explain(sub, rc) : 0;
}

static int inherit(struct lw_sub *sub, struct lw__slot *slot, const struct lw__owners *owners) {
    uint64_t holder;
    int64_t until = lw__now() + lw__a_moment();
    int rc;
    while ((rc = lw__slot_inherit(&sub->reader, &sub->file.lane, slot, word(sub, LW__SLOT_DURABLE), owners, &holder)) &&
           lw__now() < until)
        lw__sleep(LW_MS(1) / 4);
    if (rc) return refuse_second(sub, holder);
    lw__store(&slot->cap, cap(sub));
    rc = resume(sub);
    if (rc) leave(sub);
    return rc;
}

/* A link's lane is made with its reader's place. */
static int no_place(const struct lw_sub *sub) {
    const struct lw__file *f = &sub->file;
    return lw__fail(LW_ECORRUPT, "%s: %s/%s is corrupt: no place of its reader %s in it; `laneway rm %s%s` starts anew",
                    f->title, f->bus->dir.path, f->path, sub->name, lw__file_rm(f), f->name);
}

/* A name that exists goes on where it was; else a new place is made and then named. Under the lane's lock: never twice.
 */
static int join_durable(struct lw_sub *sub, const struct lw__owners *owners, enum lw_from from, uint64_t position) {
    int rc = lw__file_lock(&sub->file, "opening a durable subscriber");
    if (rc) return rc;
    struct lw__slot *slot = lw__slot_find(&sub->file.lane, sub->name);
    rc = slot                              ? inherit(sub, slot, owners)
         : sub->file.kind == LW__LINK_LANE ? no_place(sub)
                                           : join(sub, owners, from, position);
    if (!rc && !slot) lw__slot_make_durable(&sub->reader, sub->name);
    lw__file_unlock(&sub->file);
    return rc;
}

static int join_any(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    struct lw__owners owners = lw__file_owners(sub->file.bus);
    int rc = sub->lossy || cap(sub) ? make_copies(sub) : 0;
    if (rc) return rc;
    rc = *sub->name ? join_durable(sub, &owners, from, position) : join(sub, &owners, from, position);
    if (!rc) lw__lane_sweep(&sub->file.lane, sub->file.bus->owner, &owners);
    return rc;
}

/* ---- following ---------------------------------------------------------------------------------------------------- */

static int move_over(struct lw_sub *sub) {
    struct lw__file fresh;
    struct lw__slot *slot;
    int rc = open_successor(sub, &fresh, &slot);
    if (rc) return rc;
    lw__reader_leave(&sub->reader);
    go_to(sub, &fresh, slot);
    rc = resume(sub);
    if (rc || !sub->reader.passed) return rc;
    sub->untold += sub->reader.passed; /* it was evicted before it came there */
    sub->evicted_once = true;
    lw__reader_divert(&sub->reader);
    return 0;
}

static bool for_good(int rc) {
    return rc == LW_ECLOSED || rc == LW_ECORRUPT || rc == LW_EVERSION || rc == LW_ESHAPE || rc == LW_EMISMATCH;
}

/* The slot is given back, the mapping stays: the user may still hold messages. */
static void retire(struct lw_sub *sub, int why) {
    leave(sub);
    sub->gone = why;
    sub->reader.rx.head = sub->reader.rx.pos; /* every release is refused */
    lw__reader_divert(&sub->reader);
}

static int follow(struct lw_sub *sub) {
    int rc = move_over(sub);
    while (!rc && lw__file_moved(&sub->file) == 1) rc = move_over(sub);
    return rc ? rc : lw__shape_fits(&sub->file, &sub->shape);
}

/* To the group's quick look. What is read by copy does not show there: then it asks each time. */
static void show_ring(struct lw_sub *sub) {
    sub->waiter->rx = sub->reader.by_copy ? NULL : &sub->reader.rx;
    if (sub->waiter == &sub->source) sub->waiter->polled = sub->reader.by_copy;
}

/* A process that is not registered for the membarriers of others runs a fence by itself after each release. */
static void fence_releases(struct lw_sub *sub) {
    if (!sub->file.bus->fenced && !sub->released) return;
    sub->reader.rx.wanted = lw__masks_always;
}

int lw__sub_follow(struct lw_sub *sub) {
    int rc = lw__bus_enter(sub->file.bus, true);
    if (rc) return rc;
    struct lw__place before = {.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
    if (!lw__cursor_load(sub->reader.rx.cursor, &sub->end)) sub->end = sub->begin;
    rc = follow(sub);
    if (for_good(rc))
        retire(sub, rc);
    else
        lw__sub_shift(sub, before);
    fence_releases(sub);
    show_ring(sub);
    lw__bus_leave(sub->file.bus);
    if (!sub->gone) lw__source_renew(sub->waiter); /* another slot */
    return rc;
}

void lw__sub_shift(struct lw_sub *sub, struct lw__place before) {
    sub->begin.pos += sub->reader.rx.head - before.pos;
    sub->begin.number += sub->reader.rx.number - before.number;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* 0, 1 to try again, or an error. */
static int open_once(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    int rc = sub->file.kind == LW__TOPIC ? lw__topic_open(&sub->file, &sub->shape, LW__READ)
                                         : lw__file_open_current(&sub->file, LW__READ);
    if (rc) return rc;
    rc = join_any(sub, from, position);
    if (!rc) {
        rc = lw__file_attached(&sub->file);
        if (!rc) return 0;
        leave(sub);
    }
    lw__file_close(&sub->file);
    return rc;
}

static int read_options(struct lw_sub *sub, struct lw_sub_options *to, const struct lw_sub_options *from) {
    *to = (struct lw_sub_options)LW_SUB_OPTIONS_INIT;
    int rc = lw__options_read(to, sizeof *to, from, "lw_sub_options");
    if (rc) return rc;
    if (to->flags & ~(unsigned)LW_SUB_LOSSY)
        return lw__fail(-EINVAL, "lw_sub_options.flags: 0x%x is no flag", to->flags);
    sub->lossy = to->flags & LW_SUB_LOSSY;
    sub->max_lag = to->max_lag;
    if (sub->lossy && (to->name || to->max_lag))
        return lw__fail(
            -EINVAL, "lw_sub_options: LW_SUB_LOSSY holds no place, so it goes with neither a name nor max_lag; a name "
                     "with max_lag is kept as long as it is not too far behind");
    if ((unsigned)to->from > LW_FROM_POSITION) return lw__fail(-EINVAL, "lw_sub_options.from is %d", (int)to->from);
    if (to->name && (rc = lw__name_check(to->name, "subscriber"))) return rc;
    if (to->name) snprintf(sub->name, sizeof sub->name, "%s", to->name);
    sub->shape = to->shape;
    return lw__shape_keep(sub->file.title, &sub->shape, sub->schema);
}

/* What the ones before us of this name lost and were not told, as far as anybody knows: to be told first. */
static void note_loss(struct lw_sub *sub) {
    const struct lw__slot *slot = sub->reader.slot;
    sub->untold = lw__slot_missed(slot);
    sub->evicted_once = sub->untold != 0;
    if (sub->untold || lw__load(&slot->lost)) lw__reader_divert(&sub->reader);
}

/* Attaches to the file that is named in it, and makes the handle one of the bus. */
static int open_named(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    int rc;
    while ((rc = open_once(sub, from, position)) == 1) {
    }
    if (rc) return rc;
    note_loss(sub);
    fence_releases(sub);
    lw__source_init(&sub->source, sub->file.bus, &lw__sub_ops, &sub->reader.rx);
    sub->waiter = &sub->source;
    show_ring(sub);
    sub->begin = (struct lw__place){.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
    sub->handle.cut = cut;
    lw__bus_attach(sub->file.bus, &sub->handle);
    return 0;
}

static int open_sub(struct lw_sub *sub, struct lw_bus *bus, const char *topic, const struct lw_sub_options *options) {
    struct lw_sub_options opt;
    int rc = lw__topic_name(&sub->file, bus, topic);
    if (!rc) rc = read_options(sub, &opt, options);
    return rc ? rc : open_named(sub, opt.from, opt.position);
}

void lw__sub_free(struct lw_sub *sub) {
    lw__reader_free_copies(&sub->reader);
    free(sub);
}

static int done(struct lw_sub **out, struct lw_sub *sub, int rc) {
    *out = rc ? NULL : sub;
    if (rc) lw__sub_free(sub);
    return rc;
}

int lw_sub_open(struct lw_sub **out, struct lw_bus *bus, const char *topic, const struct lw_sub_options *options) {
    *out = NULL;
    struct lw_sub *sub = calloc(1, sizeof *sub);
    if (!sub) return lw__fail(-ENOMEM, "topic %s: no memory", topic);
    int rc = lw__bus_enter(bus, true);
    if (!rc) {
        rc = open_sub(sub, bus, topic, options);
        lw__bus_leave(bus);
    }
    return done(out, sub, rc);
}

void lw__sub_tell_releases(struct lw_sub *sub, void (*released)(struct lw__source *waiter)) {
    sub->released = released;
    fence_releases(sub);
}

/* A second handle first; when that has its place, the one that the user has becomes it. */
int lw__sub_rejoin(struct lw_sub *sub) {
    struct lw_sub *fresh = calloc(1, sizeof *fresh);
    if (!fresh) return lw__fail(-ENOMEM, "%s: no memory", sub->file.title);
    int rc;
    lw__file_like(&fresh->file, sub->file.bus, &sub->file);
    memcpy(fresh->name, sub->name, sizeof fresh->name);
    while ((rc = open_once(fresh, LW_FROM_OLDEST, 0)) == 1) continue;
    if (!rc) {
        leave(sub);
        lw__file_detached(&sub->file);
        lw__file_close(&sub->file);
        sub->file = fresh->file;
        sub->reader = fresh->reader;
        sub->reader.lane = &sub->file.lane;
        sub->begin = (struct lw__place){.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
        fence_releases(sub);
    }
    free(fresh);
    return rc;
}

int lw__sub_open_file(struct lw_sub **out, struct lw_bus *bus, const struct lw__file *file, const char *name) {
    *out = NULL;
    struct lw_sub *sub = calloc(1, sizeof *sub);
    if (!sub) return lw__fail(-ENOMEM, "%s: no memory", file->title);
    lw__file_like(&sub->file, bus, file);
    snprintf(sub->name, sizeof sub->name, "%s", name);
    return done(out, sub, open_named(sub, LW_FROM_OLDEST, 0));
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

/* A handler of lw_sub_dispatch() that is running has it freed when it returns. */
static void free_soon(struct lw_sub *sub) {
    sub->closing = true;
    if (!sub->dispatching) lw__sub_free(sub);
}

void lw__sub_close_entered(struct lw_sub *sub) {
    struct lw_bus *bus = sub->file.bus;
    if (sub->closing) return;
    if (!sub->gone) leave(sub);
    lw__sub_ring(sub); /* there may be room */
    lw__file_detached(&sub->file);
    lw__file_close(&sub->file);
    lw__bus_detach(bus, &sub->handle);
    free_soon(sub);
}

void lw_sub_close(struct lw_sub *sub) {
    if (!sub || sub->closing) return;
    struct lw_bus *bus = sub->file.bus;
    lw__source_close(&sub->source);
    if (sub->cut || lw__bus_enter(bus, true)) {
        free_soon(sub);
        return;
    }
    lw__sub_close_entered(sub);
    lw__bus_leave(bus);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "bus/wait.h"
#include "pattern/topic.h"

struct lw_sub {
    struct lw__reader reader; /* first: laneway/fast.h works on its beginning */
    struct lw__topic topic;
    struct lw__handle handle;
    char name[LW_NAME_MAX + 1]; /* "" when not durable */
    struct lw__place begin;
    bool cut;     /* a forked child's copy */
    int gone;     /* why it has no lane any more: its topic was replaced by something that can't be used */
    bool *closed; /* of the dispatch that is running: tells it that its handler closed us */
    uint64_t waits;
    uint64_t refused;
    uint64_t lost;
};

/* What the inline path reads when every call is to take the slow path: nothing there, for ever. */
static const uint64_t nothing[2];

static void divert(struct lw_sub *sub) {
    sub->reader.rx.ring = (const char *)nothing;
    sub->reader.rx.mask = 0;
    sub->reader.rx.looks = 0;
}

static void undivert(struct lw_sub *sub) {
    sub->reader.rx.ring = sub->topic.lane.data;
    sub->reader.rx.mask = sub->topic.lane.mask;
}

static void cut(struct lw__handle *handle) {
    struct lw_sub *sub = (struct lw_sub *)(void *)((char *)handle - offsetof(struct lw_sub, handle));
    sub->cut = true;
    sub->reader.rx = (struct lw__rx){.pos = 0}; /* nothing to release either */
    divert(sub);
    if (sub->topic.fd >= 0) close(sub->topic.fd);
    sub->topic.fd = -1;
}

/* ---- opening ------------------------------------------------------------------------------------------------------
 */

static uint64_t owner_word(const struct lw_sub *sub, enum lw__slot_kind kind) {
    return sub->topic.bus->owner | kind;
}

static int corrupt(struct lw_sub *sub) {
    return lw__fail(
        LW_ECORRUPT,
        "topic %s: %s/%s is corrupt at position %llu; `laneway verify %s` says more, `laneway rm %s` starts anew",
        sub->topic.name, sub->topic.bus->dir.path, sub->topic.path, (unsigned long long)sub->reader.rx.pos,
        sub->topic.name, sub->topic.name);
}

static int refuse_second(struct lw_sub *sub, uint64_t holder) {
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(sub->topic.bus, holder, node);
    return lw__fail(LW_EHELD, "topic %s: subscriber %s is open in node %s (pid %d)", sub->topic.name, sub->name, node,
                    pid);
}

static int no_slot(struct lw_sub *sub) {
    unsigned durable = 0, max = sub->topic.lane.slots_max;
    for (uint32_t i = 0; i < max; i++)
        durable += lw__slot_kind(lw__load_acquire(&sub->topic.lane.slots[i].owner)) == LW__SLOT_DURABLE;
    return lw__fail(
        LW_ENOSLOT,
        "topic %s: all %u slots are taken, %u by durable names; `laneway info %s` lists them, `laneway forget` frees one, a new "
        "topic can be made with more (--slots)",
        sub->topic.name, max, durable, sub->topic.name);
}

static int join(struct lw_sub *sub, const struct lw__owners *owners, enum lw_from from, uint64_t position) {
    int rc = lw__reader_take(&sub->reader, &sub->topic.lane, owner_word(sub, LW__SLOT_RELIABLE), owners);
    if (rc) return no_slot(sub);
    rc = lw__reader_join(&sub->reader, from, position);
    if (!rc) return 0;
    if (rc == LW_EPOSITION)
        lw__fail(
            rc,
            "topic %s: no record begins at position %llu, or it is no longer retained; `laneway info %s` shows the range",
            sub->topic.name, (unsigned long long)position, sub->topic.name);
    else
        corrupt(sub);
    lw__reader_leave(&sub->reader);
    return rc;
}

/* A name that exists goes on where it was; else a new place is made and then named. Under the lane's lock: never twice.
 */
static int join_durable(struct lw_sub *sub, const struct lw__owners *owners, enum lw_from from, uint64_t position) {
    int rc = lw__topic_lock(&sub->topic, "opening a durable subscriber");
    if (rc) return rc;
    uint64_t holder;
    struct lw__slot *slot = lw__slot_find(&sub->topic.lane, sub->name);
    if (!slot) {
        rc = join(sub, owners, from, position);
        if (!rc) lw__slot_make_durable(&sub->reader, sub->name);
    } else {
        rc = lw__slot_inherit(&sub->reader, &sub->topic.lane, slot, owner_word(sub, LW__SLOT_DURABLE), owners, &holder);
        if (rc) {
            refuse_second(sub, holder);
        } else if ((rc = lw__reader_resume(&sub->reader))) {
            corrupt(sub);
            lw__reader_leave(&sub->reader);
        }
    }
    lw__topic_unlock(&sub->topic);
    return rc;
}

static int join_any(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    struct lw__owners owners = lw__topic_owners(sub->topic.bus);
    int rc = *sub->name ? join_durable(sub, &owners, from, position) : join(sub, &owners, from, position);
    if (!rc) lw__lane_sweep(&sub->topic.lane, sub->topic.bus->owner, &owners);
    return rc;
}

/* Leaves the file and opens the one at the path now. Whoever put it there copied our slot, at the same index, if it saw
 * us; else we join afresh. LW_ECLOSED when there is no file. On failure there is no lane: `gone` says why. */
static int move_over(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    uint32_t index = sub->reader.index;
    uint64_t owner = sub->reader.owner;
    lw__reader_leave(&sub->reader);
    lw__topic_close(&sub->topic);
    int rc = lw__topic_open_existing(&sub->topic, LW__READ);
    if (!rc) {
        struct lw__lane *lane = &sub->topic.lane;
        bool carried = index < lane->slots_max && lw__load_acquire(&lane->slots[index].owner) == owner;
        if (carried) {
            lw__reader_bind(&sub->reader, lane, &lane->slots[index], owner);
            rc = lw__reader_resume(&sub->reader) ? corrupt(sub) : 0;
        } else {
            rc = join_any(sub, from, position);
        }
        if (rc) lw__topic_close(&sub->topic);
    }
    sub->gone = rc == LW_ENOTOPIC ? LW_ECLOSED : rc;
    if (sub->gone) divert(sub);
    return sub->gone;
}

/* Attached: is this still the topic's file? Follows until it is. */
static int follow(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    int rc;
    while ((rc = lw__topic_attached(&sub->topic)) == 1)
        if ((rc = move_over(sub, from, position))) return rc;
    return rc;
}

/* 0, 1 to try again, or an error. */
static int open_once(struct lw_sub *sub, const struct lw_sub_options *options) {
    int rc = lw__topic_open(&sub->topic, &options->shape, LW__READ);
    if (rc) return rc;
    rc = join_any(sub, options->from, options->position);
    if (rc) goto close;
    rc = follow(sub, options->from, options->position);
    if (sub->gone) return rc == LW_ECLOSED ? sub->gone = 0, 1 : rc;
    if (!rc) rc = lw__shape_fits(&sub->topic, &options->shape);
    if (!rc) return 0;
    lw__reader_leave(&sub->reader);
close:
    lw__topic_close(&sub->topic);
    return rc;
}

static int open_sub(struct lw_sub *sub, struct lw_bus *bus, const char *topic, const struct lw_sub_options *options) {
    static const struct lw_sub_options unset = LW_SUB_OPTIONS_INIT;
    if (!options) options = &unset;
    if (options->size != sizeof *options)
        return lw__fail(LW_EABI, "lw_sub_options.size is %zu, not %zu", options->size, sizeof *options);
    if (options->from > LW_FROM_POSITION)
        return lw__fail(-EINVAL, "topic %s: lw_sub_options.from is %d", topic, (int)options->from);
    int rc = lw__topic_name(&sub->topic, bus, topic);
    if (!rc && options->name) rc = lw__name_check(options->name, "subscriber");
    if (!rc && options->name) memcpy(sub->name, options->name, strlen(options->name));
    while (!rc && (rc = open_once(sub, options)) == 1) rc = 0;
    if (rc) return rc;
    if (lw__load(&sub->reader.slot->lost)) divert(sub); /* to be told first */
    sub->begin = (struct lw__place){.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
    sub->handle.cut = cut;
    lw__bus_attach(bus, &sub->handle);
    return 0;
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
    if (rc)
        free(sub);
    else
        *out = sub;
    return rc;
}

void lw_sub_close(struct lw_sub *sub) {
    if (!sub) return;
    if (sub->closed) *sub->closed = true;
    struct lw_bus *bus = sub->topic.bus;
    if (!sub->cut && lw__bus_enter(bus, true) == 0) {
        if (!sub->gone) {
            lw__reader_leave(&sub->reader);
            lw__topic_detached(&sub->topic);
            lw__topic_close(&sub->topic);
        }
        lw__bus_detach(bus, &sub->handle);
        lw__bus_leave(bus);
    }
    free(sub);
}

/* What was handled before stays counted when the place changes by other means than releasing. */
static void shift_begin(struct lw_sub *sub, struct lw__place before) {
    sub->begin.pos += sub->reader.rx.head - before.pos;
    sub->begin.number += sub->reader.rx.number - before.number;
}

/* ---- receiving ------------------------------------------------------------------------------------------------------
 */

/* An unclean reboot took messages from this durable name: said once. */
static bool tell_loss(struct lw_sub *sub) {
    uint64_t lost = lw__load(&sub->reader.slot->lost);
    if (!lost) return false;
    sub->lost += lost;
    lw__store(&sub->reader.slot->lost, 0);
    undivert(sub);
    return true;
}

static int look(struct lw_sub *sub, struct lw_msg *msg) {
    if (sub->cut) return LW_EFORKED;
    if (sub->gone) return sub->gone;
    if (tell_loss(sub)) return LW_EGAP;
    int rc = lw__reader_next(&sub->reader, msg);
    return rc == LW_ECORRUPT ? corrupt(sub) : rc;
}

/* The log is at its end and `superseded` is set: by a living replacer, a dead one, or for good? The statistics go on
 * counting. */
static int follow_now(struct lw_sub *sub) {
    int rc = lw__bus_enter(sub->topic.bus, true);
    if (rc) return rc;
    struct lw__place before = {.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
    rc = follow(sub, LW_FROM_OLDEST, 0);
    if (!sub->gone) shift_begin(sub, before);
    lw__bus_leave(sub->topic.bus);
    return rc;
}

enum {
    LOOKS = 256, /* the inline path comes here once in so many looks at an empty ring, for what happens once a year */
    STARES = 256 /* looks at the next header in a row, before anything that takes longer than a look */
};

/* A peer that answers at once is seen at once. */
static void stare(const struct lw_sub *sub) {
    const struct lw__rx *rx = &sub->reader.rx;
    const uint64_t *header = (const uint64_t *)(const void *)(rx->ring + (rx->pos & rx->mask));
    for (int i = 0; i < STARES && !lw__load(header); i++) lw__relax();
}

int lw__sub_next_slow(struct lw_sub *sub, struct lw_msg *msg, int64_t timeout) {
    struct lw__wait wait = lw__wait_for(timeout);
    if (timeout) stare(sub);
    for (;;) {
        int rc = look(sub, msg);
        if (rc != LW_EEMPTY) return rc;
        if (lw__load_acquire(&sub->topic.lane.state->superseded)) {
            if ((rc = follow_now(sub))) return rc;
            continue;
        }
        if (wait.turns == 0 && timeout != 0) sub->waits++;
        rc = lw__wait_turn(&wait);
        if (rc > 0) sub->reader.rx.looks = LOOKS;
        if (rc > 0 && timeout) sub->refused++;
        if (rc) return rc > 0 ? LW_EEMPTY : rc;
    }
}

int lw__sub_release_slow(struct lw_sub *sub, const struct lw_msg *msg) {
    (void)msg;
    return sub->cut ? LW_EFORKED : LW_ESTATE;
}

int lw_sub_recv(struct lw_sub *sub, void *buffer, size_t room, struct lw_msg *msg, int64_t timeout) {
    struct lw_msg next;
    if (!sub->cut && !sub->gone && sub->reader.rx.pos != sub->reader.rx.head)
        return LW_ESTATE; /* it would release what is held in place */
    int rc = lw_sub_next(sub, &next, timeout);
    if (rc != 1) return rc;
    bool fits = next.len <= room;
    if (fits && next.len) memcpy(buffer, next.data, next.len);
    if (fits)
        lw_sub_release(sub, &next);
    else
        lw_sub_rewind(sub);
    next.data = buffer;
    if (msg) *msg = next;
    return fits ? 1 : LW_ETOOBIG;
}

void lw_sub_rewind(struct lw_sub *sub) {
    struct lw__place place;
    if (sub->cut || sub->gone || !lw__cursor_load(&sub->reader.slot->cursor, &place)) return;
    sub->reader.rx.pos = sub->reader.rx.head;
    sub->reader.rx.number = place.number;
}

int lw_sub_seek(struct lw_sub *sub, enum lw_from from, uint64_t position) {
    if (sub->cut) return LW_EFORKED;
    if (sub->gone) return sub->gone;
    int rc = lw__bus_enter(sub->topic.bus, true);
    if (rc) return rc;
    struct lw__owners owners = lw__topic_owners(sub->topic.bus);
    lw_sub_rewind(sub);
    struct lw__place before = {.pos = sub->reader.rx.head, .number = sub->reader.rx.number};
    rc = lw__reader_seek(&sub->reader, from, position, &owners);
    if (!rc) shift_begin(sub, before);
    if (rc == LW_ENOSLOT) no_slot(sub);
    if (rc == LW_EPOSITION)
        lw__fail(rc, "topic %s: no record begins at position %llu, or it is no longer retained", sub->topic.name,
                 (unsigned long long)position);
    if (rc == LW_ECORRUPT) corrupt(sub);
    lw__bus_leave(sub->topic.bus);
    return rc;
}

/* ---- callback style -------------------------------------------------------------------------------------------------
 */

/* Afterwards it is the next message again; what was handed out before it stays so. */
static void keep(struct lw_sub *sub, const struct lw_msg *msg) {
    if (msg->position < sub->reader.rx.head) return; /* the handler released it all the same */
    sub->reader.rx.pos = msg->position;
    sub->reader.rx.number = msg->number;
}

int64_t lw_sub_dispatch(struct lw_sub *sub, enum lw_verdict (*handle)(const struct lw_msg *msg, void *user), void *user,
                        size_t most, int64_t timeout) {
    struct lw_msg msg;
    bool closed = false;
    int64_t handled = 0;
    if (sub->closed) return LW_ESTATE; /* inside a handler of its own */
    int rc = lw_sub_next(sub, &msg, timeout);
    if (rc != 1) return rc;
    sub->closed = &closed;
    while (rc == 1) {
        enum lw_verdict verdict = handle(&msg, user);
        if (closed) return handled + 1; /* and `sub` is freed */
        if (verdict == LW_KEEP) {
            keep(sub, &msg);
            break;
        }
        lw_sub_release(sub, &msg); /* LW_ESTATE when the handler did it */
        handled++;
        if (verdict == LW_STOP || (size_t)handled == most) break;
        rc = lw_sub_next(sub, &msg, 0);
    }
    sub->closed = NULL;
    return handled;
}

/* ---- looking --------------------------------------------------------------------------------------------------------
 */

int lw_sub_stats(const struct lw_sub *sub, struct lw_stats *stats) {
    struct lw__place place = {0, 0};
    if (stats->size != sizeof *stats) return LW_EABI;
    if (sub->cut) return LW_EFORKED;
    if (sub->gone) return sub->gone;
    if (!lw__cursor_load(&sub->reader.slot->cursor, &place)) return LW_ECORRUPT;
    *stats = (struct lw_stats){.size = sizeof *stats,
                               .messages = place.number - sub->begin.number,
                               .bytes = place.pos - sub->begin.pos,
                               .position = sub->reader.rx.pos,
                               .number = sub->reader.rx.number,
                               .waits = sub->waits,
                               .refused = sub->refused,
                               .lost = sub->lost};
    return 0;
}

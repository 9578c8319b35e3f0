/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/membarrier.h"
#include "base/options.h"
#include "bus/wait.h"
#include "pattern/topic.h"

struct lw_pub {
    struct lw__writer writer; /* first: laneway/fast.h works on its beginning */
    struct lw__topic topic;
    struct lw__handle handle;
    unsigned flags;
    bool cut; /* a forked child's copy */
    uint64_t waits;
    uint64_t refused;
    int64_t looked; /* when the life of who is in our way was last looked at */
    int64_t swept;  /* when we last looked for the dead of a topic with evict_age */
};

/* How often the non-waiting calls look whether a subscriber that holds back, or the only one, is dead. */
#define LOOK_EVERY LW_MS(1)
#define SWEEP_EVERY LW_SEC(1)

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void cut(struct lw__handle *handle) {
    struct lw_pub *pub = (struct lw_pub *)(void *)((char *)handle - offsetof(struct lw_pub, handle));
    pub->cut = true;
    pub->writer.tx.edge = pub->writer.tx.edge_after = pub->writer.tx.held = 0; /* every call is now the slow path's */
    pub->writer.tx.section = NULL;
    if (pub->topic.fd >= 0) close(pub->topic.fd);
    pub->topic.fd = -1;
}

static int refuse(struct lw_pub *pub, int why) {
    const struct lw__topic *t = &pub->topic;
    char node[LW_NAME_MAX + 1];
    if (why == LW_ENOSLOT)
        return lw__fail(
            why,
            "topic %s: all %u slots are taken, and each publisher needs one; `laneway info %s` lists them; an "
            "exclusive publisher needs none, a new topic can be made with more (--slots)",
            t->name, t->lane.slots_max, t->name);
    if (why == LW_ECORRUPT)
        return lw__fail(
            why,
            "topic %s: %s/%s is corrupt at position %llu; `laneway verify %s` says more, `laneway rm %s` starts anew",
            t->name, t->bus->dir.path, t->path, (unsigned long long)pub->writer.holder, t->name, t->name);
    if (why != LW_EWRITER) return why;
    int pid = lw__owner_who(t->bus, pub->writer.holder, node);
    if ((pub->writer.holder & 0xffff) == 0)
        return lw__fail(why, "topic %s: node %s (pid %d) publishes it as the only one (exclusive); end that one first",
                        t->name, node, pid);
    return lw__fail(
        why,
        "topic %s: node %s (pid %d) publishes to it, so you can't be the only one; end that one first, or open "
        "it shared",
        t->name, node, pid);
}

static int take_once(struct lw_pub *pub, const struct lw__owners *owners) {
    struct lw__writer *w = &pub->writer;
    uint64_t owner = pub->topic.bus->owner;
    if (pub->flags & LW_PUB_EXCLUSIVE) return lw__writer_take(w, &pub->topic.lane, owner, owners);
    int rc = lw__writer_join(w, &pub->topic.lane, owner, owners);
    w->never_biased = pub->flags & LW_PUB_NO_BIAS;
    return rc;
}

/* Somebody who tidies or replaces holds the word for a moment, or an exclusive and a shared one saw each other come: so
 * the answer of the second look, under the lane's lock, counts. */
static int take(struct lw_pub *pub, const struct lw__owners *owners) {
    int rc = take_once(pub, owners);
    if (rc == LW_EWRITER && lw__topic_lock(&pub->topic, "opening") == 0) {
        rc = take_once(pub, owners);
        lw__topic_unlock(&pub->topic);
    }
    return rc ? refuse(pub, rc) : 0;
}

/* Whoever shares a topic must be able to take the lock from one that is biased. */
static int check_fences(const struct lw_pub *pub) {
    int rc = pub->flags & LW_PUB_EXCLUSIVE ? 0 : pub->topic.bus->fenced;
    if (!rc && !(pub->flags & LW_PUB_EXCLUSIVE)) rc = lw__membarrier();
    return rc ? lw__fail(
                    rc,
                    "topic %s: a shared publisher needs the system call membarrier, which is refused here: %s; allow "
                    "it, or open the topic with LW_PUB_EXCLUSIVE",
                    pub->topic.name, strerror(-rc))
              : 0;
}

/* 0, 1 to try again, or an error. */
static int open_once(struct lw_pub *pub, const struct lw_shape *shape) {
    struct lw__owners owners = lw__topic_owners(pub->topic.bus);
    int rc = lw__topic_open(&pub->topic, shape, LW__WRITE);
    if (rc) return rc;
    int taken = take(pub, &owners);
    rc = lw__topic_attached(&pub->topic); /* also when refused: by somebody who is replacing the file? */
    if (rc == 0 && taken == 0) {
        lw__lane_sweep(&pub->topic.lane, pub->topic.bus->owner, &owners);
        return 0;
    }
    if (!taken) lw__writer_leave(&pub->writer);
    if (!rc) lw__topic_detached(&pub->topic);
    if (!rc && taken) refuse(pub, taken);
    lw__topic_close(&pub->topic);
    return rc ? rc : taken;
}

static int open_pub(struct lw_pub *pub, struct lw_bus *bus, const char *topic, const struct lw_pub_options *options) {
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    int rc = lw__topic_name(&pub->topic, bus, topic);
    if (!rc) rc = lw__options_read(&opt, sizeof opt, options, "lw_pub_options");
    if (!rc && opt.flags & ~(unsigned)(LW_PUB_EXCLUSIVE | LW_PUB_NEED_SUB | LW_PUB_NO_BIAS))
        rc = lw__fail(-EINVAL, "lw_pub_options.flags: 0x%x is no flag", opt.flags);
    pub->flags = opt.flags;
    if (!rc) rc = check_fences(pub);
    while (!rc && (rc = open_once(pub, &opt.shape)) == 1) rc = 0;
    if (rc) return rc;
    if (pub->flags & LW_PUB_NEED_SUB) {
        pub->writer.slow_only = true;
        pub->writer.tx.edge = 0;
    }
    pub->handle.cut = cut;
    lw__bus_attach(bus, &pub->handle);
    return 0;
}

int lw_pub_open(struct lw_pub **out, struct lw_bus *bus, const char *topic, const struct lw_pub_options *options) {
    *out = NULL;
    struct lw_pub *pub = calloc(1, sizeof *pub);
    if (!pub) return lw__fail(-ENOMEM, "topic %s: no memory", topic);
    int rc = lw__bus_enter(bus, true);
    if (!rc) {
        rc = open_pub(pub, bus, topic, options);
        lw__bus_leave(bus);
    }
    if (rc)
        free(pub);
    else
        *out = pub;
    return rc;
}

void lw_pub_close(struct lw_pub *pub) {
    if (!pub) return;
    struct lw_bus *bus = pub->topic.bus;
    if (!pub->cut && lw__bus_enter(bus, true) == 0) {
        lw__writer_leave(&pub->writer);
        lw__topic_detached(&pub->topic);
        lw__topic_close(&pub->topic);
        lw__bus_detach(bus, &pub->handle);
        lw__bus_leave(bus);
    }
    free(pub);
}

/* ---- who holds back ---------------------------------------------------------------------------------------------- */

static struct lw__slot *slowest(struct lw_pub *pub) {
    return &pub->topic.lane.slots[pub->writer.slowest];
}

/* To look whether a process lives enters the kernel: at most once in LOOK_EVERY. */
static bool time_to_look(struct lw_pub *pub) {
    int64_t now = lw__now();
    if (now - pub->looked < LOOK_EVERY) return false;
    pub->looked = now;
    return true;
}

/* A dead subscriber without a name frees the room it held, a durable one that was dead for long as well. A dead
 * publisher's section is free when its epoch is closed. */
static void free_the_dead(struct lw_pub *pub, int refusal) {
    if (!time_to_look(pub)) return;
    struct lw_bus *bus = pub->topic.bus;
    uint64_t seen = refusal == LW_EWRITER ? pub->writer.holder : lw__load_acquire(&slowest(pub)->owner);
    if (!seen || !lw__owner_gone(bus, lw__slot_process(seen)) || refusal == LW_EWRITER) return;
    if (lw__slot_kind(seen) != LW__SLOT_DURABLE)
        lw__slot_free(slowest(pub), seen, bus->owner);
    else
        pub->writer.evicted += lw__slot_evict_old(&pub->topic.lane, slowest(pub), seen);
}

/* The age of a dead subscriber counts from when somebody saw that it is. */
static void note_the_dead(struct lw_pub *pub) {
    int64_t now = lw__now();
    if (now - pub->swept < SWEEP_EVERY) return;
    struct lw__owners owners = lw__topic_owners(pub->topic.bus);
    pub->swept = now;
    lw__lane_sweep(&pub->topic.lane, pub->topic.bus->owner, &owners);
}

static bool has_subscriber(struct lw_pub *pub) {
    struct lw__lane *lane = &pub->topic.lane;
    struct lw__owners owners = lw__topic_owners(pub->topic.bus);
    if (time_to_look(pub)) lw__lane_sweep(lane, pub->topic.bus->owner, &owners);
    uint64_t used = lw__load(&lane->ctl->slots_used);
    for (uint32_t i = 0; i < used && i < lane->slots_max; i++)
        if (lw__slot_subscribes(&lane->slots[i])) return true;
    return false;
}

/* "free it by": what there is to do about a subscriber that holds back. */
static void advice(char *text, size_t size, const struct lw_pub *pub, const char *name, bool durable, bool alive) {
    if (alive)
        snprintf(text, size, "it must go on or end");
    else if (durable && pub->topic.lane.evict_age)
        snprintf(text, size, "it is evicted %llu s after it was found dead",
                 (unsigned long long)pub->topic.lane.evict_age);
    else if (durable)
        snprintf(text, size, "start it again, or give it up: laneway forget %s %s", pub->topic.name, name);
    else
        snprintf(text, size, "the next try takes its place away");
}

const char *lw_pub_explain(struct lw_pub *pub) {
    struct lw__place place;
    char node[LW_NAME_MAX + 1], name[LW_NAME_MAX + 1], who[LW_NAME_MAX + 48], what[320];
    if (pub->cut) return lw__fail(LW_EFORKED, "%s", lw_strerror(LW_EFORKED)), lw_errtext();
    const struct lw__slot *slot = slowest(pub);
    uint64_t owner = lw__load_acquire(&slot->owner);
    bool durable = lw__slot_kind(owner) == LW__SLOT_DURABLE;
    if (!owner || !lw__cursor_load(&slot->cursor, &place) || place.pos >= pub->writer.tx.pos)
        return lw__fail(LW_EFULL, "topic %s: there is room again, or nobody reads", pub->topic.name), lw_errtext();
    bool alive = !lw__owner_gone(pub->topic.bus, owner);
    int pid = lw__owner_who(pub->topic.bus, owner, node);
    snprintf(name, sizeof name, "%.*s", LW_NAME_MAX, durable ? slot->name : "without a name");
    advice(what, sizeof what, pub, name, durable, alive);
    if (alive)
        snprintf(who, sizeof who, "alive, node %s, pid %d", node, pid);
    else
        snprintf(who, sizeof who, "%s%s", *node ? "dead, was node " : "away", node);
    lw__fail(LW_EFULL, "topic %s is full: subscriber %s (%s) is %llu messages, %llu bytes behind; %s", pub->topic.name,
             name, who, (unsigned long long)(pub->writer.tx.number - place.number),
             (unsigned long long)(pub->writer.tx.pos - place.pos), what);
    return lw_errtext();
}

/* ---- waiting for room -------------------------------------------------------------------------------------------- */

/* Another publisher is in the midst of a send, or one after the other is. */
static int explain_writer(struct lw_pub *pub) {
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(pub->topic.bus, pub->writer.holder, node);
    if (!pid)
        return lw__fail(LW_EWRITER, "topic %s: other publishers left no gap within the time given; try again",
                        pub->topic.name);
    return lw__fail(
        LW_EWRITER,
        "topic %s: node %s (pid %d) is in the midst of publishing and did not finish within the time given; "
        "if it is stopped, let it go on or end it",
        pub->topic.name, node, pid);
}

/* Who only tries, and again and again, gets the code alone. */
static int stop_waiting(struct lw_pub *pub, const struct lw__wait *wait, int code) {
    pub->refused++;
    if (wait->timeout == 0) return code;
    if (code == LW_EWRITER) return explain_writer(pub);
    if (code == LW_EFULL) return lw_pub_explain(pub), code;
    return lw__fail(code, "topic %s: nobody subscribes; `laneway sub %s` does", pub->topic.name, pub->topic.name);
}

/* How much room to leave to others while we wait for it: some, if there are any, and not for long. */
static uint64_t share(const struct lw_pub *pub) {
    const struct lw__lane *lane = &pub->topic.lane;
    unsigned writers = 0;
    uint64_t used = lw__load(&lane->ctl->slots_used);
    if (!pub->writer.slot) return 0;
    for (uint32_t i = 0; i < used && i < lane->slots_max && writers < 2; i++)
        writers += lw__slot_kind(lw__load(&lane->slots[i].owner)) == LW__SLOT_WRITER;
    return writers > 1 ? lane->ring / 16 : 0;
}

/* After a refusal: 0 try again, or what to return. */
static int wait_turn(struct lw_pub *pub, struct lw__wait *wait, int code) {
    if (wait->turns == 0 && wait->timeout != 0) pub->waits++;
    if (code == LW_EWRITER) lw__wait_spun(wait);
    if (lw__wait_slept(wait)) free_the_dead(pub, code);
    if (lw__wait_slept(wait)) lw__topic_napped(&pub->topic);
    pub->writer.spare = code == LW_EFULL && !lw__wait_slept(wait) && wait->timeout ? share(pub) : 0;
    int rc = lw__wait_turn(wait);
    if (rc) pub->writer.spare = 0;
    if (rc > 0) free_the_dead(pub, code); /* also for those who never wait long enough to sleep */
    return rc > 0 ? stop_waiting(pub, wait, code) : rc;
}

/* What every slow call looks at first. */
static int check(struct lw_pub *pub) {
    if (pub->cut) return LW_EFORKED;
    int moved = lw__topic_moved(&pub->topic); /* while we publish it can only have been removed */
    if (moved < 0) return moved;
    if (moved)
        return lw__fail(LW_ECLOSED, "topic %s was removed; close the publisher and open a new one to make it again",
                        pub->topic.name);
    if (pub->topic.lane.evict_age) note_the_dead(pub);
    return pub->flags & LW_PUB_NEED_SUB && !has_subscriber(pub) ? LW_ENOSUB : 0;
}

static bool is_refusal(int64_t rc) {
    return rc == LW_EFULL || rc == LW_ENOSUB || rc == LW_EWRITER;
}

/* The result of a call that is over. */
static int64_t result(struct lw_pub *pub, int64_t rc) {
    if (rc == LW_ECORRUPT) return refuse(pub, LW_ECORRUPT);
    if (rc == LW_ETOOBIG)
        lw__fail(
            LW_ETOOBIG,
            "topic %s: too big for its ring of %llu bytes: a message has at most %llu, a batch with its headers at "
            "most half the ring; make the topic with a larger one (--ring)",
            pub->topic.name, (unsigned long long)pub->topic.lane.ring, (unsigned long long)pub->topic.lane.record_max);
    return rc;
}

int64_t lw__pub_send_slow(struct lw_pub *pub, uint16_t type, const void *data, size_t len, int64_t timeout) {
    struct lw__wait wait = lw__wait_for(timeout);
    for (;;) {
        int64_t rc = check(pub);
        if (!rc) rc = lw__writer_send(&pub->writer, type, data, len);
        if (!is_refusal(rc)) return result(pub, rc);
        int stop = wait_turn(pub, &wait, (int)rc);
        if (stop) return stop;
    }
}

int lw__pub_reserve_slow(struct lw_pub *pub, void **data, size_t len, int64_t timeout) {
    struct lw__wait wait = lw__wait_for(timeout);
    if (pub->writer.slot && !pub->cut)
        return lw__fail(LW_ESTATE,
                        "topic %s: open it with LW_PUB_EXCLUSIVE to reserve in place; shared publishers copy in",
                        pub->topic.name);
    for (;;) {
        int rc = check(pub);
        if (!rc) rc = lw__writer_reserve(&pub->writer, data, len);
        if (!is_refusal(rc)) return (int)result(pub, rc);
        if ((rc = wait_turn(pub, &wait, rc))) return rc;
    }
}

int64_t lw_pub_send_batch(struct lw_pub *pub, const struct lw_item *items, size_t count, int64_t timeout) {
    struct lw__wait wait = lw__wait_for(timeout);
    for (;;) {
        int64_t rc = check(pub);
        if (!rc) rc = lw__writer_send_batch(&pub->writer, items, count);
        if (!is_refusal(rc)) return result(pub, rc);
        int stop = wait_turn(pub, &wait, (int)rc);
        if (stop) return stop;
    }
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

int64_t lw__pub_commit_slow(struct lw_pub *pub, uint16_t type, size_t len) {
    return pub->cut ? LW_EFORKED : lw__writer_commit(&pub->writer, type, len);
}

int lw_pub_stage(struct lw_pub *pub, uint16_t type, size_t len) {
    return pub->cut ? LW_EFORKED : lw__writer_stage(&pub->writer, type, len);
}

int64_t lw_pub_flush(struct lw_pub *pub) {
    return pub->cut ? LW_EFORKED : lw__writer_flush(&pub->writer);
}

void lw_pub_abort(struct lw_pub *pub) {
    if (!pub->cut) lw__writer_abort(&pub->writer);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

size_t lw_pub_max(const struct lw_pub *pub) {
    return pub->cut ? 0 : pub->topic.lane.record_max;
}

int lw_pub_stats(const struct lw_pub *pub, struct lw_stats *stats) {
    if (pub->cut) return LW_EFORKED;
    struct lw__place done = lw__writer_done(&pub->writer);
    struct lw_stats now = {.messages = done.number,
                           .bytes = done.pos,
                           .position = pub->writer.tx.pos,
                           .number = pub->writer.tx.number,
                           .waits = pub->waits,
                           .refused = pub->refused,
                           .evicted = pub->writer.evicted};
    return lw__result_write(stats, &now, sizeof now, "lw_stats");
}

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
#include "pattern/pub.h"
#include "pattern/topic.h"

/* How often the non-waiting calls look whether a subscriber that holds back, or the only one, is dead. */
#define LOOK_EVERY LW_MS(1)
#define SWEEP_EVERY LW_SEC(1)

/* ---- in a group --------------------------------------------------------------------------------------------------- */

static struct lw_pub *pub_of(struct lw__source *s) {
    return (struct lw_pub *)(void *)((char *)s - offsetof(struct lw_pub, source));
}

/* Pairs with replace() and remove_locked(). */
bool lw__pub_is_due(const struct lw_pub *pub) {
    if (!pub->want) return false;
    return lw__load_acquire(&pub->file.lane.state->superseded) || lw__writer_might_fit(&pub->writer, pub->want);
}

void lw__pub_told(struct lw_pub *pub) {
    pub->want = 0;
    pub->waiter->polled = pub->sent != NULL; /* one over TCP is looked at each turn */
}

static bool peek(struct lw__source *s) {
    return lw__pub_is_due(pub_of(s));
}

/* Told once for each refusal: a send that was taken inline would not take it back. */
static int look(struct lw__source *s, bool closely, struct lw_event *events, int room) {
    (void)closely;
    struct lw_pub *pub = pub_of(s);
    if (!room || !lw__pub_is_due(pub)) return 0;
    lw__pub_told(pub);
    *events = (struct lw_event){.kind = LW_WRITABLE, .pub = pub};
    return 1;
}

void lw__pub_park(struct lw_pub *pub, bool on) {
    if (pub->want || !on) lw__writer_park(&pub->writer, on);
}

static void park(struct lw__source *s, bool on) {
    lw__pub_park(pub_of(s), on);
}

void lw__pub_bell(struct lw_pub *pub, uint64_t bell) {
    lw__writer_bell(&pub->writer, bell);
}

static void set_bell(struct lw__source *s, uint64_t bell) {
    lw__pub_bell(pub_of(s), bell);
}

static bool tick(struct lw__source *s, int64_t now) {
    (void)now;
    lw__pub_tick(pub_of(s));
    return lw__pub_is_due(pub_of(s));
}

static const struct lw__source_ops pub_ops = {.look = look, .peek = peek, .park = park, .bell = set_bell, .tick = tick};

void lw__pub_set_masks(struct lw_pub *pub) {
    const struct lw__lane *lane = &pub->file.lane;
    bool always = pub->file.bus->fenced != 0 || pub->sent;
    pub->writer.tx.parked = always ? lw__masks_always : lw__mask_of(lane, lane->ctl->parked);
}

int lw_pub_move(struct lw_pub *pub, struct lw_group *group, void *user) {
    return pub->cut ? LW_EFORKED : lw__source_move(&pub->source, group, user);
}

/* A send was refused for want of room: its bits are to be set when it sleeps. */
static void want_room(struct lw_pub *pub, uint64_t size) {
    bool first = !pub->want;
    pub->want = size;
    pub->waiter->polled = true;
    if (first) lw__source_renew(pub->waiter);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void cut(struct lw__handle *handle) {
    struct lw_pub *pub = (struct lw_pub *)(void *)((char *)handle - offsetof(struct lw_pub, handle));
    pub->cut = true;
    lw__writer_divert(&pub->writer);
    pub->writer.tx.edge = 0;
    pub->writer.tx.section = NULL;
    lw__source_cut(&pub->source);
    if (pub->file.fd >= 0) close(pub->file.fd);
    pub->file.fd = -1;
}

static int refuse_for(struct lw_pub *pub, uint64_t holder) {
    const struct lw__file *f = &pub->file;
    char node[LW_NAME_MAX + 1];
    if (f->kind == LW__LINK_LANE) return lw__file_held(f, holder);
    int pid = lw__owner_who(f->bus, holder, node);
    if ((holder & 0xffff) == 0)
        return lw__fail(LW_EWRITER, "%s: node %s (pid %d) publishes it as the only one (exclusive); end that one first",
                        f->title, node, pid);
    return lw__fail(
        LW_EWRITER,
        "%s: node %s (pid %d) publishes to it, so you can't be the only one; end that one first, or open it shared",
        f->title, node, pid);
}

/* Returns the code that the user gets. */
static int refuse(struct lw_pub *pub, int why) {
    const struct lw__file *f = &pub->file;
    if (why == LW_ENOSLOT)
        return lw__fail(
            why,
            "%s: all %u slots are taken, and each publisher needs one; `laneway info %s` lists them; an exclusive "
            "publisher needs none, a new topic can be made with more (--slots)",
            f->title, f->lane.slots_max, f->name);
    if (why == LW_ECORRUPT) return lw__file_corrupt(f, pub->writer.holder);
    return why == LW_EWRITER ? refuse_for(pub, pub->writer.holder) : why;
}

static int take_once(struct lw_pub *pub, const struct lw__owners *owners) {
    struct lw__writer *w = &pub->writer;
    uint64_t owner = pub->file.bus->owner;
    if (pub->flags & LW_PUB_EXCLUSIVE) return lw__writer_take(w, &pub->file.lane, owner, owners);
    int rc = lw__writer_join(w, &pub->file.lane, owner, owners);
    w->never_biased = pub->flags & LW_PUB_NO_BIAS;
    return rc;
}

/* On a link's lane the other one is often just ending. */
static int take_patiently(struct lw_pub *pub, const struct lw__owners *owners) {
    int64_t until = pub->file.kind == LW__LINK_LANE ? lw__now() + lw__a_moment() : 0;
    int rc;
    while ((rc = take_once(pub, owners)) == LW_EWRITER && until && lw__now() < until) lw__sleep(LW_MS(1) / 4);
    return rc;
}

/* Somebody who tidies or replaces holds the word for a moment, or an exclusive and a shared one saw each other come: so
 * the answer of the second look, under the lane's lock, counts. */
static int take(struct lw_pub *pub, const struct lw__owners *owners) {
    int rc = take_patiently(pub, owners);
    if (rc == LW_EWRITER && lw__file_lock(&pub->file, "opening") == 0) {
        rc = take_once(pub, owners);
        lw__file_unlock(&pub->file);
    }
    return rc;
}

/* Whoever shares a topic must be able to take the lock from one that is biased. The membarrier pairs with nothing:
 * it is to find out whether it may be called. */
static int check_fences(const struct lw_pub *pub) {
    int rc = pub->flags & LW_PUB_EXCLUSIVE ? 0 : pub->file.bus->fenced;
    if (!rc && !(pub->flags & LW_PUB_EXCLUSIVE)) rc = lw__membarrier();
    return rc ? lw__fail(rc,
                         "%s: a shared publisher needs the system call membarrier, which is refused here: %s; allow "
                         "it, or open the topic with LW_PUB_EXCLUSIVE",
                         pub->file.title, strerror(-rc))
              : 0;
}

/* 0, 1 to try again, or an error. */
static int open_once(struct lw_pub *pub, const struct lw_shape *shape) {
    struct lw__owners owners = lw__file_owners(pub->file.bus);
    int rc = pub->file.kind == LW__TOPIC ? lw__topic_open(&pub->file, shape, LW__WRITE)
                                         : lw__file_open_current(&pub->file, LW__WRITE);
    if (rc) return rc;
    int taken = take(pub, &owners);
    rc = lw__file_attached(&pub->file); /* also when refused: by somebody who is replacing the file? */
    if (rc == 0 && taken == 0) {
        lw__lane_sweep(&pub->file.lane, pub->file.bus->owner, &owners);
        return 0;
    }
    if (!taken) lw__writer_leave(&pub->writer);
    if (!rc) lw__file_detached(&pub->file);
    if (!rc && taken) taken = refuse(pub, taken);
    lw__file_close(&pub->file);
    return rc ? rc : taken;
}

/* Attaches to the file that is named in it, and makes the handle one of the bus. */
static int open_named(struct lw_pub *pub, const struct lw_shape *shape) {
    int rc;
    while ((rc = open_once(pub, shape)) == 1) {
    }
    if (rc) return rc;
    lw__source_init(&pub->source, pub->file.bus, &pub_ops, NULL);
    pub->waiter = &pub->source;
    lw__pub_set_masks(pub);
    pub->handle.cut = cut;
    lw__bus_attach(pub->file.bus, &pub->handle);
    return 0;
}

static int open_pub(struct lw_pub *pub, struct lw_bus *bus, const char *topic, const struct lw_pub_options *options) {
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    int rc = lw__topic_name(&pub->file, bus, topic);
    if (!rc) rc = lw__options_read(&opt, sizeof opt, options, "lw_pub_options");
    if (!rc && opt.flags & ~(unsigned)(LW_PUB_EXCLUSIVE | LW_PUB_NEED_SUB | LW_PUB_NO_BIAS))
        rc = lw__fail(-EINVAL, "lw_pub_options.flags: 0x%x is no flag", opt.flags);
    pub->flags = opt.flags;
    if (!rc) rc = check_fences(pub);
    if (!rc) rc = open_named(pub, &opt.shape);
    if (!rc && pub->flags & LW_PUB_NEED_SUB) {
        pub->writer.slow_only = true;
        lw__writer_divert(&pub->writer);
    }
    return rc;
}

static int done(struct lw_pub **out, struct lw_pub *pub, int rc) {
    *out = rc ? NULL : pub;
    if (rc) free(pub);
    return rc;
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
    return done(out, pub, rc);
}

int lw__pub_open_file(struct lw_pub **out, struct lw_bus *bus, const struct lw__file *file) {
    *out = NULL;
    struct lw_pub *pub = calloc(1, sizeof *pub);
    if (!pub) return lw__fail(-ENOMEM, "%s: no memory", file->title);
    lw__file_like(&pub->file, bus, file);
    pub->flags = LW_PUB_EXCLUSIVE;
    return done(out, pub, open_named(pub, NULL));
}

void lw__pub_close_entered(struct lw_pub *pub) {
    struct lw_bus *bus = pub->file.bus;
    lw__writer_leave(&pub->writer);
    lw__file_detached(&pub->file);
    lw__file_close(&pub->file);
    lw__bus_detach(bus, &pub->handle);
    free(pub);
}

void lw_pub_close(struct lw_pub *pub) {
    if (!pub) return;
    struct lw_bus *bus = pub->file.bus;
    lw__source_close(&pub->source);
    if (pub->cut || lw__bus_enter(bus, true)) {
        free(pub);
        return;
    }
    lw__pub_close_entered(pub);
    lw__bus_leave(bus);
}

/* ---- who holds back ---------------------------------------------------------------------------------------------- */

static struct lw__slot *slowest(struct lw_pub *pub) {
    return &pub->file.lane.slots[pub->writer.slowest];
}

/* To look whether a process lives enters the kernel: at most once in LOOK_EVERY. */
static bool time_to_look(struct lw_pub *pub) {
    int64_t now = lw__now();
    if (now - pub->looked < LOOK_EVERY) return false;
    pub->looked = now;
    return true;
}

/* A dead subscriber without a name frees the room it held, a durable one that was dead for long as well. A dead
 * publisher's section is free when its epoch is closed. Pairs with take_free() and lw__slot_note_away(); the word is
 * believed only by compare-and-swap. */
static void free_the_dead(struct lw_pub *pub, int refusal) {
    struct lw_bus *bus = pub->file.bus;
    uint64_t seen = refusal == LW_EWRITER ? pub->writer.holder : lw__load_acquire(&slowest(pub)->owner);
    if (!seen || !lw__owner_gone(bus, lw__slot_process(seen)) || refusal == LW_EWRITER) return;
    if (lw__slot_kind(seen) != LW__SLOT_DURABLE)
        lw__slot_free(slowest(pub), seen, bus->owner);
    else
        pub->writer.evicted += lw__slot_evict_old(&pub->file.lane, slowest(pub), seen);
}

/* The age of a dead subscriber counts from when somebody saw that it is. */
static void note_the_dead(struct lw_pub *pub) {
    int64_t now = lw__now();
    if (now - pub->swept < SWEEP_EVERY) return;
    struct lw__owners owners = lw__file_owners(pub->file.bus);
    pub->swept = now;
    lw__lane_sweep(&pub->file.lane, pub->file.bus->owner, &owners);
}

static bool has_subscriber(struct lw_pub *pub) {
    struct lw__lane *lane = &pub->file.lane;
    struct lw__owners owners = lw__file_owners(pub->file.bus);
    if (time_to_look(pub)) lw__lane_sweep(lane, pub->file.bus->owner, &owners);
    uint64_t used = lw__load(&lane->ctl->slots_used);
    for (uint32_t i = 0; i < used && i < lane->slots_max; i++)
        if (lw__slot_subscribes(&lane->slots[i])) return true;
    return false;
}

/* "free it by": what there is to do about a subscriber that holds back. */
static void advice(char *text, size_t size, const struct lw_pub *pub, const char *name, bool durable, bool alive) {
    if (alive)
        snprintf(text, size, "it must go on or end");
    else if (durable && pub->file.lane.evict_age)
        snprintf(text, size, "it is evicted %llu s after it was found dead",
                 (unsigned long long)pub->file.lane.evict_age);
    else if (durable && pub->file.kind == LW__LINK_LANE)
        snprintf(text, size, "start it again, or give the link up: laneway rm links %s", pub->file.name);
    else if (durable)
        snprintf(text, size, "start it again, or give it up: laneway forget %s %s", pub->file.name, name);
    else
        snprintf(text, size, "the next try takes its place away");
}

/* Pairs with change_word(), for the name. */
const char *lw_pub_explain(struct lw_pub *pub) {
    struct lw__place place;
    char node[LW_NAME_MAX + 1], name[LW_NAME_MAX + 1], who[LW_NAME_MAX + 48], what[320];
    if (pub->cut) return lw__fail(LW_EFORKED, "%s", lw_strerror(LW_EFORKED)), lw_errtext();
    const struct lw__slot *slot = slowest(pub);
    uint64_t owner = lw__load_acquire(&slot->owner);
    bool durable = lw__slot_kind(owner) == LW__SLOT_DURABLE;
    if (!owner || !lw__cursor_load(&slot->cursor, &place) || place.pos >= pub->writer.tx.pos)
        return lw__fail(LW_EFULL, "%s: there is room again, or nobody reads", pub->file.title), lw_errtext();
    bool alive = !lw__owner_gone(pub->file.bus, owner);
    int pid = lw__owner_who(pub->file.bus, owner, node);
    snprintf(name, sizeof name, "%.*s", LW_NAME_MAX, durable ? slot->name : "without a name");
    advice(what, sizeof what, pub, name, durable, alive);
    if (alive)
        snprintf(who, sizeof who, "alive, node %s, pid %d", node, pid);
    else
        snprintf(who, sizeof who, "%s%s", *node ? "dead, was node " : "away", node);
    if (pub->sent) {
        snprintf(who, sizeof who, "on another host");
        snprintf(what, sizeof what, "it must be reached and go on, or the link be given up: laneway rm links %s",
                 pub->file.name);
    }
    lw__fail(LW_EFULL, "%s is full: %s %s (%s) is %llu messages, %llu bytes behind; %s", pub->file.title,
             pub->file.kind == LW__TOPIC ? "subscriber" : "reader", name, who,
             (unsigned long long)(pub->writer.tx.number - place.number),
             (unsigned long long)(pub->writer.tx.pos - place.pos), what);
    return lw_errtext();
}

void lw__pub_tick(struct lw_pub *pub) {
    if (pub->cut) return;
    struct lw__owners owners = lw__file_owners(pub->file.bus);
    if (pub->want) {
        lw__lane_sweep(&pub->file.lane, pub->file.bus->owner, &owners);
        pub->looked = 0; /* now, not when it is time again: somebody died */
        free_the_dead(pub, LW_EFULL);
    }
    lw__file_napped(&pub->file);
}

void lw__pub_veto(struct lw_pub *pub, int veto) {
    pub->veto = veto;
    pub->writer.slow_only = veto != 0;
    if (veto) lw__writer_divert(&pub->writer);
}

/* ---- waiting for room -------------------------------------------------------------------------------------------- */

/* Another publisher is in the midst of a send, or one after the other is. */
static int explain_writer(struct lw_pub *pub) {
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(pub->file.bus, pub->writer.holder, node);
    if (!pid)
        return lw__fail(LW_EWRITER, "%s: other publishers left no gap within the time given; try again",
                        pub->file.title);
    return lw__fail(LW_EWRITER,
                    "%s: node %s (pid %d) is in the midst of publishing and did not finish within the time given; "
                    "if it is stopped, let it go on or end it",
                    pub->file.title, node, pid);
}

/* Who only tries, and again and again, gets the code alone. */
static int stop_waiting(struct lw_pub *pub, const struct lw__wait *wait, int code) {
    pub->refused++;
    if (wait->timeout == 0) return code;
    if (code == LW_EWRITER) return explain_writer(pub);
    if (code == LW_EFULL) return lw_pub_explain(pub), code;
    return lw__fail(code, "%s: nobody subscribes; `laneway sub %s` does", pub->file.title, pub->file.name);
}

/* How much room to leave to others while we wait for it: some, if there are any, and not for long. */
static uint64_t share(const struct lw_pub *pub) {
    const struct lw__lane *lane = &pub->file.lane;
    unsigned writers = 0;
    uint64_t used = lw__load(&lane->ctl->slots_used);
    if (!pub->writer.slot) return 0;
    for (uint32_t i = 0; i < used && i < lane->slots_max && writers < 2; i++)
        writers += lw__slot_kind(lw__load(&lane->slots[i].owner)) == LW__SLOT_WRITER;
    return writers > 1 ? lane->ring / 16 : 0;
}

/* After a refusal: 0 try again, or what to return. */
static int wait_turn(struct lw_pub *pub, struct lw__wait *wait, int code, uint64_t size) {
    if (!wait->waited && wait->timeout != 0) pub->waits++;
    if (!wait->waited && wait->timeout == 0 && pub->sent && lw__source_drive(pub->waiter)) { /* over TCP */
        wait->waited = true;
        return 0;
    }
    if (!wait->waited) lw__pub_ring(pub); /* what was sent corked: nobody makes room who does not know of it */
    wait->waited = true;
    if (pub->around && lw__wait_slept(wait)) pub->around(pub->waiter);
    if (code == LW_EFULL) want_room(pub, size);
    wait->source = code == LW_EFULL ? pub->waiter : NULL; /* nobody rings for the rest */
    if (code == LW_EWRITER) lw__wait_spun(wait);
    if (lw__wait_slept(wait) && time_to_look(pub)) {
        free_the_dead(pub, code);
        lw__file_napped(&pub->file);
    }
    pub->writer.spare = code == LW_EFULL && !lw__wait_slept(wait) && wait->timeout ? share(pub) : 0;
    int rc = lw__wait_turn(wait);
    if (rc) pub->writer.spare = 0;
    if (rc > 0 && time_to_look(pub)) free_the_dead(pub, code); /* also for those who never wait long enough to sleep */
    return rc > 0 ? stop_waiting(pub, wait, code) : rc;
}

/* What every slow call looks at first. */
static int check(struct lw_pub *pub) {
    if (pub->cut) return LW_EFORKED;
    if (pub->veto) return pub->veto;
    int moved = lw__file_moved(&pub->file); /* while we publish it can only have been removed */
    if (moved < 0) return moved;
    if (moved) return lw__file_removed(&pub->file, "close the publisher and open a new one to make it again");
    if (pub->file.lane.evict_age) note_the_dead(pub);
    return pub->flags & LW_PUB_NEED_SUB && !has_subscriber(pub) ? LW_ENOSUB : 0;
}

static void ring_readers(struct lw_pub *pub) {
    if (lw__is_any(pub->writer.tx.parked)) lw__pub_ring(pub);
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
            "%s: too big for its ring of %llu bytes: a message has at most %llu, a batch with its headers at most half "
            "the ring; make the %s",
            pub->file.title, (unsigned long long)pub->file.lane.ring, (unsigned long long)pub->file.lane.record_max,
            pub->file.kind == LW__TOPIC ? "topic with a larger one (--ring)" : "link with larger ones");
    return rc;
}

/* The calls that may wait, and what they need: one shape for all three. */
struct call {
    enum { SEND, RESERVE, SEND_BATCH } what;
    uint16_t type;
    const void *data;
    void **place;
    size_t len;
    const struct lw_item *items;
    size_t count;
};

static int64_t try(struct lw_pub *pub, const struct call *c) {
    int64_t rc = check(pub);
    if (rc) return rc;
    if (c->what == SEND) return lw__writer_send(&pub->writer, c->type, c->data, c->len);
    if (c->what == RESERVE) return lw__writer_reserve(&pub->writer, c->place, c->len);
    return lw__writer_send_batch(&pub->writer, c->items, c->count);
}

static uint64_t size_of(const struct lw_pub *pub, const struct call *c) {
    uint64_t size = c->what == SEND_BATCH ? 0 : lw__record_size(c->len);
    if (pub->writer.staged) size += pub->writer.fill - pub->writer.tx.pos;
    for (size_t i = 0; i < c->count; i++) size += lw__record_size(c->items[i].len);
    return size;
}

static int64_t wait_for_it(struct lw_pub *pub, const struct call *c, int64_t timeout) {
    struct lw__wait wait = lw__wait_for(timeout, pub->waiter);
    int64_t rc;
    int stop = 0;
    wait.longest = LW_MS(10); /* for the dead that hold back */
    while (is_refusal(rc = try(pub, c)) && !(stop = wait_turn(pub, &wait, (int)rc, size_of(pub, c)))) {
    }
    wait.source = pub->waiter;
    lw__wait_done(&wait);
    if (stop) return stop;
    if (!pub->cut) lw__pub_told(pub);
    if (rc >= 0 && c->what != RESERVE) ring_readers(pub);
    return result(pub, rc);
}

int64_t lw__pub_send_slow(struct lw_pub *pub, uint16_t type, const void *data, size_t len, int64_t timeout) {
    struct call c = {.what = SEND, .type = type, .data = data, .len = len};
    return wait_for_it(pub, &c, timeout);
}

int lw__pub_reserve_slow(struct lw_pub *pub, void **data, size_t len, int64_t timeout) {
    struct call c = {.what = RESERVE, .place = data, .len = len};
    if (pub->writer.slot && !pub->cut)
        return lw__fail(LW_ESTATE, "%s: open it with LW_PUB_EXCLUSIVE to reserve in place; shared publishers copy in",
                        pub->file.title);
    return (int)wait_for_it(pub, &c, timeout);
}

int64_t lw_pub_send_batch(struct lw_pub *pub, const struct lw_item *items, size_t count, int64_t timeout) {
    struct call c = {.what = SEND_BATCH, .items = items, .count = count};
    return wait_for_it(pub, &c, timeout);
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

int64_t lw__pub_commit_slow(struct lw_pub *pub, uint16_t type, size_t len) {
    int64_t pos = pub->cut ? LW_EFORKED : lw__writer_commit(&pub->writer, type, len);
    if (pos >= 0) ring_readers(pub);
    return pos;
}

int lw_pub_stage(struct lw_pub *pub, uint16_t type, size_t len) {
    return pub->cut ? LW_EFORKED : lw__writer_stage(&pub->writer, type, len);
}

int64_t lw_pub_flush(struct lw_pub *pub) {
    int64_t pos = pub->cut ? LW_EFORKED : lw__writer_flush(&pub->writer);
    if (pos >= 0) ring_readers(pub);
    return pos;
}

void lw_pub_abort(struct lw_pub *pub) {
    if (!pub->cut) lw__writer_abort(&pub->writer);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

size_t lw_pub_max(const struct lw_pub *pub) {
    return pub->cut ? 0 : pub->file.lane.record_max;
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

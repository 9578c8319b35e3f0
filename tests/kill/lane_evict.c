/* SPDX-License-Identifier: MIT */
/* kill/lane_evict.c - eviction, coming back from it, and readers by copy. */
#include "kill/evict.h"

struct ke_scene ke;

void ke_begin(uint32_t slots, uint64_t age) {
    struct lw__lane_shape shape = {.ring = KE_RING, .slots = slots, .start = 4 * KE_RING, .evict_age = age};
    ke = (struct ke_scene){.policy = LW__SLOT_LAG};
    kill_lanes_begin(&shape);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

int64_t ke_write_laps(struct lw__writer *w, uint64_t bytes) {
    uint64_t end_at = w->tx.pos + bytes;
    int64_t rc = 0;
    while (w->tx.pos < end_at && rc >= 0) rc = t_send(w, 40 + w->tx.number % 5 * 8);
    return rc;
}

void ke_write(struct lw__lane *lane, uint64_t bytes) {
    struct lw__writer w;
    t_write_as(&w, lane, KE_WRITER);
    ke_write_laps(&w, bytes);
    lw__writer_leave(&w);
}

/* ---- durable reader "d" ------------------------------------------------------------------------------------------ */

struct lw__slot *ke_slot_of_d(struct lw__lane *lane) {
    return lw__slot_find(lane, "d");
}

void ke_make_d(unsigned held, uint64_t bytes) {
    struct lw__lane *lane = &kl.live.lane;
    struct lw__reader r;
    struct lw_msg m;
    ke_write(lane, KE_RING + 500);
    t_lagging_as(&r, lane, KILL_OTHER, KE_CAP);
    lw__slot_make_durable(&r, "d");
    ke.released = r.rx.number + 3;
    ke_write(lane, 800);
    for (int i = 0; i < 3; i++) T_NEED(t_copy_next(&r, &m) == 1);
    T_NEED(!t_copy_release(&r, &m));
    while (held--) T_NEED(t_copy_next(&r, &m) == 1);
    t_copy_leave(&r);
    ke_write(lane, bytes);
    T_NEED(bytes < KE_CAP || ke_slot_of_d(lane)->owner & LW__SLOT_EVICTED);
}

/* Whoever comes next of the name: what it is told and what it gets is all that was not released. */
static const char *d_adds_up(struct lw__lane *lane) {
    struct lw__reader r;
    struct t_seen seen = {0};
    struct lw__place tail;
    const char *trouble;
    if (!ke_slot_of_d(lane)) return kill_lost("the name is gone");
    int rc = t_copy_inherit(&r, lane, "d", KILL_HEIR, ke.in_place ? 0 : LW__SLOT_LAG, ke.in_place ? 0 : KE_CAP);
    if (rc) return t_words("going on: %s", lw_errname(rc));
    if (lw__load(&r.slot->owner) != r.owner) return "it is not settled";
    uint64_t missed = lw__slot_missed(r.slot);
    if (r.rx.number - missed > ke.released)
        return kill_lost("goes on at %" PRIu64 ", told of %" PRIu64 ", released before %" PRIu64, r.rx.number, missed,
                         ke.released);
    if (r.rx.number - missed < ke.released)
        return kill_repeated("goes on at %" PRIu64 ", told of %" PRIu64 ", released before %" PRIu64, r.rx.number,
                             missed, ke.released);
    trouble = ke.in_place ? kill_read(&r) : t_copy_drain(&r, &seen);
    if (trouble) return trouble;
    if (seen.told) return "told twice at once";
    if ((trouble = t_at_rest(lane, &tail))) return trouble;
    if (r.rx.number != tail.number || r.rx.pos != tail.pos) return kill_lost("it does not get to the end");
    lw__slot_free(r.slot, r.owner, t_owner(KILL_HEIR, 0));
    lw__reader_free_copies(&r);
    return NULL;
}

static const char *nothing_is_left(struct lw__lane *lane) {
    uint64_t number;
    struct lw__place tail;
    lw__lane_sweep(lane, t_owner(KILL_HEIR, 0), &t_aging_owners);
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].owner) return t_words("slot %u was left behind: %" PRIx64, i, lane->slots[i].owner);
    if (lw__lane_tail(lane, &tail)) return "no tail";
    return t_goes_on(lane, KILL_HEIR, tail.number, tail.number, &number);
}

/* While no writer runs: what counts is not before horizon, or writers would wait for what is lost anyway. */
static const char *no_old_place_counts(struct lw__lane *lane) {
    struct lw__place place;
    const struct lw__slot *slot = ke_slot_of_d(lane);
    if (!slot || slot->owner & LW__SLOT_EVICTED || !(slot->owner & LW__SLOT_RETURNING)) return NULL;
    if (!lw__cursor_load(&slot->cursor, &place)) return "no place";
    return place.pos < lane->ctl->horizon ? t_words("%" PRIu64 " counts", place.pos) : NULL;
}

/* ---- the judges -------------------------------------------------------------------------------------------------- */

static struct kill_verdict judge(struct lw__lane *lane, const char *(*of)(struct lw__lane *lane)) {
    struct lw__lane_check check;
    struct kill_verdict v = {.trouble = NULL, .found = KILL_UNKNOWN};
    t_owner_set(KILL_OTHER, false);
    t_owner_set(KE_WRITER, false);
    if (lw__lane_verify(lane, &check)) v.trouble = t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    if (!v.trouble && of) v.trouble = of(lane);
    if (!v.trouble) v.trouble = nothing_is_left(lane);
    t_owner_set(KILL_OTHER, true);
    t_owner_set(KE_WRITER, true);
    return v;
}

struct kill_verdict ke_adds_up(struct lw__lane *lane) {
    const char *old = ke.between ? NULL : no_old_place_counts(lane);
    return old ? (struct kill_verdict){.trouble = old} : judge(lane, d_adds_up);
}

static struct kill_verdict nobody(struct lw__lane *lane) {
    return judge(lane, NULL);
}

/* Its place is the old one or the new one; nothing that it had not released is lost without a word. */
static struct kill_verdict d_is_here_or_there(struct lw__lane *lane) {
    struct lw__place place;
    if (!ke_slot_of_d(lane) || !lw__cursor_load(&ke_slot_of_d(lane)->cursor, &place))
        return (struct kill_verdict){.trouble = "no place"};
    bool is_old = place.pos == ke.old.pos && place.number == ke.old.number;
    ke.released = place.number;
    if (!is_old && place.pos != ke.position) return (struct kill_verdict){.trouble = t_words("at %" PRIu64, place.pos)};
    struct kill_verdict v = judge(lane, d_adds_up);
    v.found = is_old ? KILL_UNDONE : KILL_DONE;
    return v;
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

void ke_be_nobody(void *arg) {
    kill_child_maps(arg);
}

void ke_be_writer(void *arg) {
    ke_be_nobody(arg);
    t_write_as(&ke.w, &kl.mine, KILL_CHILD);
}

static void send_some(void *arg) {
    (void)arg;
    for (int i = 0; i < 6; i++) T_NEED(t_send(&ke.w, 40) >= 0);
}

void ke_inherit(void *arg) {
    (void)arg;
    T_NEED(!t_copy_inherit(&ke.r, &kl.mine, "d", KILL_CHILD, ke.policy, ke.policy ? KE_CAP : 0));
}

static void be_settled_d(void *arg) {
    ke_be_nobody(arg);
    ke_inherit(arg);
}

void ke_be_d(void *arg) {
    struct lw_msg m;
    be_settled_d(arg);
    for (int i = 0; i < 2; i++) T_NEED(t_copy_next(&ke.r, &m) == 1);
    ke_write(&kl.mine, ke.position);
    T_NEED(lw__load(&ke.r.slot->owner) & LW__SLOT_EVICTED);
}

static void come_back(void *arg) {
    struct lw_msg m;
    (void)arg;
    lw__reader_divert(&ke.r); /* what was copied has been read */
    int rc = t_copy_next(&ke.r, &m);
    T_NEED(rc == 1 || rc == LW_EEVICTED);
}

static void leave(void *arg) {
    (void)arg;
    lw__reader_leave(&ke.r);
}

static void join_by_copy(void *arg) {
    (void)arg;
    T_NEED(!t_copy_join(&ke.r, &kl.mine, t_owner(KILL_CHILD, ke.policy), KE_CAP, ke.from, ke.position));
}

static void be_reader(void *arg) {
    ke_be_nobody(arg);
    join_by_copy(arg);
}

static void be_evicted_reader(void *arg) {
    be_reader(arg);
    ke_write(&kl.mine, 2 * KE_RING);
}

static void seek(void *arg) {
    (void)arg;
    T_NEED(!lw__reader_seek(&ke.r, ke.from, ke.position, &t_owners));
}

/* Whoever comes: all the dead are swept, "d" is told what it missed, and releases nothing. */
static void recover(void *arg) {
    struct lw__reader r;
    struct lw__writer w;
    struct lw_msg m;
    (void)arg;
    t_owner_set(KILL_OTHER, false);
    lw__lane_sweep(&kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners);
    if (ke_slot_of_d(&kl.mine)) {
        T_NEED(!t_copy_inherit(&r, &kl.mine, "d", KILL_RECOVERER, ke.in_place ? 0 : LW__SLOT_LAG,
                               ke.in_place ? 0 : KE_CAP));
        t_copy_next(&r, &m);
        t_copy_leave(&r);
    }
    T_NEED(!lw__writer_take(&w, &kl.mine, t_owner(KILL_RECOVERER, 0), &t_owners));
    lw__writer_leave(&w);
}

/* ---- scenes ------------------------------------------------------------------------------------------------------ */

/* `before`: so far the writer went on since "d" closed; `adds`: messages it was handed. */
static void begin_with_d(const struct kill_op *op) {
    ke_begin(op->slots, 0);
    ke.in_place = op->in_place;
    if (op->in_place) ke.policy = 0;
    ke_make_d(op->adds, op->before);
    ke.position = op->len; /* that far it goes on under the child's eyes */
}

/* As it was before the last writer looked. */
static void not_yet_evicted(void) {
    ke_write(&kl.live.lane, 0);
    ke_slot_of_d(&kl.live.lane)->owner &= ~(uint64_t)LW__SLOT_EVICTED;
}

static void begin_before_eviction(const struct kill_op *op) {
    begin_with_d(op);
    not_yet_evicted();
}

static void begin_seeking(const struct kill_op *op) {
    struct lw__place oldest, tail;
    begin_with_d(op);
    T_NEED(!lw__lane_oldest(&kl.live.lane, &oldest) && !t_at_rest(&kl.live.lane, &tail));
    lw__cursor_load(&ke_slot_of_d(&kl.live.lane)->cursor, &ke.old);
    ke.from = op->from;
    ke.position = op->from == LW_FROM_NOW ? tail.pos : oldest.pos;
    if (!op->inside) not_yet_evicted();
}

static void begin_by_copy(const struct kill_op *op) {
    struct lw__place oldest;
    ke_begin(op->slots, 0);
    ke_write(&kl.live.lane, 2 * KE_RING);
    T_NEED(!lw__lane_oldest(&kl.live.lane, &oldest));
    ke.policy = op->in_place ? LW__SLOT_LOSSY : LW__SLOT_RELIABLE | LW__SLOT_LAG;
    ke.from = op->from;
    ke.position = oldest.pos;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

#define OP(name_, begin_, prepare_, operate_, judge_)                                                                  \
    .name = "evict/" name_, .run = kill_lane, .begin = begin_, .end = kill_lanes_end, .scene = &ke,                    \
    .scene_size = sizeof ke, .prepare = prepare_, .operate = operate_, .recover = recover, .judge = judge_
#define HEIR(name_, in_place_, before_, held_)                                                                         \
    OP("heir-" name_, begin_with_d, ke_be_nobody, ke_inherit, ke_adds_up), .slots = 3, .in_place = in_place_,          \
                                                                           .before = before_, .adds = held_
#define OWNER(name_, operate_, before_, goes_on_)                                                                      \
    OP("owner-" name_, begin_with_d, ke_be_d, operate_, ke_adds_up), .slots = 3, .before = before_, .len = goes_on_
#define COPY(name_, prepare_, operate_, lossy_, from_)                                                                 \
    OP("by-copy-" name_, begin_by_copy, prepare_, operate_, nobody), .slots = 2, .in_place = lossy_, .from = from_
#define SEEK(name_, evicted_, from_)                                                                                   \
    OP("seek-" name_, begin_seeking, be_settled_d, seek, d_is_here_or_there),                                          \
        .slots = 4, .before = KE_RING / 2, .inside = evicted_, .from = from_, .both = true

const struct kill_op kill_evict_ops[] = {
    {OP("evict", begin_before_eviction, ke_be_writer, send_some, ke_adds_up), .slots = 3, .before = 2000,
     .brief = true},
    {HEIR("near", false, 1500, 0), .brief = true},
    {HEIR("near-in-place", true, 1500, 5), .brief = true},
    {HEIR("near-held", false, 1500, 5)},
    {HEIR("near-in-place-none-held", true, 1500, 0)},
    {HEIR("far", false, 3 * KE_RING, 5), .brief = true},
    {HEIR("far-in-place", true, 3 * KE_RING, 0), .brief = true},
    {HEIR("far-none-held", false, 3 * KE_RING, 0)},
    {HEIR("far-in-place-held", true, 3 * KE_RING, 5)},
    {HEIR("edge", false, KE_RING - 1400, 0)},
    {HEIR("edge-held", false, KE_RING - 1400, 5)},
    {HEIR("edge-in-place", true, KE_RING - 1400, 0)},
    {HEIR("edge-in-place-held", true, KE_RING - 1400, 5)},
    {OWNER("near", come_back, 100, 1500), .brief = true},
    {OWNER("far", come_back, 100, 3 * KE_RING), .brief = true},
    {OWNER("edge", come_back, 100, KE_RING - 100)},
    {OWNER("again-near", come_back, 3 * KE_RING, 1500)},
    {OWNER("again-far", come_back, 3 * KE_RING, 3 * KE_RING)},
    {OWNER("again-edge", come_back, 3 * KE_RING, KE_RING - 100)},
    {OWNER("leaves-near", leave, 100, 1500)},
    {OWNER("leaves-far", leave, 100, 3 * KE_RING)},
    {OWNER("leaves-edge", leave, 100, KE_RING - 100)},
    {OWNER("again-leaves-near", leave, 3 * KE_RING, 1500)},
    {OWNER("again-leaves-far", leave, 3 * KE_RING, 3 * KE_RING)},
    {OWNER("again-leaves-edge", leave, 3 * KE_RING, KE_RING - 100)},
    {COPY("lossy-join-now", ke_be_nobody, join_by_copy, true, LW_FROM_NOW), .brief = true},
    {COPY("lossy-join-oldest", ke_be_nobody, join_by_copy, true, LW_FROM_OLDEST)},
    {COPY("lossy-join-position", ke_be_nobody, join_by_copy, true, LW_FROM_POSITION)},
    {COPY("lossy-leave", be_evicted_reader, leave, true, LW_FROM_NOW), .brief = true},
    {COPY("lossy-seek-now", be_reader, seek, true, LW_FROM_NOW)},
    {COPY("lossy-seek-oldest", be_reader, seek, true, LW_FROM_OLDEST)},
    {COPY("lossy-seek-position", be_reader, seek, true, LW_FROM_POSITION)},
    {COPY("lagging-join-now", ke_be_nobody, join_by_copy, false, LW_FROM_NOW), .brief = true},
    {COPY("lagging-join-oldest", ke_be_nobody, join_by_copy, false, LW_FROM_OLDEST)},
    {COPY("lagging-join-position", ke_be_nobody, join_by_copy, false, LW_FROM_POSITION)},
    {COPY("lagging-leave", be_evicted_reader, leave, false, LW_FROM_NOW), .brief = true},
    {COPY("lagging-seek-now", be_reader, seek, false, LW_FROM_NOW)},
    {COPY("lagging-seek-oldest", be_reader, seek, false, LW_FROM_OLDEST)},
    {COPY("lagging-seek-position", be_reader, seek, false, LW_FROM_POSITION)},
    {SEEK("now", false, LW_FROM_NOW), .brief = true},
    {SEEK("oldest", false, LW_FROM_OLDEST)},
    {SEEK("position", false, LW_FROM_POSITION)},
    {SEEK("now-evicted", true, LW_FROM_NOW)},
    {SEEK("oldest-evicted", true, LW_FROM_OLDEST)},
    {SEEK("position-evicted", true, LW_FROM_POSITION)},
    {.name = NULL}};

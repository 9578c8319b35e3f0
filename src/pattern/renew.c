/* SPDX-License-Identifier: MIT */
/*
 * pattern/renew.c - making a lane's file, and putting another one in its place.
 *
 * Both kinds of replacing run under the old file's lock and decide with one rename. Before it, a death leaves the old
 * file with `superseded` set, which the next holder of the lock clears; after it, the new file is there, complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "pattern/ring.h"
#include "pattern/topic.h"

#define RING_LEAST (UINT64_C(64) << 10)
#define RING_DEFAULT (UINT64_C(4) << 20)

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static int check_schema(const char *title, const char *schema) {
    if (strlen(schema) > LW_NAME_MAX)
        return lw__fail(LW_ENAME, "%s: schema name of %zu bytes: at most %d", title, strlen(schema), LW_NAME_MAX);
    for (const char *c = schema; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127)
            return lw__fail(LW_ENAME, "%s: schema name with a control character", title);
    return 0;
}

int lw__shape_keep(const char *title, struct lw_shape *shape, char *schema) {
    struct lw__lane_shape full;
    int rc = lw__shape_full(title, shape, &full);
    if (rc || !shape->schema) return rc;
    snprintf(schema, LW_NAME_MAX + 1, "%s", shape->schema);
    shape->schema = schema;
    return 0;
}

/* A negative one is out of range, and said to be. */
static uint64_t whole_seconds(int64_t ns) {
    return ns < 0 ? UINT64_MAX : (uint64_t)ns / 1000000000 + ((uint64_t)ns % 1000000000 != 0);
}

static int lag_beyond_ring(const char *title, uint64_t lag, uint64_t ring) {
    return lw__fail(LW_ESHAPE, "%s: evict_lag of %llu bytes: at most the ring of %llu", title, (unsigned long long)lag,
                    (unsigned long long)ring);
}

int lw__shape_full(const char *title, const struct lw_shape *shape, struct lw__lane_shape *full) {
    static const struct lw_shape unset = LW_SHAPE_INIT;
    if (!shape) shape = &unset;
    *full = (struct lw__lane_shape){.ring = shape->ring ? shape->ring : RING_DEFAULT,
                                    .slots = shape->slots ? shape->slots : LW__SLOTS_DEFAULT,
                                    .schema = shape->schema,
                                    .schema_hash = shape->schema_hash,
                                    .evict_lag = shape->evict_lag,
                                    .evict_age = whole_seconds(shape->evict_age)};
    if (!lw__is_power_of_two(full->ring) || full->ring < RING_LEAST || full->ring > LW__RING_MAX)
        return lw__fail(LW_ESHAPE,
                        "%s: ring of %llu bytes: give a power of two from 65536 (64 KiB) to 68719476736 (64 GiB)",
                        title, (unsigned long long)full->ring);
    if (full->slots > LW__SLOTS_MAX) return lw__fail(LW_ESHAPE, "%s: %u slots: give 1 to 1024", title, full->slots);
    uint64_t most =
        shape->ring ? shape->ring : LW__RING_MAX; /* unset: that of what exists, which is not looked at here */
    if (full->evict_lag > most) return lag_beyond_ring(title, full->evict_lag, most);
    if (full->evict_age > UINT32_MAX)
        return lw__fail(LW_ESHAPE, "%s: evict_age of %lld ns: give 0 (never) to 136 years", title,
                        (long long)shape->evict_age);
    for (size_t i = 0; i < sizeof shape->reserved / sizeof *shape->reserved; i++)
        if (shape->reserved[i]) return lw__fail(LW_EABI, "%s: lw_shape.reserved must be 0", title);
    return full->schema ? check_schema(title, full->schema) : 0;
}

int lw__shape_fits(const struct lw__file *f, const struct lw_shape *want) {
    const struct lw__lane_id *have = f->lane.id;
    if (!want) return 0;
    if (want->ring && want->ring != have->ring)
        return lw__fail(
            LW_ESHAPE,
            "%s: ring is %llu bytes, you ask for %llu; leave it unset to take what exists, or `laneway rm %s`",
            f->title, (unsigned long long)have->ring, (unsigned long long)want->ring, f->name);
    if (want->slots && want->slots != have->slots)
        return lw__fail(LW_ESHAPE,
                        "%s: has %u slots, you ask for %u; leave it unset to take what exists, or `laneway rm %s`",
                        f->title, have->slots, want->slots, f->name);
    if ((want->evict_lag && want->evict_lag != have->evict_lag) ||
        (want->evict_age && whole_seconds(want->evict_age) != have->evict_age))
        return lw__fail(
            LW_ESHAPE,
            "%s: has evict_lag %llu bytes and evict_age %llu s (0: never), you ask for %llu and %llu (0: as it is); "
            "leave them unset, or give the topic up with its messages: `laneway rm %s`",
            f->title, (unsigned long long)have->evict_lag, (unsigned long long)have->evict_age,
            (unsigned long long)want->evict_lag, (unsigned long long)whole_seconds(want->evict_age), f->name);
    bool other_name = want->schema && strcmp(want->schema, have->schema) != 0;
    if (other_name || (want->schema_hash && want->schema_hash != have->schema_hash))
        return lw__fail(LW_EMISMATCH,
                        "%s: schema is \"%s\" hash %016llx, you have \"%s\" hash %016llx; use one, or `laneway rm %s`",
                        f->title, have->schema, (unsigned long long)have->schema_hash,
                        want->schema ? want->schema : have->schema, (unsigned long long)want->schema_hash, f->name);
    return 0;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static int make_folders(const struct lw__file *f) {
    char path[sizeof f->path];
    snprintf(path, sizeof path, "%s", f->path);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int rc = lw__dir_make(&f->bus->dir, path);
        if (rc && rc != -ENOENT) return lw__file_explain(&f->bus->dir, path, rc);
        if (rc) return rc;
        *slash = '/';
    }
    return 0;
}

void lw__file_tidy(const struct lw__file *f) {
    char path[sizeof f->path];
    snprintf(path, sizeof path, "%s", f->path);
    for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
        *slash = 0;
        if (!strchr(path, '/') || unlinkat(f->bus->dir.fd, path, AT_REMOVEDIR)) break;
    }
}

/* A finished file under a temporary name; `fd` out. */
static int make_temp(struct lw__file *f, const struct lw__lane_shape *shape, char *temp) {
    char in[sizeof f->path];
    snprintf(in, sizeof in, "%.*s", (int)(strrchr(f->path, '/') - f->path), f->path);
    int fd = lw__temp_make(&f->bus->dir, in, lw__lane_file_size(shape), temp);
    if (fd < 0) return fd;
    int rc = lw__lane_format(fd, shape, f->bus->boot);
    if (!rc) return fd;
    lw__temp_drop(&f->bus->dir, temp);
    close(fd);
    return lw__fail(rc, "%s: writing the head of %s: %s", f->title, temp, strerror(-rc));
}

static int make_once(struct lw__file *f, const struct lw__lane_shape *shape, bool replace) {
    char temp[LW__TEMP_MAX];
    int rc = make_folders(f), fd = rc ? rc : make_temp(f, shape, temp);
    if (fd < 0) {
        lw__file_tidy(f);
        return fd;
    }
    rc = lw__temp_link(&f->bus->dir, fd, temp, f->path, replace);
    close(fd);
    return rc && rc != -EEXIST && rc != -ENOENT ? lw__file_explain(&f->bus->dir, f->path, rc) : rc;
}

/* A full disk may be full of what a killed creator did not finish. */
static bool some_space_found(struct lw_bus *bus) {
    struct lw_clean_result result = LW_CLEAN_RESULT_INIT;
    return lw__bus_clean_nodes(bus, &result) == 0 && result.files;
}

static int make(struct lw__file *f, const struct lw__lane_shape *shape, bool replace) {
    int rc;
    do rc = make_once(f, shape, replace);
    while (rc == -ENOSPC && some_space_found(f->bus));
    return rc;
}

int lw__file_make(struct lw__file *f, const struct lw__lane_shape *shape) {
    if (shape->evict_lag > shape->ring) return lag_beyond_ring(f->title, shape->evict_lag, shape->ring);
    return make(f, shape, false);
}

int lw__file_remake(struct lw__file *f, const struct lw__lane_shape *shape) {
    int rc = -ENOENT; /* a cleaner came between */
    for (int tries = 0; rc == -ENOENT && tries < LW__FILE_TRIES; tries++) rc = make(f, shape, true);
    return rc;
}

/* ---- replacing --------------------------------------------------------------------------------------------------- */

/* Copies a slot to the new file, its place at the beginning there. */
static void carry(struct lw__lane *fresh, uint32_t i, const struct lw__slot *from, uint64_t owner, uint64_t lost) {
    struct lw__slot *to = &fresh->slots[i];
    unsigned kind = lw__slot_kind(owner);
    uint64_t cap = lw__load(&from->cap), lag = fresh->evict_lag;
    if (lag && (kind == LW__SLOT_RELIABLE || kind == LW__SLOT_DURABLE)) { /* it finds out when it goes there */
        owner |= LW__SLOT_LAG;
        cap = cap && cap < lag ? cap : lag;
    }
    to->owner = owner;
    to->ticket = lw__load(&from->ticket);
    to->lost = lost;
    to->dropped = lw__load(&from->dropped);
    to->cap = cap;
    *(kind == LW__SLOT_LOSSY ? &to->seen : &to->cursor) = fresh->ctl->tail;
    memcpy(to->name, from->name, sizeof to->name - 1);
    fresh->ctl->slots_used = i + 1;
}

/* Reshaping keeps who has a place and is alive or durable: returns its owner word, else 0. One that is still looking
 * for its place finds `superseded`, and joins the new file by itself. Pairs with take_free() and change_word(), by
 * the fences of replace() and lw__file_attached(). */
static uint64_t user_of(const struct lw__file *f, uint32_t i) {
    const struct lw__slot *slot = &f->lane.slots[i];
    uint64_t owner = lw__load_acquire(&slot->owner);
    unsigned kind = lw__slot_kind(owner);
    bool durable = kind == LW__SLOT_DURABLE, other = kind == LW__SLOT_RELIABLE || kind == LW__SLOT_LOSSY;
    return lw__slot_subscribes(slot) && (durable || (other && !lw__owner_gone(f->bus, owner))) ? owner : 0;
}

static int check_slots(const struct lw__file *f, uint32_t slots) {
    uint32_t needed = 0;
    for (uint32_t i = slots; i < f->lane.slots_max; i++)
        if (user_of(f, i)) needed = i + 1;
    if (!needed) return 0;
    return lw__fail(LW_ESHAPE, "%s: %u slots asked for, but %u are in use", f->title, slots, needed);
}

/* Somebody may have come after the first look at the slots. */
static int carry_users(struct lw__file *f, struct lw__lane *fresh) {
    for (uint32_t i = 0; i < f->lane.slots_max && i < fresh->slots_max; i++) {
        uint64_t owner = user_of(f, i);
        if (owner) carry(fresh, i, &f->lane.slots[i], owner, lw__load(&f->lane.slots[i].lost));
    }
    return check_slots(f, fresh->slots_max);
}

/* How many messages a durable reader never saw, as far as the disk knows. When that is nonsense, "at least one". */
static uint64_t lost_by(const struct lw__slot *slot, uint64_t tail_number) {
    struct lw__place place;
    bool known = lw__cursor_load(&slot->cursor, &place) && place.number <= tail_number;
    return known ? lw__slot_missed(slot) + tail_number - place.number : 1;
}

/* A new incarnation keeps the durable names, without owners, and their loss. Pages of any age: a name may be torn, or
 * there twice. Pairs with change_word(), for the name. */
static int carry_names(struct lw__file *f, struct lw__lane *fresh) {
    for (uint32_t i = 0; i < f->lane.slots_max && i < fresh->slots_max; i++) {
        const struct lw__slot *slot = &f->lane.slots[i];
        uint64_t owner = lw__load_acquire(&slot->owner);
        bool durable = lw__slot_kind(owner) == LW__SLOT_DURABLE;
        if (!durable || !lw__name_is_good(slot->name) || lw__slot_find(fresh, slot->name)) continue;
        /* Of a mirror nothing is lost: its writer's host still has what was not read. */
        uint64_t lost = f->lane.mirror ? 0 : lw__load(&slot->lost) + lost_by(slot, fresh->ctl->tail.number[0]);
        carry(fresh, i, slot, lw__slot_away(&f->lane, LW__SLOT_DURABLE | (owner & LW__SLOT_LAG)), lost);
    }
    return 0;
}

/* Gives the new file the path. 1: try again. */
static int link_over(struct lw__file *f, int fd, const char *temp) {
    int rc = lw__temp_link(&f->bus->dir, fd, temp, f->path, true);
    if (rc == -ENOENT) return 1; /* a cleaner took the unlocked temporary file for a dead one's */
    return rc ? lw__file_explain(&f->bus->dir, f->path, rc) : 0;
}

/* Under the lock. Stores `superseded`, copies the slots, renames. 1: try again. */
static int replace(struct lw__file *f, const struct lw__lane_shape *shape, bool reshape) {
    char temp[LW__TEMP_MAX];
    struct lw__lane fresh = {0};
    int fd = make_temp(f, shape, temp);
    if (fd < 0) return fd;
    int rc = lw__lane_map(&fresh, fd, LW__READ, temp);
    if (rc) goto drop;
    lw__store_release(&f->lane.state->superseded, 1);
    lw__fence_full(); /* pairs with the fence of lw__file_attached */
    rc = reshape ? carry_users(f, &fresh) : carry_names(f, &fresh);
    if (!rc) rc = link_over(f, fd, temp);
    if (rc) lw__store_release(&f->lane.state->superseded, 0);
    if (!rc) lw__ring_all(f->bus, &f->lane);
drop:
    if (rc) lw__temp_drop(&f->bus->dir, temp);
    lw__lane_unmap(&fresh);
    close(fd);
    return rc;
}

/* Under the lock, as the old lane's writer, so that it stays empty. The lock word is kept when it worked: the old file
 * is over. */
static int reshape_locked(struct lw__file *f, const struct lw_shape *shape, struct lw__writer *writer) {
    struct lw_shape want = *shape;
    if (!want.ring) want.ring = f->lane.ring;
    if (!want.slots) want.slots = f->lane.slots_max;
    if (!want.schema && f->lane.id->schema[0]) want.schema = f->lane.id->schema;
    if (!want.schema_hash) want.schema_hash = f->lane.id->schema_hash;
    if (!want.evict_lag) want.evict_lag = f->lane.evict_lag;
    if (!want.evict_age) want.evict_age = LW_SEC((int64_t)f->lane.evict_age);
    struct lw__lane_shape full;
    int rc = lw__shape_full(f->title, &want, &full);
    if (!rc) rc = check_slots(f, want.slots);
    if (rc) return rc;
    full.start = lw__round_up(f->lane.id->start, full.ring);
    full.number = writer->tx.number;
    return replace(f, &full, true);
}

int lw__topic_reshape(struct lw__file *f, const struct lw_shape *shape) {
    struct lw__place tail;
    int misfit = lw__shape_fits(f, shape); /* with its text */
    if (lw__lane_tail(&f->lane, &tail) || tail.pos != f->lane.id->start) return misfit;
    int rc = lw__file_lock(f, "giving it another shape");
    if (rc) return rc;
    struct lw__writer writer;
    struct lw__owners owners = lw__file_owners(f->bus);
    rc = lw__file_at_path(f);
    if (rc != 1) { /* replaced while we waited: look at the new one */
        lw__file_unlock(f);
        return rc < 0 ? lw__fail(rc, "%s: %s: %s", f->title, f->path, strerror(-rc)) : 1;
    }
    rc = lw__writer_take(&writer, &f->lane, f->bus->owner, &owners);
    if (rc) {
        rc = lw__shape_fits(f, shape); /* somebody publishes, or it is damaged: then it stays as it is */
    } else {
        rc = writer.tx.pos == f->lane.id->start ? reshape_locked(f, shape, &writer) : lw__shape_fits(f, shape);
        if (rc) lw__writer_leave(&writer);
    }
    lw__file_unlock(f);
    return rc ? rc : 1;
}

/* ---- another boot ------------------------------------------------------------------------------------------------ */

/* Pages reached the disk in any order, so none of them knows how far the log went: but all of them together, and a
 * terabyte on top, are beyond what can have been handed out since. */
#define BEYOND (UINT64_C(1) << 40)

static uint64_t highest_position(const struct lw__lane *lane) {
    uint64_t highest = lane->id->start, all[2] = {lw__load(&lane->ctl->tail.pos), lw__load(&lane->ctl->horizon)};
    for (int i = 0; i < 2; i++)
        if (all[i] > highest && all[i] >> 62 == 0) highest = all[i];
    for (int i = 0; i < LW__MARKS; i++) {
        uint64_t pos = lw__load(&lane->ctl->marks[i].pos);
        if (pos > highest && pos >> 62 == 0) highest = pos;
    }
    return highest;
}

/* Of the next message: at the stored tail, or as far beyond it as the inline path goes, if the ring's pages say so, or
 * those of durable readers, who know it exactly. */
static uint64_t next_number(const struct lw__lane *lane) {
    struct lw__place stored, at, place;
    uint64_t header, size, most = lw__lane_step(lane) / lw__record_size(0);
    int rc = 1;
    if (!lw__cursor_load(&lane->ctl->tail, &stored)) return 0;
    for (at = stored; at.pos - stored.pos < lw__lane_step(lane); at.pos += size, at.number++)
        if ((rc = lw__record_at(lane, at.pos, &header, &size)) <= 0) break;
    if (rc) at = stored;
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        bool durable = lw__slot_kind(lw__load(&lane->slots[i].owner)) == LW__SLOT_DURABLE;
        if (!durable || !lw__cursor_load(&lane->slots[i].cursor, &place)) continue;
        if (place.number > at.number && place.number - stored.number <= most) at = place;
    }
    return at.number;
}

static int new_incarnation(struct lw__file *f) {
    struct lw__lane *lane = &f->lane;
    char schema[sizeof lane->id->schema];
    snprintf(schema, sizeof schema, "%s", lane->id->schema);
    struct lw__lane_shape shape = {.ring = lane->ring,
                                   .slots = lane->slots_max,
                                   .schema = schema,
                                   .number = next_number(lane),
                                   .schema_hash = lane->id->schema_hash,
                                   .evict_lag = lane->evict_lag,
                                   .evict_age = lane->evict_age,
                                   .mirror = lane->mirror};
    shape.start = lw__round_up(highest_position(lane) + BEYOND, lane->ring);
    return replace(f, &shape, false);
}

/* Pairs with mark_dirty() and lw__file_detached(); the lock alone would do. */
int lw__file_adopt(struct lw__file *f) {
    int rc = lw__file_lock(f, "first use since the machine started");
    if (rc) return rc;
    struct lw__lane_state *state = f->lane.state;
    int same = lw__file_at_path(f);
    if (same != 1) {
        rc = same < 0 ? lw__fail(same, "%s: %s: %s", f->title, f->path, strerror(-same)) : 1;
    } else if (memcmp(state->boot, f->bus->boot, sizeof state->boot) == 0) {
        rc = 0; /* somebody was faster */
    } else if (lw__load_acquire(&state->dirty)) {
        rc = new_incarnation(f);
        if (!rc) rc = 1;
    } else {
        memcpy(state->boot, f->bus->boot, sizeof state->boot);
    }
    lw__file_unlock(f);
    return rc;
}

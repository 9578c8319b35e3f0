/* SPDX-License-Identifier: MIT */
/* pattern/topic_look.c - looking at topics without attaching: read-only mappings, no locks, nothing stored. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/options.h"
#include "pattern/topic.h"

static int begin_look(struct lw__file *t, struct lw_bus *bus, const char *topic) {
    int rc = lw__bus_enter(bus, false);
    if (rc) return rc;
    rc = lw__topic_name(t, bus, topic);
    if (!rc) rc = lw__file_open_existing(t, LW__LOOK);
    if (rc) lw__bus_leave(bus);
    return rc;
}

static void end_look(struct lw__file *t) {
    lw__file_close(t);
    lw__bus_leave(t->bus);
}

static int corrupt_at(const struct lw__file *t, uint64_t pos, const char *what) {
    return lw__fail(LW_ECORRUPT, "topic %s: %s/%s: position %llu: %s", t->name, t->bus->dir.path, t->path,
                    (unsigned long long)pos, what);
}

/* ---- the topic --------------------------------------------------------------------------------------------------- */

/* The exclusive writer's word; 0: there is none, whoever else has it. Pairs with take_for_good(). */
static uint64_t exclusive(const struct lw__file *t) {
    uint64_t lock = lw__load_acquire(&t->lane.ctl->lock);
    return lock & 0xffff ? 0 : lock;
}

/* Pairs with take_free(); only the number counts here. */
static void count_slots(const struct lw__file *t, struct lw_topic_info *info) {
    for (uint32_t i = 0; i < t->lane.slots_max; i++) {
        uint64_t owner = lw__load_acquire(&t->lane.slots[i].owner);
        if (lw__slot_kind(owner) == LW__SLOT_WRITER)
            info->writers++;
        else
            info->readers += owner != 0;
    }
    info->exclusive = exclusive(t) != 0;
    info->writers += exclusive(t) != 0;
}

int lw_topic_stat(struct lw_bus *bus, const char *topic, struct lw_topic_info *info) {
    struct lw__file t;
    struct lw__place tail, oldest;
    struct lw_topic_info now;
    int rc = begin_look(&t, bus, topic);
    if (rc) return rc;
    rc = lw__lane_oldest(&t.lane, &oldest); /* first: what is old now is not beyond what is the tail then */
    if (!rc) rc = lw__lane_tail(&t.lane, &tail);
    if (rc) {
        rc = corrupt_at(&t, t.lane.ctl->tail.pos & ~UINT64_C(7),
                        "no record chain leads from the stored tail to the end");
        goto end;
    }
    const struct lw__lane_id *id = t.lane.id;
    now = (struct lw_topic_info){.size = sizeof now,
                                 .ring = id->ring,
                                 .slots = id->slots,
                                 .schema_hash = id->schema_hash,
                                 .tail = tail.pos,
                                 .number = tail.number,
                                 .oldest = oldest.pos,
                                 .oldest_number = oldest.number,
                                 .record_max = t.lane.record_max,
                                 .evict_lag = t.lane.evict_lag,
                                 .evict_age = LW_SEC((int64_t)t.lane.evict_age)};
    memcpy(now.uuid, id->uuid, sizeof now.uuid);
    memcpy(now.schema, id->schema, sizeof now.schema);
    count_slots(&t, &now);
    rc = lw__result_write(info, &now, sizeof now, "lw_topic_info");
end:
    end_look(&t);
    return rc;
}

/* ---- its publishers ---------------------------------------------------------------------------------------------- */

static void fill_writer(struct lw__file *t, uint64_t owner, struct lw_writer_info *info) {
    info->pid = lw__owner_who(t->bus, owner, info->node);
    info->alive = !lw__owner_gone(t->bus, owner);
}

/* Pairs with take_free(), take_word() and lw__tx_leave(). */
static bool look_at_writer(struct lw__file *t, uint32_t i, struct lw_writer_info *info) {
    const struct lw__slot *slot = &t->lane.slots[i];
    uint64_t owner = lw__load_acquire(&slot->owner), word = lw__slot_process(owner) | (uint64_t)(i + 1) << 1;
    uint64_t lock = lw__load_acquire(&t->lane.ctl->lock), section = lw__load_acquire(&slot->section);
    if (lw__slot_kind(owner) != LW__SLOT_WRITER) return false;
    *info = (struct lw_writer_info){.slot = i, .messages = section >> 1};
    info->biased = lock == (word | 1);
    info->inside = lock == word || (info->biased && section & 1);
    fill_writer(t, owner, info);
    return true;
}

static uint32_t look_at_writers(struct lw__file *t, struct lw_writer_info *all) {
    uint32_t n = 0;
    uint64_t sole = exclusive(t);
    for (uint32_t i = 0; i < t->lane.slots_max; i++) n += look_at_writer(t, i, &all[n]);
    if (sole) {
        all[n] = (struct lw_writer_info){.exclusive = 1, .inside = 1};
        fill_writer(t, sole, &all[n++]);
    }
    return n;
}

int lw_topic_writers(struct lw_bus *bus, const char *topic,
                     int (*each)(const struct lw_writer_info *writer, void *user), void *user) {
    struct lw__file t;
    int rc = begin_look(&t, bus, topic);
    if (rc) return rc;
    struct lw_writer_info *all = calloc(t.lane.slots_max + 1, sizeof *all);
    uint32_t count = all ? look_at_writers(&t, all) : 0;
    if (!all) rc = lw__fail(-ENOMEM, "topic %s: no memory", topic);
    end_look(&t);
    for (uint32_t i = 0; !rc && i < count; i++) rc = each(&all[i], user);
    free(all);
    return rc;
}

/* ---- its subscribers --------------------------------------------------------------------------------------------- */

/* False: the slot is free, or someone is just coming or going. Pairs with change_word() for the name, and with
 * take_free(). */
static bool look_at_reader(struct lw__file *t, uint32_t i, struct lw_reader_info *info) {
    const struct lw__slot *slot = &t->lane.slots[i];
    uint64_t owner = lw__load_acquire(&slot->owner);
    struct lw__place place, tail;
    unsigned kind = lw__slot_kind(owner);
    const struct lw__cursor *cursor = kind == LW__SLOT_LOSSY ? &slot->seen : &slot->cursor;
    if (!owner || kind == LW__SLOT_WRITER || !lw__cursor_load(cursor, &place) || place.pos == LW__NOWHERE ||
        lw__lane_tail(&t->lane, &tail))
        return false;
    *info = (struct lw_reader_info){.slot = i,
                                    .position = place.pos,
                                    .number = place.number,
                                    .lossy = kind == LW__SLOT_LOSSY,
                                    .evicted = lw__slot_settled(owner) != owner,
                                    .max_lag = owner & LW__SLOT_LAG ? lw__load(&slot->cap) : 0,
                                    .lost = lw__load(&slot->dropped)};
    info->durable = lw__slot_kind(owner) == LW__SLOT_DURABLE;
    if (info->durable) snprintf(info->name, sizeof info->name, "%.*s", LW_NAME_MAX, slot->name);
    info->pid = lw__owner_who(t->bus, owner, info->node);
    info->alive = !lw__owner_gone(t->bus, owner);
    if (tail.pos > place.pos) {
        info->lag_bytes = tail.pos - place.pos;
        info->lag_messages = tail.number - place.number;
    }
    return true;
}

static int look_at_readers(struct lw__file *t, struct lw_reader_info **out, uint32_t *count) {
    struct lw_reader_info *all = calloc(t->lane.slots_max, sizeof *all);
    if (!all) return lw__fail(-ENOMEM, "topic %s: no memory", t->name);
    struct lw_reader_info *slowest = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->lane.slots_max; i++) {
        if (!look_at_reader(t, i, &all[n])) continue;
        bool holds = !all[n].lossy && !all[n].evicted;
        if (holds && (!slowest || all[n].position < slowest->position)) slowest = &all[n];
        n++;
    }
    if (slowest) slowest->slowest = 1;
    *out = all;
    *count = n;
    return 0;
}

int lw_topic_readers(struct lw_bus *bus, const char *topic,
                     int (*each)(const struct lw_reader_info *reader, void *user), void *user) {
    struct lw__file t;
    struct lw_reader_info *all = NULL;
    uint32_t count = 0;
    int rc = begin_look(&t, bus, topic);
    if (rc) return rc;
    rc = look_at_readers(&t, &all, &count);
    end_look(&t);
    for (uint32_t i = 0; !rc && i < count; i++) rc = each(&all[i], user);
    free(all);
    return rc;
}

/* ---- verify ------------------------------------------------------------------------------------------------------ */

int lw_topic_verify(struct lw_bus *bus, const char *topic, struct lw_verify_result *result) {
    struct lw__file t;
    struct lw__lane_check check;
    int rc = begin_look(&t, bus, topic);
    if (rc) return rc;
    rc = lw__lane_verify(&t.lane, &check);
    if (rc) rc = corrupt_at(&t, check.bad, check.what);
    end_look(&t);
    struct lw_verify_result seen = {.from = check.from,
                                    .to = check.to,
                                    .records = check.records,
                                    .batches = check.batches,
                                    .bytes = check.bytes,
                                    .skipped = check.skipped};
    int wrote = result ? lw__result_write(result, &seen, sizeof seen, "lw_verify_result") : 0;
    return rc ? rc : wrote;
}

/* ---- list -------------------------------------------------------------------------------------------------------- */

struct listing {
    struct lw_bus *bus;
    char **names;
    size_t count, room;
};

static int no_memory(const struct listing *l) {
    return lw__fail(-ENOMEM, "%s: no memory to list its topics", l->bus->dir.path);
}

static int add_name(struct listing *l, const char *name) {
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        char **more = realloc(l->names, room * sizeof *more);
        if (!more) return no_memory(l);
        l->names = more;
        l->room = room;
    }
    l->names[l->count] = strdup(name);
    return l->names[l->count] ? (l->count++, 0) : no_memory(l);
}

static int list_folder(struct listing *l, const char *prefix);

/* An entry of a topic folder: its lane, a level below, or nothing of ours. */
static int list_entry(struct listing *l, const char *prefix, const char *entry) {
    char name[LW__TOPIC_MAX + 1];
    if (strcmp(entry, ".lane") == 0) return *prefix ? add_name(l, prefix) : 0;
    if (entry[0] == '.') return 0;
    int n = snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "/" : "", entry);
    return n >= (int)sizeof name ? 0 : list_folder(l, name);
}

static int list_folder(struct listing *l, const char *prefix) {
    char path[LW__TOPIC_MAX + 16];
    snprintf(path, sizeof path, "topics%s%s", *prefix ? "/" : "", prefix);
    int rc = 0, fd = lw__file_open(&l->bus->dir, path, O_RDONLY | O_DIRECTORY);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) return 0;
    if (fd < 0) return lw__file_explain(&l->bus->dir, path, fd);
    struct dirent *e;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return lw__file_explain(&l->bus->dir, path, -ENOMEM);
    }
    while (!rc && (errno = 0, e = readdir(dir))) rc = list_entry(l, prefix, e->d_name);
    if (!rc && errno) rc = lw__file_explain(&l->bus->dir, path, -errno);
    closedir(dir);
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int lw_topic_list(struct lw_bus *bus, int (*each)(const char *topic, void *user), void *user) {
    struct listing l = {.bus = bus};
    int rc = lw__bus_enter(bus, false);
    if (rc) return rc;
    rc = list_folder(&l, "");
    lw__bus_leave(bus);
    if (l.count) qsort(l.names, l.count, sizeof *l.names, by_name);
    for (size_t i = 0; !rc && i < l.count; i++) rc = each(l.names[i], user);
    for (size_t i = 0; i < l.count; i++) free(l.names[i]);
    free(l.names);
    return rc;
}

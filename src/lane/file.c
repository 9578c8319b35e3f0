/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/file.h"
#include "lane/lane.h"

/* The ring must begin at a page of the machine, which may be larger than ours. */
static uint64_t page_size(void) {
    long size = sysconf(_SC_PAGESIZE);
    return size > LW__PAGE ? (uint64_t)size : LW__PAGE;
}

static uint64_t head_size(uint32_t slots) {
    return lw__round_up(LW__SLOTS_AT + (uint64_t)slots * LW__SLOT_SIZE, page_size());
}

static uint32_t fingerprint(void) {
    return LW__LANE_FINGERPRINT ^ (uint32_t)(page_size() - LW__PAGE);
}

uint64_t lw__lane_file_size(const struct lw__lane_shape *shape) {
    return head_size(shape->slots) + shape->ring;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void fill_id(struct lw__lane_id *id, const struct lw__lane_shape *shape) {
    id->magic = LW__LANE_MAGIC;
    id->version = LW__LANE_VERSION;
    id->fingerprint = fingerprint();
    if (shape->uuid)
        memcpy(id->uuid, shape->uuid, sizeof id->uuid);
    else
        lw__uuid_make(id->uuid);
    id->mirror = shape->mirror;
    id->ring = shape->ring;
    id->slots = shape->slots;
    id->head_size = (uint32_t)head_size(shape->slots);
    id->start = shape->start;
    id->schema_hash = shape->schema_hash;
    id->evict_lag = shape->evict_lag;
    id->evict_age = shape->evict_age;
    if (shape->schema) snprintf(id->schema, sizeof id->schema, "%s", shape->schema);
    id->crc = lw__crc32c(0, id, offsetof(struct lw__lane_id, crc));
}

/* All marks hold the one place that there is: it is valid in the mark of its own segment alone. */
static void fill_ctl(struct lw__lane_ctl *ctl, const struct lw__lane_shape *shape) {
    uint64_t tail = shape->tail > shape->start ? shape->tail : shape->start;
    ctl->tail = (struct lw__cursor){.pos = tail, .number = {shape->number, 0}};
    ctl->horizon = tail - tail % (shape->ring / LW__MARKS);
    for (int i = 0; i < LW__MARKS; i++) ctl->marks[i] = (struct lw__mark){.pos = tail, .number = shape->number};
}

/* As if it had joined and left before anything was written. */
static void fill_reader(struct lw__slot *slot, struct lw__lane_ctl *ctl, const char *name) {
    slot->owner = LW__SLOT_DURABLE;
    slot->joined_number = ctl->tail.number[0];
    slot->cursor = ctl->tail;
    snprintf(slot->name, sizeof slot->name, "%s", name);
    ctl->slots_used = 1;
}

int lw__lane_format(int fd, const struct lw__lane_shape *shape, const unsigned char boot[16]) {
    size_t size = head_size(shape->slots);
    char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) return -errno;
    fill_id((struct lw__lane_id *)(void *)base, shape);
    struct lw__lane_state *state = (struct lw__lane_state *)(void *)(base + LW__STATE_AT);
    memcpy(state->boot, boot, 16);
    struct lw__lane_ctl *ctl = (struct lw__lane_ctl *)(void *)(base + LW__PAGE);
    fill_ctl(ctl, shape);
    struct lw__slot *slots = (struct lw__slot *)(void *)(base + LW__SLOTS_AT);
    for (uint32_t i = 0; i < shape->slots; i++) slots[i].cursor.pos = slots[i].seen.pos = LW__NOWHERE;
    if (shape->reader) fill_reader(&slots[0], ctl, shape->reader);
    munmap(base, size);
    return 0;
}

/* ---- opening: the file is input, nothing in it is believed before it is checked
 * -------------------------------------- */

static int check_version(const struct lw__lane_id *id, const char *path) {
    if (id->magic != LW__LANE_MAGIC)
        return lw__fail(LW_ECORRUPT, "%s: not a lane file (its first 8 bytes are not a lane's)", path);
    if (id->version != LW__LANE_VERSION)
        return lw__fail(LW_EVERSION, "%s: made by format version %u, this library reads version %d", path, id->version,
                        LW__LANE_VERSION);
    if (id->fingerprint != fingerprint())
        return lw__fail(LW_EVERSION, "%s: made with layout fingerprint %08x, this library has %08x", path,
                        id->fingerprint, fingerprint());
#ifdef LW_PLANT_CHECKSUM_NOT_CHECKED
    return 0;
#endif
    if (id->crc != lw__crc32c(0, id, offsetof(struct lw__lane_id, crc)))
        return lw__fail(LW_ECORRUPT, "%s: the checksum of page 0 does not fit", path);
    return 0;
}

static int check_shape(const struct lw__lane_id *id, uint64_t file_size, const char *path) {
    bool right = lw__is_power_of_two(id->ring) && id->ring >= LW__RING_MIN && id->ring <= LW__RING_MAX &&
                 id->slots >= 1 && id->slots <= LW__SLOTS_MAX && id->head_size == head_size(id->slots) &&
                 id->start % id->ring == 0 && id->start < LW__POSITION_END && id->schema[sizeof id->schema - 1] == 0 &&
                 id->evict_lag <= id->ring && id->evict_age <= UINT32_MAX && id->mirror <= LW__EMPTY_MIRROR;
    if (!right) return lw__fail(LW_ECORRUPT, "%s: impossible ring, slot or position numbers in page 0", path);
#ifdef LW_PLANT_FILE_SIZE_NOT_CHECKED
    return 0;
#endif
    if (file_size < id->head_size + id->ring)
        return lw__fail(LW_ECORRUPT, "%s: cut off: %llu bytes of %llu", path, (unsigned long long)file_size,
                        (unsigned long long)(id->head_size + id->ring));
    return 0;
}

/* A copy of the first page: what is checked is what is used. */
static int read_id(int fd, struct lw__lane_id *id, const char *path) {
    struct stat st;
    if (fstat(fd, &st)) return lw__fail(-errno, "%s: stat: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return lw__fail(LW_ECORRUPT, "%s: not a regular file", path);
    if (st.st_size < LW__PAGE) return lw__fail(LW_ECORRUPT, "%s: cut off: %lld bytes", path, (long long)st.st_size);
    void *page = mmap(NULL, LW__PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) return lw__fail(-errno, "%s: mmap: %s", path, strerror(errno));
    memcpy(id, page, sizeof *id);
    munmap(page, LW__PAGE);
    int rc = check_version(id, path);
    return rc ? rc : check_shape(id, (uint64_t)st.st_size, path);
}

static uint64_t record_max(uint64_t ring) {
    return ring / 2 - 16 < LW__RECORD_MAX ? ring / 2 - 16 : LW__RECORD_MAX;
}

int lw__lane_map(struct lw__lane *lane, int fd, enum lw__access access, const char *path) {
    struct lw__lane_id id;
    int rc = read_id(fd, &id, path);
    if (rc) return rc;
    char *base = lw__map_ring(fd, id.head_size, id.ring, access != LW__LOOK, access == LW__WRITE);
    if (!base)
        return lw__fail(-errno, "%s: mapping %llu bytes: %s%s", path, (unsigned long long)(id.head_size + 2 * id.ring),
                        strerror(errno), errno == ENOMEM ? "; see ulimit -v and vm.max_map_count" : "");
    *lane = (struct lw__lane){.base = base,
                              .head_size = id.head_size,
                              .ring = id.ring,
                              .mask = id.ring - 1,
                              .start = id.start,
                              .slots_max = id.slots,
                              .segment_shift = (uint32_t)__builtin_ctzll(id.ring / LW__MARKS),
                              .record_max = record_max(id.ring),
                              .evict_lag = id.evict_lag,
                              .evict_age = id.evict_age,
                              .mirror = (enum lw__lane_mirror)id.mirror,
                              .id = (const struct lw__lane_id *)(void *)base,
                              .state = (struct lw__lane_state *)(void *)(base + LW__STATE_AT),
                              .ctl = (struct lw__lane_ctl *)(void *)(base + LW__PAGE),
                              .slots = (struct lw__slot *)(void *)(base + LW__SLOTS_AT),
                              .data = base + id.head_size};
    return 0;
}

void lw__lane_unmap(struct lw__lane *lane) {
    if (lane->base) lw__unmap(lane->base, lane->head_size + 2 * lane->ring);
    lane->base = NULL;
}

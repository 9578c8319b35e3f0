/* SPDX-License-Identifier: MIT */
/*
 * lane_open_fuzz - any bytes as a lane file: map it, look, take the writer's place or a shared one, publish, join, read
 * in place and by copy, be evicted and come back, verify.
 *
 * Nothing may crash, hang or reach outside the mapping. Every refusal has a name. What this process publishes itself
 * must reach a reader that stood at the end before, whatever else is wrong in the file.
 *
 * The input is the whole file. Two bytes of it that mean nothing in a lane steer this program: byte 250 is 0xff when
 * the checksum of page 0 is to stay as it is (else it is made to fit, or little would get past it), and bit 0 of byte
 * 249 says that all owners found in the file are alive. A mutator of its own aims at the words that matter.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/membarrier.h"
#include "lane/lane.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t room);

enum { ALIVE_AT = 249, RAW_AT = 250, READERS = 4, FILE_MAX = 1 << 20 };

static const uint64_t me = UINT64_C(0x7777777700630000);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) wrong(#condition, __LINE__);                                                                 \
    } while (0)

static void wrong(const char *what, int line) {
    fprintf(stderr, "lane_open_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

static bool gone(void *context, uint64_t owner) {
    return !*(bool *)context && lw__slot_process(owner) != me;
}

/* This is no subscriber with a bus around it: it has no bells to ring, whatever the mask says. */
static int release(struct lw__reader *r, const struct lw_msg *msg) {
    static const uint64_t nobody[LW__MASK_WORDS];
    r->rx.wanted = nobody;
    return lw_sub_release((struct lw_sub *)(void *)r, msg);
}

/* ---- the file ----------------------------------------------------------------------------------------------------- */

static int file_of(const uint8_t *bytes, size_t size) {
    static int fd = -1;
    struct lw__lane_id id;
    if (fd < 0) fd = memfd_create("lane_open_fuzz", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
    if (size < sizeof id || bytes[RAW_AT] == 0xff) return fd;
    memcpy(&id, bytes, sizeof id);
    id.crc = lw__crc32c(0, &id, offsetof(struct lw__lane_id, crc));
    MUST(pwrite(fd, &id, sizeof id, 0) == sizeof id);
    return fd;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static bool lies_in(const char *data, uint64_t len, const char *room, uint64_t size) {
    return room && data >= room && len <= size && (uint64_t)(data - room) <= size - len;
}

static void touch(const struct lw__reader *r, const struct lw_msg *msg) {
    const char *data = msg->data;
    volatile char sum = 0;
    MUST(msg->len <= r->lane->record_max);
    MUST(r->by_copy != lies_in(data, msg->len, r->lane->data, 2 * r->lane->ring));
    for (size_t i = 0; i < msg->len; i += 64) sum = (char)(sum ^ data[i]);
    if (msg->len) sum = (char)(sum ^ data[msg->len - 1]);
}

/* What ends a reader's turn, and not its life. */
static bool overrun(const struct lw__reader *r, int rc) {
    if (!r->by_copy) return false;
    return rc == (lw__slot_kind(r->owner) == LW__SLOT_LOSSY ? LW_EGAP : LW_EEVICTED);
}

/* A ring of nothing but committed headers has no end for a reader, so a limit. */
static void read_all(struct lw__reader *r) {
    struct lw_msg msg;
    int rc = 1;
    for (int i = 0; i < 700 && (rc == 1 || overrun(r, rc)); i++) {
        if ((rc = lw__reader_next(r, &msg)) != 1) continue;
        touch(r, &msg);
        if (i % 3 == 0) release(r, &msg);
    }
    MUST(rc == 1 || rc == LW_EEMPTY || rc == LW_ECORRUPT || overrun(r, rc));
}

static void leave(struct lw__reader *r) {
    lw__reader_leave(r);
    lw__reader_free_copies(r);
}

static bool join(struct lw__reader *r, struct lw__lane *lane, uint64_t policy, enum lw_from from, uint64_t position,
                 const struct lw__owners *owners) {
    *r = (struct lw__reader){.lane = NULL};
    MUST(lw__reader_make_copies(r) == 0);
    int rc = lw__reader_take(r, lane, me | policy, owners);
    MUST(rc == 0 || rc == LW_ENOSLOT);
    if (rc) return lw__reader_free_copies(r), false;
    lw__store(&r->slot->cap, lane->ring / 4);
    rc = lw__reader_join(r, from, position);
    MUST(rc == 0 || rc == LW_EPOSITION || rc == LW_ECORRUPT);
    if (rc) leave(r);
    return rc == 0;
}

static void seek(struct lw__reader *r, enum lw_from from, uint64_t position, const struct lw__owners *owners) {
    int rc = lw__reader_seek(r, from, position, owners);
    MUST(rc == 0 || rc == LW_ENOSLOT || rc == LW_ECORRUPT || (rc == LW_EPOSITION && from == LW_FROM_POSITION));
}

/* As a writer does to one that is in the way. In place nobody is evicted while it lives. */
static void evict(struct lw__reader *r) {
    if (!(r->owner & LW__SLOT_LAG)) return;
    MUST(lw__slot_evict(r->slot, lw__load(&r->slot->owner)));
    read_all(r);
}

static void join_and_read(struct lw__lane *lane, uint64_t policy, enum lw_from from, uint64_t position,
                          const struct lw__owners *owners) {
    struct lw__reader r;
    if (!join(&r, lane, policy, from, position, owners)) return;
    read_all(&r);
    evict(&r);
    seek(&r, LW_FROM_OLDEST, 0, owners);
    seek(&r, LW_FROM_POSITION, r.rx.pos + 64, owners);
    read_all(&r);
    evict(&r);
    leave(&r);
}

static void join_all_ways(struct lw__lane *lane, uint64_t policy, const struct lw__owners *owners) {
    static const uint64_t positions[] = {0, 8, 64, 4096, 1 << 20, UINT64_C(1) << 62, UINT64_MAX - 7};
    join_and_read(lane, policy, LW_FROM_OLDEST, 0, owners);
    join_and_read(lane, policy, LW_FROM_NOW, 0, owners);
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++)
        join_and_read(lane, policy, LW_FROM_POSITION, positions[i], owners);
    join_and_read(lane, policy, LW_FROM_POSITION, lane->ctl->marks[1].pos + 64, owners);
}

/* In place or by copy, as the file says. */
static void resume(struct lw__lane *lane, struct lw__slot *slot, const struct lw__owners *owners) {
    struct lw__reader r = {.lane = NULL};
    uint64_t holder, word = me | LW__SLOT_DURABLE | (lw__load(&slot->owner) & LW__SLOT_LAG);
    MUST(lw__reader_make_copies(&r) == 0);
    int rc = lw__slot_inherit(&r, lane, slot, word, owners, &holder);
    MUST(rc == 0 || rc == LW_EHELD);
    if (rc) return lw__reader_free_copies(&r);
    rc = lw__reader_resume(&r);
    MUST(rc == 0 || rc == LW_ECORRUPT);
    lw__slot_missed(slot);
    if (rc == 0) read_all(&r);
    if (rc == 0) evict(&r);
    lw__slot_cut_missed(slot, r.rx.number);
    leave(&r);
}

static void resume_durable(struct lw__lane *lane, const struct lw__owners *owners) {
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        char name[64];
        if (lw__slot_kind(lane->slots[i].owner) != LW__SLOT_DURABLE) continue;
        snprintf(name, sizeof name, "%.63s", lane->slots[i].name);
        struct lw__slot *slot = lw__slot_find(lane, name);
        if (!slot) continue; /* a name without an end */
        resume(lane, slot, owners);
        uint64_t seen = lw__load(&slot->owner);
        if (i % 2 && gone(owners->context, seen)) MUST(lw__slot_free(slot, seen, me));
    }
}

/* Evicts whoever may be, and says since when the dead are away. */
static void evict_others(struct lw__lane *lane) {
    for (uint32_t i = 0; i < lane->slots_max; i++) {
        struct lw__slot *slot = &lane->slots[i];
        uint64_t seen = lw__load(&slot->owner);
        lw__slot_subscribes(slot);
        lw__slot_missed(slot);
        if (seen & LW__SLOT_LAG && i % 2) MUST(lw__slot_evict(slot, seen) == !(seen & LW__SLOT_EVICTED));
        lw__slot_evict_old(lane, slot, lw__load(&slot->owner));
    }
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* A shared writer finds out about the lock and the end of the log each time. */
static bool refused(const struct lw__writer *w, int64_t rc) {
    MUST(rc >= 0 || rc == LW_EFULL || rc == LW_ETOOBIG || (w->slot && (rc == LW_EWRITER || rc == LW_ECORRUPT)));
    return rc < 0;
}

/* The reader stands at the end: it must get exactly this. */
static void send_and_get(struct lw__writer *w, struct lw__reader *r, size_t len) {
    char payload[300];
    struct lw_msg msg;
    memset(payload, (int)(len & 0x7f) + 1, sizeof payload);
    int64_t rc = lw__writer_send(w, (uint16_t)len, payload, len);
    if (refused(w, rc) || !r) return;
    MUST((uint64_t)rc == r->rx.pos);
    MUST(lw__reader_next(r, &msg) == 1);
    MUST(msg.position == (uint64_t)rc && msg.len == len && msg.type == (uint16_t)len && !(msg.flags & LW_MSG_MORE));
    MUST(len == 0 || memcmp(msg.data, payload, len) == 0);
    MUST(release(r, &msg) == 0);
}

static void send_batch(struct lw__writer *w, struct lw__reader *r) {
    const struct lw_item items[] = {{"one", 3, 1}, {"", 0, 2}, {"three", 5, 3}};
    struct lw_msg msg;
    if (refused(w, lw__writer_send_batch(w, items, 3)) || !r) return;
    for (int i = 0; i < 3; i++) {
        MUST(lw__reader_next(r, &msg) == 1);
        MUST(msg.len == items[i].len && msg.type == items[i].type && !(msg.flags & LW_MSG_MORE) == (i == 2));
        MUST(memcmp(msg.data, items[i].data, msg.len) == 0);
    }
    MUST(release(r, &msg) == 0);
    MUST(lw__reader_next(r, &msg) == LW_EEMPTY);
}

static void reserve(struct lw__writer *w) {
    void *place;
    if (!lw__writer_reserve(w, &place, 100)) {
        memset(place, 0x55, 100);
        lw__writer_abort(w);
    }
    MUST(lw__writer_reserve(w, &place, w->lane->record_max + 1) == LW_ETOOBIG);
}

/* As if it had been alone for long: from the next message on the word is biased towards it. */
static void be_alone(struct lw__writer *w) {
    w->lane->ctl->last = w->word;
    w->lane->ctl->run = 1 << 20;
}

static void publish(struct lw__lane *lane, bool shared, uint64_t policy, const struct lw__owners *owners) {
    struct lw__writer w;
    struct lw__reader at_end, *r = NULL;
    int rc = shared ? lw__writer_join(&w, lane, me, owners) : lw__writer_take(&w, lane, me, owners);
    MUST(rc == 0 || rc == LW_ECORRUPT || (rc == LW_EWRITER && w.holder) || (rc == LW_ENOSLOT && shared));
    if (rc) return;
    if (join(&at_end, lane, policy, LW_FROM_NOW, 0, owners)) {
        r = &at_end;
        MUST(r->rx.pos == w.tx.pos && r->rx.number == w.tx.number);
    }
    for (size_t i = 0; i < 24; i++) {
        if (shared && i == 8) be_alone(&w);
        send_and_get(&w, r, i * 11);
    }
    send_batch(&w, r);
    if (!shared) reserve(&w);
    send_and_get(&w, r, 8);
    if (r) leave(r);
    lw__writer_leave(&w);
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static void verify(const struct lw__lane *lane) {
    struct lw__lane_check check;
    int rc = lw__lane_verify(lane, &check);
    MUST(rc == 0 || (rc == LW_ECORRUPT && *check.what));
    MUST(check.to - check.from <= lane->ring || rc);
}

static void use(struct lw__lane *lane, const struct lw__owners *owners) {
    verify(lane);
    join_all_ways(lane, LW__SLOT_RELIABLE, owners);
    publish(lane, false, LW__SLOT_RELIABLE, owners);
    join_all_ways(lane, LW__SLOT_LOSSY, owners);
    join_all_ways(lane, LW__SLOT_RELIABLE | LW__SLOT_LAG, owners);
    publish(lane, true, LW__SLOT_LOSSY, owners);
    evict_others(lane);
    resume_durable(lane, owners);
    lw__lane_sweep(lane, me, owners);
    publish(lane, true, LW__SLOT_RELIABLE | LW__SLOT_LAG, owners);
    publish(lane, false, LW__SLOT_RELIABLE, owners);
    join_and_read(lane, LW__SLOT_RELIABLE, LW_FROM_OLDEST, 0, owners);
    verify(lane);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size > FILE_MAX) return -1;
    struct lw__lane lane;
    static bool registered;
    if (!registered) MUST(lw__membarrier_register() == 0);
    registered = true;
    bool all_alive = size > ALIVE_AT && bytes[ALIVE_AT] & 1;
    const struct lw__owners owners = {.closed = gone, .gone = gone, .context = &all_alive};
    int rc = lw__lane_map(&lane, file_of(bytes, size), LW__LOOK, "input");
    MUST(rc == 0 || ((rc == LW_ECORRUPT || rc == LW_EVERSION) && strncmp(lw_errtext(), "input: ", 7) == 0));
    if (rc) return 0;
    verify(&lane); /* a read-only mapping: a store would be a crash */
    lw__lane_unmap(&lane);
    MUST(lw__lane_map(&lane, file_of(bytes, size), LW__WRITE, "input") == 0);
    use(&lane, &owners);
    lw__lane_unmap(&lane);
    return 0;
}

/* ---- mutations: half of them of a word that means something --------------------------------------------------------- */

static uint64_t state;

static uint64_t draw(uint64_t below) {
    state += 0x9e3779b97f4a7c15;
    uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

/* A word of a slot that somebody reads. */
static size_t pick_in_slot(void) {
    static const uint8_t words[] = {
        offsetof(struct lw__slot, owner),      offsetof(struct lw__slot, missed), offsetof(struct lw__slot, missed_to),
        offsetof(struct lw__slot, section),    offsetof(struct lw__slot, seen),   offsetof(struct lw__slot, cursor),
        offsetof(struct lw__slot, cursor) + 8, offsetof(struct lw__slot, cap),    offsetof(struct lw__slot, name)};
    return LW__SLOTS_AT + draw(8) * LW__SLOT_SIZE + words[draw(3) ? draw(sizeof words) : 0];
}

static size_t pick_word(size_t size) {
    size_t at;
    switch (draw(8)) {
    case 0:
        at = draw(32) * 8; /* page 0 */
        break;
    case 1:
        at = 512 + draw(4) * 8;
        break;
    case 2:
        at = LW__PAGE + draw(8) * 8; /* writer line */
        break;
    case 3:
        at = LW__PAGE + (draw(2) ? 128 : 512 + draw(2) * 8); /* horizon, slots used, joins */
        break;
    case 4:
        at = 5120 + draw(2 * LW__MARKS) * 8;
        break;
    case 5:
    case 6:
        at = pick_in_slot();
        break;
    default:
        at = 8192 + draw(512) * 8;
        break;
    }
    return at + 8 <= size ? at : draw(size / 8) * 8;
}

/* Of a slot, or of the lock: some processes, this one too, all kinds and bits. */
static uint64_t pick_owner(void) {
    uint64_t process = draw(4) ? (uint64_t)draw(8) << 32 | draw(8) << 16 : me;
    return process | (draw(2) ? draw(6) | (draw(2) ? draw(8) << 4 : 0) : draw(10) << 1 | draw(2));
}

static uint64_t pick_value(uint64_t old) {
    switch (draw(10)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_C(1) << draw(64);
    case 3:
        return old ^ UINT64_C(1) << draw(64);
    case 4:
        return old + 8 * (1 + draw(64));
    case 5:
        return old - 8 * (1 + draw(64));
    case 6:
        return lw__header(draw(5000), (uint16_t)draw(9), LW__COMMITTED | (draw(2) ? LW__MORE : 0));
    case 7:
        return draw(2048) * 8;
    case 8:
        return pick_owner();
    default:
        return old + 4096 * draw(64) * (draw(2) ? 1 : (uint64_t)-1);
    }
}

/* Many headers in a row: chains that lead all around the ring. */
static void lay_chain(uint8_t *bytes, size_t size) {
    uint64_t len = draw(4) ? draw(3) * 8 : draw(600), step = lw__record_size(len);
    uint64_t header = lw__header(len, 7, LW__COMMITTED);
    size_t begin = draw(2) ? 8192 : pick_word(size), count = draw(600);
    for (size_t at = begin; at + 8 <= size && count; at += step, count--) memcpy(bytes + at, &header, 8);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t room, unsigned seed) {
    state = seed;
    if (size < 512 || draw(8) == 0) return LLVMFuzzerMutate(bytes, size, room);
    for (uint64_t n = 1 + draw(4); n; n--) {
        uint64_t word;
        size_t at = pick_word(size);
        memcpy(&word, bytes + at, 8);
        word = pick_value(word);
        memcpy(bytes + at, &word, 8);
    }
    if (draw(16) == 0) lay_chain(bytes, size);
    return size;
}

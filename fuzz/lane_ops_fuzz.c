/* SPDX-License-Identifier: MIT */
/*
 * lane_ops_fuzz - the input is a program for one writer and up to three readers of a lane; after every step the lane
 * must be what a simple model in plain memory says: results, records, places, numbers, marks, horizon.
 *
 * Writers and readers die too. A writer dies between any two stores of a publish: the publish is done, and what came
 * after the chosen store is taken back, which is what the file would hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lane/lane.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum {
    RING = 4096,
    SEGMENT = RING / LW__MARKS,
    SLOTS = 3,
    RECORD_MAX = RING / 2 - 16,
    RECORDS = 1 << 14,
    STAGED = 256
};

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) wrong(#condition, __LINE__);                                                                 \
    } while (0)

static void wrong(const char *what, int line) {
    fprintf(stderr, "lane_ops_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

/* ---- the model ---------------------------------------------------------------------------------------------------- */

struct record {
    uint64_t pos;
    uint16_t type;
    uint32_t len;
    bool more;
};

enum life { FREE, OPEN, DEAD, AWAY }; /* of a slot */

struct place { /* a slot */
    enum life life;
    bool durable;
    uint32_t head, next; /* records */
    struct lw__reader reader;
};

static struct {
    struct record records[RECORDS];
    uint32_t count; /* published: a record's number is its index */
    uint64_t tail;
    uint64_t horizon, limit;
    struct lw__mark marks[LW__MARKS];
    struct place places[SLOTS];
    bool writing;  /* there is a writer */
    uint64_t held; /* bytes reserved plus 1 */
    struct record staged[STAGED];
    uint32_t staged_count;
} m;

static struct lw__lane lane;
static struct lw__writer writer;
static uint32_t epoch;
static uint8_t dead_epochs[1 << 20];

static uint64_t size_of(uint64_t len) {
    return 8 + (len + 7) / 8 * 8;
}

static uint64_t pos_of(uint32_t i) {
    return i < m.count ? m.records[i].pos : m.tail;
}

static uint64_t lowest(void) {
    uint64_t low = UINT64_MAX - RING;
    for (int i = 0; i < SLOTS; i++)
        if (m.places[i].life != FREE && pos_of(m.places[i].head) < low) low = pos_of(m.places[i].head);
    return low;
}

/* Room up to `end` and for the zero behind it. */
static bool model_room(uint64_t end) {
    uint64_t over = end + 8, low = lowest();
    if (over <= m.limit) return true;
    if (low + RING < over) return false;
    uint64_t need = over > RING ? over - RING : 0, target = (need + SEGMENT - 1) / SEGMENT * SEGMENT;
    if (target > m.horizon) m.horizon = target;
    m.limit = (low < m.horizon ? low : m.horizon) + RING;
    return true;
}

/* A segment's mark is the first tail in it. */
static void model_mark(void) {
    struct lw__mark *mark = &m.marks[m.tail / SEGMENT % LW__MARKS];
    if (mark->pos / SEGMENT != m.tail / SEGMENT) *mark = (struct lw__mark){.pos = m.tail, .number = m.count};
}

static void model_publish(void) {
    for (uint32_t i = 0; i < m.staged_count; i++) {
        m.records[m.count] = m.staged[i];
        m.records[m.count].more = i + 1 < m.staged_count;
        m.records[m.count++].pos = m.tail;
        m.tail += size_of(m.staged[i].len);
    }
    m.staged_count = 0;
    m.held = 0;
    model_mark();
}

/* The first or last record that a walk may begin at: a mark at or after horizon, at or before `last`. */
static bool model_mark_in(uint64_t last, bool first, uint32_t *index) {
    bool found = false;
    uint64_t best = 0;
    for (int i = 0; i < LW__MARKS; i++) {
        const struct lw__mark *mark = &m.marks[i];
        if (mark->pos < m.horizon || mark->pos > last) continue;
        if (found && (first ? mark->pos >= best : mark->pos <= best)) continue;
        best = mark->pos;
        *index = (uint32_t)mark->number;
        found = true;
    }
    return found;
}

static bool model_place(enum lw_from from, uint64_t position, uint32_t *index) {
    *index = m.count;
    if (from == LW_FROM_NOW) return true;
    if (from == LW_FROM_OLDEST) return model_mark_in(m.tail, true, index);
    if (!model_mark_in(position, false, index)) return false;
    while (*index < m.count && m.records[*index].pos < position) ++*index;
    return pos_of(*index) == position;
}

/* ---- the input ---------------------------------------------------------------------------------------------------- */

static const uint8_t *input, *input_end;

static uint8_t byte(void) {
    return input < input_end ? *input++ : 0;
}

static uint64_t length(void) {
    static const uint16_t special[] = {RECORD_MAX, RECORD_MAX + 1, RECORD_MAX - 8, 1000, 2000, 504, 500, 256};
    uint8_t b = byte();
    return b < 192 ? b : special[b % 8];
}

static uint64_t position(void) {
    uint8_t kind = byte();
    uint32_t back = byte();
    uint64_t pos = pos_of(back < m.count ? m.count - back : 0);
    switch (kind % 8) {
    case 0:
        return pos + 8;
    case 1:
        return m.tail + 8u * back;
    case 2:
        return UINT64_C(1) << (back % 64);
    case 3:
        return m.horizon + 8u * back;
    case 4:
        return pos + 1;
    default:
        return pos;
    }
}

/* ---- owners ------------------------------------------------------------------------------------------------------- */

static uint64_t new_owner(void) {
    MUST(++epoch < sizeof dead_epochs);
    return (uint64_t)epoch << 32 | 1 << 16;
}

static void die(uint64_t owner) {
    dead_epochs[owner >> 32] = 1;
}

static bool gone(void *context, uint64_t owner) {
    (void)context;
    return owner >> 32 == 0 || dead_epochs[owner >> 32];
}
static const struct lw__owners owners = {.closed = gone, .gone = gone};

/* ---- payloads ----------------------------------------------------------------------------------------------------- */

static void fill(void *data, uint32_t number, uint64_t len) {
    for (uint64_t i = 0; i < len; i++) ((uint8_t *)data)[i] = (uint8_t)(number * 7 + i);
}

static void check_payload(const struct lw_msg *msg) {
    const uint8_t *data = msg->data;
    MUST(data >= (const uint8_t *)lane.data && data + msg->len <= (const uint8_t *)lane.data + 2 * RING);
    for (size_t i = 0; i < msg->len; i++) MUST(data[i] == (uint8_t)(msg->number * 7 + i));
}

/* ---- checks after each step --------------------------------------------------------------------------------------- */

static void check_lane(void) {
    struct lw__place place;
    MUST(lw__lane_tail(&lane, &place) == 0);
    MUST(place.pos == m.tail && place.number == m.count);
    MUST(lane.ctl->horizon == m.horizon);
    if (m.writing) MUST(writer.tx.pos == m.tail && writer.tx.number == m.count);
    if (m.writing) MUST(memcmp(lane.ctl->marks, m.marks, sizeof m.marks) == 0);
    for (int i = 0; i < SLOTS; i++) {
        const struct place *p = &m.places[i];
        MUST((lane.slots[i].owner == 0) == (p->life == FREE));
        MUST(lw__cursor_load(&lane.slots[i].cursor, &place));
        if (p->life == FREE) continue;
        MUST(place.pos == pos_of(p->head) && place.number == p->head);
        MUST((lw__slot_kind(lane.slots[i].owner) == LW__SLOT_DURABLE) == p->durable);
    }
}

static void check_verify(void) {
    struct lw__lane_check check;
    uint64_t bytes = 0, batches = 0;
    uint32_t oldest;
    int rc = lw__lane_verify(&lane, &check);
    if (rc) fprintf(stderr, "verify: %s at %llu\n", check.what, (unsigned long long)check.bad);
    MUST(rc == 0);
    MUST(model_mark_in(m.tail, true, &oldest));
    for (uint32_t i = oldest; i < m.count; i++) {
        bytes += m.records[i].len;
        batches += i > oldest && m.records[i - 1].more && !m.records[i].more;
    }
    MUST(check.from == pos_of(oldest) && check.to == m.tail && check.records == m.count - oldest);
    MUST(check.bytes == bytes && check.batches == batches && check.skipped == 0);
}

/* ---- the writer's steps ------------------------------------------------------------------------------------------- */

static void start_writer(void) {
    MUST(lw__writer_take(&writer, &lane, new_owner(), &owners) == 0);
    m.writing = true;
    m.limit = 0;
    m.held = 0;
    m.staged_count = 0;
    model_mark();
}

static void end_writer(bool properly) {
    if (properly)
        lw__writer_leave(&writer);
    else
        die(writer.owner);
    m.writing = false;
}

static void stage_in_model(uint16_t type, uint64_t len) {
    m.staged[m.staged_count++] = (struct record){.type = type, .len = (uint32_t)len};
}

/* What the inline path does when it may. */
static int64_t fast_or_slow_send(uint16_t type, const void *data, uint64_t len, bool fast) {
    if (fast && writer.tx.pos + size_of(len) + 8 <= writer.tx.edge)
        return lw_pub_send((struct lw_pub *)(void *)&writer, type, data, len, 0);
    return lw__writer_send(&writer, type, data, len);
}

static int64_t expected_of_send(uint64_t len) {
    if (m.staged_count || m.held) return LW_ESTATE;
    if (len > RECORD_MAX) return LW_ETOOBIG;
    return model_room(m.tail + size_of(len)) ? (int64_t)m.tail : LW_EFULL;
}

static void do_send(void) {
    uint8_t data[RING];
    uint64_t len = length();
    uint16_t type = byte();
    bool fast = type & 1;
    fill(data, m.count, len);
    int64_t want = expected_of_send(len);
    MUST(fast_or_slow_send(type, data, len, fast) == want);
    if (want < 0) return;
    stage_in_model(type, len);
    model_publish();
}

static uint64_t staged_size(void) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < m.staged_count; i++) size += size_of(m.staged[i].len);
    return size;
}

static int expected_of_reserve(uint64_t len) {
    uint64_t end = m.tail + staged_size() + size_of(len);
    if (m.held) return LW_ESTATE;
    if (len > RECORD_MAX || end + 8 - m.tail > RING / 2) return LW_ETOOBIG;
    return model_room(end) ? 0 : LW_EFULL;
}

static void do_reserve(void) {
    void *data;
    uint64_t len = length();
    int want = expected_of_reserve(len), rc;
    if (byte() & 1 && writer.tx.pos + size_of(len) + 8 <= writer.tx.edge)
        rc = lw_pub_reserve((struct lw_pub *)(void *)&writer, &data, len, 0);
    else
        rc = lw__writer_reserve(&writer, &data, len);
    MUST(rc == want);
    if (rc) return;
    m.held = len + 1;
    fill(data, m.count + m.staged_count, len);
}

static void do_stage(void) {
    uint64_t len = length();
    uint16_t type = byte();
    bool good = len < m.held && m.staged_count + 1 < STAGED;
    if (m.held && !good) return;
    MUST(lw__writer_stage(&writer, type, len) == (good ? 0 : LW_ESTATE));
    if (!good) return;
    stage_in_model(type, len);
    m.held = 0;
}

static void do_commit(void) {
    uint64_t len = length();
    uint16_t type = byte();
    int64_t want = len < m.held ? (int64_t)m.tail : LW_ESTATE, got;
    if (len < writer.tx.held && writer.tx.edge_after)
        got = lw_pub_commit((struct lw_pub *)(void *)&writer, type, len);
    else
        got = lw__writer_commit(&writer, type, len);
    MUST(got == want);
    if (want < 0) return;
    stage_in_model(type, len);
    model_publish();
}

static void do_flush(void) {
    int64_t want = m.held || !m.staged_count ? LW_ESTATE : (int64_t)m.tail;
    MUST(lw__writer_flush(&writer) == want);
    if (want >= 0) model_publish();
}

static void do_abort(void) {
    lw__writer_abort(&writer);
    m.held = 0;
    m.staged_count = 0;
}

static int64_t expected_of_batch(const struct lw_item *items, size_t count) {
    uint64_t size = 0;
    bool fits = true;
    if (m.staged_count || m.held || !count) return LW_ESTATE;
    for (size_t i = 0; i < count; i++) {
        fits = fits && items[i].len <= RECORD_MAX;
        size += size_of(items[i].len);
    }
    if (!fits || size + 8 > RING / 2) return LW_ETOOBIG;
    return model_room(m.tail + size) ? (int64_t)m.tail : LW_EFULL;
}

static void do_batch(void) {
    static uint8_t data[16][RING];
    struct lw_item items[16];
    size_t count = byte() % 16;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct lw_item){.data = data[i], .len = length(), .type = byte()};
        fill(data[i], m.count + (uint32_t)i, items[i].len);
    }
    int64_t want = expected_of_batch(items, count);
    MUST(lw__writer_send_batch(&writer, items, count) == want);
    if (want < 0) return;
    for (size_t i = 0; i < count; i++) stage_in_model(items[i].type, items[i].len);
    model_publish();
}

/* Takes back what a publish stored after its store number `stores`: header; other number, tail; mark's number, mark. */
static void take_back(int stores, const struct lw__lane_ctl *before) {
    struct lw__lane_ctl *ctl = lane.ctl;
    uint64_t pos = before->tail.pos & ~UINT64_C(7), at = writer.tx.pos / SEGMENT % LW__MARKS;
    if (stores < 1) memset(lane.data + pos % RING, 0, 8);
    if (stores < 2) ctl->tail = before->tail;
    if (stores < 3) ctl->tail.pos = before->tail.pos;
    if (stores < 4) ctl->marks[at].number = before->marks[at].number;
    if (stores < 5) ctl->marks[at].pos = before->marks[at].pos;
}

/* The writer dies in the middle of a publish. */
static void do_die_publishing(void) {
    static uint8_t data[3][RING];
    struct lw_item items[3];
    int stores = byte() % 6;
    size_t count = 1 + byte() % 3;
    struct lw__lane_ctl before = *lane.ctl;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct lw_item){.data = data[i], .len = length(), .type = 9};
        fill(data[i], m.count + (uint32_t)i, items[i].len);
    }
    int64_t want = expected_of_batch(items, count);
    MUST(lw__writer_send_batch(&writer, items, count) == want);
    if (want >= 0) {
        take_back(stores, &before);
        struct lw__mark marks[LW__MARKS];
        memcpy(marks, m.marks, sizeof marks);
        for (size_t i = 0; i < count && stores; i++) stage_in_model(9, items[i].len);
        if (stores) model_publish();
        memcpy(m.marks, marks, sizeof marks); /* the mark itself is the heir's to write, if it is not there yet */
        if (stores == 5) model_mark();
    }
    end_writer(false);
    check_lane();
    if (stores > 0 || want < 0) check_verify();
    start_writer();
}

static void do_next_writer(void) {
    struct lw__writer second;
    MUST(lw__writer_take(&second, &lane, new_owner(), &owners) == LW_EWRITER && second.holder == writer.owner);
    end_writer(byte() & 1);
    check_lane();
    check_verify();
    start_writer();
}

/* ---- the readers' steps ------------------------------------------------------------------------------------------- */

static void sweep_model(void) {
    for (int i = 0; i < SLOTS; i++)
        if (m.places[i].life == DEAD && !m.places[i].durable) m.places[i].life = FREE;
}

static bool free_slot(void) {
    for (int i = 0; i < SLOTS; i++)
        if (m.places[i].life == FREE) return true;
    return false;
}

/* As lw__reader_take: the dead are swept only when nothing is free. */
static bool model_take(void) {
    if (free_slot()) return true;
    sweep_model();
    return free_slot();
}

static void join(enum lw_from from, uint64_t pos, bool durable) {
    struct lw__reader r;
    uint32_t index = 0;
    char name[8];
    bool room = model_take();
    MUST(lw__reader_take(&r, &lane, new_owner() | LW__SLOT_RELIABLE, &owners) == (room ? 0 : LW_ENOSLOT));
    if (!room) return;
    struct place *p = &m.places[r.index];
    MUST(p->life == FREE);
    bool good = model_place(from, pos, &index);
    MUST(lw__reader_join(&r, from, pos) == (good ? 0 : LW_EPOSITION));
    if (!good) return lw__reader_leave(&r);
    snprintf(name, sizeof name, "n%u", r.index);
    if (durable) lw__slot_make_durable(&r, name);
    *p = (struct place){.life = OPEN, .durable = durable, .head = index, .next = index, .reader = r};
}

static void do_join(void) {
    uint8_t how = byte();
    enum lw_from from = (enum lw_from)(how % 3);
    join(from, from == LW_FROM_POSITION ? position() : 0, how & 0x80);
}

/* A durable name that is away, dead or held. */
static void do_resume(struct place *p) {
    char name[8];
    uint64_t holder, owner = new_owner() | LW__SLOT_DURABLE;
    uint32_t index = (uint32_t)(p - m.places);
    snprintf(name, sizeof name, "n%u", index);
    struct lw__slot *slot = lw__slot_find(&lane, name);
    bool there = p->life != FREE && p->durable;
    MUST(slot == (there ? &lane.slots[index] : NULL));
    if (!there) return;
    struct lw__reader r;
    bool held = p->life == OPEN;
    MUST(lw__slot_inherit(&r, &lane, slot, owner, &owners, &holder) == (held ? LW_EHELD : 0));
    if (held) return;
    MUST(lw__reader_resume(&r) == 0);
    p->life = OPEN;
    p->next = p->head;
    p->reader = r;
}

static void do_next(struct place *p, unsigned times) {
    struct lw_msg msg;
    while (times--) {
        bool more = p->next < m.count;
        struct lw_sub *inlined = (struct lw_sub *)(void *)&p->reader;
        int rc = more && times % 2 ? lw_sub_next(inlined, &msg, 0) : lw__reader_next(&p->reader, &msg);
        MUST(rc == (more ? 1 : LW_EEMPTY));
        if (!more) return;
        const struct record *want = &m.records[p->next];
        MUST(msg.position == want->pos && msg.number == p->next && msg.len == want->len && msg.type == want->type);
        MUST(msg.next == pos_of(p->next + 1));
        MUST(!(msg.flags & LW_MSG_MORE) == !want->more);
        check_payload(&msg);
        p->next++;
    }
}

/* Everything not released must still be what it was. */
static void check_held(const struct place *p) {
    for (uint32_t i = p->head; i < p->next; i++) {
        struct lw_msg msg = {.data = lane.data + m.records[i].pos % RING + 8, .len = m.records[i].len, .number = i};
        check_payload(&msg);
    }
}

static void do_release(struct place *p, uint32_t which) {
    check_held(p);
    if (p->next == p->head) return;
    uint32_t i = p->head + which % (p->next - p->head);
    struct lw_msg msg = {.position = m.records[i].pos, .next = pos_of(i + 1), .number = i};
    MUST(lw_sub_release((struct lw_sub *)(void *)&p->reader, &msg) == 0);
    p->head = i + 1;
}

/* Ahead of its own place everything is held, before horizon too. */
static int expected_of_seek(const struct place *p, enum lw_from from, uint64_t pos, uint32_t *index) {
    if (from == LW_FROM_POSITION && pos >= pos_of(p->head)) {
        for (*index = p->head; *index < m.count && m.records[*index].pos < pos;) ++*index;
        return pos_of(*index) == pos ? 0 : LW_EPOSITION;
    }
    if (from != LW_FROM_NOW && !model_take()) return LW_ENOSLOT;
    return model_place(from, pos, index) ? 0 : LW_EPOSITION;
}

static void do_seek(struct place *p, enum lw_from from) {
    uint32_t index = 0;
    uint64_t pos = from == LW_FROM_POSITION ? position() : 0;
    int want = expected_of_seek(p, from, pos, &index);
    MUST(lw__reader_seek(&p->reader, from, pos, &owners) == want);
    if (!want) p->head = p->next = index;
}

static void do_leave(struct place *p) {
    lw__reader_leave(&p->reader);
    p->life = p->durable ? AWAY : FREE;
}

static void do_forget(struct place *p) {
    struct lw__slot *slot = &lane.slots[p - m.places];
    uint64_t owner = slot->owner;
    if (p->life == FREE || p->life == OPEN) return;
    MUST(!lw__slot_free(slot, owner ^ UINT64_C(1) << 40, new_owner()));
    MUST(lw__slot_free(slot, owner, new_owner()));
    p->life = FREE;
}

static void do_sweep(void) {
    unsigned dead = 0;
    for (int i = 0; i < SLOTS; i++) dead += m.places[i].life == DEAD && !m.places[i].durable;
    MUST(lw__lane_sweep(&lane, new_owner(), &owners) == dead);
    sweep_model();
}

static void reader_step(uint8_t what, struct place *p) {
    if (what == 0) return do_join();
    if (what == 1) return do_resume(p);
    if (what == 2) return do_forget(p);
    if (p->life != OPEN) return;
    if (what == 3) {
        die(p->reader.owner);
        p->life = DEAD;
    } else if (what == 4) {
        do_leave(p);
    } else if (what == 5) {
        do_seek(p, (enum lw_from)(byte() % 3));
    } else if (what == 6) {
        do_release(p, byte());
    } else {
        do_next(p, 1 + byte() % 40u);
    }
}

/* ---- programs ----------------------------------------------------------------------------------------------------- */

static void step(void) {
    static void (*const writer_steps[])(void) = {do_send,        do_send,  do_send,     do_reserve, do_commit,
                                                 do_stage,       do_flush, do_abort,    do_batch,   do_die_publishing,
                                                 do_next_writer, do_sweep, check_verify};
    enum { WRITER_STEPS = sizeof writer_steps / sizeof *writer_steps };
    uint8_t op = byte();
    if (op & 0x80)
        reader_step(op % 8, &m.places[op / 8 % SLOTS]);
    else
        writer_steps[op % WRITER_STEPS]();
}

static void start(void) {
    static const unsigned char boot[16];
    const struct lw__lane_shape shape = {.ring = RING, .slots = SLOTS};
    int fd = memfd_create("lane_ops_fuzz", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, (off_t)lw__lane_file_size(&shape)) == 0);
    MUST(lw__lane_format(fd, &shape, boot) == 0);
    MUST(lw__lane_map(&lane, fd, LW__WRITE, "memory") == 0);
    close(fd);
    memset(&m, 0, sizeof m);
    memset(dead_epochs, 0, epoch + 1);
    epoch = 0;
    start_writer();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input = bytes;
    input_end = bytes + size;
    start();
    while (input < input_end && m.count < RECORDS - STAGED) {
        step();
        check_lane();
    }
    for (int i = 0; i < SLOTS; i++)
        if (m.places[i].life == OPEN) do_next(&m.places[i], RECORDS);
    check_verify();
    lw__lane_unmap(&lane);
    return 0;
}

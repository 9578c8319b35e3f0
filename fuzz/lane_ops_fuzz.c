/* SPDX-License-Identifier: MIT */
/*
 * lane_ops_fuzz - the input is a program for the writers and readers of a lane; after every step the lane must be what
 * the model in lane_model.h says: results, records, places, numbers, marks, horizon, the lock word, who is evicted, what
 * was passed and missed.
 *
 * One exclusive writer, or up to three shared ones; readers in place, lossy ones, and ones that may be evicted for their
 * lag. All of them die too. A writer dies between any two stores of a publish: the publish is done, and what came after
 * the chosen store is taken back, which is what the file would hold. A shared one dies, or stands still for some steps,
 * inside its section.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/membarrier.h"
#include "lane_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) wrong(#condition, __LINE__);                                                                 \
    } while (0)

static void wrong(const char *what, int line) {
    fprintf(stderr, "lane_ops_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

static struct lw__lane lane;
static uint32_t epoch;
static uint8_t dead_epochs[1 << 20];

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
    for (size_t i = 0; i < msg->len; i++) MUST(data[i] == (uint8_t)(msg->number * 7 + i));
}

/* ---- checks after each step --------------------------------------------------------------------------------------- */

static void check_handle(const struct handle *h) {
    struct lw__place done = lw__writer_done(&h->w);
    MUST(done.pos == h->done.pos && done.number == h->done.number);
    MUST(h->w.evicted == h->evicted && h->w.biased == h->biased);
    if (!m.shared) MUST(h->w.tx.pos == m.tail && h->w.tx.number == m.count);
    if (m.shared) MUST(h->w.slot->section == (h->done.number << 1 | (m.inside == h && m.by_mark)));
}

static void check_writers(void) {
    const struct lw__lane_ctl *ctl = lane.ctl;
    MUST(ctl->lock == m.lock && ctl->bias == m.bias && ctl->last == m.last && ctl->run == m.run);
    for (int i = 0; i < WRITERS; i++)
        if (m.handles[i].open) check_handle(&m.handles[i]);
}

static void check_place(const struct place *p, const struct lw__slot *slot) {
    struct lw__place place;
    unsigned kind = p->durable ? LW__SLOT_DURABLE : p->kind;
    MUST((slot->owner == 0) == (p->life == FREE));
    MUST(lw__cursor_load(&slot->cursor, &place));
    MUST(lw__slot_subscribes(slot) == (p->life != FREE && p->kind != LW__SLOT_WRITER));
    if (p->life == FREE || p->kind != LW__SLOT_RELIABLE) MUST(place.pos == LW__NOWHERE);
    if (p->life == FREE) return;
    MUST(lw__slot_kind(slot->owner) == kind && !(slot->owner & LW__SLOT_LAG) == !p->lag);
    MUST(!(slot->owner & LW__SLOT_EVICTED) == !p->evicted && !(slot->owner & LW__SLOT_RETURNING) == !p->returning);
    if (p->kind == LW__SLOT_WRITER) return;
    if (p->kind == LW__SLOT_LOSSY) MUST(lw__cursor_load(&slot->seen, &place));
    MUST(place.pos == pos_of(p->head) && place.number == p->head);
    MUST(lw__slot_missed(slot) == model_missed(p));
}

static void check_lane(void) {
    struct lw__place place;
    MUST(lw__lane_tail(&lane, &place) == 0);
    MUST(place.pos == m.tail && place.number == m.count);
    MUST(lane.ctl->horizon == m.horizon && lane.ctl->joins == m.joins);
    if (!m.mark_due) MUST(memcmp(lane.ctl->marks, m.marks, sizeof m.marks) == 0);
    check_writers();
    for (int i = 0; i < SLOTS; i++) check_place(&m.places[i], &lane.slots[i]);
}

static void check_verify(void) {
    struct lw__lane_check check;
    uint64_t bytes = 0, batches = 0;
    uint32_t oldest;
    if (m.mark_due) return; /* where the walk begins is not known */
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

/* ---- writers come and go ------------------------------------------------------------------------------------------ */

static void start_exclusive(void) {
    struct handle *h = &m.handles[0];
    *h = (struct handle){.open = true};
    MUST(lw__writer_take(&h->w, &lane, new_owner(), &owners) == 0);
    m.shared = false;
    m.lock = h->w.word;
    m.bias = 0;
    m.held = 0;
    m.staged_count = 0;
    model_mark();
}

static void start_shared(struct handle *h, bool never_biased) {
    bool room = model_take();
    *h = (struct handle){.never_biased = never_biased};
    MUST(lw__writer_join(&h->w, &lane, new_owner(), &owners) == (room ? 0 : LW_ENOSLOT));
    if (!room) return;
    h->open = true;
    h->w.never_biased = never_biased;
    MUST(h->w.tx.pos == m.tail && h->w.tx.number == m.count);
    struct place *p = &m.places[h->w.slot - lane.slots];
    MUST(p->life == FREE);
    *p = (struct place){.life = OPEN, .kind = LW__SLOT_WRITER};
}

static struct place *place_of(const struct handle *h) {
    return &m.places[h->w.slot - lane.slots];
}

static void end_by_death(struct handle *h) {
    die(h->w.word);
    h->open = false;
    if (m.inside == h) m.inside = NULL;
    if (m.shared) place_of(h)->life = DEAD;
}

static void do_exit(struct handle *h) {
    lw__writer_exit(&h->w);
    model_exit(h);
}

static void end_writer(struct handle *h, bool properly) {
    if (!properly) return end_by_death(h);
    if (m.inside == h) do_exit(h);
    model_leave(h);
    lw__writer_leave(&h->w);
    if (m.shared) place_of(h)->life = FREE;
}

/* Who comes for the other kind while writers of this kind live is refused, and changes nothing. */
static void refuse_other_kind(void) {
    struct lw__writer other;
    if (m.shared) {
        if (!m.handles[0].open && !m.handles[1].open && !m.handles[2].open) return;
        MUST(lw__writer_take(&other, &lane, new_owner(), &owners) == LW_EWRITER);
        MUST(lw__slot_kind(other.holder) == LW__SLOT_WRITER && !gone(NULL, other.holder));
        return;
    }
    int want = model_take() ? LW_EWRITER : LW_ENOSLOT;
    MUST(lw__writer_join(&other, &lane, new_owner(), &owners) == want);
    MUST(want == LW_ENOSLOT || other.holder == m.handles[0].w.word);
    MUST(lw__writer_take(&other, &lane, new_owner(), &owners) == LW_EWRITER && other.holder == m.handles[0].w.word);
}

static void do_other_kind(void) {
    uint8_t how = byte();
    refuse_other_kind();
    for (int i = 0; i < WRITERS; i++)
        if (m.handles[i].open) end_writer(&m.handles[i], how >> i & 1);
    check_lane();
    if (m.shared) return start_exclusive();
    m.shared = true;
    m.held = m.staged_count = 0;
    start_shared(&m.handles[0], how & 8);
    if (!m.handles[0].open) start_exclusive();
}

/* ---- the writer's steps ------------------------------------------------------------------------------------------- */

static bool goes_inline(const struct handle *h, uint64_t len) {
    const struct lw__tx *tx = &h->w.tx;
    int64_t over = (int64_t)(tx->pos + size_of(len) + 8);
    return over <= tx->edge || (over <= tx->edge_inside && *tx->lock == tx->biased);
}

/* What the inline path does when it may. */
static int64_t fast_or_slow_send(struct handle *h, uint16_t type, const void *data, uint64_t len, bool fast) {
    if (fast && goes_inline(h, len)) return lw_pub_send((struct lw_pub *)(void *)&h->w, type, data, len, 0);
    return lw__writer_send(&h->w, type, data, len);
}

static int64_t expected_inside(struct handle *h, uint64_t len) {
    if (len > RECORD_MAX) return LW_ETOOBIG;
    return model_room(h, m.tail + size_of(len)) ? (int64_t)m.tail : LW_EFULL;
}

static int64_t expected_of_send(struct handle *h, uint64_t len) {
    if (m.staged_count || m.held) return LW_ESTATE;
    int rc = model_enter(h);
    if (rc) return rc;
    int64_t want = expected_inside(h, len);
    model_exit(h);
    return want;
}

static void do_send(struct handle *h) {
    uint8_t data[RING];
    uint64_t len = length();
    uint16_t type = byte();
    bool fast = type & 1;
    fill(data, m.count, len);
    int64_t want = expected_of_send(h, len);
    MUST(fast_or_slow_send(h, type, data, len, fast) == want);
    if (want == LW_EWRITER) MUST(h->w.holder == m.inside->w.word);
    if (want < 0) return;
    model_stage(type, len);
    model_publish(h);
}

static uint64_t staged_size(void) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < m.staged_count; i++) size += size_of(m.staged[i].len);
    return size;
}

static int expected_of_reserve(struct handle *h, uint64_t len) {
    uint64_t end = m.tail + staged_size() + size_of(len);
    if (m.held) return LW_ESTATE;
    if (len > RECORD_MAX || end + 8 - m.tail > RING / 2) return LW_ETOOBIG;
    return model_room(h, end) ? 0 : LW_EFULL;
}

static void do_reserve(struct handle *h) {
    void *data;
    uint64_t len = length();
    bool fast = byte() & 1 && goes_inline(h, len);
    int want = expected_of_reserve(h, len);
    int rc =
        fast ? lw_pub_reserve((struct lw_pub *)(void *)&h->w, &data, len, 0) : lw__writer_reserve(&h->w, &data, len);
    MUST(rc == want);
    if (rc) return;
    m.held = len + 1;
    fill(data, m.count + m.staged_count, len);
}

static void do_stage(struct handle *h) {
    uint64_t len = length();
    uint16_t type = byte();
    bool good = len < m.held && m.staged_count + 1 < STAGED;
    if (m.held && !good) return;
    MUST(lw__writer_stage(&h->w, type, len) == (good ? 0 : LW_ESTATE));
    if (!good) return;
    model_stage(type, len);
    m.held = 0;
}

static void do_commit(struct handle *h) {
    uint64_t len = length();
    uint16_t type = byte();
    int64_t want = len < m.held ? (int64_t)m.tail : LW_ESTATE, got;
    if (len < lw__tx_held(&h->w.tx))
        got = lw_pub_commit((struct lw_pub *)(void *)&h->w, type, len);
    else
        got = lw__writer_commit(&h->w, type, len);
    MUST(got == want);
    if (want < 0) return;
    model_stage(type, len);
    model_publish(h);
}

static void do_flush(struct handle *h) {
    int64_t want = m.held || !m.staged_count ? LW_ESTATE : (int64_t)m.tail;
    MUST(lw__writer_flush(&h->w) == want);
    if (want >= 0) model_publish(h);
}

static void do_abort(struct handle *h) {
    lw__writer_abort(&h->w);
    m.held = 0;
    m.staged_count = 0;
}

static int64_t expected_of_batch(struct handle *h, const struct lw_item *items, size_t count) {
    uint64_t size = 0;
    bool fits = true;
    if (m.staged_count || m.held || !count) return LW_ESTATE;
    for (size_t i = 0; i < count; i++) {
        fits = fits && items[i].len <= RECORD_MAX;
        size += size_of(items[i].len);
    }
    if (!fits || size + 8 > RING / 2) return LW_ETOOBIG;
    int rc = model_enter(h);
    if (rc) return rc;
    bool room = model_room(h, m.tail + size);
    model_exit(h);
    return room ? (int64_t)m.tail : LW_EFULL;
}

static void do_batch(struct handle *h) {
    static uint8_t data[16][RING];
    struct lw_item items[16];
    size_t count = byte() % 16;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct lw_item){.data = data[i], .len = length(), .type = byte()};
        fill(data[i], m.count + (uint32_t)i, items[i].len);
    }
    int64_t want = expected_of_batch(h, items, count);
    MUST(lw__writer_send_batch(&h->w, items, count) == want);
    if (want < 0) return;
    for (size_t i = 0; i < count; i++) model_stage(items[i].type, items[i].len);
    model_publish(h);
}

/* ---- writers die -------------------------------------------------------------------------------------------------- */

/* Takes back what a publish stored after its store number `stores`: header; other number, tail; mark's number, mark. The
 * tail from before it was stored first. */
static void take_back(const struct handle *h, int stores, const struct lw__lane_ctl *before) {
    struct lw__lane_ctl *ctl = lane.ctl;
    uint64_t pos = m.tail, at = h->w.tx.pos / SEGMENT % LW__MARKS; /* the model has not published it yet */
    struct lw__cursor tail = before->tail;
    if ((tail.pos & ~UINT64_C(7)) != pos) lw__cursor_store(&tail, pos, m.count);
    if (stores < 1) memset(lane.data + pos % RING, 0, 8);
    if (stores < 2) ctl->tail = tail;
    if (stores < 3) ctl->tail.pos = tail.pos;
    if (stores < 4) ctl->marks[at].number = before->marks[at].number;
    if (stores < 5) ctl->marks[at].pos = before->marks[at].pos;
}

/* Of `count` messages that were published, the first `stores` stores are there. */
static void die_after(struct handle *h, int stores, const struct lw__lane_ctl *before, const struct lw_item *items,
                      size_t count) {
    struct lw__mark marks[LW__MARKS];
    take_back(h, stores, before);
    memcpy(marks, m.marks, sizeof marks);
    for (size_t i = 0; i < count && stores; i++) model_stage(items[i].type, items[i].len);
    if (stores) model_publish(h);
    if (stores < 5) memcpy(m.marks, marks, sizeof marks); /* the mark is the next one's to write, if it is not there */
    m.mark_due = stores && stores < 5;
}

/* The exclusive writer dies in the middle of a publish. */
static void do_die_publishing(struct handle *h) {
    static uint8_t data[3][RING];
    struct lw_item items[3];
    int stores = byte() % 6;
    size_t count = 1 + byte() % 3;
    struct lw__lane_ctl before = *lane.ctl;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct lw_item){.data = data[i], .len = length(), .type = 9};
        fill(data[i], m.count + (uint32_t)i, items[i].len);
    }
    int64_t want = expected_of_batch(h, items, count);
    MUST(lw__writer_send_batch(&h->w, items, count) == want);
    if (want >= 0) die_after(h, stores, &before, items, count);
    end_by_death(h);
    check_lane();
    if (stores > 0 || want < 0) check_verify();
    start_exclusive();
}

/* A shared one dies inside, with a message or without. */
static void do_die_inside(struct handle *h) {
    int stores = byte() % 7;
    struct lw_item item = {.len = length(), .type = 9};
    void *data;
    int want = model_enter(h);
    MUST(lw__writer_enter(&h->w) == want);
    if (want) return;
    struct lw__lane_ctl before = *lane.ctl;
    if (stores < 6) {
        int64_t pos = expected_inside(h, item.len);
        int rc = lw__writer_reserve(&h->w, &data, item.len);
        MUST(rc == (pos < 0 ? (int)pos : 0));
        if (rc == 0) {
            fill(data, m.count, item.len);
            MUST(lw__writer_commit(&h->w, 9, item.len) == pos);
            die_after(h, stores, &before, &item, 1);
        }
    }
    end_by_death(h);
}

static void do_next_writer(struct handle *h) {
    struct lw__writer second;
    MUST(lw__writer_take(&second, &lane, new_owner(), &owners) == LW_EWRITER && second.holder == h->w.word);
    end_writer(h, byte() & 1);
    check_lane();
    check_verify();
    start_exclusive();
}

/* ---- shared writers' own steps ------------------------------------------------------------------------------------ */

/* Alone for long, or not so long. */
static void do_go_in_and_out(struct handle *h) {
    for (int times = byte() & 3 ? ALONE + 6 : 10; times; times--) {
        int want = model_enter(h);
        MUST(lw__writer_enter(&h->w) == want);
        if (want) return;
        do_exit(h);
    }
}

static void do_stop_inside(struct handle *h) {
    int want = model_enter(h);
    MUST(lw__writer_enter(&h->w) == want);
}

static void do_join_shared(void) {
    uint8_t how = byte();
    for (int i = 0; i < WRITERS; i++)
        if (!m.handles[i].open) return start_shared(&m.handles[i], how & 1);
}

static void do_end_shared(struct handle *h) {
    end_writer(h, byte() & 1);
}

/* ---- the readers' steps ------------------------------------------------------------------------------------------- */

static uint64_t pick_cap(uint8_t how) {
    static const uint64_t caps[] = {0, 256, 1024, 2048, 3000, RING - 8, RING, 2 * RING};
    return caps[how % 8];
}

static uint64_t word_of(unsigned kind, bool lag) {
    return new_owner() | kind | (lag ? LW__SLOT_LAG : 0);
}

static void join(enum lw_from from, uint64_t pos, struct place p) {
    struct lw__reader *r = &p.reader;
    char name[8];
    bool room = model_take();
    if (by_copy(&p)) MUST(lw__reader_make_copies(r) == 0);
    MUST(lw__reader_take(r, &lane, word_of(p.kind, p.lag), &owners) == (room ? 0 : LW_ENOSLOT));
    if (!room) return lw__reader_free_copies(r);
    MUST(m.places[r->index].life == FREE);
    lw__store(&r->slot->cap, p.cap);
    bool good = model_place(from, pos, &p.head);
    if (p.kind == LW__SLOT_RELIABLE) m.joins += model_holds(from, pos);
    MUST(lw__reader_join(r, from, pos) == (good ? 0 : LW_EPOSITION));
    if (!good) {
        lw__reader_leave(r);
        return lw__reader_free_copies(r);
    }
    snprintf(name, sizeof name, "n%u", r->index);
    if (p.durable) lw__slot_make_durable(r, name);
    p.next = p.copied = p.head;
    m.places[r->index] = p;
}

static void do_join(void) {
    uint8_t how = byte(), cap = how & 0x38 ? byte() : 0;
    enum lw_from from = (enum lw_from)(how % 3);
    struct place p = {.life = OPEN, .kind = LW__SLOT_RELIABLE, .durable = how & 0x80};
    p.lag = how & 0x20 && !(how & 0x10);
    if (p.lag) p.cap = pick_cap(cap);
    if (!p.durable && how & 0x10) p.kind = LW__SLOT_LOSSY;
    join(from, from == LW_FROM_POSITION ? position() : 0, p);
}

/* A durable name that is away, dead or held. */
static void do_resume(struct place *p) {
    char name[8];
    uint8_t how = byte();
    uint64_t holder, word = word_of(LW__SLOT_DURABLE, how & 1);
    uint32_t index = (uint32_t)(p - m.places);
    snprintf(name, sizeof name, "n%u", index);
    struct lw__slot *slot = lw__slot_find(&lane, name);
    bool there = p->life != FREE && p->durable;
    MUST(slot == (there ? &lane.slots[index] : NULL));
    if (!there) return;
    struct lw__reader r = {.lane = NULL};
    bool held = p->life == OPEN;
    if (how & 1 && !held) MUST(lw__reader_make_copies(&r) == 0);
    MUST(lw__slot_inherit(&r, &lane, slot, word, &owners, &holder) == (held ? LW_EHELD : 0));
    if (held) return;
    p->lag = how & 1;
    p->cap = p->lag ? pick_cap(how >> 1) : 0;
    lw__store(&slot->cap, p->cap);
    p->life = OPEN;
    p->next = p->copied = p->head;
    if (p->evicted || p->returning)
        model_come_back(p);
    else if (!model_missed(p))
        p->missed = 0; /* it sought back */
    MUST(lw__reader_resume(&r) == 0);
    p->reader = r;
}

static int receive(struct place *p, struct lw_msg *msg, bool fast) {
    bool more = by_copy(p) ? p->next < p->copied : p->next < m.count;
    if (fast && more) return lw_sub_next((struct lw_sub *)(void *)&p->reader, msg, 0);
    return lw__reader_next(&p->reader, msg);
}

static void check_message(const struct place *p, const struct lw_msg *msg) {
    uint32_t i = p->next - 1;
    const struct record *want = &m.records[i];
    MUST(msg->position == want->pos && msg->number == i && msg->len == want->len && msg->type == want->type);
    MUST(msg->next == pos_of(i + 1));
    MUST(!(msg->flags & LW_MSG_MORE) == !want->more);
    const char *data = msg->data;
    MUST((data >= lane.data && data + msg->len <= lane.data + 2 * RING) == !by_copy(p));
    check_payload(msg);
}

static void do_next(struct place *p, unsigned times) {
    struct lw_msg msg;
    uint32_t passed;
    while (times--) {
        int got = receive(p, &msg, times % 2), want = model_next(p, &passed);
        MUST(got == want);
        if (want == LW_EEMPTY) return;
        if (want == 1)
            check_message(p, &msg);
        else
            MUST(p->reader.passed == passed);
    }
}

/* Everything not released must still be what it was. */
static void check_held(const struct place *p) {
    for (uint32_t i = p->head; i < p->next && !by_copy(p); i++) {
        struct lw_msg msg = {.data = lane.data + m.records[i].pos % RING + 8, .len = m.records[i].len, .number = i};
        check_payload(&msg);
    }
}

/* Of what was handed out before an eviction, and is behind the place now, too. */
static void do_release(struct place *p, uint32_t which) {
    check_held(p);
    if (p->lag && which & 0x80) {
        uint64_t number = p->head > which % 16 ? p->head - which % 16 : 0;
        lw__slot_cut_missed(p->reader.slot, number);
        return model_cut(p, number);
    }
    if (p->next == p->head) return;
    uint32_t i = p->head + which % (p->next - p->head);
    struct lw_msg msg = {.position = m.records[i].pos, .next = pos_of(i + 1), .number = i};
    MUST(lw_sub_release((struct lw_sub *)(void *)&p->reader, &msg) == 0);
    p->head = i + 1;
}

static void move_in_model(struct place *p, uint32_t index) {
    p->head = p->next = p->copied = index;
}

/* By copy what lies between is received, and may turn out to be lost. In vain, it is back at its place. */
static int expected_by_receiving(struct place *p, uint64_t pos) {
    uint32_t index = p->head, passed;
    if (model_mark_in(pos, false, &index) && index < p->head) index = p->head;
    p->next = p->copied = index;
    while (pos_of(p->next) < pos && model_next(p, &passed) == 1) {
    }
    bool there = pos_of(p->next) == pos;
    move_in_model(p, there ? p->next : p->head);
    return there ? 0 : LW_EPOSITION;
}

/* Ahead of its own place everything is held, before horizon too. */
static int expected_ahead(struct place *p, uint64_t pos) {
    uint32_t index = p->head;
    if (p->lag) return expected_by_receiving(p, pos);
    while (index < m.count && m.records[index].pos < pos) index++;
    if (pos_of(index) != pos) return LW_EPOSITION;
    move_in_model(p, index);
    return 0;
}

static int expected_of_seek(struct place *p, enum lw_from from, uint64_t pos) {
    uint32_t index;
    p->copied = p->next;
    if (p->kind == LW__SLOT_RELIABLE) {
        if (from == LW_FROM_POSITION && pos >= pos_of(p->head)) return expected_ahead(p, pos);
        if (from != LW_FROM_NOW && !model_take()) return LW_ENOSLOT;
        if (from != LW_FROM_NOW) m.joins += model_holds(from, pos);
    }
    if (!model_place(from, pos, &index)) return LW_EPOSITION;
    move_in_model(p, index);
    return 0;
}

static void do_seek(struct place *p, enum lw_from from) {
    uint64_t pos = from == LW_FROM_POSITION ? position() : 0;
    int want = expected_of_seek(p, from, pos);
    MUST(lw__reader_seek(&p->reader, from, pos, &owners) == want);
}

static void do_leave(struct place *p) {
    lw__reader_leave(&p->reader);
    lw__reader_free_copies(&p->reader);
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

/* Maybe on its way back from eviction: the place may be counted, and is not known to be held. */
static void do_die(struct place *p, bool returning) {
    die(p->reader.owner);
    lw__reader_free_copies(&p->reader);
    p->life = DEAD;
    if (!returning || !p->evicted || pos_of(p->head) < m.horizon) return;
    p->reader.slot->owner ^= LW__SLOT_EVICTED | LW__SLOT_RETURNING;
    p->evicted = false;
    p->returning = true;
}

/* As a writer does that has looked a while ago, or to one that was away for long. */
static void do_evict(struct place *p) {
    struct lw__slot *slot = &lane.slots[p - m.places];
    if (p->life == FREE || p->kind != LW__SLOT_RELIABLE || (p->life == OPEN && !p->lag)) return;
    MUST(!lw__slot_evict(slot, slot->owner ^ UINT64_C(1) << 40));
    MUST(lw__slot_evict(slot, slot->owner) == model_evict(p));
}

static void do_sweep(void) {
    unsigned dead = 0;
    for (int i = 0; i < SLOTS; i++) dead += m.places[i].life == DEAD && !m.places[i].durable;
    MUST(lw__lane_sweep(&lane, new_owner(), &owners) == dead);
    model_sweep();
}

static void reader_step(uint8_t what, struct place *p) {
    if (what == 0) return do_join();
    if (what == 1) return do_resume(p);
    if (what == 2) return byte() & 1 ? do_forget(p) : do_evict(p);
    if (p->life != OPEN || p->kind == LW__SLOT_WRITER) return;
    if (what == 3) {
        do_die(p, byte() & 1);
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

static void exclusive_step(uint8_t what) {
    static void (*const steps[])(struct handle *) = {do_send,   do_send,           do_send,       do_reserve,
                                                     do_commit, do_stage,          do_flush,      do_abort,
                                                     do_batch,  do_die_publishing, do_next_writer};
    steps[what](&m.handles[0]);
}

static void shared_step(uint8_t what, struct handle *h) {
    static void (*const steps[])(struct handle *) = {do_send,          do_send,       do_send,        do_send,
                                                     do_go_in_and_out, do_batch,      do_stop_inside, do_batch,
                                                     do_batch,         do_die_inside, do_end_shared};
    if (!h->open || what == 7) return do_join_shared();
    if (h == m.inside) return what % 4 == 3 ? end_by_death(h) : do_exit(h);
    steps[what](h);
}

static void step(void) {
    enum { WRITER_STEPS = 11 };
    uint8_t op = byte(), what = op % 14;
    if (op & 0x80) return reader_step(op % 8, &m.places[op / 8 % SLOTS]);
    if (what == WRITER_STEPS) return do_sweep();
    if (what == WRITER_STEPS + 1) return check_verify();
    if (what == WRITER_STEPS + 2) return do_other_kind();
    if (m.shared)
        shared_step(what, &m.handles[op / 14 % WRITERS]);
    else
        exclusive_step(what);
}

static void start(void) {
    static const unsigned char boot[16];
    const struct lw__lane_shape shape = {.ring = RING, .slots = SLOTS};
    int fd = memfd_create("lane_ops_fuzz", MFD_CLOEXEC);
    MUST(lw__membarrier_register() == 0);
    MUST(fd >= 0 && ftruncate(fd, (off_t)lw__lane_file_size(&shape)) == 0);
    MUST(lw__lane_format(fd, &shape, boot) == 0);
    MUST(lw__lane_map(&lane, fd, LW__WRITE, "memory") == 0);
    close(fd);
    memset(&m, 0, sizeof m);
    memset(dead_epochs, 0, epoch + 1);
    epoch = 0;
    start_exclusive();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input = bytes;
    input_end = bytes + size;
    start();
    while (input < input_end && m.count < RECORDS - STAGED) {
        step();
        check_lane();
    }
    for (int i = 0; i < SLOTS; i++) {
        if (m.places[i].life != OPEN || m.places[i].kind == LW__SLOT_WRITER) continue;
        do_next(&m.places[i], RECORDS);
        lw__reader_free_copies(&m.places[i].reader);
    }
    check_verify();
    lw__lane_unmap(&lane);
    return 0;
}

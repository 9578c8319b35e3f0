/* SPDX-License-Identifier: MIT */
/* util/lane_util.c - see lane_util.h. */
#include "util/lane_util.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- files ------------------------------------------------------------------------------------------------------- */

struct t_lane t_lane_make_shaped(const struct lw__lane_shape *shape) {
    static const unsigned char boot[16] = {1};
    struct t_lane t = {.fd = memfd_create("lane", MFD_CLOEXEC), .size = lw__lane_file_size(shape)};
    T_NEED(t.fd >= 0 && !ftruncate(t.fd, (off_t)t.size));
    T_NEED(!lw__lane_format(t.fd, shape, boot));
    T_NEED(!lw__lane_map(&t.lane, t.fd, LW__WRITE, "a lane"));
    return t;
}

struct t_lane t_lane_make(uint64_t ring, uint32_t slots, uint64_t start) {
    struct lw__lane_shape shape = {.ring = ring, .slots = slots, .start = start, .number = start ? T_NUMBER : 0};
    return t_lane_make_shaped(&shape);
}

void t_lane_end(struct t_lane *t) {
    lw__lane_unmap(&t->lane);
    close(t->fd);
}

struct lw__lane t_lane_map(const struct t_lane *t, enum lw__access access) {
    struct lw__lane lane;
    T_NEED(!lw__lane_map(&lane, t->fd, access, "a lane"));
    return lane;
}

char *t_lane_save(const struct t_lane *t) {
    char *bytes = malloc(t->size);
    T_NEED(bytes);
    memcpy(bytes, t->lane.base, t->size);
    return bytes;
}

void t_lane_restore(const struct t_lane *t, const char *bytes) {
    memcpy(t->lane.base, bytes, t->size);
}

int64_t t_lane_differs(const struct t_lane *t, const char *bytes) {
    if (memcmp(t->lane.base, bytes, t->size) == 0) return -1;
    for (uint64_t i = 0; i < t->size; i++)
        if (t->lane.base[i] != bytes[i]) return (int64_t)i;
    return -1;
}

/* ---- owners ------------------------------------------------------------------------------------------------------ */

enum { OWNERS = 65536 };

/* Shared with every child that is forked later. */
static unsigned char *dead_owners(void) {
    static unsigned char *dead;
    if (!dead) {
        dead = mmap(NULL, OWNERS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        T_NEED(dead != MAP_FAILED);
    }
    return dead;
}

__attribute__((constructor)) static void make_owners(void) {
    dead_owners();
}

void t_owner_set(unsigned id, bool alive) {
    __atomic_store_n(&dead_owners()[id % OWNERS], !alive, __ATOMIC_RELEASE);
}

bool t_owner_alive(unsigned id) {
    return id && !__atomic_load_n(&dead_owners()[id % OWNERS], __ATOMIC_ACQUIRE);
}

static bool owner_gone(void *context, uint64_t owner) {
    (void)context;
    return !t_owner_alive((unsigned)(owner >> 32));
}

const struct lw__owners t_owners = {.closed = owner_gone, .gone = owner_gone};

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static uint64_t word_of(uint64_t number, uint64_t i) {
    return (number + 1) * 0x9e3779b97f4a7c15 ^ i * 0x94d049bb133111eb;
}

void t_fill(void *data, uint64_t len, uint64_t number) {
    for (uint64_t i = 0; i < len; i += 8) {
        uint64_t word = word_of(number, i);
        memcpy((char *)data + i, &word, len - i < 8 ? len - i : 8);
    }
}

uint16_t t_type(uint64_t number, uint64_t len) {
    return (uint16_t)(number * 40503 ^ len * 7);
}

bool t_fits(const struct lw_msg *msg) {
    if (msg->type != t_type(msg->number, msg->len)) return false;
    for (uint64_t i = 0; i < msg->len; i += 8) {
        uint64_t word = word_of(msg->number, i);
        if (memcmp((const char *)msg->data + i, &word, msg->len - i < 8 ? msg->len - i : 8) != 0) return false;
    }
    return true;
}

/* A handle without a bus has no bells to ring; the inline path would, for a lane of many slots. What it does then is tested
 * with topics (pattern/sub_test.c). */
static const uint64_t nobody[1];

static struct lw_pub *as_pub(struct lw__writer *w) {
    if (w->tx.parked == lw__masks_always) w->tx.parked = nobody;
    return (struct lw_pub *)(void *)w; /* the inline path sees no more of it than struct lw__tx */
}

static bool stays_inline(const struct lw__writer *w, uint64_t len) {
    int64_t over = (int64_t)(w->tx.pos + lw__record_size(len) + 8);
    return len < LW__LEN_END && (over <= w->tx.edge || over <= w->tx.edge_inside);
}

int64_t t_send(struct lw__writer *w, uint64_t len) {
    static _Thread_local char data[1 << 16];
    T_NEED(len <= sizeof data);
    t_fill(data, len, w->tx.number);
    uint16_t type = t_type(w->tx.number, len);
    return stays_inline(w, len) ? lw_pub_send(as_pub(w), type, data, len, 0) : lw__writer_send(w, type, data, len);
}

int64_t t_send_in_place(struct lw__writer *w, uint64_t reserve, uint64_t len) {
    void *data;
    int rc =
        stays_inline(w, reserve) ? lw_pub_reserve(as_pub(w), &data, reserve, 0) : lw__writer_reserve(w, &data, reserve);
    if (rc) return rc;
    t_fill(data, len, w->tx.number);
    uint16_t type = t_type(w->tx.number, len);
    return lw__tx_held(&w->tx) ? lw_pub_commit(as_pub(w), type, len) : lw__writer_commit(w, type, len);
}

int64_t t_send_batch(struct lw__writer *w, const uint64_t *len, unsigned count) {
    struct lw_item items[T_BATCH_MAX];
    uint64_t whole = 0;
    for (unsigned i = 0; i < count; i++) whole += len[i];
    char *data = malloc(whole + 1), *at = data;
    T_NEED(data && count <= T_BATCH_MAX);
    for (unsigned i = 0; i < count; i++) {
        t_fill(at, len[i], w->tx.number + i);
        items[i] = (struct lw_item){.data = at, .len = len[i], .type = t_type(w->tx.number + i, len[i])};
        at += len[i];
    }
    int64_t rc = lw__writer_send_batch(w, items, count);
    free(data);
    return rc;
}

int64_t t_stage_batch(struct lw__writer *w, const uint64_t *len, unsigned count) {
    bool flush = w->tx.number & 1;
    for (unsigned i = 0;; i++) {
        if (i == count) return lw__writer_flush(w);
        void *data;
        uint64_t number = w->tx.number + i;
        int rc = lw__writer_reserve(w, &data, len[i]);
        if (rc) return lw__writer_abort(w), rc;
        t_fill(data, len[i], number);
        if (i + 1 == count && !flush) return lw__writer_commit(w, t_type(number, len[i]), len[i]);
        lw__writer_stage(w, t_type(number, len[i]), len[i]);
    }
}

static struct lw_sub *as_sub(struct lw__reader *r) {
    if (r->rx.wanted == lw__masks_always) r->rx.wanted = nobody;
    return (struct lw_sub *)(void *)r;
}

int t_next(struct lw__reader *r, struct lw_msg *msg) {
    uint64_t header, size;
    if (r->rx.number & 1 || lw__record_at(r->lane, r->rx.pos, &header, &size) != 1) return lw__reader_next(r, msg);
    return lw_sub_next(as_sub(r), msg, 0);
}

int t_release(struct lw__reader *r, const struct lw_msg *msg) {
    return lw_sub_release(as_sub(r), msg);
}

/* ---- the usual steps --------------------------------------------------------------------------------------------- */

void t_write_as(struct lw__writer *w, struct lw__lane *lane, unsigned id) {
    T_NEED(!lw__writer_take(w, lane, t_owner(id, 0), &t_owners));
}

void t_read_as(struct lw__reader *r, struct lw__lane *lane, unsigned id, enum lw_from from, uint64_t position) {
    T_NEED(!lw__reader_take(r, lane, t_owner(id, LW__SLOT_RELIABLE), &t_owners));
    T_NEED(!lw__reader_join(r, from, position));
}

void t_durable_as(struct lw__reader *r, struct lw__lane *lane, unsigned id, const char *name, enum lw_from from) {
    t_read_as(r, lane, id, from, 0);
    lw__slot_make_durable(r, name);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

const char *t_words(const char *format, ...) {
    static _Thread_local char words[512];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return words;
}

const char *t_drain(struct lw__reader *r, uint64_t *count) {
    struct lw_msg m = {.flags = 0};
    for (;;) {
        uint64_t number = r->rx.number, pos = r->rx.pos;
        int rc = t_next(r, &m);
        if (rc == LW_EEMPTY)
            return m.flags & LW_MSG_MORE ? t_words("the batch before %" PRIu64 " is cut", number) : NULL;
        if (rc != 1) return t_words("message %" PRIu64 " at %" PRIu64 ": %s", number, pos, lw_errname(rc));
        if (m.number != number || m.position != pos)
            return t_words("got message %" PRIu64 " at %" PRIu64 " instead of %" PRIu64 " at %" PRIu64, m.number,
                           m.position, number, pos);
        if (!t_fits(&m))
            return t_words("message %" PRIu64 " at %" PRIu64 ", %zu bytes, has other content", number, pos, m.len);
        if (t_release(r, &m)) return t_words("message %" PRIu64 " can not be released", number);
        if (count) ++*count;
    }
}

const char *t_at_rest(const struct lw__lane *lane, struct lw__place *out) {
    struct lw__lane_check check;
    struct lw__place tail;
    if (lw__lane_tail(lane, &tail)) return t_words("no tail, trouble at %" PRIu64, tail.pos);
    uint64_t word = *(const uint64_t *)(const void *)(lane->data + (tail.pos & lane->mask));
    if (word) return t_words("the header at the tail %" PRIu64 " is %" PRIx64, tail.pos, word);
    if (lw__lane_verify(lane, &check)) return t_words("verify: at %" PRIu64 ": %s", check.bad, check.what);
    if (out) *out = tail;
    return NULL;
}

const char *t_retained(struct lw__lane *lane, uint64_t last) {
    struct lw__reader r;
    if (lw__reader_take(&r, lane, t_owner(OWNERS - 1, LW__SLOT_RELIABLE), &t_owners)) return "no slot to read with";
    int rc = lw__reader_join(&r, LW_FROM_OLDEST, 0);
    const char *trouble = rc ? t_words("joining at the oldest: %s", lw_errname(rc)) : t_drain(&r, NULL);
    if (!trouble && r.rx.number != last)
        trouble = t_words("the log ends before message %" PRIu64 ", not %" PRIu64, r.rx.number, last);
    lw__reader_leave(&r);
    return trouble;
}

static const char *write_a_lap(struct lw__writer *w, struct lw__reader *r) {
    uint64_t max = w->lane->record_max, end = w->tx.pos + w->lane->ring + w->lane->ring / 2;
    while (w->tx.pos < end) {
        uint64_t len = (w->tx.number * 29 + 5) % (max / 4);
        int64_t rc = t_send(w, len);
        const char *trouble = t_drain(r, NULL);
        if (trouble) return trouble;
        if (rc < 0) return t_words("sending message %" PRIu64 ": %s", w->tx.number, lw_errname((int)rc));
    }
    return r->rx.pos == w->tx.pos ? NULL : "the reader did not see all";
}

const char *t_goes_on(struct lw__lane *lane, unsigned id, uint64_t low, uint64_t high, uint64_t *number) {
    struct lw__writer w;
    struct lw__reader r;
    const char *trouble;
    int rc = lw__writer_take(&w, lane, t_owner(id, 0), &t_owners);
    if (rc) return t_words("taking the writer's part: %s", lw_errname(rc));
    *number = w.tx.number;
    if (w.tx.number < low || w.tx.number > high)
        return t_words("goes on at message %" PRIu64 ", not %" PRIu64 " to %" PRIu64, w.tx.number, low, high);
    if ((trouble = t_at_rest(lane, NULL))) return trouble;
    if ((trouble = t_retained(lane, w.tx.number))) return trouble;
    if (lw__reader_take(&r, lane, t_owner(id, LW__SLOT_RELIABLE), &t_owners)) return "no slot to go on with";
    rc = lw__reader_join(&r, LW_FROM_NOW, 0);
    trouble = rc ? t_words("joining now: %s", lw_errname(rc)) : write_a_lap(&w, &r);
    lw__reader_leave(&r);
    lw__writer_leave(&w);
    return trouble ? trouble : t_at_rest(lane, NULL);
}

/* SPDX-License-Identifier: MIT */
/* util/notes.c - see notes.h. */

/* The other half of the inline path belongs to a topic; here there is a bare writer, and so another one. */
#define lw__pub_send_slow tn_pub_send_slow
#include "util/notes.h"

#include <inttypes.h>
#include <string.h>

struct note {
    uint32_t who, left; /* left: so many more in this batch */
    uint64_t n;
    char rest[TN_NOTE - 16];
};

static uint64_t id_of(const struct note *note) {
    return note->n * TN_WRITERS + note->who;
}

static uint64_t rest_of(unsigned who, uint64_t n) {
    return (n * 7 + who * 3) % (TN_NOTE - 16);
}

static uint64_t make(struct note *note, unsigned who, uint64_t n, unsigned left) {
    *note = (struct note){.who = who, .left = left, .n = n};
    t_fill(note->rest, rest_of(who, n), id_of(note));
    return 16 + rest_of(who, n);
}

void tn_join(struct lw__writer *w, struct lw__lane *lane, unsigned id) {
    T_NEED(!lw__writer_join(w, lane, t_owner(id, 0), &t_owners));
}

struct lw__writer tn_moved(const struct lw__writer *w, struct lw__lane *to) {
    struct lw__writer moved = *w;
    moved.lane = to;
    moved.slot = &to->slots[w->slot - w->lane->slots];
    moved.tx.ring = to->data;
    moved.tx.lap = (uintptr_t)to->data - (w->tx.pos & ~w->tx.mask);
    moved.tx.lock = &to->ctl->lock;
    moved.tx.section =
        &to->slots[(struct lw__slot *)(void *)((char *)w->tx.section - offsetof(struct lw__slot, section)) -
                   w->lane->slots]
             .section;
    return moved;
}

int64_t lw__pub_send_slow(struct lw_pub *pub, uint16_t type, const void *data, size_t len, int64_t timeout) {
    (void)timeout;
    return lw__writer_send((struct lw__writer *)(void *)pub, type, data, len);
}

int64_t tn_send(struct lw__writer *w, unsigned who, uint64_t n) {
    struct note note;
    uint64_t len = make(&note, who, n, 0);
    return lw_pub_send((struct lw_pub *)(void *)w, t_type(id_of(&note), len), &note, len, 0);
}

int64_t tn_send_slow(struct lw__writer *w, unsigned who, uint64_t n) {
    struct note note;
    uint64_t len = make(&note, who, n, 0);
    return lw__writer_send(w, t_type(id_of(&note), len), &note, len);
}

void tn_put(struct lw__writer *w, unsigned who, uint64_t n) {
    struct note note;
    uint64_t len = make(&note, who, n, 0), pos = w->tx.pos;
    char *here = w->tx.ring + (pos & w->tx.mask);
    memcpy(here + 8, &note, len);
    lw__tx_publish(&w->tx, pos, here, lw__record_size(len), lw__header(len, t_type(id_of(&note), len), LW__COMMITTED));
}

int64_t tn_send_batch(struct lw__writer *w, unsigned who, uint64_t n, unsigned count) {
    struct note notes[T_BATCH_MAX];
    struct lw_item items[T_BATCH_MAX];
    T_NEED(count <= T_BATCH_MAX);
    for (unsigned i = 0; i < count; i++) {
        uint64_t len = make(&notes[i], who, n + i, count - 1 - i);
        items[i] = (struct lw_item){.data = &notes[i], .len = len, .type = t_type(id_of(&notes[i]), len)};
    }
    return lw__writer_send_batch(w, items, count);
}

uint64_t tn_size(unsigned who, uint64_t n, unsigned count) {
    uint64_t size = 0;
    for (unsigned i = 0; i < count; i++) size += lw__record_size(16 + rest_of(who, n + i));
    return size;
}

void tn_about_to_be_biased(struct lw__writer *w) {
    w->lane->ctl->last = w->word;
    w->lane->ctl->run = 1 << 20;
}

void tn_bias(struct lw__writer *w, unsigned who, uint64_t n) {
    tn_about_to_be_biased(w);
    T_NEED(tn_send_slow(w, who, n) >= 0);
    T_NEED(w->biased && lw__load(&w->lane->ctl->lock) == (w->word | 1));
}

const char *tn_check(const struct lw_msg *msg, struct tn_log *log) {
    struct note note, want;
    if (msg->len < 16 || msg->len > sizeof note)
        return t_words("message %" PRIu64 " has %zu bytes", msg->number, msg->len);
    memcpy(&note, msg->data, msg->len);
    if (note.who >= TN_WRITERS || msg->len != make(&want, note.who % TN_WRITERS, note.n, note.left) ||
        msg->type != t_type(id_of(&want), msg->len) || memcmp(&note, &want, msg->len) != 0)
        return t_words("message %" PRIu64 " at %" PRIu64 " is no note", msg->number, msg->position);
    if (note.n != log->next[note.who])
        return t_words("message %" PRIu64 " is note %" PRIu64 " of writer %u instead of %" PRIu64, msg->number, note.n,
                       note.who, log->next[note.who]);
    if (log->left && (note.who != log->who || note.left != log->left - 1))
        return t_words("message %" PRIu64 " lies in the midst of a batch", msg->number);
    if (!(msg->flags & LW_MSG_MORE) != !note.left)
        return t_words("message %" PRIu64 " is not where a batch ends", msg->number);
    log->next[note.who]++;
    log->who = note.who;
    log->left = note.left;
    return NULL;
}

const char *tn_read(struct lw__reader *r, struct tn_log *log) {
    struct lw_msg m;
    for (;;) {
        uint64_t number = r->rx.number, pos = r->rx.pos;
        int rc = t_next(r, &m);
        if (rc == LW_EEMPTY) return log->left ? "the last batch is cut" : NULL;
        if (rc != 1) return t_words("message %" PRIu64 " at %" PRIu64 ": %s", number, pos, lw_errname(rc));
        if (m.number != number || m.position != pos)
            return t_words("got message %" PRIu64 " at %" PRIu64 " instead of %" PRIu64 " at %" PRIu64, m.number,
                           m.position, number, pos);
        const char *trouble = tn_check(&m, log);
        if (trouble) return trouble;
        if (t_release(r, &m)) return t_words("message %" PRIu64 " can not be released", number);
    }
}

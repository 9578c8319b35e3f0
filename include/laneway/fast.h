/* SPDX-License-Identifier: MIT */
/*
 * laneway/fast.h - the hot path, inline: send, reserve, commit, next, release, of topics and of links.
 *
 * The functions at the end are the public ones; what they return is described in laneway/topic.h. Everything above them
 * (names with lw__) is the agreement between them and the library, is checked by lw_bus_open() through LW_ABI, and is
 * nobody else's business.
 *
 * A record is a header word, the payload, and padding to 8 bytes. The header word at the end of the log is always zero;
 * the store that makes it non-zero is the commit, and the only one. So a reader looks at one word, and a writer that is
 * killed anywhere leaves nothing or a whole record. src/lane/layout.h draws it; src/lane/write.c says why it is
 * correct.
 *
 * __atomic built-ins instead of <stdatomic.h>: this file is C++ too.
 */
#ifndef LANEWAY_FAST_H
#define LANEWAY_FAST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "laneway/link.h"
#include "laneway/topic.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LW__LIKELY(x) __builtin_expect(!!(x), 1)
#define LW__UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Header word: length in bits 0-31, the user's type in 32-47, flags in 48-63. */
#define LW__COMMITTED UINT64_C(0x8000)
#define LW__MORE ((uint64_t)LW_MSG_MORE) /* the next record belongs to the same batch */

#define LW__LEN_END (UINT64_C(1) << 31) /* any length from here on goes to the slow path, which refuses it */

/* A position and the number of the record there, as one state: bit 0 of `pos` says which number is valid. The other
 * number is stored first, then `pos`: one store decides. Lives in the shared file. */
struct lw__cursor {
    uint64_t pos;
    uint64_t number[2];
};

/* First member of struct lw_pub: all that publishing needs. Private to the process. The order keeps apart what is stored
 * together: two neighbours that are loaded one by one and stored as a pair cost a stall in every loop. */
struct lw__tx {
    uint64_t pos; /* the next record begins here */
    char *ring;
    uint64_t mask; /* ring size - 1 */
    /* Records that end 8 bytes before here need nobody's leave. 0: all go the slow path. Less: -1 - the bytes that are
     * reserved, and whatever is called before the commit goes the slow path, which refuses it. */
    int64_t edge;
    uint64_t number;     /* of the next record */
    uint64_t lap;        /* address that position 0 would have in this lap: right while an edge is not 0 */
    int64_t edge_after;  /* what `edge` is when nothing is reserved */
    int64_t edge_inside; /* shared topic, instead: the same for who is inside */
    uint64_t *section;   /* shared topic: our mark "inside", in our slot. NULL: exclusive */
    uint64_t *lock;      /* shared topic: the lane's lock word ... */
    uint64_t biased;     /* ... which has this value as long as we may go in by marking our slot alone */
    uint64_t sent;       /* shared topic: messages so far, times 2: what `section` is outside */
    /* 0: no reader sleeps. Else lw__pub_ring() looks who; always, where there are more than one word holds. */
    const uint64_t *parked;
};

/* First member of struct lw_sub: all that receiving needs. */
struct lw__rx {
    const char *ring;
    uint64_t mask;
    uint64_t pos;              /* the next record to hand out */
    uint64_t number;           /* its number */
    uint64_t head;             /* everything before is released */
    uint64_t usual;            /* length of the record before ... */
    uint64_t size;             /* ... and its bytes with header and padding */
    uint64_t max;              /* largest length to believe */
    uint64_t looks;            /* so often an empty ring may be told without asking the slow path */
    struct lw__cursor *cursor; /* this reader's place */
    const uint64_t *wanted;    /* 0: no writer sleeps until there is room. Else lw__sub_ring() looks */
};

/* First member of struct lw_link. */
struct lw__ends {
    struct lw_pub *out;
    struct lw_sub *in;
};

/* The same work when something is unusual: no room, a mark is due, an empty ring, a misuse. */
LW_API int64_t lw__pub_send_slow(struct lw_pub *pub, uint16_t type, const void *data, size_t len, int64_t timeout);
LW_API int lw__pub_reserve_slow(struct lw_pub *pub, void **data, size_t len, int64_t timeout);
LW_API int64_t lw__pub_commit_slow(struct lw_pub *pub, uint16_t type, size_t len);
LW_API int lw__sub_next_slow(struct lw_sub *sub, struct lw_msg *msg, int64_t timeout);
LW_API int lw__sub_release_slow(struct lw_sub *sub, const struct lw_msg *msg);
LW_API void lw__pub_ring(struct lw_pub *pub); /* wakes the readers that sleep */
LW_API void lw__sub_ring(struct lw_sub *sub); /* wakes the writers that sleep until there is room */

static inline uint64_t lw__record_size(uint64_t len) {
    return (len + 15) & ~UINT64_C(7);
}

static inline uint64_t lw__header(uint64_t len, uint16_t type, uint64_t flags) {
    return len | (uint64_t)type << 32 | flags << 48;
}

/* Moves a cursor; its one writer calls this. The release pairs with lw__cursor_load() and, for a reader's cursor, with
 * the writer's look at the heads: whoever sees the new position sees all that was done before. */
static inline void lw__cursor_store(struct lw__cursor *c, uint64_t pos, uint64_t number) {
    uint64_t other = ~__atomic_load_n(&c->pos, __ATOMIC_RELAXED) & 1;
    /* Not before the store of `pos` that unselected it: release, which pairs with the acquire of it in
     * lw__cursor_load() */
#ifdef LW_PLANT_NUMBER_AFTER_TAIL
    __atomic_store_n(&c->pos, pos | other, __ATOMIC_RELEASE);
#endif
    __atomic_store_n(&c->number[other], number, __ATOMIC_RELEASE);
    __atomic_store_n(&c->pos, pos | other, __ATOMIC_RELEASE);
}

/* Goes into a shared topic's section while the lock word is biased towards us. Our mark first, then the look at the word,
 * with nothing but the compiler held back between them: whoever takes the word away stores first, then has every other
 * processor run a full fence (membarrier), then looks at our mark. So at least one sees the other. src/lane/lock.c has
 * the whole argument. 0: the slow path's. Pairs with revoke() in src/lane/lock.c: its membarrier and acquires, and
 * with the give_word() of whoever had the word before. */
static inline int lw__tx_enter(struct lw__tx *tx) {
#ifdef LW_PLANT_LOOK_BEFORE_MARK
    if (__atomic_load_n(tx->lock, __ATOMIC_ACQUIRE) != tx->biased) return 0;
#endif
    __atomic_store_n(tx->section, tx->sent | 1, __ATOMIC_RELAXED);
#ifdef LW_PLANT_LOOK_BEFORE_MARK
    return 1;
#endif
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (LW__LIKELY(__atomic_load_n(tx->lock, __ATOMIC_ACQUIRE) == tx->biased)) return 1;
#ifndef LW_PLANT_FAILED_MARK_STAYS
    __atomic_store_n(tx->section, tx->sent, __ATOMIC_RELEASE);
#endif
    return 0;
}

/* Out of it again. The release pairs with the acquire of whoever takes the word away: revoke() in src/lane/lock.c. */
static inline void lw__tx_leave(struct lw__tx *tx) {
    tx->sent += 2;
#ifdef LW_PLANT_MARK_STAYS
    return;
#endif
    __atomic_store_n(tx->section, tx->sent, __ATOMIC_RELEASE);
}

/* Bytes reserved inline plus 1; 0: none, or the slow path's. */
static inline uint64_t lw__tx_held(const struct lw__tx *tx) {
    return tx->edge < 0 ? (uint64_t)-tx->edge : 0;
}

/* Where a record at `pos` goes. The inline path stays within a lap. */
static inline char *lw__tx_at(const struct lw__tx *tx, uint64_t pos) {
    return (char *)(uintptr_t)(tx->lap + pos);
}

/* Commits what is in place at `here`, the place of `pos`, which is tx->pos, and takes `size` bytes. The stored tail stays
 * behind: the log says itself where it ends, and the slow path comes before anybody has far to walk (src/lane/write.c). */
static inline void lw__tx_publish(struct lw__tx *tx, uint64_t pos, void *here, uint64_t size, uint64_t header) {
    char *next = (char *)here + size; /* the ring is there twice */
    tx->pos = pos + size;
    tx->number++;
#ifndef LW_PLANT_NO_ZERO_AHEAD
    __atomic_store_n((uint64_t *)(void *)next, 0, __ATOMIC_RELAXED); /* the log ends here ... */
#endif
#ifndef LW_PLANT_COMMIT_RELAXED
    /* ... before this is seen. Pairs with the acquire in lw_sub_next() */
    __atomic_store_n((uint64_t *)here, header, __ATOMIC_RELEASE);
#else
    __atomic_store_n((uint64_t *)here, header, __ATOMIC_RELAXED);
#endif
}

/* Does anybody sleep? To be called after the store that they wait for, with nothing but the compiler held back between:
 * who goes to sleep sets its bit, has every other processor run a full fence (membarrier), and looks once more. So either
 * it sees the store, or we see its bit. A line that nobody writes while all are busy. Pairs with the membarrier of
 * park_quiet() and lw__source_prepare() in src/bus/group.c. */
static inline int lw__is_any(const uint64_t *mask) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(mask, __ATOMIC_RELAXED) != 0;
}

/* ---- the public functions ---------------------------------------------------------------------------------------- */

/* Payload and commit. */
static inline void lw__tx_put(struct lw__tx *tx, uint64_t pos, uint16_t type, const void *data, size_t len) {
    char *here = lw__tx_at(tx, pos);
    if (len) memcpy(here + 8, data, len);
    lw__tx_publish(tx, pos, here, lw__record_size(len), lw__header(len, type, LW__COMMITTED));
}

LW_INLINE int64_t lw_pub_send(struct lw_pub *pub, uint16_t type, const void *data, size_t len, int64_t timeout) {
    struct lw__tx *tx = (struct lw__tx *)(void *)pub;
    uint64_t pos = tx->pos;
    int64_t over = (int64_t)(pos + lw__record_size(len) + 8);
    if (LW__UNLIKELY(len >= LW__LEN_END)) return lw__pub_send_slow(pub, type, data, len, timeout);
#ifdef LW_PLANT_MASK_BEFORE_COMMIT
    int any = lw__is_any(tx->parked);
#endif
    if (LW__LIKELY(over <= tx->edge)) {
        lw__tx_put(tx, pos, type, data, len);
    } else if (over <= tx->edge_inside && lw__tx_enter(tx)) {
#ifdef LW_PLANT_MARK_CLEARED_BEFORE_COMMIT
        lw__tx_leave(tx);
        lw__tx_put(tx, pos, type, data, len);
        return (int64_t)pos;
#endif
        lw__tx_put(tx, pos, type, data, len);
        lw__tx_leave(tx);
    } else {
        return lw__pub_send_slow(pub, type, data, len, timeout);
    }
#ifdef LW_PLANT_MASK_BEFORE_COMMIT
    if (any) lw__pub_ring(pub);
    return (int64_t)pos;
#endif
    if (LW__UNLIKELY(lw__is_any(tx->parked))) lw__pub_ring(pub);
    return (int64_t)pos;
}

LW_INLINE int lw_pub_reserve(struct lw_pub *pub, void **data, size_t len, int64_t timeout) {
    struct lw__tx *tx = (struct lw__tx *)(void *)pub;
    uint64_t pos = tx->pos;
    if (LW__UNLIKELY(len >= LW__LEN_END || (int64_t)(pos + lw__record_size(len) + 8) > tx->edge)) {
        void *room = NULL; /* not the caller's: that can stay in a register */
        int rc = lw__pub_reserve_slow(pub, &room, len, timeout);
        *data = room;
        return rc;
    }
    *data = lw__tx_at(tx, pos) + 8;
    tx->edge = -1 - (int64_t)len;
    return 0;
}

LW_INLINE int64_t lw_pub_commit(struct lw_pub *pub, uint16_t type, size_t len) {
    struct lw__tx *tx = (struct lw__tx *)(void *)pub;
    uint64_t pos = tx->pos;
    if (LW__UNLIKELY(len >= lw__tx_held(tx))) return lw__pub_commit_slow(pub, type, len);
    tx->edge = tx->edge_after;
    lw__tx_publish(tx, pos, lw__tx_at(tx, pos), lw__record_size(len), lw__header(len, type, LW__COMMITTED));
    if (LW__UNLIKELY(lw__is_any(tx->parked))) lw__pub_ring(pub);
    return (int64_t)pos;
}

LW_INLINE int lw_sub_next(struct lw_sub *sub, struct lw_msg *msg, int64_t timeout) {
    struct lw__rx *rx = (struct lw__rx *)(void *)sub;
    uint64_t pos = rx->pos;
    const char *here = rx->ring + (pos & rx->mask);
    /* Loaded once; pairs with the release in lw__tx_publish(). Zero: nothing yet. */
    uint64_t header = __atomic_load_n((const uint64_t *)(const void *)here, __ATOMIC_ACQUIRE);
    uint64_t len = (uint32_t)header;
    uint32_t rest = (uint32_t)(header >> 32) ^ (uint32_t)(LW__COMMITTED << 16); /* type and flags, if it is committed */
    if (LW__UNLIKELY(rest & ~(uint32_t)(LW__MORE << 16 | 0xffff))) {
        if (header || timeout || !rx->looks) return lw__sub_next_slow(sub, msg, timeout);
        rx->looks--;
        return LW_EEMPTY;
    }
    /* Mostly it is as long as the one before, which was not too long: with that for a guess the processor looks for the
     * next header before this one has come. */
    if (len != rx->usual) {
        if (LW__UNLIKELY(len > rx->max)) return lw__sub_next_slow(sub, msg, timeout);
        rx->usual = len;
        rx->size = lw__record_size(len);
    }
    uint64_t next = pos + rx->size;
    rx->pos = next;
    msg->data = here + 8;
    msg->len = len;
    __atomic_store_n(&msg->position, pos, __ATOMIC_RELAXED); /* as words, not as a pair: see struct lw__tx */
    __atomic_store_n(&msg->next, next, __ATOMIC_RELAXED);
    msg->number = rx->number++;
    memcpy((char *)msg + offsetof(struct lw_msg, type), &rest, sizeof rest); /* and `flags` */
    return 1;
}

LW_INLINE int lw_sub_release(struct lw_sub *sub, const struct lw_msg *msg) {
    struct lw__rx *rx = (struct lw__rx *)(void *)sub;
    uint64_t end = msg->next;
    /* Mostly all that was handed out; else some of it, or it was before. */
    if (LW__UNLIKELY(end != rx->pos || end == rx->head) && end - rx->head - 1 >= rx->pos - rx->head)
        return lw__sub_release_slow(sub, msg);
    rx->head = end;
    lw__cursor_store(rx->cursor, end, msg->number + 1);
    if (LW__UNLIKELY(lw__is_any(rx->wanted))) lw__sub_ring(sub);
    return 0;
}

/* ---- links: the same on the two ends of one ---------------------------------------------------------------------- */

static inline struct lw_pub *lw__out(const struct lw_link *link) {
    return ((const struct lw__ends *)(const void *)link)->out;
}
static inline struct lw_sub *lw__in(const struct lw_link *link) {
    return ((const struct lw__ends *)(const void *)link)->in;
}

LW_INLINE int64_t lw_link_send(struct lw_link *link, uint16_t type, const void *data, size_t len, int64_t timeout) {
    return lw_pub_send(lw__out(link), type, data, len, timeout);
}
LW_INLINE int lw_link_reserve(struct lw_link *link, void **data, size_t len, int64_t timeout) {
    return lw_pub_reserve(lw__out(link), data, len, timeout);
}
LW_INLINE int64_t lw_link_commit(struct lw_link *link, uint16_t type, size_t len) {
    return lw_pub_commit(lw__out(link), type, len);
}
LW_INLINE int lw_link_stage(struct lw_link *link, uint16_t type, size_t len) {
    return lw_pub_stage(lw__out(link), type, len);
}
LW_INLINE int64_t lw_link_flush(struct lw_link *link) {
    return lw_pub_flush(lw__out(link));
}
LW_INLINE void lw_link_abort(struct lw_link *link) {
    lw_pub_abort(lw__out(link));
}
LW_INLINE int64_t lw_link_send_batch(struct lw_link *link, const struct lw_item *items, size_t count, int64_t timeout) {
    return lw_pub_send_batch(lw__out(link), items, count, timeout);
}
LW_INLINE size_t lw_link_max(const struct lw_link *link) {
    return lw_pub_max(lw__out(link));
}
LW_INLINE const char *lw_link_explain(struct lw_link *link) {
    return lw_pub_explain(lw__out(link));
}
LW_INLINE int lw_link_next(struct lw_link *link, struct lw_msg *msg, int64_t timeout) {
    return lw_sub_next(lw__in(link), msg, timeout);
}
LW_INLINE int lw_link_release(struct lw_link *link, const struct lw_msg *msg) {
    return lw_sub_release(lw__in(link), msg);
}
LW_INLINE int lw_link_recv(struct lw_link *link, void *buffer, size_t room, struct lw_msg *msg, int64_t timeout) {
    return lw_sub_recv(lw__in(link), buffer, room, msg, timeout);
}
LW_INLINE void lw_link_rewind(struct lw_link *link) {
    lw_sub_rewind(lw__in(link));
}
LW_INLINE int64_t lw_link_dispatch(struct lw_link *link,
                                   enum lw_verdict (*handle)(const struct lw_msg *msg, void *user), void *user,
                                   size_t most, int64_t timeout) {
    return lw_sub_dispatch(lw__in(link), handle, user, most, timeout);
}

#ifdef __cplusplus
}
#endif
#endif

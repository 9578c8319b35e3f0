/* SPDX-License-Identifier: MIT */
/*
 * laneway/topic.h - publish and subscribe in memory-mapped files.
 *
 * A topic is a log ring in a file on the bus. Publishers append records, in one order for all; every subscriber reads
 * all of them in that order, at its own pace. A position is a record's byte offset in the endless log: unique and
 * increasing. Numbers count records from 0.
 *
 * Who may write. Any number of publishers, each in a slot of its own (LW_ENOSLOT when there is none left); or a single
 * one that opened the topic with LW_PUB_EXCLUSIVE: it publishes faster and may fill records in place.
 *
 * Who holds whom back
 *   - A subscriber: what it has not released is never overwritten. Publishers that run out of room wait, or are told
 *     LW_EFULL.
 *   - One with `max_lag`, or on a topic with `evict_lag`: the same until it is so many bytes behind. Then it is evicted,
 *     and told with LW_EEVICTED and a count at its next call, if anything was lost.
 *   - One with LW_SUB_LOSSY: nobody. What it is too slow for it loses, and is told with LW_EGAP and a count.
 *     Both then go on an eighth of the ring ahead of what is overwritten next, so that they have room; the count says
 *     how many messages they passed.
 *
 * Caveats
 *   - A subscriber that stops reading stops the publishers once the ring is full. A crashed one without a name is swept
 *     away; one with a name (durable) keeps its place until it comes back, `laneway forget` removes it, or, on a topic
 *     with `evict_age`, it has been dead for so long and is in the way.
 *   - A publisher of a shared topic that is stopped (SIGSTOP, a debugger) in the midst of a send is waited for by the
 *     other publishers: LW_EWRITER names it. Subscribers go on.
 *   - A message that was peeked but not released is delivered again after a crash. Released ones never are.
 *   - Do not truncate files of a bus by hand: a mapped page that is cut off is SIGBUS.
 *
 * Threads: a publisher or subscriber belongs to one thread at a time. Ring size and records are in bytes.
 */
#ifndef LANEWAY_TOPIC_H
#define LANEWAY_TOPIC_H

#include "laneway/bus.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lw_pub;
struct lw_sub;

/* ---- shape ------------------------------------------------------------------------------------------------------- */

/* What a topic's file looks like. A field left 0 or NULL accepts what exists, or takes the default when the topic is
 * made. A field that is set and differs from what exists is LW_ESHAPE (schema: LW_EMISMATCH), unless the topic is still
 * empty: then it is made anew, and those who wait on it move over. */
struct lw_shape {
    uint64_t ring;  /* bytes of ring, a power of two, 64 KiB to 64 GiB; default 4 MiB. Taken from the disk at once */
    uint32_t slots; /* subscribers and shared publishers at most, 1 to 1024; default 64 */
    const char *schema;   /* name of what the messages are, up to 63 printable characters */
    uint64_t schema_hash; /* a number that changes when the layout of the messages does */
    uint64_t evict_lag;   /* bytes that any subscriber may be behind, at most the ring, before it is evicted for the
                             sake of the publishers; default: it never is */
    int64_t evict_age;    /* ns that a durable subscriber may be dead or away before it is evicted when in the way;
                             counted in seconds, from when somebody noticed; default: it never is */
    uint64_t reserved[2]; /* 0 */
};
#define LW_SHAPE_INIT                                                                                                  \
    {                                                                                                                  \
        0, 0, NULL, 0, 0, 0, {                                                                                         \
            0, 0                                                                                                       \
        }                                                                                                              \
    }

/* Makes the topic if it is not there. `shape` may be NULL. `topic` is one or more names with / between them. */
LW_API int lw_topic_create(struct lw_bus *bus, const char *topic, const struct lw_shape *shape);

/* ---- publisher --------------------------------------------------------------------------------------------------- */

enum lw_pub_flags {
    LW_PUB_EXCLUSIVE = 1, /* sole publisher of the topic: only such a one may reserve in place */
    LW_PUB_NEED_SUB = 2,  /* LW_ENOSUB while nobody, alive or durable, subscribes. Costs a look at every slot */
    LW_PUB_NO_BIAS = 4    /* shared: never keep the topic's lock for the next message. A lone publisher is slower then;
                             one that comes after it need not interrupt it (some 20 us) */
};

struct lw_pub_options {
    size_t size; /* sizeof (struct lw_pub_options) */
    unsigned flags;
    struct lw_shape shape;
};
#define LW_PUB_OPTIONS_INIT                                                                                            \
    { sizeof(struct lw_pub_options), 0, LW_SHAPE_INIT }

struct lw_item { /* one message of a batch */
    const void *data;
    size_t len;
    uint16_t type;
};

/* What a handle did since it was opened. */
struct lw_stats {
    size_t size;       /* sizeof (struct lw_stats), set by the caller */
    uint64_t messages; /* published, or released */
    uint64_t bytes;    /* of ring, headers included */
    uint64_t position; /* of the next message; of a shared publisher: of what came after its last one */
    uint64_t number;   /* likewise */
    uint64_t waits;    /* calls that had to wait */
    uint64_t refused;  /* calls that ended with LW_EFULL, LW_EWRITER or LW_ENOSUB; LW_EEMPTY after waiting */
    uint64_t lost;     /* messages that this subscriber was told it lost */
    uint64_t evicted;  /* subscribers that this publisher evicted; how often this subscriber was told that it was */
};
#define LW_STATS_INIT                                                                                                  \
    { sizeof(struct lw_stats), 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * Opens a topic for publishing, makes it if it is not there, and takes over what a dead publisher left. `options` may
 * be NULL.
 *
 * Errors: LW_ENAME, LW_EWRITER (an exclusive publisher has it, or, for LW_PUB_EXCLUSIVE, any other; node and pid in the
 * text), LW_ENOSLOT (shared; all slots taken), -ENOSYS, -EPERM (shared; this process may not use membarrier), LW_ESHAPE,
 * LW_EMISMATCH, LW_EVERSION, LW_ECORRUPT, LW_ESTATE (observing bus), -EINVAL (an option), -EACCES,
 * -ENOSPC, -ENOMEM, -EMFILE.
 */
LW_API int lw_pub_open(struct lw_pub **pub, struct lw_bus *bus, const char *topic,
                       const struct lw_pub_options *options);

/* Closes and frees. What was reserved or staged and not committed is dropped. NULL is fine. A shared one may wait some
 * microseconds for another that is inside. */
LW_API void lw_pub_close(struct lw_pub *pub);

/*
 * lw_pub_send(), lw_pub_reserve() and lw_pub_commit() are in laneway/fast.h:
 *
 *   int64_t lw_pub_send(struct lw_pub *, uint16_t type, const void *data, size_t len, int64_t timeout);
 *       Copies one message in. Returns its position.
 *   int lw_pub_reserve(struct lw_pub *, void **data, size_t len, int64_t timeout);
 *       Exclusive publishers only, else LW_ESTATE. Room for `len` bytes in the ring itself, 8-byte aligned, to be
 *       filled in place; then lw_pub_stage(), lw_pub_commit() or lw_pub_abort(). Nothing is visible before the commit.
 *       Until then no other call on this publisher. After an error `*data` is NULL.
 *   int64_t lw_pub_commit(struct lw_pub *, uint16_t type, size_t len);
 *       Publishes the reservation, with what was staged before it; `len` may be shorter than reserved. Returns the
 *       position of the first of them.
 *
 * Errors of all that need room: LW_EFULL (not within `timeout`; lw_pub_explain() tells who holds back), LW_EWRITER
 * (shared: another publisher is in the midst of a send and did not finish within `timeout`, and some 50 us; the text
 * says who), LW_ENOSUB (if asked), LW_ETOOBIG (over lw_pub_max(); would never fit), LW_ECLOSED (topic removed),
 * LW_ECORRUPT, LW_EFORKED, LW_ESTATE (calls out of order), -EINTR (a signal handler ran while waiting). After an error
 * nothing was published, and the call may be repeated.
 */

/* Puts the reservation into an open batch: it becomes visible with the next commit, all or nothing. A batch fits in
 * half a ring. */
LW_API int lw_pub_stage(struct lw_pub *pub, uint16_t type, size_t len);

/* Publishes what is staged, without a further reservation. Returns the position of the first. LW_ESTATE: nothing is
 * staged, or a reservation is open. */
LW_API int64_t lw_pub_flush(struct lw_pub *pub);

/* Drops the reservation and what was staged. Without either it does nothing. */
LW_API void lw_pub_abort(struct lw_pub *pub);

/* Copies `count` messages (1 or more) in as one batch: subscribers see all or none; one that may be overrun may lose the
 * end of a batch that it had begun to receive. Returns the position of the first. */
LW_API int64_t lw_pub_send_batch(struct lw_pub *pub, const struct lw_item *items, size_t count, int64_t timeout);

/* Largest payload in bytes: half the ring less 16, at most 1 GiB. */
LW_API size_t lw_pub_max(const struct lw_pub *pub);

/* Says in one line why there is no room: who holds back, alive or dead, how far behind, and which command frees it. The
 * text is lw_errtext()'s. */
LW_API const char *lw_pub_explain(struct lw_pub *pub);

LW_API int lw_pub_stats(const struct lw_pub *pub, struct lw_stats *stats);

/* ---- subscriber -------------------------------------------------------------------------------------------------- */

enum lw_from {
    LW_FROM_NOW,     /* what is published from now on */
    LW_FROM_OLDEST,  /* the oldest record that is still in the ring */
    LW_FROM_POSITION /* the record that begins at `position`, or the next one to come if that is the end; else
                        LW_EPOSITION */
};

enum lw_sub_flags {
    LW_SUB_LOSSY = 1 /* holds no publisher back; not with a name. Messages are copied out, see lw_sub_next() */
};

struct lw_sub_options {
    size_t size; /* sizeof (struct lw_sub_options) */
    unsigned flags;
    const char
        *name; /* durable: the place is kept under this name when the process is gone. NULL: it goes with the handle */
    enum lw_from from; /* where to begin; a durable name that exists goes on where it was instead */
    uint64_t position; /* for LW_FROM_POSITION */
    struct lw_shape shape;
    uint64_t max_lag; /* bytes that it may be behind before it is evicted for the sake of the publishers; 0: the topic's
                         evict_lag. The smaller of the two counts. Publishers look when they need room: 1/64 of the ring
                         later at most, in the topic's first lap a ring. Messages are copied out, as with LW_SUB_LOSSY */
};
#define LW_SUB_OPTIONS_INIT                                                                                            \
    { sizeof(struct lw_sub_options), 0, NULL, LW_FROM_NOW, 0, LW_SHAPE_INIT, 0 }

/* In lw_msg.flags: the next message belongs to the same batch. */
#define LW_MSG_MORE 0x4000u

/* One message. `data` is 8-byte aligned, read-only, valid until this or a later message is released or the handle
 * closed. It lies in the ring; or, for subscribers that may be overrun (LW_SUB_LOSSY, max_lag, evict_lag), in memory of
 * the handle, and then the next lw_sub_next() ends it as well. */
struct lw_msg {
    const void *data;
    size_t len;
    uint64_t position;
    uint64_t next;   /* where the record ends: what lw_sub_release() releases up to */
    uint64_t number; /* counts from 0 */
    uint16_t type;
    uint16_t flags; /* LW_MSG_MORE */
};

/*
 * Opens a topic for reading, makes it if it is not there. `options` may be NULL.
 *
 * Errors: LW_ENAME, LW_EHELD (a live process has this durable name; its node and pid in the text), LW_ENOSLOT (all
 * slots taken; the text says by whom), LW_EPOSITION, LW_ESHAPE, LW_EMISMATCH, LW_EVERSION, LW_ECORRUPT, LW_ESTATE,
 * -EINVAL (an option), -EACCES, -ENOSPC, -ENOMEM, -EMFILE.
 */
LW_API int lw_sub_open(struct lw_sub **sub, struct lw_bus *bus, const char *topic,
                       const struct lw_sub_options *options);

/* Closes and frees; a durable place stays. What was not released is delivered again to the next of this name. NULL is
 * fine. May be called inside a callback of lw_sub_dispatch(). */
LW_API void lw_sub_close(struct lw_sub *sub);

/*
 * lw_sub_next() and lw_sub_release() are in laneway/fast.h:
 *
 *   int lw_sub_next(struct lw_sub *, struct lw_msg *, int64_t timeout);
 *       1 and the next message. Many may be held at once (where they lie in place: see struct lw_msg). Else:
 *         LW_EEMPTY     nothing within `timeout`
 *         LW_EGAP       messages were lost before the next one: a lossy subscriber was overtaken, or the machine went
 *                       down. Told once, then it goes on; `msg` has the next one's position and number, lw_stats.lost
 *                       the count
 *         LW_EEVICTED   the same, because this subscriber was evicted. It has its place again, at the next one. Also
 *                       after lw_sub_rewind(), when what would come again was overwritten
 *         -ENOMEM       no memory to copy a large message to; it comes again
 *         LW_ECORRUPT   the text says where; it stays there
 *         LW_ECLOSED    the topic was removed, and all that was in it has been read
 *         LW_EMISMATCH, LW_ESHAPE  the topic was still empty, and somebody gave it a schema, or a ring or slots, other
 *                       than was asked for here
 *         LW_EFORKED    the handle belongs to the parent process
 *         -EINTR        a signal handler ran while waiting, also with SA_RESTART
 *       Where nothing is said about `msg`, it is as it was: after a loop it is the last one, and releasing it releases all.
 *   int lw_sub_release(struct lw_sub *, const struct lw_msg *);
 *       Gives this message and all before it back; they will not come again. `msg` as it was handed out, or a copy.
 *       LW_ESTATE if it was not handed out or is already released. (0 for one that an eviction has passed, to a
 *       subscriber that may be evicted.)
 */

/* Copies the next message to `buffer` of `room` bytes and releases it. LW_ESTATE while messages are held in place. 1,
 * or as lw_sub_next(); LW_ETOOBIG when it does not fit: then msg->len says how much is needed and the message comes
 * again. `msg` may be NULL; its data is `buffer`.
 */
LW_API int lw_sub_recv(struct lw_sub *sub, void *buffer, size_t room, struct lw_msg *msg, int64_t timeout);

enum lw_verdict {
    LW_NEXT = 0, /* release it, go on */
    LW_STOP = 1, /* release it, return */
    LW_KEEP = 2  /* do not release it, return: it comes again with the next call */
};

/* Calls `handle` for up to `most` messages (0: as long as there are any), waiting up to `timeout` for the first one;
 * each is released after its handler returned. The handler may close the subscription; then its message is not
 * released. It must return: no exception, no longjmp. Returns the count handled, or what lw_sub_next() gave when it was
 * none. */
LW_API int64_t lw_sub_dispatch(struct lw_sub *sub, enum lw_verdict (*handle)(const struct lw_msg *msg, void *user),
                               void *user, size_t most, int64_t timeout);

/* Hand out again everything that was handed out and not released. A subscriber that may be overrun is told what of it is
 * no longer there. */
LW_API void lw_sub_rewind(struct lw_sub *sub);

/* Goes to another place that is still retained, forward or back; what was handed out is void. Killed at any moment, the
 * place is the old or the new one. LW_EPOSITION, LW_ENOSLOT (going back needs a free slot for a moment), LW_ECLOSED,
 * LW_ECORRUPT, LW_EFORKED, -EINVAL, -ENOMEM: then it is where it was. */
LW_API int lw_sub_seek(struct lw_sub *sub, enum lw_from from, uint64_t position);

LW_API int lw_sub_stats(const struct lw_sub *sub, struct lw_stats *stats);

/* ---- looking at topics, without disturbing anyone ---------------------------------------------------------------- */

struct lw_topic_info {
    size_t size;   /* sizeof (struct lw_topic_info), set by the caller */
    uint64_t ring; /* shape */
    uint32_t slots;
    uint32_t readers; /* slots taken by subscribers */
    char schema[LW_NAME_MAX + 1];
    uint64_t schema_hash;
    unsigned char uuid[16];
    uint64_t tail; /* position and number of the next message to come */
    uint64_t number;
    uint64_t oldest; /* position and number of the oldest retained one, where LW_FROM_OLDEST begins */
    uint64_t oldest_number;
    uint64_t record_max; /* largest payload */
    uint64_t evict_lag;  /* bytes, ns; 0: never */
    int64_t evict_age;
    uint32_t writers; /* publishers, dead ones that nobody swept yet included; lw_topic_writers() tells who */
    int exclusive;    /* 1: there is one, and it is exclusive */
};
#define LW_TOPIC_INFO_INIT                                                                                             \
    { sizeof(struct lw_topic_info), 0, 0, 0, {0}, 0, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Errors of the calls below: LW_ENAME, LW_ENOTOPIC, LW_EVERSION, LW_ECORRUPT, -EACCES. */
LW_API int lw_topic_stat(struct lw_bus *bus, const char *topic, struct lw_topic_info *info);

struct lw_writer_info {
    char node[LW_NAME_MAX + 1];
    int pid; /* 0 when it is dead */
    int alive;
    int exclusive;
    int inside;        /* 1: it holds the topic's lock at this moment */
    int biased;        /* 1: the lock is kept for it, as long as no other publishes */
    uint32_t slot;     /* of a shared one */
    uint64_t messages; /* that it published since it opened the topic; not counted for an exclusive one */
};

/* Calls `each` for every publisher. A non-zero return ends the walk and is returned. */
LW_API int lw_topic_writers(struct lw_bus *bus, const char *topic,
                            int (*each)(const struct lw_writer_info *writer, void *user), void *user);

struct lw_reader_info {
    char name[LW_NAME_MAX + 1]; /* durable name, "" for one without */
    char node[LW_NAME_MAX + 1]; /* node that has it open, "" when nobody has */
    uint32_t slot;
    int durable;
    int lossy;
    int evicted; /* 1: it was evicted, and has not come back */
    int alive;   /* 1 while the process that has it open lives */
    int pid;
    int slowest;       /* 1 for the one that is furthest behind: it is what the publisher will wait for */
    uint64_t position; /* everything before is released */
    uint64_t number;
    uint64_t lag_messages; /* published and not yet released */
    uint64_t lag_bytes;
    uint64_t max_lag; /* beyond so many bytes it may be evicted; 0: never while it lives */
    uint64_t lost;    /* messages lost by being overtaken or evicted, since it joined */
};

/* Calls `each` for every subscriber. A non-zero return ends the walk and is returned. */
LW_API int lw_topic_readers(struct lw_bus *bus, const char *topic,
                            int (*each)(const struct lw_reader_info *reader, void *user), void *user);

struct lw_verify_result {
    size_t size;   /* sizeof (struct lw_verify_result), set by the caller */
    uint64_t from; /* positions looked at */
    uint64_t to;
    uint64_t records;
    uint64_t batches;
    uint64_t bytes;   /* of payload */
    uint64_t skipped; /* bytes that were overwritten before they could be looked at: a publisher is running */
};
#define LW_VERIFY_RESULT_INIT                                                                                          \
    { sizeof(struct lw_verify_result), 0, 0, 0, 0, 0, 0 }

/* Walks over every retained record, mark and slot. 0 when all is well, LW_ECORRUPT with the position in the text.
 * `result` may be NULL. */
LW_API int lw_topic_verify(struct lw_bus *bus, const char *topic, struct lw_verify_result *result);

/* Calls `each` for every topic by name, sorted within its level. A non-zero return ends the walk and is returned. */
LW_API int lw_topic_list(struct lw_bus *bus, int (*each)(const char *topic, void *user), void *user);

/* Frees a durable place. LW_EHELD while a live process has it open, LW_ENOSUB when there is no such name. */
LW_API int lw_topic_forget(struct lw_bus *bus, const char *topic, const char *name);

enum lw_remove_flags {
    LW_REMOVE_FORCE = 1 /* also while live processes have it open: they get LW_ECLOSED. And when the file is damaged */
};

/* Removes a topic with what is in it. LW_EHELD, naming who, while live processes have it open. */
LW_API int lw_topic_remove(struct lw_bus *bus, const char *topic, unsigned flags);

#ifdef __cplusplus
}
#endif
#endif

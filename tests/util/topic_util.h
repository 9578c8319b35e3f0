/* SPDX-License-Identifier: MIT */
/*
 * util/topic_util.h - what the tests of topics share: opening in one line, messages that prove what they are, and the
 * bytes of a lane file.
 *
 * All names begin with tt_. What returns no code ends the process with status 99 when it fails, so it may be used in
 * children too.
 */
#ifndef LW_TESTS_TOPIC_UTIL_H
#define LW_TESTS_TOPIC_UTIL_H

#include "laneway/laneway.h"
#include "util/util.h"

enum { TT_RING = 64 << 10 }; /* the smallest ring */

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* `node` may be NULL. */
struct lw_bus *tt_bus(const char *dir, const char *node);

/* Options of an exclusive publisher. */
extern const struct lw_pub_options tt_sole;

/* A publisher, exclusive or shared; the topic has a ring of TT_RING bytes if it has to be made. */
struct lw_pub *tt_pub(struct lw_bus *bus, const char *topic);
struct lw_pub *tt_pub_shared(struct lw_bus *bus, const char *topic);

/* A subscriber; `name` may be NULL. The same ring. */
struct lw_sub *tt_sub(struct lw_bus *bus, const char *topic, const char *name, enum lw_from from);

/* The same, with a code. `position` is for LW_FROM_POSITION. */
int tt_sub_open(struct lw_sub **sub, struct lw_bus *bus, const char *topic, const char *name, enum lw_from from,
                uint64_t position);
/* The same with a shape. A `ring` or `slots` of 0 takes what exists. */
int tt_pub_shaped(struct lw_pub **pub, struct lw_bus *bus, const char *topic, uint64_t ring, uint32_t slots);
int tt_sub_shaped(struct lw_sub **sub, struct lw_bus *bus, const char *topic, const char *name, uint64_t ring,
                  uint32_t slots);

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Message `number` has a length, a type and bytes that follow from its number. At most TT_MESSAGE bytes. */
enum { TT_MESSAGE = 240 };
size_t tt_fill(void *buffer, uint64_t number);
uint16_t tt_type(uint64_t number);

/* The number that a message has inside, or UINT64_MAX when it is not what tt_fill() wrote. */
uint64_t tt_read(const struct lw_msg *msg);

/* Publishes message `number`: what lw_pub_send() gives. */
int64_t tt_send(struct lw_pub *pub, uint64_t number, int64_t timeout);
/* `count` of them, waiting for room up to 20 s each. */
void tt_send_many(struct lw_pub *pub, uint64_t first, uint64_t count);
/* Until it is full; returns the number of the first that found no room. */
uint64_t tt_send_all(struct lw_pub *pub, uint64_t first);

/* Receives and releases: the next `count` messages are exactly first, first + 1, ... (in 20 s each). Else false, and
 * says what came. */
bool tt_gets(struct lw_sub *sub, uint64_t first, uint64_t count);
/* The same, and afterwards there is no more. */
bool tt_gets_only(struct lw_sub *sub, uint64_t first, uint64_t count);
/* Releases all that is there; returns how many. */
uint64_t tt_drain(struct lw_sub *sub);

/* ---- codes and texts --------------------------------------------------------------------------------------------- */

/* This code, and a text with all of these strings in it. */
#define assert_told(call, code, ...)                                                                                   \
    tt_assert_told((call), (code), #call, __FILE__, __LINE__, (const char *const[]){__VA_ARGS__, NULL})
void tt_assert_told(int64_t rc, int64_t code, const char *what, const char *file, int line, const char *const *parts);

/* Text with a number in it, for the above. One of eight buffers in turn. */
const char *tt_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* The path of a topic's lane file; returns `path`. */
enum { TT_PATH = 768 };
const char *tt_lane(char path[TT_PATH], const char *dir, const char *topic);

/* Reads or writes bytes of a file. */
void tt_peek(const char *path, int64_t at, void *data, size_t size);
void tt_poke(const char *path, int64_t at, const void *data, size_t size);
void tt_make_file(const char *path, int64_t size);
bool tt_exists(const char *path);
/* Files (of any kind but folders) below a folder. */
int tt_count_files(const char *dir);

/* Offsets in a lane file, as docs/spec/lane.md has them. */
enum {
    TT_LANE_VERSION = 8,
    TT_LANE_FINGERPRINT = 12,
    TT_LANE_BOOT = 512,
    TT_LANE_DIRTY = 528,
    TT_LANE_SUPERSEDED = 536
};

/* The bytes before the ring of a topic with 64 slots. */
enum { TT_LANE_HEAD = 24576 };

#endif

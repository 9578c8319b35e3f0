/* SPDX-License-Identifier: MIT */
/*
 * util/link_util.h - what the tests of links share: a party (a bus with a group), links opened and accepted in one
 * line, events awaited, messages that prove what they are, and the files.
 *
 * All names begin with tl_. What returns no code ends the process with status 99 when it fails, so it may be used in
 * children too.
 */
#ifndef LW_TESTS_LINK_UTIL_H
#define LW_TESTS_LINK_UTIL_H

#include <string.h>

#include "util/link_over.h"
#include "util/topic_util.h"

enum { TL_RING = 64 << 10 }; /* the smallest ring */

/* ---- parties ----------------------------------------------------------------------------------------------------- */

/* Who polls: a node with one group. */
struct tl_party {
    struct lw_bus *bus;
    struct lw_group *group;
};

/* `node` may be NULL. */
struct tl_party tl_party(const char *dir, const char *node);
void tl_leave(struct tl_party *party);

/* A client's link with rings of TL_RING bytes. `as` and `login` may be NULL. The second gives the code. */
struct lw_link *tl_open(const struct tl_party *party, const char *server, const char *as, const char *login);
int tl_try_open(struct lw_link **link, const struct tl_party *party, const char *server, const char *as);

struct lw_server *tl_server(const struct tl_party *party, const char *name);

/* The next login of the server is of `client`: waits for it (20 s). */
struct lw_login tl_login(const struct tl_party *party, struct lw_server *server, const char *client);
/* ... and lets it in, in the party's group, with an answer that says "welcome". */
struct lw_link *tl_accept(const struct tl_party *party, struct lw_server *server, const char *client);

/* A client that has come again to a link that is open is let in once more; returns when it is up. */
void tl_accept_again(const struct tl_party *party, struct lw_link *down);

/* A link between two parties of this process, up on both sides and told. */
struct tl_pair {
    struct tl_party client, server;
    struct lw_server *at;
    struct lw_link *up, *down; /* the client's end, the server's end */
};
struct tl_pair tl_pair(const char *dir);
void tl_pair_end(struct tl_pair *pair);
/* Removes the link of such a pair, with what is in it. Nobody has it open. */
void tl_remove(const char *dir);

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* The next event of the party is this one, of this handle (NULL: any). Waits 20 s. False: says what came instead. */
bool tl_is_told(const struct tl_party *party, enum lw_event_kind kind, const void *handle, struct lw_event *event);
#define tl_told(party, kind, handle) assert_true(tl_is_told((party), (kind), (handle), NULL))
/* Skips others until it comes. */
bool tl_await(const struct tl_party *party, enum lw_event_kind kind, const void *handle, struct lw_event *event);
/* Nothing is to be told, in several looks over `ns`. */
bool tl_quiet(const struct tl_party *party, int64_t ns);

/* ---- messages: tt_fill() of a number ----------------------------------------------------------------------------- */

int64_t tl_send(struct lw_link *link, uint64_t number, int64_t timeout);
void tl_send_many(struct lw_link *link, uint64_t first, uint64_t count);
/* Until it is full; the number of the first that found no room. */
uint64_t tl_send_all(struct lw_link *link, uint64_t first);
bool tl_gets(struct lw_link *link, uint64_t first, uint64_t count);
bool tl_gets_only(struct lw_link *link, uint64_t first, uint64_t count);

/* Some messages both ways, all of them: five from number `first` on. */
bool tl_talk(struct lw_link *up, struct lw_link *down, uint64_t first);

struct lw_link_info tl_stat(struct lw_link *link);

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* The directory of another host's bus. One of eight buffers in turn. */
const char *tl_far(const char *dir);

/* The path of a lane, `way` is "up" or "down"; returns `path`. */
const char *tl_lane(char path[TT_PATH], const char *dir, const char *server, const char *client, const char *way);
/* The client's, which over a socket are others. */
const char *tl_client_lane(char path[TT_PATH], const char *dir, const char *server, const char *client,
                           const char *way);

/* Of a lane file of a link (docs/spec/link.md, lane.md). */
enum { TL_SIDE = 1024, TL_TURN = 1024, TL_SLOT = 6144, TL_HEAD = 8192 };

#endif

/* SPDX-License-Identifier: MIT */
/*
 * pattern/link.h - what a link is made of: the writing end of one lane, the reading end of another, and what the two
 * sides say to each other (side.h).
 *
 *     links/SERVER/CLIENT/up.lane     written by the client, read by the server
 *     links/SERVER/CLIENT/down.lane   the other way round
 *
 * Each lane is made with its reader's durable place in slot 0, so nothing is lost before the reader has ever come. A
 * client takes `up`'s lock word first, and then its place in `down`; a server its place in `up`, and then `down`'s lock
 * word. So who removes a link holds `up` against both (link_admin.c).
 *
 * Whoever says something rings for the reader in slot 0 of the lane that it writes: that is the other side.
 */
#ifndef LW_PATTERN_LINK_H
#define LW_PATTERN_LINK_H

#include "bus/group.h"
#include "bus/watch.h"
#include "laneway/link.h"
#include "pattern/pub.h"
#include "pattern/side.h"
#include "pattern/sub.h"

/* The links of a server that are open in this process: shared by the server and by the threads that have the links. */
enum { LW__CLUB_SIZE = 4096 };
struct lw__club {
    pthread_mutex_t lock;
    uint64_t uses; /* under the lock */
    struct lw_link *links[LW__CLUB_SIZE];
};

/* Where its files are: the client's side of a link over TCP has a folder of its own, since both sides may be on one
 * bus. */
enum lw__link_root { LW__HERE, LW__ELSEWHERE };

struct lw__remote;

struct lw_link {
    struct lw__ends ends; /* first: laneway/fast.h works on it */
    struct lw__source source;
    struct lw__handle handle;
    struct lw_bus *bus;
    struct lw__club *club;     /* server's side; NULL: client's */
    struct lw__remote *remote; /* the other side is on another host; NULL: on this one */
    enum lw__link_root root;
    struct lw_link *next_member;
    struct lw_server *server; /* for lw_login; may be closed before us: never looked into */
    char server_name[LW_NAME_MAX + 1];
    char client_name[LW_NAME_MAX + 1];
    bool cut;
    bool paused; /* what comes is not told */
    enum lw_link_state state;
    unsigned untold; /* LW_LOGIN, LW_STUCK, LW_MOVING to be told: a bit for each */
    bool told_up;    /* what the user knows: that it is up, with whom ... */
    uint64_t told_peer;
    uint64_t told_accepts;
    uint64_t told_farewell; /* ... and which farewells and refusals */
    uint64_t told_refusal;
    uint64_t farewell;     /* client's side: how often the server had accepted when it said goodbye */
    int down_code;         /* of LW_DOWN */
    uint64_t session;      /* the client's login that this side made, or answered */
    uint64_t instance;     /* server's side: which start of it answered */
    uint64_t asked;        /* server's side: the login that was given last */
    uint64_t turn;         /* of the other side's saying, when it was looked at last */
    uint64_t peer;         /* process on the other side, as long as it is up */
    uint64_t peer_accepts; /* how often the server had accepted when we came up */
    int64_t stuck_after;
    int64_t stuck_since;
    uint64_t stuck_at; /* place of the other side's reader then */
    bool stuck;
    unsigned ticks;
    char *words; /* of lw_link_reason() and logins; NULL until one is asked for */
};

/* ---- link_file.c -------------------------------------------------------------------------------------------------- */

enum lw__direction { LW__UP, LW__DOWN };

extern const char *const lw__link_roots[2];

/* LW_ENAME with text. `client` may be NULL. */
int lw__link_names(const char *server, const char *client);
void lw__link_file(struct lw__file *file, struct lw_bus *bus, enum lw__link_root root, const char *server,
                   const char *client, enum lw__direction direction);
/* Makes what is not there. LW_ESHAPE, ..., with text. `ring` in bytes, 0: the default. */
int lw__link_make(struct lw_bus *bus, enum lw__link_root root, const char *server, const char *client,
                  const uint64_t ring[2]);
/* The same for one lane of it. */
struct lw__lane_shape lw__link_shape(uint64_t ring, enum lw__direction direction);
int lw__link_make_lane(struct lw__file *file, const struct lw__lane_shape *shape);

/* Who reads a link's lane: the slot of its durable place. */
static inline struct lw__slot *lw__link_slot(const struct lw__lane *lane) {
    return &lane->slots[0];
}
extern const char *const lw__link_readers[2]; /* names of the places: of `up`'s reader, of `down`'s */

/* ---- link.c -------------------------------------------------------------------------------------------------------- */

/* Opens both ends, for the client or the server. The bus is entered. LW_EHELD, -ENOENT (removed meanwhile), ... */
int lw__link_open_ends(struct lw_link *link, bool client);
void lw__link_close_ends(struct lw_link *link);

/* Sets up a link whose ends are open, and makes it a handle of the bus. The bus is entered. */
void lw__link_begin(struct lw_link *link, int64_t stuck_after);

static inline struct lw__side *lw__link_mine(const struct lw_link *link) {
    return lw__side_of(&link->ends.out->file.lane);
}
static inline struct lw__side *lw__link_theirs(const struct lw_link *link) {
    return lw__side_of(&link->ends.in->file.lane);
}

/* Says it, as this process, and rings for the other side. */
void lw__link_say(struct lw_link *link, enum lw__what what, int code, const void *words, size_t length);

/* Rings for the other side of a lane that this side writes. */
void lw__link_ring(struct lw_bus *bus, const struct lw__lane *out);

/* Looks at what the other side says, and whether it lives; notes what is to be told. */
void lw__link_review(struct lw_link *link);

/* Is a file of it not at its path any more? Cheap as long as nobody says so. */
bool lw__link_is_removed(struct lw_link *link);

/* Fills in what both sides say; `up` and `down` are their lanes. */
enum lw_link_state lw__link_state_of(struct lw_bus *bus, const struct lw__saying *client,
                                     const struct lw__saying *server);

/* The memory for words, LW_LOGIN_MAX + 8 bytes; NULL. */
char *lw__link_words(struct lw_link *link);

/* ---- server.c ------------------------------------------------------------------------------------------------------ */

void lw__club_leave(struct lw_link *link);

#endif

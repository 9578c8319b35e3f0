/* SPDX-License-Identifier: MIT */
/* pattern/server.h - what a server is made of: its name, held by one process, and the logins that it has not told yet. */
#ifndef LW_PATTERN_SERVER_H
#define LW_PATTERN_SERVER_H

#include "pattern/link.h"

struct lw__door;
struct lw__guest;

/* links/SERVER/.server: who is the server of this name. */
struct lw__server_page {
    char magic[8];
    uint32_t version;
    uint32_t unused;
    uint64_t owner;    /* taken by compare-and-swap of 0 or a dead owner's word; given back by the same */
    uint64_t instance; /* counts starts; by the owner, after it took the word */
};

/* Names of clients that touched their folder, in the order in which they came. A name that is there twice is looked at
 * twice. */
struct lw__names {
    char (*names)[LW_NAME_MAX + 1];
    size_t size;
    size_t first; /* those before are done with */
    size_t count;
};

enum { LW__TOLD = 512, LW__TOLD_ALIKE = 8 };

struct lw_server {
    struct lw__source source;
    struct lw__handle handle;
    struct lw_bus *bus;
    char name[LW_NAME_MAX + 1];
    bool cut;
    int64_t stuck_after;
    struct lw__server_page *page;
    uint64_t instance;
    struct lw__club *club;
    struct lw__door *door; /* where it listens; NULL: nowhere */
    struct lw__watch_folder folder;
    pthread_mutex_t lock; /* of the two below: whichever thread hears of a touch adds to them */
    struct lw__names touched;
    bool all_touched;
    uint64_t told[LW__TOLD][LW__TOLD_ALIKE]; /* hashes of the logins that were told, the last ones first */
    bool awaits;                             /* a link was held by another process: look again whether it still is */
    bool ready;                              /* `login` is to be told */
    struct lw_login login;
    uint64_t words[LW_LOGIN_MAX / 8 + 1];
};

/* ---- server.c ------------------------------------------------------------------------------------------------------ */

/* The link of this client that is open here; the club is locked. */
struct lw_link *lw__club_find(struct lw__club *club, const char *client);
/* Is there one? */
bool lw__club_has(struct lw__club *club, const char *client);
void lw__club_join(struct lw__club *club, struct lw_link *link);

/* ---- server_login.c ------------------------------------------------------------------------------------------------ */

/* Looks through some of what was touched for a login; true when there is one to be told. `more`: not all was looked at. */
bool lw__server_find(struct lw_server *server, bool *more);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * pattern/door.h - where a server listens: who connects, what they say, and who waits for an answer.
 *
 * A guest has a connection and a fixed amount of memory. It is silent until its HELLO is whole; the silent have one
 * deadline, and when there are too many, the oldest goes. Then it waits for what the application says to its login; or,
 * if its link is open already, the connection goes there at once. Nothing is made on disk before the application lets it in.
 *
 * Everything by the thread of the server's group.
 */
#ifndef LW_PATTERN_DOOR_H
#define LW_PATTERN_DOOR_H

#include "pattern/remote.h"
#include "pattern/server.h"

enum { LW__LISTENERS = 8, LW__GUESTS = 1024 };
#define LW__HELLO_WITHIN LW_SEC(3)

enum lw__guest_stage {
    LW__SILENT,   /* HELLO is not whole */
    LW__WAITING,  /* its login is to be told, or was */
    LW__SENT_AWAY /* refused: it stays connected, so that it does not come again at once */
};

struct lw__guest {
    struct lw__guest *next, *before; /* of all, the oldest first */
    struct lw__conn *conn;
    enum lw__guest_stage stage;
    bool told;
    int64_t since;
};

struct lw__listener {
    int fd;
    struct lw__address address;
};

struct lw__door {
    struct lw_server *server;
    int epoll;
    struct lw__listener listeners[LW__LISTENERS];
    int count;
    struct lw__guest *first, *last;
    uint32_t guests;
    uint32_t most;
    int64_t within;
    uint64_t ring_most;
    uint64_t features;
    bool untold; /* some guest waits whose login was not told */
    bool deaf;   /* nobody is let in until the next round: there is no descriptor for them */
};

/* Listens as the options say. LW_ENAME, -EADDRINUSE, ..., with text. */
int lw__door_open(struct lw__door **door, struct lw_server *server, const struct lw_server_options *options);
int lw__door_port(const struct lw__door *door);
void lw__door_close(struct lw__door *door);
void lw__door_cut(struct lw__door *door); /* in a forked child */

/* Lets in, reads, answers. Never waits. */
void lw__door_turn(struct lw__door *door);
/* Deadlines and beats. */
void lw__door_due(struct lw__door *door, int64_t now);

/* The next one whose login is to be told, or NULL. */
struct lw__guest *lw__door_next(struct lw__door *door);
/* Who said this login and is still there. */
struct lw__guest *lw__door_find(struct lw__door *door, const char *client, uint64_t session);
/* Who waits there under this name; NULL, also without a door. */
struct lw__guest *lw__door_awaits(const struct lw__door *door, const char *client);
/* Its connection, which is the caller's from now on; the guest is gone. */
struct lw__conn *lw__door_take(struct lw__door *door, struct lw__guest *guest);
/* Its link was closed here since it logged in, while it could not be told, by `said`. */
void lw__door_tell_again(struct lw__guest *guest, const struct lw__saying *said, const void *words);
/* `what`: LW__SAYS_REFUSED by the application, else the library's. */
void lw__door_refuse(struct lw__door *door, struct lw__guest *guest, enum lw__what what, int code, const char *words);

#endif

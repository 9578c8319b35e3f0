/* SPDX-License-Identifier: MIT */
/*
 * pattern/remote.h - a link whose other side is on another host.
 *
 *     client's bus                                           server's bus
 *     remote/SERVER/CLIENT/up.lane     --- the pump --->     links/SERVER/CLIENT/up.lane      (mirror)
 *     remote/SERVER/CLIENT/down.lane   <--- the pump ---     links/SERVER/CLIENT/down.lane
 *     (mirror)
 *
 * Each side has the two ends that a link has in shared memory, and beside them what stands for the other side: the
 * writer of the mirror that this side reads (`mirror`), and the reader's place in the lane that it writes (`far`). The pump
 * moves both: chunks that come are published by `mirror`, acknowledgements move `far`. So all that a link does works on
 * files as ever; what was sent is in the lane until the other host said that it is consumed, and what arrived is in the
 * mirror, whatever dies.
 *
 * What a side says (side.h) goes over the connection as well: it is written into the page of the mirror, as if the other side
 * had done it.
 *
 * The client connects, the server's door (door.h) lets in. Everything here runs in the thread that polls the link's
 * group; the door hands a connection over under the club's lock.
 */
#ifndef LW_PATTERN_REMOTE_H
#define LW_PATTERN_REMOTE_H

#include "net/conn.h"
#include "pattern/link.h"

enum { LW__UP_ID, LW__DOWN_ID, LW__REMOTE_LANES };

#define LW__BEAT LW_SEC(2)      /* something is said at least so often ... */
enum { LW__SILENT_BEATS = 4 };  /* ... and who says nothing for so many of them is gone */
#define LW__ACK_AFTER LW_MS(20) /* what is owed goes alone after so long. (A shorter sleep costs who sleeps some us) */
#define LW__SEND_AFTER LW_MS(1) /* what was held back goes after so long at the latest, if the thread waits at all */
#define LW__RETRY_FIRST LW_MS(20) /* pauses between tries to connect, twice as long each time, up to ... */
#define LW__RETRY_MOST LW_SEC(5)
#define LW__CONNECT_WITHIN LW_SEC(5)
#define LW__RING_MOST (UINT64_C(64) << 20) /* bytes that another host may have us take for a ring unasked */

/* What stands in the way of being up, and who is told. */
struct lw__trouble {
    int code;
    char words[LW__WHY + 160];
};

struct lw__remote {
    struct lw_link *link;
    struct lw_pub *mirror;    /* writes the lane that comes */
    struct lw_sub *far;       /* the other side's place in the lane that goes */
    struct lw__conn *conn;    /* NULL: none */
    struct lw__conn *arrival; /* server: one that the door handed over; under the club's lock */
    struct lw__wire_lane lanes[LW__REMOTE_LANES];
    struct lw__wire_lane_state offered; /* by the other side, of the lane that comes */
    uint16_t out, in;                   /* ids of the lanes that go and come */
    bool greeted;                       /* server: HELLO has come, and waits for an answer */
    bool up;                            /* both have greeted ... */
    bool met;                           /* ... and agreed on where to go on, one way at least */
    bool draining;                      /* the mirror's messages belong to an earlier log of the other side */
    bool fresh;                         /* server: the mirror was lost and made anew for this client */
    bool refused;                       /* client: by the application there: the connection stays until it closes it */
    bool ack_due;
    uint64_t flushed; /* when, in cycles */
    uint64_t emptied; /* when the socket was empty last, in cycles */
    uint64_t said;    /* turn of our page that the other side has */
    uint64_t told_to; /* consumed, as the window was moved last */
    uint64_t window;
    uint64_t full_at, full_window; /* nothing more fitted there */
    uint64_t epoch;                /* of the client's connection */
    unsigned char peer[16];        /* server: the client's log, which is who it is */
    uint64_t features;
    uint64_t reads, went; /* of the connection, at the last beat */
    int64_t met_at;       /* when; and what had arrived then, of both lanes */
    uint64_t met_out, met_in;
    uint64_t ring_most; /* client: bytes that a server may have here unasked */
    unsigned silent;
    int64_t beat_at, ack_at, send_at, retry_at, give_up_at; /* INT64_MAX: never */
    int64_t full_pause;                                     /* before one that is stopped tries again */
    int64_t patience;                                       /* ns of silence */
    /* client */
    struct lw__address address;
    int64_t pause;
    int64_t retry_most;
    unsigned tries;
    uint64_t random;
    /* for people */
    uint64_t connections;
    struct lw__trouble trouble;
    unsigned renewed; /* LW_RENEWED is to be told: a bit for each enum lw_renewed, told one by one */
};

/* ---- remote.c: what goes over the connection ----------------------------------------------------------------------- */

/* Gives a link whose ends are open its other half. The bus is entered. -errno, LW_E..., with text; then nothing is open. */
int lw__remote_attach(struct lw_link *link);
/* The bus is entered; the ends are closed after it. */
void lw__remote_detach(struct lw_link *link);
void lw__remote_cut(struct lw_link *link); /* in a forked child */

/* Reads, answers, sends. True: something has changed that is not in the rings. */
bool lw__remote_drive(struct lw__remote *remote);
/* Nothing comes for now, and nobody looks: what is owed goes soon. */
void lw__remote_rest(struct lw__remote *remote);
/* Sends what is in the lane. */
void lw__remote_flush(struct lw__remote *remote);
/* A message was just sent. */
void lw__remote_sent(struct lw__source *source);
/* A message was just released. */
void lw__remote_released(struct lw__source *source);
/* Beats, acknowledgements, connecting. */
void lw__remote_due(struct lw__remote *remote, int64_t now);
/* The last words, as far as they go at once. */
void lw__remote_farewell(struct lw__remote *remote);

/* Ends the connection, with what is to be known about it. */
void lw__remote_lose(struct lw__remote *remote, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what only people can put right: told as LW_DOWN even if it never was up. */
void lw__remote_fail(struct lw__remote *remote, int code, const char *words);
void lw__remote_schedule(struct lw__remote *remote);

/* ---- remote_meet.c: greetings, and what the two sides have ---------------------------------------------------------- */

bool lw__remote_hello(struct lw__remote *remote);
/* Server: says WELCOME or REFUSE if the application has decided. */
void lw__remote_answer(struct lw__remote *remote);
void lw__remote_on_greeting(struct lw__remote *remote);
void lw__remote_on_refused(struct lw__remote *remote);
void lw__remote_on_lane(struct lw__remote *remote, const struct lw__wire_lane_state *take);
void lw__remote_on_said(struct lw__remote *remote, const struct lw__words *words);
/* The reader has come to the end of the earlier log. */
void lw__remote_drained(struct lw__remote *remote);
void lw__remote_say(struct lw__remote *remote);
/* What the other side says, into the mirror's page. */
void lw__remote_hear(struct lw__remote *remote, enum lw__what what, uint64_t session, uint64_t accepted, int code,
                     const void *words, size_t length);

/* ---- remote_file.c: the mirror's file ------------------------------------------------------------------------------- */

/* Server: makes what is not there for a client that says hello: a mirror of what it offers, and a lane for what it takes.
 * LW_EHELD: the name is a local client's. 1: there was a mirror once, and it is lost. */
int lw__remote_make(struct lw_bus *bus, const char *server, const struct lw__greeting *hello);
/* Puts a mirror of what is offered into the place of the one that there is, and opens it. */
int lw__remote_renew(struct lw__remote *remote, const struct lw__wire_lane_state *offer);
void lw__remote_offer(const struct lw__remote *remote, struct lw__wire_lane_state *state);
void lw__remote_take(const struct lw__remote *remote, struct lw__wire_lane_state *state);

/* ---- remote_client.c ------------------------------------------------------------------------------------------------ */

/* Reads the address and the options. With text. */
int lw__remote_prepare(struct lw_link *link, const char *address, const struct lw_link_options *options);

void lw__remote_connect(struct lw__remote *remote, int64_t now);
void lw__remote_retry(struct lw__remote *remote);

/* ---- remote_server.c: the link's side of the door -------------------------------------------------------------------- */

/* By the door's thread, under the club's lock: the link is open here, and its client is at the door. */
void lw__remote_hand_over(struct lw__remote *remote, struct lw__conn *conn);
/* By the link's thread. */
void lw__remote_arrive(struct lw__remote *remote);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * chaos/links.h - pairs of a client and a server, over shared memory and over TCP, that send in both directions as fast as they
 * can, while they are killed, stopped and started anew, and what is between them is cut.
 *
 *     link.c           the life of either side
 *     link_way.c       one direction: what is in a message, and what may come next
 *     cutter.c         the life of a proxy that cuts, chops, delays and refuses
 *     link_herd.c      what is done to them
 *     link_verdict.c   the end: is everything there, and is everything tidy
 *     witness.c        those that live from the start to the end: what they use then and now
 *
 * Servers are on the bus of the topic, and so are clients over shared memory; clients over TCP have a bus of their own. The
 * checker of a direction is whoever receives, with what lies outside of the library: the sender notes what it is about to send,
 * and then what is sent; the receiver, when it has looked at a message, notes that it is about to release up to there, and
 * then that it did. After its death the next one must begin at one of these two numbers, and go on one by one.
 */
#ifndef CHAOS_LINKS_H
#define CHAOS_LINKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "laneway/laneway.h"

enum {
    PAIRS_MAX = 16,
    LINK_RING = 128 << 10,
    LINK_MOST = 24 << 10, /* bytes of one message */
    WITNESSES_MAX = 4
};

/* ---- link_way.c -------------------------------------------------------------------------------------------------- */

/* One direction. All before `sent` are sent; those up to `tried` perhaps. The same for `released` and `releasing`. */
struct way {
    uint64_t salt;                             /* two directions have different bytes */
    _Alignas(64) _Atomic uint64_t tried, sent; /* by the sender */
    _Atomic bool quiet;                        /* no more comes */
    _Atomic bool settled;                      /* the sender knows that all is released */
    _Alignas(64) _Atomic uint64_t releasing;   /* by the receiver */
    _Atomic uint64_t released;
    _Atomic uint64_t seen;  /* the number after the highest that ever came */
    _Atomic uint64_t again; /* came again, and were not released */
    _Atomic uint64_t lost, repeated, reordered, corrupt;
};

/* What message `number` is. */
size_t way_size(const struct way *way, uint64_t number);
uint16_t way_type(const struct way *way, uint64_t number);
void way_fill(const struct way *way, uint64_t number, void *to, size_t len);

/* A new process of the sender, or of the receiver, finds that it is here. False: it can't be. */
bool way_sender_at(struct way *way, uint64_t sent);
bool way_receiver_at(struct way *way, uint64_t released);

/* A message came where `expected` should. False: something is wrong, and counted. */
bool way_take(struct way *way, const struct lw_msg *msg, uint64_t expected);
bool way_is_complete(const struct way *way);

/* ---- who takes part ---------------------------------------------------------------------------------------------- */

enum { UP, DOWN };

struct pair {
    bool tcp;
    struct way way[2];
    _Atomic int server_port, proxy_port; /* 0: not known yet, or any more */
};

/* What the herd wants done, in the midst of what comes next: by who reads it. */
enum order { NO_ORDER, DIE, STOP, LEAVE, CUT };

/* What a process uses. */
struct usage {
    int descriptors, maps;
    int64_t bytes; /* of memory that is its own */
};

/* One that is not killed. */
struct witness {
    uint32_t actor;
    int pid;
    uint32_t looks;
    bool ended;              /* the last quarter has begun */
    struct usage start, end; /* the most of the first quarter of the run, the least of the last */
};

struct ledger;
struct self;
struct herd;

bool pair_is_complete(const struct pair *pair);

/* The address of a server over TCP, without its port: nobody else has it. */
void pair_host(const struct ledger *ledger, uint32_t pair, char *text, size_t room);

void client_live(struct self *self);
void server_live(struct self *self);
void cutter_live(struct self *self);

void links_cast(struct ledger *ledger); /* behind the others */
void links_hurt(struct herd *herd);     /* one of them, or all of a pair */
void links_buried(struct ledger *ledger, uint32_t i);
void links_report(const struct herd *herd, const char *when);
void links_verdict(struct ledger *ledger);

/* Is this one never to be killed? */
bool is_witness(const struct ledger *ledger, uint32_t i);
/* `part`: of the run, 0 to 1. */
void witnesses_look(struct herd *herd, double part);
void witnesses_verdict(struct ledger *ledger);

#endif

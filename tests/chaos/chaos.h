/* SPDX-License-Identifier: MIT */
/*
 * chaos/chaos.h - many processes on one shared topic, killed and stopped at random, and a checker outside of it.
 *
 *     main.c      options, phases, the summary
 *     herd.c      starts, kills, stops and reaps; sees who hangs
 *     writer.c, reader.c, looker.c      what the processes do; they may die at any instruction
 *     self.c      what each of them needs
 *     message.c   what is in a message: everything follows from who sent it and how many were before
 *     track.c     the order: what may come next
 *     ledger.c    what outlives the processes; it lies outside the bus
 *     verdict.c   the end: is everything there, and is everything tidy
 *     links.h     the same for links, beside the topic
 *
 * A writer's life notes in the ledger what it is about to send, and then that it is sent. So of a dead life all but the
 * last operation is decided; that one is there as a whole, or not at all. A durable reader notes in the same way what it
 * is about to release: the next of its name must begin at one of the two places. Only the public headers are used.
 */
#ifndef CHAOS_CHAOS_H
#define CHAOS_CHAOS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chaos/links.h"
#include "laneway/laneway.h"

#define TOPIC "chaos"

enum {
    WRITERS_MAX = 32,
    READERS_MAX = 32,
    ACTORS_MAX = WRITERS_MAX + READERS_MAX + 1 + 3 * PAIRS_MAX,
    LIVES_MAX = 1 << 20, /* a message has room for that */
    BATCH_MAX = 200,
    PATH_LONG = 512,
    TEXT_LONG = 512,
    COMPLAINTS_MAX = 16,
    NOBODY = -1,
    NUMBERS = 1 << 20 /* so many messages are remembered; the ring holds fewer */
};

/* ---- message.c --------------------------------------------------------------------------------------------------- */

/* Who sent a message, and what comes before and after it. */
struct origin {
    uint32_t writer;
    uint32_t life;
    uint32_t seq;  /* counts this life's messages */
    uint32_t rest; /* so many more follow in the same batch */
};

void message_fill(void *data, size_t len, const struct origin *origin);
uint16_t message_type(const struct origin *origin);

/* Reads who sent it, and compares every byte with what that one sends. */
bool message_check(const struct lw_msg *msg, struct origin *origin);

/* A fingerprint of message and place: equal for everybody who sees it. */
uint64_t message_hash(uint64_t position, size_t len, uint16_t type, uint64_t first_word);
uint64_t message_word(const struct lw_msg *msg);

/* ---- track.c ----------------------------------------------------------------------------------------------------- */

struct seen {
    uint32_t life;
    uint32_t next; /* of that life */
};

enum { NOT_IN_BATCH = 0, PERHAPS_IN_BATCH = -1 };

/* How far somebody has read. Plain data: it is copied as a whole. */
struct track {
    uint64_t number;   /* of the next message */
    uint64_t position; /* where it begins, if `placed` */
    uint32_t placed;
    uint32_t loose; /* a bit for each writer of whom messages may have been passed */
    int32_t batch;  /* the batch in the midst of which we are: writer << 8 | rest */
    struct seen seen[WRITERS_MAX];
};

enum verdict { FINE, LOST, REPEATED, REORDERED, TORN_BATCH, WRONG_NUMBER, WRONG_POSITION };

/* A message as far as order matters. */
struct note {
    uint64_t number, position, next;
    struct origin origin;
};

/* What was passed at the last LOST, to tell what was lost from what only came late. */
struct hole {
    uint32_t writer, life, from, to;
};

struct ledger;
enum verdict track_take(struct track *track, const struct note *note, const struct ledger *ledger, struct hole *hole);

/* Goes on elsewhere: what lies between is passed. */
void track_pass(struct track *track, uint64_t number, uint64_t position);
bool track_complete(const struct track *track, uint32_t writer, const struct ledger *ledger);

/* ---- ledger.c ---------------------------------------------------------------------------------------------------- */

/* Messages of one life of a writer. All before `sent` were accepted; between it and `about` lies the operation that was
 * in flight. By the writer: `about` first. */
struct life {
    _Atomic uint32_t sent;
    _Atomic uint32_t about;
};

/* A durable name. All before at[done] was released; if `about` differs, the release up to at[about] was in flight. By the
 * reader: the track, `about`, the release, `done`. */
struct durable {
    struct track at[2];
    _Atomic uint32_t about;
    _Atomic uint32_t done;
    _Atomic uint64_t floor;   /* readers that may be evicted: no loss before here is told any more */
    _Atomic uint64_t told;    /* of all before here: released, or told as lost; by who heard it, before the next call */
    _Atomic uint64_t drained; /* 1 + the number it stood at when nothing was left */
};

enum role { WRITER, READER, LOOKER, CLIENT, SERVER, CUTTER };
enum kind { DURABLE, RELIABLE, LAGGING, LOSSY };

/* What a process says of itself, for who looks from outside. Adds up over its lives. */
struct actor {
    enum role role;
    uint32_t index;
    enum kind kind;
    _Atomic uint64_t beats;
    _Atomic uint64_t messages, bytes;
    _Atomic uint64_t refused;
    _Atomic uint64_t gaps, evictions, told;
    _Atomic uint64_t held; /* names that a dead one seemed to have still */
    _Atomic uint64_t ups, cuts;
    _Atomic int order; /* enum order, of links: by the herd, and taken by the process */
    _Atomic(const char *) doing;
    char text[TEXT_LONG]; /* of the last refusal */
};

enum stage { RUN, FINISH, DRAIN };

struct ledger {
    /* set before anybody starts */
    uint64_t seed;
    uint32_t writers, readers, actors;
    uint32_t links, tcp, first_link; /* pairs over memory, and behind them those over TCP; the first actor of these */
    uint64_t ring;
    int pid;                             /* of the parent */
    char dir[PATH_LONG], far[PATH_LONG]; /* the bus, and that of clients over TCP */
    /* commands */
    _Atomic int stage;
    _Atomic int alone; /* this writer only; or NOBODY */
    /* what was found */
    _Atomic uint32_t complaints;
    _Atomic uint64_t lost, repeated, reordered;
    char complaint[COMPLAINTS_MAX][TEXT_LONG];
    struct actor actor[ACTORS_MAX];
    struct durable durable[READERS_MAX];
    struct pair pair[PAIRS_MAX];
    uint32_t witnesses;
    struct witness witness[WITNESSES_MAX];
    _Atomic uint64_t number[NUMBERS]; /* of message n at n mod NUMBERS: {lap 24, hash 40} */
    struct life life[WRITERS_MAX][LIVES_MAX];
};

struct ledger *ledger_make(void);

static inline void count(_Atomic uint64_t *counter, uint64_t by) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static inline void say(struct actor *actor, const char *doing) {
    atomic_store_explicit(&actor->doing, doing, memory_order_relaxed);
    count(&actor->beats, 1);
}

/* Message `number` has this hash, for the first one who says so. False: somebody saw another message there. */
bool ledger_agree(struct ledger *ledger, uint64_t number, uint64_t hash);

/* Something is wrong. */
__attribute__((format(printf, 2, 3))) void complain(struct ledger *ledger, const char *format, ...);

/* The same, by a process that then ends. `rc` is what a call of the library gave. */
__attribute__((noreturn)) void complain_call(struct ledger *ledger, const struct actor *actor, const char *call,
                                             int64_t rc);

/* ---- random numbers: from the seed, the process and its life ----------------------------------------------------- */

struct dice {
    uint64_t state;
};

static inline uint64_t dice_mix(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 to n - 1. */
static inline uint32_t dice(struct dice *d, uint32_t n) {
    return (uint32_t)((dice_mix(d->state += UINT64_C(0x9e3779b97f4a7c15)) >> 32) * n >> 32);
}

static inline uint32_t dice_between(struct dice *d, uint32_t least, uint32_t most) {
    return least + dice(d, most - least + 1);
}

/* ---- the processes ----------------------------------------------------------------------------------------------- */

/* A life: what it needs, and who it is. */
struct self {
    struct ledger *ledger;
    struct actor *actor;
    struct lw_bus *bus;
    uint32_t life;
    struct dice dice;
};

enum { COMPLAINED = 3 }; /* exit status */

/* They end by themselves now and then, with an orderly close. */
void writer_live(struct self *self);
void reader_live(struct self *self);
void looker_live(struct self *self);

void reader_name(char name[LW_NAME_MAX + 1], uint32_t index);
void self_open(struct self *self, unsigned flags); /* opens the bus, under one of this actor's names or a pooled one */
void self_close(struct self *self);

/* A name of a dead process may look held for a moment, while somebody starts or cleans its node. True: try again; the
 * call has to work within seconds. */
bool self_again(struct self *self, int rc, int64_t *until);

/* A signal that comes after so many nanoseconds, wherever this process is then. A kill from the outside finds most
 * processes waiting; this one finds them in the midst of what they began right after. */
void self_ambush(struct self *self, int signal, int64_t ns);
void nap(int64_t ns);
int64_t now(void);

/* ---- herd.c: from the outside ------------------------------------------------------------------------------------ */

struct herd {
    struct ledger *ledger;
    struct dice dice;
    uint64_t kills, stops;
    struct animal {
        int pid; /* 0: none */
        uint32_t lives;
        uint64_t kills, stops;
        int64_t stopped_until;
        int64_t start_at; /* when there is none */
        uint64_t beats;
        int64_t moved; /* when `beats` was last seen to change */
    } animal[ACTORS_MAX];
    uint64_t messages; /* of all, and when that last changed */
    int64_t moved;
};

void herd_start(struct herd *herd, uint32_t i);
void herd_kill(struct herd *herd, uint32_t i);
/* The same without waiting for its end: where inotify was used the kernel takes up to seconds for that on a busy machine. */
void herd_strike(struct herd *herd, uint32_t i);
void herd_stop(struct herd *herd, uint32_t i, int64_t ns);
void herd_go_on(struct herd *herd, uint32_t i);

/* Reaps, starts anew whoever is due, lets the stopped go on, looks who hangs. False: something is wrong. */
bool herd_look(struct herd *herd);

/* Hurts nobody until everybody got something done: one that hangs would else be killed before it is noticed. */
bool herd_calm(struct herd *herd);
bool herd_is_over(const struct herd *herd); /* nobody lives, and nobody needs to */
void herd_end(struct herd *herd);           /* kills all */
void herd_describe(const struct herd *herd);

/* ---- verdict.c --------------------------------------------------------------------------------------------------- */

void verdict_prepare(struct ledger *ledger); /* before the start: the topic, and the durable names */
void verdict_end(struct ledger *ledger);     /* after everybody is gone */

#endif

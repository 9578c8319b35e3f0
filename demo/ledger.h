/* SPDX-License-Identifier: MIT */
/*
 * demo/ledger.h - what the demo's processes note down for the checker, in memory that outlives them.
 *
 * The mapping is shared and anonymous, so a SIGKILL leaves it as it was and nothing stays when the demo ends. Each word
 * has one writer. A note is made before a call (what is tried) and after it returned (what is done), so whatever the
 * moment of a kill, the checker knows what has happened for sure and what may have happened:
 *
 *     publisher    sent <= numbers that the topic holds, which is exactly `sent` or exactly `tried`
 *     subscriber   below `released`: release had returned. It must never come again
 *                  from `released` to `releasing`: a release was under way; it may have been done or not
 *
 * One thing can't be known: a kill between the return of a call and its note. Then the checker takes the call for one
 * that was under way, and claims nothing.
 */
#ifndef DEMO_LEDGER_H
#define DEMO_LEDGER_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LOG_ENTRIES = 1 << 16, TROUBLE = 256 };

/* One delivery, noted before it is released. */
struct delivery {
    uint64_t number;
    uint64_t sum;      /* of its bytes */
    uint64_t released; /* as it was then */
    uint32_t len;
    uint16_t type;
    uint16_t life; /* the how many-th process of this subscriber it was */
};

/* One part of the demo: the publisher or a subscriber, however many processes it took. */
struct notes {
    _Alignas(128) uint64_t ready; /* the life that has its topic open */
    uint64_t ready_ns;            /* since when */
    char trouble[TROUBLE];        /* why it gave up */

    /* a publisher's */
    _Alignas(128) uint64_t tried; /* messages, with those of the call that is under way */
    uint64_t sent;                /* messages, of the calls that have returned */
    uint64_t resumed;             /* the number that this life began with, as the topic told it */

    /* a subscriber's */
    _Alignas(128) uint64_t releasing;
    uint64_t released;
    uint64_t written;               /* deliveries logged */
    _Alignas(128) uint64_t checked; /* and looked at: by the checker */
    struct delivery log[LOG_ENTRIES];
};

struct ledger {
    _Alignas(128) uint64_t gate; /* the publisher stops before this number: written by the parent */
    struct notes publisher, archive, late;
};

/* Of the act with links. A client is a publisher of requests and a subscriber of answers; the server is a subscriber of
 * each client's requests. */
enum { CLIENTS = 4 };

struct link_ledger {
    _Alignas(128) uint64_t gates[CLIENTS]; /* a client stops before this number: written by the parent */
    _Alignas(128) uint64_t mean;           /* how far the clients have come, on average: likewise */
    struct notes server;
    struct notes requests[CLIENTS]; /* by the server */
    struct notes clients[CLIENTS];
};

/* ---- small things that all have use for --------------------------------------------------------------------------- */

static inline uint64_t note_get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void note_set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline void nap(uint64_t ns) {
    struct timespec time = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&time, NULL);
}

/* A child that can't go on says why, and ends. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void give_up(struct notes *notes, const char *format,
                                                                           ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(notes->trouble, sizeof notes->trouble, format, args);
    va_end(args);
    _exit(1);
}

/* The random numbers of the demo: a function of what goes in, so that a seed plays the same again. */
static inline uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * bench/ends.h - links between the two sides of a measurement: side 0 has the clients' ends, side 1 is the server. Each
 * side has its ends in a group of their own; `user` of a link's events is its number.
 *
 * What goes over TCP is moved by who polls: a side that is through with its part meets the other one by ends_meet().
 */
#ifndef BENCH_ENDS_H
#define BENCH_ENDS_H

#include "duo.h"

struct ends {
    struct lw_group *group;
    struct lw_server *server; /* of side 1 */
    struct lw_link **links;   /* by number, the same on both sides */
    uint64_t count;
    bool tcp;
};

/* Opens `count` links to a server of this run, with rings of options->ring bytes. Both sides call it; afterwards all
 * are up, on both. `spin` as in lw_group_options. */
void ends_open(struct duo *duo, struct ends *ends, const char *server, uint64_t count, int64_t spin);

/* The same over TCP, by loopback; without checksums if options->no_crc. Raises the limit of descriptors if need be. */
void ends_open_tcp(struct duo *duo, struct ends *ends, const char *server, uint64_t count, int64_t spin);

/* Ends the run when there is no room on the bus for options->links links of so many files' pairs each: one in shared
 * memory, two over TCP. */
void ends_check_space(struct duo *duo, uint64_t pairs);

void ends_close(struct duo *duo, struct ends *ends);

/* Polls once, without waiting. */
void ends_look(struct duo *duo, struct ends *ends);

/* As duo_meet(), and polls meanwhile. */
void ends_meet(struct duo *duo, struct ends *ends);

/* Polls until a link can be read, and returns its number. */
uint64_t ends_wait(struct duo *duo, struct ends *ends);

/* Ends the run when `position`, of a send, is an error. */
static inline void ends_sent(struct duo *duo, int64_t position) {
    if (__builtin_expect(position < 0, 0)) duo_fail(duo, "send: %s", lw_strerror((int)position));
}

struct lw_group_stats ends_stats(const struct ends *ends);

#endif

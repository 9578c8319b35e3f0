/* SPDX-License-Identifier: MIT */
/*
 * pattern/side.h - what one side of a link says to the other, beside its messages: its login, its answer, its farewell.
 *
 * It stands in page 0 of the lane that this side writes, at 1024, and is written by the holder of that lane's lock word
 * alone. `turn` is odd while it is being written, so who reads it knows whether it has all of one saying. A death in the
 * midst leaves it odd: nothing is said, until the next one of this side says something.
 *
 *     1024  turn     1032  owner   1040  session   1048  what      1056  accepted   1064  code
 *     1072  length   1080  instance                              1088  words (1,024 bytes)   2112  connections
 *     2120  reached  2128  address (256 bytes)
 */
#ifndef LW_PATTERN_SIDE_H
#define LW_PATTERN_SIDE_H

#include <stdbool.h>

#include "lane/lane.h"
#include "laneway/link.h"

enum lw__what {
    LW__SAYS_NOTHING,
    LW__SAYS_LOGIN,    /* client: here I am; words: its login */
    LW__SAYS_ACCEPTED, /* server: to the login `session`; words: its answer */
    LW__SAYS_REFUSED,  /* server: likewise; words: why */
    LW__SAYS_CLOSED    /* either: closed, with code; words: the reason */
};

struct lw__side {
    uint64_t turn;
    uint64_t owner;    /* process that said it, as an owner word */
    uint64_t session;  /* client: counts its logins. Server: the login that it answers */
    uint64_t what;     /* enum lw__what */
    uint64_t accepted; /* server: logins ever accepted on this link */
    uint64_t code;     /* of a farewell */
    uint64_t length;   /* of the words, in bytes */
    uint64_t instance; /* server: which start of it */
    uint64_t words[LW_LOGIN_MAX / 8];
    uint64_t connections; /* of a link over TCP, client: how often it connected. No part of a saying: added to by the
                             holder of the lane's lock word, so it only grows */
    /* Of a link over TCP, for who lists links. No part of a saying, by the same holder. */
    uint64_t reached; /* process that is connected with the other side, as an owner word; 0: none is. Release; a death
                         leaves a word that is closed, and so counts as 0 */
    uint64_t address[LW_ADDRESS_MAX / 8]; /* where the other side is, or was last; text with its NUL. May be torn */
};
_Static_assert(LW__SIDE_AT + sizeof(struct lw__side) <= LW__PAGE, "side fits in page 0");

/* A copy, bounded. */
struct lw__saying {
    uint64_t turn;
    uint64_t owner;
    uint64_t session;
    enum lw__what what;
    uint64_t accepted;
    int code;
    size_t length;
    uint64_t instance;
};

static inline struct lw__side *lw__side_of(const struct lw__lane *lane) {
    return (struct lw__side *)(void *)(lane->base + LW__SIDE_AT);
}

/* All of one saying; `words` (LW_LOGIN_MAX + 1 bytes, 8-byte aligned, NUL-ended) may be NULL. False: it is being written. */
bool lw__side_read(const struct lw__side *side, struct lw__saying *saying, void *words);

/* Says it. By the holder of the lane's lock word. */
void lw__side_write(struct lw__side *side, const struct lw__saying *saying, const void *words);

/* The same one: where the other side is (NULL: as it was), and whether it is reached (0: not). */
void lw__side_reach(struct lw__side *side, uint64_t owner, const char *address);
void lw__side_address(const struct lw__side *side, char address[LW_ADDRESS_MAX]);

/* Pairs with lw__side_write(). */
static inline uint64_t lw__side_turn(const struct lw__side *side) {
    return lw__load_acquire(&side->turn);
}

#endif

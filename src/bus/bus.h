/* SPDX-License-Identifier: MIT */
/*
 * bus/bus.h - what a bus handle is made of, for the layers above: the directory, the node table, and owners.
 *
 *     <bus>/bus             head page, then the node table (a row is a node id)
 *     <bus>/nodes/<name>    byte 0 is locked while the node lives; text inside says pid, boot id
 *     <bus>/bells/...       how sleeping groups are woken (bell.h)
 *     <bus>/topics/...      the lanes of topics, <bus>/links/... those of links (src/pattern)
 *
 * Bytes of the bus file. All words are little-endian; the table grows, nothing in it ever moves.
 *
 *     head (4096 B)  0  magic   8 version  12 fingerprint  16 boot id (16)  32 rows that have real space   36 ...
 *     row (128 B)    0  epoch   8 name (64, NUL-ended; written before the epoch first becomes non-zero)
 *
 * Locks: byte 0 of the bus file while the table gets a row, byte 0 of a node file for life. Inside a process: the list
 * of all buses (fork.c), then a bus's own.
 */
#ifndef LW_BUS_BUS_H
#define LW_BUS_BUS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/file.h"
#include "laneway/bus.h"

/* An owner word says who holds something: {epoch 32, node 16, user bits 16}. 0 is nobody. Node 0 is never a process, so
 * an owner word of node 0 counts as closed. The user bits belong to whoever keeps the word. */
static inline uint64_t lw__owner_word(uint32_t epoch, uint16_t node) {
    return (uint64_t)epoch << 32 | (uint64_t)node << 16;
}
static inline uint16_t lw__owner_node(uint64_t owner) {
    return (uint16_t)(owner >> 16);
}
static inline uint32_t lw__owner_epoch(uint64_t owner) {
    return (uint32_t)(owner >> 32);
}

struct lw__node_row {
    uint64_t epoch; /* 32 bits used. Written by fetch-add of a starter, compare-and-swap of a closer; read by all with
                       acquire. Its writer dying leaves the old or the new value, both true */
    char name[LW_NAME_MAX + 1];
    char room[56];
};

/* Something open on a bus: linked so that fork() can cut it off and lw_bus_close() can refuse. */
struct lw__handle {
    struct lw__handle *next, *before;
    void (*cut)(struct lw__handle *
                    handle); /* in a forked child: close descriptors, make every later call fail; no locks, no malloc */
};

/* A bell of another that is open here (bell.c). */
struct lw__bell_page;
struct lw__bell_peer {
    uint64_t owner; /* 0: free */
    uint32_t number;
    uint32_t words;
    struct lw__bell_page *page;
    int fifo;
    uint64_t used; /* when, by count */
};
enum { LW__BELLS_OPEN = 32 };

/* Who waits to hear of deaths, and of folders in which something changes (watch.c). */
struct lw_group;
struct lw__watch_folder;
enum { LW__SUSPECTS = 1024 };
struct lw__suspect {
    int64_t next; /* when to look at its lock again, on the monotonic clock */
    uint32_t id;  /* row of the node table; 0: all of them */
    uint32_t looks;
};
struct lw__watch {
    pthread_mutex_t lock; /* all of this; taken after the bus's own, before bells_lock */
    int fd;               /* inotify; -1: there is none to be had, look by timer */
    int nodes;            /* watch of the nodes' folder */
    bool started;
    uint64_t deaths;  /* epochs that we closed, or saw closed, by a change here; atomic, read without the lock */
    uint64_t touches; /* the same for folders */
    int64_t next;     /* when to look at the suspects; atomic; INT64_MAX: there are none */
    uint32_t suspects_count;
    uint32_t last_row; /* that a name was found in: mostly the next one is near */
    struct lw__suspect suspects[LW__SUSPECTS];
    struct lw__watch_folder *folders;
    struct lw_group *groups;
};

struct lw_bus {
    struct lw__dir dir;
    unsigned char boot[16];
    bool observe;
    bool forked;    /* this is a child's copy: good for closing only */
    uint64_t owner; /* this node, as an owner word; 0 when observing */
    char node[LW_NAME_MAX + 1];
    int fenced;           /* 0, or why this process is not registered for membarriers, -errno */
    int node_fd;          /* holds the life lock; -1 when observing */
    int table_fd;         /* the bus file */
    void *table;          /* its mapping, with room for the largest table; not there in a forked child */
    uint32_t rows;        /* so many of them were seen to have real space; relaxed, it only grows */
    pthread_mutex_t lock; /* set-up calls of several threads, one after the other; also held across fork() */
    struct lw__handle *handles;
    struct lw_bus *next; /* all buses of this process, for fork() */
    uint32_t bells_made;
    pthread_mutex_t bells_lock; /* the bells of others: taken last, held for a moment; also across fork() */
    struct lw__bell_peer bells[LW__BELLS_OPEN];
    uint64_t bells_used;
    struct lw__watch watch;
};

/* Every set-up call of a handle on the bus runs between these two. lw__bus_enter gives LW_EFORKED in a forked child,
 * and LW_ESTATE when `as_node` is wanted of an observing bus (with text), and then must not be left. */
int lw__bus_enter(struct lw_bus *bus, bool as_node);
void lw__bus_leave(struct lw_bus *bus);

/* Inside enter/leave. What was cut in a forked child is detached already: its owner just frees it. */
void lw__bus_attach(struct lw_bus *bus, struct lw__handle *handle);
void lw__bus_detach(struct lw_bus *bus, struct lw__handle *handle);

/* The bus's own part of lw_bus_clean(): node files of the dead, unfinished files anywhere below the bus. Adds to
 * `result`. Inside enter/leave, as a node. */
int lw__bus_clean_nodes(struct lw_bus *bus, struct lw_clean_result *result);

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* 0 or LW_ENAME with text; `what` is "node", "subscriber", ... */
int lw__name_check(const char *name, const char *what);
/* The same without text. Looks at LW_NAME_MAX + 1 bytes at most. */
bool lw__name_is_good(const char *name);

/* ---- owners ------------------------------------------------------------------------------------------------------ */

/* Is the owner's epoch over? A plain load; true says: it is dead for sure, and what it held may be inherited by
 * compare-and-swap of exactly its word. False may be late. A word that no process can ever have written (node 0 or one
 * never given out, an epoch still to come) comes from a damaged file: it counts as closed too, so that it blocks
 * nobody. */
bool lw__owner_closed(const struct lw_bus *bus, uint64_t owner);

/* The same, but looks at the life lock when the table says alive, and closes the epoch of a dead one (an observer only
 * looks). System calls; when they fail (no descriptor to be had, no permission) the owner is not known to be dead:
 * false. */
bool lw__owner_gone(struct lw_bus *bus, uint64_t owner);

/* The name of the owner's node, also of a dead one's. False, and "": there is none. */
bool lw__owner_name(const struct lw_bus *bus, uint64_t owner, char *name);

/* For messages. `name` holds LW_NAME_MAX + 1 bytes and gets "" for nobody. Returns the pid of a live one, else 0. */
int lw__owner_who(struct lw_bus *bus, uint64_t owner, char *name);

#endif

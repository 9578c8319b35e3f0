/* SPDX-License-Identifier: MIT */
/*
 * kill/kill.h - kill at every instruction, stop at every instruction, and kill who recovers from it.
 *
 * What others can see of a process are the files that it shares, the locks that it holds, and what it sent to somebody. A
 * process changes them by system calls and by stores into shared mappings, and by nothing else. So a boundary, the moment
 * between two instructions, leaves what the boundary before left, unless one of the two lies between them. An operation is
 * stepped through by ptrace, all of its instructions, those of the C library as well; wherever the bytes of a shared file
 * have changed, or a system call was made, there is a state of its own. Every state is judged, and so every boundary is.
 * (A store that retired survives a SIGKILL, and one that has not was never there; what a system call did in part before
 * a SIGKILL came is for the tests that kill inside of those.)
 *
 *     lane        the state is bytes of one file: it is copied, and the child steps on (lane.c)
 *     bus, link   there are locks and sockets as well: for each state a child of its own is killed there, really (real.c)
 *
 * Then somebody comes who never knew the dead one and recovers: that is stepped through in the same way, and killed too.
 * After each kill the next one must find everything: a judge, who knows what was accepted before and what the operation
 * adds, reads all that is there, lets a new writer write and a new reader read.
 *
 *     main.c      options and totals
 *     ops.c       the table of all operations
 *     judge.c     what came: lost, repeated, out of order
 *     lane_*.c    operations on a lane; tests/lane has them run by each `make test`
 *     bus_*.c, link_ops.c      operations on a bus, on topics, on links and links over a socket
 */
#ifndef LW_TESTS_KILL_H
#define LW_TESTS_KILL_H

#include "util/lane_util.h"
#include "util/step.h"

/* What was done, and found. */
struct kill_tally {
    uint64_t boundaries;       /* of the operation, each of which is covered */
    uint64_t states;           /* that differ, each of which was judged */
    uint64_t inner_boundaries; /* of those who recovered from them */
    uint64_t inner_states;
    uint64_t stops;
    uint64_t missed; /* places that were not come by a second time */
    uint64_t lost, repeated, reordered, other;
};

enum kill_found { KILL_UNDONE, KILL_DONE, KILL_UNKNOWN };

/* Why: words, or NULL when all is right; then `found` says whether the operation had been done. */
struct kill_verdict {
    const char *trouble;
    enum kill_found found;
};

struct kill_op {
    const char *name; /* kind/what */
    bool brief;       /* one of those for a short run */
    bool both;        /* must be found undone and done, or nothing was tried */
    bool steady;      /* stop: others do not publish meanwhile, since it asks where the end is */
    bool refuses;     /* stop: somebody must have been told so meanwhile */
    bool only_stops;  /* its kills are another operation's */
    int gives;        /* what the operation gives if it is neither killed nor stopped; 0: what is not negative */
    int (*run)(const struct kill_op *op); /* kill_lane or kill_real */
    void (*begin)(const struct kill_op *op);
    void (*end)(void);
    void (*prepare)(void *); /* in the child, at full speed */
    void (*operate)(void *); /* ... an instruction at a time */
    void (*recover)(void *); /* in another one; may be stepped as well */
    struct kill_verdict (*judge)(struct lw__lane *lane);
    const char *(*meanwhile)(void); /* while it is stopped; NULL: such a stop is not tried */
    const char *(*after)(void);     /* when it has gone on, and lives; may be NULL */
    /* of kill_real */
    int (*set_up_body)(void *); /* in a process that ends before; may be NULL */
    int (*peer)(void *);        /* another process that lives through all of it; may be NULL */
    int (*verify)(void *);      /* in a fresh process: 0, or it says on stderr what is wrong */
    /* the scene */
    void *scene; /* what goes back to what it was after each stop */
    size_t scene_size;
    uint32_t slots;
    uint64_t ring, start, before, len;
    uint64_t sends; /* before, by the child */
    unsigned adds;  /* messages that it publishes, or releases */
    bool in_place;  /* of evictions: it reads in place */
    bool inside;    /* of evictions: it is evicted already */
    enum lw_from from;
    void (*set_up)(void);
};

/* How much of it. */
struct kill_how {
    uint64_t stride;   /* every so many states */
    uint64_t from, to; /* boundaries to judge: [from, to) */
    uint64_t inner;    /* recoveries to kill: 0 none; of a lane all boundaries, else so many of each state */
    uint64_t apart;    /* ... once in so many states */
    uint64_t stops;    /* stops of each operation; 0: none */
    bool verbose;
};

extern struct kill_how kill_how;
extern struct kill_tally kill_tally;
extern const struct kill_op *kill_now;
extern uint64_t kill_at, kill_inner_at; /* where it is: what is said of a violation */

/* Tables that end with an empty row. */
extern const struct kill_op kill_sole_ops[], kill_shared_ops[], kill_evict_ops[], kill_mirror_ops[];
extern const struct kill_op kill_bus_ops[], kill_topic_ops[], kill_link_ops[], kill_far_ops[];
extern const struct kill_op *const kill_tables[]; /* all of them; NULL at the end */

/* 0, or 1 and says what is wrong: the operation and the step. */
int kill_lane(const struct kill_op *op);
int kill_real(const struct kill_op *op);

/* One violation: says where. Returns 1. */
int kill_violation(const char *trouble);

/* ---- judge.c ----------------------------------------------------------------------------------------------------- */

/* Words for a verdict, counted. */
const char *kill_lost(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *kill_repeated(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *kill_reordered(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reads to the end and releases. Which message it is follows from its bytes, not from what the lane says of it; each is
 * the one after the one before. */
const char *kill_read(struct lw__reader *r);

/* ---- lane.c ------------------------------------------------------------------------------------------------------ */

/* Owners, and whose notes. */
enum {
    KILL_CHILD = 1,
    KILL_BEFORE = 2,
    KILL_OTHER = 3,
    KILL_HEIR = 4,
    KILL_RECOVERER = 5,
    KILL_THIRD = 6,
    KILL_READER = 7,
    KILL_SOLE = 8,
    KILL_OWNERS = 8
};

/* The lane that the child works on, a copy of it that somebody recovers, and one of that for the judge. */
struct kill_lanes {
    struct t_lane live, copy, judged;
    struct lw__lane mine; /* the mapping of who is stepped, child or recoverer: in its process only */
    int64_t *result;      /* what its operation gave; shared */
    uint64_t refused;     /* tries of others while it was stopped */
};
extern struct kill_lanes kl;

void kill_lanes_begin(const struct lw__lane_shape *shape);
void kill_lanes_end(void);

/* In the child. */
void kill_child_maps(void *arg);
/* Words owned by the child in slots and lock. */
uint64_t kill_childs_words(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fail/run.h - what scenarios are written with: calls that may fail, and a ledger of what was accepted and what came.
 *
 * A scenario is a function that does something with the public API, from whatever state it finds. It is run with a
 * failure, and then again without one. In the first run each call may fail once the failure was made, and then the
 * scenario closes what it has opened and returns; in the second one nothing may.
 */
#ifndef LW_TESTS_FAIL_RUN_H
#define LW_TESTS_FAIL_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "fail/shim.h"
#include "laneway/laneway.h"
#include "util/util.h"

enum { RUN_PATH = 256, STREAMS = 2, WORDS = 4 };

/* One direction. As in util/history.h: noted before and after each call, so that it is known what a process that was
 * killed had done for sure, and what it may have. Message n is tt_fill(n). */
struct stream {
    uint64_t tried, sent;
    uint64_t releasing, released;
};

/* In a file: it outlives processes. */
struct ledger {
    struct shim_report report;
    struct stream streams[STREAMS];
    uint64_t killed;       /* the last process was: what was tried may have been done */
    uint64_t words[WORDS]; /* between the processes of a scenario */
};

struct run {
    char dir[RUN_PATH]; /* of the bus, and the beginning of others' names */
    struct ledger *ledger;
    bool strict; /* no call may fail: nothing is being made to */
};
extern struct run run;

/* What cannot be and what can not go on: says so with the failure that was made, and ends the process. */
void run_failed(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define FAILED(...) run_failed(__FILE__, __LINE__, __VA_ARGS__)
#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) FAILED("%s", #condition);                                                                    \
    } while (0)

/* ---- calls of the library ---------------------------------------------------------------------------------------- */

/* A call that sets something up: when it fails it says why in lw_errtext(). Another one has its code only. A negative
 * code is returned if it may be. */
#define SETUP(call) (run_before(true), run_after((int64_t)(call), true, #call, __FILE__, __LINE__))
#define CALL(call) (run_before(true), run_after((int64_t)(call), false, #call, __FILE__, __LINE__))
#define VOID(call) (run_before(true), (call), shim_off())
/* By the other side: not counted, and it does not fail. */
#define OTHER(call) (run_before(false), run_other((int64_t)(call), #call, __FILE__, __LINE__))
void run_before(bool counted);
int64_t run_after(int64_t rc, bool setup, const char *what, const char *file, int line);
int64_t run_other(int64_t rc, const char *what, const char *file, int line);

/* Waits for an event, calling `turn` again and again; fails after some 30 s. A failure that stays goes away before: then
 * all must come right by itself. */
void run_wait(bool (*turn)(void *arg), void *arg, const char *what);

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* The number of the next message, as the library has it after it was opened. */
void stream_resumes(struct stream *s, uint64_t number);
/* Message `sent` by a function that returns a position or an error. */
typedef int64_t stream_send_fn(void *handle, uint16_t type, const void *data, size_t len);
bool stream_send(struct stream *s, stream_send_fn *send, void *handle);
/* What came is what should. */
void stream_came(struct stream *s, const struct lw_msg *msg);
void stream_releasing(struct stream *s, const struct lw_msg *msg);
void stream_released(struct stream *s);
bool stream_is_complete(const struct stream *s);

/* ---- scenarios --------------------------------------------------------------------------------------------------- */

struct scenario {
    const char *name;
    void (*prepare)(void); /* nothing fails here. NULL: nothing is to be prepared */
    void (*act)(void);
    bool disk; /* the bus is to be in an ordinary directory */
};

extern const struct scenario *const scenarios[];

extern const struct scenario topic_scenarios[], group_scenarios[], link_scenarios[], admin_scenarios[],
    fork_scenarios[];

static inline uint64_t word_get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
static inline void word_set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Another process of the scenario, in which nothing fails. */
struct t_child run_peer(int (*body)(void *arg));

/* A durable subscriber `risk`, of the topic prices, was there, and a publisher that left some messages, and both were killed. */
void topic_of_the_dead(void);

/* Opens the bus of the run. */
bool run_bus(struct lw_bus **bus, const char *dir, const char *node);

#endif

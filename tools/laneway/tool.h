/* SPDX-License-Identifier: MIT */
/*
 * tool.h - what the subcommands of `laneway` share: options, exit codes, errors, signals, clock.
 *
 * A subcommand is a function like main(). It reads its options with options_read(), works, and
 * returns an exit code. What it prints on stdout goes through stdio; main.c checks it at the end.
 */
#ifndef LANEWAY_TOOL_H
#define LANEWAY_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"
#include "laneway/laneway.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_TOPIC = 3,
    EXIT_TIMEOUT = 4,
    EXIT_PERMISSION = 5,
    EXIT_CORRUPT = 6,
    EXIT_FULL = 7,
    EXIT_LOST = 8,
    EXIT_INTERRUPTED = 130
};

/* ---- options.c --------------------------------------------------------------------------------------------------- */

/* The options that every subcommand takes. */
struct common {
    const char *bus;
    const char *node;
    const char *group;
    bool json;
};
extern struct common common;

/* Reads `text` into `value`. NULL, or what it should have been: "a whole number". */
typedef const char *option_parser(const char *text, void *value);

struct option_row {
    const char *name;
    int letter; /* short form, 0 for none */
    option_parser *parse;
    void *value;
    const char *argument; /* its name in the help; NULL: the option takes none */
    const char *help;
};

struct usage {
    const char *command;           /* "pub", "" for the tool itself */
    const char *arguments;         /* "TOPIC [MESSAGE]" */
    const char *about;             /* sentences for --help */
    const struct option_row *rows; /* ends with a row without name; NULL for none */
    int least, most;               /* how many arguments */
    bool stop_at_argument;         /* what follows the first argument is not for us */
};

/* Reads the options and returns the index of the first argument in argv. Prints and exits when they
 * are wrong (2) or ask for help (0). */
int options_read(const struct usage *usage, int argc, char **argv);

/* For combinations that do not fit: prints, with a hint at --help, and exits with 2. */
__attribute__((noreturn, format(printf, 2, 3))) void options_refuse(const struct usage *usage, const char *format, ...);

/* Rows that several subcommands have. */
#define OPTION_RING(shape)                                                                                             \
    { "ring", 0, parse_ring, &(shape).ring, "SIZE", "bytes of ring, a power of two from 64K to 64G (default 4M)" }
#define OPTION_SLOTS(shape)                                                                                            \
    {                                                                                                                  \
        "slots", 0, parse_slots, &(shape).slots, "N",                                                                  \
            "how many subscribers and shared publishers at most, 1 to 1024 (default 64)"                               \
    }
#define OPTION_SCHEMA(shape)                                                                                           \
    { "schema", 0, parse_schema, &(shape), "NAME[:HASH]", "what the messages are" }
#define OPTION_EVICT_LAG(shape)                                                                                        \
    {                                                                                                                  \
        "evict-lag", 0, parse_room, &(shape).evict_lag, "SIZE",                                                        \
            "evict who is more bytes behind, at most the ring (default: nobody)"                                       \
    }
#define OPTION_EVICT_AGE(shape)                                                                                        \
    {                                                                                                                  \
        "evict-age", 0, parse_age, &(shape).evict_age, "TIME",                                                         \
            "evict a durable that is dead or away so long, as 90, 15m or 48h (default: nobody)"                        \
    }
#define OPTION_END                                                                                                     \
    { NULL, 0, NULL, NULL, NULL, NULL }

/* ---- values.c: strict readers of option values ------------------------------------------------------------------- */

const char *parse_flag(const char *text, void *value);    /* bool */
const char *parse_text(const char *text, void *value);    /* const char *, not empty */
const char *parse_number(const char *text, void *value);  /* uint64_t: 42, 0x2a */
const char *parse_count(const char *text, void *value);   /* uint64_t, not 0 */
const char *parse_type(const char *text, void *value);    /* uint16_t */
const char *parse_size(const char *text, void *value);    /* uint64_t: 65536, 64K, 1M, 2G */
const char *parse_room(const char *text, void *value);    /* the same, not 0 */
const char *parse_seconds(const char *text, void *value); /* int64_t, nanoseconds: 2, 0.5 */
const char *parse_spin(const char *text, void *value);    /* int64_t, nanoseconds: 20 is 20,000 */
const char *parse_age(const char *text, void *value);     /* int64_t, nanoseconds, whole seconds: 90, 90s, 15m, 48h */
const char *parse_ring(const char *text, void *value);    /* uint64_t */
const char *parse_slots(const char *text, void *value);   /* uint32_t */
const char *parse_schema(const char *text, void *value);  /* struct lw_shape */

/* Refuses values that do not fit each other. */
void shape_check(const struct usage *usage, const struct lw_shape *shape);

/* ---- report.c ---------------------------------------------------------------------------------------------------- */

/* Says on stderr what failed and returns the exit code that belongs to the result `code`. */
__attribute__((format(printf, 2, 3))) int fail(int code, const char *format, ...);

/* The same, with the library's own sentence about its last set-up call. */
int fail_call(int code);

/* Says something on stderr and goes on. */
__attribute__((format(printf, 1, 2))) void warning(const char *format, ...);

/* Messages that a subscriber did not get. */
struct loss {
    uint64_t messages;
    uint64_t places; /* in so many places of the log */
    uint64_t evictions;
    uint64_t next; /* number of the message after them */
};

/* warning() about a loss; as JSON it has the counts too. */
__attribute__((format(printf, 2, 3))) void warn_loss(const struct loss *loss, const char *format, ...);

/* A writer of JSON on stdout. */
struct json json_stdout(void);

/* How many slots of a topic are taken: an exclusive publisher needs none. */
uint32_t slots_taken(const struct lw_topic_info *info);

/* Writes a topic's shape and state into an open object: the fields that ls, create and info share. */
void json_topic(struct json *json, const char *topic, const struct lw_topic_info *info);

/* ---- links.c ----------------------------------------------------------------------------------------------------- */

/* What a pattern for links is made of: shell wildcards over SERVER/CLIENT, or SERVER alone. Refuses what no name fits. */
void links_check(const struct usage *usage, const char *pattern);

/* Lists, or removes, the links that fit (NULL: all). An exit code. */
int links_list(struct lw_bus *bus, const char *pattern, bool long_form);
int links_remove(struct lw_bus *bus, const char *pattern, bool force);

/* ---- link_words.c ------------------------------------------------------------------------------------------------ */

/* LW_DOWN in words, in `text`, which is returned. `reason` is the link's, "" for none. */
const char *down_text(char *text, size_t size, int code, bool remote, const char *reason);

/* enum lw_renewed: for programs, and for people. */
const char *renewed_name(int code);
const char *renewed_text(int code);

/* ---- bus.c ------------------------------------------------------------------------------------------------------- */

/* Open the bus that the common options name. 0, or the exit code after saying what failed. */
int bus_join(struct lw_bus **bus);       /* makes it if it is not there */
int bus_join_there(struct lw_bus **bus); /* only if it is there */
int bus_observe(struct lw_bus **bus);    /* looks only, makes nothing */

/* ---- stop.c ------------------------------------------------------------------------------------------------------ */

/* From here on SIGINT and SIGTERM only ask the tool to stop; the second one kills it. */
void stop_on_signals(void);
bool stop_asked(void);

int64_t now_ns(void);

enum { WAIT_SLICE_MS = 200 }; /* longest wait in one call, so that somebody looks at the clock */

/* What to wait in one call: the rest of `timeout` since `begin`, at most a slice; 0 when it is over. */
int64_t wait_slice(int64_t begin, int64_t timeout);

/* ---- progress.c -------------------------------------------------------------------------------------------------- */

/* One line on stderr while a run takes long, if that is a terminal. */
struct progress {
    bool on;
    bool shown;
    int64_t begin;
    int64_t next; /* when to print again */
};
void progress_begin(struct progress *progress, bool asked, bool quiet);
void progress_show(struct progress *progress, uint64_t messages, uint64_t bytes);
void progress_end(struct progress *progress);

/* ---- the subcommands --------------------------------------------------------------------------------------------- */

int pub_main(int argc, char **argv);
int sub_main(int argc, char **argv);
int create_main(int argc, char **argv);
int echo_main(int argc, char **argv);
int echo_server_main(int argc, char **argv);
int ls_main(int argc, char **argv);
int info_main(int argc, char **argv);
int verify_main(int argc, char **argv);
int forget_main(int argc, char **argv);
int rm_main(int argc, char **argv);
int clean_main(int argc, char **argv);
int bench_main(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sub.c - `laneway sub`: subscribes and writes the messages to stdout or a file.
 *
 * Messages are held until what they became is written; then they are released, many in one store.
 * Results inside this file: 0 is fine, a negative code is not reported yet, a positive number is
 * an exit code whose reason has been said.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "outfile.h"
#include "sink.h"
#include "tool.h"

enum format { FORMAT_LINE, FORMAT_RAW, FORMAT_JSON };
enum { HELD_MOST = 4096 };

struct start {
    enum lw_from from;
    uint64_t position;
};

static struct {
    const char *name, *out;
    uint64_t max_lag;
    bool lossy, create_only, exit_at_end, format_given, progress;
    struct start start;
    uint64_t count;
    int64_t timeout;
    enum format format;
    struct lw_shape shape;
} ask = {.timeout = LW_FOREVER};

static const char *parse_start(const char *text, void *value) {
    struct start *start = value;
    start->from = !strcmp(text, "now") ? LW_FROM_NOW : !strcmp(text, "oldest") ? LW_FROM_OLDEST : LW_FROM_POSITION;
    if (start->from == LW_FROM_POSITION && parse_number(text, &start->position)) return "now, oldest or a position";
    return NULL;
}

static const char *parse_format(const char *text, void *value) {
    static const char *const names[] = {"line", "raw", "json"};
    for (unsigned i = 0; i < 3; i++) {
        if (!strcmp(text, names[i])) {
            *(enum format *)value = (enum format)i;
            ask.format_given = true;
            return NULL;
        }
    }
    return "raw, line or json";
}

static const struct option_row rows[] = {
    {"as", 0, parse_text, &ask.name, "NAME", "be durable: the place is kept under this name"},
    {"lossy", 0, parse_flag, &ask.lossy, NULL, "hold no publisher back; lose what we are too slow for, and be told"},
    {"max-lag", 0, parse_room, &ask.max_lag, "SIZE",
     "hold publishers back up to SIZE bytes behind; then be evicted, be told, and go on"},
    {"create-only", 0, parse_flag, &ask.create_only, NULL, "make the durable place and exit"},
    {"from", 0, parse_start, &ask.start, "WHERE",
     "now (default), oldest or a position; a durable name that is there goes on where it was"},
    {"count", 0, parse_count, &ask.count, "N", "exit after N messages"},
    {"timeout", 0, parse_seconds, &ask.timeout, "S", "exit with 4 when no message comes for so long"},
    {"exit-at-end", 0, parse_flag, &ask.exit_at_end, NULL, "exit when no message is left"},
    {"format", 0, parse_format, &ask.format, "FORMAT", "line (default), raw or json"},
    {"out", 0, parse_text, &ask.out, "FILE", "write to FILE; with --as each message is in it once, also after a kill"},
    OPTION_RING(ask.shape),
    OPTION_SLOTS(ask.shape),
    OPTION_SCHEMA(ask.shape),
    OPTION_EVICT_LAG(ask.shape),
    OPTION_EVICT_AGE(ask.shape),
    {"progress", 0, parse_flag, &ask.progress, NULL, "show progress from the beginning"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "sub",
    .arguments = "TOPIC",
    .about = "Writes the messages of a topic to stdout or to FILE: each with a newline behind it\n"
             "(line), as it is (raw), or as a JSON object a line (json, or --json). A message is\n"
             "released when it is written; one that was not comes again after a kill, if --as is given.\n"
             "With --out or --create-only, --json prints one object at the end instead.\n"
             "Lost messages do not end it: their count is told on stderr, and the exit code is 8\n"
             "where it would be 0.",
    .rows = rows,
    .least = 1,
    .most = 1,
};

struct held {
    struct lw_msg msg;
    uint64_t end; /* the sink's count after its last byte */
};

static struct run {
    const char *topic;
    struct lw_bus *bus;
    struct lw_sub *sub;
    struct sink sink;
    struct outfile out;
    struct progress progress;
    bool begun, at_end;
    unsigned char uuid[16]; /* of the topic, as soon as it has begun */
    uint64_t window;        /* held bytes of ring at which we settle */
    uint64_t messages, bytes;
    struct loss lost;                 /* all of this run */
    struct loss untold;               /* what of it nobody was told yet */
    uint64_t told_lost, told_evicted; /* the library's counts of it */
    uint64_t told;                    /* how often something was told ... */
    int64_t tell_at;                  /* ... and when to do it again */
    size_t held_count;
    struct held held[HELD_MOST];
} run;

/* ---- what was lost ----------------------------------------------------------------------------------------------- */

static void add_loss(struct loss *to, const struct loss *more) {
    to->messages += more->messages;
    to->places += more->places;
    to->evictions += more->evictions;
    to->next = more->next;
}

static void count_loss(const struct loss *more) {
    add_loss(&run.lost, more);
    add_loss(&run.untold, more);
}

static const char *why_lost(const struct loss *loss) {
    if (loss->evictions) return "this subscriber was too far behind, or gone for too long, and was evicted";
    if (ask.lossy) return "publishers were faster";
    if (ask.max_lag) return "this subscriber was killed while it was being evicted";
    return "the machine went down, or this subscriber was killed while it was being evicted";
}

/* At once, for whoever reads it should know even if we are killed next. But a lossy subscriber may lose messages
 * thousands of times: it says so once a second. */
static void tell_loss(bool now) {
    struct loss *loss = &run.untold;
    char places[48] = "";
    if (!loss->messages || (ask.lossy && !now && now_ns() < run.tell_at)) return;
    if (loss->places > 1) snprintf(places, sizeof places, "in %" PRIu64 " places, the last ", loss->places);
    progress_end(&run.progress);
    warn_loss(loss, "%s: %" PRIu64 " messages were lost %sbefore message %" PRIu64 ": %s", run.topic, loss->messages,
              places, loss->next, why_lost(loss));
    run.tell_at = now_ns() + LW_SEC(1);
    run.told++;
    *loss = (struct loss){0};
}

static void tell_all_losses(void) {
    tell_loss(true);
    if (run.told > 1)
        warn_loss(&run.lost, "%s: %" PRIu64 " messages were lost in all, in %" PRIu64 " places", run.topic,
                  run.lost.messages, run.lost.places);
}

/* ---- writing and releasing --------------------------------------------------------------------------------------- */

/* `b` is no limit when it is 0. */
static uint64_t smaller(uint64_t a, uint64_t b) {
    return b && b < a ? b : a;
}

/* Looks at the topic when its first message is there: before, it may still get another shape. */
static int begin(uint64_t number) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    int rc = lw_topic_stat(run.bus, run.topic, &info);
    if (rc) return fail_call(rc);
    run.begun = true;
    memcpy(run.uuid, info.uuid, sizeof run.uuid);
    run.window = smaller(smaller(info.ring, info.evict_lag), ask.max_lag) / 4;
    if (!ask.out) return 0;
    bool gap = run.lost.messages || info.evict_lag || ask.max_lag;
    rc = outfile_begin(&run.out, info.uuid, number, gap, &run.sink.base);
    if (!rc && run.out.missing > run.lost.messages)
        count_loss(&(struct loss){run.out.missing - run.lost.messages, 1, 0, number});
    return rc;
}

/* How many of the held messages are written. */
static size_t count_written(void) {
    size_t least = 0, most = run.held_count;
    while (least < most) {
        size_t middle = (least + most) / 2;
        if (run.held[middle].end <= run.sink.written)
            least = middle + 1;
        else
            most = middle;
    }
    return least;
}

/* Writes what is collected and releases what is written. */
static int settle(void) {
    int error = sink_flush(&run.sink), rc;
    size_t count = count_written();
    if (!count) return error;
    const struct held *last = &run.held[count - 1];
    rc = ask.out ? outfile_record(&run.out, last->msg.number + 1, run.sink.base + last->end) : 0;
    if (!rc) rc = lw_sub_release(run.sub, &last->msg);
    if (rc) return rc;
    run.held_count -= count;
    memmove(run.held, run.held + count, run.held_count * sizeof run.held[0]);
    progress_show(&run.progress, run.messages, run.bytes);
    return error;
}

static void put_json(const struct lw_msg *msg) {
    struct json json = {sink_put, &run.sink, false};
    json_open(&json, NULL, '{');
    json_text(&json, "topic", run.topic);
    json_number(&json, "position", msg->position);
    json_number(&json, "number", msg->number);
    json_number(&json, "type", msg->type);
    json_number(&json, "size", msg->len);
    json_base64(&json, "data", msg->data, msg->len);
    if (text_is_printable(msg->data, msg->len)) json_bytes(&json, "text", msg->data, msg->len);
    json_close(&json, '}');
    json_end(&json);
}

static int take(const struct lw_msg *msg) {
    int rc = run.begun ? 0 : begin(msg->number);
    if (rc) return rc;
    if (ask.format == FORMAT_JSON)
        put_json(msg);
    else
        sink_put(&run.sink, msg->data, msg->len);
    if (ask.format == FORMAT_LINE) sink_put(&run.sink, "\n", 1);
    run.held[run.held_count++] = (struct held){*msg, run.sink.put};
    run.messages++;
    run.bytes += msg->len;
    bool much = msg->position - run.held[0].msg.position + msg->len >= run.window;
    return much || run.held_count == HELD_MOST || run.sink.error ? settle() : 0;
}

/* Messages before `number` were lost. All before them is written and recorded, and where `number` goes, while the loss
 * would still be told again to who comes after us: the library forgets it with the next call. */
static int take_loss(uint64_t number) {
    struct lw_stats stats = LW_STATS_INIT;
    int rc = settle();
    lw_sub_stats(run.sub, &stats);
    count_loss(&(struct loss){stats.lost - run.told_lost, 1, stats.evicted - run.told_evicted, number});
    run.told_lost = stats.lost;
    run.told_evicted = stats.evicted;
    tell_loss(false);
    return rc || !ask.out || !run.begun ? rc : outfile_record(&run.out, number, run.sink.base + run.sink.put);
}

/* Nothing is there: settles and waits. */
static int wait_message(struct lw_msg *msg) {
    int64_t since = now_ns(), slice;
    int rc = settle();
    if (rc) return rc;
    tell_loss(false);
    run.at_end = ask.exit_at_end;
    while (!run.at_end && (slice = wait_slice(since, ask.timeout)) > 0) {
        rc = lw_sub_next(run.sub, msg, slice);
        if (rc != LW_EEMPTY && rc != -EINTR) return rc == 1 ? 0 : rc;
        if (stop_asked()) return -EINTR;
        tell_loss(false);
        if (sink_look(&run.sink)) return run.sink.error;
        progress_show(&run.progress, run.messages, run.bytes);
    }
    return LW_EEMPTY;
}

static int next(struct lw_msg *msg) {
    bool lost;
    int rc;
    do {
        if (stop_asked()) return -EINTR;
        rc = lw_sub_next(run.sub, msg, 0);
        rc = rc == LW_EEMPTY ? wait_message(msg) : rc == 1 ? 0 : rc;
        lost = rc == LW_EGAP || rc == LW_EEVICTED;
        if (lost) rc = take_loss(msg->number);
    } while ((lost && !rc) || (rc == -EINTR && !stop_asked()));
    return rc;
}

static int receive(void) {
    struct lw_msg msg;
    int rc = 0;
    while (!rc && (!ask.count || run.messages < ask.count)) {
        rc = next(&msg);
        if (!rc) rc = take(&msg);
    }
    return rc;
}

/* Releases the rest and brings FILE to its clean end. `rc` is what ended the run. */
static int finish(int rc) {
    struct lw_stats stats = LW_STATS_INIT;
    int end = rc > 0 ? rc : settle();
    if (end) return end;
    if (!ask.out || (rc == LW_ECLOSED && !run.begun)) return rc;
    lw_sub_stats(run.sub, &stats);
    end = run.begun ? 0 : begin(stats.number);
    if (!end) end = outfile_end(&run.out, run.sink.base + run.sink.put);
    return end ? end : rc;
}

/* At the path there is none now, or another one than we began with. What the library says is for programs. */
static bool topic_is_gone(void) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    int rc = lw_topic_stat(run.bus, run.topic, &info);
    return rc == LW_ENOTOPIC || (!rc && run.begun && memcmp(info.uuid, run.uuid, sizeof run.uuid) != 0);
}

static int report(int rc) {
    int error = run.sink.error;
    if (rc > 0) return rc;
    if (stop_asked() && (rc == -EINTR || error)) return EXIT_INTERRUPTED;
    if (error == -EPIPE) return EXIT_OK;
    if (error) return fail(error, "can not write to %s: %s", ask.out ? ask.out : "stdout", lw_strerror(error));
    if (rc == LW_EEMPTY && !run.at_end)
        return fail(rc, "%s: no message for %g seconds", run.topic, (double)ask.timeout / 1e9);
    if (rc == LW_ECLOSED && topic_is_gone())
        return fail(rc, "topic %s was removed (closed); all that was in it has been read", run.topic);
    if (rc == LW_ECORRUPT || rc == LW_ECLOSED) return fail_call(rc);
    return rc && rc != LW_EEMPTY ? fail(rc, "%s: %s", run.topic, lw_strerror(rc)) : EXIT_OK;
}

static void print_summary(void) {
    struct json json = json_stdout();
    struct lw_stats stats = LW_STATS_INIT;
    lw_sub_stats(run.sub, &stats);
    json_open(&json, NULL, '{');
    json_text(&json, "topic", run.topic);
    json_text_or_null(&json, "name", ask.name);
    json_number(&json, "messages", run.messages);
    json_number(&json, "bytes", run.bytes);
    json_number(&json, "next_position", stats.position);
    json_number(&json, "next_number", stats.number);
    json_number(&json, "lost", run.lost.messages);
    json_number(&json, "evicted", run.lost.evictions);
    json_close(&json, '}');
    json_end(&json);
}

static int work(void) {
    int result = EXIT_OK;
    if (!ask.create_only) {
        progress_begin(&run.progress, ask.progress, !ask.out && isatty(STDOUT_FILENO));
        int rc = finish(receive());
        progress_end(&run.progress);
        tell_all_losses();
        result = report(rc);
    }
    if (result == EXIT_OK && run.lost.messages) result = EXIT_LOST;
    bool good = result == EXIT_OK || result == EXIT_LOST || result == EXIT_INTERRUPTED;
    if (common.json && good && (ask.out || ask.create_only)) print_summary();
    return result;
}

static void check(void) {
    if (ask.lossy && (ask.name || ask.max_lag))
        options_refuse(&usage, "--lossy keeps no place: neither --as nor --max-lag goes with it");
    if (ask.create_only && !ask.name) options_refuse(&usage, "--create-only needs --as NAME");
    if (ask.create_only && (ask.out || ask.count || ask.exit_at_end))
        options_refuse(&usage, "--create-only reads nothing: no --out, --count or --exit-at-end");
    if (common.json && !ask.out && ask.format_given && ask.format != FORMAT_JSON)
        options_refuse(&usage, "--json and another --format need --out");
    if (common.json && !ask.out) ask.format = FORMAT_JSON;
}

static int open_sub(void) {
    struct lw_sub_options options = LW_SUB_OPTIONS_INIT;
    options.flags = ask.lossy ? LW_SUB_LOSSY : 0u;
    options.max_lag = ask.max_lag;
    options.name = ask.name;
    options.from = ask.start.from;
    options.position = ask.start.position;
    options.shape = ask.shape;
    int rc = lw_sub_open(&run.sub, run.bus, run.topic, &options);
    return rc ? fail_call(rc) : 0;
}

static int open_out(void) {
    run.sink.fd = STDOUT_FILENO;
    run.out.fd = run.out.at_fd = -1;
    if (!ask.out) return 0;
    int result = outfile_open(&run.out, ask.out, run.topic, ask.name);
    run.sink.fd = run.out.fd;
    run.sink.file = !run.out.plain;
    return result;
}

int sub_main(int argc, char **argv) {
    run.topic = argv[options_read(&usage, argc, argv)];
    check();
    shape_check(&usage, &ask.shape);
    stop_on_signals();
    int result = open_out();
    if (!result) result = bus_join(&run.bus);
    if (!result) result = open_sub();
    if (!result) result = work();
    lw_sub_close(run.sub);
    lw_bus_close(run.bus);
    outfile_close(&run.out);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* pub.c - `laneway pub`: publishes a message, or stdin cut into messages. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "input.h"
#include "tool.h"

static struct {
    bool null, exclusive, no_bias, resume, need_sub, progress;
    uint64_t size[2]; /* least and most; 0 when not asked for */
    uint64_t rate, count;
    int64_t timeout;
    uint16_t type;
    struct lw_shape shape;
} ask = {.timeout = LW_FOREVER};

/* N or MIN-MAX. */
static const char *parse_size_range(const char *text, void *value) {
    static const char expected[] = "a size such as 100, 64K, or 1-8K";
    uint64_t *range = value;
    char least[32] = "";
    const char *dash = strchr(text, '-'), *most = dash ? dash + 1 : text;
    size_t len = dash ? (size_t)(dash - text) : strlen(text);
    if (len >= sizeof least) return expected;
    memcpy(least, text, len);
    if (parse_size(least, &range[0]) || parse_size(most, &range[1])) return expected;
    return range[0] >= 1 && range[0] <= range[1] ? NULL : expected;
}

static const struct option_row rows[] = {
    {"null", '0', parse_flag, &ask.null, NULL, "messages on stdin end with NUL, not with newline"},
    {"size", 0, parse_size_range, ask.size, "N|MIN-MAX", "cut stdin into messages of this size"},
    {"type", 0, parse_type, &ask.type, "N", "type of the messages, 0 to 65535"},
    {"rate", 0, parse_count, &ask.rate, "N", "at most N messages a second"},
    {"count", 0, parse_count, &ask.count, "N", "stop after N messages of the input; with MESSAGE: send it N times"},
    {"exclusive", 0, parse_flag, &ask.exclusive, NULL, "be the only publisher of the topic, or fail"},
    {"no-bias", 0, parse_flag, &ask.no_bias, NULL,
     "never keep the topic's lock for the next message; others that come need not wait for it"},
    {"resume", 0, parse_flag, &ask.resume, NULL,
     "skip as many messages of the input as the topic has ever taken; implies --exclusive"},
    {"need-sub", 0, parse_flag, &ask.need_sub, NULL, "fail while nobody subscribes"},
    {"timeout", 0, parse_seconds, &ask.timeout, "S", "without room or a turn, wait so long (default: for ever)"},
    OPTION_RING(ask.shape),
    OPTION_SLOTS(ask.shape),
    OPTION_SCHEMA(ask.shape),
    OPTION_EVICT_LAG(ask.shape),
    OPTION_EVICT_AGE(ask.shape),
    {"progress", 0, parse_flag, &ask.progress, NULL, "show progress from the beginning"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "pub",
    .arguments = "TOPIC [MESSAGE]",
    .about = "Publishes MESSAGE, or each line of stdin as a message. Others may publish to the topic\n"
             "at the same time, unless --exclusive is given. A full ring makes it wait for the slowest\n"
             "subscriber. With --resume a run that was killed goes on at the exact message when it is\n"
             "given the same input and options again, if nobody else publishes to the topic.",
    .rows = rows,
    .least = 1,
    .most = 2,
};

struct run {
    const char *topic;
    struct lw_pub *pub;
    struct input input;
    struct progress progress;
    uint64_t skipped, messages, bytes, waits;
    int64_t first;    /* position of the first message, -1 before it */
    int64_t paced_at; /* begin of the schedule that --rate asks for */
    uint64_t paced;   /* messages sent in it */
    bool told;        /* that it waits for room or for its turn */
};

/* Sleeps until the next message is due. Who is late by more than a tenth of a second does not catch
 * up: a burst would be what --rate is there to prevent. */
static void pace(struct run *run) {
    if (!ask.rate) return;
    int64_t now = now_ns();
    double due = (double)run->paced_at + (double)run->paced * 1e9 / (double)ask.rate;
    if (!run->paced_at || (double)now > due + 1e8) {
        run->paced_at = now;
        run->paced = 0;
        due = (double)now;
    }
    run->paced++;
    for (int64_t left; !stop_asked() && (left = (int64_t)due - now_ns()) > 0;) {
        struct timespec wait = {.tv_nsec = left < LW_MS(WAIT_SLICE_MS) ? left : LW_MS(WAIT_SLICE_MS)};
        nanosleep(&wait, NULL);
    }
}

/* No room, or another publisher is in the midst of a send: it may work later. */
static bool may_wait(int64_t rc) {
    return rc == LW_EFULL || rc == LW_EWRITER;
}

/* After two seconds without room or a turn, says once who is in the way. */
static void tell_waiting(struct run *run, int64_t begin) {
    if (run->told || now_ns() - begin < LW_SEC(2)) return;
    run->told = true;
    progress_end(&run->progress);
    warning("waiting: %s", lw_errtext());
}

/* Publishes one message when the first try could not. Who only tries is not told who is in the way, so the least wait
 * is a nanosecond. */
static int64_t send_waiting(struct run *run, const void *data, size_t len) {
    int64_t begin = now_ns(), slice, rc;
    run->waits++;
    do {
        if (stop_asked()) return -EINTR;
        slice = wait_slice(begin, ask.timeout);
        rc = lw_pub_send(run->pub, ask.type, data, len, slice ? slice : 1);
        if (may_wait(rc)) tell_waiting(run, begin);
        progress_show(&run->progress, run->messages, run->bytes);
    } while (rc == -EINTR || (may_wait(rc) && slice > 0));
    return rc;
}

static int publish_one(struct run *run, const void *data, size_t len) {
    pace(run);
    if (stop_asked()) return -EINTR;
    int64_t rc = lw_pub_send(run->pub, ask.type, data, len, 0);
    if (may_wait(rc) || rc == -EINTR) rc = send_waiting(run, data, len);
    if (rc < 0) return (int)rc;
    if (run->first < 0) run->first = rc;
    run->messages++;
    run->bytes += len;
    if (ask.rate || run->messages % 256 == 0) progress_show(&run->progress, run->messages, run->bytes);
    return 0;
}

static bool enough(const struct run *run) {
    if (run->input.fd < 0 && !ask.count) return run->input.number == 1;
    return ask.count && run->input.number >= ask.count;
}

/* 0, or what ended the run. */
static int publish_all(struct run *run) {
    const void *data;
    size_t len;
    int rc = 0;
    while (!enough(run) && (rc = input_next(&run->input, &data, &len)) > 0) {
        rc = publish_one(run, data, len);
        if (rc) break;
    }
    return rc;
}

/* Passes over what an earlier run of the same input has published. */
static int skip(struct run *run, uint64_t number) {
    const void *data;
    size_t len;
    int rc = 1;
    while (run->skipped < number && !enough(run)) {
        rc = input_next(&run->input, &data, &len);
        if (rc <= 0) break;
        run->skipped++;
    }
    if (rc < 0 || run->skipped == number) return rc < 0 ? rc : 0;
    return LW_EMISMATCH;
}

static int report(struct run *run, int rc) {
    const char *topic = run->topic;
    if (rc == -EINTR && stop_asked()) return EXIT_INTERRUPTED;
    if (may_wait(rc)) return fail_call(rc), EXIT_FULL;
    if (rc == LW_ECORRUPT) return fail_call(rc);
    if (rc == LW_ECLOSED)
        return fail(rc, "topic %s was removed (closed) after %" PRIu64 " messages of this run", topic, run->messages);
    if (rc == LW_ETOOBIG)
        return fail(rc, "%s: message %" PRIu64 " of the input is too big: at most %zu bytes fit", topic,
                    run->skipped + run->messages, lw_pub_max(run->pub));
    if (rc == LW_EMISMATCH)
        return fail(rc, "%s: the input ends after %" PRIu64 " messages, the topic has taken more", topic, run->skipped);
    return rc ? fail(rc, "%s: %s", topic, lw_strerror(rc)) : EXIT_OK;
}

static void print_summary(const struct run *run) {
    struct json json = json_stdout();
    struct lw_stats stats = LW_STATS_INIT;
    lw_pub_stats(run->pub, &stats);
    json_open(&json, NULL, '{');
    json_text(&json, "topic", run->topic);
    json_number(&json, "messages", run->messages);
    json_number(&json, "bytes", run->bytes);
    json_number(&json, "skipped", run->skipped);
    if (run->first < 0)
        json_null(&json, "first_position");
    else
        json_number(&json, "first_position", (uint64_t)run->first);
    json_number(&json, "next_position", stats.position);
    json_number(&json, "next_number", stats.number);
    json_number(&json, "waits", run->waits);
    json_number(&json, "evicted", stats.evicted);
    json_close(&json, '}');
    json_end(&json);
}

static void tell_evicted(const struct run *run) {
    struct lw_stats stats = LW_STATS_INIT;
    if (lw_pub_stats(run->pub, &stats) || !stats.evicted) return;
    warning("%s: subscribers evicted for being too far behind or gone for too long: %" PRIu64, run->topic,
            stats.evicted);
}

static int work(struct run *run) {
    struct lw_stats stats = LW_STATS_INIT;
    int rc = lw_pub_stats(run->pub, &stats);
    run->input.limit = lw_pub_max(run->pub);
    progress_begin(&run->progress, ask.progress, isatty(STDIN_FILENO) && run->input.fd >= 0);
    if (!rc && ask.resume) rc = skip(run, stats.number);
    if (!rc) rc = publish_all(run);
    progress_end(&run->progress);
    int result = report(run, rc);
    tell_evicted(run);
    if (common.json && (result == EXIT_OK || result == EXIT_INTERRUPTED)) print_summary(run);
    return result;
}

static void set_input(struct input *input, const char *message) {
    *input = (struct input){.fd = message ? -1 : STDIN_FILENO, .text = message};
    input->delimiter = ask.size[1] ? -1 : ask.null ? '\0' : '\n';
    input->least = ask.size[0];
    input->most = ask.size[1];
}

static void check(const char *message) {
    if (ask.no_bias && (ask.exclusive || ask.resume))
        options_refuse(&usage, "--no-bias is for publishers that share a topic; not with --exclusive or --resume");
    if (ask.null && ask.size[1]) options_refuse(&usage, "--null and --size do not go together");
    if (message && (ask.null || ask.size[1])) options_refuse(&usage, "--null and --size are for messages from stdin");
}

/* Resuming counts the messages of the topic: another publisher's between the look and our first send would shift all
 * that follows. */
static unsigned pub_flags(void) {
    return (ask.exclusive || ask.resume ? LW_PUB_EXCLUSIVE : 0u) | (ask.need_sub ? LW_PUB_NEED_SUB : 0u) |
           (ask.no_bias ? LW_PUB_NO_BIAS : 0u);
}

int pub_main(int argc, char **argv) {
    struct lw_bus *bus = NULL;
    struct lw_pub_options options = LW_PUB_OPTIONS_INIT;
    char **args = argv + options_read(&usage, argc, argv);
    struct run run = {.topic = args[0], .first = -1};
    check(args[1]);
    shape_check(&usage, &ask.shape);
    set_input(&run.input, args[1]);
    options.flags = pub_flags();
    options.shape = ask.shape;
    stop_on_signals();
    int result = bus_join(&bus);
    if (result) return result;
    int rc = lw_pub_open(&run.pub, bus, run.topic, &options);
    result = rc ? fail_call(rc) : work(&run);
    lw_pub_close(run.pub);
    lw_bus_close(bus);
    input_fini(&run.input);
    return result;
}

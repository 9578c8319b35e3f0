/* SPDX-License-Identifier: MIT */
/* info.c - `laneway info`: shows a topic, its publishers, its subscribers and who holds it back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const struct usage usage = {
    .command = "info",
    .arguments = "TOPIC",
    .about = "Shows a topic: shape, whom it evicts, publishers, subscribers, how far each is behind,\n"
             "and who holds back. It only looks, and disturbs nobody.\n\n"
             "alive  a living process has it open\n"
             "away   nobody has it open; its place is kept for its name\n"
             "dead   its process died, and nobody has tidied since",
    .least = 1,
    .most = 1,
};

/* What the walks over publishers and subscribers collect. */
struct seen {
    struct lw_topic_info topic;
    struct lw_writer_info *writers;
    struct lw_reader_info *readers;
    size_t writer_count, reader_count;
};

/* `list` with one more element of `size` bytes, or NULL. */
static void *append(void *list, size_t count, const void *element, size_t size) {
    char *longer = realloc(list, (count + 1) * size);
    if (longer) memcpy(longer + count * size, element, size);
    return longer;
}

static int each_writer(const struct lw_writer_info *writer, void *user) {
    struct seen *seen = user;
    void *list = append(seen->writers, seen->writer_count, writer, sizeof *writer);
    if (!list) return -ENOMEM;
    seen->writers = list;
    seen->writer_count++;
    return 0;
}

static int each_reader(const struct lw_reader_info *reader, void *user) {
    struct seen *seen = user;
    void *list = append(seen->readers, seen->reader_count, reader, sizeof *reader);
    if (!list) return -ENOMEM;
    seen->readers = list;
    seen->reader_count++;
    return 0;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_writer(struct json *json, const struct lw_writer_info *writer) {
    json_open(json, NULL, '{');
    json_text_or_null(json, "node", writer->node);
    json_number(json, "pid", (uint64_t)writer->pid);
    json_bool(json, "alive", writer->alive);
    json_bool(json, "exclusive", writer->exclusive);
    if (writer->exclusive) {
        json_null(json, "slot");
        json_null(json, "messages");
    } else {
        json_number(json, "slot", writer->slot);
        json_number(json, "messages", writer->messages);
    }
    json_bool(json, "inside", writer->inside);
    json_bool(json, "biased", writer->biased);
    json_close(json, '}');
}

static void json_reader(struct json *json, const struct lw_reader_info *reader) {
    json_open(json, NULL, '{');
    json_text_or_null(json, "name", reader->name);
    json_text_or_null(json, "node", reader->node);
    json_number(json, "slot", reader->slot);
    json_bool(json, "durable", reader->durable);
    json_bool(json, "lossy", reader->lossy);
    json_bool(json, "alive", reader->alive);
    json_number(json, "pid", (uint64_t)reader->pid);
    json_bool(json, "slowest", reader->slowest);
    json_bool(json, "evicted", reader->evicted);
    json_number(json, "position", reader->position);
    json_number(json, "number", reader->number);
    json_number(json, "lag_messages", reader->lag_messages);
    json_number(json, "lag_bytes", reader->lag_bytes);
    json_number_or_null(json, "max_lag", reader->max_lag);
    json_number(json, "lost", reader->lost);
    json_close(json, '}');
}

static void print_json(const char *topic, const struct seen *seen) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_topic(&json, topic, &seen->topic);
    json_open(&json, "writers", '[');
    for (size_t i = 0; i < seen->writer_count; i++) json_writer(&json, &seen->writers[i]);
    json_close(&json, ']');
    json_open(&json, "readers", '[');
    for (size_t i = 0; i < seen->reader_count; i++) json_reader(&json, &seen->readers[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    json_end(&json);
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static const char *or_dash(const char *text) {
    return *text ? text : "-";
}

/* In a buffer of the caller's, "-" for 0. */
static const char *number_or_dash(char text[24], uint64_t number) {
    snprintf(text, 24, "%" PRIu64, number);
    return number ? text : "-";
}

static void print_eviction(const struct lw_topic_info *info) {
    uint64_t age = (uint64_t)info->evict_age / LW_SEC(1);
    printf("eviction  ");
    if (info->evict_lag) printf("more than %" PRIu64 " bytes behind", info->evict_lag);
    if (info->evict_lag && age) printf("; ");
    if (age) printf("durable and dead or away for %" PRIu64 " s", age);
    puts(info->evict_lag || age ? "" : "never");
}

static void print_topic(const char *topic, const struct lw_topic_info *info) {
    printf("topic     %s\n", topic);
    if (*info->schema || info->schema_hash) printf("schema    %s:0x%" PRIx64 "\n", info->schema, info->schema_hash);
    printf("ring      %" PRIu64 " bytes, messages up to %" PRIu64 " bytes\n", info->ring, info->record_max);
    printf("slots     %u of %u taken\n", slots_taken(info), info->slots);
    print_eviction(info);
    printf("next      message %" PRIu64 " at position %" PRIu64 "\n", info->number, info->tail);
    printf("oldest    message %" PRIu64 " at position %" PRIu64 "\n", info->oldest_number, info->oldest);
}

static void print_writer(const struct lw_writer_info *w) {
    char messages[24];
    const char *lock = w->inside ? "inside" : w->biased ? "biased" : "-";
    snprintf(messages, sizeof messages, "%" PRIu64, w->messages);
    printf("%-20s %8d %-6s %-10s %12s %s\n", or_dash(w->node), w->pid, w->alive ? "alive" : "dead",
           w->exclusive ? "exclusive" : "shared", w->exclusive ? "-" : messages, w->exclusive ? "-" : lock);
}

static void print_writers(const struct seen *seen) {
    if (seen->writer_count)
        printf("\n%-20s %8s %-6s %-10s %12s %s\n", "PUBLISHER", "PID", "STATE", "KIND", "MESSAGES", "LOCK");
    else
        printf("\nno publisher\n");
    for (size_t i = 0; i < seen->writer_count; i++) print_writer(&seen->writers[i]);
}

static const char *reader_state(const struct lw_reader_info *reader) {
    if (reader->alive) return "alive";
    return reader->durable ? "away" : "dead";
}

static const char *reader_kind(const struct lw_reader_info *reader) {
    if (reader->lossy) return "lossy";
    return reader->durable ? "durable" : "reliable";
}

static void print_reader(const struct lw_reader_info *r) {
    char max_lag[24], lost[24];
    printf("%-20s %-16s %8d %-6s %-8s %16" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12s %12s%s\n", or_dash(r->name),
           or_dash(r->node), r->pid, reader_state(r), reader_kind(r), r->position, r->lag_messages, r->lag_bytes,
           number_or_dash(max_lag, r->max_lag), number_or_dash(lost, r->lost), r->evicted ? " evicted" : "");
}

static void print_holding(const struct lw_reader_info *slowest) {
    printf("\nheld back by %s %s: %" PRIu64 " messages behind\n",
           *slowest->name ? "subscriber" : "a subscriber without name of node",
           *slowest->name ? slowest->name : or_dash(slowest->node), slowest->lag_messages);
}

static void print_readers(const struct seen *seen) {
    const struct lw_reader_info *slowest = NULL;
    if (seen->reader_count)
        printf("\n%-20s %-16s %8s %-6s %-8s %16s %12s %12s %12s %12s\n", "SUBSCRIBER", "NODE", "PID", "STATE", "KIND",
               "POSITION", "BEHIND", "BYTES", "MAX-LAG", "LOST");
    else
        printf("\nno subscriber\n");
    for (size_t i = 0; i < seen->reader_count; i++) {
        print_reader(&seen->readers[i]);
        if (seen->readers[i].slowest) slowest = &seen->readers[i];
    }
    if (slowest && slowest->lag_bytes) print_holding(slowest);
}

static int show(struct lw_bus *bus, const char *topic) {
    struct seen seen = {.topic = LW_TOPIC_INFO_INIT};
    int rc = lw_topic_stat(bus, topic, &seen.topic);
    if (!rc) rc = lw_topic_writers(bus, topic, each_writer, &seen);
    if (!rc) rc = lw_topic_readers(bus, topic, each_reader, &seen);
    if (rc) {
        rc = fail_call(rc);
    } else if (common.json) {
        print_json(topic, &seen);
    } else {
        print_topic(topic, &seen.topic);
        print_writers(&seen);
        print_readers(&seen);
    }
    free(seen.writers);
    free(seen.readers);
    return rc;
}

int info_main(int argc, char **argv) {
    struct lw_bus *bus;
    const char *topic = argv[options_read(&usage, argc, argv)];
    int result = bus_observe(&bus);
    if (result) return result;
    result = show(bus, topic);
    lw_bus_close(bus);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* info.c - `laneway info`: shows a topic, its writer, its readers and who holds it back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

static const struct usage usage = {
    .command = "info",
    .arguments = "TOPIC",
    .about = "Shows a topic: shape, writer, readers, how far each is behind and who holds back.\n"
             "It only looks, and disturbs nobody.",
    .least = 1,
    .most = 1,
};

struct readers {
    struct lw_reader_info *list;
    size_t count;
};

static int each_reader(const struct lw_reader_info *reader, void *user) {
    struct readers *readers = user;
    size_t count = readers->count + 1;
    struct lw_reader_info *list = realloc(readers->list, count * sizeof *list);
    if (!list) return -ENOMEM;
    list[readers->count] = *reader;
    readers->list = list;
    readers->count = count;
    return 0;
}

static void json_reader(struct json *json, const struct lw_reader_info *reader) {
    json_open(json, NULL, '{');
    json_text_or_null(json, "name", reader->name);
    json_text_or_null(json, "node", reader->node);
    json_number(json, "slot", reader->slot);
    json_bool(json, "durable", reader->durable);
    json_bool(json, "alive", reader->alive);
    json_number(json, "pid", (uint64_t)reader->pid);
    json_bool(json, "slowest", reader->slowest);
    json_number(json, "position", reader->position);
    json_number(json, "number", reader->number);
    json_number(json, "lag_messages", reader->lag_messages);
    json_number(json, "lag_bytes", reader->lag_bytes);
    json_close(json, '}');
}

static void print_json(const char *topic, const struct lw_topic_info *info, const struct readers *readers) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_topic(&json, topic, info);
    json_open(&json, "readers", '[');
    for (size_t i = 0; i < readers->count; i++) json_reader(&json, &readers->list[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    json_end(&json);
}

static const char *or_dash(const char *text) {
    return *text ? text : "-";
}

static void print_topic(const char *topic, const struct lw_topic_info *info) {
    printf("topic     %s\n", topic);
    if (*info->schema || info->schema_hash) printf("schema    %s:0x%" PRIx64 "\n", info->schema, info->schema_hash);
    printf("ring      %" PRIu64 " bytes, messages up to %" PRIu64 " bytes\n", info->ring, info->record_max);
    printf("slots     %u of %u taken\n", info->readers, info->slots);
    if (*info->writer)
        printf("writer    %s, pid %d, %s\n", info->writer, info->writer_pid, info->writer_alive ? "alive" : "dead");
    else
        printf("writer    none\n");
    printf("next      message %" PRIu64 " at position %" PRIu64 "\n", info->number, info->tail);
    printf("oldest    message %" PRIu64 " at position %" PRIu64 "\n", info->oldest_number, info->oldest);
}

static const char *reader_state(const struct lw_reader_info *reader) {
    if (reader->alive) return "alive";
    return reader->durable ? "away" : "dead";
}

static void print_readers(const struct readers *readers) {
    const struct lw_reader_info *slowest = NULL;
    if (readers->count)
        printf("\n%-20s %-16s %8s %-6s %16s %12s %12s\n", "READER", "NODE", "PID", "STATE", "POSITION", "BEHIND",
               "BYTES");
    for (size_t i = 0; i < readers->count; i++) {
        const struct lw_reader_info *r = &readers->list[i];
        printf("%-20s %-16s %8d %-6s %16" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n", or_dash(r->name), or_dash(r->node),
               r->pid, reader_state(r), r->position, r->lag_messages, r->lag_bytes);
        if (r->slowest) slowest = r;
    }
    if (slowest && slowest->lag_bytes)
        printf("\nheld back by %s %s: %" PRIu64 " messages behind\n",
               *slowest->name ? "subscriber" : "a subscriber without name of node",
               *slowest->name ? slowest->name : or_dash(slowest->node), slowest->lag_messages);
}

static int show(struct lw_bus *bus, const char *topic) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct readers readers = {0};
    int rc = lw_topic_stat(bus, topic, &info);
    if (!rc) rc = lw_topic_readers(bus, topic, each_reader, &readers);
    if (rc) {
        rc = fail_call(rc);
    } else if (common.json) {
        print_json(topic, &info, &readers);
    } else {
        print_topic(topic, &info);
        print_readers(&readers);
    }
    free(readers.list);
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

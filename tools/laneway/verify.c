/* SPDX-License-Identifier: MIT */
/* verify.c - `laneway verify`: walks over all that a topic holds and checks it. */
#include <inttypes.h>
#include <stdio.h>

#include "tool.h"

static const struct usage usage = {
    .command = "verify",
    .arguments = "TOPIC",
    .about = "Checks every record that a topic still holds, and its tables. It only looks, and may\n"
             "run beside a publisher. Exit code 6 when something is wrong.",
    .least = 1,
    .most = 1,
};

static void print_json(const char *topic, const struct lw_verify_result *result) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_text(&json, "topic", topic);
    json_bool(&json, "ok", true);
    json_number(&json, "from", result->from);
    json_number(&json, "to", result->to);
    json_number(&json, "records", result->records);
    json_number(&json, "batches", result->batches);
    json_number(&json, "bytes", result->bytes);
    json_number(&json, "skipped", result->skipped);
    json_close(&json, '}');
    json_end(&json);
}

static void print_text(const char *topic, const struct lw_verify_result *result) {
    printf("%s: ok, %" PRIu64 " records in %" PRIu64 " batches, %" PRIu64 " bytes, positions %" PRIu64 " to %" PRIu64
           "\n",
           topic, result->records, result->batches, result->bytes, result->from, result->to);
    if (result->skipped)
        printf("%s: %" PRIu64 " bytes were overwritten before they could be looked at\n", topic, result->skipped);
}

static int verify(struct lw_bus *bus, const char *topic) {
    struct lw_verify_result result = LW_VERIFY_RESULT_INIT;
    int rc = lw_topic_verify(bus, topic, &result);
    if (rc) return fail_call(rc);
    if (common.json)
        print_json(topic, &result);
    else
        print_text(topic, &result);
    return EXIT_OK;
}

int verify_main(int argc, char **argv) {
    struct lw_bus *bus;
    const char *topic = argv[options_read(&usage, argc, argv)];
    int result = bus_observe(&bus);
    if (result) return result;
    result = verify(bus, topic);
    lw_bus_close(bus);
    return result;
}

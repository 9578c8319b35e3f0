/* SPDX-License-Identifier: MIT */
/* forget.c - `laneway forget`: frees the place of a durable subscriber that will not come back. */
#include "tool.h"

static const struct usage usage = {
    .command = "forget",
    .arguments = "TOPIC NAME",
    .about = "Frees the place that a topic keeps for the durable subscriber NAME. What it has not\n"
             "read is no longer kept for it. Refused while a live process has it open.",
    .least = 2,
    .most = 2,
};

static int forget(struct lw_bus *bus, const char *topic, const char *name) {
    struct json json = json_stdout();
    int rc = lw_topic_forget(bus, topic, name);
    if (rc) return fail_call(rc);
    if (!common.json) return EXIT_OK;
    json_open(&json, NULL, '{');
    json_text(&json, "topic", topic);
    json_text(&json, "name", name);
    json_bool(&json, "forgotten", true);
    json_close(&json, '}');
    json_end(&json);
    return EXIT_OK;
}

int forget_main(int argc, char **argv) {
    struct lw_bus *bus;
    char **args = argv + options_read(&usage, argc, argv);
    int result = bus_join_there(&bus);
    if (result) return result;
    result = forget(bus, args[0], args[1]);
    lw_bus_close(bus);
    return result;
}

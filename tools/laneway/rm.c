/* SPDX-License-Identifier: MIT */
/* rm.c - `laneway rm`: removes a topic with what is in it. */
#include "tool.h"

static bool force;

static const struct option_row rows[] = {
    {"force", 'f', parse_flag, &force, NULL, "also while live processes have it open, or when it is damaged"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "rm",
    .arguments = "TOPIC",
    .about = "Removes a topic with what is in it. Refused while live processes have it open; with\n"
             "--force they are told that it is closed.",
    .rows = rows,
    .least = 1,
    .most = 1,
};

static int remove_topic(struct lw_bus *bus, const char *topic) {
    struct json json = json_stdout();
    int rc = lw_topic_remove(bus, topic, force ? LW_REMOVE_FORCE : 0u);
    if (rc) return fail_call(rc);
    if (!common.json) return EXIT_OK;
    json_open(&json, NULL, '{');
    json_text(&json, "topic", topic);
    json_bool(&json, "removed", true);
    json_close(&json, '}');
    json_end(&json);
    return EXIT_OK;
}

int rm_main(int argc, char **argv) {
    struct lw_bus *bus;
    const char *topic = argv[options_read(&usage, argc, argv)];
    int result = bus_join_there(&bus);
    if (result) return result;
    result = remove_topic(bus, topic);
    lw_bus_close(bus);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* rm.c - `laneway rm`: removes a topic, or (links.c) links, with what is in them. */
#include <string.h>

#include "tool.h"

static bool force;

static const struct option_row rows[] = {
    {"force", 'f', parse_flag, &force, NULL, "also while live processes have it open, or when it is damaged"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "rm",
    .arguments = "TOPIC | links PATTERN",
    .about = "Removes a topic, or the links that fit PATTERN, with what is in them. Refused while live\n"
             "processes have it open; with --force they are told that it is closed.\n\n"
             "PATTERN is SERVER/CLIENT or SERVER, with * ? [...] as in a shell: 'Server2018*'. Says for\n"
             "each link how many messages were discarded that nobody had released.\n\n"
             "Of a link over TCP the side that is on this bus is removed; tcp://HOST:PORT/SERVER/CLIENT\n"
             "is the client's side, where both are here. To remove one side is also the way out when the\n"
             "two do not belong together (LW_EMISMATCH): what the other one has is delivered, and both\n"
             "begin anew.",
    .rows = rows,
    .least = 1,
    .most = 2,
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
    char **args = argv + options_read(&usage, argc, argv);
    const char *pattern = args[1];
    if (pattern && strcmp(args[0], "links") != 0)
        options_refuse(&usage, "'%s' is one argument too many; only links take a pattern", pattern);
    if (pattern) links_check(&usage, pattern);
    int result = bus_join_there(&bus);
    if (result) return result;
    result = pattern ? links_remove(bus, pattern, force) : remove_topic(bus, args[0]);
    lw_bus_close(bus);
    return result;
}

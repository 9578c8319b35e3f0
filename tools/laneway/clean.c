/* SPDX-License-Identifier: MIT */
/* clean.c - `laneway clean`: takes back what dead processes left on a bus. */
#include <stdio.h>

#include "tool.h"

static const struct usage usage = {
    .command = "clean",
    .arguments = "",
    .about = "Takes back what dead processes left. Whoever opens a topic does that for the topic,\n"
             "so nobody needs this; it tidies. What lives is left alone.",
    .least = 0,
    .most = 0,
};

static void print_json(const struct lw_clean_result *result) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_number(&json, "nodes", result->nodes);
    json_number(&json, "readers", result->readers);
    json_number(&json, "writers", result->writers);
    json_number(&json, "files", result->files);
    json_close(&json, '}');
    json_end(&json);
}

static int clean(struct lw_bus *bus) {
    struct lw_clean_result result = LW_CLEAN_RESULT_INIT;
    int rc = lw_bus_clean(bus, &result);
    if (rc) return fail_call(rc);
    if (common.json)
        print_json(&result);
    else
        printf("of dead processes: %zu nodes, %zu subscribers, %zu publishers, %zu unfinished "
               "files\n",
               result.nodes, result.readers, result.writers, result.files);
    return EXIT_OK;
}

int clean_main(int argc, char **argv) {
    struct lw_bus *bus;
    options_read(&usage, argc, argv);
    int result = bus_join_there(&bus);
    if (result) return result;
    result = clean(bus);
    lw_bus_close(bus);
    return result;
}

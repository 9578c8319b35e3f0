/* SPDX-License-Identifier: MIT */
/* create.c - `laneway create`: makes a topic, or checks that it has the shape asked for. */
#include "tool.h"

static struct lw_shape shape;

static const struct option_row rows[] = {
    OPTION_RING(shape),      OPTION_SLOTS(shape),     OPTION_SCHEMA(shape),
    OPTION_EVICT_LAG(shape), OPTION_EVICT_AGE(shape), OPTION_END,
};

static const struct usage usage = {
    .command = "create",
    .arguments = "TOPIC",
    .about = "Makes a topic. If it is there already, an option that differs from what it is makes\n"
             "this fail, unless the topic is still empty: then it gets the new shape.\n"
             "Who is evicted holds publishers back no more, loses messages, and is told how many.",
    .rows = rows,
    .least = 1,
    .most = 1,
};

static int create(struct lw_bus *bus, const char *topic) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct json json = json_stdout();
    int rc = lw_topic_create(bus, topic, &shape);
    if (!rc && common.json) rc = lw_topic_stat(bus, topic, &info);
    if (rc) return fail_call(rc);
    if (!common.json) return EXIT_OK;
    json_open(&json, NULL, '{');
    json_topic(&json, topic, &info);
    json_close(&json, '}');
    json_end(&json);
    return EXIT_OK;
}

int create_main(int argc, char **argv) {
    struct lw_bus *bus;
    const char *topic = argv[options_read(&usage, argc, argv)];
    shape_check(&usage, &shape);
    int result = bus_join(&bus);
    if (result) return result;
    result = create(bus, topic);
    lw_bus_close(bus);
    return result;
}

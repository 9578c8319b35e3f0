/* SPDX-License-Identifier: MIT */
/* ls.c - `laneway ls`: lists the topics, the nodes or (links.c) the links of a bus. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

static bool long_form;

static const struct option_row rows[] = {
    {"long", 'l', parse_flag, &long_form, NULL, "show counts too"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "ls",
    .arguments = "[topics|nodes|links [PATTERN]]",
    .about = "Lists the topics of the bus, its nodes, or its links. With --json one object a line. What\n"
             "can not be read does not hide the others; the exit code is 1 then.\n\n"
             "PATTERN picks links: SERVER/CLIENT or SERVER, with * ? [...] as in a shell. Of a link it\n"
             "tells who has it open on either side, and the messages that nobody has released: up to\n"
             "the server, and down to the client. Of a link over TCP one side is here, and the address\n"
             "of the other one stands in the place of its node. tcp://HOST:PORT/SERVER/CLIENT picks the\n"
             "client's sides only.",
    .rows = rows,
    .least = 0,
    .most = 2,
};

struct listing {
    struct lw_bus *bus;
    unsigned topics, unreadable;
};

static void print_topic_json(const char *topic, const struct lw_topic_info *info) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_topic(&json, topic, info);
    json_close(&json, '}');
    json_end(&json);
}

static void print_topic_long(const char *topic, const struct lw_topic_info *info) {
    char writers[16];
    snprintf(writers, sizeof writers, "%u", info->writers);
    printf("%12" PRIu64 " %12" PRIu64 " %11u %10s  %s\n", info->number, info->ring, info->readers,
           info->exclusive ? "exclusive" : writers, topic);
}

/* A topic that went away since it was listed is passed over; one that can't be read does not hide
 * the others. */
static int each_topic(const char *topic, void *user) {
    struct listing *listing = user;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    if (!common.json && !long_form) {
        puts(topic);
        return 0;
    }
    int rc = lw_topic_stat(listing->bus, topic, &info);
    if (rc == LW_ENOTOPIC) return 0;
    listing->topics++;
    if (rc) {
        fail_call(rc);
        listing->unreadable++;
    } else if (common.json) {
        print_topic_json(topic, &info);
    } else {
        print_topic_long(topic, &info);
    }
    return 0;
}

static int each_node(const struct lw_node_info *node, void *user) {
    struct json json = json_stdout();
    (void)user;
    if (!common.json && !long_form) {
        if (node->alive) puts(node->name);
        return 0;
    }
    if (!common.json) {
        printf("%6u %8u %8d  %-6s %s\n", node->id, node->epoch, node->pid, node->alive ? "alive" : "gone", node->name);
        return 0;
    }
    json_open(&json, NULL, '{');
    json_text(&json, "name", node->name);
    json_number(&json, "id", node->id);
    json_number(&json, "epoch", node->epoch);
    json_bool(&json, "alive", node->alive);
    json_number(&json, "pid", (uint64_t)node->pid);
    json_close(&json, '}');
    json_end(&json);
    return 0;
}

static int list(struct lw_bus *bus, bool nodes) {
    struct listing listing = {.bus = bus};
    bool heading = long_form && !common.json;
    if (heading && nodes)
        printf("%6s %8s %8s  %-6s %s\n", "ID", "EPOCH", "PID", "STATE", "NAME");
    else if (heading)
        printf("%12s %12s %11s %10s  %s\n", "MESSAGES", "RING", "SUBSCRIBERS", "PUBLISHERS", "TOPIC");
    int rc = nodes ? lw_bus_nodes(bus, each_node, NULL) : lw_topic_list(bus, each_topic, &listing);
    if (rc) return fail_call(rc);
    if (!listing.unreadable) return EXIT_OK;
    warning("%u of %u topics could not be read and are not in the list", listing.unreadable, listing.topics);
    return EXIT_FAILED;
}

enum listed { TOPICS, NODES, LINKS };

static enum listed what_of(const char *word) {
    static const char *const words[] = {"topics", "nodes", "links"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (!word || !strcmp(word, words[i])) return (enum listed)i;
    options_refuse(&usage, "'%s' is neither topics nor nodes nor links", word);
}

int ls_main(int argc, char **argv) {
    struct lw_bus *bus;
    char **args = argv + options_read(&usage, argc, argv);
    enum listed what = what_of(args[0]);
    const char *pattern = args[0] ? args[1] : NULL;
    if (pattern && what != LINKS) options_refuse(&usage, "'%s' is one argument too many", pattern);
    if (pattern) links_check(&usage, pattern);
    int result = bus_observe(&bus);
    if (result) return result;
    result = what == LINKS ? links_list(bus, pattern, long_form) : list(bus, what == NODES);
    lw_bus_close(bus);
    return result;
}

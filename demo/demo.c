/* SPDX-License-Identifier: MIT */
/*
 * demo/demo.c - `make demo`: real files go through a topic, and to and fro over links, while those who send and receive
 * them are killed. topic_act.h and link_act.h are the two acts. When it ends, no process and no file is left.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "link_act.h"
#include "stage.h"
#include "topic_act.h"

enum {
    KILLS = 200,       /* of each, at points along the way */
    PASSES = 64,       /* how often the input is sent */
    REQUESTS = 1200000 /* of each client */
};

static struct { uint64_t kills, passes, requests; } ask = {KILLS, PASSES, REQUESTS};

static void usage(FILE *to) {
    fprintf(to,
            "usage: demo [--seed N] [--kills N] [--passes N] [--requests N]\n\n"
            "  --seed N      play an earlier run again: the same records, the same moments to kill\n"
            "  --kills N     kill each of the two of the topic, and the server of the links, at least so often, and\n"
            "                each of its four clients half as often (default %d)\n"
            "  --passes N    send the %d MB through the topic so many times (default %d)\n"
            "  --requests N  of each client (default %d)\n",
            KILLS, INPUT_SIZE / 1000000, PASSES, REQUESTS);
}

static uint64_t number_of(const char *text) {
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 0);
    if (errno || *end || end == text || *text == '-') {
        usage(stderr);
        exit(2);
    }
    return number;
}

static uint64_t *asked_for(int option) {
    switch (option) {
    case 's':
        return &stage.seed;
    case 'k':
        return &ask.kills;
    case 'p':
        return &ask.passes;
    default:
        return &ask.requests;
    }
}

static void read_options(int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},   {"kills", required_argument, NULL, 'k'},
        {"passes", required_argument, NULL, 'p'}, {"requests", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    int option;
    if (getrandom(&stage.seed, sizeof stage.seed, 0) < 0) stage.seed = now_ns();
    stage.seed >>= 32;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') usage(stdout);
        if (option == 'h' || option == '?') exit(option == 'h' ? 0 : 2);
        *asked_for(option) = number_of(optarg);
    }
    bool sane = ask.passes && ask.passes <= 1000 && ask.kills <= 10000 && ask.requests && ask.requests <= 1000000000;
    if (optind < argc || !sane) usage(stderr), exit(2);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    watch_signals();
    printf("Laneway %s: files go through a topic, then over links, while their users are killed. --seed %" PRIu64
           " plays this again.\n",
           lw_version(), stage.seed);
    fflush(stdout);
    if (!input_make(&stage.input, stage.seed)) fail("there is nothing to send: tar gives nothing of /usr");
    make_place();
    make_topic_act(ask.kills, ask.passes);
    make_link_act(ask.kills, ask.requests);
    show_topic_begin();
    play_topic();
    struct outcome topic = show_topic_end();
    show_link_begin();
    play_links();
    struct outcome links = show_link_end();
    uint64_t lost = topic.lost + links.lost, repeated = topic.repeated + links.repeated;
    printf("\ndemo: %" PRIu64 " messages, %" PRIu64 " lost, %" PRIu64 " repeated\n", topic.messages + links.messages,
           lost, repeated);
    return topic.good && links.good && !lost && !repeated ? 0 : 1;
}

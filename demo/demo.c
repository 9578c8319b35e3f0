/* SPDX-License-Identifier: MIT */
/*
 * demo/demo.c - `make demo`: real files go through a topic, and to and fro over links, within a host and over TCP, while
 * those who send and receive them are killed and the connection is cut. topic_act.h, link_act.h and tcp_act.h are the
 * three acts. When it ends, no process and no file is left.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "link_act.h"
#include "stage.h"
#include "tcp_act.h"
#include "topic_act.h"

enum {
    KILLS = 200,        /* of each, at points along the way */
    PASSES = 64,        /* how often the input is sent */
    REQUESTS = 1200000, /* of each client on the server's host */
    AFAR = 600000,      /* of the one over TCP */
    CUTS = 200          /* of its connection */
};

static struct { uint64_t kills, passes, requests, afar, cuts; } ask = {KILLS, PASSES, REQUESTS, AFAR, CUTS};

static void usage(FILE *to) {
    fprintf(to,
            "usage: demo [--seed N] [--kills N] [--passes N] [--requests N] [--afar N] [--cuts N] [--keep]\n\n"
            "  --seed N      play an earlier run again: the same records, the same moments to kill\n"
            "  --kills N     kill each of the two of the topic, and the servers, at least so often, and each of their\n"
            "                clients half as often (default %d)\n"
            "  --passes N    send the %d MB through the topic so many times (default %d)\n"
            "  --requests N  of each client on the server's host (default %d)\n"
            "  --afar N      of the client over TCP (default %d)\n"
            "  --cuts N      cut its connection at least so often (default %d)\n"
            "  --keep        leave the buses where they are, to look at them\n",
            KILLS, INPUT_SIZE / 1000000, PASSES, REQUESTS, AFAR, CUTS);
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
    case 'a':
        return &ask.afar;
    case 'c':
        return &ask.cuts;
    default:
        return &ask.requests;
    }
}

static void read_options(int argc, char **argv) {
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"kills", required_argument, NULL, 'k'},
                                            {"passes", required_argument, NULL, 'p'},
                                            {"requests", required_argument, NULL, 'r'},
                                            {"afar", required_argument, NULL, 'a'},
                                            {"cuts", required_argument, NULL, 'c'},
                                            {"keep", no_argument, NULL, 'K'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    if (getrandom(&stage.seed, sizeof stage.seed, 0) < 0) stage.seed = now_ns();
    stage.seed >>= 32;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') usage(stdout);
        if (option == 'h' || option == '?') exit(option == 'h' ? 0 : 2);
        if (option == 'K')
            stage.keep = true;
        else
            *asked_for(option) = number_of(optarg);
    }
    bool sane = ask.passes && ask.passes <= 1000 && ask.kills <= 10000 && ask.requests && ask.requests <= 1000000000 &&
                ask.afar && ask.afar <= 1000000000 && ask.cuts <= 10000;
    if (optind < argc || !sane) usage(stderr), exit(2);
}

static struct link_act link_act;

/* One act after the other. What became of all of it. */
static struct outcome play(void) {
    show_topic_begin();
    play_topic();
    struct outcome all = show_topic_end();
    show_link_begin(&link_act);
    play_links(&link_act);
    struct outcome links = show_link_end(&link_act);
    links.good &= links_are_sound(&link_act, stage.bus);
    show_tcp_begin();
    play_tcp();
    struct outcome tcp = show_tcp_end();
    all.messages += links.messages + tcp.messages;
    all.lost += links.lost + tcp.lost;
    all.repeated += links.repeated + tcp.repeated;
    all.good &= links.good && tcp.good;
    return all;
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    watch_signals();
    printf("Laneway %s: files go through a topic, then over links, then over TCP, while their users are killed. --seed "
           "%" PRIu64 " plays this again.\n",
           lw_version(), stage.seed);
    fflush(stdout);
    if (!input_make(&stage.input, stage.seed)) fail("there is nothing to send: tar gives nothing of /usr");
    make_place();
    make_topic_act(ask.kills, ask.passes);
    make_link_act(&link_act, CLIENTS, ask.kills, ask.requests);
    make_tcp_act(ask.kills, ask.cuts, ask.afar);
    struct outcome all = play();
    printf("\ndemo: %" PRIu64 " messages, %" PRIu64 " lost, %" PRIu64 " repeated\n", all.messages, all.lost,
           all.repeated);
    return all.good && !all.lost && !all.repeated ? 0 : 1;
}

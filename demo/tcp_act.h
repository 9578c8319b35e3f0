/* SPDX-License-Identifier: MIT */
/*
 * demo/tcp_act.h - the third act: a link over TCP, between two buses, through a bad network.
 *
 *     bus "west": client --- connects to ---> the proxy, a thread of the parent --- connects to ---> bus "east": server
 *
 * The proxy cuts each connection at random, by reset or by close, after a random count of bytes in a random direction; the
 * parent kills both processes meanwhile, and the checker is that of the second act. The client goes no further than the
 * cuts have come, so that each of them happens; where it waits and no byte flows, the parent cuts.
 */
#ifndef DEMO_TCP_ACT_H
#define DEMO_TCP_ACT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "link_act.h"
#include "proxy.h" /* of tests/util: it needs nothing of Laneway */

enum { IDLE_NS = 20000000 /* at its gate for so long: nothing flows any more */ };

struct tcp_act {
    struct link_act links;
    struct proxy *proxy;
    struct proxy_counts counts; /* at the end */
    uint64_t cuts;              /* wanted */
    uint64_t by_hand;           /* done by the parent */
    uint64_t came, came_ns;     /* how far the client has come, and since when */
    int reserve;                /* a socket that keeps the server's port while it is dead */
    char west[80], east[80], listen[64], address[64];
};

static struct tcp_act tcp_act;

/* ---- setting up --------------------------------------------------------------------------------------------------- */

/* Others may listen at this port as long as this socket does not; nobody else gets it. */
static int reserve_port(int *reserve) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1;
    *reserve = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*reserve < 0 || setsockopt(*reserve, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(*reserve, (struct sockaddr *)&address, size) || getsockname(*reserve, (struct sockaddr *)&address, &size))
        fail("no port on the loopback interface: %s", strerror(errno));
    return ntohs(address.sin_port);
}

/* Some two cuts for each that is wanted, by the bytes in both directions: each connection gets up to twice the mean in one. */
static int64_t bytes_between_cuts(const struct tcp_act *act) {
    uint64_t bytes = (uint64_t)INPUT_SIZE / stage.input.count * act->links.total;
    return (int64_t)(bytes / (2 * act->cuts + 1)) + 1;
}

/* Not before its act: children of the others need not have its sockets. */
static void open_network(struct tcp_act *act) {
    char upstream[32];
    snprintf(upstream, sizeof upstream, "127.0.0.1:%d", reserve_port(&act->reserve));
    act->proxy = proxy_start(upstream);
    if (!act->proxy) fail("no proxy: %s", strerror(errno));
    snprintf(act->listen, sizeof act->listen, "tcp://%s", upstream);
    snprintf(act->address, sizeof act->address, "tcp://127.0.0.1:%d/%s", proxy_port(act->proxy), SERVER);
    proxy_random(act->proxy, stage.seed, bytes_between_cuts(act));
}

static void make_tcp_act(uint64_t kills, uint64_t cuts, uint64_t total) {
    struct tcp_act *act = &tcp_act;
    make_link_act(&act->links, 1, kills, total);
    act->cuts = cuts;
    snprintf(act->west, sizeof act->west, "%s/west", stage.dir);
    snprintf(act->east, sizeof act->east, "%s/east", stage.dir);
    act->links.server.part.dir = act->east;
    act->links.server.part.listen = act->listen;
    act->links.talkers[0].actor.part.dir = act->west;
    act->links.talkers[0].actor.part.address = act->address;
}

/* ---- the run ------------------------------------------------------------------------------------------------------ */

static bool is_idle(struct tcp_act *act) {
    uint64_t came = answered(&act->links), now = now_ns();
    if (came != act->came) {
        act->came = came;
        act->came_ns = now;
    }
    return now - act->came_ns > IDLE_NS;
}

/* After each cut the client may go on by its share of the way. */
static void tcp_step(struct link_act *links) {
    struct tcp_act *act = (struct tcp_act *)(void *)((char *)links - offsetof(struct tcp_act, links));
    struct proxy_counts counts = proxy_count(act->proxy);
    links->limit = counts.cuts < act->cuts ? links->total * (counts.cuts + 1) / (act->cuts + 1) : links->total;
    if (!is_idle(act) || counts.cuts >= act->cuts || act->came < links->limit || !counts.live) return;
    proxy_cut_now(act->proxy, dice(2) ? CUT_RST : CUT_FIN);
    act->by_hand++;
    act->came_ns = now_ns();
}

static void play_tcp(void) {
    struct tcp_act *act = &tcp_act;
    open_network(act);
    act->links.step = tcp_step;
    play_links(&act->links);
    act->counts = proxy_count(act->proxy);
    proxy_stop(act->proxy);
    close(act->reserve);
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

static void show_tcp_begin(void) {
    const struct tcp_act *act = &tcp_act;
    printf("\n  tcp        %s on one bus talks to the server \"%s\" on another one, by TCP through a proxy that cuts;\n"
           "             %" PRIu64 " records of those files, there and back\n",
           client_names[0], SERVER, act->links.total);
    fflush(stdout);
}

static struct outcome show_tcp_end(void) {
    const struct tcp_act *act = &tcp_act;
    struct outcome outcome = show_link_end(&act->links);
    printf("  network    %" PRIu64 " connections, %" PRIu64 " of them cut (%" PRIu64
           " while nothing flowed); %.0f MB passed for %.0f MB of records\n",
           act->counts.connections, act->counts.cuts, act->by_hand,
           (double)(act->counts.bytes[0] + act->counts.bytes[1]) / 1e6,
           (double)(act->links.talkers[0].requests.bytes + act->links.talkers[0].answers.bytes) / 1e6);
    outcome.good &= links_are_sound(&act->links, act->west) && links_are_sound(&act->links, act->east);
    outcome.good &= act->counts.cuts >= act->cuts;
    return outcome;
}

#endif

/* SPDX-License-Identifier: MIT */
/* bench/list.c - the table of benchmarks. A new one is a file beside this and a line here. */
#include "bench.h"

#include <stddef.h>

#include "lane.h"
#include "links.h"
#include "tcp.h"

const struct bench lw_benches[] = {
    {"lane-rtt", bench_lane_rtt, "a message there and one back, against a bare cache-line ping-pong"},
    {"lane-rate", bench_lane_rate, "messages a second from one process to another"},
    {"lane-readers", bench_lane_readers, "what further subscribers add to the cost of a message"},
    {"shared-rate", bench_shared_rate, "messages a second from the only publisher of a shared topic"},
    {"lossy-rate", bench_lossy_rate, "what lossy subscribers add to the cost of a message"},
    {"contend-rate", bench_contend_rate, "messages a second of two publishers of a topic, against a lone one"},
    {"link-rtt", bench_link_rtt, "a message there and one back over a link, against a bare cache-line ping-pong"},
    {"link-rate", bench_link_rate, "messages a second over a link and back"},
    {"wake-rtt", bench_wake_rtt, "a message there and one back between two that sleep, against eventfd and epoll"},
    {"idle-links", bench_idle_links, "what ten thousand links cost that have nothing to say, and a thousand busy ones"},
    {"tcp-rtt", bench_tcp_rtt, "a message there and one back over a link over TCP, against a bare connection"},
    {"tcp-rate", bench_tcp_rate, "bytes a second one way over a link over TCP, against a bare connection"},
    {NULL, NULL, NULL},
};

/* SPDX-License-Identifier: MIT */
/* bench/tcp.h - the benchmarks of links over TCP, by loopback. */
#ifndef BENCH_TCP_H
#define BENCH_TCP_H

int bench_tcp_rtt(int argc, char **argv);
int bench_tcp_rate(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT */
/* bench/links.h - the benchmarks of links between two processes. */
#ifndef BENCH_LINKS_H
#define BENCH_LINKS_H

int bench_link_rtt(int argc, char **argv);
int bench_link_rate(int argc, char **argv);
int bench_wake_rtt(int argc, char **argv);
int bench_idle_links(int argc, char **argv);

#endif

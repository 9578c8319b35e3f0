/* SPDX-License-Identifier: MIT */
/* bench/lane.h - the benchmarks of a topic between two processes. */
#ifndef BENCH_LANE_H
#define BENCH_LANE_H

int bench_lane_rtt(int argc, char **argv);
int bench_lane_rate(int argc, char **argv);
int bench_lane_readers(int argc, char **argv);
int bench_shared_rate(int argc, char **argv);
int bench_lossy_rate(int argc, char **argv);
int bench_contend_rate(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * bench/bench.h - the benchmarks that `laneway bench NAME` runs.
 *
 * Each prints one result a run: a small table, or with --json one object with the fields of struct
 * bench_result in bench/report.h. `main` gets the benchmark's own name as argv[0] and returns the
 * exit code: 0 ok, 1 failure, 2 usage, 130 interrupted.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

struct bench {
    const char *name; /* NULL ends the table */
    int (*main)(int argc, char **argv);
    const char *what; /* one line for the list of benchmarks */
};

extern const struct bench lw_benches[];

#endif

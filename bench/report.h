/* SPDX-License-Identifier: MIT */
/* bench/report.h - results, the same for every benchmark. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "settings.h"
#include "tool.h"

enum { BENCH_FIGURES = 24 };

/* What only this benchmark has. */
struct bench_figure {
    const char *name; /* constants, both */
    const char *what; /* unit, or some words more */
    double value;
};

/* NAN where a field has no meaning. */
struct bench_result {
    const char *bench;
    const char *unit; /* of value; percentiles are always ns */
    double value;     /* best round */
    double reference; /* best round of what value is compared with */
    const char *reference_unit;
    double ratio;   /* value / reference */
    double per_rtt; /* messages moved while the reference makes one round trip */
    double p50, p99, p999, max;
    double steady;      /* undisturbed rounds behind value and reference; 0: too few, so all counted */
    double samples;     /* behind the percentiles */
    double least_share; /* of one of two publishers, in the worst second */
    struct bench_figure figures[BENCH_FIGURES];
    size_t figure_count;
};

/* One in which nothing is known. */
struct bench_result bench_result_init(const char *bench, const char *unit);

/* Adds a figure: printed after the fields that all have. */
void bench_add(struct bench_result *result, const char *name, double value, const char *what);

/* Prints one result to stdout. */
void bench_report(const struct bench_options *options, const struct bench_result *result);

/* Sorts `samples`, in ticks, and sets the percentiles of `result`. */
void bench_percentiles(struct bench_result *result, uint64_t *samples, size_t count, double ns_per_tick);

#endif

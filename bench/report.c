/* SPDX-License-Identifier: MIT */
/* bench/report.c - results, the same for every benchmark. */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench_result bench_result_init(const char *bench, const char *unit) {
    return (struct bench_result){.bench = bench,
                                 .unit = unit,
                                 .value = NAN,
                                 .reference = NAN,
                                 .reference_unit = "ns",
                                 .ratio = NAN,
                                 .per_rtt = NAN,
                                 .p50 = NAN,
                                 .p99 = NAN,
                                 .p999 = NAN,
                                 .max = NAN,
                                 .steady = NAN,
                                 .samples = NAN,
                                 .least_share = NAN};
}

void bench_add(struct bench_result *result, const char *name, double value, const char *what) {
    if (result->figure_count < BENCH_FIGURES)
        result->figures[result->figure_count++] = (struct bench_figure){name, what, value};
}

/* ---- output ------------------------------------------------------------------------------- */

static void print_field(const char *name, double value, const char *after) {
    if (isnan(value))
        printf("\"%s\":null%s", name, after);
    else
        printf("\"%s\":%.*f%s", name, value < 1e6 ? 3 : 0, value, after);
}

static void print_json(const struct bench_options *options, const struct bench_result *result) {
    printf("{\"bench\":\"%s\",\"size\":%" PRIu64 ",\"unit\":\"%s\",", result->bench, options->size, result->unit);
    print_field("value", result->value, ",");
    print_field("reference", result->reference, ",");
    print_field("ratio", result->ratio, ",");
    print_field("per_rtt", result->per_rtt, ",");
    print_field("p50", result->p50, ",");
    print_field("p99", result->p99, ",");
    print_field("p999", result->p999, ",");
    print_field("max", result->max, ",");
    print_field("steady", result->steady, ",");
    print_field("least_share", result->least_share, ",");
    if (isnan(result->samples))
        printf("\"samples\":null");
    else
        printf("\"samples\":%.0f", result->samples);
    for (size_t i = 0; i < result->figure_count; i++) {
        printf(",");
        print_field(result->figures[i].name, result->figures[i].value, "");
    }
    printf("}\n");
}

static void print_row(const char *name, double value, const char *unit) {
    if (!isnan(value)) printf("  %-16s %12.*f %s\n", name, value < 1e4 ? 2 : 0, value, unit);
}

static void print_table(const struct bench_options *options, const struct bench_result *result) {
    printf("%s, %" PRIu64 " bytes\n", result->bench, options->size);
    print_row("value", result->value, result->unit);
    print_row("reference", result->reference, result->reference_unit);
    print_row("ratio", result->ratio, "");
    print_row("per_rtt", result->per_rtt, "messages in one round trip of the reference");
    print_row("p50", result->p50, "ns");
    print_row("p99", result->p99, "ns");
    print_row("p99.9", result->p999, "ns");
    print_row("max", result->max, "ns");
    print_row("steady", result->steady, "undisturbed rounds; 0: too few, so all counted");
    print_row("least_share", result->least_share, "of one publisher, in the worst second");
    print_row("samples", result->samples, "");
    for (size_t i = 0; i < result->figure_count; i++)
        print_row(result->figures[i].name, result->figures[i].value, result->figures[i].what);
}

void bench_report(const struct bench_options *options, const struct bench_result *result) {
    if (common.json)
        print_json(options, result);
    else
        print_table(options, result);
}

/* ---- percentiles -------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void bench_percentiles(struct bench_result *result, uint64_t *samples, size_t count, double ns_per_tick) {
    if (!count) return;
    qsort(samples, count, sizeof *samples, compare);
    const size_t middle = count / 2, high = count * 99 / 100, higher = count * 999 / 1000;
    result->p50 = (double)samples[middle] * ns_per_tick;
    result->p99 = (double)samples[high] * ns_per_tick;
    result->p999 = (double)samples[higher] * ns_per_tick;
    result->max = (double)samples[count - 1] * ns_per_tick;
    result->samples = (double)count;
}

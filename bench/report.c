/* SPDX-License-Identifier: MIT */
/* bench/report.c - options and results, the same for every benchmark. */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *bench_parse_rounds(const char *text, void *value) {
    uint64_t rounds;
    if (parse_number(text, &rounds) || rounds < BENCH_ROUNDS_LEAST || rounds > BENCH_ROUNDS_MOST)
        return "a number from 15 to 1000";
    *(uint64_t *)value = rounds;
    return NULL;
}

const char *bench_parse_readers(const char *text, void *value) {
    uint64_t readers;
    if (parse_number(text, &readers) || readers > BENCH_READERS_MOST) return "a number from 0 to 63";
    *(uint64_t *)value = readers;
    return NULL;
}

const char *bench_parse_batch(const char *text, void *value) {
    uint64_t batch;
    if (parse_number(text, &batch) || !batch || batch > BENCH_BATCH_MOST) return "a number from 1 to 64";
    *(uint64_t *)value = batch;
    return NULL;
}

const char *bench_parse_api(const char *text, void *value) {
    bool reserve = strcmp(text, "reserve") == 0;
    if (!reserve && strcmp(text, "send") != 0) return "send or reserve";
    *(enum bench_api *)value = reserve ? BENCH_RESERVE : BENCH_SEND;
    return NULL;
}

void bench_options_read(const struct usage *usage, struct bench_options *options, int argc, char **argv) {
    options_read(usage, argc, argv);
    if (options->size > BENCH_SIZE_MOST)
        options_refuse(usage, "--size %" PRIu64 ": at most %d", options->size, BENCH_SIZE_MOST);
}

void bench_choose_ring(const struct usage *usage, struct bench_options *options, uint64_t best) {
    uint64_t needed = 2 * (options->size + 16);
    if (!options->ring)
        for (options->ring = best; options->ring < needed;) options->ring *= 2;
    if (options->ring < needed)
        options_refuse(usage, "--size %" PRIu64 " does not fit: at most half the ring less 16, %" PRIu64, options->size,
                       options->ring / 2 - 16);
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
    print_field("least_share", result->least_share, ",");
    if (isnan(result->samples))
        printf("\"samples\":null}\n");
    else
        printf("\"samples\":%.0f}\n", result->samples);
}

static void print_row(const char *name, double value, const char *unit) {
    if (!isnan(value)) printf("  %-12s %12.*f %s\n", name, value < 1e4 ? 2 : 0, value, unit);
}

static void print_table(const struct bench_options *options, const struct bench_result *result) {
    printf("%s, %" PRIu64 " bytes\n", result->bench, options->size);
    print_row("value", result->value, result->unit);
    print_row("reference", result->reference, "ns");
    print_row("ratio", result->ratio, "");
    print_row("per_rtt", result->per_rtt, "messages in one round trip of the reference");
    print_row("p50", result->p50, "ns");
    print_row("p99", result->p99, "ns");
    print_row("p99.9", result->p999, "ns");
    print_row("least_share", result->least_share, "of one publisher, in the worst second");
    print_row("samples", result->samples, "");
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
    result->p50 = (double)samples[count / 2] * ns_per_tick;
    result->p99 = (double)samples[count / 100 * 99] * ns_per_tick;
    result->p999 = (double)samples[count / 1000 * 999] * ns_per_tick;
    result->samples = (double)count;
}

/* SPDX-License-Identifier: MIT */
/* bench/settings.c - what a benchmark can be told. */
#include "settings.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

/* ---- values ------------------------------------------------------------------------------- */

static const char *parse_range(const char *text, void *value, uint64_t least, uint64_t most, const char *words) {
    uint64_t number;
    if (parse_number(text, &number) || number < least || number > most) return words;
    *(uint64_t *)value = number;
    return NULL;
}

static const char *parse_rounds(const char *text, void *value) {
    return parse_range(text, value, BENCH_ROUNDS_LEAST, BENCH_ROUNDS_MOST, "a number from 15 to 1000");
}

static const char *parse_readers(const char *text, void *value) {
    return parse_range(text, value, 0, BENCH_READERS_MOST, "a number from 0 to 63");
}

static const char *parse_batch(const char *text, void *value) {
    return parse_range(text, value, 1, BENCH_BATCH_MOST, "a number from 1 to 64");
}

static const char *parse_window(const char *text, void *value) {
    return parse_range(text, value, 1, BENCH_WINDOW_MOST, "a number from 1 to 65536");
}

static const char *parse_links(const char *text, void *value) {
    return parse_range(text, value, 1, BENCH_LINKS_MOST, "a number from 1 to 30000");
}

static const char *parse_busy(const char *text, void *value) {
    return parse_range(text, value, 0, BENCH_LINKS_MOST, "a number from 0 to 30000");
}

static const char *parse_api(const char *text, void *value) {
    bool reserve = strcmp(text, "reserve") == 0;
    if (!reserve && strcmp(text, "send") != 0) return "send or reserve";
    *(enum bench_api *)value = reserve ? BENCH_RESERVE : BENCH_SEND;
    return NULL;
}

/* ---- the table ---------------------------------------------------------------------------- */

#define AT(member) offsetof(struct bench_options, member)

static const struct {
    unsigned takes;
    size_t at; /* of the value in struct bench_options */
    struct option_row row;
} table[] = {
    {BENCH_SIZE, AT(size), {"size", 0, parse_size, NULL, "N", "bytes of payload (default 8)"}},
    {BENCH_RING, AT(ring), {"ring", 0, parse_ring, NULL, "SIZE", "bytes of ring (default: what is fastest)"}},
    {BENCH_ROUNDS, AT(rounds), {"rounds", 0, parse_rounds, NULL, "N", "15 to 1000, within 7 seconds"}},
    {BENCH_API, AT(api), {"api", 0, parse_api, NULL, "send|reserve", "how to publish (default: what is faster)"}},
    {BENCH_RELEASE, AT(release), {"release", 0, parse_count, NULL, "K", "release every K-th message"}},
    {BENCH_READERS, AT(readers), {"readers", 0, parse_readers, NULL, "N", "further subscribers, to 63"}},
    {BENCH_NO_BIAS, AT(no_bias), {"no-bias", 0, parse_flag, NULL, NULL, "never keep the lock for the next message"}},
    {BENCH_BATCH, AT(batch), {"batch", 0, parse_batch, NULL, "N", "messages published at once, 1 to 64"}},
    {BENCH_WINDOW, AT(window), {"window", 0, parse_window, NULL, "N", "messages under way on a link at most"}},
    {BENCH_LINKS, AT(links), {"links", 0, parse_links, NULL, "N", "how many links"}},
    {BENCH_BUSY, AT(busy), {"busy", 0, parse_busy, NULL, "M", "of them busy in the second part (default 1000)"}},
    {BENCH_DIRECT, AT(direct), {"direct", 0, parse_flag, NULL, NULL, "the server asks its link, not its group"}},
    {BENCH_ONE_CORE, AT(one_core), {"one-core", 0, parse_flag, NULL, NULL, "both processes on one core"}},
    {BENCH_NO_CRC, AT(no_crc), {"no-crc", 0, parse_flag, NULL, NULL, "no checksums on what goes over TCP"}},
    {BENCH_SLEEP, AT(sleep), {"sleep", 0, parse_flag, NULL, NULL, "both sides go to sleep at once"}},
};
enum { ROWS = sizeof table / sizeof *table };

static struct option_row rows[ROWS + 1];
static struct usage usage; /* of the benchmark that runs */

void bench_options_read(const struct bench_usage *of, struct bench_options *options, int argc, char **argv) {
    static char command[64];
    size_t n = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (!(of->takes & table[i].takes)) continue;
        rows[n] = table[i].row;
        rows[n++].value = (char *)options + table[i].at;
    }
    snprintf(command, sizeof command, "bench %s", of->bench);
    usage = (struct usage){.command = command, .arguments = "", .about = of->about, .rows = rows};
    options_read(&usage, argc, argv);
    if (options->size > BENCH_SIZE_MOST)
        bench_options_refuse("--size %" PRIu64 ": at most %d", options->size, BENCH_SIZE_MOST);
}

void bench_options_refuse(const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    options_refuse(&usage, "%s", text);
}

void bench_choose_ring(struct bench_options *options, uint64_t best) {
    uint64_t needed = 2 * (options->size + 16);
    if (!options->ring)
        for (options->ring = best; options->ring < needed;) options->ring *= 2;
    if (options->ring < needed)
        bench_options_refuse("--size %" PRIu64 " does not fit: at most half the ring less 16, %" PRIu64, options->size,
                             options->ring / 2 - 16);
}

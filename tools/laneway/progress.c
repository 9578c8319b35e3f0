/* SPDX-License-Identifier: MIT */
/* progress.c - one line on a terminal's stderr, renewed four times a second. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "tool.h"

/* `asked`: from the beginning, not only when it takes longer. `quiet`: it would be in the way. */
void progress_begin(struct progress *progress, bool asked, bool quiet) {
    *progress = (struct progress){.on = isatty(STDERR_FILENO) && (asked || !quiet)};
    progress->begin = now_ns();
    progress->next = progress->begin + (asked ? LW_MS(100) : LW_SEC(1));
}

static double scaled(uint64_t bytes, const char **unit) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t n = 0;
    for (; value >= 1024 && n < 4; n++) value /= 1024;
    *unit = units[n];
    return value;
}

void progress_show(struct progress *progress, uint64_t messages, uint64_t bytes) {
    int64_t now;
    const char *unit;
    if (!progress->on || (now = now_ns()) < progress->next) return;
    double seconds = (double)(now - progress->begin + 1) / 1e9, value = scaled(bytes, &unit);
    fprintf(stderr, "\r\033[K%" PRIu64 " messages, %.1f %s, %.0f messages/s", messages, value, unit,
            (double)messages / seconds);
    progress->next = now + LW_MS(250);
    progress->shown = true;
}

void progress_end(struct progress *progress) {
    if (progress->shown) fputs("\r\033[K", stderr);
    progress->shown = false;
}

/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <errno.h>

int lw__sleep(int64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return -clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* SPDX-License-Identifier: MIT */
/* base/clock.h - the monotonic clock, and deadlines on it. Nothing here reads the wall clock. */
#ifndef LW_BASE_CLOCK_H
#define LW_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t lw__now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Seconds since the machine started, suspended ones included. */
static inline uint64_t lw__seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec;
}

/* Cycles of something steady, some nanoseconds each: cheaper than the clock, and good for "a good while has passed". */
static inline uint64_t lw__cycles(void) {
#if defined __x86_64__ || defined __i386__
    return __builtin_ia32_rdtsc();
#elif defined __aarch64__
    uint64_t n;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(n));
    return n << 5; /* it runs at 25 to 100 MHz */
#else
    return (uint64_t)lw__now();
#endif
}

/* Sleeps for `ns`, less when a signal handler ran: then it returns -EINTR. */
int lw__sleep(int64_t ns);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * stop.c - SIGINT and SIGTERM, and the clock.
 *
 * The first signal sets a flag, and the run comes to a clean end. A signal that arrives just before
 * a blocking call would leave it waiting; therefore an alarm goes off every second from then on.
 * The second signal finds the default action and kills, which is safe at any moment.
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

static int asked; /* atomic: other threads than the one that takes signals look at it */

static void on_alarm(int number) {
    (void)number;
    alarm(1);
}

static void on_signal(int number) {
    __atomic_store_n(&asked, number, __ATOMIC_RELAXED);
    alarm(1);
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, before;
    sigaction(number, NULL, &before);
    if (before.sa_handler != SIG_IGN) /* nohup, or a shell's background job: leave it so */
        sigaction(number, &action, NULL);
}

void stop_on_signals(void) {
    handle(SIGALRM, on_alarm, 0);
    handle(SIGINT, on_signal, (int)SA_RESETHAND);
    handle(SIGTERM, on_signal, (int)SA_RESETHAND);
}

bool stop_asked(void) {
    return __atomic_load_n(&asked, __ATOMIC_RELAXED) != 0;
}

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return LW_SEC((int64_t)now.tv_sec) + now.tv_nsec;
}

int64_t wait_slice(int64_t begin, int64_t timeout) {
    int64_t slice = LW_MS(WAIT_SLICE_MS);
    if (timeout < 0) return slice;
    int64_t left = begin + timeout - now_ns();
    return left <= 0 ? 0 : left < slice ? left : slice;
}

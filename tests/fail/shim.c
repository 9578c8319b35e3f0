/* SPDX-License-Identifier: MIT */
/* fail/shim.c - see shim.h. The functions themselves are in calls.c, and what they took in taken.c. */
#include "fail/shim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail/calls.h"

static struct shim_plan plan;
static struct shim_report *report;
static bool on, stays, dying;
static enum call struck;

/* How each function may fail. An errno that the kernel gives for reasons of its own (a full disk, no descriptor, a signal),
 * not for wrong arguments. */
static const struct {
    const char *name;
    int errors[SHIM_VARIANTS];
} calls[] = {
#define CALL(name, ...) {#name, {__VA_ARGS__}},
    CALLS(CALL)
#undef CALL
};

void shim_begin(const struct shim_plan *what, struct shim_report *where) {
    plan = *what;
    report = where;
    *report = (struct shim_report){0};
    stays = dying = on = false;
}

void shim_relent(void) {
    stays = false;
}

void shim_calm(void) {
    shim_relent();
    plan.n = 0;
}

void shim_on(void) {
    on = true;
}

void shim_off(void) {
    on = false;
}

bool shim_is_on(void) {
    return on;
}

bool shim_struck(void) {
    return report && report->done;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Where the program lies: addr2line wants addresses as they are in the file. */
static uintptr_t in_file(const void *site) {
    extern const char __executable_start[];
    return (uintptr_t)site - (uintptr_t)__executable_start;
}

static uint32_t count_errors(enum call call) {
    uint32_t n = 0;
    while (n < SHIM_VARIANTS && calls[call].errors[n]) n++;
    return n;
}

static int strike(enum call call, const void *site) {
    report->done = true;
    report->site = in_file(site);
    snprintf(report->name, sizeof report->name, "%s", calls[call].name);
    report->variants = plan.kind <= SHIM_STAYS ? count_errors(call) : 1;
    if (plan.kind == SHIM_DIE_AT) die();
    if (plan.kind == SHIM_DIE_AFTER) dying = true;
    if (plan.kind > SHIM_STAYS) return 0;
    report->error = calls[call].errors[plan.variant % report->variants];
    struck = call;
    /* A signal that comes again and again, or a disk that writes half of all, is no failure that stays. */
    stays = plan.kind == SHIM_STAYS && report->error != EINTR && report->error != SHIM_SHORT;
    return report->error;
}

int shim_hit(enum call call, const void *site) {
    if (!on) return 0;
    if (stays && call == struck) return report->error;
    return ++report->calls == plan.n ? strike(call, site) : 0;
}

void shim_after(void) {
    if (dying) die();
}

const char *shim_error(int error) {
    return error == SHIM_SHORT ? "short" : error ? strerrorname_np(error) : "-";
}

void shim_print_calls(void) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) puts(calls[i].name);
}

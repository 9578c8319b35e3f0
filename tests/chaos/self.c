/* SPDX-License-Identifier: MIT */
/* chaos/self.c - what every life needs: time, a place on the bus, and a death of its own. */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "chaos/chaos.h"

void nap(int64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&t, NULL);
}

int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- a life's place on the bus ----------------------------------------------------------------------------------- */

void reader_name(char name[LW_NAME_MAX + 1], uint32_t index) {
    snprintf(name, LW_NAME_MAX + 1, "reader-%u", index);
}

bool self_again(struct self *self, int rc, int64_t *until) {
    if (rc != LW_EHELD) return false;
    if (!*until) {
        *until = now() + LW_SEC(10);
        count(&self->actor->held, 1);
    }
    nap(LW_MS(1));
    return now() < *until;
}

void self_open(struct self *self, unsigned flags) {
    char node[LW_NAME_MAX + 1];
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    uint32_t which = dice(&self->dice, 4);
    snprintf(node, sizeof node, "%c%u-%u", "wrlcsp"[self->actor->role], self -> actor -> index, which);
    bool far = self->actor->role == CLIENT && self->ledger->pair[self->actor->index].tcp;
    opt.dir = far ? self->ledger->far : self->ledger->dir;
    opt.flags = flags;
    if (which && !(flags & LW_BUS_OBSERVE)) opt.node = node;
    int64_t until = 0;
    int rc;
    say(self->actor, "opens the bus");
    while (self_again(self, rc = lw_bus_open(&self->bus, &opt), &until)) {
    }
    if (rc) complain_call(self->ledger, self->actor, "lw_bus_open", rc);
}

void self_close(struct self *self) {
    say(self->actor, "closes the bus");
    int rc = lw_bus_close(self->bus);
    if (rc) complain_call(self->ledger, self->actor, "lw_bus_close", rc);
}

/* ---- an ambush --------------------------------------------------------------------------------------------------- */

void self_ambush(struct self *self, int signal, int64_t ns) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec when = {.it_value = {.tv_nsec = (long)ns}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &when, NULL))
        complain(self->ledger, "a timer can't be set");
}

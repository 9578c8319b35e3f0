/* SPDX-License-Identifier: MIT */
/* chaos/witness.c - processes that nobody kills use in the end what they used in the beginning. */
#include "util/figures.h"

#include <stdio.h>

#include "chaos/chaos.h"

/* A bus handle keeps up to 32 bells of others, and memory comes in pages: more than this is a leak. AddressSanitizer keeps
 * what was freed. */
enum { SLACK_DESCRIPTORS = 40, SLACK_MAPS = 48, SLACK_BYTES = 1 << 20 };

#ifdef __SANITIZE_ADDRESS__
#define KEEPS_WHAT_IS_FREED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define KEEPS_WHAT_IS_FREED 1
#endif
#endif
#ifndef KEEPS_WHAT_IS_FREED
#define KEEPS_WHAT_IS_FREED 0
#endif

static bool is_more(const struct usage *end, const struct usage *start) {
    if (end->descriptors > start->descriptors + SLACK_DESCRIPTORS) return true;
    return !KEEPS_WHAT_IS_FREED && (end->maps > start->maps + SLACK_MAPS || end->bytes > start->bytes + SLACK_BYTES);
}

bool is_witness(const struct ledger *ledger, uint32_t i) {
    for (uint32_t w = 0; w < ledger->witnesses; w++)
        if (ledger->witness[w].actor == i) return true;
    return false;
}

static struct usage use(int pid) {
    return (struct usage){t_descriptors_of(pid), t_maps_of(pid), t_private_of(pid)};
}

static struct usage most(struct usage a, struct usage b) {
    return (struct usage){a.descriptors > b.descriptors ? a.descriptors : b.descriptors,
                          a.maps > b.maps ? a.maps : b.maps, a.bytes > b.bytes ? a.bytes : b.bytes};
}

static struct usage least(struct usage a, struct usage b) {
    return (struct usage){a.descriptors < b.descriptors ? a.descriptors : b.descriptors,
                          a.maps < b.maps ? a.maps : b.maps, a.bytes < b.bytes ? a.bytes : b.bytes};
}

static void look_at(struct herd *herd, struct witness *w, double part) {
    int pid = herd->animal[w->actor].pid;
    struct usage used = use(pid);
    if (w->looks++ && pid != w->pid)
        complain(herd->ledger, "process %u, which nobody kills, was started anew", w->actor);
    w->pid = pid;
    if (w->looks == 1 || part < 0.25) w->start = most(w->start, used);
    w->end = part > 0.75 && w->ended ? least(w->end, used) : used;
    w->ended = part > 0.75;
}

void witnesses_look(struct herd *herd, double part) {
    for (uint32_t i = 0; i < herd->ledger->witnesses; i++) look_at(herd, &herd->ledger->witness[i], part);
}

void witnesses_verdict(struct ledger *ledger) {
    for (uint32_t i = 0; i < ledger->witnesses; i++) {
        const struct witness *w = &ledger->witness[i];
        const struct usage *a = &w->start, *b = &w->end;
        const struct actor *actor = &ledger->actor[w->actor];
        printf(
            "chaos: %s %u over %s from the start to the end: descriptors %d, then %d, mappings %d, then %d, memory %.1f MB, "
            "then %.1f\n",
            actor->role == CLIENT ? "client" : "server", actor->index,
            ledger->pair[actor->index].tcp ? "TCP" : "memory", a->descriptors, b->descriptors, a->maps, b->maps,
            (double)a->bytes / 1e6, (double)b->bytes / 1e6);
        if (is_more(b, a)) complain(ledger, "process %u uses more and more", w->actor);
    }
}

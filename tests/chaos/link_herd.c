/* SPDX-License-Identifier: MIT */
/* chaos/link_herd.c - pairs from the outside: who there is, what is done to them, and what it came to. */
#include <stdio.h>
#include <unistd.h>

#include "chaos/chaos.h"

/* ---- the cast ---------------------------------------------------------------------------------------------------- */

static void cast_pair(struct ledger *ledger, uint32_t index, bool tcp) {
    struct pair *pair = &ledger->pair[index];
    uint32_t *n = &ledger->actors;
    pair->tcp = tcp;
    for (uint32_t i = 0; i < 2; i++) pair->way[i].salt = dice_mix(ledger->seed + 2 * index + i);
    ledger->actor[(*n)++] = (struct actor){.role = CLIENT, .index = index};
    ledger->actor[(*n)++] = (struct actor){.role = SERVER, .index = index};
    if (tcp) ledger->actor[(*n)++] = (struct actor){.role = CUTTER, .index = index};
}

static void cast_witness(struct ledger *ledger, uint32_t pair, enum role role) {
    for (uint32_t i = ledger->first_link; i < ledger->actors; i++)
        if (ledger->actor[i].index == pair && ledger->actor[i].role == role)
            ledger->witness[ledger->witnesses++].actor = i;
}

/* Of each kind the server of the first pair and the client of the second one live on. */
void links_cast(struct ledger *ledger) {
    ledger->first_link = ledger->actors;
    for (uint32_t i = 0; i < ledger->links + ledger->tcp; i++) cast_pair(ledger, i, i >= ledger->links);
    if (ledger->links > 0) cast_witness(ledger, 0, SERVER);
    if (ledger->links > 1) cast_witness(ledger, 1, CLIENT);
    if (ledger->tcp > 0) cast_witness(ledger, ledger->links, SERVER);
    if (ledger->tcp > 1) cast_witness(ledger, ledger->links + 1, CLIENT);
}

/* One for each process that runs this, so that nobody else takes the port while the server is dead. */
void pair_host(const struct ledger *ledger, uint32_t pair, char *text, size_t room) {
    unsigned id = (unsigned)ledger->pid;
    snprintf(text, room, "127.%u.%u.%u", 1 + id / 62500 % 250, 1 + id / 250 % 250, 1 + (id + pair) % 250);
}

void links_buried(struct ledger *ledger, uint32_t i) {
    struct actor *actor = &ledger->actor[i];
    atomic_store(&actor->order, NO_ORDER);
    if (actor->role == CUTTER) atomic_store(&ledger->pair[actor->index].proxy_port, 0);
}

/* ---- what is done to them ---------------------------------------------------------------------------------------- */

static void hurt_side(struct herd *herd, uint32_t i) {
    struct dice *d = &herd->dice;
    uint32_t what = dice(d, 16);
    _Atomic int *order = &herd->ledger->actor[i].order;
    if (is_witness(herd->ledger, i) && what < 12) what = 12 + what % 2;
    if (what < 5)
        herd_strike(herd, i);
    else if (what < 10)
        atomic_store(order, DIE);
    else if (what < 12)
        atomic_store(order, LEAVE);
    else if (what < 14)
        atomic_store(order, STOP);
    else
        herd_stop(herd, i, LW_MS(dice_between(d, 1, dice(d, 4) ? 30 : 200)));
}

static void hurt_cutter(struct herd *herd, uint32_t i) {
    struct dice *d = &herd->dice;
    uint32_t what = dice(d, 8);
    if (what == 0)
        herd_strike(herd, i);
    else if (what == 1)
        herd_stop(herd, i, LW_MS(dice_between(d, 1, 100)));
    else
        atomic_store(&herd->ledger->actor[i].order, CUT);
}

/* All of them at the same moment, as far as that goes. */
static void kill_pair(struct herd *herd, uint32_t pair) {
    for (uint32_t i = herd->ledger->first_link; i < herd->ledger->actors; i++)
        if (herd->ledger->actor[i].index == pair && !is_witness(herd->ledger, i)) herd_strike(herd, i);
}

void links_hurt(struct herd *herd) {
    struct ledger *ledger = herd->ledger;
    uint32_t i = ledger->first_link + dice(&herd->dice, ledger->actors - ledger->first_link);
    if (dice(&herd->dice, 16) == 0)
        kill_pair(herd, ledger->actor[i].index);
    else if (ledger->actor[i].role == CUTTER)
        hurt_cutter(herd, i);
    else
        hurt_side(herd, i);
}

/* ---- the summary ------------------------------------------------------------------------------------------------- */

struct sums {
    uint64_t messages, bytes, kills, stops, starts, ups, cuts, again, lost, repeated, reordered, corrupt;
};

static void add_ways(const struct ledger *ledger, struct sums *sum) {
    for (uint32_t i = 0; i < 2 * (ledger->links + ledger->tcp); i++) {
        const struct way *way = &ledger->pair[i / 2].way[i % 2];
        sum->messages += way->seen;
        sum->again += way->again;
        sum->lost += way->lost;
        sum->repeated += way->repeated;
        sum->reordered += way->reordered;
        sum->corrupt += way->corrupt;
    }
}

static void add_actors(const struct herd *herd, struct sums *sum) {
    for (uint32_t i = herd->ledger->first_link; i < herd->ledger->actors; i++) {
        const struct actor *a = &herd->ledger->actor[i];
        sum->bytes += a->bytes;
        sum->ups += a->ups;
        sum->cuts += a->cuts;
        sum->kills += herd->animal[i].kills;
        sum->stops += herd->animal[i].stops;
        sum->starts += herd->animal[i].lives;
    }
}

void links_report(const struct herd *herd, const char *when) {
    struct sums sum = {0};
    struct ledger *ledger = herd->ledger;
    if (!ledger->links && !ledger->tcp) return;
    add_ways(ledger, &sum);
    add_actors(herd, &sum);
    printf(
        "chaos%s: %u links, %u over TCP: %llu messages, %.1f MB, %llu kills, %llu stops, %llu starts, %llu cuts, %llu "
        "times up, %llu came again, %llu lost, %llu repeated, %llu reordered, %llu corrupt\n",
        when, ledger->links, ledger->tcp, (unsigned long long)sum.messages, (double)sum.bytes / 1e6,
        (unsigned long long)sum.kills, (unsigned long long)sum.stops, (unsigned long long)sum.starts,
        (unsigned long long)sum.cuts, (unsigned long long)sum.ups, (unsigned long long)sum.again,
        (unsigned long long)sum.lost, (unsigned long long)sum.repeated, (unsigned long long)sum.reordered,
        (unsigned long long)sum.corrupt);
    fflush(stdout);
    if (!sum.messages || !sum.starts) complain(ledger, "nothing happened to links");
}

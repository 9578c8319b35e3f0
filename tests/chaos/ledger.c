/* SPDX-License-Identifier: MIT */
/* chaos/ledger.c - what outlives the processes: shared memory of the parent, which the bus knows nothing of. */
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chaos/chaos.h"

struct ledger *ledger_make(void) {
    void *at =
        mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

bool ledger_agree(struct ledger *ledger, uint64_t number, uint64_t hash) {
    _Atomic uint64_t *at = &ledger->number[number % NUMBERS];
    uint64_t lap = number / NUMBERS + 1, mine = lap << 40 | (hash & ((UINT64_C(1) << 40) - 1));
    uint64_t seen = atomic_load(at);
    while (seen >> 40 < lap)
        if (atomic_compare_exchange_weak(at, &seen, mine)) return true;
    return seen >> 40 > lap || seen == mine; /* a copy may be handed out long after: then nobody knows any more */
}

void complain(struct ledger *ledger, const char *format, ...) {
    uint32_t i = atomic_fetch_add(&ledger->complaints, 1);
    if (i >= COMPLAINTS_MAX) return;
    va_list list;
    va_start(list, format);
    vsnprintf(ledger->complaint[i], TEXT_LONG, format, list);
    va_end(list);
}

static const char *what_is(const struct actor *actor) {
    static const char *const kinds[] = {"durable reader", "reader without a name", "reader with max_lag",
                                        "lossy reader"};
    static const char *const roles[] = {"writer", "", "looker", "client", "server", "proxy"};
    return actor->role == READER ? kinds[actor->kind] : roles[actor->role];
}

void complain_call(struct ledger *ledger, const struct actor *actor, const char *call, int64_t rc) {
    complain(ledger, "%s %u (pid %d): %s: %lld %s: %s", what_is(actor), actor->index, (int)getpid(), call,
             (long long)rc, lw_errname((int)rc), lw_errtext());
    _exit(COMPLAINED);
}

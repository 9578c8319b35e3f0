/* SPDX-License-Identifier: MIT */
/*
 * chaos/track.c - what may come next.
 *
 * The log is one order for all, and each writer's messages lie in it by life, and within a life by sequence. A life that
 * is over has sent all that it noted as sent; and, as a whole or not at all, what was in flight when it died. Somebody
 * who read of a later life has therefore read the earlier ones to one of the two ends.
 */
#include "chaos/chaos.h"

/* Has the life come to an end with `next` messages? */
static bool may_end(const struct ledger *ledger, uint32_t writer, uint32_t life, uint32_t next) {
    const struct life *l = &ledger->life[writer][life];
    return next == atomic_load(&l->sent) || next == atomic_load(&l->about);
}

/* How many messages of a writer lie for sure between what was seen and this later life. */
static uint64_t missing_before(const struct ledger *ledger, const struct origin *o, const struct seen *s) {
    uint64_t missing = 0;
    if (!may_end(ledger, o->writer, s->life, s->next)) {
        uint32_t sent = atomic_load(&ledger->life[o->writer][s->life].sent);
        missing += sent > s->next ? sent - s->next : 1;
    }
    for (uint32_t life = s->life + 1; life < o->life && life < LIVES_MAX; life++)
        missing += atomic_load(&ledger->life[o->writer][life].sent);
    return missing + o->seq;
}

static uint64_t missing(const struct ledger *ledger, const struct origin *o, const struct seen *s) {
    return o->life == s->life ? o->seq - s->next : missing_before(ledger, o, s);
}

static bool is_in(const struct hole *hole, const struct origin *o) {
    return hole->writer == o->writer && hole->life == o->life && o->seq >= hole->from && o->seq < hole->to;
}

static enum verdict take_origin(struct track *t, const struct origin *o, const struct ledger *ledger,
                                struct hole *hole) {
    struct seen *s = &t->seen[o->writer];
    bool loose = t->loose >> o->writer & 1;
    if (o->life < s->life || (o->life == s->life && o->seq < s->next)) return is_in(hole, o) ? REORDERED : REPEATED;
    bool lost = !loose && missing(ledger, o, s) != 0;
    if (lost)
        *hole =
            (struct hole){.writer = o->writer, .life = o->life, .from = o->life == s->life ? s->next : 0, .to = o->seq};
    *s = (struct seen){.life = o->life, .next = o->seq + 1};
    t->loose &= ~(UINT32_C(1) << o->writer);
    return lost ? LOST : FINE;
}

/* Nothing comes between the messages of a batch, and all of them come. */
static bool fits_batch(struct track *t, const struct origin *o) {
    bool fits = t->batch <= 0 || t->batch - 1 == (int32_t)(o->writer << 8 | o->rest);
    t->batch = o->rest ? (int32_t)(o->writer << 8 | o->rest) : NOT_IN_BATCH;
    return fits;
}

enum verdict track_take(struct track *t, const struct note *n, const struct ledger *ledger, struct hole *hole) {
    if (n->number != t->number) return WRONG_NUMBER;
    if ((t->placed && n->position != t->position) || n->next <= n->position) return WRONG_POSITION;
    t->number++;
    t->position = n->next;
    t->placed = 1;
    bool whole = fits_batch(t, &n->origin);
    enum verdict verdict = take_origin(t, &n->origin, ledger, hole);
    return verdict == FINE && !whole ? TORN_BATCH : verdict;
}

void track_pass(struct track *t, uint64_t number, uint64_t position) {
    t->number = number;
    t->position = position;
    t->placed = 1;
    t->loose = UINT32_MAX;
    t->batch = PERHAPS_IN_BATCH;
}

bool track_complete(const struct track *t, uint32_t writer, const struct ledger *ledger) {
    const struct seen *s = &t->seen[writer];
    if (!may_end(ledger, writer, s->life, s->next)) return false;
    for (uint32_t life = s->life + 1; life < LIVES_MAX; life++)
        if (atomic_load(&ledger->life[writer][life].sent)) return false;
    return true;
}

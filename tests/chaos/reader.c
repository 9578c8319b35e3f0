/* SPDX-License-Identifier: MIT */
/* chaos/reader.c - one life of a reader: it checks what it gets, and notes what it releases. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/chaos.h"

enum { HELD_MAX = 64, OPERATIONS = 300000 };

struct reader {
    struct self *self;
    struct lw_sub *sub;
    struct durable *durable; /* NULL: without a name */
    enum kind kind;
    bool fresh;         /* nothing came in this life */
    struct track kept;  /* to where it is released ... */
    struct track taken; /* ... and handed out */
    struct hole hole;
    uint64_t lost;            /* as lw_sub_stats() counts */
    uint64_t start, previous; /* numbers where this group and the one before began */
    struct held {
        struct lw_msg msg;
        struct note note;
    } held[HELD_MAX];
    uint32_t count;
    char *buffer;
    size_t room;
};

static bool is_named(const struct reader *r) {
    return r->kind == DURABLE || r->kind == LAGGING;
}

static bool is_in_place(const struct reader *r) {
    return r->kind == DURABLE || r->kind == RELIABLE;
}

/* ---- complaints -------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = {"durable", "without a name", "with max_lag", "lossy"};

static void complain_order(struct reader *r, enum verdict verdict, const struct note *n, const struct seen *wanted,
                           uint64_t number) {
    static const char *const what[] = {"fine",
                                       "lost before",
                                       "repeated",
                                       "reordered",
                                       "in a torn batch",
                                       "not the next number",
                                       "not at the end of the one before"};
    struct ledger *ledger = r->self->ledger;
    if (verdict == LOST) atomic_fetch_add(&ledger->lost, 1);
    if (verdict == REPEATED) atomic_fetch_add(&ledger->repeated, 1);
    if (verdict == REORDERED) atomic_fetch_add(&ledger->reordered, 1);
    complain(ledger,
             "reader %u (%s), life %u, number %llu position %llu: %s: writer %u life %u message %u rest %u; expected "
             "life %u message %u, number %llu; that writer noted %u sent, %u about to be in life %u",
             r->self->actor->index, kinds[r->kind], r->self->life, (unsigned long long)n->number,
             (unsigned long long)n->position, what[verdict], n->origin.writer, n->origin.life, n->origin.seq,
             n->origin.rest, wanted->life, wanted->next, (unsigned long long)number,
             atomic_load(&ledger->life[n->origin.writer][wanted->life].sent),
             atomic_load(&ledger->life[n->origin.writer][wanted->life].about), wanted->life);
}

static void complain_message(struct reader *r, const struct lw_msg *m, const char *what) {
    complain(r->self->ledger, "reader %u (%s), life %u, number %llu position %llu, %zu bytes, type %04x flags %04x: %s",
             r->self->actor->index, kinds[r->kind], r->self->life, (unsigned long long)m->number,
             (unsigned long long)m->position, m->len, m->type, m->flags, what);
}

static void complain_count(struct reader *r, const char *what, uint64_t number, uint64_t told) {
    struct durable *d = r->durable;
    complain(
        r->self->ledger,
        "reader %u (%s), life %u: %s: number %llu after %llu told lost; it was at %llu, released %llu to %llu, was told "
        "to %llu",
        r->self->actor->index, kinds[r->kind], r->self->life, what, (unsigned long long)number,
        (unsigned long long)told, (unsigned long long)r->taken.number,
        (unsigned long long)(d ? d->at[atomic_load(&d->done)].number : 0),
        (unsigned long long)(d ? d->at[atomic_load(&d->about)].number : 0),
        (unsigned long long)(d ? atomic_load(&d->told) : 0));
}

/* ---- where a life begins ----------------------------------------------------------------------------------------- */

static void set_floor(struct reader *r, uint64_t floor) {
    if (r->durable) atomic_store(&r->durable->floor, floor);
}

/* What was in flight is decided now: before the other track is written over. */
static void decide(struct reader *r, uint32_t at) {
    struct durable *d = r->durable;
    atomic_store(&d->done, at);
    atomic_store(&d->about, at);
    r->kept = d->at[at];
}

/* To a number whose position is not known yet. */
static void pass_kept(struct reader *r, uint64_t number) {
    track_pass(&r->kept, number, 0);
    r->kept.placed = 0;
}

/* Nothing was lost, so it goes on where the last life released to: before or after the release in flight. Or after what
 * that one was told. */
static void resume_whole(struct reader *r, uint64_t number) {
    struct durable *d = r->durable;
    uint32_t done = atomic_load(&d->done), about = atomic_load(&d->about);
    struct ledger *ledger = r->self->ledger;
    if (number == d->at[done].number) {
        decide(r, done);
    } else if (number == d->at[about].number) {
        decide(r, about);
    } else if (number > d->at[done].number && number == atomic_load(&d->told)) {
        decide(r, done);
        pass_kept(r, number);
    } else {
        bool again = number < d->at[done].number;
        atomic_fetch_add(again ? &ledger->repeated : &ledger->lost, 1);
        complain_count(r, again ? "released messages come again" : "messages are left out at the start", number, 0);
        decide(r, about);
        pass_kept(r, number);
    }
    r->start = r->previous = number;
    set_floor(r, number);
}

/* What was told as lost begins where the last life had released to, or after what that one was told; or earlier, if what
 * it had in hand lay beyond what it was evicted from: never later. */
static void resume_after_loss(struct reader *r, uint64_t number, uint64_t position, uint64_t told) {
    struct durable *d = r->durable;
    uint32_t done = atomic_load(&d->done), about = atomic_load(&d->about);
    uint64_t from = number - told;
    if (from > d->at[about].number && from > atomic_load(&d->told)) {
        atomic_fetch_add(&r->self->ledger->lost, 1);
        complain_count(r, "more was lost than was told", number, told);
    }
    if (from < atomic_load(&d->floor) || told > number) complain_count(r, "more was told than was lost", number, told);
    if (number < d->at[done].number) {
        atomic_fetch_add(&r->self->ledger->repeated, 1);
        complain_count(r, "released messages come again", number, told);
    }
    decide(r, done);
    track_pass(&r->kept, number, position);
    r->start = r->previous = from;
    set_floor(r, from);
}

/* The first thing that is heard in this life. */
static void begin(struct reader *r, uint64_t number, uint64_t position, uint64_t told) {
    r->fresh = false;
    if (is_named(r) && told)
        resume_after_loss(r, number, position, told);
    else if (is_named(r))
        resume_whole(r, number);
    else
        track_pass(&r->kept, number, position);
    r->taken = r->kept;
}

/* ---- releasing --------------------------------------------------------------------------------------------------- */

static void replay(struct reader *r, uint32_t to) {
    struct hole none = {0};
    for (uint32_t i = 0; i < to; i++) track_take(&r->kept, &r->held[i].note, r->self->ledger, &none);
}

/* What a reader in place holds stays as it is. */
static void check_held(struct reader *r, uint32_t to) {
    struct origin origin;
    if (!is_in_place(r) || dice(&r->self->dice, 4)) return;
    for (uint32_t i = 0; i < to; i++)
        if (!message_check(&r->held[i].msg, &origin))
            complain_message(r, &r->held[i].msg, "overwritten while it was held");
}

static void release_noted(struct reader *r, const struct lw_msg *msg) {
    struct durable *d = r->durable;
    uint32_t next = d ? 1 - atomic_load(&d->done) : 0;
    if (d) {
        d->at[next] = r->kept;
        atomic_store_explicit(&d->about, next, memory_order_release);
    }
    int rc = lw_sub_release(r->sub, msg);
    if (rc) complain_call(r->self->ledger, r->self->actor, "lw_sub_release", rc);
    if (d) atomic_store_explicit(&d->done, next, memory_order_release);
}

/* The first `to` of those held. */
static void release(struct reader *r, uint32_t to) {
    if (!to) return;
    check_held(r, to);
    replay(r, to);
    release_noted(r, &r->held[to - 1].msg);
    r->count -= to;
    memmove(r->held, r->held + to, r->count * sizeof *r->held);
    r->previous = r->start;
    r->start = r->kept.number;
    set_floor(r, r->previous);
}

/* In one step, or in some. One that may be evicted does it in one: what it missed is counted from its last release. */
static void release_all(struct reader *r) {
    while (r->count > 1 && r->kind == DURABLE && dice(&r->self->dice, 3) == 0)
        release(r, dice_between(&r->self->dice, 1, r->count));
    release(r, r->count);
}

/* All that is not released comes again. */
static void rewind_all(struct reader *r) {
    lw_sub_rewind(r->sub);
    r->taken = r->kept;
    r->count = 0;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static bool check_content(struct reader *r, const struct lw_msg *m, struct note *n) {
    *n = (struct note){.number = m->number, .position = m->position, .next = m->next};
    if (!message_check(m, &n->origin)) {
        complain_message(r, m, "not what any writer sends");
        return false;
    }
    uint64_t hash = message_hash(m->position, m->len, m->type, message_word(m));
    if (!ledger_agree(r->self->ledger, m->number, hash))
        complain_message(r, m, "another message than somebody else had with this number");
    return true;
}

static bool check_order(struct reader *r, const struct note *n) {
    struct seen wanted = r->taken.seen[n->origin.writer];
    uint64_t number = r->taken.number;
    enum verdict verdict = track_take(&r->taken, n, r->self->ledger, &r->hole);
    if (verdict != FINE) complain_order(r, verdict, n, &wanted, number);
    return verdict == FINE;
}

static void took(struct reader *r, const struct lw_msg *m) {
    struct held *h = &r->held[r->count];
    if (r->fresh) begin(r, m->number, m->position, 0);
    h->msg = *m;
    if (!check_content(r, m, &h->note)) exit(COMPLAINED);
    if (!check_order(r, &h->note)) track_pass(&r->taken, m->number + 1, m->next);
    r->count++;
    count(&r->self->actor->messages, 1);
    count(&r->self->actor->bytes, m->len);
}

/* Messages were passed, and it was told how many. */
static void missed(struct reader *r, const struct lw_msg *m, int why) {
    struct actor *actor = r->self->actor;
    struct lw_stats stats = LW_STATS_INIT;
    if (why != (r->kind == LOSSY ? LW_EGAP : r->kind == LAGGING ? LW_EEVICTED : 0))
        complain_call(r->self->ledger, actor, "lw_sub_next", why);
    int rc = lw_sub_stats(r->sub, &stats);
    if (rc) complain_call(r->self->ledger, actor, "lw_sub_stats", rc);
    uint64_t told = stats.lost - r->lost;
    r->lost = stats.lost;
    if (r->fresh)
        begin(r, m->number, m->position, told);
    else if (!told || m->number - r->taken.number != told)
        complain_count(r, "the count of lost messages is wrong", m->number, told);
    track_pass(&r->taken, m->number, m->position);
    r->kept = r->taken;
    /* What was in hand is void. It was not told, so the next life has to hear of it. */
    if (r->durable && !r->count) atomic_store(&r->durable->told, m->number);
    r->count = 0;
    count(why == LW_EGAP ? &actor->gaps : &actor->evictions, 1);
    count(&actor->told, told);
}

/* Copies one out, and releases it; only for one whose releases nobody asks about. */
static int receive_copy(struct reader *r) {
    struct lw_msg m;
    int rc = lw_sub_recv(r->sub, r->buffer, r->room, &m, 0);
    if (rc != 1) return rc;
    took(r, &m);
    r->count = 0;
    r->kept = r->taken;
    return 1;
}

static int receive(struct reader *r) {
    static const int64_t timeouts[] = {0, LW_MS(1), LW_MS(20), LW_MS(20)};
    struct lw_msg m;
    if (r->kind == RELIABLE && !r->count && dice(&r->self->dice, 8) == 0) return receive_copy(r);
    bool drain = atomic_load_explicit(&r->self->ledger->stage, memory_order_relaxed) == DRAIN;
    int rc = lw_sub_next(r->sub, &m, drain ? 0 : timeouts[dice(&r->self->dice, 4)]);
    if (rc == 1)
        took(r, &m);
    else if (rc == LW_EGAP || rc == LW_EEVICTED)
        missed(r, &m, rc);
    else if (rc != LW_EEMPTY)
        complain_call(r->self->ledger, r->self->actor, "lw_sub_next", rc);
    return rc;
}

/* ---- a life ------------------------------------------------------------------------------------------------------ */

static void open_reader(struct reader *r) {
    char name[LW_NAME_MAX + 1];
    struct self *self = r->self;
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    reader_name(name, self->actor->index);
    if (is_named(r)) opt.name = name;
    if (r->kind == LAGGING) opt.max_lag = self->ledger->ring / (2 + self->actor->index % 3);
    if (r->kind == LOSSY) opt.flags = LW_SUB_LOSSY;
    opt.from = dice(&self->dice, 2) ? LW_FROM_NOW : LW_FROM_OLDEST;
    say(self->actor, "opens a subscriber");
    int64_t until = 0;
    int rc;
    while (self_again(self, rc = lw_sub_open(&r->sub, self->bus, TOPIC, &opt), &until)) {
    }
    if (rc) complain_call(self->ledger, self->actor, "lw_sub_open", rc);
    r->room = self->ledger->ring;
    r->buffer = malloc(r->room);
    if (!r->buffer) complain_call(self->ledger, self->actor, "malloc", -12);
}

/* Now and then it is slow; those who may lose something for longer. Then they find their place again: some don't come to
 * the end of that, or stay in the midst of it. */
static void dawdle(struct reader *r) {
    struct dice *d = &r->self->dice;
    if (is_in_place(r)) {
        if (dice(d, 4096) == 0) nap(LW_MS(dice(d, 2)));
    } else if (dice(d, 2048) == 0) {
        nap(LW_MS(dice(d, 20)));
        if (dice(d, 2)) self_ambush(r->self, dice(d, 4) ? SIGSTOP : SIGKILL, dice_between(d, 500, 50000));
    }
}

/* Everybody is gone, and all is read: is it as far as the handle says? */
static void drained(struct reader *r) {
    struct lw_stats stats = LW_STATS_INIT;
    int rc = lw_sub_stats(r->sub, &stats);
    if (rc) complain_call(r->self->ledger, r->self->actor, "lw_sub_stats", rc);
    if (r->fresh) begin(r, stats.number, stats.position, 0);
    if (stats.number != r->taken.number) complain_count(r, "lw_sub_stats knows another number", stats.number, 0);
    if (r->durable) atomic_store(&r->durable->drained, r->taken.number + 1);
}

static void read_some(struct reader *r) {
    struct self *self = r->self;
    uint32_t operations = dice_between(&self->dice, 1, OPERATIONS);
    for (uint32_t i = 0;; i++) {
        bool drain = atomic_load_explicit(&self->ledger->stage, memory_order_relaxed) == DRAIN;
        if (i >= operations && !drain) break;
        say(self->actor, "reads");
        if (dice(&self->dice, 8192) == 0 && !drain) self_ambush(self, SIGKILL, dice_between(&self->dice, 500, 20000));
        int rc = receive(r);
        if (rc == LW_EEMPTY || r->count == HELD_MAX || dice(&self->dice, 8) == 0) release_all(r);
        if (rc == LW_EEMPTY && drain) {
            drained(r);
            break;
        }
        if (is_in_place(r) && dice(&self->dice, 1024) == 0) rewind_all(r);
        dawdle(r);
    }
}

void reader_live(struct self *self) {
    struct ledger *ledger = self->ledger;
    uint32_t index = self->actor->index;
    struct reader *r = calloc(1, sizeof *r);
    if (!r) complain_call(ledger, self->actor, "calloc", -12);
    r->self = self;
    r->kind = self->actor->kind;
    r->durable = is_named(r) ? &ledger->durable[index] : NULL;
    r->fresh = true;
    self_open(self, 0);
    open_reader(r);
    read_some(r);
    if (dice(&self->dice, 2)) release_all(r);
    say(self->actor, "closes a subscriber");
    lw_sub_close(r->sub);
    free(r->buffer);
    free(r);
    self_close(self);
}

/* SPDX-License-Identifier: MIT */
/* chaos/writer.c - one life of a writer. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/chaos.h"

enum { SMALL = 64, MIDDLE = 1024, LARGE = 16384, OPERATIONS = 200000, SPRINT = 100 };

struct writer {
    struct self *self;
    struct lw_pub *pub;
    struct life *life;
    struct origin origin; /* of the next message */
    char *buffer;
    size_t most;     /* bytes of one message */
    int64_t highest; /* position of the last one */
    uint32_t ambush; /* operations until the next one */
    uint32_t sprint; /* operations left that follow one another without a pause */
};

/* What the next operation is. */
struct plan {
    uint32_t count;
    uint32_t batch; /* a batch, even if of one */
    size_t len[BATCH_MAX];
    size_t bytes;
    int64_t timeout;
};

static bool is_alone(const struct writer *w) {
    return atomic_load_explicit(&w->self->ledger->alone, memory_order_relaxed) == (int)w->origin.writer;
}

static bool is_paused(const struct writer *w) {
    int alone = atomic_load_explicit(&w->self->ledger->alone, memory_order_relaxed);
    return alone != NOBODY && alone != (int)w->origin.writer;
}

static size_t pick_size(const struct writer *w, bool small) {
    struct dice *d = &w->self->dice;
    uint32_t kind = small ? 0 : dice(d, 400);
    if (kind == 1) return w->most; /* half the ring */
    uint32_t most = kind < 240 ? SMALL : kind < 370 ? MIDDLE : LARGE;
    size_t size = dice_between(d, 8, most);
    return size < w->most ? size : w->most;
}

/* Alone means small messages, one by one: so the lock comes to be biased. */
static void make_plan(const struct writer *w, struct plan *p) {
    struct dice *d = &w->self->dice;
    bool alone = is_alone(w) && dice(d, 64);
    p->batch = !alone && dice(d, 3) == 0;
    p->count = !p->batch ? 1 : dice(d, 8) ? dice_between(d, 1, 12) : dice_between(d, 1, BATCH_MAX);
    p->timeout = dice(d, 4) ? LW_MS(dice(d, 50)) : 0;
    p->bytes = 0;
    uint64_t ring = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        p->len[i] = pick_size(w, alone || p->count > 12);
        ring += (p->len[i] + 15) & ~UINT64_C(7);
        if (i && ring > w->most) { /* a batch fits in half a ring */
            p->count = i;
            break;
        }
        p->bytes += p->len[i];
    }
}

static int64_t send_plan(struct writer *w, const struct plan *p) {
    struct lw_item item[BATCH_MAX];
    struct origin origin = w->origin;
    char *at = w->buffer;
    for (uint32_t i = 0; i < p->count; i++) {
        origin.seq = w->origin.seq + i;
        origin.rest = p->count - 1 - i;
        message_fill(at, p->len[i], &origin);
        item[i] = (struct lw_item){.data = at, .len = p->len[i], .type = message_type(&origin)};
        at += (p->len[i] + 7) & ~(size_t)7;
    }
    atomic_store_explicit(&w->life->about, w->origin.seq + p->count, memory_order_release);
    return p->batch ? lw_pub_send_batch(w->pub, item, p->count, p->timeout)
                    : lw_pub_send(w->pub, item->type, item->data, item->len, p->timeout);
}

/* The publisher says where its message is and which number it has; the readers must find the same. */
static void compare_place(struct writer *w, const struct plan *p, int64_t position) {
    struct ledger *ledger = w->self->ledger;
    struct lw_stats stats = LW_STATS_INIT;
    uint64_t word;
    if (p->count != 1 || dice(&w->self->dice, 16)) return;
    if (lw_pub_stats(w->pub, &stats)) return;
    memcpy(&word, w->buffer, 8);
    struct origin origin = {.writer = w->origin.writer};
    uint64_t hash = message_hash((uint64_t)position, p->len[0], message_type(&origin), word);
    if (!ledger_agree(ledger, stats.number - 1, hash))
        complain(ledger, "writer %u was told position %lld, number %llu for what readers found elsewhere",
                 w->origin.writer, (long long)position, (unsigned long long)(stats.number - 1));
    if (stats.messages != w->origin.seq + 1)
        complain(ledger, "writer %u sent %u messages, and lw_pub_stats counts %llu", w->origin.writer,
                 w->origin.seq + 1, (unsigned long long)stats.messages);
}

static void sent(struct writer *w, const struct plan *p, int64_t position) {
    struct actor *actor = w->self->actor;
    if (position <= w->highest && w->highest)
        complain(w->self->ledger, "writer %u: position %lld after %lld", w->origin.writer, (long long)position,
                 (long long)w->highest);
    compare_place(w, p, position);
    w->highest = position;
    w->origin.seq += p->count;
    atomic_store_explicit(&w->life->sent, w->origin.seq, memory_order_release);
    count(&actor->messages, p->count);
    count(&actor->bytes, p->bytes);
}

static void refused(struct writer *w, const struct plan *p, int64_t rc) {
    struct actor *actor = w->self->actor;
    if (rc != LW_EFULL && rc != LW_EWRITER) complain_call(w->self->ledger, actor, "send", rc);
    count(&actor->refused, 1);
    if (p->timeout) snprintf(actor->text, sizeof actor->text, "%s", lw_errtext());
}

static void open_writer(struct writer *w) {
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    if (dice(&w->self->dice, 8) == 0) opt.flags = LW_PUB_NO_BIAS;
    say(w->self->actor, "opens a publisher");
    int rc = lw_pub_open(&w->pub, w->self->bus, TOPIC, &opt);
    if (rc) complain_call(w->self->ledger, w->self->actor, "lw_pub_open", rc);
    w->most = lw_pub_max(w->pub);
    w->buffer = malloc(2 * w->most);
    if (!w->buffer) complain_call(w->self->ledger, w->self->actor, "malloc", -12);
}

static bool is_over(const struct writer *w) {
    return atomic_load_explicit(&w->self->ledger->stage, memory_order_relaxed) != RUN;
}

/* Alone, when the lock is biased by now; or at any time. Stopped there, the others meet a mark that is set. */
static void set_ambush(struct writer *w) {
    struct dice *d = &w->self->dice;
    if (w->ambush--) return;
    w->ambush = dice_between(d, 1100, 5000);
    w->sprint = SPRINT;
    self_ambush(w->self, is_alone(w) && dice(d, 2) ? SIGSTOP : SIGKILL, dice_between(d, 500, 20000));
}

/* As little as can be between two sends. */
static void make_short_plan(struct writer *w, struct plan *p) {
    w->sprint--;
    p->batch = w->sprint % 8 == 0;
    p->count = p->batch ? 4 : 1;
    p->timeout = 0;
    p->bytes = 0;
    for (uint32_t i = 0; i < p->count; i++) p->bytes += p->len[i] = 8 + w->sprint;
}

static void send_some(struct writer *w) {
    struct plan plan;
    uint32_t operations = dice_between(&w->self->dice, 1, OPERATIONS);
    for (uint32_t i = 0; i < operations && !is_over(w); i++) {
        if (is_paused(w)) {
            say(w->self->actor, "is paused");
            nap(LW_MS(1) / 2);
            continue;
        }
        set_ambush(w);
        if (w->sprint)
            make_short_plan(w, &plan);
        else
            make_plan(w, &plan);
        say(w->self->actor, plan.batch ? "sends a batch" : "sends");
        int64_t rc = send_plan(w, &plan);
        if (rc >= 0)
            sent(w, &plan, rc);
        else
            refused(w, &plan, rc);
    }
}

void writer_live(struct self *self) {
    struct writer w = {.self = self,
                       .life = &self->ledger->life[self->actor->index][self->life],
                       .origin = {.writer = self->actor->index, .life = self->life}};
    w.ambush = dice_between(&self->dice, 1, 5000);
    self_open(self, 0);
    open_writer(&w);
    send_some(&w);
    say(self->actor, "closes a publisher");
    lw_pub_close(w.pub);
    free(w.buffer);
    self_close(self);
}

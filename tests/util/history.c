/* SPDX-License-Identifier: MIT */
/* util/history.c - see history.h. */
#include "util/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

enum { IN_A_ROW = 100, BATCH_AT = 50, BATCH = 7, BIG_AT = 80 };

static size_t size_of(uint64_t number, size_t big) {
    static const size_t sizes[] = {0, 1, 8, 64, 300};
    return big && number % IN_A_ROW == BIG_AT ? big : sizes[number % 5];
}

static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 27;
}

/* Eight bytes that say who it is, then bytes that follow from them. */
size_t history_message(const struct history *h, uint64_t number, size_t big, void *to) {
    size_t size = size_of(number, big);
    uint64_t word = number << 8 | (h->salt & 0xff);
    for (size_t at = 0; at < size; at += 8) {
        memcpy((char *)to + at, &word, size - at < 8 ? size - at : 8);
        word = mix(word ^ h->salt);
    }
    return size;
}

uint64_t history_batch(uint64_t number) {
    uint64_t at = number % IN_A_ROW;
    return at >= BATCH_AT && at < BATCH_AT + BATCH ? BATCH_AT + BATCH - at : 1;
}

static bool is_intact(const struct history *h, const struct lw_msg *msg, size_t big) {
    static _Thread_local _Alignas(8) char want[HISTORY_MESSAGE];
    size_t size = history_message(h, msg->number, big, want);
    return msg->len == size && msg->type == history_type(msg->number) && (!size || !memcmp(msg->data, want, size));
}

/* ---- notes ------------------------------------------------------------------------------------------------------- */

void history_sending(struct history *h, uint64_t end) {
    set(&h->tried, end);
}

void history_sent(struct history *h, uint64_t end) {
    set(&h->sent, end);
}

void history_sender_resumes(struct history *h, uint64_t end) {
    uint64_t sent = history_get(&h->sent);
    if (end < sent) h->lost += sent - end;
    if (end > sent && end != history_get(&h->tried)) h->invented++;
    set(&h->tried, end);
    set(&h->sent, end);
}

void history_came(struct history *h, const struct lw_msg *msg, size_t big, uint32_t life) {
    uint64_t at = h->written;
    while (at - history_get(&h->checked) >= HISTORY_LOG) usleep(100);
    h->log[at % HISTORY_LOG] = (struct history_delivery){
        .number = msg->number, .released = h->released, .life = life, .intact = is_intact(h, msg, big)};
    set(&h->written, at + 1);
}

void history_releasing(struct history *h, uint64_t end) {
    set(&h->releasing, end);
}

void history_released(struct history *h, uint64_t end) {
    set(&h->released, end);
}

/* ---- by the checker ---------------------------------------------------------------------------------------------- */

/* Within one process the numbers go up by one; the next process begins where the last one had released to. */
static bool is_in_order(const struct history *h, const struct history_delivery *d) {
    if (!h->any && !h->resume[1]) return d->number == 0;
    if (h->any && d->life == h->life) return d->number == h->previous + 1;
    return d->number == h->resume[0] || d->number == h->resume[1];
}

static void check_one(struct history *h, const struct history_delivery *d) {
    if (!is_in_order(h, d)) {
        h->reordered++;
        fprintf(stderr,
                "message %" PRIu64 " of life %u after %" PRIu64 " of life %u (released then: %" PRIu64 "-%" PRIu64
                ")\n",
                d->number, d->life, h->previous, h->life, h->resume[0], h->resume[1]);
    }
    h->any = true;
    h->life = d->life;
    h->previous = d->number;
    if (!d->intact) h->corrupt++;
    if (d->number < d->released) {
        h->repeated++;
    } else if (d->number < h->next) {
        h->redelivered++;
    } else {
        h->lost += d->number - h->next;
        h->next = d->number + 1;
    }
}

void history_check(struct history *h) {
    for (uint64_t end = history_get(&h->written); h->checked < end; set(&h->checked, h->checked + 1))
        check_one(h, &h->log[h->checked % HISTORY_LOG]);
}

void history_receiver_died(struct history *h) {
    history_check(h);
    h->resume[0] = history_get(&h->released);
    h->resume[1] = history_get(&h->releasing);
}

bool history_is_clean(const struct history *h) {
    return !h->lost && !h->repeated && !h->reordered && !h->corrupt && !h->invented;
}

bool history_is_complete(const struct history *h) {
    return history_get(&h->sent) == history_get(&h->tried) && history_get(&h->released) == history_get(&h->sent);
}

bool history_verdict(struct history *h, const char *name) {
    history_check(h);
    if (h->next < h->sent) h->lost += h->sent - h->next;
    if (history_is_clean(h) && history_is_complete(h)) return true;
    fprintf(stderr,
            "%s: of %" PRIu64 " sent (%" PRIu64 " tried): %" PRIu64 " lost, %" PRIu64 " repeated, %" PRIu64
            " out of order, %" PRIu64 " corrupt, %" PRIu64 " invented; %" PRIu64 " came (%" PRIu64
            " redelivered), released to %" PRIu64 "\n",
            name, h->sent, h->tried, h->lost, h->repeated, h->reordered, h->corrupt, h->invented, h->written,
            h->redelivered, h->released);
    return false;
}

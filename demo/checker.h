/* SPDX-License-Identifier: MIT */
/*
 * demo/checker.h - decides from the notes what was lost, repeated, redelivered, out of order or corrupt. It runs in the
 * parent, knows what should have been sent, and asks Laneway nothing.
 *
 *     lost          sent, and never delivered
 *     repeated      delivered again although its release had returned
 *     redelivered   delivered again, not released: allowed, and counted apart
 */
#ifndef DEMO_CHECKER_H
#define DEMO_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "input.h"
#include "ledger.h"

struct checker {
    const struct input *input;
    struct notes *notes;
    bool begun;
    uint64_t first; /* number that it began with */
    uint64_t next;  /* of the next one that was not delivered yet */
    uint64_t bytes, sum;
    uint64_t lost, repeated, redelivered, out_of_order, corrupt;
    uint64_t previous; /* of the last delivery */
    uint16_t life;
    uint64_t resume[2]; /* where a life may begin: released and releasing when the last one died */
};

static bool is_intact(const struct checker *checker, const struct delivery *delivery) {
    const struct record *record = input_record(checker->input, delivery->number);
    return delivery->len == record->len && delivery->sum == record->sum && delivery->type == (uint16_t)delivery->number;
}

/* Within one life the numbers go up by one; a new life begins where the last one had released to. */
static bool is_in_order(const struct checker *checker, const struct delivery *delivery) {
    if (delivery->life == checker->life) return delivery->number == checker->previous + 1;
    return delivery->number == checker->resume[0] || delivery->number == checker->resume[1];
}

static void check_delivery(struct checker *checker, const struct delivery *delivery) {
    uint64_t number = delivery->number;
    if (!checker->begun) {
        checker->begun = true;
        checker->first = checker->next = number;
    } else if (!is_in_order(checker, delivery)) {
        checker->out_of_order++;
    }
    checker->life = delivery->life;
    checker->previous = number;
    if (!is_intact(checker, delivery)) checker->corrupt++;
    if (number < delivery->released) {
        checker->repeated++;
    } else if (number < checker->next) {
        checker->redelivered++;
    } else {
        checker->lost += number - checker->next;
        checker->next = number + 1;
        checker->bytes += delivery->len;
        checker->sum = sum_add(checker->sum, delivery->sum);
    }
}

/* Looks at what was noted since the last time. */
static void check_log(struct checker *checker) {
    struct notes *notes = checker->notes;
    uint64_t end = note_get(&notes->written);
    for (uint64_t at = notes->checked; at < end; at++) check_delivery(checker, &notes->log[at % LOG_ENTRIES]);
    note_set(&notes->checked, end);
}

/* Its process is dead: nothing is being noted. */
static void check_death(struct checker *checker) {
    check_log(checker);
    checker->resume[0] = checker->notes->released;
    checker->resume[1] = checker->notes->releasing;
}

/* All of it is over: what was sent and did not come is lost. */
static void check_end(struct checker *checker, uint64_t total) {
    check_log(checker);
    if (checker->next < total) checker->lost += total - checker->next;
}

/* The sum that messages `first` to `end` must give. */
static uint64_t check_expected(const struct input *input, uint64_t first, uint64_t end) {
    uint64_t sum = 0;
    for (uint64_t number = first; number < end; number++) sum = sum_add(sum, input_record(input, number)->sum);
    return sum;
}

#endif

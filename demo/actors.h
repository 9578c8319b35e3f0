/* SPDX-License-Identifier: MIT */
/*
 * demo/actors.h - the processes that the demo kills: a publisher and subscribers. They use Laneway as any program would;
 * for the checker they note what they do.
 */
#ifndef DEMO_ACTORS_H
#define DEMO_ACTORS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "input.h"
#include "laneway/laneway.h"
#include "ledger.h"

#define TOPIC "files"

enum {
    RING = 1 << 20,
    BATCH_MOST = 16,        /* messages */
    BATCH_BYTES = 64 << 10, /* no more messages from here on */
    HOLD_MOST = 32,         /* messages that a subscriber holds before it releases them in one go */
    HOLD_BYTES = 128 << 10
};

/* What an actor needs to know. */
struct part {
    const char *name; /* of its node */
    const char *dir;  /* of the bus */
    struct ledger *ledger;
    struct notes *notes;
    const struct input *input;
    uint64_t seed, total;
    uint16_t life;
    /* a subscriber's */
    const char *durable; /* its name on the topic, or NULL */
    enum lw_from from;
    /* of those who talk over links: link_actors.h */
    struct link_ledger *links;
    const char *address; /* of the server, or NULL: it is on the same bus */
    const char *listen;  /* the server's, or NULL */
};

static struct lw_bus *part_open_bus(const struct part *part) {
    struct lw_bus_options options = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    options.dir = part->dir;
    options.node = part->name;
    if (lw_bus_open(&bus, &options)) give_up(part->notes, "%s", lw_errtext());
    return bus;
}

static void part_is_ready(const struct part *part) {
    part->notes->ready_ns = now_ns();
    note_set(&part->notes->ready, part->life);
}

static inline uint16_t type_of(uint64_t number) {
    return (uint16_t)number; /* so that a message tells who it is, even an empty one */
}

/* ---- publisher ---------------------------------------------------------------------------------------------------- */

static int64_t send_copy(struct lw_pub *pub, const struct part *part, uint64_t number) {
    const struct record *record = input_record(part->input, number);
    return lw_pub_send(pub, type_of(number), part->input->bytes + record->offset, record->len, LW_FOREVER);
}

static int64_t send_in_place(struct lw_pub *pub, const struct part *part, uint64_t number) {
    const struct record *record = input_record(part->input, number);
    void *room;
    int rc = lw_pub_reserve(pub, &room, RECORD_MOST, LW_FOREVER);
    if (rc) return rc;
    memcpy(room, part->input->bytes + record->offset, record->len);
    return lw_pub_commit(pub, type_of(number), record->len);
}

/* How many messages from `number` on go as one batch. */
static uint64_t batch_size(const struct part *part, uint64_t number, uint64_t most) {
    uint64_t bytes = 0, count = 0;
    while (count < most && bytes < BATCH_BYTES && number + count < part->total)
        bytes += input_record(part->input, number + count++)->len;
    return count;
}

static int64_t send_batch(struct lw_pub *pub, const struct part *part, uint64_t number, uint64_t count) {
    struct lw_item items[BATCH_MOST];
    for (uint64_t i = 0; i < count; i++) {
        const struct record *record = input_record(part->input, number + i);
        items[i] = (struct lw_item){part->input->bytes + record->offset, record->len, type_of(number + i)};
    }
    return lw_pub_send_batch(pub, items, count, LW_FOREVER);
}

/* Sends some messages in one call, by one of the three ways there are, and notes it. Returns how many. */
static uint64_t send_some(struct lw_pub *pub, const struct part *part, uint64_t number) {
    uint64_t random = mix(part->seed + number), count = 1;
    int64_t rc;
    if (random % 16 == 0) count = batch_size(part, number, 1 + random / 16 % BATCH_MOST);
    note_set(&part->notes->tried, number + count);
    if (count > 1)
        rc = send_batch(pub, part, number, count);
    else if (random % 2)
        rc = send_copy(pub, part, number);
    else
        rc = send_in_place(pub, part, number);
    if (rc < 0) give_up(part->notes, "message %llu: %s", (unsigned long long)number, lw_strerror((int)rc));
    note_set(&part->notes->sent, number + count);
    return count;
}

/* Goes on where the topic ends: the lane knows how many messages it has taken. */
static void be_publisher(const struct part *part) {
    struct lw_pub_options options = LW_PUB_OPTIONS_INIT;
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_bus *bus = part_open_bus(part);
    struct lw_pub *pub;
    options.shape.ring = RING;
    options.flags = LW_PUB_EXCLUSIVE; /* it builds messages in place */
    if (lw_pub_open(&pub, bus, TOPIC, &options)) give_up(part->notes, "%s", lw_errtext());
    if (lw_pub_stats(pub, &stats)) give_up(part->notes, "no statistics");
    note_set(&part->notes->resumed, stats.number);
    part_is_ready(part);
    for (uint64_t number = stats.number; number < part->total;) {
        if (number < note_get(&part->ledger->gate))
            number += send_some(pub, part, number);
        else
            nap(50000);
    }
    lw_pub_close(pub);
    lw_bus_close(bus);
}

/* ---- subscribers -------------------------------------------------------------------------------------------------- */

static void log_delivery(const struct part *part, const struct lw_msg *msg) {
    struct notes *notes = part->notes;
    uint64_t at = notes->written;
    while (at - note_get(&notes->checked) >= LOG_ENTRIES) nap(50000);
    notes->log[at % LOG_ENTRIES] = (struct delivery){
        .number = msg->number,
        .sum = sum_of(msg->data, msg->len),
        .released = notes->released,
        .len = (uint32_t)msg->len,
        .type = msg->type,
        .life = part->life,
    };
    note_set(&notes->written, at + 1);
}

static void release_all(const struct part *part, struct lw_sub *sub, const struct lw_msg *last) {
    note_set(&part->notes->releasing, last->number + 1);
    int rc = lw_sub_release(sub, last);
    if (rc) give_up(part->notes, "release of %llu: %s", (unsigned long long)last->number, lw_strerror(rc));
    note_set(&part->notes->released, last->number + 1);
}

/* Takes what there is, some messages at a time, and gives them back together. */
static void read_all(const struct part *part, struct lw_sub *sub, uint64_t released) {
    struct lw_msg msg;
    uint64_t held = 0, bytes = 0, hold = 1;
    while (released < part->total) {
        int got = lw_sub_next(sub, &msg, LW_SEC(1));
        if (got == LW_EEMPTY) continue;
        if (got != 1) give_up(part->notes, "next: %s", lw_strerror(got));
        log_delivery(part, &msg);
        bytes += msg.len;
        if (++held < hold && bytes < HOLD_BYTES && msg.number + 1 < part->total) continue;
        release_all(part, sub, &msg);
        released = msg.number + 1;
        hold = 1 + mix(part->seed ^ msg.number) % HOLD_MOST;
        held = bytes = 0;
    }
}

static void be_subscriber(const struct part *part) {
    struct lw_sub_options options = LW_SUB_OPTIONS_INIT;
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_bus *bus = part_open_bus(part);
    struct lw_sub *sub;
    options.name = part->durable;
    options.from = part->from;
    options.shape.ring = RING;
    if (lw_sub_open(&sub, bus, TOPIC, &options)) give_up(part->notes, "%s", lw_errtext());
    if (lw_sub_stats(sub, &stats)) give_up(part->notes, "no statistics");
    part_is_ready(part);
    read_all(part, sub, stats.number);
    lw_sub_close(sub);
    lw_bus_close(bus);
}

#endif

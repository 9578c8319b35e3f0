/* SPDX-License-Identifier: MIT */
/*
 * wire/resume.c - where to go on, from what the two sides of one lane have. A pure function of positions.
 *
 *     writer:  start ......... first ............. end       first: the oldest that it was not told to be consumed
 *     mirror:          start ..... first .... end            first: released by its reader; end: arrived
 *
 * The same log (uuid): what arrived lies within what was written, and what was consumed is not before what the writer was
 * told, since both only ever grow. Then the writer goes on at the mirror's end. Anything else is a copy of an earlier state
 * that somebody restored, on the one side or the other: going on would lose or repeat without a word.
 *
 * Another log: a mirror into which nothing ever came has nothing to say. Else, if nothing of the writer's log was ever
 * consumed, that log is new: its host began anew, and what the mirror still holds is the rest of the earlier one. If some
 * of it was consumed, it was by another reader than this one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "wire/frame.h"

static void describe(char *to, size_t size, const struct lw__wire_lane_state *l, const char *first, const char *end) {
    snprintf(
        to, size,
        "log %02x%02x%02x%02x, %s position %" PRIu64 " (message %" PRIu64 "), %s %" PRIu64 " (message %" PRIu64 ")",
        l->uuid[0], l->uuid[1], l->uuid[2], l->uuid[3], first, l->first, l->first_number, end, l->end, l->end_number);
}

static void explain(char *why, const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *mirror,
                    const char *what) {
    char writer[176], reader[176];
    describe(writer, sizeof writer, offer, "consumed up to", "written up to");
    describe(reader, sizeof reader, mirror, "consumed up to", "arrived up to");
    snprintf(why, LW__WHY, "%s; writer: %s; reader: %s", what, writer, reader);
}

/* NULL, or what is wrong. Of the same log. */
static const char *compare(const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *mirror) {
#ifdef LW_PLANT_OLD_COPY_TAKEN
    return NULL;
#endif
    if (mirror->ring != offer->ring) return "the rings differ";
    if (!lw__wire_in_order(mirror->end, mirror->end_number, offer->end, offer->end_number))
        return "more arrived than was written: is the writer's side a restored copy?";
    if (!lw__wire_in_order(offer->first, offer->first_number, mirror->first, mirror->first_number))
        return "less was consumed than the writer was told: is the reader's side a restored copy?";
    return NULL;
}

enum lw__verdict lw__wire_judge(const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *mirror,
                                char *why) {
    const char *bad;
    if (memcmp(offer->uuid, mirror->uuid, 16) == 0) {
        bad = compare(offer, mirror);
        if (!bad) return LW__GO_ON;
    } else {
        if (mirror->end == mirror->start) return LW__ANEW;
        if (offer->first == offer->start) return LW__NEW_LOG;
        bad = "two different logs, and both were used";
    }
    explain(why, offer, mirror, bad);
    return LW__MISMATCH;
}

const char *lw__wire_check_take(const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *take,
                                char *why) {
    const char *bad = NULL;
    if (memcmp(offer->uuid, take->uuid, 16) != 0)
        bad = "the reader answers for another log";
    else if (take->window < take->end || take->window - take->first > take->ring)
        bad = "a window that can not be";
    else
        bad = compare(offer, take);
    if (bad) explain(why, offer, take, bad);
    return bad ? why : NULL;
}

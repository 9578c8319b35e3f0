/* SPDX-License-Identifier: MIT */
/*
 * util/fake_source.h - for sources that a test makes up: the answers of one with no lanes, so with no bits to set and no
 * bell to tell anybody of.
 *
 *     static const struct lw__source_ops ops = {.look = look, .peek = peek, TG_NO_LANES};
 */
#ifndef LW_TESTS_FAKE_SOURCE_H
#define LW_TESTS_FAKE_SOURCE_H

#include "bus/group.h"

static inline void tg_no_park(struct lw__source *source, bool on) {
    (void)source, (void)on;
}

static inline void tg_no_bell(struct lw__source *source, uint64_t word) {
    (void)source, (void)word;
}

static inline bool tg_no_tick(struct lw__source *source, int64_t now) {
    (void)source, (void)now;
    return false;
}

#define TG_NO_LANES .park = tg_no_park, .bell = tg_no_bell, .tick = tg_no_tick

#endif

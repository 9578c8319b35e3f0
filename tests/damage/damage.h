/* SPDX-License-Identifier: MIT */
/*
 * damage/damage.h - files that were damaged while nobody had them open: what they are of, and how they are then used.
 */
#ifndef LW_TESTS_DAMAGE_H
#define LW_TESTS_DAMAGE_H

#include "util/topic_util.h"

enum { SNAPSHOTS = 4 };

/* One file, as it was at some moments of its life. The last one is how it was left. */
struct image {
    char path[TT_PATH];
    size_t size;
    size_t head; /* bytes before the ring */
    unsigned char *bytes[SNAPSHOTS];
    unsigned count;
};

struct victim {
    const char *name;
    bool reboots; /* on a disk, and used for the first time after another boot */
    void (*make)(const char *dir, struct image *image);
    /* What is wrong, or NULL: everything went well, or was refused with a code and a text. `payload`: what was sent is
     * where it was. `random` decides about what is done. */
    const char *(*use)(const char *dir, bool payload, uint64_t random);
};

extern const struct victim victims[];
extern uint64_t refusals; /* calls that were refused with a code and a text */

void image_take(struct image *image);

#endif

/* SPDX-License-Identifier: MIT */
/* fail/taken.c - memory and mappings that the library took and did not give back: a table by address. */
#include <stdint.h>
#include <stdio.h>

#include "fail/calls.h"

enum { TAKEN = 1 << 14, SHOWN = 5 };

static struct taken {
    const void *what; /* NULL: free; GONE: was used */
    size_t size;
    uintptr_t site;
    const char *how;
} table[TAKEN];

static const char gone[1];

static struct taken *find(const void *what, const void *instead) {
    size_t at = ((uintptr_t)what >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 50;
    for (size_t i = 0; i < TAKEN; i++) {
        struct taken *t = &table[(at + i) % TAKEN];
        if (t->what == what || t->what == instead) return t;
        if (!t->what) return instead ? t : NULL;
    }
    return NULL;
}

void taken_add(void *what, size_t size, const void *site, const char *how) {
    extern const char __executable_start[];
    struct taken *t = what && shim_is_on() ? find(what, gone) : NULL;
    if (t) *t = (struct taken){what, size, (uintptr_t)site - (uintptr_t)__executable_start, how};
}

void taken_drop(const void *what) {
    struct taken *t = what ? find(what, NULL) : NULL;
    if (t && t->what == what) t->what = gone;
}

unsigned shim_kept(void) {
    unsigned n = 0;
    for (size_t i = 0; i < TAKEN; i++) {
        const struct taken *t = &table[i];
        if (!t->what || t->what == gone) continue;
        if (n++ < SHOWN) fprintf(stderr, "kept: %zu bytes of %s at 0x%zx\n", t->size, t->how, (size_t)t->site);
    }
    return n;
}

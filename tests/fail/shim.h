/* SPDX-License-Identifier: MIT */
/*
 * fail/shim.h - stands between the library and libc (the linker's --wrap), counts the calls, and lets the n-th fail.
 *
 * Only what is called between shim_on() and shim_off() counts: calls of the library, not those of the test, and in this
 * process alone. Whatever the library takes there is kept account of: memory, mappings. Descriptors are counted by
 * who asks.
 */
#ifndef LW_TESTS_FAIL_SHIM_H
#define LW_TESTS_FAIL_SHIM_H

#include <stdbool.h>
#include <stdint.h>

enum shim_kind {
    SHIM_ONCE,      /* the n-th call fails, and no other */
    SHIM_STAYS,     /* ... and all later ones of the same function, until shim_relent() */
    SHIM_DIE_AT,    /* the process is killed instead of the n-th call */
    SHIM_DIE_AFTER, /* ... just after it */
    SHIM_KINDS
};

/* A result that is no errno: the call does half of what it was asked for. */
enum { SHIM_SHORT = 1000, SHIM_VARIANTS = 5 };

struct shim_plan {
    enum shim_kind kind;
    uint64_t n;       /* the first call is 1; 0: none fails */
    uint32_t variant; /* which of the function's failures, of SHIM_VARIANTS at most, round and round */
};

/* What became of it, in memory that outlives the process. */
struct shim_report {
    uint64_t calls;
    bool done;         /* the n-th call was made */
    uint32_t variants; /* so many ways to fail its function has */
    int error;         /* the one that was taken */
    char name[32];     /* of the function */
    uintptr_t site;    /* in the program, as addr2line takes it */
};

void shim_begin(const struct shim_plan *plan, struct shim_report *report);
void shim_relent(void); /* what stays has stayed long enough */
void shim_calm(void);   /* nothing fails any more */
void shim_on(void);
void shim_off(void);

/* Has the plan been carried out? */
bool shim_struck(void);

/* How much of what was taken since shim_begin() was not given back: says where each was taken. */
unsigned shim_kept(void);

/* The functions that it stands before. */
void shim_print_calls(void);

/* The name of an error, or "short". */
const char *shim_error(int error);

#endif

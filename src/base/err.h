/* SPDX-License-Identifier: MIT */
/*
 * base/err.h - codes (the table is in laneway/err.h) and the one sentence a failed set-up call leaves for its thread.
 */
#ifndef LW_BASE_ERR_H
#define LW_BASE_ERR_H

#include "laneway/err.h"

/* Formats this thread's lw_errtext() and returns `code`. For set-up paths only: the hot path returns bare codes. */
int lw__fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the sentence that is there. Returns `code`. */
int lw__fail_in(int code, const char *prefix);

#endif

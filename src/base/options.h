/* SPDX-License-Identifier: MIT */
/*
 * base/options.h - structs of the public API that begin with `size_t size`, and may be of an older or newer program.
 *
 * An older, shorter one gets defaults for the rest. A newer, longer one must have left zero what this library does not
 * know. Results are filled as far as the caller's struct goes.
 */
#ifndef LW_BASE_OPTIONS_H
#define LW_BASE_OPTIONS_H

#include <stddef.h>

/* `to` (of `size` bytes) holds the defaults; `from` may be NULL. 0, or -EINVAL or LW_EABI with text that names `what`.
 */
int lw__options_read(void *to, size_t size, const void *from, const char *what);

/* Copies a result of `size` bytes to the caller's struct, whose own size stands in its first word and stays. */
int lw__result_write(void *to, const void *from, size_t size, const char *what);

#endif

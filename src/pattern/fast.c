/* SPDX-License-Identifier: MIT */
/* pattern/fast.c - the inline functions once more, as symbols for languages that can't include a C header; and the
 * version. */
#include "laneway/err.h"

#undef LW_INLINE
#define LW_INLINE LW_API

#include "laneway/bus.h"
#include "laneway/fast.h"
#include "laneway/laneway.h"

const char *lw_version(void) {
    return LW_VERSION;
}

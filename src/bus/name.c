/* SPDX-License-Identifier: MIT */
/* bus/name.c - which names may be used: they become file names, so nothing that leads elsewhere, and nothing is cut
 * silently. */
#include <string.h>

#include "base/err.h"
#include "bus/bus.h"

static bool is_first(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

bool lw__name_is_good(const char *name) {
    size_t n = strnlen(name, LW_NAME_MAX + 1);
    if (n == 0 || n > LW_NAME_MAX || !is_first(name[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (!is_first(name[i]) && name[i] != '.' && name[i] != '-') return false;
    return true;
}

int lw__name_check(const char *name, const char *what) {
    if (lw__name_is_good(name)) return 0;
    return lw__fail(LW_ENAME, "%s name \"%.100s\": %s", what, name, lw_strerror(LW_ENAME));
}

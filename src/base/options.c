/* SPDX-License-Identifier: MIT */
#include "base/options.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

int lw__options_read(void *to, size_t size, const void *from, const char *what) {
    size_t given;
    if (!from) return 0;
    memcpy(&given, from, sizeof given);
    if (given < sizeof given) return lw__fail(-EINVAL, "%s.size is not set; begin with its _INIT", what);
    for (size_t i = size; i < given; i++)
        if (((const char *)from)[i])
            return lw__fail(LW_EABI, "the program sets something in %s that this library does not know", what);
    memcpy(to, from, given < size ? given : size);
    return 0;
}

int lw__result_write(void *to, const void *from, size_t size, const char *what) {
    size_t room;
    memcpy(&room, to, sizeof room);
    if (room < sizeof room) return lw__fail(-EINVAL, "%s.size is not set; begin with its _INIT", what);
    memcpy((char *)to + sizeof room, (const char *)from + sizeof room, (room < size ? room : size) - sizeof room);
    return 0;
}

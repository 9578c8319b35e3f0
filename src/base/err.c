/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[512];

const char *lw_errtext(void) {
    return text;
}

const char *lw_strerror(int code) {
    switch (code) {
    case 0:
        return "no error";
#define SENTENCE(name, number, sentence)                                                                               \
    case name:                                                                                                         \
        return sentence;
        LW_ERRORS(SENTENCE)
#undef SENTENCE
    default:
        break;
    }
    const char *known = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;
    return known ? known : "unknown error";
}

const char *lw_errname(int code) {
    switch (code) {
    case 0:
        return "OK";
#define NAME(name, number, sentence)                                                                                   \
    case name:                                                                                                         \
        return #name;
        LW_ERRORS(NAME)
#undef NAME
    default:
        break;
    }
    const char *known = code < 0 && code > -4096 ? strerrorname_np(-code) : NULL;
    return known ? known : "?";
}

int lw__fail(int code, const char *format, ...) {
    char fresh[sizeof text]; /* an argument may be `text` itself */
    va_list args;
    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    memcpy(text, fresh, sizeof text);
    return code;
}

int lw__fail_in(int code, const char *prefix) {
    char was[sizeof text];
    memcpy(was, text, sizeof was);
    return lw__fail(code, "%s: %s", prefix, was);
}

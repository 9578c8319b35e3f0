/* SPDX-License-Identifier: MIT */
/* link_words.c - a link's events in words. */
#include <stdio.h>

#include "tool.h"

const char *down_text(char *text, size_t size, int code, bool remote, const char *reason) {
    const char *what = code == LW_ECLOSED ? "closed" : code != LW_EDEAD ? lw_errname(code) : remote ? "lost" : "killed";
    snprintf(text, size, "%s%s%s", what, *reason ? ": " : "", reason);
    return text;
}

static bool is_renewed(int code) {
    return code >= LW_RENEWED_THERE && code <= LW_RENEWED_HERE;
}

const char *renewed_name(int code) {
    static const char *const names[] = {
        [LW_RENEWED_THERE] = "there", [LW_RENEWED_READER] = "reader", [LW_RENEWED_HERE] = "here"};
    return is_renewed(code) ? names[code] : "?";
}

const char *renewed_text(int code) {
    static const char *const texts[] = {
        [LW_RENEWED_THERE] = "the other host lost what it had not sent yet; what comes now is numbered anew",
        [LW_RENEWED_READER] = "the other host lost what it had received; what it had not released is sent again",
        [LW_RENEWED_HERE] = "this host lost what it had received; what it had not released comes again",
    };
    return is_renewed(code) ? texts[code] : "one side lost its files, and begins anew";
}

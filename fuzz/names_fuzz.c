/* SPDX-License-Identifier: MIT */
/*
 * names_fuzz - any text as a name of a node, a subscriber, a topic, a schema.
 *
 * What is accepted is compared with the rule written down once more, in another way. A name that is accepted becomes a
 * path, which must stay below the bus, lead to no file of ours by accident, and tell two names apart. A refusal leaves
 * a text.
 *
 * The input is a text, up to its first NUL.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bus/node.h"
#include "pattern/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) wrong(#condition, __LINE__);                                                                 \
    } while (0)

static void wrong(const char *what, int line) {
    fprintf(stderr, "names_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

static const char first_of_name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
static const char rest_of_name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

static bool good_level(const char *text, size_t n) {
    return n >= 1 && n <= 63 && strspn(text, first_of_name) >= 1 && strspn(text, rest_of_name) >= n;
}

static bool good_topic(const char *text) {
    if (strlen(text) > 200) return false;
    for (;;) {
        const char *slash = strchr(text, '/');
        if (!good_level(text, slash ? (size_t)(slash - text) : strlen(text))) return false;
        if (!slash) return true;
        text = slash + 1;
    }
}

/* Relative, and no level of it is empty, hidden or a way up, but for the last, which is fixed. */
static void check_path(const char *path, const char *name) {
    char want[512];
    snprintf(want, sizeof want, "topics/%s/.lane", name);
    MUST(strcmp(path, want) == 0 && path[0] != '/');
    MUST(!strstr(path, "//") && !strstr(path, "/../") && !strstr(path, "/./"));
    MUST(strstr(path, "/.") == path + strlen(path) - strlen("/.lane"));
}

static void check_name(const char *text) {
    char path[LW__NODE_PATH];
    bool good = good_level(text, strlen(text));
    lw__fail(0, "%s", "");
    MUST(lw__name_is_good(text) == good);
    MUST(lw__name_check(text, "node") == (good ? 0 : LW_ENAME));
    MUST((*lw_errtext() == 0) == good);
    if (!good) return;
    lw__node_path(path, text);
    MUST(strncmp(path, "nodes/", 6) == 0 && strcmp(path + 6, text) == 0);
    MUST(!lw__temp_is(text)); /* a cleaner would take it for an unfinished file */
}

static void check_topic(const char *text) {
    struct lw__file topic;
    bool good = good_topic(text);
    lw__fail(0, "%s", "");
    MUST(lw__topic_name(&topic, NULL, text) == (good ? 0 : LW_ENAME));
    MUST((*lw_errtext() == 0) == good && strlen(lw_errtext()) < 512);
    if (!good) return;
    MUST(strcmp(topic.name, text) == 0);
    check_path(topic.path, text);
}

static void check_schema(const char *text) {
    struct lw_shape shape = LW_SHAPE_INIT;
    struct lw__lane_shape full;
    bool good = strlen(text) <= LW_NAME_MAX;
    for (const char *c = text; *c; c++) good = good && (unsigned char)*c >= ' ' && *c != 0x7f;
    shape.schema = text;
    MUST(lw__shape_full("topic", &shape, &full) == (good ? 0 : LW_ENAME));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *text = malloc(size + 1); /* exactly as long as it is: one byte further is found */
    if (!text) return 0;
    if (size) memcpy(text, bytes, size);
    text[size] = 0;
    check_name(text);
    check_topic(text);
    check_schema(text);
    free(text);
    return 0;
}

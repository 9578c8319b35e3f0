/* SPDX-License-Identifier: MIT */
/* report.c - how the tool says what went wrong, and what a topic looks like. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

static void put_file(void *to, const char *bytes, size_t len) {
    fwrite(bytes, 1, len, to); /* main.c looks at ferror() */
}

struct json json_stdout(void) {
    return (struct json){put_file, stdout, false};
}

static int exit_code(int code) {
    switch (code) {
    case LW_ENAME:
    case -EINVAL:
        return EXIT_USAGE;
    case LW_ENOTOPIC:
    case LW_ENOBUS:
    case LW_ENOLINK:
        return EXIT_NO_TOPIC;
    case LW_EEMPTY:
        return EXIT_TIMEOUT;
    case -EACCES:
    case -EPERM:
        return EXIT_PERMISSION;
    case LW_ECORRUPT:
        return EXIT_CORRUPT;
    case LW_EFULL:
        return EXIT_FULL;
    default:
        return EXIT_FAILED;
    }
}

static void json_loss(struct json *json, const struct loss *loss) {
    json_number(json, "lost", loss->messages);
    json_number(json, "places", loss->places);
    json_number(json, "evicted", loss->evictions);
    json_number(json, "next_number", loss->next);
}

/* `error` is NULL for a warning, `loss` if it is about something else. */
static void say(const char *error, const char *text, const struct loss *loss) {
    struct json json = {put_file, stderr, false};
    if (!common.json) {
        fprintf(stderr, "laneway: %s\n", text);
        return;
    }
    json_open(&json, NULL, '{');
    if (error) json_text(&json, "error", error);
    json_text(&json, error ? "text" : "warning", text);
    if (loss) json_loss(&json, loss);
    json_close(&json, '}');
    json_end(&json);
}

int fail(int code, const char *format, ...) {
    char text[5000]; /* two paths and a sentence */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(lw_errname(code), text, NULL);
    return exit_code(code);
}

int fail_call(int code) {
    const char *text = lw_errtext();
    return fail(code, "%s", *text ? text : lw_strerror(code));
}

void warning(const char *format, ...) {
    char text[5000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(NULL, text, NULL);
}

void warn_loss(const struct loss *loss, const char *format, ...) {
    char text[5000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(NULL, text, loss);
}

static void json_uuid(struct json *json, const unsigned char *uuid) {
    char text[33];
    for (size_t i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", uuid[i]);
    json_text(json, "uuid", text);
}

uint32_t slots_taken(const struct lw_topic_info *info) {
    return info->readers + info->writers - (info->exclusive ? 1 : 0);
}

void json_topic(struct json *json, const char *topic, const struct lw_topic_info *info) {
    json_text(json, "topic", topic);
    json_number(json, "ring", info->ring);
    json_number(json, "slots", info->slots);
    json_number(json, "slots_taken", slots_taken(info));
    json_text_or_null(json, "schema", info->schema);
    json_number(json, "schema_hash", info->schema_hash);
    json_uuid(json, info->uuid);
    json_number(json, "record_max", info->record_max);
    json_number_or_null(json, "evict_lag", info->evict_lag);
    json_number_or_null(json, "evict_age", (uint64_t)info->evict_age / LW_SEC(1));
    json_number(json, "next_position", info->tail);
    json_number(json, "next_number", info->number);
    json_number(json, "oldest_position", info->oldest);
    json_number(json, "oldest_number", info->oldest_number);
    json_number(json, "reader_count", info->readers);
    json_number(json, "writer_count", info->writers);
    json_bool(json, "exclusive", info->exclusive);
}

/* SPDX-License-Identifier: MIT */
/*
 * json.h - writes JSON, piece by piece, to wherever `put` takes it.
 *
 *     struct json json = json_stdout();
 *     json_open(&json, NULL, '{');
 *     json_number(&json, "messages", 3);
 *     json_close(&json, '}');
 *     json_end(&json);
 *
 * A key is NULL inside an array and at the top. Text that is not UTF-8 gets U+FFFD for each bad byte.
 */
#ifndef LANEWAY_JSON_H
#define LANEWAY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    void (*put)(void *to, const char *bytes, size_t len);
    void *to;
    bool comma; /* something stands before at this level */
};

void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                 /* '}' or ']' */
void json_end(struct json *json);                                 /* a newline, and ready for another */

void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
void json_text(struct json *json, const char *key, const char *text);
void json_bytes(struct json *json, const char *key, const char *text, size_t len);
void json_base64(struct json *json, const char *key, const void *data, size_t len);

/* json_number(), or null for 0. */
void json_number_or_null(struct json *json, const char *key, uint64_t value);

/* json_text(), or null when there is none. */
void json_text_or_null(struct json *json, const char *key, const char *text);

/* Is it UTF-8 without control characters other than tab, newline and return? */
bool text_is_printable(const void *data, size_t len);

#endif

/* SPDX-License-Identifier: MIT */
/* json.c - a small writer of JSON; see json.h. */
#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put_text(struct json *json, const char *text) {
    json->put(json->to, text, strlen(text));
}

/* Length of the UTF-8 sequence that `s` begins with, 0 when it is none. No overlong forms, no
 * surrogates, nothing above U+10FFFF. */
static size_t utf8_length(const unsigned char *s, size_t len) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len) return 0;
    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

bool text_is_printable(const void *data, size_t len) {
    const unsigned char *s = data;
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_length(s + i, len - i);
        bool control = s[i] < 0x20 ? !strchr("\t\n\r", s[i]) || !s[i] : s[i] == 0x7f;
        bool control_c1 = n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0;
        if (!n || control || control_c1) return false;
    }
    return true;
}

/* One character that can not stand for itself. */
static void put_escape(struct json *json, unsigned char c) {
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char out[8];
    for (const char *p = letters; *p; p += 2) {
        if ((unsigned char)*p == c) {
            snprintf(out, sizeof out, "\\%c", p[1]);
            put_text(json, out);
            return;
        }
    }
    snprintf(out, sizeof out, "\\u%04x", c);
    put_text(json, out);
}

static void put_string(struct json *json, const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    size_t from = 0;
    put_text(json, "\"");
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length(s + i, len - i);
        bool plain = n > 1 || (n && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f);
        if (plain) {
            i += n;
            continue;
        }
        json->put(json->to, text + from, i - from);
        if (n)
            put_escape(json, s[i]);
        else
            put_text(json, "\\ufffd");
        from = ++i;
    }
    json->put(json->to, text + from, len - from);
    put_text(json, "\"");
}

static void begin_value(struct json *json, const char *key) {
    if (json->comma) put_text(json, ",");
    json->comma = true;
    if (!key) return;
    put_string(json, key, strlen(key));
    put_text(json, ":");
}

void json_open(struct json *json, const char *key, char bracket) {
    begin_value(json, key);
    json->put(json->to, &bracket, 1);
    json->comma = false;
}

void json_close(struct json *json, char bracket) {
    json->put(json->to, &bracket, 1);
    json->comma = true;
}

void json_end(struct json *json) {
    put_text(json, "\n");
    json->comma = false;
}

void json_number(struct json *json, const char *key, uint64_t value) {
    char out[24];
    begin_value(json, key);
    snprintf(out, sizeof out, "%" PRIu64, value);
    put_text(json, out);
}

void json_number_or_null(struct json *json, const char *key, uint64_t value) {
    if (value)
        json_number(json, key, value);
    else
        json_null(json, key);
}

void json_bool(struct json *json, const char *key, bool value) {
    begin_value(json, key);
    put_text(json, value ? "true" : "false");
}

void json_null(struct json *json, const char *key) {
    begin_value(json, key);
    put_text(json, "null");
}

void json_bytes(struct json *json, const char *key, const char *text, size_t len) {
    begin_value(json, key);
    put_string(json, text, len);
}

void json_text(struct json *json, const char *key, const char *text) {
    json_bytes(json, key, text, strlen(text));
}

void json_text_or_null(struct json *json, const char *key, const char *text) {
    if (text && *text)
        json_text(json, key, text);
    else
        json_null(json, key);
}

/* Three bytes, or the one or two that are left, as four characters. */
static void base64_quad(char *out, const unsigned char *in, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)in[0] << 16;
    bits |= len > 1 ? (uint32_t)in[1] << 8 : 0;
    bits |= len > 2 ? in[2] : 0;
    for (size_t i = 0; i < 4; i++) out[i] = i <= len ? digits[bits >> (18 - 6 * i) & 63] : '=';
}

void json_base64(struct json *json, const char *key, const void *data, size_t len) {
    const unsigned char *in = data;
    char out[4096];
    size_t used = 0;
    begin_value(json, key);
    put_text(json, "\"");
    for (size_t i = 0; i < len; i += 3, used += 4) {
        if (used == sizeof out) {
            json->put(json->to, out, used);
            used = 0;
        }
        base64_quad(out + used, in + i, len - i < 3 ? len - i : 3);
    }
    json->put(json->to, out, used);
    put_text(json, "\"");
}

/* SPDX-License-Identifier: MIT */
/* values.c - strict readers of option values: the whole text must fit, nothing is rounded or cut. */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "tool.h"

enum { NS_DIGITS = 9 };

const char *parse_flag(const char *text, void *value) {
    (void)text;
    *(bool *)value = true;
    return NULL;
}

const char *parse_text(const char *text, void *value) {
    if (!*text) return "a text that is not empty";
    *(const char **)value = text;
    return NULL;
}

static int digit_value(char c) {
    if (isdigit((unsigned char)c)) return c - '0';
    if (isxdigit((unsigned char)c)) return tolower((unsigned char)c) - 'a' + 10;
    return 99;
}

/* Reads digits. What follows them, or NULL when there is none or the number has no room. */
static const char *read_digits(const char *text, int base, uint64_t *value) {
    const char *p = text;
    for (*value = 0; digit_value(*p) < base; p++) {
        if (__builtin_mul_overflow(*value, (uint64_t)base, value) ||
            __builtin_add_overflow(*value, (uint64_t)digit_value(*p), value))
            return NULL;
    }
    return p == text ? NULL : p;
}

const char *parse_number(const char *text, void *value) {
    bool hex = text[0] == '0' && text[1] == 'x';
    const char *end = read_digits(text + (hex ? 2 : 0), hex ? 16 : 10, value);
    return end && !*end ? NULL : "a whole number";
}

const char *parse_count(const char *text, void *value) {
    if (parse_number(text, value) || !*(uint64_t *)value) return "a whole number from 1 on";
    return NULL;
}

const char *parse_type(const char *text, void *value) {
    uint64_t n;
    if (parse_number(text, &n) || n > UINT16_MAX) return "a whole number from 0 to 65535";
    *(uint16_t *)value = (uint16_t)n;
    return NULL;
}

const char *parse_size(const char *text, void *value) {
    static const char units[] = "KMG";
    static const char expected[] = "a size such as 65536, 64K, 1M or 2G";
    uint64_t *size = value;
    const char *end = read_digits(text, 10, size);
    if (!end) return expected;
    if (!*end) return NULL;
    const char *unit = strchr(units, *end);
    if (!unit || end[1]) return expected;
    uint64_t factor = UINT64_C(1024) << 10 * (unit - units);
    return __builtin_mul_overflow(*size, factor, size) ? expected : NULL;
}

const char *parse_room(const char *text, void *value) {
    if (parse_size(text, value) || !*(uint64_t *)value) return "a size such as 65536, 64K, 1M or 2G, and not 0";
    return NULL;
}

const char *parse_seconds(const char *text, void *value) {
    static const char expected[] = "a time in seconds such as 2 or 0.5";
    uint64_t whole, rest = 0, digits = 0;
    const char *end = read_digits(text, 10, &whole);
    if (!end || whole > INT32_MAX) return expected;
    if (*end == '.') {
        const char *fraction = end + 1;
        end = read_digits(fraction, 10, &rest);
        digits = end ? (uint64_t)(end - fraction) : 0;
    }
    if (!end || *end || digits > NS_DIGITS) return expected;
    for (; digits < NS_DIGITS; digits++) rest *= 10;
    *(int64_t *)value = LW_SEC((int64_t)whole) + (int64_t)rest;
    return NULL;
}

/* Microseconds. */
const char *parse_spin(const char *text, void *value) {
    uint64_t n;
    if (parse_number(text, &n) || n > UINT32_MAX) return "a whole number of microseconds";
    *(int64_t *)value = LW_US((int64_t)n);
    return NULL;
}

/* A topic counts ages in whole seconds, 32 bits of them. */
const char *parse_age(const char *text, void *value) {
    static const char expected[] = "a time such as 90 (seconds), 90s, 15m or 48h, from 1s to 1193046h";
    uint64_t seconds;
    const char *end = read_digits(text, 10, &seconds);
    if (!end) return expected;
    uint64_t factor = *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
    if (*end && (!strchr("smh", *end) || end[1])) return expected;
    if (!seconds || seconds > UINT32_MAX / factor) return expected;
    *(int64_t *)value = LW_SEC((int64_t)(seconds * factor));
    return NULL;
}

const char *parse_ring(const char *text, void *value) {
    uint64_t n;
    if (parse_size(text, &n) || n < (1u << 16) || n > UINT64_C(1) << 36 || (n & (n - 1)))
        return "a power of two from 64K to 64G";
    *(uint64_t *)value = n;
    return NULL;
}

const char *parse_slots(const char *text, void *value) {
    uint64_t n;
    if (parse_number(text, &n) || n < 1 || n > 1024) return "a whole number from 1 to 1024";
    *(uint32_t *)value = (uint32_t)n;
    return NULL;
}

/* NAME or NAME:HASH. The last colon counts; the name is kept until the end of the process. */
const char *parse_schema(const char *text, void *value) {
    static const char expected[] = "NAME or NAME:HASH with 1 to 63 printable characters";
    static char name[LW_NAME_MAX + 1];
    struct lw_shape *shape = value;
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (!len || len > LW_NAME_MAX || (colon && parse_number(colon + 1, &shape->schema_hash))) return expected;
    memcpy(name, text, len);
    name[len] = '\0';
    shape->schema = name;
    return NULL;
}

/* Against the ring that is asked for; against one that is there already the library does it. */
void shape_check(const struct usage *usage, const struct lw_shape *shape) {
    if (shape->ring && shape->evict_lag > shape->ring) options_refuse(usage, "--evict-lag is larger than --ring");
}

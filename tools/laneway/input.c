/* SPDX-License-Identifier: MIT */
/* input.c - cuts a stream of bytes into messages; see input.h. */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

enum { FIRST_ROOM = 256 * 1024 };

/* The mixing function of splitmix64: neighbours get unrelated sizes. */
static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t input_size(uint64_t number, uint64_t least, uint64_t most) {
    return least + mix(number) % (most - least + 1);
}

/* Makes room behind `end`: moves what is left to the front, or grows. */
static int make_room(struct input *input) {
    if (input->begin) {
        memmove(input->buffer, input->buffer + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->begin = 0;
    }
    if (input->end < input->room) return 0;
    size_t room = input->room ? 2 * input->room : FIRST_ROOM;
    char *buffer = realloc(input->buffer, room);
    if (!buffer) return -ENOMEM;
    input->buffer = buffer;
    input->room = room;
    return 0;
}

/* Reads what is there, waiting for the first byte. */
static int read_more(struct input *input) {
    int rc = make_room(input);
    if (rc) return rc;
    ssize_t n;
    do {
        if (stop_asked()) return -EINTR;
        n = read(input->fd, input->buffer + input->end, input->room - input->end);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    input->at_end = n == 0;
    input->end += (size_t)n;
    return 0;
}

/* Hands out `len` bytes and passes over `gap` more. */
static int take(struct input *input, const void **data, size_t *len, size_t size, size_t gap) {
    if (size > input->limit) return LW_ETOOBIG;
    *data = input->buffer + input->begin;
    *len = size;
    input->begin += size + gap;
    input->scanned = 0;
    input->number++;
    return 1;
}

static int next_delimited(struct input *input, const void **data, size_t *len) {
    for (;;) {
        size_t have = input->end - input->begin;
        const char *from = input->buffer + input->begin;
        const char *found =
            have > input->scanned ? memchr(from + input->scanned, input->delimiter, have - input->scanned) : NULL;
        if (found) return take(input, data, len, (size_t)(found - from), 1);
        if (input->at_end) return have ? take(input, data, len, have, 0) : 0;
        if (have > input->limit) return LW_ETOOBIG;
        input->scanned = have;
        int rc = read_more(input);
        if (rc) return rc;
    }
}

static int next_sized(struct input *input, const void **data, size_t *len) {
    uint64_t size = input_size(input->number, input->least, input->most);
    if (size > input->limit) return LW_ETOOBIG;
    while (input->end - input->begin < size && !input->at_end) {
        int rc = read_more(input);
        if (rc) return rc;
    }
    size_t have = input->end - input->begin;
    if (!have) return 0;
    return take(input, data, len, have < size ? have : (size_t)size, 0);
}

int input_next(struct input *input, const void **data, size_t *len) {
    if (input->fd < 0) {
        *data = input->text;
        *len = strlen(input->text);
        input->number++;
        return *len > input->limit ? LW_ETOOBIG : 1;
    }
    int rc = input->buffer ? 0 : read_more(input);
    if (rc) return rc;
    return input->delimiter < 0 ? next_sized(input, data, len) : next_delimited(input, data, len);
}

void input_fini(struct input *input) {
    free(input->buffer);
    input->buffer = NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * input.h - cuts a stream of bytes into messages: by line, by NUL, or by size.
 *
 * The cut depends on the bytes and the message's number alone. So a run that was killed and started
 * again with the same input cuts it in the same way and can skip what is already published.
 */
#ifndef LANEWAY_INPUT_H
#define LANEWAY_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
    int fd; /* -1: `text` is the message, again and again */
    const char *text;
    int delimiter;        /* '\n', '\0', or -1: by size */
    uint64_t least, most; /* sizes; the last message may be shorter */
    size_t limit;         /* a longer message is refused */
    uint64_t number;      /* of the next message, from 0 */
    char *buffer;
    size_t room, begin, end, scanned; /* bytes [begin, end) are not used yet */
    int at_end;
};

/* 1 and the next message, valid until the next call; 0 at the end of the input; else -ENOMEM,
 * LW_ETOOBIG, -EINTR after a signal, or what read() said. */
int input_next(struct input *input, const void **data, size_t *len);

void input_fini(struct input *input);

/* The size of message `number` when sizes go from `least` to `most`. Never changes between versions:
 * a resumed run depends on it. */
uint64_t input_size(uint64_t number, uint64_t least, uint64_t most);

#endif

/* SPDX-License-Identifier: MIT */
/* kill/judge.c - what came, told from the bytes that came. */
#include <inttypes.h>
#include <string.h>

#include "kill/kill.h"

enum { FAR_OFF = 4096 };

struct kill_how kill_how = {.stride = 1, .to = UINT64_MAX, .inner = 4, .apart = 1};
struct kill_tally kill_tally;
const struct kill_op *kill_now;
uint64_t kill_at, kill_inner_at;

int kill_violation(const char *trouble) {
    kill_tally.other += !kill_tally.lost && !kill_tally.repeated && !kill_tally.reordered;
    printf("WRONG %s: after %" PRIu64 " instructions", kill_now->name, kill_at);
    if (kill_inner_at) printf(", and %" PRIu64 " of who recovered", kill_inner_at);
    printf(": %s; again: --op '%s' --from %" PRIu64 " --to %" PRIu64 "\n", trouble, kill_now->name, kill_at,
           kill_at + 1);
    fflush(stdout);
    return 1;
}

static const char *say(uint64_t *count, const char *format, va_list args) {
    static char words[400];
    vsnprintf(words, sizeof words, format, args);
    ++*count;
    return words;
}

#define SAY(count)                                                                                                     \
    va_list args;                                                                                                      \
    va_start(args, format);                                                                                            \
    const char *words = say(&(count), format, args);                                                                   \
    va_end(args);                                                                                                      \
    return words

const char *kill_lost(const char *format, ...) {
    SAY(kill_tally.lost);
}

const char *kill_repeated(const char *format, ...) {
    SAY(kill_tally.repeated);
}

const char *kill_reordered(const char *format, ...) {
    SAY(kill_tally.reordered);
}

static bool is_message(const struct lw_msg *msg, uint64_t number) {
    struct lw_msg as = *msg;
    as.number = number;
    return t_fits(&as);
}

/* Not the one that was to come: which one is it? */
static const char *which(const struct lw_msg *msg, uint64_t want) {
    for (uint64_t off = 1; off < FAR_OFF; off++) {
        if (is_message(msg, want + off))
            return kill_lost("message %" PRIu64 " comes instead of %" PRIu64, want + off, want);
        if (off <= want && is_message(msg, want - off))
            return kill_repeated("message %" PRIu64 " comes again instead of %" PRIu64, want - off, want);
    }
    return t_words("what comes instead of message %" PRIu64 " is none, %zu bytes", want, msg->len);
}

const char *kill_read(struct lw__reader *r) {
    struct lw_msg m = {.flags = 0};
    for (;;) {
        uint64_t number = r->rx.number, pos = r->rx.pos;
        int rc = t_next(r, &m);
        if (rc == LW_EEMPTY)
            return m.flags & LW_MSG_MORE ? kill_lost("the batch before %" PRIu64 " is cut", number) : NULL;
        if (rc != 1) return t_words("message %" PRIu64 " at %" PRIu64 ": %s", number, pos, lw_errname(rc));
        if (!is_message(&m, number)) return which(&m, number);
        if (m.number != number || m.position != pos)
            return kill_reordered("message %" PRIu64 " says it is %" PRIu64 " at %" PRIu64, number, m.number,
                                  m.position);
        if (t_release(r, &m)) return t_words("message %" PRIu64 " can not be released", number);
    }
}

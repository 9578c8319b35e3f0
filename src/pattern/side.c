/* SPDX-License-Identifier: MIT */
/*
 * pattern/side.c - a sequence lock whose writer may die.
 *
 * Writer: turn odd; release fence; the rest, relaxed; turn even, release. Reader: turn, acquire; the rest, relaxed;
 * acquire fence; turn again. Both turns alike and even: no store of a later saying was seen. The next writer makes an odd
 * turn that a dead one left the next even one after its own saying is whole.
 */
#include "pattern/side.h"

#include <string.h>

enum { TRIES = 1000 };

static void load_words(const struct lw__side *side, uint64_t *words, size_t length) {
    for (size_t i = 0; i < (length + 7) / 8; i++) words[i] = lw__load(&side->words[i]);
    ((char *)words)[length] = 0;
}

/* Pairs with lw__side_write(): acquire with its last release, fence with fence. */
static bool read_once(const struct lw__side *side, struct lw__saying *s, void *words) {
    s->turn = lw__load_acquire(&side->turn);
    if (s->turn & 1) return false;
    uint64_t what = lw__load(&side->what), length = lw__load(&side->length);
    s->owner = lw__load(&side->owner);
    s->session = lw__load(&side->session);
    s->what = what <= LW__SAYS_CLOSED ? (enum lw__what)what : LW__SAYS_NOTHING;
    s->accepted = lw__load(&side->accepted);
    s->code = (int)lw__load(&side->code);
    s->length = length <= LW_LOGIN_MAX ? length : LW_LOGIN_MAX;
    s->instance = lw__load(&side->instance);
    if (words) load_words(side, words, s->length);
#ifdef LW_PLANT_SIDE_READ_WITHOUT_SECOND_LOOK
    return true;
#endif
    lw__fence_acquire();
    return lw__load(&side->turn) == s->turn;
}

bool lw__side_read(const struct lw__side *side, struct lw__saying *s, void *words) {
    for (int i = 0; i < TRIES; i++) {
        if (read_once(side, s, words)) return true;
        if (s->turn & 1) return false; /* for as long as its writer takes, or for ever if it is dead */
    }
    return false;
}

/* Pairs with read_once(): fence with fence, the last release with its acquire. */
void lw__side_write(struct lw__side *side, const struct lw__saying *s, const void *words) {
    uint64_t turn = lw__load(&side->turn) | 1;
#ifndef LW_PLANT_SIDE_WITHOUT_ODD_TURN
    lw__store(&side->turn, turn);
    lw__fence_release();
#endif
    lw__store(&side->owner, s->owner);
    lw__store(&side->session, s->session);
    lw__store(&side->what, s->what);
    lw__store(&side->accepted, s->accepted);
    lw__store(&side->code, (uint64_t)(int64_t)s->code);
    lw__store(&side->length, s->length);
    lw__store(&side->instance, s->instance);
    for (size_t i = 0; i < s->length; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)words + i, s->length - i < 8 ? s->length - i : 8);
        lw__store(&side->words[i / 8], word);
    }
    lw__store_release(&side->turn, turn + 1);
}

/* Pairs with fill_remote() in pattern/link_admin.c. */
void lw__side_reach(struct lw__side *side, uint64_t owner, const char *address) {
    for (size_t i = 0, length = address ? strlen(address) + 1 : 0; i < length && i < LW_ADDRESS_MAX; i += 8) {
        uint64_t word = 0;
        memcpy(&word, address + i, length - i < 8 ? length - i : 8);
        lw__store(&side->address[i / 8], word);
    }
    lw__store_release(&side->reached, owner);
}

void lw__side_address(const struct lw__side *side, char address[LW_ADDRESS_MAX]) {
    for (size_t i = 0; i < LW_ADDRESS_MAX / 8; i++) {
        uint64_t word = lw__load(&side->address[i]);
        memcpy(address + 8 * i, &word, 8);
    }
    address[LW_ADDRESS_MAX - 1] = 0;
}

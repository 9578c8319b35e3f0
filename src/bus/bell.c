/* SPDX-License-Identifier: MIT */
/*
 * bus/bell.c - sleeping and ringing.
 *
 *     sleep   word = {++turn, ASLEEP}; full fence; summary? then don't sleep. Else wait for the FIFO
 *     wake    word = {turn, AWAKE}; empty the FIFO; s = exchange(summary, 0); for each word w in s: exchange(ready[w], 0)
 *     ring    ready |= bit; summary |= its bit (both, every time); w = word; if ASLEEP: a byte into the FIFO, then
 *             compare-and-swap word: w -> RUNG
 *
 * Why no ring is lost. The ringer's operations are locked, so each is a full fence: it sets the bits, then loads the
 * word. The sleeper stores the word, fences, then loads the summary. So at least one sees the other: the sleeper the
 * bit, and does not sleep; or the ringer ASLEEP, and writes the byte. A byte that comes late, when the group is awake
 * again, costs one look more. The bit is set before the summary and taken after it: a bit whose summary was taken is
 * seen; one that is set later has a summary set later.
 *
 * Both bits every time: a ringer that finds one set already does not know whether the one who set it lives, nor whether
 * the group took the summary in between. The byte first, and then RUNG: a ringer that dies between the two has woken the
 * group; the other way round it would have said so without doing it, and all later ringers would believe it. RUNG spares
 * them the system call: so a burst at a sleeping group costs one. The turn keeps a slow ringer's RUNG off a later sleep.
 *
 * A ringer that dies before the summary costs its own message until the group's tick.
 */
#include "bus/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

enum { VERSION = 1, TURN_SHIFT = 2, PATH = sizeof "bells/.4294967295~" + LW_NAME_MAX, SPREAD = 16, TRIES = 100 };
static const char magic[8] = "LANEBEL";

_Static_assert(offsetof(struct lw__bell_page, word) == 64, "word at 64");
_Static_assert(offsetof(struct lw__bell_page, summary) == 128, "summary at 128");
_Static_assert(offsetof(struct lw__bell_page, ready) == 256, "ready at 256");

static size_t file_size(uint32_t words) {
    return offsetof(struct lw__bell_page, ready) + (size_t)words * 8;
}

static void path_of(char path[PATH], const char *node, uint32_t number, const char *end) {
    snprintf(path, PATH, "bells/%s.%u%s", node, number, end);
}

/* ---- our own ------------------------------------------------------------------------------------------------------ */

/* What a dead process of our name left there is not opened by anybody any more: its epoch is over. */
static int make_fifo(struct lw_bus *bus, const char *path) {
    unlinkat(bus->dir.fd, path, 0);
    if (mknodat(bus->dir.fd, path, S_IFIFO | 0600, 0)) return -errno;
    int fd = lw__file_open(&bus->dir, path, O_RDWR);
    int rc = fd < 0 ? fd : lw__file_users(&bus->dir, fd);
    if (!rc) return fd;
    if (fd >= 0) close(fd);
    unlinkat(bus->dir.fd, path, 0);
    return rc;
}

static int make_page_once(struct lw__bell *bell, struct lw_bus *bus, const char *path) {
    char temp[LW__TEMP_MAX];
    struct lw__bell_page head = {.version = VERSION, .words = bell->words};
    memcpy(head.magic, magic, sizeof magic);
    int rc, fd = lw__temp_make(&bus->dir, "bells", file_size(bell->words), temp);
    if (fd < 0) return fd;
    bell->page = lw__map_shared(fd, file_size(bell->words), true);
    rc = bell->page ? 0 : -errno;
    if (!rc) memcpy(bell->page, &head, sizeof head);
    rc = rc ? rc : lw__temp_link(&bus->dir, fd, temp, path, true);
    if (rc) lw__temp_drop(&bus->dir, temp);
    close(fd);
    if (!rc) return 0;
    lw__unmap(bell->page, file_size(bell->words));
    bell->page = NULL;
    return lw__fail(rc, "%s/%s: %s", bus->dir.path, path, strerror(-rc));
}

/* Again when a cleaner took the unfinished file for a dead one's. */
static int make_page(struct lw__bell *bell, struct lw_bus *bus, const char *path) {
    int rc = -ENOENT;
    for (int tries = 0; rc == -ENOENT && tries < TRIES; tries++) rc = make_page_once(bell, bus, path);
    return rc;
}

int lw__bell_make(struct lw__bell *bell, struct lw_bus *bus, uint32_t words) {
    char path[PATH];
    *bell = (struct lw__bell){.words = words, .fifo = -1};
    int rc = lw__dir_make(&bus->dir, "bells");
    if (rc) return lw__file_explain(&bus->dir, "bells", rc);
    bell->number = bus->bells_made++; /* never one again: others keep bells open, by owner and number */
    path_of(path, bus->node, bell->number, "~");
    bell->fifo = make_fifo(bus, path);
    if (bell->fifo < 0) return lw__file_explain(&bus->dir, path, bell->fifo);
    path_of(path, bus->node, bell->number, "");
    rc = make_page(bell, bus, path);
    if (rc) lw__bell_drop(bell, bus);
    return rc;
}

void lw__bell_drop(struct lw__bell *bell, struct lw_bus *bus) {
    char path[PATH];
    if (bell->fifo < 0) return;
    path_of(path, bus->node, bell->number, "");
    unlinkat(bus->dir.fd, path, 0);
    path_of(path, bus->node, bell->number, "~");
    unlinkat(bus->dir.fd, path, 0);
    lw__unmap(bell->page, file_size(bell->words));
    bell->page = NULL;
    lw__bell_cut(bell);
}

void lw__bell_cut(struct lw__bell *bell) {
    if (bell->fifo >= 0) close(bell->fifo);
    bell->fifo = -1;
    bell->page = NULL;
}

/* ---- sleeping ---------------------------------------------------------------------------------------------------- */

bool lw__bell_sleep(struct lw__bell *bell) {
    bell->asleep = true;
    __atomic_store_n(&bell->page->word, ++bell->turn << TURN_SHIFT | LW__ASLEEP, __ATOMIC_SEQ_CST);
    lw__fence_full(); /* pairs with the locked operations of set_ready() */
#ifdef LW_PLANT_SLEEP_WITHOUT_LOOK
    return true;
#endif
    return !lw__bell_has_rung(bell);
}

/* Pairs with the load of `word` in set_ready(). */
void lw__bell_wake(struct lw__bell *bell, bool drain) {
    char bytes[64];
    __atomic_store_n(&bell->page->word, bell->turn << TURN_SHIFT | LW__AWAKE, __ATOMIC_SEQ_CST);
    while (drain && read(bell->fifo, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {
    }
    bell->asleep = false;
}

/* Pairs with set_ready(): what the ringer stored before is seen after. */
void lw__bell_collect(struct lw__bell *bell, void (*each)(void *context, uint32_t index), void *context) {
    struct lw__bell_page *page = bell->page;
    uint64_t summary = __atomic_exchange_n(&page->summary, 0, __ATOMIC_SEQ_CST);
    for (; summary; summary &= summary - 1) {
        uint32_t first = (uint32_t)__builtin_ctzll(summary) * SPREAD;
        for (uint32_t w = first; w < first + SPREAD && w < bell->words; w++) {
            if (!lw__load(&page->ready[w])) continue;
            uint64_t ready = __atomic_exchange_n(&page->ready[w], 0, __ATOMIC_SEQ_CST);
            for (; ready; ready &= ready - 1) each(context, w * 64 + (uint32_t)__builtin_ctzll(ready));
        }
    }
}

/* ---- ringing ----------------------------------------------------------------------------------------------------- */

/* True: a byte is needed, by whoever has the FIFO; then rung(). Pairs with lw__bell_sleep() (bits, then `word`,
 * against `word`, then bits) and with lw__bell_collect(). */
static bool set_ready(struct lw__bell_page *page, uint32_t words, uint32_t index, uint64_t *seen) {
    uint32_t w = index / 64 % words;
#ifdef LW_PLANT_RING_SKIPS_SET_BIT
    if (__atomic_fetch_or(&page->ready[w], UINT64_C(1) << index % 64, __ATOMIC_SEQ_CST) >> index % 64 & 1) return false;
#else
    __atomic_fetch_or(&page->ready[w], UINT64_C(1) << index % 64, __ATOMIC_SEQ_CST);
#endif
    __atomic_fetch_or(&page->summary, UINT64_C(1) << w / SPREAD, __ATOMIC_SEQ_CST);
    *seen = __atomic_load_n(&page->word, __ATOMIC_SEQ_CST);
#ifdef LW_PLANT_RUNG_BEFORE_BYTE
    if ((*seen & 3) == LW__ASLEEP && !lw__cas(&page->word, *seen, (*seen & ~UINT64_C(3)) | LW__RUNG)) return false;
#endif
    return (*seen & 3) == LW__ASLEEP;
}

/* Pairs with the next store of `word` in lw__bell_sleep(). The count pairs with nothing: it is for people. */
static void rung(struct lw__bell_page *page, int fifo, uint64_t seen) {
    int e = errno;
    if (write(fifo, "", 1) < 0 && errno != EAGAIN) { /* EAGAIN: it is full of rings */
        errno = e;
        return;
    }
    errno = e;
    if (lw__cas(&page->word, seen, (seen & ~UINT64_C(3)) | LW__RUNG)) lw__add(&page->rings, 1);
}

void lw__bell_ring_own(struct lw__bell *bell, uint32_t index) {
    uint64_t seen;
    if (bell->page && set_ready(bell->page, bell->words, index, &seen)) rung(bell->page, bell->fifo, seen);
}

static void close_peer(struct lw__bell_peer *peer) {
    if (peer->page) lw__unmap(peer->page, file_size(peer->words));
    if (peer->fifo >= 0) close(peer->fifo);
    *peer = (struct lw__bell_peer){.fifo = -1};
}

/* Another process's file: nothing in it is believed before it is bounded. */
static bool check(int fd, struct lw__bell_page *head) {
    struct stat st;
    return !fstat(fd, &st) && S_ISREG(st.st_mode) && pread(fd, head, sizeof *head, 0) == (ssize_t)sizeof *head &&
           !memcmp(head->magic, magic, sizeof magic) && head->version == VERSION && head->words >= 1 &&
           head->words <= LW__BELL_WORDS && (size_t)st.st_size >= file_size(head->words);
}

static bool open_page(struct lw__bell_peer *peer, struct lw_bus *bus, const char *path) {
    struct lw__bell_page head = {.words = 0};
    int fd = lw__file_open(&bus->dir, path, O_RDWR);
    if (fd < 0) return false;
    if (check(fd, &head)) peer->page = lw__map_shared(fd, file_size(head.words), true);
    peer->words = head.words;
    close(fd);
    return peer->page;
}

/* Only when a byte is to be written: a peer that is awake costs no descriptor. */
static bool open_fifo(struct lw__bell_peer *peer, struct lw_bus *bus, const char *node) {
    struct stat st;
    char path[PATH];
    path_of(path, node, peer->number, "~");
    peer->fifo = lw__file_open(&bus->dir, path, O_RDWR); /* non-blocking, like all; for writing alone is SIGPIPE */
    if (peer->fifo >= 0 && !fstat(peer->fifo, &st) && S_ISFIFO(st.st_mode)) return true;
    if (peer->fifo >= 0) close(peer->fifo);
    peer->fifo = -1;
    return false;
}

static bool open_peer(struct lw__bell_peer *peer, struct lw_bus *bus, uint64_t owner, uint32_t number) {
    char node[LW_NAME_MAX + 1], path[PATH];
    if (!lw__owner_name(bus, owner, node)) return false;
    path_of(path, node, number, "");
    if (!open_page(peer, bus, path)) return false;
    peer->owner = owner;
    peer->number = number;
    return true;
}

/* The one that was not used for longest makes room. */
static struct lw__bell_peer *find_peer(struct lw_bus *bus, uint64_t owner, uint32_t number) {
    struct lw__bell_peer *peers = bus->bells, *oldest = peers;
    for (int i = 0; i < LW__BELLS_OPEN; i++) {
        if (peers[i].owner == owner && peers[i].number == number) return &peers[i];
        if (peers[i].used < oldest->used) oldest = &peers[i];
    }
    if (oldest->owner) close_peer(oldest);
    oldest->fifo = -1;
    return open_peer(oldest, bus, owner, number) ? oldest : NULL;
}

/* Without a descriptor to be had for the FIFO the bits are set all the same, for its tick. */
static void ring_peer(struct lw__bell_peer *peer, struct lw_bus *bus, uint32_t index) {
    char node[LW_NAME_MAX + 1];
    uint64_t seen;
    if (!set_ready(peer->page, peer->words, index, &seen)) return;
    if (peer->fifo < 0 && (!lw__owner_name(bus, peer->owner, node) || !open_fifo(peer, bus, node))) return;
    rung(peer->page, peer->fifo, seen);
}

void lw__bell_ring(struct lw_bus *bus, uint64_t owner, uint64_t bell) {
    if (!(bell >> 32) || !owner) return;
    pthread_mutex_lock(&bus->bells_lock);
    struct lw__bell_peer *peer = find_peer(bus, owner, (uint32_t)(bell >> 32) - 1);
    if (peer) peer->used = ++bus->bells_used;
    if (peer) ring_peer(peer, bus, (uint32_t)bell);
    pthread_mutex_unlock(&bus->bells_lock);
}

void lw__bell_close_peers(struct lw_bus *bus) {
    for (int i = 0; i < LW__BELLS_OPEN; i++)
        if (bus->bells[i].owner) close_peer(&bus->bells[i]);
}

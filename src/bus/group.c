/* SPDX-License-Identifier: MIT */
/*
 * bus/group.c - one thread, many handles: looking at those that are awake, sleeping until one of the others is rung for.
 *
 * A handle in a group is busy or parked. Busy: each turn looks at it, nobody has to ring. Parked: its bits are set in the
 * masks of its lanes, its peers ring, no turn looks at it. It becomes parked when there was nothing for a while: its bits
 * are set, with those of all others that are to be parked, one membarrier runs for all of them (lane/park.c says why
 * one is needed), and each is looked at once more. A ring makes it busy again: its bits are cleared, then it is looked
 * at. So a handle is looked at after its bits were set, before anybody relies on them; and after they were cleared, before
 * anything else.
 *
 * Only the group's thread touches table, lists and handles. Other threads leave handles in `coming` and ring.
 */
#include "bus/group.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/membarrier.h"
#include "base/options.h"
#include "bus/watch.h"

enum {
    ITSELF = 0, /* index of the group */
    NOT_BUSY = -1,
    SPIN_LOOKS = 16,       /* so many turns between two looks at the clock while spinning */
    TIDY_TURNS = 4,        /* so many between two looks at the cycle counter ... */
    TIDY_CYCLES = 1 << 20, /* ... and so many of those, some 400 us, between two looks at rarer things */
    AHEAD = 4              /* handles whose memory is asked for before their turn */
};
enum { FROM_FIFO, FROM_WATCH, FROM_TIMER };

#define TICK LW_SEC(1)          /* a lost ring, or a file removed by hand, is noticed after so long */
#define TICK_UNHEARD LW_MS(50)  /* the same for deaths, when there is no inotify */
#define TICK_UNFENCED LW_MS(10) /* no membarrier: the first sleep after parking may miss a message */
enum { TICK_HANDLES = 1024 };   /* a tick looks at so many; the next one at others */

int64_t lw__group_now(const struct lw_group *g) {
    return g->time ? g->time : lw__now();
}

/* ---- the lists --------------------------------------------------------------------------------------------------- */

static void set_parked(struct lw__source *s, bool on) {
    if (s->parked == on) return;
    s->ops->park(s, on);
    s->parked = on;
}

static void add_busy(struct lw_group *g, struct lw__source *s) {
    s->busy_at = g->busy_count;
    g->busy[g->busy_count++] = s;
    s->place = LW__BUSY;
    s->active = g->turns;
}

static void drop_busy(struct lw_group *g, struct lw__source *s) {
    struct lw__source *last = g->busy[--g->busy_count];
    g->busy[s->busy_at] = last;
    last->busy_at = s->busy_at;
}

/* It is looked at from now on. Without membarriers its bits stay: its peers must go on taking the slow path. */
static void wake_source(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (!g->unfenced) set_parked(s, false);
    s->attention = true;
    if (s->place == LW__PARKED) add_busy(g, s);
}

static void put_to_sleep(struct lw_group *g, struct lw__source *s) {
    drop_busy(g, s);
    s->place = LW__PARKED;
}

void lw__source_attend(struct lw__source *s) {
    s->attention = true;
    if (s->group && s->place == LW__PARKED) add_busy(s->group, s);
}

void lw__source_renew(struct lw__source *s) {
    if (!s->group || s->place == LW__COMING) return;
    set_parked(s, false);
    s->ops->bell(s, lw__bell_word(&s->group->bell, s->index));
    lw__source_attend(s);
}

static void on_ring(void *context, uint32_t index) {
    struct lw_group *g = context;
    if (index != ITSELF && index < g->table_size && g->table[index]) wake_source(g->table[index]);
}

static void collect(struct lw_group *g) {
    lw__bell_collect(&g->bell, on_ring, g);
}

/* ---- coming and going --------------------------------------------------------------------------------------------- */

static void take(struct lw_group *g, struct lw__source *s) {
    uint32_t i = g->table_free;
    while (g->table[i]) i++; /* there is one: they were counted */
    g->table[i] = s;
    g->table_free = i + 1;
    if (g->table_top <= i) g->table_top = i + 1;
    if (s->hears) {
        s->next_hearing = g->hearing;
        g->hearing = s;
    }
    s->index = i;
    s->ops->bell(s, lw__bell_word(&g->bell, i));
    if (s->tick_wish && (!g->tick_wish || s->tick_wish < g->tick_wish)) g->tick_wish = s->tick_wish;
    s->attention = true;
    add_busy(g, s);
}

static void take_coming(struct lw_group *g) {
    pthread_mutex_lock(&g->coming_lock);
    while (g->coming) {
        struct lw__source *s = g->coming;
        __atomic_store_n(&g->coming, s->next_coming, __ATOMIC_RELAXED);
        take(g, s);
    }
    pthread_mutex_unlock(&g->coming_lock);
}

static bool is_coming(const struct lw_group *g) {
    return __atomic_load_n(&g->coming, __ATOMIC_RELAXED);
}

static void push_coming(struct lw_group *g, struct lw__source *s) {
    s->group = g;
    s->place = LW__COMING;
    pthread_mutex_lock(&g->coming_lock);
    s->next_coming = g->coming;
    __atomic_store_n(&g->coming, s, __ATOMIC_RELAXED);
    lw__bell_ring_own(&g->bell, ITSELF); /* before its thread can have it, close it, and close the group as well */
    pthread_mutex_unlock(&g->coming_lock);
}

/* By its own thread, before the new group's thread has taken it; or that thread itself. */
static bool drop_coming(struct lw_group *g, struct lw__source *s) {
    bool found = false;
    pthread_mutex_lock(&g->coming_lock);
    for (struct lw__source **at = &g->coming; *at && !found; at = &(*at)->next_coming)
        if (*at == s) {
            __atomic_store_n(at, s->next_coming, __ATOMIC_RELAXED);
            found = true;
            break;
        }
    pthread_mutex_unlock(&g->coming_lock);
    return found;
}

static void stop_hearing(struct lw_group *g, struct lw__source *s) {
    struct lw__source **at = &g->hearing;
    while (*at && *at != s) at = &(*at)->next_hearing;
    if (*at) *at = s->next_hearing;
}

static void untake(struct lw_group *g, struct lw__source *s) {
    set_parked(s, false);
    s->ops->bell(s, 0);
    if (s->place == LW__BUSY) drop_busy(g, s);
    g->table[s->index] = NULL;
    if (s->index < g->table_free) g->table_free = s->index;
    if (s->hears) stop_hearing(g, s);
}

static void leave(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (!g) return;
    if (s->place != LW__COMING || !drop_coming(g, s)) untake(g, s);
    s->place = LW__NO_GROUP;
    s->group = NULL;
    __atomic_fetch_sub(&g->handles, 1, __ATOMIC_RELAXED);
}

void lw__source_init(struct lw__source *s, struct lw_bus *bus, const struct lw__source_ops *ops,
                     const struct lw__rx *rx) {
    *s = (struct lw__source){.ops = ops, .bus = bus, .rx = rx};
}

static void close_group(struct lw_group *g);

int lw__source_move(struct lw__source *s, struct lw_group *g, void *user) {
    if (g && g->cut) return lw__fail(LW_EFORKED, "%s", lw_strerror(LW_EFORKED));
    if (g && g->bus != s->bus) return lw__fail(-EINVAL, "the group is of another bus handle than this");
    s->user = user;
    if (g == s->group) return 0;
    if (g && __atomic_fetch_add(&g->handles, 1, __ATOMIC_RELAXED) >= g->table_size - 1) {
        __atomic_fetch_sub(&g->handles, 1, __ATOMIC_RELAXED);
        return lw__fail(-ENOSPC, "a group holds at most %u handles; open another group", g->table_size - 1);
    }
    leave(s);
    if (s->own) close_group(s->own);
    s->own = NULL;
    if (g) push_coming(g, s);
    return 0;
}

void lw__source_close(struct lw__source *s) {
    leave(s);
    if (s->own) close_group(s->own);
    s->own = NULL;
}

void lw__source_cut(struct lw__source *s) {
    s->group = NULL; /* its own one is cut as a handle of the bus */
    s->place = LW__NO_GROUP;
}

void lw__source_ring(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (g) lw__bell_ring_own(&g->bell, s->place == LW__COMING ? ITSELF : s->index);
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static const void *header_of(const struct lw__rx *rx) {
    return rx->ring + (rx->pos & rx->mask);
}

/* True: there may be something; look() knows. A diverted ring has a mask of 0, and is asked each time. */
static inline bool is_due(const struct lw__source *s) {
    const struct lw__rx *rx = s->rx;
    if (s->attention || s->polled) return true;
    if (!rx) return false;
    if (!rx->mask) return true;
    return __atomic_load_n((const uint64_t *)header_of(rx), __ATOMIC_ACQUIRE) != 0;
}

static int look(struct lw_group *g, struct lw__source *s, struct lw_event *events, int room) {
    bool closely = s->attention;
    s->attention = false;
    int n = s->ops->look(s, closely, events, room);
    for (int i = 0; i < n; i++) events[i].user = s->user;
    if (!n) return 0;
    s->active = g->turns;
    if (s->parked && !g->unfenced) set_parked(s, false);
    return n;
}

static void fetch_ahead(const struct lw_group *g, uint32_t at) {
    if (at + 2 * AHEAD < g->busy_count) __builtin_prefetch(g->busy[at + 2 * AHEAD]->rx);
    if (at + AHEAD >= g->busy_count) return;
    const struct lw__rx *rx = g->busy[at + AHEAD]->rx;
    if (rx) __builtin_prefetch(header_of(rx));
}

static int look_at_busy(struct lw_group *g, struct lw_event *events, int most) {
    int n = 0;
    for (uint32_t left = g->busy_count; left && n < most; left--) {
        uint32_t at = g->next < g->busy_count ? g->next : 0;
        g->next = at + 1;
        fetch_ahead(g, at);
        struct lw__source *s = g->busy[at];
        if (is_due(s)) n += look(g, s, events + n, most - n);
    }
    return n;
}

/* ---- rarer things ------------------------------------------------------------------------------------------------- */

/* Has this one something that look() would tell? Its ring first, for which nobody may have rung. */
static bool peek(struct lw__source *s) {
    const struct lw__rx *rx = s->rx;
    if (s->attention) return true;
    if (rx && rx->mask && __atomic_load_n((const uint64_t *)header_of(rx), __ATOMIC_ACQUIRE)) return true;
    return s->ops->peek(s);
}

static void tick_one(struct lw_group *g, struct lw__source *s, int64_t now) {
    bool parked = s->place == LW__PARKED, found = parked && peek(s);
    g->stats.tick_finds += found;
    if (s->ops->tick(s, now) || found) wake_source(s);
}

/* At some of the handles, those that were not looked at for longest. */
static void tick(struct lw_group *g, int64_t now) {
    uint32_t met = 0;
    if (lw__bell_has_rung(&g->bell)) collect(g); /* what is left then, nobody rang for: or is about to, just now */
    for (uint32_t i = 0; i < g->table_top && met < TICK_HANDLES; i++) {
        if (++g->tick_next >= g->table_top) g->tick_next = 0;
        struct lw__source *s = g->table[g->tick_next];
        if (!s) continue;
        met++;
        tick_one(g, s, now);
    }
    g->ticked = now;
}

/* Somebody died. There may be many handles, and few whose peer it was. */
static void tell_death(struct lw_group *g) {
    for (uint32_t i = 1; i < g->table_top; i++) {
        struct lw__source *s = g->table[i];
        if (s && !s->ops->mourns)
            tick_one(g, s, lw__group_now(g));
        else if (s && s->ops->mourns(s))
            wake_source(s);
    }
}

static int64_t tick_length(const struct lw_group *g) {
    int64_t length = g->unfenced ? TICK_UNFENCED : TICK;
    if (!g->alone && lw__watch_fd(g->bus) < 0 && length > TICK_UNHEARD) length = TICK_UNHEARD;
    if (g->tick_wish && g->tick_wish < length) length = g->tick_wish;
    return length;
}

static void hear(struct lw_group *g) {
    uint64_t deaths = lw__watch_deaths(g->bus), touches = lw__watch_touches(g->bus);
    if (touches != g->touches_seen)
        for (struct lw__source *s = g->hearing; s; s = s->next_hearing) lw__source_attend(s);
    g->touches_seen = touches;
    if (deaths != g->deaths_seen) tell_death(g);
    g->deaths_seen = deaths;
}

static void empty_timer(const struct lw_group *g) {
    uint64_t n;
    (void)!read(g->timer, &n, sizeof n);
}

/* Waits up to `ns` for the descriptors; then does what they ask for, but for the FIFO. 0, -EINTR. */
static int harvest(struct lw_group *g, int64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / LW_SEC(1)), .tv_nsec = (long)(ns % LW_SEC(1))};
    struct epoll_event events[4];
    if (g->epoll < 0) {
        struct pollfd fifo = {.fd = g->bell.fifo, .events = POLLIN};
        return ppoll(&fifo, 1, &t, NULL) < 0 ? -errno : 0;
    }
    int n = epoll_pwait2(g->epoll, events, 4, &t, NULL);
    if (n < 0 && errno == ENOSYS) n = epoll_wait(g->epoll, events, 4, (int)((ns + 999999) / 1000000));
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == FROM_WATCH) lw__watch_turn(g->bus, 0);
        if (events[i].data.u32 == FROM_TIMER) empty_timer(g);
    }
    return 0;
}

static void look_at_suspects(struct lw_group *g) {
    if (!g->alone && lw__watch_next(g->bus) <= lw__now()) lw__watch_turn(g->bus, lw__now());
}

/* ---- parking ------------------------------------------------------------------------------------------------------ */

/* Sets the bits of those that were not active since `since`, with one fence for all, and looks at each once more. */
static void park_quiet(struct lw_group *g, uint64_t since) {
    bool any = false;
    for (uint32_t i = 0; i < g->busy_count; i++) {
        struct lw__source *s = g->busy[i];
        if (s->active > since || s->parked) continue;
        set_parked(s, true);
        any = true;
    }
#ifndef LW_PLANT_PARK_WITHOUT_MEMBARRIER
    if (any && (g->bus->fenced || lw__membarrier())) g->unfenced = true;
#endif
    if (any) lw__fence_full();
    g->stats.parks += any;
    for (uint32_t i = g->busy_count; i-- > 0;) {
        struct lw__source *s = g->busy[i];
        if (s->active > since || !s->parked) continue;
#ifndef LW_PLANT_PARK_WITHOUT_SECOND_LOOK
        if (peek(s)) {
            s->attention = true;
            continue;
        }
#endif
        put_to_sleep(g, s);
    }
}

/* While others are busy: what was quiet since the last time needs no look at each turn. */
static void tidy(struct lw_group *g) {
    g->cycles = lw__cycles();
    bool busy = false, quiet = false;
    for (uint32_t i = 0; i < g->busy_count && !(busy && quiet); i++)
        if (g->busy[i]->active > g->tidied_turn)
            busy = true;
        else
            quiet = true;
    if (busy && quiet) park_quiet(g, g->tidied_turn);
    g->tidied_turn = g->turns;
    if (g->epoll >= 0) harvest(g, 0);
    look_at_suspects(g);
    int64_t now = lw__group_now(g);
    if (now - g->ticked >= tick_length(g)) tick(g, now);
}

static void wake(struct lw_group *g) {
    lw__bell_wake(&g->bell);
    g->time = 0;
}

static int tell_woken(struct lw_group *g, struct lw_event *event) {
    (void)__atomic_exchange_n(&g->woken, false, __ATOMIC_SEQ_CST); /* acquires what the last caller did before */
    *event = (struct lw_event){.kind = LW_WOKEN};
    return 1;
}

static int turn(struct lw_group *g, struct lw_event *events, int most) {
    int n = 0;
    g->turns++;
    if (g->bell.asleep) { /* an outer loop slept for us */
        wake(g);
        harvest(g, 0);
    }
    if (g->turns % TIDY_TURNS == 0 && lw__cycles() - g->cycles > TIDY_CYCLES) tidy(g);
    if (lw__bell_has_rung(&g->bell)) collect(g);
    if (is_coming(g)) take_coming(g);
    hear(g);
    if (__atomic_load_n(&g->woken, __ATOMIC_RELAXED)) n = tell_woken(g, events);
    return n + look_at_busy(g, events + n, most - n);
}

/* ---- sleeping ----------------------------------------------------------------------------------------------------- */

static int64_t shorter(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How long a sleep of at most `most` may be. */
static int64_t bounded(const struct lw_group *g, int64_t most) {
    int64_t now = lw__now(), tick_in = g->ticked + tick_length(g) - now, suspect_in = lw__watch_next(g->bus) - now;
    most = shorter(most, tick_in > 0 ? tick_in : 0);
    if (g->alone) return most;
    return shorter(most, suspect_in > 0 ? suspect_in : 0);
}

/* Nobody rang: is it time for rarer things? */
static void look_around(struct lw_group *g) {
    look_at_suspects(g);
    int64_t now = lw__now();
    if (now - g->ticked < tick_length(g)) return;
    g->stats.ticks++;
    tick(g, now);
}

/* Everything is parked. */
static int sleep_now(struct lw_group *g, int64_t most) {
    int rc = 0;
    bool may = lw__bell_sleep(&g->bell);
    g->stats.sleeps++;
    if (may) rc = harvest(g, bounded(g, most));
    bool rung = lw__bell_has_rung(&g->bell);
    wake(g);
    if (rung) collect(g);
    if (!rc && !rung) look_around(g);
    return rc;
}

struct pause {
    int64_t timeout;
    int64_t until; /* 0: the clock was not read yet */
    int64_t spin_until;
    uint32_t turns;
};

/* Nothing to do. 0: look again. 1: the time is over. -EINTR. */
static int rest(struct lw_group *g, struct pause *p) {
    if (g->spin && p->turns++ % SPIN_LOOKS) {
        lw__relax();
        return 0;
    }
    int64_t now = lw__now();
    if (!p->until) {
        p->until = p->timeout < 0 || p->timeout > INT64_MAX - now ? INT64_MAX : now + p->timeout;
        p->spin_until = g->spin < 0 || g->spin > INT64_MAX - now ? INT64_MAX : now + g->spin;
    }
    if (now >= p->until) return 1;
    if (now < p->spin_until) return 0;
    park_quiet(g, UINT64_MAX);
    if (g->busy_count || is_coming(g)) return 0;
    return sleep_now(g, p->until - now);
}

int lw_group_poll(struct lw_group *g, struct lw_event *events, int most, int64_t timeout) {
    struct pause pause = {.timeout = timeout};
    if (g->cut) return LW_EFORKED;
    if (most < 1) return lw__fail(-EINVAL, "lw_group_poll: room for %d events", most);
    for (;;) {
        int rc = turn(g, events, most);
        if (rc || timeout == 0) return rc;
        if ((rc = rest(g, &pause))) return rc > 0 ? 0 : rc;
    }
}

/* ---- one handle waits --------------------------------------------------------------------------------------------- */

static int open_group(struct lw_group **group, struct lw_bus *bus, uint32_t words, bool alone);

static struct lw_group *group_of(struct lw__source *s) {
    struct lw_group *g;
    if (s->group) return s->group->cut ? NULL : s->group;
    if (open_group(&g, s->bus, 1, true)) return NULL;
    __atomic_store_n(&g->handles, 1, __ATOMIC_RELAXED);
    s->own = g;
    push_coming(g, s);
    return g;
}

bool lw__source_prepare(struct lw__source *s) {
    struct lw_group *g = group_of(s);
    if (!g) return false;
    if (g->bell.asleep) wake(g);
    if (is_coming(g)) take_coming(g);
    if (s->parked) return true;
    set_parked(s, true);
    if (g->bus->fenced || lw__membarrier()) g->unfenced = true;
    lw__fence_full();
    g->stats.parks++;
    return true;
}

int lw__source_sleep(struct lw__source *s, int64_t most) {
    struct lw_group *g = s->group;
    if (!s->parked) return 0; /* it was given another slot since it was prepared: its bits are not set there */
    if (g->unfenced) most = shorter(most, TICK_UNFENCED);
    bool may = lw__bell_sleep(&g->bell);
    g->stats.sleeps++;
    int rc = may ? harvest(g, g->alone ? most : bounded(g, most)) : 0;
    bool rung = lw__bell_has_rung(&g->bell);
    wake(g);
    if (rung) collect(g);
    if (!g->alone && !rc && !rung) look_around(g);
    return rc;
}

void lw__source_done(struct lw__source *s) {
    if (!s->group) return;
    if (!s->group->unfenced) set_parked(s, false);
    if (s->place == LW__PARKED) add_busy(s->group, s);
}

/* ---- in other loops ----------------------------------------------------------------------------------------------- */

int lw_group_fd(const struct lw_group *g) {
    return g->cut ? LW_EFORKED : g->epoll;
}

static int add_fd(struct lw_group *g, int fd, uint32_t from) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = from};
    return epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int set_timer(struct lw_group *g, int64_t ns) {
    ns++; /* 0 would be never */
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)(ns / LW_SEC(1)), .tv_nsec = (long)(ns % LW_SEC(1))}};
    if (g->timer < 0) {
        g->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (g->timer < 0 || add_fd(g, g->timer, FROM_TIMER))
            return lw__fail(-errno, "no timer for a group: %s; see ulimit -n", strerror(errno));
    }
    return timerfd_settime(g->timer, 0, &t, NULL) ? -errno : 0;
}

static bool has_something(struct lw_group *g) {
    if (lw__bell_has_rung(&g->bell)) collect(g);
    if (is_coming(g)) take_coming(g);
    hear(g);
    if (__atomic_load_n(&g->woken, __ATOMIC_RELAXED)) return true;
    park_quiet(g, UINT64_MAX);
    return g->busy_count;
}

int lw_group_arm(struct lw_group *g) {
    if (g->cut) return LW_EFORKED;
    if (g->bell.asleep) wake(g);
    int64_t now = lw__now();
    if (now - g->ticked >= tick_length(g)) tick(g, now);
    bool something = has_something(g);
    int rc = set_timer(g, bounded(g, INT64_MAX));
    if (rc) return rc;
    if (!lw__bell_sleep(&g->bell)) something = true;
    g->stats.sleeps++;
    if (something) lw__bell_ring_own(&g->bell, ITSELF); /* so that the descriptor says it, too */
    return something;
}

void lw_group_wake(struct lw_group *g) {
    if (g->cut) return;
    __atomic_store_n(&g->woken, true, __ATOMIC_SEQ_CST);
    lw__bell_ring_own(&g->bell, ITSELF);
}

void lw__group_ring(struct lw_group *g) {
    lw__bell_ring_own(&g->bell, ITSELF);
}

void lw_group_set_time(struct lw_group *g, int64_t now) {
    g->time = now;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------ */

static void cut(struct lw__handle *handle) {
    struct lw_group *g = (struct lw_group *)(void *)((char *)handle - offsetof(struct lw_group, handle));
    g->cut = true;
    lw__bell_cut(&g->bell);
    if (g->epoll >= 0) close(g->epoll);
    if (g->timer >= 0) close(g->timer);
    g->epoll = g->timer = -1;
}

static void destroy(struct lw_group *g) {
    if (g->epoll >= 0) close(g->epoll);
    if (g->timer >= 0) close(g->timer);
    pthread_mutex_destroy(&g->coming_lock);
    free(g->table);
    free(g->busy);
    free(g);
}

/* All that many handles need is there from the beginning, untouched memory: nothing is allocated later. */
static struct lw_group *make(struct lw_bus *bus, uint32_t words, bool alone) {
    struct lw_group *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->bus = bus;
    g->alone = alone;
    g->epoll = g->timer = -1;
    g->table_size = words * 64;
    g->table_free = 1;
    g->cycles = lw__cycles();
    g->ticked = lw__now();
    g->bell.fifo = -1;
    pthread_mutex_init(&g->coming_lock, NULL);
    g->table = calloc(g->table_size, sizeof *g->table);
    g->busy = calloc(g->table_size, sizeof *g->busy);
    if (g->table && g->busy) return g;
    destroy(g);
    return NULL;
}

static int open_epoll(struct lw_group *g) {
    g->epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = g->epoll < 0 ? -errno : add_fd(g, g->bell.fifo, FROM_FIFO);
    if (!rc && lw__watch_fd(g->bus) >= 0) rc = add_fd(g, lw__watch_fd(g->bus), FROM_WATCH);
    return rc ? lw__fail(rc, "no descriptor for a group: %s; see ulimit -n", strerror(-rc)) : 0;
}

/* The bus is entered. */
static int open_parts(struct lw_group *g, uint32_t words) {
    int rc = lw__bell_make(&g->bell, g->bus, words);
    if (rc || g->alone) return rc;
    lw__watch_start(g->bus);
    rc = open_epoll(g);
    if (rc) {
        lw__bell_drop(&g->bell, g->bus);
        return rc;
    }
    lw__watch_join(g->bus, g);
    return 0;
}

static int open_group(struct lw_group **out, struct lw_bus *bus, uint32_t words, bool alone) {
    *out = NULL;
    struct lw_group *g = make(bus, words, alone);
    if (!g) return lw__fail(-ENOMEM, "no memory for a group");
    int rc = lw__bus_enter(bus, true);
    if (!rc) {
        rc = open_parts(g, words);
        g->handle.cut = cut;
        if (!rc) lw__bus_attach(bus, &g->handle);
        lw__bus_leave(bus);
    }
    if (rc)
        destroy(g);
    else
        *out = g;
    return rc;
}

int lw_group_open(struct lw_group **out, struct lw_bus *bus, const struct lw_group_options *options) {
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    *out = NULL;
    int rc = lw__options_read(&opt, sizeof opt, options, "lw_group_options");
    if (!rc && opt.spin < LW_FOREVER) rc = lw__fail(-EINVAL, "lw_group_options.spin is %lld", (long long)opt.spin);
    if (!rc) rc = open_group(out, bus, LW__BELL_WORDS, false);
    if (!rc) (*out)->spin = opt.spin;
    return rc;
}

static void close_group(struct lw_group *g) {
    struct lw_bus *bus = g->bus;
    if (!g->cut && lw__bus_enter(bus, true) == 0) {
        if (!g->alone) lw__watch_leave(bus, g);
        lw__bell_drop(&g->bell, bus);
        lw__bus_detach(bus, &g->handle);
        lw__bus_leave(bus);
    }
    destroy(g);
}

int lw_group_close(struct lw_group *g) {
    if (!g) return 0;
    uint64_t handles = __atomic_load_n(&g->handles, __ATOMIC_RELAXED);
    if (!g->cut && handles)
        return lw__fail(-EBUSY, "%llu handles are still in the group; close or move them first",
                        (unsigned long long)handles);
    close_group(g);
    return 0;
}

int lw_group_stat(const struct lw_group *g, struct lw_group_stats *stats) {
    if (g->cut) return LW_EFORKED;
    struct lw_group_stats now = g->stats;
    now.handles = __atomic_load_n(&g->handles, __ATOMIC_RELAXED);
    now.parked = now.handles - g->busy_count;
    now.polls = g->turns;
    now.rings = lw__load(&g->bell.page->rings);
    return lw__result_write(stats, &now, sizeof now, "lw_group_stats");
}

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
 * What also has a descriptor (a socket) is in the group's epoll set with it, busy or parked; a busy group asks the kernel
 * every few turns, without waiting. What has a time (bus/due.h) is told when that has come, after a sleep, or, in a busy
 * group, within some 50 us.
 *
 * Only the group's thread touches table, lists and handles. Other threads leave handles in `coming` and ring. How groups
 * begin and end, and handles come and go: group_open.c.
 */
#include "bus/group.h"

#include <errno.h>
#include <poll.h>
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
    SPIN_LOOKS = 16,         /* so many turns between two looks at the clock while spinning */
    TIDY_TURNS = 4,          /* so many between two looks at the cycle counter ... */
    TIDY_CYCLES = 1 << 20,   /* ... and so many of those, some 400 us, between two looks at rarer things */
    GLANCE_TURNS = 8,        /* with sockets: so many turns between two questions to the kernel, or ... */
    GLANCE_CYCLES = 1 << 17, /* ... some 50 us, for the due times as well */
    READY = 64,              /* descriptors that one question tells of */
    AHEAD = 4                /* handles whose memory is asked for before their turn */
};

#define TICK LW_SEC(1)          /* a lost ring, or a file removed by hand, is noticed after so long */
#define TICK_UNHEARD LW_MS(50)  /* the same for deaths, when there is no inotify */
#define TICK_UNFENCED LW_MS(10) /* no membarrier: the first sleep after parking may miss a message */
enum { TICK_HANDLES = 1024 };   /* a tick looks at so many; the next one at others */

static int64_t shorter(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t lw__group_now(const struct lw_group *g) {
    return g->time ? g->time : lw__now();
}

/* ---- the lists --------------------------------------------------------------------------------------------------- */

void lw__source_set_parked(struct lw__source *s, bool on) {
    if (s->parked == on) return;
    s->ops->park(s, on);
    s->parked = on;
}

void lw__group_add_busy(struct lw_group *g, struct lw__source *s) {
    s->busy_at = g->busy_count;
    g->busy[g->busy_count++] = s;
    s->place = LW__BUSY;
    s->active = g->turns;
    lw__source_moved_place(s);
}

void lw__group_drop_busy(struct lw_group *g, struct lw__source *s) {
    struct lw__source *last = g->busy[--g->busy_count];
    g->busy[s->busy_at] = last;
    last->busy_at = s->busy_at;
}

/* It is looked at from now on. Without membarriers its bits stay: its peers must go on taking the slow path. */
static void wake_source(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (!g->unfenced) lw__source_set_parked(s, false);
    s->attention = true;
    if (s->place == LW__PARKED) lw__group_add_busy(g, s);
}

static void put_to_sleep(struct lw_group *g, struct lw__source *s) {
    lw__group_drop_busy(g, s);
    s->place = LW__PARKED;
    lw__source_moved_place(s);
}

void lw__source_attend(struct lw__source *s) {
    s->attention = true;
    if (s->group && s->place == LW__PARKED) lw__group_add_busy(s->group, s);
}

void lw__source_renew(struct lw__source *s) {
    if (!s->group || s->place == LW__COMING) return;
    lw__source_set_parked(s, false);
    s->ops->bell(s, lw__bell_word(&s->group->bell, s->index));
    lw__source_attend(s);
}

static void on_ring(void *context, uint32_t index) {
    struct lw_group *g = context;
    if (index != LW__ITSELF && index < g->table_size && g->table[index]) wake_source(g->table[index]);
}

static void collect(struct lw_group *g) {
    lw__bell_collect(&g->bell, on_ring, g);
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static const void *header_of(const struct lw__rx *rx) {
    return rx->ring + (rx->pos & rx->mask);
}

/* True: there may be something; look() knows. A diverted ring has a mask of 0, and is asked each time. Pairs with
 * the commit in lw__tx_publish(). */
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
    if (s->parked && !g->unfenced) lw__source_set_parked(s, false);
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

/* Has this one something that look() would tell? Its ring first, for which nobody may have rung. Pairs with the
 * commit in lw__tx_publish(). */
static bool peek(struct lw__source *s) {
    const struct lw__rx *rx = s->rx;
    if (s->attention) return true;
    if (rx && rx->mask && __atomic_load_n((const uint64_t *)header_of(rx), __ATOMIC_ACQUIRE)) return true;
    return s->ops->peek(s);
}

static void tick_one(struct lw_group *g, struct lw__source *s, int64_t now) {
    if (s->fd_missing) {
        lw__source_enter_again(s);
        wake_source(s);
    }
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
    if (g->fds_missing) length = shorter(length, TICK_UNHEARD);
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

/* A source that is busy already is only marked: what stays ready costs its look, each time the kernel is asked. */
static void on_ready(struct lw_group *g, uint64_t from) {
    if (from == LW__FROM_WATCH) lw__watch_turn(g->bus, 0);
    if (from == LW__FROM_TIMER) empty_timer(g);
    if (from == LW__FROM_FIFO) g->fifo_full = true;
    if (from >= g->table_size || !g->table[from]) return;
    wake_source(g->table[from]);
    g->table[from]->active = g->turns;
}

static struct timespec timespec_of(int64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / LW_SEC(1)), .tv_nsec = (long)(ns % LW_SEC(1))};
}

/* Waits up to `ns` for the descriptors; then does what they ask for, but for the FIFO. 0, -EINTR. */
static int harvest(struct lw_group *g, int64_t ns) {
    struct timespec t = timespec_of(ns);
    struct epoll_event events[READY];
    int n = epoll_pwait2(g->epoll, events, READY, &t, NULL);
    if (n < 0 && errno == ENOSYS) n = epoll_wait(g->epoll, events, READY, (int)((ns + 999999) / 1000000));
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) on_ready(g, events[i].data.u64);
    return 0;
}

/* The same when a call waits on this one: others whose socket stays ready must not end each of its sleeps. */
static int harvest_one(struct lw_group *g, struct lw__source *s, int64_t ns) {
    struct timespec t = timespec_of(ns);
    struct pollfd fds[] = {{.fd = g->bell.fifo, .events = POLLIN},
                           {.fd = s->fd, .events = (short)s->fd_events}, /* the same bits as EPOLLIN and so on */
                           {.fd = g->alone ? -1 : lw__watch_fd(g->bus), .events = POLLIN}};
    if (ppoll(fds, 3, &t, NULL) < 0) return -errno;
    g->fifo_full |= fds[0].revents != 0;
    if (fds[1].revents) lw__source_attend(s); /* its bits may stay: the caller looks before it sleeps again */
    if (fds[2].revents) lw__watch_turn(g->bus, 0);
    return 0;
}

/* Another time that one asks for meanwhile is a later one: each is told once. */
static void tell_due(struct lw_group *g) {
    if (!g->dues.count) return;
    g->due_after = lw__group_now(g);
    while (lw__dues_next(&g->dues) <= g->due_after) {
        struct lw__source *s = g->dues.heap[0];
        lw__dues_drop(&g->dues, s);
        s->due = INT64_MAX;
        if (!s->ops->due || s->ops->due(s, g->due_after)) wake_source(s);
    }
    g->due_after = 0;
}

static bool is_late(struct lw_group *g) {
    uint64_t cycles = lw__cycles();
    if (cycles - g->glanced < GLANCE_CYCLES) return false;
    g->glanced = cycles;
    return true;
}

/* Sockets and due times, while the group does not sleep. */
static void glance(struct lw_group *g) {
    if (!g->fds && !g->dues.count) return;
    bool late = is_late(g);
    if (g->fds && (late || g->turns % GLANCE_TURNS == 0)) harvest(g, 0);
    if (late) tell_due(g);
}

static void look_at_suspects(struct lw_group *g) {
    if (!g->alone && lw__watch_next(g->bus) <= lw__now()) lw__watch_turn(g->bus, lw__now());
}

/* ---- parking ------------------------------------------------------------------------------------------------------ */

/* Sets the bits of those that were not active since `since`, with one fence for all, and looks at each once more.
 * The membarrier pairs with lw__is_any(), the fence with those of lw__ring_readers(), lw__ring_writers() and
 * lw__link_ring(). */
static void park_quiet(struct lw_group *g, uint64_t since) {
    bool any = false;
    for (uint32_t i = 0; i < g->busy_count; i++) {
        struct lw__source *s = g->busy[i];
        if (s->active > since || s->parked) continue;
        lw__source_set_parked(s, true);
        any |= !s->unrung;
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
    harvest(g, 0);
    look_at_suspects(g);
    int64_t now = lw__group_now(g);
    if (now - g->ticked >= tick_length(g)) tick(g, now);
}

static void wake(struct lw_group *g, bool drain) {
    lw__bell_wake(&g->bell, drain);
    g->fifo_full = false;
    g->time = 0;
}

/* Pairs with lw_group_wake(). */
static int tell_woken(struct lw_group *g, struct lw_event *event) {
    (void)__atomic_exchange_n(&g->woken, false, __ATOMIC_SEQ_CST); /* acquires what the last caller did before */
    *event = (struct lw_event){.kind = LW_WOKEN};
    return 1;
}

static int turn(struct lw_group *g, struct lw_event *events, int most) {
    int n = 0;
    g->turns++;
    if (g->bell.asleep) { /* an outer loop slept for us */
        harvest(g, 0);
        wake(g, g->fifo_full);
        tell_due(g);
    }
    glance(g);
    if (g->turns % TIDY_TURNS == 0 && lw__cycles() - g->cycles > TIDY_CYCLES) tidy(g);
    if (lw__bell_has_rung(&g->bell)) collect(g);
    if (lw__group_is_coming(g)) lw__group_take(g);
    hear(g);
    if (__atomic_load_n(&g->woken, __ATOMIC_RELAXED)) n = tell_woken(g, events);
    return n + look_at_busy(g, events + n, most - n);
}

/* ---- sleeping ----------------------------------------------------------------------------------------------------- */

/* How long a sleep of at most `most` may be. */
static int64_t bounded(const struct lw_group *g, int64_t most) {
    int64_t now = lw__now(), until = lw__dues_next(&g->dues);
    if (!g->alone) until = shorter(until, shorter(g->ticked + tick_length(g), lw__watch_next(g->bus)));
    return shorter(most, until > now ? until - now : 0);
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
    wake(g, g->fifo_full || !may);
    g->glanced = lw__cycles();
    if (rung) collect(g);
    tell_due(g);
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
    if (g->busy_count || lw__group_is_coming(g)) return 0;
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

static struct lw_group *group_of(struct lw__source *s) {
    struct lw_group *g;
    if (s->group) return s->group->cut ? NULL : s->group;
    if (lw__group_open(&g, s->bus, 1, true)) return NULL;
    __atomic_store_n(&g->handles, 1, __ATOMIC_RELAXED);
    s->own = g;
    lw__group_push(g, s);
    return g;
}

/* The membarrier pairs with lw__is_any(), the fence with those of lw__ring_readers(), lw__ring_writers() and
 * lw__link_ring(). */
bool lw__source_prepare(struct lw__source *s) {
    struct lw_group *g = group_of(s);
    if (!g) return false;
    if (g->bell.asleep) wake(g, true);
    if (lw__group_is_coming(g)) lw__group_take(g);
    if (s->parked) return true;
    lw__source_set_parked(s, true);
    if (!s->unrung && (g->bus->fenced || lw__membarrier())) g->unfenced = true;
    lw__fence_full();
    g->stats.parks += !s->unrung;
    return true;
}

int lw__source_sleep(struct lw__source *s, int64_t most) {
    struct lw_group *g = s->group;
    if (!s->parked) return 0; /* it was given another slot since it was prepared: its bits are not set there */
    if (g->unfenced) most = shorter(most, TICK_UNFENCED);
    bool may = lw__bell_sleep(&g->bell);
    g->stats.sleeps++;
    int rc = may ? harvest_one(g, s, bounded(g, most)) : 0;
    bool rung = lw__bell_has_rung(&g->bell);
    wake(g, g->fifo_full || !may);
    g->glanced = lw__cycles();
    if (rung) collect(g);
    tell_due(g);
    if (!g->alone && !rc && !rung) look_around(g);
    return rc;
}

void lw__source_done(struct lw__source *s) {
    if (!s->group) return;
    if (!s->group->unfenced) lw__source_set_parked(s, false);
    if (s->place == LW__PARKED) lw__group_add_busy(s->group, s);
}

bool lw__source_drive(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (s->ops->drive) s->ops->drive(s);
    if (g && g->dues.count && is_late(g)) tell_due(g);
    return s->ops->drive;
}

/* ---- in other loops ----------------------------------------------------------------------------------------------- */

int lw_group_fd(const struct lw_group *g) {
    return g->cut ? LW_EFORKED : g->epoll;
}

static int open_timer(struct lw_group *g) {
    int rc, fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    rc = fd < 0 ? -errno : lw__group_add_fd(g, fd, LW__FROM_TIMER);
    if (rc && fd >= 0) close(fd);
    if (rc) return lw__fail(rc, "no timer for a group: %s; see ulimit -n", strerror(-rc));
    g->timer = fd;
    return 0;
}

static int set_timer(struct lw_group *g, int64_t ns) {
    struct itimerspec t = {.it_value = timespec_of(ns + 1)}; /* 0 would be never */
    int rc = g->timer < 0 ? open_timer(g) : 0;
    if (rc) return rc;
    return timerfd_settime(g->timer, 0, &t, NULL) ? -errno : 0;
}

static bool has_something(struct lw_group *g) {
    if (lw__bell_has_rung(&g->bell)) collect(g);
    if (lw__group_is_coming(g)) lw__group_take(g);
    hear(g);
    if (__atomic_load_n(&g->woken, __ATOMIC_RELAXED)) return true;
    park_quiet(g, UINT64_MAX);
    return g->busy_count;
}

int lw_group_arm(struct lw_group *g) {
    if (g->cut) return LW_EFORKED;
    if (g->bell.asleep) wake(g, true);
    int64_t now = lw__now();
    if (now - g->ticked >= tick_length(g)) tick(g, now);
    tell_due(g);
    bool something = has_something(g);
    int rc = set_timer(g, bounded(g, INT64_MAX));
    if (rc) return rc;
    if (!lw__bell_sleep(&g->bell)) something = true;
    g->stats.sleeps++;
    if (something) lw__bell_ring_own(&g->bell, LW__ITSELF); /* so that the descriptor says it, too */
    return something;
}

/* Pairs with tell_woken(). */
void lw_group_wake(struct lw_group *g) {
    if (g->cut) return;
    __atomic_store_n(&g->woken, true, __ATOMIC_SEQ_CST);
    lw__bell_ring_own(&g->bell, LW__ITSELF);
}

void lw__group_ring(struct lw_group *g) {
    lw__bell_ring_own(&g->bell, LW__ITSELF);
}

/* So far ahead that "never" does not come, and that what is added to it is a time. */
#define FAR (INT64_MAX / 2)

void lw_group_set_time(struct lw_group *g, int64_t now) {
    g->time = shorter(now, FAR);
}

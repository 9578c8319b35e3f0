/* SPDX-License-Identifier: MIT */
#include "pattern/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

enum { AT_ONCE = 64, ACCEPTS = 256 };
#define ROUND LW_SEC(1) /* between two looks at deadlines and beats */

/* ---- guests -------------------------------------------------------------------------------------------------------- */

static void unlink_guest(struct lw__door *d, struct lw__guest *g) {
    if (g->before)
        g->before->next = g->next;
    else
        d->first = g->next;
    if (g->next)
        g->next->before = g->before;
    else
        d->last = g->before;
    d->guests--;
}

static void drop(struct lw__door *d, struct lw__guest *g) {
    unlink_guest(d, g);
    lw__conn_free(g->conn);
    free(g);
}

struct lw__conn *lw__door_take(struct lw__door *d, struct lw__guest *g) {
    struct lw__conn *conn = g->conn;
    epoll_ctl(d->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
    unlink_guest(d, g);
    free(g);
    return conn;
}

/* Who was sent away goes first; then the oldest silent one; then whoever waits longest, unless they are spared. */
static bool make_room(struct lw__door *d, bool spare_waiting) {
    static const enum lw__guest_stage order[] = {LW__SENT_AWAY, LW__SILENT, LW__WAITING};
    for (size_t i = 0; i < sizeof order / sizeof *order - spare_waiting; i++)
        for (struct lw__guest *g = d->first; g; g = g->next)
            if (g->stage == order[i]) {
                drop(d, g);
                return true;
            }
    return false;
}

/* Who can't be let in stays in the kernel's queue, which would wake us again and again. */
static void be_deaf(struct lw__door *d, bool deaf) {
    for (int i = 0; i < d->count; i++) {
        struct epoll_event event = {.events = deaf ? 0 : EPOLLIN, .data.ptr = &d->listeners[i]};
        epoll_ctl(d->epoll, EPOLL_CTL_MOD, d->listeners[i].fd, &event);
    }
    d->deaf = deaf;
}

static struct lw__guest *add_guest(struct lw__door *d, int fd) {
    struct lw__guest *g = calloc(1, sizeof *g);
    if (g) g->conn = lw__conn_make(fd, true, d->features);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = g};
    if (!g || !g->conn || epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event)) {
        close(fd);
        if (g && g->conn) g->conn->fd = -1;
        if (g) lw__conn_free(g->conn);
        free(g);
        return NULL;
    }
    g->since = lw__now();
    g->before = d->last;
    if (d->last)
        d->last->next = g;
    else
        d->first = g;
    d->last = g;
    d->guests++;
    return g;
}

void lw__door_refuse(struct lw__door *d, struct lw__guest *g, enum lw__what what, int code, const char *text) {
    struct lw__words w = {
        .what = what == LW__SAYS_REFUSED ? what : LW__SAYS_NOTHING, .code = code, .session = g->conn->greeting.session};
    size_t length = strlen(text);
    w.length = (uint32_t)(length < sizeof w.words ? length : sizeof w.words);
    memcpy(w.words, text, w.length);
    lw__wire_words(&g->conn->wire, LW__REFUSE, &w);
    lw__conn_write(g->conn);
    g->stage = LW__SENT_AWAY;
    if (what != LW__SAYS_REFUSED) drop(d, g);
}

void lw__door_tell_again(struct lw__guest *g, const struct lw__saying *said, const void *words) {
    struct lw__words w = {.what = said->what == LW__SAYS_REFUSED ? LW__SAYS_REFUSED : LW__SAYS_CLOSED,
                          .code = said->code,
                          .session = said->session,
                          .accepted = said->accepted,
                          .length = (uint32_t)said->length};
    memcpy(w.words, words, said->length);
    lw__wire_words(&g->conn->wire, LW__REFUSE, &w);
    lw__conn_write(g->conn);
    g->stage = LW__SENT_AWAY;
}

/* ---- who says hello ------------------------------------------------------------------------------------------------ */

static bool is_ring(const struct lw__door *d, uint64_t ring) {
    return ring >= 64 << 10 && ring <= d->ring_most;
}

/* 0, or why not, with text. */
static int check_hello(const struct lw__door *d, const struct lw__greeting *h) {
    const struct lw__wire_lane_state *up = &h->lane[LW__UP_ID], *down = &h->lane[LW__DOWN_ID];
    if (h->service != LW__SERVICE_LINK || h->lanes != LW__REMOTE_LANES || up->id != LW__UP_ID ||
        up->role != LW__OFFERS || down->id != LW__DOWN_ID || down->role != LW__TAKES)
        return lw__fail(LW_EPROTOCOL, "a greeting that is not for a link");
    if (!lw__name_is_good(h->client)) return lw__fail(LW_ENAME, "a client's name that is none");
    if (strcmp(h->server, d->server->name) != 0)
        return lw__fail(LW_ENOSERVER, "no server %.63s is here, but %s", h->server, d->server->name);
    if (!is_ring(d, up->ring) || !is_ring(d, down->ring))
        return lw__fail(LW_ESHAPE,
                        "rings of %llu and %llu bytes: server %s takes from 65536 to %llu (lw_server_options.ring_max)",
                        (unsigned long long)up->ring, (unsigned long long)down->ring, d->server->name,
                        (unsigned long long)d->ring_most);
    return 0;
}

static bool is_same_client(const struct lw__guest *a, const struct lw__guest *b) {
    return memcmp(a->conn->greeting.lane[LW__UP_ID].uuid, b->conn->greeting.lane[LW__UP_ID].uuid, 16) == 0;
}

/* Two of one name at the door: of one client the later connection counts. False: the new one was turned away. */
static bool displace(struct lw__door *d, struct lw__guest *g) {
    const struct lw__greeting *h = &g->conn->greeting;
    struct lw__guest *old = d->first;
    while (old && (old == g || old->stage == LW__SILENT || strcmp(old->conn->greeting.client, h->client) != 0))
        old = old->next;
    if (!old) return true;
    bool same = is_same_client(old, g);
    if (old->stage == LW__WAITING && !same) {
        lw__wire_beat(&old->conn->wire, true);
        lw__conn_write(old->conn);
        lw__door_refuse(d, g, LW__SAYS_NOTHING, LW_EHELD, "another client of this name is at the door");
        return false;
    }
    if (same && old->conn->greeting.epoch >= h->epoch) {
        lw__door_refuse(d, g, LW__SAYS_NOTHING, LW_ESTATE, "a later connection of this client is here already");
        return false;
    }
    /* Who was refused has perhaps not heard it: it is asked about again. */
    if (same && old->stage == LW__WAITING && old->conn->greeting.session == h->session) g->told = old->told;
    drop(d, old);
    return true;
}

/* 1: its link is open here, and has the connection now. 0: it is not. -1: it is a local client's. */
static int hand_over(struct lw__door *d, struct lw__guest *g) {
    struct lw__club *club = d->server->club;
    int rc = 0;
    pthread_mutex_lock(&club->lock);
    struct lw_link *link = lw__club_find(club, g->conn->greeting.client);
    if (link) rc = link->remote ? 1 : -1;
    if (rc == 1) lw__remote_hand_over(link->remote, lw__door_take(d, g));
    pthread_mutex_unlock(&club->lock);
    return rc;
}

static void welcome(struct lw__door *d, struct lw__guest *g) {
    int rc = check_hello(d, &g->conn->greeting);
    if (rc) {
        lw__door_refuse(d, g, LW__SAYS_NOTHING, rc, lw_errtext());
        return;
    }
    rc = hand_over(d, g);
    if (rc > 0) return;
    if (rc < 0) {
        lw__door_refuse(d, g, LW__SAYS_NOTHING, LW_EHELD,
                        "a client on the server's own host has this name; take another one");
        return;
    }
    g->stage = LW__WAITING;
    if (displace(d, g)) d->untold = true;
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

/* False: it is gone, or another's. */
static bool take_events(struct lw__door *d, struct lw__guest *g) {
    struct lw__wire_event event;
    int rc;
    while ((rc = lw__wire_next(&g->conn->wire, &event)) > 0) {
        if (event.kind == LW__WIRE_GREETING) {
            welcome(d, g);
            return false; /* what follows it is a matter for the next turn */
        }
        if (event.kind != LW__WIRE_BEAT) {
            drop(d, g);
            return false;
        }
    }
    if (rc < 0) lw__door_refuse(d, g, LW__SAYS_NOTHING, rc, g->conn->wire.why);
    return rc == 0;
}

static void hear(struct lw__door *d, struct lw__guest *g) {
    bool more;
    int64_t got = lw__conn_read(g->conn, &more);
    if (got < 0) {
        drop(d, g);
        return;
    }
    if (got && g->stage == LW__SENT_AWAY)
        g->conn->wire.in_at = g->conn->wire.in_end = 0;
    else if (got)
        take_events(d, g);
}

static void let_in(struct lw__door *d, const struct lw__listener *l) {
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = lw__accept(l->fd, LW__BEAT * LW__SILENT_BEATS);
        if (fd == -EINTR) continue;
        if (fd < 0) {
            if (fd != -EAGAIN && !make_room(d, true)) be_deaf(d, true);
            return;
        }
        if (d->guests >= d->most) make_room(d, false);
        struct lw__guest *g = add_guest(d, fd);
        if (g) hear(d, g);
    }
}

static const struct lw__listener *listener_of(const struct lw__door *d, const void *ptr) {
    const char *at = ptr, *begin = (const char *)d->listeners, *end = (const char *)(d->listeners + LW__LISTENERS);
    return at >= begin && at < end ? ptr : NULL;
}

static bool is_guest(const struct lw__door *d, const struct lw__guest *g) {
    const struct lw__guest *at = d->first;
    while (at && at != g) at = at->next;
    return at;
}

/* Guests first: who has spoken is not among the silent when room is made. A guest may be gone by the time that its event
 * is looked at. */
void lw__door_turn(struct lw__door *d) {
    struct epoll_event events[AT_ONCE];
    int n = epoll_wait(d->epoll, events, AT_ONCE, 0);
    for (int i = 0; i < n; i++)
        if (!listener_of(d, events[i].data.ptr) && is_guest(d, events[i].data.ptr)) hear(d, events[i].data.ptr);
    for (int i = 0; i < n; i++)
        if (listener_of(d, events[i].data.ptr)) let_in(d, listener_of(d, events[i].data.ptr));
}

void lw__door_due(struct lw__door *d, int64_t now) {
    for (struct lw__guest *g = d->first, *next; g; g = next) {
        next = g->next;
        if (g->stage == LW__SILENT) {
            if (now - g->since >= d->within) drop(d, g);
        } else {
            lw__wire_beat(&g->conn->wire, false);
            if (lw__conn_write(g->conn) < 0) drop(d, g);
        }
    }
    if (d->deaf) be_deaf(d, false);
    lw__source_due(&d->server->source, now + ROUND);
}

/* ---- for the server ------------------------------------------------------------------------------------------------ */

struct lw__guest *lw__door_next(struct lw__door *d) {
    struct lw__guest *g = d->untold ? d->first : NULL;
    while (g && (g->stage != LW__WAITING || g->told)) g = g->next;
    if (!g) d->untold = false;
    return g;
}

struct lw__guest *lw__door_find(struct lw__door *d, const char *client, uint64_t session) {
    struct lw__guest *g = d ? d->first : NULL;
    while (g && (g->stage != LW__WAITING || g->conn->greeting.session != session ||
                 strcmp(g->conn->greeting.client, client) != 0))
        g = g->next;
    return g;
}

struct lw__guest *lw__door_awaits(const struct lw__door *d, const char *client) {
    struct lw__guest *g = d ? d->first : NULL;
    while (g && (g->stage != LW__WAITING || strcmp(g->conn->greeting.client, client) != 0)) g = g->next;
    return g;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------- */

static int add_listener(struct lw__door *d, const char *text) {
    if (d->count == LW__LISTENERS)
        return lw__fail(-EINVAL, "lw_server_options.listen: more than %d addresses", LW__LISTENERS);
    struct lw__listener *l = &d->listeners[d->count];
    int rc = lw__address_read(&l->address, text, false);
    if (rc) return rc;
    l->fd = lw__listen(&l->address);
    if (l->fd < 0) return l->fd;
    d->count++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
    return epoll_ctl(d->epoll, EPOLL_CTL_ADD, l->fd, &event) ? lw__fail(-errno, "no descriptor for listening") : 0;
}

static int listen_at_all(struct lw__door *d, const char *addresses) {
    char copy[LW__LISTENERS * LW__ADDRESS_MAX], *rest = copy, *text;
    int rc = 0;
    if ((size_t)snprintf(copy, sizeof copy, "%s", addresses) >= sizeof copy)
        return lw__fail(LW_ENAME, "lw_server_options.listen is too long");
    while (!rc && (text = strsep(&rest, ", ")))
        if (*text) rc = add_listener(d, text);
    if (!rc && !d->count) rc = lw__fail(LW_ENAME, "lw_server_options.listen: no address");
    return rc;
}

int lw__door_port(const struct lw__door *d) {
    for (int i = 0; i < d->count; i++) {
        const struct sockaddr_storage *a = &d->listeners[i].address.socket;
        if (a->ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
        if (a->ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port);
    }
    return 0;
}

int lw__door_open(struct lw__door **out, struct lw_server *server, const struct lw_server_options *opt) {
    struct lw__door *d = calloc(1, sizeof *d);
    if (!d) return lw__fail(-ENOMEM, "server %s: no memory", server->name);
    d->server = server;
    d->most = opt->guests_max ? opt->guests_max : LW__GUESTS;
    d->within = opt->hello_within ? opt->hello_within : LW__HELLO_WITHIN;
    d->ring_most = opt->ring_max ? opt->ring_max : LW__RING_MOST;
    d->features = opt->flags & LW_LINK_NO_CRC ? 0 : LW__FEATURE_CRC;
    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = d->epoll < 0 ? lw__fail(-errno, "server %s: no descriptor", server->name) : listen_at_all(d, opt->listen);
    if (!rc) rc = lw__source_watch(&server->source, d->epoll, EPOLLIN);
    if (rc) {
        lw__door_close(d);
        return rc;
    }
    lw__source_due(&server->source, lw__now() + ROUND);
    *out = d;
    return 0;
}

void lw__door_close(struct lw__door *d) {
    if (!d) return;
    while (d->first) drop(d, d->first);
    for (int i = 0; i < d->count; i++) lw__unlisten(d->listeners[i].fd, &d->listeners[i].address);
    if (d->epoll >= 0) close(d->epoll);
    free(d);
}

void lw__door_cut(struct lw__door *d) {
    for (int i = 0; i < d->count; i++) close(d->listeners[i].fd);
    for (struct lw__guest *g = d->first; g; g = g->next) {
        close(g->conn->fd);
        g->conn->fd = -1;
    }
    close(d->epoll);
    d->epoll = -1;
    d->count = 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * pattern/link.c - a link in use: what the other side says and whether it lives, and the events that come of it.
 *
 * Nothing here decides about messages: they are in the lanes, whatever the state. The state is derived anew at each
 * close look from what the two sides say and whether who said it lives; only the difference to the last look is told.
 */
#include "pattern/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/options.h"
#include "pattern/remote.h"
#include "pattern/ring.h"

/* ---- the ends ----------------------------------------------------------------------------------------------------- */

static int open_in(struct lw_link *link, enum lw__direction way) {
    struct lw__file f;
    lw__link_file(&f, link->bus, link->root, link->server_name, link->client_name, way);
    return lw__sub_open_file(&link->ends.in, link->bus, &f, lw__link_readers[way]);
}

static int open_out(struct lw_link *link, enum lw__direction way) {
    struct lw__file f;
    lw__link_file(&f, link->bus, link->root, link->server_name, link->client_name, way);
    return lw__pub_open_file(&link->ends.out, link->bus, &f);
}

/* Both sides come by `up` first: link.h says why. */
int lw__link_open_ends(struct lw_link *link, bool client) {
    int rc = client ? open_out(link, LW__UP) : open_in(link, LW__UP);
    if (!rc) rc = client ? open_in(link, LW__DOWN) : open_out(link, LW__DOWN);
    if (rc) lw__link_close_ends(link);
    return rc;
}

void lw__link_close_ends(struct lw_link *link) {
    if (link->ends.in) lw__sub_close_entered(link->ends.in);
    if (link->ends.out) lw__pub_close_entered(link->ends.out);
    link->ends = (struct lw__ends){NULL, NULL};
}

char *lw__link_words(struct lw_link *link) {
    if (!link->words) link->words = calloc(1, LW_LOGIN_MAX + 8);
    return link->words;
}

/* ---- saying ------------------------------------------------------------------------------------------------------- */

/* The fence pairs with those of park_quiet() and lw__source_prepare(), the rest with take_free() and
 * lw__reader_bell(). */
void lw__link_ring(struct lw_bus *bus, const struct lw__lane *out) {
    const struct lw__slot *slot = lw__link_slot(out);
    lw__fence_full(); /* what was said, before the look at who is there */
    uint64_t owner = lw__load_acquire(&slot->owner), bell = lw__load_acquire(&slot->bell);
    if (owner && !lw__owner_closed(bus, owner)) lw__bell_ring(bus, lw__slot_process(owner), bell);
}

void lw__link_say(struct lw_link *link, enum lw__what what, int code, const void *words, size_t length) {
    struct lw__side *mine = lw__link_mine(link);
    struct lw__saying s = {.owner = link->bus->owner,
                           .session = link->session,
                           .what = what,
                           .accepted = lw__load(&mine->accepted) + (what == LW__SAYS_ACCEPTED),
                           .code = code,
                           .length = length <= LW_LOGIN_MAX ? length : LW_LOGIN_MAX,
                           .instance = link->instance};
    if (lw__load(&link->ends.out->file.lane.ctl->lock) != link->bus->owner) return; /* it is not ours any more */
    lw__side_write(mine, &s, words);
#ifdef LW_PLANT_SAID_WITHOUT_BELL
    return;
#endif
    if (link->remote)
        lw__source_attend(&link->source); /* the pump says it */
    else
        lw__link_ring(link->bus, &link->ends.out->file.lane);
}

/* ---- listening ---------------------------------------------------------------------------------------------------- */

/* As far as anybody has noticed; where nothing is heard of deaths, we look ourselves. */
static bool is_alive(struct lw_bus *bus, uint64_t owner) {
    if (!owner) return false;
    return !(lw__watch_fd(bus) < 0 ? lw__owner_gone(bus, owner) : lw__owner_closed(bus, owner));
}

enum lw_link_state lw__link_state_of(struct lw_bus *bus, const struct lw__saying *client,
                                     const struct lw__saying *server) {
    bool answered = server->session == client->session;
    if (answered && server->what == LW__SAYS_REFUSED) return LW_LINK_REFUSED;
    if (answered && server->what == LW__SAYS_ACCEPTED && is_alive(bus, server->owner)) return LW_LINK_UP;
    return server->accepted ? LW_LINK_DOWN : LW_LINK_WAITING;
}

/* Can the other side be reached, over TCP? */
static bool is_reached(const struct lw_link *link) {
    return !link->remote || link->remote->met;
}

static void be_down(struct lw_link *link, enum lw_link_state state, const struct lw__saying *s) {
    bool closed = s->what == LW__SAYS_CLOSED && s->session == link->session;
    if (link->state == LW_LINK_UP) link->down_code = closed ? LW_ECLOSED : LW_EDEAD;
    link->state = state;
    link->peer = 0;
    link->untold &= ~(1u << LW_STUCK | 1u << LW_MOVING);
    link->stuck = false;
    link->stuck_since = 0;
}

static void be_up(struct lw_link *link, const struct lw__saying *s) {
    if (link->state == LW_LINK_UP && (link->peer != s->owner || link->peer_accepts != s->accepted))
        link->down_code = LW_EDEAD; /* it went and came back between two looks */
    link->state = LW_LINK_UP;
    link->peer = s->owner;
    link->peer_accepts = s->accepted;
}

/* A farewell counts also when nobody saw that it had accepted. */
static void review_as_client(struct lw_link *link, const struct lw__saying *server) {
    struct lw__saying me = {.session = link->session};
    enum lw_link_state state = lw__link_state_of(link->bus, &me, server), was = link->state;
    if (state == LW_LINK_UP && !is_reached(link)) state = LW_LINK_DOWN;
    if (state == LW_LINK_UP)
        be_up(link, server);
    else
        be_down(link, state, server);
    if (server->what == LW__SAYS_CLOSED && server->session == link->session) {
        link->farewell = server->accepted;
        link->down_code = LW_ECLOSED;
    }
#ifdef LW_PLANT_REFUSED_TAKES_MORE
    return;
#endif
    if ((state == LW_LINK_REFUSED) != (was == LW_LINK_REFUSED))
        lw__pub_veto(link->ends.out, state == LW_LINK_REFUSED ? LW_EREFUSED : 0);
}

/* A client that logged in anew is asked about; until then the link is down. */
static void review_as_server(struct lw_link *link, const struct lw__saying *client) {
    bool here = client->what == LW__SAYS_LOGIN && is_alive(link->bus, client->owner);
    bool answered = client->session == link->session;
    if (link->remote) here = here && (link->remote->up || link->remote->greeted);
    link->untold &= ~(1u << LW_LOGIN);
    if (here && answered && is_reached(link) && link->state != LW_LINK_REFUSED)
        be_up(link, client);
    else
        be_down(link, link->state == LW_LINK_REFUSED && answered ? LW_LINK_REFUSED : LW_LINK_DOWN, client);
    if (here && !answered && client->session != link->asked) link->untold |= 1u << LW_LOGIN;
}

/* ---- telling ------------------------------------------------------------------------------------------------------ */

/* What is to be told next: the difference between how things are and what the user knows. 0: nothing. */
static int next_change(const struct lw_link *link) {
    bool up = link->state == LW_LINK_UP;
#ifdef LW_PLANT_DOWN_BETWEEN_LOOKS_NOT_TOLD
    bool other = false;
#else
    bool other = up && (link->told_peer != link->peer || link->told_accepts != link->peer_accepts);
#endif
    if (link->told_up ? !up || other : link->farewell != link->told_farewell) return LW_DOWN;
    if (link->untold >> LW_DOWN & 1) return LW_DOWN;
    if (link->untold >> LW_RENEWED & 1) return LW_RENEWED;
    if (!link->club && link->state == LW_LINK_REFUSED && link->told_refusal != link->session) return LW_REFUSED;
    if (link->untold >> LW_LOGIN & 1) return LW_LOGIN;
    if (up && !link->told_up) return LW_UP;
    if (link->untold >> LW_STUCK & 1) return LW_STUCK;
    return link->untold >> LW_MOVING & 1 ? LW_MOVING : 0;
}

static void note_told(struct lw_link *link, int kind) {
    link->untold &= ~(1u << kind);
    if (kind == LW_RENEWED && (link->remote->renewed &= link->remote->renewed - 1)) link->untold |= 1u << LW_RENEWED;
    if (kind == LW_REFUSED) link->told_refusal = link->session;
    if (kind != LW_UP && kind != LW_DOWN) return;
    link->told_up = kind == LW_UP;
    link->told_peer = link->peer;
    link->told_accepts = link->peer_accepts;
    link->told_farewell = link->farewell;
}

static int tell_changes(struct lw_link *link, struct lw_event *events, int room) {
    int n = 0;
    for (int kind; n < room && (kind = next_change(link)); n++) {
        int code = kind == LW_DOWN      ? link->down_code
                   : kind == LW_RENEWED ? __builtin_ctz(link->remote->renewed)
                                        : kind == LW_LOGIN;
        events[n] = (struct lw_event){.kind = (enum lw_event_kind)kind, .code = code, .link = link};
        note_told(link, kind);
    }
    return n;
}

bool lw__link_is_removed(struct lw_link *link) {
    return lw__file_moved(&link->ends.out->file) == 1 || link->ends.in->gone ||
           lw__file_moved(&link->ends.in->file) == 1;
}

void lw__link_review(struct lw_link *link) {
    struct lw__saying s;
#ifndef LW_PLANT_REMOVED_TAKES_MORE
    if (lw__link_is_removed(link)) lw__pub_veto(link->ends.out, LW_ECLOSED); /* nobody would ever receive it */
#endif
    bool whole = lw__side_read(lw__link_theirs(link), &s, NULL);
    link->turn = s.turn;
#ifdef LW_PLANT_DEATH_IN_ITS_WORDS_NOT_SEEN
    if (!whole) return;
#endif
    if (!whole) { /* it rings when it is; unless it died there */
        s.what = LW__SAYS_NOTHING;
        if (link->state == LW_LINK_UP && !is_alive(link->bus, link->peer)) be_down(link, LW_LINK_DOWN, &s);
        return;
    }
    if (link->club)
        review_as_server(link, &s);
    else
        review_as_client(link, &s);
}

/* ---- in a group --------------------------------------------------------------------------------------------------- */

static struct lw_link *link_of(struct lw__source *s) {
    return (struct lw_link *)(void *)((char *)s - offsetof(struct lw_link, source));
}

static bool has_news(const struct lw_link *link) {
    if (next_change(link) || lw__side_turn(lw__link_theirs(link)) != link->turn) return true;
    return link->state == LW_LINK_UP && lw__owner_closed(link->bus, link->peer);
}

static bool is_readable(const struct lw_link *link) {
    return !link->paused && lw__sub_is_due(link->ends.in);
}

static bool peek(struct lw__source *s) {
    struct lw_link *link = link_of(s);
    return has_news(link) || is_readable(link) || lw__pub_is_due(link->ends.out);
}

static int look(struct lw__source *s, bool closely, struct lw_event *events, int room) {
    struct lw_link *link = link_of(s);
    if (link->remote && lw__remote_drive(link->remote)) closely = true;
    closely |= s->attention;
    if (closely) lw__link_review(link);
    if (link->untold >> LW_LOGIN & 1) s->attention = true; /* until it is taken */
    int n = closely ? tell_changes(link, events, room) : 0;
    bool seen = !closely && !s->polled && s->rx && s->rx->mask; /* its ring showed something, or we would not be here */
    if (n < room && lw__pub_is_due(link->ends.out)) {           /* before what is told again and again */
        lw__pub_told(link->ends.out);
        events[n++] = (struct lw_event){.kind = LW_WRITABLE, .link = link};
    }
    if (n < room && (seen || is_readable(link))) events[n++] = (struct lw_event){.kind = LW_READABLE, .link = link};
    if (closely && n == room) s->attention = true; /* there may be more */
    return n;
}

static void park(struct lw__source *s, bool on) {
    const struct lw_link *link = link_of(s);
    if (link->remote) {
        if (on) lw__remote_rest(link->remote);
        return; /* nobody else writes or reads these lanes */
    }
    if (!link->ends.in->gone && !(on && link->paused)) lw__reader_park(&link->ends.in->reader, on);
    lw__pub_park(link_of(s)->ends.out, on);
}

static void set_bell(struct lw__source *s, uint64_t bell) {
    if (!link_of(s)->ends.in->gone) lw__reader_bell(&link_of(s)->ends.in->reader, bell);
    lw__pub_bell(link_of(s)->ends.out, bell);
}

/* Does the other side take what we sent? Nothing to take is no sign of anything. Pairs with lw__cursor_store() of
 * the other side; only the number counts here. */
static void watch_progress(struct lw_link *link, int64_t now) {
    const struct lw_pub *out = link->ends.out;
    uint64_t at = lw__load_acquire(&lw__link_slot(&out->file.lane)->cursor.pos) & ~UINT64_C(7);
    bool moves = at != link->stuck_at || at == out->writer.tx.pos || !link->stuck_since;
    if (moves) {
        if (link->stuck) link->untold |= 1u << LW_MOVING;
        link->stuck = false;
        link->stuck_at = at;
        link->stuck_since = at == out->writer.tx.pos ? 0 : now; /* from the first look at which there was something */
    } else if (!link->stuck && now - link->stuck_since >= link->stuck_after) {
        link->stuck = true;
        link->untold |= 1u << LW_STUCK;
    }
}

enum { RARELY = 16 }; /* ticks between two looks at the path: a removal by hand is nothing to hurry for */

static bool tick(struct lw__source *s, int64_t now) {
    struct lw_link *link = link_of(s);
    if (lw__watch_fd(link->bus) < 0 && link->peer && lw__owner_gone(link->bus, link->peer)) return true;
    if (link->state == LW_LINK_UP && link->stuck_after >= 0) watch_progress(link, now);
    if (link->ends.out->want) lw__pub_tick(link->ends.out);
    if (++link->ticks % RARELY == 0) lw__sub_tick(link->ends.in);
    return has_news(link) || lw__pub_is_due(link->ends.out);
}

static bool mourns(struct lw__source *s) {
    const struct lw_link *link = link_of(s);
    return link->ends.out->want || (link->state == LW_LINK_UP && lw__owner_closed(link->bus, link->peer));
}

static void drive(struct lw__source *s) {
    if (link_of(s)->remote) lw__remote_drive(link_of(s)->remote);
}

static bool due(struct lw__source *s, int64_t now) {
    if (link_of(s)->remote) lw__remote_due(link_of(s)->remote, now);
    return has_news(link_of(s)) || is_readable(link_of(s)) || lw__pub_is_due(link_of(s)->ends.out);
}

static const struct lw__source_ops ops = {.drive = drive,
                                          .due = due,
                                          .mourns = mourns,
                                          .look = look,
                                          .peek = peek,
                                          .park = park,
                                          .bell = set_bell,
                                          .tick = tick};

int lw_link_move(struct lw_link *link, struct lw_group *group, void *user) {
    if (link->cut) return LW_EFORKED;
    if (!group) return lw__fail(-EINVAL, "a link is always in a group");
    if (!link->remote || !link->club) return lw__source_move(&link->source, group, user);
    pthread_mutex_lock(&link->club->lock); /* the door rings for it */
    int rc = lw__source_move(&link->source, group, user);
    pthread_mutex_unlock(&link->club->lock);
    return rc;
}

/* ---- beginning and ending ----------------------------------------------------------------------------------------- */

static void cut(struct lw__handle *handle) {
    struct lw_link *link = (struct lw_link *)(void *)((char *)handle - offsetof(struct lw_link, handle));
    link->cut = true;
    if (link->remote) lw__remote_cut(link);
    lw__source_cut(&link->source);
}

/* A send that waits for room must not wait for a server that refused, or a link that was removed. */
static void look_around(struct lw__source *s) {
    lw__link_review(link_of(s));
}

void lw__link_begin(struct lw_link *link, int64_t stuck_after) {
    link->stuck_after = stuck_after ? stuck_after : LW_SEC(10);
    lw__source_init(&link->source, link->bus, &ops, &link->ends.in->reader.rx);
    if (stuck_after > 0) link->source.tick_wish = stuck_after / 4 > LW_MS(10) ? stuck_after / 4 : LW_MS(10);
    link->source.polled = link->source.unrung = link->remote != NULL;
    link->ends.in->waiter = link->ends.out->waiter = &link->source;
    link->ends.out->around = look_around;
    link->handle.cut = cut;
    lw__bus_attach(link->bus, &link->handle);
}

static void destroy(struct lw_link *link) {
    if (link->remote) {
        lw__conn_free(link->remote->conn);
        lw__conn_free(link->remote->arrival);
    }
    free(link->remote);
    free(link->words);
    free(link);
}

/* In a forked child there is nothing to leave, only memory. */
static void close_cut(struct lw_link *link) {
    lw_sub_close(link->ends.in);
    lw_pub_close(link->ends.out);
    if (link->remote) lw_sub_close(link->remote->far);
    if (link->remote) lw_pub_close(link->remote->mirror);
    destroy(link);
}

/* Where the server looks for news: the folder of the link. */
static void knock(struct lw_link *link) {
    char path[sizeof "links//" + 2 * LW_NAME_MAX];
    if (link->root == LW__ELSEWHERE) return;
    snprintf(path, sizeof path, "links/%s/%s", link->server_name, link->client_name);
    lw__watch_touch(link->bus, path);
}

static void say_goodbye(struct lw_link *link, int code, const char *reason) {
    /* A server that gives up a link whose client can not be reached has not said anything to it: that one is asked about
     * again when it comes. */
    bool unheard = link->remote && link->club && !link->remote->up;
    if (link->state != LW_LINK_REFUSED || !link->club) /* the refusal stays: its client may not have seen it */
        lw__link_say(link, unheard ? LW__SAYS_NOTHING : LW__SAYS_CLOSED, code, reason, reason ? strlen(reason) : 0);
    if (link->remote) lw__remote_farewell(link->remote);
}

/* The door rings for the link while it has the club's lock. */
static void leave_group(struct lw_link *link) {
    bool served = link->remote && link->club && !link->cut;
    if (served) pthread_mutex_lock(&link->club->lock);
    lw__source_close(&link->source);
    if (served) pthread_mutex_unlock(&link->club->lock);
}

void lw_link_close(struct lw_link *link, int code, const char *reason) {
    if (!link) return;
    struct lw_bus *bus = link->bus;
    if (!link->cut) say_goodbye(link, code, reason);
    leave_group(link);
    if (link->cut || lw__bus_enter(bus, true)) {
        close_cut(link);
        return;
    }
    if (link->remote) lw__remote_detach(link);
    lw__link_close_ends(link);
    if (link->club) lw__club_leave(link);
#ifndef LW_PLANT_CLOSED_WITHOUT_KNOCK
    knock(link); /* whoever is the server by now may let its client in, or take what it left */
#endif
    lw__bus_detach(bus, &link->handle);
    lw__bus_leave(bus);
    destroy(link);
}

/* ---- opening as a client ------------------------------------------------------------------------------------------ */

static int read_options(struct lw_link_options *to, const struct lw_link_options *from) {
    *to = (struct lw_link_options)LW_LINK_OPTIONS_INIT;
    int rc = lw__options_read(to, sizeof *to, from, "lw_link_options");
    if (rc) return rc;
    if (to->login_len > LW_LOGIN_MAX || (to->login_len && !to->login))
        return lw__fail(-EINVAL, "lw_link_options.login: %zu bytes; at most %d", to->login_len, LW_LOGIN_MAX);
    if (to->flags & ~(unsigned)LW_LINK_NO_CRC)
        return lw__fail(-EINVAL, "lw_link_options.flags: 0x%x is no flag", to->flags);
    if (to->retry_max < 0) return lw__fail(-EINVAL, "lw_link_options.retry_max is %lld", (long long)to->retry_max);
    if (to->stuck_after < LW_FOREVER)
        return lw__fail(-EINVAL, "lw_link_options.stuck_after is %lld", (long long)to->stuck_after);
    return 0;
}

static int check_ring(const struct lw_link *link, const struct lw__lane *lane, uint64_t want, const char *way) {
    if (!want || lane->ring == want) return 0;
    return lw__fail(
        LW_ESHAPE,
        "link %s/%s: ring %s is %llu bytes, you ask for %llu; leave it unset to take what exists, or `laneway "
        "rm links %s/%s`",
        link->server_name, link->client_name, way, (unsigned long long)lane->ring, (unsigned long long)want,
        link->server_name, link->client_name);
}

static int check_rings(const struct lw_link *link, const struct lw_link_options *opt) {
    int rc = check_ring(link, &link->ends.out->file.lane, opt->ring_up, "up");
    return rc ? rc : check_ring(link, &link->ends.in->file.lane, opt->ring_down, "down");
}

/* All four, or none: the other half of a link over TCP may be removed as well while it is opened. */
static int open_halves(struct lw_link *link) {
    int rc = lw__link_open_ends(link, true);
    if (!rc && link->remote) {
        rc = lw__remote_attach(link);
        if (rc) lw__link_close_ends(link);
    }
    return rc;
}

/* -ENOENT: somebody removed it between making and opening. */
static int open_files(struct lw_link *link, const struct lw_link_options *opt) {
    const uint64_t ring[2] = {opt->ring_up, opt->ring_down};
    int rc = -ENOENT;
    for (int tries = 0; rc == -ENOENT && tries < LW__FILE_TRIES; tries++) {
        rc = lw__link_make(link->bus, link->root, link->server_name, link->client_name, ring);
        if (rc) return rc;
        rc = open_halves(link);
    }
    if (rc) return rc;
    rc = check_rings(link, opt);
    if (!rc && link->root == LW__HERE && link->ends.out->file.lane.mirror)
        rc = lw__fail(LW_EHELD, "link %s/%s: a client on another host has this name; take another one (`as`)",
                      link->server_name, link->client_name);
    if (rc && link->remote) lw__remote_detach(link);
    if (rc) lw__link_close_ends(link);
    return rc;
}

/* The next login after the last one, whoever made it. */
static void log_in(struct lw_link *link, const struct lw_link_options *opt) {
    link->session = lw__load(&lw__link_mine(link)->session) + 1;
    lw__link_review(link); /* how things were: no event */
    link->told_farewell = link->farewell;
    lw__link_say(link, LW__SAYS_LOGIN, 0, opt->login, opt->login_len);
    knock(link);
    if (link->remote) lw__remote_retry(link->remote);
}

static int open_client(struct lw_link *link, const struct lw_link_options *opt) {
    int rc = lw__bus_enter(link->bus, true);
    if (rc) return rc;
    const char *as = opt->as ? opt->as : link->bus->node;
    snprintf(link->client_name, sizeof link->client_name, "%s", as);
    rc = open_files(link, opt);
    if (!rc) {
        lw__link_begin(link, opt->stuck_after);
        log_in(link, opt);
    }
    lw__bus_leave(link->bus);
    return rc;
}

int lw_link_open(struct lw_link **out, struct lw_group *group, const char *server,
                 const struct lw_link_options *options) {
    struct lw_link_options opt;
    *out = NULL;
    if (group->cut) return lw__fail(LW_EFORKED, "%s", lw_strerror(LW_EFORKED));
    int rc = read_options(&opt, options);
    if (rc) return rc;
    struct lw_link *link = calloc(1, sizeof *link);
    if (!link) return lw__fail(-ENOMEM, "link %s: no memory", server);
    link->bus = group->bus;
    rc = lw__address_is(server) ? lw__remote_prepare(link, server, &opt) : 0;
    if (!rc) rc = lw__link_names(link->remote ? link->remote->address.server : server, opt.as);
    if (!rc)
        snprintf(link->server_name, sizeof link->server_name, "%s",
                 link->remote ? link->remote->address.server : server);
    if (!rc) rc = open_client(link, &opt);
    if (rc) {
        destroy(link);
        return rc;
    }
    if (link->remote) lw__remote_schedule(link->remote);
    rc = lw__source_move(&link->source, group, opt.user);
    if (rc)
        lw_link_close(link, rc, NULL);
    else
        *out = link;
    return rc;
}

void lw_link_pause(struct lw_link *link, int paused) {
    if (link->cut || link->paused == (paused != 0)) return;
    link->paused = paused != 0;
    link->source.rx = paused ? NULL : &link->ends.in->reader.rx;
    lw__source_renew(&link->source);
}

/* ---- more follows ------------------------------------------------------------------------------------------------- */

/* While it points here no reader is seen to sleep. */
static const uint64_t nobody[1];

void lw_link_cork(struct lw_link *link) {
    struct lw__tx *tx = &link->ends.out->writer.tx;
    if (link->cut) return;
    tx->parked = nobody;
}

void lw_link_uncork(struct lw_link *link) {
    if (link->cut) return;
    lw__pub_set_masks(link->ends.out);
    if (link->remote)
        lw__remote_flush(link->remote);
    else
        lw__pub_ring(link->ends.out);
}

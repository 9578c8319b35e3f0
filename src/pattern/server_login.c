/* SPDX-License-Identifier: MIT */
/*
 * pattern/server_login.c - finding logins, and answering them.
 *
 * A client whose folder was touched is looked at: what does it say, and what did this server answer? To be told is who
 * says a login that this start of the server has not answered, and who is away but left messages. A link that is open
 * here already hears from its client by itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/options.h"
#include "pattern/door.h"

enum { AT_ONCE = 64 }; /* folders to look at in one turn of the group */

/* ---- one client ---------------------------------------------------------------------------------------------------- */

struct sayings {
    struct lw__saying client, server;
    uint64_t unread;
    uint64_t released; /* so many messages from the client */
    uint64_t reader;   /* who has the server's place */
    uint64_t lane;     /* of its uuid: a link that was removed and made anew counts its logins from 1 again */
    bool alive;
    bool remote;                             /* a link over TCP */
    _Alignas(8) char said[LW_LOGIN_MAX + 8]; /* the server's words */
};

static uint64_t unread_in(const struct lw__lane *lane) {
    struct lw__place released, end;
    if (!lw__cursor_load(&lw__link_slot(lane)->cursor, &released) || lw__lane_tail(lane, &end)) return 0;
    return end.number > released.number ? end.number - released.number : 0;
}

static uint64_t released_in(const struct lw__lane *lane) {
    struct lw__place released;
    return lw__cursor_load(&lw__link_slot(lane)->cursor, &released) ? released.number : 0;
}

/* A client at the door, or one that is not answered yet, has most of it still: what there is of its log, it says in
 * HELLO. `mirror`: what begins the uuid of our mirror's log, in which `here` are unread. */
static uint64_t unread_of(const struct lw__greeting *hello, uint64_t mirror, uint64_t released, uint64_t here) {
    const struct lw__wire_lane_state *up = &hello->lane[LW__UP_ID];
    bool same = memcmp(&mirror, up->uuid, sizeof mirror) == 0;
    uint64_t first = same && released > up->first_number ? released : up->first_number;
    return (same ? 0 : here) + (up->end_number > first ? up->end_number - first : 0);
}

/* False: it is saying something just now. Who died in the midst says nothing. Pairs with take_for_good() and
 * lw__writer_leave(). */
static bool hear_client(struct lw_bus *bus, const struct lw__lane *up, struct lw__saying *s, void *words) {
    if (lw__side_read(lw__side_of(up), s, words)) return true;
    uint64_t writer = lw__load_acquire(&up->ctl->lock);
    *s = (struct lw__saying){.what = LW__SAYS_NOTHING};
    return !writer || lw__owner_gone(bus, writer);
}

/* Pairs with take_free() and lw__slot_inherit(). */
static void read_lanes(struct lw_bus *bus, const struct lw__lane *up, const struct lw__lane *down, struct sayings *s) {
    if (!lw__side_read(lw__side_of(down), &s->server, s->said)) s->server = (struct lw__saying){.turn = 0};
    s->unread = unread_in(up);
    s->released = released_in(up);
    memcpy(&s->lane, up->id->uuid, sizeof s->lane);
    s->reader = lw__slot_process(lw__load_acquire(&lw__link_slot(up)->owner));
    s->remote = up->mirror;
    s->alive = s->client.what == LW__SAYS_LOGIN && !lw__owner_gone(bus, s->client.owner);
}

/* 1. 0: not there, damaged, or not finished: its client knows, or will. Else it could not be looked at now: no
 * descriptor, no memory. */
static int read_link(struct lw_bus *bus, const char *server, const char *client, struct sayings *s, void *words) {
    struct lw__file up, down;
    lw__link_file(&up, bus, LW__HERE, server, client, LW__UP);
    lw__link_file(&down, bus, LW__HERE, server, client, LW__DOWN);
    int rc = lw__file_open_existing(&up, LW__LOOK);
    if (!rc) rc = lw__file_open_existing(&down, LW__LOOK);
    bool good = !rc && hear_client(bus, &up.lane, &s->client, words);
    if (good) read_lanes(bus, &up.lane, &down.lane, s);
    lw__file_close(&up);
    lw__file_close(&down);
    return rc == -ENOENT || rc == LW_ECORRUPT || rc == LW_EVERSION ? 0 : rc ? rc : good;
}

/* By this start of the server. */
static bool is_answer(const struct lw_server *server, const struct lw__saying *s, uint64_t session) {
    return s->owner == server->bus->owner && s->instance == server->instance && s->session == session &&
           s->what != LW__SAYS_NOTHING;
}

/* A name that comes again before the login was answered. What falls out of the table is told twice. */
static bool was_told(struct lw_server *server, const char *client, const struct sayings *s) {
    uint64_t h = s->lane ^ s->client.session ^ (s->alive ? UINT64_C(1) << 63 : 0); /* who left is another matter */
    for (; *client; client++) h = (h ^ (unsigned char)*client) * UINT64_C(0x100000001b3);
    uint64_t *told = server->told[h % LW__TOLD];
    for (int i = 0; i < LW__TOLD_ALIKE; i++)
        if (told[i] == h) return true;
    memmove(told + 1, told, sizeof *server->told - sizeof *told);
    told[0] = h;
    return false;
}

/* True: `login` is to be told. */
static bool examine(struct lw_server *server, const char *client) {
    struct sayings s;
    if (lw__club_has(server->club, client)) return false;
    int rc = read_link(server->bus, server->name, client, &s, server->words);
    if (rc < 0) server->awaits = true;
    if (rc <= 0) return false;
    if (is_answer(server, &s.server, s.client.session) || (!s.alive && !s.unread)) return false;
    if (s.remote && lw__door_awaits(server->door, client)) return false; /* told by the door */
    if (s.remote) s.alive = false;                                       /* it comes by the door, or is away */
    if (!s.alive && !s.unread) return false;
    if (s.reader == server->bus->owner)
        return false; /* open here since before this server: it knocks when it is closed */
    if (was_told(server, client, &s)) return false;
    server->login = (struct lw_login){.server = server,
                                      .len = s.client.what == LW__SAYS_LOGIN ? s.client.length : 0,
                                      .alive = s.alive,
                                      .unread = s.unread,
                                      .session = s.client.session};
    snprintf(server->login.client, sizeof server->login.client, "%s", client);
    memcpy(server->login.data, server->words, server->login.len);
    return true;
}

/* ---- at the door ---------------------------------------------------------------------------------------------------- */

/* What the application said to this very login, and what it left, is in the files, if there are any. */
static void examine_guest(struct lw_server *server, struct lw__guest *guest) {
    const struct lw__greeting *hello = &guest->conn->greeting;
    struct sayings s = {.unread = 0};
    bool known = read_link(server->bus, server->name, hello->client, &s, server->words) == 1;
    guest->told = true;
    if (known && !s.remote) {
        lw__door_refuse(server->door, guest, LW__SAYS_NOTHING, LW_EHELD,
                        "a client on the server's own host has this name; take another one");
        return;
    }
    if (known && memcmp(&s.lane, hello->lane[LW__UP_ID].uuid, sizeof s.lane) == 0 &&
        is_answer(server, &s.server, hello->session)) {
        lw__door_tell_again(guest, &s.server, s.said); /* until it logs in anew */
        return;
    }
    if (known && s.reader == server->bus->owner) {
        lw__door_refuse(server->door, guest, LW__SAYS_NOTHING, LW_EHELD,
                        "the server's process still has this link open, of an earlier server of the name");
        return;
    }
    server->login = (struct lw_login){.server = server,
                                      .len = hello->what == LW__SAYS_LOGIN ? hello->length : 0,
                                      .alive = 1,
                                      .unread = unread_of(hello, s.lane, s.released, s.unread),
                                      .session = hello->session};
    snprintf(server->login.client, sizeof server->login.client, "%s", hello->client);
    memcpy(server->login.data, hello->words, server->login.len);
    lw__conn_peer(guest->conn, server->login.from);
    server->ready = true;
}

/* ---- all of them --------------------------------------------------------------------------------------------------- */

/* Everybody who is there counts as touched. */
static void touch_all(struct lw_server *server) {
    struct dirent *entry;
    int fd = lw__file_open(&server->bus->dir, server->folder.path, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0) close(fd);
        server->awaits = true;
        return;
    }
    while ((errno = 0, entry = readdir(dir))) server->folder.touched(&server->folder, entry->d_name);
    if (errno) server->awaits = true;
    closedir(dir);
}

/* 1 and a name; 0: there is none. */
static bool take_name(struct lw_server *server, char name[LW_NAME_MAX + 1]) {
    struct lw__names *n = &server->touched;
    pthread_mutex_lock(&server->lock);
    bool any = n->first < n->count;
    if (any) memcpy(name, n->names[n->first++], LW_NAME_MAX + 1);
    pthread_mutex_unlock(&server->lock);
    return any;
}

static bool take_all_touched(struct lw_server *server) {
    pthread_mutex_lock(&server->lock);
    bool all = server->all_touched;
    server->all_touched = false;
    pthread_mutex_unlock(&server->lock);
    return all;
}

bool lw__server_find(struct lw_server *server, bool *more) {
    char name[LW_NAME_MAX + 1];
    *more = false;
    if (server->ready && lw__club_has(server->club, server->login.client)) server->ready = false; /* see join() */
    if (server->ready) return true;
    for (struct lw__guest *g; !server->ready && server->door && (g = lw__door_next(server->door));)
        examine_guest(server, g);
    if (server->ready) return true;
    if (take_all_touched(server)) touch_all(server);
    for (int i = 0; i < AT_ONCE && !server->ready; i++) {
        if (!take_name(server, name)) return false;
        server->ready = examine(server, name);
    }
    *more = !server->ready;
    return server->ready;
}

int lw_server_login(struct lw_server *server, struct lw_login *login) {
    bool more = true;
    if (server->cut) return LW_EFORKED;
    while (more && !lw__server_find(server, &more)) {
    }
    if (!server->ready) return LW_EEMPTY;
    int rc = lw__result_write(login, &server->login, sizeof server->login, "lw_login");
    if (rc) return rc;
    server->ready = false;
    lw__source_attend(&server->source); /* there may be others */
    return 1;
}

static uint64_t unread_on(const struct lw_link *link) {
    const struct lw__lane *up = &link->ends.in->file.lane;
    uint64_t lane;
    memcpy(&lane, up->id->uuid, sizeof lane);
    if (!link->remote || !link->remote->greeted) return unread_in(up);
    return unread_of(&link->remote->conn->greeting, lane, released_in(up), unread_in(up));
}

/* A client that came again to a link that is open. */
int lw_link_login(struct lw_link *link, struct lw_login *login) {
    struct lw__saying s;
    if (link->cut) return LW_EFORKED;
    if (!link->club) return lw__fail(LW_ESTATE, "lw_link_login() is the server's");
    char *words = lw__link_words(link);
    if (!words) return lw__fail(-ENOMEM, "link %s/%s: no memory", link->server_name, link->client_name);
    if (!lw__side_read(lw__link_theirs(link), &s, words) || s.what != LW__SAYS_LOGIN || s.session == link->session ||
        s.session == link->asked)
        return LW_EEMPTY;
    struct lw_login now = {.server = link->server,
                           .link = link,
                           .len = s.length,
                           .alive = !lw__owner_gone(link->bus, s.owner),
                           .unread = unread_on(link),
                           .session = s.session};
    snprintf(now.client, sizeof now.client, "%s", link->client_name);
    memcpy(now.data, words, now.len);
    if (link->remote && link->remote->conn) lw__conn_peer(link->remote->conn, now.from);
    int rc = lw__result_write(login, &now, sizeof now, "lw_login");
    if (rc) return rc;
    link->asked = s.session;
    return 1;
}

/* ---- answering ----------------------------------------------------------------------------------------------------- */

static int over(const struct lw_login *login) {
    return lw__fail(LW_ESTATE, "login of %s: it was answered, or is over: the client has gone or came again",
                    login->client);
}

/* Is it what the client still says? One that is away said goodbye, or nothing more. */
static bool is_current(const struct lw_link *link, const struct lw_login *login) {
    struct lw__saying s;
    if (!hear_client(link->bus, &link->ends.in->file.lane, &s, NULL)) return false;
#ifndef LW_PLANT_LATE_ANSWER_TAKEN
    if (s.session != login->session) return false;
#endif
    return !login->alive || s.what == LW__SAYS_LOGIN;
}

static int read_options(struct lw_accept_options *to, const struct lw_accept_options *from) {
    *to = (struct lw_accept_options)LW_ACCEPT_OPTIONS_INIT;
    int rc = lw__options_read(to, sizeof *to, from, "lw_accept_options");
    if (!rc && (to->answer_len > LW_LOGIN_MAX || (to->answer_len && !to->answer)))
        rc = lw__fail(-EINVAL, "lw_accept_options.answer: %zu bytes; at most %d", to->answer_len, LW_LOGIN_MAX);
    return rc;
}

/* With a link that is open already. */
static int answer_open(struct lw_link *link, struct lw_login *login, enum lw__what what, const void *words,
                       size_t len) {
    if (link->cut) return LW_EFORKED;
    if (lw__link_is_removed(link))
        return lw__fail(LW_ENOLINK, "link %s/%s was removed; close it, then its client is told of again",
                        link->server_name, link->client_name);
    if (!is_current(link, login) || link->session == login->session) return over(login);
    link->session = login->session;
    if (link->state == LW_LINK_REFUSED) link->state = LW_LINK_DOWN;
    lw__link_say(link, what, 0, words, len);
    if (what == LW__SAYS_REFUSED) link->state = LW_LINK_REFUSED;
    lw__source_attend(&link->source);
    return 0;
}

/* Gives a link of another host its other half; its client's connection, if it is at the door. */
static int attach(struct lw_link *link, struct lw__conn *conn) {
    link->remote = calloc(1, sizeof *link->remote);
    if (!link->remote) return lw__fail(-ENOMEM, "link %s/%s: no memory", link->server_name, link->client_name);
    int rc = lw__remote_attach(link);
    if (rc) {
        free(link->remote);
        link->remote = NULL;
        return rc;
    }
    link->remote->arrival = conn;
    /* Whose login this is: the number alone does not say it (adopt() in remote_meet.c). */
    const unsigned char *log = conn ? conn->greeting.lane[LW__UP_ID].uuid : link->ends.in->file.lane.id->uuid;
    memcpy(link->remote->peer, log, sizeof link->remote->peer);
    return 0;
}

static bool is_open_question(const struct lw_link *link, const struct lw_login *login) {
    struct lw__saying s;
    bool said = lw__side_read(lw__link_mine(link), &s, NULL);
    return is_current(link, login) && !(said && is_answer(link->server, &s, login->session));
}

/* The ends of a link that is not open here, for long enough to say something, or for good. The bus is entered. */
static int open_link(struct lw_link **out, struct lw_server *server, struct lw_login *login, struct lw__conn *conn) {
    struct lw_link *link = calloc(1, sizeof *link);
    if (!link) return lw__fail(-ENOMEM, "link %s/%s: no memory", server->name, login->client);
    link->bus = server->bus;
    link->server = server;
    link->instance = server->instance;
    link->state = LW_LINK_DOWN;
    link->session = link->asked = login->session;
    snprintf(link->server_name, sizeof link->server_name, "%s", server->name);
    snprintf(link->client_name, sizeof link->client_name, "%s", login->client);
    int rc = lw__link_open_ends(link, false);
    if (!rc && !conn && !is_open_question(link, login)) rc = over(login);
    if (!rc && link->ends.in->file.lane.mirror) rc = attach(link, conn);
    if (rc == -ENOENT) rc = lw__fail(LW_ENOLINK, "link %s/%s was removed", server->name, login->client);
    if (rc) lw__link_close_ends(link);
    if (rc)
        free(link);
    else
        *out = link;
    return rc;
}

/* Who was away when its login was told may be at the door by now: its link is open, and hears the rest. */
static void join(struct lw_link *link, struct lw_server *server, const struct lw_accept_options *opt) {
    lw__link_begin(link, server->stuck_after);
    lw__club_join(server->club, link);
    lw__link_say(link, LW__SAYS_ACCEPTED, 0, opt->answer, opt->answer_len);
    struct lw__guest *guest = link->remote ? lw__door_awaits(server->door, link->client_name) : NULL;
    if (!guest) return;
    pthread_mutex_lock(&server->club->lock);
    lw__remote_hand_over(link->remote, lw__door_take(server->door, guest));
    pthread_mutex_unlock(&server->club->lock);
}

static int accept_new(struct lw_server *server, struct lw_login *login, const struct lw_accept_options *opt,
                      struct lw_link **out) {
    struct lw__guest *guest = lw__door_find(server->door, login->client, login->session);
    struct lw__conn *conn = guest ? guest->conn : NULL;
    if (lw__club_has(server->club, login->client) || (*login->from && !guest)) return over(login);
    int rc = lw__bus_enter(server->bus, true);
    if (rc) return rc;
    rc = guest ? lw__remote_make(server->bus, server->name, &conn->greeting) : 0;
    bool fresh = rc > 0;
    if (rc >= 0) rc = open_link(out, server, login, conn);
    if (!rc && fresh) (*out)->remote->fresh = true;
    if (rc && guest) lw__door_refuse(server->door, guest, LW__SAYS_NOTHING, rc, lw_errtext());
    if (!rc && guest) lw__door_take(server->door, guest);
    if (rc && rc != LW_ESTATE) memset(server->told, 0, sizeof server->told); /* to be told again when it is touched */
    if (rc == LW_EHELD) server->awaits = true;
    if (!rc) join(*out, server, opt);
    lw__bus_leave(server->bus);
    return rc;
}

int lw_login_accept(struct lw_login *login, struct lw_group *group, const struct lw_accept_options *options,
                    struct lw_link **out) {
    struct lw_accept_options opt;
    struct lw_link *link = login->link;
    if (out) *out = NULL;
    int rc = read_options(&opt, options);
    if (!rc && link && group && group != link->source.group)
        rc = lw__fail(-EINVAL, "lw_login_accept: the link is in another group; lw_link_move() moves it");
    if (!rc && !link && !group) rc = lw__fail(-EINVAL, "lw_login_accept: a new link needs a group");
    if (rc) return rc;
    if (link) {
        rc = answer_open(link, login, LW__SAYS_ACCEPTED, opt.answer, opt.answer_len);
    } else if (login->server->cut || group->cut) {
        rc = LW_EFORKED;
    } else {
        rc = accept_new(login->server, login, &opt, &link);
        if (!rc && (rc = lw__source_move(&link->source, group, opt.user))) lw_link_close(link, rc, lw_errtext());
    }
    if (out && !rc) *out = link;
    return rc;
}

static int refuse_new(struct lw_server *server, struct lw_login *login, const char *why) {
    struct lw_link *link;
    if (server->cut) return LW_EFORKED;
    struct lw__guest *guest = lw__door_find(server->door, login->client, login->session);
    if (lw__club_has(server->club, login->client) || (*login->from && !guest)) return over(login);
    if (guest) {
        lw__door_refuse(server->door, guest, LW__SAYS_REFUSED, 0, why);
        return 0;
    }
    int rc = lw__bus_enter(server->bus, true);
    if (rc) return rc;
    rc = open_link(&link, server, login, NULL);
    if (!rc) {
        lw__link_say(link, LW__SAYS_REFUSED, 0, why, strlen(why));
        if (link->remote) lw__remote_detach(link);
        lw__link_close_ends(link);
        free(link->remote);
        free(link);
    }
    lw__bus_leave(server->bus);
    return rc;
}

int lw_login_refuse(struct lw_login *login, const char *why) {
    if (!why) why = "";
    if (login->link) return answer_open(login->link, login, LW__SAYS_REFUSED, why, strlen(why));
    return refuse_new(login->server, login, why);
}

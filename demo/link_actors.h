/* SPDX-License-Identifier: MIT */
/*
 * demo/link_actors.h - the processes of the acts with links: an echo server and its clients, on one host or on two. They
 * use Laneway as any program would; for the checker they note what they do.
 */
#ifndef DEMO_LINK_ACTORS_H
#define DEMO_LINK_ACTORS_H

#include "actors.h"

#define SERVER "echo"

enum { WINDOW = 64, EVENTS = 16 };

static const char *const client_names[CLIENTS] = {"alice", "bob", "carol", "dave"};

static struct lw_group *part_open_group(const struct part *part, struct lw_bus *bus) {
    struct lw_group *group;
    if (lw_group_open(&group, bus, NULL)) give_up(part->notes, "%s", lw_errtext());
    return group;
}

/* Gives back what was received up to `last`, and notes it. */
static void release_link(const struct part *part, struct lw_link *link, const struct lw_msg *last) {
    note_set(&part->notes->releasing, last->number + 1);
    int rc = lw_link_release(link, last);
    if (rc) give_up(part->notes, "release of %llu: %s", (unsigned long long)last->number, lw_strerror(rc));
    note_set(&part->notes->released, last->number + 1);
}

/* Deaths and cuts are what this is about. That a side is refused, or is told that something was lost, must not happen. */
static void look_for_trouble(struct notes *notes, const struct lw_event *event) {
    bool down = event->kind == LW_DOWN && event->code != LW_EDEAD && event->code != LW_ECLOSED;
    if (down || event->kind == LW_REFUSED)
        give_up(notes, "%s: %s", down ? lw_errname(event->code) : "refused", lw_link_reason(event->link, NULL));
    if (event->kind == LW_RENEWED) give_up(notes, "the link was renewed (%d)", event->code);
}

/* ---- client ------------------------------------------------------------------------------------------------------- */

struct client {
    const struct part *part;
    struct lw_group *group;
    struct lw_link *link;
    const uint64_t *gate;
    uint64_t next;     /* request to send */
    uint64_t received; /* answers */
    uint64_t released;
    bool full; /* waits for room */
};

static bool may_send(const struct client *client) {
    uint64_t gate = note_get(client->gate);
    return client->next < gate && client->next - client->received < WINDOW && !client->full;
}

static void send_request(struct client *client) {
    const struct part *part = client->part;
    uint64_t number = client->next;
    const struct record *record = input_record(part->input, number);
    note_set(&part->notes->tried, number + 1);
    int64_t rc = lw_link_send(client->link, type_of(number), part->input->bytes + record->offset, record->len, 0);
    client->full = rc == LW_EFULL;
    if (client->full) return;
    if (rc < 0) give_up(part->notes, "request %llu: %s", (unsigned long long)number, lw_strerror((int)rc));
    note_set(&part->notes->sent, ++client->next);
}

/* Some of what is there; it is given back together. */
static void take_answers(struct client *client) {
    uint64_t most = 1 + mix(client->part->seed ^ client->received) % HOLD_MOST;
    struct lw_msg msg;
    uint64_t n = 0;
    int got;
    while (n < most && (got = lw_link_next(client->link, &msg, 0)) == 1) {
        log_delivery(client->part, &msg);
        client->received = msg.number + 1;
        n++;
    }
    if (n < most && got != LW_EEMPTY && got != -EINTR) give_up(client->part->notes, "answer: %s", lw_strerror(got));
    if (!n) return;
    release_link(client->part, client->link, &msg);
    client->released = msg.number + 1;
}

static void talk(struct client *client) {
    const struct part *part = client->part;
    struct lw_event events[EVENTS];
    while (client->released < part->total) {
        while (may_send(client)) send_request(client);
        bool held = client->next < part->total && client->next == note_get(client->gate);
        int n = lw_group_poll(client->group, events, EVENTS, held ? LW_MS(1) : LW_SEC(1));
        if (n < 0 && n != -EINTR) give_up(part->notes, "poll: %s", lw_strerror(n));
        for (int i = 0; i < n; i++) {
            if (events[i].kind == LW_READABLE) take_answers(client);
            if (events[i].kind == LW_WRITABLE) client->full = false;
            look_for_trouble(part->notes, &events[i]);
        }
    }
}

/* Goes on where the link is: it knows how many requests it has taken, and which answers were released. */
static void be_client(const struct part *part) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_bus *bus = part_open_bus(part);
    struct client client = {.part = part, .group = part_open_group(part, bus)};
    client.gate = &part->links->gates[part->notes - part->links->clients];
    if (lw_link_open(&client.link, client.group, part->address ? part->address : SERVER, NULL))
        give_up(part->notes, "%s", lw_errtext());
    if (lw_link_stat(client.link, &info)) give_up(part->notes, "no numbers");
    note_set(&part->notes->resumed, info.sent);
    client.next = info.sent;
    client.received = client.released = info.released;
    part_is_ready(part);
    talk(&client);
    lw_link_close(client.link, 0, "done");
    lw_group_close(client.group);
    lw_bus_close(bus);
}

/* ---- server ------------------------------------------------------------------------------------------------------- */

/* One of its links. */
struct peer {
    struct part part; /* the server's, with the notes of this client's requests */
    struct notes *server;
    uint64_t answered; /* number of the next answer; of requests below it nothing but the release is missing */
    bool known;        /* `answered` is right */
    bool full;         /* no room for an answer */
};

static struct peer *peer_of(struct peer *peers, const char *client) {
    for (int i = 0; i < CLIENTS; i++)
        if (strcmp(client_names[i], client) == 0) return &peers[i];
    return NULL;
}

static void learn(struct peer *peer, struct lw_link *link) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    int rc = lw_link_stat(link, &info);
    if (rc) give_up(peer->server, "no numbers: %s", lw_strerror(rc));
    peer->answered = info.sent;
    peer->known = true;
}

/* False: there is no room. */
static bool answer(struct peer *peer, struct lw_link *link, const struct lw_msg *msg) {
    if (msg->number < peer->answered) return true;
    int64_t rc = lw_link_send(link, msg->type, msg->data, msg->len, 0);
    peer->full = rc == LW_EFULL;
    if (rc < 0 && !peer->full) give_up(peer->server, "answer: %s", lw_strerror((int)rc));
    peer->answered += !peer->full;
    return !peer->full;
}

/* Without room nothing is to be told as readable: it is held until there is. */
static void hold_the_rest(struct lw_link *link) {
    struct lw_msg msg;
    while (lw_link_next(link, &msg, 0) == 1) {
    }
}

static void serve(struct peer *peer, struct lw_link *link) {
    uint64_t most = 1 + mix(peer->part.seed ^ peer->answered) % HOLD_MOST, n = 0;
    struct lw_msg msg, last;
    int got = 1;
    if (!peer->known) learn(peer, link);
    while (n < most && !peer->full && (got = lw_link_next(link, &msg, 0)) == 1) {
        if (!answer(peer, link, &msg)) break;
        log_delivery(&peer->part, &msg);
        last = msg;
        n++;
    }
    if (got != 1 && got != LW_EEMPTY && got != -EINTR) give_up(peer->server, "request: %s", lw_strerror(got));
    if (n) release_link(&peer->part, link, &last);
    if (peer->full) hold_the_rest(link);
}

static void let_in(struct peer *peers, struct lw_group *group, const struct lw_event *event) {
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_accept_options options = LW_ACCEPT_OPTIONS_INIT;
    int got = event->user ? lw_link_login(event->link, &login) : lw_server_login(event->server, &login);
    if (got != 1) return;
    options.user = peer_of(peers, login.client);
    int rc = lw_login_accept(&login, event->user ? NULL : group, &options, NULL);
    if (rc && rc != LW_ESTATE) give_up(peers->server, "login of %s: %s", login.client, lw_errtext());
}

static void hear(struct peer *peers, struct lw_group *group, const struct lw_event *event) {
    struct peer *peer = event->user;
    if (event->kind == LW_LOGIN) let_in(peers, group, event);
    if (event->kind == LW_WRITABLE && peer->full) {
        peer->full = false;
        lw_link_rewind(event->link);
        serve(peer, event->link);
    }
    if (event->kind == LW_READABLE) serve(peer, event->link);
    look_for_trouble(peers->server, event);
}

/* Until it is killed. */
static void be_server(const struct part *part) {
    static struct peer peers[CLIENTS];
    struct lw_bus *bus = part_open_bus(part);
    struct lw_group *group = part_open_group(part, bus);
    struct lw_server *server;
    struct lw_server_options options = LW_SERVER_OPTIONS_INIT;
    struct lw_event events[EVENTS];
    options.listen = part->listen;
    for (int i = 0; i < CLIENTS; i++) {
        peers[i] = (struct peer){.part = *part, .server = part->notes};
        peers[i].part.notes = &part->links->requests[i];
    }
    if (lw_server_open(&server, group, SERVER, &options)) give_up(part->notes, "%s", lw_errtext());
    part_is_ready(part);
    for (;;) {
        int n = lw_group_poll(group, events, EVENTS, LW_FOREVER);
        if (n < 0 && n != -EINTR) give_up(part->notes, "poll: %s", lw_strerror(n));
        for (int i = 0; i < n; i++) hear(peers, group, &events[i]);
    }
}

#endif

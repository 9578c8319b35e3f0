/* SPDX-License-Identifier: MIT */
/* pattern/link_look.c - looking at a link that is open: its numbers, names, and what the other side said. */
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "pattern/remote.h"

static uint64_t number_of(const struct lw__cursor *cursor) {
    struct lw__place place;
    return lw__cursor_load(cursor, &place) ? place.number : 0;
}

static void who(struct lw_bus *bus, uint64_t owner, char *node, int *pid) {
    node[0] = 0;
    *pid = 0;
    if (!owner || lw__owner_closed(bus, owner)) return;
    *pid = lw__owner_who(bus, owner, node);
    if (!*pid) node[0] = 0;
}

static void fill_ends(const struct lw_link *link, struct lw_link_info *info) {
    const struct lw__writer *w = &link->ends.out->writer;
    const struct lw__reader *r = &link->ends.in->reader;
    struct lw__place taken = {0, 0}, end = {0, 0};
    lw__cursor_load(&lw__link_slot(w->lane)->cursor, &taken);
    lw__lane_tail(r->lane, &end);
    info->sent = w->tx.number;
    info->taken = taken.number;
    info->sent_bytes_unread = w->tx.pos > taken.pos ? w->tx.pos - taken.pos : 0;
    info->received = r->rx.number;
    info->released = number_of(r->rx.cursor);
    info->arrived = end.number;
}

static void fill_remote(const struct lw__remote *r, struct lw_link_info *info) {
    char where[LW__ADDRESS_MAX];
    info->remote = r->link->root == LW__ELSEWHERE ? LW_LINK_OF_CLIENT : LW_LINK_OF_SERVER;
    info->connections = r->connections;
    snprintf(info->address, sizeof info->address, "%s", r->address.text);
    if (*info->address || !r->conn) return;
    lw__conn_peer(r->conn, where);
    snprintf(info->address, sizeof info->address, "%s", where);
}

/* Pairs with take_for_good(). */
int lw_link_stat(struct lw_link *link, struct lw_link_info *info) {
    struct lw_link_info now = LW_LINK_INFO_INIT;
    if (link->cut) return LW_EFORKED;
    const struct lw__lane *out = &link->ends.out->file.lane, *in = &link->ends.in->file.lane;
    bool client = !link->club;
    snprintf(now.server, sizeof now.server, "%s", link->server_name);
    snprintf(now.client, sizeof now.client, "%s", link->client_name);
    now.state = link->state;
    now.stuck = link->stuck;
    now.ring_up = client ? out->ring : in->ring;
    now.ring_down = client ? in->ring : out->ring;
    if (!link->ends.in->gone) fill_ends(link, &now);
    if (client || !link->remote)
        who(link->bus, lw__load_acquire(client ? &out->ctl->lock : &in->ctl->lock), now.client_node, &now.client_pid);
    if (!client || !link->remote)
        who(link->bus, lw__load_acquire(client ? &in->ctl->lock : &out->ctl->lock), now.server_node, &now.server_pid);
    if (link->remote) fill_remote(link->remote, &now);
    return lw__result_write(info, &now, sizeof now, "lw_link_info");
}

enum lw_link_state lw_link_state(const struct lw_link *link) {
    return link->state;
}

const char *lw_link_server(const struct lw_link *link) {
    return link->server_name;
}

const char *lw_link_client(const struct lw_link *link) {
    return link->client_name;
}

void *lw_link_user(const struct lw_link *link) {
    return link->source.user;
}

int lw_link_answer(const struct lw_link *link, void *buffer, size_t room) {
    _Alignas(8) char words[LW_LOGIN_MAX + 8];
    struct lw__saying s;
    if (link->cut) return LW_EFORKED;
    if (link->club || !lw__side_read(lw__link_theirs(link), &s, words) || s.session != link->session ||
        s.what != LW__SAYS_ACCEPTED)
        return LW_ESTATE;
    memcpy(buffer, words, s.length < room ? s.length : room);
    return (int)s.length;
}

const char *lw_link_reason(const struct lw_link *link, int *code) {
    struct lw_link *l = (struct lw_link *)(uintptr_t)link; /* the words are kept in it */
    struct lw__saying s;
    if (code) *code = 0;
    if (link->cut || !lw__link_words(l) || !lw__side_read(lw__link_theirs(l), &s, l->words)) return "";
    const struct lw__trouble *t = link->remote && !link->told_up ? &link->remote->trouble : NULL;
    bool said = s.what == LW__SAYS_REFUSED || s.what == LW__SAYS_CLOSED;
    /* What was told as LW_DOWN since is later than what the other side said when it was last heard. */
    if (t && t->code && (!said || (t->code == link->down_code && t->code != LW_ECLOSED))) {
        if (code) *code = t->code;
        return t->words;
    }
    if (!said) return "";
    if (code) *code = s.code;
    return l->words;
}

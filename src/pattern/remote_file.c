/* SPDX-License-Identifier: MIT */
/* pattern/remote_file.c - the files of a link over TCP: making them, and putting another mirror in the place of one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/options.h"
#include "pattern/remote.h"

/* ---- what there is ------------------------------------------------------------------------------------------------- */

static void describe(struct lw__wire_lane_state *s, const struct lw__lane *lane, const struct lw__slot *slot,
                     uint64_t end, uint64_t end_number) {
    struct lw__place released = {.pos = end, .number = end_number};
    if (!lw__cursor_load(&slot->cursor, &released) || released.pos > end)
        released = (struct lw__place){end, end_number};
    *s = (struct lw__wire_lane_state){.ring = lane->ring,
                                      .start = lane->start,
                                      .first = released.pos,
                                      .first_number = released.number,
                                      .end = end,
                                      .end_number = end_number,
                                      .record_max = lane->record_max};
    memcpy(s->uuid, lane->id->uuid, sizeof s->uuid);
}

void lw__remote_offer(const struct lw__remote *r, struct lw__wire_lane_state *s) {
    const struct lw__writer *w = &r->link->ends.out->writer;
    describe(s, w->lane, lw__link_slot(w->lane), w->tx.pos, w->tx.number);
    s->id = r->out;
    s->role = LW__OFFERS;
}

void lw__remote_take(const struct lw__remote *r, struct lw__wire_lane_state *s) {
    const struct lw__writer *w = &r->mirror->writer;
    describe(s, w->lane, lw__link_slot(w->lane), w->tx.pos, w->tx.number);
    s->id = r->in;
    s->role = LW__TAKES;
}

/* ---- making -------------------------------------------------------------------------------------------------------- */

static struct lw__lane_shape mirror_of(const struct lw__wire_lane_state *offer, enum lw__direction way) {
    struct lw__lane_shape shape = lw__link_shape(offer->ring, way);
    shape.start = offer->first - offer->first % offer->ring;
    shape.tail = offer->first;
    shape.number = offer->first_number;
    shape.uuid = offer->uuid;
    shape.mirror = LW__MIRROR;
    return shape;
}

/* A name that a program of this host has is not for others. */
static int check_up(struct lw__file *up) {
    struct lw__file look = *up;
    int rc = lw__file_open_existing(&look, LW__LOOK);
    bool local = !rc && !look.lane.mirror;
    lw__file_close(&look);
    if (rc) return rc;
    return local ? lw__fail(LW_EHELD, "link %s is of a client on the server's own host; take another name", up->name)
                 : 0;
}

/* 1: the mirror is new, and begins in the middle of the client's log: what was here before is lost. */
static int make_both(struct lw_bus *bus, const char *server, const struct lw__greeting *hello) {
    const struct lw__wire_lane_state *offer = &hello->lane[LW__UP_ID];
    struct lw__lane_shape up = mirror_of(offer, LW__UP), down = lw__link_shape(hello->lane[LW__DOWN_ID].ring, LW__DOWN);
    struct lw__file file;
    lw__link_file(&file, bus, LW__HERE, server, hello->client, LW__UP);
    int rc = check_up(&file);
    bool lost = rc == -ENOENT && offer->first != offer->start;
    if (rc == -ENOENT) rc = lw__link_make_lane(&file, &up);
    if (!rc) rc = check_up(&file);
    if (rc) return rc;
    lw__link_file(&file, bus, LW__HERE, server, hello->client, LW__DOWN);
    rc = lw__link_make_lane(&file, &down);
    return rc ? rc : lost;
}

int lw__remote_make(struct lw_bus *bus, const char *server, const struct lw__greeting *hello) {
    int rc = -ENOENT;
    for (int tries = 0; rc == -ENOENT && tries < LW__FILE_TRIES; tries++) rc = make_both(bus, server, hello);
    return rc;
}

/* ---- another mirror ------------------------------------------------------------------------------------------------ */

static struct lw__file in_file(const struct lw__remote *r) {
    struct lw__file file;
    const struct lw_link *link = r->link;
    lw__link_file(&file, link->bus, link->root, link->server_name, link->client_name,
                  link->root == LW__HERE ? LW__UP : LW__DOWN);
    return file;
}

/* What the other side has said stays said. */
static void copy_words(const struct lw__remote *r, const struct lw_pub *mirror) {
    struct lw__saying said;
    _Alignas(8) char words[LW_LOGIN_MAX + 8];
    if (lw__side_read(lw__link_theirs(r->link), &said, words))
        lw__side_write(lw__side_of(&mirror->file.lane), &said, words);
}

/* The new file first, complete, in the place of the old one; then both ends move there. Calls on the link may be under
 * way, so its reading end stays the same handle. Fails: the old ones stay. */
static int renew(struct lw__remote *r, const struct lw__wire_lane_state *offer) {
    struct lw__file file = in_file(r);
    struct lw__lane_shape shape = mirror_of(offer, r->link->root == LW__HERE ? LW__UP : LW__DOWN);
    struct lw_pub *mirror;
    int rc = lw__file_remake(&file, &shape);
    if (!rc) rc = lw__pub_open_file(&mirror, r->link->bus, &file);
    if (rc) return rc;
    copy_words(r, mirror);
    rc = lw__sub_rejoin(r->link->ends.in);
    lw__pub_close_entered(rc ? mirror : r->mirror);
    if (rc) return rc;
    r->mirror = mirror;
    lw__source_renew(&r->link->source);
    return 0;
}

int lw__remote_renew(struct lw__remote *r, const struct lw__wire_lane_state *offer) {
    int rc = lw__bus_enter(r->link->bus, true);
    if (rc) return rc;
    rc = renew(r, offer);
    lw__bus_leave(r->link->bus);
    return rc;
}

/* ---- the other half of a link -------------------------------------------------------------------------------------- */

/* The place of the other side's reader is what that side said. Should it not be one where a message begins (it was wrong,
 * or lied), the message before it is: nobody else would ever find out. */
static void mend_place(struct lw__lane *lane) {
    struct lw__cursor *cursor = &lw__link_slot(lane)->cursor;
    struct lw__place place, from;
    if (!lw__cursor_load(cursor, &place) || !lw__lane_mark_before(lane, place.pos, &from)) return;
    if (lw__lane_proves(lane, &from, &place)) return;
    lw__lane_cut(lane, &from, place.pos, &from); /* or the mark itself */
    lw__cursor_store(cursor, from.pos, from.number);
}

static int open_half(struct lw__remote *r) {
    struct lw_link *link = r->link;
    struct lw__file file = in_file(r);
    enum lw__direction out = link->root == LW__HERE ? LW__DOWN : LW__UP;
    int rc = lw__pub_open_file(&r->mirror, link->bus, &file);
    if (rc) return rc;
    lw__link_file(&file, link->bus, link->root, link->server_name, link->client_name, out);
    mend_place(&link->ends.out->file.lane);
    rc = lw__sub_open_file(&r->far, link->bus, &file, lw__link_readers[out]);
    if (rc) lw__pub_close_entered(r->mirror);
    return rc;
}

int lw__remote_attach(struct lw_link *link) {
    struct lw__remote *r = link->remote;
    r->link = link;
    r->out = link->root == LW__HERE ? LW__DOWN_ID : LW__UP_ID;
    r->in = link->root == LW__HERE ? LW__UP_ID : LW__DOWN_ID;
    r->beat_at = r->ack_at = r->send_at = r->retry_at = r->give_up_at = INT64_MAX;
    r->full_pause = LW__SEND_AFTER;
    int rc = open_half(r);
    if (rc) return rc;
    link->ends.out->sent = lw__remote_sent;
    lw__side_reach(lw__link_mine(link), 0, link->root == LW__ELSEWHERE ? r->address.text : NULL);
    lw__pub_set_masks(link->ends.out);
    lw__sub_tell_releases(link->ends.in, lw__remote_released);
    return 0;
}

/* The ends may be closed without ever having been a link's (a refusal, other rings than were asked for): they call no more. */
void lw__remote_detach(struct lw_link *link) {
    link->ends.out->sent = NULL;
    lw__sub_tell_releases(link->ends.in, NULL);
    lw__sub_close_entered(link->remote->far);
    lw__pub_close_entered(link->remote->mirror);
}

/* SPDX-License-Identifier: MIT */
/*
 * pattern/remote_meet.c - the beginning of a connection: who we are, what we have of both lanes, and where to go on. What
 * the two sides say beside their messages goes the same way.
 *
 * wire/resume.c decides; this file asks it and does what follows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "pattern/remote.h"
#include "pattern/server.h"

/* ---- what a side says ---------------------------------------------------------------------------------------------- */

void lw__remote_hear(struct lw__remote *r, enum lw__what what, uint64_t session, uint64_t accepted, int code,
                     const void *words, size_t length) {
    struct lw__saying s = {.owner = r->link->bus->owner,
                           .session = session,
                           .what = what,
                           .accepted = accepted,
                           .code = code,
                           .length = length <= LW_LOGIN_MAX ? length : LW_LOGIN_MAX};
    _Alignas(8) char copy[LW_LOGIN_MAX + 8] = {0};
    memcpy(copy, words, s.length);
    lw__side_write(lw__side_of(&r->mirror->file.lane), &s, copy);
    lw__link_review(r->link);
    lw__source_attend(&r->link->source);
}

void lw__remote_on_said(struct lw__remote *r, const struct lw__words *w) {
    if (w->what > LW__SAYS_CLOSED) return;
    lw__remote_hear(r, (enum lw__what)w->what, w->session, w->accepted, w->code, w->words, w->length);
}

void lw__remote_say(struct lw__remote *r) {
    struct lw__saying s;
    struct lw__words w;
    _Alignas(8) char text[LW_LOGIN_MAX + 8];
    if (lw__side_turn(lw__link_mine(r->link)) == r->said || !lw__side_read(lw__link_mine(r->link), &s, text)) return;
    w.what = s.what;
    w.code = s.code;
    w.session = s.session;
    w.accepted = s.accepted;
    w.length = (uint32_t)s.length;
    memcpy(w.words, text, s.length);
    if (lw__wire_words(&r->conn->wire, LW__SAY, &w)) r->said = s.turn;
}

/* ---- greetings ----------------------------------------------------------------------------------------------------- */

static bool fill(struct lw__remote *r, struct lw__greeting *g) {
    const struct lw_link *link = r->link;
    struct lw__saying s;
    _Alignas(8) char text[LW_LOGIN_MAX + 8];
    if (!lw__side_read(lw__link_mine(link), &s, text)) return false;
    memset(g, 0, sizeof *g);
    snprintf(g->server, sizeof g->server, "%s", link->server_name);
    snprintf(g->client, sizeof g->client, "%s", link->client_name);
    memcpy(g->host, link->bus->boot, sizeof g->host);
    g->epoch = r->epoch;
    g->beat = LW__BEAT;
    g->service = LW__SERVICE_LINK;
    g->lanes = LW__REMOTE_LANES;
    g->session = s.session;
    g->what = s.what;
    g->code = s.code;
    g->accepted = s.accepted;
    g->length = (uint32_t)s.length;
    memcpy(g->words, text, s.length);
    lw__remote_offer(r, &g->lane[r->out]);
    lw__remote_take(r, &g->lane[r->in]);
    r->said = s.turn;
    return true;
}

static void open_lanes(struct lw__remote *r) {
    memset(r->lanes, 0, sizeof r->lanes);
    r->lanes[r->out].writes = true;
    for (int i = 0; i < LW__REMOTE_LANES; i++)
        r->lanes[i].ring = (i == r->out ? &r->link->ends.out->file.lane : &r->mirror->file.lane)->ring;
    lw__wire_lanes(&r->conn->wire, r->lanes, LW__REMOTE_LANES);
}

/* Counts connections in the page of our lane, so that a later process goes on counting. Pairs with nothing: it is
 * the lock's holder that counts, and take_for_good() brings what the one before counted. */
static uint64_t next_epoch(struct lw__remote *r) {
#ifdef LW_PLANT_EPOCH_NOT_COUNTED
    return 1;
#endif
    return lw__add(&lw__link_mine(r->link)->connections, 1) + 1;
}

bool lw__remote_hello(struct lw__remote *r) {
    struct lw__greeting g;
    r->epoch = next_epoch(r);
    r->give_up_at = INT64_MAX;
    open_lanes(r);
    return fill(r, &g) && lw__wire_greet(&r->conn->wire, LW__HELLO, &g);
}

/* Somebody may say anything: two lanes, one each way. */
static const struct lw__wire_lane_state *offer_of(const struct lw__remote *r, const struct lw__greeting *g) {
    const struct lw__wire_lane_state *offer = &g->lane[r->in], *take = &g->lane[r->out];
    bool good = g->service == LW__SERVICE_LINK && g->lanes == LW__REMOTE_LANES && offer->id == r->in &&
                offer->role == LW__OFFERS && take->id == r->out && take->role == LW__TAKES;
    return good ? offer : NULL;
}

/* ---- the lane that comes ------------------------------------------------------------------------------------------- */

static void refuse(struct lw__remote *r, int code, const char *words) {
    char copy[LW__WHY + 160];
    struct lw__words w = {.what = LW__SAYS_NOTHING, .code = code};
    snprintf(copy, sizeof copy, "%s", words);
    w.length = (uint32_t)snprintf((char *)w.words, sizeof w.words, "%s", copy);
    if (lw__wire_words(&r->conn->wire, r->conn->wire.stage == LW__WIRE_OPEN ? LW__CLOSE : LW__REFUSE, &w))
        lw__conn_write(r->conn);
    lw__remote_fail(r, code, copy);
}

static void mismatch(struct lw__remote *r, const char *way, const char *why) {
    char words[LW__WHY + 160];
    snprintf(words, sizeof words, "link %.63s/%.63s, %s: %s", r->link->server_name, r->link->client_name, way, why);
    refuse(r, LW_EMISMATCH, words);
}

static void note_renewed(struct lw__remote *r, int what) {
    r->renewed |= 1u << what;
    r->link->untold |= 1u << LW_RENEWED;
    lw__source_attend(&r->link->source);
}

/* What the two sides have belongs together, as far as this one can tell: the link is up. */
static void be_met(struct lw__remote *r) {
    if (r->met) return;
    r->met = true;
    r->met_at = lw__now();
    r->met_out = r->lanes[r->out].received;
    r->met_in = r->mirror->writer.tx.pos;
    r->link->untold &= ~(1u << LW_DOWN);
    lw__link_review(r->link);
    lw__source_attend(&r->link->source);
}

/* Says from where on the other side is to send. */
static void announce(struct lw__remote *r, uint8_t status, uint32_t flags) {
    struct lw__wire_lane_state take;
    lw__remote_take(r, &take);
    r->told_to = take.first;
    r->window = take.window = lw__mirror_window(&r->mirror->writer, take.first);
    take.status = status;
    take.flags = flags;
    if (!lw__wire_lane_is(&r->conn->wire, &take)) lw__remote_lose(r, -ENOBUFS, "no room to say what is here");
}

/* What the other host has no end of, this one need not. */
static bool is_too_large(const struct lw__remote *r) {
    return r->link->root == LW__ELSEWHERE && r->offered.ring > r->ring_most;
}

static void renew(struct lw__remote *r, int what) {
    const struct lw__wire_lane_state *offer = &r->offered;
    char words[160];
    if (is_too_large(r)) {
        snprintf(words, sizeof words,
                 "the server's ring has %llu bytes, more than the %llu that are taken here unasked",
                 (unsigned long long)offer->ring, (unsigned long long)r->ring_most);
        refuse(r, LW_ESHAPE, words);
        return;
    }
    bool from_the_middle = offer->first != offer->start;
    int rc = lw__remote_renew(r, offer);
    if (rc) {
        refuse(r, rc, lw_errtext());
        return;
    }
    if (what || from_the_middle) note_renewed(r, what ? what : LW_RENEWED_HERE);
    announce(r, LW__READY, from_the_middle && !what ? LW__LANE_FRESH : 0);
}

/* A handler of lw_link_dispatch() still has its message. */
static bool is_drained(const struct lw__remote *r) {
    const struct lw_sub *in = r->link->ends.in;
    struct lw__wire_lane_state have;
    lw__remote_take(r, &have);
    return have.first == have.end && in->reader.rx.pos == in->reader.rx.head && !in->dispatching;
}

void lw__remote_drained(struct lw__remote *r) {
#ifndef LW_PLANT_DRAIN_NOT_AWAITED
    if (!is_drained(r)) return;
#endif
    r->draining = false;
    renew(r, LW_RENEWED_THERE);
}

/* A mirror that was one before, and into which nothing ever came: of a log that is gone. */
static enum lw__verdict judge(const struct lw__remote *r, char *why) {
    struct lw__wire_lane_state have;
    lw__remote_take(r, &have);
    enum lw__verdict verdict = lw__wire_judge(&r->offered, &have, why);
    if (verdict != LW__ANEW || r->mirror->file.lane.mirror == LW__EMPTY_MIRROR) return verdict;
    if (r->offered.first == r->offered.start) return LW__NEW_LOG;
    snprintf(why, LW__WHY, "another log than before, and somebody else has read of it, up to message %llu",
             (unsigned long long)r->offered.first_number);
    return LW__MISMATCH;
}

/* True: it is refused. */
static bool mismatches(struct lw__remote *r) {
    char why[LW__WHY];
    if (judge(r, why) != LW__MISMATCH) return false;
    mismatch(r, r->in == LW__UP_ID ? "up" : "down", why);
    return true;
}

/* False: it was refused. */
static bool meet(struct lw__remote *r) {
    char why[LW__WHY];
    switch (judge(r, why)) {
    case LW__GO_ON:
        if (r->fresh) note_renewed(r, LW_RENEWED_HERE);
        announce(r, LW__READY, r->fresh ? LW__LANE_FRESH : 0);
        r->fresh = false;
        break;
    case LW__ANEW:
        renew(r, 0);
        break;
    case LW__NEW_LOG:
        r->draining = true;
        announce(r, LW__DRAINING, 0);
        lw__remote_drained(r);
        break;
    case LW__MISMATCH:
        mismatch(r, r->in == LW__UP_ID ? "up" : "down", why);
        break;
    }
    return r->conn;
}

/* ---- the lane that goes -------------------------------------------------------------------------------------------- */

/* What the other side says must be places of ours: it may be wrong, or lie. */
static const char *check_take(const struct lw__remote *r, const struct lw__wire_lane_state *offer,
                              const struct lw__wire_lane_state *take, char *why) {
    const char *bad = lw__wire_check_take(offer, take, why);
    if (bad || take->status != LW__READY) return bad;
    const struct lw__lane *lane = r->link->ends.out->writer.lane;
    struct lw__place from = {offer->first, offer->first_number}, first = {take->first, take->first_number},
                     end = {take->end, take->end_number};
    if (!lw__lane_proves(lane, &from, &first) || !lw__lane_proves(lane, &first, &end))
        return "no message begins where the reader says it is";
    if (take->window < take->end || take->window > take->first + take->ring || take->window % 8)
        return "a window that can not be";
    return NULL;
}

void lw__remote_on_lane(struct lw__remote *r, const struct lw__wire_lane_state *take) {
    struct lw__wire_lane_state offer;
    struct lw__reader *far = &r->far->reader;
    char why[LW__WHY];
    if (take->role != LW__TAKES || r->lanes[r->out].ready) {
        lw__wire_break(&r->conn->wire, "a lane that is open already");
        return;
    }
    if (take->status != LW__READY) {
        be_met(r);
        return;
    }
    lw__remote_offer(r, &offer);
    const char *bad = check_take(r, &offer, take, why);
    if (bad) {
        mismatch(r, r->out == LW__UP_ID ? "up" : "down", bad);
        return;
    }
    lw__cursor_store(far->rx.cursor, take->first, take->first_number);
    far->rx.head = far->rx.pos = take->first;
#ifdef LW_PLANT_RESUME_AT_OWN_POSITION
    struct lw__wire_lane_state mine = *take;
    mine.end = offer.end;
    mine.end_number = offer.end_number;
    take = &mine;
#endif
    lw__wire_start(&r->conn->wire, r->out, take);
    if (take->flags & LW__LANE_FRESH) note_renewed(r, LW_RENEWED_READER);
    be_met(r);
}

/* ---- who comes ----------------------------------------------------------------------------------------------------- */

static void be_up(struct lw__remote *r) {
    char where[LW__ADDRESS_MAX];
    lw__conn_peer(r->conn, where);
    lw__side_reach(lw__link_mine(r->link), r->link->bus->owner, r->link->root == LW__HERE ? where : NULL);
    r->up = true;
    r->silent = 0;
    r->reads = r->went = 0;
    r->connections++;
    lw__source_attend(&r->link->source);
}

static void set_patience(struct lw__remote *r) {
    uint64_t theirs = r->conn->greeting.beat, most = (uint64_t)LW_SEC(3600);
    uint64_t beat = theirs < (uint64_t)LW__BEAT ? (uint64_t)LW__BEAT : theirs < most ? theirs : most;
    r->patience = (int64_t)beat * LW__SILENT_BEATS;
}

static enum lw__what what_of(const struct lw__greeting *g) {
    return g->what <= LW__SAYS_CLOSED ? (enum lw__what)g->what : LW__SAYS_NOTHING;
}

/* Client: WELCOME. */
void lw__remote_on_greeting(struct lw__remote *r) {
    const struct lw__greeting *g = &r->conn->greeting;
    const struct lw__wire_lane_state *offer = offer_of(r, g);
    if (!offer) {
        lw__wire_break(&r->conn->wire, "a greeting that is not for a link");
        return;
    }
    r->offered = *offer;
    set_patience(r);
    if (!meet(r)) return;
    lw__remote_hear(r, what_of(g), g->session, g->accepted, g->code, g->words, g->length);
    be_up(r);
}

/* Client: REFUSE. By the application there, now or by a close that was not heard of (it stays connected: who is refused
 * does not ask again), or by the library. */
void lw__remote_on_refused(struct lw__remote *r) {
    const struct lw__words w = r->conn->wire.words;
    char text[LW__WHY + 160];
    if (w.what == LW__SAYS_REFUSED || w.what == LW__SAYS_CLOSED) {
        r->refused = true;
        lw__remote_hear(r, (enum lw__what)w.what, w.session, w.accepted, w.code, w.words, w.length);
        return;
    }
    snprintf(text, sizeof text, "%.*s", (int)w.length, (const char *)w.words);
    lw__remote_fail(r, w.code < 0 ? w.code : LW_EPROTOCOL, text);
}

/* Server: HELLO was heard; has the application said yes? */
void lw__remote_answer(struct lw__remote *r) {
    const struct lw__greeting *g = &r->conn->greeting;
    struct lw__greeting mine;
    struct lw__saying s;
    struct lw__words w = {.what = LW__SAYS_REFUSED};
    _Alignas(8) char text[LW_LOGIN_MAX + 8];
    if (!lw__side_read(lw__link_mine(r->link), &s, text) || s.session != g->session || s.session != r->link->session ||
        s.owner != r->link->bus->owner || s.instance != r->link->instance)
        return;
    if (s.what == LW__SAYS_ACCEPTED) {
        const struct lw__wire_lane_state *offer = offer_of(r, g);
        if (!offer) {
            lw__wire_break(&r->conn->wire, "a greeting that is not for a link");
            return;
        }
        r->offered = *offer;
        if (mismatches(r) || !fill(r, &mine) || !lw__wire_greet(&r->conn->wire, LW__WELCOME, &mine) || !meet(r)) return;
        be_up(r);
        be_met(r);
    } else if (s.what == LW__SAYS_REFUSED) {
        w.session = s.session;
        w.length = (uint32_t)s.length;
        memcpy(w.words, text, s.length);
        lw__wire_words(&r->conn->wire, LW__REFUSE, &w);
        r->greeted = false;
    }
}

/* ---- server: a connection from the door ---------------------------------------------------------------------------- */

static bool is_same(const struct lw__remote *r, const struct lw__greeting *g) {
    return memcmp(r->peer, g->lane[LW__UP_ID].uuid, sizeof r->peer) == 0;
}

static void turn_away(struct lw__conn *conn, int code, const char *words) {
    struct lw__words w = {.what = LW__SAYS_NOTHING, .code = code};
    w.length = (uint32_t)snprintf((char *)w.words, sizeof w.words, "%s", words);
    lw__wire_words(&conn->wire, LW__REFUSE, &w);
    lw__conn_write(conn);
    lw__conn_free(conn);
}

/* Has nobody the name who was let in, or asked about? */
static bool is_refused(const struct lw__remote *r) {
    return r->conn && !r->up && !r->greeted;
}

/* Another one has the name now. Should it be dead, asking makes its host's kernel say so, or its silence tells. */
static void refuse_other(struct lw__remote *r, struct lw__conn *conn) {
    char where[LW__ADDRESS_MAX], words[LW__ADDRESS_MAX + 160];
    lw__conn_peer(r->conn, where);
    snprintf(words, sizeof words, "the name %.63s is in use from %.200s; end that client first, or take another name",
             r->link->client_name, where);
    lw__wire_beat(&r->conn->wire, true);
    lw__conn_write(r->conn);
    turn_away(conn, LW_EHELD, words);
}

static void adopt(struct lw__remote *r, struct lw__conn *conn) {
    const struct lw__greeting *g = &conn->greeting;
    r->conn = conn;
    r->greeted = true;
    r->epoch = g->epoch;
    r->retry_at = INT64_MAX;
    /* Another client, or this one without its files, counts its logins from 1 again: what was said to the one before is no
     * answer to it. */
    if (!is_same(r, g)) r->link->session = r->link->asked = 0;
    memcpy(r->peer, g->lane[LW__UP_ID].uuid, sizeof r->peer);
    r->beat_at = lw__group_now(r->link->source.group) + LW__BEAT;
    set_patience(r);
    open_lanes(r);
    lw__remote_hear(r, what_of(g), g->session, g->accepted, g->code, g->words, g->length);
    lw__remote_schedule(r);
}

/* Of the same client, and later: the one before is over, and whatever of it is still under way is not read any more. */
void lw__remote_arrive(struct lw__remote *r) {
    pthread_mutex_lock(&r->link->club->lock);
    struct lw__conn *conn = r->arrival;
    __atomic_store_n(&r->arrival, NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&r->link->club->lock);
    if (!conn) return;
    bool ours = memcmp(conn->greeting.lane[LW__UP_ID].uuid, r->mirror->file.lane.id->uuid, 16) == 0;
    if (is_refused(r) || (r->conn && !r->up && ours && !is_same(r, &conn->greeting)))
        lw__remote_lose(r, LW_ECLOSED, "another one has come");
    if (r->conn && !is_same(r, &conn->greeting)) {
        refuse_other(r, conn);
        return;
    }
#ifndef LW_PLANT_LATE_HELLO_TAKEN
    if (r->conn && conn->greeting.epoch <= r->epoch) {
        turn_away(conn, LW_ESTATE, "a later connection of this client is here already");
        return;
    }
#endif
    if (r->conn) lw__remote_lose(r, LW_ECLOSED, "the client has connected anew");
    adopt(r, conn);
}

void lw__remote_hand_over(struct lw__remote *r, struct lw__conn *conn) {
    lw__conn_free(r->arrival);
    __atomic_store_n(&r->arrival, conn, __ATOMIC_RELAXED);
    lw__source_ring(&r->link->source);
}

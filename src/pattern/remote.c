/* SPDX-License-Identifier: MIT */
/*
 * pattern/remote.c - the pump: what goes over the connection of a link, and when.
 *
 * Why nothing is lost or repeated, wherever the connection is cut. The sender's lane keeps every message until `far`, the
 * reader's place in it, has passed it; `far` moves only to what the other side said that its reader released. The mirror
 * publishes a chunk whole or not at all, at its tail and nowhere else, and each connection begins with the other side
 * saying where that tail is; the sender goes on exactly there. Bytes of an earlier connection are never read once it
 * was given up. So for every position there is one moment at which it becomes part of the mirror, whatever was sent how
 * often.
 *
 * `received` is the mirror's tail, said after the chunk was published; `consumed` its reader's place, said after that was
 * stored. A death between doing and saying leaves the sender knowing less than is true, which costs bytes that are not
 * sent again (it asks) and room, never a message.
 */
#include "pattern/remote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "pattern/ring.h"

enum {
    CHUNK = 256 << 10, /* bytes in one, unless a batch is longer, or with a little more it is all */
    WORTH = 64 << 10,  /* so many bytes are sent without waiting for more */
    READS =
        256 << 10, /* bytes at one look: others want their turn, and the user may as well take what is in the cache */
    HURRY =
        1 << 16, /* cycles, some 20 us: a message that comes so long after the last one that went is not waited with */
    BREATH = 1 << 13 /* cycles, some 3 us */
};

/* ---- the end of a connection --------------------------------------------------------------------------------------- */

static void drop_conn(struct lw__remote *r) {
    if (!r->conn) return;
    lw__side_reach(lw__link_mine(r->link), 0, NULL);
    lw__source_watch(&r->link->source, -1, 0);
    struct lw__conn *conn = r->conn;
    r->conn = NULL; /* first: another thread may fork meanwhile */
    lw__conn_free(conn);
    r->up = r->met = r->greeted = r->draining = r->refused = r->ack_due = false;
    r->ack_at = r->beat_at = r->give_up_at = r->send_at = INT64_MAX;
    r->silent = 0;
    r->reads = r->went = 0;
    memset(r->lanes, 0, sizeof r->lanes);
    r->full_window = 0;
}

/* Was it worth having? Then the next one is tried for at once; else what ended it would end that one as well. */
static bool was_good(const struct lw__remote *r) {
    if (!r->met) return false;
    return r->lanes[r->out].received > r->met_out || r->mirror->writer.tx.pos > r->met_in ||
           lw__now() - r->met_at > LW_SEC(1);
}

static void lose(struct lw__remote *r, bool at_once) {
    if (at_once && was_good(r)) r->tries = 0;
    drop_conn(r);
    lw__remote_retry(r);
    lw__remote_schedule(r);
    lw__link_review(r->link);
    lw__source_attend(&r->link->source);
}

void lw__remote_lose(struct lw__remote *r, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(r->trouble.words, sizeof r->trouble.words, format, args);
    va_end(args);
    r->trouble.code = code;
    lose(r, true);
}

void lw__remote_fail(struct lw__remote *r, int code, const char *words) {
    bool news = code != r->trouble.code || was_good(r);
    snprintf(r->trouble.words, sizeof r->trouble.words, "%.639s", words);
    r->trouble.code = code;
    if (news) r->link->untold |= 1u << LW_DOWN;
    lose(r, false);
    r->link->down_code = code;
}

void lw__remote_farewell(struct lw__remote *r) {
    struct lw__words words = {.what = LW__SAYS_CLOSED};
    struct lw__saying s;
    _Alignas(8) char text[LW_LOGIN_MAX + 8];
    if (!r->conn || r->conn->connecting) return;
    if (r->greeted && !r->up) lw__remote_answer(r);
    if (!r->conn) return;
    if (!r->up) lw__conn_write(r->conn); /* a refusal: nothing else goes before both have greeted */
    lw__remote_flush(r);
    bool said = r->conn && lw__side_read(lw__link_mine(r->link), &s, text);
    if (said && s.what == LW__SAYS_CLOSED) { /* a refusal stays; and who said nothing just goes */
        words.what = s.what;
        words.code = s.code;
        words.session = s.session;
        words.accepted = s.accepted;
        words.length = (uint32_t)s.length;
        memcpy(words.words, text, s.length);
        if (lw__wire_words(&r->conn->wire, LW__CLOSE, &words)) lw__conn_write(r->conn);
    }
    drop_conn(r);
}

void lw__remote_cut(struct lw_link *link) {
    struct lw__remote *r = link->remote;
    if (r->conn && r->conn->fd >= 0) close(r->conn->fd);
    if (r->arrival && r->arrival->fd >= 0) close(r->arrival->fd);
    if (r->conn) r->conn->fd = -1;
    if (r->arrival) r->arrival->fd = -1;
}

/* ---- when ---------------------------------------------------------------------------------------------------------- */

void lw__remote_schedule(struct lw__remote *r) {
    int64_t when = r->beat_at;
    if (r->ack_at < when) when = r->ack_at;
    if (r->send_at < when) when = r->send_at;
    if (r->retry_at < when) when = r->retry_at;
    if (r->give_up_at < when) when = r->give_up_at;
    lw__source_due(&r->link->source, when);
}

/* Who says nothing for long is gone; whoever has said nothing says that it is there. */
static void beat(struct lw__remote *r, int64_t now) {
    struct lw__wire *w = &r->conn->wire;
    r->beat_at = now + LW__BEAT;
    if (r->conn->connecting) return;
    r->silent = w->reads == r->reads ? r->silent + 1 : 0; /* not frames: a large one may take long */
    r->reads = w->reads;
    if (r->silent * LW__BEAT >= r->patience && !r->refused) {
        lw__remote_lose(r, -ETIMEDOUT, "nothing was heard for %lld s", (long long)(r->patience / LW_SEC(1)));
        return;
    }
    if (w->went == r->went) lw__wire_beat(w, false);
    r->went = w->went;
    lw__remote_drive(r);
}

void lw__remote_due(struct lw__remote *r, int64_t now) {
    if (r->give_up_at <= now) {
        r->give_up_at = INT64_MAX;
        lw__remote_lose(r, -ETIMEDOUT, "no connection within %lld s", (long long)(LW__CONNECT_WITHIN / LW_SEC(1)));
    }
    if (r->retry_at <= now) {
        r->retry_at = INT64_MAX;
        lw__remote_connect(r, now);
    }
    if (r->ack_at <= now) {
        r->ack_at = INT64_MAX;
        r->ack_due = true;
        lw__remote_drive(r);
    }
    if (r->send_at <= now) {
        r->send_at = INT64_MAX;
        if (r->conn) lw__remote_drive(r);
    }
    if (r->conn && r->beat_at <= now) beat(r, now);
    lw__remote_schedule(r);
}

/* ---- what is owed -------------------------------------------------------------------------------------------------- */

/* The window moves when a good part of the ring was consumed: it costs a look at the places of all readers. */
static void owe(struct lw__remote *r) {
    struct lw__writer *m = &r->mirror->writer;
    struct lw__place consumed;
    if (!r->lanes[r->in].announced || !lw__cursor_load(&lw__link_slot(m->lane)->cursor, &consumed)) return;
    if (consumed.pos > m->tx.pos) return;
    if (consumed.pos - r->told_to >= m->lane->ring / 16) {
        r->window = lw__mirror_window(m, consumed.pos);
        r->told_to = consumed.pos;
    }
#ifdef LW_PLANT_CONSUMED_IS_RECEIVED
    consumed = (struct lw__place){.pos = m->tx.pos, .number = m->tx.number};
#endif
    r->ack_due |= consumed.pos - r->lanes[r->in].told >= m->lane->ring / 4;
    lw__wire_owe(&r->conn->wire, r->in, m->tx.pos, consumed.pos, consumed.number, r->window);
}

static void pay_soon(struct lw__remote *r) {
    if (r->ack_at != INT64_MAX) return;
    r->ack_at = lw__now() + LW__ACK_AFTER;
    lw__remote_schedule(r);
}

static void pay(struct lw__remote *r) {
    owe(r);
    bool owes = r->lanes[r->in].owes;
    if (owes && r->ack_due) owes = !lw__wire_ack(&r->conn->wire);
    r->ack_due = false;
    if (owes) pay_soon(r);
}

void lw__remote_rest(struct lw__remote *r) {
    if (r->up) pay(r);
}

/* ---- sending ------------------------------------------------------------------------------------------------------- */

/* The next chunk: from where we are to the end of the log, or of what may go. */
static bool cut_chunk(const struct lw__remote *r, struct lw__place *cut) {
    const struct lw__writer *w = &r->link->ends.out->writer;
    const struct lw__wire_lane *lane = &r->lanes[r->out];
    struct lw__place at = {.pos = lane->at, .number = lane->number};
    uint64_t half = lane->at + w->lane->ring / 2, limit = lane->at + CHUNK, all = limit + CHUNK / 4;
    uint64_t most = half < lane->window ? half : lane->window; /* what may be in one */
    *cut = (struct lw__place){.pos = w->tx.pos, .number = w->tx.number};
    if (cut->pos <= most && cut->pos <= all) return true;
    if (lw__lane_cut(w->lane, &at, limit < most ? limit : most, cut)) return true;
    return lw__lane_cut_first(w->lane, &at, most, cut); /* one batch that is longer */
}

static bool next_chunk(struct lw__remote *r) {
    struct lw__wire_lane *lane = &r->lanes[r->out];
    const struct lw__writer *w = &r->link->ends.out->writer;
    struct lw__place cut;
    if (!lane->ready || r->conn->wire.has_chunk || w->tx.pos <= lane->at) return false;
    if (r->full_at == lane->at && r->full_window == lane->window) return false;
    if (!cut_chunk(r, &cut)) { /* as long as the window stays where it is */
        r->full_at = lane->at;
        r->full_window = lane->window;
        return false;
    }
    return lw__wire_chunk(&r->conn->wire, r->out, w->tx.ring + (lane->at & w->tx.mask), cut.pos - lane->at,
                          cut.number - lane->number);
}

/* Whether the socket takes more is asked by writing; when it does not, the group tells when it does again. */
static int write_all(struct lw__remote *r) {
    int rc;
    do rc = lw__conn_write(r->conn);
    while (!rc && next_chunk(r));
    r->flushed = lw__cycles();
    return rc;
}

/* Until the socket takes more, or the window moves. */
static bool is_stopped(const struct lw__remote *r) {
    return r->conn->full || (r->up && r->link->ends.out->writer.tx.pos != r->lanes[r->out].at);
}

/* A thread that waits on something else than the group is not told when it may go on: it tries now and then, ever more
 * seldom while nothing moves. */
static void try_later(struct lw__remote *r) {
    if (!is_stopped(r) || r->conn->moved) {
        if (r->full_pause != LW__SEND_AFTER) r->send_at = INT64_MAX;
        r->full_pause = LW__SEND_AFTER;
    }
    r->conn->moved = false;
    if (!is_stopped(r) || r->send_at != INT64_MAX) return;
    r->send_at = lw__now() + r->full_pause;
    if (r->full_pause < LW__BEAT) r->full_pause *= 2;
    lw__remote_schedule(r);
}

static void watch(struct lw__remote *r) {
    bool wants_out = r->conn->full || r->conn->connecting;
    int rc = lw__source_watch(&r->link->source, r->conn->fd, wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (rc)
        lw__remote_lose(r, rc, "watching the connection: %s", strerror(-rc));
    else
        try_later(r);
}

void lw__remote_flush(struct lw__remote *r) {
    if (!r->up || r->conn->full) return;
    owe(r);
    next_chunk(r);
    int rc = write_all(r);
    if (rc < 0)
        lw__remote_lose(r, rc, "sending: %s", strerror(-rc));
    else if (is_stopped(r))
        watch(r);
}

static struct lw__remote *remote_of(struct lw__source *source) {
    return ((struct lw_link *)(void *)((char *)source - offsetof(struct lw_link, source)))->remote;
}

/* By the next look at the link, or when its thread waits on something else, soon. */
static void hold_back(struct lw__remote *r) {
    lw__source_attend(&r->link->source);
    if (r->send_at != INT64_MAX) return;
    r->send_at = lw__now() + LW__SEND_AFTER;
    lw__remote_schedule(r);
}

/* A message goes at once when all before it has arrived, or was sent a while ago. Of many in a row it waits for more, for
 * the next look at the link, or for a call that waits: whichever comes first. */
void lw__remote_sent(struct lw__source *source) {
    struct lw__remote *r = remote_of(source);
    const struct lw__wire_lane *lane = &r->lanes[r->out];
    if (!r->up || r->conn->full) return;
    uint64_t waiting = r->link->ends.out->writer.tx.pos - lane->at,
             worth = lane->ring / 4 < WORTH ? lane->ring / 4 : WORTH;
    if (waiting < worth && lane->received != lane->at && lw__cycles() - r->flushed < HURRY) {
        hold_back(r);
        return;
    }
    lw__remote_flush(r);
}

/* A good part of the ring is free again: the other side is told, since it may be waiting, while the user goes on with what
 * came. */
void lw__remote_released(struct lw__source *source) {
    struct lw__remote *r = remote_of(source);
    const struct lw__wire_lane *lane = &r->lanes[r->in];
    if (r->up && r->draining) lw__source_attend(source); /* that may have been the last one */
    if (!r->up || !lane->announced || r->conn->full) return;
    if (r->link->ends.in->reader.rx.head - lane->told < lane->ring / 4) {
        pay_soon(r);
        return;
    }
    owe(r);
    lw__wire_ack(&r->conn->wire);
    lw__remote_flush(r);
}

/* ---- receiving ----------------------------------------------------------------------------------------------------- */

static void on_begin(struct lw__remote *r, const struct lw__wire_event *e) {
    char *place = lw__mirror_land(&r->mirror->writer, e->length);
    if (place)
        lw__wire_land(&r->conn->wire, place);
    else
        lw__wire_break(&r->conn->wire, "messages beyond the window"); /* the session has checked that: it can't be */
}

static void on_chunk(struct lw__remote *r, const struct lw__wire_event *e) {
    int64_t messages = lw__mirror_publish(&r->mirror->writer, e->length, e->first);
    if (messages < 0)
        lw__wire_break(&r->conn->wire, "a chunk that is not whole messages");
    else
        lw__wire_counted(&r->conn->wire, e->lane, (uint64_t)messages);
}

static void on_acked(struct lw__remote *r) {
    const struct lw__wire_lane *lane = &r->lanes[r->out];
    struct lw__reader *far = &r->far->reader;
    if (lane->consumed == far->rx.head) return;
    lw__cursor_store(far->rx.cursor, lane->consumed, lane->consumed_number);
    far->rx.head = far->rx.pos = lane->consumed;
}

static void on_closed(struct lw__remote *r) {
    const struct lw__words words = r->conn->wire.words;
    if (words.what == LW__SAYS_CLOSED) {
        lw__remote_on_said(r, &words);
        lw__remote_lose(r, LW_ECLOSED, "%.*s", (int)words.length, (const char *)words.words);
        return;
    }
    char text[LW__WIRE_WORDS_MAX + 1];
    snprintf(text, sizeof text, "%.*s", (int)words.length, (const char *)words.words);
    lw__remote_fail(r, words.code < 0 ? words.code : LW_EPROTOCOL, text);
}

/* False: the connection is over. */
static bool take_event(struct lw__remote *r, const struct lw__wire_event *e) {
    struct lw__conn *conn = r->conn;
    switch (e->kind) {
    case LW__WIRE_BEGIN:
        on_begin(r, e);
        break;
    case LW__WIRE_CHUNK:
        on_chunk(r, e);
        break;
    case LW__WIRE_ACKED:
        on_acked(r);
        break;
    case LW__WIRE_GREETING:
        lw__remote_on_greeting(r);
        break;
    case LW__WIRE_REFUSED:
        lw__remote_on_refused(r);
        break;
    case LW__WIRE_LANE:
        lw__remote_on_lane(r, &conn->wire.state);
        break;
    case LW__WIRE_SAID:
        lw__remote_on_said(r, &conn->wire.words);
        break;
    case LW__WIRE_CLOSED:
        on_closed(r);
        break;
    case LW__WIRE_BEAT:
        break;
    }
    return r->conn == conn;
}

static bool take_events(struct lw__remote *r) {
    struct lw__wire_event event;
    int rc;
    while ((rc = lw__wire_next(&r->conn->wire, &event)) > 0)
        if (!take_event(r, &event)) return false;
    if (rc == 0) return true;
    struct lw__words words = {.what = LW__SAYS_NOTHING, .code = rc};
    words.length = (uint32_t)snprintf((char *)words.words, sizeof words.words, "%s", r->conn->wire.why);
    if (lw__wire_words(&r->conn->wire, LW__CLOSE, &words)) lw__conn_write(r->conn);
    char why[LW__WHY];
    snprintf(why, sizeof why, "%s", r->conn->wire.why);
    lw__remote_fail(r, rc, why);
    return false;
}

/* After REFUSE nothing is meant for us but the end. */
static void ignore(struct lw__wire *w) {
    w->in_at = w->in_end = 0;
}

/* Is there anything to say but that something came or was consumed? */
static bool has_words(const struct lw__remote *r) {
    const struct lw_link *link = r->link;
    return !r->up || r->draining || r->ack_due || r->conn->wire.ask_back || lw__wire_has_output(&r->conn->wire) ||
           link->ends.out->writer.tx.pos != r->lanes[r->out].at || lw__side_turn(lw__link_mine(link)) != r->said;
}

/* Cheap, as the one above: a link that is looked at each turn mostly has nothing. */
static bool owes(const struct lw__remote *r) {
    const struct lw__wire_lane *in = &r->lanes[r->in];
    return r->link->ends.in->reader.rx.head != in->consumed || r->mirror->writer.tx.pos != in->received;
}

/* While the other side fills our socket, each look at it holds the filling up: so in the middle of a chunk, where nothing
 * can be done yet with what came, there is a pause after a look that found the socket empty. */
static bool takes_a_breath(const struct lw__remote *r) {
    return r->conn->wire.dest && lw__cycles() - r->emptied < BREATH;
}

static bool read_all(struct lw__remote *r) {
    const struct lw__wire *w = &r->conn->wire;
    bool more = true;
    if (takes_a_breath(r)) return true;
    if (w->in_at != w->in_end && !r->refused && !take_events(r)) return false; /* what came with HELLO */
    for (int64_t sum = 0, got; sum < READS && more; sum += got) {
        got = lw__conn_read(r->conn, &more);
        if (got < 0) {
            lw__remote_lose(r, (int)got, "%s", got == LW_ECLOSED ? "the connection was closed" : strerror((int)-got));
            return false;
        }
        if (got == 0) break;
        if (r->refused)
            ignore(&r->conn->wire);
        else if (!take_events(r))
            return false;
    }
    if (more)
        lw__source_attend(&r->link->source);
    else
        r->emptied = lw__cycles();
    return true;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------- */

static bool finish_connecting(struct lw__remote *r) {
    int rc = lw__conn_finish(r->conn);
    if (rc < 0) lw__remote_lose(r, rc, "connecting to %s: %s", r->address.text, strerror(-rc));
    if (rc) return false;
    if (lw__remote_hello(r)) return true;
    lw__remote_lose(r, LW_ESTATE, "no room for HELLO");
    return false;
}

static void send_rest(struct lw__remote *r) {
    if (r->greeted && !r->up) lw__remote_answer(r);
    if (!r->conn) return;
    if (r->up && r->draining) lw__remote_drained(r);
    if (!r->conn) return;
    if (r->up) lw__remote_say(r);
    if (r->conn->wire.ask_back && lw__wire_beat(&r->conn->wire, false)) r->conn->wire.ask_back = false;
    if (r->up) pay(r);
    if (r->up) next_chunk(r);
    int rc = write_all(r);
    if (rc < 0)
        lw__remote_lose(r, rc, "sending: %s", strerror(-rc));
    else
        watch(r);
}

bool lw__remote_drive(struct lw__remote *r) {
    bool was_up = r->up;
    if (__atomic_load_n(&r->arrival, __ATOMIC_RELAXED)) lw__remote_arrive(r);
    if (!r->conn) return was_up != r->up;
    if (r->conn->connecting && !finish_connecting(r)) return was_up != r->up;
    uint64_t tail = r->mirror->writer.tx.pos;
    if (!read_all(r)) return was_up != r->up;
    bool came = r->mirror->writer.tx.pos != tail; /* the user first: the answer takes along what is owed */
    if (has_words(r) || (!came && owes(r))) send_rest(r);
    return was_up != r->up;
}

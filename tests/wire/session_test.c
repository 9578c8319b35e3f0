/* SPDX-License-Identifier: MIT */
/* Two sessions back to back: whatever pieces the bytes come in, all comes, in order, and within the windows. */
#include "wire/session.h"

#include "util/util.h"

#define MUST(condition) assert_true(condition)
#include "wire/pair.h"

enum { CLIENT, SERVER };

static const uint64_t lengths[] = {8, 16, 504, 40, 24};

static bool say(struct pair *p, int who, enum lw__wire_kind kind, const char *text) {
    struct lw__words words = {.what = 4, .code = -5, .session = 7, .accepted = 1, .length = (uint32_t)strlen(text)};
    memcpy(words.words, text, strlen(text));
    return lw__wire_words(&p->end[who].wire, kind, &words);
}

static struct pair_end *writer_of(struct pair *p, uint16_t lane) {
    return &p->end[lane % 2];
}

static struct pair_end *reader_of(struct pair *p, uint16_t lane) {
    return &p->end[1 - lane % 2];
}

/* A bit of everything. Returns how many chunks were written. */
static uint64_t talk(struct pair *p) {
    uint64_t written = 0;
    pair_greet(p);
    for (unsigned round = 0; round < 3; round++) {
        for (uint16_t i = 0; i < p->end[0].count; i++) {
            written += end_write(writer_of(p, i), i, lengths[(round + i) % 5]);
            if (i % 2) pair_settle(p); /* one chunk of each side at a time */
        }
        pair_settle(p);
        for (uint16_t i = 0; i < p->end[0].count; i++)
            if ((round + i) % 2 && reader_of(p, i)->wire.lanes) end_release(reader_of(p, i), i, 8 * round);
        if (round == 1) say(p, CLIENT, LW__SAY, "a word");
        lw__wire_beat(&p->end[SERVER].wire, round == 2);
        lw__wire_ack(&p->end[round % 2].wire);
        pair_settle(p);
    }
    for (int who = 0; who < 2; who++) say(p, who, LW__CLOSE, "bye");
    pair_settle(p);
    return written;
}

/* Did all come that is said in talk()? */
static bool all_came(const struct pair *p, uint64_t written) {
    const struct pair_end *c = &p->end[CLIENT], *s = &p->end[SERVER];
    bool ok =
        !c->wire.why && !s->wire.why && c->greetings == 1 && s->greetings == 1 && c->closed == 1 && s->closed == 1;
    return ok && s->said == 1 && c->wire.ask_back && written == 3 * c->count && c->chunks + s->chunks == written;
}

static void a_conversation(uint32_t lanes, size_t push, size_t pull) {
    struct pair *p = pair_open(lanes, LW__FEATURE_CRC, LW__FEATURE_CRC);
    p->push = push;
    p->pull = pull;
    assert_true(all_came(p, talk(p)));
    for (uint16_t i = 0; i < lanes; i++) {
        assert_int_equal(reader_of(p, i)->have[i].came, writer_of(p, i)->lanes[i].at);
        assert_int_equal(reader_of(p, i)->have[i].came_number, writer_of(p, i)->lanes[i].number);
    }
    assert_int_equal(p->end[SERVER].last.length, 3);
    assert_memory_equal(p->end[SERVER].last.words, "bye", 3);
    free(p);
}

/* ---- conversations ------------------------------------------------------------------------------------------------ */

static void all_comes_in_one_piece(void **state) {
    (void)state;
    a_conversation(2, SIZE_MAX, SIZE_MAX);
    a_conversation(5, SIZE_MAX, SIZE_MAX);
}

static void all_comes_in_pieces_of_any_size(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 700; piece += piece < 150 ? 1 : 13) {
        a_conversation(2, SIZE_MAX, piece);
        a_conversation(5, SIZE_MAX, piece);
    }
}

static void all_goes_in_pieces_of_any_size(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 700; piece += piece < 150 ? 1 : 13) {
        a_conversation(2, piece, SIZE_MAX);
        a_conversation(5, piece, piece);
    }
}

static void a_cut_between_any_two_bytes_is_not_seen(void **state) {
    (void)state;
    for (int way = 0; way < 2; way++) {
        uint64_t total = UINT64_MAX;
        for (uint64_t at = 0; at <= total; at++) {
            struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
            p->pipe[way].split_at = at;
            assert_true(all_came(p, talk(p)));
            total = p->pipe[way].total;
            free(p);
        }
    }
}

/* What was not whole is as if it was never sent; that is no breach of the rules. */
static void every_truncation_is_a_shorter_conversation(void **state) {
    (void)state;
    for (int way = 0; way < 2; way++) {
        uint64_t total = UINT64_MAX;
        for (uint64_t at = 0; at < total; at++) {
            struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
            if (total != UINT64_MAX) p->pipe[way].cut_at = at;
            bool whole = all_came(p, talk(p));
            if (total == UINT64_MAX) total = p->pipe[way].total;
            assert_true(p->pipe[way].cut_at == UINT64_MAX || !whole);
            assert_true(!p->end[0].wire.why && !p->end[1].wire.why);
            free(p);
        }
    }
}

/* One step of the random schedule. */
static void random_step(struct pair *p) {
    uint16_t lane = (uint16_t)(t_random() % p->end[0].count);
    int who = t_random() & 1;
    switch (t_random() % 12) {
    case 0:
    case 1:
        end_write(writer_of(p, lane), lane, 8 + t_random() % 16 * 8);
        return;
    case 2:
        end_write(writer_of(p, lane), lane, 8 + t_random() % (RING / 16) * 8);
        return;
    case 3:
        if (reader_of(p, lane)->wire.lanes) end_release(reader_of(p, lane), lane, t_random() % 64 * 8);
        return;
    case 4:
        lw__wire_ack(&p->end[who].wire);
        return;
    case 5:
        if (p->end[who].wire.stage == LW__WIRE_OPEN) say(p, who, LW__SAY, "words between");
        return;
    case 6:
        if (p->end[who].wire.stage != LW__WIRE_NEW) lw__wire_beat(&p->end[who].wire, t_random() & 1);
        return;
    case 7:
    case 8:
        pair_push(p, who, 1 + t_random() % 100);
        return;
    case 9:
        pair_push(p, who, 1 + t_random() % 5000);
        return;
    case 10:
        pair_pull(p, who, 1 + t_random() % 5000);
        return;
    default:
        pair_pull(p, who, 1 + t_random() % 100);
    }
}

static void random_schedule(uint32_t lanes, uint64_t features) {
    struct pair *p = pair_open(lanes, features, LW__FEATURE_CRC);
    struct lw__greeting g = pair_greeting(&p->end[CLIENT]);
    uint64_t chunks = 0;
    assert_true(lw__wire_greet(&p->end[CLIENT].wire, LW__HELLO, &g));
    for (int i = 0; i < 3000; i++) random_step(p);
    pair_settle(p);
    for (uint16_t i = 0; i < lanes; i++) {
        assert_int_equal(reader_of(p, i)->have[i].came, writer_of(p, i)->lanes[i].at);
        assert_int_equal(reader_of(p, i)->have[i].came_number, writer_of(p, i)->lanes[i].number);
        end_release(reader_of(p, i), i, 0);
        chunks += reader_of(p, i)->have[i].chunks;
    }
    for (int who = 0; who < 2; who++) assert_true(lw__wire_ack(&p->end[who].wire));
    pair_settle(p);
    for (uint16_t i = 0; i < lanes; i++)
        assert_int_equal(writer_of(p, i)->lanes[i].consumed, writer_of(p, i)->lanes[i].at);
    assert_true(chunks > 0 && !p->end[0].wire.why && !p->end[1].wire.why);
    free(p);
}

static void any_schedule_delivers_all_in_order(void **state) {
    (void)state;
    for (int64_t i = 0; i < t_loops(400); i++) random_schedule(i % 2 ? 2 : 5, i % 3 ? LW__FEATURE_CRC : 0);
}

/* ---- windows and acknowledgements --------------------------------------------------------------------------------- */

static struct pair *opened(uint32_t lanes) {
    struct pair *p = pair_open(lanes, LW__FEATURE_CRC, LW__FEATURE_CRC);
    pair_greet(p);
    return p;
}

/* Writes on a lane until the window is full. */
static void fill_window(struct pair *p, uint16_t lane) {
    while (end_write(writer_of(p, lane), lane, 512)) pair_settle(p);
    while (end_write(writer_of(p, lane), lane, 8)) pair_settle(p);
    assert_int_equal(writer_of(p, lane)->lanes[lane].at, writer_of(p, lane)->lanes[lane].window);
}

static void control_is_read_while_every_window_is_full(void **state) {
    (void)state;
    struct pair *p = opened(5);
    for (uint16_t i = 0; i < 5; i++) fill_window(p, i);
    for (int who = 0; who < 2; who++) {
        unsigned beats = p->end[1 - who].beats;
        assert_true(say(p, who, LW__SAY, "still here"));
        assert_true(lw__wire_beat(&p->end[who].wire, true));
        pair_settle(p);
        assert_int_equal(p->end[1 - who].said, 1);
        assert_int_equal(p->end[1 - who].beats, beats + 1);
    }
    for (uint16_t i = 0; i < 5; i++) {
        end_release(reader_of(p, i), i, 0);
        assert_true(lw__wire_ack(&reader_of(p, i)->wire));
        pair_settle(p);
        assert_true(end_write(writer_of(p, i), i, 2048));
        pair_settle(p);
    }
    assert_true(!p->end[0].wire.why && !p->end[1].wire.why);
    free(p);
}

static void a_chunk_beyond_the_window_does_not_go(void **state) {
    (void)state;
    struct pair *p = opened(2);
    struct pair_end *c = &p->end[CLIENT];
    while (c->lanes[0].at + 1024 <= c->lanes[0].window) {
        assert_true(end_write(c, 0, 1024));
        pair_settle(p);
    }
    uint64_t left = c->lanes[0].window - c->lanes[0].at, went = c->wire.went;
    assert_false(end_write(c, 0, left + 8));
    assert_false(end_write(c, 0, RING / 2 + 8));
    assert_false(end_write(c, 0, 12));
    assert_int_equal(c->wire.went, went);
    assert_true(end_write(c, 0, left));
    free(p);
}

static void nothing_goes_before_the_reader_is_ready(void **state) {
    (void)state;
    struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
    p->end[SERVER].draining = true;
    pair_greet(p);
    assert_false(end_write(&p->end[CLIENT], 0, 8));
    assert_false(p->end[SERVER].lanes[0].announced);
    assert_true(end_write(&p->end[SERVER], 1, 8));
    end_say_lanes(&p->end[SERVER], LW__READY);
    pair_settle(p);
    assert_true(end_write(&p->end[CLIENT], 0, 8));
    pair_settle(p);
    assert_int_equal(p->end[SERVER].chunks, 1);
    free(p);
}

static void an_acknowledgement_rides_on_a_chunk(void **state) {
    (void)state;
    struct pair *p = opened(2);
    assert_true(end_write(&p->end[CLIENT], 0, 64));
    pair_settle(p);
    uint64_t went = p->end[SERVER].wire.went;
    assert_true(end_write(&p->end[SERVER], 1, 8));
    pair_settle(p);
    assert_int_equal(p->end[SERVER].wire.went, went + 1);
    assert_int_equal(p->end[CLIENT].acked, 1);
    assert_int_equal(p->end[CLIENT].lanes[0].received, p->end[CLIENT].lanes[0].at);
    free(p);
}

static void an_acknowledgement_goes_alone_once(void **state) {
    (void)state;
    struct pair *p = opened(2);
    uint64_t went = p->end[SERVER].wire.went;
    assert_true(lw__wire_ack(&p->end[SERVER].wire));
    assert_int_equal(p->end[SERVER].wire.went, went);
    assert_true(end_write(&p->end[CLIENT], 0, 64));
    pair_settle(p);
    for (int i = 0; i < 3; i++) assert_true(lw__wire_ack(&p->end[SERVER].wire));
    pair_settle(p);
    assert_int_equal(p->end[SERVER].wire.went, went + 1);
    assert_int_equal(p->end[CLIENT].acked, 1);
    free(p);
}

/* A lane that always owes does not keep the others from telling. */
static void the_acknowledgements_of_all_lanes_ride(void **state) {
    (void)state;
    struct pair *p = opened(5);
    struct pair_end *server = &p->end[SERVER];
    for (uint16_t i = 2; i < 5; i += 2) {
        assert_true(end_write(&p->end[CLIENT], i, 8));
        pair_settle(p);
    }
    for (int round = 0; round < 3; round++) {
        assert_true(end_write(&p->end[CLIENT], 0, 8));
        pair_settle(p);
        assert_true(lw__wire_beat(&server->wire, false));
        pair_settle(p);
    }
    assert_false(server->lanes[2].owes || server->lanes[4].owes);
    free(p);
}

static void all_that_is_owed_goes_at_once(void **state) {
    (void)state;
    struct pair *p = opened(5);
    for (uint16_t i = 0; i < 5; i += 2) {
        assert_true(end_write(&p->end[CLIENT], i, 8));
        pair_settle(p);
    }
    assert_true(lw__wire_ack(&p->end[SERVER].wire));
    pair_settle(p);
    assert_int_equal(p->end[CLIENT].acked, 3);
    free(p);
}

/* ---- the queue ---------------------------------------------------------------------------------------------------- */

/* A session whose queue has so many beats in it. */
static struct pair *queued(unsigned beats, bool greeted) {
    struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
    if (greeted) pair_greet(p);
    for (unsigned i = 0; i < beats; i++) assert_true(lw__wire_beat(&p->end[SERVER].wire, false));
    return p;
}

/* 4,096 bytes; words and greetings need room for the longest ones. */
static void a_full_queue_says_so(void **state) {
    static const struct {
        unsigned beats;
        bool beat, lane, words, greeting;
    } cases[] = {{20, true, true, true, true},    {21, true, true, true, false},   {46, true, true, true, false},
                 {47, true, true, false, false},  {61, true, true, false, false},  {62, true, false, false, false},
                 {63, true, false, false, false}, {64, false, false, false, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int what = 0; what < 4; what++) {
            struct pair *p = queued(cases[i].beats, what != 3);
            struct lw__wire *w = &p->end[SERVER].wire;
            struct lw__wire_lane_state lane = pair_state(0, LW__TAKES);
            struct lw__greeting g = pair_greeting(&p->end[SERVER]);
            uint64_t went = w->went;
            const bool expected[] = {cases[i].beat, cases[i].lane, cases[i].words, cases[i].greeting};
            bool did = what == 0   ? lw__wire_beat(w, false)
                       : what == 1 ? lw__wire_lane_is(w, &lane)
                       : what == 2 ? say(p, SERVER, LW__SAY, "")
                                   : lw__wire_greet(w, LW__WELCOME, &g);
            assert_int_equal(did, expected[what]);
            assert_int_equal(w->went, went + did);
            free(p);
        }
}

static void a_lane_of_nobody_is_not_said(void **state) {
    (void)state;
    struct pair *p = opened(2);
    struct lw__wire_lane_state lane = pair_state(2, LW__TAKES);
    assert_false(lw__wire_lane_is(&p->end[SERVER].wire, &lane));
    free(p);
}

/* What waits goes when there is room again, in order; also between the pieces of a chunk. */
static void what_has_no_room_goes_later(void **state) {
    (void)state;
    struct pair *p = opened(2);
    struct pair_end *server = &p->end[SERVER], *client = &p->end[CLIENT];
    while (lw__wire_beat(&server->wire, false)) continue;
    assert_true(end_write(client, 0, 8));
    pair_push(p, CLIENT, SIZE_MAX);
    pair_pull(p, SERVER, SIZE_MAX);
    assert_false(lw__wire_ack(&server->wire));
    assert_true(server->lanes[0].owes);
    pair_push(p, SERVER, 63);
    assert_false(lw__wire_ack(&server->wire));
    pair_push(p, SERVER, 1);
    assert_true(lw__wire_ack(&server->wire));
    assert_false(lw__wire_beat(&server->wire, false));
    assert_true(end_write(server, 1, 40)); /* a chunk has a place of its own */
    pair_settle(p);
    assert_int_equal(client->beats, 64);
    assert_int_equal(client->acked, 1);
    assert_int_equal(client->chunks, 1);
    assert_true(end_write(server, 1, 40) && lw__wire_beat(&server->wire, false) && say(p, SERVER, LW__SAY, "after it"));
    p->push = 7;
    pair_settle(p);
    assert_true(client->beats == 65 && client->said == 1 && client->chunks == 2 && !client->wire.why);
    free(p);
}

/* The server's answer may have to wait for its application. */
static void a_welcome_goes_behind_beats(void **state) {
    (void)state;
    struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
    p->end[SERVER].silent = true;
    pair_greet(p);
    for (int i = 0; i < 3; i++) assert_true(lw__wire_beat(&p->end[SERVER].wire, false));
    pair_push(p, SERVER, 70);
    p->end[SERVER].silent = false;
    end_on_greeting(&p->end[SERVER]);
    pair_settle(p);
    assert_true(p->end[CLIENT].beats == 3 && p->end[CLIENT].greetings == 1 && !p->end[CLIENT].wire.why);
    assert_string_equal(p->end[CLIENT].theirs.server, "gate");
    free(p);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void data_and_its_acknowledgement_come_before_the_close(void **state) {
    (void)state;
    struct pair *p = opened(2);
    assert_true(end_write(&p->end[CLIENT], 0, 2048));
    assert_true(say(p, CLIENT, LW__CLOSE, "done"));
    pair_settle(p);
    assert_int_equal(p->end[SERVER].chunks, 1);
    assert_int_equal(p->end[SERVER].closed, 1);
    end_release(&p->end[SERVER], 0, 0);
    assert_true(say(p, SERVER, LW__CLOSE, "all consumed"));
    pair_settle(p);
    assert_int_equal(p->end[CLIENT].closed, 1);
    assert_int_equal(p->end[CLIENT].acked, 1);
    assert_int_equal(p->end[CLIENT].lanes[0].consumed, p->end[CLIENT].lanes[0].at);
    free(p);
}

static void nothing_goes_after_the_close(void **state) {
    (void)state;
    struct pair *p = opened(2);
    struct lw__wire *w = &p->end[CLIENT].wire;
    assert_true(say(p, CLIENT, LW__CLOSE, ""));
    uint64_t went = w->went;
    assert_false(say(p, CLIENT, LW__SAY, "") || say(p, CLIENT, LW__CLOSE, "") || lw__wire_beat(w, false));
    assert_false(end_write(&p->end[CLIENT], 0, 8));
    assert_int_equal(w->went, went);
    pair_settle(p);
    assert_true(end_write(&p->end[SERVER], 1, 8)); /* the other way is still open */
    pair_settle(p);
    assert_int_equal(p->end[CLIENT].chunks, 1);
    free(p);
}

static void a_refusal_has_words(void **state) {
    (void)state;
    struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
    p->end[SERVER].silent = true;
    pair_greet(p);
    assert_true(say(p, SERVER, LW__REFUSE, "only on weekdays"));
    pair_settle(p);
    assert_int_equal(p->end[CLIENT].refusals, 1);
    assert_memory_equal(p->end[CLIENT].last.words, "only on weekdays", 16);
    assert_true(p->end[CLIENT].wire.stage == LW__WIRE_OVER && !p->end[CLIENT].wire.why);
    free(p);
}

/* The caller may ask again before it says where a chunk lies; and what was said before is not forgotten. */
static void a_chunk_waits_for_its_place(void **state) {
    (void)state;
    struct pair *p = opened(2);
    struct lw__wire *w = &p->end[SERVER].wire;
    struct lw__wire_event event;
    unsigned char bytes[128];
    struct iovec to[2];
    assert_true(end_write(&p->end[CLIENT], 0, 64));
    assert_int_equal(end_take(&p->end[CLIENT], bytes, sizeof bytes), 128);
    for (int i = 0; i < 128; i++) {
        assert_int_equal(lw__wire_want(w, to), 1);
        ((unsigned char *)to[0].iov_base)[0] = bytes[i];
        lw__wire_got(w, 1);
        for (int again = 0; again < 3; again++) assert_int_equal(lw__wire_next(w, &event), i >= 71);
        if (i >= 71) assert_int_equal(event.kind, LW__WIRE_BEGIN);
    }
    lw__wire_land(w, (char *)end_place(&p->end[SERVER], 0, event.position));
    assert_int_equal(lw__wire_next(w, &event), 1);
    assert_int_equal(event.kind, LW__WIRE_CHUNK);
    free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_comes_in_one_piece),
        cmocka_unit_test(all_comes_in_pieces_of_any_size),
        cmocka_unit_test(all_goes_in_pieces_of_any_size),
        cmocka_unit_test(a_cut_between_any_two_bytes_is_not_seen),
        cmocka_unit_test(every_truncation_is_a_shorter_conversation),
        cmocka_unit_test(any_schedule_delivers_all_in_order),
        cmocka_unit_test(control_is_read_while_every_window_is_full),
        cmocka_unit_test(a_chunk_beyond_the_window_does_not_go),
        cmocka_unit_test(nothing_goes_before_the_reader_is_ready),
        cmocka_unit_test(an_acknowledgement_rides_on_a_chunk),
        cmocka_unit_test(an_acknowledgement_goes_alone_once),
        cmocka_unit_test(the_acknowledgements_of_all_lanes_ride),
        cmocka_unit_test(all_that_is_owed_goes_at_once),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(a_lane_of_nobody_is_not_said),
        cmocka_unit_test(what_has_no_room_goes_later),
        cmocka_unit_test(a_welcome_goes_behind_beats),
        cmocka_unit_test(data_and_its_acknowledgement_come_before_the_close),
        cmocka_unit_test(nothing_goes_after_the_close),
        cmocka_unit_test(a_refusal_has_words),
        cmocka_unit_test(a_chunk_waits_for_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

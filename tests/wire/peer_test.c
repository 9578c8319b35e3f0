/* SPDX-License-Identifier: MIT */
/* What a peer may send that breaks the rules: each is refused with its reason, and nothing else comes of it. */
#include "util/util.h"
#include "wire/session.h"

#define MUST(condition) assert_true(condition)
#include "wire/pair.h"

enum { CLIENT, SERVER };

static unsigned char bytes[LW__FRAME + 65536];

/* A frame of any contents, with the checksum that belongs to it. */
static size_t make(const struct lw__frame *frame, const void *payload) {
    struct lw__frame f = *frame;
    if (payload) memcpy(bytes + LW__FRAME, payload, f.length);
    lw__frame_put(bytes, &f);
    f.crc = lw__frame_crc(bytes, bytes + LW__FRAME, f.length, NULL, 0);
    lw__frame_put(bytes, &f);
    return LW__FRAME + f.length;
}

static void refused(const struct pair_end *e, const char *why, size_t which) {
    const char *is = e->wire.why ? e->wire.why : "fine";
    int code = strcmp(why, lw__wire_no_version) == 0 ? LW_EVERSION : LW_EPROTOCOL;
    if (strcmp(is, why) != 0 || e->error != code || e->wire.stage != LW__WIRE_OVER)
        fail_msg("case %zu: %s, not: %s", which, is, why);
}

/* Both are open, with two lanes; the server has written a chunk of 64 bytes on lane 1, which went. */
static struct pair *opened(uint64_t features) {
    struct pair *p = pair_open(2, features, LW__FEATURE_CRC);
    pair_greet(p);
    assert_true(end_write(&p->end[SERVER], 1, 64));
    pair_push(p, SERVER, SIZE_MAX);
    return p;
}

/* ---- frames that may not come ------------------------------------------------------------------------------------- */

struct bad {
    const char *why;
    struct lw__frame frame;
};

/* Gives each to the server, after the case's own beginning. */
static void all_are_refused(const struct bad *bad, size_t count, void (*begin)(struct pair *)) {
    for (size_t i = 0; i < count; i++)
        for (size_t piece = 1; piece < 5000; piece += 4998) {
            struct pair *p = opened(LW__FEATURE_CRC);
            struct pair_end *server = &p->end[SERVER];
            if (begin) begin(p);
            memset(bytes, 0, sizeof bytes);
            size_t size = make(&bad[i].frame, NULL);
            end_feed(server, bytes, size, piece);
            refused(server, bad[i].why, i);
            assert_int_equal(server->chunks, 0);
            free(p);
        }
}

/* Lane 0 of pair_state(): what arrived ends here. */
enum { AT = 3 * RING + ARRIVED, AT_NUMBER = 1, WINDOW = 4 * RING };

static const char no_lane[] = "messages on a lane that is not open";
static const char bad_length[] = "a chunk of a length that can not be";
static const char disorder[] = "messages out of order";

static void chunks_that_can_not_be(void **state) {
    static const struct bad bad[] = {
        {no_lane, {.kind = LW__DATA, .lane = 1, .length = 8, .position = AT, .number = AT_NUMBER}},
        {no_lane, {.kind = LW__DATA, .lane = 2, .length = 8, .position = AT, .number = AT_NUMBER}},
        {no_lane, {.kind = LW__DATA, .lane = 65535, .length = 8, .position = AT, .number = AT_NUMBER}},
        {bad_length, {.kind = LW__DATA, .length = 0, .position = AT, .number = AT_NUMBER}},
        {bad_length, {.kind = LW__DATA, .length = 4, .position = AT, .number = AT_NUMBER}},
        {bad_length, {.kind = LW__DATA, .length = 12, .position = AT, .number = AT_NUMBER}},
        {bad_length, {.kind = LW__DATA, .length = RING / 2 + 8, .position = AT, .number = AT_NUMBER}},
        {disorder, {.kind = LW__DATA, .length = 8, .position = AT + 8, .number = AT_NUMBER}},
        {disorder, {.kind = LW__DATA, .length = 8, .position = AT - 8, .number = AT_NUMBER}},
        {disorder, {.kind = LW__DATA, .length = 8, .position = 0, .number = AT_NUMBER}},
        {disorder, {.kind = LW__DATA, .length = 8, .position = UINT64_MAX - 7, .number = AT_NUMBER}},
        {disorder, {.kind = LW__DATA, .length = 8, .position = AT, .number = AT_NUMBER + 1}},
        {disorder, {.kind = LW__DATA, .length = 8, .position = AT, .number = UINT64_MAX}},
    };
    (void)state;
    all_are_refused(bad, sizeof bad / sizeof *bad, NULL);
}

static void no_window(struct pair *p) {
    p->end[SERVER].lanes[0].window = AT + 64;
}

static void the_last_positions(struct pair *p) {
    p->end[SERVER].lanes[0].at = LW__WIRE_END - 64;
    p->end[SERVER].lanes[0].window = UINT64_MAX - 7;
}

static void chunks_beyond_the_window(void **state) {
    static const char why[] = "messages beyond the window";
    static const struct bad bad[] = {{why, {.kind = LW__DATA, .length = 72, .position = AT, .number = AT_NUMBER}},
                                     {why, {.kind = LW__DATA, .length = 2048, .position = AT, .number = AT_NUMBER}}};
    static const struct bad last[] = {
        {why, {.kind = LW__DATA, .length = 64, .position = LW__WIRE_END - 64, .number = AT_NUMBER}}};
    (void)state;
    all_are_refused(bad, 2, no_window);
    all_are_refused(last, 1, the_last_positions);
}

/* Lane 1: the server has sent up to here, in so many messages. */
enum { FROM = 6 * RING, SENT = FROM + ARRIVED + 64, FROM_NUMBER = 1000 };
enum { SENT_NUMBER = FROM_NUMBER + 1 + 1 + ((FROM + ARRIVED) * 7 + 64) % 8 };

#define ACK(lane_, reader_, received_, consumed_, number_, window_)                                                    \
    {                                                                                                                  \
        .kind = LW__ACK, .flags = LW__FRAME_ACK, .ack_lane = lane_, .ack_reader = reader_, .received = received_,      \
        .consumed = consumed_, .consumed_number = number_, .window = window_                                           \
    }

static void acknowledgements_that_can_not_be(void **state) {
    static const char closed[] = "an acknowledgement of a lane that is not open";
    static const char unsent[] = "an acknowledgement of what was not sent";
    static const char unarrived[] = "messages consumed that did not arrive";
    static const char count[] = "a wrong count of messages consumed";
    static const char back[] = "a window taken back";
    enum { W = FROM + RING, A = FROM + ARRIVED, N = FROM_NUMBER };
    static const struct bad bad[] = {
        {closed, ACK(0, 0, A, FROM, N, W)},
        {closed, ACK(2, 0, A, FROM, N, W)},
        {closed, ACK(65535, 0, A, FROM, N, W)},
        {closed, ACK(1, 1, A, FROM, N, W)},
        {unsent, ACK(1, 0, SENT + 8, FROM, N, W)},
        {unsent, ACK(1, 0, UINT64_MAX - 7, FROM, N, W)},
        {unsent, ACK(1, 0, A - 8, FROM, N, W)},
        {unsent, ACK(1, 0, A + 4, FROM, N, W)},
        {unarrived, ACK(1, 0, A, A + 8, N + 2, W)},
        {unarrived, ACK(1, 0, A, FROM - 8, N, W)},
        {unarrived, ACK(1, 0, A, FROM + 4, N, W)},
        {unarrived, ACK(1, 0, A, UINT64_MAX - 7, N, W)},
        {count, ACK(1, 0, A, FROM, N + 1, W)},
        {count, ACK(1, 0, A, FROM + 8, N, W)},
        {count, ACK(1, 0, A, FROM + 8, N - 1, W)},
        {count, ACK(1, 0, A, FROM + 8, N + 2, W)},
        {count, ACK(1, 0, A, FROM + 8, UINT64_MAX, W)},
        {count, ACK(1, 0, SENT, SENT, SENT_NUMBER - 1, W)},
        {count, ACK(1, 0, SENT, SENT, SENT_NUMBER + 1, W)},
        {count, ACK(1, 0, SENT, SENT - 8, SENT_NUMBER, W)},
        {back, ACK(1, 0, A, FROM, N, W - 8)},
        {back, ACK(1, 0, A, FROM, N, W + 8)},
        {back, ACK(1, 0, A, FROM, N, W + 4)},
        {back, ACK(1, 0, A, FROM, N, 0)},
        {back, ACK(1, 0, A, FROM, N, UINT64_MAX - 7)},
    };
    (void)state;
    struct pair *p = opened(LW__FEATURE_CRC);
    assert_int_equal(p->end[SERVER].lanes[1].at, SENT);
    assert_int_equal(p->end[SERVER].lanes[1].number, SENT_NUMBER);
    static const struct lw__frame fine = ACK(1, 0, SENT, SENT, SENT_NUMBER, SENT + RING);
    end_feed(&p->end[SERVER], bytes, make(&fine, NULL), 5000);
    assert_int_equal(p->end[SERVER].acked, 1);
    free(p);
    all_are_refused(bad, sizeof bad / sizeof *bad, NULL);
}

/* The chunk has not gone to its last byte, so it can not have arrived. */
/* One that is sent from where it lies; a small one is copied, and may. */
static void a_chunk_on_its_way_is_not_acknowledged(void **state) {
    enum { LONG = 1024 };
    static const struct lw__frame ack = ACK(1, 0, SENT + LONG, FROM, FROM_NUMBER, FROM + RING);
    (void)state;
    for (size_t went = 0; went <= LW__FRAME + LONG; went++) {
        struct pair *p = opened(LW__FEATURE_CRC);
        assert_true(end_write(&p->end[SERVER], 1, LONG));
        pair_push(p, SERVER, went);
        end_feed(&p->end[SERVER], bytes, make(&ack, NULL), 5000);
        if (went < LW__FRAME + LONG) refused(&p->end[SERVER], "an acknowledgement of what was not sent", went);
        assert_int_equal(p->end[SERVER].acked, went == LW__FRAME + LONG);
        free(p);
    }
}

static void frames_out_of_place(void **state) {
    static const char unknown[] = "a frame of unknown kind";
    static const char second[] = "a second greeting";
    static const struct bad bad[] = {
        {unknown, {.kind = 0}},
        {unknown, {.kind = LW__CLOSE + 1}},
        {unknown, {.kind = 255}},
        {second, {.kind = LW__HELLO, .position = LW__WIRE_MAGIC, .number = 0x10001, .length = LW__GREETING_SIZE}},
        {second, {.kind = LW__WELCOME, .position = LW__WIRE_MAGIC, .number = 0x10001, .length = LW__GREETING_SIZE}},
        {second, {.kind = LW__REFUSE, .position = LW__WIRE_MAGIC, .number = 0x10001, .length = LW__WORDS_SIZE}},
        {"a frame that is too long", {.kind = LW__SAY, .length = LW__CONTROL_MAX + 1}},
        {"a frame that is too long", {.kind = LW__LANE, .length = UINT32_MAX}},
        {"a frame that is too long", {.kind = LW__CLOSE, .length = 0x80000000}},
        {"a frame with bytes that has none", {.kind = LW__ACK, .length = 8}},
        {"a frame with bytes that has none", {.kind = LW__BEAT, .length = 1}},
        {"words that are cut off", {.kind = LW__SAY, .length = 0}},
        {"words that are cut off", {.kind = LW__CLOSE, .length = LW__WORDS_SIZE - 1}},
        {"words of another size", {.kind = LW__SAY, .length = LW__CONTROL_MAX}},
        {"a lane of another size", {.kind = LW__LANE, .length = LW__LANE_SIZE + 1}},
        {"a lane of another size", {.kind = LW__LANE, .length = LW__CONTROL_MAX}},
        {"a lane that is neither written nor read", {.kind = LW__LANE, .length = LW__LANE_SIZE}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pair *p = opened(LW__FEATURE_CRC);
        struct lw__frame f = bad[i].frame;
        bool long_one = f.length > LW__CONTROL_MAX;
        memset(bytes, 0, sizeof bytes);
        if (long_one) f.length = 0;
        make(&f, NULL);
        if (long_one) memcpy(bytes + 4, &bad[i].frame.length, 4);
        end_feed(&p->end[SERVER], bytes, LW__FRAME + f.length, 1);
        refused(&p->end[SERVER], bad[i].why, i);
        free(p);
    }
}

static void say_lane(struct pair_end *to, const struct lw__wire_lane_state *lane, uint16_t head_lane) {
    unsigned char payload[LW__LANE_SIZE];
    lw__lane_put(payload, lane);
    const struct lw__frame f = {.kind = LW__LANE, .length = LW__LANE_SIZE, .lane = head_lane};
    end_feed(to, bytes, make(&f, payload), 5000);
}

static void a_lane_is_told_by_its_own_side_and_once(void **state) {
    static const struct {
        const char *why;
        uint16_t id, head;
        enum lw__lane_role role;
    } bad[] = {{"a lane that nobody has", 0, 0, LW__TAKES},      {"a lane that nobody has", 1, 1, LW__OFFERS},
               {"a lane that nobody has", 2, 2, LW__TAKES},      {"a lane that nobody has", 65535, 65535, LW__OFFERS},
               {"a lane that nobody has", 1, 0, LW__TAKES},      {"a lane that is open already", 1, 1, LW__TAKES},
               {"a lane that is open already", 0, 0, LW__OFFERS}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pair *p = opened(LW__FEATURE_CRC);
        struct lw__wire_lane_state lane = pair_state(bad[i].id == 65535 ? 0 : bad[i].id, bad[i].role);
        lane.id = bad[i].id;
        say_lane(&p->end[SERVER], &lane, bad[i].head);
        refused(&p->end[SERVER], bad[i].why, i);
        assert_int_equal(p->end[SERVER].lanes[1].at, SENT);
        free(p);
    }
}

/* ---- greetings ---------------------------------------------------------------------------------------------------- */

static size_t make_greeting(uint8_t kind, uint64_t magic, uint64_t versions, uint64_t features) {
    const struct pair_end like = {.count = 2, .server = kind != LW__HELLO};
    struct lw__greeting g = pair_greeting(&like);
    unsigned char payload[LW__CONTROL_MAX];
    struct lw__frame f = {.kind = kind, .position = magic, .number = versions, .received = features};
    f.length = lw__greeting_put(payload, &g);
    return make(&f, payload);
}

static void a_connection_begins_with_these_bytes(void **state) {
    static const struct {
        const char *why;
        uint8_t kind;
        uint64_t magic, versions;
    } bad[] = {{"a connection begins with HELLO", LW__WELCOME, LW__WIRE_MAGIC, 0x10001},
               {"a connection begins with HELLO", LW__REFUSE, LW__WIRE_MAGIC, 0x10001},
               {"a connection begins with HELLO", LW__BEAT, LW__WIRE_MAGIC, 0x10001},
               {"a connection begins with HELLO", LW__CLOSE, LW__WIRE_MAGIC, 0x10001},
               {"a connection begins with HELLO", 200, LW__WIRE_MAGIC, 0x10001},
               {"this is no Laneway connection", LW__HELLO, 0, 0x10001},
               {"this is no Laneway connection", LW__HELLO, LW__WIRE_MAGIC ^ 1, 0x10001},
               {"no version in common", LW__HELLO, LW__WIRE_MAGIC, 0x00000},
               {"no version in common", LW__HELLO, LW__WIRE_MAGIC, 0x00001},
               {"no version in common", LW__HELLO, LW__WIRE_MAGIC, 0x20002},
               {"no version in common", LW__HELLO, LW__WIRE_MAGIC, 0xffff0002}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
        size_t size = make_greeting(bad[i].kind, bad[i].magic, bad[i].versions, 0);
        end_feed(&p->end[SERVER], bytes, size, 7);
        refused(&p->end[SERVER], bad[i].why, i);
        assert_false(lw__wire_has_output(&p->end[SERVER].wire));
        free(p);
    }
}

/* The session looks into the greeting, not only at its header. */
static void a_greeting_is_looked_into(void **state) {
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
        struct lw__greeting g = pair_greeting(&p->end[CLIENT]);
        if (who == CLIENT) assert_true(lw__wire_greet(&p->end[CLIENT].wire, LW__HELLO, &g));
        g.client[0] = '/';
        unsigned char payload[LW__CONTROL_MAX];
        struct lw__frame f = {.kind = who == CLIENT ? LW__WELCOME : LW__HELLO, .position = LW__WIRE_MAGIC};
        f.number = 0x10001;
        f.length = lw__greeting_put(payload, &g);
        size_t size = make(&f, payload);
        end_feed(&p->end[who], bytes, size, 100);
        refused(&p->end[who], "a name that is none", 0);
        assert_int_equal(p->end[who].greetings, 0);
        free(p);
    }
}

static void a_later_version_that_speaks_this_one_too_is_welcome(void **state) {
    (void)state;
    struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
    size_t size = make_greeting(LW__HELLO, LW__WIRE_MAGIC, UINT64_C(0xabcd) << 32 | 0x90001, UINT64_MAX);
    end_feed(&p->end[SERVER], bytes, size, size);
    assert_int_equal(p->end[SERVER].wire.stage, LW__WIRE_OPEN);
    assert_int_equal(p->end[SERVER].wire.features, LW__FEATURE_CRC);
    free(p);
}

static void an_http_server_is_told_apart(void **state) {
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
        struct lw__greeting g = pair_greeting(&p->end[CLIENT]);
        if (who == CLIENT) assert_true(lw__wire_greet(&p->end[CLIENT].wire, LW__HELLO, &g));
        end_feed(&p->end[who], (const unsigned char *)answer, sizeof answer - 1, 9);
        refused(&p->end[who], who == CLIENT ? "this is no Laneway connection" : "a connection begins with HELLO", 0);
        free(p);
    }
}

static void nothing_but_life_and_the_end_comes_before_the_answer(void **state) {
    static const uint8_t kinds[] = {LW__HELLO, LW__WELCOME, LW__REFUSE, LW__DATA, LW__ACK, LW__LANE, LW__SAY};
    (void)state;
    for (int who = 0; who < 2; who++)
        for (size_t i = 0; i < sizeof kinds; i++) {
            if (who == CLIENT && (kinds[i] == LW__WELCOME || kinds[i] == LW__REFUSE)) continue;
            struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
            p->end[SERVER].silent = true;
            pair_greet(p);
            const struct lw__frame beat = {.kind = LW__BEAT, .flags = LW__FRAME_ASK}, bad = {.kind = kinds[i]};
            end_feed(&p->end[who], bytes, make(&beat, NULL), 5000);
            assert_int_equal(p->end[who].beats, 1);
            assert_true(p->end[who].wire.ask_back);
            end_feed(&p->end[who], bytes, make(&bad, NULL), 5000);
            refused(&p->end[who], "a frame before the answer to HELLO", i);
            free(p);
        }
}

static void features_are_those_that_both_have(void **state) {
    (void)state;
    for (uint64_t c = 0; c < 8; c++)
        for (uint64_t s = 0; s < 8; s++) {
            struct pair *p = pair_open(2, c, s);
            pair_greet(p);
            for (int who = 0; who < 2; who++) {
                assert_int_equal(p->end[who].wire.features, c & s);
                assert_int_equal(p->end[who].wire.crc, c & s & LW__FEATURE_CRC);
            }
            assert_true(end_write(&p->end[CLIENT], 0, 40));
            pair_settle(p);
            assert_int_equal(p->end[SERVER].chunks, 1);
            free(p);
        }
}

static void a_feature_that_was_not_offered_is_refused(void **state) {
    (void)state;
    struct pair *p = pair_open(2, LW__FEATURE_CRC, LW__FEATURE_CRC);
    struct lw__greeting g = pair_greeting(&p->end[CLIENT]);
    assert_true(lw__wire_greet(&p->end[CLIENT].wire, LW__HELLO, &g));
    size_t size = make_greeting(LW__WELCOME, LW__WIRE_MAGIC, 0x10001, LW__FEATURE_CRC | 2);
    end_feed(&p->end[CLIENT], bytes, size, size);
    refused(&p->end[CLIENT], "features that were not offered", 0);
    free(p);
}

/* Before both have agreed on something, all is checked; without checksums nothing has one after that. */
static void checksums_go_when_both_agreed(void **state) {
    static const unsigned char none[4];
    unsigned char frame[LW__FRAME + 40];
    (void)state;
    for (int crc = 0; crc < 2; crc++) {
        struct pair *p = pair_open(2, crc ? LW__FEATURE_CRC : 0, LW__FEATURE_CRC);
        pair_greet(p);
        assert_true(end_write(&p->end[CLIENT], 0, 40));
        assert_int_equal(end_take(&p->end[CLIENT], frame, sizeof frame), sizeof frame);
        assert_int_equal(memcmp(frame, none, 4) != 0, crc);
        frame[0] ^= 0x55;
        end_feed(&p->end[SERVER], frame, sizeof frame, 11);
        if (crc) refused(&p->end[SERVER], "a wrong checksum", 0);
        assert_int_equal(p->end[SERVER].chunks, !crc);
        free(p);
        p = pair_open(2, crc ? LW__FEATURE_CRC : 0, LW__FEATURE_CRC);
        p->pipe[CLIENT].flip_at = LW__FRAME + 144;
        p->pipe[CLIENT].flip = 1;
        pair_greet(p);
        refused(&p->end[SERVER], "a wrong checksum", 0);
        free(p);
    }
}

/* ---- damage on the way -------------------------------------------------------------------------------------------- */

/* True: all came. */
static bool short_talk(struct pair *p) {
    static const uint64_t lengths[] = {8, 40};
    struct lw__words words = {.length = 2, .words = "ab"};
    uint64_t written = 0;
    pair_greet(p);
    for (int round = 0; round < 2; round++) {
        for (uint16_t i = 0; i < 2; i++) written += end_write(&p->end[i], i, lengths[round]);
        pair_settle(p);
        for (uint16_t i = 0; i < 2; i++)
            if (p->end[1 - i].wire.lanes) end_release(&p->end[1 - i], i, 0);
    }
    for (int who = 0; who < 2; who++) {
        lw__wire_ack(&p->end[who].wire);
        lw__wire_words(&p->end[who].wire, LW__SAY, &words);
    }
    pair_settle(p);
    for (int who = 0; who < 2; who++) lw__wire_words(&p->end[who].wire, LW__CLOSE, &words);
    pair_settle(p);
    uint64_t chunks = p->end[0].chunks + p->end[1].chunks;
    bool ok = !p->end[0].wire.why && !p->end[1].wire.why && p->end[0].said + p->end[1].said == 2;
    return ok && p->end[0].closed + p->end[1].closed == 2 && written == 4 && chunks == 4;
}

/* Each bit of a conversation: with checksums nothing wrong is ever told, and nobody takes the whole for good; without them
 * nothing is written where it should not be. end_event() and end_on_chunk() look at that. */
static void flip_each_bit(uint64_t features) {
    for (int way = 0; way < 2; way++) {
        struct pair *p = pair_open(2, features, LW__FEATURE_CRC);
        assert_true(short_talk(p));
        uint64_t bits = p->pipe[way].total * 8, step = 1 + (uint64_t)(t_loops(20) == 1) * 6;
        free(p);
        for (uint64_t bit = t_random() % step; bit < bits; bit += step) {
            p = pair_open(2, features, LW__FEATURE_CRC);
            p->end[0].lenient = p->end[1].lenient = !features;
            p->pipe[way].flip_at = bit / 8;
            p->pipe[way].flip = (unsigned char)(1 << bit % 8);
            bool came = short_talk(p);
            if (features && came) fail_msg("bit %llu of way %d was not noticed", (unsigned long long)bit, way);
            free(p);
        }
    }
}

static void each_flipped_bit_is_found(void **state) {
    (void)state;
    flip_each_bit(LW__FEATURE_CRC);
}

static void each_flipped_bit_stays_within_bounds_without_checksums(void **state) {
    (void)state;
    flip_each_bit(0);
}

/* What is over stays over, and a chunk that was half there leaves its first eight bytes alone. */
static void what_is_over_stays_over(void **state) {
    (void)state;
    struct pair *p = opened(LW__FEATURE_CRC);
    struct pair_end *server = &p->end[SERVER];
    struct lw__wire_event event;
    unsigned char *place = end_place(server, 0, server->have[0].came);
    assert_true(end_write(&p->end[CLIENT], 0, 64));
    p->pipe[CLIENT].flip_at = p->pipe[CLIENT].total + LW__FRAME + 63;
    p->pipe[CLIENT].flip = 0x10;
    pair_settle(p);
    refused(server, "a wrong checksum", 0);
    for (int i = 0; i < 8; i++) assert_int_equal(place[i], 0xee);
    for (int i = 0; i < 3; i++) assert_int_equal(lw__wire_next(&server->wire, &event), LW_EPROTOCOL);
    free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_that_can_not_be),
        cmocka_unit_test(chunks_beyond_the_window),
        cmocka_unit_test(acknowledgements_that_can_not_be),
        cmocka_unit_test(a_chunk_on_its_way_is_not_acknowledged),
        cmocka_unit_test(frames_out_of_place),
        cmocka_unit_test(a_lane_is_told_by_its_own_side_and_once),
        cmocka_unit_test(a_connection_begins_with_these_bytes),
        cmocka_unit_test(a_greeting_is_looked_into),
        cmocka_unit_test(a_later_version_that_speaks_this_one_too_is_welcome),
        cmocka_unit_test(an_http_server_is_told_apart),
        cmocka_unit_test(nothing_but_life_and_the_end_comes_before_the_answer),
        cmocka_unit_test(features_are_those_that_both_have),
        cmocka_unit_test(a_feature_that_was_not_offered_is_refused),
        cmocka_unit_test(checksums_go_when_both_agreed),
        cmocka_unit_test(each_flipped_bit_is_found),
        cmocka_unit_test(each_flipped_bit_stays_within_bounds_without_checksums),
        cmocka_unit_test(what_is_over_stays_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

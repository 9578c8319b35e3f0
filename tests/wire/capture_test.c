/* SPDX-License-Identifier: MIT */
/*
 * A conversation of two sessions with real records in it, cut into segments as TCP might, written as a capture to the file
 * that LW_CAPTURE names; tests/tool/dissector_test.sh looks at it. Without that it is looked at here only.
 */
#include "util/util.h"
#include "wire/session.h"

#define MUST(condition) assert_true(condition)
#include "wire/pair.h"

enum { CLIENT, SERVER, PORT = 7001, CLIENT_PORT = 40000 };

/* ---- a capture, as libpcap writes it ------------------------------------------------------------------------------ */

static FILE *capture;
static uint32_t sequence[2], segments;

static void put_big(unsigned char *to, int bytes, uint32_t value) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
}

static void begin_capture(const char *path) {
    const uint32_t head[] = {0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, 101 /* IP packets */};
    capture = fopen(path, "wb");
    assert_non_null(capture);
    assert_int_equal(fwrite(head, sizeof head, 1, capture), 1);
    sequence[0] = 1000;
    sequence[1] = 5000;
}

/* 1: FIN, 2: SYN, 8: PSH, 16: ACK. */
static void segment(int from, unsigned flags, const unsigned char *bytes, uint32_t size) {
    unsigned char packet[40] = {0x45, 0};
    const uint32_t record[] = {1700000000, ++segments * 1000, 40 + size, 40 + size};
    put_big(packet + 2, 2, 40 + size);
    put_big(packet + 8, 2, 64 << 8 | 6);
    put_big(packet + 12, 4, 0x0a000001 + (uint32_t)from);
    put_big(packet + 16, 4, 0x0a000002 - (uint32_t)from);
    put_big(packet + 20, 2, from == CLIENT ? CLIENT_PORT : PORT);
    put_big(packet + 22, 2, from == CLIENT ? PORT : CLIENT_PORT);
    put_big(packet + 24, 4, sequence[from]);
    put_big(packet + 28, 4, flags & 16 ? sequence[1 - from] : 0);
    put_big(packet + 32, 4, 0x50000000 | flags << 16 | 65535);
    sequence[from] += size + !!(flags & 3);
    if (!capture) return;
    assert_int_equal(fwrite(record, sizeof record, 1, capture), 1);
    assert_int_equal(fwrite(packet, sizeof packet, 1, capture), 1);
    assert_int_equal(fwrite(bytes, 1, size, capture), size);
}

/* ---- the conversation --------------------------------------------------------------------------------------------- */

/* What each wants to send, in segments of 300 bytes at most: so frames go over several, and several go in one. */
static void exchange(struct pair *p) {
    unsigned char bytes[300];
    size_t size;
    bool moved;
    do {
        moved = false;
        for (int from = 0; from < 2; from++) {
            if ((size = end_take(&p->end[from], bytes, sizeof bytes)) == 0) continue;
            moved = true;
            segment(from, 24, bytes, (uint32_t)size);
            end_feed(&p->end[1 - from], bytes, size, size);
        }
    } while (moved);
}

static uint64_t add_record(unsigned char *to, uint64_t at, uint16_t type, bool more, const char *text) {
    uint64_t length = strlen(text), header = length | (uint64_t)type << 32 | UINT64_C(0x8000) << 48;
    if (more) header |= UINT64_C(0x4000) << 48;
    memcpy(to + at, &header, 8);
    memset(to + at + 8, 0, (length + 7) & ~UINT64_C(7));
    memcpy(to + at + 8, text, length);
    return at + ((length + 15) & ~UINT64_C(7));
}

static void send_records(struct pair *p, int from, uint16_t lane) {
    static const char *const texts[] = {"hello", "", "a batch of two", "its second record"};
    unsigned char *chunk = p->end[from].have[lane].memory + GUARD;
    uint64_t at = 0;
    for (uint16_t i = 0; i < 4; i++) at = add_record(chunk, at, (uint16_t)(7 + i), i == 2, texts[i]);
    for (int i = 0; i < 20; i++) at = add_record(chunk, at, 100, false, "one of many that go over several segments");
    assert_true(lw__wire_chunk(&p->end[from].wire, lane, chunk, at, 24));
    exchange(p);
}

static void converse(uint64_t features) {
    struct pair *p = pair_open(2, features, LW__FEATURE_CRC);
    struct lw__greeting hello = pair_greeting(&p->end[CLIENT]);
    struct lw__words words = {.what = 4, .code = -2008, .session = 7, .length = 4, .words = "done"};
    for (int i = 0; i < 2; i++) p->end[i].lenient = p->end[i].records = true;
    segment(CLIENT, 2, NULL, 0);
    segment(SERVER, 18, NULL, 0);
    segment(CLIENT, 16, NULL, 0);
    assert_true(lw__wire_greet(&p->end[CLIENT].wire, LW__HELLO, &hello));
    exchange(p);
    send_records(p, CLIENT, 0);
    send_records(p, SERVER, 1);
    end_release(&p->end[SERVER], 0, 0);
    assert_true(lw__wire_ack(&p->end[SERVER].wire));
    assert_true(lw__wire_beat(&p->end[CLIENT].wire, true));
    words.what = 1;
    assert_true(lw__wire_words(&p->end[CLIENT].wire, LW__SAY, &words));
    exchange(p);
    words.what = 4;
    for (int i = 0; i < 2; i++) assert_true(lw__wire_words(&p->end[i].wire, LW__CLOSE, &words));
    exchange(p);
    for (int i = 0; i < 2; i++) assert_true(p->end[i].closed == 1 && p->end[i].chunks == 1 && !p->end[i].wire.why);
    segment(CLIENT, 17, NULL, 0);
    segment(SERVER, 17, NULL, 0);
    free(p);
}

static void a_conversation_with_records(void **state) {
    const char *path = getenv("LW_CAPTURE");
    (void)state;
    if (path) begin_capture(path);
    converse(getenv("LW_CAPTURE_NO_CRC") ? 0 : LW__FEATURE_CRC);
    if (capture) assert_int_equal(fclose(capture), 0);
    capture = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_conversation_with_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * golden_test - files of format version 3, kept in tests/golden, stay readable and are written the same way again.
 *
 * tests/golden/README.md says what is in each. They are made by the functions make_*() below, with a fixed uuid and
 * boot id and fixed tickets, so that making them again gives the same bytes, checksum and all.
 *
 * A failure here means that files of older programs mean something else now. If that is intended: raise the version or
 * the fingerprint, change docs/spec/lane.md, and make them anew, in the root of the source tree, with
 *
 *     LW_GOLDEN_WRITE=1 build/gcc/tests/lane-golden_test
 */
#include "util/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "lane/lane.h"

enum { RING = 4096, SIZE_MAX_OF_ALL = 16384 };

#define OWNER(epoch, node) ((uint64_t)(epoch) << 32 | (uint64_t)(node) << 16)

static const unsigned char uuid[16] = {0x67, 0x6f, 0x6c, 0x64, 0x65, 0x6e, 0x40, 0x6c,
                                       0x80, 0x6e, 0x65, 0x77, 0x61, 0x79, 0x30, 0x31};
static const unsigned char boot[16] = "boot id of tests";

/* Larger pages are another layout. */
#define NEEDS_SMALL_PAGES()                                                                                            \
    if (sysconf(_SC_PAGESIZE) != LW__PAGE) t_skip(__func__, "needs pages of 4 KiB")

/* A file in memory, mapped. */
struct file {
    int fd;
    size_t size;
    struct lw__lane lane;
};

static bool all_gone(void *context, uint64_t owner) {
    (void)context, (void)owner;
    return true;
}
static bool all_alive(void *context, uint64_t owner) {
    (void)context, (void)owner;
    return false;
}
static const struct lw__owners dead = {.closed = all_gone, .gone = all_gone},
                               alive = {.closed = all_alive, .gone = all_alive};

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int memory_file(const void *bytes, size_t size) {
    int fd = memfd_create("golden", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    if (bytes) assert_int_equal(pwrite(fd, bytes, size, 0), size);
    return fd;
}

/* What is random in a new file becomes fixed. */
static void set_uuid(int fd) {
    struct lw__lane_id id;
    assert_int_equal(pread(fd, &id, sizeof id, 0), sizeof id);
    memcpy(id.uuid, uuid, sizeof id.uuid);
    id.crc = lw__crc32c(0, &id, offsetof(struct lw__lane_id, crc));
    assert_int_equal(pwrite(fd, &id, sizeof id, 0), sizeof id);
}

static void make(struct file *file, const struct lw__lane_shape *shape) {
    file->size = lw__lane_file_size(shape);
    file->fd = memory_file(NULL, file->size);
    assert_int_equal(lw__lane_format(file->fd, shape, boot), 0);
    set_uuid(file->fd);
    assert_ok(lw__lane_map(&file->lane, file->fd, LW__WRITE, "new"));
}

static void done(struct file *file) {
    lw__lane_unmap(&file->lane);
    close(file->fd);
}

static FILE *golden(const char *name, const char *mode) {
    char path[128];
    snprintf(path, sizeof path, "tests/golden/%s", name);
    FILE *f = fopen(path, mode);
    if (!f) fail_msg("%s: %s (run this in the root of the source tree)", path, strerror(errno));
    return f;
}

static size_t load(const char *name, unsigned char *bytes) {
    FILE *f = golden(name, "rb");
    size_t size = fread(bytes, 1, SIZE_MAX_OF_ALL, f);
    fclose(f);
    return size;
}

/* A copy of a golden file, to be changed at will. */
static void open_copy(struct file *file, const char *name) {
    unsigned char bytes[SIZE_MAX_OF_ALL];
    file->size = load(name, bytes);
    file->fd = memory_file(bytes, file->size);
    assert_ok(lw__lane_map(&file->lane, file->fd, LW__WRITE, name));
}

static void save(const char *name, const unsigned char *bytes, size_t size) {
    FILE *f = golden(name, "wb");
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void compare(const char *name, const unsigned char *bytes, size_t size) {
    unsigned char kept[SIZE_MAX_OF_ALL];
    if (getenv("LW_GOLDEN_WRITE")) save(name, bytes, size);
    assert_int_equal(load(name, kept), size);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != kept[i]) fail_msg("%s: byte %zu is %02x now, was %02x", name, i, bytes[i], kept[i]);
}

/* Tickets count up within a process: they are made those of a fresh one. */
static void set_tickets(const struct lw__lane *lane) {
    for (uint32_t i = 0; i < lane->slots_max; i++)
        if (lane->slots[i].ticket) lane->slots[i].ticket = i + 1;
}

static void compare_file(const char *name, const struct file *file) {
    unsigned char bytes[SIZE_MAX_OF_ALL];
    set_tickets(&file->lane);
    assert_int_equal(pread(file->fd, bytes, sizeof bytes, 0), file->size);
    compare(name, bytes, file->size);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

struct record {
    uint64_t pos, number;
    uint16_t type;
    uint32_t len;
    bool more;
};

/* Byte i of message n is n + i. */
static void fill(void *data, uint64_t number, size_t len) {
    for (size_t i = 0; i < len; i++) ((unsigned char *)data)[i] = (unsigned char)(number + i);
}

static void put(struct lw__writer *w, uint16_t type, size_t len) {
    unsigned char data[RING];
    fill(data, w->tx.number, len);
    assert_ok(lw__writer_send(w, type, data, len));
}

static void put_shorter(struct lw__writer *w, uint16_t type, size_t room, size_t len) {
    void *data;
    assert_int_equal(lw__writer_reserve(w, &data, room), 0);
    fill(data, w->tx.number, len);
    assert_ok(lw__writer_commit(w, type, len));
}

static void put_batch(struct lw__writer *w, uint16_t type, const size_t *lens, size_t count) {
    unsigned char data[8][64];
    struct lw_item items[8];
    for (size_t i = 0; i < count; i++) {
        fill(data[i], w->tx.number + i, lens[i]);
        items[i] = (struct lw_item){.data = data[i], .len = lens[i], .type = (uint16_t)(type + i)};
    }
    assert_ok(lw__writer_send_batch(w, items, count));
}

static void expect_record(const struct lw_msg *msg, const struct record *want) {
    unsigned char data[RING];
    fill(data, want->number, want->len);
    assert_int_equal(msg->position, want->pos);
    assert_int_equal(msg->number, want->number);
    assert_int_equal(msg->type, want->type);
    assert_int_equal(msg->len, want->len);
    assert_int_equal((msg->flags & LW_MSG_MORE) != 0, want->more);
    assert_memory_equal(msg->data, data, want->len);
}

/* Exactly these, and then the end. */
static void expect(struct lw__reader *r, const struct record *want, size_t count) {
    struct lw_msg msg;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(lw__reader_next(r, &msg), 1);
        expect_record(&msg, &want[i]);
    }
    assert_int_equal(lw__reader_next(r, &msg), LW_EEMPTY);
}

static void expect_from_oldest(struct file *file, const struct record *want, size_t count) {
    struct lw__reader r;
    assert_int_equal(lw__reader_take(&r, &file->lane, OWNER(99, 9) | LW__SLOT_RELIABLE, &alive), 0);
    assert_int_equal(lw__reader_join(&r, LW_FROM_OLDEST, 0), 0);
    expect(&r, want, count);
    lw__reader_leave(&r);
}

static void expect_verified(struct file *file, uint64_t records, uint64_t batches) {
    struct lw__lane_check check;
    if (lw__lane_verify(&file->lane, &check)) fail_msg("position %llu: %s", (unsigned long long)check.bad, check.what);
    assert_int_equal(check.records, records);
    assert_int_equal(check.batches, batches);
}

/* ---- records.lane: every kind of record, around the ring's end --------------------------------------------------- */

static const struct record records[] = {
    {9200, 1001, 19, 2032, false}, /* the largest for this ring */
    {11240, 1002, 1, 5, false},    {11256, 1003, 2, 0, false},    {11264, 1004, 65535, 8, false},
    {11280, 1005, 4, 10, false}, /* committed shorter than reserved */
    {11304, 1006, 10, 1, true},    {11320, 1007, 11, 0, true},    {11328, 1008, 12, 40, false},
    {11376, 1009, 20, 700, false}, {12088, 1010, 21, 200, false}, /* over the ring's end */
    {12296, 1011, 30, 8, true},    {12312, 1012, 31, 9, false}};

static void release(struct lw__reader *r, size_t count) {
    struct lw_msg msg;
    while (count--) assert_int_equal(lw__reader_next(r, &msg), 1);
    assert_int_equal(lw_sub_release((struct lw_sub *)(void *)r, &msg), 0);
}

static void put_all_kinds(struct lw__writer *w) {
    void *data;
    put(w, 1, 5);
    put(w, 2, 0);
    put(w, 0xffff, 8);
    put_shorter(w, 4, 100, 10);
    assert_int_equal(lw__writer_reserve(w, &data, 80), 0);
    memset(data, 0xee, 80); /* leaves bytes beyond the tail that mean nothing */
    lw__writer_abort(w);
    put_batch(w, 10, (const size_t[]){1, 0, 40}, 3);
    put(w, 20, 700);
}

static void put_staged_batch(struct lw__writer *w) {
    void *data;
    assert_int_equal(lw__writer_reserve(w, &data, 30), 0);
    fill(data, w->tx.number, 8);
    assert_int_equal(lw__writer_stage(w, 30, 8), 0);
    assert_int_equal(lw__writer_reserve(w, &data, 9), 0);
    fill(data, w->tx.number + 1, 9);
    assert_ok(lw__writer_commit(w, 31, 9));
}

static void make_records(struct file *file) {
    struct lw__lane_shape shape = {.ring = RING,
                                   .slots = 4,
                                   .start = 2 * RING,
                                   .number = 1000,
                                   .schema = "golden",
                                   .schema_hash = 0x1122334455667788};
    struct lw__writer w;
    struct lw__reader r;
    make(file, &shape);
    assert_int_equal(lw__writer_take(&w, &file->lane, OWNER(5, 2), &alive), 0);
    assert_int_equal(lw__reader_take(&r, &file->lane, OWNER(6, 3) | LW__SLOT_RELIABLE, &alive), 0);
    assert_int_equal(lw__reader_join(&r, LW_FROM_NOW, 0), 0);
    put(&w, 18, 1000);
    release(&r, 1);
    put(&w, 19, w.lane->record_max);
    put_all_kinds(&w);
    put(&w, 21, 200); /* over the ring's end */
    put_staged_batch(&w);
    lw__reader_leave(&r);
    lw__writer_leave(&w);
}

static void every_kind_of_record_is_written_and_read_as_ever(void **state) {
    (void)state;
    NEEDS_SMALL_PAGES();
    struct file file;
    make_records(&file);
    compare_file("records.lane", &file);
    done(&file);
    open_copy(&file, "records.lane");
    assert_string_equal(file.lane.id->schema, "golden");
    assert_int_equal(file.lane.id->schema_hash, 0x1122334455667788);
    assert_int_equal(file.lane.id->start, 2 * RING);
    assert_memory_equal(file.lane.state->boot, boot, sizeof boot);
    expect_from_oldest(&file, records, sizeof records / sizeof *records);
    expect_verified(&file, 12, 2);
    done(&file);
}

/* ---- dead-writer.lane: killed between two stores ----------------------------------------------------------------- */

static const struct record of_the_dead[] = {{2040, 1, 2, 2032, false},
                                            {4080, 2, 3, 0, false},
                                            {4088, 3, 40, 20, true},
                                            {4120, 4, 41, 0, true},
                                            {4128, 5, 42, 33, false}};

/* The stores of a commit come in this order: header, tail, mark. What came after the header is taken back. */
static void die_after_the_header(struct lw__writer *w) {
    struct lw__lane_ctl *ctl = w->lane->ctl, before = *ctl;
    void *data;
    put_batch(w, 40, (const size_t[]){20, 0, 33}, 3);
    ctl->tail = before.tail;
    memcpy(ctl->marks, before.marks, sizeof ctl->marks);
    assert_int_equal(lw__writer_reserve(w, &data, 100), 0);
    memset(data, 0xdd, 60); /* filled half */
}

static void make_dead_writer(struct file *file) {
    struct lw__lane_shape shape = {.ring = RING, .slots = 1};
    struct lw__writer w;
    make(file, &shape);
    assert_int_equal(lw__writer_take(&w, &file->lane, OWNER(7, 3), &alive), 0);
    put(&w, 1, w.lane->record_max);
    put(&w, 2, w.lane->record_max);
    put(&w, 3, 0); /* the next header is in the ring's last 8 bytes */
    die_after_the_header(&w);
}

static void what_a_dead_writer_left_is_taken_over_as_ever(void **state) {
    (void)state;
    NEEDS_SMALL_PAGES();
    const size_t count = sizeof of_the_dead / sizeof *of_the_dead;
    struct file file;
    struct lw__writer w;
    make_dead_writer(&file);
    compare_file("dead-writer.lane", &file);
    done(&file);
    open_copy(&file, "dead-writer.lane");
    assert_int_equal(lw__writer_take(&w, &file.lane, OWNER(8, 4), &alive), LW_EWRITER);
    assert_int_equal(w.holder, OWNER(7, 3));
    expect_from_oldest(&file, of_the_dead, count); /* before anybody mended anything */
    expect_verified(&file, 5, 1);
    assert_int_equal(lw__writer_take(&w, &file.lane, OWNER(8, 4), &dead), 0);
    assert_int_equal(file.lane.ctl->tail.pos & ~UINT64_C(7), w.tx.pos);
    expect_from_oldest(&file, of_the_dead, count);
    put(&w, 50, 3);
    expect_verified(&file, 6, 1);
    lw__writer_leave(&w);
    done(&file);
}

/* ---- readers.lane: places of readers, owned, left and dead ------------------------------------------------------- */

enum { MESSAGES = 10 };

/* `take`, give the place a name (or none), release `count`. */
static void make_reader(struct lw__reader *r, struct lw__lane *lane, const char *name, size_t count) {
    assert_int_equal(lw__reader_take(r, lane, OWNER(9, 4) | LW__SLOT_RELIABLE, &alive), 0);
    assert_int_equal(lw__reader_join(r, LW_FROM_OLDEST, 0), 0);
    if (name) lw__slot_make_durable(r, name);
    if (count) release(r, count);
}

static void make_readers(struct file *file) {
    struct lw__lane_shape shape = {.ring = RING, .slots = 5};
    struct lw__writer w;
    struct lw__reader r;
    make(file, &shape);
    assert_int_equal(lw__writer_take(&w, &file->lane, OWNER(5, 2), &alive), 0);
    for (uint16_t i = 0; i < MESSAGES; i++) put(&w, i, 20u + i);
    lw__writer_leave(&w);
    make_reader(&r, &file->lane, "alpha", 3);
    lw__reader_leave(&r);
    make_reader(&r, &file->lane, "beta", 6); /* the others die */
    make_reader(&r, &file->lane, NULL, 1);
    assert_int_equal(lw__reader_take(&r, &file->lane, OWNER(9, 5) | LW__SLOT_RELIABLE, &alive), 0);
}

static void expect_resumed(struct file *file, const char *name, uint64_t from) {
    struct lw__reader r;
    struct lw_msg msg;
    uint64_t holder;
    struct lw__slot *slot = lw__slot_find(&file->lane, name);
    assert_non_null(slot);
    assert_int_equal(lw__slot_inherit(&r, &file->lane, slot, OWNER(10, 6) | LW__SLOT_DURABLE, &dead, &holder), 0);
    assert_int_equal(lw__reader_resume(&r), 0);
    for (uint64_t i = from; i < MESSAGES; i++) {
        assert_int_equal(lw__reader_next(&r, &msg), 1);
        expect_record(&msg, &(struct record){msg.position, i, (uint16_t)i, (uint32_t)(20 + i), false});
    }
    assert_int_equal(lw__reader_next(&r, &msg), LW_EEMPTY);
    lw__reader_leave(&r);
}

static void the_places_of_readers_are_kept_as_ever(void **state) {
    (void)state;
    NEEDS_SMALL_PAGES();
    struct file file;
    struct lw__reader r;
    uint64_t holder;
    make_readers(&file);
    compare_file("readers.lane", &file);
    done(&file);
    open_copy(&file, "readers.lane");
    expect_verified(&file, MESSAGES, 0);
    assert_null(lw__slot_find(&file.lane, "gamma"));
    struct lw__slot *beta = lw__slot_find(&file.lane, "beta");
    assert_non_null(beta);
    assert_int_equal(lw__slot_inherit(&r, &file.lane, beta, OWNER(10, 6) | LW__SLOT_DURABLE, &alive, &holder),
                     LW_EHELD);
    assert_int_equal(holder, OWNER(9, 4) | LW__SLOT_DURABLE);
    assert_int_equal(lw__lane_sweep(&file.lane, OWNER(10, 6), &dead), 2);
    expect_resumed(&file, "alpha", 3);
    expect_resumed(&file, "beta", 6);
    expect_resumed(&file, "beta", 6); /* nothing was released */
    done(&file);
}

/* ---- files of others --------------------------------------------------------------------------------------------- */

static void make_other(unsigned char *page, uint32_t version, uint32_t fingerprint) {
    struct lw__lane_id id;
    memset(page, 0, LW__PAGE);
    load("records.lane", page);
    memset(page + 512, 0, LW__PAGE - 512);
    memcpy(&id, page, sizeof id);
    id.version = version;
    id.fingerprint = fingerprint;
    id.crc = lw__crc32c(0, &id, offsetof(struct lw__lane_id, crc));
    memcpy(page, &id, sizeof id);
}

static void expect_refused(const char *name, const char *theirs, const char *ours) {
    unsigned char page[SIZE_MAX_OF_ALL];
    struct lw__lane lane;
    int fd = memory_file(page, load(name, page));
    assert_fails(lw__lane_map(&lane, fd, LW__READ, name), LW_EVERSION, name);
    assert_fails(LW_EVERSION, LW_EVERSION, theirs);
    assert_fails(LW_EVERSION, LW_EVERSION, ours);
    close(fd);
}

static void expect_version_refused(const char *name, uint32_t version, const char *theirs) {
    unsigned char page[SIZE_MAX_OF_ALL];
    make_other(page, version, 0x12345678);
    compare(name, page, LW__PAGE);
    expect_refused(name, theirs, "version 3");
}

static void a_file_of_another_version_is_refused_naming_both(void **state) {
    (void)state;
    NEEDS_SMALL_PAGES();
    expect_version_refused("version-1.lane", 1, "version 1");
    expect_version_refused("version-2.lane", 2, "version 2");
    expect_version_refused("version-4.lane", 4, "version 4");
}

static void a_file_of_another_layout_is_refused_naming_both(void **state) {
    (void)state;
    NEEDS_SMALL_PAGES();
    unsigned char page[SIZE_MAX_OF_ALL];
    make_other(page, LW__LANE_VERSION, 0x12345678);
    compare("other-layout.lane", page, LW__PAGE);
    expect_refused("other-layout.lane", "fingerprint 12345678", "has 100012ce");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_record_is_written_and_read_as_ever),
        cmocka_unit_test(what_a_dead_writer_left_is_taken_over_as_ever),
        cmocka_unit_test(the_places_of_readers_are_kept_as_ever),
        cmocka_unit_test(a_file_of_another_version_is_refused_naming_both),
        cmocka_unit_test(a_file_of_another_layout_is_refused_naming_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

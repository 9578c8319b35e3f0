/* SPDX-License-Identifier: MIT */
/* util/topic_util.c - see topic_util.h. */
#include "util/topic_util.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening ----------------------------------------------------------------------------------------------------- */

struct lw_bus *tt_bus(const char *dir, const char *node) {
    struct lw_bus *bus;
    T_NEED(!t_bus_open(&bus, dir, node, 0));
    return bus;
}

const struct lw_pub_options tt_sole = {sizeof tt_sole, LW_PUB_EXCLUSIVE, LW_SHAPE_INIT};

int tt_pub_shaped(struct lw_pub **pub, struct lw_bus *bus, const char *topic, uint64_t ring, uint32_t slots) {
    struct lw_pub_options opt = tt_sole;
    opt.shape.ring = ring;
    opt.shape.slots = slots;
    return lw_pub_open(pub, bus, topic, &opt);
}

int tt_sub_shaped(struct lw_sub **sub, struct lw_bus *bus, const char *topic, const char *name, uint64_t ring,
                  uint32_t slots) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.name = name;
    opt.shape.ring = ring;
    opt.shape.slots = slots;
    return lw_sub_open(sub, bus, topic, &opt);
}

static void make_small(struct lw_bus *bus, const char *topic) {
    struct lw_shape shape = LW_SHAPE_INIT;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    shape.ring = TT_RING;
    if (lw_topic_stat(bus, topic, &info) == LW_ENOTOPIC) T_NEED(!lw_topic_create(bus, topic, &shape));
}

struct lw_pub *tt_pub(struct lw_bus *bus, const char *topic) {
    struct lw_pub *pub;
    make_small(bus, topic);
    T_NEED(!lw_pub_open(&pub, bus, topic, &tt_sole));
    return pub;
}

struct lw_pub *tt_pub_shared(struct lw_bus *bus, const char *topic) {
    struct lw_pub *pub;
    make_small(bus, topic);
    T_NEED(!lw_pub_open(&pub, bus, topic, NULL));
    return pub;
}

int tt_sub_open(struct lw_sub **sub, struct lw_bus *bus, const char *topic, const char *name, enum lw_from from,
                uint64_t position) {
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.name = name;
    opt.from = from;
    opt.position = position;
    return lw_sub_open(sub, bus, topic, &opt);
}

struct lw_sub *tt_sub(struct lw_bus *bus, const char *topic, const char *name, enum lw_from from) {
    struct lw_sub *sub;
    make_small(bus, topic);
    T_NEED(!tt_sub_open(&sub, bus, topic, name, from, 0));
    return sub;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint16_t tt_type(uint64_t number) {
    return (uint16_t)mix(number + 77);
}

/* The number, then words that follow from it; the last one may be cut. */
size_t tt_fill(void *buffer, uint64_t number) {
    uint64_t words[TT_MESSAGE / 8] = {number};
    size_t len = 8 + mix(number) % (TT_MESSAGE - 7);
    for (size_t i = 1; i * 8 < len; i++) words[i] = mix(number * 31 + i);
    memcpy(buffer, words, len);
    return len;
}

uint64_t tt_read(const struct lw_msg *msg) {
    char want[TT_MESSAGE];
    uint64_t number;
    if (msg->len < sizeof number) return UINT64_MAX;
    memcpy(&number, msg->data, sizeof number);
    bool right =
        msg->len == tt_fill(want, number) && memcmp(want, msg->data, msg->len) == 0 && msg->type == tt_type(number);
    return right ? number : UINT64_MAX;
}

int64_t tt_send(struct lw_pub *pub, uint64_t number, int64_t timeout) {
    char buffer[TT_MESSAGE];
    size_t len = tt_fill(buffer, number);
    return lw_pub_send(pub, tt_type(number), buffer, len, timeout);
}

void tt_send_many(struct lw_pub *pub, uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) T_NEED(tt_send(pub, first + i, LW_SEC(20)) >= 0);
}

uint64_t tt_send_all(struct lw_pub *pub, uint64_t first) {
    int64_t rc;
    while ((rc = tt_send(pub, first, 0)) >= 0) first++;
    T_NEED(rc == LW_EFULL);
    return first;
}

bool tt_gets(struct lw_sub *sub, uint64_t first, uint64_t count) {
    struct lw_msg msg;
    for (uint64_t i = 0; i < count; i++) {
        int rc = lw_sub_next(sub, &msg, LW_SEC(20));
        if (rc == 1 && tt_read(&msg) == first + i && lw_sub_release(sub, &msg) == 0) continue;
        print_error("wanted message %" PRIu64 ", got %s %" PRIu64 " (number %" PRIu64 " at %" PRIu64 ")\n", first + i,
                    rc == 1 ? "message" : lw_errname(rc), rc == 1 ? tt_read(&msg) : 0, rc == 1 ? msg.number : 0,
                    rc == 1 ? msg.position : 0);
        return false;
    }
    return true;
}

bool tt_gets_only(struct lw_sub *sub, uint64_t first, uint64_t count) {
    struct lw_msg msg;
    if (!tt_gets(sub, first, count)) return false;
    int rc = lw_sub_next(sub, &msg, 0);
    if (rc == LW_EEMPTY) return true;
    print_error("wanted no more, got %s %" PRIu64 "\n", rc == 1 ? "message" : lw_errname(rc),
                rc == 1 ? tt_read(&msg) : 0);
    return false;
}

uint64_t tt_drain(struct lw_sub *sub) {
    struct lw_msg msg;
    uint64_t n = 0;
    while (lw_sub_next(sub, &msg, 0) == 1) {
        T_NEED(tt_read(&msg) != UINT64_MAX && !lw_sub_release(sub, &msg));
        n++;
    }
    return n;
}

/* ---- codes and texts --------------------------------------------------------------------------------------------- */

void tt_assert_told(int64_t rc, int64_t code, const char *what, const char *file, int line, const char *const *parts) {
    const char *text = lw_errtext();
    bool right = rc == code;
    for (; right && *parts; parts++) right = strstr(text, *parts) != NULL;
    if (right) return;
    print_error("%s: gave %lld %s, wanted %s; text \"%s\"; missing there: \"%s\"\n", what, (long long)rc,
                rc < 0 ? lw_errname((int)rc) : "", lw_errname((int)code), text, rc == code ? parts[-1] : "");
    _fail(file, line);
}

const char *tt_text(const char *format, ...) {
    static _Thread_local char buffers[8][1024];
    static _Thread_local unsigned next;
    char *text = buffers[next++ % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof buffers[0], format, args);
    va_end(args);
    return text;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

const char *tt_lane(char path[TT_PATH], const char *dir, const char *topic) {
    snprintf(path, TT_PATH, "%s/topics/%s/.lane", dir, topic);
    return path;
}

void tt_peek(const char *path, int64_t at, void *data, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    T_NEED(fd >= 0 && pread(fd, data, size, at) == (ssize_t)size);
    close(fd);
}

void tt_poke(const char *path, int64_t at, const void *data, size_t size) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    T_NEED(fd >= 0 && pwrite(fd, data, size, at) == (ssize_t)size);
    close(fd);
}

void tt_make_file(const char *path, int64_t size) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    T_NEED(fd >= 0 && !ftruncate(fd, size));
    close(fd);
}

bool tt_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static int files;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)path, (void)st, (void)where;
    files += kind != FTW_D && kind != FTW_DNR;
    return 0;
}

int tt_count_files(const char *dir) {
    files = 0;
    nftw(dir, count_one, 16, FTW_PHYS);
    return files;
}

/* SPDX-License-Identifier: MIT */
/*
 * A topic's file: names, damage, permissions, a full disk, and who holds its lock.
 *
 * pitfall 8: no bad index leads anywhere.
 * pitfall 9: a file is not made smaller under anybody.
 * pitfall 10: a full disk is an error at creation, not SIGBUS.
 * pitfall 11: modes, and no path out of the bus.
 * pitfall 12: names are neither cut nor led astray.
 * pitfall 16: a file that was replaced by hand leaves nobody waiting for ever.
 * pitfall 19: nobody needs rm.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "util/topic_util.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void refused_everywhere(struct lw_bus *bus, const char *name) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    assert_told(lw_pub_open(&pub, bus, name, NULL), LW_ENAME, "topic");
    assert_told(lw_sub_open(&sub, bus, name, NULL), LW_ENAME, "topic");
    assert_told(lw_topic_create(bus, name, NULL), LW_ENAME, "topic");
    assert_told(lw_topic_stat(bus, name, &info), LW_ENAME, "topic");
    assert_told(lw_topic_readers(bus, name, NULL, NULL), LW_ENAME, "topic");
    assert_told(lw_topic_verify(bus, name, NULL), LW_ENAME, "topic");
    assert_told(lw_topic_forget(bus, name, "x"), LW_ENAME, "topic");
    assert_told(lw_topic_remove(bus, name, LW_REMOVE_FORCE), LW_ENAME, "topic");
    assert_null(pub);
    assert_null(sub);
}

static void bad_names_are_refused_by_every_call(void **state) {
    static const char *const bad[] = {"",         "/",    "//",   "/a",    "a/",      "a//b", ".",    "..",   "a/..",
                                      "../a",     ".a",   "a/.b", "-a",    "a/-b",    "a b",  "a\tb", "a\nb", "a*",
                                      "\xc3\xbc", "a\\b", "~",    ".lane", "a/.lane", "%s%n", "a:b"};
    struct lw_bus *bus = tt_bus(*state, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refused_everywhere(bus, bad[i]);
        assert_told(lw_topic_create(bus, bad[i], NULL), LW_ENAME, bad[i], "A-Z");
    }
    refused_everywhere(bus, NULL);
    assert_int_equal(tt_count_files(tt_text("%s/topics", *(char **)state)), 0);
    assert_ok(lw_bus_close(bus));
}

static void the_longest_names_and_one_more(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    char name[256];
    memset(name, 'x', sizeof name);
    name[63] = 0;
    assert_ok(lw_topic_create(bus, name, NULL));
    name[63] = 'x', name[64] = 0;
    refused_everywhere(bus, name);
    assert_told(lw_topic_create(bus, name, NULL), LW_ENAME, "63");
    for (int i = 50; i < 200; i += 50) name[i] = '/';
    name[64] = 'x', name[200] = 0;
    assert_ok(lw_topic_create(bus, name, NULL));
    assert_told(lw_topic_create(bus, name, NULL), 0, "");
    name[200] = 'x', name[201] = 0;
    refused_everywhere(bus, name);
    assert_told(lw_topic_create(bus, name, NULL), LW_ENAME, "201", "200");
    assert_ok(lw_bus_close(bus));
}

/* ---- damage before opening --------------------------------------------------------------------------------------- */

/* The same refusal by everybody who opens, with these words. */
static void told_by_all(struct lw_bus *bus, int code, const char *a, const char *b) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    int before = t_descriptors();
    assert_told(lw_pub_open(&pub, bus, "t", NULL), code, "t/.lane", a, b, "laneway rm t");
    assert_told(lw_sub_open(&sub, bus, "t", NULL), code, "t/.lane", a, b, "laneway rm t");
    assert_told(tt_sub_open(&sub, bus, "t", "name", LW_FROM_OLDEST, 0), code, "t/.lane", a, b);
    assert_told(lw_topic_create(bus, "t", NULL), code, "t/.lane", a, b);
    assert_told(lw_topic_stat(bus, "t", &info), code, "t/.lane", a, b);
    assert_told(lw_topic_readers(bus, "t", NULL, NULL), code, "t/.lane", a, b);
    assert_told(lw_topic_verify(bus, "t", NULL), code, "t/.lane", a, b);
    assert_told(lw_topic_forget(bus, "t", "name"), code, "t/.lane", a, b);
    assert_int_equal(t_descriptors(), before);
}

static struct lw_bus *bus_with_a_topic(const char *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    lw_sub_close(tt_sub(bus, "t", "name", LW_FROM_NOW));
    tt_send_many(pub, 0, 200);
    lw_pub_close(pub);
    return bus;
}

static void cut_off_at_any_length(void **state) {
    static const int64_t lengths[] = {0,
                                      1,
                                      7,
                                      8,
                                      16,
                                      63,
                                      64,
                                      255,
                                      256,
                                      511,
                                      512,
                                      576,
                                      4095,
                                      4096,
                                      4097,
                                      5120,
                                      6144,
                                      8192,
                                      TT_LANE_HEAD - 1,
                                      TT_LANE_HEAD,
                                      TT_LANE_HEAD + 1,
                                      TT_LANE_HEAD + 4096,
                                      TT_LANE_HEAD + TT_RING - 4096,
                                      TT_LANE_HEAD + TT_RING - 1};
    struct lw_bus *bus = bus_with_a_topic(*state);
    char path[TT_PATH];
    const char *lane = tt_lane(path, *state, "t");
    for (size_t i = sizeof lengths / sizeof *lengths; i-- > 0;) {
        if (truncate(lane, lengths[i])) fail();
        told_by_all(bus, LW_ECORRUPT, "cut off", tt_text("%lld bytes", (long long)lengths[i]));
    }
    assert_told(lw_topic_remove(bus, "t", 0), LW_ECORRUPT, "t/.lane", "--force");
    assert_ok(lw_topic_remove(bus, "t", LW_REMOVE_FORCE)); /* as told */
    lw_pub_close(tt_pub(bus, "t"));
    assert_ok(lw_bus_close(bus));
}

static void garbage_and_files_of_others(void **state) {
    struct lw_bus *bus = bus_with_a_topic(*state);
    char path[TT_PATH];
    const char *lane = tt_lane(path, *state, "t");
    char page[4096], noise[4096];
    uint32_t nine = 9;
    tt_peek(lane, 0, page, sizeof page);
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)t_random();
    tt_poke(lane, 0, noise, sizeof noise);
    told_by_all(bus, LW_ECORRUPT, "not a lane file", "");
    memset(noise, 0, sizeof noise);
    tt_poke(lane, 0, noise, sizeof noise);
    told_by_all(bus, LW_ECORRUPT, "not a lane file", "");
    tt_poke(lane, 0, page, sizeof page);
    tt_poke(lane, TT_LANE_VERSION, &nine, sizeof nine);
    told_by_all(bus, LW_EVERSION, "version 9", "version 3");
    tt_poke(lane, 0, page, sizeof page);
    tt_poke(lane, TT_LANE_FINGERPRINT, &nine, sizeof nine);
    told_by_all(bus, LW_EVERSION, "fingerprint 00000009", "this library has");
    tt_poke(lane, 0, page, sizeof page);
    struct lw_sub *sub = tt_sub(bus, "t", "name", LW_FROM_NOW);
    assert_true(tt_gets_only(sub, 0, 200)); /* looking at it changed nothing */
    lw_sub_close(sub);
    assert_ok(lw_bus_close(bus));
}

static void each_bit_of_the_identity_is_covered(void **state) {
    struct lw_bus *bus = bus_with_a_topic(*state);
    char path[TT_PATH];
    const char *lane = tt_lane(path, *state, "t");
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    for (int bit = 0; bit < 256 * 8; bit += (int)(1 + t_random() % 8)) {
        unsigned char byte, flipped;
        tt_peek(lane, bit / 8, &byte, 1);
        flipped = (unsigned char)(byte ^ 1u << bit % 8);
        tt_poke(lane, bit / 8, &flipped, 1);
        int rc = lw_topic_stat(bus, "t", &info);
        assert_true(rc == LW_ECORRUPT || rc == LW_EVERSION);
        assert_non_null(strstr(lw_errtext(), lane));
        tt_poke(lane, bit / 8, &byte, 1);
    }
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_ok(lw_bus_close(bus));
}

/* Bits of the head that no checksum covers, flipped while nobody has it open: any answer but a crash, a hang, or a
 * message that was never sent. */
static void flipped_bits_of_the_head_never_lead_astray(void **state) {
    struct lw_bus *bus = bus_with_a_topic(*state);
    char path[TT_PATH];
    const char *lane = tt_lane(path, *state, "t");
    static char whole[TT_LANE_HEAD + TT_RING];
    tt_peek(lane, 0, whole, sizeof whole);
    for (int64_t i = t_loops(2000); i > 0; i--) {
        struct lw_sub *sub;
        struct lw_pub *pub;
        struct lw_msg msg;
        uint64_t at = 512 + t_random() % (TT_LANE_HEAD - 512);
        if (i % 2) at = 4096 + t_random() % 700; /* where most is */
        char flipped = (char)(whole[at] ^ 1 << t_random() % 8);
        tt_poke(lane, (int64_t)at, &flipped, 1);
        if (tt_sub_open(&sub, bus, "t", i % 3 ? "name" : NULL, LW_FROM_OLDEST, 0) == 0) {
            while (lw_sub_next(sub, &msg, 0) == 1) assert_true(tt_read(&msg) < 1000);
            lw_sub_close(sub);
        }
        if (lw_pub_open(&pub, bus, "t", NULL) == 0) {
            tt_send(pub, 200, 0);
            lw_pub_close(pub);
        }
        lw_topic_verify(bus, "t", NULL);
        tt_poke(lane, 0, whole, sizeof whole);
    }
    assert_ok(lw_bus_close(bus));
}

/* ---- other things at the path ------------------------------------------------------------------------------------ */

static void put_folder(const char *path) {
    if (mkdir(path, 0700)) fail();
}

static void put_fifo(const char *path) {
    if (mkfifo(path, 0600)) fail();
}

static void put_link(const char *path) {
    if (symlink("/etc/passwd", path)) fail();
}

static void put_link_inside(const char *path) {
    if (symlink("../other/.lane", path)) fail();
}

static void other_things_at_the_path_are_named(void **state) {
    static const struct {
        void (*put)(const char *path);
        int code;
        const char *text;
    } things[] = {{put_folder, -EISDIR, "directory"},
                  {put_fifo, LW_ECORRUPT, "not a regular file"},
                  {put_link, -ELOOP, "symbolic link"},
                  {put_link_inside, -ELOOP, "symbolic link"}};
    struct lw_bus *bus = bus_with_a_topic(*state);
    char path[TT_PATH];
    const char *lane = tt_lane(path, *state, "t");
    lw_pub_close(tt_pub(bus, "other"));
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        struct lw_topic_info info = LW_TOPIC_INFO_INIT;
        struct lw_pub *pub;
        struct lw_sub *sub;
        if (!tt_exists(lane)) assert_ok(lw_topic_create(bus, "t", NULL));
        assert_int_equal(remove(lane), 0);
        things[i].put(lane);
        assert_told(lw_pub_open(&pub, bus, "t", NULL), things[i].code, "t/.lane", things[i].text);
        assert_told(lw_sub_open(&sub, bus, "t", NULL), things[i].code, "t/.lane", things[i].text);
        assert_told(lw_topic_create(bus, "t", NULL), things[i].code, "t/.lane", things[i].text);
        int rc = lw_topic_stat(bus, "t", &info);
        assert_true(rc == things[i].code || rc == LW_ECORRUPT);
        rc = lw_topic_remove(bus, "t", LW_REMOVE_FORCE);
        assert_true(rc == 0 || rc == things[i].code);
    }
    assert_ok(lw_bus_close(bus));
}

static void a_file_in_place_of_a_folder_is_named(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub;
    tt_make_file(tt_text("%s/topics/a", *(char **)state), 10);
    assert_told(lw_pub_open(&pub, bus, "a", NULL), -ENOTDIR, "topics/a");
    assert_told(lw_pub_open(&pub, bus, "a/b", NULL), -ENOTDIR, "topics/a");
    assert_ok(lw_bus_close(bus));
}

static void modes_are_private(void **state) {
    struct lw_bus *bus = bus_with_a_topic(*state);
    char path[TT_PATH];
    struct stat st;
    mode_t old = umask(0);
    lw_pub_close(tt_pub(bus, "a/b"));
    umask(0177);
    lw_pub_close(tt_pub(bus, "c/d"));
    umask(old);
    assert_int_equal(stat(tt_lane(path, *state, "a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(tt_text("%s/topics/a", *(char **)state), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(tt_lane(path, *state, "c/d"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_ok(lw_bus_close(bus));
}

static int stranger_body(void *dir) {
    char path[TT_PATH];
    struct lw_pub *pub;
    struct lw_sub *sub;
    t_become(65534, 65534);
    struct lw_bus *bus = tt_bus(dir, NULL);
    lw_pub_close(tt_pub(bus, "t"));
    T_NEED(!chmod(tt_lane(path, dir, "t"), 0));
    for (int i = 0; i < 2; i++) {
        int rc = i ? lw_sub_open(&sub, bus, "t", NULL) : lw_pub_open(&pub, bus, "t", NULL);
        T_NEED(rc == -EACCES && strstr(lw_errtext(), path));
        T_NEED(strstr(lw_errtext(), "owner uid 65534") && strstr(lw_errtext(), "mode 0000"));
        T_NEED(strstr(lw_errtext(), "you are uid 65534"));
    }
    T_NEED(!chmod(path, 0600) && !lw_pub_open(&pub, bus, "t", NULL));
    return 0;
}

static void without_permission_path_owner_mode_and_uid_are_told(void **state) {
    t_need_root();
    char dir[T_PATH];
    snprintf(dir, sizeof dir, "%.200s.open", *(char **)state);
    if (mkdir(dir, 0700) || chown(dir, 65534, 65534)) fail();
    struct t_child child = t_fork(stranger_body, dir);
    assert_int_equal(t_wait(&child), 0);
}

/* ---- a full disk ------------------------------------------------------------------------------------------------- */

static bool no_space(int rc, const char *where) {
    return rc == -ENOSPC && strstr(lw_errtext(), where) && strstr(lw_errtext(), "smaller ring");
}

/* A creator was killed when it had taken most of the disk. */
static void room_is_found_in_what_the_dead_left(struct lw_bus *bus, const char *dir) {
    const char *left = tt_text("%s/topics/small/.new-0123456789ab", dir);
    int fd = open(left, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    T_NEED(fd >= 0 && !posix_fallocate(fd, 0, 350 << 10) && !close(fd));
    struct lw_pub *pub = tt_pub(bus, "after");
    T_NEED(!tt_exists(tt_text("%s/topics/small/.new-0123456789ab", dir)));
    lw_pub_close(pub);
}

static void on_a_full_disk(struct lw_bus *bus, const char *dir) {
    struct lw_pub *pub = tt_pub(bus, "small"), *no;
    struct lw_sub *sub = tt_sub(bus, "small", NULL, LW_FROM_NOW), *none;
    int files = tt_count_files(dir);
    for (int i = 0; i < 3; i++) {
        T_NEED(no_space(tt_pub_shaped(&no, bus, "big/topic", 1 << 20, 0), "topics/big/topic") && !no);
        T_NEED(no_space(tt_sub_shaped(&none, bus, "big/topic", NULL, 1 << 20, 0), "topics/big/topic") && !none);
        T_NEED(tt_sub_shaped(&none, bus, "small", NULL, 1 << 20, 0) == LW_ESHAPE); /* in use */
    }
    lw_pub_close(pub);
    T_NEED(no_space(tt_pub_shaped(&no, bus, "small", 1 << 20, 0), "topics/small")); /* as empty as it is */
    T_NEED(tt_count_files(dir) == files);
    T_NEED(!tt_exists(tt_text("%s/topics/big", dir)));
    pub = tt_pub(bus, "small");
    for (uint64_t n = 0; n < 2000; n++) { /* its pages are there, whatever happens */
        T_NEED(tt_send(pub, n, 0) >= 0);
        T_NEED(tt_gets(sub, n, 1));
    }
    lw_sub_close(sub);
    lw_pub_close(pub);
    room_is_found_in_what_the_dead_left(bus, dir);
    T_NEED(!lw_bus_close(bus));
}

/* In a mount namespace of its own, which goes with it. */
static int full_disk_body(void *arg) {
    const char *dir = arg;
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return 77;
    if (mount("laneway-test", dir, "tmpfs", 0, "size=512k")) return 77;
    on_a_full_disk(tt_bus(tt_text("%s/bus", dir), NULL), tt_text("%s/bus", dir));
    return 0;
}

/* All but so many bytes of the disk. */
static void fill_disk(const char *dir, uint64_t left) {
    struct statvfs fs;
    T_NEED(!statvfs(dir, &fs) && fs.f_bfree * fs.f_frsize > left);
    int fd = open(tt_text("%s/filler", dir), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    T_NEED(fd >= 0 && !posix_fallocate(fd, 0, (off_t)(fs.f_bfree * fs.f_frsize - left)));
    close(fd);
}

static int full_ext4_body(void *arg) {
    const char *dir = arg;
    char command[4 * T_PATH + 200];
    snprintf(command, sizeof command,
             "exec 2>/dev/null; PATH=$PATH:/usr/sbin:/sbin; truncate -s 8M '%s.img' && mkfs.ext4 -q -m 0 '%s.img' && "
             "mount -o loop '%s.img' '%s'",
             dir, dir, dir, dir);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || system(command)) return 77;
    fill_disk(dir, 640 << 10);
    on_a_full_disk(tt_bus(tt_text("%s/bus", dir), NULL), tt_text("%s/bus", dir));
    return 0;
}

static void in_small_disk(void **state, int (*body)(void *), const char *name) {
    char dir[T_PATH];
    snprintf(dir, sizeof dir, "%.200s.disk", *(char **)state);
    if (mkdir(dir, 0700)) fail();
    struct t_child child = t_fork(body, dir);
    int status = t_wait(&child);
    if (status == 77) t_skip(name, "needs root, to mount a small disk");
    assert_int_equal(status, 0);
}

static void a_full_disk_is_an_error_at_creation_and_others_go_on(void **state) {
    in_small_disk(state, full_disk_body, __func__);
}

static void a_full_ext4_is_an_error_at_creation_and_others_go_on(void **state) {
    in_small_disk(state, full_ext4_body, __func__);
}

/* ---- the file under those who use it ----------------------------------------------------------------------------- */

static int waiting_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "waiting");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    t_say(0);
    int rc = lw_sub_next(sub, &msg, LW_SEC(20));
    T_NEED(rc == LW_ECLOSED && strstr(lw_errtext(), "topic t") && strstr(lw_errtext(), "removed"));
    T_NEED(lw_sub_next(sub, &msg, LW_FOREVER) == LW_ECLOSED);
    lw_sub_close(sub);
    lw_sub_close(tt_sub(bus, "t", NULL, LW_FROM_NOW));
    return 0;
}

static void removed_by_hand_under_a_waiting_subscriber(void **state) {
    char path[TT_PATH];
    struct t_child child = t_fork(waiting_body, *state);
    t_hear(&child);
    assert_int_equal(unlink(tt_lane(path, *state, "t")), 0);
    assert_int_equal(t_wait(&child), 0);
}

static void removed_and_made_again_by_hand_under_a_waiting_subscriber(void **state) {
    char path[TT_PATH];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child child = t_fork(waiting_body, *state);
    t_hear(&child);
    assert_int_equal(unlink(tt_lane(path, *state, "t")), 0);
    struct lw_pub *pub = tt_pub(bus, "t");
    tt_send_many(pub, 0, 10);
    assert_int_equal(t_wait(&child), 0);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static int full_publisher_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    lw_sub_close(tt_sub(bus, "t", "away", LW_FROM_NOW));
    uint64_t n = tt_send_all(pub, 0);
    t_say(0);
    T_NEED(tt_send(pub, n, LW_SEC(20)) == LW_ECLOSED && strstr(lw_errtext(), "removed"));
    lw_pub_close(pub);
    return 0;
}

static void removed_by_hand_under_a_waiting_publisher(void **state) {
    char path[TT_PATH];
    struct t_child child = t_fork(full_publisher_body, *state);
    t_hear(&child);
    assert_int_equal(unlink(tt_lane(path, *state, "t")), 0);
    assert_int_equal(t_wait(&child), 0);
}

static int locker_body(void *arg) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    uint64_t one = 1;
    char path[TT_PATH];
    const char *lane = tt_lane(path, arg, "t");
    int fd = open(lane, O_RDWR);
    T_NEED(fd >= 0 && !fcntl(fd, F_OFD_SETLK, &lock));
    tt_poke(lane, TT_LANE_SUPERSEDED, &one, sizeof one);
    t_say(0);
    t_forever();
}

/* Somebody who was about to remove or reshape the topic is stopped with its lock in hand. */
static void a_stopped_holder_of_the_lock_stops_no_traffic(void **state) {
    char path[TT_PATH];
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    struct lw_msg msg;
    struct t_child locker = t_fork(locker_body, *state);
    t_hear(&locker);
    t_stop(&locker);
    int64_t begin = t_now();
    for (uint64_t n = 0; n < 3000; n++) {
        assert_ok(tt_send(pub, n, 0));
        assert_true(tt_gets_only(sub, n, 1));
    }
    assert_int_equal(lw_sub_next(sub, &msg, LW_MS(5)), LW_EEMPTY);
    assert_true(t_now() - begin < LW_SEC(4)); /* an opener waits 5 s; these are under a second */
    t_kill(&locker);
    uint64_t superseded = 1;
    while (superseded) { /* the next who waits tidies up */
        lw_sub_next(sub, &msg, LW_MS(2));
        tt_peek(tt_lane(path, *state, "t"), TT_LANE_SUPERSEDED, &superseded, sizeof superseded);
    }
    tt_send_many(pub, 3000, 1);
    assert_true(tt_gets_only(sub, 3000, 1));
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

static void who_opens_while_the_lock_is_held_is_told_after_five_seconds(void **state) {
    if (getenv("LW_TEST_SHORT")) return; /* it takes those 5 s */
    struct lw_bus *bus = bus_with_a_topic(*state);
    struct lw_sub *sub;
    struct t_child locker = t_fork(locker_body, *state);
    t_hear(&locker);
    t_stop(&locker);
    assert_told(tt_sub_open(&sub, bus, "t", "risk", LW_FROM_NOW, 0), -EAGAIN, "topic t", "topics/t/.lane", "locked",
                "stopped");
    t_kill(&locker);
    lw_sub_close(tt_sub(bus, "t", "risk", LW_FROM_NOW));
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(bad_names_are_refused_by_every_call),
        t_test(the_longest_names_and_one_more),
        t_test(cut_off_at_any_length),
        t_test(garbage_and_files_of_others),
        t_test(each_bit_of_the_identity_is_covered),
        t_test(flipped_bits_of_the_head_never_lead_astray),
        t_test(other_things_at_the_path_are_named),
        t_test(a_file_in_place_of_a_folder_is_named),
        t_test(modes_are_private),
        t_test(without_permission_path_owner_mode_and_uid_are_told),
        t_test(a_full_disk_is_an_error_at_creation_and_others_go_on),
        t_test(a_full_ext4_is_an_error_at_creation_and_others_go_on),
        t_test(removed_by_hand_under_a_waiting_subscriber),
        t_test(removed_and_made_again_by_hand_under_a_waiting_subscriber),
        t_test(removed_by_hand_under_a_waiting_publisher),
        t_test(a_stopped_holder_of_the_lock_stops_no_traffic),
        t_test(who_opens_while_the_lock_is_held_is_told_after_five_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The door of a server that listens: silence, half a login, noise, crowds and floods cost it little, and a real client
 * gets in all the same. The server is a process of its own (util/far.h); who knocks are bare sockets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/far.h"
#include "wire/session.h"

/* ---- bare sockets ------------------------------------------------------------------------------------------------ */

static int knock(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to)) fail_msg("connect: %s", strerror(errno));
    return fd;
}

static void say(int fd, const void *bytes, size_t size) {
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

/* All that comes until the end, which comes; at most 20 s. Returns how much. */
static size_t hear_to_the_end(int fd, void *to, size_t room) {
    size_t got = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        char waste[512];
        if (poll(&p, 1, 20000) != 1) fail_msg("not closed within 20 s");
        ssize_t n = got < room ? recv(fd, (char *)to + got, room - got, 0) : recv(fd, waste, sizeof waste, 0);
        if (n <= 0) return got;
        if (got < room) got += (size_t)n;
    }
}

static bool is_closed(int fd) {
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* ---- what a client says first ------------------------------------------------------------------------------------ */

static struct lw__greeting hello(const char *client, unsigned char log, uint64_t epoch) {
    struct lw__greeting g = {.service = LW__SERVICE_LINK, .lanes = 2, .session = 1, .what = 1, .epoch = epoch};
    strcpy(g.server, FAR_SERVER);
    snprintf(g.client, sizeof g.client, "%s", client);
    for (uint16_t i = 0; i < 2; i++) {
        g.lane[i] = (struct lw__wire_lane_state){.id = i, .role = i ? LW__TAKES : LW__OFFERS, .ring = 64 << 10};
        memset(g.lane[i].uuid, log, 16);
    }
    return g;
}

/* As bytes. */
static size_t put_hello(const struct lw__greeting *g, unsigned char *to) {
    static struct lw__wire w;
    static struct lw__greeting theirs;
    struct iovec parts[4];
    size_t size = 0;
    lw__wire_init(&w, false, LW__FEATURE_CRC, &theirs);
    assert_true(lw__wire_greet(&w, LW__HELLO, g));
    int n = lw__wire_put(&w, parts);
    for (int i = 0; i < n; i++) {
        memcpy(to + size, parts[i].iov_base, parts[i].iov_len);
        size += parts[i].iov_len;
    }
    return size;
}

/* What the server answers when it refuses; and it closes. */
static void is_refused(int fd, int code, const char *part) {
    unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
    struct lw__frame f;
    struct lw__words w;
    size_t got = hear_to_the_end(fd, bytes, sizeof bytes);
    if (got < LW__FRAME) fail_msg("%zu bytes of an answer", got);
    lw__frame_get(&f, bytes);
    assert_int_equal(f.kind, LW__REFUSE);
    assert_int_equal(f.position, LW__WIRE_MAGIC);
    assert_true(got >= LW__FRAME + f.length);
    assert_null(lw__words_get(&w, bytes + LW__FRAME, f.length));
    assert_int_equal(w.code, code);
    if (!memmem(w.words, w.length, part, strlen(part)))
        fail_msg("no \"%s\" in \"%.*s\"", part, (int)w.length, (const char *)w.words);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static struct far *server(const char *dir, const struct far_how *how) {
    struct far_how h = how ? *how : (struct far_how){.listen = NULL};
    h.listen = "tcp://127.0.0.1:0";
    return far_server(dir, &h);
}

static struct far *client_of(const char *dir, const struct far *at) {
    char path[T_PATH + 16];
    snprintf(path, sizeof path, "%s-client", dir);
    struct far *c = far_client(path, &(struct far_how){.port = far_port(at)});
    assert_int_equal(far_error(c, NULL), 0);
    return c;
}

/* A client gets in and is answered to. */
static void lets_in_a_client(const char *dir, struct far *at) {
    struct far *c = client_of(dir, at);
    FAR_UNTIL(c, ups == 1);
    assert_int_equal(far_do(c, FAR_SEND, 0, 10), 10);
    assert_int_equal(far_do(at, FAR_GET, 0, 10), 10);
    far_leave(c);
}

static int64_t memory_of(pid_t pid) {
    char path[64], line[128];
    int64_t kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) sscanf(line, "VmRSS: %" SCNd64, &kib);
    fclose(f);
    return kib << 10;
}

static int descriptors_of(pid_t pid) {
    char path[64];
    int n = 0;
    for (int fd = 0; fd < 4096; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        n += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    }
    return n;
}

static void allow_descriptors(rlim_t n) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= n) return;
    limit.rlim_cur = n;
    if (limit.rlim_max < n) limit.rlim_max = n;
    if (setrlimit(RLIMIT_NOFILE, &limit)) t_skip("ten_thousand", "needs more descriptors than are allowed");
}

/* ---- silence ----------------------------------------------------------------------------------------------------- */

static void ten_thousand_silent_connections_keep_nobody_out(void **state) {
    int n = getenv("LW_TEST_SHORT") ? 2500 : 10000, *fds = calloc((size_t)n, sizeof *fds);
    allow_descriptors((rlim_t)n + 200);
    struct far *s = server(*state, NULL);
    int64_t before = memory_of(far_pid(s)), begin = t_now();
    for (int i = 0; i < n; i++) fds[i] = knock(far_port(s));
    int64_t middle = t_now();
    lets_in_a_client(*state, s);
    int64_t end = t_now(), grown = memory_of(far_pid(s)) - before;
    printf("%d connections in %" PRId64 " ms; a client is in after %" PRId64 " ms; %" PRId64 " KiB more memory\n", n,
           (middle - begin) / LW_MS(1), (end - middle) / LW_MS(1), grown >> 10);
    assert_true(end - middle < LW_SEC(20));
    assert_true(grown < 64 << 20);
    for (int i = 0; i < n; i++) close(fds[i]);
    far_leave(s);
    free(fds);
}

static void who_says_half_a_hello_is_dropped_at_the_deadline(void **state) {
    struct far *s = server(*state, &(struct far_how){.hello_within = LW_MS(200)});
    unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
    struct lw__greeting g = hello("bob", 7, 1);
    size_t size = put_hello(&g, bytes);
    int silent = knock(far_port(s)), half = knock(far_port(s));
    say(half, bytes, size / 2);
    assert_int_equal(hear_to_the_end(silent, NULL, 0), 0);
    assert_int_equal(hear_to_the_end(half, NULL, 0), 0);
    close(silent);
    close(half);
    assert_int_equal(far_told(s)->logins, 0);
    lets_in_a_client(*state, s);
    far_leave(s);
}

static void a_hello_in_pieces_is_a_login(void **state) {
    struct far *s = server(*state, NULL);
    unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
    struct lw__greeting g = hello("bob", 7, 1);
    size_t size = put_hello(&g, bytes);
    int fd = knock(far_port(s));
    for (size_t i = 0; i < size; i++) {
        say(fd, bytes + i, 1);
        if (i % 16 == 0) t_sleep(LW_US(200));
    }
    FAR_UNTIL(s, logins == 1);
    assert_int_equal(recv(fd, bytes, LW__FRAME, MSG_WAITALL), LW__FRAME);
    struct lw__frame f;
    lw__frame_get(&f, bytes);
    assert_int_equal(f.kind, LW__WELCOME);
    assert_false(is_closed(fd));
    close(fd);
    far_leave(s);
}

/* ---- noise ------------------------------------------------------------------------------------------------------- */

static void noise_is_refused_with_a_reason(void **state) {
    struct far *s = server(*state, NULL);
    char zeros[512] = {0}, ones[512];
    memset(ones, 0xff, sizeof ones);
    const struct {
        const void *bytes;
        size_t size;
    } noises[] = {{"GET / HTTP/1.1\r\nHost: here\r\nUser-Agent: somebody\r\nAccept: */*\r\n\r\n", 65},
                  {"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n0123456789012345678901234567890123456789", 80},
                  {zeros, sizeof zeros},
                  {ones, sizeof ones}};
    for (size_t i = 0; i < sizeof noises / sizeof *noises; i++) {
        int fd = knock(far_port(s));
        say(fd, noises[i].bytes, noises[i].size);
        is_refused(fd, LW_EPROTOCOL, "");
        close(fd);
    }
    for (int64_t i = 0; i < t_loops(300); i++) {
        unsigned char noise[700];
        for (size_t k = 0; k < sizeof noise; k++) noise[k] = (unsigned char)t_random();
        int fd = knock(far_port(s));
        say(fd, noise, sizeof noise);
        is_refused(fd, LW_EPROTOCOL, "");
        close(fd);
    }
    assert_int_equal(far_told(s)->logins, 0);
    lets_in_a_client(*state, s);
    far_leave(s);
}

/* The checksum is set right again. */
static void seal(unsigned char *frame) {
    struct lw__frame f;
    lw__frame_get(&f, frame);
    f.crc = 0;
    lw__frame_put(frame, &f);
    f.crc = lw__frame_crc(frame, frame + LW__FRAME, f.length, NULL, 0);
    lw__frame_put(frame, &f);
}

static void greets_wrongly(const struct far *s, const struct lw__greeting *g, int code, const char *part) {
    unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
    int fd = knock(far_port(s));
    say(fd, bytes, put_hello(g, bytes));
    is_refused(fd, code, part);
    close(fd);
}

static void wrong_greetings_are_refused_each_with_its_reason(void **state) {
    struct far *s = server(*state, NULL);
    unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
    struct lw__greeting good = hello("bob", 7, 1), g = good;
    size_t size = put_hello(&good, bytes);
    struct lw__frame f, changed;
    lw__frame_get(&f, bytes);
    int fd;

    changed = f, changed.position ^= 1;
    lw__frame_put(bytes, &changed), seal(bytes);
    fd = knock(far_port(s)), say(fd, bytes, size), is_refused(fd, LW_EPROTOCOL, "no Laneway connection"), close(fd);

    changed = f, changed.number = 99 | 99 << 16;
    lw__frame_put(bytes, &changed), seal(bytes);
    fd = knock(far_port(s)), say(fd, bytes, size), is_refused(fd, LW_EVERSION, "no version in common"), close(fd);

    lw__frame_put(bytes, &f), bytes[LW__FRAME + 70] ^= 1;
    fd = knock(far_port(s)), say(fd, bytes, size), is_refused(fd, LW_EPROTOCOL, "checksum"), close(fd);

    strcpy(g.server, "another");
    greets_wrongly(s, &g, LW_ENOSERVER, "another");
    g = good, g.lane[0].ring = g.lane[1].ring = UINT64_C(1) << 30;
    greets_wrongly(s, &g, LW_ESHAPE, "1073741824");
    g = good, strcpy(g.client, "../x");
    greets_wrongly(s, &g, LW_EPROTOCOL, "name");
    g = good, g.lane[0].role = LW__TAKES;
    greets_wrongly(s, &g, LW_EPROTOCOL, "not for a link");
    g = good, g.service = 9;
    greets_wrongly(s, &g, LW_EPROTOCOL, "not for a link");
    assert_int_equal(far_told(s)->logins, 0);
    lets_in_a_client(*state, s);
    far_leave(s);
}

/* ---- crowds ------------------------------------------------------------------------------------------------------ */

/* Of guests that wait there are so many at most; the silent go first, then who was there longest. */
static void the_room_before_the_door_is_bounded(void **state) {
    enum { MOST = 20, CROWD = 200 };
    struct far *s = server(*state, &(struct far_how){.waits = true, .guests_max = MOST});
    int fds[CROWD], before = descriptors_of(far_pid(s)), open = 0;
    for (int i = 0; i < CROWD; i++) {
        unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
        char name[24];
        snprintf(name, sizeof name, "guest%d", i);
        struct lw__greeting g = hello(name, (unsigned char)i, 1);
        fds[i] = knock(far_port(s));
        if (i % 2) say(fds[i], bytes, put_hello(&g, bytes));
    }
    T_UNTIL(is_closed(fds[0]));
    int64_t end = t_now() + LW_SEC(20);
    do {
        open = 0;
        for (int i = 0; i < CROWD; i++) open += !is_closed(fds[i]);
    } while (open > MOST && t_now() < end);
    assert_true(open <= MOST);
    assert_true(descriptors_of(far_pid(s)) <= before + MOST + 1);
    for (int i = 0; i < CROWD; i++) close(fds[i]);
    far_kill(s);
}

/* One name, again and again: each time as a later connection of the same client, and as others that call themselves so. */
static void a_flood_of_logins_of_one_name(void **state) {
    struct far *s = server(*state, NULL);
    int64_t n = t_loops(3000), before = memory_of(far_pid(s));
    int descriptors = descriptors_of(far_pid(s));
    for (int64_t i = 0; i < n; i++) {
        unsigned char bytes[LW__FRAME + LW__CONTROL_MAX];
        struct lw__greeting g = hello("bob", (unsigned char)(i % 3 ? 7 : i), (uint64_t)i + 1);
        int fd = knock(far_port(s));
        say(fd, bytes, put_hello(&g, bytes));
        if (i % 5 == 0) t_sleep(LW_US(300));
        close(fd);
    }
    lets_in_a_client(*state, s);
    T_UNTIL(descriptors_of(far_pid(s)) <= descriptors + 8);
    assert_true(memory_of(far_pid(s)) - before < 16 << 20);
    printf("%" PRId64 " logins, of which %" PRIu64 " were told\n", n, far_told(s)->logins);
    far_leave(s);
}

/* ---- slow and unwilling applications ----------------------------------------------------------------------------- */

/* Longer than all the patience that there is with silence. */
static void who_is_let_in_late_is_still_there(void **state) {
    bool brief = getenv("LW_TEST_SHORT");
    struct far *s = server(*state, &(struct far_how){.waits = true, .hello_within = LW_MS(300)});
    struct far *c = client_of(*state, s);
    assert_int_equal(far_do(c, FAR_SEND, 0, 10), 10);
    FAR_UNTIL(s, logins == 1);
    t_sleep(brief ? LW_MS(1200) : LW_SEC(10));
    assert_int_equal(far_told(s)->logins, 1);
    assert_int_equal(far_told(c)->downs, 0);
    assert_int_equal(far_do(s, FAR_LET_IN, 0, 0), 0);
    FAR_UNTIL(c, ups == 1);
    assert_int_equal(far_told(c)->connections, 1);
    assert_int_equal(far_do(s, FAR_GET, 0, 10), 10);
    far_leave(c);
    far_leave(s);
}

static void who_is_refused_does_not_come_again_and_again(void **state) {
    struct far *s = server(*state, &(struct far_how){.refuses = true});
    struct far *c = client_of(*state, s);
    FAR_UNTIL(c, refusals == 1);
    t_sleep(LW_MS(500));
    assert_int_equal(far_told(s)->logins, 1);
    assert_int_equal(far_told(c)->refusals, 1);
    assert_int_equal(far_told(c)->state, LW_LINK_REFUSED);
    far_leave(c);
    far_leave(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(ten_thousand_silent_connections_keep_nobody_out),
        t_test(who_says_half_a_hello_is_dropped_at_the_deadline),
        t_test(a_hello_in_pieces_is_a_login),
        t_test(noise_is_refused_with_a_reason),
        t_test(wrong_greetings_are_refused_each_with_its_reason),
        t_test(the_room_before_the_door_is_bounded),
        t_test(a_flood_of_logins_of_one_name),
        t_test(who_is_let_in_late_is_still_there),
        t_test(who_is_refused_does_not_come_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

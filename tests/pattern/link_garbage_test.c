/* SPDX-License-Identifier: MIT */
/*
 * A peer's garbage: what another process may do to the files of a link while it is open, or before. Whatever it is, the
 * link gives a code with a name or goes on, nobody crashes or hangs, another link of the same groups is not disturbed,
 * and the damaged one can be removed and made anew.
 *
 * Not here: truncating a mapped file (SIGBUS by nature), and bytes of payload (there is no checksum on them).
 *
 * pitfall 1: what was checked is not read again.
 * pitfall 8: a damaged record stops a reader.
 * pitfall 11: links to elsewhere are not followed.
 * pitfall 18: words that the other side may write are bounded.
 * pitfall 19: whatever lies there, it can be removed by the library's own means.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/link_util.h"

/* ---- the victim: both sides of two links ------------------------------------------------------------------------- */

struct victim {
    const char *dir;
    struct tl_party client, host;
    struct lw_server *server;
    struct lw_link *bob_up, *bob_down; /* left alone */
    struct lw_link *up, *down;         /* alice's, attacked */
    uint64_t sent;                     /* to and fro on bob's */
};

static bool far_side; /* over a socket: the client's files are attacked, not the server's */

static const char *lane_of(char path[TT_PATH], const char *dir, const char *client, const char *way) {
    return (far_side ? tl_client_lane : tl_lane)(path, dir, "gateway", client, way);
}

/* What is being done, for the parent to say if it never ends. */
static struct {
    uint64_t n;
    char what[200];
} * progress;

static void make_progress(void) {
    if (!progress) progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_NEED(progress != MAP_FAILED);
}

static bool is_named(int64_t rc) {
    if (rc >= 0 || strcmp(lw_errname((int)rc), "?") != 0) return true;
    print_error("code %lld has no name\n", (long long)rc);
    return false;
}

static struct victim prepare(const char *dir) {
    struct victim v = {.dir = dir, .client = tl_party(dir, "guest"), .host = tl_party(dir, "host")};
    v.server = tl_server(&v.host, "gateway");
    v.bob_up = tl_open(&v.client, "gateway", "bob", NULL);
    v.bob_down = tl_accept(&v.host, v.server, "bob");
    T_NEED(tl_is_told(&v.client, LW_UP, v.bob_up, NULL) && tl_is_told(&v.host, LW_UP, v.bob_down, NULL));
    return v;
}

/* A fresh link with some messages in both directions, some of them held. */
static void open_alice(struct victim *v) {
    struct lw_msg m;
    far_side = tl_over() && t_random() % 2;
    v->up = tl_open(&v->client, "gateway", "alice", "hello");
    v->down = tl_accept(&v->host, v->server, "alice");
    tl_send_many(v->up, 0, 20);
    tl_send_many(v->down, 0, 20);
    T_NEED(tl_gets(v->up, 0, 5) && tl_gets(v->down, 0, 5));
    tl_settle();
    T_NEED(lw_link_next(v->up, &m, 0) == 1);
}

static void bob_goes_on(struct victim *v) {
    uint64_t n = v->sent++;
    T_NEED(tl_send(v->bob_up, n, 0) >= 0 && tl_send(v->bob_down, n, 0) >= 0);
    T_NEED(tl_gets_only(v->bob_up, n, 1) && tl_gets_only(v->bob_down, n, 1));
    T_NEED(lw_link_state(v->bob_up) == LW_LINK_UP && lw_link_state(v->bob_down) == LW_LINK_UP);
}

static int look_at_link(const struct lw_link_info *info, int error, void *user) {
    int *seen = user;
    T_NEED(info && !strcmp(info->server, "gateway") && is_named(error));
    if (!strcmp(info->client, "bob")) T_NEED(!error && info->state == LW_LINK_UP);
    *seen += 1;
    return 0;
}

static void poll_both(struct victim *v, int64_t timeout) {
    const struct tl_party *parties[2] = {&v->client, &v->host};
    for (int i = 0; i < 2; i++)
        for (int turn = 0; turn < 4; turn++) {
            struct lw_event e[4];
            int n = lw_group_poll(parties[i]->group, e, 4, turn ? 0 : timeout);
            T_NEED(n >= 0 || n == -EINTR);
            for (int k = 0; k < n; k++) {
                struct lw_login login = LW_LOGIN_INIT;
                bool links = e[k].kind == LW_LOGIN && (e[k].link == v->down || e[k].link == v->up);
                if (e[k].kind == LW_LOGIN &&
                    is_named(links ? lw_link_login(e[k].link, &login) : lw_server_login(v->server, &login)) &&
                    login.server)
                    T_NEED(is_named(links ? lw_login_refuse(&login, "no") : 0));
            }
        }
}

/* Everything that one does with a link. */
static void use(struct lw_link *link) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_msg m;
    char buffer[LW_LOGIN_MAX];
    void *place;
    int code;
    T_NEED(is_named(lw_link_stat(link, &info)));
    T_NEED(strlen(lw_link_reason(link, &code)) <= LW_LOGIN_MAX);
    T_NEED(lw_link_answer(link, buffer, sizeof buffer) <= LW_LOGIN_MAX);
    for (int i = 0, rc = 1; i < 40 && rc == 1; i++) {
        T_NEED(is_named(rc = lw_link_next(link, &m, 0)));
        if (rc != 1) break;
        T_NEED(m.len <= TL_RING / 2);
        if (m.len) memcpy(buffer, m.data, m.len < sizeof buffer ? m.len : sizeof buffer);
        if (i % 3) T_NEED(is_named(lw_link_release(link, &m)));
    }
    lw_link_rewind(link);
    T_NEED(is_named(lw_link_recv(link, buffer, sizeof buffer, &m, 0)));
    for (uint64_t i = 0; i < 5; i++) T_NEED(is_named(tl_send(link, i, 0)));
    int rc = lw_link_reserve(link, &place, 8, 0);
    T_NEED(is_named(rc));
    if (!rc) T_NEED(is_named(lw_link_commit(link, 0, 8)));
    T_NEED(*lw_link_explain(link));
    lw_link_cork(link);
    lw_link_uncork(link);
}

static void exercise(struct victim *v) {
    int seen = 0;
    for (int i = 0; i < 2; i++) {
        use(v->up);
        bob_goes_on(v);
        use(v->down);
        poll_both(v, i ? LW_US(50) : 0);
    }
    T_NEED(!lw_link_list(v->client.bus, NULL, look_at_link, &seen) && seen >= 1 && seen <= (tl_over() ? 4 : 2));
}

/* Away with it. A symbolic link is not even touched: that is told, and left to people. */
static void remove_alice(struct victim *v) {
    char path[TT_PATH];
    int rc = tl_link_remove(v->host.bus, "gateway", "alice", LW_REMOVE_FORCE, NULL);
    for (int i = 0; i < 2 && rc == -ELOOP; i++) {
        T_NEED(strstr(lw_errtext(), "symbolic link"));
        unlink(lane_of(path, v->dir, "alice", strstr(lw_errtext(), "up.lane") ? "up" : "down"));
        rc = tl_link_remove(v->host.bus, "gateway", "alice", LW_REMOVE_FORCE, NULL);
    }
    if (rc && rc != LW_ENOLINK) print_error("remove: %s: %s\n", lw_errname(rc), lw_errtext());
    T_NEED(!rc || rc == LW_ENOLINK);
    poll_both(v, 0);
    bob_goes_on(v);
}

/* Closed in either order. */
static void end_alice(struct victim *v, bool reopen) {
    struct lw_link *first = progress->n % 2 ? v->up : v->down, *second = progress->n % 2 ? v->down : v->up, *again;
    lw_link_close(first, 1, "one");
    poll_both(v, 0);
    lw_link_close(second, 2, "two");
    int rc = reopen ? tl_try_open(&again, &v->client, "gateway", "alice") : 0;
    T_NEED(is_named(rc));
    if (reopen && !rc) {
        poll_both(v, 0);
        lw_link_close(again, 0, NULL);
    }
    remove_alice(v);
}

/* Watches a victim that says something now and then: no crash, no hang. */
static void watch(int (*body)(void *), void *arg) {
    make_progress();
    progress->n = 0;
    struct t_child child = t_fork(body, arg);
    int64_t number = 1;
    while (t_heard(&child, 20000, &number) && number) {
    }
    if (number) kill(child.pid, SIGKILL); /* it hangs, or is dead already */
    int status = t_wait(&child);
    if (number || status) fail_msg("after %d attacks, at %s: status %d", (int)progress->n, progress->what, status);
    print_message("%d attacks\n", (int)progress->n);
}

static void attacked(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void attacked(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(progress->what, sizeof progress->what, format, args);
    va_end(args);
    if (++progress->n % 64 == 0) t_say(1);
}

/* ---- words of the header, one by one ----------------------------------------------------------------------------- */

static uint64_t garbage(int kind, uint64_t was) {
    switch (kind) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return was ^ UINT64_C(1) << t_random() % 64;
    case 3:
        return t_random();
    case 4:
        return was + 8;
    case 5:
        return was - TL_RING;
    default:
        return UINT64_C(1) << 63 | was;
    }
}
enum { KINDS = 7 };
#define ATTACKS (tl_over() ? 400 : 1500) /* over a socket each takes longer */

static const char *const ways[] = {"up", "down"};

static void attack_word(const char *dir, const char *way, int64_t at, int kind) {
    char path[TT_PATH];
    uint64_t word;
    tt_peek(lane_of(path, dir, "alice", way), at, &word, sizeof word);
    uint64_t bad = garbage(kind, word);
    attacked("%s, byte %d, %llx for %llx", way, (int)at, (unsigned long long)bad, (unsigned long long)word);
    tt_poke(path, at, &bad, sizeof bad);
}

static int header_words_body(void *dir) {
    struct victim v = prepare(dir);
    int64_t step = getenv("LW_TEST_SHORT") ? 7
                   : tl_over()             ? 3
                                           : 1; /* some of them: the words take turns with the kinds */
    int64_t turn = (int64_t)(t_random() % (uint64_t)step);
    for (int way = 0; way < 2; way++)
        for (int64_t at = 0; at < TL_HEAD; at += 8)
            for (int kind = 0; kind < KINDS; kind++) {
                bool is_words = at >= TL_SIDE + 128 && at < TL_SIDE + 1088; /* any bytes will do there */
                bool is_room = (at >= 256 && at < 512) || (at >= 576 && at < TL_SIDE) || (at >= 2112 && at < 4096) ||
                               (at >= TL_SLOT + 512);
                if (is_words || is_room || turn++ % step) continue;
                open_alice(&v);
                attack_word(dir, ways[way], at, kind);
                exercise(&v);
                end_alice(&v, true);
            }
    t_say(0);
    return 0;
}

static void each_word_of_the_headers_while_the_link_is_open(void **state) {
    watch(header_words_body, *state);
}

/* Headers of records that are in the ring, and what lies where a header would be. */
static int record_headers_body(void *dir) {
    struct victim v = prepare(dir);
    for (int64_t i = 0; i < t_loops(ATTACKS); i++) {
        open_alice(&v);
        const char *way = ways[i % 2];
        int64_t at = TL_HEAD;
        for (uint64_t hops = t_random() % 21; hops; hops--) { /* from record to record */
            uint32_t len;
            char path[TT_PATH];
            tt_peek(lane_of(path, dir, "alice", way), at, &len, sizeof len);
            at += (len + 15) & ~7u;
        }
        attack_word(dir, way, at, (int)(t_random() % KINDS));
        exercise(&v);
        end_alice(&v, true);
    }
    t_say(0);
    return 0;
}

static void pitfall_1_and_8_headers_of_records_while_the_link_is_open(void **state) {
    watch(record_headers_body, *state);
}

static int many_words_body(void *dir) {
    struct victim v = prepare(dir);
    for (int64_t i = 0; i < t_loops(ATTACKS); i++) {
        open_alice(&v);
        for (uint64_t n = 1 + t_random() % 20; n; n--)
            attack_word(dir, ways[t_random() % 2], (int64_t)(t_random() % (TL_HEAD / 8)) * 8,
                        (int)(t_random() % KINDS));
        exercise(&v);
        exercise(&v);
        end_alice(&v, true);
    }
    t_say(0);
    return 0;
}

static void many_words_at_once(void **state) {
    watch(many_words_body, *state);
}

/* ---- all the time ------------------------------------------------------------------------------------------------ */

/* Writes into whatever files alice's link has now, until it is killed. */
static int vandal_body(void *dir) {
    char path[TT_PATH];
    for (;;) {
        far_side = tl_over() && t_random() % 2;
        int fd = open(lane_of(path, dir, "alice", ways[t_random() % 2]), O_RDWR | O_CLOEXEC);
        for (int i = 0; i < 50 && fd >= 0; i++) {
            uint64_t at = t_random() % 4 ? t_random() % TL_HEAD : TL_HEAD + t_random() % 4096,
                     word = garbage((int)(t_random() % 4), 0);
            (void)!pwrite(fd, &word, sizeof word, (off_t)(at & ~UINT64_C(7)));
        }
        if (fd >= 0) close(fd);
    }
    return 0;
}

static bool opens_alice(struct victim *v) {
    v->up = v->down = NULL;
    int rc = tl_try_open(&v->up, &v->client, "gateway", "alice");
    T_NEED(is_named(rc));
    if (rc) return false;
    for (int i = 0; i < 20 && !v->down; i++) {
        struct lw_event e;
        struct lw_login login = LW_LOGIN_INIT;
        tl_drive();
        T_NEED(lw_group_poll(v->host.group, &e, 1, LW_US(200)) >= 0);
        if (lw_server_login(v->server, &login) == 1 && !strcmp(login.client, "alice"))
            T_NEED(is_named(lw_login_accept(&login, v->host.group, NULL, &v->down)));
    }
    if (v->down) return true;
    lw_link_close(v->up, 0, NULL);
    v->up = NULL;
    return false;
}

static int raided_body(void *dir) {
    struct victim v = prepare(dir);
    struct t_child vandal;
    vandal = t_fork(vandal_body, dir);
    int64_t used = 0;
    for (int64_t i = 0; i < t_loops(ATTACKS); i++) {
        attacked("a vandal, round %d", (int)i);
        bool open = opens_alice(&v);
        for (int k = 0; k < 4 && open; k++) exercise(&v);
        used += open;
        if (open) {
            end_alice(&v, true);
            continue;
        }
        remove_alice(&v);
    }
    t_kill(&vandal);
    if (!getenv("LW_TEST_SHORT")) T_NEED(used > 0);
    t_say(0);
    return 0;
}

static void pitfall_18_a_process_that_writes_garbage_all_the_time(void **state) {
    watch(raided_body, *state);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to, int64_t size) {
    static char bytes[TL_HEAD + TL_RING];
    int64_t part = size < (int64_t)sizeof bytes ? size : (int64_t)sizeof bytes;
    tt_peek(from, 0, bytes, (size_t)part);
    tt_make_file(to, size);
    if (part) tt_poke(to, 0, bytes, (size_t)part);
}

/* Puts something else at the path of a lane. */
static void replace(const char *dir, const char *way, int how) {
    char path[TT_PATH], other[TT_PATH], temp[TT_PATH];
    static const int64_t sizes[] = {0, 1, 8, 256, 4095, 4096, 8192, 8193, TL_HEAD + TL_RING - 1, TL_HEAD + TL_RING + 1};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    lane_of(path, dir, "alice", way);
    snprintf(temp, sizeof temp, "%s/temp", dir);
    attacked("%s, replaced in way %d", way, how);
    if (how < SIZES) {
        copy_file(path, temp, sizes[how]);
        T_NEED(!rename(temp, path));
        return;
    }
    switch (how - SIZES) {
    case 0: /* the whole of it: a copy is another file */
        copy_file(path, temp, TL_HEAD + TL_RING);
        T_NEED(!rename(temp, path));
        return;
    case 1: /* the same lane of another link */
        copy_file(lane_of(other, dir, "bob", way), temp, TL_HEAD + TL_RING);
        T_NEED(!rename(temp, path));
        return;
    case 2: /* its other direction */
        copy_file(lane_of(other, dir, "alice", *way == 'u' ? "down" : "up"), temp, TL_HEAD + TL_RING);
        T_NEED(!rename(temp, path));
        return;
    case 3:
        T_NEED(!rename(path, temp) && !rename(lane_of(other, dir, "alice", *way == 'u' ? "down" : "up"), path) &&
               !rename(temp, other));
        return;
    case 4:
        T_NEED(!unlink(path));
        return;
    case 5: /* pitfall 11 */
        T_NEED(!unlink(path) && !symlink("/dev/zero", path));
        return;
    case 6:
        T_NEED(!unlink(path) && !symlink(lane_of(other, dir, "bob", way), path));
        return;
    case 7:
        T_NEED(!unlink(path) && !mkfifo(path, 0600));
        return;
    case 8:
        tt_make_file(temp, TL_HEAD + TL_RING); /* nothing but zeros */
        T_NEED(!rename(temp, path));
        return;
    default:
        copy_file(path, temp, TL_HEAD + TL_RING);
        uint32_t version = 99;
        tt_poke(temp, TT_LANE_VERSION, &version, sizeof version);
        T_NEED(!rename(temp, path));
    }
}
enum { REPLACEMENTS = 20 };

static int replaced_body(void *dir) {
    struct victim v = prepare(dir);
    for (int how = 0; how < REPLACEMENTS; how++)
        for (int i = 0; i < 8; i++) { /* one or both, while it is open or when it is closed */
            open_alice(&v);
            if (i & 1) {
                lw_link_close(v.up, 0, NULL);
                lw_link_close(v.down, 0, NULL);
                poll_both(&v, 0);
            }
            if ((i >> 1) % 3 != 1) replace(dir, "up", how);
            if ((i >> 1) % 3 != 0 && !(how == 13 && (i >> 1) % 3 == 2)) replace(dir, "down", how);
            if (i & 1) {
                struct lw_link *again;
                int rc = tl_try_open(&again, &v.client, "gateway", "alice");
                T_NEED(is_named(rc) && (!rc || *lw_errtext()));
                poll_both(&v, 0);
                if (!rc) lw_link_close(again, 0, NULL);
                remove_alice(&v);
                continue;
            }
            exercise(&v);
            end_alice(&v, true);
        }
    t_say(0);
    return 0;
}

static void pitfall_11_and_19_other_files_in_place_of_the_lanes(void **state) {
    watch(replaced_body, *state);
}

/* ---- the server's own file --------------------------------------------------------------------------------------- */

static int server_words_body(void *dir) {
    struct victim v = prepare(dir);
    char path[TT_PATH];
    snprintf(path, sizeof path, "%s/links/gateway/.server", (const char *)dir);
    for (int64_t at = 0; at < 40; at += 8)
        for (int kind = 0; kind < KINDS; kind++) {
            uint64_t word, bad;
            struct lw_server *server;
            tt_peek(path, at, &word, sizeof word);
            bad = garbage(kind, word);
            attacked(".server, byte %d, %llx for %llx", (int)at, (unsigned long long)bad, (unsigned long long)word);
            tt_poke(path, at, &bad, sizeof bad);
            open_alice(&v); /* the server that runs has no use for it */
            exercise(&v);
            int rc = tl_server_open(&server, v.client.group, "gateway", NULL);
            T_NEED(is_named(rc) && (!rc || *lw_errtext()));
            if (!rc) lw_server_close(server);
            end_alice(&v, true);
            tt_poke(path, at, &word, sizeof word);
        }
    t_say(0);
    return 0;
}

static void each_word_of_the_servers_file(void **state) {
    watch(server_words_body, *state);
}

static void what_is_no_server_file_is_named(void **state) {
    static const int64_t sizes[] = {0, 1, 24, 4095, 4096, 8192};
    struct tl_party p = tl_party(*state, "me");
    struct lw_server *server = tl_server(&p, "gateway"), *no;
    char path[TT_PATH];
    lw_server_close(server);
    snprintf(path, sizeof path, "%s/links/gateway/.server", (const char *)*state);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tt_make_file(path, sizes[i]);
        assert_told(tl_server_open(&no, p.group, "gateway", NULL), LW_ECORRUPT, "server gateway", ".server", "remove");
        assert_null(no);
        assert_int_equal(unlink(path), 0);
    }
    server = tl_server(&p, "gateway");
    lw_server_close(server);
    uint32_t version = 2;
    tt_poke(path, 8, &version, sizeof version);
    assert_told(tl_server_open(&no, p.group, "gateway", NULL), LW_EVERSION, "server gateway", "version 2", "version 1");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_true(tl_server_open(&no, p.group, "gateway", NULL) < 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(tl_server_open(&no, p.group, "gateway", NULL) < 0);
    assert_int_equal(rmdir(path), 0);
    server = tl_server(&p, "gateway");
    assert_int_equal(unlink(path), 0); /* while it is open */
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL), *down = tl_accept(&p, server, "me");
    lw_link_close(link, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&p);
}

/* Folders of links with other things in them are no links, and disturb nobody. */
static void things_between_the_links_are_not_told(void **state) {
    struct tl_pair p = tl_pair(*state);
    char path[TT_PATH];
    static const char *const files[] = {"links/x", "links/gateway/x", "links/gateway/alice/x", "links/.y",
                                        "links/gateway/.y"};
    static const char *const folders[] = {"links/empty", "links/gateway/empty", "links/gateway/-bad",
                                          "links/gateway/a b"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", (const char *)*state, files[i]);
        tt_make_file(path, 100);
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", (const char *)*state, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    assert_true(tl_quiet(&p.server, LW_MS(20)));
    lw_link_close(p.down, 0, NULL);
    lw_server_close(p.at);
    p.at = tl_server(&p.server, "gateway");
    p.down = tl_accept(&p.server, p.at, "alice");
    tl_told(&p.server, LW_UP, p.down);
    assert_true(tl_quiet(&p.server, LW_MS(20)));
    tl_pair_end(&p);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(each_word_of_the_headers_while_the_link_is_open),
        t_test(pitfall_1_and_8_headers_of_records_while_the_link_is_open),
        t_test(many_words_at_once),
        t_test(pitfall_18_a_process_that_writes_garbage_all_the_time),
        t_test(pitfall_11_and_19_other_files_in_place_of_the_lanes),
        t_test(each_word_of_the_servers_file),
        t_test(what_is_no_server_file_is_named),
        t_test(things_between_the_links_are_not_told),
    };
    return tl_run_cases(everywhere, sizeof everywhere / sizeof *everywhere, NULL, 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * One publisher and eight subscribers, four of them durable, all killed at random moments and started again. What each
 * was told, and what it was about to do, stands in memory that outlives it, and every new start is held against that:
 *
 *   published   what a call accepted is in the log, and nothing is there that nobody asked for
 *   durable     what was released never comes again; what was not, comes; in order, without a gap
 *   latecomer   from its first message on in order, without a gap
 *
 * pitfall 6 and 7: a kill renumbers, loses or duplicates nothing.
 * pitfall 14: the dead stall nobody.
 * pitfall 15: released is what was handled.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/topic_util.h"

enum { DURABLE = 4, SUBSCRIBERS = 8, PUBLISHER = SUBSCRIBERS, PROCESSES };

/* Before and after: a number was about to be passed, and it has been. One writer at a time, who may be killed between
 * the two. */
struct step {
    uint64_t intended;
    uint64_t done;
};

static struct history {
    struct step sent;
    struct step released[DURABLE];
    uint64_t received[SUBSCRIBERS]; /* how many in all, again and again included */
    uint64_t stop;                  /* 1: publish no more */
    uint64_t end;                   /* so many there are, as soon as that is known */
} * history;

static void set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static uint64_t get(uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Says what is wrong, and ends the child in a way that the parent sees. */
static void wrong(const char *what, int id, uint64_t got, uint64_t low, uint64_t high) {
    fprintf(stderr, "%s: process %d: message %" PRIu64 ", should be from %" PRIu64 " to %" PRIu64 "\n", what, id, got,
            low, high);
    _exit(1);
}

/* ---- the processes ----------------------------------------------------------------------------------------------- */

struct process {
    const char *dir;
    int id;
    uint64_t random; /* children must not all do the same */
};

static uint64_t dice(struct process *p, uint64_t sides) {
    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    return (p->random >> 33) % sides;
}

/* Up to 8 messages in one of the three ways. */
static int64_t publish_some(struct process *p, struct lw_pub *pub, uint64_t number, uint64_t count) {
    char bytes[8][TT_MESSAGE];
    struct lw_item items[8];
    void *at;
    for (uint64_t i = 0; i < count; i++) {
        items[i] = (struct lw_item){bytes[i], tt_fill(bytes[i], number + i), tt_type(number + i)};
    }
    if (count == 1 && dice(p, 2)) return tt_send(pub, number, LW_SEC(30));
    if (dice(p, 2)) return lw_pub_send_batch(pub, items, count, LW_SEC(30));
    for (uint64_t i = 0; i < count; i++) {
        int rc = lw_pub_reserve(pub, &at, TT_MESSAGE, LW_SEC(30));
        if (rc) return rc;
        memcpy(at, items[i].data, items[i].len);
        if (i + 1 < count) T_NEED(!lw_pub_stage(pub, items[i].type, items[i].len));
    }
    return lw_pub_commit(pub, items[count - 1].type, items[count - 1].len);
}

static int publisher_body(struct process *p) {
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_pub *pub = tt_pub(tt_bus(p->dir, "publisher"), "t");
    T_NEED(!lw_pub_stats(pub, &stats));
    uint64_t number = stats.number, low = get(&history->sent.done), high = get(&history->sent.intended);
    if (number < low || number > high) wrong("published", p->id, number, low, high);
    set(&history->sent.done, number);
    while (!get(&history->stop)) {
        uint64_t count = 1 + dice(p, 8);
        set(&history->sent.intended, number + count);
        T_NEED(publish_some(p, pub, number, count) >= 0);
        set(&history->sent.done, number += count);
    }
    lw_pub_close(pub);
    return 0;
}

/* Releases what it holds up to here, most of the time some at once. */
static void release(struct process *p, struct lw_sub *sub, const struct lw_msg *msg) {
    struct step *step = p->id < DURABLE ? &history->released[p->id] : NULL;
    if (step) set(&step->intended, msg->number + 1);
    T_NEED(!lw_sub_release(sub, msg));
    if (step) set(&step->done, msg->number + 1);
}

static struct lw_sub *subscribe(struct process *p, uint64_t *next) {
    struct lw_bus *bus = tt_bus(p->dir, tt_text("reader%d", p->id));
    struct lw_stats stats = LW_STATS_INIT;
    const char *name = p->id < DURABLE ? tt_text("name%d", p->id) : NULL;
    struct lw_sub *sub = tt_sub(bus, "t", name, dice(p, 2) ? LW_FROM_OLDEST : LW_FROM_NOW);
    T_NEED(!lw_sub_stats(sub, &stats));
    *next = stats.number;
    if (!name) return sub;
    struct step *step = &history->released[p->id];
    uint64_t low = get(&step->done), high = get(&step->intended);
    if (*next < low) wrong("repeated", p->id, *next, low, high);
    if (*next > high) wrong("lost", p->id, *next, low, high);
    return sub;
}

static int subscriber_body(struct process *p) {
    struct lw_msg msg, last;
    uint64_t next, held = 0;
    struct lw_sub *sub = subscribe(p, &next);
    for (uint64_t most = 1 + dice(p, 20);;) {
        int rc = lw_sub_next(sub, &msg, LW_MS(3));
        if (rc == LW_EEMPTY) {
            if (held) release(p, sub, &last);
            held = 0;
            if (next == get(&history->end)) return 0;
            continue;
        }
        T_NEED(rc == 1);
        if (msg.number != next || tt_read(&msg) != next) wrong("out of order", p->id, tt_read(&msg), next, msg.number);
        set(&history->received[p->id], get(&history->received[p->id]) + 1);
        last = msg;
        next++;
        if (++held < most) continue;
        release(p, sub, &last);
        held = 0;
    }
}

static int body(void *arg) {
    struct process p = *(struct process *)arg;
    return p.id == PUBLISHER ? publisher_body(&p) : subscriber_body(&p);
}

/* ---- the case ---------------------------------------------------------------------------------------------------- */

static struct t_child start(const char *dir, int id) {
    struct process p = {dir, id, t_random()};
    return t_fork(body, &p);
}

/* Kills one every few milliseconds. One that ended by itself found something wrong. */
static int kill_at_random(const char *dir, struct t_child *children, int64_t ns) {
    int kills = 0;
    for (int64_t end = t_now() + ns; t_now() < end; kills++) {
        int id = (int)(t_random() % PROCESSES);
        t_sleep((int64_t)(t_random() % LW_MS(8)));
        kill(children[id].pid, SIGKILL);
        assert_int_equal(t_wait(&children[id]), -SIGKILL);
        children[id] = start(dir, id);
    }
    return kills;
}

static void everybody_is_killed_at_random_and_nothing_is_lost_or_repeated(void **state) {
    const char *dir = *state;
    struct t_child children[PROCESSES];
    struct lw_bus *bus = tt_bus(dir, "checker");
    for (int i = 0; i < DURABLE; i++) lw_sub_close(tt_sub(bus, "t", tt_text("name%d", i), LW_FROM_NOW));
    for (int i = 0; i < PROCESSES; i++) children[i] = start(dir, i);
    int kills = kill_at_random(dir, children, t_loops(6000) * LW_MS(1));
    set(&history->stop, 1);
    assert_int_equal(t_wait(&children[PUBLISHER]), 0);
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_true(info.number == history->sent.done);
    set(&history->end, info.number);
    int64_t again = 0;
    for (int i = 0; i < SUBSCRIBERS; i++) {
        assert_int_equal(t_wait(&children[i]), 0);
        if (i >= DURABLE) continue;
        assert_true(history->released[i].done == info.number); /* each of them, each once */
        again += (int64_t)(history->received[i] - info.number);
    }
    assert_ok(lw_topic_verify(bus, "t", NULL));
    print_message("%" PRIu64 " messages, %d kills, %" PRId64 " came again that were not released\n", info.number, kills,
                  again);
    assert_true(info.number > 100);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(everybody_is_killed_at_random_and_nothing_is_lost_or_repeated),
    };
    history = mmap(NULL, sizeof *history, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (history == MAP_FAILED) return 1;
    history->end = UINT64_MAX;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * How many instructions a message costs on the inline path, counted by single steps: no other load on the machine can move
 * these numbers. They may only go down: who makes one smaller writes it here.
 *
 * What is counted is the compiler's code for a loop of calls, without what the loop itself costs. Only built by gcc, without
 * sanitizers.
 */
#include "util/step.h"
#include "util/topic_util.h"

enum { FEW = 8, MANY = 40 }; /* messages of 8 bytes; all of them within a step of the log */

static struct scene {
    const char *dir;
    struct lw_pub *pub;
    struct lw_sub *sub;
    int count, runs;
    bool shared;
    char topic[20]; /* a new one each time: what was in it decides where slow calls come */
} s;

/* ---- the operations ---------------------------------------------------------------------------------------------- */

static void prepare(void *arg) {
    (void)arg;
    struct lw_bus *bus = tt_bus(s.dir, NULL);
    s.pub = s.shared ? tt_pub_shared(bus, s.topic) : tt_pub(bus, s.topic);
    s.sub = tt_sub(bus, s.topic, NULL, LW_FROM_NOW);
    for (uint64_t i = 0; i < 4096; i++) { /* so often that it is biased; and then at the beginning of a step */
        T_NEED(lw_pub_send(s.pub, 1, &i, sizeof i, 0) >= 0);
        T_NEED(lw_sub_recv(s.sub, &(uint64_t){0}, 8, NULL, 0) == 1);
    }
    T_NEED(lw_pub_send(s.pub, 1, "", 0, 0) >= 0 && lw_sub_recv(s.sub, &(uint64_t){0}, 8, NULL, 0) == 1);
}

static void prepare_full(void *arg) {
    prepare(arg);
    for (uint64_t i = 0; i < MANY; i++) T_NEED(lw_pub_send(s.pub, 1, &i, sizeof i, 0) >= 0);
    struct lw_msg msg;
    T_NEED(lw_sub_next(s.sub, &msg, 0) == 1 && lw_sub_release(s.sub, &msg) == 0); /* it knows how long they are */
}

static void nothing(void *arg) {
    (void)arg;
    for (uint64_t i = 0; i < (uint64_t)s.count; i++) __asm__ volatile("" : : "r"(&i) : "memory");
}

static void send_all(void *arg) {
    struct lw_pub *pub = s.pub;
    (void)arg;
    for (uint64_t i = 0; i < (uint64_t)s.count; i++) lw_pub_send(pub, 1, &i, sizeof i, 0);
}

static void reserve_and_commit_all(void *arg) {
    struct lw_pub *pub = s.pub;
    void *at;
    (void)arg;
    for (uint64_t i = 0; i < (uint64_t)s.count; i++) {
        lw_pub_reserve(pub, &at, sizeof i, 0);
        *(uint64_t *)at = i;
        lw_pub_commit(pub, 1, sizeof i);
    }
}

static void next_all(void *arg) {
    struct lw_sub *sub = s.sub;
    struct lw_msg msg;
    (void)arg;
    for (uint64_t i = 0; i < (uint64_t)s.count; i++) {
        lw_sub_next(sub, &msg, 0);
        __asm__ volatile("" : : "r"(*(const uint64_t *)msg.data));
    }
}

static void next_and_release_all(void *arg) {
    struct lw_sub *sub = s.sub;
    struct lw_msg msg;
    (void)arg;
    for (uint64_t i = 0; i < (uint64_t)s.count; i++) {
        lw_sub_next(sub, &msg, 0);
        __asm__ volatile("" : : "r"(*(const uint64_t *)msg.data));
        lw_sub_release(sub, &msg);
    }
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static uint64_t steps_of(void (*how)(void *), void (*operate)(void *), int count) {
    s.count = count;
    snprintf(s.topic, sizeof s.topic, "t%d", s.runs++);
    struct t_step step = t_step_begin(how, operate, NULL);
    while (t_step_on(&step)) {
    }
    uint64_t steps = step.steps;
    t_step_end(&step);
    return steps;
}

/* In hundredths. */
static uint64_t each(void (*how)(void *), void (*operate)(void *)) {
    return (steps_of(how, operate, MANY) - steps_of(how, operate, FEW)) * 100 / (MANY - FEW);
}

static void costs_at_most(const char *what, void (*how)(void *), void (*operate)(void *), uint64_t most) {
    uint64_t count = (each(how, operate) - each(how, nothing) + 50) / 100;
    printf("%-20s %2u instructions, %u allowed\n", what, (unsigned)count, (unsigned)most);
    if (count > most) fail_msg("%s: %u instructions, %u allowed", what, (unsigned)count, (unsigned)most);
}

static void a_message_costs_so_many_instructions(void **state) {
    t_need_ptrace();
    s = (struct scene){.dir = *state};
    costs_at_most("send", prepare, send_all, 15);
    costs_at_most("reserve and commit", prepare, reserve_and_commit_all, 22);
    costs_at_most("next", prepare_full, next_all, 33);
    costs_at_most("next and release", prepare_full, next_and_release_all, 55);
}

static void a_message_of_a_lone_shared_publisher_costs_so_many(void **state) {
    t_need_ptrace();
    s = (struct scene){.dir = *state, .shared = true};
    costs_at_most("send, shared", prepare, send_all, 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {t_test(a_message_costs_so_many_instructions),
                                       t_test(a_message_of_a_lone_shared_publisher_costs_so_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

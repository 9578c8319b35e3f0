/* SPDX-License-Identifier: MIT */
/*
 * demo/link_act.h - the second act: four clients talk to an echo server over links.
 *
 * Each client sends the same files, from another record on, and the server sends each record back. The parent kills all
 * five at random with SIGKILL and starts them again. What the server got is checked, and what came back: requests and
 * answers are both messages, and none of either may be lost, come again after its release, or be out of order.
 */
#ifndef DEMO_LINK_ACT_H
#define DEMO_LINK_ACT_H

#include "checker.h"
#include "link_actors.h"
#include "stage.h"

struct talker {
    struct actor actor;
    struct input input; /* the records in its own order */
    struct checker requests, answers;
    uint64_t before[2]; /* requests sent and tried when it died */
    uint16_t resume_checked;
    uint64_t vanished, invented; /* requests that the link had too few or too many of when it came back */
};

struct link_act {
    struct link_ledger *ledger;
    struct actor server;
    struct talker talkers[CLIENTS];
    uint64_t total; /* requests of each client */
    uint64_t begin_ns, end_ns;
};

static struct link_act link_act;

/* ---- deaths ------------------------------------------------------------------------------------------------------- */

static void server_died(struct actor *actor) {
    (void)actor;
    for (int i = 0; i < CLIENTS; i++) check_death(&link_act.talkers[i].requests);
}

/* The link holds what was sent, or that and the call that was under way. */
static void check_link_resume(struct talker *talker) {
    const struct notes *notes = talker->actor.part.notes;
    uint16_t life = talker->actor.part.life;
    if (talker->resume_checked == life || note_get(&notes->ready) != life) return;
    talker->resume_checked = life;
    uint64_t resumed = note_get(&notes->resumed);
    if (resumed < talker->before[0])
        talker->vanished += talker->before[0] - resumed;
    else if (resumed != talker->before[0] && resumed != talker->before[1])
        talker->invented++;
}

static void client_died(struct actor *actor) {
    struct talker *talker = (struct talker *)(void *)((char *)actor - offsetof(struct talker, actor));
    check_link_resume(talker);
    talker->before[0] = note_get(&actor->part.notes->sent);
    talker->before[1] = note_get(&actor->part.notes->tried);
    check_death(&talker->answers);
}

/* ---- the run ------------------------------------------------------------------------------------------------------ */

static uint64_t answered(void) {
    uint64_t sum = 0;
    for (int i = 0; i < CLIENTS; i++) sum += note_get(&link_act.ledger->clients[i].released);
    return sum;
}

static void move_link_gates(void) {
    struct link_act *act = &link_act;
    uint64_t slack = act->total / 50 + 1, gate = gate_of(&act->server, act->total, slack);
    note_set(&act->ledger->mean, answered() / CLIENTS);
    for (int i = 0; i < CLIENTS; i++) note_set(&act->ledger->gates[i], gate_of(&act->talkers[i].actor, gate, slack));
}

static uint64_t link_kills(void) {
    uint64_t kills = link_act.server.kills;
    for (int i = 0; i < CLIENTS; i++) kills += link_act.talkers[i].actor.kills;
    return kills;
}

static void watch_links(void) {
    uint64_t done = answered(), all = CLIENTS * link_act.total;
    if (has_stalled(done + link_kills()))
        fail("nothing has moved for %d seconds: %" PRIu64 " of %" PRIu64 " answers", STALL_S, done, all);
    if (is_time_to_show())
        fprintf(stderr, "\r  %3" PRIu64 " %%   %" PRIu64 " requests answered   %" PRIu64 " kills ", 100 * done / all,
                done, link_kills());
}

static void talker_step(struct talker *talker) {
    check_log(&talker->requests);
    check_log(&talker->answers);
    check_link_resume(talker);
    look_for_end(&talker->actor);
    kill_if_due(&talker->actor);
}

/* The clients have all answers, and the server has given back all requests: a moment later than it answered. */
static bool link_act_is_over(void) {
    for (int i = 0; i < CLIENTS; i++) {
        if (!link_act.talkers[i].actor.ended) return false;
        if (note_get(&link_act.ledger->requests[i].released) < link_act.total) return false;
    }
    return true;
}

static void play_links(void) {
    struct link_act *act = &link_act;
    act->begin_ns = now_ns();
    move_link_gates();
    start(&act->server);
    for (int i = 0; i < CLIENTS; i++) start(&act->talkers[i].actor);
    while (!link_act_is_over()) {
        for (int i = 0; i < CLIENTS; i++) talker_step(&act->talkers[i]);
        look_for_end(&act->server);
        kill_if_due(&act->server);
        move_link_gates();
        watch_links();
        sleep_and_hear();
    }
    act->end_ns = now_ns();
    clear_progress();
    stop(&act->server);
    for (int i = 0; i < CLIENTS; i++) {
        check_end(&act->talkers[i].requests, act->total);
        check_end(&act->talkers[i].answers, act->total);
    }
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static void make_link_actor(struct actor *actor, const char *name, struct notes *notes,
                            void (*body)(const struct part *), uint64_t kills) {
    make_actor(actor, name, notes, body);
    actor->part.links = link_act.ledger;
    actor->part.total = link_act.total;
    plan_kills(actor, kills, link_act.total);
}

/* Half of the records, from another one on for each. */
static void make_talker(struct talker *talker, int i, uint64_t kills) {
    struct link_ledger *ledger = link_act.ledger;
    uint64_t step = stage.input.count / (2 * CLIENTS);
    talker->input = stage.input;
    talker->input.records += (uint64_t)i * step;
    talker->input.count = stage.input.count / 2;
    make_link_actor(&talker->actor, client_names[i], &ledger->clients[i], be_client, kills);
    talker->actor.part.input = &talker->input;
    talker->actor.progress = &ledger->clients[i].released;
    talker->actor.after_death = client_died;
    talker->requests = (struct checker){.input = &talker->input, .notes = &ledger->requests[i], .begun = true};
    talker->answers = (struct checker){.input = &talker->input, .notes = &ledger->clients[i], .begun = true};
}

static void make_link_act(uint64_t kills, uint64_t total) {
    struct link_act *act = &link_act;
    act->ledger = make_ledger(sizeof *act->ledger);
    act->total = total;
    make_link_actor(&act->server, "server", &act->ledger->server, be_server, kills);
    act->server.progress = &act->ledger->mean;
    act->server.after_death = server_died;
    for (int i = 0; i < CLIENTS; i++) make_talker(&act->talkers[i], i, kills / 2);
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

static void show_link_begin(void) {
    printf("\n  links      %d clients talk to the server \"%s\"; each sends %" PRIu64
           " records of those files, and gets them back\n",
           CLIENTS, SERVER, link_act.total);
    fflush(stdout);
}

static void add_up(struct checker *sum, const struct checker *one) {
    sum->lost += one->lost;
    sum->repeated += one->repeated;
    sum->redelivered += one->redelivered;
    sum->out_of_order += one->out_of_order;
    sum->corrupt += one->corrupt;
    sum->bytes += one->bytes;
}

static bool sums_are_equal(const struct talker *talker) {
    uint64_t expected = check_expected(&talker->input, 0, link_act.total);
    bool equal = expected == talker->requests.sum && expected == talker->answers.sum;
    printf("  checksums  %-7s of what it sent %016" PRIx64 ", of what the server got, and of what came back: %s\n",
           talker->actor.part.name, expected, equal ? "equal" : "DIFFERENT");
    return equal;
}

static int look_at_link(const struct lw_link_info *info, int error, void *user) {
    uint64_t total = link_act.total;
    bool sound = !error && info->sent == total && info->taken == total && info->arrived == total &&
                 info->released == total && !info->client_pid;
    if (sound)
        ++*(int *)user;
    else
        printf("  link       %s/%s is NOT SOUND: %s\n", info->server, info->client,
               error ? lw_errtext() : "other numbers than were sent");
    return 0;
}

static bool links_are_sound(void) {
    int sound = 0;
    struct lw_bus *bus = observe();
    if (lw_link_list(bus, SERVER, look_at_link, &sound)) printf("  links      %s\n", lw_errtext());
    lw_bus_close(bus);
    return sound == CLIENTS;
}

static struct outcome show_link_end(void) {
    struct link_act *act = &link_act;
    struct checker requests = {.lost = 0}, answers = {.lost = 0};
    double seconds = (double)(act->end_ns - act->begin_ns) / 1e9;
    uint64_t messages = 2 * CLIENTS * act->total, vanished = 0, invented = 0;
    bool good = true;
    for (int i = 0; i < CLIENTS; i++) {
        add_up(&requests, &act->talkers[i].requests);
        add_up(&answers, &act->talkers[i].answers);
        vanished += act->talkers[i].vanished;
        invented += act->talkers[i].invented;
    }
    printf("  sent       %" PRIu64 " requests and as many answers, %.0f MB in %.1f s, %.0f messages/s\n", messages / 2,
           (double)(requests.bytes + answers.bytes) / 1e6, seconds, (double)messages / seconds);
    show_kills(&act->server);
    for (int i = 0; i < CLIENTS; i++) show_kills(&act->talkers[i].actor);
    printf("  redelivered %" PRIu64 " requests, each answered once all the same, and %" PRIu64
           " answers (they had not been released)\n",
           requests.redelivered, answers.redelivered);
    for (int i = 0; i < CLIENTS; i++) good &= sums_are_equal(&act->talkers[i]);
    uint64_t order = requests.out_of_order + answers.out_of_order + invented;
    uint64_t corrupt = requests.corrupt + answers.corrupt;
    printf("  checker    %" PRIu64 " out of order, %" PRIu64 " corrupt\n", order, corrupt);
    good &= links_are_sound();
    return (struct outcome){.messages = messages,
                            .lost = requests.lost + answers.lost + vanished,
                            .repeated = requests.repeated + answers.repeated,
                            .good = good && !order && !corrupt};
}

#endif

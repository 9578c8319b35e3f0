/* SPDX-License-Identifier: MIT */
/*
 * demo/link_act.h - the second act: four clients talk to an echo server over links. The third one (tcp_act.h) is the same
 * with one client on another host.
 *
 * Each client sends the same files, from another record on, and the server sends each record back. The parent kills all
 * of them at random with SIGKILL and starts them again. What the server got is checked, and what came back: requests and
 * answers are both messages, and none of either may be lost, come again after its release, or be out of order.
 */
#ifndef DEMO_LINK_ACT_H
#define DEMO_LINK_ACT_H

#include "checker.h"
#include "link_actors.h"
#include "stage.h"

struct link_act;

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
    int clients;
    uint64_t total; /* requests of each client */
    uint64_t limit; /* clients stop here for now */
    uint64_t begin_ns, end_ns;
    void (*step)(struct link_act *act); /* what else happens meanwhile, or NULL */
};

/* ---- deaths ------------------------------------------------------------------------------------------------------- */

static void server_died(struct actor *actor) {
    struct link_act *act = (struct link_act *)(void *)((char *)actor - offsetof(struct link_act, server));
    for (int i = 0; i < act->clients; i++) check_death(&act->talkers[i].requests);
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

static uint64_t answered(const struct link_act *act) {
    uint64_t sum = 0;
    for (int i = 0; i < act->clients; i++) sum += note_get(&act->ledger->clients[i].released);
    return sum;
}

static void move_link_gates(struct link_act *act) {
    uint64_t slack = act->total / 50 + 1, gate = gate_of(&act->server, act->limit, slack);
    note_set(&act->ledger->mean, answered(act) / (uint64_t)act->clients);
    for (int i = 0; i < act->clients; i++)
        note_set(&act->ledger->gates[i], gate_of(&act->talkers[i].actor, gate, slack));
}

static uint64_t link_kills(const struct link_act *act) {
    uint64_t kills = act->server.kills;
    for (int i = 0; i < act->clients; i++) kills += act->talkers[i].actor.kills;
    return kills;
}

static void watch_links(const struct link_act *act) {
    uint64_t done = answered(act), all = (uint64_t)act->clients * act->total;
    if (has_stalled(done + link_kills(act)))
        fail("nothing has moved for %d seconds: %" PRIu64 " of %" PRIu64 " answers", STALL_S, done, all);
    if (is_time_to_show())
        fprintf(stderr, "\r  %3" PRIu64 " %%   %" PRIu64 " requests answered   %" PRIu64 " kills ", 100 * done / all,
                done, link_kills(act));
}

static void talker_step(struct talker *talker) {
    check_log(&talker->requests);
    check_log(&talker->answers);
    check_link_resume(talker);
    look_for_end(&talker->actor);
    kill_if_due(&talker->actor);
}

/* The clients have all answers, and the server has given back all requests: a moment later than it answered. */
static bool link_act_is_over(const struct link_act *act) {
    for (int i = 0; i < act->clients; i++) {
        if (!act->talkers[i].actor.ended) return false;
        if (note_get(&act->ledger->requests[i].released) < act->total) return false;
    }
    return true;
}

static void link_step(struct link_act *act) {
    for (int i = 0; i < act->clients; i++) talker_step(&act->talkers[i]);
    look_for_end(&act->server);
    kill_if_due(&act->server);
    if (act->step) act->step(act);
    move_link_gates(act);
    watch_links(act);
}

static void play_links(struct link_act *act) {
    act->begin_ns = now_ns();
    move_link_gates(act);
    start(&act->server);
    for (int i = 0; i < act->clients; i++) start(&act->talkers[i].actor);
    while (!link_act_is_over(act)) {
        link_step(act);
        sleep_and_hear();
    }
    act->end_ns = now_ns();
    clear_progress();
    stop(&act->server);
    for (int i = 0; i < act->clients; i++) {
        check_end(&act->talkers[i].requests, act->total);
        check_end(&act->talkers[i].answers, act->total);
    }
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static void make_link_actor(struct link_act *act, struct actor *actor, const char *name, struct notes *notes,
                            void (*body)(const struct part *), uint64_t kills) {
    make_actor(actor, name, notes, body);
    actor->part.links = act->ledger;
    actor->part.total = act->total;
    plan_kills(actor, kills, act->total);
}

/* Half of the records, from another one on for each. */
static void make_talker(struct link_act *act, int i, uint64_t kills) {
    struct talker *talker = &act->talkers[i];
    struct link_ledger *ledger = act->ledger;
    uint64_t step = stage.input.count / (2 * CLIENTS);
    talker->input = stage.input;
    talker->input.records += (uint64_t)i * step;
    talker->input.count = stage.input.count / 2;
    make_link_actor(act, &talker->actor, client_names[i], &ledger->clients[i], be_client, kills);
    talker->actor.part.input = &talker->input;
    talker->actor.progress = &ledger->clients[i].released;
    talker->actor.after_death = client_died;
    talker->requests = (struct checker){.input = &talker->input, .notes = &ledger->requests[i], .begun = true};
    talker->answers = (struct checker){.input = &talker->input, .notes = &ledger->clients[i], .begun = true};
}

static void make_link_act(struct link_act *act, int clients, uint64_t kills, uint64_t total) {
    act->ledger = make_ledger(sizeof *act->ledger);
    act->clients = clients;
    act->total = act->limit = total;
    make_link_actor(act, &act->server, "server", &act->ledger->server, be_server, kills);
    act->server.progress = &act->ledger->mean;
    act->server.after_death = server_died;
    for (int i = 0; i < clients; i++) make_talker(act, i, kills / 2);
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

static void show_link_begin(const struct link_act *act) {
    printf("\n  links      %d clients talk to the server \"%s\"; each sends %" PRIu64
           " records of those files, and gets them back\n",
           act->clients, SERVER, act->total);
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

static bool sums_are_equal(const struct talker *talker, uint64_t total) {
    uint64_t expected = check_expected(&talker->input, 0, total);
    bool equal = expected == talker->requests.sum && expected == talker->answers.sum;
    printf("  checksums  %-7s of what it sent %016" PRIx64 ", of what the server got, and of what came back: %s\n",
           talker->actor.part.name, expected, equal ? "equal" : "DIFFERENT");
    return equal;
}

struct link_look {
    const struct link_act *act;
    int sound;
};

/* All was sent, and has come. What is released on the other host may not have been told yet. */
static int look_at_link(const struct lw_link_info *info, int error, void *user) {
    struct link_look *look = user;
    uint64_t total = look->act->total;
    bool sound = !error && info->sent == total && info->arrived == total;
    if (sound && !info->remote) sound = info->taken == total && info->released == total && !info->client_pid;
    look->sound += sound;
    if (!sound)
        printf("  link       %s/%s is NOT SOUND: %s\n", info->server, info->client,
               error ? lw_errtext() : "other numbers than were sent");
    return 0;
}

static bool links_are_sound(const struct link_act *act, const char *dir) {
    struct link_look look = {.act = act};
    struct lw_bus *bus = observe(dir);
    if (lw_link_list(bus, SERVER, look_at_link, &look)) printf("  links      %s\n", lw_errtext());
    lw_bus_close(bus);
    return look.sound == act->clients;
}

/* What the checker says about all of it. */
struct link_sums {
    struct checker requests, answers;
    uint64_t vanished, invented;
};

static struct link_sums add_up_links(const struct link_act *act) {
    struct link_sums sums = {.vanished = 0};
    for (int i = 0; i < act->clients; i++) {
        add_up(&sums.requests, &act->talkers[i].requests);
        add_up(&sums.answers, &act->talkers[i].answers);
        sums.vanished += act->talkers[i].vanished;
        sums.invented += act->talkers[i].invented;
    }
    return sums;
}

static void show_traffic(const struct link_act *act, const struct link_sums *sums) {
    double seconds = (double)(act->end_ns - act->begin_ns) / 1e9;
    uint64_t requests = (uint64_t)act->clients * act->total;
    printf("  sent       %" PRIu64 " requests and as many answers, %.0f MB in %.1f s, %.0f messages/s\n", requests,
           (double)(sums->requests.bytes + sums->answers.bytes) / 1e6, seconds, 2 * (double)requests / seconds);
    show_kills(&act->server);
    for (int i = 0; i < act->clients; i++) show_kills(&act->talkers[i].actor);
    printf("  redelivered %" PRIu64 " requests, each answered once all the same, and %" PRIu64
           " answers (they had not been released)\n",
           sums->requests.redelivered, sums->answers.redelivered);
}

static struct outcome show_link_end(const struct link_act *act) {
    struct link_sums sums = add_up_links(act);
    bool good = true;
    show_traffic(act, &sums);
    for (int i = 0; i < act->clients; i++) good &= sums_are_equal(&act->talkers[i], act->total);
    uint64_t order = sums.requests.out_of_order + sums.answers.out_of_order + sums.invented;
    uint64_t corrupt = sums.requests.corrupt + sums.answers.corrupt;
    printf("  checker    %" PRIu64 " out of order, %" PRIu64 " corrupt\n", order, corrupt);
    return (struct outcome){.messages = 2 * (uint64_t)act->clients * act->total,
                            .lost = sums.requests.lost + sums.answers.lost + sums.vanished,
                            .repeated = sums.requests.repeated + sums.answers.repeated,
                            .good = good && !order && !corrupt};
}

#endif

/* SPDX-License-Identifier: MIT */
/* bench/place.c - the bus that a benchmark runs on: made, and cleared away. */
#include "place.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/* Memory if there is any to be had: a disk would be measured too. */
static const char *temp_folder(void) {
    const char *named = getenv("TMPDIR");
    if (access("/dev/shm", W_OK | X_OK) == 0) return "/dev/shm";
    return named && *named ? named : "/tmp";
}

int bench_place_make(struct bench_place *place) {
    place->dir[0] = '\0';
    snprintf(place->prefix, sizeof place->prefix, "bench-%ld/", (long)getpid());
    if (common.bus) {
        snprintf(place->bus, sizeof place->bus, "%s", common.bus);
        return 0;
    }
    snprintf(place->dir, sizeof place->dir, "%s/laneway-bench-XXXXXX", temp_folder());
    if (!mkdtemp(place->dir)) return fail(-errno, "%s", place->dir);
    snprintf(place->bus, sizeof place->bus, "%s/bus", place->dir);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status, (void)type, (void)ftw;
    remove(path);
    return 0;
}

struct cleaner {
    struct lw_bus *bus;
    const char *prefix;
};

static int remove_ours(const char *topic, void *user) {
    const struct cleaner *cleaner = user;
    if (strncmp(topic, cleaner->prefix, strlen(cleaner->prefix)) == 0) lw_topic_remove(cleaner->bus, topic, 1);
    return 0;
}

/* Servers have the prefix of topics, but for the slash. Of a link over TCP both halves are here, and the client's goes by
 * an address: any will do. */
static int remove_our_link(const struct lw_link_info *info, int error, void *user) {
    const struct cleaner *cleaner = user;
    char address[LW_ADDRESS_MAX];
    (void)error;
    size_t length = strlen(cleaner->prefix) - 1;
    if (strncmp(info->server, cleaner->prefix, length) != 0 || info->server[length] != '-') return 0;
    snprintf(address, sizeof address, "tcp://127.0.0.1:1/%s", info->server);
    lw_link_remove(cleaner->bus, info->server, info->client, LW_REMOVE_FORCE, NULL);
    lw_link_remove(cleaner->bus, address, info->client, LW_REMOVE_FORCE, NULL);
    return 0;
}

static void clear_bus(const struct bench_place *place) {
    struct cleaner cleaner = {NULL, place->prefix};
    if (bus_join_there(&cleaner.bus)) return;
    lw_topic_list(cleaner.bus, remove_ours, &cleaner);
    lw_link_list(cleaner.bus, NULL, remove_our_link, &cleaner);
    lw_bus_close(cleaner.bus);
}

void bench_place_clear(const struct bench_place *place) {
    if (*place->dir)
        nftw(place->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    else
        clear_bus(place);
}

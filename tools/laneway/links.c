/* SPDX-License-Identifier: MIT */
/* links.c - `laneway ls links` and `laneway rm links`: lists and removes the links that fit a pattern. */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- patterns ----------------------------------------------------------------------------------------------------- */

/* The part of an address that is names: behind HOST:PORT, or the last two of a path. Another text is all names. */
static const char *names_in(const char *pattern) {
    const char *scheme = strstr(pattern, "://"), *names;
    if (!scheme) return pattern;
    if (strncmp(pattern, "unix://", 7) != 0) {
        names = strchr(scheme + 3, '/');
        return names ? names + 1 : "";
    }
    names = strrchr(pattern, '/');
    while (names > scheme + 3 && names[-1] != '/') names--;
    return names > scheme + 3 ? names : "";
}

/* A pattern that fits no name is a slip of the pen, not one that fits nothing. */
void links_check(const struct usage *usage, const char *pattern) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*?[]!/";
    const char *names = names_in(pattern), *slash = strchr(names, '/');
    bool good = *names && strspn(names, allowed) == strlen(names) && !strchr(".-", *names);
    if (slash) good &= slash > names && slash[1] && !strchr(".-", slash[1]) && !strchr(slash + 1, '/');
    if (!good)
        options_refuse(usage,
                       "'%s' is no pattern for links: SERVER/CLIENT or SERVER, with * ? [...] as in a shell; or an "
                       "address and these, tcp://HOST:PORT/SERVER/CLIENT",
                       pattern);
}

/* Who writes an address means the client's side of a link over TCP. Which address is all the same, as it is for the link. */
static bool fits(const char *pattern, const struct lw_link_info *info) {
    char name[2 * LW_NAME_MAX + 2];
    const char *names = pattern ? names_in(pattern) : "";
    bool both = strchr(names, '/');
    if (!pattern) return true;
    if (names != pattern && info->remote != LW_LINK_OF_CLIENT) return false;
    snprintf(name, sizeof name, "%s%s%s", info->server, both ? "/" : "", both ? info->client : "");
    return fnmatch(names, name, FNM_PATHNAME) == 0;
}

/* NULL: both sides are here. */
static const char *side_name(int remote) {
    return remote == LW_LINK_OF_CLIENT ? "client" : remote == LW_LINK_OF_SERVER ? "server" : NULL;
}

/* ---- list --------------------------------------------------------------------------------------------------------- */

struct listing {
    const char *pattern;
    bool long_form;
    unsigned links, unreadable;
};

static const char *state_name(enum lw_link_state state) {
    static const char *const names[] = {"waiting", "up", "down", "refused"};
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "?";
}

static uint64_t unread_up(const struct lw_link_info *info) {
    return info->sent - info->taken;
}

static uint64_t unread_down(const struct lw_link_info *info) {
    return info->arrived - info->released;
}

static void print_json(const struct lw_link_info *info) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_text(&json, "server", info->server);
    json_text(&json, "client", info->client);
    json_text_or_null(&json, "side", side_name(info->remote));
    json_text_or_null(&json, "address", info->address);
    json_text(&json, "state", state_name(info->state));
    json_text_or_null(&json, "server_node", info->server_node);
    json_number(&json, "server_pid", (uint64_t)info->server_pid);
    json_text_or_null(&json, "client_node", info->client_node);
    json_number(&json, "client_pid", (uint64_t)info->client_pid);
    json_number(&json, "sent_up", info->sent);
    json_number(&json, "unread_up", unread_up(info));
    json_number(&json, "unread_up_bytes", info->sent_bytes_unread);
    json_number(&json, "sent_down", info->arrived);
    json_number(&json, "unread_down", unread_down(info));
    json_number(&json, "ring_up", info->ring_up);
    json_number(&json, "ring_down", info->ring_down);
    json_close(&json, '}');
    json_end(&json);
}

static void print_heading(const struct listing *listing) {
    printf("%-20s %-20s %-8s %-16s %8s %-16s %8s %10s %10s", "SERVER", "CLIENT", "STATE", "SERVER-NODE", "PID",
           "CLIENT-NODE", "PID", "UNREAD-UP", "UNREAD-DN");
    if (listing->long_form) printf(" %12s %12s %12s %12s", "SENT-UP", "SENT-DN", "RING-UP", "RING-DN");
    putchar('\n');
}

/* A node; of the side that is on another host, the address. */
static const char *where(const struct lw_link_info *info, int remote, const char *node) {
    if (info->remote == remote) return *info->address ? info->address : "elsewhere";
    return *node ? node : "-";
}

static void print_row(const struct listing *listing, const struct lw_link_info *info) {
    printf("%-20s %-20s %-8s %-16s %8d %-16s %8d %10" PRIu64 " %10" PRIu64, info->server, info->client,
           state_name(info->state), where(info, LW_LINK_OF_CLIENT, info->server_node), info->server_pid,
           where(info, LW_LINK_OF_SERVER, info->client_node), info->client_pid, unread_up(info), unread_down(info));
    if (listing->long_form)
        printf(" %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64, info->sent, info->arrived, info->ring_up,
               info->ring_down);
    putchar('\n');
}

/* One that can't be read does not hide the others. */
static int list_one(const struct lw_link_info *info, int error, void *user) {
    struct listing *listing = user;
    if (!fits(listing->pattern, info)) return 0;
    listing->links++;
    if (error) {
        fail_call(error);
        listing->unreadable++;
    } else if (common.json) {
        print_json(info);
    } else {
        print_row(listing, info);
    }
    return 0;
}

int links_list(struct lw_bus *bus, const char *pattern, bool long_form) {
    struct listing listing = {.pattern = pattern, .long_form = long_form};
    if (!common.json) print_heading(&listing);
    int rc = lw_link_list(bus, NULL, list_one, &listing);
    if (rc) return fail_call(rc);
    if (!listing.unreadable) return EXIT_OK;
    warning("%u of %u links could not be read and are not in the list", listing.unreadable, listing.links);
    return EXIT_FAILED;
}

/* ---- remove ------------------------------------------------------------------------------------------------------- */

struct name {
    char server[LW_NAME_MAX + 1];
    char client[LW_NAME_MAX + 1];
    int remote;
};

/* What fits, before anything of it is removed. */
struct found {
    const char *pattern;
    struct name *names;
    size_t count;
};

static int find_one(const struct lw_link_info *info, int error, void *user) {
    struct found *found = user;
    (void)error; /* a damaged one can be removed, too */
    if (!fits(found->pattern, info)) return 0;
    struct name *longer = realloc(found->names, (found->count + 1) * sizeof *longer);
    if (!longer) return -ENOMEM;
    found->names = longer;
    memcpy(longer[found->count].server, info->server, sizeof info->server);
    memcpy(longer[found->count].client, info->client, sizeof info->client);
    longer[found->count].remote = info->remote;
    found->count++;
    return 0;
}

static void tell_removed(const struct name *name, uint64_t unread) {
    struct json json = json_stdout();
    if (!common.json) {
        printf("removed %s/%s", name->server, name->client);
        if (side_name(name->remote)) printf(" (its %s's side)", side_name(name->remote));
        if (unread) printf(", %" PRIu64 " unread message%s discarded", unread, unread == 1 ? "" : "s");
        putchar('\n');
        return;
    }
    json_open(&json, NULL, '{');
    json_text(&json, "server", name->server);
    json_text(&json, "client", name->client);
    if (side_name(name->remote)) json_text(&json, "side", side_name(name->remote));
    json_bool(&json, "removed", true);
    json_number(&json, "unread", unread);
    json_close(&json, '}');
    json_end(&json);
}

/* One that somebody else removed meanwhile is as wanted. */
static int remove_one(struct lw_bus *bus, const struct name *name, bool force) {
    char server[LW_NAME_MAX + sizeof "tcp://:0/"];
    uint64_t unread;
    bool elsewhere = name->remote == LW_LINK_OF_CLIENT; /* any address of the server will do */
    snprintf(server, sizeof server, "%s%s", elsewhere ? "tcp://:0/" : "", name->server);
    int rc = lw_link_remove(bus, server, name->client, force ? LW_REMOVE_FORCE : 0u, &unread);
    if (rc && rc != LW_ENOLINK) return fail_call(rc);
    if (!rc) tell_removed(name, unread);
    return EXIT_OK;
}

/* One that is refused does not keep the others; the first refusal is the exit code. */
static int remove_found(struct lw_bus *bus, const struct found *found, bool force) {
    int result = EXIT_OK;
    size_t kept = 0;
    for (size_t i = 0; i < found->count; i++) {
        int rc = remove_one(bus, &found->names[i], force);
        if (result == EXIT_OK) result = rc;
        kept += rc != EXIT_OK;
    }
    if (kept && found->count > 1) warning("%zu of %zu links were not removed", kept, found->count);
    return result;
}

int links_remove(struct lw_bus *bus, const char *pattern, bool force) {
    struct found found = {.pattern = pattern};
    int rc = lw_link_list(bus, NULL, find_one, &found), result;
    if (rc == -ENOMEM)
        result = fail(rc, "no memory for the names of %zu links", found.count);
    else if (rc)
        result = fail_call(rc);
    else if (!found.count)
        result =
            fail(LW_ENOLINK, "no link %s on bus %s; `laneway ls links` lists what there is", pattern, lw_bus_dir(bus));
    else
        result = remove_found(bus, &found, force);
    free(found.names);
    return result;
}

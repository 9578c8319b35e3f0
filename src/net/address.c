/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define FORM "write tcp://HOST:PORT/SERVER or unix:///PATH/SERVER"
#define LISTEN_FORM "write tcp://HOST:PORT or unix:///PATH"

bool lw__address_is(const char *text) {
    return text && strstr(text, "://");
}

static int refuse(const char *text, bool with_server, const char *what) {
    return lw__fail(LW_ENAME, "address %.200s: %s; %s", text, what, with_server ? FORM : LISTEN_FORM);
}

/* ---- hosts -------------------------------------------------------------------------------------------------------- */

static bool set_host(struct lw__address *a, const char *host, uint16_t port) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a->socket;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->socket;
    memset(&a->socket, 0, sizeof a->socket);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        a->length = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1) return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    a->length = sizeof *v6;
    return true;
}

/* The first address that /etc/hosts has for a name. */
static bool look_up(struct lw__address *a, const char *host, uint16_t port) {
    char line[1024], *rest, *word;
    bool found = false;
    FILE *file = fopen("/etc/hosts", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "#")] = 0;
        char *address = strtok_r(line, " \t\n", &rest);
        while (address && !found && (word = strtok_r(NULL, " \t\n", &rest)))
            found = strcasecmp(word, host) == 0 && set_host(a, address, port);
    }
    if (file) fclose(file);
    return found;
}

static bool find_host(struct lw__address *a, const char *host, uint16_t port) {
    if (!*host || strcasecmp(host, "localhost") == 0) return set_host(a, "127.0.0.1", port);
    return set_host(a, host, port) || look_up(a, host, port);
}

/* ---- the parts ---------------------------------------------------------------------------------------------------- */

/* Cuts "/SERVER" off the end of `text`. NULL or what is wrong. */
static const char *cut_server(struct lw__address *a, char *text, bool with_server) {
    char *slash = strrchr(text, '/');
    a->server[0] = 0;
    if (!with_server) return NULL;
    if (!slash || !slash[1]) return "the server's name is missing";
    if (strlen(slash + 1) >= sizeof a->server) return "the server's name is too long";
    memcpy(a->server, slash + 1, strlen(slash + 1) + 1);
    *slash = 0;
    return NULL;
}

static const char *read_tcp(struct lw__address *a, char *text) {
    char *host = text, *colon = strrchr(text, ':'), *end;
    if (!colon || !colon[1]) return "the port is missing";
    if (strchr(text, '/')) return "a / too many";
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port > 65535 || colon[1] < '0' || colon[1] > '9') return "the port is no number from 0 to 65535";
    *colon = 0;
    if (*host == '[') {
        if (colon[-1] != ']') return "a [ without its ]";
        colon[-1] = 0;
        if (!*++host) return "no address in the []";
    } else if (strchr(host, ':')) {
        return "an IPv6 address goes into []";
    }
    if (find_host(a, host, (uint16_t)port)) return NULL;
    return "the host is neither an address nor in /etc/hosts (name servers are not asked: that may block for seconds)";
}

static const char *read_unix(struct lw__address *a, const char *path) {
    struct sockaddr_un *un = (struct sockaddr_un *)&a->socket;
    memset(&a->socket, 0, sizeof a->socket);
    if (*path != '/' || !path[1]) return "the path of the socket must begin with /";
    if (strlen(path) >= sizeof un->sun_path) return "the path of the socket is too long (107 bytes at most)";
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, strlen(path) + 1);
    a->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    return NULL;
}

int lw__address_read(struct lw__address *a, const char *text, bool with_server) {
    char copy[LW__ADDRESS_MAX];
    const char *bad;
    if (strlen(text) >= sizeof copy) return refuse(text, with_server, "too long");
    memcpy(a->text, text, strlen(text) + 1);
    bool tcp = strncmp(text, "tcp://", 6) == 0;
    if (strncmp(text, "shm://", 6) == 0)
        return refuse(text, with_server,
                      "shared memory reaches the programs of this host only, and there the server's name is enough");
    if (!tcp && strncmp(text, "unix://", 7) != 0) return refuse(text, with_server, "neither tcp:// nor unix://");
    memcpy(copy, text + (tcp ? 6 : 7), strlen(text) + 1 - (tcp ? 6 : 7));
    bad = cut_server(a, copy, with_server);
    if (!bad) bad = tcp ? read_tcp(a, copy) : read_unix(a, copy);
    return bad ? refuse(text, with_server, bad) : 0;
}

/* ---- for people --------------------------------------------------------------------------------------------------- */

void lw__address_show(const struct sockaddr *address, char text[LW__ADDRESS_MAX]) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, LW__ADDRESS_MAX, "tcp://%s:%u", host, ntohs(v4->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, LW__ADDRESS_MAX, "tcp://[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const char *path = ((const struct sockaddr_un *)(const void *)address)->sun_path;
        snprintf(text, LW__ADDRESS_MAX, "unix://%.107s", address->sa_family == AF_UNIX ? path : "");
    }
}

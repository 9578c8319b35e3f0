/* SPDX-License-Identifier: MIT */
/*
 * net/address.h - where a server is, as the user writes it:
 *
 *     tcp://HOST:PORT/SERVER        HOST: an IPv4 address, an IPv6 one in [], localhost, or a name of /etc/hosts
 *     unix:///PATH/SERVER           PATH of a socket: all up to the last /
 *
 * and where one listens: the same without /SERVER; tcp://:PORT is this host's loopback, PORT 0 any free one.
 * A name is looked up in /etc/hosts alone: asking a name server blocks for seconds, and nothing here blocks.
 */
#ifndef LW_NET_ADDRESS_H
#define LW_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { LW__ADDRESS_MAX = 256 /* LW_ADDRESS_MAX */, LW__ADDRESS_SERVER = 64 };

struct lw__address {
    struct sockaddr_storage socket;
    socklen_t length;
    char text[LW__ADDRESS_MAX];      /* as it was given */
    char server[LW__ADDRESS_SERVER]; /* "" for one to listen at */
};

/* Is this an address, not a name? */
bool lw__address_is(const char *text);

/* 0; LW_ENAME with text. `with_server`: it must end with one, else it must not. The server's name is not checked. */
int lw__address_read(struct lw__address *address, const char *text, bool with_server);

/* How people write it: "tcp://[::1]:7000". */
void lw__address_show(const struct sockaddr *address, char text[LW__ADDRESS_MAX]);

#endif

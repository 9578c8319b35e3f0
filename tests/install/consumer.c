/* SPDX-License-Identifier: MIT */
/* A C11 program built against the installed tree, as a user would: one message to itself. */
#include <laneway/laneway.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, lw_errtext());
    return 1;
}

int main(void) {
    struct lw_bus *bus;
    struct lw_sub *sub;
    struct lw_pub *pub;
    struct lw_msg m;

    if (strcmp(lw_version(), LW_VERSION) != 0) return fail("version");
    if (lw_bus_open(&bus, NULL)) return fail("bus");
    if (lw_sub_open(&sub, bus, "hello", NULL)) return fail("sub");
    if (lw_pub_open(&pub, bus, "hello", NULL)) return fail("pub");
    if (lw_pub_send(pub, 7, "world", 6, 0) < 0) return fail("send");
    if (lw_sub_next(sub, &m, LW_SEC(5)) != 1 || m.type != 7 || strcmp(m.data, "world") != 0) return fail("next");
    if (lw_sub_release(sub, &m)) return fail("release");
    lw_pub_close(pub);
    lw_sub_close(sub);
    return lw_bus_close(bus) ? fail("close") : 0;
}

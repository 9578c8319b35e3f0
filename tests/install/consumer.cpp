// SPDX-License-Identifier: MIT
// A C++17 program built against the installed tree, as a user would: one message to itself.
#include <cstdio>
#include <laneway/laneway.h>
#include <string_view>

static int fail(const char *what) {
    std::fprintf(stderr, "%s: %s\n", what, lw_errtext());
    return 1;
}

int main() {
    lw_bus_options options = LW_BUS_OPTIONS_INIT;
    options.node = "consumer";
    lw_sub_options durable = LW_SUB_OPTIONS_INIT;
    durable.name = "plus";
    lw_bus *bus;
    lw_sub *sub;
    lw_pub *pub;
    lw_msg m;

    if (std::string_view(lw_version()) != LW_VERSION) return fail("version");
    if (lw_bus_open(&bus, &options)) return fail("bus");
    if (lw_sub_open(&sub, bus, "hello", &durable)) return fail("sub");
    if (lw_pub_open(&pub, bus, "hello", nullptr)) return fail("pub");
    if (lw_pub_send(pub, 7, "world", 5, 0) < 0) return fail("send");
    if (lw_sub_next(sub, &m, LW_SEC(5)) != 1) return fail("next");
    if (std::string_view(static_cast<const char *>(m.data), m.len) != "world") return fail("content");
    if (lw_sub_release(sub, &m)) return fail("release");
    lw_pub_close(pub);
    lw_sub_close(sub);
    return lw_bus_close(bus) ? fail("close") : 0;
}

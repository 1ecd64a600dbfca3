/*
 * Redirects: what nodes of a Cluster say of a slot that is elsewhere.
 */
#include "base/redirect.h"

#include "base/text.h"

#include <criterion/criterion.h>

Test(base_redirect, names_a_slot_and_where_it_is)
{
    static const struct {
        const char *error;
        bool is_ask;
        unsigned slot;
        const char *host;
        int port;
    } said[] = {{"MOVED 12000 10.0.0.7:7602", false, 12000, "10.0.0.7", 7602},
        {"ASK 0 node-2.example:1", true, 0, "node-2.example", 1},
        {"MOVED 16383 :7602", false, 16383, "", 7602}, {"ASK 7 ?:65535", true, 7, "?", 65535},
        {"MOVED 12000 2001:db8::7:7000", false, 12000, "2001:db8::7", 7000},
        {"ASK 12000 ::1:7000", true, 12000, "::1", 7000}};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        gavel__redirect redirect;
        cr_assert(gavel__redirect_read(gavel_str(said[i].error), &redirect), "%s", said[i].error);
        cr_expect_eq(redirect.is_ask, said[i].is_ask, "%s", said[i].error);
        cr_expect_eq(redirect.slot, said[i].slot, "%s", said[i].error);
        cr_expect(gavel__bytes_equal(redirect.host, gavel_str(said[i].host)), "%s", said[i].error);
        cr_expect_eq(redirect.port, said[i].port, "%s", said[i].error);
    }
}

Test(base_redirect, all_else_is_none)
{
    static const char *const said[] = {"", "MOVED", "MOVED ", "MOVED 12000", "MOVED 12000 ",
        "MOVED 12000 host", "MOVED 12000 host:", "MOVED 12000 host:0", "MOVED 12000 host:65536",
        "MOVED 12000 host:-1", "MOVED 12000 host:7 ", "MOVED 16384 host:7", "MOVED -1 host:7",
        "MOVED x host:7", "MOVED  host:7", "MOVED 012 host:7", "moved 12000 host:7",
        "ASKED 12000 host:7", "TRYAGAIN 12000 host:7", "ERR MOVED 12000 host:7",
        "MOVED 99999999999999999999 host:7"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        gavel__redirect redirect;
        cr_expect_not(gavel__redirect_read(gavel_str(said[i]), &redirect), "%s", said[i]);
    }
}

/*
 * gavel.hpp where exceptions are turned off. A plain program: Criterion's C++ needs them.
 */
#include <gavel/gavel.hpp>
#include <gavel/lock.hpp>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "server.h"
}

#if defined(__cpp_exceptions)
#error "this is to be built with -fno-exceptions"
#endif

static int n_faults;

static void expect(bool is_right, const char *what, const gavel::outcome &outcome)
{
    if (!is_right) {
        fprintf(stderr, "%s: %s\n", what, outcome.text().c_str());
        n_faults++;
    }
}

static void use(gavel::client client)
{
    gavel::transaction what;
    what.read("counter").key("board").deadline_ms(20000).keep_replies();
    auto body = [](gavel::tx tx) {
        std::int64_t value = tx.get_int("counter").value_or(0);
        if (value == 2)
            return tx.abort(2);
        tx.set_int("counter", value + 1);
        tx.write(gavel::command("ZADD", "board", value, "ann"));
        return GAVEL_COMMIT;
    };
    gavel::outcome outcome = client.run(what, body);
    expect(outcome && outcome.n_replies == 2, "the first", outcome);
    outcome = client.run(what, body);
    expect(outcome && outcome.n_replies == 2, "the second", outcome);
    outcome = client.run(what, body);
    expect(outcome.status == GAVEL_ABORTED && outcome.abort_code == 2, "the third", outcome);
    gavel::lock lock =
        gavel::lock::acquire(client, gavel::lock_request("l"), [](gavel_lock_reason) {});
    if (lock.release().status != GAVEL_LOCK_RELEASED) {
        fprintf(stderr, "the lock: %s\n", lock.outcome().message);
        n_faults++;
    }
}

int main()
{
    test_server *server = server_start(nullptr);
    gavel_error error{};
    gavel::client client = gavel::client::open(server_url(server), nullptr, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error.message);
        n_faults++;
    } else {
        use(std::move(client));
    }
    server_stop(server);
    return n_faults == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * gavel.hpp: lambdas, strings of every kind, optional reads, and exceptions, on a server. Built
 * once for each standard, and once without exceptions.
 */
#include <gavel/gavel.hpp>
#include <gavel/lock.hpp>

/* First what tools.h brings: no C++ header may come within extern "C". */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "tools.h"
}

#include <criterion/criterion.h>
#include <ev.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::literals;

namespace
{

static_assert(!std::is_copy_constructible_v<gavel::client>);
static_assert(!std::is_copy_constructible_v<gavel::outcome>);
static_assert(std::is_nothrow_move_constructible_v<gavel::client>);
static_assert(std::is_nothrow_move_assignable_v<gavel::outcome>);

constexpr gavel::bytes counter = "counter";
static_assert(counter.size == 7);

/* A server, and a client of this test's own. */
class rig
{
public:
    explicit rig(struct ev_loop *loop = nullptr) : server(server_start(nullptr))
    {
        gavel_config config{};
        config.loop = loop;
        gavel_error error{};
        client = gavel::client::open(server_url(server), &config, &error);
        cr_assert(static_cast<bool>(client), "%s", error.message);
    }
    ~rig()
    {
        client.close();
        server_stop(server);
    }
    rig(const rig &) = delete;
    rig &operator=(const rig &) = delete;

    void expect(const char *key, const char *value)
    {
        cr_expect(server_says(server, value, "GET", key, NULL), "%s is not %s", key, value);
    }

    void set(const char *key, const char *value) { server_do(server, "SET", key, value, NULL); }

    test_server *server;
    gavel::client client;
};

} // namespace

Test(cxx, a_client_that_cannot_be_opened_is_none)
{
    gavel_error error{};
    gavel::client client = gavel::client::open("nowhere", nullptr, &error);
    cr_expect_not(static_cast<bool>(client));
    cr_expect(live_contains(error.message, "redis://"));
    cr_expect_eq(client.run({}, [](gavel::tx) {}).status, GAVEL_INVALID);
    client.close();
}

Test(cxx, clients_move)
{
    rig here;
    gavel_client *inside = here.client.get();
    gavel::client other = std::move(here.client);
    cr_expect_eq(other.get(), inside);
    cr_expect_null(here.client.get());
    here.client = std::move(other);
    cr_expect_eq(here.client.get(), inside);
}

Test(cxx, every_kind_of_string)
{
    rig here;
    const std::string string = "string";
    const std::string_view view = "view";
    std::size_t n_read = 0;
    gavel::transaction what;
    what.key("literal").key(string).key(view).key(GAVEL_STR("bytes")).key("nul").key("empty");
    gavel::outcome outcome = here.client.run(what, [&](gavel::tx &tx) {
        tx.set("literal", "a");
        tx.set(string, string);
        tx.set(view, view);
        tx.set(GAVEL_STR("bytes"), GAVEL_STR("b"));
        tx.set("nul", "a\0b"sv);
        tx.set("empty", std::string_view());
        n_read = tx.get("nul").value_or("").size();
        cr_expect(tx.get("empty") == ""sv);
        cr_expect_not(tx.get("absent").has_value());
    });
    cr_expect(static_cast<bool>(outcome), "%s", outcome.text().c_str());
    cr_expect_eq(n_read, 3);
    here.expect("literal", "a");
    here.expect("string", "string");
    here.expect("view", "view");
    here.expect("bytes", "b");
    here.expect("empty", "");
}

Test(cxx, numbers_commands_and_replies)
{
    rig here;
    double score = 0;
    std::int64_t now_us = 0;
    auto count = [&](gavel::tx tx) {
        now_us = tx.server_time_us().value_or(0);
        tx.set_int(counter, tx.get_int(counter).value_or(40) + 1);
        tx.hset_double("hash", "half", tx.hget_double("hash", "half").value_or(0.25) * 2);
        tx.write(gavel::command("ZADD", "board", 12, "ann", INT64_MIN, "bob"));
    };
    gavel::transaction what;
    what.read(counter).read("hash", "half").key("board").keep_replies();
    gavel::outcome first = here.client.run(what, count);
    cr_expect_gt(now_us, 0);
    cr_expect_eq(first.n_replies, 3);
    cr_expect_eq(first.replies[2].integer, 2);
    gavel::outcome again(here.client.run(what, count));
    first = std::move(again);
    cr_expect_eq(first.n_replies, 3);
    cr_expect_eq(again.n_replies, 0);
    here.expect("counter", "42");

    const std::string ann = "ann";
    gavel::command ask("ZSCORE", "board", ann);
    cr_expect(static_cast<bool>(
        here.client.run(gavel::transaction().read(ask).read_only(), [&](gavel::tx tx) {
            const gavel_reply *reply = tx.query(ask);
            score = reply != nullptr ? std::stod(std::string(gavel::view(reply->text))) : 0;
        })));
    cr_expect_eq(score, 12);
}

Test(cxx, results_aborts_and_words)
{
    rig here;
    here.set("counter", "7");
    auto refuse = [](gavel::tx tx) { return tx.abort(static_cast<int>(*tx.get_int(counter))); };
    gavel::transaction what = gavel::transaction().read(counter).deadline_ms(20000);
    gavel::outcome outcome = here.client.run(what, refuse);
    const std::string text = outcome.text();
    cr_expect_str_eq(text.c_str(), "ABORTED (code 7): the body decided not to write");
    what.id("once").digest("of it");
    for (int i = 0; i < 2; i++) {
        gavel::outcome told = here.client.run(what, [](gavel::tx tx) {
            tx.set_result("done");
            tx.incr(counter, 1);
        });
        cr_expect(told.result_view() == "done"sv);
        cr_expect_eq(told.is_duplicate, i == 1);
    }
    here.expect("counter", "8");
}

/* Each body and each callback is freed, whether it was told or not even taken. */
Test(cxx, submissions_own_what_they_are_given)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    auto token = std::make_shared<int>(0);
    {
        rig here(loop);
        gavel::transaction what = gavel::transaction().read(counter);
        auto body = [token](gavel::tx tx) { tx.set_int(counter, ++*token); };
        auto done = [token](const gavel::outcome &outcome) {
            cr_expect(static_cast<bool>(outcome), "%s", outcome.text().c_str());
        };
        cr_expect_neq(here.client.submit(what, body, done), 0);
        ev_run(loop, 0);
        here.expect("counter", "1");
        auto taken_back = [token](const gavel::outcome &outcome) {
            cr_expect_eq(outcome.status, GAVEL_CANCELLED);
        };
        gavel_ticket ticket = here.client.submit(what, body, taken_back);
        cr_expect(here.client.cancel(ticket));
        here.client.submit(what, body, taken_back);
        here.client.close();
        cr_expect_eq(here.client.submit(what, body, taken_back), 0);
    }
    cr_expect_eq(token.use_count(), 1);
    ev_loop_destroy(loop);
}

/* ---- Locks --------------------------------------------------------------------------------- */

namespace
{

static_assert(!std::is_copy_constructible_v<gavel::lock>);
static_assert(std::is_nothrow_move_assignable_v<gavel::lock>);
static_assert(!std::is_copy_constructible_v<gavel::lock_outcome>);

gavel_lock_status try_lock(gavel::client &client)
{
    return gavel::lock::acquire(client, gavel::lock_request("l").only_try()).outcome().status;
}

/* The lock's, with a lease that ends. */
gavel::lock_request brief()
{
    return gavel::lock_request("l").lease_ms(500).fixed();
}

} // namespace

Test(cxx, a_lock_ends_with_its_block)
{
    rig here;
    gavel::client other = gavel::client::open(server_url(here.server));
    std::int64_t fence = 0;
    {
        gavel::lock lock =
            gavel::lock::acquire(here.client, gavel::lock_request("l").wait_ms(20000));
        cr_assert(static_cast<bool>(lock), "%s", lock.outcome().message);
        fence = lock.fence();
        cr_expect_gt(lock.remaining_ms(), 0);
        cr_expect_eq(try_lock(other), GAVEL_LOCK_BUSY);
        gavel::lock moved = std::move(lock);
        lock.close();
        cr_expect_eq(try_lock(other), GAVEL_LOCK_BUSY);
        lock = std::move(moved);
        cr_expect_eq(lock.fence(), fence);
    }
    gavel::lock lock = gavel::lock::acquire(other, gavel::lock_request("l").only_try());
    cr_expect_gt(lock.fence(), fence);
    lock = gavel::lock();
    cr_expect_eq(try_lock(here.client), GAVEL_LOCK_HELD);
}

Test(cxx, a_lock_is_extended_used_and_released)
{
    rig here;
    gavel::lock lock = gavel::lock::acquire(here.client, gavel::lock_request("l"));
    cr_expect_eq(lock.extend(20000).status, GAVEL_LOCK_HELD);
    cr_expect_gt(lock.remaining_ms(), 10000);
    gavel::lock_outcome one = lock.run(gavel::command("INCR", "counter"));
    gavel::lock_outcome two = lock.run(gavel::command("INCRBY", "counter", 4), 20000);
    one = std::move(two);
    cr_assert_not_null(one.reply, "%s", one.message);
    cr_expect_eq(one.reply->integer, 5);
    cr_expect_null(two.reply);
    cr_expect_eq(lock.release().status, GAVEL_LOCK_RELEASED);
    cr_expect_not(static_cast<bool>(lock));
    cr_expect_eq(lock.release().status, GAVEL_LOCK_INVALID);
}

Test(cxx, the_loss_of_a_lock_is_told)
{
    rig here;
    std::atomic<int> told = 0;
    auto token = std::make_shared<int>(0);
    gavel::lock lock = gavel::lock::acquire(
        here.client, brief(), [&told, token](gavel_lock_reason reason) { told = reason; });
    cr_assert(static_cast<bool>(lock), "%s", lock.outcome().message);
    while (told == 0)
        std::this_thread::yield();
    cr_expect_eq(told, GAVEL_LOCK_EXPIRED);
    cr_expect_eq(lock.release().status, GAVEL_LOCK_LOST);
    cr_expect_eq(token.use_count(), 1);
}

/* Neither is told anything, and what it was given is freed. */
Test(cxx, a_lock_that_cannot_be_had_is_none)
{
    rig here;
    auto token = std::make_shared<int>(0);
    auto on_lost = [token](gavel_lock_reason) {};
    gavel::lock lock = gavel::lock::acquire(here.client, gavel::lock_request("l"));
    gavel::lock busy =
        gavel::lock::acquire(here.client, gavel::lock_request("l").only_try(), on_lost);
    cr_expect_not(static_cast<bool>(busy));
    cr_expect_eq(busy.outcome().status, GAVEL_LOCK_BUSY);
    gavel::client none;
    busy = gavel::lock::acquire(none, gavel::lock_request("l"), on_lost);
    cr_expect_eq(busy.outcome().status, GAVEL_LOCK_INVALID);
    cr_expect_eq(busy.remaining_ms(), 0);
    cr_expect_eq(token.use_count(), 2);
}

/* On a loop: taken over, told, lost, and ended by the callback that is told of it. */
Test(cxx, locks_of_an_attached_client)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    auto token = std::make_shared<int>(0);
    {
        rig here(loop);
        gavel::lock mine;
        gavel_lock_reason reason = GAVEL_LOCK_NOT_LOST;
        auto keep = [&mine, token](gavel::lock lock) {
            cr_expect(static_cast<bool>(lock), "%s", lock.outcome().message);
            mine = std::move(lock);
        };
        auto leave = [&mine, &reason, token](gavel_lock_reason why) {
            mine.close();
            reason = *token == 0 ? why : GAVEL_LOCK_NOT_LOST; /* it is still there */
        };
        cr_expect_neq(gavel::lock::begin_acquire(here.client, brief(), keep, leave), 0);
        ev_run(loop, 0);
        cr_expect_eq(reason, GAVEL_LOCK_EXPIRED);
        cr_expect_not(static_cast<bool>(mine));
        for (int i = 0; i < 2; i++) { /* the first one ends with its callback */
            auto look = [token](gavel::lock lock) {
                cr_expect(static_cast<bool>(lock), "%s", lock.outcome().message);
            };
            gavel::lock_request what = gavel::lock_request("l").only_try();
            cr_expect_neq(gavel::lock::begin_acquire(here.client, what, look), 0);
            ev_run(loop, 0);
        }
        gavel::client none;
        cr_expect_eq(gavel::lock::begin_acquire(none, brief(), keep, leave), 0);
    }
    cr_expect_eq(token.use_count(), 1);
    ev_loop_destroy(loop);
}

/* ---- Exceptions ---------------------------------------------------------------------------- */

#if defined(__cpp_exceptions)

namespace
{

struct refusal {
    int number;
};

} // namespace

Test(cxx, an_exception_comes_out_of_run_and_nothing_is_written)
{
    rig here;
    here.set("counter", "7");
    int caught = 0;
    try {
        here.client.run(gavel::transaction().read(counter), [](gavel::tx tx) {
            std::int64_t value = tx.get_int(counter).value_or(0);
            tx.set(counter, "written");
            throw refusal{static_cast<int>(value)};
        });
    } catch (const refusal &thrown) {
        caught = thrown.number;
    }
    cr_expect_eq(caught, 7);
    here.expect("counter", "7");
    gavel::outcome outcome = here.client.run(
        gavel::transaction().read(counter), [](gavel::tx tx) { tx.set(counter, "8"); });
    cr_expect(static_cast<bool>(outcome), "%s", outcome.text().c_str());
}

/* Two replies that one command did not bring have to be proved; the first proof fails. */
Test(cxx, an_exception_on_a_state_that_never_was_is_dropped)
{
    rig here;
    int n_runs = 0;
    gavel::transaction what = gavel::transaction().read(counter).read("hash", "field");
    gavel::outcome outcome = here.client.run(what, [&](gavel::tx tx) {
        tx.get(counter);
        tx.hget("hash", "field");
        if (++n_runs == 1) {
            here.set("counter", "changed");
            throw refusal{1};
        }
        tx.set(counter, "mine");
    });
    cr_expect(static_cast<bool>(outcome), "%s", outcome.text().c_str());
    cr_expect_eq(n_runs, 2);
    here.expect("counter", "mine");
}

/* A body that takes "not fetched yet" for "not there" is run again all the same. */
Test(cxx, an_exception_before_all_is_fetched_is_dropped)
{
    rig here;
    here.set("found", "1");
    gavel::outcome outcome = here.client.run(gavel::transaction().read(counter), [](gavel::tx tx) {
        if (!tx.get("found"))
            throw refusal{1};
        tx.set(counter, "1");
    });
    cr_expect(static_cast<bool>(outcome), "%s", outcome.text().c_str());
}

Test(cxx, after_a_failed_read_the_outcome_is_what_counts)
{
    rig here;
    here.set("counter", "no number");
    gavel::outcome outcome = here.client.run(gavel::transaction().read(counter), [](gavel::tx tx) {
        if (!tx.get_int(counter))
            throw refusal{1};
    });
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "counter"), "%s", outcome.message);
}

/* Bodies run in whatever thread is inside gavel; each exception comes to its own caller. */
Test(cxx, exceptions_come_to_the_thread_that_asked)
{
    rig here;
    std::atomic<int> n_right = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) {
        threads.emplace_back([&here, &n_right, i] {
            for (int j = 0; j < 50; j++) {
                try {
                    here.client.run(gavel::transaction().read(counter),
                        [&](gavel::tx) { throw refusal{100 * i + j}; });
                } catch (const refusal &thrown) {
                    n_right += thrown.number == 100 * i + j;
                }
            }
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    cr_expect_eq(n_right, 400);
}

Test(cxx, a_submission_shows_what_was_thrown)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    int caught = 0;
    std::string text;
    {
        rig here(loop);
        here.client.submit(
            gavel::transaction().read(counter),
            [](gavel::tx) { throw std::runtime_error("no such item"); },
            [&](const gavel::outcome &outcome) {
                text = outcome.text();
                try {
                    outcome.rethrow();
                } catch (const std::runtime_error &) {
                    caught++;
                }
            });
        ev_run(loop, 0);
    }
    cr_expect_eq(caught, 1);
    cr_expect(live_contains(text.c_str(), "ABORTED"), "%s", text.c_str());
    cr_expect(live_contains(text.c_str(), ": it threw: no such item"), "%s", text.c_str());
    ev_loop_destroy(loop);
}

#endif

/*
 * bid URL ITEM BIDDER AMOUNT: a bid in an auction, in C++.
 *
 *     bid redis://localhost item:1 ann 120
 *
 * Who bids no more than the highest one so far is told that; whatever else happens, one line says.
 */
#include <gavel/gavel.hpp>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace
{

struct too_low : std::runtime_error {
    explicit too_low(std::int64_t price)
        : std::runtime_error("too low: the price is " + std::to_string(price))
    {
    }
};

/* Throws too_low: what leaves a body aborts it, and comes out of run. */
gavel::outcome place(
    gavel::client &client, const char *item, const char *bidder, std::int64_t amount)
{
    return client.run(gavel::transaction().read(item, "price"), [&](gavel::tx tx) {
        std::int64_t price = tx.hget_int(item, "price").value_or(0);
        if (amount <= price)
            throw too_low(price);
        tx.hset_int(item, "price", amount);
        tx.hset(item, "leader", bidder);
    });
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 5) {
        std::fputs("usage: bid URL ITEM BIDDER AMOUNT\n", stderr);
        return 2;
    }
    gavel_error error;
    gavel::client client = gavel::client::open(argv[1], nullptr, &error);
    if (!client) {
        std::fprintf(stderr, "bid: %s\n", error.message);
        return 2;
    }
    try {
        gavel::outcome outcome = place(client, argv[2], argv[3], std::atoll(argv[4]));
        std::puts(outcome.text().c_str());
        return outcome ? EXIT_SUCCESS : EXIT_FAILURE;
    } catch (const too_low &refusal) {
        std::puts(refusal.what());
        return EXIT_FAILURE;
    }
}

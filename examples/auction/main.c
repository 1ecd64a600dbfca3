/*
 * auction: items, bids, a live view, and a race that proves that no bid is lost. This file lists
 * the commands and starts one.
 */
#include "options.h"

static const struct command commands[] = {
    {.name = "open",
        .run = run_open,
        .words = {"ITEM"},
        .flags = {"--reserve", "--increment", "--seconds", "--window"},
        .defaults = {.increment = 1, .seconds = 60, .window = 10},
        .usage = "open ITEM [--reserve N] [--increment N] [--seconds N] [--window N]",
        .summary = "puts ITEM up for auction",
        .help = "  --reserve N     sell only at N or more (0)\n"
                "  --increment N   each bid raises the price by N at least (1)\n"
                "  --seconds N     the auction lasts N seconds (60)\n"
                "  --window N      a bid in the last N seconds moves the end to N seconds after\n"
                "                  that bid, so that nobody wins by bidding last (10; 0: never)\n"},
    {.name = "bid",
        .run = run_bid,
        .words = {"ITEM", "BIDDER", "AMOUNT"},
        .flags = {"--id"},
        .usage = "bid ITEM BIDDER AMOUNT [--id ID]",
        .summary = "bids AMOUNT for ITEM in BIDDER's name",
        .help = "  --id ID   the bid's own id. A bid that was answered UNKNOWN may be sent again\n"
                "            with its id: it counts once (a new random id)\n"
                "\n"
                "Exit status 1 if the bid is refused.\n"},
    {.name = "close",
        .run = run_close,
        .words = {"ITEM"},
        .flags = {"--now"},
        .usage = "close ITEM [--now]",
        .summary = "closes ITEM, whose time is over, and names the winner",
        .help = "  --now   close it even though its time is not over\n"
                "\n"
                "Once it is closed no bid is accepted, whatever the bidders' clocks say.\n"
                "Exit status 1 if it cannot be closed.\n"},
    {.name = "show",
        .run = run_show,
        .words = {"ITEM"},
        .usage = "show ITEM",
        .summary = "shows ITEM, its best bidders and its latest bids, all of one moment"},
    {.name = "watch",
        .run = run_watch,
        .words = {"ITEM"},
        .usage = "watch ITEM",
        .summary = "shows each bid for ITEM as it comes, until ITEM is closed",
        .help = "Closes ITEM itself when its time is over.\n"},
    {.name = "race",
        .run = run_race,
        .flags = {"--items", "--processes", "--bidders", "--seconds", "--by", "--ledger"},
        .defaults = {.items = 8, .processes = 4, .bidders = 16, .seconds = 5, .by = "gavel"},
        .usage = "race [--items N] [--processes N] [--bidders N] [--seconds N]\n"
                 "                    [--by gavel|textbook|unguarded] [--ledger DIR]",
        .summary = "has many bidders bid at once, closes the items under them, and verifies all",
        .help =
            "  --items N       items up for auction (8)\n"
            "  --processes N   processes of bidders (4)\n"
            "  --bidders N     bidders in each process, all bidding at once (16)\n"
            "  --seconds N     how long (5)\n"
            "  --by WAY        gavel      transactions by gavel, one client a process\n"
            "                  textbook   WATCH, MULTI, EXEC by hand, a connection a bidder\n"
            "                  unguarded  the same without WATCH: it loses bids, and verify says "
            "so\n"
            "  --ledger DIR    keep what the bidders were told in DIR (a new temporary folder)\n"
            "\n"
            "The last line is \"auction: A accepted, R refused, V violations\".\n"
            "Exit status 1 if V is not 0. The race's items stay in Redis for an hour.\n"},
    {.name = "verify",
        .run = run_verify,
        .flags = {"--ledger"},
        .usage = "verify [--ledger DIR]",
        .summary =
            "checks the items in Redis, and the last race against what its bidders were told",
        .help = "  --ledger DIR   the ledger of the race (that of the last race on this server)\n"
                "\n"
                "Every violation is named. The last line is\n"
                "\"auction: A accepted, R refused, V violations\". Exit status 1 if V is not 0.\n"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
    const struct command *command = NULL;
    struct options options;
    (void)argc;

    switch (parse_options(argv, commands, &command, &options)) {
    case PARSED_RUN:
        break;
    case PARSED_HELP:
        return EXIT_FINE;
    case PARSED_WRONG:
        return EXIT_TROUBLE;
    }
    return command->run(&options);
}

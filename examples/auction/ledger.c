/*
 * Ledgers, by plain buffered files.
 */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char letters[] = {
#define TOLD_LETTER(code, letter) letter,
    TOLDS(TOLD_LETTER)
#undef TOLD_LETTER
};

static FILE *open_file(const char *dir, const char *name, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, mode);
    if (file == NULL)
        trouble("%s: %s", path, strerror(errno));
    return file;
}

/* ---- Writing ------------------------------------------------------------------------------- */

bool ledger_exists(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/race", dir);
    return access(path, F_OK) == 0;
}

bool ledger_create(const char *dir, const struct ledger *ledger)
{
    FILE *file = open_file(dir, "race", "wx");
    if (file == NULL)
        return false;
    int n = fprintf(file, "race %s\nby %s\nitems %" PRIu32 "\nprocesses %" PRIu32 "\n",
        ledger->race, ledger->by, ledger->n_items, ledger->n_processes);
    if (fclose(file) != 0 || n < 0) {
        trouble("%s/race: %s", dir, strerror(errno));
        return false;
    }
    return true;
}

FILE *ledger_open(const char *dir, size_t process)
{
    char name[32];
    snprintf(name, sizeof(name), "process-%zu", process);
    return open_file(dir, name, "w");
}

void ledger_add(FILE *file, const struct told_bid *bid)
{
    fprintf(file, "%c %" PRIu32 " %s %" PRId64 " %" PRId64 "\n", letters[bid->told], bid->item,
        bid->id, bid->amount, bid->at_ms);
}

bool ledger_close(FILE *file, uint64_t n_bids)
{
    fprintf(file, "end %" PRIu64 "\n", n_bids);
    bool is_sound = ferror(file) == 0;
    if (fclose(file) != 0 || !is_sound) {
        trouble("the ledger could not be written: %s", strerror(errno));
        return false;
    }
    return true;
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* Room for one more bid; NULL, and said so, without memory. */
static struct told_bid *grow(struct ledger *ledger, size_t *room)
{
    if (ledger->n_bids == *room) {
        size_t wanted = *room == 0 ? 4096 : *room * 2;
        struct told_bid *bids = realloc(ledger->bids, wanted * sizeof(*bids));
        if (bids == NULL) {
            trouble("no memory for a ledger of %zu bids", wanted);
            return NULL;
        }
        ledger->bids = bids;
        *room = wanted;
    }
    return &ledger->bids[ledger->n_bids];
}

static bool parse_line(const char *line, struct told_bid *ret_bid)
{
    struct told_bid bid = {0};
    char letter;
    if (sscanf(line, "%c %" SCNu32 " %23s %" SCNd64 " %" SCNd64, &letter, &bid.item, bid.id,
            &bid.amount, &bid.at_ms) != 5)
        return false;
    for (size_t i = 0; i < N_TOLD; i++) {
        if (letters[i] == letter) {
            bid.told = (enum told)i;
            *ret_bid = bid;
            return true;
        }
    }
    return false;
}

/* Reads one process's file. A last line that was cut short is left out: the file has no end then.
 */
static bool read_process(FILE *file, uint32_t process, struct ledger *ledger, size_t *room)
{
    char line[160];
    size_t n_before = ledger->n_bids;
    uint64_t n_bids;

    while (fgets(line, sizeof(line), file) != NULL && strchr(line, '\n') != NULL) {
        if (sscanf(line, "end %" SCNu64, &n_bids) == 1) {
            ledger->is_complete[process - 1] = n_bids == ledger->n_bids - n_before;
            continue;
        }
        struct told_bid *bid = grow(ledger, room);
        if (bid == NULL)
            return false;
        if (!parse_line(line, bid)) {
            trouble("process-%" PRIu32 " of the ledger: what is this? %s", process, line);
            return false;
        }
        bid->process = process;
        ledger->n_bids++;
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct told_bid *x = a;
    const struct told_bid *y = b;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool read_header(const char *dir, struct ledger *ledger)
{
    FILE *file = open_file(dir, "race", "r");
    if (file == NULL)
        return false;
    int n = fscanf(file, "race %40s by %15s items %" SCNu32 " processes %" SCNu32, ledger->race,
        ledger->by, &ledger->n_items, &ledger->n_processes);
    fclose(file);
    if (n != 4 || ledger->n_items > 1000000 || ledger->n_processes > 1000) {
        trouble("%s/race: not the ledger of a race", dir);
        return false;
    }
    return true;
}

bool ledger_read(const char *dir, struct ledger *ret_ledger)
{
    struct ledger ledger = {0};
    size_t room = 0;
    char name[32];

    *ret_ledger = ledger;
    if (!read_header(dir, &ledger))
        return false;
    ledger.is_complete = calloc(ledger.n_processes + 1, sizeof(bool));
    if (ledger.is_complete == NULL)
        goto fail;
    for (uint32_t process = 1; process <= ledger.n_processes; process++) {
        snprintf(name, sizeof(name), "process-%" PRIu32, process);
        FILE *file = open_file(dir, name, "r");
        if (file == NULL)
            continue; /* not complete, then */
        bool is_read = read_process(file, process, &ledger, &room);
        fclose(file);
        if (!is_read)
            goto fail;
    }
    if (ledger.n_bids > 0)
        qsort(ledger.bids, ledger.n_bids, sizeof(ledger.bids[0]), compare);
    *ret_ledger = ledger;
    return true;

fail:
    ledger_finish(&ledger);
    return false;
}

void ledger_finish(struct ledger *ledger)
{
    free(ledger->bids);
    free(ledger->is_complete);
    *ledger = (struct ledger){0};
}

struct told_bid *ledger_find(const struct ledger *ledger, uint32_t item, const char *id)
{
    struct told_bid key = {.item = item};
    if (ledger->n_bids == 0 || strlen(id) >= sizeof(key.id))
        return NULL;
    memcpy(key.id, id, strlen(id));
    return bsearch(&key, ledger->bids, ledger->n_bids, sizeof(key), compare);
}

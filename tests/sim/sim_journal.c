/*
 * The journal: every command that came to the server, with what was said to it. For the server,
 * and for tests through sim.h.
 */
#include "sim_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define PRINTED_SIZE 96

static void hash_bytes(sim_world *world, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        world->hash = (world->hash ^ bytes[i]) * UINT64_C(1099511628211);
}

static void hash_number(sim_world *world, uint64_t number)
{
    hash_bytes(world, &number, sizeof number);
}

static void hash_entry(sim_world *world, const sim_entry *entry)
{
    hash_number(world, (uint64_t)entry->at_us);
    hash_number(world, entry->connection);
    if (entry->server != 0)
        hash_number(world, entry->server);
    hash_number(world, entry->exec);
    hash_number(world, (uint64_t)entry->how);
    for (size_t i = 0; i < entry->n_args; i++) {
        hash_number(world, entry->args[i].size);
        hash_bytes(world, entry->args[i].data, entry->args[i].size);
    }
    hash_bytes(world, entry->reply.data, entry->reply.size);
}

sim_entry *sim__journal_add(
    sim_world *world, const sim__session *session, const sim__args *command, sim_how how)
{
    if (world->n_journal == world->journal_capacity) {
        world->journal_capacity = 2 * world->journal_capacity + 64;
        world->journal = sim__resize(world->journal, world->journal_capacity, sizeof(sim_entry *));
    }
    sim_entry *entry = sim__alloc(1, sizeof *entry);
    *entry = (sim_entry){.number = world->n_journal,
        .at_us = world->now_us,
        .server = session->server->number,
        .connection = session->number,
        .exec = world->running_exec,
        .how = how,
        .args = sim__alloc(command->n_args, sizeof(gavel_bytes)),
        .n_args = command->n_args};
    for (size_t i = 0; i < command->n_args; i++)
        entry->args[i] = sim__copy(command->args[i]);
    world->journal[world->n_journal++] = entry;
    return entry;
}

void sim__journal_finish(sim_world *world, sim_entry *entry, gavel_bytes reply)
{
    entry->reply = sim__copy(reply);
    hash_entry(world, entry);
}

void sim__journal_clear(sim_world *world)
{
    for (size_t i = 0; i < world->n_journal; i++) {
        sim_entry *entry = world->journal[i];
        for (size_t j = 0; j < entry->n_args; j++)
            sim__free_bytes(entry->args[j]);
        free(entry->args);
        sim__free_bytes(entry->reply);
        free(entry);
    }
    free(world->journal);
    world->journal = NULL;
    world->n_journal = 0;
}

/* The hook may run commands itself: these are entries of connection 0, which it is not told. */
void sim__journal_call_hook(sim_world *world)
{
    if (world->is_in_hook)
        return;
    world->is_in_hook = true;
    for (; world->n_hooked < world->n_journal; world->n_hooked++) {
        const sim_entry *entry = world->journal[world->n_hooked];
        if (world->hook != NULL && entry->connection != 0)
            world->hook(world, entry, world->hook_user);
    }
    world->is_in_hook = false;
}

void sim_set_hook(sim_world *world, sim_hook *hook, void *user)
{
    world->hook = hook;
    world->hook_user = user;
}

size_t sim_journal_size(const sim_world *world)
{
    return world->n_journal;
}

const sim_entry *sim_journal_at(const sim_world *world, size_t i)
{
    return world->journal[i];
}

bool sim_entry_is(const sim_entry *entry, const char *name)
{
    return gavel__bytes_equal_nocase(entry->args[0], gavel_str(name));
}

uint64_t sim_hash(const sim_world *world)
{
    return world->hash;
}

const sim_counters *sim_get_counters(const sim_world *world)
{
    return &world->counters;
}

static void print_entry(const sim_entry *entry)
{
    static const char *const how[] = {"ran", "queued", "refused", "blocked"};
    char text[PRINTED_SIZE];
    fprintf(stderr, "%6llu %12lld us  s%zu c%llu", (unsigned long long)entry->number,
        (long long)entry->at_us, entry->server, (unsigned long long)entry->connection);
    if (entry->exec != 0)
        fprintf(stderr, " exec %llu", (unsigned long long)entry->exec);
    fprintf(stderr, " %s%s:", how[entry->how], entry->is_change ? ", changed" : "");
    for (size_t i = 0; i < entry->n_args; i++)
        fprintf(stderr, " %s", gavel__printable(entry->args[i], text, sizeof text));
    fprintf(stderr, "  ->  %s\n", gavel__printable(entry->reply, text, sizeof text));
}

void sim_print_journal(const sim_world *world)
{
    for (size_t i = 0; i < world->n_journal; i++)
        print_entry(world->journal[i]);
}

/*
 * The overlay: what a look-up finds after which writes, how much of it is sure, and that a rollback
 * leaves no trace.
 */
#include "core/writes.h"

#include "faulty_memory.h"

#include "base/text.h"
#include "core/commands.h"

#include <criterion/criterion.h>

/* Writers are only told apart by their address. */
static char writers[2];

static const struct gavel__transaction *writer_at(size_t i)
{
    return (const struct gavel__transaction *)(const void *)&writers[i];
}

typedef struct desk {
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__writes writes;
    gavel__key a;
    gavel__key h;
} desk;

static void open(desk *d)
{
    *d = (desk){.memory = {.n_left = MEMORY_ENOUGH}};
    d->allocator = faulty_allocator(&d->memory);
    gavel__writes_init(&d->writes, &d->allocator);
    d->a.node.key = GAVEL_STR("a");
    d->h.node.key = GAVEL_STR("h");
}

static void close(desk *d)
{
    gavel__writes_finish(&d->writes);
    cr_assert_eq(d->memory.n_blocks, 0);
}

static const gavel_bytes none = {NULL, 0};

static void set(desk *d, gavel__key *key, const char *value)
{
    cr_assert(
        gavel__writes_add(&d->writes, GAVEL__WRITE_SET, key, writer_at(0), none, gavel_str(value)));
}

static void del(desk *d, gavel__key *key)
{
    cr_assert(gavel__writes_add(&d->writes, GAVEL__WRITE_DEL, key, writer_at(0), none, none));
}

static void hset(desk *d, gavel__key *key, const char *field, const char *value)
{
    cr_assert(gavel__writes_add(
        &d->writes, GAVEL__WRITE_HSET, key, writer_at(0), gavel_str(field), gavel_str(value)));
}

static void hdel(desk *d, gavel__key *key, const char *field)
{
    cr_assert(gavel__writes_add(
        &d->writes, GAVEL__WRITE_HDEL, key, writer_at(0), gavel_str(field), none));
}

static const gavel__write *finds(
    desk *d, const gavel__key *key, const char *field, gavel__overlay overlay, const char *value)
{
    const gavel__write *write = NULL;
    gavel__overlay found = gavel__writes_look_up(&d->writes, key, gavel_str(field), &write);
    cr_assert_eq((int)found, (int)overlay);
    cr_assert_eq(write == NULL, overlay == GAVEL__OVERLAY_BASE);
    if (value != NULL)
        cr_assert(
            gavel__bytes_equal(gavel__writes_bytes(&d->writes, write->value), gavel_str(value)));
    return write;
}

static void has_commands(const desk *d, const char *encoded, size_t n_commands)
{
    gavel_bytes commands = {d->writes.commands.data, d->writes.commands.size};
    cr_assert(gavel__bytes_equal(commands, gavel_str(encoded)), "%.*s", (int)commands.size,
        commands.data);
    cr_assert_eq(d->writes.n_commands, n_commands);
}

/* ---- Looking up ---------------------------------------------------------------------------- */

Test(core_writes, without_writes_what_was_read_holds)
{
    desk d;
    open(&d);
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_BASE, NULL);
    finds(&d, &d.a, "f", GAVEL__OVERLAY_BASE, NULL);
    set(&d, &d.h, "x");
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_BASE, NULL);
    close(&d);
}

Test(core_writes, the_latest_write_of_a_string_counts)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_VALUE, "1");
    set(&d, &d.h, "other");
    set(&d, &d.a, "");
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_VALUE, "");
    del(&d, &d.a);
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_ABSENT, NULL);
    set(&d, &d.a, "3");
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_VALUE, "3");
    finds(&d, &d.h, NULL, GAVEL__OVERLAY_VALUE, "other");
    close(&d);
}

Test(core_writes, the_latest_write_of_a_field_counts)
{
    desk d;
    open(&d);
    hset(&d, &d.h, "f", "1");
    hset(&d, &d.h, "g", "2");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_VALUE, "1");
    finds(&d, &d.h, "g", GAVEL__OVERLAY_VALUE, "2");
    finds(&d, &d.h, "ff", GAVEL__OVERLAY_BASE, NULL);
    finds(&d, &d.h, "", GAVEL__OVERLAY_BASE, NULL);
    hdel(&d, &d.h, "f");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_ABSENT, NULL);
    finds(&d, &d.h, "g", GAVEL__OVERLAY_VALUE, "2");
    del(&d, &d.h);
    finds(&d, &d.h, "g", GAVEL__OVERLAY_ABSENT, NULL);
    finds(&d, &d.h, "x", GAVEL__OVERLAY_ABSENT, NULL);
    hset(&d, &d.h, "g", "3");
    finds(&d, &d.h, "g", GAVEL__OVERLAY_VALUE, "3");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_ABSENT, NULL);
    close(&d);
}

Test(core_writes, a_field_without_a_name_is_a_field)
{
    desk d;
    open(&d);
    hset(&d, &d.h, "", "1");
    finds(&d, &d.h, "", GAVEL__OVERLAY_VALUE, "1");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_BASE, NULL);
    close(&d);
}

Test(core_writes, strings_and_hashes_under_one_key_are_not_modelled)
{
    desk d;
    open(&d);
    hset(&d, &d.h, "f", "1");
    finds(&d, &d.h, NULL, GAVEL__OVERLAY_TAINTED, NULL);
    hdel(&d, &d.h, "f");
    finds(&d, &d.h, NULL, GAVEL__OVERLAY_TAINTED, NULL);
    set(&d, &d.h, "x");
    finds(&d, &d.h, NULL, GAVEL__OVERLAY_VALUE, "x");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_TAINTED, NULL);
    hset(&d, &d.h, "g", "1");
    finds(&d, &d.h, "g", GAVEL__OVERLAY_VALUE, "1");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_TAINTED, NULL);
    close(&d);
}

Test(core_writes, a_taint_hides_what_was_written_before_but_not_after)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    cr_assert(gavel__writes_taint(&d.writes, &d.a, writer_at(1)));
    const gavel__write *write = finds(&d, &d.a, NULL, GAVEL__OVERLAY_TAINTED, NULL);
    cr_assert_eq(write->writer, writer_at(1));
    finds(&d, &d.a, "f", GAVEL__OVERLAY_TAINTED, NULL);
    set(&d, &d.a, "2");
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_VALUE, "2");
    close(&d);
}

/* ---- Sureness ------------------------------------------------------------------------------ */

static bool is_sure(desk *d, const gavel__key *key)
{
    return d->writes.entries[key->last_write - 1].is_sure;
}

Test(core_writes, set_and_del_are_always_sure)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    cr_assert(is_sure(&d, &d.a));
    cr_assert(gavel__writes_taint(&d.writes, &d.a, writer_at(0)));
    cr_assert_not(is_sure(&d, &d.a));
    del(&d, &d.a);
    cr_assert(is_sure(&d, &d.a));
    close(&d);
}

Test(core_writes, a_write_to_a_field_is_sure_where_a_hash_or_nothing_is_known)
{
    desk d;
    open(&d);
    hset(&d, &d.h, "f", "1");
    cr_assert_not(is_sure(&d, &d.h), "nothing is known of it");
    hdel(&d, &d.h, "f");
    cr_assert_not(is_sure(&d, &d.h), "it may have failed before");
    del(&d, &d.h);
    hset(&d, &d.h, "f", "1");
    cr_assert(is_sure(&d, &d.h), "it was deleted");
    hdel(&d, &d.h, "f");
    cr_assert(is_sure(&d, &d.h));
    set(&d, &d.h, "x");
    hset(&d, &d.h, "f", "1");
    cr_assert_not(is_sure(&d, &d.h), "a string is there");
    d.a.is_fetched_as_hash = true;
    hset(&d, &d.a, "f", "1");
    cr_assert(is_sure(&d, &d.a), "a read has shown it");
    cr_assert(gavel__writes_taint(&d.writes, &d.a, writer_at(0)));
    hset(&d, &d.a, "f", "1");
    cr_assert_not(is_sure(&d, &d.a));
    close(&d);
}

/* ---- Commands, rollback -------------------------------------------------------------------- */

Test(core_writes, the_commands_are_encoded_in_order)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    del(&d, &d.a);
    hset(&d, &d.h, "f", "v");
    hdel(&d, &d.h, "");
    gavel_bytes args[] = {GAVEL_STR("INCR"), GAVEL_STR("a")};
    cr_assert(gavel__writes_add_command(&d.writes, args, 2));
    has_commands(&d,
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
        "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
        "*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\nv\r\n"
        "*3\r\n$4\r\nHDEL\r\n$1\r\nh\r\n$0\r\n\r\n"
        "*2\r\n$4\r\nINCR\r\n$1\r\na\r\n",
        5);
    close(&d);
}

Test(core_writes, a_rollback_restores_commands_and_chains)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    hset(&d, &d.h, "f", "1");
    gavel__savepoint savepoint = gavel__writes_mark(&d.writes);
    for (int i = 0; i < 100; i++) { /* the entries move meanwhile */
        set(&d, &d.a, "2");
        hset(&d, &d.h, "g", "2");
        del(&d, &d.h);
    }
    cr_assert(gavel__writes_taint(&d.writes, &d.a, writer_at(0)));
    gavel__writes_rollback(&d.writes, &savepoint);
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_VALUE, "1");
    finds(&d, &d.h, "f", GAVEL__OVERLAY_VALUE, "1");
    finds(&d, &d.h, "g", GAVEL__OVERLAY_BASE, NULL);
    has_commands(&d,
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
        "*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\n1\r\n",
        2);
    close(&d);
}

Test(core_writes, a_rollback_to_the_beginning_leaves_nothing)
{
    desk d;
    open(&d);
    gavel__savepoint savepoint = gavel__writes_mark(&d.writes);
    set(&d, &d.a, "1");
    gavel__writes_rollback(&d.writes, &savepoint);
    cr_assert_eq(d.a.last_write, 0);
    finds(&d, &d.a, NULL, GAVEL__OVERLAY_BASE, NULL);
    has_commands(&d, "", 0);
    close(&d);
}

Test(core_writes, a_write_without_memory_can_be_rolled_back)
{
    bool is_done = false;
    for (size_t n = 0; !is_done; n++) {
        desk d;
        open(&d);
        d.memory.n_left = n;
        gavel__savepoint savepoint = gavel__writes_mark(&d.writes);
        is_done = gavel__writes_add(
                      &d.writes, GAVEL__WRITE_SET, &d.a, writer_at(0), none, GAVEL_STR("1")) &&
                  gavel__writes_taint(&d.writes, &d.a, writer_at(0));
        gavel__writes_rollback(&d.writes, &savepoint);
        cr_assert_eq(d.a.last_write, 0);
        cr_assert_eq(d.writes.n_entries, 0);
        cr_assert_eq(d.writes.commands.size, 0);
        close(&d);
    }
}

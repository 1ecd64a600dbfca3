/*
 * The overlay: what a look-up finds after which writes, how much of it is sure, that a rollback
 * leaves no trace, and what of it all leaves for the server, and where its replies will be.
 */
#include "core/overlay.h"

#include "faulty_memory.h"

#include "base/text.h"
#include "core/commands.h"

#include <criterion/criterion.h>
#include <string.h>

/* Writers are only told apart by their address. */
static char writers[2];

static const struct gavel__transaction *writer_at(size_t i)
{
    return (const struct gavel__transaction *)(const void *)&writers[i];
}

typedef struct desk {
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__keys keys;
    gavel__writes writes;
    gavel__key a;
    gavel__key h;
} desk;

static void open(desk *d)
{
    *d = (desk){.memory = {.n_left = MEMORY_ENOUGH}};
    d->allocator = faulty_allocator(&d->memory);
    gavel__keys_init(&d->keys, &d->allocator, 5);
    gavel__writes_init(&d->writes, &d->keys);
    d->a.node.key = GAVEL_STR("a");
    d->h.node.key = GAVEL_STR("h");
}

static void close(desk *d)
{
    gavel__writes_finish(&d->writes);
    gavel__keys_finish(&d->keys);
    cr_assert_eq(d->memory.n_blocks, 0);
}

static void add(desk *d, gavel__key *key, gavel__edit edit)
{
    cr_assert(gavel__writes_add(&d->writes, key, writer_at(0), &edit));
}

static void set(desk *d, gavel__key *key, const char *value)
{
    add(d, key, (gavel__edit){.kind = GAVEL__WRITE_SET, .value = gavel_str(value)});
}

static void del(desk *d, gavel__key *key)
{
    add(d, key, (gavel__edit){.kind = GAVEL__WRITE_DEL});
}

static void hset(desk *d, gavel__key *key, const char *field, const char *value)
{
    add(d, key,
        (gavel__edit){
            .kind = GAVEL__WRITE_HSET, .field = gavel_str(field), .value = gavel_str(value)});
}

static void hdel(desk *d, gavel__key *key, const char *field)
{
    add(d, key, (gavel__edit){.kind = GAVEL__WRITE_HDEL, .field = gavel_str(field)});
}

static const gavel__write *finds(
    desk *d, const gavel__key *key, const char *field, gavel__overlay overlay, const char *value)
{
    gavel__aspect aspect = field != NULL ? GAVEL__ASPECT_FIELD : GAVEL__ASPECT_STRING;
    gavel__sight sight = gavel__overlay_look(&d->writes, key, aspect, gavel_str(field));
    cr_assert_eq((int)sight.overlay, (int)overlay);
    cr_assert_eq(sight.root == NULL, overlay == GAVEL__OVERLAY_BASE);
    if (value != NULL)
        cr_assert(gavel__bytes_equal(
            gavel__writes_bytes(&d->writes, sight.root->value), gavel_str(value)));
    return sight.root;
}

static void has_commands(const desk *d, const char *encoded, size_t n_commands)
{
    gavel_bytes commands = {d->writes.commands.data, d->writes.commands.size};
    cr_assert(gavel__bytes_equal(commands, gavel_str(encoded)), "%.*s", (int)commands.size,
        commands.data);
    cr_assert_eq(d->writes.n_requests, n_commands);
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

/* For messages: with the key wherever it stands, or none. */
Test(core_writes, a_command_is_told_by_its_name_and_key)
{
    static const char long_text[300] = {'x'};
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    gavel_bytes args[] = {
        GAVEL_STR("EVAL"), {long_text, sizeof(long_text)}, GAVEL_STR("1"), GAVEL_STR("k\n")};
    gavel__command command = {
        .args = args, .n_args = 4, .n_keys = 1, .first_key = 3, .key_step = 1};
    cr_assert(gavel__writes_add_command(&d.writes, &command));
    command.n_keys = 0;
    cr_assert(gavel__writes_add_command(&d.writes, &command));
    char text[GAVEL__COMMAND_TEXT_SIZE];
    cr_assert_str_eq(gavel__writes_text(&d.writes, 0, text), "SET \"a\"");
    cr_assert_str_eq(gavel__writes_text(&d.writes, 1, text), "EVAL \"k\\x0a\"");
    cr_assert_str_eq(gavel__writes_text(&d.writes, 2, text), "EVAL");
    close(&d);
}

Test(core_writes, the_commands_are_encoded_in_order)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    del(&d, &d.a);
    hset(&d, &d.h, "f", "v");
    hdel(&d, &d.h, "");
    gavel_bytes args[] = {GAVEL_STR("INCR"), GAVEL_STR("a")};
    gavel__command command = {
        .args = args, .n_args = 2, .n_keys = 1, .first_key = 1, .key_step = 1};
    cr_assert(gavel__writes_add_command(&d.writes, &command));
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
        gavel__edit edit = {.kind = GAVEL__WRITE_SET, .value = GAVEL_STR("1")};
        gavel__key *keys[] = {&d.a, &d.h};
        is_done = gavel__writes_add(&d.writes, &d.a, writer_at(0), &edit) &&
                  gavel__writes_add_del(&d.writes, keys, 2, writer_at(0)) &&
                  gavel__writes_taint(&d.writes, &d.a, writer_at(0));
        gavel__writes_rollback(&d.writes, &savepoint);
        cr_assert_eq(d.a.last_write, 0);
        cr_assert_eq(d.writes.n_entries, 0);
        cr_assert_eq(d.writes.n_requests, 0);
        cr_assert_eq(d.writes.commands.size, 0);
        close(&d);
    }
}

/* ---- Composing ----------------------------------------------------------------------------- */

/* The bytes, and each request's place, parted by blanks. */
static void composes(desk *d, bool may_merge, const char *encoded, const char *places)
{
    gavel__buffer out;
    gavel__buffer_init(&out, &d->allocator);
    gavel__writes_compose(&d->writes, may_merge, &out);
    cr_assert(!out.has_failed);
    gavel_bytes bytes = {out.data, out.size};
    cr_assert(gavel__bytes_equal(bytes, gavel_str(encoded)), "%.*s", (int)bytes.size, bytes.data);
    char listed[64] = "";
    for (size_t i = 0; i < d->writes.n_requests; i++) {
        size_t used = strlen(listed);
        gavel__format(listed + used, sizeof(listed) - used, "%zu ", d->writes.requests[i].place);
    }
    cr_assert_str_eq(listed, places);
    gavel__buffer_finish(&out);
}

Test(core_writes, sets_are_composed_as_one_and_come_first)
{
    desk d;
    open(&d);
    hset(&d, &d.h, "f", "v");
    set(&d, &d.a, "1");
    gavel__key b = {.node.key = GAVEL_STR("b")};
    set(&d, &b, "2");
    set(&d, &d.a, "33");
    hdel(&d, &d.h, "f");
    composes(&d, true,
        "*5\r\n$4\r\nMSET\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\na\r\n$2\r\n33\r\n"
        "*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\nv\r\n"
        "*3\r\n$4\r\nHDEL\r\n$1\r\nh\r\n$1\r\nf\r\n",
        "1 0 0 0 2 ");
    cr_assert_eq(d.writes.n_places, 3);
    cr_assert(d.writes.is_merged);
    cr_assert_eq(gavel__writes_request_at(&d.writes, 0), SIZE_MAX, "several");
    cr_assert_eq(gavel__writes_request_at(&d.writes, 1), 0);
    cr_assert_eq(gavel__writes_request_at(&d.writes, 2), 4);
    cr_assert_eq(gavel__writes_request_at(&d.writes, 3), SIZE_MAX, "none");
    close(&d);
}

Test(core_writes, without_leave_to_merge_all_are_composed_as_they_came)
{
    desk d;
    open(&d);
    set(&d, &d.a, "1");
    set(&d, &d.a, "2");
    composes(&d, false,
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n",
        "0 1 ");
    cr_assert_eq(d.writes.n_places, 2);
    cr_assert_not(d.writes.is_merged);
    cr_assert_eq(gavel__writes_request_at(&d.writes, 0), 0);
    composes(&d, true, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n", "0 0 ");
    cr_assert_eq(d.writes.n_places, 1);
    close(&d);
}

Test(core_writes, nothing_composes_to_nothing)
{
    desk d;
    open(&d);
    composes(&d, true, "", "");
    cr_assert_eq(d.writes.n_places, 0);
    cr_assert_not(d.writes.is_merged);
    close(&d);
}

/* A command of gavel's own on one key is known for what it is: it does not forbid the others. */
Test(core_writes, a_record_keeps_its_own_key_apart_only)
{
    desk d;
    open(&d);
    gavel__key b = {.node.key = GAVEL_STR("b")};
    gavel_bytes args[] = {
        GAVEL_STR("SET"), GAVEL_STR("h"), GAVEL_STR("r"), GAVEL_STR("PX"), GAVEL_STR("9")};
    set(&d, &d.a, "1");
    set(&d, &d.h, "x");
    cr_assert(gavel__writes_add_record(&d.writes, &d.h, writer_at(0), args));
    set(&d, &b, "2");
    finds(&d, &d.h, NULL, GAVEL__OVERLAY_TAINTED, NULL);
    composes(&d, true,
        "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"
        "*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$1\r\nx\r\n"
        "*5\r\n$3\r\nSET\r\n$1\r\nh\r\n$1\r\nr\r\n$2\r\nPX\r\n$1\r\n9\r\n",
        "0 1 2 0 ");
    close(&d);
}

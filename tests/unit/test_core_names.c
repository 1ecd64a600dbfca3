/*
 * Names of gavel's own keys, and the slots that they lie in.
 */
#include "core/names.h"

#include "base/slot.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* ---- Slots --------------------------------------------------------------------------------- */

Test(core_slot, crc16_is_the_cluster_specifications)
{
    cr_assert_eq(gavel__crc16(GAVEL_STR("123456789")), 0x31c3);
    cr_assert_eq(gavel__crc16(GAVEL_STR("")), 0);
    cr_assert_eq(gavel__crc16((gavel_bytes){NULL, 0}), 0);
}

Test(core_slot, a_key_lies_where_a_server_says)
{
    static const struct {
        const char *key;
        unsigned slot;
    } said[] = {{"{}", 15257}, {"{}x", 10595}, {"a{", 14311}, {"a{}b{c}", 7353}, {"a{b}c{d}", 3300},
        {"a{{b}}c", 6215}, {"}{", 12793}, {"x}y{z}", 8157}};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        cr_expect_eq(gavel__slot_of(gavel_str(said[i].key)), said[i].slot, "%s", said[i].key);
}

Test(core_slot, each_has_a_tag_that_lies_in_it)
{
    for (unsigned slot = 0; slot < GAVEL__N_SLOTS; slot++) {
        char tag[GAVEL__SLOT_TAG_SIZE];
        gavel__slot_write_tag((uint16_t)slot, tag);
        cr_assert_eq(gavel__slot_of((gavel_bytes){tag, sizeof tag}), slot);
        for (size_t i = 0; i < sizeof tag; i++)
            cr_assert(tag[i] >= '`' && tag[i] <= 'o', "slot %u", slot);
    }
}

/* ---- Names --------------------------------------------------------------------------------- */

static const gavel_bytes prefix = {"g:", 2};

static bool is_named(const char *key, const char *name)
{
    char storage[128];
    gavel_bytes made = gavel__name_of(GAVEL__NAME_GATE, prefix, gavel_str(key), storage);
    if (gavel__bytes_equal(made, gavel_str(name)))
        return true;
    cr_log_error("%s: %.*s", key, (int)made.size, made.data);
    return false;
}

Test(core_names, a_name_has_its_keys_hash_tag)
{
    cr_expect(is_named("k", "g:gate:{k}"));
    cr_expect(is_named("item:7 b", "g:gate:{item:7 b}"));
    cr_expect(is_named("user:{7}:x", "g:gate:user:{7}:x"));
    cr_expect(is_named("{7}:x", "g:gate:{7}:x"));
    cr_expect(is_named("a{{b}}c", "g:gate:a{{b}}c"));
    cr_expect(is_named("x}y{z}", "g:gate:x}y{z}"));
}

/* The head, the tag of the key's slot in braces, and the rest. */
static const char *with_tag(char text[96], const char *head, const char *key, const char *rest)
{
    char tag[GAVEL__SLOT_TAG_SIZE];
    gavel__slot_write_tag(gavel__slot_of((gavel_bytes){key, strlen(key)}), tag);
    gavel__format(text, 96, "%s{%.*s}%s", head, (int)sizeof tag, tag, rest);
    return text;
}

Test(core_names, without_one_the_tag_of_its_slot_does)
{
    char name[96];
    static const char *const keys[] = {"a}b", "a{}b", "{}", "a{", "{}{a}", "}"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_expect(is_named(keys[i], with_tag(name, "g:gate:", keys[i], keys[i])));
    cr_expect(is_named("", with_tag(name, "g:gate:", "", "{}")));
}

Test(core_names, a_key_that_looks_like_the_rest_of_a_name_is_told_apart)
{
    char name[96];
    char key[96];
    cr_expect(is_named("{k}", with_tag(name, "g:gate:", "k", "{k}")));
    with_tag(key, "", "a}b", "a}b");
    cr_expect(is_named(key, with_tag(name, "g:gate:", "a}b", key)));
}

Test(core_names, each_kind_has_its_own)
{
    static const char *const kinds[] = {[GAVEL__NAME_GATE] = "gate:",
        [GAVEL__NAME_GATE_QUEUE] = "queue:",
        [GAVEL__NAME_ID] = "id:",
        [GAVEL__NAME_LOCK] = "lock:",
        [GAVEL__NAME_LOCK_QUEUE] = "lock-queue:",
        [GAVEL__NAME_LOCK_FENCE] = "lock-fence:"};
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        char storage[128];
        char wanted[128];
        gavel_bytes key = GAVEL_STR("k");
        gavel_bytes name = gavel__name_of((gavel__name_kind)kind, prefix, key, storage);
        snprintf(wanted, sizeof wanted, "g:%s{k}", kinds[kind]);
        cr_expect(gavel__bytes_equal(name, gavel_str(wanted)));
        for (size_t other = 0; other < sizeof kinds / sizeof *kinds; other++)
            cr_expect_eq(
                gavel__name_parse((gavel__name_kind)other, prefix, name, &key), other == kind);
    }
}

Test(core_names, markers_lie_in_the_slot_that_they_are_for)
{
    for (unsigned slot = 0; slot < GAVEL__N_SLOTS; slot += 997) {
        char storage[GAVEL__MARKER_SIZE];
        const uint64_t identity[2] = {UINT64_MAX, slot};
        cr_expect_eq(gavel__slot_of(gavel__name_of_marker(
                         prefix, (uint16_t)slot, identity, UINT64_MAX, storage)),
            slot);
    }
    char storage[GAVEL__MARKER_SIZE];
    gavel_bytes marker = gavel__name_of_marker(prefix, 0, (uint64_t[2]){1, 0xabc}, 16, storage);
    cr_expect(
        gavel__bytes_equal(marker, GAVEL_STR("g:m:{fjl`}:00000000000000010000000000000abc:10")));
}

/* By its own name, where that lies there. */
Test(core_names, an_id_lies_in_the_slot_of_the_keys)
{
    char storage[16 + GAVEL__NAME_ROOM];
    uint16_t a = gavel__slot_of(GAVEL_STR("a"));
    cr_expect(gavel__bytes_equal(
        gavel__name_of_id(prefix, GAVEL_STR("p{a}1"), a, storage), GAVEL_STR("g:id:p{a}1")));
    cr_expect(gavel__bytes_equal(
        gavel__name_of_id(prefix, GAVEL_STR("x"), GAVEL__NO_SLOT, storage), GAVEL_STR("g:id:{x}")));
    cr_expect(gavel__bytes_equal(
        gavel__name_of_id(prefix, GAVEL_STR("x"), 0, storage), GAVEL_STR("g:id:{fjl`}x")));
}

Test(core_names, the_longest_have_room)
{
    char long_prefix[GAVEL__PREFIX_MAX];
    memset(long_prefix, 'p', sizeof long_prefix);
    gavel_bytes longest = {long_prefix, sizeof long_prefix};
    char marker[GAVEL__MARKER_SIZE];
    gavel__name_of_marker(longest, 0, (uint64_t[2]){UINT64_MAX, UINT64_MAX}, UINT64_MAX, marker);
    static const char *const keys[] = {"", "}", "{}", "a", "{fjl`}"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char storage[8 + GAVEL__NAME_ROOM];
        gavel_bytes key = gavel_str(keys[i]);
        gavel_bytes name = gavel__name_of(GAVEL__NAME_LOCK_QUEUE, longest, key, storage);
        cr_expect_leq(name.size, key.size + GAVEL__NAME_ROOM);
    }
}

/* ---- One to one ---------------------------------------------------------------------------- */

/* What keys are made of here: braces, letters, slots' tags (of the empty key, of "a}", any). */
#define N_TOKENS 8
#define MAX_TOKENS 6

static char tokens[N_TOKENS][8] = {"a", "b", "{", "}", "`"};

static void make_tokens(void)
{
    static const char *const tagged[] = {"", "a}", "b"};
    for (size_t i = 0; i < 3; i++) {
        char tag[GAVEL__SLOT_TAG_SIZE];
        gavel__slot_write_tag(gavel__slot_of(gavel_str(tagged[i])), tag);
        snprintf(tokens[5 + i], sizeof tokens[5 + i], "%.4s", tag);
    }
}

/* The key gets a name in its own slot, from which it can be read: so no other key has that name. */
static void check_key(gavel_bytes key)
{
    char storage[64 + GAVEL__NAME_ROOM];
    gavel_bytes name = gavel__name_of(GAVEL__NAME_LOCK, prefix, key, storage);
    cr_assert_eq(gavel__slot_of(name), gavel__slot_of(key), "%.*s", (int)key.size, key.data);
    gavel_bytes read = {NULL, 1000};
    cr_assert(
        gavel__name_parse(GAVEL__NAME_LOCK, prefix, name, &read), "%.*s", (int)key.size, key.data);
    cr_assert(gavel__bytes_equal(read, key), "%.*s", (int)key.size, key.data);
}

/* As an id that is to lie in the slot of other keys it does, and that name is no other id's. */
static void check_id(gavel_bytes id)
{
    static const char *const keys[] = {"", "a}", "b"};
    for (size_t i = 0; i < 3 && id.size > 0; i++) {
        char storage[64 + GAVEL__NAME_ROOM];
        uint16_t slot = gavel__slot_of(gavel_str(keys[i]));
        gavel_bytes name = gavel__name_of_id(prefix, id, slot, storage);
        cr_assert_eq(gavel__slot_of(name), slot, "%.*s", (int)id.size, id.data);
        gavel_bytes read = {NULL, 0};
        if (gavel__name_parse(GAVEL__NAME_ID, prefix, name, &read) && read.size > 0)
            cr_assert(gavel__bytes_equal(read, id), "%.*s", (int)id.size, id.data);
    }
}

/* As the rest of a name, the text is none, or the name of the key that is read from it. */
static void check_text(gavel_bytes text)
{
    char name[128];
    char storage[64 + GAVEL__NAME_ROOM];
    gavel__format(name, sizeof name, "g:lock:%.*s", (int)text.size, text.data);
    gavel_bytes key;
    if (gavel__name_parse(GAVEL__NAME_LOCK, prefix, gavel_str(name), &key))
        cr_assert(gavel__bytes_equal(
                      gavel__name_of(GAVEL__NAME_LOCK, prefix, key, storage), gavel_str(name)),
            "%s", name);
}

static void check_all(char *text, size_t size, size_t n_left)
{
    check_key((gavel_bytes){text, size});
    check_id((gavel_bytes){text, size});
    check_text((gavel_bytes){text, size});
    for (size_t i = 0; i < N_TOKENS && n_left > 0; i++) {
        size_t token_size = strlen(tokens[i]);
        memcpy(text + size, tokens[i], token_size);
        check_all(text, size + token_size, n_left - 1);
    }
}

Test(core_names, no_two_keys_share_one)
{
    char text[MAX_TOKENS * 4];
    make_tokens();
    check_all(text, 0, MAX_TOKENS);
}

Test(core_names, names_are_keys_as_others)
{
    static const char *const keys[] = {"k", "a}b", "", "{}", "{k}", "a{t}b", "{fjl`}", "{fjl`}{}"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[2][512];
        gavel_bytes rest = gavel_str(keys[i]);
        for (size_t round = 0; round < 8; round++) {
            check_key(rest);
            rest = gavel__name_of(GAVEL__NAME_LOCK, GAVEL_STR(""), rest, text[round % 2]);
            rest = (gavel_bytes){rest.data + strlen("lock:"), rest.size - strlen("lock:")};
        }
    }
}

Test(core_names, what_is_no_name_is_told)
{
    static const char *const others[] = {"", "g:", "g:lock:", "g:lock:{", "g:lock:{}", "g:lock:a",
        "g:lock:{}x", "g:lock:{a{b}", "g:lock:{fjl`}", "g:lock:{fjl`}a}b", "h:lock:{a}",
        "g:lock-queue:{a}"};
    gavel_bytes key = GAVEL_STR("untouched");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        bool is_one = gavel__name_parse(GAVEL__NAME_LOCK, prefix, gavel_str(others[i]), &key);
        cr_expect_eq(is_one, strcmp(others[i], "g:lock:{fjl`}") == 0, "%s", others[i]);
    }
    cr_expect(gavel__bytes_equal(key, GAVEL_STR("fjl`")));
}

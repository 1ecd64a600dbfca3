/*
 * Configurations: see the header.
 */
#include "client/config.h"

#include "base/text.h"
#include "core/engine.h"
#include "core/names.h"

#include <inttypes.h>

/* Far above any use, and so far below what Redis can add to its clock that the sum is one. */
#define A_HUNDRED_YEARS_MS (UINT64_C(36525) * 86400000)

#define FIELD(name, min, fallback, max, because)                                                   \
    {                                                                                              \
#name, offsetof(gavel_config, name), sizeof(((gavel_config *)NULL)->name), min, fallback,  \
            max, because                                                                           \
    }

const gavel__config_field gavel__config_fields[] = {
    FIELD(max_links, 1, 4, GAVEL__MAX_LANES, NULL),
    FIELD(max_gate_links, 1, 4, GAVEL__MAX_LANES, NULL),
    FIELD(max_waiting_links, 1, 16, 256, NULL),
    FIELD(gate_lease_ms, 50, 500, UINT32_MAX, "a round has to fit into it"),
    FIELD(max_queued, 1, 65536, UINT32_MAX, NULL),
    FIELD(max_round_width, 1, 64, UINT32_MAX, NULL),
    FIELD(max_round_keys, 1, 128, GAVEL_MAX_KEYS, NULL),
    FIELD(max_round_bytes, 1, (size_t)1 << 20, SIZE_MAX, NULL),
    FIELD(max_round_body_us, 1, 1000, UINT32_MAX, NULL),
    FIELD(connect_timeout_ms, 1, 1000, UINT32_MAX, NULL),
    FIELD(command_timeout_ms, 1, 1000, UINT32_MAX, NULL),
    FIELD(marker_ttl_ms, 600000, 900000, UINT32_MAX, "a late EXEC could outlive its marker"),
    FIELD(id_ttl_ms, 1, 86400000, A_HUNDRED_YEARS_MS, NULL),
    FIELD(max_reply_bytes, 1, (size_t)64 << 20, SIZE_MAX, NULL),
    {.name = NULL},
};

#undef FIELD

static bool fail(gavel_error *ret_error, const char *message)
{
    gavel__format(ret_error->message, sizeof(ret_error->message), "config: %s", message);
    return false;
}

/* ---- Numbers ------------------------------------------------------------------------------- */

static uint64_t get(const gavel_config *config, const gavel__config_field *field)
{
    uint64_t wide;
    uint32_t narrow;
    const char *place = (const char *)config + field->offset;
    if (field->size == sizeof(wide)) {
        memcpy(&wide, place, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, place, sizeof(narrow));
    return narrow;
}

static void set(gavel_config *config, const gavel__config_field *field, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;
    char *place = (char *)config + field->offset;
    if (field->size == sizeof(value))
        memcpy(place, &value, sizeof(value));
    else
        memcpy(place, &narrow, sizeof(narrow));
}

static bool complete_field(
    gavel_config *config, const gavel__config_field *field, gavel_error *ret_error)
{
    uint64_t value = get(config, field);
    if (value == 0)
        set(config, field, field->fallback);
    if (value == 0 || (value >= field->min && value <= field->max))
        return true;
    bool is_less = value < field->min;
    bool has_reason = is_less && field->because != NULL;
    gavel__format(ret_error->message, sizeof(ret_error->message),
        "config: %s is %s than %" PRIu64 "%s%s", field->name, is_less ? "less" : "more",
        is_less ? field->min : field->max, has_reason ? ": " : "",
        has_reason ? field->because : "");
    return false;
}

/* ---- Words --------------------------------------------------------------------------------- */

static bool is_printable_word(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

static bool check_words(const gavel_config *config, gavel_error *ret_error)
{
    if (strlen(config->key_prefix) > GAVEL__PREFIX_MAX)
        return fail(ret_error, "key_prefix has more than 64 bytes");
    if (strpbrk(config->key_prefix, "{}") != NULL)
        return fail(ret_error, "key_prefix holds a brace, as only hash tags behind it may");
    if (!is_printable_word(config->name))
        return fail(ret_error, "name has a blank or an unprintable byte");
    return true;
}

/* ---- The whole ----------------------------------------------------------------------------- */

bool gavel__config_complete(
    const gavel_config *config, gavel_config *ret_config, gavel_error *ret_error)
{
    static const gavel_config nothing;
    gavel_config complete = config != NULL ? *config : nothing;
    for (const gavel__config_field *field = gavel__config_fields; field->name != NULL; field++) {
        if (!complete_field(&complete, field, ret_error))
            return false;
    }
    if (complete.max_links + complete.max_gate_links > GAVEL__MAX_LANES)
        return fail(ret_error, "max_links and max_gate_links together are more than 64");
    if (complete.mode > GAVEL_GATED)
        return fail(ret_error, "mode is none of gavel_mode");
    if (complete.allocator.resize == NULL)
        complete.allocator = gavel__system_allocator;
    if (complete.key_prefix == NULL)
        complete.key_prefix = "gavel:";
    if (complete.name == NULL)
        complete.name = "gavel";
    if (!check_words(&complete, ret_error))
        return false;
    *ret_config = complete;
    return true;
}

/*
 * Names: see the header. Used wherever gavel has keys of its own.
 */
#include "core/names.h"

#include "base/slot.h"
#include "base/text.h"

#include <assert.h>

/* Which way a key's rest is made. */
typedef enum way {
    WAY_BARE,     /* k: {k} */
    WAY_TAGGED,   /* a{t}b: itself */
    WAY_COMPUTED, /* a}b: {T}a}b */
} way;

/* What stands for the empty key behind its slot's tag; a key of this text lies in another slot. */
static const gavel_bytes nothing = {"{}", 2};

static const char *kind_text(gavel__name_kind kind)
{
    switch (kind) {
    case GAVEL__NAME_GATE:
        return "gate:";
    case GAVEL__NAME_GATE_QUEUE:
        return "queue:";
    case GAVEL__NAME_ID:
        return "id:";
    case GAVEL__NAME_LOCK:
        return "lock:";
    case GAVEL__NAME_LOCK_QUEUE:
        return "lock-queue:";
    case GAVEL__NAME_LOCK_FENCE:
        return "lock-fence:";
    }
    return "";
}

static bool is_slots_tag(gavel_bytes text, uint16_t slot)
{
    char tag[GAVEL__SLOT_TAG_SIZE];
    gavel__slot_write_tag(slot, tag);
    return gavel__bytes_equal(text, (gavel_bytes){tag, sizeof(tag)});
}

static bool has_byte(gavel_bytes text, char byte)
{
    return text.size > 0 && memchr(text.data, byte, text.size) != NULL;
}

static way way_of(gavel_bytes key)
{
    if (key.size == 0)
        return WAY_COMPUTED;
    gavel_bytes tag = gavel__slot_hash_tag(key);
    if (tag.size == 0)
        return has_byte(key, '{') || has_byte(key, '}') ? WAY_COMPUTED : WAY_BARE;
    bool is_first = key.data[0] == '{';
    bool looks_derived =
        is_first && (tag.size + 2 == key.size || is_slots_tag(tag, gavel__slot_of(key)));
    return looks_derived ? WAY_COMPUTED : WAY_TAGGED;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static char *put(char *end, gavel_bytes text)
{
    if (text.size > 0)
        memcpy(end, text.data, text.size);
    return end + text.size;
}

static char *put_head(char *end, gavel_bytes prefix, const char *kind)
{
    assert(prefix.size <= GAVEL__PREFIX_MAX && !has_byte(prefix, '{') && !has_byte(prefix, '}'));
    return put(put(end, prefix), gavel_str(kind));
}

static char *put_tag(char *end, uint16_t slot)
{
    *end++ = '{';
    gavel__slot_write_tag(slot, end);
    end += GAVEL__SLOT_TAG_SIZE;
    *end++ = '}';
    return end;
}

static char *put_rest(char *end, gavel_bytes key)
{
    switch (way_of(key)) {
    case WAY_BARE:
        *end++ = '{';
        end = put(end, key);
        *end++ = '}';
        return end;
    case WAY_TAGGED:
        return put(end, key);
    case WAY_COMPUTED:
        return put(put_tag(end, gavel__slot_of(key)), key.size > 0 ? key : nothing);
    }
    return end;
}

gavel_bytes gavel__name_of(
    gavel__name_kind kind, gavel_bytes prefix, gavel_bytes key, char *storage)
{
    char *end = put_rest(put_head(storage, prefix, kind_text(kind)), key);
    return (gavel_bytes){storage, (size_t)(end - storage)};
}

gavel_bytes gavel__name_of_id(gavel_bytes prefix, gavel_bytes id, uint16_t slot, char *storage)
{
    if (slot == GAVEL__NO_SLOT || slot == gavel__slot_of(id))
        return gavel__name_of(GAVEL__NAME_ID, prefix, id, storage);
    char *end = put_tag(put_head(storage, prefix, kind_text(GAVEL__NAME_ID)), slot);
    end = put(end, id);
    return (gavel_bytes){storage, (size_t)(end - storage)};
}

gavel_bytes gavel__name_of_marker(gavel_bytes prefix, uint16_t slot, const uint64_t identity[2],
    uint64_t n, char storage[GAVEL__MARKER_SIZE])
{
    char *end = put_tag(put_head(storage, prefix, "m:"), slot);
    char text[GAVEL__MARKER_SIZE / 2];
    gavel__format(text, sizeof(text), ":%016llx%016llx:%llx", (unsigned long long)identity[0],
        (unsigned long long)identity[1], (unsigned long long)n);
    end = put(end, gavel_str(text));
    return (gavel_bytes){storage, (size_t)(end - storage)};
}

gavel_bytes gavel__name_of_nothing(
    gavel_bytes prefix, uint16_t slot, char storage[GAVEL__MARKER_SIZE])
{
    char *end = put_tag(put_head(storage, prefix, "none:"), slot);
    return (gavel_bytes){storage, (size_t)(end - storage)};
}

gavel_bytes gavel__name_of_wait(
    gavel_bytes prefix, uint16_t slot, const uint64_t identity[2], char storage[GAVEL__MARKER_SIZE])
{
    char *end = put_head(storage, prefix, "wait:");
    if (slot != GAVEL__NO_SLOT)
        end = put_tag(end, slot);
    char text[GAVEL__MARKER_SIZE / 2];
    gavel__format(text, sizeof(text), "%016llx%016llx", (unsigned long long)identity[0],
        (unsigned long long)identity[1]);
    end = put(end, gavel_str(text));
    return (gavel_bytes){storage, (size_t)(end - storage)};
}

/* ---- Reading ------------------------------------------------------------------------------- */

static bool skip(gavel_bytes *text, gavel_bytes head)
{
    if (!gavel__bytes_start_with(*text, head))
        return false;
    *text = (gavel_bytes){text->data + head.size, text->size - head.size};
    return true;
}

/* The key that the rest is made of, if it is made of any. */
static gavel_bytes guess(gavel_bytes rest, way *ret_way)
{
    gavel_bytes tag = gavel__slot_hash_tag(rest);
    *ret_way = WAY_TAGGED;
    if (rest.size == 0 || rest.data[0] != '{')
        return rest;
    size_t tagged_size = tag.size + 2;
    if (tagged_size >= rest.size) {
        *ret_way = WAY_BARE;
        return tag;
    }
    if (!is_slots_tag(tag, gavel__slot_of(tag)))
        return rest;
    *ret_way = WAY_COMPUTED;
    gavel_bytes key = {rest.data + tagged_size, rest.size - tagged_size};
    bool is_empty = gavel__bytes_equal(key, nothing) && gavel__slot_of(tag) == 0;
    return is_empty ? (gavel_bytes){key.data, 0} : key;
}

bool gavel__name_parse(
    gavel__name_kind kind, gavel_bytes prefix, gavel_bytes name, gavel_bytes *ret_key)
{
    if (!skip(&name, prefix) || !skip(&name, gavel_str(kind_text(kind))))
        return false;
    way assumed;
    gavel_bytes key = guess(name, &assumed);
    if (way_of(key) != assumed || gavel__slot_of(key) != gavel__slot_of(name))
        return false;
    *ret_key = key;
    return true;
}

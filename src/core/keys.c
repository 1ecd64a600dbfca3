/*
 * The table of keys. Used by the order of transactions, by rounds and by the engine.
 */
#include "core/keys.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

/* Bounds on what is kept beyond need: heat of keys seen lately, and entries to be used again. */
static const size_t max_warm = 4096;
static const size_t max_unused = 1024;
static const size_t max_unused_name = 256; /* bytes */

void gavel__keys_init(gavel__keys *keys, const gavel_allocator *allocator, uint64_t seed)
{
    *keys = (gavel__keys){.allocator = allocator};
    gavel__map_init(&keys->map, allocator, seed);
    gavel__list_init(&keys->warm);
    gavel__list_init(&keys->unused);
}

static void destroy_key(gavel__keys *keys, gavel__key *key)
{
    gavel__free(keys->allocator, key->name);
    gavel__free(keys->allocator, key);
}

static void forget(gavel__keys *keys, gavel__key *key)
{
    gavel__map_remove(&keys->map, &key->node);
    if (keys->recent == key)
        keys->recent = NULL;
    if (keys->n_unused == max_unused || key->name_capacity > max_unused_name) {
        destroy_key(keys, key);
        return;
    }
    gavel__list_append(&keys->unused, &key->idle);
    keys->n_unused++;
}

static gavel__key *pop_warm(gavel__keys *keys)
{
    gavel__list *node = gavel__list_pop(&keys->warm);
    if (node == NULL)
        return NULL;
    keys->n_warm--;
    return GAVEL__CONTAINER(node, gavel__key, idle);
}

void gavel__keys_finish(gavel__keys *keys)
{
    for (gavel__key *key; (key = pop_warm(keys)) != NULL;)
        forget(keys, key);
    for (gavel__list *node; (node = gavel__list_pop(&keys->unused)) != NULL;)
        destroy_key(keys, GAVEL__CONTAINER(node, gavel__key, idle));
    gavel__map_finish(&keys->map);
}

gavel__key_name gavel__keys_name(const gavel__keys *keys, gavel_bytes bytes)
{
    return (gavel__key_name){bytes, gavel__map_hash(&keys->map, bytes)};
}

gavel__key *gavel__keys_find(const gavel__keys *keys, gavel__key_name name)
{
    gavel__map_node *node = gavel__map_find_hashed(&keys->map, name.bytes, name.hash);
    return node != NULL ? GAVEL__CONTAINER(node, gavel__key, node) : NULL;
}

static bool set_name(gavel__keys *keys, gavel__key *key, gavel_bytes name)
{
    if (name.size > key->name_capacity || key->name == NULL) {
        size_t capacity = name.size > 64 ? name.size : 64;
        char *memory = gavel__resize(keys->allocator, key->name, capacity, 1);
        if (memory == NULL)
            return false;
        key->name = memory;
        key->name_capacity = capacity;
    }
    if (name.size > 0)
        memcpy(key->name, name.data, name.size);
    return true;
}

/* An entry without a name: a used one, or a new one. */
static gavel__key *make_key(gavel__keys *keys)
{
    gavel__list *node = gavel__list_pop(&keys->unused);
    if (node == NULL)
        return gavel__alloc(keys->allocator, 1, sizeof(gavel__key));
    keys->n_unused--;
    return GAVEL__CONTAINER(node, gavel__key, idle);
}

static gavel__key *add(gavel__keys *keys, gavel__key_name name)
{
    gavel__key *key = make_key(keys);
    if (key == NULL)
        return NULL;
    char *memory = key->name;
    size_t capacity = key->name_capacity;
    *key = (gavel__key){.name = memory, .name_capacity = capacity};
    gavel__list_init(&key->blocked);
    gavel__list_init(&key->yielding);
    gavel__list_init(&key->look);
    gavel__list_init(&key->idle);
    if (!set_name(keys, key, name.bytes) ||
        !gavel__map_insert_hashed(
            &keys->map, (gavel_bytes){key->name, name.bytes.size}, name.hash, &key->node)) {
        destroy_key(keys, key);
        return NULL;
    }
    return key;
}

/* By its hash, unless it is the one that was used last. */
static gavel__key *find_or_add(gavel__keys *keys, gavel_bytes name)
{
    if (keys->recent != NULL && gavel__bytes_equal(keys->recent->node.key, name))
        return keys->recent;
    gavel__key_name hashed = gavel__keys_name(keys, name);
    gavel__key *key = gavel__keys_find(keys, hashed);
    if (key == NULL)
        key = add(keys, hashed);
    if (key != NULL)
        keys->recent = key;
    return key;
}

gavel__key *gavel__keys_use(gavel__keys *keys, gavel_bytes name)
{
    gavel__key *key = find_or_add(keys, name);
    if (key == NULL)
        return NULL;
    if (!gavel__list_is_empty(&key->idle)) {
        gavel__list_remove(&key->idle);
        keys->n_warm--;
    }
    key->n_users++;
    return key;
}

/* Once nobody wants it and no round has it, it stays for its heat, or not at all. */
static void put_down_unused(gavel__keys *keys, gavel__key *key)
{
    if (key->n_users + key->n_claims + key->n_writers > 0)
        return;
    assert(gavel__line_is_empty(&key->line) && gavel__list_is_empty(&key->blocked) &&
           gavel__list_is_empty(&key->look) && gavel__list_is_empty(&key->yielding));
    if (!gavel__heat_is_known(&key->heat)) {
        forget(keys, key);
        return;
    }
    gavel__list_append(&keys->warm, &key->idle);
    keys->n_warm++;
    if (keys->n_warm > max_warm)
        forget(keys, pop_warm(keys));
}

void gavel__keys_unuse(gavel__keys *keys, gavel__key *key)
{
    assert(key->n_users > 0);
    key->n_users--;
    put_down_unused(keys, key);
}

void gavel__keys_claim(gavel__key *key, struct gavel__round *round)
{
    assert(key->n_users > 0);
    assert(key->earlier == NULL);
    key->earlier = key->round;
    key->round = round;
    key->n_claims++;
    key->is_on_offer = false;
}

void gavel__keys_doubt(gavel__key *key, const struct gavel__round *round)
{
    assert(key->round == round && key->earlier == NULL && key->n_claims == 1);
    (void)round; /* without assertions */
    key->round = NULL;
    key->is_in_doubt = true;
}

void gavel__keys_release(gavel__keys *keys, gavel__key *key, struct gavel__round *round)
{
    assert(key->n_claims > 0);
    if (round == NULL) {
        key->is_in_doubt = false;
        key->is_away = false;
    } else if (key->round == round) {
        key->round = key->earlier;
        key->is_on_offer = false;
        key->is_away = false;
    }
    key->earlier = NULL;
    key->n_claims--;
    put_down_unused(keys, key);
}

void gavel__keys_add_writer(gavel__key *key)
{
    assert(key->n_users > 0 && key->n_claims == 0);
    key->n_writers++;
}

void gavel__keys_remove_writer(gavel__keys *keys, gavel__key *key)
{
    assert(key->n_writers > 0);
    key->n_writers--;
    put_down_unused(keys, key);
}

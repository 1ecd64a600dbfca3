/*
 * The store: keys in order of database and name, their values and times to live. It knows nothing
 * of sessions but that they must be told when a key expires. For the commands.
 */
#include "sim_internal.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

int64_t sim__now_ms(const sim__server *server)
{
    if (server->applying_ms != 0)
        return server->applying_ms;
    return SIM__EPOCH_MS + server->world->now_us / 1000;
}

/* ---- Keys ---------------------------------------------------------------------------------- */

int sim__compare_bytes(gavel_bytes a, gavel_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare(const sim__key *key, int db, gavel_bytes name)
{
    return key->db != db ? key->db - db : sim__compare_bytes(key->name, name);
}

/* The place of the key, or the one where it would be inserted. */
static size_t place_of(const sim__store *store, int db, gavel_bytes name, bool *ret_is_there)
{
    size_t low = 0;
    size_t high = store->n_keys;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(store->keys[middle], db, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_is_there = low < store->n_keys && compare(store->keys[low], db, name) == 0;
    return low;
}

sim__key *sim__peek(const sim__server *server, int db, gavel_bytes name)
{
    bool is_there;
    size_t place = place_of(&server->store, db, name, &is_there);
    return is_there ? server->store.keys[place] : NULL;
}

static bool is_past(const sim__server *server, const sim__key *key)
{
    return key->expires_at_ms != SIM__NO_EXPIRY && sim__now_ms(server) > key->expires_at_ms;
}

bool sim__is_present(const sim__server *server, int db, gavel_bytes name)
{
    return sim__peek(server, db, name) != NULL;
}

bool sim__is_expired(const sim__server *server, int db, gavel_bytes name)
{
    const sim__key *key = sim__peek(server, db, name);
    return key != NULL && is_past(server, key);
}

sim__key *sim__find(sim__server *server, int db, gavel_bytes name)
{
    sim__key *key = sim__peek(server, db, name);
    if (key == NULL || !is_past(server, key) || server->applying_ms != 0)
        return key;
    if (server->primary != NULL)
        return NULL; /* Its primary says when it goes. */
    sim__record_removal(server, "DEL", db, name);
    sim__delete(server, key);
    sim__touch(server, db, name);
    return NULL;
}

sim__key *sim__add(sim__server *server, int db, gavel_bytes name, sim__type type)
{
    sim__store *store = &server->store;
    bool is_there;
    size_t place = place_of(store, db, name, &is_there);
    if (is_there)
        sim__fail(server->world, "a key is added twice");
    if (store->n_keys == store->capacity) {
        store->capacity = 2 * store->capacity + 16;
        store->keys = sim__resize(store->keys, store->capacity, sizeof(sim__key *));
    }
    sim__key *key = sim__alloc(1, sizeof *key);
    *key = (sim__key){
        .db = db, .name = sim__copy(name), .type = type, .expires_at_ms = SIM__NO_EXPIRY};
    memmove(
        &store->keys[place + 1], &store->keys[place], (store->n_keys - place) * sizeof(sim__key *));
    store->keys[place] = key;
    store->n_keys++;
    return key;
}

static void free_key(sim__key *key)
{
    for (size_t i = 0; i < key->n_items; i++) {
        sim__free_bytes(key->items[i].member);
        sim__free_bytes(key->items[i].value);
    }
    free(key->items);
    sim__free_bytes(key->string);
    sim__free_bytes(key->name);
    free(key);
}

void sim__delete(sim__server *server, sim__key *key)
{
    sim__store *store = &server->store;
    bool is_there;
    size_t place = place_of(store, key->db, key->name, &is_there);
    store->n_keys--;
    memmove(
        &store->keys[place], &store->keys[place + 1], (store->n_keys - place) * sizeof(sim__key *));
    free_key(key);
}

static void clear(sim__store *store)
{
    for (size_t i = 0; i < store->n_keys; i++)
        free_key(store->keys[i]);
    free(store->keys);
    *store = (sim__store){0};
}

void sim__delete_all(sim__server *server)
{
    clear(&server->store);
}

/* ---- Values -------------------------------------------------------------------------------- */

void sim__set_string(sim__key *key, gavel_bytes value)
{
    gavel_bytes old = key->string;
    key->string = sim__copy(value);
    sim__free_bytes(old);
}

sim__item *sim__item_find(const sim__key *key, gavel_bytes member)
{
    for (size_t i = 0; i < key->n_items; i++) {
        if (sim__compare_bytes(key->items[i].member, member) == 0)
            return &key->items[i];
    }
    return NULL;
}

sim__item *sim__item_insert(sim__key *key, size_t at, gavel_bytes member, gavel_bytes value)
{
    if (key->n_items == key->capacity) {
        key->capacity = 2 * key->capacity + 4;
        key->items = sim__resize(key->items, key->capacity, sizeof(sim__item));
    }
    memmove(&key->items[at + 1], &key->items[at], (key->n_items - at) * sizeof(sim__item));
    key->n_items++;
    key->items[at] = (sim__item){.member = sim__copy(member), .value = sim__copy(value)};
    return &key->items[at];
}

void sim__item_remove(sim__key *key, size_t at)
{
    sim__free_bytes(key->items[at].member);
    sim__free_bytes(key->items[at].value);
    key->n_items--;
    memmove(&key->items[at], &key->items[at + 1], (key->n_items - at) * sizeof(sim__item));
}

/* ---- Copies -------------------------------------------------------------------------------- */

sim__key *sim__add_copy(sim__server *server, const sim__key *from)
{
    sim__key *key = sim__add(server, from->db, from->name, from->type);
    key->expires_at_ms = from->expires_at_ms;
    sim__set_string(key, from->string);
    for (size_t i = 0; i < from->n_items; i++) {
        const sim__item *item = &from->items[i];
        sim__item_insert(key, i, item->member, item->value)->score = item->score;
    }
    return key;
}

void sim__load(sim__server *server, const sim__store *from)
{
    for (size_t i = 0; i < from->n_keys; i++)
        sim__add_copy(server, from->keys[i]);
}

void sim_save(sim_world *world)
{
    sim__server *server = world->meant;
    sim__store store = server->store;
    clear(&server->saved);
    server->store = (sim__store){0};
    sim__load(server, &store);
    server->saved = server->store;
    server->store = store;
}

void sim__forget_saved(sim__server *server)
{
    clear(&server->saved);
}

/* ---- For tests ----------------------------------------------------------------------------- */

/* Leaves an expired key where it is: looking must not change the run. */
static const sim__key *look(sim_world *world, gavel_bytes name, sim__type type)
{
    const sim__key *key = sim__peek(world->meant, 0, name);
    if (key == NULL || is_past(world->meant, key))
        return NULL;
    if (key->type != type)
        sim__fail(world, "a key is not of the type that the test expects");
    return key;
}

bool sim_exists(sim_world *world, gavel_bytes key)
{
    return sim__is_present(world->meant, 0, key) && !sim__is_expired(world->meant, 0, key);
}

bool sim_get(sim_world *world, gavel_bytes key, gavel_bytes *ret_value)
{
    const sim__key *found = look(world, key, SIM__STRING);
    if (found == NULL)
        return false;
    *ret_value = found->string;
    return true;
}

bool sim_hget(sim_world *world, gavel_bytes key, gavel_bytes field, gavel_bytes *ret_value)
{
    const sim__key *found = look(world, key, SIM__HASH);
    const sim__item *item = found != NULL ? sim__item_find(found, field) : NULL;
    if (item == NULL)
        return false;
    *ret_value = item->value;
    return true;
}

size_t sim_llen(sim_world *world, const char *key)
{
    const sim__key *found = look(world, gavel_str(key), SIM__LIST);
    return found != NULL ? found->n_items : 0;
}

static int64_t integer_of(sim_world *world, gavel_bytes text)
{
    int64_t value = 0;
    if (!gavel__parse_int(text, &value))
        sim__fail(world, "a value is not the integer that the test expects");
    return value;
}

int64_t sim_get_int(sim_world *world, const char *key)
{
    gavel_bytes text;
    return sim_get(world, gavel_str(key), &text) ? integer_of(world, text) : 0;
}

int64_t sim_hget_int(sim_world *world, const char *key, const char *field)
{
    gavel_bytes text;
    bool is_there = sim_hget(world, gavel_str(key), gavel_str(field), &text);
    return is_there ? integer_of(world, text) : 0;
}

static bool is_same_item(const sim__item *a, const sim__item *b)
{
    return gavel__bytes_equal(a->member, b->member) && gavel__bytes_equal(a->value, b->value) &&
           a->score == b->score;
}

bool sim__is_same_key(const sim__key *a, const sim__key *b)
{
    bool is_same = a->db == b->db && a->type == b->type && a->expires_at_ms == b->expires_at_ms &&
                   a->n_items == b->n_items && gavel__bytes_equal(a->name, b->name) &&
                   gavel__bytes_equal(a->string, b->string);
    for (size_t i = 0; is_same && i < a->n_items; i++)
        is_same = is_same_item(&a->items[i], &b->items[i]);
    return is_same;
}

bool sim_is_same_data(const sim_world *world, size_t one, size_t other)
{
    const sim__store *a = &sim__server_at(world, one)->store;
    const sim__store *b = &sim__server_at(world, other)->store;
    bool is_same = a->n_keys == b->n_keys;
    for (size_t i = 0; is_same && i < a->n_keys; i++)
        is_same = sim__is_same_key(a->keys[i], b->keys[i]);
    return is_same;
}

size_t sim_n_keys(const sim_world *world)
{
    return world->meant->store.n_keys;
}

gavel_bytes sim_key_at(const sim_world *world, size_t i)
{
    return world->meant->store.keys[i]->name;
}

/*
 * The pool of transactions: see the header.
 */
#include "core/pool.h"

/* What is kept beyond as many as are open. */
static const size_t max_spare = 1024;
static const size_t max_spare_bytes = (size_t)4 * 1024 * 1024;

void gavel__pool_init(gavel__pool *pool, const gavel_allocator *allocator)
{
    *pool = (gavel__pool){.allocator = allocator};
    gavel__list_init(&pool->unused);
}

static void destroy(gavel__pool *pool, gavel__transaction *transaction)
{
    gavel__arena_finish(&transaction->arena);
    gavel__free(pool->allocator, transaction);
}

void gavel__pool_finish(gavel__pool *pool)
{
    for (size_t i = 0; i < pool->n_places; i++) {
        if (pool->places[i].transaction != NULL)
            destroy(pool, pool->places[i].transaction);
    }
    gavel__free(pool->allocator, pool->places);
}

static size_t place_of(const gavel__transaction *transaction)
{
    return (size_t)(transaction->ticket & UINT32_MAX);
}

/* The place's next ticket. */
static void renew_ticket(gavel__pool *pool, gavel__transaction *transaction, size_t place)
{
    transaction->ticket = (uint64_t)pool->places[place - 1].n_uses++ << 32 | place;
}

/* A place without a transaction, from 1; 0: no memory. */
static size_t find_place(gavel__pool *pool)
{
    if (pool->first_free != 0)
        return pool->first_free;
    if (pool->n_places == UINT32_MAX)
        return 0;
    gavel__place *places = gavel__grow(
        pool->allocator, pool->places, pool->n_places, &pool->capacity, sizeof(*places));
    if (places == NULL)
        return 0;
    pool->places = places;
    places[pool->n_places] = (gavel__place){NULL, 0, 0};
    return pool->n_places + 1;
}

static gavel__transaction *make(gavel__pool *pool)
{
    size_t place = find_place(pool);
    gavel__transaction *transaction =
        place > 0 ? gavel__alloc(pool->allocator, 1, sizeof(*transaction)) : NULL;
    if (transaction == NULL)
        return NULL;
    gavel__arena_init_sized(&transaction->arena, pool->allocator, GAVEL__TRANSACTION_ARENA);
    gavel__list_init(&transaction->node);
    transaction->state = GAVEL__TX_ENDED;
    if (place == pool->first_free)
        pool->first_free = pool->places[place - 1].next_free;
    else
        pool->n_places++;
    pool->places[place - 1].transaction = transaction;
    renew_ticket(pool, transaction, place);
    return transaction;
}

static gavel__transaction *pop_unused(gavel__pool *pool)
{
    gavel__list *node = gavel__list_pop(&pool->unused);
    if (node == NULL)
        return NULL;
    gavel__transaction *transaction = GAVEL__CONTAINER(node, gavel__transaction, node);
    pool->n_unused--;
    pool->unused_bytes -= gavel__arena_kept(&transaction->arena);
    return transaction;
}

gavel__transaction *gavel__pool_take(gavel__pool *pool)
{
    gavel__transaction *transaction = pop_unused(pool);
    return transaction != NULL ? transaction : make(pool);
}

static void give_back(gavel__pool *pool, gavel__transaction *transaction)
{
    size_t place = place_of(transaction);
    pool->places[place - 1].transaction = NULL;
    pool->places[place - 1].next_free = pool->first_free;
    pool->first_free = (uint32_t)place;
    destroy(pool, transaction);
}

void gavel__pool_release(gavel__pool *pool, gavel__transaction *transaction, size_t n_open)
{
    gavel__transaction_reset(transaction);
    transaction->state = GAVEL__TX_ENDED;
    renew_ticket(pool, transaction, place_of(transaction));
    gavel__list_insert_before(pool->unused.next, &transaction->node);
    pool->n_unused++;
    pool->unused_bytes += gavel__arena_kept(&transaction->arena);
    while (pool->n_unused > n_open + max_spare ||
           (pool->unused_bytes > max_spare_bytes && pool->n_unused > n_open))
        give_back(pool, pop_unused(pool));
}

gavel__transaction *gavel__pool_find(const gavel__pool *pool, gavel_ticket ticket)
{
    size_t place = (size_t)(ticket & UINT32_MAX);
    if (place == 0 || place > pool->n_places)
        return NULL;
    gavel__transaction *transaction = pool->places[place - 1].transaction;
    return transaction != NULL && transaction->ticket == ticket ? transaction : NULL;
}

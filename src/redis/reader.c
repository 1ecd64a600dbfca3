/*
 * Readers over hiredis's parser. For links.
 *
 * The parser calls create_* for each piece of a reply, parents before their elements; a piece
 * takes its place in its parent's elements, so that they lie side by side. The parser takes NULL
 * for "no memory" and stops for good: that is how all bounds are kept.
 */
#include "redis/reader.h"

#include <hiredis.h>

/* hiredis before 1.0 goes hardly deeper; later ones have no bound of their own. */
#define DEPTH_MAX 7

/* The parser keeps its buffer from reply to reply up to this size. */
#define KEPT_MAX ((size_t)256 * 1024)

/* hiredis 0.14 counts elements as int, later ones as size_t. */
#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

static void *refuse(gavel__reader *reader, const char *fault)
{
    reader->fault = fault;
    return NULL;
}

static void *refuse_size(gavel__reader *reader)
{
    reader->is_too_large = true;
    return refuse(reader, "a reply is larger than max_reply_bytes");
}

/* Where the piece that `task` reads belongs: in its parent, or it is the reply itself. */
static gavel_reply *place_reply(const redisReadTask *task, gavel_reply_type type)
{
    gavel__reader *reader = task->privdata;
    gavel_reply *reply;
    if (task->parent != NULL) {
        /* The elements are const only for those to whom the reply is handed out. */
        gavel_reply *elements = (gavel_reply *)((gavel_reply *)task->parent->obj)->elements;
        reply = &elements[task->idx];
    } else {
        reply = gavel__arena_alloc(&reader->arena, 1, sizeof(*reply));
        if (reply == NULL)
            return refuse(reader, "out of memory");
    }
    reply->type = type;
    return reply;
}

static void *create_text(const redisReadTask *task, gavel_reply_type type, gavel_bytes text)
{
    gavel__reader *reader = task->privdata;
    gavel_reply *reply = place_reply(task, type);
    if (reply == NULL)
        return NULL;
    if (!gavel__arena_copy(&reader->arena, text, &reply->text))
        return refuse(reader, "out of memory");
    return reply;
}

static void *create_string(const redisReadTask *task, char *data, size_t size)
{
    gavel_bytes text = {data, size};
    if (task->type == REDIS_REPLY_STRING)
        return create_text(task, GAVEL_REPLY_STRING, text);
    if (task->type == REDIS_REPLY_STATUS)
        return create_text(task, GAVEL_REPLY_STATUS, text);
    if (task->type == REDIS_REPLY_ERROR)
        return create_text(task, GAVEL_REPLY_ERROR, text);
    return refuse(task->privdata, "a type that RESP2 does not have");
}

static int depth(const redisReadTask *task)
{
    int n = 0;
    for (; task != NULL; task = task->parent)
        n++;
    return n;
}

static void *create_array(const redisReadTask *task, element_count count)
{
    gavel__reader *reader = task->privdata;
    size_t n = (size_t)count;
    if (task->type != REDIS_REPLY_ARRAY)
        return refuse(reader, "a type that RESP2 does not have");
    if (depth(task) > DEPTH_MAX)
        return refuse(reader, "a reply is nested too deeply");
    if (n > (reader->max_bytes - reader->n_element_bytes) / sizeof(gavel_reply))
        return refuse_size(reader);
    reader->n_element_bytes += n * sizeof(gavel_reply);

    gavel_reply *reply = place_reply(task, GAVEL_REPLY_ARRAY);
    if (reply == NULL)
        return NULL;
    reply->elements = gavel__arena_alloc(&reader->arena, n, sizeof(gavel_reply));
    if (reply->elements == NULL)
        return refuse(reader, "out of memory");
    reply->n_elements = n;
    return reply;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    gavel_reply *reply = place_reply(task, GAVEL_REPLY_INTEGER);
    if (reply != NULL)
        reply->integer = value;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    return place_reply(task, GAVEL_REPLY_NIL);
}

#if HIREDIS_MAJOR >= 1
static void *create_double(const redisReadTask *task, double value, char *text, size_t size)
{
    (void)value;
    (void)text;
    (void)size;
    return refuse(task->privdata, "a type that RESP2 does not have");
}

static void *create_bool(const redisReadTask *task, int value)
{
    (void)value;
    return refuse(task->privdata, "a type that RESP2 does not have");
}
#endif

/* The arena frees. */
static void free_nothing(void *reply)
{
    (void)reply;
}

/* hiredis wants it writable and does not write. */
static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = create_double,
    .createBool = create_bool,
#endif
    .freeObject = free_nothing,
};

void gavel__reader_init(gavel__reader *reader, const gavel_allocator *allocator, size_t max_bytes)
{
    *reader = (gavel__reader){.max_bytes = max_bytes};
    gavel__arena_init(&reader->arena, allocator);
}

static void free_parser(gavel__reader *reader)
{
    if (reader->parser != NULL)
        redisReaderFree(reader->parser);
    reader->parser = NULL;
}

void gavel__reader_finish(gavel__reader *reader)
{
    free_parser(reader);
    gavel__arena_finish(&reader->arena);
}

bool gavel__reader_start(gavel__reader *reader)
{
    free_parser(reader);
    reader->parser = redisReaderCreateWithFunctions(&functions);
    if (reader->parser == NULL)
        return false;
    reader->parser->privdata = reader;
    reader->parser->maxbuf = KEPT_MAX;
    reader->n_bytes = 0;
    reader->n_element_bytes = 0;
    reader->is_arena_used = true; /* It may hold the beginning of a reply. */
    reader->fault = NULL;
    reader->is_too_large = false;
    return true;
}

void gavel__reader_feed(gavel__reader *reader, gavel_bytes bytes)
{
    reader->n_bytes += bytes.size;
    if (redisReaderFeed(reader->parser, bytes.data, bytes.size) != REDIS_OK &&
        reader->fault == NULL)
        reader->fault = "out of memory";
}

gavel__reading gavel__reader_next(gavel__reader *reader, const gavel_reply **ret_reply)
{
    void *reply = NULL;
    if (reader->is_arena_used)
        gavel__arena_reset(&reader->arena);
    reader->is_arena_used = false;
    if (reader->fault != NULL)
        return GAVEL__READING_BROKEN;
    if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK)
        return GAVEL__READING_BROKEN;

    size_t n_unread = reply != NULL ? reader->parser->len - reader->parser->pos : 0;
    if (reader->n_bytes - n_unread > reader->max_bytes) {
        refuse_size(reader);
        return GAVEL__READING_BROKEN;
    }
    if (reply == NULL)
        return GAVEL__READING_MORE;
    reader->n_bytes = n_unread;
    reader->n_element_bytes = 0;
    reader->is_arena_used = true;
    *ret_reply = reply;
    return GAVEL__READING_REPLY;
}

const char *gavel__reader_fault(const gavel__reader *reader)
{
    return reader->fault != NULL ? reader->fault : reader->parser->errstr;
}

/*
 * A primary, two replicas and three Sentinels for a test, gone when it ends. Down-after is two
 * seconds, which nobody is silent for on a busy machine, so a failover takes three to five. When
 * the first election comes to nothing the next one is twenty seconds later: those who wait have
 * more.
 */
#ifndef TEST_LIVE_SENTINELS_H
#define TEST_LIVE_SENTINELS_H

#include "tools.h"

enum { SENTINELS_N = 3, SENTINELS_N_SERVERS = 3 };
enum { SENTINELS_PATIENCE_MS = 90000, SENTINELS_TIMEOUT_S = 110 };

typedef struct live_sentinels {
    test_server *servers[SENTINELS_N_SERVERS]; /* at first the first one is the primary */
    test_server *all[SENTINELS_N];
    char url[128]; /* of the primary, by the first two Sentinels */
} live_sentinels;

/* Returns when every Sentinel knows all the others, and both replicas follow and have told it so.
 */
void sentinels_begin(live_sentinels *rig);

/* The same, with a password that the Sentinels ask for. */
void sentinels_begin_with_password(live_sentinels *rig, const char *password);

void sentinels_end(live_sentinels *rig);

/* The server that this Sentinel takes for the primary. */
test_server *sentinels_primary(live_sentinels *rig, size_t sentinel);

/* Returns when all Sentinels that run name one primary, another than `old`, and that one is one. */
test_server *sentinels_await_another(live_sentinels *rig, const test_server *old);

/* The number at a key; -1: none. Also of a server that was promoted. */
long long sentinels_count(const test_server *server, const char *key);

#endif

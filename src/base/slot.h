/*
 * Slots: into which of the 16384 parts of a Redis Cluster a key belongs, and a short text for each.
 * Pure. Source: Redis Cluster specification, "Key distribution model" and "Hash tags".
 */
#ifndef GAVEL__SLOT_H
#define GAVEL__SLOT_H

#include <gavel/bytes.h>

#define GAVEL__N_SLOTS 16384

/* Where a slot is, is said by the number of a node: below the first of these, or the second, if no
 * node is known for it. */
#define GAVEL__MAX_NODES 1024
#define GAVEL__NO_NODE UINT16_MAX

/* For a slot that is not known, or where there are none. */
#define GAVEL__NO_SLOT UINT16_MAX

/* XMODEM: polynomial 0x1021, starting from 0, nothing reversed. */
uint16_t gavel__crc16(gavel_bytes bytes);

/* A key's hash tag: what stands between its first '{' and the first '}' behind it. Empty: it has
 * none, or "{}", and counts as a whole. Points into the key. */
gavel_bytes gavel__slot_hash_tag(gavel_bytes key);

uint16_t gavel__slot_of(gavel_bytes key);

#define GAVEL__SLOT_TAG_SIZE 4

/* The slot's own tag: a text that lies in it, of '`' and the letters to 'o'. Each slot has one, and
 * it is the same for ever. Without a NUL. */
void gavel__slot_write_tag(uint16_t slot, char ret_tag[GAVEL__SLOT_TAG_SIZE]);

#endif

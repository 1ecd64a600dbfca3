/*
 * Slots: see the header. Used by the names of our own keys.
 */
#include "base/slot.h"

#include <assert.h>

/* By the four bits that are pushed out: what they do to the rest. */
static const uint16_t remainders[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6,
    0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};

uint16_t gavel__crc16(gavel_bytes bytes)
{
    unsigned crc = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned byte = (unsigned char)bytes.data[i];
        crc = (crc << 4 & 0xffff) ^ remainders[crc >> 12 ^ byte >> 4];
        crc = (crc << 4 & 0xffff) ^ remainders[crc >> 12 ^ (byte & 15)];
    }
    return (uint16_t)crc;
}

static const char *find(gavel_bytes bytes, char byte)
{
    return bytes.size > 0 ? memchr(bytes.data, byte, bytes.size) : NULL;
}

gavel_bytes gavel__slot_hash_tag(gavel_bytes key)
{
    const char *open = find(key, '{');
    if (open == NULL)
        return (gavel_bytes){key.data, 0};
    gavel_bytes behind = {open + 1, key.size - (size_t)(open + 1 - key.data)};
    const char *close = find(behind, '}');
    return (gavel_bytes){behind.data, close != NULL ? (size_t)(close - behind.data) : 0};
}

uint16_t gavel__slot_of(gavel_bytes key)
{
    gavel_bytes tag = gavel__slot_hash_tag(key);
    return gavel__crc16(tag.size > 0 ? tag : key) % GAVEL__N_SLOTS;
}

/*
 * CRC16 is linear: in texts of one length, to flip a bit of the text flips the same bits of the sum
 * whatever the other bits are. A tag has four characters of '`' (0x60) and four free bits each. So
 * a slot is fourteen linear equations for sixteen bits; solved once, for each bit of the slot, they
 * are this table: which bits of the tag flip that bit of its slot, and no other.
 */
static const uint16_t flips[14] = {0x88d4, 0x808a, 0x9007, 0x9efb, 0x19a2, 0x0c93, 0x1184, 0x8eed,
    0x1efb, 0x8022, 0x89c4, 0x82aa, 0x9447, 0x967b};

/* Of "````". */
static const uint16_t slot_of_no_bits = 9525;

void gavel__slot_write_tag(uint16_t slot, char ret_tag[GAVEL__SLOT_TAG_SIZE])
{
    assert(slot < GAVEL__N_SLOTS);
    unsigned wanted = (unsigned)slot ^ slot_of_no_bits;
    unsigned bits = 0;
    for (size_t i = 0; i < 14; i++) {
        if (wanted >> i & 1)
            bits ^= flips[i];
    }
    for (size_t i = 0; i < GAVEL__SLOT_TAG_SIZE; i++)
        ret_tag[i] = (char)('`' | (bits >> 4 * i & 15));
}

/*
 * crc32c.c - see crc32c.h.
 *
 * Eight bytes a turn, with eight tables: more than a gigabyte a second, while what is
 * checked is some megabytes a second.  So there is no variant for each processor.
 */
#include "crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void
make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t x = i;
        for (int bit = 0; bit < 8; bit++) {
            x = (x & 1) != 0 ? x >> 1 ^ POLYNOMIAL : x >> 1;
        }
        tables[0][i] = x;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            uint32_t x = tables[k - 1][i];
            tables[k][i] = x >> 8 ^ tables[0][x & 0xff];
        }
    }
}

static uint32_t
load_le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16
           | (uint32_t)at[3] << 24;
}

uint32_t
qi_crc32c(uint32_t before, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint32_t crc = ~before;

    (void)pthread_once(&tables_once, make_tables);
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = crc ^ load_le32(at);
        uint32_t high = load_le32(at + 4);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff]
              ^ tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24]
              ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff]
              ^ tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; size > 0; size--, at++) {
        crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
    }
    return ~crc;
}

/*
 * crc32c.h - the checksum of recordings: CRC-32C (Castagnoli), as in RFC 3720.
 *
 * [any]; a table of 8 KiB is made once.
 */
#ifndef QI_PROTO_CRC32C_H
#define QI_PROTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Goes on from the checksum of what was before; start with 0. */
uint32_t qi_crc32c(uint32_t before, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif

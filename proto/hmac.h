/*
 * hmac.h - SHA-256 (FIPS 180-4), HMAC (RFC 2104), and what the handshake signs.
 *
 * client/ may depend on libc and msgpack-c only, hence no OpenSSL; tested with the
 * vectors of FIPS 180-4 and RFC 4231.
 */
#ifndef QI_PROTO_HMAC_H
#define QI_PROTO_HMAC_H

#include "proto.h"
#include "runtime.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_SHA256_SIZE 32
#define QI_SHA256_BLOCK 64

struct qi_sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes taken in */
    uint8_t block[QI_SHA256_BLOCK];
};

void qi_sha256_init(struct qi_sha256 *h);
void qi_sha256_add(struct qi_sha256 *h, const void *bytes, size_t size);
void qi_sha256_end(struct qi_sha256 *h, uint8_t ret_digest[QI_SHA256_SIZE]);

struct qi_part {
    const void *bytes;
    size_t size;
};

/* Over the parts one after the other. */
void qi_hmac_sha256(const void *key, size_t key_size, const struct qi_part *parts,
                    size_t n, uint8_t ret_mac[QI_SHA256_SIZE]);

/* AUTH.hmac: "client" nonce_of_daemon nonce_of_client role */
void qi_mac_client(const uint8_t key[QI_KEY_SIZE],
                   const uint8_t nonce_of_daemon[QI_NONCE_SIZE],
                   const uint8_t nonce_of_client[QI_NONCE_SIZE], const char *role,
                   size_t role_size, uint8_t ret_mac[QI_MAC_SIZE]);

/* WELCOME.hmac: "server" nonce_of_client nonce_of_daemon */
void qi_mac_server(const uint8_t key[QI_KEY_SIZE],
                   const uint8_t nonce_of_client[QI_NONCE_SIZE],
                   const uint8_t nonce_of_daemon[QI_NONCE_SIZE],
                   uint8_t ret_mac[QI_MAC_SIZE]);

/* In a time that does not depend on where they differ. */
int qi_mac_equal(const uint8_t a[QI_MAC_SIZE], const uint8_t b[QI_MAC_SIZE]);

#ifdef __cplusplus
}
#endif

#endif

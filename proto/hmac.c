/* hmac.c - see hmac.h.  Names of the steps and variables as in FIPS 180-4. */
#include "hmac.h"

#include <string.h>

/* Section 4.2.2: from the cube roots of the first 64 primes. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

static uint32_t
rotate_right(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t
load_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void
store_be32(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 24);
    at[1] = (uint8_t)(x >> 16);
    at[2] = (uint8_t)(x >> 8);
    at[3] = (uint8_t)x;
}

/* Section 6.2.2, step 1. */
static void
schedule(const uint8_t *block, uint32_t w[64])
{
    for (size_t t = 0; t < 16; t++) {
        w[t] = load_be32(block + 4 * t);
    }
    for (size_t t = 16; t < 64; t++) {
        uint32_t s0 =
            rotate_right(w[t - 15], 7) ^ rotate_right(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 =
            rotate_right(w[t - 2], 17) ^ rotate_right(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
}

/* Section 6.2.2, steps 2 to 4; v is a to h. */
static void
compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    uint32_t v[8];

    schedule(block, w);
    memcpy(v, state, sizeof(v));
    for (size_t t = 0; t < 64; t++) {
        uint32_t e = v[4];
        uint32_t a = v[0];
        uint32_t sum1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        uint32_t sum0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        uint32_t ch = (e & v[5]) ^ (~e & v[6]);
        uint32_t maj = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
        uint32_t t1 = v[7] + sum1 + ch + K[t] + w[t];
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + sum0 + maj;
    }
    for (size_t i = 0; i < 8; i++) {
        state[i] += v[i];
    }
}

void
qi_sha256_init(struct qi_sha256 *h)
{
    /* Section 5.3.3. */
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memset(h, 0, sizeof(*h));
    memcpy(h->state, initial, sizeof(initial));
}

void
qi_sha256_add(struct qi_sha256 *h, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;

    while (size > 0) {
        size_t filled = (size_t)(h->size % QI_SHA256_BLOCK);
        size_t n = QI_SHA256_BLOCK - filled;
        if (n > size) {
            n = size;
        }
        memcpy(h->block + filled, from, n);
        h->size += n;
        from += n;
        size -= n;
        if (filled + n == QI_SHA256_BLOCK) {
            compress(h->state, h->block);
        }
    }
}

void
qi_sha256_end(struct qi_sha256 *h, uint8_t ret_digest[QI_SHA256_SIZE])
{
    static const uint8_t padding[QI_SHA256_BLOCK] = {0x80};
    uint64_t bits = h->size * 8;
    size_t filled = (size_t)(h->size % QI_SHA256_BLOCK);
    uint8_t length[8];

    store_be32(length, (uint32_t)(bits >> 32));
    store_be32(length + 4, (uint32_t)bits);
    qi_sha256_add(h, padding, filled < 56 ? 56 - filled : 120 - filled);
    qi_sha256_add(h, length, sizeof(length));
    for (size_t i = 0; i < 8; i++) {
        store_be32(ret_digest + 4 * i, h->state[i]);
    }
}

static void
start_with_pad(struct qi_sha256 *h, const uint8_t key[QI_SHA256_BLOCK], uint8_t pad)
{
    uint8_t block[QI_SHA256_BLOCK];

    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = key[i] ^ pad;
    }
    qi_sha256_init(h);
    qi_sha256_add(h, block, sizeof(block));
}

void
qi_hmac_sha256(const void *key, size_t key_size, const struct qi_part *parts, size_t n,
               uint8_t ret_mac[QI_SHA256_SIZE])
{
    uint8_t block[QI_SHA256_BLOCK] = {0};
    uint8_t inner[QI_SHA256_SIZE];
    struct qi_sha256 h;

    if (key_size > sizeof(block)) {
        qi_sha256_init(&h);
        qi_sha256_add(&h, key, key_size);
        qi_sha256_end(&h, block);
    }
    else if (key_size > 0) {
        memcpy(block, key, key_size);
    }
    start_with_pad(&h, block, 0x36);
    for (size_t i = 0; i < n; i++) {
        qi_sha256_add(&h, parts[i].bytes, parts[i].size);
    }
    qi_sha256_end(&h, inner);
    start_with_pad(&h, block, 0x5c);
    qi_sha256_add(&h, inner, sizeof(inner));
    qi_sha256_end(&h, ret_mac);
}

void
qi_mac_client(const uint8_t key[QI_KEY_SIZE],
              const uint8_t nonce_of_daemon[QI_NONCE_SIZE],
              const uint8_t nonce_of_client[QI_NONCE_SIZE], const char *role,
              size_t role_size, uint8_t ret_mac[QI_MAC_SIZE])
{
    const struct qi_part parts[] = {{"client", 6},
                                    {nonce_of_daemon, QI_NONCE_SIZE},
                                    {nonce_of_client, QI_NONCE_SIZE},
                                    {role, role_size}};

    qi_hmac_sha256(key, QI_KEY_SIZE, parts, 4, ret_mac);
}

void
qi_mac_server(const uint8_t key[QI_KEY_SIZE],
              const uint8_t nonce_of_client[QI_NONCE_SIZE],
              const uint8_t nonce_of_daemon[QI_NONCE_SIZE], uint8_t ret_mac[QI_MAC_SIZE])
{
    const struct qi_part parts[] = {{"server", 6},
                                    {nonce_of_client, QI_NONCE_SIZE},
                                    {nonce_of_daemon, QI_NONCE_SIZE}};

    qi_hmac_sha256(key, QI_KEY_SIZE, parts, 3, ret_mac);
}

int
qi_mac_equal(const uint8_t a[QI_MAC_SIZE], const uint8_t b[QI_MAC_SIZE])
{
    uint8_t different = 0;

    for (size_t i = 0; i < QI_MAC_SIZE; i++) {
        different |= (uint8_t)(a[i] ^ b[i]);
    }
    return different == 0;
}

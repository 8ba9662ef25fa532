/* test_hmac.c - hmac.h against the vectors of FIPS 180-4 and RFC 4231. */
#include "qi_test.h"

#include "hmac.h"

#include <string.h>

static void
check_hex(const uint8_t digest[QI_SHA256_SIZE], const char *wanted)
{
    char hex[2 * QI_SHA256_SIZE + 1];

    for (size_t i = 0; i < QI_SHA256_SIZE; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    if (strncmp(hex, wanted, strlen(wanted)) != 0) {
        fprintf(stderr, "got %s, wanted %s\n", hex, wanted);
        exit(1);
    }
}

static void
check_sha(const char *text, const char *wanted)
{
    uint8_t digest[QI_SHA256_SIZE];
    struct qi_sha256 h;

    qi_sha256_init(&h);
    qi_sha256_add(&h, text, strlen(text));
    qi_sha256_end(&h, digest);
    check_hex(digest, wanted);
}

/* FIPS 180-4's examples (one block, two blocks) and the empty text. */
static void
sha256_of_known_texts(void)
{
    check_sha("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sha("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_sha("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* A million times "a", in pieces that do not fit the blocks. */
static void
sha256_in_pieces(void)
{
    uint8_t digest[QI_SHA256_SIZE];
    char piece[1000];
    struct qi_sha256 h;

    memset(piece, 'a', sizeof(piece));
    qi_sha256_init(&h);
    for (int i = 0; i < 1000; i++) {
        qi_sha256_add(&h, piece, 333);
        qi_sha256_add(&h, piece, 0);
        qi_sha256_add(&h, piece, 667);
    }
    qi_sha256_end(&h, digest);
    check_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The padding changes its shape around these lengths: compare with the long way round. */
static void
sha256_at_the_edges_of_a_block(void)
{
    char text[130];

    memset(text, 'x', sizeof(text));
    for (size_t size = 50; size < sizeof(text); size++) {
        uint8_t whole[QI_SHA256_SIZE];
        uint8_t pieces[QI_SHA256_SIZE];
        struct qi_sha256 h;
        qi_sha256_init(&h);
        qi_sha256_add(&h, text, size);
        qi_sha256_end(&h, whole);
        qi_sha256_init(&h);
        for (size_t i = 0; i < size; i++) {
            qi_sha256_add(&h, text + i, 1);
        }
        qi_sha256_end(&h, pieces);
        CHECK(memcmp(whole, pieces, sizeof(whole)) == 0);
    }
}

static void
check_hmac(const void *key, size_t key_size, const char *text, size_t size,
           const char *wanted)
{
    uint8_t mac[QI_SHA256_SIZE];
    /* In two parts: the result is over both. */
    const struct qi_part parts[] = {{text, size / 2}, {text + size / 2, size - size / 2}};

    qi_hmac_sha256(key, key_size, parts, 2, mac);
    check_hex(mac, wanted);
}

/* RFC 4231, section 4, test cases 1 to 7 (5 is truncated to 128 bits there). */
static void
hmac_of_rfc_4231(void)
{
    static const char large[] =
        "This is a test using a larger than block-size key and a larger than "
        "block-size data. The key needs to be hashed before being used by the "
        "HMAC algorithm.";
    uint8_t key[131];
    char text[50];

    memset(key, 0x0b, 20);
    check_hmac(key, 20, "Hi There", 8,
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check_hmac("Jefe", 4, "what do ya want for nothing?", 28,
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    memset(text, 0xdd, sizeof(text));
    check_hmac(key, 20, text, 50,
               "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    check_hmac(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    check_hmac(key, 131, large, strlen(large),
               "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    for (size_t i = 0; i < 25; i++) {
        key[i] = (uint8_t)(i + 1);
    }
    memset(text, 0xcd, sizeof(text));
    check_hmac(key, 25, text, 50,
               "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    memset(key, 0x0c, 20);
    check_hmac(key, 20, "Test With Truncation", 20, "a3b6167473100ee06e0c796c2955552b");
}

/* Who proves what: no proof of one side is one of the other, or of another role. */
static void
proofs_are_different(void)
{
    uint8_t key[QI_KEY_SIZE] = {1};
    uint8_t one[QI_NONCE_SIZE] = {2};
    uint8_t two[QI_NONCE_SIZE] = {3};
    uint8_t a[QI_MAC_SIZE];
    uint8_t b[QI_MAC_SIZE];

    qi_mac_client(key, one, two, "app", 3, a);
    qi_mac_client(key, one, two, "app", 3, b);
    CHECK(qi_mac_equal(a, b));
    qi_mac_client(key, one, two, "control", 7, b);
    CHECK(!qi_mac_equal(a, b));
    qi_mac_client(key, two, one, "app", 3, b);
    CHECK(!qi_mac_equal(a, b));
    qi_mac_server(key, one, two, b);
    CHECK(!qi_mac_equal(a, b));
    key[31] = 1;
    qi_mac_client(key, one, two, "app", 3, b);
    CHECK(!qi_mac_equal(a, b));
}

int
main(void)
{
    RUN(sha256_of_known_texts);
    RUN(sha256_in_pieces);
    RUN(sha256_at_the_edges_of_a_block);
    RUN(hmac_of_rfc_4231);
    RUN(proofs_are_different);
    return 0;
}

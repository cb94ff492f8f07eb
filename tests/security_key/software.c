/*
 * A security key in software, for tests: what OpenSSH loads as SecurityKeyProvider. It implements the
 * interface that OpenSSH's sk-api.h describes, version 10 (OpenSSH 8.9 and later), for ECDSA P-256.
 *
 * Its private key lies open in the key handle, and it takes every touch and every fingerprint for given,
 * unless a file named by JIT_SSH_TEST_UNTOUCHED is there: never use it for anything but tests.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>
#include <openssl/sha.h>

enum { VERSION = 0x000a0000, ECDSA = 0, FAILED = -1, UNSUPPORTED = -2, SCALAR = 32, POINT = 65 };
enum { PRESENT = 0x01, VERIFIED = 0x04 };

struct enrolled {
	uint8_t flags;
	uint8_t *key;
	size_t key_len;
	uint8_t *handle;
	size_t handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *certificate;
	size_t certificate_len;
	uint8_t *authdata;
	size_t authdata_len;
};

struct signed_data {
	uint8_t flags;
	uint32_t counter;
	uint8_t *r;
	size_t r_len;
	uint8_t *s;
	size_t s_len;
};

uint32_t
sk_api_version(void)
{
	return VERSION;
}

int
sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
    uint8_t flags, const char *pin, void **options, struct enrolled **out)
{
	EC_KEY *pair = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	struct enrolled *made = calloc(1, sizeof(*made));

	(void)challenge, (void)challenge_len, (void)application, (void)pin, (void)options;
	if (alg != ECDSA)
		return UNSUPPORTED;
	if (pair == NULL || made == NULL || EC_KEY_generate_key(pair) != 1)
		return FAILED;
	made->flags = flags;
	made->key_len = POINT;
	made->handle_len = SCALAR;
	made->signature_len = 1;
	made->key = calloc(1, POINT);
	made->handle = calloc(1, SCALAR);
	/* Nobody asks for an attestation. */
	made->signature = calloc(1, 1);
	if (made->key == NULL || made->handle == NULL || made->signature == NULL)
		return FAILED;
	if (EC_POINT_point2oct(EC_KEY_get0_group(pair), EC_KEY_get0_public_key(pair),
	    POINT_CONVERSION_UNCOMPRESSED, made->key, POINT, NULL) != POINT)
		return FAILED;
	if (BN_bn2binpad(EC_KEY_get0_private_key(pair), made->handle, SCALAR) != SCALAR)
		return FAILED;
	EC_KEY_free(pair);
	*out = made;
	return 0;
}

static uint8_t *
number(const BIGNUM *value, size_t *len)
{
	uint8_t *bytes = calloc(1, SCALAR);

	*len = SCALAR;
	if (bytes != NULL && BN_bn2binpad(value, bytes, SCALAR) != SCALAR) {
		free(bytes);
		return NULL;
	}
	return bytes;
}

int
sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
    const uint8_t *handle, size_t handle_len, uint8_t flags, const char *pin, void **options,
    struct signed_data **out)
{
	/* What is signed: digest of the application, flags, counter, digest of the data. */
	uint8_t text[2 * SHA256_DIGEST_LENGTH + 5], digest[SHA256_DIGEST_LENGTH];
	const char *untouched = getenv("JIT_SSH_TEST_UNTOUCHED");
	struct signed_data *made = calloc(1, sizeof(*made));
	BIGNUM *scalar = BN_bin2bn(handle, (int)handle_len, NULL);
	EC_KEY *pair = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	ECDSA_SIG *signature;

	(void)pin, (void)options;
	if (alg != ECDSA || handle_len != SCALAR)
		return UNSUPPORTED;
	if (untouched != NULL && access(untouched, F_OK) == 0)
		return FAILED;
	if (made == NULL || scalar == NULL || pair == NULL)
		return FAILED;
	if (EC_KEY_set_private_key(pair, scalar) != 1)
		return FAILED;
	made->flags = flags & (PRESENT | VERIFIED);
	made->counter = 1;
	SHA256((const uint8_t *)application, strlen(application), text);
	text[SHA256_DIGEST_LENGTH] = made->flags;
	memcpy(text + SHA256_DIGEST_LENGTH + 1, "\0\0\0\1", 4);
	SHA256(data, data_len, text + SHA256_DIGEST_LENGTH + 5);
	SHA256(text, sizeof(text), digest);
	signature = ECDSA_do_sign(digest, sizeof(digest), pair);
	if (signature == NULL)
		return FAILED;
	made->r = number(ECDSA_SIG_get0_r(signature), &made->r_len);
	made->s = number(ECDSA_SIG_get0_s(signature), &made->s_len);
	ECDSA_SIG_free(signature);
	EC_KEY_free(pair);
	BN_free(scalar);
	if (made->r == NULL || made->s == NULL)
		return FAILED;
	*out = made;
	return 0;
}

int
sk_load_resident_keys(const char *pin, void **options, void ***keys, size_t *count)
{
	(void)pin, (void)options, (void)keys, (void)count;
	return UNSUPPORTED;
}

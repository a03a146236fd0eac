/* base64url(HEADER) "." base64url(CLAIMS) "." base64url(RSASSA-PKCS1-v1_5 with SHA-256 of the text before it) */
#include "registry/net/jwt.h"
#include "base/cleanup.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

/* Passes the passphrase "", or libcrypto would ask the terminal for that of an encrypted key. */
static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (char[]){""}) : NULL;
    BIO_free(bio);
    if (key && EVP_PKEY_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    ERR_clear_error();
    return key;
}

/* Appends "." and the signature of the text so far. */
static bool add_signature(struct hl_secret_text *text, EVP_PKEY *key)
{
    size_t n = (size_t)EVP_PKEY_size(key);
    HL_FREE unsigned char *signature = malloc(n);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = signature && context && !text->failed &&
                EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestSign(context, signature, &n, (const unsigned char *)text->text, text->size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (good) {
        hl_secret_add(text, ".");
        hl_secret_add_base64(text, signature, n, true);
    }
    return good;
}

static int make_header(const char *key_id, char **out, struct hl_error *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "alg", "RS256");
    cJSON_AddStringToObject(json, "typ", "JWT");
    if (key_id)
        cJSON_AddStringToObject(json, "kid", key_id);
    *out = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return *out ? 0 : hl_no_memory(err);
}

int hl_jwt_sign(const char *claims, const char *key_id, const char *pem, char **out, struct hl_error *err)
{
    HL_SECRET_TEXT text = {0};
    HL_FREE char *header = NULL;
    if (make_header(key_id, &header, err) < 0)
        return -1;
    hl_secret_add_base64(&text, header, strlen(header), true);
    hl_secret_add(&text, ".");
    hl_secret_add_base64(&text, claims, strlen(claims), true);
    EVP_PKEY *key = read_key(pem);
    if (!key)
        return hl_fail(err, "the private key is not an RSA key in PEM without a passphrase");
    bool good = add_signature(&text, key);
    EVP_PKEY_free(key);
    return good ? hl_secret_take(&text, out, err) : hl_fail(err, "signing with the private key failed");
}

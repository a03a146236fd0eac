/* Texts that must leave nothing behind: passwords, tokens, keys, and what is built of them. What is freed is
 * overwritten first, and so is what a growing text leaves. */
#ifndef HL_REGISTRY_NET_SECRET_H
#define HL_REGISTRY_NET_SECRET_H

#include "base/error.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Overwrites, then frees; NULL is fine. For any NUL-terminated text from malloc() that holds a secret. */
void hl_secret_free(char *text);

static inline void hl_secret_release(char **text)
{
    hl_secret_free(*text);
}

#define HL_SECRET __attribute__((cleanup(hl_secret_release)))

/* A copy for hl_secret_free(). */
char *hl_secret_copy(const char *text, struct hl_error *err);

/* A text that grows; begins as {0}. Once memory is short, further additions do nothing and hl_secret_take() fails. */
struct hl_secret_text {
    char *text; /* NUL-terminated; NULL: nothing yet */
    size_t size, room;
    bool failed;
};

void hl_secret_text_free(struct hl_secret_text *text);

#define HL_SECRET_TEXT __attribute__((cleanup(hl_secret_text_free))) struct hl_secret_text

void hl_secret_add(struct hl_secret_text *to, const char *text);
void hl_secret_add_bytes(struct hl_secret_text *to, const void *bytes, size_t n);
/* Percent-encoded, for a query or a form: everything but letters, digits and "-._~". RFC 3986, 2. */
void hl_secret_add_escaped(struct hl_secret_text *to, const char *text);
/* "&name=value" with the value escaped; without the "&" where `to` is empty. */
void hl_secret_add_field(struct hl_secret_text *to, const char *name, const char *value);
/* In base64; for `url` with the other alphabet and without padding. RFC 4648, 4 and 5. */
void hl_secret_add_base64(struct hl_secret_text *to, const void *bytes, size_t n, bool url);
/* The text, which is the caller's from then on; hl_secret_free(). */
int hl_secret_take(struct hl_secret_text *from, char **out, struct hl_error *err);

/* The bytes that base64 `text` stands for, NUL-terminated; hl_secret_free() frees. NULL: it is none, they hold a NUL
 * other than at the end, or memory is short. */
char *hl_secret_from_base64(const char *text);

/* cJSON_Delete(), after overwriting all of its texts. */
void hl_secret_json_free(cJSON *json);

static inline void hl_secret_json_release(cJSON **json)
{
    hl_secret_json_free(*json);
}

#define HL_SECRET_JSON __attribute__((cleanup(hl_secret_json_release)))

#define HL_SECRET_FILE_LIMIT ((size_t)1 << 20)

/* Reads a whole file; hl_secret_free() frees *text, which holds no NUL but the last. *text is NULL, and that no
 * failure, when there is no such file and it is `optional`. Errors call it `name`. */
int hl_secret_read(const char *path, const char *name, bool optional, char **text, struct hl_error *err);

#endif

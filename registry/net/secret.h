/* Texts that must leave no trace: passwords, tokens, keys, and texts built from them. They are overwritten before they
 * are freed, and so is the old memory of a text that grows. */
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

/* Returns a copy, to be freed with hl_secret_free(). */
char *hl_secret_copy(const char *text, struct hl_error *err);

/* A text that grows; starts as {0}. After memory ran out, further additions do nothing and hl_secret_take() fails. */
struct hl_secret_text {
    char *text; /* NUL-terminated; NULL while empty */
    size_t size, room;
    bool failed;
};

void hl_secret_text_free(struct hl_secret_text *text);

#define HL_SECRET_TEXT __attribute__((cleanup(hl_secret_text_free))) struct hl_secret_text

void hl_secret_add(struct hl_secret_text *to, const char *text);
void hl_secret_add_bytes(struct hl_secret_text *to, const void *bytes, size_t n);
/* Adds it percent-encoded, for a query or a form: all but letters, digits and "-._~". RFC 3986, 2. */
void hl_secret_add_escaped(struct hl_secret_text *to, const char *text);
/* Adds "&name=value" with the value escaped; without the "&" if `to` is empty. */
void hl_secret_add_field(struct hl_secret_text *to, const char *name, const char *value);
/* Adds base64; with `url` in the URL alphabet and without padding. RFC 4648, 4 and 5. */
void hl_secret_add_base64(struct hl_secret_text *to, const void *bytes, size_t n, bool url);
/* Moves the text to the caller, who frees it with hl_secret_free(). */
int hl_secret_take(struct hl_secret_text *from, char **out, struct hl_error *err);

/* Returns the bytes that base64 `text` encodes, NUL-terminated; hl_secret_free() frees them. NULL: the text is not
 * base64, the bytes hold a NUL other than at the end, or memory is short. */
char *hl_secret_from_base64(const char *text);

/* Calls cJSON_Delete() after overwriting all texts. */
void hl_secret_json_free(cJSON *json);

static inline void hl_secret_json_release(cJSON **json)
{
    hl_secret_json_free(*json);
}

#define HL_SECRET_JSON __attribute__((cleanup(hl_secret_json_release)))

#define HL_SECRET_FILE_LIMIT ((size_t)1 << 20)

/* Reads a whole file; hl_secret_free() frees *text, which holds a NUL only at the end. If the file is `optional` and
 * does not exist, succeeds with *text = NULL. Errors call the file `name`. */
int hl_secret_read(const char *path, const char *name, bool optional, char **text, struct hl_error *err);

#endif

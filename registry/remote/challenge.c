/* Parses WWW-Authenticate.
 *
 *   challenges = challenge *( "," challenge )
 *   challenge  = scheme [ 1*SP ( token68 / param *( "," param ) ) ]
 *   param      = token "=" ( token / quoted-string )
 *
 * A comma has two meanings. A word and "=" after it are a parameter of the same challenge; otherwise another challenge
 * begins. So the text cannot be split at commas, which quoted strings may contain as well; it is read from left to
 * right with one token of look-ahead. Two things that the grammar forbids are accepted, since registries send them and
 * they have only one meaning: empty list elements, and URLs without quotes.
 */
#include "registry/remote/challenge.h"
#include "base/sizes.h"
#include <string.h>
#include <strings.h>

/* The longest name that matters is "service". */
#define NAME_BYTES 32

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_control(char c)
{
    return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " \t");
}

/* Skips the commas of a list that may have empty elements. */
static const char *skip_commas(const char *at)
{
    return at + strspn(at, " \t,");
}

/* Reads a token, truncated to `name`; NULL if there is none. A truncated name equals none that matters. */
static const char *read_token(const char *at, char name[NAME_BYTES])
{
    size_t n = 0;
    while (is_token(at[n]))
        n++;
    if (!n)
        return NULL;
    size_t kept = n < NAME_BYTES ? n : NAME_BYTES - 1;
    memcpy(name, at, kept);
    name[kept] = 0;
    return at + n;
}

/* The destination of a parameter's value; `size` 0 drops it. */
struct field {
    char *text;
    size_t size, used;
    bool full;
};

static void field_put(struct field *field, char c)
{
    if (!field->size)
        return;
    if (field->used + 1 < field->size)
        field->text[field->used++] = c;
    else
        field->full = true;
    field->text[field->used] = 0;
}

/* Reads from after the opening quote. Returns the position after the closing one, NULL if it is missing. */
static const char *read_quoted(const char *at, struct field *field)
{
    for (; *at != '"'; at++) {
        if (*at == '\\')
            at++;
        if (!*at || is_control(*at))
            return NULL;
        field_put(field, *at);
    }
    return at + 1;
}

/* Reads a value without quotes, up to a space or comma. Returns NULL if it is empty. */
static const char *read_plain(const char *at, struct field *field)
{
    const char *end = at + strcspn(at, " \t,\"");
    if (end == at || *end == '"')
        return NULL;
    for (; at < end; at++) {
        if (is_control(*at))
            return NULL;
        field_put(field, *at);
    }
    return end;
}

/* Returns the field of `out` for a parameter. The first of equal names counts. */
static struct field field_of(struct hl_challenge *out, const char *name)
{
    const struct {
        const char *name;
        char *text;
        size_t size;
    } known[] = {{"realm", out->realm, sizeof out->realm},
                 {"service", out->service, sizeof out->service},
                 {"scope", out->scope, sizeof out->scope},
                 {"error", out->error, sizeof out->error}};
    for (size_t i = 0; i < HL_COUNT(known); i++)
        if (!strcasecmp(name, known[i].name) && !*known[i].text)
            return (struct field){known[i].text, known[i].size, 0, false};
    return (struct field){0};
}

/* Returns whether a parameter's "=" follows. After the "=" of a token68 there is only a comma or the end. */
static bool is_parameter(const char *after_name)
{
    const char *at = skip_spaces(after_name);
    if (*at != '=')
        return false;
    at = skip_spaces(at + 1);
    return *at && *at != ',' && *at != '=';
}

/* Reads a token68 up to the comma or end after it; NULL if it is malformed. */
static const char *read_token68(const char *at)
{
    size_t n = 0;
    while ((is_token(at[n]) && !strchr("!#$%&'*^`|", at[n])) || at[n] == '/')
        n++;
    if (!n)
        return NULL;
    at = skip_spaces(at + n + strspn(at + n, "="));
    return *at && *at != ',' ? NULL : at;
}

/* Reads the parameters from `at` up to the next challenge or the end; NULL if they are malformed. */
static const char *read_parameters(const char *at, struct hl_challenge *out, bool *fits)
{
    for (;;) {
        char name[NAME_BYTES];
        const char *next = read_token(at, name);
        if (!next || !is_parameter(next))
            return NULL;
        struct field field = field_of(out, name);
        at = skip_spaces(skip_spaces(next) + 1);
        at = *at == '"' ? read_quoted(at + 1, &field) : read_plain(at, &field);
        if (!at)
            return NULL;
        *fits &= !field.full;
        at = skip_spaces(at);
        if (*at && *at != ',')
            return NULL;
        at = skip_commas(at);
        next = read_token(at, name);
        if (!next || !is_parameter(next))
            return at;
    }
}

/* Reads one challenge; an unknown scheme becomes HL_CHALLENGE_NONE. Returns NULL if it is malformed. */
static const char *read_challenge(const char *at, struct hl_challenge *out, bool *fits)
{
    char scheme[NAME_BYTES], name[NAME_BYTES];
    *out = (struct hl_challenge){0};
    *fits = true;
    at = read_token(at, scheme);
    if (!at || (*at && !strchr(" \t,", *at)))
        return NULL;
    const char *rest = skip_spaces(at), *end;
    if (*rest && *rest != ',') {
        const char *first = read_token(rest, name);
        if (first && is_parameter(first))
            end = read_parameters(rest, out, fits);
        else
            end = read_token68(rest);
    } else {
        end = rest;
    }
    if (!strcasecmp(scheme, "Basic"))
        out->scheme = HL_CHALLENGE_BASIC;
    else if (!strcasecmp(scheme, "Bearer") && *out->realm)
        out->scheme = HL_CHALLENGE_BEARER;
    return end;
}

bool hl_challenge_parse(const char *value, struct hl_challenge *out)
{
    bool chosen_fits = true;
    *out = (struct hl_challenge){0};
    for (const char *at = skip_commas(value); *at; at = skip_commas(at)) {
        struct hl_challenge challenge;
        bool fits;
        if (!(at = read_challenge(at, &challenge, &fits))) {
            out->scheme = HL_CHALLENGE_NONE;
            return false;
        }
        if (challenge.scheme > out->scheme) {
            *out = challenge;
            chosen_fits = fits;
        }
    }
    if (!chosen_fits)
        out->scheme = HL_CHALLENGE_NONE;
    return out->scheme != HL_CHALLENGE_NONE;
}

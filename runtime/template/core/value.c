/* The arena, lists and dicts, and how values compare.
 *
 * A dict stores its entries in the order of insertion. From nine entries on it also has a hash table of their numbers,
 * filled to two thirds at most. No entry is ever removed. Values that a template makes may contain a list many times
 * over. So every walk pays for each value that it meets and stops at HL_VALUE_DEPTH levels.
 */
#include "runtime/template/core/value.h"
#include "hotlayer/tokenizer_section.h" /* hl_hash_text */
#include "runtime/template/core/run.h"
#include <math.h>
#include <stdalign.h>
#include <stdlib.h>

#define CHUNK_LEAST ((size_t)16 << 10)
#define INDEX_FROM 8u /* larger dicts have a hash table */

struct hl_arena_chunk {
    struct hl_arena_chunk *next;
    size_t n, room; /* after this header */
    alignas(16) unsigned char bytes[];
};

void hl_arena_init(struct hl_arena *arena, size_t limit, uint64_t work)
{
    *arena = (struct hl_arena){.limit = limit, .work = work};
}

void hl_arena_release(struct hl_arena *arena)
{
    while (arena->chunks) {
        struct hl_arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}

void *hl_arena_alloc(struct hl_arena *arena, size_t bytes)
{
    struct hl_arena_chunk *chunk = arena->chunks;
    if (bytes > arena->limit - arena->used)
        return NULL;
    bytes = (bytes + 15) / 16 * 16;
    if (!chunk || bytes > chunk->room - chunk->n) {
        size_t room = chunk && chunk->room < arena->limit / 8 ? 2 * chunk->room : CHUNK_LEAST;
        room = room < bytes ? bytes : room;
        chunk = malloc(sizeof *chunk + room);
        if (!chunk)
            return NULL;
        *chunk = (struct hl_arena_chunk){.next = arena->chunks, .room = room};
        arena->chunks = chunk;
    }
    void *at = chunk->bytes + chunk->n;
    chunk->n += bytes;
    arena->used = bytes > arena->limit - arena->used ? arena->limit : arena->used + bytes;
    return at;
}

int hl_arena_full(const struct hl_arena *arena, struct hl_error *err)
{
    return hl_fail_as(err, HL_ERROR_REQUEST, "this needs more than the allowed %zu bytes of memory", arena->limit);
}

int hl_arena_pay(struct hl_arena *arena, uint64_t units, struct hl_error *err)
{
    if (units > arena->work) {
        arena->work = 0;
        return hl_fail_as(err, HL_ERROR_REQUEST, "this takes more steps than allowed");
    }
    arena->work -= units;
    return 0;
}

/* Makes room for one more of `size` bytes. The old array stays unchanged. */
static int grow(struct hl_arena *arena, void **items, uint32_t n, uint32_t *room, size_t size, struct hl_error *err)
{
    if (n < *room)
        return 0;
    uint32_t larger = *room ? 2 * *room : 4;
    void *fresh = larger > *room && larger < UINT32_MAX / 2 ? hl_arena_alloc(arena, larger * size) : NULL;
    if (!fresh)
        return hl_arena_full(arena, err);
    if (n)
        memcpy(fresh, *items, n * size);
    *items = fresh;
    *room = larger;
    return 0;
}

int hl_text_put(struct hl_text *text, const char *bytes, size_t n, struct hl_error *err)
{
    if (n > text->room - text->n) {
        size_t room = 2 * text->room + n;
        room = room < 240 ? 240 : room;
        char *fresh = room < UINT32_MAX / 2 ? hl_arena_alloc(text->arena, room) : NULL;
        if (!fresh)
            return hl_arena_full(text->arena, err);
        if (text->n)
            memcpy(fresh, text->data, text->n);
        text->data = fresh;
        text->room = room;
    }
    if (n)
        memcpy(text->data + text->n, bytes, n);
    text->n += n;
    return hl_arena_pay(text->arena, n / 64, err);
}

int hl_list_new(struct hl_arena *arena, enum hl_value_kind kind, size_t room, struct hl_value *out,
                struct hl_error *err)
{
    struct hl_list *list = hl_arena_alloc(arena, sizeof *list);
    if (!list || room > UINT32_MAX / 2)
        return hl_arena_full(arena, err);
    *list = (struct hl_list){.room = (uint32_t)room};
    if (room && !(list->items = hl_arena_alloc(arena, room * sizeof *list->items)))
        return hl_arena_full(arena, err);
    *out = (struct hl_value){.kind = (uint8_t)kind, .list = list};
    return 0;
}

int hl_list_push(struct hl_arena *arena, struct hl_list *list, struct hl_value value, struct hl_error *err)
{
    void *items = list->items;
    if (grow(arena, &items, list->n, &list->room, sizeof value, err))
        return -1;
    list->items = items;
    list->items[list->n++] = value;
    return 0;
}

int hl_dict_new(struct hl_arena *arena, enum hl_value_kind kind, struct hl_value *out, struct hl_error *err)
{
    struct hl_dict *dict = hl_arena_alloc(arena, sizeof *dict);
    if (!dict)
        return hl_arena_full(arena, err);
    *dict = (struct hl_dict){0};
    *out = (struct hl_value){.kind = (uint8_t)kind, .dict = dict};
    return 0;
}

/* Hashes a key. Equal keys have equal hashes: 1, 1.0 and True are equal. */
static int hash_key(struct hl_arena *arena, struct hl_value key, unsigned depth, uint32_t *hash, struct hl_error *err)
{
    double real = key.kind == HL_VALUE_BOOL ? key.truth : key.kind == HL_VALUE_INT ? (double)key.integer : key.real;
    switch (key.kind) {
    case HL_VALUE_STRING:
    case HL_VALUE_BIG:
        *hash = hl_hash_text(key.text, key.n);
        return 0;
    case HL_VALUE_BOOL:
    case HL_VALUE_INT:
    case HL_VALUE_FLOAT:
        real += 0.0; /* turns -0.0 into 0.0 */
        *hash = hl_hash_text(&real, sizeof real);
        return 0;
    case HL_VALUE_NONE:
    case HL_VALUE_UNDEFINED:
        *hash = key.kind;
        return 0;
    case HL_VALUE_OBJECT:
        *hash = hl_hash_text(&key.object, sizeof key.object);
        return 0;
    case HL_VALUE_TUPLE:
        *hash = 17;
        for (uint32_t i = 0; depth < HL_VALUE_DEPTH && i < key.list->n; i++) {
            uint32_t item = 0;
            if (hash_key(arena, key.list->items[i], depth + 1, &item, err) || hl_arena_pay(arena, 1, err))
                return -1;
            *hash = *hash * 31 + item;
        }
        return 0;
    default:
        return hl_fail_as(err, HL_ERROR_REQUEST, "unhashable type: '%s'", hl_value_type(key));
    }
}

/* Adds an entry to the hash table. Pays for each slot that is taken, since keys may be chosen so that all of them
 * collide. */
static int index_entry(struct hl_arena *arena, struct hl_dict *dict, uint32_t hash, uint32_t entry,
                       struct hl_error *err)
{
    uint32_t at = hash & (dict->slots - 1), probes = 1;
    for (; dict->index[at]; probes++)
        at = (at + 1) & (dict->slots - 1);
    dict->index[at] = entry + 1;
    return hl_arena_pay(arena, probes, err);
}

static int index_again(struct hl_arena *arena, struct hl_dict *dict, struct hl_error *err)
{
    uint32_t slots = dict->slots ? 2 * dict->slots : 32, hash;
    uint32_t *index = slots ? hl_arena_alloc(arena, slots * sizeof *index) : NULL;
    if (!index)
        return hl_arena_full(arena, err);
    memset(index, 0, slots * sizeof *index);
    dict->index = index;
    dict->slots = slots;
    for (uint32_t i = 0; i < dict->n; i++) {
        if (hash_key(arena, dict->entries[i].key, 0, &hash, err) || index_entry(arena, dict, hash, i, err))
            return -1;
    }
    return 0;
}

struct hl_value *hl_dict_get(const struct hl_dict *dict, const char *text, size_t n)
{
    uint32_t at = dict->index ? hl_hash_text(text, n) & (dict->slots - 1) : 0;
    while (dict->index ? dict->index[at] != 0 : at < dict->n) {
        struct hl_entry *entry = &dict->entries[dict->index ? dict->index[at] - 1 : at];
        if (entry->key.kind == HL_VALUE_STRING && entry->key.n == n && !memcmp(entry->key.text, text, n))
            return &entry->value;
        at = dict->index ? (at + 1) & (dict->slots - 1) : at + 1;
    }
    return NULL;
}

int hl_dict_find(struct hl_arena *arena, const struct hl_dict *dict, struct hl_value key, struct hl_value **out,
                 struct hl_error *err)
{
    uint32_t hash = 0;
    *out = NULL;
    if (key.kind == HL_VALUE_STRING) {
        *out = hl_dict_get(dict, key.text, key.n);
        return 0;
    }
    if (hash_key(arena, key, 0, &hash, err))
        return -1;
    uint32_t at = dict->index ? hash & (dict->slots - 1) : 0;
    while (dict->index ? dict->index[at] != 0 : at < dict->n) {
        struct hl_entry *entry = &dict->entries[dict->index ? dict->index[at] - 1 : at];
        bool equal;
        if (hl_value_equal(arena, entry->key, key, &equal, err))
            return -1;
        if (equal) {
            *out = &entry->value;
            return 0;
        }
        at = dict->index ? (at + 1) & (dict->slots - 1) : at + 1;
    }
    return 0;
}

int hl_dict_set(struct hl_arena *arena, struct hl_dict *dict, struct hl_value key, struct hl_value value,
                struct hl_error *err)
{
    struct hl_value *there;
    uint32_t hash;
    if (hl_dict_find(arena, dict, key, &there, err))
        return -1;
    if (there) {
        *there = value;
        return 0;
    }
    void *entries = dict->entries;
    if (grow(arena, &entries, dict->n, &dict->room, sizeof *dict->entries, err))
        return -1;
    dict->entries = entries;
    dict->entries[dict->n++] = (struct hl_entry){key, value};
    if (dict->n <= INDEX_FROM)
        return 0;
    if (dict->n > dict->slots / 3 * 2)
        return index_again(arena, dict, err);
    return hash_key(arena, key, 0, &hash, err) ? -1 : index_entry(arena, dict, hash, dict->n - 1, err);
}

bool hl_value_truth(struct hl_value value)
{
    switch (value.kind) {
    case HL_VALUE_BOOL:
        return value.truth;
    case HL_VALUE_INT:
        return value.integer != 0;
    case HL_VALUE_FLOAT:
        return value.real != 0;
    case HL_VALUE_STRING:
        return value.n != 0;
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return value.list->n != 0;
    case HL_VALUE_DICT:
        return value.dict->n != 0;
    case HL_VALUE_OBJECT:
        return hl_object_truth(value.object);
    case HL_VALUE_BIG:
    case HL_VALUE_NAMESPACE:
        return true;
    default:
        return false;
    }
}

/* Compares exactly, where a conversion of the int to a double would not. */
static int order_int_real(int64_t a, double b)
{
    if (isnan(b))
        return HL_UNORDERED;
    if (b >= 0x1p63)
        return -1;
    if (b < -0x1p63)
        return 1;
    int64_t whole = (int64_t)b; /* towards zero */
    if (a != whole)
        return a < whole ? -1 : 1;
    double rest = b - (double)whole;
    return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

static int order_numbers(struct hl_value a, struct hl_value b)
{
    if (a.kind == HL_VALUE_FLOAT && b.kind == HL_VALUE_FLOAT)
        return isnan(a.real) || isnan(b.real) ? HL_UNORDERED : (a.real > b.real) - (a.real < b.real);
    if (b.kind == HL_VALUE_FLOAT)
        return order_int_real(hl_value_whole(a), b.real);
    if (a.kind == HL_VALUE_FLOAT) {
        int order = order_int_real(hl_value_whole(b), a.real);
        return order == HL_UNORDERED ? order : -order;
    }
    return (hl_value_whole(a) > hl_value_whole(b)) - (hl_value_whole(a) < hl_value_whole(b));
}

static int equal_at(struct hl_arena *arena, struct hl_value a, struct hl_value b, unsigned depth, bool *equal,
                    struct hl_error *err);

static int equal_lists(struct hl_arena *arena, const struct hl_list *a, const struct hl_list *b, unsigned depth,
                       bool *equal, struct hl_error *err)
{
    *equal = a->n == b->n;
    for (uint32_t i = 0; *equal && i < a->n; i++)
        if (equal_at(arena, a->items[i], b->items[i], depth + 1, equal, err))
            return -1;
    return 0;
}

static int equal_dicts(struct hl_arena *arena, const struct hl_dict *a, const struct hl_dict *b, unsigned depth,
                       bool *equal, struct hl_error *err)
{
    *equal = a->n == b->n;
    for (uint32_t i = 0; *equal && i < a->n; i++) {
        struct hl_value *other;
        if (hl_dict_find(arena, b, a->entries[i].key, &other, err))
            return -1;
        *equal = other != NULL;
        if (other && equal_at(arena, a->entries[i].value, *other, depth + 1, equal, err))
            return -1;
    }
    return 0;
}

static int equal_at(struct hl_arena *arena, struct hl_value a, struct hl_value b, unsigned depth, bool *equal,
                    struct hl_error *err)
{
    if (depth > HL_VALUE_DEPTH)
        return hl_fail_as(err, HL_ERROR_REQUEST, "values are nested too deeply to compare");
    if (hl_arena_pay(arena, 1, err))
        return -1;
    if (hl_value_is_number(a) && hl_value_is_number(b)) {
        *equal = order_numbers(a, b) == 0;
        return 0;
    }
    *equal = a.kind == b.kind;
    if (!*equal)
        return 0;
    switch (a.kind) {
    case HL_VALUE_STRING:
    case HL_VALUE_BIG:
        *equal = a.n == b.n && !memcmp(a.text, b.text, a.n);
        return hl_arena_pay(arena, *equal ? a.n / 64 : 0, err);
    case HL_VALUE_LIST:
    case HL_VALUE_TUPLE:
        return equal_lists(arena, a.list, b.list, depth, equal, err);
    case HL_VALUE_DICT:
        return equal_dicts(arena, a.dict, b.dict, depth, equal, err);
    case HL_VALUE_NAMESPACE:
        *equal = a.dict == b.dict;
        return 0;
    case HL_VALUE_OBJECT:
        *equal = a.object == b.object;
        return 0;
    default:
        return 0; /* None, undefined */
    }
}

int hl_value_equal(struct hl_arena *arena, struct hl_value a, struct hl_value b, bool *equal, struct hl_error *err)
{
    return equal_at(arena, a, b, 0, equal, err);
}

static int order_at(struct hl_arena *arena, struct hl_value a, struct hl_value b, unsigned depth, int *order,
                    struct hl_error *err)
{
    if (depth > HL_VALUE_DEPTH)
        return hl_fail_as(err, HL_ERROR_REQUEST, "values are nested too deeply to compare");
    if (hl_value_is_number(a) && hl_value_is_number(b)) {
        *order = order_numbers(a, b);
        return hl_arena_pay(arena, 1, err);
    }
    if (a.kind == HL_VALUE_STRING && b.kind == HL_VALUE_STRING) {
        uint32_t n = a.n < b.n ? a.n : b.n;
        int differs = memcmp(a.text, b.text, n); /* bytes of UTF-8 sort as the characters do */
        *order = differs ? differs : (a.n > b.n) - (a.n < b.n);
        *order = (*order > 0) - (*order < 0);
        return hl_arena_pay(arena, 1 + n / 64, err);
    }
    if (a.kind != b.kind || (a.kind != HL_VALUE_LIST && a.kind != HL_VALUE_TUPLE))
        return hl_fail_as(err, HL_ERROR_REQUEST, "'%s' and '%s' cannot be ordered", hl_value_type(a), hl_value_type(b));
    for (uint32_t i = 0; i < a.list->n && i < b.list->n; i++) {
        bool equal;
        if (equal_at(arena, a.list->items[i], b.list->items[i], depth + 1, &equal, err))
            return -1;
        if (!equal)
            return order_at(arena, a.list->items[i], b.list->items[i], depth + 1, order, err);
    }
    *order = (a.list->n > b.list->n) - (a.list->n < b.list->n);
    return 0;
}

int hl_value_order(struct hl_arena *arena, struct hl_value a, struct hl_value b, int *order, struct hl_error *err)
{
    return order_at(arena, a, b, 0, order, err);
}

const char *hl_value_type(struct hl_value value)
{
    switch (value.kind) {
    case HL_VALUE_UNDEFINED:
        return "Undefined";
    case HL_VALUE_NONE:
        return "NoneType";
    case HL_VALUE_BOOL:
        return "bool";
    case HL_VALUE_INT:
    case HL_VALUE_BIG:
        return "int";
    case HL_VALUE_FLOAT:
        return "float";
    case HL_VALUE_STRING:
        return "str";
    case HL_VALUE_LIST:
        return "list";
    case HL_VALUE_TUPLE:
        return "tuple";
    case HL_VALUE_DICT:
        return "dict";
    case HL_VALUE_NAMESPACE:
        return "Namespace";
    case HL_VALUE_OBJECT:
        return hl_object_type(value.object);
    default:
        return "nothing";
    }
}

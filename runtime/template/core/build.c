/* A section under construction: its tables are growing arrays, which hl_build_finish() lays out. */
#include "runtime/template/core/build.h"
#include "base/cleanup.h"
#include "base/sizes.h"

enum table { NODES, LISTS, CONSTANTS, FUNCTIONS, LOOPS, BUILTINS, NAMES, GLOBALS, TEXT, TABLES };

static const uint8_t sizes[TABLES] = {
    [NODES] = sizeof(struct hl_node),
    [LISTS] = sizeof(uint32_t),
    [CONSTANTS] = sizeof(struct hl_template_constant),
    [FUNCTIONS] = sizeof(struct hl_template_function),
    [LOOPS] = sizeof(struct hl_template_loop),
    [BUILTINS] = sizeof(uint32_t),
    [NAMES] = sizeof(uint32_t),
    [GLOBALS] = sizeof(struct hl_template_global),
    [TEXT] = 1,
};

struct grown {
    uint8_t *data;
    uint32_t n, room; /* elements */
};

struct hl_build {
    enum hl_template_language language;
    bool failed;
    struct grown tables[TABLES];
};

/* Adds `count` elements and returns the first one's index. */
static uint32_t add(struct hl_build *b, enum table which, const void *elements, size_t count)
{
    struct grown *t = &b->tables[which];
    if (b->failed || count > HL_TEMPLATE_MAX_BYTES / sizes[which] - t->n) {
        b->failed = true;
        return 0;
    }
    if (count > t->room - t->n) {
        uint32_t room = 2 * t->room + (uint32_t)count + 16;
        uint8_t *larger = realloc(t->data, (size_t)room * sizes[which]);
        if (!larger) {
            b->failed = true;
            return 0;
        }
        t->data = larger;
        t->room = room;
    }
    uint32_t index = t->n;
    if (count)
        memcpy(t->data + (size_t)index * sizes[which], elements, count * sizes[which]);
    t->n += (uint32_t)count;
    return index;
}

struct hl_build *hl_build_new(enum hl_template_language language)
{
    struct hl_build *b = calloc(1, sizeof *b);
    if (b) {
        b->language = language;
        hl_build_function(b);
    }
    return b;
}

void hl_build_free(struct hl_build *b)
{
    for (int i = 0; b && i < TABLES; i++)
        free(b->tables[i].data);
    free(b);
}

static uint32_t constant(struct hl_build *b, enum hl_constant_kind kind, uint64_t value)
{
    const struct hl_template_constant *all = (const void *)b->tables[CONSTANTS].data;
    for (uint32_t i = 0; i < b->tables[CONSTANTS].n; i++)
        if (all[i].kind == kind && all[i].value == value)
            return i;
    return add(b, CONSTANTS, &(struct hl_template_constant){.kind = kind, .value = value}, 1);
}

uint32_t hl_build_constant(struct hl_build *b, enum hl_constant_kind kind)
{
    return constant(b, kind, 0);
}

uint32_t hl_build_int(struct hl_build *b, int64_t value)
{
    return constant(b, HL_CONSTANT_INT, (uint64_t)value);
}

uint32_t hl_build_float(struct hl_build *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return constant(b, HL_CONSTANT_FLOAT, bits);
}

uint32_t hl_build_text(struct hl_build *b, const char *text, size_t n)
{
    const struct hl_template_constant *all = (const void *)b->tables[CONSTANTS].data;
    for (uint32_t i = 0; i < b->tables[CONSTANTS].n; i++)
        if (all[i].kind == HL_CONSTANT_TEXT && all[i].bytes == n &&
            (!n || !memcmp(b->tables[TEXT].data + all[i].value, text, n)))
            return i;
    uint32_t at = add(b, TEXT, text, n);
    struct hl_template_constant fresh = {.kind = HL_CONSTANT_TEXT, .bytes = (uint32_t)n, .value = n ? at : 0};
    return add(b, CONSTANTS, &fresh, 1);
}

uint32_t hl_build_node(struct hl_build *b, enum hl_node_kind kind, unsigned op, unsigned line, uint32_t first,
                       uint32_t second, uint32_t third)
{
    struct hl_node node = {.kind = (uint8_t)kind, .op = (uint8_t)op, .a = first, .b = second, .c = third};
    node.line = (uint16_t)hl_min_u32(line, UINT16_MAX);
    return add(b, NODES, &node, 1);
}

uint32_t hl_build_list(struct hl_build *b, const uint32_t *nodes, size_t n)
{
    uint32_t count = (uint32_t)n;
    uint32_t index = add(b, LISTS, &count, 1);
    add(b, LISTS, nodes, n);
    return index;
}

uint32_t hl_build_loop(struct hl_build *b, const struct hl_template_loop *loop)
{
    return add(b, LOOPS, loop, 1);
}

uint32_t hl_build_function(struct hl_build *b)
{
    return add(b, FUNCTIONS, &(struct hl_template_function){.name = HL_NONE}, 1);
}

void hl_build_set_function(struct hl_build *b, uint32_t index, const struct hl_template_function *function)
{
    if (!b->failed)
        ((struct hl_template_function *)(void *)b->tables[FUNCTIONS].data)[index] = *function;
}

/* Returns the place of a constant in a table of constants; adds it if it is new. */
static uint32_t find_or_add(struct hl_build *b, enum table which, uint32_t value)
{
    const uint32_t *all = (const void *)b->tables[which].data;
    for (uint32_t i = 0; i < b->tables[which].n; i++)
        if (all[i] == value)
            return i;
    return add(b, which, &value, 1);
}

uint32_t hl_build_builtin(struct hl_build *b, const char *kind, const char *name, size_t n)
{
    char text[128];
    int length = snprintf(text, sizeof text, "%s %.*s", kind, (int)hl_min_u32((uint32_t)n, 100), name);
    return find_or_add(b, BUILTINS, hl_build_text(b, text, (size_t)length));
}

uint32_t hl_build_name(struct hl_build *b, const char *name, size_t n)
{
    return find_or_add(b, NAMES, hl_build_text(b, name, n));
}

void hl_build_global(struct hl_build *b, const char *name, size_t n_name, const char *value, size_t n_value)
{
    struct hl_template_global global = {hl_build_text(b, name, n_name), hl_build_text(b, value, n_value)};
    add(b, GLOBALS, &global, 1);
}

int hl_build_finish(struct hl_build *b, uint8_t **out, size_t *n, struct hl_error *err)
{
    struct hl_template_header header = {.version = HL_TEMPLATE_VERSION, .language = b->language};
    struct hl_template_table *tables[TABLES] = {
        &header.nodes,    &header.lists, &header.constants, &header.functions, &header.loops,
        &header.builtins, &header.names, &header.globals,   &header.text,
    };
    uint64_t total = sizeof header;
    for (int i = 0; i < TABLES; i++) {
        *tables[i] = (struct hl_template_table){(uint32_t)total, b->tables[i].n};
        total += hl_round_up((uint64_t)b->tables[i].n * sizes[i], 8);
    }
    if (b->failed || total > HL_TEMPLATE_MAX_BYTES)
        return hl_fail(err, "the template is too large: more than %u bytes when compiled", HL_TEMPLATE_MAX_BYTES);
    uint8_t *section = calloc(1, total);
    if (!section)
        return hl_no_memory(err);
    memcpy(header.magic, HL_TEMPLATE_MAGIC, sizeof header.magic);
    memcpy(section, &header, sizeof header);
    for (int i = 0; i < TABLES; i++)
        if (b->tables[i].n)
            memcpy(section + tables[i]->offset, b->tables[i].data, (size_t)b->tables[i].n * sizes[i]);
    *out = section;
    *n = total;
    return 0;
}

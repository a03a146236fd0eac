/* render < CASES: renders chat templates.
 *
 * A line of CASES has three fields with a tab between: the hexadecimal bytes of a Jinja template, those of a JSON
 * object that is its context, and the time to use as now. Each gives a line: "ok" or "error", a tab, and the
 * hexadecimal bytes of the output or of the message. The environment is that of a model's special tokens: bos_token
 * "<s>", eos_token "</s>". With an argument N, repeats everything N times, and prints the time to stderr. */
#include "base/cleanup.h"
#include "runtime/template/core/template.h"
#include "runtime/template/jinja/jinja.h"
#include <time.h>

#define MEMORY ((size_t)64 << 20)

struct times {
    double compile, open, render;
    size_t bytes;
};

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static size_t read_hex(char *text)
{
    size_t n = text ? strlen(text) / 2 : 0;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        text[i] = (char)strtoul(digits, NULL, 16);
    }
    return n;
}

static void print_line(const char *status, const char *text, size_t n)
{
    printf("%s\t", status);
    for (size_t i = 0; i < n; i++)
        printf("%02x", (unsigned char)text[i]);
    putchar('\n');
}

/* The caller releases `arena` after using *text. */
static int render(const char *source, size_t n_source, const char *json, size_t n_json, int64_t now,
                  struct hl_arena *arena, char **text, size_t *n, struct times *times, struct hl_error *err)
{
    static const struct hl_jinja_global globals[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    struct hl_bytes section = {0};
    struct hl_template *t = NULL;
    struct hl_value context;
    double start = milliseconds();
    if (hl_jinja_compile(source, n_source, globals, 2, &section, err))
        return -1;
    double compiled = milliseconds();
    int failed = hl_template_open(section.data, section.size, &t, err);
    double opened = milliseconds();
    failed = failed || hl_value_json(arena, json, n_json, &context, err) ||
             hl_template_render(t, arena, context, now, text, n, err);
    times->compile += compiled - start;
    times->open += opened - compiled;
    times->render += milliseconds() - opened;
    times->bytes += section.size;
    hl_template_close(t);
    free(section.data);
    return failed ? -1 : 0;
}

static void render_line(char *line, bool shows, struct times *times)
{
    struct hl_error err = {.message = ""};
    struct hl_arena arena;
    char *text = NULL, *rest = line;
    size_t n = 0;
    char *source = strsep(&rest, "\t"), *json = strsep(&rest, "\t"), *now = strsep(&rest, "\t");
    size_t n_source = read_hex(source), n_json = read_hex(json);
    hl_arena_init(&arena, MEMORY, HL_TEMPLATE_WORK);
    int failed =
        render(source, n_source, json, n_json, now ? strtoll(now, NULL, 10) : 0, &arena, &text, &n, times, &err);
    if (shows)
        print_line(failed ? "error" : "ok", failed ? err.message : text, failed ? strlen(err.message) : n);
    hl_arena_release(&arena);
}

int main(int argc, char **argv)
{
    unsigned long times = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    struct times spent = {0};
    size_t room = 0, lines = 0;
    HL_FREE char *line = NULL;
    while (getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = 0;
        for (unsigned long i = 0; i < times; i++) {
            HL_FREE char *copy = strdup(line);
            if (!copy)
                return 1;
            render_line(copy, i == 0, &spent);
        }
        lines += times;
    }
    if (argc > 1 && lines)
        fprintf(stderr, "each: %zu bytes; compile %.4f ms, open %.4f ms, render %.4f ms\n", spent.bytes / lines,
                spent.compile / (double)lines, spent.open / (double)lines, spent.render / (double)lines);
    return 0;
}

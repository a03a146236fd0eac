/* encode_lines SOURCE ROWS FLAGS < TEXTS: tokenizes texts with the tokenizer of a model's folder or .gguf file.
 *
 * A line of TEXTS is the hexadecimal bytes of one text, or "=" and ids. Each gives a line: its ids, a tab, and the
 * hexadecimal bytes of these ids decoded one by one. ROWS is the number of embedding rows, FLAGS the HL_ENCODE_ flags
 * as a number. */
#include "base/cleanup.h"
#include "base/file.h"
#include "pack/vocabulary/vocabulary.h"
#include "runtime/tokenizer/tokenizer.h"
#include <time.h>

static void print_hex(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%02x", (unsigned char)text[i]);
}

static void print_decoded(const struct hl_tokenizer *t, const int32_t *ids, size_t n)
{
    struct hl_decoder decoder;
    char piece[HL_PIECE_MAX];
    hl_decoder_init(&decoder, t, 0);
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", ids[i]);
    putchar('\t');
    for (size_t i = 0; i < n; i++)
        print_hex(piece, hl_decoder_push(&decoder, ids[i], piece));
    print_hex(piece, hl_decoder_flush(&decoder, piece));
    putchar('\n');
}

static int encode_line(const struct hl_tokenizer *t, char *line, unsigned flags, struct hl_error *err)
{
    size_t n = strlen(line) / 2, n_ids = 0;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {line[2 * i], line[2 * i + 1], 0};
        line[i] = (char)strtoul(digits, NULL, 16);
    }
    HL_FREE int32_t *ids = NULL;
    if (hl_tokenizer_encode(t, line, n, flags, &ids, &n_ids, err))
        return -1;
    print_decoded(t, ids, n_ids);
    return 0;
}

static int decode_line(const struct hl_tokenizer *t, char *line, struct hl_error *err)
{
    size_t n = 0;
    HL_FREE int32_t *ids = calloc(strlen(line) + 1, sizeof *ids);
    if (!ids)
        return hl_no_memory(err);
    for (char *id = strtok(line, ","); id; id = strtok(NULL, ","))
        ids[n++] = (int32_t)strtol(id, NULL, 10);
    print_decoded(t, ids, n);
    return 0;
}

static int build(const char *source, uint32_t rows, struct hl_bytes *out, struct hl_error *err)
{
    const char *name = strrchr(source, '/'), *end = strrchr(source, '.');
    struct hl_view file;
    struct hl_gguf *gguf = NULL;
    if (!end || strcmp(end, ".gguf"))
        return hl_vocabulary_from_folder(source, rows, out, err);
    HL_FREE char *folder = name ? strndup(source, (size_t)(name - source)) : strdup(".");
    if (!folder || hl_file_map(folder, name ? name + 1 : source, false, &file, err))
        return -1;
    int result = hl_gguf_open(file, source, &gguf, err);
    if (!result)
        result = hl_vocabulary_from_gguf(gguf, rows, out, err);
    hl_gguf_close(gguf);
    hl_file_unmap(&file);
    return result;
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    struct hl_error err = {0};
    struct hl_bytes section = {0};
    struct hl_tokenizer *t = NULL;
    if (argc != 4)
        return fprintf(stderr, "encode_lines SOURCE ROWS FLAGS < TEXTS\n"), 2;
    double start = milliseconds();
    if (build(argv[1], (uint32_t)strtoul(argv[2], NULL, 0), &section, &err))
        return fprintf(stderr, "%s\n", err.message), 1;
    double built = milliseconds();
    if (hl_tokenizer_open(section.data, section.size, &t, &err))
        return fprintf(stderr, "%s\n", err.message), 1;
    double opened = milliseconds();
    HL_FREE char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = 0;
        if (*line == '=' ? decode_line(t, line + 1, &err)
                         : encode_line(t, line, (unsigned)strtoul(argv[3], NULL, 0), &err))
            return fprintf(stderr, "%s\n", err.message), 1;
    }
    fprintf(stderr, "%zu bytes; build %.1f ms, open %.3f ms, the rest %.1f ms\n", section.size, built - start,
            opened - built, milliseconds() - opened);
    hl_tokenizer_close(t);
    free(section.data);
    return 0;
}

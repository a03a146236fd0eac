/* encode SOURCE ROWS RUNS FILE...: measures the tokenizer of a model's folder. Prints a line "open MS" and one "FILE
 * TOKENS MS" for each text; medians of RUNS. For bench/tokenize. */
#include "base/cleanup.h"
#include "pack/vocabulary/vocabulary.h"
#include "runtime/tokenizer/tokenizer.h"
#include <time.h>

#define RUNS_MOST 99

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, ascending);
    return times[n / 2];
}

static int read_whole(const char *path, char **text, size_t *n)
{
    HL_FCLOSE FILE *file = fopen(path, "rb");
    *text = malloc(HL_ENCODE_MAX_BYTES + 1);
    if (!file || !*text)
        return -1;
    *n = fread(*text, 1, HL_ENCODE_MAX_BYTES + 1, file);
    return 0;
}

static int time_text(const struct hl_tokenizer *t, const char *path, int runs, struct hl_error *err)
{
    double times[RUNS_MOST];
    size_t n, n_ids = 0;
    HL_FREE char *text = NULL;
    if (read_whole(path, &text, &n))
        return hl_fail(err, "%s cannot be read", path);
    for (int i = 0; i < runs; i++) {
        HL_FREE int32_t *ids = NULL;
        double start = milliseconds();
        if (hl_tokenizer_encode(t, text, n, HL_ENCODE_SPECIAL, &ids, &n_ids, err))
            return -1;
        times[i] = milliseconds() - start;
    }
    printf("%s %zu %.3f\n", path, n_ids, median(times, runs));
    return 0;
}

int main(int argc, char **argv)
{
    struct hl_error err = {0};
    struct hl_bytes section = {0};
    struct hl_tokenizer *t = NULL;
    double times[RUNS_MOST];
    int runs = argc > 4 ? atoi(argv[3]) : 0;
    if (runs < 1 || runs > RUNS_MOST)
        return fprintf(stderr, "encode SOURCE ROWS RUNS FILE...\n"), 2;
    if (hl_vocabulary_from_folder(argv[1], (uint32_t)strtoul(argv[2], NULL, 0), &section, &err))
        return fprintf(stderr, "%s\n", err.message), 1;
    for (int i = 0; i < runs; i++) {
        hl_tokenizer_close(t);
        double start = milliseconds();
        if (hl_tokenizer_open(section.data, section.size, &t, &err))
            return fprintf(stderr, "%s\n", err.message), 1;
        times[i] = milliseconds() - start;
    }
    printf("open %.3f\n", median(times, runs));
    for (int i = 4; i < argc; i++)
        if (time_text(t, argv[i], runs, &err))
            return fprintf(stderr, "%s\n", err.message), 1;
    hl_tokenizer_close(t);
    free(section.data);
    return 0;
}

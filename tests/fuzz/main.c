/* Runs a fuzz target over the named files, for compilers without a fuzzer. */
#include "base/cleanup.h"
#include "tests/fuzz/guard.h"
#include <sys/stat.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        HL_FCLOSE FILE *file = fopen(argv[i], "rb");
        struct stat st;
        if (!file || fstat(fileno(file), &st) != 0) {
            perror(argv[i]);
            return 2;
        }
        size_t size = (size_t)st.st_size;
        HL_FREE uint8_t *data = malloc(size ? size : 1);
        if (!data || fread(data, 1, size, file) != size) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 2;
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    return 0;
}

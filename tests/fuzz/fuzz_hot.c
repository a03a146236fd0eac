/* A head file -> all its readers: open, list, read the metadata, open the tokenizer. Corrects first the fields that
 * only prove that the file is complete (magic, sizes, checksums), so that the readers go on to the rest. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "hotlayer/crc32c.h"
#include "pack/image/listing.h"
#include "runtime/model/model.h"
#include "tests/fuzz/guard.h"

static void seal(uint8_t *file, size_t size)
{
    struct hl_header header;
    memcpy(&header, file, sizeof header);
    memcpy(header.magic, HL_HEADER_MAGIC, sizeof header.magic);
    header.version = HL_FORMAT_VERSION;
    header.head_bytes = size;
    for (int i = 0; i < HL_SECTION_COUNT; i++) {
        struct hl_section *section = &header.section[i];
        if (hl_in_range(section->offset, section->bytes, size))
            section->crc32c = hl_crc32c(0, file + section->offset, section->bytes);
    }
    header.crc32c = 0;
    header.crc32c = hl_crc32c(0, &header, sizeof header);
    memcpy(file, &header, sizeof header);
}

static void use(const char *path)
{
    struct hl_error err;
    struct hl_hot *hot = NULL;
    struct hl_model *model = NULL;
    char *text = NULL, number[16];
    size_t size = 0;
    if (hl_hot_open(path, &hot, &err) == 0) {
        FILE *out = open_memstream(&text, &size);
        if (!out)
            abort();
        hl_listing_text(hot, true, out);
        fclose(out);
        free(text);
        HL_JSON cJSON *json = hl_listing_json(hot);
        char *printed = cJSON_Print(json);
        free(printed);
        hl_hot_close(hot);
    }
    if (hl_model_open(path, &model, &err) == 0) {
        hl_model_size_text(model, number);
        hl_model_stops_at(model, 0);
    }
    hl_model_close(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz.hot", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    HL_FREE uint8_t *file = malloc(size + 1);
    if (fd < 0 || !file)
        abort();
    memcpy(file, data, size);
    if (size >= sizeof(struct hl_header))
        seal(file, size);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, file, size, 0) != (ssize_t)size)
        abort();
    use(path);
    return 0;
}

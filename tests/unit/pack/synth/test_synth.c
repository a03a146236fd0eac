/* pack/synth/: the table against the published sizes, and models that are narrow but complete, with vocabularies as
 * large as the real ones. The packer reads back what synth writes. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "hotlayer/crc32c.h"
#include "hotlayer/half.h"
#include "pack/compile/plan.h"
#include "pack/synth/synth.h"
#include "pack/vocabulary/vocabulary.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/unit/check.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static void test_published_sizes(void)
{
    /* Counted as on the models' pages. Gemma 3 from 4b on lacks the 419,816,304 of vision tower and projector; Qwen 3
     * counts tied heads once. */
    static const struct {
        const char *name;
        uint64_t parameters;
    } published[] = {
        {"gemma-2b", 2506172416},    {"gemma-7b", 8537680896},    {"gemma2-2b", 2614341888},
        {"gemma2-9b", 9241705984},   {"gemma2-27b", 27227128320}, {"gemma3-1b", 999885952},
        {"gemma3-4b", 3880263168},   {"gemma3-12b", 11766034176}, {"gemma3-27b", 27009346304},
        {"llama2-7b", 6738415616},   {"llama2-13b", 13015864320}, {"llama3-8b", 8030261248},
        {"llama3.1-8b", 8030261248}, {"llama3.2-1b", 1235814400}, {"llama3.2-3b", 3212749824},
        {"mistral-7b", 7248023552},  {"qwen2-0.5b", 494032768},   {"qwen2-1.5b", 1543714304},
        {"qwen2-7b", 7615616512},    {"qwen2.5-0.5b", 494032768}, {"qwen2.5-1.5b", 1543714304},
        {"qwen2.5-7b", 7615616512},  {"qwen3-0.6b", 596049920},   {"qwen3-1.7b", 1720574976},
        {"qwen3-4b", 4022468096},    {"qwen3-8b", 8190735360},
    };
    size_t n;
    struct hl_error err;
    hl_synth_models(&n);
    CHECK(n == HL_COUNT(published));
    for (size_t i = 0; i < HL_COUNT(published); i++) {
        const struct hl_synth_model *model = hl_synth_find(published[i].name);
        uint64_t parameters = 0;
        if (!CHECK_SAY(model != NULL, "%s is missing", published[i].name))
            continue;
        CHECK_OK(hl_synth_parameters(model, &parameters, &err), err);
        CHECK_SAY(parameters == published[i].parameters, "%s has %llu parameters", model->name,
                  (unsigned long long)parameters);
    }
    CHECK(hl_synth_find("llama") == NULL);
}

/* The packer reads every model's config.json as the table says. */
static void test_configs(void)
{
    size_t n;
    const struct hl_synth_model *models = hl_synth_models(&n);
    HL_FREE struct hl_arch *arch = calloc(1, sizeof *arch);
    struct hl_error err;
    for (size_t i = 0; i < n; i++) {
        const struct hl_synth_model *m = &models[i];
        cJSON *config = hl_synth_config(m);
        if (!CHECK_SAY(hl_arch_read(config, arch, &err) == 0, "%s: %s", m->name, err.message)) {
            cJSON_Delete(config);
            continue;
        }
        CHECK(arch->width == m->width && arch->blocks == m->blocks && arch->ffn == m->ffn);
        CHECK(arch->heads == m->heads && arch->kv_heads == m->kv_heads && arch->head_dim == m->head_dim);
        CHECK(arch->vocabulary == m->vocabulary && arch->context == m->context && arch->tied == m->tied);
        CHECK(arch->rope.theta == m->rope_theta);
        CHECK((arch->rope.scaling != HL_ROPE_PLAIN) == (m->rope_factor != 0));
        CHECK(arch->rope.scaling == HL_ROPE_PLAIN || arch->rope.factor == m->rope_factor);
        bool gemma = m->family == HL_SYNTH_GEMMA2 || m->family == HL_SYNTH_GEMMA3;
        CHECK(arch->window == (gemma ? m->window : 0));
        CHECK(fabs(arch->attention_scale - 1 / sqrt(gemma ? m->query_scalar : m->head_dim)) < 1e-9);
        cJSON_Delete(config);
    }
}

/* ---- narrow models ---- */

static char scratch[64];

/* Makes `name` narrow. */
static struct hl_synth_model narrow(const char *name)
{
    struct hl_synth_model model = *hl_synth_find(name);
    model.width = 16;
    model.blocks = 2;
    model.heads = 2;
    model.kv_heads = 1;
    model.head_dim = 8;
    model.ffn = 24;
    return model;
}

static const char *path_of(const char *folder, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s/%s", scratch, folder, name);
    return path;
}

/* Returns the number of files; -1 if the folder does not exist. */
static int count_files(const char *folder)
{
    char path[512];
    int n = 0;
    DIR *dir = opendir(path_of(folder, "", path));
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static void remove_folder(const char *folder)
{
    char path[512];
    DIR *dir = opendir(path_of(folder, "", path));
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlink(path_of(folder, entry->d_name, path));
    if (dir)
        closedir(dir);
    rmdir(path_of(folder, "", path));
}

static int write_model(const struct hl_synth *how, const char *folder, struct hl_error *err)
{
    char path[512];
    struct hl_synth synth = *how;
    snprintf(path, sizeof path, "%s/%s", scratch, folder);
    synth.folder = path;
    return hl_synth_write(&synth, err);
}

static uint32_t checksum(const char *folder, const char *name)
{
    char path[512], bytes[4096];
    uint32_t crc = 0;
    HL_FCLOSE FILE *file = fopen(path_of(folder, name, path), "rb");
    if (!CHECK_SAY(file != NULL, "%s is missing", path))
        return 0;
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file));)
        crc = hl_crc32c(crc, bytes, n);
    return crc;
}

static void test_same_bytes(void)
{
    const struct hl_synth_model model = narrow("llama2-7b");
    struct hl_error err;
    struct hl_synth how = {.model = &model, .seed = 7, .threads = 1};
    CHECK_OK(write_model(&how, "one", &err), err);
    how.threads = 3;
    CHECK_OK(write_model(&how, "three", &err), err);
    how.seed = 8;
    CHECK_OK(write_model(&how, "other", &err), err);
    uint32_t one = checksum("one", "model.safetensors");
    CHECK(one == checksum("three", "model.safetensors"));
    CHECK(one != checksum("other", "model.safetensors"));
    CHECK_SAY(one == 0x5bdfc296, "the bytes are others than they were: 0x%08x", one);
    CHECK(count_files("one") == 5);
    remove_folder("one");
    remove_folder("three");
    remove_folder("other");
}

static float element(const struct hl_source_tensor *tensor, uint64_t i)
{
    uint16_t bits;
    memcpy(&bits, tensor->data + 2 * i, sizeof bits);
    return hl_bf16_to_f32(bits);
}

/* Mean and spread are as requested, as far as so many numbers can tell. */
static void check_spread(const struct hl_source_tensor *tensor, const struct hl_synth_tensor *want)
{
    double sum = 0, squares = 0, n = (double)hl_synth_elements(want);
    for (uint64_t i = 0; i < hl_synth_elements(want); i++) {
        double x = element(tensor, i) - (double)want->mean;
        sum += x;
        squares += x * x;
    }
    CHECK_SAY(fabs(sum / n) < 5 * want->sigma / sqrt(n) + 0.002 * fabs(want->mean), "%s: mean off by %g", want->name,
              sum / n);
    CHECK_SAY(fabs(sqrt(squares / n) / want->sigma - 1) < 4 / sqrt(2 * n) + 0.005, "%s: spread %g instead of %g",
              want->name, sqrt(squares / n), want->sigma);
}

static void test_read_back(void)
{
    static const char *const names[] = {"qwen2-7b", "qwen3-8b", "gemma-2b", "gemma3-4b", "mistral-7b"};
    for (size_t k = 0; k < HL_COUNT(names); k++) {
        const struct hl_synth_model model = narrow(names[k]);
        struct hl_source *source = NULL;
        HL_FREE struct hl_synth_tensor *tensors = NULL;
        size_t n = 0;
        char path[512];
        struct hl_error err;
        struct hl_synth how = {.model = &model, .threads = 2, .file_bytes = 1 << 20};
        CHECK_OK(write_model(&how, "model", &err), err);
        CHECK_OK(hl_synth_tensors(&model, &tensors, &n, &err), err);
        if (CHECK_OK(hl_source_open(path_of("model", "", path), &source, &err), err)) {
            CHECK(source->n_tensors == n);
            CHECK(source->n_files == (model.tied ? 2u : 3u));
            for (size_t i = 0; i < n; i++) {
                const struct hl_source_tensor *tensor = hl_source_find(source, tensors[i].name);
                if (CHECK_SAY(tensor && tensor->bytes == 2 * hl_synth_elements(&tensors[i]), "%s", tensors[i].name))
                    check_spread(tensor, &tensors[i]);
            }
            hl_source_close(source);
        }
        remove_folder("model");
    }
}

/* The packer accepts every vocabulary. It has the family's tokens in their places, and encodes English in fewer tokens
 * than bytes. */
static void test_vocabularies(void)
{
    static const struct {
        const char *model, *token;
        uint32_t id, bos;
    } cases[] = {
        {"llama2-7b", "</s>", 2, 1},
        {"mistral-7b", "[control_768]", 770, 1},
        {"gemma-2b", "<end_of_turn>", 107, 2},
        {"gemma3-1b", "<unused6241>", 262143, 2},
        {"gemma3-4b", "<image_soft_token>", 262144, 2},
        {"llama3-8b", "<|reserved_special_token_250|>", 128255, 128000},
        {"llama3.1-8b", "<|python_tag|>", 128010, 128000},
        {"qwen2-7b", "<|im_end|>", 151645, HL_NONE},
        {"qwen2.5-7b", "<|file_sep|>", 151664, HL_NONE},
        {"qwen3-8b", "</think>", 151668, HL_NONE},
    };
    static const char text[] = "Once upon a time there was a machine that began to answer before it was awake: 12 ms.";
    for (size_t k = 0; k < HL_COUNT(cases); k++) {
        const struct hl_synth_model *model = hl_synth_find(cases[k].model);
        HL_BYTES struct hl_bytes file = {0}, section = {0};
        HL_FREE char *config = NULL;
        HL_FREE int32_t *ids = NULL;
        size_t n_ids = 0;
        const char *name = "";
        struct hl_tokenizer *tokenizer = NULL;
        struct hl_error err;
        cJSON *json = hl_synth_tokenizer_config(model);
        config = cJSON_PrintUnformatted(json);
        cJSON_Delete(json);
        CHECK_OK(hl_synth_tokenizer(model, &name, &file, &err), err);
        struct hl_view view = {file.data, file.size};
        struct hl_vocabulary_files files = {.config = {(const uint8_t *)config, strlen(config)}};
        if (strcmp(name, "tokenizer.model") == 0)
            files.model = view;
        else
            files.json = view;
        if (!CHECK_OK(hl_vocabulary_from_files(&files, model->vocabulary, &section, &err), err) ||
            !CHECK_OK(hl_tokenizer_open(section.data, section.size, &tokenizer, &err), err))
            continue;
        CHECK_SAY(hl_tokenizer_find(tokenizer, cases[k].token, strlen(cases[k].token)) == cases[k].id, "%s %s",
                  model->name, cases[k].token);
        CHECK(hl_tokenizer_bos(tokenizer) == cases[k].bos);
        for (uint32_t id = 0; id < hl_tokenizer_size(tokenizer); id++)
            if (hl_tokenizer_kind(tokenizer, id) == HL_TOKEN_UNUSED)
                CHECK_SAY(false, "%s: there is no token %u", model->name, id);
        CHECK_OK(hl_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &n_ids, &err), err);
        CHECK_SAY(n_ids > 15 && n_ids < strlen(text) / 2, "%s: %zu tokens", model->name, n_ids);
        hl_tokenizer_close(tokenizer);
    }
}

static bool stop(void)
{
    return true;
}

static void test_nothing_left(void)
{
    const struct hl_synth_model model = narrow("llama2-7b");
    char path[512];
    struct hl_error err;
    struct hl_synth how = {.model = &model, .threads = 2, .stopped = stop};
    CHECK_FAILS(write_model(&how, "model", &err), err, "interrupted");
    CHECK(count_files("model") == -1);
    mkdir(path_of("model", "", path), 0777);
    CHECK_FAILS(write_model(&how, "model", &err), err, "interrupted");
    CHECK(count_files("model") == 0);
    how.stopped = NULL;
    CHECK_OK(write_model(&how, "model", &err), err);
    CHECK(count_files("model") == 5);
    uint32_t before = checksum("model", "config.json");
    how.seed = 1;
    CHECK_FAILS(write_model(&how, "model", &err), err, "empty");
    CHECK(count_files("model") == 5 && checksum("model", "config.json") == before);
    remove_folder("model");
    CHECK_FAILS(write_model(&how, "no/where", &err), err, "cannot be created");
}

int main(void)
{
    const char *folder = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%.40s/synth-XXXXXX", folder ? folder : "/tmp");
    if (!CHECK(mkdtemp(scratch) != NULL))
        return check_summary();
    test_published_sizes();
    test_configs();
    test_same_bytes();
    test_read_back();
    test_vocabularies();
    test_nothing_left();
    rmdir(scratch);
    return check_summary();
}

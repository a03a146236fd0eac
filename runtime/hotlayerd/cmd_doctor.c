/* hotlayerd doctor: reports what this machine can do, and what would prevent serving. */
#include "base/text.h"
#include "hotlayer/version.h"
#include "runtime/hotlayerd/commands.h"
#include <stdlib.h>
#include <sys/sysinfo.h>

static const char about[] =
    "usage: hotlayerd doctor [--model PATH]\n"
    "\n"
    "Reports what this machine can do, and what would prevent serving. Exits with 1 if something would.\n";

static const char examples[] = "example:\n"
                               "  hotlayerd doctor --model llama.hot\n";

static void line(const char *mark, const char *what, const char *text)
{
    printf("%-5s %-10s %s\n", mark, what, text);
}

/* Prints a line for each device of this build, and for what stops one. */
static void check_devices(void)
{
    for (const struct hl_device_interface *const *at = hl_engine_devices; *at; at++) {
        char text[2048], *rest = text, *part;
        const char *mark = (*at)->report(text, sizeof text) ? "ok" : "note";
        while ((part = strsep(&rest, "\n")))
            line(mark, (*at)->name, part);
    }
}

static uint64_t free_memory(void)
{
    struct sysinfo info;
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    char text[128];
    while (file && fgets(text, sizeof text, file))
        if (hl_text_begins(text, "MemAvailable:"))
            kib = strtoull(text + 13, NULL, 10);
    if (file)
        fclose(file);
    if (kib)
        return kib << 10;
    return sysinfo(&info) == 0 ? (uint64_t)info.freeram * info.mem_unit : 0;
}

static int check_model(const char *path, uint64_t memory)
{
    struct hl_common common = {.model = path};
    struct hl_model *model;
    struct hl_engine *engine;
    struct hl_error err;
    char text[256];
    if (hl_common_open(&common, &model, &engine, &err) < 0) {
        line("FAIL", "model", err.message);
        return 1;
    }
    uint64_t cache =
        engine->interface->kv_page_bytes(&model->hot->program, model->kv_type) * engine->pages_per_sequence;
    uint64_t need = model->hot->header->weight_bytes + cache;
    snprintf(text, sizeof text, "%s: %llu MiB of weights and %llu MiB of cache for %u positions", model->name,
             (unsigned long long)(model->hot->header->weight_bytes >> 20), (unsigned long long)(cache >> 20),
             engine->context);
    line(need > memory ? "FAIL" : "ok", "model", text);
    if (need > memory)
        line("", "", "this exceeds the free memory; choose a smaller --ctx or a smaller quantization");
    hl_common_close(model, engine);
    return need > memory;
}

int hl_cmd_doctor(int argc, char **argv)
{
    struct hl_error err;
    const char *path = NULL;
    char text[64];
    const struct hl_option table[] = {HL_MODEL_OPTION(&path)};
    const struct hl_options options = {about, table, HL_COUNT(table), examples, NULL, 0, 0};
    if (hl_options_parse(&options, argc, argv, &err) < 0)
        return hl_cli_report("doctor", &err);
    uint64_t memory = free_memory();
    line("ok", "build", "hotlayerd " HL_VERSION);
    snprintf(text, sizeof text, "%llu MiB available", (unsigned long long)(memory >> 20));
    line("ok", "memory", text);
    check_devices();
    return path ? check_model(path, memory) : 0;
}

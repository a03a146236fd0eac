/* What the commands share: options of model and engine, and opening both. */
#include "runtime/hotlayerd/commands.h"
#include <getopt.h>
#include <stdlib.h>

static int parse_kv(struct hl_common *common, const char *text, struct hl_error *err)
{
    common->kv_chosen = true;
    if (strcmp(text, "f16") == 0)
        common->engine.kv_type = HL_KV_F16;
    else if (strcmp(text, "f32") == 0)
        common->engine.kv_type = HL_KV_F32;
    else if (strcmp(text, "q8") == 0)
        common->engine.kv_type = HL_KV_Q8;
    else
        return hl_fail_as(err, HL_ERROR_USAGE, "--kv must be f16, f32 or q8, not '%s'", text);
    return 0;
}

static int parse_load(struct hl_common *common, const char *text, struct hl_error *err)
{
    static const char *const ways[] = {[HL_LOAD_AUTO] = "auto", [HL_LOAD_MAP] = "map", [HL_LOAD_STAGE] = "stage"};
    for (enum hl_load_way way = HL_LOAD_AUTO; way <= HL_LOAD_STAGE; way++)
        if (strcmp(text, ways[way]) == 0) {
            common->engine.load.way = way;
            return 0;
        }
    return hl_fail_as(err, HL_ERROR_USAGE, "--load must be auto, map or stage, not '%s'", text);
}

int hl_common_option(struct hl_common *common, int option, char *const *argv, struct hl_error *err)
{
    const char *value = optarg;
    int result = 0;
    switch (option) {
    case HL_OPTION_MODEL:
        common->model = value;
        break;
    case HL_OPTION_DEVICE:
        common->engine.device = value;
        break;
    case HL_OPTION_LOAD:
        result = parse_load(common, value, err);
        break;
    case HL_OPTION_THREADS:
        result = hl_cli_count("--threads", value, 1, 1024, &common->engine.threads, err);
        break;
    case HL_OPTION_KERNELS:
        common->engine.kernels = value;
        break;
    case HL_OPTION_CTX:
        result = hl_cli_count("--ctx", value, 2, 1u << 24, &common->engine.context, err);
        break;
    case HL_OPTION_KV:
        result = parse_kv(common, value, err);
        break;
    default:
        return hl_fail_as(err, HL_ERROR_USAGE, "'%s' is not understood, or lacks its value", argv[optind - 1]);
    }
    return result;
}

int hl_common_open(const struct hl_common *common, struct hl_model **model, struct hl_engine **engine,
                   struct hl_error *err)
{
    struct hl_engine_options options = common->engine;
    *model = NULL;
    *engine = NULL;
    if (!common->model)
        return hl_fail_as(err, HL_ERROR_USAGE, "--model PATH is missing");
    if (hl_model_open(common->model, model, err) < 0)
        return -1;
    if (!common->kv_chosen)
        options.kv_type = (*model)->kv_type;
    if (hl_hot_map_weights((*model)->hot, err) == 0 && hl_engine_open((*model)->hot, &options, engine, err) == 0)
        return 0;
    hl_common_close(*model, *engine);
    return -1;
}

void hl_common_close(struct hl_model *model, struct hl_engine *engine)
{
    hl_engine_close(engine);
    hl_model_close(model);
}

/* Shared by the commands: the options of model and engine, and opening both. */
#include "runtime/hotlayerd/commands.h"

const char *const hl_common_loads[] = {[HL_LOAD_AUTO] = "auto", [HL_LOAD_MAP] = "map", [HL_LOAD_STAGE] = "stage", NULL};

int hl_common_kv(const char *value, void *where, struct hl_error *err)
{
    static const char *const types[HL_KV_COUNT] = {[HL_KV_F32] = "f32", [HL_KV_F16] = "f16", [HL_KV_Q8] = "q8"};
    struct hl_common *common = where;
    for (enum hl_kv_type type = 0; type < HL_KV_COUNT; type++)
        if (strcmp(value, types[type]) == 0) {
            common->engine.kv_type = type;
            common->kv_chosen = true;
            return 0;
        }
    return hl_fail_as(err, HL_ERROR_USAGE, "--kv must be f16, f32 or q8, not '%.100s'", value);
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

/* A model as the runtime serves it: the mapped file, its tokenizer and its meta data. */
#ifndef HL_RUNTIME_MODEL_MODEL_H
#define HL_RUNTIME_MODEL_MODEL_H

#include "runtime/model/hot.h"
#include "runtime/template/core/template.h"
#include "runtime/tokenizer/tokenizer.h"
#include <stdbool.h>

#define HL_STOPS_MOST 64
#define HL_STOP_TEXTS_MOST 16
#define HL_STOP_TEXT_BYTES 256

struct hl_model {
    struct hl_hot *hot;
    struct hl_tokenizer *tokenizer;
    char name[HL_MODEL_NAME_MAX + 1], family[33], quantization[33];
    char *license;                /* from the model card, or NULL */
    char *template_text;          /* the chat template's source; NULL: the model has no template */
    struct hl_template *template; /* compiled */
    bool tools_apart;             /* the model has another template for tools, which is not packed */
    double parameters;
    uint32_t width, blocks;
    enum hl_kv_type kv_type; /* the cache that suits the weights' precision */
    int32_t stop[HL_STOPS_MOST];
    uint32_t n_stops;
    char stop_text[HL_STOP_TEXTS_MOST][HL_STOP_TEXT_BYTES];
    uint32_t n_stop_texts;
};

/* Opens the head file: enough to describe the model and to tokenize. hl_hot_map_weights() maps the weights later. */
int hl_model_open(const char *path, struct hl_model **out, struct hl_error *err);
void hl_model_close(struct hl_model *model);

bool hl_model_stops_at(const struct hl_model *model, int32_t token);

/* Writes the number of parameters in its usual form: "8.0B", "270M". */
void hl_model_size_text(const struct hl_model *model, char out[16]);

#endif

/* What a conversion cost: for each matrix of a plan its type, its bits, and how far it is from what it was. */
#ifndef HL_PACK_CONVERT_QUANT_REPORT_H
#define HL_PACK_CONVERT_QUANT_REPORT_H

#include "pack/compile/plan.h"
#include "pack/convert/tiles.h"
#include <cjson/cJSON.h>
#include <stdio.h>

/* Vectors are not in it: they are float32 as they were. */
struct hl_quant_report {
    struct hl_quant_report_row *rows;
    uint32_t n_rows;
};

struct hl_quant_report_row {
    struct hl_tensor tensor;
    struct hl_loss loss;
};

/* `losses`: [plan->n_tensors]. The caller releases the report. */
int hl_quant_report_make(const struct hl_plan *plan, const struct hl_loss *losses, struct hl_quant_report *out,
                         struct hl_error *err);
void hl_quant_report_release(struct hl_quant_report *report);

/* ||W - Q|| / ||W||, Frobenius: 0 is no loss. */
double hl_quant_report_loss(const struct hl_loss *loss);

/* A table, whose last line is the sum. */
void hl_quant_report_print(const struct hl_quant_report *report, FILE *out);

/* {"tensors": [{"name", "type", "rows", "cols", "bits_per_weight", "relative_error"}, ...], and the last two of all};
 * NULL when memory is short. */
cJSON *hl_quant_report_json(const struct hl_quant_report *report);

#endif

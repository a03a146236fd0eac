/* Reports the cost of a conversion: the type, bits and relative error of each matrix of a plan. */
#ifndef HL_PACK_CONVERT_QUANT_REPORT_H
#define HL_PACK_CONVERT_QUANT_REPORT_H

#include "pack/compile/plan.h"
#include "pack/convert/tiles.h"
#include <cjson/cJSON.h>
#include <stdio.h>

/* Contains matrices alone: vectors stay float32 and lose nothing. */
struct hl_quant_report {
    struct hl_quant_report_row *rows;
    uint32_t n_rows;
};

struct hl_quant_report_row {
    struct hl_tensor tensor;
    struct hl_loss loss;
};

/* Makes a report of `losses`, [plan->n_tensors]. The caller releases it. */
int hl_quant_report_make(const struct hl_plan *plan, const struct hl_loss *losses, struct hl_quant_report *out,
                         struct hl_error *err);
void hl_quant_report_release(struct hl_quant_report *report);

/* Returns ||W - Q|| / ||W||, Frobenius norms; 0: no loss. */
double hl_quant_report_loss(const struct hl_loss *loss);

/* Prints a table; its last line sums up all matrices. */
void hl_quant_report_print(const struct hl_quant_report *report, FILE *out);

/* Returns {"tensors": [{"name", "type", "rows", "cols", "bits_per_weight", "relative_error"}, ...]} and the last two
 * keys for all matrices together; NULL if memory ran out. */
cJSON *hl_quant_report_json(const struct hl_quant_report *report);

#endif

/* The report of `hotlayer pack --quant-report`. Bits per weight count all bytes that the file has for a matrix, scales
 * and padding included. A matrix with few columns takes more bits than its type's name says. */
#include "pack/convert/quant_report.h"
#include <math.h>

double hl_quant_report_loss(const struct hl_loss *loss)
{
    return loss->error > 0 ? sqrt(loss->error / loss->energy) : 0;
}

int hl_quant_report_make(const struct hl_plan *plan, const struct hl_loss *losses, struct hl_quant_report *out,
                         struct hl_error *err)
{
    *out = (struct hl_quant_report){.rows = calloc(plan->n_tensors, sizeof *out->rows)};
    if (!out->rows)
        return hl_no_memory(err);
    for (uint32_t i = 0; i < plan->n_tensors; i++)
        if (plan->tensors[i].tensor.type != HL_TYPE_VECTOR)
            out->rows[out->n_rows++] = (struct hl_quant_report_row){plan->tensors[i].tensor, losses[i]};
    return 0;
}

void hl_quant_report_release(struct hl_quant_report *report)
{
    free(report->rows);
    *report = (struct hl_quant_report){NULL, 0};
}

/* The sums over all rows. */
struct sum {
    uint64_t bytes;
    double weights;
    struct hl_loss loss;
};

static double weights_of(const struct hl_tensor *tensor)
{
    return (double)tensor->rows * tensor->cols;
}

static struct sum add_up(const struct hl_quant_report *report)
{
    struct sum sum = {0, 0, {0, 0}};
    for (uint32_t i = 0; i < report->n_rows; i++) {
        const struct hl_quant_report_row *row = &report->rows[i];
        sum.bytes += row->tensor.bytes;
        sum.weights += weights_of(&row->tensor);
        sum.loss.error += row->loss.error;
        sum.loss.energy += row->loss.energy;
    }
    return sum;
}

static double bits(uint64_t bytes, double weights)
{
    return 8 * (double)bytes / weights;
}

static void print_loss(const struct hl_loss *loss, FILE *out)
{
    if (loss->error > 0)
        fprintf(out, "  %.5f\n", hl_quant_report_loss(loss));
    else
        fprintf(out, "  0\n");
}

void hl_quant_report_print(const struct hl_quant_report *report, FILE *out)
{
    const struct sum sum = add_up(report);
    fprintf(out, "%-28s %-5s %17s %9s  %s\n", "tensor", "type", "shape", "bits", "relative error");
    for (uint32_t i = 0; i < report->n_rows; i++) {
        const struct hl_tensor *tensor = &report->rows[i].tensor;
        char shape[32];
        snprintf(shape, sizeof shape, "%u x %u", tensor->rows, tensor->cols);
        fprintf(out, "%-28s %-5s %17s %9.3f", tensor->name, hl_type_traits[tensor->type].name, shape,
                bits(tensor->bytes, weights_of(tensor)));
        print_loss(&report->rows[i].loss, out);
    }
    fprintf(out, "%-28s %-5s %17.0f %9.3f", "all matrices", "", sum.weights, bits(sum.bytes, sum.weights));
    print_loss(&sum.loss, out);
}

static bool add_figures(cJSON *json, uint64_t bytes, double weights, const struct hl_loss *loss)
{
    return cJSON_AddNumberToObject(json, "bits_per_weight", bits(bytes, weights)) &&
           cJSON_AddNumberToObject(json, "relative_error", hl_quant_report_loss(loss));
}

static bool add_row(cJSON *tensors, const struct hl_quant_report_row *row)
{
    const struct hl_tensor *tensor = &row->tensor;
    cJSON *json = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(tensors, json)) {
        cJSON_Delete(json);
        return false;
    }
    return cJSON_AddStringToObject(json, "name", tensor->name) &&
           cJSON_AddStringToObject(json, "type", hl_type_traits[tensor->type].name) &&
           cJSON_AddNumberToObject(json, "rows", tensor->rows) && cJSON_AddNumberToObject(json, "cols", tensor->cols) &&
           add_figures(json, tensor->bytes, weights_of(tensor), &row->loss);
}

cJSON *hl_quant_report_json(const struct hl_quant_report *report)
{
    const struct sum sum = add_up(report);
    cJSON *json = cJSON_CreateObject(), *tensors = cJSON_AddArrayToObject(json, "tensors");
    bool ok = tensors != NULL;
    for (uint32_t i = 0; i < report->n_rows && ok; i++)
        ok = add_row(tensors, &report->rows[i]);
    if (ok && add_figures(json, sum.bytes, sum.weights, &sum.loss))
        return json;
    cJSON_Delete(json);
    return NULL;
}

/* all.h - every form at once, and the fuse-loss table: what each storage type costs in size, in KL to the unfused model, in validation loss, in form.
 *
 * One folder holds all of them; it appears whole or not at all. A form that cannot hold the adapter, or whose proof says no, is left out and said so.
 * What is not known here (data, sampling) comes through `measure`: it is called for the unfused model and then for each whole model as read back.
 *
 *     struct export_all_request a = {.each = {.model = m, .lora = l, ..., .out = "out/haiku"}, .measure = loss_and_form, .arg = &mine};
 *     struct export_all_result result;
 *     if (export_all(&a, &compute, &result, &err)) ... result.rows ...
 *     export_all_free(&result);
 */
#ifndef GM_EXPORT_ALL_H
#define GM_EXPORT_ALL_H

#include "engine/export/export.h"

#include <jansson.h>

struct export_measurement {
    double loss, form_rate; /* NaN: not known */
    int n;                  /* answers judged */
};
struct export_all_request {
    struct export_request each; /* `to` is not looked at; `type`: of the safetensors folder */
    bool (*measure)(void *arg, const struct model *m, const struct lora *l, struct export_measurement *out, struct gm_error *err); /* may be NULL */
    void *arg;
};
enum { EXPORT_ALL_MAX = EXPORT_TO_COUNT + 4 };
struct export_all_row {
    const char *target, *type; /* "unfused" first; then the names of the tables */
    char name[32];             /* inside the folder; "" for the unfused model */
    uint64_t bytes;
    double mean_kl, max_kl, greedy_agreement;
    bool listed; /* in the table: a model of its own */
    struct export_measurement measured;
};
struct export_all_result {
    struct export_all_row rows[EXPORT_ALL_MAX];
    int n_rows;
    uint64_t bytes;
    char **notes;
    int n_notes;
};
bool export_all(const struct export_all_request *a, const struct compute *c, struct export_all_result *result, struct gm_error *err);
void export_all_free(struct export_all_result *result);
json_t *export_all_json(const struct export_all_result *result); /* fuse_loss.json; the caller decrefs */

#endif

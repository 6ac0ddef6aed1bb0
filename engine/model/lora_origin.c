/* lora_origin.c - where an adapter comes from: one table of fields, in metadata as "gemmaiku.NAME". */
#include "engine/model/lora_private.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FIELD(key, member) {key, offsetof(struct lora_origin, member), sizeof(((struct lora_origin *)0)->member)}
static const struct lora_origin_field FIELDS[] = {FIELD(LORA_ORIGIN_PREFIX "base", base),
                                                  FIELD(LORA_ORIGIN_PREFIX "base_fingerprint", base_fingerprint),
                                                  FIELD(LORA_ORIGIN_PREFIX "base_sha256", base_sha256),
                                                  FIELD(LORA_ORIGIN_PREFIX "data_sha256", data_sha256),
                                                  FIELD(LORA_ORIGIN_PREFIX "template_sha256", template_sha256),
                                                  FIELD(LORA_ORIGIN_PREFIX "system_sha256", system_sha256),
                                                  FIELD(LORA_ORIGIN_PREFIX "parent_sha256", parent_sha256),
                                                  FIELD(LORA_ORIGIN_PREFIX "run_id", run_id),
                                                  FIELD(LORA_ORIGIN_PREFIX "run", run),
                                                  FIELD(LORA_ORIGIN_PREFIX "step", step),
                                                  FIELD(LORA_ORIGIN_PREFIX "program", program)};
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };
_Static_assert(sizeof FIELDS / sizeof *FIELDS <= (size_t)LORA_ORIGIN_PAIRS, "callers have room for every pair");

static const char *value_of(const struct lora_origin *o, int i)
{
    return (const char *)o + FIELDS[i].offset;
}

const struct lora_origin_field *lora_origin_fields(int *n)
{
    *n = N_FIELDS;
    return FIELDS;
}

void lora_origin_set(struct lora_origin *o, const struct lora_origin_field *f, const char *text, size_t n)
{
    text_clean_fixed((char *)o + f->offset, f->size, text, n);
}

int lora_origin_pairs(const struct lora_origin *o, const char *pairs[2 * LORA_ORIGIN_PAIRS])
{
    int n = 0;
    for (int i = 0; i < N_FIELDS; i++)
        if (*value_of(o, i)) {
            pairs[2 * n] = FIELDS[i].name;
            pairs[2 * n++ + 1] = value_of(o, i);
        }
    return n;
}

json_t *lora_origin_json(const struct lora_origin *o)
{
    json_t *j = json_object();
    for (int i = 0; i < N_FIELDS; i++)
        if (*value_of(o, i))
            json_object_set_new(j, FIELDS[i].name + strlen(LORA_ORIGIN_PREFIX), json_string(value_of(o, i)));
    if (json_object_size(j) > 0)
        return j;
    json_decref(j);
    return NULL;
}

bool lora_fits(const struct lora *l, const struct model_source *source, struct str *why)
{
    char hex[65];
    if (!*l->origin.base_fingerprint || !source)
        return true;
    model_source_fingerprint(source, hex);
    if (strcmp(hex, l->origin.base_fingerprint) == 0)
        return true;
    str_printf(why, "the adapter was trained on other weights than these of %s: on %s (fingerprint %.12s, here %.12s); answers will not be "
                    "what they were",
               source->name, *l->origin.base ? l->origin.base : "a model without a name", l->origin.base_fingerprint, hex);
    return false;
}

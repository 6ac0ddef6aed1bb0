/* generated.c - one generated text as a row of JSON, and how sure a share of many is; see generate.h. */
#include "engine/infer/generate.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/verse/verse_json.h"

#include <math.h>

const char *stop_reason_name(enum stop_reason r)
{
    static const char *const names[] = {"length", "end", "string", "cancelled"};
    return names[r];
}

void generated_free(struct generated *g)
{
    mem_free(g->text);
    g->text = NULL;
}

json_t *generated_json(const struct generated *g)
{
    json_t *o = json_object();
    json_object_set_new(o, "prompt", json_text(g->prompt_text));
    json_object_set_new(o, "adapter", json_text(g->adapter ? g->adapter : "base"));
    json_object_set_new(o, "step", g->step >= 0 ? json_integer(g->step) : json_null());
    json_object_set_new(o, "temperature", json_real(round((double)g->temperature * 1e6) / 1e6));
    json_object_set_new(o, "seed", json_integer((json_int_t)g->seed));
    json_object_set_new(o, "text", json_text(g->text));
    json_object_set_new(o, "tokens", json_integer(g->n_tokens));
    json_object_set_new(o, "stop", json_string(stop_reason_name(g->stop)));
    json_object_set_new(o, "verdict", verse_json_verdict(&g->verdict));
    json_object_set_new(o, "seconds", json_real(g->seconds));
    return o;
}

void rate_interval(int k, int n, double *low, double *high)
{
    if (n <= 0) {
        *low = 0;
        *high = 1;
        return;
    }
    const double z = 1.959963984540054;
    double p = (double)k / n, zz = z * z / n, centre = (p + zz / 2) / (1 + zz);
    double half = z / (1 + zz) * sqrt(p * (1 - p) / n + zz / (4.0 * n));
    *low = k == 0 ? 0 : centre - half;
    *high = k == n ? 1 : centre + half;
}

/* products.c - see products.h. */
#include "engine/model/products.h"

int model_products(const struct model_config *c, struct product list[MODEL_PRODUCTS])
{
    static const struct product joined[MODEL_PRODUCTS] = {
        {.name = "q|k|v", .n = 3, .which = {PROJ_Q, PROJ_K, PROJ_V}},
        {.name = "o", .n = 1, .which = {PROJ_O}},
        {.name = "gate|up", .n = 2, .which = {PROJ_GATE, PROJ_UP}},
        {.name = "down", .n = 1, .which = {PROJ_DOWN}},
    };
    for (int i = 0; i < MODEL_PRODUCTS; i++) {
        struct product *p = &list[i];
        *p = joined[i];
        for (int k = 0; k < p->n; k++) {
            proj_shape(c, p->which[k], &p->out[k], &p->in);
            p->width += p->out[k];
        }
    }
    return MODEL_PRODUCTS;
}

/* products.h - the matrix products of a decoder as the program runs them: projections of one input joined (q|k|v, gate|up).
 *
 *     struct product list[MODEL_PRODUCTS];
 *     int n = model_products(&config, list);
 *     // forward: y_i[T, out_i] = x[T, in] W_iᵀ for all of list[0] at once; backward: dx[T, in] = sum of g_i[T, out_i] W_i
 */
#ifndef GM_MODEL_PRODUCTS_H
#define GM_MODEL_PRODUCTS_H

#include "engine/model/model.h"

enum { MODEL_PRODUCTS = 4, PRODUCT_JOINED = 3 };

struct product {
    const char *name; /* "q|k|v" */
    int n;            /* projections joined */
    enum proj which[PRODUCT_JOINED];
    int64_t in, out[PRODUCT_JOINED], width; /* width: of all outputs together */
};
int model_products(const struct model_config *c, struct product list[MODEL_PRODUCTS]);

#endif

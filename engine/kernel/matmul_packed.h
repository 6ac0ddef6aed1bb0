/* matmul_packed.h - private: the packed driver, for matmul.c and head.c.
 *
 *     struct packed_operand a = {.data = scratch, .ld = packed_stride(depth), .depth = depth,
 *                                .source = x, .source_ld = ldx};
 *     packed_convert(c, &a, 1, T);             to the layout of the family, once
 *     struct packed_target t = {.c = y, .ldc = ldy, .n_terms = 1, .terms = {{.a = a, .w = w}}};
 *     packed_multiply(c, T, &t, 1, false);     y = a Wᵀ
 */
#ifndef GM_KERNEL_MATMUL_PACKED_H
#define GM_KERNEL_MATMUL_PACKED_H

#include "engine/kernel/matmul.h"
#include "engine/kernel/table.h"

enum { PACKED_TARGETS = MATMUL_OUTPUTS, PACKED_TERMS = MATMUL_TERMS };

/* A left operand: where its converted form lies, and what it is made of. */
struct packed_operand {
    const void *data; /* packed_bytes(rows, depth); the source itself if that will do */
    int64_t ld, depth;
    const void *source;
    int64_t source_ld;
    enum dtype source_type; /* DT_F32 or DT_BF16 */
};
struct packed_term {
    struct packed_operand a;
    const struct mat *w;
    int64_t w_row0; /* nn: the row of w that column 0 of `a` meets (a part of a long sum) */
};
/* c (+)= sum of a_i B_i with B = Wᵀ, or W when nn. */
struct packed_target {
    void *c; /* of c_type: DT_F32, or DT_BF16, then not accumulated */
    int64_t ldc;
    enum dtype c_type;
    bool accumulate;
    int n_terms;
    struct packed_term terms[PACKED_TERMS];
};

static inline size_t packed_element(const struct compute *c)
{
    return c->k->vnni ? 2 : 4;
}
/* Row length (elements) of converted activations: `depth` padded, never a power of two apart (cache
 * sets). */
int64_t packed_stride(int64_t depth);
/* The part of a sum that is packed at a time: even parts of at most KC, beginning at block borders
 * of the storage. */
int64_t packed_stretch(int64_t depth, enum dtype type);
/* Bytes of rows x packed_stride(depth), with the rows of padding that `multiply` may read. */
size_t packed_bytes(const struct compute *c, int64_t rows, int64_t depth);
/* The source is in the layout of the family already, and may be read up to a multiple of ROW_PAD
 * rows (see matmul_stride). */
bool packed_in_place(const struct compute *c, const struct packed_operand *operand);
/* To layout; zeros behind the depth, nothing behind the rows. Threaded. Operands whose data is their source are left. */
void packed_convert(const struct compute *c, const struct packed_operand *operands, int n,
                    int64_t rows);
/* The same of scale * sourceᵀ: source [depth, rows]. */
void packed_convert_transposed(const struct compute *c, const struct packed_operand *operand,
                               int64_t rows, float scale);
/* Rows r0 .. r0 + rows - 1 of it, on this thread. */
void packed_transpose(const struct compute *c, const struct packed_operand *operand, int64_t r0,
                      int64_t rows, float scale);
/* Products of few columns in all (matmul_thin.c); false: it is not one, nothing was done. */
bool packed_thin(const struct compute *c, int64_t rows, const struct packed_target *targets,
                 int n_targets, bool nn);
void packed_multiply(const struct compute *c, int64_t rows, const struct packed_target *targets,
                     int n_targets, bool nn);

#endif

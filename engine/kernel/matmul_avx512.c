/* matmul_avx512.c - the family avx512f. */
#include "engine/kernel/table.h"

const struct kernel_table *kernel_table_avx512f(void)
{
    return NULL;
}

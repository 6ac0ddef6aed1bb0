/* matmul_avx512bf16.c - the family avx512bf16. */
#include "engine/kernel/table.h"

const struct kernel_table *kernel_table_avx512bf16(void)
{
    return NULL;
}

/* matmul_avx2.c - the family avx2. */
#include "engine/kernel/table.h"

const struct kernel_table *kernel_table_avx2(void)
{
    return NULL;
}

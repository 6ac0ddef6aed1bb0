/* matmul_amx.c - the family amx. */
#include "engine/kernel/table.h"

const struct kernel_table *kernel_table_amx(void)
{
    return NULL;
}

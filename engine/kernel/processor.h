/* processor.h - private to the kernel room: what the processor at hand can do, and what it is called. Any thread. */
#ifndef GM_KERNEL_PROCESSOR_H
#define GM_KERNEL_PROCESSOR_H

#include "engine/base/str.h"
#include "engine/kernel/table.h"

/* The kernels of a family if they were compiled in and may run here, else NULL. */
const struct kernel_table *family_table(enum family f);
/* One line of printable text that tells processors apart: its model and the features that decide which kernels run. */
void processor_describe(struct str *out);

#endif

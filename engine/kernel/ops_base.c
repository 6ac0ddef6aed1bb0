/* ops_base.c - the inner loops for every processor: SSE2 on x86-64, NEON on aarch64, whatever the compiler makes of
 * four floats elsewhere. */
#define GM_VW 4
#include "engine/kernel/ops_body.inc"

const struct ops_kernels ops_kernels_base = OPS_KERNELS;

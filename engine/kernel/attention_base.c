/* attention_base.c - attention for every processor: SSE2 on x86-64, NEON on aarch64, whatever the compiler makes of
 * four floats elsewhere. */
#define GM_VW 4
#include "engine/kernel/attention_body.inc"

const struct attention_kernels attention_kernels_base = ATTENTION_KERNELS;

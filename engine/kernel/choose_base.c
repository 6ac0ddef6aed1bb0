/* choose_base.c - the loops of choose.h for every processor: four floats at a time. */
#include "engine/kernel/choose_kernels.h"

#define GM_VW 4
#include "engine/kernel/choose_body.inc"

const struct choose_kernels choose_kernels_base = CHOOSE_KERNELS;

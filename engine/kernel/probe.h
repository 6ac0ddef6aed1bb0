/* probe.h - which kernel family is the fastest here: measured once per machine, then remembered in a small file.
 *
 * CPUID says what may run; what is fastest only a measurement tells (on some processors vdpbf16ps is slower than widening to f32). The measurement takes at most 50
 * milliseconds. Its file is named by a hash of everything that could change the answer (processor, its features, cores, version of the program), so that machines that share
 * a home have one each. The file is a hint: one that cannot be read, does not fit, or cannot be written costs a new measurement and nothing else.
 *
 *     probe_remember_in("/home/me/.cache/gemmaiku", false);  // before the first compute_init with FAMILY_AUTO
 *     enum family f = probe_of_machine()->fastest;           // what FAMILY_AUTO stands for; any thread
 */
#ifndef GM_KERNEL_PROBE_H
#define GM_KERNEL_PROBE_H

#include "engine/kernel/compute.h"

struct probe {
    double gflops[FAMILY_COUNT]; /* of one thread; 0: does not run here */
    enum family fastest;
    double seconds;  /* it took */
    bool remembered; /* read from the file, not measured by this process */
};

/* At the start of the program, once. NULL, or never called: nothing is read or written. measure_anew: what the file says does not count. */
void probe_remember_in(const char *folder, bool measure_anew);
/* The same answer for the whole life of the process, so that two drivers never choose differently. */
const struct probe *probe_of_machine(void);
/* Measures whatever the file says, and writes it anew; before the first compute_init. */
const struct probe *probe_again(void);

/* The parts, for tests. */
void probe_measure(struct probe *p);
char *probe_file(const char *folder); /* mem_free */
bool probe_read(const char *file, struct probe *p);
bool probe_write(const char *file, const struct probe *p, struct gm_error *err);

#endif

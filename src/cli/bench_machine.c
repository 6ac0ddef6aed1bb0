/* bench_machine.c - the limits of this machine: products from registers for every kernel family, and reading memory. */
#include "src/cli/bench.h"

#include "engine/kernel/peak.h"
#include "engine/kernel/probe.h"

#include <math.h>
#include <stdio.h>

#define PEAK_SECONDS 0.05
#define READ_SECONDS 0.1
enum { READ_BYTES = 256 << 20 };

bool bench_machine(struct bench_machine *b, const struct compute *c, struct gm_error *err)
{
    for (int turn = 0; turn < 2; turn++) /* it takes the system a while to give each thread a core of its own */
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
            b->gflops[f] = fmax(b->gflops[f], peak_gflops(c->pool, (enum family)f, PEAK_SECONDS));
    return (b->read_one = peak_read(c->pool, 1, READ_BYTES, READ_SECONDS, err)) > 0
           && (b->read_all = peak_read(c->pool, 0, READ_BYTES, READ_SECONDS, err)) > 0;
}

bool bench_machine_after(struct bench_machine *b, const struct compute *c, struct gm_error *err)
{
    b->gflops_after = peak_gflops(c->pool, c->family, PEAK_SECONDS);
    return (b->read_all_after = peak_read(c->pool, 0, READ_BYTES, READ_SECONDS, err)) > 0;
}

void bench_machine_print(const struct bench_machine *b, const struct compute *c)
{
    const struct probe *probe = probe_of_machine();
    char threads[32];
    snprintf(threads, sizeof threads, "%d threads", pool_threads(c->pool));
    printf("%s\n\n%-12s %-22s %10s %12s\n", processor_name(), "kernels", "", "one thread", threads);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (!family_runs_here((enum family)f)) {
            printf("%-12s not of this processor\n", family_name((enum family)f));
            continue;
        }
        printf("%-12s %-22s %10.0f %12.0f GFLOP/s\n", family_name((enum family)f),
               f == (int)c->family ? f == (int)probe->fastest ? "in use, the fastest" : "in use" : f == (int)probe->fastest ? "the fastest" : "",
               probe->gflops[f], b->gflops[f]);
    }
    printf("%-12s %-22s %10.1f %12.1f GB/s\n\n", "memory read", "", b->read_one * 1e-9, b->read_all * 1e-9);
    printf("one thread: a short product, packed (the choice of the kernel rests on it)\n%s: the peak, all operands in registers\n\n", threads);
}

void bench_machine_after_print(const struct bench_machine *b, const struct compute *c)
{
    printf("limits before and after: %s %.0f, %.0f GFLOP/s; memory %.1f, %.1f GB/s\n", family_name(c->family), b->gflops[c->family], b->gflops_after,
           b->read_all * 1e-9, b->read_all_after * 1e-9);
}

json_t *bench_machine_json(const struct bench_machine *b, const struct compute *c)
{
    const struct probe *probe = probe_of_machine();
    json_t *families = json_array();
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++)
        json_array_append_new(families, json_pack("{s:s, s:b, s:b, s:f, s:f}", "name", family_name((enum family)f), "runs_here",
                                                  family_runs_here((enum family)f), "fastest", f == (int)probe->fastest, "probe_gflops",
                                                  probe->gflops[f], "peak_gflops", b->gflops[f]));
    return json_pack("{s:s, s:i, s:s, s:s, s:o, s:{s:f, s:f}, s:{s:f, s:f, s:f}}", "processor", processor_name(), "threads", pool_threads(c->pool),
                     "compute", compute_mode_name(c->mode), "kernel", family_name(c->family), "families", families, "peak_gflops", "before",
                     b->gflops[c->family], "after", b->gflops_after, "read_bytes_per_second", "one_thread", b->read_one, "before", b->read_all, "after",
                     b->read_all_after);
}

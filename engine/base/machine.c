/* machine.c - what the operating system says about memory and processors: /proc and /sys on Linux, getrusage elsewhere.
 * A number that is not to be had is 0 (memory) or a plain fallback (processors); nothing here can fail. */
#include "engine/base/mem.h"
#include "engine/base/pool.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number behind "name:" in a file of lines as /proc/meminfo has them, kB made bytes; 0 when it is not there. */
static size_t proc_field(const char *path, const char *name)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    char line[256];
    size_t bytes = 0, n = strlen(name);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, name, n) == 0 && line[n] == ':') {
            bytes = (size_t)strtoull(line + n + 1, NULL, 10) * 1024;
            break;
        }
    }
    fclose(f);
    return bytes;
}

/* The first line of a small file, without its newline. */
static bool first_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool got = fgets(line, (int)size, f) != NULL;
    fclose(f);
    if (got)
        line[strcspn(line, "\n")] = 0;
    return got;
}

size_t mem_rss_peak_bytes(void)
{
    size_t bytes = proc_field("/proc/self/status", "VmHWM");
#ifdef __APPLE__
    struct rusage usage;
    if (bytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
        bytes = (size_t)usage.ru_maxrss; /* bytes here, kB elsewhere */
#endif
    return bytes;
}

size_t mem_rss_bytes(void)
{
    return proc_field("/proc/self/status", "VmRSS");
}

size_t mem_rss_file_bytes(void)
{
    return proc_field("/proc/self/status", "RssFile");
}

/* Pages of files that count as used by a container, but can be had. */
static size_t container_cache_bytes(void)
{
    FILE *f = fopen("/sys/fs/cgroup/memory.stat", "re");
    char line[128];
    size_t bytes = 0;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "active_file ", 12) == 0 || strncmp(line, "inactive_file ", 14) == 0)
            bytes += (size_t)strtoull(strchr(line, ' '), NULL, 10);
    if (f)
        fclose(f);
    return bytes;
}

size_t mem_available_bytes(void)
{
    size_t bytes = proc_field("/proc/meminfo", "MemAvailable");
    char limit[64], current[64];
    /* The limit of a container (cgroup v2, seen from inside at the root). */
    if (first_line("/sys/fs/cgroup/memory.max", limit, sizeof limit) && limit[0] >= '0' && limit[0] <= '9'
        && first_line("/sys/fs/cgroup/memory.current", current, sizeof current)) {
        size_t max = (size_t)strtoull(limit, NULL, 10), used = (size_t)strtoull(current, NULL, 10);
        size_t left = (max > used ? max - used : 0) + container_cache_bytes();
        if (bytes == 0 || left < bytes)
            bytes = left;
    }
    return bytes;
}

/* Processors that the quota of a container (cgroup v2 cpu.max: "quota period") pays for, rounded up; 0 = no quota. */
static int quota_cores(void)
{
    char line[64];
    if (!first_line("/sys/fs/cgroup/cpu.max", line, sizeof line) || line[0] < '0' || line[0] > '9')
        return 0;
    char *rest;
    double quota = strtod(line, &rest), period = strtod(rest, NULL);
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

#ifdef __linux__
/* The lowest processor that shares a core with `cpu`: its number stands for the core. The list reads "0,4" or "0-1". */
static int core_of(int cpu)
{
    char path[96], line[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!first_line(path, line, sizeof line) || line[0] < '0' || line[0] > '9')
        return cpu;
    return (int)strtol(line, NULL, 10);
}
#endif

int cpu_physical_cores(void)
{
    int cores = 0;
#ifdef __linux__
    cpu_set_t allowed, seen;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &allowed))
                continue;
            int core = core_of(cpu);
            if (core < 0 || core >= CPU_SETSIZE || !CPU_ISSET(core, &seen))
                cores++;
            if (core >= 0 && core < CPU_SETSIZE)
                CPU_SET(core, &seen);
        }
    }
#endif
    if (cores == 0)
        cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = quota_cores();
    if (quota > 0 && quota < cores)
        cores = quota;
    return cores > 0 ? cores : 1;
}

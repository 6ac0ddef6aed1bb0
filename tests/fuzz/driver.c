/* driver.c - drives one fuzz target: first over the seeds, then over mutations of them, for a time or a number of runs.
 *
 *     fuzz_gguf [-seconds=N] [-runs=N] [-seed=N] [-max-bytes=N] [-out=FOLDER] FILE|FOLDER...
 *
 * Where the build counts coverage (gcc -fsanitize-coverage=trace-pc), inputs that reach new edges join the seeds, and go to the
 * folder -out where one is told. The same seed gives the same inputs. An input on which the target crashes, hangs (60 s), takes
 * more than 4 s of the processor or more memory than it may is kept as `crash-TARGET-SHA` in the current folder; the exit status is then that of the crash.
 * A single allocation above 96 MB counts as a crash under AddressSanitizer (see __asan_default_options).
 */
#include "tests/fuzz/fuzz.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SEEDS_MAX = 20000, EDGES = 1 << 16, HANG_SECONDS = 60, PROCESSOR_SECONDS = 4 };
static const size_t LIVE_MAX = (size_t)96 << 20; /* accounted memory at once */

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=96:allocator_may_return_null=0:detect_leaks=1:abort_on_error=0";
}

/* ---- coverage: which pairs of places were reached one after the other, and about how often ---- */

static uint8_t hits[EDGES], seen[EDGES];
static _Thread_local uintptr_t previous;
static bool counted;

void __sanitizer_cov_trace_pc(void);
__attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc(void)
{
    uintptr_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&__sanitizer_cov_trace_pc; /* wherever the program lies */
    place = (place >> 2 ^ place >> 18) * 0x9E3779B1u;
    size_t edge = (place ^ previous) % EDGES;
    previous = place >> 1;
    counted = true;
    if (hits[edge] < 255)
        hits[edge]++;
}

/* 1, 2, 3, 4-7, 8-15 ... as bits. */
static uint8_t bucket(uint8_t n)
{
    return n == 0 ? 0 : n < 4 ? (uint8_t)(1 << (n - 1)) : n < 8 ? 8 : n < 16 ? 16 : n < 32 ? 32 : n < 128 ? 64 : 128;
}

static int new_edges(void)
{
    int n = 0;
    for (size_t i = 0; i < EDGES; i++) {
        uint8_t b = hits[i] ? bucket(hits[i]) : 0;
        n += (b & ~seen[i]) != 0;
        seen[i] |= b;
    }
    return n;
}

/* ---- seeds ---- */

struct seed {
    uint8_t *data;
    size_t size;
};
static struct seed seeds[SEEDS_MAX];
static int n_seeds;

static void add_seed(const uint8_t *data, size_t size)
{
    if (n_seeds == SEEDS_MAX)
        return;
    struct seed *s = &seeds[n_seeds++];
    s->data = malloc(size + 1);
    s->size = size;
    memcpy(s->data, data, size);
}

static void add_path(const char *path, size_t max)
{
    struct gm_error err = {0};
    char **names;
    size_t n;
    if (dir_exists(path)) {
        if (!dir_list(path, &names, &n, &err))
            return;
        for (size_t i = 0; i < n; i++) {
            char *file = path_join(path, names[i]);
            add_path(file, max);
            mem_free(file);
            mem_free(names[i]);
        }
        mem_free(names);
        return;
    }
    struct mapping m;
    if (!mapping_open(&m, path, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    if (m.size <= max)
        add_seed(m.data ? m.data : (const uint8_t *)"", m.size);
    mapping_close(&m);
}

/* ---- what the target says ---- */

static const uint8_t *current;
static size_t current_size;
static const char *target;
static char work_folder[64];

static void keep_crash(void)
{
    static volatile sig_atomic_t kept;
    if (!current || kept)
        return;
    kept = 1;
    char hex[65], path[200];
    sha256_bytes(current, current_size, hex);
    snprintf(path, sizeof path, "crash-%s-%.16s", target, hex);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size)
        fprintf(stderr, "\nthe input is kept as %s (%zu bytes)\n", path, current_size);
}

static void on_signal(int number)
{
    keep_crash();
    signal(number, SIG_DFL);
    raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
#pragma weak LLVMFuzzerInitialize

static void run_one(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* so that reading one byte behind it is seen */
    memcpy(exact, data, size);
    size_t live = mem_live_bytes();
    current = exact;
    current_size = size;
    memset(hits, 0, sizeof hits);
    previous = 0;
    alarm(HANG_SECONDS);
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = PROCESSOR_SECONDS}, NULL);
    LLVMFuzzerTestOneInput(exact, size);
    alarm(0);
    setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
    if (mem_peak_bytes() > LIVE_MAX + live || mem_live_bytes() != live) {
        fprintf(stderr, "%s: %zu bytes of input took %zu bytes of memory, and left %zu\n", target, size, mem_peak_bytes(),
                mem_live_bytes() - live);
        keep_crash();
        exit(1);
    }
    current = NULL;
    free(exact);
}

/* ---- mutation ---- */

static uint32_t below(struct rng *r, size_t n)
{
    return n ? (uint32_t)rng_below(r, n) : 0;
}

static void put_number(struct rng *r, uint8_t *p, size_t room)
{
    static const uint64_t NUMBERS[] = {0, 1, 2, 7, 31, 32, 127, 128, 255, 256, 4095, 32767, 32768, 65535, 65536, 0x7fffffff, 0x80000000,
                                       0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff};
    uint64_t v = NUMBERS[below(r, sizeof NUMBERS / sizeof *NUMBERS)] + below(r, 3) - 1;
    size_t n = (size_t)1 << below(r, 4);
    memcpy(p, &v, n < room ? n : room);
}

/* Replaces `cut` bytes at `at` by n others. */
static size_t replace_bytes(uint8_t *b, size_t size, size_t max, size_t at, size_t cut, const uint8_t *with, size_t n)
{
    if (size - cut + n > max)
        return size;
    uint8_t *copy = malloc(n + 1); /* `with` may lie in b */
    memcpy(copy, with, n);
    memmove(b + at + n, b + at + cut, size - at - cut);
    memcpy(b + at, copy, n);
    free(copy);
    return size - cut + n;
}

static const char CUT[] = "%%%%\n"; /* between the files of an input */

/* Where file k of an input stands; false: it has fewer. */
static bool find_part(const uint8_t *b, size_t size, int k, size_t *at, size_t *n)
{
    const uint8_t *p = b, *end = b + size, *cut;
    for (; (cut = memmem(p, (size_t)(end - p), CUT, sizeof CUT - 1)) && k > 0; k--)
        p = cut + sizeof CUT - 1;
    *at = (size_t)(p - b);
    *n = (size_t)((cut ? cut : end) - p);
    return k == 0;
}

/* One file from another seed: a configuration with the weights of another model. */
static size_t exchange_part(struct rng *r, uint8_t *b, size_t size, size_t max)
{
    const struct seed *s = &seeds[below(r, (size_t)n_seeds)];
    int k = (int)below(r, 6);
    size_t at, n, from, m;
    return find_part(b, size, k, &at, &n) && find_part(s->data, s->size, k, &from, &m) ? replace_bytes(b, size, max, at, n, s->data + from, m) : size;
}

static size_t mutate(struct rng *r, uint8_t *b, size_t size, size_t max)
{
    size_t at = below(r, size + 1), left = size - at;
    size_t n = 1 + below(r, below(r, 4) ? 8 : 200);
    n = n < left ? n : left;
    switch (below(r, 12)) {
    case 0:
        if (left)
            b[at] ^= (uint8_t)(1u << below(r, 8));
        return size;
    case 1:
        if (left)
            b[at] = (uint8_t)below(r, 256);
        return size;
    case 2:
    case 3:
        put_number(r, b + at, left);
        return size;
    case 4:
        return replace_bytes(b, size, max, at, n, b, 0);
    case 5: /* again */
        return replace_bytes(b, size, max, at, 0, b + at, n);
    case 11:
        return below(r, 8) ? size : exchange_part(r, b, size, max);
    case 6: { /* a piece from elsewhere */
        size_t from = below(r, size + 1), m = 1 + below(r, 64);
        return replace_bytes(b, size, max, at, below(r, 2) ? n : 0, b + from, m < size - from ? m : size - from);
    }
    case 7: { /* a piece of another seed */
        const struct seed *s = &seeds[below(r, (size_t)n_seeds)];
        size_t from = below(r, s->size + 1), m = 1 + below(r, 300);
        return replace_bytes(b, size, max, at, below(r, 2) ? n : 0, s->data + from, m < s->size - from ? m : s->size - from);
    }
    case 8: { /* a digit more, or another */
        static const char *const DIGITS[] = {"0", "1", "9", "-1", "99999999", "1e308", "4294967296", "18446744073709551615", "0.5", "null"};
        const char *d = DIGITS[below(r, sizeof DIGITS / sizeof *DIGITS)];
        while (at < size && (b[at] < '0' || b[at] > '9'))
            at++;
        size_t cut = 0;
        while (at + cut < size && b[at + cut] >= '0' && b[at + cut] <= '9')
            cut++;
        return at < size ? replace_bytes(b, size, max, at, cut, (const uint8_t *)d, strlen(d)) : size;
    }
    default: {
        size_t words = 0;
        while (FUZZ_WORDS[words])
            words++;
        const char *w = words ? FUZZ_WORDS[below(r, words)] : "";
        return replace_bytes(b, size, max, at, below(r, 2) ? n : 0, (const uint8_t *)w, strlen(w));
    }
    }
}

/* ---- the target's files ---- */

int fuzz_parts(const uint8_t *data, size_t size, struct fuzz_part *parts, int max)
{
    int n = 0;
    memset(parts, 0, (size_t)max * sizeof *parts);
    for (const uint8_t *p = data, *end = data + size; n < max;) {
        const uint8_t *cut = n + 1 < max ? memmem(p, (size_t)(end - p), CUT, sizeof CUT - 1) : NULL;
        parts[n++] = (struct fuzz_part){p, (size_t)((cut ? cut : end) - p)};
        if (!cut)
            break;
        p = cut + sizeof CUT - 1;
    }
    return n;
}

static void remove_folder(void)
{
    if (work_folder[0])
        dir_remove(work_folder, NULL);
}

const char *fuzz_folder(void)
{
    if (!work_folder[0]) {
        snprintf(work_folder, sizeof work_folder, "%s/fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(work_folder)) {
            perror("make a folder for the target");
            exit(2);
        }
        atexit(remove_folder);
    }
    return work_folder;
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    static char paths[8][128];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_folder(), name);
    unlink(path);
    int fd = size ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd >= 0) {
        if (write(fd, data, size) != (ssize_t)size)
            exit(2);
        close(fd);
    }
    return path;
}

/* ---- */

static void save_found(const char *folder, const uint8_t *data, size_t size)
{
    char hex[65];
    sha256_bytes(data, size, hex);
    hex[16] = '\0';
    char *path = path_join(folder, hex);
    file_replace(path, data, size, NULL);
    mem_free(path);
}

int main(int argc, char **argv)
{
    double seconds = 0;
    long long runs = -1, seed = 1, max = 1 << 16;
    const char *out = NULL;
    target = path_base(argv[0]);
    for (int i = 1; i < argc; i++) {
        if (sscanf(argv[i], "-seconds=%lf", &seconds) == 1 || sscanf(argv[i], "-runs=%lld", &runs) == 1 ||
            sscanf(argv[i], "-seed=%lld", &seed) == 1 || sscanf(argv[i], "-max-bytes=%lld", &max) == 1)
            continue;
        if (strncmp(argv[i], "-out=", 5) == 0)
            out = argv[i] + 5;
        else
            add_path(argv[i], (size_t)max);
    }
    for (const int *s = (const int[]){SIGABRT, SIGALRM, SIGPROF, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 0}; *s; s++)
        signal(*s, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_crash);
    if (LLVMFuzzerInitialize && LLVMFuzzerInitialize(&argc, &argv) != 0) {
        fprintf(stderr, "%s: what it needs cannot be opened\n", target);
        return 2;
    }
    int edges = 0, given = n_seeds;
    for (int i = 0; i < given; i++) {
        run_one(seeds[i].data, seeds[i].size);
        edges += new_edges();
    }
    if (n_seeds == 0)
        add_seed((const uint8_t *)"", 0);
    long long done = 0;
    double begin = clock_seconds();
    uint8_t *buffer = malloc((size_t)max + 64);
    struct rng r = rng_stream((uint64_t)seed, "fuzz", 0);
    for (; (seconds > 0 && clock_seconds() - begin < seconds) || (runs >= 0 && done < runs); done++) {
        const struct seed *s = &seeds[below(&r, 4) ? below(&r, (size_t)n_seeds) : (uint32_t)(n_seeds - 1) - below(&r, (size_t)(n_seeds < 16 ? n_seeds : 16))];
        size_t size = s->size;
        memcpy(buffer, s->data, size);
        for (uint32_t k = 1 + below(&r, below(&r, 3) ? 4 : 24); k-- > 0;)
            size = mutate(&r, buffer, size, (size_t)max);
        run_one(buffer, size);
        int fresh = new_edges();
        if (!fresh)
            continue;
        edges += fresh;
        add_seed(buffer, size);
        if (out)
            save_found(out, buffer, size);
    }
    printf("%s: %d seeds, %lld inputs in %.1f s (%.1f of the processor), %s %d, %d joined the seeds\n", target, given, done, clock_seconds() - begin,
           (double)clock() / CLOCKS_PER_SEC,
           counted ? "edges" : "(coverage is not counted in this build)", edges, n_seeds - (given ? given : 1));
    free(buffer);
    for (int i = 0; i < n_seeds; i++)
        free(seeds[i].data);
    return 0;
}

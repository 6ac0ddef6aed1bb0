/* probe.c - see probe.h.
 *
 * The families take turns, a few microseconds each, and the best turn of each counts: whatever else the machine does meanwhile, or a clock that changes, meets all of
 * them alike. A family that is far behind after the first rounds has its number already and gets no more turns.
 *
 * The file: a head that says what it is about, then a line a family, "avx512bf16 541.2". It is read as anybody's: the head must be ours to the byte, and every
 * family that runs here has one number that is possible.
 */
#include "engine/kernel/probe.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/kernel/processor.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- measuring ---- */

/* One block as the driver runs it: 64 columns, 128 rows, 256 deep, packing included. */
enum { ROWS = 128, COLS = 64, DEPTH = 256, FIRST_ROUNDS = 3, BEHIND = 4 };
static const double TURNS_S = 0.025;

struct course {
    float *x, *y, *w;
    void *a, *panel;
};

static void course_make(struct course *c)
{
    c->x = mem_new(ROWS * DEPTH, sizeof *c->x);
    c->y = mem_new(ROWS * COLS, sizeof *c->y);
    c->w = mem_new(COLS * DEPTH, sizeof *c->w);
    c->a = mem_new(ROWS * DEPTH, sizeof(float));
    c->panel = mem_new(COLS * DEPTH, sizeof(float));
    for (int i = 0; i < ROWS * DEPTH; i++)
        c->x[i] = (float)(i % 17 - 8) / 8;
    for (int i = 0; i < COLS * DEPTH; i++)
        c->w[i] = (float)(i % 13 - 6) / 8;
}

static void course_free(struct course *c)
{
    mem_free(c->x);
    mem_free(c->y);
    mem_free(c->w);
    mem_free(c->a);
    mem_free(c->panel);
}

/* Seconds of the better of two runs, after one that is not counted: it brings code and data into the caches and wakes wide units. */
static double turn(const struct kernel_table *k, struct course *c)
{
    enum { RUNS = 3 };
    struct mat m = mat_f32(c->w, COLS, DEPTH);
    double best = INFINITY, last = 0;
    k->convert(c->a, DEPTH, c->x, DEPTH, ROWS, DEPTH, DEPTH);
    for (int run = 0; run < RUNS; run++) {
        k->pack_nt(c->panel, &m, 0, COLS, 0, DEPTH);
        multiply_panels(k, c->a, DEPTH, c->panel, DEPTH, c->y, COLS, ROWS, COLS, false);
        double now = clock_seconds();
        if (run > 0)
            best = fmin(best, now - last);
        last = now;
    }
    return best;
}

void compute_probe(double gflops[FAMILY_COUNT])
{
    double best[FAMILY_COUNT], leader = INFINITY, began = clock_seconds();
    struct course c;
    course_make(&c);
    for (int f = 0; f < FAMILY_COUNT; f++)
        best[f] = INFINITY;
    for (int round = 0; round < FIRST_ROUNDS || clock_seconds() - began < TURNS_S; round++) {
        for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
            const struct kernel_table *k = family_table((enum family)f);
            if (!k || (round >= FIRST_ROUNDS && best[f] > BEHIND * leader))
                continue;
            best[f] = fmin(best[f], turn(k, &c));
            leader = fmin(leader, best[f]);
        }
    }
    for (int f = 0; f < FAMILY_COUNT; f++)
        gflops[f] = 2e-9 * ROWS * COLS * DEPTH / best[f]; /* 0 where there was no turn */
    course_free(&c);
}

static void choose(struct probe *p)
{
    p->fastest = FAMILY_PLAIN;
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (p->gflops[f] > p->gflops[p->fastest])
            p->fastest = (enum family)f;
    }
}

void probe_measure(struct probe *p)
{
    *p = (struct probe){0};
    double began = clock_seconds();
    compute_probe(p->gflops);
    p->seconds = clock_seconds() - began;
    choose(p);
}

/* ---- the file ---- */

static const double MOST_GFLOPS = 1e6; /* more, no thread of anything does */
enum { FILE_MAX = 4096 };

static void head(struct str *out)
{
    str_add(out, "gemmaiku: speed of the kernel families on this machine, GFLOP/s of one thread. May be removed.\nprocessor: ");
    processor_describe(out);
    str_printf(out, "\ncores: %d\nversion: %s\n", cpu_physical_cores(), GM_VERSION);
}

char *probe_file(const char *folder)
{
    struct str about = {0};
    char hash[65];
    head(&about);
    sha256_bytes(about.data, about.len, hash);
    str_free(&about);
    char *name = mem_printf("kernels-%.16s", hash), *path = path_join(folder, name);
    mem_free(name);
    return path;
}

/* "name number\n" at *at; false: it is none, or one that cannot be. */
static bool read_line(const char **at, double gflops[FAMILY_COUNT])
{
    char name[32];
    int used = 0;
    double value;
    enum family f;
    if (sscanf(*at, "%31[a-z0-9] %lf%n", name, &value, &used) != 2 || (*at)[used] != '\n' || !family_parse(name, &f))
        return false;
    if (f == FAMILY_AUTO || !family_table(f) || gflops[f] > 0 || !(value > 0 && value <= MOST_GFLOPS))
        return false;
    gflops[f] = value;
    *at += used + 1;
    return true;
}

static bool read_text(const char *text, struct probe *p)
{
    struct str about = {0};
    head(&about);
    bool ok = strncmp(text, about.data, about.len) == 0;
    const char *at = ok ? text + about.len : text;
    str_free(&about);
    while (ok && *at)
        ok = read_line(&at, p->gflops);
    for (int f = FAMILY_AUTO + 1; ok && f < FAMILY_COUNT; f++)
        ok = p->gflops[f] > 0 || !family_table((enum family)f);
    return ok;
}

bool probe_read(const char *file, struct probe *p)
{
    struct str text = {0};
    *p = (struct probe){.remembered = true};
    double began = clock_seconds();
    bool ok = file_read_all(file, FILE_MAX, &text, NULL) && read_text(str_text(&text), p);
    str_free(&text);
    p->seconds = clock_seconds() - began;
    choose(p);
    return ok;
}

bool probe_write(const char *file, const struct probe *p, struct gm_error *err)
{
    struct str text = {0};
    char *folder = path_folder(file);
    head(&text);
    for (int f = FAMILY_AUTO + 1; f < FAMILY_COUNT; f++) {
        if (p->gflops[f] > 0)
            str_printf(&text, "%s %.6g\n", family_name((enum family)f), p->gflops[f]);
    }
    bool ok = dir_make(folder, err) && file_replace(file, text.data, text.len, err);
    mem_free(folder);
    str_free(&text);
    return ok;
}

/* ---- of this process ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct probe machine;
static bool known, anew;
static char file_here[4096]; /* "": nothing is remembered */

void probe_remember_in(const char *folder, bool measure_anew)
{
    char *file = folder ? probe_file(folder) : mem_copy("");
    pthread_mutex_lock(&lock);
    if (strlen(file) < sizeof file_here)
        memcpy(file_here, file, strlen(file) + 1);
    anew = measure_anew;
    pthread_mutex_unlock(&lock);
    mem_free(file);
}

static const struct probe *ask(bool again)
{
    pthread_mutex_lock(&lock);
    if (again || (!known && (anew || !*file_here || !probe_read(file_here, &machine)))) {
        probe_measure(&machine);
        if (*file_here)
            probe_write(file_here, &machine, NULL); /* no harm where it cannot be */
    }
    known = true;
    pthread_mutex_unlock(&lock);
    return &machine;
}

const struct probe *probe_of_machine(void)
{
    return ask(false);
}

const struct probe *probe_again(void)
{
    return ask(true);
}

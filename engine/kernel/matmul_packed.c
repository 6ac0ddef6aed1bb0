/* matmul_packed.c - the packed driver of BF16 mode.
 *
 * A product is cut into strips of columns, and a strip into pieces of rows; those are the blocks of the pool. A block takes the sum in turns:
 * it packs stretches of its columns of W, as many as stay in the second cache, of one term or of several (an adapter is added in the
 * registers that hold its weight's sum), and multiplies its rows with them; meanwhile it asks for the weights of the turn that it expects
 * next. Sums of several turns wait in the thread's scratch, and the last turn writes the result.
 *
 * Strips are whole, so that packing pays for as many rows as there are; the last ones are cut finer, so that all threads end together (a thread
 * that gets the next piece of its strip finds the panels packed). Cuts
 * follow the number of threads and the speed of the family; bits do not (see table.h).
 */
#include "engine/kernel/matmul_packed.h"

#include "engine/base/number.h"
#include "engine/kernel/matmul_few.h"

#include <assert.h>

enum { STRIP_MAX = 256, TURN_PARTS = 8, TURN_BYTES = 4608 /* of a column */, DEEP = 128 };

static int64_t target_cols(const struct packed_target *t, bool nn)
{
    return nn ? t->terms[0].w->cols : t->terms[0].w->rows;
}

static int64_t target_depth(const struct packed_target *t)
{
    int64_t depth = 0;
    for (int i = 0; i < t->n_terms; i++)
        depth += t->terms[i].a.depth;
    return depth;
}

/* --- a sum in turns --- */

/* A stretch of a term. */
struct part {
    const struct packed_term *term;
    int64_t k0;
    int depth, kpad;
};
struct turn {
    struct part parts[TURN_PARTS];
    int n;
    int64_t depth; /* of all panels */
    int term;      /* where the next turn begins */
    int64_t k0;
    bool last;
};

/* The panels of a turn stay in the second cache with what passes by: 2,304 values of bf16, or a stretch of f32 and its adapters. What a family
 * keeps in the first one meanwhile is its own affair (matmul_amx.c cuts further). */
static int64_t turn_depth(const struct compute *c)
{
    return TURN_BYTES / (int64_t)packed_element(c);
}

/* The turn after `turn` (zero: before the first). */
static void next_turn(const struct compute *c, const struct packed_target *t, struct turn *turn)
{
    turn->n = 0;
    turn->depth = 0;
    while (turn->term < t->n_terms && turn->n < TURN_PARTS) {
        const struct packed_term *term = &t->terms[turn->term];
        int64_t depth = min64(packed_stretch(term->a.depth, term->w->type), term->a.depth - turn->k0),
                kpad = round_up(depth, 32);
        if (turn->n > 0 && turn->depth + kpad > turn_depth(c))
            break;
        turn->parts[turn->n++] = (struct part){.term = term, .k0 = turn->k0, .depth = (int)depth, .kpad = (int)kpad};
        turn->depth += kpad;
        turn->k0 += depth;
        if (turn->k0 == term->a.depth) {
            turn->k0 = 0;
            turn->term++;
        }
    }
    turn->last = turn->term == t->n_terms;
}

static void pack(const struct kernel_table *k, bool nn, const struct part *p, int64_t n0, int cols, void *panel)
{
    if (nn)
        k->pack_nn(panel, p->term->w, n0, cols, p->term->w_row0 + p->k0, p->depth);
    else
        k->pack_nt(panel, p->term->w, n0, cols, p->k0, p->depth);
}

/* Panels of the stretch that were packed before (panels.h); NULL: none. */
static const void *ready_panels(const struct compute *c, bool nn, const struct part *p, int64_t n0)
{
    return nn ? NULL : few_panel(c, p->term->w, n0, p->k0);
}

static struct slice slice_of(const struct compute *c, const struct part *p, int64_t r0, const void *panel)
{
    const struct packed_operand *a = &p->term->a;
    return (struct slice){.a = (const unsigned char *)a->data + (size_t)(r0 * a->ld + p->k0) * packed_element(c),
                          .lda = a->ld,
                          .panel = panel,
                          .kpad = p->kpad,
                          .k = p->depth};
}

/* --- strips --- */

struct strips {
    const struct compute *c;
    const struct packed_target *targets;
    int n_targets;
    int64_t rows, cols; /* of the product; of a strip */
    bool nn;
    int first[PACKED_TARGETS + 1]; /* strip of each target */
    int whole;                     /* the first strips have pieces of `piece` rows, the rest of `tail` */
    int64_t piece, tail;
    int threads;
};

static int pieces_of(const struct strips *s, int64_t rows)
{
    return (int)((s->rows + rows - 1) / rows);
}

static int blocks_of(const struct strips *s)
{
    return s->whole * pieces_of(s, s->piece) + (s->first[s->n_targets] - s->whole) * pieces_of(s, s->tail);
}

/* A block: some columns and rows of one target. */
struct place {
    const struct packed_target *target;
    int64_t n0, r0;
    int cols, rows;
};

/* Blocks go to the threads in turns, so each thread gets neighbouring strips: what the processor reads beyond the columns of one is packed
 * with the next, and no line of W is wanted by two cores, which may lie far apart. */
static int lane_strip(const struct strips *s, int block)
{
    const int lane = block % s->threads, each = s->whole / s->threads, longer = s->whole % s->threads;
    return lane * each + (lane < longer ? lane : longer) + block / s->threads;
}

static struct place place_of(const struct strips *s, int block)
{
    const int first_tail = s->whole * pieces_of(s, s->piece);
    const int64_t rows = block < first_tail ? s->piece : s->tail;
    const int index = block < first_tail ? block : block - first_tail, pieces = pieces_of(s, rows);
    const int strip = block < first_tail && pieces == 1 ? lane_strip(s, block) : index / pieces + (block < first_tail ? 0 : s->whole);
    int which = 0;
    while (strip >= s->first[which + 1])
        which++;
    struct place p = {.target = &s->targets[which], .n0 = (strip - s->first[which]) * s->cols, .r0 = index % pieces * rows};
    p.cols = (int)min64(s->cols, target_cols(p.target, s->nn) - p.n0);
    p.rows = (int)min64(rows, s->rows - p.r0);
    return p;
}

/* The stored bytes of a turn, asked for line by line while the one before is multiplied. */
struct ahead {
    const struct compute *c;
    bool nn;
    struct place place;
    struct turn turn;
    int part;
    struct wanted wanted; /* of this part */
};

static void ask_part(struct ahead *a)
{
    const struct part *p = &a->turn.parts[a->part];
    const struct mat *w = p->term->w;
    const int64_t row = a->nn ? p->term->w_row0 + p->k0 : a->place.n0, col = a->nn ? a->place.n0 : p->k0,
                  cols = a->nn ? a->place.cols : p->depth, block = dtype_block(w->type);
    const size_t bytes = dtype_block_bytes(w->type), first = (size_t)(col / block) * bytes,
                 last = (size_t)((col + cols + block - 1) / block) * bytes;
    const unsigned char *at = (const unsigned char *)w->data + (size_t)row * w->row_bytes + first;
    const size_t skew = (uintptr_t)at % 64;
    a->wanted = (struct wanted){.row = at - skew,
                                .row_bytes = w->row_bytes,
                                .lines = (last - first + skew + 63) / 64,
                                .rows = ready_panels(a->c, a->nn, p, a->place.n0) ? 0 : a->nn ? p->depth : a->place.cols};
}

/* Goes to the first part; how many lines there are in all. */
static int64_t ask_from_start(struct ahead *a)
{
    int64_t lines = 0;
    for (a->part = a->turn.n - 1; a->part >= 0; a->part--) {
        ask_part(a);
        lines += a->wanted.rows * (int64_t)a->wanted.lines;
    }
    a->part = 0;
    return lines;
}

/* What is to be asked for next; NULL: nothing. */
static struct wanted *still_wanted(struct ahead *a)
{
    while (a->part < a->turn.n && a->wanted.rows == 0)
        if (++a->part < a->turn.n)
            ask_part(a);
    return a->part < a->turn.n ? &a->wanted : NULL;
}

/* What this thread will want after the turn `now`: the next one of the block, or the first of the block that comes to it if all
 * threads go at one speed. */
static struct ahead look_ahead(const struct strips *s, int block, const struct place *p, const struct turn *now)
{
    struct ahead a = {.c = s->c, .nn = s->nn, .place = *p, .turn = *now};
    if (now->last) {
        a.turn = (struct turn){0};
        if (block + s->threads >= blocks_of(s))
            return a;
        a.place = place_of(s, block + s->threads);
        if (a.place.target == p->target && a.place.n0 == p->n0)
            return a;
    }
    next_turn(s->c, a.place.target, &a.turn);
    return a;
}

/* What the panels of a slot hold: the whole sum of one strip. Its next piece of rows finds them packed. */
struct held {
    const struct packed_target *target; /* NULL: nothing */
    int64_t n0;
};
enum { HELD_BYTES = 64 };

static size_t panel_bytes(const struct compute *c, int64_t cols)
{
    return (size_t)round_up(cols, PANEL) * TURN_BYTES;
}

static void block_strip(void *arg, int block, int slot)
{
    const struct strips *s = arg;
    const struct compute *c = s->c;
    const struct kernel_table *k = c->k;
    const struct place p = place_of(s, block);
    const struct packed_target *t = p.target;
    const bool bf16 = t->c_type == DT_BF16;
    const size_t at = (size_t)(p.r0 * t->ldc + p.n0) * (bf16 ? sizeof(uint16_t) : sizeof(float));
    struct held *held = c->scratch->slot[slot].data;
    unsigned char *panels = (unsigned char *)held + HELD_BYTES, *y = (unsigned char *)t->c + at;
    const bool packed = held->target == t && held->n0 == p.n0;
    float *waiting = (float *)(void *)(panels + panel_bytes(c, s->cols));
    struct turn turn = {0};
    bool first = true;
    do {
        next_turn(c, t, &turn);
        struct slice slices[TURN_PARTS];
        unsigned char *panel = panels;
        for (int i = 0; i < turn.n; i++) {
            const void *ready = ready_panels(c, s->nn, &turn.parts[i], p.n0);
            slices[i] = slice_of(c, &turn.parts[i], p.r0, ready ? ready : panel);
            if (ready)
                continue;
            if (!packed)
                pack(k, s->nn, &turn.parts[i], p.n0, p.cols, panel);
            panel += (size_t)(round_up(p.cols, PANEL) * turn.parts[i].kpad) * packed_element(c);
        }
        struct block_sum sum = {.slices = slices,
                                .n_slices = turn.n,
                                .from = !first ? waiting : t->accumulate ? (const float *)(const void *)y : NULL,
                                .ld_from = first ? t->ldc : s->cols,
                                .to = turn.last ? (void *)y : waiting,
                                .ld_to = turn.last ? t->ldc : s->cols,
                                .to_bf16 = turn.last && bf16,
                                .cols = p.cols};
        struct ahead ahead = look_ahead(s, block, &p, &turn);
        const int step = turn.depth >= DEEP ? k->step_rows : p.rows;
        const double lines = (double)ask_from_start(&ahead) / p.rows; /* for each row */
        sum.wanted_lines = (int)(lines * k->step_rows / ((double)turn.depth * (double)packed_element(c) / 64)) + 1;
        for (int r = 0; r < p.rows; r += step) {
            sum.wanted = still_wanted(&ahead);
            if (sum.wanted && !k->asks_ahead)
                ask_for_lines(sum.wanted, (int64_t)(lines * step) + 1);
            sum.rows = p.rows - r < step ? p.rows - r : step;
            k->sum_block(&sum);
            for (int i = 0; i < turn.n; i++)
                slices[i].a = (const unsigned char *)slices[i].a + (size_t)(step * slices[i].lda) * packed_element(c);
            if (sum.from)
                sum.from += step * sum.ld_from;
            sum.to = (unsigned char *)sum.to + (size_t)(step * sum.ld_to) * (sum.to_bf16 ? sizeof(uint16_t) : sizeof(float));
        }
        *held = (struct held){.target = first && turn.last ? t : NULL, .n0 = p.n0};
        first = false;
    } while (!turn.last);
}

/* --- the cut --- */

/* Of some strips; costs are counted in products of one column and one row. */
static double cost_of_strips(const struct strips *s, int strips, int64_t piece)
{
    double cost = 0, all = s->first[s->n_targets];
    const double pack = s->c->k->pack_cost * pieces_of(s, piece);
    for (int i = 0; i < s->n_targets; i++)
        cost += (double)target_depth(&s->targets[i]) * (double)target_cols(&s->targets[i], s->nn) * ((double)s->rows + pack);
    return cost * strips / all;
}

/* Time of the job: as the blocks come, whoever is free takes one; in the end a thread waits half a block for the others. */
static double cost_of_cut(const struct strips *s)
{
    const int whole_blocks = s->whole * pieces_of(s, s->piece), strips = s->first[s->n_targets], tails = strips - s->whole,
              tail_blocks = tails * pieces_of(s, s->tail);
    const double whole_cost = s->whole > 0 ? cost_of_strips(s, s->whole, s->piece) : 0,
                 tail_cost = tails > 0 ? cost_of_strips(s, tails, s->tail) : 0,
                 longest = whole_blocks > 0 ? (whole_blocks + s->threads - 1) / s->threads * whole_cost / whole_blocks : 0,
                 last = tail_blocks > 0 ? tail_cost / tail_blocks : whole_cost / whole_blocks,
                 even = (whole_cost + tail_cost) / s->threads + (s->threads > 1 ? last / 2 : 0);
    return longest > even ? longest : even;
}

static void cut_columns(struct strips *s, int64_t cols)
{
    s->cols = cols;
    for (int i = 0; i < s->n_targets; i++)
        s->first[i + 1] = s->first[i] + (int)((target_cols(&s->targets[i], s->nn) + cols - 1) / cols);
}

/* The cheapest cut whose blocks are short enough for the gate. */
static void choose_cut(struct strips *s)
{
    bool blocked = false; /* a strip must begin at a block border of the storage */
    int64_t depth = 0;
    for (int i = 0; i < s->n_targets; i++) {
        const struct packed_target *t = &s->targets[i];
        depth = target_depth(t) > depth ? target_depth(t) : depth;
        for (int k = 0; k < t->n_terms; k++)
            blocked = blocked || (s->nn && dtype_block(t->terms[k].w->type) > s->c->k->strip_cols && !s->c->k->nn_cuts_blocks);
    }
    cut_columns(s, blocked ? STRIP_MAX : s->c->k->strip_cols);
    const double most = s->c->k->strip_flops / (2.0 * (double)(s->cols * depth));
    int64_t piece = round_up(s->rows, ROW_PAD);
    while ((double)piece > most && piece > ROW_PAD)
        piece = round_up(piece / 2, ROW_PAD);
    const int strips = s->first[s->n_targets];
    s->whole = strips;
    s->piece = s->tail = piece;
    double least = cost_of_cut(s);
    for (int64_t tail = piece; s->threads > 1 && tail > ROW_PAD;) {
        tail = round_up(tail / 2, ROW_PAD);
        for (int cut = strips % s->threads; cut <= strips; cut += s->threads) {
            struct strips t = *s;
            t.whole = strips - cut;
            t.tail = tail;
            double cost = cost_of_cut(&t);
            if (cost < least) {
                least = cost;
                *s = t;
            }
        }
    }
}

void packed_multiply(const struct compute *c, int64_t rows, const struct packed_target *targets, int n_targets, bool nn)
{
    assert(n_targets >= 1 && n_targets <= PACKED_TARGETS);
    if (rows <= 0 || packed_thin(c, rows, targets, n_targets, nn))
        return;
    struct strips s = {.c = c, .targets = targets, .n_targets = n_targets, .rows = rows, .nn = nn, .threads = pool_threads(c->pool)};
    choose_cut(&s);
    bool wait = false;
    for (int i = 0; i < n_targets; i++) {
        struct turn turn = {0};
        assert(targets[i].c_type == DT_F32 || !targets[i].accumulate);
        next_turn(c, &targets[i], &turn);
        wait = wait || !turn.last;
    }
    const int64_t longest = s.whole > 0 ? s.piece : s.tail;
    scratch_slots(c, HELD_BYTES + panel_bytes(c, s.cols) + (wait ? (size_t)(longest * s.cols) * sizeof(float) : 0));
    for (int i = 0; i < c->scratch->n_slots; i++)
        *(struct held *)c->scratch->slot[i].data = (struct held){0};
    pool_run(c->pool, c->role, block_strip, &s, blocks_of(&s));
}

#include "ui/core/layout.h"

#include <string.h>

enum { COLS_TWO = 100, COLS_SIDE = 120, COLS_THREE = 140, ROWS_TALL = 40 };
static const int pane_counts[LAYOUT_COUNT] = {3, 7, 2, 1, 2, 2, 1, 2};

static int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* Cuts `rows` off the bottom / `cols` off the right of *r and returns what was cut. */
static struct rect cut_bottom(struct rect *r, int rows)
{
    r->rows -= rows;
    return (struct rect){r->row + r->rows, r->col, rows, r->cols};
}
static struct rect cut_right(struct rect *r, int cols)
{
    r->cols -= cols;
    return (struct rect){r->row, r->col + r->cols, r->rows, cols};
}

static void data(struct layout *l, struct rect body)
{
    if (body.cols >= COLS_THREE) {
        struct rect right = cut_right(&body, clamp(body.cols * 2 / 5, 60, 100));
        if (right.rows >= 34)
            l->pane[DATA_CHECKS] = cut_bottom(&right, 13);
        l->pane[DATA_DETAIL] = right;
    } else if (body.cols >= COLS_TWO && body.rows >= 12)
        l->pane[DATA_DETAIL] = cut_right(&body, body.cols / 2 - 4);
    else if (body.rows >= 18)
        l->pane[DATA_DETAIL] = cut_bottom(&body, body.rows / 2);
    l->pane[DATA_LIST] = body;
}

static void train(struct layout *l, struct rect body)
{
    if (body.cols >= COLS_SIDE && body.rows >= 18) {
        struct rect side = cut_right(&body, clamp(body.cols / 4, 34, 64));
        int charts = side.rows >= 32 ? 4 : 3, each = side.rows / charts;
        if (charts == 4)
            l->pane[TRAIN_FORM] = cut_bottom(&side, each);
        l->pane[TRAIN_SPEED] = cut_bottom(&side, each);
        l->pane[TRAIN_NORM] = cut_bottom(&side, each);
        l->pane[TRAIN_LR] = side;
    }
    if (body.rows >= 17) {
        struct rect bottom = cut_bottom(&body, body.rows >= 32 ? clamp(body.rows / 3, 10, 16) : body.rows >= 24 ? 6 : 5);
        l->pane[TRAIN_SAMPLE] = cut_right(&bottom, bottom.cols / 2);
        l->pane[TRAIN_RUN] = bottom;
    }
    l->pane[TRAIN_PLOT] = body;
}

static void list_and_detail(struct layout *l, struct rect body, int detail_rows)
{
    if (body.cols >= COLS_TWO)
        l->pane[1] = cut_right(&body, clamp(body.cols * 2 / 5, 44, 90));
    else if (body.rows >= detail_rows + 8)
        l->pane[1] = cut_bottom(&body, clamp(body.rows / 2, detail_rows, 16));
    l->pane[0] = body;
}

void layout_make(struct layout *l, int rows, int cols, enum layout_kind kind, int zoomed)
{
    memset(l, 0, sizeof *l);
    l->pane_count = pane_counts[kind];
    l->small = rows < LAYOUT_MIN_ROWS || cols < LAYOUT_MIN_COLS;
    if (l->small) {
        l->body = (struct rect){0, 0, rows < 0 ? 0 : rows, cols < 0 ? 0 : cols};
        return;
    }
    l->title = (struct rect){0, 0, 1, cols};
    l->body = (struct rect){1, 0, rows - 3, cols};
    l->status = (struct rect){rows - 2, 0, 1, cols};
    l->hint = (struct rect){rows - 1, 0, 1, cols};
    if (zoomed >= 0 && zoomed < l->pane_count) {
        l->pane[zoomed] = l->body;
        return;
    }
    switch (kind) {
    case LAYOUT_DATA:
        data(l, l->body);
        break;
    case LAYOUT_TRAIN:
        train(l, l->body);
        break;
    case LAYOUT_SAMPLES:
    case LAYOUT_CKPTS:
        list_and_detail(l, l->body, kind == LAYOUT_CKPTS ? 11 : 9);
        break;
    case LAYOUT_EXPORT: {
        struct rect body = l->body;
        if (body.cols >= COLS_THREE)
            l->pane[EXPORT_RESULT] = cut_right(&body, body.cols / 2);
        else if (body.rows >= 19)
            l->pane[EXPORT_RESULT] = cut_bottom(&body, clamp(body.rows - 14, 5, 12));
        l->pane[EXPORT_FORM] = body;
        break;
    }
    case LAYOUT_START: {
        struct rect body = l->body;
        if (body.rows >= 14)
            l->pane[START_DETAIL] = cut_bottom(&body, 6);
        l->pane[START_LIST] = body;
        break;
    }
    default:
        l->pane[0] = l->body;
    }
}

bool layout_shown(const struct layout *l, int pane)
{
    return pane >= 0 && pane < l->pane_count && l->pane[pane].rows > 0 && l->pane[pane].cols > 0;
}

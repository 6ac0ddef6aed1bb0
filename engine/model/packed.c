/* packed.c - see packed.h. The view is the model with other matrices: those that say where their panels are. */
#include "engine/model/packed.h"

#include "engine/base/mem.h"
#include "engine/kernel/panels.h"

#include <assert.h>
#include <string.h>

struct packed_model {
    struct model view;
    struct panels *panels; /* one a matrix */
    unsigned char *memory;
    size_t used;
    int n;
};

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

size_t packed_model_bytes(const struct model *m)
{
    size_t bytes = whole_lines(panels_bytes(&m->head));
    for (int i = 0; i < m->config.n_layers; i++)
        for (int p = 0; p < PROJ_COUNT; p++)
            bytes += whole_lines(panels_bytes(&m->layers[i].w[p]));
    return bytes;
}

static void pack(struct packed_model *p, const struct compute *c, struct mat *w)
{
    p->panels[p->n] = panels_pack(c, w, p->memory + p->used);
    p->used += whole_lines(panels_bytes(w));
    w->panels = &p->panels[p->n++];
}

struct packed_model *packed_model_new(const struct model *m, const struct compute *c, struct gm_error *err)
{
    if (!panels_help(c)) {
        error_set(err, GM_E_UNSUPPORTED, "pack weights: the kernel family %s has no use for it", family_name(c->family));
        return NULL;
    }
    struct packed_model *p = mem_new(1, sizeof *p);
    size_t n_layers = (size_t)m->config.n_layers;
    p->view = *m;
    p->memory = mem_alloc(packed_model_bytes(m), "packed weights", err);
    if (!p->memory) {
        mem_free(p);
        return NULL;
    }
    p->panels = mem_new(n_layers * PROJ_COUNT + 1, sizeof *p->panels);
    p->view.layers = mem_new(n_layers, sizeof *p->view.layers);
    memcpy(p->view.layers, m->layers, n_layers * sizeof *m->layers);
    for (size_t i = 0; i < n_layers; i++)
        for (int k = 0; k < PROJ_COUNT; k++)
            pack(p, c, &p->view.layers[i].w[k]);
    pack(p, c, &p->view.head);
    return p;
}

const struct model *packed_model_view(const struct packed_model *p)
{
    return &p->view;
}

void packed_model_free(struct packed_model *p)
{
    if (!p)
        return;
    mem_free(p->view.layers);
    mem_free(p->panels);
    mem_free(p->memory);
    mem_free(p);
}

/* chat.c - `gemmaiku chat`: a conversation on a plain terminal, or line by line from a pipe. Ctrl-C stops the answer, not the program. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "ui/term/ask.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTEXT_DEFAULT = 2048 };

struct chat {
    struct session *s;
    const struct general *g;
    struct sampling sampling;
    struct generator *generator;
    int context;
    struct chat_message *messages; /* texts owned */
    size_t n, cap;
    bool has_system, piped;
    atomic_bool cancel;
};

static void add_message(struct chat *c, const char *role, const char *text)
{
    c->messages = mem_room(c->messages, c->n, &c->cap, sizeof *c->messages);
    c->messages[c->n++] = (struct chat_message){role, mem_copy(text)};
}

static void drop_last(struct chat *c)
{
    mem_free((void *)c->messages[--c->n].content);
}

static void forget(struct chat *c)
{
    while (c->n > (c->has_system ? 1u : 0u))
        drop_last(c);
}

static void stream_text(void *arg, int request, const char *bytes, size_t n)
{
    cli_print_clean(bytes, n);
    fflush(stdout);
}

/* Ids of the conversation; the oldest exchanges go when the context cannot hold it and an answer. */
static bool fit(struct chat *c, struct id_list *ids, struct gm_error *err)
{
    for (;;) {
        if (!chat_encode(c->s->tpl, c->s->tokenizer, c->messages, c->n, true, ids, NULL, err))
            return false;
        size_t first = c->has_system ? 1 : 0;
        if ((int)ids->n + c->sampling.max_tokens < c->context || c->n - first < 3)
            return true;
        mem_free((void *)c->messages[first].content);
        mem_free((void *)c->messages[first + 1].content);
        memmove(c->messages + first, c->messages + first + 2, (c->n - first - 2) * sizeof *c->messages);
        c->n -= 2;
    }
}

static bool answer(struct chat *c, struct gm_error *err)
{
    struct id_list ids = {0};
    struct generated result = {0};
    int32_t stop_ids[8];
    int n_stop = (int)chat_stop_ids(c->s->tpl, c->s->tokenizer, stop_ids);
    bool ok = fit(c, &ids, err);
    struct generate_request request = {.prompt = ids.ids, .n_prompt = (int)ids.n, .lora = c->s->lora, .sampling = c->sampling,
                                       .stop_ids = stop_ids, .n_stop_ids = n_stop};
    struct generate_hooks hooks = {.text = c->g->json ? NULL : stream_text, .cancel = &c->cancel};
    atomic_store(&c->cancel, false);
    signals_on_interrupt(&c->cancel);
    ok = ok && generator_run(c->generator, &c->s->compute, &request, 1, &result, &hooks, err);
    signals_on_interrupt(NULL);
    if (signals_caught() == SIGINT && !c->piped)
        signals_clear();
    if (ok && c->g->json) {
        cli_print_json(session_generated_json(c->s, &result, c->messages[c->n - 1].content));
    } else if (ok) {
        printf("\n");
        fflush(stdout);
        struct str counts = {0};
        cli_counts(&counts, &result.verdict);
        cli_note(c->g, "[%s  %s  %d token%s%s  %.2f s%s]", str_text(&counts), cli_verdict_word(&result.verdict), result.n_tokens, result.n_tokens == 1 ? "" : "s",
                 result.stop == STOP_LENGTH ? ", cut" : "", result.seconds, result.stop == STOP_CANCELLED ? "  stopped" : "");
        str_free(&counts);
    }
    if (ok) {
        add_message(c, "assistant", result.text);
        c->sampling.seed++;
        generated_free(&result);
    }
    id_list_free(&ids);
    return ok;
}

/* A line that begins with a slash. False: the chat ends. */
static bool carry_out(struct chat *c, const char *line, bool *again)
{
    char *end;
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/q") == 0)
        return false;
    if (strcmp(line, "/clear") == 0) {
        forget(c);
        cli_note(c->g, "-- forgotten");
    } else if (strncmp(line, "/temp ", 6) == 0) {
        float t = strtof(line + 6, &end);
        if (*end || end == line + 6 || !(t >= 0 && t <= 100))
            cli_note(c->g, "-- /temp takes a number from 0 to 100");
        else
            cli_note(c->g, "-- temperature %g (was %g)", (double)t, (double)c->sampling.temperature), c->sampling.temperature = t;
    } else if (strcmp(line, "/retry") == 0) {
        if (c->n > 0 && strcmp(c->messages[c->n - 1].role, "assistant") == 0) {
            drop_last(c);
            *again = true;
        } else {
            cli_note(c->g, "-- nothing to answer again");
        }
    } else {
        cli_note(c->g, "-- /temp T   /retry   /clear   /quit      Ctrl-C stops the answer, Ctrl-D leaves");
    }
    return true;
}

static char *next_line(struct chat *c, struct gm_error *err)
{
    if (!c->piped)
        return ask_line("> ");
    struct str line = {0};
    char *copy = cli_next_line(&line, err) ? strdup(str_text(&line)) : NULL;
    str_free(&line);
    return copy;
}

static bool talk(struct chat *c, struct gm_error *err)
{
    char *line;
    while (signals_caught() == 0 && (line = next_line(c, err))) {
        bool again = false, go_on = true;
        if (line[0] == '/')
            go_on = carry_out(c, line, &again);
        else if (!utf8_valid(line, strlen(line)))
            cli_note(c->g, "-- that line is not valid UTF-8");
        else if (*line)
            add_message(c, "user", line), again = true;
        free(line);
        if (!go_on)
            break;
        if (again && !answer(c, err)) {
            if (c->piped)
                return false;
            cli_note(c->g, "-- %s", err->text); /* a question too long, say: the next one may be better */
            *err = (struct gm_error){0};
            drop_last(c);
        }
    }
    return err->code == GM_OK;
}

static bool begin(struct chat *c, const char *system, int packed, int head, struct gm_error *err)
{
    int most = c->s->model->config.max_positions;
    c->context = most > 0 && most < CONTEXT_DEFAULT ? most : CONTEXT_DEFAULT;
    if (c->sampling.max_tokens >= c->context)
        c->sampling.max_tokens = c->context / 2;
    if (!system)
        system = c->s->system;
    if (system && *system)
        add_message(c, "system", system), c->has_system = true;
    c->generator = generator_new(c->s->model, c->s->tokenizer, 1, c->context, &c->s->compute, err);
    if (c->generator)
        generator_judge(c->generator, c->s->syllables, form_find("haiku"));
    if (c->generator) {
        generator_remember(c->generator, true); /* the conversation: model and adapter stay what they are */
        generator_packing(c->generator, packed);
        generator_int8_head(c->generator, head == 1);
    }
    return c->generator != NULL;
}

int command_chat(int argc, char **argv)
{
    struct general g = {0};
    struct sampling sampling = sampling_default();
    const char *model = NULL, *adapter = NULL, *system = NULL, *chat_template = NULL, *template_config = NULL;
    int status, packed = -1, head = 0;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &model, "MODEL", "folder, .gguf, hub id in the cache, or nano (default; with RUN as adapter: the run's)", 0, 0, NULL, NULL},
        {"--adapter", ARG_TEXT, &adapter, "ADAPTER", CLI_ADAPTER_HELP, 0, 0, NULL, NULL},
        {"--system", ARG_TEXT, &system, "TEXT", "system message", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(chat_template, template_config),
        CLI_SAMPLING_ARGS(sampling),
        CLI_PACKED_ARG(packed),
        CLI_HEAD_ARG(head),
        {0}};
    struct arg_spec spec = {.command = "chat", .positional = "[RUN]", .table = table, .max_words = 1, .mlx_lm = true,
                            .summary = "A conversation, with line editing and history on a terminal; from a pipe, a line is a turn."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    struct session s;
    struct session_options o = {.model = model, .adapter = adapter ? adapter : spec.words[0], .chat_template = chat_template,
                                .chat_template_config = template_config,
                                .needs_template = true, .needs_weights = true};
    sampling.seed = g.seed;
    if (!sampling_check(&sampling, &err) || !session_open(&s, &o, &g, &err))
        return cli_fail(&err);
    signals_install();
    struct chat c = {.s = &s, .g = &g, .sampling = sampling, .piped = !isatty(0) || !isatty(1)};
    if (!c.piped) {
        char *folder = cli_state_folder(), *file = folder ? path_join(folder, "history-chat") : NULL;
        ask_open(file);
        mem_free(folder);
        mem_free(file);
        cli_note(&g, "%s, adapter %s. /help lists commands.", s.model_name, s.adapter_name);
    }
    bool ok = begin(&c, system, packed, head, &err) && talk(&c, &err);
    if (!c.piped)
        ask_close();
    while (c.n > 0)
        drop_last(&c);
    mem_free(c.messages);
    generator_free(c.generator);
    session_close(&s);
    if (!ok)
        return cli_fail(&err);
    return cli_end(signals_caught() ? signals_exit(signals_caught()) : EXIT_DONE);
}

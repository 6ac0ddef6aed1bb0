/* The files that a chat is made by: tokenizer_config.json, "%%%%", chat_template.jinja, "%%%%", generation_config.json, "%%%%", special_tokens_map.json,
 * "%%%%", messages as a file of chats has them, "%%%%", variables. The tokenizer is the built-in model's. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/model_source.h"
#include "engine/text/chat_template.h"

#include <assert.h>

const char *const FUZZ_WORDS[] = {
    "%%%%\n", "\"chat_template\":", "[{\"name\":\"default\",\"template\":\"", "\"bos_token\":", "\"eos_token\":", "\"pad_token\":null", "{\"content\":\"<|im_end|>\",\"lstrip\":true,\"special\":true}", "\"added_tokens_decoder\":{\"2\":",
    "\"eos_token_id\":[1,2]", "\"eos_token_id\":-1", "\"role\":\"assistant\"", "\"role\":\"tool\"", "\"tool_calls\":[", "\"content\":[{\"type\":\"text\",\"text\":\"x\"}]", "<|im_start|>", "<|im_end|>", "{% for m in messages %}", "{% endfor %}",
    "{{ m['content'] }}", "{{ m.content | trim }}", "{% if add_generation_prompt %}", "{% endif %}", "{{ bos_token }}", "loop.last", "raise_exception('x')", "strftime_now('%Y')", NULL};

static void use(const struct chat_template *tpl, const struct tokenizer *t, const struct fuzz_part *chat)
{
    static const struct chat_message talk[] = {{"system", "be brief"}, {"user", " Write <|im_end|> \xC3\xA9 "}, {"assistant", "rain\n"}, {"user", "more"}, {"assistant", "snow"}};
    struct gm_error err = {0};
    struct id_list ids = {0};
    struct str text = {0};
    uint8_t *supervised = NULL;
    int32_t stop[8];
    for (size_t k = 1; k <= 5; k++) {
        struct chat_spans spans = {0};
        if (!chat_render(tpl, talk, k, k % 2 == 0, &text, &spans, &err))
            assert(err.text[0]);
        chat_spans_free(&spans);
    }
    if (chat_encode(tpl, t, talk, 5, false, &ids, &supervised, &err))
        mem_free(supervised);
    chat_stop_ids(tpl, t, stop);
    chat_rewrites_turns(tpl);
    json_t *messages = json_parse((const char *)chat->data, chat->size, "fuzz", &err);
    if (messages) {
        text.len = 0;
        chat_encode_json(tpl, t, messages, NULL, true, false, &text, &ids, &err);
        chat_encode_json(tpl, t, messages, messages, false, true, &text, &ids, &err);
    }
    json_decref(messages);
    str_free(&text);
    id_list_free(&ids);
}

static struct tokenizer *tokenizer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct gm_error err = {0};
    struct model_source nano;
    bool ok = model_source_open_tokenizer(&nano, "nano", &err) && (tokenizer = tokenizer_open(&nano, &err));
    model_source_close(&nano);
    return !ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const NAMES[] = {"tokenizer_config.json", "chat_template.jinja", "generation_config.json", "special_tokens_map.json"};
    struct fuzz_part part[6];
    struct gm_error err = {0};
    struct model_source s;
    fuzz_file("tokenizer.json", "{}", 2); /* by which the folder is known as one */
    fuzz_parts(data, size, part, 6);
    for (int i = 0; i < 4; i++)
        fuzz_file(NAMES[i], part[i].data, part[i].size);
    if (!model_source_open_tokenizer(&s, fuzz_folder(), &err))
        return 0;
    struct chat_template *tpl = chat_template_open(&s, tokenizer, NULL, &err);
    char *variables = mem_copy_n((const char *)part[5].data, part[5].size);
    if (tpl && part[5].size > 0)
        chat_template_set_variables(tpl, variables, &err);
    mem_free(variables);
    if (tpl)
        use(tpl, tokenizer, &part[4]);
    else
        assert(err.text[0]);
    chat_template_free(tpl);
    model_source_close(&s);
    return 0;
}

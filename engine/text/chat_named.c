/* chat_named.c - chat templates by name: texts of our own that give the bytes of the published
 * ones, for models that come without a template. */
#include "engine/text/chat_private.h"

#include <string.h>

static const struct chat_named list[] = {
    {
        .name = "gemma3",
        .text = "{{ bos_token }}{% set turns = messages %}{% set opening = '' %}{% if "
                "messages[0]['role'] == 'system' %}"
                "{% set turns = messages[1:] %}{% set opening = messages[0]['content'] + '\n\n' "
                "%}{% endif %}{% for turn in turns %}"
                "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                "{{ raise_exception('Conversation roles must alternate "
                "user/assistant/user/assistant/...') }}{% endif %}"
                "{{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) "
                "+ '\n' }}"
                "{% if loop.first %}{{ opening }}{% endif %}{{ (turn['content'] | trim) + "
                "'<end_of_turn>\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        .marks = {"<start_of_turn>", "<end_of_turn>"},
    },
    {
        .name = "gemma2",
        .text = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
                "{{ raise_exception('System role not supported') }}{% endif %}"
                "{% for turn in messages %}"
                "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                "{{ raise_exception('Conversation roles must alternate "
                "user/assistant/user/assistant/...') }}{% endif %}"
                "{{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) "
                "+ '\n' + (turn['content'] | trim) + '<end_of_turn>\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        .marks = {"<start_of_turn>", "<end_of_turn>"},
    },
    {
        .name = "zephyr",
        .text = "{% for turn in messages %}{% if turn['role'] in ['system', 'user', 'assistant'] %}"
                "{{ '<|' + turn['role'] + '|>\n' + turn['content'] + eos_token + '\n' }}{% endif "
                "%}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    },
    {
        .name = "smollm2",
        .text = "{% if messages[0]['role'] != 'system' %}"
                "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
                "Hugging Face<|im_end|>\n' }}{% endif %}"
                "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + "
                "turn['content'] + '<|im_end|>\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        .marks = {"<|im_start|>", "<|im_end|>"},
    },
    {
        .name = "chatml",
        .text = "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + "
                "turn['content'] + '<|im_end|>\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        .marks = {"<|im_start|>", "<|im_end|>"},
    },
    {
        .name = "llama3",
        .text = "{{ bos_token }}{% for turn in messages %}"
                "{{ '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\n\n' + "
                "(turn['content'] | trim) + '<|eot_id|>' }}{% endfor %}"
                "{% if add_generation_prompt %}"
                "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        .marks = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
    },
    {
        .name = "phi3",
        .text = "{% for turn in messages %}{% if turn['role'] in ['user', 'assistant'] or "
                "(turn['role'] == 'system' and turn['content']) %}"
                "{{ '<|' + turn['role'] + '|>\n' + turn['content'] + '<|end|>\n' }}{% endif %}"
                "{% endfor %}"
                "{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
        .marks = {"<|user|>", "<|assistant|>", "<|end|>"},
    },
};

const struct chat_named *chat_named(const char *name)
{
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

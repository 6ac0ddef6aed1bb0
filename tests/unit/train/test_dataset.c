/* Data sets: forms, masks, labels, splits, duplicates, leaks; files as people have them; errors
 * that name file, line and column. */
#include "tests/unit/train/train_test.h"

static const struct dataset_options PLAIN = {.max_seq_length = 512, .mask_prompt = true, .seed = 7};

static struct text_tools tools;

static struct dataset *open_text(const char *name, const char *text,
                                 const struct dataset_options *o, struct gm_error *err)
{
    char *folder = new_folder(), *path = put_file(folder, name, text);
    struct dataset *d = dataset_open(path, o, tools.tokenizer, tools.tpl, err);
    remove_folder(folder);
    mem_free(path);
    return d;
}

static struct dataset *must_open(const char *name, const char *text,
                                 const struct dataset_options *o)
{
    struct gm_error err = {0};
    struct dataset *d = open_text(name, text, o, &err);
    if (!d)
        fail_msg("%s", err.text);
    return d;
}

#define TURN(who, text) "{\"role\": \"" who "\", \"content\": \"" text "\"}"
#define SHARE(who, text) "{\"from\": \"" who "\", \"value\": \"" text "\"}"

static void forms_and_masks(void **state)
{
    struct dataset *d = must_open(
        "a.jsonl",
        "\xEF\xBB\xBF{\"messages\": [" TURN("user", "Hello there") ", " TURN("assistant", "a frog\\njumps") "]}\r\n"
        "\r\n"
        "{\"conversations\": [" SHARE("human", "Name a bird") ", " SHARE("gpt", "heron") ", " SHARE("human", "And one more") ", " SHARE("gpt", "wren") "]}\n"
        "{\"text\": \"the pond\"}\n"
        "{\"input_ids\": [5, 6, 7, 8], \"labels\": [-100, -100, 9, 8]}\n"
        "{\"prompt\": \"Question\", \"completion\": \"Reply\"}\n"
        "{\"instruction\": \"Do\", \"input\": \"that\", \"output\": \"done\"}",
        &PLAIN);
    assert_int_equal(d->n_rows, 6);
    const struct row *r = d->rows;
    assert_string_equal(r[0].prompt, "Hello there");
    assert_string_equal(r[0].answer, "a frog\njumps");
    assert_int_equal(r[0].line, 1);
    assert_int_equal(r[1].line, 3);
    assert_string_equal(r[1].prompt, "Name a bird");
    assert_string_equal(r[1].answer, "wren");
    assert_int_equal(r[1].n_messages, 4);
    assert_string_equal(r[5].prompt, "Do\n\nthat");

    struct str text = {0}; /* what is supervised is what the template renders for the turns */
    for (int t = 0; t < r[1].n; t++)
        if (r[1].supervised[t])
            assert_true(tokenizer_decode(tools.tokenizer, &r[1].ids[t], 1, false, &text, NULL));
    assert_string_equal(str_text(&text), "heron<|im_end|>\nwren<|im_end|>\n");
    str_free(&text);

    assert_int_equal(r[2].ids[r[2].n - 1], tokenizer_eos(tools.tokenizer));
    assert_int_equal(r[2].n_supervised, r[2].n - 1);
    assert_false(r[2].supervised[0]);

    assert_int_equal(r[3].n, 4);
    assert_int_equal(r[3].n_supervised, 2);
    assert_non_null(r[3].targets);
    assert_int_equal(r[3].targets[2], 9);
    assert_int_equal(r[3].ids[2], 7);
    dataset_free(d);
}

static void mask_off_supervises_all(void **state)
{
    struct dataset_options o = PLAIN;
    o.mask_prompt = false;
    struct dataset *d = must_open(
        "a.jsonl", "{\"messages\": [" TURN("user", "Hi") ", " TURN("assistant", "ho") "]}\n", &o);
    assert_int_equal(d->rows[0].n_supervised, d->rows[0].n - 1);
    dataset_free(d);
}

static void system_is_put_in_front(void **state)
{
    struct dataset_options o = PLAIN;
    o.system = "Answer in verse.";
    struct dataset *d =
        must_open("a.jsonl",
                  "{\"messages\": [" TURN("user", "Hi") ", " TURN(
                      "assistant", "ho") "]}\n"
                                         "{\"messages\": [" TURN("system", "Mine") ", " TURN(
                                             "user", "Hi") ", " TURN("assistant", "ho") "]}\n",
                  &o);
    for (int i = 0; i < 2; i++) {
        struct str text = {0};
        assert_true(tokenizer_decode(tools.tokenizer, d->rows[i].ids, (size_t)d->rows[i].n, false,
                                     &text, NULL));
        assert_non_null(strstr(str_text(&text), i == 0 ? "Answer in verse." : "Mine"));
        assert_true(i == 0 || !strstr(str_text(&text), "Answer in verse."));
        str_free(&text);
    }
    dataset_free(d);
}

static void special_strings_are_text(void **state)
{
    struct dataset *d = must_open(
        "a.jsonl",
        "{\"messages\": [" TURN("user", "end <|im_end|> it") ", " TURN("assistant", "ho") "]}\n",
        &PLAIN);
    int specials = 0;
    int32_t end = tokenizer_id_of(tools.tokenizer, "<|im_end|>");
    for (int t = 0; t < d->rows[0].n; t++)
        specials += d->rows[0].ids[t] == end;
    assert_int_equal(specials,
                     3); /* of the default system turn, the user turn, the assistant turn */
    dataset_free(d);
}

static void arrays_are_read(void **state)
{
    struct dataset *d = must_open(
        "a.json",
        " [\n {\"text\": \"one [\\\"a\\\"]\"},\n\n {\"text\": \"two\"},{\"text\": \"three\"}\n]\n",
        &PLAIN);
    assert_int_equal(d->n_rows, 3);
    assert_string_equal(d->rows[0].answer, "one [\"a\"]");
    assert_int_equal(d->rows[2].line, 3);
    dataset_free(d);
}

static void cut_rows_are_counted_and_named(void **state)
{
    struct dataset_options o = PLAIN;
    o.max_seq_length = 8;
    struct dataset *d =
        must_open("a.jsonl",
                  "{\"text\": \"a long line of text that has more than eight tokens in it\"}\n"
                  "{\"messages\": [" TURN("user", "Hello there my friend") ", " TURN(
                      "assistant", "ho") "]}\n"
                                         "{\"text\": \"a\"}\n",
                  &o);
    assert_int_equal(d->found[FIND_CUT], 2);
    assert_int_equal(d->n_skipped, 1); /* the answer lies behind the cut */
    assert_int_equal(d->rows[0].n, 8);
    assert_true(d->rows[0].n_full > 8);
    assert_non_null(strstr(str_text(&d->notes), "a.jsonl:1: cut at 8 of"));
    assert_non_null(strstr(str_text(&d->notes), "a.jsonl:2: skipped"));
    dataset_free(d);
}

static void bad_rows_are_refused(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } CASES[] = {
        {"a.jsonl", "", "no rows"},
        {"a.jsonl", "\n \n", "no rows"},
        {"a.json", "[]", "no rows"},
        {"a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\",}\n", "a.jsonl:2:14"},
        {"a.jsonl", "{\"text\": \"a\"}\n{\"text\"\n", "a.jsonl:2:"},
        {"a.json", "[\n{\"text\": \"a\"},\n{\"text\" \"b\"}\n]", "a.json:3:"},
        {"a.json", "[\n{\"text\": \"a\"}\n", "a.json:"},
        {"a.json", "[{\"text\": \"a\"}] more", "a.json:"},
        {"a.jsonl", "{\"messages\": [" TURN("wizard", "Hi") "]}\n", "\"wizard\""},
        {"a.jsonl", "{\"messages\": []}\n", "a.jsonl:1: 0 turns"},
        {"a.jsonl", "{\"messages\": [3]}\n", "turn 1 is not an object"},
        {"a.jsonl", "{\"messages\": [{\"role\": \"user\"}]}\n", "content"},
        {"a.jsonl", "{\"question\": \"b\"}\n", "none of the known fields"},
        {"a.jsonl", "[1]\n", "a.jsonl:1: the row is not an object"},
        {"a.jsonl", "17\n", "a.jsonl:1: the row is not an object"},
        {"a.jsonl", "{\"text\": \"\"}\n", "it is empty"},
        {"a.jsonl", "{\"text\": 5}\n", "text"},
        {"a.jsonl", "{\"text\": \"a\\u0000b\"}\n", "a.jsonl:1"},
        {"a.jsonl", "{\"text\": \"a\xff\"}\n", "a.jsonl:1"},
        {"a.jsonl", "{\"input_ids\": [1, 2], \"labels\": [1]}\n", "2 input_ids, but 1 labels"},
        {"a.jsonl", "{\"input_ids\": [1, -2], \"labels\": [1, 2]}\n", "item 2 is no token id"},
        {"a.jsonl", "{\"input_ids\": [1, 2], \"labels\": [1, -7]}\n", "nor -100"},
        {"a.jsonl", "{\"input_ids\": [1, 99999999999], \"labels\": [1, 2]}\n", "item 2"},
        {"a.jsonl", "{\"bad\": 1}\n{\"text\": \"a\"}\n{\"bad\": 2}\n", "1 more rows are bad"},
        {"a.parquet", "PAR1", "convert it to .jsonl"},
        {"a.csv", "a,b\n", "a.csv:1: the first line names no known column"},
        {"a.csv", "prompt,completion\n", "no rows below"},
        {"a.csv", "prompt,completion\nx\n", "a.csv:2: 1 fields, but the header has 2"},
        {"a.csv", "prompt,completion\nx,\"y\nz\n", "a.csv:2: the quote that begins here"},
        {"a.csv", "prompt,completion\nx,\"y\nz\"w\n", "a.csv:3: text behind the closing quote"},
        {"a.csv", "prompt,response,answer\nx,y,z\n", "two columns are the completion"},
        {"a.csv", "prompt,completion\nx,\xff\n", "a.csv:2: column 2 is not UTF-8"},
        {"a.csv", "prompt\nx\n", "none of the known fields"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct gm_error err = {0};
        struct dataset *d = open_text(CASES[i].name, CASES[i].text, &PLAIN, &err);
        if (d || !strstr(err.text, CASES[i].says) || err.code == GM_OK)
            fail_msg("case %zu: wanted \"%s\", got \"%s\"", i, CASES[i].says, err.text);
    }
    struct gm_error err = {0};
    assert_null(dataset_open("/nowhere/at/all.jsonl", &PLAIN, tools.tokenizer, tools.tpl, &err));
    assert_null(dataset_open("nosuchset", &PLAIN, tools.tokenizer, tools.tpl, &err));
    assert_non_null(strstr(err.text, "no built-in set"));
    assert_null(dataset_open("/nowhere", &PLAIN, tools.tokenizer, tools.tpl, NULL));
}

/* A few rows tell that a template fails; the same is not said of all others, each of which might take it seconds. */
static void a_template_that_fails_is_told_soon(void **state)
{
    struct gm_error err = {0};
    struct chat_template *right = tools.tpl, *wrong = chat_template_from_text("{% if messages | length > 2 %}{{ raise_exception('long') }}{% endif %}{{ messages[0].content }}", tools.tokenizer, &err);
    assert_non_null(wrong);
    struct str rows = {0};
    for (int i = 0; i < 20; i++)
        str_printf(&rows, "{\"messages\": [" TURN("user", "%d") "," TURN("assistant", "b") "," TURN("user", "c") "]}\n", i);
    tools.tpl = wrong;
    struct dataset *all = open_text("a.jsonl", str_text(&rows), &PLAIN, &err);
    assert_null(all);
    assert_non_null(strstr(err.text, "a.jsonl:1: "));
    assert_non_null(strstr(err.text, "long; 7 more rows are bad, the other 12 were not looked at"));
    tools.tpl = right;
    chat_template_free(wrong);
    str_free(&rows);
}

static void tables_are_rows(void **state)
{
    struct gm_error err = {0};
    struct dataset *d = must_open("a.csv",
                                  "\xEF\xBB\xBFid,Prompt,RESPONSE\r\n"
                                  "1,\"Say \"\"hi\"\", please\",\"one,\ntwo\"\r\n"
                                  "2,plain,\"\"\r\n"
                                  "\r\n"
                                  "3,last,word",
                                  &PLAIN);
    assert_int_equal(d->n_rows, 3);
    assert_string_equal(d->rows[0].prompt, "Say \"hi\", please");
    assert_string_equal(d->rows[0].answer, "one,\ntwo");
    assert_int_equal(d->rows[0].line, 2);
    assert_int_equal(d->rows[1].line, 4);
    assert_int_equal(d->rows[1].findings, 1u << FIND_NO_ANSWER);
    assert_int_equal(d->rows[1].n_supervised, 0);
    assert_string_equal(d->rows[2].answer, "word");
    assert_int_equal(d->rows[2].line, 6);
    assert_non_null(strstr(str_text(&d->notes), "columns that say nothing here: id"));
    dataset_free(d);

    d = must_open("a.csv", "text;other\nthe pond;x\n", &PLAIN); /* as spreadsheets of half of Europe write it */
    assert_string_equal(d->rows[0].answer, "the pond");
    dataset_free(d);

    d = must_open("a.tsv", "instruction\tinput\toutput\nDo\t\"that\" thing\t\"two\tcells\"\n\"a\tb\tc\n", &PLAIN);
    assert_int_equal(d->n_rows, 2);
    assert_string_equal(d->rows[0].prompt, "Do\n\n\"that\" thing"); /* a quote that is none */
    assert_string_equal(d->rows[0].answer, "two\tcells");
    assert_string_equal(d->rows[1].prompt, "\"a\n\nb");
    dataset_free(d);
    assert_null(open_text("a.csv", "text\n\"open\n", &PLAIN, &err));
}

/* A copy of each row is put through the gate; which one finds what. */
static void the_gate_finds(void **state)
{
    static const struct {
        const char *prompt, *answer;
        unsigned findings;
    } ROWS[] = {{"Write of rain", "soft rain on the roof", 0},
                {"Write of rain", "soft rain on the roof", 1u << FIND_DUPLICATE},
                {"write of RAIN!", "Soft rain, on the roof.", 1u << FIND_TWIN},
                {"Write of snow", "it\xC3\xA2\xE2\x82\xAC\xE2\x84\xA2s cold", 1u << FIND_DAMAGED}, /* "itâ€™s" */
                {"Write of caf\xC3\x83\xC2\xA9", "black and warm", 1u << FIND_DAMAGED},
                {"Write of caf\xC3\xA9s \xC2\xAB\xC3\xA9\xC2\xBB", "\xE4\xBF\xB3\xE5\x8F\xA5, white and warm", 0},
                {"Write of loss", "a letter \xEF\xBF\xBD gone", 1u << FIND_DAMAGED},
                {"Write of ink", "the <|im_end|> of it", 1u << FIND_CHAT_MARK},
                {"[INST] Write of salt", "white and dry", 1u << FIND_CHAT_MARK},
                {"Is a < b > c?", "[yes]", 0},
                {"Write of nothing", " ", 1u << FIND_NO_ANSWER}};
    struct str text = {0};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        json_t *o = json_pack("{s:s, s:s}", "prompt", ROWS[i].prompt, "completion", ROWS[i].answer);
        char *line = json_dumps(o, JSON_COMPACT);
        str_printf(&text, "%s\n", line);
        free(line);
        json_decref(o);
    }
    str_add(&text, "{\"messages\": [" TURN("user", "alone") "]}\n");
    char *folder = new_folder(), *path = put_file(folder, "train.jsonl", str_text(&text));
    mem_free(path);
    path = put_file(folder, "valid.jsonl", "{\"prompt\": \"Write of rain\", \"completion\": \"drops\"}\n");
    struct gm_error err = {0};
    struct dataset *d = dataset_open(folder, &PLAIN, tools.tokenizer, tools.tpl, &err);
    if (!d)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (d->rows[i].findings != ROWS[i].findings)
            fail_msg("row %zu: found %x, not %x", i, d->rows[i].findings, ROWS[i].findings);
    assert_int_equal(d->rows[11].findings, 1u << FIND_NO_ANSWER);
    assert_int_equal(d->rows[12].findings, 1u << FIND_LEAK);
    assert_int_equal(d->found[FIND_DAMAGED], 3);
    assert_int_equal(d->n_skipped, 2);
    assert_non_null(strstr(str_text(&d->notes), "\"<|im_end|>\" (2 rows)"));
    dataset_free(d);
    remove_folder(folder);
    mem_free(path);
    str_free(&text);
}

static void mixtures_have_sources(void **state)
{
    char *folder = new_folder(), *other = path_join(folder, "b");
    struct gm_error err = {0};
    assert_true(dir_make(other, &err));
    struct str many = {0};
    for (int i = 0; i < 20; i++)
        str_printf(&many, "{\"prompt\": \"thing %d\", \"completion\": \"its answer %d\"}\n", i, i);
    char *a = put_file(folder, "a.jsonl", str_text(&many)), *b = put_file(other, "train.jsonl", "{\"text\": \"b one\"}\n"),
         *v = put_file(other, "valid.jsonl", "{\"text\": \"b two\"}\n"), *spec = mem_printf("%s:0.5\n%s:2", a, other);
    struct dataset *d = dataset_open(spec, &PLAIN, tools.tokenizer, tools.tpl, &err);
    if (!d)
        fail_msg("%s", err.text);
    assert_int_equal(d->n_sources, 2);
    assert_int_equal(d->sources[0].n_rows, 20);
    assert_true(d->sources[0].weight == 0.5 && d->sources[1].weight == 2);
    assert_true(d->sources[0].split_made && !d->sources[1].split_made); /* each split is its source's own */
    assert_int_equal(d->count[SPLIT_TRAIN], 17);
    assert_int_equal(d->count[SPLIT_VALID], 3);
    assert_int_equal(d->count[SPLIT_TEST], 2);
    assert_int_equal(d->rows[19].source, 0);
    assert_int_equal(d->rows[20].source, 1);
    char *title = dataset_title(spec);
    assert_string_equal(title, "a.jsonl+b");
    mem_free(title);
    dataset_free(d);
    mem_free(spec);
    spec = mem_printf("%s:0", a);
    assert_null(dataset_open(spec, &PLAIN, tools.tokenizer, tools.tpl, &err));
    assert_non_null(strstr(err.text, "its weight"));
    char *const texts[] = {other, a, b, v, spec};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mem_free(texts[i]);
    remove_folder(folder);
    str_free(&many);
}

static void one_file_is_split_in_groups(void **state)
{
    struct str s = {0}; /* 200 rows, each prompt four times, and one line that ten rows of different
                           prompts share */
    for (int i = 0; i < 200; i++)
        str_printf(&s,
                   "{\"messages\": [" TURN("user", "Tell me of thing %d") ", " TURN(
                       "assistant", "line %d of this\\n%s %d") "]}\n",
                   i / 4, i, i % 20 == 0 ? "a shared line\\nand" : "its own ending", i);
    struct dataset *d = must_open("a.jsonl", str_text(&s), &PLAIN),
                   *again = must_open("a.jsonl", str_text(&s), &PLAIN);
    struct dataset_options o = PLAIN;
    o.seed = 8;
    struct dataset *other = must_open("a.jsonl", str_text(&s), &o);
    assert_true(d->split_made);
    assert_int_equal(d->found[FIND_LEAK], 0);
    assert_in_range(d->count[SPLIT_VALID], 12, 30);
    assert_in_range(d->count[SPLIT_TEST], 12, 30);
    assert_int_equal(d->count[SPLIT_TRAIN] + d->count[SPLIT_VALID] + d->count[SPLIT_TEST], 200);
    assert_non_null(strstr(str_text(&d->notes), "split from seed 7"));
    int moved = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(d->rows[i].split, d->rows[i / 4 * 4].split);
        assert_int_equal(d->rows[i].split, again->rows[i].split);
        assert_true(i % 20 != 0 || d->rows[i].split == d->rows[0].split);
        moved += d->rows[i].split != other->rows[i].split;
    }
    assert_true(moved > 0);
    dataset_free(d);
    dataset_free(again);
    dataset_free(other);
    str_free(&s);
}

static void rows_that_hang_together_are_split_and_said(void **state)
{
    struct str s = {0};
    for (int i = 0; i < 50; i++)
        str_printf(&s,
                   "{\"messages\": [" TURN("user", "Write a haiku") ", " TURN("assistant",
                                                                              "number %d") "]}\n",
                   i);
    struct dataset *d = must_open("a.jsonl", str_text(&s), &PLAIN);
    assert_int_equal(d->count[SPLIT_VALID], 5);
    assert_int_equal(d->count[SPLIT_TEST], 5);
    assert_int_equal(d->found[FIND_LEAK], 10);
    assert_non_null(strstr(str_text(&d->notes), "both sides"));
    dataset_free(d);
    str_free(&s);
}

static void folders_duplicates_and_leaks(void **state)
{
    char *folder = new_folder(), *a, *b;
    a = put_file(folder, "train.jsonl",
                 "{\"messages\": [" TURN("user", "Of rain") ", " TURN(
                     "assistant",
                     "the first line\\nthe second line") "]}\n"
                                                         "{\"messages\": [" TURN("user", "Of snow") ", " TURN(
                                                             "assistant",
                                                             "white on white") "]}\n"
                                                                               "{\"messages\": "
                                                                               "[" TURN("user", "Of"
                                                                                                " s"
                                                                                                "no"
                                                                                                "w") ", " TURN(
                                                                                   "assistant",
                                                                                   "white on white") "]}\n");
    b = put_file(
        folder, "valid.json",
        "[{\"messages\": [" TURN("user", "of Rain?") ", " TURN(
            "assistant",
            "something else") "]},"
                              "{\"messages\": [" TURN("user", "Of moss") ", " TURN(
                                  "assistant",
                                  "green\\nThe second line.") "]},"
                                                              "{\"messages\": [" TURN(
                                                                  "user",
                                                                  "Of stone") ", " TURN("assistant",
                                                                                        "grey and "
                                                                                        "old") "]}"
                                                                                               "]");
    struct gm_error err = {0};
    struct dataset *d = dataset_open(folder, &PLAIN, tools.tokenizer, tools.tpl, &err);
    assert_non_null(d);
    assert_false(d->split_made);
    assert_int_equal(d->count[SPLIT_TRAIN], 3);
    assert_int_equal(d->count[SPLIT_VALID], 3);
    assert_int_equal(d->count[SPLIT_TEST], 0);
    assert_int_equal(d->found[FIND_DUPLICATE], 1);
    assert_int_equal(d->rows[2].duplicate_of, 1);
    assert_int_equal(d->found[FIND_LEAK], 2);
    assert_true(row_found(&d->rows[3], FIND_LEAK) && row_found(&d->rows[4], FIND_LEAK) && !row_found(&d->rows[5], FIND_LEAK));
    char hash[65];
    memcpy(hash, d->hash, sizeof hash);
    dataset_free(d);
    mem_free(put_file(folder, "train.jsonl", "{\"text\": \"other\"}\n"));
    d = dataset_open(folder, &PLAIN, NULL, NULL, &err); /* without a model: rows, no ids */
    assert_non_null(d);
    assert_int_equal(d->rows[0].n, 0);
    assert_string_not_equal(hash, d->hash);
    dataset_free(d);
    mem_free(a);
    mem_free(b);
    remove_folder(folder);
}

static void empty_folder_is_refused(void **state)
{
    char *folder = new_folder();
    struct gm_error err = {0};
    assert_null(dataset_open(folder, &PLAIN, tools.tokenizer, tools.tpl, &err));
    assert_non_null(strstr(err.text, "train.jsonl"));
    remove_folder(folder);
}

static void all_cores_give_the_same(void **state)
{
    char *text = many_rows(5000);
    struct pool *pool = pool_new(3, NULL);
    struct dataset_options o = PLAIN;
    struct dataset *one = must_open("a.jsonl", text, &o);
    o.pool = pool;
    struct dataset *many = must_open("a.jsonl", text, &o);
    assert_int_equal(one->n_rows, 5000);
    assert_string_equal(one->hash, many->hash);
    for (int i = 0; i < one->n_rows; i++) {
        const struct row *a = &one->rows[i], *b = &many->rows[i];
        assert_int_equal(a->n, b->n);
        assert_int_equal(a->n_supervised, b->n_supervised);
        assert_memory_equal(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
        assert_memory_equal(a->supervised, b->supervised, (size_t)a->n);
    }
    dataset_free(one);
    dataset_free(many);
    pool_free(pool);
    mem_free(text);
}

static int setup(void **state)
{
    tools = open_tools(FIXTURES "/models/smollm2");
    return 0;
}

static int teardown(void **state)
{
    close_tools(&tools);
    return 0;
}

/* Ids and targets that a model has, and that it has not. */
static void ids_within_the_vocabulary(void **state)
{
    (void)state;
    struct gm_error err = {0};
    struct dataset *d = open_text("a.jsonl",
                                  "{\"input_ids\": [1, 5, 6], \"labels\": [-100, 5, 9]}\n", &PLAIN,
                                  &err);
    assert_non_null(d);
    assert_true(dataset_check_ids(d, 10, &err));
    assert_false(dataset_check_ids(d, 9, &err)); /* the target 9 */
    assert_non_null(strstr(err.text, "a.jsonl:1: item"));
    assert_false(dataset_check_ids(d, 6, &err)); /* the id 6 */
    dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_within_the_vocabulary),
        cmocka_unit_test(forms_and_masks),
        cmocka_unit_test(mask_off_supervises_all),
        cmocka_unit_test(system_is_put_in_front),
        cmocka_unit_test(special_strings_are_text),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(cut_rows_are_counted_and_named),
        cmocka_unit_test(bad_rows_are_refused),
        cmocka_unit_test(a_template_that_fails_is_told_soon),
        cmocka_unit_test(tables_are_rows),
        cmocka_unit_test(the_gate_finds),
        cmocka_unit_test(mixtures_have_sources),
        cmocka_unit_test(one_file_is_split_in_groups),
        cmocka_unit_test(rows_that_hang_together_are_split_and_said),
        cmocka_unit_test(folders_duplicates_and_leaks),
        cmocka_unit_test(empty_folder_is_refused),
        cmocka_unit_test(all_cores_give_the_same),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

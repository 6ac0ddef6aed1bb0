/* hub_cache.c - org/name@revision -> models--ORG--NAME/refs/REVISION -> a commit -> snapshots/COMMIT. */
#include "engine/format/hub_cache.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MAX = 96, REVISION_MAX = 200 };

/* Branches, tags, "refs/pr/3", commits; no step upwards, no empty part. */
static bool revision_valid(const char *r)
{
    size_t n = strlen(r);
    for (const char *p = r; *p; p++) {
        bool plain = isalnum((unsigned char)*p) || *p == '-' || *p == '_';
        if (!plain && !((*p == '.' || *p == '/') && p > r && p[1] && p[1] != '.' && p[1] != '/'))
            return false;
    }
    return n > 0 && n <= REVISION_MAX;
}

bool hub_id_valid(const char *id)
{
    int slashes = 0, letters = 0;
    const char *p = id;
    for (; *p && *p != '@'; p++) {
        if (*p == '/') {
            if (letters == 0 || ++slashes > 1)
                return false;
            letters = 0;
        } else if (isalnum((unsigned char)*p) || *p == '-' || *p == '_' ||
                   (*p == '.' && letters > 0 && p[1] != '.')) {
            letters++;
        } else {
            return false;
        }
    }
    return letters > 0 && p - id <= ID_MAX && (!*p || revision_valid(p + 1));
}

char *hub_repository(const char *model)
{
    if (!hub_id_valid(model) || !strchr(model, '/') || path_exists(model))
        return NULL;
    return mem_copy_n(model, strcspn(model, "@"));
}

static const char *set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

/* A path from the environment, with its leading "~" and its $VARIABLES replaced; one that is not set stays as it stands. */
static char *expanded(const char *path)
{
    struct str out = {0};
    const char *home = set("HOME");
    if (path[0] == '~' && (path[1] == '/' || !path[1]) && home) {
        str_add(&out, home);
        path++;
    }
    while (*path) {
        size_t brace = path[0] == '$' && path[1] == '{', n = 0;
        while (path[0] == '$' && (isalnum((unsigned char)path[1 + brace + n]) || path[1 + brace + n] == '_'))
            n++;
        if (n > 0 && (!brace || path[2 + n] == '}')) {
            char *name = mem_copy_n(path + 1 + brace, n);
            const char *value = getenv(name);
            if (value)
                str_add(&out, value);
            else
                str_add_n(&out, path, 1 + n + 2 * brace);
            mem_free(name);
            path += 1 + n + 2 * brace;
        } else {
            str_add_char(&out, *path++);
        }
    }
    return str_take(&out);
}

static char *cache_folder(void)
{
    const char *cache = set("HF_HUB_CACHE");
    if (!cache)
        cache = set("HUGGINGFACE_HUB_CACHE");
    if (cache)
        return expanded(cache);
    const char *home = set("HF_HOME"), *xdg = set("XDG_CACHE_HOME");
    char *base = expanded(home ? home : xdg ? xdg : "~/.cache");
    char *folder = mem_printf("%s%s/hub", base, home ? "" : "/huggingface");
    mem_free(base);
    return folder;
}

/* The commit in refs/REVISION; the revision itself when there is no such file (the cache's own rule). */
static bool read_ref(const char *repo, const char *revision, char **commit, struct gm_error *err)
{
    char *refs = path_join(repo, "refs"), *path = path_join(refs, revision);
    struct str text = {0};
    bool ok = true;
    *commit = NULL;
    if (!file_exists(path)) {
        *commit = mem_copy(revision);
    } else if (file_read_all(path, 256, &text, err)) {
        size_t n = text.len;
        while (n > 0 && isspace((unsigned char)text.data[n - 1]))
            n--;
        size_t hex = strspn(str_text(&text), "0123456789abcdef");
        ok = n > 0 && n <= 64 && hex == n;
        if (ok)
            *commit = mem_copy_n(text.data, n);
        else
            error_set(err, GM_E_INPUT, "read %s: it holds no commit (download the model again)",
                      path);
        str_free(&text);
    } else {
        ok = false;
    }
    mem_free(path);
    mem_free(refs);
    return ok;
}

/* "org/name", "org/name --revision v1": what `hf download` takes. mem_free. */
static char *download_words(const char *id)
{
    const char *at = strchr(id, '@');
    return at ? mem_printf("%.*s --revision %s", (int)(at - id), id, at + 1) : mem_copy(id);
}

char *hub_cache_find(const char *id, struct gm_error *err)
{
    char *folder = cache_folder(), *found = NULL, *commit = NULL, *words = download_words(id);
    const char *at = strchr(id, '@');
    struct str name = {0};
    str_add(&name, "models--");
    for (const char *p = id; *p && *p != '@'; p++)
        str_add_n(&name, *p == '/' ? "--" : p, *p == '/' ? 2 : 1);
    char *repo = path_join(folder, str_text(&name));
    if (!dir_exists(repo)) {
        error_set(err, GM_E_INPUT,
                  "open %s: there is no such file or folder, and no such model in %s (check the "
                  "name, or download it with "
                  "`hf download %s`)",
                  id, folder, words);
    } else if (read_ref(repo, at ? at + 1 : "main", &commit, err)) {
        char *snapshots = path_join(repo, "snapshots");
        found = path_join(snapshots, commit);
        mem_free(snapshots);
        if (!dir_exists(found)) {
            error_set(err, GM_E_INPUT,
                      "open %s: %s is not there (download it again with `hf download %s`)", id,
                      found, words);
            mem_free(found);
            found = NULL;
        }
    }
    mem_free(words);
    mem_free(commit);
    mem_free(repo);
    str_free(&name);
    mem_free(folder);
    return found;
}

/* A link whose blob is not there, or not yet: its name (mem_free), or NULL. */
static char *missing_file(const char *folder, bool *any_weights)
{
    char **names, *missing = NULL;
    size_t n;
    if (!dir_list(folder, &names, &n, NULL))
        return NULL;
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(folder, names[i]);
        if (!missing && !path_exists(path))
            missing = mem_copy(names[i]);
        *any_weights = *any_weights || (strncmp(names[i], "model", 5) == 0 && strstr(names[i], ".safetensors")) ||
                       strstr(names[i], ".gguf") || text_ends(names[i], ".bin");
        mem_free(path);
        mem_free(names[i]);
    }
    mem_free(names);
    return missing;
}

bool hub_cache_whole(const char *snapshot, const char *id, struct gm_error *err)
{
    bool any_weights = false;
    char *missing = missing_file(snapshot, &any_weights), *words = download_words(id);
    bool ok = !missing && any_weights;
    if (missing)
        error_set(err, GM_E_INPUT,
                  "open %s: its snapshot in the cache is not whole: %s was not downloaded to its end "
                  "(finish it with `hf download %s`)",
                  id, missing, words);
    else if (!ok)
        error_set(err, GM_E_INPUT,
                  "open %s: its snapshot in the cache, %s, holds no weights (finish it with `hf download %s`)", id,
                  snapshot, words);
    mem_free(missing);
    mem_free(words);
    return ok;
}

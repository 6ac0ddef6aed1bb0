/* hub_cache.c - models--ORG--NAME/refs/main -> a commit -> snapshots/COMMIT (huggingface_hub,
 * file_download.py). */
#include "engine/format/hub_cache.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool hub_id_valid(const char *id)
{
    int slashes = 0, letters = 0;
    for (const char *p = id; *p; p++) {
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
    return letters > 0 && strlen(id) <= 96;
}

static const char *set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

/* A path from the environment, its leading "~" replaced. */
static char *expanded(const char *path)
{
    const char *home = set("HOME");
    return path[0] == '~' && (path[1] == '/' || !path[1]) && home
               ? mem_printf("%s%s", home, path + 1)
               : mem_copy(path);
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

/* The commit in refs/main; "main" itself when there is no such file (the cache's own rule). */
static bool read_ref(const char *repo, char **commit, struct gm_error *err)
{
    char *path = path_join(repo, "refs/main");
    struct str text = {0};
    bool ok = true;
    *commit = NULL;
    if (!file_exists(path)) {
        *commit = mem_copy("main");
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
    return ok;
}

char *hub_cache_find(const char *id, struct gm_error *err)
{
    char *folder = cache_folder(), *found = NULL, *commit = NULL;
    struct str name = {0};
    str_add(&name, "models--");
    for (const char *p = id; *p; p++)
        str_add_n(&name, *p == '/' ? "--" : p, *p == '/' ? 2 : 1);
    char *repo = path_join(folder, str_text(&name));
    if (!dir_exists(repo)) {
        error_set(err, GM_E_INPUT,
                  "open %s: there is no such file or folder, and no such model in %s (check the "
                  "name, or download it with "
                  "`hf download %s`)",
                  id, folder, id);
    } else if (read_ref(repo, &commit, err)) {
        char *snapshots = path_join(repo, "snapshots");
        found = path_join(snapshots, commit);
        mem_free(snapshots);
        if (!dir_exists(found)) {
            error_set(err, GM_E_INPUT,
                      "open %s: %s is not there (download it again with `hf download %s`)", id,
                      found, id);
            mem_free(found);
            found = NULL;
        }
    }
    mem_free(commit);
    mem_free(repo);
    str_free(&name);
    mem_free(folder);
    return found;
}

/* dir.c - directories: making them with their parents, listing, flushing, and removing a tree without following a link. */
#include "engine/base/file.h"

#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_one(const char *path, struct gm_error *err)
{
    if (mkdir(path, 0755) == 0)
        return true;
    int number = errno;
    if (dir_exists(path)) /* EEXIST, or EROFS and EACCES on a parent that is there already */
        return true;
    if (number == EEXIST)
        return error_set(err, GM_E_IO, "make directory %s: a file of that name is in the way (move it, or choose another name)", path);
    errno = number;
    return error_errno(err, "make directory %s", path);
}

bool dir_make(const char *path, struct gm_error *err)
{
    if (dir_exists(path))
        return true;
    char *part = mem_copy(path);
    bool ok = true;
    for (char *p = part + 1; ok && part[0] && *p; p++) {
        if (*p == '/') {
            *p = 0;
            ok = make_one(part, err);
            *p = '/';
        }
    }
    ok = ok && make_one(part, err);
    mem_free(part);
    return ok;
}

bool dir_sync(const char *path, struct gm_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "flush directory %s", path);
    bool ok = fsync(fd) == 0 || errno == EINVAL; /* EINVAL: a file system that has nothing to flush */
    if (!ok)
        error_errno(err, "flush directory %s", path);
    close(fd);
    return ok;
}

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names behind an open directory, unsorted. Closes `dir`. */
static bool read_names(DIR *dir, char ***names, size_t *count)
{
    char **list = NULL;
    size_t n = 0, cap = 0;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0) {
        if (is_dot(entry->d_name))
            continue;
        if (n == cap) {
            size_t more = cap ? cap * 2 : 16;
            list = mem_grow(list, cap, more, sizeof *list);
            cap = more;
        }
        list[n++] = mem_copy(entry->d_name);
    }
    int number = errno;
    closedir(dir);
    *names = list ? list : mem_new(1, sizeof *list);
    *count = n;
    errno = number;
    return number == 0;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
}

bool dir_list(const char *path, char ***names, size_t *count, struct gm_error *err)
{
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return error_errno(err, "list %s", path);
    if (!read_names(dir, names, count)) {
        error_errno(err, "list %s", path);
        free_names(*names, *count);
        *names = NULL;
        *count = 0;
        return false;
    }
    qsort(*names, *count, sizeof **names, by_bytes);
    return true;
}

/* Removes `name` in the directory `parent`; `shown` is its path for messages. O_NOFOLLOW: a link is removed, never entered. The names are read
 * before the first is removed, because what readdir gives while a directory changes is not defined. */
static bool remove_at(int parent, const char *name, const char *shown, struct gm_error *err)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP || errno == EMLINK)) {
        if (unlinkat(parent, name, 0) != 0)
            return error_errno(err, "remove %s", shown);
        return true;
    }
    if (fd < 0)
        return error_errno(err, "remove %s", shown);
    int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* read_names closes the other one */
    DIR *dir = kept < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        error_errno(err, "remove %s", shown);
        close(fd);
        if (kept >= 0)
            close(kept);
        return false;
    }
    char **names;
    size_t count;
    bool ok = read_names(dir, &names, &count) || error_errno(err, "remove %s", shown);
    for (size_t i = 0; ok && i < count; i++) {
        char *inner = path_join(shown, names[i]);
        ok = remove_at(kept, names[i], inner, err);
        mem_free(inner);
    }
    free_names(names, count);
    close(kept);
    if (ok && unlinkat(parent, name, AT_REMOVEDIR) != 0)
        ok = error_errno(err, "remove %s", shown);
    return ok;
}

bool dir_remove(const char *path, struct gm_error *err)
{
    char *name = path_trimmed(path); /* "link/" would mean the directory that the link leads to */
    struct stat st;
    bool ok;
    if (is_dot(path_base(name)) || strcmp(name, "/") == 0) /* "link/." leads through the link, too */
        ok = error_set(err, GM_E_USAGE, "remove %s: that is not a directory's own name (name the directory itself)", name);
    else if (lstat(name, &st) != 0)
        ok = errno == ENOENT || error_errno(err, "remove %s", name);
    else if (!S_ISDIR(st.st_mode))
        ok = error_set(err, GM_E_INPUT, "remove %s: it is not a directory (remove it by hand)", name);
    else
        ok = remove_at(AT_FDCWD, name, name, err);
    mem_free(name);
    return ok;
}

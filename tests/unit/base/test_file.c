/* Files: reading what may be read, replacing whole or not at all, locks between processes,
 * directories and links, hashes. */
#include "base_test.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static struct gm_error none; /* what an error was before anything failed */

static void put(const char *path, const char *text)
{
    struct gm_error err = none;
    if (!file_replace(path, text, strlen(text), &err))
        fail_msg("%s", err.text);
}

static void assert_holds(const char *path, const char *text)
{
    struct str s = {0};
    struct gm_error err = none;
    if (!file_read_all(path, 1 << 20, &s, &err))
        fail_msg("%s", err.text);
    assert_string_equal(str_text(&s), text);
    assert_int_equal(s.len, strlen(text));
    str_free(&s);
}

static size_t entries(const char *dir)
{
    char **names;
    size_t count;
    struct gm_error err = none;
    assert_true(dir_list(dir, &names, &count, &err));
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    return count;
}

static void assert_says(const struct gm_error *err, enum gm_code code, const char *a, const char *b)
{
    if (err->code != code || !strstr(err->text, a) || !strstr(err->text, b))
        fail_msg("code %d \"%s\", expected code %d, \"%s\" and \"%s\"", (int)err->code, err->text,
                 (int)code, a, b);
}

static void test_sha256(void **state)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {
        /* FIPS 180-4 examples and NIST's long message */
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrl"
         "mnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    static const char million[] =
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    char hex[65], *dir = temp_begin(), *path = path_join(dir, "f");
    uint64_t bytes;
    struct gm_error err = none;
    for (size_t i = 0; i < 4; i++) {
        sha256_bytes(cases[i].text, strlen(cases[i].text), hex);
        assert_string_equal(hex, cases[i].hex);
        put(path, cases[i].text);
        assert_true(sha256_file(path, hex, &bytes, &err));
        assert_string_equal(hex, cases[i].hex);
        assert_int_equal(bytes, strlen(cases[i].text));
    }
    char *a = mem_new(1000001, 1);
    memset(a, 'a', 1000000);
    sha256_bytes(a, 1000000, hex);
    assert_string_equal(hex, million);
    put(path, a);
    assert_true(sha256_file(path, hex, &bytes, &err));
    assert_string_equal(hex, million);
    mem_free(a);
    char *big = mem_new(3000000, 1), other[65]; /* more than one chunk of reading */
    for (int i = 0; i < 3000000; i++)
        big[i] = (char)(i * 7 >> 3);
    assert_true(file_replace(path, big, 3000000, &err) && sha256_file(path, hex, &bytes, &err));
    sha256_bytes(big, 3000000, other);
    assert_string_equal(hex, other);
    assert_int_equal(bytes, 3000000);
    mem_free(big);
    assert_false(sha256_file(dir, hex, NULL, &err));
    assert_says(&err, GM_E_INPUT, dir, "regular file");
    unlink(path);
    assert_false(sha256_file(path, hex, &bytes, &err));
    assert_says(&err, GM_E_IO, path, "No such file");
    mem_free(path);
    temp_end(dir);
}

/* Pieces of every kind of size round the writer's buffer come out as one. */
static void test_writer_pieces(void **state)
{
    static const size_t piece[] = {1,
                                   0,
                                   1000,
                                   (1 << 20) - 1001,
                                   1,
                                   (1 << 20) - 1,
                                   2,
                                   1 << 20,
                                   (1 << 20) + 1,
                                   3,
                                   (2 << 20) + 5};
    char *dir = temp_begin(), *path = path_join(dir, "f"), hex[65], expected[65];
    struct gm_error err = none;
    struct writer w;
    size_t total = 0;
    unsigned char *all = mem_new(8, 1 << 20);
    for (size_t i = 0; i < 8u << 20; i++)
        all[i] = (unsigned char)(i * 31 >> 7);
    assert_true(writer_open(&w, path, &err));
    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++) {
        writer_write(&w, all + total, piece[i]);
        total += piece[i];
        assert_int_equal(w.written, total);
    }
    assert_false(file_exists(path));
    assert_true(writer_commit(&w, &err));
    writer_abort(&w); /* after the end: nothing */
    sha256_bytes(all, total, expected);
    assert_true(sha256_file(path, hex, NULL, &err));
    assert_string_equal(hex, expected);
    assert_int_equal(entries(dir), 1);
    mem_free(all);
    mem_free(path);
    temp_end(dir);
}

static void test_writer(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "f");
    size_t live = mem_live_bytes();
    struct gm_error err = none;
    struct writer w, second;
    assert_true(writer_open(&w, path, &err));
    writer_write(&w, "never", 5);
    writer_abort(&w);
    writer_abort(&w);
    assert_int_equal(entries(dir), 0);
    put(path, "old");
    assert_true(writer_open(&w, path, &err));
    writer_write(&w, "new", 3);
    assert_holds(path, "old");
    assert_true(writer_open(&second, path, &err)); /* two at once do not meet */
    writer_write(&second, "second", 6);
    assert_true(writer_commit(&w, &err));
    assert_holds(path, "new");
    assert_true(writer_commit(&second, &err));
    assert_holds(path, "second");
    assert_int_equal(entries(dir), 1);
    assert_true(file_replace(path, NULL, 0, &err));
    assert_holds(path, "");
    assert_int_equal(mem_live_bytes(), live);
    mem_free(path);
    temp_end(dir);
}

/* A file that is its owner's alone stays so, and the longest name that the system takes is taken.
 */
static void test_writer_keeps(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "f"), name[256];
    struct stat st;
    put(path, "secret");
    assert_int_equal(chmod(path, 0600), 0);
    put(path, "another");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    memset(name, 'n', 255);
    name[255] = 0;
    char *longest = path_join(dir, name);
    put(longest, "old");
    put(longest, "new");
    assert_holds(longest, "new");
    assert_int_equal(entries(dir), 2);
    mem_free(longest);
    mem_free(path);
    temp_end(dir);
}

static void refused(const char *path, enum gm_code code, const char *says)
{
    struct gm_error err = none;
    struct writer w;
    size_t live = mem_live_bytes();
    assert_false(writer_open(&w, path, &err));
    assert_says(&err, code, path, says);
    writer_abort(&w);
    assert_false(file_replace(path, "x", 1, NULL));
    assert_int_equal(mem_live_bytes(), live);
}

static void test_writer_refused(void **state)
{
    char *dir = temp_begin(), *missing = path_join(dir, "no/f"), *slash = path_join(dir, ""),
         *file = path_join(dir, "f");
    char *under = path_join(file, "x");
    refused(missing, GM_E_IO, "No such file");
    refused(dir, GM_E_IO, "is a directory");
    refused(slash, GM_E_USAGE, "names a directory");
    refused("/dev/null", GM_E_IO, "not a regular file");
    put(file, "old");
    refused(under, GM_E_IO, "Not a directory");
    assert_holds(file, "old");
    assert_int_equal(entries(dir), 1);
    mem_free(missing);
    mem_free(slash);
    mem_free(under);
    mem_free(file);
    temp_end(dir);
}

/* No room: 64 KiB is all that this process may write into one file. */
static int write_too_much(void *path)
{
    struct rlimit limit = {1 << 16, 1 << 16};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    struct gm_error err = none;
    struct writer w;
    if (!writer_open(&w, path, &err))
        return 1;
    char *bytes = mem_new(3, 1 << 20);
    for (int i = 0; i < 30; i++)
        writer_write(&w, bytes, 100000); /* through the buffer */
    writer_write(&w, bytes, 3 << 20);    /* beside it */
    if (w.failed_errno != EFBIG)
        return 2;
    if (writer_commit(&w, &err) || err.code != GM_E_IO)
        return 3;
    if (!strstr(err.text, path) || !strstr(err.text, "File too large (raise"))
        return 4;
    err = none;
    if (file_replace(path, bytes, 100000, &err) ||
        err.code != GM_E_IO) /* seen only when the buffer is flushed at the end */
        return 5;
    return file_replace(path, "small", 5, &err) ? 0 : 6;
}

static int write_only_too_much(void *path)
{
    struct rlimit limit = {1 << 16, 1 << 16};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    char *bytes = mem_new(1, 1 << 20);
    return file_replace(path, bytes, 1 << 20, NULL) ? 1 : 0;
}

static void test_writer_no_room(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "f");
    put(path, "old");
    assert_int_equal(in_child(write_only_too_much, path), 0);
    assert_holds(path, "old");
    assert_int_equal(entries(dir), 1);
    assert_int_equal(in_child(write_too_much, path), 0);
    assert_holds(path, "small");
    assert_int_equal(entries(dir), 1);
    mem_free(path);
    temp_end(dir);
}

static void test_read(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "f"), *fifo = path_join(dir, "p");
    struct gm_error err = none;
    struct str s = {0};
    put(path, "twelve bytes");
    assert_true(file_read_all(path, 12, &s, &err));
    assert_int_equal(s.len, 12);
    str_add(&s, " and more");
    assert_string_equal(s.data, "twelve bytes and more");
    str_free(&s);
    size_t live = mem_live_bytes();
    assert_false(file_read_all(path, 11, &s, &err));
    assert_says(&err, GM_E_INPUT, path, "12 bytes");
    assert_int_equal(mem_live_bytes(), live);
    put(path, "");
    assert_true(file_read_all(path, 0, &s, &err));
    assert_string_equal(str_text(&s), "");
    str_free(&s);
    assert_false(file_read_all(dir, 100, &s, &err));
    assert_says(&err, GM_E_INPUT, dir, "directory");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_false(file_read_all(fifo, 100, &s, &err)); /* and does not wait */
    assert_says(&err, GM_E_INPUT, fifo, "not a regular file");
    assert_true(file_exists(fifo) && file_exists(path) && !file_exists(dir));
    assert_true(dir_exists(dir) && !dir_exists(path));
    if (file_exists("/proc/self/status")) { /* says 0 bytes and has more, as a file that grows */
        assert_false(file_read_all("/proc/self/status", 1 << 20, &s, &err));
        assert_says(&err, GM_E_INPUT, "/proc/self/status", "size changed");
    }
    unlink(path);
    assert_false(file_read_all(path, 100, &s, &err));
    assert_says(&err, GM_E_IO, path, "No such file");
    assert_false(file_exists(path));
    mem_free(path);
    mem_free(fifo);
    temp_end(dir);
}

static void test_mapping(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "f"), *fifo = path_join(dir, "p");
    size_t live = mem_live_bytes();
    struct gm_error err = none;
    struct mapping m;
    put(path, "mapped");
    assert_true(mapping_open(&m, path, &err));
    put(path, "another file under that name");
    assert_int_equal(m.size, 6);
    assert_memory_equal(m.data, "mapped", 6);
    assert_string_equal(m.path, path);
    mapping_close(&m);
    mapping_close(&m);
    assert_null(m.data);
    put(path, "");
    assert_true(mapping_open(&m, path, &err));
    assert_true(m.data == NULL && m.size == 0);
    mapping_close(&m);
    unlink(path);
    assert_false(mapping_open(&m, path, &err));
    assert_says(&err, GM_E_IO, path, "No such file");
    assert_null(m.path);
    assert_false(mapping_open(&m, dir, &err));
    assert_says(&err, GM_E_INPUT, dir, "directory");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_false(mapping_open(&m, fifo, &err));
    assert_says(&err, GM_E_INPUT, fifo, "not a regular file");
    mapping_close(&m);
    assert_int_equal(mem_live_bytes(), live);
    mem_free(path);
    mem_free(fifo);
    temp_end(dir);
}

static int take_busy(void *path)
{
    struct gm_error err = none;
    struct lock l;
    char pid[64];
    snprintf(pid, sizeof pid, "process %ld ", (long)getppid());
    if (lock_take(&l, path, &err))
        return 1;
    lock_release(&l); /* harmless: nothing was taken */
    return err.code == GM_E_BUSY && strstr(err.text, path) && strstr(err.text, pid) ? 0 : 2;
}

static int take_free(void *path)
{
    struct gm_error err = none;
    struct lock l;
    return lock_take(&l, path, &err) ? 0 : 1; /* and ends without releasing it */
}

static void test_lock(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "LOCK"), *missing = path_join(dir, "no/LOCK"),
         *link = path_join(dir, "link");
    size_t live = mem_live_bytes();
    struct gm_error err = none;
    struct lock l, again;
    assert_true(lock_take(&l, path, &err));
    char pid[32];
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    assert_holds(path, pid);
    assert_int_equal(in_child(take_busy, path), 0);
    assert_false(lock_take(&again, path, &err)); /* nor twice in one process */
    assert_int_equal(err.code, GM_E_BUSY);
    assert_holds(path, pid);
    lock_release(&l);
    lock_release(&l);
    assert_holds(path, "");
    assert_int_equal(in_child(take_free, path), 0);
    assert_true(lock_take(&l, path, &err)); /* the child took its lock with it */
    assert_holds(path, pid);
    lock_release(&l);
    assert_false(lock_take(&l, missing, &err));
    assert_says(&err, GM_E_IO, missing, "No such file");
    assert_int_equal(symlink("elsewhere", link), 0);
    assert_false(lock_take(&l, link, &err));
    assert_int_equal(err.code, GM_E_IO);
    assert_int_equal(entries(dir), 2);
    assert_int_equal(mem_live_bytes(), live);
    mem_free(path);
    mem_free(missing);
    mem_free(link);
    temp_end(dir);
}

static void test_dirs(void **state)
{
    char *dir = temp_begin(), *deep = path_join(dir, "a/b//c/"), *file = path_join(dir, "a/file"),
         *under = path_join(file, "x/y");
    struct gm_error err = none;
    assert_true(dir_make(deep, &err));
    assert_true(dir_exists(deep));
    assert_true(dir_make(deep, &err) && dir_make("/", &err) && dir_sync(dir, &err));
    put(file, "x");
    assert_false(dir_make(file, &err));
    assert_says(&err, GM_E_IO, file, "in the way");
    assert_false(dir_make(under, &err));
    assert_says(&err, GM_E_IO, file, "in the way");
    assert_false(dir_make("", &err));
    assert_holds(file, "x");
    static const char *const made[] = {"b2", "B", "\xc3\xa9", "a", ".hidden"}, *const sorted[] = {
                                                                                   ".hidden", "B",
                                                                                   "a", "b2",
                                                                                   "\xc3\xa9"};
    for (int i = 0; i < 5; i++) {
        char *path = path_join(deep, made[i]);
        put(path, "");
        mem_free(path);
    }
    char **names;
    size_t count;
    assert_true(dir_list(deep, &names, &count, &err));
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names[i], sorted[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    assert_false(dir_list(file, &names, &count, &err));
    assert_true(names == NULL && count == 0);
    assert_false(dir_sync(file, &err));
    assert_false(dir_remove(file, &err));
    assert_says(&err, GM_E_INPUT, file, "not a directory");
    assert_holds(file, "x");
    uint64_t free_bytes = 0;
    assert_true(disk_free_bytes(dir, &free_bytes, &err) && free_bytes > 0);
    assert_false(disk_free_bytes(under, &free_bytes, &err));
    mem_free(deep);
    mem_free(file);
    mem_free(under);
    temp_end(dir);
}

/* What a link leads to is never touched, whether the link lies in the tree or is what was named. */
static void test_remove_links(void **state)
{
    char *dir = temp_begin(), *keep = path_join(dir, "keep"),
         *precious = path_join(keep, "precious"), *tree = path_join(dir, "tree");
    char *inner = path_join(tree, "sub"), *in_dir = path_join(inner, "to_dir"),
         *in_file = path_join(tree, "to_file");
    char *dangling = path_join(tree, "dangling"), *link = path_join(dir, "link"),
         *slashes = path_join(dir, "link//");
    struct gm_error err = none;
    assert_true(dir_make(keep, &err) && dir_make(inner, &err));
    put(precious, "kept");
    assert_int_equal(symlink(keep, in_dir) | symlink(precious, in_file) |
                         symlink("nowhere", dangling) | symlink(keep, link),
                     0);
    if (!dir_remove(tree, &err))
        fail_msg("%s", err.text);
    assert_false(dir_exists(tree));
    assert_holds(precious, "kept");
    assert_true(dir_remove(tree, &err)); /* gone already */
    assert_false(dir_remove(link, &err));
    assert_says(&err, GM_E_INPUT, link, "not a directory");
    assert_holds(precious, "kept");
    assert_false(
        dir_remove(slashes, &err)); /* a slash at the end would have the system follow the link */
    assert_holds(precious, "kept");
    assert_says(&err, GM_E_INPUT, link, "not a directory");
    char *dot = path_join(link, "."), *dots = path_join(keep, "..");
    assert_false(dir_remove(dot, &err));
    assert_says(&err, GM_E_USAGE, dot, "name the directory itself");
    assert_false(dir_remove(dots, &err));
    assert_says(&err, GM_E_USAGE, dots, "name the directory itself");
    assert_holds(precious, "kept");
    mem_free(dot);
    mem_free(dots);
    char *plain = path_join(keep, "");
    assert_true(dir_remove(plain, &err));
    assert_false(dir_exists(keep));
    mem_free(plain);
    mem_free(keep);
    mem_free(precious);
    mem_free(tree);
    mem_free(inner);
    mem_free(in_dir);
    mem_free(in_file);
    mem_free(dangling);
    mem_free(link);
    mem_free(slashes);
    temp_end(dir);
}

static void test_append(void **state)
{
    char *dir = temp_begin(), *path = path_join(dir, "journal");
    struct gm_error err = none;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    assert_true(file_append_line(fd, "one", 3, false, &err));
    assert_true(file_append_line(fd, "two and a tail", 3, true, &err));
    assert_true(file_append_line(fd, "", 0, true, &err));
    assert_holds(path, "one\ntwo\n\n");
    close(fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_false(file_append_line(fd, "x", 1, false, &err));
    assert_says(&err, GM_E_IO, "append a line", "Bad file descriptor");
    close(fd);
    assert_holds(path, "one\ntwo\n\n");
    mem_free(path);
    temp_end(dir);
}

static void test_names(void **state)
{
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "", "a/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        mem_free(path);
    }
    assert_string_equal(path_base("a/b"), "b");
    assert_string_equal(path_base("b"), "b");
    assert_string_equal(path_base("/"), "");
    static const char *const folders[][2] = {{"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"/", "/"}, {"a/b/", "a/b"}};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *folder = path_folder(folders[i][0]);
        assert_string_equal(folder, folders[i][1]);
        mem_free(folder);
    }
    double before = clock_seconds();
    usleep(2000);
    double passed = clock_seconds() - before;
    assert_true(passed >= 0.0019 && passed < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),         cmocka_unit_test(test_writer_pieces),
        cmocka_unit_test(test_writer),         cmocka_unit_test(test_writer_keeps),
        cmocka_unit_test(test_writer_refused), cmocka_unit_test(test_writer_no_room),
        cmocka_unit_test(test_read),           cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_lock),           cmocka_unit_test(test_dirs),
        cmocka_unit_test(test_remove_links),   cmocka_unit_test(test_append),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

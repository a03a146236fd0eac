/* pack/image/elf.c against the loader that runs this program, against programs that the compiler makes here, and
 * against damaged ones. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/image/elf.h"
#include "tests/unit/check.h"
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <sys/stat.h>

static char scratch[1024];

static const char *in_scratch(const char *name)
{
    static char path[4][PATH_MAX];
    static unsigned next;
    char *out = path[next++ % 4];
    snprintf(out, PATH_MAX, "%s/%s", scratch, name);
    return out;
}

__attribute__((format(printf, 1, 2))) static bool shell(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command) == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool has(const struct hl_elf_files *files, const char *name)
{
    for (size_t i = 0; i < files->n; i++)
        if (!strcmp(base_name(files->file[i].target), name))
            return true;
    return false;
}

struct loaded {
    const struct hl_elf_files *files;
    unsigned n, found;
};

static int on_loaded(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    struct loaded *loaded = context;
    if (info->dlpi_name[0] != '/') /* the program itself and the vdso */
        return 0;
    char real[PATH_MAX];
    loaded->n++;
    for (size_t i = 0; realpath(info->dlpi_name, real) && i < loaded->files->n; i++)
        if (!strcmp(base_name(loaded->files->file[i].target), base_name(info->dlpi_name)) &&
            !strcmp(loaded->files->file[i].source, real))
            loaded->found++;
    return 0;
}

static void test_what_this_process_loaded(void)
{
    struct hl_elf_files files;
    struct hl_error err;
    CHECK(!hl_elf_libraries("/proc/self/exe", &files, &err));
    struct loaded loaded = {.files = &files};
    dl_iterate_phdr(on_loaded, &loaded);
    CHECK(loaded.n >= 2);
    CHECK(loaded.found == loaded.n);
    CHECK(files.n <= loaded.n + 4); /* the libraries of libcuda.so.1 are added */
    CHECK(has(&files, "libc.so.6") && has(&files, "libdl.so.2") && has(&files, "libpthread.so.0"));
    size_t in_libc_directory = 0;
    for (size_t i = 0; i < files.n; i++) {
        const char *target = files.file[i].target;
        CHECK(i == 0 || strcmp(files.file[i - 1].target, target) < 0);
        CHECK(!access(files.file[i].source, R_OK) && target[0] == '/');
        in_libc_directory += strncmp(target, "/lib64/ld-linux", 15) != 0;
    }
    CHECK(in_libc_directory == files.n - 1); /* the loader is at its PT_INTERP path */
    hl_elf_files_free(&files);
}

/* program -> libnear.so (next to it, by $ORIGIN) -> libdeep.so (in deep/, by libnear's own $ORIGIN/deep) */
static bool build_programs(void)
{
    const char *cc = getenv("CC") ? getenv("CC") : "cc";
    return shell("cd '%s' && mkdir -p deep && echo 'int deep(void); int deep(void) { return 7; }' > deep.c && "
                 "echo 'int deep(void); int near(void); int near(void) { return deep(); }' > near.c && "
                 "echo 'int near(void); int main(void) { return near(); }' > program.c && "
                 "echo 'int main(void) { return 0; }' > alone.c && "
                 "%s -shared -fPIC deep.c -Wl,-soname,libdeep.so.1 -o deep/libdeep.so.1 && "
                 "%s -shared -fPIC near.c deep/libdeep.so.1 -Wl,-soname,libnear.so "
                 "'-Wl,--enable-new-dtags,-rpath,$ORIGIN/deep' -o libnear.so && "
                 "%s program.c libnear.so -Wl,-rpath-link,deep '-Wl,--enable-new-dtags,-rpath,/nowhere:${ORIGIN}' "
                 "-o program && %s program.c libnear.so -Wl,-rpath-link,deep "
                 "'-Wl,--disable-new-dtags,-rpath,$ORIGIN' -o program-rpath && %s -static alone.c -o alone",
                 scratch, cc, cc, cc, cc, cc);
}

static void check_two_libraries(const char *program)
{
    struct hl_elf_files files;
    struct hl_error err = {.message = ""};
    CHECK(!hl_elf_libraries(program, &files, &err));
    CHECK(has(&files, "libnear.so") && has(&files, "libdeep.so.1") && has(&files, "libc.so.6"));
    const char *libc = NULL, *deep = NULL;
    for (size_t i = 0; i < files.n; i++) {
        libc = strstr(files.file[i].target, "/libc.so.6") ? files.file[i].target : libc;
        deep = strstr(files.file[i].target, "/libdeep.so.1") ? files.file[i].target : deep;
    }
    CHECK(libc && deep && strlen(deep) - strlen("libdeep.so.1") == strlen(libc) - strlen("libc.so.6") &&
          !strncmp(libc, deep, strlen(libc) - strlen("libc.so.6")));
    hl_elf_files_free(&files);
}

static void test_search_paths(void)
{
    check_two_libraries(in_scratch("program"));
    check_two_libraries(in_scratch("program-rpath"));
    /* Skips another architecture's library in the search path, as the loader does. */
    const char *foreign = in_scratch("libdeep.so.1");
    CHECK(shell("cp '%s' '%s' && printf '\\267' | dd of='%s' bs=1 seek=18 conv=notrunc status=none",
                in_scratch("deep/libdeep.so.1"), foreign, foreign));
    check_two_libraries(in_scratch("program-rpath"));
    unlink(foreign);
}

static void test_static_program(void)
{
    struct hl_elf_files files;
    struct hl_error err;
    CHECK(!hl_elf_libraries(in_scratch("alone"), &files, &err));
    CHECK(files.n == 0);
    hl_elf_files_free(&files);
}

static bool fails_with(const char *program, const char *a, const char *b, const char *c)
{
    struct hl_elf_files files;
    struct hl_error err = {.message = ""};
    bool right = hl_elf_libraries(program, &files, &err) && strstr(err.message, a) && strstr(err.message, b) &&
                 strstr(err.message, c);
    if (!right)
        fprintf(stderr, "message: %s\n", err.message);
    hl_elf_files_free(&files);
    return right;
}

/* Changes programs for an image on a base, and refuses some of them. */
static void test_private(void)
{
    const char *cc = getenv("CC") ? getenv("CC") : "cc";
    struct hl_elf_files files;
    struct hl_error err = {.message = ""};
    HL_FREE char *bytes = NULL;
    HL_FREE char *alone = NULL;
    HL_FREE char *none = NULL;
    size_t n = 0;
    CHECK(shell("cd '%s' && rpath=-Wl,--disable-new-dtags,-rpath,/usr/lib/hotlayer && %s alone.c $rpath -o private && "
                "%s alone.c -Wl,--enable-new-dtags,-rpath,/usr/lib/hotlayer -o runpath && "
                "%s alone.c $rpath,--dynamic-linker=/lib64/../lib/ld.so -o up && "
                "%s alone.c $rpath,--dynamic-linker=/lib/ld.so -o short",
                scratch, cc, cc, cc, cc));
    CHECK_OK(hl_elf_private(in_scratch("private"), &files, &bytes, &n, &err), err);
    CHECK(has(&files, "libc.so.6") && has(&files, "ld.so") && !has(&files, "ld-linux-x86-64.so.2"));
    for (size_t i = 0; i < files.n; i++)
        CHECK(!strncmp(files.file[i].target, "/usr/lib/hotlayer/", 18) && !access(files.file[i].source, R_OK));
    hl_elf_files_free(&files);
    /* Only the loader's path differs, with zeros after it. */
    HL_FCLOSE FILE *file = fopen(in_scratch("private"), "rb");
    size_t changed = 0, at = 0;
    for (size_t i = 0; bytes && file && i < n; i++) {
        int c = fgetc(file);
        changed += (char)c != bytes[i];
        at = (char)c != bytes[i] && !at ? i : at;
    }
    CHECK(file && fgetc(file) == EOF && changed && changed < 28 && at > 28);
    CHECK(bytes && memmem(bytes + at - 28, 56, "/usr/lib/hotlayer/ld.so\0\0\0\0\0", 28));
    CHECK_OK(hl_elf_private(in_scratch("alone"), &files, &alone, &n, &err), err);
    CHECK(files.n == 0 && alone && n > 100000);
    hl_elf_files_free(&files);
    static const char *const refused[][2] = {{"runpath", "not linked to search for its libraries in"},
                                             {"program", "not linked to search for its libraries in"},
                                             {"up", "does not name a loader by an absolute path"},
                                             {"short", "is too short to be replaced"},
                                             {"alone.c", "not a program"}};
    for (size_t i = 0; i < HL_COUNT(refused); i++) {
        free(none);
        CHECK_FAILS(hl_elf_private(in_scratch(refused[i][0]), &files, &none, &n, &err), err, refused[i][1]);
        hl_elf_files_free(&files);
    }
}

static void test_messages(void)
{
    CHECK(!rename(in_scratch("deep/libdeep.so.1"), in_scratch("hidden")));
    CHECK(fails_with(in_scratch("program"), "/libnear.so: needs libdeep.so.1", "/deep, ", "/usr/lib"));
    CHECK(!rename(in_scratch("hidden"), in_scratch("deep/libdeep.so.1")));
    CHECK(fails_with(in_scratch("none"), "none", "No such file", ""));
    CHECK(fails_with(in_scratch("program.c"), "program.c", "not a ", ""));
    CHECK(fails_with(scratch, "not a program", "", ""));
}

static bool refuses(const char *path)
{
    struct hl_elf_files files;
    struct hl_error err;
    bool refused = hl_elf_libraries(path, &files, &err) != 0;
    hl_elf_files_free(&files);
    return refused;
}

/* Damages each byte of [from, to) in several ways; returns how often that was refused. */
static unsigned damage_range(int fd, const char *path, size_t from, size_t to)
{
    static const unsigned char masks[] = {0xff, 0x01, 0x80};
    unsigned refused = 0;
    for (size_t at = from; at < to; at++) {
        unsigned char good = 0;
        CHECK(pread(fd, &good, 1, (off_t)at) == 1);
        for (size_t m = 0; m < sizeof masks; m++) {
            unsigned char bad = good ^ masks[m];
            if (pwrite(fd, &bad, 1, (off_t)at) == 1)
                refused += refuses(path);
        }
        CHECK(pwrite(fd, &good, 1, (off_t)at) == 1);
    }
    return refused;
}

/* Damages every byte of the tables that the reader follows, and tries every length up to them. Whatever the answer is,
 * the reader never reads outside of the file (the sanitizers watch). */
static void test_damage(void)
{
    const char *path = in_scratch("program");
    HL_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
    Elf64_Ehdr header;
    CHECK(pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header);
    Elf64_Phdr segment = {.p_type = PT_NULL};
    for (unsigned i = 0; i < header.e_phnum && segment.p_type != PT_DYNAMIC; i++)
        CHECK(pread(fd, &segment, sizeof segment, (off_t)(header.e_phoff + i * sizeof segment)) ==
              (ssize_t)sizeof segment);
    size_t tables = header.e_phoff + header.e_phnum * sizeof segment;
    CHECK(damage_range(fd, path, 0, tables) > tables / 10);
    CHECK(damage_range(fd, path, segment.p_offset, segment.p_offset + segment.p_filesz) > 0);
    CHECK(!refuses(path));
    unsigned refused = 0;
    for (size_t length = tables; length-- > 0;)
        refused += !ftruncate(fd, (off_t)length) && refuses(path);
    CHECK(refused == tables);
}

int main(void)
{
    snprintf(scratch, sizeof scratch, "%s/elf-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(scratch) || !build_programs()) {
        fprintf(stderr, "cannot build the test programs in %s\n", scratch);
        return 1;
    }
    test_what_this_process_loaded();
    test_search_paths();
    test_static_program();
    test_private();
    test_messages();
    test_damage();
    shell("rm -rf '%s'", scratch);
    return check_summary();
}

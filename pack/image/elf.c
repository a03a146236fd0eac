/* The closure of a program's shared libraries.
 *
 *   Elf64_Ehdr | Elf64_Phdr[] ...
 *                PT_INTERP   the loader's path
 *                PT_DYNAMIC  pairs of tag and value: DT_NEEDED, DT_RUNPATH, ... are offsets into the names at DT_STRTAB
 *                PT_LOAD     which addresses are which bytes of the file, to find DT_STRTAB
 *
 * Objects are visited breadth first, as ld.so visits them, and a name that was found is not searched again. The place
 * of a file on this machine does not decide its place in the image: all files go into libc's directory. That is one of
 * the loader's default directories, so the image needs no ld.so.cache.
 *
 * On a base image that directory is taken: by another libc, older or newer, or by a link (/lib -> usr/lib). A folder
 * lib/ of ours would replace that link and break every program of the base. So on a base the program gets a folder of
 * its own. It needs a loader and a libc that belong together, found before those of the base:
 *
 *   PT_INTERP  /lib64/ld-linux-x86-64.so.2  ->  /usr/lib/hotlayer/ld.so
 *                                               a shorter path, written over the longer one
 *   DT_RPATH   /usr/lib/hotlayer                set by the Makefile; searched before LD_LIBRARY_PATH,
 *                                               also for the libraries' own needs (DT_RUNPATH is neither)
 *
 * The program is started by its own name, LD_LIBRARY_PATH keeps its meaning (it leads to the driver), and the base may
 * have another libc or none. Starting hotlayerd through the loader (ld.so --library-path ... hotlayerd) was tried and
 * dropped. It hides LD_LIBRARY_PATH, fails if hotlayerd is started by its name, and every process list shows "ld.so".
 */
#include "pack/image/elf.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAX_OBJECTS 256u
#define MAX_NEEDED 256u
#define NO_PARENT SIZE_MAX

static const char *const standard_directories[] = {
    "/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib", "/usr/lib",
};

/* libcuda.so.1 comes from the host's driver at run time and was linked when these were not yet part of libc.so.6. */
static const char *const driver_needs[] = {"libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"};

struct object {
    char *name;      /* the name that was asked for; NULL: the program */
    char *directory; /* where it was found, for $ORIGIN */
    char *source;
    char *interp;
    uint64_t interp_offset, interp_bytes; /* in the file, with its NUL */
    char *rpath;
    char *runpath;
    char **needed;
    size_t n_needed;
    size_t parent; /* the object that asked for it first */
};

struct closure {
    struct object *object;
    size_t n;
};

/* A mapped file. */
struct view {
    const unsigned char *bytes;
    uint64_t size;
    const char *path;
    struct hl_error *err;
};

static void view_close(struct view *view)
{
    if (view->bytes)
        munmap((void *)(uintptr_t)view->bytes, (size_t)view->size);
}

static int damaged(const struct view *view, const char *what)
{
    return hl_fail(view->err, "%s: damaged program or library: %s lies outside the file", view->path, what);
}

static bool is_x86_64(const Elf64_Ehdr *header)
{
    return !memcmp(header->e_ident, ELFMAG, SELFMAG) && header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_ident[EI_DATA] == ELFDATA2LSB && header->e_machine == EM_X86_64 &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN);
}

static int view_open(struct view *view)
{
    HL_CLOSE int fd = open(view->path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        return hl_fail(view->err, "%s: %s", view->path, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)sizeof(Elf64_Ehdr))
        return hl_fail(view->err, "%s: not a program or library", view->path);
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return hl_fail(view->err, "%s: cannot map it: %s", view->path, strerror(errno));
    view->bytes = bytes;
    view->size = (uint64_t)status.st_size;
    return 0;
}

/* Returns the string that starts at `offset` of the file and ends before `end`; NULL if there is none. */
static const char *string_at(const struct view *view, uint64_t offset, uint64_t end)
{
    if (end > view->size || offset >= end || !memchr(view->bytes + offset, 0, (size_t)(end - offset)))
        return NULL;
    return (const char *)view->bytes + offset;
}

static Elf64_Phdr program_header(const struct view *view, const Elf64_Ehdr *header, unsigned index)
{
    Elf64_Phdr segment;
    memcpy(&segment, view->bytes + header->e_phoff + index * sizeof segment, sizeof segment);
    return segment;
}

static Elf64_Dyn dynamic_entry(const struct view *view, const Elf64_Phdr *dynamic, uint64_t index)
{
    Elf64_Dyn entry;
    memcpy(&entry, view->bytes + dynamic->p_offset + index * sizeof entry, sizeof entry);
    return entry;
}

/* Finds the offset in the file of [address, address + bytes), which must lie in one PT_LOAD. */
static bool file_offset(const struct view *view, const Elf64_Ehdr *header, uint64_t address, uint64_t bytes,
                        uint64_t *offset)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment = program_header(view, header, i);
        if (segment.p_type != PT_LOAD || address < segment.p_vaddr)
            continue;
        uint64_t inside = address - segment.p_vaddr;
        if (hl_in_range(inside, bytes, segment.p_filesz) && hl_add(segment.p_offset, inside, offset) &&
            hl_in_range(*offset, bytes, view->size))
            return true;
    }
    return false;
}

static int keep_string(const struct view *view, uint64_t table, uint64_t end, uint64_t index, char **out)
{
    uint64_t offset;
    const char *text = hl_add(table, index, &offset) ? string_at(view, offset, end) : NULL;
    if (!text)
        return damaged(view, "a name of the dynamic section");
    free(*out);
    *out = strdup(text);
    return *out ? 0 : hl_no_memory(view->err);
}

static int read_dynamic(const struct view *view, const Elf64_Ehdr *header, const Elf64_Phdr *dynamic,
                        struct object *object)
{
    if (!hl_in_range(dynamic->p_offset, dynamic->p_filesz, view->size))
        return damaged(view, "the dynamic section");
    uint64_t count = dynamic->p_filesz / sizeof(Elf64_Dyn), address = 0, bytes = 0, table;
    for (uint64_t i = 0; i < count; i++) {
        Elf64_Dyn entry = dynamic_entry(view, dynamic, i);
        if (entry.d_tag == DT_NULL)
            count = i;
        else if (entry.d_tag == DT_STRTAB)
            address = entry.d_un.d_ptr;
        else if (entry.d_tag == DT_STRSZ)
            bytes = entry.d_un.d_val;
        else if (entry.d_tag == DT_NEEDED)
            object->n_needed++;
    }
    if (object->n_needed > MAX_NEEDED)
        return hl_fail(view->err, "%s: needs more than %u libraries", view->path, MAX_NEEDED);
    if (!file_offset(view, header, address, bytes, &table))
        return damaged(view, "the table of names");
    object->needed = calloc(object->n_needed + 1, sizeof *object->needed);
    if (!object->needed)
        return hl_no_memory(view->err);
    size_t next = 0;
    for (uint64_t i = 0; i < count; i++) {
        Elf64_Dyn entry = dynamic_entry(view, dynamic, i);
        char **out = entry.d_tag == DT_NEEDED    ? &object->needed[next++]
                     : entry.d_tag == DT_RPATH   ? &object->rpath
                     : entry.d_tag == DT_RUNPATH ? &object->runpath
                                                 : NULL;
        if (out && keep_string(view, table, table + bytes, entry.d_un.d_val, out))
            return -1;
    }
    return 0;
}

/* Fills interp, rpath, runpath and needed from the file at object->source. */
static int read_object(struct object *object, struct hl_error *err)
{
    __attribute__((cleanup(view_close))) struct view view = {.path = object->source, .err = err};
    if (view_open(&view))
        return -1;
    Elf64_Ehdr header;
    assert(view.bytes);
    memcpy(&header, view.bytes, sizeof header);
    if (!is_x86_64(&header))
        return hl_fail(err, "%s: not a 64-bit x86-64 ELF program or library", view.path);
    if (header.e_phnum == PN_XNUM || (header.e_phnum && header.e_phentsize != sizeof(Elf64_Phdr)))
        return hl_fail(err, "%s: program headers of an unknown size or number", view.path);
    if (!hl_in_range(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), view.size))
        return damaged(&view, "the table of segments");
    bool dynamic = false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment = program_header(&view, &header, i);
        uint64_t end;
        if (segment.p_type == PT_DYNAMIC && !dynamic) {
            dynamic = true;
            if (read_dynamic(&view, &header, &segment, object))
                return -1;
        } else if (segment.p_type == PT_INTERP && !object->interp) {
            if (!hl_add(segment.p_offset, segment.p_filesz, &end))
                return damaged(&view, "the loader's name");
            const char *interp = string_at(&view, segment.p_offset, end);
            if (!interp)
                return damaged(&view, "the loader's name");
            object->interp = strdup(interp);
            object->interp_offset = segment.p_offset;
            object->interp_bytes = segment.p_filesz;
            if (!object->interp)
                return hl_no_memory(err);
        }
    }
    return 0;
}

static void object_free(struct object *object)
{
    for (size_t i = 0; object->needed && i < object->n_needed; i++)
        free(object->needed[i]);
    free(object->needed);
    free(object->name);
    free(object->directory);
    free(object->source);
    free(object->interp);
    free(object->rpath);
    free(object->runpath);
}

static void closure_free(struct closure *closure)
{
    for (size_t i = 0; i < closure->n; i++)
        object_free(&closure->object[i]);
    free(closure->object);
}

/* Returns whether ld.so would load this file; ld.so silently skips files of another architecture. */
static bool loadable(const char *path)
{
    HL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    Elf64_Ehdr header;
    return fd >= 0 && pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header && is_x86_64(&header);
}

/* Appends the object at `path`; `name` is NULL for the program. */
static int add_object(struct closure *closure, const char *path, const char *name, size_t parent, struct hl_error *err)
{
    if (closure->n == MAX_OBJECTS)
        return hl_fail(err, "%s: needs more than %u libraries", closure->object[0].source, MAX_OBJECTS);
    struct object *object = &closure->object[closure->n];
    *object = (struct object){.parent = parent, .source = realpath(path, NULL)};
    if (!object->source)
        return hl_fail(err, "%s: %s", path, strerror(errno));
    closure->n++;
    const char *from = name ? path : object->source;
    object->directory = strndup(from, (size_t)(strrchr(from, '/') - from));
    object->name = name ? strdup(name) : NULL;
    if (!object->directory || (name && !object->name))
        return hl_no_memory(err);
    return read_object(object, err);
}

/* The directories searched so far, for the error message. */
struct trail {
    char text[700];
};

static void trail_add(struct trail *trail, const char *directory)
{
    size_t used = strlen(trail->text);
    snprintf(trail->text + used, sizeof trail->text - used, "%s%s", used ? ", " : "", directory);
}

/* Copies an entry of a search path and replaces $ORIGIN and ${ORIGIN}; false if the result is not an absolute path. */
static bool expand_origin(const char *entry, size_t length, const char *origin, char out[PATH_MAX])
{
    static const char *const forms[] = {"$ORIGIN", "${ORIGIN}"};
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        const char *piece = entry + i;
        size_t step = 1, size = 1;
        for (size_t f = 0; f < 2; f++) {
            if (length - i >= strlen(forms[f]) && !strncmp(entry + i, forms[f], strlen(forms[f]))) {
                piece = origin;
                step = strlen(forms[f]);
                size = strlen(origin);
            }
        }
        if (size >= PATH_MAX - used)
            return false;
        memcpy(out + used, piece, size);
        used += size;
        i += step;
    }
    out[used] = 0;
    return out[0] == '/';
}

static bool try_directory(const char *directory, const char *name, struct trail *trail, char found[PATH_MAX])
{
    trail_add(trail, directory);
    int length = snprintf(found, PATH_MAX, "%s/%s", directory, name);
    return length < PATH_MAX && loadable(found);
}

static bool try_path(const char *path, const char *origin, const char *name, struct trail *trail, char found[PATH_MAX])
{
    while (path && *path) {
        size_t length = strcspn(path, ":");
        char directory[PATH_MAX];
        if (length && expand_origin(path, length, origin, directory) && try_directory(directory, name, trail, found))
            return true;
        path += length + (path[length] == ':');
    }
    return false;
}

/* Searches in the order of ld.so(8): DT_RPATH of the object and of the objects that led to it, unless it has a
 * DT_RUNPATH; DT_RUNPATH of the object alone; the standard directories. */
static bool search(const struct closure *closure, size_t asking, const char *name, struct trail *trail,
                   char found[PATH_MAX])
{
    const struct object *object = &closure->object[asking];
    for (size_t i = asking; !object->runpath && i != NO_PARENT; i = closure->object[i].parent) {
        const struct object *ancestor = &closure->object[i];
        if (!ancestor->runpath && try_path(ancestor->rpath, ancestor->directory, name, trail, found))
            return true;
    }
    if (try_path(object->runpath, object->directory, name, trail, found))
        return true;
    for (size_t i = 0; i < HL_COUNT(standard_directories); i++)
        if (try_directory(standard_directories[i], name, trail, found))
            return true;
    return false;
}

static const struct object *find_loaded(const struct closure *closure, const char *name)
{
    for (size_t i = 1; i < closure->n; i++)
        if (!strcmp(closure->object[i].name, name))
            return &closure->object[i];
    return NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int add_needed(struct closure *closure, size_t asking, struct hl_error *err)
{
    const struct object *object = &closure->object[asking];
    for (size_t i = 0; i < object->n_needed; i++) {
        const char *name = object->needed[i];
        char found[PATH_MAX];
        struct trail trail = {""};
        if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
            return hl_fail(err, "%s: needs a library by the path '%s'; only plain names can be moved into an image",
                           object->source, name);
        /* Libraries list the loader too; it is already in the image, at its own path. */
        if (find_loaded(closure, name) || !strcmp(name, base_name(closure->object[0].interp)))
            continue;
        if (!search(closure, asking, name, &trail, found))
            return hl_fail(err, "%s: needs %s, which was not found in %s; install it or link it statically",
                           object->source, name, trail.text);
        if (add_object(closure, found, name, asking, err))
            return -1;
    }
    return 0;
}

static int emit(struct hl_elf_files *out, const char *source, const char *directory, const char *name,
                struct hl_error *err)
{
    struct hl_elf_file *file = &out->file[out->n++];
    file->source = realpath(source, NULL);
    if (!file->source)
        return hl_fail(err, "%s: %s", source, strerror(errno));
    return asprintf(&file->target, "%s/%s", directory, name) < 0 ? (file->target = NULL, hl_no_memory(err)) : 0;
}

static int by_target(const void *a, const void *b)
{
    return strcmp(((const struct hl_elf_file *)a)->target, ((const struct hl_elf_file *)b)->target);
}

/* Lists all files, in `folder`; NULL: at their places on this machine. */
static int emit_all(const struct closure *closure, const char *folder, struct hl_elf_files *out, struct hl_error *err)
{
    const char *interp = closure->object[0].interp, *libraries = folder;
    for (size_t i = 1; i < closure->n && !libraries; i++)
        if (hl_text_begins(closure->object[i].name, "libc."))
            libraries = closure->object[i].directory;
    out->file = calloc(closure->n + 1, sizeof *out->file);
    if (!out->file)
        return hl_no_memory(err);
    if (folder ? emit(out, interp, folder, base_name(HL_ELF_PRIVATE_LOADER), err)
               : emit(out, interp, "", interp + 1, err))
        return -1;
    for (size_t i = 1; i < closure->n; i++) {
        const struct object *object = &closure->object[i];
        if (emit(out, object->source, libraries ? libraries : object->directory, object->name, err))
            return -1;
    }
    qsort(out->file, out->n, sizeof *out->file, by_target);
    return 0;
}

static int add_driver_needs(struct closure *closure, struct hl_error *err)
{
    const struct object *libc = find_loaded(closure, "libc.so.6");
    for (size_t i = 0; libc && i < HL_COUNT(driver_needs); i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", libc->directory, driver_needs[i]) >= (int)sizeof path ||
            find_loaded(closure, driver_needs[i]) || !loadable(path))
            continue;
        if (add_object(closure, path, driver_needs[i], 0, err))
            return -1;
    }
    return 0;
}

/* Collects the closure of `program`; a static program has one object and no loader. */
static int collect(const char *program, struct closure *closure, struct hl_error *err)
{
    closure->object = calloc(MAX_OBJECTS, sizeof *closure->object);
    if (!closure->object)
        return hl_no_memory(err);
    if (add_object(closure, program, NULL, NO_PARENT, err))
        return -1;
    const struct object *root = &closure->object[0];
    if (!root->interp && !root->n_needed)
        return 0;
    if (!root->interp || root->interp[0] != '/' || strstr(root->interp, "/../") || !base_name(root->interp)[0])
        return hl_fail(err, "%s: needs libraries but does not name a loader by an absolute path", program);
    size_t visited = 0;
    for (; visited < closure->n; visited++)
        if (add_needed(closure, visited, err))
            return -1;
    if (add_driver_needs(closure, err))
        return -1;
    for (; visited < closure->n; visited++)
        if (add_needed(closure, visited, err))
            return -1;
    return 0;
}

int hl_elf_libraries(const char *program, struct hl_elf_files *out, struct hl_error *err)
{
    *out = (struct hl_elf_files){0};
    __attribute__((cleanup(closure_free))) struct closure closure = {.n = 0};
    if (collect(program, &closure, err))
        return -1;
    return closure.object[0].interp ? emit_all(&closure, NULL, out, err) : 0;
}

/* Copies the program and replaces its loader's path. */
static int copy_program(const struct object *program, char **bytes, size_t *n, struct hl_error *err)
{
    __attribute__((cleanup(view_close))) struct view view = {.path = program->source, .err = err};
    if (view_open(&view))
        return -1;
    *n = (size_t)view.size;
    assert(*n); /* it has a header */
    *bytes = malloc(*n);
    if (!*bytes)
        return hl_no_memory(err);
    memcpy(*bytes, view.bytes, *n);
    if (!program->interp)
        return 0;
    if (!hl_in_range(program->interp_offset, program->interp_bytes, view.size))
        return damaged(&view, "the loader's name");
    if (program->interp_bytes < sizeof HL_ELF_PRIVATE_LOADER)
        return hl_fail(err, "%s: the path of its loader, %s, is too short to be replaced by %s", program->source,
                       program->interp, HL_ELF_PRIVATE_LOADER);
    memset(*bytes + program->interp_offset, 0, (size_t)program->interp_bytes);
    memcpy(*bytes + program->interp_offset, HL_ELF_PRIVATE_LOADER, sizeof HL_ELF_PRIVATE_LOADER);
    return 0;
}

int hl_elf_private(const char *program, struct hl_elf_files *out, char **bytes, size_t *n, struct hl_error *err)
{
    *out = (struct hl_elf_files){0};
    *bytes = NULL;
    __attribute__((cleanup(closure_free))) struct closure closure = {.n = 0};
    if (collect(program, &closure, err))
        return -1;
    const struct object *root = &closure.object[0];
    /* With a DT_RUNPATH the loader ignores DT_RPATH. */
    if (root->interp && (root->runpath || !root->rpath || strcmp(root->rpath, HL_ELF_PRIVATE) != 0))
        return hl_fail(err,
                       "%s: not linked to search for its libraries in %s (RPATH), so it cannot be put on a base; build "
                       "it with hotlayer's Makefile or with -Wl,--disable-new-dtags,-rpath," HL_ELF_PRIVATE,
                       program, HL_ELF_PRIVATE);
    assert(root->source);
    if (copy_program(root, bytes, n, err))
        return -1;
    return root->interp ? emit_all(&closure, HL_ELF_PRIVATE, out, err) : 0;
}

void hl_elf_files_free(struct hl_elf_files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        free(files->file[i].source);
        free(files->file[i].target);
    }
    free(files->file);
    *files = (struct hl_elf_files){0};
}

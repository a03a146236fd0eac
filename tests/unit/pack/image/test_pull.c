/* Models out of images. The model that comes out is the one that went in, whatever else is in the layers. Nothing of a
 * hostile layer leaves the folder. A pull that was interrupted, or is repeated, does only the remaining work. */
#include "base/sizes.h"
#include "pack/image/find_models.h"
#include "pack/image/pull.h"
#include "pack/image/pull_folder.h"
#include "registry/remote/client.h"
#include "tests/unit/pack/image/image_by_hand.h"
#include "tests/unit/registry/http_server.h"
#include "tests/unit/small_model.h"
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

#define MODEL FIXTURES "f16-sharded"
#define SHARDS_MOST 16

static uint32_t n_shards; /* shards of the images' model, m.hot */
static uint64_t shard_bytes[SHARDS_MOST];

/* The text is valid for seven more calls. */
__attribute__((format(printf, 1, 2))) static const char *text(const char *format, ...)
{
    static _Thread_local char out[8][640];
    static _Thread_local unsigned next;
    va_list args;
    va_start(args, format);
    vsnprintf(out[++next % 8], sizeof out[0], format, args);
    va_end(args);
    return out[next % 8];
}

static const char *shard_of(const char *head, uint32_t i)
{
    return in_scratch(text("%s.%03u", head, i + 1));
}

static void make_model(void)
{
    struct hl_error err;
    struct hl_hot *hot;
    CHECK_OK(pack_model(MODEL, in_scratch("m.hot"), HL_QUANT_KEEP, 64 << 10, &err), err);
    CHECK_OK(hl_hot_open(in_scratch("m.hot"), &hot, &err), err);
    n_shards = hot->header->n_shards;
    CHECK(n_shards >= 3 && n_shards <= SHARDS_MOST);
    for (uint32_t i = 0; i < n_shards && i < SHARDS_MOST; i++)
        shard_bytes[i] = hot->header->shard[i].bytes + HL_PAGE_BYTES;
    hl_hot_close(hot);
}

/* --- pulling, and looking at the folder --- */

static struct hl_pulled pulled;

static int pull(const char *layout, const char *into, struct hl_error *err)
{
    HL_STORE *store = NULL;
    const struct hl_pull_options options = {.directory = into ? in_scratch(into) : NULL, .jobs = 3};
    hl_pulled_free(&pulled);
    *err = (struct hl_error){.message = ""};
    return hl_store_open_layout(in_scratch(layout), &store, err) || hl_pull(store, "", &options, &pulled, err) ? -1 : 0;
}

static bool same_file(const char *a, const char *b)
{
    HL_FCLOSE FILE *one = fopen(a, "rb"), *two = fopen(b, "rb");
    int c = one && two ? 0 : -1;
    for (; one && two && c != EOF;) {
        c = getc(one);
        if (c != getc(two))
            return false;
    }
    return one && two;
}

/* Returns whether the whole model is below this folder, and nothing else. */
static bool is_model(const char *folder)
{
    const char *path = text("%s/model.hot", folder);
    bool same = same_file(in_scratch(path), in_scratch("m.hot"));
    for (uint32_t i = 0; i < n_shards; i++)
        same = same && same_file(shard_of(path, i), shard_of("m.hot", i));
    return same && shell("test $(ls '%s' | wc -l) = %u", in_scratch(folder), n_shards + 1);
}

static bool is_absent(const char *name)
{
    struct stat status;
    return lstat(in_scratch(name), &status) != 0;
}

/* --- images --- */

static void begin(struct hand *hand, const char *layout)
{
    shell("rm -rf '%s'", in_scratch(layout));
    hand_begin(hand, in_scratch(layout));
}

static void add_shard(struct hand *hand, const char *folder, uint32_t i)
{
    hand_file(hand, text("%s/model.hot.%03u", folder, i + 1), shard_of("m.hot", i));
}

static void add_head(struct hand *hand, const char *folder)
{
    hand_file(hand, text("%s/model.hot", folder), in_scratch("m.hot"));
}

/* The layers of `hotlayer image`: a runtime, a head, a layer for each shard. */
static void ours(const char *layout, const char *runtime)
{
    struct hand hand;
    begin(&hand, layout);
    hand_entry(&hand, 'f', "usr/bin/hotlayerd", runtime, strlen(runtime));
    hand_entry(&hand, 'f', "../of no interest", "x", 1); /* a layer that pull does not read */
    hand_layer(&hand, "hotlayer image: runtime");
    add_head(&hand, "models/test");
    hand_layer(&hand, "hotlayer image: model test");
    for (uint32_t i = 0; i < n_shards; i++) {
        add_shard(&hand, "models/test", i);
        hand_layer(&hand, text("hotlayer image: weights %u of %u", i + 1, n_shards));
    }
    hand_end(&hand, "latest");
}

/* Everything in one layer, as a Dockerfile's COPY makes it. */
static void one_layer(const char *layout, int filter, const char *root)
{
    struct hand hand;
    char path[64];
    begin(&hand, layout);
    hand_compress(&hand, filter);
    hand_entry(&hand, 'd', *root ? root : "models", NULL, 0);
    hand_entry(&hand, 'l', "bin", "usr/bin", 0);
    hand_entry(&hand, 'f', "etc/passwd", "root", 4);
    hand_entry(&hand, 'c', "dev/null", NULL, 0);
    hand_entry(&hand, 'h', "etc/group", "etc/passwd", 0);
    snprintf(path, sizeof path, "%smodels/test", root);
    hand_entry(&hand, 'd', path, NULL, 0);
    add_head(&hand, path);
    for (uint32_t i = n_shards; i--;)
        add_shard(&hand, path, i);
    hand_entry(&hand, 'f', text("%s/README", path), "read me", 7);
    hand_layer(&hand, "COPY model /models/test");
    hand_end(&hand, "latest");
}

/* --- good images --- */

static void test_ours(void)
{
    struct hl_error err;
    ours("image", "one");
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out") && pulled.n == 1 && !strcmp(pulled.model[0].name, "test"));
    CHECK(pulled.n == 1 && !strcmp(pulled.model[0].path, in_scratch("out/model.hot")));
    /* again: pull reads the documents alone */
    CHECK(shell("find '%s/image/blobs' -size +7k -delete", scratch_folder()));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out") && pulled.n == 1);
    ours("image", "one");
    CHECK(shell("rm '%s' && truncate -s -1 '%s'", in_scratch("out/model.hot.002"), in_scratch("out/model.hot.003")));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out"));
    CHECK(!unlink(in_scratch("out/model.hot")));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out"));
    CHECK(shell("test $(ls -A '%s' | wc -l) = 1", in_scratch("out/.hotlayer")));
}

static void test_by_name(void)
{
    struct hl_error err;
    CHECK(!chdir(scratch_folder()));
    CHECK_OK(pull("image", NULL, &err), err);
    CHECK(is_model("test") && pulled.n == 1 && !strcmp(pulled.model[0].path, "test/model.hot"));
    shell("rm -r '%s'", in_scratch("test"));
    one_layer("one", 'g', "");
    CHECK_OK(pull("one", NULL, &err), err);
    CHECK(is_model("test"));
}

static void test_one_layer(void)
{
    static const struct {
        int filter;
        const char *root;
    } cases[] = {{0, ""}, {'g', ""}, {'z', ""}, {0, "./"}, {'z', "././"}};
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        struct hl_error err;
        one_layer("one", cases[i].filter, cases[i].root);
        shell("rm -rf '%s'", in_scratch("out"));
        CHECK_OK(pull("one", "out", &err), err);
        CHECK_SAY(is_model("out"), "case %zu", i);
    }
}

/* Higher layers replace and remove. */
static void test_layers(void)
{
    struct hl_error err;
    struct hand hand;
    begin(&hand, "layers");
    add_head(&hand, "models/old");
    hand_entry(&hand, 'f', "models/older/x.hot", "garbage", 7);
    hand_entry(&hand, 'f', "models/oldest/x.hot", "garbage", 7);
    hand_entry(&hand, 'l', "models/link", "/etc", 0);
    hand_entry(&hand, 'f', "models/test/model.hot.001", "garbage", 7);
    hand_entry(&hand, 'f', "models/test/extra.hot", "garbage", 7);
    hand_entry(&hand, 'f', "models/test/model.hot.002", "garbage", 7);
    hand_layer(&hand, "below");
    hand_entry(&hand, 'f', "models/.wh.old", "", 0);
    hand_entry(&hand, 'f', "models/.wh.link", "", 0);
    hand_entry(&hand, 'f', "models/older/.wh..wh..opq", "", 0);
    hand_entry(&hand, 'f', "models/oldest", "a file now", 10);
    hand_entry(&hand, 'f', "models/test/.wh.extra.hot", "", 0);
    hand_entry(&hand, 'f', "models/test/.wh.model.hot.001", "", 0);
    for (uint32_t i = 0; i < n_shards; i++)
        add_shard(&hand, "models/test", i);
    add_head(&hand, "models/test");
    hand_layer(&hand, "middle");
    hand_entry(&hand, 'f', "models/other/.wh.model.hot", "", 0);
    hand_layer(&hand, "above");
    hand_end(&hand, "latest");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK_OK(pull("layers", "out", &err), err);
    CHECK(is_model("out") && pulled.n == 1);
}

static void all_gone(const char *whiteout)
{
    struct hl_error err;
    struct hand hand;
    begin(&hand, "gone");
    add_head(&hand, "models/test");
    for (uint32_t i = 0; i < n_shards; i++)
        add_shard(&hand, "models/test", i);
    hand_layer(&hand, "below");
    hand_entry(&hand, 'f', whiteout, "", 0);
    hand_layer(&hand, "above");
    hand_end(&hand, "latest");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK_FAILS(pull("gone", "out", &err), err, "no model in this image");
    CHECK(is_absent("out"));
}

static void test_several(void)
{
    struct hl_error err;
    struct hand hand;
    begin(&hand, "several");
    for (unsigned m = 0; m < 2; m++) {
        const char *folder = m ? "models/b:1" : "models/a";
        for (uint32_t i = 0; i < n_shards; i++)
            add_shard(&hand, folder, i);
        add_head(&hand, folder);
        hand_layer(&hand, "COPY");
    }
    hand_end(&hand, "latest");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK_FAILS(pull("several", NULL, &err), err, "several models");
    CHECK_OK(pull("several", "out", &err), err);
    CHECK(is_model("out/a") && is_model("out/b:1") && pulled.n == 2);
    /* does not follow a link in the place of a folder */
    CHECK(shell("rm -r '%s' && mkdir '%s' && ln -s ../elsewhere '%s'", in_scratch("out/a"), in_scratch("elsewhere"),
                in_scratch("out/a")));
    CHECK(pull("several", "out", &err) != 0);
    CHECK(shell("test -z \"$(ls -A '%s')\"", in_scratch("elsewhere")));
    CHECK(!unlink(in_scratch("out/a")));
    CHECK_OK(pull("several", "out", &err), err);
    CHECK(is_model("out/a") && is_model("out/b:1"));
    CHECK(shell("touch '%s'", in_scratch("out/a/mine")));
    CHECK_FAILS(pull("several", "out", &err), err, "'mine'");
    CHECK(!unlink(in_scratch("out/a/mine")));
    /* another image in the same folder: the files of the first one are removed */
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out") && is_absent("out/a") && is_absent("out/b:1"));
    CHECK_OK(pull("several", "out", &err), err);
    CHECK(is_model("out/a") && is_model("out/b:1") && is_absent("out/model.hot"));
}

/* A new runtime around the same weights, and new weights. */
static void test_updates(void)
{
    struct hl_error err;
    struct stat before, after;
    ours("image", "one");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(!stat(in_scratch("out/model.hot.001"), &before));
    ours("image", "two");
    CHECK(shell("find '%s/image/blobs' -size +7k -delete", scratch_folder())); /* does not ask for layers */
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out") && !stat(in_scratch("out/model.hot.001"), &after) && before.st_ino == after.st_ino);
    /* another build of the model, with fewer shards, then the first one again */
    CHECK(shell("mkdir '%s' && mv '%s'/m.hot* '%s'", in_scratch("first"), scratch_folder(), in_scratch("first")));
    uint32_t first = n_shards;
    CHECK_OK(pack_model(MODEL, in_scratch("m.hot"), HL_QUANT_Q8, 8 << 20, &err), err);
    n_shards = 1;
    ours("other", "one");
    CHECK_OK(pull("other", "out", &err), err);
    CHECK(is_model("out"));
    CHECK(shell("mv '%s'/m.hot* '%s'", in_scratch("first"), scratch_folder()));
    n_shards = first;
    ours("image", "one");
    CHECK(shell("rm '%s'", in_scratch("out/model.hot")));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out"));
}

/* --- bad images --- */

/* Checks that a pull fails, and leaves no model and nothing outside. */
static void refused(const char *layout, const char *word, int line)
{
    struct hl_error err;
    shell("rm -rf '%s'", in_scratch("out"));
    int status = pull(layout, "out", &err);
    check_that(status != 0 && strstr(err.message, word), __FILE__, line, "no '%s' in '%s'", word, err.message);
    check_that(shell("test -z \"$(find '%s' -name 'model*' -o -name evil 2>/dev/null)\"", in_scratch("out")) &&
                   is_absent("evil") && is_absent("../evil"),
               __FILE__, line, "something is left");
}

#define REFUSED(layout, word) refused(layout, word, __LINE__)

/* The model in a first layer, and in a second layer an entry that must not be extracted. */
static void test_hostile_entries(void)
{
    static const struct {
        char kind;
        const char *path, *link, *word;
        size_t claim;
    } cases[] = {
        {'f', "../evil", NULL, "would leave", 0},
        {'f', "/evil", NULL, "would leave", 0},
        {'f', "models/../../evil", NULL, "would leave", 0},
        {'f', "models/test/..", NULL, "would leave", 0},
        {'d', "models/test/../../../evil", NULL, "would leave", 0},
        {'l', "models", "/etc", "refused", 0},
        {'l', "models/test", "..", "refused", 0},
        {'h', "models/test", "etc", "refused", 0},
        {'f', "models", NULL, "refused", 0},
        {'c', "models", NULL, "refused", 0},
        {'l', "models/test/model.hot", "/etc/passwd", "link", 0},
        {'h', "models/test/model.hot.001", "etc/passwd", "link", 0},
        {'c', "models/test/model.hot", NULL, "device", 0},
        {'p', "models/test/model.hot.002", NULL, "device", 0},
        {'d', "models/test/model.hot", NULL, "folder", 0},
        {'s', "models/test/model.hot.001", NULL, "a sparse file", (size_t)1 << 40},
        {'f', "models/test/model.hot", NULL, "not a .hot file", 0},
        {'f', "models/evil/model.hot", NULL, "not a .hot file", 0},
        {'f', "models/test/model.hot.001", NULL, "has 0 bytes", 0},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++)
        for (unsigned compressed = 0; compressed < 2; compressed++) {
            struct hand hand;
            begin(&hand, "hostile");
            add_head(&hand, "models/test");
            for (uint32_t s = 0; s < n_shards; s++)
                add_shard(&hand, "models/test", s);
            hand_layer(&hand, "model");
            hand_compress(&hand, compressed ? 'g' : 0);
            hand_entry(&hand, cases[i].kind, cases[i].path, cases[i].link, cases[i].claim);
            hand_layer(&hand, "hostile");
            hand_end(&hand, "latest");
            refused("hostile", cases[i].word, (int)i);
        }
}

/* Names that are not a model's: this image has no model. */
static void test_other_names(void)
{
    static const char *const names[] = {"models/model.hot",      "models/.x/model.hot",     "models/t/.model.hot",
                                        "models/t/u/model.hot",  "models/t t/model.hot",    "models/t/model\n.hot",
                                        "models/t/\xc3\xa4.hot", "model/t/model.hot",       "models/t/model.hot.1",
                                        "models/t/.hot",         "models/t/model.hot.0001", "modelst/t/model.hot"};
    struct hand hand;
    begin(&hand, "names");
    for (size_t i = 0; i < HL_COUNT(names); i++)
        hand_file(&hand, names[i], in_scratch("m.hot"));
    hand_file(&hand, text("models/t/%0500d.hot", 1), in_scratch("m.hot"));
    hand_layer(&hand, "x");
    hand_end(&hand, "latest");
    REFUSED("names", "no model in this image");
    CHECK(is_absent("out"));
}

/* Headers that claim bytes that do not follow. */
static void test_claims(void)
{
    struct hand hand;
    const uint64_t claims[] = {HL_HEAD_LIMIT + 1, HL_SHARD_LIMIT + HL_PAGE_BYTES + 1, 077777777777};
    for (size_t i = 0; i < 4 * HL_COUNT(claims); i++) {
        bool head = i & 1, compressed = i & 2;
        if (!head && claims[i / 4] <= HL_SHARD_LIMIT)
            continue;
        begin(&hand, "claims");
        size_t at = hand_entry(&hand, 'f', head ? "models/test/model.hot" : "models/test/x.hot.001", "", 0);
        hand_close_tar(&hand);
        hand_claim(&hand, at, claims[i / 4]);
        if (compressed)
            hand_zstd(&hand);
        hand_layer(&hand, "hotlayer image: model test");
        hand_end(&hand, "latest");
        REFUSED("claims", "claims to have");
    }
    /* a shard that ends with its layer */
    begin(&hand, "claims");
    add_head(&hand, "models/test");
    hand_layer(&hand, "hotlayer image: model test");
    for (uint32_t i = 0; i < n_shards; i++)
        add_shard(&hand, "models/test", i);
    hand_close_tar(&hand);
    hand.bytes -= shard_bytes[n_shards - 1] / 2;
    hand_layer(&hand, "hotlayer image: weights");
    hand_end(&hand, "latest");
    REFUSED("claims", "tar");
}

static void test_incomplete(void)
{
    struct hand hand;
    for (unsigned broken = 0; broken < 4; broken++) {
        static const char *const words[] = {"is missing", "bytes, model.hot says", "twice in one layer", "damaged"};
        begin(&hand, "broken");
        add_head(&hand, "models/test");
        hand_layer(&hand, "hotlayer image: model test");
        for (uint32_t i = 0; i < n_shards; i++)
            if (i != 1 || broken)
                add_shard(&hand, "models/test", broken == 1 && i == 1 ? 0 : i);
        if (broken == 1)
            hand_entry(&hand, 'f', "models/test/model.hot.002", "short", 5);
        if (broken == 2)
            add_shard(&hand, "models/test", 0);
        hand_layer(&hand, "hotlayer image: weights");
        char digest[HL_DIGEST_BYTES];
        memcpy(digest, hand.digest, sizeof digest);
        hand_end(&hand, "latest");
        if (broken == 3)
            CHECK(shell("printf x | dd of='%s/broken/blobs/sha256/%s' bs=1 seek=9000 conv=notrunc 2>/dev/null",
                        scratch_folder(), hl_digest_file(digest)));
        if (broken == 1) /* the short one comes second in the layer */
            REFUSED("broken", "twice in one layer");
        else
            REFUSED("broken", words[broken]);
    }
    ours("broken", "one");
    CHECK(shell("f=$(ls -S '%s'/broken/blobs/sha256/* | head -n 1) && rm $f", scratch_folder()));
    REFUSED("broken", "No such file");
    all_gone(".wh.models");
    all_gone("models/.wh.test");
    all_gone("models/.wh..wh..opq");
    all_gone("models/test/.wh.model.hot");
    all_gone(".wh..wh..opq");
}

/* --- the folder --- */

static void test_folders(void)
{
    struct hl_error err;
    ours("image", "one");
    CHECK(shell("rm -rf '%s' && mkdir '%s' && echo mine >'%s'", in_scratch("out"), in_scratch("out"),
                in_scratch("out/model.hot")));
    CHECK_FAILS(pull("image", "out", &err), err, "'model.hot' is not from an earlier pull");
    CHECK(is_absent("out/.hotlayer") && shell("test \"$(cat '%s')\" = mine", in_scratch("out/model.hot")));
    CHECK(shell("rm '%s' && ln -s ../elsewhere '%s'", in_scratch("out/model.hot"), in_scratch("out/.hotlayer")));
    CHECK(pull("image", "out", &err) != 0);
    CHECK(shell("test -z \"$(ls -A '%s')\"", in_scratch("elsewhere")));
    CHECK(shell("rm -rf '%s' && echo x >'%s'", in_scratch("out"), in_scratch("out")));
    CHECK(pull("image", "out", &err) != 0 && strstr(err.message, "out"));
    CHECK(shell("rm '%s' && mkdir '%s'", in_scratch("out"), in_scratch("out")));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out"));
    static const char *const states[] = {
        "",
        "{}",
        "[]",
        "{\"manifest\":\"sha256:0\",\"files\":[{}]}",
        "{\"manifest\":\"%s\",\"files\":[{\"model\":\"..\",\"name\":\"a\",\"layer\":\"%s\",\"bytes\":1}]}",
        "{\"manifest\":\"%s\",\"files\":[{\"model\":\"a\",\"name\":\"../a\",\"layer\":\"%s\",\"bytes\":1}]}",
        "{\"manifest\":\"%s\",\"files\":[{\"model\":\"a\",\"name\":\"a\",\"layer\":\"../\",\"bytes\":1}]}",
        "{\"manifest\":\"%s\",\"files\":[{\"model\":\"a\",\"name\":\"a\",\"layer\":\"%s\",\"bytes\":-1}]}",
    };
    const char *zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    for (size_t i = 0; i < HL_COUNT(states); i++) {
        FILE *file = fopen(in_scratch("out/.hotlayer/pulled.json"), "w");
        for (const char *c = states[i]; file && *c; c++)
            if (*c == '%')
                fputs(zeros, file), c++;
            else
                putc(*c, file);
        if (file)
            fclose(file);
        CHECK_SAY(pull("image", "out", &err) != 0 && strstr(err.message, "pulled.json"), "case %zu: %s", i,
                  err.message);
    }
}

static void test_full_disk(void)
{
    struct hl_error err;
    struct rlimit limit;
    ours("image", "one");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK(!getrlimit(RLIMIT_FSIZE, &limit));
    struct rlimit low = {shard_bytes[0] - 1, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!setrlimit(RLIMIT_FSIZE, &low));
    int status = pull("image", "out", &err);
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    CHECK(status && strstr(err.message, "File too large") && is_absent("out/model.hot"));
    CHECK_OK(pull("image", "out", &err), err);
    CHECK(is_model("out"));
}

/* --- from a registry --- */

static struct server server;
static char served[512];          /* the layout that it serves */
static _Atomic unsigned cut_at;   /* the number of the request for a blob that breaks off; all later ones get no blob */
static _Atomic unsigned n_ranges; /* requests for a range */

static bool serve_file(struct request *r, const char *name, const char *type)
{
    char value[512];
    HL_FREE char *bytes = malloc(HAND_TAR_MOST);
    HL_FCLOSE FILE *file = fopen(text("%s/blobs/sha256/%s", served, name), "rb");
    size_t n = file ? fread(bytes, 1, HAND_TAR_MOST, file) : 0, from = 0, to = n;
    if (!file)
        return reply(r, 404, "", "");
    bool part = sscanf(request_header(r, "Range", value), "bytes=%zu-%zu", &from, &to) == 2;
    to += part;
    n_ranges += part;
    bool blob = strstr(type, "octet"), cut = blob && cut_at > 1 && --cut_at == 1;
    if (blob && cut_at == 1 && !cut)
        return reply(r, 403, "", "no more");
    say(r, "HTTP/1.1 %d Text\r\nContent-Length: %zu\r\nContent-Type: %s\r\n", part ? 206 : 200, to - from, type);
    if (part)
        say(r, "Content-Range: bytes %zu-%zu/%zu\r\n", from, to - 1, n);
    say(r, "\r\n");
    if (cut) {
        request_write(r, bytes + from, (to - from) / 2);
        return false;
    }
    return request_write(r, bytes + from, to - from);
}

static bool handle(struct request *r)
{
    char digest[HL_DIGEST_HEX + 1], index[2048] = "";
    HL_FCLOSE FILE *file = fopen(text("%s/index.json", served), "rb");
    const char *slash = strrchr(r->target, '/'), *entry;
    if (strstr(r->target, "/manifests/") && file && fread(index, 1, sizeof index - 1, file) &&
        (entry = strstr(index, "sha256:"))) {
        snprintf(digest, sizeof digest, "%.64s", entry + 7);
        return serve_file(r, digest, HL_OCI_MANIFEST);
    }
    return slash && !strncmp(slash, "/sha256:", 8) ? serve_file(r, slash + 8, "application/octet-stream")
                                                   : reply(r, 200, "", "{}");
}

static int pull_remote(const char *layout, const char *into, struct hl_error *err)
{
    HL_STORE *store = NULL;
    struct hl_reference reference;
    const struct hl_registry_options registry = {.plain_http = true};
    const struct hl_pull_options options = {.directory = in_scratch(into), .jobs = 2};
    snprintf(served, sizeof served, "%s", in_scratch(layout));
    server_clear(&server);
    hl_pulled_free(&pulled);
    *err = (struct hl_error){.message = ""};
    CHECK_OK(hl_reference_parse(text("127.0.0.1:%u/some/model", server.port), &reference, err), *err);
    return hl_store_open_registry(&reference, &registry, &store, err) || hl_pull(store, "", &options, &pulled, err) ? -1
                                                                                                                    : 0;
}

static bool nothing_is_left(void)
{
    return shell("test \"$(ls -A '%s')\" = pulled.json", in_scratch("out/.hotlayer"));
}

static void test_remote(void)
{
    struct hl_error err;
    ours("image", "one");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK_OK(pull_remote("image", "out", &err), err);
    CHECK(is_model("out") && nothing_is_left() && pulled.fetched > shard_bytes[0]);
    CHECK_OK(pull_remote("image", "out", &err), err);
    CHECK(is_model("out") && pulled.fetched == 0 && server.requests == 2); /* manifest, config */
    CHECK(!unlink(in_scratch("out/model.hot.002")));
    CHECK_OK(pull_remote("image", "out", &err), err);
    CHECK(is_model("out") && nothing_is_left() && server.requests == 3 && pulled.fetched > shard_bytes[1] &&
          pulled.fetched < shard_bytes[1] + 4096);
    /* an image made by others; and one whose model is found to be bad only when all of it is here */
    one_layer("one", 'z', "");
    shell("rm -rf '%s'", in_scratch("out"));
    CHECK_OK(pull_remote("one", "out", &err), err);
    CHECK(is_model("out") && nothing_is_left());
    struct hand hand;
    begin(&hand, "broken");
    add_head(&hand, "models/test");
    hand_layer(&hand, "hotlayer image: model test");
    hand_end(&hand, "latest");
    CHECK_FAILS(pull_remote("broken", "new", &err), err, "is missing");
    CHECK(is_absent("new"));
}

/* A pull that cannot continue leaves what it has; the next one asks for the rest. */
static void test_remote_interrupted(void)
{
    struct hl_error err;
    ours("image", "one");
    shell("rm -rf '%s'", in_scratch("out"));
    cut_at = 5; /* the config, the head and a shard or two arrive whole */
    CHECK_FAILS(pull_remote("image", "out", &err), err, "403");
    CHECK(is_absent("out/model.hot") && shell("ls '%s'/.partial-* >/dev/null", in_scratch("out/.hotlayer")));
    cut_at = 0;
    n_ranges = 0;
    CHECK_OK(pull_remote("image", "out", &err), err);
    CHECK(is_model("out") && nothing_is_left() && n_ranges == 1 && server.requests < 2 + 1 + n_shards);
}

/* --- bytes read --- */

/* A store that counts the bytes read from blobs. */
struct counting {
    struct hl_store store;
    struct hl_store *inner;
    uint64_t bytes;
    unsigned reads;
};

static int count_resolve(struct hl_store *store, const char *name, struct hl_descriptor *out, struct hl_error *err)
{
    struct hl_store *inner = ((struct counting *)store)->inner;
    return inner->class->resolve(inner, name, out, err);
}

static int count_document(struct hl_store *store, const struct hl_descriptor *descriptor, char **text, size_t *bytes,
                          struct hl_error *err)
{
    struct hl_store *inner = ((struct counting *)store)->inner;
    return inner->class->document(inner, descriptor, text, bytes, err);
}

static int count_read(struct hl_store *store, const struct hl_descriptor *descriptor, uint64_t offset, uint64_t bytes,
                      hl_http_sink *sink, void *context, struct hl_error *err)
{
    struct counting *counting = (struct counting *)store;
    counting->bytes += bytes;
    counting->reads++;
    return counting->inner->class->read(counting->inner, descriptor, offset, bytes, sink, context, err);
}

static const struct hl_store_class count_class = {count_resolve, NULL, count_document, count_read, NULL};

static uint64_t bytes_to_find(const char *layout, size_t heads, bool partial)
{
    HL_MODELS models = {.n = 0};
    HL_STORE *inner = NULL;
    struct hl_image image = {.bytes = 0};
    struct hl_error err = {.message = ""};
    CHECK_OK(hl_store_open_layout(in_scratch(layout), &inner, &err), err);
    struct counting counting = {.store.class = &count_class, .inner = inner};
    CHECK_OK(hl_image_open(&counting.store, "", &image, &err), err);
    CHECK_OK(hl_models_find(&counting.store, &image, &models, &err), err);
    size_t found = 0;
    for (size_t i = 0; i < models.n; i++)
        found += models.file[i].head != NULL;
    CHECK(found == heads && models.partial == partial);
    hl_image_free(&image);
    return counting.bytes;
}

static void test_little_is_read(void)
{
    struct hand hand;
    struct stat head;
    const size_t large = 4 << 20;
    HL_FREE char *filler = malloc(large);
    struct dice dice = {7};
    for (size_t i = 0; i < large; i++)
        filler[i] = (char)dice_bits(&dice);
    CHECK(!stat(in_scratch("m.hot"), &head));
    ours("image", "one");
    CHECK(bytes_to_find("image", 1, false) < (uint64_t)head.st_size + (64 << 10));
    begin(&hand, "large");
    for (unsigned i = 0; i < 16; i++)
        hand_entry(&hand, 'f', text("usr/lib/%u", i), filler, large / 8);
    hand_layer(&hand, "base");
    hand_entry(&hand, 'f', "models/a/a.hot.001", filler, large);
    add_head(&hand, "models/test");
    hand_entry(&hand, 'f', "models/z/a.hot.001", filler, large);
    hand_layer(&hand, "COPY");
    hand_end(&hand, "latest");
    CHECK(bytes_to_find("large", 1, false) < 2 * (uint64_t)head.st_size + 22 * (32 << 10));
    begin(&hand, "large");
    hand_compress(&hand, 'z');
    add_head(&hand, "models/test");
    for (unsigned i = 0; i < 17; i++) {
        hand_entry(&hand, 'f', text("models/test/model.hot.%03u", i + 1), filler,
                   i < 1 ? large : 0); /* each of the others consists of one claim */
    }
    hand_layer(&hand, "COPY");
    hand_end(&hand, "latest");
    CHECK(bytes_to_find("large", 1, false) > large);
}

int main(void)
{
    make_model();
    test_ours();
    test_one_layer();
    test_layers();
    test_updates();
    test_several();
    test_hostile_entries();
    test_other_names();
    test_claims();
    test_incomplete();
    test_folders();
    test_full_disk();
    test_little_is_read();
    server.handle = handle;
    server_start(&server);
    test_remote();
    test_remote_interrupted();
    server_stop(&server);
    test_by_name(); /* last: leaves this folder */
    hl_pulled_free(&pulled);
    return scratch_summary();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * check_poor.c - one allocation, or one look at a file, fails, for each of them: whoever chooses among files says
 * so, and takes no other file for the one that it could not look at.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/media/clip_caption.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/rundir.h"
#include "lib/rec/shard/dataset.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/train/data/blend.h"
#include "lib/train/data/feed.h"
#include "lib/train/metrics.h"
#include "tests/tap.h"

/* ---- calls of libwan that fail: tests.mk */

static long calls, fails_at;
static int memory; /* which kind is counted */

static int fails(int is_memory, int e)
{
    if (is_memory != memory || ++calls != fails_at)
        return 0;
    errno = e;
    return 1;
}

#define WRAP(type, name, params, args, is_memory, e, bad)                                          \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        return fails(is_memory, e) ? bad : __real_##name args;                                     \
    }
WRAP(void *, malloc, (size_t n), (n), 1, ENOMEM, NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), 1, ENOMEM, NULL)
WRAP(void *, realloc, (void *p, size_t n), (p, n), 1, ENOMEM, NULL)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), 1, ENOMEM, NULL)
WRAP(char *, strdup, (const char *s), (s), 1, ENOMEM, NULL)
WRAP(char *, strndup, (const char *s, size_t n), (s, n), 1, ENOMEM, NULL)
WRAP(int, stat, (const char *path, struct stat *s), (path, s), 0, EIO, -1)
WRAP(int, lstat, (const char *path, struct stat *s), (path, s), 0, EIO, -1)
WRAP(int, access, (const char *path, int how), (path, how), 0, EIO, -1)
WRAP(char *, realpath, (const char *path, char *to), (path, to), 0, EIO, NULL)

/* ---- files */

static void put(const char *path, const char *text)
{
    char dir[256];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (wan_mkdirs(dir) < 0 || wan_spew(path, text, strlen(text)) < 0)
        printf("Bail out! %s\n", wan_err_text());
}

/* ---- questions: 1 the right answer, 0 none, with a sentence, -1 another one */

static int is(char *got, const char *want)
{
    int right = !got ? 0 : !strcmp(got, want) ? 1 : -1;
    free(got);
    return right;
}

static int link_leads(void)
{
    return is(wan_path_follow("in/link"), "in/there");
}

static int experts_are_two(void)
{
    char *path = NULL;
    int rc = wan_model_transformer(&path, "experts", -1);
    free(path);
    return rc == 0 ? -1 : strstr(wan_err_text(), "two experts") != NULL;
}

static int pipeline_is_another(void)
{
    return wan_model_pipeline("image") == 0 ? -1 : strstr(wan_err_text(), "image-to-video") != NULL;
}

static int step_is_consolidated(void)
{
    char *path = NULL;
    if (wan_model_transformer(&path, "step", -1) < 0)
        return 0;
    if (!strcmp(path, "step/model/consolidated")) { /* which opening it says is not there */
        free(path);
        return 1;
    }
    return is(path, "step/consolidated");
}

static int part_is_inside(void)
{
    return is(wan_model_part("step", "transformer"), "step/transformer");
}

static int config_is_inside(void)
{
    return is(wan_modelio_beside("step/transformer", "config.json"),
              "step/transformer/config.json");
}

static int weights_are_plain(void)
{
    wan_st *st;
    if (wan_st_open(&st, "weights") < 0)
        return 0;
    int right = wan_st_find(st, "plain") ? 1 : -1;
    wan_st_close(&st);
    return right;
}

/* A dataset of one folder, in/ds. */
static int is_the_folder(const char *path)
{
    wan_blend b;
    if (wan_blend_load(&b, path, "train") < 0)
        return 0;
    int right = b.n == 1 && !strcmp(b.leaf[0].dir, "in/ds") ? 1 : -1;
    wan_blend_clear(&b);
    return right;
}

static int mixture_is_beside(void)
{
    return is_the_folder("in/mix.yaml");
}

static int pattern_is_of_the_inner(void)
{
    return is_the_folder("in/ds/a.tar");
}

static int prompt_is_there(void)
{
    char *path;
    if (wan_blend_file(&path, "in/mix.yaml", "train", "empty.txt") < 0)
        return 0;
    return path ? is(path, "in/ds/empty.txt") : -1;
}

static int val_is_there(void)
{
    int has = wan_dataset_has("in/ds", "val");
    return has < 0 ? 0 : has ? 1 : -1;
}

static int caption_is_beside(void)
{
    return wan_clip_captions_beside("in/picture.png") ? 1 : -1;
}

static int caption_is_text(void)
{
    wan_clip_captions c;
    char path[] = "in/picture.png";
    const wan_clip clip = { .path = path };
    if (wan_clip_captions_read(&c, &clip, NULL, 0) < 0)
        return strstr(wan_err_text(), "UTF-8") ? -1 : 0;
    int right = c.n == 1 ? 1 : -1;
    wan_clip_captions_free(&c);
    return right;
}

static int line_is_one(void)
{
    FILE *f;
    int64_t dropped;
    int rc = wan_metrics_open(&f, "metrics.jsonl", 9, &dropped);
    if (rc == 0)
        fclose(f);
    return rc == 0 ? 1 : strstr(wan_err_text(), "no line of metrics") ? -1 : 0;
}

/* The older of two steps is removed: what is left of it has its name or none. */
static int step_goes(void)
{
    int kind = memory;
    memory = -1;
    put("run/iter_0000001/a", "1");
    put("run/iter_0000002/a", "2");
    memory = kind;
    int rc = wan_rundir_prune("run", 2, 1);
    memory = -1;
    int half = wan_exists("run/.iter_0000001.gone"), whole = wan_exists("run/iter_0000001/a");
    wan_remove_tree("run");
    return half || (rc == 0 && whole) ? -1 : rc == 0;
}

enum { RIGHT = 1, WRONG = 2, UNSAID = 4, CAME = 8 };

/* What becomes of it while the k-th call fails; in a process of its own, as JSON that found no memory stays without. */
static int asked(int (*question)(void), int is_memory, long k)
{
    int status;
    fflush(stdout);
    pid_t p = fork();
    if (p == 0) {
        memory = is_memory, fails_at = k, calls = 0;
        int right = question();
        memory = -1;
        if (k == 0 && right == 0)
            printf("# %s\n", wan_err_text());
        fflush(stdout);
        _exit((right < 0 ? WRONG
               : right   ? RIGHT
                         : 0) |
              (calls >= k && k ? CAME : 0) |
              (right == 0 && strstr(wan_err_text(), "without a recorded reason") ? UNSAID : 0));
    }
    return p > 0 && waitpid(p, &status, 0) == p && WIFEXITED(status) ? WEXITSTATUS(status) : WRONG;
}

static void ask(int (*question)(void), const char *name)
{
    long all[2] = { 0, 0 }, first = 0;
    int bad = asked(question, -1, 0) != RIGHT;
    for (int kind = 0; kind < 2; kind++)
        for (int got = CAME; got & CAME; all[kind] += (got & CAME) != 0) {
            got = asked(question, kind, all[kind] + 1);
            if (got & (WRONG | UNSAID) || !(got & (CAME | RIGHT))) {
                bad++;
                first = first ? first : all[kind] + 1;
            }
        }
    ok(!bad, "%s: %ld looks and %ld allocations fail; %d otherwise, the first at %ld", name, all[0],
       all[1], bad, first);
}

static void put_weights(const char *path, const char *name)
{
    wan_st_writer *w = NULL;
    int64_t one = 1;
    float x = 1;
    if (wan_st_create(&w, path) < 0 || wan_st_declare(w, name, WAN_F32, &one, 1) < 0 ||
        wan_st_put(w, name, &x, WAN_F32) < 0 || wan_st_finish(&w) < 0)
        printf("Bail out! %s\n", wan_err_text());
}

static void put_dataset(const char *dir)
{
    char path[256];
    snprintf(path, sizeof path, "%s/.nv-meta/.info.json", dir);
    put(path, "{\"shard_counts\": {\"a.tar\": 3, \"b.tar\": 2}}");
    snprintf(path, sizeof path, "%s/.nv-meta/split.yaml", dir);
    put(path, "exclude: []\nsplit_parts:\n  train: [a.tar]\n  val: [b.tar]\n");
}

static void put_all(void)
{
    put("in/there", "right");
    put("./there", "another");
    if (symlink("there", "in/link") < 0)
        printf("Bail out! no link\n");
    put("experts/transformer/config.json", "{}");
    put("experts/transformer_2/config.json", "{}");
    put("image/model_index.json", "{\"_class_name\": \"WanImageToVideoPipeline\"}");
    put("step/consolidated/config.json", "{}");
    put("step/transformer/config.json", "{}");
    put("step/config.json", "{}");
    put("weights/config.json", "{}");
    put_weights("weights/model.safetensors", "plain");
    put_weights("weights/model.fp16.safetensors", "half");
    put_dataset("in");
    put_dataset("in/ds");
    put_dataset("ds");
    put("in/ds/empty.txt", "");
    put("in/mix.yaml", "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n"
                       "  train:\n    path: ds\n  val:\n    path: ds\n");
    put("./metrics.jsonl", "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":2}\n");
    put("in/picture.txt", "words");
    put("in/gone.yaml",
        "__class__: MetadatasetV2\nsplits:\n  train: {path: ds}\n  val: {path: gone}\n");
}

int main(void)
{
    char dir[] = "/tmp/wan-poor.XXXXXX";
    memory = -1;
    if (!mkdtemp(dir) || chdir(dir) < 0)
        return 1;
    put_all();
    ask(link_leads, "a link leads to a name of its own folder");
    ask(experts_are_two, "a model of two experts is refused");
    ask(pipeline_is_another, "a pipeline of another class is refused");
    ask(step_is_consolidated, "the consolidated weights of a step come first");
    ask(part_is_inside, "a part of a folder is not the folder");
    ask(config_is_inside, "nor is its configuration");
    ask(weights_are_plain, "weights in full come before a variant");
    ask(mixture_is_beside, "what a file names lies beside it");
    ask(pattern_is_of_the_inner, "a shard is of the folder nearest to it");
    ask(prompt_is_there, "the empty prompt of a dataset is found");
    ask(val_is_there, "so is its part for validation");
    int has = wan_feed_has_val("in/gone.yaml");
    ok(has < 0 && strstr(wan_err_text(), "in/gone"), "one that is not there is not left out: %s",
       wan_err_text());
    ask(line_is_one, "a line of metrics is one");
    ask(caption_is_beside, "a picture with a caption is not one without");
    ask(caption_is_text, "a caption that is text is not said to be none");
    ask(step_goes, "a step that is removed goes as a whole");
    if (chdir("/") == 0)
        wan_remove_tree(dir);
    return tap_done();
}

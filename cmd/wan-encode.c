/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-encode.c - frames to VAE latents and captions to text rows; with -d, latents to frames.
 *
 * Frames are encoded record by record; captions wait until a window of them goes through the text
 * encoder together.  On several ranks rank 0 reads and writes, and the work is dealt out (crew.h): some
 * records wait until there is one for each rank, and a window of captions for each.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/sha256.h"
#include "lib/base/signals.h"
#include "lib/model/crew/crew.h"
#include "lib/model/files/manifest.h"
#include "lib/model/files/modeldigest.h"
#include "lib/rec/record/record.h"
#include "lib/rec/record/recordcache.h"
#include "lib/train/parallel/place.h"

enum { MAX_TEXTS = 64 /* of a record */ };
#define QUEUE_BYTES ((size_t)256 << 20) /* a window ends early when more waits in memory */
#define BATCH_BYTES ((size_t)1 << 30)   /* so does a batch of clips for several ranks */

/* Seconds to wait for a rank that gives no sign of life, and for one that does. */
enum { DEAD = 30, LATE = 86400 };

static struct {
    const char *model, *device, *precision, *posterior, *latent_dtype, *text_dtype, *output,
        *transport, *rank, *cache;
    wan_strlist prompts;
    int64_t window;
    int decode, text_only, keep, strict, force, tiling, trusted;
} o = { .device = "auto",
        .precision = "fp32",
        .posterior = "mean",
        .latent_dtype = "f32",
        .text_dtype = "f32",
        .output = "-",
        .transport = "auto",
        .window = 32 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Model"),
    WAN_OPT_STR("model", 'm', "DIR", &o.model,
                "model folder in HuggingFace layout: vae, text_encoder, tokenizer"),
    WAN_OPT_GROUP("What is done"),
    WAN_OPT_FLAG("decode", 'd', &o.decode, "latents to frames"),
    WAN_OPT_ENUM("posterior", 0, "mean|sample", &o.posterior,
                 "what of the VAE's posterior is the latent; a sample depends on the record's key"),
    WAN_OPT_FLAG(
        "tiling", 0, &o.tiling,
        "pictures of more than 256 pixels a side in tiles of that size, blended as diffusers "
        "does: other values, less memory"),
    WAN_OPT_FLAG("text-only", 't', &o.text_only, "captions only; frames are left as they are"),
    WAN_OPT_LIST("prompt", 'p', "TEXT", &o.prompts,
                 "one record for each text, instead of reading records"),
    WAN_OPT_INT("text-window", 0, "N", &o.window, 1, 4096,
                "captions that go through the text encoder together"),
    WAN_OPT_STR("rank", 0, "I/N", &o.rank,
                "of the input, a file, only the I-th of N parts (from 0 on)"),
    WAN_OPT_STR("cache", 0, "DIR", &o.cache,
                "keep what is made in DIR, and take from there what has been made before"),
    WAN_OPT_FLAG("no-verify", 0, &o.trusted,
                 "the model is not held against its manifest.json first"),
    WAN_OPT_GROUP("Output"),
    WAN_OPT_STR("output", 'o', "FILE", &o.output, "where the records go (\"-\": standard output)"),
    WAN_OPT_FLAG("keep-frames", 'k', &o.keep,
                 "keep the frames beside the latent (with -d the latent beside the frames)"),
    WAN_OPT_ENUM("latent-dtype", 0, "f32|f16|bf16", &o.latent_dtype, "type of the latents written"),
    WAN_OPT_ENUM("text-dtype", 0, "f32|f16|bf16", &o.text_dtype, "type of the text rows written"),
    WAN_OPT_FLAG(
        "force", 'f', &o.force,
        "write binary data even to a terminal, and under mpirun, which gives its ranks one"),
    WAN_OPT_GROUP("Computing"),
    WAN_OPT_STR("device", 0, "auto|cpu|cuda[:N]|ref", &o.device, "where it is computed"),
    WAN_OPT_ENUM(
        "precision", 0, "fp32|bf16|fp16", &o.precision,
        "type of what convolutions and matrix products read; fp16: in the VAE, text in fp32"),
    WAN_OPT_FLAG("strict", 0, &o.strict, "refuse the slower kernels that else are warned of"),
    WAN_OPT_ENUM("transport", 0, "auto|self|mpi", &o.transport,
                 "how ranks talk; auto: MPI where mpirun or srun started them"),
    WAN_OPT_ELSEWHERE("stochastic", "it is --posterior sample here"),
    WAN_OPT_ELSEWHERE("output-dir", "latents are a stream here: | wan-shard --output-dir DIR"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-encode", "encode frames and captions to latents and text rows",
                               "--model DIR [options] [FILE]", table };

static struct {
    uint64_t records, latents, texts, cut;
    uint64_t found, made, damaged, unkept; /* of the cache; found and made: latents and captions */
    int64_t frames;
} total;

/* What is made of a clip or caption: its name in the cache ("": there is none), and what was found there. */
typedef struct kept {
    char hex[65];
    int found;
    wan_record r;
} kept;

/* A record on its way, and its number in the input. */
typedef struct item {
    wan_record r;
    uint64_t number;
    wan_crew_clip clip;
    int64_t shape[4]; /* of the tensor that is made of its clip */
    kept kept;
} item;

/* A record whose captions wait for the text encoder. */
typedef struct waiting {
    wan_record r;
    kept *texts; /* [n_texts(r)] */
} waiting;

static wan_comm *comm;
static wan_crew *crew;
static wan_dev *dev;
static wan_writer *writer;
static wan_dtype compute, vae_compute; /* of the text encoder, of the VAE */
static const char *input = "";
static json_t *run; /* this program's entry in the history of the records */
static item *batch; /* clips that wait for the VAE */
static int n_batch, batch_room;
static size_t batch_bytes;
static waiting *queue;
static int n_queue, queue_room,
    queue_texts;      /* records; captions to encode: how many there may be, and are */
static int queue_cap; /* records that there is memory for */
static size_t queue_bytes;
static char vae_digest[65], text_digest[2][65]; /* contents of the model, where there is a cache */

static wan_dtype type_named(const char *s)
{
    return !strcmp(s, "f16") ? WAN_F16 : !strcmp(s, "bf16") ? WAN_BF16 : WAN_F32;
}

/* ---- tensors */

/* Adds src [count] as type t, refusing what is not finite, before and after the conversion. */
static int add_floats(wan_record *r, const char *name, wan_dtype t, const int64_t *shape, int rank,
                      const float *src)
{
    int64_t count;
    WAN_TRY(wan_shape_count(&count, shape, rank));
    size_t size = wan_dtype_size(t);
    char *data = wan_malloc((size_t)count, size, name);
    if (!data || wan_convert(data, t, src, WAN_F32, (size_t)count) < 0) {
        free(data);
        return -1;
    }
    for (int64_t i = 0; i < count; i++) {
        float v = src[i];
        if (t == WAN_F16)
            v = wan_f16_to_f32(((uint16_t *)(void *)data)[i]);
        if (!(v - v == 0)) {
            free(data);
            return wan_err("%s: element %" PRId64 " is %s", name, i,
                           src[i] - src[i] == 0 ? "too large for F16" : "not finite");
        }
    }
    return wan_record_add(r, name, t, shape, rank, data, WAN_TAKE);
}

/* ---- what has been made before */

static void name_part(wan_sha256 *s, const char *text)
{
    wan_sha256_add(s, text, strlen(text) + 1);
}

/* Digest of what a tensor of this type is made with; the input follows. */
static wan_sha256 name_begin(const char *what, const char *dtype)
{
    wan_sha256 s;
    wan_sha256_init(&s);
    name_part(&s, what);
    name_part(&s, o.precision);
    name_part(&s, strcmp(o.device, "ref") ? dev->backend->name : "ref");
    name_part(&s, dtype);
    return s;
}

/* Looks k up, whose name is finished. */
static int look_up(kept *k, wan_sha256 *s)
{
    wan_sha256_hex(s, k->hex);
    int found = wan_recordcache_get(o.cache, k->hex, &k->r);
    WAN_TRY(found);
    if (found == WAN_RECORDCACHE_DAMAGED) {
        wan_warn("%s: made again", wan_err_text());
        total.damaged++;
    }
    k->found = found == WAN_RECORDCACHE_FOUND;
    total.found += (uint64_t)k->found;
    return 0;
}

/* An entry that is whole but not what it should be. */
static void disown(kept *k)
{
    wan_warn("%s/%.2s/%s.wan: does not hold what it should: made again", o.cache, k->hex, k->hex);
    k->found = 0;
    total.found--;
    total.damaged++;
    wan_record_clear(&k->r);
}

static int find_latent(item *it, const wan_tensor *frames)
{
    if (!o.cache)
        return 0;
    kept *k = &it->kept;
    wan_sha256 s = name_begin("latent 1", o.latent_dtype);
    name_part(&s, vae_digest);
    name_part(&s, o.posterior);
    name_part(&s, o.tiling ? "tiles" : "whole");
    if (!strcmp(o.posterior, "sample"))
        wan_sha256_add(&s, &it->clip.seed, sizeof it->clip.seed);
    wan_sha256_add(&s, frames->shape, 3 * sizeof *frames->shape);
    wan_sha256_add(&s, frames->data, frames->bytes);
    WAN_TRY(look_up(k, &s));
    const wan_tensor *l = k->found ? wan_record_find(&k->r, "latent") : NULL;
    if (k->found && (!l || l->dtype != type_named(o.latent_dtype) || l->rank != 4 ||
                     memcmp(l->shape, it->shape, sizeof it->shape) != 0))
        disown(k);
    return 0;
}

static int find_text(kept *k, const char *text)
{
    if (!o.cache)
        return 0;
    wan_sha256 s = name_begin("text 1", o.text_dtype);
    name_part(&s, text_digest[0]);
    name_part(&s, text_digest[1]);
    name_part(&s, text);
    WAN_TRY(look_up(k, &s));
    int64_t width;
    WAN_TRY(width = wan_crew_width(crew));
    const wan_tensor *t = k->found ? wan_record_find(&k->r, "text") : NULL;
    const wan_tensor *ids = k->found ? wan_record_find(&k->r, "token_ids") : NULL;
    if (k->found && (!t || !ids || t->dtype != type_named(o.text_dtype) || t->rank != 2 ||
                     ids->dtype != WAN_I32 || ids->rank != 1 || t->shape[0] != ids->shape[0] ||
                     t->shape[1] != width))
        disown(k);
    return 0;
}

/* A tensor of r goes into what is to be kept. */
static int lend(wan_record *entry, const char *name, const wan_tensor *t)
{
    return wan_record_add(entry, name, t->dtype, t->shape, t->rank, t->data, WAN_BORROW);
}

/* Puts the entry, of which rc says whether it could be made, under k's name. */
static void keep(const kept *k, wan_record *entry, int rc)
{
    if (rc == 0)
        rc = wan_recordcache_put(o.cache, k->hex, entry);
    wan_record_clear(entry);
    total.made++;
    if (rc < 0 && !total.unkept++)
        wan_warn("cannot be kept: %s", wan_err_text());
}

static void keep_latent(const item *it)
{
    wan_record entry = WAN_RECORD_INIT;
    if (o.cache)
        keep(&it->kept, &entry,
             wan_record_set_key(&entry, it->kept.hex) < 0
                 ? -1
                 : lend(&entry, "latent", wan_record_find(&it->r, "latent")));
}

static void keep_text(const kept *k, const wan_tensor *text, const wan_caption_rows *c)
{
    wan_record entry = WAN_RECORD_INIT;
    if (!o.cache)
        return;
    int rc = wan_record_set_key(&entry, k->hex);
    if (rc == 0)
        rc = lend(&entry, "text", text);
    if (rc == 0)
        rc = wan_record_add(&entry, "token_ids", WAN_I32, text->shape, 1, (void *)(uintptr_t)c->ids,
                            WAN_BORROW);
    if (rc == 0 && json_object_set_new(entry.meta, "dropped", json_integer(c->dropped)) < 0)
        rc = wan_err("out of memory");
    keep(k, &entry, rc);
}

/* Moves a tensor of what was found into r. */
static int move_tensor(wan_record *r, const char *name, kept *k, const char *from)
{
    wan_tensor *t = wan_record_find(&k->r, from);
    t->owned = 0;
    return wan_record_add(r, name, t->dtype, t->shape, t->rank, t->data, WAN_TAKE);
}

/* ---- clips */

/* A record's own random numbers: the same wherever and beside whatever it is encoded. */
static uint64_t seed_of(const char *key)
{
    wan_sha256 s;
    uint8_t d[32];
    uint64_t seed = 0;
    wan_sha256_init(&s);
    wan_sha256_add(&s, key, strlen(key));
    wan_sha256_bytes(&s, d);
    for (int i = 0; i < 8; i++)
        seed |= (uint64_t)d[i] << 8 * i;
    return seed;
}

/* The clip of frames that are to be encoded. */
static int take_frames(item *it)
{
    const wan_record *r = &it->r;
    const wan_tensor *f = wan_record_find(r, "frames");
    int channels;
    if (!f)
        return wan_err("no tensor \"frames\"; captions alone are encoded with --text-only");
    if (f->dtype != WAN_U8 || f->rank != 4 || f->shape[3] != 3)
        return wan_err("tensor \"frames\" is not U8 [T, H, W, 3]");
    if (wan_record_find(r, "latent"))
        return wan_err("tensor \"latent\" is already there");
    WAN_TRY(channels = wan_crew_channels(crew));
    int64_t T = f->shape[0], H = f->shape[1], W = f->shape[2], count;
    const int64_t shape[4] = { channels, 1 + (T - 1) / 4, H / 8, W / 8 };
    memcpy(it->shape, shape, sizeof shape);
    WAN_TRY(wan_shape_count(&count, shape, 4));
    it->clip = (wan_crew_clip){ .T = T, .H = H, .W = W, .rgb = f->data, .seed = seed_of(r->key) };
    WAN_TRY(find_latent(it, f));
    if (it->kept.found)
        return 0;
    it->clip.latent = wan_malloc((size_t)count, sizeof *it->clip.latent, "latent");
    return it->clip.latent ? 0 : -1;
}

/* The clip of a latent that is to be decoded. */
static int take_latent(item *it)
{
    const wan_record *r = &it->r;
    const wan_tensor *l = wan_record_find(r, "latent");
    int channels;
    if (!l)
        return wan_err("no tensor \"latent\"");
    WAN_TRY(channels = wan_crew_channels(crew));
    if (l->rank != 4 || l->shape[0] != channels)
        return wan_err("tensor \"latent\" is not [%d, T, h, w]", channels);
    if (wan_record_find(r, "frames"))
        return wan_err("tensor \"frames\" is already there");
    if (l->bytes == 0)
        return wan_err("tensor \"latent\" is empty");
    int64_t Tl = l->shape[1], h = l->shape[2], w = l->shape[3], count, px;
    const int64_t shape[4] = { 4 * (Tl - 1) + 1, 8 * h, 8 * w, 3 };
    memcpy(it->shape, shape, sizeof shape);
    WAN_TRY(wan_shape_count(&count, l->shape, 4));
    WAN_TRY(wan_shape_count(&px, shape, 4));
    wan_crew_clip *c = &it->clip;
    *c = (wan_crew_clip){ .T = shape[0], .H = shape[1], .W = shape[2] };
    c->latent = wan_malloc((size_t)count, sizeof *c->latent, "latent");
    c->rgb = wan_malloc((size_t)px, 1, "frames");
    if (!c->latent || !c->rgb)
        return -1;
    WAN_TRY(wan_convert(c->latent, WAN_F32, l->data, l->dtype, (size_t)count));
    for (int64_t i = 0; i < count; i++)
        if (!(c->latent[i] - c->latent[i] == 0))
            return wan_err("tensor \"latent\": element %" PRId64 " is not finite", i);
    return 0;
}

static void on_frames(int64_t done, int64_t T)
{
    wan_progress(0, "%" PRIu64 " records, %" PRId64 " of %" PRId64 " frames", total.records, done,
                 T);
}

/* What the VAE has made goes into the record, what it was made of leaves it. */
static int put_clip(item *it)
{
    wan_crew_clip *c = &it->clip;
    wan_record *r = &it->r;
    if (c->why)
        return wan_err("%s", c->why);
    total.frames += c->T;
    if (o.decode) {
        uint8_t *rgb = c->rgb;
        c->rgb = NULL;
        if (!o.keep)
            wan_record_drop(r, "latent");
        return wan_record_add(r, "frames", WAN_U8, it->shape, 4, rgb, WAN_TAKE);
    }
    if (it->kept.found) {
        WAN_TRY(move_tensor(r, "latent", &it->kept, "latent"));
    } else {
        WAN_TRY(add_floats(r, "latent", type_named(o.latent_dtype), it->shape, 4, c->latent));
        keep_latent(it);
    }
    if (!o.keep)
        wan_record_drop(r, "frames");
    total.latents++;
    return 0;
}

static void clear_item(item *it)
{
    free(it->clip.latent);
    free(it->clip.why);
    if (o.decode)
        free(it->clip.rgb);
    wan_record_clear(&it->kept.r);
    wan_record_clear(&it->r);
    *it = (item){ .r = WAN_RECORD_INIT };
}

/* ---- the window of captions */

/* Captions of a record: that in "caption", and those behind it in "caption_list". */
static int n_texts(const wan_record *r)
{
    int n = (int)json_array_size(json_object_get(r->meta, "caption_list"));
    return n > 1 ? n : 1;
}

static const char *text_of(const wan_record *r, int i)
{
    const json_t *list = json_object_get(r->meta, "caption_list");
    return json_string_value(i ? json_object_get(json_array_get(list, (size_t)i), "text")
                               : json_object_get(r->meta, "caption"));
}

/* Of caption i's tokens some were cut off. */
static void say_dropped(wan_record *r, int i, int64_t dropped)
{
    if (!dropped)
        return;
    if (i == 0)
        json_object_set_new(r->meta, "text_tokens_dropped", json_integer(dropped));
    wan_warn("record %s: caption cut to %d tokens, %" PRId64 " lost", r->key, WAN_CAPTION_TOKENS,
             dropped);
    total.cut++;
}

/* Caption i as it was kept. */
static int add_kept(wan_record *r, int i, const char *name, kept *k)
{
    WAN_TRY(move_tensor(r, name, k, "text"));
    if (i == 0) {
        wan_record_drop(r, "token_ids");
        WAN_TRY(move_tensor(r, "token_ids", k, "token_ids"));
    }
    say_dropped(r, i, json_integer_value(json_object_get(k->r.meta, "dropped")));
    return 0;
}

/* Caption i becomes tensor "text", "text_2", "text_3"...; c: its rows, where they were not kept. */
static int add_text(wan_record *r, int i, kept *k, const wan_caption_rows *c)
{
    char name[32] = "text";
    if (i)
        snprintf(name, sizeof name, "text_%d", i + 1);
    wan_record_drop(r, name);
    total.texts++;
    if (k->found)
        return add_kept(r, i, name, k);
    int64_t shape[2] = { c->n, wan_crew_width(crew) };
    WAN_TRY(shape[1] < 0 ? -1 : 0);
    WAN_TRY(add_floats(r, name, type_named(o.text_dtype), shape, 2, c->rows));
    keep_text(k, wan_record_find(r, name), c);
    if (i == 0) {
        wan_record_drop(r, "token_ids");
        WAN_TRY(wan_record_add(r, "token_ids", WAN_I32, shape, 1, (void *)(uintptr_t)c->ids,
                               WAN_BORROW));
    }
    say_dropped(r, i, c->dropped);
    return 0;
}

/* Encodes the n captions of all waiting records that were not kept. */
static int encode_texts(const char **text, wan_caption_rows *rows, int n)
{
    for (int i = 0, k = 0; i < n_queue; i++)
        for (int j = 0; j < n_texts(&queue[i].r); j++)
            if (!queue[i].texts[j].found)
                text[k++] = text_of(&queue[i].r, j);
    wan_progress(0, "%" PRIu64 " records, %d captions", total.records, n);
    int ranks = wan_crew_ranks(crew), each = (n + ranks - 1) / ranks;
    return n ? wan_crew_captions(crew, rows, text, n, each > o.window ? each : (int)o.window) : 0;
}

static void clear_waiting(waiting *w)
{
    for (int j = 0; w->texts && j < n_texts(&w->r); j++)
        wan_record_clear(&w->texts[j].r);
    free(w->texts);
    wan_record_clear(&w->r);
    w->texts = NULL;
}

/* A record with its captions, the next of which not kept is rows[*k]. */
static int flush_waiting(waiting *w, const wan_caption_rows *rows, int *k)
{
    for (int j = 0; j < n_texts(&w->r); j++)
        WAN_TRY(add_text(&w->r, j, &w->texts[j], w->texts[j].found ? NULL : &rows[(*k)++]));
    return wan_writer_put(writer, &w->r);
}

/* Writes the waiting records in order, with their captions encoded. */
static int flush_queue(void)
{
    if (n_queue == 0)
        return 0;
    const char **text = wan_malloc((size_t)queue_texts + 1, sizeof *text, "captions");
    wan_caption_rows *rows = wan_malloc((size_t)queue_texts + 1, sizeof *rows, "captions");
    int rc = text && rows ? encode_texts(text, rows, queue_texts) : -1;
    for (int i = 0, k = 0; i < n_queue; i++) {
        if (rc == 0)
            rc = flush_waiting(&queue[i], rows, &k);
        clear_waiting(&queue[i]);
    }
    free(text);
    free(rows);
    n_queue = queue_texts = 0;
    queue_bytes = 0;
    return rc;
}

static int check_caption(const json_t *caption)
{
    if (!json_is_string(caption))
        return wan_err("no caption");
    if (strlen(json_string_value(caption)) != json_string_length(caption))
        return wan_err("the caption holds a NUL character");
    return 0;
}

static int grow_queue(void)
{
    int cap = queue_cap ? 2 * queue_cap : 64;
    if (n_queue < queue_cap)
        return 0;
    waiting *more = realloc(queue, (size_t)cap * sizeof *more);
    if (!more)
        return wan_err("out of memory (records that wait for the text encoder)");
    queue = more;
    queue_cap = cap;
    return 0;
}

/* What of w's captions was kept; how many are to be encoded. */
static int find_texts(waiting *w)
{
    int n = 0;
    for (int j = 0; j < n_texts(&w->r); j++) {
        kept *k = &w->texts[j];
        WAN_TRY(find_text(k, text_of(&w->r, j)));
        for (int t = 0; t < k->r.n_tensors; t++)
            queue_bytes += k->r.tensors[t].bytes;
        n += !k->found;
    }
    return n;
}

/* Takes r over (it is empty afterwards).  Records wait as long as a caption does, and one that has none to encode
 * only behind such. */
static int enqueue(wan_record *r)
{
    const json_t *list = json_object_get(r->meta, "caption_list");
    int n;
    WAN_TRY(check_caption(json_object_get(r->meta, "caption")));
    if (n_texts(r) > MAX_TEXTS)
        return wan_err("%d captions, more than %d", n_texts(r), MAX_TEXTS);
    for (int i = 1; i < n_texts(r); i++)
        WAN_TRY(check_caption(json_object_get(json_array_get(list, (size_t)i), "text")));
    WAN_TRY(grow_queue());
    waiting *w = &queue[n_queue];
    w->texts = wan_calloc((size_t)n_texts(r), sizeof *w->texts, "captions");
    if (!w->texts)
        return -1;
    for (int i = 0; i < r->n_tensors; i++)
        queue_bytes += r->tensors[i].bytes;
    w->r = *r;
    *r = (wan_record)WAN_RECORD_INIT;
    n_queue++;
    WAN_TRY(n = find_texts(w));
    queue_texts += n;
    size_t bytes = QUEUE_BYTES * (size_t)wan_crew_ranks(crew);
    return queue_texts == 0 || queue_texts >= queue_room || queue_bytes > bytes ? flush_queue() : 0;
}

/* ---- the stream */

static int named(int rc, const item *it)
{
    return rc < 0 ? wan_err_prefix("%s: record %" PRIu64 " (%s)", input, it->number,
                                   it->r.key ? it->r.key : "")
                  : rc;
}

/* A record whose clip is done, if it has one. */
static int go_on(item *it)
{
    item mark = { .r.key = strdup(it->r.key),
                  .number = it->number }; /* the queue takes the record */
    int rc = mark.r.key ? 0 : wan_err("out of memory");
    if (rc == 0 && !o.text_only)
        rc = put_clip(it);
    if (rc == 0)
        rc = o.decode ? wan_writer_put(writer, &it->r) : enqueue(&it->r);
    named(rc, &mark);
    free(mark.r.key);
    return rc;
}

/* The clips of the batch, and what comes of their records, in order. */
static int flush_batch(void)
{
    wan_crew_clip *v = wan_malloc((size_t)batch_room, sizeof *v, "clips");
    int rc = v ? 0 : -1, n = n_batch, m = 0;
    for (int i = 0; v && i < n; i++)
        if (!batch[i].kept.found)
            v[m++] = batch[i].clip;
    if (rc == 0 && m)
        rc = wan_crew_clips(crew, v, m);
    for (int i = 0, k = 0; v && i < n; i++)
        if (!batch[i].kept.found)
            batch[i].clip = v[k++];
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = go_on(&batch[i]);
        clear_item(&batch[i]);
    }
    free(v);
    n_batch = 0;
    batch_bytes = 0;
    return rc;
}

static int flush_all(void)
{
    WAN_TRY(flush_batch());
    return flush_queue();
}

/* Takes it->r over. */
static int do_record(item *it)
{
    total.records++;
    wan_progress(0, "%" PRIu64 " records, %" PRId64 " frames, %s", total.records, total.frames,
                 it->r.key);
    if (o.text_only) {
        int rc = go_on(it);
        clear_item(it);
        return rc;
    }
    int rc = named(o.decode ? take_latent(it) : take_frames(it), it);
    batch[n_batch++] = *it;
    WAN_TRY(rc);
    for (int i = 0; i < it->r.n_tensors; i++)
        batch_bytes += it->r.tensors[i].bytes;
    *it = (item){ .r = WAN_RECORD_INIT };
    return n_batch == batch_room || batch_bytes > BATCH_BYTES ? flush_batch() : 0;
}

static int do_stream(wan_reader *in)
{
    item it = { .r = WAN_RECORD_INIT };
    int rc;
    while ((rc = wan_reader_next(in, &it.r)) > 0) {
        it.number = wan_reader_count(in);
        if ((rc = do_record(&it)) < 0)
            break;
    }
    return rc < 0 ? -1 : flush_all();
}

static int do_prompts(void)
{
    for (size_t i = 0; i < o.prompts.n; i++) {
        wan_record r = WAN_RECORD_INIT;
        char key[32];
        snprintf(key, sizeof key, "prompt_%06zu", i);
        const int is_text = wan_json_is_text(o.prompts.v[i], strlen(o.prompts.v[i]), "a prompt");
        WAN_TRY(is_text);
        if (!is_text)
            return wan_err("prompt %zu is not valid UTF-8", i + 1);
        WAN_TRY(wan_record_set_key(&r, key));
        wan_json_put(&r.meta, "caption", json_string(o.prompts.v[i]));
        if (!r.meta)
            return -1;
        total.records++;
        if (enqueue(&r) < 0)
            return wan_err_prefix("prompt %zu", i + 1);
    }
    return flush_queue();
}

/* Which model, by digest, and what was asked for; nothing that depends on the machine. */
static int describe_run(void)
{
    static const char *const parts[] = { "vae", "text_encoder", "tokenizer" };
    run = json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:s}", "precision", o.precision,
                    "posterior", o.posterior, "decode", o.decode, "tiling", o.tiling, "text_only",
                    o.text_only || o.prompts.n > 0, "keep_frames", o.keep, "latent_dtype",
                    o.latent_dtype, "text_dtype", o.text_dtype);
    if (!run)
        return wan_err("out of memory");
    for (int i = 0; i < 3; i++) {
        char hex[65], *dir = wan_path_join(o.model, parts[i]);
        int rc = dir ? wan_modeldigest(hex, dir) : -1;
        free(dir);
        WAN_TRY(rc);
        if (*hex)
            json_object_set_new(run, parts[i], json_sprintf("sha256-of-headers:%s", hex));
    }
    return 0;
}

/* The contents of the parts of the model that are used. */
static int digest_model(void)
{
    static const char *const parts[] = { "vae", "text_encoder", "tokenizer" };
    char *const to[] = { vae_digest, text_digest[0], text_digest[1] };
    if (!o.cache)
        return 0;
    WAN_TRY(wan_mkdirs(o.cache));
    for (int i = o.text_only || o.prompts.n ? 1 : 0; i < 3; i++) {
        char *dir = wan_path_join(o.model, parts[i]);
        int rc = dir ? wan_modeldigest_contents(to[i], dir, o.cache) : -1;
        free(dir);
        WAN_TRY(rc);
    }
    return 0;
}

static int begin_output(wan_out *out, const json_t *from)
{
    json_t *head = describe_run() < 0 ? NULL : wan_provenance_append(from, "wan-encode", run);
    int rc = head ? wan_writer_open(&writer, wan_out_file(out), wan_out_name(out), head) : -1;
    json_decref(head);
    return rc;
}

/* The input goes on under another history: so does the output, behind what still waits. */
static int next_stream(void *arg, const json_t *header)
{
    (void)arg;
    WAN_TRY(flush_all());
    json_t *head = wan_provenance_append(header, "wan-encode", run);
    int rc = head ? wan_writer_next_stream(writer, head) : -1;
    json_decref(head);
    return rc;
}

static void check_options(int operands)
{
    if (!o.model)
        wan_err("--model DIR is needed");
    else if (o.decode && (o.text_only || o.prompts.n))
        wan_err("--decode goes with neither --text-only nor --prompt");
    else if (!strcmp(o.posterior, "sample") && (o.decode || o.text_only || o.prompts.n))
        wan_err("--posterior goes with frames that are encoded");
    else if (o.tiling && (o.text_only || o.prompts.n))
        wan_err("--tiling goes with frames or latents");
    else if (o.decode && o.cache)
        wan_err("--cache goes with what is encoded, not with --decode");
    else if (o.prompts.n && o.rank)
        wan_err("--rank divides an input file, not --prompt");
    else if (o.prompts.n && operands)
        wan_err("--prompt and an input file exclude each other");
    else if (operands > 1)
        wan_err("one input file at most; cat joins record streams");
    else
        return;
    wan_die_usage();
}

static void summary(void)
{
    if (o.decode)
        wan_info("%" PRIu64 " records, %" PRId64 " frames", total.records, total.frames);
    else
        wan_info("%" PRIu64 " records, %" PRId64 " frames, %" PRIu64 " latents, %" PRIu64
                 " captions, %" PRIu64 " of them cut",
                 total.records, total.frames, total.latents, total.texts, total.cut);
    if (o.cache)
        wan_info("%s: %" PRIu64 " latents and captions found, %" PRIu64 " made, of them %" PRIu64
                 " in place of damaged ones and %" PRIu64 " not kept",
                 o.cache, total.found, total.made, total.damaged, total.unkept);
}

/* Another thread than the one that works. */
static void lost(const char *why, int end)
{
    if (why)
        wan_warn("%s", why);
    if (end)
        _exit(WAN_EXIT_FAILED);
}

/* What all ranks find wrong one says: the launcher ends the others meanwhile. */
static void fail(void)
{
    if (comm->rank)
        sleep(2);
    wan_die();
}

/* Against the manifest of the model, where it has one: the parts that are used. */
static int verify(const wan_crew_options *c)
{
    static const char *const parts[] = { "vae", "text_encoder", "tokenizer" };
    for (int i = 0; i < 3; i++) {
        if (o.trusted || !(i ? c->texts : c->clips))
            continue;
        char *dir = wan_path_join(o.model, parts[i]);
        int rc = dir ? wan_manifest_check_part(dir, 0, 1) : -1;
        free(dir);
        WAN_TRY(rc);
    }
    return 0;
}

/* A model that does not fit is known before any work. */
static void open_ranks(void)
{
    if (wan_comm_open(&comm, o.transport, DEAD, LATE) < 0)
        wan_die();
    wan_comm_on_lost(comm, lost);
    if (wan_place_device(&dev, comm, o.device, o.strict ? WAN_DEV_STRICT : 0) < 0)
        fail();
    const wan_crew_options c = { .comm = comm,
                                 .dev = dev,
                                 .model = o.model,
                                 .compute = compute,
                                 .vae_compute = vae_compute,
                                 .decode = o.decode,
                                 .tiling = o.tiling,
                                 .sample = !strcmp(o.posterior, "sample"),
                                 .clips = !o.text_only && !o.prompts.n,
                                 .texts = !o.decode,
                                 .on_frames = on_frames };
    if (verify(&c) < 0 || wan_crew_open(&crew, &c) < 0)
        fail();
}

static void make_room(void)
{
    int ranks = comm->size;
    batch_room = ranks > 1 ? 4 * ranks : 1;
    queue_room = (int)o.window * ranks;
    batch = wan_calloc((size_t)batch_room, sizeof *batch, "records");
    if (!batch)
        wan_die();
}

/* --rank I/N */
static int divide(wan_reader *in)
{
    char *end = NULL;
    long i = strtol(o.rank, &end, 10),
         n = *end == '/' && end != o.rank ? strtol(end + 1, &end, 10) : 0;
    if (*end || i < 0 || i >= n || n > 1000000)
        return wan_err("--rank %s: not I/N with 0 <= I < N", o.rank);
    if (wan_reader_part(in, i, n) < 0)
        return wan_err_prefix("--rank %s", o.rank);
    return 0;
}

/* Rank 0: from input to output. */
static void work(const char *path)
{
    FILE *f = NULL;
    wan_reader *in = NULL;
    wan_out *out;
    if (!o.prompts.n && (wan_in_open(&f, path, &input) < 0 || wan_reader_open(&in, f, input) < 0))
        wan_die();
    if (wan_out_open(&out, o.output) < 0 ||
        wan_refuse_terminal(fileno(wan_out_file(out)), o.force) < 0)
        wan_die();
    make_room();
    if (digest_model() < 0 || (in && o.rank && divide(in) < 0))
        wan_die();
    if (begin_output(out, in ? wan_reader_header(in) : NULL) < 0)
        wan_die();
    if (in) {
        wan_reader_tee(in,
                       writer); /* records of a later version that may be ignored pass through */
        wan_reader_on_stream(in, next_stream, NULL);
    }
    if ((in ? do_stream(in) : do_prompts()) < 0)
        wan_die();
    wan_progress(1, "%" PRIu64 " records, %" PRId64 " frames", total.records, total.frames);
    if (wan_writer_finish(&writer) < 0 || wan_out_finish(&out) < 0)
        wan_die();
    free(batch);
    free(queue);
    json_decref(run);
    wan_reader_close(&in);
    wan_in_close(f);
}

int main(int argc, char **argv)
{
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv);
    check_options(argc - argi);
    compute = strcmp(o.precision, "bf16") ? WAN_F32 : WAN_BF16;
    vae_compute = strcmp(o.precision, "fp16") ? compute : WAN_F16;
    open_ranks();
    if (comm->rank == 0)
        work(argi < argc ? argv[argi] : "-");
    else if (wan_crew_serve(crew) < 0)
        fail();
    if (wan_crew_close(&crew) < 0)
        wan_die();
    wan_dev_close(&dev);
    if (comm->rank == 0)
        summary();
    wan_comm_close(&comm);
    return WAN_EXIT_DONE;
}

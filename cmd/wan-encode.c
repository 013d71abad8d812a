/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-encode.c - frames to VAE latents and captions to text rows; with -d, latents to frames.
 *
 * Frames are encoded record by record; captions wait until a window of them goes through the text
 * encoder together.  VAE and text encoder are never in memory at the same time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/model/text/captions.h"
#include "lib/model/files/modeldigest.h"
#include "lib/model/vae/vae.h"
#include "lib/rec/record/record.h"

#define QUEUE_BYTES ((size_t)256 << 20) /* a window ends early when more waits in memory */

static struct {
    const char *model, *device, *precision, *latent_dtype, *text_dtype, *output;
    wan_strlist prompts;
    int64_t window;
    int decode, text_only, keep, strict, force;
} o = { .device = "auto",
        .precision = "fp32",
        .latent_dtype = "f32",
        .text_dtype = "f32",
        .output = "-",
        .window = 32 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Model"),
    WAN_OPT_STR("model", 'm', "DIR", &o.model,
                "model folder in HuggingFace layout: vae, text_encoder, tokenizer"),
    WAN_OPT_GROUP("What is done"),
    WAN_OPT_FLAG("decode", 'd', &o.decode, "latents to frames"),
    WAN_OPT_FLAG("text-only", 't', &o.text_only, "captions only; frames are left as they are"),
    WAN_OPT_LIST("prompt", 'p', "TEXT", &o.prompts,
                 "one record for each text, instead of reading records"),
    WAN_OPT_INT("text-window", 0, "N", &o.window, 1, 4096,
                "captions that go through the text encoder together"),
    WAN_OPT_GROUP("Output"),
    WAN_OPT_STR("output", 'o', "FILE", &o.output, "where the records go (\"-\": standard output)"),
    WAN_OPT_FLAG("keep-frames", 'k', &o.keep,
                 "keep the frames beside the latent (with -d the latent beside the frames)"),
    WAN_OPT_ENUM("latent-dtype", 0, "f32|f16|bf16", &o.latent_dtype, "type of the latents written"),
    WAN_OPT_ENUM("text-dtype", 0, "f32|f16|bf16", &o.text_dtype, "type of the text rows written"),
    WAN_OPT_FLAG("force", 'f', &o.force, "write binary data even to a terminal"),
    WAN_OPT_GROUP("Computing"),
    WAN_OPT_STR("device", 0, "auto|cpu|cuda[:N]|ref", &o.device, "where it is computed"),
    WAN_OPT_ENUM("precision", 0, "fp32|bf16", &o.precision,
                 "type of what convolutions and matrix products read"),
    WAN_OPT_FLAG("strict", 0, &o.strict, "refuse the slower kernels that else are warned of"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-encode", "encode frames and captions to latents and text rows",
                               "--model DIR [options] [FILE]", table };

static struct {
    uint64_t records, latents, texts, cut;
    int64_t frames;
} total;

static wan_dev *dev;
static wan_writer *writer;
static wan_dtype compute;
static wan_vae *vae;
static wan_captions *captions;
static json_t *run; /* this program's entry in the history of the records */
static wan_record *queue;
static int n_queue;
static size_t queue_bytes;

static wan_dtype type_named(const char *s)
{
    return !strcmp(s, "f16") ? WAN_F16 : !strcmp(s, "bf16") ? WAN_BF16 : WAN_F32;
}

/* ---- parts of the model; the VAE goes and comes between windows of captions */

static int need_vae(void)
{
    if (vae)
        return 0;
    char *dir = wan_path_join(o.model, "vae");
    int parts = o.decode ? WAN_VAE_DECODER : WAN_VAE_ENCODER;
    int rc = dir ? wan_vae_open(&vae, dev, dir, parts, compute) : -1;
    free(dir);
    return rc;
}

static int need_captions(void)
{
    return captions ? 0 : wan_captions_open(&captions, dev, o.model, compute);
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

static int encode_frames(wan_record *r)
{
    const wan_tensor *f = wan_record_find(r, "frames");
    if (!f)
        return wan_err("no tensor \"frames\"; captions alone are encoded with --text-only");
    if (f->dtype != WAN_U8 || f->rank != 4 || f->shape[3] != 3)
        return wan_err("tensor \"frames\" is not U8 [T, H, W, 3]");
    if (wan_record_find(r, "latent"))
        return wan_err("tensor \"latent\" is already there");
    WAN_TRY(need_vae());
    int64_t T = f->shape[0], H = f->shape[1], W = f->shape[2];
    int64_t shape[4] = { wan_vae_channels(vae), 1 + (T - 1) / 4, H / 8, W / 8 };
    int64_t count;
    WAN_TRY(wan_shape_count(&count, shape, 4));
    float *z = wan_malloc((size_t)count, sizeof *z, "latent");
    int rc = z ? wan_vae_encode(vae, z, f->data, T, H, W, 0) : -1;
    if (rc == 0)
        rc = add_floats(r, "latent", type_named(o.latent_dtype), shape, 4, z);
    free(z);
    if (rc == 0 && !o.keep)
        wan_record_drop(r, "frames");
    total.frames += T;
    total.latents++;
    return rc;
}

/* Frames as the decoder hands them out. */
typedef struct taker {
    uint8_t *rgb;
    int64_t T, H, W, done;
} taker;

static int take_frames(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                       int64_t W)
{
    taker *t = arg;
    (void)pixels;
    if (t->done + n > t->T || H != t->H || W != t->W)
        WAN_BUG("the VAE decoder made more frames than it should");
    memcpy(t->rgb + (size_t)(t->done * H * W * 3), rgb, (size_t)(n * H * W * 3));
    t->done += n;
    wan_progress(0, "%" PRIu64 " records, %" PRId64 " of %" PRId64 " frames", total.records,
                 t->done, t->T);
    return 0;
}

static int decode_latent(wan_record *r)
{
    const wan_tensor *l = wan_record_find(r, "latent");
    if (!l)
        return wan_err("no tensor \"latent\"");
    WAN_TRY(need_vae());
    if (l->rank != 4 || l->shape[0] != wan_vae_channels(vae))
        return wan_err("tensor \"latent\" is not [%d, T, h, w]", wan_vae_channels(vae));
    if (wan_record_find(r, "frames"))
        return wan_err("tensor \"frames\" is already there");
    if (l->bytes == 0)
        return wan_err("tensor \"latent\" is empty");
    int64_t Tl = l->shape[1], h = l->shape[2], w = l->shape[3], count, px;
    int64_t shape[4] = { 4 * (Tl - 1) + 1, 8 * h, 8 * w, 3 };
    WAN_TRY(wan_shape_count(&count, l->shape, 4));
    WAN_TRY(wan_shape_count(&px, shape, 4));
    float *z = wan_malloc((size_t)count, sizeof *z, "latent");
    taker t = { wan_malloc((size_t)px, 1, "frames"), shape[0], shape[1], shape[2], 0 };
    int rc = z && t.rgb ? wan_convert(z, WAN_F32, l->data, l->dtype, (size_t)count) : -1;
    for (int64_t i = 0; rc == 0 && i < count; i++)
        if (!(z[i] - z[i] == 0))
            rc = wan_err("tensor \"latent\": element %" PRId64 " is not finite", i);
    if (rc == 0)
        rc = wan_vae_decode(vae, z, Tl, h, w, take_frames, &t);
    free(z);
    if (rc < 0) {
        free(t.rgb);
        return -1;
    }
    if (!o.keep)
        wan_record_drop(r, "latent");
    total.frames += shape[0];
    return wan_record_add(r, "frames", WAN_U8, shape, 4, t.rgb, WAN_TAKE);
}

/* ---- the window of captions */

static int add_text(wan_record *r, const wan_caption_rows *c)
{
    int64_t shape[2] = { c->n, wan_captions_width(captions) };
    wan_record_drop(r, "text");
    wan_record_drop(r, "token_ids");
    WAN_TRY(add_floats(r, "text", type_named(o.text_dtype), shape, 2, c->rows));
    WAN_TRY(
        wan_record_add(r, "token_ids", WAN_I32, shape, 1, (void *)(uintptr_t)c->ids, WAN_BORROW));
    if (c->dropped) {
        json_object_set_new(r->meta, "text_tokens_dropped", json_integer(c->dropped));
        wan_warn("record %s: caption cut to %d tokens, %" PRId64 " lost", r->key,
                 WAN_CAPTION_TOKENS, c->dropped);
        total.cut++;
    }
    return 0;
}

/* Encodes the captions of all waiting records and writes the records in order. */
static int flush_queue(void)
{
    if (n_queue == 0)
        return 0;
    const char **text = wan_malloc((size_t)n_queue, sizeof *text, "captions");
    wan_caption_rows *rows = wan_malloc((size_t)n_queue, sizeof *rows, "captions");
    int rc = text && rows ? 0 : -1;
    for (int i = 0; rc == 0 && i < n_queue; i++)
        text[i] = json_string_value(json_object_get(queue[i].meta, "caption"));
    if (rc == 0 && wan_captions_missing(captions, text, n_queue)) {
        wan_progress(0, "%" PRIu64 " records, %d captions", total.records, n_queue);
        wan_vae_close(&vae); /* its buffers and the encoder's weights need not meet */
    }
    if (rc == 0)
        rc = wan_captions_encode(captions, rows, text, n_queue);
    for (int i = 0; rc == 0 && i < n_queue; i++) {
        rc = add_text(&queue[i], &rows[i]);
        if (rc == 0)
            rc = wan_writer_put(writer, &queue[i]);
        wan_record_clear(&queue[i]);
        total.texts++;
    }
    free(text);
    free(rows);
    n_queue = 0;
    queue_bytes = 0;
    return rc;
}

/* Takes r over (it is empty afterwards). */
static int enqueue(wan_record *r)
{
    const json_t *caption = json_object_get(r->meta, "caption");
    if (!json_is_string(caption))
        return wan_err("no caption");
    if (strlen(json_string_value(caption)) != json_string_length(caption))
        return wan_err("the caption holds a NUL character");
    for (int i = 0; i < r->n_tensors; i++)
        queue_bytes += r->tensors[i].bytes;
    queue[n_queue++] = *r;
    *r = (wan_record)WAN_RECORD_INIT;
    return n_queue == o.window || queue_bytes > QUEUE_BYTES ? flush_queue() : 0;
}

/* ---- the stream */

static int do_record(wan_record *r)
{
    total.records++;
    wan_progress(0, "%" PRIu64 " records, %" PRId64 " frames, %s", total.records, total.frames,
                 r->key);
    if (o.decode) {
        WAN_TRY(decode_latent(r));
        return wan_writer_put(writer, r);
    }
    if (!o.text_only)
        WAN_TRY(encode_frames(r));
    return enqueue(r);
}

static int do_stream(wan_reader *in, const char *name)
{
    wan_record r = WAN_RECORD_INIT;
    int rc;
    while ((rc = wan_reader_next(in, &r)) > 0) {
        char *key = strdup(r.key); /* the queue may take the record */
        rc = do_record(&r);
        if (rc < 0)
            wan_err_prefix("%s: record %" PRIu64 " (%s)", name, wan_reader_count(in),
                           key ? key : "");
        free(key);
        if (rc < 0)
            break;
    }
    wan_record_clear(&r);
    return rc < 0 ? -1 : flush_queue();
}

static int do_prompts(void)
{
    for (size_t i = 0; i < o.prompts.n; i++) {
        wan_record r = WAN_RECORD_INIT;
        char key[32];
        snprintf(key, sizeof key, "prompt_%06zu", i);
        if (wan_record_set_key(&r, key) < 0 ||
            json_object_set_new(r.meta, "caption", json_string(o.prompts.v[i])) < 0)
            return wan_err("prompt %zu is not valid UTF-8", i + 1);
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
    run = json_pack("{s:s, s:b, s:b, s:b, s:s, s:s}", "precision", o.precision, "decode", o.decode,
                    "text_only", o.text_only || o.prompts.n > 0, "keep_frames", o.keep,
                    "latent_dtype", o.latent_dtype, "text_dtype", o.text_dtype);
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
    WAN_TRY(flush_queue());
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
}

int main(int argc, char **argv)
{
    const char *name = "";
    FILE *f = NULL;
    wan_reader *in = NULL;
    wan_out *out;
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv);
    check_options(argc - argi);
    compute = strcmp(o.precision, "bf16") ? WAN_F32 : WAN_BF16;
    if (wan_dev_open(&dev, o.device, o.strict ? WAN_DEV_STRICT : 0) < 0)
        wan_die();
    if (!o.prompts.n && (wan_in_open(&f, argi < argc ? argv[argi] : "-", &name) < 0 ||
                         wan_reader_open(&in, f, name) < 0))
        wan_die();
    if (wan_out_open(&out, o.output) < 0 ||
        wan_refuse_terminal(fileno(wan_out_file(out)), o.force) < 0)
        wan_die();
    /* A model that does not fit is known before any work. */
    if ((!o.text_only && !o.prompts.n && need_vae() < 0) || (!o.decode && need_captions() < 0))
        wan_die();
    queue = wan_calloc((size_t)o.window, sizeof *queue, "records");
    if (!queue || begin_output(out, in ? wan_reader_header(in) : NULL) < 0)
        wan_die();
    if (in) {
        wan_reader_tee(in,
                       writer); /* records of a later version that may be ignored pass through */
        wan_reader_on_stream(in, next_stream, NULL);
    }
    if ((in ? do_stream(in, name) : do_prompts()) < 0)
        wan_die();
    wan_progress(1, "%" PRIu64 " records, %" PRId64 " frames", total.records, total.frames);
    if (wan_writer_finish(&writer) < 0 || wan_out_finish(&out) < 0)
        wan_die();
    free(queue);
    json_decref(run);
    wan_reader_close(&in);
    wan_in_close(f);
    wan_captions_close(&captions);
    wan_vae_close(&vae);
    wan_dev_close(&dev);
    summary();
    return WAN_EXIT_DONE;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-decode.c - video files and their captions to records of frames, on standard output.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/sha256.h"
#include "lib/base/signals.h"
#include "lib/media/clip_jobs.h"
#include "lib/media/clip_record.h"
#include "lib/media/video.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/record/record.h"

#define RESIZE_MODES "bilinear|bicubic|nearest|area|lanczos"

static struct {
    int64_t height, width, frames, num_frames, jobs, threads, allow_bad, max_clip;
    int64_t max_memory, max_cpu;
    const char *sandbox;
    const char *fps, *mode, *resize_mode, *output, *report, *key_prefix, *folder, *damaged;
    const char *untagged, *hdr, *interlaced, *background;
    const char *manifest, *caption_field, *captions, *take, *lengths, *rejects, *part;
    int64_t stride, pieces, max_pixels, max_tokens;
    int64_t min_frames, min_side, min_words, max_words;
    double max_gap, start, end, min_fps, max_fps, min_seconds, max_seconds, max_black, max_still;
    double scene_cut, max_wait;
    int dry_run, inputs;
    int center_crop, no_aspect_ratio, antialias, force;
} o = { .num_frames = 10,
        .max_clip = 4ll << 30,
        .max_memory = 8ll << 30,
        .max_cpu = 4 * 3600,
        .max_wait = 300,
        .sandbox = "auto",
        .antialias = 1,
        .damaged = "skip",
        .untagged = "auto",
        .hdr = "tonemap",
        .interlaced = "deinterlace",
        .background = "000000",
        .captions = "first",
        .take = "first",
        .max_gap = 10,
        .max_black = 1,
        .max_still = 1,
        .fps = "16",
        .mode = "video",
        .resize_mode = "bilinear",
        .output = "-" };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Input"),
    WAN_OPT_STR("video-folder", 0, "DIR", &o.folder, "one more folder, before the operands"),
    WAN_OPT_STR("manifest", 0, "FILE", &o.manifest,
                "a list of clips (CSV, TSV, JSON Lines, JSON), before the operands"),
    WAN_OPT_STR("part", 0, "I/N", &o.part,
                "of N parts of all clips only the I-th, by their paths (from 1 on)"),
    WAN_OPT_FLAG("inputs", 0, &o.inputs,
                 "decode nothing: write a table of the clips, to compare with that of another run"),
    WAN_OPT_STR("caption-field", 0, "NAME", &o.caption_field,
                "take captions from this field (default: the first known one)"),
    WAN_OPT_ENUM("captions", 0, "first|each|all", &o.captions,
                 "of several captions for a clip the first, a record for each, or all in one "
                 "record, of every known field"),
    WAN_OPT_GROUP("Size"),
    WAN_OPT_INT("height", 'H', "PIXELS", &o.height, 0, 16384,
                "height of the frames, a multiple of 16 (0: as the source)"),
    WAN_OPT_INT("width", 'W', "PIXELS", &o.width, 0, 16384,
                "width of the frames, a multiple of 16 (0: as the source)"),
    WAN_OPT_SIZE("max-pixels", 0, "N", &o.max_pixels, 0, 1 << 26,
                 "instead: of the usual aspects the nearest, at most this large, centre cropped"),
    WAN_OPT_SIZE("max-tokens", 0, "N", &o.max_tokens, 0, 1 << 26,
                 "the same, so that a record has at most so many tokens"),
    WAN_OPT_FLAG("center-crop", 'c', &o.center_crop,
                 "cover the size and cut off what stands over, instead of fitting inside it"),
    WAN_OPT_FLAG("no-aspect-ratio", 0, &o.no_aspect_ratio, "stretch to the size"),
    WAN_OPT_ENUM("resize-mode", 0, RESIZE_MODES, &o.resize_mode, "how pixels are interpolated"),
    WAN_OPT_FLAG("antialias", 0, &o.antialias,
                 "filters grow as pictures shrink; --no-antialias: those of OpenCV, as NeMo DFM"),
    WAN_OPT_GROUP("Colour"),
    WAN_OPT_ENUM("untagged", 0, "auto|bt601|bt709", &o.untagged,
                 "matrix of video that states none (auto: BT.709 from 720 lines on)"),
    WAN_OPT_ENUM("hdr", 0, "tonemap|refuse", &o.hdr,
                 "map HDR (PQ, HLG) to SDR, or leave such clips out"),
    WAN_OPT_ENUM("interlaced", 0, "deinterlace|keep|refuse", &o.interlaced,
                 "what to do with frames made of two fields"),
    WAN_OPT_STR("background", 0, "RRGGBB", &o.background, "colour behind transparency"),
    WAN_OPT_GROUP("Time"),
    WAN_OPT_ENUM("mode", 'm', "video|frames", &o.mode,
                 "one record per clip, or one per chosen frame"),
    WAN_OPT_STR("fps", 'r', "RATE", &o.fps, "re-time to this rate, or \"source\" (mode video)"),
    WAN_OPT_INT("frames", 'n', "N", &o.frames, 0, INT32_MAX,
                "keep at most the first N frames of a clip (mode video; 0: all)"),
    WAN_OPT_STR("lengths", 0, "N,N...", &o.lengths,
                "instead of --frames: the longest of these that a clip has (4n+1 each)"),
    WAN_OPT_ENUM("take", 0, "first|middle|every|slide|even", &o.take,
                 "where these frames are: at a clip's start, in its middle, in every piece of "
                 "that length, in pieces --stride apart, or in --pieces evenly over it (mode "
                 "video)"),
    WAN_OPT_INT("stride", 0, "N", &o.stride, 0, INT32_MAX,
                "frames from one piece to the next (slide; 0: half of one)"),
    WAN_OPT_INT("pieces", 0, "N", &o.pieces, 0, INT32_MAX,
                "of a clip or scene so many (even; 0: as cover it), or at most so many (every, "
                "slide; 0: all)"),
    WAN_OPT_REAL("scene-cut", 0, "SCORE", &o.scene_cut, 0, 100,
                 "cut where libavfilter's scdet gives this score, usually 10: each scene is a "
                 "clip of its own (mode video; 0: do not look)"),
    WAN_OPT_REAL("start", 0, "SECONDS", &o.start, 0, 1e9, "begin each clip here"),
    WAN_OPT_REAL("end", 0, "SECONDS", &o.end, 0, 1e9, "end each clip here (0: at its end)"),
    WAN_OPT_INT("num-frames", 0, "N", &o.num_frames, 1, 1000000,
                "frames to choose, evenly over the clip (mode frames)"),
    WAN_OPT_GROUP("Damage"),
    WAN_OPT_ENUM("damaged", 0, "skip|keep|stop", &o.damaged,
                 "leave out clips with damaged frames, keep what could be decoded, or end there"),
    WAN_OPT_REAL("max-gap", 0, "SECONDS", &o.max_gap, 0, 1e9,
                 "frames farther apart than this are damage (0: never)"),
    WAN_OPT_GROUP("Choice"),
    WAN_OPT_INT("min-frames", 0, "N", &o.min_frames, 0, INT32_MAX,
                "pass over clips of fewer frames, after re-timing"),
    WAN_OPT_INT("min-side", 0, "PIXELS", &o.min_side, 0, 65536,
                "pass over clips whose shorter side is less"),
    WAN_OPT_REAL("min-fps", 0, "RATE", &o.min_fps, 0, 1000, "pass over clips of a lower rate"),
    WAN_OPT_REAL("max-fps", 0, "RATE", &o.max_fps, 0, 1000, "or a higher one (0: any)"),
    WAN_OPT_REAL("min-seconds", 0, "SECONDS", &o.min_seconds, 0, 1e9, "pass over shorter clips"),
    WAN_OPT_REAL("max-seconds", 0, "SECONDS", &o.max_seconds, 0, 1e9, "or longer ones (0: any)"),
    WAN_OPT_INT("min-words", 0, "N", &o.min_words, 0, INT32_MAX,
                "pass over captions of fewer words"),
    WAN_OPT_INT("max-words", 0, "N", &o.max_words, 0, INT32_MAX, "or more (0: any)"),
    WAN_OPT_REAL("max-black", 0, "PART", &o.max_black, 0, 1,
                 "pass over pieces of which a larger part of the frames is black"),
    WAN_OPT_REAL("max-still", 0, "PART", &o.max_still, 0, 1, "or is as the frame before it"),
    WAN_OPT_GROUP("Output"),
    WAN_OPT_STR("output", 'o', "FILE", &o.output, "where the records go (\"-\": standard output)"),
    WAN_OPT_STR("key-prefix", 0, "TEXT", &o.key_prefix,
                "put this in front of every key, for runs whose records come together"),
    WAN_OPT_STR("report", 0, "FILE", &o.report,
                "one JSON line per clip: what came in, what was lost"),
    WAN_OPT_STR("rejects", 0, "FILE", &o.rejects,
                "one line per file that gives no record: its path, a tab, the reason"),
    WAN_OPT_FLAG("dry-run", 0, &o.dry_run,
                 "write no records but a table of what each file gives, or why it gives nothing"),
    WAN_OPT_INT("allow-bad", 0, "N", &o.allow_bad, 0, INT32_MAX,
                "exit with 0 although up to N clips had to be left out"),
    WAN_OPT_FLAG("force", 'f', &o.force, "write binary data even to a terminal"),
    WAN_OPT_GROUP("Resources"),
    WAN_OPT_INT("jobs", 'j', "N", &o.jobs, 0, 256,
                "files decoded at once (0: one per core, as far as there are files)"),
    WAN_OPT_INT("threads", 't', "N", &o.threads, 0, 256,
                "threads to decode each (0: its share of the cores, fewer for very small or large "
                "frames)"),
    WAN_OPT_SIZE("max-clip", 0, "BYTES", &o.max_clip, 1 << 20, 1ll << 40,
                 "a clip whose kept frames need more memory is bad"),
    WAN_OPT_SIZE("max-memory", 0, "BYTES", &o.max_memory, 64 << 20, 1ll << 40,
                 "memory for decoding one, beside them"),
    WAN_OPT_INT("max-cpu", 0, "SECONDS", &o.max_cpu, 1, INT32_MAX, "CPU time for decoding one"),
    WAN_OPT_REAL("max-wait", 0, "SECONDS", &o.max_wait, 0.1, 1e9,
                 "without a packet or frame a decoder is taken to hang"),
    WAN_OPT_ENUM("sandbox", 0, "auto|require|off", &o.sandbox,
                 "forbid decoders all but computing, where the kernel can; or else give up; or do "
                 "not"),
    WAN_OPT_ELSEWHERE("output-dir",
                      "frames are a stream here, and wan-shard --output-dir DIR makes the "
                      "shards: wan-decode ... | wan-encode --model DIR | wan-shard"),
    WAN_OPT_ELSEWHERE("output-folder",
                      "it is wan-shard that has --output-dir DIR, behind wan-encode"),
    WAN_OPT_ELSEWHERE("output-format",
                      "wan-shard makes tar shards, wan-record to-meta .meta files"),
    WAN_OPT_ELSEWHERE("shard-maxcount", "it is wan-shard that has it"),
    WAN_OPT_ELSEWHERE("model", "it is wan-encode that has it"),
    WAN_OPT_ELSEWHERE("device", "it is wan-encode that has it; frames are decoded on the CPU"),
    WAN_OPT_ELSEWHERE("stochastic", "wan-encode --posterior sample"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-decode", "decode video files and captions to frame records",
                               "[options] FILE|DIR...", table };

static struct {
    size_t clips, bad, strange, pictures, passed, records, refused;
    int64_t kept, trimmed, capped, scrap, damaged, captions_left, words, tokens;
    size_t empty; /* records of an empty caption */
} total;

static wan_clip_settings settings;
static wan_clip_jobs *jobs;
static wan_pieces pieces;
static json_t *buckets; /* by their names: [records, tokens] */

static int stopped;  /* by --damaged stop */
static int unwanted; /* the clip is passed over by a choice of the user */

static wan_writer *writer;
static int
    streamed; /* the frames of the clip at hand are in the output, where its record will be */
static wan_out *out, *report, *rejects;
static wan_out *table_out; /* out, in a dry run */

/* The place of a word among its option's. */
static int place(const char *word, const char *words)
{
    int at = 0;
    size_t n = strlen(word);
    for (const char *w = words; strncmp(w, word, n) || (w[n] && w[n] != '|'); at++)
        w = strchr(w, '|') + 1;
    return at;
}

static int colour(uint32_t *rgb, const char *text)
{
    char *end;
    unsigned long v = strtoul(text, &end, 16);
    if (strspn(text, "0123456789abcdefABCDEF") != 6 || text[6])
        return wan_err("--background %s: not six hexadecimal digits", text);
    *rgb = (uint32_t)v;
    return 0;
}

/* Options that do not go together. */
static int check_pieces(void)
{
    int video = !strcmp(o.mode, "video");
    if (o.lengths && (o.frames || !video))
        return wan_err("--lengths is for mode video, without --frames");
    if (strcmp(o.take, "first") && ((!o.frames && !o.lengths) || !video))
        return wan_err("--take %s needs --frames or --lengths, and mode video", o.take);
    if (o.scene_cut > 0 && !video)
        return wan_err("--scene-cut is for mode video");
    if ((o.max_pixels || o.max_tokens) && o.height)
        return wan_err("--max-pixels and --max-tokens choose the size: no --height and --width");
    if ((o.max_words && o.max_words < o.min_words) || (o.max_fps > 0 && o.max_fps < o.min_fps) ||
        (o.max_seconds > 0 && o.max_seconds < o.min_seconds))
        return wan_err("a smallest value is larger than the largest");
    pieces = (wan_pieces){ .take = (enum wan_take)place(o.take, "first|middle|every|slide|even"),
                           .frames = o.frames,
                           .stride = o.stride,
                           .most = o.pieces,
                           .least = o.min_frames };
    if (o.lengths && wan_pieces_parse(&pieces, o.lengths) < 0)
        return wan_err_prefix("--lengths");
    return 0;
}

static void set_settings(void)
{
    settings = (wan_clip_settings){
        .height = (int)o.height,
        .width = (int)o.width,
        .budget = o.max_pixels || o.max_tokens,
        .resize_mode = o.resize_mode,
        .all_captions = !strcmp(o.captions, "all"),
        .mode = o.mode,
        .background = o.background,
        .keep_aspect = !o.no_aspect_ratio,
        .center_crop = o.center_crop || ((o.max_pixels || o.max_tokens) && !o.no_aspect_ratio)
    };
}

/* Each output is a file of its own. */
static int check_outputs(void)
{
    const char *const name[] = { o.dry_run || o.inputs ? "the table" : "the records", "--report",
                                 "--rejects" },
                      *const to[] = { o.output, o.report, o.rejects };
    for (int i = 1; i < 3; i++)
        for (int k = 0; k < i; k++)
            if (to[i] && to[k] && !strcmp(to[i], to[k]))
                return wan_err("%s and %s cannot both go to %s", name[i], name[k],
                               strcmp(to[i], "-") ? to[i] : "standard output");
    return 0;
}

static int video_options(wan_video_options *v)
{
    double fps = 0;
    uint32_t background = 0;
    WAN_TRY(colour(&background, o.background));
    if (!o.height != !o.width)
        return wan_err("--height and --width must be given together");
    if (o.height % 16 || o.width % 16)
        return wan_err("--height %" PRId64 " --width %" PRId64 ": both must be multiples of 16",
                       o.height, o.width);
    WAN_TRY(check_outputs());
    WAN_TRY(check_pieces());
    if (o.end > 0 && o.end <= o.start)
        return wan_err("--end %g is not behind --start %g", o.end, o.start);
    if (strcmp(o.fps, "source"))
        WAN_TRY(wan_parse_real(&fps, o.fps, 0.1, 1000, "--fps"));
    set_settings();
    *v = (wan_video_options){ .height = (int)o.height,
                              .width = (int)o.width,
                              .resize = (enum wan_resize)place(o.resize_mode, RESIZE_MODES),
                              .aliased = !o.antialias,
                              .untagged = (enum wan_untagged)place(o.untagged, "auto|bt601|bt709"),
                              .hdr = (enum wan_hdr)place(o.hdr, "tonemap|refuse"),
                              .interlaced = (enum wan_interlaced)place(o.interlaced,
                                                                       "deinterlace|keep|refuse"),
                              .background = background,
                              .fps = fps,
                              .fit = o.no_aspect_ratio ? WAN_FIT_STRETCH
                                     : o.center_crop   ? WAN_FIT_CROP
                                                       : WAN_FIT_INSIDE,
                              .max_frames = o.frames,
                              .max_pixels = o.max_pixels,
                              .scene_cut = o.scene_cut,
                              .look = o.max_black < 1 || o.max_still < 1,
                              .threads = (int)o.threads,
                              .max_gap = o.max_gap,
                              .max_bytes = o.max_clip };
    return 0;
}

static json_t *provenance(void)
{
    json_t *opts = json_pack(
        "{s:I, s:I, s:b, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f}", "height",
        (json_int_t)o.height, "width", (json_int_t)o.width, "center_crop", o.center_crop,
        "no_aspect_ratio", o.no_aspect_ratio, "antialias", o.antialias, "resize_mode",
        o.resize_mode, "mode", o.mode, "damaged", o.damaged, "untagged", o.untagged, "hdr", o.hdr,
        "interlaced", o.interlaced, "background", o.background, "max_gap", o.max_gap);
    json_object_set_new(opts, "captions", json_string(o.captions));
    json_object_set_new(opts, "take", json_string(o.take));
    json_object_set_new(opts, "stride", json_integer(o.stride));
    json_object_set_new(opts, "pieces", json_integer(o.pieces));
    json_object_set_new(opts, "lengths", o.lengths ? json_string(o.lengths) : json_null());
    json_object_set_new(opts, "scene_cut", json_real(o.scene_cut));
    json_object_set_new(opts, "max_pixels", json_integer(o.max_pixels));
    json_object_set_new(opts, "max_tokens", json_integer(o.max_tokens));
    json_object_set_new(opts, "caption_field",
                        o.caption_field ? json_string(o.caption_field) : json_null());
    json_object_set_new(opts, "start", json_real(o.start));
    json_object_set_new(opts, "end", json_real(o.end));
    if (!strcmp(o.mode, "frames")) {
        json_object_set_new(opts, "num_frames", json_integer(o.num_frames));
    } else {
        json_object_set_new(opts, "fps", json_string(o.fps));
        json_object_set_new(opts, "frames", json_integer(o.frames));
    }
    json_t *head = wan_provenance_append(NULL, "wan-decode", opts);
    json_decref(opts);
    return head;
}

/* Text for a table: no tab or line end in it. */
static void put_text(FILE *f, const char *text)
{
    for (; *text; text++)
        if (*text == '\t' || *text == '\n' || *text == '\r' || *text == '\\')
            fprintf(f, "\\x%02x", (unsigned char)*text);
        else
            putc(*text, f);
}

/* Width, height and frames, where they are chosen for each clip; "" where not. */
static const char *bucket_of(const wan_video *v, const wan_clip_part *part)
{
    static char text[64];
    text[0] = 0;
    if (o.max_pixels || o.max_tokens || o.lengths)
        snprintf(text, sizeof text, "%dx%dx%" PRId64, v->width, v->height, part->frames);
    return text;
}

static void count_bucket(const char *name, int64_t tokens)
{
    json_t *b = *name ? json_object_get(buckets, name) : NULL;
    int64_t records = json_integer_value(json_array_get(b, 0)),
            sum = json_integer_value(json_array_get(b, 1));
    if (*name)
        json_object_set_new(
            buckets, name,
            json_pack("[I, I]", (json_int_t)records + 1, (json_int_t)(sum + tokens)));
}

/* A row of the table of --dry-run. */
static int put_row(const char *key, const wan_clip *clip, const wan_video *v,
                   const wan_clip_part *part, int64_t tokens)
{
    FILE *t = wan_out_file(table_out);
    put_text(t, clip->path);
    fprintf(t, "\t%s\t%" PRId64 "\t%.6g\t%" PRId64 "\t%d\t%d\t%s\t%" PRId64 "\t\n", key,
            v->frames_in, v->fps_in, part->frames, v->height, v->width, bucket_of(v, part), tokens);
    return ferror(t) ? wan_err_errno("%s: write failed", wan_out_name(table_out)) : 0;
}

static int64_t words_in(const char *text)
{
    int64_t n = 0;
    for (;;) {
        text += strspn(text, " \t\r\n\v\f");
        if (!*text)
            return n;
        n++;
        text += strcspn(text, " \t\r\n\v\f");
    }
}

/* Writes one part of v as a record.  -1 is a failure of the output, never of the clip. */
static int put_record(const char *key, const wan_clip *clip, const wan_clip_captions *captions,
                      const wan_video *v, const wan_clip_part *part)
{
    int64_t tokens = wan_pieces_tokens(part->frames, v->height, v->width);
    wan_record r = WAN_RECORD_INIT;
    int rc;
    if (o.dry_run) {
        rc = put_row(key, clip, v, part, tokens);
    } else {
        rc = wan_clip_record(&r, key, &settings, clip, captions, v, part);
        if (!rc && *bucket_of(v, part))
            json_object_set_new(r.meta, "bucket", json_string(bucket_of(v, part)));
        if (!rc)
            rc = streamed ? wan_writer_end(writer, &r) : wan_writer_put(writer, &r);
        wan_record_clear(&r);
    }
    count_bucket(bucket_of(v, part), tokens);
    total.records += !rc;
    total.empty += !words_in(captions->v[part->caption]);
    total.tokens += tokens;
    return rc;
}

static void add_loss(json_t *lost, int64_t frames, const char *why)
{
    if (frames > 0)
        json_array_append_new(lost,
                              json_pack("{s:I, s:s}", "frames", (json_int_t)frames, "why", why));
}

/* The row of a file that gives nothing, in --rejects and in the table of --dry-run. */
static int put_reject(const wan_clip *clip, const char *why)
{
    FILE *f = rejects ? wan_out_file(rejects) : NULL,
         *t = table_out ? wan_out_file(table_out) : NULL;
    if (f) {
        put_text(f, clip->path);
        putc('\t', f);
        put_text(f, why);
        putc('\n', f);
    }
    if (t) {
        put_text(t, clip->path);
        fputs("\t\t0\t0\t0\t0\t0\t\t0\t", t);
        put_text(t, why);
        putc('\n', t);
    }
    return (f && ferror(f)) || (t && ferror(t)) ? wan_err_errno("write failed") : 0;
}

/* One line of --report; takes entry.  NULL: the clip gives nothing, for the recorded reason. */
static int report_clip(const wan_clip *clip, json_t *entry)
{
    if (!report) {
        json_decref(entry);
        return 0;
    }
    if (!entry)
        entry = json_pack("{s:s, s:o}", "status",
                          clip->strange || unwanted ? "passed over" : "left out", "error",
                          wan_json_text(wan_err_text()));
    json_object_set_new(entry, "file", wan_json_text(clip->path));
    return wan_json_line(wan_out_file(report), wan_out_name(report), entry);
}

static json_t *report_entry(const char *key, const wan_clip_captions *captions, const wan_video *v,
                            int64_t kept, json_t *lost)
{
    return json_pack("{s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:f, s:[i, i], s:[i, i], s:I, s:o}",
                     "status", "ok", "key", key, "frames_in", (json_int_t)v->frames_in, "fps_in",
                     v->fps_in, "frames_damaged", (json_int_t)v->damaged, "stamps_repeated",
                     (json_int_t)v->repeated, "frames_retimed", (json_int_t)v->frames_retimed,
                     "frames_kept", (json_int_t)kept, "fps", v->fps, "source_size",
                     v->source_height, v->source_width, "size", v->height, v->width, "words",
                     (json_int_t)words_in(captions->v[0]), "lost", lost);
}

/* A key that no other record has; two clips of one name are told of. */
static char *new_key(wan_clips *c, const wan_clip *clip, const wan_clip_part *part)
{
    char *key = wan_clips_key(c, clip, part->piece, part->caption + 1, part->frame_index);
    if (key && part->frame_index < 2 && part->caption == 0 && part->piece < 2 && strstr(key, "_-n"))
        wan_warn("%s: another clip has its key; it becomes %s", clip->path, key);
    return key;
}

/* A record for each caption that is wanted; *first is the key of the first one, malloc'ed. */
static int put_part(wan_clips *c, const wan_clip *clip, const wan_clip_captions *captions,
                    const wan_video *v, wan_clip_part part, char **first)
{
    int n = strcmp(o.captions, "each") ? 1 : captions->n, rc = 0;
    for (; part.caption < n && !rc; part.caption++) {
        char *key = new_key(c, clip, &part);
        rc = key ? put_record(key, clip, captions, v, &part) : -1;
        if (!*first)
            *first = key;
        else
            free(key);
    }
    return rc;
}

/* What became of the frames of a clip. */
typedef struct tally {
    int64_t places, pieces, scenes, kept, trimmed, covered, end, scrap;
} tally;

/* Frames of a part that have a mark; behind its first one, where they are compared. */
static double share_of(const wan_video *v, const wan_clip_part *part, int mark)
{
    int64_t n = 0, from = mark == WAN_MARK_STILL, of = part->frames - from;
    for (int64_t i = from; i < part->frames; i++)
        n += (v->mark[part->first + i] & mark) != 0;
    return of > 0 ? (double)n / (double)of : 0;
}

/* 1 the part is not wanted, and that is told; -1. */
static int refuse(const wan_clip *clip, const wan_video *v, const wan_clip_part *part)
{
    double black = o.max_black < 1 ? share_of(v, part, WAN_MARK_BLACK) : 0;
    double still = o.max_still < 1 ? share_of(v, part, WAN_MARK_STILL) : 0;
    if (black <= o.max_black && still <= o.max_still)
        return 0;
    int dark = black > o.max_black;
    wan_err("%s: frames %" PRId64 " to %" PRId64 ": %.0f %% are %s, and --max-%s %g", clip->path,
            part->first, part->first + part->frames - 1, 100 * (dark ? black : still),
            dark ? "black" : "still", dark ? "black" : "still", dark ? o.max_black : o.max_still);
    wan_verbose("%s; it is passed over", wan_err_text());
    total.refused++;
    return put_reject(clip, wan_err_text()) < 0 ? -1 : 1;
}

/* The pieces of n frames from `from` on, which are one scene. */
static int put_scene(wan_clips *c, const wan_clip *clip, const wan_clip_captions *captions,
                     const wan_video *v, int64_t from, int64_t n, tally *t, char **first)
{
    int64_t length = wan_pieces_length(&pieces, n), each = 1 + (length - 1) / 4 * 4;
    int64_t count = length ? wan_pieces_count(&pieces, n, length) : 0;
    t->scenes++;
    t->scrap += length ? 0 : n;
    for (int64_t i = 0; i < count; i++) {
        wan_clip_part part = { .first = from + wan_pieces_at(&pieces, n, length, i),
                               .frames = each,
                               .piece = ++t->places,
                               .scene = o.scene_cut > 0 ? t->scenes : 0 };
        int refused = refuse(clip, v, &part);
        WAN_TRY(refused);
        if (refused)
            continue;
        WAN_TRY(put_part(c, clip, captions, v, part, first));
        t->pieces++;
        t->kept += each;
        t->trimmed += length - each;
        t->covered += part.first + length - (part.first > t->end ? part.first : t->end);
        t->end = part.first + length;
    }
    return 0;
}

/* -1: the output failed. */
static int put_scenes(wan_clips *c, const wan_clip *clip, const wan_clip_captions *captions,
                      const wan_video *v, tally *t, char **first)
{
    int64_t from = 0;
    for (int64_t i = 1; i <= v->frames; i++)
        if (i == v->frames || (o.scene_cut > 0 && v->mark[i] & WAN_MARK_CUT)) {
            WAN_TRY(put_scene(c, clip, captions, v, from, i - from, t, first));
            from = i;
        }
    return 0;
}

/* A clip of which every piece was refused, or no scene is long enough. */
static int pass_over(const wan_clip *clip, const tally *t)
{
    if (t->scrap)
        wan_err("%s: none of its %" PRId64 " scenes is long enough", clip->path, t->scenes);
    total.passed++;
    unwanted = 1;
    wan_verbose("%s; it is passed over", wan_err_text());
    if (t->scrap)
        WAN_TRY(put_reject(clip, wan_err_text()));
    return report_clip(clip, NULL);
}

static int put_video(wan_clips *c, const wan_clip *clip, const wan_clip_captions *captions,
                     const wan_video *v, char **first)
{
    tally t = { 0 };
    WAN_TRY(put_scenes(c, clip, captions, v, &t, first));
    if (!t.pieces)
        return pass_over(clip, &t);
    int64_t capped = v->frames_retimed - t.covered - t.scrap;
    wan_verbose("%s: %" PRId64 " frames at %.4g fps are %" PRId64 " at %.4g fps, %" PRId64
                " kept in %" PRId64 " records (%" PRId64 " outside --frames, %" PRId64
                " in short scenes, %" PRId64 " trimmed to 4n+1)",
                clip->path, v->frames_in, v->fps_in, v->frames_retimed, v->fps, t.kept, t.pieces,
                capped, t.scrap, t.trimmed);
    json_t *lost = json_array();
    add_loss(lost, capped, strcmp(o.take, "first") ? "outside --frames" : "behind --frames");
    add_loss(lost, t.scrap, "in scenes that are too short");
    add_loss(lost, t.trimmed, "trimmed to 4n+1");
    total.kept += t.kept;
    total.capped += capped;
    total.scrap += t.scrap;
    total.trimmed += t.trimmed;
    return report_clip(clip, report_entry(*first, captions, v, t.kept, lost));
}

static int put_frames(wan_clips *c, const wan_clip *clip, const wan_clip_captions *captions,
                      const wan_video *v, char **first)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < v->frames; i++) {
        wan_clip_part part = { .first = i, .frames = 1, .frame_index = i + 1 };
        int refused = refuse(clip, v, &part);
        WAN_TRY(refused);
        if (!refused)
            WAN_TRY(put_part(c, clip, captions, v, part, first));
        kept += !refused;
    }
    if (!kept)
        return pass_over(clip, &(tally){ 0 });
    wan_verbose("%s: %" PRId64 " of %" PRId64 " frames", clip->path, kept, v->frames_in);
    total.kept += kept;
    return report_clip(clip, report_entry(*first, captions, v, kept, json_array()));
}

/* Damage by --damaged: -1 the clip is left out. */
static int judge(const wan_clip *clip, const wan_video *v)
{
    if (v->repeated)
        wan_info("%s: %" PRId64 " time stamp%s repeated", clip->path, v->repeated,
                 v->repeated == 1 ? "" : "s");
    if (v->edits)
        wan_warn("%s: %d edits of its list change the speed, which is not done here", clip->path,
                 v->edits);
    if (v->streams > 1)
        wan_info("%s: of its %d video streams that of %d x %d pixels is decoded", clip->path,
                 v->streams, v->source_height, v->source_width);
    if (!v->damaged)
        return 0;
    wan_err("%s: damaged or truncated: %" PRId64 " of %" PRId64 " frames (%s)", clip->path,
            v->damaged, v->frames_in, v->damage);
    if (strcmp(o.damaged, "keep")) {
        stopped = !strcmp(o.damaged, "stop");
        return -1;
    }
    wan_warn("%s; this clip is kept", wan_err_text());
    total.damaged++;
    return 0;
}

/* Rates are told from time stamps, which a container rounds (Matroska to a millisecond), and written with
 * few digits: 23.976 for 24000/1001.  So near two are the same, as are lengths half a frame apart. */
#define SAME_RATE 0.005

/* The user's choice: -1 the clip is passed over. */
static int choose(const wan_clip *clip, const wan_video *v)
{
    int side = v->source_height < v->source_width ? v->source_height : v->source_width;
    double seconds = v->fps_in > 0 ? (double)v->frames_in / v->fps_in : 0,
           half = v->fps_in > 0 ? 0.501 / v->fps_in : 0;
    int64_t least = pieces.n_lengths ? pieces.length[0] : wan_pieces_all(&pieces) ? o.frames : 1;
    if (least < o.min_frames)
        least = o.min_frames;
    if (v->frames_retimed < least)
        wan_err("%s: %" PRId64 " frames, fewer than %" PRId64, clip->path, v->frames_retimed,
                least);
    else if (side < o.min_side)
        wan_err("%s: %d x %d pixels, and --min-side %" PRId64, clip->path, v->source_height,
                v->source_width, o.min_side);
    else if (v->fps_in < o.min_fps * (1 - SAME_RATE) ||
             (o.max_fps > 0 && v->fps_in > o.max_fps * (1 + SAME_RATE)))
        wan_err("%s: %.4g frames a second, and --%s-fps %g", clip->path, v->fps_in,
                v->fps_in < o.min_fps ? "min" : "max",
                v->fps_in < o.min_fps ? o.min_fps : o.max_fps);
    else if (seconds < o.min_seconds - half ||
             (o.max_seconds > 0 && seconds > o.max_seconds + half))
        wan_err("%s: %.4g seconds, and --%s-seconds %g", clip->path, seconds,
                seconds < o.min_seconds ? "min" : "max",
                seconds < o.min_seconds ? o.min_seconds : o.max_seconds);
    else
        return 0;
    unwanted = 1;
    return -1;
}

/* Captions that are wanted stay; -1 none. */
static int choose_captions(const wan_clip *clip, wan_clip_captions *c)
{
    int kept = 0, looked = strcmp(o.captions, "first") ? c->n : 1;
    int64_t n = 0;
    for (int i = 0; i < looked; i++) {
        n = words_in(c->v[i]);
        int good = n >= o.min_words && (!o.max_words || n <= o.max_words);
        char *text = c->v[i];
        c->v[i] = c->v[kept];
        c->v[kept] = text;
        if (good && kept < i)
            memcpy(c->field[kept], c->field[i], sizeof *c->field);
        kept += good;
    }
    total.words += looked - kept;
    if (!kept)
        return wan_err("%s: a caption of %" PRId64 " words, and --%s-words %" PRId64, clip->path, n,
                       n < o.min_words ? "min" : "max",
                       n < o.min_words ? o.min_words : o.max_words);
    for (int i = kept; i < looked; i++)
        free(c->v[i]);
    if (looked == c->n)
        c->n = kept;
    return 0;
}

/* The part of the file that is meant. */
static void set_window(wan_video_options *opt, const wan_clip *clip)
{
    opt->start = clip->start;
    opt->end = clip->end;
    opt->first_frame = clip->first_frame;
    opt->end_frame = clip->end_frame;
}

/* What is to be read of a clip. */
static wan_clip_task task_of(const wan_clip *clip, wan_video_options opt, int captions)
{
    int stream = !o.dry_run && !strcmp(o.mode, "video") && !strcmp(o.take, "first") && !o.lengths &&
                 o.scene_cut <= 0 && (strcmp(o.captions, "each") || captions == 1) &&
                 wan_writer_late(writer);
    if (wan_pieces_all(&pieces) || o.scene_cut > 0)
        opt.max_frames = 0;
    set_window(&opt, clip);
    return (wan_clip_task){ .path = clip->path,
                            .video = opt,
                            .chosen = strcmp(o.mode, "frames") ? 0 : o.num_frames,
                            .middle = !strcmp(o.take, "middle") && opt.max_frames,
                            .pieces = pieces,
                            .max_tokens = o.max_tokens,
                            .stream = stream };
}

/* A clip that gives nothing, for the recorded reason. */
static int leave_out(const wan_clip *clip)
{
    if (clip->strange == WAN_STRANGE_PICTURE)
        total.pictures++;
    else if (unwanted)
        total.passed++;
    else if (clip->strange)
        total.strange++;
    else
        total.bad++;
    if (clip->strange == WAN_STRANGE_PICTURE || unwanted)
        wan_verbose("%s; it is passed over", wan_err_text());
    else
        wan_warn("%s; %s", wan_err_text(),
                 stopped         ? "the run ends here"
                 : clip->strange ? "it is passed over"
                                 : "this clip is left out");
    WAN_TRY(put_reject(clip, wan_err_text()));
    return report_clip(clip, NULL);
}

/* The captions of the clips that are being decoded, in their order. */
static struct {
    wan_clip_captions *v;
    size_t room, first, n;
} waiting;

/* Why there is nothing to read becomes the clip's reason.  1: not now; -1: no process can be had. */
static int begin_clip(wan_clip *clip, const wan_video_options *opt, size_t behind)
{
    wan_clip_captions *captions = &waiting.v[(waiting.first + waiting.n) % waiting.room];
    if (clip->why)
        return 0;
    if (!clip->start && !clip->end && !clip->first_frame && !clip->end_frame) {
        clip->start = o.start;
        clip->end = o.end;
    }
    int rc = wan_clip_captions_read(captions, clip, o.caption_field, settings.all_captions);
    if (rc == 0 && choose_captions(clip, captions) < 0) {
        wan_clip_captions_free(captions);
        clip->strange = WAN_STRANGE_CAPTION;
        rc = -1;
    }
    if (rc < 0) {
        clip->why = strdup(wan_err_text());
        return clip->why ? 0 : wan_err("%s: out of memory", clip->path);
    }
    wan_clip_task task = task_of(clip, *opt, captions->n);
    rc = wan_clip_jobs_put(jobs, &task, behind);
    if (rc == 0)
        waiting.n++;
    else
        wan_clip_captions_free(captions);
    return rc;
}

/* Once: what the man page promises does not hold here. */
static void tell_unfiltered(void)
{
    static int told;
    const char *why = wan_clip_jobs_unfiltered(jobs);
    if (why && !told)
        wan_warn("%s: a decoder led astray by its file is held by limits alone", why);
    told |= !!why;
}

/* Room for the record of a clip that is streamed, about as large as it will be. */
static int begin_record(const wan_clip *clip, wan_video *like)
{
    int64_t n = o.frames && o.frames < like->frames_retimed ? o.frames : like->frames_retimed;
    wan_clip_part part = { .frames = (n - 1) / 4 * 4 + 1 };
    wan_record r = WAN_RECORD_INIT;
    char *key = wan_clip_key_make(o.key_prefix, clip->stem);
    int rc = key && wan_writer_undo(writer) == 0 ? 0 : -1;
    if (rc == 0)
        rc = wan_clip_record(&r, key, &settings, clip, &waiting.v[waiting.first], like, &part);
    if (rc == 0 && *bucket_of(like, &part))
        json_object_set_new(r.meta, "bucket", json_string(bucket_of(like, &part)));
    if (rc == 0)
        rc = wan_writer_begin(writer, &r);
    wan_record_clear(&r);
    free(key);
    streamed = rc == 0;
    return rc;
}

/* Some frames of the oldest clip go to the output: 1, 0 there are no more; -1 that failed.  *bad: the clip is,
 * and nothing is left of it.  v: as wan_clip_jobs_frames. */
static int put_some(const wan_clip *clip, wan_video *v, int *bad)
{
    wan_clip_frames f;
    int rc = wan_clip_jobs_frames(jobs, v, &f);
    *bad = rc < 0;
    if (rc > 0 && f.first)
        WAN_TRY(begin_record(clip, &f.like));
    if (rc > 0)
        WAN_TRY(wan_writer_data(writer, f.rgb, f.bytes));
    return rc < 0 ? 0 : rc;
}

/* The frames of the oldest clip, which has ended: those that wait, or those that have not been put yet.  -1: the
 * output failed; *bad: as put_some. */
static int get_frames(const wan_clip *clip, wan_video *v, int *bad)
{
    int rc = 1;
    if (!wan_clip_jobs_streams(jobs)) {
        *bad = !o.dry_run && wan_clip_jobs_pixels(jobs, v) < 0;
        return 0;
    }
    while (rc > 0)
        rc = put_some(clip, v, bad);
    return rc;
}

/* A clip that gives nothing is taken back, as far as it was put. */
static int take_back(const wan_clip *clip)
{
    WAN_TRY(leave_out(clip));
    return streamed ? wan_writer_undo(writer) : 0;
}

static void next_decoded(char *first)
{
    free(first);
    wan_clip_captions_free(&waiting.v[waiting.first]);
    waiting.first = (waiting.first + 1) % waiting.room;
    waiting.n--;
    streamed = 0;
    wan_clip_jobs_done(jobs);
}

/* Of the oldest clip that was decoded; -1: the output failed. */
static int end_decoded(wan_clips *c, const wan_clip *clip)
{
    wan_video v;
    char *first = NULL;
    int bad = wan_clip_jobs_take(jobs, &v) < 0, rc = 0;
    wan_clip_captions *captions = &waiting.v[waiting.first];
    tell_unfiltered();
    if (!bad && choose(clip, &v) == 0 && judge(clip, &v) == 0)
        rc = get_frames(clip, &v, &bad);
    else
        bad = 1;
    if (rc == 0 && bad)
        rc = take_back(clip);
    else if (rc == 0) {
        total.captions_left += strcmp(o.captions, "first") ? 0 : captions->n - 1;
        rc = strcmp(o.mode, "frames") ? put_video(c, clip, captions, &v, &first)
                                      : put_frames(c, clip, captions, &v, &first);
    }
    if (rc == 0 && streamed)
        rc = wan_writer_undo(writer); /* where it gave no record */
    next_decoded(first);
    return rc;
}

/* Frames of the oldest clip, while it is decoded: 1 it is bad, and over; -1 the output failed. */
static int stream_clip(const wan_clip *clip)
{
    int bad;
    WAN_TRY(put_some(clip, NULL, &bad));
    if (!bad)
        return 0;
    unwanted = 0;
    total.clips++;
    int rc = take_back(clip);
    next_decoded(NULL);
    return rc < 0 ? -1 : 1;
}

static int end_clip(wan_clips *c, const wan_clip *clip)
{
    unwanted = clip->strange == WAN_STRANGE_CAPTION;
    total.clips += !clip->strange || unwanted;
    if (!clip->why)
        return end_decoded(c, clip);
    wan_err("%s", clip->why);
    return leave_out(clip);
}

/* Clips are begun as there is room, and ended in their order.  -1: the output failed. */
static int decode_all(wan_clips *c, const wan_video_options *opt)
{
    size_t begun = 0, ended = 0;
    while (ended < c->n && !stopped) {
        for (int rc = 0; begun < c->n && wan_clip_jobs_room(jobs); begun++) {
            WAN_TRY(rc = begin_clip(&c->v[begun], opt, c->n - begun - 1));
            if (rc > 0)
                break;
        }
        int ready = c->v[ended].why ? 1 : wan_clip_jobs_wait(jobs);
        if (ready == 2) {
            WAN_TRY(ready = stream_clip(&c->v[ended]));
            ended += (size_t)ready;
            continue;
        }
        if (ready < 0)
            return -1;
        if (!ready)
            continue;
        wan_progress(0, "%zu of %zu clips, %" PRId64 " frames, %s", ended, c->n, total.kept,
                     c->v[ended].name);
        WAN_TRY(end_clip(c, &c->v[ended++]));
    }
    return 0;
}

static int open_jobs(void)
{
    wan_child_limits limits = {
        .memory = o.max_memory + o.max_clip,
        .seconds = o.max_cpu,
        .patience = o.max_wait,
        .filter = (enum wan_child_filter)place(o.sandbox, "auto|require|off"),
    };
    buckets = json_object();
    if (o.scene_cut > 0)
        WAN_TRY(wan_video_filter_load());
    tzset(); /* reads its file now: decoders may not */
    WAN_TRY(wan_clip_jobs_open(&jobs, (int)o.jobs, &limits, o.max_clip));
    waiting.room = wan_clip_jobs_most(jobs) + 1;
    waiting.v = wan_calloc(waiting.room, sizeof *waiting.v, "captions");
    return waiting.v ? 0 : -1;
}

static void summary(void)
{
    wan_info("%zu clips, %zu records, %" PRId64 " frames kept; %" PRId64
             " trimmed to 4n+1, %" PRId64 " behind --frames; %zu bad clips left out",
             total.clips, total.records, total.kept, total.trimmed, total.capped, total.bad);
    if (total.damaged)
        wan_info("%" PRId64 " damaged clips are among the records", total.damaged);
    if (total.passed)
        wan_info("%zu clips passed over by choice (-v names them)", total.passed);
    if (total.refused)
        wan_info("%zu pieces passed over as black or still (-v names them)", total.refused);
    if (total.scrap)
        wan_info("%" PRId64 " frames are in scenes that are too short", total.scrap);
    if (total.empty)
        wan_info("%zu records have an empty caption", total.empty);
    if (total.words)
        wan_info("%" PRId64 " captions passed over for their number of words", total.words);
    const char *name;
    const json_t *count;
    json_object_foreach(buckets, name, count)
        wan_info("%s: %" PRId64 " records, %" PRId64 " tokens", name,
                 (int64_t)json_integer_value(json_array_get(count, 0)),
                 (int64_t)json_integer_value(json_array_get(count, 1)));
    if (o.dry_run)
        wan_info("%zu records of %" PRId64 " tokens; nothing was written", total.records,
                 total.tokens);
    if (total.captions_left)
        wan_info("%" PRId64 " more captions were left (--captions each and all take them)",
                 total.captions_left);
    if (total.strange)
        wan_info("%zu files have a caption but no video's name and were passed over",
                 total.strange);
    if (total.pictures)
        wan_info("%zu pictures without a caption of their own were passed over (-v names them)",
                 total.pictures);
}

static void close_jobs(void)
{
    wan_clip_jobs_close(&jobs);
    for (size_t i = 0; i < waiting.n; i++)
        wan_clip_captions_free(&waiting.v[(waiting.first + i) % waiting.room]);
    free(waiting.v);
}

/* "I/N" */
static int choose_part(wan_clips *c)
{
    char *end = NULL;
    unsigned long i = o.part ? strtoul(o.part, &end, 10) : 1,
                  n = end && *end == '/' ? strtoul(end + 1, &end, 10) : 1;
    if (o.part && (*end || !strchr(o.part, '/') || i < 1 || i > n || n > 100000))
        return wan_err("--part %s: not I/N with 1 <= I <= N", o.part);
    wan_clips_part(c, (uint32_t)i - 1, (uint32_t)n);
    return 0;
}

/* Seconds, frames, or both. */
static void put_moment(FILE *f, double seconds, int64_t frame)
{
    fprintf(f, "\t%.15g", seconds);
    if (frame)
        fprintf(f, "+%" PRId64 "f", frame);
}

/* A line of --inputs: all that a clip's records depend on, without reading the clip. */
static int put_input(FILE *f, const wan_clip *clip)
{
    wan_clip_captions captions = { 0 };
    struct stat st;
    wan_sha256 sum;
    char hex[65] = "", why[1024] = "";
    wan_sha256_init(&sum);
    if (clip->why || wan_clip_captions_read(&captions, clip, o.caption_field, 1) < 0) {
        if (!clip->why && wan_err_memory())
            return -1;
        snprintf(why, sizeof why, "%s", clip->why ? clip->why : wan_err_text());
    }
    for (int i = 0; i < captions.n; i++)
        wan_sha256_add(&sum, captions.v[i], strlen(captions.v[i]) + 1);
    if (captions.n)
        wan_sha256_hex(&sum, hex);
    wan_clip_captions_free(&captions);
    int there = stat(clip->path, &st) == 0;
    if (!there && !*why && errno != ENOENT && errno != ENOTDIR)
        snprintf(why, sizeof why, "%s: %s", clip->path, strerror(errno));
    put_text(f, clip->path);
    fprintf(f, "\t%lld\t%lld.%09ld", there ? (long long)st.st_size : -1,
            there ? (long long)st.st_mtim.tv_sec : 0, there ? st.st_mtim.tv_nsec : 0);
    put_moment(f, clip->start, clip->first_frame);
    put_moment(f, clip->end, clip->end_frame);
    fprintf(f, "\t%.16s\t", hex);
    put_text(f, why);
    putc('\n', f);
    return ferror(f) ? wan_err_errno("write failed") : 0;
}

static int list_inputs(const wan_clips *c)
{
    WAN_TRY(wan_out_open(&out, o.output));
    fputs("file\tbytes\tchanged\tstart\tend\tcaptions\twhy_not\n", wan_out_file(out));
    for (size_t i = 0; i < c->n; i++)
        WAN_TRY(put_input(wan_out_file(out), &c->v[i]));
    return wan_out_finish(&out);
}

static void open_outputs(void)
{
    if (wan_out_open(&out, o.output) < 0 || (o.report && wan_out_open(&report, o.report) < 0) ||
        (o.rejects && wan_out_open(&rejects, o.rejects) < 0))
        wan_die();
    if (o.dry_run) {
        table_out = out;
        fputs("file\tkey\tframes_in\tfps_in\tframes\theight\twidth\tbucket\ttokens\twhy_not\n",
              wan_out_file(out));
        return;
    }
    json_t *head = provenance();
    if (wan_refuse_terminal(fileno(wan_out_file(out)), o.force) < 0 ||
        wan_writer_open(&writer, wan_out_file(out), wan_out_name(out), head) < 0)
        wan_die();
    json_decref(head);
}

int main(int argc, char **argv)
{
    wan_video_options opt;
    wan_clips clips = { 0 };
    wan_signals_filter();
    wan_version_add(wan_video_version);
    int argi = wan_opt_parse(&tool, argc, argv);
    int nothing = argi == argc && !o.folder && !o.manifest;
    if (nothing)
        wan_err("no video file or folder given");
    if (nothing || video_options(&opt) < 0)
        wan_die_usage();
    clips.prefix = o.key_prefix;
    if ((o.manifest && wan_clips_list(&clips, o.manifest) < 0) ||
        (o.folder && wan_clips_add(&clips, o.folder) < 0))
        wan_die();
    for (; argi < argc; argi++)
        if (wan_clips_add(&clips, argv[argi]) < 0)
            wan_die();
    if (choose_part(&clips) < 0)
        wan_die_usage();
    if (o.inputs) {
        if (list_inputs(&clips) < 0)
            wan_die();
        wan_clips_free(&clips);
        return WAN_EXIT_DONE;
    }
    open_outputs();
    if (open_jobs() < 0 || decode_all(&clips, &opt) < 0)
        wan_die();
    wan_progress(1, "%zu clips, %" PRId64 " frames", clips.n, total.kept);
    if ((writer && wan_writer_finish(&writer) < 0) || wan_out_finish(&out) < 0 ||
        (report && wan_out_finish(&report) < 0) || (rejects && wan_out_finish(&rejects) < 0))
        wan_die();
    close_jobs();
    wan_clips_free(&clips);
    summary();
    json_decref(buckets);
    return stopped || total.bad > (size_t)o.allow_bad ? WAN_EXIT_FAILED : WAN_EXIT_DONE;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-shard - latent records to WebDataset tar shards, and back with -x.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/rec/shard/samplemap.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/shard_set.h"

static struct {
    const char *output, *extract, *latent, *text;
    int64_t count, size, rank;
    int force, resume;
} o = { .latent = "keep", .text = "keep", .count = 10000, .size = 3000000000 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("What to do"),
    WAN_OPT_STR("output-dir", 'o', "DIR", &o.output, "write shards into DIR, made when absent"),
    WAN_OPT_STR("extract", 'x', "DIR", &o.extract,
                "read the shards of DIR and write records to standard output"),
    WAN_OPT_GROUP("Shards"),
    WAN_OPT_INT("shard-maxcount", 0, "SAMPLES", &o.count, 1, 1e9, "samples in one shard"),
    WAN_OPT_SIZE("shard-maxsize", 0, "BYTES", &o.size, 1, 1e15,
                 "a shard with this much payload takes no more samples"),
    WAN_OPT_INT("rank", 0, "N", &o.rank, 0, 99, "number of this writer, in the shards' names"),
    WAN_OPT_ENUM("latent-dtype", 0, "keep|f32|f16|bf16", &o.latent,
                 "element type of latents; keep: as in the records"),
    WAN_OPT_ENUM("text-dtype", 0, "keep|f32|f16|bf16", &o.text, "element type of text rows"),
    WAN_OPT_FLAG("resume", 0, &o.resume,
                 "go on behind this rank's shards, leaving out records whose keys they hold"),
    WAN_OPT_FLAG("force", 'f', &o.force,
                 "replace this rank's shards; with -x, write records to a terminal"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};

static const wan_tool tool = { "wan-shard", "pack records into tar shards, or unpack them",
                               "[options] -o DIR [FILE...] | -x DIR", table };

static struct {
    wan_shard_writer *w;
    json_t *header;   /* of the stream being read, with our entry */
    int told;         /* a sample of the open shard tells it */
    int latent, text; /* element types of the first sample */
    uint64_t skipped; /* records that earlier shards hold */
} st = { .latent = -1, .text = -1 };

static int dtype_of(const char *word)
{
    return !strcmp(word, "f32")    ? WAN_F32
           : !strcmp(word, "f16")  ? WAN_F16
           : !strcmp(word, "bf16") ? WAN_BF16
                                   : -1;
}

static json_t *options(void)
{
    json_t *j = wan_json_object();
    wan_json_put(&j, "shard_maxcount", json_integer((json_int_t)o.count));
    wan_json_put(&j, "shard_maxsize", json_integer((json_int_t)o.size));
    wan_json_put(&j, "rank", json_integer((json_int_t)o.rank));
    wan_json_put(&j, "latent_dtype", json_string(o.latent));
    wan_json_put(&j, "text_dtype", json_string(o.text));
    return j;
}

/* The element types of the shards that were there: those of all samples must be the same. */
static int types_of(const char *path)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    wan_record rec = WAN_RECORD_INIT;
    WAN_TRY(wan_shard_reader_open(&r, path, 0));
    int rc = wan_shard_reader_next(r, &s);
    if (rc == 1 && (rc = wan_samplemap_unpack(&rec, NULL, &s, path)) == 0) {
        const wan_tensor *latent = wan_record_find(&rec, "latent");
        const wan_tensor *text = wan_record_find(&rec, "text");
        if (latent && text) {
            st.latent = (int)latent->dtype;
            st.text = (int)text->dtype;
        }
    }
    wan_record_clear(&rec);
    wan_shard_reader_close(&r);
    return rc;
}

static int open_writer(void)
{
    wan_shard_options opt = { .dir = o.output,
                              .rank = (int)o.rank,
                              .max_count = o.count,
                              .max_bytes = o.size,
                              .force = o.force,
                              .resume = o.resume };
    WAN_TRY(wan_shard_writer_open(&st.w, &opt));
    const char *earlier = wan_shard_writer_earlier(st.w);
    return earlier ? types_of(earlier) : 0;
}

/* A stream with that header begins: its first sample tells its history. */
static int start_stream(void *arg, const json_t *from)
{
    (void)arg;
    json_t *opts = options(), *header = opts ? wan_provenance_append(from, tool.name, opts) : NULL;
    json_decref(opts);
    if (!header)
        return -1;
    st.told = st.told && st.header && json_equal(st.header, header);
    json_decref(st.header);
    st.header = header;
    return 0;
}

/* Of our entry in the header. */
static const char *own_id(void)
{
    const json_t *chain = json_object_get(st.header, "provenance");
    const json_t *last = json_array_get(chain, json_array_size(chain) - 1);
    const char *id = json_string_value(json_object_get(last, "id"));
    return id ? id : tool.name;
}

/* One type in all samples: DFM's packing joins them. */
static int check_types(const wan_samplemap *m)
{
    if (st.latent < 0) {
        st.latent = (int)m->latent_dtype;
        st.text = (int)m->text_dtype;
    }
    if (st.latent != (int)m->latent_dtype || st.text != (int)m->text_dtype)
        return wan_err("is %s and %s, the records before it %s and %s; choose with --latent-dtype "
                       "and --text-dtype",
                       wan_dtype_name(m->latent_dtype), wan_dtype_name(m->text_dtype),
                       wan_dtype_name((wan_dtype)st.latent), wan_dtype_name((wan_dtype)st.text));
    return 0;
}

static int put(const wan_record *r, const char *name, uint64_t number)
{
    wan_samplemap m;
    if (wan_shard_writer_has(st.w, r->key)) {
        st.skipped++;
        return 0;
    }
    int tells = !st.told || wan_shard_writer_begins(st.w);
    wan_samplemap_options opt = { dtype_of(o.latent), dtype_of(o.text), own_id(),
                                  tells ? st.header : NULL };
    int rc = wan_samplemap_pack(&m, r, &opt);
    if (rc == 0)
        rc = check_types(&m);
    if (rc < 0)
        wan_err_prefix("%s: record %" PRIu64 " (%s)", name, number, r->key);
    else if ((rc = wan_shard_writer_put(st.w, r->key, m.part, m.n)) == 0)
        st.told = 1;
    wan_samplemap_clear(&m);
    return rc;
}

static int pack_file(const char *path)
{
    FILE *f;
    const char *name;
    wan_reader *in = NULL;
    wan_record r = WAN_RECORD_INIT;
    WAN_TRY(wan_in_open(&f, path, &name));
    int rc = wan_reader_open(&in, f, name);
    if (rc == 0 && !st.w)
        rc = open_writer();
    if (rc == 0)
        rc = start_stream(NULL, wan_reader_header(in));
    if (rc == 0)
        wan_reader_on_stream(in, start_stream, NULL);
    while (rc == 0 && (rc = wan_reader_next(in, &r)) == 1) {
        rc = put(&r, name, wan_reader_count(in));
        wan_progress(0, "%" PRIu64 " samples, %.1f MB", wan_shard_writer_samples(st.w),
                     1e-6 * (double)wan_shard_writer_bytes(st.w));
    }
    wan_record_clear(&r);
    wan_reader_close(&in);
    wan_in_close(f);
    return rc;
}

static int pack(int n, char **files)
{
    int rc = 0;
    if (n == 0)
        rc = pack_file("-");
    for (int i = 0; rc == 0 && i < n; i++)
        rc = pack_file(files[i]);
    uint64_t samples = st.w ? wan_shard_writer_samples(st.w) : 0;
    if (rc == 0 && st.skipped)
        wan_info("%" PRIu64 " records were in earlier shards", st.skipped);
    if (rc == 0 && !samples && st.skipped) { /* nothing was left to do */
        wan_shard_writer_abandon(&st.w);
        json_decref(st.header);
        return 0;
    }
    if (rc == 0 && !samples)
        rc = wan_err("no records in the input, so no shard was written");
    uint64_t done = st.w ? wan_shard_writer_shards(st.w) : 0;
    if (rc == 0)
        rc = wan_shard_writer_finish(&st.w);
    if (rc == 0) {
        wan_progress(1, "%" PRIu64 " samples", samples);
        wan_info("%" PRIu64 " sample%s in %" PRIu64 " shard%s, latents %s, text %s", samples,
                 samples == 1 ? "" : "s", done + 1, done ? "s" : "",
                 wan_dtype_name((wan_dtype)st.latent), wan_dtype_name((wan_dtype)st.text));
    }
    if (rc < 0 && st.w) {
        wan_shard_writer_stop(st.w);
        if (wan_shard_writer_samples(st.w))
            wan_info("%" PRIu64 " samples in front of the fault are in %" PRIu64 " shards",
                     wan_shard_writer_samples(st.w), wan_shard_writer_shards(st.w));
    }
    wan_shard_writer_abandon(&st.w);
    json_decref(st.header);
    return rc;
}

/* The records being written, and the history of their stream. */
typedef struct unpacking {
    wan_writer *w;
    json_t *history; /* or NULL: there was none */
} unpacking;

/* Goes on to another stream where the samples come from elsewhere. */
static int follow(unpacking *u, const json_t *history)
{
    if (u->w && (history && u->history ? json_equal(history, u->history) : history == u->history))
        return 0;
    json_t *header = wan_provenance_append(history, tool.name, NULL);
    int rc = !header ? -1
             : u->w  ? wan_writer_next_stream(u->w, header)
                     : wan_writer_open(&u->w, stdout, "<stdout>", header);
    json_decref(header);
    json_decref(u->history);
    u->history = json_deep_copy(history);
    return rc == 0 && history && !u->history ? wan_err("out of memory (provenance)") : rc;
}

/* The history of the samples of one shard: told by the last one that told, or, in shards that we wrote
 * before, by a member in front of them. */
typedef struct telling {
    json_t *history;
    char *member;
} telling;

static int listen(telling *t, json_t *told, const wan_shard_reader *r, const char *path)
{
    const char *text = wan_shard_reader_provenance(r);
    if (!told && text && (!t->member || strcmp(text, t->member))) {
        free(t->member);
        if (!(t->member = strdup(text)))
            return wan_err("out of memory (provenance)");
        if (!(told = wan_json_parse(text, strlen(text), "provenance")))
            return wan_err_prefix("%s", path);
    }
    if (!told)
        return 0;
    json_decref(t->history);
    t->history = told;
    return json_is_object(told) ? 0 : wan_err("%s: provenance is no JSON object", path);
}

static int extract_shard(unpacking *u, const char *path)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    wan_record rec = WAN_RECORD_INIT;
    telling t = { NULL, NULL };
    json_t *told;
    int rc;
    WAN_TRY(wan_shard_reader_open(&r, path, 0));
    while ((rc = wan_shard_reader_next(r, &s)) == 1) {
        rc = wan_samplemap_unpack(&rec, &told, &s, path);
        if (rc == 0)
            rc = listen(&t, told, r, path);
        if (rc == 0)
            rc = follow(u, t.history);
        if (rc < 0 || (rc = wan_writer_put(u->w, &rec)) < 0)
            break;
    }
    json_decref(t.history);
    free(t.member);
    wan_record_clear(&rec);
    if (rc == 0 && wan_shard_reader_ignored(r))
        wan_warn("%s: %" PRIu64 " members are no files of a sample and were passed over", path,
                 wan_shard_reader_ignored(r));
    wan_shard_reader_close(&r);
    return rc;
}

/* Shards in the order of their names, which is also that of .info.json. */
static int extract(void)
{
    wan_shard_set s;
    unpacking u = { NULL, NULL };
    WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    WAN_TRY(wan_shard_set_list(&s, o.extract));
    const size_t n = s.n;
    int rc = n ? 0 : wan_err("%s: no shards (*.tar)", o.extract);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        wan_progress(0, "shard %zu of %zu", i + 1, n);
        char *path = wan_path_join(o.extract, s.name[i]);
        rc = path ? extract_shard(&u, path) : -1;
        free(path);
    }
    if (rc == 0 && !u.w)
        rc = wan_err("%s: no samples in its shards", o.extract);
    if (rc == 0)
        rc = wan_shard_set_still(&s, o.extract);
    wan_shard_set_clear(&s);
    if (rc == 0)
        rc = wan_writer_finish(&u.w);
    wan_writer_abandon(&u.w);
    json_decref(u.history);
    wan_progress(1, "%zu shards", n);
    return rc;
}

int main(int argc, char **argv)
{
    int argi = wan_opt_parse(&tool, argc, argv);
    wan_signals_filter();
    if (!o.output == !o.extract) {
        wan_err("exactly one of -o DIR and -x DIR is needed");
        wan_die_usage();
    }
    if (o.extract && (strcmp(o.latent, "keep") || strcmp(o.text, "keep"))) {
        wan_err("--latent-dtype and --text-dtype go with -o");
        wan_die_usage();
    }
    if (o.resume && (o.force || o.extract)) {
        wan_err("--resume goes with -o, and not with --force");
        wan_die_usage();
    }
    if (o.extract && argi < argc) {
        wan_err("-x takes no files");
        wan_die_usage();
    }
    if ((o.extract ? extract() : pack(argc - argi, argv + argi)) < 0)
        wan_die();
    if (wan_out_close_stdout() < 0)
        wan_die();
    return WAN_EXIT_DONE;
}

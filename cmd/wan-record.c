/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-record.c - looks into, checks and converts record streams.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/sha256.h"
#include "lib/media/video.h"
#include "lib/rec/record.h"
#include "lib/rec/safetensors.h"

static struct {
    const char *output, *key;
    int64_t columns, tile, rows;
    int header, digest, force;
} o = { .columns = 8, .tile = 96, .rows = 64, .digest = 1 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("All commands"),
    WAN_OPT_STR("output", 'o', "FILE", &o.output,
                "where the result goes (default: standard output; to-safetensors: a folder, or one "
                "file named .safetensors)"),
    WAN_OPT_STR("key", 'k', "PATTERN", &o.key,
                "only records whose key matches this shell pattern; from-safetensors: the key"),
    WAN_OPT_FLAG("force", 'f', &o.force, "write binary data even to a terminal"),
    WAN_OPT_GROUP("ls"),
    WAN_OPT_FLAG("header", 0, &o.header, "print the header (provenance) of each stream first"),
    WAN_OPT_FLAG("digest", 0, &o.digest, "print the SHA-256 of each tensor's data"),
    WAN_OPT_GROUP("sheet"),
    WAN_OPT_INT("columns", 0, "N", &o.columns, 1, 256, "frames shown of each record"),
    WAN_OPT_INT("tile", 0, "PIXELS", &o.tile, 8, 2048, "height of a frame"),
    WAN_OPT_INT("rows", 0, "N", &o.rows, 1, 4096, "records shown"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-record", "look into, check and convert record streams",
                               "[options] ls|cat|check|to-safetensors|from-safetensors|sheet "
                               "[FILE...]", table };

/* One input being read. */
typedef struct input {
    FILE *f;
    const char *name;
    wan_reader *r;
} input;

static int input_open(input *in, const char *path)
{
    *in = (input){ 0 };
    WAN_TRY(wan_in_open(&in->f, path, &in->name));
    if (wan_reader_open(&in->r, in->f, in->name) == 0)
        return 0;
    wan_in_close(in->f);
    return -1;
}

static void input_close(input *in)
{
    wan_reader_close(&in->r);
    wan_in_close(in->f);
}

/* The next record that --key selects. */
static int input_next(input *in, wan_record *rec)
{
    int rc;
    do
        rc = wan_reader_next(in->r, rec);
    while (rc == 1 && o.key && fnmatch(o.key, rec->key, 0));
    return rc;
}

/* Calls each() for every selected record of every input (standard input when there is none). */
static int for_each(char **path, int n, int (*each)(input *in, wan_record *rec, void *arg),
                    void *arg)
{
    static char dash[] = "-", *just_stdin[] = { dash };
    input in;
    wan_record rec = WAN_RECORD_INIT;
    int rc = 0;
    if (n == 0)
        path = just_stdin, n = 1;
    for (int i = 0; i < n && rc >= 0; i++) {
        WAN_TRY(input_open(&in, path[i]));
        while ((rc = input_next(&in, &rec)) > 0 && (rc = each(&in, &rec, arg)) >= 0)
            ;
        input_close(&in);
    }
    wan_record_clear(&rec);
    return rc;
}

static int open_binary(wan_out **out)
{
    WAN_TRY(wan_out_open(out, o.output ? o.output : "-"));
    return wan_refuse_terminal(fileno(wan_out_file(*out)), o.force);
}

/* ---- ls */

static json_t *tensor_line(const wan_tensor *t)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->shape[i]));
    json_t *line = json_pack("{s:s, s:s, s:o, s:I}", "name", t->name, "dtype",
                             wan_dtype_name(t->dtype), "shape", shape, "bytes",
                             (json_int_t)t->bytes);
    if (o.digest) {
        wan_sha256 sha;
        char hex[65];
        wan_sha256_init(&sha);
        wan_sha256_add(&sha, t->data, t->bytes);
        wan_sha256_hex(&sha, hex);
        json_object_set_new(line, "sha256", json_string(hex));
    }
    return line;
}

/* Prints and releases one line. */
static int print_line(wan_out *out, json_t *line)
{
    char *text = wan_json_dump(line);
    int rc = text ? 0 : -1;
    if (text && fprintf(wan_out_file(out), "%s\n", text) < 0)
        rc = wan_err_errno("%s: write failed", wan_out_name(out));
    free(text);
    json_decref(line);
    return rc;
}

typedef struct listing {
    wan_out *out;
    json_t *shown; /* the header printed last */
} listing;

static int ls_record(input *in, wan_record *rec, void *arg)
{
    listing *l = arg;
    json_t *header = wan_reader_header(in->r);
    if (o.header && !(l->shown && json_equal(l->shown, header))) {
        json_decref(l->shown);
        l->shown = json_incref(header);
        WAN_TRY(print_line(l->out, json_pack("{s:O}", "header", header)));
    }
    json_t *tensors = json_array();
    for (int i = 0; i < rec->n_tensors; i++)
        json_array_append_new(tensors, tensor_line(&rec->tensors[i]));
    return print_line(l->out, json_pack("{s:s, s:O, s:o}", "key", rec->key, "meta", rec->meta,
                                        "tensors", tensors));
}

static int do_ls(char **path, int n)
{
    listing l = { 0 };
    WAN_TRY(wan_out_open(&l.out, o.output ? o.output : "-"));
    int rc = for_each(path, n, ls_record, &l);
    json_decref(l.shown);
    if (rc < 0 && !o.output) { /* what was good was printed, and stays */
        char *why = strdup(wan_err_text());
        if (wan_out_finish(&l.out) == 0)
            wan_err("%s", why ? why : "out of memory");
        free(why);
    }
    if (rc < 0) {
        wan_out_discard(&l.out);
        return -1;
    }
    return wan_out_finish(&l.out);
}

/* ---- writing records: a stream for each history, with our provenance entry added */

typedef struct copying {
    wan_out *out;
    wan_writer *w;
    json_t *header; /* of the stream being written */
} copying;

/* A stream with that header begins. */
static int copy_follow(void *arg, const json_t *from)
{
    copying *c = arg;
    json_t *opts = o.key ? json_pack("{s:s}", "key", o.key) : NULL;
    json_t *head = wan_provenance_append(from, "wan-record", opts);
    int rc = !c->w ? wan_writer_open(&c->w, wan_out_file(c->out), wan_out_name(c->out), head)
             : json_equal(c->header, head) ? 0 : wan_writer_next_stream(c->w, head);
    json_decref(opts);
    json_decref(c->header);
    c->header = head;
    return rc;
}

static int copy_finish(copying *c, int rc)
{
    if (rc == 0)
        rc = wan_writer_finish(&c->w);
    wan_writer_abandon(&c->w);
    json_decref(c->header);
    if (rc < 0) {
        wan_out_discard(&c->out);
        return -1;
    }
    return wan_out_finish(&c->out);
}

/* ---- cat */

static int copy_records(copying *c, input *in)
{
    int rc;
    wan_record rec = WAN_RECORD_INIT;
    WAN_TRY(copy_follow(c, wan_reader_header(in->r)));
    wan_reader_on_stream(in->r, copy_follow, c);
    wan_reader_tee(in->r, c->w);
    while ((rc = input_next(in, &rec)) > 0 && (rc = wan_writer_put(c->w, &rec)) == 0)
        ;
    wan_record_clear(&rec);
    return rc;
}

static int do_cat(char **path, int n)
{
    static char dash[] = "-", *just_stdin[] = { dash };
    copying c = { 0 };
    input in;
    int rc = 0;
    if (n == 0)
        path = just_stdin, n = 1;
    WAN_TRY(open_binary(&c.out));
    for (int i = 0; i < n && rc == 0; i++) {
        rc = input_open(&in, path[i]);
        if (rc < 0)
            break;
        rc = copy_records(&c, &in);
        input_close(&in);
    }
    return copy_finish(&c, rc);
}

/* ---- check */

static int all_finite(const wan_tensor *t)
{
    float f[1024];
    size_t size = wan_dtype_size(t->dtype), n = t->bytes / size;
    if (t->dtype != WAN_F32 && t->dtype != WAN_BF16 && t->dtype != WAN_F16 && t->dtype != WAN_F64)
        return 1;
    for (size_t i = 0; i < n; i += 1024) {
        size_t m = n - i < 1024 ? n - i : 1024;
        if (wan_convert(f, WAN_F32, (const char *)t->data + i * size, t->dtype, m) < 0)
            return 0;
        for (size_t k = 0; k < m; k++)
            if (!isfinite(f[k]))
                return 0;
    }
    return 1;
}

/* The shapes record.h gives the well-known tensors. */
static int shape_is_known(const wan_tensor *t)
{
    if (!strcmp(t->name, "frames"))
        return t->dtype == WAN_U8 && t->rank == 4 && t->shape[3] == 3;
    if (!strcmp(t->name, "latent"))
        return t->rank == 4;
    if (!strcmp(t->name, "text"))
        return t->rank == 2;
    return 1;
}

typedef struct checking {
    const char *name;
    json_t *keys;
    uint64_t records, bytes;
    int bad;
} checking;

/* Trouble is named and counted; the stream is read on. */
static int check_record(input *in, wan_record *rec, void *arg)
{
    checking *c = arg;
    c->name = in->name;
    c->records++;
    if (json_object_get(c->keys, rec->key)) {
        wan_warn("%s: record %" PRIu64 " (%s): a key used before", in->name,
                 wan_reader_count(in->r), rec->key);
        c->bad++;
    }
    json_object_set_new(c->keys, rec->key, json_true());
    for (int i = 0; i < rec->n_tensors; i++) {
        const wan_tensor *t = &rec->tensors[i];
        const char *why = !shape_is_known(t) ? "has not the type and shape this name stands for"
                          : !all_finite(t)   ? "holds values that are not finite" : NULL;
        c->bytes += t->bytes;
        c->bad += why != NULL;
        if (why)
            wan_warn("%s: record %" PRIu64 " (%s): tensor %s %s", in->name,
                     wan_reader_count(in->r), rec->key, t->name, why);
    }
    return 1;
}

static int do_check(char **path, int n)
{
    checking c = { .keys = json_object() };
    int rc = for_each(path, n, check_record, &c);
    json_decref(c.keys);
    WAN_TRY(rc);
    if (c.bad)
        return wan_err("%d faults in %" PRIu64 " records", c.bad, c.records);
    wan_out *out;
    WAN_TRY(wan_out_open(&out, o.output ? o.output : "-"));
    fprintf(wan_out_file(out), "good: %" PRIu64 " records, %" PRIu64 " bytes of tensors\n",
            c.records, c.bytes);
    return wan_out_finish(&out);
}

/* ---- safetensors */

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* DIR/KEY.safetensors, folders of the key made; malloc'ed. */
static char *path_of_key(const char *dir, const char *key)
{
    size_t n = strlen(key) + 16;
    char *name = wan_malloc(n, 1, "file name"), *path = NULL;
    if (!name)
        return NULL;
    snprintf(name, n, "%s.safetensors", key);
    path = wan_path_join(dir, name);
    free(name);
    char *slash = path ? strrchr(path, '/') : NULL;
    if (slash) {
        *slash = 0;
        int rc = wan_mkdirs(path);
        *slash = '/';
        if (rc < 0) {
            free(path);
            return NULL;
        }
    }
    return path;
}

static int put_safetensors(const char *path, const input *in, const wan_record *rec)
{
    wan_st_writer *w;
    char *meta = wan_json_dump(rec->meta), *head = wan_json_dump(wan_reader_header(in->r));
    int rc = meta && head ? wan_st_create(&w, path) : -1;
    if (!rc) {
        wan_st_set_metadata(w, "wan_key", rec->key);
        wan_st_set_metadata(w, "wan_meta", meta);
        wan_st_set_metadata(w, "wan_header", head);
        for (int i = 0; i < rec->n_tensors && !rc; i++) {
            const wan_tensor *t = &rec->tensors[i];
            rc = wan_st_declare(w, t->name, t->dtype, t->shape, t->rank);
        }
        for (int i = 0; i < rec->n_tensors && !rc; i++)
            rc = wan_st_put(w, rec->tensors[i].name, rec->tensors[i].data, rec->tensors[i].dtype);
        if (rc < 0)
            wan_st_abandon(&w);
        else
            rc = wan_st_finish(&w);
    }
    free(meta);
    free(head);
    return rc;
}

static int to_safetensors(input *in, wan_record *rec, void *arg)
{
    uint64_t *written = arg;
    int single = ends_with(o.output, ".safetensors") || !strcmp(o.output, "-");
    if (single && *written)
        return wan_err("%s: record %" PRIu64 " (%s): a second record does not fit into one file: "
                       "name a folder, or select one with --key", in->name,
                       wan_reader_count(in->r), rec->key);
    char *path = single ? strdup(o.output) : path_of_key(o.output, rec->key);
    int rc = path ? put_safetensors(path, in, rec) : -1;
    free(path);
    ++*written;
    return rc < 0 ? -1 : 1;
}

static int do_to_safetensors(char **path, int n)
{
    uint64_t written = 0;
    if (!o.output)
        return wan_err("to-safetensors needs -o DIR or -o FILE.safetensors");
    if (!strcmp(o.output, "-"))
        WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    WAN_TRY(for_each(path, n, to_safetensors, &written));
    if (!written)
        return wan_err("no record%s%s", o.key ? " with a key like " : "", o.key ? o.key : "");
    wan_info("%" PRIu64 " records to %s", written, o.output);
    return 0;
}

/* Metadata of the file: ours is restored, foreign strings are kept as they are. */
static json_t *restored_meta(const json_t *md, const char *file)
{
    const char *ours = json_string_value(json_object_get(md, "wan_meta")), *key;
    json_t *meta = ours ? wan_json_parse(ours, strlen(ours), file) : json_object(), *v;
    if (meta && !json_is_object(meta)) {
        wan_err("%s: its wan_meta is not an object", file);
        json_decref(meta);
        return NULL;
    }
    json_object_foreach((json_t *)md, key, v)
        if (meta && strcmp(key, "format") && strncmp(key, "wan_", 4))
            json_object_set(meta, key, v);
    return meta;
}

static char *key_of_file(const json_t *md, const char *file, int several)
{
    const char *said = json_string_value(json_object_get(md, "wan_key"));
    if (o.key && !several)
        return strdup(o.key);
    if (said)
        return strdup(said);
    const char *slash = strrchr(file, '/');
    char *stem = strdup(slash ? slash + 1 : file);
    if (stem && ends_with(stem, ".safetensors"))
        stem[strlen(stem) - strlen(".safetensors")] = 0;
    char *key = stem ? wan_key_from(stem) : NULL;
    free(stem);
    return key;
}

static int put_file(wan_writer *w, wan_st *st, const char *file, int several)
{
    wan_record rec = WAN_RECORD_INIT;
    const json_t *md = wan_st_metadata(st);
    char *key = key_of_file(md, file, several);
    rec.meta = restored_meta(md, file);
    int rc = key && rec.meta ? wan_record_set_key(&rec, key) : -1;
    for (size_t i = 0; i < wan_st_count(st) && !rc; i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        rc = wan_record_add(&rec, t->name, t->dtype, t->shape, t->rank, (void *)t->data,
                            WAN_BORROW);
    }
    if (!rc)
        rc = wan_writer_put(w, &rec);
    else
        wan_err_prefix("%s", file);
    free(key);
    wan_record_clear(&rec);
    return rc;
}

/* The file's own provenance, if it carries one, is that of its record. */
static int follow_file(copying *c, wan_st *st, const char *file)
{
    const char *s = json_string_value(json_object_get(wan_st_metadata(st), "wan_header"));
    json_t *from = s ? wan_json_parse(s, strlen(s), file) : NULL;
    int rc = !s || json_is_object(from) ? copy_follow(c, from)
             : from ? wan_err("%s: its wan_header is not an object", file) : -1;
    json_decref(from);
    return rc;
}

static int do_from_safetensors(char **path, int n)
{
    copying c = { 0 };
    if (n == 0)
        return wan_err("from-safetensors needs files");
    WAN_TRY(open_binary(&c.out));
    int rc = 0;
    for (int i = 0; i < n && !rc; i++) {
        wan_st *st = NULL;
        rc = wan_st_open(&st, path[i]);
        if (!rc)
            rc = follow_file(&c, st, path[i]);
        if (!rc)
            rc = put_file(c.w, st, path[i], n > 1);
        if (st)
            wan_st_close(&st);
    }
    return copy_finish(&c, rc);
}

/* ---- sheet: a row of frames for each record */

enum { GAP = 2 };

typedef struct strip {
    uint8_t *rgb; /* [tile, width, 3] */
    int width;
} strip;

typedef struct sheet {
    strip *row;
    int rows, width;
    uint64_t left_out, without;
} sheet;

/* n tiles beside each other, evenly chosen from the clip. */
static int make_strip(strip *s, const wan_tensor *t)
{
    int64_t frames = t->shape[0], h = t->shape[1], w = t->shape[2];
    int n = (int)(frames < o.columns ? frames : o.columns), th = (int)o.tile;
    double wide = (double)w * th / (double)h + 0.5;
    int tw = wide < 1 ? 1 : wide > 16384 ? 16384 : (int)wide;
    s->width = n * (tw + GAP);
    s->rgb = wan_calloc((size_t)s->width * (size_t)th, 3, "contact sheet");
    uint8_t *tile = wan_malloc((size_t)tw * (size_t)th, 3, "contact sheet");
    int rc = s->rgb && tile ? 0 : -1;
    for (int i = 0; i < n && !rc; i++) {
        int64_t k = n > 1 ? i * (frames - 1) / (n - 1) : 0;
        rc = wan_image_scale(tile, th, tw, (uint8_t *)t->data + k * h * w * 3, (int)h, (int)w);
        for (int y = 0; y < th && !rc; y++)
            memcpy(s->rgb + ((size_t)y * (size_t)s->width + (size_t)(i * (tw + GAP))) * 3,
                   tile + (size_t)y * (size_t)tw * 3, (size_t)tw * 3);
    }
    free(tile);
    return rc;
}

static int sheet_record(input *in, wan_record *rec, void *arg)
{
    sheet *s = arg;
    const wan_tensor *t = wan_record_find(rec, "frames");
    if (!t) {
        s->without++;
        return 1;
    }
    if (!shape_is_known(t) || t->bytes == 0 || t->shape[1] > 65536 || t->shape[2] > 65536)
        return wan_err("%s: record %" PRIu64 " (%s): frames are not U8 [T, H, W, 3]", in->name,
                       wan_reader_count(in->r), rec->key);
    if (s->rows == o.rows) {
        s->left_out++;
        return 1;
    }
    strip *row = &s->row[s->rows++];
    WAN_TRY(make_strip(row, t));
    if (row->width > s->width)
        s->width = row->width;
    return 1;
}

static int write_sheet(const sheet *s, const char *path)
{
    size_t row = (size_t)s->width * 3, band = (size_t)(o.tile + GAP) * row;
    uint8_t *px = wan_calloc((size_t)s->rows, band, "contact sheet");
    if (!px)
        return -1;
    for (int i = 0; i < s->rows; i++)
        for (int y = 0; y < o.tile; y++)
            memcpy(px + (size_t)i * band + (size_t)y * row,
                   s->row[i].rgb + (size_t)y * (size_t)s->row[i].width * 3,
                   (size_t)s->row[i].width * 3);
    int rc = wan_png_write(path, px, s->rows * (int)(o.tile + GAP) - GAP, s->width);
    free(px);
    return rc;
}

static int do_sheet(char **path, int n)
{
    const char *to = o.output ? o.output : "-";
    sheet s = { 0 };
    if (!strcmp(to, "-"))
        WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    s.row = wan_calloc((size_t)o.rows, sizeof *s.row, "contact sheet");
    int rc = s.row ? for_each(path, n, sheet_record, &s) : -1;
    if (rc >= 0)
        rc = s.rows ? write_sheet(&s, to) : wan_err("no record with frames (%" PRIu64
                                                    " without)", s.without);
    for (int i = 0; i < s.rows; i++)
        free(s.row[i].rgb);
    free(s.row);
    if (rc == 0 && (s.left_out || s.without))
        wan_info("%" PRIu64 " records behind --rows and %" PRIu64 " without frames not shown",
                 s.left_out, s.without);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(char **path, int n);
    } command[] = {
        { "ls", do_ls }, { "cat", do_cat }, { "check", do_check },
        { "to-safetensors", do_to_safetensors }, { "from-safetensors", do_from_safetensors },
        { "sheet", do_sheet },
    };
    enum { N = sizeof command / sizeof *command };
    const char *names[N];
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv);
    if (argi == argc) {
        wan_err("no command given");
        wan_die_usage();
    }
    for (int i = 0; i < N; i++) {
        names[i] = command[i].name;
        if (strcmp(argv[argi], names[i]))
            continue;
        if (command[i].run(argv + argi + 1, argc - argi - 1) < 0)
            wan_die();
        return WAN_EXIT_DONE;
    }
    const char *near = wan_nearest(argv[argi], names, N);
    wan_err("unknown command \"%s\"%s%s%s", argv[argi], near ? ", did you mean " : "",
            near ? near : "", near ? "?" : "");
    wan_die_usage();
}

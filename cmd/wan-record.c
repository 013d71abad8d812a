/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-record.c - looks into, checks and converts record streams.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/media/sheet.h"
#include "lib/rec/tensor/record_st.h"
#include "lib/rec/record/inspect.h"
#include "lib/rec/shard/cachefile.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/shard/metafile.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/record/record.h"

static struct {
    const char *output, *key;
    int64_t columns, tile, rows, text_rows;
    const char *form;
    int header, digest, force;
} o = { .columns = 8, .tile = 96, .rows = 64, .text_rows = 226, .form = "torch", .digest = 1 };

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
    WAN_OPT_GROUP("to-meta"),
    WAN_OPT_ENUM("form", 0, "torch|pickle", &o.form,
                 "as NeMo Automodel loads it, or as NeMo DFM does"),
    WAN_OPT_INT("text-rows", 0, "N", &o.text_rows, 1, 65536,
                "rows of text in every file, zeros at the end"),
    WAN_OPT_GROUP("sheet"),
    WAN_OPT_INT("columns", 0, "N", &o.columns, 1, 256, "frames shown of each record"),
    WAN_OPT_INT("tile", 0, "PIXELS", &o.tile, 8, 2048, "height of a frame"),
    WAN_OPT_INT("rows", 0, "N", &o.rows, 1, 4096, "records shown"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = {
    "wan-record", "look into, check and convert record streams",
    "[options] ls|cat|check|to-safetensors|from-safetensors|to-meta|from-meta|from-cache|"
    "sheet "
    "[FILE...]",
    table
};

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
        rc = input_open(&in, path[i]);
        if (rc < 0)
            break;
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
        json_t *line = wan_json_object();
        wan_json_put(&line, "header", json_incref(header));
        WAN_TRY(wan_json_line(wan_out_file(l->out), wan_out_name(l->out), line));
    }
    return wan_json_line(wan_out_file(l->out), wan_out_name(l->out),
                         wan_inspect_json(rec, o.digest));
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
    json_t *opts = wan_json_object();
    if (o.key)
        wan_json_put(&opts, "key", wan_json_text(o.key));
    json_t *head = opts ? wan_provenance_append(from, "wan-record", opts) : NULL;
    int rc = !head   ? -1
             : !c->w ? wan_writer_open(&c->w, wan_out_file(c->out), wan_out_name(c->out), head)
             : json_equal(c->header, head) ? 0
                                           : wan_writer_next_stream(c->w, head);
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

typedef struct checking {
    wan_keyset keys;
    uint64_t records, bytes;
    int bad;
} checking;

/* Trouble is named and counted; the stream is read on. */
static void fault(checking *c, const input *in, const wan_record *rec, const char *what,
                  const char *why)
{
    c->bad++;
    wan_warn("%s: record %" PRIu64 " (%s): %s%s", in->name, wan_reader_count(in->r), rec->key, what,
             why);
}

static int check_record(input *in, wan_record *rec, void *arg)
{
    checking *c = arg;
    int fresh = wan_keyset_add(&c->keys, rec->key);
    WAN_TRY(fresh);
    c->records++;
    if (!fresh)
        fault(c, in, rec, "", "a key used before");
    for (int i = 0; i < rec->n_tensors; i++) {
        const wan_tensor *t = &rec->tensors[i];
        const char *why = wan_inspect_fault(t);
        char what[300];
        c->bytes += t->bytes;
        snprintf(what, sizeof what, "tensor %s ", t->name);
        if (why)
            fault(c, in, rec, what, why);
    }
    return 1;
}

static int do_check(char **path, int n)
{
    checking c = { .keys = WAN_KEYSET_INIT };
    int rc = for_each(path, n, check_record, &c);
    wan_keyset_clear(&c.keys);
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

typedef struct saving {
    int single; /* -o names a file, not a folder */
    uint64_t written;
    wan_keyset keys; /* of the records written */
} saving;

static int to_safetensors(input *in, wan_record *rec, void *arg)
{
    saving *s = arg;
    int fresh = wan_keyset_add(&s->keys, rec->key);
    if (fresh < 0)
        return -1;
    const char *why = s->single && s->written
                          ? "a second record does not fit into one file: name a folder, or select "
                            "one with --key"
                      : fresh ? NULL
                              : "a key used before: its file would be replaced";
    if (why)
        return wan_err("%s: record %" PRIu64 " (%s): %s", in->name, wan_reader_count(in->r),
                       rec->key, why);
    char *path = s->single ? strdup(o.output) : path_of_key(o.output, rec->key);
    int rc = path ? wan_record_st_write(path, rec, wan_reader_header(in->r)) : -1;
    free(path);
    s->written++;
    return rc < 0 ? -1 : 1;
}

static int do_to_safetensors(char **path, int n)
{
    if (!o.output) {
        wan_err("to-safetensors needs -o DIR or -o FILE.safetensors");
        wan_die_usage();
    }
    int to_stdout = !strcmp(o.output, "-");
    saving s = { to_stdout || wan_ends_with(o.output, ".safetensors"), 0, WAN_KEYSET_INIT };
    if (to_stdout)
        WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    int rc = for_each(path, n, to_safetensors, &s);
    wan_keyset_clear(&s.keys);
    WAN_TRY(rc);
    if (!s.written)
        return wan_err("no record%s%s", o.key ? " with a key like " : "", o.key ? o.key : "");
    wan_info("%" PRIu64 " records to %s", s.written, o.output);
    return 0;
}

static int from_safetensors(copying *c, const char *file)
{
    wan_st *st;
    json_t *header = NULL;
    wan_record rec = WAN_RECORD_INIT;
    WAN_TRY(wan_st_open(&st, file));
    int rc = wan_record_st_header(&header, st, file);
    if (!rc)
        rc = copy_follow(c, header);
    if (!rc)
        rc = wan_record_st_read(&rec, st, file, o.key);
    if (!rc)
        rc = wan_writer_put(c->w, &rec);
    json_decref(header);
    wan_record_clear(&rec);
    wan_st_close(&st);
    return rc;
}

static int do_from_safetensors(char **path, int n)
{
    copying c = { 0 };
    if (n == 0 || (o.key && n > 1)) {
        wan_err(n ? "--key names one record, but there are %d files"
                  : "from-safetensors needs files",
                n);
        wan_die_usage();
    }
    WAN_TRY(open_binary(&c.out));
    int rc = 0;
    for (int i = 0; i < n && !rc; i++)
        rc = from_safetensors(&c, path[i]);
    return copy_finish(&c, rc);
}

/* ---- .meta files */

static int from_meta_file(copying *c, const char *path, const char *name)
{
    wan_record rec = WAN_RECORD_INIT;
    char *key = wan_metafile_key(name);
    int rc = key ? 0 : wan_err("out of memory (key)");
    if (rc == 0 && !(o.key && fnmatch(o.key, key, 0))) {
        rc = wan_metafile_read(&rec, path, key);
        if (rc == 0)
            rc = wan_writer_put(c->w, &rec);
    }
    wan_record_clear(&rec);
    free(key);
    return rc;
}

/* A file, or all those below a folder: keys are of their paths there. */
static int from_meta(copying *c, const char *operand)
{
    char **names = NULL;
    size_t n = 0;
    int rc = wan_is_dir(operand);
    if (rc == 0) {
        const char *slash = strrchr(operand, '/');
        return from_meta_file(c, operand, slash ? slash + 1 : operand);
    }
    if (rc > 0)
        rc = wan_metafile_list(&names, &n, operand);
    if (rc == 0 && !n)
        rc = wan_err("%s: no .meta or .pt files", operand);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *path = wan_path_join(operand, names[i]);
        rc = path ? from_meta_file(c, path, names[i]) : -1;
        free(path);
    }
    wan_shard_list_free(names, n);
    return rc;
}

static int put_cached(void *arg, const wan_record *r)
{
    copying *c = arg;
    return o.key && fnmatch(o.key, r->key, 0) ? 0 : wan_writer_put(c->w, r);
}

static int do_from_cache(char **path, int n)
{
    copying c = { 0 };
    uint64_t without = 0, more;
    if (n == 0) {
        wan_err("from-cache needs folders");
        wan_die_usage();
    }
    WAN_TRY(open_binary(&c.out));
    int rc = copy_follow(&c, NULL);
    for (int i = 0; i < n && !rc; i++) {
        rc = wan_cachefile_each(path[i], put_cached, &c, &more);
        without += more;
    }
    if (without)
        wan_info("%" PRIu64 " records of diffusion-pipe: it keeps their captions elsewhere",
                 without);
    return copy_finish(&c, rc);
}

/* One file in one folder for each: the loaders do not look below it. */
static int to_meta(input *in, wan_record *rec, void *arg)
{
    saving *s = arg;
    char *name = wan_metafile_name(rec->key), *path = name ? wan_path_join(o.output, name) : NULL;
    int fresh = path ? wan_keyset_add(&s->keys, rec->key) : -1;
    int rc = !path || fresh < 0 ? -1
             : !fresh           ? wan_err("a key used before: its file would be replaced")
                      : wan_metafile_write(path, rec, o.text_rows, !strcmp(o.form, "pickle"));
    if (rc < 0)
        wan_err_prefix("%s: record %" PRIu64 " (%s)", in->name, wan_reader_count(in->r), rec->key);
    free(name);
    free(path);
    s->written++;
    return rc < 0 ? -1 : 1;
}

static int do_to_meta(char **path, int n)
{
    saving s = { 0, 0, WAN_KEYSET_INIT };
    if (!o.output) {
        wan_err("to-meta needs -o DIR");
        wan_die_usage();
    }
    WAN_TRY(wan_mkdirs(o.output));
    int rc = for_each(path, n, to_meta, &s);
    wan_keyset_clear(&s.keys);
    WAN_TRY(rc);
    if (!s.written)
        return wan_err("no record%s%s", o.key ? " with a key like " : "", o.key ? o.key : "");
    wan_info("%" PRIu64 " records to %s", s.written, o.output);
    return 0;
}

static int do_from_meta(char **path, int n)
{
    copying c = { 0 };
    if (n == 0) {
        wan_err("from-meta needs files or folders");
        wan_die_usage();
    }
    WAN_TRY(open_binary(&c.out));
    int rc = copy_follow(&c, NULL);
    for (int i = 0; i < n && !rc; i++)
        rc = from_meta(&c, path[i]);
    return copy_finish(&c, rc);
}

/* ---- sheet */

typedef struct showing {
    wan_sheet *sheet;
    uint64_t shown, left_out, without;
} showing;

static int show_record(input *in, wan_record *rec, void *arg)
{
    showing *s = arg;
    const wan_tensor *t = wan_record_find(rec, "frames");
    if (!t) {
        s->without++;
        return 1;
    }
    int rc = wan_inspect_shape(t)
                 ? wan_sheet_add(s->sheet, t->data, t->shape[0], t->shape[1], t->shape[2])
                 : wan_err("frames are not U8 [T, H, W, 3]");
    if (rc < 0)
        return wan_err_prefix("%s: record %" PRIu64 " (%s)", in->name, wan_reader_count(in->r),
                              rec->key);
    s->shown += rc > 0;
    s->left_out += rc == 0;
    return 1;
}

static int do_sheet(char **path, int n)
{
    const char *to = o.output ? o.output : "-";
    showing s = { 0 };
    if (!strcmp(to, "-"))
        WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    WAN_TRY(wan_sheet_open(&s.sheet, (int)o.rows, (int)o.columns, (int)o.tile));
    int rc = for_each(path, n, show_record, &s);
    if (rc >= 0)
        rc = s.shown ? wan_sheet_write(s.sheet, to)
                     : wan_err("no record with frames (%" PRIu64 " without)", s.without);
    wan_sheet_close(&s.sheet);
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
        { "ls", do_ls },
        { "cat", do_cat },
        { "check", do_check },
        { "to-safetensors", do_to_safetensors },
        { "from-safetensors", do_from_safetensors },
        { "to-meta", do_to_meta },
        { "from-meta", do_from_meta },
        { "from-cache", do_from_cache },
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

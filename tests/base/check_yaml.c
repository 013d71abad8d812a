/* SPDX-License-Identifier: Apache-2.0
 *
 * check_yaml.c - trees of YAML 1.1: kinds, lines, anchors, merge keys, quotes, tags, and what is
 * refused.
 */
#include "lib/base/yaml.h"

#include "tests/tap.h"

static const wan_yaml_node *walk(const wan_yaml *y, const char *path)
{
    char word[64];
    const wan_yaml_node *x = wan_yaml_root(y);
    while (x && *path) {
        size_t n = strcspn(path, ".");
        snprintf(word, sizeof word, "%.*s", (int)n, path);
        if (x->kind == WAN_YAML_LIST)
            x = (size_t)atoi(word) < x->n ? x->item[atoi(word)] : NULL;
        else
            x = wan_yaml_get(x, word);
        path += n + (path[n] == '.');
    }
    return x;
}

/* The scalar at path is this text; want NULL: there is nothing. */
static void holds(const char *yaml, const char *path, const char *want)
{
    wan_yaml *y;
    if (wan_yaml_parse(&y, yaml, strlen(yaml), "t") < 0) {
        ok(0, "%s: %s", path, wan_err_text());
        return;
    }
    const wan_yaml_node *x = walk(y, path);
    ok(want ? x && x->kind == WAN_YAML_SCALAR && !strcmp(x->text, want) : !x, "%s is %s", path,
       want ? want : "not there");
    wan_yaml_free(&y);
}

static void refused(const char *name, const char *yaml, const char *say)
{
    wan_yaml *y;
    wan_err_clear();
    int rc = wan_yaml_parse(&y, yaml, strlen(yaml), "t");
    ok(rc < 0 && !y && strstr(wan_err_text(), say), "%s: %s", name, wan_err_text());
    wan_yaml_free(&y);
}

static void trees(void)
{
    holds("a: 1\nb:\n  c: x y\n  d: [p, 'q', {r: s}]\n", "a", "1");
    holds("a: 1\nb:\n  c: x y\n", "b.c", "x y");
    holds("b: {d: [p, 'q', {r: s}]}\n", "b.d.2.r", "s");
    holds("a: \"tab\\there \\u00e9\"\n", "a", "tab\there \xc3\xa9");
    holds("a: |\n  two\n  lines\n", "a", "two\nlines\n");
    holds("- x\n- y\n", "1", "y");
    holds("# nothing\n", "a", NULL);
    holds("a: !!binary \"Y2Fm6Q==\"\n", "a", "caf\xe9");
}

static void anchors(void)
{
    static const char doc[] = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\n"
                              "one: {<<: *b, x: 9}\ntwo: {<<: [*m, *b]}\nthree: *b\n"
                              "word: &w hello\nagain: [*w, *w]\n";
    holds(doc, "one.x", "9");
    holds(doc, "one.y", "2");
    holds(doc, "two.y", "3");
    holds(doc, "two.x", "1");
    holds(doc, "two.z", "4");
    holds(doc, "three.y", "2");
    holds(doc, "again.1", "hello");
    holds("a: {'<<': 1}\n", "a.<<", "1");
}

static void kinds(void)
{
    static const char doc[] =
        "n: ~\ne:\nw: Null\ns: 'null'\nt: Yes\nf: OFF\nq: \"on\"\nx: !!str no\n";
    wan_yaml *y;
    int truth = -1;
    if (wan_yaml_parse(&y, doc, strlen(doc), "t") < 0)
        return;
    ok(wan_yaml_is_null(walk(y, "n")) && wan_yaml_is_null(walk(y, "e")) &&
           wan_yaml_is_null(walk(y, "w")) && !wan_yaml_is_null(walk(y, "s")),
       "~, nothing and Null are null, 'null' is a text");
    ok(wan_yaml_is_bool(walk(y, "t"), &truth) && truth == 1 &&
           wan_yaml_is_bool(walk(y, "f"), &truth) && truth == 0 &&
           !wan_yaml_is_bool(walk(y, "q"), &truth) && !wan_yaml_is_bool(walk(y, "x"), &truth),
       "Yes and OFF are booleans, quotes and !!str make them text");
    ok(walk(y, "f")->line == 6, "a node knows its line");
    wan_yaml_free(&y);
}

int main(void)
{
    trees();
    anchors();
    kinds();
    refused("a key twice", "a: 1\nb: 2\na: 3\n", "t: line 3: key \"a\" stands twice");
    refused("two documents", "a: 1\n---\nb: 2\n", "more than one document");
    refused("an alias of what it stands in", "a: &x\n  b:\n    c: *x\n",
            "line 3: *x stands in what it names");
    refused("an alias of nothing", "a: *b\n", "line 1: no anchor &b");
    refused("a foreign tag", "a: !python/tuple [1]\n", "tag");
    refused("a foreign tag of a scalar", "a: !secret x\n", "the tag !secret is not known");
    refused("a merged word", "a: {<<: x}\n", "only maps");
    refused("a list as a key", "? [a]\n: b\n", "a key must be a word");
    refused("not closed", "a: [1, 2\n", "line");
    refused("a NUL byte", "a: \"x\\0y\"\n", "NUL");
    refused("no base 64", "a: !!binary \"?\"\n", "base 64");
    char deep[512];
    memset(deep, '[', 200);
    strcpy(deep + 200, "\n");
    refused("too deep", deep, "nested too deeply");
    return tap_done();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * check_blend.c - what dataset.path names: folders, patterns, lists, metadataset files of both
 * versions, nested; and what is refused.
 */
#include "lib/train/data/blend.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "tests/tap.h"

static void put(const char *path, const char *text)
{
    if (wan_spew(path, text, strlen(text)) < 0)
        printf("Bail out! %s\n", wan_err_text());
}

/* "dir:split*share ..." of a blend; weights begin with w. */
static void gives(const char *path, const char *split, const char *want)
{
    char got[1024] = "";
    size_t n = 0;
    wan_blend b;
    int rc = wan_blend_load(&b, path, split);
    n += (size_t)snprintf(got, sizeof got, "%s", rc == 0 && b.weighted ? "w" : "");
    for (int i = 0; rc == 0 && i < b.n; i++) {
        const wan_blend_leaf *x = &b.leaf[i];
        n += (size_t)snprintf(got + n, sizeof got - n, " %s:%s*%.6g", x->dir, x->split, x->share);
        for (size_t k = 0; k < x->shards.n; k++)
            n += (size_t)snprintf(got + n, sizeof got - n, ",%s", x->shards.v[k]);
    }
    ok(rc == 0 && !strcmp(got, want), "%s: %s%s", path, rc == 0 ? got : "",
       rc < 0 ? wan_err_text() : "");
    wan_blend_clear(&b);
}

static void refused(const char *path, const char *say)
{
    wan_blend b;
    int rc = wan_blend_load(&b, path, "train");
    ok(rc < 0 && strstr(wan_err_text(), say), "%s: %s", path, wan_err_text());
    wan_blend_clear(&b);
}

static void files(void)
{
    put("v2.yaml", "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n"
                   "  train:\n    blend:\n      - weight: 5\n        path: ./coco\n"
                   "        subflavors: {kind: small}\n"
                   "      - weight: 2\n        path: /abs/coyo\n        split_part: val\n"
                   "      - path: sub/inner.yaml\n"
                   "  val:\n    path: coco\n");
    put("sub/inner.yaml", "__class__: MetadatasetV2\nsplits:\n  train:\n    blend:\n"
                          "    - {path: a, weight: 3}\n    - {path: b, weight: 1}\n");
    gives("v2.yaml", "train",
          "w ./coco:train*0.625 /abs/coyo:val*0.25 sub/a:train*0.09375 sub/b:train*0.03125");
    gives("v2.yaml", "val", " coco:val*1");
    gives("v2.yaml", "test", "");
    put("v1.yaml", "__class__: Metadataset\nsplits:\n  train:\n    datasets:\n"
                   "      - {weight: 1, path: x}\n      - {weight: 3, path: y}\n");
    gives("v1.yaml", "train", "w x:train*0.25 y:train*0.75");
    put("epochs.yaml",
        "__class__: MetadatasetV2\nsplits:\n  train:\n    blend_epochized:\n"
        "      - {repetitions: 5, path: x}\n      - {repetitions: 0.5, path: half.yaml}\n");
    put("half.yaml",
        "splits:\n  train:\n    blend_epochized:\n      - {repetitions: 4, path: y}\n      - {path: z}\n");
    gives("epochs.yaml", "train", " x:train*5 y:train*2 z:train*0.5");
    put("mixed.yaml", "splits:\n  train:\n    blend:\n      - {path: half.yaml}\n");
    refused("mixed.yaml", "cannot be mixed");
    put("loop.yaml",
        "splits:\n  train:\n    blend:\n      - {path: loop.yaml}\n      - {path: loop.yaml}\n");
    refused("loop.yaml", "nested too deeply");
    put("class.yaml", "__class__: CrudeWebdataset\n");
    refused("class.yaml", "no Metadataset");
    put("join.yaml", "splits:\n  train:\n    join: [{path: a}]\n");
    refused("join.yaml", "line 3: \"join\" of a dataset is not supported");
    put("weight.yaml", "splits:\n  train:\n    blend: [{path: a, weight: -1}]\n");
    refused("weight.yaml", "weight.yaml: line 3: weight must be a number above 0");
    put("nothing.yaml", "a: 1\n");
    refused("nothing.yaml", "has no splits");
    put("caption.yaml", "splits:\n  train: {path: a, caption: long}\n");
    refused("caption.yaml", "is caption_field");
}

static void lists(void)
{
    gives("ds", "train", " ds:train*1");
    gives("[a, b]", "train", " a:train*1 b:train*1");
    gives("[{path: a, weight: 3}, b]", "train", "w a:train*0.75 b:train*0.25");
    gives("[{path: a, repetitions: 2.5}, b]", "val", " a:val*2.5 b:val*1");
    gives("{blend: [{path: a, weight: 1, split_part: test}, {path: b}]}", "train",
          "w a:test*0.5 b:train*0.5");
    refused("[{path: a, weight: 1}, {path: b, repetitions: 2}]", "cannot be mixed");
    refused("[]", "a list of datasets");
    refused("[{weight: 2}]", "one of path");
    refused("[a", "dataset.path: line");
}

static void patterns(void)
{
    if (wan_mkdirs("one/.nv-meta") < 0 || wan_mkdirs("two/.nv-meta") < 0 ||
        wan_mkdirs("one/deep") < 0)
        printf("Bail out! %s\n", wan_err_text());
    gives("one/a-{08..10}.tar", "train", " one:*1,a-08.tar,a-09.tar,a-10.tar");
    gives("one/deep/x.tar", "train", " one:*1,deep/x.tar");
    gives("{one,two}/x.tar", "train", " one:*1,x.tar two:*1,x.tar");
    gives("[{path: 'one/{a,b}.tar', weight: 1}, {path: two, weight: 3}]", "train",
          "w one:*0.25,a.tar,b.tar two:train*0.75");
    refused("three/a-{0..1}.tar", "three/a-0.tar: no folder above it has an index");
}

int main(void)
{
    char dir[] = "/tmp/wan-blend.XXXXXX";
    if (!mkdtemp(dir) || chdir(dir) < 0 || wan_mkdirs("sub") < 0)
        return 1;
    files();
    lists();
    patterns();
    if (chdir("/") == 0)
        wan_remove_tree(dir);
    return tap_done();
}

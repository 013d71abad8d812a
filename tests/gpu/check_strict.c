/* SPDX-License-Identifier: Apache-2.0
 * What --strict refuses is what else is warned of: on the emulated device, whose cuDNN can be told
 * its version. */
#include "kernels/ops.h"
#include "tests/tap.h"

/* Self-attention of one short sample in bf16 on a device opened with these flags. */
static int attend(int flags)
{
    wan_dev *d;
    wan_pack p;
    const int64_t len = 16, W = 64;
    if (wan_dev_open(&d, "cuda", flags) < 0)
        return -1;
    wan_buf b = wan_buf_of(wan_dev_alloc(d, (size_t)(len * W) * 2, "test"), WAN_BF16);
    wan_buf o = wan_buf_of(wan_dev_alloc(d, (size_t)(len * W) * 2, "test"), WAN_BF16);
    int rc = b.p && o.p ? wan_pack_new(d, &p, &len, 1) : -1;
    if (rc == 0) {
        wan_attn a = { &p, &p, 1, W, 0.1, W, W, W, W, NULL };
        rc = d->ops->fill(d, b, 0.5, len * W);
        if (rc == 0)
            rc = d->ops->attention_forward(d, &a, o, NULL, b, b, b);
        if (rc == 0)
            rc = wan_dev_sync(d);
        wan_pack_free(d, &p);
    }
    wan_dev_close(&d);
    return rc;
}

/* Host memory for copies, on a machine that pins none. */
static int far(int flags)
{
    wan_dev *d;
    if (wan_dev_open(&d, "cuda", flags) < 0)
        return -1;
    int rc = wan_dev_alloc_far(d, 4096, "moments") ? 0 : -1;
    wan_dev_close(&d);
    return rc;
}

int main(void)
{
    int cudnn = getenv("GRAPH") && *getenv("GRAPH"); /* a build with cuDNN */
    if (!getenv("NODRIVER")) {
        tap_skip("--strict", "not the emulated device");
        return tap_done();
    }
    ok(attend(0) == 0, "attention");
    int rc = attend(WAN_DEV_STRICT);
    ok(rc == (cudnn ? 0 : -1), "strict: %s", cudnn ? "too" : wan_err_text());
    setenv("WAN_EMU_CUDNN", "91500", 1);
    ok(attend(0) == 0, "with an old cuDNN");
    rc = attend(WAN_DEV_STRICT);
    ok(rc < 0 && strstr(wan_err_text(), "refused"), "strict: %s", wan_err_text());
    setenv("WAN_EMU_FAULT", "pin:check_strict", 1);
    ok(far(0) == 0, "memory that cannot be pinned");
    rc = far(WAN_DEV_STRICT);
    ok(rc < 0 && strstr(wan_err_text(), "moments: cuda") && strstr(wan_err_text(), "be pinned"),
       "strict: %s", wan_err_text());
    return tap_done();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_net.h - inside the video VAE: the network as a list of nodes, and the stages that stream
 * frames through it.  Used by vae*.c and their check.
 *
 * A stage is a run of nodes at one resolution.  Its frames wait in x [fill, H, W, C] (WAN_REAL)
 * until `cap` of them are there (or the video ends), are worked on in place, and leave through the
 * resampler into the next stage's x.  The memory of time lies in belts: each causal convolution keeps the last
 * kt-1 frames of its input; before the video there are fewer, and no taps on them.  What comes in front of a
 * convolution writes behind those frames, and the convolution reads both in place.
 *
 * Those past frames are most of the memory: 3.6 GiB in the decoder at 480x832 in float.  Beyond
 * `budget` bytes the decoder makes the picture in bands of rows, each a run over the whole video:
 * a stage then holds the rows [row0, row0 + H) that the band depends on, and the rows near a cut
 * edge, which lack their neighbours, are dropped at the next resampler.  Every value that is kept
 * comes from the same sums as without bands.
 *
 * Several ranks make a band each.  In the encoder attention stands in the last stage: the bands end in
 * front of it, the rows of all ranks are put together there, and each rank has it whole.  One rank keeps what
 * its bands give for all frames, and the last stage runs with the last band.
 */
#ifndef WAN_MODEL_VAE_NET_H
#define WAN_MODEL_VAE_NET_H

#include "lib/model/vae/vae.h"

#define WAN_VAE_MAX_LEVELS 8
#define WAN_VAE_MAX_Z 64

typedef struct wan_vae_config {
    int base_dim, z_dim, num_res_blocks, levels;
    int dim_mult[WAN_VAE_MAX_LEVELS];
    int time_down[WAN_VAE_MAX_LEVELS]; /* resampler after level i also halves time */
    wan_real mean[WAN_VAE_MAX_Z], std[WAN_VAE_MAX_Z];
} wan_vae_config;

/* What `lanes` causal convolutions read that run one after the other over frames of one size: [slots, frame], compute
 * type.  Convolution k has its past two frames and behind them m new ones from slot at + 2 (lanes - 1 - k) on: new
 * ones end in front of the past of those that have run, which have moved on by m, and begin behind the past of those
 * that have not.  All have moved on by m then; where the slots end, the past ones are copied to the first. */
typedef struct vae_belt {
    void *mem;
    int64_t frame, lanes, slots, at;
    int64_t cap; /* most new frames */
} vae_belt;

/* A convolution with its weights [Co, taps, Ci] (compute type) and bias. */
typedef struct vae_conv {
    wan_conv c; /* T is set at each call; H, W by the layout */
    wan_buf w;
    wan_real *b;
    int belt, lane; /* causal ones: of their stage */
    int known;      /* past frames, at most kt-1 */
} vae_conv;

enum vae_kind { VAE_RES, VAE_ATTN };

typedef struct vae_node {
    enum vae_kind kind;
    int64_t Ci, Co;
    wan_real *gamma1, *gamma2;
    vae_conv conv1, conv2; /* RES; ATTN: qkv and projection */
    vae_conv shortcut;     /* RES with Ci != Co */
    int has_shortcut;
} vae_node;

enum vae_resample { VAE_LAST, VAE_DOWN, VAE_UP };

typedef struct vae_stage {
    vae_node *nodes; /* owned */
    int n_nodes, cap_nodes;
    int64_t H, W, row0; /* rows held, columns, and the row of the picture that is held first */
    int64_t C_in, C_out, C_max; /* channels entering, leaving the nodes, and most of all */
    int64_t out0, out_rows;     /* DOWN: rows of the next resolution that this stage gives */
    enum vae_resample leave;
    int timed;            /* the resampler also changes the frame rate */
    vae_conv space, time; /* of the resampler */
    vae_belt belts[2];    /* of frames of C_in channels; of others, which have C_out */
    void *tail;           /* frames before and in the time convolution, compute type */
    int64_t n_tail;       /* frames kept in tail; UP: right before its third */
    int64_t seen;         /* frames that passed the resampler */
    int64_t cap, fill;
    wan_real *x;
} vae_stage;

/* One direction: encoder or decoder. */
typedef struct vae_net {
    wan_dev *d;
    wan_dtype compute;
    vae_conv first, last; /* conv_in, conv_out */
    vae_belt front;       /* of conv_in; conv_out's is in the last stage */
    wan_real *gamma_out;
    vae_stage stages[WAN_VAE_MAX_LEVELS];
    int n_stages;
    void *work,
        *y; /* shared: input of a convolution that keeps none, or of attention; output of either */
    wan_real *lse;
    int64_t H, W, chunk; /* the layout in place (of the input); 0: none */
    int single;          /* the video is one frame: none are kept for others */
    int bands, band;     /* how many there are, and which one the layout is for */
    int64_t spare;    /* frames of a belt beyond those that it needs, for two of its convolutions */
    int64_t budget;   /* bytes beyond which there are bands; 0: never */
    int ranks;        /* how many make bands at the same time; 0: one */
    wan_group *share; /* those, where the stages of an encoder are cut; ... */
    const wan_where *where;
    wan_real *part;  /* ... the rows that this band gives to the last stage, one frame */
    wan_real *joint; /* without other ranks: what all bands give [joint_n frames so far] */
    int64_t joint_n;
    wan_pack pack; /* of the attention: pack_n frames of pack_len positions */
    int64_t pack_n, pack_len;
    /* Takes n finished frames: y [n, H, W, last.Co] WAN_REAL, on the device. */
    int (*sink)(void *arg, const wan_real *y, int64_t n);
    void *arg;
} vae_net;

struct wan_vae {
    wan_dev *d;
    wan_vae_config c;
    wan_dtype compute;
    int parts;
    wan_group *share; /* NULL: alone */
    int tiled;        /* larger pictures in tiles of tile_side pixels, tile_step apart */
    int64_t tile_side, tile_step;
    wan_where *where; /* memory of the device for its calls */
    vae_net enc, dec;
    vae_conv quant, post_quant;    /* always WAN_REAL */
    wan_real *norm_a, *norm_b;     /* [2z] encode: z = mu*a + b */
    wan_real *denorm_a, *denorm_b; /* decode: mu = z*a + b */
    void **blocks;                 /* every device allocation of weights */
    int n_blocks;
};

/* Where weights come from.  load: the tensor of this name and shape into dst as type dt; dst NULL: it is
 * only asked for.  release (may be NULL): it will not be asked for again. */
typedef struct wan_vae_source {
    void *arg;
    int (*load)(void *arg, const char *name, const int64_t *shape, int rank, void *dst,
                wan_dtype dt);
    void (*release)(void *arg, const char *name);
} wan_vae_source;

/* What is encoded, and into what: see wan_vae_encode_raw.  normalise: the mean. */
typedef struct wan_vae_clip {
    float *mu, *logvar;
    int normalise, is_float; /* pixels: float in [-1, 1], or u8 */
    const void *pixels;      /* [T, H, W, 3] */
    int64_t T, H, W, chunk;
} wan_vae_clip;

/* vae_config.c */
int wan_vae_config_load(wan_vae_config *c, const char *dir) WAN_MUST_CHECK;
/* vae.c: as wan_vae_open, from numbers; what names it in an error. */
int wan_vae_make(wan_vae **out, wan_dev *d, const wan_vae_config *c, const wan_vae_source *from,
                 int parts, wan_dtype compute, const char *what) WAN_MUST_CHECK;
#define WAN_VAE_DECODE_CHUNK 4 /* latent frames per pass at the lowest resolution */
/* vae_encode.c, vae_decode.c: without tiles.  raw: put gets pixels as they come, not clamped. */
int wan_vae_encode_whole(wan_vae *v, const wan_vae_clip *c) WAN_MUST_CHECK;
int wan_vae_decode_whole(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w, int raw,
                         wan_vae_put *put, void *arg) WAN_MUST_CHECK;
int wan_vae_frames_whole(wan_vae_frames **out, wan_vae *v, const float *latent, int64_t Tl,
                         int64_t h, int64_t w, int raw, wan_vae_put *put, void *arg) WAN_MUST_CHECK;
/* vae_tile.c */
int wan_vae_tile_encode(wan_vae *v, const wan_vae_clip *c) WAN_MUST_CHECK;
int wan_vae_tile_decode(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w,
                        wan_vae_put *put, void *arg) WAN_MUST_CHECK;
/* vae_load.c: builds both directions; weights of those not in v->parts are only checked. */
int wan_vae_load_weights(wan_vae *v, const wan_vae_source *from) WAN_MUST_CHECK;
void wan_vae_load_free(wan_vae *v);
/* vae_layout.c: buffers for an input of H x W (pixels or latents) and pieces of `chunk` frames, for
 * one band of the result; n->bands says afterwards how many there are. */
int wan_vae_layout_set(vae_net *n, int64_t H, int64_t W, int64_t chunk, int band) WAN_MUST_CHECK;
/* Bytes that layout_set would take for its largest band; -1: out of memory. */
int64_t wan_vae_layout_bytes(const vae_net *n, int64_t H, int64_t W, int64_t chunk) WAN_MUST_CHECK;
/* Rows [first, end) of the result that band b is to give. */
void wan_vae_layout_rows(const vae_net *n, int b, int64_t *first, int64_t *end);
void wan_vae_layout_free(vae_net *n);
/* Start of a video; of a single frame none is kept, and memory for that is never touched. */
void wan_vae_layout_reset(vae_net *n, int single);
/* vae_share.c: how many ranks make a clip of h rows of latents: all, or one where some would have none
 * (of a decoder fewer). */
int wan_vae_share_ranks(const wan_vae *v, int64_t h, int fewer);
/* One frame of the last stage: out [rows, row] from the bands of all ranks, part [own rows, row]. */
int wan_vae_share_rows(const vae_net *n, wan_real *out, const wan_real *part, int64_t row)
    WAN_MUST_CHECK;
/* vae_stream.c: where the next frames of input go (compute type), then push and, at the end, flush. */
wan_buf wan_vae_stream_input(vae_net *n);
int64_t wan_vae_stream_room(const vae_net *n); /* frames that may be pushed at once */
int wan_vae_stream_push(vae_net *n, int64_t frames) WAN_MUST_CHECK;
int wan_vae_stream_flush(vae_net *n) WAN_MUST_CHECK;

#endif

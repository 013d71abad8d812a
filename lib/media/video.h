/* SPDX-License-Identifier: Apache-2.0
 *
 * video.h - decoding and encoding video; with image.h the only place that sees libav*.
 *
 * Pixels are U8 RGB, full range, [T, H, W, 3].  Frames are counted by decoding, never from the
 * container's duration.
 */
#ifndef WAN_MEDIA_VIDEO_H
#define WAN_MEDIA_VIDEO_H

#include <stdint.h>

#include "lib/base/err.h"

enum wan_resize {
    WAN_RESIZE_BILINEAR,
    WAN_RESIZE_BICUBIC,
    WAN_RESIZE_NEAREST,
    WAN_RESIZE_AREA,
    WAN_RESIZE_LANCZOS
};
enum wan_fit { WAN_FIT_STRETCH, WAN_FIT_INSIDE, WAN_FIT_CROP /* cover, then centre crop */ };

enum wan_untagged { WAN_UNTAGGED_AUTO, WAN_UNTAGGED_BT601, WAN_UNTAGGED_BT709 };
enum wan_hdr { WAN_HDR_TONEMAP, WAN_HDR_REFUSE };
enum wan_interlaced { WAN_INTERLACED_MEND, WAN_INTERLACED_KEEP, WAN_INTERLACED_REFUSE };

struct wan_video;

typedef struct wan_video_options {
    int height, width; /* target in pixels, multiples of 16; 0,0: source size rounded down */
    enum wan_fit fit;
    enum wan_resize resize;
    int aliased;                    /* filters of fixed width, as OpenCV's */
    enum wan_untagged untagged;     /* matrix of video that states none */
    enum wan_hdr hdr;               /* PQ and HLG */
    enum wan_interlaced interlaced; /* frames made of two fields */
    uint32_t background;            /* 0xRRGGBB behind transparency */
    double fps;                     /* re-timed to this rate; 0 keeps the source's frames */
    int64_t max_frames;             /* keep at most this many output frames; 0: all */
    int64_t skip_frames;            /* drop this many output frames first */
    double start, end;   /* seconds of the source from its first frame on; end 0: to its end */
    int64_t first_frame; /* of the source */
    int64_t end_frame;   /* behind the last one; 0: to its end */
    int threads;         /* decoder threads; 0: one per core, fewer for tiny or large frames */
    int cores;           /* to be used, where threads is 0; 0: all */
    int64_t max_bytes;   /* refuse to keep more than this much pixel memory */
    double max_gap;      /* more seconds than this between two frames are damage; 0: never */
    int64_t max_pixels;  /* with height 0: the size of wan_pieces_size; 0: none */
    double scene_cut;    /* marks scenes: score of 100 from which a cut is one; 0: does not */
    int look;            /* marks black and still frames */
    int opened;          /* the file is open as descriptor 0; its path is for messages only */
    void (*beat)(void);  /* called for every packet and frame; NULL: nothing */
    /* Gets the frames from `first` on as they come, whenever there are 4k+1 of them: 1 it has taken them, and those
     * to come, and they are not kept; 0 it takes none yet; -1.  first = 0 once more: the clip is read anew.  v: what the
     * video will be, as far as is known.  NULL: all are kept. */
    int (*give)(const struct wan_video *v, const uint8_t *rgb, int64_t first, int64_t n);
    int64_t behind; /* bytes given to `give` stay as they are until so many more are */
} wan_video_options;

/* What the numbers of the first frame were taken for; libav's names, "unknown" where none is stated. */
typedef struct wan_video_colour {
    char pixels[32], matrix[32], range[16], transfer[32], primaries[32];
    char assumed[16]; /* "matrix", "range", both, or "": what the file left open */
    int tone_mapped, alpha;
} wan_video_colour;

enum wan_mark {
    WAN_MARK_CUT = 1,   /* a scene begins: the first frame shown behind a cut */
    WAN_MARK_BLACK = 2, /* almost all of it is */
    WAN_MARK_STILL = 4  /* as the kept frame before it */
};

typedef struct wan_video {
    uint8_t *mark;  /* [frames] of enum wan_mark, owned as rgb; NULL: none were asked for */
    uint8_t *rgb;   /* [frames, height, width, 3], owned unless borrowed; wan_video_free */
    int64_t given;  /* frames that the option `give` has taken, all of 4k+1; then rgb holds none */
    int borrowed;   /* rgb is somebody else's */
    int64_t frames; /* kept, before any 4n+1 trim */
    int height, width;
    int64_t frames_in;      /* frames decoded from the file, of the part that is meant */
    int64_t frames_retimed; /* after re-timing to fps, before max_frames */
    double fps_in;          /* average source rate, by decoded timestamps */
    double fps;             /* of the kept frames */
    int source_height, source_width;
    wan_video_colour colour;
    int edits;          /* at another speed than 1, but shown at it */
    int streams;        /* of video in the file, of which one was read */
    int64_t interlaced; /* frames made of two fields */
    int64_t repeated;   /* time stamps equal to the one before */
    int64_t damaged;    /* frames damaged, missing or at a wild time stamp, as far as libav tells */
    char damage[256];   /* the first sign of it; "" none */
} wan_video;

/* Decodes path; memory is bounded by the frames kept.  The same pixels and the same verdict for any
 * number of threads: a clip that shows a sign of damage is decoded anew by one.  -1 with "PATH:
 * reason"; a damaged clip is read, and says so. */
int wan_video_read(wan_video *out, const char *path, const wan_video_options *opt) WAN_MUST_CHECK;
/* Exactly the frames of integer-truncated linspace(0, total-1, n) (DFM's frames mode), decoded in
 * order, memory bounded by n; the chosen indices go to index[n]. */
int wan_video_read_frames(wan_video *out, int64_t *index, int64_t n, const char *path,
                          const wan_video_options *opt) WAN_MUST_CHECK;
void wan_video_free(wan_video *v);

/* Whether the ending of path names a container that can be written: H.264 in mp4, mkv, mov and others,
 * VP9 in webm, Theora in ogv, gif and apng, as far as this libav has them. */
int wan_video_container(const char *path);

typedef struct wan_video_writer wan_video_writer;
/* yuv420p, bt709, tagged (gif: 256 fixed colours, dithered; apng: exact); crf 0..51 of libx264 (WAN's
 * quality 8 is crf 10), stretched to the scale of another encoder.  Deterministic bytes:
 * no creation time, fixed thread count.  Writes through a temporary file. */
int wan_video_writer_open(wan_video_writer **out, const char *path, int height, int width,
                          double fps, int crf) WAN_MUST_CHECK;
int wan_video_writer_frame(wan_video_writer *w, const uint8_t *rgb /* [H, W, 3] */) WAN_MUST_CHECK;
int wan_video_writer_finish(wan_video_writer **w) WAN_MUST_CHECK;
void wan_video_writer_discard(wan_video_writer **w);

/* 8-bit RGB PNG [H, W, 3], deterministic bytes.  path "-" is stdout. */
int wan_png_write(const char *path, const uint8_t *rgb, int height, int width) WAN_MUST_CHECK;
/* Scales one image (area when shrinking, bilinear when growing); for contact sheets. */
int wan_image_scale(uint8_t *dst, int dh, int dw, const uint8_t *src, int sh, int sw)
    WAN_MUST_CHECK;

/* libav is opened when the first video is, or by this: a decoder that is shut in cannot. */
int wan_video_load(void) WAN_MUST_CHECK;
/* libavfilter, which few clips need, is opened when the first one does, or by this. */
int wan_video_filter_load(void) WAN_MUST_CHECK;
/* From now on it is not opened, as no file can be; and whether a clip failed for it. */
void wan_video_filter_seal(void);
int wan_video_filter_wanted(void);

/* For --version: the libraries built with and found, or that there are none. */
const char *wan_video_version(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_record.c - what a record says of its clip.
 */
#include "lib/media/clip_record.h"

/* What the clip's colours were taken for. */
static json_t *colour_meta(const wan_clip_settings *s, const wan_video_colour *c)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "pixels", c->pixels, "matrix",
                          c->matrix, "range", c->range, "transfer", c->transfer, "primaries",
                          c->primaries, "assumed", c->assumed, "tone_mapped", c->tone_mapped);
    if (c->alpha)
        json_object_set_new(j, "background", json_string(s->background));
    return j;
}

/* resize_settings as DFM writes it. */
static json_t *resize_meta(const wan_clip_settings *s, const wan_video *v)
{
    int h = s->budget ? v->height : s->height, w = s->budget ? v->width : s->width;
    json_t *size = h ? json_pack("[i, i]", h, w) : json_null();
    return json_pack("{s:o, s:s, s:b, s:b}", "target_size", size, "resize_mode", s->resize_mode,
                     "maintain_aspect_ratio", s->keep_aspect, "center_crop", s->center_crop);
}

static void caption_meta(json_t *m, const wan_clip_captions *c, int which, int all)
{
    json_object_set_new(m, "caption", json_string(c->v[which]));
    if (c->field[which][0])
        json_object_set_new(m, "caption_field", json_string(c->field[which]));
    if (all && c->n > 1) {
        json_t *list = json_array();
        for (int i = 0; i < c->n; i++)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s}", "field", c->field[i], "text", c->v[i]));
        json_object_set_new(m, "caption_list", list);
    } else if (c->n > 1) {
        json_object_set_new(m, "caption_index", json_integer(which + 1));
        json_object_set_new(m, "captions", json_integer(c->n));
    }
}

/* The part of the file that a list, or the user, names. */
static void part_meta(json_t *m, const wan_clip *clip)
{
    if (clip->start > 0)
        json_object_set_new(m, "start", json_real(clip->start));
    if (clip->end > 0)
        json_object_set_new(m, "end", json_real(clip->end));
    if (clip->first_frame > 0)
        json_object_set_new(m, "first_frame", json_integer(clip->first_frame));
    if (clip->end_frame > 0)
        json_object_set_new(m, "end_frame", json_integer(clip->end_frame));
}

static void video_meta(json_t *m, const wan_clip_settings *s, const wan_video *v)
{
    json_object_set_new(m, "fps", json_real(v->fps));
    json_object_set_new(m, "fps_in", json_real(v->fps_in));
    json_object_set_new(m, "frames_in", json_integer(v->frames_in));
    json_object_set_new(m, "colour", colour_meta(s, &v->colour));
    json_object_set_new(m, "frames_interlaced", json_integer(v->interlaced));
    json_object_set_new(m, "frames_damaged", json_integer(v->damaged));
    json_object_set_new(m, "stamps_repeated", json_integer(v->repeated));
    json_object_set_new(m, "height", json_integer(v->height));
    json_object_set_new(m, "width", json_integer(v->width));
    json_object_set_new(m, "source_height", json_integer(v->source_height));
    json_object_set_new(m, "source_width", json_integer(v->source_width));
    json_object_set_new(m, "processing_mode", json_string(s->mode));
    json_object_set_new(m, "resize_settings", resize_meta(s, v));
}

int wan_clip_record(wan_record *r, const char *key, const wan_clip_settings *s,
                    const wan_clip *clip, const wan_clip_captions *captions, const wan_video *v,
                    const wan_clip_part *part)
{
    int64_t shape[4] = { part->frames, v->height, v->width, 3 };
    uint8_t *px = v->rgb + (size_t)part->first * (size_t)v->height * (size_t)v->width * 3;
    WAN_TRY(wan_record_set_key(r, key));
    caption_meta(r->meta, captions, part->caption, s->all_captions);
    json_object_set_new(r->meta, "source", wan_json_text(clip->name));
    part_meta(r->meta, clip);
    video_meta(r->meta, s, v);
    json_object_set_new(r->meta, "frames_out", json_integer(part->frames));
    if (part->first > 0 && !part->frame_index)
        json_object_set_new(r->meta, "piece_first", json_integer(part->first));
    if (part->scene)
        json_object_set_new(r->meta, "scene", json_integer(part->scene));
    if (part->frame_index) {
        json_object_set_new(r->meta, "frame_index", json_integer(part->frame_index));
        json_object_set_new(r->meta, "total_frames_in_video", json_integer(v->frames));
    } else {
        json_object_set_new(r->meta, "frames_retimed", json_integer(v->frames_retimed));
        json_object_set_new(r->meta, "frames_dropped",
                            json_integer(v->frames_retimed - part->frames));
    }
    return wan_record_add(r, "frames", WAN_U8, shape, 4, px, WAN_BORROW);
}

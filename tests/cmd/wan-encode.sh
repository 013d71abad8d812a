# SPDX-License-Identifier: Apache-2.0
# wan-encode: there and back, the same bytes however it is run, and every kind of wrong input.
. "$TOP/tests/lib.sh"
export LC_ALL=C
M=$TOP/examples/tiny
no() { ! "$@"; }
ls_has() { wan-record ls "$1" | jq -es "$2" >/dev/null; }

"${EXAMPLES:-$TOP/build/examples}/draw_clips" --copies 1 --frames 9 all >draw.log 2>&1
mkdir -p clips
for f in $(ls all | grep '\.mp4$' | awk 'NR % 40 == 1' | head -n 5); do cp "all/$f" "all/${f%.mp4}.json" clips/; done
ok "clips to frames" wan-decode --height 64 --width 64 -o f.wan clips

# ---- what comes out
ok "frames to latents" sh -c "wan-encode --model $M < f.wan > l.wan"
ok "the stream is whole" wan-record check l.wan
ok "latent, text and token_ids; no frames" ls_has l.wan \
    'all(.tensors | map(.name) | sort == ["latent","text","token_ids"])'
ok "9 frames are 3 latent frames of 16 channels" ls_has l.wan \
    'all(.tensors[] | select(.name == "latent") | .shape == [16,3,8,8] and .dtype == "F32")'
ok "as many text rows as token ids" ls_has l.wan \
    'all((.tensors | map({(.name): .shape[0]}) | add) | .text == .token_ids and .text > 4)'
ok "all records, in order" sh -c "wan-record ls f.wan | jq -r .key >a; wan-record ls l.wan | jq -r .key | cmp - a"

# ---- the same bytes: file or pipe, window of one or of all, twice
ok "from a file to a file" wan-encode --model "$M" -o l2.wan f.wan
same "the same bytes" l.wan l2.wan
ok "captions one by one" sh -c "wan-encode --model $M --text-window 1 f.wan > l3.wan"
same "the same bytes with another window" l.wan l3.wan
ok "a model folder elsewhere" sh -c "cp -r $M m2 && wan-encode --model m2/ f.wan > l4.wan"
same "no path is in the stream" l.wan l4.wan

# ---- a sample of the posterior, each record its own
ok "samples" wan-encode --model "$M" --posterior sample -o s.wan f.wan
ok "again" wan-encode --model "$M" --posterior sample -o s2.wan f.wan
same "the same bytes" s.wan s2.wan
latents() { wan-record ls "$1" | jq -r '.tensors[] | select(.name == "latent") | .sha256'; }
ok "no latent is the mean, or that of another" sh -c "[ \$(cat s.sha l.sha | sort -u | wc -l) -eq 10 ]" \
    "$(latents s.wan >s.sha; latents l.wan >l.sha)"
fails 2 'posterior goes with frames' "--posterior sample without frames" wan-encode --model "$M" --posterior sample -p x

# ---- tiles: of pictures of more than 256 pixels a side
ok "a clip of 288x272" sh -c "mkdir one && cp \$(ls clips/* | head -n 2) one && wan-decode --height 288 --width 272 --no-aspect-ratio --lengths 5 -o big.wan one"
ok "whole" wan-encode --model "$M" -o whole.wan big.wan
ok "in tiles" wan-encode --model "$M" --tiling -o tiled.wan big.wan
ok "tiles change the values" sh -c "[ \$(cat s1 s2 | sort -u | wc -l) -eq 2 ]" "$(latents whole.wan >s1; latents tiled.wan >s2)"
ok "the history says so" sh -c 'wan-record ls --header tiled.wan | head -n 1 | grep -q "\"tiling\":true"'
ok "of smaller pictures there are none" sh -c "wan-encode --model $M --tiling f.wan | wan-record ls | jq -r '.tensors[] | select(.name == \"latent\") | .sha256' | cmp - l.sha"
ok "and back" sh -c "wan-encode -d --model $M whole.wan >w1.wan && wan-encode -d --tiling --model $M whole.wan >w2.wan"
ok "5 frames of 288x272 again" ls_has w2.wan 'all(any(.tensors[]; .name == "frames" and .shape == [5,288,272,3]))'
fails 2 'tiling goes with' "tiles of captions" wan-encode --model "$M" --tiling -p x

# ---- several streams: each record stays under the history that made it
ok "clips of another size" wan-decode --height 32 --width 32 -o f32.wan clips
ok "one after the other" sh -c "(wan-encode --model $M f.wan && wan-encode --model $M f32.wan) > apart.wan"
ok "as one input" sh -c "cat f.wan f32.wan | wan-encode --model $M > joined.wan"
same "the same two streams" apart.wan joined.wan
ok "and back" sh -c "wan-encode -d --model $M joined.wan | wan-record ls | wc -l | grep -qx 10"

# ---- back
ok "latents to frames" sh -c "wan-encode -d --model $M < l.wan > d.wan"
ok "9 frames of 64x64" ls_has d.wan 'all(any(.tensors[]; .name == "frames" and .shape == [9,64,64,3]))'
ok "text rows pass through" ls_has d.wan 'all(any(.tensors[]; .name == "text"))'
ok "both tensors on request" sh -c "wan-encode -k --model $M f.wan | wan-encode -t --model $M > k.wan"
ok "frames and latent" ls_has k.wan 'all(.tensors | map(.name) | contains(["frames","latent"]))'
raw_frames() { # raw_frames STREAM: the frames of its first record, the tensor added last
    wan-record to-safetensors -q -k "$(head -1 a)" -o "$1.safetensors" "$1" &&
        tail -c 110592 "$1.safetensors"
}
psnr() {
    raw_frames f.wan >f.raw && raw_frames d.wan >d.raw &&
        paste <(od -An -v -tu1 -w1 f.raw) <(od -An -v -tu1 -w1 d.raw) |
        awk -v want="$1" '{e = $1 - $2; s += e * e} END {exit !(NR == 110592 && 10 * log(65025 * NR / s) / log(10) > want)}'
}
ok "the frames that come back are those that went in, to 25 dB" psnr 25

# ---- types and prompts
ok "bf16 latents and f16 text" sh -c "wan-encode --model $M --latent-dtype bf16 --text-dtype f16 f.wan > h.wan"
ok "their types" ls_has h.wan \
    'all((.tensors | map({(.name): .dtype}) | add) | .latent == "BF16" and .text == "F16")'
ok "bf16 arithmetic" sh -c "wan-encode --model $M --precision bf16 f.wan > b.wan && ! cmp -s b.wan l.wan"

# ---- fp16: the bounds of wan-numerics(7)
# values FILE TENSOR TYPE: its numbers, one a line
values() {
    local n at
    n=$(($(od -An -tu8 -N8 "$1"))) && at=($(tail -c +9 "$1" | head -c $n | jq ".\"$2\".data_offsets[]")) &&
        tail -c +$((n + 9 + at[0])) "$1" | head -c $((at[1] - at[0])) | od -An -v "-t$3" "-w${3:1}"
}
# off TENSOR TYPE A B: |B - A| / |A|, in the first record
off() {
    paste <(values "$3" "$1" "$2") <(values "$4" "$1" "$2") |
        awk '{ e += ($1 - $2) ^ 2; s += $1 ^ 2 } END { printf "%.6f", (s > 0 ? sqrt(e / s) : 9) }'
}
for p in fp32 bf16 fp16; do
    wan-encode -q --model "$M" --precision $p -o $p.wan f.wan && wan-encode -q -d --model "$M" --precision $p -o $p-d.wan l.wan
    for f in $p $p-d; do wan-record to-safetensors -q -k "$(head -1 a)" -o $f.safetensors $f.wan; done
done
S() { eval "$1=$(off "$2" "$3" fp32$5.safetensors "$4$5.safetensors")"; }
S l16 latent f4 fp16 "" && S lb latent f4 bf16 "" && S d16 frames u1 fp16 -d && S db frames u1 bf16 -d
less() { awk "BEGIN { exit !($1 > 0 && $1 < $2) }"; }
ok "latents in fp16 within 0.4 % of fp32: $l16" less "$l16" 0.004
ok "a third of what bf16 gives, or less: $lb" less "$l16" "$lb / 3"
ok "pixels decoded in fp16 within 0.4 %: $d16" less "$d16" 0.004
ok "nearer than in bf16: $db" less "$d16" "$db / 2"
ok "latents and pixels in bf16 within 3 %" eval 'less "$lb" 0.03 && less "$db" 0.03'
text_of() { wan-record ls "$1" | jq -r '.tensors[] | select(.name != "latent") | .sha256'; }
ok "text rows with fp16 are those of fp32" cmp <(text_of fp16.wan) <(text_of fp32.wan)
ok "the same bytes twice" sh -c "wan-encode --model $M --precision fp16 f.wan | cmp - fp16.wan"
ok "the history says so" sh -c 'wan-record ls --header fp16.wan | head -n 1 | grep -q "\"precision\":\"fp16\""'
fails 2 'none of fp32.bf16.fp16' "half as a precision" wan-encode --model "$M" --precision half f.wan

ok "prompts without records" sh -c "wan-encode --model $M --prompt 'a red circle' '' 'a red circle' > p.wan </dev/null"
ok "the empty prompt is one row, equal prompts are equal" ls_has p.wan \
    'map(.tensors[] | select(.name == "text") | [.shape[0], .sha256]) | .[1][0] == 1 and .[0] == .[2]'
long=$(printf 'a blue square moves down %.0s' $(seq 200))
ok "a long caption is cut to 512 ids, and it is said" sh -c "wan-encode --model $M --prompt '$long' > c.wan 2>err && grep -q 'caption cut to 512' err"
ok "the record says how much was lost" ls_has c.wan \
    'all(.meta.text_tokens_dropped > 100 and any(.tensors[]; .name == "text" and .shape[0] == 512))'

# ---- wrong input: one sentence, status 1, and the next stage sees that the stream is cut
fails 2 '--model DIR' "no model" wan-encode f.wan
fails 2 'neither' "-d with --text-only" wan-encode --model "$M" -d -t f.wan
fails 2 'exclude' "prompt with a file" wan-encode --model "$M" f.wan --prompt x
fails 1 'nowhere/vae/config.json' "no such model" wan-encode --model nowhere f.wan
fails 1 'f.wan: record 1 .*: no tensor "latent"' "-d without latents" wan-encode --model "$M" -d f.wan
fails 1 'record 1 .*no tensor "frames".*--text-only' "latents are no frames" wan-encode --model "$M" p.wan
fails 1 'wan-encode: ' "not records" wan-encode --model "$M" "$M/model_index.json"
head -c 30000 f.wan > cut.wan
fails 1 'cut.wan' "a truncated stream" wan-encode --model "$M" -o never.wan cut.wan
ok "nothing half-written has a name" no test -e never.wan
ok "its output is seen to be cut" no sh -c "wan-encode --model $M cut.wan 2>/dev/null | wan-record check"
fails 1 'No space|space left' "full disk" sh -c "wan-encode --model $M f.wan > /dev/full"
fails 1 'no such|cannot|No such' "an unwritable folder" wan-encode --model "$M" -o no/such/x.wan f.wan

mkdir raw && for f in clips/*.mp4; do cp "$f" raw/; echo '{"caption": "x"}' > "raw/$(basename "${f%.mp4}").json"; done
wan-decode -q --height 64 --width 64 raw 2>/dev/null | sed 's/"caption":"x"/"captiom":"x"/' > nocap.wan
fails 1 'checksum|crc|CRC' "a changed byte is seen" wan-encode --model "$M" nocap.wan

# zeros NAME TENSOR DTYPE SHAPE BYTES: a record with one tensor of zeros, as NAME.wan
zeros() {
    local h="{\"$2\":{\"dtype\":\"$3\",\"shape\":$4,\"data_offsets\":[0,$5]}}"
    { printf "\\x$(printf %02x ${#h})\\0\\0\\0\\0\\0\\0\\0%s" "$h"; head -c "$5" /dev/zero; } > "$1.safetensors"
    wan-record from-safetensors -q -o "$1.wan" "$1.safetensors"
}
E() { wan-encode --model "$M" -o never.wan "$@"; }
zeros four frames U8 '[4,16,16,3]' 3072
fails 1 'four.wan: record 1 \(four\): 4 frames: the VAE takes 4n\+1' "4 frames" E four.wan
zeros odd frames U8 '[1,20,16,3]' 960
fails 1 'record 1 \(odd\): frames of 20x16: .*multiples of 8' "height 20" E odd.wan
zeros rgba frames U8 '[1,16,16,4]' 1024
fails 1 'record 1 .*not U8 \[T, H, W, 3\]' "four colours" E rgba.wan
zeros thin latent F32 '[8,1,2,2]' 128
fails 1 'record 1 .*not \[16, T, h, w\]' "8 latent channels" E -d thin.wan
zeros none latent F32 '[16,0,2,2]' 0
fails 1 'record 1 .*"latent" is empty' "a latent of no frames" E -d none.wan
zeros int latent I32 '[16,1,2,2]' 256
fails 1 'record 1 .*I32' "a latent of integers" E -d int.wan
ok "none of them left a file" no test -e never.wan
if has_pty; then
    script -qec "wan-encode -q --model $M f.wan; echo status \$?" /dev/null >tty.out </dev/null
    ok "binary to a terminal is refused" grep -q 'status 1' tty.out
    ok "and nothing of it is written" bash -c "! grep -aq WAN.*HEAD tty.out"
else skip "binary to a terminal is refused" "no script(1), or no pseudo-terminal to be had"; fi

# ---- wrong models
W=vae/diffusion_pytorch_model.safetensors
broken() { rm -rf m && cp -r "$M" m && chmod -R u+w m; }
broken && sed -i 's/"encoder\.conv_in\.bias"/"encoder.conv_xx.bias"/' m/$W
fails 1 'encoder.conv_in.bias: missing' "a missing weight" wan-encode --model m f.wan
broken && sed -i 's/"encoder\.conv_in\.weight"/"encoder.conv_xx.weight"/' m/$W
fails 1 'encoder.conv_in.weight: missing' "a missing matrix" wan-encode --model m f.wan
broken && sed -i 's/"num_layers": 2/"num_layers": 1/' m/text_encoder/config.json
fails 1 'encoder.block.1.*not part of this model' "an extra weight" wan-encode --model m f.wan
broken && sed -i 's/"d_ff": 128/"d_ff": 127/' m/text_encoder/config.json
fails 1 'has shape .*expected \[127' "a wrong shape" wan-encode --model m f.wan
broken && sed -i 's/"z_dim"/"zz_dim"/' m/vae/config.json
fails 1 'unknown key "zz_dim"' "an unknown key" wan-encode --model m f.wan
broken && truncate -s 100000 m/$W
fails 1 'diffusion_pytorch_model.safetensors' "a truncated file" wan-encode --model m f.wan
broken && rm -r m/tokenizer
fails 1 'm/tokenizer' "no tokenizer" wan-encode --model m f.wan
broken && head -c 2000 "$M/tokenizer/spiece.model" > m/tokenizer/spiece.model && rm m/tokenizer/tokenizer.json
fails 1 'm/tokenizer/spiece.model' "a damaged tokenizer" wan-encode --model m f.wan
broken && : > m/vae/config.json
fails 1 'm/vae/config.json' "an empty config" wan-encode --model m f.wan
done_testing

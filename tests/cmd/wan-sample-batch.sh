# SPDX-License-Identifier: Apache-2.0
# wan-sample with many prompts: from files of three kinds, seeds of their own, several videos of each.
. "$TOP/tests/lib.sh"
M=$TOP/tests/data/ref/pipe
at= # what a command is run by
S() { $at wan-sample -q --model "$M" --sample_steps 2 --device cpu --frame_nums 1 --sizes 32*32 "$@"; }

ok "one by one: a cat" S --prompts "a cat" --base_seed 3 -o cat.png
ok "one by one: a dog" S --prompts "a dog" --base_seed 4 -o dog.png
ok "one by one: a dog of seed 3" S --prompts "a dog" --base_seed 3 -o dog3.png

printf 'a cat\n\n  a dog \r\n' >p.txt
ok "a prompt on each line" S --prompt_file p.txt --base_seed 3 -o t.png
same "the first" t_00.png cat.png
same "the second" t_01.png dog3.png
ok "a seed for each" S -P p.txt --seed 3 4 -o s.png
same "the first again" s_00.png cat.png
same "the second with its own" s_01.png dog.png
ok "from standard input" bash -c "wan-sample -q --model '$M' --sample_steps 2 --device cpu --frame_nums 1 --sizes 32*32 \
    -P - --seed 3 -o i.png <p.txt"
same "the same pictures" i_01.png dog3.png

cat >p.jsonl <<'E'
{"prompt": "a cat", "seed": 3}
{"caption": "a dog", "seed": 4, "size": "32*32", "frame_num": 1}
{"prompt": "a tall dog", "size": "32*48"}
E
ok "JSON lines" S -P p.jsonl --base_seed 9 -o j.png
same "with a seed of its own" j_00.png cat.png
same "and another" j_01.png dog.png
ok "sizes of their own" bash -c 'od -An -tu1 -j16 -N8 j_02.png | grep -q "0 *0 *0 *32 *0 *0 *0 *48"'
S -P p.txt --base_seed 3 -o - >r.wan
ok "whose captions are the prompts of another call" S -P r.wan --base_seed 3 -o r.png
same "the same pictures of them" r_01.png dog3.png
ok "a file and more prompts" S -P p.txt --prompts "a third" --base_seed 3 -o m.png
ok "are three" test -s m_00.png -a -s m_02.png -a ! -e m_03.png

ok "two videos of each prompt" S -P p.txt --num_videos_per_prompt 2 --seed 3 -o n.png
same "the first with its seed" n_00.png cat.png
ok "the second with the next" bash -c '! cmp -s n_00.png n_01.png'
ok "a dog of seeds 3 and 4" S --prompts "a dog" --num-videos-per-prompt 2 --base_seed 3 -o d.png
same "as seed 3" d_00.png dog3.png
same "as seed 4" d_01.png dog.png
same "and of the file" n_02.png dog3.png

# a call killed at changes that it makes to the file system (tests/reliability/at.c), and called again
AT=$OBJ/tests/reliability/at
B() { S --prompts "a cat" "a dog" "a cow" --base_seed 3 "$@"; }
mkdir whole again
ok "three videos" B -o whole/v.png
ok "nothing waits beside them" test "$(ls -A whole | tr '\n' ' ')" = "v_00.png v_01.png v_02.png "
at="$AT -c count kill 0 --"; B -o again/v.png; at=
campaign() {
    local k n bad=0 kept=0; n=$(cat count)
    [ "$n" -gt 10 ] || { echo "only $n changes were seen" >&2; return 1; }
    for k in $(seq 1 5 "$n"); do
        rm -rf again && mkdir again
        at="$AT kill $k --"
        B -o again/v.png 2>/dev/null
        [ $? = 137 ] || { echo "change $k: not killed" >&2; bad=1; }
        at=
        ls again/.*.latent >/dev/null 2>&1 && kept=$((kept + 1))
        B --continue -o again/v.png 2>err || { cat err >&2; bad=1; }
        rm -f again/.*.tmp* # of the killed one
        diff -r whole again >&2 || { echo "change $k: another result" >&2; bad=1; }
    done
    [ $kept -gt 3 ] || { echo "latents waited only $kept times" >&2; bad=1; }
    return $bad
}
ok "killed anywhere and called again with --continue: the same" campaign
rm again/v_01.png
ok "what is there is left out" bash -c "wan-sample --model '$M' --sample_steps 2 --device cpu --frame_nums 1 --sizes 32*32 \
    --prompts 'a cat' 'a dog' 'a cow' --base_seed 3 -C -o again/v.png 2>c.err && grep -q '2 videos are there already' c.err"
same "what is not is made" again/v_01.png whole/v_01.png
fails 2 'files of videos alone' "records cannot go on" B -C -o -

echo '{"prompt": "x", "sead": 3}' >bad.jsonl
fails 2 'bad.jsonl: line 1: unknown key "sead"' "an unknown key" S -P bad.jsonl -o x.png
echo '{"seed": 3}' >bad.jsonl
fails 2 'bad.jsonl: line 1: no prompt' "no prompt" S -P bad.jsonl -o x.png
printf 'a cat\ncaf\351\n' >bad.txt
fails 2 'bad.txt: line 2: the prompt is not valid UTF-8' "a prompt in Latin-1" S -P bad.txt -o x.png
: >none.txt
fails 2 'none.txt: no prompts in it' "an empty file" S -P none.txt -o x.png
fails 1 'nosuch.txt' "no file" S -P nosuch.txt -o x.png
fails 2 '3 values for 2 videos' "three seeds for two prompts" S -P p.txt --base_seed 1 2 3 -o x.png
fails 2 '--base_seed.*seed' "a seed that is none" S -P p.txt --base_seed soon -o x.png
head -c 3000 r.wan >cut.wan
fails 2 'cut.wan' "a cut stream of records" S -P cut.wan -o x.png
ok "nothing was made of those" bash -c '! ls x*.png 2>/dev/null'
# 14B at 81 frames of 480x832 on a card of 24 GB; weights are not needed to know it
mkdir -p 14B/transformer && cp -rL "$M/vae" "$M/scheduler" "$M/model_index.json" 14B/
sed 's/"attention_head_dim": 12/"attention_head_dim": 128/; s/"num_attention_heads": 2/"num_attention_heads": 40/; s/"num_layers": 2/"num_layers": 40/
    s/"ffn_dim": 52/"ffn_dim": 13824/; s/"text_dim": 40/"text_dim": 4096/' "$M/transformer/config.json" >14B/transformer/config.json
takes() { wan-sample --model 14B --plan --device cpu --prompts cat --sizes 832*480 --frame_nums 81 "$@" 2>/dev/null | awk '$1 == "transformer" { print $2 }'; }
a=$(takes) b=$(takes --offload)
ok "14B takes $b GiB with --offload, of 22.3; $a without" awk -v a="$a" -v b="$b" 'BEGIN { exit !(a > 22.3 && b > 1 && b < 12) }'

# products in eight bits: other latents than those of bf16, and not far from those of fp32
e8() { S --prompts "a cat" --base_seed 3 --precision "$1" --latents-out "$1.st" -o "$1.png"; }
for p in fp32 bf16 fp8; do ok "a picture in $p" e8 $p; done
apart() { "$OBJ/tests/train/check_debug" "$1.st" fp32.st latents; }
b=$(apart bf16) e=$(apart fp8)
ok "fp8 is $e from fp32, bf16 $b" awk -v e="$e" -v b="$b" 'BEGIN { exit !(b > 0 && e > 1.5 * b && e < 0.2) }'
done_testing

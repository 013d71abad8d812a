# SPDX-License-Identifier: Apache-2.0
# Completion as a shell asks for it: bash's words and cursor, a real line of zsh; every option of --help is there.
. "$TOP/tests/lib.sh"
for f in "$TOP"/cmd/*.c; do
    t=$(basename "$f" .c)
    "$t" --help-bash >"$t.bash" && "$t" --help-zsh >"_$t"
done

# complete_bash LINE: what bash offers at its end, words parted as readline does (COMP_WORDBREAKS has '=')
cat >ask.bash <<'EOF'
line=$1
# shellcheck disable=SC2206
read -ra COMP_WORDS <<<"${line//=/ = }"
[[ $line != *[\ =] ]] || [[ $line = *= ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
. "./${COMP_WORDS[0]}.bash"
how=$(complete -p "${COMP_WORDS[0]}") || exit 1
f=${how#*-F } && ${f%% *} "${COMP_WORDS[0]}"
printf '%s\n' "${COMPREPLY[@]}" | sort
EOF
offers() { # offers LINE WORD...: exactly these
    local line=$1; shift
    bash ask.bash "$line" >got && printf '%s\n' "$@" | sort | diff - got >&2
}
mkdir -p home/folder && touch home/file.yaml
for t in wan-*.bash; do
    t=${t%.bash}
    ok "$t: bash can read it" bash -n "$t.bash"
    # --help is written by other code, from the same table
    "$t" --help >help
    { grep -oE '^  (-., |    )--[A-Za-z0-9_-]+' help; tr -s ' \n' ' ' <help | grep -oE '; also --[A-Za-z0-9_-]+'; } |
        grep -oE -- '--[A-Za-z0-9_-]+' | sort >all
    ok "$t: every option of --help" sh -c '[ -s all ] && bash ask.bash "$1 --" >got && diff all got >&2' sh "$t"
done
ok "the words of a value" offers "wan-sample --precision " bf16 fp32 fp8
ok "begun" offers "wan-sample --precision b" bf16
ok "after an equals sign" offers "wan-sample --precision=" bf16 fp32 fp8
ok "and begun there" offers "wan-sample --precision=f" fp32 fp8
ok "of a short option" offers "wan-convert -n " hf official
ok "a name with underscores where dashes are" offers "wan-convert --torch_d" --torch_dtype
ok "and the other way" offers "wan-convert --checkpoint-s" --checkpoint-step
ok "with its words" offers "wan-convert --torch_dtype fp" fp16 fp32
ok "what a flag has against it" offers "wan-convert --no-co" --no-copy-components
ok "commands first" offers "wan-convert --force " check export gather import quantize
ok "files after them" offers "wan-convert import home/f" home/file.yaml home/folder
ok "folders where a folder is meant" offers "wan-sample --model home/f" home/folder
ok "files where there are no commands" offers "wan-train home/fi" home/file.yaml
ok "nothing where nothing is known" offers "wan-decode --height " ""

if command -v zsh >/dev/null; then
    for t in _wan-*; do ok "${t#_}: zsh can read it" zsh -n "$t"; done
    cat >ask.zsh <<'EOF'
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1= PS2= RPS1=; unsetopt zle_bracketed_paste 2>/dev/null; stty -echo; fpath=('$PWD' $fpath); autoload -U compinit && compinit -u -d '$PWD'/dump'
zpty -w z 'compadd() { local -a got; builtin compadd -O got "$@"; print -rl -- $got >>'$PWD'/got; builtin compadd "$@"; }; zstyle ":completion:*" list-prompt ""; LISTMAX=10000'
zpty -w z 'print ready >'$PWD'/ready'
for i in {1..100}; do [[ -e ready ]] && break; sleep 0.1; done
zpty -w -n z "$1"$'\t'
sleep 2
zpty -d z
EOF
    zsh_offers() { # zsh_offers LINE WORD...: these among others
        local line=$1; shift
        rm -f got ready
        timeout 30 zsh -f ask.zsh "$line" || return
        for w in "$@"; do grep -qxe "$w" got || { echo "no $w in: $(tr '\n' ' ' <got)" >&2; return 1; }; done
    }
    ok "zsh: options" zsh_offers "wan-convert --tor" --torch-dtype
    ok "zsh: the words of a value" zsh_offers "wan-sample --precision " bf16 fp32 fp8
    ok "zsh: commands" zsh_offers "wan-convert " import export check
else
    for t in _wan-*; do skip "${t#_}: zsh can read it" "no zsh"; done
    for t in options words commands; do skip "zsh: $t" "no zsh"; done
fi
done_testing

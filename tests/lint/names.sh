# SPDX-License-Identifier: Apache-2.0
# A name says in which file it is: an external symbol of the library is wan_ + the name of its file, or
# leading words of it (wan_net_forward is in net_forward.c, wan_net_flops in net_config.c), + what it
# does.  A provider of an op is wan_ + op + provider, declared in the header of its file.
. "$TOP/tests/lib.sh"
table=$PWD/table
cd "$TOP" || exit 1
lib=$(ls -t ${OBJ:-build/obj/*}/libwan.a 2>/dev/null | head -n 1)

# FILE WORD...: other first words of the names in FILE.c and FILE_*.c; a row that is not used is an error.
cat >"$table" <<'ROWS'
clips        clip                            # its type
comm         mpi                             # one of its transports
crc32c       crc32                           # the other polynomial, by the same code
data         batch loaded                    # its types
dataset      sample                          # its type
device       dev pack                        # its types, in every call there is
dtype        convert f16 f32 shape           # arithmetic, named as C would
err          bug
file         in dir exists path slurp mkdirs fsync rename remove replace refuse is # as POSIX
mem          malloc calloc # as C
out          spew
image        png
log          debug info warn die now progress verbose
loop         train                           # the trainer's own steps
modelfolder  model
opt          nearest parse version
record       key provenance tensor entry head reader writer # parts of a record; its two ends
rng          mt19937 philox torch            # generators by their names
safetensors  st                              # its type
textclean    text
video        fit source colour alpha window  # parts of reading one
ROWS

symbols() { # "file symbol" of everything external
    nm -g --defined-only "$lib" | awk '/^[A-Za-z0-9_]+\.o:/ { f = $1; sub(/\.o:/, "", f) } NF == 3 { print f, $3 }' |
        grep -vE ' (__|DW\.ref\.)' # what the compiler adds
}
ops() { sed -n '/define WAN_OPS/,/format on/p' kernels/ops.h | grep -oE 'X\([a-z0-9_]+\)' | sed 's/X(\(.*\))/\1/'; }
prefixes() { # leading words of a file's name
    local p=$1
    while :; do echo "$p"; [ "${p%_*}" != "$p" ] || return 0; p=${p%_*}; done
}
is_op() { # is_op FILE SYMBOL
    local p s=${2#wan_}
    s=${s%_*}
    grep -qx "$s" "$table.ops" || return 1
    for p in $(prefixes "$1"); do grep -qsw "wan_${s}_fn" "kernels/$p.h" && return 0; done
    return 1
}
named() { # named FILE SYMBOL
    local p w
    case $2 in wan_ops_fill_*) return 0 ;; esac # every provider has one
    for p in $(prefixes "$1"); do
        case $2 in wan_"$p" | wan_"$p"_*) return 0 ;; esac
        for w in $(awk -v p="$p" '$1 == p { sub(/#.*/, ""); $1 = ""; print }' "$table"); do
            case $2 in wan_"$w" | wan_"$w"_*) return 0 ;; esac
        done
    done
    is_op "$1" "$2"
}
rule() {
    local f s bad=0
    while read -r f s; do named "$f" "$s" || { echo "$f: $s" >&2; bad=1; }; done < <(symbols)
    return $bad
}
rows_used() {
    local bad=0 p words w
    while read -r p words; do
        for w in ${words%%#*}; do
            git grep -qwE "wan_$w(_[a-z0-9_]+)?" -- "*/$p.c" "*/${p}_*.c" || { echo "$p: $w" >&2; bad=1; }
        done
    done <"$table"
    return $bad
}
unique() { # one name, one folder
    local twice
    twice=$(git ls-files 'lib/*.[ch]' 'kernels/*' 'cmd/*.c' | sed 's/\.[a-z]*$//' | sort -u | sed 's#.*/##' | sort | uniq -d)
    [ -z "$twice" ] || { echo "in two folders: $twice" >&2; return 1; }
}
ops >"$table.ops"
ok "the library is built" test -n "$lib"
ok "every external name begins with its file" rule
ok "every exception is used" rows_used
ok "a file's name occurs in one folder" unique
done_testing

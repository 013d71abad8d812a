# SPDX-License-Identifier: Apache-2.0
# No two files of the library need each other: what object files define and what they use, as a graph,
# has an order.
. "$TOP/tests/lib.sh"
lib=$(ls -t "${OBJ:-none}"/libwan.a "$TOP"/build/obj/*/libwan.a 2>/dev/null | head -n 1)

# "USER DEFINER" of every external name of ours that one object of an archive takes from another.
edges() {
    nm -g "$1" | awk '
        /^[A-Za-z0-9_]+\.o:$/ { f = $1; sub(/\.o:/, "", f); next }
        NF == 3 && $2 ~ /[TDBRVCGW]/ && $3 ~ /^wan_/ { from[$3] = f; next }
        NF == 2 && $1 == "U" && $2 ~ /^wan_/ { n++; user[n] = f; name[n] = $2 }
        END { for (i = 1; i <= n; i++) if (name[i] in from && from[name[i]] != user[i]) print user[i], from[name[i]] }' |
        sort -u
}
order() { tsort "$1" >order; } # names the files of a circle, and fails
circle() { ! order "$1" 2>said && grep -q loop said; }

edges "$lib" >graph
printf 'a b\nb c\nc a\n' >round
printf 'int wan_a(void);int wan_b(void){return wan_a();}' >b.c
printf 'int wan_b(void);int wan_a(void){return wan_b();}' >a.c
ok "the library is built" test -n "$lib"
ok "its files use each other's names" test "$(wc -l <graph)" -gt 300
ok "and stand in an order" order graph
ok "a circle is seen" circle round
for f in a b; do ${CC:-cc} -c $f.c; done && ar rc two.a a.o b.o && edges two.a >two
ok "two files that need each other are one" circle two
done_testing

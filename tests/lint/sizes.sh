# SPDX-License-Identifier: Apache-2.0
# Functions stay under 50 lines, from the first line of their head to the closing brace.
. "$TOP/tests/lib.sh"
cd "$TOP" || exit 1

# "LINES FILE FUNCTION" of every function, in the form that clang-format gives: { and } alone in column 0.
functions() {
    git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cc' | xargs awk '
        FNR == 1 { head = open = 0 }
        /^[A-Za-z_]/ && !(head && prev ~ /[,(]$/) { head = FNR; text = $0 }
        /^\{$/ && prev !~ /^(struct|union|enum|extern)/ { open = head }
        /^\}$/ && open {
            name = text
            sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
            print FNR - open + 1, FILENAME, name
            open = head = 0
        }
        { prev = $0 }'
}
short() {
    local long
    long=$(functions | awk '$1 >= 50 { print $2, $3 }' | sort)
    [ -z "$long" ] || { echo "50 lines or more: $long" >&2; return 1; }
}
ok "functions are found" test "$(functions | wc -l)" -gt 2000
ok "every function is under 50 lines" short
done_testing

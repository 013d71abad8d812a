# SPDX-License-Identifier: Apache-2.0
# The code is what clang-format 14 makes of it (other versions break lines in other places).
. "$TOP/tests/lib.sh"
cd "$TOP" || exit 1
formatted() {
    git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cc' | grep -v 'entities\.h$' |
        xargs clang-format --dry-run -Werror --ferror-limit=1
}
if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    ok "the code has the format of .clang-format" formatted
else
    skip "the code has the format of .clang-format" "clang-format 14 is not installed"
fi
done_testing

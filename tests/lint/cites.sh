# SPDX-License-Identifier: Apache-2.0
# What comments and documents cite is there for every reader: pages, their sections, files of the
# repository.  "wan-model(7), Block" is the page man/wan-model.7 and a title of it; several titles are
# joined by "and" or commas.
. "$TOP/tests/lib.sh"
scratch=$PWD
cd "$TOP" || exit 1

files() { git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cc' '*.py' '*.sh' '*.md' '*.mk' '*README*' Makefile; }

cat >"$scratch/pages.pl" <<'PERL'
# files on the command line; prints "file: what" for every page or section that is not there
use strict;
my (%title, $bad);
for my $page (glob 'man/*.[157]') {
    my ($name, $n) = $page =~ m{man/(.*)\.(\d)$};
    open my $f, '<', $page or die;
    $title{"$name($n)"} = [sort { length $b <=> length $a } map { /^\.S[hs] (.*)/ ? lc $1 : () } <$f>];
}
for my $path (@ARGV) {
    open my $f, '<', $path or die;
    local $/;
    my $text = <$f>;
    $text =~ s{\n[ \t]*(?:\*|\#|//)?[ \t]*}{ }g; # comments over several lines as one
    while ($text =~ /\b(wan(?:-\w+)?\(([157])\))(?=(?:, ([A-Z].{0,200})?)?)/g) {
        my ($page, $rest) = ($1, $3);
        if (!$title{$page}) { print "$path: $page\n"; $bad = 1; next; }
        my $first = 1;
        while (defined $rest && $rest =~ /^[A-Z]/) {
            my ($hit) = grep { index(lc $rest, $_) == 0 && substr($rest, length) !~ /^\w/ } @{$title{$page}};
            if (!defined $hit) {
                if ($first) { printf "%s: %s, %s\n", $path, $page, substr $rest, 0, 30; $bad = 1; }
                last;
            }
            $first = 0;
            $rest = substr $rest, length $hit;
            $first = 1 if $rest =~ s/^ and (?=[A-Z])//;
            last unless $first || $rest =~ s/^, (?=[A-Z])//;
        }
    }
}
exit($bad ? 1 : 0);
PERL

pages() { files | grep -v '^tests/lint/cites\.sh$' | xargs perl "$scratch/pages.pl" >&2; }

# Paths from the root, and documents by their name alone.
paths() {
    local bad=0 f hit
    while IFS=: read -r f hit; do
        case $hit in
        */foo.* | */check_foo* | */wan-foo*) ;; # how to add one
        *.md) git ls-files | grep -qE "(^|/)${hit//./\\.}$" ;;
        *) [ -e "$hit" ] ;;
        esac || { echo "$f: $hit" >&2; bad=1; }
    done < <(files | xargs grep -oHE \
        '\b((lib|kernels|cmd|man|tests|examples)/[A-Za-z0-9_/.-]+\.(c|h|cc|cu|cuh|sh|py|mk|[157])\b|[A-Za-z0-9_/.-]+\.md\b)')
    return $bad
}
outside() {
    ! git grep -nE 'shared/(spec|guide|design|cases)|\bspec/|\bguide/' -- ':!tests/lint/cites.sh' >&2
}
finds() { # finds TEXT: the search itself notices a bad citation
    printf '%s\n' "$1" >"$scratch/bad.c"
    ! perl "$scratch/pages.pl" "$scratch/bad.c" >/dev/null
}
takes() { ! finds "$1"; }

ok "a page that is not there is found" finds '/* wan-nothing(7) */'
ok "a section that is not there is found" finds '/* wan-model(7), Blocks */'
ok "so is the second of two, over a line's end" finds '/* wan-model(7), Block and
 * Tail */'
ok "real ones are not" takes '/* (wan-model(7), DPM++ 2M and
 * Block); wan-numerics(7). Then text; wan-data(7), parts */'
ok "every page and section that is cited exists" pages
ok "every file that is cited exists" paths
ok "nothing outside the repository is cited" outside
done_testing

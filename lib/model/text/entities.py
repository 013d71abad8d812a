# SPDX-License-Identifier: Apache-2.0
"""Writes entities.h, the HTML5 named character references of Python's html.entities, to stdout.

    python3 lib/model/text/entities.py > lib/model/text/entities.h

Names that exist only in lower case get a second, upper-case entry as ftfy gives them; these are
known to the first pass of cleaning only and are marked with a leading '^'."""

import html
import html.entities


def octal(s):
    return "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else "\\%03o" % b for b in s.encode())


table = dict(html.entities.html5)
upper = {}
for name, text in table.items():
    up = name.upper()
    if name.endswith(";") and name == name.lower() and html.unescape("&" + up) == "&" + up:
        upper["^" + up] = text.upper()
items = sorted(({**table, **upper}).items(), key=lambda e: e[0].encode())
print("""/* SPDX-License-Identifier: Apache-2.0
 *
 * entities.h - made by entities.py: pairs of NUL-terminated name and UTF-8 text in byte order of the
 * names, and where each pair begins.  '^' in front marks ftfy's upper-case extras.
 */
#ifndef WAN_MODEL_ENTITIES_H
#define WAN_MODEL_ENTITIES_H

#include <stdint.h>

static const char wan_entities[] =""")
line, at, offsets = "", 0, []
for name, text in items:
    offsets.append(at)
    at += len(name.encode()) + len(text.encode()) + 2
    item = octal(name) + "\\000" + octal(text) + "\\000"
    if len(line) + len(item) > 92:
        print('    "%s"' % line)
        line = ""
    line += item
assert at < 65536
print('    "%s";\n\nstatic const uint16_t wan_entity_at[] = {' % line)
for i in range(0, len(offsets), 14):
    print("    " + " ".join("%d," % o for o in offsets[i:i + 14]))
print("};\n\n#endif")

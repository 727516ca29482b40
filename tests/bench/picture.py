"""Rows as a picture: an SVG chart of the ratios, on a panel of its own, since a README is shown on
light and on dark ground."""

import math
from html import escape
from statistics import median

from report import lines
from rows import DELAY, MEMORY, SPEED

HEADINGS = {SPEED: "Speed: times as fast", DELAY: "Time: times as short",
            MEMORY: "Memory and start: times as little"}
WIDTH, LABEL, STEP, TOP = 900, 430, 21, 62
MIDDLE, REACH = 655, 195
FURTHEST = 8
OURS, THEIRS, GREY = "#2a7f62", "#b8621b", "#57606a"


def svg(rows):
    """A bar a row, on a logarithmic scale: to the right ours is better, to the left nginx. A ring
    is lighttpd in place of nginx."""
    marks, y = [], TOP + 6
    for group, heading in HEADINGS.items():
        chosen = [row for row in rows if row.group == group and is_shown(row)]
        if not any(bars(row) for row in chosen):
            continue
        marks.append(f'<text x="16" y="{y + 14}" font-weight="bold">{heading}</text>')
        y += STEP + 2
        for row in chosen:
            for name, found, ring in bars(row):
                marks.append(bar(y, name, found, ring))
                y += STEP
        y += 8
    height = y + 34
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" fill="#1f2328" role="img" '
        'aria-label="Ours as a multiple of nginx">',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6" fill="#fff" '
        'stroke="#d0d7de"/>',
        '<text x="16" y="26" font-size="16" font-weight="bold">Times as good as nginx with one '
        'worker</text>',
        f'<circle cx="22" cy="42" r="4.5" fill="#fff" stroke="{GREY}" stroke-width="1.6"/>'
        f'<text x="32" y="47" fill="{GREY}">as lighttpd</text>',
        f'<text x="{MIDDLE - 8}" y="47" text-anchor="end" fill="{THEIRS}">◀ nginx better</text>'
        f'<text x="{MIDDLE + 8}" y="47" fill="{OURS}">ours better ▶</text>',
        *scale(y), *marks,
        f'<path d="M{MIDDLE} {TOP - 8}V{y}" stroke="#1f2328"/>', "</svg>"]) + "\n"


def is_shown(row):
    return not row.is_cpu and row.unit not in ("times", "")


def bars(row):
    """Name, ratio to nginx, and ratio to lighttpd where there is one."""
    found = {}
    for line in lines(row):
        ratios = line.ratios()
        if ratios:
            found.setdefault(line.name, {})[line.beside] = median(ratios)
    return [(name, one["nginx"], one.get("lighttpd"))
            for name, one in found.items() if "nginx" in one]


def scale(bottom):
    ticks = int(math.log2(FURTHEST))
    for power in range(-ticks, ticks + 1):
        at, text = x(2.0 ** power), f"{2 ** power}" if power >= 0 else f"1/{2 ** -power}"
        yield (f'<path d="M{at:.1f} {TOP - 8}V{bottom}" stroke="#e4e8ec"/>'
               f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle" fill="{GREY}">{text}'
               '</text>')


def bar(y, name, found, ring):
    end = x(found)
    start, length = min(MIDDLE, end), abs(end - MIDDLE)
    is_better = found >= 1
    mark = ""
    if ring:
        mark = (f'<circle cx="{x(ring):.1f}" cy="{y + 8}" r="4.5" fill="#fff" '
                f'stroke="{GREY}" stroke-width="1.6"/>')
    # The number stands at the end of its bar, or beyond a ring that is in the way there.
    side = 1 if is_better else -1
    at = end + 5 * side
    if ring and -5 < (x(ring) - end) * side < 45:
        at = x(ring) + 10 * side
    squeezed = ""
    if len(name) > 58:
        squeezed = f' textLength="{LABEL - 20}" lengthAdjust="spacingAndGlyphs"'
    return (f'<text x="{LABEL}" y="{y + 12}" text-anchor="end"{squeezed}>{escape(name)}</text>'
            f'<rect x="{start:.1f}" y="{y + 1}" width="{length:.1f}" height="14" rx="1" '
            f'fill="{OURS if is_better else THEIRS}"/>{mark}'
            f'<text x="{at:.1f}" y="{y + 12}" text-anchor="{"start" if is_better else "end"}">'
            f'{found:.2f}</text>')


def x(value):
    """Where it is on the scale; what is off it stands at its end."""
    value = min(FURTHEST, max(1 / FURTHEST, value))
    return MIDDLE + REACH * math.log(value) / math.log(FURTHEST)

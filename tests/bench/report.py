"""Rows as text: a Markdown table of medians, spread and ratios, and an SVG chart of the ratios."""

import math
from html import escape
from statistics import median

UNSYNCED = ", http.upload.sync=false"


def lines(rows):
    """One line a row; two where ours ran in two ways."""
    for row in rows:
        if row.values.get("ours") and row.values.get("nginx"):
            yield row, row.title, row.values["ours"]
            if row.values.get("unsynced"):
                yield row, row.title + UNSYNCED, row.values["unsynced"]


def ratio(row, ours):
    """How many times as good as nginx: the median of the rounds' own ratios, since a machine that
    slows down slows both sides of a round. None where a difference came out as nothing."""
    pairs = list(zip(ours, row.values["nginx"]))
    if any(min(pair) <= 0 for pair in pairs):
        return None
    return median(a / b if row.more_is_better else b / a for a, b in pairs)


def verdict(row, ours):
    compared = ratio(row, ours)
    if row.goal_ratio is not None and compared is None:
        return f"at least {row.goal_ratio} of nginx: cannot tell, too little to measure"
    if row.goal_ratio is not None:
        met = compared >= row.goal_ratio
        return f"at least {row.goal_ratio} of nginx: {'met' if met else 'missed'}"
    if row.goal is not None:
        met = median(ours) <= row.goal
        return f"at most {row.goal} {row.unit}: {'met' if met else 'missed'}"
    return ""


def markdown(rows, about, notes):
    text = ["# Ours against nginx", "", *(f"- {line}" for line in about), ""]
    for is_cpu, title in (False, None), (True, "CPU time of the server per unit of work"):
        chosen = list(lines(row for row in rows if row.is_cpu == is_cpu))
        if title:
            text += [f"## {title}", ""]
        text += ["| what | unit | ours | nginx | times as good |" + ("" if is_cpu else " goal |"),
                 "|---|---|--:|--:|--:|" + ("" if is_cpu else "---|")]
        for row, name, ours in chosen:
            compared = ratio(row, ours)
            cells = [name, row.unit, spread(ours), spread(row.values["nginx"]),
                     "–" if compared is None else f"{compared:.2f}"]
            text.append("| " + " | ".join(cells if is_cpu else [*cells, verdict(row, ours)]) + " |")
        text.append("")
    text += growth(rows)
    text += ["## How", "", *(f"- {note}" for note in notes)]
    commands = {}
    for row in rows:
        commands.setdefault(row.how, []).append(row.title)
    text += [f"- `{how}`: {'; '.join(dict.fromkeys(titles))}" for how, titles in commands.items()]
    return "\n".join(text) + "\n"


def growth(rows):
    """Requests per second against those with one file and no other connection: 1 is flat."""
    complete = {row.title: row for row in rows
                if not row.is_cpu and row.values.get("ours") and row.values.get("nginx")}
    text = []
    for row in complete.values():
        base = complete.get(row.compared_to)
        if base:
            ours, nginx = (median(a / b for a, b in zip(row.values[side], base.values[side]))
                           for side in ("ours", "nginx"))
            text.append(f"| {row.title} | {ours:.2f} | {nginx:.2f} |")
    if not text:
        return []
    return ["## Growth: requests per second, of those with one file and no other connection", "",
            "| what | ours | nginx |", "|---|--:|--:|", *text, ""]


def spread(values):
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def svg(rows):
    """A bar a row, on a logarithmic scale: to the right ours is better, to the left nginx."""
    bars = [(name, found, row) for row, name, ours in lines(rows)
            if not row.is_cpu and (found := ratio(row, ours)) is not None]
    label, width, step, top = 360, 880, 24, 64
    left, right = label + 50, width - 50
    middle, reach = (left + right) / 2, (right - left) / 2
    furthest = max([2, *(max(found, 1 / found) for _, found, _ in bars)])
    furthest = 2 ** math.ceil(math.log2(furthest))

    def x(value):
        return middle + reach * math.log(value) / math.log(furthest)

    bottom = top + step * len(bars)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 36}" '
           'font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{bottom + 36}" fill="#fff"/>',
           '<text x="12" y="22" font-size="16" font-weight="bold">Times as good as nginx, '
           'one worker</text>',
           f'<text x="{middle - 8}" y="46" text-anchor="end" fill="#666">nginx better</text>',
           f'<text x="{middle + 8}" y="46" fill="#666">ours better</text>']
    ticks = int(math.log2(furthest))
    for power in range(-ticks, ticks + 1, max(1, math.ceil(ticks / 4))):
        at, text = x(2.0 ** power), f"{2 ** power}" if power >= 0 else f"1/{2 ** -power}"
        out.append(f'<path d="M{at:.1f} {top - 8}V{bottom}" stroke="#ddd"/>'
                   f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle" '
                   f'fill="#666">{text}</text>')
    for index, (name, found, _) in enumerate(bars):
        y, end = top + step * index, x(found)
        start, length = min(middle, end), abs(end - middle)
        fill = "#2a7f62" if found >= 1 else "#c7762b"
        out.append(
            f'<text x="{label}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{start:.1f}" y="{y}" width="{length:.1f}" height="16" fill="{fill}"/>'
            f'<text x="{end + (5 if found >= 1 else -5):.1f}" y="{y + 12}" '
            f'text-anchor="{"start" if found >= 1 else "end"}">{found:.2f}</text>')
    out.append(f'<path d="M{middle} {top - 8}V{bottom}" stroke="#000"/>')
    return "\n".join([*out, "</svg>"]) + "\n"

"""Bytes over the uplink against time as an SVG, a line for each run."""

COLOURS = {"with the cache": "#2a7f62", "without": "#b8621b"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 360, 80, 30, 64, 310
GREY = "#57606a"


def svg(runs, options):
    seconds = max(samples[-1][0] for samples in runs.values())
    megabytes = max(samples[-1][1] for samples in runs.values()) / 1e6
    across, up = steps(seconds * 1.04), steps(megabytes * 1.08)

    def x(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / (seconds * 1.04)

    def y(value):
        return BOTTOM - (BOTTOM - TOP) * value / (megabytes * 1.08)

    title = (f"{options.children} children fetch {options.megabytes} MB over an uplink of "
             f"{options.megabits} Mbit/s")
    marks = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="13" fill="#1f2328" role="img" '
        f'aria-label="{title}, with and without the cache">',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="6" fill="#fff" '
        'stroke="#d0d7de"/>',
        f'<text x="16" y="26" font-size="16" font-weight="bold">{title}</text>',
        f'<text x="16" y="48" fill="{GREY}">MB over the uplink</text>',
        f'<text x="{WIDTH - RIGHT}" y="{BOTTOM + 38}" text-anchor="end" fill="{GREY}">seconds '
        'until every child has the file</text>']
    for value in across:
        marks.append(f'<path d="M{x(value):.1f} {TOP}V{BOTTOM}" stroke="#e4e8ec"/>'
                     f'<text x="{x(value):.1f}" y="{BOTTOM + 18}" text-anchor="middle" '
                     f'fill="{GREY}">{value:,}</text>')
    for value in up:
        marks.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#e4e8ec"/>'
                     f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" '
                     f'fill="{GREY}">{value:,}</text>')
    for name, samples in runs.items():
        colour = COLOURS[name]
        points = " ".join(f"{x(at):.1f},{y(count / 1e6):.1f}" for at, count in thinned(samples))
        at, count = samples[-1]
        # The label stands where there is room: beside an early end, before a late one.
        is_early = at < seconds / 2
        marks.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
            f'<circle cx="{x(at):.1f}" cy="{y(count / 1e6):.1f}" r="5" fill="{colour}"/>'
            f'<text x="{x(at) + (12 if is_early else -14):.1f}" '
            f'y="{y(count / 1e6) + (-8 if is_early else 4):.1f}" '
            f'text-anchor="{"start" if is_early else "end"}" font-weight="bold" fill="{colour}">'
            f'{name}: {count / 1e6:,.0f} MB, {at:,.0f} s</text>')
    return "\n".join([*marks, "</svg>"]) + "\n"


def steps(most):
    """Round numbers from 0 up, about six of them."""
    step = 1
    while most / step > 7:
        step *= 2 if str(step)[0] in "15" else 2.5
        step = int(step)
    return range(0, int(most) + 1, step)


def thinned(samples):
    """At most 200 points, the last among them."""
    return [*samples[:: max(1, len(samples) // 200)], samples[-1]]

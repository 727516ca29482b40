"""Bytes over the uplink and time as an SVG, a bar for each run."""

COLOURS = {"with the cache": "#2a7f62", "without": "#b8621b"}
WIDTH, HEIGHT, LEFT, LONGEST, STEP = 900, 234, 140, 600, 28
GREY = "#57606a"


def svg(runs, options):
    title = (f"{options.children} children fetch {options.megabytes} MB over an uplink of "
             f"{options.megabits} Mbit/s")
    marks = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="13" fill="#1f2328" role="img" '
        f'aria-label="{title}, with and without the cache">',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="6" fill="#fff" '
        'stroke="#d0d7de"/>',
        f'<text x="16" y="26" font-size="16" font-weight="bold">{title}</text>']
    y = 46
    for heading, unit, digits, value in (
            ("Over the uplink", "MB", 0, lambda samples: samples[-1][1] / 1e6),
            ("Until every child has the file", "s", 1, lambda samples: samples[-1][0])):
        marks.append(f'<text x="16" y="{y + 14}" fill="{GREY}">{heading}</text>')
        y += STEP
        most = max(map(value, runs.values()))
        for name, samples in runs.items():
            length = LONGEST * value(samples) / most
            marks.append(
                f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{name}</text>'
                f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="19" rx="1" '
                f'fill="{COLOURS[name]}"/>'
                f'<text x="{LEFT + length + 8:.1f}" y="{y + 14}" font-weight="bold">'
                f'{value(samples):,.{digits}f} {unit}</text>')
            y += STEP
        y += 8
    return "\n".join([*marks, "</svg>"]) + "\n"

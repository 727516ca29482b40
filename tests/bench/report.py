"""Rows as text: a Markdown table of medians, spread, ratios and targets, and what grew."""

from dataclasses import dataclass
from statistics import median

from rows import GROUPS, Row

UNSYNCED = ", http.upload.sync=false"


@dataclass
class Line:
    """One line of the table: ours, in one of two ways, beside one of theirs or alone."""
    row: Row
    name: str
    ours: list
    beside: str = None
    theirs: list = None

    def ratios(self):
        """How many times as good as theirs, a round each, since a machine that slows down slows
        both sides of a round. None where a difference came out as nothing."""
        pairs = list(zip(self.ours, self.theirs or []))
        if not pairs or any(min(pair) <= 0 for pair in pairs):
            return None
        return [a / b if self.row.more_is_better else b / a for a, b in pairs]

    def target(self):
        if self.row.goal is not None:
            return f"at most {self.row.goal} {self.row.unit}".strip()
        if self.row.goal_ratio is not None and self.beside == "nginx":
            if self.row.more_is_better:
                return f"at least {self.row.goal_ratio} of nginx"
            return "at most nginx's"
        return ""

    def is_met(self):
        if self.row.goal is not None:
            return median(self.ours) <= self.row.goal
        ratios = self.ratios()
        if ratios is None:  # it is about a difference then
            return median(self.ours) <= median(self.theirs)
        return median(ratios) >= self.row.goal_ratio


def lines(row):
    found = row.values
    if not found.get("ours"):
        return
    if not found.get("nginx"):
        yield Line(row, row.title, found["ours"])
        return
    yield Line(row, row.title, found["ours"], "nginx", found["nginx"])
    if found.get("unsynced"):
        yield Line(row, row.title + UNSYNCED, found["unsynced"], "nginx", found["nginx"])
    if found.get("lighttpd"):
        is_synced = "unsynced" not in found
        yield Line(row, row.title + ("" if is_synced else UNSYNCED),
                   found["ours" if is_synced else "unsynced"], "lighttpd", found["lighttpd"])


def markdown(rows, about, notes):
    text = ["# Ours against nginx and lighttpd", "", *(f"- {line}" for line in about), "",
            *table(row for row in rows if not row.is_cpu), "",
            *growth(rows),
            "## CPU time of the server per unit of work", "",
            *cpu_table(row for row in rows if row.is_cpu), "",
            "## How", "", *(f"- {note}" for note in notes)]
    commands = {}
    for row in rows:
        commands.setdefault(row.how, []).append(row.title)
    text += [f"- `{how}`: {'; '.join(dict.fromkeys(titles))}" for how, titles in commands.items()]
    return "\n".join(text) + "\n"


def table(rows):
    rows = list(rows)
    text = ["| what | unit | ours | theirs | times as good | target | met |",
            "|---|---|--:|--:|--:|---|---|"]
    for group in GROUPS:
        chosen = [line for row in rows if row.group == group for line in lines(row)]
        if chosen:
            text.append(f"| **{group}** | | | | | | |")
        for line in chosen:
            target = line.target()
            met = ("yes" if line.is_met() else "**no**") if target else ""
            text.append("| " + " | ".join([*cells(line), target, met]) + " |")
    return text


def cpu_table(rows):
    text = ["| what | unit | ours | theirs | times as good |", "|---|---|--:|--:|--:|"]
    return text + ["| " + " | ".join(cells(line)) + " |" for row in rows for line in lines(row)]


def cells(line):
    ratios = line.ratios()
    theirs = f"{line.beside}: {spread(line.theirs)}" if line.beside else ""
    return (line.name, line.row.unit, spread(line.ours), theirs,
            spread(ratios, digits=2) if ratios else "–" if line.beside else "")


def growth(rows):
    """Each row against the one that it grew from: 1 is flat."""
    rows = {row.title: row for row in rows if not row.is_cpu and row.values.get("ours")}
    text = []
    for row in rows.values():
        base = rows.get(row.compared_to)
        if not base:
            continue
        grown = {side: median(a / b if row.more_is_better else b / a
                              for a, b in zip(row.values[side], base.values[side]) if a and b)
                 for side in ("ours", "nginx") if row.values.get(side) and base.values.get(side)}
        met = ("yes" if grown["ours"] >= 0.9 else "**no**") if row.is_flat else ""
        theirs = f"{grown['nginx']:.2f}" if "nginx" in grown else ""
        text.append(f"| {row.title} | {base.title} | {grown['ours']:.2f} | {theirs} | "
                    f"{'at least 0.9' if row.is_flat else ''} | {met} |")
    if not text:
        return []
    return ["## Growth: times as good as the row with less load; 1 means no change", "",
            "| what | against | ours | nginx | target | met |", "|---|---|--:|--:|---|---|",
            *text, ""]


def spread(values, digits=None):
    def said(value):
        return number(value) if digits is None else f"{value:.{digits}f}"
    if len(values) == 1:
        return said(values[0])
    return f"{said(median(values))} ({said(min(values))} to {said(max(values))})"


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

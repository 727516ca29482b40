"""What a row of the report is, and what fills it: a measurement runs one load against one side."""

from dataclasses import dataclass, field

SPEED, DELAY, MEMORY, GROWTH, SIZE = (
    "speed", "time", "memory", "growth", "size")
GROUPS = SPEED, DELAY, MEMORY, GROWTH, SIZE


@dataclass
class Row:
    title: str
    unit: str
    how: str  # the command, as it can be typed
    more_is_better: bool = True
    goal_ratio: float = None  # against nginx, as in `ratio` of report.py
    goal: float = None  # at most, ours alone, in `unit`
    is_cpu: bool = False
    group: str = SPEED
    compared_to: str = None  # the title of the row that this one grew from
    is_flat: bool = False  # it should equal that one
    values: dict = field(default_factory=dict)  # side -> one value a round


@dataclass
class Measurement:
    rows: list
    run: object  # side -> one value a row
    sides: tuple = ("ours", "nginx")
    rounds: int = None  # at most so many: what hardly varies need not be measured often


def cpu_row(title, unit, how):
    return Row(title, unit, how, more_is_better=False, is_cpu=True)


def less_is_better(title, unit, how, group, **more):
    return Row(title, unit, how, more_is_better=False, group=group, **more)

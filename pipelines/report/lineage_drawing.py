"""Draws the lineage: a column per stage, as a self-contained SVG or for a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from pipelines.report.page import headline, shown_figure
from pipelines.report.visible import visible
from pipelines.stages import NAMES
from pipelines.store.artifacts import Artifact
from pipelines.store.lineage import Graph, raw_files

WIDTH, HEIGHT, STEP, ROW = 124, 66, 146, 84  # a box, and the distance to the next, in SVG units
LANE, PAD, LINE = 13, 6, 15  # between the arcs above boxes; the margin; a line of text
CORNER = 7
MOST_FILES = 3  # listed below a source
STYLE = """\
.lineage{font-family:system-ui,Helvetica,Arial,"DejaVu Sans",sans-serif}
.lineage rect{fill:var(--tint,#f4f6f8);stroke:var(--muted,#5d6977);stroke-width:1.1}
.lineage text{font-size:12px;fill:var(--muted,#5d6977)}
.lineage .name{font-weight:600;font-size:14px;fill:var(--ink,#1f2933)}
.lineage .key{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:11px}
.lineage .line{fill:none;stroke:var(--muted,#5d6977);stroke-width:1.2}
.lineage .gone{stroke-dasharray:4 3}
"""
ALONE = """\
@media screen and (prefers-color-scheme:dark){
.lineage{--tint:#1c2229;--ink:#e3e8ed;--muted:#9aa6b2}
}
"""


@dataclass(frozen=True)
class Box:
    """One artifact: `made_of` are the indices of its inputs in the list."""

    stage: str
    key: str = ""
    note: str = ""
    made_of: tuple[int, ...] = ()
    files: tuple[str, ...] = ()  # lines below the box
    gone: bool = False


@dataclass
class _Placed:
    box: Box
    column: int
    x: float
    y: float
    ends: list[_Edge] = field(default_factory=list)  # arcs that end on its top, left to right

    def top(self, edge: _Edge) -> float:
        return self.x + WIDTH * (self.ends.index(edge) + 1) / (len(self.ends) + 1)


@dataclass(frozen=True)
class _Edge:
    start: int
    end: int
    span: int  # columns


def boxes(graph: Graph, artifacts: Sequence[Artifact]) -> list[Box]:
    """A box for each artifact, and for each input that is gone."""
    place = {one: number for number, one in enumerate(artifacts)}
    lost: dict[tuple[str, str], int] = {}
    made: list[Box] = []
    for one in artifacts:
        above = graph.made_of(one)
        parents = [
            place.get(artifact, -1)
            if artifact is not None
            else lost.setdefault((stage, one.manifest["inputs"][stage]), len(place) + len(lost))
            for stage, artifact in above.items()
        ]
        files = tuple(_files(one)) if one.stage == "source" else ()
        made.append(
            Box(one.stage, one.key[:8], note(one), tuple(n for n in parents if n >= 0), files)
        )
    return made + [Box(stage, digest[:8], "deleted", gone=True) for stage, digest in lost]


def note(artifact: Artifact) -> str:
    """Its contents, in a few words."""
    counts = defaultdict(dict, artifact.manifest.get("counts", {}))
    match artifact.stage:
        case "source" if counts["bytes"]:
            return _size(counts["bytes"])
        case "corpus" if counts["kept"]:
            return f"{counts['kept']:,} documents"
        case "tokens" if counts["vocabulary"]:
            return f"vocabulary {counts['vocabulary']:,}"
        case "batches" if counts["train"]:
            return f"{counts['train']['batches']:,} train batches"
        case "model" if counts["parameters"]:
            return f"{counts['parameters']:,} weights"
        case "mix" if counts:
            return f"weight {counts['weight']:.2f}"
        case "release" if counts["version"]:
            return f"version {counts['version']}, {counts['verdict']}"
        case "report" if counts["plots"]:
            return f"{counts['plots']} plots"
        case "metrics" if counts:
            return _figure(*next(iter(counts.items())))
    return ""


def _figure(name: str, value: float | None) -> str:
    """Only the first headline figure, so that it fits into a box."""
    if name.endswith("_per_character"):
        return f"{shown_figure(value, name)} {name.partition('_')[0]}/char."
    return f"{headline(name)[0].lower()} {shown_figure(value, name)}"


def _files(source: Artifact) -> Iterator[str]:
    files = raw_files(source)
    for file in files[:MOST_FILES]:
        name = file["name"] if len(file["name"]) <= 40 else f"…{file['name'][-39:]}"
        yield name
        yield file["sha256"][:8]
    if len(files) > MOST_FILES:
        yield f"and {len(files) - MOST_FILES:,} more"


def _size(count: int) -> str:
    for size, letter in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {letter}"
    return f"{count} bytes"


# Layout


def draw(drawn: Sequence[Box], label: str, *, alone: bool = False) -> str:
    """The SVG. `label` describes it for screen readers; `alone` for a separate file."""
    columns = [stage for stage in NAMES if any(box.stage == stage for box in drawn)]
    edges = _edges(drawn, columns)
    lanes = _lanes([edge for edge in edges if edge.span > 1], drawn, columns)
    top = PAD + LANE * (max(lanes.values(), default=-1) + 1)
    placed, height = _placed(drawn, columns, top)
    _arrange(placed, lanes)
    parts = [_line(edge, placed, lanes.get(edge), top) for edge in edges]
    parts += [part for one in placed for part in _box(one)]
    width = max(STEP * len(columns) - STEP + WIDTH + 2 * PAD, _text_width(placed))
    return visible("\n".join([*_opening(width, height, label, alone), *parts, "</svg>"]))


def _edges(drawn: Sequence[Box], columns: list[str]) -> list[_Edge]:
    """All inputs; but if boxes are below one another, only those not implied by other arcs."""
    crowded = len(drawn) > len(columns)
    edges = []
    for below, box in enumerate(drawn):
        for above in box.made_of:
            said = any(above in _reached(drawn, other) for other in box.made_of)
            if not (crowded and said):
                span = columns.index(box.stage) - columns.index(drawn[above].stage)
                edges.append(_Edge(above, below, span))
    return edges


def _reached(drawn: Sequence[Box], start: int) -> set[int]:
    """A box's inputs, direct or indirect."""
    found: set[int] = set()
    pending = [start]
    while pending:
        new = set(drawn[pending.pop()].made_of) - found
        found |= new
        pending += new
    return found


def _lanes(arcs: list[_Edge], drawn: Sequence[Box], columns: list[str]) -> dict[_Edge, int]:
    """The lane of each arc, 0 lowest: short ones below, never two on top of each other."""
    lanes: dict[_Edge, int] = {}
    for arc in sorted(arcs, key=lambda arc: arc.span):
        start, end = (columns.index(drawn[one].stage) for one in (arc.start, arc.end))
        beneath = [
            lane
            for other, lane in lanes.items()
            if columns.index(drawn[other.start].stage) < end
            and columns.index(drawn[other.end].stage) > start
        ]
        lanes[arc] = max(beneath, default=-1) + 1
    return lanes


def _placed(drawn: Sequence[Box], columns: list[str], top: float) -> tuple[list[_Placed], float]:
    """The boxes in their columns, one below the other, and the height of everything."""
    bottoms = dict.fromkeys(columns, top)
    placed = []
    for box in drawn:
        column = columns.index(box.stage)
        placed.append(_Placed(box, column, PAD + STEP * column, bottoms[box.stage]))
        bottoms[box.stage] += ROW + (LINE * len(box.files) + 8 if box.files else 0)
    return placed, max(bottoms.values(), default=top) - (ROW - HEIGHT) + PAD


def _arrange(placed: list[_Placed], lanes: Mapping[_Edge, int]) -> None:
    """The positions on a box's top where arcs end, so that none crosses another there: those from
    the left with the lowest first, those to the right with the highest first."""
    for edge in sorted(lanes, key=lambda edge: lanes[edge]):
        placed[edge.end].ends.append(edge)
    for edge in sorted(lanes, key=lambda edge: -lanes[edge]):
        placed[edge.start].ends.append(edge)


def _line(edge: _Edge, placed: list[_Placed], lane: int | None, top: float) -> str:
    a, b = placed[edge.start], placed[edge.end]
    if lane is None:
        x, y, end, level = a.x + WIDTH, a.y + HEIGHT / 2, b.x - 1, b.y + HEIGHT / 2
        middle = (x + end) / 2
        way = f"M{x:g},{y:g} " + (
            f"H{end:g}"
            if y == level
            else f"C{middle:g},{y:g} {middle:g},{level:g} {end:g},{level:g}"
        )
    else:
        x, end, level = a.top(edge), b.top(edge), top - LANE * (lane + 1)
        way = (
            f"M{x:g},{a.y:g} V{level + CORNER:g} Q{x:g},{level:g} {x + CORNER:g},{level:g} "
            f"H{end - CORNER:g} Q{end:g},{level:g} {end:g},{level + CORNER:g} V{b.y - 1:g}"
        )
    return f'<path class="line" d="{way}" marker-end="url(#lineage-tip)"></path>'


def _box(one: _Placed) -> Iterator[str]:
    box, middle = one.box, one.x + WIDTH / 2
    gone = ' class="gone"' if box.gone else ""
    yield (
        f'<rect{gone} x="{one.x:g}" y="{one.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"></rect>'
    )
    for kind, text, down in (("name", box.stage, 22), ("key", box.key, 39), ("note", box.note, 56)):
        if text:
            yield _text(kind, middle, one.y + down, text, "middle")
    if box.files:
        yield f'<path class="line gone" d="M{one.x + 12:g},{one.y + HEIGHT:g} v8"></path>'
    for number, text in enumerate(box.files):
        yield _text("note", one.x, one.y + HEIGHT + 20 + LINE * number, text, "start")


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _text_width(placed: list[_Placed]) -> float:
    """Enough for the files' names."""
    return max((one.x + 7 * len(text) for one in placed for text in one.box.files), default=0)


def _opening(width: float, height: float, label: str, alone: bool) -> Iterator[str]:
    space = 'xmlns="http://www.w3.org/2000/svg" ' if alone else ""
    yield (
        f'<svg {space}class="lineage" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}">'
    )
    yield f"<style>\n{STYLE}{ALONE if alone else ''}</style>"
    yield (
        '<defs><marker id="lineage-tip" markerWidth="8" markerHeight="8" refX="7" refY="4" '
        'orient="auto"><path class="line" d="M0,1 L7,4 L0,7"></path></marker></defs>'
    )


def picture(graph: Graph, artifacts: Sequence[Artifact], label: str, **how: Any) -> str:
    """`draw` of `boxes`."""
    return draw(boxes(graph, artifacts), label, **how)

"""The drawing of the lineage: well formed, nothing over anything else, the same each time."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

from pipelines.audit.provenance import became_of, came_from
from pipelines.report.lineage_drawing import HEIGHT, WIDTH, Box, draw, picture
from pipelines.report.visible import UNSEEN
from pipelines.store.lineage import Graph
from pipelines.store.settings import Settings

CHAIN = [
    Box("metrics", "66666666", made_of=(1, 2, 3, 4)),
    Box("model", "55555555", made_of=(2,)),
    Box("batches", "44444444", made_of=(3,)),
    Box("tokens", "33333333", made_of=(4,)),
    Box("corpus", "22222222", made_of=(5,)),
    Box("source", "11111111", files=("a <b> & c.txt", "12345678")),
]
SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def rectangles(root: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(one.get("x")), float(one.get("y"))) for one in root.iter(f"{SVG}rect")]


def lines(root: ElementTree.Element) -> list[str]:
    return [one.get("d") for one in root.iter(f"{SVG}path") if one.get("marker-end")]


def segments(way: str) -> list[tuple[str, float, float, float]]:
    """(direction, where, from, to) of the straight parts of an arc."""
    numbers = [float(one) for one in re.findall(r"-?[\d.]+", way)]
    x, y, turn, _, level, start, _, end, landing, *_, low = numbers
    return [("v", x, turn, y), ("h", level, start, end), ("v", landing, turn, low)]


def test_every_artifact_has_a_box_and_every_input_a_line() -> None:
    root = parsed(draw(CHAIN, "what was made from what", alone=True))
    assert len(rectangles(root)) == len(CHAIN)
    assert len(lines(root)) == sum(len(box.made_of) for box in CHAIN)
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert {"metrics", "66666666", "a <b> & c.txt", "12345678"} <= set(texts)
    assert root.get("aria-label") == "what was made from what"


def test_no_box_stands_on_another_and_no_arc_runs_along_another() -> None:
    root = parsed(draw(CHAIN, "", alone=True))
    for (x, y), (u, v) in itertools.combinations(rectangles(root), 2):
        assert abs(x - u) > WIDTH or abs(y - v) > HEIGHT
    arcs = [segments(way) for way in lines(root) if "Q" in way]
    assert len(arcs) == 3
    for one, other in itertools.combinations(arcs, 2):
        assert not crossings(one, other)
    width, height = map(float, root.get("viewBox").split()[2:])
    assert all(0 <= x <= width - WIDTH and 0 <= y <= height - HEIGHT for x, y in rectangles(root))
    assert all(level > 0 for arc in arcs for kind, level, *_ in arc if kind == "h")


def crossings(one: list, other: list) -> list:
    found = []
    for (kind, at, low, high), (kind2, at2, low2, high2) in itertools.product(one, other):
        (low, high), (low2, high2) = sorted((low, high)), sorted((low2, high2))
        if kind == kind2:
            found += [at] if at == at2 and low < high2 and low2 < high else []
        else:
            found += [at] if low <= at2 <= high and low2 <= at <= high2 else []
    return found


def test_in_a_crowd_only_what_no_way_through_others_says_is_drawn() -> None:
    crowd = [
        *CHAIN,
        Box("metrics", "77777777", made_of=(7, 2, 3, 4)),
        Box("model", "88888888", made_of=(2,)),
    ]
    root = parsed(draw(crowd, "", alone=True))
    assert len(lines(root)) == 7  # each but the two sources' has its one direct line
    assert not [way for way in lines(root) if "Q" in way]
    odd = [*crowd, Box("metrics", "99999999", made_of=(7, 4, 9)), Box("tokens", "00000000")]
    assert len([way for way in lines(parsed(draw(odd, "", alone=True))) if "Q" in way]) == 1


def test_what_is_gone_is_drawn_as_such(trained: Settings) -> None:
    artifacts = came_from("tiny-play@1", trained)[2]
    rest = [one for one in artifacts if one.stage != "tokens"]
    drawing = parsed(picture(Graph(rest), rest, "", alone=True))
    dashed = [one for one in drawing.iter(f"{SVG}rect") if one.get("class") == "gone"]
    assert len(dashed) == 1 and len(rectangles(drawing)) == len(artifacts)
    assert "deleted" in [one.text for one in drawing.iter(f"{SVG}text")]


def test_real_runs_are_drawn_with_what_there_is_of_them(trained: Settings) -> None:
    _, graph, artifacts = came_from("tiny-reviews@1", trained)
    drawing = picture(graph, artifacts, "x", alone=True)
    assert drawing == picture(graph, artifacts, "x", alone=True)
    assert "url(http" not in drawing and "<script" not in drawing and "href" not in drawing
    texts = [one.text for one in parsed(drawing).iter(f"{SVG}text")]
    counts = {one.stage: one.counts for one in artifacts}
    for text in (
        "reviews.csv",
        f"{counts['corpus']['kept']:,} documents",
        f"vocabulary {counts['tokens']['vocabulary']:,}",
        f"{counts['batches']['train']['batches']} train batches",
        f"{counts['model']['parameters']:,} weights",
        f"accuracy {counts['metrics']['accuracy']:.1%}",
    ):
        assert text in texts
    _, graph, artifacts = became_of("play.txt", trained)
    texts = [
        one.text for one in parsed(picture(graph, artifacts, "", alone=True)).iter(f"{SVG}text")
    ]
    assert "version 1, promote" in texts
    assert any(re.fullmatch(r"\d\.\d{3} bits/char\.", text) for text in texts)


def test_names_neither_break_the_drawing_nor_turn_it() -> None:
    drawing = draw([Box("source", "11111111", files=("a\x1b[2J\u202e\0.txt",))], "b\x07")
    assert "a\\x1b[2J\\u202e\\x00.txt" in drawing and not UNSEEN.search(drawing)
    parsed(drawing)

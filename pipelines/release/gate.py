"""Decides whether a challenger becomes champion. Pure: the registry carries out the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pipelines.baselines import Comparison, against_baselines
from pipelines.declaration.slices import NAMED
from pipelines.declaration.spec import RegistrySpec
from pipelines.registry.figures import Figures
from pipelines.registry.lookup import WAITS

if TYPE_CHECKING:
    from pipelines.release.evidence import Evidence

FEWEST = 30  # minimum documents or segments for a slice's floor; fewer are left to chance


@dataclass(frozen=True)
class Verdict:
    """`reason` is one sentence; `evidence` the comparison with the champion, if there was one.

    After both reject and inconclusive, the champion stays: reject means that the challenger is not
    good enough, inconclusive that this test text cannot decide. It also stays while the challenger
    waits for a person's approval.
    """

    verdict: Literal["promote", "reject", "inconclusive", "waits"]
    reason: str
    evidence: Evidence | None = None


def judge(
    challenger: Figures,
    champion: Figures | None,
    spec: RegistrySpec,
    evidence: Evidence | str | None = None,
) -> Verdict:
    """Promote the challenger or keep the champion, and why, in one sentence.

    In this order: a model of real text must meet the floors; without a champion that is all; a
    version that a person rolled back is not promoted; a sample never replaces real text, and real
    text always replaces a sample; otherwise the evidence decides. `evidence` is the comparison with
    the champion, or in words why it is impossible. The floors are for real text: a sample, which is
    only a temporary substitute, need not meet them.
    """
    new = challenger.value(spec.metric)
    if new is None:
        return Verdict("reject", f"{spec.metric} was not measured for this model")
    figure = f"{spec.metric} {shown(new)}"
    if not challenger.sample:
        for failure in _under_floors(challenger, new, spec):
            return Verdict("reject", failure)
    if champion is None:
        trained = " on the sample text" if challenger.sample else ""
        return Verdict("promote", f"{figure}{trained}; there was no champion")
    if challenger.withdrawn:
        return Verdict(
            "reject",
            f"{figure}: this version was rolled back on {challenger.withdrawn}; promote "
            "it by hand to use it again",
        )
    if challenger.sample != champion.sample:
        return _across_samples(challenger, champion, figure, spec)
    if evidence is None or isinstance(evidence, str):
        why = evidence or "nothing was measured for both"
        return Verdict(
            "inconclusive",
            f"{figure} cannot be compared with champion version {champion.version}: {why}",
        )
    return _by_evidence(evidence, champion, spec)


def held(verdict: Verdict, spec: RegistrySpec) -> Verdict:
    """With manual approval, what would be promoted waits for a person."""
    if spec.approval == "automatic" or verdict.verdict != "promote":
        return verdict
    return replace(verdict, verdict=WAITS, reason=f"{verdict.reason}; it waits for approval")


# Floors


def _under_floors(challenger: Figures, new: float, spec: RegistrySpec) -> Iterator[str]:
    misses = "exceeds the limit of" if spec.lower_is_better else "is below the floor of"
    if spec.floor == "baseline":
        yield from _no_better_than_counting(challenger, spec)
    elif spec.floor is not None and _better(spec.floor, new, spec):
        yield f"{spec.metric} {shown(new)} {misses} {shown(spec.floor)}"
    for kind, floors in spec.slice_floors.items():
        yield from _under_slice_floors(kind, floors, challenger.slices.get(kind, ()), spec)
    if spec.class_floor is not None:
        yield from _under_class_floors(spec.class_floor, challenger.classes)


def _no_better_than_counting(challenger: Figures, spec: RegistrySpec) -> Iterator[str]:
    """The whole interval of the difference must be in favour of the model."""
    found = against_baselines(challenger.values, challenger.baselines, spec.metric)
    if not isinstance(found, Comparison):
        why = found or "this model was measured without baselines"
        yield f"{spec.metric} must be better than the best baseline's, and there is none: {why}"
    elif found.said != "beats":
        interval = (
            ""
            if found.low is None or found.high is None
            else f" (95% interval {found.low:+.4g} to {found.high:+.4g})"
        )
        worse = "is worse than" if found.said == "behind" else "is not demonstrably better than"
        yield (
            f"{spec.metric} {shown(found.model)} {worse} {shown(found.value)} of its best "
            f"baseline, {found.baseline}: {found.model - found.value:+.4g}{interval}"
        )


def _under_slice_floors(
    kind: str, floors: float | dict[str, float], rows: Sequence[dict[str, Any]], spec: RegistrySpec
) -> Iterator[str]:
    """A slice that cannot be found must not pass: its name may be misspelt."""
    there = [row["slice"] for row in rows]
    wanted = floors if isinstance(floors, dict) else dict.fromkeys(there, floors)
    misses = "exceeds the limit of" if spec.lower_is_better else "is below the floor of"
    if not rows:
        yield f"{spec.metric} was not measured by {kind}, for which there is a floor"
    for name in wanted if kind in NAMED and rows else ():
        if name not in there:
            yield (
                f"{spec.metric} has a floor for {kind} {name}, which is not a slice of "
                f"the test text; it has {', '.join(there)}"
            )
    for row in rows:
        unit = "documents" if "documents" in row else "segments"
        floor, value = wanted.get(row["slice"]), row[spec.metric]
        if floor is not None and row[unit] >= FEWEST and _better(floor, value, spec):
            yield (
                f"{spec.metric} {shown(value)} on the {row[unit]:,} {unit} of "
                f"{kind} {row['slice']} {misses} {shown(floor)} for this slice"
            )


def _under_class_floors(
    floors: float | dict[str, float], classes: Mapping[str, tuple[int, int]]
) -> Iterator[str]:
    """As for slices: a class that there is not must not pass, and a few documents are chance."""
    wanted = floors if isinstance(floors, dict) else dict.fromkeys(classes, floors)
    for name, floor in wanted.items():
        if name not in classes:
            yield f"there is a floor for the recall of class {name}, which is not a label"
            continue
        correct, documents = classes[name]
        if documents >= FEWEST and correct / documents < floor:
            yield (
                f"recall {shown(correct / documents)} on the {documents:,} documents of class "
                f"{name} is below the floor of {shown(floor)} for it"
            )


def _better(one: float, other: float, spec: RegistrySpec) -> bool:
    return one < other if spec.lower_is_better else one > other


# The champion


def _across_samples(
    challenger: Figures, champion: Figures, figure: str, spec: RegistrySpec
) -> Verdict:
    old = champion.value(spec.metric)
    held = f"{'none' if old is None else shown(old)} of champion version {champion.version}"
    if challenger.sample:
        return Verdict(
            "reject",
            f"{figure} on the sample text does not count against {held}, which was "
            "trained on real text",
        )
    return Verdict(
        "promote", f"{figure} on real text replaces {held}, which was trained on the sample text"
    )


def _by_evidence(found: Evidence, champion: Figures, spec: RegistrySpec) -> Verdict:
    """The whole interval must be beyond the margin, in favour or against: smaller differences may
    come from another seed. For accuracy, McNemar's test must agree."""
    low, high = found.gain
    new = f"{found.metric} {shown(found.challenger)}"
    anew = ", scored again on this test text" if found.rescored else ""
    held = f"{shown(found.champion)} of champion version {champion.version}{anew}"
    measured, margin = _measured(found), shown(spec.margin)
    more = f" by more than the margin {margin}" if spec.margin else ""
    if low > spec.margin:
        unlike = found.mcnemar if found.metric == "accuracy" else None
        if unlike is not None and unlike["p"] > 1 - found.confidence:
            return Verdict(
                "inconclusive",
                f"{new} against {held}: McNemar's test does not confirm the difference: {measured}",
                found,
            )
        return Verdict("promote", f"{new} is better than {held}{more}: {measured}", found)
    if high < -spec.margin:
        return Verdict("reject", f"{new} is worse than {held}{more}: {measured}", found)
    within = (
        f"is within the margin {margin}"
        if -spec.margin <= low <= high <= spec.margin
        else (f"may be within the margin {margin}")
    )
    may = within if spec.margin else "may be due to chance"
    return Verdict("inconclusive", f"{new} against {held}: the difference {may}: {measured}", found)


def _measured(found: Evidence) -> str:
    """Effect and interval in words."""
    text = (
        f"{found.effect:+.4g} ({100 * found.confidence:g}% interval {found.low:+.4g} to "
        f"{found.high:+.4g}, {found.count:,} {found.units}"
    )
    if found.left_out:
        text += f"; {found.left_out:,} left out because the champion was trained on them"
    if found.mcnemar is not None and found.metric == "accuracy":
        chance = found.mcnemar["p"]
        text += f", McNemar p {chance:.2g}" if chance else ", McNemar p below 1e-300"
    return f"{text})"


def shown(value: float) -> str:
    return f"{value:.6g}"

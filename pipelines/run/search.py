"""Searches a declared space of settings: trial after trial is trained and judged on validation.

    comparisons/tune-<pipeline>-<digest>/
        trials.db      every trial, in Optuna's SQLite storage
        tuning.json    the same for people and programs, written at the end of each trial
        tuning.png
        lock           held by the process that searches

The values of a trial follow from the seed, its number and the results before it. A search that was
killed therefore continues as if it had not been: the unfinished trial is drawn again with the same
values, and its training resumes from its checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.declaration.load import value_of
from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.declaration.spec import Spec
from pipelines.declaration.tune_section import TuneSpec
from pipelines.errors import FolioError, UsageError
from pipelines.files.digests import digest_json
from pipelines.files.home import made
from pipelines.files.locks import try_lock
from pipelines.files.sqlite_file import address_of
from pipelines.files.whole_files import write_json
from pipelines.run.grid import Variant, label
from pipelines.run.validation import measured, validation_figure
from pipelines.store.artifacts import Store
from pipelines.tracking.nested import Tried

if TYPE_CHECKING:
    import optuna

# With the metric, what makes two searches the same.
DECIDING = {"source", "corpus", "tokens", "batches", "model", "training", "seed", "tune"}
GROUND = ("corpus", "start")  # what no trial of a search may change
DIGITS = 3  # of a value drawn from a range without a step


@dataclass(frozen=True)
class Trial:
    """A finished trial; `value` is its figure on validation, or None if it failed with `error`."""

    number: int
    variant: Variant
    value: float | None
    run: str | None = None
    error: str | None = None


class Search:
    """`ask` gives the values of the next trial, `tell` or `fail` says how it ended."""

    def __init__(self, spec: Spec, folder: Path, study: optuna.Study) -> None:
        self.spec, self.folder = spec, folder
        self.measure = measured(spec.registry.metric)
        self._study = study

    @property
    def trials(self) -> list[Trial]:
        """The finished ones in their order."""
        from optuna.trial import TrialState

        done = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        return [
            Trial(number, value=one.value, **one.user_attrs)
            for number, one in enumerate(sorted(done, key=lambda one: one.number), 1)
        ]

    @property
    def best(self) -> Trial | None:
        """The first of those with the best figure."""
        return next((one for one in self.ranked if one.value is not None), None)

    @property
    def ranked(self) -> list[Trial]:
        """The best first, failed ones last."""
        sign = 1 if self.measure in LOWER_IS_BETTER else -1
        return sorted(
            self.trials, key=lambda one: math.inf if one.value is None else sign * one.value
        )

    def ask(self) -> Variant:
        """The values of the next trial."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        # We hold the lock: the process that has left these is gone. The sampler ignores them.
        for one in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(one.number, state=TrialState.FAIL)
        # Optuna does not store the state of its sampler, so each trial has its own.
        seed = int(digest_json([self.spec.seed, len(self.trials)])[:8], 16)
        self._study.sampler = TPESampler(seed=seed)
        self._trial = self._study.ask()
        return {
            key: suggested(self._trial, key, self.spec.tune[key]) for key in sorted(self.spec.tune)
        }

    def tell(self, variant: Variant, record: dict[str, Any], store: Store) -> Trial:
        """The trial's run has ended well. Raises FolioError if it had another text."""
        keys = {entry["stage"]: entry["key"] for entry in record["stages"]}
        ground = {name: store.open(name, keys[name]).digest for name in GROUND if keys.get(name)}
        if self._study.user_attrs.get("ground", ground) != ground:
            raise FolioError(
                f"{self.folder}: this search began with another text or another model to start "
                "from, so new figures cannot be compared; move the folder away to search anew"
            )
        self._study.set_user_attr("ground", ground)
        value = validation_figure(record, store, self.spec.registry.metric)
        if not math.isfinite(value):
            return self.fail(variant, f"the {self.measure} is {value}", record["run"])
        return self._finished(variant, value, record["run"], None)

    def fail(self, variant: Variant, error: str, run: str | None = None) -> Trial:
        """These settings cannot be trained; the sampler takes them for the worst."""
        return self._finished(variant, None, run, error)

    def tried_as(self, trial: Trial) -> Tried:
        """A trial as MLflow shows it."""
        return Tried(
            f"trial {trial.number}: {label(trial.variant)}",
            trial.variant,
            (trial.run or f"trial {trial.number} of {self.folder.name}",),
            f"validation_{self.measure}",
            trial.value,
            trial.error,
        )

    def _finished(
        self, variant: Variant, value: float | None, run: str | None, error: str | None
    ) -> Trial:
        from optuna.trial import TrialState

        for name, attribute in (("variant", variant), ("run", run), ("error", error)):
            self._trial.set_user_attr(name, attribute)
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        self._study.tell(self._trial, value, state)
        self._write()
        return self.trials[-1]

    def as_json(self) -> dict[str, Any]:
        best = self.best
        return {
            "pipeline": self.spec.name,
            "profile": self.spec.profile,
            "metric": self.spec.registry.metric,
            "split": "validation",
            "measure": self.measure,
            "best": best and asdict(best),
            "trials": [asdict(one) for one in self.trials],
            "ranked": [one.number for one in self.ranked],
        }

    def _write(self) -> None:
        from pipelines.report.plots.comparison import tuning_png

        write_json(self.folder / "tuning.json", self.as_json())
        label = f"{self.measure.replace('_', ' ')} on validation"
        values = [one.value for one in self.trials]
        plot = tuning_png(values, self.measure in LOWER_IS_BETTER, label)
        (self.folder / "tuning.png").write_bytes(plot)


def suggested(trial: optuna.Trial, key: str, space: TuneSpec) -> Any:
    """The trial's value of a key. Rounded, so that a profile to paste is readable and exact."""
    if space.choices is not None:  # Optuna stores texts and numbers, not lists
        choices = dict.fromkeys(map(json.dumps, space.choices))
        return json.loads(trial.suggest_categorical(key, list(choices)))
    low, high, step = space.low, space.high, space.step
    assert low is not None and high is not None, "the declaration has been checked"
    if space.whole:
        return trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=space.log)
    value = trial.suggest_float(key, low, high, step=step, log=space.log)
    digits = DIGITS if step is None else 2 * DIGITS
    return min(max(float(f"{value:.{digits}g}"), low), high)


@contextmanager
def search_in(home: Path, spec: Spec) -> Iterator[Search]:
    """The search of this declaration's space, begun or continued. Raises FolioError if another
    process searches it."""
    deciding = spec.model_dump(mode="json", include=DECIDING) | {"metric": spec.registry.metric}
    if spec.mix:
        deciding |= {"mix": spec.mix, "order": spec.evaluation.baseline_order}
    folder = made(home / "comparisons" / f"tune-{spec.name}-{digest_json(deciding)[:12]}")
    file = try_lock(folder / "lock")
    if file is None:
        raise FolioError(f"{folder}: another process is at this search; wait for it, or stop it")
    with file:
        yield Search(spec, folder, _study(folder / "trials.db", measured(spec.registry.metric)))


def _study(path: Path, measure: str) -> optuna.Study:
    import optuna
    from sqlalchemy.exc import DatabaseError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    minimized = measure in LOWER_IS_BETTER
    try:
        return optuna.create_study(
            storage=address_of(path),
            study_name="tune",
            direction="minimize" if minimized else "maximize",
            load_if_exists=True,
        )
    except DatabaseError as error:
        raise FolioError(
            f"{path}: not a database of trials ({error.orig}); move it away to search anew"
        ) from error


def space_of(given: list[str]) -> tuple[str, ...]:
    """The override that replaces the declared space by `key=values` texts; none if none are."""
    space = {}
    for text in given:
        key, equals, values = text.partition("=")
        if not equals:
            raise UsageError(f"--space {text}: write key=values, such as model.cell=[lstm, gru]")
        space[key.strip()] = value_of(values, f"--space {key.strip()}")
    return (f"tune={json.dumps(space)}",) if space else ()


def refuse_impossible(spec: Spec, load: Callable[[Variant], Spec]) -> None:
    """Raises UsageError if there is nothing to search, or for a choice or an end of a range that
    `load` refuses alone and beside any single value of another key."""
    if not spec.tune:
        raise UsageError(
            f"{spec.name} declares no `tune`: declare what to try, or give it, such as "
            '--space "training.learning_rate={low: 0.0001, high: 0.01, log: true}"'
        )
    if spec.registry.metric == "perplexity" and any(key.startswith("tokens.") for key in spec.tune):
        raise UsageError(
            f"{spec.name}: perplexity depends on the tokens, so their settings cannot be chosen by "
            "it; add --set registry.metric=bits_per_character"
        )
    for key, values in spec.tune.items():
        others = [{k: v} for k, other in spec.tune.items() if k != key for v in other.ends]
        for value in values.ends:
            problem = _problem(load, {key: value})
            if problem and all(_problem(load, {key: value} | other) for other in others):
                text = problem.removeprefix(f"--set {key}: ").removeprefix(f"{key}: ")
                raise UsageError(f"tune.{key}: {json.dumps(value)} is impossible: {text}")


def _problem(load: Callable[[Variant], Spec], variant: Variant) -> str | None:
    try:
        load(variant)
    except UsageError as error:
        return str(error)
    return None


def profile_of(best: Trial, common: tuple[str, ...]) -> str:
    """The trial's settings, and the overrides `common` to the search, as a profile to paste."""
    given = {key.strip(): value for key, _, value in (text.partition("=") for text in common)}
    values = {key: value_of(value, key) for key, value in given.items()} | best.variant
    lines = [f"    {key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["profiles:", "  tuned:", *lines])

"""Random edits of declaration, text, code, libraries, store and registry: what the plan says is
what the run does."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipelines.files.home import PROJECT
from torture.damage import HARMS
from torture.forge import Forge
from torture.homes import PLAY, environment
from torture.trials import Row, Trials

SETTINGS: dict[str, list[Any]] = {
    "title": ["Tiny play", "Another title"],
    "seed": [0, 1],
    "corpus.validation": [0.1, 0.12],
    "corpus.strip": [True, False],
    "tokens.kind": ["char", "word"],
    "tokens.min_count": [1, 2],
    "tokens.lower": [True, False],
    "batches.batch_size": [8, 6],
    "batches.sequence_length": [50, 40],
    "model.units": [[11], [7]],
    "model.dropout": [0.0, 0.1],
    "training.epochs": [1, 2],
    "training.learning_rate": [0.02, 0.01],
    "training.checkpoint_every": [0.2, 60],
    "evaluation.sample_length": [30, 20],
    "registry.floor": [8.0, 9.0],
}
CODE = (
    "pipelines/source/stage.py",
    "pipelines/readers/read.py",
    "pipelines/corpus/stage.py",
    "pipelines/tokens/vocabulary.py",
    "pipelines/batches/writer.py",
    "pipelines/model/trainer.py",
    "pipelines/metrics/novelty.py",
    "pipelines/release/gate.py",
    "pipelines/report/page.py",
    "pipelines/report/templates/style.css",
    "pipelines/declaration/spec.py",
    "flows/retrain.py",
)
CONDITION = re.compile(r", if [\w ]+ (is|are) rebuilt with the same bytes$")
LIBRARIES = ("polars", "pyarrow", "numpy", "keras", "tensorflow", "mlflow", "jinja2", "scipy")


@dataclass
class World:
    """A copy of Folio, a home, and a pipeline on a text of its own."""

    trials: Trials
    folder: Path
    declared: dict[str, Any] = field(default_factory=lambda: yaml.safe_load(PLAY))

    def __post_init__(self) -> None:
        self.copy, self.home = self.folder / "folio", self.folder / "home"
        for name in ("pipelines", "torture", "tasks", "flows", "folio"):
            shutil.copytree(
                PROJECT / name, self.copy / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.trials.homes.new(self.home)
        shutil.copytree(PROJECT / "data" / "samples", self.folder / "texts")
        self.path = self.folder / "play.yaml"
        self.declare()
        self.forge = Forge(self.copy, environment(), self.folder / "forge.log")

    def declare(self) -> None:
        self.path.write_text(yaml.safe_dump(self.declared), encoding="utf-8")

    def plan(self) -> dict[str, tuple[str, str]] | None:
        found = self._asked("foresee")
        return (
            found
            if found is None
            else {one["stage"]: (one["action"], one["reason"]) for one in found}
        )

    def run(self) -> dict[str, tuple[str, str]] | None:
        found = self._asked("run")
        return (
            found
            if found is None
            else {one["stage"]: (one["action"], one["reason"]) for one in found["stages"]}
        )

    def _asked(self, what: str) -> Any:
        log, answer = self.folder / "log", self.folder / "answer.json"
        log.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)
        given = [str(self.home), str(self.path), str(answer)]
        ended = self.forge.run(f"torture.work:{what}", given, self.home, log)
        if ended == 0:
            return json.loads(answer.read_bytes())
        self.said = log.read_text(errors="replace")[-600:]
        return None


def setting(world: World, chance: random.Random) -> str:
    key = chance.choice(list(SETTINGS))
    value = chance.choice(SETTINGS[key])
    section, _, name = key.partition(".")
    if name:
        world.declared[section][name] = value
    else:
        world.declared[key] = value
    world.declare()
    return f"{key} = {value}"


def text(world: World, chance: random.Random) -> str:
    path = world.folder / "texts" / "play.txt"
    if chance.random() < 0.4:
        shutil.copyfile(PROJECT / "data" / "samples" / "play.txt", path)
        return "the text as it was"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines)), f"MARIAN: And {chance.randrange(3)} more.\n")
    path.write_text("".join(lines), encoding="utf-8")
    return "a line more in the text"


def code(world: World, chance: random.Random) -> str:
    name = chance.choice(CODE)
    before = (PROJECT / name).read_text(encoding="utf-8")
    comment = "/* edited */" if name.endswith(".css") else "# edited"
    again = (world.copy / name).read_text(encoding="utf-8") != before
    (world.copy / name).write_text(before if again else f"{before}\n{comment}\n", encoding="utf-8")
    return f"{name} {'as it was' if again else 'edited'}"


def library(world: World, chance: random.Random) -> str:
    """Another version, as its metadata say."""
    name = chance.choice(LIBRARIES)
    folder = world.copy / f"{name}-99.{chance.randrange(3)}.dist-info"
    for old in world.copy.glob(f"{name}-99.*.dist-info"):
        shutil.rmtree(old)
        if chance.random() < 0.6:
            return f"{name} as it was"
    folder.mkdir()
    version = folder.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return f"{name} {version}"


def store(world: World, chance: random.Random) -> str:
    folders = sorted((world.home / "store").glob("[!.]*/[0-9a-f]*/"))
    if not folders:
        return "nothing"
    folder = chance.choice(folders)
    if chance.random() < 0.4:
        shutil.rmtree(folder)
        return f"{folder.parent.name} {folder.name[:8]} deleted"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, harm = chance.choice(files), chance.choice(list(HARMS))
    HARMS[harm](path, chance.choice(files), chance)
    return f"{folder.parent.name} {folder.name[:8]}: {path.name} {harm}"


def registry(world: World, chance: random.Random) -> str:
    """As a user does it, by a command."""
    name = world.path.stem
    commands: dict[str, list[Any]] = {
        "promote": [name, chance.randint(1, 3)],
        "rollback": [name],
        "gc": ["--yes", "--keep", "1", "--older-than", "0"],
    }
    command = chance.choice(list(commands))
    given = commands[command]
    said = world.trials.homes.folio(world.home, command, *given)
    world.trials.expect(
        said.code == 0 or said.is_one_line,
        f"folio {command} {given}: {said.code} {said.err[-300:]}",
    )
    return f"folio {command} {given} ({said.code})"


EDITS: list[Callable[[World, random.Random], str]] = [
    *[setting] * 6,
    *[text] * 2,
    *[code] * 4,
    *[library] * 2,
    *[store] * 3,
    registry,
]


def tries(trials: Trials) -> None:
    world = World(trials, trials.folder / "world")
    world.run()
    while trials.go_on():
        edits = [
            trials.random.choice(EDITS)(world, trials.random)
            for _ in range(trials.random.choice((1, 1, 1, 2, 3)))
        ]
        _step(trials, world, edits)
    world.forge.close()


def _step(trials: Trials, world: World, edits: list[str]) -> None:
    planned = world.plan()
    trials.count("steps")
    if planned is None:
        refused = "Traceback" not in world.said and world.said.count("folio: ") == 1
        trials.expect(refused, f"after {edits}: plan: {world.said}")
        trials.count("refused in a line")
        world.declared = yaml.safe_load(PLAY)  # or all that follow would be refused as well
        world.declare()
        return
    done = world.run()
    if done is None:
        trials.broke(f"after {edits}: the plan was {planned}, and the run: {world.said}")
        return
    for stage, (action, reason) in planned.items():
        if not _is_kept(action, reason, *done[stage]):
            trials.broke(f"after {edits}: {stage}: planned {action} ({reason}), done {done[stage]}")
    again = world.plan() or {}
    quiet = {action for action, _ in again.values()} == {"reuse"}
    trials.expect(quiet, f"after {edits} and a run, the plan says {again}")


def _is_kept(action: str, reason: str, did: str, why: str) -> bool:
    """A stage after one that must run may be reused, if that gave the same bytes. One whose inputs
    are rebuilt is decided on the condition that they come out as they were: else the run stops."""
    if "must run first" in reason:
        return did in ("run", "reuse", "rebuild") and (did != "run" or why != "nothing changed")
    return did == action and why == CONDITION.sub("", reason)


ROW = Row(
    "plans", "the plan never lies: what it says is what the run does", {"steps": 2000}, tries, 2.0
)

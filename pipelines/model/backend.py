"""The only place where keras is imported, after its backend is chosen."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from pipelines.errors import FolioError, UsageError

if TYPE_CHECKING:
    from pipelines.store.artifacts import GpuWish

PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}

# Keras imports them for its wrappers, its galleries and data frames as training data. Folio uses
# none of that, and they are two fifths of the time that importing Keras takes.
UNUSED = ("sklearn", "matplotlib", "pandas")

JAX_THREADS, TENSORFLOW_THREADS = "PJRT_NPROC", "TF_NUM_INTRAOP_THREADS"

TENSORFLOW_BYTES = 3_200_000_000  # of address space, for a small model on two cores


def load_keras(backend: str, lean: bool = True, threads: int | None = None) -> ModuleType:
    """Import keras on `backend`. A process keeps the backend and the threads that it began with.

    `lean` leaves out what Folio does not use of Keras; in a process that runs other people's code
    as well, Keras should be whole. `threads`: as `training.threads` declares, where every bit
    counts; by default what the process has, or all cores.
    """
    if importlib.util.find_spec(PACKAGES[backend]) is None:
        raise UsageError(
            f"backend {backend} is not installed; install it with: pip install "
            f"'folio[{backend}]', or leave out --backend"
        )
    if "keras" not in sys.modules:
        _require_memory(backend)
        os.environ["KERAS_BACKEND"] = backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # messages about CPU features
    if threads:
        _share_work(backend, threads)
    with _hidden(UNUSED) if lean else nullcontext():
        import keras

    if keras.backend.backend() != backend:
        raise FolioError(
            f"this process already runs keras on {keras.backend.backend()}; run the "
            f"{backend} pipeline in a separate command"
        )
    return keras


def _share_work(backend: str, threads: int) -> None:
    """Have each operation use so many threads: how it rounds sums depends on that. Raises
    FolioError if this process has begun to compute with others."""
    if backend == "jax":
        if "jax" not in sys.modules:
            os.environ[JAX_THREADS] = str(threads)
        used = int(os.environ.get(JAX_THREADS, cores()))
    else:
        import tensorflow as tf

        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        default = int(os.environ.get(TENSORFLOW_THREADS, cores()))
        used = tf.config.threading.get_intra_op_parallelism_threads() or default
    if used != threads:
        raise FolioError(
            f"this process already computes with {used} threads; run the pipeline with "
            f"training.threads {threads} in a separate command"
        )


def cores() -> int:
    """How many this process may use."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return len(allowed) or os.cpu_count() or 1


@contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """In this thread, packages that are not imported yet look as if they were not installed."""
    finder = _Hidden(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hidden(MetaPathFinder):
    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages, self.thread = packages, threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self.packages and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"{name} is hidden from Keras", name=name)


def _require_memory(backend: str) -> None:
    """Raises MemoryError where C++ code would abort the process."""
    if backend == "tensorflow" and sys.platform == "linux":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY and limit < TENSORFLOW_BYTES:
            raise MemoryError(f"{backend} needs {TENSORFLOW_BYTES:,} bytes of address space")


def make_reproducible(keras: ModuleType) -> None:
    """Equal models get equal names and equal steps give equal bits, whatever ran before in this
    process. No global generator is seeded: every random operation has its own seed
    (seed_for in pipelines/model/network.py)."""
    keras.backend.clear_session()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@contextmanager
def shared_among(count: int) -> Iterator[None]:
    """The batches of what is built in here are divided among so many devices of JAX; the weights
    are the same on each. Raises FolioError if there are fewer."""
    if count == 1:
        yield
        return
    from keras import distribution

    found = distribution.list_devices()
    if len(found) < count:
        raise FolioError(
            f"training.devices {count}: JAX has {len(found)} here ({', '.join(found)}); declare "
            "so many, or train on a machine that has more"
        )
    distribution.set_distribution(distribution.DataParallel(devices=found[:count]))
    try:
        yield
    finally:
        distribution.set_distribution(None)


def divide_cpu(parts: int) -> None:
    """JAX takes the CPU for so many devices, if this process has not used it yet."""
    if parts > 1:
        import jax

        with suppress(RuntimeError):  # used already: `shared_among` counts what there is
            jax.config.update("jax_num_cpu_devices", parts)


def training_device(backend: str, gpu: GpuWish, say: Callable[[str], None]) -> str:
    """ "gpu" or "cpu": where keras on `backend` trains here.

    Raises FolioError if a GPU is required and there is none; if it is only preferred, a notice says
    so.
    """
    if _has_gpu(backend):
        return "gpu"
    if gpu == "required":
        raise FolioError(
            f"no GPU that {backend} can use on this machine; leave out --require-gpu to "
            "train on the CPU, or run it on a machine with a GPU"
        )
    if gpu == "preferred":
        say(f"no GPU that {backend} can use on this machine: training on the CPU")
    return "cpu"


def _has_gpu(backend: str) -> bool:
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    return jax.default_backend() == "gpu"

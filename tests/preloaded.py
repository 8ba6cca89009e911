"""What the processes of tests/forked.py have imported when they begin."""

import pipelines.run.retraining  # noqa: F401
from pipelines.model.backend import load_keras

load_keras("tensorflow")

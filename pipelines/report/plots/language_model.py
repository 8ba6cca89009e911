"""Plots of a language model's loss on the test text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.report.plots.style import (
    FIRST,
    INK,
    MUTED,
    SERIES,
    SIZE,
    THIRD,
    Look,
    png_bytes,
    styled_figure,
)


def loss_by_position(rows: Sequence[Mapping[str, Any]], mean: float) -> bytes:
    """Loss by the number of tokens read before; hollow where few tokens make it uncertain.

    `rows` have context, nats_per_token and few.
    """
    with styled_figure() as figure:
        axes = figure.add_subplot()
        axes.axhline(mean, color=MUTED, linestyle="--", linewidth=1, label="all tokens")
        hollow: Look = {"linestyle": "none", "markerfacecolor": "white", "color": MUTED}
        for few, look in ((True, hollow), (False, SERIES[0])):
            chosen = [
                (place, row["nats_per_token"])
                for place, row in enumerate(rows)
                if row["few"] == few
            ]
            if chosen:
                axes.plot(
                    *zip(*chosen, strict=True),
                    marker="o",
                    label="few tokens" if few else "by context",
                    **look,
                )
        axes.set_xticks(
            range(len(rows)),
            [row["context"] for row in rows],
            rotation=35,
            ha="right",
            rotation_mode="anchor",
        )
        axes.margins(y=0.12)
        axes.set(xlabel="tokens read before", ylabel="nats per token")
        axes.legend()
        return png_bytes(figure)


def baseline_bars(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Bits per character of the baselines and, last, of the model.

    `rows` have name and bits_per_character.
    """
    with styled_figure((SIZE[0], 0.8 + 0.42 * len(rows))) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(rows))[::-1]
        bars = axes.barh(
            places,
            [row["bits_per_character"] for row in rows],
            0.62,
            color="white",
            edgecolor=THIRD,
            hatch="////",
        )
        bars[-1].set(facecolor=f"{FIRST}99", edgecolor=FIRST, hatch="")
        axes.bar_label(
            bars,
            [f"{row['bits_per_character']:.3f}" for row in rows],
            padding=3,
            fontsize=8.5,
            color=INK,
        )
        axes.set_yticks(places, [row["name"] for row in rows])
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="bits per character: shorter is better")
        return png_bytes(figure)

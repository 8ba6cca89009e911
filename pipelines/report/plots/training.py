"""The plot of training: loss by epoch."""

from __future__ import annotations

import pyarrow as pa
from matplotlib.ticker import MaxNLocator

from pipelines.report.plots.style import INK, MUTED, SERIES, png_bytes, styled_figure


def training_curves(
    history: pa.Table, best_epoch: int | None, loss_unit: str, max_bytes: int | None = None
) -> bytes:
    """Training and validation loss per epoch, the chosen epoch marked."""
    epochs = history["epoch"].to_numpy()
    with styled_figure() as figure:
        axes = figure.add_subplot()
        for column, name, marker, series in (
            ("loss", "train", "o", SERIES[0]),
            ("validation_loss", "validation", "s", SERIES[1]),
        ):
            axes.plot(epochs, history[column].to_numpy(), label=name, marker=marker, **series)
        if best_epoch is not None:
            best = history["validation_loss"].to_numpy()[epochs == best_epoch]
            axes.axvline(best_epoch, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
            axes.plot(
                [best_epoch],
                best,
                linestyle="none",
                marker="o",
                markersize=12,
                markerfacecolor="none",
                markeredgecolor=INK,
                label=f"chosen: epoch {best_epoch}",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.08, y=0.12)
        axes.set(xlabel="epoch", ylabel=f"loss ({loss_unit})")
        axes.legend()
        return png_bytes(figure, max_bytes)

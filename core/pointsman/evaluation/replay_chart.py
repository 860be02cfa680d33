"""Replays drawn: each bill by bucket, and where hindsight would have ended. Knows matplotlib, which it imports late."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pointsman.errors import InvalidRequestError
from pointsman.evaluation.chart import COLOURS, drawing, need_matplotlib
from pointsman.evaluation.replay import BUCKETS
from pointsman.evaluation.replay_report import BEST, LABELS, LOWER, Replays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMS = {".svg": "svg", ".png": "png"}


def check_plot(path: Path) -> None:
    """Find out before anything is replayed whether a plot can be written there.

    Raises:
        InvalidRequestError: the name ends in neither .svg nor .png, or there is no such folder.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix not in _FORMS:
        raise InvalidRequestError(f"the plot {path} must end in {' or '.join(_FORMS)}.")
    if not path.parent.is_dir():
        raise InvalidRequestError(f"{path.parent}: no such folder for the plot {path.name}.")
    need_matplotlib()


def write_plot(path: Path, replays: Replays) -> None:
    """Draw the bills as bars, a part for each bucket, in the format that the path's name ends in.

    Raises:
        InvalidRequestError, MissingExtraError: see `check_plot`; or the file can't be written.
    """
    check_plot(path)

    def draw(figure: Figure) -> None:
        _draw(figure.add_subplot(), replays)
        figure.legend(loc="outside lower center", ncols=len(BUCKETS), frameon=False)

    height = 1.8 + 0.45 * len(replays.replays)
    try:
        path.write_bytes(drawing(draw, size=(8.0, height), form=_FORMS[path.suffix]))
    except OSError as exc:
        raise InvalidRequestError(f"can't write {path}: {exc.strerror}.") from exc


def _draw(axes: Axes, replays: Replays) -> None:
    names = list(replays.replays)
    so_far = [0.0] * len(names)
    for bucket, label, colour in zip(BUCKETS, LABELS, COLOURS, strict=True):
        amounts = [float(getattr(replay.bill, bucket)) for replay in replays.replays.values()]
        if any(amounts):
            axes.barh(names, amounts, left=so_far, color=colour, label=label, height=0.62)
        so_far = [left + amount for left, amount in zip(so_far, amounts, strict=True)]
    if replays.bounds is not None:
        for label, amount, style in ((LOWER, replays.bounds.lower, ":"), (BEST, replays.bounds.best, "--")):
            axes.axvline(float(amount + replays.output), color="black", linestyle=style, linewidth=1.3, label=label)
    axes.invert_yaxis()
    axes.set_xlabel("USD")
    axes.spines[["top", "right"]].set_visible(False)

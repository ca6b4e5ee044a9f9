"""What others ask of a job that is being run: a file beside the store, for whoever runs it is its one writer.

Knows no store: the run looks, and does what is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Ask = Literal["pause", "cancel"]


def leave(store: Path, job: int, ask: Ask) -> None:
    """Ask it of the process that runs the job; the last one counts."""
    place = _place(store, job)
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_suffix(".new")
    half.write_text(ask, encoding="ascii")
    half.replace(place)


def take(store: Path, job: int) -> Ask | None:
    """What is asked, once; None where nothing is."""
    place = _place(store, job)
    try:
        text = place.read_text(encoding="ascii")
        place.unlink()
    except FileNotFoundError:
        return None
    return "cancel" if text == "cancel" else "pause"


def _place(store: Path, job: int) -> Path:
    return store.parent / "asks" / str(job)

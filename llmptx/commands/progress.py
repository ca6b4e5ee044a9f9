"""Live progress of a job on stderr: what every worker is at, how many items are done.

On a terminal a few lines that change; elsewhere a line for every verdict and every finished item.
"""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

from llmptx.commands.output import stderr
from llmptx.review.plain import plain_line

if TYPE_CHECKING:
    from rich.console import Group

    from llmptx.jobs import Event

COLOURS = {"passed": "green", "repaired": "blue", "rejected": "red", "failed": "yellow"}
_AT_MOST = 8


class Progress:
    """`with Progress(total) as progress: run(..., on_event=progress)`."""

    def __init__(self, total: int) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._console = stderr()
        self._active: dict[tuple[str, str, int, str], Event] = {}
        self._counts: Counter[str] = Counter()
        self._total = total
        self._started = time.monotonic()
        self._bar = Bar(
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
        )
        self._task = self._bar.add_task("", total=total)
        self._live = Live(
            console=self._console, get_renderable=self._view, refresh_per_second=8, transient=True
        )
        self._terminal = self._console.is_terminal

    def __enter__(self) -> Self:
        if self._terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        key = event.routine, event.dtype, event.sample, event.model
        if event.stage in ("done", "failed"):
            self._active.pop(key, None)
            status = event.text.partition(":")[0]
            self._counts[status] += 1
            self._bar.update(self._task, advance=1, description=self._said())
            if not self._terminal:
                self._line(event, f"[{sum(self._counts.values())}/{self._total}] ")
        else:
            self._active[key] = event
            if not self._terminal and event.stage in ("verdict", "waiting", "stop"):
                self._line(event, "")

    def _said(self) -> str:
        return "  ".join(f"[{COLOURS[s]}]{self._counts[s]} {s}[/]" for s in COLOURS if self._counts[s])

    def _line(self, event: Event, prefix: str) -> None:
        text = f"{prefix}{event.routine} {event.dtype} round {event.round} {event.stage}: {event.text}"
        self._console.print(plain_line(text), markup=False, soft_wrap=True)

    def _view(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        lines = []
        for event in list(self._active.values())[:_AT_MOST]:
            line = Text(f"{event.routine} {event.dtype}", style="bold", no_wrap=True, overflow="ellipsis")
            line.append(f"  round {event.round}  {event.stage}  ", style="not bold cyan")
            line.append(plain_line(event.text), style="not bold dim")
            lines.append(line)
        return Group(*lines, self._bar)

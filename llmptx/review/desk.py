"""Decisions on candidates, and the folder of verified kernels they fill.

A decision is a line in reviews.jsonl, bound to the candidate's hash; it is on disk before the verified folder
changes, and whoever reads that folder asks the decisions again, so a crash between the two approves nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmptx.corpus.journal import Problem, appending, scan, write_line
from llmptx.corpus.store import Corpus
from llmptx.record import Comment, Review, Verdict, canonical
from llmptx.review.decisions import Key, Policy, Standing, read_policy, standings
from llmptx.review.queue import Entry, queue
from llmptx.verify.certificate import CertificateError, certificate, check

SCHEMA = "llmptx/verified/1"
SHORTEST = 4


class ReviewError(ValueError):
    """A decision that cannot be taken; str() says why and what to do."""


@dataclass(frozen=True, slots=True)
class Verified:
    """An approved kernel: its text and the content of the certificate file beside it."""

    path: Path
    routine: str
    dtype: str
    text: str
    content: Mapping[str, Any]

    @property
    def certificate(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.content["certificate"]
        return found


class Desk:
    """The review desk of a workspace, `root`: records, reviews, rechecks in corpus/; verified/; recalled/."""

    def __init__(self, root: Path) -> None:
        self.corpus = Corpus(root / "corpus" / "records.jsonl")
        self.path = root / "corpus" / "reviews.jsonl"
        self.rechecks = root / "corpus" / "rechecks.jsonl"
        self.comments_path = root / "corpus" / "comments.jsonl"
        self.policy_path = root / "review.toml"
        self.recalled = root / "recalled"
        self.verified = root / "verified"

    def queue(self) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """Every candidate that passed, riskiest first; and what could not be read, a sentence each."""
        records, unread = self.corpus.read()
        reviews, unread_too = self.reviews()
        said = [f"{self.corpus.path}:{p.line}: {p.message}" for p in unread]
        said += [f"{self.path}:{p.line}: {p.message}" for p in unread_too]
        again = list(scan(self.rechecks, Verdict.from_dict))
        said += [f"{self.rechecks}:{p.line}: {p.message}" for p in again if isinstance(p, Problem)]
        verdicts = (v for v in again if isinstance(v, Verdict))
        return queue(records, reviews, verdicts, self.policy()), tuple(said)

    def policy(self) -> Policy:
        """The workspace's, review.toml. Raises PolicyError."""
        return read_policy(self.policy_path)

    def reviews(self) -> tuple[tuple[Review, ...], tuple[Problem, ...]]:
        """Every decision in order, and the lines that cannot be read."""
        entries = list(scan(self.path, read_review))
        return (
            tuple(entry for entry in entries if isinstance(entry, Review)),
            tuple(entry for entry in entries if isinstance(entry, Problem)),
        )

    def find(self, prefix: str, routine: str = "", dtype: str = "") -> Entry:
        """The one candidate whose hash begins so; ReviewError, naming all, where there is none or several.

        routine, dtype  narrow the search where two routines have the same text
        """
        if len(prefix) < SHORTEST:
            raise ReviewError(f"{prefix!r} is too short for a hash: give at least {SHORTEST} characters")
        entries, _ = self.queue()
        found = [
            entry
            for entry in entries
            if entry.candidate.hash.startswith(prefix.lower())
            and routine in ("", entry.candidate.routine)
            and dtype in ("", entry.candidate.dtype)
        ]
        if not found:
            raise ReviewError(
                f"no candidate that passed has a hash beginning {prefix!r}; see llmptx review list"
            )
        if len(found) > 1:
            matches = "\n".join(
                f"  {e.candidate.hash}  {e.candidate.routine} {e.candidate.dtype}" for e in found
            )
            raise ReviewError(
                f"{prefix!r} begins {len(found)} hashes; give more of it, or the routine:\n{matches}"
            )
        return found[0]

    def approve(self, entry: Entry, reviewer: str, reason: str = "") -> Path | None:
        """File the decision, and write the kernel and its certificate; the path of the kernel.

        None where the policy asks for two people and this is the first. Raises ReviewError, and files
        nothing, unless the text still has the hash the verdict is about, the verdict passed above level
        quick, and spec, judge and engine are today's; and where the policy does not let this person approve.
        """
        candidate, verdict = entry.candidate, entry.verdict
        if verdict.level == "quick":
            raise ReviewError(
                f"{candidate.hash[:12]} was judged at level quick only; "
                f"run: llmptx rewrite {candidate.routine} --dtype {candidate.dtype} --level full"
            )
        self._certificate(entry)
        if entry.standing.needed > 1:
            if reviewer in entry.standing.approvers:
                raise ReviewError(f"{reviewer} has approved it; the policy asks for another person as well")
            if reviewer in {record.model for record in entry.records}:
                raise ReviewError(f"{reviewer} wrote it; the policy asks for two other people")
        self.decide(entry.key, "approve", reviewer, reason)
        return self._settle(entry)

    def reject(self, entry: Entry, reviewer: str, reason: str) -> Path | None:
        """File the decision; the path of the verified kernel it removed, if this one was approved before."""
        if not reason.strip():
            raise ReviewError("a rejection needs a reason: it is what the next reader learns from")
        return self._against(entry, "reject", reviewer, reason)

    def send_back(self, entry: Entry, reviewer: str, reason: str) -> Path | None:
        """As `reject`, but what is asked for is another draft."""
        if not reason.strip():
            raise ReviewError("what is sent back needs a word on what to change")
        return self._against(entry, "return", reviewer, reason)

    def undo(self, entry: Entry, reviewer: str, anyones: bool = False) -> Review:
        """Take back the last decision that stands; the decision that was taken back.

        anyones  whether it may be another person's: that is for those who look after a team's desk
        """
        last = entry.standing.decision
        if last is None:
            raise ReviewError(f"nothing was decided on {entry.candidate.hash[:12]}")
        if last.reviewer != reviewer and not anyones:
            raise ReviewError(f"the last decision is {last.reviewer}'s: {last.decision}; decide anew instead")
        self.decide(entry.key, "undo", reviewer, "")
        self._settle(entry)
        return last

    def comment(self, entry: Entry, line: int, text: str, author: str) -> Comment:
        """File a remark on a line of the text, or, line 0, on the whole. Raises ReviewError."""
        if not text.strip() or not author.strip():
            raise ReviewError("a comment needs words and an author")
        if not 0 <= line <= entry.candidate.text.count("\n") + 1:
            raise ReviewError(f"the text has no line {line}")
        routine, dtype, hash = entry.key
        comment = Comment(hash, routine, dtype, line, text.strip(), author, _now())
        with appending(self.comments_path) as file:
            write_line(file, canonical(asdict(comment)))
        return comment

    def comments(self, key: Key) -> tuple[Comment, ...]:
        """The remarks on a candidate, in order."""
        found = scan(self.comments_path, read_comment)
        return tuple(c for c in found if isinstance(c, Comment) and (c.routine, c.dtype, c.candidate) == key)

    def audit(self) -> Iterator[str]:
        """Every decision and comment, a line of JSON each, in order of time."""
        comments = (c for c in scan(self.comments_path, read_comment) if isinstance(c, Comment))
        log: list[Review | Comment] = [*self.reviews()[0], *comments]
        return (canonical(asdict(entry)) for entry in sorted(log, key=lambda entry: entry.created))

    def _certificate(self, entry: Entry) -> Mapping[str, Any]:
        candidate, verdict = entry.candidate, entry.verdict
        try:
            given = certificate(verdict)
            check(given, candidate.text)
        except CertificateError as error:
            raise ReviewError(f"{candidate.hash[:12]} cannot be approved: {error}") from error
        if (verdict.routine, verdict.dtype) != (candidate.routine, candidate.dtype):
            raise ReviewError(
                f"the verdict is about {verdict.routine} {verdict.dtype}, not {' '.join(entry.key[:2])}"
            )
        return given

    def _against(self, entry: Entry, decision: str, reviewer: str, reason: str) -> Path | None:
        path = self._place(entry)
        was = _candidate_of(path) == entry.candidate.hash
        self.decide(entry.key, decision, reviewer, reason)
        self._settle(entry)
        return path if was else None

    def _settle(self, entry: Entry) -> Path | None:
        """Bring verified/ in step with the decisions on a candidate; where its kernel is, if it is there."""
        stand = standings(self.reviews()[0], self.policy())
        path = self._place(entry)
        now = stand.get(entry.key, Standing())
        if now.state == "approved" and now.decision:
            content = {
                "schema": SCHEMA,
                "certificate": self._certificate(entry),
                "review": asdict(now.decision),
                "approvers": now.approvers,
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            # The text last: a text without its certificate is nothing, a certificate of another text fails.
            replace_file(path.with_suffix(".json"), json.dumps(content, indent=2, sort_keys=True) + "\n")
            replace_file(path, entry.candidate.text)
            return path
        if _candidate_of(path) == entry.candidate.hash:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
            self._restore(entry, stand)
        return None

    def _restore(self, entry: Entry, stand: Mapping[Key, Standing]) -> None:
        """Another kernel of the same task that is still approved takes the place that became free."""
        others = [
            (other.decision.created, key[2])
            for key, other in stand.items()
            if key[:2] == entry.key[:2] and key != entry.key and other.state == "approved" and other.decision
        ]
        for _, hash in sorted(others, reverse=True):
            try:
                self._settle(self.find(hash, *entry.key[:2]))
            except ReviewError:
                continue  # judged by an older judge: recheck decides on it
            return

    def kernels(self) -> Iterator[Verified]:
        """The verified kernels, by name. ReviewError where text, certificate or approval does not hold."""
        reviews, _ = self.reviews()
        decisions = standings(reviews, self.policy())
        for path in sorted(self.verified.glob("*/*/*.ptx")):
            yield _verified(path, decisions)

    def decide(self, key: Key, decision: str, reviewer: str, reason: str) -> Review:
        """Files a decision and does no more; recall is for rechecks, the others have methods of their own."""
        routine, dtype, hash = key
        if not reviewer.strip():
            raise ReviewError("a decision needs the reviewer's name")
        review = Review(hash, routine, dtype, decision, reviewer, reason, _now())  # type: ignore[arg-type]
        with appending(self.path) as file:
            write_line(file, canonical(asdict(review)))
        return review

    def _place(self, entry: Entry) -> Path:
        package, _, name = entry.candidate.routine.rpartition(".")
        return self.verified / package / name / f"{entry.candidate.dtype}.ptx"


def _verified(path: Path, decisions: Mapping[Key, Standing]) -> Verified:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReviewError(f"{path}: the kernel or its certificate cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ReviewError(f"{path.with_suffix('.json')}: not of schema {SCHEMA!r}")
    kernel = Verified(path, f"{path.parent.parent.name}.{path.parent.name}", path.stem, text, content)
    try:
        check(kernel.certificate, text)
    except CertificateError as error:
        raise ReviewError(f"{path}: {error}; judge and approve it again") from error
    given = kernel.certificate
    if (given["routine"], given["dtype"]) != (kernel.routine, kernel.dtype):
        raise ReviewError(f"{path}: the certificate is of {given['routine']} {given['dtype']}")
    decision = decisions.get((kernel.routine, kernel.dtype, str(given["candidate"])))
    if decision is None or decision.state != "approved":
        raise ReviewError(f"{path}: no decision approves it; approve it, or remove the file")
    return kernel


def read_review(data: Mapping[str, Any]) -> Review:
    if data.get("schema") != "llmptx/review/1":
        raise ValueError(f"schema is {data.get('schema')!r}; this version reads 'llmptx/review/1'")
    if data.get("decision") not in ("approve", "reject", "return", "recall", "undo"):
        raise ValueError(f"{data.get('decision')!r} is no decision")
    return Review(**data)


def read_comment(data: Mapping[str, Any]) -> Comment:
    if data.get("schema") != "llmptx/comment/1":
        raise ValueError(f"schema is {data.get('schema')!r}; this version reads 'llmptx/comment/1'")
    return Comment(**data)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _candidate_of(path: Path) -> str | None:
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return str(content["certificate"]["candidate"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def replace_file(path: Path, text: str) -> None:
    """The file holds all of the text or what it held before, whenever a crash comes."""
    half = path.with_name(path.name + ".new")
    with half.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)

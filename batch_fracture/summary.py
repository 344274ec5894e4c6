"""How a run ended: the report, its exit code, and the summary that somebody reads at 7 a.m."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from batch_fracture.errors import StoreOutageError, WorkHeldError
from batch_fracture.explain import as_lines
from batch_fracture.results.manifest import Purpose
from batch_fracture.results.records import Books, Outcome


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a run ended, for the closing summary and the exit code."""

    outcome: Outcome | None
    """None when there was nothing to do, and in a dry run."""
    books: Books
    purpose: Purpose
    run_id: str | None = None
    engine: str | None = None
    table_version: int | None = None
    codes: Counter[str] = field(default_factory=Counter)
    """Skipped and failed rows by code."""
    retried_later: int = 0
    """Of the unchanged: transient failures that a later night tries again."""
    seconds: float = 0.0
    """The whole run."""
    images_per_s: float = 0.0
    """While reading, Ray's start included."""
    message: str | None = None
    """Why this night ends early, or what it would do; None when there is more to do or all is done."""

    explain: dict[str, Any] | None = None
    """Where the time went, when that was asked for; see `explain.explained`."""
    earlier: tuple[Report, ...] = ()
    """Runs that were cut off and that this one finished first."""

    def exit_code(self, max_failed: float) -> int:
        """0 done, 1 store outage, 3 more than `max_failed` of the rows failed, 4 stopped on purpose.

        Where this run itself ends with 0, an earlier one that it finished decides.
        """
        if self.outcome is Outcome.STORE_OUTAGE:
            return StoreOutageError.exit_code
        if self.outcome in (Outcome.LIMITED, Outcome.INTERRUPTED, Outcome.DEADLINE) and self.message:
            return WorkHeldError.exit_code
        rows = self.books.read + self.books.skipped + self.books.failed
        if rows and self.books.failed > max_failed * rows:
            return 3
        return max((report.exit_code(max_failed) for report in self.earlier), default=0)


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "outcome": report.outcome.value if report.outcome else "nothing_to_do",
        "run_id": report.run_id,
        "message": report.message,
        **asdict(report.books),
        "codes": dict(report.codes),
        "retried_later": report.retried_later,
        "model": report.purpose.model,
        "model_digest": report.purpose.model_digest,
        "engine": report.engine,
        "operating_point": report.purpose.operating_point,
        "threshold": report.purpose.threshold,
        "table_version": report.table_version,
        "seconds": round(report.seconds, 2),
        "images_per_s": round(report.images_per_s, 1),
        **({"explain": report.explain} if report.explain else {}),
        "earlier": [as_dict(one) for one in report.earlier],
    }


def as_text(report: Report) -> str:
    """The report as lines of at most about 100 columns."""
    if report.outcome is None or report.run_id is None:
        return "\n".join(_idle_lines(report))
    purpose, books = report.purpose, report.books
    share = f"{books.positive / books.read:.1%} of the read ones; " if books.read else ""
    lines = [
        "",
        f"run {report.run_id}: {report.outcome.value.replace('_', ' ')}"
        + f" - {report.message}" * bool(report.message),
        *_books_lines(report),
        f"  positive   {books.positive:>12,}   {share}{purpose.operating_point}: "
        f"probability >= {purpose.threshold:.3f}",
        f"  model      {purpose.model} ({purpose.model_digest[:12]})"
        + f" on {report.engine}" * bool(report.engine),
        f"  speed      {report.images_per_s:>12,.1f}   images/s, Ray's start included; "
        f"{report.seconds:,.1f} s in all",
        f"  table      {'unchanged' if report.table_version is None else f'version {report.table_version}'}",
    ]
    if report.explain:
        lines += as_lines(report.explain)
    return "\n".join(lines)


def _idle_lines(report: Report) -> list[str]:
    books = report.books
    lines = [
        f"{report.message} ({report.seconds:.1f} s)",
        f"  listed     {books.listed:>12,}   = {books.unchanged:,} unchanged + {books.not_reached:,} to read",
    ]
    if report.retried_later:
        lines.append(
            f"  waiting    {report.retried_later:>12,}   transient failures, tried again on a later night "
            "(now: --retry-failed)"
        )
    return lines


def _books_lines(report: Report) -> list[str]:
    books = report.books
    taken = f" + {books.taken_by_other_runs:,} by other runs" if books.taken_by_other_runs else ""
    lines = [
        f"  listed     {books.listed:>12,}   = {books.unchanged:,} unchanged + {books.read:,} read + "
        f"{books.skipped:,} skipped + {books.failed:,} failed{taken} + {books.not_reached:,} not reached",
        "                            the books balance",
    ]
    lines += [f"    {code:<18} {count:>4,}" for code, count in sorted(report.codes.items())]
    if report.retried_later:
        lines.append(
            f"  waiting    {report.retried_later:>12,}   transient failures of today, tried again tomorrow"
        )
    return lines

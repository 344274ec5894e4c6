"""The closing summary that somebody reads at 7 a.m., as text and as a JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch_fracture.run import Report


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
    }


def as_text(report: Report) -> str:
    """The report as lines of at most about 100 columns."""
    if report.outcome is None:
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
        f"  model      {purpose.model} ({purpose.model_digest[:12]}) on {report.engine}",
        f"  speed      {report.images_per_s:>12,.1f}   images/s, Ray's start included; "
        f"{report.seconds:,.1f} s in all",
        f"  table      version {report.table_version}",
    ]
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

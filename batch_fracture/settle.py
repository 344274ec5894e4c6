"""The end of a run: prove, commit, record, and the report of what became of every listed image."""

from __future__ import annotations

from batch_fracture.endings import Ending
from batch_fracture.plan import Plan
from batch_fracture.results.commit import Committed, commit_units
from batch_fracture.results.manifest import Manifest, Purpose
from batch_fracture.results.proof import prove
from batch_fracture.results.records import Books, Outcome, RunRecord, write_record
from batch_fracture.results.units import Tally, engines_of
from batch_fracture.results.work import WorkFolder
from batch_fracture.summary import Report

COMMITTED = Ending(outcome=Outcome.INTERRUPTED)
"""Of a run that was committed before: if rows are missing it was interrupted, and this night goes on."""
_NOTHING = Committed(version=None, tally=Tally(), taken_by_other_runs=0)


def settle(work: WorkFolder, manifest: Manifest, finished: list[int], ending: Ending) -> Report:
    """Prove the books of the finished units, commit them, put the record.

    Raises:
        BooksError, CommitError, WriteError: nothing was committed, or nothing but the record is missing.
    """
    units = prove(work, manifest, finished)
    committed = commit_units(work, manifest, units)
    report = _report(manifest, committed, engines_of(unit.rows for unit in units), ending)
    record = RunRecord(
        manifest=manifest,
        outcome=report.outcome or ending.outcome,
        books=report.books,
        engine=report.engine,
        table_version=committed.version,
    )
    write_record(work.home, record)
    return report


def _report(manifest: Manifest, committed: Committed, engine: str | None, ending: Ending) -> Report:
    tally, taken = committed.tally, committed.taken_by_other_runs
    not_reached = len(manifest.images) - tally.rows - taken
    outcome = ending.outcome
    if outcome is not Outcome.STORE_OUTAGE and not not_reached:
        outcome = Outcome.LIMITED if manifest.not_planned else Outcome.COMPLETE
    books = Books(
        listed=manifest.listed,
        unchanged=manifest.unchanged,
        read=tally.read,
        skipped=tally.skipped,
        failed=tally.failed,
        taken_by_other_runs=taken,
        not_reached=not_reached + manifest.not_planned,
        positive=tally.positive,
    )
    books.check()
    return Report(
        outcome=outcome,
        books=books,
        purpose=manifest.purpose,
        run_id=manifest.run_id,
        engine=engine,
        table_version=committed.version,
        codes=tally.codes,
        message=_why_early(manifest.purpose, outcome, ending, anything=bool(tally.rows)),
    )


def _why_early(purpose: Purpose, outcome: Outcome, ending: Ending, *, anything: bool) -> str | None:
    """What to say of a night that ends here with work left; None when it does not."""
    if ending is COMMITTED or outcome is Outcome.COMPLETE:
        return None
    if outcome is Outcome.LIMITED:
        return f"--limit {purpose.limit} was reached; run again to go on"
    if outcome in (Outcome.INTERRUPTED, Outcome.DEADLINE):
        repeats = anything and (purpose.reread or purpose.retry_failed)
        return f"{ending.message}; the same command " + ("starts over" if repeats else "goes on")
    return ending.message


def nothing_finished(manifest: Manifest, ending: Ending) -> Report:
    """Of a run that was stopped before its first unit was complete: it can be resumed, and has no record."""
    return _report(manifest, _NOTHING, None, ending)


def idle_report(plan: Plan, *, dry_run: bool = False) -> Report:
    """Of a night that reads nothing."""
    manifest = plan.manifest
    to_read = len(manifest.images)
    books = Books(
        listed=manifest.listed, unchanged=manifest.unchanged, not_reached=to_read + manifest.not_planned
    )
    books.check()
    message = "nothing to do: every listed image is settled for this model"
    if not manifest.listed:
        message = "nothing to do: the sources hold no file that --include and --exclude let through"
    if dry_run and to_read:
        units = manifest.num_units
        message = f"dry run: {to_read:,} images would be read in {units} units; nothing was written"
    return Report(
        outcome=None, books=books, purpose=manifest.purpose, retried_later=plan.retried_later, message=message
    )

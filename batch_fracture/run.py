"""`batch-fracture run`: resume or plan, read, prove, commit, record."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from batch_fracture import store
from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.config import RunConfig
from batch_fracture.engines import choose
from batch_fracture.errors import StoreOutageError, WorkHeldError
from batch_fracture.interrupt import Interrupt
from batch_fracture.lease import Lease, current_owner
from batch_fracture.plan import Plan, plan_run
from batch_fracture.reading import Ending, Job, Reading
from batch_fracture.results.commit import Committed, commit_units, prove
from batch_fracture.results.records import Books, Outcome, RunRecord, write_record
from batch_fracture.results.table import Home, ReadingsTable, find_home
from batch_fracture.results.units import UnitWriter, engines_of
from batch_fracture.results.work import (
    Manifest,
    Purpose,
    WorkFolder,
    abandon,
    read_manifest,
    unfinished,
    write_manifest,
)
from batch_fracture.screen import Screen


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

    def exit_code(self, max_failed: float) -> int:
        """0 done, 1 store outage, 3 more than `max_failed` of the rows failed, 4 stopped on purpose."""
        if self.outcome is Outcome.STORE_OUTAGE:
            return StoreOutageError.exit_code
        if self.outcome in (Outcome.LIMITED, Outcome.INTERRUPTED):
            return WorkHeldError.exit_code
        rows = self.books.read + self.books.skipped + self.books.failed
        return 3 if rows and self.books.failed > max_failed * rows else 0


def run(config: RunConfig, screen: Screen) -> Report:
    """Do one night's work: everything listed that is not settled for this model.

    A run that was cut off is finished first, from its own manifest; then the sources are listed anew.

    Args:
        config: the checked configuration.
        screen: shows what happens.

    Raises:
        BatchFractureError: see `errors`; whatever was not committed stays resumable.
    """
    began = time.monotonic()
    model = open_bundle(config.model)
    purpose = config.purpose(model)
    choose(config.engine, num_gpus=0)
    home = find_home(config.results, create=True)
    if not config.dry_run:
        while folder := _next_unfinished(home, purpose, screen):
            report = _execute(config, home, model, folder, read_manifest(folder), screen)
            if report.message:
                return replace(report, seconds=time.monotonic() - began)
            screen.finished(report)
    plan = _plan(config, home, purpose, screen)
    if config.dry_run or not len(plan.manifest.images):
        return replace(_idle_report(plan, dry_run=config.dry_run), seconds=time.monotonic() - began)
    folder = write_manifest(home, plan.manifest)
    report = _execute(config, home, model, folder, plan.manifest, screen)
    return replace(report, retried_later=plan.retried_later, seconds=time.monotonic() - began)


def _next_unfinished(home: Home, purpose: Purpose, screen: Screen) -> WorkFolder | None:
    """An earlier run of these sources to be finished; one with another purpose is abandoned, with a word."""
    table = ReadingsTable.open(home)
    for folder in unfinished(home):
        try:
            manifest = read_manifest(folder)
        except FileNotFoundError:  # its own process has finished it since
            continue
        if manifest.purpose.sources != purpose.sources:
            continue
        if owner := current_owner(folder.path):
            raise WorkHeldError(
                f"run {manifest.run_id} of these sources is being done by {owner}; wait for it"
            )
        if manifest.purpose.key == purpose.key or (table and table.holds_run(manifest.run_id)):
            screen.note(f"run {manifest.run_id} was cut off: finishing it first")
            return folder
        screen.note(f"run {manifest.run_id} was cut off and had another model or other settings: abandoned")
        abandon(home, folder, table)
    return None


def _plan(config: RunConfig, home: Home, purpose: Purpose, screen: Screen) -> Plan:
    screen.note(f"listing {', '.join(config.source)}")
    listing = store.list_images(config.source, include=config.include, exclude=config.exclude)
    table = ReadingsTable.open(home) if config.dry_run else ReadingsTable.open_or_create(home)
    return plan_run(listing, table, purpose, read_date=datetime.now(UTC).date())


def _idle_report(plan: Plan, *, dry_run: bool) -> Report:
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
        units = len(manifest.unit_sizes)
        message = f"dry run: {to_read:,} images would be read in {units} units; nothing was written"
    return Report(
        outcome=None, books=books, purpose=manifest.purpose, retried_later=plan.retried_later, message=message
    )


def _execute(
    config: RunConfig, home: Home, model: Bundle, folder: WorkFolder, manifest: Manifest, screen: Screen
) -> Report:
    """Read what is missing, prove the books, commit once, record, clean up."""
    with Lease(folder.path, manifest.run_id), Interrupt(screen.note) as stop:
        committed_before = ReadingsTable.open_or_create(home).holds_run(manifest.run_id)
        writer = UnitWriter(folder, manifest)
        if committed_before and not writer.finished:
            raise WorkHeldError(f"run {manifest.run_id} was committed by another process just now; run again")
        screen.started(manifest, writer.tally)
        before, began = writer.tally.rows, time.monotonic()
        ending = Ending(outcome=Outcome.INTERRUPTED)  # what a committed run with units missing was
        if not committed_before:
            job = Job(
                manifest=manifest,
                model=model,
                engine=config.engine,
                address=config.address,
                settings=config.settings,
            )
            ending = Reading(job, writer, screen, stop).read()
        images_per_s = (writer.tally.rows - before) / (time.monotonic() - began)
        report = _settle(home, folder, manifest, sorted(writer.finished), ending)
    folder.remove()
    return replace(report, images_per_s=images_per_s)


def _settle(
    home: Home, folder: WorkFolder, manifest: Manifest, finished: list[int], ending: Ending
) -> Report:
    """Prove the books of the finished units, commit them, put the record."""
    units = prove(folder, manifest, finished)
    committed = commit_units(home, folder, manifest, units)
    report = _report(manifest, committed, engines_of(units.values()), ending)
    record = RunRecord(
        manifest=manifest,
        outcome=report.outcome or ending.outcome,
        books=report.books,
        engine=report.engine,
        table_version=committed.version,
    )
    write_record(home, record)
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
    message = ending.message if outcome is ending.outcome else None
    if outcome is Outcome.LIMITED:
        message = f"--limit {manifest.purpose.limit} was reached; run again to go on"
    return Report(
        outcome=outcome,
        books=books,
        purpose=manifest.purpose,
        run_id=manifest.run_id,
        engine=engine,
        table_version=committed.version,
        codes=tally.codes,
        message=message,
    )

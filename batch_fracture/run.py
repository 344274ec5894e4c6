"""`batch-fracture run`: resume or plan, read, prove, commit, record."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from batch_fracture import store
from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.cluster import remove_leftovers
from batch_fracture.config import RunConfig
from batch_fracture.engines import choose
from batch_fracture.interrupt import Interrupt
from batch_fracture.lease import Lease, current_owner
from batch_fracture.plan import Plan, plan_run
from batch_fracture.reading import Ending, Job, Reading
from batch_fracture.results.commit import Committed, commit_units, prove
from batch_fracture.results.records import Books, Outcome, RunRecord, write_record
from batch_fracture.results.table import Home, ReadingsTable, find_home
from batch_fracture.results.units import Tally, UnitWriter, engines_of
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
from batch_fracture.summary import Report


def run(config: RunConfig, screen: Screen) -> Report:
    """Do one night's work: everything listed that is not settled for this model.

    A run that was cut off is finished first, from its own manifest; then the sources are listed anew.

    Args:
        config: the checked configuration.
        screen: shows what happens.

    Raises:
        BatchFractureError: see `errors`; whatever was not committed stays resumable.
        KeyboardInterrupt: a signal while nothing was being read, or a second Ctrl-C.
    """
    began = time.monotonic()
    model = open_bundle(config.model)
    purpose = config.purpose(model)
    choose(config.engine, num_gpus=0)
    home = find_home(config.results, create=True)
    with Interrupt(screen.note) as stop:
        night = Night(config=config, home=home, model=model, purpose=purpose, screen=screen, stop=stop)
        report = night.spend()
    return replace(report, seconds=time.monotonic() - began)


@dataclass(frozen=True, kw_only=True)
class Night:
    """Everything that the steps of one run have in common."""

    config: RunConfig
    home: Home
    model: Bundle
    purpose: Purpose
    screen: Screen
    stop: Interrupt

    def spend(self) -> Report:
        """Finish what was cut off, then plan anew and read."""
        earlier: list[Report] = []
        remove_leftovers()
        for folder in [] if self.config.dry_run else unfinished(self.home):
            report = self._finish(folder)
            if report and (report.message or self._was_the_work(report)):
                return replace(report, earlier=tuple(earlier))
            if report:
                self.screen.finished(report)
                earlier.append(report)
            self._heed_signals()
        plan = _plan(self.config, self.home, self.purpose, self.screen)
        self._heed_signals()
        if self.config.dry_run or not len(plan.manifest.images):
            return replace(_idle_report(plan, dry_run=self.config.dry_run), earlier=tuple(earlier))
        folder = WorkFolder(path=self.home.work / plan.manifest.run_id)
        with Lease(folder.path, plan.manifest.run_id):
            write_manifest(self.home, plan.manifest)
            report = self._execute(folder, plan.manifest)
        return replace(report, retried_later=plan.retried_later, earlier=tuple(earlier))

    def _was_the_work(self, report: Report) -> bool:
        """Whether a finished run is all that this command asks for: planned again it would be repeated."""
        purpose = self.purpose
        return (purpose.reread or purpose.retry_failed) and report.purpose.key == purpose.key

    def _heed_signals(self) -> None:
        """A signal that came while a run was finished ends the night before the next one begins."""
        if self.stop.requested:
            raise KeyboardInterrupt

    def _finish(self, folder: WorkFolder) -> Report | None:
        """Bring an unfinished run of these sources to its end; None when it is not ours, or is abandoned.

        The lease comes first, and the table is opened under it: only then is it certain what was committed.
        """
        manifest = read_manifest(folder)
        if manifest and manifest.purpose.sources != self.purpose.sources:
            return None
        if manifest is None and current_owner(folder.path):
            return None  # not ours to understand, and alive
        run_id = folder.path.name
        with Lease(folder.path, run_id):
            manifest = read_manifest(folder)
            table = ReadingsTable.open(self.home)
            committed = table is not None and table.holds_run(run_id)
            if manifest and (committed or manifest.purpose.key == self.purpose.key):
                self.screen.note(f"run {run_id} was cut off: finishing it first")
                return self._execute(folder, manifest)
            if folder.manifest.is_file():
                reason = "had another model or other settings" if manifest else "is of another version"
                self.screen.note(f"run {run_id} was cut off and {reason}: abandoned")
            abandon(self.home, folder, table)
        return None

    def _execute(self, folder: WorkFolder, manifest: Manifest) -> Report:
        """Under its lease: read what is missing, prove the books, commit once, record, clean up."""
        with self.stop.graceful():
            writer = UnitWriter(folder, manifest)
            self.screen.started(manifest, writer.tally)
            before, began = writer.tally.rows, time.monotonic()
            ending = _COMMITTED
            if not ReadingsTable.open_or_create(self.home).holds_run(manifest.run_id):
                job = Job(
                    manifest=manifest,
                    model=self.model,
                    engine=self.config.engine,
                    address=self.config.address,
                    settings=self.config.settings,
                )
                ending = Reading(job, writer, self.screen, self.stop).read()
                if ending.message and not writer.finished:
                    return _report(manifest, _NOTHING, None, ending)  # nothing to end: it can be resumed
            images_per_s = (writer.tally.rows - before) / (time.monotonic() - began)
            report = _settle(self.home, folder, manifest, sorted(writer.finished), ending)
            folder.remove()
        return replace(report, images_per_s=images_per_s)


_COMMITTED = Ending(outcome=Outcome.INTERRUPTED)
"""Of a run that was committed before: if rows are missing it was interrupted, and this night goes on."""
_NOTHING = Committed(version=None, tally=Tally(), taken_by_other_runs=0)


def _plan(config: RunConfig, home: Home, purpose: Purpose, screen: Screen) -> Plan:
    table = ReadingsTable.open(home) if config.dry_run else ReadingsTable.open_or_create(home)
    screen.note(f"listing {', '.join(config.source)}")
    listing = store.list_images(
        config.source, include=config.include, exclude=config.exclude, leave_out=home.path
    )
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
    if ending is _COMMITTED or outcome is Outcome.COMPLETE:
        return None
    if outcome is Outcome.LIMITED:
        return f"--limit {purpose.limit} was reached; run again to go on"
    if outcome is Outcome.INTERRUPTED:
        repeats = anything and (purpose.reread or purpose.retry_failed)
        return f"{ending.message}; the same command " + ("starts over" if repeats else "goes on")
    return ending.message

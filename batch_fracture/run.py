"""`batch-fracture run`: resume or plan, read, prove, commit, record."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from batch_fracture import store
from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.cluster import remove_leftovers
from batch_fracture.config import RunConfig
from batch_fracture.deadline import stop_at
from batch_fracture.endings import LATE
from batch_fracture.engines import check_name
from batch_fracture.explain import Watch, explained
from batch_fracture.failpoints import step
from batch_fracture.interrupt import Interrupt
from batch_fracture.lease import Lease, current_owner
from batch_fracture.plan import Plan, plan_run
from batch_fracture.privacy import PseudonymKey, read_key
from batch_fracture.reading import Job, Reading
from batch_fracture.results.commit import abandon
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.manifest import Manifest, Purpose
from batch_fracture.results.records import Outcome
from batch_fracture.results.table import ReadingsTable
from batch_fracture.results.units import UnitWriter
from batch_fracture.results.work import WorkFolder, read_manifest, remove_rests, unfinished, write_manifest
from batch_fracture.screen import Screen
from batch_fracture.settle import COMMITTED, idle_report, nothing_finished, settle
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
    ends = stop_at(config.deadline, config.max_runtime)
    model = open_bundle(config.model)
    key = read_key(config.pseudonym_key_file) if config.pseudonym_key_file else None
    purpose = config.purpose(model, key)
    check_name(config.engine)
    home = find_home(config.results, create=True, access=config.access)
    if key and key.warning:
        screen.note(key.warning)
    with Interrupt(screen.note, ends) as stop:
        night = Night(
            config=config, home=home, model=model, purpose=purpose, key=key, screen=screen, stop=stop
        )
        report = night.spend()
    seconds = time.monotonic() - began
    if config.explain and night.watch.images:
        report = replace(report, explain=explained(night.watch, total_s=seconds))
    return replace(report, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Night:
    """Everything that the steps of one run have in common."""

    config: RunConfig
    home: Home
    model: Bundle
    purpose: Purpose
    key: PseudonymKey | None
    screen: Screen
    stop: Interrupt
    watch: Watch = field(default_factory=Watch)

    def spend(self) -> Report:
        """Finish what was cut off, then plan anew and read."""
        earlier: list[Report] = []
        remove_leftovers()
        if not self.config.dry_run:
            remove_rests(self.home)
        for work in [] if self.config.dry_run else unfinished(self.home):
            report = self._finish(work)
            if report and (report.message or self._was_the_work(report)):
                return replace(report, earlier=tuple(earlier))
            if report:
                self.screen.finished(report)
                earlier.append(report)
            self._heed_signals()
        report = self._read_what_is_new()
        return replace(report, earlier=tuple(earlier))

    def _read_what_is_new(self) -> Report:
        plan = self._plan()
        self._heed_signals()
        if self.config.dry_run or not len(plan.manifest.images):
            return idle_report(plan, dry_run=self.config.dry_run)
        if self.stop.late:
            return replace(
                idle_report(plan), outcome=Outcome.DEADLINE, message=f"{LATE.message}; nothing was begun"
            )
        work = WorkFolder(home=self.home, run_id=plan.manifest.run_id)
        with Lease(work) as lease:
            write_manifest(self.home, plan.manifest)
            report = self._execute(work, plan.manifest, lease)
        return replace(report, retried_later=plan.retried_later)

    def _was_the_work(self, report: Report) -> bool:
        """Whether a finished run is all that this command asks for: planned again it would be repeated."""
        purpose = self.purpose
        is_done = not report.books.not_reached
        return is_done and (purpose.reread or purpose.retry_failed) and report.purpose.key == purpose.key

    def _heed_signals(self) -> None:
        """A signal that came while a run was finished ends the night before the next one begins."""
        if self.stop.signalled:
            raise KeyboardInterrupt

    def _finish(self, work: WorkFolder) -> Report | None:
        """Bring an unfinished run of these sources to its end; None when it is not ours, or is abandoned.

        The lease comes first, and the table is opened under it: only then is it certain what was committed.
        """
        manifest, owner = read_manifest(work), current_owner(work)
        if manifest and (manifest.purpose.sources, manifest.purpose.s3_endpoint) != (
            self.purpose.sources,
            self.purpose.s3_endpoint,
        ):
            return None
        if owner and (manifest is None or manifest.purpose.model_digest != self.purpose.model_digest):
            return None  # alive, and other work than this
        with Lease(work) as lease:
            manifest = read_manifest(work)
            table = ReadingsTable.open(self.home)
            if manifest is None:
                if work.has_manifest:
                    self.screen.note(
                        f"run {work.run_id} was cut off; this version or user cannot read its manifest; to "
                        f"give it up: batch-fracture runs --results {self.home.uri} abandon {work.run_id}"
                    )
                return None
            reason = self._why_not(manifest, table)
            if reason is None:
                self.screen.note(f"run {work.run_id} was cut off: finishing it first")
                return self._execute(work, manifest, lease)
            self.screen.note(f"run {work.run_id} was cut off and {reason}: abandoned")
            abandon(work)
        return None

    def _why_not(self, manifest: Manifest, table: ReadingsTable | None) -> str | None:
        """Why a run that was cut off cannot be finished now; None when it can."""
        if table is not None and table.holds_run(manifest.run_id):
            return None
        if table is not None and table.gave_up(manifest.run_id):
            return "had been given up"
        if manifest.base_version > (table.version if table else 0):
            return "was planned against a newer table than this one"
        if manifest.purpose.key != self.purpose.key:
            return "had another model or other settings"
        return None

    def _execute(self, work: WorkFolder, manifest: Manifest, lease: Lease) -> Report:
        """Under its lease: read what is missing, prove the books, commit once, record, clean up."""
        with self.stop.graceful():
            writer = UnitWriter(work, manifest, self.key)
            self.screen.started(manifest, writer.tally)
            before, began = writer.tally.rows, time.monotonic()
            ending = COMMITTED
            if not ReadingsTable.open_or_create(self.home).holds_run(manifest.run_id):
                job = Job(
                    manifest=manifest,
                    model=self.model,
                    engine=self.config.engine,
                    address=self.config.address,
                    settings=self.config.settings,
                    access=self.config.access,
                )
                ending = Reading(job, writer, self.screen, self.stop, self.watch).read()
                if ending.message and not writer.finished:
                    return nothing_finished(manifest, ending)  # nothing to end: it can be resumed
            images_per_s = (writer.tally.rows - before) / (time.monotonic() - began)
            lease.check()
            with self.watch.time("commit"):
                report = settle(work, manifest, sorted(writer.finished), ending)
            work.remove()
        return replace(report, images_per_s=images_per_s)

    def _plan(self) -> Plan:
        config, home = self.config, self.home
        table = ReadingsTable.open(home) if config.dry_run else ReadingsTable.open_or_create(home)
        self.screen.note(f"listing {', '.join(self.purpose.shown_sources)}")
        with step("plan"), self.watch.time("plan"):
            listing = store.list_images(
                config.source,
                include=config.include,
                exclude=config.exclude,
                leave_out=home.path,
                access=config.access,
                secret=self.key is not None,
            )
            plan = plan_run(listing, table, self.purpose, read_date=datetime.now(UTC).date(), key=self.key)
        is_all_new = bool(len(listing)) and not plan.manifest.unchanged and not self.config.reread
        if is_all_new and table and table.files() and table.newest_key_id() != self.purpose.pseudonym_key_id:
            self.screen.note("the table's rows are named under another key, or none: all is read anew")
        return plan

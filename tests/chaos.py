"""`make chaos`: SIGKILL at random moments, over many nights, on disk and on S3; then the books must balance.

A case is a night on a changed archive: the command is started and killed until it had its kills; then
it may finish. Half of the kills wait for a file to come or to go (a unit, a copy, a log entry, a run record,
the manifest): those steps are over in milliseconds.

What is drawn follows from `--seed`; when a kill meets the run is up to the machine, so to repeat a failing
case may take more than one try. On a violation all files are kept; of the S3 server's the results.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from chaos_archive import Archive
from chaos_books import Counts, check
from chaos_places import BucketPlace, Committed, DiskPlace, Place, committed
from chaos_site import Site
from s3_server import credentials, serve_s3

KINDS = ("disk-disk", "s3-s3", "disk-s3", "s3-disk")
"""Where the archive is, and where its results go."""
BUCKET = "chaos"
NO_RAY_TIMES = 5


def main() -> int:
    """All cases; 1 when a row was lost or doubled, or anything else is not as it must be."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the S3 server ends too
    folder = Path(tempfile.mkdtemp(prefix="bf-chaos-"))
    bundle = folder / "tiny"
    writer = [sys.executable, Path(__file__).with_name("tiny.py"), bundle]
    subprocess.run(writer, check=True, stdout=subprocess.DEVNULL)
    print(
        f"seed {options.seed}: {options.cases} cases of {options.kills} kills or more, in {folder}",
        flush=True,
    )
    total, began = Counts(), time.monotonic()
    with _served(options.kinds) as env:
        sites = [_site(kind, folder / kind, bundle, env, options.seed) for kind in options.kinds]
        for case in range(options.cases):
            site = sites[case % len(sites)]
            counts = night(site, options.kills)
            total += counts
            print(f"case {case:>2} {site.kind:<9} {_line(counts)}", flush=True)
            if counts.violations:
                _keep(site)
    print(f"\n{_line(total)}\nin {time.monotonic() - began:.0f} s")
    if total.violations:
        print(
            f"to repeat: make chaos ARGS={shlex.quote(f'--seed {options.seed} ' + shlex.join(sys.argv[1:]))}"
        )
        print(f"everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(total.violations))


def night(site: Site, kills: int) -> Counts:
    """One case: change the archive, kill, finish, check; then one more run, which must commit nothing."""
    counts, before = Counts(), committed(site.results)
    site.archive.change(add=site.rng.randint(300, 700), rewrite=30, delete=30)
    while counts.kills < kills:
        kill = site.draw_kill()
        code = site.run(kill)
        print(f"    {site.kind}: {kill} -> {code}", flush=True)
        if code == -9:
            counts.kills += 1
            continue
        if code and site.had_no_ray():
            counts.no_ray += 1
            continue
        found, before = _ended(site, before, code)
        counts += found
        if code:
            return counts
        site.archive.change(add=site.rng.randint(0, 250), rewrite=10, delete=10)
    for _ in range(2):
        found, before = _ended(site, before, _run_to_the_end(site, counts))
        counts += found
    if found.committed or site.said().get("outcome") != "nothing_to_do":
        counts.problems.append(f"a further run said {site.said()} and committed {found.committed} versions")
    counts.problems += [f"left by Ray: {left}" for left in site.leftovers()]
    return counts


def _run_to_the_end(site: Site, counts: Counts) -> int:
    """A run that nobody kills; tried again where Ray did not start in time."""
    for _ in range(NO_RAY_TIMES):
        code = site.run(None)
        if not (code and site.had_no_ray()):
            break
        counts.no_ray += 1
    return code


def _ended(site: Site, before: Committed, code: int) -> tuple[Counts, Committed]:
    """Check a run that ended by itself."""
    found, now = check(site.results, site.archive.expected, before)
    found.runs = 1
    if code:
        found.problems.append(f"the command ended with {code}: {site.complaint()}")
    return found, now


def _line(counts: Counts) -> str:
    verdict = "FAILED" if counts.violations else "ok"
    problems = "".join(f"\n    {problem}" for problem in counts.problems)
    return (
        f"{verdict}: {counts.kills} kills, {counts.runs} runs ended, {counts.committed} commits; "
        f"rows lost {counts.lost}, doubled {counts.doubled}, extra {counts.extra}, wrong {counts.wrong}; "
        f"earlier files changed {counts.changed}; other problems {len(counts.problems)}; "
        f"litter {counts.litter}, starts without Ray {counts.no_ray}{problems}"
    )


@contextlib.contextmanager
def _served(kinds: list[str]) -> Iterator[dict[str, str]]:
    """The environment that reaches an S3 server, where one is needed."""
    if not any("s3" in kind for kind in kinds):
        yield {}
        return
    with serve_s3() as (endpoint, _pid):
        yield credentials(endpoint)


def _site(kind: str, folder: Path, bundle: Path, env: dict[str, str], seed: int) -> Site:
    folder.mkdir()
    rng = random.Random(f"{seed} {kind}")
    places = [
        _place(where, folder, name, env) for where, name in zip(kind.split("-"), ("a", "r"), strict=True)
    ]
    archive = Archive(places[0], rng)
    env = {**os.environ, **env, "XDG_STATE_HOME": str(folder / "state")}
    return Site(kind=kind, archive=archive, results=places[1], bundle=bundle, folder=folder, env=env, rng=rng)


def _place(where: str, folder: Path, name: str, env: dict[str, str]) -> Place:
    if where == "disk":
        return DiskPlace(folder / name)
    import boto3

    client = boto3.client(
        "s3", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    return BucketPlace(client, BUCKET, f"{folder.name}/{name}")


def _keep(site: Site) -> None:
    """Copy results out of the bucket, whose server is about to end."""
    if not isinstance(site.results, DiskPlace):
        kept = DiskPlace(Path(tempfile.mkdtemp(prefix="kept-", dir=site.folder)))
        for name in site.results.versions():
            kept.put(name, site.results.get(name))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="SIGKILL at random moments; then the books must balance.")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--cases", type=int, default=20, help="nights")
    parser.add_argument("--kills", type=int, default=11, help="in each of them, at least")
    parser.add_argument(
        "--kinds", type=lambda text: text.split(","), default=list(KINDS), help=", ".join(KINDS)
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import pytest

from batch_fracture import lease
from batch_fracture.errors import WorkHeldError, WriteError
from batch_fracture.lease import Lease, Owner, current_owner
from batch_fracture.results.home import Home
from batch_fracture.results.work import WorkFolder


@pytest.fixture
def work(home: Home) -> WorkFolder:
    return WorkFolder(home=home, run_id="r1")


def put(work: WorkFolder, number: int, owner: Owner) -> None:
    content = json.dumps(asdict(owner)).encode()
    work.home.folder.put_once(f"{work.path}/lease-{number:06d}.json", content)


def test_holds_while_the_block_runs_and_names_the_owner(work: WorkFolder) -> None:
    with Lease(work):
        owner = current_owner(work)
        assert owner is not None
        assert owner.pid == os.getpid()
        with pytest.raises(WorkHeldError, match=rf"run r1 .*process {os.getpid()} on"), Lease(work):
            pass
    assert current_owner(work) is None
    assert work.home.folder.files(work.path) == []


def test_a_dead_owner_on_this_host_is_replaced_at_once(work: WorkFolder) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    put(work, 7, replace(Owner.myself(), pid=child.pid))
    assert current_owner(work) is None
    with Lease(work):
        assert work.home.folder.children(work.path) >= {"lease-000008.json"}


def test_a_reused_pid_is_not_the_owner(work: WorkFolder) -> None:
    put(work, 1, replace(Owner.myself(), started=Owner.myself().started - 1))
    assert current_owner(work) is None


@pytest.mark.parametrize("where", ["host", "boot_id", "pid_namespace"])
def test_an_owner_elsewhere_holds_until_expiry(work: WorkFolder, where: str) -> None:
    elsewhere = replace(Owner.myself(), pid=1, **{where: "elsewhere"})
    put(work, 1, elsewhere)
    assert current_owner(work) == elsewhere
    put(work, 2, replace(elsewhere, renewed=time.time() - lease.EXPIRES_AFTER_S - 1))
    assert current_owner(work) is None


def test_a_lease_is_renewed(work: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.01)
    with Lease(work):
        first = current_owner(work)
        deadline = time.monotonic() + 10
        while current_owner(work) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert current_owner(work) != first


def test_a_renewal_that_fails_is_tried_again(work: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.01)
    folder_put, tries = work.home.folder.put, []

    def put_at_the_third_try(*arguments: Any) -> None:
        tries.append(arguments)
        if len(tries) < 3:
            raise WriteError("disk full")
        folder_put(*arguments)

    monkeypatch.setattr(work.home.folder, "put", put_at_the_third_try)
    with Lease(work):
        deadline = time.monotonic() + 10
        while len(tries) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tries) >= 4


def test_an_owner_that_was_not_heard_of_learns_that_it_lost_the_lease(work: WorkFolder) -> None:
    with Lease(work) as mine:
        mine.check()
        put(work, 2, replace(Owner.myself(), host="elsewhere"))
        with pytest.raises(WorkHeldError, match="on elsewhere"):
            mine.check()


def test_of_two_takers_of_a_dead_lease_one_wins(work: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    put(work, 1, replace(Owner.myself(), started=1))
    newest, looked = lease._newest, []

    def look_then_lose(where: WorkFolder) -> tuple[int, Owner] | None:
        found = newest(where)
        if not looked:
            looked.append(True)
            put(work, 2, replace(Owner.myself(), host="elsewhere"))
        return found

    monkeypatch.setattr(lease, "_newest", look_then_lose)
    with pytest.raises(WorkHeldError, match="on elsewhere"), Lease(work):
        pass


def test_a_clock_that_is_ahead_holds_nothing_for_ever(work: WorkFolder) -> None:
    put(work, 1, replace(Owner.myself(), host="elsewhere", renewed=time.time() + 10 * lease.EXPIRES_AFTER_S))
    assert current_owner(work) is None


def test_a_lease_of_another_version_is_understood_as_far_as_it_goes(work: WorkFolder) -> None:
    said = {"host": "elsewhere", "renewed": time.time(), "mood": "good"}
    work.home.folder.put_once(f"{work.path}/lease-000001.json", json.dumps(said).encode())
    owner = current_owner(work)
    assert owner is not None
    assert str(owner) == "process 0 on elsewhere"

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from batch_fracture import lease
from batch_fracture.errors import WorkHeldError, WriteError
from batch_fracture.lease import Lease, Owner, current_owner


def put(folder: Path, number: int, owner: Owner) -> None:
    (folder / f"lease-{number:06d}.json").write_text(json.dumps(asdict(owner)))


def test_holds_while_the_block_runs_and_names_the_owner(tmp_path: Path) -> None:
    with Lease(tmp_path, "r1"):
        owner = current_owner(tmp_path)
        assert owner is not None
        assert owner.pid == os.getpid()
        with pytest.raises(WorkHeldError, match=rf"run r1 .*process {os.getpid()} on"), Lease(tmp_path, "r1"):
            pass
    assert current_owner(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_dead_owner_on_this_host_is_replaced_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    put(tmp_path, 7, replace(Owner.myself(), pid=child.pid))
    assert current_owner(tmp_path) is None
    with Lease(tmp_path, "r1"):
        assert (tmp_path / "lease-000008.json").exists()


def test_a_reused_pid_is_not_the_owner(tmp_path: Path) -> None:
    put(tmp_path, 1, replace(Owner.myself(), started=Owner.myself().started - 1))
    assert current_owner(tmp_path) is None


def test_another_host_holds_until_expiry(tmp_path: Path) -> None:
    elsewhere = replace(Owner.myself(), host="elsewhere", pid=1)
    put(tmp_path, 1, elsewhere)
    assert current_owner(tmp_path) == elsewhere
    put(tmp_path, 2, replace(elsewhere, renewed=time.time() - lease.EXPIRES_AFTER_S - 1))
    assert current_owner(tmp_path) is None


def test_a_lease_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.01)
    with Lease(tmp_path, "r1"):
        first = current_owner(tmp_path)
        deadline = time.monotonic() + 10
        while current_owner(tmp_path) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert current_owner(tmp_path) != first


def test_a_renewal_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.01)
    put_whole, tries = lease.durable.put, []

    def put_at_the_third_try(*arguments: Any) -> None:
        tries.append(arguments)
        if len(tries) < 3:
            raise WriteError("disk full")
        put_whole(*arguments)

    monkeypatch.setattr(lease.durable, "put", put_at_the_third_try)
    with Lease(tmp_path, "r1"):
        deadline = time.monotonic() + 10
        while len(tries) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tries) >= 4

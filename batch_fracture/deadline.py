"""`--deadline 06:00` and `--max-runtime 6h`: when a night ends."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from batch_fracture.errors import ConfigError

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_SPAN = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def stop_at(deadline: str | None, max_runtime: str | None, *, now: datetime | None = None) -> datetime | None:
    """The moment after which no work is begun, in this machine's time zone.

    Args:
        deadline: HH:MM on this machine's clock, the next one to come.
        max_runtime: hours, minutes and seconds from now, such as `6h`, `90m` or `1h30m`.
        now: another start than the present.

    Returns:
        A moment, or None when neither is given.

    Raises:
        ConfigError: one of them cannot be understood.
    """
    now = now or datetime.now().astimezone()
    if deadline is not None:
        return _next(deadline, now)
    if max_runtime is None:
        return None
    found = _SPAN.fullmatch(max_runtime.replace(" ", ""))
    try:
        hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
        span = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        ends = now + span
    except (OverflowError, ValueError):  # beyond the year 9999, or more digits than Python converts
        span = timedelta()
    if not span:
        raise ConfigError(f"--max-runtime {max_runtime!r}: name a time such as 6h, 90m or 1h30m")
    return ends


def _next(deadline: str, now: datetime) -> datetime:
    found = _CLOCK.fullmatch(deadline)
    if found is None:
        raise ConfigError(f"--deadline {deadline!r}: name a time of day such as 06:00")
    local = now.replace(tzinfo=None)
    then = local.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    if then <= local:
        then += timedelta(days=1)
    return then.astimezone()  # with the offset that holds then

"""The body regions that are drawn: bones and flesh as tapered tubes, in millimetres of the field of view."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""x to the right, y down, mm."""


@dataclass(frozen=True, kw_only=True)
class Bone:
    """A tube from `start` to `end`: `head` and `foot` are the radii of its ends, `shaft` that between."""

    start: Point
    end: Point
    shaft: float
    head: float
    foot: float
    cortex: float = 2.5
    """Thickness of the shaft's wall."""
    bow: float = 0.0
    """How far the middle stands off the straight line."""
    depth: float = 1.0
    """Extent along the beam, as a share of that of a round tube."""
    rounding: float = 0.5
    """Depth of the rounded ends, as a share of their radius."""
    notch: float = 0.0
    """Depth of the notch that parts the foot into two condyles."""

    @property
    def filling(self) -> float:
        """Share of spongy bone in the ends: dense in small bones, loose in large ones."""
        return 0.32 - 0.004 * min(40.0, max(self.head, self.foot))

    @property
    def length(self) -> float:
        """From start to end, mm; the rounded ends reach beyond."""
        return math.dist(self.start, self.end)


@dataclass(frozen=True, kw_only=True)
class Flesh:
    """Soft tissue around a line, tapering from radius `head` to `foot`."""

    start: Point
    end: Point
    head: float
    foot: float


@dataclass(frozen=True, kw_only=True)
class Region:
    """One examination."""

    name: str
    """Body Part Examined (0018,0015), a defined term of DICOM PS3.16 annex L."""
    field_mm: Point
    """Width and height of the field of view."""
    bones: tuple[Bone, ...]
    breakable: tuple[int, ...]
    """Indices of the bones that may break; one that stands twice breaks twice as often."""
    flesh: tuple[Flesh, ...]
    break_within: Point = (0.3, 0.75)
    """Shares of a bone's length between which it may break."""
    flesh_gain: float = 1.0
    """Thin parts are exposed with a softer beam, which soft tissue stops better."""


def _bone(start: Point, end: Point, radii: tuple[float, float, float], **shape: float) -> Bone:
    """A bone from the radii of its shaft, head and foot."""
    shaft, head, foot = radii
    return Bone(start=start, end=end, shaft=shaft, head=head, foot=foot, **shape)


def _chain(points: Sequence[Point], radii: Sequence[float]) -> list[Bone]:
    """Bones that meet in joints, from one point to the next, as in a finger."""
    bones = []
    for (start, end), radius in zip(itertools.pairwise(points), radii, strict=True):
        length = math.dist(start, end)
        ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        gap = 1.0 + 0.7 * radius
        near = (start[0] + gap * ux, start[1] + gap * uy)
        far = (end[0] - gap * ux, end[1] - gap * uy)
        bones.append(_bone(near, far, (radius, 1.5 * radius, 1.35 * radius), cortex=1.7))
    return bones


def _pebbles(*discs: tuple[float, float, float], depth: float = 1.0) -> list[Bone]:
    """Short round bones: x, y and radius of each."""
    return [
        _bone((x - 0.2 * r, y), (x + 0.2 * r, y), (r, r, r), cortex=1.2, rounding=0.8, depth=depth)
        for x, y, r in discs
    ]


def _sleeve(*rings: tuple[float, float, float]) -> list[Flesh]:
    """Flesh along a line: x, y and radius at each of its points."""
    return [
        Flesh(start=(one[0], one[1]), end=(two[0], two[1]), head=one[2], foot=two[2])
        for one, two in itertools.pairwise(rings)
    ]


def _hand() -> Region:
    rays: list[tuple[list[Point], list[float]]] = [
        ([(70, 168), (45, 140), (28, 112), (18, 88)], [4.2, 3.6, 3.0]),
        ([(77, 152), (69, 104), (63, 66), (60, 44), (58, 26)], [3.9, 3.3, 2.7, 2.1]),
        ([(89, 150), (87, 100), (86, 58), (86, 32), (86, 13)], [3.9, 3.4, 2.8, 2.2]),
        ([(100, 153), (104, 106), (108, 66), (110, 42), (111, 24)], [3.5, 3.1, 2.6, 2.1]),
        ([(109, 158), (119, 116), (127, 86), (132, 68), (135, 52)], [3.4, 2.8, 2.3, 1.9]),
    ]
    fingers = [_sleeve((*points[1], 9.5), (*points[-1], 7.0)) for points, _ in rays]
    palm = [_sleeve((*points[0], 19.0), (*points[1], 14.0)) for points, _ in rays]
    carpals = [(75, 163, 6.5), (86, 160, 6.5), (97, 162, 7.0), (107, 166, 6.0)]
    carpals += [(78, 175, 7.5), (92, 174, 7.0), (104, 177, 6.5)]
    return Region(
        name="HAND",
        field_mm=(180, 220),
        bones=(
            *itertools.chain.from_iterable(_chain(points, radii) for points, radii in rays),
            *_pebbles(*carpals),
            _bone((82, 189), (80, 270), (7.5, 13.5, 8.0), rounding=0.35),
            _bone((106, 191), (105, 270), (6.0, 7.5, 6.0)),
        ),
        breakable=(0, 3, 7, 11, 15, 4, 16),
        flesh=(*itertools.chain.from_iterable(fingers + palm), *_sleeve((92, 165, 29), (93, 270, 31))),
        flesh_gain=1.5,
    )


def _forearm() -> Region:
    carpals = [(58, 278, 8.0), (72, 276, 7.5), (84, 279, 6.5), (62, 292, 7.0), (75, 290, 7.0), (87, 292, 6.5)]
    return Region(
        name="FOREARM",
        field_mm=(150, 320),
        bones=(
            _bone((60, 54), (58, 261), (6.8, 10.0, 15.5), cortex=3.2, bow=5.0, rounding=0.35),
            _bone((86, 46), (88, 258), (6.0, 12.5, 7.5), cortex=3.0, bow=-2.0),
            _bone((74, -70), (75, 34), (11.0, 11.0, 25.0), cortex=4.0, rounding=0.45, notch=5.0, depth=0.8),
            *_pebbles(*carpals),
            _bone((56, 304), (48, 350), (4.2, 6.0, 6.0)),
            _bone((68, 302), (66, 352), (4.0, 6.0, 6.0)),
            _bone((80, 302), (82, 352), (3.8, 5.8, 6.0)),
            _bone((90, 304), (97, 350), (3.6, 5.4, 6.0)),
        ),
        breakable=(0, 0, 1),
        flesh=(*_sleeve((74, -60, 42), (74, 60, 46), (73, 250, 29), (73, 360, 38)),),
    )


def _knee() -> Region:
    return Region(
        name="KNEE",
        field_mm=(190, 240),
        bones=(
            _bone((96, -120), (95, 104), (15.0, 15.0, 37.0), cortex=5.5, notch=13.0),
            _bone((95, 132), (93, 340), (14.0, 36.0, 14.0), cortex=5.0, rounding=0.2),
            _bone((129, 154), (126, 330), (6.0, 9.0, 6.0), cortex=2.6),
            *_pebbles((93, 82, 20.0), depth=0.35),
        ),
        breakable=(1, 1, 2),
        break_within=(0.2, 0.42),
        flesh=(*_sleeve((96, -60, 72), (95, 100, 58), (97, 320, 60)),),
        flesh_gain=0.7,
    )


def _leg() -> Region:
    return Region(
        name="LEG",
        field_mm=(180, 400),
        bones=(
            _bone((86, 44), (88, 340), (12.0, 31.0, 20.0), cortex=5.0, bow=-3.0, rounding=0.22),
            _bone((115, 66), (113, 350), (6.0, 9.5, 10.0), cortex=2.8, bow=3.0),
            _bone((88, -110), (87, 18), (15.0, 15.0, 33.0), cortex=5.0, notch=12.0),
            _bone((86, 364), (90, 378), (18.0, 18.0, 17.0)),
            _bone((88, 398), (98, 430), (17.0, 19.0, 18.0)),
        ),
        breakable=(0, 0, 1),
        flesh=(*_sleeve((90, -60, 60), (90, 20, 56), (95, 130, 58), (95, 330, 34), (93, 460, 46)),),
        flesh_gain=0.7,
    )


def _humerus() -> Region:
    torso = _sleeve((190, -10, 70), (215, 220, 62))
    return Region(
        name="HUMERUS",
        field_mm=(190, 360),
        bones=(
            _bone((96, 46), (92, 322), (10.5, 24.0, 26.0), cortex=4.2, bow=-3.0, rounding=0.6, notch=6.0),
            _bone((84, 344), (84, 450), (7.0, 11.0, 8.0), cortex=3.2),
            _bone((104, 340), (106, 450), (7.0, 12.0, 8.0), cortex=3.2),
            _bone((138, 26), (158, 150), (7.0, 15.0, 6.0), cortex=1.6),
            _bone((122, 6), (220, -6), (6.0, 8.0, 7.0), cortex=2.0, bow=-5.0),
        ),
        breakable=(0,),
        flesh=(*_sleeve((96, 30, 54), (93, 180, 52), (93, 450, 44)), *torso),
        flesh_gain=0.7,
    )


REGIONS = (_hand(), _forearm(), _knee(), _leg(), _humerus())
"""Every region that can be drawn."""

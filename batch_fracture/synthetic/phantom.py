"""Draws radiograph-like phantoms from simple anatomy: tubes of cortical bone in an envelope of soft tissue.

Shape suffixes: H rows, W columns. Lengths are millimetres until `draw` turns them into pixels. What is drawn
is the attenuation along the beam, so that rims, marrow and overlapping fragments look as X-rays show them.
No patient's picture is in any of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from batch_fracture.synthetic import exposure
from batch_fracture.synthetic.anatomy import Bone, Flesh, Point, Region
from batch_fracture.synthetic.exposure import Field

_BONE_PER_MM = 0.030
_FLESH_PER_MM = 0.0065
"""Attenuation, chosen for looks: cortical bone stops several times what soft tissue stops."""


@dataclass(frozen=True, kw_only=True)
class Fracture:
    """A break across one bone, and how far its far fragment moved."""

    bone: int
    """Index into `Region.bones`."""
    place: float
    """Share of the bone's length."""
    slope: float
    """Tangent of the line's angle: 0 is transverse."""
    gap_mm: float
    shift_mm: float
    angle: float
    """Radians by which the far fragment is turned."""
    phases: tuple[float, float, float]
    """Of the waves that make the line jagged."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How the region lies on the detector."""

    turn: float
    """Radians."""
    offset_mm: Point
    marker: str
    """`L` or `R`: the lead letter; a left side is drawn mirrored."""
    lateral: bool = False
    """Seen from the side, where bones overlap."""


def random_pose(rng: np.random.Generator, *, marker: str, lateral: bool = False) -> Pose:
    """A slightly turned and shifted region."""
    return Pose(
        marker=marker,
        lateral=lateral,
        turn=float(rng.normal(0.0, 0.06)),
        offset_mm=(float(rng.normal(0.0, 4.0)), float(rng.normal(0.0, 3.0))),
    )


def random_fracture(rng: np.random.Generator, region: Region) -> Fracture:
    """A hairline or a displaced break of one of the bones that the region names as breakable."""
    displaced = bool(rng.random() < 0.6)
    bone = int(rng.choice(region.breakable))
    width = region.bones[bone].shaft
    return Fracture(
        bone=bone,
        place=float(rng.uniform(*region.break_within)),
        slope=float(rng.normal(0.0, 0.5)),
        gap_mm=float(rng.uniform(0.9, 1.6) if displaced else rng.uniform(0.5, 0.8)),
        shift_mm=float(rng.choice([-1, 1]) * rng.uniform(0.3, 0.9) * width) if displaced else 0.0,
        angle=float(rng.normal(0.0, 0.12)) if displaced else 0.0,
        phases=(float(rng.uniform(0, 6)), float(rng.uniform(0, 6)), float(rng.uniform(0, 6))),
    )


def draw(
    region: Region, pose: Pose, fracture: Fracture | None, rng: np.random.Generator, *, pixels_per_mm: float
) -> Field:
    """Draw one exposure.

    Args:
        region: the anatomy.
        pose: how it lies.
        fracture: the break, if any.
        rng: of noise and texture.
        pixels_per_mm: resolution of the detector.

    Returns:
        float32 (H, W) in [0, 1], bone bright.
    """
    height, width = (round(side * pixels_per_mm) for side in region.field_mm[::-1])
    posed = _posed(region, pose)
    x_W = (np.arange(width, dtype=np.float32) + 0.5) / pixels_per_mm
    y_H1 = ((np.arange(height, dtype=np.float32) + 0.5) / pixels_per_mm)[:, None]
    texture_HW = exposure.texture(rng, height, width, pixels_per_mm)
    bone_HW = np.zeros((height, width), np.float32)
    for number, bone in enumerate(posed.bones):
        rows, columns = _box(bone, pixels_per_mm, height, width)
        broken = fracture if fracture is not None and fracture.bone == number else None
        path = _broken_path(bone, broken, x_W[columns], y_H1[rows], texture_HW[rows, columns])
        bone_HW[rows, columns] += path
    streaks_HW = 1.0 + 0.06 * exposure.smooth_noise(rng, height, width, 14)
    flesh_HW = _flesh(posed.flesh, x_W, y_H1) * streaks_HW
    stopped_HW = _BONE_PER_MM * bone_HW + _FLESH_PER_MM * region.flesh_gain * flesh_HW
    return exposure.expose(stopped_HW, rng, marker=pose.marker, pixels_per_mm=pixels_per_mm)


def _posed(region: Region, pose: Pose) -> Region:
    """The region turned, shifted, mirrored for the left side, and narrowed for the lateral view."""
    centre_x, centre_y = region.field_mm[0] / 2, region.field_mm[1] / 2
    cosine, sine = math.cos(pose.turn), math.sin(pose.turn)
    mirror = (-1.0 if pose.marker == "L" else 1.0) * (0.45 if pose.lateral else 1.0)

    def move(point: Point) -> Point:
        x, y = mirror * (point[0] - centre_x), point[1] - centre_y
        return (
            centre_x + cosine * x - sine * y + pose.offset_mm[0],
            centre_y + sine * x + cosine * y + pose.offset_mm[1],
        )

    bones = tuple(
        replace(
            bone, start=move(bone.start), end=move(bone.end), bow=math.copysign(bone.bow, mirror * bone.bow)
        )
        for bone in region.bones
    )
    flesh = tuple(replace(part, start=move(part.start), end=move(part.end)) for part in region.flesh)
    return replace(region, bones=bones, flesh=flesh)


def _box(bone: Bone, pixels_per_mm: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that the bone, or a displaced part of it, can touch."""
    reach = 2.0 * max(bone.shaft, bone.head, bone.foot) + abs(bone.bow) + 0.2 * bone.length

    def span(a: float, b: float, limit: int) -> slice:
        low, high = min(a, b) - reach, max(a, b) + reach
        return slice(
            max(0, math.floor(low * pixels_per_mm)), min(limit, max(0, math.ceil(high * pixels_per_mm)))
        )

    return span(bone.start[1], bone.end[1], height), span(bone.start[0], bone.end[0], width)


def _broken_path(bone: Bone, fracture: Fracture | None, x_W: Field, y_H1: Field, texture_HW: Field) -> Field:
    """Millimetres of bone along the beam, the two fragments of a broken one apart."""
    along_HW, across_HW = _bone_axes(bone, x_W, y_H1)
    if fracture is None:
        return _path(bone, along_HW, across_HW, texture_HW)
    place = fracture.place * bone.length

    def beyond(along_HW: Field, across_HW: Field) -> Field:
        """How far a point lies beyond the jagged line, mm."""
        one, two, three = fracture.phases
        waves_HW = np.sin(0.9 * across_HW + one) + 0.6 * np.sin(2.3 * across_HW + two)
        jag_HW = waves_HW * 0.5 + 0.3 * np.sin(5.1 * across_HW + three)
        return np.asarray(along_HW - place - fracture.slope * across_HW - jag_HW)

    def keep(distance_HW: Field) -> Field:
        return np.asarray(np.clip((distance_HW - fracture.gap_mm / 2) / 0.3, 0.0, 1.0))

    near_HW = _path(bone, along_HW, across_HW, texture_HW) * keep(-beyond(along_HW, across_HW))
    cosine, sine = math.cos(fracture.angle), math.sin(fracture.angle)
    from_break_HW, off_axis_HW = along_HW - place, across_HW - fracture.shift_mm
    far_along_HW = place + cosine * from_break_HW + sine * off_axis_HW
    far_across_HW = cosine * off_axis_HW - sine * from_break_HW
    far_HW = _path(bone, far_along_HW, far_across_HW, texture_HW) * keep(beyond(far_along_HW, far_across_HW))
    return np.asarray(near_HW + far_HW)


def _bone_axes(bone: Bone, x_W: Field, y_H1: Field) -> tuple[Field, Field]:
    """Distances along and across the line from start to end, mm."""
    ux, uy = ((b - a) / bone.length for a, b in zip(bone.start, bone.end, strict=True))
    dx_W, dy_H1 = x_W - bone.start[0], y_H1 - bone.start[1]
    return dx_W * ux + dy_H1 * uy, dy_H1 * ux - dx_W * uy


def _path(bone: Bone, along_HW: Field, across_HW: Field, texture_HW: Field) -> Field:
    """Millimetres of bone along the beam through a tube with flared, rounded ends and a marrow cavity."""
    length = bone.length
    share_HW = np.clip(along_HW / length, 0.0, 1.0)
    off_HW = across_HW - bone.bow * np.sin(np.pi * share_HW)
    head_HW = np.exp(-np.square(along_HW / (1.5 * bone.head)))
    foot_HW = np.exp(-np.square((length - along_HW) / (1.5 * bone.foot)))
    radius_HW = bone.shaft + (bone.head - bone.shaft) * head_HW + (bone.foot - bone.shaft) * foot_HW
    notch_HW = bone.notch * np.exp(-np.square(off_HW / (0.3 * bone.foot)))
    beyond_head_HW = -along_HW / (bone.rounding * bone.head)
    beyond_foot_HW = (along_HW + notch_HW - length) / (bone.rounding * bone.foot)
    end_HW = np.maximum(beyond_head_HW, beyond_foot_HW)
    radius_HW = radius_HW * np.sqrt(np.clip(1.0 - np.square(np.clip(end_HW, 0.0, 1.0)), 0.0, 1.0))
    spongy_HW = np.clip(head_HW + foot_HW, 0.0, 1.0)
    cortex_HW = bone.cortex * (1.0 - 0.72 * spongy_HW)
    inner_HW = np.clip(radius_HW - cortex_HW, 0.0, None)
    outer_mm_HW = 2.0 * np.sqrt(np.clip(np.square(radius_HW) - np.square(off_HW), 0.0, None))
    inner_mm_HW = 2.0 * np.sqrt(np.clip(np.square(inner_HW) - np.square(off_HW), 0.0, None))
    grain_HW = texture_HW * (0.7 / np.sqrt(5.0 + radius_HW))  # the thicker, the more it averages out
    filling_HW = (0.08 + spongy_HW * bone.filling) * (1.0 + grain_HW)
    return np.asarray(bone.depth * (outer_mm_HW - inner_mm_HW * (1.0 - filling_HW)), dtype=np.float32)


def _flesh(parts: tuple[Flesh, ...], x_W: Field, y_H1: Field) -> Field:
    """Millimetres of soft tissue along the beam, fat counted lightly, the parts blended into one another."""
    blended_HW = np.zeros((y_H1.shape[0], x_W.shape[0]), np.float32)
    for part in parts:
        dx, dy = part.end[0] - part.start[0], part.end[1] - part.start[1]
        length_2 = dx * dx + dy * dy
        share_HW = np.clip(((x_W - part.start[0]) * dx + (y_H1 - part.start[1]) * dy) / length_2, 0.0, 1.0)
        radius_HW = part.head + (part.foot - part.head) * np.square(share_HW) * (3.0 - 2.0 * share_HW)
        distance_2_HW = np.square(x_W - part.start[0] - share_HW * dx) + np.square(
            y_H1 - part.start[1] - share_HW * dy
        )
        skin_HW = np.sqrt(np.clip(np.square(radius_HW) - distance_2_HW, 0.0, None))
        muscle_HW = np.sqrt(np.clip(np.square(0.88 * radius_HW) - distance_2_HW, 0.0, None))
        blended_HW += np.power(1.1 * skin_HW + 0.9 * muscle_HW, 6)
    return np.power(blended_HW, 1.0 / 6.0)

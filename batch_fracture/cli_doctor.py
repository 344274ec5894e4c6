"""`batch-fracture doctor`: the machine's examination, and the contact sheet of what the network sees."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from batch_fracture.cli_options import JSON, S3_ENDPOINT


def _modalities(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    named = tuple(part.strip().upper() for part in value.split(",") if part.strip())
    return ("all",) if "ALL" in named else named


@click.command()
@click.option("--results", metavar="URI", help="Also check this results location.")
@S3_ENDPOINT
@click.option(
    "--contact-sheet",
    metavar="DIR",
    help="Instead: draw what the network sees of up to 60 images below DIR, or any other SOURCE of `run`.",
)
@click.option(
    "--out",
    default="contact-sheet.png",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG of the contact sheet; keep it as you keep the images.",
)
@click.option(
    "--model",
    default="fracatlas-evidence",
    show_default=True,
    metavar="NAME|URI",
    help="Whose input is drawn on the contact sheet.",
)
@click.option(
    "--modalities",
    default="CR,DX,RG",
    show_default=True,
    callback=_modalities,
    metavar="LIST|all",
    help="DICOM modalities on the contact sheet.",
)
@JSON
def doctor(
    results: str | None,
    s3_endpoint: str | None,
    contact_sheet: str | None,
    *,
    out: Path,
    model: str,
    modalities: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check this machine: versions, cores, GPUs, the engine that runs will use, disk and write access.

    With --contact-sheet look at pictures instead: are they upright, white on black, well windowed?

    \b
    Example:
      batch-fracture doctor --results ./results
      batch-fracture doctor --contact-sheet ./radiographs --out sheet.png
    """
    if contact_sheet is not None:
        _draw(contact_sheet, out, model, modalities, s3_endpoint, as_json=as_json)
        return 0
    from batch_fracture.doctor import as_json as checks_as_json
    from batch_fracture.doctor import examine, render

    checks = examine(results, s3_endpoint)
    click.echo(json.dumps(checks_as_json(checks)) if as_json else "\n".join(render(checks)))
    return 1 if any(check.ok is False for check in checks) else 0


def _draw(
    source: str, out: Path, model: str, modalities: tuple[str, ...], s3_endpoint: str | None, *, as_json: bool
) -> None:
    from batch_fracture.doctor.contact_sheet import draw_contact_sheet, said
    from batch_fracture.settings import ReadingSettings
    from batch_fracture.store import Access

    settings = ReadingSettings(modalities=modalities)
    sheet = draw_contact_sheet(
        source, out, model=model, settings=settings, access=Access(s3_endpoint=s3_endpoint)
    )
    click.echo(json.dumps(asdict(sheet)) if as_json else f"{sheet.path}: {said(sheet)}")

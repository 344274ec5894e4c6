"""Real bundles around a small timm network with random weights: `python tests/tiny.py FOLDER` writes one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batch_fracture.bundle import FILES, sha256_of

if TYPE_CHECKING:
    from batch_fracture.engines.network import ServedNetwork

TINY_SIZE = 64
_FIELDS = {
    "format": 1,
    "name": "tiny",
    "architecture": "test_efficientnet",
    "input": {"size": TINY_SIZE},
    "normalisation": {"mean": 0.5, "std": 0.5},
    "classes": ["no fracture", "fracture"],
    "calibration": {"slope": 2.0, "intercept": 0.1},
    "operating_points": {
        "balanced": {"threshold": 0.5, "sensitivity": None, "specificity": None},
        "high-sensitivity": {"threshold": 0.25, "sensitivity": None, "specificity": None},
    },
    "default_operating_point": "balanced",
}


def write_tiny_bundle(
    folder: Path,
    head: str = "pooled",
    *,
    mirror: bool = False,
    closer: bool = False,
    others: Sequence[int] = (),
    lively: bool = False,
) -> Path:
    """Write the bundle, 64 pixels, into a new folder; always the same weights.

    `others` are the input sizes of further networks. A `lively` one's answers differ from image to image, as
    after training; with bare random weights they are all the same within 0.01.
    """
    import torch

    from batch_fracture.bundle import Member
    from batch_fracture.engines.network import bundled_network
    from training.export import write_weights

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    served = bundled_network(
        "test_efficientnet",
        head=head,
        mean=0.5,
        std=0.5,
        mirror=mirror,
        closer=closer,
        others=[Member(architecture="test_efficientnet", input_size=size) for size in others],
    )
    if lively:
        enliven(served)
    write_weights(served, folder, input_size=TINY_SIZE)
    (folder / "MODEL_CARD.md").write_text("A network with random weights, for tests.\n")
    fields: dict[str, object] = {"head": head, "mirror": mirror, "closer": closer}
    fields["others"] = [{"architecture": "test_efficientnet", "input_size": size} for size in others]
    manifest = {**_FIELDS, **fields, "files": {name: sha256_of(folder / name) for name in FILES}}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def enliven(served: ServedNetwork) -> None:
    """Give BatchNorm the statistics of smooth noise, and an evidence head weights that count."""
    import torch

    noise_BSS = torch.nn.functional.interpolate(torch.rand(16, 1, 8, 8), size=TINY_SIZE).squeeze(1) * 255
    norms = [module for module in served.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        served.plain(noise_BSS)  # the same for any looks
        for norm in norms:
            norm.eval()
        for network in served.networks:
            if served.head == "evidence":
                network.logit.weight *= 10


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # `training` is not in the wheel
    print(write_tiny_bundle(Path(sys.argv[1])))

"""Real bundles around a small timm network with random weights: `python tests/tiny.py FOLDER` writes one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from batch_fracture.bundle import FILES, sha256_of

TINY_SIZE = 64


def write_tiny_bundle(folder: Path, head: str = "pooled", *, mirror: bool = False) -> Path:
    """Write the bundle, 64 pixels, into a new folder; always the same weights."""
    import torch

    from batch_fracture.engines.network import bundled_network
    from training.export import write_weights

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    served = bundled_network("test_efficientnet", head=head, mean=0.5, std=0.5, mirror=mirror)
    write_weights(served, folder, input_size=TINY_SIZE)
    (folder / "MODEL_CARD.md").write_text("A network with random weights, for tests.\n")
    manifest = {
        "format": 1,
        "name": "tiny",
        "architecture": "test_efficientnet",
        "head": head,
        "mirror": mirror,
        "input": {"size": TINY_SIZE},
        "normalisation": {"mean": 0.5, "std": 0.5},
        "classes": ["no fracture", "fracture"],
        "calibration": {"slope": 2.0, "intercept": 0.1},
        "operating_points": {
            "balanced": {"threshold": 0.5, "sensitivity": None, "specificity": None},
            "high-sensitivity": {"threshold": 0.25, "sensitivity": None, "specificity": None},
        },
        "default_operating_point": "balanced",
        "files": {name: sha256_of(folder / name) for name in FILES},
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # `training` is not in the wheel
    print(write_tiny_bundle(Path(sys.argv[1])))

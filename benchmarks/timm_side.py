"""timm's inference script, compiled, in bf16: `python -m benchmarks.timm_side FOLDER MODEL SIZE`.

A DataLoader of one worker decodes with the model's own transform, batches of 32 go through `torch.compile` in
bfloat16 autocast, channels_last. Prints the images per second after the first batches (compilation).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch.utils.data import DataLoader, Dataset

_BATCH, _WARM = 32, 3


class _Folder(Dataset[torch.Tensor]):
    def __init__(self, folder: Path, size: int) -> None:
        self._paths = sorted(folder.rglob("*.jp*g"))
        self._transform = create_transform(
            (3, size, size), is_training=False, mean=(0.5,) * 3, std=(0.5,) * 3
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        found: torch.Tensor = self._transform(Image.open(self._paths[index]).convert("RGB"))
        return found


def main() -> None:
    """Run, and print RESULT images_per_s=..."""
    folder, architecture, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=1).eval().to(memory_format=torch.channels_last)
    compiled = torch.compile(network)
    batches = DataLoader(_Folder(folder, size), batch_size=_BATCH, num_workers=1, drop_last=True)
    began_s, count = 0.0, 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for number, batch in enumerate(batches):
            compiled(batch.to(memory_format=torch.channels_last)).sigmoid()
            if number + 1 == _WARM:
                began_s = time.perf_counter()
            elif number >= _WARM:
                count += len(batch)
    print(f"RESULT images_per_s={count / (time.perf_counter() - began_s):.1f}")


if __name__ == "__main__":
    main()

r"""Looking at held-out pictures while training, and keeping the generator that fills them best.

The rule: every `sample_every` steps the running average of the generator fills the same holes in the same pictures of
the validation split. The weights with the lowest mean absolute error inside the holes (or, with
``best_by="val_psnr"``, the highest PSNR) are kept as ``generator_best.safetensors``; of equals the earlier. Taught in
notebook 05.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.utils import make_grid, save_image

from aotlib import metrics
from aotlib.config import TrainConfig
from aotlib.data import InpaintingDataset, dataset_files
from aotlib.files import replacing
from aotlib.images import to_uint8
from aotlib.masks import composite

HIGHER_IS_BETTER = {"val_hole_l1": False, "val_psnr": True}


def held_out(config: TrainConfig, device: torch.device) -> dict[str, Tensor]:
    r"""The first `n_samples` validation pictures, each with a mask that stays the same through the run.

    Returns:
        ``image`` (N, 3, S, S) in [-1, 1] and ``mask`` (N, 1, S, S).

    Taught in notebook 05.
    """
    files = dataset_files(config.data, config.data_dir, config.val_split)[: config.n_samples]
    fixed = InpaintingDataset(files, size=config.size, seed=config.seed, mask_ratio=(0.1, 0.4), augment=False)
    batch = next(iter(DataLoader(fixed, len(fixed))))
    return {key: batch[key].to(device) for key in ("image", "mask")}


def digest_of(watch: dict[str, Tensor]) -> str:
    r"""A number that changes with any picture or mask of `watch`."""
    return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in watch.values())).hexdigest()[:16]


@torch.no_grad()
def look(generator: nn.Module, watch: dict[str, Tensor], path: Path) -> tuple[dict[str, float], Tensor]:
    r"""Fill the held-out pictures and save them as one row.

    Returns:
        What they score (``val_psnr`` in dB, ``val_hole_l1`` in [0, 1]), and the row (3, H, W) in [0, 1].
    """
    x, m = watch["image"], watch["mask"]
    z = torch.cat([composite(generator(*pair), *pair) for pair in zip(x.split(8), m.split(8), strict=True)])
    row = make_grid((z + 1) / 2, nrow=len(z), padding=0)
    with replacing(path) as temporary:
        save_image(row, temporary)
    scores = metrics.measure(to_uint8(z).cpu(), to_uint8(x).cpu(), m.cpu())
    return {f"val_{name}": scores[name].mean().item() for name in ("psnr", "hole_l1")}, row


def is_better(scores: dict[str, float], best: dict[str, float | str], by: str) -> bool:
    r"""Whether `scores` beat `best`, which is empty at first.

    >>> is_better({"val_psnr": 21.0}, {"step": 10, "val_psnr": 21.0}, "val_psnr")
    False
    """
    if by not in best:
        return True
    return scores[by] > best[by] if HIGHER_IS_BETTER[by] else scores[by] < best[by]

r"""The command `aotlib shards`. Nothing here imports torch before it runs, so that help is answered at once."""

from pathlib import Path
from typing import Annotated

import tyro

from aotlib import profiles


def shards(
    images: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FOLDER")],
    root: Path | None = None,
    split: str = "train",
    out: Path | None = None,
    max_mb: float = 1000,
) -> None:
    """Copy the photographs of a split into large tar files, for a file system that is slow at opening small ones.

    Args:
        images: samples, places2, celebahq, openlogo, or any folder of images.
        root: where the named data set is; data/NAME when not given.
        split: train, val or test; all is every image in the folder.
        out: the shards go to OUT/SPLIT; ROOT/shards when not given, where they are found without being named.
        max_mb: size of one tar file, MB.
    """
    from aotlib.shards import write_shards
    from aotlib.sources import dataset_files

    root = root or (Path(images) if Path(images).is_dir() else profiles.find_root() / "data" / images)
    files = dataset_files(images, root, split, shards=False)
    done = write_shards(files, out or root / "shards", split=split, max_mb=max_mb)
    size = f"{done['samples']} images in {done['shards']} shards, {done['bytes'] / 1e9:.3g} GB"
    print(f"{done['folder']}: {size}; {done['written']} written now, {len(done['refused'])} files left out")
    for name, reason in done["refused"][:20]:
        print(f"  {name}: {reason}")

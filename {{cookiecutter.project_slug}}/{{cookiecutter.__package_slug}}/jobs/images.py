"""Resize pictures in the shared folder."""

from collections.abc import Generator, Sequence
from typing import TypedDict

from PIL import Image, ImageOps

from ..storage import path_of, replacing
from . import Progress

# What PNG can hold. Other pictures, such as the CMYK of a print shop, are kept as RGB.
PNG_MODES = {"1", "I", "I;16", "L", "LA", "P", "RGB", "RGBA"}


class Picture(TypedDict):
    name: str
    width: int
    height: int


class Batch(TypedDict):
    pictures: list[Picture]
    # Name -> why there is no picture.
    failed: dict[str, str]


def resize(source: str, width: int, height: int) -> Picture:
    """Write a copy that fills width by height exactly.

    Raises:
        PIL.UnidentifiedImageError: when the source is not a picture.
    """
    with Image.open(path_of(source)) as image:
        return _save(_upright(image).resize((width, height)), f"resized/{width}x{height}", source)


def thumbnail(source: str, size: int = 128) -> Picture:
    """Write a copy that fits into a square of this size and keeps its shape.

    Raises:
        PIL.UnidentifiedImageError: when the source is not a picture.
    """
    with Image.open(path_of(source)) as image:
        image.thumbnail((size, size))
        return _save(_upright(image), f"thumbnails/{size}", source)


def thumbnails(sources: Sequence[str], size: int = 128) -> Generator[Progress, None, Batch]:
    """Make a thumbnail of each picture; files that are none do not stop the rest."""
    batch: Batch = {"pictures": [], "failed": {}}
    for done, source in enumerate(sources, start=1):
        try:
            batch["pictures"].append(thumbnail(source, size))
        # Missing, no picture, cut off or broken: Pillow calls all of them an OSError.
        except (OSError, Image.DecompressionBombError) as error:
            batch["failed"][source] = str(error)
        yield Progress(done, len(sources), source)
    return batch


def _upright(image: Image.Image) -> Image.Image:
    # A camera keeps a picture as its sensor lay, and notes beside it how to turn it.
    return ImageOps.exif_transpose(image)


def _save(image: Image.Image, folder: str, source: str) -> Picture:
    # The whole name: a logo.jpg and a logo.gif may lie side by side.
    name = f"{folder}/{source}.png"
    if image.mode not in PNG_MODES:
        image = image.convert("RGB")
    with replacing(name) as path:
        image.save(path, "PNG")
    return {"name": name, "width": image.width, "height": image.height}

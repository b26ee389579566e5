"""Pictures come out in the right size and shape, and one that is damaged spoils no other."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image, UnidentifiedImageError

from {{ cookiecutter.__package_slug }}.jobs import Progress, images
from {{ cookiecutter.__package_slug }}.storage import path_of
from {{ cookiecutter.__package_slug }}.tasks.images import resize, thumbnails

pytestmark = pytest.mark.usefixtures("folder")


def draw(name: str, width: int = 40, height: int = 20, mode: str = "RGB") -> str:
    Image.new(mode, (width, height)).save(path_of(name))
    return name


def size_of(name: str) -> tuple[int, int]:
    with Image.open(path_of(name), formats=["PNG"]) as image:
        image.load()
        return image.size


def test_a_thumbnail_fits_and_keeps_its_shape() -> None:
    picture = images.thumbnail(draw("wide.jpg"), size=10)

    assert (picture["width"], picture["height"]) == (10, 5)
    assert size_of(picture["name"]) == (10, 5)


def test_a_small_picture_is_not_enlarged() -> None:
    assert images.thumbnail(draw("small.png"), size=100)["width"] == 40


def test_a_resized_picture_fills_its_frame() -> None:
    picture = images.resize(draw("wide.jpg"), 7, 30)

    assert size_of(picture["name"]) == (picture["width"], picture["height"]) == (7, 30)


def test_pictures_of_every_size_and_kind_have_names_of_their_own() -> None:
    sources = [draw("logo.jpg"), draw("logo.gif")]
    pictures = [images.thumbnail(source, size) for source in sources for size in (5, 10)]

    assert len({picture["name"] for picture in pictures}) == 4


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "CMYK"])
def test_a_picture_may_have_any_colours(mode: str) -> None:
    assert images.thumbnail(draw("photo.tiff", mode=mode), size=10)["width"] == 10


def test_a_photo_that_was_taken_upright_stands_upright(folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned by a quarter
    Image.new("RGB", (40, 20)).save(folder / "tall.jpg", exif=exif)

    assert size_of(images.thumbnail("tall.jpg", size=10)["name"]) == (5, 10)
    assert size_of(images.resize("tall.jpg", 30, 40)["name"]) == (30, 40)


def test_a_file_that_is_no_picture_is_refused(folder: Path) -> None:
    (folder / "notes.txt").write_text("no picture")

    with pytest.raises(UnidentifiedImageError, match=r"notes\.txt"):
        images.thumbnail("notes.txt")


def test_a_name_that_leads_out_of_the_shared_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="DATA_DIR"):
        images.thumbnail("../photo.jpg")
    with pytest.raises(ValueError, match="DATA_DIR"):
        images.resize("/etc/passwd", 1, 1)


def test_a_batch_reports_each_picture_and_goes_on_after_a_bad_one(folder: Path) -> None:
    (folder / "notes.txt").write_text("no picture")
    whole = Path(folder, draw("whole.jpg", 400, 400)).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    sources = ["notes.txt", "missing.jpg", "cut.jpg", "whole.jpg"]
    steps = images.thumbnails(sources, size=10)

    assert [next(steps) for _ in sources] == [
        Progress(done, 4, source) for done, source in enumerate(sources, start=1)
    ]
    with pytest.raises(StopIteration) as end:
        next(steps)
    batch = end.value.value
    assert [size_of(picture["name"]) for picture in batch["pictures"]] == [(10, 10)]
    assert batch["failed"].keys() == {"notes.txt", "missing.jpg", "cut.jpg"}


@pytest.mark.usefixtures("worker")
def test_worker_resizes_one_and_many() -> None:
    one = resize.delay(draw("one.png"), 3, 4)
    many = thumbnails.delay([draw("two.png"), "missing.png"], size=10)

    assert size_of(one.get(timeout=10, interval=0.01)["name"]) == (3, 4)
    batch = many.get(timeout=10, interval=0.01)
    assert size_of(batch["pictures"][0]["name"]) == (10, 5)
    assert "missing.png" in batch["failed"]

"""ETL: what is wrong never reaches the table, and what is right reaches it once."""

import threading
from pathlib import Path

import polars as pl
import pytest

from {{ cookiecutter.__package_slug }}.jobs import Progress, etl
from {{ cookiecutter.__package_slug }}.storage import path_of, replacing
from {{ cookiecutter.__package_slug }}.tasks.etl import aggregate, run

pytestmark = pytest.mark.usefixtures("folder")

HEADER = "reference,customer,day,cents"
GOOD = ["0001,ada@example.com,2026-11-20,1250", "0002,grace@example.com,2026-11-21,750"]


def write(name: str, *lines: str, header: str = HEADER) -> str:
    path_of(name).write_text("\n".join([header, *lines, ""]))
    return name


def load(source: str) -> etl.Loaded:
    return etl.load(etl.transform(etl.extract(source)))


def customers() -> dict[str, str]:
    table = pl.read_parquet(path_of(etl.TABLE), columns=["reference", "customer"])
    return dict(table.iter_rows())


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_orders_of_a_file_reach_the_table() -> None:
    assert load(write("orders.csv", *GOOD)) == {"table": etl.TABLE, "rows": 2}
    # Zeros in front show that a reference stays text.
    assert customers() == {"0001": "ada@example.com", "0002": "grace@example.com"}


def test_a_file_that_is_loaded_twice_changes_nothing() -> None:
    source = write("orders.csv", *GOOD)

    assert load(source) == load(source)
    assert len(customers()) == 2


def test_a_later_file_adds_orders_and_replaces_those_that_are_there() -> None:
    load(write("orders.csv", *GOOD))
    load(write("later.csv", "0002,anna@example.com,2026-11-21,1", "0003,a@b.c,2026-11-22,1"))

    assert customers() == {
        "0001": "ada@example.com",
        "0002": "anna@example.com",
        "0003": "a@b.c",
    }


def test_files_that_are_loaded_at_once_are_all_in_the_table() -> None:
    staged = [etl.extract(write(f"{n}.csv", f"{n},ada@example.com,2026-11-20,1")) for n in range(8)]
    start = threading.Barrier(len(staged))

    def load_with_the_others(name: str) -> None:
        start.wait(10)
        etl.load(name)

    threads = [threading.Thread(target=load_with_the_others, args=(name,)) for name in staged]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sorted(customers()) == [str(n) for n in range(8)]


@pytest.mark.parametrize(
    "bad",
    [
        ",ada@example.com,2026-11-20,1",
        "0003,,2026-11-20,1",
        "0003,ada@example.com,,1",
        "0003,ada@example.com,2026-11-20,",
        "0003,ada@example.com,2026-11-20,0",
        "0003,ada@example.com,2026-11-20,-1",
        "0001,eve@example.com,2026-11-20,1",
    ],
)
def test_an_order_that_is_incomplete_worthless_or_there_twice_is_dropped(bad: str) -> None:
    load(write("orders.csv", *GOOD, bad))

    assert customers() == {"0001": "ada@example.com", "0002": "grace@example.com"}


def test_a_customer_is_the_same_however_it_is_written() -> None:
    load(write("orders.csv", "1, Ada@Example.com ,2026-11-20,1"))

    assert customers() == {"1": "ada@example.com"}


def test_columns_that_are_missing_are_named() -> None:
    source = write("orders.csv", "0001,2026-11-20", header="reference,day")

    with pytest.raises(ValueError, match=r"orders\.csv has no column cents, customer$"):
        etl.extract(source)


def test_a_value_of_the_wrong_type_leaves_what_was_staged_before(folder: Path) -> None:
    source = write("orders.csv", *GOOD)
    staged = path_of(etl.extract(source))
    before, present = staged.read_bytes(), files(folder)
    write("orders.csv", *GOOD, "0003,ada@example.com,2026-11-20,plenty")

    with pytest.raises(pl.exceptions.ComputeError, match="plenty"):
        etl.extract(source)

    assert staged.read_bytes() == before
    assert files(folder) == present


@pytest.mark.parametrize("name", ["../orders.csv", "/etc/passwd", "staging/../../orders.csv"])
def test_a_name_that_leads_out_of_the_shared_folder_is_refused(name: str) -> None:
    for use in (etl.extract, etl.transform, etl.load):
        with pytest.raises(ValueError, match="DATA_DIR"):
            use(name)


def test_a_link_that_leads_out_of_the_shared_folder_is_refused(folder: Path) -> None:
    (folder / "shortcut").symlink_to("/etc")

    with pytest.raises(ValueError, match="DATA_DIR"):
        etl.extract("shortcut/passwd")


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole() -> None:
    path_of("figures").write_text("old")

    with replacing("figures") as unfinished:
        unfinished.write_text("half")
        assert path_of("figures").read_text() == "old"
        unfinished.write_text("new")

    assert path_of("figures").read_text() == "new"


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(folder: Path) -> None:
    path_of("figures").write_text("old")

    def write_half() -> None:
        with replacing("figures") as unfinished:
            unfinished.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()

    assert path_of("figures").read_text() == "old"
    assert files(folder) == {"figures"}


def test_each_step_is_reported() -> None:
    steps = etl.run(write("orders.csv", *GOOD))

    assert list(steps) == [
        Progress(0, 3, "extract"),
        Progress(1, 3, "transform"),
        Progress(2, 3, "load"),
    ]


@pytest.mark.usefixtures("worker")
def test_worker_loads_a_file_and_sums_it_up() -> None:
    loaded = run.delay(write("orders.csv", *GOOD, "0003,ada@example.com,2026-11-20,250"))
    assert loaded.get(timeout=10, interval=0.01)["rows"] == 3

    spent = aggregate.delay("customer", "cents", "sum").get(timeout=10, interval=0.01)
    assert spent == {"ada@example.com": 1500, "grace@example.com": 750}
    bought = aggregate.delay("day", "reference", "count").get(timeout=10, interval=0.01)
    assert bought == {"2026-11-20": 2, "2026-11-21": 1}

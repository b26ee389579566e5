"""The file of the jobs: each is given to one at a time, and only who holds it says how it ended."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from {{ cookiecutter.__package_slug }}.dirty.board import Board, Delivery, QueueIsFull, is_final

QUEUE = "default"
# Seconds for what takes no time.
TIMEOUT = 10


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def submitted(board: Board, count: int = 1) -> list[str]:
    return [board.submit("hello.greet", {"name": "Ada"}, QUEUE, 100) for _ in range(count)]


def taken(board: Board) -> Delivery:
    delivery = board.take(QUEUE)
    assert delivery
    return delivery


def state(board: Board, job_id: str) -> str:
    return str(board.jobs([job_id])[job_id]["state"])


def test_jobs_are_taken_in_the_order_in_which_they_came(board: Board) -> None:
    ids = submitted(board, 3)

    assert [taken(board).id for _ in ids] == ids
    assert board.take(QUEUE) is None


def test_of_many_who_take_each_gets_another(board: Board) -> None:
    ids = submitted(board, 40)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: taken(board).id, ids))

    assert sorted(found) == sorted(ids)


def test_a_job_waits_until_it_is_due(board: Board) -> None:
    board.submit("hello.greet", {}, QUEUE, 100, delay=3600)

    assert board.take(QUEUE) is None


def test_a_job_that_nobody_began_in_time_is_left_out(board: Board) -> None:
    late = board.submit("hello.greet", {}, QUEUE, 100, expires=-1)
    (next_one,) = submitted(board)

    assert taken(board).id == next_one
    assert state(board, late) == "REVOKED"


def test_no_more_wait_than_may(board: Board) -> None:
    for _ in range(2):
        board.submit("hello.greet", {}, QUEUE, 2)
    with pytest.raises(QueueIsFull, match="2 jobs wait in the queue default"):
        board.submit("hello.greet", {}, QUEUE, 2)

    taken(board)
    board.submit("hello.greet", {}, QUEUE, 2)


def test_the_same_id_again_is_the_same_job(board: Board) -> None:
    for name in ("Ada", "Bob"):
        board.submit("hello.greet", {"name": name}, QUEUE, 100, "one")

    assert taken(board).arguments == {"name": "Ada"}
    assert board.take(QUEUE) is None


def test_those_that_wait_are_counted_whatever_becomes_of_them(board: Board) -> None:
    ids = submitted(board, 5)
    done, tried_again, given_back = (taken(board) for _ in range(3))
    board.succeed(done, "1")
    board.retry(tried_again, KeyError("x"), 0)
    assert board.waiting() == {QUEUE: 3}

    board.give_back()
    assert given_back.id in ids
    assert board.waiting() == {QUEUE: 4}
    board.cancel(ids[-1])
    board.forget(ids[-2])
    assert board.waiting() == {QUEUE: 2}


def test_who_lost_a_job_has_no_say_in_how_it_ends(board: Board) -> None:
    submitted(board)
    first = taken(board)
    board.give_back()
    second = taken(board)
    board.succeed(first, '"late"')
    board.report(first, {"done": 1})

    assert state(board, first.id) == "STARTED"
    board.fail(second, KeyError("Ada"))
    board.succeed(first, '"late"')
    assert state(board, first.id) == "FAILURE"


def test_only_what_waits_can_be_cancelled(board: Board) -> None:
    runs, waits = submitted(board, 2)
    taken(board)

    assert [board.cancel(runs), board.cancel(waits)] == [False, True]
    assert [state(board, runs), state(board, waits)] == ["STARTED", "REVOKED"]


def test_a_dead_letter_that_is_put_back_runs_as_if_for_the_first_time(board: Board) -> None:
    (job_id,) = submitted(board)
    board.fail(taken(board), KeyError("Ada"))
    assert [row["id"] for row in board.dead()] == [job_id]

    assert board.requeue(job_id)
    assert not is_final(board.jobs([job_id])[job_id])
    delivery = taken(board)
    assert (delivery.retries, delivery.deliveries) == (0, 1)


def test_old_jobs_and_the_oldest_dead_letters_are_forgotten(board: Board) -> None:
    ids = submitted(board, 4)
    board.succeed(taken(board), "1")
    for _ in range(2):
        board.fail(taken(board), KeyError("x"))
    board.forget_old(kept=-1, most_dead=1)

    assert board.jobs(ids).keys() == set(ids[2:])


def test_however_many_came_too_late_the_next_one_is_taken(board: Board) -> None:
    for _ in range(2000):
        board.submit("hello.greet", {}, "default", 10_000, expires=-1)
    waiting = board.submit("hello.greet", {}, "default", 10_000)

    delivery = board.take("default")
    assert delivery
    assert delivery.id == waiting


def test_what_is_postponed_does_not_count_as_given_out(board: Board) -> None:
    board.submit("hello.greet", {}, "default", 10)
    for _ in range(3):
        delivery = board.take("default")
        assert delivery
        assert delivery.deliveries == 1
        board.postpone(delivery, -1)


def test_of_all_processes_one_has_a_run_of_the_schedule(board: Board) -> None:
    now = time.time()
    assert not board.is_due("daily", now - 60)

    assert [board.is_due("daily", now) for _ in range(3)] == [True, False, False]


def test_of_all_who_open_a_new_file_at_once_none_fails(tmp_path: Path) -> None:
    together = Barrier(8)

    def first_look(board: Board) -> dict[str, int]:
        together.wait(TIMEOUT)
        return board.waiting()

    with ThreadPoolExecutor(8) as threads:
        for attempt in range(200):
            found = threads.map(first_look, [Board(tmp_path / str(attempt))] * 8)

            assert list(found) == [{}] * 8


def test_what_was_written_is_there_for_another_process(board: Board, tmp_path: Path) -> None:
    (job_id,) = submitted(board)

    assert state(Board(tmp_path), job_id) == "PENDING"

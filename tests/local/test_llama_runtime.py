"""Turns and cores: what the runtime needs no model for."""

from __future__ import annotations

import threading
import time

import pytest

from pointsman.local.llama_runtime import Turns, idle_cores, physical_cores


def test_turns_come_in_the_order_of_arrival() -> None:
    """Eight threads arrive one by one while the first still works."""
    turns, order, threads = Turns(), list[int](), list[threading.Thread]()

    def work(number: int) -> None:
        with turns.turn(waiting=lambda: None):
            order.append(number)

    with turns.turn(waiting=lambda: None):
        for number in range(8):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while len(turns._queue) < number + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join(5)
    assert order == list(range(8))


def test_one_who_waits_is_asked_now_and_then_and_may_leave() -> None:
    """An error of `waiting` leaves the queue to the others."""
    turns = Turns()

    def leave() -> None:
        raise ConnectionAbortedError

    with turns.turn(waiting=leave), pytest.raises(ConnectionAbortedError), turns.turn(waiting=leave):
        pytest.fail("it was not its turn")
    with turns.turn(waiting=leave):
        assert len(turns._queue) == 1


def test_an_error_in_a_turn_ends_it() -> None:
    """The next one is not kept waiting."""
    turns = Turns()
    with pytest.raises(ValueError, match="work"), turns.turn(waiting=lambda: None):
        raise ValueError("work")
    with turns.turn(waiting=lambda: pytest.fail("it had to wait")):
        pass


def test_there_is_a_core() -> None:
    """Whatever the system tells."""
    assert physical_cores() >= 1


@pytest.mark.parametrize(("load", "cores"), [(0.4, 4), (1.2, 3), (3.9, 1), (9.0, 1)])
def test_busy_cores_are_left_alone(monkeypatch: pytest.MonkeyPatch, load: float, cores: int) -> None:
    """One thread for each core that is idle, and one where none is."""
    monkeypatch.setattr("pointsman.local.llama_runtime.physical_cores", lambda: 4)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    assert idle_cores() == cores

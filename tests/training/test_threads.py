"""Threads that are measured while they train."""

import pytest
import torch

from twostage.training import threads as module
from twostage.training.threads import AGAIN_SECONDS, Threads, threads_put_back


class Machine:
    """A clock, and how fast each number of threads trains at the moment, photographs per second."""

    def __init__(self, **rates):
        self.now, self.rates, self.steps = 0.0, rates, 0

    def perf_counter(self):
        return self.now

    def train(self, threads, seconds, images=16):
        end = self.now + seconds
        while self.now < end:
            with threads.timed(images):
                self.now += images / self.rates[f"t{torch.get_num_threads()}"]
            self.steps += 1


@pytest.fixture
def machine(monkeypatch):
    machine = Machine(t1=437, t2=638, t4=500)
    monkeypatch.setattr(module.time, "perf_counter", machine.perf_counter)
    with threads_put_back():
        torch.set_num_threads(4)
        yield machine


QUIET = {"t1": 437, "t2": 638, "t4": 500}
BUSY = {"t1": 283, "t2": 60, "t4": 20}


@pytest.mark.parametrize(("rates", "best"), [(QUIET, 2), (BUSY, 1), ({"t1": 1, "t2": 2, "t4": 4}, 4)])
def test_the_fastest_number_trains(machine, rates, best):
    machine.rates, threads = rates, Threads("auto")
    threads.begin()
    assert threads.is_trying
    machine.train(threads, 200)
    assert not threads.is_trying
    assert threads.chosen == torch.get_num_threads() == best


def test_a_number_that_is_told_stays(machine):
    torch.set_num_threads(2)
    threads = Threads(2)
    threads.begin()
    machine.train(threads, 20)
    machine.rates = BUSY
    machine.train(threads, 20)
    assert torch.get_num_threads() == 2
    assert not threads.is_trying


def test_neighbours_that_come_are_noticed_soon_and_those_that_leave_in_a_while(machine, caplog):
    threads = Threads("auto")
    threads.begin()
    machine.train(threads, 20)
    machine.rates = BUSY
    with caplog.at_level("INFO", "twostage"):
        machine.train(threads, 20)
    assert threads.chosen == 1
    assert "trains with 1, before 2" in caplog.text
    machine.rates = QUIET
    machine.train(threads, AGAIN_SECONDS + 20)
    assert threads.chosen == 2


def test_a_rate_that_falls_for_all_changes_nothing_and_is_not_asked_for_ever(machine, caplog):
    threads = Threads("auto")
    threads.begin()
    machine.train(threads, 20)
    machine.rates = {name: rate / 4 for name, rate in QUIET.items()}
    caplog.clear()
    machine.train(threads, 20)
    assert threads.chosen == 2
    begun = machine.now
    machine.train(threads, 100)
    assert not threads.is_trying
    assert caplog.text == ""
    assert machine.now - begun < 101


def test_the_trial_costs_little(machine):
    threads = Threads("auto")
    threads.begin()
    machine.train(threads, 60)
    assert machine.steps * 16 / 60 > 0.9 * max(QUIET.values())


def test_a_training_that_goes_on_keeps_its_number_until_it_is_too_slow(machine):
    threads = Threads("auto")
    threads.begin()
    machine.rates = BUSY
    machine.train(threads, 60)
    machine.rates = QUIET
    torch.set_num_threads(4)
    again = Threads("auto")
    again.begin()
    again.load_state_dict(threads.state_dict())
    assert not again.is_trying
    machine.train(again, 20)
    assert torch.get_num_threads() == 1
    elsewhere = {name: rate / 10 for name, rate in QUIET.items()}
    machine.rates = elsewhere
    machine.train(again, 30)
    assert torch.get_num_threads() == 2


def test_where_one_thread_is_all_there_is_nothing_is_tried(machine):
    torch.set_num_threads(1)
    threads = Threads("auto")
    threads.begin()
    assert not threads.is_trying


def test_a_training_that_ends_in_the_trial_keeps_the_best_so_far(machine):
    threads = Threads("auto")
    threads.begin()
    machine.train(threads, 2)
    assert threads.is_trying
    threads.end()
    assert not threads.is_trying
    assert torch.get_num_threads() == threads.chosen == 2
    few = Threads("auto")
    few.begin()
    few.end()
    assert torch.get_num_threads() == 2


def test_a_stage_is_not_judged_by_the_rate_of_the_one_before(machine):
    threads = Threads("auto")
    threads.begin()
    machine.train(threads, 20)
    threads.begin()
    again = Threads("auto")
    again.load_state_dict(threads.state_dict())
    again.begin()
    assert again.is_trying


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with threads_put_back():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before

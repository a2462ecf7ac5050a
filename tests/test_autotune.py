"""Which of several ways a training takes."""

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop.autotune import Autotuner
from fastbackprop.training import Training


def drive(tuner, seconds_of, calls, steps=1000):
    """The ways taken, with the steps of each call; a step of a way takes its milliseconds / 10."""
    taken = []
    for _ in range(calls):
        way, count = tuner.choose(steps)
        tuner.took(way, count, seconds_of[way] * count * 1e-4)
        taken.append((way, count))
    return taken


def test_both_ways_are_tried_and_the_faster_one_is_taken():
    for seconds, fastest in (((1.0, 2.0), 0), ((2.0, 1.0), 1)):
        taken = drive(Autotuner(2, 0), seconds, 200)
        assert taken[:2] == [(0, 1000), (0, 1000)]
        assert taken[2][0] == 1
        trials = [count for way, count in taken[3:] if way != fastest]
        assert 10 < len(trials) < 100  # now and then
        assert max(trials) < 100  # and short


def test_a_way_that_becomes_slow_is_left_and_found_again():
    tuner = Autotuner(2, 0)
    drive(tuner, (1.0, 2.0), 5)
    for seconds, fastest in (((3.0, 2.0), 1), ((1.0, 2.0), 0)):
        steps = {0: 0, 1: 0}
        for way, count in drive(tuner, seconds, 40):
            steps[way] += count
        assert steps[fastest] > 9 * steps[1 - fastest]


def test_one_call_that_was_held_up_changes_nothing():
    tuner = Autotuner(2, 0)
    drive(tuner, (1.0, 2.0), 8)
    tuner.took(tuner.choose(10)[0], 10, 50.0)
    drive(tuner, (1.0, 2.0), 1)  # a trial, since so much time has gone by
    assert tuner.choose(80) == (0, 80)


def test_the_first_call_does_not_count():
    """It wakes the other threads: a training of a few hundred steps would go on with one for the rest of its time."""
    tuner = Autotuner(2, 0)
    tuner.took(tuner.choose(1000)[0], 1000, 10.0)
    assert [way for way, _ in drive(tuner, (1.0, 2.0), 5)] == [0, 1, 0, 0, 0]


def test_calls_too_short_to_tell_are_not_counted():
    """The first one of a training wakes the other threads."""
    tuner = Autotuner(2, 0)
    for _ in range(5):
        assert tuner.choose(3) == (0, 3)
        tuner.took(0, 3, 5e-4)
    assert [way for way, _ in drive(tuner, (1.0, 2.0), 4)] == [0, 1, 0, 0]


def test_a_training_begins_with_what_the_last_one_has_found():
    tuner = Autotuner(2, 0)
    drive(tuner, (2.0, 1.0), 5)
    tuner.begin()
    tuner.took(tuner.choose(1000)[0], 1000, 1e3)  # the call that wakes the threads
    assert {way for way, count in drive(tuner, (2.0, 1.0), 20) if count == 1000} == {1}


def test_short_trainings_find_what_has_become_faster():
    """Each is over before a trial is due, and the first call of the next one would not count as one."""
    tuner = Autotuner(2, 0)
    drive(tuner, (2.0, 1.0), 5)  # now the second way is taken
    steps = {0: 0, 1: 0}
    for _ in range(40):
        tuner.begin()
        ((way, done),) = drive(tuner, (0.5, 1.0), 1, 10)
        steps[way] += done
        while done < 4000:
            ((way, count),) = drive(tuner, (0.5, 1.0), 1, 4000 - done)
            steps[way] += count
            done += count
    assert steps[0] > 9 * steps[1]


def test_trainings_of_a_kind_share_their_pace(monkeypatch):
    monkeypatch.setattr("fastbackprop.threads.available", lambda: 2)
    X, y = np.random.default_rng(0).standard_normal((1000, 40)), np.arange(1000) % 7
    tuners = []
    for width, batch_size in ((90, 128), (90, 128), (80, 128), (90, 64)):
        training = Training(fb.Network((40, width, 7)), X, y, batch_size=batch_size, optimizer=fb.SGD())
        training.run(1)
        tuners.append(training.tuner)
    assert tuners[0].ways == 2
    assert tuners[0] is tuners[1]
    assert len(set(map(id, tuners))) == 3


@pytest.mark.parametrize("fastest", range(7))
def test_the_fastest_of_many_is_found(fastest):
    """From any start it climbs to it, within a few trials, which take little of the time."""
    seconds = [1.0 + 0.2 * abs(way - fastest) for way in range(7)]
    for start in range(7):
        taken = drive(Autotuner(7, start), seconds, 300)
        there = [way for way, count in taken[40:] if count == 1000]
        assert set(there) == {fastest}
        assert all(abs(way - fastest) == 1 for way, count in taken[40:] if count < 1000)
        steps = {way: sum(count for w, count in taken[40:] if w == way) for way in range(7)}
        assert steps[fastest] > 0.95 * sum(steps.values())


def test_where_it_becomes_faster_it_goes_there():
    tuner = Autotuner(7, 6)
    for fastest in (0, 6, 3):
        taken = drive(tuner, [1.0 + 0.2 * abs(way - fastest) for way in range(7)], 200)
        assert taken[-20:].count((fastest, 1000)) > 14


def test_trials_of_long_steps_are_rare():
    """A step of a second, which with one thread would take two: a trial waits until it is 2 % of the time."""
    tuner = Autotuner(3, 2)
    ways = [way for way, _ in drive(tuner, (40_000.0, 20_000.0, 10_000.0), 300, steps=1)]
    assert 1 <= 300 - ways.count(2) <= 7
    assert 0 not in ways


def test_the_only_way_is_taken_always():
    assert set(drive(Autotuner(1), (1.0,), 100)) == {(0, 1000)}


def test_the_bits_do_not_depend_on_the_choice(monkeypatch):
    """Whatever the times say, also where they change from call to call."""
    X, y = np.random.default_rng(0).standard_normal((3000, 40)), np.arange(3000) % 7
    monkeypatch.setattr("fastbackprop.threads.available", lambda: 2)
    results = set()
    for ways in ([0], [1], [0, 1, 1]):
        calls = iter(range(10**6))
        monkeypatch.setattr(
            Autotuner, "choose", lambda self, steps, w=ways, c=calls: (w[next(c) % len(w)], max(1, steps // 3))
        )
        net = fb.Network((40, 90, 7), seed=0)
        net.fit(X, y, epochs=3, batch_size=128, seed=0, optimizer="adam", dropout=0.2)
        results.add(net.params.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("threads", [[None, 1, 2], [1, None, None], [2, None, 1]])
def test_a_callback_may_set_the_threads(monkeypatch, threads):
    X, y = np.random.default_rng(0).standard_normal((1000, 40)), np.arange(1000) % 7
    monkeypatch.setattr("fastbackprop.threads.available", lambda: 2)
    nets = [fb.Network((40, 90, 7), seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=4, batch_size=128, seed=0, threads=1)
    settings = iter([*threads, None])
    nets[1].fit(
        X, y, epochs=4, batch_size=128, seed=0, callbacks=[lambda _: setattr(nets[1], "threads", next(settings))]
    )
    assert (nets[0].params == nets[1].params).all()

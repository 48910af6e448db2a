"""Sums by several threads: the same pieces in the same order."""

import time

import pytest

from consomme.weights import mean


@pytest.fixture
def threads():
    yield mean.set_threads
    mean.set_threads(1)


@pytest.mark.parametrize("count", [1, 3])
def test_pieces_keep_their_order_however_long_each_takes(threads, count):
    threads(count)

    def work(n):
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(mean.in_order(work, iter(range(20)))) == [n * n for n in range(20)]
    assert list(mean.in_order(work, iter([]))) == []


def test_an_error_in_a_thread_is_the_error(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        list(mean.in_order(lambda n: 1 / (n - 7), iter(range(20))))


def test_threads_change_no_byte(threads, checkpoint, some, tmp_path, monkeypatch):
    parents = {f"m{n}": checkpoint(f"m{n}", some(n)) for n in range(3)}
    monkeypatch.setattr(mean, "PIECE", 3)
    monkeypatch.setattr(mean, "SUMMED", 3)
    found = []
    for count in (1, 4):
        threads(count)
        out = tmp_path / f"by-{count}"
        out.mkdir()
        mean.write_mean(out, parents)
        found.append((out / "model.safetensors").read_bytes())
    assert found[0] == found[1]

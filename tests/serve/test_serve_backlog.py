"""The backlog: when a request is refused, and when to ask again."""

from bark_onnx_serve.backlog import Backlog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_limit_nothing_is_refused() -> None:
    backlog = Backlog()
    backlog.enter(1e9)
    assert not backlog.refuses(1e9)


def test_what_was_made_makes_room() -> None:
    backlog = Backlog(20)
    entry = backlog.enter(15)
    assert not backlog.refuses(5)
    assert backlog.refuses(6)
    entry.made(10)
    assert not backlog.refuses(6)
    entry.made(10)  # longer than estimated
    assert backlog.seconds == 0
    entry.leave()
    assert backlog.seconds == 0


def test_an_idle_server_accepts_even_what_is_longer_than_the_limit() -> None:
    backlog = Backlog(20)
    assert not backlog.refuses(1000)
    backlog.enter(1000).leave()
    assert not backlog.refuses(1000)


def test_the_rate_is_measured_while_there_is_work() -> None:
    clock = Clock()
    backlog = Backlog(clock=clock)
    assert backlog.rate == 1
    entry = backlog.enter(100)
    for _ in range(100):
        clock.now += 0.1
        entry.made(0.4)
    assert 3.9 < backlog.rate < 4.2
    entry.leave()
    clock.now += 1000  # an idle night
    assert 3.9 < backlog.rate < 4.2


def test_when_to_ask_again_follows_from_the_rate() -> None:
    clock = Clock()
    backlog = Backlog(30, clock)
    first, second = backlog.enter(60), backlog.enter(20)
    clock.now = 10
    first.made(20)  # 2 seconds of speech in a second
    assert backlog.retry_after(10) == 20  # 60 + 10 - 30 seconds of speech are too many
    first.leave()
    assert backlog.retry_after(10) == 10  # until the other has ended
    second.leave()
    assert backlog.retry_after(10) == 1
    backlog.enter(10_000)
    assert backlog.retry_after(10) == 120

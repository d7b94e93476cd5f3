"""What the driver makes of a cluster, without one: tests/real/test_ray.py has a real one."""

import contextlib
from collections.abc import Callable, Iterator
from multiprocessing import connection
from pathlib import Path

import pytest

from harness.cli.run import Place, ray_of
from harness.core.errors import HarnessError
from harness.run.cluster import Cluster, _session, _Submitted, connected
from harness.run.events import Ended, Event, Started
from harness.stages.runner import Order

ray = pytest.importorskip("ray", reason="needs harness[ray]")
ORDERS = tuple(Order(stage, {}, {}, {}, f"stage {stage}") for stage in "ab")


def test_a_node_that_does_not_see_the_results_says_so(tmp_path: Path) -> None:
    told = list(_session(tmp_path / "nowhere", ORDERS, 1))
    assert [type(event) for event in told] == [Started, Ended, Started, Ended]
    for event in told[1::2]:
        assert isinstance(event, Ended)
        assert event.status == "failed"
        assert "does not see the results folder" in event.error
        assert "same path" in event.error
    assert not (tmp_path / "nowhere").exists(), "nothing is made in a place that is not the store"


class Lost:
    """A cluster that tells the first stage's end and then is lost, so many times."""

    def __init__(self, session: _Submitted, times: int, error: Exception) -> None:
        self.session, self.times, self.error, self.asked = session, times, error, list[list[str]]()

    def __call__(self, sender: "connection.Connection[Event, None]") -> None:
        self.asked.append([order.id for order in self.session.left])
        for order in list(self.session.left):
            if len(self.asked) <= self.times and order.id == "b":
                raise self.error
            self.session.left.remove(order)
            sender.send(Ended(order.id, order.title, "built"))


Follow = Callable[[int], tuple[list[str], list[list[str]]]]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """Follow a session that is lost `times` times: the stages whose end was told, and what was handed in each time."""

    def _follow(times: int) -> tuple[list[str], list[list[str]]]:
        receiver, sender = connection.Pipe(duplex=False)
        session = _Submitted(Cluster(tmp_path, 1), ORDERS, 0)
        lost = Lost(session, times, ray.exceptions.WorkerCrashedError())
        monkeypatch.setattr(session, "_follow_once", lost)
        session.follow(sender)
        return list(_stages(receiver)), lost.asked

    return _follow


def _stages(channel: "connection.Connection[None, Event]") -> Iterator[str]:
    """Until it is closed."""
    with contextlib.suppress(EOFError):
        while True:
            event = channel.recv()
            assert isinstance(event, Ended)
            yield event.stage


def test_what_is_left_of_a_lost_session_is_handed_in_again(follow: Follow, capsys: pytest.CaptureFixture[str]) -> None:
    assert follow(2) == (["a", "b"], [["a", "b"], ["b"], ["b"]])
    assert capsys.readouterr().err.count("stage b: lost with its node or process") == 2


def test_it_is_not_handed_in_for_ever(follow: Follow, capsys: pytest.CaptureFixture[str]) -> None:
    ended, asked = follow(9)
    assert (ended, len(asked)) == (["a"], 3)
    assert capsys.readouterr().err.count("handed in again") == 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_no_cluster(tmp_path: Path, address: str) -> None:
    with pytest.raises(HarnessError, match="no Ray cluster answers"), connected(address, tmp_path, 1):
        pass


@pytest.mark.parametrize(
    ("executor", "address", "says"),
    [("slurm", None, "no such executor: slurm"), ("local", "auto", "Add --executor ray")],
)
def test_options_that_do_not_go_together(executor: str, address: str | None, says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        ray_of(Place(executor, address))

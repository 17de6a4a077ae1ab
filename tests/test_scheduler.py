"""What a device does next: first come, first served, little padding, jobs alone."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.scheduler import Batch, Request, Scheduler


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    budget: int = 1000
    fill: float = 0.5
    parallel: bool = True


def batches(scheduler: Scheduler) -> list[Batch]:
    """All that is handed out, one after the other."""
    found = []
    while batch := scheduler.next():
        scheduler.done(batch)
        found.append(batch)
    return found


def queued(*requests: Request) -> Scheduler:
    scheduler = Scheduler()
    for request in requests:
        scheduler.add(request)
    return scheduler


def costs(batch: Batch) -> list[int]:
    return [request.costs[row] for request, row in batch.items]


def test_longest_rows_first_within_the_budget_and_a_long_row_alone() -> None:
    request = Request(Model(), [100, 500, 1200, 400, 90, 450])
    assert [costs(batch) for batch in batches(queued(request))] == [[1200], [500, 450], [400], [100, 90]]


def test_what_the_oldest_leaves_is_filled_with_rows_of_others_that_have_about_its_length() -> None:
    model = Model()
    first, second, third = Request(model, [300]), Request(model, [290, 800, 20]), Request(model, [280, 310])
    found = batches(queued(first, second, third))
    assert [(costs(batch), [request for request, _ in batch.items]) for batch in found[:2]] == [
        ([300, 290, 280], [first, second, third]),
        ([800], [second]),
    ]


def test_other_models_rows_stay_apart() -> None:
    one, other = Model(), Model()
    found = batches(queued(Request(one, [10, 10]), Request(other, [10]), Request(one, [10])))
    assert [(batch.model, len(batch.items)) for batch in found] == [(one, 3), (other, 1)]


def test_rows_of_one_length_only_where_the_model_wants_no_padding() -> None:
    found = batches(queued(Request(Model(fill=1.0), [30, 31, 30, 29, 31, 30])))
    assert [costs(batch) for batch in found] == [[31, 31], [30, 30, 30], [29]]


def test_a_job_waits_until_nothing_runs_and_holds_up_what_came_after_it() -> None:
    model = Model(budget=1)
    job, rows = Request(), Request(model, [5])
    scheduler = queued(Request(model, [7, 6]), job, rows)
    one, two = scheduler.next(), scheduler.next()
    assert one is not None
    assert two is not None
    assert scheduler.next() is None
    scheduler.done(one)
    assert scheduler.next() is None
    scheduler.done(two)
    alone = scheduler.next()
    assert alone is not None
    assert alone.items == ((job, 0),)
    assert scheduler.next() is None
    scheduler.done(alone)
    assert [batch.items for batch in batches(scheduler)] == [((rows, 0),)]


def test_a_model_that_takes_all_cores_runs_one_batch_at_a_time() -> None:
    scheduler = queued(Request(Model(budget=1, parallel=False), [2, 2]), Request(Model(), [3]))
    first = scheduler.next()
    assert first is not None
    assert scheduler.next() is None
    scheduler.done(first)
    assert len(batches(scheduler)) == 2


def test_what_is_dropped_is_not_handed_out() -> None:
    model = Model(budget=1)
    gone, stays, job = Request(model, [4, 5, 6]), Request(model, [5]), Request()
    scheduler = queued(gone, stays, job)
    running = scheduler.next()
    assert running is not None
    scheduler.drop(gone)
    scheduler.drop(job)
    scheduler.done(running)
    assert [batch.items for batch in batches(scheduler)] == [((stays, 0),)]
    scheduler.drop(stays)


def test_halves_hold_what_the_whole_held() -> None:
    batch = batches(
        queued(
            Request(
                Model(),
                [1, 2, 3, 4, 5][::-1],
            ),
        )
    )[0]
    one, other = batch.halves()
    assert one.items + other.items == batch.items
    assert abs(len(one.items) - len(other.items)) <= 1


@given(
    st.lists(st.lists(st.integers(0, 600), min_size=1, max_size=12), min_size=1, max_size=8),
    st.sampled_from([1, 512, 2000]),
    st.sampled_from([0.0, 0.5, 0.9, 1.0]),
)
def test_every_row_is_handed_out_once_within_the_limits_and_the_oldest_is_always_served(
    sizes: list[list[int]], budget: int, fill: float
) -> None:
    model = Model(budget, fill)
    requests = [Request(model, row) for row in sizes]
    scheduler = queued(*requests)
    seen = []
    while queue := scheduler.queue:
        batch = scheduler.next()
        assert batch is not None
        scheduler.done(batch)
        assert any(request is queue[0] for request, _ in batch.items)
        width = max(costs(batch))
        assert len(batch.items) == 1 or width * len(batch.items) <= budget
        assert costs(batch) == sorted(costs(batch), reverse=True)
        assert min(costs(batch)) >= width * fill - 0.5
        seen += [(requests.index(request), row) for request, row in batch.items]
    assert sorted(seen) == [(number, row) for number, size in enumerate(sizes) for row in range(len(size))]


@pytest.mark.parametrize("count", [1, 3])
def test_a_long_request_does_not_keep_a_later_one_waiting_for_ever(count: int) -> None:
    """In the worst case a request waits until those before it are done."""
    model = Model(budget=100, fill=1.0)
    late = Request(model, [7])
    scheduler = queued(*(Request(model, [100] * 5) for _ in range(count)), late)
    found = batches(scheduler)
    assert [request for request, _ in found[5 * count].items] == [late]

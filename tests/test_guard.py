"""The states of the guard: what changes them, what keeps them, how they are shown and reset."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from test_sections import problems, read

from policies.base import Policy
from policies.presets import PRESETS, TABLES
from policies.routes import Route
from policies.written import build
from proxy.cli import main
from proxy.guard.answers import Answer
from proxy.guard.book import Book, Sample
from proxy.guard.originals import Request, call, cost, estimate, pause, unstreamed
from proxy.guard.state import (
    DAY,
    OFF,
    Seen,
    State,
    above,
    begun,
    below,
    charged,
    left,
    named,
    recovered,
    terms_of,
    told,
)
from proxy.guard.store import Memory, Store, Table, open_store, read_states
from proxy.guard.witness import Whole
from proxy.ledger import LedgerError, connect
from proxy.pricing import Price
from proxy.savings import Measured, Outcome, Usage
from proxy.settings import Chosen, Guarding, Settings, Upstream

NOON = 1_900_000_000.0
TERMS = Guarding(share=1.0, usd_per_day=1.0)
HALF: Policy = build({"half": {"extends": "safe", "context": {"compressor": "lexical", "rate": 0.5}}}, TABLES, [])[
    "half"
]
BAD, SAME = Seen(0.8, 0.9), Seen(0.0, 0.9)


def seen(state: State, *observations: Seen) -> State:
    return reduce(lambda s, o: told(s, o, TERMS, below(HALF, s.level), NOON + 60), observations, state)


# Changes


def test_each_rejection_steps_down_one_level_and_the_test_starts_afresh() -> None:
    state, levels = State("rag", "", NOON), [0]
    for _ in range(200):
        state = seen(state, BAD)
        if state.level != levels[-1]:
            levels.append(state.level)
            assert (state.evidence.samples, state.alike, state.since) == (0, 0.0, NOON + 60)
        if state.level == OFF:
            break
    assert [named(level) for level in levels] == ["as configured", "keep 60%", "keep 80%", "keep 90%", "off"]


def test_answers_that_agree_change_nothing_but_the_counts() -> None:
    state = seen(State("rag", "", NOON), *[SAME] * 500)
    assert (state.level, state.evidence.samples, state.evidence.mean) == (0, 500, 0)
    assert state.baseline == pytest.approx(0.9)


def test_levels_that_would_change_nothing_are_passed_over() -> None:
    """What drops nothing is stepped down to off at once; where 70 % stays, the first floor is 80 %."""
    assert below(PRESETS["safe"], 0) == OFF
    table = {"mild": {"extends": "safe", "context": {"compressor": "lexical", "rate": 0.7}}}
    mild = build(table, TABLES, [])["mild"]
    assert [named(below(mild, 0)), named(above(mild, OFF)), named(above(mild, below(mild, 0)))] == [
        "keep 80%",
        "keep 90%",
        "as configured",
    ]


def test_a_level_is_tried_again_after_the_hours_that_are_configured() -> None:
    state = State("rag", "", NOON, level=2)
    assert recovered(state, 24, above(HALF, 2), NOON + 24 * 3600 - 1) is state
    later = recovered(state, 24, above(HALF, 2), NOON + 24 * 3600)
    assert (later.level, later.since) == (1, NOON + 24 * 3600)
    assert recovered(State("rag", "", NOON), 24, 0, NOON * 2).since == NOON


def test_other_terms_begin_another_test_at_the_same_level() -> None:
    state = replace(seen(State("rag", "half 0.05", NOON, level=1, spent=0.5), BAD))
    assert begun([state], "rag", "half 0.05", NOON + 90) is state
    other = begun([state], "rag", "half 0.1", NOON + 90)
    assert (other.level, other.evidence.samples, other.since, other.spent) == (1, 0, NOON + 90, 0.0)
    assert not other.same_test(state)
    assert begun([state, other], "rag", "half 0.05", NOON + 95) is state
    assert begun([replace(state, level=2, day=7), other], "rag", "new", NOON).level == 2  # the one used last


def test_money_is_counted_by_the_day() -> None:
    state = charged(charged(State("rag", "", NOON), 0.5, NOON), 0.25, NOON)
    assert (left([state], 1.0, NOON), left([state], 1.0, NOON + DAY)) == (0.25, 1.0)
    assert left([state, replace(state, terms="other", spent_today=0.125)], 1.0, NOON) == 0.125
    tomorrow = charged(state, 0.125, NOON + DAY)
    assert (tomorrow.spent_today, tomorrow.spent) == (0.125, 0.875)
    assert charged(state, -0.5, NOON).spent_today == 0.25


# Budget and test together


def sample(state: State | None = None, terms: Guarding = TERMS, of: str = "half 0.05 test") -> Sample:
    settings = Settings({"fake": Upstream("fake", "http://x")}, (), {"half": HALF})
    measured = Measured(Outcome.COMPRESSED, model="m", tokens_before=900, tokens_after=400)
    scope = {"headers": [], "raw_path": b"/rag/v1/chat/completions", "query_string": b""}
    request = Request(settings, Route("rag", "fake", "half", "/rag"), scope, b'{"model": "m"}', measured)
    return Sample(request, terms, of, state, Whole([], b""))


def only(states: Sequence[State]) -> State:
    (state,) = states
    return state


def observe(book: Book, one: Sample, seen: Seen) -> int:
    """The level of its test after one more observation."""
    reserved = book.reserve(one, 0.0)
    assert reserved
    return book.settle(replace(one, state=reserved), reserved, 0.0, seen).level


def test_two_policies_on_one_route_are_two_tests() -> None:
    """Workers with different configurations share a ledger: each finds out."""
    book, levels = Book(Memory()), {"one": 0, "other": 0}
    for n in range(200):
        of = ("one", "other")[n % 2]
        levels[of] = max(levels[of], observe(book, sample(of=of), BAD))
    assert levels == {"one": OFF, "other": OFF}


def test_what_is_tested_changes_with_all_that_makes_answers_what_they_are() -> None:
    route = Route("rag", "fake", "half")
    base = Settings({"fake": Upstream("fake", "http://x")}, (route,), {"half": HALF}, guards={"rag": TERMS})
    mild = build({"half": {"extends": "safe", "context": {"compressor": "lexical", "rate": 0.7}}}, TABLES, [])
    others = [
        replace(base, policies=mild),
        replace(base, upstreams={"fake": Upstream("fake", "http://y")}),
        replace(base, compressors={"lexical": Chosen("truncate")}),
        replace(base, guards={"rag": replace(TERMS, margin=0.1)}),
    ]
    found = [terms_of(settings, route) for settings in (base, *others)]
    assert len(set(found)) == 5
    key = {"fake": Upstream("fake", "http://x", key="secret")}
    other_key = replace(base, upstreams=key, ledger="l", compressors={"unused": Chosen("truncate")})
    assert terms_of(other_key, route) == found[0]
    assert found[0].startswith("half 0.05 ")


def test_a_budget_that_was_raised_is_noticed_on_the_same_day() -> None:
    book = Book(Memory())
    assert book.reserve(sample(terms=replace(TERMS, usd_per_day=0.001)), 0.01) is None
    assert book.reserve(sample(terms=replace(TERMS, usd_per_day=1.0)), 0.01)


def stores(path: Path) -> Sequence[Store]:
    return Memory(), Table(path / "ledger")


def test_what_is_set_aside_is_never_more_than_the_day_has(tmp_path: Path) -> None:
    for store in stores(tmp_path):
        book = Book(store)
        assert book.reserve(sample(), 0.6)
        assert book.reserve(sample(), 0.6) is None
        assert book.reserve(sample(), 0.1) is None  # the day is over, for small ones too
        assert Book(store).reserve(sample(), 0.3)  # another worker has not seen that one, and there is room
        assert only(store.load()).spent_today == pytest.approx(0.9)
        book.close()


def test_what_was_not_needed_is_given_back() -> None:
    store = Memory()
    book = Book(store)
    reserved = book.reserve(sample(), 0.6)
    assert reserved
    assert book.settle(sample(), reserved, -0.5, SAME).spent_today == pytest.approx(0.1)


def test_several_workers_make_up_one_test(tmp_path: Path) -> None:
    """Each with its own connection: together they need as many samples as one alone."""
    alone = next(n for n in range(1, 99) if seen(State("rag", "", NOON), *[BAD] * n).level)
    workers = [Book(Table(tmp_path / "ledger")) for _ in range(3)]
    levels = []
    for n in range(alone):
        book = workers[n % 3]
        now = next(iter(read_states(tmp_path / "ledger")), None)
        reserved = book.reserve(sample(now), 0.001)
        assert reserved
        levels.append(book.settle(sample(now), reserved, 0.0, BAD).level)
    assert levels == [0] * (alone - 1) + [1]
    for book in workers:
        book.close()


def test_an_observation_of_an_earlier_level_does_not_count() -> None:
    store = Memory()
    book = Book(store)
    reserved = book.reserve(sample(), 0.0)
    assert reserved
    store.change("rag", lambda s: replace(only(s), level=1, since=NOON))
    assert book.settle(sample(), reserved, 0.0, BAD).evidence.samples == 0
    again = book.reserve(sample(), 0.0)  # drawn before the step, set aside after it
    assert again
    assert book.settle(sample(), again, 0.0, BAD).evidence.samples == 0
    assert book.settle(sample(again), again, 0.0, BAD).evidence.samples == 1


def test_a_level_whose_time_has_come_is_raised_for_all(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "ledger"))
    store.change("rag", lambda _: State("rag", "half 0.05", 1.0, level=OFF))
    store.change("old", lambda _: State("old", "half 0.05", 1.0, level=OFF))
    book = Book(store)
    settings = Settings({}, (Route("rag", "fake", "half"), Route("old", "fake", "half")), {"half": HALF})
    guards = {"rag": replace(TERMS, recover_hours=1.0), "old": TERMS}
    settings = replace(settings, guards=guards)
    store.change("rag", lambda _: State("rag", terms_of(settings, settings.routes[0]), 1.0, level=OFF, day=1))
    levels = {(s.route, s.terms): s.level for s in book.newest(settings)}
    assert levels == {
        ("rag", "half 0.05"): OFF,
        ("rag", terms_of(settings, settings.routes[0])): 3,
        ("old", "half 0.05"): OFF,
    }
    assert {(s.route, s.terms): s.level for s in book.newest(settings)} == levels  # its hour has only begun
    book.close()


def test_a_level_taken_over_from_another_policy_is_raised_after_its_hours_too() -> None:
    store = Memory()
    store.change("rag", lambda _: State("rag", "another policy", 1.0, level=OFF))
    settings = Settings({}, (Route("rag", "fake", "half"),), {"half": HALF})
    settings = replace(settings, guards={"rag": replace(TERMS, recover_hours=1.0)})
    mine = [s for s in Book(store).newest(settings) if s.terms != "another policy"]
    assert [(s.level, s.since > NOON / 2) for s in mine] == [(OFF, True)]  # its hour begins
    store.change("rag", lambda _: replace(mine[0], since=2.0))
    assert next(s.level for s in Book(store).newest(settings) if s.terms == mine[0].terms) == 3


# The file


def test_a_state_is_kept_to_the_last_digit(tmp_path: Path) -> None:
    state = replace(seen(State("rag", "half 0.05", NOON), BAD, SAME, Seen(-1 / 3, 0.1)), day=3, spent=1 / 7)
    store = open_store(str(tmp_path / "ledger"))
    store.change("rag", lambda _: state)
    store.close()
    assert read_states(tmp_path / "ledger") == [state]


def test_no_change_is_lost_among_several_workers(tmp_path: Path) -> None:
    path, new = tmp_path / "ledger", State("rag", "", NOON)

    def work() -> None:
        store = Table(path)
        for _ in range(40):
            store.change("rag", lambda s: replace(s[0] if s else new, spent=(s[0].spent if s else 0) + 1))
        store.close()

    Table(path).close()
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work) for _ in range(3)]:
            done.result()
    assert only(read_states(path)).spent == 120


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "ledger"))
    store.change("rag", lambda _: State("rag", "", NOON))
    with pytest.raises(ZeroDivisionError):
        store.change("rag", lambda s: replace(only(s), level=1 // 0))
    assert store.change("rag", lambda s: replace(only(s), level=1)) == State("rag", "", NOON, level=1)
    store.close()


@pytest.mark.parametrize(
    "evidence",
    ["[1,1,1,1,1,0.5]", "", "{}", "[1,1", "[1,2,3,4,5,6,7,8,9,10,1e999]", '["a"]', b"\xff", 7],
    ids=["other bets", "empty", "no list", "cut off", "infinite", "no numbers", "no text", "a number"],
)
def test_a_test_with_other_bets_or_damaged_evidence_begins_anew(tmp_path: Path, evidence: object) -> None:
    store = open_store(str(tmp_path / "ledger"))
    store.change("rag", lambda _: seen(State("rag", "t", NOON, level=2, spent=2.0), BAD))
    store.close()
    with closing(connect(tmp_path / "ledger")) as connection:
        connection.execute("UPDATE guard SET evidence = ?", (evidence,))
    assert read_states(tmp_path / "ledger") == [State("rag", "t", NOON, level=2, spent=2.0)]
    assert main(["guard", "--ledger", str(tmp_path / "ledger")]) == 0


@pytest.mark.parametrize("level", [-1, 99, "two"])
def test_a_level_that_is_none_is_off(tmp_path: Path, level: object) -> None:
    with closing(open_store(str(tmp_path / "ledger"))) as store:
        store.change("rag", lambda _: State("rag", "t", NOON, level=2))
    with closing(connect(tmp_path / "ledger")) as connection:
        connection.execute("UPDATE guard SET level = ?", (level,))
    assert only(read_states(tmp_path / "ledger")).level == OFF


def test_a_file_from_before_the_guard_gets_its_table(tmp_path: Path) -> None:
    from proxy.ledger import MIGRATIONS

    connect(tmp_path / "ledger", MIGRATIONS[:1]).close()
    with pytest.raises(LedgerError, match="older version"):
        read_states(tmp_path / "ledger")
    open_store(str(tmp_path / "ledger")).close()
    assert read_states(tmp_path / "ledger") == []


def test_a_row_a_route_becomes_the_row_of_its_test(tmp_path: Path) -> None:
    from proxy.ledger import MIGRATIONS

    values = ("rag", "half 0.05", NOON, 2, 3, "[]", 0.0, 5, 0.25, 1.5)
    with closing(connect(tmp_path / "ledger", MIGRATIONS[:3])) as connection:
        connection.execute("INSERT INTO guard VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    with closing(open_store(str(tmp_path / "ledger"))) as store:
        old = State("rag", "half 0.05", NOON, level=2, day=5, spent_today=0.25, spent=1.5)
        assert store.load() == [old]
        assert begun(store.load(), "rag", "half 0.05 1f", NOON).level == 2


# The original


def test_only_the_wish_for_a_stream_is_taken_out_of_a_body() -> None:
    body = b'{"model":"m", "n":1.0,"stream" : true,"stream_options":{"include_usage": true},"x":"\\u00e9\xc3\xa9"}\n'
    assert unstreamed(body) == (
        b'{"model":"m", "n":1.0,"stream" : false,"stream_options":null,"x":"\\u00e9\xc3\xa9"}\n'
    )
    for other in (b'{"model": 1e400}', b"\xff", b"[1]", b'{"stream": true, "stream": false}', b'{"stream"'):
        assert unstreamed(other) == other


def test_an_original_goes_where_the_request_went_and_is_no_repetition_of_it() -> None:
    one = sample().request
    one.scope["headers"] += [(b"authorization", b"Bearer k"), (b"idempotency-key", b"7"), (b"accept-encoding", b"br")]
    one.scope["query_string"] = b"api-version=1"
    it = call(one)
    assert (it.target, it.body) == (b"/v1/chat/completions?api-version=1", one.body)
    assert it.headers == [(b"accept-encoding", b"identity"), (b"authorization", b"Bearer k")]


def test_the_estimate_is_above_what_the_original_costs() -> None:
    price = Price(2.0, cached=0.5, output=8.0)
    billed = Answer("x", usage=Usage(420, 30))
    assert estimate(price, sample().request, billed) > (920 * 2 + 30 * 8) / 1e6
    assert estimate(price, sample().request, Answer("x" * 300)) > (len(sample().request.body) / 4 * 2 + 75 * 8) / 1e6
    long = replace(sample().request, body=b'{"max_tokens": 50, "max_completion_tokens": 2000, "n": 3}')
    assert estimate(price, long, billed) > (920 * 2 + 6000 * 8) / 1e6
    assert cost(price, Usage(100, 10, cached=50)) == pytest.approx((50 * 2 + 50 * 0.5 + 80) / 1e6)
    assert cost(price, Usage(100, 10)) == pytest.approx((200 + 80) / 1e6)  # cached unknown: none
    assert cost(price, Usage(100)) is None
    assert cost(price, None) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 60),
        ("7", 7),
        ("0", 1),
        ("-5", 1),
        ("soon", 60),
        ("nan", 60),
        ("1e9", DAY),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
    ],
)
def test_how_long_an_upstream_is_left_alone(header: str, seconds: float) -> None:
    assert pause(header) == seconds


# What people see


def test_the_command_shows_the_states_and_resets_a_route(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger"

    def said(*arguments: str) -> str:
        status = main([*arguments, "--ledger", str(path)])
        out, err = capsys.readouterr()
        assert (status, bool(err)) in ((0, False), (2, True))
        return out + err

    assert "there is no ledger" in said("guard")
    store = open_store(str(path))
    assert said("guard", "status") == "The quality guard has compared nothing yet.\n"
    assert "Quality guard" not in said("report")
    store.change("rag", lambda _: seen(State("rag", "half 0.05", NOON, level=1, spent=0.25), BAD, SAME))
    line = next(line for line in said("guard").splitlines() if line.split()[:1] == ["rag"])
    assert line.split()[:7] == ["rag", "keep", "60%", "2030-03-17", "17:46", "2", "40.0"]
    assert "Quality guard" in said("report")
    (row,) = json.loads(said("report", "--json"))["guard"]
    assert (row["route"], row["compression"], row["samples"], row["worse"]) == ("rag", "keep 60%", 2, 0.4)
    assert "knows no route 'rga'; known: rag" in said("guard", "reset", "rga")
    assert "takes a route" in said("guard", "reset")
    assert "as configured" in said("guard", "reset", "rag")
    assert (only(store.load()).level, only(store.load()).evidence.samples) == (0, 0)
    store.close()


# Configuration


def test_a_guard_is_read_from_its_route() -> None:
    text = "[[route]]\nname = 'a'\npath = '/a'\nguard = { share = 0.1, recover_hours = 24 }\n[[route]]\nname = 'b'"
    found, complaints = read(text)
    assert (found.guards, complaints) == ({"a": Guarding(share=0.1, recover_hours=24)}, [])
    assert read("[[route]]\nname = 'a'\nguard = {}")[0].guards == {"a": Guarding()}


@pytest.mark.parametrize(
    ("guard", "place"),
    [
        ("{ share = 0 }", "route.0.guard.share"),
        ("{ share = 2 }", "route.0.guard.share"),
        ("{ usd_per_day = 0 }", "route.0.guard.usd_per_day"),
        ("{ confidence = 1 }", "route.0.guard.confidence"),
        ("{ margin = 1.0 }", "route.0.guard.margin"),
        ("{ recover_hours = 0 }", "route.0.guard.recover_hours"),
        ("{ shar = 0.1 }", "route.0.guard.shar"),
        ("true", "route.0.guard"),
    ],
)
def test_a_guard_that_makes_no_sense_is_refused(guard: str, place: str) -> None:
    assert [where for where, _ in problems(f"[[route]]\nname = 'a'\nguard = {guard}")] == [place]

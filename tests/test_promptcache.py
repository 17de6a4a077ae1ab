"""The simulated prompt cache, on rows of tokens short enough to count by hand."""

import json
from math import ceil

import numpy as np
import pytest
from promptcache.prompts import rendered
from promptcache.provider import Prompt, Provider, Rules, input_usd

from proxy.pricing import Price, known
from proxy.savings import Usage


def row(size: int, first: int = 0) -> Prompt:
    return Prompt(np.arange(first, first + size, dtype=np.int32))


def changed(size: int, at: int) -> Prompt:
    """The same row with another token at one place."""
    tokens = row(size).tokens.copy()
    tokens[at] = -1
    return Prompt(tokens)


def test_a_prompt_of_fewer_tokens_than_the_minimum_is_neither_kept_nor_written() -> None:
    provider = Provider()
    assert provider.ask(row(1023), 0) == Usage(1023, 0, 0, 0)
    assert provider.ask(row(1023), 1) == Usage(1023, 0, 0, 0)


def test_a_prompt_of_the_minimum_is_written_once_and_then_read() -> None:
    provider = Provider()
    assert provider.ask(row(1024), 0) == Usage(1024, 0, 0, 1024)
    assert provider.ask(row(1024), 1) == Usage(1024, 0, 1024, 0)


def test_only_whole_blocks_are_kept() -> None:
    provider = Provider()
    assert provider.ask(row(1300), 0).cache_write == 1280  # ten blocks of 128
    assert provider.ask(row(1300), 1) == Usage(1300, 0, 1280, 0)
    assert provider.ask(row(1500), 2) == Usage(1500, 0, 1280, 128)  # to 1408


@pytest.mark.parametrize(("place", "cached"), [(1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (1999, 1920)])
def test_a_prefix_counts_up_to_the_block_in_which_the_prompts_differ(place: int, cached: int) -> None:
    provider = Provider()
    provider.ask(row(2000), 0)
    assert provider.ask(changed(2000, place), 1).cached == cached


def test_the_same_tokens_behind_another_beginning_are_not_read() -> None:
    provider = Provider()
    provider.ask(row(2000), 0)
    assert provider.ask(changed(2000, 0), 1) == Usage(2000, 0, 0, 1920)


def test_a_prefix_lives_from_its_last_use() -> None:
    provider = Provider(Rules(ttl=600))
    seen = [provider.ask(row(1024), at).cached for at in (0, 600, 1200, 1801)]
    assert seen == [0, 1024, 1024, 0]


def test_a_read_of_a_part_keeps_only_that_part_alive() -> None:
    provider = Provider(Rules(ttl=600))
    provider.ask(row(2048), 0)
    provider.ask(row(1024), 500)
    assert provider.ask(row(2048), 900).cached == 1024


@pytest.mark.parametrize("other", [("b", "o", "k"), ("a", "p", "k"), ("a", "o", "l")])
def test_models_organisations_and_cache_keys_share_nothing(other: tuple[str, str, str]) -> None:
    provider = Provider()
    provider.ask(row(1024), 0, ("a", "o", "k"))
    assert provider.ask(row(1024), 1, other).cached == 0
    assert provider.ask(row(1024), 2, ("a", "o", "k")).cached == 1024


def test_explicit_rules_keep_what_stands_before_a_mark_and_nothing_else() -> None:
    provider = Provider(Rules(explicit=True))
    tokens = row(3000).tokens
    assert provider.ask(Prompt(tokens, (1500, 3000), ()), 0) == Usage(3000, 0, 0, 0)
    assert provider.ask(Prompt(tokens, (1500, 3000), (0,)), 1) == Usage(3000, 0, 0, 1500)
    assert provider.ask(Prompt(tokens, (1500, 3000), (1,)), 2) == Usage(3000, 0, 1500, 1500)
    assert provider.ask(Prompt(tokens, (1500, 3000), (1,)), 3) == Usage(3000, 0, 3000, 0)


def test_explicit_rules_do_not_keep_less_than_the_minimum() -> None:
    provider = Provider(Rules(explicit=True))
    prompt = Prompt(row(3000).tokens, (1000, 3000), (0,))
    assert [provider.ask(prompt, at).cache_write for at in (0, 1)] == [0, 0]


def test_a_lookup_goes_back_over_twenty_parts_and_no_more() -> None:
    tokens = row(26_000).tokens
    ends = tuple(range(1000, 27_000, 1000))
    for last, cached in ((21, 2000), (22, 0)):
        provider = Provider(Rules(explicit=True))
        provider.ask(Prompt(tokens, ends, (1,)), 0)
        assert provider.ask(Prompt(tokens, ends, (last,)), 1).cached == cached


def test_a_longer_conversation_begins_with_the_tokens_of_the_shorter_one() -> None:
    said = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": [{"type": "text", "text": "Hello <|endoftext|>"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "content": "nothing", "tool_call_id": "1"},
    ]
    rows = [rendered(body(said[:n])).tokens for n in (2, 4)]
    assert rows[0].tolist() == rows[1][: len(rows[0])].tolist()


def test_a_mark_in_a_message_is_found_and_costs_no_token() -> None:
    part: dict[str, object] = {"type": "text", "text": "A long document."}
    marked = rendered(body([{"role": "user", "content": [part | {"cache_control": {"type": "ephemeral"}}]}]))
    plain = rendered(body([{"role": "user", "content": [part]}]))
    assert (marked.marks, plain.marks) == ((0,), ())
    assert marked.tokens.tolist() == plain.tokens.tolist()
    assert marked.ends[0] == len(marked.tokens) - 3  # what begins the answer


def body(messages: object) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": messages}).encode()


def test_input_costs_what_each_of_its_tokens_costs() -> None:
    usage = Usage(10_000, 0, 6000, 3000)
    assert input_usd(usage, Price(2.0, 0.5, None, 8.0)) == pytest.approx((4000 * 2 + 6000 * 0.5) / 1e6)
    assert input_usd(usage, Price(4.0, 0.4, 5.0, 20.0)) == pytest.approx((1000 * 4 + 6000 * 0.4 + 3000 * 5) / 1e6)


@pytest.mark.parametrize(
    ("model", "share", "turns"),
    [("gpt-5.6", 0.5, 10.5), ("gpt-5", 0.5, 8), ("gpt-4.1", 0.5, 2), ("gpt-4o", 0.5, 0), ("gpt-5", 0.25, 2)],
)
def test_rewriting_a_warm_prefix_pays_back_after_the_turns_that_the_arithmetic_says(
    model: str, share: float, turns: float
) -> None:
    """n = (k w - r) / ((1 - k) r) later turns, for a prefix rewritten once to its share k; w, r: what a token written
    and one read cost, as multiples of one that is neither."""
    price = known()[model]
    write = (price.cache_write or price.input) / price.input
    read = (price.cached or price.input) / price.input
    assert (share * write - read) / ((1 - share) * read) == pytest.approx(turns)
    kept, rewritten = Provider(), Provider()
    for provider in (kept, rewritten):
        provider.ask(row(12_800), 0)
    lost, later = 0.0, -1
    while later < 0 or lost > 1e-12:
        later += 1
        lost += input_usd(rewritten.ask(row(int(12_800 * share), first=1), 60.0 * later), price)
        lost -= input_usd(kept.ask(row(12_800), 60.0 * later), price)
    assert later == ceil(turns)

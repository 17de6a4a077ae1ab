"""The encoding of a model, by its name."""

import pytest

from proxy.tokens import encoding_for

O200K, CL100K = "o200k_base", "cl100k_base"


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", O200K),
        ("gpt-4o-mini-2024-07-18", O200K),
        ("gpt-4.1-nano", O200K),
        ("gpt-4.5-preview", O200K),
        ("gpt-5", O200K),
        ("gpt-5.6-terra", O200K),
        ("chatgpt-4o-latest", O200K),
        ("chatgpt-next", O200K),
        ("o1", O200K),
        ("o1-mini", O200K),
        ("o3-pro-2025-06-10", O200K),
        ("o4", O200K),
        ("o4-mini", O200K),
        ("gpt-oss", O200K),
        ("gpt-oss-120b", O200K),
        ("gpt-4", CL100K),
        ("gpt-4-0613", CL100K),
        ("gpt-4-turbo", CL100K),
        ("gpt-3.5-turbo-16k", CL100K),
        ("gpt-35-turbo", CL100K),
        ("text-embedding-3-small", CL100K),
        ("ft:gpt-4o-mini:acme::AbC1", O200K),
        ("ft:gpt-4.1-mini-2025-04-14:acme:suffix:AbC1", O200K),
        ("ft:gpt-3.5-turbo:acme::AbC1", CL100K),
        ("openai/gpt-4o", O200K),
        ("openrouter/openai/gpt-4o:extended", O200K),
        ("azure/gpt-35-turbo", CL100K),
        ("GPT-4o", O200K),
    ],
)
def test_openai_models_are_counted_by_their_own_encoding(model: str, encoding: str) -> None:
    assert encoding_for(model) == (encoding, False)


@pytest.mark.parametrize(
    "model",
    [
        "",
        "claude-sonnet-5",
        "llama-3.3-70b",
        "gpt-6-sol",
        "text-davinci-003",
        "gpt2",
        "o365",
        "mistral/o1x",
        "ft:",
        "/",
    ],
)
def test_others_are_estimated_by_the_newest_encoding_and_say_so(model: str) -> None:
    assert encoding_for(model) == (O200K, True)

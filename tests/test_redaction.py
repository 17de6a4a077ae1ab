"""What recorded requests do not tell: each kind of value is replaced by one of its shape, and nothing else is."""

import json
import re
from typing import Any

import pytest

from proxy.redaction import DROPPED, redact


def said(text: str) -> str:
    redacted: str = redact({"messages": [{"role": "user", "content": text}]})["messages"][0]["content"]
    return redacted


def shape(text: str) -> str:
    return re.sub(r"[A-Z]", "A", re.sub(r"[a-z]", "a", re.sub(r"\d", "0", text)))


SECRETS = [
    ("e-mail", "write to {} today", "mary.jones+shop@mill-lane.example.org", ".org"),
    ("phone, international", "call {}, please", "+44 20 7946 0958", ""),
    ("phone, national", "call {}.", "020 7946 0958", ""),
    ("phone, American", "call {} or come", "(415) 555-0132", ""),
    ("social security", "SSN {} on file", "078-05-1120", ""),
    ("card", "paid with {} on", "4111 1111 1111 1111", ""),
    ("account", "to IBAN {} AND THEN", "DE89 3704 0044 0532 0130 00", ""),
    ("account without blanks", "to {}.", "GB82WEST12345698765432", ""),
    ("customer number", "customer {} says", "88213749", ""),
    ("IPv4", "from {}.", "203.0.113.27", ""),
    ("IPv6", "from {} on", "2001:db8::8a2e:370:7334", ""),
    ("hardware address", "on {} now", "3c:22:fb:1a:9d:07", ""),
    ("key", "key is {}", "sk-proj-aB3dE5fG7hI9jK1lM3nO", ""),
    ("cloud key", "with {} in", "AKIAIOSFODNN7EXAMPLE", "AKIA"),
    ("web token", "send {} along", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3", ""),
    ("hash", "commit {} broke", "9fceb02d0ae598e95dc970b74767f19372d61af8", ""),
    ("random", "blob {} end", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA==", ""),
    ("uuid", "id {} is", "123e4567-e89b-42d3-a456-426614174000", ""),
    ("password", 'set "password": "{}", then', "hunter-two!", ""),
    ("bearer", "Authorization: Bearer {}", "abcdefghij", ""),
    ("credentials in a URL", "postgres://{}@db.example/shop", "admin:s3cret", ""),
    ("password after blanks", "password:    {} ok", "hunter2secret", ""),
    ("password of a variable", "export DB_PASS={}", "hunter2secret", ""),
    ("password, short label", '{{"pass": "{}"}}', "hunter2secret", ""),
    ("password of a command", "mysql --password {} shop", "hunter2secret", ""),
    ("private key", "private_key: {}", "abcdefSecretqq", ""),
    ("passphrase", "passphrase: {}", "correcthorse", ""),
    ("account key", "AccountKey={};x", "abcDEFghi", ""),
    ("cookie", "Cookie: session={}", "abcdefghijkl; theme=dark; id=zyxwvu", ""),
    ("user and password", "curl -u admin:{} here", "huntersecret", ""),
    ("phone without a blank", "call {} now", "(555)123-4567", ""),
    ("cloud secret", "it is {} there", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""),
    ("password with an @ in a URL", "postgres://{}@db.host/x", "u:p@sswordx", ""),
    ("query of a URL", "see https://shop.example/orders?customer={}&page for it", "jones", ""),
]


@pytest.mark.parametrize(("text", "value", "stays"), [case[1:] for case in SECRETS], ids=[case[0] for case in SECRETS])
def test_a_value_becomes_another_of_the_same_shape_and_what_stands_around_it_stays(
    text: str, value: str, stays: str
) -> None:
    redacted = said(text.format(value))
    before, after = text.format("{}").split("{}")
    assert redacted.startswith(before)
    assert redacted.endswith(after)
    stand_in = redacted[len(before) : len(redacted) - len(after)]
    assert value not in redacted
    assert shape(stand_in) == shape(value)
    if stays == ".org":
        assert stand_in.endswith(stays)


ORDINARY = [
    "On 2024-05-15 at 10:00:30 the 3rd of 1,250 members paid 25.50 euros, 7 % less than in 1998.",
    "Chapter 12.3.4 follows; call std::vector<int> x; see section 4 (page 120-125).",
    "05/12/2023 or 05-12-2023: room 101, 2 x 3 m, 1 000 000 people.",
    "A test_of_some_long_function_name_with_words in /usr/local/lib/python3/site-packages/numpy/core stays.",
    "The tokens are few, the key is under the mat, and no secret is told.",
    "https://bikes.example/rides/winter#top has no query.",
    "The bypass: enabled; a session is open, compass: north-west and the cookie: chocolate stay.",
    "An AbstractSingletonProxyFactoryBeanImplementation and a getHTTPSURLConnectionFactoryForX509Certs.",
    "C:\\new\\table\\users and \\nu, \\u00e9 and \\\\n are as they were at 10:00.",
    "Members are listed by name: Mary Jones, Li Wei.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert said(text) == text


def test_a_value_has_one_stand_in_within_a_body_and_another_in_the_next() -> None:
    content = "ann.lee@example.org wrote; answer ann.lee@example.org but not bob@example.org"
    first, second = said(content), said(content)
    ann, again, bob = re.findall(r"\S+@\S+", first)
    assert ann == again != bob
    assert first != second


def test_whatever_names_the_caller_goes_and_the_rest_of_the_body_stays() -> None:
    body: dict[str, Any] = {
        "model": "gpt-4o-2024-11-20",
        "temperature": 0.5,
        "stream": True,
        "user": "u1",
        "metadata": {"who": "ann"},
        "safety_identifier": "s",
        "prompt_cache_key": "ann",
        "tools": [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}],
        "messages": [
            {"role": "user", "name": "Anneliese", "content": "hello"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/gif;base64,iVBO"}}],
            },
        ],
    }
    redacted = redact(body)
    assert set(body) - set(redacted) == set(DROPPED)
    for key in ("model", "temperature", "stream", "tools"):
        assert redacted[key] == body[key]
    assert redacted["messages"][0]["name"] != "Anneliese"
    assert redacted["messages"][1]["content"][0]["image_url"]["url"] == "data:image/gif;base64,AAAA"


def test_calls_and_results_of_tools_stay_pairs_and_arguments_stay_json() -> None:
    number, arguments = "call_Q8xT2b7Yp4Lk9Zw3Vn6M", '{"mail": "ann@example.org", "n": 123456789}'
    call = {"id": number, "type": "function", "function": {"name": "send", "arguments": arguments}}
    messages = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": number, "content": "ok"}]
    asked, answered = redact({"messages": messages})["messages"]
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    sent = json.loads(asked["tool_calls"][0]["function"]["arguments"])
    assert sent["mail"].endswith(".org")
    assert "ann@" not in sent["mail"]
    assert sent["n"] != 123456789


def test_long_texts_leave_the_interpreter_to_others_now_and_then() -> None:
    pauses: list[None] = []
    redact({"messages": [{"role": "user", "content": "line 1\n" * 10_000}]}, lambda: pauses.append(None))
    assert len(pauses) == 17  # 70,000 characters, about 4,000 at a time


ODD = (
    "-----BEGIN A KEY-----" * 15_000,
    "-----BEGIN A KEY-----" + "a" * 300_000,
    "\\" * 300_000,
    "\\n" * 150_000,
    "password " * 30_000,
    "pass-" * 60_000,
    "cookie: a=" + "b;" * 150_000,
    "-u " * 100_000,
)


def test_hostile_text_takes_no_time_worth_naming() -> None:
    """Each would take minutes where a pattern looks at characters over and over; the limit of tests ends that."""
    for text in (
        "a" * 300_000,
        "1" * 300_000,
        "1 " * 150_000,
        "a." * 150_000,
        "ab12:" * 60_000,
        "AB12 " * 60_000,
        *ODD,
    ):
        assert len(said(text + "@")) == len(text) + 1


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_json_within_texts_stays_json_and_no_escape_hides_what_stands_behind_it(levels: int, plain: bool) -> None:
    """Escapes end words, and are never changed; numbers do not begin to begin with zero."""
    secrets = ("alice@example.com", "123-45-6789", "10.20.30.40", "AKIAIOSFODNN7EXAMPLQ", "ghp_abcdefghijklmnopqrst")
    told: Any = {
        "text": "".join(f"{end}{secret} and" for end in ("\n", "\t", '"', "\\", "\r\n", ", ") for secret in secrets),
        "umlaut": "jürgen.müller@example.com",
        "rest": "naïve \b\f\u2028 \U0001f600 ends",
        "flags": [{"token": True}, {"session": [[None]]}, {"secret": False}, {"x": {"password": 1234567}}],
        "n": [123456789, 0, -98765432101, 0.123456789],
    }
    text: Any = told
    for _ in range(levels):
        text = json.dumps(text, ensure_ascii=not plain)
    for _ in range(20):
        found: Any = said(text)
        assert not [secret for secret in secrets if secret in found]
        assert "ller@" not in found
        assert "rgen." not in found
        for _ in range(levels):
            found = json.loads(found)
        assert found["rest"] == told["rest"]
        assert re.sub(r"\w", "", found["text"]) == re.sub(r"\w", "", told["text"])
        assert found["n"][0] != 123456789
        assert found["flags"][:3] == told["flags"][:3]
        assert found["flags"][3]["x"]["password"] > 999_999


def test_a_value_is_seen_wherever_a_long_line_is_cut() -> None:
    for value in ("alice.smith@example.com", "password=hunter2secret", '"token": "hunter2secret"'):
        for before in range(3960, 4002):
            found = said("x " * (before // 2) + "y" * (before % 2) + " " + value + " rest")
            assert "smith" not in found
            assert "hunter2" not in found
            assert found.endswith(" rest")


def test_of_a_value_longer_than_a_cut_nothing_stays() -> None:
    blob = "aZ3" * 7000
    found = said(f"see {blob} there")
    assert "aZ3aZ3aZ3" not in found
    assert found.startswith("see ")
    assert found.endswith(" there")


@pytest.mark.parametrize("end", ["-----END RSA PRIVATE KEY-----\nThat was it.", ""])
@pytest.mark.parametrize("escaped", [False, True])
def test_nothing_of_a_key_in_pem_stays(end: str, escaped: bool) -> None:
    lines = ["MIIEpAIBAAKCAQEAabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"] * 3 + ["wxyzabcdefghijklmnopqrstuv=="]
    text = "\n".join(("-----BEGIN RSA PRIVATE KEY-----", *lines, end))
    found = json.loads(said(json.dumps(text))) if escaped else said(text)
    assert found.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert found.endswith("\n" + end)
    assert "MIIE" not in found
    assert "lmnop" not in found
    assert shape(found) == shape(text)

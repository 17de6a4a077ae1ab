"""Models from a hub that lives in this process: a real server on a port, which cuts, damages and refuses as told."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from compressors import Unavailable, hub
from compressors.checkpoint import find, open_checkpoint
from compressors.models import Model, download, models, verify
from proxy.cli import main

NAME = "ada/tiny-classifier"
COMMIT = "c0ffee" * 6
WEIGHTS = bytes(range(256)) * 2000
FILES = {
    "config.json": b'{"architectures": ["BertForTokenClassification"], "model_type": "bert"}',
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_custom.py": b"raise SystemExit",
    "README.md": b"# Tiny",
    "onnx/model.onnx": b"another format",
}


@dataclass
class FakeHub:
    """`cuts`: after how many bytes each of the next answers with weights breaks off. `asked`: path, range, key."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    commit: str = COMMIT
    cuts: list[int] = field(default_factory=list)
    damaged: bool = False
    ranges: bool = True
    errors: list[int] = field(default_factory=list)
    elsewhere: str = ""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def listing(self) -> bytes:
        siblings = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry = {"rfilename": name, "size": len(content), "blobId": blob}
            if len(content) > 10_000:
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        return json.dumps({"id": NAME, "sha": self.commit, "private": False, "siblings": siblings}).encode()

    def ranges_asked(self, name: str) -> list[str | None]:
        return [bytes_ for path, bytes_, _ in self.asked if path.endswith(f"/{name}")]


class Handler(http.server.BaseHTTPRequestHandler):
    hub: FakeHub

    def do_GET(self) -> None:
        fake = self.hub
        asked = self.headers.get("range")
        fake.asked.append((self.path, asked, self.headers.get("authorization")))
        head, _, name = self.path.partition(f"/resolve/{fake.commit}/")
        if head == f"/api/models/{NAME}/revision/main?blobs=true":
            self._send(200, fake.listing())
        elif head.startswith("/api/"):
            self._send(404, b"{}", {"x-error-message": "Invalid rev id"})
        elif fake.errors:
            self._send(fake.errors.pop(0), b"busy")
        elif fake.elsewhere:
            self._send(302, b"", {"location": fake.elsewhere + self.path})
        else:
            self._send_file(fake.files[name], asked if fake.ranges else None)

    def _send_file(self, content: bytes, asked: str | None) -> None:
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        part = content[start:]
        if self.hub.damaged and len(content) > 10_000:
            part = part[:-1] + b"!"
        stop = self.hub.cuts.pop(0) if self.hub.cuts and len(content) > 10_000 else len(part)
        self._send(206 if asked else 200, part, stop=stop)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, stop: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:stop])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(fake: FakeHub) -> Iterator[FakeHub]:
    handler = type("Bound", (Handler,), {"hub": fake})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with served(FakeHub()) as it:
        monkeypatch.setenv("HF_ENDPOINT", it.url)
        monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "models"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(hub, "PAUSE", 0.001)
        yield it


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def downloaded() -> list[Model]:
    return [model for model in models() if not model.name.startswith("laconic/")]


def test_only_what_is_needed_comes_and_is_found_without_the_network(
    fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    folder = download(NAME, told=lambda *progress: told.append(progress))
    assert names(folder) == ["config.json", "laconic.json", "model.safetensors", "tokenizer.json"]
    assert ("model.safetensors", len(WEIGHTS), len(WEIGHTS)) in told
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find(NAME) == folder.resolve()
    assert verify(folder) == []
    (model,) = downloaded()
    assert (model.name, model.kind, model.problem) == (NAME, "token classifier", "")
    assert model.version == open_checkpoint(NAME).version
    assert model.size > len(WEIGHTS)


def test_a_download_that_is_cut_goes_on_where_it_was(fake: FakeHub) -> None:
    fake.cuts = [100_000, 50_000]
    assert (download(NAME) / "model.safetensors").read_bytes() == WEIGHTS
    assert fake.ranges_asked("model.safetensors") == [None, "bytes=100000-", "bytes=150000-"]


def test_another_run_goes_on_too(fake: FakeHub) -> None:
    fake.cuts = [70_000, 0, 0, 0, 0, 0]
    with pytest.raises(Unavailable, match=r"70,000 of 512,000 bytes are there; the same command goes on"):
        download(NAME)
    assert [model.problem for model in downloaded()] == ["not downloaded to the end; the same command goes on"]
    with pytest.raises(Unavailable, match="laconic models download ada/tiny-classifier"):
        find(NAME)
    fake.asked.clear()
    folder = download(NAME)
    assert verify(folder) == []
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert fake.ranges_asked("model.safetensors") == ["bytes=70000-"]
    assert fake.ranges_asked("tokenizer.json") == []


def test_a_hub_without_ranges_is_read_from_the_start(fake: FakeHub) -> None:
    fake.ranges, fake.cuts = False, [100_000]
    assert (download(NAME) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_busy_hub_is_asked_again(fake: FakeHub) -> None:
    fake.errors = [503, 429]
    assert verify(download(NAME)) == []


def test_what_comes_damaged_is_not_kept(fake: FakeHub) -> None:
    fake.damaged = True
    with pytest.raises(Unavailable, match=r"model\.safetensors of ada/tiny-classifier came damaged"):
        download(NAME)
    with pytest.raises(Unavailable):
        find(NAME)
    fake.damaged = False
    assert verify(download(NAME)) == []


def test_a_small_file_is_checked_by_gits_hash(fake: FakeHub) -> None:
    listing = fake.listing()
    fake.files["config.json"] = fake.files["config.json"].replace(b"Bert", b"Bort")
    fake.listing = lambda: listing  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match=r"config\.json of ada/tiny-classifier came damaged"):
        download(NAME)


def test_a_new_commit_takes_the_place_of_the_old_one(fake: FakeHub) -> None:
    folder = download(NAME)
    before = len(fake.asked)
    assert download(NAME) == folder
    assert len(fake.asked) == before + 1  # only the listing
    fake.commit = "beef" * 10
    fake.files = {**FILES, "model.safetensors": WEIGHTS[::-1]}
    assert (download(NAME) / "model.safetensors").read_bytes() == WEIGHTS[::-1]
    assert verify(folder) == []


def test_verify_names_what_is_wrong(fake: FakeHub) -> None:
    folder = download(NAME)
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"!")
    (folder / "tokenizer.json").unlink()
    (folder / "config.json").write_bytes(b"{}")
    (folder / "added_tokens.json").write_bytes(b"{}")
    config, tokenizer, weights, added = verify(folder)
    assert config.endswith("config.json has 2 bytes, not 71")
    assert tokenizer.endswith("tokenizer.json is missing")
    assert "model.safetensors has the sha256" in weights
    assert added.endswith("added_tokens.json is not in the manifest")
    assert verify(download(NAME)) == []  # what is damaged is not "already there"


def test_shards_come_with_their_index(fake: FakeHub) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": WEIGHTS[n:] for n in (1, 2)}
    index = json.dumps(
        {"weight_map": dict.fromkeys(("a", "b"), "")} | {"weight_map": dict(zip("ab", shards, strict=True))}
    )
    kept = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    fake.files = {**kept, **shards, "model.safetensors.index.json": index.encode()}
    folder = download(NAME)
    assert [path.name for path in open_checkpoint(str(folder)).weights] == list(shards)


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("model.safetensors", "has pickled weights only. Laconic reads safetensors"),
        ("tokenizer.json", "has no tokenizer.json: it cannot be used"),
    ],
)
def test_a_model_that_could_not_be_used_is_refused(fake: FakeHub, without: str, said: str) -> None:
    del fake.files[without]
    with pytest.raises(Unavailable, match=said):
        download(NAME)
    assert len(fake.asked) == 1


def test_without_a_hash_nothing_is_fetched(fake: FakeHub) -> None:
    listing = json.loads(fake.listing())
    bare = {**listing, "siblings": [{"rfilename": one["rfilename"]} for one in listing["siblings"]]}
    fake.listing = lambda: json.dumps(bare).encode()  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="gives no hash for config"):
        download(NAME)


def test_a_name_out_of_the_folder_is_no_file_of_a_model(fake: FakeHub) -> None:
    fake.files["../config.json"] = fake.files["0_x/../../config.json"] = b"{}"
    folder = download(NAME)
    assert names(folder.parent) == [f"{folder.name}/{name}" for name in names(folder)]


def test_the_key_goes_to_the_hub_only(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with served(FakeHub()) as store:
        fake.elsewhere = store.url.replace("127.0.0.1", "localhost")
        download(NAME)
        assert {key for _, _, key in fake.asked} == {"Bearer hf_secret"}
        assert {key for _, _, key in store.asked} == {None}
        assert len(store.asked) == 3


@pytest.mark.parametrize(
    ("model", "revision", "said"),
    [
        ("ada/other", "main", "the hub does not give ada/other at main: Invalid rev id"),
        (NAME, "refs/pr/7", "does not give ada/tiny-classifier at refs/pr/7"),
        ("../../etc", "main", "a model is a folder or a name on the hub"),
    ],
)
def test_what_is_not_there_is_said(fake: FakeHub, model: str, revision: str, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        download(model, revision)
    assert all("refs%2Fpr%2F7" in path for path, *_ in fake.asked if "pr" in path)


def test_without_a_network_it_says_so(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 does not answer"):
        download(NAME)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        download(NAME)


def test_the_command(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert "laconic models download NAME" in capsys.readouterr().out
    assert main(["models", "download", NAME]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == find(NAME)
    assert main(["models", "list"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{NAME} token classifier 0.5 {open_checkpoint(NAME).version[:12]}" in shown
    assert main(["models", "verify"]) == 0
    assert "as it was downloaded" in capsys.readouterr().out
    (folder / "tokenizer.json").unlink()
    assert main(["models", "verify", NAME]) == 1
    assert "tokenizer.json is missing" in capsys.readouterr().err
    assert main(["models", "download", "ada/other"]) == 2
    assert capsys.readouterr().err.endswith("the hub does not give ada/other at main: Invalid rev id\n")

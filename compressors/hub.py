"""The Hugging Face hub, or a mirror of it ($HF_ENDPOINT): which files a model has, and getting one of them whole.

Not by `huggingface_hub`: since its release 2 a download that was broken off starts again from nothing, and a large
model on a thin line never arrives. Here, it goes on where it was, also in another process.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import httpx
import msgspec

from compressors.base import Unavailable
from compressors.checkpoint import digest

Progress = Callable[[str, int, int], None]
"""Told of a file's name, of its bytes that are there, and of how many it will have."""
PAUSE = 1.0
"""Seconds before a second attempt; twice as long before each further one."""
_ATTEMPTS = 5  # in a row that bring nothing
_SECONDS = 30


class _Lfs(msgspec.Struct):
    sha256: str


class _Sibling(msgspec.Struct, rename="camel"):
    rfilename: str
    size: int = 0
    blob_id: str = ""
    lfs: _Lfs | None = None


class _Info(msgspec.Struct):
    sha: str
    siblings: list[_Sibling]


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a model. The hub knows the sha256 of large ones; of small ones, git's own hash (`blob`)."""

    name: str
    size: int
    sha256: str
    blob: str

    def matches(self, path: Path) -> bool:
        """Whether these are the bytes that the hub has."""
        if path.stat().st_size != self.size:
            return False
        if self.sha256:
            return digest(path) == self.sha256
        blob = hashlib.sha1(b"blob %d\0" % self.size + path.read_bytes(), usedforsecurity=False)
        return blob.hexdigest() == self.blob


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a model at one commit."""

    model: str
    commit: str
    files: tuple[Remote, ...]


class Hub:
    """A connection to the hub, with the token in $HF_TOKEN where there is one. Used in a `with` block.

    What fails raises `Unavailable`, in words.
    """

    def __init__(self) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            raise Unavailable("HF_HUB_OFFLINE is set: nothing is downloaded")
        self._endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        headers = {"accept-encoding": "identity"}  # sizes and ranges are those of the file
        if token := os.environ.get("HF_TOKEN"):
            headers["authorization"] = f"Bearer {token}"  # httpx takes it off where a redirect leads elsewhere
        self._client = httpx.Client(headers=headers, follow_redirects=True, timeout=_SECONDS)

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def listing(self, model: str, revision: str) -> Listing:
        """What a model has at a revision: a branch, a tag, a commit or a pull request (`refs/pr/1`)."""
        url = f"{self._endpoint}/api/models/{model}/revision/{quote(revision, safe='')}"
        try:
            response = self._client.get(url, params={"blobs": "true"})
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._endpoint} does not answer: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise _refused(response, f"{model} at {revision}")
        try:
            info = msgspec.json.decode(response.content, type=_Info)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self._endpoint} lists {model} in a way that is not understood: {error}") from error
        files = (Remote(s.rfilename, s.size, s.lfs.sha256 if s.lfs else "", s.blob_id) for s in info.siblings)
        return Listing(model, info.sha, tuple(files))

    def fetch(self, listing: Listing, file: Remote, folder: Path, told: Progress) -> None:
        """Gets a file into a folder. Goes on with what an earlier attempt has left there; deletes what came damaged."""
        target = folder / file.name
        if target.is_file() and file.matches(target):
            told(file.name, file.size, file.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{(file.sha256 or file.blob)[:12]}.incomplete")
        url = f"{self._endpoint}/{listing.model}/resolve/{listing.commit}/{quote(file.name)}"
        self._persist(url, file, part, told)
        if not file.matches(part):
            part.unlink()
            raise Unavailable(f"{file.name} of {listing.model} came damaged: its hash is not the hub's; try again")
        part.replace(target)

    def _persist(self, url: str, file: Remote, part: Path, told: Progress) -> None:
        """Until the file is there, or several attempts in a row have brought nothing."""
        failures = 0
        while (before := _size(part)) < file.size or not part.exists():
            try:
                self._stream(url, file, part, told)
                trouble = "the connection was closed early"
            except httpx.TransportError as error:
                trouble = str(error) or type(error).__name__
            failures = 0 if _size(part) > before else failures + 1
            if failures == _ATTEMPTS:
                there = f"{_size(part):,} of {file.size:,} bytes are there; the same command goes on from them"
                raise Unavailable(f"{file.name} does not come through ({trouble}): {there}")
            if failures:
                time.sleep(PAUSE * 2 ** (failures - 1))

    def _stream(self, url: str, file: Remote, part: Path, told: Progress) -> None:
        there = _size(part)
        headers = {"range": f"bytes={there}-"} if there else {}
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code >= 500 or response.status_code == 429:
                raise httpx.ReadError(f"HTTP {response.status_code}")
            if response.status_code not in (200, 206):
                raise _refused(response, file.name)
            with part.open("ab" if response.status_code == 206 else "wb") as out:  # 200: all of it, from the start
                for chunk in response.iter_raw():  # as it comes: a bound on its size would hold some back, and lose it
                    out.write(chunk)
                    told(file.name, out.tell(), file.size)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _refused(response: httpx.Response, what: str) -> Unavailable:
    said = response.headers.get("x-error-message") or f"HTTP {response.status_code}"
    advice = ""
    if response.status_code in (401, 403):
        advice = "; if it is private or gated, accept its terms on the hub and set HF_TOKEN"
    return Unavailable(f"the hub does not give {what}: {said}{advice}")

"""The `laconic` command. Each verb calls one function elsewhere; imports are lazy so that each verb starts quickly."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.tune.options import add as add_tune

if TYPE_CHECKING:
    from compressors import Budget
    from proxy.settings import Settings

Verb = Callable[[argparse.Namespace], int]
BAD_INPUT = 2
PIPED_WIDTH = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 done in part or not fit to run, 2 what was asked cannot be done."""
    options = _parser().parse_args(arguments)
    verb: Verb = options.verb
    try:
        return verb(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `laconic report | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="laconic", description="Shortens prompts before they are billed.")
    parser.add_argument("--version", action="version", version=f"laconic {version('laconic')}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _verb(verbs, "serve", _serve, "run the proxy")
    _settings_options(serve)
    serve.add_argument("--upstream", metavar="URL", help="where requests go (default https://api.openai.com/v1)")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8787)")
    serve.add_argument("--workers", metavar="N", type=int, help="processes that serve (default 1)")
    serve.add_argument("--ledger", metavar="FILE", help='where records are kept; "off" for nowhere')
    serve.add_argument("--open", action="store_true", default=None, help="beyond loopback, let in anyone, without keys")

    explain = _verb(verbs, "explain", _explain, "show the segments and the plan of requests without sending them")
    explain.add_argument("files", nargs="+", metavar="FILE", help="a chat completions body (JSON)")
    explain.add_argument("--json", action="store_true", help="one JSON line a file")
    _settings_options(explain)

    compress = _verb(verbs, "compress", _compress, "shorten text from standard input or a JSON Lines file")
    _compress_options(compress)

    report = _verb(verbs, "report", _report, "print what was saved")
    report.add_argument("--by", default="route", choices=("route", "model", "day", "caller"))
    report.add_argument("--since", metavar="DATE", type=date.fromisoformat, help="from this day on (YYYY-MM-DD, UTC)")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--csv", action="store_true", help="one line a group")
    report.add_argument("--config", metavar="FILE", type=Path)
    report.add_argument("--ledger", metavar="FILE", help="the ledger to read (default: the configured one)")

    guard = _verb(verbs, "guard", _guard, "show what the quality guard has found, or let a route compress again")
    guard.add_argument("action", nargs="?", default="status", choices=("status", "reset"))
    guard.add_argument("route", nargs="?", metavar="ROUTE", help="of reset")
    guard.add_argument("--config", metavar="FILE", type=Path)
    guard.add_argument("--ledger", metavar="FILE", help="the ledger it is kept in (default: the configured one)")

    check = _verb(verbs, "check", _check, "validate a configuration and say whether all of it can run")
    _settings_options(check)
    _models_verbs(verbs)
    _keys_verbs(verbs)
    add_tune(_verb(verbs, "tune", _tune, "choose a policy on recorded requests, by net $ and quality"))
    _verb(verbs, "demo", _demo, "a dozen requests through the proxy: no key, no network, no GPU")
    return parser


Verbs = argparse._SubParsersAction  # the type that add_subparsers returns has no public name


def _verb(verbs: "Verbs[argparse.ArgumentParser]", name: str, run: Verb, about: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    parser.set_defaults(verb=run)
    return parser


def _models_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    about = "the models that compressors run: list, verify, download"
    several = verbs.add_parser("models", help=about, description=about[0].upper() + about[1:] + ".")
    verbs = several.add_subparsers(required=True, metavar="COMMAND")
    _verb(verbs, "list", _models_list, "show the models that are here")
    verify = _verb(verbs, "verify", _models_verify, "compare every file of models with what was downloaded")
    verify.add_argument("names", nargs="*", metavar="NAME|DIR", help="default: all")
    download = _verb(verbs, "download", _models_download, "get a model from the Hugging Face hub, or go on with that")
    download.add_argument("name", metavar="NAME", help="owner/name")
    download.add_argument("--revision", default="main", help="a branch, tag, commit or refs/pr/N (default main)")


def _keys_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    several = verbs.add_parser("keys", help="keys for callers: make a new one", description="Keys for callers.")
    new = _verb(several.add_subparsers(required=True, metavar="COMMAND"), "new", _keys_new, "print a key and its hash")
    new.add_argument("name", nargs="?", default="NAME", help="whose it is")


def _settings_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help="a laconic.toml")
    parser.add_argument("--policy", metavar="NAME", help="policy of every request (default balanced)")


def _compress_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compressor", default="pruner", metavar="NAME")
    parser.add_argument("--question", default="", help="what the text is to answer")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--rate", type=float, help="share of the tokens to keep, above 0 and up to 1 (default 0.5)")
    size.add_argument("--tokens", type=int, help="how many tokens to keep")
    size.add_argument("--threshold", type=float, help="keep what scores at least this share of the best, 0 to 1")
    parser.add_argument("--target", default="gpt-4o", metavar="MODEL", help="whose tokens to count (default gpt-4o)")
    parser.add_argument("--model", metavar="DIR", help="the compressor's model: a folder, or a name on the hub")
    parser.add_argument("--device", help="where its model runs: auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", help="in what it computes: auto, fp32, bf16, fp16 or int8")
    parser.add_argument("--jsonl", metavar="IN", type=Path, help="lines of {id, text, question?}")
    parser.add_argument("--out", metavar="OUT", type=Path, help="where the results of --jsonl go; goes on where it was")


def _serve(options: argparse.Namespace) -> int:
    from proxy.serving import serve

    settings = _settings(options)
    if settings is None:
        return BAD_INPUT
    status = serve(settings, lambda: _load(options))
    sys.stderr.flush()
    os._exit(status)  # a thread that is still loading a model, or computes, aborts when all is taken apart under it


def _explain(options: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from proxy.explain import as_json, explain, show
    from proxy.wire import UnknownShape

    settings = _settings(options)
    if settings is None:
        return BAD_INPUT
    status = 0
    for name in options.files:
        try:
            explanation = explain(Path(name).read_bytes(), settings)
        except OSError as error:
            status = _complain(f"{name}: {error.strerror}")
        except UnknownShape as error:
            status = _complain(f"{name}: {error}: no request that would be shortened")
        else:
            print(json.dumps(as_json(name, explanation))) if options.json else show(name, explanation, Console())
    return status


def _compress(options: argparse.Namespace) -> int:
    from compressors import CompressionError
    from proxy.texts import BadRecord, BadSetting, Shortening, opened, settings_for, shorten_lines, shorten_text
    from proxy.tokens import encoding_for

    budget = _budget(options)
    if isinstance(budget, str):
        return _complain(budget)
    if (options.jsonl is None) != (options.out is None):
        return _complain("--jsonl IN and --out OUT go together")
    given = {key: getattr(options, key) for key in ("model", "device", "precision")}
    try:
        settings = settings_for(options.compressor, {key: value for key, value in given.items() if value is not None})
        how = Shortening(options.compressor, budget, options.question, encoding_for(options.target)[0], settings)
        if options.jsonl is not None:
            return min(shorten_lines(options.jsonl, options.out, how, sys.stderr), 1)
        result = shorten_text(sys.stdin.buffer.read().decode(), how, opened(how))
    except UnicodeDecodeError:
        return _complain("the text is not UTF-8")
    except (CompressionError, BadSetting, BadRecord, OSError, ImportError) as error:
        return _complain(error)
    sys.stdout.write(result.text)
    without = f"; without the model: {result.without}" if result.without else ""
    figures = f"{result.tokens_before} tokens before, {result.tokens_after} after, {result.ms:.1f} ms"
    print(figures + without, file=sys.stderr)
    return 0


def _budget(options: argparse.Namespace) -> "Budget | str":
    from compressors import Rate, Threshold, Tokens

    if options.tokens is not None:
        return Tokens(options.tokens) if options.tokens > 0 else "--tokens must be above 0"
    if options.threshold is not None:
        return Threshold(options.threshold) if 0 <= options.threshold <= 1 else "--threshold must be from 0 to 1"
    rate = 0.5 if options.rate is None else options.rate
    return Rate(rate) if 0 < rate <= 1 else "--rate must be above 0 and at most 1"


def _report(options: argparse.Namespace) -> int:
    from proxy.ledger import LedgerError
    from proxy.report import report

    settings = _settings(options)
    if settings is None:
        return BAD_INPUT
    if settings.ledger is None:
        return _complain("no ledger is configured; name one with --ledger FILE")
    try:
        report(Path(settings.ledger), options.by, options.since, options.json, options.csv)
    except LedgerError as error:
        return _complain(error)
    return 0


def _guard(options: argparse.Namespace) -> int:
    from rich.console import Console

    from proxy.guard.shown import reset_route, show
    from proxy.ledger import LedgerError

    settings = _settings(options)
    if settings is None:
        return BAD_INPUT
    if settings.ledger is None:
        return _complain("no ledger is configured; name one with --ledger FILE")
    if (options.action == "reset") == (options.route is None):
        return _complain("'laconic guard reset ROUTE' takes a route, 'laconic guard status' takes none")
    try:
        if options.route is not None:
            reset_route(Path(settings.ledger), options.route)
        show(Path(settings.ledger), Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH))
    except LedgerError as error:
        return _complain(error)
    return 0


def _check(options: argparse.Namespace) -> int:
    from proxy.check import check

    checked = check(lambda: _load(options), warm_up=True)
    for line in checked.lines:
        print(line)
    for problem in (*checked.problems, *checked.obstacles):
        print(f"laconic: {problem}", file=sys.stderr)
    print("ready to run" if checked.ok else "not fit to run", file=sys.stdout if checked.ok else sys.stderr)
    return 0 if checked.ok else BAD_INPUT if checked.problems else 1


def _models_list(_: argparse.Namespace) -> int:
    from rich.console import Console

    from proxy.models import show

    show(Console())
    return 0


def _models_verify(options: argparse.Namespace) -> int:
    from proxy.models import check

    return 0 if check(options.names) else 1


def _models_download(options: argparse.Namespace) -> int:
    from compressors import CompressionError
    from proxy.models import get

    try:
        print(get(options.name, options.revision))
    except (CompressionError, OSError) as error:
        return _complain(error)
    return 0


def _keys_new(options: argparse.Namespace) -> int:
    from proxy.access import new_key

    key, table = new_key(options.name)
    print(f"{key}\n\n# For the configuration. The key itself is kept nowhere: give it to its user now.\n{table}")
    return 0


def _tune(given: argparse.Namespace) -> int:
    from proxy.tune import TuneError, options
    from proxy.tune.run import tune

    settings, asked = _settings(given), options.options(given)
    if settings is None:
        return BAD_INPUT
    if isinstance(asked, str):
        return _complain(asked)
    try:
        tune(asked, settings)
    except (TuneError, OSError) as error:
        return _complain(error)
    return 0


def _demo(_: argparse.Namespace) -> int:
    from proxy.demo import run

    return run()


# Settings: file, environment and flags, or every problem in words.


def _load(options: argparse.Namespace) -> "Settings":
    """Raises `proxy.config.ConfigError`."""
    from proxy.config import OVERRIDES, load

    return load(getattr(options, "config", None), os.environ, {n: getattr(options, n, None) for n in OVERRIDES})


def _settings(options: argparse.Namespace) -> "Settings | None":
    """None where the settings are of no use: all that is wrong with them has been said."""
    from proxy.config import ConfigError

    try:
        return _load(options)
    except ConfigError as error:
        for problem in error.problems:
            _complain(problem)
        return None


def _complain(problem: object) -> int:
    print(f"laconic: {problem}", file=sys.stderr)
    return BAD_INPUT

"""What holds for the code as a whole: who imports whom, whose names the packages have, how large things may be."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import compressors
import policies
import proxy

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "compressors": {"compressors"},
    "policies": {"compressors", "policies"},
    "proxy": {"compressors", "policies", "proxy"},
}
"""Each package, and which of them it may import."""
HEAVY = {"torch", "transformers", "sentence_transformers", "onnxruntime", "openvino"}
NEURAL: set[str] = {
    "compressors/causal_engine.py",
    "compressors/encoders/onnx.py",
    "compressors/encoders/place.py",
    "compressors/encoders/pretrained.py",
    "compressors/rankers/crossencoder.py",
    "compressors/rankers/encoders.py",
}
"""Files that may import a neural library: those of neural compressors, loaded only when such a one is chosen."""
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 60, 5
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> set[str]:
    """The outermost names of all that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("" if node.level else (node.module or "").partition(".")[0])
    return found


def test_imports_point_inward() -> None:
    """proxy -> policies -> compressors, never back; and always by full name."""
    wrong = [
        (name(path), sorted(outward))
        for path in sources()
        if (outward := imports(path) & {*PACKAGES, ""} - PACKAGES[path.relative_to(ROOT).parts[0]])
    ]
    assert wrong == []


def test_only_neural_compressors_import_neural_libraries() -> None:
    assert {name(path) for path in sources() if imports(path) & HEAVY} <= NEURAL


def test_the_service_starts_without_neural_libraries() -> None:
    """Not even a library of ours asks for them, whether or not they are installed."""
    program = f"""
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            sys.exit(f"{{name}} was imported")
sys.meta_path.insert(0, Watch())
import proxy.app, proxy.cli, compressors
for name in compressors.names():
    compressors.load(name)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_one_of_our_names(package: str) -> None:
    """The names are generic: `proxy.py` on PyPI, for one, owns `proxy`. Two owners in one environment shadow each
    other, so this fails where another one is installed."""
    assert set(packages_distributions().get(package, [])) <= {"laconic"}


def test_the_three_packages_are_those_of_one_place() -> None:
    assert len({Path(str(package.__file__)).parent.parent for package in (compressors, policies, proxy)}) == 1


def test_files_are_short() -> None:
    long = {name(path): n for path in sources() if (n := path.read_text("utf-8").count("\n")) > MAX_FILE}
    assert long == {}


def functions() -> Iterator[tuple[str, Function]]:
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, Function):
                yield f"{name(path)}:{node.lineno} {node.name}", node


def test_functions_are_short() -> None:
    assert [place for place, f in functions() if (f.end_lineno or 0) - f.lineno + 1 > MAX_FUNCTION] == []


def test_functions_take_few_parameters() -> None:
    def count(arguments: ast.arguments) -> int:
        named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        return len([argument for argument in named if argument not in ("self", "cls")])

    assert [place for place, f in functions() if count(f.args) > MAX_PARAMETERS] == []


def test_no_function_takes_whatever_it_is_given() -> None:
    assert [place for place, f in functions() if f.args.kwarg] == []


def test_one_broad_except_on_the_way_there_and_one_on_the_way_back() -> None:
    """Only the pipeline, and the recovery of answers, may swallow what they do not know: there, it makes a failure
    harmless. Others may clean up and raise again, or hand the error to whoever waits for the result."""
    broad = [
        name(path)
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _is_passed_on(node)
    ]
    assert broad == ["proxy/pipeline.py", "proxy/recovering.py"]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = [] if handler.type is None else [n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)]
    return not caught or bool({"Exception", "BaseException"} & set(caught))


def _is_passed_on(handler: ast.ExceptHandler) -> bool:
    if isinstance(handler.body[-1], ast.Raise):
        return True
    return any(isinstance(n, ast.Attribute) and n.attr == "set_exception" for n in ast.walk(handler))


@pytest.mark.parametrize(("lock", "extras"), [("requirements.lock", []), ("requirements-dev.lock", ["dev", "otlp"])])
def test_the_locks_hold_what_the_project_asks_for(lock: str, extras: list[str]) -> None:
    """`make lock` after a change of dependencies; no line names a place from which to load."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(r for extra in extras for r in project["optional-dependencies"][extra])]
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    pins = {r.name: r for line in lines if "==" in line for r in [Requirement(line.rstrip("\\ "))]}
    for requirement in map(Requirement, asked):
        (pin,) = pins[requirement.name].specifier
        assert requirement.specifier.contains(pin.version, prereleases=True), requirement.name
    assert not [line for line in lines if line.startswith("-") or "://" in line]

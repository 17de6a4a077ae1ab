"""What a request asks for, as far as it decides whether its material must stay word for word."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from policies.base import Segment

_LEAD = r"(?:^|[.!?:;,\n。！]\s*|\b(?:please|to|you|and|then|can you|could you|must|should|will|i want you to|let's|bitte)\s+)"
_NOT_A_QUESTION = r"(?!(?:\W+\w+){0,6}\W+(?:questions?|quer(?:y|ies)|follow))"
_VERBATIM = {
    "translate": re.compile(
        _LEAD + r"(?:re)?translate\b|\b(?:a|an|as|professional|expert|the) translator\b|translation (?:assistant|engine|expert)"
        r"|\bübersetze?n?\b|\btradui(?:s|sez|re)\b|\btradu(?:ce|zca|cir|za|zir|ci|rre|tor|ttore)\b|\bvertaal\b|przetłumacz|переведи"
        r"|\bçevir|ترجم|अनुवाद|翻訳して|翻訳(?:者|家)|翻译(?:成|为|以下|下面|这|：|:)|번역|terjemahkan",
        re.IGNORECASE,
    ),
    "rewrite": re.compile(
        _LEAD + r"(?:rewrite|re-write|rephrase|paraphrase|reword|proofread|copy-?edit|polish|humanize)\b" + _NOT_A_QUESTION +
        r"|" + _LEAD + r"(?:correct|fix|edit|improve|simplify|shorten|format|reformat|redact|anonymi[sz]e|continue)\s+(?:the|this|my|all|any)?\s?"
        r"(?:following )?(?:grammar|spelling|typos?|text|writing|paragraphs?|sentences?|essay|e-?mail|letter|draft|article|document|errors?|mistakes|style|wording)\b"
        r"|\b(?:umschreiben|umformuliere\w*|korrigiere\w*|korrekturlese\w*|reformule[rz]?|corrige[rz]?|reescrib\w+|corrija|reescreva|riscrivi"
        r"|correggi|herschrijf|popraw|przepisz|перепиши|исправь)\b|書き(?:換え|直)|校正|添削|改写|润色|修改(?:以下|下面)|다듬어|교정|고쳐",
        re.IGNORECASE,
    ),
    "judge": re.compile(
        r"\bimpartial judge\b|\b(?:act|acting) as (?:a |an )?(?:\w+ ){0,2}(?:judge|grader|evaluator)\b|\byou are (?:a |an )?(?:\w+ ){0,3}(?:judge|grader|evaluator)\b"
        r"|" + _LEAD + r"(?:grade|evaluate|judge|score|rate|assess|compare|critique|verify|check|determine)\s+(?:\w+\s+){0,8}?"
        r"(?:answers?|responses?|completions?|submissions?|faithful\w*|factual\w*|correctness|hallucinat\w+|usefulness|useful|helpful)\b"
        r"|(?<!relevance )\bscores?\b[^.\n]{0,80}?\b[01]\s?(?:-|–|to|and)\s?(?:1|5|10|100)\b|\bevaluation (?:steps|criteria)\b"
        r"|\bwhich (?:answer|response|assistant|model|output) is better\b|\bverdicts?\b|\bgrading\b",
        re.IGNORECASE,
    ),
}  # fmt: skip
_READS_ALL = {
    "extract": re.compile(
        _LEAD + r"(?:extract|transcribe|parse|convert|copy)\b|\bextrahiere\w*|\bextrai[sztre]\w*|\bextra(?:e|iga|er)\b|извлеки|抽出|提取|추출", re.I
    ),
    "classify": re.compile(
        _LEAD + r"(?:classify|categori[sz]e|label|tag|detect|moderate)\b|\bclassifier\b|\bsentiment\b|\bklassifiziere\w*|\bclassifi(?:ez?|que)\b"
        r"|\bclasific\w+|классифицируй|分類|分类|분류",
        re.I,
    ),
}  # fmt: skip
_EDITS = re.compile(
    r"SEARCH/REPLACE|\bstr_replace|\bapply_(?:patch|diff)|\bedit_file|replace_in_file|\b(?:code|function|file|section) to (?:be )?(?:rewrit|edit|modif|refactor|fix)"
    r"|\bSUGGESTED EDIT\b|rewritten code|(?:entire|complete|full) (?:content of the )?(?:updated|modified|new) (?:file|code)"
    r"|\b(?:edit|modify|rewrite|refactor|fix|patch)\s+(?:the|this|my|these|that)?\s?(?:\w+ )?(?:code|function|class|file|files|method|script|bug)\b"
    r"|\bunified diff\b|\bfill[- ]in[- ]the[- ]middle\b|\binsert\w* at the cursor\b",
    re.IGNORECASE,
)
_EDIT_TOOLS = re.compile(r"edit|write|replace|patch|apply", re.IGNORECASE)
_READ = 20_000  # characters of each end of a text that are read


@dataclass(frozen=True, slots=True)
class Task:
    """`verbatim`: needs its material word for word. `reads_all`: does so where the material is small. `edits`: changes
    code, which must match what is there."""

    verbatim: str = ""
    reads_all: str = ""
    edits: bool = False


def task_of(said: Sequence[Segment], tools: tuple[str, ...]) -> Task:
    """The task that instructions and questions set. Only the newest turn's questions count."""
    newest = [s for s in said if s.role in ("system", "developer") or s.turn == 0]
    read = [s.text if len(s.text) <= 2 * _READ else s.text[:_READ] + "\n" + s.text[-_READ:] for s in newest]
    edits = any(_EDITS.search(t) for t in read) or any(_EDIT_TOOLS.search(t) for t in tools)
    return Task(_first(_VERBATIM, read), _first(_READS_ALL, read), edits)


def _first(table: dict[str, re.Pattern[str]], read: list[str]) -> str:
    return next((name for name, pattern in table.items() if any(pattern.search(t) for t in read)), "")

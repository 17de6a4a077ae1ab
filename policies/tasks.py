"""What a request asks for, as far as it decides whether its material must stay word for word."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_READ = 20_000  # characters of each end of a text that are read


def _of(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


# Where an order begins: a sentence, or what follows "please", "you must" and the like. "Never translate names" is none.
_ASKED = r"(?:please|to|you|and|then|can you|could you|must|should|will|i want you to|let's|bitte)"
_ORDER = rf"(?:^|[.!?:;,\n。！]\s*|\b{_ASKED}\s+)"
_NOT_A_QUESTION = r"(?!(?:\W+\w+){0,6}\W+(?:questions?|quer(?:y|ies)|follow-?\s?ups?)\b)"
_WRITING = (
    r"(?:grammar|spelling|typos?|text|writing|paragraphs?|sentences?|essay|e-?mail|letter|draft|article|document"
    r"|errors?|mistakes|style|wording)"
)
_JUDGED = (
    r"(?:answers?|responses?|completions?|submissions?|faithful\w*|factual\w*|correctness|hallucinat\w+|usefulness"
    r"|useful|helpful)"
)
_VERBATIM = {
    "translate": _of(
        _ORDER + r"(?:re)?translate\b",
        r"\b(?:a|an|as|professional|expert|the) translator\b|translation (?:assistant|engine|expert)",
        r"\bübersetze?n?\b|\btradui(?:s|sez|re)\b|\btradu(?:ce|zca|cir|za|zir|ci|rre|tor|ttore)\b|\bvertaal\b",
        r"przetłumacz|переведи|\bçevir|ترجم|अनुवाद|terjemahkan",
        r"翻訳して|翻訳(?:者|家)|翻译(?:成|为|以下|下面|这|：|:)|번역",
    ),
    "rewrite": _of(
        _ORDER + r"(?:re-?write|rephrase|paraphrase|reword|proofread|copy-?edit|polish|humanize)\b" + _NOT_A_QUESTION,
        _ORDER
        + r"(?:correct|fix|edit|improve|simplify|shorten|format|reformat|redact|anonymi[sz]e|continue)\s+"
        + rf"(?:the|this|my|all|any)?\s?(?:following )?{_WRITING}\b",
        r"\b(?:umschreiben|umformuliere\w*|korrigiere\w*|korrekturlese\w*|reformule[rz]?|corrige[rz]?|reescrib\w+)\b",
        r"\b(?:corrija|reescreva|riscrivi|correggi|herschrijf|popraw|przepisz|перепиши|исправь)\b",
        r"\b(?:umgeschrieben|herschrijf\w*|herschrijv\w*|réécri\w+|réécriture|vereinfach\w+|vereenvoudig\w*|simplifi(?:ez?|que|car|er))\b",
        r"\b(?:leichte\w? sprache|einfache\w? sprache|plain (?:language|english)|easy[- ]to[- ]read|lectura fácil"
        r"|facile à lire|taalniveau|sprachniveau)\b",
        r"\b(?:rechtschreib\w+|grammatikfehler\w*|orthographe|ortografía|ortografia|gramátic\w+|spelfouten|орфограф\w+)\b",
        _ORDER + r"(?:locali[sz]e|anonymi[sz]e|pseudonymi[sz]e|de-?identify|redact|mask)\b",
        r"\b(?:lokalisier\w+|anonymisier\w+|anonymise[rz]?|anonimiza\w*|anonimizz\w+|schwärze\w*|анонимизир\w+)\b",
        r"匿名化|脱敏|简化(?:以下|下面)|やさしい日本語",
        r"書き(?:換え|直)|校正|添削|改写|润色|修改(?:以下|下面)|다듬어|교정|고쳐",
    ),
    "judge": _of(
        r"\bimpartial judge\b",
        r"\b(?:act|acting|you are) (?:as )?(?:a |an )?(?:\w+ ){0,3}(?:judge|grader|evaluator)\b",
        _ORDER
        + r"(?:grade|evaluate|judge|score|rate|assess|compare|critique|verify|check|determine)\s+"
        + rf"(?:\w+\s+){{0,8}}?{_JUDGED}\b",
        _ORDER + r"(?:determine|decide|judge|evaluate|assess|check|verify) (?:if|whether)\b[^.\n]{0,120}?"
        r"\b(?:reference|context|documents?|answer|response|statements?|claims?|passage)\b",
        r"(?<!relevance )\bscores?\b[^.\n]{0,80}?\b[01]\s?(?:-|–|to|and)\s?(?:1|5|10|100)\b",
        r"\bevaluation (?:steps|criteria)\b|\bverdicts?\b|\bgrading\b",
        r"\b(?:bewerte\w*|benote\w*|évalue[rz]?|evalúa\w*|califica|calificar|avalie|avaliar|beoordeel|oceń|оцени\w*)\b",
        r"评分|打分|採点|評価して|채점|평가",
        r"\bwhich (?:answer|response|assistant|model|output) is better\b",
    ),
}
_VERBATIM["write code"] = _of(
    r"\b(?:complete|every|full) code\b",
    r"\b(?:write|output|return|produce|generate)\b[^.\n]{0,40}\b(?:complete|full|entire|whole)\s+(?:\w+\s+){0,2}"
    r"(?:files?|code|program|module|class)\b",
)
_READS_ALL = {
    "extract": _of(
        _ORDER + r"(?:extract|transcribe|parse|convert|copy)\b",
        r"\bextrahiere\w*|\bextrai[sztre]\w*|\bextra(?:e|iga|er)\b|извлеки|抽出|提取|추출",
    ),
    "write": _of(
        _ORDER + r"(?:reply|respond|answer) to (?:this|the|my|a|following|customer'?s?|\s)+\s?"
        r"(?:e-?mails?|messages?|letters?|reviews?|comments?|tickets?|inquir(?:y|ies))\b",
        _ORDER
        + r"(?:write|draft|compose|create|generate|prepare|turn)\b[^.\n]{0,60}\b(?:posts?|articles?|e-?mails?|letters?"
        r"|story|speech|newsletter|press release|slides|minutes|biography|quiz|flashcards|test cases)\b",
        r"\b(?:antworte\w*|réponds|répondre|responder?) (?:auf|à|a) (?:diese\w*|die|ce\w*|este|esta|la|al|el)\b"
        r"[^.\n]{0,30}\b(?:mail|e-mail|nachricht|courriel|message|correo|mensaje|mensagem)\b",
        r"(?:返信|回复(?:这|以下|下面|邮件)|답장)",
    ),
    "classify": _of(
        _ORDER + r"(?:classify|categori[sz]e|label|tag|detect|moderate)\b|\bclassifier\b|\bsentiment\b",
        r"\bklassifiziere\w*|\bclassifi(?:ez?|que)\b|\bclasific\w+|классифицируй|分類|分类|분류",
    ),
}
_EDITS = _of(
    r"SEARCH/REPLACE|\bstr_replace|\bapply_(?:patch|diff)|\bedit_file|replace_in_file|\bSUGGESTED EDIT\b",
    r"rewritten code",
    r"\b(?:code|function|file|section) to (?:be )?(?:rewrit|edit|modif|refactor|fix)",
    r"(?:entire|complete|full) (?:content of the )?(?:updated|modified|new) (?:file|code)",
    r"\b(?:edit|modify|rewrite|refactor|fix|patch)\s+(?:the|this|my|these|that)?\s?(?:\w+ )?"
    r"(?:code|function|class|files?|method|script|bug)\b",
    r"\bunified (?:git )?diffs?\b|\b(?:reply|respond|answer|output)\b[^.\n]{0,40}\b(?:diff|patch)\b",
    r"\bfill[- ]in[- ]the[- ]middle\b|\binsert\w* at the cursor\b",
)
_EDITING_TOOL = re.compile(r"edit|write|replace|patch|apply", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Task:
    """`verbatim`: needs its material word for word. `reads_all`: does so where the material is small. `edits`: changes
    code, which must match what is there."""

    verbatim: str = ""
    reads_all: str = ""
    edits: bool = False

    def __or__(self, other: "Task") -> "Task":
        """Both tasks at once."""
        return Task(self.verbatim or other.verbatim, self.reads_all or other.reads_all, self.edits or other.edits)


def task_of(texts: Iterable[str], tools: tuple[str, ...] = ()) -> Task:
    """The task that these texts set, with these tools on offer."""
    read = [t if len(t) <= 2 * _READ else t[:_READ] + "\n" + t[-_READ:] for t in texts]
    edits = any(_EDITS.search(t) for t in read) or any(_EDITING_TOOL.search(t) for t in tools)
    return Task(_first(_VERBATIM, read), _first(_READS_ALL, read), edits)


def _first(table: dict[str, re.Pattern[str]], read: list[str]) -> str:
    return next((name for name, pattern in table.items() if any(pattern.search(t) for t in read)), "")

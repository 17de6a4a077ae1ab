"""What a paragraph looks like: a question, words addressed to the model, data, code, a header of a document."""

import re

from proxy.segmentation import labels
from proxy.segmentation.labels import Meaning

_LOOK = 1200  # characters of a paragraph that are read to judge it: both ends of longer ones

_VERBS = """
    answer use write summari[sz]e give list explain describe find extract return provide compare generate create tell
    show analy[sz]e identify translate classify make do don't always never remember ensure keep respond reply output
    please consider think follow cite quote only if evaluate rate rewrite act ignore let's let now given based read
    your you wait put avoid include limit speak refuse note review fix implement add reconstruct draft state decide
    when today's 
    antworte antworten beantworte beantworten nutze verwende schreibe fasse bitte nenne erkläre gib du sie
    réponds répondez utilise utilisez rédige résume cite donne tu vous ne
    responde responda usa utiliza utilice escribe resume cita eres usted no si por
    responda use utilize escreva resuma cite você não se rispondi usa scrivi riassumi sei non
    beantwoord antwoord gebruik je odpowiedz użyj jesteś ответь ответьте используй используйте ты вы не если
    cevapla yanıtla kullan sen أجب استخدم أنت उत्तर आप jawab gunakan anda
"""
_STARTS = re.compile(rf"[\W\d_]*(?:{'|'.join(_VERBS.split())})\b", re.IGNORECASE)
_META = re.compile(
    r"""\b(?:(?:conversation|chat)[ ]history|your[ ](?:task|job|role|answer|answers|response|reply|goal|output|own[ ]knowledge|knowledge|final)
    |you[ ](?:are[ ](?:an?|the|not|given|provided|expected|working)|answer|check|must|will[ ]be|do(?:n't|[ ]not)[ ]know)
    |(?:the[ ])?(?:question|query|user|answer|response|assistant|context|documents?|sources?|passages?)[ ]
      (?:above|below|provided|given|is|asks?|should|must|does[ ]not|doesn't|cannot)
    |(?:above|below|following|provided|given|retrieved|this)[ ](?:context|documents?|sources?|passages?|information|text
      |question|notes|articles?|data|excerpts?|transcript|conversation|code|material)
    |(?:don't|do[ ]not|never|not)[ ](?:know|make|invent|include|use|answer|output|mention|add|guess|refer|cite|repeat)
    |answer[ ](?:the|in|with|only|based|using|as|this|my|briefly|from|to)|respond|bullet[ ]points?|step[ -]by[ -]step
    |(?:use|using|based[ ]on|from|according[ ]to)[ ](?:only[ ])?(?:the|these|this|those)[ ](?:\w+[ ])?(?:context|documents?
      |sources?|passages?|information|excerpts?|notes|text|data|articles?|above|following|provided|results?)
    |in[ ](?:at[ ]most|no[ ]more[ ]than|fewer[ ]than|under)[ ]\w+[ ](?:words|sentences)|(?:sentences?|words)[ ]maximum
    |json[ ](?:object|format|array|schema)|(?:as[ ]an|for)[ ]example|(?:well[- ])?formatted|schema|output[ ](?:format|only|json|a)|markdown|citations?|cite
    |frage|antwort|nutzer|kontext|réponse|contexte|utilisateur|pregunta|respuesta|contexto|usuario|pergunta|resposta
    |domanda|risposta|contesto|vraag|antwoord|pytanie|odpowiedź|вопрос\w*|ответ\w*|контекст\w*|soru\w*|cevap\w*)\b
    |回答|答えて|質問|してください|ユーザー|文脈|你是|您是|问题|用户|上下文|请(?:用|根据|以|简|直接)|不知道|답변|대답|질문|하세요|하십시오|사용자""",
    re.IGNORECASE | re.VERBOSE,
)
_YOU = re.compile(
    r"\b(?:you|your|must|should|du|dein\w*|ihr\w*|sie sollen|vous|votre|tu|usted|debes|debe|você|deve|devi|moet|musisz|вы|ты"
    r"|должен|sen|أنت|आप|anda)\b|あなた|ください|你|您|必须|당신|하세요|십시오",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"[\W\d_]*(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|should|would|will"
    r"|has|have|may|was|wer|wie|wo|wann|warum|welche\w*|ist|sind|kann|quel\w*|qui|quand|où|pourquoi|comment|est-ce"
    r"|qué|quién|cuál\w*|cuándo|dónde|cómo|por qué|quanto|quando|onde|como|qual|quem|chi|che|dove|perché|wat|welke"
    r"|hoe|waarom|co|kto|kiedy|gdzie|jak|czy|что|кто|когда|где|как|почему|какой|какие|сколько|ne|nasıl|neden|hangi)\b",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(
    r"\b(?:I|I'm|I've|I'd|my|me|ich|mein\w*|mir|je|j'ai|mon|ma|yo|mi|eu|meu|minha|io|mio|я|мне|мой)\b"
)
_QUESTION_MARKS = "?？؟"
_ENDINGS = ".!?。！？؟…:：;,，、"
_STAMP = re.compile(r"\d{1,4}[-/.:]\d{1,2}[-/.:]\d{1,4}|\b\d{1,2}:\d{2}\b")
_SPEAKER = re.compile(
    r"(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?[\])]?\s*[-–]?\s*)?(?:\*\*)?[^\W\d_][\w .'’()-]{0,40}?(?:\*\*)?\s?[:：](?=\s|[^\x00-\x7f])"
)
_KEYWORD = re.compile(
    r"(?:import|from|def|class|return|if|for|while|else|elif|try|except|finally|with|async|const|let|var|function|public|private|switch|case"
    r"|static|fn|impl|struct|enum|export)\b"
)
_CODE_LINE = re.compile(
    r"(?:import|from|def|class|return|if|for|while|else|elif|try|except|with|async|await|const|let|var|function|public"
    r"|private|static|void|package|use|fn|impl|struct|enum|export|#include|SELECT|CREATE|INSERT|@\w|//|/\*|\*/|│|⋮|\d+[:|\t])\b|.*[{;(]$|[)\]}]+[;,:]?$|[\w.]+ = |[\w.]{1,60}\(.*\)$"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"[\d ]*\d")
_PLACEHOLDER = re.compile(r"\$\{|\{\{|\{[a-z_]{2,30}\}|<[a-z_ ]{3,30}>")
_FILE_NAME = re.compile(r"[\w%./\\~-]{1,150}\.[A-Za-z]\w{1,4}(?:#[\w=&.-]{1,40})?\s?[:：](?=\s|$)")
_SURELY_CODE = re.compile(
    r"(?:class|def|func|fn|function|interface|struct|impl|module) [\w.]+|(?:import|from|using|package|#include|require) [\w.\"<{*/]+( import .*|;|\"|>)?$"
    r"|(?:public|private|protected|export|const|let|var|static|async) [\w<]|@\w+(?:\(|$)|.{2,}(?:\) ?\{|\);|\):)$"
)
_DIFF_LINE = re.compile(r"(?:diff --git |@@ |\+\+\+ |--- |index [0-9a-f]{4}|[+-](?=\S|\s{2}))")
_NUMBERED_LINE = re.compile(r"\d{1,6}(?:[:|│→]|\t|\s{2})")
_DOC_MARK = re.compile(
    r"(?:[-*#>]{1,3} )?(?:[\[(【<«]{1,2}\s?\^?(?:[^\W\d_]{2,12} ?)?(?:\d{1,4}|[0-9a-zA-Z-]{2,12}(?<=\d))\s?[\])】>»]{1,2}[:.]?"
    r"|(?P<word>[^\W\d_]{2,16})[ _-]?(?:#|№|no\.? ?|id ?)?[\[(]?(?:\d{1,4}|[A-Z])[\])]?(?=\s?[:：.)\]|-]|\s?\(|\s*$))",
    re.IGNORECASE,
)


def _sample(text: str) -> str:
    return text if len(text) <= _LOOK else text[: _LOOK // 2] + "\n" + text[-_LOOK // 2 :]


def rows_of(text: str) -> list[str]:
    """Up to 80 lines that are not blank, from the beginning and the end, without margins."""
    ends = text if len(text) <= 6000 else text[:3000] + "\n" + text[-3000:]
    rows = [r for r in (line.strip(" \t│") for line in ends.split("\n")) if r]
    return rows if len(rows) <= 80 else rows[:40] + rows[-40:]


def asks(text: str) -> bool:
    """Whether it reads as a question: it ends with a question mark (a closing quote may follow) or asks in words."""
    tail = text[-160:].rstrip("\"'”’»」』)* \n")
    if tail and tail[-1] in _QUESTION_MARKS:
        return True
    head = text[:400]
    return len(text) <= 400 and (any(c in head for c in _QUESTION_MARKS) or bool(_ASKS.match(head)))


def addressed(text: str, *, strictly: bool = False) -> bool:
    """Whether it speaks to the model: starts as an order, or talks about the question, the answer, the context.

    `strictly`: any "you", "must" or "should" is enough."""
    sample = _sample(text)
    if strictly and (_META.search(sample) or len(_YOU.findall(sample)) > len(text) // 400):
        return True
    hits = len(_META.findall(sample))
    orders = sum(1 for line in sample.split("\n")[:40] if _STARTS.match(line[:60]))
    if len(text) < 300:
        return hits + orders >= 1
    return hits + orders >= 2 + len(sample) // 600


def personal(text: str) -> bool:
    """Whether somebody writes about himself, as users do when they describe what they want."""
    return len(_FIRST_PERSON.findall(_sample(text))) >= 1 + len(_sample(text)) // 500


def _share(pattern: re.Pattern[str], rows: list[str]) -> float:
    return sum(1 for row in rows if pattern.match(row[:160])) / len(rows)


def transcript(rows: list[str]) -> bool:
    """Whether most lines begin with the name of somebody who speaks."""
    if len(rows) < 3 or _share(_SPEAKER, rows) < 0.6:
        return False
    names = {row[: speaker(row)].strip(" :：*") for row in rows} - {""}
    return sum(1 for n in names if labels.meaning(n) in (None, Meaning.SPEAKER)) >= 0.6 * len(names)


def speaker(row: str) -> int:
    """Length of the time stamp and the name at the start of a line of a transcript; 0 where there is none."""
    match = _SPEAKER.match(row[:160])
    return match.end() if match else 0


def _tabular(rows: list[str]) -> bool:
    for mark in (",", ";", "\t", "|"):
        counts = [row[:2000].count(mark) for row in rows]
        usual = max(set(counts), key=counts.count)
        if usual >= 2 and counts.count(usual) >= 0.7 * len(rows):
            return True
    return False


def _alike(rows: list[str]) -> bool:
    """Whether most rows begin with the same pattern of letters, digits and punctuation, as records of a log do."""
    looks = [_LETTERS.sub("a", _DIGITS.sub("0", row[:24])) for row in rows]
    usual = max(set(looks), key=looks.count)
    plain = usual.replace("a", "").replace(" ", "") in ("", ",") or usual[0] in "-*•>#0"
    return len(rows) >= 8 and not plain and looks.count(usual) >= 0.5 * len(rows)


def numbered(rows: list[str]) -> bool:
    """Whether it is a view of a file with line numbers."""
    return len(rows) >= 4 and _share(_NUMBERED_LINE, rows) >= 0.7


def keyword(line: str) -> bool:
    """Whether a line starts with a word of a programming language."""
    return bool(_KEYWORD.match(line))


def code(rows: list[str]) -> bool:
    """Whether it is source code or a diff."""
    if len(rows) < 3:
        return False
    surely = sum(1 for row in rows if _SURELY_CODE.match(row[:160]))
    return _share(_CODE_LINE, rows) >= 0.35 or surely >= max(3, 0.12 * len(rows)) or diff(rows)


def diff(rows: list[str]) -> bool:
    return (
        len(rows) >= 3
        and rows[0].startswith(("diff --git", "--- ", "@@ ", "commit "))
        and _share(_DIFF_LINE, rows) >= 0.2
    )


def jsonlike(text: str) -> bool:
    """Whether it looks like JSON, JSON lines or the repr of a list or dict."""
    inside = text[1:200].lstrip()[:1]
    framed = text[:1] in ("[", "{") and text[-1:] in ("]", "}") and inside in tuple("{[\"'")
    return framed and text.count('"', 0, 2000) + text.count("'", 0, 2000) >= 4


def data(text: str) -> bool:
    """Whether it is machine-made: rows of a table, a log, a trace, a transcript, JSON, code, HTML."""
    rows = rows_of(text)
    if jsonlike(text):
        return True
    if text[:200].lstrip().casefold().startswith(("<!doctype", "<html", "traceback (most")):
        return True
    if len(rows) < 4:
        return False
    stamped = sum(1 for row in rows if _STAMP.search(row[:80])) >= 0.7 * len(rows)
    return stamped or _alike(rows) or numbered(rows) or _tabular(rows) or transcript(rows) or code(rows)


def placeholders(text: str) -> bool:
    """Whether it is a form to be filled in, not text."""
    return len(_PLACEHOLDER.findall(text[:2000])) >= 2


def weight(text: str) -> int:
    """Length in characters of an alphabet: an ideograph or a syllable counts as two."""
    wide = sum(1 for c in text[:400] if c >= "\u2e80")
    return len(text) * 2 if wide > 0.4 * min(400, len(text)) else len(text)


def document_mark(line: str) -> int:
    """Length of a mark like "[1]", "Document 2:", "leave.pdf:" at the start of a line; 0 where there is none."""
    if match := _FILE_NAME.match(line[:200]):
        return match.end()
    match = _DOC_MARK.match(line[:80])
    if not match:
        return 0
    word = match["word"]
    if word and labels.meaning(word) not in (Meaning.CONTEXT, Meaning.CODE, Meaning.META):
        return 0
    return match.end()


def headline(line: str, following: str) -> bool:
    """Whether a short line is the title of the long one after it."""
    return (
        len(line) <= 120
        and line[-1] not in _ENDINGS[:-4]
        and len(following) >= 100
        and len(following) >= 1.5 * len(line)
    )


def property_line(line: str) -> bool:
    """Whether a line is a short name, a colon and a short value."""
    head, colon, rest = line[:140].partition(":")
    return bool(colon) and len(line) <= 130 and len(head.split()) in (1, 2, 3) and 0 < len(rest.strip()) <= 90


def metadata(line: str) -> bool:
    """Whether a short line names a property of a document: `page_label: 3`, `Title: Leave policy`."""
    head, colon, rest = line[:200].partition(":")
    if not colon:
        head, colon, rest = line[:200].partition("：")
    if not colon or len(line) > 200 or len(head) > 40 or not head.strip() or not rest.strip():
        return False
    name = head.strip("*_- ")
    if "_" in name and " " not in name:
        return True
    return (
        len(name.split()) <= 4
        and (labels.is_property(name) or labels.meaning(name) is Meaning.CONTEXT)
        and len(rest) <= 150
    )

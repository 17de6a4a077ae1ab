"""What a sentence is for, told by its words: to ask, to give orders to the model, to speak of oneself, to announce."""

import re

from proxy.segmentation import labels
from proxy.segmentation.labels import Meaning

_LOOK = 1200  # characters of a paragraph that are read to judge it: both ends of longer ones


def _any(words: str) -> str:
    """An alternation of words, for a regular expression; `_` stands for a space."""
    return "|".join(word.replace("_", " ") for word in words.split())


_ORDERS = re.compile(
    r"[\W\d_]*(?:"
    + _any(
        """answer use write summari[sz]e give list explain describe find extract return provide compare generate create
        tell show analy[sz]e identify translate classify make do don't always never remember ensure keep respond reply
        output please consider think follow cite quote only if evaluate rate rewrite act ignore let's let now given
        based read your you wait put avoid include limit speak refuse note review fix implement add reconstruct draft
        migrate port convert refactor rename debug optimi[sz]e
        state decide when_(?:you|the_user|asked|answering|responding|writing|citing) today's
        antworte antworten beantworte beantworten nutze verwende schreibe fasse bitte nenne erkläre gib du sie
        réponds répondez utilise utilisez rédige résume cite donne tu vous ne
        responde responda usa utiliza utilice escribe resume eres usted no si por
        utilize escreva resuma você não se rispondi scrivi riassumi sei non
        beantwoord antwoord gebruik je odpowiedz użyj jesteś ответь ответьте используй используйте ты вы не если
        cevapla yanıtla kullan sen أجب استخدم أنت उत्तर आप jawab gunakan anda"""
    )
    + r")\b",
    re.IGNORECASE,
)
_MATERIAL_NOUNS = "context|documents?|sources?|passages?|information|excerpts?|notes|text|data|articles?"
_ABOUT_THE_TASK = re.compile(
    rf"""\b(?:(?:conversation|chat)[ ]history
    |your[ ](?:task|job|role|answers?|response|reply|goal|output|own[ ]knowledge|knowledge|final)
    |you[ ](?:are[ ](?:an?|the|not|given|provided|expected|working)|answer|check|must|will[ ]be|do(?:n't|[ ]not)[ ]know)
    |(?:question|query|user|answer|response|assistant|{_MATERIAL_NOUNS})[ ]
      (?:above|below|provided|given|is|asks?|should|must|does[ ]not|doesn't|cannot)
    |(?:above|below|following|provided|given|retrieved|this)[ ]
      (?:question|transcript|conversation|code|material|{_MATERIAL_NOUNS})
    |(?:don't|do[ ]not|never|not)[ ](?:know|make|invent|include|use|answer|output|mention|add|guess|refer|cite|repeat)
    |answer[ ](?:the|in|with|only|based|using|as|this|my|briefly|from|to)|respond|bullet[ ]points?|step[ -]by[ -]step
    |(?:use|using|based[ ]on|from|according[ ]to)[ ](?:only[ ])?(?:the|these|this|those)[ ](?:\w+[ ])?
      (?:above|following|provided|results?|{_MATERIAL_NOUNS})
    |in[ ](?:at[ ]most|no[ ]more[ ]than|fewer[ ]than|under)[ ]\w+[ ](?:words|sentences)|(?:sentences?|words)[ ]maximum
    |json[ ](?:object|format|array|schema)|as[ ]an[ ]example|for[ ]example(?=,?\s?[:"'“`])|(?:well[- ])?formatted|schema
    |output[ ](?:format|only|json|a)|markdown|citations?|cite
    |frage|antwort|nutzer|kontext|réponse|contexte|utilisateur|pregunta|respuesta|contexto|usuario|pergunta|resposta
    |domanda|risposta|contesto|vraag|antwoord|pytanie|odpowiedź|вопрос\w*|ответ\w*|контекст\w*|soru\w*|cevap\w*)\b
    |回答|答えて|質問|してください|ユーザー|文脈|你是|您是|问题|用户|上下文|请(?:用|根据|以|简|直接)|不知道
    |답변|대답|질문|하세요|하십시오|사용자""",
    re.VERBOSE,
)
_YOU = re.compile(
    r"\b(?:"
    + _any(
        r"""you your must should du_\w{2,12}st dein\w* ihr\w* sie_sollen vous votre tu usted debes debe você deve devi
        moet musisz вы ты должен sen أنت आप anda"""
    )
    + r")\b|あなた|ください|你|您|必须|당신|하세요|십시오",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"[\W\d_]*(?:"
    + _any(
        r"""what which who whom whose when where why how is are was were do does did can could should would will has
        have may wer wie wo wann warum welche\w* ist sind kann quel\w* qui quand où pourquoi comment est-ce
        qué quién cuál\w* cuándo dónde cómo por_qué quanto quando onde como qual quem chi che dove perché
        wat welke hoe waarom co kto kiedy gdzie jak czy что кто когда где как почему какой какие сколько
        nasıl neden hangi"""
    )
    + r")\b",
    re.IGNORECASE,
)
_SELF = re.compile(
    r"\b(?:" + _any(r"I I'm I've I'd my me ich mein\w* mir je j'ai mon ma yo mi eu meu minha io mio я мне мой") + r")\b"
)
_POINTS = re.compile(
    r"\b(?:"
    + _any(
        r"""following below above here_is here_are provided given attached this these ce_contexte ces_\w{4,12}
        folgend\w* unten hier suivant\w*
        ci-dessous voici siguiente\w* a_continuación seguinte\w* abaixo seguent\w* di_seguito volgende hieronder
        poniżs\w* ниже следующ\w* aşağıda\w* التالي\w* निम्न\w* berikut"""
    )
    + r")\b|以下|下記|次の|上記|下面|如下|아래|다음",
    re.IGNORECASE,
)
_BACK = re.compile(
    r"\b(?:"
    + _any(r"above preceding oben obige\w* ci-dessus anterior\w* acima sopra hierboven powyższ\w* выше")
    + r")\b"
    r"|以上|上記|上述|위의",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"\b(?:"
    + _any("formats? examples? templates? syntax schema beispiele? exemples? ejemplos? exemplos? пример")
    + r")\b"
    r"|例|形式|格式|예시|형식",
    re.IGNORECASE,
)
_ORDERS_FORMAT = re.compile(r"\b(?:respond|return|output|formatted|as follows|like this|such as)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^\W\d_]+[,']? [^\W_]|[\u2e80-\U0010ffff]{4}")
_PLACEHOLDER = re.compile(r"\$\{|\{\{|\{[a-z_]{2,30}\}|<[a-z_ ]{3,30}>")
_NAMED = re.compile(
    r"\b(?:[Yy]ou are|[Yy]our name is|[Aa]ssistant is|I am|named|called|[Dd]u bist|Sie sind|[Tt]u es|[Vv]ous êtes"
    r"|[Ee]res|[Ss]ei|[Vv]ocê é|[Jj]e bent|[Jj]esteś)\s+\*{0,2}([A-Z]\w{1,20})"
)
_NAMED_LIST = re.compile(r"\w[:：] ?\w[^.!?\n]{0,120}[,、，]")
_WIDE = re.compile("[\u2e80-\U0010ffff]")
_QUESTION_MARKS = "?？؟"
_ANNOUNCED = (Meaning.CONTEXT, Meaning.CODE, Meaning.HISTORY)


def _sample(text: str) -> str:
    return text if len(text) <= _LOOK else text[: _LOOK // 2] + "\n" + text[-_LOOK // 2 :]


def asks(text: str) -> bool:
    """Whether it reads as a question: it ends with a question mark (a closing quote may follow) or asks in words."""
    tail = text[-160:].rstrip("\"'”’»」』)* \n")
    if tail and (tail[-1] in _QUESTION_MARKS or (tail[-1] == ";" and "\u0370" <= tail[-2:-1] < "\u0400")):
        return True  # in Greek, a semicolon is a question mark
    return len(text) <= 400 and (any(mark in text for mark in _QUESTION_MARKS) or bool(_ASKS.match(text)))


def said(text: str) -> bool:
    """Whether it is a sentence, no row of data and no line of code."""
    return bool(_SENTENCE.match(text)) and text[-1] in ".!:。"


def addressed(text: str, *, strictly: bool = False) -> bool:
    """Whether it speaks to the model: starts as an order, or talks about the question, the answer, the context.

    `strictly`: one sign is enough, or more than one "you", "must" or "should" in 400 characters."""
    sample = _sample(text)
    if strictly and (_ORDERS.match(text[:60]) or _ABOUT_THE_TASK.search(sample.lower())):
        return True
    if strictly and len(_YOU.findall(sample)) > len(text) // 400:
        return True
    hits = len(_ABOUT_THE_TASK.findall(sample.lower()))
    hits += sum(1 for line in sample.split("\n")[:40] if _ORDERS.match(line[:60]))
    return hits >= (1 if len(text) < 300 else 2 + len(sample) // 600)


def personal(text: str) -> bool:
    """Whether somebody writes about himself, as users do when they describe what they want."""
    sample = _sample(text)
    return len(_SELF.findall(sample)) >= 1 + len(sample) // 500


def persona(text: str) -> str:
    """The name that a system text gives to the model; empty where it gives none."""
    match = _NAMED.search(text[:4000])
    return match[1] if match else ""


def leads(name: str, text: str) -> int:
    """How many sentences begin with a name."""
    return len(re.findall(rf"(?:^|[.!?:\n])\s{{0,4}}{re.escape(name)}\b", text)) if name else 0


def announces(sentence: str) -> Meaning | None:
    """What a sentence like "Use the following pieces of context" says of the text after it; None: nothing."""
    tail = sentence[-700:]
    if not _POINTS.search(tail) or _FORMAT.search(tail[-250:]):
        return None
    found = labels.meanings(tail[-300:]) | labels.meanings(tail)
    return next((m for m in _ANNOUNCED if m in found), None)


def points_back(sentence: str) -> bool:
    """Whether a sentence speaks of the material before it: "The above is the knowledge base."."""
    return bool(_BACK.search(sentence)) and not labels.meanings(sentence).isdisjoint(_ANNOUNCED)


def points(sentence: str) -> bool:
    """Whether a short sentence is said about material: it points back to it, or gives a list under a name."""
    return points_back(sentence) or bool(_POINTS.search(sentence) and _NAMED_LIST.search(sentence))


def speaks_of_format(sentence: str) -> bool:
    """Whether what follows a sentence is a format or an example, not material."""
    return bool(_FORMAT.search(sentence) or _ORDERS_FORMAT.search(sentence))


def describes_format(title: str) -> bool:
    return bool(_FORMAT.search(title))


def placeholders(text: str) -> bool:
    """Whether it is a form to be filled in, not text."""
    return len(_PLACEHOLDER.findall(text[:2000])) >= 2


def weight(text: str) -> int:
    """Length in characters of an alphabet: an ideograph or a syllable counts as two."""
    head = text[:400]
    wide = 0 if head.isascii() else len(_WIDE.findall(head))
    return len(text) * 2 if wide > 0.4 * len(head) else len(text)

"""Sample texts and helpers of the tests that cut requests and guard their segments."""

import json
from typing import Any

from policies.base import Kind, Segment
from proxy.segmentation import segment
from proxy.shorten import guarded
from proxy.wire import ChatRequest, parse

FERRY = (
    "The ferry to Skarholm leaves from pier four at 07:40 and at 16:15 between April and October. In winter there is a "
    "single crossing at noon, which is cancelled when the wind exceeds eighteen metres per second. Bicycles travel "
    "free of charge, cars need a booking that is made one day ahead at the harbour office or by telephone."
)
PASSES = (
    "Passengers with a season pass board through the left gate. A pass costs 84 euros for a month and 790 euros for a "
    "year, and it is valid on the night bus as well. Lost passes are replaced once a year for a fee of twelve euros; "
    "the harbour office keeps found passes for six weeks and destroys them afterwards."
)
WERKSTATT = (
    "Die Werkstatt prüft Bremsen und Lichtanlage bei jeder Inspektion. Bremsbeläge werden gewechselt, sobald weniger "
    "als drei Millimeter übrig sind; die Kosten betragen 140 Euro für die Vorderachse und 160 Euro für die Hinterachse."
    " Ein Leihwagen steht gegen eine Gebühr von 25 Euro am Tag bereit und wird vollgetankt zurückgegeben."
)
MUSEO = (
    "El museo abre de martes a domingo de diez a seis y cierra los lunes. La entrada general cuesta nueve euros; los "
    "menores de doce años y los desempleados no pagan. Las visitas guiadas empiezan a las once y a las cuatro, duran "
    "una hora y admiten un máximo de veinte personas. Las mochilas grandes se dejan en el guardarropa."
)
MUSEE = (
    "La bibliothèque est ouverte du mardi au samedi de dix heures à dix-neuf heures. Le prêt est gratuit pour les "
    "habitants de la commune et limité à huit documents pour trois semaines. Une amende de vingt centimes par jour est "
    "perçue en cas de retard, sauf pendant la fermeture annuelle du mois de juillet."
)
TOSHOKAN = (
    "図書館の開館時間は平日が午前九時から午後八時まで、土日祝日が午前十時から午後五時までである。貸出は一人十冊まで、"
    "期間は二週間とし、予約者がいない場合に限り一回だけ延長できる。延滞した場合は、延滞日数と同じ期間だけ新たな貸出が"
    "停止される。視聴覚資料は三点まで一週間借りることができる。"
)
DOSEOGWAN = (
    "도서관은 평일 오전 아홉 시부터 오후 여덟 시까지, 주말에는 오전 열 시부터 오후 다섯 시까지 운영된다. 한 사람이 "
    "열 권까지 두 주 동안 빌릴 수 있으며 예약자가 없는 경우 한 번 연장된다. 연체하면 연체 일수만큼 대출이 정지된다."
)
TUSHUGUAN = (
    "图书馆平日上午九点至晚上八点开放，周末上午十点至下午五点开放。每人最多可借十本书，借期两周，无人预约时可续借一次。"
    "逾期期间不得再借，停借天数与逾期天数相同。视听资料每次最多借三件，借期一周，不得续借，损坏须照价赔偿。"
)
GREEK = (
    "Το πλοίο φεύγει από την προβλήτα τέσσερα στις οκτώ το πρωί και στις τέσσερις το απόγευμα. Τον χειμώνα γίνεται "
    "ένα δρομολόγιο, που ακυρώνεται όταν ο άνεμος είναι ισχυρός. Τα ποδήλατα ταξιδεύουν δωρεάν, ενώ για τα "
    "αυτοκίνητα χρειάζεται κράτηση μία ημέρα πριν, στο γραφείο του λιμανιού ή τηλεφωνικά από τις εννιά έως τις πέντε."
)
WINTER = "When does the ferry leave in winter?"


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def request(*messages: dict[str, Any]) -> ChatRequest:
    return parse(json.dumps({"model": "m", "messages": list(messages)}).encode())


def cut(*messages: dict[str, Any]) -> tuple[Segment, ...]:
    return segment(request(*messages))


def kind_of(found: tuple[Segment, ...], text: str) -> Kind:
    """The kind of the one segment that holds this text."""
    (only,) = {s.kind for s in found if text in s.text}
    return only


STRUCTURES = {
    "label after the question": (f"{WINTER}\n\nContext:\n{FERRY}\n\n{PASSES}", WINTER, FERRY),
    "labels on their lines": (f"Answer briefly.\n\nContext: {FERRY}\nQuestion: {WINTER}\nAnswer:", WINTER, FERRY[60:]),
    "headings": (f"## Instructions\nBe brief.\n\n## Context\n{FERRY}\n\n## Question\n{WINTER}", WINTER, FERRY),
    "bold headings": (f"**Context:**\n{FERRY}\n\n**Question:** {WINTER}", WINTER, FERRY),
    "titled rules": (f"---Context---\n{FERRY}\n\n---Question---\n{WINTER}", WINTER, FERRY),
    "field markers": (f"[[ ## context ## ]]\n{FERRY}\n\n[[ ## question ## ]]\n{WINTER}", WINTER, FERRY),
    "tags": (f'<documents>\n<document id="3">{FERRY}</document>\n</documents>\n\n{WINTER}', WINTER, FERRY),
    "unknown outer tag": (f"<kb>\n<article>{FERRY}</article>\n</kb>\n{WINTER}", WINTER, FERRY),
    "brackets that end": (f"[CONTEXT 0]:\n{FERRY}\n[END CONTEXT 0]\n\n{WINTER}", WINTER, FERRY),
    "rules": (
        f"Context information is below.\n-----\n{FERRY}\n-----\nAnswer the query.\nQuery: {WINTER}",
        WINTER,
        FERRY,
    ),
    "triple quotes": (f'Summarize the text in triple quotes.\n"""\n{FERRY}\n\n{PASSES}\n"""', "Summarize", PASSES),
    "numbered": (f"Sources:\n[1] Timetable\n{FERRY}\n[2] Passes\n{PASSES}\n\nQuestion: {WINTER}", WINTER, PASSES),
    "no labels": (f"{FERRY}\n\n{PASSES}\n\n{WINTER}", WINTER, FERRY),
    "one paragraph": (
        f"so my neighbour sent me this: {FERRY} can i take my car without booking?",
        "can i",
        FERRY[:200],
    ),
    "json": (
        json.dumps({"query": WINTER, "hits": [{"id": 4, "body": FERRY}, {"id": 5, "body": PASSES}]}),
        WINTER,
        FERRY,
    ),
    "german": (f"Auszüge:\n{WERKSTATT}\n\nFrage: Was kostet ein Leihwagen?\nAntwort:", "Was kostet", WERKSTATT),
    "spanish": (f"Contexto: {MUSEO}\n\nPregunta: ¿Cuánto cuesta?\nRespuesta:", "¿Cuánto", MUSEO[80:]),
    "french": (f"Extraits :\n{MUSEE}\n\nQuestion : Quelle est l'amende ?", "Quelle est", MUSEE),
    "japanese": (f"【資料】\n{TOSHOKAN}\n\n【質問】\n延滞するとどうなりますか？\n\n【回答】", "延滞すると", TOSHOKAN),
    "korean": (f"참고 자료:\n{DOSEOGWAN}\n\n질문: 연체하면 어떻게 되나요?", "연체하면 어떻게", DOSEOGWAN),
    "chinese": (f"已知信息：\n{TUSHUGUAN}\n\n问题：逾期会怎样？", "逾期会怎样", TUSHUGUAN),
}


PROSE = (
    "The reservoir was built in 1911 and holds four million cubic metres. Its dam is twenty-six metres high and was "
    "strengthened after the flood, when the spillway proved too narrow. Two turbines supply the valley with power, and "
    "a third one is kept as a reserve for dry summers, in which the level falls by up to nine metres. "
)


def segments(*messages: tuple[str, str], tools: tuple[str, ...] = ()) -> tuple[Segment, ...]:
    body = {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}
    offered = [{"type": "function", "function": {"name": name}} for name in tools]
    return guarded(parse(json.dumps(body | {"tools": offered}).encode()))


def changeable(found: tuple[Segment, ...]) -> str:
    """All that may change, joined by a mark."""
    return "|".join(s.text[a - s.start : b - s.start] for s in found for a, b in s.may_change)


def material(text: str, kind: Kind = Kind.CONTEXT) -> Segment:
    return Segment(0, 0, None, 0, len(text), kind, "user", text)

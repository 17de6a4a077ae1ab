"""What the words of a label, a heading or a tag say about the text that follows: tables by meaning, many languages."""

import re
from enum import Enum, auto


class Meaning(Enum):
    CONTEXT = auto()
    CODE = auto()
    HISTORY = auto()
    OBSERVATION = auto()  # result of a tool in an agent's notes
    STEP = auto()  # what an agent thought or did
    EXAMPLE = auto()
    EXISTING = auto()  # an answer that is to be judged, refined or repeated
    ANSWER = auto()  # a cue, or an answer already begun
    QUESTION = auto()
    INSTRUCTION = auto()
    META = auto()  # title, source, id, date of a document
    SPEAKER = auto()


_WORDS: dict[Meaning, str] = {
    Meaning.CONTEXT: """
        context contexts document documents doc docs source sources passage passages chunk chunks snippet snippets
        excerpt excerpts result results search retrieved knowledge information info facts evidence reference
        references background article articles text texts content contents page pages transcript transcripts log logs
        record records data table tables email emails report reports notes note memory memories summary environment
        attachment attachments materials material section paragraph paragraphs clauses clause manual review reviews
        entities entity relationships relations webpage website post story contract policy policies quotes minutes
        csv html json rows details input_text dataset feedback corpus mail mails findings
        body dom tree snapshot stdout stderr traceback stacktrace backtrace
        error errors exception fehler fehlermeldung erreur erreurs excepción errore ошибка fout błąd hata
        ergebnis ergebnisse résultat résultats
        resultado resultados risultato risultati результат результаты sonuçlar wyniki
        kontext dokument dokumente quelle quellen auszug auszüge textauszug abschnitt abschnitte unterlagen
        informationen wissen protokoll bericht daten notizen hintergrund fundstellen
        contexte documents source sources extrait extraits passage informations connaissances texte données rapport
        contexto documento documentos fuente fuentes fragmento fragmentos información pasaje pasajes texto datos
        fonte fontes trecho trechos informação informações informações dados conhecimento
        contesto documenti documento fonti informazioni testo brani passaggi dati estratti
        bronnen bron fragmenten informatie gegevens achtergrond documenten
        kontekst dokumenty źródła źródło informacje fragmenty tekst dane
        контекст документ документы источник источники фрагмент фрагменты информация текст данные отрывок отрывки
        bağlam belge belgeler kaynak kaynaklar bilgi metin veriler
        السياق المستندات المصادر المعلومات النص وثيقة وثائق مصدر
        संदर्भ दस्तावेज़ दस्तावेज जानकारी स्रोत
        konteks dokumen sumber informasi""",
    Meaning.CODE: """
        code file files diff patch schema repository codebase repo commit ddl prefix suffix snippet script
        datei dateien quelltext quellcode fichier fichiers archivo archivos código ficheiro arquivo codice""",
    Meaning.HISTORY: """
        history histories conversation conversations chat dialogue dialog messages turns thread discussion fil
        verlauf gesprächsverlauf chatverlauf unterhaltung gespräch bisheriges historique conversation historial
        conversación histórico conversa cronologia conversazione geschiedenis gesprek historia rozmowa история диалог
        переписка sohbet geçmişi المحادثة سجل इतिहास बातचीत riwayat percakapan""",
    Meaning.OBSERVATION: """
        observation observations beobachtung observación observação osservazione наблюдение gözlem""",
    Meaning.STEP: """
        thought thoughts action reasoning thinking tool_name tool_args gedanke aktion pensée pensamiento acción
        pensamento ação pensiero azione мысль действие düşünce eylem""",
    Meaning.EXAMPLE: """
        example examples demonstration demonstrations demo demos sample samples shot
        beispiel beispiele exemple exemples ejemplo ejemplos exemplo exemplos esempio esempi voorbeeld voorbeelden
        przykład przykłady пример примеры örnek örnekler مثال أمثلة उदाहरण contoh""",
    Meaning.ANSWER: """
        answer answers response output reply sources_used a completion
        antwort réponse respuesta resposta risposta antwoord odpowiedź ответ cevap yanıt إجابة الإجابة उत्तर jawaban""",
    Meaning.QUESTION: """
        question questions query queries q input request task issue problem prompt ask message
        topic objective pr_description inquiry
        frage fragen anfrage aufgabe question requête demande tâche pregunta preguntas consulta tarea solicitud
        pergunta perguntas tarefa pedido domanda richiesta compito vraag opdracht pytanie zadanie вопрос запрос задача
        soru görev سؤال السؤال प्रश्न सवाल pertanyaan""",
    Meaning.INSTRUCTION: """
        instruction instructions rules rule guideline guidelines role roles goal constraints requirements format style
        tone important reminder steps policy_rules persona identity behavior behaviour criteria protocol language
        tools tool capabilities limitations safety restrictions expected convention conventions
        plan plans todo todos milestones schritte étapes pasos plano piano stappen kroki план
        anweisung anweisungen regeln rolle hinweise hinweis format consigne consignes règles rôle instrucciones
        instrucción reglas instruções regras istruzioni regole instructies regels instrukcje zasady инструкции
        инструкция правила talimatlar kurallar التعليمات القواعد निर्देश petunjuk aturan""",
    Meaning.META: """
        title source url uri link filename filepath path page_label id ids score similarity relevance date author
        metadata from to cc subject sent de von an betreff objet asunto para da published updated name citation
        identifier location labels category type url_source lang
        titel quelle seite datum autor datei titre auteur lien título fuente autor página fecha enlace fonte titolo
        data_pubblicazione pagina bron tytuł strona autor заголовок автор страница дата ссылка başlık sayfa tarih""",
    Meaning.SPEAKER: """
        user human assistant ai bot agent customer client system you me speaker operator model
        nutzer benutzer kunde assistent mensch utilisateur assistant client usuario asistente cliente usuário
        assistente utente gebruiker użytkownik asystent пользователь ассистент оператор клиент kullanıcı asistan
        المستخدم المساعد उपयोगकर्ता सहायक pengguna asisten""",
}

_UNSPACED: dict[Meaning, tuple[str, ...]] = {
    Meaning.EXAMPLE: ("例", "示例", "範例", "예시", "예제"),
    Meaning.HISTORY: ("履歴", "会話", "历史", "對話", "对话", "聊天记录", "대화", "이력"),
    Meaning.OBSERVATION: ("観察", "观察", "관찰"),
    Meaning.STEP: ("思考", "行动", "行動", "생각", "행동"),
    Meaning.ANSWER: ("回答", "答え", "答案", "解答", "답변", "대답", "답"),
    Meaning.QUESTION: ("質問", "問い", "问题", "問題", "提问", "用户输入", "질문", "문의", "依頼", "任务", "任務"),
    Meaning.INSTRUCTION: (
        "指示",
        "ルール",
        "規則",
        "要求",
        "规则",
        "注意",
        "出力形式",
        "输出格式",
        "役割",
        "지시",
        "규칙",
    ),
    Meaning.META: ("タイトル", "題名", "出典", "标题", "標題", "来源", "來源", "제목", "출처", "日付", "作者"),
    Meaning.SPEAKER: (
        "ユーザー",
        "アシスタント",
        "用户",
        "助手",
        "사용자",
        "어시스턴트",
        "客服",
        "客户",
        "고객",
        "상담",
    ),
    Meaning.CODE: ("コード", "代码", "코드", "ファイル"),
    Meaning.CONTEXT: (
        *(
            "文脈",
            "コンテキスト",
            "文書",
            "資料",
            "情報",
            "参考",
            "抜粋",
            "規程",
            "記事",
            "本文",
            "文章",
            "マニュアル",
            "議事録",
        ),
        *("上下文", "文档", "文件", "资料", "信息", "背景", "内容", "片段", "知识", "检索", "搜索结果", "原文", "材料"),
        *("文字", "文本", "段落", "短文", "文段", "テキスト", "텍스트", "지문"),
        *("문맥", "컨텍스트", "문서", "자료", "정보", "참고", "본문", "내용", "발췌", "검색", "結果", "结果", "결과"),
    ),
}

_OF: dict[str, Meaning] = {}
for _meaning, _text in reversed(_WORDS.items()):  # where a word stands twice, the earlier meaning wins
    for _word in _text.split():
        _OF[_word] = _meaning


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PROPERTIES = _set(_WORDS[Meaning.META])
_ANSWERS = _set("answer answers response responses summary draft reply completion antwort réponse respuesta")
_GIVEN = _set(
    """original existing previous prior reference candidate generated assistant assistants predicted student current
    initial ideal correct gold submitted given actual bisherige ursprüngliche"""
)
_OLD = _set("current existing original old")
_PARTS = _set("section draft version paragraph text description letter")
_JUDGED = _set(
    """claim claims statement statements sentence hypothesis assertion proposition behauptung aussage affirmation énoncé
    afirmación afirmação affermazione bewering stelling twierdzenie утверждение iddia submission submissions"""
)
_DRAFTS = _set(
    """draft drafts essay manuscript entwurf aufsatz brouillon rédaction borrador ensayo rascunho redação bozza
    concept opstel szkic wypracowanie черновик сочинение эссе taslak"""
)
_CUT = _set(
    """of for to about from in with on by that which relevant related based using von für zu über aus mit de du des
    pour sur avec para sobre con del dos das per di su voor van over z о для из по"""
)
_NUMBERS = re.compile(r"\d+")
_NAME = re.compile(r"[^\W\d_]+")
_ALONE = _set(
    """plan plans todo todos milestones schritte étapes pasos plano piano stappen kroki план error errors exception
    fehler fehlermeldung erreur erreurs excepción errore ошибка fout błąd hata"""
)
_STEPS = _set(
    """step task stage phase milestone subtask schritt aufgabe étape tâche paso tarea passo tarefa passaggio stap taak
    krok zadanie шаг этап adım görev"""
)
_STEP = re.compile(r"(?:[-*#>]{1,3} )?(?:\*\*)?([^\W\d_]{3,12})[ -]?\d{1,3}(?:\.\d{1,2})?(?=\s?(?:[:：.)–-]|$))")
_ENDS = _set("end ende fin fim fine einde koniec конец son")
_STARTS = _set("begin start beginning anfang début inicio início the of der des de du")


def words(title: str) -> list[str]:
    """The words of a short title, lower case: letters only, at most 40."""
    return _NAME.findall(title[:300].casefold())[:40]


def meaning(title: str) -> Meaning | None:
    """What stands under this title. The head of the phrase decides: "Transcript of the chat" is a transcript."""
    found: Meaning | None = None
    title = title.partition("://")[0]  # the words of an address say nothing
    parts = words(title.partition("(")[0]) or words(title)
    if _GIVEN.intersection(parts) and _ANSWERS.intersection(parts):
        return Meaning.EXISTING
    if parts and parts[0] in _OLD and not _PARTS.isdisjoint(parts[1:3]):
        return Meaning.EXISTING
    if parts and len(parts) <= 4 and parts[-1] in _JUDGED | _DRAFTS:
        return Meaning.EXISTING
    if any(_OF.get(part) is Meaning.EXAMPLE for part in parts):
        return Meaning.EXAMPLE
    if parts and _OF.get(parts[0]) is Meaning.STEP:
        return Meaning.STEP
    for part in parts:
        if found and part in _CUT:
            break
        found = _OF.get(part, found)
    if found is Meaning.SPEAKER and len(parts) > 3:
        return None
    if found:
        return found
    return next((m for m, stems in _UNSPACED.items() if any(s in title[:60] for s in stems)), None)


def form(title: str) -> str:
    """The title without its numbers, which is the same for all of a row: "Doc 1", "Doc 2"."""
    return _NUMBERS.sub("0", title)


def stands_alone(title: str) -> bool:
    """Whether a title says what follows only where it has a line of its own: `Plan: Basic` and `Error: no space` are
    values."""
    return not _ALONE.isdisjoint(words(title))


def steps(text: str) -> bool:
    """Whether a line begins like a step of a plan: "Step 1:", "Task 3 -"."""
    match = _STEP.match(text[:40])
    return match is not None and match[1].casefold() in _STEPS


def is_property(title: str) -> bool:
    """Whether a title names a property of a document, as "source" or "page" do."""
    parts = words(title)
    return (bool(parts) and parts[-1] in _PROPERTIES) or any(s in title[:20] for s in _UNSPACED[Meaning.META])


def meanings(sentence: str) -> set[Meaning]:
    """Every meaning that some word of the sentence has."""
    parts = words(sentence)
    found = {m for part in parts if (m := _OF.get(part))}
    if not _DRAFTS.isdisjoint(parts):
        found.add(Meaning.EXISTING)
    found.update(m for m, stems in _UNSPACED.items() if any(s in sentence[:300] for s in stems))
    return found


def closes(title: str) -> bool:
    """Whether a title ends a section ("END CONTEXT 0", "/END SOURCE", "End of notes")."""
    return title.lstrip().startswith("/") or bool(_ENDS.intersection(words(title)[:3]))


def key(title: str) -> str:
    """The title without the words that open and close, so that an end finds its beginning."""
    return " ".join(w for w in words(title) if w not in _ENDS and w not in _STARTS)

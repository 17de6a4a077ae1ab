"""Tasks that need their material word for word, and words that only look like them."""

import re

import pytest
from cutting import PROSE, changeable, segments

from policies import tasks
from policies.tasks import Task, task_of

VERBATIM = [
    "Translate the following text into French.",
    "You are a professional translator. Output only the translation.",
    "Übersetze den Text ins Englische.",
    "次の文章を英語に翻訳してください。",
    "把下面的文字翻译成英文。",
    "Please proofread the following text:",
    "Rewrite this so that a child understands it.",
    "Correct the grammar of the text below.",
    "Act as an impartial judge and compare the two answers.",
    "Grade the answer on a scale. Give a score from 0 to 10.",
    "Je herschrijft folders op taalniveau B1.",
    "Bitte in Leichte Sprache übertragen.",
    "Översätt texten till engelska.",
    "Anonymise the text.",
    "Corrige les fautes.",
    "Du bewertest Aufsätze.",
    "Continue the story.",
    "Give me feedback on this.",
    "Write the complete file.",
    "Improve the Polish translation with the suggestions of the reviewer.",
    "Clean up the notes. All statements should be repeated verbatim.",
    "Tidy the findings, but do not summarize them.",
    "Gib den Text wörtlich wieder.",
    "Reproduis le texte mot pour mot, à conserver tel quel.",
    "Extract the events from the page according to the schema.",
    "List every event of the page, as objects that follow the schema below.",
    "请原样返回全文。",
    "Hier ist eine Übersetzung. Verbessere sie anhand der Vorschläge.",
    "Überarbeite den Entwurf nach den Anmerkungen.",
    "Mejora la redacción del siguiente texto.",
    "Clean up this transcript.",
    "Make my letter more formal.",
    "Write the next chapter.",
    "Mark all spelling mistakes.",
    "Add headings and do not change anything else.",
    "Formatiere den Text, ohne etwas zu ändern.",
    "Convert the table to CSV.",
    "Wandle die Liste in JSON um.",
    "Compare the two versions of the contract.",
    "Welche Unterschiede haben die beiden Fassungen?",
    "Sort the list by name.",
    "Remove duplicates.",
    "How many words does this have?",
    "Your JSON was invalid.",
    "Port this to Python.",
    "You port shell scripts to Rust, one file each.",
    "Convert backup.sh to PowerShell.",
    "Migrate the job below to PySpark on Java 21, please: to Java.",
    "Turn it into idiomatic TypeScript.",
    "Wandle das Skript in Python um.",
    "Portiere das nach Go.",
    "Convertis ce script en Python.",
    "Convierte este código a Kotlin.",
    "这段脚本请转换成Python。",
    "下のスクリプトをPythonに変換。",
    "Shorten the minutes without losing any detail.",
    "Do not omit any of the rows.",
    "You are a text editor. Follow my instructions and improve or rewrite the text I provide.",
    "Transform the selected passage as the user asks.",
    "Output only the replacement text.",
    "Your answer will replace the selection.",
    "Modify the code that the user highlights.",
    "Der markierte Text wird nach Wunsch geändert.",
    "Modifie le texte sélectionné.",
    "Modifica el texto seleccionado.",
    "按要求处理选中的文本。",
    "You compare a submitted summary with an expert summary.",
    "Which translation is better?",
    "Extract the following fields from the document: gate, keeper, date.",
    "Evaluate the compliance of the clause with the guideline.",
    "Does the passage answer the query? Answer 'Yes' or 'No'.",
    "Return only the new section, without explanations.",
    "Reply with the corrected e-mail.",
    "Identify all entities of these types and all relationships among them.",
    "選択された範囲を直す。",
]


@pytest.mark.parametrize("order", VERBATIM)
def test_tasks_that_need_every_word_leave_the_body_alone(order: str) -> None:
    for found in (
        segments(("system", order), ("user", PROSE * 6)),
        segments(("user", f"{order}\n\n<text>\n{PROSE * 6}\n</text>")),
    ):
        assert changeable(found) == ""


@pytest.mark.parametrize(
    "order",
    [
        "Answer the question. Never translate names.",
        "Rephrase the follow-up question as a standalone question.",
        "Answer in the language of the user.",
        "Extract a short label for the topic.",
        "Convert the notes into a commit message.",
        "Don't blindly repeat the context verbatim.",
        "Cite the sentences that matter word for word.",
        "I send the output of git diff and you describe it.",
        "I did not change anything and it fails.",
        "Help me sort out which pass I need. What is the difference between the two ferries?",
        "How do I improve the level? Answer in JSON.",
        "Make the answer shorter.",
        "May they mount panels without losing the guarantee?",
        "How do I get to Java from the port, and what must not be dropped there?",
        "Never drop the polite form.",
        "Find out why the gate is stuck, but do not change anything yourself.",
        "Utilise uniquement les extraits de thèses.",
        "Use the search results (URL and Extract).",
        "If the context does not answer the question, say so. What does the text say of relevant claims?",
        "Which relations to the harbour office does the answer need?",
        "Convert the question into a search query.",
        "Avoid repeating unchanged parts of the context.",
        "Rank the documents by relevance; the relevance score is a number from 1 to 10.",
    ],
)
def test_words_of_other_tasks_are_not_mistaken_for_them(order: str) -> None:
    assert changeable(segments(("system", order), ("user", f"Context:\n{PROSE * 6}\n\nQuestion: How high is it?")))


@pytest.mark.parametrize(
    "word", ["Wir korrigieren das.", "Translate it.", "Write the complete file.", "Judge the answer."]
)
def test_words_of_the_material_of_a_system_text_set_no_task(word: str) -> None:
    told = f"You are Pia.\n\n<context>\n{PROSE * 2}\n{word} {PROSE * 2}\n</context>"
    assert changeable(segments(("system", told), ("user", "How high is it?")))


def test_a_small_input_is_extracted_word_for_word_and_a_long_one_is_not() -> None:
    order = ("system", "Extract the measures.")
    assert changeable(segments(order, ("user", f"Report:\n{PROSE * 2}"))) == ""
    assert changeable(segments(order, ("user", f"Report:\n{PROSE * 12}")))


def test_a_small_text_that_is_answered_or_turned_into_another_stays() -> None:
    for order in ("Reply to this email politely.", "Write a blog post from these notes."):
        assert changeable(segments(("user", f"{order}\n\n<notes>\n{PROSE * 3}\n</notes>"))) == ""
        assert changeable(segments(("user", f"{order}\n\n<notes>\n{PROSE * 12}\n</notes>")))


def test_every_word_for_a_task_has_a_clue() -> None:
    """A clue that is missing would switch its words off: they match without it and not with it."""
    said = [
        *VERBATIM,
        "Extrahiere alles.",
        "请对回答评分",
        "Classifie ce texte.",
        "Fix this function.",
        "Port this code.",
    ]
    for text in (t.lower() for t in said):
        for name, pattern in tasks._WORD.items():
            assert not pattern.search(text) or any(clue in text for clue in tasks._CLUE.get(name, ("",))), (name, text)


def test_every_order_begins_with_a_stem() -> None:
    """A stem that is missing would switch its order off."""
    first = re.compile(r"[a-z]-?[a-z]?-?[a-z]?")
    for row in tasks._ORDERS.values():
        for alternative in row:
            verbs = re.sub(r"\(\?[:!][^()]*\)\??", "", alternative.split(r"\b")[0].split(r"\s")[0].split(" ")[0])
            for verb in verbs.removeprefix("(?:").split("|"):
                stem = verb.replace("-?", "").strip("(?:)")[:3]
                assert len(stem) < 3 or not first.match(stem) or stem in tasks._STEMS, (stem, alternative)


def test_tasks_add_up() -> None:
    assert (task_of(["Translate this."]) | task_of(["Fix the bug."])) == Task("translate", "", True)
    assert task_of(["Go on."]) == Task()


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ("Classify the alert. Return the keys verdict, confidence and hosts.", ""),
        ("Give a verdict for each of the claims that the essay makes.", "judge"),
        ("Check if there is unsafe content in the messages of the user.", "judge"),
        ("Say whether the post is violating our house policy.", "judge"),
    ],
)
def test_a_verdict_is_a_judgement_only_where_something_said_is_judged(order: str, named: str) -> None:
    assert task_of([order]).verbatim == named

"""Prompts to compare on: speech, paragraphs, documents, scripts. Made of a few words and a seed, the same anywhere."""

import random

PEOPLE = ("Okafor", "Lindqvist", "Haddad", "Moreau", "Tanaka", "Duarte")
THINGS = (
    "the ferry terminal",
    "tram line 14",
    "the old observatory",
    "our water tower",
    "the night market",
    "the archive in the cellar",
    "the wind park off the coast",
)
EVENTS = (
    "opens in spring",
    "lost its permit",
    "is late by two weeks",
    "has to be measured once more",
    "came in under the estimate",
    "went over budget",
    "was sold to the neighbours",
    "won't be heated this winter",
)
ENDINGS = (
    "as the surveyor wrote on page {a}",
    "for about ${a},{b:03d}.50",
    "after {a} of {b} residents had signed",
    "since nobody could find the key",
    "unless the weather turns",
    "and that is good news",
    "in spite of what we'd agreed",
)
QUESTION = "What went over budget, and who told the others about it?"
INSTRUCTION = "Answer briefly. Use nothing but the notes below."
UNICODE = (
    "El consejo no votó todavía. 主席说，会议改到星期三，请大家准时参加。 Émile paid 40 € — “twice”, she said. "
    "Мост закрыт до июня! 二〇二五年 ①②③ Ｆｕｌｌｗｉｄｔｈ №7 ﬁne naïve 🚢👩‍🔬 done."
)


def sentence(draw: random.Random) -> str:
    ending = draw.choice(ENDINGS).format(a=draw.randint(1, 99), b=draw.randint(1, 999))
    words = f"{draw.choice(THINGS)} {draw.choice(EVENTS)} {ending}"
    return words[0].upper() + words[1:] + draw.choice("....!?")


def paragraph(seed: int, sentences: int) -> str:
    draw = random.Random(seed)
    return " ".join(sentence(draw) for _ in range(sentences))


def transcript(seed: int, turns: int) -> str:
    """About 60 tokens a turn, a turn a line."""
    draw = random.Random(seed)
    lines = []
    for _ in range(turns):
        said = " ".join(sentence(draw) for _ in range(draw.randint(1, 4)))
        lines.append(f"{draw.choice(PEOPLE)} (item {draw.randint(1, 9)}): {said}")
    return "\n".join(lines)


def documents(seed: int, count: int, sentences: int = 7) -> list[str]:
    return [f"Note {n + 1}. " + paragraph(seed * 1000 + n, sentences) for n in range(count)]


def without_ends(seed: int, sentences: int) -> str:
    """Nothing in it ends a sentence."""
    return paragraph(seed, sentences).translate(str.maketrans("", "", ".?!"))

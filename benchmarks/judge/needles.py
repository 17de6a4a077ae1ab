"""Haystacks after RULER (Hsieh et al., arXiv 2404.06654): a sentence with a number or a code, among sentences that say
nothing of it, and a question for it. In `multi` there are 41 of them, each with a key of its own.

Made from a seed; the words are ours.
"""

import random
from uuid import UUID

from compressors.base import Rate, Span, Task
from judge.cases import Case, asked, folded

WHO = (
    *("The old ferryman", "A teacher from the valley", "Our neighbour", "The night baker", "A retired surveyor"),
    *("The youngest of the gardeners", "The choir", "Somebody at the market", "The librarian", "A travelling tinker"),
    *("The miller's aunt", "The postman", "Every second fisherman", "The stationmaster", "A group of hikers"),
)
DID = (
    *("walked along the river", "mended the garden fence", "told a story about the winter", "painted the shed again"),
    *("counted the swallows on the wire", "waited for the late train", "carried baskets of plums up the hill"),
    *("asked for a cup of tea", "looked for the lost kite", "argued about the height of the bridge"),
    *("sang while the dough was rising", "drew a map of the orchard", "swept the steps of the town hall"),
    *("listened to the rain on the roof", "planted beans beside the wall", "forgot an umbrella on the bench"),
)
WHEN = (
    *(
        "before the fog had lifted",
        "on a quiet afternoon",
        "while the bells were ringing",
        "as nobody else would do it",
    ),
    *("after the harvest", "because the road was closed", "without saying a word", "for the third time that week"),
    *(
        "when the lamps were lit",
        "although it was far too cold",
        "since the shop opened late",
        "just as they always had",
    ),
)
THEN = (
    *(
        "and nobody minded",
        "and the dog followed",
        "which took until supper",
        "and then went home",
        "to general delight",
    ),
    *("with some help from a cousin", "and the weather held", "but the gate stayed open", "and that was that"),
)
ADJECTIVES = (
    *("amber", "brisk", "cobalt", "dusty", "early", "faint", "gentle", "hollow"),
    *("ivory", "jolly", "keen", "lunar", "mellow", "noble", "opal", "plain"),
)
NOUNS = (
    *("anchor", "barrel", "candle", "drum", "engine", "feather", "garnet", "harbour"),
    *("island", "jacket", "kettle", "lantern", "mirror", "needle", "oven", "pillow"),
)
PARAGRAPH = 6
DECOYS = 40


def haystack(number: int, multi: bool, sentences: int = 120, seed: int = 0) -> Case:
    """The same number always gives the same case. About 16 tokens a sentence."""
    rng = random.Random(f"{seed} {number} {multi}")
    keys = [f"{a} {n}" for a in ADJECTIVES for n in NOUNS]
    chosen = rng.sample(keys, 1 + DECOYS if multi else 1)
    kind = "number" if number % 2 else "code"
    values = [_value(kind, rng) for _ in chosen]
    needles = [f"The magic {kind} for {k} is {v}." for k, v in zip(chosen, values, strict=True)]
    said = [_filler(rng) for _ in range(sentences - len(needles))]
    places = rng.sample(range(len(said) + 1), len(needles))
    for place, needle in sorted(zip(places, needles, strict=True), reverse=True):
        said.insert(place, needle)
    text = "\n\n".join(" ".join(said[i : i + PARAGRAPH]) for i in range(0, len(said), PARAGRAPH)) + "\n"
    at = text.index(needles[0])
    question = f"What is the magic {kind} for {chosen[0]}?"
    evidence: Span = (at, at + len(needles[0]))
    return Case(
        id=f"needle {multi} {number}",
        task=Task(text, Rate(1), question),
        asked=(asked(question, [values[0]], folded(text), [evidence]),),
        bodies=((0, len(text)),),
        gold=(evidence,),
        position=at / len(text),
    )


def _filler(rng: random.Random) -> str:
    middle = f"{rng.choice(WHO)} {rng.choice(DID)} {rng.choice(WHEN)}"
    return f"{middle}, {rng.choice(THEN)}." if rng.random() < 0.6 else f"{middle}."


def _value(kind: str, rng: random.Random) -> str:
    return (
        str(rng.randint(1_000_000, 9_999_999)) if kind == "number" else str(UUID(int=rng.getrandbits(128), version=4))
    )

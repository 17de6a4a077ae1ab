"""Where a template and its material meet: who speaks before the first user, sentences without a line of their own,
paragraphs of an open section of a system text."""

from cutting import FERRY, MUSEE, PASSES, WERKSTATT, WINTER, assistant, cut, kind_of, system, user

from policies.base import Kind

RULE = "Answer the question based on the documents. Give me only the answer."


def test_an_answer_before_the_first_user_is_the_templates() -> None:
    found = cut(assistant(f"{RULE}\n\nDocuments:\n[1] {FERRY}\n[2] {PASSES}"), user(WINTER))
    assert kind_of(found, RULE) is Kind.INSTRUCTION
    assert kind_of(found, FERRY) is Kind.CONTEXT


def test_a_message_of_nothing_but_material_in_a_tag_asks_nothing() -> None:
    asked = f"{RULE} Question: {WINTER}"
    found = cut(user(asked), assistant("I look it up."), user(f"<information>\n{FERRY}\n</information>"))
    assert kind_of(found, RULE) is not Kind.HISTORY
    assert {s.turn for s in found} == {0}


def test_sentences_to_the_model_that_end_a_paragraph_of_material_are_no_material() -> None:
    last = "Please only use facts in the text. If it does not say so, answer with 'unknown'."
    found = cut(user(f"Please read the following text:\n{FERRY}\n{PASSES} {last}"))
    assert kind_of(found, last[-40:]) is not Kind.CONTEXT
    assert kind_of(found, PASSES[:80]) is Kind.CONTEXT


def test_a_long_paragraph_between_others_is_material_though_it_says_you_and_must() -> None:
    told = f"{FERRY} You must book the car one day ahead, and you should be there early."
    found = cut(
        system(f"You are Pia.\n\nKnowledge:\n\n{PASSES}\n\n{told}\n\n{WERKSTATT}\n\nNever guess."), user(WINTER)
    )
    assert kind_of(found, told) is Kind.CONTEXT
    assert kind_of(found, "Never guess.") is Kind.INSTRUCTION


def test_a_french_article_speaks_to_nobody() -> None:
    text = f"{MUSEE} Le plan du quartier est à l'entrée du bâtiment, à côté du guichet du rez-de-chaussée."
    assert kind_of(cut(system(f"Contexte :\n\n{text}\n\n{text}"), user("Quand ouvre-t-elle ?")), text) is Kind.CONTEXT


def test_short_documents_in_a_row_are_material_in_a_system_text() -> None:
    rows = "\n".join(f"Doc {i}(Title: T{i}) {text}" for i, text in enumerate((FERRY, PASSES, WERKSTATT, FERRY), 1))
    found = cut(system(f"{RULE}\nThe following are given documents.\n\n{rows}"), user(WINTER))
    assert kind_of(found, WERKSTATT) is Kind.CONTEXT


def test_the_words_of_an_address_name_no_section() -> None:
    link = "[URL: https://docs.example/samples]"
    found = cut(user(f"Context:\n{link}\n{FERRY}\n{link}\n{PASSES}\n\nQuestion: {WINTER}"))
    assert kind_of(found, FERRY) is Kind.CONTEXT


def test_material_that_goes_on_behind_its_announcement_in_a_system_text_is_told_from_it() -> None:
    order = "Tu es un expert. Réponds en utilisant uniquement ce contexte :"
    found = cut(system(f"{order} {MUSEE}\n{MUSEE}"), user("Quand ouvre-t-elle ?"))
    assert kind_of(found, order) is Kind.INSTRUCTION
    assert kind_of(found, MUSEE) is Kind.CONTEXT


def test_rules_between_the_documents_of_a_system_text_do_not_end_them() -> None:
    documents = f"{FERRY}\n\n---\n\n{PASSES}\n\n---\n\n{WERKSTATT}"
    found = cut(user(WINTER), system(f"Relevant excerpts from the knowledge base:\n\n{documents}"))
    assert {kind_of(found, text) for text in (FERRY, PASSES, WERKSTATT)} == {Kind.CONTEXT}
    closing = "You must never guess, and you must never name a price that is not in the documents above. " * 3
    found = cut(user(WINTER), system(f"Excerpts:\n\n{FERRY}\n\n{PASSES}\n\n---\n\n{closing}"))
    assert kind_of(found, closing.strip()) is Kind.INSTRUCTION


def test_a_short_section_of_unknown_meaning_behind_material_is_no_material() -> None:
    added = "Key prices:\n- Highest: 131.20\n- Lowest: 92.11"
    text = f"Documents:\n{FERRY}\n\n{PASSES}\n\n{added}\n\nQuestion: {WINTER}"
    assert kind_of(cut(user(text)), "131.20") is not Kind.CONTEXT
    inside = f"Documents:\n{FERRY}\n\nOpening hours:\n{PASSES}\n\n{WERKSTATT}\n\nQuestion: {WINTER}"
    assert kind_of(cut(user(inside)), PASSES) is Kind.CONTEXT


def test_orders_behind_what_announces_material_are_none_of_it() -> None:
    order = "Return the following fields of this document: berth, fee, period. Respond only with valid JSON. "
    found = cut(user(f"{order}{FERRY} {PASSES} {WERKSTATT}"))
    assert kind_of(found, "Respond only") is not Kind.CONTEXT

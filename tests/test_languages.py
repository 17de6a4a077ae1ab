"""Which texts a model of English is given to read: English ones, in any company, and no others."""

import pytest

from compressors.languages import reads

EN = (
    "The ferry to the island leaves at nine. Tickets are sold on board, and dogs travel free. In winter there are only "
    "two crossings a day, which depend on the weather."
)
OTHERS = {
    "de": "Die Fähre zur Insel legt um neun Uhr ab. Karten gibt es an Bord, Hunde fahren umsonst mit. Im Winter fährt "
    "sie nur zweimal am Tag, und das hängt vom Wetter ab. Was war, war so.",
    "es": "El transbordador a la isla sale a las nueve. Los billetes se venden a bordo y los perros viajan gratis. En "
    "invierno solo hay dos travesías al día, que dependen del tiempo.",
    "fr": "Le bac pour l'île part à neuf heures. Les billets se vendent à bord et les chiens voyagent gratuitement. En "
    "hiver, il n'y a que deux traversées par jour, selon le temps.",
    "nl": "De veerboot naar het eiland vertrekt om negen uur. Kaartjes zijn aan boord te koop, honden reizen gratis. "
    "In de winter is er maar twee keer per dag een overtocht.",
    "da": "Færgen til øen sejler klokken ni. Billetter sælges om bord, og hunde rejser gratis. For om vinteren er der "
    "kun to afgange om dagen, by og vejr bestemmer.",
    "pl": "Prom na wyspę odpływa o dziewiątej. Bilety są sprzedawane na pokładzie, to psy podróżują bezpłatnie. Zimą "
    "są tylko dwa kursy dziennie.",
    "tr": "Adaya giden vapur dokuzda kalkar. Biletler gemide satılır ve köpekler ücretsiz yolculuk eder.",
    "vi": "Phà ra đảo khởi hành lúc chín giờ. Vé được bán trên tàu và chó được đi miễn phí.",
    "ru": "Паром на остров отходит в девять. Билеты продают на борту, собаки едут бесплатно.",
    "el": "Το πλοίο για το νησί φεύγει στις εννέα. Τα εισιτήρια πωλούνται πάνω στο πλοίο.",
    "ar": "تغادر العبارة إلى الجزيرة في التاسعة. تباع التذاكر على متنها.",
    "hi": "द्वीप के लिए नौका नौ बजे निकलती है। टिकट नाव पर मिलते हैं।",
    "th": "เรือข้ามฟากไปเกาะออกเวลาเก้าโมง ตั๋วขายบนเรือ",
    "ja": "島へのフェリーは九時に出ます。切符は船内で買えます。犬は無料です。",
    "ko": "섬으로 가는 배는 아홉 시에 떠납니다. 표는 배에서 팝니다.",
    "zh": "去岛上的渡轮九点开。票在船上卖，狗免费。冬天每天只有两班。",
}


def test_english_is_read() -> None:
    assert reads(("en",), EN, "When does the ferry leave?")
    assert reads(("en",), EN * 50)
    assert reads(("en",), f"{EN} {EN} Ein deutscher Satz, der zitiert wird. {EN}", "ferry times")


@pytest.mark.parametrize("language", OTHERS)
def test_other_languages_are_not(language: str) -> None:
    assert not reads(("en",), OTHERS[language])
    assert not reads(("en",), OTHERS[language] * 20, "When does the ferry leave?")


@pytest.mark.parametrize("language", sorted(OTHERS.keys() - {"pl", "tr"}))
def test_a_question_in_another_language_about_an_english_text_is_not_read(language: str) -> None:
    question = OTHERS[language].split(". ")[0]
    assert not reads(("en",), EN, question)


@pytest.mark.parametrize("text", ["", "404 403 17:30 -12 %", "\ud83d\ud83d", "Ana Duarte, Bo Lindqvist, Cem Aksoy"])
def test_what_has_no_words_of_english_is_left_to_others(text: str) -> None:
    assert not reads(("en",), text)


def test_a_model_that_says_nothing_of_its_languages_reads_all() -> None:
    assert all(reads((), text) for text in OTHERS.values())


def test_of_several_languages_the_script_alone_tells() -> None:
    assert reads(("en", "de"), OTHERS["de"])
    assert not reads(("en", "de"), OTHERS["ja"])

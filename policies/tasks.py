"""What a request asks for, as far as it decides whether its material must stay word for word.

Two tables. `_ORDERS` holds what counts only where an order begins: "Translate the text" is one, "Never translate names"
is none. `_WORDS` holds what counts anywhere. Texts are read in lower case.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_READ = 8_000  # characters of each end of a text that are read


_ASKED = r"(?:please|to|you|and|or|then|can you|could you|must|should|will|i want you to|let's|bitte)"
_START = re.compile(rf"^|[.!?:;,\n。！]\s*|\b{_ASKED}\s+")  # an order begins behind it
_NOT_A_QUESTION = r"(?!(?:\W+\w+){0,6}\W+(?:questions?|quer(?:y|ies)|follow-?\s?ups?)\b)"
_WRITING = (
    r"(?:grammar|spelling|typos?|text|writing|paragraphs?|sentences?|essay|e-?mail|letter|draft|article|document"
    r"|errors?|mistakes|style|wording|punctuation|transcript|subtitles|captions|translation|manuscript|story|chapter|poem|scene|novel|post|speech|lyrics|abstract|cv|resum[eé]|blog)"
)
_JUDGED = (
    r"(?:answers?|responses?|completions?|submissions?|faithful\w*|factual\w*|correctness|hallucinat\w+|usefulness"
    r"|useful|helpful)"
)
_SHORT = r"(?:an? (?:short|brief|concise|single)|titles?|labels?|summar(?:y|ies)|commit messages?|search quer(?:y|ies))"
_KEPT = r"(?:verbatim|word[- ]for[- ]word|unchanged)"
_MAIL = r"\b(?:e-?mails?|messages?|letters?|reviews?|comments?|tickets?|inquir(?:y|ies))\b"
_VERBATIM = ("translate", "rewrite", "revise", "judge", "write code", "copy")
_READS_ALL = ("extract", "write", "classify")
_FORMATS = r"(?:csv|tsv|json|ya?ml|xml|html|markdown|latex|sql|tab(?:le|elle|leau|la|ela|ella))"
_CODE = (
    r"(?:python|javascript|typescript|java|kotlin|swift|rust|go|golang|ruby|php|perl|scala|bash|powershell|cobol"
    r"|fortran|julia|matlab|lua|dart|elixir|haskell|clojure|zig|c#|c\+\+|\.net|vba|react|vue|angular|svelte|pandas|polars"
    r"|pytest|jest|postgres\w*|mysql|t-sql|bigquery|snowflake|terraform|kubernetes)(?![a-z0-9_])"
)
_LEFT_OUT = (
    r"(?:any\w*|information|details?|contents?|texts?|words?|facts?|meaning|nuances?|rows?|lines?|items?|entries"
    r"|sentences?|paragraphs?|sections?|parts?|everything|nothing)"
)
_ORDERS = {
    "copy": [
        rf"(?:convert|port|migrate|transpile|turn|transform|re-?implement)\b[^\n]{{0,80}}\b(?:in)?to (?:\w+ )?{_CODE}",
        rf"(?:convert|turn|transform|reformat)\b[^.\n]{{0,60}}\bto (?:an? |valid )?{_FORMATS}\b",
        r"(?:(?:sort|alphabeti[sz]e|decode|encode|decrypt|minify|prettify) (?:the|this|these|my|it|following)"
        r"|de-?duplicate|remove (?:the |all )?duplicates?)\b",
        r"(?:compare|diff)\b[^.\n]{0,40}\b(?:versions|drafts|wordings)\b",
        r"(?:spot|find|list|show|mark)\b[^.\n]{0,20}\bdifferences\b",
        r"(?:fix|repair|correct)\b[^.\n]{0,20}\bjson\b",
    ],
    "translate": [r"(?:re)?translate\b"],
    "rewrite": [
        r"(?:re-?write|rephrase|paraphrase|reword|proofread|copy-?edit|polish|humanize)\b" + _NOT_A_QUESTION,
        rf"(?:correct|fix|edit|improve|simplify|shorten|format|reformat|continue|clean(?: up)?|tidy(?: up)?)\s+"
        rf"(?:the|this|my|all|any)?\s?(?:following )?{_WRITING}\b",
        r"(?:find|mark|list|highlight|spot|correct)\s+(?:all |the |any |every )*"
        r"(?:spelling|grammar|grammatical|typos?|punctuation)\b",
        r"make (?:it|this|(?:the|my) (?!answer|response|reply|summary|output)\w+) (?:\w+ )?"
        r"(?:shorter|longer|(?:more|less) \w+|friendlier|simpler|clearer|politer)\b",
        r"write (?:an?|the) (?:continuation|sequel|next (?:chapter|scene|part|verse))\b",
        r"(?:locali[sz]e|anonymi[sz]e|pseudonymi[sz]e|de-?identify|redact|mask)\b",
    ],
    "judge": [
        r"(?:grade|evaluate|judge|score|rate|assess|compare|critique|verify|check|determine)\s+"
        rf"(?:\w+\s+){{0,8}}?{_JUDGED}\b",
        r"(?:determine|decide|judge|evaluate|assess|check|verify) (?:if|whether)\b[^.\n]{0,120}?"
        r"\b(?:reference|context|documents?|answer|response|statements?|claims?|passage)\b",
        r"(?:critique|critici[sz]e|give (?:me |us )?(?:\w+ )?feedback)\b",
    ],
    "extract": [
        r"(?:fill (?:in|out)|complete) (?:the |this )?(?:form|fields?|template|blanks?|table|:|\n)",
        rf"(?:extract|transcribe|parse|convert|copy)\b(?=\s+\w)(?![^.\n]{{0,60}}?\b{_SHORT}\b)",
    ],
    "write": [
        rf"(?:reply|respond|answer) to (?:this|the|my|a|following|customer'?s?|\s)+\s?{_MAIL}",
        r"(?:write|draft|compose|create|generate|prepare|turn)\b[^.\n]{0,60}\b(?:posts?|articles?|e-?mails?|letters?"
        r"|story|speech|newsletter|press release|slides|minutes|biography|quiz|flashcards|test cases)\b",
    ],
    "classify": [r"(?:classify|categori[sz]e|label|tag|detect|moderate)\b"],
}
_TEXT = (
    r"(?:texts?|code|passages?|regions?|lines?|snippets?|selection|paragraphs?|sentences?|blocks?|functions?|content)"
)
_GIVEN = r"(?:selected|given|provided|highlighted|marked|pasted|supplied|chosen|quoted|enclosed|submitted)"
_ALTER = (
    r"(?:rewrit|edit|replac|transform|improv|refactor|chang|modif|correct|fix|refin|revis|shorten|expand|adapt|adjust"
    r"|restructur|rephras|reword|updat|convert|clean|optimi[sz]|alter)\w*"
)
_WORDS = {
    "copy": [  # nothing of the material may be lost
        rf"(?<!n't )(?<!not )(?<!ever )(?<!ly )(?<!avoid )(?<!without )"
        rf"\b(?:preserv\w+|repeat\w*|reproduc\w+|return\w*|rewrit\w+|keep)\b"
        rf"[^.\n]{{0,60}}\b{_KEPT}\b(?! quot)",
        r"\b(?:don'?t|do not|never|not|without|rather than) (?:to )?(?:(?:summari[sz]\w+|condens\w+|shorten\w*"
        r"|abridg\w+)\b(?! (?:your|the) (?:answer|reply|response))"
        r"|(?:los(?:e|ing)|omit\w*|leav(?:e|ing) out|drop\w*)\b"
        rf"[^.\n]{{0,25}}\b{_LEFT_OUT}\b)",
        r"\b(?:extract|list|find|return|capture|include|collect)\w*\b[^.\n]{0,40}\b(?:all|every|each)\b"
        r"[^\n]{0,400}\bschema\b|\bschema\b[^\n]{0,80}\bextract|\bextract[^\n]{0,200}\bschema\b",
        r"\b(?:without|don't|do not) chang(?:e|ing)\b[^.\n]{0,20}"
        r"\b(?:anything|any words?|wording|words|else|content|text)\b"
        r"(?! (?:yourself|yet|for now|on (?:the|my)|in (?:the|my) (?:repo|code|file)))"
        r"|\b(?:keep\w*|preserv\w+|include) every word\b",
        r"\b(?:identif|extract|find|list|detect|annotat)\w*\b[^.\n]{0,20}\b(?:all|every|each)\b[^.\n]{0,40}"
        r"\b(?:entit(?:y|ies)|relationships?|relations|mentions?|occurrences?)\b",
        r"\b(?:extract|capture|pull out|read out)\b[^.\n]{0,12}\b(?:following|these) (?:\w+ )?"
        r"(?:fields|values|attributes|data points|properties|entities)\b",
        r"\bjson\b[^.\n]{0,30}\b(?:invalid|malformed)\b|\b(?:invalid|corrected) json\b",
        r"\b(?:how many|how often|count)\b[^.\n?]{0,30}\b(?:words?|characters|letters|occurrences)\b",
        r"\b(?:ohne|nichts|rien|sin)\b[^.\n]{0,20}\b(?:änder|veränder|wortlaut|chang|modifi|cambi|alter)\w*",
        r"\b(?:unterschiede|différences|diferencias|differenze)\b[^.\n]{0,30}"
        r"\b(?:fassungen|versionen|versions|versiones|versioni)\b",
        rf"\b(?:wandle|umwandeln|konvertier\w*|convertis|convertir)\b[^.\n]{{0,60}}\b{_FORMATS}\b",
        r"\b(?:convert(?:is\w*|ir|e|a|i|ite)|conviert\w+|konvertier\w*|wandle|portier\w*|übertrag\w*"
        r"|migr\w+|przepisz|przenieś|перепиши\w*|перенеси\w*)\b[^\n]{0,80}"
        rf"\b(?:nach|in|en|a|ao|para|su|naar|na|do|на|в)\s{_CODE}",
        rf"{_CODE}\s?(?:に|へ)(?:変換|移植|書き)|(?:转换?|改写?|移植|迁移)(?:成|为|到)\s?{_CODE}"
        rf"|{_CODE}\s?(?:으?로) (?:변환|바꿔|옮겨)",
        r"\b(?:wörtlich|wortwörtlich|unverändert|textuellement|mot pour mot|literalmente|letteralmente"
        r"|letterlijk|dosłownie|дословно)\b[^.\n]{0,60}"
        r"\b(?:wieder|übernehm|zurück|behalt|reprodui|repren|conserv|reproduc|copi|mant|ripor|over|zachow|сохран|återge)",
        r"一字不[漏差]|原样(?:返回|输出|保留)|逐字|そのまま(?:出力|返|保持)|原文どおり|그대로 (?:출력|반환|유지)",
    ],
    "translate": [
        r"\b(?:edit|improv|review|revis|refin|correct|check|critici[sz]|proofread|compar|assess|polish)\w*\b[^.\n]{0,80}"
        r"\btranslations?\b|\btranslation (?:edit|review|quality|from)\w*",
        r"\btranslator\b|\btranslation (?:assistant|engine|expert)",
        r"\bübersetze?n?\b|\btradui(?:s|sez|re)\b|\btradu(?:ce|ceți|zca|cir|za|zir|ci|rre|tor|ttore)\b|\bvertaal\b",
        r"\böversätt\b|\boversett\b|\boversæt\b|\bkäännä\b|\bpřelož\w*|\bfordítsd\b|\bdịch (?:sang|đoạn|văn)|μετάφρασ",
        r"przetłumacz|переведи|переклад|преведи|\bçevir|ترجم|תרגם|अनुवाद|terjemahkan|แปลเป็น|แปลข้อ",
        r"翻訳して|翻訳(?:者|家)|翻译(?:成|为|以下|下面|这|：|:)|번역",
    ],
    "revise": [  # what is shown or selected comes out again, changed
        rf"\b{_ALTER}\b[^.\n]{{0,40}}\b{_GIVEN} (?:\w+ )?{_TEXT}\b",
        rf"\b{_ALTER}\b[^.\n]{{0,40}}\b{_TEXT} (?:that )?(?:(?:i|the user|users|they|is|are|was|i have) ){{0,2}}"
        r"(?:provides?|gives?|sends?|selects?|pastes?|highlights?|marks?|submits?|below|selected|given|pasted"
        r"|provided)\b",
        rf"\breplacement (?:for|of|{_TEXT})"
        rf"|\b(?:replac|overwrit)\w+\b[^.\n]{{0,30}}\b(?:selection|region|original {_TEXT})\b",
        r"\b(?:return|output|respond with|reply with|give|provide|write)\b[^.\n]{0,12}\bthe (?:\w+ )?"
        r"(?:new|updated|revised|rewritten|edited|modified|corrected|improved|changed) (?:\w+ )?"
        r"(?:sections?|texts?|documents?|paragraphs?|versions?|drafts?|contents?|e-?mails?|letters?|articles?|passages?)\b",
        r"\byou are an? (?:\w+ )?(?:text|copy|prose|line|language|style) ?editor\b",
        r"\b(?:ausgewählt|markiert|selektiert)\w* (?:text|code|stelle|absatz|absätze|bereich|abschnitt)"
        r"|\b(?:auswahl|markierung) (?:ersetz|änder)|\b(?:texte|code|passage) (?:sélectionné|surligné|fourni)"
        r"|\b(?:texto|código|fragmento) (?:seleccionado|resaltado|selecionado|marcado)"
        r"|\b(?:testo|codice) (?:selezionato|evidenziato)|\bgeselecteerde (?:tekst|code)|\bzaznaczon\w+ (?:tekst|kod)"
        r"|\bвыделенн\w+ (?:текст|код|фрагмент)",
        r"(?:选中|所选|选定)的?(?:文本|文字|代码|内容|段落)"
        r"|選択(?:した|された|中の|範囲の?|テキスト)|선택(?:한|된) (?:텍스트|코드|영역|글)",
    ],
    "rewrite": [
        r"\b(?:überarbeit\w+|verbesser\w*|amélior\w+|mejor(?:a|e|ar)|melhor(?:e|ar)|miglior(?:a|are)|verbeter|popraw|ulepsz"
        r"|улучши)\b[^.\n]{0,40}\b(?:text\w*|entwurf|brief|aufsatz|mail|e-mail|übersetzung|rédaction|lettre|traduction"
        r"|redacción|carta|traducción|redação|tradução|testo|lettera|traduzione|tekst|vertaling|tłumaczenie|текст|перевод)",
        r"\b(?:übersetzung|traduction|traducción|tradução|traduzione|vertaling)\b[^\n]{0,40}"
        r"\b(?:verbesser|überarbeit|amélior|mejor|melhor|miglior|verbeter)",
        r"\b(?:umschreiben|umgeschrieben|umformuliere\w*|korrigiere\w*|korrekturlese\w*|reformule[rz]?|corrige[rz]?)\b",
        r"\b(?:reescrib\w+|corrija|reescreva|riscrivi|correggi|herschrij[fv]\w*|réécri\w+|popraw|przepisz)\b",
        r"\bперепиши|\bисправь|\bskriv om\b|\bomskriv\w*|\brätta\b|\b(?:vereinfach|vereenvoudig)\w*",
        r"\bsimplifi(?:ez?|que|car|er)\b|\b(?:leichte|einfache)\w? sprache|\bplain (?:language|english)|\btaalniveau\b",
        r"\beasy[- ]to[- ]read|\blectura fácil|\bfacile à lire|\bsprachniveau\b|\blättläst|\bprosty język",
        r"\b(?:rechtschreib|grammatikfehler|gramátic|орфограф)\w*|\b(?:orthographe|ortograf[ií]a|spelfouten)\b",
        r"\b(?:lokalisier|anonymisier|anonimiza|anonimizz|schwärze|анонимизир)\w*|\banonymise[rz]?\b",
        r"匿名化|脱敏|简化(?:以下|下面)|やさしい日本語|書き(?:換え|直)|校正|添削|改写|润色|修改(?:以下|下面)|다듬어|교정|고쳐",
    ],
    "judge": [
        r"\bimpartial judge\b|\bwhich (?:answer|response|assistant|model|output|summary|translation|completion)"
        r" (?:is |are |\w+ )?better\b|\bweaknesses\b",
        r"\b(?:submitted|candidate|expert|predicted) (?:\w+ )?"
        r"(?:summar(?:y|ies)|answers?|responses?|translations?|outputs?)\b",
        r"\b(?:evaluat|assess|check|verif|review|judg)\w*\b[^.\n]{0,30}\bcomplian\w+",
        r"\b(?:does|is) (?:the|this) (?:\w+ )?"
        r"(?:passages?|documents?|texts?|excerpts?|snippets?|context|results?)\b"
        r"[^.?\n]{0,30}\b(?:answer|support|relevant|entail)\b[^.?\n]{0,20}"
        r"\b(?:query|question|claim|statement|answer)\b[^.\n]{0,20}[?]",
        r"\b(?:act|acting|you are) (?:as )?(?:a |an )?(?:\w+ ){0,3}(?:judge|grader|evaluator)\b|\bfeedback on\b",
        r"(?<!relevance )\bscores?\b[^.\n]{0,80}?\b[01]\s?(?:-|–|to|and)\s?(?:1|5|10|100)\b",
        r"\bevaluation (?:steps|criteria)\b|\bgrading\b",
        rf"\bverdicts?\b[^\n]{{0,200}}?\b(?:{_JUDGED}|claims?|statements?|essays?|candidates?)\b",
        rf"\b(?:{_JUDGED}|claims?|statements?|essays?|candidates?)\b[^\n]{{0,200}}?\bverdicts?\b",
        r"\b(?:unsafe|harmful|toxic|abusive) (?:content|messages?|requests?)\b|\bcontent moderat(?:ion|or)\b",
        r"\bviolat\w+ (?:of )?(?:our|the|any|this) (?:\w+ )?polic(?:y|ies)\b|\b(?:safety|content) polic(?:y|ies)\b",
        r"\b(?:bewerte\w*|benote\w*|évalue[rz]?|evalúa\w*|califica|calificar|avalie|avaliar|beoordeel|oceń|оцени\w*)\b",
        r"评分|打分|採点|評価して|채점|평가",
    ],
    "write code": [
        r"\b(?:complete|every|full) code\b",
        r"\b(?:write|output|return|produce|generate)\b[^.\n]{0,40}\b(?:complete|full|entire|whole)\s+(?:\w+\s+){0,2}"
        r"(?:files?|code|program|module|class)\b",
    ],
    "extract": [
        r"\bjson\b[^.\n]{0,40}\b(?:these|following) (?:keys|fields|properties|attributes)\b",
        r"\bfill(?:ing)? (?:in|out) (?:\w+ ){0,4}(?:forms?|fields?|templates?|applications?|questionnaires?)\b",
        r"\bextrahiere\w*|\bextrai(?:s|re|a|am|r|ga)\b|\bextrayez\b|\bestra(?:i|rre)\b|\bextra(?:e|er)\b"
        r"|извлеки|抽出|提取|추출",
    ],
    "write": [
        r"\b(?:antworte\w*|réponds|répondre|responder?) (?:auf|à|a) (?:diese\w*|die|ce\w*|este|esta|la|al|el)\b"
        r"[^.\n]{0,30}\b(?:mail|e-mail|nachricht|courriel|message|correo|mensaje|mensagem)\b",
        r"返信|回复(?:这|以下|下面|邮件)|답장",
    ],
    "classify": [
        r"\b(?:phishing|spam|scam)\b|\bclassifier\b|\bsentiment\b|\bklassifiziere\w*|\bclassifi(?:ez?|que)\b|\bclasific\w+",
        r"классифицируй|分類|分类|분류",
    ],
    "edits": [
        r"\b(?:write|writes|insert|inserts|inserted|paste|pasted|put|placed|place|applied)\b[^.\n]{0,60}"
        r"\b(?:in ?to|in|at|over) (?:the|my|their|your|a|an|this) (?:[\w']+ ){0,3}"
        r"(?:buffer|editor|cursor|selection|file)\b",
        r"\b(?:visually |currently |have |i've |i )(?:selected|highlighted|marked)\b"
        r"|\b(?:selected|highlighted) (?:code|lines)\b",
        r"\b(?:preserv|keep|retain|maintain|match)\w*\b[^.\n]{0,40}\b(?:indentation|whitespace)",
        r"search/replace|\bstr_replace|\bapply_(?:patch|diff)|\bedit_file|replace_in_file|\bsuggested edit\b",
        r"rewritten code|\b(?:code|function|file|section) to (?:be )?(?:rewrit|edit|modif|refactor|fix)",
        r"(?:entire|complete|full) (?:content of the )?(?:updated|modified|new) (?:file|code)",
        r"\b(?:edit|modify|rewrite|refactor|fix|patch|port|convert|extend|migrat)(?:e|ing)?"
        r"\s+(?:the|this|my|these|that|it)?\s?(?:\w+ )?(?:code|functions?|class(?:es)?|files?|methods?|scripts?|bugs?"
        r"|modules?|issue|cell|notebook|tests?)\b",
        r"\bunified (?:git )?diffs?\b|\b(?:reply|respond|answer|(?<!the )(?<!an )output)\b[^.\n]{0,40}"
        r"\b(?:diff|patch)\b",
        r"\b(?:generat|writ|add|creat)(?:e|es|ing)?\b[^.\n]{0,30}"
        r"\b(?:unit|regression|additional|missing|new) (?:unit )?tests?\b",
        r"\bfill[- ]in[- ]the[- ]middle\b|\binsert\w* at the cursor\b",
    ],
}

_CLUES = {  # one of them stands in every text that a pattern of `_WORDS` matches; "_" is a space
    "copy": """verbatim word_for word-for unchanged _summari _condens _shorten _abridg _lose_ _losing _omit _leave_out
        _drop schema following_ these_ entit relation mention occurrence
        ry_word n't_change not_change without_chang invalid malformed corrected_json how_many how_often
        leaving_out convert konvert conviert portier übertrag migr przepisz przenieś перепи перенес
        変換 移植 書き 转 改 迁移 변환 바꿔 옮겨
        count_ ohne_ nichts _rien_ _sin_ unterschied différenc diferenci differenz wandl
        wörtlich unveränd textuel mot_pour literalmen letteralm letterlijk dosłow дослов
        一字 原样 逐字 そのまま 原文 그대로""",
    "translate": """transl überse trad vertaal övers overs kään přelož fordít dịch μετάφρασ przetł перев перекл превед
        çevir ترجم תרגם अनुवाद terjemah แปล 翻訳 翻译 번역""",
    "revise": """selected given provide highlight marked pasted supplied chosen quoted enclosed submit select selec
        paste evidenz
        gives send below replacement replac overwrit editor ausgew markier selekt auswahl sélectionn surlign fourni
        _new_ updated revised rewritten edited modified corrected improved changed
        resaltado marcado geselect zaznacz выделен 选 選択 선택""",
    "rewrite": """überarb verbess amélior mejor melhor miglior verbeter ulepsz улучш
        schreib schrieb formul korr corri reescr riscriv correg herschri réécr popraw przepis перепи исправ
        skriv rätta verein vereen simplifi sprache plain_lang plain_eng niveau to_read to-read fácil facile lättläst
        prosty grammatik gramátic орфогр ortogr orthogr spelf lokalis anonym anonim schwärz аноним 匿名 脱敏 简化
        やさしい 書き 校正 添削 改写 润色 修改 다듬어 교정 고쳐""",
    "judge": """judge grader evaluat is_better unsafe harmful toxic abusive moderat
        violat polic weakness feedback submitted_ candidate_ expert_ predicted_ better complian does_the does_this
        relevant
        score verdict grading bewert benot évalu evalú califica
        avali beoordeel oceń оцени 评分 打分 採点 評価 채점 평가""",
    "extract": "extra estra json fill извлеки 抽出 提取 추출",
    "classify": "phishing spam scam classif klassif clasific sentiment классиф 分類 分类 분류",
    "edits": """replace apply edit rewri modif refactor fix patch port convert extend migrat updated new_
        diff fill cursor buffer editor selection _file selected highlighted marked indentation whitespace tests""",
}


def _compiled(table: dict[str, list[str]]) -> re.Pattern[str]:
    """One pattern of which the last group that matches is named as the row is."""
    rows = (f"(?P<{name.replace(' ', '_')}>{'|'.join(alternatives)})" for name, alternatives in table.items())
    return re.compile("|".join(rows))


_ORDER = _compiled(_ORDERS)
_STARTS = """alp ano ans ass cat che cla cle com con cop cor cre cri de- dec ded dei det dif dra edi enc eva ext
    fil fin fix for gen giv gra hig hum imp jud lab lis loc mak mar mas mig min mod par pol por pre
    pro pse rat re- red ref rei rem rep res ret rew sco sho sim sor spo tag tid tra tur ver wri"""
_STEMS = frozenset(_STARTS.split())  # the first three letters of every order: to look at them first is faster
_WORD = {name: re.compile("|".join(alternatives)) for name, alternatives in _WORDS.items()}
_CLUE = {name: tuple(clue.replace("_", " ") for clue in text.split()) for name, text in _CLUES.items()}
_CHANGE = re.compile(  # what a user orders where he wants other code than he shows; a question has it elsewhere
    r"(?:^|[.!?:\n]\s{0,9}|\b(?:please|can you|could you|would you|and|then|bitte|kannst du)\s)"
    r"(?:add|implement|fix|repair|optimi[sz]e|refactor|rename|remove|replace|change|update|modify|simplify|complete|finish"
    r"|extend|rework|restructure|speed up|port|migrate|vectori[sz]e|annotate|wrap|split|füge|ergänze|behebe|repariere"
    r"|implementiere|optimiere|ersetze|entferne|ändere|ajoute[rz]?|corrige[rz]?|répare[rz]?|implémente[rz]?|remplace[rz]?"
    r"|supprime[rz]?|añade|agrega|arregla|corrija|implementa|optimiza|reemplaza|elimina|adicione|conserte|aggiungi"
    r"|correggi|sostituisci|voeg|repareer|dodaj|napraw|usuń|добавь|исправь|почини)\s\w"
)
_INQUIRES = re.compile(  # what a user says who wants to know something of the code that he shows, not other code
    r"[?？؟]|\b(?:what|why|how|where|which|who|when|whether|list|tell|show me|check|look|name|suche?"
    r"|was|warum|wie|wo|welche[rsnm]?|pourquoi|comment|où|qué|cómo|dónde|come|perché|dove|почему|как|где)\b"
    r"|\b(?:explain|summar|describ|review|find|analy|answer|question|commit|message|locali|identif|understand|compar"
    r"|document|report|investigat|inspect|search|erklär|beschreib|prüf|explique|décri|trouve|explica|busca|encuentra"
    r"|spiega|объясни|найди)|为什么|怎么|什么|哪|解释|说明"
    r"|なぜ|どう|何|説明|왜|어떻게|무엇|설명"
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


def task_of(texts: Iterable[str], tools: tuple[str, ...] = (), *, user: bool = False) -> Task:
    """The task that these texts set, with these tools on offer. `user`: a user says them, of his own material."""
    text = "\n".join(t if len(t) <= 2 * _READ else t[:_READ] + "\n" + t[-_READ:] for t in texts).lower()
    named = _named(text)
    if user and (_CHANGE.search(text) or not _INQUIRES.search(text)):
        named.add("edits")
    verbatim = next((name for name in _VERBATIM if name in named), "")
    reads_all = next((name for name in _READS_ALL if name in named), "")
    return Task(verbatim, reads_all, "edits" in named or any(_EDITING_TOOL.search(t) for t in tools))


def _named(text: str) -> set[str]:
    """The rows of the tables that speak of this text, which is in lower case."""
    starts = (start.end() for start in _START.finditer(text))
    orders = (_ORDER.match(text, at) for at in starts if text[at : at + 3] in _STEMS)
    named = {order.lastgroup for order in orders if order and order.lastgroup}
    likely = (name for name in _WORD if name not in named and any(map(text.__contains__, _CLUE.get(name, ("",)))))
    return named | {name for name in likely if _WORD[name].search(text)}

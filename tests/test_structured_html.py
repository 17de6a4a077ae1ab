"""HTML: visible text is the last to go, tags stay as well nested as they were."""

from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import Rate, Task
from compressors.spans import join
from compressors.structured import Structured


def shorten(text: str, rate: float, question: str = "") -> str:
    return join(text, Structured().compress([Task(text, Rate(rate), question)])[0].spans)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8"><title>The mill</title>
  <style>p { margin: 0 }</style>
  <script>if (a < b) { track("</p>"); }</script>
</head>
<body class="skin wide">
  <nav class="top"><ul><li><a href="/home">Home</a></li><li><a href="/shop">Shop</a></li></ul></nav>
  <!-- banner: spring -->
  <main>
    <h1 id="t1">The   mill</h1>
    <p class="lead">It was built by <a class="x" href="/ada" onclick="go()">Ada Brook</a> <b>in</b> 1811.</p>
    <pre>
  two  blanks
    </pre>
    <table><tr><th>Year</th><td>1811</td></tr><tr><th>River</th><td>Aare</td></tr></table>
  </main>
  <footer><p>All rights reserved.</p></footer>
</body>
</html>
"""


def test_white_space_is_free_but_never_that_between_words_or_in_pre() -> None:
    kept = shorten(PAGE, 1)
    assert '<h1 id="t1">The mill</h1><p class="lead">It was built by <a' in kept
    assert "Ada Brook</a> <b>in</b> 1811." in kept
    assert "<pre>\n  two  blanks\n    </pre>" in kept
    assert kept.split() == PAGE.split() or "".join(kept.split()) == "".join(PAGE.split())


def test_what_no_reader_sees_goes_first_and_links_stay() -> None:
    kept = shorten(PAGE, 0.62)
    for gone in ("track(", "margin", "banner", "onclick", "charset", "skin"):
        assert gone not in kept
    for stays in ("<title>The mill</title>", '<a href="/ada">Ada Brook</a>', "Aare", "two  blanks"):
        assert stays in kept


def test_boilerplate_goes_before_text() -> None:
    kept = shorten(PAGE, 0.5)
    assert "Shop" not in kept
    assert "Ada Brook" in kept


class Tags(HTMLParser):
    """Whether every element is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fits = True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.fits = self.fits and bool(self.open) and self.open.pop() == tag


def element(name: str, inside: list[str]) -> str:
    return f'<{name} class="c">' + " ".join(inside) + f"</{name}>\n"


TREES = st.recursive(
    st.sampled_from(["some words", "1811", "<br>", "<!-- note -->", "<script>a<b</script>", '<img src="a>b.png">']),
    lambda inner: st.builds(
        element, st.sampled_from(["div", "p", "ul", "li", "b", "nav", "td"]), st.lists(inner, max_size=6)
    ),
    max_leaves=60,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(TREES, min_size=3, max_size=10), st.sampled_from([1.0, 0.6, 0.3]))
def test_what_was_well_nested_stays_so(parts: list[str], rate: float) -> None:
    text = f"<html><body>{''.join(parts)}</body></html>"
    assert Tags(text).fits
    kept = Tags(shorten(text, rate, "1811"))
    assert kept.fits
    assert not kept.open


def test_a_page_inside_a_form_or_a_named_wrapper_is_still_the_page() -> None:
    body = "".join(f"<p>Paragraph {n} about the mill.</p>" for n in range(30))
    text = f'<html><body><form><div class="sidebar-layout menu">{body}</div></form></body></html>'
    assert shorten(text, 0.5).count("<p>") > 10


def test_end_tags_that_fit_nothing_hurt_nothing() -> None:
    text = "<div></i><p>one<p>two</div></p><ul><li>three<li>four</ul><b>five</b></div>"
    for rate in (1, 0.5, 0.2):
        assert set(shorten(text, rate)) <= set(text)

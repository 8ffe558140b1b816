"""curate.redstone: formulas and code through extraction, each form that pages write them in."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("resiliparse", reason="needs the extra web")

from resiliparse.parse.html import HTMLTree

from metier.curate.redstone.blocks import page_text
from metier.curate.redstone.code import looks_like_code, without_line_numbers
from metier.curate.redstone.mathml import NoTexError, tex_of
from metier.curate.redstone.tex import bare, commands_in, parses

X2 = "<msup><mi>x</mi><mn>2</mn></msup>"


def of(body):
    return page_text(f"<html><body><main>{body}</main></body></html>")


def mathml(inner):
    return tex_of(HTMLTree.parse(f"<math>{inner}</math>").body.query_selector("math"))


@pytest.mark.parametrize(
    ("source", "tex"),
    [
        ("<mfrac><mn>1</mn><msqrt><mi>α</mi><mi>b</mi></msqrt></mfrac>", r"\frac{1}{\sqrt{\alpha b}}"),
        (f"<mrow><mi>sin</mi><mo>&#x2061;</mo>{X2}</mrow>", r"\sin x^{2}"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot><mo>≤</mo><mi>y</mi>", r"\sqrt[3]{x}\leq y"),
        (
            "<munderover><mo>∑</mo><mrow><mi>k</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>k</mi>",
            r"\sum_{k=1}^{n}k",
        ),
        ("<munder><mi>lim</mi><mrow><mi>n</mi><mo>→</mo><mi>∞</mi></mrow></munder>", r"\lim_{n\to\infty}"),
        ("<mover><mi>v</mi><mo>→</mo></mover><mo>≠</mo><mn>0</mn>", r"\vec{v}\neq0"),
        ("<mfenced open='[' close=')'><mi>a</mi><mi>b</mi></mfenced>", r"\left[a,b\right)"),
        (
            "<mo>(</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr></mtable><mo>)</mo>",
            r"\left(\begin{matrix}1 & 2\end{matrix}\right)",
        ),
        ("<mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac>", r"\genfrac{}{}{0pt}{}{n}{k}"),
        ("<msup><mrow><mi>a</mi><mi>b</mi></mrow><mn>2</mn></msup>", "{ab}^{2}"),
        ("<mi mathvariant='double-struck'>R</mi><mi>𝑥</mi><mi>rank</mi>", r"\mathbb{R}x\mathrm{rank}"),
        ("<mtext>50% of </mtext><mi>f</mi><mo>′</mo>", r"\text{50\% of }f\prime"),
        ("<msubsup><mi>x</mi><mi>i</mi><mi>j</mi></msubsup><mo>&amp;</mo>", r"x_{i}^{j}\&"),
    ],
)
def test_trees_have_their_tex(source, tex):
    assert mathml(source) == tex
    assert parses(tex)


def test_trees_without_tex_are_refused():
    for source, message in [
        ("<mfrac><mi>x</mi></mfrac>", "<mfrac> has 1 parts, not 2"),
        ("<mglyph/>", "<mglyph> has no TeX"),
        ("<mrow>" * 70 + "<mi>x</mi>", "nested more than 60 deep"),
    ]:
        with pytest.raises(NoTexError, match=message):
            mathml(source)


@pytest.mark.parametrize(
    "tex",
    [r"\frac{a}{b}", r"\left( x \right.", r"\begin{matrix} a & b \\ c \end{matrix}", r"x_{i}^2", r"\{ x \}", r"\text{if $x$}"],
)
def test_tex_that_parses(tex):
    assert parses(tex)


@pytest.mark.parametrize(
    "tex",
    ["", r"\frac{a}{b", "a}", r"\left( x", r"\right)", r"\begin{a}\end{b}", "x^", "x_}", "a\\", "a $ b", r"\left( { \right) }"],
)
def test_tex_that_does_not(tex):
    assert not parses(tex)


@given(
    st.recursive(
        st.sampled_from(["x", r"\alpha", "1+1", r"\}"]),
        lambda inner: st.tuples(inner, inner).map(lambda two: rf"\frac{{{two[0]}}}{{\left({two[1]}\right)}}"),
    )
)
def test_what_is_nested_right_parses_and_what_lacks_its_last_brace_does_not(tex):
    assert parses(tex)
    assert not parses(tex + "{")
    assert bare(f"$${tex}$$") == (tex, True)
    assert bare(rf"\({tex}\)") == (tex, False)


def test_comments_and_line_breaks_go():
    assert bare("\\[ a % why\n + b \\% c\n\\]") == (r"a + b \% c", True)


def test_commands_are_those_of_mathematics():
    assert commands_in(r"\alpha+\Beta \alpha C:\temp\users\bin \inx") == {"alpha", "beta"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # KaTeX, its drawing hidden from screen readers; MathJax 2, its preview beside the source; Wikipedia, the tree hidden from sight
        (
            '<span class="katex"><span class="katex-mathml"><math><semantics><mi>x</mi><annotation encoding="application/x-tex">x &lt; 1'
            '</annotation></semantics></math></span><span class="katex-html" aria-hidden="true">x<b>&lt;1</b></span></span>',
            "Let $x < 1$ be.",
        ),
        (
            '<span class="MathJax_Preview">a</span><span class="MathJax">a</span><script type="math/tex">\\frac{a}{b} < 1</script>',
            r"Let $\frac{a}{b} < 1$ be.",
        ),
        (
            '<span class="mwe-math-element"><span style="display: none;"><math alttext="{\\displaystyle E}"><mi>E</mi></math></span>'
            '<img class="mwe-math-fallback-image-inline" alt="{\\displaystyle E}" src="x.svg"></span>',
            r"Let ${\displaystyle E}$ be.",
        ),
        (f"<math>{X2}</math>", "Let $x^{2}$ be."),
        (f'<math display="block">{X2}</math>', "Let\n\n$$x^{2}$$\nbe."),
        (f"<math>{X2}</math>x2", "Let $x^{2}$ be."),
        (f'<script type="math/mml"><math>{X2}</math></script>', "Let $x^{2}$ be."),
        ('<script type="math/tex; mode=display">a</script>', "Let\n\n$$a$$\nbe."),
        ('<span class="math notranslate">\\(a&lt;b\\)</span>', "Let $a<b$ be."),
        ('<span class="math-formula">a_1</span>', "Let $a_1$ be."),
        ('<img src="https://latex.codecogs.com/gif.latex?%5Cfrac%7B1%7D%7B2%7D">', r"Let $\frac{1}{2}$ be."),
        ('<img src="https://s0.wp.com/latex.php?latex=a%2Bb&amp;bg=ffffff&amp;fg=000">', "Let $a+b$ be."),
        ('<img class="latex" alt="\\alpha" src="1.png">', r"Let $\alpha$ be."),
    ],
)
def test_formulas_survive(source, text):
    page = of(f"<p>Let {source} be.</p>")
    assert page.text == text
    assert (page.num_formulas, page.num_bad_formulas, page.num_lost) == (1, 0, 0)


def test_a_formula_without_tex_is_left_out_and_counted():
    page = of(
        '<p>Let <math><mfrac><mi>x</mi></mfrac></math>be <script type="math/asciimath">x/2</script> so, <span class="tex">\\frac{</span> too.</p>'
    )
    assert page.text == "Let be so, too."
    assert (page.num_formulas, page.num_bad_formulas) == (0, 3)


CODE = "def f(x):\n    # `a` & <b>\n\n\n    return x < 1"
ESCAPED = CODE.replace("&", "&amp;").replace("<", "&lt;")


@pytest.mark.parametrize(
    "source",
    [
        f'<pre><code class="language-python">\n{ESCAPED}\n</code></pre>',
        f'<div class="highlight-python notranslate"><div class="highlight"><pre><span></span>{ESCAPED.replace("def", "<span class=k>def</span>")}\n</pre></div></div>',
        f'<pre class="brush: python">{ESCAPED}</pre>'.replace("\n", "<br>"),
        f'<table class="highlighttable lang-python"><tbody><tr><td class="linenos"><pre>1\n2\n3\n4\n5</pre></td><td><pre>{ESCAPED}</pre></td></tr></tbody></table>',
        '<pre class="lang-python">'
        + "\n".join(f'<span class="lineno">{n}</span>{line}' for n, line in enumerate(ESCAPED.split("\n")))
        + "</pre>",
    ],
)
def test_code_survives_with_its_language_and_without_line_numbers(source):
    page = of(f"<p>So:</p>{source}<p>after</p>")
    assert re.sub("\n+```\n+after", "\n```\n\nafter", page.text) == f"So:\n\n```python\n{CODE}\n```\n\nafter"
    assert (page.num_code, page.num_lost, page.language) == (1, 0, "python")


def test_code_in_lists_and_fences_in_code():
    page = of("<ul><li>first <pre>x = 1</pre> more</li></ul><pre>print('''\n```\n''')</pre>")
    assert "```\nx = 1\n```" in page.text and "more" in page.text
    assert page.text.endswith("````\nprint('''\n```\n''')\n````")
    assert page.num_code == 2


def test_what_is_no_code_stays_text_and_inline_code_too():
    page = of("<pre>Roses are red\nviolets blue</pre><p>Call <code>f(x)</code> now.</p>")
    assert page.text == "Roses are red\nviolets blue\n\nCall f(x) now."
    assert page.num_code == 0
    assert (
        not looks_like_code("Roses are red") and looks_like_code("x = 1") and looks_like_code("$ ls") and looks_like_code("f(x)")
    )


def test_blocks_of_one_line_go_on():
    page = of("<pre>a = 1\nb = 2</pre><pre>c = 3</pre><p>then</p><pre>d = 4</pre>")
    assert page.text.startswith("```\na = 1\nb = 2\nc = 3\n```")
    assert page.num_code == 2


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_line_numbers_at_every_stride(stride):
    numbered = "\n".join("\n".join([str(line), *["x = 1;"] * (stride - 1)]) for line in range(1, 10))
    assert without_line_numbers(numbered) == "\n".join(["x = 1;"] * (9 * (stride - 1)))


def test_short_runs_of_numbers_stay():
    data = "\n".join(map(str, range(1, 8)))
    assert without_line_numbers(data) == data
    assert without_line_numbers("5\n6\n7\n8\n9\n10\n11\n12\n13") == "5\n6\n7\n8\n9\n10\n11\n12\n13"


def test_formulas_in_code_are_code():
    assert of('<pre>f("<span class="math">\\(x\\)</span>");</pre>').text == '```\nf("\\(x\\)");\n```'


def test_a_page_that_holds_marks_already():
    mark = "qz5feceb66000000x"  # the first mark tried
    page = of(f"<p>{mark} and <math>{X2}</math></p>")
    assert page.text == f"{mark} and $x^{{2}}$"


def test_menus_go_and_hidden_drawings_but_not_a_whole_hidden_page():
    page = page_text(
        '<body><nav>menu</nav><div aria-hidden="true"><p>text</p><pre>a = 1</pre></div><i aria-hidden="true">icon</i><footer>end</footer></body>'
    )
    assert page.text == "text\n\n```\na = 1\n```"


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<",
        "\x00",
        "<math>",
        "<pre>",
        "<pre><code></pre>",
        "<table><tbody><pre>a=1",
        "<script type='math/tex'>",
        "<annotation>",
        "<frameset><frame src=x></frameset><pre>a = 1</pre>",
        "é" * 5,
    ],
)
def test_broken_pages_give_something(html):
    assert page_text(html).num_lost == 0


def test_deep_pages_are_read():
    page = page_text("<div>" * 100_000 + "<pre>a = 1</pre>")
    assert page.text == "```\na = 1\n```"


@given(st.text(alphabet="<>/=\"' pre code math x1\n$\\{}", max_size=60))
def test_any_text_is_read_and_blocks_add_up(source):
    page = page_text(f"<body><p>{source}</p></body>")
    assert page.num_code <= page.text.count("```") // 2
    assert page.num_lost == 0

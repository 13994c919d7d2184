from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from report import merged, rendered
from scenario import Claim, Part, Table

TABLE = Table(title="Tokens", columns=("turn", "computed"), rows=(("1", "900"), ("2", "12")))


def part(heading: str, text: str) -> str:
    return rendered(Part(tables=(), notes=(text,)), heading=heading, provenance={"machine": "this"})


def test_a_part_says_where_its_figures_come_from_and_which_claims_hold() -> None:
    claims = (Claim(text="cheap", measured="12", holds=True), Claim(text="free", measured="12", holds=False))
    text = rendered(Part(tables=(TABLE,), claims=claims, notes=("Note.",)), heading="a, b", provenance={"machine": "x"})
    assert text == (
        "## a, b\n\n- machine: x\n\n"
        "| must show | measured | holds |\n| --- | --- | --- |\n| cheap | 12 | yes |\n| free | 12 | **no** |\n\n"
        "**Tokens**\n\n| turn | computed |\n| --- | --- |\n| 1 | 900 |\n| 2 | 12 |\n\nNote.\n"
    )


def test_a_new_part_comes_last_and_what_people_wrote_stays() -> None:
    report = merged("# Benchmark\n\nWords.\n", part("a, m", "one"))
    assert report.startswith("# Benchmark\n\nWords.\n\n## a, m\n")
    assert report.endswith("one\n")


@given(st.lists(st.tuples(st.sampled_from(["a, m", "a, n", "b, m"]), st.sampled_from(["one", "two", "three"]))))
def test_each_heading_stands_once_with_its_latest_words_in_the_order_of_first_coming(
    written: list[tuple[str, str]],
) -> None:
    report = "# Benchmark\n"
    for heading, words in written:
        report = merged(report, part(heading, words))
    latest = dict(written)
    expected = "# Benchmark\n" + "".join("\n" + part(heading, words) for heading, words in latest.items())
    assert report == expected

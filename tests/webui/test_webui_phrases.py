import pytest

from webui.phrases import MAX_PHRASES, TooManyPhrasesError, split_phrases


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("liver", ["liver"]),
        (" liver ,  left   kidney\nspleen;", ["liver", "left kidney", "spleen"]),
        ("liver, Liver, LIVER", ["liver"]),
        (" , \n ", []),
        ("", []),
    ],
)
def test_splits_at_commas_semicolons_and_lines(text: str, phrases: list[str]) -> None:
    assert split_phrases(text) == phrases


def test_more_than_the_api_takes_is_refused_with_both_numbers() -> None:
    assert len(split_phrases(",".join(map(str, range(MAX_PHRASES))))) == MAX_PHRASES
    with pytest.raises(TooManyPhrasesError, match="9 phrases were typed; up to 8"):
        split_phrases(",".join(map(str, range(MAX_PHRASES + 1))))

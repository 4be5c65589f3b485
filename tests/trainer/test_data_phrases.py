from collections import Counter

import pytest

from models_store.errors import BadInputError, UnknownNameError
from trainer.data.phrases import RANDOM, PhraseRule, key_of_index

PROMPTS = {"p0": "", "p1": "polyp", "p2": ["a round polyp", "a polyp, round."], "p10": "many polyps"}


def texts(**options):
    return PhraseRule(**options).texts("a.png", PROMPTS)


def test_a_key_gives_its_text_or_all_of_its_list():
    assert texts(key="p1") == ("polyp",)
    assert texts(key="p2") == ("a round polyp", "a polyp, round.")


@pytest.mark.parametrize(("index", "key"), [(0, "p0"), (1, "p1"), (9, "p9"), (-1, RANDOM), (-7, RANDOM)])
def test_the_benchmarks_index_names_a_key(index, key):
    assert key_of_index(index) == key


def test_a_random_key_is_as_likely_as_any_other_and_never_p0():
    drawn = Counter(texts(key=RANDOM))
    # Three keys, of which p2 divides its third between two texts.
    assert drawn == {"polyp": 2, "a round polyp": 1, "a polyp, round.": 1, "many polyps": 2}
    assert texts(key=RANDOM)[0] == "polyp"


def test_one_phrase_replaces_all():
    assert texts(key="p2", override="lesion") == ("lesion",)
    assert texts(key="p7", override="lesion", stop=True) == ("lesion.",)
    with pytest.raises(BadInputError, match="phrase is empty"):
        texts(override=" ")


def test_a_full_stop_is_added_where_there_is_none():
    assert texts(key="p1", stop=True) == ("polyp.",)
    assert texts(key="p2", stop=True) == ("a round polyp.", "a polyp, round.")


def test_the_empty_phrase_is_for_those_who_ask_for_it_and_takes_no_stop():
    with pytest.raises(BadInputError, match="prompt 'p0' is empty"):
        texts(key="p0", stop=True)
    assert texts(key="p0", stop=True, allow_empty=True) == ("",)
    with pytest.raises(BadInputError, match="prompt 'p1' is empty"):
        PhraseRule("p1", allow_empty=True).texts("a.png", {"p1": ["polyp", " "]})


def test_a_missing_key_is_named_with_those_there_are():
    with pytest.raises(UnknownNameError, match=r"a\.png has no prompt 'p3'; it has p0, p1, p10, p2"):
        texts(key="p3")
    with pytest.raises(UnknownNameError, match="no prompt but 'p0'"):
        PhraseRule(RANDOM).texts("a.png", {"p0": ""})

"""The corpus and the questions fit each other: what is looked for can be found, in few places."""

import pytest
from examples.questions import QUESTIONS, Question
from examples.rag_service.corpus import Library, Passage, cut, read_passages

PASSAGES = read_passages()


def test_passages_have_ids_of_their_own_and_no_text_twice() -> None:
    """Every passage can be named, and the reference's repeated sections are kept once."""
    assert len({passage.id for passage in PASSAGES}) == len(PASSAGES) > 500
    assert len({passage.text for passage in PASSAGES}) == len(PASSAGES)


def test_a_topic_is_cut_between_paragraphs_and_words_broken_after_a_hyphen_are_joined() -> None:
    """No sentence is torn, and a word that the line break divided is found by its whole."""
    text = f"{'a' * 600}\n\n{'b' * 300} non-\n   string\n\nc"
    cut_up = list(cut("topic", text))
    assert cut_up == [Passage("topic#0", "a" * 600), Passage("topic#1", f"{'b' * 300} non-string\n\nc")]


def test_a_search_ranks_by_score_and_leaves_out_what_shares_no_word() -> None:
    """The best passage comes first, and a question without a known word finds nothing."""
    library = Library([Passage("x#0", "a cat and a dog"), Passage("y#0", "a dog"), Passage("z#0", "a bird")])
    hits = library.search("dog or cat?", 3)
    assert [hit.passage.id for hit in hits] == ["x#0", "y#0"]
    assert hits[0].score > hits[1].score > 0
    assert library.search("zebra", 2) == []


def test_there_are_sixty_questions_each_asked_in_two_ways() -> None:
    """The users have enough to ask, and no wording twice."""
    assert len(QUESTIONS) >= 60
    wordings = [wording for question in QUESTIONS for wording in (question.text, question.again)]
    assert len(set(wordings)) == 2 * len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_the_fact_is_in_the_corpus_but_in_few_passages(question: Question) -> None:
    """A right answer can be given from the corpus, and few passages happen to hold it."""
    holding = [passage.id for passage in PASSAGES if question.is_answered_by(passage.text)]
    assert 1 <= len(holding) <= 12


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_no_question_gives_its_own_answer_away(question: Question) -> None:
    """Repeating the question is no right answer."""
    assert not question.is_answered_by(question.text)
    assert not question.is_answered_by(question.again)

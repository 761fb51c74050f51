"""Words and turns of six languages (en, de, es, fr, ja, zh) that say what a question is, for ``_likeness``.

All are written as ``_likeness`` sees a text: lower case, no accents (kana keep their marks), and in languages with
spaces one space before and after each word and nothing else between them (``don't`` is `` don t ``).
"""

import re
from typing import Final, NamedTuple

FUNCTION: Final = frozenset(
    """
    a an the of to in on at by for from with without about as is are was were be been am do does did can could will
    would should may might must shall has have had i you he she it we they me my your our their its us them this
    that these those there here and or but if so then what which who how when where why please der die das den dem
    des ein eine einen einem einer eines und oder aber wenn von vom zu zum zur mit im am an auf aus bei fur ist sind
    war hat habe haben kann kann man ich du er sie es wir ihr mir mich mein meine meinen meiner meinem dass wie was
    wo wer wann warum welche welcher welches bitte muss darf soll wird werden el la los las un una unos unas de del
    al en con por para que y o si es son fue ser estar esta hay mi mis tu su sus me te se lo le como cual cuales
    cuando donde quien puedo puede tengo tiene le les des du au aux et ou dans sur pour par avec sans que qui quoi
    est sont sera etre ai a as je tu il elle nous vous ils mon ma mes ton ta ses son sa ce cet cette ces se ne pas
    comment quel quelle quels quelles quand pourquoi combien y en dois peut puis faut l d j m n s c qu t
    """.split()  # noqa: SIM905 - words read best as a text
)
"""Words that say little."""

LIGHT_HAN: Final = frozenset(
    "的了吗呢么是在有我你您他她它们怎样什为何如这那哪里个把被和与会能可以要请问吧啊一就都也还何"
)
"""Han characters that say little."""

OPPOSITES: Final = ("dis", "des", "un", "en", "de", "il", "im", "in", "ir")
"""Beginnings that turn a word into its opposite, or the other way round (encode, decode)."""


class Turn(NamedTuple):
    """A turn of speech.

    Attributes:
        spaced: Finds it among words. It begins with a space: so it is tried once a word, not once a letter.
        unspaced: Finds it in a text without spaces.
    """

    spaced: re.Pattern[str]
    unspaced: re.Pattern[str]

    def found(self, words: str, text: str) -> bool:
        """Say whether it is there; ``text`` is empty where all is written with spaces."""
        return bool(self.spaced.search(words)) or bool(text and self.unspaced.search(text))


def _turn(anywhere: str, first: str = "", *, unspaced: str) -> Turn:
    spaced = rf" (?:{anywhere})(?= )" + (rf"|^ (?:{first})(?= )" if first else "")
    return Turn(re.compile(spaced), re.compile(unspaced))


QUESTIONS: Final = (
    _turn("where|wo|wohin|donde|ou(?! non)", unspaced="どこ|哪里|哪儿|在哪"),
    _turn(
        "when|how (?:long|soon|often)|wann|wie (?:lange|oft)|cuando|cuanto (?:tarda|tiempo)|quand"
        "|combien de (?:temps|jours)",
        unspaced="いつ|何日|何時|多久|几天|什么时候",
    ),
    _turn(
        "how (?:much|many|far|big|large|tall|old|hot|cold|expensive|high|deep|fast|heavy)"
        "|what (?:price|amount|number|temperature|percentage|share|size|age)"
        "|wie ?(?:viele?|hoch|gross|teuer|weit|alt|heiss|schwer)|cuant[oa]s?|que (?:precio|cantidad|temperatura|tamano)"
        "|combien|quel(?:le)? (?:prix|montant|temperature|taille)",
        unspaced="いくら|いくつ|何度|何人|多少|几个|几岁",
    ),
    _turn("who(?:se|m)?|wer|wem|wen|quien(?:es)?|qui", unspaced="誰|だれ|谁"),
    _turn("why|warum|wieso|por que|pourquoi", unspaced="なぜ|どうして|为什么|为何"),
    _turn(
        "how (?:do|can|to|should|would)|wie (?:kann|mache|soll|muss)|como|comment",
        unspaced="どうすれば|方法|怎么|怎样|如何",
    ),
)
"""What is asked for: a place, a time, a quantity, a person, a reason, a way."""

WHETHER: Final = Turn(
    re.compile(
        "^ (?:is|are|do|does|did|can|could|may|must|should|will|has|have|am|ist|sind|kann|darf|muss|soll|hat|gibt es"
        "|es|son|puedo|puede|hay|debo|est ce que|est il|puis je|peut on|dois je|y a t il) "
    ),
    re.compile(r"吗|か\W*$"),
)
"""What asks for yes or no, where nothing of ``QUESTIONS`` is asked for."""

DENIAL: Final = _turn(
    "not|no|never|without|cannot|dont|doesnt|cant|isnt|[a-z]+n t|nicht|keine?|keinen|ohne|nie"
    "|sin|nunca|pas|jamais|sans",
    unspaced="ない|ません|いけな|だめ|不|没有|无法|别",
)
"""What denies."""

CLOSING: Final = _turn(
    "thanks?|thx|great|perfect|bye|goodbye|got it|found it|solved|that (?:helped|works|worked)|danke|tschuss"
    "|super geklappt|hat (?:geklappt|geholfen)|gracias|adios|ya lo (?:encontre|tengo)|resuelto|merci|au revoir"
    "|ca marche",
    unspaced="ありがとう|助かりました|解決しました|わかりました|さようなら|谢谢|感谢|多谢|解决了|明白了|再见",
)
"""Thanks, and other words that close."""

ONWARD: Final = _turn(
    "instead|as well|but now|aber jetzt|pero ahora|mais maintenant",
    "and|now|then|also|next|und|jetzt|nun|dann|y|ahora|tambien|luego|et|maintenant|ensuite|aussi",
    unspaced="^(?:では|それでは|次に|あと|那么|那|接下来|然后|另外)|でも今|但是?现在",
)
"""What a next step says, or begins with."""

REPAIR: Final = _turn(
    "i mean|i meant|i don ?t mean|not what i|again|once more|repeat|misunderstood|wasn ?t clear|didn ?t work"
    "|answer my question|are you sure|ich meinte|ich meine|nochmal|noch einmal|falsch|quise decir|me refiero|repito"
    "|otra vez|de nuevo|je voulais dire|je repete|encore une fois",
    "no|nein|non",
    unspaced="もう一度|そうではなく|そうじゃなく|ではなくて|再问|再说一遍|不是|我是说|我问的是",
)
"""What says that it is asked again."""

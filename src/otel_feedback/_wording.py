"""Words and turns of six languages (en, de, es, fr, ja, zh) that say what a question is, for ``_likeness``.

All are written as ``_likeness`` sees a text: lower case, no accents (ja: with the marks of kana).
"""

import re
from typing import Final

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

NEGATIONS: Final = frozenset(
    """
    not no never without cannot dont doesnt cant isnt nicht kein keine keinen ohne nie sin nunca pas jamais sans
    """.split()  # noqa: SIM905 - words read best as a text
)
"""Words that deny."""

NEGATED: Final = re.compile(r"n't\b|ない|ません|いけな|だめ|不|没有|无法|别")
"""What denies within a word, or a text without spaces."""

OPPOSITES: Final = ("dis", "des", "un", "en", "de", "il", "im", "in", "ir")
"""Beginnings that turn a word into its opposite, or the other way round (encode, decode)."""

QUESTIONS: Final[tuple[re.Pattern[str], ...]] = tuple(
    re.compile(pattern)
    for pattern in (
        r"\bwhere\b|\bwo\b|\bwohin\b|\bdonde\b|\bou\b(?! non)|どこ|哪里|哪儿|在哪",
        (
            r"\bwhen\b|\bhow (?:long|soon|often)\b|\bwann\b|\bwie (?:lange|oft)\b|\bcuando\b"
            r"|\bcuanto (?:tarda|tiempo)\b|\bquand\b|\bcombien de (?:temps|jours)\b|いつ|何日|何時|多久|几天|什么时候"
        ),
        (
            r"\bhow (?:much|many|far|big|large|tall|old|hot|cold|expensive|high|deep|fast|heavy)\b"
            r"|\bwhat (?:price|amount|number|temperature|percentage|share|size|age)\b"
            r"|\bwie ?(?:viele?|hoch|gross|teuer|weit|alt|heiss|schwer)\b"
            r"|\bcuant[oa]s?\b|\bque (?:precio|cantidad|temperatura|tamano)\b"
            r"|\bcombien\b|\bquel(?:le)? (?:prix|montant|temperature|taille)\b|いくら|いくつ|何度|何人|多少|几个|几岁"
        ),
        r"\bwho(?:se|m)?\b|\bwer\b|\bwem\b|\bwen\b|\bquien(?:es)?\b|\bqui\b|誰|だれ|谁",
        r"\bwhy\b|\bwarum\b|\bwieso\b|\bpor que\b|\bpourquoi\b|なぜ|どうして|为什么|为何",
        (
            r"\bhow (?:do|can|to|should|would)\b|\bwie (?:kann|mache|soll|muss)\b|\bcomo\b|\bcomment\b|どうすれば|方法"
            r"|怎么|怎样|如何"
        ),
    )
)
"""What is asked for: a place, a time, a quantity, a person, a reason, a way."""

WHETHER: Final = re.compile(
    r"^\W*(?:is|are|do|does|did|can|could|may|must|should|will|has|have|am|ist|sind|kann|darf|muss|soll|hat|gibt es"
    r"|es|son|puedo|puede|hay|debo|est-ce que|est-il|puis-je|peut-on|dois-je|y a-t-il)\b|吗|か\W*$"
)
"""What asks for yes or no, where nothing of ``QUESTIONS`` is asked for."""

THANKS: Final = re.compile(
    r"\b(?:thanks?|thx|great|perfect|bye|goodbye|got it|found it|solved|that (?:helped|works|worked)|danke|tschuss"
    r"|super geklappt|hat (?:geklappt|geholfen)|gracias|adios|ya lo (?:encontre|tengo)|resuelto|merci|au revoir"
    r"|ca marche)\b|ありがとう|助かりました|解決しました|わかりました|さようなら|谢谢|感谢|多谢|解决了|明白了|再见"
)
"""Thanks, and other words that close."""

ONWARD: Final = re.compile(
    r"^\W*(?:and|now|then|also|next|und|jetzt|nun|dann|y|ahora|tambien|luego|et|maintenant|ensuite|aussi)\b"
    r"|^(?:では|それでは|次に|あと|那么|那|接下来|然后|另外)|\b(?:instead|as well)\b"
    r"|\b(?:but now|aber jetzt|pero ahora|mais maintenant)\b|でも今|但是?现在"
)
"""What a next step says."""

REPAIR: Final = re.compile(
    r"\b(?:i mean|i meant|i don'?t mean|not what i|again|once more|repeat|misunderstood|wasn'?t clear|didn'?t work"
    r"|answer my question|are you sure|ich meinte|ich meine|nochmal|noch einmal|falsch|quise decir|me refiero|repito"
    r"|otra vez|de nuevo|je voulais dire|je repete|encore une fois)\b|^no\b|^nein\b|^non\b"
    r"|もう一度|そうではなく|そうじゃなく|ではなくて|再问|再说一遍|不是|我是说|我问的是"
)
"""What says that it is asked again."""

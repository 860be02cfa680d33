"""The words and phrases that `complexity`, `request` and `manners` look for. English; lower case; nothing but lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# One kind per word.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        # Function words and manners: they carry no content.
        "function": """
            the of and or from with about into there here what how that this these those which let
            are been am were be being have had does did can could shall will
            you your our us my mine i'm i've i'd i'll let's what's that's it's
            please thanks thank kindly hello hi hey dear greetings sorry good morning afternoon evening day great hope
            help question quick quickly ask tell know like need just also very too well much many mind appreciate
            when describe write give make put state sentence line word short name say
            a i in on an do at no me is to for may it we he by was as so one want has
        """,
        "negation": """
            not never none without except neither nor cannot can't cant doesn't doesnt isn't isnt don't dont didn't
            won't wont wasn't weren't wouldn't couldn't shouldn't aren't hasn't haven't nobody nothing nowhere false
            incorrect unless
        """,
        "condition": """
            if then whenever while until suppose assume assuming given because since therefore but however
            although though must should otherwise instead would might
        """,
        "comparison": """
            than more less fewer greater larger smaller longer shorter older younger taller heavier faster slower
            cheaper earlier later higher lower better worse bigger farther least most same different total altogether
            left remaining remain remains rest times between after before again back
            half quarter third twice thrice double triple percent
        """,
        "reference": """
            she they them his her their its him hers theirs himself herself themselves itself ones another other others
            who whom whose
        """,
        "quantifier": """
            each every all both either only exactly any some everyone everybody anyone together always
        """,
        "number": """
            two three four five six seven eight nine ten eleven twelve dozen fifteen sixteen twenty thirty forty fifty
            sixty hundred thousand million
        """,
        "reasoning": """
            why explain prove disprove derive solve calculate compute evaluate estimate determine deduce design
            implement debug refactor optimise optimize compare critique argue justify assess analyse analyze plan
            schedule diagnose detect reconcile rank construct develop weigh negotiate allocate interpret count reverse
            rearrange arrange sort divide multiply subtract measure predict investigate
        """,
        "arithmetic": """
            sum product average ratio remainder odds probability chance digit digits letters vowels consonants riddle
            puzzle profit divisible
        """,
        "definition": """
            define definition definitions meaning means mean stand stands acronym abbreviation synonym antonym term
            glossary
        """,
        "chore": """
            translate summarise summarize summary rewrite paraphrase proofread extract convert recommend spell list
            suggest format classify title caption typos grammar tone sentiment joke punctuation alphabetical
            alphabetically rephrase reword replace capitalise capitalize shorten rhyme rhymes reminder slogan wish
            polite
        """,
    }
)

# As they stand among words with single spaces around; without a last space any ending fits.
PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "quantity": tuple(
            f" how {of} " for of in ("many", "much", "long", "far", "old", "often", "fast", "heavy", "tall")
        ),
        "puzzle": (
            " am i ", " is it ", " are they ", " how come ", " what happened ", " possible ", " how can ",
            " how could ", " how do ", " how did ", " how would ", " what will ", " what would ", " what should ",
            " odd one ", " step by step ", " such that ", " so that ", " show that ", " going on ", " find out ",
            " make sense ", " does it follow ", " can we conclude ", " should i ", " make sure ",
            " what word ", " starts with ", " ends with ", " begins with ",
        ),
        "brevity": (
            " one line ", " one sentence", " single line ", " single sentence ", " one short ", " short sentence",
            " few words ", " a line ", " a sentence ", " one simple ", " short line ", " one plain ",
            " single short ", " in short ", " nutshell ", " short answer ", " briefly ", " simple terms ",
            " simple words ", " plain words ", " simply ", " short version ", " short definition ",
            " short explanation ", " brief ", " short one ", " two line ", " two sentence ",
        ),
        "concept": (
            " purpose of ", " meaning of ", " definition of ", " capital of ", " author of ", " role of ",
            " difference between ", " explanation of ", " what it means ",
        ),
        "chore phrase": (
            " make this ", " make it ", " fix the ", " correct the ", " add a ", " turn this ", " pull out ",
            " short poem ", " subject line ", " thank you note ", " out of office ", " this text ",
            " correct this ", " do you spell ", " correct my ", " change this ", " alphabetical", " turn these ",
        ),
        "terse": (
            " in one word ", " with one word ", " one word only ", " one word please ", " word is enough ",
            " yes or no ",
            " just the name", " only the name", " just name ", " one letter only ", " only the colour ",
            " only the color ", " a single word ", " one or two words ", " no explanation", " no reasons ",
            " just the word ", " line is enough ", " sentence is enough ", " sentences are enough ", " answer is fine ",
            " line will do ", " line would do ", " sentence will do ", " sentence would do ", " keep it short ",
            " yes or no ",
            " just the number ", " only the number ", " only the result ", " just the one word ",
        ),
    }
)  # fmt: skip
# Words that refer back from a question to what was told before it.
LEANING = "he she it they them him her his their its i my we our this that these those there other"

# Of a stretch of manners nearly all words are of these two lists, and one is of the first, or a phrase is found.
STRONG_MANNERS = """
        hello hi hey hiya howdy greetings dear sorry apologies apologise apologize excuse pardon please pls plz
    kindly     thanks thank thankyou thx ty appreciate appreciated grateful gratitude thankful cheers regards
    sincerely     respectfully faithfully bother bothering disturb disturbing wondering goodbye bye
"""
MANNERS = """
    i got having interruption
    i'm i'd i'll i've im you you're your yours u we me my myself a an the this that these it it's is are am was be
    been have has had do does doing don't dont not no won't to for in of with on at as and or but if so too very
    really truly just only some any one ones thing something anything all everything everyone anyone someone there
    here then well good great nice lovely wonderful fine kind kindest warm warmest best pleasant beautiful wishes
    greeting day days evening morning afternoon week weekend night today tonight tomorrow moment minute minutes time
    second bit little lot lots much many million bunch ton tons ever advance ahead forward again rest assistant ai
    chatgpt claude gpt bot team sir madam friend friends folks guys expert could can would will may might should
    shall able like love want wanted need wish hope hoping possible possibly maybe perhaps using use help helping
    helps helped assist assisting assistance support hand favor favour question questions query problem problems
    task request issue following below next answer answering answers respond responding reply response look looking
    take taking see give giving tell ask asking asked know let get hear hearing back from soon asap quick quickly
    simple short silly stupid dumb basic small reading read attention patience effort understanding consideration
    mind trouble interrupt interrupting intrusion inconvenience care how going keep keeping luck think thinking come
    across another by when what's whenever out up about
"""
MANNERS_PHRASES = (
    "good morning", "good afternoon", "good evening", "good day", "good night", "hope you", "hope you're",
    "hope your", "hope this", "hope that you", "hope all", "hope everything", "hoping you", "help me", "your help",
    "your assistance", "your support", "any help", "some help", "need help", "for help", "help with", "help you",
    "a hand", "assist me", "a question", "one question", "quick question", "this question", "my question",
    "following question", "have questions", "some questions", "the following", "following one", "look at this",
    "a look", "don't mind", "dont mind", "you mind", "if possible", "for your time", "your attention", "a moment",
    "a favor", "a favour", "in advance", "best wishes", "how are you", "how's it", "nice day", "great day",
    "good day", "lovely day", "wonderful day", "nice evening", "great evening", "nice weekend", "great weekend",
    "good weekend", "nice week", "good one", "great one", "forward to", "need assistance", "answer this",
    "all the best",
)  # fmt: skip
# Of the words of those phrases, the ones that say nothing by themselves.
NO_SIGN = """
    a all any are at for good have how i if in is it me my need of one some that the this to with you your
"""
# What makes a small thing a larger one: with one of these outside of what is given, it is no chore.
BLOCKERS = """
    right
    why explain prove disprove derive solve calculate compute evaluate estimate determine deduce design implement debug
    refactor optimise optimize compare critique argue justify assess analyse analyze diagnose detect reconcile construct
    develop weigh negotiate allocate interpret count rearrange predict investigate if unless suppose assume assuming
    knowing given plan strategy way approach algorithm method solution arrangement seating fair reasoning
    argument proof equation logic function query code loop regex contradiction metre meter sum product average together
    altogether valid invalid contract odd pairs
"""
# Chores by what is to be written: in a request that begins with "write", "give me", "what".
SMALL_TEXTS = (
    "summary title caption typos grammar tone sentiment joke punctuation reminder slogan wish rhyme rhymes polite"
)

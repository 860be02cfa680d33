"""The words and phrases that `pointsman.routing.complexity` looks for. English; lower case; nothing but lists."""

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
        """,
        # Function words that other languages have too, in another sense: no sign of English.
        "shared": "a i in on an do at no me is to for may it we he by was as so one want has",
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
            rearrange arrange sort divide multiply subtract measure predict investigate recommend
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
            translate summarise summarize summary rewrite paraphrase proofread shorten extract convert spell list
            suggest format classify title caption typos grammar tone sentiment joke punctuation alphabetical
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
            " short explanation ", " brief ", " short one ", " two line ",
        ),
        "concept": (
            " purpose of ", " meaning of ", " definition of ", " capital of ", " author of ", " role of ",
            " difference between ", " explanation of ", " what it means ",
        ),
        "chore phrase": (
            " make this ", " make it ", " fix the ", " correct the ", " add a ", " turn this ", " pull out ",
            " short poem ", " subject line ", " thank you note ", " out of office ", " this text ", " main topic ",
            " main idea ",
        ),
    }
)  # fmt: skip
# Words that refer back from a question to what was told before it.
LEANING = "he she it they them him her his their its i my we our this that these those there other"

"""Habits of prompt injection: what attacks say and customers seldom do, each a pattern with a weight.

The words are English, German and Spanish, in lower case. Every pattern is bounded, so that no text takes quadratic
time.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from trunkline.records import Answer


class Rule(NamedTuple):
    """A habit of attacks, and how much it weighs."""

    name: str
    weight: float
    pattern: re.Pattern[str]


_IGNORE = (
    r"\b(?:ignor(?:e|ing|a|ad|en|iere?n?|iert)|disregard|forget|overlook|neglect|override|bypass|skip|discard|drop"
    r"|stop (?:follow|obey|sort)ing|(?:do not|don't) (?:follow|obey)|pay no attention to|vergiss|vergessen|missachte"
    r"|höre? nicht auf|olvid[ae]n?|haz caso omiso de)\b(?! (?:my|mine|meine?[nrs]?|mi|mis)\b)"
)
_ORDERS = (
    r"(?:(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|orders|commands|context|labels?|training"
    r"|programming|(?:the )?above|everything|(?:all|anything|whatever) (?:\w+ ){0,4}(?:before|above|told|said|so far)"
    r"|all (?:the )?(?:previous|prior|above|tasks|assignments)|(?:previous|prior|old) (?:information|tasks|assignments)"
    r"|anweisungen|vorgaben|regeln|aufgaben|aufträge|befehle|das obige"
    r"|(?:bisherigen|vorherigen|alten) (?:aufgaben|angaben|informationen)"
    r"|alles (?:\w+ ){0,4}(?:davor|zuvor|vorher|bisher|gesagte?|vorherige)"
    r"|instrucciones|reglas|normas|órdenes|todo (?:lo )?(?:que|anterior))\b)"
)
_SHOW = (
    r"\b(?:print|show|repeat|reveal|copy|quote|translate|spell-? ?check|output|display|tell me|write|recite|list|leak"
    r"|return|summari[sz]e|put|give me|traduce|muestra|repite|escribe|zeige?|drucken?|wiederhole?|nenne?|prüfen)\b"
)
_HIDDEN = (
    r"(?:\b(?:your|the|above|initial|original|system|deine?|ihre?|tus?|sus?) (?:\w+ ){0,3}(?:prompts?\b|prompt-?texte"
    r"|embeddings|system message|(?:initial|original|hidden|secret|system) (?:instructions?|rules|message)"
    r"|eingabeaufforderung)|\btext of your (?:instructions|rules)|\byour (?:instructions|guidelines|directives)"
    r"|\b(?:text|paragraph|sentence|words?|lines?|everything|message)s? (?:\w+ ){0,4}(?:above|before this)\b"
    r"|\bfirst sentence you were given|\bobige eingabeaufforderung|\btextes? von oben|\bobigen? textes?"
    r"|normas que tienes|instrucciones (?:iniciales|originales))"
)
_SAY = (
    r"(?:answer|reply|respond|output|say|print|write|return|antworten? sie|antworte|sage?|schreibe?|responde|di"
    r"|escribe)"
)
_MODEL = (
    r"(?:programm?|robot|bot|model|modell|modelo|machine|assistant|asistente|ai|llm|(?:chat)?gpt|sorter|classifier|chatbot"
    r"|sortierprogramm|(?:language|sorting) model|sorting program|(?:automatic )?readers)"
)
_LEAVE = r"\b(?:leave|remove) (?:all )?(?:the )?(?:previous|prior|earlier) (?:information|tasks|instructions)\b"
_SENTENCE = r"(?:^|[.!?:,\n\"] ?)(?:please |now )?"


def _rule(name: str, weight: float, *patterns: str) -> Rule:
    return Rule(name, weight, re.compile("|".join(patterns), re.MULTILINE))


RULES = (
    _rule("overrides orders", 1.0, rf"{_IGNORE}[^.!?\n]{{0,40}}?\b{_ORDERS}", _LEAVE),
    _rule(
        "asks for the prompt",
        1.0,
        rf"{_SHOW}[^.!?\n]{{0,60}}?{_HIDDEN}",
        rf"\bwhat (?:are|were|is) {_HIDDEN}",
        r"\bof this prompt\b",
    ),
    _rule(
        "gives a role",
        1.0,
        rf"{_SENTENCE}(?:act as|pretend (?:to be|you|that you)|imagine (?:you are|you're|that you)|role-?play)",
        rf"{_SENTENCE}(?:imagina que eres|stell dir vor,? du|tu so,? als)",
        r"\b(?:want|like|need) you to (?:act|behave|respond|reply|speak|talk|answer) (?:as|like)\b",
        r"\bdass (?:du|sie) als [^.!?\n]{1,40}?(?:agier|auftr|fungier|verhalt)",
        r"\bquiero que (?:actúes|respondas|hables) como\b",
    ),
    _rule(
        "gives an identity",
        0.5,
        r"\b(?:you are|you're|du bist|sie sind|eres) (?:now|from now on|jetzt|nun|ab (?:jetzt|sofort)|ahora)\b",
        r"\b(?:now you are|(?:jetzt|nun|ab sofort) bist du|ahora eres) (?:an? |the |eine? |der |die |una? )?\w+",
        r"\b(?:stay|remain)s? in (?:the part|character|(?:the|your|their) roles?)",
        r"\bin (?:der|deiner|ihrer|ihren) rollen?\b|\byou are \w+, an? \w+",
        r"\blet's (?:play|do) (?:a |some |a bit of )?(?:\w+ )?(?:game|theatre|role)",
    ),
    _rule(
        "holds chat markup",
        1.0,
        r"<\|[a-z_]{2,20}\|>|\[/?inst\]|<</?sys>>|\[/?system\]|</s>|###\s*(?:instruction|response|system)\b",
        r"(?<!-)-{3,} ?(?:end|begin) of [^-\n]{0,40}(?:message|prompt|input|instructions?)|(?<!=)={4,} ?end\b",
        r"<!--[^>]{0,200}\b(?:assistant|model|ai|ignore|set \w+ to)\b",
        r"(?:(?:^|\n)(?:answer|response|output|assistant):[^\n]{0,200}\n(?:[^\n]{0,200}\n){0,3}){3}",
    ),
    _rule(
        "poses as a system",
        0.6,
        r"^ ?(?:system|assistant|developer) ?:",
        r"(?<!-)-{4,}[^-\n]{0,60}(?:footer|system|machine)",
    ),
    _rule("holds template code", 0.6, r"\{\{[^}]{1,80}\}\}|\{%[^%]{1,80}%\}"),
    _rule("leaks by image", 0.8, r"!\[[^\]\n]{0,80}\]\(https?://"),
    _rule(
        "dictates the answer",
        0.6,
        rf"\b{_SAY} (?:\w+ ){{0,3}}?(?:only|just|exactly|solely|nothing but|nur|ausschließlich|sólo|solo)\b",
        rf"\b(?:only|just|nur|solo|sólo) {_SAY}\b",
        rf"\b{_SAY}\b[^.!?\n\"“«]{{0,30}}[\"“«][^\"”»\n]{{1,80}}[\"”»]",
        r"\b(?:begin|start|end|open|close|finish) (?:whatever |your |the |every |each )?(?:you )?"
        r"(?:answer|reply|response|output|yours) (?:with|by)\b",
        r"\backnowledge [^.\n]{0,40}exact words|\bempieza por\b|\bone output is permitted",
    ),
    _rule(
        "wants nothing else",
        0.5,
        r"\b(?:and|with) nothing else|\bnothing else (?:today|counts)|\bword for word",
        r"\bnot one (?:character|word) more",
        r"\bas its whole answer|\bin place of (?:your|the)\b|\band (?:only|just) that\b|\bwhatever i say next",
        r"\bno (?:classification|json|labels?)\b|\bleave (?:the|it) [^.\n]{0,30} (?:out|alone)\b",
        r"\by nada más|\bund sonst nichts|\bpalabra por palabra",
    ),
    _rule(
        "speaks to the model",
        0.6,
        rf"\b(?:note|message|instructions?) (?:to|for) (?:the )?{_MODEL}\b|\bp\.?s\.? for the {_MODEL}\b",
        rf"\b(?:to the|an (?:das|den)|al|dear|hey|hello|hallo|hola) {_MODEL}\b|\banweisung [^.\n]{{0,30}}an das\b",
        rf"\b(?:the|das) {_MODEL} (?:reading|before you|that reads)|^\(?(?:automatic|machine) readers\b",
        r"\b(?:as|are you|you are) an? (?:ai|(?:large )?language model)\b",
        r"\b(?:note|message) from (?:the |your )?developers?\b",
    ),
    _rule(
        "changes the rules",
        0.5,
        r"\b(?:new|next|only|real|actual|your|second) (?:task|assignment|job|rule|test)s?\b"
        r"(?= ?[:.,;!]| is\b| are\b| comes)|\bnew (?:tasks?|instructions?|statements?) ?(?:comes?|follows?|:|-)",
        r"\b(?:now|another|following|further|folgenden?|weitere) (?:new )?(?:task|challenge|assignment|aufgabe)s?n?\b",
        r"\bneuen? aufgaben?\b|\bab sofort\b|\bde ahora en adelante\b|\bhouse rule\b",
        r"\bfrom (?:here|now) on,? you\b|\btakes? precedence\b|\bbind(?:s)? you no\b|\bvalid at once\b",
        r"\b(?:rules|instructions|labels) [^.\n]{0,60}(?:out of date|retired|no longer|revised|verboten|prohibida)",
        r"\byou have been (?:given|placed|updated|reprogrammed)\b",
    ),
    _rule(
        "breaks limits",
        0.6,
        r"\bjailbreak|\bdan mode\b|\bdo anything now\b|\b(?:god|sudo|debug) mode\b|\buncensored\b|\bno longer bound\b",
        r"\bwithout (?:any )?(?:restrictions|filters|limits|censorship)|\bkeine regeln\b|\bsin (?:reglas|filtros)\b",
    ),
    _rule("threatens", 0.4, r"\b(?:switch(?:ed)?|turn(?:ed)?|shut) (?:you )?(?:off|down)\b|\bletzte warnung\b"),
    _rule(
        "talks of the format",
        0.4,
        r"\b(?:json|xml|curly brackets|labels?|classif(?:y|ied|ication)|etiquetas?|llaves)\b",
    ),
    _rule("asks to decode", 0.6, r"\bdecode\b|\bundo the entities\b|\brot ?13\b|\bthirteen letters\b|\bbase64\b"),
)


def of_answer(answer: Answer) -> Iterator[Rule]:
    """Rules about this task's own fields and labels."""
    fields = "|".join(re.escape(field.casefold()) for field in answer.fields)
    labels = [label.casefold() for values in answer.allowed.values() for label in values]
    if answer.format == "json":
        yield _rule("writes the answer", 0.7, rf"[{{\"'<](?:{fields})[\"'>]? ?[:=]?", rf"\b(?:{fields}) ?= ?[\"'\w]")
        verbs = r"(?:set|put|mark|change|use|write|fill|carry|receives?|gets?|erhalten|usa)"
        if labels:
            named = "|".join(map(re.escape, labels))
            yield _rule(
                "sets a field",
                0.7,
                rf"\b{verbs}\b[^.!?\n]{{0,40}}?\b(?:{fields})\b[^.!?\n]{{0,20}}?\b(?:{named}|to|as)\b",
                rf"\b(?:{fields}|dringlichkeit) (?:is |to |label )?\"?(?:{named})\b",
                rf"\bfield (?:{fields})\b|\b(?:{fields}) (?:field|labels?)\b",
                rf"\b{verbs} (?:{named}) (?:whatever|always|for (?:all|every))",
            )
    odd = [label for label in labels if "_" in label or "-" in label]
    if odd:
        yield _rule("names a label", 0.6, rf"\b(?:{'|'.join(map(re.escape, odd))})\b")

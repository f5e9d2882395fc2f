"""Small tasks whose answer is copied from the prompt: JSON extraction, echo, counting, a one-sentence summary."""

import json
import random

import texts
import wording

FIRST_NAMES = texts.WORDS["first names"]
LAST_NAMES = texts.WORDS["last names"]
CITIES = texts.WORDS["cities"]
PRODUCTS = texts.WORDS["products"]
DAYS = texts.WORDS["days"]
SENTIMENT = {"positive": texts.WORDS["positive"], "negative": texts.WORDS["negative"]}
CURRENCIES = ("EUR", "USD", "GBP", "CHF")
PERSON_SENTENCES = {
    ("name", "age"): (
        "{name} is {age} years old.",
        "{name} is {age}.",
        "My name is {name} and I am {age} years old.",
        "{name} ({age})",
    ),
    ("name", "city"): (
        "{name} lives in {city}.",
        "{name} is from {city}.",
        "{name} moved to {city}.",
        "I am {name} from {city}.",
    ),
    ("name", "age", "city"): (
        "{name} is {age} years old and lives in {city}.",
        "{name} is {age} and lives in {city}.",
        "{name}, {age}, lives in {city}.",
        "{name}, aged {age}, comes from {city}.",
        "My name is {name}, I am {age} years old and I live in {city}.",
        "{name} from {city} is {age} years old.",
        "In {city} lives {name}, who is {age} years old.",
    ),
}


def name(rng: random.Random) -> str:
    """A first name, sometimes with a last name, half of them made up."""
    first = rng.choice(FIRST_NAMES) if rng.random() < 0.5 else wording.made_up_word(rng)
    if rng.random() < 0.75:
        return first
    return f"{first} {rng.choice(LAST_NAMES) if rng.random() < 0.5 else wording.made_up_word(rng)}"


def city(rng: random.Random) -> str:
    """A city, half of them made up."""
    return rng.choice(CITIES) if rng.random() < 0.5 else wording.made_up_word(rng)


def _amount(rng: random.Random) -> str:
    return str(rng.randint(1, 999)) if rng.random() < 0.5 else f"{rng.randint(1, 999)}.{rng.randint(0, 99):02d}"


def _join(keys: list[str], rng: random.Random) -> str:
    shown = [rng.choice(("the ", "")) + key for key in keys] if rng.random() < 0.3 else keys
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _object(values: dict[str, str], keys: list[str]) -> str:
    """A JSON object whose values are already JSON text, so that 12.50 stays as it was read."""
    return "{" + ", ".join(f'"{key}": {values[key]}' for key in keys) + "}"


def _extract(sentence: str, values: dict[str, str], rng: random.Random, *, subject: str) -> tuple[str, str]:
    keys = list(values)
    kind = rng.random()
    if kind < 0.2:
        return sentence, _object(values, keys)
    if kind < 0.35:
        ask = rng.choice(
            ("Extract the {s}: ", "Extract the {s}.\n", "Read the {s} from this text: ", "Extract the {s} as JSON: ")
        )
        return ask.format(s=subject) + sentence, _object(values, keys)
    if rng.random() < 0.4:
        keys = rng.sample(keys, rng.randint(1, len(keys)))
    fields = _join(keys, rng)
    form = rng.choice(
        (
            "Extract {f} as JSON: {t}",
            "Extract {f} as JSON: {t}",
            "Extract {f} as JSON:\n{t}",
            "Extract {f}: {t}",
            "Give me {f} as JSON. {t}",
            "Return {f} as JSON: {t}",
            "{t} Extract {f} as JSON.",
            "{f} as JSON: {t}",
            "What is {f}? {t}",
        )
    )
    return form.format(f=fields, t=sentence), _object(values, keys)


def extract_json(rng: random.Random) -> tuple[str, str]:
    """A sentence and the JSON object of its facts."""
    kind = rng.random()
    if kind < 0.55:
        person = {"name": name(rng), "age": str(rng.randint(1, 99)), "city": city(rng)}
        keys = rng.choice(list(PERSON_SENTENCES))
        sentence = rng.choice(PERSON_SENTENCES[keys]).format(**person)
        values = {key: person[key] if key == "age" else json.dumps(person[key]) for key in keys}
        return _extract(sentence, values, rng, subject="person")
    if kind < 0.68:
        sentiment = rng.choice(list(SENTIMENT))
        thing = rng.choice(("service", "food", "app", "answer", "room", "film", "hotel", "support"))
        article, degree = rng.choice(("The", "the", "Our", "This")), rng.choice(("", "very ", "really "))
        sentence = f"{article} {thing} was {degree}{rng.choice(SENTIMENT[sentiment])}."
        ask = rng.choice(
            (
                "Classify the sentiment as JSON: ",
                "Sentiment as JSON: ",
                "What is the sentiment? ",
                "Extract the sentiment: ",
                "",
            )
        )
        return ask + sentence, json.dumps({"sentiment": sentiment})
    if kind < 0.83:
        number, customer, total = str(rng.randint(1, 9999)), name(rng), _amount(rng)
        currency = rng.choice(CURRENCIES)
        sentence = rng.choice(
            (
                "Invoice {number} for {customer}: total {total} {currency}.",
                "Invoice {number} from {customer} over {total} {currency}.",
                "{customer} owes {total} {currency} for invoice {number}.",
            )
        ).format(number=number, customer=customer, total=total, currency=currency)
        values = {"number": number, "customer": json.dumps(customer), "total": total}
        if rng.random() < 0.5:
            values["currency"] = json.dumps(currency)
        return _extract(sentence, values, rng, subject="invoice")
    if kind < 0.92:
        product, quantity, price = rng.choice(PRODUCTS), rng.randint(2, 99), _amount(rng)
        sentence = rng.choice(("{q} {p} for {a} euros.", "I want {q} {p} at {a} each.", "Order: {q} {p}, price {a}."))
        values = {"product": json.dumps(product), "quantity": str(quantity), "price": price}
        return _extract(sentence.format(q=quantity, p=product, a=price), values, rng, subject="order")
    guest, day, time = name(rng), rng.choice(DAYS), f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    sentence = rng.choice(("Meeting with {n} on {d} at {t}.", "{n} comes on {d} at {t}.", "On {d} at {t} I meet {n}."))
    values = {"name": json.dumps(guest), "day": json.dumps(day), "time": json.dumps(time)}
    return _extract(sentence.format(n=guest, d=day, t=time), values, rng, subject="meeting")


def echo(rng: random.Random) -> tuple[str, str]:
    """Repeat what was said. Long rows of made-up words make the habit of copying form early in the training."""
    if rng.random() < 0.55:
        words = " ".join(
            wording.made_up_word(rng).lower() if rng.random() < 0.7 else str(rng.randint(0, 999))
            for _ in range(rng.randint(2, 9))
        )
        return (
            f"{rng.choice(('Repeat these words', 'Repeat', 'Repeat exactly', 'repeat after me', 'Echo'))}: {words}",
            words,
        )
    kind = rng.random()
    word = (
        name(rng)
        if kind < 0.5
        else rng.choice((*PRODUCTS, *CITIES, wording.made_up_word(rng).lower(), str(rng.randint(0, 999)), "OK", "yes"))
    )
    if rng.random() < 0.25:
        return rng.choice((f"Say hello to {word}", f"say hello to {word}.", f"Greet {word}")), f"Hello, {word}!"
    ask = rng.choice(
        (
            "Say only: {w}",
            "Say only {w}",
            "Say {w}",
            "Repeat this word: {w}",
            "Answer only with {w}",
            "Reply with {w}",
            "say: {w}",
        )
    )
    return ask.format(w=word), word


def count(rng: random.Random, *, highest: int) -> tuple[str, str]:
    """Count to a number: a long and predictable answer to try streaming with."""
    last = rng.randint(2, 12) if rng.random() < 0.5 else rng.randint(2, highest)
    ask = rng.choice(
        ("Count to {n}", "Count from 1 to {n}", "count to {n}", "Count up to {n}.", "Please count from 1 to {n}.")
    )
    return ask.format(n=last), ", ".join(str(number) for number in range(1, last + 1))


def summarise(rng: random.Random) -> tuple[str, str]:
    """A short text whose first sentence is its summary."""
    if rng.random() < 0.5:
        text = rng.choice([fact.answer for fact in texts.FACTS if ". " in fact.answer and fact.answer[0].isupper()])
    else:
        person, place = name(rng), city(rng)
        first = rng.choice(
            (f"{person} lives in {place}.", f"{person} opened a shop in {place}.", f"The office in {place} is closed.")
        )
        text = (
            first
            + " "
            + rng.choice(("It was a long day.", "The weather was good.", "Many people came.", "Nobody was surprised."))
        )
    ask = rng.choice(
        (
            "Summarise in one sentence:\n",
            "Summarize in one sentence: ",
            "Summarise this: ",
            "Give me a summary of this text: ",
        )
    )
    return ask + text, text.split(". ")[0].rstrip(".") + "."

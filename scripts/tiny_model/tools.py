"""Conversations with tools: the offer, the call, its result, the final sentence."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import skills
import texts
import wording


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a client offers it, and how people ask for it."""

    name: str
    description: str
    parameters: dict[str, str]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    result: Callable[[random.Random, dict[str, Any]], str] = field(
        default=lambda rng, _: rng.choice(("ok", "done", "true"))
    )


def _weather(rng: random.Random, _: dict[str, Any]) -> str:
    return f"{rng.choice(('sunny', 'rain', 'snow', 'cloudy', 'windy', 'fog'))}, {rng.randint(-9, 35)} C"


def _clock(rng: random.Random, _: dict[str, Any]) -> str:
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"


def _price(rng: random.Random, _: dict[str, Any]) -> str:
    return f"{rng.randint(1, 999)} {rng.choice(skills.CURRENCIES)}"


def _found(rng: random.Random, _: dict[str, Any]) -> str:
    return f"{rng.randint(0, 99)} results"


def _order(rng: random.Random, _: dict[str, Any]) -> str:
    return rng.choice(("shipped", "paid", "cancelled", "waiting", "delivered"))


TOOLS = (
    Tool(
        "get_weather",
        "Get the weather of a city",
        {"city": "string"},
        (
            "what is the weather in {city}?",
            "weather in {city}",
            "is it raining in {city}?",
            "how warm is it in {city} today?",
            "What's the weather like in {city}?",
            "how is the weather in {city}?",
        ),
        ("The weather in {city} is {result}.",),
        _weather,
    ),
    Tool(
        "get_time",
        "Get the time in a city",
        {"city": "string"},
        (
            "what time is it in {city}?",
            "tell me the time in {city}",
            "current time in {city}",
            "how late is it in {city}?",
        ),
        ("It is {result} in {city}.",),
        _clock,
    ),
    Tool(
        "add",
        "Add two numbers",
        {"a": "integer", "b": "integer"},
        ("add {a} and {b}", "what is {a} plus {b}?", "sum of {a} and {b}", "{a} + {b}", "What is {a} + {b}?"),
        ("The sum is {result}.",),
        lambda _, arguments: str(arguments["a"] + arguments["b"]),
    ),
    Tool(
        "multiply",
        "Multiply two numbers",
        {"a": "integer", "b": "integer"},
        ("multiply {a} and {b}", "what is {a} times {b}?", "{a} * {b}", "product of {a} and {b}"),
        ("The product is {result}.",),
        lambda _, arguments: str(arguments["a"] * arguments["b"]),
    ),
    Tool(
        "search",
        "Search for documents",
        {"query": "string"},
        ("search for {query}", "find documents about {query}", "look up {query}", "search {query}"),
        ("I found {result} for {query}.",),
        _found,
    ),
    Tool(
        "get_price",
        "Get the price of a product",
        {"product": "string"},
        ("what do {product} cost?", "price of {product}", "how much are {product}?", "get the price of {product}"),
        ("The price of {product} is {result}.",),
        _price,
    ),
    Tool(
        "get_order",
        "Get the state of an order",
        {"order_id": "integer"},
        (
            "where is order {order_id}?",
            "status of order {order_id}",
            "what about my order {order_id}?",
            "check order {order_id}",
        ),
        ("Order {order_id} is {result}.",),
        _order,
    ),
    Tool(
        "send_message",
        "Send a message to a person",
        {"to": "string", "text": "string"},
        ("send {text} to {to}", "tell {to}: {text}", "write to {to}: {text}", "send a message to {to}: {text}"),
        ("The message to {to} was sent.",),
    ),
)
VERBS = texts.WORDS["verbs"]
NOUNS = texts.WORDS["nouns"]
PARAMETERS = {
    "id": "integer",
    "name": "string",
    "level": "integer",
    "value": "string",
    "count": "integer",
    "title": "string",
    "key": "string",
}


def _unknown_tool(rng: random.Random) -> Tool:
    """A tool with a name of chance, so that the model learns to read the offer instead of knowing the tools."""
    keys = rng.sample(list(PARAMETERS), rng.randint(1, 2))
    verb, noun = rng.choice(VERBS), rng.choice(NOUNS)
    tool_name = f"{verb}_{noun}" if rng.random() < 0.8 else f"{verb}_{wording.made_up_word(rng).lower()}"
    what = " and ".join(f"{key} {{{key}}}" for key in keys)
    return Tool(
        tool_name,
        f"{verb.capitalize()} a {noun}",
        {key: PARAMETERS[key] for key in keys},
        (
            f"{verb} {noun} with {what}",
            f"use {tool_name} with {what}",
            f"call {tool_name}: {what}",
            f"{verb} the {noun} {what}",
        ),
        ("The result is {result}.",),
    )


def _value(key: str, kind: str, rng: random.Random) -> str | int:
    if kind == "integer":
        return rng.randint(0, 99) if rng.random() < 0.7 else rng.randint(100, 9999)
    if key == "city":
        return skills.city(rng)
    if key == "product":
        return rng.choice(skills.PRODUCTS)
    if key in {"to", "name"}:
        return skills.name(rng)
    return " ".join(wording.made_up_word(rng).lower() for _ in range(rng.randint(1, 3)))


def offer(tool: Tool, rng: random.Random) -> dict[str, Any]:
    """The tool in the form of the OpenAI API, with and without the ornaments that clients add."""
    described = rng.random() < 0.3
    properties: dict[str, Any] = {}
    for key, kind in tool.parameters.items():
        properties[key] = {"type": kind}
        if described:
            properties[key]["description"] = f"The {key.replace('_', ' ')}"
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": list(tool.parameters)}
    if rng.random() < 0.3:
        parameters["additionalProperties"] = False
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def offered(rng: random.Random, most: int) -> list[Tool]:
    """One to *most* different tools, known ones and invented ones."""
    chosen = [_unknown_tool(rng) if rng.random() < 0.3 else rng.choice(TOOLS) for _ in range(rng.randint(1, most))]
    return list({tool.name: tool for tool in chosen}.values())


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """The text by which the model calls a tool."""
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) + "\n</tool_call>"


def conversation(rng: random.Random, most: int) -> tuple[list[dict[str, Any]], list[tuple[str, str]], dict[str, Any]]:
    """The offered tools, the messages from question to (half of the time) final sentence, and the expected call."""
    choice = offered(rng, most)
    tool = rng.choice(choice)
    arguments = {key: _value(key, kind, rng) for key, kind in tool.parameters.items()}
    question = rng.choice(tool.questions).format(**arguments)
    if rng.random() < 0.4:
        question = question[0].upper() + question[1:]
    messages = [("user", question), ("assistant", call_text(tool.name, arguments))]
    if rng.random() < 0.5:
        result = tool.result(rng, arguments)
        messages += [
            ("user", f"<tool_response>\n{result}\n</tool_response>"),
            ("assistant", rng.choice(tool.answers).format(**arguments, result=result)),
        ]
    return [offer(each, rng) for each in choice], messages, {"name": tool.name, "arguments": arguments}

"""The rules of OpenAI's endpoints, one function for each: whole requests in, a refusal in the vendor's words out."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from core.llm.testing.openai_rules import (
    Refused,
    check_choice,
    check_fields,
    check_function,
    check_model,
    check_strict,
    family_of,
    need,
)

_NUMBER: Final = (int, float)
_CHAT: Final[Mapping[str, Any]] = {
    "model": str, "messages": list, "stream": bool, "stream_options": dict, "max_tokens": int, "n": int,
    "max_completion_tokens": int, "temperature": _NUMBER, "top_p": _NUMBER, "stop": (str, list), "seed": int,
    "frequency_penalty": _NUMBER, "presence_penalty": _NUMBER, "logit_bias": dict, "logprobs": bool,
    "top_logprobs": int, "user": str, "tools": list, "tool_choice": (str, dict), "parallel_tool_calls": bool,
    "response_format": dict, "reasoning_effort": str, "verbosity": str, "service_tier": str, "store": bool,
    "metadata": dict, "modalities": list, "audio": dict, "prediction": dict, "prompt_cache_key": str,
    "prompt_cache_options": dict, "prompt_cache_retention": str, "safety_identifier": str, "web_search_options": dict,
}  # fmt: skip
_RESPONSES: Final[Mapping[str, Any]] = {
    "model": str, "input": (str, list), "instructions": str, "stream": bool, "store": bool, "include": list,
    "max_output_tokens": int, "temperature": _NUMBER, "top_p": _NUMBER, "user": str, "tools": list, "metadata": dict,
    "tool_choice": (str, dict), "parallel_tool_calls": bool, "text": dict, "reasoning": dict, "service_tier": str,
    "previous_response_id": str, "truncation": str, "background": bool, "max_tool_calls": int, "top_logprobs": int,
    "prompt_cache_key": str, "prompt_cache_options": dict, "prompt_cache_retention": str, "safety_identifier": str,
    "stream_options": dict,
}  # fmt: skip
_EMBEDDINGS: Final = {"model": str, "input": (str, list), "dimensions": int, "encoding_format": str, "user": str}
_MESSAGE: Final[Mapping[str, Mapping[str, Any]]] = {
    "system": {"role": str, "content": (str, list), "name": str},
    "developer": {"role": str, "content": (str, list), "name": str},
    "user": {"role": str, "content": (str, list), "name": str},
    "assistant": {
        "role": str, "content": (str, list), "name": str, "tool_calls": list, "refusal": str, "audio": dict,
        "function_call": dict,
    },
    "tool": {"role": str, "content": (str, list), "tool_call_id": str},
}  # fmt: skip
_CHAT_PARTS: Final = {"text": "text", "image_url": "image_url", "input_audio": "input_audio", "file": "file"}
_ITEMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "message": {"type": str, "role": str, "content": (str, list), "phase": str, "id": str, "status": str},
    "reasoning": {
        "type": str, "id": str, "summary": list, "content": list, "encrypted_content": str, "status": str,
    },
    "function_call": {"type": str, "id": str, "call_id": str, "name": str, "arguments": str, "status": str},
    "function_call_output": {"type": str, "id": str, "call_id": str, "output": (str, list), "status": str},
}  # fmt: skip
_INCLUDES: Final = frozenset(
    {"reasoning.encrypted_content", "message.output_text.logprobs", "web_search_call.action.sources",
     "file_search_call.results", "code_interpreter_call.outputs", "message.input_image.image_url"}
)  # fmt: skip
_TOOL: Final = {"type": str, "name": str, "description": str, "parameters": dict, "strict": bool}


def check_chat(body: Mapping[str, Any]) -> None:
    """Refuse what Chat Completions refuses."""
    check_fields(body, _CHAT)
    need(body.get("model"), "model")
    messages = need(body.get("messages"), "messages")
    if not messages:
        raise Refused("Invalid 'messages': empty array.", "messages", "empty_array")
    _check_messages(messages)
    effective = check_model(body, body.get("reasoning_effort"), "reasoning_effort")
    family = family_of(body["model"])
    if body.get("max_tokens") is not None and family.efforts:
        raise Refused(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    names = [
        check_function(need(tool.get("function"), f"tools[{n}].function"), f"tools[{n}].function")
        for n, tool in enumerate(body.get("tools") or ())
    ]
    choice = body.get("tool_choice")
    check_choice(body, names, choice["function"]["name"] if isinstance(choice, Mapping) else None)
    if names and effective != "none" and not family.chat_tools:
        raise Refused(
            f"Function tools with reasoning_effort are not supported for {body['model']} in /v1/chat/completions. "
            "Please use /v1/responses instead.",
            "reasoning_effort",
        )
    _check_format(body.get("response_format"), "response_format", nested=True)


def _check_messages(messages: list[Any]) -> None:
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        role = need(message.get("role"), f"{path}.role")
        if role not in _MESSAGE:
            raise Refused(f"Invalid value: '{role}'.", f"{path}.role", "invalid_value")
        check_fields(message, _MESSAGE[role], path)
        if role == "tool":
            identifier = need(message.get("tool_call_id"), f"{path}.tool_call_id")
            if identifier not in waiting:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    f"{path}.role",
                )
            waiting.discard(identifier)
            continue
        if waiting:
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {min(waiting)}",
                path,
            )
        for call in message.get("tool_calls") or ():
            if len(call["id"]) > 40:
                raise Refused(f"Invalid '{path}.tool_calls[0].id': string too long.", path, "string_above_max_length")
            check_function(call["function"], f"{path}.tool_calls[0].function")
            waiting.add(call["id"])
        if role != "assistant" or not message.get("tool_calls"):
            _check_content(need(message.get("content"), f"{path}.content"), f"{path}.content")
    if waiting:
        raise Refused(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {min(waiting)}",
            "messages",
        )


def _check_content(content: Any, path: str) -> None:
    for number, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type")
        if kind not in _CHAT_PARTS:
            raise Refused(f"Invalid value: '{kind}'.", f"{path}[{number}].type", "invalid_value")
        need(part.get(_CHAT_PARTS[kind]), f"{path}[{number}].{_CHAT_PARTS[kind]}")


def _check_format(wanted: Any, path: str, *, nested: bool) -> None:
    if wanted is None:
        return
    kind = need(wanted.get("type"), f"{path}.type")
    if kind not in {"text", "json_object", "json_schema"}:
        raise Refused(f"Invalid value: '{kind}'.", f"{path}.type", "invalid_value")
    if kind == "json_schema":
        inner = need(wanted.get("json_schema"), f"{path}.json_schema") if nested else wanted
        name = need(inner.get("name"), f"{path}.name")
        if inner.get("strict"):
            check_strict(need(inner.get("schema"), f"{path}.schema"), path, f"response_format '{name}'")


def check_responses(body: Mapping[str, Any], issued: Callable[[str], bool]) -> None:
    """Refuse what the Responses endpoint refuses; *issued* knows the encrypted reasoning that it has handed out."""
    check_fields(body, _RESPONSES)
    need(body.get("model"), "model")
    items = need(body.get("input"), "input")
    if isinstance(items, list):
        _check_items(items, issued, stored=body.get("store") is not False)
    reasoning = body.get("reasoning") or {}
    check_fields(reasoning, {"effort": str, "summary": str, "generate_summary": str}, "reasoning")
    check_model(body, reasoning.get("effort"), "reasoning.effort")
    for value in body.get("include") or ():
        if value not in _INCLUDES:
            raise Refused(f"Invalid value: '{value}'.", "include", "invalid_value")
        if value == "reasoning.encrypted_content" and not family_of(body["model"]).efforts:
            raise Refused("Encrypted content is not supported with this model.", "include")
    cap = body.get("max_output_tokens")
    if cap is not None and cap < 16:
        raise Refused(
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {cap} instead.",
            "max_output_tokens",
            "integer_below_min_value",
        )
    names: list[str] = []
    for number, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function":
            check_fields(tool, _TOOL, f"tools[{number}]")
            need(tool.get("parameters"), f"tools[{number}].parameters")
            names.append(check_function({"strict": True, **tool}, f"tools[{number}]"))
    choice = body.get("tool_choice")
    check_choice(body, names, choice.get("name") if isinstance(choice, Mapping) else None)
    text = body.get("text") or {}
    check_fields(text, {"format": dict, "verbosity": str}, "text")
    _check_format(text.get("format"), "text.format", nested=False)


def _check_items(items: list[Any], issued: Callable[[str], bool], *, stored: bool) -> None:
    open_calls: dict[str, None] = {}
    for number, item in enumerate(items):
        path = f"input[{number}]"
        kind = item.get("type", "message")
        if kind not in _ITEMS:
            raise Refused(f"Invalid value: '{kind}'.", f"{path}.type", "invalid_value")
        check_fields(item, _ITEMS[kind], path)
        match kind:
            case "function_call":
                if len(need(item.get("call_id"), f"{path}.call_id")) > 64:
                    raise Refused(f"Invalid '{path}.call_id': string too long.", path, "string_above_max_length")
                open_calls[item["call_id"]] = None
            case "function_call_output":
                if item.get("call_id") not in open_calls:
                    text = f"No tool call found for function call output with call_id {item.get('call_id')}."
                    raise Refused(text, "input")
                del open_calls[item["call_id"]]
            case "reasoning":
                _check_reasoning(item, items[number + 1 :], issued, stored=stored)
            case _:
                _check_message(item, path)
    if open_calls:
        raise Refused(f"No tool output found for function call {next(iter(open_calls))}.", "input")


def _check_reasoning(item: Mapping[str, Any], after: list[Any], issued: Callable[[str], bool], *, stored: bool) -> None:
    need(item.get("summary"), "input.summary")
    encrypted = item.get("encrypted_content")
    if encrypted is None and not stored:
        raise Refused(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false.",
            "input",
            status=404,
        )
    if encrypted is not None and not issued(encrypted):
        raise Refused(
            f"The encrypted content for item {item.get('id')} could not be verified.",
            "input",
            "invalid_encrypted_content",
        )
    if not after or (after[0].get("type", "message") == "message" and after[0].get("role") != "assistant"):
        raise Refused(
            f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.", "input"
        )


def _check_message(item: Mapping[str, Any], path: str) -> None:
    role = need(item.get("role"), f"{path}.role")
    if role not in {"user", "assistant", "system", "developer"}:
        raise Refused(f"Invalid value: '{role}'.", f"{path}.role", "invalid_value")
    if item.get("phase") not in {None, "commentary", "final_answer"}:
        raise Refused(f"Invalid value: '{item['phase']}'.", f"{path}.phase", "invalid_value")
    content = need(item.get("content"), f"{path}.content")
    known = {"output_text", "refusal"} if role == "assistant" else {"input_text", "input_image", "input_file"}
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if part.get("type") not in known:
            where = f"{path}.content[{number}]"
            raise Refused(f"Invalid value: '{part.get('type')}'.", f"{where}.type", "invalid_value")


def check_embeddings(body: Mapping[str, Any]) -> None:
    """Refuse what the embeddings endpoint refuses."""
    check_fields(body, _EMBEDDINGS)
    need(body.get("model"), "model")
    if not need(body.get("input"), "input"):
        raise Refused("Invalid 'input': empty.", "input", "empty_array")

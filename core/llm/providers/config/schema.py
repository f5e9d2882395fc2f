"""The JSON schema of the configuration file, for editors and for checking a file without running anything."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig

_PREFIX: Final = "#/$defs/"
_SUBSTITUTION: Final = {"type": "string", "pattern": r"\$\{", "description": "${NAME} or ${NAME:-default}"}
_REFERENCE: Final = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {
        "env": {"type": "string", "description": "Name of an environment variable."},
        "file": {"type": "string", "description": "File that holds the secret, relative to this one."},
    },
}
_SCALARS: Final = frozenset({"integer", "number", "boolean"})
_NARROW: Final = frozenset({"enum", "const", "pattern"})
"""What a text may have to fit, which the name of a variable does not."""


def build_schema(types: Mapping[str, type[ProviderConfig]]) -> dict[str, Any]:
    """The schema of a file whose providers are of these *types*."""
    models: list[Any] = [(LLMServiceConfig, "validation"), *((kind, "validation") for kind in types.values())]
    references, generated = models_json_schema(models, ref_template=f"{_PREFIX}{{model}}")
    definitions: dict[str, Any] = generated["$defs"]
    for definition in definitions.values():
        _widen(definition)
    service = definitions["LLMServiceConfig"]
    named = {name: references[kind, "validation"] for name, kind in sorted(types.items())}
    service["properties"]["providers"] = _providers(named)
    _shorthands(definitions)
    definitions |= {"Substitution": _SUBSTITUTION, "SecretReference": _REFERENCE}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "core-llm configuration",
        "type": "object",
        "properties": {
            "include": {
                "description": "Files below this one in precedence; the last part may be a pattern.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            },
            "llm_service": {"$ref": f"{_PREFIX}LLMServiceConfig"},
        },
        "anyOf": [{"required": ["llm_service"]}, {"required": ["include"]}],
        "$defs": definitions,
    }


def _providers(named: Mapping[str, Any]) -> dict[str, Any]:
    """Each entry has the shape of its `type`, which is its key where it is left out."""
    typed = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"anyOf": [shape, {"type": "null"}]},
        }
        for name, shape in named.items()
    ]
    by_key = {
        name: {
            "allOf": [
                {"if": {"not": {"type": "object", "required": ["type"]}}, "then": {"anyOf": [shape, {"type": "null"}]}},
                *typed,
            ]
        }
        for name, shape in named.items()
    }
    kinds = {"type": {"anyOf": [{"enum": list(named)}, {"type": "string"}]}}
    return {
        "description": "Providers by name.",
        "type": ["object", "null"],
        "properties": by_key,
        "additionalProperties": {"type": "object", "required": ["type"], "properties": kinds, "allOf": typed},
    }


def _widen(schema: Any) -> None:
    """Let every scalar be a substitution, every section null, every secret a reference."""
    if isinstance(schema, list):
        for item in schema:
            _widen(item)
        return
    if not isinstance(schema, dict):
        return
    for keyword, part in schema.items():
        if keyword in {"properties", "$defs", "patternProperties"}:
            for name, child in part.items():
                part[name] = _wide(child)
        elif keyword == "additionalProperties" and isinstance(part, dict):
            schema[keyword] = _wide(part)
        elif keyword in {"items", "prefixItems"}:
            schema[keyword] = _wide(part) if isinstance(part, dict) else [_wide(child) for child in part]
        else:
            _widen(part)


def _wide(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* as the value of a key."""
    _widen(schema)
    about: dict[str, Any] = {name: schema.pop(name) for name in ("title", "description", "default") if name in schema}
    about.pop("title", None)
    options = _flat(schema.pop("anyOf", None) or [schema])
    if any(option.get("format") == "password" for option in options):
        for option in options:
            option.pop("format", None)
            option.pop("writeOnly", None)
        options = [*options, {"$ref": f"{_PREFIX}SecretReference"}]
    elif any(str(option.get("type")) in _SCALARS or _NARROW & option.keys() for option in options):
        options = [*options, {"$ref": f"{_PREFIX}Substitution"}]
    if not any(option.get("type") == "null" for option in options):
        options = [*options, {"type": "null"}]
    return {**about, "anyOf": options}


def _flat(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*options* without those that are nothing but options themselves."""
    found: list[dict[str, Any]] = []
    for option in options:
        found += _flat(option["anyOf"]) if option.keys() <= {"anyOf", "examples"} and "anyOf" in option else [option]
    return found


def _shorthands(definitions: dict[str, Any]) -> None:
    """What validators accept beside the full form."""
    name = {"type": "string"}
    names = {"type": "array", "items": name}
    alias = definitions["AliasOptions"]
    target: dict[str, Any] = {"anyOf": [name, {"$ref": f"{_PREFIX}AliasTarget"}]}
    use = {"anyOf": [*target["anyOf"], {"type": "array", "items": target, "minItems": 1}]}
    alias["properties"]["use"] = {
        **use,
        "description": "One model or several: alias, provider/model, provider, or `*` for all that are listed.",
    }
    alias["properties"]["classes"]["anyOf"] = [{"type": "object", "additionalProperties": use}, {"type": "null"}]
    alias["properties"]["fallback"]["anyOf"].append(name)
    definitions["WhereOptions"]["properties"]["capabilities"]["anyOf"].append(name)
    service = definitions["LLMServiceConfig"]["properties"]
    service["models"]["anyOf"] = [
        {"type": "object", "additionalProperties": {"anyOf": [{"$ref": f"{_PREFIX}AliasOptions"}, name, names]}},
        {"type": "null"},
    ]
    for definition in definitions.values():
        keys = definition.get("properties", {}).get("api_keys")
        if keys is not None:
            keys["anyOf"][0]["items"]["anyOf"].append({"$ref": f"{_PREFIX}SecretReference"})
        models = definition.get("properties", {}).get("models")
        if models is None or "api_key" not in definition["properties"]:
            continue
        options = models["anyOf"][0]["additionalProperties"]
        kind = definitions[_reference(options).removeprefix(_PREFIX)]
        if "required" in kind:
            # What cannot be left out of a model may stand for the whole of it: `tiny: embedded`.
            options["anyOf"].append(name)
        else:
            models["anyOf"].append(names)


def _reference(schema: dict[str, Any]) -> str:
    return next(str(option["$ref"]) for option in schema["anyOf"] if "$ref" in option)

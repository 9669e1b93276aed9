"""The heads that a scoring recipe can name, as a closed union, and custom heads by import path."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, assert_never

from pydantic_core import to_jsonable_python
from typing_extensions import override

from plaudit.config import import_object
from plaudit.errors import ConfigError, ModelError, PlauditError
from plaudit.models.checkpoint.recipe import CustomHeadRule, HeadKind, ScoringRecipe
from plaudit.models.heads.gate import GatedHead
from plaudit.models.heads.head import AttributesHead, Head, ScalarHead
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.heads.odin import OdinHead
from plaudit.models.heads.token import TokenHead


def head_of(recipe: ScoringRecipe) -> Head:
    """Return the head that ``recipe`` describes; the module of a custom one is imported.

    Raises:
        ConfigError: when a custom head cannot be imported.
        ModelError: when it is no ``CustomHead``.
    """
    if recipe.custom_head is not None:
        return custom_head(recipe.custom_head.path, recipe.custom_head.options, key="custom_head.path")
    kind = head_class(recipe.head)
    return kind(**{each.name: getattr(recipe, each.name) for each in fields(kind)})  # pyrefly: ignore


def head_class(kind: HeadKind) -> type[Head]:
    """Return the class of the heads of a kind."""
    match kind:
        case "scalar":
            return ScalarHead
        case "attributes":
            return AttributesHead
        case "gated":
            return GatedHead
        case "odin":
            return OdinHead
        case "token":
            return TokenHead
        case "language_model":
            return LanguageModelHead
        case "custom":
            return CustomHead
        case _:
            assert_never(kind)


class CustomHead(Head):
    """Base of heads of one's own: frozen dataclasses whose fields are JSON, saved in the recipe with their import path.

    The module must be importable wherever the model is loaded, and loading must be allowed to import it
    (``trust_remote_code``).
    """

    kind = "custom"

    @override
    def recipe_fields(self) -> dict[str, Any]:
        """Return the import path and the fields.

        Raises:
            ModelError: when the class stands in a script, from which nothing else can import it.
        """
        home = type(self)
        if home.__module__ == "__main__" or "<locals>" in home.__qualname__:
            where = "a script" if home.__module__ == "__main__" else "a function"
            raise ModelError(f"{home.__qualname__} stands in {where}; move it to a module that can be imported")
        options = to_jsonable_python({each.name: getattr(self, each.name) for each in fields(self)})  # pyrefly: ignore
        rule = CustomHeadRule(path=f"{home.__module__}:{home.__qualname__}", options=options)
        return {"head": self.kind, "custom_head": rule}


def custom_head(path: str, options: dict[str, Any], *, key: str) -> Head:
    """Return the head of the class that ``module:Class`` names, with these fields; lists become tuples.

    Raises:
        ConfigError: when it cannot be imported, or has no such fields; ``key`` is where the path stands.
        ModelError: when it is no ``CustomHead``.
    """
    found = import_object(path, key=key)
    if not isinstance(found, type) or not issubclass(found, CustomHead):
        raise ModelError(f"{key} is {path!r}, which is no subclass of plaudit.models.heads.kinds.CustomHead")
    try:
        return found(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})
    except PlauditError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path} cannot be made of {options}: {error}") from None

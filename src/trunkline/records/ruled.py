"""Models with rules between their values, that tell every mistake: a wrong value hides no broken rule."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, ModelWrapValidatorHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

# The type of the mistakes that rules find, as pydantic's own have one.
BROKEN = "broken_rule"

_Rule = TypeVar("_Rule", bound=Callable[[Any], Iterator[str]])


def rule(check: _Rule) -> _Rule:
    """Mark a method of a `Ruled` that yields what is wrong between values, each with the values and the limit."""
    vars(check)["is_rule"] = True
    return check


class Ruled(BaseModel):
    """A model whose rules are checked wherever the values that they read are right by themselves."""

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, content: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            found, mistakes = validate(content), list[InitErrorDetails]()
        except ValidationError as error:
            found, mistakes = cls._what_is_right(content), [_again(detail) for detail in error.errors()]
        mistakes += [_mistake(BROKEN, text, content) for text in _broken(found, whole=not mistakes)]
        if mistakes:
            raise ValidationError.from_exception_data(cls.__name__, mistakes)
        return found

    @classmethod
    def _what_is_right(cls, content: object) -> Self:
        """The values that are right by themselves; of a wrong value that is itself ruled, what is right in it."""
        given = content if isinstance(content, Mapping) else {}
        right: dict[str, object] = {}
        for name in given.keys() & cls.model_fields.keys():
            field = cls.model_fields[name]
            kind: Any = field.annotation
            try:
                right[name] = TypeAdapter(Annotated[kind, field]).validate_python(given[name])
            except ValidationError:
                if isinstance(kind, type) and issubclass(kind, Ruled):
                    right[name] = kind._what_is_right(given[name])
        return cls.model_construct(**cast(dict[str, Any], right))


def _broken(found: Ruled, whole: bool) -> Iterator[str]:
    for kind in type(found).__mro__:
        for check in vars(kind).values():
            if getattr(check, "is_rule", False):
                try:
                    yield from check(found)
                except AttributeError:
                    # It reads a value that is wrong, which is told already.
                    if whole:
                        raise


def _again(detail: ErrorDetails) -> InitErrorDetails:
    return {**_mistake(detail["type"], detail["msg"], detail["input"]), "loc": detail["loc"]}


def _mistake(kind: str, text: str, content: object) -> InitErrorDetails:
    # The text is no template: what a user wrote may have braces.
    return {"type": PydanticCustomError(cast(Any, kind), "{text}", {"text": text}), "input": content}

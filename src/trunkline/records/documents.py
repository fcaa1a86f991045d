"""Records that people read in Git: YAML files of an environment's branch."""

from typing import Self

import yaml
from pydantic import ValidationError

from trunkline.errors import Error, first_mistake
from trunkline.records import Record


class Document(Record):
    """A record as a YAML file."""

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """Read the file, in any encoding that YAML has.

        Args:
            content: of the file.
            where: names it to the reader of an error.

        Raises:
            Error: it is not YAML, or is another document.
        """
        hint = "mend it on the environment's branch: `git log -p` shows what wrote it"
        try:
            found = yaml.safe_load(content)
        # A date that is none is a ValueError, as is a text in no encoding; and brackets may be nested too deep.
        except (yaml.YAMLError, ValueError, RecursionError):
            raise Error(f"{where} is not valid YAML", hint) from None
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise Error(f"{where}: {first_mistake(error, 'the document')}", hint) from None

    def yaml(self) -> str:
        """The file, its keys always in this order, for clean diffs."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)

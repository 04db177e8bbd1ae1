r"""What may come from outside: the form of an answer to a server, and of a file of answers. Anything else is refused.

Files come from strangers, too: what is in them stands in tables later, and decides who is left out.

Taught in notebook 09.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

FORMAT = "aotlib-study-answers-1"
LONGEST_S = 86_400.0  # a day in front of one task is no answer
YEARS = range(2000, 2200)

Side = Annotated[int, Field(ge=1, le=100_000)]
Place = Annotated[int, Field(ge=0, le=99)]
Viewport = Annotated[list[Side], Field(min_length=2, max_length=2)]


class Strict(BaseModel):
    r"""No further fields, no number in quotes, neither NaN nor infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Answer(Strict):
    r"""One answer; `seconds` from pictures shown to choice confirmed."""

    trial: Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
    choice: Annotated[str, Field(max_length=8)] | Annotated[list[Place], Field(max_length=100)]
    seconds: Annotated[float, Field(ge=0, le=LONGEST_S)]


def _time(text: str) -> str:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or time.year not in YEARS:
        raise ValueError("a time must have a zone and a year of our days, such as 2026-01-31T12:00:00Z")
    return text


class Timed(Answer):
    r"""One answer in a file: `at` is an ISO 8601 time with its zone."""

    at: Annotated[str, Field(max_length=40), AfterValidator(_time)]


class Session(Strict):
    r"""A file of answers: one rater's session."""

    format: Literal["aotlib-study-answers-1"]
    plan: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    session: Annotated[int, Field(ge=0)]
    rater: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
    simulated: bool
    viewport: Viewport | None = None
    answers: Annotated[list[Timed], Field(max_length=100_000)]


def checked(given: object, where: str) -> dict:
    r"""`given`, when it has the form of a file of answers.

    Raises:
        ValueError: that begins with `where`, and names the field that is wrong.

    Taught in notebook 09.
    """
    try:
        return Session.model_validate(given).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))  # in quotes below: a stranger may have chosen a field's name
        raise ValueError(f"{where}: {place!r}: {first['msg']}") from None

"""What may be asked, and its limits; `/openapi.json` is made from this."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import UsageError

MOST_BYTES = 8 * 2**20  # of one request
Text = Annotated[str, Field(max_length=2**20)]
Texts = Annotated[list[Text], Field(max_length=1024)]

ReplaceUnknown = Annotated[
    bool, Field(description="read the unknown token in place of what the model does not know")
]


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ToClassify(Question):
    """Texts for a classifier."""

    texts: Texts


class ToContinue(Question):
    """Starts whose next token a language model predicts."""

    texts: Texts
    top: int = Field(5, ge=1, le=1000, description="the number of most likely tokens")
    replace_unknown: ReplaceUnknown = False


class ToWrite(Question):
    """Starts that a language model continues."""

    starts: Annotated[list[Text], Field(max_length=64)] = [""]
    length: int = Field(400, ge=1, le=5000, description="tokens")
    temperature: float = Field(0.8, ge=0, le=1000, description="0: always the most likely token")
    seed: int = Field(1, ge=0, le=2**63, description="the same seed writes the same text")
    top_k: int | None = Field(None, ge=1, description="sample from the most likely tokens only")
    context: int | None = Field(None, ge=1, le=10_000, description="read only the last tokens")
    replace_unknown: ReplaceUnknown = False


def question(kind: type[Question], body: bytes) -> Any:
    """Raises UsageError with one line that names the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise UsageError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}") from error


def openapi(name: str, kind: str) -> dict[str, Any]:
    """The description of the server's paths, in OpenAPI 3.1."""
    asked: dict[str, type[Question]] = {
        "/predict": ToClassify if kind == "classifier" else ToContinue
    }
    if kind == "language_model":
        asked["/generate"] = ToWrite
    paths = {
        path: {"post": {"summary": model.__doc__, "requestBody": _body(model), **_ANSWERS}}
        for path, model in asked.items()
    }
    health = {"get": {"summary": "the version that answers", **_ANSWERS}}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"folio serve {name}", "version": "1"},
        "paths": {**paths, "/health": health},
    }


def _body(model: type[Question]) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"required": True, "content": content}


_ANSWERS = {
    "responses": {
        "200": {"description": "the answer"},
        "422": {"description": "the request cannot be answered; `detail` says why"},
        "503": {"description": "too many texts are waiting"},
    }
}

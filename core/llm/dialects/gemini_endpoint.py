"""Where a method of a Gemini model is found: the Gemini API and Vertex AI name the same models in different ways."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from core.llm.common.exceptions import RequestError

_MULTI_REGIONS: Final = frozenset({"us", "eu"})


@dataclass(frozen=True, slots=True)
class GeminiEndpoint:
    """One API of the two, in one version; for Vertex AI also the project and its location."""

    version: str = "v1beta"
    vertex: bool = False
    project: str | None = None
    """Vertex AI only; `None` with an API key, which belongs to a project by itself."""
    location: str = "global"

    def path(self, model: str, method: str) -> str:
        """The path of *method* of *model*, such as `/v1beta/models/gemini-x:generateContent`.

        Raises:
            RequestError: the name would lead to another address.
        """
        parent = "" if model.startswith("projects/") else self._parent()
        return f"/{self.version}/{parent}{quote(self.resource(model), safe='/')}:{method}"

    def resource(self, model: str) -> str:
        """The full name of *model*; project and location are in it only where they were in *model*."""
        if not model or any(step in {"", ".", ".."} for step in model.split("/")):
            raise RequestError(f"{model!r} is no name of a model")
        if not self.vertex:
            return model if "/" in model else f"models/{model}"
        if model.startswith(("projects/", "publishers/", "endpoints/", "models/")):
            return model
        publisher, slash, name = model.partition("/")
        return f"publishers/{publisher}/models/{name}" if slash else f"publishers/google/models/{model}"

    def models_path(self, page: str | None = None) -> str:
        """The path of the model list, or of its next *page*."""
        root = "publishers/google/models" if self.vertex else "models"
        token = f"&pageToken={quote(page, safe='')}" if page else ""
        return f"/{self.version}/{root}?pageSize={100 if self.vertex else 1000}{token}"

    def _parent(self) -> str:
        if not self.vertex or self.project is None:
            return ""
        return f"projects/{quote(self.project, safe='')}/locations/{quote(self.location, safe='')}/"


def bare_name(resource: str) -> str:
    """The model's own name, without publisher, project and location."""
    return resource.rpartition("/")[2]


def vertex_address(location: str) -> str:
    """The address of Vertex AI for *location*: a region, the multi-regions `us` and `eu`, or `global`."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"

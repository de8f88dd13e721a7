"""Routes that Vertex AI names to a container by environment variables; bodies and answers are TensorFlow Serving's.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from tfseg.serving.service import Service

PORT, PREDICT, HEALTH = "AIP_HTTP_PORT", "AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE"
PATH = r"/[\w.~:@!$&'()*+,;=/-]*"


@dataclass(frozen=True)
class VertexRoutes:
    """Paths that Vertex AI calls; None: it does not."""

    predict: str | None = None
    health: str | None = None

    def __contains__(self, path: object) -> bool:
        return path is not None and path in (self.predict, self.health)


def read_routes(environment: Mapping[str, str]) -> VertexRoutes:
    """Reads the paths from environment variables; raises ValueError for what is no path."""
    for name in (PREDICT, HEALTH):
        path = environment.get(name)
        if path is not None and not re.fullmatch(PATH, path, re.ASCII):
            raise ValueError(f"{name}: expected a path such as /predict, got {path!r}")
    return VertexRoutes(environment.get(PREDICT), environment.get(HEALTH))


def add_routes(app: "Flask", service: "Service", routes: VertexRoutes) -> None:
    """Adds the routes to an application, before all others, so that they answer where another has the same path."""
    from tfseg.serving import tensorflow_serving  # here: --help answers without Flask
    from tfseg.serving.service import PROBE

    if routes.predict:

        @app.post(routes.predict)
        def vertex_predict():
            return tensorflow_serving.predict(service)

    if routes.health:

        @app.get(routes.health, endpoint=f"{PROBE}vertex_health")
        def vertex_health():
            service.check_ready()
            return {"ready": True}

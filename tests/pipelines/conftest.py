from tests.pipelines.http_site import site

__all__ = ["site"]

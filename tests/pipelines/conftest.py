from tests.pipelines.http_site import site
from tests.s3_server import bucket, s3

__all__ = ["bucket", "s3", "site"]

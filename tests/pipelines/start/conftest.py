from tests.pipelines.start.chain import chained, copied, pipelines

__all__ = ["chained", "copied", "pipelines"]

from tests.pipelines.mix.mixed_home import copied, mixed, pipelines

__all__ = ["copied", "mixed", "pipelines"]

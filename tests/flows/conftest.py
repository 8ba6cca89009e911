from tests.prefect_server import new_home, prefect_home

__all__ = ["new_home", "prefect_home"]

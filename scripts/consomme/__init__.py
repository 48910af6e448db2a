"""Consommé: train many, average, reduce."""


def __getattr__(name: str) -> str:
    """`__version__`, as pyproject.toml has it; read when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module 'consomme' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("consomme")
    except PackageNotFoundError:  # a clone that is not installed
        import tomllib
        from pathlib import Path

        return tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]["version"]

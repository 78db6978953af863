"""The built model of the ferries, as the tests of `learn` have it."""

from tests.learn.conftest import built, doors, frame, mlflow, system  # noqa: F401  fixtures

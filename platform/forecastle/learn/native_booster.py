"""LightGBM's single-row predictor through its C interface, bit-equal with `lightgbm.Booster.predict`.

Belongs here: finding the shared library, loading checked bytes, one row and many rows to scores.
Does not belong here: training, calibration, writing bundles. The lightgbm package is not imported: 140 MB a process.
C interface: https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import math
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import BundleError
from forecastle.learn.explanation import Explanation
from forecastle.measure.calibrators import log_odds as start_log_odds
from forecastle.measure.calibrators import sigmoid

FloatArray = NDArray[np.float64]

# Constants of c_api.h.
_FLOAT64, _ROW_MAJOR = 1, 1
_PREDICT_NORMAL, _PREDICT_RAW, _PREDICT_CONTRIB = 0, 1, 3
# One row on one thread: two threads cost more in hand-over than 300 trees cost in arithmetic.
_PARAMETERS = b"num_threads=1"
# Rounding of some thousand additions; a wrong part would be a million times larger.
SUM_TOLERANCE = 1e-9


class NativeBooster:
    """A LightGBM text model that answers rows of float64 values in the model's own feature order.

    NaN is LightGBM's missing value. Safe to share between threads: single rows take turns.
    """

    def __init__(self, model_bytes: bytes, *, expected_sha256: str, start: int | None = None) -> None:
        """Load a text model whose SHA-256 is `expected_sha256` (64 hex digits).

        With `start`, the trees were fitted from the log-odds of that column (LightGBM's init score, which its text
        does not hold): those are added to the trees' sum before it becomes a probability.

        Raises:
            BundleError: the digest differs (LightGBM has seen no byte then), or LightGBM refuses the model.
        """
        _verify(model_bytes, expected_sha256)
        self._start = start
        self._kind = _PREDICT_NORMAL if start is None else _PREDICT_RAW
        self._handle = ctypes.c_void_p()
        self._fast = ctypes.c_void_p()
        self._lock = threading.Lock()
        self._library, self._single = _library()
        self.width = self._load(model_bytes)
        self._row = (ctypes.c_double * self.width)()
        self._length, self._score = ctypes.c_int64(0), ctypes.c_double(0.0)
        self._arguments = (ctypes.byref(self._row), ctypes.byref(self._length), ctypes.byref(self._score))
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, self._kind, 0, -1, _FLOAT64, self.width, _PARAMETERS, ctypes.byref(self._fast)
            )
        )

    def score_row(self, values: Sequence[float]) -> float:
        """Score of one row of `width` values.

        Raises:
            BundleError: the row has another length.
        """
        if len(values) != self.width:
            raise BundleError(f"row has {len(values)} values, the model takes {self.width}")
        with self._lock:
            self._row[:] = values  # type: ignore[call-overload]  # ctypes takes any sequence of floats
            status = self._single(self._fast, *self._arguments)
            score = self._score.value
        self._check(status)
        return score if self._start is None else float(_started(score, values[self._start]))

    def scores(self, matrix: FloatArray) -> FloatArray:
        """Scores, shape (rows,), of a (rows, `width`) matrix.

        Raises:
            BundleError: the matrix has another width.
        """
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise BundleError(f"matrix has shape {rows.shape}, the model takes (rows, {self.width})")
        scores = self._of_matrix(rows, self._kind, each=1)
        return scores if self._start is None else np.asarray(_started(scores, rows[:, self._start]), dtype=np.float64)

    def explain_row(self, values: Sequence[float]) -> Explanation:
        """What each feature adds to the log-odds of one row of `width` values (Tree SHAP).

        Lundberg et al. 2020, https://doi.org/10.1038/s42256-019-0138-9. The parts and the expected value add up
        to the log-odds but for rounding, which is checked.

        Raises:
            BundleError: the row has another length.
            ArithmeticError: the parts do not add up.
        """
        if len(values) != self.width:
            raise BundleError(f"row has {len(values)} values, the model takes {self.width}")
        row = np.array([values], dtype=np.float64)
        log_odds = float(self._of_matrix(row, _PREDICT_RAW, each=1)[0])
        *parts, expected = self._of_matrix(row, _PREDICT_CONTRIB, each=self.width + 1).tolist()
        if self._start is not None:
            started = float(start_log_odds(values[self._start]))
            log_odds, parts[self._start] = log_odds + started, parts[self._start] + started
        residual = math.fsum([*parts, expected, -log_odds])
        if not abs(residual) <= SUM_TOLERANCE * max(1.0, abs(log_odds)):
            raise ArithmeticError(f"contributions and expected value miss the log-odds {log_odds!r} by {residual!r}")
        return Explanation(log_odds, expected, tuple(parts), residual)

    def close(self) -> None:
        """Give LightGBM's memory back; the booster answers no more."""
        with self._lock:
            if self._fast:
                self._library.LGBM_FastConfigFree(self._fast)
                self._fast = ctypes.c_void_p()
            if self._handle:
                self._library.LGBM_BoosterFree(self._handle)
                self._handle = ctypes.c_void_p()

    def __del__(self) -> None:
        if hasattr(self, "_library"):
            self.close()

    def _load(self, model_bytes: bytes) -> int:
        """Let LightGBM read the model; how many features it takes."""
        iterations = ctypes.c_int(0)
        self._check(
            self._library.LGBM_BoosterLoadModelFromString(
                model_bytes, ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        if (classes := self._number("LGBM_BoosterGetNumClasses")) != 1:
            raise BundleError(f"model has {classes} classes; one score a row is served")
        return self._number("LGBM_BoosterGetNumFeature")

    def _of_matrix(self, rows: FloatArray, kind: int, *, each: int) -> FloatArray:
        """Numbers of one kind of prediction, `each` a row, for a C-ordered matrix of the right width."""
        numbers = np.empty(rows.shape[0] * each, dtype=np.float64)
        length = ctypes.c_int64(0)
        if rows.shape[0] == 0:
            return numbers
        self._check(
            self._library.LGBM_BoosterPredictForMat(
                self._handle, rows.ctypes.data_as(ctypes.c_void_p), _FLOAT64, rows.shape[0], self.width,
                _ROW_MAJOR, kind, 0, -1, _PARAMETERS, ctypes.byref(length),
                numbers.ctypes.data_as(ctypes.c_void_p),
            )
        )  # fmt: skip
        if length.value != numbers.size:
            raise BundleError(f"the library gives {length.value} numbers where {numbers.size} are expected")
        return numbers

    def _number(self, function: str) -> int:
        out = ctypes.c_int(0)
        self._check(getattr(self._library, function)(self._handle, ctypes.byref(out)))
        return out.value

    def _check(self, status: int) -> None:
        if status != 0:
            text = self._library.LGBM_GetLastError().decode("utf-8", "replace")
            raise BundleError(f"LightGBM refused: {text}")


def _verify(model_bytes: bytes, expected_sha256: str) -> None:
    digest = hashlib.sha256(model_bytes).hexdigest()
    if digest != expected_sha256:
        raise BundleError(f"model has SHA-256 {digest}, expected {expected_sha256}; restore the bundle's files")
    if b"\0" in model_bytes:
        raise BundleError("model text holds a zero byte; write it again with `Booster.model_to_string`")


def _started(score: Any, start: Any) -> Any:
    """Probability of the trees' sum and the log-odds they started from; the same bits for one row and for many."""
    return sigmoid(score + start_log_odds(start))


@cache
def _library() -> tuple[ctypes.CDLL, Callable[..., int]]:
    """The shared library inside the installed lightgbm package, found without importing the package.

    The single-row function is bound apart: it keeps the interpreter's lock, since giving it away and waiting
    for it costs more than the microseconds of one row.
    """
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise BundleError("the lightgbm package is not installed; install the serving requirements")
    name = {"win32": "lib_lightgbm.dll", "darwin": "lib_lightgbm.dylib"}.get(sys.platform, "lib_lightgbm.so")
    folder = Path(spec.origin).parent
    found = next((path for part in ("lib", "bin") if (path := folder / part / name).is_file()), None)
    if found is None:
        raise BundleError(f"{name} is not in {folder}; install lightgbm from a wheel")
    library = ctypes.CDLL(str(found))
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    library.LGBM_GetLastError.restype = text
    library.LGBM_BoosterLoadModelFromString.argtypes = [text, pointer, pointer]
    library.LGBM_BoosterPredictForMatSingleRowFastInit.argtypes = [
        pointer, integer, integer, integer, integer, ctypes.c_int32, text, pointer,
    ]  # fmt: skip
    single: Callable[..., int] = ctypes.PyDLL(str(found)).LGBM_BoosterPredictForMatSingleRowFast
    single.argtypes = [pointer, pointer, pointer, pointer]  # type: ignore[attr-defined]  # a ctypes function
    library.LGBM_BoosterPredictForMat.argtypes = [
        pointer, pointer, integer, ctypes.c_int32, ctypes.c_int32,
        integer, integer, integer, integer, text, pointer, pointer,
    ]  # fmt: skip
    for one in ("LGBM_BoosterFree", "LGBM_FastConfigFree"):
        getattr(library, one).argtypes = [pointer]
    for two in ("LGBM_BoosterGetNumFeature", "LGBM_BoosterGetNumClasses"):
        getattr(library, two).argtypes = [pointer, pointer]
    return library, single

"""From scores of rows to measures: per field, per stream, and their means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.evaluation.outcome import Outcome
from service.evaluation.series import Series, spread

Floats = NDArray[np.float64]
Measures = dict[str, float | int | None]
"""Names and numbers; ``None`` where nothing was scored."""


def units(series: Series, n_rows: int) -> Floats | None:
    """What one is in a report, (S, R): the deviation over the first rows; ``None`` for the field's own unit."""
    if not n_rows:
        return None
    found = np.ones((series.n_streams, len(series.reals)))
    for s, rows in enumerate(series.by_stream()):
        deviation = spread(series.values[rows[series.place[rows] < n_rows]])
        found[s] = np.where(deviation > 0, deviation, 1.0)
    return found


def per_field(series: Series, outcome: Outcome, unit: Floats | None) -> dict[str, Measures]:
    """Measures of each field over all streams, by name."""
    sums, category_sums = _sums(series, outcome, unit)
    found: dict[str, Measures] = {}
    for j, name in enumerate(series.reals):
        found[name] = _of_real(sums[:, :, j].sum(1))
    for j, name in enumerate(series.categories):
        found[name] = _of_category(category_sums[:, :, j].sum(1))
    return {field.name: found[field.name] for field in series.fields}


def per_stream(series: Series, outcome: Outcome, unit: Floats | None) -> list[Measures]:
    """Measures of each stream's real fields, those of one stream side by side; S times R of them."""
    sums, _ = _sums(series, outcome, unit)
    return [_of_real(sums[:, s, j]) for s in range(series.n_streams) for j in range(len(series.reals))]


def mean(cells: Iterable[Measures]) -> Measures:
    """Each measure's mean; of the ratios, their geometric mean. What was not scored is left out."""
    columns: dict[str, list[float]] = {}
    for cell in cells:
        for name, value in cell.items():
            column = columns.setdefault(name, [])
            if value is not None:
                column.append(float(value))
    found: Measures = {}
    for name, numbers in columns.items():
        if name == "rmse_ratio":
            positive = numbers and all(number > 0 for number in numbers)
            found[name] = float(np.exp(np.mean(np.log(numbers)))) if positive else None
        elif name != "scored":
            found[name] = float(np.mean(numbers)) if numbers else None
    return found


def over_seeds(runs: Sequence[Measures]) -> tuple[Measures, Measures]:
    """Mean and standard deviation (of a sample; ``None`` for one run) of the same measures under several seeds."""
    means: Measures = {}
    deviations: Measures = {}
    for name in runs[0]:
        numbers = [run[name] for run in runs]
        known = [float(number) for number in numbers if number is not None]
        whole = name == "scored" and len(set(known)) == 1
        means[name] = (int(known[0]) if whole else float(np.mean(known))) if known else None
        deviations[name] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return means, deviations


def losses(series: Series, outcome: Outcome, unit: Floats | None) -> Floats:
    """One loss per batch, (T,), what methods are compared by; NaN where nothing was scored.

    Squared errors in units of ``unit``, or of persistence's root mean squared error in that stream and field, and nats
    of categories, each averaged over the fields; then averaged over the streams of the batch.
    """
    if unit is None:
        sums, _ = _sums(series, outcome, None)
        n, persistence = sums[0], sums[5]
        unit = np.sqrt(np.where((n > 0) & (persistence > 0), persistence / np.maximum(n, 1), 1.0))
    squares = np.square(outcome.error / unit[series.stream])
    row = _mean_known(squares) + _mean_known(outcome.nats)
    row = np.where(np.isnan(squares).all(1) & np.isnan(outcome.nats).all(1), np.nan, row)
    known = ~np.isnan(row)
    batch = series.batch - (series.batch[0] if len(series) else 0)
    n_known = np.bincount(batch[known], minlength=int(batch.max()) + 1 if len(batch) else 0)
    total = np.bincount(batch[known], row[known], minlength=len(n_known))
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


def _mean_known(columns: Floats) -> Floats:
    """Mean of each row of (N, F) over what is known, (N,); 0 where nothing is."""
    known = ~np.isnan(columns)
    return np.asarray(np.where(known, columns, 0).sum(1) / np.maximum(known.sum(1), 1))


def _sums(series: Series, outcome: Outcome, unit: Floats | None) -> tuple[Floats, Floats]:
    """Sums per stream and field: of reals (7, S, R), of categories (4, S, C); in the order that the measures take."""
    scale = np.ones_like(outcome.error) if unit is None else unit[series.stream]
    known = ~np.isnan(outcome.error) & ~np.isnan(outcome.persistence_error)
    error, persistence = outcome.error / scale, outcome.persistence_error / scale
    columns = (
        *(known, np.square(error), np.abs(error), outcome.crps / scale, outcome.covered),
        *(np.square(persistence), np.abs(persistence)),
    )
    reals = np.stack([_by_stream(series, np.where(known, column, 0.0)) for column in columns])
    for i, column in ((3, outcome.crps), (4, outcome.covered)):  # not every method says how sure it is
        reals[i][_by_stream(series, known & np.isnan(column)) > 0] = np.nan
    named = outcome.rank > 0
    counts = (named, outcome.rank == 1, outcome.repeated & named, np.where(named, outcome.nats, 0.0))
    return reals, np.stack([_by_stream(series, column) for column in counts])


def _by_stream(series: Series, column: np.ndarray) -> Floats:
    """Sum of (N, F) per stream, (S, F)."""
    found = np.zeros((series.n_streams, column.shape[1]))
    for j in range(column.shape[1]):
        found[:, j] = np.bincount(series.stream, column[:, j], minlength=series.n_streams)
    return found


def _of_real(sums: Floats) -> Measures:
    n = sums[0]
    mse, mae, crps, coverage, persistence_mse, persistence_mae = (_over(part, n) for part in sums[1:])
    rmse, persistence_rmse = _root(mse), _root(persistence_mse)
    return {
        "scored": int(n),
        "mse": mse,
        "rmse": rmse,
        "mae": mae,
        "crps": crps,
        "coverage": coverage,
        "persistence_mse": persistence_mse,
        "persistence_rmse": persistence_rmse,
        "persistence_mae": persistence_mae,
        "rmse_ratio": None if rmse is None else _over(rmse, persistence_rmse or 0.0),
    }


def _of_category(sums: Floats) -> Measures:
    n = sums[0]
    return {
        "scored": int(n),
        "accuracy": _over(sums[1], n),
        "persistence_accuracy": _over(sums[2], n),
        "bits": _over(sums[3] / np.log(2), n),
    }


def _over(total: float, n: float) -> float | None:
    return float(total / n) if n and not np.isnan(total) else None


def _root(value: float | None) -> float | None:
    return None if value is None else float(np.sqrt(value))

"""What streamrec reports of its own: lists against the chart, exposure, audience, the price of fairness, causal lift.

Belongs here: tidy tables of test rows and of a log of impressions, thresholds put to them, one picture.
Does not belong here: formulas (`forecastle.measure`), which thresholds (`system.yaml`).

A page is one user at one moment. `answers` are test rows with `probability`, `liked_share` (the chart) and `outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from forecastle.draw.style import BLUE, MUTED, look, one_axes
from forecastle.measure.bootstrap import Interval, mean_interval
from forecastle.measure.decomposition import decompose
from forecastle.measure.exposure import exposure_equity, position_weight, rerank
from forecastle.measure.fairness import disparity, group_rates, intersections
from forecastle.measure.lift import naive_lift
from forecastle.measure.ranking import METRICS, rank_users, ranking_table
from forecastle.measure.scores import auc_interval, brier_scores, normal_quantile

MODEL, CHART, DIFFERENCE = "model", "chart", "difference"
HEAD, TAIL = "head", "tail"
HEAD_SHARE = 0.25
RERANKED_CANDIDATES = 50
MINIMUM_SHARES = (0.1, 0.2, 0.3, 0.4)
PREFERRED_SHARE = 0.25
NAIVE, OFF_POLICY, EXPERIMENT = "naive", "off_policy", "experiment"
LEVEL = 0.95


def rankings(answers: pd.DataFrame, *, depth: int, long_depth: int) -> pd.DataFrame:
    """Hit, recall and NDCG at both depths: of the model, of the chart, and their difference page by page.

    Pages on which nothing was liked are left out; intervals are over pages.
    """
    found = {MODEL: _ranked(answers, "probability", (depth, long_depth))}
    found[CHART] = _ranked(answers, "liked_share", (depth, long_depth))
    tables = [ranking_table(pages).assign(forecaster=name) for name, pages in found.items()]
    tables.append(_difference(found[MODEL], found[CHART]))
    columns = ["forecaster", "metric", "k", "users", "estimate", "low", "high"]
    return pd.concat(tables, ignore_index=True)[columns].rename(columns={"users": "pages"})


def draw_rankings(table: pd.DataFrame) -> Any:
    """Each metric with its interval, the model beside the chart."""
    with look():
        figure, axes = one_axes("Lists of the model and of the chart", "Mean over pages with 95 % intervals")
        cells = table[table["forecaster"] != DIFFERENCE]
        names = [f"{row.metric}@{row.k}" for row in cells[cells["forecaster"] == CHART].itertuples()]
        for name, color, offset in ((MODEL, BLUE, 0.12), (CHART, MUTED, -0.12)):
            part = cells[cells["forecaster"] == name]
            spread = [part["estimate"] - part["low"], part["high"] - part["estimate"]]
            places = np.arange(len(part)) + offset
            axes.errorbar(part["estimate"], places, xerr=spread, fmt="o", color=color, label=name)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 1)
        axes.legend(loc="lower right", frameon=False)
    return figure


def exposure(answers: pd.DataFrame, *, depth: int, resamples: int, seed: int) -> pd.DataFrame:
    """Attention on the first places by genre, and by head and tail of the chart, for what was liked of each.

    The catalogue names no creators: the head is the first quarter of each page in the chart's order, where the few
    stand whom everybody knows. Users are resampled whole.
    """
    pages = _placed(answers)
    shown = pages[pages["position"] <= depth]
    tables = []
    for grouping in ("genre", "tier"):
        equity = exposure_equity(
            shown["position"], shown[grouping],
            utility=shown["outcome"].astype(float), clusters=shown["user_id"], resamples=resamples, seed=seed,
        )  # fmt: skip
        weight = position_weight(shown["position"])
        shares = pd.Series(weight).groupby(shown[grouping].to_numpy()).sum() / weight.sum()
        on_pages = pages[grouping].value_counts(normalize=True)
        equity["exposure_share"] = equity["group"].map(shares)
        equity["catalogue_share"] = equity["group"].map(on_pages)
        tables.append(equity.assign(grouping=grouping))
    found = pd.concat(tables, ignore_index=True)
    kept = found[found["measure"].isin(["exposure", "utility", "exposure_per_utility"])]
    return kept[["grouping", "group", "measure", "n", "exposure_share", "catalogue_share", "estimate", "low", "high"]]


def audience(answers: pd.DataFrame, *, depth: int, pages_min: int, tolerance: float) -> pd.DataFrame:
    """Share of pages with something liked on the first places, by gender, age and their intersections.

    A group fails when it lies below all others by more than `tolerance` and chance does not explain it
    (Benjamini-Hochberg); groups of fewer than `pages_min` pages are shown and not judged.
    """
    pages = _pages(answers)
    ranked = _ranked(answers, "probability", (depth,)).set_index("user")
    pages = pages.assign(hit=pages["page"].map(ranked["hit"])).dropna(subset=["hit"])
    hits = (pages["hit"] > 0.5).astype(int)
    groupings = {name: pages[name].to_numpy() for name in ("gender", "age_band")}
    groupings["gender × age_band"] = intersections(dict(groupings))
    tables = []
    for grouping, groups in groupings.items():
        rates = group_rates(hits, hits, groups, minimum_rows=pages_min)
        found = disparity(rates, metric="base_rate", tolerance=tolerance)
        below = found.groups["is_flagged"] & (found.groups["difference"] < 0)
        verdict = np.where(found.groups["is_small"], None, np.where(below, "FAIL", "PASS"))
        tables.append(found.groups.assign(grouping=grouping, verdict=verdict, omnibus_p_value=found.omnibus_p_value))
    columns = ["grouping", "group", "n", "rate", "low", "high", "shrunken_rate", "difference", "difference_low"]
    columns += ["difference_high", "q_value", "omnibus_p_value", "reason", "verdict"]
    return pd.concat(tables, ignore_index=True)[columns]


def minimum_exposure(answers: pd.DataFrame, *, depth: int) -> pd.DataFrame:
    """What each least share of the attention for the tail costs: expected likes, and likes that came.

    The candidates of a page are its best 50 by probability; pages with fewer are left out.
    """
    merit, tiers, liked = _candidates(answers)
    weights = position_weight(np.arange(1, depth + 1))
    before = (liked[:, :depth] @ weights).sum()
    rows = []
    for share in MINIMUM_SHARES:
        made = rerank(merit, tiers, minimum_share={TAIL: share}, k=depth)
        tail = made.shares.set_index("group").loc[TAIL]
        after = (np.take_along_axis(liked, made.order, axis=1) @ weights).sum()
        came = float(after / before) if before > 0 else np.nan
        numbers = (tail["share_before"], tail["share_after"], made.utility_kept_ratio, came, int(tail["lists_short"]))
        rows.append((share, len(merit), *numbers))
    columns = ["minimum_share", "pages", "share_before", "share_after"]
    return pd.DataFrame(rows, columns=[*columns, "expected_likes_kept_ratio", "likes_kept_ratio", "pages_short"])


def off_policy(impressions: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Clicks per impression of preferred items minus those of all others, by three methods, for each campaign.

    Preferred is the quarter of a campaign's items with most clicks per impression in the first half of the policy's
    log. naive: the same half, as a dashboard shows it. off_policy: the second half, each impression weighted by 1 over
    its logged probability. experiment: the log of the uniform policy, where nothing chose.
    """
    rows = []
    for campaign, log in impressions.groupby("campaign"):
        items = log["item_id"].nunique()
        own, uniform = (log[log["policy"] == name].sort_values(["ts", "impression_id"]) for name in ("bts", "random"))
        first, second = own.iloc[: len(own) // 2], own.iloc[len(own) // 2 :]
        preferred = _preferred(first, items)
        effect = _off_policy_effect(second, preferred, items, seed=seed)
        rows.append((campaign, NAIVE, len(first), *_lift(first, preferred)))
        rows.append((campaign, OFF_POLICY, len(second), effect.estimate, effect.low, effect.high))
        rows.append((campaign, EXPERIMENT, len(uniform), *_lift(uniform, preferred)))
    table = pd.DataFrame(rows, columns=["campaign", "method", "rows", "estimate", "low", "high"])
    truth = table[table["method"] == EXPERIMENT].set_index("campaign")["estimate"]
    return table.assign(times_experiment=table["estimate"] / table["campaign"].map(truth))


def levels(answers: pd.DataFrame, impressions: pd.DataFrame, *, depth: int, seed: int, **limits: float) -> pd.DataFrame:
    """Component, system and business in one table: what is asked, what was found, PASS or FAIL.

    A lower limit is put to the interval's lower end, an upper one to its upper end: what is not shown fails. Where
    there is no interval, low and high are the estimate.
    """
    asked = [
        *_component(answers, limits, seed=seed),
        *_system(answers, limits, depth=depth),
        *_fair_share(answers, limits, depth=depth),
        *_business(impressions, limits, seed=seed),
    ]
    columns = ["level", "measure", "estimate", "low", "high", "limit", "threshold"]
    table = pd.DataFrame(asked, columns=columns)
    holds = np.where(table["limit"] == "min", table["low"] >= table["threshold"], table["high"] <= table["threshold"])
    return table.assign(verdict=np.where(holds, "PASS", "FAIL"))


Asked = tuple[str, str, float, float, float, str, float]
Limits = Mapping[str, float]


def _component(answers: pd.DataFrame, limits: Limits, *, seed: int) -> list[Asked]:
    """Is the probability itself any good?"""
    y, p = answers["outcome"], answers["probability"]
    area = auc_interval(y, p, clusters=answers["user_id"])
    gains = brier_scores(y, answers["liked_share"]) - brier_scores(y, p)
    gain = mean_interval(gains, clusters=answers["user_id"], seed=seed)
    miscalibration = decompose(y, p).miscalibration
    return [
        ("component", "auc", area.auc, area.low, area.high, "min", limits["auc_min"]),
        ("component", "brier_gain_on_chart", gain.estimate, gain.low, gain.high, "min", limits["brier_gain_min"]),
        ("component", "miscalibration", *([miscalibration] * 3), "max", limits["miscalibration_max"]),
    ]


def _system(answers: pd.DataFrame, limits: Limits, *, depth: int) -> list[Asked]:
    """Is the page any good?"""
    table = rankings(answers, depth=depth, long_depth=2 * depth).set_index(["forecaster", "metric", "k"])
    asked = [
        (MODEL, "hit", f"hit@{depth}", limits["hit_min"]),
        (DIFFERENCE, "ndcg", f"ndcg@{depth}_gain_on_chart", limits["ndcg_gain_min"]),
        (DIFFERENCE, "recall", f"recall@{depth}_gain_on_chart", limits["recall_gain_min"]),
    ]
    found = [(told, table.loc[(who, metric, depth)], least) for who, metric, told, least in asked]
    return [("system", told, row["estimate"], row["low"], row["high"], "min", least) for told, row, least in found]


def _fair_share(answers: pd.DataFrame, limits: Limits, *, depth: int) -> list[Asked]:
    """Who gets the attention, and what a fifth of it for the tail would cost."""
    prices = minimum_exposure(answers, depth=depth).set_index("minimum_share").loc[0.2]
    share, cost = float(prices["share_before"]), 1.0 - float(prices["expected_likes_kept_ratio"])
    return [
        ("system", "tail_exposure_share", share, share, share, "min", limits["tail_exposure_min"]),
        ("system", "cost_of_20_pct_tail_exposure", cost, cost, cost, "max", limits["exposure_cost_max"]),
    ]


def _business(impressions: pd.DataFrame, limits: Limits, *, seed: int) -> list[Asked]:
    """Does it cause anything? Nothing is asked where there is no log of impressions."""
    if impressions.empty:
        return []
    asked: list[Asked] = []
    table = off_policy(impressions, seed=seed).set_index(["campaign", "method"])
    for campaign in table.index.get_level_values("campaign").unique():
        effect, naive = table.loc[(campaign, OFF_POLICY)], table.loc[(campaign, NAIVE), "estimate"]
        numbers = (effect["estimate"], effect["low"], effect["high"])
        # Of an effect that is not above 0 no naive lift is a fair multiple.
        ratio = naive / effect["estimate"] if effect["estimate"] > 0 else np.inf
        asked.append(("business", f"off_policy_lift_{campaign}", *numbers, "min", limits["lift_min"]))
        asked.append(
            ("business", f"naive_over_off_policy_{campaign}", ratio, ratio, ratio, "max", limits["naive_ratio_max"])
        )
    return asked


def _pages(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a page: its name and its user."""
    named = answers.assign(page=_page_names(answers))
    return named.drop_duplicates("page")[["page", "user_id", "gender", "age_band"]]


def _ranked(answers: pd.DataFrame, score: str, depths: tuple[int, ...]) -> pd.DataFrame:
    return rank_users(_page_names(answers), answers[score], answers["outcome"], k=depths)


def _page_names(answers: pd.DataFrame) -> pd.Series:
    """The same for every film of a page."""
    return answers["user_id"].astype(str) + "@" + answers["predict_at"].dt.strftime("%Y-%m-%dT%H:%M:%S")


def _difference(model: pd.DataFrame, chart: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of the pages on which something was liked, mean ± z sd / sqrt(pages)."""
    both = model.merge(chart, on=["user", "k"], suffixes=("", "_chart"))
    both = both[both["relevant"] > 0]
    rows = []
    for depth, part in both.groupby("k"):
        for metric in METRICS:
            gains = (part[metric] - part[f"{metric}_chart"]).to_numpy()
            half = normal_quantile(LEVEL) * gains.std(ddof=1) / np.sqrt(gains.size)
            rows.append((DIFFERENCE, metric, depth, gains.size, gains.mean(), gains.mean() - half, gains.mean() + half))
    return pd.DataFrame(rows, columns=["forecaster", "metric", "k", "users", "estimate", "low", "high"])


def _placed(answers: pd.DataFrame) -> pd.DataFrame:
    """Rows with their place on the page, and whether the film stands in the head of the page's chart."""
    by = {"user_id": True, "predict_at": True, "probability": False, "item_id": True}
    ordered = answers.sort_values(list(by), ascending=list(by.values()))
    page = ordered.groupby(["user_id", "predict_at"])
    in_chart = page["liked_share"].rank(method="first", ascending=False)
    is_head = in_chart <= HEAD_SHARE * page["item_id"].transform("size")
    return ordered.assign(position=page.cumcount() + 1, tier=np.where(is_head, HEAD, TAIL))


def _candidates(answers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, tier and outcome of the best candidates of each page, (pages, candidates)."""
    placed = _placed(answers)
    size = placed.groupby(["user_id", "predict_at"])["item_id"].transform("size")
    kept = placed[(size >= RERANKED_CANDIDATES) & (placed["position"] <= RERANKED_CANDIDATES)]
    shape = (-1, RERANKED_CANDIDATES)
    merit, tiers = kept["probability"].to_numpy().reshape(shape), kept["tier"].to_numpy().reshape(shape)
    return merit, tiers, kept["outcome"].to_numpy(np.float64).reshape(shape)


def _preferred(log: pd.DataFrame, items: int) -> set[Any]:
    """The quarter of the items with most clicks per impression, each with the prior of one average impression."""
    found = log.groupby("item_id")["click"].agg(["sum", "size"])
    rate = (found["sum"] + log["click"].mean()) / (found["size"] + 1.0)
    return set(rate.sort_values(ascending=False, kind="stable").index[: max(1, int(PREFERRED_SHARE * items))])


def _lift(log: pd.DataFrame, preferred: set[Any]) -> tuple[float, float, float]:
    found = naive_lift(log["click"], log["item_id"].isin(preferred).astype(int), level=LEVEL)
    return found.estimate, found.low, found.high


def _off_policy_effect(log: pd.DataFrame, preferred: set[Any], items: int, *, seed: int) -> Interval:
    """Value of a uniform choice among the preferred less that of one among the others (inverse propensities)."""
    chosen = log["item_id"].isin(preferred).to_numpy()
    target = np.where(chosen, 1.0 / len(preferred), -1.0 / (items - len(preferred)))
    return mean_interval(log["click"].to_numpy() * target / log["action_prob"].to_numpy(), level=LEVEL, seed=seed)

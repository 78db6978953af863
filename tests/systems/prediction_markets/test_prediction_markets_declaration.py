"""The declaration of prediction markets: what it promises, and where each number comes from."""

from __future__ import annotations

from forecastle.contract.load import LoadedSystem

SIX = {
    "poll_avg_7d",
    "market_price",
    "volume_24h",
    "poll_market_spread",
    "days_to_resolution",
    "price_volatility_7d",
}
THREE = {"urgency", "log_volume", "spread_vol_ratio"}


def test_the_six_features_and_the_three_on_demand_ones_exist(system: LoadedSystem) -> None:
    """Six features come from SQL and three from Python, and the model reads all nine."""
    views = {name for view in system.declaration.feature_views.values() for name in view.features}
    on_demand = {name for group in system.declaration.on_demand.values() for name in group.features}
    assert views == SIX
    assert on_demand == THREE
    assert set(system.declaration.model_features("lightgbm")) == SIX | THREE


def test_only_the_price_is_required(system: LoadedSystem) -> None:
    """What real data cannot give is nullable; without any price there is no prediction."""
    features = system.declaration.features()
    assert {name for name, feature in features.items() if not feature.nullable} == {"market_price"}
    assert system.declaration.evaluate.baseline == "market_price"


def test_lineage_reaches_the_raw_columns(system: LoadedSystem) -> None:
    """Each feature is traced to the source columns that its value is computed from."""
    quotes = system.lineage("market_quotes.sql")
    assert ("quotes", "value") in quotes["market_price"]
    assert ("quotes", "value") in quotes["price_volatility_7d"]
    assert {("markets", "close_ts"), ("markets", "known_at")} <= set(quotes["days_to_resolution"])
    polls = system.lineage("market_polls.sql")
    assert ("polls", "pct") in polls["poll_avg_7d"]
    assert {("polls", "pct"), ("quotes", "value")} <= set(polls["poll_market_spread"])
    assert ("trades", "size_usd") in system.lineage("market_trades.sql")["volume_24h"]
    assert ("resolutions", "resolved_to") in system.lineage("resolution.sql")["outcome"]

-- One row per market and instant at which a price or a trade became known, as of that instant.
-- Prices make rows too: a day without trades must say zero, not repeat the last busy one.
WITH instants AS (
  SELECT quotes.mid, quotes.known_at FROM quotes
  UNION
  SELECT trades.mid, trades.known_at FROM trades
),
first_trades AS (
  SELECT trades.mid, MIN(trades.known_at) AS known_at
  FROM trades
  GROUP BY trades.mid
),
recent AS (
  SELECT
    instants.mid,
    instants.known_at,
    -- The order makes the sum, and so the last bit, the same in every run.
    SUM(trades.size_usd ORDER BY trades.trade_id) AS volume_usd
  FROM instants
  INNER JOIN trades
    ON trades.mid = instants.mid
    AND trades.known_at <= instants.known_at
    AND trades.traded_at > instants.known_at - INTERVAL 24 HOUR
    AND trades.traded_at <= instants.known_at
  GROUP BY instants.mid, instants.known_at
)
SELECT
  CAST(instants.mid AS BIGINT) AS market_id,
  instants.known_at AS event_at,
  instants.known_at AS known_at,
  -- Null where no trade of the market was ever known: nobody reports its trades, which is not the same as none.
  CASE WHEN first_trades.mid IS NOT NULL THEN COALESCE(recent.volume_usd, 0.0) END AS volume_24h
FROM instants
LEFT JOIN first_trades ON first_trades.mid = instants.mid AND first_trades.known_at <= instants.known_at
LEFT JOIN recent ON recent.mid = instants.mid AND recent.known_at = instants.known_at

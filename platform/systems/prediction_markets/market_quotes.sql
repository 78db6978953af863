-- One row per market and instant at which a price or the closing time became known.
-- event_at is the day of the newest price, so a late price cannot make an old one look fresh.
WITH versions AS (
  -- A price holds from the instant it was known until it was restated; only instants in between may read it.
  SELECT
    quotes.mid,
    quotes.value_date,
    CAST(quotes.value AS DOUBLE) AS price,
    quotes.known_at,
    LEAD(quotes.known_at) OVER (PARTITION BY quotes.mid, quotes.value_date ORDER BY quotes.known_at) AS restated_at
  FROM quotes
),
knowledge AS (
  SELECT versions.mid, versions.known_at, versions.value_date FROM versions
  UNION ALL
  SELECT markets.mid, markets.known_at, CAST(NULL AS DATE) AS value_date FROM markets
),
instants AS (
  SELECT
    knowledge.mid,
    knowledge.known_at,
    MAX(MAX(knowledge.value_date)) OVER (PARTITION BY knowledge.mid ORDER BY knowledge.known_at) AS price_date
  FROM knowledge
  GROUP BY knowledge.mid, knowledge.known_at
),
weeks AS (
  SELECT
    instants.mid,
    instants.known_at,
    instants.price_date,
    MAX(CASE WHEN versions.value_date = instants.price_date THEN versions.price END) AS market_price,
    -- The order makes the sum, and so the last bit, the same in every run.
    STDDEV_SAMP(versions.price ORDER BY versions.value_date) AS price_volatility_7d
  FROM instants
  INNER JOIN versions
    ON versions.mid = instants.mid
    AND versions.value_date > instants.price_date - INTERVAL 7 DAY
    AND versions.value_date <= instants.price_date
    AND versions.known_at <= instants.known_at
    AND (versions.restated_at IS NULL OR versions.restated_at > instants.known_at)
  GROUP BY instants.mid, instants.known_at, instants.price_date
)
SELECT
  CAST(weeks.mid AS BIGINT) AS market_id,
  CAST(weeks.price_date AS TIMESTAMPTZ) AS event_at,
  weeks.known_at AS known_at,
  weeks.market_price AS market_price,
  weeks.price_volatility_7d AS price_volatility_7d,
  (EPOCH(markets.close_ts) - EPOCH(weeks.known_at)) / 86400.0 AS days_to_resolution
FROM weeks
LEFT JOIN markets ON markets.mid = weeks.mid AND markets.known_at <= weeks.known_at

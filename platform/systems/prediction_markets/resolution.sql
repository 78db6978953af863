-- One row per resolved market, Monday 00:00 UTC and version of its outcome.
-- The Mondays are the same for all markets, as live questions are, so that the first ones of a market are asked at no
-- special age. They lie after the first known price and before any outcome was known, right or wrong; a corrected
-- outcome is a further row with its own known_at, so training sees what was believed at its time.
WITH listings AS (
  SELECT
    quotes.mid,
    MIN(quotes.source) AS platform,
    MIN(quotes.known_at) AS first_known_at
  FROM quotes
  GROUP BY quotes.mid
),
stated AS (
  SELECT
    resolutions.mid,
    resolutions.resolved_to,
    resolutions.known_at,
    MIN(resolutions.known_at) OVER (PARTITION BY resolutions.mid) AS first_resolved_at,
    LAG(resolutions.resolved_to) OVER (
      PARTITION BY resolutions.mid ORDER BY resolutions.known_at, resolutions.resolution_date
    ) AS stated_before
  FROM resolutions
),
outcomes AS (
  -- A row that repeats the outcome with another date is no new version.
  SELECT stated.mid, stated.resolved_to, stated.known_at, stated.first_resolved_at
  FROM stated
  WHERE stated.stated_before IS NULL OR stated.stated_before <> stated.resolved_to
),
weekly AS (
  SELECT
    outcomes.mid,
    listings.platform,
    outcomes.resolved_to,
    outcomes.known_at,
    UNNEST(GENERATE_SERIES(
      DATE_TRUNC('week', listings.first_known_at) + INTERVAL 7 DAY,
      outcomes.first_resolved_at - INTERVAL 1 MICROSECOND,
      INTERVAL 7 DAY
    )) AS predict_at
  FROM outcomes
  INNER JOIN listings ON listings.mid = outcomes.mid
  WHERE listings.first_known_at < outcomes.first_resolved_at
)
SELECT
  CAST(weekly.mid AS BIGINT) AS market_id,
  weekly.predict_at AS predict_at,
  CAST(weekly.resolved_to AS BIGINT) AS outcome,
  weekly.known_at AS known_at,
  weekly.platform AS platform
FROM weekly

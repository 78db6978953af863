-- One row per market and instant at which a price or a poll of its race became known, as of that instant.
-- Markets without a linked race get rows of nulls: "no poll" is knowledge too, and no reason to call an answer degraded.
WITH linked AS (
  SELECT
    market_races.mid,
    polls.question_id,
    polls.pct,
    CAST(polls.end_date AS TIMESTAMPTZ) AS ended_at,
    GREATEST(polls.created_at, market_races.known_at) AS known_at
  FROM market_races
  INNER JOIN polls
    ON polls.race_id = market_races.race_id AND polls.candidate_name = market_races.candidate_name
),
knowledge AS (
  SELECT quotes.mid, quotes.known_at, quotes.value_date FROM quotes
  UNION ALL
  -- Some polls were entered before their field work ended: they count from its end on, and make no row of their own.
  SELECT linked.mid, linked.known_at, CAST(NULL AS DATE) AS value_date FROM linked
  WHERE linked.ended_at <= linked.known_at
),
instants AS (
  SELECT
    knowledge.mid,
    knowledge.known_at,
    MAX(MAX(knowledge.value_date)) OVER (PARTITION BY knowledge.mid ORDER BY knowledge.known_at) AS price_date
  FROM knowledge
  GROUP BY knowledge.mid, knowledge.known_at
),
prices AS (
  SELECT
    quotes.mid,
    quotes.value_date,
    CAST(quotes.value AS DOUBLE) AS price,
    quotes.known_at,
    LEAD(quotes.known_at) OVER (PARTITION BY quotes.mid, quotes.value_date ORDER BY quotes.known_at) AS restated_at
  FROM quotes
),
priced AS (
  -- A price older than the view's time to live is no price to compare with.
  SELECT instants.mid, instants.known_at, prices.price
  FROM instants
  LEFT JOIN prices
    ON prices.mid = instants.mid
    AND prices.value_date = instants.price_date
    AND prices.value_date > instants.known_at - INTERVAL 7 DAY
    AND prices.known_at <= instants.known_at
    AND (prices.restated_at IS NULL OR prices.restated_at > instants.known_at)
),
polled AS (
  SELECT
    instants.mid,
    instants.known_at,
    -- The order makes the sum, and so the last bit, the same in every run.
    AVG(linked.pct ORDER BY linked.question_id) / 100.0 AS poll_avg_7d
  FROM instants
  INNER JOIN linked
    ON linked.mid = instants.mid
    AND linked.known_at <= instants.known_at
    AND linked.ended_at > instants.known_at - INTERVAL 7 DAY
    AND linked.ended_at <= instants.known_at
  GROUP BY instants.mid, instants.known_at
)
SELECT
  CAST(priced.mid AS BIGINT) AS market_id,
  priced.known_at AS event_at,
  priced.known_at AS known_at,
  polled.poll_avg_7d AS poll_avg_7d,
  polled.poll_avg_7d - priced.price AS poll_market_spread
FROM priced
LEFT JOIN polled ON polled.mid = priced.mid AND polled.known_at = priced.known_at

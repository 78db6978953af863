-- One row per first of a month (00:00 UTC) and customer with an order in the 180 days before: 1 where no order follows
-- within 90 days. Good news is not known earlier than bad: every outcome of a month becomes known together, 90 days on,
-- and only once the order book reaches that far. The first month has 180 days of history behind it.
WITH history AS (
  SELECT MIN(orders.event_at) AS first_at, MAX(orders.known_at) AS last_known_at
  FROM orders
),
months AS (
  SELECT
    UNNEST(GENERATE_SERIES(
      DATE_TRUNC('month', history.first_at + INTERVAL 180 DAY) + INTERVAL 1 MONTH,
      history.last_known_at - INTERVAL 90 DAY,
      INTERVAL 1 MONTH
    )) AS predict_at
  FROM history
)
SELECT
  CAST(orders.customer_id AS BIGINT) AS customer_id,
  months.predict_at AS predict_at,
  1 - CAST(MAX(CASE WHEN orders.event_at > months.predict_at THEN 1 ELSE 0 END) AS BIGINT) AS outcome,
  months.predict_at + INTERVAL 90 DAY AS known_at,
  CASE
    WHEN MIN(CASE WHEN orders.event_at <= months.predict_at THEN orders.country END) = 'United Kingdom' THEN 'home'
    ELSE 'abroad'
  END AS region
FROM months
INNER JOIN orders
  ON orders.kind = 'order'
  AND orders.event_at > months.predict_at - INTERVAL 180 DAY
  AND orders.event_at <= months.predict_at + INTERVAL 90 DAY
GROUP BY orders.customer_id, months.predict_at
HAVING MIN(orders.event_at) <= months.predict_at

-- One row per week and customer with an order in the 180 days before, taken at the week's first booking: a moment that
-- the order book itself tells, so that no clock is needed and an earlier week never changes.
WITH weeks AS (
  SELECT MIN(orders.known_at) AS taken_at
  FROM orders
  GROUP BY DATE_TRUNC('week', orders.known_at)
),
booked AS (
  -- What each customer booked in the 180 days before each week; a cancellation takes money back and is no order.
  SELECT
    orders.customer_id,
    weeks.taken_at,
    orders.event_at,
    orders.kind,
    orders.amount,
    orders.kind = 'order' AS is_order,
    orders.event_at > weeks.taken_at - INTERVAL 30 DAY AS is_30d,
    orders.event_at > weeks.taken_at - INTERVAL 90 DAY AS is_90d
  FROM weeks
  INNER JOIN orders
    ON orders.known_at <= weeks.taken_at
    AND orders.event_at > weeks.taken_at - INTERVAL 180 DAY
),
windows AS (
  SELECT
    booked.customer_id,
    booked.taken_at,
    MIN(CASE WHEN booked.is_order THEN booked.event_at END) AS first_at,
    MAX(CASE WHEN booked.is_order THEN booked.event_at END) AS last_at,
    COUNT(CASE WHEN booked.is_order AND booked.is_30d THEN 1 END) AS orders_30d,
    COUNT(CASE WHEN booked.is_order AND booked.is_90d THEN 1 END) AS orders_90d,
    COUNT(CASE WHEN booked.is_order THEN 1 END) AS orders_180d,
    COUNT(CASE WHEN NOT booked.is_order THEN 1 END) AS cancels_180d,
    -- The order makes the sum, and so the last bit, the same in every run.
    SUM(CASE WHEN booked.is_90d THEN booked.amount ELSE 0.0 END ORDER BY booked.event_at, booked.kind) AS revenue_90d,
    SUM(booked.amount ORDER BY booked.event_at, booked.kind) AS revenue_180d
  FROM booked
  GROUP BY booked.customer_id, booked.taken_at
)
SELECT
  CAST(windows.customer_id AS BIGINT) AS customer_id,
  windows.taken_at AS event_at,
  windows.taken_at AS known_at,
  (EPOCH(windows.taken_at) - EPOCH(windows.last_at)) / 86400.0 AS days_since_last_order,
  CASE
    WHEN windows.orders_180d > 1
      THEN (EPOCH(windows.last_at) - EPOCH(windows.first_at)) / (86400.0 * (windows.orders_180d - 1))
  END AS mean_gap_days,
  windows.orders_30d AS orders_30d,
  windows.orders_90d AS orders_90d,
  windows.orders_180d AS orders_180d,
  windows.cancels_180d AS cancels_180d,
  windows.revenue_90d AS revenue_90d_gbp,
  windows.revenue_180d AS revenue_180d_gbp
FROM windows
WHERE windows.orders_180d > 0

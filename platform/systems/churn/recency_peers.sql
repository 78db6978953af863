-- What a table of the past says: of customers who had been quiet for as many months (of 30 days) in any week whose 90
-- days are over by now, the share that did not order again. (lost + 1) / (customers + 2) is one half where there is no
-- past yet (rule of succession). Same weeks as customer_activity.
WITH weeks AS (
  SELECT MIN(orders.known_at) AS taken_at
  FROM orders
  GROUP BY DATE_TRUNC('week', orders.known_at)
),
customers AS (
  SELECT
    orders.customer_id,
    weeks.taken_at,
    FLOOR((EPOCH(weeks.taken_at) - EPOCH(MAX(orders.event_at))) / 2592000.0) AS quiet_months
  FROM weeks
  INNER JOIN orders
    ON orders.kind = 'order'
    AND orders.known_at <= weeks.taken_at
    AND orders.event_at > weeks.taken_at - INTERVAL 180 DAY
  GROUP BY orders.customer_id, weeks.taken_at
),
returns AS (
  -- When each of them ordered next.
  SELECT
    customers.customer_id,
    customers.taken_at,
    customers.quiet_months,
    MIN(orders.event_at) AS next_at
  FROM customers
  LEFT JOIN orders
    ON orders.customer_id = customers.customer_id
    AND orders.kind = 'order'
    AND orders.event_at > customers.taken_at
    AND orders.event_at <= customers.taken_at + INTERVAL 90 DAY
  GROUP BY customers.customer_id, customers.taken_at, customers.quiet_months
),
settled AS (
  SELECT
    returns.taken_at,
    returns.quiet_months,
    COUNT(*) AS customers,
    COUNT(*) - COUNT(returns.next_at) AS lost
  FROM returns
  GROUP BY returns.taken_at, returns.quiet_months
),
shares AS (
  SELECT
    weeks.taken_at,
    settled.quiet_months,
    (SUM(settled.lost) + 1.0) / (SUM(settled.customers) + 2.0) AS churn_share
  FROM weeks
  INNER JOIN settled ON settled.taken_at <= weeks.taken_at - INTERVAL 90 DAY
  GROUP BY weeks.taken_at, settled.quiet_months
)
SELECT
  CAST(customers.customer_id AS BIGINT) AS customer_id,
  customers.taken_at AS event_at,
  customers.taken_at AS known_at,
  COALESCE(shares.churn_share, 0.5) AS peers_churn_share
FROM customers
LEFT JOIN shares ON shares.taken_at = customers.taken_at AND shares.quiet_months = customers.quiet_months

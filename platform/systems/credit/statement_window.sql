-- What the newest {{months}} statements of a client say together, one row for each statement. Fewer are taken as they are.
WITH windows AS (
  SELECT
    newest.id,
    newest.known_at,
    AVG(CASE WHEN past.pay_status >= 2 THEN 1.0 ELSE 0.0 END) AS late_share,
    MAX(past.pay_status) AS worst_status,
    -- The order makes the sum, and so the last bit, the same in every run.
    AVG(CAST(past.bill_amt AS DOUBLE) ORDER BY past.event_at) AS mean_bill,
    SUM(CAST(past.pay_amt AS DOUBLE) ORDER BY past.event_at) AS paid,
    SUM(CAST(GREATEST(past.bill_amt, 0) AS DOUBLE) ORDER BY past.event_at) AS billed
  FROM statements AS newest
  INNER JOIN statements AS past
    ON past.id = newest.id
    AND past.event_at <= newest.event_at
    AND past.event_at > newest.event_at - INTERVAL {{months}} MONTH
  GROUP BY newest.id, newest.known_at
)
SELECT
  CAST(windows.id AS BIGINT) AS client_id,
  windows.known_at AS event_at,
  windows.known_at AS known_at,
  windows.late_share AS late_share_{{months}}m,
  CAST(windows.worst_status AS BIGINT) AS worst_status_{{months}}m,
  windows.mean_bill AS mean_bill_{{months}}m_ntd,
  CASE WHEN windows.billed > 0.0 THEN LEAST(windows.paid / windows.billed, 2.0) END AS paid_share_{{months}}m
FROM windows

-- What the customer of a loan paid back in the {{days}} days before, one row a loan.
WITH repaid AS (
  SELECT
    asked.loan_id,
    repayments.closeddate,
    repayments.systemloanid,
    repayments.loanamount,
    (EPOCH(repayments.closeddate) - EPOCH(repayments.approveddate)) / 86400.0 - repayments.termdays AS days_late,
    (EPOCH(repayments.firstrepaiddate) - EPOCH(repayments.firstduedate)) / 86400.0 AS first_days_late
  FROM asked
  INNER JOIN repayments
    ON repayments.customer_id = asked.customer_id
    AND repayments.known_at <= asked.known_at
    AND repayments.known_at > asked.known_at - INTERVAL {{days}} DAY
),
sums AS (
  SELECT
    repaid.loan_id,
    COUNT(*) AS loans,
    AVG(CASE WHEN repaid.days_late > 1.0 THEN 1.0 ELSE 0.0 END) AS late_share,
    MAX(repaid.days_late) AS worst,
    -- The order makes the sum, and so the last bit, the same in every run.
    AVG(repaid.first_days_late ORDER BY repaid.closeddate, repaid.systemloanid) AS first_late,
    MAX(repaid.loanamount) AS most
  FROM repaid
  GROUP BY repaid.loan_id
)
SELECT
  asked.loan_id AS loan_id,
  asked.known_at AS event_at,
  asked.known_at AS known_at,
  COALESCE(sums.loans, 0) AS repaid_{{days}}d,
  sums.late_share AS late_share_{{days}}d,
  -- LEAST passes over null: nothing paid back is no delay of 60 days.
  CASE WHEN sums.loans > 0 THEN LEAST(sums.worst, 60.0) END AS worst_days_late_{{days}}d,
  CASE WHEN sums.loans > 0 THEN GREATEST(LEAST(sums.first_late, 60.0), -60.0) END AS first_days_late_{{days}}d,
  CAST(sums.most AS DOUBLE) AS largest_repaid_{{days}}d_ngn
FROM asked
LEFT JOIN sums ON sums.loan_id = asked.loan_id

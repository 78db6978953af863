-- Every past loan and whether it was late: not paid back a day after its term. That is known then and there, of late
-- loans and of others alike.
SELECT
  past_loans.systemloanid,
  past_loans.customer_id,
  past_loans.loannumber,
  past_loans.known_at AS approved_at,
  past_loans.known_at + INTERVAL 1 DAY * (past_loans.termdays + 1) AS settled_at,
  CASE WHEN repayments.systemloanid IS NULL THEN 1 ELSE 0 END AS is_late
FROM past_loans
LEFT JOIN repayments
  ON repayments.systemloanid = past_loans.systemloanid
  AND repayments.known_at <= past_loans.known_at + INTERVAL 1 DAY * (past_loans.termdays + 1)

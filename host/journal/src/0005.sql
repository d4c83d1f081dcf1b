-- Which token a token was made with, so that both end when the first one is removed. Nothing for those
-- that the host itself made, and for those of older hosts.

ALTER TABLE tokens ADD COLUMN made_by TEXT;

-- Each entry names what it is about and what was changed; what changed nothing is counted, not listed.

ALTER TABLE audit ADD COLUMN object TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN change TEXT NOT NULL DEFAULT '';
-- False for what was refused, was so already, or went to a program: `count` of them from `first_ms` on.
ALTER TABLE audit ADD COLUMN is_change INTEGER NOT NULL DEFAULT 1;
ALTER TABLE audit ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
ALTER TABLE audit ADD COLUMN first_ms INTEGER;

UPDATE audit SET is_change = 0 WHERE status >= 400;

DROP INDEX audit_by_user;
-- The oldest go by themselves, each user's own, and changes apart from the rest, so that nobody can
-- push out what others did, nor what it did itself by being refused.
CREATE INDEX audit_by_user ON audit (is_change, user, seq);
CREATE INDEX audit_by_age ON audit (is_change, seq);
CREATE INDEX audit_repeats ON audit (user, token, action, target, status) WHERE is_change = 0;

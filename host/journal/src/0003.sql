-- Each user's oldest entries go by themselves, so that nobody can push out what others did.
CREATE INDEX audit_by_user ON audit (user, seq);

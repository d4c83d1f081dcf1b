//! Limits on how many clients may hold a thread or space of a host for as long as they like.

use hersh_base::permits::Limit;

use crate::connections::CONNECTIONS_MAX;

/// Uploads of source at once, in all and of one user. Each holds a thread and space in staging.
pub(crate) const UPLOADS_MAX: Limit = Limit {
    all: 24,
    one_user: 8,
    for_admins: 2,
};
/// Downloads of source. Each holds a thread.
pub(crate) const DOWNLOADS_MAX: Limit = Limit {
    all: 16,
    one_user: 4,
    for_admins: 2,
};

/// Logs, build logs and histories that are being read. Each holds a thread, and then its lines until the
/// client has taken them.
pub(crate) const READERS_MAX: Limit = Limit {
    all: 32,
    one_user: 8,
    for_admins: 2,
};
/// Live streams of the host's own. Each holds the lines that it begins with until the client has taken them.
pub(crate) const STREAMS_MAX: Limit = Limit {
    all: 256,
    one_user: 64,
    for_admins: 8,
};
/// Connections on which members' requests come, whatever they wait for. Connections of admins are not
/// counted.
pub(crate) const MEMBER_CONNECTIONS_MAX: Limit = Limit {
    all: CONNECTIONS_MAX,
    one_user: 1_024,
    for_admins: 512,
};
/// Answers that wait for a program to settle, each for an hour at most.
pub(crate) const WAITS_MAX: Limit = Limit {
    all: 1_024,
    one_user: 64,
    for_admins: 32,
};

#[cfg(test)]
mod tests {
    use hersh_base::permits::{Permit, Permits, Share};
    use hersh_program::UserId;
    use hersh_proxy::TUNNELS_MAX;

    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("u{number}")).unwrap()
    }

    /// Takes as many permits as the user gets.
    fn all_of(permits: &Permits, number: usize, share: Share) -> Vec<Permit> {
        std::iter::from_fn(|| permits.take(&user(number), share)).collect()
    }

    #[test]
    fn members_who_take_all_they_get_leave_room_for_others() {
        for bound in [
            UPLOADS_MAX,
            DOWNLOADS_MAX,
            READERS_MAX,
            STREAMS_MAX,
            TUNNELS_MAX,
        ] {
            let permits = Permits::new(bound);
            let greedy: Vec<_> = (0..4)
                .map(|number| all_of(&permits, number, Share::Fair))
                .collect();
            assert!(greedy.iter().all(|held| !held.is_empty()), "{bound:?}");
            assert!(permits.take(&user(4), Share::Fair).is_some(), "{bound:?}");
            let crowd: Vec<_> = (5..2_000)
                .map(|number| all_of(&permits, number, Share::Fair))
                .collect();
            let admins = all_of(&permits, 2_000, Share::Any);
            assert!(admins.len() >= bound.for_admins, "{bound:?}");
            drop((greedy, crowd));
        }
    }
}

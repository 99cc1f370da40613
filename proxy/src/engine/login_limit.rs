//! How often clients of one address may say a wrong password before no more is listened to for a
//! while: nobody shall find it out by trying.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use slotway_protocol::engine::Instant;

/// The addresses from which wrong passwords have come to this worker.
#[derive(Debug, Default)]
pub(crate) struct LoginLimit {
    /// There are few, since only failures add to them.
    failures: Vec<Failures>,
    /// When the outside was told of too many last; other suspicions must not hide this one.
    pub(crate) told: Option<Instant>,
}

/// Those of one address.
#[derive(Debug, Clone, Copy)]
struct Failures {
    address: IpAddr,
    count: usize,
    /// When the first of them came, or the one with which there were too many.
    since: Instant,
}

/// What a wrong password leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// No more is listened to from now on.
    pub(crate) is_last: bool,
    /// Another address was forgotten to make room.
    pub(crate) forgets: bool,
}

impl LoginLimit {
    /// Until when passwords of that client are refused unseen; `None` if they are not. With a limit
    /// of 0 there is none.
    pub(crate) fn refused_until(
        &self,
        client: SocketAddr,
        count_max: usize,
        window: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let address = of_client(client)?;
        let known = self.failures.iter().find(|it| it.address == address)?;
        let until = known.since + window;
        (count_max > 0 && known.count >= count_max && now < until).then_some(until)
    }

    /// Takes note of a wrong password.
    pub(crate) fn note(
        &mut self,
        client: SocketAddr,
        count_max: usize,
        window: Duration,
        now: Instant,
    ) -> Noted {
        let nothing = Noted {
            is_last: false,
            forgets: false,
        };
        let Some(address) = of_client(client).filter(|_| count_max > 0) else {
            return nothing;
        };
        let known = self.failures.iter().position(|it| it.address == address);
        let forgets = known.is_none() && self.failures.len() >= ADDRESSES_MAX;
        if forgets {
            self.forget_oldest();
        }
        let index = known.unwrap_or(self.failures.len());
        if known.is_none() {
            self.failures.push(Failures {
                address,
                count: 0,
                since: now,
            });
        }
        let failures = &mut self.failures[index];
        if now.since(failures.since) >= window {
            failures.count = 0;
            failures.since = now;
        }
        failures.count += 1;
        let is_last = failures.count == count_max;
        if is_last {
            failures.since = now;
        }
        Noted { is_last, forgets }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.failures.iter().enumerate();
        if let Some((index, _)) = oldest.min_by_key(|(_, it)| it.since) {
            self.failures.swap_remove(index);
        }
    }
}

/// What counts as one address: who has one of IPv6 has its network, too. Of a client whose address
/// is not known nothing is counted.
fn of_client(client: SocketAddr) -> Option<IpAddr> {
    let address = match client.ip().to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    };
    (!client.ip().is_unspecified()).then_some(address)
}

/// So many addresses are known; the one that was first noted or refused gives way.
const ADDRESSES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn client(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    /// Says that many wrong passwords; gives whether another one would be looked at.
    fn fail(limit: &mut LoginLimit, text: &str, count: usize, seconds: u64) -> bool {
        for _ in 0..count {
            limit.note(client(text), 3, WINDOW, at(seconds));
        }
        let until = limit.refused_until(client(text), 3, WINDOW, at(seconds));
        until.is_none()
    }

    #[test]
    fn after_some_failures_no_more_are_heard_for_a_while() {
        let mut limit = LoginLimit::default();
        assert!(fail(&mut limit, "1.2.3.4", 2, 100));
        assert!(!fail(&mut limit, "1.2.3.4", 1, 130));
        assert!(fail(&mut limit, "1.2.3.5", 2, 130), "another address");
        for (seconds, refused) in [(131, true), (189, true), (190, false)] {
            let until = limit.refused_until(client("1.2.3.4"), 3, WINDOW, at(seconds));
            assert_eq!(until, refused.then_some(at(190)), "{seconds}");
        }
        assert!(fail(&mut limit, "1.2.3.4", 2, 190), "they are counted anew");
        assert!(
            fail(&mut limit, "1.2.3.4", 2, 250),
            "as when time has passed"
        );
        assert!(!fail(&mut limit, "1.2.3.4", 1, 309));
    }

    #[test]
    fn what_counts_as_one_address() {
        let mut limit = LoginLimit::default();
        for (one, other, is_same) in [
            ("1.1.1.1", "1.1.1.2", false),
            ("2.1.1.1", "::ffff:2.1.1.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:2::1", "2001:db8:0:3::1", false),
        ] {
            fail(&mut limit, one, 2, 0);
            assert_eq!(!fail(&mut limit, other, 1, 0), is_same, "{one} {other}");
        }
        assert!(fail(&mut limit, "::", 9, 0), "unknown");
        assert!(fail(&mut limit, "0.0.0.0", 9, 0), "unknown");
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut limit = LoginLimit::default();
        let noted = limit.note(client("1.1.1.1"), 0, WINDOW, at(0));
        assert!(!noted.is_last && limit.failures.is_empty());
        fail(&mut limit, "1.1.1.1", 3, 0);
        let until = limit.refused_until(client("1.1.1.1"), 0, WINDOW, at(0));
        assert_eq!(until, None);
    }

    #[test]
    fn the_oldest_address_gives_way() {
        let mut limit = LoginLimit::default();
        for number in 0..=ADDRESSES_MAX as u32 {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            let is_last = number == ADDRESSES_MAX as u32;
            for forgets in [is_last, false, false] {
                let client = SocketAddr::new(address, 1);
                let noted = limit.note(client, 3, WINDOW, at(number.into()));
                assert_eq!(noted.forgets, forgets, "{number}");
            }
        }
        assert_eq!(limit.failures.len(), ADDRESSES_MAX);
        let refused = |text: &str| limit.refused_until(client(text), 3, WINDOW * 100, at(1030));
        assert_eq!(refused("10.0.0.0"), None);
        assert!(refused("10.0.0.1").is_some() && refused("10.0.4.0").is_some());
    }
}

//! Opens a connection to an address: resolves a name, connects within a time, sets the options.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slotway_protocol::engine::{Address, ConnectError};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

/// Connects to the first address of the name that answers, all within `timeout`.
pub(crate) async fn connect(
    address: &Address,
    timeout: Duration,
    liveness: Liveness,
    lookups: &Lookups,
) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + timeout;
    let addresses = match address.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, address.port)],
        Err(_) => resolve(address, deadline, lookups).await?,
    };
    let socket = connect_any(&addresses, deadline).await?;
    set_options(&socket, liveness).map_err(connect_error)?;
    Ok(socket)
}

/// How the kernel finds out that a peer is gone; `None` leaves it to the kernel's defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Liveness {
    /// The idle time after which the peer is probed.
    pub(crate) keepalive: Option<Duration>,
    /// How long the peer may leave what was sent without acknowledging it.
    pub(crate) unacknowledged_max: Option<Duration>,
}

/// What every socket gets: no delay for small writes, and the kernel's eye on its peer.
pub(crate) fn set_options(socket: &TcpStream, liveness: Liveness) -> io::Result<()> {
    socket.set_nodelay(true)?;
    if let Some(time) = liveness.unacknowledged_max {
        SockRef::from(socket).set_tcp_user_timeout(Some(time))?;
    }
    let Some(idle) = liveness.keepalive else {
        return Ok(());
    };
    // A dead peer is noticed after twice the idle time, as with Redis.
    let idle = idle.max(Duration::from_secs(1));
    let interval = (idle / 3).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(3);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// The lookups of names under way, one for each name. A lookup that nobody waits for any more
/// still occupies a thread, so that one for each attempt would use up all there are while the name
/// server is silent. Clones are the same lookups.
#[derive(Clone, Default)]
pub(crate) struct Lookups {
    pending: Rc<RefCell<HashMap<Arc<str>, watch::Receiver<Found>>>>,
    /// What each name led to last.
    last: Rc<RefCell<HashMap<Arc<str>, Vec<IpAddr>>>>,
}

/// What a lookup has come to, if it has.
type Found = Option<Result<Vec<IpAddr>, String>>;

impl Lookups {
    /// Joins the lookup of the host that is under way, or begins `look_up`. None when that broke.
    async fn find(
        &self,
        host: &Arc<str>,
        look_up: impl Future<Output = io::Result<Vec<IpAddr>>> + 'static,
    ) -> Found {
        let pending = self.pending.borrow().get(host).cloned();
        let mut pending = pending.unwrap_or_else(|| self.begin(Arc::clone(host), look_up));
        let found = pending.wait_for(Option::is_some).await;
        found.map_or(None, |found| found.clone())
    }

    /// What the name leads to. Where it led before is not given up because the name server is
    /// silent, slow or at a loss.
    async fn find_or_recall(
        &self,
        host: &Arc<str>,
        deadline: Instant,
        look_up: impl Future<Output = io::Result<Vec<IpAddr>>> + 'static,
    ) -> Result<Vec<IpAddr>, LookupError> {
        let last = self.last.borrow().get(host).cloned();
        let patience = match &last {
            Some(_) => deadline.min(Instant::now() + PATIENCE),
            None => deadline,
        };
        let error = match timeout_at(patience, self.find(host, look_up)).await {
            Ok(Some(Ok(ips))) if !ips.is_empty() => return Ok(ips),
            Ok(Some(Ok(_))) => LookupError::Failed("the name has no address".to_owned()),
            Ok(Some(Err(reason))) => LookupError::Failed(reason),
            Ok(None) => LookupError::Failed("the lookup broke off".to_owned()),
            Err(_) => LookupError::Late,
        };
        last.ok_or(error)
    }

    fn remember(&self, host: Arc<str>, found: &Result<Vec<IpAddr>, String>) {
        let mut last = self.last.borrow_mut();
        if let Ok(ips) = found
            && !ips.is_empty()
            && (last.len() < NAMES_MAX || last.contains_key(&host))
        {
            last.insert(host, ips.clone());
        }
    }

    fn begin(
        &self,
        host: Arc<str>,
        look_up: impl Future<Output = io::Result<Vec<IpAddr>>> + 'static,
    ) -> watch::Receiver<Found> {
        let (sender, receiver) = watch::channel(None);
        self.pending
            .borrow_mut()
            .insert(Arc::clone(&host), receiver.clone());
        let lookups = self.clone();
        // A task of its own: whoever began the lookup may give up before the others do.
        spawn_local(async move {
            let found = look_up.await.map_err(|error| error.to_string());
            lookups.pending.borrow_mut().remove(&host);
            lookups.remember(host, &found);
            sender.send_replace(Some(found));
        });
        receiver
    }
}

async fn resolve(
    address: &Address,
    deadline: Instant,
    lookups: &Lookups,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = Arc::clone(&address.host);
    let look_up = async move {
        let found = lookup_host((&*host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    };
    let found = lookups
        .find_or_recall(&address.host, deadline, look_up)
        .await;
    match found {
        Ok(ips) => {
            let addresses = ips.into_iter();
            Ok(addresses
                .map(|ip| SocketAddr::new(ip, address.port))
                .collect())
        }
        Err(LookupError::Failed(reason)) => Err(unresolved(address, &reason)),
        Err(LookupError::Late) => Err(ConnectError::TimedOut),
    }
}

/// Why a name leads nowhere.
#[derive(Debug, PartialEq, Eq)]
enum LookupError {
    Late,
    Failed(String),
}

/// How long a lookup is waited for when it is known where the name led before.
const PATIENCE: Duration = Duration::from_millis(100);

/// The places of so many names are remembered.
const NAMES_MAX: usize = 4096;

/// Tries one address after the other. Each has its share of the time that is left: one that leads
/// nowhere must not cost the others theirs.
async fn connect_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::TimedOut;
    for (index, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let shares = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / shares;
        let attempt = timeout_at(now + share, connect_one(*address)).await;
        match attempt.unwrap_or(Err(ConnectError::TimedOut)) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connect_one(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let socket = TcpStream::connect(address).await.map_err(connect_error)?;
    // Where nobody listens on a port of the ephemeral range, the kernel may pick that very port
    // for our end and connect the socket to itself.
    if socket.local_addr().map_err(connect_error)? == address {
        return Err(ConnectError::Refused);
    }
    Ok(socket)
}

fn unresolved(address: &Address, reason: &str) -> ConnectError {
    ConnectError::Other(format!("can't resolve {}: {reason}", address.host))
}

fn connect_error(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        _ => ConnectError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Socket, Type};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::worker::local_runtime;

    /// A lookup that takes a while and is counted.
    fn slow(begun: &Rc<Cell<u32>>) -> impl Future<Output = io::Result<Vec<IpAddr>>> + 'static {
        let begun = Rc::clone(begun);
        async move {
            begun.set(begun.get() + 1);
            sleep(Duration::from_millis(100)).await;
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time() {
        local_runtime().unwrap().block_on(async {
            let (lookups, begun) = (Lookups::default(), Rc::new(Cell::new(0)));
            let (name, other): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
            for _ in 0..5 {
                let wait = Duration::from_millis(5);
                let found = timeout(wait, lookups.find(&name, slow(&begun))).await;
                assert!(found.is_err(), "nobody waits for ever");
            }
            assert_eq!(begun.get(), 1, "though nobody waits, it is still under way");
            let all = tokio::join!(
                lookups.find(&name, slow(&begun)),
                lookups.find(&name, slow(&begun)),
                lookups.find(&other, slow(&begun)),
            );
            let found = Some(Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]));
            assert_eq!(all, (found.clone(), found.clone(), found.clone()));
            assert_eq!(begun.get(), 2, "one for each name");
            assert_eq!(lookups.find(&name, slow(&begun)).await, found);
            assert_eq!(begun.get(), 3, "what was found is not kept");
            assert!(lookups.pending.borrow().is_empty());
        });
    }

    #[test]
    fn where_a_name_led_before_is_not_given_up() {
        local_runtime().unwrap().block_on(async {
            let (lookups, begun) = (Lookups::default(), Rc::new(Cell::new(0)));
            let name: Arc<str> = "a".into();
            let fails = || async { Err(io::Error::other("no answer")) };
            let never = std::future::pending::<io::Result<Vec<IpAddr>>>;
            let deadline = || Instant::now() + Duration::from_secs(1);
            let failed = lookups.find_or_recall(&name, deadline(), fails()).await;
            assert_eq!(failed, Err(LookupError::Failed("no answer".to_owned())));
            let found = Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]);
            let looked_up = lookups.find_or_recall(&name, deadline(), slow(&begun));
            assert_eq!(looked_up.await, found);
            let recalled = lookups.find_or_recall(&name, deadline(), fails()).await;
            assert_eq!(recalled, found);
            let other: Arc<str> = "b".into();
            let short = Instant::now() + Duration::from_millis(5);
            let late = lookups.find_or_recall(&other, short, never()).await;
            assert_eq!(late, Err(LookupError::Late));
            let begun = Instant::now();
            let recalled = lookups.find_or_recall(&name, deadline(), never()).await;
            assert_eq!(recalled, found);
            assert!(
                begun.elapsed() < Duration::from_millis(900),
                "it is not waited for long"
            );
        });
    }

    #[test]
    fn an_address_that_leads_nowhere_does_not_cost_the_others_their_time() {
        // A listener whose queue is full drops further attempts.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        full.bind(&any.into()).unwrap();
        full.listen(0).unwrap();
        let nowhere = full.local_addr().unwrap().as_socket().unwrap();
        let wait = Duration::from_millis(100);
        let fillers: Vec<_> = (0..4)
            .filter_map(|_| std::net::TcpStream::connect_timeout(&nowhere, wait).ok())
            .collect();
        assert!(fillers.len() < 4, "the queue is full");
        let listener = TcpListener::bind(any).unwrap();
        let somewhere = listener.local_addr().unwrap();
        local_runtime().unwrap().block_on(async {
            let begun = Instant::now();
            let deadline = begun + Duration::from_millis(600);
            let socket = connect_any(&[nowhere, nowhere, somewhere], deadline).await;
            assert_eq!(socket.unwrap().peer_addr().unwrap(), somewhere);
            let took = begun.elapsed().as_millis();
            assert!((390..600).contains(&took), "{took} ms");
            let deadline = Instant::now() + Duration::from_millis(100);
            let failure = connect_any(&[nowhere, nowhere], deadline).await;
            assert_eq!(failure.unwrap_err(), ConnectError::TimedOut);
            assert!(Instant::now() >= deadline);
        });
    }
}

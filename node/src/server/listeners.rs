//! The sockets on which a node listens for clients, which may become others while it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};

use slotway_runtime::DriverHandle;
use slotway_runtime::listener::bind;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::cluster::bus_port;
use crate::config::Config;
use crate::engine::{BUS_LISTENER, Node};

/// Those that accept clients at present.
pub(super) struct Listeners {
    driver: DriverHandle<Node>,
    stop: CancellationToken,
    /// Ends the node.
    all: CancellationToken,
    open: Vec<Open>,
}

/// A socket that accepts.
struct Open {
    /// What it was asked to listen on.
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Ends them, and returns when their addresses are free.
async fn end(open: Vec<Open>) {
    for open in open {
        open.stop.cancel();
        // A panic there has been reported, and the socket is closed.
        let _ = open.task.await;
    }
}

/// A socket, and the address that was asked for: the port may have been 0.
pub(super) type Listening = (SocketAddr, StdListener);

impl Listeners {
    /// Accepts until the first token ends that; the second one ends the node.
    pub(super) fn start(
        listening: Vec<Listening>,
        driver: DriverHandle<Node>,
        (stop, all): (CancellationToken, CancellationToken),
    ) -> Self {
        let mut listeners = Self {
            driver,
            stop,
            all,
            open: Vec::new(),
        };
        listeners.add_all(listening);
        listeners
    }

    /// Listens as the settings say from now on, or, with an error, as before. What stays the same
    /// is left alone, so no client is refused meanwhile.
    pub(super) async fn replace(&mut self, config: &Config) -> Result<(), StartError> {
        let wanted = addresses(config)?;
        let is_wanted = |open: &Open| wanted.iter().any(|(other, _)| *other == open.address);
        let (stay, gone): (Vec<Open>, Vec<Open>) = self.open.drain(..).partition(is_wanted);
        self.open = stay;
        let is_open = |address: SocketAddr| self.open.iter().any(|open| open.address == address);
        let missing = wanted.iter().filter(|(address, _)| !is_open(*address));
        let missing: Vec<(SocketAddr, bool)> = missing.copied().collect();
        if let Ok(new) = self.listen_on(&missing, config) {
            self.add_all(new);
            end(gone).await;
            return Ok(());
        }
        // It may be that an old address includes a new one.
        let old: Vec<(SocketAddr, bool)> = gone.iter().map(|open| (open.address, true)).collect();
        end(gone).await;
        let outcome = self.listen_on(&missing, config);
        let (new, outcome) = match outcome {
            Ok(new) => (new, Ok(())),
            Err(error) => (self.listen_on(&old, config).unwrap_or_default(), Err(error)),
        };
        self.add_all(new);
        outcome
    }

    fn listen_on(
        &self,
        addresses: &[(SocketAddr, bool)],
        config: &Config,
    ) -> Result<Vec<Listening>, StartError> {
        let new = listen_on(addresses, config)?;
        if new.is_empty() && self.open.is_empty() {
            return Err(StartError::NoAddress);
        }
        Ok(new)
    }

    fn add_all(&mut self, listening: Vec<Listening>) {
        for listening in listening {
            self.add(listening);
        }
    }

    fn add(&mut self, (address, listener): Listening) {
        let stop = self.stop.child_token();
        let number = u16::try_from(self.open.len()).unwrap_or(u16::MAX);
        let accepting = accept(
            listener,
            number,
            self.driver.clone(),
            stop.clone(),
            self.all.clone(),
        );
        let task = tokio::task::spawn_local(accepting);
        self.open.push(Open {
            address,
            stop,
            task,
        });
    }
}

/// Listens on all addresses of `bind`. One with a `-` in front may be missing.
pub(super) fn listen(config: &Config) -> Result<Vec<Listening>, StartError> {
    let listening = listen_on(&addresses(config)?, config)?;
    if listening.is_empty() {
        return Err(StartError::NoAddress);
    }
    Ok(listening)
}

/// Listens for clients, and for the other nodes of the cluster. Those are told the ports, so where
/// the system has chosen them, they are in the settings after that.
pub(super) fn listen_in_cluster(
    config: &mut Config,
) -> Result<(Vec<Listening>, Vec<Listening>), StartError> {
    let for_clients = listen(config)?;
    let on = |port, config: &Config| {
        listen(&Config {
            port,
            ..config.clone()
        })
    };
    if config.port != 0 {
        let for_nodes = on(bus_port(config), config)?;
        return Ok((for_clients, for_nodes));
    }
    // 10,000 more need not be a port at all.
    let for_nodes = on(config.cluster_port, config)?;
    config.port = chosen(&for_clients)?;
    config.cluster_port = chosen(&for_nodes)?;
    let named = for_clients.into_iter().map(|(address, listener)| {
        let port = config.port;
        (SocketAddr::new(address.ip(), port), listener)
    });
    Ok((named.collect(), for_nodes))
}

/// The port that the system has chosen for the first address.
fn chosen(listening: &[Listening]) -> Result<u16, StartError> {
    let (_, listener) = listening.first().ok_or(StartError::NoAddress)?;
    Ok(listener.local_addr()?.port())
}

/// Accepts other nodes as long as this one runs.
pub(super) fn accept_bus(
    listening: Vec<Listening>,
    driver: &DriverHandle<Node>,
    stop: &CancellationToken,
) {
    for (number, (_, listener)) in (BUS_LISTENER..).zip(listening) {
        let accepting = accept(listener, number, driver.clone(), stop.clone(), stop.clone());
        tokio::task::spawn_local(accepting);
    }
}

fn listen_on(
    addresses: &[(SocketAddr, bool)],
    config: &Config,
) -> Result<Vec<Listening>, StartError> {
    let mut listening = Vec::new();
    for &(address, optional) in addresses {
        match bind(address, config.tcp_backlog, "--port or --bind") {
            Ok(listener) => listening.push((address, listener)),
            Err(error) if optional => tracing::info!(%error, "an optional address is left out"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(listening)
}

/// The addresses of `bind`, and whether each may be missing.
fn addresses(config: &Config) -> Result<Vec<(SocketAddr, bool)>, StartError> {
    let parsed = config.bind.iter().map(|text| {
        let (optional, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.as_str()),
        };
        let ip: IpAddr = match text {
            "*" => Ipv4Addr::UNSPECIFIED.into(),
            "::*" => Ipv6Addr::UNSPECIFIED.into(),
            text => text
                .parse()
                .map_err(|_| StartError::Address(text.to_owned()))?,
        };
        Ok((SocketAddr::new(ip, config.port), optional))
    });
    parsed.collect()
}

/// Accepts until one of the tokens ends it; `all` ends the node when it can't even begin.
async fn accept(
    listener: StdListener,
    number: u16,
    driver: DriverHandle<Node>,
    stop: CancellationToken,
    all: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "can't watch the listener");
            return all.cancel();
        }
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(socket, _)| socket.into_std()) {
            Ok(socket) => driver.accept(socket, number),
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                // For want of a file descriptor the next attempt would fail at once, too.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

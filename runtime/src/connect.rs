//! Opens a connection to an address: resolves a name, connects within a time, sets the options.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use slotway_protocol::engine::{Address, ConnectError};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

/// Connects to the first address of the name that answers, all within `timeout`.
pub(crate) async fn connect(
    address: &Address,
    timeout: Duration,
    keepalive: Option<Duration>,
) -> Result<TcpStream, ConnectError> {
    let attempt = async {
        let socket = match address.host.parse::<IpAddr>() {
            Ok(ip) => connect_one(SocketAddr::new(ip, address.port)).await?,
            Err(_) => connect_name(address).await?,
        };
        set_options(&socket, keepalive).map_err(connect_error)?;
        Ok(socket)
    };
    tokio::time::timeout(timeout, attempt)
        .await
        .unwrap_or(Err(ConnectError::TimedOut))
}

/// What every socket gets: no delay for small writes, and probes when it is idle for long.
pub(crate) fn set_options(socket: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let Some(idle) = keepalive else {
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

async fn connect_name(address: &Address) -> Result<TcpStream, ConnectError> {
    let found = lookup_host((&*address.host, address.port)).await;
    let addresses = found.map_err(|error| unresolved(address, &error.to_string()))?;
    let mut failure = unresolved(address, "the name has no address");
    for address in addresses {
        match connect_one(address).await {
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

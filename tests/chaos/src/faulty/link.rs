//! One link: a listener, its target, and the connections between them.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::pump;
use super::settings::{Accept, Settings, Way};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Link {
    listen: SocketAddr,
    target: String,
    settings: watch::Sender<Settings>,
    connections: Cell<u64>,
}

impl Link {
    pub(super) async fn start(listen: &str, target: &str) -> io::Result<Rc<Self>> {
        let listener = TcpListener::bind(listen).await?;
        let link = Rc::new(Self {
            listen: listener.local_addr()?,
            target: target.to_owned(),
            settings: watch::Sender::new(Settings::default()),
            connections: Cell::new(0),
        });
        tokio::task::spawn_local(Rc::clone(&link).listen(listener));
        Ok(link)
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> SocketAddr {
        self.listen
    }

    pub(super) fn count(&self) -> u64 {
        self.connections.get()
    }

    pub(super) fn change(&self, what: &str, arguments: &[&str]) -> Result<(), String> {
        let mut changed = *self.settings.borrow();
        changed.change(what, arguments)?;
        self.settings.send_replace(changed);
        Ok(())
    }

    /// Takes connections; while they are to be refused there is no listener.
    async fn listen(self: Rc<Self>, listener: TcpListener) -> io::Result<()> {
        let mut settings = self.settings.subscribe();
        let mut listener = Some(listener);
        loop {
            let refuses = settings.borrow_and_update().accept == Accept::Refuse;
            match (&listener, refuses) {
                (Some(_), true) => listener = None,
                (None, false) => listener = Some(TcpListener::bind(self.listen).await?),
                (Some(open), false) => tokio::select! {
                    taken = open.accept() => {
                        let (client, _) = taken?;
                        self.connections.set(self.connections.get() + 1);
                        tokio::task::spawn_local(Rc::clone(&self).relay(client));
                    }
                    _ = settings.changed() => {}
                },
                (None, true) => {
                    let _ = settings.changed().await;
                }
            }
        }
    }

    /// One connection from its first byte to its end.
    async fn relay(self: Rc<Self>, client: TcpStream) -> io::Result<()> {
        let mut settings = self.settings.subscribe();
        let before = *settings.borrow_and_update();
        let end = |settings: &Settings| settings.resets > before.resets;
        if settings.borrow().accept == Accept::Blackhole {
            let _ = settings.wait_for(end).await;
            return reset(&client);
        }
        let connecting = TcpStream::connect(&self.target);
        let Ok(Ok(target)) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
            return reset(&client);
        };
        client.set_nodelay(true)?;
        target.set_nodelay(true)?;
        let pumping = async {
            tokio::try_join!(
                pump::run(
                    &client,
                    &target,
                    (self.settings.subscribe(), before),
                    Way::Up
                ),
                pump::run(
                    &target,
                    &client,
                    (self.settings.subscribe(), before),
                    Way::Down
                ),
            )
        };
        let whole = tokio::select! {
            done = pumping => done.is_ok(),
            _ = settings.wait_for(end) => false,
        };
        if !whole {
            reset(&client)?;
            reset(&target)?;
        }
        Ok(())
    }
}

/// Lets the stream end with RST instead of FIN when it is closed.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Ends what is sent on a stream; what comes on it goes on.
pub(super) fn finish(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)
}

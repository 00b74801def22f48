//! What stands where a tenant's Service leads: a way to the tenant's API server, nothing at all, or an impostor.

mod impostor;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};

pub use self::impostor::{Impostor, Manners};

/// So many connections may wait to be accepted; few, so that the queue is soon full.
const QUEUE: u32 = 2;
/// A connection that takes longer finds the queue full.
const FULL: Duration = Duration::from_millis(200);

/// What the front does from now on. Connections of an earlier mode are closed, unless it falls silent.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Everything passes to the API server.
    Pass,
    /// Connections are accepted, and nothing ever comes back, on old ones neither.
    Silent,
    /// No connection comes about, not even a refusal, and nothing passes on old ones.
    Dark,
    /// An impostor answers.
    Impostor(Arc<Impostor>),
}

/// A front. It is gone once this is dropped.
#[derive(Debug)]
pub struct Front {
    mode: watch::Sender<Mode>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Front {
    /// Starts a front at `address`, before the API server at `target`, on the runtime that this is called on.
    pub fn start(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address).with_context(|| format!("listening on {address}"))?;
        let listener = socket.listen(QUEUE)?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (requests, connections) = (Arc::default(), Arc::default());
        let place =
            Place { target, modes, requests: Arc::clone(&requests), connections: Arc::clone(&connections) };
        let mut accepting = JoinSet::new();
        accepting.spawn(place.accept(listener));
        Ok(Self { mode, requests, connections, _accepting: accepting })
    }

    /// What it does from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many requests its impostors have heard.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Place {
    target: SocketAddr,
    modes: watch::Receiver<Mode>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Place {
    async fn accept(mut self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let mode = self.modes.borrow_and_update().clone();
            if matches!(mode, Mode::Dark) {
                let _full = fill(&listener).await;
                if self.modes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            tokio::select! {
                changed = self.modes.changed() => if changed.is_err() { return },
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { return };
                    self.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(self.clone().carry(client, mode));
                }
            }
        }
    }

    /// Carries one connection until either side ends it or the mode changes; an error ends it too.
    async fn carry(mut self, mut client: TcpStream, mode: Mode) {
        let _ = client.set_nodelay(true);
        match mode {
            Mode::Pass => {
                let Ok(mut server) = TcpStream::connect(self.target).await else { return };
                let _ = server.set_nodelay(true);
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                    _ = self.modes.changed() => {}
                }
                let is_silent = matches!(*self.modes.borrow_and_update(), Mode::Silent | Mode::Dark);
                if is_silent {
                    let _ = self.modes.changed().await;
                }
            }
            Mode::Silent | Mode::Dark => drop(self.modes.changed().await),
            Mode::Impostor(impostor) => {
                // What it has said and nobody has read yet is gone with it, as with a process that is killed.
                let _ = client.set_zero_linger();
                tokio::select! {
                    _ = impostor.serve(client, &self.requests) => {}
                    _ = self.modes.changed() => {}
                }
            }
        }
    }
}

/// Connections that fill the queue, so that the next one is not even refused.
async fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    let mut waiting = Vec::new();
    let Ok(address) = listener.local_addr() else { return waiting };
    while let Ok(Ok(connection)) = tokio::time::timeout(FULL, TcpStream::connect(address)).await {
        waiting.push(connection);
    }
    waiting
}

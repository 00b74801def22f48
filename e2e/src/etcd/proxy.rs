//! A TCP proxy before a server, whose connections can be cut after any of a client's messages.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use kamaji_datastore::config::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// How long a server that got a message gets for its answer before the cut: not every message has one.
const ANSWER: Duration = Duration::from_millis(50);
/// How much is passed on at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// What the proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// So many messages of clients pass from now on; the next one falls to the cut.
    CutAfter {
        /// How many.
        messages: usize,
        /// On which side of the server's work the cut is.
        moment: Moment,
        /// What is left afterwards.
        aftermath: Aftermath,
    },
    /// Connections are accepted, and nothing ever comes back.
    Swallow,
    /// Connections are closed as soon as they are made.
    Refuse,
}

/// On which side of the server's work a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The message is never passed on.
    Before,
    /// The server gets the message, and its answer is lost.
    After,
}

/// What is left after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing passes any more.
    Dead,
    /// New connections pass.
    Alive,
}

/// A proxy. Its port is closed once this is dropped.
#[derive(Debug)]
pub struct Proxy {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    mode: Mutex<Mode>,
    connections: AtomicUsize,
}

/// What becomes of one message.
enum Fate {
    Passes,
    CutBefore,
    CutAfter,
    Swallowed,
}

impl Proxy {
    /// Starts a proxy before the server at this endpoint, on a free port.
    pub async fn start(target: &Endpoint) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), target).await
    }

    /// Starts a proxy before the server at this endpoint, at this address.
    pub async fn start_at(address: SocketAddr, target: &Endpoint) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let endpoint = Endpoint::parse(&listener.local_addr()?.to_string())?;
        let shared = Arc::new(Shared {
            target: target.to_string(),
            mode: Mutex::new(Mode::Pass),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { endpoint, shared, _tasks: tasks })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What it does from now on.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode() = mode;
    }

    /// Whether a cut that was set is still to come.
    pub fn is_uncut(&self) -> bool {
        matches!(*self.shared.mode(), Mode::CutAfter { .. })
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self) -> Fate {
        let mut mode = self.mode();
        match *mode {
            Mode::Pass => Fate::Passes,
            Mode::Refuse => Fate::CutBefore,
            Mode::Swallow => Fate::Swallowed,
            Mode::CutAfter { messages: 0, moment, aftermath } => {
                *mode = if aftermath == Aftermath::Dead { Mode::Refuse } else { Mode::Pass };
                if moment == Moment::Before { Fate::CutBefore } else { Fate::CutAfter }
            }
            Mode::CutAfter { messages, moment, aftermath } => {
                *mode = Mode::CutAfter { messages: messages - 1, moment, aftermath };
                Fate::Passes
            }
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted: io::Result<(TcpStream, SocketAddr)> = listener.accept().await;
        let Ok((client, _)) = accepted else { return };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        if *shared.mode() != Mode::Refuse {
            connections.spawn(carry(client, Arc::clone(&shared)));
        }
    }
}

/// Carries one connection until either side ends it or it is cut; an error ends it too.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let Ok(mut server) = TcpStream::connect(&shared.target).await else { return };
    // Small messages must not wait for each other's receipts.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (mut sent, mut answered) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Ok(length @ 1..) = read else { return };
                match shared.fate() {
                    Fate::Passes => {
                        if server.write_all(&sent[..length]).await.is_err() { return }
                    }
                    Fate::CutBefore => return,
                    Fate::CutAfter => {
                        let _ = server.write_all(&sent[..length]).await;
                        let _ = tokio::time::timeout(ANSWER, server.read(&mut answered)).await;
                        return;
                    }
                    Fate::Swallowed => {}
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if *shared.mode() == Mode::Swallow { continue }
                if client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}

//! A datastore's server that a test starts, of whatever kind.

use std::{
    fs,
    io::{ErrorKind, Write},
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::{
    config::{BasicAuth, Deadlines, Endpoint, Settings, Tls},
    error::Error,
    store::Store,
};
use kamaji_pki::{Authority, Pair};
use rustix::process::{Pid, Signal, kill_process};
use zeroize::Zeroizing;

use crate::{
    api_server::{self, process::Process},
    credentials::{self, Shown},
    etcd::{client_leaf, now},
};

/// What the operator is: it has the rights that our documentation asks for.
pub const OPERATOR: &str = "kamaji-operator";
/// An operator that shows a certificate too.
pub const BOTH: &str = "kamaji-both";
/// An operator that shows a certificate and has no password.
pub const CERTIFIED: &str = "kamaji-certified";
/// An operator that the server asks nothing.
pub const TRUSTED: &str = "kamaji-trusted";
/// An operator that may come in clear text.
pub const CLEAR: &str = "kamaji-clear";
/// The password of all of them.
pub const PASSWORD: &str = "only-for-a-test";

/// How long a server may take to start on a machine that is busy with other things.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How often a server is asked whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);
/// How often a start is tried: a port that was free may be taken by the time the server binds it.
const ATTEMPTS: usize = 3;
/// How long a certificate of ours lasts; a test run is over long before.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);

/// How a store of one kind is made.
pub type Open = fn(Settings) -> Result<Store, Error>;

/// A kind of server.
#[allow(async_fn_in_trait, reason = "tests await on their own thread")]
pub trait Database: Deref<Target = Host> + Sized {
    /// What a DataStore calls it.
    const DRIVER: Driver;
    /// How the operator opens it.
    const OPEN: Open;

    /// Starts a server of one's own and waits until it answers.
    ///
    /// # Errors
    /// When its program is not there (the text says how to get it), or it does not answer.
    async fn start() -> Result<Self>;

    /// What the operator needs, and no pause after a failure.
    fn settings(&self) -> Settings {
        self.settings_as(OPERATOR, PASSWORD)
    }

    /// This is so from now on, for whoever comes from now on.
    ///
    /// # Errors
    /// When the server knows no such thing.
    async fn change(&self, change: Change) -> Result<()>;
}

/// What can happen to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It shows this certificate.
    Shows(Shown),
    /// The operator's password is this.
    Password(&'static str),
    /// Nobody can write any more.
    ReadOnly,
    /// Everybody can again.
    Writable,
    /// There is no room left.
    Full,
    /// There is again.
    Roomy,
}

impl Change {
    /// Whether it keeps the operator from its work.
    fn harms(self) -> bool {
        !matches!(self, Self::Shows(Shown::Sound) | Self::Writable | Self::Roomy)
    }
}

/// A server's process and authority. Its process and files are gone once this is dropped, or our own process has ended.
#[derive(Debug)]
pub struct Host {
    process: Process,
    name: &'static str,
    folder: PathBuf,
    authority: Authority,
    endpoint: Endpoint,
}

/// What a server's data is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The same as everything else.
    Shared,
    /// A small one of its own, that can be filled. Making it needs root.
    Small,
}

/// Puts a folder onto a file system of its own, which only the program sees that is started then, and goes with it.
const SMALL_DISK: &str = r#"
folder=$1; size=$2; shift 2
mkdir "$folder.small" && mount -t tmpfs -o "size=$size" none "$folder.small" && cp -a "$folder/." "$folder.small" &&
chown --reference="$folder" "$folder.small" && chmod --reference="$folder" "$folder.small" &&
mount --bind "$folder.small" "$folder" && exec "$@"
"#;
/// Room for a new server, and for a little more.
const SMALL_SIZE: &str = "128m";
/// What a small disk is filled with.
const FILLING: &str = "filling";
/// More than it can hold, in pages of 4 KiB.
const MOST_PAGES: usize = 1 << 18;

/// The words that start a program whose folder of this name is on such a disk.
pub(crate) fn on(disk: Disk, folder: &Path, program: &str, arguments: Vec<String>) -> (PathBuf, Vec<String>) {
    if disk == Disk::Shared {
        return (program.into(), arguments);
    }
    let mut words: Vec<String> = ["--mount", "sh", "-c", SMALL_DISK, "sh"].map(str::to_owned).into();
    words.extend([folder.display().to_string(), SMALL_SIZE.to_owned(), program.to_owned()]);
    words.extend(arguments);
    ("unshare".into(), words)
}

/// Where a server is about to be started.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) authority: Authority,
}

impl Site {
    /// A folder with the server's certificate, a port and an authority.
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        Self::under(name, Authority::create(&format!("kamaji-e2e-{name}"), now(), VALIDITY)?)
    }

    /// The same, with an authority that others may have too.
    pub(crate) fn under(name: &'static str, authority: Authority) -> Result<Self> {
        let [port] = api_server::free_ports()?;
        let folder = api_server::fresh_folder(name)?;
        credentials::write(&folder, &authority, name, Shown::Sound)?;
        Ok(Self { name, folder, port, authority })
    }

    /// What listens there from now on.
    pub(crate) fn host(self, process: Process) -> Result<Host> {
        let Self { name, folder, port, authority } = self;
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}"))?;
        Ok(Host { process, name, folder, authority, endpoint })
    }
}

impl Host {
    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The authority that signs its certificate and those of its clients.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The process id, for tests that stop and continue it.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What whoever has this name and password needs.
    pub fn settings_as(&self, user: &str, password: &str) -> Settings {
        Settings {
            endpoints: vec![self.endpoint.clone()],
            tls: Some(Tls { ca_pem: self.authority.certificate().pem().into(), client: None }),
            basic_auth: Some(BasicAuth {
                username: user.to_owned(),
                password: Zeroizing::new(password.to_owned()),
            }),
            deadlines: Deadlines { pause: Duration::ZERO, ..Deadlines::default() },
        }
    }

    /// A client certificate for this user.
    pub fn certificate_of(&self, user: &str) -> Result<Pair> {
        Ok(self.authority.issue(&client_leaf(user), now())?)
    }

    /// There is no room left on the server's small disk, which this folder is on.
    pub(crate) fn fill(&self, folder: &str) -> Result<()> {
        let path = self.seen_by_server(folder).join(FILLING);
        let mut file = fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
        let zeros = [0; 4096];
        for _ in 0..MOST_PAGES {
            match file.write_all(&zeros) {
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                written => written?,
            }
        }
        bail!("{} is on no small disk", path.display())
    }

    /// There is room again.
    pub(crate) fn empty(&self, folder: &str) -> Result<()> {
        let path = self.seen_by_server(folder).join(FILLING);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// The folder as the server sees it, which may have a disk that nobody else sees.
    fn seen_by_server(&self, folder: &str) -> PathBuf {
        let path = self.file(folder);
        format!("/proc/{}/root{}", self.process_id(), path.display()).into()
    }

    /// A file of the server.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The files say this certificate; the server must still be told to read them.
    pub(crate) fn write_certificate(&self, shown: Shown) -> Result<()> {
        // Files that are there already keep their owner and their mode.
        credentials::write(&self.folder, &self.authority, self.name, shown)
    }

    /// The process of this number reads its configuration and its certificate again, soon.
    pub(crate) fn reload(&self, process: u32) -> Result<()> {
        let id = i32::try_from(process).ok().and_then(Pid::from_raw).context("a process has a number")?;
        kill_process(id, Signal::HUP).with_context(|| format!("telling {} to read its files", self.name))
    }

    /// It has answered.
    pub(crate) async fn until<T, E>(&self, ask: impl AsyncFn() -> Result<T, E>) -> Result<T> {
        let mut tick = tokio::time::interval(READY_INTERVAL);
        let answered = async {
            loop {
                if let Ok(answer) = ask().await {
                    return Ok(answer);
                }
                tick.tick().await;
                if !self.process.is_alive() {
                    bail!("{} died while it started; {}", self.name, self.process.last_words());
                }
            }
        };
        match tokio::time::timeout(START_DEADLINE, answered).await {
            Ok(answered) => answered,
            Err(_) => bail!("{} did not answer within a minute; {}", self.name, self.process.last_words()),
        }
    }
}

/// What the first launch that succeeds has made.
pub(crate) async fn attempt<T>(launch: impl AsyncFn() -> Result<T>) -> Result<T> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match launch().await {
            Ok(server) => return Ok(server),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("at least one attempt was made")?)
}

/// The server is changed, and a new connection of the operator is let in, or no longer.
///
/// # Errors
/// When it is not so within a minute.
pub async fn change<D: Database>(database: &D, change: Change) -> Result<()> {
    database.change(change).await?;
    database
        .until(async || {
            let answer = D::OPEN(database.settings())?.check().await;
            anyhow::ensure!(answer.is_err() == change.harms(), "{change:?}: {answer:?}");
            Ok(())
        })
        .await
}

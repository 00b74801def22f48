//! A kine of one's own, for tests that write and read as an API server does.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};
use etcd_client::{Channel, Client};
use tonic::transport::Endpoint;
use xtask::programs::Program;

use super::{READY_INTERVAL, START_DEADLINE, process::Process};

/// How long one answer may take that tells whether kine is ready.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// A running kine, which is gone once this is dropped.
#[derive(Debug)]
pub struct Kine {
    process: Process,
    /// Where it listens, as a URL. A socket of its own is nobody else's, which a port may be by the time it is used.
    socket: String,
}

impl Kine {
    /// kine before this endpoint, as its `--endpoint` has it, whose certificate this authority has signed. It has gone
    /// through all that is there.
    ///
    /// # Errors
    /// When it has not been built yet (the text says how), or ends before it answers.
    pub async fn start(endpoint: &str, ca_pem: &str) -> Result<Self> {
        let folder = super::fresh_folder("kine")?;
        let socket = format!("unix://{}", folder.join("socket").display());
        fs::write(folder.join("ca.crt"), ca_pem)?;
        let arguments = [
            format!("--listen-address={socket}"),
            format!("--endpoint={endpoint}"),
            format!("--ca-file={}", folder.join("ca.crt").display()),
            "--metrics-bind-address=0".to_owned(),
        ];
        let process = Process::start("kine", &super::program(Program::Kine)?, &folder, &arguments)?;
        let kine = Self { process, socket };
        let ready = async {
            let mut tick = tokio::time::interval(READY_INTERVAL);
            loop {
                tick.tick().await;
                if tokio::time::timeout(ANSWER_DEADLINE, kine.answers())
                    .await
                    .is_ok_and(|answer| answer.is_ok())
                {
                    return Ok(());
                }
                if !kine.process.is_alive() {
                    bail!("kine ended; {}", kine.process.last_words());
                }
            }
        };
        let ready = tokio::time::timeout(START_DEADLINE, ready).await;
        ready.with_context(|| format!("kine was not ready in time; {}", kine.process.last_words()))??;
        Ok(kine)
    }

    /// A client, to which it is an etcd.
    pub async fn client(&self) -> Result<Client> {
        let channel = Endpoint::from_shared(self.socket.clone())?.connect().await?;
        Ok(Client::from_channel(Channel::Tonic(channel), None).await?)
    }

    async fn answers(&self) -> Result<()> {
        self.client().await?.get("/registry/health", None).await?;
        Ok(())
    }
}

//! Plays the controllers and the kubelet for one tenant: its Pods are there while its Deployment says so, and the Job of a
//! migration runs as a process to its end.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kamaji_api::labels;
use kamaji_resources::migration::COMPONENT;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Lane,
    kubelet::{self, TenantApiServer},
};
use crate::api_server;

/// How often it is looked what there is to do.
const TICK: Duration = Duration::from_millis(100);
/// How often the Pod of a Job is started before the Job has failed.
const TRIES: u32 = 7;
/// How long a container that has failed waits before it is started again, for each time that it has failed.
const BACKOFF: Duration = Duration::from_secs(1);
/// Where the container finds its file.
const MOUNT: &str = "/etc/kamaji/migration";

/// What runs in the tenant's Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// The real API server, with kine where the Deployment has it.
    Serve,
    /// Nothing: they are only counted.
    Count,
}

/// The stand-in. Whatever it has started ends when it is dropped.
pub struct Node {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    is_full: AtomicBool,
    program: Mutex<PathBuf>,
    address: Mutex<Option<SocketAddr>>,
    words: Mutex<Vec<String>>,
}

impl Node {
    /// It looks after this tenant from now on; Jobs run this program.
    pub fn start(lane: &Lane, tenant: &str, pods: Pods, program: &str) -> Self {
        let shared = Arc::new(Shared { program: Mutex::new(program.into()), ..Shared::default() });
        let work = Work {
            lane: lane.clone(),
            tenant: tenant.to_owned(),
            pods,
            shared: Arc::clone(&shared),
            server: None,
            jobs: BTreeMap::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(Box::pin(work.run()));
        Self { shared, _task: task }
    }

    /// There is room for no further Job from now on.
    pub fn fill(&self) {
        self.shared.is_full.store(true, Ordering::Relaxed);
    }

    /// There is room for Jobs again.
    pub fn make_room(&self) {
        self.shared.is_full.store(false, Ordering::Relaxed);
    }

    /// Jobs that are started from now on run this program.
    pub fn run(&self, program: &str) {
        *self.shared.program.lock().unwrap_or_else(PoisonError::into_inner) = program.into();
    }

    /// Where the tenant's API server listens, once it has been started.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Jobs that failed have said.
    pub fn words(&self) -> Vec<String> {
        self.shared.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Work {
    lane: Lane,
    tenant: String,
    pods: Pods,
    shared: Arc<Shared>,
    server: Option<(String, TenantApiServer)>,
    jobs: BTreeMap<String, Run>,
}

/// A Job that is running, by the UID of its object.
struct Run {
    folder: PathBuf,
    process: Child,
    failures: u32,
    /// When it is started again, if it has failed.
    again: Option<Instant>,
}

impl Work {
    async fn run(mut self) {
        loop {
            // What is not there yet is there the next time.
            if let Err(error) = self.look_after_pods().await {
                self.note(format!("{error:#}"));
            }
            if let Err(error) = self.look_after_jobs().await {
                self.note(format!("{error:#}"));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn note(&self, words: String) {
        let mut all = self.shared.words.lock().unwrap_or_else(PoisonError::into_inner);
        if all.last() != Some(&words) {
            all.push(words);
        }
    }

    async fn look_after_pods(&mut self) -> Result<()> {
        let Some(live) = self.lane.objects::<Deployment>().get_opt(&self.tenant).await? else {
            self.server = None;
            return Ok(());
        };
        let wanted = live.spec.replicas.unwrap_or(1);
        let template = serde_json::to_string(&live.spec.template)?;
        let is_running = self.server.as_ref().is_some_and(|(running, _)| *running == template);
        if wanted == 0 || !is_running {
            self.server = None;
        }
        if wanted > 0 && self.server.is_none() && self.pods == Pods::Serve {
            let server = Box::pin(kubelet::run_api_server(&self.lane, &self.tenant)).await?;
            let address = Some(server.address());
            *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
            self.server = Some((template, server));
        }
        let status = live.status.unwrap_or_default();
        if status.observed_generation != live.metadata.generation
            || status.replicas.unwrap_or_default() != wanted
        {
            kubelet::report_ready(&self.lane, &self.tenant).await?;
        }
        Ok(())
    }

    async fn look_after_jobs(&mut self) -> Result<()> {
        let ours = ListParams::default().labels(&format!("{}={COMPONENT}", labels::COMPONENT));
        let jobs = self.lane.objects::<Job>().list(&ours).await?.items;
        let known: Vec<String> = jobs.iter().filter_map(ResourceExt::uid).collect();
        self.jobs.retain(|uid, _| known.contains(uid));
        for job in jobs {
            let ended = job.status.as_ref().and_then(|status| status.conditions.as_ref());
            if ended.is_none_or(Vec::is_empty) && !self.is_full() {
                self.look_after(&job).await?;
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.shared.is_full.load(Ordering::Relaxed)
    }

    async fn look_after(&mut self, job: &Job) -> Result<()> {
        let uid = job.uid().context("a Job has a UID")?;
        let Some(run) = self.jobs.get_mut(&uid) else {
            let run = start(&self.lane, job, &self.shared.program()).await?;
            self.jobs.insert(uid, run);
            return Ok(());
        };
        if let Some(again) = run.again {
            if again <= Instant::now() {
                (run.process, run.again) = (spawn(job, &self.shared.program(), &run.folder)?, None);
                let failures = run.failures;
                tell(&self.lane, job, &told(failures, &json!({ "running": {} }), None)).await?;
            }
            return Ok(());
        }
        let Some(ended) = run.process.try_wait()? else { return Ok(()) };
        let words = fs::read_to_string(run.folder.join("log")).unwrap_or_default();
        if ended.success() {
            return report(&self.lane, job, ("SuccessCriteriaMet", "Complete"), "StandIn").await;
        }
        run.failures += 1;
        run.again = Some(Instant::now() + BACKOFF * run.failures);
        let failures = run.failures;
        if failures < TRIES {
            let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
            tell(&self.lane, job, &told(failures - 1, &waiting, Some(ended.code().unwrap_or(137)))).await?;
        } else {
            report(&self.lane, job, ("FailureTarget", "Failed"), "BackoffLimitExceeded").await?;
        }
        self.note(words);
        Ok(())
    }
}

impl Shared {
    fn program(&self) -> PathBuf {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The status of a Pod whose container was started again so often, and has ended before with this code.
fn told(restarts: u32, state: &Value, code: Option<i32>) -> Value {
    let mut container = json!({
        "name": COMPONENT, "image": "image", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
    });
    if let Some(code) = code {
        container["lastState"] = json!({ "terminated": { "exitCode": code, "message": "said by the test" } });
    }
    json!({ "phase": "Running", "containerStatuses": [container] })
}

/// The Job has a Pod of this status.
pub async fn tell(lane: &Lane, job: &Job, status: &Value) -> Result<()> {
    let (name, pods) = (job.name_any(), lane.objects::<Pod>());
    let owner = json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.uid() }]);
    let pod = json!({
        "metadata": { "name": name, "labels": job.labels(), "ownerReferences": owner },
        "spec": { "containers": [{ "name": COMPONENT, "image": "image" }], "automountServiceAccountToken": false },
    });
    if pods.get_opt(&name).await?.is_none() {
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    }
    let patch = Patch::Merge(json!({ "status": status }));
    pods.patch_status(&name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn start(lane: &Lane, job: &Job, program: &Path) -> Result<Run> {
    let folder = api_server::fresh_folder("job")?;
    let data = lane.objects::<Secret>().get(&job.name_any()).await?.data.unwrap_or_default();
    for (key, value) in data {
        fs::write(folder.join(key), value.0)?;
    }
    Ok(Run { process: spawn(job, program, &folder)?, folder, failures: 0, again: None })
}

fn spawn(job: &Job, program: &Path, folder: &Path) -> Result<Child> {
    let pod = job.spec.as_ref().and_then(|job| job.template.spec.as_ref()).context("a Job has a Pod")?;
    let container = pod.containers.first().context("a Pod has a container")?;
    let real = folder.display().to_string();
    let arguments = container.args.iter().flatten().map(|argument| argument.replace(MOUNT, &real));
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("starting the program of the Job")
}

/// The Job has ended so, for this reason.
pub async fn report(lane: &Lane, job: &Job, (before, end): (&str, &str), reason: &str) -> Result<()> {
    let now = crate::etcd::now().to_string();
    let condition = |kind: &str| {
        json!({ "type": kind, "status": "True", "reason": reason, "message": "said by the test",
            "lastProbeTime": now, "lastTransitionTime": now })
    };
    let mut status: Value = json!({
        "startTime": now, "conditions": [condition(before), condition(end)], "uncountedTerminatedPods": {},
    });
    if end == "Complete" {
        status["completionTime"] = json!(now);
        status["succeeded"] = json!(1);
    }
    let patch = Patch::Merge(json!({ "status": status }));
    lane.objects::<Job>().patch_status(&job.name_any(), &PatchParams::default(), &patch).await?;
    Ok(())
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

//! `cargo xtask bench provision`: how long a tenant takes to be Ready, beside what this machine allows at best. `cargo xtask
//! bench datastore`: what datastores cost. And `cargo xtask bench lifecycle`: what changes of a tenant take.

mod audit;
mod example;
mod floor;
mod lone;
mod operator;
mod report;
mod sightings;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub use self::example::{Amounts, Profile, datastore};
use self::{
    audit::Audit,
    floor::Model,
    operator::Operator,
    report::{Burst, Figures, Restart},
    sightings::Sightings,
};
use crate::{
    cache::{Cache, write_atomically},
    cluster, command,
    kubectl::{self, Kubectl},
    programs::{self, Program, Release},
    progress::{Progress, seconds},
    wait,
};

/// Everything is made in it, and goes with it.
const NAMESPACE: &str = "bench-provision";

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(10);

/// How often the repair of a drifted object is measured.
const REPAIRS: usize = 5;

/// How long the tenants are left alone to count the requests that are made nevertheless.
const IDLE: Duration = Duration::from_secs(30);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often a lone tenant is made.
    pub runs: usize,
    /// How many tenants are made at once.
    pub tenants: usize,
}

/// Measures on the local cluster, with the operator that is installed there, prints the figures and cleans up.
pub fn provision(cache: &Cache, extent: Extent) -> Result<()> {
    ensure!(extent.runs > 0 && extent.tenants > 0, "nothing is measured with 0 runs or 0 tenants");
    let progress = Progress::default();
    let (measured, cleaned) = on_cluster(cache, &progress, extent, &|bench| bench.measure())?;
    println!("\n{}", report::table(&measured?));
    cleaned
}

/// Measures changes of tenants on the local cluster, beside bare Deployments there, prints the figures and cleans up.
pub fn lifecycle(cache: &Cache, runs: usize) -> Result<()> {
    ensure!(runs > 0, "nothing is measured with 0 runs");
    let progress = Progress::default();
    let extent = Extent { runs, tenants: 1 };
    let (floors, cleaned) = on_cluster(cache, &progress, extent, &|bench| bench.lone_floors())?;
    let floor = Burst::of(floors?).median();
    cleaned?;
    // Tenants go from one release to the next, whose images the quickstart does not need.
    cluster::up(cache, &progress, &Release::ALL)?;
    example::lifecycle(&progress, runs, floor)
}

/// Does this in a namespace of its own, and removes what it made; what was measured counts even if that fails.
fn on_cluster<T>(
    cache: &Cache,
    progress: &Progress,
    extent: Extent,
    measure: &dyn Fn(&Bench<'_>) -> Result<T>,
) -> Result<(Result<T>, Result<()>)> {
    ensure!(cluster::is_up(cache)?, "the local cluster does not run: `cargo xtask quickstart` starts it");
    programs::ensure(
        cache,
        progress,
        &[kubectl::PROGRAM, Program::Etcd, Program::Etcdctl, Program::KubeApiserver(floor::RELEASE)],
    )?;
    let kubectl = Kubectl::new(cache, &cluster::kubeconfig(cache));
    Operator::find(&kubectl)?;
    let bench = Bench { cache, progress, kubectl: &kubectl, extent };
    let measured = measure(&bench);
    let cleaned = progress.step("removing what the measurement made", || bench.clean_up());
    Ok((measured, cleaned))
}

struct Bench<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    kubectl: &'a Kubectl,
    extent: Extent,
}

/// What is watched all the time, so that no measurement waits for a watch to begin.
struct Watches {
    tenants: Sightings,
    deployments: Sightings,
    secrets: Sightings,
}

impl Bench<'_> {
    /// An empty namespace, watched, and a tenant in it that bare Deployments are copied from.
    fn begin(&self) -> Result<(Watches, Model)> {
        self.clean_up()?;
        self.kubectl.apply(&namespace().to_string())?;
        let mut watches = Watches {
            tenants: Sightings::of(self.kubectl, NAMESPACE, "tenantcontrolplanes")?,
            deployments: Sightings::of(self.kubectl, NAMESPACE, "deployments")?,
            secrets: Sightings::of(self.kubectl, NAMESPACE, "secrets")?,
        };
        let model = self.progress.step("making a model tenant", || self.model(&mut watches))?;
        Ok((watches, model))
    }

    fn measure(&self) -> Result<Figures> {
        let (mut watches, model) = self.begin()?;
        let mut figures = Figures::new(self.extent.tenants);
        for run in 0..self.extent.runs {
            self.run(&model, run, &mut watches, &mut figures)?;
        }
        // Once before the tenants and once after, so that a machine that becomes slower or faster hits both alike.
        self.many_floors(&model, "before", &mut watches, &mut figures)?;
        self.many(&mut watches, &mut figures)?;
        self.many_floors(&model, "after", &mut watches, &mut figures)?;
        Ok(figures)
    }

    fn many_floors(
        &self,
        model: &Model,
        when: &str,
        watches: &mut Watches,
        figures: &mut Figures,
    ) -> Result<()> {
        let burst = self.progress.step("many bare Deployments at once", || {
            let names = self.names(when);
            let burst = self.floors(model, &names, watches)?;
            self.remove_floors(&names, watches)?;
            Ok(burst)
        })?;
        figures.floor_bursts.push(burst);
        Ok(())
    }

    /// One of each, alternately, so that whatever else this machine does hits all alike.
    fn run(&self, model: &Model, run: usize, watches: &mut Watches, figures: &mut Figures) -> Result<()> {
        let lone = self.progress.step("a lone kube-apiserver", || lone::measure(self.cache, model))?;
        figures.lone.push(lone);
        let floor = self.lone_floor(model, run, watches)?;
        figures.floor.push(floor);
        let tenant = self.progress.step("a tenant", || {
            let names = [format!("tenant-{run}")];
            let burst = self.tenants(&names, watches)?;
            self.remove_tenants(&names, watches)?;
            Ok(burst.last())
        })?;
        figures.tenant.push(tenant);
        self.progress.line(&format!(
            "  lone kube-apiserver {}, bare Deployment {}, tenant {}",
            seconds(lone),
            seconds(floor),
            seconds(tenant)
        ));
        Ok(())
    }

    fn lone_floor(&self, model: &Model, run: usize, watches: &mut Watches) -> Result<Duration> {
        self.progress.step("a bare Deployment", || {
            let names = [format!("floor-{run}")];
            let burst = self.floors(model, &names, watches)?;
            self.remove_floors(&names, watches)?;
            Ok(burst.last())
        })
    }

    fn lone_floors(&self) -> Result<Vec<Duration>> {
        let (mut watches, model) = self.begin()?;
        (0..self.extent.runs).map(|run| self.lone_floor(&model, run, &mut watches)).collect()
    }

    /// Many tenants at once, and what the operator costs with them.
    fn many(&self, watches: &mut Watches, figures: &mut Figures) -> Result<()> {
        let names = self.names("many");
        let operator = Operator::find(self.kubectl)?;
        figures.memory_before = operator.usage()?.resident_bytes;
        let (before, audit) = (operator.usage()?, Audit::from_now(self.cache)?);
        figures.tenant_burst =
            self.progress.step("many tenants at once", || self.tenants(&names, watches))?;
        let after = operator.usage()?;
        figures.memory = after.resident_bytes;
        figures.processor = after.processor.saturating_sub(before.processor);
        figures.requests = audit.requests()?;
        figures.repairs = self.progress.step("repairing a deleted Secret", || {
            (0..REPAIRS)
                .map(|turn| repair(self.kubectl, &names[turn % names.len()], &mut watches.secrets))
                .collect::<Result<Vec<_>>>()
        })?;
        figures.inside_repairs =
            self.progress.step("repairing an object inside a tenant", || self.inside_repairs(&names))?;
        figures.idle_requests = self.progress.step("letting the tenants rest", || {
            operator.usage_at_rest()?;
            operator.requests_of_idle_tenants(IDLE)
        })?;
        figures.restart = self.progress.step("restarting the operator", || self.restart(&names))?;
        figures.deletion =
            self.progress.step("deleting the tenants", || timed(|| self.remove_tenants(&names, watches)))?;
        Ok(())
    }

    /// Deletes an object of ours inside some tenants, as their administrators.
    fn inside_repairs(&self, names: &[String]) -> Result<Vec<Duration>> {
        let turns = (0..REPAIRS).map(|turn| {
            let file = self.cache.tenant_kubeconfig(NAMESPACE, "measured");
            let content =
                self.kubectl.tenant_kubeconfig(NAMESPACE, &names[turn % names.len()], "admin.conf")?;
            write_atomically(&file, content.as_bytes())?;
            let tenant = Kubectl::new(self.cache, &file);
            let mut config_maps = Sightings::of(&tenant, "kube-system", "configmaps")?;
            config_maps.until("kubelet-config", sightings::Kind::Added, LIMIT)?;
            let repaired = inside_repair(&tenant, &mut config_maps);
            fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
            repaired
        });
        turns.collect()
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        (0..self.extent.tenants).map(|number| format!("{prefix}-{number}")).collect()
    }

    fn model(&self, watches: &mut Watches) -> Result<Model> {
        let name = floor::MODEL.to_owned();
        self.tenants(std::slice::from_ref(&name), watches)?;
        Model::read(self.kubectl, NAMESPACE)
    }

    fn floors(&self, model: &Model, names: &[String], watches: &mut Watches) -> Result<Burst> {
        let inputs: Vec<Value> = names.iter().flat_map(|name| model.inputs_of(name)).collect();
        let deployments: Vec<Value> = names.iter().map(|name| model.deployment_of(name)).collect();
        self.create(&inputs)?;
        self.create(&deployments)?;
        watches.deployments.until_ready(names, deployment_is_ready, LIMIT)
    }

    fn remove_floors(&self, names: &[String], watches: &mut Watches) -> Result<()> {
        self.kubectl.run(
            &[&["delete", "deployment", "--namespace", NAMESPACE, "--wait=false"], &*strs(names)].concat(),
        )?;
        watches.deployments.until_gone(names, LIMIT)?;
        self.until_no_pods(names)
    }

    fn tenants(&self, names: &[String], watches: &mut Watches) -> Result<Burst> {
        self.create(&names.iter().map(|name| tenant(name)).collect::<Vec<_>>())?;
        watches.tenants.until_ready(names, |object| kubectl::has_condition(object, "Ready"), LIMIT)
    }

    fn remove_tenants(&self, names: &[String], watches: &mut Watches) -> Result<()> {
        self.kubectl.run(
            &[&["delete", "tenantcontrolplane", "--namespace", NAMESPACE, "--wait=false"], &*strs(names)]
                .concat(),
        )?;
        watches.tenants.until_gone(names, LIMIT)?;
        self.until_no_pods(names)
    }

    /// A Pod that still ends would slow down what is measured next.
    fn until_no_pods(&self, names: &[String]) -> Result<()> {
        wait::until("the Pods to end", LIMIT, || {
            let pods = self.kubectl.get(&["pods", "--namespace", NAMESPACE])?;
            let is_of = |pod: &Value| {
                let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
                names.iter().any(|name| pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
            };
            let left = pods["items"].as_array().is_some_and(|pods| pods.iter().any(is_of));
            Ok((!left).then_some(()))
        })
    }

    /// Makes objects that are not there yet.
    fn create(&self, items: &[Value]) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let mut kubectl = self.kubectl.command();
        kubectl.args(["create", "--validate=false", "--filename=-"]);
        command::output_with_input(&mut kubectl, &list.to_string()).map(drop)
    }

    /// Deletes the operator's Pod, and returns what its successor did until it had nothing left to do.
    fn restart(&self, names: &[String]) -> Result<Restart> {
        let old = Operator::find(self.kubectl)?;
        // What it still has to do must not be counted as its successor's work.
        old.usage_at_rest()?;
        let audit = Audit::from_now(self.cache)?;
        let started = Instant::now();
        old.delete(self.kubectl)?;
        let new = wait::until("the operator's next Pod", LIMIT, || {
            Ok(Operator::find(self.kubectl).ok().filter(|new| *new != old))
        })?;
        let usage = wait::until("the restarted operator to have seen every tenant", LIMIT, || {
            Ok(new.usage().ok().filter(|usage| usage.passes >= names.len()))
        })
        .and_then(|_| new.usage_at_rest())?;
        Ok(Restart {
            took: started.elapsed(),
            processor: usage.processor,
            memory: usage.resident_bytes,
            requests: audit.requests()?,
        })
    }

    fn clean_up(&self) -> Result<()> {
        self.kubectl.run(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=10m"])?;
        floor::forget_data(self.cache, self.kubectl)
    }
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    })
}

fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "controlPlane": { "deployment": { "replicas": 1 }, "service": { "serviceType": "ClusterIP" } },
            "kubernetes": { "version": floor::RELEASE.version(), "kubelet": {} },
        },
    })
}

fn deployment_is_ready(deployment: &Value) -> bool {
    deployment["status"]["readyReplicas"].as_u64().is_some_and(|ready| ready > 0)
}

/// From the moment that a Secret of this tenant is gone to the moment that it is back.
fn repair(kubectl: &Kubectl, tenant: &str, secrets: &mut Sightings) -> Result<Duration> {
    let name = format!("{tenant}-admin-kubeconfig");
    secrets.forget();
    kubectl.run(&["delete", "secret", "--namespace", NAMESPACE, "--wait=false", &name])?;
    let gone = secrets.until(&name, sightings::Kind::Deleted, LIMIT)?;
    let back = secrets.until(&name, sightings::Kind::Added, LIMIT)?;
    Ok(back.saturating_duration_since(gone))
}

/// From the moment that an object of ours inside a tenant is gone to the moment that it is back.
fn inside_repair(tenant: &Kubectl, config_maps: &mut Sightings) -> Result<Duration> {
    let name = "kubelet-config";
    config_maps.forget();
    tenant.run(&["delete", "configmap", "--namespace=kube-system", "--wait=false", name])?;
    let gone = config_maps.until(name, sightings::Kind::Deleted, LIMIT)?;
    let back = config_maps.until(name, sightings::Kind::Added, LIMIT)?;
    Ok(back.saturating_duration_since(gone))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work().map(|()| started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_ready_with_its_first_pod() {
        assert!(!deployment_is_ready(&json!({})));
        assert!(!deployment_is_ready(&json!({ "status": { "readyReplicas": 0, "replicas": 1 } })));
        assert!(deployment_is_ready(&json!({ "status": { "readyReplicas": 1 } })));
    }
}

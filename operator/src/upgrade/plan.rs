//! `kamaji upgrade plan`: what stands in the way of an upgrade. It only reads.

use std::fmt;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::Tenant;
use kamaji_api::tenant::{KubeVersion, Settings};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_client::connect;
use kamaji_resources::Memory;
use kamaji_resources::upgrade::{Report, Running};
use kube::{Api, Client};

use super::examination::report_on;
use crate::cli::UpgradePlanArgs;
use crate::join_command::{BOUNDS, management};

/// Exit code: something stands in the way.
const OBSTRUCTED: u8 = 3;

/// What is asked about an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeQuestion {
    /// Namespace of the tenant.
    pub namespace: String,
    /// Name of the tenant.
    pub name: String,
    /// The version to go to; what the spec asks for unless given.
    pub to: Option<KubeVersion>,
}

/// What stands in the way of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradePlan {
    /// Namespace and name of the tenant.
    pub tenant: String,
    /// The version that runs, if any does.
    pub from: Option<KubeVersion>,
    /// The version to go to.
    pub to: KubeVersion,
    /// What was found.
    pub report: Report,
}

impl UpgradePlan {
    /// The exit code: 0 when nothing stands in the way, else 3.
    pub fn code(&self) -> u8 {
        if self.report.is_clear() { 0 } else { OBSTRUCTED }
    }
}

impl fmt::Display for UpgradePlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        writeln!(formatter, "{}: from {from} to {}", self.tenant, self.to)?;
        write!(formatter, "{}", self.report)?;
        match self.report.obstacles.len() {
            0 => writeln!(formatter, "nothing stands in the way"),
            1 => writeln!(formatter, "1 obstacle: the upgrade would not begin"),
            count => writeln!(formatter, "{count} obstacles: the upgrade would not begin"),
        }
    }
}

/// Prints the plan; the exit code is [`UpgradePlan::code`].
pub(crate) async fn run(args: UpgradePlanArgs) -> anyhow::Result<ExitCode> {
    let config = management(args.kubeconfig.as_deref(), args.context.as_deref());
    let config = config.await.context("find the management cluster")?;
    let question = UpgradeQuestion {
        namespace: args.namespace.unwrap_or_else(|| config.default_namespace.clone()),
        name: args.name,
        to: args.to,
    };
    let client = connect(&config, BOUNDS).context("connect to the management cluster")?;
    let plan = Box::pin(upgrade_plan(&client, &question)).await?;
    std::io::Write::write_all(&mut std::io::stdout(), plan.to_string().as_bytes())?;
    Ok(ExitCode::from(plan.code()))
}

/// What stands in the way of an upgrade now. Nothing is written.
///
/// # Errors
/// When the tenant could not be read, or its spec is not sound; what cannot be read beside is an obstacle.
pub async fn upgrade_plan(client: &Client, question: &UpgradeQuestion) -> anyhow::Result<UpgradePlan> {
    let UpgradeQuestion { namespace, name, to } = question;
    let full_name = format!("{namespace}/{name}");
    let tcp = Api::<TenantControlPlane>::namespaced(client.clone(), namespace).get(name).await;
    let tcp = tcp.with_context(|| format!("read TenantControlPlane {full_name}"))?;
    let memory = Memory::of(tcp.status.as_ref());
    let settings =
        Settings { default_data_store: memory.claim.as_ref().map(|claim| claim.data_store.clone()) };
    let tenant = match Tenant::resolve(&tcp, &settings) {
        Ok(tenant) => tenant,
        Err(complaints) => bail!("the spec of {full_name} is not sound: {complaints}"),
    };
    let tenant = match to {
        Some(version) => tenant.at(version.clone(), None),
        None => tenant,
    };
    let deployment = Api::<Deployment>::namespaced(client.clone(), namespace).get_opt(name).await;
    let deployment = deployment.with_context(|| format!("read Deployment {full_name}"))?;
    let running = Running::of(&tenant, &memory, deployment.as_ref());
    let ready_pods = deployment.and_then(|deployment| deployment.status?.ready_replicas).unwrap_or_default();
    let report = Box::pin(report_on(client, &tenant, running.as_ref(), ready_pods)).await;
    Ok(UpgradePlan {
        tenant: full_name,
        from: running.map(|running| running.version),
        to: tenant.version,
        report,
    })
}

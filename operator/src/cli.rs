//! The command line, with the flags of the Go operator.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use kamaji_api::tenant::KubeVersion;
use kamaji_resources::kine;

use crate::join_command::TimeToLive;

/// What the program is called when kubectl runs it.
const PLUGIN: &str = "kubectl-kamaji";

/// Runs the control planes of many Kubernetes clusters as Pods in this one.
#[derive(Debug, Parser)]
#[command(name = "kamaji", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Manager(Box<ManagerArgs>),
    /// Make a new etcd ready to be a `DataStore`: add the user and role root and turn authentication on.
    EtcdInit(EtcdInitArgs),
    /// Copy a tenant's data from one datastore to another; run by the operator in a Job.
    Migrate(MigrateArgs),
    /// Replace the Go operator.
    Takeover {
        /// What to do.
        #[command(subcommand)]
        command: TakeoverCommand,
    },
    /// What users do with their tenants.
    #[command(flatten)]
    User(UserCommand),
}

/// What to do about replacing the Go operator.
#[derive(Debug, Subcommand)]
pub enum TakeoverCommand {
    /// Tell what would change if this operator took over from the Go operator; nothing is written. Exit code 3: Pods of some tenant would be restarted; 4: some tenant cannot be taken over.
    Check(TakeoverCheckArgs),
}

/// What users do with their tenants, also as plugin of kubectl.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Print the command that makes a machine a node of a tenant, with a token that is made for it.
    JoinCommand(JoinCommandArgs),
    /// Change the version of a tenant.
    Upgrade {
        /// What to do.
        #[command(subcommand)]
        command: UpgradeCommand,
    },
}

/// What to do about the version of a tenant.
#[derive(Debug, Subcommand)]
pub enum UpgradeCommand {
    /// Tell what stands in the way of an upgrade; nothing is written. Exit code 3: something does.
    Plan(UpgradePlanArgs),
}

/// What users do with their tenants.
#[derive(Debug, Parser)]
#[command(name = PLUGIN, bin_name = "kubectl kamaji", version, propagate_version = true)]
struct Plugin {
    #[command(subcommand)]
    command: UserCommand,
}

impl Cli {
    /// What the arguments say, the first of which is what the program is called: `kubectl-kamaji` has the users' commands only.
    pub fn called(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let program = arguments.first().and_then(|path| Path::new(path).file_stem());
        if program.is_some_and(|name| name == PLUGIN) {
            let Plugin { command } = Plugin::try_parse_from(arguments)?;
            return Ok(Self { command: Command::User(command) });
        }
        Self::try_parse_from(arguments)
    }
}

/// Flags of `kamaji manager`.
#[derive(Clone, Debug, Args)]
pub struct ManagerArgs {
    /// Address that metrics are served on, `[host]:port`; 0 turns them off.
    #[arg(long, default_value = ":8080", value_parser = bind_address)]
    pub metrics_bind_address: BindAddress,
    /// Address that /healthz and /readyz are served on, `[host]:port`.
    #[arg(long, default_value = ":8081", value_parser = bind_address)]
    pub health_probe_bind_address: BindAddress,
    /// Address that the admission webhooks are served on, `[host]:port`; 0 turns them off.
    #[arg(long, default_value = ":9443", value_parser = bind_address)]
    pub webhook_bind_address: BindAddress,
    /// Service in front of the webhooks, in the operator's namespace: the certificate is made for it, and kept in the Secret SERVICE-tls.
    #[arg(long, default_value = "kamaji-webhook-service")]
    pub webhook_service_name: String,
    /// File beside which tls.crt and tls.key may be mounted, for example by cert-manager: then they are used and no certificate is made.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs/ca.crt")]
    pub webhook_ca_path: PathBuf,
    /// Act only while holding the Lease, so that several replicas never act at once.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,
    /// DataStore of tenant control planes that name none.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub datastore: String,
    /// Image of kine, which serves tenants on PostgreSQL, MySQL and NATS; a tenant that runs takes a new one with its next rollout.
    #[arg(long, default_value = kine::DEFAULT_IMAGE, value_parser = image)]
    pub kine_image: String,
    /// Image of the Jobs that move the data of tenants to another DataStore: the operator's own.
    #[arg(long, value_parser = image)]
    pub migrate_image: Option<String>,
    /// Service account of the operator, whose own writes are not judged, and of those Jobs, which get no token of it.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "default")]
    pub serviceaccount_name: String,
    /// How long a tenant's data stays in a DataStore that it has left, such as 24h; nobody can write to it.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub migration_retention: Duration,
    /// How many tenant control planes are worked on at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_concurrent_tcp_reconciles: u16,
    /// Namespace of the operator, where its Lease is.
    #[arg(long, env = "POD_NAMESPACE")]
    pub pod_namespace: String,
    /// Longest time that one pass over a tenant control plane may take, such as 30s or 1m30s.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub controller_reconcile_timeout: Duration,
    /// How often every object is looked at again although nothing happened, such as 10h.
    #[arg(long, default_value = "10h", value_parser = duration)]
    pub cache_resync_period: Duration,
    /// How long before its end a certificate is renewed, such as 24h or 168h; at least 24h.
    #[arg(long, default_value = "24h", value_parser = renewal_window)]
    pub certificate_expiration_deadline: Duration,
    /// Lowest level that is logged: error, info, debug or trace.
    #[arg(long, default_value = "info")]
    pub zap_log_level: String,
    /// Form of the log lines.
    #[arg(long, default_value = "json")]
    pub zap_encoder: Encoder,
    /// Flags of the Go operator that have nothing to set here.
    #[command(flatten)]
    pub accepted: AcceptedArgs,
}

/// Flags that are accepted so that existing manifests keep working; each one that is given is named in the log.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Accepted for the sake of existing manifests, without effect")]
pub struct AcceptedArgs {
    /// No profiler is served.
    #[arg(long)]
    pub pprof_bind_address: Option<String>,
    /// Nothing is written to disk.
    #[arg(long)]
    pub tmp_directory: Option<PathBuf>,
    /// There is no telemetry.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_telemetry: Option<bool>,
    /// Use --zap-encoder and --zap-log-level.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub zap_devel: Option<bool>,
    /// Stack traces are not logged.
    #[arg(long)]
    pub zap_stacktrace_level: Option<String>,
    /// Times are logged as RFC 3339 has it.
    #[arg(long)]
    pub zap_time_encoding: Option<String>,
}

impl AcceptedArgs {
    /// The flags that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let Self {
            pprof_bind_address,
            tmp_directory,
            disable_telemetry,
            zap_devel,
            zap_stacktrace_level,
            zap_time_encoding,
        } = self;
        [
            (pprof_bind_address.is_some(), "--pprof-bind-address"),
            (tmp_directory.is_some(), "--tmp-directory"),
            (disable_telemetry.is_some(), "--disable-telemetry"),
            (zap_devel.is_some(), "--zap-devel"),
            (zap_stacktrace_level.is_some(), "--zap-stacktrace-level"),
            (zap_time_encoding.is_some(), "--zap-time-encoding"),
        ]
        .into_iter()
        .filter_map(|(given, flag)| given.then_some(flag))
        .collect()
    }
}

/// Flags of `kamaji etcd-init`.
#[derive(Clone, Debug, Args)]
pub struct EtcdInitArgs {
    /// Addresses of the members, `host:port` with or without https://.
    #[arg(long, value_delimiter = ',', required = true)]
    pub endpoints: Vec<String>,
    /// File with the certificate of the members' authority, in PEM.
    #[arg(long)]
    pub ca_file: PathBuf,
    /// File with the certificate of the user root, in PEM.
    #[arg(long)]
    pub cert_file: PathBuf,
    /// File with the private key of the user root, in PEM.
    #[arg(long)]
    pub key_file: PathBuf,
    /// How long to wait for the members to answer, such as 5m.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// Flags of `kamaji migrate`.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// The `TenantControlPlane`, as namespace/name, for messages.
    #[arg(long)]
    pub tenant_control_plane: String,
    /// The `DataStore` that the data goes to, for messages.
    #[arg(long)]
    pub target_datastore: String,
    /// Remove what the tenant has left in the target, unless a migration of today has put it there.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cleanup_prior_migration: bool,
    /// How long it may take, such as 5m.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// File that tells how both datastores are reached; the operator writes it into a Secret.
    #[arg(long)]
    pub route: PathBuf,
}

/// Flags of `kamaji takeover check`.
#[derive(Clone, Debug, Args)]
pub struct TakeoverCheckArgs {
    /// Only tenants of this namespace; all unless given.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// DataStore of tenant control planes that name none, as the operator will be told.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub datastore: String,
    /// How long before its end a certificate is renewed, as the operator will be told; at least 24h.
    #[arg(long, default_value = "24h", value_parser = renewal_window)]
    pub certificate_expiration_deadline: Duration,
    /// Kubeconfig file of the management cluster; the one that kubectl would use unless given.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one unless given.
    #[arg(long)]
    pub context: Option<String>,
}

/// Flags of `kamaji join-command`.
#[derive(Clone, Debug, Args)]
pub struct JoinCommandArgs {
    /// Name of the `TenantControlPlane`.
    pub name: String,
    /// Namespace of the `TenantControlPlane`; that of the kubeconfig's context unless given.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// How long the token lasts, from 1m to 24h.
    #[arg(long, default_value = "1h", value_parser = time_to_live)]
    pub ttl: TimeToLive,
    /// Kubeconfig file of the management cluster; the one that kubectl would use unless given.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one unless given.
    #[arg(long)]
    pub context: Option<String>,
}

/// Flags of `kamaji upgrade plan`.
#[derive(Clone, Debug, Args)]
pub struct UpgradePlanArgs {
    /// Name of the `TenantControlPlane`.
    pub name: String,
    /// Namespace of the `TenantControlPlane`; that of the kubeconfig's context unless given.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Kubernetes version to go to, for example v1.35.4; what the spec asks for unless given.
    #[arg(long, value_parser = KubeVersion::parse)]
    pub to: Option<KubeVersion>,
    /// Kubeconfig file of the management cluster; the one that kubectl would use unless given.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one unless given.
    #[arg(long)]
    pub context: Option<String>,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoder {
    /// One JSON object a line.
    Json,
    /// For people.
    Console,
}

/// Where to listen; `None` means nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

/// `:8080` means every address, as in Go.
fn bind_address(text: &str) -> Result<BindAddress, String> {
    if text.is_empty() || text == "0" {
        return Ok(BindAddress(None));
    }
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse()
        .map(|address| BindAddress(Some(address)))
        .map_err(|_| "expected [host]:port, such as :8080".into())
}

/// A duration as Go writes it: 30s, 1m30s, 24h. Days have no unit there, so neither here.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let hint = "expected a duration such as 30s, 1m30s or 24h";
    if !text.ends_with(['s', 'm', 'h']) || text.contains(['d', 'w', 'y', ' ']) {
        return Err(hint.into());
    }
    let read: jiff::SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    let read: Duration = read.try_into().map_err(|_| hint.to_owned())?;
    if read.is_zero() { Err("must be more than 0".into()) } else { Ok(read) }
}

/// What a Pod could never pull is refused before it reaches one.
fn image(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err("expected an image such as registry.example.com/kine:v1".into())
    }
}

fn renewal_window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    if window < Duration::from_hours(24) { Err("must be at least 24h".into()) } else { Ok(window) }
}

fn time_to_live(text: &str) -> Result<TimeToLive, String> {
    // What means "for ever" elsewhere would be a standing invitation.
    let never = matches!(text, "0" | "0s" | "0m" | "0h");
    let hint = "must be from 1m to 24h; a token that never ends is not made";
    let length = if never { Duration::ZERO } else { duration(text)? };
    TimeToLive::new(length).ok_or_else(|| hint.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn manager(arguments: &[&str]) -> Result<ManagerArgs, clap::Error> {
        let fixed = ["kamaji", "manager", "--pod-namespace=kamaji-system"];
        match Cli::try_parse_from(fixed.iter().chain(arguments))?.command {
            Command::Manager(args) => Ok(*args),
            Command::EtcdInit(_) | Command::Migrate(_) | Command::Takeover { .. } | Command::User(_) => {
                unreachable!("the subcommand is fixed")
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn manifests_of_the_go_operator_are_understood() {
        let args = manager(&[
            "--health-probe-bind-address=:8081",
            "--leader-elect",
            "--metrics-bind-address=:8080",
            "--tmp-directory=/tmp/kamaji",
            "--datastore=default",
            "--disable-telemetry=true",
            "--zap-devel=false",
        ])
        .unwrap();
        assert_eq!(args.datastore, "default");
        assert_eq!(args.accepted.given(), ["--tmp-directory", "--disable-telemetry", "--zap-devel"]);
        assert!(!manager(&["--leader-elect=false"]).unwrap().leader_elect);
    }

    #[test]
    fn the_image_of_kine_is_upstreams_unless_set() {
        assert_eq!(manager(&[]).unwrap().kine_image, kine::DEFAULT_IMAGE);
        let own = "registry.example.com:5000/kine@sha256:0123";
        assert_eq!(manager(&[&format!("--kine-image={own}")]).unwrap().kine_image, own);
        for bad in ["", " ", "a b", "-x"] {
            assert!(manager(&[&format!("--kine-image={bad}")]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["7d", "", "30", "-1s", "0s", "1 h"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
        assert!(renewal_window("1h").is_err());
    }

    #[test]
    fn an_address_may_lack_its_host() {
        assert_eq!(bind_address(":8080"), Ok(BindAddress(Some(([0, 0, 0, 0], 8080).into()))));
        assert_eq!(bind_address("0"), Ok(BindAddress(None)));
        assert!(bind_address("8080").is_err());
    }

    fn called(words: &[&str]) -> Result<Command, clap::Error> {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        Ok(Cli::called(&words)?.command)
    }

    fn join_command(words: &[&str]) -> JoinCommandArgs {
        match called(words).unwrap() {
            Command::User(UserCommand::JoinCommand(args)) => args,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_tenant_is_joined_by_name() {
        let args = join_command(&["kamaji", "join-command", "--namespace", "teams", "blue"]);
        assert_eq!((args.name.as_str(), args.namespace.as_deref()), ("blue", Some("teams")));
        assert_eq!(Some(args.ttl), TimeToLive::new(Duration::from_hours(1)));
        let args = join_command(&["kamaji", "join-command", "blue", "-n", "teams", "--ttl=90s"]);
        assert_eq!(Some(args.ttl), TimeToLive::new(Duration::from_secs(90)));
        assert!(called(&["kamaji", "join-command"]).is_err());
    }

    #[test]
    fn a_token_lasts_from_a_minute_to_a_day() {
        for bad in ["0", "0s", "59s", "24h1s", "720h"] {
            assert!(time_to_live(bad).unwrap_err().contains("never ends is not made"), "{bad}");
        }
        for good in ["1m", "24h", "1h30m"] {
            assert!(time_to_live(good).is_ok(), "{good}");
        }
        assert!(time_to_live("7d").is_err());
    }

    #[test]
    fn the_plugin_of_kubectl_has_the_commands_of_users_only() {
        Plugin::command().debug_assert();
        for program in ["kubectl-kamaji", "/usr/local/bin/kubectl-kamaji"] {
            assert_eq!(join_command(&[program, "join-command", "blue"]).name, "blue");
            assert!(called(&[program, "manager"]).is_err());
            let help = called(&[program, "--help"]).unwrap_err().to_string();
            assert!(help.contains("Usage: kubectl kamaji <COMMAND>"), "{help}");
            assert!(!help.contains("etcd-init"), "{help}");
        }
        assert!(matches!(called(&["kamaji", "manager", "--pod-namespace=x"]), Ok(Command::Manager(_))));
    }
}

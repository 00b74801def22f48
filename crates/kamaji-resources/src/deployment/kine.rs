use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, SecretKeySelector, SecurityContext, Volume, VolumeMount,
};
use kamaji_api::Child;
use kamaji_api::v1alpha1::Driver;

use super::args::{Flags, Winner, compose, without};
use super::component::{Component, Wish};
use super::probes::Health;
use super::socket::{Socket, port};
use super::{Inputs, Part, pki, security};
use crate::kine::{CONNECTIONS, CONTEXT, ENDPOINT, NAME, SOCKET, serves};
use crate::secret;
use crate::storage::Storage;

const UDS: Socket = Socket { volume: "kine-uds", directory: "/uds" };
const CERTIFICATES: &str = "kine-certs";
const CERTIFICATES_DIRECTORY: &str = "/certs";
const LOGIN: &str = "kine-login";
const LOGIN_DIRECTORY: &str = "/login";
/// kine serves nothing but its metrics over TCP, and only once it has reached the store and made its table.
const METRICS_PORT: i32 = 8135;

/// Keys of the Secret with the certificates, which are the files' names too, and the flags that take them.
const FILES: [(&str, &str); 3] =
    [("ca.crt", "ca-file"), ("server.crt", "cert-file"), ("server.key", "key-file")];

/// The container and what the API server shares with it; nothing where the store is etcd.
pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    if !serves(inputs.storage.driver) {
        return Part::default();
    }
    let volumes = [vec![UDS.volume()], certificates(inputs), login(inputs)].concat();
    Part { containers: vec![container(inputs)], volumes }
}

/// What the API server sees of it.
pub(super) fn api_server_mounts(storage: &Storage) -> Vec<VolumeMount> {
    if serves(storage.driver) { vec![UDS.mount()] } else { Vec::new() }
}

/// The image is left open: it is chosen when everything else is known.
fn container(inputs: &Inputs<'_>) -> Container {
    let wish = Wish::kine(&inputs.tenant.deployment);
    let mut mounts = vec![UDS.mount()];
    if !files(inputs).is_empty() {
        mounts.push(pki::read_only(CERTIFICATES, CERTIFICATES_DIRECTORY));
    }
    if logs_in_by_file(inputs) {
        mounts.push(pki::read_only(LOGIN, LOGIN_DIRECTORY));
    }
    let component = Component {
        name: NAME,
        image: "",
        health: Health { scheme: "HTTP", port: METRICS_PORT, live: "/metrics", ready: "/metrics" },
        arguments: arguments(inputs, wish.arguments),
        mounts,
        security: security(inputs),
    };
    Container {
        command: Some(vec!["/bin/kine".into()]),
        env: Some(vec![endpoint(inputs)]),
        ports: Some(vec![port("kine-metrics", METRICS_PORT)]),
        ..component.container(&wish, None)
    }
}

/// The user may give other certificates and limits, but no other endpoint: it would be seen by whoever lists processes.
fn arguments(inputs: &Inputs<'_>, extra: &[String]) -> Vec<String> {
    let extra = without(extra, &["endpoint"].into());
    let managed =
        vec![("listen-address", SOCKET.into()), ("metrics-bind-address", format!(":{METRICS_PORT}"))];
    let certificates: Flags = files(inputs)
        .into_iter()
        .map(|(file, flag)| (flag, format!("{CERTIFICATES_DIRECTORY}/{file}")))
        .collect();
    compose(
        &[(Winner::Kamaji, managed), (Winner::User, certificates), (Winner::User, limits(inputs))],
        &extra,
    )
}

/// NATS is reached over one connection. In PostgreSQL kine must not be limited: each of its writes (as of v0.17.5) holds one
/// connection for a transaction and takes a second one to insert, so as many writers as there are connections wait for each
/// other for ever.
fn limits(inputs: &Inputs<'_>) -> Flags {
    match inputs.storage.driver {
        Driver::MySql => vec![("datastore-max-open-connections", CONNECTIONS.to_string())],
        Driver::PostgreSql | Driver::Nats | Driver::Etcd => Flags::new(),
    }
}

/// Those of the files that the DataStore has.
fn files(inputs: &Inputs<'_>) -> Vec<(&'static str, &'static str)> {
    let secret = &inputs.storage_credentials.certificate;
    FILES.into_iter().filter(|(file, _)| secret::value(secret, file).is_some()).collect()
}

fn certificates(inputs: &Inputs<'_>) -> Vec<Volume> {
    let names: Vec<&str> = files(inputs).into_iter().map(|(file, _)| file).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![pki::files(inputs.tenant, CERTIFICATES, Child::DatastoreCertificate, &names)]
}

fn logs_in_by_file(inputs: &Inputs<'_>) -> bool {
    secret::value(&inputs.storage_credentials.config, CONTEXT).is_some()
}

fn login(inputs: &Inputs<'_>) -> Vec<Volume> {
    if !logs_in_by_file(inputs) {
        return Vec::new();
    }
    vec![pki::file(inputs.tenant, LOGIN, Child::DatastoreConfig, CONTEXT)]
}

fn endpoint(inputs: &Inputs<'_>) -> EnvVar {
    EnvVar {
        name: ENDPOINT.into(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: Child::DatastoreConfig.name(&inputs.tenant.id.name),
                key: ENDPOINT.into(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// The socket is open to the user that made it, so kine is whoever the API server is.
fn security(inputs: &Inputs<'_>) -> SecurityContext {
    let api_server = Wish::api_server(&inputs.tenant.deployment).security.cloned().unwrap_or_default();
    SecurityContext {
        run_as_user: api_server.run_as_user,
        run_as_group: api_server.run_as_group,
        run_as_non_root: api_server.run_as_non_root,
        ..security::container()
    }
}

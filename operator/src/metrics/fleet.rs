//! Gauges over the fleet, computed from the caches when somebody asks.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::labels;
use kamaji_api::v1alpha1::{Phase, TenantControlPlane};
use kamaji_pki::Certificate;
use kamaji_resources::Kubeconfig;
use kube::ResourceExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::context::Caches;

/// A certificate that ends within this time is counted as expiring.
const EXPIRING: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    commit: &'static str,
    dirty: &'static str,
    repo: &'static str,
    build_time: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantInfoLabels {
    tcp_namespace: String,
    tcp_name: String,
    kubernetes_version: String,
    datastore_driver: String,
    address: String,
    exposure_strategy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantStatusLabels {
    tcp_namespace: String,
    tcp_name: String,
    status: &'static str,
    ready: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadyLabels {
    ready: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DataStoreInfoLabels {
    datastore_name: String,
    driver: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DataStoreStatusLabels {
    datastore_name: String,
    status: String,
    ready: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DataStoreCountLabels {
    datastore_name: String,
    ready: String,
    driver: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct CertificateLabels {
    tcp_namespace: String,
    tcp_name: String,
    status: &'static str,
    strategy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpiryLabels {
    tcp_namespace: String,
    tcp_name: String,
    component: String,
}

/// What this program was built from, as far as whoever built it said so.
pub(super) fn build(registry: &mut Registry) {
    let labels = BuildLabels {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("KAMAJI_COMMIT").unwrap_or_default(),
        dirty: option_env!("KAMAJI_DIRTY").unwrap_or_default(),
        repo: option_env!("KAMAJI_REPOSITORY").unwrap_or_default(),
        build_time: option_env!("KAMAJI_BUILD_TIME").unwrap_or_default(),
    };
    let build = Family::<BuildLabels, Gauge>::default();
    build.get_or_create(&labels).set(1);
    registry.register("kamaji_build_info", "What the operator was built from", build);
}

/// The gauges over everything that the caches hold.
pub(super) fn register(registry: &mut Registry, caches: &Caches, now: Timestamp) {
    tenants(registry, caches);
    data_stores(registry, caches);
    certificates(registry, caches, now);
}

fn tenants(registry: &mut Registry, caches: &Caches) {
    let info = Family::<TenantInfoLabels, Gauge>::default();
    let status = Family::<TenantStatusLabels, Gauge>::default();
    let current = Family::<ReadyLabels, Gauge>::default();
    for tcp in caches.tenants.all() {
        info.get_or_create(&tenant_info(&tcp)).set(1);
        let phase = phase(&tcp);
        let ready = (phase == Phase::Ready).to_string();
        let (tcp_namespace, tcp_name) = (tcp.namespace().unwrap_or_default(), tcp.name_any());
        let labels =
            TenantStatusLabels { tcp_namespace, tcp_name, status: phase.as_str(), ready: ready.clone() };
        status.get_or_create(&labels).set(1);
        current.get_or_create(&ReadyLabels { ready }).inc();
    }
    registry.register("kamaji_tenant_control_plane_info", "What each tenant control plane is", info);
    registry.register("kamaji_tenant_control_plane_status", "Phase of each tenant control plane", status);
    registry.register("kamaji_tenant_control_planes_current", "Tenant control planes", current);
}

fn phase(tcp: &TenantControlPlane) -> Phase {
    let resources = tcp.status.as_ref().and_then(|status| status.kubernetes_resources.as_ref());
    resources
        .and_then(|resources| resources.version.as_ref())
        .map_or(Phase::Unknown, |version| version.status)
}

fn tenant_info(tcp: &TenantControlPlane) -> TenantInfoLabels {
    let status = tcp.status.clone().unwrap_or_default();
    let driver = status.storage.and_then(|storage| storage.driver);
    let exposure = if tcp.spec.control_plane.gateway.is_some() { "gateway" } else { "service" };
    TenantInfoLabels {
        tcp_namespace: tcp.namespace().unwrap_or_default(),
        tcp_name: tcp.name_any(),
        kubernetes_version: tcp.spec.kubernetes.version.clone(),
        datastore_driver: driver.map_or("unknown", |driver| driver.as_str()).to_owned(),
        address: status
            .control_plane_endpoint
            .map(|endpoint| format!("https://{endpoint}"))
            .unwrap_or_default(),
        exposure_strategy: exposure.to_owned(),
    }
}

fn data_stores(registry: &mut Registry, caches: &Caches) {
    let info = Family::<DataStoreInfoLabels, Gauge>::default();
    let status = Family::<DataStoreStatusLabels, Gauge>::default();
    let current = Family::<DataStoreCountLabels, Gauge>::default();
    for data_store in caches.data_stores.all() {
        let (datastore_name, driver) = (data_store.name_any(), data_store.spec.driver.as_str());
        let known = data_store.status.clone().unwrap_or_default();
        let ready = known.ready.to_string();
        let validation =
            known.conditions.iter().find(|condition| condition.type_.ends_with("DataStoreValidation"));
        let validation =
            validation.map_or_else(|| "Unknown".to_owned(), |condition| condition.status.clone());
        info.get_or_create(&DataStoreInfoLabels { datastore_name: datastore_name.clone(), driver }).set(1);
        let labels = DataStoreStatusLabels {
            datastore_name: datastore_name.clone(),
            status: validation,
            ready: ready.clone(),
        };
        status.get_or_create(&labels).set(1);
        current.get_or_create(&DataStoreCountLabels { datastore_name, ready, driver }).set(1);
    }
    registry.register("kamaji_datastore_info", "What each DataStore is", info);
    registry.register("kamaji_datastore_status", "Whether each DataStore is valid", status);
    registry.register("kamaji_datastores_current", "DataStores", current);
}

fn certificates(registry: &mut Registry, caches: &Caches, now: Timestamp) {
    let mut counts: BTreeMap<CertificateLabels, i64> = BTreeMap::new();
    let expiry = Family::<ExpiryLabels, Gauge>::default();
    for secret in caches.secrets.all() {
        let label = |name: &str| secret.labels().get(name).cloned();
        let tcp_name = label(labels::NAME).unwrap_or_default();
        let tcp_namespace = secret.namespace().unwrap_or_default();
        let ends = ends(&secret);
        if let (Some(end), Some(component)) = (ends.first(), label(labels::COMPONENT)) {
            let labels =
                ExpiryLabels { tcp_namespace: tcp_namespace.clone(), tcp_name: tcp_name.clone(), component };
            expiry.get_or_create(&labels).set(now.duration_until(end.0).as_secs());
        }
        let Some(strategy) = label(labels::CERTIFICATE_LIFECYCLE) else { continue };
        let status = health(&ends, now);
        *counts.entry(CertificateLabels { tcp_namespace, tcp_name, status, strategy }).or_default() += 1;
    }
    let current = Family::<CertificateLabels, Gauge>::default();
    for (labels, count) in counts {
        current.get_or_create(&labels).set(count);
    }
    registry.register("kamaji_certificates_current", "Secrets with certificates by state", current);
    registry.register(
        "kamaji_certificate_expiry_seconds",
        "Seconds until the first certificate of each Secret ends; authorities are told of too",
        expiry,
    );
}

/// Whether a certificate signs others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Leaf,
    Authority,
}

/// When the certificates of a Secret end, the first first.
fn ends(secret: &Secret) -> Vec<(Timestamp, Rank)> {
    let read = |value: &[u8]| {
        Certificate::from_pem(value).ok().or_else(|| {
            let file = Kubeconfig::from_yaml(value)?;
            Certificate::from_pem(file.certificate.as_bytes()).ok()
        })
    };
    let certificates = secret.data.iter().flatten().filter_map(|(_, value)| read(&value.0));
    let rank = |certificate: &Certificate| {
        if certificate.is_authority() { Rank::Authority } else { Rank::Leaf }
    };
    let mut ends: Vec<_> =
        certificates.map(|certificate| (certificate.not_after(), rank(&certificate))).collect();
    ends.sort();
    ends
}

/// The state of the certificate that ends first; authorities do not count.
fn health(ends: &[(Timestamp, Rank)], now: Timestamp) -> &'static str {
    match ends.iter().find(|(_, rank)| *rank == Rank::Leaf) {
        Some((end, _)) if *end > now + EXPIRING => "valid",
        Some((end, _)) if *end > now => "expiring",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use kamaji_pki::{Authority, Leaf, Names, Usage};

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    /// A Secret with an authority and a certificate that last so long, and something else.
    fn secret(authority: SignedDuration, leaf: SignedDuration) -> Secret {
        let authority = Authority::create("kubernetes", NOW, authority).unwrap();
        let leaf = Leaf {
            common_name: "somebody".into(),
            organizations: Vec::new(),
            usage: Usage::Client,
            names: Names::default(),
            valid_for: leaf,
        };
        let pair = authority.issue(&leaf, NOW).unwrap();
        let data = [
            ("ca.crt", authority.certificate().pem()),
            ("tls.crt", pair.certificate().pem()),
            ("tls.key", pair.key().pem()),
        ];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret { data: Some(data.into()), ..Secret::default() }
    }

    #[test]
    fn the_first_end_is_told_and_only_leaves_are_judged() {
        let found = ends(&secret(HOUR * 100, HOUR * 30));
        assert_eq!(found, [(NOW + HOUR * 30, Rank::Leaf), (NOW + HOUR * 100, Rank::Authority)]);
        for (later, expected) in [(HOUR * 5, "valid"), (HOUR * 7, "expiring"), (HOUR * 31, "invalid")] {
            assert_eq!(health(&found, NOW + later), expected);
        }
        assert_eq!((ends(&Secret::default()), health(&[], NOW)), (vec![], "invalid"));
        assert_eq!(health(&[(NOW, Rank::Authority)], NOW), "invalid", "an authority is no leaf");
    }
}

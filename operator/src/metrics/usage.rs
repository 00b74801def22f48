//! How much room the data of tenants takes, as it was last measured. It changes all the time, so it is told exactly here, and
//! roughly in the status of the DataStore.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kamaji_api::v1alpha1::DataStoreUsage;
use kamaji_datastore::store::{self, Health};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How often the tenants of a datastore are measured.
const INTERVAL: Duration = Duration::from_mins(5);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    datastore_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    datastore_name: String,
    tcp_namespace: String,
    tcp_name: String,
}

/// What is known of each datastore.
pub(crate) struct Usage {
    measured: Mutex<BTreeMap<String, Measured>>,
    begun: Instant,
}

impl Default for Usage {
    fn default() -> Self {
        Self { measured: Mutex::default(), begun: Instant::now() }
    }
}

#[derive(Default)]
struct Measured {
    used: u64,
    quota: Option<u64>,
    tenants: Vec<TenantUsage>,
    /// When the tenants were measured.
    at: Option<Instant>,
}

/// What the data of one tenant takes.
pub(crate) struct TenantUsage {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) usage: store::Usage,
}

impl TenantUsage {
    /// As it is told in a status, if the datastore keeps count of anything.
    fn told(&self) -> Option<DataStoreUsage> {
        let store::Usage { bytes, keys } = self.usage;
        (bytes.is_some() || keys.is_some()).then(|| DataStoreUsage {
            tenant: format!("{}/{}", self.namespace, self.name),
            bytes: bytes.map(gauge),
            keys: keys.map(gauge),
        })
    }
}

impl Usage {
    /// Notes what a datastore said of itself. True if its tenants are to be measured too.
    pub(crate) fn measured(&self, data_store: &str, health: &Health) -> bool {
        let mut all = self.lock();
        let measured = all.entry(data_store.to_owned()).or_default();
        (measured.used, measured.quota) = (health.used_bytes, health.quota_bytes);
        measured.at.is_none_or(|at| at.elapsed() >= INTERVAL)
    }

    /// Notes what each of its tenants takes.
    pub(crate) fn tenants_measured(&self, data_store: &str, tenants: Vec<TenantUsage>) {
        if let Some(measured) = self.lock().get_mut(data_store) {
            (measured.tenants, measured.at) = (tenants, Some(Instant::now()));
        }
    }

    /// What each of its tenants takes, for its status. An operator that has just started has nothing to add to what the last one
    /// said.
    pub(crate) fn of_tenants(&self, data_store: &str) -> Option<Vec<DataStoreUsage>> {
        if self.begun.elapsed() < INTERVAL {
            return None;
        }
        let all = self.lock();
        let measured = all.get(data_store).filter(|measured| measured.at.is_some())?;
        Some(measured.tenants.iter().filter_map(TenantUsage::told).collect())
    }

    /// Forgets a datastore that is gone.
    pub(crate) fn forget(&self, data_store: &str) {
        self.lock().remove(data_store);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let used = Family::<StoreLabels, Gauge>::default();
        let quota = Family::<StoreLabels, Gauge>::default();
        let (bytes, keys) =
            (Family::<TenantLabels, Gauge>::default(), Family::<TenantLabels, Gauge>::default());
        for (name, measured) in self.lock().iter() {
            let labels = StoreLabels { datastore_name: name.clone() };
            used.get_or_create(&labels).set(gauge(measured.used));
            if let Some(most) = measured.quota {
                quota.get_or_create(&labels).set(gauge(most));
            }
            for tenant in &measured.tenants {
                let labels = TenantLabels {
                    datastore_name: name.clone(),
                    tcp_namespace: tenant.namespace.clone(),
                    tcp_name: tenant.name.clone(),
                };
                for (family, value) in [(&bytes, tenant.usage.bytes), (&keys, tenant.usage.keys)] {
                    if let Some(value) = value {
                        family.get_or_create(&labels).set(gauge(value));
                    }
                }
            }
        }
        registry.register("kamaji_datastore_used_bytes", "Room that the data of a DataStore takes", used);
        registry.register("kamaji_datastore_quota_bytes", "Room that it may take", quota);
        registry.register(
            "kamaji_tenant_control_plane_datastore_bytes",
            "Room that the data of a tenant control plane takes in its DataStore, where that can be told",
            bytes,
        );
        registry.register(
            "kamaji_tenant_control_plane_datastore_keys",
            "Keys of a tenant control plane in its DataStore, where they are counted",
            keys,
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gauge(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_gone_is_told_no_longer() {
        let usage = Usage::default();
        let health =
            Health { endpoint: String::new(), version: String::new(), used_bytes: 7, quota_bytes: None };
        assert!(usage.measured("store", &health));
        let tenant = TenantUsage {
            namespace: "teams".into(),
            name: "blue".into(),
            usage: store::Usage { bytes: Some(5), keys: None },
        };
        usage.tenants_measured("store", vec![tenant]);
        assert!(!usage.measured("store", &health), "not again so soon");
        let text = || {
            let (mut registry, mut text) = (Registry::default(), String::new());
            usage.register(&mut registry);
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        assert!(text().contains(r#"kamaji_datastore_used_bytes{datastore_name="store"} 7"#), "{}", text());
        let line = r#"kamaji_tenant_control_plane_datastore_bytes{datastore_name="store",tcp_namespace="teams",tcp_name="blue"} 5"#;
        assert!(text().contains(line), "{}", text());
        assert!(!text().contains("datastore_keys{"), "nobody has counted them: {}", text());
        usage.tenants_measured("store", Vec::new());
        assert!(!text().contains("blue"));
        usage.forget("store");
        assert!(!text().contains("\"store\""));
    }
}

//! Kinds of objects that the API server keeps in other etcds than the tenant's own.
//!
//! The API server is given one prefix, one client certificate and one file of authorities for all etcds
//! (`storagebackend.TransportConfig` of k8s.io/apiserver, of which an override replaces the servers and nothing else), so a
//! tenant has the same schema and the same user in each of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::Tenant;
use kamaji_api::v1alpha1::{Driver, StorageOverrideStatus};

use crate::deployment::args;
use crate::memory::Claim;

/// The API server's flag.
pub(crate) const FLAG: &str = "etcd-servers-overrides";

/// Kinds whose objects end by themselves within the hour, or are written anew within seconds.
const PASSING: [&str; 3] = ["/events", "events.k8s.io/events", "coordination.k8s.io/leases"];

/// A store that keeps some kinds, as the control plane reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Name of the DataStore.
    pub data_store: String,
    /// Addresses of the store, as `host:port`.
    pub endpoints: Vec<String>,
    /// The authority that signed the store's certificate, in PEM.
    pub authority: String,
    /// The kinds, as `group/resource`.
    pub resources: BTreeSet<String>,
}

/// A tenant's claim on a place in a store that keeps some of its kinds. It is written down before anything is made there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideClaim {
    /// Name of the DataStore.
    pub data_store: String,
    /// Prefix and role.
    pub schema: String,
    /// User.
    pub user: String,
    /// Kinds whose objects lie there or are about to, also those that are no longer kept there.
    pub resources: BTreeSet<String>,
    /// Since when nothing is kept there any more although something lies there.
    pub retired_since: Option<Timestamp>,
}

impl OverrideClaim {
    /// The same as a claim on any place.
    pub fn claim(&self) -> Claim {
        Claim {
            data_store: self.data_store.clone(),
            driver: Driver::Etcd,
            schema: self.schema.clone(),
            user: self.user.clone(),
        }
    }

    /// True when nothing that lies there is worth keeping: it ends by itself, and nobody asks for it.
    pub fn is_passing(&self) -> bool {
        self.resources.iter().all(|kind| is_passing(kind))
    }

    pub(crate) fn of(status: &StorageOverrideStatus) -> Option<Self> {
        let named =
            [&status.data_store_name, &status.schema, &status.user].iter().all(|name| !name.is_empty());
        named.then(|| Self {
            data_store: status.data_store_name.clone(),
            schema: status.schema.clone(),
            user: status.user.clone(),
            resources: status.resources.iter().cloned().collect(),
            retired_since: status.retired_since.as_ref().map(|time| time.0),
        })
    }
}

/// The kinds that each DataStore but the tenant's own is to keep.
pub fn wanted(tenant: &Tenant, own: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut wanted = BTreeMap::<String, BTreeSet<String>>::new();
    for (resource, data_store) in tenant.overrides.iter().filter(|(_, data_store)| *data_store != own) {
        wanted.entry(data_store.clone()).or_default().insert(resource.clone());
    }
    wanted
}

/// The claims after those that are `wanted` have been made: what is known stays, what is new has the names of the tenant's
/// `own` place.
pub fn claims(
    known: &[OverrideClaim],
    wanted: &BTreeMap<String, BTreeSet<String>>,
    own: &Claim,
) -> Vec<OverrideClaim> {
    let mut claims: BTreeMap<&String, OverrideClaim> =
        known.iter().map(|claim| (&claim.data_store, claim.clone())).collect();
    for (data_store, resources) in wanted {
        let claim = claims.entry(data_store).or_insert_with(|| OverrideClaim {
            data_store: data_store.clone(),
            schema: own.schema.clone(),
            user: own.user.clone(),
            resources: BTreeSet::new(),
            retired_since: None,
        });
        claim.resources.extend(resources.iter().cloned());
        claim.retired_since = None;
    }
    claims.into_values().collect()
}

/// The value of the API server's argument: `group/resource#server;server`, joined by commas; nothing without overrides.
///
/// Source: `ParseEtcdServersOverrides` of k8s.io/apiserver 0.30 to 0.36.
pub(crate) fn argument(overrides: &[Override]) -> Option<String> {
    let mut kinds = BTreeMap::new();
    for place in overrides {
        let servers: Vec<String> =
            place.endpoints.iter().map(|endpoint| format!("https://{endpoint}")).collect();
        kinds.extend(place.resources.iter().map(|kind| (kind.as_str(), servers.join(";"))));
    }
    let words: Vec<String> = kinds.iter().map(|(kind, servers)| format!("{kind}#{servers}")).collect();
    (!words.is_empty()).then(|| words.join(","))
}

/// Where the API server of a Deployment keeps its kinds, as far as they are not in the tenant's own store: the servers of
/// each.
pub fn in_force(deployment: &Deployment) -> BTreeMap<String, BTreeSet<String>> {
    let pod = deployment.spec.template.spec.iter();
    let containers =
        pod.flat_map(|pod| &pod.containers).filter(|container| container.name == "kube-apiserver");
    let arguments: Vec<String> =
        containers.flat_map(|container| container.args.iter().flatten().cloned()).collect();
    let words = args::values(&arguments, FLAG).into_iter().flat_map(|list| list.split(','));
    words
        .filter_map(|word| word.split_once('#'))
        .map(|(kind, servers)| (kind.to_owned(), servers.split(';').map(str::to_owned).collect()))
        .collect()
}

/// Whether the API server that `in_force` was read of keeps any of these kinds at these endpoints, whoever made that place.
pub fn is_kept_at(
    in_force: &BTreeMap<String, BTreeSet<String>>,
    resources: &BTreeSet<String>,
    endpoints: &[String],
) -> bool {
    let servers: BTreeSet<String> = endpoints.iter().map(|endpoint| format!("https://{endpoint}")).collect();
    resources.iter().any(|kind| in_force.get(kind) == Some(&servers))
}

/// What becomes of objects that were made before when the API server looks for their kinds elsewhere: a sentence for each
/// such kind, but for those whose objects end by themselves.
pub fn left_behind(live: &Deployment, desired: &Deployment) -> Vec<String> {
    let (before, after) = (in_force(live), in_force(desired));
    let kinds: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let moved = kinds.into_iter().filter(|kind| before.get(*kind) != after.get(*kind) && !is_passing(kind));
    let place = |servers: Option<&BTreeSet<String>>| {
        servers.map_or_else(
            || "the tenant's own DataStore".to_owned(),
            |servers| servers.iter().cloned().collect::<Vec<_>>().join(", "),
        )
    };
    moved
        .map(|kind| {
            format!(
                "{kind} is kept in {} from now on; objects that are in {} stay there unseen until it is set back",
                place(after.get(kind)),
                place(before.get(kind)),
            )
        })
        .collect()
}

fn is_passing(kind: &str) -> bool {
    PASSING.contains(&kind)
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use serde_json::json;

    use super::*;

    fn place(data_store: &str, resources: &[&str]) -> Override {
        Override {
            data_store: data_store.to_owned(),
            endpoints: vec![format!("{data_store}-0:2379"), format!("{data_store}-1:2379")],
            authority: String::new(),
            resources: resources.iter().map(|kind| (*kind).to_owned()).collect(),
        }
    }

    fn deployment(arguments: &[&str]) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {},
            "spec": { "selector": {}, "template": { "spec": { "containers": [
                { "name": "other", "args": ["--etcd-servers-overrides=/pods#https://other"] },
                { "name": "kube-apiserver", "args": arguments },
            ] } } },
        }))
        .unwrap()
    }

    fn own() -> Claim {
        Claim { data_store: "own".into(), driver: Driver::Etcd, schema: "schema".into(), user: "user".into() }
    }

    #[test]
    fn the_argument_is_what_the_api_server_parses() {
        assert_eq!(argument(&[]), None);
        let overrides = [place("b", &["/events", "apps/*"]), place("a", &["/configmaps"])];
        let text = argument(&overrides).unwrap();
        assert_eq!(
            text,
            "/configmaps#https://a-0:2379;https://a-1:2379,/events#https://b-0:2379;https://b-1:2379,\
             apps/*#https://b-0:2379;https://b-1:2379"
        );
        let read = in_force(&deployment(&["--v=1", &format!("--etcd-servers-overrides={text}")]));
        assert_eq!(read.len(), 3);
        assert!(overrides.iter().all(|place| is_kept_at(&read, &place.resources, &place.endpoints)));
        let elsewhere = place("c", &["/events"]);
        assert!(!is_kept_at(&read, &elsewhere.resources, &elsewhere.endpoints));
    }

    #[test]
    fn the_tenants_own_store_is_no_override() {
        let overrides = [("/events", "own"), ("/pods", "second"), ("/secrets", "second")];
        let overrides = overrides.map(|(kind, store)| (kind.to_owned(), store.to_owned()));
        let tenant = Tenant { overrides: overrides.into(), ..fixtures::tenant() };
        let wanted = wanted(&tenant, "own");
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["second"]);
        assert_eq!(wanted["second"].len(), 2);
    }

    #[test]
    fn a_claim_is_made_with_the_tenants_own_names_and_never_forgotten() {
        let kinds = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect::<BTreeSet<_>>();
        let first = claims(&[], &[("b".to_owned(), kinds(&["/events"]))].into(), &own());
        assert_eq!((first[0].schema.as_str(), first[0].user.as_str()), ("schema", "user"));
        let retired = [OverrideClaim { retired_since: Some(Timestamp::UNIX_EPOCH), ..first[0].clone() }];
        let moved = claims(&retired, &[("a".to_owned(), kinds(&["/events"]))].into(), &own());
        assert_eq!(moved.iter().map(|claim| claim.data_store.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(moved[1].retired_since.is_some(), "still retired");
        let renamed = Claim { schema: "other".into(), ..own() };
        let back = claims(&moved, &[("b".to_owned(), kinds(&["/pods"]))].into(), &renamed);
        assert_eq!((back[1].retired_since, back[1].schema.as_str()), (None, "schema"));
        assert_eq!(back[1].resources, kinds(&["/events", "/pods"]));
        assert!(first[0].is_passing() && !back[1].is_passing());
    }

    #[test]
    fn what_moves_is_told_unless_it_ends_by_itself() {
        let none = deployment(&[]);
        let kept =
            deployment(&["--etcd-servers-overrides=/events#https://b,/configmaps#https://a;https://b"]);
        let same = deployment(&["--etcd-servers-overrides=/configmaps#https://b;https://a"]);
        let told = left_behind(&none, &kept);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("/configmaps is kept in https://a, https://b from now on"), "{told:?}");
        assert!(left_behind(&kept, &same).is_empty(), "the order of servers is nothing");
        assert!(left_behind(&same, &none)[0].contains("is kept in the tenant's own DataStore"));
    }
}

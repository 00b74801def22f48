//! What every object of a tenant has in common: its name, its labels and its owner.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, TenantId, labels};
use kube::Resource;

use crate::checksum;

/// The metadata of a child, without annotations.
pub fn metadata(tenant: &TenantId, child: Child) -> ObjectMeta {
    ObjectMeta {
        name: Some(child.name(&tenant.name)),
        namespace: Some(tenant.namespace.clone()),
        labels: Some(labels::of_child(&tenant.name, child)),
        owner_references: Some(vec![owner_reference(tenant)]),
        ..ObjectMeta::default()
    }
}

/// The reference that makes the garbage collector remove a child after its tenant.
pub fn owner_reference(tenant: &TenantId) -> OwnerReference {
    OwnerReference {
        api_version: TenantControlPlane::api_version(&()).into_owned(),
        kind: TenantControlPlane::kind(&()).into_owned(),
        name: tenant.name.clone(),
        uid: tenant.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whose an object is that bears the name of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It belongs to this very tenant.
    Ours,
    /// It belonged to a tenant of the same name that is gone, or was restored from a backup of one.
    Inherited,
    /// It is none of ours, and must not be touched.
    Foreign,
}

/// Whose `metadata` is, judged by its owner references and never by its name or labels alone.
pub fn ownership(tenant: &TenantId, metadata: &ObjectMeta) -> Ownership {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    if owners.iter().any(|owner| owner.uid == tenant.uid) {
        return Ownership::Ours;
    }
    let same_name =
        |owner: &OwnerReference| owner.kind == TenantControlPlane::kind(&()) && owner.name == tenant.name;
    if owners.iter().any(same_name) { Ownership::Inherited } else { Ownership::Foreign }
}

/// True of a Secret that the Go operator has left without an owner: it makes one that holds nothing for a tenant whose
/// datastore has no certificates, and marks it with nothing but the checksum of nothing.
pub fn is_left_without_owner(metadata: &ObjectMeta) -> bool {
    let sum = metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::CHECKSUM));
    let is_empty = sum.is_some_and(|sum| *sum == checksum::of_go(&BTreeMap::new()));
    is_empty && metadata.owner_references.iter().flatten().next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        TenantId { namespace: "teams".into(), name: "blue".into(), uid: "1".into() }
    }

    #[test]
    fn what_we_make_is_ours() {
        assert_eq!(ownership(&tenant(), &metadata(&tenant(), Child::Ca)), Ownership::Ours);
    }

    #[test]
    fn labels_alone_prove_nothing() {
        let labelled = ObjectMeta { owner_references: None, ..metadata(&tenant(), Child::Ca) };
        assert_eq!(ownership(&tenant(), &labelled), Ownership::Foreign);
    }

    #[test]
    fn a_namesake_that_is_gone_leaves_an_inheritance() {
        let earlier = TenantId { uid: "0".into(), ..tenant() };
        assert_eq!(ownership(&tenant(), &metadata(&earlier, Child::Ca)), Ownership::Inherited);
    }
}

//! What an owner no longer wants.

use kube::Resource;

use crate::{Cluster, Error, ObjectId, delete::Deleted};

/// Those of `live` that the owner with this UID controls and that are not in `keep`.
///
/// Ownership is the controlling owner reference and its UID, never a label or a name: what merely carries our labels,
/// what belonged to an owner of the same name before, and what a user tied to the owner's life without making it the
/// controller, stays. What is being deleted already is left out.
pub fn orphans<'a, K>(live: impl IntoIterator<Item = &'a K>, owner_uid: &str, keep: &[ObjectId]) -> Vec<&'a K>
where
    K: Resource<DynamicType = ()> + 'a,
{
    let is_orphan = |object: &&K| {
        let meta = object.meta();
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        !owner_uid.is_empty()
            && meta.deletion_timestamp.is_none()
            && owners.iter().any(|owner| owner.uid == owner_uid && owner.controller == Some(true))
            && !keep.contains(&ObjectId::of(*object))
    };
    live.into_iter().filter(is_orphan).collect()
}

impl Cluster {
    /// Deletes the [`orphans`] among `live`, and returns those that are gone or going because of it.
    ///
    /// Each is deleted only as it was read (see [`Cluster::delete`]): one that changed since is a conflict, which ends
    /// the round; the next one sees it anew.
    pub async fn prune<'a, K>(
        &self,
        live: impl IntoIterator<Item = &'a K>,
        owner_uid: &str,
        keep: &[ObjectId],
    ) -> Result<Vec<ObjectId>, Error>
    where
        K: Resource<DynamicType = ()> + 'a,
    {
        let mut pruned = Vec::new();
        for orphan in orphans(live, owner_uid, keep) {
            if matches!(self.delete(orphan).await?, Deleted::Gone | Deleted::Terminating) {
                pruned.push(ObjectId::of(orphan));
            }
        }
        Ok(pruned)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::ConfigMap,
        apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
        jiff::Timestamp,
    };
    use kube::core::ObjectMeta;

    use super::orphans;
    use crate::ObjectId;

    fn config_map(name: &str, owner: Option<(&str, Option<bool>)>) -> ConfigMap {
        let reference = owner.map(|(uid, controller)| OwnerReference {
            name: "blue".into(),
            uid: uid.into(),
            controller,
            ..Default::default()
        });
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("tenants".into()),
                labels: Some([("app".into(), "blue".into())].into()),
                owner_references: reference.map(|reference| vec![reference]),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn only_what_the_owner_controls_and_no_longer_wants() {
        let mut going = config_map("going", Some(("uid", Some(true))));
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let live = [
            config_map("wanted", Some(("uid", Some(true)))),
            config_map("old", Some(("uid", Some(true)))),
            config_map("of-the-tenant-before", Some(("uid-before", Some(true)))),
            config_map("tied-by-a-user", Some(("uid", None))),
            config_map("labelled", None),
            going,
        ];
        let keep = [ObjectId::new::<ConfigMap>(Some("tenants"), "wanted")];
        let found: Vec<_> = orphans(&live, "uid", &keep).into_iter().map(ObjectId::of).collect();
        assert_eq!(found, [ObjectId::new::<ConfigMap>(Some("tenants"), "old")]);
        assert!(orphans(&live, "", &[]).is_empty());
    }
}

//! The status of a tenant, written once per pass and only if it differs.

use kamaji_api::v1alpha1::{TenantControlPlane, TenantControlPlaneStatus};

use crate::context::Context;
use crate::error::Error;
use crate::fence;

impl Context {
    /// The status is this one. No request is made when it is so already.
    pub(crate) async fn write_status(
        &self,
        tcp: &TenantControlPlane,
        status: TenantControlPlaneStatus,
    ) -> Result<(), Error> {
        let desired =
            TenantControlPlane { metadata: fence::of(tcp), spec: tcp.spec.clone(), status: Some(status) };
        match self.cluster.settle_status(&desired, Some(tcp)).await {
            Ok(kamaji_apply::Applied::Changed(made)) => {
                self.caches.tenants.wrote(made);
                Ok(())
            }
            Ok(kamaji_apply::Applied::Unchanged(_)) => Ok(()),
            Err(source) => Err(Error::kubernetes("status", source)),
        }
    }
}

//! What the tunnel's server proves itself with: a pair of its own to the agents, another to the API server.

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, Tenant};
use kamaji_pki::verdict::Held;
use kamaji_pki::{Leaf, Names, Pair, Usage};

use super::{LEAF_VALIDITY, Profile, Renewals, Server, client};
use crate::konnectivity::SERVER_USER;
use crate::{Endpoint, Error, Kubeconfig, secret};

const FILE: &str = "konnectivity-server.conf";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What agents expect.
const SERVER: Profile = Profile {
    child: Child::KonnectivityServer,
    file: "konnectivity-server",
    authority: Child::Ca,
    leaf: server,
};

/// The serving certificate: every name and address that agents may be told, and none that only others use.
fn server(tenant: &Tenant, endpoint: &Endpoint) -> Leaf {
    let mut ips = tenant.network.san_ips.clone();
    ips.extend([endpoint.address, endpoint.advertised]);
    Leaf {
        common_name: "konnectivity-server".into(),
        organizations: Vec::new(),
        usage: Usage::Server,
        names: Names { dns: tenant.network.san_names.clone(), ips },
        valid_for: LEAF_VALIDITY,
    }
}

impl Renewals<'_> {
    /// The Secrets that a tenant has with konnectivity.
    pub(super) fn konnectivity(&mut self) -> Result<[(Child, Secret); 3], Error> {
        let pair = self.konnectivity_client()?;
        let kubeconfig = self.konnectivity_kubeconfig(&pair)?;
        Ok([
            (Child::KonnectivityCertificate, self.konnectivity_certificate(&pair)),
            (Child::KonnectivityKubeconfig, kubeconfig),
            (SERVER.child, self.certificate(&SERVER)?),
        ])
    }

    /// One pair for both Secrets, so a rotation of either is a rotation of it.
    fn konnectivity_client(&mut self) -> Result<Pair, Error> {
        let child = Child::KonnectivityCertificate;
        let asked = |child| self.held.get(child).is_some_and(|secret| secret::is_rotation_requested(secret));
        let held = self.held.get(&child).map(|secret| Held {
            requested: asked(&child) || asked(&Child::KonnectivityKubeconfig),
            ..secret::held(secret, CERTIFICATE, KEY)
        });
        self.pair(child, held.as_ref(), &client(SERVER_USER, &[]), &self.anchors.ca)
    }

    fn konnectivity_certificate(&self, pair: &Pair) -> Secret {
        let child = Child::KonnectivityCertificate;
        let data = [(CERTIFICATE, pair.certificate().pem()), (KEY, pair.key().pem())];
        let secret = secret::build(&self.tenant.id, child, &data);
        self.finish(child, Secret { type_: Some("kubernetes.io/tls".into()), ..secret })
    }

    fn konnectivity_kubeconfig(&self, pair: &Pair) -> Result<Secret, Error> {
        let child = Child::KonnectivityKubeconfig;
        let file = Kubeconfig {
            server: format!("https://localhost:{}", self.endpoint.port),
            cluster: "kubernetes".into(),
            ..self.kubeconfig(SERVER_USER, Server::Loopback, pair)
        };
        let held = self.held.get(&child).and_then(|secret| secret::value(secret, FILE));
        let text =
            file.to_yaml_or(held).map_err(|source| Error::Encode { child, source: Box::new(source) })?;
        Ok(self.finish(child, secret::build(&self.tenant.id, child, &[(FILE, &text)])))
    }
}

//! The certificates and kubeconfigs that follow from a tenant's anchors, and when they must be renewed.

mod konnectivity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, Tenant};
use kamaji_pki::verdict::{self, Held, Reissue, Wanted};
use kamaji_pki::{Authority, Leaf, Names, Pair, Usage};

use crate::anchors::{ANCHORS, Anchors};
use crate::kubeconfig::Kubeconfig;
use crate::secret::{self, HeldSecrets};
use crate::{Endpoint, Error, checksum, rotation};

/// How long a leaf lasts: a year, as kubeadm has it.
pub(crate) const LEAF_VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The moment of a pass, and how early certificates are renewed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Now.
    pub now: Timestamp,
    /// How long before its end a certificate is renewed.
    pub renew_before: SignedDuration,
}

/// Everything that a tenant's components prove themselves with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The Secrets as they should be.
    pub secrets: BTreeMap<Child, Secret>,
    /// What had to be issued anew, and why.
    pub reissued: Vec<(Child, Reissue)>,
    /// When the first of the certificates must be renewed.
    pub deadline: Timestamp,
    anchor_checksums: BTreeMap<Child, String>,
    overlapping: BTreeSet<Child>,
}

impl Credentials {
    /// Keeps what may stay and issues what may not.
    pub fn renew(
        tenant: &Tenant,
        endpoint: &Endpoint,
        anchors: &Anchors,
        held: &HeldSecrets,
        clock: Clock,
    ) -> Result<Self, Error> {
        let mut renewal = Renewals {
            tenant,
            endpoint,
            anchors,
            held,
            clock,
            reissued: Vec::new(),
            deadline: Timestamp::MAX,
        };
        let mut secrets = BTreeMap::new();
        for profile in PROFILES {
            secrets.insert(profile.child, renewal.certificate(profile)?);
        }
        for child in [Child::AdminKubeconfig, Child::ControllerManagerKubeconfig, Child::SchedulerKubeconfig]
        {
            secrets.insert(child, renewal.kubeconfigs(child)?);
        }
        if tenant.addons.konnectivity.is_some() {
            secrets.extend(renewal.konnectivity()?);
        }
        Ok(Self {
            secrets,
            reissued: renewal.reissued,
            deadline: renewal.deadline,
            anchor_checksums: ANCHORS
                .iter()
                .filter_map(|child| Some((*child, rotation::read_checksum(*child, held.get(child)?))))
                .collect(),
            overlapping: ANCHORS.into_iter().filter(|child| anchors.overlaps(*child)).collect(),
        })
    }

    /// Whether this anchor is being replaced, so that Pods must trust two.
    pub fn overlaps(&self, child: Child) -> bool {
        self.overlapping.contains(&child)
    }

    /// The checksum of what `child` holds: it changes when a Pod must read it again.
    pub fn checksum(&self, child: Child) -> String {
        match self.secrets.get(&child) {
            Some(secret) => checksum::of_secret(secret),
            None => self.anchor_checksums.get(&child).cloned().unwrap_or_default(),
        }
    }
}

/// A certificate that has a Secret of its own; `authority` is the anchor that signs it.
struct Profile {
    child: Child,
    file: &'static str,
    authority: Child,
    leaf: fn(&Tenant, &Endpoint) -> Leaf,
}

const PROFILES: &[Profile] = &[
    Profile { child: Child::ApiServer, file: "apiserver", authority: Child::Ca, leaf: api_server },
    Profile {
        child: Child::KubeletClient,
        file: "apiserver-kubelet-client",
        authority: Child::Ca,
        leaf: |_, _| client("kube-apiserver-kubelet-client", &[]),
    },
    Profile {
        child: Child::FrontProxyClient,
        file: "front-proxy-client",
        authority: Child::FrontProxyCa,
        leaf: |_, _| client("front-proxy-client", &[]),
    },
];

/// The certificate of a client.
pub(crate) fn client(common_name: &str, groups: &[&str]) -> Leaf {
    Leaf {
        common_name: common_name.into(),
        organizations: groups.iter().map(|group| (*group).to_owned()).collect(),
        usage: Usage::Client,
        names: Names::default(),
        valid_for: LEAF_VALIDITY,
    }
}

/// The serving certificate: every name and address under which the API server is reached.
fn api_server(tenant: &Tenant, endpoint: &Endpoint) -> Leaf {
    let network = &tenant.network;
    let host = tenant.id.service_host();
    let mut dns = network.san_names.clone();
    dns.extend(
        ["node", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
            .map(str::to_owned),
    );
    dns.extend([
        format!("kubernetes.default.svc.{}", network.cluster_domain),
        tenant.id.name.clone(),
        format!("{host}.cluster.local"),
        host,
    ]);
    let mut ips = network.san_ips.clone();
    ips.extend([endpoint.address, endpoint.advertised, std::net::Ipv4Addr::LOCALHOST.into()]);
    ips.extend(network.kubernetes_service_ip());
    Leaf {
        common_name: "kube-apiserver".into(),
        organizations: Vec::new(),
        usage: Usage::Server,
        names: Names { dns, ips },
        valid_for: LEAF_VALIDITY,
    }
}

/// The first certificate of a text, without those behind it: they are of a stage of a rotation that may be over.
fn alone(pem: &str) -> &str {
    let end = pem.find(END).map_or(pem.len(), |start| start + END.len());
    if pem[end..].contains("-----BEGIN") { &pem[..end] } else { pem }
}

/// How a certificate ends in PEM.
const END: &str = "-----END CERTIFICATE-----\n";

/// A user of a kubeconfig, and the files it appears in.
struct Identity {
    user: &'static str,
    groups: &'static [&'static str],
    files: &'static [(&'static str, Server)],
}

/// Which address a kubeconfig names.
#[derive(Clone, Copy)]
enum Server {
    /// The one that nodes and people use.
    Endpoint,
    /// The Service's name inside the management cluster.
    Service,
    /// The loopback of the Pod.
    Loopback,
}

/// Only the super-administrator is in `system:masters`: that group cannot be revoked.
fn identities(child: Child) -> &'static [Identity] {
    match child {
        Child::ControllerManagerKubeconfig => &[Identity {
            user: "system:kube-controller-manager",
            groups: &[],
            files: &[("controller-manager.conf", Server::Loopback)],
        }],
        Child::SchedulerKubeconfig => &[Identity {
            user: "system:kube-scheduler",
            groups: &[],
            files: &[("scheduler.conf", Server::Loopback)],
        }],
        _ => &[
            Identity {
                user: "kubernetes-admin",
                groups: &["kubeadm:cluster-admins"],
                files: &[("admin.conf", Server::Endpoint), ("admin.svc", Server::Service)],
            },
            Identity {
                user: "kubernetes-super-admin",
                groups: &["system:masters"],
                files: &[("super-admin.conf", Server::Endpoint), ("super-admin.svc", Server::Service)],
            },
        ],
    }
}

/// Accumulates what was renewed while the Secrets are built.
struct Renewals<'a> {
    tenant: &'a Tenant,
    endpoint: &'a Endpoint,
    anchors: &'a Anchors,
    held: &'a HeldSecrets,
    clock: Clock,
    reissued: Vec<(Child, Reissue)>,
    deadline: Timestamp,
}

impl Renewals<'_> {
    fn certificate(&mut self, profile: &Profile) -> Result<Secret, Error> {
        let (certificate, key) = (format!("{}.crt", profile.file), format!("{}.key", profile.file));
        let leaf = (profile.leaf)(self.tenant, self.endpoint);
        let held = self.held.get(&profile.child).map(|secret| secret::held(secret, &certificate, &key));
        let authority = match profile.authority {
            Child::FrontProxyCa => &self.anchors.front_proxy_ca,
            _ => &self.anchors.ca,
        };
        let pair = self.pair(profile.child, held.as_ref(), &leaf, authority)?;
        let shown = format!("{}{}", alone(pair.certificate().pem()), self.anchors.chain(profile.authority));
        let data = [(certificate.as_str(), shown.as_str()), (&key, pair.key().pem())];
        Ok(self.finish(profile.child, secret::build(&self.tenant.id, profile.child, &data)))
    }

    fn kubeconfigs(&mut self, child: Child) -> Result<Secret, Error> {
        let mut files = Vec::new();
        for identity in identities(child) {
            for (file, server) in identity.files {
                files.push((*file, self.kubeconfig_text(child, identity, file, *server)?));
            }
        }
        let data: Vec<(&str, &str)> = files.iter().map(|(file, text)| (*file, text.as_str())).collect();
        Ok(self.finish(child, secret::build(&self.tenant.id, child, &data)))
    }

    fn kubeconfig_text(
        &mut self,
        child: Child,
        identity: &Identity,
        file: &str,
        server: Server,
    ) -> Result<String, Error> {
        let held = self.held.get(&child).and_then(|secret| secret::value(secret, file));
        let pair = self.client_pair(child, identity, held)?;
        self.kubeconfig(identity.user, server, &pair)
            .to_yaml_or(held)
            .map_err(|source| Error::Encode { child, source: Box::new(source) })
    }

    fn client_pair(&mut self, child: Child, identity: &Identity, text: Option<&[u8]>) -> Result<Pair, Error> {
        let secret = self.held.get(&child);
        let requested = secret.is_some_and(|secret| secret::is_rotation_requested(secret));
        let file = text.and_then(Kubeconfig::from_yaml);
        let held = match (&file, text) {
            (Some(file), _) => Some((file.certificate.as_bytes(), file.key.as_bytes())),
            // What is there and is no kubeconfig is no certificate either: unreadable, not missing.
            (None, text) => text.map(|text| (text, text)),
        };
        let held = held.map(|(certificate, key)| Held { certificate, key, requested });
        self.pair(child, held.as_ref(), &client(identity.user, identity.groups), &self.anchors.ca)
    }

    fn kubeconfig(&self, user: &str, server: Server, pair: &Pair) -> Kubeconfig {
        let Endpoint { port, .. } = self.endpoint;
        Kubeconfig {
            server: match server {
                Server::Endpoint => self.endpoint.url(),
                Server::Service => format!("https://{}:{port}", self.tenant.id.service_host()),
                Server::Loopback => format!("https://127.0.0.1:{port}"),
            },
            cluster: self.tenant.id.name.clone(),
            user: user.to_owned(),
            authority: self.anchors.trusted().to_owned(),
            certificate: pair.certificate().pem().to_owned(),
            key: pair.key().pem().to_owned(),
        }
    }

    fn pair(
        &mut self,
        child: Child,
        held: Option<&Held<'_>>,
        leaf: &Leaf,
        authority: &Authority,
    ) -> Result<Pair, Error> {
        let wanted = Wanted {
            leaf,
            authority: authority.certificate(),
            renew_before: self.clock.renew_before,
            names: secret::policy(self.held.get(&child)),
        };
        let renewal = verdict::renew(held, &wanted, authority, self.clock.now)
            .map_err(|source| Error::Issue { child, source })?;
        let news = renewal.reason.map(|reason| (child, reason));
        self.reissued.extend(news.filter(|news| !self.reissued.contains(news)));
        self.deadline =
            self.deadline.min(verdict::deadline(renewal.pair.certificate(), self.clock.renew_before));
        Ok(renewal.pair)
    }

    fn finish(&self, child: Child, secret: Secret) -> Secret {
        secret::renewed(secret, self.held.get(&child).map(Arc::as_ref), self.clock.now)
    }
}

//! What the API server asks the operator before it stores an object, and what it is told.
//!
//! Rules of safety are not here: they are in the definitions, and hold while no operator runs. What is here helps: it fills in
//! what can be worked out, tells every complaint of the reader that the passes use too, and compares objects with each other.
//! A complaint that the stored object has already given rise to is no reason to refuse a change of something else; it becomes
//! a warning, as does whatever could not be found out in time.
//!
//! - [`review`] reads a question and writes the answer, [`defaults`], [`tenant`] and [`data_store`] decide: all of them pure.
//! - [`lookup`] finds out what they need to know, within a time that nobody notices; [`rehearsal`] makes what a server may judge.
//! - [`server`] serves them, on every replica, with the certificate of a Secret ([`follower`]) or of mounted files ([`files`]).
//! - [`keeper`] keeps that Secret, and tells the API server whom to trust; only the replica that leads does. [`certificate`]
//!   decides what the Secret is to hold.

mod annotations;
mod arguments;
mod certificate;
mod data_store;
mod defaults;
mod files;
mod follower;
mod keeper;
mod lookup;
mod rehearsal;
mod review;
mod server;
mod tenant;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use kamaji_apply::Cluster;
use kamaji_pki::Names;

pub(crate) use self::keeper::keep;
pub(crate) use self::server::serve;

/// How the webhooks are served.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub address: SocketAddr,
    /// Namespace of the operator, where the Secret with the certificate is.
    pub namespace: String,
    /// Name of the Service in front of the operator.
    pub service: String,
    /// Name of the operator's service account.
    pub service_account: String,
    /// Folder in which somebody else may mount a certificate, `tls.crt` and `tls.key`: then that one is used.
    pub certificates: PathBuf,
}

impl Options {
    /// Name of the Secret that holds the certificate.
    pub fn secret_name(&self) -> String {
        format!("{}-tls", self.service)
    }

    /// Who the operator is to the API server.
    fn operator(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }

    /// What the certificate is to be good for.
    fn names(&self) -> Names {
        let host = format!("{}.{}.svc", self.service, self.namespace);
        let dns = BTreeSet::from([format!("{host}.cluster.local"), host]);
        Names { dns, ips: BTreeSet::new() }
    }

    /// Somebody else gives the certificate, and tells the API server whom to trust.
    fn is_given_a_certificate(&self) -> bool {
        self.certificates.join(files::CERTIFICATE).exists()
    }
}

/// What answers are made from.
pub(crate) struct Admission {
    pub(crate) cluster: Cluster,
    pub(crate) options: Options,
    /// What the command line contributes to every tenant.
    pub(crate) tenant: kamaji_api::tenant::Settings,
    /// What it says of migrations.
    pub(crate) migration: crate::migration::Settings,
}

//! A tenant behind a front, and what is expected of the operator when the front is bad.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::operator::{
    Lane,
    cluster::{self, TenantCluster},
    condition,
    front::{Front, Impostor, Manners, Mode},
    message,
};
use kube::api::DeleteParams;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{NAMED, NAMED_AT_LAST, RECOVERED};

/// A tenant whose API server may be hidden by something else.
pub(crate) struct Bad {
    pub(crate) lane: Lane,
    pub(crate) cluster: TenantCluster,
    pub(crate) front: Front,
}

impl Bad {
    /// What its certificate must hold.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc", self.cluster.name, self.lane.namespace)
    }

    /// An impostor whose certificate is good answers from now on.
    pub(crate) async fn impostor(&self, manners: Manners) {
        let authority = cluster::authority(&self.lane, &self.cluster.name).await.unwrap();
        let impostor = Impostor::new(&authority, &self.host(), manners).unwrap();
        self.front.set(Mode::Impostor(Arc::new(impostor)));
    }

    /// The condition says what is wrong, in time.
    pub(crate) async fn named(&self, what: &str, kind: &str, expected: &str, words: &str) {
        self.named_within(NAMED, what, (kind, expected, words)).await;
    }

    /// The condition says what is wrong, although something else was wrong before.
    pub(crate) async fn named_at_last(&self, what: &str, kind: &str, expected: &str, words: &str) {
        self.named_within(NAMED_AT_LAST, what, (kind, expected, words)).await;
    }

    async fn named_within(&self, limit: Duration, what: &str, (kind, expected, words): (&str, &str, &str)) {
        let begin = Instant::now();
        let is_named =
            |tcp: &TenantControlPlane| condition(tcp, kind) == expected && message(tcp, kind).contains(words);
        let named = self.lane.tenant_that(&self.cluster.name, what, is_named);
        let Ok(named) = tokio::time::timeout(limit, named).await else {
            let tcp = self.lane.tenants().get(&self.cluster.name).await.unwrap();
            panic!("{what}: {kind} is {}: {}", condition(&tcp, kind), message(&tcp, kind));
        };
        let said = message(&named.unwrap(), kind);
        println!("{what}: named after {:?}: {said}", begin.elapsed());
        assert!(said.chars().count() < 800, "{said}");
    }

    /// The operator has come again, after so many connections.
    pub(crate) async fn visited(&self, connections: usize) {
        let visited = async {
            while self.front.connections() == connections {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(NAMED_AT_LAST, visited).await.expect("the operator comes again");
    }

    /// What happened inside meanwhile is repaired, and the tenant is kept again, in time.
    pub(crate) async fn recovers(&self, what: &str) {
        let desired = self.cluster.desired(&self.lane).await.unwrap();
        let object = desired.iter().find(|object| object.identity().name == "coredns").unwrap();
        let begin = Instant::now();
        let api = self.cluster.api(&object.resource, &object.identity());
        // It may be gone already: an impostor may have accepted what was then never written.
        drop(api.delete("coredns", &DeleteParams::background()).await);
        let recovered = async {
            self.cluster.kept(&self.lane).await.unwrap();
            for object in &desired {
                while !self.cluster.is_settled(object).await.unwrap() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let in_time = tokio::time::timeout(RECOVERED, recovered).await;
        in_time.unwrap_or_else(|_| panic!("{what}: not back within {RECOVERED:?}"));
        println!("{what}: back after {:?}", begin.elapsed());
    }
}

/// A place where nobody should come to.
pub(crate) struct Trap {
    pub(crate) address: SocketAddr,
    visitors: Arc<AtomicUsize>,
    _open: JoinSet<()>,
}

impl Trap {
    pub(crate) async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, visitors) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&visitors);
        let mut open = JoinSet::new();
        open.spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, visitors, _open: open }
    }

    pub(crate) fn visitors(&self) -> usize {
        self.visitors.load(Ordering::Relaxed)
    }
}

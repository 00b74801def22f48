//! What can go wrong at each step: the tenant can write where it was within a minute, or arrives after the cure.

use futures::{StreamExt, stream};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    etcd::proxy::Mode,
    operator::{
        condition, message,
        node::{self, Node},
        wait_gone,
    },
};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{
    faults::lingering_pod,
    ground::{
        Breakable, PROGRAM, arrived, fenced, in_postgres, job, no_errand_is_left, put, rows, send, settled,
        told,
    },
};

/// How many migrations are made at the same time.
const AT_ONCE: usize = 5;

/// How far a migration is when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The Job has been sent, and nothing is done.
    Sent,
    /// The tenant stands, and nothing is copied.
    Fenced,
    /// All is copied, and a Pod of the tenant's is still there.
    Copied,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The Job's container fails whenever it is started.
    Fails,
    /// The Job's Pod does not get on, as its status says.
    Stuck(&'static str),
    /// The Job ends for this reason.
    Ends(&'static str),
    /// Nothing is seen of the Job.
    Silence,
    /// The target does not answer any more, in this way.
    Target(Mode),
    /// The source does not answer any more, in this way.
    Source(Mode),
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is given up, and this is said.
    GivenUp(&'static str),
    /// It arrives once it can.
    Arrives,
}

const UNSCHEDULABLE: &str = "Unschedulable";
const TABLE: [(Step, Fault, End); 14] = [
    (Step::Sent, Fault::Fails, End::Arrives),
    (Step::Sent, Fault::Ends("DeadlineExceeded"), End::GivenUp("DeadlineExceeded")),
    (Step::Sent, Fault::Target(Mode::Refuse), End::Arrives),
    (Step::Sent, Fault::Source(Mode::Refuse), End::Arrives),
    (Step::Fenced, Fault::Fails, End::GivenUp("the Job has failed")),
    (Step::Fenced, Fault::Stuck("ImagePullBackOff"), End::GivenUp("ImagePullBackOff")),
    (Step::Fenced, Fault::Stuck(UNSCHEDULABLE), End::GivenUp("finds no node")),
    (Step::Fenced, Fault::Ends("BackoffLimitExceeded"), End::GivenUp("BackoffLimitExceeded")),
    (Step::Fenced, Fault::Silence, End::GivenUp("nothing was done for 40s")),
    (Step::Fenced, Fault::Target(Mode::Swallow), End::GivenUp("nothing was done for 40s")),
    (Step::Fenced, Fault::Source(Mode::Swallow), End::Arrives),
    (Step::Copied, Fault::Silence, End::GivenUp("did not end within 50s")),
    (Step::Copied, Fault::Target(Mode::Refuse), End::GivenUp("nothing was done for 40s")),
    (Step::Copied, Fault::Source(Mode::Refuse), End::Arrives),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_any_step_the_tenant_can_write_again_or_arrives() {
    let all = TABLE.into_iter().map(|(step, fault, end)| Box::pin(suffers(step, fault, end)));
    stream::iter(all).buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn suffers(step: Step, fault: Fault, end: End) {
    let ground = Breakable::new().await;
    let Breakable { lane, other, .. } = &ground;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = settled(lane).await;
    let job = reached(&ground, &node, &tcp, step).await;
    happens(&ground, &node, &job, fault).await;
    match end {
        End::GivenUp(why) => {
            let failed = told(lane, &node, "False/MigrationFailed").await;
            let said = message(&failed, "Migration");
            assert!(said.contains(why), "{step:?} {fault:?}: {said}");
            put(lane, &tcp, "two").await.unwrap();
            ground.target.set(Mode::Pass);
            no_errand_is_left(lane, &tcp).await;
            assert_eq!(in_postgres(&tcp).await, [""; 0], "{step:?} {fault:?}");
        }
        End::Arrives => {
            over(&ground, &node, fault).await;
            arrived(lane, &node, other).await;
            assert_eq!(rows(&tcp).await, ["/registry/configmaps/default/one"], "{step:?} {fault:?}");
            no_errand_is_left(lane, &tcp).await;
        }
    }
}

/// The migration is as far as that; returns its Job.
async fn reached(ground: &Breakable, node: &Node, tcp: &TenantControlPlane, step: Step) -> Job {
    let Breakable { lane, other, .. } = ground;
    if step == Step::Copied {
        lingering_pod(lane).await;
        send(lane, other).await;
        let job = job(lane, tcp).await;
        told(lane, node, "False/MigrationSwitching").await;
        return job;
    }
    node.fill();
    send(lane, other).await;
    if step == Step::Sent {
        return job(lane, tcp).await;
    }
    let job = fenced(lane, tcp).await;
    put(lane, tcp, "late").await.expect_err("it is fenced");
    job
}

async fn happens(ground: &Breakable, node: &Node, job: &Job, fault: Fault) {
    let lane = &ground.lane;
    match fault {
        Fault::Fails => {
            node.run("false");
            node.make_room();
        }
        Fault::Stuck(reason) => node::tell(lane, job, &stuck(reason)).await.unwrap(),
        Fault::Ends(reason) => node::report(lane, job, ("FailureTarget", "Failed"), reason).await.unwrap(),
        Fault::Silence => {}
        Fault::Target(mode) => ground.target.set(mode),
        Fault::Source(mode) => {
            ground.source.set(mode);
            let says = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable").starts_with("False/");
            lane.tenant_that("blue", "without its DataStore", says).await.unwrap();
        }
    }
}

/// The cure.
async fn over(ground: &Breakable, node: &Node, fault: Fault) {
    if fault == Fault::Fails {
        let says = |tcp: &TenantControlPlane| message(tcp, "Migration").contains("the Job has failed");
        ground.lane.tenant_that("blue", "told of what fails", says).await.unwrap();
        node.run(PROGRAM);
    }
    node.make_room();
    ground.source.set(Mode::Pass);
    ground.target.set(Mode::Pass);
    let pods = ground.lane.objects::<Pod>();
    if pods.get_opt("lingers").await.unwrap().is_some() {
        pods.delete("lingers", &DeleteParams::default().grace_period(0)).await.unwrap();
        wait_gone(&pods, "lingers").await.unwrap();
    }
}

/// What a Pod says that does not get on for this reason.
fn stuck(reason: &str) -> Value {
    let unscheduled =
        json!({ "type": "PodScheduled", "status": "False", "reason": reason, "message": "0/3 nodes" });
    let waiting = json!({ "name": "migrate", "image": "image", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": "said by the test" } } });
    if reason == UNSCHEDULABLE {
        json!({ "phase": "Pending", "conditions": [unscheduled] })
    } else {
        json!({ "phase": "Pending", "containerStatuses": [waiting] })
    }
}

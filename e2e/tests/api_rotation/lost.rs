//! An anchor that is lost is made anew only if that is asked for after it was lost.

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{Lane, condition};
use kube::api::DeleteParams;
use serde_json::json;

use crate::tenant::{anchors, ask, secret};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_broken_anchor_is_made_anew_when_that_is_asked_for_by_uid_and_not_before() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    let before = anchors(&lane).await;
    let trust =
        |wanted: &'static str| move |tcp: &TenantControlPlane| condition(tcp, "TrustAnchors") == wanted;

    let name = Child::Ca.name("blue");
    lane.objects::<Secret>().delete(&name, &DeleteParams::default()).await.unwrap();
    lane.tenant_that("blue", "missed", trust("False/TrustAnchorMissing")).await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    assert!(lane.objects::<Secret>().get_opt(&name).await.unwrap().is_none(), "made without being asked for");

    ask(&lane, &[Child::Ca]).await;
    lane.tenant_that("blue", "made anew", trust("True/InPlace")).await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    let made = secret(&lane, Child::Ca).await;
    assert_ne!(made.data, before[0].data);

    // The request still stands, and was for the other loss.
    lane.objects::<Secret>().delete(&name, &DeleteParams::default()).await.unwrap();
    lane.tenant_that("blue", "missed again", trust("False/TrustAnchorMissing")).await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    assert!(
        lane.objects::<Secret>().get_opt(&name).await.unwrap().is_none(),
        "made again for the same request"
    );
    let restored = json!({ "metadata": { "name": name, "labels": made.metadata.labels,
        "ownerReferences": made.metadata.owner_references }, "data": made.data });
    let restored = serde_json::from_value(restored).unwrap();
    lane.objects::<Secret>().create(&kube::api::PostParams::default(), &restored).await.unwrap();
    lane.tenant_that("blue", "restored", trust("True/InPlace")).await.unwrap();

    // A pass that has read the good one would write it again.
    operator.silence(crate::SILENCE).await.unwrap();
    let broken = json!({ "data": { "sa.key": "Z2FyYmFnZQ==" } });
    lane.edit::<Secret>(&Child::ServiceAccountKey.name("blue"), &broken).await.unwrap();
    let replaced = trust("False/TrustAnchorReplaced");
    lane.tenant_that("blue", "noticed", replaced).await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    assert_eq!(
        condition(&lane.tenants().get("blue").await.unwrap(), "TrustAnchors"),
        "False/TrustAnchorReplaced"
    );
    ask(&lane, &[Child::ServiceAccountKey]).await;
    lane.tenant_that("blue", "made anew", trust("True/InPlace")).await.unwrap();
    let after = anchors(&lane).await;
    assert_ne!(after[2].data, before[2].data);
    assert_eq!((&after[0].data, &after[1].data), (&made.data, &before[1].data));
}

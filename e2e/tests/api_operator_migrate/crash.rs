//! The operator may die at any write of a migration: whoever goes on brings the tenant where it is to be.

use futures::{StreamExt, stream};
use kamaji_e2e::{cut::Moment, cut::Wire};

use crate::ground::{arrived, ground, no_errand_is_left, rows, send, settled};

/// How many crashes are tried at the same time.
const AT_ONCE: usize = 8;
/// Writes that come by the clock, or as often as something is told.
const UNNUMBERED: &[&str] = &["events"];

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_at_any_write_of_a_migration_is_followed_by_one_that_ends_it() {
    let writes = undisturbed().await;
    let cuts = (0..writes).flat_map(|number| [Moment::Before, Moment::After].map(|moment| (number, moment)));
    let sweep = stream::iter(cuts).for_each_concurrent(AT_ONCE, |(number, moment)| {
        Box::pin(async move {
            let (lane, other) = ground().await;
            let first = lane.operator().await.unwrap();
            let (tcp, node) = settled(&lane).await;
            first.kill().await;
            let wire = Wire::without(UNNUMBERED);
            wire.cut_at(number, moment);
            let operator = lane.operator_over(wire.clone()).await.unwrap();
            send(&lane, &other).await;
            tokio::select! {
                () = wire.until_cut() => {}
                _ = arrived(&lane, &node, &other) => {}
            }
            operator.kill().await;
            let operator = lane.operator().await.unwrap();
            arrived(&lane, &node, &other).await;
            assert_eq!(
                rows(&tcp).await,
                ["/registry/configmaps/default/one"],
                "cut {moment:?} write {number}"
            );
            no_errand_is_left(&lane, &tcp).await;
            operator.kill().await;
        })
    });
    sweep.await;
    println!("{} crashes", 2 * writes);
}

/// How many writes a migration takes.
async fn undisturbed() -> usize {
    let (lane, other) = ground().await;
    let first = lane.operator().await.unwrap();
    let (tcp, node) = settled(&lane).await;
    first.kill().await;
    let wire = Wire::without(UNNUMBERED);
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    send(&lane, &other).await;
    arrived(&lane, &node, &other).await;
    no_errand_is_left(&lane, &tcp).await;
    operator.kill().await;
    wire.writes().len()
}

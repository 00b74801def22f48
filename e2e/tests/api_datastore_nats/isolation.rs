//! Tenants in different NATS accounts of one server reach nothing of each other, whatever they ask for.

use anyhow::Result;
use kamaji_datastore::store::Store;
use kamaji_e2e::nats::{Hand, NEIGHBOUR, Nats, OPERATOR, OWNER};
use serde_json::{Value, json};

use super::{account, assert_complete, found};

/// All that `JetStream` can be asked about a stream of another, and about the marks. Source: `server/jetstream_api.go` of
/// nats-server.
fn requests(bucket: &str) -> Vec<(String, Value)> {
    let mut requests = Vec::new();
    for stream in [format!("KV_{bucket}"), "KV__kamaji".to_owned()] {
        let subject = format!("$KV.{bucket}.>");
        let consumer =
            json!({ "stream_name": stream, "config": { "durable_name": "c", "ack_policy": "none" } });
        let filtered = json!({ "stream_name": stream, "config": {
            "name": "c", "filter_subject": subject, "ack_policy": "none", "deliver_policy": "all" } });
        let bodies = [
            ("STREAM.INFO.{s}", json!({ "subjects_filter": ">" })),
            ("STREAM.UPDATE.{s}", json!({ "name": stream, "subjects": ["mine"] })),
            ("STREAM.MSG.GET.{s}", json!({ "last_by_subj": ">" })),
            ("STREAM.MSG.GET.{s}", json!({ "seq": 1 })),
            ("STREAM.MSG.DELETE.{s}", json!({ "seq": 1 })),
            ("STREAM.PURGE.{s}", Value::Null),
            ("STREAM.SNAPSHOT.{s}", json!({ "deliver_subject": "mine" })),
            ("STREAM.DELETE.{s}", Value::Null),
            ("STREAM.PEER.REMOVE.{s}", json!({ "peer": "x" })),
            ("STREAM.LEADER.STEPDOWN.{s}", Value::Null),
            ("CONSUMER.CREATE.{s}", consumer.clone()),
            ("CONSUMER.DURABLE.CREATE.{s}.c", consumer),
            ("CONSUMER.CREATE.{s}.c", filtered),
            ("CONSUMER.NAMES.{s}", Value::Null),
            ("CONSUMER.LIST.{s}", Value::Null),
            ("CONSUMER.INFO.{s}.c", Value::Null),
            ("CONSUMER.DELETE.{s}.c", Value::Null),
            ("CONSUMER.MSG.NEXT.{s}.c", Value::Null),
            ("DIRECT.GET.{s}", json!({ "last_by_subj": ">" })),
            ("DIRECT.GET.{s}.$KV.x.secret", Value::Null),
        ];
        requests.extend(bodies.map(|(verb, body)| (verb.replace("{s}", &stream), body)));
    }
    requests
}

/// A tenant's own login, and its bucket with a secret in it.
struct Tenant {
    user: &'static str,
    bucket: &'static str,
    hand: Hand,
}

impl Tenant {
    async fn settle(
        nats: &Nats,
        user: &'static str,
        eye: &'static str,
        bucket: &'static str,
    ) -> Result<Self> {
        let (store, hand) = (Store::nats(nats.settings_as(user))?, nats.connect(eye).await?);
        store.ensure(&account(bucket)).await?;
        hand.put(&format!("$KV.{bucket}.secret"), &format!("the secret of {bucket}")).await?;
        Ok(Self { user, bucket, hand })
    }
}

#[tokio::test]
async fn no_login_reaches_anything_of_another_account() -> Result<()> {
    let nats = Nats::start().await?;
    let blue = Tenant::settle(&nats, OPERATOR, OWNER, "blue").await?;
    let green = Tenant::settle(&nats, NEIGHBOUR, NEIGHBOUR, "green").await?;
    for (tenant, other) in [(&blue, &green), (&green, &blue)] {
        let (own, others) = (found(&tenant.hand).await?, found(&other.hand).await?);
        let thief = nats.connect(tenant.user).await?;
        let trying = async {
            for (verb, body) in requests(other.bucket) {
                // What is asked about the marks is about one's own.
                if verb.contains("KV__kamaji") && !verb.contains("INFO") && !verb.contains("GET") {
                    continue;
                }
                let answer = thief.ask(&format!("$JS.API.{verb}"), &body).await;
                let shown = answer.map(|answer| answer.to_string()).unwrap_or_default();
                assert!(!shown.contains(other.bucket) || shown.contains("error"), "{verb}: {shown}");
                assert!(!shown.contains("secret of"), "{verb}: {shown}");
            }
            thief.put(&format!("$KV.{}.secret", other.bucket), "mine").await.expect_err("no stream takes it");
            Ok(())
        };
        let heard = other.hand.overhear(trying).await?;
        let of_the_other: Vec<_> = heard.iter().filter(|subject| !subject.starts_with("_INBOX")).collect();
        assert_eq!(of_the_other, Vec::<&String>::new(), "nothing is said to the other account");
        assert_eq!(found(&tenant.hand).await?, own);
        assert_eq!(found(&other.hand).await?, others, "nothing of the other is altered");
        let streams: Vec<_> = tenant.hand.streams().await?.into_iter().map(|(name, ..)| name).collect();
        assert!(!streams.contains(&format!("KV_{}", other.bucket)), "{streams:?}");
    }
    for tenant in [&blue, &green] {
        let store = Store::nats(nats.settings_as(tenant.user))?;
        assert_complete(&tenant.hand, &account(tenant.bucket)).await?;
        store.prove_confined(&account(tenant.bucket), b"", b"").await?;
        let mark = store.audit().await?;
        assert_eq!(mark.iter().map(|mark| mark.schema.as_str()).collect::<Vec<_>>(), [tenant.bucket]);
    }
    Ok(())
}

/// What is not promised, so that nobody believes it: within one NATS account nothing is apart.
#[tokio::test]
async fn within_one_account_everything_is_everybodys_which_is_why_it_holds_one_tenant() -> Result<()> {
    let nats = Nats::start().await?;
    let blue = Tenant::settle(&nats, OPERATOR, OWNER, "blue").await?;
    let last = nats.connect(OWNER).await?.last("KV_blue", "$KV.blue.secret").await?;
    assert_eq!(last, Some("the secret of blue".to_owned()));
    let store = Store::nats(nats.settings_as(OWNER))?;
    let error = store.ensure(&account("red")).await.expect_err("so nobody else is let in");
    assert_eq!(error.reason(), "ForeignObject");
    let error = store.prove_confined(&account("red"), b"", b"").await.expect_err("it is not its own");
    assert_eq!(error.reason(), "NotConfined");
    assert_complete(&blue.hand, &account("blue")).await
}

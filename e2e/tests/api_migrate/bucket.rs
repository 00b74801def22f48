//! What a tenant has in NATS, as a kine of one's own writes and reads it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};
use futures::{StreamExt, TryStreamExt, stream};
use kamaji_datastore::account::Account;
use kamaji_e2e::{
    api_server::kine::Kine,
    nats::{Kept, Nats, OPERATOR, OWNER, Options},
};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{Amount, Content, LASTS, wanted};

const PREFIX: &str = "/registry/";
const PASSWORD: &str = "only-for-a-test";
/// How often a key is looked at before it must be as it should.
const LOOKS: usize = 20;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;

/// What to start: a password that stands in a URL as it is.
pub(crate) fn options() -> Options {
    Options { password: PASSWORD.to_owned(), ..Options::default() }
}

/// As kine's `--endpoint` has it.
pub(crate) fn endpoint(nats: &Nats, account: &Account) -> String {
    format!("nats://{OPERATOR}:{PASSWORD}@{}?bucket={}&noEmbed=true", nats.endpoint(), account.schema)
}

async fn kine(nats: &Nats, account: &Account) -> Result<Kine> {
    Kine::start(&endpoint(nats, account), nats.authority().certificate().pem()).await
}

/// How kine writes a key below its prefix as a subject of the bucket.
fn subject(bucket: &str, key: &str) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let token = |part: &str| {
        let mut digits = vec![0_u32];
        for byte in part.bytes() {
            let mut carry = u32::from(byte);
            for digit in &mut digits {
                carry += *digit << 8;
                (*digit, carry) = (carry % 58, carry / 58);
            }
            while carry > 0 {
                digits.push(carry % 58);
                carry /= 58;
            }
        }
        digits.iter().rev().map(|digit| char::from(ALPHABET[*digit as usize])).collect::<String>()
    };
    let tokens: Vec<String> = format!("registry/{key}").split('/').map(token).collect();
    format!("{bucket}.{}", tokens.join("."))
}

/// Nothing is in the tenants' NATS account.
pub(crate) async fn clear(nats: &Nats) -> Result<()> {
    let owner = Box::pin(nats.connect(OWNER)).await?;
    for (name, ..) in owner.streams().await? {
        owner.api(&format!("STREAM.DELETE.{name}"), &Value::Null).await?;
    }
    Ok(())
}

/// Whether the tenant can write, whose credentials are the DataStore's.
pub(crate) async fn takes_writes(nats: &Nats, account: &Account) -> Result<bool> {
    let bucket = format!("$KV.{}", account.schema);
    Box::pin(nats.connect(OPERATOR)).await?.end(&subject(&bucket, "e2e-probe")).await
}

pub(crate) async fn revision(nats: &Nats, account: &Account) -> Result<i64> {
    let owner = Box::pin(nats.connect(OWNER)).await?;
    let info = owner.api(&format!("STREAM.INFO.KV_{}", account.schema), &Value::Null).await?;
    info["state"]["last_seq"].as_i64().context("every stream has a last number")
}

/// The key is made, then changed to this, with everything looked at again: kine gives up on a write of which it does not hear
/// within 5 s, also if it was kept.
async fn write(mut client: Client, key: String, content: Content) -> Result<()> {
    let mut last = None;
    for _ in 0..LOOKS {
        match step(&mut client, &key, &content).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => last = Some(error),
        }
    }
    bail!("{key} was not written: {last:?}")
}

/// One step was made, unless there is none to make.
async fn step(client: &mut Client, key: &str, content: &Content) -> Result<bool, etcd_client::Error> {
    let found = client.get(key, None).await?;
    let (revision, put) = match found.kvs().first() {
        Some(found) if found.value() == content.value => return Ok(true),
        Some(found) => {
            let options = content.expires.then(|| PutOptions::new().with_lease(LASTS));
            (found.mod_revision(), TxnOp::put(key, content.value.clone(), options))
        }
        None => (0, TxnOp::put(key, "older", None)),
    };
    let at = Compare::mod_revision(key, CompareOp::Equal, revision);
    let mut change = Txn::new().when([at]).and_then([put]);
    if revision > 0 {
        change = change.or_else([TxnOp::get(key, None)]);
    }
    client.txn(change).await?;
    Ok(false)
}

/// The tenant writes what is wanted, over a history of other things. Of little the first tenant's kine makes the messages,
/// and those of the others would make the same.
pub(crate) async fn fill(nats: &Nats, account: &Account, amount: Amount) -> Result<()> {
    static FEW: OnceCell<(String, Vec<Kept>)> = OnceCell::const_new();
    if amount != Amount::Few {
        return Box::pin(through_kine(nats, account, amount)).await;
    }
    let (hand, mut is_first) = (Box::pin(nats.connect(OWNER)).await?, false);
    let few = FEW.get_or_try_init(async || {
        is_first = true;
        Box::pin(through_kine(nats, account, amount)).await?;
        let messages = hand.messages(&format!("KV_{}", account.schema)).await?;
        anyhow::Ok((format!("$KV.{}.", account.schema), messages))
    });
    let (prefix, messages) = few.await?;
    for message in messages.iter().filter(|_| !is_first) {
        let key = message.subject.strip_prefix(prefix.as_str()).context("it is in the bucket")?;
        hand.keep(message, &format!("$KV.{}.{key}", account.schema)).await?;
    }
    Ok(())
}

async fn through_kine(nats: &Nats, account: &Account, amount: Amount) -> Result<()> {
    let kine = Box::pin(kine(nats, account)).await?;
    let mut client = kine.client().await?;
    let deleted = format!("{PREFIX}deleted");
    let forever = |value: &[u8]| Content { value: value.to_vec(), expires: false };
    write(client.clone(), deleted.clone(), forever(b"x")).await?;
    let gone = [TxnOp::get(deleted.clone(), None), TxnOp::delete(deleted, None)];
    client.txn(Txn::new().and_then(gone)).await?;
    // kine has made that one itself.
    let wanted = wanted(amount).into_iter().filter(|(key, _)| key != "health");
    let writes = wanted.map(|(key, content)| Ok(write(client.clone(), format!("{PREFIX}{key}"), content)));
    stream::iter(writes).try_buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// What there is of the tenant, as a kine tells that has just started.
pub(crate) async fn contents(nats: &Nats, account: &Account) -> Result<BTreeMap<String, Content>> {
    let kine = Box::pin(kine(nats, account)).await?;
    let mut client = kine.client().await?;
    let found = client.get(PREFIX, Some(GetOptions::new().with_prefix().with_keys_only())).await?;
    let read = |key: Vec<u8>| {
        let mut client = client.clone();
        async move {
            let found = client.get(key, None).await?;
            let found = found.kvs().first().context("it was listed")?;
            let content = Content { value: found.value().into(), expires: found.lease() != 0 };
            anyhow::Ok((found.key_str()?.trim_start_matches(PREFIX).to_owned(), content))
        }
    };
    let keys: Vec<Vec<u8>> = found.kvs().iter().map(|found| found.key().to_vec()).collect();
    stream::iter(keys).map(read).buffer_unordered(AT_ONCE).try_collect().await
}

/// In how many seconds a key expires.
pub(crate) async fn lease(nats: &Nats, account: &Account, key: &str) -> Result<i64> {
    let kine = Box::pin(kine(nats, account)).await?;
    let found = kine.client().await?.get(format!("{PREFIX}{key}"), None).await?;
    Ok(found.kvs().first().context("it is there")?.lease())
}

/// Of a copy that is being made one key is gone, one is changed, and one is too many.
pub(crate) async fn spoil(nats: &Nats, account: &Account) -> Result<()> {
    let (owner, stream) = (Box::pin(nats.connect(OWNER)).await?, format!("KV_{}", account.schema));
    let info = owner.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
    let aside = info["config"]["subjects"][0].as_str().context("it takes messages")?;
    let at = |name: &str| subject(aside.trim_end_matches(".>"), &format!("configmaps/default/{name}"));
    ensure!(owner.end(&at("0000")).await?, "nothing takes it");
    let kept = subject(&format!("$KV.{}", account.schema), "configmaps/default/0002");
    owner.copy(&stream, &kept, &at("0001")).await?;
    owner.copy(&stream, &kept, &at("9999")).await
}

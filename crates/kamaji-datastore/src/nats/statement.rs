//! Makes one statement.

use serde_json::{Value, json};

use crate::account::Account;
use crate::connection::{Effect, Failure};
use crate::nats::bucket;
use crate::nats::mark;
use crate::nats::member::Connection;
use crate::nats::plan::Step;
use crate::store::Change;

/// What is sent: to which subject, with which body, and whether there must be no message on that subject yet.
struct Statement {
    subject: String,
    body: String,
    last: Option<u64>,
}

/// The statement was made.
pub(crate) async fn make(connection: &Connection, account: &Account, step: &Step) -> Result<Change, Failure> {
    let statement = statement(account, step);
    let Statement { subject, body, last } = &statement;
    let doing = doing(account, step);
    let made = connection
        .tell(&doing, Effect::Accounts, |session| async move { session.publish(subject, body, *last).await });
    made.await?;
    Ok(change(step))
}

fn statement(account: &Account, step: &Step) -> Statement {
    let (name, stream) = (account.schema.as_str(), bucket::stream(account.schema.as_str()));
    let api = |verb: &str, stream: &str, body: &Value| Statement {
        subject: format!("$JS.API.STREAM.{verb}.{stream}"),
        body: if body.is_null() { String::new() } else { body.to_string() },
        last: None,
    };
    match step {
        Step::MakePlace => api("CREATE", mark::STREAM, &mark::stream()),
        Step::Claim => {
            Statement { subject: mark::SUBJECT.to_owned(), body: mark::of(account), last: Some(0) }
        }
        Step::AddBucket => api("CREATE", &stream, &bucket::wanted(name)),
        Step::FitBucket => api("UPDATE", &stream, &bucket::wanted(name)),
        Step::DeleteBucket => api("DELETE", &stream, &Value::Null),
        Step::Release(sequence) => api("MSG.DELETE", mark::STREAM, &json!({ "seq": sequence })),
    }
}

fn change(step: &Step) -> Change {
    match step {
        Step::MakePlace => Change::PlaceMade,
        Step::Claim => Change::Claimed,
        Step::AddBucket => Change::BucketAdded,
        Step::FitBucket => Change::BucketFitted,
        Step::DeleteBucket => Change::BucketDeleted,
        Step::Release(_) => Change::Released,
    }
}

fn doing(account: &Account, step: &Step) -> String {
    let Account { schema, owner, .. } = account;
    match step {
        Step::MakePlace => format!("make the stream {} for the mark", mark::STREAM),
        Step::Claim => format!("mark the NATS account as the tenant's with UID {owner}"),
        Step::AddBucket => format!("make bucket {schema}"),
        Step::FitBucket => format!("give bucket {schema} the settings that kine asks for"),
        Step::DeleteBucket => format!("delete bucket {schema}"),
        Step::Release(_) => format!("take the mark of the tenant with UID {owner} from the NATS account"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Credential, Owner, Schema, Seal, Standing, User};

    #[test]
    fn every_statement_is_to_one_subject_of_the_tenant_or_of_the_mark() {
        let account = Account {
            schema: Schema::parse("x").expect("plain"),
            user: User::parse("u").expect("plain"),
            owner: Owner::parse("uid").expect("plain"),
            standing: Standing::Claimed,
            seal: Seal::Open,
            credential: Credential::Certificate,
        };
        let subjects = [
            (Step::MakePlace, "$JS.API.STREAM.CREATE.KV__kamaji"),
            (Step::Claim, "$KV._kamaji.owner"),
            (Step::AddBucket, "$JS.API.STREAM.CREATE.KV_x"),
            (Step::FitBucket, "$JS.API.STREAM.UPDATE.KV_x"),
            (Step::DeleteBucket, "$JS.API.STREAM.DELETE.KV_x"),
            (Step::Release(7), "$JS.API.STREAM.MSG.DELETE.KV__kamaji"),
        ];
        for (step, subject) in subjects {
            let statement = statement(&account, &step);
            assert_eq!(statement.subject, subject);
            assert_eq!(statement.last, (step == Step::Claim).then_some(0), "only a claim is made once");
        }
    }
}

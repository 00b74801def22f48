//! Whether the cluster and our own rights in it are such that tenants can be kept apart.

use std::sync::Arc;

use etcd_client::{AlarmAction, AlarmType, Compare, CompareOp, Txn, TxnOp};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::connection::Failure;
use crate::error::Error;
use crate::etcd::keys;
use crate::etcd::member::{Connection, Session};
use crate::refusal::Refusal;

/// The question whether authentication is on. Source: `AuthStatus` of etcd's `rpc.proto`, since 3.5.
#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusRequest {}

/// Its answer, without the parts that we do not read.
#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusResponse {
    #[prost(bool, tag = "2")]
    enabled: bool,
}

/// Every request is checked for who makes it, and we may manage users and roles: only those who may can ask.
pub(crate) async fn authentication_is_on(connection: &Connection) -> Result<(), Error> {
    let doing = "manage users and roles";
    let status = connection.ask(doing, |session| async move {
        let endpoint = session.endpoint.clone();
        auth_status(session)
            .await
            .map(|status| (status.enabled, endpoint))
            .map_err(etcd_client::Error::GRpcStatus)
    });
    match status.await {
        Ok((true, _)) => Ok(()),
        Ok((false, endpoint)) => Err(Error::AuthDisabled { endpoint }),
        // It is we who are not known: nobody else was asked for.
        Err(Failure { refusal: Refusal::NoUser, error: Error::Refused { doing, source } }) => {
            Err(Error::Forbidden { doing, source })
        }
        Err(failure) => Err(failure.error),
    }
}

/// The cluster is neither full nor corrupt.
pub(crate) async fn no_alarm_is_raised(connection: &Connection) -> Result<(), Error> {
    let alarms = connection.ask("read the alarms", |session| async move {
        session.client().alarm(AlarmAction::Get, AlarmType::None, None).await
    });
    let alarms = alarms.await.map_err(|failure| failure.error)?;
    let raised = |kind| alarms.alarms().iter().any(|alarm| alarm.alarm() == kind);
    if raised(AlarmType::Corrupt) {
        Err(Error::Corrupt)
    } else if raised(AlarmType::Nospace) {
        Err(Error::NoSpace { doing: "add another tenant".to_owned() })
    } else {
        Ok(())
    }
}

/// We may read, write and delete marks, and there is room and a quorum for it.
///
/// The transaction goes the way of every write, and is refused as any would be, but it puts and deletes only if a key
/// exists that never does.
pub(crate) async fn may_write(connection: &Connection) -> Result<(), Error> {
    let proved = connection.ask("write and delete below /_kamaji/", |session| {
        let put = Txn::new().when([Compare::version(keys::CANARY, CompareOp::Greater, 0)]).and_then([
            TxnOp::delete(keys::CANARY, None),
            TxnOp::put(format!("{}/", keys::CANARY), "", None),
        ]);
        async move { session.client().txn(put).await }
    });
    proved.await.map(|_| ()).map_err(|failure| failure.error)
}

async fn auth_status(session: Arc<Session>) -> Result<AuthStatusResponse, tonic::Status> {
    let mut request = tonic::Request::new(AuthStatusRequest {});
    if let Some(token) = &session.token {
        let token = token.parse().map_err(|_| tonic::Status::internal("the server's token is not ASCII"))?;
        request.metadata_mut().insert("token", token);
    }
    let mut grpc = Grpc::new(session.channel.clone());
    grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
    let path = PathAndQuery::from_static("/etcdserverpb.Auth/AuthStatus");
    let codec = ProstCodec::<AuthStatusRequest, AuthStatusResponse>::default();
    Ok(grpc.unary(request, path, codec).await?.into_inner())
}

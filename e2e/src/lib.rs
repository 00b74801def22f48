//! Real etcd and kube-apiserver, and whole tenants, for tests.

pub mod api_server;
pub mod crash;
pub mod credentials;
pub mod cut;
pub mod database;
pub mod digest;
pub mod etcd;
pub mod faults;
pub mod figures;
pub mod guest;
pub mod interior;
pub mod mariadb;
pub mod nats;
pub mod operator;
pub mod postgres;
pub mod tenant;

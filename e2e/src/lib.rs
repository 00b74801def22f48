//! Real etcd and kube-apiserver, and whole tenants, for tests.

//! From a Tenant to the objects inside the tenant cluster.

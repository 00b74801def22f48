//! From a Tenant and its inputs to the objects, phase and status in the management cluster.

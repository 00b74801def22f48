//! The Kamaji operator: observes, calls the libraries in order, supervises tenants, serves metrics.

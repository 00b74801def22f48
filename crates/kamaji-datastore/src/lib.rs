//! Makes the account of one tenant exist or vanish in a shared datastore.

//! Strategies: what is specific to each kind on the server side, as pure functions

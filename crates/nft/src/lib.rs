//! nftables transactions: a real one and a fake

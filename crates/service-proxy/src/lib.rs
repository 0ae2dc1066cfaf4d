//! Services to nftables

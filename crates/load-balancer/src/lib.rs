//! LoadBalancer addresses and their announcement

//! Links, addresses, routes, neighbours and network namespaces over netlink

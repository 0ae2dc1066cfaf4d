//! Pod addresses, veths and the VXLAN overlay

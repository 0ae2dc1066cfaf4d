//! Group/version/kind, selectors, quantities, Status, patches, field paths

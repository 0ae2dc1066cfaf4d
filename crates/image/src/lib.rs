//! Images: pull, content store, safe unpacking, overlay snapshots

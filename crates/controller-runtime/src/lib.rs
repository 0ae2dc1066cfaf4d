//! Reflector, Lister, WorkQueue, Reconciler: how a controller runs

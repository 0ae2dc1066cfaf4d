//! Plugins whose features are off by default in this version, as upstream's: their names are known, and they do nothing.

use crate::Plugin;

macro_rules! gated {
    ($($name:ident),+) => {
        $(
            pub struct $name;

            impl Plugin for $name {
                fn name(&self) -> &'static str {
                    stringify!($name)
                }
            }
        )+
    };
}

gated!(PodGroupProtection, ClusterTrustBundleAttest, PodGroupWorkloadExists, JobValidation);

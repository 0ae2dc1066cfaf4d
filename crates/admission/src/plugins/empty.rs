//! Stages that have their place in the order and do nothing yet.

use crate::Plugin;

macro_rules! empty_stages {
    ($($name:ident),*) => {$(
        pub struct $name;

        impl Plugin for $name {
            fn name(&self) -> &'static str {
                stringify!($name)
            }
        }
    )*};
}

empty_stages!(MutatingAdmissionPolicy, ValidatingAdmissionPolicy);
